//! The future of an operation.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::CancelToken;
use crate::engine::{Core, awaited};
use crate::handle::OpId;
use crate::op::{self, Awaited, Ending, Operation};
use crate::{Error, ErrorKind};

/// The future of an operation: what `.await` makes of one, and what the methods of the owning types return.
///
/// Nothing happens until it is first polled; then it is submitted to the loop that is running on this thread, and from then
/// on it belongs to that loop, whoever polls it. What it brings waits in the loop's table: no allocation. Its output is
/// [`Awaited`]. Polled again after its end it stays pending.
///
/// # Dropping it
/// Before its end, it is cancelled, and its buffer lives until the system has let go of it. Nothing that has come is lost:
/// the next receive on that handle first gets the bytes, the messages or the end of the stream that came for it, the next
/// accept the connection; until then the handle is [`Busy`](ErrorKind::Busy) for
/// [`release`](crate::EventLoop::release) and [`detach`](crate::EventLoop::detach). A send that had sent part of its bytes
/// leaves the stream [`Broken`](ErrorKind::Broken) for sends, as a removed one does. What would have been opened or
/// connected is closed.
///
/// # Errors
/// Those of the operation, and [`NoLoop`](ErrorKind::NoLoop) when it is first polled where no loop is running
/// ([`block_on`](crate::block_on), `run` or `tick`); the buffer comes back untouched. One that has begun when its loop is
/// dropped ends [`Cancelled`](ErrorKind::Cancelled), or stays pending if the system keeps its memory even then.
///
/// ```
/// use std::time::Duration;
/// use nbio::{ErrorKind, EventLoop, Operation, op};
/// let io = EventLoop::new()?;
/// let listener = io.listen_tcp(([127, 0, 0, 1], 0))?;
/// let accepted = io.block_on(async { op::Accept::new(listener).timeout(Duration::from_millis(1)).await })?;
/// assert_eq!(accepted.unwrap_err().kind(), ErrorKind::TimedOut);
/// # Ok::<(), nbio::Error>(())
/// ```
#[must_use = "futures do nothing unless they are awaited"]
pub struct OpFuture<O: Operation> {
    stage: Stage<O>,
    token: Option<CancelToken>,
}

enum Stage<O> {
    Described(O),
    /// With the loop; and its place with the token, if it has one.
    Waiting(Rc<Core>, OpId, usize),
    Over,
}

// Nothing in it is ever pinned: the operation is moved out of it, into the loop's table.
impl<O: Operation> Unpin for OpFuture<O> {}

impl<O: Operation> OpFuture<O> {
    pub(crate) fn new(operation: O) -> OpFuture<O> {
        OpFuture { stage: Stage::Described(operation), token: None }
    }

    /// Ends it [`Cancelled`](ErrorKind::Cancelled) when the token is cancelled; buffer and what was done come back. One
    /// that is waiting already stays with the token it has.
    pub fn cancelled_by(mut self, token: &CancelToken) -> OpFuture<O> {
        if matches!(self.stage, Stage::Described(_)) {
            self.token = Some(token.clone());
        }
        self
    }

    /// Submits the operation to the running loop; or gives its end, if there is none.
    fn begin(&mut self, context: &mut Context<'_>) -> Poll<Awaited<O>> {
        let Stage::Described(operation) = std::mem::replace(&mut self.stage, Stage::Over) else {
            unreachable!("asked for by `poll`");
        };
        if self.token.as_ref().is_some_and(CancelToken::is_cancelled) {
            return Poll::Ready(awaited::refuse(operation, ErrorKind::Cancelled).awaited());
        }
        let Some(core) = Core::current() else {
            return Poll::Ready(awaited::refuse(operation, ErrorKind::NoLoop).awaited());
        };
        let id = awaited::submit(&core, operation, context.waker().clone());
        let place = self.token.as_ref().map_or(0, |token| token.enter(&core, id));
        self.stage = Stage::Waiting(core, id, place);
        Poll::Pending
    }

    /// Leaves the token.
    fn leave(&mut self, place: usize) {
        if let Some(token) = self.token.take() {
            token.leave(place);
        }
    }
}

impl OpFuture<op::Timer> {
    /// Starts the timer's time anew: it ends when `duration` has passed from now, also if it had ended already. One that
    /// was not polled yet counts from its first poll.
    pub fn reset(&mut self, duration: Duration) {
        match &self.stage {
            Stage::Waiting(core, id, _) if core.reset(*id, duration) => {}
            _ => {
                let mut fresh = OpFuture::new(op::Timer::after(duration));
                fresh.token = self.token.clone();
                *self = fresh;
            }
        }
    }
}

impl<O: Operation> Future for OpFuture<O> {
    type Output = Awaited<O>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Awaited<O>> {
        let this = self.get_mut();
        let ended = match &this.stage {
            Stage::Waiting(core, id, _) => core.poll_awaited::<O>(*id, context.waker()),
            Stage::Described(_) => return this.begin(context),
            Stage::Over => return Poll::Pending,
        };
        let Poll::Ready(Some(output)) = ended else { return Poll::Pending };
        if let Stage::Waiting(_, _, place) = std::mem::replace(&mut this.stage, Stage::Over) {
            this.leave(place);
        }
        Poll::Ready(output.awaited())
    }
}

impl<O: Operation> Drop for OpFuture<O> {
    fn drop(&mut self) {
        if matches!(self.stage, Stage::Waiting(..))
            && let Stage::Waiting(core, id, place) = std::mem::replace(&mut self.stage, Stage::Over)
        {
            self.leave(place);
            core.abandon(id);
        }
    }
}

impl<O: Operation> std::fmt::Debug for OpFuture<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stage = match &self.stage {
            Stage::Described(_) => "not begun",
            Stage::Waiting(..) => "waiting",
            Stage::Over => "over",
        };
        f.debug_tuple("OpFuture").field(&stage).finish()
    }
}

/// The loop that is running on this thread.
pub(super) fn current(kind: crate::op::Kind) -> Result<Rc<Core>, Error> {
    Core::current().ok_or_else(|| Error::new(ErrorKind::NoLoop, kind))
}
