//! Receiving into one buffer and sending one: how much, where to, and what the buffer looks like afterwards.

use std::io::{Read, Write};
use std::time::Duration;

use nbio::{Done, ErrorKind, IoBuf, IoBufMut, Operation, TcpStream, op};

use crate::peer::Peer;
use crate::support::{Case, Slot, Subject};
use crate::wire::{Io, drive, keep, kind, noise, turn};

pub const CASES: &[Case] = &[
    Case { name: "recv_overwrites_from_byte_0_and_fills_the_capacity", run: recv_overwrites_and_fills },
    Case { name: "recv_takes_what_is_there", run: recv_takes_what_is_there },
    Case { name: "vec_is_as_long_as_bytes_whatever_the_end", run: vec_is_as_long_as_bytes },
    Case { name: "fixed_buffer_keeps_its_length_whatever_the_end", run: fixed_buffer_keeps_its_length },
    Case { name: "data_filled_and_into_inner", run: data_filled_and_into_inner },
    Case { name: "append_fills_the_spare_part", run: append_fills_the_spare_part },
    Case { name: "append_keeps_the_buffer_whatever_the_end", run: append_keeps_the_buffer },
    Case { name: "exact_over_many_chunks", run: exact_over_many_chunks },
    Case { name: "exact_leaves_the_rest_in_the_stream", run: exact_leaves_the_rest },
    Case { name: "exact_with_eof_inside_is_unexpected_eof_with_its_bytes", run: exact_with_eof_inside },
    Case { name: "exact_beyond_the_capacity_is_invalid_input", run: exact_beyond_the_capacity },
    Case { name: "exact_0_is_ok", run: exact_0_is_ok },
    Case { name: "no_capacity_is_invalid_input", run: no_capacity_is_invalid_input },
    Case { name: "send_of_0_bytes_is_ok", run: send_of_0_bytes_is_ok },
    Case { name: "plain_send_moves_some_and_says_how_many", run: plain_send_moves_some },
    Case { name: "send_all_sends_all_to_a_slow_peer", run: send_all_sends_all },
    Case { name: "deadline_covers_the_whole_exact_not_each_chunk", run: deadline_covers_the_whole },
    Case { name: "complete_transfer_is_ok_though_cancelled_or_late", run: complete_is_ok_though_cancelled },
];

/// Receives on an operation of its own and runs until it has ended.
fn received<B: IoBufMut>(io: &Io, recv: op::Recv<B>) -> Done<B> {
    let ended = Slot::new();
    io.submit(recv, keep(&ended));
    drive(io, || ended.len() > 0);
    ended.one()
}

/// A plain receive takes all of the bytes that are there, if its buffer has room; in a simulation, which hands out
/// as many as it likes, it takes an exact one.
fn at_once<B: IoBufMut>(subject: &Subject, recv: op::Recv<B>, bytes: usize) -> op::Recv<B> {
    if subject.simulated() { recv.exact(bytes) } else { recv }
}

fn sent<B: IoBuf>(io: &Io, send: op::Send<B>) -> Done<B> {
    let ended = Slot::new();
    io.submit(send, keep(&ended));
    drive(io, || ended.len() > 0);
    ended.one()
}

/// Documented: "recv overwrites from byte 0 and may fill capacity()"; the next one goes on where it ended.
fn recv_overwrites_and_fills(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    let mut buf = Vec::with_capacity(16);
    buf.extend_from_slice(b"before!");
    let capacity = buf.capacity();
    let sent = noise(capacity + 5, 1);
    peer.write_all(&sent).unwrap();
    peer.until_unread_on(&io, stream, sent.len());

    let done = received(&io, at_once(subject, op::Recv::new(stream, buf), capacity));
    assert_eq!((done.bytes, done.result), (capacity, Ok(())));
    assert_eq!((done.data(), &done.buf[..]), (&sent[..capacity], &sent[..capacity]));

    let done = received(&io, at_once(subject, op::Recv::new(stream, done.buf), 5));
    assert_eq!((done.bytes, done.result, done.buf.capacity()), (5, Ok(()), capacity));
    assert_eq!((done.data(), &done.buf[..]), (&sent[capacity..], &sent[capacity..]));
}

