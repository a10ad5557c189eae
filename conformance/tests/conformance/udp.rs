//! Datagrams: what is received and sent, and what goes wrong.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use nbio::{Datagram, Done, ErrorKind, Operation, UdpOptions, UdpSocket, op};

use crate::datagrams::Peer;
use crate::support::{Case, Slot, Subject, own_udp_address as own_address};
use crate::wire::{Io, drive, keep, kind, noise, turn};

pub const CASES: &[Case] = &[
    Case { name: "datagrams_go_both_ways_and_tell_their_sender", run: both_ways },
    Case { name: "datagrams_without_bytes_go_both_ways", run: without_bytes },
    Case { name: "larger_datagram_is_cut_and_says_so", run: cut },
    Case { name: "growable_buffer_is_as_long_as_the_datagram", run: growable },
    Case { name: "largest_datagram_and_one_byte_more", run: largest },
    Case { name: "no_capacity_is_invalid", run: no_capacity },
    Case { name: "each_receive_brings_another_datagram", run: each_another },
    Case { name: "vectored_fills_and_sends_one_buffer_after_the_other", run: vectored },
    Case { name: "too_many_or_no_buffers", run: too_many_buffers },
    Case { name: "connected_socket_has_one_peer", run: connected },
    Case { name: "connected_anew_and_disconnected", run: connected_anew },
    Case { name: "connection_refused_is_told_once", run: refused_once },
    Case { name: "bad_destinations_are_told_to_the_callback", run: bad_destinations },
    Case { name: "both_versions_of_ip_on_one_socket", run: both_versions },
    Case { name: "bind_errors", run: bind_errors },
    Case { name: "reuse_lets_sockets_share_an_address", run: reuse },
    Case { name: "loop_sends_to_itself", run: itself },
];

/// A socket of the loop, and its address.
pub fn bound(io: &Io) -> (UdpSocket, SocketAddr) {
    bound_with(io, UdpOptions::default())
}

pub fn bound_with(io: &Io, options: UdpOptions) -> (UdpSocket, SocketAddr) {
    let socket = io.bind_udp_with(own_address(), options).unwrap();
    (socket, io.local_address(socket).unwrap())
}

/// A socket of std that doesn't wait for ever.
pub fn peer(at: impl Into<SocketAddr>) -> (Peer, SocketAddr) {
    let peer = Peer::bind(at.into()).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let address = peer.local_addr().unwrap();
    (peer, address)
}

/// Receives the next datagram.
pub fn receive(io: &Io, socket: UdpSocket, room: usize) -> Datagram<Vec<u8>> {
    let ended = Slot::new();
    io.recv_from(socket, vec![0xAA; room], keep(&ended));
    drive(io, || ended.len() > 0);
    ended.one()
}

/// Carries an operation out.
pub fn finish<O: Operation>(io: &Io, operation: O) -> O::Output {
    let ended = Slot::new();
    io.submit(operation, keep(&ended));
    drive(io, || ended.len() > 0);
    ended.one()
}

/// Documented: `RecvFrom` tells the sender, `SendTo` sends all; to and from sockets of std, by both versions of IP.
fn both_ways(subject: &Subject) {
    let io: Io = subject.io();
    for local in [own_address(), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))] {
        let socket = io.bind_udp(local).unwrap();
        let here = io.local_address(socket).unwrap();
        assert!(here.port() != 0 && here.ip() == local.ip());
        let (peer, there) = peer((local.ip(), 0));
        // One that waits, and one that finds it there.
        let ended = Slot::new();
        io.recv_from(socket, [0; 9], keep(&ended));
        turn(&io, 2);
        peer.send_to(b"first", here).unwrap();
        drive(&io, || ended.len() > 0);
        let datagram: Datagram<[u8; 9]> = ended.one();
        assert_eq!((datagram.bytes, datagram.data(), datagram.from), (5, &b"first"[..], Some(there)));
        assert_eq!((datagram.result, datagram.truncated), (Ok(()), false));
        assert_eq!(datagram.control, Default::default());
        peer.send_to(b"second", here).unwrap();
        let datagram = receive(&io, socket, 9);
        assert_eq!((datagram.data(), datagram.from), (&b"second"[..], Some(there)));

        let done = finish(&io, op::SendTo::new(socket, "answer", there));
        assert_eq!((done.bytes, done.result, done.buf), (6, Ok(()), "answer"));
        let mut got = [0; 9];
        let (bytes, from) = peer.recv_from(&mut got).unwrap();
        assert_eq!((&got[..bytes], from), (&b"answer"[..], here));
    }
}

