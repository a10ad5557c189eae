//! Random programs with an oracle: what nobody thought of.
//!
//! A program is drawn from a seed (`step`), carried out on a loop (`perform`, `transfer`), and everything that happens
//! is compared with what was asked (`judge`). It needs nothing but a way to make a loop, so it runs on every backend.
//!
//! `NBIO_SEED=7` runs program 7 only, `NBIO_SEED=7..90` those of the range.

pub mod address;
mod content;
pub mod descriptors;
mod judge;
mod perform;
mod setup;
#[cfg_attr(windows, path = "no_signals.rs")]
mod signals;
mod step;
mod tracked;
mod transfer;
mod world;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use descriptors::{OWN_DESCRIPTORS, with_own_descriptors};
use perform::{Planned, perform, tick};
use setup::Bench;
use step::{Ending, Program};
use world::{Io, Peer, World};

pub use setup::Ground;
pub use step::Style;

/// How long the system may take to let go of everything.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs the programs of these seeds, or those that `NBIO_SEED` names; see [`run_exactly`].
pub fn run(ground: &Ground, style: Style, seeds: Range<u64>) -> u64 {
    run_exactly(ground, style, chosen().unwrap_or(seeds))
}

/// Runs the programs of these seeds, on two threads if these don't see each other's descriptors. Of programs in a simulation it gives a digest of all that happened.
///
/// # Panics
/// If one goes wrong; the message has its seed and what it did.
pub fn run_exactly(ground: &Ground, style: Style, seeds: Range<u64>) -> u64 {
    content::check_yourself();
    let middle = seeds.start + (seeds.end - seeds.start).div_ceil(2);
    std::thread::scope(|scope| {
        let start = |half| scope.spawn(move || with_own_descriptors(|| run_all(ground, style, half)));
        let join =
            |thread: ScopedJoinHandle<'_, u64>| thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        let first = start(seeds.start..middle);
        if !OWN_DESCRIPTORS {
            return join(first) ^ join(start(middle..seeds.end));
        }
        let second = start(middle..seeds.end);
        join(first) ^ join(second)
    })
}

fn run_all(ground: &Ground, style: Style, seeds: Range<u64>) -> u64 {
    let bench = Bench::new(ground);
    let all = || seeds.fold(0, |digest, seed| digest ^ run_one(&bench, style, seed));
    if style.signals { signals::pestered(all) } else { all() }
}

/// The seeds that `NBIO_SEED` names.
pub fn chosen() -> Option<Range<u64>> {
    let text = std::env::var("NBIO_SEED").ok()?;
    let number = |text: &str| text.parse::<u64>().expect("NBIO_SEED is a number or a range a..b");
    Some(match text.split_once("..") {
        Some((first, end)) => number(first)..number(end),
        None => number(&text)..number(&text) + 1,
    })
}

fn run_one(bench: &Bench, style: Style, seed: u64) -> u64 {
    let program = step::draw(seed, style);
    let before = descriptors::open();
    let (io, simulation) = bench.io(&program, seed);
    let io = Rc::new(io);
    let world = World::new(&io, bench.foreign);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        setup::pairs(bench, &world, &io, &program);
        carry_out(&world, io, &program);
    }));
    if let Err(panic) = outcome {
        explain(&world, seed, &program);
        resume_unwind(panic);
    }
    setup::join_threads(&world);
    settle_accounts(&world);
    let after = descriptors::open();
    world.check(before == after, || format!("open descriptors before {before:?}, after {after:?}"));
    let failure = world.inner.borrow().failure.clone();
    if let Some(failure) = failure {
        explain(&world, seed, &program);
        panic!("program {seed}: {failure}");
    }
    simulation.map_or(0, |simulation| simulation.digest())
}

fn explain(world: &World, seed: u64, program: &Program) {
    eprintln!("program {seed} (NBIO_SEED={seed} runs it alone): {:?}", program.pairs);
    eprintln!("{:?}, at most {:?} callbacks a tick\n{}", program.ending, program.budget, world.trace());
}

