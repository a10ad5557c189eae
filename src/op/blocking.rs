//! Closures on the thread pool.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Kind, Operation, Options};
use crate::backend::Work;
use crate::engine::op::{Describe, End, Offload, Op, Request, Stops, Target};
use crate::engine::{Core, drop_quietly};
use crate::{Error, ErrorKind};

/// Runs a closure on a thread pool, and ends with what it returns.
///
/// For what would hold up the loop's thread: heavy computing, or calls that block. The closure owns what it needs, and
/// runs on a thread called `nbio-pool-N`; the callback runs on the loop's thread as ever.
///
/// # The pool
/// One for all loops of the process. Threads start when they are needed and end after some seconds without work. As
/// many closures run at a time as there are cores, but at least four; one that has been running for a second no longer
/// counts, so that closures that block for ever don't hold up the others, until there are 64 threads. The others wait
/// in the order in which they were submitted; there is no limit but the number of operations in flight. For work
/// that goes on for long, or that is to report on its way, use a thread of your own.
///
/// After fork(2) the child has none of the pool's threads, though the pool believes so: what is submitted there may never run.
///
/// [`report`](crate::EventLoop::report) tells how many threads there are and how many closures wait.
///
/// # Cancelling, deadlines, remove
/// A closure that has not begun is taken back: it is dropped unrun on the loop's thread, and the operation ends at once.
/// One that is running can't be stopped: the callback comes when it is over, `Ok` with its result, though cancelled
/// or late; a removed one's result is dropped then. Dropping the loop doesn't wait for it: its result is dropped on the
/// pool's thread. Nor does the end of the process wait.
///
/// # Errors
/// - [`Panicked`](ErrorKind::Panicked): the closure panicked. The panic's payload is dropped on the pool's thread; the
///   panic hook has seen it. To have it, let the closure return what [`catch_unwind`] gives.
/// - [`Cancelled`](ErrorKind::Cancelled), [`TimedOut`](ErrorKind::TimedOut): before it began.
/// - What the system says if it can't start a thread and the pool has none: [`WouldBlock`](ErrorKind::WouldBlock)
///   (EAGAIN, pthread_create(3)), say; and if the loop can't be woken by other threads for want of descriptors.
///
/// ```
/// use std::time::Duration;
/// use nbio::{EventLoop, Operation, op};
/// let io = EventLoop::new()?;
/// let sum = op::Blocking::new(|| (1..=1000_u64).sum::<u64>()).timeout(Duration::from_secs(5));
/// io.submit(sum, |_, _, sum| assert_eq!(sum, Ok(500_500)));
/// io.run()?;
/// # Ok::<(), nbio::Error>(())
/// ```
pub struct Blocking<T> {
    job: Job<T>,
    options: Options,
}

impl<T: Send + 'static> Blocking<T> {
    /// Runs `closure`.
    pub fn new<F>(closure: F) -> Blocking<T>
    where
        F: FnOnce() -> T + Send + 'static,
    {
        Blocking { job: Job::new(closure), options: Options::default() }
    }
}

impl<T> fmt::Debug for Blocking<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocking").field("options", &self.options).finish_non_exhaustive()
    }
}

impl<T: Send + 'static> Describe for Blocking<T> {
    type Parts = Job<T>;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (Job<T>, Request) {
        let op = Op::Blocking { ticket: 0, stops: Stops::WhenOver };
        (self.job, Request::new(Kind::Blocking, Target::Nothing, op, self.options))
    }

    fn lend(job: &mut Job<T>, request: &mut Request, core: &Core) {
        request.target = Target::Pool(None, job.offload(core));
    }
}

impl<T: Send + 'static> Operation for Blocking<T> {
    type Output = Result<T, Error>;

    fn finish(job: Job<T>, end: &mut End) -> Result<T, Error> {
        job.finish(end)
    }
}

/// The slot's share of a job. What is in the job, closure or result, goes when this goes.
pub struct Job<T>(Arc<dyn Produce<T>>);

