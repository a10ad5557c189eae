//! nbio's own point in time.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::sync::OnceLock;
use std::time::Duration;

/// A point in time on a loop's clock, in nanoseconds.
///
/// The clock is monotonic and stands still while the machine is suspended (`CLOCK_MONOTONIC` on Linux,
/// clock_gettime(2)). It is a type of nbio's own, not [`std::time::Instant`], so that a simulated loop can
/// own its time. Instants of two loops on real backends in one process can be compared; those of a simulated
/// loop mean something only there.
///
/// Arithmetic saturates: nothing here panics.
///
/// ```
/// use std::time::Duration;
/// let io = nbio::EventLoop::<()>::new()?;
/// let start = io.now();
/// let later = start + Duration::from_millis(5);
/// assert_eq!(later - start, Duration::from_millis(5));
/// assert_eq!(start - later, Duration::ZERO);
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant {
    nanos: u64,
}

impl Instant {
    /// A point so far away (584 years of uptime) that it never comes.
    pub const FAR_FUTURE: Instant = Instant { nanos: u64::MAX };

    /// The system's monotonic clock, counted from the first time that this process asked. By std, which has it
    /// on every system and, unlike a raw vDSO call, under valgrind too.
    pub(crate) fn system() -> Instant {
        static START: OnceLock<std::time::Instant> = OnceLock::new();
        let now = std::time::Instant::now();
        // Never 0, so that there is a time before every `now`.
        Instant { nanos: nanos_of(now.duration_since(*START.get_or_init(|| now))).saturating_add(1) }
    }

    pub(crate) fn from_nanos(nanos: u64) -> Instant {
        Instant { nanos }
    }

    pub(crate) fn nanos(self) -> u64 {
        self.nanos
    }
}

/// A duration in whole nanoseconds, as a `u64` that saturates after 584 years.
pub(crate) fn nanos_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, duration: Duration) -> Instant {
        Instant { nanos: self.nanos.saturating_add(nanos_of(duration)) }
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Instant> for Instant {
    type Output = Duration;

    /// The time from `earlier` to `self`, zero if `earlier` is in fact the later one.
    fn sub(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.nanos.saturating_sub(earlier.nanos))
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;

    fn sub(self, duration: Duration) -> Instant {
        Instant { nanos: self.nanos.saturating_sub(nanos_of(duration)) }
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Instant({:?})", Duration::from_nanos(self.nanos))
    }
}
