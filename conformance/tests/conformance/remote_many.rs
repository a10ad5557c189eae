//! Many threads and many loops: nothing is lost under load. Guarantees 2 and 9.

use std::sync::mpsc;
use std::thread;

use nbio::{ErrorKind, EventLoop, Remote, WhenFull, op};

use crate::support::{Case, Subject, long};

pub const CASES: &[Case] = &[
    Case { name: "many_threads_submit_and_none_is_lost", run: many_threads_submit_and_none_is_lost },
    Case { name: "refused_ones_try_again_and_none_is_lost", run: refused_ones_try_again_and_none_is_lost },
    Case { name: "loops_wake_each_other", run: loops_wake_each_other },
    Case { name: "loops_come_and_go_under_fire", run: loops_come_and_go_under_fire },
];

const THREADS: u64 = 64;

/// Every operation that the queue takes calls back once.
fn many_threads_submit_and_none_is_lost(subject: &Subject) {
    let each: u64 = if long() { 100_000 } else { 2_000 };
    let io: EventLoop<[u64; 2]> = subject.io();
    let remote = io.remote().unwrap().when_full(WhenFull::Wait);
    let mut totals = [0; 2];
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let remote = remote.clone();
            let keep_alive = remote.keep_alive();
            scope.spawn(move || {
                for nth in 0..each {
                    let number = thread * each + nth;
                    let submitted = remote.submit(op::NextTick::new(), move |totals: &mut [u64; 2], _, _| {
                        totals[0] += 1;
                        totals[1] += number;
                    });
                    submitted.unwrap();
                }
                drop(keep_alive);
            });
        }
        io.run_with(&mut totals).unwrap();
    });
    let all = THREADS * each;
    assert_eq!(totals, [all, all * (all - 1) / 2]);
}

fn refused_ones_try_again_and_none_is_lost(subject: &Subject) {
    let each: u64 = if long() { 10_000 } else { 500 };
    let io: EventLoop<u64> = subject.builder().remote_capacity(3).remote_budget(2).build().unwrap();
    let remote = io.remote().unwrap();
    let mut count = 0;
    thread::scope(|scope| {
        for _ in 0..4 {
            let remote = remote.clone();
            let keep_alive = remote.keep_alive();
            scope.spawn(move || {
                for _ in 0..each {
                    let mut entry = |count: &mut u64, _: &EventLoop<u64>| *count += 1;
                    while let Err(refused) = remote.run(entry) {
                        assert_eq!(refused.error.kind(), ErrorKind::QueueFull);
                        entry = refused.value;
                        thread::yield_now();
                    }
                }
                drop(keep_alive);
            });
        }
        io.run_with(&mut count).unwrap();
    });
    assert_eq!(count, 4 * each);
}

/// Tokens go round a ring of loops, each on its thread: whoever passes one on wakes the next.
fn loops_wake_each_other(subject: &Subject) {
    struct Next(Option<Remote<Next>>);
    fn pass(next: &Next, hops: u32, ended: mpsc::Sender<()>) {
        if hops == 0 {
            return ended.send(()).unwrap();
        }
        let remote = next.0.as_ref().unwrap();
        remote.run(move |next: &mut Next, _| pass(next, hops - 1, ended)).unwrap();
    }
    const LOOPS: usize = 8;
    const TOKENS: usize = 3;
    let hops = if long() { 20_000 } else { 2_000 };
    let (made, remotes) = mpsc::channel();
    thread::scope(|scope| {
        for nth in 0..LOOPS {
            let made = made.clone();
            let builder = subject.builder();
            scope.spawn(move || {
                let io: EventLoop<Next> = builder.build().unwrap();
                let remote = io.remote().unwrap();
                made.send((nth, remote.clone(), remote.keep_alive())).unwrap();
                io.run_with(&mut Next(None)).unwrap();
            });
        }
        let mut ring: Vec<_> = (0..LOOPS).map(|_| remotes.recv().unwrap()).collect();
        ring.sort_by_key(|entry| entry.0);
        for nth in 0..LOOPS {
            let next = ring[(nth + 1) % LOOPS].1.clone();
            ring[nth].1.run(move |state: &mut Next, _| state.0 = Some(next)).unwrap();
        }
        let (ended, ends) = mpsc::channel();
        for entry in &ring[..TOKENS] {
            let ended = ended.clone();
            entry.1.run(move |next: &mut Next, _| pass(next, hops, ended)).unwrap();
        }
        drop(ended);
        assert_eq!(ends.iter().count(), TOKENS);
        // The guards go, and every loop ends.
    });
}

/// Threads give and wake while loops are made and dropped: what was taken is run or dropped, what wasn't comes back.
fn loops_come_and_go_under_fire(subject: &Subject) {
    for round in 0..if long() { 1_000 } else { 40 } {
        let marker = std::sync::Arc::new(());
        let io: EventLoop = subject.builder().remote_capacity(4).build().unwrap();
        let when_full = if round % 2 == 0 { WhenFull::Wait } else { WhenFull::Refuse };
        let remote = io.remote().unwrap().when_full(when_full);
        thread::scope(|scope| {
            for _ in 0..3 {
                let (remote, marker) = (remote.clone(), marker.clone());
                scope.spawn(move || {
                    loop {
                        let held = marker.clone();
                        let refused = remote.run(move |_, _| drop(held));
                        remote.wake();
                        match refused.map_err(|refused| refused.error.kind()) {
                            Err(ErrorKind::LoopGone) => return,
                            Err(ErrorKind::QueueFull) => thread::yield_now(),
                            other => other.unwrap(),
                        }
                    }
                });
            }
            (0..round % 5).for_each(|_| io.tick(None).unwrap());
            drop(io);
        });
        assert_eq!(std::sync::Arc::strong_count(&marker), 1);
    }
}
