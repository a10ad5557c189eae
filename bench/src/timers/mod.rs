//! The timer queue against the candidates that lost and what others offer.
//!
//! All contenders get the same deadlines and the same victims, and each repeat runs
//! all of them, one after the other, in a rotating order.
//!
//! Tokio's timers run on a paused clock, because the loads need minutes of time to
//! pass: its clock is moved where the others are told the time. They round to
//! milliseconds and do not keep an order within one, so they do less. `tokio sleep`
//! is `Sleep` futures in place (no allocation is counted), polled once with a waker
//! that does nothing; `tokio queue` is tokio-util's `DelayQueue`. For the few timers
//! they are awaited, and a turn of the runtime is part of each.

#[allow(dead_code)]
#[path = "../../../src/engine/timers.rs"]
mod runs;

mod heap;

mod lazy;

mod tokios;

mod wheel;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::comparison::{Better, Comparison, Load, Metric};
use tokios::{Delays, Sleeps};

#[derive(clap::Args)]
pub struct Args {
    /// How often the whole comparison is repeated
    #[arg(long, default_value_t = 5)]
    repeats: usize,
}

const SECOND: u64 = 1_000_000_000;
const MANY: usize = 1_000_000;
const DEADLINE_OPS: usize = 300_000;
const FEW_OPS: usize = 200_000;
/// Operations in a turn of the loop: then it asks for the next deadline.
const TURN: usize = 64;

/// xorshift64*
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((u128::from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)) * u128::from(bound)) >> 64) as u64
    }
}

/// Which timer is cancelled.
#[derive(Copy, Clone)]
enum Victim {
    Oldest,
    Random,
}

/// How far away the deadlines are.
#[derive(Copy, Clone)]
enum Timeout {
    /// 30 s, as for each receive.
    Same,
    /// 1, 5, 30 or 60 s, and one in a hundred somewhere in 10 to 60 minutes.
    Lengths,
    /// Somewhere in 1 to 61 s.
    Any,
}

impl Timeout {
    fn draw(self, rng: &mut Rng) -> u64 {
        match self {
            Timeout::Same => 30 * SECOND,
            Timeout::Lengths if rng.below(100) == 0 => 600 * SECOND + rng.below(3000 * SECOND),
            Timeout::Lengths => [1, 5, 30, 60][rng.below(4) as usize] * SECOND,
            Timeout::Any => SECOND + rng.below(60 * SECOND),
        }
    }
}

/// The deadline pattern: insert one, cancel another, time goes on.
#[derive(Copy, Clone)]
struct Pattern {
    live: usize,
    victim: Victim,
    timeout: Timeout,
}

const PATTERNS: [(&str, Pattern); 6] = {
    const fn pattern(live: usize, victim: Victim, timeout: Timeout) -> Pattern {
        Pattern { live, victim, timeout }
    }
    use Timeout::{Any, Lengths, Same};
    use Victim::{Oldest, Random};
    [
        ("30 s, 1k live, cancel oldest", pattern(1_000, Oldest, Same)),
        ("30 s, 1k live, cancel random", pattern(1_000, Random, Same)),
        ("30 s, 100k live, cancel oldest", pattern(100_000, Oldest, Same)),
        ("30 s, 100k live, cancel random", pattern(100_000, Random, Same)),
        ("mixed lengths, 100k, random", pattern(100_000, Random, Lengths)),
        ("any 1..61 s, 100k, random", pattern(100_000, Random, Any)),
    ]
};

/// The operations of the deadline pattern, the same for each contender.
struct Script {
    rng: Rng,
    pattern: Pattern,
    now: u64,
    oldest: usize,
}

impl Script {
    fn new(pattern: Pattern) -> Script {
        Script { rng: Rng(99), pattern, now: SECOND, oldest: 0 }
    }

    fn deadline(&mut self) -> u64 {
        self.now += self.rng.below(2_000);
        self.now + self.pattern.timeout.draw(&mut self.rng)
    }

    fn victim(&mut self) -> usize {
        match self.pattern.victim {
            Victim::Random => self.rng.below(self.pattern.live as u64) as usize,
            Victim::Oldest => {
                let oldest = self.oldest;
                self.oldest = (oldest + 1) % self.pattern.live;
                oldest
            }
        }
    }
}

