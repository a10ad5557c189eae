//! Closures on the thread pool. The pool is one for the whole process: other cases use it at the same time.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

use nbio::{ErrorKind, EventLoop, Operation, Support, op};

use crate::support::{Case, Drops, Slot, Subject, drop_quickly};
use crate::wire::{Io, drive, keep, kind, turn};

pub const CASES: &[Case] = &[
    Case { name: "runs_on_the_pool_and_calls_back_on_the_loop", run: runs_on_the_pool },
    Case { name: "a_panic_is_an_error_and_the_pool_goes_on", run: panic_is_an_error },
    Case { name: "ended_in_the_queue_it_is_dropped_on_the_loops_thread", run: ended_in_the_queue },
    Case { name: "cancelled_or_late_while_it_runs_its_result_comes", run: cancelled_while_it_runs },
    Case { name: "cancelled_when_its_result_is_there_it_is_ok", run: cancelled_when_over },
    Case { name: "removed_in_the_queue_it_is_dropped_at_once", run: removed_in_the_queue },
    Case { name: "removed_while_it_runs_its_result_is_dropped_when_over", run: removed_while_it_runs },
    Case { name: "the_end_of_the_loop_waits_for_no_closure", run: end_of_the_loop },
    Case { name: "drain_takes_back_what_waits", run: drain_takes_back },
    Case { name: "many_end_once_each", run: many_end_once },
    Case { name: "background_ones_dont_keep_run_going", run: background },
    Case { name: "submitted_by_another_thread", run: by_another_thread },
    Case { name: "what_it_drops_may_use_the_loop", run: drops_use_the_loop },
    Case { name: "a_panic_of_what_it_drops_reaches_the_tick", run: drops_that_panic },
    Case { name: "closures_that_block_for_long_hold_up_no_others", run: stuck_ones },
    Case { name: "the_report_tells_of_the_pool", run: report_tells },
];

/// More than threads can there be.
const MORE_THAN_THREADS: usize = 70;

/// Closures that wait until they are let go, more than there can be threads: what is submitted after them waits too.
pub struct Crowd {
    pub io: Io,
    /// Dropped, they let go.
    _holds: Vec<Sender<()>>,
}

impl Crowd {
    pub fn new(subject: &Subject) -> Crowd {
        let io: Io = subject.io();
        let mut holds = Vec::new();
        for _ in 0..MORE_THAN_THREADS {
            let (hold, held) = channel::<()>();
            holds.push(hold);
            io.run_blocking(move || held.recv().is_err(), |_, _, _| ());
        }
        Crowd { io, _holds: holds }
    }
}

/// Notes on which thread it is dropped.
struct Tracked(Arc<Mutex<Vec<ThreadId>>>);

#[derive(Clone, Default)]
struct Threads(Arc<Mutex<Vec<ThreadId>>>);

impl Threads {
    fn tracked(&self) -> Tracked {
        Tracked(self.0.clone())
    }

    fn take(&self) -> Vec<ThreadId> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.0.lock().unwrap().push(thread::current().id());
    }
}

/// A closure that says that it has begun, waits until it is let go and then returns what it captured.
fn held<T: Send + 'static>(value: T) -> (impl FnOnce() -> T + Send, Receiver<ThreadId>, Sender<()>) {
    let ((begun, has_begun), (hold, until)) = (channel(), channel::<()>());
    let closure = move || {
        begun.send(thread::current().id()).unwrap();
        let _ = until.recv();
        value
    };
    (closure, has_begun, hold)
}

/// Guarantee 1, and what the struct documents: another thread, `nbio-pool-N`, and the callback here.
fn runs_on_the_pool(subject: &Subject) {
    let io: Io = subject.io();
    let here = thread::current().id();
    let (captured, result, seen) = (Threads::default(), Threads::default(), Slot::new());
    let (in_closure, to_return, put) = (captured.tracked(), result.tracked(), seen.clone());
    let closure = move || {
        drop(in_closure);
        (thread::current().name().map(str::to_owned), thread::current().id(), to_return)
    };
    io.run_blocking(closure, move |_, _, returned| put.put((returned.unwrap(), thread::current().id())));
    assert_eq!(seen.len(), 0, "not inside the call that submits");
    io.run().unwrap();
    let ((name, there, returned), called_back) = seen.one();
    assert!(name.is_some_and(|name| name.starts_with("nbio-pool-")));
    assert!(there != here && called_back == here);
    drop(returned);
    assert_eq!((captured.take(), result.take()), (vec![there], vec![here]));
}

