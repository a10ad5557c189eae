//! `bench tasks`: what a task costs beside its I/O, on nbio and on tokio: spawning and joining one that does nothing, and
//! the memory of a connection that waits. Every figure is a process of its own, on one core.

use std::cell::Cell;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Instant;

use anyhow::Context;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::comparison::{Better, Comparison, Load, Metric};
use crate::measure;
use crate::process::{Place, Process};
use crate::{alloc, counts, report};

/// The buffer of a connection that waits, in bytes.
const BUFFER: usize = 64;
/// Tasks that are spawned before the first of them is joined.
const BATCH: usize = 64;
const SPAWNS: usize = 400_000;
const CONNECTIONS: usize = 1000;

#[derive(clap::Args)]
pub struct Args {
    /// Times to measure everything
    #[arg(long, default_value_t = 7)]
    repeats: usize,
    /// The core to run on
    #[arg(long, default_value_t = 0)]
    core: usize,
}

#[derive(clap::Args)]
pub struct SideArgs {
    what: What,
    runtime: Runtime,
    /// Tasks, or connections
    #[arg(long)]
    count: usize,
    #[command(flatten)]
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
enum What {
    /// Spawn a task that does nothing and join it, one at a time
    One,
    /// The same, 64 at a time
    Batch,
    /// Bytes in user space of a connection whose task waits to receive
    Idle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
enum Runtime {
    Nbio,
    /// Current-thread runtime; a LocalSet for spawning
    Tokio,
}

/// Of each task or connection.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Figures {
    ns: f64,
    bytes: f64,
}

const METRICS: [Metric; 3] = [
    Metric::new("time", "ns", 1, Better::Less).compared(),
    Metric::new("memory", "bytes", 0, Better::Less).compared(),
    Metric::new("instructions", "", 0, Better::Less).compared(),
];

const ABOUT: &str = "What a task costs beside its I/O: spawning one that does nothing and joining it, and the bytes in user \
    space of a connection whose task waits with a buffer of 64 bytes. Every figure is a process of its own.";

pub fn run(args: &Args) -> anyhow::Result<Comparison> {
    let runtimes = [Runtime::Tokio, Runtime::Nbio];
    let mut comparison = Comparison::new("tasks", "Tasks", ABOUT, &METRICS, report::names(&runtimes));
    let mut notes = Vec::new();
    for &what in What::value_variants() {
        let (name, count) = match what {
            What::One => ("spawn and join, one at a time", SPAWNS),
            What::Batch => ("spawn and join, 64 at a time", SPAWNS),
            What::Idle => ("a connection that waits", CONNECTIONS),
        };
        comparison.measure(Load::new(name, &[]), args.repeats, |contender, repeat| {
            let runtime = runtimes[contender];
            let figures = side(args.core, what, runtime, count, &[])?;
            if what == What::Idle {
                return Ok(vec![None, Some(figures.bytes), None]);
            }
            // Once is enough for what doesn't vary.
            let counted = (repeat == 0).then(|| instructions(args.core, what, runtime));
            let counted = counted.and_then(|counted| {
                counted.map_err(|error| notes.push(format!("{name}: no instructions: {error:#}"))).ok()
            });
            Ok(vec![Some(figures.ns), None, counted])
        })?;
    }
    comparison.notes.append(&mut notes);
    Ok(comparison)
}

/// One measurement.
fn side(core: usize, what: What, runtime: Runtime, count: usize, tool: &[String]) -> anyhow::Result<Figures> {
    let arguments =
        ["tasks-side".into(), report::name(what), report::name(runtime), "--count".into(), count.to_string()];
    let mut process = match tool {
        [] => Process::start(core, &arguments)?,
        tool => Process::start_under(tool, core, &arguments)?,
    };
    let figures = serde_json::from_str(&process.line()?)?;
    process.finish()?;
    Ok(figures)
}

/// Of each task, as the difference of two runs.
fn instructions(core: usize, what: What, runtime: Runtime) -> anyhow::Result<f64> {
    let run = |count| counts::under_callgrind(|tool| side(core, what, runtime, count, tool).map(drop));
    let (count, short) = (6400, run(6400)?);
    Ok((run(2 * count)? as f64 - short as f64) / count as f64)
}

/// Measures one thing in this process.
pub fn run_side(args: &SideArgs) -> anyhow::Result<()> {
    args.place.take()?;
    measure::raise_descriptor_limit(2 * args.count.min(4000) as u64 + 100)?;
    let batch = if args.what == What::One { 1 } else { BATCH };
    let figures = match (args.what, args.runtime) {
        (What::Idle, Runtime::Nbio) => idle_nbio(args.count),
        (What::Idle, Runtime::Tokio) => idle_tokio(args.count),
        (_, Runtime::Nbio) => spawn_nbio(args.count / batch, batch),
        (_, Runtime::Tokio) => spawn_tokio(args.count / batch, batch),
    }?;
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

fn timed(start: Instant, tasks: usize) -> Figures {
    Figures { ns: start.elapsed().as_nanos() as f64 / tasks as f64, bytes: 0.0 }
}

fn spawn_nbio(rounds: usize, batch: usize) -> anyhow::Result<Figures> {
    let io = nbio::EventLoop::new()?;
    io.block_on(async {
        let start = Instant::now();
        let mut handles = Vec::with_capacity(batch);
        for _ in 0..rounds {
            handles.extend((0..batch).map(|_| nbio::spawn(async {})));
            for handle in handles.drain(..) {
                handle.await?;
            }
        }
        Ok(timed(start, rounds * batch))
    })?
}

fn spawn_tokio(rounds: usize, batch: usize) -> anyhow::Result<Figures> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let start = Instant::now();
        let mut handles = Vec::with_capacity(batch);
        for _ in 0..rounds {
            handles.extend((0..batch).map(|_| tokio::task::spawn_local(async {})));
            for handle in handles.drain(..) {
                handle.await?;
            }
        }
        Ok(timed(start, rounds * batch))
    })
}

