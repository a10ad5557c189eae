//! Connections from and to the loop under test, and listeners that are not its own.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use nbio::{Accepted, EventLoop, ListenOptions, Operation, TcpListener, TcpOptions, TcpStream, op};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};

use crate::peer::{Peer, TURN, finish};
use crate::support::{FullListener, Slot, Subject, own_address};
use crate::wire::{Io, keep};

/// A listener that the loop under test connects to.
pub enum PeerListener {
    Socket(std::net::TcpListener),
    Listener(Rc<Io>, TcpListener),
}

impl PeerListener {
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            PeerListener::Socket(socket) => socket.local_addr(),
            PeerListener::Listener(io, name) => Ok(io.local_address(*name)?),
        }
    }

    /// The listener of std; see `Peer::into_socket`.
    pub fn into_socket(self) -> std::net::TcpListener {
        match &self {
            PeerListener::Socket(socket) => socket.try_clone().unwrap(),
            PeerListener::Listener(..) => panic!("this case needs a real socket: it belongs into skips.rs"),
        }
    }

    /// Waits for a connection: its other side, and where that is.
    pub fn accept(&self) -> io::Result<(Peer, SocketAddr)> {
        match self {
            PeerListener::Socket(socket) => {
                socket.accept().map(|(socket, from)| (Peer::Socket(socket), from))
            }
            PeerListener::Listener(io, name) => {
                let Accepted { stream, peer, .. } = finish(io, op::Accept::new(*name))?;
                Ok((Peer::on(io, stream), peer))
            }
        }
    }

    /// A connection that is there already.
    pub fn accept_now(&self) -> Option<(Peer, SocketAddr)> {
        match self {
            PeerListener::Socket(socket) => {
                socket.set_nonblocking(true).unwrap();
                let accepted = socket.accept();
                socket.set_nonblocking(false).unwrap();
                accepted.ok().map(|(socket, from)| (Peer::Socket(socket), from))
            }
            PeerListener::Listener(io, name) => {
                let accept = op::Accept::new(*name).timeout(5 * TURN);
                let Accepted { stream, peer, .. } = finish(io, accept).ok()?;
                Some((Peer::on(io, stream), peer))
            }
        }
    }
}

impl Drop for PeerListener {
    fn drop(&mut self) {
        if let PeerListener::Listener(io, name) = self {
            let closed = Slot::new();
            io.close_then(*name, keep(&closed));
            let _ = io.run_until(|| closed.len() > 0);
        }
    }
}

/// Connections from and to the loop under test.
impl Subject {
    /// A listener that is not the loop's, on an address of its own.
    pub fn peer_listener(&self) -> PeerListener {
        self.peer_listener_with(own_address(), ListenOptions::default()).unwrap()
    }

    /// As above; of the options only the backlog and the size of the receive buffer count.
    pub fn peer_listener_with(
        &self,
        address: impl Into<SocketAddr>,
        options: ListenOptions,
    ) -> io::Result<PeerListener> {
        if let Some(far) = self.far() {
            let listener = far.listen_tcp_with(address, options)?;
            return Ok(PeerListener::Listener(far, listener));
        }
        let socket = std::net::TcpListener::bind(address.into())?;
        if let Some(bytes) = options.tcp.recv_buffer {
            set_socket_recv_buffer_size(&socket, bytes)?;
        }
        if options.backlog != ListenOptions::default().backlog {
            // A second listen(2) changes the queue's length.
            rustix::net::listen(&socket, options.backlog as i32)?;
        }
        Ok(PeerListener::Socket(socket))
    }

    /// Connects to somebody's listener.
    pub fn connect(&self, address: SocketAddr) -> io::Result<Peer> {
        match self.far() {
            Some(far) => Ok(Peer::on(&far, finish(&far, op::Connect::new(address))?)),
            None => std::net::TcpStream::connect(address).map(Peer::Socket),
        }
    }

    /// As above, for no longer than this.
    pub fn connect_timeout(&self, address: SocketAddr, limit: Duration) -> io::Result<Peer> {
        match self.far() {
            Some(far) => Ok(Peer::on(&far, finish(&far, op::Connect::new(address).timeout(limit))?)),
            None => std::net::TcpStream::connect_timeout(&address, limit).map(Peer::Socket),
        }
    }

