//! Unix sockets.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener as Server, UnixStream as Socket};
use std::time::Duration;

use nbio::{
    Accepted, Done, Error, ErrorKind, Half, Operation, TcpStream, UnixAddress, UnixListenOptions,
    UnixListener, UnixStream, op,
};
use rustix::io::{FdFlags, fcntl_getfd};
use rustix::net::SocketAddrUnix;

use crate::child;
use crate::hanging::{HOUR, idle};
use crate::pipes::scratch;
use crate::support::{Case, Slot, Subject};
use crate::system;
use crate::wire::{Io, drive, keep, kind, noise, turn};

pub const CASES: &[Case] = &[
    Case { name: "by_a_path", run: by_a_path },
    Case { name: "by_an_abstract_name", run: by_an_abstract_name },
    Case { name: "names_that_do_not_work", run: bad_names },
    Case { name: "a_pair", run: a_pair },
    Case { name: "large_transfers", run: large_transfers },
    Case { name: "peer_gone", run: peer_gone },
    Case { name: "credentials", run: credentials },
    Case { name: "accepts_cancelled_and_removed", run: accepts_ended },
    Case { name: "connects_that_wait", run: connects_that_wait },
    Case { name: "adopted_and_released", run: adopted_and_released },
    Case { name: "closed_with_operations", run: closed_with_operations },
    Case { name: "everything_is_close_on_exec", run: close_on_exec },
    Case { name: "moves_to_another_loop", run: moves_to_another_loop },
    Case { name: "removes_its_file_when_closed", run: removes_its_file },
    Case { name: "removes_no_file_but_its_own", run: removes_no_other_file },
    Case { name: "removes_its_file_from_another_directory", run: removes_from_elsewhere },
];

type Moved = Done<Vec<u8>>;
type End = Result<Accepted<UnixStream, UnixAddress>, Error>;
type Connected = Result<UnixStream, Error>;

