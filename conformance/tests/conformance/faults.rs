//! What the random programs found, each as small as it can be.

use std::cell::Cell;
use std::io::{Read, Write};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use nbio::{ErrorKind, Event, EventLoop, OpId, TcpOptions};

use crate::support::{Case, Drops, Slot, Subject, drop_quickly};

pub const CASES: &[Case] = &[
    Case { name: "dropping_the_loop_closes_at_once_what_was_ending", run: drop_closes_what_was_ending },
    Case { name: "drain_cancels_what_callbacks_submit_at_once", run: drain_cancels_submitted },
    Case { name: "drop_of_a_removed_callback_may_tick_the_loop", run: removed_callback_ticks },
    Case { name: "no_cancel_of_a_send_that_is_being_retried_is_lost", run: no_cancel_is_lost },
    Case { name: "close_gracefully_reads_out_a_broken_stream", run: graceful_close_of_broken },
    Case { name: "nothing_more_of_an_interval_that_removed_itself", run: interval_removed_itself },
    Case { name: "dropping_the_loop_does_not_linger", run: drop_does_not_linger },
];

/// Guarantees 5 and 6: the last operation of a closing handle has completed but not called back when the loop is
/// dropped. The descriptor is closed all the same, and nobody waits for a second.
fn drop_closes_what_was_ending(subject: &Subject) {
    let io: EventLoop<()> = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    io.recv(stream, [0; 8], |_, _, _| unreachable!("the loop is dropped first"));
    io.tick(Some(Duration::ZERO)).unwrap();
    io.close(stream);
    io.tick(Some(Duration::from_secs(5))).unwrap();
    drop_quickly(io);
    peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0, "the descriptor is closed");
}

/// Guarantee 5, `drain`: "What callbacks submit meanwhile is cancelled too", and not only after the limit has passed.
fn drain_cancels_submitted(subject: &Subject) {
    let io: EventLoop<()> = subject.io();
    let (stream, _peer) = subject.pair(&io);
    let ended = Slot::new();
    let inner = ended.clone();
    io.recv(stream, [0; 8], move |_, io, done| {
        inner.put(done.result.unwrap_err().kind());
        io.recv(stream, [0; 8], move |_, _, done| inner.put(done.result.unwrap_err().kind()));
    });
    let start = Instant::now();
    assert_eq!(io.drain(Duration::from_secs(60)).unwrap(), 0);
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    assert_eq!(ended.take(), [ErrorKind::Cancelled; 2]);
}

/// Ticks the loop when it is dropped, and submits something that takes the place of what ended.
struct TicksWhenDropped(Weak<EventLoop<()>>);

impl Drop for TicksWhenDropped {
    fn drop(&mut self) {
        let Some(io) = self.0.upgrade() else { return };
        while io.in_flight() > 0 {
            io.tick(Some(Duration::from_millis(1))).unwrap();
        }
        let overwrite = [0x5A_u8; 64];
        io.next_tick(move |_, _, _| assert_eq!(overwrite, [0x5A; 64]));
    }
}

/// Guarantee 11: what a removed callback's drop does can't free the slot under it.
fn removed_callback_ticks(subject: &Subject) {
    let io: Rc<EventLoop<()>> = Rc::new(subject.io());
    let (stream, _peer) = subject.pair(&io);
    let drops = Drops::new();
    // Captured values are dropped in this order: the second after its place could have been reused.
    let captured = (TicksWhenDropped(Rc::downgrade(&io)), drops.counted(), vec![7_u8; 100]);
    let recv = io.recv(stream, [0; 8], move |_, _, _| drop(captured));
    io.tick(Some(Duration::ZERO)).unwrap();
    assert!(io.remove(recv));
    assert_eq!(drops.count(), 1);
    io.run().unwrap();
    assert_eq!((drops.count(), io.in_flight()), (1, 0));
}

