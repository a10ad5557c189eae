//! Handles that move from one loop to another: detach, attach.

use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use nbio::{
    Accepted, Detached, Done, ErrorKind, Half, Handle, Linger, TcpListener, TcpOptions, TcpStream, op,
};

use crate::child;
use crate::support::{Case, Slot, Subject, listen};
use crate::wire::{Io, drive, join, keep, kind, noise, socket_pair, turn};

pub const CASES: &[Case] = &[
    Case { name: "unread_bytes_arrive_on_the_other_loop", run: unread_bytes_arrive },
    Case { name: "what_is_known_of_a_stream_moves_along", run: what_is_known_moves_along },
    Case { name: "a_reset_is_told_on_the_other_loop_too", run: reset_is_told_again },
    Case { name: "detach_is_busy_while_operations_exist", run: detach_is_busy },
    Case { name: "a_detached_handle_is_stale_and_the_old_loop_lets_it_go", run: old_loop_lets_it_go },
    Case { name: "a_dropped_detached_closes", run: dropped_detached_closes },
    Case { name: "a_listener_moves_with_its_waiting_connections", run: listener_moves },
    Case { name: "attach_to_the_loop_it_came_from", run: attach_where_it_came_from },
    Case { name: "a_lingering_stream_is_known_to_linger", run: lingering_is_known },
    Case { name: "back_and_forth_under_load", run: back_and_forth },
];

fn received(io: &Io, stream: TcpStream) -> Done<Vec<u8>> {
    let slot = Slot::new();
    io.recv(stream, Vec::with_capacity(100), keep(&slot));
    io.run().unwrap();
    slot.one()
}

/// The next bytes, in however many pieces they come.
fn received_exactly(io: &Io, stream: TcpStream, bytes: usize) -> Done<Vec<u8>> {
    let slot = Slot::new();
    io.recv_exact(stream, Vec::with_capacity(bytes), bytes, keep(&slot));
    io.run().unwrap();
    slot.one()
}

/// Guarantee 3, losing nothing: bytes that came and that nobody asked for, or that a cancelled receive left, go
/// along with the stream.
fn unread_bytes_arrive(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    let cut = Slot::new();
    let exact = io.recv_exact(stream, vec![0; 10], 10, keep(&cut));
    peer.write_all(b"one, ").unwrap();
    peer.until_unread_on(&io, stream, 0);
    assert!(io.cancel(exact));
    io.run().unwrap();
    let done: Done<Vec<u8>> = cut.one();
    assert_eq!((kind(done.result), done.data()), (Some(ErrorKind::Cancelled), &b"one, "[..]));
    peer.write_all(b"two").unwrap();
    let detached = io.detach(stream).unwrap();
    let builder = subject.builder();
    let other = thread::spawn(move || {
        let io: Io = builder.build().unwrap();
        let stream = io.attach(detached).unwrap();
        let done = received_exactly(&io, stream, 3);
        assert_eq!((done.result, done.data()), (Ok(()), &b"two"[..]));
        io.send_all(stream, "three", move |_, io, sent| {
            sent.result.unwrap();
            io.close(stream);
        });
        io.run().unwrap();
    });
    join(&io, other);
    let mut answer = String::new();
    peer.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "three");
}

/// Guarantees 4 and 8: a direction that a removed operation broke, and a half that was shut down, are so on the
/// other loop too; the other direction is as good as before.
fn what_is_known_moves_along(subject: &Subject) {
    let (io, other): (Io, Io) = (subject.io(), subject.io());
    let (stream, mut peer) = subject.pair(&io);
    let exact = io.recv_exact(stream, vec![0; 10], 10, |_, _, _| unreachable!("removed"));
    peer.write_all(b"part").unwrap();
    peer.until_unread_on(&io, stream, 0);
    assert!(io.remove(exact));
    io.run().unwrap();
    drive(&io, || io.in_flight() == 0);
    let stream = other.attach(io.detach(stream).unwrap()).unwrap();
    assert_eq!(kind(received(&other, stream).result), Some(ErrorKind::Broken));
    other.send_all(stream, "still fine", |_, _, sent| sent.result.unwrap());
    other.run().unwrap();
    peer.read_exact(&mut [0; 10]).unwrap();

    let (stream, mut peer) = subject.narrow_pair(&io);
    let stuck = io.send_all(stream, noise(10_000_000, 1), |_, _, _| unreachable!("removed"));
    subject.hand_over(&io);
    assert!(io.remove(stuck));
    drive(&io, || io.in_flight() == 0);
    let stream = other.attach(io.detach(stream).unwrap()).unwrap();
    let sent = Slot::new();
    other.send(stream, "x", keep(&sent));
    peer.write_all(b"still fine").unwrap();
    other.recv_exact(stream, vec![0; 10], 10, |_, _, done| done.result.unwrap());
    other.run().unwrap();
    let done: Done<&str> = sent.one();
    assert_eq!(kind(done.result), Some(ErrorKind::Broken));

    let (stream, mut peer) = subject.pair(&io);
    io.shutdown(stream, Half::Read, |_, _, shut| shut.unwrap());
    io.run().unwrap();
    let stream = other.attach(io.detach(stream).unwrap()).unwrap();
    peer.write_all(b"nobody listens").unwrap();
    let done = received(&other, stream);
    assert_eq!((done.result, done.bytes), (Ok(()), 0), "shut down");
}