/// Documented: a plain receive ends with the first bytes that come.
fn recv_takes_what_is_there(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    let ended = Slot::new();
    io.recv(stream, [7; 100], keep(&ended));
    turn(&io, 3);
    assert_eq!(ended.len(), 0);
    peer.write_all(b"abc").unwrap();
    drive(&io, || ended.len() > 0);
    let done: Done<[u8; 100]> = ended.one();
    // Of three bytes a simulation may make three chunks.
    let chunk = if subject.simulated() { done.bytes.clamp(1, 3) } else { 3 };
    assert_eq!((done.bytes, done.result, done.data()), (chunk, Ok(()), &b"abc"[..chunk]));
    assert_eq!(done.buf[chunk..], [7; 100][chunk..]);
}

/// The ends that a receive can come to, each brought about for a buffer of the caller's making. The receive wants
/// exactly 8 bytes. With each: how many bytes it must have moved.
fn every_end<B: IoBufMut>(
    subject: &Subject,
    make: impl Fn() -> B,
    check: impl Fn(Done<B>, usize, ErrorKind),
) {
    let io: Io = subject.io();
    let other: Io = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    let exact = |stream| op::Recv::new(stream, make()).exact(8);

    check(received(&io, op::Recv::new(stream, make()).exact(1000)), 0, ErrorKind::InvalidInput);
    check(received(&other, exact(stream)), 0, ErrorKind::WrongLoop);
    check(cut(&io, exact(stream)), 0, ErrorKind::Cancelled);
    check(received(&io, exact(stream).timeout(Duration::ZERO)), 0, ErrorKind::TimedOut);
    peer.write_all(b"12345").unwrap();
    peer.until_unread_on(&io, stream, 5);
    check(cut(&io, exact(stream)), 5, ErrorKind::Cancelled);
    peer.write_all(b"12345").unwrap();
    peer.until_unread_on(&io, stream, 5);
    check(received(&io, exact(stream).timeout(Duration::from_millis(5))), 5, ErrorKind::TimedOut);
    check(ended_by_peer(&io, exact(stream), stream, peer, Peer::reset), 5, ErrorKind::ConnectionReset);
    io.close(stream);
    check(received(&io, exact(stream)), 0, ErrorKind::StaleHandle);

    let (stream, peer) = subject.pair(&io);
    check(ended_by_peer(&io, exact(stream), stream, peer, drop), 5, ErrorKind::UnexpectedEof);
}

/// A receive that has taken all that is there, and then was cancelled.
fn cut<B: IoBufMut>(io: &Io, recv: op::Recv<B>) -> Done<B> {
    let ended = Slot::new();
    let id = io.submit(recv, keep(&ended));
    (0..3).for_each(|_| io.tick(Some(Duration::from_millis(1))).unwrap());
    assert!(io.cancel(id));
    drive(io, || ended.len() > 0);
    ended.one()
}

/// A receive that got five bytes before the peer's end.
fn ended_by_peer<B: IoBufMut>(
    io: &Io,
    recv: op::Recv<B>,
    stream: TcpStream,
    peer: Peer,
    end: fn(Peer),
) -> Done<B> {
    let ended = Slot::new();
    io.submit(recv, keep(&ended));
    turn(io, 2);
    (&peer).write_all(b"12345").unwrap();
    // Only when the receive has them is it the receive that the end comes to.
    peer.until_unread_on(io, stream, 0);
    end(peer);
    drive(io, || ended.len() > 0);
    ended.one()
}

/// Documented: "Growable buffers get `len == bytes` whatever the end". Guarantee 2: `bytes` is always true.
fn vec_is_as_long_as_bytes(subject: &Subject) {
    let make = || {
        let mut buf = Vec::with_capacity(64);
        buf.extend_from_slice(b"nine long");
        buf
    };
    every_end(subject, make, |done, bytes, expected| {
        assert_eq!((kind(done.result), done.bytes, done.buf.len()), (Some(expected), bytes, bytes));
        assert_eq!((done.data(), &done.buf[..]), (&b"12345"[..bytes], &b"12345"[..bytes]));
    });
}

/// Documented: "fixed ones keep their length".
fn fixed_buffer_keeps_its_length(subject: &Subject) {
    let make = || vec![b'x'; 64].into_boxed_slice();
    every_end(subject, make, |done, bytes, expected| {
        assert_eq!((kind(done.result), done.bytes, done.buf.len()), (Some(expected), bytes, 64));
        assert_eq!((done.data(), &done.buf[bytes..]), (&b"12345"[..bytes], &vec![b'x'; 64 - bytes][..]));
    });
}

