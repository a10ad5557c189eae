//! The simulated network: sockets, their names, listening and connecting.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::datagram::DatagramSocket;
use super::options::{self, Settings};
use super::stream::Stream;
use super::world::{ShotId, Work, World};
use crate::ErrorKind;
use crate::ListenOptions;
use crate::backend::{Address, Outcome};

pub(super) struct Network {
    sockets: Vec<Option<Socket>>,
    free: Vec<usize>,
    /// Who listens where; several with `reuse_port`.
    listeners: BTreeMap<SocketAddr, Vec<usize>>,
    /// The local addresses of connecting and connected sockets that chose or were given a port.
    bound: BTreeSet<SocketAddr>,
    next_port: u16,
}

pub(super) struct Socket {
    /// Tells it from others that had the same number.
    pub(super) serial: u64,
    pub(super) settings: Settings,
    pub(super) kind: Kind,
}

impl Socket {
    fn is_tcp(&self) -> bool {
        matches!(self.kind, Kind::Listener(_) | Kind::Stream(_))
    }
}

pub(super) enum Kind {
    Listener(Listener),
    Stream(Stream),
    /// By the disk's number.
    File(u64),
    Datagram(Box<DatagramSocket>),
}

pub(super) struct Listener {
    address: SocketAddr,
    backlog: usize,
    reuse_port: bool,
    v6only: bool,
    /// Connections that nobody has accepted.
    queue: VecDeque<usize>,
    /// Connects that find the queue full.
    knocking: VecDeque<ShotId>,
    accepts: VecDeque<ShotId>,
}

/// From here on are the ports that are given to who asks for none (Linux: net.ipv4.ip_local_port_range).
const FIRST_PORT: u16 = 32_768;

/// The longest queue of a listener (Linux: net.core.somaxconn).
const LONGEST_QUEUE: u32 = 4_096;

impl Network {
    pub(super) fn new() -> Network {
        Network {
            sockets: Vec::new(),
            free: Vec::new(),
            listeners: BTreeMap::new(),
            bound: BTreeSet::new(),
            next_port: FIRST_PORT,
        }
    }

    pub(super) fn add(&mut self, socket: Socket) -> usize {
        match self.free.pop() {
            Some(number) => {
                self.sockets[number] = Some(socket);
                number
            }
            None => {
                self.sockets.push(Some(socket));
                self.sockets.len() - 1
            }
        }
    }

    pub(super) fn remove(&mut self, number: usize) {
        let socket = self.sockets[number].take().expect("an open socket");
        self.free.push(number);
        if let Kind::Stream(Stream { local: Some(local), owns_port: true, .. }) = socket.kind {
            self.bound.remove(&local);
        }
    }

    pub(super) fn socket(&self, number: usize) -> &Socket {
        self.sockets[number].as_ref().expect("an open socket")
    }

    pub(super) fn socket_mut(&mut self, number: usize) -> &mut Socket {
        self.sockets[number].as_mut().expect("an open socket")
    }

    /// The stream with this number, if it is still the one with this serial.
    pub(super) fn stream_if(&mut self, number: usize, serial: u64) -> Option<&mut Stream> {
        let socket = self.sockets.get_mut(number)?.as_mut()?;
        match &mut socket.kind {
            Kind::Stream(stream) if socket.serial == serial => Some(stream),
            _ => None,
        }
    }

    pub(super) fn stream(&mut self, number: usize) -> &mut Stream {
        match &mut self.socket_mut(number).kind {
            Kind::Stream(stream) => stream,
            _ => unreachable!("a handle's kind says what it is"),
        }
    }

    /// Whether this is still the socket with this serial.
    pub(super) fn is_open(&self, number: usize, serial: u64) -> bool {
        let socket = self.sockets.get(number).and_then(Option::as_ref);
        socket.is_some_and(|socket| socket.serial == serial)
    }

    /// The disk's number of an open file.
    pub(super) fn file(&self, number: usize) -> u64 {
        match self.socket(number).kind {
            Kind::File(file) => file,
            _ => unreachable!("a handle's kind says what it is"),
        }
    }

    fn listener(&mut self, number: usize) -> &mut Listener {
        match &mut self.socket_mut(number).kind {
            Kind::Listener(listener) => listener,
            _ => unreachable!("a handle's kind says what it is"),
        }
    }

