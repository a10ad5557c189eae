//! Datagrams by Unix sockets.

use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram as Peer};
use std::time::Duration;

use nbio::{Datagram, Done, ErrorKind, Operation, UnixAddress, UnixDatagram, UnixStream, op};
use rustix::io::{FdFlags, fcntl_getfd};

use crate::hanging::{HOUR, Tracked, idle};
use crate::passing::send_by_hand as send_descriptors;
use crate::pipes::scratch;
use crate::poll::is_unread;
use crate::support::{Case, Drops, Slot, Subject};
use crate::udp::finish;
use crate::wire::{Io, drive, keep, kind, noise, turn};

pub const CASES: &[Case] = &[
    Case { name: "by_a_path_and_tells_its_sender", run: by_a_path },
    Case { name: "by_abstract_names", run: by_abstract_names },
    Case { name: "a_pair_with_all_operations", run: a_pair },
    Case { name: "without_bytes", run: without_bytes },
    Case { name: "larger_one_is_cut_and_says_so", run: cut },
    Case { name: "largest_and_too_large", run: largest },
    Case { name: "bad_input", run: bad_input },
    Case { name: "descriptors_that_nobody_asked_for_are_closed", run: unasked_descriptors },
    Case { name: "connected_anew_and_disconnected", run: connected_anew },
    Case { name: "peer_gone", run: peer_gone },
    Case { name: "full_queue_lets_sends_wait", run: full_queue },
    Case { name: "full_queue_keeps_nobody_from_sending_to_others", run: others_have_room },
    Case { name: "waiting_sends_cancelled_and_late", run: waiting_sends },
    Case { name: "waiting_sends_removed", run: removed_sends },
    Case { name: "adopted_without_blocking_waits_too", run: adopted_without_blocking },
    Case { name: "receives_ended_at_every_moment", run: receives_ended },
    Case { name: "closed_with_operations_pending", run: closed },
    Case { name: "prepared_and_closed_in_one_tick", run: closed_in_one_tick },
    Case { name: "stale_and_foreign_handles", run: stale },
    Case { name: "adopted_released_and_moved", run: adopted },
    Case { name: "dropped_loop_drops_what_waits", run: dropped },
];

/// A name that no other socket of this process has.
pub fn name(subject: &Subject, what: &str) -> String {
    format!("nbio-{}-{}-{what}", subject.name, std::process::id())
}

fn abstract_address(name: &str) -> SocketAddr {
    SocketAddr::from_abstract_name(name).unwrap()
}

/// A socket of the loop at an abstract name, and a peer of std that doesn't wait for ever.
fn bound(subject: &Subject, io: &Io, what: &str) -> (UnixDatagram, UnixAddress, Peer) {
    let name = name(subject, what);
    let address = UnixAddress::abstract_name(name.clone());
    let socket = io.bind_unix_datagram(address.clone()).unwrap();
    let peer = Peer::unbound().unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    peer.connect_addr(&abstract_address(&name)).unwrap();
    (socket, address, peer)
}

fn receive(io: &Io, socket: UnixDatagram, room: usize) -> Datagram<Vec<u8>, UnixAddress> {
    finish(io, op::RecvFrom::new(socket, vec![0xAA; room]))
}

/// Documented: the sender's path, or that it has no name; to and from sockets of std.
fn by_a_path(subject: &Subject) {
    let directory = scratch("datagram-path");
    let (path, own) = (directory.join("socket"), directory.join("peer"));
    let io: Io = subject.io();
    let socket = io.bind_unix_datagram(&path).unwrap();
    assert_eq!(io.unix_local_address(socket), Ok(UnixAddress::from(&path)));
    let (named, unnamed) = (Peer::bind(&own).unwrap(), Peer::unbound().unwrap());
    // One that waits, and one that finds it there.
    let ended = Slot::new();
    io.recv_from(socket, [0; 9], keep(&ended));
    turn(&io, 2);
    named.send_to(b"first", &path).unwrap();
    drive(&io, || ended.len() > 0);
    let datagram: Datagram<[u8; 9], UnixAddress> = ended.one();
    assert_eq!((datagram.bytes, datagram.data(), datagram.result), (5, &b"first"[..], Ok(())));
    assert_eq!((datagram.from, datagram.truncated), (Some(UnixAddress::from(&own)), false));
    unnamed.send_to(b"second", &path).unwrap();
    let datagram = receive(&io, socket, 9);
    assert_eq!((datagram.data(), datagram.from.clone()), (&b"second"[..], Some(UnixAddress::default())));
    let done = finish(&io, op::SendTo::new(socket, "answer", &own));
    assert_eq!((done.bytes, done.result, done.buf), (6, Ok(()), "answer"));
    let mut got = [0; 9];
    let (bytes, from) = named.recv_from(&mut got).unwrap();
    assert_eq!((&got[..bytes], from.as_pathname()), (&b"answer"[..], Some(path.as_path())));
    // Documented: the file stays, and is in the way.
    io.close(socket);
    io.run().unwrap();
    let error = io.bind_unix_datagram(&path).unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::AddrInUse, op::Kind::BindUnixDatagram));
    // Nobody is there any more.
    let other = io.bind_unix_datagram(UnixAddress::default()).unwrap();
    let done = finish(&io, op::SendTo::new(other, "x", &path));
    assert_eq!((kind(done.result), done.bytes), (Some(ErrorKind::ConnectionRefused), 0));
    std::fs::remove_file(&path).unwrap();
    let done = finish(&io, op::SendTo::new(other, "x", &path));
    assert_eq!(kind(done.result), Some(ErrorKind::NotFound));
    io.bind_unix_datagram(&path).unwrap();
    std::fs::remove_dir_all(directory).unwrap();
}

