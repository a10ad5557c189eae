//! Datagrams.

use std::net::SocketAddr;

use super::net::{gather, part};
use super::{Done, Kind, Operation, Options};
use crate::backend::{Head, can_send};
use crate::buf::{Buffers, RawLent};
use crate::engine::Core;
use crate::engine::envelope::Envelope;
use crate::engine::op::{Describe, End, Op, Request, Target};
use crate::engine::vectored::Pieces;
use crate::handle::sealed::Handle as _;
use crate::udp::{RecvControl, Segments, SendControl};
use crate::{Error, ErrorKind, IoBuf, IoBufMut, Slice, UdpSocket};

/// The end of an operation that receives a datagram.
///
/// `result` says whether one was received. One without bytes is `Ok` with 0 bytes and an address: there is no end of a
/// stream here.
#[derive(Debug)]
#[non_exhaustive]
pub struct Datagram<B> {
    /// How many bytes are in the buffer.
    pub bytes: usize,
    /// The buffer. A growable one's length ends where the last received byte does.
    pub buf: B,
    /// Why it ended.
    pub result: Result<(), Error>,
    /// Who sent it; `None` if nothing was received.
    pub from: Option<SocketAddr>,
    /// The datagram was larger than the buffer: `bytes` of it are there, the rest is lost.
    pub truncated: bool,
    /// What came beside its bytes.
    pub control: RecvControl,
}

impl<B> Datagram<B> {
    fn new(buf: B, end: End) -> Datagram<B> {
        let (truncated, control) = end.message.unwrap_or_default();
        let result = end.result();
        Datagram { bytes: end.moved, buf, result, from: end.peer, truncated, control }
    }
}

impl<B: IoBuf> Datagram<B> {
    /// The bytes that were received.
    pub fn data(&self) -> &[u8] {
        let bytes = self.buf.bytes();
        &bytes[..self.bytes.min(bytes.len())]
    }

    /// The buffer cut down to the bytes that were received, to send them on without a copy.
    pub fn filled(self) -> Slice<B> {
        self.buf.slice(..self.bytes)
    }

    /// The datagrams that were received at once: one, unless [`UdpOptions::gro`](crate::UdpOptions::gro) is on; none after
    /// an error. If the bytes are `truncated`, the last one may be cut.
    pub fn segments(&self) -> Segments<'_> {
        match self.result {
            Ok(()) => Segments::new(self.data(), self.control.segment_size.unwrap_or(usize::MAX)),
            Err(_) => Segments::none(),
        }
    }
}

/// Receives one datagram into a buffer, and tells who sent it.
///
/// It overwrites from byte 0 and may fill the whole capacity. A larger datagram is cut to that:
/// [`truncated`](Datagram::truncated) is true and the rest is lost. Receives on one socket have no order; each brings
/// another datagram. On a [connected](crate::EventLoop::connect_udp) socket only those of its peer come.
///
/// Cancelled, it ends when the system lets go of the buffer, which is soon; a datagram that had come is in it, and then it
/// ends `Ok`. If it is *removed* when one had come, that one is lost, as any may be on its way.
///
/// # Errors
/// [`ConnectionRefused`](crate::ErrorKind::ConnectionRefused) (connected sockets: nobody listened there for something that
/// was sent before; it is told once, to whichever operation comes first, and the socket goes on),
/// [`InvalidInput`](crate::ErrorKind::InvalidInput) (no capacity), [`Cancelled`](crate::ErrorKind::Cancelled),
/// [`TimedOut`](crate::ErrorKind::TimedOut), [`StaleHandle`](crate::ErrorKind::StaleHandle),
/// [`WrongLoop`](crate::ErrorKind::WrongLoop), [`OutOfMemory`](crate::ErrorKind::OutOfMemory); see recvmsg(2), udp(7).
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
pub struct RecvFrom<B> {
    socket: UdpSocket,
    buf: B,
    options: Options,
}

impl<B: IoBufMut> RecvFrom<B> {
    /// Receives on `socket` into `buf`.
    pub fn new(socket: UdpSocket, buf: B) -> RecvFrom<B> {
        RecvFrom { socket, buf, options: Options::default() }
    }
}

/// A receive of this kind, whose memory isn't known yet.
fn receive(kind: Kind, socket: UdpSocket, options: Options) -> Request {
    let op = Op::RecvMessage { envelope: Envelope::NONE };
    Request::new(kind, Target::Handle(socket.id()), op, options)
}

