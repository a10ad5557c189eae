//! UDP on the simulated network: datagrams that take their time, and get lost, doubled or out of order where that was
//! asked for.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ptr::NonNull;

use super::memory::Memory;
use super::network::{self, Kind, Socket, is_here, loopback, mapped};
use super::options::{Settings, buffer_size};
use super::world::{ShotId, What, Work, World};
use crate::backend::{Head, Message, Outcome};
use crate::engine::envelope::Envelope;
use crate::simulation::DatagramFaults;
use crate::udp::Interface;
use crate::{ErrorKind, UdpOptions};

/// A message's memory, and where its address is or goes.
pub(super) struct Letter {
    memory: Memory,
    head: NonNull<Head>,
    message: NonNull<Message>,
}

// SAFETY: as `Memory`: used under the world's lock, until the shot's completion is handed over.
unsafe impl Send for Letter {}

impl Letter {
    pub(super) fn of(envelope: &Envelope) -> Letter {
        // It writes the message's header, too.
        let message = envelope.message();
        let (pieces, head) = envelope.parts();
        Letter { memory: Memory::Many(pieces), head, message }
    }
}

/// All there is of UDP.
#[derive(Default)]
pub(super) struct Datagrams {
    /// Who is bound to a port, in the order in which they were.
    ports: BTreeMap<u16, Vec<usize>>,
    next_port: u16,
    /// On their way, by their numbers.
    flying: BTreeMap<u64, Flying>,
    pub(super) faults: DatagramFaults,
}

struct Flying {
    bytes: Vec<u8>,
    from: SocketAddr,
    to: SocketAddr,
    /// The socket that hears of it if nobody is there: one that is connected to there.
    sender: Option<(usize, u64)>,
}

pub(super) struct DatagramSocket {
    bound: SocketAddr,
    pub(super) peer: Option<SocketAddr>,
    options: UdpOptions,
    queue: VecDeque<(Vec<u8>, SocketAddr)>,
    receivers: VecDeque<ShotId>,
    /// What the next operation has to be told.
    error: Option<ErrorKind>,
    /// When the last of what it has sent arrives: the next one doesn't overtake it.
    last: u64,
}

/// What a datagram takes in a buffer beside its bytes.
const OVERHEAD: usize = 256;

/// The longest datagram by IPv4 and by IPv6.
const LONGEST: [usize; 2] = [65_507, 65_527];

const FIRST_PORT: u16 = 32_768;

impl DatagramSocket {
    /// Its address as it is told: one that is connected has chosen where it sends from.
    pub(super) fn local(&self) -> SocketAddr {
        match self.peer {
            Some(peer) if self.bound.ip().is_unspecified() => self.source(peer),
            _ => self.bound,
        }
    }

    pub(super) fn unpark(&mut self, id: ShotId) {
        self.receivers.retain(|&other| other != id);
    }

    fn is_only_v6(&self) -> bool {
        self.options.v6only == Some(true)
    }

    /// An address as this socket writes it.
    fn written(&self, address: SocketAddr) -> SocketAddr {
        if self.bound.is_ipv6() { mapped(address) } else { address }
    }

    /// Where what goes to an address comes from.
    fn source(&self, to: SocketAddr) -> SocketAddr {
        let ip = match self.bound.ip().to_canonical() {
            ip if ip.is_unspecified() => loopback(to.ip().to_canonical()),
            ip => ip,
        };
        self.written(SocketAddr::new(ip, self.bound.port()))
    }

