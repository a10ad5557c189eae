//! Dropping a loop. Guarantee 5. (That its descriptors are closed is counted in `tests/environment.rs`.)

use std::io::{Read, Write};
use std::rc::Rc;
use std::time::Duration;

use nbio::{ErrorKind, EventLoop, TcpStream};

use crate::child;
use crate::hanging::{HOUR, Hanging, TOO_MUCH, Tracked, idle, narrow_pair};
use crate::panics::{OnDrop, boom, booms};
use crate::support::{Case, Drops, Slot, Subject, drop_quickly, listen, long};
use crate::system::descriptors;

pub const CASES: &[Case] = &[
    Case { name: "drop_with_every_kind_in_flight", run: drop_with_every_kind_in_flight },
    Case { name: "drop_with_thousands_in_flight", run: drop_with_thousands_in_flight },
    Case { name: "drop_after_ends_before_their_callbacks", run: drop_after_ends_before_their_callbacks },
    Case { name: "drop_in_a_callback_of_another_loop", run: drop_in_a_callback_of_another_loop },
    Case { name: "drop_during_a_panic", run: drop_during_a_panic },
    Case { name: "drop_with_drops_that_panic", run: drop_with_drops_that_panic },
    Case { name: "drop_closes_what_is_open", run: drop_closes_what_is_open },
    Case { name: "forgotten_loops_and_handles_harm_nobody", run: forgotten_loops_and_handles_harm_nobody },
    Case { name: "descriptors_are_given_back", run: descriptors_are_given_back },
    Case { name: "handles_of_a_dropped_loop_are_nobodys", run: handles_of_a_dropped_loop_are_nobodys },
];

/// Each callback and each buffer is dropped exactly once, no callback runs, and the system has let go of all.
fn drop_with_every_kind_in_flight(subject: &Subject) {
    // Right after the submit, started, and half cancelled.
    for stage in 0..4 {
        let io = subject.io();
        let hanging = Hanging::submit(subject, &io);
        (0..stage.min(2)).for_each(|_| io.tick(Some(Duration::ZERO)).unwrap());
        if stage == 3 {
            for (kind, id) in hanging.ids.iter().step_by(2) {
                assert!(io.cancel(*id), "{kind} has ended: {:?}", hanging.ended.take());
            }
            hanging.close_handles(&io);
        }
        drop_quickly(io);
        assert_eq!(hanging.ended.take(), [], "stage {stage}");
        hanging.assert_all_dropped();
    }
}

/// Guarantee 5, with more than any ring holds.
fn drop_with_thousands_in_flight(subject: &Subject) {
    let many = if long() { 20_000 } else { 2_000 };
    for started in [false, true] {
        let io: EventLoop = subject.io();
        let (callbacks, buffers) = (Drops::new(), Drops::new());
        let (listener, _) = listen(&io);
        let (stream, _peer) = narrow_pair(subject, &io);
        let streams: Vec<_> = (0..50).map(|_| subject.pair(&io)).collect();
        io.send_all(stream, Tracked::new(TOO_MUCH, &buffers), |_, _, _| ());
        for nth in 0..many {
            let [one, two, three, four] = [0; 4].map(|_| callbacks.counted());
            io.accept(listener, move |_, _, _| drop(one));
            io.recv(streams[nth % 50].0, Tracked::new(100, &buffers), move |_, _, _| drop(two));
            io.send_all(stream, Tracked::new(100, &buffers), move |_, _, _| drop(three));
            io.timer(HOUR, move |_, _, _| drop(four));
        }
        if started {
            io.tick(Some(Duration::ZERO)).unwrap();
        }
        assert_eq!(io.in_flight(), 4 * many + 1);
        drop_quickly(io);
        assert_eq!((callbacks.count(), buffers.count()), (4 * many, 2 * many + 1));
    }
}

