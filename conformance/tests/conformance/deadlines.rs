//! Deadlines on every kind of operation. Guarantees 3 and 10.

use std::cell::Cell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::time::Duration;

use nbio::{ErrorKind, Event, EventLoop, Instant, ManyOperation, Operation, TcpStream, op};

use crate::hanging::{HOUR, Hanging, idle};
use crate::support::{Case, Slot, Subject, long};

pub const CASES: &[Case] = &[
    Case { name: "deadline_ends_every_kind_once", run: deadline_ends_every_kind_once },
    Case { name: "passed_deadline_ends_every_kind_in_the_next_tick", run: passed_deadline_ends_every_kind },
    Case { name: "distant_deadline_changes_nothing", run: distant_deadline_changes_nothing },
    Case { name: "late_but_done_ends_ok", run: late_but_done_ends_ok },
    Case { name: "first_asked_wins", run: first_asked_wins },
    Case { name: "deadline_covers_the_whole_operation", run: deadline_covers_the_whole_operation },
    Case { name: "deadline_covers_the_time_in_the_queue", run: deadline_covers_the_time_in_the_queue },
    Case { name: "deadline_of_a_timer", run: deadline_of_a_timer },
    Case { name: "deadline_of_an_interval", run: deadline_of_an_interval },
    Case { name: "deadline_of_a_next_tick_is_met", run: deadline_of_a_next_tick_is_met },
    Case { name: "deadline_of_a_close", run: deadline_of_a_close },
    Case { name: "deadlines_that_race_lose_no_bytes", run: deadlines_that_race_lose_no_bytes },
];

const SHORT: Duration = Duration::from_millis(10);

/// Guarantee 10: each kind ends `TimedOut`, exactly once, not early, with the bytes it had moved.
fn deadline_ends_every_kind_once(subject: &Subject) {
    let io = subject.io();
    let hanging = Hanging::submit_until(subject, &io, |now| now + SHORT);
    let limit = hanging.limit.unwrap();
    io.tick(Some(Duration::ZERO)).unwrap();
    while io.now() < limit {
        // Nothing here is due or done before the deadline.
        assert_eq!(hanging.ended.len(), 0);
        io.tick(Some(Duration::from_millis(1))).unwrap();
    }
    io.run().unwrap();
    assert!(io.now() >= limit);
    hanging.assert_all_ended(ErrorKind::TimedOut);
    hanging.close_handles(&io);
    io.run().unwrap();
    idle(&io);
}

/// A deadline that has passed lets the operation begin and cancels it in the next tick.
fn passed_deadline_ends_every_kind(subject: &Subject) {
    let io = subject.io();
    let hanging = Hanging::submit_until(subject, &io, |now| now - HOUR);
    assert_eq!(hanging.ended.len(), 0, "no callback runs inside submit");
    io.run().unwrap();
    let ended = hanging.ended.take();
    assert_eq!(ended.len(), hanging.ids.len());
    for (kind, _, result) in ended {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::TimedOut, "{kind}");
    }
    hanging.assert_all_dropped();
}

fn distant_deadline_changes_nothing(subject: &Subject) {
    for limit in [Instant::FAR_FUTURE, Instant::FAR_FUTURE - HOUR] {
        let io = subject.io();
        let hanging = Hanging::submit_until(subject, &io, |_| limit);
        for _ in 0..10 {
            io.tick(Some(Duration::from_millis(1))).unwrap();
        }
        assert_eq!(hanging.ended.len(), 0);
        let (stream, mut peer) = subject.pair(&io);
        let ended = Slot::new();
        let seen = ended.clone();
        let recv = op::Recv::new(stream, [0; 8]).exact(7).timeout(Duration::MAX);
        io.submit(recv, move |_, _, done| seen.put((done.bytes, done.result)));
        peer.write_all(b"on time").unwrap();
        io.run_until(|| ended.len() > 0).unwrap();
        assert_eq!(ended.one(), (7, Ok(())));
        hanging.ids.iter().for_each(|(_, id)| assert!(io.cancel(*id)));
        io.run().unwrap();
        hanging.assert_all_ended(ErrorKind::Cancelled);
    }
}

/// Guarantee 3: an operation that did what was asked ends `Ok` even if it is late.
fn late_but_done_ends_ok(subject: &Subject) {
    let io: EventLoop = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    peer.write_all(b"0123456789").unwrap();
    let passed = io.now() - HOUR;
    let ended = Slot::new();
    let seen = ended.clone();
    let recv = op::Recv::new(stream, [0; 4]).exact(4).deadline(passed);
    io.submit(recv, move |_, _, done| seen.put((done.bytes, done.result)));
    let seen = ended.clone();
    let send = op::Send::new(stream, "hello").all().deadline(passed);
    io.submit(send, move |_, _, done| seen.put((done.bytes, done.result)));
    io.run().unwrap();
    let mut ended = ended.take();
    ended.sort_by_key(|end| end.0);
    assert_eq!(ended, [(4, Ok(())), (5, Ok(()))]);
    let mut got = [0; 5];
    peer.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"hello");
}