/// Documented: "One without bytes is `Ok` with 0 bytes and an address"; "0 bytes are sent as a datagram without bytes".
fn without_bytes(subject: &Subject) {
    let io: Io = subject.io();
    let (socket, here) = bound(&io);
    let (peer, there) = peer(own_address());
    peer.send_to(b"", here).unwrap();
    peer.send_to(b"behind it", here).unwrap();
    let datagram = receive(&io, socket, 20);
    assert_eq!((datagram.bytes, datagram.result, datagram.from), (0, Ok(()), Some(there)));
    assert!(datagram.buf.is_empty() && !datagram.truncated);
    assert_eq!(datagram.segments().collect::<Vec<_>>(), [&b""[..]], "it is a datagram");
    assert_eq!(receive(&io, socket, 20).data(), b"behind it");

    let (mut got, none) = ([0; 9], Vec::<Vec<u8>>::new());
    let done = finish(&io, op::SendTo::new(socket, Vec::new(), there));
    assert_eq!((done.bytes, done.result), (0, Ok(())));
    assert_eq!(peer.recv_from(&mut got).unwrap(), (0, here));
    assert_eq!(finish(&io, op::SendMsg::new(socket, none).to(there)).result, Ok(()));
    assert_eq!(peer.recv_from(&mut got).unwrap(), (0, here));
    assert_eq!(finish(&io, op::SendMsg::new(socket, ["", ""]).to(there)).result, Ok(()));
    assert_eq!(peer.recv_from(&mut got).unwrap(), (0, here));
    io.connect_udp(socket, there).unwrap();
    assert_eq!(finish(&io, op::SendDatagram::new(socket, "")).result, Ok(()));
    assert_eq!(peer.recv_from(&mut got).unwrap(), (0, here));
}

/// Documented: "A larger datagram is cut: `truncated` is true and the rest is lost".
fn cut(subject: &Subject) {
    let io: Io = subject.io();
    let (socket, here) = bound(&io);
    let (peer, there) = peer(own_address());
    for text in ["0123456789", "behind it", "exact"] {
        peer.send_to(text.as_bytes(), here).unwrap();
    }
    let datagram = receive(&io, socket, 4);
    assert_eq!((datagram.bytes, datagram.data(), datagram.truncated), (4, &b"0123"[..], true));
    assert_eq!((datagram.result, datagram.from), (Ok(()), Some(there)));
    // One byte too little, and just enough.
    let datagram = receive(&io, socket, 8);
    assert_eq!((datagram.data(), datagram.truncated), (&b"behind i"[..], true));
    let datagram = receive(&io, socket, 5);
    assert_eq!((datagram.data(), datagram.truncated), (&b"exact"[..], false));
}

/// Documented: "It overwrites from byte 0 and may fill the whole capacity"; "a growable one's length ends where the last
/// received byte does".
fn growable(subject: &Subject) {
    let io: Io = subject.io();
    let (socket, here) = bound(&io);
    let (peer, _) = peer(own_address());
    let mut buf = Vec::with_capacity(8);
    buf.extend_from_slice(b"abcdef");
    for text in ["xy", "12345678", "z"] {
        peer.send_to(text.as_bytes(), here).unwrap();
        let datagram = finish(&io, op::RecvFrom::new(socket, buf));
        assert_eq!(datagram.buf, text.as_bytes());
        buf = datagram.buf;
    }
    peer.send_to(b"part", here).unwrap();
    let datagram = finish(&io, op::RecvFrom::new(socket, nbio::IoBuf::slice(*b"0123456789", 2..7)));
    assert_eq!(datagram.data(), b"part");
    assert_eq!(datagram.filled().into_inner().into_inner(), *b"01part6789");
}

