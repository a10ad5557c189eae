//! A program: what is drawn from a seed, before anything runs.

use std::rc::Rc;

use fastrand::Rng;
use nbio::Half;

use super::content::LONGEST;

/// A list of steps that a callback carries out.
pub type Then = Rc<[Step]>;

/// One thing to do. Ends and operations are named by how far they are back in what exists when the step runs.
#[derive(Clone, Debug)]
pub enum Step {
    Recv {
        end: usize,
        transfer: Transfer,
        plan: Plan,
    },
    RecvVectored {
        end: usize,
        transfer: Transfer,
        plan: Plan,
    },
    Send {
        end: usize,
        transfer: Transfer,
        plan: Plan,
    },
    SendVectored {
        end: usize,
        transfer: Transfer,
        plan: Plan,
    },
    Accept(Plan),
    Connect(Plan),
    Shutdown {
        end: usize,
        half: Half,
        plan: Plan,
    },
    Timer {
        micros: u64,
        plan: Plan,
    },
    Interval {
        micros: u64,
        items: u32,
        plan: Plan,
    },
    NextTick(Plan),
    /// A closure for another thread.
    Blocking(Plan),
    Close {
        end: usize,
    },
    CloseThen {
        end: usize,
        plan: Plan,
    },
    CloseGracefully {
        end: usize,
        micros: u64,
        plan: Plan,
    },
    CloseListener,
    Cancel {
        back: usize,
    },
    Remove {
        back: usize,
    },
    CancelAll {
        end: usize,
    },
    CancelAccepts,
    Reset {
        back: usize,
        micros: u64,
    },
    /// Out of the loop and in again, under a new name.
    Readopt {
        end: usize,
        nonblocking: bool,
    },
    /// A submit with a name of another loop.
    Foreign,
    Stop,
    Tick {
        micros: u64,
    },
    /// Unwinds out of the callback.
    Panic,
}

/// What every submit has.
#[derive(Clone, Debug)]
pub struct Plan {
    pub limit: Limit,
    pub background: bool,
    /// The closure doesn't fit a slot.
    pub large: bool,
    /// What the callback does.
    pub then: Then,
    /// What the closure's drop does if it never ran.
    pub dropped: Then,
}

#[derive(Copy, Clone, Debug)]
pub enum Limit {
    None,
    Within(u64),
    Past,
}

#[derive(Copy, Clone, Debug)]
pub struct Transfer {
    /// Capacity or length, in bytes.
    pub size: usize,
    /// `all`, or `exact` with this many bytes.
    pub whole: Option<usize>,
    pub append: bool,
    pub buffer: Buffer,
}

#[derive(Copy, Clone, Debug)]
pub enum Buffer {
    Vec,
    Boxed,
    Inline,
    Slice,
}

/// How a pair of connected streams comes to be at a program's start.
#[derive(Copy, Clone, Debug)]
pub struct Pair {
    pub nonblocking: bool,
    /// Socket buffers of a few KiB: sends are short, and wait.
    pub narrow: bool,
    /// The second end is a std socket in a thread, which sends this much and reads all that comes.
    pub thread: Option<usize>,
}

/// What becomes of what is still going on when the steps are over.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Drain, then read what is left in the sockets: no byte may be missing.
    DrainAndCount,
    CloseAll,
    DropLoop,
}

#[derive(Clone, Debug)]
pub struct Program {
    pub pairs: Vec<Pair>,
    pub steps: Vec<Step>,
    pub ending: Ending,
    /// Callbacks of a tick at most; `None` for the default.
    pub budget: Option<usize>,
}

/// Which programs to draw.
#[derive(Copy, Clone, Debug, Default)]
pub struct Style {
    /// Peers in threads.
    pub threads: bool,
    /// Signals all the time.
    pub signals: bool,
    /// Closures for other threads. Not on the system: a program's thread has a descriptor table of its own, in which the
    /// pool's threads don't find the loop.
    pub closures: bool,
}

impl Plan {
    /// Nothing but the operation.
    pub fn bare() -> Plan {
        let nothing: Then = Rc::new([]);
        Plan { limit: Limit::None, background: false, large: false, then: nothing.clone(), dropped: nothing }
    }
}

pub fn draw(seed: u64, style: Style) -> Program {
    let mut rng = Rng::with_seed(seed);
    let rng = &mut rng;
    let pair = |rng: &mut Rng| Pair {
        nonblocking: rng.u8(..4) == 0,
        narrow: rng.u8(..3) == 0,
        thread: (style.threads && rng.bool()).then(|| rng.usize(..LONGEST)),
    };
    let pairs = (0..rng.usize(1..=3)).map(|_| pair(rng)).collect();
    let count = if rng.u8(..8) == 0 { rng.usize(200..400) } else { rng.usize(20..150) };
    // Each program has its own balance: some cancel a lot, some hardly ever.
    let mut weights: Vec<u32> = WEIGHTS.iter().map(|weight| weight * rng.u32(0..=6)).collect();
    // Without ticks nothing happens.
    weights[TICK] = weights[TICK].max(20);
    if !style.closures {
        weights[BLOCKING] = 0;
    }
    let steps = (0..count).map(|_| step(rng, &weights, 0)).collect();
    let ending = [Ending::DrainAndCount, Ending::CloseAll, Ending::DropLoop][rng.usize(..3)];
    let budget = (rng.u8(..6) == 0).then(|| rng.usize(1..4));
    Program { pairs, steps, ending, budget }
}

