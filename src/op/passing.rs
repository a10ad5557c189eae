//! Passing descriptors to another process.

use super::{Kind, Operation, Options};
use crate::backend::{Address, MOST_DESCRIPTORS, OwnedDescriptor, Parcel};
use crate::buf::RawLent;
use crate::engine::Core;
use crate::engine::op::{Describe, End, Got, Op, Request, Target, Unit};
use crate::engine::passing::Passing;
use crate::handle::UnixEnd;
use crate::{Error, IoBuf, IoBufMut, UnixAddress, UnixDatagram, UnixStream};

/// Sends bytes with open descriptors beside them: the other process gets descriptors of its own for the same open things.
///
/// On a [`UnixStream`] there must be at least one byte, and it is a plain [`Send`](super::Send) otherwise: it takes its turn among the sends, may send only some of the bytes, waits
/// for room, and those behind it end [`Cancelled`](crate::ErrorKind::Cancelled) if it was short. The descriptors go with
/// the first of the bytes, all or none: when some bytes went out, the ones here are closed, and when none did they come back
/// in [`SentFds::unsent`]. At most 253 go with one send (`SCM_MAX_FD`). Their blocking mode and positions are shared with
/// the other process.
///
/// On a [`UnixSeqpacket`](crate::UnixSeqpacket) it is a [`SendRecord`](super::SendRecord), on a [`UnixDatagram`] a
/// [`SendDatagram`](super::SendDatagram) or, with [`to`](SendFds::to), a [`SendTo`](super::SendTo): all of it goes or nothing,
/// and descriptors may go without bytes.
///
/// The receiver must ask for descriptors ([`RecvFds`], recvmsg(2)): a plain receive of those bytes closes them.
///
/// # Errors
/// As what it is otherwise; [`InvalidInput`](crate::ErrorKind::InvalidInput) for no bytes on a stream or more than 253
/// descriptors;
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
pub struct SendFds<B, H = UnixStream> {
    socket: H,
    buf: B,
    descriptors: Vec<OwnedDescriptor>,
    to: Option<UnixAddress>,
    options: Options,
}

impl<B: IoBuf, H: UnixEnd> SendFds<B, H> {
    /// Sends `buf` on `socket`, and `descriptors` beside it.
    pub fn new(socket: H, buf: B, descriptors: Vec<OwnedDescriptor>) -> SendFds<B, H> {
        SendFds { socket, buf, descriptors, to: None, options: Options::default() }
    }
}

impl<B: IoBuf> SendFds<B, UnixDatagram> {
    /// To this address instead of the peer's.
    pub fn to(mut self, address: impl Into<UnixAddress>) -> SendFds<B, UnixDatagram> {
        self.to = Some(address.into());
        self
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
    /// The descriptors, if nothing was sent; else none.
    pub unsent: Vec<OwnedDescriptor>,
}

/// What a send of descriptors keeps in its slot.
pub struct Outgoing<B> {
    buf: B,
    descriptors: Vec<OwnedDescriptor>,
    to: Option<UnixAddress>,
}

impl<B: IoBuf, H: UnixEnd> Describe for SendFds<B, H> {
    type Parts = Outgoing<B>;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (Self::Parts, Request) {
        let op = Op::SendFds { from: std::ptr::null(), length: 0, passing: Passing::NONE, unit: H::CARRIES };
        let request = Request::new(Kind::SendFds, Target::Handle(self.socket.id()), op, self.options);
        (Outgoing { buf: self.buf, descriptors: self.descriptors, to: self.to }, request)
    }

    fn lend(Outgoing { buf, descriptors, to }: &mut Self::Parts, request: &mut Request, core: &Core) {
        let bytes = buf.bytes();
        let to = to.as_ref().map(|to| Address::of_local(to, Kind::SendFds)).transpose();
        let nothing = bytes.is_empty() && H::CARRIES == Unit::Bytes;
        let (Ok(to), false, false) = (to, nothing, descriptors.len() > MOST_DESCRIPTORS) else {
            request.target = Target::Nothing;
            return;
        };
        let passing = core.new_parcel(Parcel::to_send(descriptors, to));
        let (from, length) = (bytes.as_ptr(), bytes.len());
        request.op = Op::SendFds { from, length, passing, unit: H::CARRIES };
    }
}

impl<B: IoBuf, H: UnixEnd> Operation for SendFds<B, H> {
    type Output = SentFds<B>;

