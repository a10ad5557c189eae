//! Passing descriptors to another process.

use super::{Kind, Operation, Options};
use crate::backend::{MOST_DESCRIPTORS, OwnedDescriptor, Parcel};
use crate::buf::RawLent;
use crate::engine::Core;
use crate::engine::op::{Describe, End, Op, Request, Target};
use crate::engine::passing::Passing;
use crate::handle::Id;
use crate::handle::sealed::Handle as _;
use crate::{Error, IoBuf, IoBufMut, UnixStream};

/// Sends bytes, at least one, with open descriptors beside them: the other process gets descriptors of its own for the same
/// open things.
///
/// It is a plain [`Send`](super::Send) otherwise: it takes its turn among the sends, may send only some of the bytes, waits
/// for room, and those behind it end [`Cancelled`](crate::ErrorKind::Cancelled) if it was short. The descriptors go with
/// the first of the bytes, all or none: when some bytes went out, the ones here are closed, and when none did they come back
/// in [`SentFds::unsent`]. At most 253 go with one send (`SCM_MAX_FD`). Their blocking mode and positions are shared with
/// the other process.
///
/// The receiver must ask for descriptors ([`RecvFds`], recvmsg(2)): a plain receive of those bytes closes them.
///
/// # Errors
/// As [`Send`](super::Send); [`InvalidInput`](crate::ErrorKind::InvalidInput) for no bytes or more than 253 descriptors;
/// [`TooManyDescriptors`](crate::ErrorKind::TooManyDescriptors) if too many that this user sent wait to be received
/// (ETOOMANYREFS). See unix(7), `SCM_RIGHTS`.
///
/// ```
/// use nbio::{EventLoop, op};
/// let io = EventLoop::new()?;
/// let (one, other) = io.unix_pair()?;
/// let file = std::fs::File::open("/dev/null").unwrap();
/// io.submit(op::SendFds::new(one, "take this", vec![file.into()]), |_, _, sent| {
///     assert!(sent.result.is_ok() && sent.unsent.is_empty());
/// });
/// io.submit(op::RecvFds::new(other, vec![0; 64], 1), |_, _, received| {
///     assert_eq!((received.data(), received.descriptors.len()), (&b"take this"[..], 1));
/// });
/// io.run()?;
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct SendFds<B> {
    stream: Id,
    buf: B,
    descriptors: Vec<OwnedDescriptor>,
    options: Options,
}

impl<B: IoBuf> SendFds<B> {
    /// Sends `buf` on `stream`, and `descriptors` beside it.
    pub fn new(stream: UnixStream, buf: B, descriptors: Vec<OwnedDescriptor>) -> SendFds<B> {
        SendFds { stream: stream.id(), buf, descriptors, options: Options::default() }
    }
}

/// The end of a [`SendFds`]: `bytes` is always true, and the buffer always comes back.
#[derive(Debug)]
#[non_exhaustive]
pub struct SentFds<B> {
    /// How many bytes were sent.
    pub bytes: usize,
    /// The buffer.
    pub buf: B,
    /// Why it ended.
    pub result: Result<(), Error>,
    /// The descriptors, if no bytes were sent; else none.
    pub unsent: Vec<OwnedDescriptor>,
}

impl<B: IoBuf> Describe for SendFds<B> {
    type Parts = (B, Vec<OwnedDescriptor>);

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (Self::Parts, Request) {
        let op = Op::SendFds { from: std::ptr::null(), length: 0, passing: Passing::NONE };
        let request = Request::new(Kind::SendFds, Target::Handle(self.stream), op, self.options);
        ((self.buf, self.descriptors), request)
    }

    fn lend((buf, descriptors): &mut Self::Parts, request: &mut Request, core: &Core) {
        let bytes = buf.bytes();
        if bytes.is_empty() || descriptors.len() > MOST_DESCRIPTORS {
            request.target = Target::Nothing;
            return;
        }
        let passing = core.new_parcel(Parcel::to_send(descriptors));
        request.op = Op::SendFds { from: bytes.as_ptr(), length: bytes.len(), passing };
    }
}