fn by_abstract_names(subject: &Subject) {
    let io: Io = subject.io();
    let (socket, here, _) = bound(subject, &io, "names");
    assert_eq!(kind(io.bind_unix_datagram(here.clone())), Some(ErrorKind::AddrInUse));
    let other = UnixAddress::abstract_name(name(subject, "another"));
    let sender = io.bind_unix_datagram(other.clone()).unwrap();
    io.send_to(sender, "hello", here.clone(), |_, _, done| assert_eq!(done.result, Ok(())));
    let datagram = receive(&io, socket, 9);
    assert_eq!((datagram.data(), datagram.from.clone()), (&b"hello"[..], Some(other)));
    // A path as long as there can be.
    let directory = scratch("dgram");
    let most = 107 - directory.as_os_str().len() - 1;
    let path = directory.join("x".repeat(most));
    let far = io.bind_unix_datagram(&path).unwrap();
    io.send_to(far, "from afar", here, |_, _, done| assert_eq!(done.result, Ok(())));
    assert_eq!(receive(&io, socket, 9).from, Some(UnixAddress::from(&path)));
    std::fs::remove_dir_all(directory).unwrap();
}

fn a_pair(subject: &Subject) {
    let io: Io = subject.io();
    let (one, other) = io.unix_datagram_pair().unwrap();
    for socket in [one, other] {
        assert!(fcntl_getfd(io.duplicate(socket).unwrap()).unwrap().contains(FdFlags::CLOEXEC));
        assert!(io.unix_local_address(socket).unwrap().is_unnamed());
        assert!(io.unix_peer_address(socket).unwrap().is_unnamed());
    }
    assert_eq!(finish(&io, op::SendDatagram::new(one, "plain")).bytes, 5);
    assert_eq!(finish(&io, op::SendMsg::new(one, ["head", "body"])).bytes, 8);
    assert_eq!(finish(&io, op::SendMsg::new(one, vec!["x"; 1024])).bytes, 1024);
    let too_many = finish(&io, op::SendMsg::new(one, vec!["x"; 1025]));
    assert_eq!((kind(too_many.result), too_many.bytes), (Some(ErrorKind::InvalidInput), 0));
    assert_eq!(receive(&io, other, 9).data(), b"plain");
    let datagram = finish(&io, op::RecvMsg::new(other, [Vec::with_capacity(4), Vec::with_capacity(20)]));
    assert_eq!((datagram.bytes, datagram.truncated), (8, false));
    assert!(datagram.buf[0] == b"head" && datagram.buf[1] == b"body");
    assert!(datagram.from.unwrap().is_unnamed());
    let datagram = finish(&io, op::RecvMsg::new(other, [[0; 1000], [0; 1000]]));
    assert_eq!((datagram.bytes, datagram.control), (1024, Default::default()));
    // In order, and each is one.
    let ended = Slot::new();
    for number in 0..100_u8 {
        io.send_datagram(one, vec![number; usize::from(number)], |_, _, done| {
            assert_eq!(done.result, Ok(()))
        });
        turn(&io, 1);
        io.recv_from(other, vec![0; 200], keep(&ended));
    }
    drive(&io, || ended.len() == 100);
    for (number, datagram) in (0..100_u8).zip(ended.take()) {
        let datagram: Datagram<Vec<u8>, UnixAddress> = datagram;
        assert_eq!(datagram.buf, vec![number; usize::from(number)]);
    }
}

