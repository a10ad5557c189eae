//! Records: Unix sockets that keep the bounds of what is sent.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nbio::{
    Accepted, Done, Error, ErrorKind, Half, Operation, Record, UnixAddress, UnixSeqpacket,
    UnixSeqpacketListener, UnixStream, op,
};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, recv, send, socket_with,
    socketpair, sockopt,
};

use crate::hanging::{Tracked, idle};
use crate::local_datagram::name;
use crate::pipes::scratch;
use crate::support::{Case, Drops, Slot, Subject};
use crate::udp::finish;
use crate::wire::{Io, drive, keep, kind, noise, turn};

pub const CASES: &[Case] = &[
    Case { name: "by_a_path", run: by_a_path },
    Case { name: "by_an_abstract_name", run: by_an_abstract_name },
    Case { name: "names_that_do_not_work", run: bad_names },
    Case { name: "records_keep_their_bounds_and_order", run: bounds },
    Case { name: "several_buffers", run: several_buffers },
    Case { name: "empty_records_are_not_the_end", run: empty_records },
    Case { name: "larger_one_is_cut_and_says_so", run: cut },
    Case { name: "largest_and_too_large", run: largest },
    Case { name: "half_closed", run: half_closed },
    Case { name: "peer_gone", run: peer_gone },
    Case { name: "reset_is_remembered", run: reset },
    Case { name: "full_connection_lets_sends_wait", run: full },
    Case { name: "sends_ended_at_every_moment", run: sends_ended },
    Case { name: "receives_ended_at_every_moment", run: receives_ended },
    Case { name: "removed_receive_of_a_record_breaks", run: broken },
    Case { name: "closed_with_operations_pending", run: closed },
    Case { name: "prepared_and_closed_in_one_tick", run: closed_in_one_tick },
    Case { name: "stale_and_foreign_handles", run: stale },
    Case { name: "adopted_released_and_moved", run: adopted },
    Case { name: "adopted_without_blocking_waits_too", run: adopted_without_blocking },
    Case { name: "credentials_of_the_peer", run: credentials },
    Case { name: "accepts_cancelled_and_removed", run: accepts_ended },
    Case { name: "dropped_loop_drops_what_waits", run: dropped },
];

type Got = Record<Vec<u8>>;
type End = Result<Accepted<UnixSeqpacket, UnixAddress>, Error>;

fn socket() -> OwnedFd {
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
}

/// A handle and its peer, which is the test's.
fn pair(io: &Io) -> (UnixSeqpacket, OwnedFd) {
    let (near, far) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    sockopt::set_socket_timeout(&far, sockopt::Timeout::Recv, Some(Duration::from_secs(20))).unwrap();
    (io.adopt(near).unwrap(), far)
}

fn put(peer: impl AsFd, record: &[u8]) {
    assert_eq!(send(peer, record, SendFlags::NOSIGNAL).unwrap(), record.len());
}

fn take(peer: impl AsFd) -> Vec<u8> {
    let mut got = vec![0; 1 << 18];
    let (bytes, _) = recv(peer, &mut got[..], RecvFlags::empty()).unwrap();
    got.truncate(bytes);
    got
}

fn receive(io: &Io, connection: UnixSeqpacket, room: usize) -> Got {
    finish(io, op::RecvRecord::new(connection, vec![0xAA; room]))
}

/// A record, whole.
fn check(record: &Got, bytes: &[u8]) {
    assert_eq!((record.data(), record.result), (bytes, Ok(())));
    assert!(!record.truncated && !record.end_of_stream && record.buf.len() == bytes.len());
}

/// The end of the stream.
fn check_end(record: &Got) {
    assert_eq!((record.bytes, record.result, record.truncated), (0, Ok(()), false));
    assert!(record.end_of_stream && record.buf.is_empty());
}

