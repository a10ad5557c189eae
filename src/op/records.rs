//! Records: what is sent on a connection that keeps its bounds.

use super::net::{gather, part};
use super::{Done, Kind, Operation, Options};
use crate::backend::Head;
use crate::buf::{Buffers, RawLent};
use crate::engine::Core;
use crate::engine::envelope::Envelope;
use crate::engine::op::{Describe, End, Got, Op, Request, Target, Unit};
use crate::engine::vectored::Pieces;
use crate::handle::Id;
use crate::handle::sealed::Handle as _;
use crate::udp::SendControl;
use crate::{Error, IoBuf, IoBufMut, Slice, UnixSeqpacket};

/// The end of an operation that receives a record.
#[derive(Debug)]
#[non_exhaustive]
pub struct Record<B> {
    /// How many bytes are in the buffer.
    pub bytes: usize,
    /// The buffer. A growable one's length ends where the last received byte does.
    pub buf: B,
    /// Why it ended. The end of the stream is `Ok`.
    pub result: Result<(), Error>,
    /// The record was larger than the buffer: `bytes` of it are there, the rest is lost.
    pub truncated: bool,
    /// No record came, and none will. One without bytes is `Ok` with 0 bytes, and this is false.
    pub end_of_stream: bool,
}

impl<B> Record<B> {
    fn new(buf: B, end: &mut End) -> Record<B> {
        let (truncated, _) = end.message.unwrap_or_default();
        let (bytes, result, end_of_stream) = (end.moved, end.result(), end.end_of_stream);
        Record { bytes, buf, result, truncated, end_of_stream }
    }
}

impl<B: IoBuf> Record<B> {
    /// The bytes that were received.
    pub fn data(&self) -> &[u8] {
        let bytes = self.buf.bytes();
        &bytes[..self.bytes.min(bytes.len())]
    }

    /// The buffer cut down to the bytes that were received, to send them on without a copy.
    pub fn filled(self) -> Slice<B> {
        self.buf.slice(..self.bytes)
    }
}

/// Receives one record into a buffer.
///
/// It overwrites from byte 0 and may fill the whole capacity. A larger record is cut to that:
/// [`truncated`](Record::truncated) is true and the rest is lost; the next receive brings the next record. At the end of the
/// stream it ends `Ok` with [`end_of_stream`](Record::end_of_stream), which a record without bytes is not. Receives take their
/// turns in the order in which they were submitted; one that is cancelled, or whose deadline passes, before its turn
/// has come ends without waiting for those in front of it.
///
/// Cancelled, it ends when the system lets go of the buffer, which is soon; a record that had come is in it, and then it
/// ends `Ok`. If it is *removed* when one had come, that one is lost, and every later receive ends with
/// [`Broken`](crate::ErrorKind::Broken).
///
/// # Errors
/// [`ConnectionReset`](crate::ErrorKind::ConnectionReset) (the other side was closed before it had received all),
/// [`InvalidInput`](crate::ErrorKind::InvalidInput) (no capacity), [`Cancelled`](crate::ErrorKind::Cancelled),
/// [`TimedOut`](crate::ErrorKind::TimedOut), [`StaleHandle`](crate::ErrorKind::StaleHandle),
/// [`WrongLoop`](crate::ErrorKind::WrongLoop), [`Broken`](crate::ErrorKind::Broken); see recvmsg(2), unix(7).
///
/// ```
/// use nbio::{EventLoop, op};
/// let io = EventLoop::new()?;
/// let (one, other) = io.unix_seqpacket_pair()?;
/// io.send_record(one, "hello", |_, _, done| assert_eq!(done.result, Ok(())));
/// io.send_record(one, "", move |_, io, _| io.close(one));
/// io.submit(op::RecvRecord::new(other, [0; 64]), |_, _, record| assert_eq!(record.data(), b"hello"));
/// io.recv_record(other, [0; 64], |_, _, record| assert_eq!((record.bytes, record.end_of_stream), (0, false)));
/// io.recv_record(other, [0; 64], |_, _, record| assert_eq!((record.bytes, record.end_of_stream), (0, true)));
/// io.run()?;
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct RecvRecord<B> {
    connection: Id,
    buf: B,
    options: Options,
}

