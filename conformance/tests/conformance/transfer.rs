//! Large amounts: nothing is lost or altered, however much goes through.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use nbio::{Done, EventLoop, TcpListener, TcpStream, op};

use crate::peer::Peer;
use crate::support::{Case, Slot, Subject, listen, long};
use crate::system::{Resource, Rlimit, getrlimit, setrlimit};
use crate::wire::{Io, drive, join, keep, noise, socket_pair};
use crate::work::Work;

pub const CASES: &[Case] = &[
    Case { name: "64_mib_echoed", run: echo_to_std },
    Case { name: "many_connections_echo_at_once", run: many_connections },
    Case { name: "send_all_of_more_than_one_shot_takes", run: more_than_one_shot },
    Case { name: "send_vectored_of_more_than_one_shot_takes", run: more_than_one_shot_vectored },
    Case { name: "exact_of_64_mib", run: large_exact },
];

const MIB: usize = 1 << 20;

/// What goes through: a stretch of noise over and over, of a length that no buffer size divides.
struct Pattern(Vec<u8>);

impl Pattern {
    fn new(seed: u64) -> Pattern {
        Pattern(noise(1_000_003, seed))
    }

    /// Some of the bytes from `position` on, at most `length`.
    fn at(&self, position: usize, length: usize) -> &[u8] {
        let begin = position % self.0.len();
        &self.0[begin..self.0.len().min(begin + length)]
    }

    /// The first so many bytes.
    fn long(&self, length: usize) -> Vec<u8> {
        self.0.iter().copied().cycle().take(length).collect()
    }

    /// Whether `bytes` are those at `position`.
    fn is_at(&self, mut position: usize, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let expected = self.at(position, bytes.len());
            let (part, rest) = bytes.split_at(expected.len());
            if part != expected {
                return false;
            }
            position += part.len();
            bytes = rest;
        }
        true
    }
}

/// Sends back all that comes, until the end.
fn echo(io: &EventLoop<()>, stream: TcpStream, done: Done<Vec<u8>>) {
    done.result.unwrap();
    if done.bytes == 0 {
        return io.close(stream);
    }
    io.send_all(stream, done.buf, move |_, io, sent| {
        sent.result.unwrap();
        io.recv(stream, sent.buf, move |_, io, done| echo(io, stream, done));
    });
}

/// Guarantee 7 and 8 in bulk: a client of std gets back what it sent.
fn echo_to_std(subject: &Subject) {
    // A simulation copies byte by byte what it would be no news to see copied.
    let most = if subject.simulated() { 2 * MIB } else { 64 * MIB };
    let total = if long() { 16 * most } else { most };
    let io: Io = subject.io();
    let (stream, peer) = subject.pair(&io);
    io.recv(stream, Vec::with_capacity(256 * 1024), move |_, io, done| echo(io, stream, done));
    let work = peer.in_a_thread(
        move |peer| {
            let to = peer.try_clone()?;
            let writer = std::thread::spawn(move || write_pattern(to, &Pattern::new(1), total));
            check_all(peer, &Pattern::new(1), total);
            writer.join().expect("it doesn't panic")?;
            Ok(Vec::new())
        },
        |peer| peer.exchange(Pattern::new(1).long(total), true),
    );
    work.run(&io);
    check_work(&io, work, &Pattern::new(1), total);
}

/// Writes so many bytes of the pattern, and ends.
fn write_pattern(mut to: std::net::TcpStream, pattern: &Pattern, total: usize) -> std::io::Result<()> {
    let mut sent = 0;
    while sent < total {
        let piece = pattern.at(sent, (total - sent).min(100_000));
        to.write_all(piece)?;
        sent += piece.len();
    }
    to.shutdown(std::net::Shutdown::Write)
}

/// What was read on a second loop; threads have checked it themselves.
fn check_work(io: &Io, work: Work, pattern: &Pattern, total: usize) {
    let in_threads = matches!(work, Work::Threads(_));
    let got = work.join(io);
    assert!(in_threads || got.len() == total && pattern.is_at(0, &got));
}

