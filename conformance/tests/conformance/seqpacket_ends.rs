//! Records, continued: what waits on a connection and how it ends, and handles of such connections.

use std::os::fd::OwnedFd;
use std::time::Duration;

use nbio::{
    Done, Error, ErrorKind, Half, Operation, Record, UnixAddress, UnixSeqpacket, UnixSeqpacketListener,
    UnixStream, op,
};
use rustix::net::{
    AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, recv, socketpair, sockopt,
};

use crate::hanging::{Tracked, idle};
use crate::local_datagram::name;
use crate::seqpacket::{End, Got, check, check_end, pair, put, receive, socket, take};
use crate::support::{Case, Drops, Slot, Subject};
use crate::udp::finish;
use crate::wire::{Io, drive, keep, kind, noise, turn};

pub const CASES: &[Case] = &[
    Case { name: "full_connection_lets_sends_wait", run: full },
    Case { name: "sends_ended_at_every_moment", run: sends_ended },
    Case { name: "receives_ended_at_every_moment", run: receives_ended },
    Case { name: "removed_receive_of_a_record_breaks", run: broken },
    Case { name: "closed_with_operations_pending", run: closed },
    Case { name: "prepared_and_closed_in_one_tick", run: closed_in_one_tick },
    Case { name: "stale_and_foreign_handles", run: stale },
    Case { name: "adopted_released_and_moved", run: adopted },
    Case { name: "adopted_without_blocking_waits_too", run: adopted_without_blocking },
    Case { name: "accepts_cancelled_and_removed", run: accepts_ended },
    Case { name: "dropped_loop_drops_what_waits", run: dropped },
];

/// Fills a connection; how many records there are, 8 KiB each.
fn fill(io: &Io, near: UnixSeqpacket) -> usize {
    let mut count = 0;
    loop {
        let filler = op::SendRecord::new(near, vec![7; 8192]).timeout(Duration::from_millis(5));
        match finish(io, filler).result {
            Ok(()) => count += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::TimedOut);
                return count;
            }
        }
    }
}

/// Documented: sends wait for room, and go in their order.
fn full(subject: &Subject) {
    let io: Io = subject.io();
    let (near, far) = pair(&io);
    let count = fill(&io, near);
    let sent = Slot::new();
    for number in 0..5_u8 {
        io.send_record(near, vec![number; 8192], keep::<Done<Vec<u8>>>(&sent));
    }
    turn(&io, 5);
    assert_eq!(sent.len(), 0);
    for _ in 0..count {
        assert_eq!(take(&far), [7; 8192]);
    }
    drive(&io, || sent.len() == 5);
    assert!(sent.take().iter().all(|done| done.result == Ok(()) && done.bytes == 8192));
    for number in 0..5 {
        assert_eq!(take(&far), [number; 8192]);
    }
}

/// Guarantees 3 and 4: waiting sends, at the front and behind, cancelled, late and removed: nothing of them was sent, buffers
/// are dropped once, and the others go on.
fn sends_ended(subject: &Subject) {
    for (ticks, remove) in (0..4).flat_map(|ticks| [(ticks, false), (ticks, true)]) {
        let io: Io = subject.io();
        let (near, far) = pair(&io);
        let count = fill(&io, near);
        let (sent, buffers) = (Slot::new(), Drops::new());
        let first = io.send_record(near, Tracked::new(8192, &buffers), keep::<Done<Tracked>>(&sent));
        let late = op::SendRecord::new(near, Tracked::new(8192, &buffers)).timeout(Duration::from_millis(2));
        io.submit(late, keep(&sent));
        let goes_on = Slot::new();
        io.send_record(near, "goes on", keep::<Done<&str>>(&goes_on));
        turn(&io, ticks);
        assert!(if remove { io.remove(first) } else { io.cancel(first) });
        drive(&io, || sent.len() == if remove { 1 } else { 2 });
        // The removed one's record would go if there was room before the system has let go of it.
        drive(&io, || io.in_flight() == 1);
        let ends: Vec<Done<Tracked>> = sent.take();
        assert!(ends.iter().all(|done| done.bytes == 0 && done.result.is_err()));
        drop(ends);
        for _ in 0..count {
            assert_eq!(take(&far), [7; 8192]);
        }
        drive(&io, || goes_on.len() > 0);
        assert_eq!(goes_on.one().result, Ok(()));
        assert_eq!(take(&far), b"goes on");
        idle(&io);
        assert_eq!(buffers.count(), 2);
    }
}

