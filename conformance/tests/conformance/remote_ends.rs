//! Other threads: what the loop refuses, what keeps it going, and its end. Guarantees 5 and 11.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, ThreadId};
use std::time::Duration;

use nbio::{ErrorKind, EventLoop, OpId, Remote, WhenFull, op};

use crate::child;
use crate::hanging::HOUR;
use crate::panics::{boom, booms};
use crate::remote::{await_sleep_of, elsewhere, thread_number};
use crate::support::{Case, Subject};
use crate::system::descriptors;

pub const CASES: &[Case] = &[
    Case { name: "full_queue_gives_the_value_back", run: full_queue_gives_the_value_back },
    Case { name: "full_queue_waits_and_goes_on", run: full_queue_waits_and_goes_on },
    Case { name: "waiting_on_its_own_thread_is_a_deadlock", run: waiting_on_its_own_thread_is_a_deadlock },
    Case { name: "gone_loop_gives_the_value_back", run: gone_loop_gives_the_value_back },
    Case { name: "gone_loop_releases_those_who_wait", run: gone_loop_releases_those_who_wait },
    Case { name: "settings_out_of_range", run: settings_out_of_range },
    Case { name: "keep_alive_holds_run", run: keep_alive_holds_run },
    Case { name: "keep_alive_holds_tick", run: keep_alive_holds_tick },
    Case { name: "remote_alone_holds_nothing", run: remote_alone_holds_nothing },
    Case { name: "entries_hold_run", run: entries_hold_run },
    Case { name: "drain_runs_entries", run: drain_runs_entries },
    Case { name: "drain_ends_though_entries_go_on", run: drain_ends_though_entries_go_on },
    Case { name: "unrun_entries_are_dropped_by_the_loop", run: unrun_entries_are_dropped_by_the_loop },
    Case { name: "drops_of_entries_may_panic", run: drops_of_entries_may_panic },
    Case { name: "drops_of_entries_may_use_the_remote", run: drops_of_entries_may_use_the_remote },
    Case { name: "forgotten_loop_harms_nobody", run: forgotten_loop_harms_nobody },
    Case { name: "remote_gives_its_descriptors_back", run: remote_gives_its_descriptors_back },
];

/// The closure that comes back is the one that was given.
fn full_queue_gives_the_value_back(subject: &Subject) {
    let io: EventLoop<u32> = subject.builder().remote_capacity(2).build().unwrap();
    let remote = io.remote().unwrap();
    let mut count = 0;
    for round in 1..=3 {
        let (stream, _peer) = subject.pair_with(&io, &mut count);
        (0..2).for_each(|_| remote.run(|count, _| *count += 1).unwrap());
        let refused = elsewhere(|| remote.run(|count, _| *count += 100).unwrap_err());
        assert_eq!(
            (refused.error.kind(), refused.error.operation()),
            (ErrorKind::QueueFull, op::Kind::Remote)
        );
        assert_eq!(refused.to_string(), "remote: the queue is full");
        (refused.value)(&mut count, &io);
        let refused = remote.submit(op::Recv::new(stream, vec![9; 3]), |_, _, _| ()).unwrap_err();
        let (recv, callback) = refused.value;
        assert!(io.remove(io.submit(recv, callback)));
        io.close(stream);
        io.run_with(&mut count).unwrap();
        assert_eq!(count, round * 102);
    }
}

fn full_queue_waits_and_goes_on(subject: &Subject) {
    for capacity in [1, 2, 7] {
        let io: EventLoop<u32> = subject.builder().remote_capacity(capacity).build().unwrap();
        let remote = io.remote().unwrap().when_full(WhenFull::Wait);
        thread::scope(|scope| {
            for _ in 0..3 {
                let remote = remote.clone();
                let keep_alive = remote.keep_alive();
                scope.spawn(move || {
                    (0..300).for_each(|_| remote.run(|count, _| *count += 1).unwrap());
                    drop(keep_alive);
                });
            }
            let mut count = 0;
            io.run_with(&mut count).unwrap();
            assert_eq!(count, 900);
        });
    }
}

