//! The loop over all connections of the load generator.

use std::mem;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use io_uring::{IoUring, SubmissionQueue, Submitter};
use socket2::SockRef;

use super::connection::{Connection, Pattern, SEND};
use super::{LIFETIME, Load};
use crate::{measure, ring};

/// Two operations for each of many connections at once.
const ENTRIES: u32 = 2048;

/// The most that is sent or received at once, unless a message is longer.
const LONGEST: usize = 64 << 10;

pub struct Client {
    ring: IoUring,
    connections: Vec<Connection>,
    pattern: Pattern,
    load: Load,
    /// Messages that have not come back.
    in_flight: usize,
}

impl Client {
    pub fn connect(server: SocketAddr, load: Load) -> anyhow::Result<Self> {
        ensure!(load.connections > 0 && load.size > 0 && load.pipeline > 0, "there is nothing to send");
        let whole = load.pipeline == 1 && load.rate == 0;
        let most = if load.rate == 0 { load.size * load.pipeline } else { LONGEST };
        let longest = load.size.max(most.min(LONGEST));
        let connect = |index| {
            let stream = TcpStream::connect(server)
                .with_context(|| format!("connecting number {index} to {server}"))?;
            stream.set_nodelay(true).context("TCP_NODELAY")?;
            SockRef::from(&stream).set_tcp_congestion(measure::CONGESTION).context("TCP_CONGESTION")?;
            Ok(Connection::new(stream, load.size, whole, longest))
        };
        Ok(Self {
            ring: ring::build(ENTRIES).context("setting up the client's io_uring")?,
            connections: (0..load.connections).map(connect).collect::<anyhow::Result<_>>()?,
            pattern: Pattern::new(longest),
            load,
            in_flight: 0,
        })
    }

    /// Exchanges `messages` messages, records the nanoseconds that each took, and returns the time of them all.
    pub fn run(&mut self, messages: usize, latencies: &mut Histogram<u64>) -> anyhow::Result<Duration> {
        let Self { ring, connections, pattern, load, in_flight } = self;
        let (submitter, mut queue, mut completions) = ring.split();
        let begin = Instant::now();
        let mut course = Course { begin, load: *load, given: 0, messages };
        let (count, closed) = (connections.len(), load.rate == 0);
        for turn in 0..if closed { load.pipeline * count } else { 0 } {
            if course.next() {
                connections[turn % count].give(begin);
                *in_flight += 1;
            }
        }
        for (index, connection) in connections.iter_mut().enumerate() {
            start(connection, index, pattern, &submitter, &mut queue)?;
        }
        let mut ended = Vec::new();
        while *in_flight > 0 || course.given < messages {
            let now = Instant::now();
            ensure!(
                now - begin < LIFETIME,
                "not done after {LIFETIME:?}: the server stalled, or too many messages"
            );
            while let Some((index, due)) = course.due(now) {
                connections[index].give(due);
                *in_flight += 1;
                start(&mut connections[index], index, pattern, &submitter, &mut queue)?;
            }
            ring::submit_and_wait_for(&submitter, &mut queue, course.until(now)).context("io_uring_enter")?;
            completions.sync();
            let now = Instant::now();
            ended
                .extend(completions.by_ref().map(|completion| (completion.user_data(), completion.result())));
            for (data, result) in ended.drain(..) {
                let index = data as u32 as usize;
                let connection = &mut connections[index];
                let mut back = 0;
                let outcome = match data & SEND {
                    0 => connection.was_received(result, pattern, |due| {
                        back += 1;
                        let nanoseconds = now.saturating_duration_since(due).as_nanos() as u64;
                        latencies.saturating_record(nanoseconds);
                    }),
                    _ => connection.was_sent(result),
                };
                outcome.with_context(|| format!("connection {index}"))?;
                *in_flight -= back;
                for _ in 0..if closed { back } else { 0 } {
                    if course.next() {
                        connection.give(now);
                        *in_flight += 1;
                    }
                }
                start(connection, index, pattern, &submitter, &mut queue)?;
            }
        }
        Ok(begin.elapsed())
    }
}

/// Starts what a connection can do now.
fn start(
    connection: &mut Connection,
    index: usize,
    pattern: &Pattern,
    submitter: &Submitter<'_>,
    queue: &mut SubmissionQueue<'_>,
) -> anyhow::Result<()> {
    for entry in connection.start(index, pattern).iter().flatten() {
        // SAFETY: pattern and buffers are on the heap, and `drop` keeps them while operations are under way. The pattern is
        // only read; a buffer has one receive at a time, and is touched again when that is complete.
        unsafe { ring::push(submitter, queue, entry) }?;
    }
    Ok(())
}

/// Which messages are to be sent when.
struct Course {
    begin: Instant,
    load: Load,
    given: usize,
    messages: usize,
}

impl Course {
    /// In a closed loop: whether there is another message.
    fn next(&mut self) -> bool {
        let more = self.given < self.messages;
        self.given += usize::from(more);
        more
    }

    /// In an open loop: the next message, if it is due, and since when.
    fn due(&mut self, now: Instant) -> Option<(usize, Instant)> {
        let due = self.next_due()?;
        (due <= now).then(|| {
            self.given += 1;
            ((self.given - 1) % self.load.connections, due)
        })
    }

    fn next_due(&self) -> Option<Instant> {
        let open = self.load.rate > 0 && self.given < self.messages;
        open.then(|| self.begin + Duration::from_secs_f64(self.given as f64 / self.load.rate as f64))
    }

    /// How long there is nothing to be sent; at most as long as a client lives, so that a server that stalls becomes an error.
    fn until(&self, now: Instant) -> Duration {
        self.next_due().map_or(LIFETIME, |due| due.saturating_duration_since(now))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // After an error the kernel may still read and write these.
        if self.in_flight > 0 {
            mem::forget(mem::replace(&mut self.pattern, Pattern::new(0)));
            mem::forget(mem::take(&mut self.connections));
        }
    }
}
