//! Records: Unix sockets that keep the bounds of what is sent.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nbio::{Accepted, Done, Error, ErrorKind, Half, Record, UnixAddress, UnixSeqpacket, op};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, recv, send, socket_with,
    socketpair, sockopt,
};

use crate::local_datagram::name;
use crate::pipes::scratch;
use crate::support::{Case, Slot, Subject};
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
    Case { name: "credentials_of_the_peer", run: credentials },
];

pub type Got = Record<Vec<u8>>;
pub type End = Result<Accepted<UnixSeqpacket, UnixAddress>, Error>;

pub fn socket() -> OwnedFd {
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
}

/// A handle and its peer, which is the test's.
pub fn pair(io: &Io) -> (UnixSeqpacket, OwnedFd) {
    let (near, far) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    sockopt::set_socket_timeout(&far, sockopt::Timeout::Recv, Some(Duration::from_secs(20))).unwrap();
    (io.adopt(near).unwrap(), far)
}

pub fn put(peer: impl AsFd, record: &[u8]) {
    assert_eq!(send(peer, record, SendFlags::NOSIGNAL).unwrap(), record.len());
}

pub fn take(peer: impl AsFd) -> Vec<u8> {
    let mut got = vec![0; 1 << 18];
    let (bytes, _) = recv(peer, &mut got[..], RecvFlags::empty()).unwrap();
    got.truncate(bytes);
    got
}

pub fn receive(io: &Io, connection: UnixSeqpacket, room: usize) -> Got {
    finish(io, op::RecvRecord::new(connection, vec![0xAA; room]))
}

/// A record, whole.
pub fn check(record: &Got, bytes: &[u8]) {
    assert_eq!((record.data(), record.result), (bytes, Ok(())));
    assert!(!record.truncated && !record.end_of_stream && record.buf.len() == bytes.len());
}

/// The end of the stream.
pub fn check_end(record: &Got) {
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
