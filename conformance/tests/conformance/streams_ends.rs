//! How streams end: the end of the stream, a half-close and a reset are told apart.

use std::io::{Read, Write};
use std::net::Shutdown;

use nbio::{Done, ErrorKind, Half, op};

use crate::child;
use crate::support::{Case, Slot, Subject};
use crate::system;
use crate::wire::{Io, keep, kind, noise, turn};

pub const CASES: &[Case] = &[
    Case { name: "eof_is_ok_with_0_bytes_every_time", run: eof_is_ok_with_0_bytes },
    Case { name: "data_comes_before_the_eof", run: data_comes_before_the_eof },
    Case { name: "data_and_eof_come_at_once_to_who_waits", run: data_and_eof_come_at_once },
    Case { name: "half_close_leaves_the_other_direction", run: half_close_leaves_the_other_direction },
    Case { name: "reset_is_connection_reset_every_time", run: reset_is_connection_reset },
    Case { name: "close_with_unread_data_is_a_reset", run: close_with_unread_data_is_a_reset },
    Case { name: "reset_is_told_to_both_directions", run: reset_is_told_to_both_directions },
    Case { name: "send_after_a_reset_fails_without_a_signal", run: send_after_a_reset_fails },
    Case { name: "send_after_own_shutdown_is_broken_pipe", run: send_after_own_shutdown },
    Case { name: "cancelled_send_to_a_peer_that_never_reads_tells_the_truth", run: never_reading_peer },
];

/// Guarantee 8 (EOF): a plain receive at the end of the stream is `Ok` with 0 bytes, and so is the next.
fn eof_is_ok_with_0_bytes(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, peer) = subject.pair(&io);
    let ended = Slot::new();
    // One waits when the end comes, the others find it.
    for _ in 0..3 {
        io.recv(stream, vec![1; 10], keep(&ended));
    }
    turn(&io, 2);
    drop(peer);
    io.run().unwrap();
    io.recv(stream, vec![1; 10], keep(&ended));
    io.run().unwrap();
    let ends: Vec<Done<Vec<u8>>> = ended.take();
    assert_eq!(ends.len(), 4);
    assert!(ends.iter().all(|done| done.result == Ok(()) && done.bytes == 0 && done.buf.is_empty()));
}

/// Guarantee 8 (EOF): what was sent before the end comes before it.
fn data_comes_before_the_eof(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    peer.write_all(b"last words").unwrap();
    drop(peer);
    let ended = Slot::new();
    io.recv_exact(stream, vec![0; 6], 6, keep(&ended));
    io.recv_exact(stream, vec![0; 6], 4, keep(&ended));
    io.recv(stream, vec![0; 6], keep(&ended));
    io.run().unwrap();
    let ends: Vec<Done<Vec<u8>>> = ended.take();
    let data: Vec<&[u8]> = ends.iter().map(|done| done.data()).collect();
    assert_eq!(data, [&b"last w"[..], b"ords", b""]);
    assert!(ends.iter().all(|done| done.result == Ok(())));
}

/// Guarantee 8 (EOF): the same when both come while somebody waits, with room for more than came.
fn data_and_eof_come_at_once(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    let ended = Slot::new();
    io.recv(stream, vec![0; 100], keep(&ended));
    turn(&io, 2);
    peer.write_all(b"last words").unwrap();
    drop(peer);
    // As many as there are bytes: a simulation may bring them one at a time.
    for _ in 0..10 {
        io.recv(stream, vec![0; 100], keep(&ended));
    }
    io.run().unwrap();
    let mut ends: Vec<Done<Vec<u8>>> = ended.take();
    assert!(ends.iter().all(|done| done.result == Ok(())));
    assert_eq!(ends.pop().unwrap().bytes, 0);
    let data: Vec<u8> = ends.iter().flat_map(|done| done.data().to_vec()).collect();
    assert_eq!(data, b"last words");
}

/// Guarantee 8 (half-close): after the peer's end it can still be sent to; after one's own it can still be received.
fn half_close_leaves_the_other_direction(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    let (received, sent, shut) = (Slot::new(), Slot::new(), Slot::new());
    peer.shutdown(Shutdown::Write).unwrap();
    io.recv(stream, [0; 8], keep(&received));
    io.run().unwrap();
    let done: Done<[u8; 8]> = received.one();
    assert_eq!((done.result, done.bytes), (Ok(()), 0));
    io.send_all(stream, "still here", keep(&sent));
    io.run().unwrap();
    assert_eq!(sent.one().result, Ok(()));
    let mut got = [0; 10];
    peer.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"still here");

    let (stream, mut peer) = subject.pair(&io);
    io.shutdown(stream, Half::Write, keep(&shut));
    io.run().unwrap();
    assert_eq!(shut.one(), Ok(()));
    assert_eq!(peer.read(&mut got).unwrap(), 0);
    peer.write_all(b"answer").unwrap();
    io.recv_exact(stream, [0; 8], 6, keep(&received));
    io.run().unwrap();
    assert_eq!(received.one().data(), b"answer");
}