/// Between ticks, in an entry, and in a callback; elsewhere the loop's thread may wait for others.
fn waiting_on_its_own_thread_is_a_deadlock(subject: &Subject) {
    let io: EventLoop<u32> = subject.builder().remote_capacity(1).build().unwrap();
    let remote = io.remote().unwrap().when_full(WhenFull::Wait);
    let fill = |remote: &Remote<u32>| {
        remote.run(|count, _| *count += 1).unwrap();
        let refused = remote.run(|count, _| *count += 1).unwrap_err();
        assert_eq!(refused.error.kind(), ErrorKind::Deadlock);
        refused.value
    };
    let back = fill(&remote);
    let mut count = 0;
    back(&mut count, &io);
    io.tick_with(&mut count, Some(Duration::ZERO)).unwrap();
    let (in_entry, in_callback) = (remote.clone(), remote.clone());
    let filled = remote.run(move |count, io| fill(&in_entry)(count, io));
    filled.unwrap();
    io.run_with(&mut count).unwrap();
    io.next_tick(move |count, io, _| fill(&in_callback)(count, io));
    io.run_with(&mut count).unwrap();
    assert_eq!(count, 6);
}

fn gone_loop_gives_the_value_back(subject: &Subject) {
    let (io, other): (EventLoop<u32>, EventLoop<u32>) = (subject.io(), subject.io());
    let remote = io.remote().unwrap();
    let late = remote.keep_alive();
    drop(io);
    for remote in [remote.clone(), remote.when_full(WhenFull::Wait)] {
        let mut count = 0;
        let refused = elsewhere(|| remote.run(|count, _| *count += 1).unwrap_err());
        assert_eq!(refused.error.kind(), ErrorKind::LoopGone);
        (refused.value)(&mut count, &other);
        let refused = remote.submit(op::NextTick::new(), |count, _, _| *count += 1).unwrap_err();
        assert_eq!(nbio::Error::from(refused).kind(), ErrorKind::LoopGone);
        let refused = remote.submit(op::Timer::after(Duration::ZERO), |count, _, _| *count += 1).unwrap_err();
        other.submit(refused.value.0, refused.value.1);
        other.run_with(&mut count).unwrap();
        assert_eq!(count, 2);
        remote.wake();
        drop(remote.keep_alive());
    }
    drop(late);
}

/// Guarantee 5: whoever waits for room when the loop is dropped is told, and keeps what it wanted to give.
fn gone_loop_releases_those_who_wait(subject: &Subject) {
    let io: EventLoop<u32> = subject.builder().remote_capacity(1).build().unwrap();
    let remote = io.remote().unwrap().when_full(WhenFull::Wait);
    remote.run(|_, _| ()).unwrap();
    let (numbers, number) = mpsc::channel();
    let waiters = [(); 3].map(|()| {
        let (remote, numbers) = (remote.clone(), numbers.clone());
        thread::spawn(move || {
            numbers.send(thread_number()).unwrap();
            let refused = remote.run(|count, _| *count += 1).unwrap_err();
            refused.error.kind()
        })
    });
    (0..3).for_each(|_| await_sleep_of(number.recv().unwrap()));
    drop(io);
    assert_eq!(waiters.map(|waiter| waiter.join().unwrap()), [ErrorKind::LoopGone; 3]);
}

