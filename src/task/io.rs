//! Streams for the traits of others: bytes that are borrowed, where the loop's are owned.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::ahead::{ReadAhead, WriteBehind};
use super::{OpFuture, Owned};
use crate::Error;
use crate::handle::Stream;
use crate::op::{self, Half};

/// A stream with the traits that others have made for asynchronous reading and writing: those of `futures-io`, `tokio` and
/// `hyper`, each behind the feature of that name.
///
/// # What it costs
/// Those traits lend memory for the length of one call, which nobody could leave with the system. So every byte is copied
/// once more than by [`Owned::recv`] and [`Owned::send_all`]: reads through a buffer of 16 KiB, which a stream has while it
/// waits for bytes, writes through two that hold up to 64 KiB together. A write is done when its bytes are copied; the loop
/// sends them by itself, in order, those that come while it is sending in one go. What goes wrong is told by the next write,
/// flush or shutdown, and by all that follow. A flush waits until everything is sent; hyper's doesn't, as its connections end
/// with a shutdown: it only tells what went wrong. Flush or shut down before dropping it: what is not sent by then is lost.
///
/// ```
/// use nbio::task::{Io, UnixStream};
/// # nbio::block_on(async {
/// let (one, _other) = UnixStream::pair()?;
/// let io = Io::new(one);
/// # drop(io);
/// # Ok::<(), nbio::Error>(())
/// # })?;
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct Io<H: Stream> {
    stream: Owned<H>,
    ahead: ReadAhead<op::Recv<Vec<u8>>>,
    behind: WriteBehind<H>,
    shutdown: Option<OpFuture<op::Shutdown>>,
}

// Nothing in it is ever pinned.
impl<H: Stream> Unpin for Io<H> {}

impl<H: Stream> Io<H> {
    /// Takes over a stream.
    pub fn new(stream: Owned<H>) -> Io<H> {
        Io { ahead: ReadAhead::new(), behind: WriteBehind::new(&stream), stream, shutdown: None }
    }

    /// The stream. What was received and not read is lost. What was written and not sent is sent before anything else, if the
    /// loop is running.
    pub fn into_inner(self) -> Owned<H> {
        self.behind.hand_over();
        self.stream
    }

    /// What was received and not taken; when there is nothing, waits for more. Empty at the end of the stream.
    ///
    /// # Errors
    /// As [`op::Recv`].
    pub fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<Result<&[u8], Error>> {
        let stream = self.stream.handle();
        self.ahead.poll_fill(context, |buf| op::Recv::new(stream, buf))
    }

    /// So much of it was taken.
    pub fn consume(&mut self, bytes: usize) {
        self.ahead.consume(bytes);
    }

    /// Takes over some of these bytes, as soon as there is room.
    ///
    /// # Errors
    /// As [`op::Send`], of what was written before; [`NoLoop`](crate::ErrorKind::NoLoop) and
    /// [`WrongLoop`](crate::ErrorKind::WrongLoop) outside of its loop.
    pub fn poll_put(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, Error>> {
        self.behind.poll_put(context, bytes, 0)
    }

    /// Waits until everything that was written is sent.
    ///
    /// # Errors
    /// As [`op::Send`].
    pub fn poll_sent_all(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.behind.poll_written(context)
    }

    /// Waits until everything is sent, and then ends the sending half of the connection.
    ///
    /// # Errors
    /// As [`op::Send`] and [`op::Shutdown`].
    pub fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.poll_sent_all(context))?;
        let stream = self.stream.handle();
        let shutdown = op::Shutdown::new(stream, Half::Write);
        let shutdown = self.shutdown.get_or_insert_with(|| OpFuture::new(shutdown));
        let ended = ready!(Pin::new(shutdown).poll(context));
        self.shutdown = None;
        Poll::Ready(ended)
    }

    /// Copies what was received.
    #[cfg(any(feature = "futures-io", feature = "tokio", feature = "hyper"))]
    fn poll_copy(
        &mut self,
        context: &mut Context<'_>,
        room: usize,
        put: impl FnOnce(&[u8]),
    ) -> Poll<std::io::Result<usize>> {
        let some = ready!(self.poll_fill(context))?;
        let count = some.len().min(room);
        put(&some[..count]);
        self.consume(count);
        Poll::Ready(Ok(count))
    }
}

#[cfg(feature = "futures-io")]
mod futures_traits {
    use std::io;

    use super::*;

    impl<H: Stream> futures_io::AsyncRead for Io<H> {
        fn poll_read(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            into: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            let room = into.len();
            self.get_mut().poll_copy(context, room, |bytes| into[..bytes.len()].copy_from_slice(bytes))
        }
    }

    impl<H: Stream> futures_io::AsyncBufRead for Io<H> {
        fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
            self.get_mut().poll_fill(context).map_err(io::Error::from)
        }

        fn consume(self: Pin<&mut Self>, bytes: usize) {
            self.get_mut().consume(bytes);
        }
    }

    impl<H: Stream> futures_io::AsyncWrite for Io<H> {
        fn poll_write(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.get_mut().poll_put(context, bytes).map_err(io::Error::from)
        }

        fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.get_mut().poll_sent_all(context).map_err(io::Error::from)
        }

        fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.get_mut().poll_end(context).map_err(io::Error::from)
        }
    }
}

#[cfg(feature = "tokio")]
mod tokio_traits {
    use std::io;

    use tokio::io::ReadBuf;

    use super::*;

    impl<H: Stream> tokio::io::AsyncRead for Io<H> {
        fn poll_read(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            into: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let room = into.remaining();
            let copied = self.get_mut().poll_copy(context, room, |bytes| into.put_slice(bytes));
            copied.map_ok(drop)
        }
    }

    impl<H: Stream> tokio::io::AsyncBufRead for Io<H> {
        fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
            self.get_mut().poll_fill(context).map_err(io::Error::from)
        }

        fn consume(self: Pin<&mut Self>, bytes: usize) {
            self.get_mut().consume(bytes);
        }
    }

    impl<H: Stream> tokio::io::AsyncWrite for Io<H> {
        fn poll_write(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.get_mut().poll_put(context, bytes).map_err(io::Error::from)
        }

        fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.get_mut().poll_sent_all(context).map_err(io::Error::from)
        }

        fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.get_mut().poll_end(context).map_err(io::Error::from)
        }
    }
}

#[cfg(feature = "hyper")]
mod hyper_traits {
    use std::io;

    use hyper::rt::{Read, ReadBufCursor, Write};

    use super::*;

    impl<H: Stream> Read for Io<H> {
        fn poll_read(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            mut into: ReadBufCursor<'_>,
        ) -> Poll<io::Result<()>> {
            let room = into.remaining();
            let copied = self.get_mut().poll_copy(context, room, |bytes| into.put_slice(bytes));
            copied.map_ok(drop)
        }
    }

    impl<H: Stream> Write for Io<H> {
        fn poll_write(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.get_mut().poll_put(context, bytes).map_err(io::Error::from)
        }

        /// hyper flushes after every answer, and would be woken for each once more to hear that it is sent.
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(self.behind.check().map_err(io::Error::from))
        }

        fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.get_mut().poll_end(context).map_err(io::Error::from)
        }
    }
}
