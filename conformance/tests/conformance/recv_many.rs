//! Receiving one buffer after the other, from a pool.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::net::Shutdown;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use nbio::task::items;
use nbio::{BufferPool, Done, ErrorKind, Event, Half, ManyOperation, OpId, PooledBuf, TcpStream, op};

use crate::hanging::idle;
use crate::support::{Case, Slot, Subject};
use crate::tasks::poll_once;
use crate::wire::{Brought, Io, drive, keep, kind, noise, turn};

pub const CASES: &[Case] = &[
    Case { name: "all_bytes_come_in_order_and_then_the_end", run: all_bytes },
    Case { name: "an_empty_pool_pauses_and_a_returned_buffer_resumes", run: empty_pool },
    Case { name: "a_buffer_returned_by_another_thread_resumes", run: other_threads },
    Case { name: "all_readers_that_starved_go_on", run: many_starve },
    Case { name: "readers_that_wait_have_no_buffer", run: idle_readers },
    Case { name: "items_follow_a_cancel_and_no_byte_is_lost", run: cancelled_loses_nothing },
    Case { name: "items_follow_a_deadline_and_no_byte_is_lost", run: late_loses_nothing },
    Case { name: "removed_it_leaves_the_stream_whole_or_broken", run: removed },
    Case { name: "ended_by_its_own_callback_no_byte_is_lost", run: ended_from_inside },
    Case { name: "starving_it_is_cancelled_and_removed", run: starving_ends },
    Case { name: "it_takes_its_turn_and_keeps_it", run: turns },
    Case { name: "what_dropped_futures_have_left_is_its_first", run: left_bytes },
    Case { name: "a_stream_of_buffers_dropped_any_time_loses_no_byte", run: dropped_streams },
    Case { name: "a_stream_that_nobody_takes_from_stops_and_goes_on", run: stops_and_goes_on },
    Case { name: "its_panic_ends_it", run: panicking },
    Case { name: "it_ends_as_receives_end", run: ends },
    Case { name: "bytes_in_flight_are_counted", run: counted },
    Case { name: "buffers_outlive_their_loop", run: outlive },
    Case { name: "unfit_pools_and_handles", run: unfit },
];

/// All bytes that have come since this was last asked; their buffers return.
fn bytes(brought: &Brought<PooledBuf>) -> Vec<u8> {
    let bufs = brought.items.take();
    assert!(bufs.iter().all(|buf| !buf.is_empty()));
    bufs.iter().flat_map(|buf| buf.to_vec()).collect()
}

/// Receives so many bytes by an operation of the other kind.
fn receive(io: &Io, stream: TcpStream, bytes: usize) -> Vec<u8> {
    let got = Slot::new();
    io.recv_exact(stream, vec![0; bytes], bytes, keep(&got));
    drive(io, || got.len() > 0);
    got.one().data().to_vec()
}

/// Guarantee 2: "0..n items and exactly one end"; guarantee 8: the same bytes on every backend.
fn all_bytes(subject: &Subject) {
    for (buffers, size) in [(1, 100), (4, 1000), (64, 4096)] {
        let io: Io = subject.io();
        let pool = io.buffer_pool(buffers, size).unwrap();
        let (stream, peer) = subject.pair(&io);
        let sent = noise(if buffers == 1 { 10_000 } else { 200_000 }, 3);
        let work = peer.exchange(sent.clone(), true);
        let (got, ended) = (Rc::new(RefCell::new(Vec::new())), Slot::new());
        let (into, end, most) = (got.clone(), ended.clone(), pool.clone());
        io.recv_many(stream, &pool, move |_, _, event| match event {
            Event::Item(buf) => {
                assert!((1..=size).contains(&buf.len()) && most.buffers_in_flight() == 1);
                into.borrow_mut().extend_from_slice(&buf);
            }
            Event::End(result) => end.put(result),
        });
        drive(&io, || {
            work.is_finished();
            ended.len() > 0
        });
        assert_eq!(ended.one(), Ok(()));
        assert!(got.take() == sent, "{buffers} buffers of {size}");
        assert_eq!((pool.buffers_in_flight(), pool.bytes_in_flight()), (0, 0));
        io.close(stream);
        io.run().unwrap();
        work.join(&io);
    }
}