    fn finish(Outgoing { buf, descriptors, .. }: Outgoing<B>, end: &mut End) -> SentFds<B> {
        let result = end.result();
        let unsent = if end.moved == 0 && result.is_err() { descriptors } else { Vec::new() };
        SentFds { bytes: end.moved, buf, result, unsent }
    }
}

/// Receives bytes, and descriptors that came beside them.
///
/// On a [`UnixStream`] it is a plain [`Recv`](super::Recv) otherwise: it overwrites from byte 0, takes its turn among the receives, and ends `Ok`
/// with 0 bytes at the end of the stream. One ends where the bytes end that descriptors came with, so those of two sends never
/// come together. On a [`UnixSeqpacket`](crate::UnixSeqpacket) it is a [`RecvRecord`](super::RecvRecord), on a
/// [`UnixDatagram`] a [`RecvFrom`](super::RecvFrom). The descriptors are close-on-exec.
///
/// If more come than were asked for, or the process has no room for them, none is given and those that came are closed:
/// [`ReceivedFds::lost`] says so, and the bytes are as ever. Those of a receive that was removed, or that ended because the
/// loop was dropped, are closed; a cancelled one gives what it got.
///
/// # Errors
/// As what it is otherwise; [`InvalidInput`](crate::ErrorKind::InvalidInput) also for more than 253 descriptors. See
/// unix(7), `SCM_RIGHTS`.
///
/// See [`SendFds`] for an example.
#[derive(Debug)]
pub struct RecvFds<B, H = UnixStream> {
    socket: H,
    buf: B,
    most: usize,
    options: Options,
}

impl<B: IoBufMut, H: UnixEnd> RecvFds<B, H> {
    /// Receives on `socket` into `buf`, and at most so many descriptors, 0 to 253.
    pub fn new(socket: H, buf: B, most: usize) -> RecvFds<B, H> {
        RecvFds { socket, buf, most, options: Options::default() }
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
    /// A datagram's or record's bytes were more than the buffer takes; the rest is lost. Never on a stream.
    pub truncated: bool,
    /// Nobody will send any more: 0 bytes, and no message without bytes. Never on a datagram socket.
    pub end_of_stream: bool,
    /// Who sent it, on a datagram socket, if something was received.
    pub from: Option<UnixAddress>,
}

impl<B: IoBuf> ReceivedFds<B> {
    /// The bytes that were received.
    pub fn data(&self) -> &[u8] {
        let bytes = self.buf.bytes();
        &bytes[..self.bytes.min(bytes.len())]
    }
}

impl<B: IoBufMut, H: UnixEnd> Describe for RecvFds<B, H> {
    type Parts = B;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (B, Request) {
        let op =
            Op::RecvFds { into: RawLent::NONE, passing: Passing::NONE, unit: H::CARRIES, got: Got::Nothing };
        let request = Request::new(Kind::RecvFds, Target::Handle(self.socket.id()), op, self.options);
        (self.buf, Request { want: Some(self.most), ..request })
    }

    fn lend(buf: &mut B, request: &mut Request, core: &Core) {
        let into = buf.as_uninit().into_raw();
        let most = request.want.take().unwrap_or(0);
        if most > MOST_DESCRIPTORS {
            request.target = Target::Nothing;
        }
        let passing = core.new_parcel(Parcel::to_receive(most.min(MOST_DESCRIPTORS), H::CARRIES));
        request.op = Op::RecvFds { into, passing, unit: H::CARRIES, got: Got::Nothing };
    }
}

impl<B: IoBufMut, H: UnixEnd> Operation for RecvFds<B, H> {
    type Output = ReceivedFds<B>;

    fn finish(buf: B, end: &mut End) -> ReceivedFds<B> {
        let (descriptors, lost) = end.take_descriptors();
        let (truncated, _) = end.message.unwrap_or_default();
        let (from, end_of_stream) = (end.take_unix_peer(), end.end_of_stream);
        let result = end.result();
        ReceivedFds { bytes: end.moved, buf, result, descriptors, lost, truncated, end_of_stream, from }
    }
}