    /// A port that nobody uses at this address.
    fn free_port(&mut self, ip: IpAddr) -> Option<u16> {
        for _ in FIRST_PORT..=u16::MAX {
            let port = self.next_port;
            self.next_port = if port == u16::MAX { FIRST_PORT } else { port + 1 };
            if !self.bound.contains(&SocketAddr::new(ip, port))
                && self.listening_at_port(port).next().is_none()
            {
                return Some(port);
            }
        }
        None
    }

    fn listening_at_port(&self, port: u16) -> impl Iterator<Item = SocketAddr> {
        self.listeners.keys().copied().filter(move |address| address.port() == port)
    }

    /// Takes a local address for a socket that connects. One that is bound to all addresses connects from the loopback's,
    /// so it is that one's port which it needs.
    fn bind(&mut self, address: SocketAddr) -> Result<SocketAddr, ErrorKind> {
        let asked = address.ip();
        if !is_here(asked) && !asked.is_unspecified() {
            return Err(ErrorKind::AddrNotAvailable);
        }
        let ip = if asked.is_unspecified() { loopback(asked) } else { asked };
        let port = match address.port() {
            0 => self.free_port(ip).ok_or(ErrorKind::AddrInUse)?,
            port => port,
        };
        let address = SocketAddr::new(ip, port);
        let taken = self.bound.contains(&address)
            || self.listening_at_port(port).any(|other| overlap(other.ip(), asked));
        if taken {
            return Err(ErrorKind::AddrInUse);
        }
        self.bound.insert(address);
        Ok(address)
    }

    /// The address that a new listener gets.
    fn listening_address(
        &mut self,
        address: SocketAddr,
        options: &ListenOptions,
    ) -> Result<SocketAddr, ErrorKind> {
        if !is_here(address.ip()) && !address.ip().is_unspecified() {
            return Err(ErrorKind::AddrNotAvailable);
        }
        let port = match address.port() {
            0 => self.free_port(address.ip()).ok_or(ErrorKind::AddrInUse)?,
            port => port,
        };
        let address = SocketAddr::new(address.ip(), port);
        let shares = |number: &usize| match &self.socket(*number).kind {
            Kind::Listener(listener) => listener.reuse_port && options.reuse_port,
            _ => false,
        };
        let taken = self
            .listening_at_port(port)
            .any(|other| overlap(other.ip(), address.ip()) && !self.listeners[&other].iter().all(shares));
        if taken || (!options.reuse_address && self.bound.contains(&address)) {
            return Err(ErrorKind::AddrInUse);
        }
        Ok(address)
    }

    /// Whoever listens where a connect goes to: at the very address, or at all of them.
    fn find_listeners(&self, to: SocketAddr) -> &[usize] {
        let any = |ip: IpAddr| self.listeners.get(&SocketAddr::new(ip, to.port()));
        let both = |numbers: &&Vec<usize>| match &self.socket(numbers[0]).kind {
            Kind::Listener(listener) => !listener.v6only,
            _ => false,
        };
        let found = self.listeners.get(&to).or_else(|| match to.ip() {
            IpAddr::V4(_) => {
                any(Ipv4Addr::UNSPECIFIED.into()).or_else(|| any(Ipv6Addr::UNSPECIFIED.into()).filter(both))
            }
            IpAddr::V6(_) => any(Ipv6Addr::UNSPECIFIED.into()),
        });
        found.map_or(&[], Vec::as_slice)
    }
}

/// Addresses of the simulated machine.
pub(super) fn is_here(ip: IpAddr) -> bool {
    ip.is_loopback()
}

/// The address that connections within a family come from.
pub(super) fn loopback(family: IpAddr) -> IpAddr {
    match family {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

/// An address as IPv6 writes it.
pub(super) fn mapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
        SocketAddr::V6(_) => address,
    }
}

fn overlap(one: IpAddr, other: IpAddr) -> bool {
    one == other || (one.is_ipv4() == other.is_ipv4() && (one.is_unspecified() || other.is_unspecified()))
}

impl World {
    pub(super) fn listen(
        &mut self,
        address: SocketAddr,
        options: &ListenOptions,
    ) -> Result<usize, ErrorKind> {
        if options.v6only.is_some() && address.is_ipv4() {
            return Err(ErrorKind::InvalidInput);
        }
        let mut settings = Settings::new();
        settings.set(&options.tcp)?;
        let address = self.network.listening_address(address, options)?;
        let listener = Listener {
            address,
            backlog: options.backlog.min(LONGEST_QUEUE) as usize,
            reuse_port: options.reuse_port,
            v6only: options.v6only.unwrap_or(false),
            queue: VecDeque::new(),
            knocking: VecDeque::new(),
            accepts: VecDeque::new(),
        };
        let serial = self.serial();
        let number = self.network.add(Socket { serial, settings, kind: Kind::Listener(listener) });
        self.network.listeners.entry(address).or_default().push(number);
        Ok(number)
    }