/// Deadlines of the many timers, and the order in which half are cancelled.
fn many() -> (Vec<u64>, Vec<usize>) {
    let mut rng = Rng(12_345);
    let deadlines = (0..MANY).map(|_| rng.below(60 * SECOND)).collect();
    let mut order: Vec<usize> = (0..MANY).collect();
    for i in (1..MANY).rev() {
        order.swap(i, rng.below(i as u64 + 1) as usize);
    }
    order.truncate(MANY / 2);
    (deadlines, order)
}

/// Nanoseconds of each operation.
fn each(start: Instant, operations: usize) -> f64 {
    start.elapsed().as_nanos() as f64 / operations as f64
}

/// What one contender did in one repeat, in nanoseconds.
#[derive(Default)]
struct Figures {
    /// Each operation, by row of the table.
    rows: Vec<f64>,
    /// The longest turn of the loop, by pattern.
    longest: Vec<f64>,
}

impl Figures {
    fn turns(&mut self, start: Instant, longest: Duration) {
        self.rows.push(each(start, DEADLINE_OPS));
        self.longest.push(longest.as_nanos() as f64);
    }
}

/// A queue that is told the time.
trait Queue {
    type Key: Copy;
    fn new() -> Self;
    fn insert(&mut self, deadline: u64, token: u64) -> Self::Key;
    fn cancel(&mut self, key: Self::Key) -> u64;
    fn next_deadline(&mut self) -> Option<u64>;
    fn pop_due(&mut self, now: u64) -> Option<(u64, u64)>;
}

macro_rules! queue {
    ($queue:ty, $key:ty) => {
        impl Queue for $queue {
            type Key = $key;
            fn new() -> Self {
                <$queue>::new()
            }
            fn insert(&mut self, deadline: u64, token: u64) -> $key {
                <$queue>::insert(self, deadline, token)
            }
            fn cancel(&mut self, key: $key) -> u64 {
                <$queue>::cancel(self, key)
            }
            fn next_deadline(&mut self) -> Option<u64> {
                <$queue>::next_deadline(self)
            }
            fn pop_due(&mut self, now: u64) -> Option<(u64, u64)> {
                <$queue>::pop_due(self, now)
            }
        }
    };
}

queue!(runs::Timers, runs::TimerKey);
queue!(heap::Timers, u32);
queue!(lazy::Timers, u32);
queue!(wheel::Timers, u32);

/// As a person would write it: the cancelled ones are in a set until they come up.
struct StdHeap {
    /// Deadline, number of the insert and token.
    heap: BinaryHeap<Reverse<(u64, u64, u64)>>,
    cancelled: HashSet<u64>,
    inserts: u64,
}

impl Queue for StdHeap {
    type Key = (u64, u64);

    fn new() -> StdHeap {
        StdHeap { heap: BinaryHeap::new(), cancelled: HashSet::new(), inserts: 0 }
    }

    fn insert(&mut self, deadline: u64, token: u64) -> (u64, u64) {
        self.inserts += 1;
        self.heap.push(Reverse((deadline, self.inserts, token)));
        (self.inserts, token)
    }

    fn cancel(&mut self, (insert, token): (u64, u64)) -> u64 {
        self.cancelled.insert(insert);
        token
    }

    fn next_deadline(&mut self) -> Option<u64> {
        while let Some(&Reverse((deadline, insert, _))) = self.heap.peek() {
            if !self.cancelled.remove(&insert) {
                return Some(deadline);
            }
            self.heap.pop();
        }
        None
    }

    fn pop_due(&mut self, now: u64) -> Option<(u64, u64)> {
        self.next_deadline().filter(|&deadline| deadline <= now)?;
        (self.heap.pop()).map(|Reverse((deadline, _, token))| (deadline, token))
    }
}