    /// A stream of the loop, and its peer. Where the peers are on a second loop this one turns, too, until they are
    /// connected.
    pub fn pair(&self, io: &Io) -> (TcpStream, Peer) {
        self.pair_with(io, &mut ())
    }

    pub fn pair_with<S>(&self, io: &EventLoop<S>, state: &mut S) -> (TcpStream, Peer) {
        let system = TcpOptions::default();
        self.pair_of(io, state, system, system)
    }

    /// As `pair`, both with the smallest buffers that there are.
    pub fn narrow_pair(&self, io: &Io) -> (TcpStream, Peer) {
        let (narrow_in, narrow_out) = (TcpOptions::default().recv_buffer(4096), TcpOptions::default());
        self.pair_of(io, &mut (), narrow_out.send_buffer(4096), narrow_in)
    }

    /// With options for the loop's stream and for the peer's listener.
    fn pair_of<S>(
        &self,
        io: &EventLoop<S>,
        state: &mut S,
        options: TcpOptions,
        listening: TcpOptions,
    ) -> (TcpStream, Peer) {
        let listener =
            self.peer_listener_with(own_address(), ListenOptions::default().tcp(listening)).unwrap();
        let address = listener.local_addr().unwrap();
        if let PeerListener::Listener(far, name) = &listener {
            let (mine, theirs) = (Slot::new(), Slot::new());
            far.accept(*name, keep(&theirs));
            let seen = mine.clone();
            io.submit(op::Connect::new(address).options(options), move |_, _, end| seen.put(end));
            while mine.len() == 0 || theirs.len() == 0 {
                io.tick_with(state, Some(TURN)).unwrap();
                far.tick(Some(TURN)).unwrap();
            }
            let accepted: Result<Accepted, nbio::Error> = theirs.one();
            let connected: Result<TcpStream, nbio::Error> = mine.one();
            return (connected.unwrap(), Peer::on(far, accepted.unwrap().stream));
        }
        let socket = std::net::TcpStream::connect(address).unwrap();
        if let Some(bytes) = options.send_buffer {
            set_socket_send_buffer_size(&socket, bytes).unwrap();
        }
        let (peer, _) = listener.accept().unwrap();
        (io.adopt(socket).unwrap(), peer)
    }

    /// Two ends of a connection, both of the loop, which may turn as in `pair`.
    pub fn both_ends(&self, io: &Io) -> (TcpStream, TcpStream) {
        self.both_ends_with(io, &mut ())
    }

    pub fn both_ends_with<S>(&self, io: &EventLoop<S>, state: &mut S) -> (TcpStream, TcpStream) {
        if self.far().is_none() {
            let (stream, peer) = self.pair_with(io, state);
            return (stream, io.adopt(peer.into_socket()).unwrap());
        }
        let listener = io.listen_tcp(own_address()).unwrap();
        let (first, second) = (Slot::new(), Slot::new());
        let (accepted, connected) = (first.clone(), second.clone());
        io.accept(listener, move |_, _, end| accepted.put(end));
        io.connect(io.local_address(listener).unwrap(), move |_, _, end| connected.put(end));
        while first.len() == 0 || second.len() == 0 {
            io.tick_with(state, Some(TURN)).unwrap();
        }
        let accepted: Result<Accepted, nbio::Error> = first.one();
        let connected: Result<TcpStream, nbio::Error> = second.one();
        let closed = Rc::new(Cell::new(false));
        let seen = closed.clone();
        io.close_then(listener, move |_, _, _| seen.set(true));
        while !closed.get() {
            io.tick_with(state, Some(TURN)).unwrap();
        }
        (accepted.unwrap().stream, connected.unwrap())
    }

    /// A listener that takes no connection any more: its queue is full, so a connect to it waits. It is full for as
    /// long as what is returned lives.
    pub fn full_listener(&self) -> FullListener {
        let listener = self.peer_listener_with(own_address(), ListenOptions::default().backlog(0)).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        loop {
            match self.connect_timeout(address, Duration::from_millis(100)) {
                Ok(socket) => waiting.push(socket),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                    return (address, (listener, waiting));
                }
            }
        }
    }
}
