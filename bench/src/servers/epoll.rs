//! Bare epoll, edge triggered: what mio's program is without mio.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use slab::Slab;

use super::edge::{Connection, Outcome};

const LISTENER: u64 = u64::MAX;

pub fn run() -> anyhow::Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("epoll")?;
    let mut events = [EpollEvent::empty(); 1024];
    let listener = super::listen()?;
    let wanted = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
    epoll.add(&listener, EpollEvent::new(wanted, LISTENER)).context("registering the listener")?;
    let mut connections = Slab::<Connection<TcpStream>>::with_capacity(1024);
    loop {
        let count = match epoll.wait(&mut events, EpollTimeout::NONE) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(error) => return Err(error).context("epoll_wait"),
        };
        for event in &events[..count] {
            if event.data() == LISTENER {
                accept_all(&epoll, &listener, &mut connections)?;
                continue;
            }
            let key = event.data() as usize;
            let closed = event.events().intersects(EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP);
            match connections[key].progress(closed) {
                Outcome::Open => {}
                Outcome::Over => drop(connections.remove(key)),
                Outcome::End => return Ok(()),
            }
        }
    }
}

fn accept_all(
    epoll: &Epoll,
    listener: &TcpListener,
    connections: &mut Slab<Connection<TcpStream>>,
) -> anyhow::Result<()> {
    let wanted = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error).context("accept"),
        };
        stream.set_nonblocking(true).context("O_NONBLOCK")?;
        let slot = connections.vacant_entry();
        epoll.add(&stream, EpollEvent::new(wanted, slot.key() as u64)).context("registering a connection")?;
        slot.insert(Connection::new(stream));
    }
}