impl<B: IoBuf> Operation for SendFds<B> {
    type Output = SentFds<B>;

    fn finish((buf, descriptors): Self::Parts, end: End) -> SentFds<B> {
        let unsent = if end.moved == 0 { descriptors } else { Vec::new() };
        SentFds { bytes: end.moved, buf, result: end.result(), unsent }
    }
}

/// Receives bytes, and descriptors that came beside them.
///
/// It is a plain [`Recv`](super::Recv) otherwise: it overwrites from byte 0, takes its turn among the receives, and ends `Ok`
/// with 0 bytes at the end of the stream. One ends where the bytes end that descriptors came with, so those of two sends never
/// come together. They are close-on-exec.
///
/// If more come than were asked for, or the process has no room for them, none is given and those that came are closed:
/// [`ReceivedFds::lost`] says so, and the bytes are as ever. Those of a receive that was removed, or that ended because the
/// loop was dropped, are closed; a cancelled one gives what it got.
///
/// # Errors
/// As [`Recv`](super::Recv); [`InvalidInput`](crate::ErrorKind::InvalidInput) also for more than 253 descriptors. See
/// unix(7), `SCM_RIGHTS`.
///
/// See [`SendFds`] for an example.
#[derive(Debug)]
pub struct RecvFds<B> {
    stream: Id,
    buf: B,
    most: usize,
    options: Options,
}

impl<B: IoBufMut> RecvFds<B> {
    /// Receives on `stream` into `buf`, and at most so many descriptors, 0 to 253.
    pub fn new(stream: UnixStream, buf: B, most: usize) -> RecvFds<B> {
        RecvFds { stream: stream.id(), buf, most, options: Options::default() }
    }
}

/// The end of a [`RecvFds`]: `bytes` is always true, and the buffer always comes back.
#[derive(Debug)]
#[non_exhaustive]
pub struct ReceivedFds<B> {
    /// How many bytes came.
    pub bytes: usize,
    /// The buffer; as in [`Done`](super::Done).
    pub buf: B,
    /// Why it ended.
    pub result: Result<(), Error>,
    /// What came with the bytes, in the order in which it was sent.
    pub descriptors: Vec<OwnedDescriptor>,
    /// Descriptors came for which there was no room; all are closed.
    pub lost: bool,
}

impl<B: IoBuf> ReceivedFds<B> {
    /// The bytes that were received.
    pub fn data(&self) -> &[u8] {
        let bytes = self.buf.bytes();
        &bytes[..self.bytes.min(bytes.len())]
    }
}

impl<B: IoBufMut> Describe for RecvFds<B> {
    type Parts = B;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (B, Request) {
        let op = Op::RecvFds { into: RawLent::NONE, passing: Passing::NONE };
        let request = Request::new(Kind::RecvFds, Target::Handle(self.stream), op, self.options);
        (self.buf, Request { want: Some(self.most), ..request })
    }

    fn lend(buf: &mut B, request: &mut Request, core: &Core) {
        let into = buf.as_uninit().into_raw();
        let most = request.want.take().unwrap_or(0);
        if most > MOST_DESCRIPTORS {
            request.target = Target::Nothing;
        }
        let passing = core.new_parcel(Parcel::to_receive(most.min(MOST_DESCRIPTORS)));
        request.op = Op::RecvFds { into, passing };
    }
}

impl<B: IoBufMut> Operation for RecvFds<B> {
    type Output = ReceivedFds<B>;

    fn finish(buf: B, mut end: End) -> ReceivedFds<B> {
        let (descriptors, lost) = std::mem::take(&mut end.descriptors);
        ReceivedFds { bytes: end.moved, buf, result: end.result(), descriptors, lost }
    }
}