impl<B: IoBufMut> RecvRecord<B> {
    /// Receives on `connection` into `buf`.
    pub fn new(connection: UnixSeqpacket, buf: B) -> RecvRecord<B> {
        RecvRecord { connection: connection.id(), buf, options: Options::default() }
    }
}

/// A receive of this kind, whose memory isn't known yet.
fn receive(kind: Kind, connection: Id, options: Options) -> Request {
    let op = Op::RecvMessage { envelope: Envelope::NONE, unit: Unit::Record, got: Got::Nothing };
    Request::new(kind, Target::Handle(connection), op, options)
}

/// A send, likewise.
fn send(kind: Kind, connection: Id, options: Options) -> Request {
    let op = Op::SendMessage { envelope: Envelope::NONE, unit: Unit::Record };
    Request::new(kind, Target::Handle(connection), op, options)
}

/// Gives an operation its memory; there is none if there were too many pieces.
fn give(pieces: Option<Pieces>, request: &mut Request, core: &Core) -> bool {
    let Some(pieces) = pieces else {
        request.target = Target::Nothing;
        return false;
    };
    match &mut request.op {
        Op::RecvMessage { envelope, .. } => *envelope = core.seal(pieces, Head::room(Unit::Record)),
        Op::SendMessage { envelope, .. } => {
            *envelope = core.seal(pieces, Head::to(None, None, &SendControl::default()));
        }
        _ => unreachable!("described so"),
    }
    true
}

impl<B: IoBufMut> Describe for RecvRecord<B> {
    type Parts = B;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (B, Request) {
        (self.buf, receive(Kind::RecvRecord, self.connection, self.options))
    }

    fn lend(buf: &mut B, request: &mut Request, core: &Core) {
        give(gather(core, 1, |_| buf.as_uninit().into_raw()), request, core);
    }
}

impl<B: IoBufMut> Operation for RecvRecord<B> {
    type Output = Record<B>;

    fn finish(buf: B, end: &mut End) -> Record<B> {
        Record::new(buf, end)
    }
}

/// Receives one record into several buffers, one after the other: `[B; N]` or `Vec<B>` of at most 1,024.
///
/// Otherwise as [`RecvRecord`]. Every growable buffer's length ends where its last received byte does; those that nothing
/// came into are empty.
///
/// # Errors
/// As [`RecvRecord`]; [`InvalidInput`](crate::ErrorKind::InvalidInput) also for more than 1,024 buffers.
///
/// ```
/// use nbio::{EventLoop, op};
/// let io = EventLoop::new()?;
/// let (one, other) = io.unix_seqpacket_pair()?;
/// io.submit(op::SendRecordVectored::new(one, ["head", "body"]), |_, _, done| assert_eq!(done.bytes, 8));
/// let parts = [Vec::with_capacity(4), Vec::with_capacity(60)];
/// io.submit(op::RecvRecordVectored::new(other, parts), |_, _, record| {
///     assert!(record.buf[0] == b"head" && record.buf[1] == b"body");
/// });
/// io.run()?;
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct RecvRecordVectored<V> {
    connection: Id,
    bufs: V,
    options: Options,
}

impl<V: Buffers<Buf: IoBufMut>> RecvRecordVectored<V> {
    /// Receives on `connection` into `bufs`.
    pub fn new(connection: UnixSeqpacket, bufs: V) -> RecvRecordVectored<V> {
        RecvRecordVectored { connection: connection.id(), bufs, options: Options::default() }
    }
}

impl<V: Buffers<Buf: IoBufMut>> Describe for RecvRecordVectored<V> {
    type Parts = V;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (V, Request) {
        (self.bufs, receive(Kind::RecvRecordVectored, self.connection, self.options))
    }

    fn lend(bufs: &mut V, request: &mut Request, core: &Core) {
        let bufs = bufs.buffers_mut();
        if bufs.is_empty() {
            // No capacity, which the engine refuses.
            return;
        }
        if !give(gather(core, bufs.len(), |at| part(&mut bufs[at], false).into_raw()), request, core) {
            // They come back as after any receive of 0 bytes.
            bufs.iter_mut().for_each(|buf| part(buf, false).leave_empty());
        }
    }
}