/// Gives a receive its memory.
fn give(pieces: Pieces, request: &mut Request, core: &Core) {
    let Op::RecvMessage { envelope } = &mut request.op else { unreachable!("described so") };
    *envelope = core.seal(pieces, Head::room());
}

impl<B: IoBufMut> Describe for RecvFrom<B> {
    type Parts = B;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (B, Request) {
        (self.buf, receive(Kind::RecvFrom, self.socket, self.options))
    }

    fn lend(buf: &mut B, request: &mut Request, core: &Core) {
        let pieces = gather(core, 1, |_| buf.as_uninit().into_raw());
        give(pieces.expect("one is not too many"), request, core);
    }
}

impl<B: IoBufMut> Operation for RecvFrom<B> {
    type Output = Datagram<B>;

    fn finish(buf: B, end: End) -> Datagram<B> {
        Datagram::new(buf, end)
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
pub struct RecvMsg<V> {
    socket: UdpSocket,
    bufs: V,
    options: Options,
}

impl<V: Buffers<Buf: IoBufMut>> RecvMsg<V> {
    /// Receives on `socket` into `bufs`.
    pub fn new(socket: UdpSocket, bufs: V) -> RecvMsg<V> {
        RecvMsg { socket, bufs, options: Options::default() }
    }
}

impl<V: Buffers<Buf: IoBufMut>> Describe for RecvMsg<V> {
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
            Some(pieces) => give(pieces, request, core),
            None => {
                request.target = Target::Nothing;
                // They come back as after any receive of 0 bytes.
                bufs.iter_mut().for_each(|buf| part(buf, false).leave_empty());
            }
        }
    }
}

impl<V: Buffers<Buf: IoBufMut>> Operation for RecvMsg<V> {
    type Output = Datagram<V>;

    fn finish(bufs: V, end: End) -> Datagram<V> {
        Datagram::new(bufs, end)
    }
}

/// Where a datagram goes and what goes with it: what its head is made from when the send is submitted.
#[derive(Copy, Clone, Debug)]
pub struct Route {
    to: Option<SocketAddr>,
    control: SendControl,
}

impl Route {
    fn new(to: Option<SocketAddr>) -> Route {
        Route { to, control: SendControl::default() }
    }

    /// A send of this kind, whose memory isn't known yet.
    fn request(&self, kind: Kind, socket: UdpSocket, options: Options) -> Request {
        let fits = self.control.fits(self.to.map(|to| to.ip()));
        let target = match (fits, can_send(&self.control, self.to.map(|to| to.ip()))) {
            (false, _) => Target::Nothing,
            (_, false) => Target::Connection(Err(Error::new(ErrorKind::Unsupported, kind))),
            _ => Target::Handle(socket.id()),
        };
        Request::new(kind, target, Op::SendMessage { envelope: Envelope::NONE }, options)
    }

    /// Gives a send its memory.
    fn give(&self, pieces: Pieces, request: &mut Request, core: &Core) {
        let Op::SendMessage { envelope } = &mut request.op else { unreachable!("described so") };
        let mut towards = self.to;
        // An interface alone doesn't tell the version of IP, and the system wants it under the right name.
        if let (None, Some(_), Target::Handle(socket)) = (self.to, self.control.interface, &request.target) {
            towards = core.peer_address(*socket).ok();
        }
        *envelope = core.seal(pieces, Head::to(self.to, towards.map(|to| to.ip()), &self.control));
    }

    /// As `give`, the memory of one buffer.
    fn lend(&self, buf: &impl IoBuf, request: &mut Request, core: &Core) {
        let pieces = gather(core, 1, |_| RawLent::reading(buf.bytes()));
        self.give(pieces.expect("one is not too many"), request, core);
    }
}