/// Guarantee 8: the kernel tells of a reset once; the loops tell of it every time.
fn reset_is_told_again(subject: &Subject) {
    let (io, other): (Io, Io) = (subject.io(), subject.io());
    let (stream, peer) = subject.pair(&io);
    peer.reset();
    assert_eq!(kind(received(&io, stream).result), Some(ErrorKind::ConnectionReset));
    let stream = other.attach(io.detach(stream).unwrap()).unwrap();
    assert_eq!(kind(received(&other, stream).result), Some(ErrorKind::ConnectionReset));
}

/// Guarantee 6: a handle with operations stays; also with one that was removed while the system has its buffer.
fn detach_is_busy(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    let (listener, _) = listen(&io);
    let recv = io.recv(stream, vec![0; 10], |_, _, _| unreachable!("removed"));
    let accept = io.accept(listener, |_, _, accepted| assert!(accepted.is_err()));
    assert_eq!(busy(&io, stream), ErrorKind::Busy);
    turn(&io, 2);
    assert!(io.remove(recv) && io.cancel(accept));
    assert_eq!((busy(&io, stream), busy(&io, listener)), (ErrorKind::Busy, ErrorKind::Busy));
    drive(&io, || io.in_flight() == 0);
    drop(io.detach(listener).unwrap());
    let stream = io.attach(io.detach(stream).unwrap()).unwrap();
    peer.write_all(b"unharmed").unwrap();
    assert_eq!(received_exactly(&io, stream, 8).data(), b"unharmed");
}

fn busy<H: Handle>(io: &Io, handle: H) -> ErrorKind {
    let error = io.detach(handle).unwrap_err();
    assert_eq!(error.operation(), op::Kind::Detach);
    error.kind()
}

/// Guarantee 6: the old handle is stale at once, and no name on the other loop; the stream outlives the old loop.
fn old_loop_lets_it_go(subject: &Subject) {
    let (io, other): (Io, Io) = (subject.io(), subject.io());
    let (stream, mut peer) = subject.pair(&io);
    let detached = io.detach(stream).unwrap();
    assert_eq!(busy(&io, stream), ErrorKind::StaleHandle);
    assert_eq!(kind(received(&io, stream).result), Some(ErrorKind::StaleHandle));
    let moved = other.attach(detached).unwrap();
    assert_eq!(busy(&other, stream), ErrorKind::WrongLoop);
    assert_eq!(busy(&io, moved), ErrorKind::WrongLoop);
    io.close(stream);
    io.run().unwrap();
    // Whatever takes the stream's place on the old loop isn't reached by the old name.
    let (place, _peer) = subject.pair(&io);
    assert_eq!(kind(received(&io, stream).result), Some(ErrorKind::StaleHandle));
    assert!(io.detach(place).is_ok());
    drop(io);
    assert!(!peer.is_over());
    peer.write_all(b"hello").unwrap();
    assert_eq!(received_exactly(&other, moved, 5).data(), b"hello");
    drop(other);
    assert_eq!(peer.read(&mut [0]).unwrap(), 0, "closed");
}

/// Documented: "Dropping it closes what is open". In a child, which no other case opens descriptors in.
fn dropped_detached_closes(subject: &Subject) {
    child::run(subject, "moving::a_dropped_detached_closes", |subject| {
        let io: Io = subject.io();
        let (stream, mut peer) = subject.pair(&io);
        let number = io.raw(stream).unwrap();
        let detached = io.detach(stream).unwrap();
        assert!(!peer.is_over());
        thread::spawn(move || drop(detached)).join().unwrap();
        assert_eq!(peer.read(&mut [0]).unwrap(), 0, "closed");
        assert!(!std::path::Path::new(&format!("/proc/self/fd/{number}")).exists());
    });
}

/// Connections that nobody has accepted yet are accepted on the other loop.
fn listener_moves(subject: &Subject) {
    let io: Io = subject.io();
    let (listener, address) = listen(&io);
    let early = std::net::TcpStream::connect(address).unwrap();
    let detached: Detached<TcpListener> = io.detach(listener).unwrap();
    let late = std::net::TcpStream::connect(address).unwrap();
    let expected = [early.local_addr().unwrap(), late.local_addr().unwrap()];
    let builder = subject.builder();
    let other = thread::spawn(move || {
        let io: Io = builder.build().unwrap();
        let listener = io.attach(detached).unwrap();
        assert_eq!(io.local_address(listener), Ok(address));
        let accepted = Slot::new();
        for _ in 0..2 {
            io.accept(listener, keep(&accepted));
            io.run().unwrap();
        }
        accepted.take().into_iter().map(|end: Result<Accepted, _>| end.unwrap().peer).collect::<Vec<_>>()
    });
    assert_eq!(other.join().unwrap(), expected);
}