/// Documented: `MessageTooLong` with 0 bytes over 65,507 bytes by IPv4, 65,527 by IPv6.
fn largest(subject: &Subject) {
    let io: Io = subject.io();
    for (local, most) in [(own_address(), 65_507), (SocketAddr::from((Ipv6Addr::LOCALHOST, 0)), 65_527)] {
        let socket = io.bind_udp(local).unwrap();
        let here = io.local_address(socket).unwrap();
        let bytes = noise(most + 1, 3);
        let done = finish(&io, op::SendTo::new(socket, bytes.clone(), here));
        assert_eq!((kind(done.result), done.bytes), (Some(ErrorKind::MessageTooLong), 0));
        assert_eq!(done.result.unwrap_err().operation(), op::Kind::SendTo);
        let done = finish(&io, op::SendTo::new(socket, bytes[..most].to_vec(), here));
        assert_eq!((done.result, done.bytes), (Ok(()), most));
        let datagram = receive(&io, socket, most);
        assert!(datagram.data() == &bytes[..most] && !datagram.truncated);
    }
}

/// Documented: a receive without capacity is `InvalidInput`, and takes nothing.
fn no_capacity(subject: &Subject) {
    let io: Io = subject.io();
    let (socket, here) = bound(&io);
    peer(own_address()).0.send_to(b"x", here).unwrap();
    let datagram = finish(&io, op::RecvFrom::new(socket, Vec::new()));
    assert_eq!(
        (kind(datagram.result), datagram.bytes, datagram.from),
        (Some(ErrorKind::InvalidInput), 0, None)
    );
    assert_eq!(datagram.segments().len(), 0);
    assert_eq!(datagram.result.unwrap_err().to_string(), "recv_from: invalid argument");
    let datagram = finish(&io, op::RecvMsg::new(socket, [[0; 0]; 3]));
    assert_eq!(kind(datagram.result), Some(ErrorKind::InvalidInput));
    let datagram = finish(&io, op::RecvMsg::new(socket, Vec::<Vec<u8>>::new()));
    assert_eq!(kind(datagram.result), Some(ErrorKind::InvalidInput));
    assert_eq!(receive(&io, socket, 1).data(), b"x");
}

/// Documented: "Receives on one socket have no order; each brings another datagram."
fn each_another(subject: &Subject) {
    let io: Io = subject.io();
    let (socket, here) = bound(&io);
    let (peer, _) = peer(own_address());
    let ended = Slot::new();
    for _ in 0..50 {
        io.recv_from(socket, vec![0; 20], keep(&ended));
    }
    turn(&io, 2);
    for number in 0..100_u32 {
        peer.send_to(&number.to_ne_bytes(), here).unwrap();
        turn(&io, 1);
    }
    for _ in 0..50 {
        io.recv_from(socket, vec![0; 20], keep(&ended));
    }
    drive(&io, || ended.len() == 100);
    let ended: Vec<Datagram<Vec<u8>>> = ended.take();
    let numbers: BTreeSet<_> =
        ended.iter().map(|datagram| u32::from_ne_bytes(datagram.data().try_into().unwrap())).collect();
    assert!(numbers.into_iter().eq(0..100));
}

/// Documented: into and from several buffers.
fn vectored(subject: &Subject) {
    let io: Io = subject.io();
    let (socket, here) = bound(&io);
    let (peer, there) = peer(own_address());
    let done = finish(&io, op::SendMsg::new(socket, ["he", "", "llo"]).to(there));
    assert_eq!((done.bytes, done.result), (5, Ok(())));
    let mut got = [0; 9];
    assert_eq!(peer.recv_from(&mut got).unwrap(), (5, here));
    assert_eq!(&got[..5], b"hello");

    let room = || vec![Vec::with_capacity(2), Vec::with_capacity(3), Vec::with_capacity(4)];
    for (text, lengths, truncated) in [
        ("a", [1, 0, 0], false),
        ("abcd", [2, 2, 0], false),
        ("123456789", [2, 3, 4], false),
        ("0123456789", [2, 3, 4], true),
    ] {
        peer.send_to(text.as_bytes(), here).unwrap();
        let datagram = finish(&io, op::RecvMsg::new(socket, room()));
        assert_eq!((datagram.bytes, datagram.truncated), (text.len().min(9), truncated));
        assert!(datagram.buf.iter().map(Vec::len).eq(lengths), "{text}");
        assert_eq!(datagram.buf.concat(), &text.as_bytes()[..datagram.bytes]);
        assert_eq!(datagram.from, Some(there));
    }
}