/// Guarantee 8 (reset): never mistaken for the end of the stream, neither by the receive that waits nor by later ones.
fn reset_is_connection_reset(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, peer) = subject.pair(&io);
    let ended = Slot::new();
    io.recv(stream, vec![1; 10], keep(&ended));
    io.recv_exact(stream, vec![1; 10], 5, keep(&ended));
    turn(&io, 2);
    peer.reset();
    io.run().unwrap();
    io.recv(stream, vec![1; 10], keep(&ended));
    io.recv_vectored(stream, [vec![1; 10]], |_, _, done| {
        assert_eq!((kind(done.result), done.bytes), (Some(ErrorKind::ConnectionReset), 0));
    });
    io.run().unwrap();
    let ends: Vec<Done<Vec<u8>>> = ended.take();
    assert_eq!(ends.len(), 3);
    for done in ends {
        assert_eq!((kind(done.result), done.bytes), (Some(ErrorKind::ConnectionReset), 0));
    }
}

/// Guarantee 8 (reset): a peer that closes without having read everything resets.
fn close_with_unread_data_is_a_reset(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, peer) = subject.pair(&io);
    let (received, sent) = (Slot::new(), Slot::new());
    io.send_all(stream, "unread", keep(&sent));
    io.recv(stream, [0; 8], keep(&received));
    peer.until_unread(&io, 6);
    drop(peer);
    io.run().unwrap();
    let done: Done<[u8; 8]> = received.one();
    assert_eq!((kind(done.result), done.bytes), (Some(ErrorKind::ConnectionReset), 0));
    assert_eq!(sent.one().result, Ok(()));
}

/// Guarantee 8 (reset): the system tells of a reset once; a receive that comes second must not see an end of the
/// stream instead, whoever the first was.
fn reset_is_told_to_both_directions(subject: &Subject) {
    for receive_first in [false, true] {
        let io: Io = subject.io();
        let (stream, peer) = subject.narrow_pair(&io);
        let (received, sent) = (Slot::new(), Slot::new());
        let recv = || io.recv_exact(stream, vec![0; 10], 10, keep(&received));
        if receive_first {
            recv();
        }
        io.send_all(stream, noise(1 << 20, 1), keep(&sent));
        if !receive_first {
            recv();
        }
        peer.until_unread(&io, 1);
        turn(&io, 3);
        peer.reset();
        io.run().unwrap();
        let done: Done<Vec<u8>> = received.one();
        assert_eq!((kind(done.result), done.bytes), (Some(ErrorKind::ConnectionReset), 0));
        let done: Done<Vec<u8>> = sent.one();
        let expected = [Some(ErrorKind::ConnectionReset), Some(ErrorKind::BrokenPipe)];
        assert!(expected.contains(&kind(done.result)), "{:?}", done.result);
        assert!((1..done.buf.len()).contains(&done.bytes));
    }
}

/// Documented: "No signal (SIGPIPE) is raised"; the send fails as `ConnectionReset` or `BrokenPipe`.
fn send_after_a_reset_fails(subject: &Subject) {
    if subject.simulated() {
        return sends_fail_after_a_reset(subject);
    }
    child::run(subject, "streams_ends::send_after_a_reset_fails_without_a_signal", |subject| {
        // std has switched the signal off; so it would not kill us if nbio raised it.
        system::let_broken_pipes_kill();
        sends_fail_after_a_reset(subject);
    });
}

fn sends_fail_after_a_reset(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, peer) = subject.pair(&io);
    peer.reset();
    // It has arrived: the first send is told of it, and not one behind.
    subject.hand_over(&io);
    let sent = Slot::new();
    for _ in 0..3 {
        io.send_all(stream, "into the void", keep(&sent));
        io.submit(op::SendVectored::new(stream, ["into", "the", "void"]), |_, _, done| {
            assert_eq!((kind(done.result), done.bytes), (Some(ErrorKind::BrokenPipe), 0));
        });
    }
    io.run().unwrap();
    for done in sent.take() {
        let expected = [Some(ErrorKind::ConnectionReset), Some(ErrorKind::BrokenPipe)];
        assert!(expected.contains(&kind(done.result)), "{:?}", done.result);
        assert_eq!(done.bytes, 0);
    }
}

/// Documented: `BrokenPipe`: this side has closed the half that was written to.
fn send_after_own_shutdown(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, _peer) = subject.pair(&io);
    let (sent, shut) = (Slot::new(), Slot::new());
    io.shutdown(stream, Half::Write, keep(&shut));
    io.send_all(stream, "too late", keep(&sent));
    io.run().unwrap();
    let done: Done<&str> = sent.one();
    assert_eq!((shut.one(), kind(done.result), done.bytes), (Ok(()), Some(ErrorKind::BrokenPipe), 0));
}

/// Guarantees 2 and 3: a large send cut off in the middle says how many bytes went out, and those are what the peer
/// gets when it reads at last.
fn never_reading_peer(subject: &Subject) {
    for seed in 0..5 {
        let io: Io = subject.io();
        let (stream, peer) = subject.narrow_pair(&io);
        let large = noise(1 << 20, seed);
        let ended = Slot::new();
        let send = io.send_all(stream, large.clone(), keep(&ended));
        peer.until_unread(&io, 1);
        turn(&io, seed as usize);
        assert!(io.cancel(send));
        io.run().unwrap();
        let done: Done<Vec<u8>> = ended.one();
        assert_eq!(kind(done.result), Some(ErrorKind::Cancelled));
        assert!((1..large.len()).contains(&done.bytes));
        assert_eq!(done.buf.len(), large.len());
        peer.until_unread_on(&io, stream, 0);
        io.close(stream);
        io.run().unwrap();
        assert!(peer.read_all().join(&io) == large[..done.bytes], "seed {seed}");
    }
}