    /// A socket that can be given to a connect.
    pub(super) fn stream_socket(
        &mut self,
        to: SocketAddr,
        from: Option<SocketAddr>,
        options: &crate::TcpOptions,
    ) -> Result<usize, ErrorKind> {
        let mut settings = Settings::new();
        settings.set(options)?;
        let mut stream = Stream::new(settings.capacities());
        if let Some(from) = from {
            if from.is_ipv4() != to.is_ipv4() {
                return Err(ErrorKind::InvalidInput);
            }
            stream.local = Some(self.network.bind(from)?);
            stream.owns_port = true;
        }
        let serial = self.serial();
        Ok(self.network.add(Socket { serial, settings, kind: Kind::Stream(stream) }))
    }

    /// A shot does what it can now; parks itself at its socket if that is nothing.
    pub(super) fn attempt(&mut self, id: ShotId) {
        let shot = self.shot(id).expect("a shot that isn't over");
        let socket = shot.socket;
        match shot.work {
            Work::Accept(_) => {
                self.network.listener(socket).accepts.push_back(id);
                self.serve(socket);
            }
            Work::Connect(to) => self.connect(id, socket, to),
            Work::Receive(_) => self.receive(id, socket),
            Work::Send(_) => self.send(id, socket),
            Work::Close => {
                self.close(socket);
                self.complete(id, Outcome::Value(0));
            }
            Work::File(_) => self.do_with_file(id, socket),
            Work::ReceiveDatagram(_) => self.receive_datagram(id, socket),
            Work::SendDatagram(_) => self.send_datagram(id, socket),
        }
    }

    /// Takes a shot that is not over away from its socket.
    pub(super) fn unpark(&mut self, id: ShotId) {
        let shot = self.shot(id).expect("a shot that isn't over");
        let (socket, connecting) = (shot.socket, matches!(shot.work, Work::Connect(_)));
        if connecting {
            let listeners = self.network.listeners.values().flatten().copied().collect::<Vec<_>>();
            for number in listeners {
                self.network.listener(number).knocking.retain(|&other| other != id);
            }
        }
        // A loop that is being dropped may have a close under way, and then the socket is gone.
        match self.network.sockets.get_mut(socket).and_then(|socket| Some(&mut socket.as_mut()?.kind)) {
            Some(Kind::Listener(listener)) => listener.accepts.retain(|&other| other != id),
            Some(Kind::Stream(stream)) => stream.unpark(id),
            Some(Kind::Datagram(socket)) => socket.unpark(id),
            // What is done with files never waits.
            Some(Kind::File(_)) | None => {}
        }
    }

    fn connect(&mut self, id: ShotId, socket: usize, to: SocketAddr) {
        let to = match to.ip() {
            // "This machine", as Linux understands it.
            ip if ip.is_unspecified() => (loopback(ip), to.port()).into(),
            _ => to,
        };
        if !is_here(to.ip()) {
            return self.complete(id, Outcome::Refused(ErrorKind::NetworkUnreachable));
        }
        let count = self.network.find_listeners(to).len();
        if count == 0 {
            return self.complete(id, Outcome::Refused(ErrorKind::ConnectionRefused));
        }
        let number = self.network.find_listeners(to)[self.draw.below(count as u64) as usize];
        if let Err(kind) = self.choose_local(socket, to) {
            return self.complete(id, Outcome::Refused(kind));
        }
        let listener = self.network.listener(number);
        // As many as the backlog and one more, as on Linux.
        if listener.queue.len() > listener.backlog {
            return listener.knocking.push_back(id);
        }
        self.establish(id, socket, number, to);
    }

    /// The local address of a socket that connects, if it has none yet.
    fn choose_local(&mut self, socket: usize, to: SocketAddr) -> Result<(), ErrorKind> {
        if self.network.stream(socket).local.is_some() {
            return Ok(());
        }
        let ip = loopback(to.ip());
        let port = self.network.free_port(ip).ok_or(ErrorKind::AddrNotAvailable)?;
        let address = SocketAddr::new(ip, port);
        self.network.bound.insert(address);
        let stream = self.network.stream(socket);
        stream.local = Some(address);
        stream.owns_port = true;
        Ok(())
    }

