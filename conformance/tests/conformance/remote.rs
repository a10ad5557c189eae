//! Other threads: what they give the loop, and waking it. Guarantees 1, 9 and 11.

use std::cell::Cell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use nbio::{Error, ErrorKind, Event, EventLoop, ManyOperation, Operation, Remote, WhenFull, op};

use crate::hanging::HOUR;
use crate::panics::{boom, booms};
use crate::support::{Case, Subject, listen};
use crate::wire::socket_pair;

pub const CASES: &[Case] = &[
    Case { name: "wake_before_a_wait", run: wake_before_a_wait },
    Case { name: "wake_during_a_wait", run: wake_during_a_wait },
    Case { name: "wake_asks_run_until_again", run: wake_asks_run_until_again },
    Case { name: "a_loop_that_polls_busily_hears_of_all", run: polls_busily },
    Case { name: "a_loop_that_looks_for_an_hour_sees_all", run: looks_for_an_hour },
    Case { name: "wakes_of_its_own_thread", run: wakes_of_its_own_thread },
    Case { name: "entries_run_on_the_loops_thread", run: entries_run_on_the_loops_thread },
    Case { name: "entries_of_a_thread_keep_their_order", run: entries_of_a_thread_keep_their_order },
    Case { name: "entries_come_before_completions_and_timers", run: entries_come_first },
    Case { name: "entries_of_a_tick_run_in_a_later_one", run: entries_of_a_tick_run_in_a_later_one },
    Case { name: "what_entries_submit_runs_in_a_later_tick", run: what_entries_submit_runs_later },
    Case { name: "remote_budget_of_three", run: remote_budget_of_three },
    Case { name: "panic_in_an_entry", run: panic_in_an_entry },
    Case { name: "tick_in_an_entry_is_reentrant", run: tick_in_an_entry_is_reentrant },
    Case { name: "submit_from_another_thread", run: submit_from_another_thread },
    Case { name: "submit_tells_the_callback_what_is_wrong", run: submit_tells_the_callback },
    Case { name: "large_and_strictly_aligned_closures", run: large_and_strictly_aligned_closures },
    Case { name: "stop_from_another_thread", run: stop_from_another_thread },
];

/// What `action` gives when it runs on a thread of its own.
pub fn elsewhere<T: Send>(action: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(action).join().unwrap())
}

pub use crate::system::thread_number;

/// Returns when that thread of this process sleeps in a system call (proc(5), `stat`).
pub fn await_sleep_of(thread: i32) {
    loop {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap();
        let (_, behind_name) = stat.rsplit_once(") ").unwrap();
        if behind_name.starts_with('S') {
            return;
        }
        thread::yield_now();
    }
}

/// Something that keeps a loop waiting for ever.
fn hang(io: &EventLoop) {
    io.timer(HOUR, |_, _, _| ());
}

/// A wake that comes before the wait ends it; several are one, and it is used up afterwards.
fn wake_before_a_wait(subject: &Subject) {
    let io: EventLoop = subject.io();
    let remote = io.remote().unwrap();
    hang(&io);
    elsewhere(|| (0..3).for_each(|_| remote.wake()));
    io.tick(None).unwrap();
    let (start, limit) = (io.now(), Duration::from_millis(20));
    io.tick(Some(limit)).unwrap();
    assert!(io.now() - start >= limit, "one round only");
    // And one that comes between ticks that don't wait.
    remote.wake();
    io.tick(Some(Duration::ZERO)).unwrap();
    let start = io.now();
    io.tick(Some(limit)).unwrap();
    assert!(io.now() - start >= limit, "that round was had");
}

fn wake_during_a_wait(subject: &Subject) {
    let io: EventLoop = subject.io();
    hang(&io);
    for _ in 0..50 {
        let (remote, waiter) = (io.remote().unwrap(), thread_number());
        let woken = Arc::new(AtomicBool::new(false));
        let said = woken.clone();
        let waker = thread::spawn(move || {
            await_sleep_of(waiter);
            said.store(true, Ordering::Relaxed);
            remote.wake();
        });
        // It sleeps for the first time here: a wake that was lost hangs.
        while !woken.load(Ordering::Relaxed) {
            io.tick(None).unwrap();
        }
        waker.join().unwrap();
    }
}

fn wake_asks_run_until_again(subject: &Subject) {
    let io: EventLoop = subject.io();
    hang(&io);
    let (remote, rounds) = (io.remote().unwrap(), Arc::new(AtomicUsize::new(0)));
    let seen = rounds.clone();
    let waker = thread::spawn(move || {
        for round in 1..=200 {
            seen.store(round, Ordering::Relaxed);
            remote.wake();
            if round % 8 == 0 {
                thread::yield_now();
            }
        }
    });
    io.run_until(|| rounds.load(Ordering::Relaxed) == 200).unwrap();
    waker.join().unwrap();
}