/// Drop code that panics.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        std::panic::resume_unwind(Box::new("the payload's own panic"));
    }
}

/// Documented: `Panicked`. What the closure captured is dropped as it unwinds, whatever the payload is, and the pool
/// has its thread still.
fn panic_is_an_error(subject: &Subject) {
    let io: Io = subject.io();
    let threads = Threads::default();
    for _ in 0..20 {
        let (tracked, ended) = (threads.tracked(), Slot::new());
        let closure = move || -> u32 {
            let _tracked = tracked;
            std::panic::resume_unwind(Box::new(Bomb))
        };
        io.run_blocking(closure, keep(&ended));
        io.run().unwrap();
        let error = ended.one().unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::Panicked, op::Kind::Blocking));
        assert_eq!(error.to_string(), "run_blocking: panicked");
    }
    let dropped = threads.take();
    assert!(dropped.len() == 20 && !dropped.contains(&thread::current().id()));
    io.run_blocking(|| 5, |_, _, five| assert_eq!(five, Ok(5)));
    io.run().unwrap();
}

/// Guarantee 3: nothing of it was done, so it ends as asked, and at once: in the next tick, whatever the pool does.
fn ended_in_the_queue(subject: &Subject) {
    let _crowd = Crowd::new(subject);
    let io: Io = subject.io();
    let threads = Threads::default();
    let closure = || {
        let tracked = threads.tracked();
        move || drop(tracked)
    };
    let ended = Slot::new();
    let cancelled = io.submit(op::Blocking::new(closure()), keep(&ended));
    assert!(io.cancel(cancelled));
    assert_eq!(ended.len(), 0, "in a later tick");
    turn(&io, 1);
    assert_eq!(kind(ended.one()), Some(ErrorKind::Cancelled));
    assert!(!io.cancel(cancelled));
    // After a few ticks in the queue, too.
    let cancelled = io.submit(op::Blocking::new(closure()), keep(&ended));
    turn(&io, 3);
    assert!(io.cancel(cancelled) && !io.cancel(cancelled));
    turn(&io, 1);
    assert_eq!(kind(ended.one()), Some(ErrorKind::Cancelled));
    let late = [
        op::Blocking::new(closure()).timeout(Duration::from_millis(1)),
        op::Blocking::new(closure()).deadline(io.now()),
    ];
    for operation in late {
        io.submit(operation, keep(&ended));
        io.run().unwrap();
        assert_eq!(kind(ended.one()), Some(ErrorKind::TimedOut));
    }
    assert_eq!(threads.take(), [thread::current().id(); 4]);
    assert_eq!(io.in_flight(), 0);
}

/// Guarantee 3: it can't be stopped, and what was asked is done in the end.
fn cancelled_while_it_runs(subject: &Subject) {
    let io: Io = subject.io();
    for late in [false, true] {
        let ended = Slot::new();
        let (closure, begun, hold) = held(7);
        let mut operation = op::Blocking::new(closure);
        if late {
            operation = operation.timeout(Duration::from_micros(1));
        }
        let id = io.submit(operation, keep(&ended));
        begun.recv().unwrap();
        if late {
            // The deadline comes.
            io.tick(Some(Duration::from_millis(2))).unwrap();
        }
        assert!(io.cancel(id) && io.cancel(id), "it is still to end");
        turn(&io, 3);
        assert_eq!((ended.len(), io.in_flight()), (0, 1));
        drop(hold);
        io.run().unwrap();
        assert_eq!(ended.one(), Ok(7));
        assert!(!io.cancel(id));
    }
}

