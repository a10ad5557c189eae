//! Cancel and remove, in every state an operation can be in. Guarantees 2, 3, 4 and 5.

use std::cell::Cell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::time::Duration;

use nbio::{ErrorKind, Event, EventLoop, Half, OpId, Operation, TcpStream, op};

use crate::connections::PeerListener;
use crate::hanging::{HOUR, Hanging, TOO_MUCH, Tracked, idle, narrow_pair};
use crate::peer::Peer;
use crate::support::{Case, Drops, Slot, Subject, listen};

pub const CASES: &[Case] = &[
    Case { name: "cancel_ends_every_kind_once", run: cancel_ends_every_kind_once },
    Case { name: "cancel_before_the_system_has_it", run: cancel_before_the_system_has_it },
    Case { name: "cancel_again_is_harmless", run: cancel_again_is_harmless },
    Case { name: "cancel_all_counts_and_cancels", run: cancel_all_counts_and_cancels },
    Case { name: "cancel_in_callbacks", run: cancel_in_callbacks },
    Case { name: "cancelled_after_its_job_was_done_ends_ok", run: cancelled_after_its_job_was_done_ends_ok },
    Case { name: "cancelled_connect_calls_back_at_once", run: cancelled_connect_calls_back_at_once },
    Case { name: "cancelled_connect_closes_its_socket", run: cancelled_connect_closes_its_socket },
    Case { name: "remove_is_silent_for_every_kind", run: remove_is_silent_for_every_kind },
    Case { name: "remove_before_the_system_has_it", run: remove_before_the_system_has_it },
    Case { name: "remove_while_cancelling", run: remove_while_cancelling },
    Case { name: "remove_after_the_end_before_the_callback", run: remove_after_the_end_before_the_callback },
    Case { name: "remove_keeps_the_buffer_until_the_system_lets_go", run: remove_keeps_the_buffer },
    Case { name: "remove_in_callbacks", run: remove_in_callbacks },
    Case { name: "removed_connect_closes_its_connection", run: removed_connect_closes_its_connection },
    Case { name: "removed_accept_closes_its_connection", run: removed_accept_closes_its_connection },
    Case {
        name: "removed_receive_breaks_the_stream_only_with_bytes",
        run: removed_receive_breaks_the_stream,
    },
    Case { name: "removed_send_breaks_the_stream_only_in_the_middle", run: removed_send_breaks_the_stream },
    Case { name: "names_of_ended_operations_name_nothing", run: names_of_ended_operations_name_nothing },
];

/// Guarantee 3: each kind ends `Cancelled`, exactly once, with the bytes it had moved.
fn cancel_ends_every_kind_once(subject: &Subject) {
    let io = subject.io();
    let hanging = Hanging::start(subject, &io);
    assert_eq!(hanging.ended.len(), 0);
    for (kind, id) in &hanging.ids {
        assert!(io.cancel(*id), "{kind} had not ended");
    }
    io.run().unwrap();
    hanging.assert_all_ended(ErrorKind::Cancelled);
    for (kind, id) in &hanging.ids {
        assert!(!io.cancel(*id) && !io.remove(*id), "{kind} has ended");
    }
    hanging.close_handles(&io);
    io.run().unwrap();
    assert_eq!(io.in_flight(), 0);
}

/// Guarantee 2: as well when the cancel comes before the first tick.
fn cancel_before_the_system_has_it(subject: &Subject) {
    let io = subject.io();
    let hanging = Hanging::submit(subject, &io);
    for (_, id) in &hanging.ids {
        assert!(io.cancel(*id));
    }
    assert_eq!(hanging.ended.len(), 0, "no callback runs inside cancel");
    io.run().unwrap();
    let ended = hanging.ended.take();
    assert_eq!(ended.len(), hanging.ids.len());
    for (kind, _, result) in ended {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Cancelled, "{kind}");
    }
    hanging.assert_all_dropped();
}

/// Guarantee 2: cancelling again, from wherever, adds no second end.
fn cancel_again_is_harmless(subject: &Subject) {
    let io = subject.io();
    let hanging = Hanging::start(subject, &io);
    for _ in 0..3 {
        for (_, id) in &hanging.ids {
            io.cancel(*id);
        }
    }
    io.tick(Some(Duration::ZERO)).unwrap();
    for (_, id) in &hanging.ids {
        io.cancel(*id);
    }
    io.run().unwrap();
    hanging.assert_all_ended(ErrorKind::Cancelled);
}