/// Guarantee 3: `Cancelled` or `TimedOut`, whichever was asked first.
fn first_asked_wins(subject: &Subject) {
    for (deadline_first, kind) in [(true, ErrorKind::TimedOut), (false, ErrorKind::Cancelled)] {
        let io = subject.io();
        let hanging = Hanging::submit_until(subject, &io, |now| now - HOUR);
        if deadline_first {
            // It fires in this tick; what the system has ends in a later one.
            io.tick(Some(Duration::ZERO)).unwrap();
        }
        let still = hanging.ids.iter().filter(|(_, id)| io.cancel(*id)).count();
        assert!(if deadline_first { still >= 6 } else { still == hanging.ids.len() }, "{still} were left");
        io.run().unwrap();
        let ended = hanging.ended.take();
        assert_eq!(ended.len(), hanging.ids.len());
        for (name, _, result) in ended {
            assert_eq!(result.unwrap_err().kind(), kind, "{name}");
        }
    }
}

/// Guarantee 10: bytes that trickle in don't put the deadline off.
fn deadline_covers_the_whole_operation(subject: &Subject) {
    let io: EventLoop = subject.io();
    let (near, far) = subject.both_ends(&io);
    io.send_all(far, "x", |_, _, _| ());
    io.run().unwrap();
    let trickle = io.interval(Duration::from_millis(2), move |_, io, event| {
        if let Event::Item(_) = event {
            io.send_all(far, "x", |_, _, _| ());
        }
    });
    let start = io.now();
    let ended = Slot::new();
    for (nth, recv) in
        [op::Recv::new(near, vec![0; 1000]).exact(1000), op::Recv::new(near, vec![0; 1000]).exact(999)]
            .into_iter()
            .enumerate()
    {
        let seen = ended.clone();
        io.submit(recv.timeout(SHORT * (2 + 2 * nth as u32)), move |_, io, done| {
            seen.put((nth, done.bytes, done.result.unwrap_err().kind(), io.now()));
        });
    }
    io.run_until(|| ended.len() == 2).unwrap();
    for (nth, bytes, kind, at) in ended.take() {
        assert_eq!(kind, ErrorKind::TimedOut);
        assert!((1 - nth..900).contains(&bytes), "{bytes} bytes trickled in");
        assert!(at - start >= SHORT * (2 + 2 * nth as u32));
    }
    io.remove(trickle);
}

/// Guarantee 10: one that waits behind others ends without waiting for them; those in front go on.
fn deadline_covers_the_time_in_the_queue(subject: &Subject) {
    let io: EventLoop = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    let order = Slot::new();
    let seen = order.clone();
    io.recv_exact(stream, [0; 8], 5, move |_, _, done| {
        seen.put((0, done.bytes, done.result.err().map(|e| e.kind())))
    });
    for nth in 1..=3 {
        let seen = order.clone();
        let recv = op::Recv::new(stream, [0; 8]).timeout(SHORT);
        io.submit(recv, move |_, _, done| seen.put((nth, done.bytes, done.result.err().map(|e| e.kind()))));
    }
    io.run_until(|| order.len() == 3).unwrap();
    assert_eq!(order.take(), [1, 2, 3].map(|nth| (nth, 0, Some(ErrorKind::TimedOut))));
    peer.write_all(b"front").unwrap();
    io.run().unwrap();
    assert_eq!(order.take(), [(0, 5, None)]);
}

/// A timer's own deadline ends it if it comes first, also when the loop looks only after both.
fn deadline_of_a_timer(subject: &Subject) {
    let io: EventLoop = subject.io();
    for busy in [false, true] {
        let start = io.now();
        let ended = Slot::new();
        for (nth, (after, until)) in [(2, 4), (4, 2), (3, 3)].into_iter().enumerate() {
            let (at, until) = (start + Duration::from_millis(after), start + Duration::from_millis(until));
            let seen = ended.clone();
            io.submit(op::Timer::at(at).deadline(until), move |_, io, result| {
                assert!(io.now() >= at.min(until));
                seen.put((nth, result.err().map(|error| error.kind())));
            });
        }
        if busy {
            subject.pass_until(&io, start + SHORT);
        }
        io.run().unwrap();
        let mut ended = ended.take();
        ended.sort_by_key(|end| end.0);
        assert_eq!(ended, [(0, None), (1, Some(ErrorKind::TimedOut)), (2, None)], "busy {busy}");
    }
}

