//! Timers and intervals. Guarantee 10.

use std::cell::Cell;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

use nbio::{ErrorKind, Event, EventLoop, Instant, OpId, op};

use crate::hanging::HOUR;
use crate::support::{Case, Slot, Subject, long};
use crate::system;
use crate::wire::socket_pair;

pub const CASES: &[Case] = &[
    Case { name: "never_early_and_in_order_of_deadlines", run: never_early_and_in_order },
    Case { name: "how_late_they_are", run: how_late_they_are },
    Case { name: "relative_time_counts_from_the_submit", run: relative_time_counts_from_the_submit },
    Case { name: "equal_deadlines_fire_in_submission_order", run: equal_deadlines_fire_in_submission_order },
    Case { name: "past_instants_fire_in_the_next_tick", run: past_instants_fire_in_the_next_tick },
    Case { name: "distant_timers_never_fire_and_never_spin", run: distant_timers_never_fire },
    Case { name: "ten_thousand_timers", run: ten_thousand_timers },
    Case { name: "cancelled_and_removed_timers", run: cancelled_and_removed_timers },
    Case { name: "reset_earlier_and_later", run: reset_earlier_and_later },
    Case { name: "reset_after_the_end_is_refused", run: reset_after_the_end_is_refused },
    Case { name: "reset_in_callbacks", run: reset_in_callbacks },
    Case { name: "interval_counts_its_periods", run: interval_counts_its_periods },
    Case { name: "interval_counts_missed_periods_once", run: interval_counts_missed_periods_once },
    Case { name: "interval_ends_itself", run: interval_ends_itself },
    Case { name: "interval_ended_by_another_callback", run: interval_ended_by_another_callback },
    Case { name: "interval_reset_inside_its_callback", run: interval_reset_inside_its_callback },
    Case { name: "interval_of_no_time", run: interval_of_no_time },
];

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Guarantee 10: not one nanosecond early, by the loop's own clock; earlier deadlines first.
fn never_early_and_in_order(subject: &Subject) {
    let io: EventLoop = subject.io();
    let mut random = fastrand::Rng::with_seed(10);
    let fired = Slot::new();
    for _ in 0..500 {
        let (start, duration) = (io.now(), Duration::from_nanos(random.u64(0..30_000_000)));
        let seen = fired.clone();
        io.timer(duration, move |_, io, ended| {
            assert!(ended.is_ok() && io.now() >= start + duration, "{duration:?}");
            seen.put(());
        });
    }
    io.run().unwrap();
    assert_eq!(fired.len(), 500);
    let io: EventLoop = subject.io();
    let (start, fired) = (io.now(), Slot::new());
    let mut expected: Vec<Instant> =
        (0..500).map(|_| start + Duration::from_nanos(random.u64(0..5_000_000))).collect();
    for &at in &expected {
        let seen = fired.clone();
        io.submit(op::Timer::at(at), move |_, io, ended| {
            assert!(ended.is_ok() && io.now() >= at);
            seen.put(at);
        });
    }
    io.run().unwrap();
    expected.sort();
    // Those that had passed when they were submitted, too: the first tick came after all of them.
    assert_eq!(fired.take(), expected);
}

/// Guarantee 10: not early by the system's own clock either, each on a loop that has nothing else to do; `NBIO_TIMERS=n` says of
/// n of each length how late they were (PLATFORMS.md).
fn how_late_they_are(subject: &Subject) {
    let io: EventLoop = subject.io();
    let count = std::env::var("NBIO_TIMERS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    for length in [1, 2, 5, 10, 20, 50].map(millis) {
        let one = |_| {
            let begun = std::time::Instant::now();
            io.timer(length, |_, _, ended| assert_eq!(ended, Ok(())));
            io.run().unwrap();
            begun.elapsed()
        };
        let mut took: Vec<Duration> = (0..count).map(one).collect();
        took.sort();
        assert!(took[0] >= length || subject.simulated(), "{took:?}");
        if count > 1 {
            println!(
                "{length:?}: {:?} to {:?}, half of them within {:?}",
                took[0],
                took[count - 1],
                took[count / 2]
            );
        }
    }
}

/// Guarantee 10: a fresh clock read, not the time at which the tick began.
fn relative_time_counts_from_the_submit(subject: &Subject) {
    let io: EventLoop = subject.io();
    let fired = Slot::new();
    let (seen, own) = (fired.clone(), subject.clone());
    io.next_tick(move |_, io, _| {
        own.pass_until(io, io.now() + millis(8));
        let submitted = io.now();
        io.timer(millis(5), move |_, io, _| seen.put(io.now() - submitted));
    });
    io.run().unwrap();
    assert!(fired.one() >= millis(5));
}