fn measure<Q: Queue>() -> Figures {
    let mut figures = Figures::default();

    let (deadlines, cancels) = many();
    let mut queue = Q::new();
    let mut keys = Vec::with_capacity(MANY);
    let start = Instant::now();
    for (token, &deadline) in deadlines.iter().enumerate() {
        keys.push(queue.insert(deadline, token as u64));
    }
    figures.rows.push(each(start, MANY));
    let start = Instant::now();
    for &i in &cancels {
        assert_eq!(queue.cancel(keys[i]), i as u64);
    }
    figures.rows.push(each(start, MANY / 2));
    let start = Instant::now();
    let (mut fired, mut last) = (0, 0);
    while let Some((deadline, _)) = queue.pop_due(u64::MAX) {
        assert!(deadline >= last);
        last = deadline;
        fired += 1;
    }
    figures.rows.push(each(start, MANY / 2));
    assert_eq!(fired, MANY / 2);

    for (_, pattern) in PATTERNS {
        let mut queue = Q::new();
        let mut script = Script::new(pattern);
        let mut keys: Vec<Q::Key> = (0..pattern.live).map(|_| queue.insert(script.deadline(), 7)).collect();
        let mut longest = Duration::ZERO;
        let start = Instant::now();
        let mut turn = start;
        for i in 0..DEADLINE_OPS {
            let key = queue.insert(script.deadline(), 7);
            let victim = script.victim();
            black_box(queue.cancel(std::mem::replace(&mut keys[victim], key)));
            if i % TURN == TURN - 1 {
                assert!(queue.pop_due(script.now).is_none());
                black_box(queue.next_deadline());
                let now = Instant::now();
                longest = longest.max(now - turn);
                turn = now;
            }
        }
        figures.turns(start, longest);
    }

    let mut rng = Rng(5);
    let mut queue = Q::new();
    for token in 0..10 {
        queue.insert(rng.below(SECOND), token);
    }
    let start = Instant::now();
    for _ in 0..FEW_OPS {
        let deadline = queue.next_deadline().expect("ten timers");
        let (_, token) = queue.pop_due(deadline).expect("one is due");
        queue.insert(deadline + SECOND / 1_000 + rng.below(SECOND), token);
    }
    figures.rows.push(each(start, FEW_OPS));
    figures
}

type Contender = (&'static str, fn() -> Figures);

const CONTENDERS: [Contender; 7] = [
    ("nbio, runs", measure::<runs::Timers>),
    ("4-ary heap", measure::<heap::Timers>),
    ("lazy heap", measure::<lazy::Timers>),
    ("wheel", measure::<wheel::Timers>),
    ("std heap", measure::<StdHeap>),
    ("tokio sleep", tokios::measure::<Sleeps>),
    ("tokio queue", tokios::measure::<Delays>),
];

/// The rows of the table.
fn loads() -> Vec<&'static str> {
    let mut loads = vec!["1M random in 60 s: insert", "cancel 500k", "fire 500k"];
    loads.extend(PATTERNS.map(|(name, _)| name));
    loads.push("10 timers: fire and insert");
    loads
}

const METRICS: [Metric; 2] = [
    Metric::new("time", "ns/operation", 0, Better::Less).compared(),
    // Where there are turns; the least of the repeats says most.
    Metric::new("longest turn", "us", 0, Better::Less),
];

const ABOUT: &str = "Timer queues: insert, cancel, fire. All get the same deadlines and the same victims; tokio's run on a \
    paused clock, and round to milliseconds.";

pub fn run(args: &Args) -> anyhow::Result<Comparison> {
    let names = CONTENDERS.map(|(name, _)| name.to_owned()).to_vec();
    let mut comparison = Comparison::new("timers", "Timer queues", ABOUT, &METRICS, names);
    let described = loads().into_iter().map(|name| Load::new(name, &[])).collect();
    // The turns are the patterns', which are in the middle.
    let first_pattern = loads().iter().position(|load| *load == PATTERNS[0].0);
    comparison.measure_together(described, args.repeats, |contender, _| {
        let figures = CONTENDERS[contender].1();
        let longest = |row: usize| {
            let pattern = row.checked_sub(first_pattern?)?;
            Some(figures.longest.get(pattern)? / 1e3)
        };
        Ok(figures.rows.iter().enumerate().map(|(row, ns)| vec![Some(*ns), longest(row)]).collect())
    })?;
    Ok(comparison)
}
