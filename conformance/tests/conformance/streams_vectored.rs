//! Several buffers in one operation, both ways.

use std::io::{Read, Write};
use std::rc::Rc;

use nbio::{Buffers, Done, ErrorKind, IoBuf, IoBufMut, op};

use crate::support::{Case, Slot, Subject};
use crate::wire::{Io, drive, keep, kind, noise, turn};

pub const CASES: &[Case] = &[
    Case { name: "recv_fills_one_buffer_after_the_other", run: recv_fills_in_order },
    Case { name: "recv_with_some_empty_buffers", run: recv_with_some_empty_buffers },
    Case { name: "recv_exact_across_pieces", run: recv_exact_across_pieces },
    Case { name: "recv_append_fills_each_spare_part", run: recv_append },
    Case { name: "send_all_with_some_empty_buffers", run: send_with_some_empty_buffers },
    Case { name: "send_goes_on_across_piece_boundaries", run: send_goes_on_across_boundaries },
    Case { name: "plain_send_vectored_moves_some", run: plain_send_moves_some },
    Case { name: "empty_lists", run: empty_lists },
    Case { name: "1024_buffers_both_ways", run: most_buffers },
    Case { name: "1025_buffers_are_invalid_input", run: too_many_buffers },
    Case { name: "lengths_are_true_whatever_the_end", run: lengths_are_true },
    Case { name: "send_cut_in_the_middle_tells_the_truth", run: send_cut_in_the_middle },
];

fn received<V: Buffers<Buf: IoBufMut>>(io: &Io, recv: op::RecvVectored<V>) -> Done<V> {
    let ended = Slot::new();
    io.submit(recv, keep(&ended));
    drive(io, || ended.len() > 0);
    ended.one()
}

fn lengths<B: AsRef<[u8]>>(bufs: &[B]) -> Vec<usize> {
    bufs.iter().map(|buf| buf.as_ref().len()).collect()
}

/// Documented: receives into several buffers, one after the other; each growable one ends where its bytes do, and
/// those that nothing came into are empty.
fn recv_fills_in_order(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    peer.write_all(b"0123456789").unwrap();
    peer.until_unread_on(&io, stream, 10);
    // What has come is one chunk, except in a simulation.
    let exact = subject.simulated();
    let recv = op::RecvVectored::new(stream, [vec![1; 4], vec![1; 3], vec![1; 20], vec![1; 5]]);
    let done = received(&io, if exact { recv.exact(10) } else { recv });
    assert_eq!((done.result, done.bytes), (Ok(()), 10));
    assert_eq!(done.buf, [&b"0123"[..], b"456", b"789", b""]);

    peer.write_all(b"0123456789").unwrap();
    peer.until_unread_on(&io, stream, 10);
    let recv = op::RecvVectored::new(stream, vec![[b'x'; 4], [b'x'; 4], [b'x'; 4], [b'x'; 4]]);
    let done = received(&io, if exact { recv.exact(10) } else { recv });
    assert_eq!((done.result, done.bytes), (Ok(()), 10));
    assert_eq!(done.buf, [*b"0123", *b"4567", *b"89xx", *b"xxxx"]);
}

/// As above, with buffers without room among them.
fn recv_with_some_empty_buffers(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    peer.write_all(b"0123456789").unwrap();
    let bufs = vec![vec![], vec![1; 4], vec![], vec![], vec![1; 6], vec![]];
    let done = received(&io, op::RecvVectored::new(stream, bufs).exact(10));
    assert_eq!((done.result, done.bytes), (Ok(()), 10));
    assert_eq!(done.buf, [&b""[..], b"0123", b"", b"", b"456789", b""]);
}

/// Documented: `exact` counts over all buffers together, whatever the chunks.
fn recv_exact_across_pieces(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    let sent = noise(100, 1);
    // Chunks that end inside pieces, at their ends and beyond.
    for chunk in [1, 3, 7, 20, 50, 99] {
        let ended = Slot::new();
        let bufs =
            [Vec::with_capacity(10), Vec::with_capacity(1), Vec::with_capacity(0), vec![9; 60], vec![9; 60]];
        let rooms = bufs.each_ref().map(Vec::capacity);
        io.submit(op::RecvVectored::new(stream, bufs).exact(100), keep(&ended));
        for piece in sent.chunks(chunk) {
            assert_eq!(ended.len(), 0);
            peer.write_all(piece).unwrap();
            peer.until_unread_on(&io, stream, 0);
        }
        drive(&io, || ended.len() > 0);
        let done: Done<[Vec<u8>; 5]> = ended.one();
        assert_eq!((done.result, done.bytes, done.buf.concat()), (Ok(()), 100, sent.clone()));
        let mut left = 100;
        for (buf, room) in done.buf.iter().zip(rooms) {
            assert_eq!(buf.len(), room.min(left), "in chunks of {chunk}");
            left -= buf.len();
        }
    }
}

