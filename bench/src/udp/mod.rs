//! `bench udp`: datagrams of 1,200 bytes from one process to another, each on its own core, as fast as a window of
//! unanswered batches allows; each way of doing it sends and receives both.
//!
//! A batch is 54 datagrams, what one system call with segmentation takes. The receiver answers every batch with the
//! number of datagrams it has got. Every datagram carries its number, which the receiver checks: none may be lost, and
//! the loopback interface keeps their order.

mod nbio;
mod raw;

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::ValueEnum;
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use socket2::SockRef;

use crate::comparison::{Better, Comparison, Load, Metric};
use crate::process::{Place, Process};
use crate::report;

/// Bytes of a datagram, and datagrams of a batch.
const SIZE: usize = 1200;
const BATCH: usize = 54;

/// The system's buffers. A datagram alone takes about twice its size there.
const BUFFER: usize = 4 << 20;

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Way {
    /// sendmsg and recvmsg with segmentation (GSO, GRO)
    Raw,
    /// nbio with segmentation
    Nbio,
    /// sendmmsg and recvmmsg
    Mmsg,
    /// nbio, a datagram an operation
    NbioSingle,
}

const WAYS: [(Way, &str); 4] = [
    (Way::Raw, "raw GSO/GRO"),
    (Way::Nbio, "nbio GSO/GRO"),
    (Way::Mmsg, "sendmmsg/recvmmsg"),
    (Way::NbioSingle, "nbio, one by one"),
];

#[derive(clap::Args)]
pub struct Args {
    /// Batches per measurement
    #[arg(long, default_value_t = 20_000)]
    batches: usize,
    /// Batches that may be unanswered, each a number to measure with
    #[arg(long, value_delimiter = ',', default_values_t = [2, 8])]
    window: Vec<usize>,
    /// The ways to compare, besides raw [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    ways: Vec<Way>,
    /// Times to measure every way
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// The core the receiver runs on
    #[arg(long, default_value_t = 0)]
    receiver_core: usize,
    /// The core the sender runs on
    #[arg(long, default_value_t = 1)]
    sender_core: usize,
}

/// What each of the two processes is told.
#[derive(clap::Args)]
pub struct SideArgs {
    #[arg(long, value_enum)]
    way: Way,
    #[arg(long)]
    batches: usize,
    #[arg(long)]
    window: usize,
    /// The receiver's port: this side sends
    #[arg(long)]
    to: Option<u16>,
    #[command(flatten)]
    place: Place,
}

/// What a side says at its end.
#[derive(Serialize, Deserialize)]
struct Outcome {
    seconds: f64,
    cpu_seconds: f64,
}

const METRICS: [Metric; 4] = [
    Metric::new("rate", "datagrams/s", 0, Better::More).compared(),
    Metric::new("CPU of both", "ns/datagram", 0, Better::Less).compared(),
    Metric::new("sender's", "ns/datagram", 0, Better::Less),
    Metric::new("receiver's", "ns/datagram", 0, Better::Less),
];

const ABOUT: &str = "Datagrams of 1,200 bytes from a process on one core to a process on the other, 54 of them a batch, with a \
    few batches unanswered at most. The receiver checks every datagram's number and answers each batch.";

pub fn run(args: &Args) -> anyhow::Result<Comparison> {
    ensure!(args.batches > 0, "--batches must be at least 1");
    let wanted = |way: Way| way == Way::Raw || args.ways.is_empty() || args.ways.contains(&way);
    let ways: Vec<_> = WAYS.into_iter().filter(|&(way, _)| wanted(way)).collect();
    let names = ways.iter().map(|(_, name)| (*name).to_owned()).collect();
    let mut comparison = Comparison::new("udp", "UDP", ABOUT, &METRICS, names);
    for &window in &args.window {
        ensure!((1..=16).contains(&window), "a window is 1 to 16 batches, not {window}");
        let load = Load::new(format!("window of {window} batches"), &[("window, batches", window as f64)]);
        comparison
            .measure(load, args.repeats, |contender, _| measure_once(args, window, ways[contender].0))?;
    }
    Ok(comparison)
}

