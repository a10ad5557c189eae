//! Turning the loop: tick, run, stop, drain, what is counted and told. Guarantees 2 and 9.

use std::cell::Cell;
use std::io::Write;
use std::rc::Rc;
use std::time::{Duration, Instant as StdInstant};

use nbio::{Backend, Builder, ErrorKind, Event, EventLoop, ManyOperation, OpId, Operation, Support, op};

use crate::hanging::{HOUR, Hanging, idle};
use crate::support::{Case, Slot, Subject};

pub const CASES: &[Case] = &[
    Case { name: "tick_with_nothing_in_flight", run: tick_with_nothing_in_flight },
    Case { name: "tick_of_no_time_does_not_wait", run: tick_of_no_time_does_not_wait },
    Case { name: "tick_waits_until_something_ends", run: tick_waits_until_something_ends },
    Case { name: "tick_without_limit_waits_for_background_too", run: tick_waits_for_background_too },
    Case { name: "run_ends_with_the_last_operation", run: run_ends_with_the_last_operation },
    Case { name: "run_leaves_background_operations", run: run_leaves_background_operations },
    Case { name: "run_until_asks_in_every_tick", run: run_until_asks_in_every_tick },
    Case { name: "stop_takes_effect_at_the_end_of_the_tick", run: stop_takes_effect_at_the_end_of_the_tick },
    Case { name: "stop_before_and_between_runs", run: stop_before_and_between_runs },
    Case { name: "stop_in_the_predicate", run: stop_in_the_predicate },
    Case { name: "drain_cancels_every_kind", run: drain_cancels_every_kind },
    Case { name: "drain_cancels_what_callbacks_submit", run: drain_cancels_what_callbacks_submit },
    Case { name: "drain_ends_at_its_limit", run: drain_ends_at_its_limit },
    Case { name: "in_flight_counts", run: in_flight_counts },
    Case { name: "builder_ranges", run: builder_ranges },
    Case { name: "report_tells_what_and_why", run: report_tells_what_and_why },
];

/// `None` doesn't wait for what can't come; a limit is waited for.
fn tick_with_nothing_in_flight(subject: &Subject) {
    let io: EventLoop = subject.io();
    for _ in 0..1_000 {
        io.tick(None).unwrap();
    }
    let start = io.now();
    io.tick(Some(Duration::from_millis(10))).unwrap();
    assert!(io.now() - start >= Duration::from_millis(10));
    io.run().unwrap();
    assert_eq!(io.drain(HOUR), Ok(0));
}

fn tick_of_no_time_does_not_wait(subject: &Subject) {
    let io: EventLoop = subject.io();
    let (stream, _peer) = subject.pair(&io);
    let recv = io.recv(stream, [0; 4], |_, _, _| ());
    let timer = io.timer(HOUR, |_, _, _| ());
    // Would hang if it waited.
    for _ in 0..1_000 {
        io.tick(Some(Duration::ZERO)).unwrap();
    }
    io.remove(recv);
    io.remove(timer);
}

/// The wait ends early, and the callback runs in the next tick.
fn tick_waits_until_something_ends(subject: &Subject) {
    let io: EventLoop = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    let ran = Slot::new();
    let seen = ran.clone();
    io.recv(stream, [0; 4], move |_, _, _| seen.put("recv"));
    for limit in [None, Some(Duration::MAX), Some(HOUR)] {
        peer.write_all(b"x").unwrap();
        io.tick(limit).unwrap();
        assert_eq!(ran.len(), 0);
        io.tick(Some(Duration::ZERO)).unwrap();
        ran.one();
        let seen = ran.clone();
        io.recv(stream, [0; 4], move |_, _, _| seen.put("recv"));
        let seen = ran.clone();
        let timer = Duration::from_millis(2);
        let start = io.now();
        // Submitted in this tick, it never fires in it, however busy the machine is.
        io.next_tick(move |_, io, _| {
            io.timer(timer, move |_, _, _| seen.put("timer"));
        });
        io.tick(limit).unwrap();
        assert!(ran.len() == 0 && (timer..HOUR).contains(&(io.now() - start)));
        while ran.len() == 0 {
            io.tick(Some(Duration::ZERO)).unwrap();
        }
        assert_eq!(ran.take(), ["timer"]);
        assert!(io.now() - start >= timer);
    }
    let (start, ours) = (StdInstant::now(), io.now());
    io.tick(Some(Duration::from_millis(5))).unwrap();
    assert!(io.now() - ours >= Duration::from_millis(5));
    // It is everybody's time, unless it is a simulation's own.
    assert!(subject.simulated() || start.elapsed() >= Duration::from_millis(5));
}

