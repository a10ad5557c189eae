//! The other side of a connection, as a blocking socket is one: std's own where the backend uses the system's
//! network, and where it has one of its own a stream on a second loop, which every call runs until it is done.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use nbio::{
    Accepted, Done, EventLoop, Half, Linger, ListenOptions, Operation, TcpListener, TcpOptions, TcpStream, op,
};
use rustix::io::ioctl_fionread;
use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size, set_socket_send_buffer_size};

use crate::support::{FullListener, Slot, Subject, own_address};
use crate::wire::{Io, drive, keep};

/// How far both sides go in one round of taking turns.
const TURN: Duration = Duration::from_millis(1);

/// A connection's other side. Dropping it closes it.
pub enum Peer {
    Socket(std::net::TcpStream),
    Stream(Stream),
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the peer at {:?}", self.local_addr())
    }
}

/// A stream on the second loop.
pub struct Stream {
    io: Rc<Io>,
    name: TcpStream,
}

impl Drop for Stream {
    fn drop(&mut self) {
        let closed = Slot::new();
        self.io.close_then(self.name, keep(&closed));
        // It fails only where a case is failing anyway.
        let _ = self.io.run_until(|| closed.len() > 0);
    }
}

/// Carries out one operation of the second loop.
fn finish<O: Operation<Output: 'static>>(io: &Io, operation: O) -> O::Output {
    let ended = Slot::new();
    io.submit(operation, keep(&ended));
    io.run_until(|| ended.len() > 0).unwrap();
    ended.one()
}

/// As a socket's call tells it.
fn moved<B>(done: &Done<B>) -> io::Result<usize> {
    done.result.map(|()| done.bytes).map_err(io::Error::from)
}

impl Stream {
    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let done = finish(&self.io, op::Recv::new(self.name, vec![0; buf.len()].into_boxed_slice()));
        buf[..done.bytes].copy_from_slice(done.data());
        moved(&done)
    }

    /// What can be read without waiting; `None` if nothing can.
    fn read_now(&self, buf: &mut [u8]) -> Option<io::Result<usize>> {
        let ended: Slot<Done<Box<[u8]>>> = Slot::new();
        let recv = self.io.recv(self.name, vec![0; buf.len()].into_boxed_slice(), keep(&ended));
        let end = self.io.now() + 5 * TURN;
        while ended.len() == 0 && self.io.now() < end {
            self.io.tick(Some(TURN)).unwrap();
        }
        // It loses nothing: what has come nevertheless is told.
        let cancelled = self.io.cancel(recv);
        self.io.run_until(|| ended.len() > 0).unwrap();
        let done = ended.one();
        buf[..done.bytes].copy_from_slice(done.data());
        let nothing = cancelled && done.result.is_err_and(|error| error.kind() == nbio::ErrorKind::Cancelled);
        (!nothing).then(|| moved(&done))
    }
}

impl Peer {
    /// A socket's name on the second loop.
    fn on(io: &Rc<Io>, name: TcpStream) -> Peer {
        Peer::Stream(Stream { io: io.clone(), name })
    }