fn by_a_path(subject: &Subject) {
    let directory = scratch("local-path");
    let (path, own) = (directory.join("socket"), directory.join("client"));
    let io: Io = subject.io();
    let listener = io.listen_unix(&path).unwrap();
    assert_eq!(io.unix_local_address(listener), Ok(UnixAddress::from(&path)));
    let (accepted, connected, got) = (Slot::new(), Slot::new(), Slot::new());
    // A client of std that has a name, and one of the loop that has none.
    io.accept(listener, keep::<End>(&accepted));
    turn(&io, 2);
    let bound = system::unix_socket();
    rustix::net::bind(&bound, &SocketAddrUnix::new(&own).unwrap()).unwrap();
    rustix::net::connect(&bound, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    drive(&io, || accepted.len() > 0);
    let first = accepted.one().unwrap();
    assert_eq!(first.peer, UnixAddress::from(&own));
    assert_eq!(io.unix_peer_address(first.stream), Ok(UnixAddress::from(&own)));
    let mut bound = Socket::from(bound);
    bound.write_all(b"hello").unwrap();
    io.recv_exact(first.stream, vec![0; 5], 5, keep::<Moved>(&got));
    io.accept(listener, keep(&accepted));
    io.connect_unix(&path, keep::<Connected>(&connected));
    io.run().unwrap();
    assert_eq!(got.one().data(), b"hello");
    let (near, far) = (connected.one().unwrap(), accepted.one().unwrap());
    assert!(far.peer.is_unnamed() && io.unix_peer_address(far.stream).unwrap().is_unnamed());
    assert_eq!(io.unix_peer_address(near), Ok(UnixAddress::from(&path)));
    io.send_all(near, "to and fro", |_, _, _| ());
    io.recv_exact(far.stream, vec![0; 10], 10, keep(&got));
    io.run().unwrap();
    assert_eq!(got.one().data(), b"to and fro");
    // Documented: the file stays, and is in the way.
    io.close(listener);
    io.run().unwrap();
    assert!(path.exists());
    assert_eq!(kind(io.listen_unix(&path)), Some(ErrorKind::AddrInUse));
    std::fs::remove_file(&path).unwrap();
    let again = io.listen_unix(&path).unwrap();
    io.close(again);
    io.run().unwrap();
    std::fs::remove_dir_all(directory).unwrap();
}

fn by_an_abstract_name(subject: &Subject) {
    let io: Io = subject.io();
    let name = format!("nbio-{}-{}-\0-any", subject.name, std::process::id());
    let address = UnixAddress::abstract_name(name.clone());
    let listener = io.listen_unix(address.clone()).unwrap();
    assert_eq!(io.unix_local_address(listener).unwrap().as_abstract_name(), Some(name.as_bytes()));
    assert_eq!(kind(io.listen_unix(address.clone())), Some(ErrorKind::AddrInUse));
    let accepted = Slot::new();
    io.accept(listener, keep::<End>(&accepted));
    let _client = system::connect_abstract(&name);
    io.run().unwrap();
    assert!(accepted.one().unwrap().peer.is_unnamed());
    // It is gone with its socket.
    io.close(listener);
    io.run().unwrap();
    let connected = Slot::new();
    io.connect_unix(address.clone(), keep::<Connected>(&connected));
    io.run().unwrap();
    assert_eq!(kind(connected.one()), Some(ErrorKind::ConnectionRefused));
    let again = io.listen_unix(address).unwrap();
    io.close(again);
    io.run().unwrap();
}

fn bad_names(subject: &Subject) {
    let directory = scratch("local-bad");
    let io: Io = subject.io();
    let (long, most) = (UnixAddress::abstract_name(vec![b'x'; 108]), vec![b'y'; 107]);
    let wrong = [UnixAddress::default(), long, "".into(), "a\0b".into(), (&"p".repeat(200)).into()];
    let connected = Slot::new();
    for address in wrong {
        let error = io.listen_unix(address.clone()).unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::InvalidInput, op::Kind::ListenUnix));
        io.connect_unix(address, keep::<Connected>(&connected));
        io.run().unwrap();
        let error = connected.one().unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::InvalidInput, op::Kind::ConnectUnix));
    }
    let longest = [&b"nbio"[..], subject.name.as_bytes(), &std::process::id().to_ne_bytes(), &most].concat();
    let listener = io.listen_unix(UnixAddress::abstract_name(&longest[..107])).unwrap();
    assert_eq!(io.unix_local_address(listener).unwrap().as_abstract_name(), Some(&longest[..107]));
    // A path to nothing, a socket's file whose socket is gone, a file of another kind, another type of socket.
    let (gone, file, datagrams) =
        (directory.join("gone"), directory.join("file"), directory.join("datagrams"));
    drop(Server::bind(&gone).unwrap());
    std::fs::write(&file, "no socket").unwrap();
    let _datagrams = UnixDatagram::bind(&datagrams).unwrap();
    let expected = [
        (directory.join("nothing"), ErrorKind::NotFound),
        (gone, ErrorKind::ConnectionRefused),
        (file, ErrorKind::ConnectionRefused),
        (datagrams, ErrorKind::Unsupported),
    ];
    for (path, error) in expected {
        io.connect_unix(&path, keep(&connected));
        io.run().unwrap();
        assert_eq!(kind(connected.one()), Some(error), "{}", path.display());
    }
    assert_eq!(kind(io.listen_unix(directory.join("no/directory"))), Some(ErrorKind::NotFound));
    std::fs::remove_dir_all(directory).unwrap();
}

/// Guarantee 7, and the ends of streams, as on TCP.
fn a_pair(subject: &Subject) {
    let io: Io = subject.io();
    let (one, other) = io.unix_pair().unwrap();
    let (got, shut) = (Slot::new(), Slot::new());
    for part in ["a", "bc", "def"] {
        io.send_all(one, part, |_, _, _| ());
    }
    io.shutdown(one, Half::Write, keep::<Result<(), Error>>(&shut));
    for bytes in [2, 4, 1] {
        io.recv_exact(other, vec![0; bytes], bytes, keep::<Moved>(&got));
    }
    io.send_all(other, "back", |_, _, _| ());
    io.run().unwrap();
    let ends: Vec<_> = got.take().iter().map(|done| (done.data().to_vec(), kind(done.result))).collect();
    let expected =
        [(b"ab".to_vec(), None), (b"cdef".to_vec(), None), (vec![], Some(ErrorKind::UnexpectedEof))];
    assert_eq!((&ends[..], shut.one()), (&expected[..], Ok(())));
    let closed = Slot::new();
    io.recv_exact(one, vec![0; 4], 4, keep(&got));
    io.run().unwrap();
    assert_eq!(got.one().data(), b"back");
    io.close_gracefully(other, HOUR, keep(&closed));
    io.run().unwrap();
    assert_eq!(closed.one(), Ok(()));
}

