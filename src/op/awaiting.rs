//! Operations as futures: what an awaited one gives, and that each can be awaited.

use std::fmt;
use std::future::IntoFuture;
use std::io;

use super::*;
use crate::task::OpFuture;
use crate::{
    Buffers, DatagramSocket, Handle, IoBuf, IoBufMut, Listener, OwnedDescriptor, UnixConnection, UnixEnd,
};

/// What `.await` on an operation gives.
///
/// Those that move bytes give `Result<(usize, B), Failed<B>>`: how many, and the buffer. Those that receive messages give
/// `Result<Datagram<B, A>, Failed<B>>` and the like; [`SendFile`] and [`Splice`] what they give a callback; all others a
/// `Result<T, Error>`.
pub type Awaited<O> = <<O as Operation>::Output as Ending>::Awaited;

/// How an operation ends, as a callback is given it and as a future gives it. The trait is sealed.
pub trait Ending: sealed::Sealed + 'static {
    /// What a future gives.
    type Awaited;

    /// One made of the other.
    #[doc(hidden)]
    fn awaited(self) -> Self::Awaited;
}

mod sealed {
    pub trait Sealed {}
}

/// The end of an awaited operation that did not do what was asked: why, how far it got, and its buffer.
///
/// `?` makes it an [`Error`] or an [`io::Error`]; to have the buffer, match it.
///
/// ```
/// # use std::time::Duration;
/// use nbio::{ErrorKind, EventLoop, Operation, op};
/// let io = EventLoop::new()?;
/// # let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
/// # let peer = std::net::TcpStream::connect(server.local_addr().unwrap()).unwrap();
/// let stream = io.adopt::<nbio::TcpStream>(server.accept().unwrap().0)?;
/// io.block_on(async {
///     let failed = op::Recv::new(stream, [0; 64]).timeout(Duration::from_millis(1)).await.unwrap_err();
///     assert_eq!((failed.error.kind(), failed.bytes, failed.buf.len()), (ErrorKind::TimedOut, 0, 64));
/// })?;
/// # Ok::<(), nbio::Error>(())
/// ```
#[non_exhaustive]
pub struct Failed<B> {
    /// Why it ended.
    pub error: Error,
    /// How many bytes were moved all the same.
    pub bytes: usize,
    /// The buffer.
    pub buf: B,
}

impl<B> Failed<B> {
    pub(crate) fn new(error: Error, bytes: usize, buf: B) -> Failed<B> {
        Failed { error, bytes, buf }
    }
}

impl<B> fmt::Debug for Failed<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failed")
            .field("error", &self.error)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl<B> fmt::Display for Failed<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<B> std::error::Error for Failed<B> {}

impl<B> From<Failed<B>> for Error {
    fn from(failed: Failed<B>) -> Error {
        failed.error
    }
}

impl<B> From<Failed<B>> for io::Error {
    fn from(failed: Failed<B>) -> io::Error {
        failed.error.into()
    }
}

impl<T: 'static> sealed::Sealed for Result<T, Error> {}
impl<T: 'static> Ending for Result<T, Error> {
    type Awaited = Result<T, Error>;

    fn awaited(self) -> Result<T, Error> {
        self
    }
}

impl<B> sealed::Sealed for Done<B> {}
impl<B: 'static> Ending for Done<B> {
    type Awaited = Result<(usize, B), Failed<B>>;

    fn awaited(self) -> Result<(usize, B), Failed<B>> {
        match self.result {
            Ok(()) => Ok((self.bytes, self.buf)),
            Err(error) => Err(Failed::new(error, self.bytes, self.buf)),
        }
    }
}

impl<B, A> sealed::Sealed for Datagram<B, A> {}
impl<B: 'static, A: 'static> Ending for Datagram<B, A> {
    type Awaited = Result<Datagram<B, A>, Failed<B>>;

    fn awaited(self) -> Result<Datagram<B, A>, Failed<B>> {
        match self.result {
            Ok(()) => Ok(self),
            Err(error) => Err(Failed::new(error, self.bytes, self.buf)),
        }
    }
}

impl<B> sealed::Sealed for Record<B> {}
impl<B: 'static> Ending for Record<B> {
    type Awaited = Result<Record<B>, Failed<B>>;

    fn awaited(self) -> Result<Record<B>, Failed<B>> {
        match self.result {
            Ok(()) => Ok(self),
            Err(error) => Err(Failed::new(error, self.bytes, self.buf)),
        }
    }
}