fn by_a_path(subject: &Subject) {
    let directory = scratch("seqpacket-path");
    let (path, own) = (directory.join("socket"), directory.join("client"));
    let io: Io = subject.io();
    let listener = io.listen_unix_seqpacket(&path).unwrap();
    assert_eq!(io.unix_local_address(listener), Ok(UnixAddress::from(&path)));
    let accepted = Slot::new();
    io.accept(listener, keep::<End>(&accepted));
    turn(&io, 2);
    let client = socket();
    rustix::net::bind(&client, &SocketAddrUnix::new(&own).unwrap()).unwrap();
    rustix::net::connect(&client, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    drive(&io, || accepted.len() > 0);
    let first = accepted.one().unwrap();
    assert_eq!(first.peer, UnixAddress::from(&own));
    assert_eq!(io.unix_peer_address(first.stream), Ok(UnixAddress::from(&own)));
    put(&client, b"hello");
    put(&client, b"");
    check(&receive(&io, first.stream, 9), b"hello");
    check(&receive(&io, first.stream, 9), b"");
    assert_eq!(finish(&io, op::SendRecord::new(first.stream, "answer")).bytes, 6);
    assert_eq!(take(&client), b"answer");
    // One of the loop, which has no name.
    io.accept(listener, keep(&accepted));
    let near = finish(&io, op::ConnectUnix::seqpacket(&path)).unwrap();
    drive(&io, || accepted.len() > 0);
    let far = accepted.one().unwrap();
    assert!(far.peer.is_unnamed() && io.unix_peer_address(far.stream).unwrap().is_unnamed());
    assert_eq!(io.unix_peer_address(near), Ok(UnixAddress::from(&path)));
    for (from, to) in [(near, far.stream), (far.stream, near)] {
        io.send_record(from, "", |_, _, done| assert_eq!(done.result, Ok(())));
        io.send_record(from, "to and fro", |_, _, done| assert_eq!((done.bytes, done.result), (10, Ok(()))));
        check(&receive(&io, to, 64), b"");
        check(&receive(&io, to, 64), b"to and fro");
    }
    io.close(near);
    check_end(&receive(&io, far.stream, 9));
    // The file stays, and is in the way.
    io.close(listener);
    io.run().unwrap();
    let error = io.listen_unix_seqpacket(&path).unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::AddrInUse, op::Kind::ListenUnixSeqpacket));
    assert_eq!(kind(finish(&io, op::ConnectUnix::seqpacket(&path))), Some(ErrorKind::ConnectionRefused));
    std::fs::remove_dir_all(directory).unwrap();
    assert_eq!(kind(finish(&io, op::ConnectUnix::seqpacket(&path))), Some(ErrorKind::NotFound));
}

fn by_an_abstract_name(subject: &Subject) {
    let io: Io = subject.io();
    let address = UnixAddress::abstract_name(name(subject, "records"));
    let listener = io.listen_unix_seqpacket(address.clone()).unwrap();
    assert_eq!(kind(io.listen_unix_seqpacket(address.clone())), Some(ErrorKind::AddrInUse));
    let connected = Slot::new();
    io.connect_unix_seqpacket(address, keep::<Result<UnixSeqpacket, Error>>(&connected));
    let accepted = finish(&io, op::Accept::new(listener)).unwrap();
    drive(&io, || connected.len() > 0);
    let near = connected.one().unwrap();
    io.send_record(near, "hello", |_, _, _| ());
    check(&receive(&io, accepted.stream, 9), b"hello");
}

fn bad_names(subject: &Subject) {
    let directory = scratch("seqpacket-bad");
    let io: Io = subject.io();
    let long = UnixAddress::abstract_name(vec![b'x'; 108]);
    for address in [UnixAddress::default(), long, "".into(), "a\0b".into(), (&"p".repeat(200)).into()] {
        let error = io.listen_unix_seqpacket(address.clone()).unwrap_err();
        assert_eq!(
            (error.kind(), error.operation()),
            (ErrorKind::InvalidInput, op::Kind::ListenUnixSeqpacket)
        );
        let error = finish(&io, op::ConnectUnix::seqpacket(address)).unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::InvalidInput, op::Kind::ConnectUnix));
    }
    // The other type of socket, either way.
    let (stream, records) = (directory.join("stream"), directory.join("records"));
    io.listen_unix(&stream).unwrap();
    io.listen_unix_seqpacket(&records).unwrap();
    assert_eq!(kind(finish(&io, op::ConnectUnix::seqpacket(&stream))), Some(ErrorKind::Unsupported));
    assert_eq!(kind(finish(&io, op::ConnectUnix::new(&records))), Some(ErrorKind::Unsupported));
    std::fs::remove_dir_all(directory).unwrap();
}

