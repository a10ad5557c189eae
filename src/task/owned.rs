//! Owning a handle: closing it on drop, and conversions.

use std::fmt;
use std::rc::Rc;

use super::OpFuture;
use super::future::current;
use crate::backend::{OwnedDescriptor, RawDescriptor};
use crate::engine::Core;
use crate::handle::{Handle, NewId};
use crate::op::{self, Kind};
use crate::{Detached, Error, EventLoop, Refused, Rejected};

/// A handle that is closed when this is dropped, as [`EventLoop::close`] closes one: at once stale, its operations
/// cancelled, unsent data not flushed.
///
/// [`TcpStream`](super::TcpStream), [`File`](super::File) and the others are this with a handle of that kind. It belongs to
/// its loop: what is awaited on it elsewhere ends [`WrongLoop`](crate::ErrorKind::WrongLoop), and it may be dropped anywhere
/// on the thread. Its methods take `&self`, and what they return borrows nothing: several can be awaited at a time, and one
/// that outlives it ends `Cancelled`.
///
/// ```
/// use nbio::task::TcpStream;
/// # let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
/// # let address = server.local_addr().unwrap();
/// nbio::block_on(async {
///     let stream = TcpStream::adopt(std::net::TcpStream::connect(address).unwrap())?;
///     let back = std::net::TcpStream::from(stream.release()?);
///     assert_eq!(back.peer_addr().unwrap(), address);
///     Ok::<(), nbio::Error>(())
/// })?;
/// # Ok::<(), nbio::Error>(())
/// ```
pub struct Owned<H: Handle> {
    core: Rc<Core>,
    handle: H,
    /// It is closed on drop.
    armed: bool,
}

/// Conversions.
impl<H: Handle> Owned<H> {
    pub(super) fn on(core: &Rc<Core>, handle: H) -> Owned<H> {
        Owned { core: core.clone(), handle, armed: true }
    }

    /// One made by a call to the loop that is running on this thread.
    pub(super) fn make(
        kind: Kind,
        call: impl FnOnce(&Core) -> Result<NewId, Error>,
    ) -> Result<Owned<H>, Error> {
        let core = current(kind)?;
        let id = call(&core)?;
        Ok(Owned { core, handle: H::from_id(id), armed: true })
    }

    /// Owns a handle of the loop that is running on this thread.
    ///
    /// # Errors
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle), [`WrongLoop`](crate::ErrorKind::WrongLoop),
    /// [`NoLoop`](crate::ErrorKind::NoLoop).
    pub fn own(handle: H) -> Result<Owned<H>, Error> {
        let core = current(Kind::Adopt)?;
        core.check_handle(handle.id(), Kind::Adopt)?;
        Ok(Owned { core, handle, armed: true })
    }

    /// As [`EventLoop::adopt`], on the loop that is running on this thread.
    ///
    /// # Errors
    /// As there; [`NoLoop`](crate::ErrorKind::NoLoop).
    pub fn adopt(descriptor: impl Into<OwnedDescriptor>) -> Result<Owned<H>, Rejected> {
        let descriptor = descriptor.into();
        let core = match current(Kind::Adopt) {
            Ok(core) => core,
            Err(error) => return Err(Rejected { error, descriptor }),
        };
        match core.adopt(descriptor, H::KIND) {
            Ok(id) => Ok(Owned { core, handle: H::from_id(id), armed: true }),
            Err((error, descriptor)) => Err(Rejected { error, descriptor }),
        }
    }

    /// As [`EventLoop::attach`], on the loop that is running on this thread.
    ///
    /// # Errors
    /// As there; [`NoLoop`](crate::ErrorKind::NoLoop).
    pub fn attach(detached: Detached<H>) -> Result<Owned<H>, Refused<Detached<H>>> {
        let core = match current(Kind::Attach) {
            Ok(core) => core,
            Err(error) => return Err(Refused { error, value: detached }),
        };
        let (loose, known) = detached.into_parts();
        match core.attach(loose, known) {
            Ok(id) => Ok(Owned { core, handle: H::from_id(id), armed: true }),
            Err((error, loose, known)) => Err(Refused { error, value: Detached::new(loose, known) }),
        }
    }

    /// The handle, which this goes on owning: for callbacks, and for the operations of [`op`](crate::op).
    pub fn handle(&self) -> H {
        self.handle
    }

    /// The handle, which nobody closes any more but the loop's end.
    pub fn into_handle(self) -> H {
        self.disarm().1
    }

    /// As [`EventLoop::release`].
    ///
    /// # Errors
    /// As there; it comes back.
    pub fn release(self) -> Result<OwnedDescriptor, Refused<Owned<H>>> {
        let (core, handle) = self.disarm();
        core.release(handle.id())
            .map_err(|error| Refused { error, value: Owned { core, handle, armed: true } })
    }

    /// As [`EventLoop::detach`].
    ///
    /// # Errors
    /// As there; it comes back.
    pub fn detach(self) -> Result<Detached<H>, Refused<Owned<H>>> {
        let (core, handle) = self.disarm();
        match core.detach(handle.id()) {
            Ok((loose, known)) => Ok(Detached::new(loose, known)),
            Err(error) => Err(Refused { error, value: Owned { core, handle, armed: true } }),
        }
    }

    /// As [`EventLoop::raw`].
    ///
    /// # Errors
    /// As there.
    pub fn raw(&self) -> Result<RawDescriptor, Error> {
        self.core.raw(self.handle.id())
    }

    /// As [`EventLoop::duplicate`].
    ///
    /// # Errors
    /// As there.
    pub fn duplicate(&self) -> Result<OwnedDescriptor, Error> {
        self.core.duplicate(self.handle.id())
    }

    /// Closes it, and tells when that is over: [`op::Close`].
    pub fn close(self) -> OpFuture<op::Close<H>> {
        OpFuture::new(op::Close::new(self.into_handle()))
    }

    pub(super) fn core(&self) -> &Rc<Core> {
        &self.core
    }

    /// Takes it apart without closing.
    fn disarm(mut self) -> (Rc<Core>, H) {
        self.armed = false;
        (self.core.clone(), self.handle)
    }
}

impl<H: Handle> Drop for Owned<H> {
    fn drop(&mut self) {
        if self.armed {
            self.core.close(self.handle.id());
        }
    }
}

impl<H: Handle> fmt::Debug for Owned<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Owned").field(&self.handle).finish()
    }
}

impl<S> EventLoop<S> {
    /// Owns a handle of this loop.
    ///
    /// # Errors
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle), [`WrongLoop`](crate::ErrorKind::WrongLoop).
    pub fn own<H: Handle>(&self, handle: H) -> Result<Owned<H>, Error> {
        self.core().check_handle(handle.id(), Kind::Adopt)?;
        Ok(Owned::on(self.core(), handle))
    }
}