/// Documented: "One without bytes is `Ok` with 0 bytes and an address".
fn without_bytes(subject: &Subject) {
    let io: Io = subject.io();
    let (socket, here, peer) = bound(subject, &io, "empty");
    peer.send(b"").unwrap();
    peer.send(b"behind it").unwrap();
    let datagram = receive(&io, socket, 20);
    assert_eq!((datagram.bytes, datagram.result), (0, Ok(())));
    assert!(datagram.from.is_some() && datagram.buf.is_empty() && !datagram.truncated);
    assert_eq!(receive(&io, socket, 20).data(), b"behind it");
    let done = finish(&io, op::SendTo::new(socket, Vec::new(), here.clone()));
    assert_eq!((done.bytes, done.result), (0, Ok(())));
    assert_eq!(finish(&io, op::SendMsg::new(socket, Vec::<Vec<u8>>::new()).to(here)).result, Ok(()));
    for _ in 0..2 {
        assert_eq!((receive(&io, socket, 20).bytes, io.in_flight()), (0, 0));
    }
}

fn cut(subject: &Subject) {
    let io: Io = subject.io();
    let (socket, _, peer) = bound(subject, &io, "cut");
    for text in ["0123456789", "behind it", "exact"] {
        peer.send(text.as_bytes()).unwrap();
    }
    let datagram = receive(&io, socket, 4);
    assert_eq!((datagram.bytes, datagram.data(), datagram.truncated), (4, &b"0123"[..], true));
    assert_eq!(datagram.result, Ok(()));
    let datagram = receive(&io, socket, 8);
    assert_eq!((datagram.data(), datagram.truncated), (&b"behind i"[..], true));
    let datagram = receive(&io, socket, 5);
    assert_eq!((datagram.data(), datagram.truncated), (&b"exact"[..], false));
}

/// Documented: `MessageTooLong` with 0 bytes over what the send buffer takes; what is under it arrives whole.
fn largest(subject: &Subject) {
    let io: Io = subject.io();
    let (socket, here, _) = bound(subject, &io, "large");
    let buffer = std::fs::read_to_string("/proc/sys/net/core/wmem_default").unwrap();
    let most: usize = buffer.trim().parse().unwrap();
    let done = finish(&io, op::SendTo::new(socket, vec![1; most], here.clone()));
    assert_eq!((kind(done.result), done.bytes), (Some(ErrorKind::MessageTooLong), 0));
    assert_eq!(done.result.unwrap_err().operation(), op::Kind::SendTo);
    let bytes = noise(most - 1024, 7);
    let done = finish(&io, op::SendTo::new(socket, bytes.clone(), here));
    assert_eq!((done.result, done.bytes), (Ok(()), bytes.len()));
    let datagram = receive(&io, socket, most);
    assert!(datagram.buf == bytes && !datagram.truncated);
}

fn bad_input(subject: &Subject) {
    let io: Io = subject.io();
    let (socket, _, peer) = bound(subject, &io, "bad");
    let long = UnixAddress::abstract_name(vec![b'x'; 108]);
    let wrong: [UnixAddress; 4] = [long, "".into(), "a\0b".into(), (&"p".repeat(200)).into()];
    for address in wrong.into_iter().chain([UnixAddress::default()]) {
        let done = finish(&io, op::SendTo::new(socket, "x", address.clone()));
        let error = done.result.unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::InvalidInput, op::Kind::SendTo));
        let done = finish(&io, op::SendMsg::new(socket, ["x"; 2]).to(address.clone()));
        assert_eq!((kind(done.result), done.bytes), (Some(ErrorKind::InvalidInput), 0));
        let error = io.connect_unix_datagram(socket, address.clone()).unwrap_err();
        let expected = (ErrorKind::InvalidInput, op::Kind::ConnectUnixDatagram);
        assert_eq!((error.kind(), error.operation()), expected);
        if !address.is_unnamed() {
            let error = io.bind_unix_datagram(address).unwrap_err();
            assert_eq!(
                (error.kind(), error.operation()),
                (ErrorKind::InvalidInput, op::Kind::BindUnixDatagram)
            );
        }
    }
    // No capacity: nothing is taken.
    peer.send(b"x").unwrap();
    let datagram = receive(&io, socket, 0);
    assert_eq!((kind(datagram.result), datagram.from), (Some(ErrorKind::InvalidInput), None));
    assert_eq!(receive(&io, socket, 1).data(), b"x");
    // Nobody to send to; nobody's address; the other type of socket.
    assert_eq!(kind(finish(&io, op::SendDatagram::new(socket, "x")).result), Some(ErrorKind::NotConnected));
    assert_eq!(kind(io.unix_peer_address(socket)), Some(ErrorKind::NotConnected));
    let directory = scratch("datagram-bad");
    let stream = UnixAddress::from(&directory.join("stream"));
    io.listen_unix(stream.clone()).unwrap();
    let unsupported = Some(ErrorKind::Unsupported);
    assert_eq!(kind(finish(&io, op::SendTo::new(socket, "x", stream.clone())).result), unsupported);
    assert_eq!(kind(io.connect_unix_datagram(socket, stream)), unsupported);
    let path = UnixAddress::from(&directory.join("datagram"));
    io.bind_unix_datagram(path.clone()).unwrap();
    let connected = finish(&io, op::ConnectUnix::new(path));
    assert_eq!(kind(connected), unsupported);
    std::fs::remove_dir_all(directory).unwrap();
}