/// Documented: "When the pool has no buffer left the receiving pauses, and goes on when one is dropped."
fn empty_pool(subject: &Subject) {
    let io: Io = subject.io();
    let pool = io.buffer_pool(2, 64).unwrap();
    let (stream, peer) = subject.pair(&io);
    let brought = Brought::new();
    brought.submit(&io, op::RecvMany::new(stream, &pool));
    let sent = noise(1000, 4);
    (&peer).write_all(&sent).unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    let mut got = Vec::new();
    while got.len() < sent.len() {
        drive(&io, || brought.items.len() == 2 || got.len() + pool.bytes_in_flight() == sent.len());
        turn(&io, 5);
        assert!(brought.items.len() <= 2);
        assert_eq!(pool.buffers_in_flight(), brought.items.len());
        let mut bufs = brought.items.take();
        // One after the other, with turns between them.
        got.extend_from_slice(&bufs.remove(0));
        turn(&io, 2);
        let (other, behind) = (bufs, brought.items.take());
        other.iter().chain(&behind).for_each(|buf| got.extend_from_slice(buf));
    }
    assert!(got == sent);
    drive(&io, || brought.ends.len() > 0);
    assert_eq!(brought.ends.one(), Ok(()));
}

/// Documented: a buffer returns "on whatever thread"; a loop that sleeps meanwhile is woken.
fn other_threads(subject: &Subject) {
    let io: Io = subject.io();
    let pool = io.buffer_pool(1, 16).unwrap();
    let (stream, peer) = subject.pair(&io);
    let sent = noise(16 * 50, 5);
    (&peer).write_all(&sent).unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    let (give, take) = std::sync::mpsc::channel::<PooledBuf>();
    let thread = std::thread::spawn(move || take.iter().flat_map(|buf| buf.to_vec()).collect::<Vec<u8>>());
    io.recv_many(stream, &pool, move |_, _, event| match event {
        Event::Item(buf) => give.send(buf).unwrap(),
        Event::End(result) => assert_eq!(result, Ok(())),
    });
    io.run().unwrap();
    assert!(thread.join().unwrap() == sent);
}

/// As above with several: each goes on, also if there is one buffer only and others are idle.
fn many_starve(subject: &Subject) {
    let io: Io = subject.io();
    let pool = io.buffer_pool(2, 8).unwrap();
    let pairs: Vec<_> = (0..6).map(|_| subject.pair(&io)).collect();
    let brought: Vec<_> = pairs.iter().map(|_| Brought::new()).collect();
    for ((stream, _), brought) in pairs.iter().zip(&brought) {
        brought.submit(&io, op::RecvMany::new(*stream, &pool));
    }
    // The last one has nothing to tell.
    for (_, peer) in &pairs[..5] {
        (&*peer).write_all(&[7; 24]).unwrap();
    }
    let got: Vec<_> = brought.iter().map(|_| Cell::new(0)).collect();
    drive(&io, || {
        for (brought, got) in brought.iter().zip(&got) {
            got.set(got.get() + bytes(brought).len());
        }
        got[..5].iter().all(|got| got.get() == 24)
    });
    (&pairs[5].1).write_all(b"late").unwrap();
    drive(&io, || brought[5].items.len() > 0);
    assert_eq!(&bytes(&brought[5])[..1], b"l");
    assert_eq!(pool.buffers_in_flight(), 0);
}

/// Documented: "A reader that waits has no buffer."
fn idle_readers(subject: &Subject) {
    let io: Io = subject.io();
    let pool = io.buffer_pool(1, 64).unwrap();
    let pairs: Vec<_> = (0..5).map(|_| subject.pair(&io)).collect();
    let brought = Brought::new();
    for (stream, _) in &pairs {
        brought.submit(&io, op::RecvMany::new(*stream, &pool));
    }
    subject.hand_over(&io);
    for (number, (_, peer)) in pairs.iter().enumerate() {
        let sent = [number as u8; 3];
        (&*peer).write_all(&sent).unwrap();
        let mut got = Vec::new();
        drive(&io, || {
            got.extend(bytes(&brought));
            got.len() == 3
        });
        assert_eq!(got, sent);
    }
    assert_eq!(brought.ends.len(), 0);
}

/// Guarantee 3: "Cancel and deadlines are requests and lose nothing".
fn cancelled_loses_nothing(subject: &Subject) {
    races(subject, |io, operation, brought, course| {
        let id = brought.submit(io, operation);
        course(io);
        io.cancel(id);
        io.cancel(id);
    });
}