/// Documented: `data()` is the filled part, `filled()` the buffer as an owned sub-slice, `into_inner()` gives it back.
fn data_filled_and_into_inner(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    peer.write_all(b"ping").unwrap();
    let done = received(&io, op::Recv::new(stream, [b'x'; 10]).exact(4));
    assert_eq!(done.data(), b"ping");
    let filled = done.filled();
    assert_eq!(filled.bytes(), b"ping");
    let done = sent(&io, op::Send::new(stream, filled).all());
    assert_eq!((done.bytes, done.data()), (4, &b"ping"[..]));
    assert_eq!(&done.buf.into_inner(), b"pingxxxxxx");
    let mut back = [0; 4];
    peer.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"ping");

    peer.write_all(b"tail").unwrap();
    let mut buf = Vec::with_capacity(32);
    buf.extend_from_slice(b"head");
    let done = received(&io, op::Recv::new(stream, buf).append().exact(4));
    assert_eq!(done.filled().bytes(), b"tail");
}

/// Documented: `append` keeps what the buffer holds and fills what it has beyond its length.
fn append_fills_the_spare_part(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    let mut buf = Vec::with_capacity(8);
    buf.extend_from_slice(b"abc");
    let spare = buf.capacity() - 3;
    let sent = noise(spare + 2, 3);
    peer.write_all(&sent).unwrap();
    peer.until_unread_on(&io, stream, sent.len());
    let done = received(&io, at_once(subject, op::Recv::new(stream, buf).append(), spare));
    assert_eq!((done.bytes, done.result, done.data()), (spare, Ok(()), &sent[..spare]));
    assert_eq!(done.buf, [&b"abc"[..], &sent[..spare]].concat());

    // Full: there is no spare part, and what it holds stays.
    let full = done.buf.len();
    let done = received(&io, op::Recv::new(stream, done.buf).append());
    assert_eq!((kind(done.result), done.bytes, done.buf.len()), (Some(ErrorKind::InvalidInput), 0, full));

    let mut buf = done.buf;
    buf.truncate(3);
    let done = received(&io, op::Recv::new(stream, buf).append().exact(2));
    assert_eq!((done.bytes, done.data()), (2, &sent[spare..]));
    assert_eq!(done.buf, [&b"abc"[..], &sent[spare..]].concat());
}

/// Documented: an appended-to buffer is as long as before plus what came, whatever the end.
fn append_keeps_the_buffer(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    let make = || {
        let mut buf = Vec::with_capacity(64);
        buf.extend_from_slice(b"kept");
        buf
    };
    let append = || op::Recv::new(stream, make()).append().exact(8);
    let check = |done: Done<Vec<u8>>, came: &[u8], expected| {
        assert_eq!((kind(done.result), done.bytes, done.data()), (Some(expected), came.len(), came));
        assert_eq!(done.buf, [b"kept", came].concat());
    };
    check(received(&io, op::Recv::new(stream, make()).append().exact(61)), b"", ErrorKind::InvalidInput);
    check(cut(&io, append()), b"", ErrorKind::Cancelled);
    peer.write_all(b"12345").unwrap();
    peer.until_unread_on(&io, stream, 5);
    check(cut(&io, append()), b"12345", ErrorKind::Cancelled);
    peer.write_all(b"678").unwrap();
    drop(peer);
    check(received(&io, append()), b"678", ErrorKind::UnexpectedEof);
    check(received(&io, append()), b"", ErrorKind::UnexpectedEof);
    io.close(stream);
    check(received(&io, append()), b"", ErrorKind::StaleHandle);
}

/// Documented: `exact(n)` ends with n bytes, over as many chunks as it takes.
fn exact_over_many_chunks(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    let sent = noise(300, 4);
    let ended = Slot::new();
    io.recv_exact(stream, Vec::with_capacity(1000), sent.len(), keep(&ended));
    for (at, byte) in sent.iter().enumerate() {
        assert_eq!(ended.len(), 0, "after {at} bytes");
        peer.write_all(&[*byte]).unwrap();
        // Every byte is a chunk of its own.
        peer.until_unread_on(&io, stream, 0);
    }
    drive(&io, || ended.len() > 0);
    let done: Done<Vec<u8>> = ended.one();
    assert_eq!((done.bytes, done.result, done.buf), (300, Ok(()), sent));
}

