//! Streams for the traits of others: bytes that are borrowed, where the loop's are owned.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::{OpFuture, Owned};
use crate::Error;
use crate::handle::Stream;
use crate::op::{self, Half};

/// How much is received at a time.
const READ_AHEAD: usize = 16 * 1024;
/// How much is written behind at most: what is being sent, and what waits.
const WRITE_BEHIND: usize = 64 * 1024;

/// A stream with the traits that others have made for asynchronous reading and writing: those of `futures-io`, `tokio` and
/// `hyper`, each behind the feature of that name.
///
/// # What it costs
/// Those traits lend memory for the length of one call, which nobody could leave with the system. So every byte is copied
/// once more than by [`Owned::recv`] and [`Owned::send_all`]: reads through a buffer of 16 KiB, which a stream has while it
/// waits for bytes, writes through two that hold up to 64 KiB together. A write is done when its bytes are copied; they are
/// sent at once, in order, unless a send is under way: then they wait for its end, and for the next write, flush or shutdown
/// after that. So flush before waiting for an answer, and before dropping it: what is not sent by then is lost. What goes
/// wrong is told by the next write, flush or shutdown.
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
    recv: Option<OpFuture<op::Recv<Vec<u8>>>>,
    read: Vec<u8>,
    /// How much of it was taken.
    at: usize,
    send: Option<OpFuture<op::Send<Vec<u8>>>>,
    /// How much that sends.
    sending: usize,
    /// What is to be sent next.
    write: Vec<u8>,
    /// The buffer of the last send, to be used again.
    spare: Vec<u8>,
    /// What went wrong, for good.
    failed: Option<Error>,
    shutdown: Option<OpFuture<op::Shutdown>>,
}

// Nothing in it is ever pinned.
impl<H: Stream> Unpin for Io<H> {}

impl<H: Stream> Io<H> {
    /// Takes over a stream.
    pub fn new(stream: Owned<H>) -> Io<H> {
        Io {
            stream,
            recv: None,
            read: Vec::new(),
            at: 0,
            send: None,
            sending: 0,
            write: Vec::new(),
            spare: Vec::new(),
            failed: None,
            shutdown: None,
        }
    }

    /// The stream. What was received and not read, or written and not sent, is lost.
    pub fn into_inner(self) -> Owned<H> {
        self.stream
    }

    /// What was received and not taken; when there is nothing, waits for more. Empty at the end of the stream.
    ///
    /// # Errors
    /// As [`op::Recv`].
    pub fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<Result<&[u8], Error>> {
        if self.at == self.read.len() {
            let (stream, read) = (self.stream.handle(), &mut self.read);
            self.at = 0;
            let recv = self.recv.get_or_insert_with(|| {
                let mut buf = std::mem::take(read);
                buf.clear();
                buf.reserve_exact(READ_AHEAD);
                OpFuture::new(op::Recv::new(stream, buf))
            });
            let ended = ready!(Pin::new(recv).poll(context));
            self.recv = None;
            self.read = match ended {
                Ok((_, buf)) => buf,
                Err(failed) => return Poll::Ready(Err(failed.error)),
            };
        }
        Poll::Ready(Ok(&self.read[self.at..]))
    }

    /// So much of it was taken.
    pub fn consume(&mut self, bytes: usize) {
        self.at = (self.at + bytes).min(self.read.len());
    }

    /// Takes over some of these bytes, as soon as there is room.
    ///
    /// # Errors
    /// As [`op::Send`], of what was written before.
    pub fn poll_put(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, Error>> {
        let sent = self.poll_sent(context);
        if let Poll::Ready(Err(error)) = sent {
            return Poll::Ready(Err(error));
        }
        let room = WRITE_BEHIND - self.sending - self.write.len();
        if room == 0 {
            // Full, so something is being sent, and that has this waker.
            return Poll::Pending;
        }
        let count = bytes.len().min(room);
        self.write.extend_from_slice(&bytes[..count]);
        if self.send.is_none()
            && let Poll::Ready(Err(error)) = self.begin_send(context)
        {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(count))
    }

    /// Waits until everything that was written is sent.
    ///
    /// # Errors
    /// As [`op::Send`].
    pub fn poll_sent_all(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            ready!(self.poll_sent(context))?;
            if self.write.is_empty() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.begin_send(context))?;
        }
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

    /// Waits for the send that is under way.
    fn poll_sent(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if let Some(error) = self.failed {
            return Poll::Ready(Err(error));
        }
        let Some(send) = &mut self.send else { return Poll::Ready(Ok(())) };
        let ended = ready!(Pin::new(send).poll(context));
        (self.send, self.sending) = (None, 0);
        match ended {
            Ok((_, mut buf)) => {
                buf.clear();
                self.spare = buf;
                Poll::Ready(Ok(()))
            }
            Err(failed) => {
                self.failed = Some(failed.error);
                Poll::Ready(Err(failed.error))
            }
        }
    }

    /// Begins to send what was written; nothing is being sent.
    fn begin_send(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let buf = std::mem::replace(&mut self.write, std::mem::take(&mut self.spare));
        self.sending = buf.len();
        self.send = Some(OpFuture::new(op::Send::new(self.stream.handle(), buf).all()));
        self.poll_sent(context)
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

        fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.get_mut().poll_sent_all(context).map_err(io::Error::from)
        }

        fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.get_mut().poll_end(context).map_err(io::Error::from)
        }
    }
}