/// Guarantee 3 and 5: io_uring doesn't find a request that is between being ready and being tried again; the cancel
/// must not be lost on it.
fn no_cancel_is_lost(subject: &Subject) {
    let io: EventLoop<()> = subject.io();
    let narrow = TcpOptions::default().send_buffer(4096).recv_buffer(4096);
    for round in 0..60 {
        let (stream, peer) = subject.pair(&io);
        io.set_tcp_options(stream, narrow).unwrap();
        let ended = Slot::new();
        let inner = ended.clone();
        let send = io.send_all(stream, vec![1; 1 << 20], move |_, _, done| inner.put(done.bytes));
        for tick in 0..round % 7 {
            io.tick(Some(Duration::ZERO)).unwrap();
            // Some room at the other end wakes the send.
            let read = peer.read_now(&mut vec![0; 3_000 << (tick % 4)]);
            assert!(read.is_none_or(|read| read.is_ok()));
        }
        assert!(io.cancel(send));
        assert_eq!(io.drain(Duration::from_secs(10)).unwrap(), 0, "round {round}");
        assert!(ended.one() < 1 << 20);
        io.close(stream);
    }
    io.run().unwrap();
}

/// `close_gracefully`: what it reads is thrown away, so a receive that was removed in the middle is no obstacle, and the
/// peer gets all that was sent.
fn graceful_close_of_broken(subject: &Subject) {
    let io: EventLoop<()> = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    let recv = io.recv_exact(stream, [0; 10], 10, |_, _, _| unreachable!("removed"));
    io.tick(Some(Duration::ZERO)).unwrap();
    peer.write_all(b"abc").unwrap();
    // The system takes them over into the buffer.
    for _ in 0..3 {
        io.tick(Some(Duration::from_millis(1))).unwrap();
    }
    assert!(io.remove(recv));
    let broken = Slot::new();
    let inner = broken.clone();
    io.recv(stream, [0; 10], move |_, _, done| inner.put(done.result));
    io.run().unwrap();
    assert_eq!(broken.one().unwrap_err().kind(), ErrorKind::Broken);

    io.send_all(stream, "goodbye", |_, _, done| done.result.unwrap());
    let closed = Slot::new();
    let inner = closed.clone();
    io.close_gracefully(stream, Duration::from_secs(20), move |_, _, result| inner.put(result));
    let peer = peer.exchange(vec![7; 5_000], false);
    peer.run(&io);
    assert_eq!(closed.one(), Ok(()));
    assert_eq!(peer.finish(), b"goodbye");
}

/// Guarantee 2: `remove` ends an operation, also from inside its own callback: then nothing can be done with it.
fn interval_removed_itself(subject: &Subject) {
    let io: EventLoop<()> = subject.io();
    let id: Rc<Cell<Option<OpId>>> = Rc::default();
    let inner = id.clone();
    let drops = Drops::new();
    let counted = drops.counted();
    let interval = io.interval(Duration::from_millis(1), move |_, io, event| {
        let _counted = &counted;
        assert!(matches!(event, Event::Item(_)), "it is silent");
        let id = inner.get().unwrap();
        assert!(io.remove(id));
        assert!(!io.remove(id) && !io.cancel(id) && !io.reset(id, Duration::ZERO));
    });
    id.set(Some(interval));
    io.run().unwrap();
    assert_eq!((drops.count(), io.in_flight()), (1, 0));
    assert!(!io.cancel(interval));
}

/// Guarantee 5: "dropping the loop waits at most 1 s", however long a stream's close may linger.
fn drop_does_not_linger(subject: &Subject) {
    let io: EventLoop<()> = subject.io();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let _peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut socket = listener.accept().unwrap().0;
    // More than the peer, which doesn't read, has room for: some of it can't be sent.
    socket.set_nonblocking(true).unwrap();
    while socket.write(&[0; 1 << 16]).is_ok() {}
    let stream: nbio::TcpStream = io.adopt(socket).unwrap();
    let linger = TcpOptions::default().linger(nbio::Linger::Wait(Duration::from_secs(100)));
    io.set_tcp_options(stream, linger).unwrap();
    let start = Instant::now();
    drop(io);
    assert!(start.elapsed() < Duration::from_secs(50), "{:?}", start.elapsed());
}
