//! Ending what is done on datagram sockets before its time. (`hanging.rs` has receives, too: what is true of every kind
//! is proved elsewhere.)

use std::collections::HashSet;
use std::time::Duration;

use nbio::{Datagram, Done, ErrorKind, Operation, UdpSocket, op};

use crate::datagrams::Peer;
use crate::hanging::{HOUR, Tracked, idle};
use crate::support::{Case, Drops, Slot, Subject, own_udp_address as own_address};
use crate::udp::{bound, finish, peer, receive};
use crate::wire::{Io, drive, keep, kind, turn};

pub const CASES: &[Case] = &[
    Case { name: "cancelled_at_every_moment", run: cancelled },
    Case { name: "cancelled_after_the_datagram_came_ends_ok", run: cancelled_late },
    Case { name: "cancelled_send_before_it_began_sends_nothing", run: cancelled_send },
    Case { name: "deadlines_end_receives", run: deadlines },
    Case { name: "removed_receives_give_the_buffer_back_once", run: removed },
    Case { name: "closed_with_operations_pending", run: closed },
    Case { name: "prepared_and_closed_in_one_tick", run: closed_in_one_tick },
    Case { name: "stale_handle_never_reaches_another_socket", run: stale },
    Case { name: "handle_of_another_loop", run: foreign },
    Case { name: "background_receive_does_not_hold_run", run: background },
    Case { name: "dropped_loop_drops_what_waits", run: dropped },
];

/// Guarantee 3: with any number of ticks before the cancel; the socket works as before.
fn cancelled(subject: &Subject) {
    for ticks in 0..4 {
        let io: Io = subject.io();
        let (socket, here) = bound(&io);
        let (received, vectored) = (Slot::new(), Slot::new());
        let one = io.recv_from(socket, vec![1; 9], keep(&received));
        let two = io.submit(op::RecvMsg::new(socket, [[0; 4]; 2]), keep(&vectored));
        turn(&io, ticks);
        assert!(io.cancel(one) && io.cancel(two));
        drive(&io, || received.len() + vectored.len() == 2);
        let datagram: Datagram<Vec<u8>> = received.one();
        assert_eq!((kind(datagram.result), datagram.bytes), (Some(ErrorKind::Cancelled), 0));
        assert!(datagram.from.is_none() && datagram.buf.is_empty() && !datagram.truncated);
        let datagram: Datagram<[[u8; 4]; 2]> = vectored.one();
        assert_eq!(kind(datagram.result), Some(ErrorKind::Cancelled));
        assert!(!io.cancel(one) && io.in_flight() == 0);
        peer(own_address()).0.send_to(b"later", here).unwrap();
        assert_eq!(receive(&io, socket, 9).data(), b"later");
    }
}

/// Guarantee 3: what did what was asked ends `Ok`.
fn cancelled_late(subject: &Subject) {
    let io: Io = subject.io();
    let (socket, here) = bound(&io);
    let (peer, there) = peer(own_address());
    peer.send_to(b"here", here).unwrap();
    let received = Slot::new();
    let recv = io.recv_from(socket, [0; 9], keep(&received));
    // The system has it, and it is done, but the callback hasn't run.
    turn(&io, 1);
    assert!(io.cancel(recv));
    drive(&io, || received.len() > 0);
    let datagram: Datagram<[u8; 9]> = received.one();
    assert_eq!((datagram.result, datagram.data(), datagram.from), (Ok(()), &b"here"[..], Some(there)));
}

/// Guarantee 3: whichever way it ends, what it says is true.
fn cancelled_send(subject: &Subject) {
    let io: Io = subject.io();
    let (socket, here) = bound(&io);
    let mut sent = 0;
    for ticks in 0..3 {
        let ended = Slot::new();
        let send = io.send_to(socket, "x", here, keep(&ended));
        turn(&io, ticks);
        io.cancel(send);
        drive(&io, || ended.len() > 0);
        let done: Done<&str> = ended.one();
        match done.result {
            Ok(()) => assert_eq!(done.bytes, 1),
            Err(error) => assert_eq!((error.kind(), done.bytes), (ErrorKind::Cancelled, 0)),
        }
        sent += done.bytes;
    }
    assert!(sent > 0, "a send that was over could not be cancelled");
    for _ in 0..sent {
        assert_eq!(receive(&io, socket, 9).data(), b"x");
    }
    let ended = Slot::new();
    let recv = io.recv_from(socket, [0; 9], keep::<Datagram<[u8; 9]>>(&ended));
    turn(&io, 3);
    assert_eq!(ended.len(), 0, "no more were sent than it was told");
    assert!(io.cancel(recv));
    io.run().unwrap();
}