/// Documented: `append` for each buffer.
fn recv_append(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    let with_room = |text: &[u8], room: usize| {
        let mut buf = Vec::with_capacity(text.len() + room);
        buf.extend_from_slice(text);
        assert_eq!(buf.capacity(), text.len() + room);
        buf
    };
    peer.write_all(b"123456").unwrap();
    let bufs =
        vec![with_room(b"full", 0), with_room(b"a", 2), with_room(b"b", 30), with_room(b"untouched", 5)];
    let done = received(&io, op::RecvVectored::new(stream, bufs).append().exact(6));
    assert_eq!((done.result, done.bytes), (Ok(()), 6));
    assert_eq!(done.buf, [&b"full"[..], b"a12", b"b3456", b"untouched"]);

    let done = received(&io, op::RecvVectored::new(stream, vec![with_room(b"full", 0)]).append());
    assert_eq!((kind(done.result), &done.buf[0][..]), (Some(ErrorKind::InvalidInput), &b"full"[..]));
}

/// Documented: sends one after the other.
fn send_with_some_empty_buffers(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    let ended = Slot::new();
    io.send_vectored(stream, ["", "one", "", "", "two", ""], keep(&ended));
    io.run().unwrap();
    let done: Done<[&str; 6]> = ended.one();
    assert_eq!((done.result, done.bytes, done.buf[1]), (Ok(()), 6, "one"));
    let mut got = [0; 6];
    peer.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"onetwo");

    let header: Rc<[u8]> = noise(10, 2).into();
    let parts = vec![header.clone().slice(..4), header.clone().slice(4..)];
    io.send_vectored(stream, parts, |_, _, done| assert_eq!((done.result, done.bytes), (Ok(()), 10)));
    io.run().unwrap();
    let mut got = [0; 10];
    peer.read_exact(&mut got).unwrap();
    assert_eq!(got, *header);
}

/// Partial sends go on inside a piece, at its end, and several pieces further on.
fn send_goes_on_across_boundaries(subject: &Subject) {
    let mut rng = fastrand::Rng::with_seed(3);
    for pieces in [2, 17, 300] {
        let io: Io = subject.io();
        let (stream, mut peer) = subject.narrow_pair(&io);
        let bufs: Vec<Vec<u8>> =
            (0..pieces).map(|seed| noise(rng.usize(..120_000 / pieces as usize), seed)).collect();
        let whole = bufs.concat();
        let ended = Slot::new();
        io.send_vectored(stream, bufs, keep(&ended));
        let mut got = Vec::new();
        let mut piece = [0; 3000];
        while got.len() < whole.len() {
            peer.until_unread(&io, 1);
            let bytes = peer.read(&mut piece[..rng.usize(1..3000)]).unwrap();
            got.extend_from_slice(&piece[..bytes]);
        }
        drive(&io, || ended.len() > 0);
        let done: Done<Vec<Vec<u8>>> = ended.one();
        assert_eq!((done.result, done.bytes), (Ok(()), whole.len()), "{pieces} pieces");
        assert!(got == whole && done.buf.concat() == whole, "{pieces} pieces");
    }
}

/// Documented: a plain one sends some, at least one byte.
fn plain_send_moves_some(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, peer) = subject.narrow_pair(&io);
    let bufs = [noise(10, 4), noise(1 << 20, 5)];
    let whole = bufs.concat();
    let ended = Slot::new();
    io.submit(op::SendVectored::new(stream, bufs), keep(&ended));
    io.run().unwrap();
    let done: Done<[Vec<u8>; 2]> = ended.one();
    assert_eq!(done.result, Ok(()));
    assert!((1..whole.len()).contains(&done.bytes));
    io.close(stream);
    io.run().unwrap();
    assert!(peer.read_all().join(&io) == whole[..done.bytes]);
}

/// Documented: a send of 0 bytes is `Ok(0)`, a receive into nothing `InvalidInput`; also without any buffer.
fn empty_lists(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, _peer) = subject.pair(&io);
    io.send_vectored(stream, Vec::<Vec<u8>>::new(), |_, _, done| {
        assert_eq!((done.result, done.bytes), (Ok(()), 0))
    });
    io.submit(op::SendVectored::new(stream, [""; 3]), |_, _, done| {
        assert_eq!((done.result, done.bytes), (Ok(()), 0))
    });
    io.submit(op::SendVectored::new(stream, [""; 0]), |_, _, done| assert_eq!(done.result, Ok(())));
    io.run().unwrap();
    let invalid = Some(ErrorKind::InvalidInput);
    assert_eq!(kind(received(&io, op::RecvVectored::new(stream, Vec::<Vec<u8>>::new())).result), invalid);
    assert_eq!(kind(received(&io, op::RecvVectored::new(stream, [[0u8; 0]; 3])).result), invalid);
    assert_eq!(kind(received(&io, op::RecvVectored::new(stream, [[0u8; 0]; 3]).exact(1)).result), invalid);
    assert_eq!(received(&io, op::RecvVectored::new(stream, Vec::<Vec<u8>>::new()).exact(0)).result, Ok(()));
}

