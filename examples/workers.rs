//! Work that would hold up the loop, on other threads. `cargo run --example workers [NUMBER…]` counts the primes below
//! each number on the thread pool, and on a thread of its own looks for the longest Collatz sequence below the
//! largest, telling how far it is. All answers come to the loop's thread, where they share the state.

use std::collections::VecDeque;
use std::time::Duration;

use nbio::{EventLoop, Operation, Remote, op};

/// What all callbacks share; no locks, since they all run on the loop's thread.
struct Desk {
    waiting: VecDeque<u64>,
    answered: usize,
    progress: u64,
}

/// How many numbers are worked on at a time; the others wait here rather than in the pool, which other parts of a
/// program use as well.
const AT_A_TIME: usize = 4;

/// A number that takes longer is given up. If it has begun, it still takes its time, and its answer counts.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers: VecDeque<u64> =
        std::env::args().skip(1).map(|text| text.parse()).collect::<Result<_, _>>()?;
    if numbers.is_empty() {
        numbers = [10, 1_000, 10_000, 100_000].into();
    }
    let largest = numbers.iter().copied().max().unwrap_or(0);
    if largest > 10_000_000 {
        return Err("numbers of up to 10000000, please".into());
    }
    let mut desk = Desk { waiting: numbers, answered: 0, progress: 0 };
    let io = EventLoop::new()?;

    // The guard keeps `run` going while the thread has more to say.
    let (remote, alive) = (io.remote()?, io.remote()?.keep_alive());
    let explorer = std::thread::spawn(move || {
        explore(&remote, largest);
        drop(alive);
    });
    (0..AT_A_TIME).for_each(|_| count_next(&mut desk, &io));
    io.run_with(&mut desk)?;
    explorer.join().map_err(|_| "the explorer panicked")?;
    println!("{} answers, {}% explored", desk.answered, desk.progress);
    Ok(())
}

/// Gives the next number to the pool.
fn count_next(desk: &mut Desk, io: &EventLoop<Desk>) {
    let Some(below) = desk.waiting.pop_front() else { return };
    let counting = op::Blocking::new(move || primes_below(below)).timeout(PATIENCE);
    io.submit(counting, move |desk: &mut Desk, io, counted| {
        match counted {
            Ok(primes) => println!("{primes} primes below {below}"),
            Err(error) => println!("{below}: {error}"),
        }
        desk.answered += 1;
        count_next(desk, io);
    });
}

/// Runs on a thread of the pool.
fn primes_below(end: u64) -> usize {
    let mut composite = vec![false; end as usize];
    let mut primes = 0;
    for number in 2..composite.len() {
        if !composite[number] {
            primes += 1;
            composite.iter_mut().skip(number * 2).step_by(number).for_each(|multiple| *multiple = true);
        }
    }
    primes
}

/// Runs on its own thread, and reports on its way. An error means that the loop is gone: then nobody wants to know.
fn explore(remote: &Remote<Desk>, end: u64) {
    let mut longest = (0, 1);
    for percent in (25..=100).step_by(25) {
        for start in (end * (percent - 25) / 100).max(1)..end * percent / 100 {
            longest = longest.max((collatz_steps(start), start));
        }
        let (steps, start) = longest;
        let told = remote.run(move |desk: &mut Desk, _| {
            desk.progress = percent;
            println!("{percent}% explored: {steps} steps from {start}");
        });
        if told.is_err() {
            return;
        }
    }
}

fn collatz_steps(start: u64) -> u32 {
    let sequence = std::iter::successors(Some(start), |&n| Some(if n % 2 == 0 { n / 2 } else { 3 * n + 1 }));
    sequence.take_while(|&n| n > 1).count() as u32
}
