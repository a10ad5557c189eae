//! Closing.

use std::time::Duration;

use super::{Kind, Operation, Options, Recv, Shutdown};
use crate::engine::op::{Describe, End, Op, Request, Target};
use crate::handle::{Handle, HandleKind};
use crate::op::Half;
use crate::{Error, ErrorKind, EventLoop, Instant, Stream};

/// Closes a handle and calls back when everything of it is over.
///
/// The handle is stale at once, its operations are cancelled, and after the last of them has ended (and called
/// back) the descriptor is closed. Unsent data is not flushed by nbio; see
/// [`Shutdown`] and [`close_gracefully`](crate::EventLoop::close_gracefully).
///
/// Cancelled or timed out it calls back at once; the handle is closed all the same.
///
/// # Errors
/// [`StaleHandle`](crate::ErrorKind::StaleHandle), [`WrongLoop`](crate::ErrorKind::WrongLoop), or what close(2)
/// says; the descriptor is gone even then.
///
/// ```
/// use nbio::{EventLoop, op};
/// let io = EventLoop::new()?;
/// let listener = io.listen_tcp(([127, 0, 0, 1], 0))?;
/// io.submit(op::Close::new(listener), |_, _, closed| assert!(closed.is_ok()));
/// io.run()?;
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct Close<H> {
    handle: H,
    options: Options,
}

impl<H: Handle> Close<H> {
    /// Closes `handle`.
    pub fn new(handle: H) -> Close<H> {
        Close { handle, options: Options::default() }
    }
}

impl<H: Handle> Describe for Close<H> {
    type Parts = ();

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> ((), Request) {
        ((), Request::new(Kind::Close, Target::Handle(self.handle.id()), Op::Close, self.options))
    }
}

impl<H: Handle> Operation for Close<H> {
    type Output = Result<(), Error>;

    fn finish((): (), end: &mut End) -> Result<(), Error> {
        end.result()
    }
}

/// Sends what is queued, ends the sending half, reads until the peer has ended its own, closes. `stream` is a name
/// that only this chain of callbacks knows.
pub(crate) fn close_gracefully<S, H, F>(io: &EventLoop<S>, stream: H, timeout: Duration, callback: F)
where
    H: Stream,
    F: FnOnce(&mut S, &EventLoop<S>, Result<(), Error>) + 'static,
{
    let deadline = io.now() + timeout;
    io.submit(Shutdown::new(stream, Half::Write).deadline(deadline), move |_, io, shut| match shut {
        Ok(()) => read_out(io, stream, deadline, vec![0; 4096], callback),
        // A pipe has no halves, and its other side nothing to say.
        Err(error) if H::KIND == HandleKind::Pipe && error.kind() == ErrorKind::Unsupported => {
            close_with(io, stream, Ok(()), callback);
        }
        Err(error) => close_with(io, stream, Err(error), callback),
    });
}

/// Reads and throws away until the peer has ended: closing with unread data would reset the connection and could
/// take from the peer what it hasn't read yet.
fn read_out<S, H, F>(io: &EventLoop<S>, stream: H, deadline: Instant, buf: Vec<u8>, callback: F)
where
    H: Stream,
    F: FnOnce(&mut S, &EventLoop<S>, Result<(), Error>) + 'static,
{
    io.submit(Recv::new(stream, buf).deadline(deadline), move |_, io, done| match done.result {
        // A peer that never stops sending always has bytes ready, before a deadline can cancel anything.
        Ok(()) if done.bytes > 0 && io.now() >= deadline => {
            let late = Error::new(ErrorKind::TimedOut, Kind::CloseGracefully);
            close_with(io, stream, Err(late), callback);
        }
        Ok(()) if done.bytes > 0 => read_out(io, stream, deadline, done.buf, callback),
        result => close_with(io, stream, result, callback),
    });
}

fn close_with<S, H, F>(io: &EventLoop<S>, stream: H, result: Result<(), Error>, callback: F)
where
    H: Stream,
    F: FnOnce(&mut S, &EventLoop<S>, Result<(), Error>) + 'static,
{
    io.submit(Close::new(stream), move |state, io, closed| {
        callback(state, io, result.and(closed).map_err(|error| error.of(Kind::CloseGracefully)));
    });
}