fn cancel_all_counts_and_cancels(subject: &Subject) {
    let io: EventLoop = subject.io();
    let (stream, _peer) = subject.pair(&io);
    let (other, _other_peer) = subject.pair(&io);
    let ended = Slot::new();
    for _ in 0..3 {
        let ended = ended.clone();
        io.recv(stream, [0; 4], move |_, _, done| ended.put(done.result.unwrap_err().kind()));
    }
    let spared = Rc::new(Cell::new(true));
    let asked = spared.clone();
    let recv = io.recv(other, [0; 4], move |_, _, _| asked.set(false));
    assert_eq!(io.cancel_all(stream), Ok(3));
    io.run_until(|| ended.len() == 3).unwrap();
    assert_eq!(ended.take(), [ErrorKind::Cancelled; 3]);
    assert!(spared.get(), "another stream's operations go on");
    assert_eq!(io.cancel_all(stream), Ok(0));
    io.remove(recv);
    io.close(stream);
    assert_eq!(io.cancel_all(stream).unwrap_err().kind(), ErrorKind::StaleHandle);
    let elsewhere: EventLoop = subject.io();
    assert_eq!(elsewhere.cancel_all(other).unwrap_err().kind(), ErrorKind::WrongLoop);
    io.run().unwrap();
}

/// Guarantee 2: a callback cancels itself (in vain), one of the same tick, and one that waits.
fn cancel_in_callbacks(subject: &Subject) {
    let io: EventLoop = subject.io();
    let ids: Slot<OpId> = Slot::new();
    let order = Slot::new();
    let (seen, known) = (order.clone(), ids.clone());
    let first = io.next_tick(move |_, io, _| {
        let ids = known.take();
        assert!(!io.cancel(ids[0]), "its own callback is running: it has ended");
        assert!(!io.cancel(ids[1]), "a next tick has ended as soon as it is submitted");
        assert!(io.cancel(ids[2]) && !io.cancel(ids[2]), "a timer ends at once");
        seen.put("first".to_owned());
    });
    let seen = order.clone();
    let second = io.next_tick(move |_, _, result| seen.put(format!("second {}", result.is_ok())));
    let seen = order.clone();
    let timer =
        io.timer(HOUR, move |_, _, result| seen.put(format!("timer {:?}", result.unwrap_err().kind())));
    for id in [first, second, timer] {
        ids.put(id);
    }
    io.run().unwrap();
    assert_eq!(order.take(), ["first", "second true", "timer Cancelled"]);
}

/// Guarantee 3: what did all that was asked ends `Ok`, though it was cancelled.
fn cancelled_after_its_job_was_done_ends_ok(subject: &Subject) {
    let io: EventLoop = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    peer.write_all(b"here already").unwrap();
    let ended = Slot::new();
    let seen = ended.clone();
    let recv = io.recv(stream, vec![0; 64], move |_, _, done| seen.put((done.bytes, done.result)));
    let seen = ended.clone();
    let send = io.send_all(stream, "hello", move |_, _, done| seen.put((done.bytes, done.result)));
    io.tick(Some(Duration::ZERO)).unwrap();
    // Both have completed in the system; their callbacks are still to run.
    assert!(io.cancel(recv) && io.cancel(send));
    io.run().unwrap();
    let mut ended = ended.take();
    ended.sort_by_key(|end| end.0);
    assert_eq!(ended, [(5, Ok(())), (12, Ok(()))]);
}

/// Guarantee 3: a connect lends no memory, so its callback doesn't wait for the system.
fn cancelled_connect_calls_back_at_once(subject: &Subject) {
    let io: EventLoop = subject.io();
    let ended = Slot::new();
    let seen = ended.clone();
    let connect =
        io.connect(subject.full_address(), move |_, _, connected| seen.put(connected.unwrap_err().kind()));
    io.tick(Some(Duration::ZERO)).unwrap();
    assert!(io.cancel(connect) && !io.cancel(connect));
    io.tick(Some(Duration::ZERO)).unwrap();
    assert_eq!(ended.one(), ErrorKind::Cancelled);
    // What the system still has of it doesn't keep `run` going.
    idle(&io);
    assert_eq!(io.in_flight(), 0);
}