/// Reads to the end: exactly `total` bytes of the pattern.
fn check_all(mut peer: std::net::TcpStream, pattern: &Pattern, total: usize) {
    let (mut got, mut piece) = (0, vec![0; 256 * 1024]);
    loop {
        let bytes = peer.read(&mut piece).unwrap();
        if bytes == 0 {
            return assert_eq!(got, total);
        }
        assert!(pattern.is_at(got, &piece[..bytes]), "an altered byte between {got} and {}", got + bytes);
        got += bytes;
    }
}

/// Many connections between two loops on two threads; each sends and checks a pattern of its own. The long form is
/// 1,000 connections and 1 GiB.
fn many_connections(subject: &Subject) {
    let (connections, each) = if long() { (1000, 1_100_000) } else { (100, 50_000) };
    allow_descriptors(2 * connections as u64 + 200);
    let io: Io = subject.io();
    let (listener, address) = listen(&io);
    accept_next(&io, listener, connections);
    let builder = subject.builder();
    let clients = move || {
        let io: Io = builder.build().unwrap();
        let finished = Rc::new(Cell::new(0));
        for seed in 0..connections {
            Client::start(&io, address, seed as u64, each, finished.clone());
        }
        (io, finished)
    };
    if subject.simulated() {
        // Both on one thread, in turn.
        let (others, finished) = clients();
        drive(&io, || {
            others.tick(Some(Duration::ZERO)).unwrap();
            io.in_flight() == 0 && others.in_flight() == 0
        });
        return assert_eq!(finished.get(), connections);
    }
    let clients = std::thread::spawn(move || {
        let (io, finished) = clients();
        io.run().unwrap();
        assert_eq!((finished.get(), io.in_flight()), (connections, 0));
    });
    io.run().unwrap();
    join(&io, clients);
}

fn accept_next(io: &Io, listener: TcpListener, left: usize) {
    if left == 0 {
        return io.close(listener);
    }
    io.accept(listener, move |_, io, accepted| {
        accept_next(io, listener, left - 1);
        let stream = accepted.unwrap().stream;
        io.recv(stream, Vec::with_capacity(16 * 1024), move |_, io, done| echo(io, stream, done));
    });
}

/// One connection: its sends and its receives go on independently.
struct Client {
    stream: TcpStream,
    pattern: Pattern,
    total: usize,
    finished: Rc<Cell<usize>>,
}

impl Client {
    fn start(io: &Io, address: SocketAddr, seed: u64, total: usize, finished: Rc<Cell<usize>>) {
        io.connect(address, move |_, io, connected| {
            let pattern = Pattern(noise(10_007, seed));
            let client = Rc::new(Client { stream: connected.unwrap(), pattern, total, finished });
            client.clone().send(io, 0);
            client.receive(io, 0, Vec::with_capacity(20_000));
        });
    }

    fn send(self: Rc<Client>, io: &Io, sent: usize) {
        if sent == self.total {
            io.shutdown(self.stream, nbio::Half::Write, |_, _, shut| assert_eq!(shut, Ok(())));
            return;
        }
        let piece = self.pattern.at(sent, (self.total - sent).min(9000)).to_vec();
        io.send_all(self.stream, piece, move |_, io, done| {
            done.result.unwrap();
            self.send(io, sent + done.bytes);
        });
    }

    fn receive(self: Rc<Client>, io: &Io, got: usize, buf: Vec<u8>) {
        io.recv(self.stream, buf, move |_, io, done| {
            done.result.unwrap();
            if done.bytes == 0 {
                assert_eq!(got, self.total);
                self.finished.set(self.finished.get() + 1);
                return io.close(self.stream);
            }
            assert!(self.pattern.is_at(got, done.data()), "altered between {got} and {}", got + done.bytes);
            let got = got + done.bytes;
            self.receive(io, got, done.buf);
        });
    }
}

/// Raises this process's own soft limit, if need be.
fn allow_descriptors(count: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < count) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(count), ..limit }).unwrap();
    }
}