/// Guarantee 3: deadlines, those that had passed among them.
fn deadlines(subject: &Subject) {
    let io: Io = subject.io();
    let (socket, here) = bound(&io);
    let start = io.now();
    let late = Some(ErrorKind::TimedOut);
    let datagram = finish(&io, op::RecvFrom::new(socket, [0; 9]).timeout(Duration::from_millis(5)));
    assert_eq!((kind(datagram.result), datagram.bytes, datagram.from), (late, 0, None));
    assert!(io.now() - start >= Duration::from_millis(5));
    let datagram = finish(&io, op::RecvMsg::new(socket, [[0; 4]]).deadline(start));
    assert_eq!(kind(datagram.result), late);
    peer(own_address()).0.send_to(b"in time", here).unwrap();
    let datagram = finish(&io, op::RecvFrom::new(socket, [0; 9]).timeout(HOUR));
    assert_eq!((datagram.result, datagram.data()), (Ok(()), &b"in time"[..]));
}

/// Guarantees 4 and 5: the callback is dropped at once, the buffer when the system has let go, each once; and the socket
/// isn't broken.
fn removed(subject: &Subject) {
    for ticks in 0..4 {
        let io: Io = subject.io();
        let (socket, here) = bound(&io);
        let (buffers, callbacks) = (Drops::new(), Drops::new());
        let counted = [callbacks.counted(), callbacks.counted(), callbacks.counted()];
        let [one, two, three] = counted.map(|counted| {
            move |_: &mut (), _: &Io, _: ()| {
                let _counted = &counted;
                unreachable!("it is removed")
            }
        });
        let ids = [
            io.recv_from(socket, Tracked::new(9, &buffers), move |state, io, _| one(state, io, ())),
            io.submit(
                op::RecvMsg::new(socket, [Tracked::new(4, &buffers), Tracked::new(4, &buffers)]),
                move |state, io, _| two(state, io, ()),
            ),
            io.submit(
                op::RecvFrom::new(socket, Tracked::new(9, &buffers)).timeout(HOUR),
                move |state, io, _| three(state, io, ()),
            ),
        ];
        turn(&io, ticks);
        assert!(ids.iter().all(|&id| io.remove(id)) && !io.remove(ids[0]));
        assert_eq!(callbacks.count(), 3);
        assert!(ticks == 0 || buffers.count() == 0, "the system has them");
        idle(&io);
        assert_eq!((buffers.count(), callbacks.count()), (4, 3));
        peer(own_address()).0.send_to(b"later", here).unwrap();
        assert_eq!(receive(&io, socket, 9).data(), b"later");
    }
}

/// Guarantee 6: what waits there ends `Cancelled`, then the descriptor is closed: the address is free again.
fn closed(subject: &Subject) {
    for ticks in 0..3 {
        let io: Io = subject.io();
        let (socket, here) = bound(&io);
        let ended = Slot::new();
        for _ in 0..3 {
            let seen = ended.clone();
            io.recv_from(socket, [0; 9], move |_, _, datagram| seen.put(kind(datagram.result)));
        }
        turn(&io, ticks);
        let seen = ended.clone();
        io.close_then(socket, move |_, _, closed| seen.put(kind(closed)));
        assert_eq!(kind(io.local_address(socket)), Some(ErrorKind::StaleHandle));
        io.run().unwrap();
        let cancelled = Some(ErrorKind::Cancelled);
        assert_eq!(ended.take(), [cancelled, cancelled, cancelled, None]);
        assert!(io.bind_udp(here).is_ok());
    }
}

/// Guarantee 6: an operation that is prepared, and a close, in the same tick: the operation never reaches the descriptor
/// that is opened next.
fn closed_in_one_tick(subject: &Subject) {
    let io: Io = subject.io();
    let (other, there) = bound(&io);
    for _ in 0..20 {
        let (socket, here) = bound(&io);
        let (received, sent) = (Slot::new(), Slot::new());
        io.recv_from(socket, [0; 9], keep(&received));
        io.send_to(socket, "x", there, keep(&sent));
        io.close(socket);
        let (next, at) = bound(&io);
        peer(own_address()).0.send_to(b"for the next", at).unwrap();
        io.run().unwrap();
        let (datagram, done): (Datagram<[u8; 9]>, Done<&str>) = (received.one(), sent.one());
        assert_eq!((kind(datagram.result), datagram.bytes), (Some(ErrorKind::Cancelled), 0));
        if done.bytes == 1 {
            assert_eq!(receive(&io, other, 9).from, Some(here), "by its own socket, if at all");
        }
        assert_eq!(receive(&io, next, 20).data(), b"for the next");
        io.close(next);
    }
}

