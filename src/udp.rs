//! What UDP sockets have beside their bytes: options, control data of messages, multicast groups.

use std::net::{IpAddr, Ipv4Addr};

/// Options of UDP sockets. What is `None` is left as the system has it.
///
/// Given to [`EventLoop::bind_udp_with`](crate::EventLoop::bind_udp_with) all of them count; on an open socket
/// ([`EventLoop::set_udp_options`](crate::EventLoop::set_udp_options)) the first three come too late and are
/// [`InvalidInput`](crate::ErrorKind::InvalidInput). [`EventLoop::udp_options`](crate::EventLoop::udp_options) reads
/// them all.
///
/// ```
/// use nbio::{EventLoop, UdpOptions};
/// let io = EventLoop::<()>::new()?;
/// let options = UdpOptions::default().recv_ecn(true).recv_packet_info(true).recv_buffer(1 << 20);
/// let socket = io.bind_udp_with(([127, 0, 0, 1], 0), options)?;
/// assert_eq!(io.udp_options(socket)?.recv_ecn, Some(true));
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UdpOptions {
    /// Several sockets may have the address if all set this; unicast datagrams go to the one that was bound last,
    /// multicast ones to all that joined (`SO_REUSEADDR`, socket(7), on Linux).
    pub reuse_address: Option<bool>,
    /// Several sockets of one user may have the address if all set this; the system spreads datagrams over them
    /// (`SO_REUSEPORT`, socket(7)).
    pub reuse_port: Option<bool>,
    /// An IPv6 socket has no part of IPv4 (`IPV6_V6ONLY`, ipv6(7)). With `false`, a socket bound to `[::]` also
    /// receives what comes by IPv4, and tells and takes such addresses as `::ffff:a.b.c.d`.
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) with an IPv4 address.
    pub v6only: Option<bool>,
    /// Sending to broadcast addresses is allowed; without it that is
    /// [`PermissionDenied`](crate::ErrorKind::PermissionDenied) (`SO_BROADCAST`, socket(7)). Off as the system has it.
    pub broadcast: Option<bool>,
    /// Size of the system's receive buffer in bytes; datagrams that find it full are lost. Linux doubles what is set
    /// and answers the doubled value (`SO_RCVBUF`, socket(7)).
    pub recv_buffer: Option<usize>,
    /// Size of the system's send buffer in bytes; as `recv_buffer` (`SO_SNDBUF`).
    pub send_buffer: Option<usize>,
    /// Time to live (IPv4) and hop limit (IPv6) of unicast datagrams, 1 to 255 (`IP_TTL`, `IPV6_UNICAST_HOPS`).
    pub ttl: Option<u8>,
    /// The type of service (IPv4) and traffic class (IPv6) of what is sent: DSCP in the upper six bits, ECN in the lower
    /// two ([`Ecn::bits`]). `IP_TOS`, `IPV6_TCLASS`.
    pub tos: Option<u8>,
    /// Receives tell where the datagram was sent to and by which interface it came:
    /// [`RecvControl::packet_info`] (`IP_PKTINFO`, `IPV6_RECVPKTINFO`).
    pub recv_packet_info: Option<bool>,
    /// Receives tell the datagram's remaining time to live: [`RecvControl::ttl`] (`IP_RECVTTL`, `IPV6_RECVHOPLIMIT`).
    pub recv_ttl: Option<bool>,
    /// Receives tell the datagram's ECN bits: [`RecvControl::ecn`] (`IP_RECVTOS`, `IPV6_RECVTCLASS`).
    pub recv_ecn: Option<bool>,
    /// One receive may bring several datagrams of the same sender and size, one after the other:
    /// [`RecvControl::segment_size`]. It must have room for 65,535 bytes then, or the rest is lost. `UDP_GRO`,
    /// udp(7); Linux.
    pub gro: Option<bool>,
    /// Time to live and hop limit of multicast datagrams, 0 to 255; 1 as the system has it (`IP_MULTICAST_TTL`,
    /// `IPV6_MULTICAST_HOPS`).
    pub multicast_ttl: Option<u8>,
    /// What this socket sends to a group also reaches those who joined it on this machine. On as the system has it
    /// (`IP_MULTICAST_LOOP`, `IPV6_MULTICAST_LOOP`).
    pub multicast_loop: Option<bool>,
    /// By which interface multicast datagrams leave (`IP_MULTICAST_IF`, `IPV6_MULTICAST_IF`). An address is for IPv4
    /// only.
    pub multicast_interface: Option<Interface>,
}

