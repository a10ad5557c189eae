//! `bench remote`: how long it takes another thread to have something done by the loop and to be told so.
//!
//! The loop runs on one core, the threads that ask on another. Each thread asks `batch` questions, waits until all are
//! answered, and asks the next; with several threads all do so at once.

mod answers;
mod loops;

use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::time::{ClockId, clock_gettime};

use crate::comparison::{self, Better, Comparison, Metric};
use crate::measure;
use answers::{Answers, Channel, Oneshot, Unpark};
use loops::{Door, NbioAsleep, NbioBusy, NbioRun, NbioSubmit, TokioChannel, TokioSpawn};

#[derive(clap::Args)]
pub struct Args {
    /// Numbers of threads that ask
    #[arg(long, value_delimiter = ',', default_values_t = [1, 4])]
    threads: Vec<usize>,
    /// Numbers of questions that a thread asks before it waits for the answers, at most 512
    #[arg(long, value_delimiter = ',', default_values_t = [1, 64])]
    batch: Vec<usize>,
    /// Questions per measurement, all threads together [default: what takes about half a second]
    #[arg(long)]
    questions: Option<usize>,
    /// How long a thread rests after each batch, in microseconds: then CPU time is what counts
    #[arg(long, default_value_t = 0)]
    pause_us: u64,
    /// Times to measure every way under every load
    #[arg(long, default_value_t = 9)]
    repeats: usize,
    /// The core the loop runs on
    #[arg(long, default_value_t = 0)]
    loop_core: usize,
    /// The core the threads that ask run on
    #[arg(long, default_value_t = 1)]
    thread_core: usize,
}

#[derive(Clone, Copy)]
struct Load {
    threads: usize,
    batch: usize,
    questions: usize,
}

type Measure = fn(&Args, Load) -> anyhow::Result<(Duration, Duration)>;

/// How it is asked, and how answered.
const WAYS: [(&str, Measure); 12] = [
    ("nbio run, unpark", measure_once::<NbioRun, Unpark>),
    ("nbio run, std channel", measure_once::<NbioRun, Channel>),
    ("nbio run, oneshot", measure_once::<NbioRun, Oneshot>),
    ("nbio run, unpark, asleep", measure_once::<NbioAsleep, Unpark>),
    ("nbio run, unpark, busy", measure_once::<NbioBusy, Unpark>),
    ("nbio submit, unpark", measure_once::<NbioSubmit, Unpark>),
    ("nbio submit, std channel", measure_once::<NbioSubmit, Channel>),
    ("nbio submit, oneshot", measure_once::<NbioSubmit, Oneshot>),
    ("tokio channel, unpark", measure_once::<TokioChannel<<Unpark as Answers>::Reply>, Unpark>),
    ("tokio channel, std channel", measure_once::<TokioChannel<<Channel as Answers>::Reply>, Channel>),
    ("tokio channel, oneshot", measure_once::<TokioChannel<<Oneshot as Answers>::Reply>, Oneshot>),
    ("tokio spawn, unpark", measure_once::<TokioSpawn, Unpark>),
];

const METRICS: [Metric; 2] = [
    // From the first question of a batch to its last answer.
    Metric::new("time", "us/batch", 2, Better::Less).compared(),
    Metric::new("CPU", "us/question", 2, Better::Less).compared(),
];

const ABOUT: &str = "Threads on one core have something done on a loop on the other and wait for the answer; each asks a batch \
    of questions, waits until all are answered, and asks the next. CPU is that of all threads together.";