impl<T: Send + 'static> Job<T> {
    pub(super) fn new<F>(closure: F) -> Job<T>
    where
        F: FnOnce() -> T + Send + 'static,
    {
        Job(Arc::new(Task { stage: Mutex::new(Stage::Waiting(closure)), stop: None, ready: None }))
    }

    /// A job that is told when it is to end; of nbio's own. `ready` is for where there are no threads.
    pub(super) fn stoppable<F>(closure: F, ready: Option<Ready>) -> Job<T>
    where
        F: FnOnce(&Stop) -> T + Send + 'static,
    {
        let stop = Arc::new(Stop::default());
        let asked = stop.clone();
        let stage = Mutex::new(Stage::Waiting(move || closure(&asked)));
        Job(Arc::new(Task { stage, stop: Some(stop), ready }))
    }

    /// The pool's share.
    pub(super) fn offload(&self, core: &Core) -> Result<Offload, Error> {
        core.remote_shared().map(|shared| Offload { work: self.0.clone(), shared })
    }

    /// The closure's result, if the operation ended well.
    pub(super) fn finish(self, end: &mut End) -> Result<T, Error> {
        end.result()?;
        self.0.take().ok_or_else(|| Error::new(ErrorKind::Panicked, Kind::Blocking))
    }

    /// As `finish`, of one that may have been stopped: what it brought counts, even so.
    pub(super) fn finish_stoppable(self, end: &mut End) -> Result<T, Error> {
        match (self.0.over(), end.error) {
            (Some(result), _) => Ok(result),
            (None, Some(error)) => Err(error),
            (None, None) => Err(Error::new(ErrorKind::Panicked, Kind::Blocking)),
        }
    }
}

impl<T> fmt::Debug for Job<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").finish_non_exhaustive()
    }
}

impl<T> Drop for Job<T> {
    fn drop(&mut self) {
        self.0.discard();
    }
}

/// Work with a result.
trait Produce<T>: Work {
    /// The result, once: `None` if there is none, because the closure panicked.
    fn take(&self) -> Option<T>;

    /// The result, once, if there is one already.
    fn over(&self) -> Option<T>;

    /// Drops closure or result here and now; of a closure that is running, on its thread when it is over.
    fn discard(&self);
}

/// Whether a job would not have to wait now: it doesn't from then on.
pub(super) type Ready = Box<dyn Fn() -> bool + Send + Sync>;

struct Task<F, T> {
    stage: Mutex<Stage<F, T>>,
    /// Of one that can be stopped.
    stop: Option<Arc<Stop>>,
    /// Of one that may have to wait.
    ready: Option<Ready>,
}

/// Whether a job is to end soon.
#[derive(Default)]
pub(super) struct Stop {
    asked: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Waits for a while, or until it is to end; says whether it is.
    pub(super) fn wait(&self, pause: Duration) -> bool {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(asked, pause, |asked| !*asked);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Whether it is to end.
    pub(super) fn asked(&self) -> bool {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }
}

enum Stage<F, T> {
    Waiting(F),
    Running,
    /// `None`: it panicked.
    Over(Option<T>),
    /// The loop has taken what there was, or isn't interested any more.
    Gone,
}

impl<F, T> Task<F, T> {
    /// No user code runs under the lock.
    fn lock(&self) -> MutexGuard<'_, Stage<F, T>> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn replace(&self, stage: Stage<F, T>) -> Stage<F, T> {
        std::mem::replace(&mut *self.lock(), stage)
    }
}

impl<F, T> Work for Task<F, T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    fn run(&self) {
        let closure = {
            let mut stage = self.lock();
            match std::mem::replace(&mut *stage, Stage::Running) {
                Stage::Waiting(closure) => closure,
                other => {
                    *stage = other;
                    return;
                }
            }
        };
        let result = catch_unwind(AssertUnwindSafe(closure)).map_err(drop_quietly).ok();
        let unwanted = {
            let mut stage = self.lock();
            match *stage {
                Stage::Running => {
                    *stage = Stage::Over(result);
                    None
                }
                _ => result,
            }
        };
        drop_quietly(unwanted);
    }

    fn stop(&self) {
        if let Some(stop) = &self.stop {
            stop.ask();
        }
    }

    fn attempt(&self) -> bool {
        let wanted = matches!(*self.lock(), Stage::Waiting(_));
        if wanted && self.ready.as_ref().is_some_and(|ready| !ready()) {
            return false;
        }
        if self.stop.is_some() {
            self.run();
        }
        true
    }
}

impl<F, T> Produce<T> for Task<F, T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    fn take(&self) -> Option<T> {
        // A simulation has no other threads: what has not run when its time has come runs here.
        self.run();
        self.over()
    }

    fn over(&self) -> Option<T> {
        match self.replace(Stage::Gone) {
            Stage::Over(result) => result,
            _ => None,
        }
    }

    fn discard(&self) {
        drop(self.replace(Stage::Gone));
    }
}