    /// Makes the other end of a connection and puts it into the listener's queue.
    fn establish(&mut self, id: ShotId, socket: usize, listener: usize, to: SocketAddr) {
        let settings = self.network.socket(listener).settings;
        let serial = self.serial();
        let client = self.network.socket(socket).serial;
        let from = self.network.stream(socket).local.expect("chosen before");
        let mut accepted = Stream::new(settings.capacities());
        // A listener for both sees addresses of IPv4 as mapped ones (ipv6(7)).
        let both = self.network.listener(listener).address.is_ipv6();
        let seen = |address| if both { mapped(address) } else { address };
        accepted.connect(seen(to), seen(from), (socket, client));
        let other = self.network.add(Socket { serial, settings, kind: Kind::Stream(accepted) });
        self.network.stream(socket).connect(from, to, (other, serial));
        self.network.listener(listener).queue.push_back(other);
        self.complete(id, Outcome::Value(0));
        self.serve(listener);
    }

    /// Gives waiting connections to waiting accepts, and room in the queue to connects that wait for it.
    fn serve(&mut self, number: usize) {
        loop {
            let listener = self.network.listener(number);
            if !listener.queue.is_empty()
                && let Some(accept) = listener.accepts.pop_front()
            {
                let stream = listener.queue.pop_front().expect("not empty");
                self.accept(accept, stream);
            } else if listener.queue.len() <= listener.backlog
                && let Some(connect) = listener.knocking.pop_front()
            {
                let shot = self.shot(connect).expect("cancelling takes it out of the queue");
                let Work::Connect(to) = shot.work else { unreachable!("only connects knock") };
                let socket = shot.socket;
                self.establish(connect, socket, number, to);
            } else {
                return;
            }
        }
    }

    fn accept(&mut self, id: ShotId, stream: usize) {
        let peer = self.network.stream(stream).remote.expect("an accepted connection has a peer");
        let shot = self.shot(id).expect("cancelling takes it out of the queue");
        let Work::Accept(place) = &shot.work else { unreachable!("only accepts wait there") };
        place.write(Address::of(peer));
        self.complete(id, Outcome::Value(stream as u32));
    }

    /// Closes a socket; nothing of it is parked any more.
    pub(super) fn close(&mut self, number: usize) {
        let listener = match &mut self.network.socket_mut(number).kind {
            Kind::Listener(listener) => listener,
            Kind::Stream(_) => return self.close_stream(number),
            Kind::Datagram(_) => return self.close_datagram(number),
            Kind::File(file) => {
                self.disk.close(*file);
                self.network.remove(number);
                return self.wake_waiting_jobs();
            }
        };
        let address = listener.address;
        let (queue, knocking) = (std::mem::take(&mut listener.queue), std::mem::take(&mut listener.knocking));
        let others = self.network.listeners.get_mut(&address).expect("it listens there");
        others.retain(|&other| other != number);
        if others.is_empty() {
            self.network.listeners.remove(&address);
        }
        self.network.remove(number);
        // Nobody will accept these.
        for stream in queue {
            self.abort(stream);
        }
        for connect in knocking {
            self.complete(connect, Outcome::Refused(ErrorKind::ConnectionRefused));
        }
    }

    pub(super) fn local_address(&mut self, number: usize) -> Option<SocketAddr> {
        match &self.network.socket(number).kind {
            Kind::Listener(listener) => Some(listener.address),
            Kind::Stream(stream) => stream.local,
            Kind::Datagram(socket) => Some(socket.local()),
            Kind::File(_) => None,
        }
    }

    pub(super) fn set_options(
        &mut self,
        number: usize,
        options: &crate::TcpOptions,
    ) -> Result<(), ErrorKind> {
        let socket = self.network.socket_mut(number);
        if !socket.is_tcp() {
            return Err(ErrorKind::BadDescriptor);
        }
        let set = socket.settings.set(options);
        let capacities = socket.settings.capacities();
        if let Kind::Stream(stream) = &mut socket.kind {
            let peer = stream.set_capacities(capacities);
            self.flow(number);
            peer.into_iter().for_each(|peer| self.flow(peer));
        }
        set
    }

    pub(super) fn options(&self, number: usize) -> Result<options::Settings, ErrorKind> {
        let socket = self.network.socket(number);
        if socket.is_tcp() { Ok(socket.settings) } else { Err(ErrorKind::BadDescriptor) }
    }
}