pub fn run(args: &Args) -> anyhow::Result<Comparison> {
    let names = WAYS.map(|(name, _)| name.to_owned()).to_vec();
    let mut comparison = Comparison::new("remote", "From another thread", ABOUT, &METRICS, names)
        .against("tokio channel, unpark");
    for &threads in &args.threads {
        for &batch in &args.batch {
            ensure!((1..=64).contains(&threads), "threads must be 1 to 64, not {threads}");
            // What waits for nbio's loop is bounded, by 4,096 unless it is told otherwise.
            ensure!((1..=512).contains(&batch) && threads * batch <= 4096, "too many questions at once");
            let questions = args.questions.unwrap_or(if threads * batch == 1 { 15_000 } else { 150_000 });
            let load = Load { threads, batch, questions };
            comparison.measure(load.described(), args.repeats, |contender, _| {
                let (elapsed, cpu) = WAYS[contender].1(args, load)?;
                let asked = (load.rounds() * load.batch * load.threads) as f64;
                let us = [elapsed.as_secs_f64() / load.rounds() as f64, cpu.as_secs_f64() / asked];
                Ok(us.map(|seconds| Some(seconds * 1e6)).to_vec())
            })?;
        }
    }
    Ok(comparison)
}

/// One run: the time that the threads took, and the CPU time of the whole process meanwhile.
fn measure_once<D: Door<A::Reply>, A: Answers>(
    args: &Args,
    load: Load,
) -> anyhow::Result<(Duration, Duration)> {
    let (doors, door) = mpsc::channel();
    let barrier = Barrier::new(load.threads);
    thread::scope(|scope| {
        let server = scope.spawn(move || {
            measure::pin_to_core(args.loop_core)?;
            D::serve(&doors)
        });
        let door: D = match door.recv() {
            Ok(door) => door,
            // It ended without one: it knows why.
            Err(_) => return Err(joined(server.join()).err().context("the loop gave no door")?),
        };
        let askers: Vec<_> = (0..load.threads)
            .map(|_| {
                let (door, barrier) = (door.clone(), &barrier);
                scope.spawn(move || ask::<D, A>(&door, load, args, barrier))
            })
            .collect();
        drop(door);
        let asked: Vec<Asked> =
            askers.into_iter().map(|asker| joined(asker.join())).collect::<Result<_, _>>()?;
        joined(server.join())?;
        let first = asked.iter().min_by_key(|asked| asked.begin.0).context("somebody asked")?;
        let last = asked.iter().max_by_key(|asked| asked.end.0).context("somebody asked")?;
        Ok((last.end.0 - first.begin.0, last.end.1.saturating_sub(first.begin.1)))
    })
}

/// When a thread began to ask and had its last answer, and the process's CPU time then. Its own readings: another
/// thread that waits for it to begin is woken late, if at all, while the loop looks on one core and it asks on the other.
struct Asked {
    begin: (Instant, Duration),
    end: (Instant, Duration),
}

/// Asks all that this thread is to ask.
fn ask<D: Door<A::Reply>, A: Answers>(
    door: &D,
    load: Load,
    args: &Args,
    barrier: &Barrier,
) -> anyhow::Result<Asked> {
    let pinned = measure::pin_to_core(args.thread_core);
    let pause = Duration::from_micros(args.pause_us);
    let mut answers = A::new(load.batch);
    let mut rounds = |count| {
        for _ in 0..count {
            answers.expect(load.batch);
            for _ in 0..load.batch {
                door.ask(answers.reply());
            }
            answers.wait();
            if !pause.is_zero() {
                thread::sleep(pause);
            }
        }
    };
    rounds((load.rounds() / 10).max(1));
    barrier.wait();
    let begin = (Instant::now(), process_cpu_time()?);
    rounds(load.rounds());
    let end = (Instant::now(), process_cpu_time()?);
    pinned.map(|()| Asked { begin, end })
}

fn joined<T>(result: thread::Result<anyhow::Result<T>>) -> anyhow::Result<T> {
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn process_cpu_time() -> anyhow::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).context("the process's CPU time")?.into())
}

impl Load {
    fn described(self) -> comparison::Load {
        let Load { threads, batch, .. } = self;
        comparison::Load::new(
            format!("{threads} threads, batches of {batch}"),
            &[("threads", threads as f64), ("batch", batch as f64)],
        )
    }

    /// Batches of one thread.
    fn rounds(self) -> usize {
        (self.questions / (self.threads * self.batch)).max(1)
    }
}