/// A peer can't fill the process with descriptors.
fn unasked_descriptors(subject: &Subject) {
    let io: Io = subject.io();
    let (near, far) = Peer::pair().unwrap();
    let near: UnixDatagram = io.adopt(OwnedFd::from(near)).unwrap();
    for vectored in [false, true] {
        let (reader, writer) = std::io::pipe().unwrap();
        send_descriptors(&far, b"x", &[&reader, &reader]);
        drop(reader);
        if vectored {
            assert_eq!(finish(&io, op::RecvMsg::new(near, [[0; 9]; 2])).bytes, 1);
        } else {
            assert_eq!(receive(&io, near, 9).data(), b"x");
        }
        assert!(is_unread(&writer));
    }
}

/// Documented: only the peer's come; anew and back; what waited then is thrown away, and the old peer is told once.
fn connected_anew(subject: &Subject) {
    let io: Io = subject.io();
    let (socket, here, stranger) = bound(subject, &io, "anew");
    let names = ["anew-first", "anew-second"].map(|what| name(subject, what));
    let [first, second] = names.map(UnixAddress::abstract_name);
    let (old, new) =
        (io.bind_unix_datagram(first.clone()).unwrap(), io.bind_unix_datagram(second.clone()).unwrap());
    stranger.send(b"before").unwrap();
    io.connect_unix_datagram(socket, first.clone()).unwrap();
    io.connect_unix_datagram(old, here.clone()).unwrap();
    assert_eq!(io.unix_peer_address(socket), Ok(first));
    assert_eq!(finish(&io, op::SendDatagram::new(socket, "hello")).result, Ok(()));
    let datagram = receive(&io, old, 9);
    assert_eq!((datagram.data(), datagram.from.clone()), (&b"hello"[..], Some(here.clone())));
    // What came before stays, and nobody else's comes.
    assert_eq!(receive(&io, socket, 9).data(), b"before");
    assert_eq!(stranger.send(b"x").unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
    let done = finish(&io, op::SendTo::new(new, "x", here.clone()));
    assert_eq!((kind(done.result), done.bytes), (Some(ErrorKind::PermissionDenied), 0));
    assert_eq!(finish(&io, op::SendDatagram::new(old, "thrown away")).result, Ok(()));
    io.connect_unix_datagram(socket, second).unwrap();
    assert_eq!(kind(receive(&io, old, 9).result), Some(ErrorKind::ConnectionReset));
    assert_eq!(finish(&io, op::SendTo::new(new, "new", here.clone())).result, Ok(()));
    assert_eq!(receive(&io, socket, 20).data(), b"new");
    io.disconnect_unix_datagram(socket).unwrap();
    io.disconnect_unix_datagram(socket).unwrap();
    assert_eq!(kind(io.unix_peer_address(socket)), Some(ErrorKind::NotConnected));
    assert_eq!(io.unix_local_address(socket), Ok(here));
    stranger.send(b"again").unwrap();
    assert_eq!(receive(&io, socket, 9).data(), b"again");
}

/// Documented: a send is told, once; a receive isn't.
fn peer_gone(subject: &Subject) {
    let io: Io = subject.io();
    let (near, far) = Peer::pair().unwrap();
    let near: UnixDatagram = io.adopt(OwnedFd::from(near)).unwrap();
    far.send(b"last").unwrap();
    drop(far);
    assert_eq!(receive(&io, near, 9).data(), b"last");
    let waits = Slot::new();
    let recv = io.recv_from(near, [0; 9], keep::<Datagram<[u8; 9], UnixAddress>>(&waits));
    turn(&io, 3);
    assert_eq!(waits.len(), 0);
    let done = finish(&io, op::SendDatagram::new(near, "x"));
    assert_eq!((kind(done.result), done.bytes), (Some(ErrorKind::ConnectionRefused), 0));
    assert_eq!(kind(finish(&io, op::SendDatagram::new(near, "x")).result), Some(ErrorKind::NotConnected));
    assert!(io.cancel(recv));
    io.run().unwrap();
    // One that doesn't want to receive any more.
    let (near, far) = Peer::pair().unwrap();
    let near: UnixDatagram = io.adopt(OwnedFd::from(near)).unwrap();
    far.shutdown(std::net::Shutdown::Read).unwrap();
    assert_eq!(kind(finish(&io, op::SendDatagram::new(near, "x")).result), Some(ErrorKind::BrokenPipe));
}

/// A receiver whose queue is full, and its address; what is there are numbers from 0 on.
fn full(subject: &Subject, io: &Io, what: &str) -> (Peer, UnixAddress, u32) {
    let name = name(subject, what);
    let receiver = Peer::bind_addr(&abstract_address(&name)).unwrap();
    receiver.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let filler = Peer::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    let mut count = 0_u32;
    while filler.send_to_addr(&count.to_ne_bytes(), &abstract_address(&name)).is_ok() {
        count += 1;
    }
    assert!(count > 0 && io.in_flight() == 0);
    (receiver, UnixAddress::abstract_name(name), count)
}

/// What waits there.
fn numbers(receiver: &Peer, count: u32) -> Vec<u32> {
    let mut got = [0; 4];
    let mut next = |_| {
        assert_eq!(receiver.recv(&mut got).unwrap(), 4);
        u32::from_ne_bytes(got)
    };
    (0..count).map(&mut next).collect()
}

/// Nothing more is there.
fn is_empty(receiver: &Peer) -> bool {
    receiver.set_nonblocking(true).unwrap();
    let end = receiver.recv(&mut [0; 4]);
    receiver.set_nonblocking(false).unwrap();
    end.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

/// How long this thread has had a CPU so far, in nanoseconds.
fn busy() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// Documented: a send waits while the receiver's queue is full, connected or not, and goes when there is room.
fn full_queue(subject: &Subject) {
    let io: Io = subject.io();
    for connected in [false, true] {
        let (receiver, there, count) = full(subject, &io, "full");
        let socket = io.bind_unix_datagram(UnixAddress::default()).unwrap();
        let ended: Slot<Done<[u8; 4]>> = Slot::new();
        if connected {
            io.connect_unix_datagram(socket, there).unwrap();
            io.send_datagram(socket, count.to_ne_bytes(), keep(&ended));
        } else {
            io.send_to(socket, count.to_ne_bytes(), there, keep(&ended));
        }
        turn(&io, 5);
        assert_eq!(ended.len(), 0);
        // It doesn't take a core to wait.
        let start = busy();
        io.tick(Some(Duration::from_millis(60))).unwrap();
        io.tick(Some(Duration::from_millis(60))).unwrap();
        let spent = busy() - start;
        assert!(spent < 50_000_000, "{spent} ns of 120 ms");
        assert_eq!(ended.len(), 0);
        let mut got = numbers(&receiver, count);
        drive(&io, || ended.len() > 0);
        let done = ended.one();
        assert_eq!((done.result, done.bytes), (Ok(()), 4));
        got.extend(numbers(&receiver, 1));
        assert!(got.into_iter().eq(0..=count) && is_empty(&receiver));
    }
}

/// Documented: each send waits for its own receiver.
fn others_have_room(subject: &Subject) {
    let io: Io = subject.io();
    let (receiver, there, count) = full(subject, &io, "others");
    let (_near, elsewhere, _peer) = bound(subject, &io, "room");
    let socket = io.bind_unix_datagram(UnixAddress::default()).unwrap();
    io.connect_unix_datagram(socket, there).unwrap();
    let ended: Slot<Done<[u8; 4]>> = Slot::new();
    io.send_datagram(socket, count.to_ne_bytes(), keep(&ended));
    turn(&io, 5);
    assert_eq!(finish(&io, op::SendTo::new(socket, *b"past", elsewhere)).result, Ok(()));
    assert_eq!(ended.len(), 0);
    numbers(&receiver, count);
    drive(&io, || ended.len() > 0);
    assert_eq!((ended.one().result, numbers(&receiver, 1)), (Ok(()), vec![count]));
}

/// Guarantee 3: a send that the system waits with is cancelled, at every moment, and a deadline ends it; nothing was sent then.
fn waiting_sends(subject: &Subject) {
    let io: Io = subject.io();
    for (ticks, connected) in (0..4).flat_map(|ticks| [(ticks, false), (ticks, true)]) {
        let (receiver, there, count) = full(subject, &io, "waiting");
        let socket = io.bind_unix_datagram(UnixAddress::default()).unwrap();
        let ended: Slot<Done<Vec<u8>>> = Slot::new();
        let late: Slot<Done<[Vec<u8>; 2]>> = Slot::new();
        let send = if connected {
            io.connect_unix_datagram(socket, there.clone()).unwrap();
            io.send_datagram(socket, vec![1; 4], keep(&ended))
        } else {
            io.send_to(socket, vec![1; 4], there.clone(), keep(&ended))
        };
        let slow = op::SendMsg::new(socket, [vec![2; 2], vec![2; 2]]).to(there);
        io.submit(slow.timeout(Duration::from_millis(5)), keep(&late));
        turn(&io, ticks);
        assert!(io.cancel(send));
        drive(&io, || ended.len() + late.len() == 2);
        let (done, slow) = (ended.one(), late.one());
        assert_eq!((kind(done.result), done.bytes, done.buf), (Some(ErrorKind::Cancelled), 0, vec![1; 4]));
        assert_eq!((kind(slow.result), slow.bytes), (Some(ErrorKind::TimedOut), 0));
        assert!(numbers(&receiver, count).into_iter().eq(0..count) && is_empty(&receiver));
        assert_eq!(io.drain(HOUR), Ok(0));
    }
}

/// Guarantees 4 and 5: the buffer is dropped once, when the system has let go of it.
fn removed_sends(subject: &Subject) {
    for (ticks, connected) in (0..4).flat_map(|ticks| [(ticks, false), (ticks, true)]) {
        let io: Io = subject.io();
        let (receiver, there, count) = full(subject, &io, "removed");
        let socket = io.bind_unix_datagram(UnixAddress::default()).unwrap();
        let (buffers, callbacks) = (Drops::new(), Drops::new());
        let counted = callbacks.counted();
        let ended = move |_: &mut (), _: &Io, _: Done<Tracked>| {
            let _counted = &counted;
            unreachable!("it is removed")
        };
        let buf = Tracked::new(4, &buffers);
        let send = if connected {
            io.connect_unix_datagram(socket, there).unwrap();
            io.send_datagram(socket, buf, ended)
        } else {
            io.send_to(socket, buf, there, ended)
        };
        turn(&io, ticks);
        assert!(io.remove(send) && !io.remove(send));
        assert_eq!(callbacks.count(), 1);
        idle(&io);
        assert_eq!((buffers.count(), callbacks.count()), (1, 1));
        assert!(numbers(&receiver, count).into_iter().eq(0..count) && is_empty(&receiver));
    }
}

/// Documented at `adopt`: the blocking mode of what comes from outside is left alone; receives and sends wait all the same.
fn adopted_without_blocking(subject: &Subject) {
    let io: Io = subject.io();
    for connected in [false, true] {
        let (receiver, there, count) = full(subject, &io, "nonblocking");
        let outside = Peer::unbound().unwrap();
        outside.set_nonblocking(true).unwrap();
        let kept = outside.try_clone().unwrap();
        let socket: UnixDatagram = io.adopt(OwnedFd::from(outside)).unwrap();
        let ended: Slot<Done<[u8; 4]>> = Slot::new();
        if connected {
            io.connect_unix_datagram(socket, there.clone()).unwrap();
        }
        let send = |number: u32| op::SendMsg::new(socket, [number.to_ne_bytes()]);
        let late = send(7).to(there.clone()).timeout(Duration::from_millis(5));
        assert_eq!(kind(finish(&io, late).result), Some(ErrorKind::TimedOut));
        if connected {
            io.send_datagram(socket, count.to_ne_bytes(), keep(&ended));
        } else {
            io.send_to(socket, count.to_ne_bytes(), there, keep(&ended));
        }
        let mut turns = 0;
        io.timer(Duration::from_millis(50), |_, io, _| io.stop());
        while io.in_flight() == 2 {
            io.tick(None).unwrap();
            turns += 1;
        }
        assert!(ended.len() == 0 && turns < 200, "it waits, and {turns} turns are no spinning");
        let mut got = numbers(&receiver, count);
        drive(&io, || ended.len() > 0);
        assert_eq!(ended.one().result, Ok(()));
        got.extend(numbers(&receiver, 1));
        assert!(got.into_iter().eq(0..=count));
        let blocking = rustix::fs::fcntl_getfl(&kept).unwrap();
        assert!(blocking.contains(rustix::fs::OFlags::NONBLOCK));
    }
}

/// Guarantees 3, 4 and 5, with any number of ticks before: cancelled, late and removed receives; the socket works as before.
fn receives_ended(subject: &Subject) {
    for ticks in 0..4 {
        let io: Io = subject.io();
        let (socket, _, peer) = bound(subject, &io, "receives");
        let (buffers, ended) = (Drops::new(), Slot::new());
        let one = io.recv_from(socket, Tracked::new(9, &buffers), keep(&ended));
        let late = op::RecvFrom::new(socket, Tracked::new(9, &buffers)).timeout(Duration::from_millis(1));
        io.submit(late, keep(&ended));
        let bufs = [Tracked::new(4, &buffers), Tracked::new(4, &buffers)];
        let two = io.submit(op::RecvMsg::new(socket, bufs), |_, _, _| unreachable!("it is removed"));
        turn(&io, ticks);
        assert!(io.cancel(one) && io.remove(two) && !io.cancel(two));
        idle(&io);
        let ends: Vec<Datagram<Tracked, UnixAddress>> = ended.take();
        assert_eq!((ends.len(), buffers.count()), (2, 2));
        let expected = [ErrorKind::Cancelled, ErrorKind::TimedOut];
        let mut kinds: Vec<_> = ends.iter().map(|end| end.result.unwrap_err().kind()).collect();
        kinds.sort_by_key(|&kind| kind == ErrorKind::TimedOut);
        assert_eq!(kinds, expected);
        assert!(ends.iter().all(|end| end.bytes == 0 && end.from.is_none()));
        drop(ends);
        assert_eq!(buffers.count(), 4);
        peer.send(b"later").unwrap();
        assert_eq!(receive(&io, socket, 9).data(), b"later");
        // What did what was asked ends `Ok`.
        peer.send(b"here").unwrap();
        let done = Slot::new();
        let recv = io.recv_from(socket, [0; 9], keep(&done));
        turn(&io, 1);
        assert!(io.cancel(recv));
        drive(&io, || done.len() > 0);
        let datagram: Datagram<[u8; 9], UnixAddress> = done.one();
        assert_eq!((datagram.result, datagram.data()), (Ok(()), &b"here"[..]));
    }
}

/// Guarantee 6: what waits there ends `Cancelled`, then the descriptor is closed: the name is free again.
fn closed(subject: &Subject) {
    for ticks in 0..3 {
        let io: Io = subject.io();
        let (socket, here, _peer) = bound(subject, &io, "closed");
        let (receiver, there, _) = full(subject, &io, "closed-full");
        let ended = Slot::new();
        for _ in 0..2 {
            let seen = ended.clone();
            io.recv_from(socket, [0; 9], move |_, _, datagram| seen.put(kind(datagram.result)));
        }
        let seen = ended.clone();
        io.send_to(socket, "x", there, move |_, _, done| seen.put(kind(done.result)));
        turn(&io, ticks);
        let seen = ended.clone();
        io.close_then(socket, move |_, _, closed| seen.put(kind(closed)));
        assert_eq!(kind(io.unix_local_address(socket)), Some(ErrorKind::StaleHandle));
        io.run().unwrap();
        let cancelled = Some(ErrorKind::Cancelled);
        assert_eq!(ended.take(), [cancelled, cancelled, cancelled, None]);
        assert!(io.bind_unix_datagram(here).is_ok());
        drop(receiver);
    }
}

/// Guarantee 6: an operation that is prepared, and a close, in the same tick: the operation never reaches the descriptor
/// that is opened next.
fn closed_in_one_tick(subject: &Subject) {
    let io: Io = subject.io();
    let (other, there, _) = bound(subject, &io, "tick-other");
    for _ in 0..20 {
        let (socket, here, _peer) = bound(subject, &io, "tick");
        let (received, sent) = (Slot::new(), Slot::new());
        io.recv_from(socket, [0; 9], keep(&received));
        io.send_to(socket, "x", there.clone(), keep(&sent));
        io.close(socket);
        let (next, _, peer) = bound(subject, &io, "tick-next");
        peer.send(b"for the next").unwrap();
        io.run().unwrap();
        let (datagram, done): (Datagram<[u8; 9], UnixAddress>, Done<&str>) = (received.one(), sent.one());
        assert_eq!((kind(datagram.result), datagram.bytes), (Some(ErrorKind::Cancelled), 0));
        if done.bytes == 1 {
            assert_eq!(receive(&io, other, 9).from, Some(here), "by its own socket, if at all");
        }
        assert_eq!(receive(&io, next, 20).data(), b"for the next");
        io.close(next);
        io.run().unwrap();
    }
}

/// Guarantee 6: others have taken its descriptor's number; and a handle of another loop.
fn stale(subject: &Subject) {
    let (io, elsewhere): (Io, Io) = (subject.io(), subject.io());
    let (old, here, _) = bound(subject, &io, "stale");
    let number = io.raw(old).unwrap();
    io.close(old);
    io.run().unwrap();
    let mut held = Vec::new();
    // Another thread may be quicker to take the number: then there is the next one.
    while !held.iter().any(|&(one, other)| io.raw(one) == Ok(number) || io.raw(other) == Ok(number))
        && held.len() < 200
    {
        held.push(io.unix_datagram_pair().unwrap());
    }
    let (foreign, _, _) = bound(subject, &elsewhere, "foreign");
    for (handle, error) in [(old, ErrorKind::StaleHandle), (foreign, ErrorKind::WrongLoop)] {
        assert_eq!(kind(receive(&io, handle, 9).result), Some(error));
        assert_eq!(kind(finish(&io, op::RecvMsg::new(handle, [[0; 9]])).result), Some(error));
        assert_eq!(kind(finish(&io, op::SendTo::new(handle, "x", here.clone())).result), Some(error));
        assert_eq!(kind(finish(&io, op::SendDatagram::new(handle, "x")).result), Some(error));
        let failed = |result: Result<(), nbio::Error>, call| {
            let got = result.unwrap_err();
            assert_eq!((got.kind(), got.operation()), (error, call));
        };
        failed(io.connect_unix_datagram(handle, here.clone()), op::Kind::ConnectUnixDatagram);
        failed(io.disconnect_unix_datagram(handle), op::Kind::DisconnectUnixDatagram);
        failed(io.unix_local_address(handle).map(drop), op::Kind::LocalAddress);
        failed(io.unix_peer_address(handle).map(drop), op::Kind::PeerAddress);
    }
    for (one, other) in held {
        assert_eq!(finish(&io, op::SendDatagram::new(one, "mine")).bytes, 4);
        assert_eq!(receive(&io, other, 9).data(), b"mine");
    }
}

/// Adopted as what it is, and given back; another loop takes over what waits.
fn adopted(subject: &Subject) {
    let (io, elsewhere): (Io, Io) = (subject.io(), subject.io());
    let (near, far) = Peer::pair().unwrap();
    far.send(b"waits").unwrap();
    let near: UnixDatagram = io.adopt(OwnedFd::from(near)).unwrap();
    let detached = io.detach(near).unwrap();
    assert_eq!(kind(receive(&io, near, 9).result), Some(ErrorKind::StaleHandle));
    let near = elsewhere.attach(detached).unwrap();
    assert_eq!(receive(&elsewhere, near, 9).data(), b"waits");
    let recv = elsewhere.recv_from(near, [0; 9], |_, _, _| ());
    assert_eq!(kind(elsewhere.release(near)), Some(ErrorKind::Busy));
    elsewhere.cancel(recv);
    elsewhere.run().unwrap();
    let near = Peer::from(elsewhere.release(near).unwrap());
    near.send(b"back").unwrap();
    assert_eq!(far.recv(&mut [0; 9]).unwrap(), 4);
    // None of another kind, neither here nor there.
    let refused = io.adopt::<UnixDatagram>(OwnedFd::from(std::os::unix::net::UnixStream::pair().unwrap().0));
    assert_eq!(kind(refused.map_err(nbio::Error::from)), Some(ErrorKind::InvalidInput));
    let refused = io.adopt::<UnixDatagram>(std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
    assert_eq!(kind(refused.map_err(nbio::Error::from)), Some(ErrorKind::InvalidInput));
    let refused = io.adopt::<UnixStream>(OwnedFd::from(Peer::pair().unwrap().0));
    assert_eq!(kind(refused.map_err(nbio::Error::from)), Some(ErrorKind::InvalidInput));
}

/// Guarantee 5: the loop's end waits for the system and drops callbacks unrun, buffers once.
fn dropped(subject: &Subject) {
    let (buffers, callbacks) = (Drops::new(), Drops::new());
    let io: Io = subject.io();
    let (socket, here, _peer) = bound(subject, &io, "dropped");
    let (receiver, there, _) = full(subject, &io, "dropped-full");
    for _ in 0..3 {
        let counted = [callbacks.counted(), callbacks.counted()];
        let [received, sent] = counted.map(|counted| {
            move || {
                let _counted = &counted;
                unreachable!("the loop is dropped")
            }
        });
        io.recv_from(socket, Tracked::new(9, &buffers), move |_, _, _| received());
        io.send_to(socket, Tracked::new(9, &buffers), there.clone(), move |_, _, _| sent());
    }
    turn(&io, 2);
    drop(io);
    assert_eq!((buffers.count(), callbacks.count()), (6, 6));
    let name = here.as_abstract_name().unwrap();
    assert!(Peer::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).is_ok(), "it is closed");
    drop(receiver);
}