/// Documented: `exact(n)` takes n bytes and not one more, though the buffer has room.
fn exact_leaves_the_rest(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    peer.write_all(b"headbody").unwrap();
    peer.until_unread_on(&io, stream, 8);
    let done = received(&io, op::Recv::new(stream, vec![0; 100]).exact(4));
    assert_eq!((done.bytes, done.result, &done.buf[..]), (4, Ok(()), &b"head"[..]));
    let done = received(&io, op::Recv::new(stream, done.buf).exact(4));
    assert_eq!((done.bytes, done.result, &done.buf[..]), (4, Ok(()), &b"body"[..]));
}

/// Documented: EOF inside an `exact` is `UnexpectedEof` with its bytes.
fn exact_with_eof_inside(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    let sent = noise(100, 5);
    peer.write_all(&sent).unwrap();
    drop(peer);
    let done = received(&io, op::Recv::new(stream, [0; 200]).exact(101));
    assert_eq!((kind(done.result), done.bytes), (Some(ErrorKind::UnexpectedEof), 100));
    assert_eq!(done.data(), &sent[..]);
    let done = received(&io, op::Recv::new(stream, [0; 200]).exact(1));
    assert_eq!((kind(done.result), done.bytes), (Some(ErrorKind::UnexpectedEof), 0));
}

/// Documented: `exact(n)` with n > capacity is `InvalidInput`, and takes nothing from the stream.
fn exact_beyond_the_capacity(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    peer.write_all(b"12345678").unwrap();
    peer.until_unread_on(&io, stream, 8);
    let done = received(&io, op::Recv::new(stream, [0; 4]).exact(5));
    assert_eq!((kind(done.result), done.bytes), (Some(ErrorKind::InvalidInput), 0));
    let done = received(&io, op::Recv::new(stream, [0; 4]).exact(usize::MAX));
    assert_eq!((kind(done.result), done.bytes), (Some(ErrorKind::InvalidInput), 0));
    let done = received(&io, op::Recv::new(stream, [0; 4]).exact(4));
    assert_eq!((done.result, &done.buf), (Ok(()), b"1234"));
}

/// Documented: `exact(0)` is `Ok` at once, also without capacity and with nothing to receive.
fn exact_0_is_ok(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, _peer) = subject.pair(&io);
    let done = received(&io, op::Recv::new(stream, vec![1, 2, 3]).exact(0));
    assert_eq!((done.result, done.bytes, done.buf.len()), (Ok(()), 0, 0));
    let done = received(&io, op::Recv::new(stream, Vec::new()).exact(0));
    assert_eq!((done.result, done.bytes), (Ok(()), 0));
}

/// Documented: a receive into nothing is `InvalidInput`.
fn no_capacity_is_invalid_input(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    peer.write_all(b"x").unwrap();
    let check = |result| assert_eq!(kind(result), Some(ErrorKind::InvalidInput));
    check(received(&io, op::Recv::new(stream, Vec::new())).result);
    check(received(&io, op::Recv::new(stream, [])).result);
    check(received(&io, op::Recv::new(stream, Box::<[u8]>::default())).result);
    check(received(&io, op::Recv::new(stream, [0; 4].slice(4..))).result);
    check(received(&io, op::Recv::new(stream, [0; 4]).append()).result);
    check(received(&io, op::Recv::new(stream, Vec::new()).exact(1)).result);
    let done = received(&io, op::Recv::new(stream, [0; 4]));
    assert_eq!((done.result, done.data()), (Ok(()), &b"x"[..]));
}

/// Documented: a send of 0 bytes is `Ok(0)`; it takes its turn like any other.
fn send_of_0_bytes_is_ok(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, peer) = subject.narrow_pair(&io);
    let done = sent(&io, op::Send::new(stream, ""));
    assert_eq!((done.result, done.bytes), (Ok(()), 0));
    let done = sent(&io, op::Send::new(stream, Vec::new()).all());
    assert_eq!((done.result, done.bytes), (Ok(()), 0));

    let order = Slot::new();
    let (first, second) = (order.clone(), order.clone());
    let large = noise(100_000, 6);
    io.send_all(stream, large.clone(), move |_, _, done| first.put(done.bytes));
    io.send_all(stream, "", move |_, _, done| second.put(done.bytes));
    turn(&io, 3);
    assert_eq!(order.len(), 0, "it waits behind the large one");
    let reader = peer.read_all();
    reader.drive(&io, || order.len() == 2);
    assert_eq!(order.take(), [100_000, 0]);
    io.close(stream);
    io.run().unwrap();
    assert_eq!(reader.join(&io), large);
}

