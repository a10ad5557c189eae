//! Spawning tasks, and waiting for their results.

use std::any::Any;
use std::fmt;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use super::future::current;
use crate::engine::Core;
use crate::engine::tasks::{Join, Unfinished};
use crate::op::Kind;
use crate::{Error, EventLoop};

/// Spawns a task on the loop that is running on this thread: as [`EventLoop::spawn`].
///
/// Where no loop is running, the future is dropped and the handle says [`NoLoop`](crate::ErrorKind::NoLoop).
///
/// ```
/// let sum = nbio::block_on(async {
///     let one = nbio::spawn(async { 1 });
///     let two = nbio::spawn(async { 2 });
///     one.await.unwrap() + two.await.unwrap()
/// })?;
/// assert_eq!(sum, 3);
/// # Ok::<(), nbio::Error>(())
/// ```
pub fn spawn<F: Future + 'static>(future: F) -> JoinHandle<F::Output> {
    JoinHandle::new(current(Kind::Spawn).and_then(|core| core.spawn(future)))
}

/// Makes a loop with the default settings, runs a future on it, and drops the loop, and with it all tasks that have not
/// ended: as [`EventLoop::block_on`].
///
/// # Errors
/// As [`Builder::build`](crate::Builder::build), and as there; [`Reentrant`](crate::ErrorKind::Reentrant) inside a task or
/// a callback of any loop.
///
/// ```
/// use std::time::Duration;
/// nbio::block_on(async {
///     nbio::task::sleep(Duration::from_millis(1)).await
/// })??;
/// # Ok::<(), nbio::Error>(())
/// ```
pub fn block_on<F: Future>(future: F) -> Result<F::Output, Error> {
    if Core::current().is_some() {
        return Err(Error::new(crate::ErrorKind::Reentrant, Kind::BlockOn));
    }
    EventLoop::<()>::new()?.block_on(future)
}

/// A task's result, to be awaited; and the means to abort it.
///
/// Dropping it lets the task run on; if that then panics, the panic reaches the caller of `run`, `tick` or `block_on`, as
/// that of a callback does. It may outlive its loop.
#[must_use = "dropping it lets the task run on, its result is lost; `drop` it to say so"]
pub struct JoinHandle<T>(Handle<T>);

enum Handle<T> {
    Task(Arc<dyn Join<T>>),
    /// There never was one.
    Refused(Option<Error>),
}

impl<T> JoinHandle<T> {
    pub(crate) fn new(task: Result<Arc<dyn Join<T>>, Error>) -> JoinHandle<T> {
        JoinHandle(task.map_or_else(|error| Handle::Refused(Some(error)), Handle::Task))
    }

    /// Asks that the task end: its future is dropped when its turn comes, not here, and its result is
    /// [`is_aborted`](JoinError::is_aborted), unless it has one by then.
    ///
    /// ```
    /// nbio::block_on(async {
    ///     let task = nbio::spawn(std::future::pending::<()>());
    ///     task.abort();
    ///     assert!(task.await.unwrap_err().is_aborted());
    /// })?;
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn abort(&self) {
        if let Handle::Task(task) = &self.0 {
            task.clone().abort();
        }
    }

    /// Whether the task has ended, in whichever way.
    pub fn is_finished(&self) -> bool {
        match &self.0 {
            Handle::Task(task) => task.is_over(),
            Handle::Refused(_) => true,
        }
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, JoinError>> {
        match &mut self.get_mut().0 {
            Handle::Task(task) => task.poll_join(context.waker()).map_err(JoinError::from),
            Handle::Refused(error) => match error.take() {
                Some(error) => Poll::Ready(Err(JoinError(Why::Refused(error)))),
                None => Poll::Pending,
            },
        }
    }
}

impl<T> Unpin for JoinHandle<T> {}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        if let Handle::Task(task) = &self.0 {
            task.detach();
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("finished", &self.is_finished()).finish()
    }
}

/// Why a task has no result. It is `Send` and `Sync`, so `?` makes any common error of it.
///
/// ```
/// fn shared<E: std::error::Error + Send + Sync + 'static>() {}
/// shared::<nbio::task::JoinError>();
/// ```
pub struct JoinError(Why);

enum Why {
    Aborted,
    Refused(Error),
    /// What a panic carries isn't `Sync`.
    Panicked(Mutex<Box<dyn Any + Send>>),
}

impl From<Unfinished> for JoinError {
    fn from(unfinished: Unfinished) -> JoinError {
        JoinError(match unfinished {
            Unfinished::Aborted => Why::Aborted,
            Unfinished::Panicked(panic) => Why::Panicked(Mutex::new(panic)),
        })
    }
}

impl JoinError {
    /// It was aborted, or its loop was dropped.
    pub fn is_aborted(&self) -> bool {
        matches!(self.0, Why::Aborted)
    }

    /// It panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.0, Why::Panicked(_))
    }

    /// Why it never began: [`NoLoop`](crate::ErrorKind::NoLoop), [`LoopGone`](crate::ErrorKind::LoopGone), or what
    /// [`remote`](EventLoop::remote) says.
    pub fn refused(&self) -> Option<Error> {
        match self.0 {
            Why::Refused(error) => Some(error),
            _ => None,
        }
    }

    /// The panic's payload, for [`resume_unwind`].
    ///
    /// # Errors
    /// This error itself, if the task didn't panic.
    pub fn into_panic(self) -> Result<Box<dyn Any + Send>, JoinError> {
        match self.0 {
            Why::Panicked(panic) => Ok(panic.into_inner().unwrap_or_else(PoisonError::into_inner)),
            other => Err(JoinError(other)),
        }
    }

    /// Goes on panicking, if the task panicked; else gives the error back.
    pub fn resume_panic(self) -> JoinError {
        match self.into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(error) => error,
        }
    }
}

/// What a panic says.
fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Why::Aborted => f.write_str("the task was aborted"),
            Why::Panicked(panic) => {
                // Copied, as the formatter is the user's code.
                let text = message_of(&**panic.lock().unwrap_or_else(PoisonError::into_inner));
                write!(f, "the task panicked: {text}")
            }
            Why::Refused(error) => error.fmt(f),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl std::error::Error for JoinError {}

impl From<JoinError> for std::io::Error {
    fn from(error: JoinError) -> std::io::Error {
        std::io::Error::other(error.to_string())
    }
}
