//! The front of the crate: UDP.

use std::net::SocketAddr;

use super::EventLoop;
use crate::handle::DatagramSocket;
use crate::handle::sealed::Handle as _;
use crate::op::{self, Datagram, Done};
use crate::{Error, IoBuf, IoBufMut, Multicast, OpId, UdpOptions, UdpSocket};

/// UDP.
impl<S> EventLoop<S> {
    /// Makes a UDP socket at a local address, with the default [`UdpOptions`]. Port 0 lets the system choose one; see
    /// [`local_address`](EventLoop::local_address).
    ///
    /// It receives what is sent to the multicast groups that it [joined](EventLoop::join_multicast), and no others
    /// (Linux's rule would be: those that anybody on the machine joined).
    ///
    /// # Errors
    /// [`AddrInUse`](crate::ErrorKind::AddrInUse), [`AddrNotAvailable`](crate::ErrorKind::AddrNotAvailable),
    /// [`PermissionDenied`](crate::ErrorKind::PermissionDenied) (a port below 1,024),
    /// [`TooManyDescriptors`](crate::ErrorKind::TooManyDescriptors),
    /// [`Unsupported`](crate::ErrorKind::Unsupported) (no IPv6 here; in a [`Simulation`](crate::Simulation) what
    /// asks for control data, and a multicast interface); see bind(2),
    /// udp(7).
    ///
    /// ```
    /// let io = nbio::EventLoop::new()?;
    /// let (near, far) = (io.bind_udp(([127, 0, 0, 1], 0))?, io.bind_udp(([127, 0, 0, 1], 0))?);
    /// io.send_to(near, "hello", io.local_address(far)?, |_, _, done| assert_eq!(done.result, Ok(())));
    /// io.recv_from(far, [0; 1500], |_, _, datagram| assert_eq!(datagram.data(), b"hello"));
    /// io.run()?;
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn bind_udp(&self, address: impl Into<SocketAddr>) -> Result<UdpSocket, Error> {
        self.bind_udp_with(address, UdpOptions::default())
    }

    /// As [`bind_udp`](EventLoop::bind_udp), with options.
    ///
    /// # Errors
    /// As there; and [`InvalidInput`](crate::ErrorKind::InvalidInput) for an option out of its range.
    pub fn bind_udp_with(
        &self,
        address: impl Into<SocketAddr>,
        options: UdpOptions,
    ) -> Result<UdpSocket, Error> {
        self.core.bind_udp(address.into(), &options).map(UdpSocket::from_id)
    }