/// Documented: `InvalidInput` for more than 1,024 buffers; 1,024 are fine.
fn too_many_buffers(subject: &Subject) {
    let io: Io = subject.io();
    let (socket, here) = bound(&io);
    let done = finish(&io, op::SendMsg::new(socket, vec!["x"; 1025]).to(here));
    assert_eq!((kind(done.result), done.bytes), (Some(ErrorKind::InvalidInput), 0));
    let datagram = finish(&io, op::RecvMsg::new(socket, vec![vec![1, 2]; 1025]));
    assert_eq!(kind(datagram.result), Some(ErrorKind::InvalidInput));
    assert!(datagram.buf.iter().all(Vec::is_empty), "as after any receive of 0 bytes");
    assert_eq!(finish(&io, op::SendMsg::new(socket, vec!["x"; 1024]).to(here)).bytes, 1024);
    let datagram = finish(&io, op::RecvMsg::new(socket, vec![[0]; 1024]));
    assert_eq!((datagram.bytes, datagram.truncated), (1024, false));
    assert!(datagram.buf.iter().all(|buf| buf == b"x"));
}

/// Documented: it sends to its peer, and receives only what comes from there.
fn connected(subject: &Subject) {
    let io: Io = subject.io();
    let (socket, here) = bound(&io);
    let ((peer, there), (stranger, _)) = (peer(own_address()), peer(own_address()));
    let done = finish(&io, op::SendDatagram::new(socket, "x"));
    assert_eq!((kind(done.result), done.bytes), (Some(ErrorKind::NotConnected), 0));
    assert_eq!(kind(io.peer_address(socket)), Some(ErrorKind::NotConnected));

    io.connect_udp(socket, there).unwrap();
    assert_eq!((io.local_address(socket), io.peer_address(socket)), (Ok(here), Ok(there)));
    stranger.send_to(b"not this", here).unwrap();
    peer.send_to(b"this", here).unwrap();
    assert_eq!(receive(&io, socket, 20).data(), b"this");
    let done = finish(&io, op::SendDatagram::new(socket, "to the peer"));
    assert_eq!((done.bytes, done.result), (11, Ok(())));
    let done = finish(&io, op::SendMsg::new(socket, ["to ", "it"]));
    assert_eq!((done.bytes, done.result), (5, Ok(())));
    let mut got = [0; 20];
    assert_eq!(peer.recv_from(&mut got).unwrap(), (11, here));
    assert_eq!(peer.recv_from(&mut got).unwrap(), (5, here));
    assert_eq!(&got[..5], b"to it");
    // Documented for Linux: an address is an address, connected or not.
    let (other, elsewhere) = self::peer(own_address());
    assert_eq!(finish(&io, op::SendTo::new(socket, "elsewhere", elsewhere)).result, Ok(()));
    assert_eq!(other.recv_from(&mut got).unwrap(), (9, here));
}

/// Documented: connected anew; disconnected, it receives from everybody again and keeps its address and port.
fn connected_anew(subject: &Subject) {
    let io: Io = subject.io();
    for local in [
        own_address(),
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::from((Ipv6Addr::LOCALHOST, 0)),
    ] {
        let socket = io.bind_udp(local).unwrap();
        let here = io.local_address(socket).unwrap();
        let at = if local.is_ipv4() { own_address() } else { local };
        let reach = if local.ip().is_unspecified() {
            SocketAddr::from((Ipv4Addr::LOCALHOST, here.port()))
        } else {
            here
        };
        let ((first, one), (second, two)) = (peer(at), peer(at));
        let received = Slot::new();
        for there in [one, two, one] {
            io.connect_udp(socket, there).unwrap();
            assert_eq!(io.peer_address(socket), Ok(there));
            assert_eq!(finish(&io, op::SendDatagram::new(socket, "x")).result, Ok(()));
        }
        let mut got = [0; 9];
        for peer in [&first, &second, &first] {
            assert_eq!(peer.recv(&mut got).unwrap(), 1);
        }
        // A receive that is waiting lives through all of it.
        io.recv_from(socket, [0; 9], keep(&received));
        turn(&io, 2);
        for _ in 0..2 {
            io.disconnect_udp(socket).unwrap();
            assert_eq!(io.local_address(socket), Ok(here));
            assert_eq!(kind(io.peer_address(socket)), Some(ErrorKind::NotConnected));
        }
        second.send_to(b"again", reach).unwrap();
        drive(&io, || received.len() > 0);
        let datagram: Datagram<[u8; 9]> = received.one();
        assert_eq!((datagram.data(), datagram.from), (&b"again"[..], Some(two)));
        first.send_to(b"and I", reach).unwrap();
        assert_eq!(receive(&io, socket, 9).from, Some(one));
    }
}