/// However long it looks before it sleeps: wakes, entries, timers and the end come as without.
fn polls_busily(subject: &Subject) {
    for micros in [None, Some(0), Some(1), Some(50), Some(100_000)] {
        let builder = match micros {
            Some(micros) => subject.builder().busy_poll(Duration::from_micros(micros)),
            None => subject.builder(),
        };
        let io: EventLoop<u32> = builder.build().unwrap();
        let remote = io.remote().unwrap();
        let keep_alive = remote.keep_alive();
        let giver = thread::spawn(move || {
            for _ in 0..100 {
                let (told, tells) = mpsc::channel();
                remote
                    .run(move |count, _| {
                        *count += 1;
                        told.send(()).unwrap();
                    })
                    .unwrap();
                tells.recv().unwrap();
                remote.wake();
            }
            drop(keep_alive);
        });
        let start = io.now();
        io.timer(Duration::from_millis(5), move |count, io, _| {
            assert!(io.now() - start >= Duration::from_millis(5));
            *count += 1000;
        });
        let mut count = 0;
        io.run_with(&mut count).unwrap();
        assert_eq!(count, 1100);
        giver.join().unwrap();
        assert!(io.tick_with(&mut count, Some(Duration::from_millis(1))).is_ok());
    }
}

/// A timer ends the look, and so does what the backend brings.
fn looks_for_an_hour(subject: &Subject) {
    let io: EventLoop = subject.builder().busy_poll(HOUR).build().unwrap();
    let (stream, mut peer) = subject.pair(&io);
    let bytes = Rc::new(Cell::new(0));
    let seen = bytes.clone();
    io.recv(stream, [0; 1], move |_, _, done| seen.set(done.bytes));
    io.timer(Duration::from_millis(1), move |_, io, _| {
        io.timer(Duration::from_millis(1), move |_, _, _| peer.write_all(b"x").unwrap());
    });
    io.run().unwrap();
    assert_eq!(bytes.get(), 1);
}

/// Also from the loop's own thread, inside a callback.
fn wakes_of_its_own_thread(subject: &Subject) {
    let io: EventLoop<u32> = subject.io();
    let remote = io.remote().unwrap();
    io.timer(HOUR, |_, _, _| ());
    io.next_tick(move |count, _, _| {
        *count += 1;
        remote.wake();
    });
    let (mut count, mut rounds) = (0, 0);
    io.run_until_with(&mut count, |count| {
        rounds += 1;
        *count == 1 && rounds > 1
    })
    .unwrap();
    assert_eq!(rounds, 2, "asked once more after the tick of the callback");
}

/// With the loop's state and the loop itself.
fn entries_run_on_the_loops_thread(subject: &Subject) {
    let io: EventLoop<Vec<thread::ThreadId>> = subject.io();
    let remote = io.remote().unwrap();
    elsewhere(|| {
        let run = remote.run(|state, io| {
            state.push(thread::current().id());
            io.next_tick(|state, _, _| state.push(thread::current().id()));
        });
        run.unwrap();
    });
    let mut state = Vec::new();
    assert_eq!(state, []);
    io.run_with(&mut state).unwrap();
    assert_eq!(state, [thread::current().id(); 2]);
}

fn entries_of_a_thread_keep_their_order(subject: &Subject) {
    const THREADS: usize = 4;
    const EACH: usize = 2_000;
    let io: EventLoop<[usize; THREADS]> = subject.builder().remote_capacity(100).build().unwrap();
    let remote = io.remote().unwrap().when_full(WhenFull::Wait);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let remote = remote.clone();
            let keep_alive = remote.keep_alive();
            scope.spawn(move || {
                for nth in 0..EACH {
                    let run = remote.run(move |next: &mut [usize; THREADS], _| {
                        assert_eq!(next[thread], nth);
                        next[thread] += 1;
                    });
                    run.unwrap();
                }
                drop(keep_alive);
            });
        }
        let mut next = [0; THREADS];
        io.run_with(&mut next).unwrap();
        assert_eq!(next, [EACH; THREADS]);
    });
}

/// Guarantee 9: the order of a tick.
fn entries_come_first(subject: &Subject) {
    let io: EventLoop<Vec<&str>> = subject.io();
    let remote = io.remote().unwrap();
    io.timer(Duration::ZERO, |order, _, _| order.push("timer"));
    io.next_tick(|order, _, _| order.push("completion"));
    elsewhere(|| remote.run(|order, _| order.push("entry")).unwrap());
    let mut order = Vec::new();
    io.tick_with(&mut order, Some(Duration::ZERO)).unwrap();
    assert_eq!(order, ["entry", "completion", "timer"]);
}