/// Guarantee 3: a cancelled connect's socket is closed, also if the connection comes about.
fn cancelled_connect_closes_its_socket(subject: &Subject) {
    let io: EventLoop = subject.io();
    let server = subject.peer_listener();
    for ticks in 0..2 {
        let ended = Slot::new();
        let seen = ended.clone();
        let address = server.local_addr().unwrap();
        let connect = io.connect(address, move |_, _, connected| seen.put(connected.unwrap_err().kind()));
        // After a tick the connection is made, and its completion waits in the queue.
        (0..ticks).for_each(|_| io.tick(Some(Duration::ZERO)).unwrap());
        assert!(io.cancel(connect));
        idle(&io);
        assert_eq!(ended.one(), ErrorKind::Cancelled);
        if ticks > 0 {
            see_closed(subject, &server);
        }
    }
}

/// Guarantee 4: no callback runs, and callback and buffer are dropped exactly once.
fn remove_is_silent_for_every_kind(subject: &Subject) {
    let io = subject.io();
    let hanging = Hanging::start(subject, &io);
    for (nth, (kind, id)) in hanging.ids.iter().enumerate() {
        assert!(io.remove(*id), "{kind} had not ended");
        assert_eq!(hanging.callbacks.count(), nth + 1, "{kind}: the callback goes at once");
        assert!(!io.remove(*id) && !io.cancel(*id) && !io.reset(*id, HOUR), "{kind} is no more");
    }
    hanging.close_handles(&io);
    idle(&io);
    assert_eq!(hanging.ended.len(), 0);
    hanging.assert_all_dropped();
}

fn remove_before_the_system_has_it(subject: &Subject) {
    let io = subject.io();
    let hanging = Hanging::submit(subject, &io);
    for (kind, id) in &hanging.ids {
        assert!(io.remove(*id) && !io.remove(*id), "{kind}");
    }
    hanging.close_handles(&io);
    idle(&io);
    assert_eq!(hanging.ended.len(), 0);
    hanging.assert_all_dropped();
}

fn remove_while_cancelling(subject: &Subject) {
    let io = subject.io();
    let hanging = Hanging::start(subject, &io);
    for (kind, id) in &hanging.ids {
        assert!(io.cancel(*id), "{kind}");
    }
    for (kind, id) in &hanging.ids {
        assert!(io.remove(*id) && !io.remove(*id), "{kind}");
    }
    hanging.close_handles(&io);
    idle(&io);
    assert_eq!(hanging.ended.len(), 0);
    hanging.assert_all_dropped();
}

/// Guarantee 4: also of those that have ended, as long as their callback has not run.
fn remove_after_the_end_before_the_callback(subject: &Subject) {
    let io: EventLoop = subject.io();
    let drops = Drops::new();
    let (stream, _peer) = subject.pair(&io);
    let (stale, _stale_peer) = subject.pair(&io);
    io.close(stale);
    let (one, two, three, four) = (drops.counted(), drops.counted(), drops.counted(), drops.counted());
    let ids = [
        io.next_tick(move |_, _, _| unwanted(one)),
        io.recv(stale, [0; 4], move |_, _, _| unwanted(two)),
        io.send(stream, "", move |_, _, _| unwanted(three)),
        io.timer(HOUR, move |_, _, _| unwanted(four)),
    ];
    assert!(io.cancel(ids[3]));
    for (nth, id) in ids.into_iter().enumerate() {
        assert!(io.remove(id) && !io.remove(id));
        assert_eq!(drops.count(), nth + 1);
    }
    io.close(stream);
    io.run().unwrap();
    assert_eq!((drops.count(), io.in_flight()), (4, 0));
}

/// Guarantee 5: not before the system has let go.
fn remove_keeps_the_buffer(subject: &Subject) {
    let io: EventLoop = subject.io();
    let (stream, _peer) = narrow_pair(subject, &io);
    let (callbacks, buffers) = (Drops::new(), Drops::new());
    let counted = callbacks.counted();
    let recv = io.recv(stream, Tracked::new(8, &buffers), move |_, _, _| drop(counted));
    let counted = callbacks.counted();
    let send = io.send_all(stream, Tracked::new(TOO_MUCH, &buffers), move |_, _, _| drop(counted));
    io.tick(Some(Duration::ZERO)).unwrap();
    assert!(io.remove(recv) && io.remove(send));
    assert_eq!((callbacks.count(), buffers.count(), io.in_flight()), (2, 0, 2));
    assert_eq!(io.release(stream).unwrap_err().kind(), ErrorKind::Busy);
    while io.in_flight() > 0 {
        assert_eq!(buffers.count(), 2 - io.in_flight());
        io.tick(None).unwrap();
    }
    assert_eq!((callbacks.count(), buffers.count()), (2, 2));
}