/// As above.
fn late_loses_nothing(subject: &Subject) {
    races(subject, |io, operation, brought, course| {
        brought.submit(io, operation.timeout(Duration::from_micros(50)));
        course(io);
    });
}

fn races(subject: &Subject, submit: impl Fn(&Io, op::RecvMany, &Brought<PooledBuf>, &dyn Fn(&Io))) {
    let io: Io = subject.io();
    let pool = io.buffer_pool(8, 4).unwrap();
    let (stream, peer) = subject.pair(&io);
    for course in 0..54 {
        let brought = Brought::new();
        let sent = noise(11, course as u64);
        let arrive = || (&peer).write_all(&sent).unwrap();
        if course % 3 == 0 {
            arrive();
        }
        submit(&io, op::RecvMany::new(stream, &pool), &brought, &|io| {
            turn(io, course / 3 % 3);
            if course % 3 == 1 {
                arrive();
            }
            turn(io, course / 9 % 3);
        });
        if course % 3 == 2 {
            arrive();
        }
        drive(&io, || brought.ends.len() > 0);
        let end = kind(brought.ends.one());
        assert!(matches!(end, Some(ErrorKind::Cancelled | ErrorKind::TimedOut)), "course {course}");
        let mut got = bytes(&brought);
        got.extend(receive(&io, stream, 11 - got.len()));
        assert_eq!(got, sent, "course {course}");
        assert_eq!(pool.buffers_in_flight(), 0);
    }
}

/// Guarantee 4: "after a removed read that had taken bytes every later recv fails `Broken`"; one that had taken none, or had
/// brought them all, leaves the stream as it is.
fn removed(subject: &Subject) {
    for turns in 0..18 {
        let io: Io = subject.io();
        let pool = io.buffer_pool(8, 4).unwrap();
        let (stream, peer) = subject.pair(&io);
        let brought = Brought::new();
        let sent = noise(13, turns);
        let id = brought.submit(&io, op::RecvMany::new(stream, &pool));
        turn(&io, turns as usize / 6);
        (&peer).write_all(&sent).unwrap();
        turn(&io, turns as usize % 6);
        assert!(io.remove(id) && !io.remove(id));
        let mut got = bytes(&brought);
        idle(&io);
        assert_eq!((brought.items.len(), brought.ends.len()), (0, 0), "it is silent");
        let left = Slot::new();
        io.recv_exact(stream, vec![0; 13], 13 - got.len(), keep(&left));
        drive(&io, || left.len() > 0);
        let left: Done<Vec<u8>> = left.one();
        match kind(left.result) {
            None => {
                got.extend_from_slice(left.data());
                assert_eq!(got, sent, "after {turns} turns");
            }
            error => assert_eq!(error, Some(ErrorKind::Broken)),
        }
        assert_eq!(pool.buffers_in_flight(), 0);
        // The pool is whole: all of it can be had.
        let (other, peer) = subject.pair(&io);
        brought.submit(&io, op::RecvMany::new(other, &pool));
        (&peer).write_all(&[1; 32]).unwrap();
        drive(&io, || pool.bytes_in_flight() == 32 || pool.buffers_in_flight() == 8);
    }
}

/// Guarantee 3: one that its own callback cancels ends once, and what it doesn't bring is the next receive's.
fn ended_from_inside(subject: &Subject) {
    let io: Io = subject.io();
    let pool = io.buffer_pool(8, 4).unwrap();
    let (stream, peer) = subject.pair(&io);
    let (got, ends) = (Slot::new(), Slot::new());
    let (bytes, ended, own) = (got.clone(), ends.clone(), Rc::new(Cell::new(None)));
    let name = own.clone();
    let id = io.recv_many(stream, &pool, move |_, io, event| match event {
        Event::Item(buf) => {
            let id: OpId = name.get().expect("it was submitted");
            // The first time only: later items had come before the cancel.
            assert!(io.cancel(id));
            bytes.put(buf.to_vec());
        }
        Event::End(result) => ended.put(result),
    });
    own.set(Some(id));
    (&peer).write_all(b"abcdefgh").unwrap();
    drive(&io, || ends.len() > 0);
    assert_eq!(kind(ends.one()), Some(ErrorKind::Cancelled));
    let mut bytes: Vec<u8> = got.take().concat();
    assert!(!bytes.is_empty());
    let left = 8 - bytes.len();
    bytes.extend(receive(&io, stream, left));
    assert_eq!((&bytes[..], io.cancel(id), pool.buffers_in_flight()), (&b"abcdefgh"[..], false, 0));
}