/// Sends a buffer as one datagram to an address.
///
/// All of it or nothing: a datagram is never cut. 0 bytes are sent as a datagram without bytes. Sends on one socket have
/// no order, and what was sent may be lost, doubled or overtaken on its way. Sent means taken over by the system; if its
/// buffer is full, the send waits. On a [connected](crate::EventLoop::connect_udp) socket it goes to `to` all the same on
/// Linux; elsewhere that is [`AlreadyConnected`](crate::ErrorKind::AlreadyConnected).
///
/// With [`segment_size`](SendTo::segment_size) the buffer is sent as several datagrams of one size.
///
/// # Errors
/// [`MessageTooLong`](crate::ErrorKind::MessageTooLong) with 0 bytes (over 65,507 bytes by IPv4, 65,527 by IPv6; or
/// larger than the interface allows where fragments are forbidden), [`InvalidInput`](crate::ErrorKind::InvalidInput)
/// (port 0, or something in the control data that is out of its range),
/// [`PermissionDenied`](crate::ErrorKind::PermissionDenied) (a broadcast address without
/// [`UdpOptions::broadcast`](crate::UdpOptions::broadcast)),
/// [`NetworkUnreachable`](crate::ErrorKind::NetworkUnreachable), [`HostUnreachable`](crate::ErrorKind::HostUnreachable),
/// [`Unsupported`](crate::ErrorKind::Unsupported) (an address of the other version of IP),
/// [`ConnectionRefused`](crate::ErrorKind::ConnectionRefused) (connected sockets, as for [`RecvFrom`]),
/// [`Cancelled`](crate::ErrorKind::Cancelled) and [`TimedOut`](crate::ErrorKind::TimedOut) (nothing was sent),
/// [`StaleHandle`](crate::ErrorKind::StaleHandle), [`WrongLoop`](crate::ErrorKind::WrongLoop),
/// [`OutOfMemory`](crate::ErrorKind::OutOfMemory); see sendmsg(2), udp(7).
///
/// ```
/// use nbio::{EventLoop, op};
/// let io = EventLoop::new()?;
/// let socket = io.bind_udp(([127, 0, 0, 1], 0))?;
/// let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
/// io.submit(op::SendTo::new(socket, "hello", peer.local_addr().unwrap()), |_, _, done| assert_eq!(done.bytes, 5));
/// io.run()?;
/// # let mut got = [0; 9];
/// # assert_eq!(peer.recv(&mut got).unwrap(), 5);
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct SendTo<B> {
    socket: UdpSocket,
    buf: B,
    route: Route,
    options: Options,
}

impl<B: IoBuf> SendTo<B> {
    /// Sends `buf` on `socket` to `to`.
    pub fn new(socket: UdpSocket, buf: B, to: impl Into<SocketAddr>) -> SendTo<B> {
        SendTo { socket, buf, route: Route::new(Some(to.into())), options: Options::default() }
    }

    /// With this control data.
    pub fn control(mut self, control: SendControl) -> SendTo<B> {
        self.route.control = control;
        self
    }

    /// With these ECN bits; [`SendControl::ecn`].
    pub fn ecn(mut self, ecn: crate::Ecn) -> SendTo<B> {
        self.route.control.ecn = Some(ecn);
        self
    }

    /// As several datagrams of this size; [`SendControl::segment_size`].
    pub fn segment_size(mut self, bytes: u16) -> SendTo<B> {
        self.route.control.segment_size = Some(bytes);
        self
    }
}

impl<B: IoBuf> Describe for SendTo<B> {
    type Parts = (B, Route);

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> ((B, Route), Request) {
        let request = self.route.request(Kind::SendTo, self.socket, self.options);
        ((self.buf, self.route), request)
    }

    fn lend((buf, route): &mut (B, Route), request: &mut Request, core: &Core) {
        route.lend(buf, request, core);
    }
}

impl<B: IoBuf> Operation for SendTo<B> {
    type Output = Done<B>;

    fn finish((buf, _): (B, Route), end: End) -> Done<B> {
        Done::new(buf, 0, end.moved, end.result())
    }
}

/// Sends a buffer as one datagram to the peer of a [connected](crate::EventLoop::connect_udp) socket.
///
/// Otherwise as [`SendTo`].
///
/// # Errors
/// As [`SendTo`]; [`NotConnected`](crate::ErrorKind::NotConnected) on a socket that isn't.
///
/// ```
/// use nbio::{EventLoop, op};
/// let io = EventLoop::new()?;
/// let socket = io.bind_udp(([127, 0, 0, 1], 0))?;
/// let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
/// io.connect_udp(socket, peer.local_addr().unwrap())?;
/// io.submit(op::SendDatagram::new(socket, "hello"), |_, _, done| assert_eq!(done.bytes, 5));
/// io.run()?;
/// # let mut got = [0; 9];
/// # assert_eq!(peer.recv(&mut got).unwrap(), 5);
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct SendDatagram<B> {
    socket: UdpSocket,
    buf: B,
    route: Route,
    options: Options,
}

