//! Guarantee 7: on a stream operations take their turns, and a cut send leaves no hole.

use std::io::{Read, Write};
use std::time::Duration;

use nbio::{Done, ErrorKind, Half, OpId, Operation, TcpStream, op};

use crate::peer::Peer;
use crate::support::{Case, Slot, Subject};
use crate::wire::{Io, drive, keep, kind, noise, turn};

pub const CASES: &[Case] = &[
    Case { name: "queued_receives_complete_in_order", run: receives_complete_in_order },
    Case { name: "large_sends_do_not_interleave", run: large_sends_do_not_interleave },
    Case { name: "cancelled_queued_receives_leave_the_others", run: cancelled_queued_receives },
    Case { name: "removed_queued_receive_leaves_the_others", run: removed_queued_receive },
    Case { name: "cancelled_queued_sends_leave_the_others", run: cancelled_queued_sends },
    Case { name: "send_cut_by_cancel_cancels_those_behind", run: send_cut_by_cancel },
    Case { name: "send_cut_by_deadline_cancels_those_behind", run: send_cut_by_deadline },
    Case { name: "short_plain_send_cancels_those_behind", run: short_plain_send },
    Case { name: "close_cuts_a_send_and_cancels_those_behind", run: close_cuts_a_send },
    Case { name: "send_that_moved_nothing_leaves_those_behind", run: send_that_moved_nothing },
    Case { name: "shutdown_write_queues_behind_sends", run: shutdown_write_queues },
    Case { name: "shutdown_read_happens_at_once", run: shutdown_read_at_once },
    Case { name: "shutdown_both_ends_both_halves", run: shutdown_both },
    Case { name: "directions_are_independent", run: directions_are_independent },
];

/// Guarantee 7: plain receives, exact and vectored ones in one queue get the bytes in the order of their submission,
/// and call back in that order; whether the bytes come at once or one by one.
fn receives_complete_in_order(subject: &Subject) {
    let sent = b"0111111222223333";
    for chunk in [1, 5, sent.len()] {
        let io: Io = subject.io();
        let (stream, mut peer) = subject.pair(&io);
        let ended = Slot::new();
        let note = |at: usize| {
            let ended = ended.clone();
            move |_: &mut (), _: &Io, done: Done<Vec<u8>>| {
                assert_eq!(done.result, Ok(()));
                ended.put((at, done.buf));
            }
        };
        // A plain one with room for one byte takes one, whatever the chunks.
        let put = ended.clone();
        io.recv(stream, [0], move |_, _, done| put.put((0, done.data().to_vec())));
        io.recv_exact(stream, Vec::with_capacity(16), 6, note(1));
        let put = ended.clone();
        let bufs = [Vec::with_capacity(2), Vec::with_capacity(3)];
        io.submit(op::RecvVectored::new(stream, bufs).exact(5), move |_, _, done| {
            put.put((2, done.buf.concat()));
        });
        io.recv_exact(stream, Vec::with_capacity(4), 4, note(3));
        turn(&io, 3);
        assert_eq!(ended.len(), 0);
        for piece in sent.chunks(chunk) {
            peer.write_all(piece).unwrap();
            peer.until_unread_on(&io, stream, 0);
        }
        io.run().unwrap();
        let expected = [&b"0"[..], b"111111", b"22222", b"3333"].map(<[u8]>::to_vec);
        assert_eq!(
            ended.take(),
            expected.into_iter().enumerate().collect::<Vec<_>>(),
            "in chunks of {chunk}"
        );
    }
}

/// Guarantee 7: what was sent first is on the wire first, to its last byte.
fn large_sends_do_not_interleave(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, peer) = subject.narrow_pair(&io);
    let parts: Vec<Vec<u8>> = (0..4).map(|seed| noise(150_000, seed)).collect();
    let ended = Slot::new();
    for (at, part) in parts.iter().enumerate() {
        let put = ended.clone();
        if at == 2 {
            let halves = [part[..70_001].to_vec(), part[70_001..].to_vec()];
            io.send_vectored(stream, halves, move |_, _, done| put.put((at, done.result, done.bytes)));
        } else {
            io.send_all(stream, part.clone(), move |_, _, done| put.put((at, done.result, done.bytes)));
        }
    }
    peer.until_unread(&io, 1);
    let reader = peer.read_all();
    reader.run(&io);
    io.close(stream);
    io.run().unwrap();
    assert!(reader.join(&io) == parts.concat());
    assert_eq!(ended.take(), (0..4).map(|at| (at, Ok(()), 150_000)).collect::<Vec<_>>());
}