fn measure_once(args: &Args, window: usize, way: Way) -> anyhow::Result<Vec<Option<f64>>> {
    let given = |more: &[String]| {
        let mut arguments = vec!["udp-side".to_owned(), "--way".into(), report::name(way)];
        arguments.extend(["--batches".into(), args.batches.to_string()]);
        arguments.extend(["--window".into(), window.to_string()]);
        arguments.extend_from_slice(more);
        arguments
    };
    let mut receiver = Process::start(args.receiver_core, &given(&[]))?;
    let port = receiver.line().context("receiver")?;
    let mut sender = Process::start(args.sender_core, &given(&["--to".into(), port]))?;
    let sent: Outcome = serde_json::from_str(&sender.line().context("sender")?)?;
    let received: Outcome = serde_json::from_str(&receiver.line().context("receiver")?)?;
    sender.finish().context("sender")?;
    receiver.finish().context("receiver")?;
    let datagrams = (args.batches * BATCH) as f64;
    let [sender, receiver] = [sent.cpu_seconds, received.cpu_seconds].map(|cpu| cpu * 1e9 / datagrams);
    Ok([datagrams / sent.seconds, sender + receiver, sender, receiver].map(Some).to_vec())
}

/// One of the two processes.
pub fn side(args: &SideArgs) -> anyhow::Result<()> {
    args.place.take()?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    SockRef::from(&socket).set_recv_buffer_size(BUFFER)?;
    SockRef::from(&socket).set_send_buffer_size(BUFFER)?;
    let total = args.batches * BATCH;
    if let Some(port) = args.to {
        socket.connect(("127.0.0.1", port))?;
        let limits = Limits { total, window: args.window * BATCH };
        let begin = Begin::now()?;
        match args.way {
            Way::Raw => raw::send(&socket, limits, true)?,
            Way::Mmsg => raw::send(&socket, limits, false)?,
            Way::Nbio => nbio::send(socket, limits, true)?,
            Way::NbioSingle => nbio::send(socket, limits, false)?,
        }
        return begin.end();
    }
    let room = SockRef::from(&socket).recv_buffer_size()?;
    ensure!(
        room > args.window * BATCH * 2400,
        "the receive buffer has {room} bytes only: raise net.core.rmem_max, or take a smaller --window"
    );
    println!("{}", socket.local_addr()?.port());
    // The sender begins when it has read the port, a moment before this.
    let begin = Begin::now()?;
    match args.way {
        Way::Raw => raw::receive(&socket, total, true)?,
        Way::Mmsg => raw::receive(&socket, total, false)?,
        Way::Nbio => nbio::receive(socket, total, true)?,
        Way::NbioSingle => nbio::receive(socket, total, false)?,
    }
    begin.end()
}

/// How many datagrams in all, and how many unanswered at most.
#[derive(Clone, Copy)]
struct Limits {
    total: usize,
    window: usize,
}

struct Begin {
    at: Instant,
    cpu: Duration,
}

impl Begin {
    fn now() -> anyhow::Result<Begin> {
        Ok(Begin { at: Instant::now(), cpu: cpu_time()? })
    }

    fn end(self) -> anyhow::Result<()> {
        let outcome = Outcome {
            seconds: self.at.elapsed().as_secs_f64(),
            cpu_seconds: (cpu_time()? - self.cpu).as_secs_f64(),
        };
        println!("{}", serde_json::to_string(&outcome)?);
        Ok(())
    }
}

/// That of this process, all threads together.
fn cpu_time() -> anyhow::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

/// Numbers the datagrams in a batch's memory.
fn stamp(batch: &mut [u8], first: usize) {
    for (offset, datagram) in batch.chunks_mut(SIZE).enumerate() {
        datagram[..8].copy_from_slice(&(first + offset).to_le_bytes());
    }
}

/// What a receiver knows.
struct Count {
    received: usize,
    answered: usize,
    total: usize,
}

impl Count {
    fn new(total: usize) -> Count {
        Count { received: 0, answered: 0, total }
    }

    /// One more has come.
    fn take(&mut self, datagram: &[u8]) -> anyhow::Result<()> {
        ensure!(datagram.len() == SIZE, "a datagram of {} bytes", datagram.len());
        let number = usize::from_le_bytes(datagram[..8].try_into()?);
        ensure!(number == self.received, "datagram {number} came where {} should", self.received);
        self.received += 1;
        Ok(())
    }

    /// The answer, if one is due.
    fn answer(&mut self) -> Option<[u8; 8]> {
        let due = self.received >= self.answered + BATCH || self.over();
        due.then(|| {
            self.answered = self.received;
            self.received.to_le_bytes()
        })
    }

    fn over(&self) -> bool {
        self.received == self.total
    }
}