fn large_transfers(subject: &Subject) {
    let io: Io = subject.io();
    let (one, other) = io.unix_pair().unwrap();
    let bytes = noise(1_000_000, 3);
    let (got, ends) = (Slot::new(), Slot::new());
    let halves = [bytes[..400_000].to_vec(), bytes[400_000..].to_vec()];
    io.submit(op::SendVectored::new(one, halves).all(), keep::<Done<[Vec<u8>; 2]>>(&ends));
    io.recv_exact(other, Vec::with_capacity(bytes.len()), bytes.len(), keep::<Moved>(&got));
    io.run().unwrap();
    assert_eq!((ends.one().bytes, got.one().buf == bytes), (bytes.len(), true));
    // Cancelled in the middle: what it tells is what the other side gets.
    let cut = Slot::new();
    let id = io.send_all(one, bytes.clone(), keep::<Moved>(&cut));
    turn(&io, 2);
    assert!(io.cancel(id));
    drive(&io, || cut.len() > 0);
    let cut = cut.one();
    assert_eq!(kind(cut.result), Some(ErrorKind::Cancelled));
    io.close(one);
    io.recv_exact(other, Vec::with_capacity(bytes.len()), bytes.len(), keep(&got));
    io.run().unwrap();
    let got = got.one();
    assert_eq!((got.bytes, kind(got.result)), (cut.bytes, Some(ErrorKind::UnexpectedEof)));
    assert!(bytes.starts_with(got.data()));
}

fn peer_gone(subject: &Subject) {
    let io: Io = subject.io();
    let (near, far) = Socket::pair().unwrap();
    let near: UnixStream = io.adopt(OwnedFd::from(near)).unwrap();
    let ends = Slot::new();
    drop(far);
    io.send(near, vec![1; 4], keep::<Moved>(&ends));
    io.run().unwrap();
    assert_eq!(kind(ends.one().result), Some(ErrorKind::BrokenPipe));
    io.recv(near, vec![1; 4], keep(&ends));
    io.run().unwrap();
    assert_eq!((ends.one().bytes, io.unix_peer_address(near).is_ok()), (0, true));
    // With bytes that it hasn't read.
    let (near, far) = Socket::pair().unwrap();
    let near: UnixStream = io.adopt(OwnedFd::from(near)).unwrap();
    io.send_all(near, "unread", |_, _, _| ());
    io.run().unwrap();
    drop(far);
    io.recv(near, vec![1; 4], keep(&ends));
    io.recv(near, vec![1; 4], keep(&ends));
    io.run().unwrap();
    let kinds: Vec<_> = ends.take().iter().map(|done| kind(done.result)).collect();
    assert_eq!(kinds, [Some(ErrorKind::ConnectionReset); 2]);
}

fn credentials(subject: &Subject) {
    let io: Io = subject.io();
    let (one, other) = io.unix_pair().unwrap();
    for end in [one, other] {
        let found = io.peer_credentials(end).unwrap();
        let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        assert_eq!((found.pid, (found.uid, found.gid)), (std::process::id(), own));
    }
    io.close(one);
    let error = io.peer_credentials(one).unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::StaleHandle, op::Kind::PeerCredentials));
}

/// Guarantees 3 and 4.
fn accepts_ended(subject: &Subject) {
    let directory = scratch("local-accepts");
    let path = directory.join("socket");
    let io: Io = subject.io();
    let listener = io.listen_unix(&path).unwrap();
    let accepted = Slot::new();
    for ticks in 0..3 {
        let id = io.accept(listener, keep::<End>(&accepted));
        turn(&io, ticks);
        assert!(io.cancel(id));
        idle(&io);
        assert_eq!(kind(accepted.one()), Some(ErrorKind::Cancelled));
        let id = io.accept(listener, |_, _, _| unreachable!("removed"));
        turn(&io, ticks);
        // It may have the connection already when it is removed.
        let mut client = Socket::connect(&path).unwrap();
        assert!(io.remove(id));
        idle(&io);
        io.submit(op::Accept::new(listener).timeout(Duration::from_millis(1)), keep(&accepted));
        io.run().unwrap();
        match accepted.one() {
            Ok(accepted) => io.close(accepted.stream),
            Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut),
        }
        io.run().unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }
    std::fs::remove_dir_all(directory).unwrap();
}