    /// Connects a UDP socket: it sends to this address by [`send_datagram`](EventLoop::send_datagram) from now on, and
    /// receives only what comes from there. A connected one is connected anew (to an address of the other version of IP
    /// only after [`disconnect_udp`](EventLoop::disconnect_udp)). Nothing is sent, and it answers at once. What had come
    /// before stays.
    ///
    /// # Errors
    /// [`NetworkUnreachable`](crate::ErrorKind::NetworkUnreachable),
    /// [`PermissionDenied`](crate::ErrorKind::PermissionDenied) (a broadcast address),
    /// [`Unsupported`](crate::ErrorKind::Unsupported) (an address of the other version of IP),
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) (a socket bound to a loopback address and another machine's),
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle), [`WrongLoop`](crate::ErrorKind::WrongLoop); see connect(2).
    ///
    /// ```
    /// let io = nbio::EventLoop::<()>::new()?;
    /// let (near, far) = (io.bind_udp(([127, 0, 0, 1], 0))?, io.bind_udp(([127, 0, 0, 1], 0))?);
    /// io.connect_udp(near, io.local_address(far)?)?;
    /// assert_eq!(io.peer_address(near)?, io.local_address(far)?);
    /// io.disconnect_udp(near)?;
    /// assert!(io.peer_address(near).is_err());
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn connect_udp(&self, socket: UdpSocket, to: impl Into<SocketAddr>) -> Result<(), Error> {
        self.core.connect_udp(socket.id(), to.into())
    }

    /// Undoes [`connect_udp`](EventLoop::connect_udp): the socket receives from everybody again. It keeps its local
    /// address and port. (Linux takes away a port that it had chosen itself; nbio binds it again, and if somebody else has
    /// taken it in that moment, the error is [`AddrInUse`](crate::ErrorKind::AddrInUse).) On a socket that isn't connected
    /// it changes nothing.
    ///
    /// Linux (up to 6.18 at least) forgets one thing: by IPv6 the socket goes on receiving only what comes from the IP
    /// address that it was connected to, though from any port. To receive from everybody, bind a new one.
    ///
    /// # Errors
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle), [`WrongLoop`](crate::ErrorKind::WrongLoop); see connect(2).
    pub fn disconnect_udp(&self, socket: UdpSocket) -> Result<(), Error> {
        self.core.disconnect_udp(socket.id())
    }

    /// Sets options of an open UDP socket.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a value out of its range (those before it are set) or an option
    /// that must be set before binding, [`Unsupported`](crate::ErrorKind::Unsupported) for one that this system doesn't
    /// have, [`AddrNotAvailable`](crate::ErrorKind::AddrNotAvailable) and
    /// [`Other`](crate::ErrorKind::Other) (ENODEV) for an interface that isn't there,
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle), [`WrongLoop`](crate::ErrorKind::WrongLoop); setsockopt(2).
    pub fn set_udp_options(&self, socket: UdpSocket, options: UdpOptions) -> Result<(), Error> {
        self.core.set_udp_options(socket.id(), &options)
    }

    /// All options of an open UDP socket, as the system has them. `v6only` is `None` on an IPv4 socket, and so is
    /// `multicast_interface` there unless an address was set (Linux doesn't tell an index).
    ///
    /// # Errors
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle), [`WrongLoop`](crate::ErrorKind::WrongLoop); getsockopt(2).
    pub fn udp_options(&self, socket: UdpSocket) -> Result<UdpOptions, Error> {
        self.core.udp_options(socket.id())
    }

    /// Joins a multicast group, so that the socket receives what is sent to it, to the port that it is bound to; for
    /// instance on `[0, 0, 0, 0]`. IPv6 groups need an IPv6 socket, IPv4 groups go with either if IPv4 isn't switched off.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) (no multicast address; group, source and interface don't go
    /// together), [`AddrInUse`](crate::ErrorKind::AddrInUse) (joined already),
    /// [`AddrNotAvailable`](crate::ErrorKind::AddrNotAvailable) (the source is joined already),
    /// [`Other`](crate::ErrorKind::Other) (ENODEV: no such interface, or no route to choose one by),
    /// [`Unsupported`](crate::ErrorKind::Unsupported) (an IPv6 group on an IPv4 socket),
    /// [`OutOfMemory`](crate::ErrorKind::OutOfMemory) (more than `net.ipv4.igmp_max_memberships` groups),
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle), [`WrongLoop`](crate::ErrorKind::WrongLoop); see ip(7), ipv6(7).
    pub fn join_multicast(&self, socket: UdpSocket, group: Multicast) -> Result<(), Error> {
        self.core.join_multicast(socket.id(), &group)
    }

    /// Leaves a group that was [joined](EventLoop::join_multicast), given in the same words. Closing leaves all.
    ///
    /// # Errors
    /// [`AddrNotAvailable`](crate::ErrorKind::AddrNotAvailable) (not joined); otherwise as there.
    pub fn leave_multicast(&self, socket: UdpSocket, group: Multicast) -> Result<(), Error> {
        self.core.leave_multicast(socket.id(), &group)
    }

    /// Receives a datagram and tells who sent it: [`op::RecvFrom`].
    pub fn recv_from<H: DatagramSocket, B: IoBufMut>(
        &self,
        socket: H,
        buf: B,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Datagram<B, H::Address>) + 'static,
    ) -> OpId {
        self.submit(op::RecvFrom::new(socket, buf), callback)
    }

    /// Sends a datagram to an address: [`op::SendTo`].
    pub fn send_to<H: DatagramSocket, B: IoBuf>(
        &self,
        socket: H,
        buf: B,
        to: impl Into<H::Address>,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Done<B>) + 'static,
    ) -> OpId {
        self.submit(op::SendTo::new(socket, buf, to), callback)
    }

    /// Sends a datagram to the peer of a connected socket: [`op::SendDatagram`].
    pub fn send_datagram<B: IoBuf>(
        &self,
        socket: impl DatagramSocket,
        buf: B,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Done<B>) + 'static,
    ) -> OpId {
        self.submit(op::SendDatagram::new(socket, buf), callback)
    }
}