/// Documented: "it is told once, to whichever operation comes first, and the socket goes on".
fn refused_once(subject: &Subject) {
    let io: Io = subject.io();
    let (socket, here) = bound(&io);
    let (gone, there) = peer(own_address());
    drop(gone);
    io.connect_udp(socket, there).unwrap();
    let (received, refused) = (Slot::new(), Some(ErrorKind::ConnectionRefused));
    let first = io.recv_from(socket, [0; 9], keep(&received));
    let second = io.recv_from(socket, [0; 9], keep(&received));
    turn(&io, 2);
    assert_eq!(finish(&io, op::SendDatagram::new(socket, "anybody?")).result, Ok(()));
    drive(&io, || received.len() > 0);
    let datagram: Datagram<[u8; 9]> = received.one();
    assert_eq!((kind(datagram.result), datagram.bytes, datagram.from), (refused, 0, None));
    turn(&io, 5);
    assert!(received.len() == 0 && io.cancel(first) != io.cancel(second), "the other one waits");
    drive(&io, || received.len() > 0);
    assert_eq!(kind(received.one().result), Some(ErrorKind::Cancelled));

    // Told to a send, if that comes first.
    assert_eq!(finish(&io, op::SendDatagram::new(socket, "anybody?")).result, Ok(()));
    subject.hand_over(&io);
    let done = finish(&io, op::SendDatagram::new(socket, "anybody?"));
    assert_eq!((kind(done.result), done.bytes), (refused, 0));

    let peer = Peer::bind(there).unwrap();
    assert_eq!(finish(&io, op::SendDatagram::new(socket, "you?")).result, Ok(()));
    let mut got = [0; 9];
    assert_eq!(peer.recv_from(&mut got).unwrap(), (4, here));
    peer.send_to(b"yes", here).unwrap();
    assert_eq!(receive(&io, socket, 9).data(), b"yes");
}

/// Guarantee 1: submitting never fails, and the callback is told what is wrong.
fn bad_destinations(subject: &Subject) {
    let io: Io = subject.io();
    let (socket, here) = bound(&io);
    let send = |to: SocketAddr| {
        let done = finish(&io, op::SendTo::new(socket, "x", to));
        assert_eq!(done.bytes, 0);
        kind(done.result)
    };
    assert_eq!(send(SocketAddr::new(here.ip(), 0)), Some(ErrorKind::InvalidInput));
    assert_eq!(send((Ipv6Addr::LOCALHOST, 9).into()), Some(ErrorKind::Unsupported));
    let everybody = SocketAddr::from(([127, 255, 255, 255], 9));
    assert_eq!(send(everybody), Some(ErrorKind::PermissionDenied));
    assert_eq!(kind(io.connect_udp(socket, everybody)), Some(ErrorKind::PermissionDenied));
    assert_eq!(kind(io.connect_udp(socket, (Ipv6Addr::LOCALHOST, 9))), Some(ErrorKind::Unsupported));
    assert_eq!(kind(io.peer_address(socket)), Some(ErrorKind::NotConnected));
    let only_v6 = UdpOptions::default().v6only(true);
    let socket = io.bind_udp_with((Ipv6Addr::UNSPECIFIED, 0), only_v6).unwrap();
    let done = finish(&io, op::SendTo::new(socket, "x", here));
    assert_eq!(kind(done.result), Some(ErrorKind::NetworkUnreachable));
}