/// Guarantee 3: a full queue makes them wait; they call back at once, and leave nothing behind.
fn connects_that_wait(subject: &Subject) {
    let directory = scratch("local-full");
    let path = directory.join("socket");
    let server = system::unix_socket();
    rustix::net::bind(&server, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    rustix::net::listen(&server, 0).unwrap();
    let server = Server::from(server);
    let first = Socket::connect(&path).unwrap();
    for ticks in 0..3 {
        let io: Io = subject.io();
        let connected = Slot::new();
        let id = io.connect_unix(&path, keep::<Connected>(&connected));
        let removed = io.connect_unix(&path, |_, _, _| unreachable!("removed"));
        turn(&io, ticks);
        assert!(io.cancel(id) && io.remove(removed));
        turn(&io, 1);
        assert_eq!(kind(connected.one()), Some(ErrorKind::Cancelled));
        idle(&io);
    }
    let io: Io = subject.io();
    let connected = Slot::new();
    io.submit(op::ConnectUnix::new(&path).timeout(Duration::from_millis(2)), keep::<Connected>(&connected));
    io.run().unwrap();
    assert_eq!(kind(connected.one()), Some(ErrorKind::TimedOut));
    // And one that gets its turn.
    io.connect_unix(&path, keep(&connected));
    turn(&io, 3);
    assert_eq!(connected.len(), 0);
    let (_far, _) = server.accept().unwrap();
    drive(&io, || connected.len() > 0);
    assert!(connected.one().is_ok());
    drop(first);
    std::fs::remove_dir_all(directory).unwrap();
}

fn adopted_and_released(subject: &Subject) {
    let directory = scratch("local-adopt");
    let path = directory.join("socket");
    let io: Io = subject.io();
    let server = Server::bind(&path).unwrap();
    server.set_nonblocking(true).unwrap();
    let listener: UnixListener = io.adopt(OwnedFd::from(server)).unwrap();
    let accepted = Slot::new();
    io.accept(listener, keep::<End>(&accepted));
    turn(&io, 3);
    let client = Socket::connect(&path).unwrap();
    io.run().unwrap();
    let stream = accepted.one().unwrap().stream;
    let mut near = Socket::from(io.release(stream).unwrap());
    near.write_all(b"by std").unwrap();
    let client: UnixStream = io.adopt(OwnedFd::from(client)).unwrap();
    let got = Slot::new();
    io.recv_exact(client, vec![0; 6], 6, keep::<Moved>(&got));
    io.run().unwrap();
    assert_eq!(got.one().data(), b"by std");
    let wrong: [OwnedFd; 3] = [
        UnixDatagram::unbound().unwrap().into(),
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().into(),
        io.duplicate(listener).unwrap(),
    ];
    for wrong in wrong {
        assert_eq!(io.adopt::<UnixStream>(wrong).unwrap_err().error.kind(), ErrorKind::InvalidInput);
    }
    let (one, _other) = Socket::pair().unwrap();
    let rejected = io.adopt::<UnixListener>(OwnedFd::from(one)).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::InvalidInput);
    let rejected = io.adopt::<TcpStream>(rejected.descriptor).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::InvalidInput);
    std::fs::remove_dir_all(directory).unwrap();
}

/// Guarantee 6.
fn closed_with_operations(subject: &Subject) {
    let io: Io = subject.io();
    let (one, other) = io.unix_pair().unwrap();
    let ends = Slot::new();
    io.recv(one, vec![0; 4], keep::<Moved>(&ends));
    io.recv(one, vec![0; 4], keep(&ends));
    io.send_all(one, vec![7; 1 << 22], keep(&ends));
    turn(&io, 2);
    io.close(one);
    io.send(one, vec![7; 1], keep(&ends));
    io.run().unwrap();
    let mut kinds: Vec<_> = ends.take().iter().map(|done| kind(done.result)).collect();
    kinds.sort_by_key(|kind| format!("{kind:?}"));
    let (cancelled, stale) = (Some(ErrorKind::Cancelled), Some(ErrorKind::StaleHandle));
    assert_eq!(kinds, [cancelled, cancelled, cancelled, stale]);
    // The next at the same place is another's.
    let (next, _) = io.unix_pair().unwrap();
    io.recv(one, vec![0; 4], keep(&ends));
    io.run().unwrap();
    assert_eq!((kind(ends.one().result), next == one), (stale, false));
    io.close(other);
    io.run().unwrap();
}

fn close_on_exec(subject: &Subject) {
    let io: Io = subject.io();
    let name = format!("nbio-cloexec-{}-{}", subject.name, std::process::id());
    let address = UnixAddress::abstract_name(name);
    let listener = io.listen_unix(address.clone()).unwrap();
    let (accepted, connected) = (Slot::new(), Slot::new());
    io.accept(listener, keep::<End>(&accepted));
    io.connect_unix(address, keep::<Connected>(&connected));
    io.run().unwrap();
    let (one, other) = io.unix_pair().unwrap();
    let (reader, writer) = io.pipe().unwrap();
    let mut all =
        vec![io.release(listener).unwrap(), io.release(reader).unwrap(), io.release(writer).unwrap()];
    for stream in [one, other, accepted.one().unwrap().stream, connected.one().unwrap()] {
        all.push(io.release(stream).unwrap());
    }
    assert!(all.iter().all(|descriptor| fcntl_getfd(descriptor).unwrap().contains(FdFlags::CLOEXEC)));
}