    /// How well it fits what goes from one address to another: `None` if it isn't for this socket.
    fn fits(&self, from: SocketAddr, to: SocketAddr) -> Option<u32> {
        let own = self.bound.ip().to_canonical();
        let whole = match (self.bound.ip(), to.ip()) {
            (IpAddr::V4(_), IpAddr::V6(_)) => return None,
            (IpAddr::V6(ip), IpAddr::V4(_)) if ip.is_unspecified() => !self.is_only_v6(),
            (ip, _) => ip.is_unspecified(),
        };
        if !whole && own != to.ip() {
            return None;
        }
        match self.peer.map(canonical) {
            Some(peer) if peer == from => Some(4 + u32::from(!whole)),
            Some(_) => None,
            None => Some(u32::from(!whole)),
        }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Sets options, those that come too late left out.
fn set(options: &mut UdpOptions, wanted: &UdpOptions) -> Result<(), ErrorKind> {
    let out_of_range =
        matches!(wanted.multicast_interface, Some(Interface::Index(index)) if index > i32::MAX as u32);
    if wanted.ttl == Some(0) || out_of_range {
        return Err(ErrorKind::InvalidInput);
    }
    let on = [wanted.recv_packet_info, wanted.recv_ttl, wanted.recv_ecn, wanted.gro].contains(&Some(true));
    if on || !matches!(wanted.multicast_interface, None | Some(Interface::System)) {
        return Err(ErrorKind::Unsupported);
    }
    options.recv_buffer = wanted.recv_buffer.map(buffer_size).transpose()?.or(options.recv_buffer);
    options.send_buffer = wanted.send_buffer.map(buffer_size).transpose()?.or(options.send_buffer);
    options.broadcast = wanted.broadcast.or(options.broadcast);
    options.ttl = wanted.ttl.or(options.ttl);
    options.tos = wanted.tos.or(options.tos);
    options.multicast_ttl = wanted.multicast_ttl.or(options.multicast_ttl);
    options.multicast_loop = wanted.multicast_loop.or(options.multicast_loop);
    Ok(())
}

fn defaults() -> UdpOptions {
    UdpOptions {
        reuse_address: Some(false),
        reuse_port: Some(false),
        v6only: None,
        broadcast: Some(false),
        recv_buffer: Some(212_992),
        send_buffer: Some(212_992),
        ttl: Some(64),
        tos: Some(0),
        recv_packet_info: Some(false),
        recv_ttl: Some(false),
        recv_ecn: Some(false),
        gro: Some(false),
        multicast_ttl: Some(1),
        multicast_loop: Some(true),
        multicast_interface: Some(Interface::System),
    }
}

impl World {
    pub(super) fn bind_udp(&mut self, address: SocketAddr, wanted: &UdpOptions) -> Result<usize, ErrorKind> {
        if wanted.v6only.is_some() && address.is_ipv4() {
            return Err(ErrorKind::InvalidInput);
        }
        let mut options = defaults();
        set(&mut options, wanted)?;
        options.v6only = address.is_ipv6().then_some(wanted.v6only.unwrap_or(false));
        options.reuse_address = wanted.reuse_address.or(options.reuse_address);
        options.reuse_port = wanted.reuse_port.or(options.reuse_port);
        if !is_here(address.ip().to_canonical()) && !address.ip().is_unspecified() {
            return Err(ErrorKind::AddrNotAvailable);
        }
        let mut bound = address;
        if bound.port() == 0 {
            bound.set_port(self.free_udp_port().ok_or(ErrorKind::AddrInUse)?);
        }
        let socket = DatagramSocket {
            bound,
            peer: None,
            options,
            queue: VecDeque::new(),
            receivers: VecDeque::new(),
            error: None,
            last: 0,
        };
        let there = self.datagrams.ports.get(&bound.port()).into_iter().flatten();
        if there.clone().any(|&other| !may_share(&socket, self.network.datagram(other))) {
            return Err(ErrorKind::AddrInUse);
        }
        let serial = self.serial();
        let kind = Kind::Datagram(Box::new(socket));
        let number = self.network.add(Socket { serial, settings: Settings::new(), kind });
        self.datagrams.ports.entry(bound.port()).or_default().push(number);
        Ok(number)
    }

    fn free_udp_port(&mut self) -> Option<u16> {
        let datagrams = &mut self.datagrams;
        for _ in FIRST_PORT..=u16::MAX {
            let port = datagrams.next_port.max(FIRST_PORT);
            datagrams.next_port = if port == u16::MAX { FIRST_PORT } else { port + 1 };
            if !datagrams.ports.contains_key(&port) {
                return Some(port);
            }
        }
        None
    }

    pub(super) fn close_datagram(&mut self, number: usize) {
        let port = self.network.datagram(number).bound.port();
        let there = self.datagrams.ports.get_mut(&port).expect("it is bound there");
        there.retain(|&other| other != number);
        if there.is_empty() {
            self.datagrams.ports.remove(&port);
        }
        self.network.remove(number);
    }

    pub(super) fn connect_udp(&mut self, number: usize, to: SocketAddr) -> Result<(), ErrorKind> {
        let to = self.destination(number, to)?;
        let socket = self.network.datagram_mut(number);
        socket.peer = Some(socket.written(to));
        socket.error = None;
        Ok(())
    }

    pub(super) fn disconnect_udp(&mut self, number: usize) {
        self.network.datagram_mut(number).peer = None;
    }

    pub(super) fn set_udp_options(&mut self, number: usize, wanted: &UdpOptions) -> Result<(), ErrorKind> {
        if wanted.v6only.is_some() || wanted.reuse_address.is_some() || wanted.reuse_port.is_some() {
            return Err(ErrorKind::InvalidInput);
        }
        set(&mut self.network.datagram_mut(number).options, wanted)
    }

    pub(super) fn udp_options(&self, number: usize) -> UdpOptions {
        self.network.datagram(number).options
    }

    /// Where what is sent to an address goes, if it can.
    fn destination(&self, number: usize, to: SocketAddr) -> Result<SocketAddr, ErrorKind> {
        let socket = self.network.datagram(number);
        let plain = canonical(to);
        let bound = socket.bound.ip();
        match (bound, to, plain) {
            (IpAddr::V4(_), SocketAddr::V6(_), _) => return Err(ErrorKind::Unsupported),
            // Neither can one that is bound to an address of IPv6 send by IPv4, nor the other way round.
            (IpAddr::V6(ip), _, SocketAddr::V4(_))
                if socket.is_only_v6() || !(ip.is_unspecified() || ip.to_ipv4_mapped().is_some()) =>
            {
                return Err(ErrorKind::NetworkUnreachable);
            }
            _ => {}
        }
        let to = match plain.ip() {
            ip if ip.is_unspecified() => SocketAddr::new(loopback(ip), plain.port()),
            _ => plain,
        };
        let broadcast = [Ipv4Addr::BROADCAST, Ipv4Addr::new(127, 255, 255, 255)];
        match to.ip() {
            IpAddr::V4(ip) if broadcast.contains(&ip) && socket.options.broadcast != Some(true) => {
                Err(ErrorKind::PermissionDenied)
            }
            ip if !is_here(ip) => Err(ErrorKind::NetworkUnreachable),
            _ => Ok(to),
        }
    }

    pub(super) fn send_datagram(&mut self, id: ShotId, number: usize) {
        let sent = self.try_send_datagram(id, number);
        self.complete(id, sent.map_or_else(Outcome::Refused, |bytes| Outcome::Value(bytes as u32)));
    }

    fn try_send_datagram(&mut self, id: ShotId, number: usize) -> Result<usize, ErrorKind> {
        let Work::SendDatagram(letter) = &self.shot(id).expect("not over").work else {
            unreachable!("a datagram was to be sent")
        };
        // SAFETY: see `Letter`.
        let head = unsafe { letter.head.as_ref() };
        let (asked, has_control, length) = (head.destination(), head.has_control(), letter.memory.length());
        let mut bytes = vec![0; length];
        letter.memory.get(0, &mut bytes);
        if let Some(error) = self.network.datagram_mut(number).error.take() {
            return Err(error);
        }
        // Nothing here would tell of it.
        if has_control {
            return Err(ErrorKind::Unsupported);
        }
        let peer = self.network.datagram(number).peer;
        let to = asked.or(peer).ok_or(ErrorKind::NotConnected)?;
        if to.port() == 0 {
            return Err(ErrorKind::InvalidInput);
        }
        let to = self.destination(number, to)?;
        if length > LONGEST[usize::from(to.is_ipv6())] {
            return Err(ErrorKind::MessageTooLong);
        }
        let from = canonical(self.network.datagram(number).source(to));
        let serial = self.network.socket(number).serial;
        let sender = Some((number, serial)).filter(|_| peer.map(canonical) == Some(to));
        self.launch(number, Flying { bytes, from, to, sender });
        Ok(length)
    }

    fn launch(&mut self, number: usize, flying: Flying) {
        let faults = self.datagrams.faults;
        if self.fails(faults.loss) {
            return self.record(4 << 40, number as u64);
        }
        if self.fails(faults.duplication) {
            let Flying { ref bytes, from, to, sender } = flying;
            self.fly(number, Flying { bytes: bytes.clone(), from, to, sender });
        }
        self.fly(number, flying);
    }

    fn fly(&mut self, number: usize, flying: Flying) {
        let at = self.now.saturating_add(self.draw.delay());
        let late = self.fails(self.datagrams.faults.reordering);
        let (least, most) = self.datagrams.faults.latency;
        let on_the_way = if most > 0 { least + self.draw.below(most - least + 1) } else { 0 };
        let now = self.now;
        let last = &mut self.network.datagram_mut(number).last;
        let at = at.saturating_add(on_the_way).max(*last);
        // One that is late doesn't hold up those behind it.
        let at = if late {
            at.saturating_add(1_000 + self.draw.below(1_000_000))
        } else {
            *last = at;
            at
        };
        let ticket = self.serial();
        self.datagrams.flying.insert(ticket, flying);
        self.plan(at.saturating_sub(now), What::Datagram(ticket));
    }

    pub(super) fn datagram_arrives(&mut self, ticket: u64) {
        let Some(Flying { bytes, from, to, sender }) = self.datagrams.flying.remove(&ticket) else { return };
        self.record(5 << 40 | u64::from(to.port()), bytes.len() as u64);
        let there = self.datagrams.ports.get(&to.port()).into_iter().flatten().copied();
        let fitting: Vec<(u32, usize)> = there
            .filter_map(|number| Some((self.network.datagram(number).fits(from, to)?, number)))
            .collect();
        let Some(best) = fitting.iter().map(|fitting| fitting.0).max() else {
            return self.nobody_there(sender, to);
        };
        let best: Vec<usize> =
            fitting.iter().filter(|fitting| fitting.0 == best).map(|best| best.1).collect();
        let newest = *best.last().expect("at least one is the best");
        let spreads = self.network.datagram(newest).options.reuse_port == Some(true);
        let number = if spreads { best[usize::from(from.port()) % best.len()] } else { newest };
        let socket = self.network.datagram_mut(number);
        let full: usize = socket.queue.iter().map(|(bytes, _)| bytes.len() + OVERHEAD).sum();
        if full + bytes.len() > socket.options.recv_buffer.unwrap_or(0) {
            return;
        }
        let from = socket.written(from);
        socket.queue.push_back((bytes, from));
        self.serve_receivers(number);
    }

    /// Tells a sender that is connected to where nobody is.
    fn nobody_there(&mut self, sender: Option<(usize, u64)>, to: SocketAddr) {
        let Some((number, serial)) = sender else { return };
        if self.network.is_open(number, serial) {
            let socket = self.network.datagram_mut(number);
            if socket.peer.map(canonical) == Some(to) {
                socket.error = Some(ErrorKind::ConnectionRefused);
                self.serve_receivers(number);
            }
        }
    }

    pub(super) fn receive_datagram(&mut self, id: ShotId, number: usize) {
        self.network.datagram_mut(number).receivers.push_back(id);
        self.serve_receivers(number);
    }

    /// Gives what has come to those who wait for it.
    fn serve_receivers(&mut self, number: usize) {
        loop {
            let socket = self.network.datagram_mut(number);
            if socket.queue.is_empty() && socket.error.is_none() {
                return;
            }
            let Some(id) = socket.receivers.pop_front() else { return };
            if let Some(error) = socket.error.take() {
                self.complete(id, Outcome::Refused(error));
            } else if let Some((bytes, from)) = socket.queue.pop_front() {
                self.hand_in(id, &bytes, from);
            }
        }
    }

    fn hand_in(&mut self, id: ShotId, bytes: &[u8], from: SocketAddr) {
        let shot = self.shot(id).expect("cancelling takes it out of the queue");
        let Work::ReceiveDatagram(letter) = &shot.work else { unreachable!("only receives wait there") };
        let fits = bytes.len().min(letter.memory.length());
        letter.memory.put(0, &bytes[..fits]);
        let (mut head, mut message) = (letter.head, letter.message);
        // SAFETY: see `Letter`.
        unsafe { head.as_mut().answer(message.as_mut(), from, fits < bytes.len()) };
        self.complete(id, Outcome::Value(fits as u32));
    }
}

/// Whether two sockets may have the same port.
fn may_share(one: &DatagramSocket, other: &DatagramSocket) -> bool {
    let both = |option: fn(&UdpOptions) -> Option<bool>| {
        option(&one.options) == Some(true) && option(&other.options) == Some(true)
    };
    let whole = |socket: &DatagramSocket| socket.bound.ip().is_unspecified();
    let (own, others) = (one.bound.ip().to_canonical(), other.bound.ip().to_canonical());
    let apart = match (own.is_ipv4(), others.is_ipv4()) {
        (true, true) | (false, false) => own != others && !whole(one) && !whole(other),
        // `[::]` has both versions, unless it is told not to.
        (false, true) => one.is_only_v6() || !whole(one),
        (true, false) => other.is_only_v6() || !whole(other),
    };
    apart || both(|options| options.reuse_address) || both(|options| options.reuse_port)
}

impl network::Network {
    pub(super) fn datagram(&self, number: usize) -> &DatagramSocket {
        match &self.socket(number).kind {
            Kind::Datagram(socket) => socket,
            _ => unreachable!("a handle's kind says what it is"),
        }
    }

    pub(super) fn datagram_mut(&mut self, number: usize) -> &mut DatagramSocket {
        match &mut self.socket_mut(number).kind {
            Kind::Datagram(socket) => socket,
            _ => unreachable!("a handle's kind says what it is"),
        }
    }
}
