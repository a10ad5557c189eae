//! The three ways to close. Guarantee 6.

use std::io::{Read, Write};
use std::time::Duration;

use nbio::{ErrorKind, EventLoop, Half, TcpStream, op};

use crate::hanging::{HOUR, Hanging, TOO_MUCH, idle, narrow_pair, narrow_pair_with};
use crate::support::{Case, Slot, Subject, listen};

pub const CASES: &[Case] = &[
    Case { name: "close_makes_the_handle_stale_at_once", run: close_makes_the_handle_stale_at_once },
    Case { name: "close_cancels_every_kind", run: close_cancels_every_kind },
    Case { name: "close_lets_what_is_done_end_ok", run: close_lets_what_is_done_end_ok },
    Case { name: "close_then_calls_back_last", run: close_then_calls_back_last },
    Case { name: "close_then_twice_is_stale", run: close_then_twice_is_stale },
    Case { name: "close_gives_the_peer_the_end", run: close_gives_the_peer_the_end },
    Case { name: "close_in_the_handles_own_callbacks", run: close_in_the_handles_own_callbacks },
    Case { name: "close_with_very_many_queued", run: close_with_very_many_queued },
    Case { name: "broken_stream_with_very_many_queued", run: broken_stream_with_very_many_queued },
    Case { name: "close_keeps_run_going_until_it_is_closed", run: close_keeps_run_going },
    Case { name: "removed_or_cancelled_close_closes_all_the_same", run: removed_or_cancelled_close },
    Case { name: "gracefully_flushes_to_a_slow_reader", run: gracefully_flushes_to_a_slow_reader },
    Case { name: "gracefully_cancels_receives_and_is_stale_at_once", run: gracefully_cancels_receives },
    Case { name: "gracefully_times_out", run: gracefully_times_out },
    Case { name: "gracefully_on_a_stale_handle", run: gracefully_on_a_stale_handle },
    Case { name: "gracefully_tells_of_a_reset", run: gracefully_tells_of_a_reset },
];

