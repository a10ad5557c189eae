//! The other side of a connection, as a blocking socket is one: std's own where the backend uses the system's
//! network, and where it has one of its own a stream on a second loop, which every call runs until it is done.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use nbio::{Done, Half, Linger, Operation, TcpOptions, TcpStream, op};
use rustix::io::ioctl_fionread;
use rustix::net::sockopt::set_socket_linger;

use crate::support::Slot;
use crate::system;
use crate::wire::{Io, drive, keep};
use crate::work::{Exchange, Work, exchange_in_threads};

/// How far both sides go in one round of taking turns.
pub const TURN: Duration = Duration::from_millis(1);

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
    pub io: Rc<Io>,
    pub name: TcpStream,
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
pub fn finish<O: Operation<Output: 'static>>(io: &Io, operation: O) -> O::Output {
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
    pub fn on(io: &Rc<Io>, name: TcpStream) -> Peer {
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
                let socket = system::into_std::<std::net::TcpStream>(io.duplicate(name).unwrap());
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
