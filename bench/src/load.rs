//! The load generator: a closed loop over many connections from one thread.
//!
//! Every connection sends a message, waits for the whole echo, compares it and
//! sends the next. It is an io_uring loop of its own (a send and a receive per
//! message, batched over all connections), so that it takes less CPU time per
//! message than any server and does not become what is measured. It runs in a
//! process of its own, and says what it measured as a line of JSON.

use std::mem;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, Timespec};
use io_uring::{IoUring, opcode};
use serde::{Deserialize, Serialize};
use socket2::SockRef;

use crate::process::Place;
use crate::{measure, ring};

/// Two operations for each of many connections at once.
const ENTRIES: u32 = 2048;

/// The longest a client may live: a server that stalls becomes an error.
const LIFETIME: Duration = Duration::from_secs(120);

/// Completions carry the index of the connection; these two are told apart.
const TIMEOUT: u64 = u64::MAX;
const SEND: u64 = 1 << 32;

/// Receive with `IORING_RECVSEND_POLL_FIRST`: the echo of a message being sent
/// cannot be there yet, so there is no point in trying.
const POLL_FIRST: u16 = 1;

/// Messages start at this many different places in the pattern.
const SHIFTS: usize = 251;

#[derive(clap::Args)]
pub struct Args {
    /// The server's address
    address: SocketAddr,
    #[arg(long)]
    connections: usize,
    /// The size of a message in bytes
    #[arg(long)]
    size: usize,
    /// Messages to exchange, all connections together
    #[arg(long)]
    messages: usize,
    /// Messages to exchange before, unmeasured
    #[arg(long, default_value_t = 0)]
    warm_up: usize,
    /// The server's process, whose CPU time is read before and after
    #[arg(long)]
    server: Option<u32>,
    #[command(flatten)]
    place: Place,
}

/// What the measured part of a load gave.
#[derive(Serialize, Deserialize)]
pub struct Outcome {
    pub seconds: f64,
    /// CPU time of the server's process, if it was named.
    pub server_cpu_seconds: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
}