impl UdpOptions {
    /// Sets [`reuse_address`](UdpOptions::reuse_address).
    pub fn reuse_address(mut self, on: bool) -> UdpOptions {
        self.reuse_address = Some(on);
        self
    }

    /// Sets [`reuse_port`](UdpOptions::reuse_port).
    pub fn reuse_port(mut self, on: bool) -> UdpOptions {
        self.reuse_port = Some(on);
        self
    }

    /// Sets [`v6only`](UdpOptions::v6only).
    pub fn v6only(mut self, on: bool) -> UdpOptions {
        self.v6only = Some(on);
        self
    }

    /// Sets [`broadcast`](UdpOptions::broadcast).
    pub fn broadcast(mut self, on: bool) -> UdpOptions {
        self.broadcast = Some(on);
        self
    }

    /// Sets [`recv_buffer`](UdpOptions::recv_buffer).
    pub fn recv_buffer(mut self, bytes: usize) -> UdpOptions {
        self.recv_buffer = Some(bytes);
        self
    }

    /// Sets [`send_buffer`](UdpOptions::send_buffer).
    pub fn send_buffer(mut self, bytes: usize) -> UdpOptions {
        self.send_buffer = Some(bytes);
        self
    }

    /// Sets [`ttl`](UdpOptions::ttl).
    pub fn ttl(mut self, hops: u8) -> UdpOptions {
        self.ttl = Some(hops);
        self
    }

    /// Sets [`tos`](UdpOptions::tos).
    pub fn tos(mut self, byte: u8) -> UdpOptions {
        self.tos = Some(byte);
        self
    }

    /// Sets [`recv_packet_info`](UdpOptions::recv_packet_info).
    pub fn recv_packet_info(mut self, on: bool) -> UdpOptions {
        self.recv_packet_info = Some(on);
        self
    }

    /// Sets [`recv_ttl`](UdpOptions::recv_ttl).
    pub fn recv_ttl(mut self, on: bool) -> UdpOptions {
        self.recv_ttl = Some(on);
        self
    }

    /// Sets [`recv_ecn`](UdpOptions::recv_ecn).
    pub fn recv_ecn(mut self, on: bool) -> UdpOptions {
        self.recv_ecn = Some(on);
        self
    }

    /// Sets [`gro`](UdpOptions::gro).
    pub fn gro(mut self, on: bool) -> UdpOptions {
        self.gro = Some(on);
        self
    }

    /// Sets [`multicast_ttl`](UdpOptions::multicast_ttl).
    pub fn multicast_ttl(mut self, hops: u8) -> UdpOptions {
        self.multicast_ttl = Some(hops);
        self
    }

    /// Sets [`multicast_loop`](UdpOptions::multicast_loop).
    pub fn multicast_loop(mut self, on: bool) -> UdpOptions {
        self.multicast_loop = Some(on);
        self
    }

    /// Sets [`multicast_interface`](UdpOptions::multicast_interface).
    pub fn multicast_interface(mut self, interface: impl Into<Interface>) -> UdpOptions {
        self.multicast_interface = Some(interface.into());
        self
    }
}

/// A network interface, as multicast names one: `Interface::from(2)`, `Interface::from(Ipv4Addr::LOCALHOST)`.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Interface {
    /// Whichever the system chooses, by its routes.
    #[default]
    System,
    /// By its index, as `ip link` and `/proc/net/if_inet6` show it; 0 is `System`. `2_147_483_647` is the highest.
    Index(u32),
    /// The one that has this address; IPv4 only.
    Address(Ipv4Addr),
}

impl From<u32> for Interface {
    fn from(index: u32) -> Interface {
        Interface::Index(index)
    }
}