/// Guarantee 4: a callback removes itself (in vain), one whose turn comes in the same tick, and one in flight.
fn remove_in_callbacks(subject: &Subject) {
    let io: EventLoop = subject.io();
    let (stream, _peer) = subject.pair(&io);
    let ids: Slot<OpId> = Slot::new();
    let known = ids.clone();
    let drops = Drops::new();
    let [one, two, three] = [0; 3].map(|_| drops.counted());
    let seen = drops.clone();
    let first = io.next_tick(move |_, io, _| {
        let ids = known.take();
        assert!(!io.remove(ids[0]));
        ids[1..].iter().for_each(|id| assert!(io.remove(*id) && !io.remove(*id)));
        assert_eq!(seen.count(), 3);
    });
    ids.put(first);
    ids.put(io.next_tick(move |_, _, _| unwanted(one)));
    ids.put(io.recv(stream, [0; 4], move |_, _, _| unwanted(two)));
    ids.put(
        io.interval(Duration::from_nanos(1), move |_, _, _: Event<u64>| panic!("{}", size_of_val(&three))),
    );
    io.run().unwrap();
    io.close(stream);
    io.run().unwrap();
    assert_eq!((drops.count(), io.in_flight()), (3, 0));
}

/// Guarantee 4: the connection that a removed connect makes is closed.
fn removed_connect_closes_its_connection(subject: &Subject) {
    let io: EventLoop = subject.io();
    let server = subject.peer_listener();
    let address = server.local_addr().unwrap();
    for early in [false, true] {
        let connect = io.connect(address, |_, _, _| panic!("was removed"));
        io.tick(Some(Duration::ZERO)).unwrap();
        // One that was called back early is removed just the same.
        assert!(!early || io.cancel(connect));
        assert!(io.remove(connect) && !io.remove(connect));
        idle(&io);
        see_closed(subject, &server);
    }
}

/// The connection came about and is closed. In a simulation it need not have.
fn see_closed(subject: &Subject, server: &PeerListener) {
    match server.accept_now() {
        Some((mut accepted, _)) => {
            assert_eq!(accepted.read(&mut [0]).unwrap(), 0, "the end of the stream");
        }
        None => assert!(subject.simulated()),
    }
}

/// Guarantee 4: the connection that a removed accept has taken is closed.
fn removed_accept_closes_its_connection(subject: &Subject) {
    let io: EventLoop = subject.io();
    let (listener, address) = listen(&io);
    let mut peer = subject.connect(address).unwrap();
    let accept = io.accept(listener, |_, _, _| panic!("was removed"));
    io.tick(Some(Duration::ZERO)).unwrap();
    assert!(io.remove(accept));
    idle(&io);
    if subject.simulated() && !peer.is_over() {
        // It was not taken in that tick, so the next one gets it.
        io.accept(listener, |_, io, accepted| io.close(accepted.unwrap().stream));
        io.run().unwrap();
    }
    assert_eq!(peer.read(&mut [0]).unwrap(), 0, "the end of the stream");
}

/// What a callback does that must not run.
fn unwanted<T>(_captured: T) {
    panic!("was removed");
}

/// What a receive on the stream ends with.
fn next_receive(io: &EventLoop, stream: TcpStream) -> (usize, Option<ErrorKind>) {
    let ended = Slot::new();
    let seen = ended.clone();
    io.recv_exact(stream, [0; 16], 4, move |_, _, done| {
        seen.put((done.bytes, done.result.err().map(|e| e.kind())))
    });
    io.run().unwrap();
    ended.one()
}

/// Guarantee 4: a removed receive that had taken bytes makes every later one fail `Broken`; another leaves no trace.
fn removed_receive_breaks_the_stream(subject: &Subject) {
    let io: EventLoop = subject.io();
    for exact in [false, true] {
        for taken in ["", "abc"] {
            if subject.simulated() && !exact && !taken.is_empty() {
                // When it has taken them, and not called back yet, is the seed's secret.
                continue;
            }
            let (stream, mut peer) = subject.pair(&io);
            peer.write_all(taken.as_bytes()).unwrap();
            let recv = op::Recv::new(stream, [0; 8]);
            let recv = if exact { recv.exact(8) } else { recv };
            let id = io.submit(recv, |_, _, _| panic!("was removed"));
            let behind = Slot::new();
            let seen = behind.clone();
            io.recv_exact(stream, [0; 16], 4, move |_, _, done| {
                seen.put((done.bytes, done.result.err().map(|e| e.kind())))
            });
            subject.hand_over(&io);
            assert!(io.remove(id));
            // It may take what comes as long as the system has it.
            while io.in_flight() > 1 {
                io.tick(Some(Duration::ZERO)).unwrap();
            }
            if taken.is_empty() {
                peer.write_all(b"more").unwrap();
            }
            io.run().unwrap();
            let expected = if taken.is_empty() { (4, None) } else { (0, Some(ErrorKind::Broken)) };
            assert_eq!(behind.one(), expected, "queued behind; exact {exact}, taken {taken:?}");
            peer.write_all(b"more").unwrap();
            assert_eq!(next_receive(&io, stream), expected, "submitted later");
            send_and_close(&io, stream, &mut peer);
        }
    }
}