fn tick_waits_for_background_too(subject: &Subject) {
    let io: EventLoop = subject.io();
    let ran = Slot::new();
    let seen = ran.clone();
    let timer = io.submit(op::Timer::after(HOUR).background(), move |_, _, _| seen.put(()));
    io.run().unwrap();
    assert_eq!(ran.len(), 0);
    let start = io.now();
    assert!(io.reset(timer, Duration::from_millis(5)));
    while ran.len() == 0 {
        io.tick(None).unwrap();
    }
    assert!(io.now() - start >= Duration::from_millis(5));
}

fn run_ends_with_the_last_operation(subject: &Subject) {
    let io: EventLoop<u32> = subject.io();
    let mut count = 0;
    io.run_with(&mut count).unwrap();
    fn again(count: &mut u32, io: &EventLoop<u32>, _: Result<(), nbio::Error>) {
        *count += 1;
        if *count < 100 {
            io.next_tick(again);
        }
    }
    io.next_tick(again);
    io.run_with(&mut count).unwrap();
    assert_eq!((count, io.in_flight()), (100, 0));
    io.next_tick(again);
    io.run_with(&mut count).unwrap();
    assert_eq!(count, 101);
}

/// `run` ends with background operations of many kinds left; they go on in the next one.
fn run_leaves_background_operations(subject: &Subject) {
    let io: EventLoop = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    let listener = io.listen_tcp(([127, 0, 0, 1], 0)).unwrap();
    let got = Slot::new();
    let seen = got.clone();
    io.submit(op::Recv::new(stream, [0; 4]).background(), move |_, _, done| seen.put(done.bytes));
    io.submit(op::Recv::new(stream, [0; 4]).background(), |_, _, _| ());
    io.submit(op::Accept::new(listener).background(), |_, _, _| ());
    io.submit(op::Timer::after(HOUR).background(), |_, _, _| ());
    let interval = op::Interval::every(HOUR).background().timeout(HOUR);
    io.submit_many(interval, |_, _, _: Event<u64>| ());
    io.run().unwrap();
    assert_eq!(io.in_flight(), 5);
    peer.write_all(b"x").unwrap();
    io.timer(Duration::from_millis(1), |_, _, _| ());
    while got.len() == 0 {
        io.next_tick(|_, _, _| ());
        io.run().unwrap();
    }
    assert_eq!((got.one(), io.in_flight()), (1, 4));
    // One that ends, by whatever way, doesn't upset the count.
    let id = io.submit(op::Timer::after(HOUR).background(), |_, _, _| ());
    assert!(io.remove(id));
    let id = io.submit(op::Timer::after(HOUR).background(), |_, _, _| ());
    assert!(io.cancel(id));
    io.run().unwrap();
    assert_eq!(io.drain(HOUR), Ok(0));
}

fn run_until_asks_in_every_tick(subject: &Subject) {
    let io: EventLoop<u32> = subject.io();
    fn forever(count: &mut u32, io: &EventLoop<u32>, _: Result<(), nbio::Error>) {
        *count += 1;
        io.next_tick(forever);
    }
    io.next_tick(forever);
    let (mut count, mut asked) = (0, 0);
    let enough = |count: &mut u32| {
        asked += 1;
        assert_eq!(*count, asked, "after the callbacks of every tick");
        *count == 10
    };
    io.run_until_with(&mut count, enough).unwrap();
    assert_eq!((count, asked, io.in_flight()), (10, 10, 1));
    io.run_until_with(&mut count, |_| true).unwrap();
    assert_eq!(count, 11, "one tick at least");
    let empty: EventLoop = subject.io();
    empty.run_until(|| false).unwrap();
}