    /// The socket of std, for cases that are about descriptors or need a thread. `skips.rs` has them.
    pub fn into_socket(self) -> std::net::TcpStream {
        match self {
            Peer::Socket(socket) => socket,
            Peer::Stream(_) => panic!("this case needs a real socket: it belongs into skips.rs"),
        }
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Peer::Socket(socket) => socket.local_addr(),
            Peer::Stream(stream) => Ok(stream.io.local_address(stream.name)?),
        }
    }

    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Peer::Socket(socket) => socket.peer_addr(),
            Peer::Stream(stream) => Ok(stream.io.peer_address(stream.name)?),
        }
    }

    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let stream = match self {
            Peer::Socket(socket) => return socket.shutdown(how),
            Peer::Stream(stream) => stream,
        };
        let half = match how {
            Shutdown::Read => Half::Read,
            Shutdown::Write => Half::Write,
            Shutdown::Both => Half::Both,
        };
        Ok(finish(&stream.io, op::Shutdown::new(stream.name, half))?)
    }

    /// A read that would wait longer fails: for cases that would otherwise hang instead of failing. On a loop the
    /// suite's own patience does that.
    pub fn set_read_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        match self {
            Peer::Socket(socket) => socket.set_read_timeout(limit),
            Peer::Stream(_) => Ok(()),
        }
    }

    /// Closes it in such a way that the other side sees a reset.
    pub fn reset(self) {
        match &self {
            Peer::Socket(socket) => set_socket_linger(socket, Some(Duration::ZERO)).unwrap(),
            Peer::Stream(stream) => {
                let options = TcpOptions::default().linger(Linger::Reset);
                stream.io.set_tcp_options(stream.name, options).unwrap();
            }
        }
    }

    /// A read that doesn't wait; `None` if there is nothing to tell.
    pub fn read_now(&self, buf: &mut [u8]) -> Option<io::Result<usize>> {
        let mut socket = match self {
            Peer::Socket(socket) => socket,
            Peer::Stream(stream) => return stream.read_now(buf),
        };
        socket.set_nonblocking(true).unwrap();
        let read = socket.read(buf);
        socket.set_nonblocking(false).unwrap();
        match read {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            read => Some(read),
        }
    }

    /// Whether the other side has closed (or reset) this connection, on which it never sent anything.
    pub fn is_over(&self) -> bool {
        match self.read_now(&mut [0]) {
            None => false,
            Some(Ok(bytes)) => {
                assert_eq!(bytes, 0, "nobody sends here");
                true
            }
            Some(Err(_)) => true,
        }
    }

    /// How many bytes have come here that nobody has read; a loop doesn't tell.
    pub fn unread(&self) -> Option<usize> {
        match self {
            Peer::Socket(socket) => Some(ioctl_fionread(socket).unwrap() as usize),
            Peer::Stream(_) => None,
        }
    }

    /// Turns the loop until this many bytes or more have come here that nobody has read.
    pub fn until_unread(&self, io: &Io, bytes: usize) {
        match self {
            Peer::Socket(_) => drive(io, || self.unread() >= Some(bytes)),
            Peer::Stream(stream) => settle(io, &stream.io),
        }
    }

    /// Turns the loop until its end of this connection has exactly this many bytes that nobody has received.
    pub fn until_unread_on(&self, io: &Io, name: TcpStream, bytes: usize) {
        match self {
            Peer::Socket(_) => {
                let socket = io.duplicate(name).unwrap();
                drive(io, || ioctl_fionread(&socket).unwrap() as usize == bytes);
            }
            Peer::Stream(stream) => settle(io, &stream.io),
        }
    }

    /// Reads to the end.
    pub fn read_all(self) -> Work {
        self.exchange(Vec::new(), false)
    }

    /// Does this in a thread; on a loop, the nearest that there is to it.
    pub fn in_a_thread(
        self,
        action: impl FnOnce(std::net::TcpStream) -> io::Result<Vec<u8>> + Send + 'static,
        otherwise: impl FnOnce(Peer) -> Work,
    ) -> Work {
        match self {
            Peer::Socket(socket) => Work::Threads(std::thread::spawn(move || action(socket))),
            Peer::Stream(_) => otherwise(self),
        }
    }

    /// Writes all of this and shuts sending down if `finish` says so, and meanwhile reads to the end.
    pub fn exchange(self, bytes: Vec<u8>, finish: bool) -> Work {
        match self {
            Peer::Socket(socket) => Work::Threads(exchange_in_threads(socket, bytes, finish)),
            Peer::Stream(stream) => Work::Callbacks(Exchange::start(stream, bytes, finish)),
        }
    }
}

/// There is no asking how much is on the way between two loops: all of it has arrived when both have waited for a
/// while.
fn settle(io: &Io, far: &Io) {
    let end = io.now() + 10 * TURN;
    while io.now() < end {
        io.tick(Some(TURN)).unwrap();
        far.tick(Some(TURN)).unwrap();
    }
}

impl Read for &Peer {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Peer::Socket(socket) => (&*socket).read(buf),
            Peer::Stream(stream) => stream.read(buf),
        }
    }
}

impl Write for &Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Peer::Socket(socket) => (&*socket).write(bytes),
            Peer::Stream(stream) => moved(&finish(&stream.io, op::Send::new(stream.name, bytes.to_vec()))),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Peer {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }
}

impl Write for Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

type Threads = std::thread::JoinHandle<io::Result<Vec<u8>>>;

/// What a peer does while the loop under test turns: in threads, or by callbacks of the second loop.
pub enum Work {
    Threads(Threads),
    Callbacks(Exchange),
}

