//! What a program has around it: connections at its start, and the count of what is left in them at its end.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use nbio::{Builder, EventLoop, OpId, TcpOptions};

use super::address::own_address;
use super::content::{self, LONGEST, Moved, Sent};
use super::step::{Pair, Program};
use super::world::{Io, Peer, ThreadPeer, World};

/// What programs share.
pub struct Bench {
    builder: Builder,
    listener: TcpListener,
    /// Another loop, whose names mean nothing on the one under test.
    _other: EventLoop<u64>,
    _other_peer: TcpStream,
    pub foreign: (nbio::TcpStream, OpId),
}

impl Bench {
    pub fn new(builder: &Builder) -> Bench {
        let listener = TcpListener::bind(own_address()).expect("a free port");
        let other = builder.clone().build().expect("the backend under test works here");
        let (socket, peer) = connected(&listener);
        let stream = other.adopt(socket).expect("a connected socket");
        let operation = other.recv(stream, [0; 8], |_, _, _| ());
        let foreign = (stream, operation);
        Bench { builder: builder.clone(), listener, _other: other, _other_peer: peer, foreign }
    }

    pub fn io(&self, program: &Program) -> Io {
        let mut builder = self.builder.clone();
        if let Some(budget) = program.budget {
            builder = builder.completion_budget(budget).timer_budget(budget);
        }
        builder.build().expect("the backend under test works here")
    }
}

fn connected(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let peer = TcpStream::connect(listener.local_addr().expect("bound")).expect("somebody listens");
    (listener.accept().expect("somebody connected").0, peer)
}

/// The connections and the listener that a program starts with.
pub fn pairs(bench: &Bench, world: &Rc<World>, io: &Io, program: &Program) {
    let listener = io.listen_tcp(own_address()).expect("a free port");
    let address = io.local_address(listener).expect("bound");
    world.inner.borrow_mut().listener = Some((listener, address));
    for (number, &pair) in program.pairs.iter().enumerate() {
        let (first, second) = connected(&bench.listener);
        let first = adopt(world, io, first, pair);
        match pair.thread {
            Some(length) => {
                let peer = Peer::Thread(Box::new(thread_peer(second, usize::MAX - number, length)));
                world.inner.borrow_mut().ends[first].peer = peer;
            }
            None => {
                adopt(world, io, second, pair);
            }
        }
    }
}

fn adopt(world: &Rc<World>, io: &Io, socket: TcpStream, pair: Pair) -> usize {
    socket.set_nonblocking(pair.nonblocking).expect("fcntl on a socket");
    let name = io.adopt(socket).expect("a connected socket");
    if pair.narrow {
        let narrow = TcpOptions::default().recv_buffer(4096).send_buffer(4096);
        io.set_tcp_options(name, narrow).expect("an open socket");
    }
    let end = world.add_end(io, name);
    world.inner.borrow_mut().ends[end].narrow = pair.narrow;
    end
}

fn thread_peer(socket: TcpStream, number: usize, length: usize) -> ThreadPeer {
    let sends = Sent { number, length, moved: Moved::Known(length) };
    let mut to = socket.try_clone().expect("a descriptor is left");
    let writer = std::thread::spawn(move || {
        // In pieces, to be in between of what the loop does. It ends early if the loop's end is closed.
        let written = content::of(number, length).chunks(3_000).try_for_each(|piece| to.write_all(piece));
        if written.is_ok() {
            to.shutdown(std::net::Shutdown::Write).ok();
        }
    });
    let mut from = socket;
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        // A reset ends it; what came before is kept.
        from.read_to_end(&mut all).ok();
        all
    });
    ThreadPeer { sends, writer, reader }
}

/// After the loop has let go of its ends: what the threads saw must fit what the loop did.
pub fn join_threads(world: &World) {
    let peers: Vec<_> = {
        let mut inner = world.inner.borrow_mut();
        inner.ends.iter_mut().map(|end| std::mem::replace(&mut end.peer, Peer::Unknown)).collect()
    };
    for (index, peer) in peers.into_iter().enumerate() {
        let Peer::Thread(peer) = peer else {
            world.inner.borrow_mut().ends[index].peer = peer;
            continue;
        };
        peer.writer.join().expect("the writer doesn't panic");
        let read = peer.reader.join().expect("the reader doesn't panic");
        let (came, went) = {
            let end = &world.inner.borrow().ends[index];
            let came = content::explains(&end.received, &[peer.sends], false);
            (came, content::explains(&read, &end.sends, false))
        };
        world.check(came, || format!("end {index} received what its thread didn't send"));
        world.check(went, || format!("the thread at end {index} read what the loop didn't send"));
    }
}

/// Nothing is in flight any more: reads what is left in the sockets. Not a byte may be missing.
pub fn count_rest(world: &Rc<World>, io: &Io) {
    let ends = world.inner.borrow().ends.len();
    for first in 0..ends {
        let second = match world.inner.borrow().ends[first].peer {
            Peer::End(second) if first < second => second,
            _ => continue,
        };
        let countable = {
            let inner = world.inner.borrow();
            [first, second].map(|end| &inner.ends[end]).iter().all(|end| !end.closed && !end.narrow)
        };
        if countable {
            count_pair(world, io, first, second);
        }
    }
}

fn count_pair(world: &Rc<World>, io: &Io, first: usize, second: usize) {
    let sockets = [first, second].map(|end| {
        let name = world.inner.borrow().ends[end].name;
        let descriptor = io.release(name).expect("nothing waits there after a drain");
        world.inner.borrow_mut().ends[end].closed = true;
        let socket = TcpStream::from(descriptor);
        socket.set_nonblocking(false).expect("fcntl on a socket");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("not zero");
        // It may have been done before, and then fails if the peer has done so, too.
        socket.shutdown(std::net::Shutdown::Write).ok();
        socket
    });
    for (mut socket, (to, from)) in sockets.iter().zip([(first, second), (second, first)]) {
        let mut rest = Vec::with_capacity(LONGEST);
        let read = socket.read_to_end(&mut rest);
        let mut inner = world.inner.borrow_mut();
        let inner = &mut *inner;
        let (end, peer) = (&inner.ends[to], &inner.ends[from]);
        // A removed receive may have taken bytes along. A receiving half that was shut down isn't owed any, and answers
        // what still comes with a reset, which takes the other direction along.
        if end.removed[0] || end.shut[0] || peer.shut[0] {
            continue;
        }
        let all = [&end.received[..], &rest].concat();
        let right = read.is_ok() && content::explains(&all, &peer.sends, true);
        let what = format!(
            "{} + {} bytes at end {to}, {read:?}, of {:?}",
            end.received.len(),
            rest.len(),
            peer.sends
        );
        inner.failure = inner.failure.take().or((!right).then_some(what));
    }
}