/// Guarantees 3, 4 and 5: the buffer comes back, or is dropped once; a record that nobody got stays for the next.
fn receives_ended(subject: &Subject) {
    for ticks in 0..4 {
        let io: Io = subject.io();
        let (near, far) = pair(&io);
        let (got, buffers) = (Slot::new(), Drops::new());
        let one = io.recv_record(near, Tracked::new(9, &buffers), keep(&got));
        let late = op::RecvRecord::new(near, Tracked::new(9, &buffers)).timeout(Duration::from_millis(1));
        io.submit(late, keep(&got));
        let bufs = [Tracked::new(4, &buffers), Tracked::new(4, &buffers)];
        let vectored = op::RecvRecordVectored::new(near, bufs);
        let two = io.submit(vectored, |_, _, _| unreachable!("it is removed"));
        turn(&io, ticks);
        assert!(io.cancel(one) && io.remove(two) && !io.cancel(two));
        idle(&io);
        let ends: Vec<Record<Tracked>> = got.take();
        let mut kinds: Vec<_> = ends.iter().map(|end| end.result.unwrap_err().kind()).collect();
        kinds.sort_by_key(|&kind| kind == ErrorKind::TimedOut);
        assert_eq!((kinds, buffers.count()), (vec![ErrorKind::Cancelled, ErrorKind::TimedOut], 2));
        assert!(ends.iter().all(|end| end.bytes == 0 && !end.end_of_stream));
        drop(ends);
        assert_eq!(buffers.count(), 4);
        put(&far, b"later");
        check(&receive(&io, near, 9), b"later");
        // What did what was asked ends `Ok`.
        put(&far, b"here");
        let done = Slot::new();
        let recv = io.recv_record(near, vec![0; 9], keep::<Got>(&done));
        turn(&io, 1);
        assert!(io.cancel(recv));
        drive(&io, || done.len() > 0);
        check(&done.one(), b"here");
    }
}

/// Documented: a record that a removed receive took is lost, and every later receive says so; sends go on.
fn broken(subject: &Subject) {
    for text in [&b"lost"[..], b""] {
        let io: Io = subject.io();
        let (near, far) = pair(&io);
        put(&far, text);
        let recv = io.recv_record(near, vec![0; 9], |_, _, _| unreachable!("it is removed"));
        // The system has done it, but the callback hasn't run.
        turn(&io, 1);
        assert!(io.remove(recv));
        idle(&io);
        let record = receive(&io, near, 9);
        assert_eq!((kind(record.result), record.bytes), (Some(ErrorKind::Broken), 0));
        assert_eq!(finish(&io, op::SendRecord::new(near, "goes on")).result, Ok(()));
        assert_eq!(take(&far), b"goes on");
    }
    // One that had taken nothing breaks nothing.
    let io: Io = subject.io();
    let (near, far) = pair(&io);
    let recv = io.recv_record(near, vec![0; 9], |_, _, _| unreachable!("it is removed"));
    turn(&io, 2);
    assert!(io.remove(recv));
    idle(&io);
    put(&far, b"whole");
    check(&receive(&io, near, 9), b"whole");
}

/// Guarantee 6: what waits there ends `Cancelled`, then the descriptor is closed.
fn closed(subject: &Subject) {
    for ticks in 0..3 {
        let io: Io = subject.io();
        let (near, far) = pair(&io);
        let count = fill(&io, near);
        let ended = Slot::new();
        for _ in 0..2 {
            let seen = ended.clone();
            io.recv_record(near, [0; 9], move |_, _, record| seen.put(kind(record.result)));
            let seen = ended.clone();
            io.send_record(near, vec![1; 8192], move |_, _, done| seen.put(kind(done.result)));
        }
        turn(&io, ticks);
        let seen = ended.clone();
        io.close_then(near, move |_, _, closed| seen.put(kind(closed)));
        io.run().unwrap();
        let cancelled = Some(ErrorKind::Cancelled);
        assert_eq!(ended.take(), [cancelled, cancelled, cancelled, cancelled, None]);
        for _ in 0..count {
            assert_eq!(take(&far).len(), 8192);
        }
        assert_eq!(take(&far), b"");
    }
}