fn deadline_of_an_interval(subject: &Subject) {
    let io: EventLoop = subject.io();
    let start = io.now();
    let (periods, ended) = (Rc::new(Cell::new(0)), Slot::new());
    let (counted, seen) = (periods.clone(), ended.clone());
    let interval = op::Interval::every(Duration::from_millis(3)).deadline(start + Duration::from_millis(20));
    io.submit_many(interval, move |_, io, event| match event {
        Event::Item(count) => counted.set(counted.get() + count),
        Event::End(result) => seen.put((result.unwrap_err().kind(), io.now())),
    });
    io.run().unwrap();
    let (kind, at) = ended.one();
    assert!(kind == ErrorKind::TimedOut && at - start >= Duration::from_millis(20));
    assert!(periods.get() >= 1 && u128::from(periods.get()) <= (at - start).as_millis() / 3);
}

fn deadline_of_a_next_tick_is_met(subject: &Subject) {
    let io: EventLoop = subject.io();
    let ended = Slot::new();
    let seen = ended.clone();
    io.submit(op::NextTick::new().deadline(io.now() - HOUR), move |_, _, result| seen.put(result));
    io.tick(None).unwrap();
    assert_eq!(ended.one(), Ok(()));
}

/// A close whose time is over calls back; the handle is closed all the same, later.
fn deadline_of_a_close(subject: &Subject) {
    for waiting in [false, true] {
        let io: EventLoop = subject.io();
        let (stream, mut peer) = subject.pair(&io);
        if waiting {
            io.recv(stream, [0; 8], |_, _, done| {
                assert_eq!(done.result.unwrap_err().kind(), ErrorKind::Cancelled)
            });
            io.tick(Some(Duration::ZERO)).unwrap();
        }
        let ended = Slot::new();
        for limit in [io.now() - HOUR, io.now() + HOUR] {
            let seen = ended.clone();
            io.submit(op::Close::new(stream).deadline(limit), move |_, _, closed| {
                seen.put(closed.unwrap_err().kind())
            });
        }
        idle(&io);
        let mut ended = ended.take();
        ended.sort_by_key(|kind| *kind as usize);
        assert_eq!(ended, [ErrorKind::TimedOut, ErrorKind::StaleHandle]);
        assert_eq!(peer.read(&mut [0]).unwrap(), 0, "the end of the stream");
        let (stream, _peer) = subject.pair(&io);
        let seen = Slot::new();
        let put = seen.clone();
        io.submit(op::Close::new(stream).timeout(HOUR), move |_, _, closed| put.put(closed));
        io.run().unwrap();
        assert_eq!(seen.one(), Ok(()), "in time");
    }
}

struct Race {
    /// Connected by the loop itself.
    ends: Option<(TcpStream, TcpStream)>,
    left: usize,
    sent: Vec<u8>,
    got: Vec<u8>,
    timed_out: usize,
    random: fastrand::Rng,
}

/// Guarantee 3: whoever wins, each receive ends once, and its bytes are where it says.
fn deadlines_that_race_lose_no_bytes(subject: &Subject) {
    let seed = if long() { fastrand::u64(..) } else { 42 };
    let (left, random) = (if long() { 50_000 } else { 500 }, fastrand::Rng::with_seed(seed));
    let io: EventLoop<Race> = subject.io();
    let mut race = Race { ends: None, left, sent: Vec::new(), got: Vec::new(), timed_out: 0, random };
    race.ends = Some(subject.both_ends_with(&io, &mut race));
    send(&io, &mut race);
    receive(&io, &mut race);
    io.run_with(&mut race).unwrap();
    assert!(race.got == race.sent, "seed {seed}: {} of {} bytes", race.got.len(), race.sent.len());
    assert!(race.timed_out > 0, "seed {seed}: some deadlines won");
}

/// Sends something after a while, as long as anything is left.
fn send(io: &EventLoop<Race>, race: &mut Race) {
    let delay = Duration::from_nanos(race.random.u64(0..60_000));
    io.timer(delay, |race, io, _| {
        let bytes: Vec<u8> = (0..race.random.usize(1..500)).map(|_| race.random.u8(..)).collect();
        race.sent.extend_from_slice(&bytes);
        race.left -= 1;
        let far = race.ends.unwrap().1;
        io.send_all(far, bytes, move |race, io, done| {
            done.result.unwrap();
            if race.left > 0 { send(io, race) } else { io.close(far) }
        });
    });
}

/// Receives with a deadline that may come before the bytes, after them, or in between.
fn receive(io: &EventLoop<Race>, race: &mut Race) {
    let recv = op::Recv::new(race.ends.unwrap().0, Vec::with_capacity(600));
    let recv = if race.random.bool() { recv.exact(race.random.usize(1..600)) } else { recv };
    let limit = Duration::from_nanos(race.random.u64(0..60_000));
    io.submit(recv.timeout(limit), |race, io, done| {
        assert_eq!(done.bytes, done.buf.len());
        race.got.extend_from_slice(&done.buf);
        match done.result.map_err(|error| error.kind()) {
            Ok(()) if done.bytes == 0 => return,
            Err(ErrorKind::UnexpectedEof) => return,
            Err(ErrorKind::TimedOut) => race.timed_out += 1,
            Err(other) => panic!("{other:?}"),
            Ok(()) => {}
        }
        receive(io, race);
    });
}