/// The other direction works, and closing does.
fn send_and_close(io: &EventLoop, stream: TcpStream, peer: &mut Peer) {
    io.send_all(stream, "still", |_, _, done| assert_eq!((done.bytes, done.result), (5, Ok(()))));
    io.run().unwrap();
    let mut got = [0; 5];
    peer.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"still");
    let closed = Slot::new();
    let seen = closed.clone();
    io.close_then(stream, move |_, _, result| seen.put(result));
    io.run().unwrap();
    assert_eq!(closed.one(), Ok(()));
}

/// Guarantee 4: a removed send that had sent part of its bytes makes every later one fail `Broken`, shutdowns too;
/// one that had sent all, or none since it was still waiting, leaves no trace.
fn removed_send_breaks_the_stream(subject: &Subject) {
    let io: EventLoop = subject.io();
    for (length, waiting) in [(TOO_MUCH, false), (5, false), (5, true)] {
        if subject.simulated() && length < TOO_MUCH && !waiting {
            // When it has sent them, and not called back yet, is the seed's secret.
            continue;
        }
        let (stream, peer) = narrow_pair(subject, &io);
        if waiting {
            let submitted =
                io.send_all(stream, vec![1; TOO_MUCH], |_, _, done| assert_eq!(done.result, Ok(())));
            subject.hand_over(&io);
            assert_ne!(Some(submitted), None);
        }
        let send = io.send_all(stream, vec![2; length], |_, _, _| panic!("was removed"));
        subject.hand_over(&io);
        assert!(io.remove(send));
        let reader = peer.read_all();
        let results = Slot::new();
        let seen = results.clone();
        io.send_all(stream, "later", move |_, _, done| seen.put(done.result.err().map(|e| e.kind())));
        let seen = results.clone();
        io.shutdown(stream, Half::Write, move |_, _, shut| seen.put(shut.err().map(|e| e.kind())));
        reader.run(&io);
        let broken = (length == TOO_MUCH).then_some(ErrorKind::Broken);
        assert_eq!(results.take(), [broken; 2], "{length} bytes, waiting {waiting}");
        io.close(stream);
        io.run().unwrap();
        let got = reader.finish().len();
        match (length, waiting) {
            (TOO_MUCH, _) => assert!((1..TOO_MUCH).contains(&got)),
            (_, true) => assert_eq!(got, TOO_MUCH + 5, "the removed one was never sent"),
            (_, false) => assert_eq!(got, 5 + 5),
        }
    }
}

/// A name is good for one operation: after its end it never reaches the next one at the same place.
fn names_of_ended_operations_name_nothing(subject: &Subject) {
    let io: EventLoop = subject.io();
    let (stream, _peer) = subject.both_ends(&io);
    let mut old: Vec<OpId> = Vec::new();
    for round in 0..200 {
        let ended = Slot::new();
        let seen = ended.clone();
        let id =
            io.submit(op::Recv::new(stream, [0; 4]).timeout(HOUR), move |_, _, done| seen.put(done.result));
        assert!(!old.contains(&id));
        for stale in &old {
            assert!(!io.cancel(*stale) && !io.remove(*stale) && !io.reset(*stale, Duration::ZERO));
        }
        io.tick(Some(Duration::ZERO)).unwrap();
        assert_eq!(ended.len(), 0, "round {round}");
        assert!(io.cancel(id));
        io.run().unwrap();
        assert_eq!(ended.one().unwrap_err().kind(), ErrorKind::Cancelled);
        old.push(id);
    }
    let elsewhere: EventLoop = subject.io();
    let foreign = elsewhere.timer(HOUR, |_, _, _| ());
    assert!(!io.cancel(foreign) && !io.remove(foreign) && !io.reset(foreign, HOUR));
    assert!(elsewhere.remove(foreign));
}
