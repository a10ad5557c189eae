//! Halves of streams, and the connections of a listener one after the other.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::{OpFuture, Owned};
use crate::engine::erased;
use crate::handle::{Listener, Stream};
use crate::op::{self, Half};
use crate::{Buffers, Error, IoBuf, IoBufMut};

/// What can be received from: a stream, or a half of one. The trait is sealed.
pub trait Source: sealed::Sealed {
    /// The stream's handle type.
    type Handle: Stream;

    /// The stream.
    fn source(&self) -> Self::Handle;
}

/// What can be sent to: a stream, or a half of one. The trait is sealed.
pub trait Sink: sealed::Sealed {
    /// The stream's handle type.
    type Handle: Stream;

    /// The stream.
    fn sink(&self) -> Self::Handle;
}

mod sealed {
    pub trait Sealed {}
}

impl<H: Stream> sealed::Sealed for Owned<H> {}
impl<H: Stream> Source for Owned<H> {
    type Handle = H;

    fn source(&self) -> H {
        self.handle()
    }
}
impl<H: Stream> Sink for Owned<H> {
    type Handle = H;

    fn sink(&self) -> H {
        self.handle()
    }
}

impl<T: sealed::Sealed + ?Sized> sealed::Sealed for &T {}
impl<T: Source + ?Sized> Source for &T {
    type Handle = T::Handle;

    fn source(&self) -> T::Handle {
        (**self).source()
    }
}
impl<T: Sink + ?Sized> Sink for &T {
    type Handle = T::Handle;

    fn sink(&self) -> T::Handle {
        (**self).sink()
    }
}

/// The receiving half of a stream: made by [`Owned::split`].
#[derive(Debug)]
pub struct ReadHalf<'a, H: Stream>(&'a Owned<H>);

/// The sending half of a stream: made by [`Owned::split`].
#[derive(Debug)]
pub struct WriteHalf<'a, H: Stream>(&'a Owned<H>);

/// The receiving half of a stream: made by [`Owned::into_split`].
#[derive(Debug)]
pub struct OwnedReadHalf<H: Stream>(Rc<Owned<H>>);

/// The sending half of a stream: made by [`Owned::into_split`]. Dropped, it ends the sending half of the connection behind
/// what is being sent, unless it is [`forget`](OwnedWriteHalf::forget)ed or [`reunite`](OwnedReadHalf::reunite)d; a pipe has
/// no halves, and is left alone.
#[derive(Debug)]
pub struct OwnedWriteHalf<H: Stream> {
    stream: Rc<Owned<H>>,
    ends: bool,
}

/// Splitting.
impl<H: Stream> Owned<H> {
    /// The two directions, borrowed.
    pub fn split(&mut self) -> (ReadHalf<'_, H>, WriteHalf<'_, H>) {
        (ReadHalf(self), WriteHalf(self))
    }

    /// The two directions, each on its own, as for two tasks. The stream is closed when both are dropped.
    ///
    /// ```
    /// use nbio::task::UnixStream;
    /// nbio::block_on(async {
    ///     let (one, other) = UnixStream::pair()?;
    ///     let (receiving, sending) = one.into_split();
    ///     let task = nbio::spawn(async move {
    ///         sending.send_all("hello").await?;
    ///         Ok::<_, nbio::Error>(sending)
    ///     });
    ///     assert_eq!(other.recv_exact([0; 5], 5).await?.1, *b"hello");
    ///     let one = receiving.reunite(task.await.unwrap()?).unwrap();
    ///     one.send_all("again").await?;
    ///     Ok::<(), nbio::Error>(())
    /// })?;
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn into_split(self) -> (OwnedReadHalf<H>, OwnedWriteHalf<H>) {
        let stream = Rc::new(self);
        (OwnedReadHalf(stream.clone()), OwnedWriteHalf { stream, ends: true })
    }
}

/// Two halves of different streams, given back by [`OwnedReadHalf::reunite`].
pub struct Strangers<H: Stream>(pub OwnedReadHalf<H>, pub OwnedWriteHalf<H>);

impl<H: Stream> fmt::Debug for Strangers<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("halves of two different streams")
    }
}

impl<H: Stream> OwnedReadHalf<H> {
    /// The whole stream again.
    ///
    /// # Errors
    /// Both halves, if they are of different streams.
    pub fn reunite(self, mut other: OwnedWriteHalf<H>) -> Result<Owned<H>, Strangers<H>> {
        if !Rc::ptr_eq(&self.0, &other.stream) {
            return Err(Strangers(self, other));
        }
        other.ends = false;
        drop(other);
        // Nobody else has a share: the halves are not `Clone`.
        Rc::try_unwrap(self.0).map_err(|_| unreachable!("two halves are all there are"))
    }
}

impl<H: Stream> OwnedWriteHalf<H> {
    /// Drops it without ending the sending half of the connection.
    pub fn forget(mut self) {
        self.ends = false;
    }
}

