//! What hyper asks of a runtime beside streams.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use hyper::rt;

use super::spawn;
use crate::engine::Core;
use crate::engine::erased::submit_bare;
use crate::handle::OpId;
use crate::op;

/// hyper's executor and timer: spawns on, and sleeps by, the loop that is running on the thread where it is used.
///
/// hyper's sleeps are `Send`, but count on the loop where they were first polled, and wait for one if none is running there.
/// The timer of one that is dropped where that loop isn't running stays until its time. In a simulation they last as long as
/// they say on the simulated clock, though hyper reckons with the system's.
#[derive(Copy, Clone, Debug, Default)]
#[non_exhaustive]
pub struct Hyper;

impl Hyper {
    /// The executor and timer.
    pub fn new() -> Hyper {
        Hyper
    }
}

impl<F> rt::Executor<F> for Hyper
where
    F: Future<Output: 'static> + 'static,
{
    fn execute(&self, future: F) {
        drop(spawn(future));
    }
}

impl rt::Timer for Hyper {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(Sleep { duration, begun: None })
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        self.sleep(deadline.saturating_duration_since(Instant::now()))
    }
}

/// A sleep that could be sent to another thread: the timer belongs to the loop where it was first polled.
struct Sleep {
    duration: Duration,
    begun: Option<(OpId, Arc<Mutex<Stage>>)>,
}

#[derive(Default)]
struct Stage {
    over: bool,
    waiting: Option<Waker>,
}

fn lock(stage: &Mutex<Stage>) -> MutexGuard<'_, Stage> {
    stage.lock().unwrap_or_else(PoisonError::into_inner)
}

impl rt::Sleep for Sleep {}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let waker = context.waker();
        let duration = self.duration;
        let Some((_, stage)) = &self.begun else {
            if let Some(core) = Core::current() {
                self.begun = Some(begin(&core, duration, waker.clone()));
            }
            return Poll::Pending;
        };
        let known = {
            let stage = lock(stage);
            if stage.over {
                return Poll::Ready(());
            }
            stage.waiting.as_ref().is_some_and(|known| known.will_wake(waker))
        };
        if known {
            return Poll::Pending;
        }
        // Wakers are the user's code, which may do anything to this loop: nothing is locked while it runs.
        let fresh = waker.clone();
        let mut stage = lock(stage);
        let (old, over) = (stage.waiting.replace(fresh), stage.over);
        drop(stage);
        drop(old);
        if over { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let Some((timer, stage)) = self.begun.take() else { return };
        let waiting = lock(&stage).waiting.take();
        drop(waiting);
        if let Some(core) = Core::current() {
            core.remove(timer);
        }
    }
}

/// Begins to sleep on this loop.
fn begin(core: &Core, duration: Duration, waker: Waker) -> (OpId, Arc<Mutex<Stage>>) {
    let stage = Arc::new(Mutex::new(Stage { over: false, waiting: Some(waker) }));
    let shared = stage.clone();
    let timer = submit_bare(core, op::Timer::after(duration), move |_| {
        let waiting = {
            let mut stage = lock(&shared);
            stage.over = true;
            stage.waiting.take()
        };
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    });
    (timer, stage)
}
