//! The shared half by itself, with threads of std. Every order of events is tried in `proofs/tests/loom.rs`; this is for load,
//! and for what a sanitizer sees.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::{self, Thread};

use super::queue::Queue;
use crate::engine::Core;
use crate::engine::erased::{self, Context};
use crate::{Builder, Error, EventLoop, op};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Nothing is lost between threads that push, wait for room, complete and wake, and one that takes and sleeps.
#[test]
fn nothing_is_lost_under_load() {
    const THREADS: usize = 4;
    const EACH: usize = 5_000;
    let queue = Queue::<Box<usize>, usize>::new(16, Waker::from(Arc::new(Unpark(thread::current()))));
    let (mut batch, mut completions) = (VecDeque::new(), VecDeque::new());
    let (mut entries, mut completed) = ([0; THREADS], 0);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            queue.keep_alive();
            let queue = &queue;
            scope.spawn(move || {
                for nth in 0..EACH {
                    queue.push(nth * THREADS + thread, Box::new).unwrap();
                    queue.push_completion(nth);
                    queue.wake();
                }
                queue.release();
            });
        }
        loop {
            queue.take(&mut batch, &mut completions);
            for entry in batch.drain(..) {
                assert_eq!(*entry / THREADS, entries[*entry % THREADS], "in order");
                entries[*entry % THREADS] += 1;
            }
            completed += completions.drain(..).count();
            if !queue.needs_loop() {
                break;
            }
            if queue.before_wait(true) {
                thread::park();
                queue.after_wait();
            }
        }
    });
    assert_eq!((entries, completed), ([EACH; THREADS], THREADS * EACH));
}

/// As a thread pool does it: the operation is the loop's, its end comes from elsewhere, and the wait is over.
#[test]
fn a_completion_of_another_thread_ends_its_operation() {
    let (core, io) = (Rc::new(Core::new(&Builder::new()).unwrap()), EventLoop::<()>::new().unwrap());
    let ended = Rc::new(Cell::new(0));
    let seen = ended.clone();
    let callback = move |_: &mut (), _: &EventLoop, _: Result<(), Error>| seen.set(seen.get() + 1);
    erased::submit(&core, op::NextTick::new(), callback);
    let completion = core.engine.borrow_mut().completions.pop_back().expect("the next tick's");
    let shared = core.remote_shared().unwrap();
    let other = thread::spawn(move || {
        shared.push_completion(completion.token, completion.outcome);
        shared
    });
    while ended.get() == 0 {
        core.tick(Context::new(&mut (), &io), None).unwrap();
    }
    let shared = other.join().unwrap();
    assert_eq!((ended.get(), core.in_flight()), (1, 0));
    core.tear_down();
    // Late ones are nobody's.
    shared.push_completion(completion.token, completion.outcome);
}