/// Guarantee 6: others have taken its place in the table and its descriptor's number.
fn stale(subject: &Subject) {
    let io: Io = subject.io();
    let (old, here) = bound(&io);
    let number = io.raw(old).ok();
    io.close(old);
    io.run().unwrap();
    let mut held: Vec<(UdpSocket, std::net::SocketAddr)> = Vec::new();
    // Another thread may be quicker to take the number: then there is the next one.
    while !held.iter().any(|&(socket, _)| io.raw(socket).ok() == number) && held.len() < 200 {
        held.push(bound(&io));
    }
    let stale = Some(ErrorKind::StaleHandle);
    for &(socket, at) in &held {
        assert_ne!(socket, old);
        peer(own_address()).0.send_to(b"mine", at).unwrap();
        assert_eq!(kind(finish(&io, op::RecvFrom::new(old, [0; 9])).result), stale);
        assert_eq!(receive(&io, socket, 9).data(), b"mine");
    }
    assert_eq!(kind(finish(&io, op::RecvMsg::new(old, [[0; 9]])).result), stale);
    assert_eq!(kind(finish(&io, op::SendTo::new(old, "x", here)).result), stale);
    assert_eq!(kind(finish(&io, op::SendDatagram::new(old, "x")).result), stale);
    assert_eq!(kind(finish(&io, op::SendMsg::new(old, ["x"]).to(here)).result), stale);
    refuses(&io, old, ErrorKind::StaleHandle);
    let names: HashSet<_> = held.iter().map(|socket| socket.0).collect();
    assert_eq!(names.len(), held.len());
}

/// Every call on this handle fails so.
fn refuses(io: &Io, socket: UdpSocket, error: ErrorKind) {
    use nbio::{Multicast, UdpOptions, op::Kind};
    let expected = |result: Result<(), nbio::Error>, call: Kind| {
        let got = result.unwrap_err();
        assert_eq!((got.kind(), got.operation()), (error, call));
    };
    let group = Multicast::new([239, 1, 1, 1]);
    expected(io.connect_udp(socket, own_address()), Kind::ConnectUdp);
    expected(io.disconnect_udp(socket), Kind::DisconnectUdp);
    expected(io.set_udp_options(socket, UdpOptions::default()), Kind::SetUdpOptions);
    expected(io.udp_options(socket).map(drop), Kind::GetUdpOptions);
    expected(io.join_multicast(socket, group), Kind::JoinMulticast);
    expected(io.leave_multicast(socket, group), Kind::LeaveMulticast);
    expected(io.local_address(socket).map(drop), Kind::LocalAddress);
}

/// Guarantee 6: `WrongLoop`.
fn foreign(subject: &Subject) {
    let (io, other): (Io, Io) = (subject.io(), subject.io());
    let (socket, here) = bound(&other);
    let wrong = Some(ErrorKind::WrongLoop);
    assert_eq!(kind(finish(&io, op::RecvFrom::new(socket, [0; 9])).result), wrong);
    assert_eq!(kind(finish(&io, op::SendTo::new(socket, "x", here)).result), wrong);
    refuses(&io, socket, ErrorKind::WrongLoop);
}

/// Guarantee 9 is `run`'s; documented: a background operation doesn't keep it going.
fn background(subject: &Subject) {
    let io: Io = subject.io();
    let (socket, _) = bound(&io);
    let recv = io.submit(op::RecvFrom::new(socket, [0; 9]).background(), |_, _, _| ());
    io.run().unwrap();
    assert!(io.cancel(recv));
}

/// Guarantee 5: the loop's end waits for the system and drops callbacks unrun, buffers once.
fn dropped(subject: &Subject) {
    let (buffers, callbacks) = (Drops::new(), Drops::new());
    let io: Io = subject.io();
    let (socket, here) = bound(&io);
    for _ in 0..3 {
        let counted = callbacks.counted();
        io.recv_from(socket, Tracked::new(9, &buffers), move |_, _, _| {
            let _counted = &counted;
            unreachable!("the loop is dropped")
        });
    }
    turn(&io, 2);
    drop(io);
    assert_eq!((buffers.count(), callbacks.count()), (3, 3));
    assert!(Peer::bind(here).is_ok(), "it is closed");
}