/// Guarantee 9: whether an entry, a callback or a timer gave them, and without waiting for them.
fn entries_of_a_tick_run_in_a_later_one(subject: &Subject) {
    let io: EventLoop<u32> = subject.io();
    let remote = io.remote().unwrap();
    let give = |remote: &Remote<u32>| remote.run(|count, _| *count += 1).unwrap();
    let [one, two, three] = [(); 3].map(|()| remote.clone());
    io.timer(Duration::ZERO, move |_, _, _| give(&one));
    io.next_tick(move |_, _, _| give(&two));
    remote.run(move |_, _| give(&three)).unwrap();
    io.timer(HOUR, |_, _, _| ());
    let mut count = 0;
    io.tick_with(&mut count, None).unwrap();
    assert_eq!(count, 0);
    io.tick_with(&mut count, Some(Duration::ZERO)).unwrap();
    assert_eq!(count, 3);
}

/// Guarantees 1 and 9: of what an entry submits no callback runs in its tick, not of errors and zero timers either.
fn what_entries_submit_runs_later(subject: &Subject) {
    let io: EventLoop<u32> = subject.io();
    let (listener, _) = listen(&io);
    let submitted = io.remote().unwrap().run(move |_, io| {
        io.next_tick(|count, _, _| *count += 1);
        io.timer(Duration::ZERO, |count, _, _| *count += 1);
        io.close(listener);
        io.accept(listener, |count, _, accepted| *count += u32::from(accepted.is_err()));
    });
    submitted.unwrap();
    let mut count = 0;
    io.tick_with(&mut count, Some(Duration::ZERO)).unwrap();
    assert_eq!(count, 0);
    io.run_with(&mut count).unwrap();
    assert_eq!(count, 3);
}

/// Guarantee 9: a tick runs so many, in order, and with leftovers it doesn't wait. The rest of the tick has its turn.
fn remote_budget_of_three(subject: &Subject) {
    let io: EventLoop<Vec<u32>> = subject.builder().remote_budget(3).remote_capacity(8).build().unwrap();
    let remote = io.remote().unwrap();
    io.timer(HOUR, |_, _, _| ());
    let give = |nth| remote.run(move |ran, _| ran.push(nth)).unwrap();
    (0..8).for_each(give);
    io.next_tick(|ran, _, _| ran.push(100));
    let mut ran = Vec::new();
    io.tick_with(&mut ran, None).unwrap();
    assert_eq!(ran, [0, 1, 2, 100]);
    // These find room, and go behind what is left over.
    (8..12).for_each(give);
    io.tick_with(&mut ran, None).unwrap();
    assert_eq!(ran[4..], [3, 4, 5]);
    (0..3).for_each(|_| io.tick_with(&mut ran, Some(Duration::ZERO)).unwrap());
    assert_eq!(ran[7..], [6, 7, 8, 9, 10, 11]);
}

/// Guarantee 11: it counts as run, its panic reaches the caller, the others run in the next tick.
fn panic_in_an_entry(subject: &Subject) {
    let io: EventLoop<Vec<u32>> = subject.io();
    let remote = io.remote().unwrap();
    io.next_tick(|ran, _, _| ran.push(10));
    remote.run(|ran, _| ran.push(1)).unwrap();
    remote.run(|_, _| boom()).unwrap();
    remote.run(|ran, _| ran.push(2)).unwrap();
    let mut ran = Vec::new();
    assert!(booms(|| io.tick_with(&mut ran, None)));
    assert_eq!(ran, [1]);
    remote.run(|ran, _| ran.push(3)).unwrap();
    io.run_with(&mut ran).unwrap();
    assert_eq!(ran, [1, 2, 10, 3]);
}

/// Guarantee 11.
fn tick_in_an_entry_is_reentrant(subject: &Subject) {
    let io: EventLoop = subject.io();
    let (given, got) = mpsc::channel();
    let run = io.remote().unwrap().run(move |(), io| {
        let errors = [
            io.run(),
            io.tick(Some(Duration::ZERO)),
            io.run_until(|| true),
            io.drain(Duration::ZERO).map(drop),
        ];
        given.send(errors.map(|result| result.unwrap_err().kind())).unwrap();
    });
    run.unwrap();
    io.run().unwrap();
    assert_eq!(got.recv().unwrap(), [ErrorKind::Reentrant; 4]);
}