fn kind_of(result: Result<(), nbio::Error>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// Guarantee 6: a stale handle is a clear error, by callback where there is one.
fn close_makes_the_handle_stale_at_once(subject: &Subject) {
    let io: EventLoop = subject.io();
    let (stream, _peer) = subject.pair(&io);
    io.recv(stream, [0; 4], |_, _, _| ());
    io.close(stream);
    assert_eq!(io.local_address(stream).unwrap_err().kind(), ErrorKind::StaleHandle);
    assert_eq!(io.local_address(stream).unwrap_err().kind(), ErrorKind::StaleHandle);
    let ended = Slot::new();
    let seen = ended.clone();
    io.recv(stream, [0; 4], move |_, _, done| seen.put(kind_of(done.result)));
    let seen = ended.clone();
    io.send(stream, "x", move |_, _, done| seen.put(kind_of(done.result)));
    let seen = ended.clone();
    io.shutdown(stream, Half::Read, move |_, _, shut| seen.put(kind_of(shut)));
    // Closing what is closed is nothing.
    io.close(stream);
    assert_eq!(ended.len(), 0);
    io.run().unwrap();
    assert_eq!(ended.take(), [Some(ErrorKind::StaleHandle); 3]);
}

/// Guarantee 6: what waits on a handle ends `Cancelled`; the loop's own timers go on.
fn close_cancels_every_kind(subject: &Subject) {
    let io = subject.io();
    let hanging = Hanging::start(subject, &io);
    hanging.close_handles(&io);
    for (kind, id) in &hanging.ids {
        if matches!(*kind, "timer" | "interval" | "connect") {
            assert!(io.cancel(*id));
        }
    }
    io.run().unwrap();
    hanging.assert_all_ended(ErrorKind::Cancelled);
    idle(&io);
}

/// Guarantees 3 and 6.
fn close_lets_what_is_done_end_ok(subject: &Subject) {
    let io: EventLoop = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    peer.write_all(b"here").unwrap();
    let ended = Slot::new();
    let seen = ended.clone();
    io.recv(stream, [0; 8], move |_, _, done| seen.put((done.bytes, kind_of(done.result))));
    io.tick(Some(Duration::ZERO)).unwrap();
    let seen = ended.clone();
    io.recv(stream, [0; 8], move |_, _, done| seen.put((done.bytes, kind_of(done.result))));
    io.close(stream);
    io.run().unwrap();
    let mut ended = ended.take();
    ended.sort_by_key(|end| end.0);
    assert_eq!(ended, [(0, Some(ErrorKind::Cancelled)), (4, None)]);
}

/// Guarantee 6: after the callbacks of all the handle's operations, on all its lists.
fn close_then_calls_back_last(subject: &Subject) {
    for ticks in 0..3 {
        let io: EventLoop = subject.io();
        let (stream, _peer) = narrow_pair(subject, &io);
        let order = Slot::new();
        for nth in 0..20 {
            let seen = order.clone();
            io.recv(stream, [0; 4], move |_, _, _| seen.put(nth));
            let seen = order.clone();
            io.send_all(stream, vec![0; TOO_MUCH], move |_, _, _| seen.put(nth));
        }
        (0..ticks).for_each(|_| io.tick(Some(Duration::ZERO)).unwrap());
        let seen = order.clone();
        io.close_then(stream, move |_, io, closed| {
            assert_eq!((closed, io.in_flight()), (Ok(()), 0));
            seen.put(100);
        });
        io.run().unwrap();
        let order = order.take();
        assert_eq!((order.len(), order.last()), (41, Some(&100)), "after {ticks} ticks");
    }
    let io: EventLoop = subject.io();
    let (listener, _) = listen(&io);
    let order = Slot::new();
    for _ in 0..20 {
        let seen = order.clone();
        io.accept(listener, move |_, _, accepted| seen.put(accepted.unwrap_err().kind()));
    }
    let seen = order.clone();
    io.close_then(listener, move |_, _, closed| seen.put(kind_of(closed).unwrap_or(ErrorKind::Other)));
    io.run().unwrap();
    let order = order.take();
    assert_eq!((&order[..20], order[20]), (&[ErrorKind::Cancelled; 20][..], ErrorKind::Other));
}

fn close_then_twice_is_stale(subject: &Subject) {
    let io: EventLoop = subject.io();
    let (stream, _peer) = subject.pair(&io);
    let ended = Slot::new();
    for nth in 0..3 {
        let seen = ended.clone();
        io.close_then(stream, move |_, _, closed| seen.put((nth, kind_of(closed))));
    }
    io.run().unwrap();
    let mut ended = ended.take();
    ended.sort_by_key(|end| end.0);
    let stale = Some(ErrorKind::StaleHandle);
    assert_eq!(ended, [(0, None), (1, stale), (2, stale)]);
    let other: EventLoop = subject.io();
    let (foreign, mut peer) = subject.pair(&other);
    let seen = Slot::new();
    let put = seen.clone();
    io.close_then(foreign, move |_, _, closed| put.put(kind_of(closed)));
    io.close(foreign);
    io.run().unwrap();
    assert_eq!(seen.one(), Some(ErrorKind::WrongLoop));
    peer.write_all(b"x").unwrap();
    other.recv(foreign, [0; 1], |_, _, done| assert_eq!((done.bytes, done.result), (1, Ok(()))));
    other.run().unwrap();
}

fn close_gives_the_peer_the_end(subject: &Subject) {
    let io: EventLoop = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    io.send_all(stream, "last words", move |_, io, _| io.close(stream));
    io.run().unwrap();
    let mut got = String::new();
    peer.read_to_string(&mut got).unwrap();
    assert_eq!((&*got, io.in_flight()), ("last words", 0));
}

/// Guarantee 6: from the callback of a receive with others queued behind it, of an accept, of the close itself.
fn close_in_the_handles_own_callbacks(subject: &Subject) {
    let io: EventLoop = subject.io();
    let (listener, address) = listen(&io);
    let ended = Slot::new();
    for _ in 0..3 {
        let seen = ended.clone();
        io.accept(listener, move |_, io, accepted| {
            io.close(listener);
            seen.put(accepted.err().map(|error| error.kind()));
            if let Ok(accepted) = accepted {
                io.close(accepted.stream);
            }
        });
    }
    let mut peer = subject.connect(address).unwrap();
    io.run().unwrap();
    assert_eq!(ended.take(), [None, Some(ErrorKind::Cancelled), Some(ErrorKind::Cancelled)]);
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    let (stream, mut peer) = subject.pair(&io);
    peer.write_all(b"x").unwrap();
    for _ in 0..3 {
        let seen = ended.clone();
        io.recv(stream, [0; 4], move |_, io, done| {
            seen.put(kind_of(done.result));
            let seen = seen.clone();
            io.close_then(stream, move |_, io, closed| {
                io.close(stream);
                seen.put(kind_of(closed));
            });
        });
    }
    io.run().unwrap();
    let (cancelled, stale) = (Some(ErrorKind::Cancelled), Some(ErrorKind::StaleHandle));
    let mut ended = ended.take();
    ended.sort_by_key(|end| end.map(|kind| kind as usize));
    assert_eq!(ended, [None, None, cancelled, cancelled, stale, stale]);
}

/// Guarantees 2 and 6, and no recursion as deep as the queue is long.
fn close_with_very_many_queued(subject: &Subject) {
    let io: EventLoop<Vec<(usize, Option<ErrorKind>)>> = subject.io();
    for many in [1_000, 100_000] {
        let (stream, _peer) = narrow_pair_with(subject, &io, &mut Vec::new());
        io.send_all(stream, vec![0; TOO_MUCH], |_, _, done| {
            assert_eq!(kind_of(done.result), Some(ErrorKind::Cancelled))
        });
        let mut ended = Vec::new();
        subject.hand_over_with(&io, &mut ended);
        for nth in 0..many {
            let bytes: &str = if nth % 3 == 0 { "" } else { "x" };
            io.send(stream, bytes, move |ended: &mut Vec<_>, _, done| {
                ended.push((nth, kind_of(done.result)))
            });
        }
        io.close_then(stream, move |ended, _, closed| {
            assert_eq!((ended.len(), closed), (many, Ok(())));
        });
        io.run_with(&mut ended).unwrap();
        ended.sort_by_key(|end| end.0);
        assert!((0..many).eq(ended.iter().map(|end| end.0)));
        assert!(ended.iter().all(|end| end.1 == Some(ErrorKind::Cancelled)));
    }
}

/// Guarantee 4, and no recursion: all of a long queue end `Broken`, in order.
fn broken_stream_with_very_many_queued(subject: &Subject) {
    let io: EventLoop<Vec<(usize, Option<ErrorKind>)>> = subject.io();
    let (stream, _peer) = narrow_pair_with(subject, &io, &mut Vec::new());
    let stuck = io.send_all(stream, vec![0; TOO_MUCH], |_, _, _| panic!("was removed"));
    let mut ended = Vec::new();
    subject.hand_over_with(&io, &mut ended);
    for nth in 0..100_000 {
        io.send(stream, "x", move |ended: &mut Vec<_>, _, done| ended.push((nth, kind_of(done.result))));
    }
    assert!(io.remove(stuck));
    io.run_with(&mut ended).unwrap();
    assert!((0..100_000).map(|nth| (nth, Some(ErrorKind::Broken))).eq(ended));
    io.close(stream);
    io.run_with(&mut Vec::new()).unwrap();
}

/// What was closed is closed when `run` returns: the peer sees it.
fn close_keeps_run_going(subject: &Subject) {
    let io: EventLoop = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    io.recv(stream, [0; 4], |_, _, _| ());
    io.tick(Some(Duration::ZERO)).unwrap();
    io.close(stream);
    io.run().unwrap();
    assert_eq!(io.in_flight(), 0);
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
}

fn removed_or_cancelled_close(subject: &Subject) {
    for (removed, waiting) in [(true, true), (true, false), (false, true), (false, false)] {
        let io: EventLoop = subject.io();
        let (stream, mut peer) = subject.pair(&io);
        if waiting {
            io.recv(stream, [0; 4], |_, _, done| {
                assert_eq!(kind_of(done.result), Some(ErrorKind::Cancelled))
            });
            io.tick(Some(Duration::ZERO)).unwrap();
        }
        let ended = Slot::new();
        let seen = ended.clone();
        let close = io.close_then(stream, move |_, _, closed| seen.put(kind_of(closed)));
        assert!(if removed { io.remove(close) } else { io.cancel(close) });
        assert!(!io.cancel(close));
        idle(&io);
        let expected = [Some(ErrorKind::Cancelled)];
        assert_eq!(ended.take(), if removed { &expected[..0] } else { &expected });
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    }
}

/// Guarantee 6: every byte and a clean end, though the peer had sent what was never read.
fn gracefully_flushes_to_a_slow_reader(subject: &Subject) {
    let io: EventLoop = subject.io();
    let (stream, mut peer) = narrow_pair(subject, &io);
    peer.write_all(&[9; 3000]).unwrap();
    let sent: Vec<u8> = (0..TOO_MUCH).map(|nth| (nth / 7) as u8).collect();
    for part in sent.chunks(100_000) {
        io.send_all(stream, part.to_vec(), |_, _, done| assert_eq!(done.result, Ok(())));
    }
    let ended = Slot::new();
    let seen = ended.clone();
    io.close_gracefully(stream, HOUR, move |_, io, closed| seen.put((closed, io.in_flight())));
    assert_eq!(io.local_address(stream).unwrap_err().kind(), ErrorKind::StaleHandle);
    (0..3).for_each(|_| io.tick(Some(Duration::ZERO)).unwrap());
    assert_eq!(ended.len(), 0);
    // Not before the loop has sent what the system takes.
    let mut start = vec![0; 1000];
    peer.read_exact(&mut start).unwrap();
    let reader = peer.exchange(vec![9; 3000], false);
    reader.run(&io);
    assert_eq!(ended.one(), (Ok(()), 0));
    assert!([start, reader.finish()].concat() == sent);
}

fn gracefully_cancels_receives(subject: &Subject) {
    let io: EventLoop = subject.io();
    let (stream, peer) = subject.pair(&io);
    let ended = Slot::new();
    for _ in 0..3 {
        let seen = ended.clone();
        io.recv(stream, [0; 4], move |_, _, done| seen.put(kind_of(done.result)));
    }
    io.tick(Some(Duration::ZERO)).unwrap();
    io.send_all(stream, "bye", |_, _, done| assert_eq!(done.result, Ok(())));
    let seen = ended.clone();
    io.close_gracefully(stream, HOUR, move |_, _, closed| seen.put(kind_of(closed)));
    io.send_all(stream, "late", |_, _, done| assert_eq!(kind_of(done.result), Some(ErrorKind::StaleHandle)));
    let reader = peer.read_all();
    reader.run(&io);
    let cancelled = Some(ErrorKind::Cancelled);
    assert_eq!(ended.take(), [cancelled, cancelled, cancelled, None]);
    assert_eq!(reader.finish(), b"bye");
}

/// Guarantee 6: a peer that never reads, and one that reads but never ends.
fn gracefully_times_out(subject: &Subject) {
    let io: EventLoop = subject.io();
    for stuck in [true, false] {
        let (stream, mut peer) = narrow_pair(subject, &io);
        let bytes = if stuck { TOO_MUCH } else { 5 };
        let ended = Slot::new();
        io.send_all(stream, vec![1; bytes], move |_, _, done| assert_eq!(done.result.is_err(), stuck));
        let (seen, start) = (ended.clone(), io.now());
        let limit = Duration::from_millis(15);
        io.close_gracefully(stream, limit, move |_, io, closed| {
            let error = closed.unwrap_err();
            assert_eq!((error.kind(), error.operation()), (ErrorKind::TimedOut, op::Kind::CloseGracefully));
            assert!(io.now() - start >= limit);
            seen.put(());
        });
        io.run().unwrap();
        ended.one();
        idle(&io);
        let mut got = Vec::new();
        peer.read_to_end(&mut got).unwrap();
        assert!(if stuck { got.len() < bytes } else { got.len() == bytes });
    }
}

fn gracefully_on_a_stale_handle(subject: &Subject) {
    let io: EventLoop = subject.io();
    let other: EventLoop = subject.io();
    let (stream, _peer) = subject.pair(&io);
    let (foreign, _foreign_peer) = subject.pair(&other);
    let ended: Slot<_> = Slot::new();
    io.close(stream);
    let close = |stream: TcpStream| {
        let seen = ended.clone();
        io.close_gracefully(stream, HOUR, move |_, _, closed| seen.put(closed.unwrap_err()));
    };
    close(stream);
    close(foreign);
    assert_eq!(ended.len(), 0);
    io.run().unwrap();
    let errors = ended.take();
    assert_eq!(
        errors.iter().map(|error| error.kind()).collect::<Vec<_>>(),
        [ErrorKind::StaleHandle, ErrorKind::WrongLoop]
    );
    assert!(errors.iter().all(|error| error.operation() == op::Kind::CloseGracefully));
}

fn gracefully_tells_of_a_reset(subject: &Subject) {
    let io: EventLoop = subject.io();
    let (stream, far) = subject.both_ends(&io);
    io.set_tcp_options(far, nbio::TcpOptions::default().linger(nbio::Linger::Reset)).unwrap();
    let ended = Slot::new();
    let seen = ended.clone();
    io.close_gracefully(stream, HOUR, move |_, _, closed| seen.put(kind_of(closed)));
    io.tick(Some(Duration::ZERO)).unwrap();
    io.close(far);
    io.run().unwrap();
    assert_eq!(ended.one(), Some(ErrorKind::ConnectionReset));
}
