//! Descriptors in and out: adopt, release, raw, duplicate.

use std::io::{Read, Write};
use std::net::{TcpListener as Server, TcpStream as Peer, UdpSocket};
use std::time::Duration;

use nbio::{
    Accepted, Done, Error, ErrorKind, Operation, OwnedDescriptor, Rejected, TcpListener, TcpStream, op,
};

use crate::peer::Peer as AnyPeer;
use crate::support::{Case, Slot, Subject, listen};
use crate::system;
use crate::wire::{Io, drive, keep, kind, noise, socket_pair, turn};

pub const CASES: &[Case] = &[
    Case { name: "blocking_listener_and_stream_work", run: blocking_ones_work },
    Case { name: "nonblocking_listener_and_stream_work", run: nonblocking_ones_work },
    Case {
        name: "nonblocking_operations_are_cancelled_while_they_wait",
        run: nonblocking_ones_are_cancelled,
    },
    Case { name: "nonblocking_removed_operations_let_go", run: nonblocking_ones_are_removed },
    Case { name: "nonblocking_send_all_waits_for_room", run: nonblocking_send_all },
    Case { name: "blocking_mode_is_left_as_it_is", run: blocking_mode_is_left },
    Case { name: "wrong_kinds_are_rejected_and_given_back", run: wrong_kinds_are_rejected },
    Case { name: "release_gives_a_working_std_type_back", run: release_gives_it_back },
    Case { name: "release_is_busy_while_operations_exist", run: release_is_busy },
    Case { name: "raw_is_the_number_of_the_open_descriptor", run: raw_is_the_number },
    Case { name: "duplicate_outlives_close", run: duplicate_outlives_close },
    Case { name: "everything_is_close_on_exec", run: everything_is_close_on_exec },
];

fn blocking_ones_work(subject: &Subject) {
    adopted_ones_work(subject, false);
}

/// Documented: "Its blocking mode is left as it is; both work".
fn nonblocking_ones_work(subject: &Subject) {
    adopted_ones_work(subject, true);
}

fn adopted_ones_work(subject: &Subject, nonblocking: bool) {
    let io: Io = subject.io();
    let server = Server::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(nonblocking).unwrap();
    let address = server.local_addr().unwrap();
    let listener: TcpListener = io.adopt(server).unwrap();
    assert_eq!(io.local_address(listener), Ok(address));
    let accepted = Slot::new();
    io.accept(listener, keep(&accepted));
    io.accept(listener, keep(&accepted));
    // They have to wait first.
    turn(&io, 3);
    let client = Peer::connect(address).unwrap();
    let mut peer = Peer::connect(address).unwrap();
    io.run().unwrap();
    let ends: Vec<Result<Accepted, Error>> = accepted.take();
    let (from, expected) = (peer.local_addr().unwrap(), client.local_addr().unwrap());
    let other = ends.iter().flatten().find(|end| end.peer == from).unwrap().stream;
    assert!(ends.iter().flatten().any(|end| end.peer == expected));

    client.set_nonblocking(nonblocking).unwrap();
    let stream: TcpStream = io.adopt(client).unwrap();
    let mate = ends.iter().flatten().find(|end| end.peer == expected).unwrap().stream;
    // A receive that waits, an exact one that waits twice, the end.
    let received = Slot::new();
    io.recv(stream, vec![0; 10], keep(&received));
    turn(&io, 3);
    io.send_all(mate, "hello", |_, _, _| ());
    drive(&io, || received.len() > 0);
    assert_eq!(received.one().data(), b"hello");
    io.recv_exact(stream, vec![0; 10], 6, keep(&received));
    for part in ["abc", "def"] {
        turn(&io, 3);
        assert_eq!(received.len(), 0);
        io.send_all(mate, part, |_, _, _| ());
    }
    drive(&io, || received.len() > 0);
    assert_eq!(received.one().data(), b"abcdef");
    io.close(mate);
    io.recv(stream, vec![0; 10], keep(&received));
    io.run().unwrap();
    let done: Done<Vec<u8>> = received.one();
    assert_eq!((done.result, done.bytes), (Ok(()), 0));

    io.send_all(other, "to std", |_, _, done| assert_eq!(done.result, Ok(())));
    io.run().unwrap();
    let mut got = [0; 6];
    peer.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"to std");
}