/// Every kind of way an operation goes: accept, receive, send, a timer with a deadline, an interval, the next tick.
fn submit_from_another_thread(subject: &Subject) {
    let io: EventLoop<Vec<&str>> = subject.io();
    let (listener, address) = listen(&io);
    let (stream, mut peer) = socket_pair(&io);
    let (remote, own) = (io.remote().unwrap(), thread::current().id());
    let here = move || assert_eq!(thread::current().id(), own);
    elsewhere(move || {
        let accept = op::Accept::new(listener);
        let accepted = remote.submit(accept, move |ended, io, accepted: Result<nbio::Accepted, Error>| {
            here();
            io.close(accepted.unwrap().stream);
            ended.push("accept");
        });
        accepted.unwrap();
        let send = remote.submit(op::Send::new(stream, vec![7; 3]).all(), move |ended, _, done| {
            here();
            assert_eq!((done.bytes, done.buf), (3, vec![7; 3]));
            ended.push("send");
        });
        send.unwrap();
        let recv = remote.submit(op::Recv::new(stream, vec![0; 8]).exact(5), move |ended, _, done| {
            here();
            assert_eq!(done.data(), b"hello");
            ended.push("recv");
        });
        recv.unwrap();
        let late = op::Timer::after(HOUR).timeout(Duration::from_millis(1));
        let timer = remote.submit(late, move |ended, _, result| {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::TimedOut);
            ended.push("timer");
        });
        timer.unwrap();
        let every = op::Interval::every(Duration::from_millis(1)).timeout(Duration::from_millis(10));
        let interval = remote.submit_many(every, move |ended, _, event| {
            if let Event::End(_) = event {
                ended.push("interval");
            }
        });
        interval.unwrap();
        remote.submit(op::NextTick::new(), |ended, _, _| ended.push("next tick")).unwrap();
    });
    let client = thread::spawn(move || {
        let mut got = [0; 3];
        peer.read_exact(&mut got).unwrap();
        peer.write_all(b"hello").unwrap();
        (got, std::net::TcpStream::connect(address).unwrap(), peer)
    });
    let mut ended = Vec::new();
    io.run_with(&mut ended).unwrap();
    ended.sort_unstable();
    assert_eq!(ended, ["accept", "interval", "next tick", "recv", "send", "timer"]);
    assert_eq!(client.join().unwrap().0, [7; 3]);
}

/// Guarantee 1: the queue takes it; what is wrong with it comes by callback.
fn submit_tells_the_callback(subject: &Subject) {
    let (io, other): (EventLoop, EventLoop) = (subject.io(), subject.io());
    let (stale, _peer) = subject.pair(&io);
    let (foreign, _foreign_peer) = subject.pair(&other);
    io.close(stale);
    let remote = io.remote().unwrap();
    let (given, got) = mpsc::channel();
    for stream in [stale, foreign] {
        let given = given.clone();
        let recv = op::Recv::new(stream, [0; 4]);
        elsewhere(|| {
            let submitted =
                remote.submit(recv, move |(), _, done| given.send(done.result.unwrap_err().kind()).unwrap());
            submitted.unwrap();
        });
    }
    io.run().unwrap();
    let kinds: Vec<ErrorKind> = got.try_iter().collect();
    assert_eq!(kinds, [ErrorKind::StaleHandle, ErrorKind::WrongLoop]);
}

#[repr(align(64))]
struct Aligned([u8; 64]);

/// What doesn't fit an entry arrives whole as well, and each is dropped once.
fn large_and_strictly_aligned_closures(subject: &Subject) {
    let io: EventLoop<usize> = subject.io();
    let remote = io.remote().unwrap();
    let drops = Arc::new(());
    let [one, two, three] = [(); 3].map(|()| drops.clone());
    let (large, aligned, fitting) = ([3u8; 5_000], Aligned([4; 64]), [5u8; 104]);
    let run = remote.run(move |sum, _| {
        *sum += large.iter().map(|&byte| usize::from(byte)).sum::<usize>();
        drop(one);
    });
    run.unwrap();
    let run = remote.run(move |sum, _| {
        let aligned = &aligned;
        assert_eq!(std::ptr::from_ref(aligned).addr() % 64, 0);
        *sum += aligned.0.iter().map(|&byte| usize::from(byte)).sum::<usize>();
        drop(two);
    });
    run.unwrap();
    let run = remote.run(move |sum, _| {
        *sum += fitting.iter().map(|&byte| usize::from(byte)).sum::<usize>();
        drop(three);
    });
    run.unwrap();
    assert_eq!(Arc::strong_count(&drops), 4);
    let mut sum = 0;
    io.run_with(&mut sum).unwrap();
    assert_eq!((sum, Arc::strong_count(&drops)), (15_000 + 256 + 520, 1));
}

fn stop_from_another_thread(subject: &Subject) {
    let io: EventLoop = subject.io();
    hang(&io);
    let (remote, waiter) = (io.remote().unwrap(), thread_number());
    let stopper = thread::spawn(move || {
        await_sleep_of(waiter);
        remote.run(|(), io| io.stop()).unwrap();
    });
    io.run().unwrap();
    stopper.join().unwrap();
    assert_eq!(io.in_flight(), 1);
}
