//! UDP sockets in and out of loops: adopt, release, detach, attach, duplicate; and in a child process.

use std::net::UdpSocket as Peer;

use nbio::{Datagram, ErrorKind, OwnedDescriptor, TcpListener, TcpStream, UdpSocket, op};

use crate::support::{Case, Slot, Subject, own_udp_address as own_address};
use crate::system;
use crate::udp::{bound, finish, peer, receive};
use crate::wire::{Io, drive, keep, kind, turn};

pub const CASES: &[Case] = &[
    Case { name: "adopted_sockets_work_in_either_mode", run: adopted },
    Case { name: "nonblocking_ones_are_cancelled_while_they_wait", run: nonblocking_cancelled },
    Case { name: "wrong_kinds_are_rejected_and_given_back", run: rejected },
    Case { name: "release_gives_a_working_std_type_back", run: released },
    Case { name: "detached_and_attached_elsewhere", run: detached },
    Case { name: "duplicate_outlives_close", run: duplicated },
    Case { name: "sockets_are_close_on_exec", run: close_on_exec },
];

/// Documented: "Its blocking mode is left as it is; both work". Bound or not, connected or not.
fn adopted(subject: &Subject) {
    for nonblocking in [false, true] {
        let io: Io = subject.io();
        let (socket, here) = peer(own_address());
        socket.set_nonblocking(nonblocking).unwrap();
        let (other, there) = peer(own_address());
        let socket: UdpSocket = io.adopt(socket).unwrap();
        assert_eq!(io.local_address(socket), Ok(here));
        let received = Slot::new();
        io.recv_from(socket, [0; 9], keep(&received));
        io.recv_from(socket, [0; 9], keep(&received));
        turn(&io, 3);
        assert_eq!(received.len(), 0);
        for text in ["one", "two"] {
            other.send_to(text.as_bytes(), here).unwrap();
        }
        drive(&io, || received.len() == 2);
        let texts: Vec<Datagram<[u8; 9]>> = received.take();
        assert!(texts.iter().all(|datagram| datagram.from == Some(there) && datagram.bytes == 3));
        assert_ne!(texts[0].data(), texts[1].data());
        assert_eq!(finish(&io, op::SendTo::new(socket, "x", there)).result, Ok(()));
        assert_eq!(other.recv_from(&mut [0; 9]).unwrap(), (1, here));
        io.connect_udp(socket, there).unwrap();
        assert_eq!(finish(&io, op::SendDatagram::new(socket, "y")).result, Ok(()));
        assert_eq!(other.recv_from(&mut [0; 9]).unwrap(), (1, here));
        let back = io.release(socket).unwrap();
        assert_eq!(system::is_nonblocking(back), nonblocking);
    }
}

/// Guarantees 3 and 4 on such descriptors.
fn nonblocking_cancelled(subject: &Subject) {
    for ticks in 0..4 {
        let io: Io = subject.io();
        let (socket, here) = peer(own_address());
        socket.set_nonblocking(true).unwrap();
        let socket: UdpSocket = io.adopt(socket).unwrap();
        let received = Slot::new();
        let recv = io.recv_from(socket, [0; 9], keep::<Datagram<[u8; 9]>>(&received));
        let removed = io.recv_from(socket, [0; 9], |_, _, _| unreachable!("it is removed"));
        turn(&io, ticks);
        assert!(io.cancel(recv) && io.remove(removed));
        drive(&io, || io.in_flight() == 0);
        assert_eq!(kind(received.one().result), Some(ErrorKind::Cancelled));
        peer(own_address()).0.send_to(b"later", here).unwrap();
        assert_eq!(receive(&io, socket, 9).data(), b"later");
    }
}

/// Documented: it is checked to be what the handle's type says.
fn rejected(subject: &Subject) {
    let io: Io = subject.io();
    let tcp = || std::net::TcpListener::bind(own_address()).unwrap();
    let invalid = ErrorKind::InvalidInput;
    let wrong: (OwnedDescriptor, ErrorKind) = (tcp().into(), invalid);
    for (descriptor, expected) in system::unfit().into_iter().chain([wrong]) {
        let number = system::number_of(&descriptor);
        let rejected = io.adopt::<UdpSocket>(descriptor).unwrap_err();
        assert_eq!((rejected.error.kind(), rejected.error.operation()), (expected, op::Kind::Adopt));
        assert_eq!(system::number_of(&rejected.descriptor), number);
        assert!(system::is_open(rejected.descriptor));
    }
    let udp = || peer(own_address()).0;
    assert_eq!(io.adopt::<TcpStream>(udp()).unwrap_err().error.kind(), invalid);
    assert_eq!(io.adopt::<TcpListener>(udp()).unwrap_err().error.kind(), invalid);
}

/// Documented: the handle is stale, the descriptor open; `Busy` while operations exist.
fn released(subject: &Subject) {
    let io: Io = subject.io();
    let (socket, here) = bound(&io);
    let recv = io.recv_from(socket, [0; 9], |_, _, _| ());
    assert_eq!(kind(io.release(socket)), Some(ErrorKind::Busy));
    assert!(io.cancel(recv));
    io.run().unwrap();
    let back = system::into_std::<Peer>(io.release(socket).unwrap());
    assert_eq!(kind(io.release(socket)), Some(ErrorKind::StaleHandle));
    assert_eq!(back.local_addr().unwrap(), here);
    peer(own_address()).0.send_to(b"to std", here).unwrap();
    assert_eq!(back.recv(&mut [0; 9]).unwrap(), 6);
}

/// Documented: what nobody has received yet goes along.
fn detached(subject: &Subject) {
    let (near, far): (Io, Io) = (subject.io(), subject.io());
    let (socket, here) = bound(&near);
    let (peer, there) = peer(own_address());
    near.connect_udp(socket, there).unwrap();
    peer.send_to(b"before", here).unwrap();
    let moved = far.attach(near.detach(socket).unwrap()).unwrap();
    assert_eq!(kind(near.local_address(socket)), Some(ErrorKind::StaleHandle));
    assert_eq!((far.local_address(moved), far.peer_address(moved)), (Ok(here), Ok(there)));
    assert_eq!(receive(&far, moved, 9).data(), b"before");
    assert_eq!(finish(&far, op::SendDatagram::new(moved, "after")).result, Ok(()));
    assert_eq!(peer.recv_from(&mut [0; 9]).unwrap(), (5, here));
    drop(near.detach(near.bind_udp(own_address()).unwrap()));
}

/// Documented: a second descriptor of the same socket.
fn duplicated(subject: &Subject) {
    let io: Io = subject.io();
    let (socket, here) = bound(&io);
    let second = system::into_std::<Peer>(io.duplicate(socket).unwrap());
    assert_ne!(io.raw(socket), Ok(system::number(&second)));
    io.close(socket);
    io.run().unwrap();
    peer(own_address()).0.send_to(b"x", here).unwrap();
    assert_eq!(second.recv(&mut [0; 9]).unwrap(), 1);
}

/// Close-on-exec everywhere.
fn close_on_exec(subject: &Subject) {
    let io: Io = subject.io();
    let (socket, _) = bound(&io);
    let duplicate = io.duplicate(socket).unwrap();
    let socket = io.release(socket).unwrap();
    for descriptor in [duplicate, socket] {
        assert!(system::closes_on_exec(descriptor));
    }
}