/// What has ended but not called back is dropped as well; an accepted connection is closed.
fn drop_after_ends_before_their_callbacks(subject: &Subject) {
    let io: EventLoop = subject.io();
    let drops = Drops::new();
    let (listener, address) = listen(&io);
    let (stream, mut peer) = subject.pair(&io);
    peer.write_all(b"x").unwrap();
    let [one, two, three, four, five] = [0; 5].map(|_| drops.counted());
    io.accept(listener, move |_, _, _| drop(one));
    io.recv(stream, Tracked::new(4, &drops), move |_, _, _| drop(two));
    io.connect(address, move |_, _, _| drop(three));
    let mut client = subject.connect(address).unwrap();
    io.tick(Some(Duration::from_millis(1))).unwrap();
    io.next_tick(move |_, _, _| drop(four));
    io.close_then(stream, move |_, _, _| drop(five));
    drop_quickly(io);
    assert_eq!(drops.count(), 6);
    // The end of the stream, or a reset if the connection was never accepted.
    assert!(matches!(client.read(&mut [0]), Ok(0) | Err(_)));
}

fn drop_in_a_callback_of_another_loop(subject: &Subject) {
    let (outer, inner): (EventLoop, EventLoop) = (subject.io(), subject.io());
    let hanging = Rc::new(Hanging::start(subject, &inner));
    let known = hanging.clone();
    outer.next_tick(move |_, _, _| {
        drop_quickly(inner);
        known.assert_all_dropped();
    });
    outer.run().unwrap();
    hanging.assert_all_dropped();
    // And by the tear-down of another loop, in whose callback it is captured.
    let inner: EventLoop = subject.io();
    let hanging = Hanging::start(subject, &inner);
    outer.timer(HOUR, move |_, _, _| drop(inner));
    drop_quickly(outer);
    hanging.assert_all_dropped();
}

fn drop_during_a_panic(subject: &Subject) {
    let kept = Slot::new();
    let panicked = booms(|| {
        let io = subject.io();
        kept.put(Hanging::start(subject, &io));
        io.next_tick(|_, _, _| boom());
        io.run().unwrap();
    });
    assert!(panicked);
    kept.one().assert_all_dropped();
    // With drops that panic, while already panicking: those panics go nowhere.
    let drops = Drops::new();
    let panicked = booms(|| {
        let io: EventLoop = subject.io();
        for _ in 0..5 {
            let (counted, bomb) = (drops.counted(), OnDrop::new(|| boom()));
            io.timer(HOUR, move |_, _, _| drop((counted, bomb)));
        }
        boom()
    });
    assert!(panicked);
    assert_eq!(drops.count(), 5);
}

/// The first panic comes out of the drop; everything else is dropped all the same.
fn drop_with_drops_that_panic(subject: &Subject) {
    for started in [false, true] {
        let io: EventLoop = subject.io();
        let (stream, _peer) = subject.pair(&io);
        let hanging = Hanging::submit(subject, &io);
        let drops = Drops::new();
        for _ in 0..10 {
            let (counted, bomb) = (drops.counted(), OnDrop::new(|| boom()));
            io.timer(HOUR, move |_, _, _| drop((counted, bomb)));
            let (counted, bomb) = (drops.counted(), OnDrop::new(|| boom()));
            io.recv(stream, Tracked::new(4, &drops), move |_, _, _| drop((counted, bomb)));
        }
        if started {
            io.tick(Some(Duration::ZERO)).unwrap();
        }
        assert!(booms(|| drop_quickly(io)));
        assert_eq!(drops.count(), 30);
        hanging.assert_all_dropped();
    }
}