/// Documented: at most 1,024 buffers.
fn most_buffers(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    let bufs: Vec<Vec<u8>> = (0..1024).map(|seed| noise(seed as usize % 7, seed)).collect();
    let whole = bufs.concat();
    let sent = Slot::new();
    io.send_vectored(stream, bufs, keep(&sent));
    io.run().unwrap();
    let done: Done<Vec<Vec<u8>>> = sent.one();
    assert_eq!((done.result, done.bytes), (Ok(()), whole.len()));
    let mut got = vec![0; whole.len()];
    peer.read_exact(&mut got).unwrap();
    assert_eq!(got, whole);

    peer.write_all(&whole).unwrap();
    let bufs: Vec<Vec<u8>> = (0..1024).map(|at| vec![0; at % 7]).collect();
    let done = received(&io, op::RecvVectored::new(stream, bufs).exact(whole.len()));
    assert_eq!((done.result, done.buf.concat()), (Ok(()), whole));
}

/// Documented: more are `InvalidInput`; growable buffers come back empty as after every receive of 0 bytes.
fn too_many_buffers(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    peer.write_all(b"x").unwrap();
    let invalid = Some(ErrorKind::InvalidInput);
    let ended = Slot::new();
    io.send_vectored(stream, vec!["text"; 1025], keep(&ended));
    io.submit(op::SendVectored::new(stream, vec!["text"; 1025]), keep(&ended));
    io.run().unwrap();
    let ends: Vec<Done<Vec<&str>>> = ended.take();
    assert!(
        ends.iter().all(|done| (kind(done.result), done.bytes) == (invalid, 0) && done.buf.len() == 1025)
    );

    for exact in [false, true] {
        let recv = op::RecvVectored::new(stream, vec![vec![1; 4]; 1025]);
        let done = received(&io, if exact { recv.exact(4) } else { recv });
        assert_eq!((kind(done.result), done.bytes, done.buf.concat().len()), (invalid, 0, 0));
        let recv = op::RecvVectored::new(stream, vec![vec![1; 4]; 1025]).append();
        assert_eq!(received(&io, recv).buf.concat(), vec![1; 4 * 1025]);
    }
    let done = received(&io, op::RecvVectored::new(stream, [vec![0]]));
    assert_eq!((done.result, done.buf), (Ok(()), [b"x".to_vec()]));
}

/// Guarantee 2 and documented: `bytes` and every buffer's length are true whatever the end.
fn lengths_are_true(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    let make = || [vec![9; 4], vec![9; 4], vec![9; 4]];
    let exact = |bytes| op::RecvVectored::new(stream, make()).exact(bytes);

    let done = received(&io, exact(13));
    assert_eq!((kind(done.result), lengths(&done.buf)), (Some(ErrorKind::InvalidInput), vec![0; 3]));

    for (came, expected) in [(&b"12345"[..], [4, 1, 0]), (b"1234", [4, 0, 0]), (b"", [0, 0, 0])] {
        let ended = Slot::new();
        let recv = io.submit(exact(12), keep(&ended));
        peer.write_all(came).unwrap();
        turn(&io, 2);
        peer.until_unread_on(&io, stream, 0);
        assert!(io.cancel(recv));
        drive(&io, || ended.len() > 0);
        let done: Done<[Vec<u8>; 3]> = ended.one();
        assert_eq!((kind(done.result), done.bytes), (Some(ErrorKind::Cancelled), came.len()));
        assert_eq!((lengths(&done.buf), done.buf.concat()), (expected.to_vec(), came.to_vec()));
    }

    peer.write_all(b"123456789").unwrap();
    drop(peer);
    let done = received(&io, exact(12));
    assert_eq!((kind(done.result), done.bytes), (Some(ErrorKind::UnexpectedEof), 9));
    assert_eq!((lengths(&done.buf), done.buf.concat()), (vec![4, 4, 1], b"123456789".to_vec()));
    io.close(stream);
    let done = received(&io, exact(12));
    assert_eq!((kind(done.result), lengths(&done.buf)), (Some(ErrorKind::StaleHandle), vec![0; 3]));
}

/// Guarantees 2 and 3: what a cancelled send says is what the peer gets.
fn send_cut_in_the_middle(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, peer) = subject.narrow_pair(&io);
    let bufs: Vec<Vec<u8>> = (0..200).map(|seed| noise(999, seed)).collect();
    let whole = bufs.concat();
    let ended = Slot::new();
    let send = io.send_vectored(stream, bufs, keep(&ended));
    peer.until_unread(&io, 1);
    assert!(io.cancel(send));
    io.run().unwrap();
    let done: Done<Vec<Vec<u8>>> = ended.one();
    assert_eq!(kind(done.result), Some(ErrorKind::Cancelled));
    assert!((1..whole.len()).contains(&done.bytes));
    io.close(stream);
    io.run().unwrap();
    assert!(peer.read_all().join(&io) == whole[..done.bytes]);
}