/// Guarantee 7 and documented: a receive cancelled before its turn ends without waiting for those in front of it and
/// takes nothing.
fn cancelled_queued_receives(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    let ended: Slot<(usize, Done<Vec<u8>>)> = Slot::new();
    let ids: Vec<OpId> = (0..5).map(|at| receive(&io, stream, at, &ended)).collect();
    turn(&io, 2);
    for at in [1, 4] {
        assert!(io.cancel(ids[at]));
    }
    turn(&io, 2);
    let cut = ended.take();
    assert!(cut.iter().map(|(at, _)| *at).eq([1, 4]));
    for (_, done) in cut {
        assert_eq!((kind(done.result), done.bytes, done.buf.len()), (Some(ErrorKind::Cancelled), 0, 0));
    }
    // A deadline does the same.
    let late = op::Recv::new(stream, vec![0; 4]).exact(4).timeout(Duration::from_millis(1));
    let timed_out = Slot::new();
    io.submit(late, keep(&timed_out));
    drive(&io, || timed_out.len() > 0);
    assert_eq!(kind(timed_out.one().result), Some(ErrorKind::TimedOut));
    assert_eq!(ended.len(), 0);

    peer.write_all(b"000022223333").unwrap();
    io.run().unwrap();
    for ((at, done), expected) in ended.take().into_iter().zip([0, 2, 3]) {
        assert_eq!((at, done.result), (expected, Ok(())));
        assert_eq!(done.buf, [b'0' + at as u8; 4]);
    }
}

fn receive(io: &Io, stream: TcpStream, at: usize, ended: &Slot<(usize, Done<Vec<u8>>)>) -> OpId {
    let put = ended.clone();
    io.recv_exact(stream, vec![0; 4], 4, move |_, _, done| put.put((at, done)))
}

/// Guarantee 4: one removed before its turn has taken nothing, so the stream is not broken.
fn removed_queued_receive(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    let ended = Slot::new();
    let ids: Vec<OpId> = (0..3).map(|at| receive(&io, stream, at, &ended)).collect();
    turn(&io, 2);
    assert!(io.remove(ids[1]));
    peer.write_all(b"00002222").unwrap();
    io.run().unwrap();
    let data: Vec<_> = ended.take().into_iter().map(|(at, done)| (at, done.result, done.buf)).collect();
    assert_eq!(data, [(0, Ok(()), b"0000".to_vec()), (2, Ok(()), b"2222".to_vec())]);
}

/// Guarantee 7: a send cancelled before its turn moved nothing, so those behind it go on.
fn cancelled_queued_sends(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, peer) = subject.narrow_pair(&io);
    let ended = Slot::new();
    let large = noise(100_000, 2);
    let ids: Vec<OpId> = [large.clone(), b"1111".to_vec(), b"2222".to_vec(), b"3333".to_vec()]
        .into_iter()
        .map(|buf| io.send_all(stream, buf, keep(&ended)))
        .collect();
    peer.until_unread(&io, 1);
    assert!(io.cancel(ids[1]) && io.remove(ids[2]));
    turn(&io, 2);
    let done: Done<Vec<u8>> = ended.one();
    assert_eq!((kind(done.result), done.bytes), (Some(ErrorKind::Cancelled), 0));
    let reader = peer.read_all();
    reader.run(&io);
    io.close(stream);
    io.run().unwrap();
    assert!(ended.take().iter().all(|done| done.result == Ok(()) && done.bytes == done.buf.len()));
    assert!(reader.join(&io) == [&large[..], b"3333"].concat());
}

/// A large send that is stuck in the middle, and a send, a vectored send and a shutdown behind it.
struct Stuck {
    io: Io,
    stream: TcpStream,
    peer: Peer,
    large: Vec<u8>,
    first: OpId,
    /// The ends in the order in which they were called back: which, why, how many bytes.
    ends: Slot<(usize, Option<ErrorKind>, usize)>,
}

impl Stuck {
    fn new(subject: &Subject, first: impl FnOnce(op::Send<Vec<u8>>) -> op::Send<Vec<u8>>) -> Stuck {
        let io: Io = subject.io();
        let (stream, peer) = subject.narrow_pair(&io);
        let (large, ends) = (noise(1 << 20, 3), Slot::new());
        let put = ends.clone();
        let first = io.submit(first(op::Send::new(stream, large.clone())), move |_, _, done| {
            put.put((0, kind(done.result), done.bytes));
        });
        let put = ends.clone();
        io.send_all(stream, "behind", move |_, _, done| put.put((1, kind(done.result), done.bytes)));
        let put = ends.clone();
        io.send_vectored(stream, ["be", "hind"], move |_, _, done| {
            put.put((2, kind(done.result), done.bytes))
        });
        let put = ends.clone();
        io.shutdown(stream, Half::Write, move |_, _, shut| put.put((3, kind(shut), 0)));
        peer.until_unread(&io, 1);
        Stuck { io, stream, peer, large, first, ends }
    }