/// Guarantees 3 and 4 for one that waits for a buffer.
fn starving_ends(subject: &Subject) {
    for remove in [false, true] {
        let io: Io = subject.io();
        let pool = io.buffer_pool(1, 4).unwrap();
        let (stream, peer) = subject.pair(&io);
        let brought = Brought::new();
        let id = brought.submit(&io, op::RecvMany::new(stream, &pool));
        (&peer).write_all(b"abcdefgh").unwrap();
        drive(&io, || brought.items.len() == 1);
        turn(&io, 5);
        let got = brought.items.len();
        if remove {
            assert!(io.remove(id));
        } else {
            assert!(io.cancel(id));
            drive(&io, || brought.ends.len() > 0);
            assert_eq!(kind(brought.ends.one()), Some(ErrorKind::Cancelled));
        }
        assert_eq!(brought.items.len(), got);
        let mut bytes = bytes(&brought);
        idle(&io);
        bytes.extend(receive(&io, stream, 8 - bytes.len()));
        assert_eq!(bytes, b"abcdefgh");
        assert_eq!(brought.ends.len(), 0);
    }
}

/// Guarantee 7: receives on a stream take turns, and this is one of them.
fn turns(subject: &Subject) {
    let io: Io = subject.io();
    let pool = io.buffer_pool(4, 16).unwrap();
    let (stream, peer) = subject.pair(&io);
    let (first, last, brought) = (Slot::new(), Slot::new(), Brought::new());
    io.recv_exact(stream, vec![0; 4], 4, keep(&first));
    let id = brought.submit(&io, op::RecvMany::new(stream, &pool));
    io.recv_exact(stream, vec![0; 4], 4, keep(&last));
    (&peer).write_all(b"onlytwo!").unwrap();
    let mut got = Vec::new();
    drive(&io, || {
        got.extend(bytes(&brought));
        got.len() == 4
    });
    let first: Done<Vec<u8>> = first.one();
    assert_eq!((first.data(), &got[..], last.len()), (&b"only"[..], &b"two!"[..], 0));
    assert!(io.cancel(id));
    drive(&io, || brought.ends.len() > 0);
    (&peer).write_all(b"more").unwrap();
    drive(&io, || last.len() > 0);
    let last: Done<Vec<u8>> = last.one();
    assert_eq!((last.data(), bytes(&brought)), (&b"more"[..], Vec::new()));
}

/// Guarantee 4: what a dropped future has left is the next receive's, and the end behind it.
fn left_bytes(subject: &Subject) {
    for finish in [false, true] {
        let io: Io = subject.io();
        let pool = io.buffer_pool(4, 16).unwrap();
        let (stream, peer) = subject.pair(&io);
        let mut future = op::Recv::new(stream, vec![0; 64]).exact(64).into_future();
        let ready = io.block_on(async { poll_once(&mut future).is_ready() });
        assert_eq!(ready, Ok(false));
        subject.hand_over(&io);
        (&peer).write_all(b"left behind").unwrap();
        if finish {
            peer.shutdown(Shutdown::Write).unwrap();
        }
        peer.until_unread_on(&io, stream, 0);
        turn(&io, 5);
        drop(future);
        let brought = Brought::new();
        brought.submit(&io, op::RecvMany::new(stream, &pool));
        if !finish {
            (&peer).write_all(b", and more").unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
        }
        drive(&io, || brought.ends.len() > 0);
        let expected: &[u8] = if finish { b"left behind" } else { b"left behind, and more" };
        assert_eq!((&bytes(&brought)[..], brought.ends.one()), (expected, Ok(())));
    }
}