/// Guarantee 10: with others cancelled, removed and at other times in between.
fn equal_deadlines_fire_in_submission_order(subject: &Subject) {
    for seed in 0..5 {
        let io: EventLoop = subject.io();
        let mut random = fastrand::Rng::with_seed(seed);
        let at = io.now() + millis(5);
        let (fired, mut expected, mut others) = (Slot::new(), Vec::new(), Vec::new());
        for nth in 0..600 {
            let seen = fired.clone();
            let timer = op::Timer::at(at);
            match random.u8(0..4) {
                0 => others.push(io.submit(timer, |_, _, ended| assert!(ended.is_err()))),
                1 => {
                    let aside = at - Duration::from_nanos(random.u64(0..4_000_000));
                    io.submit(op::Timer::at(aside), |_, _, ended| assert!(ended.is_ok()));
                }
                _ => {
                    io.submit(timer, move |_, _, _| seen.put(nth));
                    expected.push(nth);
                }
            }
        }
        for (nth, id) in others.into_iter().enumerate() {
            assert!(if nth % 2 == 0 { io.cancel(id) } else { io.remove(id) });
        }
        io.run().unwrap();
        assert_eq!(fired.take(), expected, "seed {seed}");
    }
}

/// Guarantees 1 and 10.
fn past_instants_fire_in_the_next_tick(subject: &Subject) {
    let io: EventLoop = subject.io();
    let order = Slot::new();
    let now = io.now();
    for (nth, ago) in [(1, millis(1)), (0, millis(2)), (2, Duration::ZERO)] {
        let seen = order.clone();
        io.submit(op::Timer::at(now - ago), move |_, _, ended| seen.put((nth, ended)));
    }
    let seen = order.clone();
    io.submit(op::Timer::at(now - Duration::MAX), move |_, io, ended| {
        seen.put((-1, ended));
        // And those of a callback in the tick after it.
        let seen = seen.clone();
        io.submit(op::Timer::at(io.now() - HOUR), move |_, _, ended| seen.put((3, ended)));
    });
    io.tick(Some(Duration::ZERO)).unwrap();
    assert_eq!(order.take(), [-1, 0, 1, 2].map(|nth| (nth, Ok(()))));
    io.tick(None).unwrap();
    assert_eq!(order.take(), [(3, Ok(()))]);
}

/// `FAR_FUTURE` and `Duration::MAX` are far, not an overflow: the loop sleeps meanwhile.
fn distant_timers_never_fire(subject: &Subject) {
    let io: EventLoop = subject.io();
    let far = [
        io.submit(op::Timer::at(Instant::FAR_FUTURE), |_, _, ended| assert!(ended.is_err())),
        io.timer(Duration::MAX, |_, _, ended| assert!(ended.is_err())),
        io.timer(Duration::from_secs(300 * 365 * 86_400), |_, _, ended| assert!(ended.is_err())),
        io.interval(Duration::MAX, |_, _, event: Event<u64>| assert!(matches!(event, Event::End(Err(_))))),
    ];
    let (stream, mut peer) = socket_pair(&io);
    let wake = std::thread::spawn(move || {
        // Time in which a loop that spins would be seen to.
        std::thread::sleep(millis(60));
        peer.write_all(b"x").unwrap();
        peer
    });
    let (woken, seen) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
    let (wakes, ticks) = (woken.clone(), seen.clone());
    io.recv(stream, [0; 1], move |_, _, _| wakes.set(true));
    let before = system::thread_time();
    let enough = || {
        ticks.set(ticks.get() + 1);
        woken.get()
    };
    io.run_until(enough).unwrap();
    assert!(seen.get() < 10 && system::thread_time() - before < millis(30), "{} ticks", seen.get());
    far.iter().for_each(|&id| assert!(io.cancel(id)));
    io.run().unwrap();
    assert_eq!(io.in_flight(), 0);
    wake.join().unwrap();
}

fn ten_thousand_timers(subject: &Subject) {
    let many = if long() { 1_000_000 } else { 10_000 };
    let io: EventLoop<Vec<u32>> = subject.io();
    let mut random = fastrand::Rng::with_seed(4);
    let start = io.now();
    let times: Vec<u64> = (0..many).map(|_| random.u64(0..50_000)).collect();
    for (nth, &micros) in times.iter().enumerate() {
        let at = start + Duration::from_micros(micros);
        io.submit(op::Timer::at(at), move |fired: &mut Vec<u32>, io, _| {
            assert!(io.now() >= at);
            fired.push(nth as u32);
        });
    }
    assert_eq!(io.in_flight(), many);
    let mut fired = Vec::new();
    io.run_with(&mut fired).unwrap();
    let mut expected: Vec<u32> = (0..many as u32).collect();
    expected.sort_by_key(|&nth| times[nth as usize]);
    assert!(fired == expected);
}

