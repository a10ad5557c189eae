//! Time for tasks.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use super::OpFuture;
use super::future::current;
use crate::op::{self, Kind};
use crate::{Error, ErrorKind, Instant};

/// The time on the clock of the loop that is running on this thread.
///
/// # Errors
/// [`NoLoop`](ErrorKind::NoLoop).
pub fn now() -> Result<Instant, Error> {
    current(Kind::Timer).map(|core| core.now())
}

/// Waits until `duration` has passed since it was first polled; never shorter. Dropped, the timer is gone.
///
/// # Errors
/// [`NoLoop`](ErrorKind::NoLoop); [`Cancelled`](ErrorKind::Cancelled) by a token, or by
/// [`drain`](crate::EventLoop::drain).
///
/// ```
/// use std::time::Duration;
/// use nbio::task::{now, sleep};
/// nbio::block_on(async {
///     let start = now()?;
///     sleep(Duration::from_millis(2)).await?;
///     assert!(now()? - start >= Duration::from_millis(2));
///     Ok::<(), nbio::Error>(())
/// })?;
/// # Ok::<(), nbio::Error>(())
/// ```
pub fn sleep(duration: Duration) -> OpFuture<op::Timer> {
    OpFuture::new(op::Timer::after(duration))
}

/// As [`sleep`], until a point in time. One that has passed is over in the next tick.
///
/// # Errors
/// As [`sleep`].
pub fn sleep_until(at: Instant) -> OpFuture<op::Timer> {
    OpFuture::new(op::Timer::at(at))
}

/// Gives a future so much time, counted from the first poll; then it is dropped.
///
/// An operation has a deadline of its own, [`Operation::timeout`](crate::Operation::timeout), which gives its buffer back;
/// this is for everything else.
///
/// # Errors
/// [`TimedOut`](ErrorKind::TimedOut), [`NoLoop`](ErrorKind::NoLoop).
///
/// ```
/// use std::time::Duration;
/// use nbio::{ErrorKind, task::timeout};
/// let late = nbio::block_on(timeout(Duration::from_millis(1), std::future::pending::<()>()))?;
/// assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
/// # Ok::<(), nbio::Error>(())
/// ```
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output, Error> {
    let (mut future, mut timer) = (pin!(future), sleep(duration));
    std::future::poll_fn(|context| {
        // The future first: what is there counts, even if it is late.
        if let Poll::Ready(value) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(value));
        }
        match Pin::new(&mut timer).poll(context) {
            Poll::Ready(Ok(())) => Poll::Ready(Err(Error::new(ErrorKind::TimedOut, Kind::Timer))),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// What an [`Interval`] does about ticks whose time has passed before they were waited for.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum MissedTicks {
    /// They are left out, and the rhythm is kept.
    #[default]
    Skip,
    /// They come at once, one after the other, until all are made up for.
    Burst,
    /// The first comes at once, and the rhythm begins anew from there.
    Delay,
}

/// Ticks in a rhythm: made by [`interval`].
#[derive(Debug)]
pub struct Interval {
    period: Duration,
    next: Option<Instant>,
    missed: MissedTicks,
}

/// Ticks every `period`, at least 1 ns; the first comes one period after it was first waited for.
///
/// ```
/// use std::time::Duration;
/// use nbio::task::interval;
/// nbio::block_on(async {
///     let mut interval = interval(Duration::from_millis(1));
///     let first = interval.tick().await?;
///     assert!(interval.tick().await? - first >= Duration::from_millis(1));
///     Ok::<(), nbio::Error>(())
/// })?;
/// # Ok::<(), nbio::Error>(())
/// ```
pub fn interval(period: Duration) -> Interval {
    Interval { period: period.max(Duration::from_nanos(1)), next: None, missed: MissedTicks::default() }
}

impl Interval {
    /// What is done about ticks that nobody waited for in time.
    pub fn missed_ticks(mut self, missed: MissedTicks) -> Interval {
        self.missed = missed;
        self
    }

    /// Waits for the next tick, and says for which point in time it was planned. Dropped before its end, it has missed
    /// nothing.
    ///
    /// # Errors
    /// As [`sleep`].
    pub async fn tick(&mut self) -> Result<Instant, Error> {
        let now = now()?;
        let at = *self.next.get_or_insert(now + self.period);
        if at > now || self.missed != MissedTicks::Burst {
            sleep_until(at).await?;
        }
        let now = super::now()?;
        self.next = Some(self.after(at, now));
        Ok(at)
    }

    /// Begins the rhythm anew: the next tick comes one period from now.
    ///
    /// # Errors
    /// [`NoLoop`](ErrorKind::NoLoop).
    pub fn reset(&mut self) -> Result<(), Error> {
        self.next = Some(now()? + self.period);
        Ok(())
    }

    /// When the tick after the one at `at` comes.
    fn after(&self, at: Instant, now: Instant) -> Instant {
        let next = at + self.period;
        match self.missed {
            MissedTicks::Delay if next <= now => now + self.period,
            MissedTicks::Skip if next <= now => {
                let periods = (now - at).as_nanos() / self.period.as_nanos();
                let nanos = (periods + 1).saturating_mul(self.period.as_nanos());
                at + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
            }
            _ => next,
        }
    }
}

/// Lets the others run: it is over in the next tick.
pub fn yield_now() -> YieldNow {
    YieldNow { yielded: false }
}

/// The future of [`yield_now`].
#[derive(Debug)]
#[must_use = "futures do nothing unless they are awaited"]
pub struct YieldNow {
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