/// Guarantee 3: a cancel that comes after the closure is over, but before its callback, changes nothing.
fn cancelled_when_over(subject: &Subject) {
    let io: Io = subject.io();
    let (ended, threads) = (Slot::new(), Threads::default());
    let (closure, begun, hold) = held(threads.tracked());
    let id = io.run_blocking(closure, keep(&ended));
    let there = begun.recv().unwrap();
    drop(hold);
    await_thread(subject, there);
    assert!(io.cancel(id), "its callback is still to run");
    turn(&io, 1);
    drop(ended.one().unwrap());
    assert_eq!(threads.take(), [thread::current().id()]);
}

/// Returns when a thread of the pool has done what it did: it does something else.
fn await_thread(subject: &Subject, busy: ThreadId) {
    let io: EventLoop<bool> = subject.io();
    let mut free = false;
    while !free {
        for _ in 0..100 {
            io.run_blocking(
                || thread::current().id(),
                move |free, _, on| {
                    *free |= on == Ok(busy);
                },
            );
        }
        io.run_with(&mut free).unwrap();
    }
}

/// Guarantee 4: callback and closure are dropped, now and here, and nothing is left.
fn removed_in_the_queue(subject: &Subject) {
    let _crowd = Crowd::new(subject);
    let io: Io = subject.io();
    let (threads, drops) = (Threads::default(), Drops::new());
    let (tracked, counted) = (threads.tracked(), drops.counted());
    let id = io.run_blocking(move || drop(tracked), move |_, _, _| drop(counted));
    turn(&io, 2);
    assert!(io.remove(id) && !io.remove(id));
    assert_eq!((threads.take(), drops.count()), (vec![thread::current().id()], 1));
    assert_eq!(io.in_flight(), 0);
    io.run().unwrap();
}

/// Guarantee 4: the callback is dropped now, the result when it is there; `run` doesn't wait for it.
fn removed_while_it_runs(subject: &Subject) {
    for cancelled in [false, true] {
        let io: Io = subject.io();
        let (threads, drops) = (Threads::default(), Drops::new());
        let counted = drops.counted();
        let (closure, begun, hold) = held(threads.tracked());
        let id = io.run_blocking(closure, move |_, _, _| drop(counted));
        begun.recv().unwrap();
        assert!(!cancelled || io.cancel(id));
        assert!(io.remove(id) && !io.remove(id) && !io.cancel(id));
        assert_eq!((threads.take(), drops.count()), (vec![], 1));
        io.run().unwrap();
        assert_eq!(io.in_flight(), 1, "the pool has it");
        drop(hold);
        drive(&io, || io.in_flight() == 0);
        assert_eq!(threads.take(), [thread::current().id()]);
    }
}

/// Documented: "Dropping the loop doesn't wait for it". What waits and what is over is dropped here, the result of
/// what runs on its own thread, and no callback runs.
fn end_of_the_loop(subject: &Subject) {
    let here = thread::current().id();
    let (over, waits, runs, removed) =
        (Threads::default(), Threads::default(), Threads::default(), Threads::default());
    let drops = Drops::new();
    let io: Io = subject.io();
    let callback = |drops: &Drops| {
        let counted = drops.counted();
        move |_: &mut (), _: &Io, _| {
            let _counted = counted;
            unreachable!("the loop is dropped first")
        }
    };
    // Over, and the loop could know.
    let (closure, begun, hold) = held(over.tracked());
    io.run_blocking(closure, callback(&drops));
    let there = begun.recv().unwrap();
    drop(hold);
    await_thread(subject, there);
    // Running, one of them removed.
    let (closure, begun, hold) = held(runs.tracked());
    io.run_blocking(closure, callback(&drops));
    let (second, second_begun, second_hold) = held(removed.tracked());
    let id = io.run_blocking(second, callback(&drops));
    let there = begun.recv().unwrap();
    let also_there = second_begun.recv().unwrap();
    assert!(io.remove(id));
    // Waiting.
    let _crowd = Crowd::new(subject);
    let tracked = waits.tracked();
    io.run_blocking(|| tracked, callback(&drops));
    drop_quickly(io);
    assert_eq!((over.take(), waits.take(), drops.count()), (vec![here], vec![here], 4));
    assert_eq!((runs.take(), removed.take()), (vec![], vec![]));
    drop((hold, second_hold));
    for (threads, thread) in [(runs, there), (removed, also_there)] {
        let mut dropped = Vec::new();
        while dropped.is_empty() {
            thread::yield_now();
            dropped = threads.take();
        }
        assert_eq!(dropped, [thread]);
    }
}