fn cancelled_and_removed_timers(subject: &Subject) {
    let io: EventLoop = subject.io();
    let mut random = fastrand::Rng::with_seed(5);
    let (fired, mut expected) = (Slot::new(), 0);
    let ids: Vec<OpId> = (0..3_000)
        .map(|_| {
            let seen = fired.clone();
            let duration = Duration::from_micros(random.u64(0..20_000));
            io.timer(duration, move |_, _, ended| seen.put(ended.err().map(|error| error.kind())))
        })
        .collect();
    for id in ids {
        match random.u8(0..3) {
            0 => assert!(io.cancel(id) && !io.cancel(id)),
            1 => {
                assert!(io.remove(id) && !io.cancel(id));
                continue;
            }
            _ => {}
        }
        expected += 1;
    }
    io.run().unwrap();
    let fired = fired.take();
    assert_eq!(fired.len(), expected);
    assert!(fired.contains(&None) && fired.contains(&Some(ErrorKind::Cancelled)));
}

fn reset_earlier_and_later(subject: &Subject) {
    let io: EventLoop = subject.io();
    let (start, order) = (io.now(), Slot::new());
    let submit = |name: &'static str, duration: Duration| {
        let seen = order.clone();
        io.timer(duration, move |_, io, ended| seen.put((name, ended, io.now())))
    };
    let (later, earlier) = (submit("later", millis(1)), submit("earlier", HOUR));
    // Each counts from when it is called: however long this takes, they are due in this order.
    assert!(io.reset(earlier, HOUR) && io.reset(earlier, millis(4)));
    submit("between", millis(8));
    assert!(io.reset(later, millis(16)));
    io.run().unwrap();
    let order = order.take();
    assert_eq!(order.iter().map(|end| end.0).collect::<Vec<_>>(), ["earlier", "between", "later"]);
    for ((name, ended, at), least) in order.into_iter().zip([4, 8, 16]) {
        assert!(ended.is_ok() && at - start >= millis(least), "{name}");
    }
}

fn reset_after_the_end_is_refused(subject: &Subject) {
    let io: EventLoop = subject.io();
    let (stream, _peer) = subject.pair(&io);
    let (fired, cancelled, removed) =
        (io.timer(Duration::ZERO, |_, _, _| ()), io.timer(HOUR, |_, _, _| ()), io.timer(HOUR, |_, _, _| ()));
    io.cancel(cancelled);
    io.remove(removed);
    assert!(!io.reset(cancelled, millis(1)) && !io.reset(removed, millis(1)));
    let (recv, next) = (io.recv(stream, [0; 4], |_, _, _| ()), io.next_tick(|_, _, _| ()));
    assert!(!io.reset(recv, millis(1)) && !io.reset(next, millis(1)), "they are no timers");
    io.tick(Some(Duration::ZERO)).unwrap();
    assert!(!io.reset(fired, millis(1)));
    io.remove(recv);
    io.run().unwrap();
}

/// A timer that is reset by a callback which runs when both are due has not fired yet.
fn reset_in_callbacks(subject: &Subject) {
    let io: EventLoop = subject.io();
    let at = io.now() + millis(2);
    let (ids, order): (Slot<OpId>, Slot<_>) = (Slot::new(), Slot::new());
    let (known, seen) = (ids.clone(), order.clone());
    io.submit(op::Timer::at(at), move |_, io, _| {
        let now = io.now();
        for id in known.take() {
            assert!(io.reset(id, millis(3)));
        }
        seen.put(now);
    });
    for _ in 0..3 {
        let seen = order.clone();
        ids.put(io.submit(op::Timer::at(at), move |_, io, _| seen.put(io.now())));
    }
    io.run().unwrap();
    let order = order.take();
    assert_eq!(order.len(), 4);
    assert!(order[1..].iter().all(|&fired| fired >= order[0] + millis(3)));
}

/// Guarantee 10: as many periods as have passed, none early.
fn interval_counts_its_periods(subject: &Subject) {
    let io: EventLoop = subject.io();
    let (start, seen) = (io.now(), Slot::new());
    let put = seen.clone();
    let mut periods = 0;
    let interval = io.interval(millis(1), move |_, io, event| match event {
        Event::Item(count) => {
            assert!(count >= 1);
            periods += count;
            assert!(io.now() - start >= millis(periods), "{periods} periods in {:?}", io.now() - start);
            if periods >= 20 {
                io.stop();
            }
        }
        Event::End(result) => put.put((result.unwrap_err().kind(), periods)),
    });
    io.run().unwrap();
    assert!(io.cancel(interval));
    io.run().unwrap();
    let (kind, periods) = seen.one();
    assert!(kind == ErrorKind::Cancelled && periods >= 20);
}