/// A listener and a stream that are in non-blocking mode, with their peers.
fn nonblocking_pair(io: &Io) -> (TcpListener, TcpStream, Peer) {
    let server = Server::bind("127.0.0.1:0").unwrap();
    let peer = Peer::connect(server.local_addr().unwrap()).unwrap();
    let (socket, _) = server.accept().unwrap();
    server.set_nonblocking(true).unwrap();
    socket.set_nonblocking(true).unwrap();
    (io.adopt(server).unwrap(), io.adopt(socket).unwrap(), peer)
}

/// Guarantee 3 on such descriptors.
fn nonblocking_ones_are_cancelled(subject: &Subject) {
    for ticks in 0..4 {
        let io: Io = subject.io();
        let (listener, stream, mut peer) = nonblocking_pair(&io);
        let (accepted, received, late) = (Slot::new(), Slot::new(), Slot::new());
        let accept = io.accept(listener, keep::<Result<Accepted, Error>>(&accepted));
        let recv = io.recv(stream, vec![1; 10], keep(&received));
        turn(&io, ticks);
        assert!(io.cancel(accept) && io.cancel(recv));
        drive(&io, || accepted.len() + received.len() == 2);
        assert_eq!(kind(accepted.one()), Some(ErrorKind::Cancelled));
        let done: Done<Vec<u8>> = received.one();
        assert_eq!((kind(done.result), done.bytes), (Some(ErrorKind::Cancelled), 0));

        peer.write_all(b"part").unwrap();
        io.submit(op::Recv::new(stream, [0; 9]).exact(9).timeout(Duration::from_millis(3)), keep(&late));
        drive(&io, || late.len() > 0);
        let done: Done<[u8; 9]> = late.one();
        assert_eq!(kind(done.result), Some(ErrorKind::TimedOut));

        // Both go on working. On a machine that is busy the deadline may pass before anything is taken: it is lost
        // in neither case.
        let taken = done.data().to_vec();
        assert!([&b""[..], b"part"].contains(&taken.as_slice()), "{taken:?}");
        peer.write_all(b"more").unwrap();
        io.recv_exact(stream, vec![1; 10], 8 - taken.len(), keep(&received));
        drive(&io, || received.len() > 0);
        assert_eq!([&taken, received.one().data()].concat(), b"partmore");
        let other = Peer::connect(io.local_address(listener).unwrap()).unwrap();
        io.accept(listener, keep(&accepted));
        drive(&io, || accepted.len() > 0);
        assert_eq!(accepted.one().unwrap().peer, other.local_addr().unwrap());
        assert_eq!(io.in_flight(), 0);
    }
}

/// Guarantee 4 on such descriptors: the loop doesn't wait for what nobody wants any more.
fn nonblocking_ones_are_removed(subject: &Subject) {
    for ticks in 0..4 {
        let io: Io = subject.io();
        let (listener, stream, mut peer) = nonblocking_pair(&io);
        let accept = io.accept(listener, |_, _, _| unreachable!("it is removed"));
        let recv = io.recv(stream, vec![1; 10], |_, _, _| unreachable!("it is removed"));
        turn(&io, ticks);
        assert!(io.remove(accept) && io.remove(recv));
        drive(&io, || io.in_flight() == 0);
        // It took nothing.
        peer.write_all(b"later").unwrap();
        let received = Slot::new();
        io.recv(stream, vec![1; 10], keep(&received));
        io.run().unwrap();
        let done: Done<Vec<u8>> = received.one();
        assert_eq!((done.result, done.data()), (Ok(()), &b"later"[..]));
    }
}

/// Documented: sends wait for room in the system's buffer, in either mode.
fn nonblocking_send_all(subject: &Subject) {
    let io: Io = subject.io();
    let (_, stream, peer) = nonblocking_pair(&io);
    let large = noise(16 << 20, 1);
    let sent = Slot::new();
    io.send_all(stream, large.clone(), keep(&sent));
    let peer = AnyPeer::Socket(peer);
    peer.until_unread(&io, 1);
    turn(&io, 5);
    assert_eq!(sent.len(), 0, "more than the buffers hold");
    let reader = peer.read_all();
    io.run().unwrap();
    let done: Done<Vec<u8>> = sent.one();
    assert_eq!((done.result, done.bytes), (Ok(()), large.len()));
    io.close(stream);
    io.run().unwrap();
    assert!(reader.join(&io) == large);
}