impl<H: Stream> Drop for OwnedWriteHalf<H> {
    fn drop(&mut self) {
        // The last one closes the stream anyway.
        if self.ends && Rc::strong_count(&self.stream) > 1 {
            let shutdown = op::Shutdown::new(self.stream.handle(), Half::Write);
            erased::submit_bare(self.stream.core(), shutdown, |_| ());
        }
    }
}

macro_rules! halves {
    ($([$($generics:tt)*] $half:ty, $direction:ident, $method:ident, |$this:ident| $stream:expr;)*) => {
        $(
            impl<$($generics)*> sealed::Sealed for $half {}
            impl<$($generics)*> $direction for $half {
                type Handle = H;

                fn $method(&self) -> H {
                    let $this = self;
                    $stream.handle()
                }
            }
        )*
    };
}

halves! {
    [H: Stream] ReadHalf<'_, H>, Source, source, |this| this.0;
    [H: Stream] OwnedReadHalf<H>, Source, source, |this| this.0;
    [H: Stream] WriteHalf<'_, H>, Sink, sink, |this| this.0;
    [H: Stream] OwnedWriteHalf<H>, Sink, sink, |this| this.stream;
}

/// Receiving, on a half: as on the stream.
macro_rules! receives {
    ($($half:ty),*) => {
        $(
            impl<H: Stream> $half {
                /// As [`Owned::recv`].
                pub fn recv<B: IoBufMut>(&self, buf: B) -> OpFuture<op::Recv<B>> {
                    OpFuture::new(op::Recv::new(self.source(), buf))
                }

                /// As [`Owned::recv_exact`].
                pub fn recv_exact<B: IoBufMut>(&self, buf: B, bytes: usize) -> OpFuture<op::Recv<B>> {
                    OpFuture::new(op::Recv::new(self.source(), buf).exact(bytes))
                }

                /// As [`Owned::recv_vectored`].
                pub fn recv_vectored<V: Buffers<Buf: IoBufMut>>(&self, bufs: V) -> OpFuture<op::RecvVectored<V>> {
                    OpFuture::new(op::RecvVectored::new(self.source(), bufs))
                }
            }
        )*
    };
}

/// Sending, on a half: as on the stream.
macro_rules! sends {
    ($($half:ty),*) => {
        $(
            impl<H: Stream> $half {
                /// As [`Owned::send`].
                pub fn send<B: IoBuf>(&self, buf: B) -> OpFuture<op::Send<B>> {
                    OpFuture::new(op::Send::new(self.sink(), buf))
                }

                /// As [`Owned::send_all`].
                pub fn send_all<B: IoBuf>(&self, buf: B) -> OpFuture<op::Send<B>> {
                    OpFuture::new(op::Send::new(self.sink(), buf).all())
                }

                /// As [`Owned::send_vectored`].
                pub fn send_vectored<V: Buffers>(&self, bufs: V) -> OpFuture<op::SendVectored<V>> {
                    OpFuture::new(op::SendVectored::new(self.sink(), bufs).all())
                }
            }
        )*
    };
}

receives!(ReadHalf<'_, H>, OwnedReadHalf<H>);
sends!(WriteHalf<'_, H>, OwnedWriteHalf<H>);

/// Sends on what comes from one stream to another, until the end of the first: [`op::Splice`]. Says how many bytes.
///
/// # Errors
/// As there. To know how far it came, or to have the bytes that were taken and not sent, await the operation itself.
pub async fn copy(from: &impl Source, to: &impl Sink) -> Result<u64, Error> {
    let spliced = op::Splice::new(from.source(), to.sink()).await;
    spliced.result.map(|()| spliced.delivered)
}

/// A connection, and where it came from.
pub type Connected<L> = (Owned<<L as Listener>::Stream>, <L as Listener>::Address);

/// The connections of a listener, one after the other: made by [`Owned::incoming`].
#[derive(Debug)]
pub struct Incoming<'a, L: Listener> {
    listener: &'a Owned<L>,
    accept: Option<OpFuture<op::Accept<L>>>,
}

impl<'a, L: Listener> Incoming<'a, L> {
    pub(super) fn new(listener: &'a Owned<L>) -> Incoming<'a, L> {
        Incoming { listener, accept: None }
    }

    /// The next one. It never ends by itself; dropped before its end, it has lost nothing.
    ///
    /// # Errors
    /// As [`op::Accept`].
    pub async fn next(&mut self) -> Result<Connected<L>, Error> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`next`](Incoming::next), for futures written by hand.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Connected<L>, Error>> {
        let accept =
            self.accept.get_or_insert_with(|| OpFuture::new(op::Accept::new(self.listener.handle())));
        let Poll::Ready(accepted) = Pin::new(accept).poll(context) else { return Poll::Pending };
        self.accept = None;
        Poll::Ready(accepted.map(|new| (Owned::on(self.listener.core(), new.stream), new.peer)))
    }
}

/// It never ends. An error doesn't end it either.
#[cfg(feature = "futures-core")]
impl<L: Listener> futures_core::Stream for Incoming<'_, L> {
    type Item = Result<Connected<L>, Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Incoming::poll_next(self.get_mut(), context).map(Some)
    }
}