fn stop_takes_effect_at_the_end_of_the_tick(subject: &Subject) {
    let io: EventLoop = subject.io();
    let order = Slot::new();
    for nth in 0..3 {
        let seen = order.clone();
        io.next_tick(move |_, io, _| {
            seen.put(nth);
            if nth == 0 {
                io.stop();
                io.next_tick(move |_, _, _| seen.put(10));
            }
        });
    }
    io.run().unwrap();
    assert_eq!((order.take(), io.in_flight()), (vec![0, 1, 2], 1));
    io.run().unwrap();
    assert_eq!((order.take(), io.in_flight()), (vec![10], 0));
}

fn stop_before_and_between_runs(subject: &Subject) {
    let io: EventLoop = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    let got = Slot::new();
    let seen = got.clone();
    io.recv(stream, [0; 4], move |_, _, done| seen.put(done.bytes));
    // Each returns after one tick, and doesn't wait.
    io.stop();
    io.run().unwrap();
    io.stop();
    io.stop();
    io.run_until(|| false).unwrap();
    io.stop();
    io.tick(None).unwrap();
    assert_eq!(got.len(), 0);
    peer.write_all(b"x").unwrap();
    // It was reset each time.
    io.run().unwrap();
    assert_eq!(got.one(), 1);
}

fn stop_in_the_predicate(subject: &Subject) {
    let io: EventLoop = subject.io();
    let timer = io.timer(HOUR, |_, _, _| ());
    let enough = || {
        io.stop();
        false
    };
    io.run_until(enough).unwrap();
    let both = || {
        io.stop();
        true
    };
    io.run_until(both).unwrap();
    io.remove(timer);
    let ran = Slot::new();
    let seen = ran.clone();
    io.timer(Duration::from_millis(1), move |_, _, _| seen.put(()));
    io.run().unwrap();
    assert_eq!(ran.len(), 1, "stop was reset");
}

fn drain_cancels_every_kind(subject: &Subject) {
    for started in [true, false] {
        let io = subject.io();
        let hanging = if started { Hanging::start(subject, &io) } else { Hanging::submit(subject, &io) };
        assert_eq!(io.drain(HOUR), Ok(0));
        if started {
            hanging.assert_all_ended(ErrorKind::Cancelled);
        } else {
            let ended = hanging.ended.take();
            assert_eq!(ended.len(), hanging.ids.len());
            assert!(ended.iter().all(|end| end.2.unwrap_err().kind() == ErrorKind::Cancelled));
        }
        assert_eq!(io.in_flight(), 0);
        assert!(io.local_address(hanging.listener).is_ok(), "handles stay open");
        assert_eq!(io.drain(Duration::ZERO), Ok(0));
    }
}

fn drain_cancels_what_callbacks_submit(subject: &Subject) {
    let io: EventLoop<Vec<Option<ErrorKind>>> = subject.io();
    let (stream, _peer) = subject.pair_with(&io, &mut Vec::new());
    fn again(io: &EventLoop<Vec<Option<ErrorKind>>>, stream: nbio::TcpStream, left: usize) {
        io.recv(stream, [0; 4], move |ended: &mut Vec<_>, io, done| {
            ended.push(done.result.err().map(|error| error.kind()));
            if left > 0 {
                again(io, stream, left - 1);
            }
        });
    }
    again(&io, stream, 20);
    let mut ended = Vec::new();
    assert_eq!(io.drain_with(&mut ended, HOUR), Ok(0));
    assert_eq!(ended, [Some(ErrorKind::Cancelled); 21]);
    let closed = Rc::new(Cell::new(false));
    let seen = closed.clone();
    io.close_then(stream, move |_, _, result| seen.set(result.is_ok()));
    assert_eq!(io.drain_with(&mut ended, HOUR), Ok(0));
    assert!(closed.get(), "closes are waited for, not cancelled");
}

fn drain_ends_at_its_limit(subject: &Subject) {
    let io: EventLoop<u32> = subject.io();
    fn forever(count: &mut u32, io: &EventLoop<u32>, _: Result<(), nbio::Error>) {
        *count += 1;
        io.timer(HOUR, forever);
    }
    io.timer(HOUR, forever);
    let (start, mut count) = (io.now(), 0);
    assert_eq!(io.drain_with(&mut count, Duration::from_millis(10)), Ok(1));
    assert!(io.now() - start >= Duration::from_millis(10) && count >= 1);
    let before = count;
    assert_eq!(io.drain_with(&mut count, Duration::ZERO), Ok(1), "even then a turn is made");
    assert_eq!(count, before + 1);
}

