//! What goes in and out of loops: descriptors, and handles on their way from one loop to another.

use std::fmt;
use std::marker::PhantomData;

use crate::Error;
use crate::backend::{Loose, OwnedDescriptor};
use crate::engine::handles::Known;

/// An open thing that is of no loop: made by [`detach`](crate::EventLoop::detach), and made a handle again by
/// [`attach`](crate::EventLoop::attach). It can be sent to another thread.
///
/// Dropping it closes what is open. (With [`Linger::Wait`](crate::Linger::Wait) the drop waits for unsent data, as
/// close(2) does.)
pub struct Detached<H> {
    /// Dropped first: whether a file is that socket's can be said for certain only while the socket is open.
    known: Known,
    loose: Loose,
    /// What kind of handle it was. It has none: a `Detached` is `Send` whatever the handle is.
    handle: PhantomData<fn() -> H>,
}

impl<H> Detached<H> {
    pub(crate) fn new(loose: Loose, known: Known) -> Detached<H> {
        Detached { known, loose, handle: PhantomData }
    }

    pub(crate) fn into_parts(self) -> (Loose, Known) {
        (self.loose, self.known)
    }
}

impl<H> fmt::Debug for Detached<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detached").field("open", &self.loose).finish_non_exhaustive()
    }
}

/// A descriptor that [`adopt`](crate::EventLoop::adopt) refused, and why. It converts into the [`Error`] (which closes the
/// descriptor).
#[derive(Debug)]
pub struct Rejected {
    /// Why.
    pub error: Error,
    /// The descriptor, still open.
    pub descriptor: OwnedDescriptor,
}

impl std::fmt::Display for Rejected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Rejected {}

impl From<Rejected> for Error {
    fn from(rejected: Rejected) -> Error {
        rejected.error
    }
}