fn moves_to_another_loop(subject: &Subject) {
    let (io, other): (Io, Io) = (subject.io(), subject.io());
    let (near, far) = io.unix_pair().unwrap();
    let far = other.attach(io.detach(far).unwrap()).unwrap();
    io.send_all(near, "hello", |_, _, _| ());
    io.run().unwrap();
    let got = Slot::new();
    other.recv(far, vec![0; 8], keep::<Moved>(&got));
    other.run().unwrap();
    assert_eq!(got.one().data(), b"hello");
}

fn unlink() -> UnixListenOptions {
    UnixListenOptions::default().unlink_on_close(true)
}

/// Documented: by whatever the listener is closed, and by nothing else.
fn removes_its_file(subject: &Subject) {
    let directory = scratch("local-unlink");
    let path = directory.join("socket");
    let io: Io = subject.io();
    // By a close, while somebody waits.
    let listener = io.listen_unix_with(&path, unlink()).unwrap();
    let (ended, client) = (Slot::new(), Socket::connect(&path).unwrap());
    io.accept(listener, keep::<End>(&ended));
    io.run().unwrap();
    io.accept(listener, keep(&ended));
    turn(&io, 2);
    assert!(path.exists() && ended.take()[0].is_ok());
    io.close(listener);
    io.run().unwrap();
    assert!(!path.exists() && kind(ended.one()) == Some(ErrorKind::Cancelled));
    drop(client);
    // By the end of the loop.
    let other: Io = subject.io();
    other.listen_unix_with(&path, unlink()).unwrap();
    assert!(path.exists());
    drop(other);
    assert!(!path.exists());
    // On its way to another loop, and there.
    let detached = io.detach(io.listen_unix_with(&path, unlink()).unwrap()).unwrap();
    assert!(path.exists());
    drop(detached);
    assert!(!path.exists());
    let detached = io.detach(io.listen_unix_with(&path, unlink()).unwrap()).unwrap();
    let other: Io = subject.io();
    let listener = other.attach(detached).unwrap();
    drop(io);
    assert!(path.exists());
    other.close(listener);
    other.run().unwrap();
    assert!(!path.exists());
    std::fs::remove_dir(directory).unwrap();
}

fn removes_no_other_file(subject: &Subject) {
    let directory = scratch("local-unlink-other");
    let path = directory.join("socket");
    let io: Io = subject.io();
    let gone = |listener: UnixListener| {
        io.close(listener);
        io.run().unwrap();
    };
    // One that can't listen has nothing to remove.
    let there = io.listen_unix(&path).unwrap();
    assert_eq!(kind(io.listen_unix_with(&path, unlink())), Some(ErrorKind::AddrInUse));
    assert!(path.exists());
    gone(there);
    std::fs::remove_file(&path).unwrap();
    // Somebody else listens there by now; there is something else; there is nothing.
    let old = io.listen_unix_with(&path, unlink()).unwrap();
    std::fs::remove_file(&path).unwrap();
    let new = Server::bind(&path).unwrap();
    gone(old);
    assert!(Socket::connect(&path).is_ok());
    drop(new);
    for replaced in [true, false] {
        std::fs::remove_file(&path).unwrap();
        let old = io.listen_unix_with(&path, unlink()).unwrap();
        std::fs::remove_file(&path).unwrap();
        if replaced {
            std::fs::write(&path, "no socket").unwrap();
        }
        gone(old);
        assert_eq!(path.exists(), replaced);
    }
    // Documented: a released one's stays, as does one's that didn't ask for it.
    let released: OwnedFd = io.release(io.listen_unix_with(&path, unlink()).unwrap()).unwrap();
    assert!(Socket::connect(&path).is_ok());
    drop(released);
    drop(io);
    std::fs::remove_file(&path).unwrap();
    std::fs::remove_dir(directory).unwrap();
}

/// A relative path is that of the directory in which it was listened on.
fn removes_from_elsewhere(subject: &Subject) {
    child::run(subject, "local::removes_its_file_from_another_directory", |subject| {
        let directory = scratch("local-unlink-elsewhere");
        std::env::set_current_dir(&directory).unwrap();
        let io: Io = subject.io();
        let listener = io.listen_unix_with("socket", unlink()).unwrap();
        assert!(directory.join("socket").exists());
        std::env::set_current_dir("/").unwrap();
        io.close(listener);
        io.run().unwrap();
        std::fs::remove_dir(directory).unwrap();
    });
}