/// Missed periods are counted, not made up for, and the rhythm is kept.
fn interval_counts_missed_periods_once(subject: &Subject) {
    let io: EventLoop = subject.io();
    let items = Slot::new();
    let (seen, own) = (items.clone(), subject.clone());
    let start = io.now();
    let interval = io.interval(millis(2), move |_, io, event| {
        let Event::Item(count) = event else { return };
        let begin = io.now();
        seen.put((count, begin));
        // Too busy for at least three periods.
        if seen.len() == 1 {
            own.pass_until(io, begin + millis(7));
        }
    });
    io.run_until(|| items.len() == 3).unwrap();
    io.remove(interval);
    let items = items.take();
    assert!(items[1].0 >= 3, "{} periods were missed", items[1].0);
    let mut periods = 0;
    for (count, at) in items {
        periods += count;
        assert!(at >= start + millis(2 * periods), "on the beat");
    }
}

fn interval_ends_itself(subject: &Subject) {
    for remove in [false, true] {
        let io: EventLoop = subject.io();
        let (ids, events): (Slot<OpId>, Slot<_>) = (Slot::new(), Slot::new());
        let (known, seen) = (ids.clone(), events.clone());
        ids.put(io.interval(Duration::from_micros(200), move |_, io, event| {
            match event {
                Event::Item(_) => seen.put(None),
                Event::End(result) => return seen.put(Some(result.unwrap_err().kind())),
            }
            if seen.len() == 2 {
                let id = known.one();
                if remove {
                    assert!(io.remove(id) && !io.remove(id));
                    assert!(!io.cancel(id) && !io.reset(id, HOUR), "it has ended");
                } else {
                    assert!(io.cancel(id));
                    assert!(!io.reset(id, HOUR), "it is ending");
                }
            }
        }));
        io.run().unwrap();
        let end = [None, None, Some(ErrorKind::Cancelled)];
        assert_eq!(events.take(), if remove { &end[..2] } else { &end[..] });
        assert_eq!(io.in_flight(), 0);
    }
}

fn interval_ended_by_another_callback(subject: &Subject) {
    for remove in [false, true] {
        let io: EventLoop = subject.io();
        let events: Slot<_> = Slot::new();
        let seen = events.clone();
        let own = subject.clone();
        io.next_tick(move |_, io, _| {
            let id = io.interval(millis(1), move |_, _, event| match event {
                Event::Item(_) => panic!("it was cancelled before its turn"),
                Event::End(result) => seen.put(result.unwrap_err().kind()),
            });
            // It is due in the next tick, and so is the one that ends it, whose turn comes first.
            own.pass_until(io, io.now() + millis(2));
            io.next_tick(move |_, io, _| {
                assert!(if remove { io.remove(id) } else { io.cancel(id) && !io.cancel(id) });
            });
        });
        io.run().unwrap();
        let end = [ErrorKind::Cancelled];
        assert_eq!(events.take(), if remove { &end[..0] } else { &end[..] });
    }
}

/// The next item comes that much later; then the period goes on as it was.
fn interval_reset_inside_its_callback(subject: &Subject) {
    let io: EventLoop = subject.io();
    let (ids, items): (Slot<OpId>, Slot<_>) = (Slot::new(), Slot::new());
    let (known, seen) = (ids.clone(), items.clone());
    ids.put(io.interval(millis(1), move |_, io, _| {
        seen.put(io.now());
        if seen.len() == 1 {
            assert!(io.reset(known.one(), millis(6)));
        }
        if seen.len() == 4 {
            io.stop();
        }
    }));
    let start = io.now();
    io.run().unwrap();
    let items = items.take();
    assert!(items[1] - items[0] >= millis(6));
    assert!(items[1] - start >= millis(7) && items[3] - start >= millis(9));
}

/// At least a nanosecond: an item each tick, and everything else has its turn too.
fn interval_of_no_time(subject: &Subject) {
    let io: EventLoop = subject.io();
    let items = Slot::new();
    let seen = items.clone();
    let interval = io.interval(Duration::ZERO, move |_, _, event| {
        if let Event::Item(count) = event {
            seen.put(count);
        }
    });
    // The first nanosecond may not be over in the first tick.
    while items.len() == 0 {
        io.tick(None).unwrap();
    }
    for tick in 2..=10 {
        io.tick(None).unwrap();
        assert_eq!(items.len(), tick);
    }
    io.timer(millis(2), move |_, io, _| assert!(io.cancel(interval)));
    io.run().unwrap();
    assert!(items.take().iter().all(|&count| count >= 1));
}