/// Documented: "Its blocking mode is left as it is", also after use.
fn blocking_mode_is_left(subject: &Subject) {
    let io: Io = subject.io();
    for nonblocking in [false, true] {
        let (stream, mut peer) = socket_pair(&io);
        let socket = system::into_std::<Peer>(io.release(stream).unwrap());
        socket.set_nonblocking(nonblocking).unwrap();
        let stream: TcpStream = io.adopt(socket).unwrap();
        io.recv(stream, [0; 4], |_, _, done| assert_eq!(done.data(), b"x"));
        turn(&io, 2);
        peer.write_all(b"x").unwrap();
        io.send_all(stream, "y", |_, _, done| assert_eq!(done.result, Ok(())));
        io.run().unwrap();
        assert_eq!(system::is_nonblocking(io.release(stream).unwrap()), nonblocking);
    }
}

/// Documented: a listening or a connected TCP socket; anything else comes back, still open.
fn wrong_kinds_are_rejected(subject: &Subject) {
    let io: Io = subject.io();
    let server = || Server::bind("127.0.0.1:0").unwrap();
    let udp = || UdpSocket::bind("127.0.0.1:0").unwrap();
    let connected_udp = || {
        let socket = udp();
        socket.connect(socket.local_addr().unwrap()).unwrap();
        socket
    };
    let as_stream = |unfit: OwnedDescriptor| rejected(&io, unfit, |io, it| io.adopt::<TcpStream>(it).err());
    let as_listener =
        |unfit: OwnedDescriptor| rejected(&io, unfit, |io, it| io.adopt::<TcpListener>(it).err());
    let invalid = ErrorKind::InvalidInput;
    for adopt in [&as_stream as &dyn Fn(OwnedDescriptor) -> ErrorKind, &as_listener] {
        assert_eq!(adopt(udp().into()), invalid);
        assert_eq!(adopt(connected_udp().into()), invalid);
        assert_eq!(adopt(system::unconnected()), invalid);
        for (unfit, expected) in system::unfit() {
            assert_eq!(adopt(unfit), expected);
        }
    }
    assert_eq!(as_stream(server().into()), invalid);
    let server = server();
    let peer = Peer::connect(server.local_addr().unwrap()).unwrap();
    assert_eq!(as_listener(peer.into()), invalid);
    assert_eq!(as_listener(server.accept().unwrap().0.into()), invalid);
}

/// Adopts something unfit; it must come back open and the same. Says why it was rejected.
fn rejected(
    io: &Io,
    unfit: OwnedDescriptor,
    adopt: impl Fn(&Io, OwnedDescriptor) -> Option<Rejected>,
) -> ErrorKind {
    let number = system::number_of(&unfit);
    let rejected = adopt(io, unfit).expect("it is of the wrong kind");
    assert_eq!(system::number_of(&rejected.descriptor), number);
    assert_eq!(rejected.error.operation(), op::Kind::Adopt);
    let kind = rejected.error.kind();
    assert!(system::is_open(rejected.descriptor), "it is still open");
    kind
}

/// Documented: gives the descriptor out; the handle is stale.
fn release_gives_it_back(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, mut peer) = socket_pair(&io);
    io.send_all(stream, "from the loop, ", |_, _, _| ());
    io.run().unwrap();
    let mut socket = system::into_std::<Peer>(io.release(stream).unwrap());
    socket.write_all(b"from std").unwrap();
    let mut got = [0; 23];
    peer.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"from the loop, from std");
    assert_eq!(kind(io.release(stream)), Some(ErrorKind::StaleHandle));
    io.recv(stream, [0; 1], |_, _, done| assert_eq!(kind(done.result), Some(ErrorKind::StaleHandle)));
    // Closing a stale handle closes nobody's descriptor.
    io.close(stream);
    io.run().unwrap();
    peer.write_all(b"still open").unwrap();
    let mut got = [0; 10];
    socket.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"still open");

    let (listener, address) = listen(&io);
    let _early = Peer::connect(address).unwrap();
    io.accept(listener, |_, _, accepted| assert!(accepted.is_ok()));
    io.run().unwrap();
    let released = io.release(listener).unwrap();
    // Whatever the loop did with it, it waits as one of std's does.
    let server = system::into_std::<Server>(released);
    assert!(!system::is_nonblocking_listener(&server));
    drop(io);
    let peer = Peer::connect(address).unwrap();
    assert_eq!(server.accept().unwrap().1, peer.local_addr().unwrap());
}