/// A shot moves at most 2 GiB less a page; the engine goes on. The long form is 5 GiB (of which the zeros take no
/// memory), the short one only more than any socket's buffer takes.
fn more_than_one_shot(subject: &Subject) {
    let length = if long() { 5 << 30 } else { 80 * MIB };
    let mut bytes = vec![0; length];
    // Marks, also where a shot's end would fall.
    let marks = [
        0,
        1,
        0x7fff_efff,
        0x7fff_f000,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff,
        1 << 32,
        length / 2,
        length - 1,
    ];
    for mark in marks.into_iter().filter(|mark| *mark < length) {
        bytes[mark] = 1 + (mark % 255) as u8;
    }
    let io: Io = subject.io();
    let (stream, peer) = socket_pair(&io);
    let reader = std::thread::spawn(move || {
        let (mut peer, mut got, mut found, mut piece, zeros) =
            (peer, 0, Vec::new(), vec![0; MIB], vec![0; MIB]);
        loop {
            let bytes = peer.read(&mut piece).unwrap();
            if bytes == 0 {
                return (got, found);
            }
            if piece[..bytes] != zeros[..bytes] {
                let marked = piece[..bytes].iter().enumerate().filter(|(_, byte)| **byte != 0);
                found.extend(marked.map(|(at, byte)| (got + at, *byte)));
            }
            got += bytes;
        }
    });
    let sent = Slot::new();
    io.send_all(stream, bytes, keep(&sent));
    io.run().unwrap();
    let done: Done<Vec<u8>> = sent.one();
    assert_eq!((done.result, done.bytes), (Ok(()), length));
    io.close(stream);
    io.run().unwrap();
    let mut expected: Vec<usize> = marks.into_iter().filter(|mark| *mark < length).collect();
    expected.sort();
    let expected: Vec<_> = expected.into_iter().map(|mark| (mark, 1 + (mark % 255) as u8)).collect();
    assert_eq!(join(&io, reader), (length, expected));
}

/// As above in 1,024 pieces that are one and the same memory: 4 GiB in the long form.
fn more_than_one_shot_vectored(subject: &Subject) {
    let each = if long() { 4 * MIB + 1 } else { 64 * 1024 + 1 };
    let piece: Rc<[u8]> = noise(each, 2).into();
    let io: Io = subject.io();
    let (stream, peer) = subject.pair(&io);
    let (pattern, theirs) = (Pattern(piece.to_vec()), Pattern(piece.to_vec()));
    let reading = move |peer| {
        check_all(peer, &theirs, 1024 * each);
        Ok(Vec::new())
    };
    let reader = peer.in_a_thread(reading, Peer::read_all);
    let sent = Slot::new();
    io.submit(op::SendVectored::new(stream, vec![piece; 1024]).all(), keep(&sent));
    reader.run(&io);
    let done: Done<Vec<Rc<[u8]>>> = sent.one();
    assert_eq!((done.result, done.bytes), (Ok(()), 1024 * each));
    io.close(stream);
    io.run().unwrap();
    check_work(&io, reader, &pattern, 1024 * each);
}

/// One exact receive of more than any socket's buffer holds.
fn large_exact(subject: &Subject) {
    let total = if subject.simulated() { 2 * MIB } else { 64 * MIB };
    let io: Io = subject.io();
    let (stream, peer) = subject.pair(&io);
    let writer = peer.in_a_thread(
        move |peer| write_pattern(peer, &Pattern::new(3), total).map(|()| Vec::new()),
        |peer| peer.exchange(Pattern::new(3).long(total), true),
    );
    let received = Slot::new();
    io.recv_exact(stream, Vec::with_capacity(total), total, keep(&received));
    writer.drive(&io, || received.len() > 0);
    io.close(stream);
    io.run().unwrap();
    assert_eq!(writer.join(&io), b"");
    let done: Done<Vec<u8>> = received.one();
    assert_eq!((done.result, done.bytes), (Ok(()), total));
    assert!(Pattern::new(3).is_at(0, &done.buf));
}