impl<B: IoBuf> SendDatagram<B> {
    /// Sends `buf` on `socket` to its peer.
    pub fn new(socket: UdpSocket, buf: B) -> SendDatagram<B> {
        SendDatagram { socket, buf, route: Route::new(None), options: Options::default() }
    }

    /// With this control data.
    pub fn control(mut self, control: SendControl) -> SendDatagram<B> {
        self.route.control = control;
        self
    }

    /// With these ECN bits; [`SendControl::ecn`].
    pub fn ecn(mut self, ecn: crate::Ecn) -> SendDatagram<B> {
        self.route.control.ecn = Some(ecn);
        self
    }

    /// As several datagrams of this size; [`SendControl::segment_size`].
    pub fn segment_size(mut self, bytes: u16) -> SendDatagram<B> {
        self.route.control.segment_size = Some(bytes);
        self
    }
}

impl<B: IoBuf> Describe for SendDatagram<B> {
    type Parts = (B, Route);

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> ((B, Route), Request) {
        let request = self.route.request(Kind::SendDatagram, self.socket, self.options);
        ((self.buf, self.route), request)
    }

    fn lend((buf, route): &mut (B, Route), request: &mut Request, core: &Core) {
        route.lend(buf, request, core);
    }
}

impl<B: IoBuf> Operation for SendDatagram<B> {
    type Output = Done<B>;

    fn finish((buf, _): (B, Route), end: End) -> Done<B> {
        Done::new(buf, 0, end.moved, end.result())
    }
}

/// Sends several buffers, one after the other, as one datagram: `[B; N]` or `Vec<B>` of at most 1,024.
///
/// To the peer of a connected socket, or [`to`](SendMsg::to) an address. Otherwise as [`SendTo`].
///
/// # Errors
/// As [`SendTo`] and [`SendDatagram`]; [`InvalidInput`](crate::ErrorKind::InvalidInput) also for more than 1,024 buffers.
///
/// ```
/// use nbio::{EventLoop, SendControl, op};
/// let io = EventLoop::new()?;
/// let socket = io.bind_udp(([127, 0, 0, 1], 0))?;
/// let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
/// let control = SendControl::default().ttl(3).source([127, 0, 0, 2]);
/// let send = op::SendMsg::new(socket, ["head", "body"]).to(peer.local_addr().unwrap()).control(control);
/// io.submit(send, |_, _, done| assert_eq!(done.result.map_err(|error| error.kind()), Ok(())));
/// io.run()?;
/// # let mut got = [0; 9];
/// # let (bytes, from) = peer.recv_from(&mut got).unwrap();
/// # assert_eq!((&got[..bytes], from.ip().to_string()), (&b"headbody"[..], "127.0.0.2".to_string()));
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct SendMsg<V> {
    socket: UdpSocket,
    bufs: V,
    route: Route,
    options: Options,
}

impl<V: Buffers> SendMsg<V> {
    /// Sends `bufs` on `socket`.
    pub fn new(socket: UdpSocket, bufs: V) -> SendMsg<V> {
        SendMsg { socket, bufs, route: Route::new(None), options: Options::default() }
    }

    /// To this address.
    pub fn to(mut self, address: impl Into<SocketAddr>) -> SendMsg<V> {
        self.route.to = Some(address.into());
        self
    }

    /// With this control data.
    pub fn control(mut self, control: SendControl) -> SendMsg<V> {
        self.route.control = control;
        self
    }
}

impl<V: Buffers> Describe for SendMsg<V> {
    type Parts = (V, Route);

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> ((V, Route), Request) {
        let request = self.route.request(Kind::SendMsg, self.socket, self.options);
        ((self.bufs, self.route), request)
    }

    fn lend((bufs, route): &mut (V, Route), request: &mut Request, core: &Core) {
        let bufs = bufs.buffers();
        // No buffers are a datagram without bytes, for which the system wants one.
        let memory = |at: usize| bufs.get(at).map_or(RawLent::NONE, |buf| RawLent::reading(buf.bytes()));
        match gather(core, bufs.len().max(1), memory) {
            Some(pieces) => route.give(pieces, request, core),
            None => request.target = Target::Nothing,
        }
    }
}

impl<V: Buffers> Operation for SendMsg<V> {
    type Output = Done<V>;

    fn finish((bufs, _): (V, Route), end: End) -> Done<V> {
        Done::new(bufs, 0, end.moved, end.result())
    }
}