    /// All have ended, the first so, the others `Cancelled` with 0 bytes and in order. The stream goes on where the
    /// first was cut.
    fn check(self, why: Option<ErrorKind>) {
        let cancelled = Some(ErrorKind::Cancelled);
        drive(&self.io, || self.ends.len() == 4);
        let ends = self.ends.take();
        let bytes = ends[0].2;
        assert!((1..self.large.len()).contains(&bytes));
        assert_eq!(ends, [(0, why, bytes), (1, cancelled, 0), (2, cancelled, 0), (3, cancelled, 0)]);
        self.io.send_all(self.stream, "and on", |_, _, done| assert_eq!(done.result, Ok(())));
        let reader = self.peer.read_all();
        reader.run(&self.io);
        self.io.close(self.stream);
        self.io.run().unwrap();
        assert!(reader.join(&self.io) == [&self.large[..bytes], b"and on"].concat());
    }
}

/// Guarantee 7: "If a send ends after moving only part of its bytes, the sends behind it end Cancelled with 0 bytes".
fn send_cut_by_cancel(subject: &Subject) {
    let stuck = Stuck::new(subject, |send| send.all());
    assert!(stuck.io.cancel(stuck.first));
    stuck.check(Some(ErrorKind::Cancelled));
}

/// As above, by its own deadline.
fn send_cut_by_deadline(subject: &Subject) {
    let stuck = Stuck::new(subject, |send| send.all().timeout(Duration::from_millis(20)));
    stuck.check(Some(ErrorKind::TimedOut));
}

/// As above: "a short Ok of a plain send included".
fn short_plain_send(subject: &Subject) {
    Stuck::new(subject, |send| send).check(None);
}

/// As above, by a close; what went out is what the peer gets before the end.
fn close_cuts_a_send(subject: &Subject) {
    let stuck = Stuck::new(subject, |send| send.all());
    let closed = Slot::new();
    stuck.io.close_then(stuck.stream, keep(&closed));
    stuck.io.run().unwrap();
    assert_eq!(closed.one(), Ok(()));
    let ends = stuck.ends.take();
    let bytes = ends.iter().find(|end| end.0 == 0).unwrap().2;
    assert!((1..stuck.large.len()).contains(&bytes));
    assert_eq!(ends.len(), 4);
    for (at, why, moved) in ends {
        assert_eq!((why, moved), (Some(ErrorKind::Cancelled), if at == 0 { bytes } else { 0 }));
    }
    assert!(stuck.peer.read_all().join(&stuck.io) == stuck.large[..bytes]);
}

/// Guarantee 7: "one that moved none leaves them be".
fn send_that_moved_nothing(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, peer) = subject.narrow_pair(&io);
    let mut expected = Vec::new();
    // Until the kernel takes nothing more, a cancelled send has moved some.
    for seed in 0.. {
        let large = noise(100_000, seed);
        let (first, second) = (Slot::new(), Slot::new());
        let id = io.send_all(stream, large.clone(), keep(&first));
        io.send_all(stream, "behind", keep(&second));
        subject.hand_over(&io);
        assert!(io.cancel(id));
        drive(&io, || first.len() > 0);
        let done: Done<Vec<u8>> = first.one();
        assert_eq!(kind(done.result), Some(ErrorKind::Cancelled));
        expected.extend_from_slice(done.data());
        subject.hand_over(&io);
        if done.bytes > 0 {
            assert_eq!(kind(second.one().result), Some(ErrorKind::Cancelled));
            continue;
        }
        expected.extend_from_slice(b"behind");
        if second.len() > 0 {
            // The kernel has found room meanwhile: when data is acknowledged, some tens of milliseconds later.
            let done: Done<&str> = second.one();
            assert_eq!((done.result, done.bytes), (Ok(()), 6));
            continue;
        }
        let reader = peer.read_all();
        reader.drive(&io, || second.len() > 0);
        let done: Done<&str> = second.one();
        assert_eq!((done.result, done.bytes), (Ok(()), 6));
        io.close(stream);
        io.run().unwrap();
        assert!(reader.join(&io) == expected);
        return;
    }
}

