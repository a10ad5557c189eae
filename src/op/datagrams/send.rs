//! Sending datagrams.

use super::super::net::gather;
use super::super::{Done, Kind, Operation, Options};
use crate::backend::{Address, Head, can_send};
use crate::buf::{Buffers, RawLent};
use crate::engine::Core;
use crate::engine::envelope::Envelope;
use crate::engine::op::{Describe, Destination, End, Op, Request, Target};
use crate::engine::vectored::Pieces;
use crate::handle::DatagramSocket;
use crate::udp::SendControl;
use crate::{Error, ErrorKind, IoBuf, UdpSocket};

/// Where a datagram goes and what goes with it: what its head is made from when the send is submitted.
#[derive(Clone, Debug)]
pub struct Route {
    to: Option<Destination>,
    control: SendControl,
}

impl Route {
    fn new(to: Option<Destination>) -> Route {
        Route { to, control: SendControl::default() }
    }

    /// A send of this kind, whose memory isn't known yet.
    fn request<H: DatagramSocket>(&self, kind: Kind, socket: H, options: Options) -> Request {
        let to = self.to.as_ref().and_then(Destination::ip);
        let target = match (self.control.fits(to), can_send(&self.control, to)) {
            (false, _) => Target::Nothing,
            (_, false) => Target::Connection(Err(Error::new(ErrorKind::Unsupported, kind))),
            _ => Target::Handle(socket.id()),
        };
        let op = Op::SendMessage { envelope: Envelope::NONE, unit: H::UNIT };
        Request::new(kind, target, op, options)
    }

    /// Gives a send its memory.
    fn give(&self, pieces: Pieces, request: &mut Request, core: &Core) {
        let Op::SendMessage { envelope, .. } = &mut request.op else { unreachable!("described so") };
        let mut towards = self.to.as_ref().and_then(Destination::ip);
        // An interface alone doesn't tell the version of IP, and the system wants it under the right name.
        if let (None, Some(_), Target::Handle(socket)) = (&self.to, self.control.interface, &request.target) {
            towards = core.peer_address(*socket).ok().map(|to| to.ip());
        }
        let address = match &self.to {
            None => None,
            Some(Destination::Network(address)) => Some(Address::of(*address)),
            Some(Destination::Local(address)) => match Address::of_local(address, request.kind) {
                Ok(address) => Some(address),
                Err(_) => {
                    request.target = Target::Nothing;
                    None
                }
            },
        };
        *envelope = core.seal(pieces, Head::to(address, towards, &self.control));
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
/// A Unix socket's datagram isn't lost on its way, and those that were sent one after the other arrive so. If the receiver's
/// queue is full, the send waits (see [`UnixDatagram`](crate::UnixDatagram)), but not those to others; which of several that
/// wait goes first is up to the system.
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
/// [`ConnectionRefused`](crate::ErrorKind::ConnectionRefused) (connected sockets, as for [`RecvFrom`](super::RecvFrom)),
/// [`Cancelled`](crate::ErrorKind::Cancelled) and [`TimedOut`](crate::ErrorKind::TimedOut) (nothing was sent),
/// [`StaleHandle`](crate::ErrorKind::StaleHandle), [`WrongLoop`](crate::ErrorKind::WrongLoop),
/// [`OutOfMemory`](crate::ErrorKind::OutOfMemory); see sendmsg(2), udp(7).
///
/// Of Unix sockets: [`MessageTooLong`](crate::ErrorKind::MessageTooLong) over what the send buffer takes (on Linux
/// `net.core.wmem_default`, 208 KiB unless changed, less a little), [`InvalidInput`](crate::ErrorKind::InvalidInput) (no
/// address, one that is too long, a zero byte), [`NotFound`](crate::ErrorKind::NotFound) (no such path),
/// [`ConnectionRefused`](crate::ErrorKind::ConnectionRefused) (nobody is there any more),
/// [`PermissionDenied`](crate::ErrorKind::PermissionDenied) (one needs to write the file; the receiver is connected to
/// somebody else), [`Unsupported`](crate::ErrorKind::Unsupported) (a socket of another type),
/// [`BrokenPipe`](crate::ErrorKind::BrokenPipe) (the receiver has shut its receiving half); see unix(7).
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
pub struct SendTo<B, H = UdpSocket> {
    socket: H,
    buf: B,
    route: Route,
    options: Options,
}

impl<B: IoBuf, H: DatagramSocket> SendTo<B, H> {
    /// Sends `buf` on `socket` to `to`.
    pub fn new(socket: H, buf: B, to: impl Into<H::Address>) -> SendTo<B, H> {
        SendTo {
            socket,
            buf,
            route: Route::new(Some(H::destination(to.into()))),
            options: Options::default(),
        }
    }
}

/// By UDP.
impl<B: IoBuf> SendTo<B> {
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

impl<B: IoBuf, H: DatagramSocket> Describe for SendTo<B, H> {
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

impl<B: IoBuf, H: DatagramSocket> Operation for SendTo<B, H> {
    type Output = Done<B>;

    fn finish((buf, _): (B, Route), end: &mut End) -> Done<B> {
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
pub struct SendDatagram<B, H = UdpSocket> {
    socket: H,
    buf: B,
    route: Route,
    options: Options,
}

impl<B: IoBuf, H: DatagramSocket> SendDatagram<B, H> {
    /// Sends `buf` on `socket` to its peer.
    pub fn new(socket: H, buf: B) -> SendDatagram<B, H> {
        SendDatagram { socket, buf, route: Route::new(None), options: Options::default() }
    }
}

/// By UDP.
impl<B: IoBuf> SendDatagram<B> {
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

impl<B: IoBuf, H: DatagramSocket> Describe for SendDatagram<B, H> {
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

impl<B: IoBuf, H: DatagramSocket> Operation for SendDatagram<B, H> {
    type Output = Done<B>;

    fn finish((buf, _): (B, Route), end: &mut End) -> Done<B> {
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
pub struct SendMsg<V, H = UdpSocket> {
    socket: H,
    bufs: V,
    route: Route,
    options: Options,
}

impl<V: Buffers, H: DatagramSocket> SendMsg<V, H> {
    /// Sends `bufs` on `socket`.
    pub fn new(socket: H, bufs: V) -> SendMsg<V, H> {
        SendMsg { socket, bufs, route: Route::new(None), options: Options::default() }
    }

    /// To this address.
    pub fn to(mut self, address: impl Into<H::Address>) -> SendMsg<V, H> {
        self.route.to = Some(H::destination(address.into()));
        self
    }
}

/// By UDP.
impl<V: Buffers> SendMsg<V> {
    /// With this control data.
    pub fn control(mut self, control: SendControl) -> SendMsg<V> {
        self.route.control = control;
        self
    }
}

impl<V: Buffers, H: DatagramSocket> Describe for SendMsg<V, H> {
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

impl<V: Buffers, H: DatagramSocket> Operation for SendMsg<V, H> {
    type Output = Done<V>;

    fn finish((bufs, _): (V, Route), end: &mut End) -> Done<V> {
        Done::new(bufs, 0, end.moved, end.result())
    }
}
