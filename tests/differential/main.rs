//! Guarantee 8: the same program sees the same things on every backend.
//!
//! Random programs, of which the generator (`model`) knows what each operation has to come to, are carried out (`perform`)
//! on two backends side by side, and what the callbacks saw is compared: the kinds of errors, how many bytes, which bytes.
//! Not compared are sizes of chunks and times. Several operations are under way at once; before each one whose result would
//! depend on how far they are, both sides come to rest.
//!
//! A program in which hardly anything happens compares nothing: at least nine in ten of the operations have to move data,
//! or end in the error that the generator chose.
//!
//! `NBIO_SEED=7` or `7..90` runs those programs on every pair, `NBIO_LONG=1` thousands.

#[path = "../programs/address.rs"]
mod address;
#[path = "../backends/mod.rs"]
mod backends;
mod files;
mod model;
mod perform;
mod run;
mod stream;
mod tree;

use std::ops::Range;

use backends::SYSTEMS;
use model::{Expected, Step, World};
use run::{Ground, Run, Seen};

/// What became of operations.
#[derive(Copy, Clone, Debug, Default)]
struct Tally {
    moved: usize,
    chosen_errors: usize,
    /// What has no data to move: connects, closes, names.
    done: usize,
    /// Not as the generator expected; the same on both sides.
    otherwise: usize,
}

impl Tally {
    fn count(&mut self, expected: Expected, seen: &Seen) {
        match (expected, seen.error) {
            (Expected::Moves, None) if seen.bytes > 0 => self.moved += 1,
            (Expected::Fails(chosen), Some(error)) if chosen == error => self.chosen_errors += 1,
            (Expected::Done, None) => self.done += 1,
            _ => self.otherwise += 1,
        }
    }

    fn all(&self) -> usize {
        self.moved + self.chosen_errors + self.done + self.otherwise
    }

    /// How many of a hundred moved data or ended in the chosen error.
    fn percentage(&self) -> usize {
        (self.moved + self.chosen_errors) * 100 / self.all().max(1)
    }
}

/// Carries a program out on both grounds.
fn compare(seed: u64, grounds: [Ground; 2], world: World, tally: &mut Tally) {
    let steps = model::draw(seed, world);
    let mut runs = grounds.map(|ground| Run::new(ground, seed));
    let mut expected = Vec::new();
    let mut done = 0;
    for (number, Step { action, first, ends, rest }) in steps.iter().enumerate() {
        runs.iter_mut().for_each(|run| run.perform(action, *first));
        expected.extend_from_slice(ends);
        if !rest {
            continue;
        }
        let [one, other] = &mut runs;
        let seen = [one.rest(&expected), other.rest(&expected)];
        if seen[0] != seen[1] || seen[0].len() != expected.len() {
            let steps = &steps[done..=number];
            let [one, other] = grounds.map(|ground| ground.name());
            let differing = seen[0].iter().find(|(op, what)| seen[1].get(op) != Some(what));
            panic!(
                "program {seed} on {one} and {other}, steps {done}..={number}: {steps:#?}\nfirst difference: \
                 {differing:?}\n{one} saw {:#?}\n{other} saw {:#?}\nexpected {expected:?}",
                seen[0], seen[1]
            );
        }
        for (op, expected) in expected.drain(..) {
            let seen = &seen[0][&op];
            let before = tally.otherwise;
            tally.count(expected, seen);
            if tally.otherwise > before && std::env::var_os("NBIO_SEED").is_some() {
                println!("program {seed}, operation {op}: {seen:?} instead of {expected:?}");
            }
        }
        done = number + 1;
    }
    let [one, other] = &runs;
    let left = one.left_in_flight(other);
    assert_eq!(left.0, left.1, "program {seed} on {grounds:?}");
}

/// Every pair of systems with each other, and every one with a simulation.
fn pairs() -> Vec<[Ground; 2]> {
    let systems = SYSTEMS.iter().map(|&system| Ground::System(system)).collect::<Vec<_>>();
    let mut pairs = Vec::new();
    for (index, &one) in systems.iter().enumerate() {
        pairs.extend(systems[index + 1..].iter().map(|&other| [one, other]));
        pairs.push([Ground::Simulation, one]);
    }
    pairs
}

/// The pairs share the programs.
fn seeds(pair: u64, pairs: u64) -> Range<u64> {
    let long = std::env::var_os("NBIO_LONG").is_some_and(|value| value == "1");
    let count = if long { 6_000 } else { 180 } / pairs;
    pair * count..(pair + 1) * count
}

/// The seeds that `NBIO_SEED` names.
fn chosen() -> Option<Range<u64>> {
    let text = std::env::var("NBIO_SEED").ok()?;
    let number = |text: &str| text.parse::<u64>().expect("NBIO_SEED is a number or a range a..b");
    Some(match text.split_once("..") {
        Some((first, end)) => number(first)..number(end),
        None => number(&text)..number(&text) + 1,
    })
}

/// Runs the programs of one pair.
fn compare_all(seeds: Range<u64>, grounds: [Ground; 2]) {
    let simulated = grounds.iter().any(|ground| matches!(ground, Ground::Simulation));
    let world = if simulated { World::Simulated } else { World::System };
    let mut tally = Tally::default();
    for seed in chosen().unwrap_or(seeds) {
        compare(seed, grounds, world, &mut tally);
    }
    let [one, other] = grounds.map(|ground| ground.name());
    let (all, percentage) = (tally.all(), tally.percentage());
    println!(
        "{one} and {other}: {percentage} % of {all} operations moved data or were to fail so: {tally:?}"
    );
    assert!(chosen().is_some() || percentage >= 90, "too little happens: {tally:?}");
}

#[test]
fn the_same_program_sees_the_same_on_every_pair_of_backends() {
    let pairs = (0..).zip(pairs()).collect::<Vec<_>>();
    let count = pairs.len() as u64;
    // Two at a time, since each waits now and then.
    for pairs in pairs.chunks(2) {
        std::thread::scope(|scope| {
            pairs.iter().for_each(|&(number, grounds)| {
                drop(scope.spawn(move || compare_all(seeds(number, count), grounds)))
            });
        });
    }
}