impl<V: Buffers<Buf: IoBufMut>> Operation for RecvRecordVectored<V> {
    type Output = Record<V>;

    fn finish(bufs: V, end: &mut End) -> Record<V> {
        Record::new(bufs, end)
    }
}

/// Sends a buffer as one record.
///
/// All of it or nothing: a record is never cut. 0 bytes are sent as a record without bytes, which some receivers take for the
/// end of the stream. Sends take their turns in the order in which they were submitted, and wait for room; one that is
/// cancelled before its turn has come ends without waiting for those in front of it. Since none is ever cut short, the
/// others go on whatever happens to one.
///
/// # Errors
/// [`BrokenPipe`](crate::ErrorKind::BrokenPipe) (nobody receives any more), [`ConnectionReset`](crate::ErrorKind::ConnectionReset),
/// [`MessageTooLong`](crate::ErrorKind::MessageTooLong) with 0 bytes (over what the send buffer takes: on Linux
/// `net.core.wmem_default`, 208 KiB unless changed, less a little), [`Cancelled`](crate::ErrorKind::Cancelled) and
/// [`TimedOut`](crate::ErrorKind::TimedOut) (nothing was sent), [`StaleHandle`](crate::ErrorKind::StaleHandle),
/// [`WrongLoop`](crate::ErrorKind::WrongLoop), [`OutOfMemory`](crate::ErrorKind::OutOfMemory); see sendmsg(2), unix(7).
///
/// See [`RecvRecord`] for an example.
#[derive(Debug)]
pub struct SendRecord<B> {
    connection: Id,
    buf: B,
    options: Options,
}

impl<B: IoBuf> SendRecord<B> {
    /// Sends `buf` on `connection`.
    pub fn new(connection: UnixSeqpacket, buf: B) -> SendRecord<B> {
        SendRecord { connection: connection.id(), buf, options: Options::default() }
    }
}

impl<B: IoBuf> Describe for SendRecord<B> {
    type Parts = B;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (B, Request) {
        (self.buf, send(Kind::SendRecord, self.connection, self.options))
    }

    fn lend(buf: &mut B, request: &mut Request, core: &Core) {
        give(gather(core, 1, |_| RawLent::reading(buf.bytes())), request, core);
    }
}

impl<B: IoBuf> Operation for SendRecord<B> {
    type Output = Done<B>;

    fn finish(buf: B, end: &mut End) -> Done<B> {
        Done::new(buf, 0, end.moved, end.result())
    }
}

/// Sends several buffers, one after the other, as one record: `[B; N]` or `Vec<B>` of at most 1,024.
///
/// Otherwise as [`SendRecord`].
///
/// # Errors
/// As [`SendRecord`]; [`InvalidInput`](crate::ErrorKind::InvalidInput) also for more than 1,024 buffers.
///
/// See [`RecvRecordVectored`] for an example.
#[derive(Debug)]
pub struct SendRecordVectored<V> {
    connection: Id,
    bufs: V,
    options: Options,
}

impl<V: Buffers> SendRecordVectored<V> {
    /// Sends `bufs` on `connection`.
    pub fn new(connection: UnixSeqpacket, bufs: V) -> SendRecordVectored<V> {
        SendRecordVectored { connection: connection.id(), bufs, options: Options::default() }
    }
}

impl<V: Buffers> Describe for SendRecordVectored<V> {
    type Parts = V;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (V, Request) {
        (self.bufs, send(Kind::SendRecordVectored, self.connection, self.options))
    }

    fn lend(bufs: &mut V, request: &mut Request, core: &Core) {
        let bufs = bufs.buffers();
        // No buffers are a record without bytes, for which the system wants one.
        let memory = |at: usize| bufs.get(at).map_or(RawLent::NONE, |buf| RawLent::reading(buf.bytes()));
        give(gather(core, bufs.len().max(1), memory), request, core);
    }
}

impl<V: Buffers> Operation for SendRecordVectored<V> {
    type Output = Done<V>;

    fn finish(bufs: V, end: &mut End) -> Done<V> {
        Done::new(bufs, 0, end.moved, end.result())
    }
}