/// Guarantee 6: "shutdown(stream, Half::Write) queues behind them"; all that was sent arrives before the end.
fn shutdown_write_queues(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, peer) = subject.narrow_pair(&io);
    let large = noise(300_000, 4);
    let order = Slot::new();
    let put = order.clone();
    io.send_all(stream, large.clone(), move |_, _, done| put.put(("send", kind(done.result))));
    let put = order.clone();
    io.shutdown(stream, Half::Write, move |_, _, shut| put.put(("shutdown", kind(shut))));
    peer.until_unread(&io, 1);
    assert_eq!(order.len(), 0);
    assert!(read_all_of(&io, peer) == large);
    io.run().unwrap();
    assert_eq!(order.take(), [("send", None), ("shutdown", None)]);
    assert!(io.local_address(stream).is_ok(), "the handle stays open");
}

/// Runs the loop until the peer has read to the end.
fn read_all_of(io: &Io, peer: Peer) -> Vec<u8> {
    peer.read_all().join(io)
}

/// Documented: shutting down the receiving half happens at once: "a waiting receive and all later ones find the end
/// of the stream", and sending goes on.
fn shutdown_read_at_once(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    let (received, shut, sent) = (Slot::new(), Slot::new(), Slot::new());
    for _ in 0..3 {
        io.recv(stream, vec![1; 4], keep(&received));
    }
    io.recv_exact(stream, vec![1; 4], 2, keep(&received));
    turn(&io, 2);
    io.shutdown(stream, Half::Read, keep(&shut));
    io.run().unwrap();
    assert_eq!(shut.one(), Ok(()));
    // Later ones find it too, whatever the peer sends.
    peer.write_all(b"unheard").unwrap();
    io.recv(stream, vec![1; 4], keep(&received));
    io.run().unwrap();
    let ends: Vec<Done<Vec<u8>>> = received.take();
    let kinds: Vec<_> = ends.iter().map(|done| (kind(done.result), done.bytes)).collect();
    let eof = (None, 0);
    assert_eq!(kinds, [eof, eof, eof, (Some(ErrorKind::UnexpectedEof), 0), eof]);

    io.send_all(stream, "heard", keep(&sent));
    io.run().unwrap();
    assert_eq!(sent.one().result, Ok(()));
    let mut got = [0; 5];
    peer.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"heard");
}

/// Documented: `Half::Both` takes its turn behind the sends, and then ends both.
fn shutdown_both(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, peer) = subject.narrow_pair(&io);
    let large = noise(100_000, 5);
    let (received, shut) = (Slot::new(), Slot::new());
    io.recv(stream, vec![1; 4], keep(&received));
    io.send_all(stream, large.clone(), |_, _, done| assert_eq!(done.result, Ok(())));
    io.shutdown(stream, Half::Both, keep(&shut));
    peer.until_unread(&io, 1);
    assert_eq!((received.len(), shut.len()), (0, 0));
    assert!(read_all_of(&io, peer) == large);
    io.run().unwrap();
    let done: Done<Vec<u8>> = received.one();
    assert_eq!((shut.one(), done.result, done.bytes), (Ok(()), Ok(()), 0));
}

/// Guarantee 7: "opposite directions have no order".
fn directions_are_independent(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, mut peer) = subject.narrow_pair(&io);
    let (received, sent) = (Slot::new(), Slot::new());
    // A receive that waits holds no send up.
    io.recv_exact(stream, vec![0; 4], 4, keep(&received));
    io.send_all(stream, b"out".to_vec(), keep(&sent));
    drive(&io, || sent.len() > 0);
    assert_eq!((sent.one().result, received.len()), (Ok(()), 0));
    peer.read_exact(&mut [0; 3]).unwrap();
    peer.write_all(b"into").unwrap();
    drive(&io, || received.len() > 0);
    assert_eq!(received.one().buf, b"into");

    // A send that is stuck holds no receive up.
    let large = noise(1 << 20, 6);
    let stuck = io.send_all(stream, large, keep(&sent));
    peer.until_unread(&io, 1);
    for _ in 0..10 {
        io.recv_exact(stream, vec![0; 4], 4, keep(&received));
        peer.write_all(b"into").unwrap();
        drive(&io, || received.len() > 0);
        assert_eq!(received.one().buf, b"into");
    }
    assert_eq!(sent.len(), 0);
    assert!(io.cancel(stuck));
    io.run().unwrap();
    assert_eq!(kind(sent.one().result), Some(ErrorKind::Cancelled));
}