/// In the order of `step`.
const WEIGHTS: [u32; 25] = [14, 5, 14, 5, 3, 3, 2, 3, 2, 3, 1, 1, 1, 1, 10, 8, 2, 1, 2, 2, 1, 1, 26, 1, 2];
const TICK: usize = 22;
const BLOCKING: usize = 24;

fn choose(rng: &mut Rng, weights: &[u32]) -> usize {
    let sum: u32 = weights.iter().sum();
    let mut at = rng.u32(..sum);
    for (index, &weight) in weights.iter().enumerate() {
        match at.checked_sub(weight) {
            None => return index,
            Some(left) => at = left,
        }
    }
    unreachable!("below the sum")
}

fn step(rng: &mut Rng, weights: &[u32], depth: u32) -> Step {
    let end = rng.usize(..8);
    // The newest ones most often.
    let magnitude = rng.u32(0..6);
    let back = rng.usize(..1 << magnitude);
    match choose(rng, weights) {
        0 => Step::Recv { end, transfer: receive(rng), plan: plan(rng, weights, depth) },
        1 => Step::RecvVectored { end, transfer: receive(rng), plan: plan(rng, weights, depth) },
        2 => Step::Send { end, transfer: send(rng), plan: plan(rng, weights, depth) },
        3 => Step::SendVectored { end, transfer: send(rng), plan: plan(rng, weights, depth) },
        4 => Step::Accept(plan(rng, weights, depth)),
        5 => Step::Connect(plan(rng, weights, depth)),
        6 => Step::Shutdown { end, half: half(rng), plan: plan(rng, weights, depth) },
        7 => Step::Timer { micros: rng.u64(..2_000), plan: plan(rng, weights, depth) },
        8 => {
            let (micros, items) = (rng.u64(..300), rng.u32(..4));
            Step::Interval { micros, items, plan: plan(rng, weights, depth) }
        }
        9 => Step::NextTick(plan(rng, weights, depth)),
        10 => Step::Close { end },
        11 => Step::CloseThen { end, plan: plan(rng, weights, depth) },
        12 => Step::CloseGracefully { end, micros: rng.u64(..3_000), plan: plan(rng, weights, depth) },
        13 => Step::CloseListener,
        14 => Step::Cancel { back },
        15 => Step::Remove { back },
        16 => Step::CancelAll { end },
        17 => Step::CancelAccepts,
        18 => Step::Reset { back, micros: rng.u64(..1_000) },
        19 => Step::Readopt { end, nonblocking: rng.bool() },
        20 => Step::Foreign,
        21 => Step::Stop,
        TICK => Step::Tick { micros: if rng.u8(..24) == 0 { rng.u64(..300) } else { 0 } },
        BLOCKING => Step::Blocking(plan(rng, weights, depth)),
        _ if depth > 0 => Step::Panic,
        _ => Step::Tick { micros: 0 },
    }
}

fn half(rng: &mut Rng) -> Half {
    [Half::Read, Half::Write, Half::Write, Half::Both][rng.usize(..4)]
}

fn plan(rng: &mut Rng, weights: &[u32], depth: u32) -> Plan {
    let limit = match rng.u8(..12) {
        0 => Limit::Past,
        1 | 2 => Limit::Within(rng.u64(..1_500)),
        _ => Limit::None,
    };
    let nested = |rng: &mut Rng, one_in: u8, most: usize| -> Then {
        let none = depth > 1 || rng.u8(..one_in) != 0;
        let count = if none { 0 } else { rng.usize(1..=most) };
        (0..count).map(|_| step(rng, weights, depth + 1)).collect()
    };
    Plan {
        limit,
        background: rng.u8(..6) == 0,
        large: rng.u8(..6) == 0,
        then: nested(rng, 2, 4),
        dropped: nested(rng, 4, 2),
    }
}

fn size(rng: &mut Rng) -> usize {
    match rng.u8(..24) {
        0 => 0,
        1 => rng.usize(..=LONGEST),
        2..=5 => rng.usize(..20_000),
        _ => rng.usize(1..600),
    }
}

fn buffer(rng: &mut Rng) -> Buffer {
    [Buffer::Vec, Buffer::Boxed, Buffer::Inline, Buffer::Slice][rng.usize(..4)]
}

fn receive(rng: &mut Rng) -> Transfer {
    let size = size(rng);
    let whole = match rng.u8(..5) {
        // More than there is room for, now and then.
        0 | 1 => Some(rng.usize(..=size + size / 8)),
        _ => None,
    };
    Transfer { size, whole, append: rng.u8(..4) == 0, buffer: buffer(rng) }
}

fn send(rng: &mut Rng) -> Transfer {
    let size = size(rng);
    Transfer { size, whole: rng.bool().then_some(size), append: false, buffer: buffer(rng) }
}