impl From<Ipv4Addr> for Interface {
    fn from(address: Ipv4Addr) -> Interface {
        Interface::Address(address)
    }
}

/// A multicast group to join or leave: which, by which interface, and from which source only.
///
/// ```
/// use std::net::Ipv4Addr;
/// use nbio::{EventLoop, Multicast};
/// let io = EventLoop::<()>::new()?;
/// let socket = io.bind_udp(([0, 0, 0, 0], 0))?;
/// let group = Multicast::new([239, 1, 2, 3]).interface(Ipv4Addr::LOCALHOST);
/// io.join_multicast(socket, group)?;
/// io.leave_multicast(socket, group)?;
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Multicast {
    pub(crate) group: IpAddr,
    pub(crate) interface: Interface,
    pub(crate) source: Option<IpAddr>,
}

impl Multicast {
    /// The group with this address: 224.0.0.0/4 or `ff00::/8`.
    pub fn new(group: impl Into<IpAddr>) -> Multicast {
        Multicast { group: group.into(), interface: Interface::System, source: None }
    }

    /// By this interface.
    pub fn interface(mut self, interface: impl Into<Interface>) -> Multicast {
        self.interface = interface.into();
        self
    }

    /// Only what this address sends (source-specific multicast); of the same version of IP as the group.
    pub fn source(mut self, source: impl Into<IpAddr>) -> Multicast {
        self.source = Some(source.into());
        self
    }
}

/// Explicit congestion notification: the two bits of a datagram's header that say whether the network was congested
/// (RFC 3168).
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ecn {
    /// Its sender doesn't take part.
    NotCapable,
    /// ECT(1): not congested; by its sender's choice, for congestion control of a newer kind (RFC 9331).
    Capable1,
    /// ECT(0): not congested.
    Capable0,
    /// CE: a router on the way was congested.
    Congested,
}

impl Ecn {
    /// The two bits: 0 to 3.
    pub fn bits(self) -> u8 {
        match self {
            Ecn::NotCapable => 0,
            Ecn::Capable1 => 1,
            Ecn::Capable0 => 2,
            Ecn::Congested => 3,
        }
    }

    /// Those of a type of service or traffic class, whose lower two bits they are.
    ///
    /// ```
    /// assert_eq!(nbio::Ecn::of_tos(0b1011_1010), nbio::Ecn::Capable0);
    /// ```
    pub fn of_tos(byte: u8) -> Ecn {
        match byte & 3 {
            0 => Ecn::NotCapable,
            1 => Ecn::Capable1,
            2 => Ecn::Capable0,
            _ => Ecn::Congested,
        }
    }
}

/// Where a received datagram was sent to, and by which interface it came.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PacketInfo {
    /// The address in its header: one of this machine, a multicast group, or a broadcast address. On a socket of both
    /// versions of IP, `::ffff:a.b.c.d` for IPv4.
    pub destination: IpAddr,
    /// The interface's index.
    pub interface: u32,
}

impl PacketInfo {
    pub(crate) fn new(destination: IpAddr, interface: u32) -> PacketInfo {
        PacketInfo { destination, interface }
    }
}

/// What came beside the bytes of a received datagram. A field is `Some` if the option of [`UdpOptions`] that asks for
/// it is on (and, for the segment size, if several datagrams were put together).
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecvControl {
    /// Its ECN bits; [`UdpOptions::recv_ecn`].
    pub ecn: Option<Ecn>,
    /// Where it was sent to; [`UdpOptions::recv_packet_info`].
    pub packet_info: Option<PacketInfo>,
    /// Its time to live or hop limit on arrival; [`UdpOptions::recv_ttl`].
    pub ttl: Option<u8>,
    /// The bytes are several datagrams of this size each, the last one perhaps smaller; [`UdpOptions::gro`].
    pub segment_size: Option<usize>,
    /// There was more than the 192 bytes that are kept for it, and some of it may be missing above: possible only on an
    /// adopted socket with options of the system's that this crate has no name for (`MSG_CTRUNC`, recvmsg(2)).
    pub truncated: bool,
}