/// Runs what may unwind with a planned panic.
fn may_panic(action: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(action))
        && !panic.is::<Planned>()
    {
        resume_unwind(panic);
    }
}

fn carry_out(world: &Rc<World>, io: Rc<Io>, program: &Program) {
    for step in &program.steps {
        may_panic(|| perform(world, &io, step));
        world.depth.set(0);
        if world.failed() {
            break;
        }
    }
    match program.ending {
        Ending::DrainAndCount => {
            drain(world, &io);
            setup::count_rest(world, &io);
        }
        Ending::CloseAll => close_all(world, &io),
        Ending::DropLoop => {
            world.note("drop the loop", None, None, 0);
            let ends = world.inner.borrow().ends.len();
            (0..ends).for_each(|end| world.mark_closed(end));
            world.mark_all_removed();
        }
    }
    if program.ending != Ending::DropLoop {
        finish(world, &io);
    }
    drop_loop(world, io);
}

/// Everything may be cancelled from here on.
fn drain(world: &Rc<World>, io: &Io) {
    world.note("drain", None, None, 0);
    world.draining.set(true);
    world.coarse.set(true);
    world.inner.borrow_mut().records.iter_mut().for_each(|record| record.asked = true);
    let start = std::time::Instant::now();
    let mut left = None;
    while left.is_none() && start.elapsed() < PATIENCE {
        world.ticking.set(true);
        // A planned panic ends it early.
        may_panic(|| left = Some(io.drain_with(&mut 0, PATIENCE).expect("not inside a callback")));
        world.ticking.set(false);
    }
    world.depth.set(0);
    world.check(left == Some(0), || format!("{left:?} operations left after a drain"));
}

fn close_all(world: &Rc<World>, io: &Io) {
    let ends = world.inner.borrow().ends.len();
    for end in 0..ends {
        world.note("close", None, Some(end), 0);
        let name = world.inner.borrow().ends[end].name;
        io.close(name);
        world.mark_closed(end);
    }
    for _ in 0..3 {
        may_panic(|| tick(world, io, Duration::ZERO));
    }
}

/// Closes what is open and waits until nothing is left.
fn finish(world: &Rc<World>, io: &Io) {
    drain(world, io);
    let (names, listener) = {
        let inner = world.inner.borrow();
        (inner.ends.iter().map(|end| end.name).collect::<Vec<_>>(), inner.listener)
    };
    names.into_iter().for_each(|name| io.close(name));
    if let Some((listener, _)) = listener {
        io.close(listener);
    }
    drain(world, io);
    world.check(io.in_flight() == 0, || format!("{} operations in flight at the end", io.in_flight()));
}

fn drop_loop(world: &Rc<World>, io: Rc<Io>) {
    let io = Rc::into_inner(io).expect("nobody else holds the loop");
    let start = std::time::Instant::now();
    drop(io);
    let took = start.elapsed();
    world.check(took < Duration::from_secs(10), || format!("dropping the loop took {took:?}"));
}

/// After the loop is gone: every counted value was dropped once, every operation ended, and the bytes add up.
fn settle_accounts(world: &World) {
    let wrong = world.ledger.wrong();
    world.check(wrong.is_empty(), || format!("not dropped exactly once (number, drops): {wrong:?}"));
    let inner = world.inner.borrow();
    for (index, end) in inner.ends.iter().enumerate() {
        let Peer::End(peer) = end.peer else { continue };
        let other = &inner.ends[peer];
        let (sends, addresses) = (&other.sends, [end.addresses, other.addresses]);
        if !content::explains(&end.received, sends, false) {
            let came = end.received.len();
            let whose = (0..inner.records.len()).find(|number| {
                let start = &end.received[..came.min(16)];
                content::of(*number, start.len()) == start
            });
            let what = format!(
                "end {peer} sent {sends:?}, which doesn't explain the {came} bytes that came to end {index}, as if from \
                 #{whose:?}; {addresses:?}"
            );
            drop(inner);
            return world.fail(|| what);
        }
    }
}