/// Documented: a socket bound to `[::]` without `v6only` has IPv4 too, as `::ffff:a.b.c.d`.
fn both_versions(subject: &Subject) {
    let io: Io = subject.io();
    let both = UdpOptions::default().v6only(false);
    let socket = io.bind_udp_with((Ipv6Addr::UNSPECIFIED, 0), both).unwrap();
    assert_eq!(io.udp_options(socket).unwrap().v6only, Some(false));
    let port = io.local_address(socket).unwrap().port();
    let (old, new) = (peer((Ipv4Addr::LOCALHOST, 0)), peer((Ipv6Addr::LOCALHOST, 0)));
    let mut got = [0; 9];
    let both = [
        (&old, SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        (&new, SocketAddr::from((Ipv6Addr::LOCALHOST, port))),
    ];
    for (&(ref peer, there), here) in both {
        peer.send_to(b"x", here).unwrap();
        let from = receive(&io, socket, 9).from.unwrap();
        assert!(from.is_ipv6());
        assert_eq!((from.ip().to_canonical(), from.port()), (there.ip(), there.port()));
        // It is good for the answer, and so is the plain address.
        for to in [from, there] {
            assert_eq!(finish(&io, op::SendTo::new(socket, "answer", to)).result, Ok(()));
            assert_eq!(peer.recv_from(&mut got).unwrap(), (6, here));
        }
    }
    for (peer, there) in [old, new] {
        io.connect_udp(socket, there).unwrap();
        assert_eq!(finish(&io, op::SendDatagram::new(socket, "connected")).result, Ok(()));
        assert_eq!(peer.recv_from(&mut got).unwrap().0, 9);
        io.disconnect_udp(socket).unwrap();
        assert_eq!(io.local_address(socket).unwrap(), SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
    }
}

/// Documented errors of `bind_udp`.
fn bind_errors(subject: &Subject) {
    let io: Io = subject.io();
    let (_, here) = bound(&io);
    let error = io.bind_udp(here).unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::AddrInUse, op::Kind::BindUdp));
    assert!(error.to_string().starts_with("bind_udp: address already in use"));
    assert_eq!(kind(io.bind_udp(([203, 0, 113, 1], 0))), Some(ErrorKind::AddrNotAvailable));
    for options in [
        UdpOptions::default().v6only(true),
        UdpOptions::default().ttl(0),
        UdpOptions::default().recv_buffer(usize::MAX),
        UdpOptions::default().multicast_interface(u32::MAX),
    ] {
        let error = io.bind_udp_with(own_address(), options).unwrap_err();
        assert_eq!(
            (error.kind(), error.operation()),
            (ErrorKind::InvalidInput, op::Kind::BindUdp),
            "{options:?}"
        );
    }
}

/// Documented: `reuse_port` spreads datagrams over sockets that all have it.
fn reuse(subject: &Subject) {
    let io: Io = subject.io();
    let shared = UdpOptions::default().reuse_port(true);
    let (first, here) = bound_with(&io, shared);
    let second = io.bind_udp_with(here, shared).unwrap();
    assert_eq!(kind(io.bind_udp(here)), Some(ErrorKind::AddrInUse), "all must set it");
    let received = Slot::new();
    for socket in [first, second] {
        io.recv_from(socket, [0; 9], keep::<Datagram<[u8; 9]>>(&received));
    }
    turn(&io, 2);
    // Which of them gets it is the system's choice, by the sender's address.
    let (_peers, _): (Vec<_>, ()) = (
        (0..50)
            .map(|_| {
                let (peer, _) = peer(own_address());
                peer.send_to(b"x", here).unwrap();
                peer
            })
            .collect(),
        (),
    );
    drive(&io, || received.len() == 2);
    let (first, here) = bound_with(&io, UdpOptions::default().reuse_address(true));
    assert!(io.bind_udp_with(here, UdpOptions::default().reuse_address(true)).is_ok());
    io.close(first);
}

/// Guarantee 1: sending to oneself calls back in a later tick, both ways.
fn itself(subject: &Subject) {
    let io: Io = subject.io();
    let (socket, here) = bound(&io);
    let (sent, received) = (Slot::new(), Slot::new());
    io.send_to(socket, "to myself", here, keep(&sent));
    io.recv_from(socket, [0; 20], keep(&received));
    assert_eq!(sent.len() + received.len(), 0);
    io.run().unwrap();
    let (done, datagram): (Done<&str>, Datagram<[u8; 20]>) = (sent.one(), received.one());
    assert_eq!((done.bytes, datagram.data(), datagram.from), (9, &b"to myself"[..], Some(here)));
}