impl<B> sealed::Sealed for ReceivedFds<B> {}
impl<B: 'static> Ending for ReceivedFds<B> {
    type Awaited = Result<ReceivedFds<B>, Failed<B>>;

    fn awaited(self) -> Result<ReceivedFds<B>, Failed<B>> {
        match self.result {
            Ok(()) => Ok(self),
            Err(error) => Err(Failed::new(error, self.bytes, self.buf)),
        }
    }
}

impl<B> sealed::Sealed for SentFds<B> {}
impl<B: 'static> Ending for SentFds<B> {
    /// With the descriptors that were not sent.
    type Awaited = Result<(usize, B), Failed<(B, Vec<OwnedDescriptor>)>>;

    fn awaited(self) -> Self::Awaited {
        match self.result {
            Ok(()) => Ok((self.bytes, self.buf)),
            Err(error) => Err(Failed::new(error, self.bytes, (self.buf, self.unsent))),
        }
    }
}

impl sealed::Sealed for SentFile {}
impl Ending for SentFile {
    type Awaited = SentFile;

    fn awaited(self) -> SentFile {
        self
    }
}

impl sealed::Sealed for Spliced {}
impl Ending for Spliced {
    type Awaited = Spliced;

    fn awaited(self) -> Spliced {
        self
    }
}

impl sealed::Sealed for Interest {}
impl Ending for Interest {
    type Awaited = Interest;

    fn awaited(self) -> Interest {
        self
    }
}

/// `IntoFuture` for each operation: no blanket implementation of a foreign trait is allowed.
macro_rules! awaitable {
    ($([$($generics:tt)*] $operation:ty;)*) => {
        $(
            impl<$($generics)*> IntoFuture for $operation {
                type Output = Awaited<Self>;
                type IntoFuture = OpFuture<Self>;

                fn into_future(self) -> OpFuture<Self> {
                    OpFuture::new(self)
                }
            }
        )*
    };
}

awaitable! {
    [L: Listener] Accept<L>;
    [] Connect;
    [H: UnixConnection] ConnectUnix<H>;
    [B: IoBufMut] Recv<B>;
    [V: Buffers<Buf: IoBufMut>] RecvVectored<V>;
    [B: IoBuf] Send<B>;
    [V: Buffers] SendVectored<V>;
    [B: IoBufMut, H: DatagramSocket] RecvFrom<B, H>;
    [V: Buffers<Buf: IoBufMut>, H: DatagramSocket] RecvMsg<V, H>;
    [B: IoBuf, H: DatagramSocket] SendTo<B, H>;
    [B: IoBuf, H: DatagramSocket] SendDatagram<B, H>;
    [V: Buffers, H: DatagramSocket] SendMsg<V, H>;
    [B: IoBufMut] RecvRecord<B>;
    [V: Buffers<Buf: IoBufMut>] RecvRecordVectored<V>;
    [B: IoBuf] SendRecord<B>;
    [V: Buffers] SendRecordVectored<V>;
    [B: IoBufMut, H: UnixEnd] RecvFds<B, H>;
    [B: IoBuf, H: UnixEnd] SendFds<B, H>;
    [] Shutdown;
    [] SendFile;
    [] Splice;
    [H: Handle] Close<H>;
    [] Open;
    [B: IoBufMut] ReadAt<B>;
    [V: Buffers<Buf: IoBufMut>] ReadAtVectored<V>;
    [B: IoBuf] WriteAt<B>;
    [V: Buffers] WriteAtVectored<V>;
    [] Fsync;
    [] Fdatasync;
    [] Stat;
    [] Truncate;
    [] Allocate;
    [] Rename;
    [] Unlink;
    [] Mkdir;
    [] Rmdir;
    [] Link;
    [] Symlink;
    [] ReadLink;
    [] ReadDir;
    [] Lock;
    [] Unlock;
    [B: IoBufMut] Read<B>;
    [B: IoBuf] Write<B>;
    [] Seek;
    [] ReadFile;
    [B: IoBuf] WriteFile<B>;
    [] CopyFile;
    [] OpenFifo;
    [] AcceptPipe;
    [] Poll;
    [] Timer;
    [] NextTick;
    [T: std::marker::Send + 'static] Blocking<T>;
    [] Resolve;
}