/// `drain` ends what waits with `Cancelled`, waits for what runs, and says how many are left.
fn drain_takes_back(subject: &Subject) {
    let io: Io = subject.io();
    let ended = Slot::new();
    let (closure, begun, hold) = held(1);
    io.run_blocking(closure, keep(&ended));
    begun.recv().unwrap();
    let crowd = Crowd::new(subject);
    let queued = Slot::new();
    for _ in 0..10 {
        io.run_blocking(|| 2, keep(&queued));
    }
    assert_eq!(io.drain(Duration::from_millis(1)), Ok(1));
    let queued: Vec<Option<ErrorKind>> = queued.take().into_iter().map(kind).collect();
    assert_eq!(queued, [Some(ErrorKind::Cancelled); 10]);
    drop(crowd);
    drop(hold);
    assert_eq!(io.drain(Duration::from_secs(60)), Ok(0));
    assert_eq!(ended.one(), Ok(1));
}

/// Guarantee 2, with the pool's queue much longer than its threads are many; a third is cancelled, a third removed.
fn many_end_once(subject: &Subject) {
    const MANY: u64 = 2_000;
    let io: EventLoop<Vec<(u64, bool)>> = subject.io();
    let mut removed = 0;
    for number in 0..MANY {
        let id = io.run_blocking(
            move || number,
            move |ended: &mut Vec<_>, _, result| match result {
                Ok(same) => ended.push((same, true)),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Cancelled);
                    ended.push((number, false));
                }
            },
        );
        match number % 3 {
            0 => {}
            1 => assert!(io.cancel(id)),
            _ => removed += u64::from(io.remove(id)),
        }
    }
    let mut ended = Vec::new();
    io.run_with(&mut ended).unwrap();
    ended.sort();
    assert_eq!(ended.len() as u64 + removed, MANY);
    assert!(ended.windows(2).all(|pair| pair[0].0 < pair[1].0), "each once");
    assert!(ended.iter().all(|&(number, ok)| ok || number % 3 == 1));
    while io.in_flight() > 0 {
        io.tick_with(&mut ended, Some(Duration::from_millis(1))).unwrap();
    }
}

fn background(subject: &Subject) {
    let io: Io = subject.io();
    let ended = Slot::new();
    let (closure, begun, hold) = held(3);
    io.submit(op::Blocking::new(closure).background(), keep(&ended));
    begun.recv().unwrap();
    io.run().unwrap();
    assert_eq!((ended.len(), io.in_flight()), (0, 1));
    drop(hold);
    drive(&io, || ended.len() > 0);
    assert_eq!(ended.one(), Ok(3));
}

/// Documented: operations can be submitted from other threads; the callback runs on the loop's.
fn by_another_thread(subject: &Subject) {
    let io: Io = subject.io();
    let here = thread::current().id();
    let remote = io.remote().unwrap();
    let alive = remote.keep_alive();
    let other = thread::spawn(move || {
        let _alive = alive;
        let (told, tell) = channel();
        let closure = op::Blocking::new(|| thread::current().id());
        let sent = remote.submit(closure, move |_, _, ran_on| {
            told.send((ran_on.unwrap(), thread::current().id())).unwrap();
        });
        assert!(sent.is_ok());
        tell.recv().unwrap()
    });
    io.run().unwrap();
    let (ran_on, called_back) = other.join().unwrap();
    assert!(ran_on != here && called_back == here);
}

thread_local! {
    /// The loop of the case that runs on this thread.
    static LOOP: RefCell<Option<Rc<Io>>> = const { RefCell::new(None) };
}