/// Loads a server from this process.
pub fn run(args: &Args) -> anyhow::Result<()> {
    args.place.take()?;
    let mut client = Client::connect(args.address, args.connections, args.size)?;
    let mut latencies = Vec::with_capacity(args.messages.max(args.warm_up));
    client.run(args.warm_up, &mut latencies)?;
    latencies.clear();
    let before = server_cpu_time(args)?;
    let elapsed = client.run(args.messages, &mut latencies)?;
    let cpu = server_cpu_time(args)?.saturating_sub(before);

    latencies.sort_unstable();
    let percentile_us = |q| f64::from(measure::percentile(&latencies, q)) / 1e3;
    let outcome = Outcome {
        seconds: elapsed.as_secs_f64(),
        server_cpu_seconds: cpu.as_secs_f64(),
        p50_us: percentile_us(0.5),
        p99_us: percentile_us(0.99),
        p999_us: percentile_us(0.999),
    };
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

/// Its CPU time so far, read when it has nothing to do any more.
fn server_cpu_time(args: &Args) -> anyhow::Result<Duration> {
    let Some(server) = args.server else { return Ok(Duration::ZERO) };
    // The scheduler brings the figure up to date when the server blocks, which it does microseconds after the last
    // echo.
    std::thread::sleep(Duration::from_millis(10));
    measure::cpu_time(server)
}

struct Connection {
    stream: TcpStream,
    buffer: Box<[u8]>,
    /// Where in the pattern the message under way starts.
    shift: usize,
    sent_at: Instant,
}

impl Connection {
    /// A send and a receive of the next message, both whole or failing.
    fn exchange(&mut self, index: usize, pattern: &[u8], now: Instant) -> [Entry; 2] {
        self.shift = (self.shift + 1) % SHIFTS;
        self.sent_at = now;
        let socket = Fd(self.stream.as_raw_fd());
        let message = &pattern[self.shift..][..self.buffer.len()];
        // The receive's completion tells all that is to know of a send that
        // went well. Only a failed or short one has a completion of its own.
        let send = opcode::Send::new(socket, message.as_ptr(), message.len() as u32)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build()
            .flags(Flags::SKIP_SUCCESS)
            .user_data(SEND | index as u64);
        let buffer = &mut self.buffer;
        let receive = opcode::Recv::new(socket, buffer.as_mut_ptr(), buffer.len() as u32)
            .flags(libc::MSG_WAITALL)
            .ioprio(POLL_FIRST)
            .build()
            .user_data(index as u64);
        [send, receive]
    }

    /// Whether the buffer holds the echo of the message under way.
    fn is_echo(&self, pattern: &[u8]) -> bool {
        self.buffer[..] == pattern[self.shift..][..self.buffer.len()]
    }
}

struct Client {
    ring: IoUring,
    connections: Vec<Connection>,
    pattern: Vec<u8>,
    in_flight: usize,
}

impl Client {
    fn connect(server: SocketAddr, connections: usize, size: usize) -> anyhow::Result<Self> {
        let connect = |index| {
            let stream = TcpStream::connect(server)
                .with_context(|| format!("connecting number {index} to {server}"))?;
            stream.set_nodelay(true).context("TCP_NODELAY")?;
            SockRef::from(&stream).set_tcp_congestion(measure::CONGESTION).context("TCP_CONGESTION")?;
            Ok(Connection {
                stream,
                buffer: vec![0; size].into(),
                shift: index % SHIFTS,
                sent_at: Instant::now(),
            })
        };
        let mut client = Self {
            ring: ring::build(ENTRIES).context("setting up the client's io_uring")?,
            connections: (0..connections).map(connect).collect::<anyhow::Result<_>>()?,
            pattern: pattern(size + SHIFTS),
            in_flight: 0,
        };
        client.limit_lifetime()?;
        Ok(client)
    }

    fn limit_lifetime(&mut self) -> anyhow::Result<()> {
        let lifetime = Timespec::from(LIFETIME);
        let timeout = opcode::Timeout::new(&lifetime).build().user_data(TIMEOUT);
        let (submitter, mut queue, _) = self.ring.split();
        // SAFETY: the kernel copies the time in `submit`, while it exists.
        unsafe { ring::push(&submitter, &mut queue, &timeout) }?;
        queue.sync();
        submitter.submit().context("starting the client's timer")?;
        Ok(())
    }

    /// Exchanges `messages` messages, all connections at a time, adds every
    /// round trip's nanoseconds to `latencies` and returns the time it took.
    fn run(&mut self, messages: usize, latencies: &mut Vec<u32>) -> anyhow::Result<Duration> {
        let Self { ring, connections, pattern, in_flight } = self;
        let (submitter, mut queue, mut completions) = ring.split();
        let mut to_start = messages;
        let begin = Instant::now();
        for (index, connection) in connections.iter_mut().enumerate().take(messages) {
            for entry in connection.exchange(index, pattern, begin) {
                // SAFETY: pattern and buffers are on the heap, and `drop` keeps
                // them while operations are under way. The pattern is only
                // read; the buffer is touched again when it is complete.
                unsafe { ring::push(&submitter, &mut queue, &entry) }?;
            }
            to_start -= 1;
            *in_flight += 1;
        }
        while *in_flight > 0 {
            ring::submit_and_wait(&submitter, &mut queue).context("io_uring_enter")?;
            completions.sync();
            let now = Instant::now();
            for completion in &mut completions {
                let (data, result) = (completion.user_data(), completion.result());
                if data == TIMEOUT {
                    bail!("not done after {LIFETIME:?}: the server stalled, or too many messages");
                }
                let index = data as u32 as usize;
                let connection = &mut connections[index];
                let size = connection.buffer.len();
                if result as usize != size {
                    bail!("connection {index}: {}", describe(data, result, size));
                }
                if data & SEND != 0 {
                    continue; // A kernel that does not skip successes.
                }
                *in_flight -= 1;
                ensure!(connection.is_echo(pattern), "connection {index}: the echo differs from the message");
                let nanoseconds = now.duration_since(connection.sent_at).as_nanos();
                latencies.push(u32::try_from(nanoseconds).unwrap_or(u32::MAX));
                if to_start == 0 {
                    continue;
                }
                to_start -= 1;
                *in_flight += 1;
                for entry in connection.exchange(index, pattern, now) {
                    // SAFETY: as above; this buffer's last receive has ended.
                    unsafe { ring::push(&submitter, &mut queue, &entry) }?;
                }
            }
        }
        Ok(begin.elapsed())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // After an error the kernel may still read and write these.
        if self.in_flight > 0 {
            mem::forget(mem::take(&mut self.pattern));
            mem::forget(mem::take(&mut self.connections));
        }
    }
}

/// What a send or a receive of a whole message ended with instead.
fn describe(data: u64, result: i32, size: usize) -> String {
    let what = if data & SEND == 0 { "receive" } else { "send" };
    match result {
        0.. => format!("{what} ended after {result} of {size} bytes"),
        _ => {
            let error = std::io::Error::from_raw_os_error(-result);
            format!("{what}: {error}")
        }
    }
}

/// Bytes that look different from every place (a xorshift sequence), so that
/// bytes lost, repeated or from another message are noticed.
fn pattern(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}
