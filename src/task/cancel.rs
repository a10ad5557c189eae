//! Cancel tokens.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::engine::Core;
use crate::handle::OpId;

/// Ends any number of operations at once; each gives its buffer back, with what it had done.
///
/// It is given to operations before they are awaited ([`Operation::cancelled_by`](crate::Operation::cancelled_by),
/// [`OpFuture::cancelled_by`](super::OpFuture::cancelled_by)). Cancelling is a request and loses nothing: an operation that
/// did what was asked ends `Ok`, even so. One that begins after the token was cancelled ends at once. A clone is the same
/// token. It stays on its thread.
///
/// ```
/// use nbio::task::{CancelToken, spawn};
/// use nbio::{ErrorKind, EventLoop, Operation, op};
/// let io = EventLoop::new()?;
/// let listener = io.listen_tcp(([127, 0, 0, 1], 0))?;
/// let token = CancelToken::new();
/// io.block_on(async {
///     let accept = op::Accept::new(listener).cancelled_by(&token);
///     let waiting = spawn(async move { accept.await.unwrap_err().kind() });
///     nbio::task::yield_now().await;
///     token.cancel();
///     assert_eq!(waiting.await.unwrap(), ErrorKind::Cancelled);
/// })?;
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct CancelToken(Rc<Inner>);

#[derive(Default)]
struct Inner {
    cancelled: Cell<bool>,
    operations: RefCell<Places<(Rc<Core>, OpId)>>,
    waiters: RefCell<Places<Waker>>,
}

impl CancelToken {
    /// A token that is not cancelled.
    pub fn new() -> CancelToken {
        CancelToken::default()
    }

    /// Cancels every operation that was given the token and hasn't ended, and wakes who waits for
    /// [`cancelled`](CancelToken::cancelled). The second time it does nothing.
    pub fn cancel(&self) {
        if self.0.cancelled.replace(true) {
            return;
        }
        // They leave their places when they end; nothing here is the user's code.
        for (core, operation) in self.0.operations.borrow().all() {
            core.cancel(*operation);
        }
        let waiters = std::mem::take(&mut *self.0.waiters.borrow_mut());
        for waiter in waiters.places.into_iter().flatten() {
            waiter.wake();
        }
    }

    /// Whether [`cancel`](CancelToken::cancel) was called.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.get()
    }

    /// Waits until the token is cancelled.
    ///
    /// ```
    /// use nbio::task::CancelToken;
    /// let token = CancelToken::new();
    /// token.cancel();
    /// nbio::block_on(token.cancelled())?;
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn cancelled(&self) -> Cancelled {
        Cancelled { token: self.clone(), place: None }
    }

    pub(super) fn enter(&self, core: &Rc<Core>, operation: OpId) -> usize {
        self.0.operations.borrow_mut().put((core.clone(), operation))
    }

    pub(super) fn leave(&self, place: usize) {
        let left = self.0.operations.borrow_mut().take(place);
        drop(left);
    }
}

impl std::fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CancelToken").field("cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}

/// The future of [`CancelToken::cancelled`].
#[derive(Debug)]
#[must_use = "futures do nothing unless they are awaited"]
pub struct Cancelled {
    token: CancelToken,
    place: Option<usize>,
}

impl Cancelled {
    fn take_waker(&mut self) -> Option<Waker> {
        self.token.0.waiters.borrow_mut().take(self.place.take()?)
    }
}

impl Future for Cancelled {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let old = self.take_waker();
        let fresh = context.waker().clone();
        drop(old);
        // Wakers are the user's code, which may have cancelled the token.
        if self.token.is_cancelled() {
            return Poll::Ready(());
        }
        let place = self.token.0.waiters.borrow_mut().put(fresh);
        self.place = Some(place);
        Poll::Pending
    }
}

impl Drop for Cancelled {
    fn drop(&mut self) {
        drop(self.take_waker());
    }
}

/// Values at places that are used again.
struct Places<T> {
    places: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Default for Places<T> {
    fn default() -> Places<T> {
        Places { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Places<T> {
    fn put(&mut self, value: T) -> usize {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.places[place] = Some(value);
        place
    }

    fn take(&mut self, place: usize) -> Option<T> {
        let value = self.places.get_mut(place)?.take()?;
        self.free.push(place);
        Some(value)
    }

    fn all(&self) -> impl Iterator<Item = &T> {
        self.places.iter().flatten()
    }
}
