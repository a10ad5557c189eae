//! `bench sim`: how many operations a simulation does in a second, on one core. The simulated time doesn't matter.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nbio::{Builder, EventLoop, Simulation, TcpListener, TcpStream, op};

use crate::comparison::{Better, Comparison, Load, Metric};
use crate::measure;

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

type Loop = EventLoop<Count>;
type Start = fn(&Loop) -> Result<(), nbio::Error>;

/// What it does, how many operations a round has, and how it starts.
const LOADS: [(&str, usize, Start); 3] = [
    ("echo 64 B, 16 pairs", 4, start_echo),
    ("timers, 16 at once", 1, start_timers),
    ("connect, accept, close", 4, start_connections),
];

const METRICS: [Metric; 1] = [Metric::new("rate", "operations/s", 0, Better::More).compared()];

const ABOUT: &str = "How many operations a simulation does in a second of real time, on one core.";

pub fn run(args: &Args) -> anyhow::Result<Comparison> {
    measure::pin_to_core(args.core)?;
    let mut comparison =
        Comparison::new("sim", "Simulation", ABOUT, &METRICS, vec!["nbio, simulated".into()]).against("");
    for (name, per_round, start) in LOADS {
        comparison.measure(Load::new(name, &[]), args.repeats, |_, _| {
            let (operations, elapsed) = measure_once(args.operations / per_round, start)?;
            Ok(vec![Some(operations as f64 / elapsed.as_secs_f64())])
        })?;
    }
    Ok(comparison)
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
fn start_echo(io: &Loop) -> Result<(), nbio::Error> {
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

fn serve(io: &Loop, stream: TcpStream, buf: Vec<u8>) {
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
fn ping(count: &mut Count, io: &Loop, stream: TcpStream, buf: Vec<u8>) {
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
fn start_timers(io: &Loop) -> Result<(), nbio::Error> {
    for number in 0..AT_ONCE {
        set_timer(io, Duration::from_micros(100 + 7 * number as u64));
    }
    Ok(())
}

fn set_timer(io: &Loop, duration: Duration) {
    io.timer(duration, move |count, io, _| {
        count.done += 1;
        if count.begin() {
            set_timer(io, duration);
        }
    });
}

/// A round is an accept, a connect, and both ends' closes.
fn start_connections(io: &Loop) -> Result<(), nbio::Error> {
    let listener = io.listen_tcp(([127, 0, 0, 1], 0))?;
    let address = io.local_address(listener)?;
    for _ in 0..AT_ONCE {
        accept(io, listener);
        connect(io, address);
    }
    Ok(())
}

fn accept(io: &Loop, listener: TcpListener) {
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

fn connect(io: &Loop, address: SocketAddr) {
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

fn close(io: &Loop, stream: TcpStream) {
    io.close_then(stream, |count, _, _| count.done += 1);
}