/// Guarantee 4: "recv and accept in a `select!` lose nothing": neither what waited in the stream nor what was on its way.
fn dropped_streams(subject: &Subject) {
    let io: Io = subject.io();
    let pool = io.buffer_pool(8, 4).unwrap();
    let (stream, peer) = subject.pair(&io);
    for turns in 0..24 {
        let mut received = items(op::RecvMany::new(stream, &pool));
        let ready =
            io.block_on(async { poll_once(&mut std::pin::pin!(received.next())).is_ready() }).unwrap();
        assert!(!ready);
        turn(&io, turns / 8);
        let sent = noise(15, turns as u64);
        (&peer).write_all(&sent).unwrap();
        turn(&io, turns % 4);
        let mut got = Vec::new();
        if turns % 3 > 0 {
            got.extend_from_slice(&io.block_on(received.next()).unwrap().unwrap().unwrap());
        }
        let behind = Slot::new();
        if turns % 2 == 0 {
            io.recv_exact(stream, vec![0; 15], 15 - got.len(), keep(&behind));
        }
        drop(received);
        if turns % 2 > 0 {
            io.recv_exact(stream, vec![0; 15], 15 - got.len(), keep(&behind));
        }
        drive(&io, || behind.len() > 0);
        let behind: Done<Vec<u8>> = behind.one();
        got.extend_from_slice(behind.data());
        assert_eq!(got, sent, "after {turns} turns");
        idle(&io);
        assert_eq!(pool.buffers_in_flight(), 0);
    }
}

/// Documented: "when there are 64, no more are asked for until half of them were taken", so that one stream doesn't take the
/// whole pool.
fn stops_and_goes_on(subject: &Subject) {
    let io: Io = subject.io();
    let pool = io.buffer_pool(1024, 8).unwrap();
    let (stream, peer) = subject.pair(&io);
    let mut received = items(op::RecvMany::new(stream, &pool).timeout(Duration::from_secs(30)));
    let ready = io.block_on(async { poll_once(&mut std::pin::pin!(received.next())).is_ready() }).unwrap();
    assert!(!ready);
    let sent = noise(8 * 80, 1);
    (&peer).write_all(&sent).unwrap();
    drive(&io, || pool.buffers_in_flight() >= 64);
    // It is stopped by the time when more come.
    let rung = Slot::new();
    io.timer(Duration::from_millis(5), keep(&rung));
    drive(&io, || rung.len() > 0);
    turn(&io, 5);
    let stopped = pool.buffers_in_flight();
    let more = noise(8 * 80, 2);
    (&peer).write_all(&more).unwrap();
    turn(&io, 5);
    assert_eq!(pool.buffers_in_flight(), stopped);
    peer.shutdown(Shutdown::Write).unwrap();
    let got = io.block_on(async {
        let mut got = Vec::new();
        while let Some(buf) = received.next().await.unwrap() {
            got.extend_from_slice(&buf);
        }
        got
    });
    assert!(got.unwrap() == [sent, more].concat());
}

/// Guarantee 11: "A panicking callback counts as run and reaches the caller of `tick`", and is not called again.
fn panicking(subject: &Subject) {
    let io: Io = subject.io();
    let pool = io.buffer_pool(8, 4).unwrap();
    let (stream, peer) = subject.pair(&io);
    let runs = Rc::new(Cell::new(0));
    let counted = runs.clone();
    io.recv_many(stream, &pool, move |_, _, _| {
        counted.set(counted.get() + 1);
        panic!("on purpose");
    });
    (&peer).write_all(b"0123456789").unwrap();
    let panic = catch_unwind(AssertUnwindSafe(|| drive(&io, || false)));
    assert!(panic.is_err());
    idle(&io);
    assert_eq!((runs.get(), pool.buffers_in_flight()), (1, 0));
}

/// Guarantee 8: "error kinds, EOF, reset, half-close" are the same as for other receives, and on every backend.
fn ends(subject: &Subject) {
    let io: Io = subject.io();
    let pool = io.buffer_pool(4, 16).unwrap();
    let brought = Brought::new();
    let start = |io: &Io| {
        let (stream, peer) = subject.pair(io);
        brought.submit(io, op::RecvMany::new(stream, &pool));
        subject.hand_over(io);
        (stream, peer)
    };
    let end = |io: &Io| {
        drive(io, || brought.ends.len() > 0);
        kind(brought.ends.one())
    };
    let (stream, peer) = start(&io);
    peer.reset();
    assert_eq!(end(&io), Some(ErrorKind::ConnectionReset));
    io.close(stream);
    let (stream, _peer) = start(&io);
    io.close(stream);
    assert_eq!(end(&io), Some(ErrorKind::Cancelled));
    let (stream, _peer) = start(&io);
    io.shutdown(stream, Half::Read, |_, _, result| assert_eq!(result, Ok(())));
    assert_eq!(end(&io), None);
    brought.submit(&io, op::RecvMany::new(stream, &pool));
    assert_eq!(end(&io), None);
    let (stream, peer) = start(&io);
    drop(peer);
    assert_eq!(end(&io), None);
    brought.submit(&io, op::RecvMany::new(stream, &pool));
    assert_eq!(end(&io), None);
    assert_eq!(brought.items.len(), 0);
    // The loop's end drops the callback, and gives buffers back that nobody was told of.
    let (_stream, peer) = start(&io);
    (&peer).write_all(b"unheard").unwrap();
    drop(io);
    assert_eq!((brought.ends.len(), pool.buffers_in_flight()), (0, 0));
}