fn exchange_in_threads(mut socket: std::net::TcpStream, bytes: Vec<u8>, finish: bool) -> Threads {
    let mut to = socket.try_clone().unwrap();
    let writer = move || {
        to.write_all(&bytes)?;
        if finish { to.shutdown(Shutdown::Write) } else { Ok(()) }
    };
    std::thread::spawn(move || {
        let writer = std::thread::spawn(writer);
        let mut all = Vec::new();
        let read = socket.read_to_end(&mut all);
        writer.join().expect("it doesn't panic")?;
        read.map(|_| all)
    })
}

/// An exchange on the second loop.
pub struct Exchange {
    stream: Stream,
    got: Rc<RefCell<Vec<u8>>>,
    read: Slot<Result<(), nbio::Error>>,
    written: Slot<Result<(), nbio::Error>>,
}

impl Exchange {
    fn start(stream: Stream, bytes: Vec<u8>, finish: bool) -> Exchange {
        let (got, read, written) = (Rc::default(), Slot::new(), Slot::new());
        let name = stream.name;
        let seen = written.clone();
        stream.io.send_all(name, bytes, move |_, io, done| {
            if finish && done.result.is_ok() {
                io.shutdown(name, Half::Write, keep(&seen));
            } else {
                seen.put(done.result);
            }
        });
        receive_to_the_end(&stream.io, name, vec![0; 64 * 1024], Rc::clone(&got), read.clone());
        Exchange { stream, got, read, written }
    }
}

fn receive_to_the_end(
    io: &Io,
    name: TcpStream,
    buf: Vec<u8>,
    got: Rc<RefCell<Vec<u8>>>,
    ended: Slot<Result<(), nbio::Error>>,
) {
    io.recv(name, buf, move |_, io, done| {
        got.borrow_mut().extend_from_slice(done.data());
        match done.result {
            Ok(()) if done.bytes > 0 => receive_to_the_end(io, name, done.buf, got, ended),
            result => ended.put(result),
        }
    });
}

impl Work {
    /// Whether it has come to its end; on a loop, goes on with it.
    pub fn is_finished(&self) -> bool {
        match self {
            Work::Threads(thread) => thread.is_finished(),
            Work::Callbacks(exchange) => {
                exchange.stream.io.tick(Some(Duration::ZERO)).unwrap();
                let ended = exchange.read.len() > 0 && exchange.written.len() > 0;
                if ended {
                    // As at the end of a thread.
                    exchange.stream.io.close(exchange.stream.name);
                    exchange.stream.io.tick(Some(Duration::ZERO)).unwrap();
                }
                ended
            }
        }
    }

    /// Turns the loop until something can be seen, with this going on meanwhile.
    pub fn drive(&self, io: &Io, mut seen: impl FnMut() -> bool) {
        drive(io, || {
            self.is_finished();
            seen()
        });
    }

    /// As the loop's `run`, with this going on meanwhile.
    pub fn run(&self, io: &Io) {
        match self {
            Work::Threads(_) => io.run().unwrap(),
            Work::Callbacks(_) => self.drive(io, || io.in_flight() == 0),
        }
    }

    /// What was read, when it has come to its end. The loop turns meanwhile: a closed socket's last reference may be
    /// one that the kernel drops only when the loop enters it again (see `closed_when_run_returns` in
    /// `streams_races.rs`).
    pub fn join(self, io: &Io) -> Vec<u8> {
        self.try_join(io).unwrap()
    }

    /// As above, for an end that may be an error.
    pub fn try_join(self, io: &Io) -> io::Result<Vec<u8>> {
        drive(io, || self.is_finished());
        self.end()
    }

    /// What was read, when it has come to its end; the loop under test stands still.
    pub fn finish(self) -> Vec<u8> {
        self.end().unwrap()
    }

    fn end(self) -> io::Result<Vec<u8>> {
        match self {
            Work::Threads(thread) => thread.join().expect("it doesn't panic"),
            Work::Callbacks(exchange) => {
                let ended = || exchange.read.len() > 0 && exchange.written.len() > 0;
                exchange.stream.io.run_until(ended).unwrap();
                exchange.written.one()?;
                exchange.read.one()?;
                Ok(exchange.got.take())
            }
        }
    }
}

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
