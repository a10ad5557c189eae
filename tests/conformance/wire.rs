//! What the rooms about bytes and sockets share: peers of std, and ways to see what the kernel has.

use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

use nbio::{ErrorKind, EventLoop, TcpStream};
use rustix::io::ioctl_fionread;
use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size, set_socket_send_buffer_size};

use crate::support::{Slot, own_address};

pub type Io = EventLoop<()>;

/// Ticks until something can be seen.
pub fn drive(io: &Io, mut seen: impl FnMut() -> bool) {
    while !seen() {
        io.tick(Some(Duration::from_millis(1))).unwrap();
    }
}

/// Ticks without waiting.
pub fn turn(io: &Io, ticks: usize) {
    for _ in 0..ticks {
        io.tick(Some(Duration::ZERO)).unwrap();
    }
}

/// A callback that keeps what it is given.
pub fn keep<T: 'static>(slot: &Slot<T>) -> impl FnOnce(&mut (), &Io, T) + use<T> {
    let slot = slot.clone();
    move |_, _, value| slot.put(value)
}

/// The kind of error that something ended with.
pub fn kind<T>(result: Result<T, nbio::Error>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// Bytes of which no two stretches are alike.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

/// A stream of the loop and its peer of std, both with the smallest buffers that the kernel gives.
pub fn narrow_pair(io: &Io) -> (TcpStream, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind(own_address()).unwrap();
    set_socket_recv_buffer_size(&listener, 4096).unwrap();
    let socket = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    set_socket_send_buffer_size(&socket, 4096).unwrap();
    let (peer, _) = listener.accept().unwrap();
    (io.adopt(socket).unwrap(), peer)
}

/// How many bytes a socket has that nobody has read.
pub fn unread(socket: &std::net::TcpStream) -> usize {
    ioctl_fionread(socket).unwrap() as usize
}

/// How many bytes a stream of the loop has that nobody has read.
pub fn unread_on(io: &Io, stream: TcpStream) -> usize {
    ioctl_fionread(io.duplicate(stream).unwrap()).unwrap() as usize
}

/// Closes a socket in such a way that its peer sees a reset.
pub fn reset(socket: std::net::TcpStream) {
    set_socket_linger(&socket, Some(Duration::ZERO)).unwrap();
}

/// Reads to the end in a thread.
pub fn read_all(mut socket: std::net::TcpStream) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

/// What a peer's thread ends with. The loop turns meanwhile: a closed socket's last reference may be one that the
/// kernel drops only when the loop enters it again (see `closed_when_run_returns` in `streams_races.rs`).
pub fn join<T>(io: &Io, thread: std::thread::JoinHandle<T>) -> T {
    drive(io, || thread.is_finished());
    thread.join().unwrap()
}

/// Whether the other side has closed (or reset) this connection, which never sent anything.
pub fn is_over(mut socket: &std::net::TcpStream) -> bool {
    socket.set_nonblocking(true).unwrap();
    let read = socket.read(&mut [0]);
    socket.set_nonblocking(false).unwrap();
    match read {
        Ok(bytes) => {
            assert_eq!(bytes, 0, "nobody sends here");
            true
        }
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

/// A listener that takes no connection any more: its queue is full, so a connect to it waits. It is full for as
/// long as what is returned lives.
pub fn full_listener() -> (SocketAddr, (std::net::TcpListener, Vec<std::net::TcpStream>)) {
    let listener = std::net::TcpListener::bind(own_address()).unwrap();
    // A second listen(2) shortens the queue.
    rustix::net::listen(&listener, 0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    loop {
        match std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
            Ok(socket) => waiting.push(socket),
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
                return (address, (listener, waiting));
            }
        }
    }
}