/// What goes beside the bytes of a sent datagram. What is `None` is as the socket's options say.
///
/// ```
/// use nbio::{Ecn, SendControl};
/// let control = SendControl::default().ecn(Ecn::Capable0).segment_size(1200);
/// assert_eq!(control.ecn, Some(Ecn::Capable0));
/// ```
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SendControl {
    /// ECN bits. DSCP is 0 in such a datagram: the byte is set as a whole.
    pub ecn: Option<Ecn>,
    /// The address to send from, one of this machine's: as a receive's [`PacketInfo::destination`] told it, to answer
    /// from there. [`InvalidInput`](crate::ErrorKind::InvalidInput) if it is of another version of IP than the
    /// destination; that or [`NetworkUnreachable`](crate::ErrorKind::NetworkUnreachable) if it is none of this machine's.
    pub source: Option<IpAddr>,
    /// The interface to send by: its index, 1 to `2_147_483_647`.
    pub interface: Option<u32>,
    /// Time to live or hop limit, 1 to 255.
    pub ttl: Option<u8>,
    /// Send the bytes as several datagrams of this size each, 1 to 65,535 bytes, the last one with what is left: one
    /// system call and one way through the system for up to 64 of them (128 from Linux 6.9 on), 65,507 bytes in all.
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if they are more;
    /// [`MessageTooLong`](crate::ErrorKind::MessageTooLong) or `InvalidInput` (before Linux 6.14) if one doesn't fit the
    /// interface's MTU. `UDP_SEGMENT`, udp(7); Linux.
    pub segment_size: Option<u16>,
}

impl SendControl {
    /// Sets [`ecn`](SendControl::ecn).
    pub fn ecn(mut self, ecn: Ecn) -> SendControl {
        self.ecn = Some(ecn);
        self
    }

    /// Sets [`source`](SendControl::source).
    pub fn source(mut self, address: impl Into<IpAddr>) -> SendControl {
        self.source = Some(address.into());
        self
    }

    /// Sets [`interface`](SendControl::interface).
    pub fn interface(mut self, index: u32) -> SendControl {
        self.interface = Some(index);
        self
    }

    /// Sets [`ttl`](SendControl::ttl).
    pub fn ttl(mut self, hops: u8) -> SendControl {
        self.ttl = Some(hops);
        self
    }

    /// Sets [`segment_size`](SendControl::segment_size).
    pub fn segment_size(mut self, bytes: u16) -> SendControl {
        self.segment_size = Some(bytes);
        self
    }

    /// Whether its values are within their ranges, towards this destination (`None`: the connected one).
    pub(crate) fn fits(&self, to: Option<IpAddr>) -> bool {
        let version = |address: IpAddr| address.to_canonical().is_ipv4();
        let same = |source: IpAddr| to.is_none_or(|to| version(to) == version(source));
        self.source.is_none_or(same)
            && self.interface.is_none_or(|index| (1..=i32::MAX as u32).contains(&index))
            && self.ttl != Some(0)
            && self.segment_size != Some(0)
    }
}

/// The datagrams in the bytes of one receive; see [`Datagram::segments`](crate::Datagram::segments).
#[derive(Clone, Debug)]
pub struct Segments<'a> {
    /// `None` when all were given.
    left: Option<&'a [u8]>,
    size: usize,
}

impl<'a> Segments<'a> {
    /// Those of `bytes`, each of `size` bytes, which is not 0.
    pub(crate) fn new(bytes: &'a [u8], size: usize) -> Segments<'a> {
        Segments { left: Some(bytes), size }
    }

    /// None at all.
    pub(crate) fn none() -> Segments<'a> {
        Segments { left: None, size: 1 }
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let left = self.left?;
        let (segment, rest) = left.split_at(self.size.min(left.len()));
        self.left = (!rest.is_empty()).then_some(rest);
        Some(segment)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // A datagram without bytes is one, too.
        let count = self.left.map_or(0, |left| left.len().div_ceil(self.size).max(1));
        (count, Some(count))
    }
}

impl ExactSizeIterator for Segments<'_> {}
