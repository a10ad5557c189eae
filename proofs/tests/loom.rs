//! Every order of events between a loop and other threads, as far as loom can tell: the shipped queue, compiled with
//! loom's lock, condition variable and atomics in place of std's.
//!
//! A lost wake-up shows as a deadlock: the loop sleeps, and nobody is left to wake it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Wake, Waker};

use loom::model::Builder;
use loom::thread;

/// What `queue.rs` synchronises with.
mod sync {
    pub use loom::sync::atomic::{AtomicBool, Ordering};
    pub use loom::sync::{Condvar, Mutex, MutexGuard};
    pub use std::time::Instant;
}

#[allow(dead_code, reason = "not all of it is needed here")]
#[path = "../../src/engine/remote/queue.rs"]
mod queue;

use queue::{Queue, Refusal};
use sync::{AtomicBool, Condvar, Mutex, Ordering};

/// What the loop sleeps on: remembers that it was signalled, as an eventfd does.
struct Signal {
    given: Mutex<bool>,
    changed: Condvar,
}

impl Signal {
    fn wait(&self) {
        let mut given = self.given.lock().unwrap();
        while !*given {
            given = self.changed.wait(given).unwrap();
        }
        *given = false;
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        *self.given.lock().unwrap() = true;
        self.changed.notify_one();
    }
}

type Shared = Arc<Queue<u32, u32>>;

/// The loop's side, reduced to what it does with the queue.
struct Loop {
    queue: Shared,
    signal: Arc<Signal>,
    batch: VecDeque<u32>,
    completions: VecDeque<u32>,
    ran: Vec<u32>,
}

impl Loop {
    fn new(capacity: usize) -> Loop {
        let signal = Arc::new(Signal { given: Mutex::new(false), changed: Condvar::new() });
        let queue = Arc::new(Queue::new(capacity, Waker::from(signal.clone())));
        Loop { queue, signal, batch: VecDeque::new(), completions: VecDeque::new(), ran: Vec::new() }
    }

    /// Ticks until `over`, which is asked after the callbacks of each.
    fn run(&mut self, mut over: impl FnMut(&Loop) -> bool) {
        loop {
            self.queue.take(&mut self.batch, &mut self.completions);
            self.ran.extend(self.batch.drain(..));
            if over(self) {
                return;
            }
            if self.queue.before_wait(true) {
                self.signal.wait();
                self.queue.after_wait();
            }
        }
    }
}

/// Runs a model with at most so many preemptions, of which few suffice to show a race.
fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

#[test]
fn no_entry_is_lost_or_runs_twice_and_each_thread_keeps_its_order() {
    explore(2, || {
        let mut io = Loop::new(8);
        let threads = [10, 20].map(|first| {
            let queue = io.queue.clone();
            thread::spawn(move || {
                queue.try_push(first, |entry| entry).unwrap();
                queue.try_push(first + 1, |entry| entry).unwrap();
            })
        });
        io.run(|io| io.ran.len() == 4);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        for first in [10, 20] {
            let own: Vec<u32> = io.ran.iter().copied().filter(|entry| entry / 10 == first / 10).collect();
            assert_eq!(own, [first, first + 1]);
        }
    });
}

#[test]
fn no_wake_is_lost() {
    explore(3, || {
        let mut io = Loop::new(1);
        let flags = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
        let threads = flags.clone().map(|flag| {
            let queue = io.queue.clone();
            thread::spawn(move || {
                flag.store(true, Ordering::Relaxed);
                queue.wake();
            })
        });
        io.run(|_| flags.iter().all(|flag| flag.load(Ordering::Relaxed)));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn no_completion_is_lost() {
    explore(3, || {
        let mut io = Loop::new(1);
        let threads = [1, 2].map(|completion| {
            let queue = io.queue.clone();
            thread::spawn(move || queue.push_completion(completion))
        });
        io.run(|io| io.completions.len() == 2);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(io.completions.iter().sum::<u32>(), 3);
    });
}

#[test]
fn a_full_queue_waits_and_goes_on() {
    explore(3, || {
        let mut io = Loop::new(1);
        let queue = io.queue.clone();
        let thread =
            thread::spawn(move || (1..=3).for_each(|entry| queue.push(entry, |entry| entry).unwrap()));
        io.run(|io| io.ran.len() == 3);
        thread.join().unwrap();
        assert_eq!(io.ran, [1, 2, 3]);
    });
}

#[test]
fn all_who_wait_for_room_get_it() {
    explore(2, || {
        let mut io = Loop::new(1);
        let threads = [1, 2].map(|entry| {
            let queue = io.queue.clone();
            thread::spawn(move || queue.push(entry, |entry| entry).unwrap())
        });
        io.run(|io| io.ran.len() == 2);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(io.ran.iter().sum::<u32>(), 3);
    });
}

/// Each value is run, or dropped with the loop, or given back: exactly one of them.
#[test]
fn a_close_while_others_push_loses_nothing() {
    explore(3, || {
        let mut io = Loop::new(1);
        let threads = [1, 2].map(|entry| {
            let queue = io.queue.clone();
            thread::spawn(move || match queue.push(entry, |entry| entry) {
                Ok(()) => None,
                Err((refusal, entry)) => {
                    assert_eq!(refusal, Refusal::Closed);
                    Some(entry)
                }
            })
        });
        io.queue.take(&mut io.batch, &mut io.completions);
        let mut seen: Vec<u32> = io.batch.drain(..).chain(io.queue.close()).collect();
        seen.extend(threads.map(|thread| thread.join().unwrap()).into_iter().flatten());
        seen.sort_unstable();
        assert_eq!(seen, [1, 2]);
        assert_eq!(io.queue.try_push(3, |entry| entry), Err((Refusal::Closed, 3)));
        io.queue.take(&mut io.batch, &mut io.completions);
        assert!(io.batch.is_empty(), "nothing gets in behind the close");
    });
}

/// The loop ends when the last guard goes, and not before it has what was given before that.
#[test]
fn the_last_guard_lets_the_loop_end() {
    explore(3, || {
        let mut io = Loop::new(4);
        let threads = [1, 2].map(|entry| {
            io.queue.keep_alive();
            let queue = io.queue.clone();
            thread::spawn(move || {
                queue.try_push(entry, |entry| entry).unwrap();
                queue.release();
            })
        });
        io.run(|io| !io.queue.needs_loop());
        assert_eq!(io.ran.iter().sum::<u32>(), 3);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}