fn drop_closes_what_is_open(subject: &Subject) {
    let io: EventLoop = subject.io();
    // This one waits to be accepted: it is reset when the listener is closed.
    let mut waiting = subject.connect(listen(&io).1).unwrap();
    let (_idle, mut idle_peer) = subject.pair(&io);
    let (busy, mut busy_peer) = subject.pair(&io);
    let (closing, mut closing_peer) = subject.pair(&io);
    io.recv(busy, [0; 4], |_, _, _| ());
    io.recv(closing, [0; 4], |_, _, _| ());
    io.tick(Some(Duration::ZERO)).unwrap();
    io.close(closing);
    drop_quickly(io);
    for peer in [&mut idle_peer, &mut busy_peer, &mut closing_peer] {
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    }
    assert_eq!(waiting.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

fn forgotten_loops_and_handles_harm_nobody(subject: &Subject) {
    let forgotten: EventLoop = subject.io();
    let (stream, _peer) = subject.pair(&forgotten);
    let drops = Drops::new();
    let counted = drops.counted();
    forgotten.recv(stream, Tracked::new(100, &drops), move |_, _, _| drop(counted));
    forgotten.tick(Some(Duration::ZERO)).unwrap();
    std::mem::forget(forgotten);
    assert_eq!(drops.count(), 0);
    let io: EventLoop = subject.io();
    let seen = Slot::new();
    let put = seen.clone();
    io.recv(stream, [0; 4], move |_, _, done| put.put(done.result.unwrap_err().kind()));
    io.run().unwrap();
    assert_eq!(seen.one(), ErrorKind::WrongLoop);
    drop_quickly(io);
}

/// A later loop, which has the same number, takes no handle and no operation of an earlier one for its own.
fn handles_of_a_dropped_loop_are_nobodys(subject: &Subject) {
    let (mut streams, mut ids, mut peers): (Vec<TcpStream>, Vec<_>, Vec<_>) = (vec![], vec![], vec![]);
    for _ in 0..20 {
        let io: EventLoop = subject.io();
        let (stream, peer) = subject.pair(&io);
        let id = io.recv(stream, [0; 4], |_, _, _| panic!("nothing comes"));
        for old in &ids {
            assert!(!io.cancel(*old) && !io.remove(*old));
        }
        for old in &streams {
            let kind = io.local_address(*old).unwrap_err().kind();
            assert!(matches!(kind, ErrorKind::StaleHandle | ErrorKind::WrongLoop));
            io.close(*old);
        }
        assert_eq!(io.in_flight(), 1);
        streams.push(stream);
        ids.push(id);
        peers.push(peer);
    }
}

/// Guarantee 5: whatever was in flight, every descriptor is closed when the loop is gone.
fn descriptors_are_given_back(subject: &Subject) {
    child::run(subject, "teardown::descriptors_are_given_back", |subject| {
        subject.full_address();
        drop(subject.io::<()>());
        let before = descriptors();
        for round in 0..if long() { 100 } else { 8 } {
            let io: EventLoop = subject.io();
            let hanging = Hanging::submit(subject, &io);
            let (listener, address) = listen(&io);
            for nth in 0..300 {
                io.accept(listener, |_, _, _| ());
                let connect = io.connect(address, |_, _, _| ());
                match nth % 3 {
                    0 => assert!(io.cancel(connect)),
                    1 => assert!(io.remove(connect)),
                    _ => {}
                }
                let (stream, _peer) = subject.pair(&io);
                io.recv(stream, [0; 4], |_, _, _| ());
                if nth % 2 == 0 {
                    io.close(stream);
                }
            }
            // A port makes the sockets of accepts and connects a little later.
            assert!(descriptors() > before + if subject.iocp() { 100 } else { 300 });
            (0..round % 4).for_each(|_| io.tick(Some(Duration::ZERO)).unwrap());
            if round % 2 == 0 {
                hanging.close_handles(&io);
            }
            drop((io, hanging));
            assert_eq!(descriptors(), before, "round {round}");
        }
        // And while the loop lives: of what was cancelled, removed, closed and released.
        let io: EventLoop = subject.io();
        let before = descriptors();
        let hanging = Hanging::start(subject, &io);
        for (nth, (_, id)) in hanging.ids.iter().enumerate() {
            assert!(if nth % 2 == 0 { io.cancel(*id) } else { io.remove(*id) });
        }
        hanging.close_handles(&io);
        let (stream, peer) = subject.pair(&io);
        drop((io.release(stream).unwrap(), peer));
        idle(&io);
        drop(hanging);
        // A port opens the driver that polls with the first poll, and keeps it until the loop is gone.
        assert_eq!(descriptors(), before + usize::from(subject.iocp()));
    });
}
