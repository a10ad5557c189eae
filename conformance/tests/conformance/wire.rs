//! What the rooms about bytes and sockets share.

use std::time::Duration;

use nbio::{Error, ErrorKind, Event, EventLoop, ManyOperation, OpId, TcpStream};

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

/// What an operation of many items has brought.
pub struct Brought<T> {
    pub items: Slot<T>,
    pub ends: Slot<Result<(), Error>>,
}

impl<T> Clone for Brought<T> {
    fn clone(&self) -> Brought<T> {
        Brought { items: self.items.clone(), ends: self.ends.clone() }
    }
}

impl<T: 'static> Brought<T> {
    pub fn new() -> Brought<T> {
        Brought { items: Slot::new(), ends: Slot::new() }
    }

    pub fn submit(&self, io: &Io, operation: impl ManyOperation<Item = T>) -> OpId {
        let brought = self.clone();
        io.submit_many(operation, move |_, _, event| brought.take(event))
    }

    pub fn take(&self, event: Event<T>) {
        assert_eq!(self.ends.len(), 0, "nothing follows the end");
        match event {
            Event::Item(item) => self.items.put(item),
            Event::End(result) => self.ends.put(result),
        }
    }
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

/// What a thread ends with. The loop turns meanwhile, as in `Work::join`.
pub fn join<T>(io: &Io, thread: std::thread::JoinHandle<T>) -> T {
    drive(io, || thread.is_finished());
    thread.join().unwrap()
}

/// A stream of the loop and a socket of std, for cases that need one: they are in `skips.rs`. Others use
/// `Subject::pair`.
pub fn socket_pair<S>(io: &EventLoop<S>) -> (TcpStream, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind(own_address()).unwrap();
    let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, _) = listener.accept().unwrap();
    (io.adopt(socket).unwrap(), peer)
}
