//! Bare mio loop, edge triggered.
//!
//! Both interests are registered once: writability then costs no call to
//! change it, and no wake-up either as long as writes do not block.

use std::io::ErrorKind;

use anyhow::Context;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use super::edge::{Connection, Outcome};

const LISTENER: Token = Token(usize::MAX);

pub fn run() -> anyhow::Result<()> {
    let mut poll = Poll::new().context("epoll")?;
    let mut events = Events::with_capacity(1024);
    let mut listener = TcpListener::from_std(super::listen()?);
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)
        .context("registering the listener")?;
    let mut connections = Slab::<Connection<TcpStream>>::with_capacity(1024);
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

fn accept_all(
    poll: &Poll,
    listener: &TcpListener,
    connections: &mut Slab<Connection<TcpStream>>,
) -> anyhow::Result<()> {
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
        slot.insert(Connection::new(stream));
    }
}