/// Documented: "`Busy` while operations on it exist, removed ones that the system still has among them".
fn release_is_busy(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, mut peer) = socket_pair(&io);
    let received = Slot::new();
    let waiting = io.recv(stream, vec![0; 4], keep(&received));
    assert_eq!(kind(io.release(stream)), Some(ErrorKind::Busy));
    turn(&io, 2);
    assert_eq!(kind(io.release(stream)), Some(ErrorKind::Busy));
    // It is none the worse for it.
    peer.write_all(b"data").unwrap();
    io.run().unwrap();
    let done: Done<Vec<u8>> = received.one();
    assert_eq!(done.data(), b"data");
    assert!(!io.cancel(waiting));

    let removed = io.recv(stream, [0; 4], |_, _, _| unreachable!("it is removed"));
    turn(&io, 2);
    assert!(io.remove(removed));
    assert_eq!(kind(io.release(stream)), Some(ErrorKind::Busy));
    drive(&io, || io.in_flight() == 0);
    peer.write_all(b"kept").unwrap();
    let mut got = [0; 4];
    system::into_std::<Peer>(io.release(stream).unwrap()).read_exact(&mut got).unwrap();
    assert_eq!(&got, b"kept");
}

/// Documented: the number, to look at; the loop goes on owning it.
fn raw_is_the_number(subject: &Subject) {
    let io: Io = subject.io();
    let server = Server::bind("127.0.0.1:0").unwrap();
    let peer = Peer::connect(server.local_addr().unwrap()).unwrap();
    let (socket, _) = server.accept().unwrap();
    let number = system::number(&socket);
    let stream: TcpStream = io.adopt(socket).unwrap();
    assert_eq!(io.raw(stream), Ok(number));
    assert_eq!(io.raw(stream), Ok(number), "looking changes nothing");
    assert_eq!(system::number_of(&io.release(stream).unwrap()), number);
    assert_eq!(kind(io.raw(stream)), Some(ErrorKind::StaleHandle));
    drop(peer);
}

/// Documented: a second descriptor of the same open thing: the connection lives until both are closed.
fn duplicate_outlives_close(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, mut peer) = socket_pair(&io);
    let mut second = system::into_std::<Peer>(io.duplicate(stream).unwrap());
    assert_ne!(io.raw(stream), Ok(system::number(&second)));
    io.close(stream);
    io.run().unwrap();
    peer.write_all(b"ping").unwrap();
    let mut got = [0; 4];
    second.read_exact(&mut got).unwrap();
    second.write_all(&got).unwrap();
    peer.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"ping");
    drop(second);
    assert_eq!(peer.read(&mut got).unwrap(), 0);
}

/// Documented: "close-on-exec everywhere": listeners, accepted and connected streams, duplicates.
fn everything_is_close_on_exec(subject: &Subject) {
    let io: Io = subject.io();
    let (listener, address) = listen(&io);
    let (accepted, connected) = (Slot::new(), Slot::new());
    io.accept(listener, keep(&accepted));
    io.connect(address, keep(&connected));
    io.run().unwrap();
    let accepted: Result<Accepted, Error> = accepted.one();
    let connected: Result<TcpStream, Error> = connected.one();
    let streams = [accepted.unwrap().stream, connected.unwrap()];
    let mut owned: Vec<OwnedDescriptor> = streams.map(|stream| io.duplicate(stream).unwrap()).into();
    owned.push(io.duplicate(listener).unwrap());
    owned.extend(streams.map(|stream| io.release(stream).unwrap()));
    owned.push(io.release(listener).unwrap());
    for descriptor in owned {
        assert!(system::closes_on_exec(descriptor));
    }
}
