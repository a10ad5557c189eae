//! What a peer does while the loop under test turns.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use nbio::{Half, TcpStream};

use crate::peer::Stream;
use crate::support::Slot;
use crate::wire::{Io, drive, keep};

type Threads = std::thread::JoinHandle<io::Result<Vec<u8>>>;

/// What a peer does while the loop under test turns: in threads, or by callbacks of the second loop.
pub enum Work {
    Threads(Threads),
    Callbacks(Exchange),
}

pub fn exchange_in_threads(mut socket: std::net::TcpStream, bytes: Vec<u8>, finish: bool) -> Threads {
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
    pub fn start(stream: Stream, bytes: Vec<u8>, finish: bool) -> Exchange {
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