/// Guarantee 7, and documented: one receive, one record, in the order in which they were sent.
fn bounds(subject: &Subject) {
    let io: Io = subject.io();
    let (one, other) = io.unix_seqpacket_pair().unwrap();
    let (sent, got) = (Slot::new(), Slot::new());
    let records: Vec<Vec<u8>> = (0..200).map(|number| noise(number * 7 % 501, number as u64)).collect();
    for record in &records {
        io.send_record(one, record.clone(), keep::<Done<Vec<u8>>>(&sent));
        io.recv_record(other, Vec::with_capacity(600), keep::<Got>(&got));
        if record.len() % 3 == 0 {
            turn(&io, 1);
        }
    }
    drive(&io, || sent.len() + got.len() == 400);
    for (record, got) in records.iter().zip(got.take()) {
        check(&got, record);
    }
    for (record, done) in records.iter().zip(sent.take()) {
        assert_eq!((done.bytes, done.result, &done.buf), (record.len(), Ok(()), record));
    }
}

/// Documented: into and from several buffers.
fn several_buffers(subject: &Subject) {
    let io: Io = subject.io();
    let (near, far) = pair(&io);
    assert_eq!(finish(&io, op::SendRecordVectored::new(near, ["head", "", "body"])).bytes, 8);
    assert_eq!(take(&far), b"headbody");
    assert_eq!(finish(&io, op::SendRecordVectored::new(near, vec!["x"; 1024])).bytes, 1024);
    assert_eq!(take(&far), [b'x'; 1024]);
    assert_eq!(finish(&io, op::SendRecordVectored::new(near, Vec::<Vec<u8>>::new())).result, Ok(()));
    assert_eq!(take(&far), b"");
    let done = finish(&io, op::SendRecordVectored::new(near, vec!["x"; 1025]));
    assert_eq!((kind(done.result), done.bytes), (Some(ErrorKind::InvalidInput), 0));
    put(&far, b"headbody");
    let bufs = [Vec::with_capacity(4), Vec::with_capacity(20), vec![1]];
    let record = finish(&io, op::RecvRecordVectored::new(near, bufs));
    assert_eq!((record.bytes, record.result, record.truncated), (8, Ok(()), false));
    assert!(record.buf[0] == b"head" && record.buf[1] == b"body" && record.buf[2].is_empty());
    put(&far, b"0123456789");
    let record = finish(&io, op::RecvRecordVectored::new(near, [[0; 4], [0; 4]]));
    assert_eq!((record.bytes, record.truncated, record.buf), (8, true, [*b"0123", *b"4567"]));
    let invalid = Some(ErrorKind::InvalidInput);
    let record = finish(&io, op::RecvRecordVectored::new(near, vec![vec![1; 4]; 1025]));
    assert_eq!(kind(record.result), invalid);
    assert!(record.buf.iter().all(Vec::is_empty));
    assert_eq!(kind(finish(&io, op::RecvRecordVectored::new(near, [[0; 0]; 2])).result), invalid);
    assert_eq!(kind(finish(&io, op::RecvRecordVectored::new(near, Vec::<Vec<u8>>::new())).result), invalid);
    // And a single one without capacity: nothing is taken.
    put(&far, b"x");
    let record = receive(&io, near, 0);
    assert_eq!((kind(record.result), record.end_of_stream), (invalid, false));
    check(&receive(&io, near, 1), b"x");
}

/// Documented: a record without bytes is `Ok` with 0 bytes and not the end, wherever it stands; the end comes again and again.
fn empty_records(subject: &Subject) {
    let io: Io = subject.io();
    for waits in [false, true] {
        let (near, far) = pair(&io);
        let got = Slot::new();
        if waits {
            for _ in 0..6 {
                io.recv_record(near, vec![0; 9], keep::<Got>(&got));
            }
            turn(&io, 2);
        }
        for record in [&b""[..], b"", b"between", b""] {
            put(&far, record);
            turn(&io, 1);
        }
        drop(far);
        for _ in 0..if waits { 0 } else { 6 } {
            io.recv_record(near, vec![0; 9], keep::<Got>(&got));
        }
        drive(&io, || got.len() == 6);
        let got = got.take();
        for (record, expected) in got.iter().zip([&b""[..], b"", b"between", b""]) {
            check(record, expected);
        }
        check_end(&got[4]);
        check_end(&got[5]);
        let mut bufs = [Vec::new(), Vec::with_capacity(4)];
        bufs[0].reserve(4);
        let record = finish(&io, op::RecvRecordVectored::new(near, bufs));
        assert_eq!((record.bytes, record.result, record.end_of_stream), (0, Ok(()), true));
    }
}

