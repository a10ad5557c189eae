//! Receiving datagrams.

use super::super::net::{gather, part};
use super::super::{Kind, Operation, Options};
use super::Datagram;
use crate::backend::Head;
use crate::buf::Buffers;
use crate::engine::Core;
use crate::engine::envelope::Envelope;
use crate::engine::op::{Describe, End, Got, Op, Request, Target};
use crate::engine::vectored::Pieces;
use crate::handle::DatagramSocket;
use crate::{IoBufMut, UdpSocket};

/// Receives one datagram into a buffer, and tells who sent it.
///
/// It overwrites from byte 0 and may fill the whole capacity. A larger datagram is cut to that:
/// [`truncated`](Datagram::truncated) is true and the rest is lost. Receives on one socket have no order; each brings
/// another datagram. On a connected socket ([UDP](crate::EventLoop::connect_udp),
/// [Unix](crate::EventLoop::connect_unix_datagram)) only those of its peer come.
///
/// Cancelled, it ends when the system lets go of the buffer, which is soon; a datagram that had come is in it, and then it
/// ends `Ok`. If it is *removed* when one had come, that one is lost, as any may be on its way.
///
/// # Errors
/// [`ConnectionRefused`](crate::ErrorKind::ConnectionRefused) (connected sockets: nobody listened there for something that
/// was sent before; it is told once, to whichever operation comes first, and the socket goes on),
/// [`ConnectionReset`](crate::ErrorKind::ConnectionReset) (Unix sockets: the peer has
/// [turned away](crate::EventLoop::disconnect_unix_datagram); told once), [`InvalidInput`](crate::ErrorKind::InvalidInput) (no capacity), [`Cancelled`](crate::ErrorKind::Cancelled),
/// [`TimedOut`](crate::ErrorKind::TimedOut), [`StaleHandle`](crate::ErrorKind::StaleHandle),
/// [`WrongLoop`](crate::ErrorKind::WrongLoop), [`OutOfMemory`](crate::ErrorKind::OutOfMemory); see recvmsg(2), udp(7),
/// unix(7).
///
/// ```
/// use nbio::{EventLoop, op};
/// let io = EventLoop::new()?;
/// let socket = io.bind_udp(([127, 0, 0, 1], 0))?;
/// let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
/// peer.send_to(b"hello", io.local_address(socket)?).unwrap();
/// io.submit(op::RecvFrom::new(socket, [0; 1500]), move |_, _, datagram| {
///     assert_eq!(datagram.data(), b"hello");
///     assert_eq!(datagram.from, Some(peer.local_addr().unwrap()));
/// });
/// io.run()?;
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct RecvFrom<B, H = UdpSocket> {
    socket: H,
    buf: B,
    options: Options,
}

impl<B: IoBufMut, H: DatagramSocket> RecvFrom<B, H> {
    /// Receives on `socket` into `buf`.
    pub fn new(socket: H, buf: B) -> RecvFrom<B, H> {
        RecvFrom { socket, buf, options: Options::default() }
    }
}

/// A receive of this kind, whose memory isn't known yet.
fn receive<H: DatagramSocket>(kind: Kind, socket: H, options: Options) -> Request {
    let op = Op::RecvMessage { envelope: Envelope::NONE, unit: H::UNIT, got: Got::Nothing };
    Request::new(kind, Target::Handle(socket.id()), op, options)
}

/// Gives a receive its memory.
fn give<H: DatagramSocket>(pieces: Pieces, request: &mut Request, core: &Core) {
    let Op::RecvMessage { envelope, .. } = &mut request.op else { unreachable!("described so") };
    *envelope = core.seal(pieces, Head::room(H::UNIT));
}

impl<B: IoBufMut, H: DatagramSocket> Describe for RecvFrom<B, H> {
    type Parts = B;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (B, Request) {
        (self.buf, receive(Kind::RecvFrom, self.socket, self.options))
    }

    fn lend(buf: &mut B, request: &mut Request, core: &Core) {
        let pieces = gather(core, 1, |_| buf.as_uninit().into_raw());
        give::<H>(pieces.expect("one is not too many"), request, core);
    }
}

impl<B: IoBufMut, H: DatagramSocket> Operation for RecvFrom<B, H> {
    type Output = Datagram<B, H::Address>;

    fn finish(buf: B, end: &mut End) -> Datagram<B, H::Address> {
        Datagram::new::<H>(buf, end)
    }
}

/// Receives one datagram into several buffers, one after the other: `[B; N]` or `Vec<B>` of at most 1,024.
///
/// Otherwise as [`RecvFrom`]. Every growable buffer's length ends where its last received byte does; those that nothing
/// came into are empty.
///
/// # Errors
/// As [`RecvFrom`]; [`InvalidInput`](crate::ErrorKind::InvalidInput) also for more than 1,024 buffers.
///
/// ```
/// use nbio::{Ecn, EventLoop, SendControl, UdpOptions, op};
/// let io = EventLoop::new()?;
/// let options = UdpOptions::default().recv_ecn(true).recv_packet_info(true);
/// let socket = io.bind_udp_with(([127, 0, 0, 1], 0), options)?;
/// let here = io.local_address(socket)?;
/// io.submit(op::SendTo::new(socket, "headbody", here).ecn(Ecn::Capable0), |_, _, _| ());
/// let parts = [Vec::with_capacity(4), Vec::with_capacity(1500)];
/// io.submit(op::RecvMsg::new(socket, parts), move |_, _, datagram| {
///     assert!(datagram.buf[0] == b"head" && datagram.buf[1] == b"body");
///     assert_eq!(datagram.control.ecn, Some(Ecn::Capable0));
///     assert_eq!(datagram.control.packet_info.unwrap().destination, here.ip());
/// });
/// io.run()?;
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct RecvMsg<V, H = UdpSocket> {
    socket: H,
    bufs: V,
    options: Options,
}

impl<V: Buffers<Buf: IoBufMut>, H: DatagramSocket> RecvMsg<V, H> {
    /// Receives on `socket` into `bufs`.
    pub fn new(socket: H, bufs: V) -> RecvMsg<V, H> {
        RecvMsg { socket, bufs, options: Options::default() }
    }
}

impl<V: Buffers<Buf: IoBufMut>, H: DatagramSocket> Describe for RecvMsg<V, H> {
    type Parts = V;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (V, Request) {
        (self.bufs, receive(Kind::RecvMsg, self.socket, self.options))
    }

    fn lend(bufs: &mut V, request: &mut Request, core: &Core) {
        let bufs = bufs.buffers_mut();
        if bufs.is_empty() {
            // No capacity, which the engine refuses.
            return;
        }
        match gather(core, bufs.len(), |at| part(&mut bufs[at], false).into_raw()) {
            Some(pieces) => give::<H>(pieces, request, core),
            None => {
                request.target = Target::Nothing;
                // They come back as after any receive of 0 bytes.
                bufs.iter_mut().for_each(|buf| part(buf, false).leave_empty());
            }
        }
    }
}

impl<V: Buffers<Buf: IoBufMut>, H: DatagramSocket> Operation for RecvMsg<V, H> {
    type Output = Datagram<V, H::Address>;

    fn finish(bufs: V, end: &mut End) -> Datagram<V, H::Address> {
        Datagram::new::<H>(bufs, end)
    }
}
