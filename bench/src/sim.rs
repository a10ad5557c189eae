//! `bench sim`: how many operations a simulation does in a second, on one core. The simulated time doesn't matter.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nbio::{Builder, EventLoop, Simulation, TcpListener, TcpStream, op};
use serde::Serialize;

use crate::measure::{self, Summary};
use crate::report;

/// Connections, or timers, that are under way at once.
const AT_ONCE: usize = 16;

#[derive(clap::Args)]
pub struct Args {
    /// Operations per measurement, about
    #[arg(long, default_value_t = 1_000_000)]
    operations: usize,
    /// Times to measure every load
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// The core to run on
    #[arg(long, default_value_t = 0)]
    core: usize,
    /// Write all raw figures to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    machine: String,
    samples: Vec<Sample>,
}

#[derive(Serialize)]
struct Sample {
    load: &'static str,
    repeat: usize,
    operations: u64,
    operations_per_s: f64,
}

/// How many operations' callbacks have run, and how many of the load's rounds are still to begin.
struct Count {
    done: u64,
    rounds: usize,
}

impl Count {
    /// Begins a round, if one is left.
    fn begin(&mut self) -> bool {
        self.rounds = self.rounds.saturating_sub(1);
        self.rounds > 0
    }
}

type Load = EventLoop<Count>;
type Start = fn(&Load) -> Result<(), nbio::Error>;

/// What it does, how many operations a round has, and how it starts.
const LOADS: [(&str, usize, Start); 3] = [
    ("echo 64 B, 16 pairs", 4, start_echo),
    ("timers, 16 at once", 1, start_timers),
    ("connect, accept, close", 4, start_connections),
];

pub fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(args.repeats > 0, "--repeats must be at least 1");
    let mut report = Report { machine: measure::machine()?, samples: Vec::new() };
    measure::pin_to_core(args.core)?;
    println!("{}", report.machine);
    println!("on core {}, {} repeats\n", args.core, args.repeats);
    println!("{:<26}{:>12}  {:<24}", "simulated", "ops/s", "(min..max)");
    // In turns, so that no load meets the machine's noise alone.
    for repeat in 0..args.repeats {
        for turn in 0..LOADS.len() {
            let (load, per_round, start) = LOADS[(turn + repeat) % LOADS.len()];
            let (operations, elapsed) =
                measure_once(args.operations / per_round, start).with_context(|| load.to_owned())?;
            let operations_per_s = operations as f64 / elapsed.as_secs_f64();
            report.samples.push(Sample { load, repeat, operations, operations_per_s });
        }
    }
    for (load, ..) in LOADS {
        let own = report.samples.iter().filter(|sample| sample.load == load);
        if let Some(rate) = Summary::of(own.map(|sample| sample.operations_per_s)) {
            let spread = format!("({:.0}..{:.0})", rate.min, rate.max);
            println!("{load:<26}{:>12.0}  {spread:<24}", rate.median);
        }
    }
    report::write_json(args.json.as_deref(), &report)
}

fn measure_once(rounds: usize, start: Start) -> anyhow::Result<(u64, Duration)> {
    let io = Builder::new().simulation(&Simulation::new(1)).build()?;
    let mut count = Count { done: 0, rounds };
    start(&io)?;
    let begin = Instant::now();
    io.run_with(&mut count)?;
    Ok((count.done, begin.elapsed()))
}

/// Clients that send and wait for the echo; a round is two sends and two receives.
fn start_echo(io: &Load) -> Result<(), nbio::Error> {
    let listener = io.listen_tcp(([127, 0, 0, 1], 0))?;
    let address = io.local_address(listener)?;
    for _ in 0..AT_ONCE {
        io.accept(listener, |_, io, accepted| {
            if let Ok(accepted) = accepted {
                serve(io, accepted.stream, vec![0; 64]);
            }
        });
        io.connect(address, |count, io, connected| {
            if let Ok(stream) = connected {
                ping(count, io, stream, vec![0; 64]);
            }
        });
    }
    Ok(())
}

fn serve(io: &Load, stream: TcpStream, buf: Vec<u8>) {
    io.recv(stream, buf, move |count, io, done| {
        count.done += 1;
        if done.bytes == 0 {
            return io.close(stream);
        }
        io.send_all(stream, done.buf, move |count, io, done| {
            count.done += 1;
            serve(io, stream, done.buf);
        });
    });
}

/// Sends, waits for the whole echo, and begins again.
fn ping(count: &mut Count, io: &Load, stream: TcpStream, buf: Vec<u8>) {
    if !count.begin() {
        return io.close(stream);
    }
    io.send_all(stream, buf, move |count, io, done| {
        count.done += 1;
        // It may come in pieces.
        io.submit(op::Recv::new(stream, done.buf).exact(64), move |count, io, done| {
            count.done += 1;
            ping(count, io, stream, done.buf);
        });
    });
}

/// Timers that are set again when they fire, each with another duration.
fn start_timers(io: &Load) -> Result<(), nbio::Error> {
    for number in 0..AT_ONCE {
        set_timer(io, Duration::from_micros(100 + 7 * number as u64));
    }
    Ok(())
}

fn set_timer(io: &Load, duration: Duration) {
    io.timer(duration, move |count, io, _| {
        count.done += 1;
        if count.begin() {
            set_timer(io, duration);
        }
    });
}

/// A round is an accept, a connect, and both ends' closes.
fn start_connections(io: &Load) -> Result<(), nbio::Error> {
    let listener = io.listen_tcp(([127, 0, 0, 1], 0))?;
    let address = io.local_address(listener)?;
    for _ in 0..AT_ONCE {
        accept(io, listener);
        connect(io, address);
    }
    Ok(())
}

fn accept(io: &Load, listener: TcpListener) {
    io.accept(listener, move |count, io, accepted| {
        count.done += 1;
        if let Ok(accepted) = accepted {
            close(io, accepted.stream);
        }
        if count.rounds > 0 {
            accept(io, listener);
        } else {
            io.stop();
        }
    });
}

fn connect(io: &Load, address: SocketAddr) {
    io.connect(address, move |count, io, connected| {
        count.done += 1;
        if let Ok(stream) = connected {
            close(io, stream);
        }
        if count.begin() {
            connect(io, address);
        }
    });
}

fn close(io: &Load, stream: TcpStream) {
    io.close_then(stream, |count, _, _| count.done += 1);
}
