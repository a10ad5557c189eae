//! What hyper asks of a runtime beside streams.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use hyper::rt;

use super::{sleep, spawn};

/// hyper's executor and timer: spawns on, and sleeps by, the loop that is running on the thread where it is used.
///
/// As hyper asks for sleeps that are `Send`, each is a task of its own here. In a simulation they last as long as they say
/// on the simulated clock, though hyper reckons with the system's.
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
        Box::pin(Sleep { duration, stage: None })
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        self.sleep(deadline.saturating_duration_since(Instant::now()))
    }
}

/// A sleep that could be sent to another thread.
struct Sleep {
    duration: Duration,
    stage: Option<Arc<Mutex<Stage>>>,
}

#[derive(Default)]
struct Stage {
    over: bool,
    /// Nobody waits any more.
    gone: bool,
    waiting: Option<Waker>,
    task: Option<Waker>,
}

fn lock(stage: &Mutex<Stage>) -> MutexGuard<'_, Stage> {
    stage.lock().unwrap_or_else(PoisonError::into_inner)
}

impl rt::Sleep for Sleep {}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let duration = self.duration;
        let stage = self.stage.get_or_insert_with(|| begin(duration));
        let fresh = context.waker().clone();
        let mut stage = lock(stage);
        if stage.over {
            return Poll::Ready(());
        }
        let old = stage.waiting.replace(fresh);
        // Wakers are the user's code.
        drop(stage);
        drop(old);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let Some(stage) = &self.stage else { return };
        let mut stage = lock(stage);
        stage.gone = true;
        let (waiting, task) = (stage.waiting.take(), stage.task.take());
        drop(stage);
        drop(waiting);
        if let Some(task) = task {
            task.wake();
        }
    }
}

/// Sleeps in a task of its own.
fn begin(duration: Duration) -> Arc<Mutex<Stage>> {
    let stage = Arc::new(Mutex::new(Stage::default()));
    let shared = stage.clone();
    let mut timer = sleep(duration);
    drop(spawn(std::future::poll_fn(move |context| {
        let gone = {
            let fresh = context.waker().clone();
            let mut stage = lock(&shared);
            stage.task = Some(fresh);
            stage.gone
        };
        if !gone && Pin::new(&mut timer).poll(context).is_pending() {
            return Poll::Pending;
        }
        let waiting = {
            let mut stage = lock(&shared);
            stage.over = true;
            stage.task = None;
            stage.waiting.take()
        };
        if let Some(waiting) = waiting {
            waiting.wake();
        }
        Poll::Ready(())
    })));
    stage
}