fn in_flight_counts(subject: &Subject) {
    let io = subject.io();
    assert_eq!(io.in_flight(), 0);
    let hanging = Hanging::submit(subject, &io);
    assert_eq!(io.in_flight(), hanging.ids.len());
    io.tick(Some(Duration::ZERO)).unwrap();
    assert_eq!(io.in_flight(), hanging.ids.len());
    for (nth, (_, id)) in hanging.ids.iter().enumerate() {
        assert!(io.cancel(*id));
        assert_eq!(io.in_flight(), hanging.ids.len(), "cancelled is not ended: {nth}");
    }
    io.run().unwrap();
    idle(&io);
    io.next_tick(|_, io, _| assert_eq!(io.in_flight(), 0, "the running one has ended"));
    io.run().unwrap();
    io.interval(Duration::ZERO, |_, io, event| match event {
        Event::Item(_) => {
            assert_eq!(io.in_flight(), 1, "an interval goes on");
            io.stop();
        }
        Event::End(_) => assert_eq!(io.in_flight(), 0),
    });
    io.run().unwrap();
    assert_eq!(io.drain(HOUR), Ok(0));
}

fn builder_ranges(subject: &Subject) {
    let refused = |builder: Builder| {
        let error = builder.build::<()>().unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::InvalidInput, op::Kind::Build));
    };
    refused(subject.builder().ring_size(0));
    refused(subject.builder().ring_size(32_769));
    refused(subject.builder().ring_size(u32::MAX));
    refused(subject.builder().completion_budget(0));
    refused(subject.builder().timer_budget(0));
    for size in [1, 2, 3, 1000, 32_768] {
        let builder =
            subject.builder().ring_size(size).completion_budget(usize::MAX).timer_budget(usize::MAX);
        let io: EventLoop = std::thread::spawn(|| builder).join().unwrap().build().unwrap();
        let ids: Vec<OpId> = (0..100).map(|_| io.next_tick(|_, _, _| ())).collect();
        io.run().unwrap();
        assert!(ids.iter().all(|&id| !io.cancel(id)));
    }
}

fn report_tells_what_and_why(subject: &Subject) {
    let report = subject.io::<()>().report();
    let plain = subject.name == "io_uring-plain";
    let backend = match subject.name {
        _ if subject.simulated() => "sim",
        "io_uring-plain" => "io_uring-plain",
        _ if subject.epoll() => "epoll",
        _ if subject.kqueue() => "kqueue",
        _ => "io_uring",
    };
    assert_eq!(report.backend(), backend);
    let reason = match subject.forbidden() {
        true => "chosen by automatic choice, instead of io_uring: ",
        false => "chosen by the builder",
    };
    assert!(report.reason().starts_with(reason), "{}", report.reason());
    assert!(!plain || report.features().is_empty());
    let how = |kind| report.operations().iter().find(|entry| entry.0 == kind).map(|entry| entry.1);
    if !subject.simulated() {
        let recv = if subject.epoll() || subject.kqueue() { Support::Readiness } else { Support::Native };
        assert_eq!(how(op::Kind::Recv), Some(recv));
        assert_eq!(how(op::Kind::Shutdown), Some(Support::Direct));
    }
    assert_eq!(how(op::Kind::Interval), Some(Support::Engine));
    assert_eq!(how(op::Kind::Tick), None, "no operation");
    let table = report.to_string();
    assert!(table.starts_with(&format!("{} ({})\nfeatures: ", report.backend(), report.reason())));
    for (kind, _) in report.operations() {
        assert!(table.contains(&kind.to_string()), "{kind}");
    }
    for feature in report.features() {
        assert!(table.contains(feature));
    }
    // Asking for the best is asking for nothing in particular.
    let auto = Builder::new().backend(Backend::Auto).build::<()>().unwrap().report();
    let best = if subject.forbidden() { "epoll" } else { "io_uring" };
    assert_eq!(auto.backend(), std::env::var("NBIO_BACKEND").as_deref().unwrap_or(best));
}