/// Documented: `BufferPool`'s counts.
fn counted(subject: &Subject) {
    let io: Io = subject.io();
    let pool = io.buffer_pool(16, 16).unwrap();
    let (one, other) = (subject.pair(&io), subject.pair(&io));
    let brought = Brought::new();
    for (stream, peer) in [&one, &other] {
        brought.submit(&io, op::RecvMany::new(*stream, &pool));
        (&*peer).write_all(b"12345").unwrap();
    }
    drive(&io, || pool.bytes_in_flight() == 10);
    assert_eq!(pool.buffers_in_flight(), brought.items.len());
    let from = |pool: &BufferPool| [one.0, other.0].map(|stream| pool.bytes_in_flight_from(stream));
    assert_eq!(from(&pool), [5, 5]);
    brought.items.take();
    assert_eq!((from(&pool), pool.bytes_in_flight(), pool.buffers_in_flight()), ([0, 0], 0, 0));
    assert_eq!((pool.buffers(), pool.buffer_size()), (16, 16));
    assert!(format!("{pool:?}").contains("buffers_in_flight: 0"));
}

/// Guarantee 11: leaks, and buffers that outlive everything else, can't cause undefined behaviour.
fn outlive(subject: &Subject) {
    let io: Io = subject.io();
    // Pools that nobody has make room for others.
    for _ in 0..50 {
        io.buffer_pool(8, 64).unwrap();
    }
    let pool = io.buffer_pool(16, 16).unwrap();
    let (stream, peer) = subject.pair(&io);
    let brought = Brought::new();
    brought.submit(&io, op::RecvMany::new(stream, &pool));
    (&peer).write_all(b"still here").unwrap();
    drive(&io, || pool.bytes_in_flight() == 10);
    drop((pool, io, peer));
    let mut bufs = brought.items.take();
    bufs[0][0] = b'S';
    let bytes: Vec<u8> = bufs.iter().flat_map(|buf| buf.to_vec()).collect();
    assert_eq!(bytes, b"Still here");
    std::thread::spawn(move || drop(bufs)).join().unwrap();
}

/// Documented: the ranges of a pool; guarantee 6: "A stale or foreign handle is a clear error".
fn unfit(subject: &Subject) {
    let (io, elsewhere): (Io, Io) = (subject.io(), subject.io());
    for (count, size) in [(0, 1), (1, 0), (32_769, 1), (1, (1 << 30) + 1), (usize::MAX, usize::MAX)] {
        let error = io.buffer_pool(count, size).unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::InvalidInput, op::Kind::BufferPool));
    }
    let (pool, foreign) = (io.buffer_pool(3, 1).unwrap(), elsewhere.buffer_pool(3, 1).unwrap());
    let ((stale, _peer), (stream, _other)) = (subject.pair(&io), subject.pair(&io));
    io.close(stale);
    io.run().unwrap();
    for (stream, pool, expected) in
        [(stale, &pool, ErrorKind::StaleHandle), (stream, &foreign, ErrorKind::WrongLoop)]
    {
        let brought = Brought::new();
        brought.submit(&io, op::RecvMany::new(stream, pool));
        io.run().unwrap();
        let error = brought.ends.one().unwrap_err();
        assert_eq!((error.kind(), error.operation()), (expected, op::Kind::RecvMany));
    }
    if let Ok((reader, _writer)) = io.pipe() {
        let ended = Slot::new();
        let end = ended.clone();
        io.recv_many(reader, &pool, move |_, _, event| match event {
            Event::Item(buf) => panic!("{buf:?}"),
            Event::End(result) => end.put(result),
        });
        io.run().unwrap();
        assert_eq!(kind(ended.one()), Some(ErrorKind::Unsupported));
    }
}