fn settings_out_of_range(subject: &Subject) {
    for builder in [subject.builder().remote_capacity(0), subject.builder().remote_budget(0)] {
        assert_eq!(builder.build::<()>().unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

/// `run` waits for the last guard, wherever it is dropped, and then ends at once.
fn keep_alive_holds_run(subject: &Subject) {
    let io: EventLoop = subject.io();
    let (remote, waiter) = (io.remote().unwrap(), thread_number());
    for _ in 0..20 {
        let guards = [(); 2].map(|()| remote.keep_alive());
        let dropped = Arc::new(AtomicUsize::new(0));
        let said = dropped.clone();
        let other = thread::spawn(move || {
            for guard in guards {
                await_sleep_of(waiter);
                said.fetch_add(1, Ordering::Relaxed);
                drop(guard);
            }
        });
        io.run().unwrap();
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
        other.join().unwrap();
    }
}

fn keep_alive_holds_tick(subject: &Subject) {
    let io: EventLoop = subject.io();
    let remote = io.remote().unwrap();
    let (guard, waiter) = (remote.keep_alive(), thread_number());
    let slept = Arc::new(AtomicBool::new(false));
    let said = slept.clone();
    let other = thread::spawn(move || {
        await_sleep_of(waiter);
        said.store(true, Ordering::Relaxed);
        drop(guard);
    });
    io.tick(None).unwrap();
    // The first wait of a one-shot poll may find the counter as an earlier wake has left it; here there was none.
    assert!(slept.load(Ordering::Relaxed));
    other.join().unwrap();
    io.tick(None).unwrap();
}

fn remote_alone_holds_nothing(subject: &Subject) {
    let io: EventLoop = subject.io();
    let remote = io.remote().unwrap();
    io.run().unwrap();
    io.tick(None).unwrap();
    drop(remote.keep_alive());
    io.run().unwrap();
    io.tick(None).unwrap();
    assert_eq!(io.drain(HOUR).unwrap(), 0);
}

/// `run` does what is queued, and what that queues, before it ends.
fn entries_hold_run(subject: &Subject) {
    fn give(remote: Remote<u32>, left: u32) {
        let next = remote.clone();
        let run = remote.run(move |count: &mut u32, _| {
            *count += 1;
            if left > 1 {
                give(next, left - 1);
            }
        });
        run.unwrap();
    }
    let io: EventLoop<u32> = subject.io();
    give(io.remote().unwrap(), 100);
    let mut count = 0;
    io.run_with(&mut count).unwrap();
    assert_eq!(count, 100);
}

/// What an entry submits during a drain is cancelled as what a callback submits.
fn drain_runs_entries(subject: &Subject) {
    let io: EventLoop<Vec<ErrorKind>> = subject.builder().remote_budget(2).build().unwrap();
    let remote = io.remote().unwrap();
    for _ in 0..10 {
        let timer = op::Timer::after(HOUR);
        remote.submit(timer, |kinds, _, ended| kinds.push(ended.unwrap_err().kind())).unwrap();
    }
    let mut kinds = Vec::new();
    assert_eq!(io.drain_with(&mut kinds, HOUR).unwrap(), 0);
    assert_eq!(kinds, [ErrorKind::Cancelled; 10]);
}

fn drain_ends_though_entries_go_on(subject: &Subject) {
    fn again(remote: Remote) {
        let next = remote.clone();
        remote.run(move |(), _| again(next)).unwrap();
    }
    let io: EventLoop = subject.io();
    again(io.remote().unwrap());
    assert_eq!(io.drain(Duration::from_millis(2)).unwrap(), 0);
}

/// Where and in which order things were dropped.
type Log = Arc<Mutex<Vec<(u32, ThreadId)>>>;

struct Logged(u32, Log);

impl Drop for Logged {
    fn drop(&mut self) {
        self.1.lock().unwrap().push((self.0, thread::current().id()));
    }
}

/// Those that a tick has taken over and those still in the queue, small and large; in order, then the callbacks.
fn unrun_entries_are_dropped_by_the_loop(subject: &Subject) {
    let io: EventLoop = subject.builder().remote_budget(1).build().unwrap();
    let (remote, log) = (io.remote().unwrap(), Log::default());
    let give = |nth: u32| {
        let logged = Logged(nth, log.clone());
        match nth % 2 {
            0 => remote.run(move |_, _| drop(logged)).unwrap(),
            _ => {
                let large = [0u8; 500];
                remote.run(move |_, _| drop((logged, large))).unwrap();
            }
        }
    };
    let in_a_callback = Logged(100, log.clone());
    io.timer(HOUR, move |_, _, _| drop(in_a_callback));
    elsewhere(|| (0..4).for_each(give));
    // One runs, three are left over.
    io.tick(Some(Duration::ZERO)).unwrap();
    elsewhere(|| (4..6).for_each(give));
    assert_eq!(log.lock().unwrap().len(), 1);
    drop(io);
    let here = thread::current().id();
    assert_eq!(*log.lock().unwrap(), [0, 1, 2, 3, 4, 5, 100].map(|nth| (nth, here)));
}

/// Panics when dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        boom();
    }
}

/// The others are dropped all the same, and the panic reaches whoever drops the loop.
fn drops_of_entries_may_panic(subject: &Subject) {
    let io: EventLoop = subject.io();
    let (remote, log) = (io.remote().unwrap(), Log::default());
    for nth in 0..4 {
        let logged = Logged(nth, log.clone());
        remote.run(move |_, _| drop(logged)).unwrap();
        let bomb = Bomb;
        remote.run(move |_, _| std::mem::forget(bomb)).unwrap();
    }
    let in_a_callback = Logged(4, log.clone());
    io.timer(HOUR, move |_, _, _| drop(in_a_callback));
    assert!(booms(|| drop(io)));
    assert_eq!(log.lock().unwrap().len(), 5);
    assert_eq!(remote.run(|_, _| ()).unwrap_err().error.kind(), ErrorKind::LoopGone);
}

/// The queue was closed first, and nothing of the loop is held while user code runs.
fn drops_of_entries_may_use_the_remote(subject: &Subject) {
    struct Caller(Remote, mpsc::Sender<ErrorKind>);
    impl Drop for Caller {
        fn drop(&mut self) {
            self.0.wake();
            drop(self.0.keep_alive());
            let refused = self.0.clone().when_full(WhenFull::Wait).run(|_, _| ()).unwrap_err();
            self.1.send(refused.error.kind()).unwrap();
        }
    }
    let io: EventLoop = subject.builder().remote_capacity(1).build().unwrap();
    let (remote, (given, got)) = (io.remote().unwrap(), mpsc::channel());
    let caller = Caller(remote.clone(), given);
    remote.run(move |_, _| drop(caller)).unwrap();
    drop(io);
    assert_eq!(got.try_iter().collect::<Vec<_>>(), [ErrorKind::LoopGone]);
}

fn forgotten_loop_harms_nobody(subject: &Subject) {
    let io: EventLoop = subject.builder().remote_capacity(1).build().unwrap();
    let remote = io.remote().unwrap();
    let id: OpId = io.timer(HOUR, |_, _, _| ());
    std::mem::forget(io);
    elsewhere(|| {
        remote.wake();
        remote.run(move |_, io| assert!(io.cancel(id))).unwrap();
        assert_eq!(remote.run(|_, _| ()).unwrap_err().error.kind(), ErrorKind::QueueFull);
        drop(remote.keep_alive());
    });
}

/// Guarantee 5: those of the loop with it, and what wakes it with the last `Remote`.
fn remote_gives_its_descriptors_back(subject: &Subject) {
    child::run(subject, "remote_ends::remote_gives_its_descriptors_back", |subject| {
        drop(subject.io::<()>());
        let before = descriptors();
        for round in 0..4 {
            let io: EventLoop = subject.io();
            let without = descriptors();
            let remote = io.remote().unwrap();
            let with = descriptors();
            drop(io.remote().unwrap());
            assert_eq!(descriptors(), with, "made once");
            if round % 2 == 0 {
                remote.wake();
                io.tick(Some(Duration::ZERO)).unwrap();
            }
            drop(io);
            assert!(descriptors() - before <= with - without);
            drop(remote);
            assert_eq!(descriptors(), before);
        }
    });
}