/// Connections: the ends that wait, and those that keep them open.
fn connections(count: usize) -> anyhow::Result<(Vec<TcpStream>, Vec<TcpStream>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listening")?;
    let address = listener.local_addr()?;
    let mut ends = (Vec::with_capacity(count), Vec::with_capacity(count));
    for _ in 0..count {
        ends.1.push(TcpStream::connect(address).context("connecting")?);
        ends.0.push(listener.accept().context("accepting")?.0);
    }
    Ok(ends)
}

/// What of the memory is each connection's.
fn each(before: alloc::Allocated, count: usize) -> Figures {
    Figures { ns: 0.0, bytes: (alloc::so_far().live() - before.live()) as f64 / count as f64 }
}

fn idle_nbio(count: usize) -> anyhow::Result<Figures> {
    let (ends, _others) = connections(count)?;
    alloc::start();
    let io = nbio::EventLoop::new()?;
    io.block_on(async {
        // What the first task makes is not each one's.
        nbio::spawn(async {}).await?;
        let (before, waiting) = (alloc::so_far(), Rc::new(Cell::new(0)));
        for end in ends {
            let stream = nbio::task::TcpStream::adopt(end)?;
            let waiting = waiting.clone();
            drop(nbio::spawn(async move {
                waiting.set(waiting.get() + 1);
                let mut buf = Vec::with_capacity(BUFFER);
                while let Ok((1.., full)) = stream.recv(buf).await {
                    let Ok((_, back)) = stream.send_all(full).await else { return };
                    buf = back;
                }
            }));
        }
        while waiting.get() < count {
            nbio::task::yield_now().await;
        }
        Ok(each(before, count))
    })?
}

fn idle_tokio(count: usize) -> anyhow::Result<Figures> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (ends, _others) = connections(count)?;
    alloc::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        tokio::task::spawn_local(async {}).await?;
        let (before, waiting) = (alloc::so_far(), Rc::new(Cell::new(0)));
        for end in ends {
            end.set_nonblocking(true)?;
            let mut stream = tokio::net::TcpStream::from_std(end)?;
            let waiting = waiting.clone();
            tokio::task::spawn_local(async move {
                waiting.set(waiting.get() + 1);
                let mut buf = Vec::with_capacity(BUFFER);
                while let Ok(1..) = stream.read_buf(&mut buf).await {
                    if stream.write_all(&buf).await.is_err() {
                        return;
                    }
                    buf.clear();
                }
            });
        }
        while waiting.get() < count {
            tokio::task::yield_now().await;
        }
        Ok(each(before, count))
    })
}