fn cut(subject: &Subject) {
    let io: Io = subject.io();
    let (near, far) = pair(&io);
    for text in ["0123456789", "behind it", "exact"] {
        put(&far, text.as_bytes());
    }
    let record = receive(&io, near, 4);
    assert_eq!((record.data(), record.truncated, record.result), (&b"0123"[..], true, Ok(())));
    let record = receive(&io, near, 8);
    assert_eq!((record.data(), record.truncated), (&b"behind i"[..], true));
    check(&receive(&io, near, 5), b"exact");
    put(&far, b"part");
    let record = finish(&io, op::RecvRecord::new(near, nbio::IoBuf::slice(*b"0123456789", 2..7)));
    assert_eq!(record.filled().into_inner().into_inner(), *b"01part6789");
}

/// Documented: `MessageTooLong` with 0 bytes over what the send buffer takes; what is under it arrives whole.
fn largest(subject: &Subject) {
    let io: Io = subject.io();
    let (near, far) = pair(&io);
    let buffer = std::fs::read_to_string("/proc/sys/net/core/wmem_default").unwrap();
    let most: usize = buffer.trim().parse().unwrap();
    let done = finish(&io, op::SendRecord::new(near, vec![1; most]));
    let error = done.result.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::MessageTooLong, op::Kind::SendRecord));
    assert_eq!(done.bytes, 0);
    let bytes = noise(most - 1024, 5);
    assert_eq!(finish(&io, op::SendRecord::new(near, bytes.clone())).result, Ok(()));
    assert!(take(&far) == bytes);
    put(&far, &bytes);
    check(&receive(&io, near, most), &bytes);
}

/// Documented: the peer sees the end behind what was sent; receiving goes on. And the receiving half by itself.
fn half_closed(subject: &Subject) {
    let io: Io = subject.io();
    let (near, far) = pair(&io);
    io.send_record(near, "last", |_, _, done| assert_eq!(done.result, Ok(())));
    io.shutdown(near, Half::Write, |_, _, shut| assert!(shut.is_ok()));
    io.run().unwrap();
    assert_eq!((take(&far), take(&far)), (b"last".to_vec(), Vec::new()));
    put(&far, b"answer");
    check(&receive(&io, near, 9), b"answer");
    let done = finish(&io, op::SendRecord::new(near, "x"));
    assert_eq!((kind(done.result), done.bytes), (Some(ErrorKind::BrokenPipe), 0));
    let (near, far) = pair(&io);
    let got = Slot::new();
    io.recv_record(near, vec![0; 9], keep::<Got>(&got));
    turn(&io, 2);
    io.shutdown(near, Half::Read, |_, _, shut| assert!(shut.is_ok()));
    io.run().unwrap();
    check_end(&got.one());
    check_end(&receive(&io, near, 9));
    assert_eq!(finish(&io, op::SendRecord::new(near, "still")).result, Ok(()));
    assert_eq!(take(&far), b"still");
}

fn peer_gone(subject: &Subject) {
    let io: Io = subject.io();
    let (near, far) = pair(&io);
    let got = Slot::new();
    io.recv_record(near, vec![0; 9], keep::<Got>(&got));
    turn(&io, 2);
    put(&far, b"last");
    drop(far);
    drive(&io, || got.len() > 0);
    check(&got.one(), b"last");
    check_end(&receive(&io, near, 9));
    for _ in 0..2 {
        let done = finish(&io, op::SendRecord::new(near, "x"));
        assert_eq!((kind(done.result), done.bytes), (Some(ErrorKind::BrokenPipe), 0));
    }
    check_end(&receive(&io, near, 9));
}

/// Guarantee 8: what the peer never received is no orderly end, however often one asks.
fn reset(subject: &Subject) {
    let io: Io = subject.io();
    for asks_by_sending in [false, true] {
        let (near, far) = pair(&io);
        assert_eq!(finish(&io, op::SendRecord::new(near, "unread")).result, Ok(()));
        drop(far);
        let reset = Some(ErrorKind::ConnectionReset);
        if asks_by_sending {
            let done = finish(&io, op::SendRecord::new(near, "x"));
            assert!(matches!(kind(done.result), Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)));
        }
        for _ in 0..3 {
            let record = receive(&io, near, 9);
            assert_eq!((kind(record.result), record.end_of_stream), (reset, false));
        }
    }
}

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

fn credentials(subject: &Subject) {
    let io: Io = subject.io();
    let (one, other) = io.unix_seqpacket_pair().unwrap();
    for end in [one, other] {
        let peer = io.peer_credentials(end).unwrap();
        assert_eq!(peer.pid, std::process::id());
        assert_eq!(
            (peer.uid, peer.gid),
            (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
        );
    }
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