/// Guarantee 6: an operation that is prepared, and a close, in the same tick: the operation never reaches the descriptor
/// that is opened next.
fn closed_in_one_tick(subject: &Subject) {
    let io: Io = subject.io();
    for _ in 0..20 {
        let (near, far) = pair(&io);
        let (got, sent) = (Slot::new(), Slot::new());
        io.recv_record(near, vec![0; 9], keep::<Got>(&got));
        io.send_record(near, "x", keep::<Done<&str>>(&sent));
        io.close(near);
        let (next, peer) = pair(&io);
        put(&peer, b"for the next");
        io.run().unwrap();
        assert_eq!(kind(got.one().result), Some(ErrorKind::Cancelled));
        assert_eq!(take(&far).len(), sent.one().bytes);
        check(&receive(&io, next, 20), b"for the next");
        io.close(next);
        io.run().unwrap();
    }
}

/// Guarantee 6: others have taken its descriptor's number; and a handle of another loop.
fn stale(subject: &Subject) {
    let (io, elsewhere): (Io, Io) = (subject.io(), subject.io());
    let (old, _far) = pair(&io);
    let number = io.raw(old).unwrap();
    io.close(old);
    io.run().unwrap();
    let mut held = Vec::new();
    // Another thread may be quicker to take the number: then there is the next one.
    while !held.iter().any(|&(one, other)| io.raw(one) == Ok(number) || io.raw(other) == Ok(number))
        && held.len() < 200
    {
        held.push(io.unix_seqpacket_pair().unwrap());
    }
    let (foreign, _peer) = pair(&elsewhere);
    for (handle, error) in [(old, ErrorKind::StaleHandle), (foreign, ErrorKind::WrongLoop)] {
        let record = receive(&io, handle, 9);
        assert_eq!((kind(record.result), record.end_of_stream), (Some(error), false));
        assert_eq!(kind(finish(&io, op::RecvRecordVectored::new(handle, [[0; 9]])).result), Some(error));
        assert_eq!(kind(finish(&io, op::SendRecord::new(handle, "x")).result), Some(error));
        assert_eq!(kind(finish(&io, op::SendRecordVectored::new(handle, ["x"])).result), Some(error));
        assert_eq!(kind(finish(&io, op::Shutdown::new(handle, Half::Both))), Some(error));
        assert_eq!(kind(io.unix_local_address(handle)), Some(error));
        assert_eq!(kind(io.unix_peer_address(handle)), Some(error));
        assert_eq!(kind(io.peer_credentials(handle)), Some(error));
    }
    for (one, other) in held {
        assert_eq!(finish(&io, op::SendRecord::new(one, "mine")).bytes, 4);
        check(&receive(&io, other, 9), b"mine");
    }
}

/// Adopted as what it is, and given back as it was; another loop takes over what waits.
fn adopted(subject: &Subject) {
    let (io, elsewhere): (Io, Io) = (subject.io(), subject.io());
    let (near, far) = pair(&io);
    put(&far, b"");
    put(&far, b"waits");
    let detached = io.detach(near).unwrap();
    let near = elsewhere.attach(detached).unwrap();
    check(&receive(&elsewhere, near, 9), b"");
    check(&receive(&elsewhere, near, 9), b"waits");
    let recv = elsewhere.recv_record(near, [0; 9], |_, _, _| ());
    assert_eq!(kind(elsewhere.release(near)), Some(ErrorKind::Busy));
    elsewhere.cancel(recv);
    elsewhere.run().unwrap();
    let near = elsewhere.release(near).unwrap();
    put(&near, b"back");
    assert_eq!(take(&far), b"back");
    // Documented: `SO_TIMESTAMP` is off again: no control message comes.
    put(&far, b"x");
    let mut space = [std::mem::MaybeUninit::uninit(); 64];
    let mut control = rustix::net::RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; 9];
    let pieces = &mut [std::io::IoSliceMut::new(&mut bytes)];
    let got = rustix::net::recvmsg(&near, pieces, &mut control, RecvFlags::empty()).unwrap();
    assert!(got.bytes == 1 && !got.flags.contains(rustix::net::ReturnFlags::CTRUNC));
    // A listener, and what it accepts on another loop.
    let address = UnixAddress::abstract_name(name(subject, "adopted"));
    let listener = io.listen_unix_seqpacket(address.clone()).unwrap();
    let listener = elsewhere.attach(io.detach(listener).unwrap()).unwrap();
    let listener: UnixSeqpacketListener = elsewhere.adopt(elsewhere.release(listener).unwrap()).unwrap();
    let client = socket();
    let raw = SocketAddrUnix::new_abstract_name(address.as_abstract_name().unwrap()).unwrap();
    rustix::net::connect(&client, &raw).unwrap();
    put(&client, b"");
    drop(client);
    let accepted = finish(&elsewhere, op::Accept::new(listener)).unwrap().stream;
    check(&receive(&elsewhere, accepted, 9), b"");
    check_end(&receive(&elsewhere, accepted, 9));
    // None of another kind, neither here nor there.
    let invalid = Some(ErrorKind::InvalidInput);
    let refused = io.adopt::<UnixSeqpacket>(OwnedFd::from(std::os::unix::net::UnixStream::pair().unwrap().0));
    assert_eq!(kind(refused.map_err(Error::from)), invalid);
    assert_eq!(kind(io.adopt::<UnixStream>(near).map_err(Error::from)), invalid);
    assert_eq!(kind(io.adopt::<UnixSeqpacketListener>(far).map_err(Error::from)), invalid);
    assert_eq!(kind(io.adopt::<UnixSeqpacket>(socket()).map_err(Error::from)), invalid, "not connected");
}

