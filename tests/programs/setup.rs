//! What a program has around it: connections at its start, and the count of what is left in them at its end.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use nbio::{
    Builder, ErrorKind, EventLoop, Half, OpId, Operation, OwnedDescriptor, Simulation, TcpOptions, op,
};

use super::address::own_address;
use super::content::{self, LONGEST, Moved, Sent};
use super::descriptors::stream_of;
use super::step::{Pair, Program};
use super::world::{Io, Peer, ThreadPeer, World};

/// Where programs run.
#[derive(Clone, Debug)]
#[allow(dead_code, reason = "each test binary uses what it needs")]
pub enum Ground {
    /// On a backend of the system.
    System(Builder),
    /// Each in a simulation of its own, drawn from its seed.
    Simulation,
}

/// What programs share.
pub struct Bench {
    ground: Ground,
    listener: TcpListener,
    /// Another loop, whose names mean nothing on the one under test.
    _other: EventLoop<u64>,
    pub foreign: (nbio::TcpStream, OpId),
}

impl Bench {
    pub fn new(ground: &Ground) -> Bench {
        let listener = TcpListener::bind(own_address()).expect("a free port");
        let builder = match ground {
            Ground::System(builder) => builder.clone(),
            Ground::Simulation => Builder::new().simulation(&Simulation::new(0)),
        };
        let other: EventLoop<u64> = builder.build().expect("the backend under test works here");
        let stream = self_connected(&other)[0];
        let operation = other.recv(stream, [0; 8], |_, _, _| ());
        Bench { ground: ground.clone(), listener, _other: other, foreign: (stream, operation) }
    }

    /// A loop for a program, and its simulation.
    pub fn io(&self, program: &Program, seed: u64) -> (Io, Option<Simulation>) {
        let (mut builder, simulation) = match &self.ground {
            Ground::System(builder) => (builder.clone(), None),
            Ground::Simulation => {
                let simulation = Simulation::new(seed);
                (Builder::new().simulation(&simulation), Some(simulation))
            }
        };
        if let Some(budget) = program.budget {
            builder = builder.completion_budget(budget).timer_budget(budget);
        }
        (builder.build().expect("the backend under test works here"), simulation)
    }

    fn simulates(&self) -> bool {
        matches!(self.ground, Ground::Simulation)
    }
}

/// Both ends of a connection of a loop with itself.
fn self_connected(io: &Io) -> [nbio::TcpStream; 2] {
    let listener = io.listen_tcp(own_address()).expect("a free port");
    let ends = Rc::new(RefCell::new(Vec::new()));
    let (accepted, connected) = (ends.clone(), ends.clone());
    io.accept(listener, move |_, _, end| accepted.borrow_mut().push(end.expect("a connection").stream));
    io.connect(io.local_address(listener).expect("bound"), move |_, _, end| {
        connected.borrow_mut().push(end.expect("somebody listens"));
    });
    io.run_with(&mut 0).expect("nothing is wrong with waiting");
    io.close(listener);
    let ends = ends.borrow();
    [ends[0], ends[1]]
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
        if bench.simulates() {
            self_connected(io).into_iter().for_each(|name| {
                add(world, io, name, pair);
            });
            continue;
        }
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
    add(world, io, name, pair)
}

fn add(world: &Rc<World>, io: &Io, name: nbio::TcpStream, pair: Pair) -> usize {
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
    let names = [first, second].map(|end| world.inner.borrow().ends[end].name);
    let rests = match names.map(|name| io.release(name)) {
        [Ok(first), Ok(second)] => rests_of_sockets([first, second]),
        // The simulation releases nothing.
        _ => names.map(|name| rest_of(io, name)),
    };
    let mut inner = world.inner.borrow_mut();
    let inner = &mut *inner;
    [first, second].iter().for_each(|&end| inner.ends[end].closed = true);
    for ((rest, read), (to, from)) in rests.into_iter().zip([(first, second), (second, first)]) {
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

/// What is left in two sockets, and how reading it ended.
fn rests_of_sockets(ends: [OwnedDescriptor; 2]) -> [(Vec<u8>, Result<(), String>); 2] {
    let sockets = ends.map(|descriptor| {
        let socket = stream_of(descriptor);
        socket.set_nonblocking(false).expect("fcntl on a socket");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("not zero");
        // It may have been done before, and then fails if the peer has done so, too.
        socket.shutdown(std::net::Shutdown::Write).ok();
        socket
    });
    // Both stay open until both are read.
    [&sockets[0], &sockets[1]].map(|mut socket| {
        let mut rest = Vec::with_capacity(LONGEST);
        let read = socket.read_to_end(&mut rest).map(drop).map_err(|error| error.to_string());
        (rest, read)
    })
}

/// The same by the loop itself: all that comes within a second of its clock.
fn rest_of(io: &Io, name: nbio::TcpStream) -> (Vec<u8>, Result<(), String>) {
    // It fails where it was done before, or where a removed send is in the way; then nothing ends the stream.
    io.shutdown(name, Half::Write, |_, _, _| ());
    let mut rest = Vec::new();
    loop {
        let done = Rc::new(RefCell::new(None));
        let keep = done.clone();
        let recv = op::Recv::new(name, vec![0; 4096]).timeout(Duration::from_secs(1));
        io.submit(recv, move |_, _, ended| *keep.borrow_mut() = Some(ended));
        io.run_with(&mut 0).expect("nothing is wrong with waiting");
        let done = done.take().expect("run returns when all have ended");
        rest.extend_from_slice(done.data());
        match done.result {
            Ok(()) if done.bytes > 0 => {}
            Ok(()) => return (rest, Ok(())),
            Err(error) if error.kind() == ErrorKind::TimedOut => return (rest, Ok(())),
            Err(error) => return (rest, Err(error.to_string())),
        }
    }
}