/// Uses the loop when it is dropped, if it is dropped on the loop's thread.
struct UsesLoop;

impl Drop for UsesLoop {
    fn drop(&mut self) {
        if let Some(io) = LOOP.with_borrow(Clone::clone) {
            io.next_tick(|_, _, _| ());
            assert!(io.in_flight() > 0);
        }
    }
}

/// Guarantee 11: closures and results are dropped while the loop can be used, whichever way they go.
fn drops_use_the_loop(subject: &Subject) {
    let io: Rc<Io> = Rc::new(subject.io());
    LOOP.set(Some(io.clone()));
    // A result that is dropped by the callback, and by a remove.
    io.run_blocking(|| UsesLoop, |_, _, result| drop(result));
    io.run().unwrap();
    let (closure, begun, hold) = held(UsesLoop);
    let id = io.run_blocking(closure, |_, _, _| ());
    begun.recv().unwrap();
    assert!(io.remove(id));
    drop(hold);
    drive(&io, || io.in_flight() == 0);
    // A closure that is taken back.
    let crowd = Crowd::new(subject);
    let bystander = UsesLoop;
    let id = io.run_blocking(move || drop(bystander), |_, _, _| ());
    assert!(io.cancel(id));
    let bystander = UsesLoop;
    let id = io.run_blocking(move || drop(bystander), |_, _, _| ());
    assert!(io.remove(id));
    io.run().unwrap();
    drop(crowd);
    assert_eq!(io.in_flight(), 0);
    LOOP.set(None);
}

/// Guarantee 11: it comes out of the call that dropped it, the callback is gone with it, and the loop goes on.
fn drops_that_panic(subject: &Subject) {
    let _crowd = Crowd::new(subject);
    let io: Io = subject.io();
    let drops = Drops::new();
    for remove in [false, true] {
        let (bomb, counted) = (Bomb, drops.counted());
        let id = io.run_blocking(move || drop(bomb), move |_, _, _| drop(counted));
        let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            if remove {
                io.remove(id);
            } else {
                io.cancel(id);
                turn(&io, 1);
            }
        }));
        assert!(dropped.is_err());
        assert_eq!(io.in_flight(), 0);
    }
    assert_eq!(drops.count(), 2);
    io.next_tick(|_, _, ended| ended.unwrap());
    io.run().unwrap();
}

/// Documented: "one that has been running for a second no longer counts".
fn stuck_ones(subject: &Subject) {
    let cores = thread::available_parallelism().unwrap().get();
    let (io, others): (Io, Io) = (subject.io(), subject.io());
    let mut holds = Vec::new();
    let mut all_begun = Vec::new();
    for _ in 0..cores.max(4) {
        let (closure, begun, hold) = held(());
        others.run_blocking(closure, |_, _, _| ());
        holds.push(hold);
        all_begun.push(begun);
    }
    for begun in all_begun {
        begun.recv().unwrap();
    }
    io.run_blocking(|| 1, |_, _, one| assert_eq!(one, Ok(1)));
    io.run().unwrap();
    let report = io.report();
    assert!(report.pool_stuck() > 0 && report.pool_threads() > cores.max(4), "{report}");
    drop(holds);
    others.run().unwrap();
}

fn report_tells(subject: &Subject) {
    let crowd = Crowd::new(subject);
    let report = crowd.io.report();
    assert!(report.operations().contains(&(op::Kind::Blocking, Support::Pool)));
    assert!(report.pool_queued() + report.pool_running() >= MORE_THAN_THREADS);
    assert!((1..=64).contains(&report.pool_threads()) && report.pool_running() <= report.pool_threads());
    let (threads, queued) = (report.pool_threads(), report.pool_queued());
    let text = report.to_string();
    assert!(text.contains(&format!("\nthread pool: {threads} threads, ")), "{text}");
    assert!(text.contains(&format!(", {queued} queued\n")), "{text}");
    assert!(text.contains("run_blocking     the thread pool\n"), "{text}");
}
