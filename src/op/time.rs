//! Timers, intervals and the next tick.

use std::time::Duration;

use super::{Kind, ManyOperation, Operation, Options};
use crate::engine::op::{Describe, End, Op, Request, Schedule, Target};
use crate::{Error, Instant};

/// Ends once, after a duration or at a point in time.
///
/// It never ends early; how late it can be depends on the system's timer slack (50 µs on Linux, prctl(2)
/// `PR_SET_TIMERSLACK`) and on what else the loop has to do. Timers of equal deadline end in the order in which
/// they were submitted. One whose time has come already ends in the next tick.
///
/// # Errors
/// [`Cancelled`](crate::ErrorKind::Cancelled), at once when asked for; [`TimedOut`](crate::ErrorKind::TimedOut) if
/// a deadline of its own comes first.
///
/// ```
/// use std::time::Duration;
/// use nbio::{EventLoop, op};
/// let io = EventLoop::new()?;
/// let start = io.now();
/// io.submit(op::Timer::at(start + Duration::from_millis(2)), move |_, io, ended| {
///     assert!(ended.is_ok() && io.now() - start >= Duration::from_millis(2));
/// });
/// io.run()?;
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct Timer {
    when: When,
    options: Options,
}

#[derive(Copy, Clone, Debug)]
enum When {
    After(Duration),
    At(Instant),
}

impl Timer {
    /// Ends when `duration` has passed, counted from a clock read when it is submitted.
    pub fn after(duration: Duration) -> Timer {
        Timer { when: When::After(duration), options: Options::default() }
    }

    /// Ends at `instant`.
    pub fn at(instant: Instant) -> Timer {
        Timer { when: When::At(instant), options: Options::default() }
    }
}

/// The engine fills in when.
fn unscheduled(period: u64) -> Op {
    Op::Timer(Schedule { next: 0, period, until: u64::MAX, expirations: 0 })
}

impl Describe for Timer {
    type Parts = ();

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> ((), Request) {
        let target = match self.when {
            When::After(duration) => Target::After(duration),
            When::At(instant) => Target::At(instant),
        };
        ((), Request::new(Kind::Timer, target, unscheduled(0), self.options))
    }
}

impl Operation for Timer {
    type Output = Result<(), Error>;

    fn finish((): (), end: &mut End) -> Result<(), Error> {
        end.result()
    }
}

/// Brings an item every period, until it is cancelled or removed.
///
/// The item is the number of periods that have passed since the last one: 1, or more if the loop was too busy to
/// see some; they are counted, not made up for, and the rhythm is kept.
/// [`reset`](crate::EventLoop::reset) starts the rhythm anew.
///
/// # Errors
/// Ends with [`Cancelled`](crate::ErrorKind::Cancelled), or [`TimedOut`](crate::ErrorKind::TimedOut) at its
/// deadline.
///
/// ```
/// use std::time::Duration;
/// use nbio::{Event, EventLoop, ManyOperation, op};
/// let io = EventLoop::new()?;
/// let mut count = 0;
/// let every = op::Interval::every(Duration::from_millis(1)).timeout(Duration::from_secs(5));
/// io.submit_many(every, move |_, io, event| match event {
///     Event::Item(periods) => {
///         count += periods;
///         if count >= 3 { io.stop() }
///     }
///     Event::End(_) => {}
/// });
/// io.run()?;
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct Interval {
    period: Duration,
    options: Options,
}

impl Interval {
    /// An item every `period`, the first after one period; at least 1 ns.
    pub fn every(period: Duration) -> Interval {
        Interval { period, options: Options::default() }
    }
}

impl Describe for Interval {
    type Parts = ();

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> ((), Request) {
        let period = crate::time::nanos_of(self.period).max(1);
        let target = Target::After(Duration::from_nanos(period));
        ((), Request::new(Kind::Interval, target, unscheduled(period), self.options))
    }
}

impl ManyOperation for Interval {
    type Item = u64;

    fn item(end: &mut End) -> u64 {
        end.expirations
    }

    fn join(last: &mut u64, later: u64) -> Option<u64> {
        *last = last.saturating_add(later);
        None
    }
}

/// Ends in the next tick.
///
/// # Errors
/// None: it has ended by the time anyone could cancel it. [`remove`](crate::EventLoop::remove) takes it back.
///
/// ```
/// use nbio::{EventLoop, op};
/// let io = EventLoop::new()?;
/// io.submit(op::NextTick::new(), |_, _, ended| assert!(ended.is_ok()));
/// io.run()?;
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct NextTick {
    options: Options,
}

impl NextTick {
    /// Ends in the next tick.
    pub fn new() -> NextTick {
        NextTick::default()
    }
}

impl Describe for NextTick {
    type Parts = ();

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> ((), Request) {
        ((), Request::new(Kind::NextTick, Target::Loop, Op::NextTick, self.options))
    }
}

impl Operation for NextTick {
    type Output = Result<(), Error>;

    fn finish((): (), end: &mut End) -> Result<(), Error> {
        end.result()
    }
}