/// Documented at `adopt`: the blocking mode of what comes from outside is left alone; receives and sends wait all the same.
fn adopted_without_blocking(subject: &Subject) {
    let io: Io = subject.io();
    let (near, far) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::NONBLOCK, None).unwrap();
    let near: UnixSeqpacket = io.adopt(near).unwrap();
    let got = Slot::new();
    io.recv_record(near, vec![0; 9], keep::<Got>(&got));
    turn(&io, 3);
    assert_eq!(got.len(), 0);
    put(&far, b"");
    drive(&io, || got.len() > 0);
    check(&got.one(), b"");
    let count = fill(&io, near);
    let sent = Slot::new();
    io.send_record(near, noise(8192, 1), keep::<Done<Vec<u8>>>(&sent));
    turn(&io, 3);
    assert_eq!(sent.len(), 0);
    for _ in 0..count {
        assert_eq!(take(&far), [7; 8192]);
    }
    drive(&io, || sent.len() > 0);
    assert!(take(&far) == noise(8192, 1));
}

/// Guarantees 3 and 4: a cancelled accept takes nobody, and what a removed one took is closed.
fn accepts_ended(subject: &Subject) {
    for (ticks, remove) in (0..4).flat_map(|ticks| [(ticks, false), (ticks, true)]) {
        let io: Io = subject.io();
        let address = UnixAddress::abstract_name(name(subject, "accepts"));
        let listener = io.listen_unix_seqpacket(address.clone()).unwrap();
        let ended = Slot::new();
        let accept = io.accept(listener, keep::<End>(&ended));
        let client = socket();
        sockopt::set_socket_timeout(&client, sockopt::Timeout::Recv, Some(Duration::from_secs(20))).unwrap();
        turn(&io, ticks);
        let raw = SocketAddrUnix::new_abstract_name(address.as_abstract_name().unwrap()).unwrap();
        rustix::net::connect(&client, &raw).unwrap();
        assert!(if remove { io.remove(accept) } else { io.cancel(accept) });
        idle(&io);
        let ends = ended.take();
        assert_eq!(ends.len(), usize::from(!remove));
        match ends.into_iter().next() {
            Some(Ok(accepted)) => io.close(accepted.stream),
            Some(Err(error)) => assert_eq!(error.kind(), ErrorKind::Cancelled),
            None => {}
        }
        io.close(listener);
        io.run().unwrap();
        let end = recv(&client, &mut [0; 9][..], RecvFlags::empty());
        assert!(matches!(end, Ok((0, _)) | Err(rustix::io::Errno::CONNRESET)), "{end:?}");
    }
}

/// Guarantee 5: the loop's end waits for the system and drops callbacks unrun, buffers once.
fn dropped(subject: &Subject) {
    let (buffers, callbacks) = (Drops::new(), Drops::new());
    let io: Io = subject.io();
    let (near, far) = pair(&io);
    let count = fill(&io, near);
    for _ in 0..2 {
        let [received, sent] = [callbacks.counted(), callbacks.counted()].map(|counted| {
            move || {
                let _counted = &counted;
                unreachable!("the loop is dropped")
            }
        });
        io.recv_record(near, Tracked::new(9, &buffers), move |_, _, _| received());
        io.send_record(near, Tracked::new(8192, &buffers), move |_, _, _| sent());
    }
    turn(&io, 2);
    drop(io);
    assert_eq!((buffers.count(), callbacks.count()), (4, 4));
    for _ in 0..count {
        take(&far);
    }
    assert_eq!(take(&far), b"", "it is closed");
}
