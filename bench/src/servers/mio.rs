//! Bare mio loop, edge triggered.
//!
//! Both interests are registered once: writability then costs no call to
//! change it, and no wake-up either as long as writes do not block.

use std::io::{ErrorKind, Read, Write};
use std::ops::Range;

use anyhow::Context;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use super::BUFFER;

const LISTENER: Token = Token(usize::MAX);

struct Connection {
    stream: TcpStream,
    buffer: Box<[u8; BUFFER]>,
    /// What was received and not sent yet.
    unsent: Range<usize>,
}

/// Whether a connection goes on.
enum Outcome {
    Open,
    Over,
    /// Nothing goes on: the server is to end.
    End,
}

impl Connection {
    /// Echoes until there is nothing more to receive or no room to send.
    fn progress(&mut self, peer_closed: bool) -> Outcome {
        // A receive that did not fill the buffer has emptied the socket: data
        // that comes later is a new edge, so there is no need to ask again.
        // That holds within one call only, as the edge may come while a send
        // is blocked; and an end of stream may come with the data's own edge.
        let mut drained = false;
        loop {
            while !self.unsent.is_empty() {
                match self.stream.write(&self.buffer[self.unsent.clone()]) {
                    Ok(count) if super::echoed(count) => return Outcome::End,
                    Ok(count) => self.unsent.start += count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Outcome::Open,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => return Outcome::Over,
                }
            }
            if drained && !peer_closed {
                return Outcome::Open;
            }
            match self.stream.read(&mut self.buffer[..]) {
                Ok(0) => return Outcome::Over,
                Ok(count) => {
                    self.unsent = 0..count;
                    drained = count < BUFFER;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Outcome::Open,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Outcome::Over,
            }
        }
    }
}

pub fn run() -> anyhow::Result<()> {
    let mut poll = Poll::new().context("epoll")?;
    let mut events = Events::with_capacity(1024);
    let mut listener = TcpListener::from_std(super::listen()?);
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)
        .context("registering the listener")?;
    let mut connections = Slab::<Connection>::with_capacity(1024);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &events {
            if event.token() == LISTENER {
                accept_all(&poll, &listener, &mut connections)?;
                continue;
            }
            let key = event.token().0;
            match connections[key].progress(event.is_read_closed()) {
                Outcome::Open => {}
                Outcome::Over => drop(connections.remove(key)),
                Outcome::End => return Ok(()),
            }
        }
    }
}

fn accept_all(poll: &Poll, listener: &TcpListener, connections: &mut Slab<Connection>) -> anyhow::Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error).context("accept"),
        };
        let slot = connections.vacant_entry();
        poll.registry()
            .register(&mut stream, Token(slot.key()), Interest::READABLE | Interest::WRITABLE)
            .context("registering a connection")?;
        slot.insert(Connection { stream, buffer: Box::new([0; BUFFER]), unsent: 0..0 });
    }
}
