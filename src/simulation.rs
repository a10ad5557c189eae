//! The public side of the simulated backend.

mod datagrams;
mod disk;

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::Instant;
use crate::backend::sim::Shared;

pub use datagrams::DatagramFaults;
pub use disk::DiskFaults;

/// A machine of its own, in memory: loops that are built on it ([`Builder::simulation`](crate::Builder::simulation))
/// run without the operating system. For tests: what takes hours passes in no time, what happens once in a million
/// runs happens often, and whatever happened happens again.
///
/// **Unstable**: its interface and what a seed leads to may change in any release.
///
/// - **The network** is the machine's loopback: 127.0.0.0/8 and ::1, with backlogs, buffers that fill up, half-close
///   and reset as TCP has them, and UDP. All loops of one simulation reach each other; nothing else is reachable. What
///   becomes of datagrams is [`set_datagram_faults`](Simulation::set_datagram_faults)' matter; they have no control data,
///   and there is no multicast.
/// - **The disk** is its own, too, empty at first but for `/`, where relative paths begin; all loops share it. It has
///   Linux's rules for names, links, holes, locks and space, but checks no permissions. Files are copied by sharing their
///   blocks. [`custom_flags`](crate::op::Open::custom_flags) are [`Unsupported`](crate::ErrorKind::Unsupported).
///   What goes wrong is up to [`set_disk_faults`](Simulation::set_disk_faults), and [`crash`](Simulation::crash) loses
///   what was not synced.
/// - **There are none** of pipes, FIFOs, Unix sockets, polls and standard streams:
///   [`Unsupported`](crate::ErrorKind::Unsupported).
/// - **The clock** is virtual: it stands still while callbacks run, and jumps when a loop waits, to the next event or to
///   the end of the wait. A turn of the loop takes 1 µs of it.
/// - **Chance**: in which order things complete, how long they take and how many bytes move at once is drawn from the
///   seed. The same seed and program lead to the same events, in debug and release builds, on every machine, as long
///   as one thread runs all its loops.
/// - [`adopt`](crate::EventLoop::adopt), [`raw`](crate::EventLoop::raw), [`release`](crate::EventLoop::release) and
///   [`duplicate`](crate::EventLoop::duplicate) are [`Unsupported`](crate::ErrorKind::Unsupported): there are no
///   descriptors. Errors have no [`os_error`](crate::Error::os_error).
/// - A wait that could never end, since nothing is on its way, no other thread has a loop there, and nobody has a
///   [`Remote`](crate::Remote) when it begins, ends with [`Deadlock`](crate::ErrorKind::Deadlock).
/// - [`run_blocking`](crate::EventLoop::run_blocking) uses no other thread: a closure runs on the loop's, just before its
///   callback.
/// - [`detach`](crate::EventLoop::detach) and [`attach`](crate::EventLoop::attach) move sockets between its loops.
///
/// Cloning makes another name for the same simulation. Loops on several threads may share one; the order of events then
/// depends on the threads.
///
/// ```
/// use std::time::Duration;
/// use nbio::{Builder, EventLoop, Simulation};
/// let simulation = Simulation::new(7);
/// let io: EventLoop = Builder::new().simulation(&simulation).build()?;
/// let start = io.now();
/// io.timer(Duration::from_secs(24 * 3600), |_, _, _| ());
/// io.run()?; // at once
/// assert!(io.now() - start >= Duration::from_secs(24 * 3600));
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Clone)]
pub struct Simulation {
    pub(crate) shared: Arc<Shared>,
    seed: u64,
}

impl Simulation {
    /// A new machine whose chances are drawn from `seed`.
    pub fn new(seed: u64) -> Simulation {
        Simulation { shared: Arc::new(Shared::new(seed)), seed }
    }

    /// The seed that it was made from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The time on its clock.
    pub fn now(&self) -> Instant {
        self.shared.now()
    }

    /// A number made from all that has happened: what completed when and how, and which bytes moved. Two runs with the
    /// same digest did the same.
    ///
    /// ```
    /// use nbio::{Builder, EventLoop, Simulation};
    /// let run = |seed| {
    ///     let simulation = Simulation::new(seed);
    ///     let io: EventLoop = Builder::new().simulation(&simulation).build()?;
    ///     let listener = io.listen_tcp(([127, 0, 0, 1], 0))?;
    ///     io.connect(io.local_address(listener)?, |_, io, connected| io.close(connected.unwrap()));
    ///     io.run()?;
    ///     Ok::<u64, nbio::Error>(simulation.digest())
    /// };
    /// assert_eq!(run(1)?, run(1)?);
    /// assert_ne!(run(1)?, run(2)?);
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn digest(&self) -> u64 {
        self.shared.digest()
    }

    /// How many files all its loops have open: for tests that look for one which nobody has closed. Handles of one
    /// open file, and what an operation has of it, count as one.
    pub fn open_files(&self) -> usize {
        self.shared.open_files()
    }
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation").field("seed", &self.seed).finish_non_exhaustive()
    }
}

/// The longest time that something is made to take: some 146 years.
const LONGEST: u64 = u64::MAX / 4;

/// A range of times in nanoseconds, the second not before the first.
fn nanos(range: RangeInclusive<Duration>) -> (u64, u64) {
    let nanos = |duration: &Duration| u64::try_from(duration.as_nanos()).unwrap_or(LONGEST).min(LONGEST);
    let least = nanos(range.start());
    (least, nanos(range.end()).max(least))
}