/// Documented: "another loop (or this one)". It gets another name.
fn attach_where_it_came_from(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    let number = io.raw(stream);
    let again: TcpStream = io.attach(io.detach(stream).unwrap()).unwrap();
    assert!(again != stream && io.raw(again) == number);
    peer.write_all(b"hello").unwrap();
    assert_eq!(received_exactly(&io, again, 5).data(), b"hello");
}

/// Guarantee 5 across a move: no loop waits for unsent data when it is dropped, wherever lingering was asked for.
fn lingering_is_known(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, _peer) = subject.narrow_pair(&io);
    let linger = TcpOptions::default().linger(Linger::Wait(Duration::from_secs(100)));
    io.set_tcp_options(stream, linger).unwrap();
    let other: Io = subject.io();
    let stream = other.attach(io.detach(stream).unwrap()).unwrap();
    // More than the peer, which doesn't read, has room for: some of it can't be sent.
    let stuck = other.send_all(stream, noise(10_000_000, 1), |_, _, _| unreachable!("removed"));
    turn(&other, 3);
    assert!(other.remove(stuck));
    let start = Instant::now();
    drop(other);
    assert!(start.elapsed() < Duration::from_secs(50), "{:?}", start.elapsed());
}

/// A stream on its way; `None` when all are over.
type Parcel = Option<Detached<TcpStream>>;

const STREAMS: usize = 4;

/// Guarantees 3 and 7 across moves: two loops on two threads echo a few streams, and after every chunk hand the stream
/// to each other. Nothing is lost, doubled or out of order.
fn back_and_forth(subject: &Subject) {
    let io: Io = subject.io();
    let mut peers = Vec::new();
    let (ours, theirs) = (channel::<Parcel>(), channel::<Parcel>());
    for number in 0..STREAMS {
        let (stream, peer) = socket_pair(&io);
        let start = [&ours.0, &theirs.0][number % 2];
        start.send(Some(io.detach(stream).unwrap())).unwrap();
        peers.push(thread::spawn(move || echoed(peer, number as u64)));
    }
    let over = channel::<()>();
    let (builder, over_there, to_us) = (subject.builder(), over.0.clone(), ours.0.clone());
    let other = {
        let (incoming, to_them) = (theirs.1, ours.0);
        thread::spawn(move || relay(&builder.build().unwrap(), &incoming, &to_them, &over_there))
    };
    let end = {
        let (ours, theirs, over) = (to_us, theirs.0.clone(), over.1);
        thread::spawn(move || {
            for _ in 0..STREAMS {
                over.recv().unwrap();
            }
            ours.send(None).unwrap();
            theirs.send(None).unwrap();
        })
    };
    let hops = relay(&io, &ours.1, &theirs.0, &over.0) + join(&io, other);
    end.join().unwrap();
    for peer in peers {
        join(&io, peer);
    }
    assert!(hops > 10 * STREAMS, "{hops} moves");
}

/// Sends noise and expects it back.
fn echoed(peer: std::net::TcpStream, seed: u64) {
    let bytes = noise(40_000, seed);
    let mut writer = peer.try_clone().unwrap();
    let copy = bytes.clone();
    let writing = thread::spawn(move || {
        for chunk in copy.chunks(1000) {
            writer.write_all(chunk).unwrap();
        }
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut back = Vec::new();
    (&peer).read_to_end(&mut back).unwrap();
    writing.join().unwrap();
    assert!(back == bytes, "{} bytes came back, or others", back.len());
}

/// Echoes one chunk of each stream that comes and passes it on; says how many it passed on.
fn relay(io: &Io, incoming: &Receiver<Parcel>, to: &Sender<Parcel>, over: &Sender<()>) -> usize {
    let ready = Slot::new();
    let mut hops = 0;
    loop {
        let idle = io.in_flight() == 0;
        let parcel = if idle { Some(incoming.recv().unwrap()) } else { incoming.try_recv().ok() };
        match parcel {
            Some(Some(detached)) => {
                let (stream, ready) = (io.attach(detached).unwrap(), ready.clone());
                io.recv(stream, vec![0; 700], move |_, io, done| {
                    done.result.unwrap();
                    let end = done.bytes == 0;
                    io.send_all(stream, done.buf, move |_, _, sent| {
                        sent.result.unwrap();
                        ready.put((stream, end));
                    });
                });
            }
            Some(None) => return hops,
            None => {}
        }
        io.tick(Some(Duration::from_micros(100))).unwrap();
        for (stream, end) in ready.take() {
            if end {
                io.close(stream);
                over.send(()).unwrap();
            } else {
                hops += 1;
                to.send(Some(io.detach(stream).unwrap())).unwrap();
            }
        }
    }
}