/// Documented: a plain send sends some of it, at least one byte.
fn plain_send_moves_some(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, peer) = subject.narrow_pair(&io);
    let large = noise(1 << 20, 7);
    let done = sent(&io, op::Send::new(stream, large.clone()));
    assert_eq!(done.result, Ok(()));
    assert!((1..large.len()).contains(&done.bytes), "{} bytes", done.bytes);
    assert_eq!(done.data(), &large[..done.bytes]);
    io.close(stream);
    io.run().unwrap();
    assert_eq!(peer.read_all().join(&io), &large[..done.bytes]);
}

/// Documented: `all` ends only when the whole buffer is sent, over as many shots as it takes.
fn send_all_sends_all(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, mut peer) = subject.narrow_pair(&io);
    let large = noise(200_000, 8);
    let ended = Slot::new();
    io.send_all(stream, large.clone(), keep(&ended));
    let mut got = Vec::new();
    let mut piece = [0; 1500];
    while got.len() < large.len() {
        peer.until_unread(&io, 1);
        let bytes = peer.read(&mut piece).unwrap();
        got.extend_from_slice(&piece[..bytes]);
    }
    drive(&io, || ended.len() > 0);
    let done: Done<Vec<u8>> = ended.one();
    assert_eq!((done.result, done.bytes, done.buf.len()), (Ok(()), large.len(), large.len()));
    assert!(got == large);
}

/// Guarantee 10: "a deadline covers the whole operation, not each chunk".
fn deadline_covers_the_whole(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, peer) = subject.pair(&io);
    let ended = Slot::new();
    let limit = Duration::from_millis(30);
    let start = io.now();
    io.submit(op::Recv::new(stream, vec![0; 1 << 20]).exact(1 << 20).timeout(limit), keep(&ended));
    let mut chunks = 0;
    // A byte in every tick: no chunk is ever late.
    while ended.len() == 0 {
        (&peer).write_all(b".").unwrap();
        chunks += 1;
        io.tick(Some(Duration::from_millis(1))).unwrap();
    }
    let done: Done<Vec<u8>> = ended.one();
    assert_eq!(kind(done.result), Some(ErrorKind::TimedOut));
    assert!(io.now() - start >= limit);
    assert_eq!(done.data(), vec![b'.'; done.bytes]);
    assert!(0 < done.bytes && done.bytes <= chunks);
}

/// Guarantee 3: "An operation that did what was asked (plain recv ≥ 1 byte; exact/all complete) ends Ok even if
/// cancelled or late".
fn complete_is_ok_though_cancelled(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    for late in [false, true] {
        let (received, sent) = (Slot::new(), Slot::new());
        peer.write_all(b"1234").unwrap();
        peer.until_unread_on(&io, stream, 4);
        let limit = if late { Duration::ZERO } else { Duration::from_secs(3600) };
        let recv = io.submit(op::Recv::new(stream, [0; 4]).exact(4).timeout(limit), keep(&received));
        let send = io.submit(op::Send::new(stream, "abcd").all().timeout(limit), keep(&sent));
        // Handed over, and done in the kernel: the bytes have left here and come there.
        turn(&io, 1);
        peer.until_unread(&io, 4);
        peer.until_unread_on(&io, stream, 0);
        if !late {
            // `false` if its callback has run already.
            io.cancel(recv);
            io.cancel(send);
        }
        drive(&io, || received.len() + sent.len() == 2);
        let (received, sent): (Done<[u8; 4]>, Done<&str>) = (received.one(), sent.one());
        assert_eq!((received.result, received.data()), (Ok(()), &b"1234"[..]), "late: {late}");
        assert_eq!((sent.result, sent.bytes), (Ok(()), 4), "late: {late}");
        peer.read_exact(&mut [0; 4]).unwrap();
    }
}
