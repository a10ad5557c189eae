//! Tasks: what `spawn`, `block_on` and the join handle promise, on every backend.

use std::cell::{Cell, RefCell};
use std::future::{Future, IntoFuture, pending, poll_fn};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use nbio::task::{self, CancelToken, Interval, MissedTicks, interval, sleep, timeout, yield_now};
use nbio::{ErrorKind, EventLoop, Operation, op};

use crate::support::{Case, Drops, Slot, Subject, listen};
use crate::wire::{Io, drive, keep};

pub const CASES: &[Case] = &[
    Case { name: "a_task_has_its_result_and_keeps_run_going", run: results },
    Case { name: "a_tick_polls_each_task_once_and_never_waits_with_one_ready", run: once_a_tick },
    Case { name: "the_budget_bounds_the_tasks_of_a_tick", run: budget },
    Case { name: "a_panic_is_carried_by_the_handle_or_reaches_the_tick", run: panics },
    Case { name: "an_aborted_task_is_dropped_in_its_turn_and_gives_its_buffer_up", run: aborts },
    Case { name: "a_task_that_aborts_or_awaits_itself", run: itself },
    Case { name: "dropping_the_loop_drops_tasks_in_flight", run: loop_dropped },
    Case { name: "turning_the_loop_inside_a_task_is_refused", run: reentrant },
    Case { name: "outside_a_loop_everything_says_so", run: outside },
    Case { name: "wakes_from_other_threads_and_after_the_end", run: other_threads },
    Case { name: "channels_of_others_carry_between_threads_and_tasks", run: channels },
    Case { name: "a_waker_that_re_enters_is_no_harm", run: wakers_that_re_enter },
    Case { name: "an_operation_first_polled_on_another_loop_is_refused", run: wrong_loop },
    Case { name: "a_future_goes_on_on_its_own_loop_whoever_polls_it", run: two_loops },
    Case { name: "sleep_timeout_and_interval_keep_their_times", run: times },
    Case { name: "a_cancel_token_gives_the_buffer_back", run: tokens },
    Case { name: "callbacks_and_tasks_on_one_loop", run: mixed },
    Case { name: "what_a_dropped_loop_leaves_to_its_futures", run: after_the_loop },
];

/// Polls a future once, for a waker that does nothing.
pub fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Issue 7: results come by the handle; `run` ends when no task is left.
fn results(subject: &Subject) {
    let io: Io = subject.io();
    let order = Slot::new();
    let handles: Vec<_> = (0..3)
        .map(|number| {
            let order = order.clone();
            io.spawn(async move {
                order.put(number);
                // The later ones begin to sleep earlier: however busy the machine is, they wake in that order.
                for _ in number..4 {
                    yield_now().await;
                }
                sleep(Duration::from_millis(1)).await.unwrap();
                order.put(10 + number);
                number
            })
        })
        .collect();
    io.run().unwrap();
    assert_eq!(order.take(), [0, 1, 2, 12, 11, 10]);
    assert!(handles.iter().all(task::JoinHandle::is_finished));
    let sum = io.block_on(async {
        let mut sum = 0;
        for handle in handles {
            sum += handle.await.unwrap();
        }
        sum
    });
    assert_eq!(sum, Ok(3));
}

/// Guarantee 9: what is queued in a tick runs in the next, and with leftovers the tick doesn't wait.
fn once_a_tick(subject: &Subject) {
    let io: Io = subject.io();
    let polls = Rc::new(Cell::new(0));
    let count = polls.clone();
    let task = io.spawn(poll_fn(move |context| -> Poll<()> {
        count.set(count.get() + 1);
        context.waker().wake_by_ref();
        context.waker().wake_by_ref();
        Poll::Pending
    }));
    for expected in 1..5 {
        io.tick(None).unwrap();
        assert_eq!(polls.get(), expected);
    }
    // One that never rests doesn't keep the others from running.
    let timer = Slot::new();
    let rung = timer.clone();
    io.timer(Duration::from_millis(1), move |_, _, _| rung.put(()));
    while timer.len() == 0 {
        io.tick(Some(Duration::ZERO)).unwrap();
        subject.pass_until(&io, io.now());
    }
    task.abort();
    io.run().unwrap();
}

/// Guarantee 9: each stage has a budget.
fn budget(subject: &Subject) {
    let io: Io = subject.builder().task_budget(2).build().unwrap();
    let ran = Rc::new(Cell::new(0));
    for _ in 0..5 {
        let ran = ran.clone();
        drop(io.spawn(async move { ran.set(ran.get() + 1) }));
    }
    let counts: Vec<i32> = (0..3)
        .map(|_| {
            io.tick(None).unwrap();
            ran.get()
        })
        .collect();
    assert_eq!(counts, [2, 4, 5]);
    assert!(subject.builder().task_budget(0).build::<()>().is_err());
}

/// Guarantee 11: a panicking task harms nobody.
fn panics(subject: &Subject) {
    let io: Io = subject.io();
    let drops = Drops::new();
    let counted = drops.counted();
    let carried = io.spawn(async move {
        let _counted = counted;
        yield_now().await;
        panic!("carried");
    });
    let fine = io.spawn(async { 1 });
    io.run().unwrap();
    assert_eq!(drops.count(), 1);
    let error = io.block_on(carried).unwrap().unwrap_err();
    assert!(error.is_panic() && error.to_string().contains("carried"));
    assert_eq!(*error.into_panic().unwrap().downcast::<&str>().unwrap(), "carried");
    assert_eq!(io.block_on(fine).unwrap().unwrap(), 1);
    // Nobody waits for these: the panic comes out of the tick, and the others run in the next.
    let ran = Rc::new(Cell::new(false));
    let run = ran.clone();
    drop(io.spawn(async { panic!("detached") }));
    drop(io.spawn(async move { run.set(true) }));
    let panic = catch_unwind(AssertUnwindSafe(|| io.tick(None))).unwrap_err();
    assert_eq!(*panic.downcast::<&str>().unwrap(), "detached");
    io.run().unwrap();
    assert!(ran.get());
    // A future whose drop panics.
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    let bomb = Bomb;
    let task = io.spawn(poll_fn(move |_| {
        let _ = &bomb;
        Poll::Ready(())
    }));
    assert!(io.block_on(task).unwrap().unwrap_err().is_panic());
    // The main future's own panic.
    assert!(catch_unwind(AssertUnwindSafe(|| io.block_on(async { panic!("main") }))).is_err());
    assert_eq!(io.block_on(async { 5 }), Ok(5));
}

/// Issue 7: abort during I/O.
fn aborts(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, peer) = subject.pair(&io);
    let drops = Drops::new();
    let counted = drops.counted();
    let task = io.spawn(async move {
        let _counted = counted;
        op::Recv::new(stream, vec![0; 10]).await.map(|(bytes, _)| bytes)
    });
    subject.hand_over(&io);
    task.abort();
    assert_eq!(drops.count(), 0, "not inside the call");
    let error = io.block_on(task).unwrap().unwrap_err();
    assert!(error.is_aborted() && drops.count() == 1);
    // It has lost nothing.
    (&peer).write_all(b"hello").unwrap();
    let got = Slot::new();
    io.recv_exact(stream, vec![0; 5], 5, keep(&got));
    drive(&io, || got.len() > 0);
    assert_eq!(got.one().data(), b"hello");
    // One that has ended isn't aborted.
    let task = io.spawn(async { 7 });
    io.tick(None).unwrap();
    task.abort();
    assert_eq!(io.block_on(task).unwrap().unwrap(), 7);
}

/// Issue 7, bad input: a task that has its own handle.
fn itself(subject: &Subject) {
    let io: Io = subject.io();
    let place: Rc<RefCell<Option<task::JoinHandle<()>>>> = Rc::default();
    let own = place.clone();
    *place.borrow_mut() = Some(io.spawn(async move {
        let mut handle = own.borrow_mut().take().unwrap();
        assert!(poll_once(&mut handle).is_pending() && !handle.is_finished());
        handle.abort();
        drop(handle);
        yield_now().await;
        unreachable!("it was aborted");
    }));
    io.run().unwrap();
    assert!(place.borrow().is_none());
}

/// Issue 7: dropping the runtime with tasks in flight.
fn loop_dropped(subject: &Subject) {
    let io: Io = subject.io();
    let (listener, _) = listen(&io);
    let (stream, _peer) = subject.pair(&io);
    let drops = Drops::new();
    let (one, two, three) = (drops.counted(), drops.counted(), drops.counted());
    let waiting = io.spawn(async move {
        let _one = one;
        op::Accept::new(listener).await.map(drop)
    });
    let receiving = io.spawn(async move {
        let _two = two;
        op::Recv::new(stream, vec![0; 10]).await.map(drop).map_err(nbio::Error::from)
    });
    drop(io.spawn(async move {
        let _three = three;
        pending::<()>().await;
    }));
    let never = io.spawn(async { unreachable!("it was never polled again") });
    never.abort();
    subject.hand_over(&io);
    drop(io);
    assert_eq!(drops.count(), 3);
    for mut handle in [waiting, receiving] {
        let Poll::Ready(Err(error)) = poll_once(&mut handle) else { panic!("it has a result") };
        assert!(error.is_aborted());
    }
}

/// Guarantee 11: `tick`, `run`, `block_on` inside a task are refused.
fn reentrant(subject: &Subject) {
    let io = Rc::new(subject.io::<()>());
    let inner = io.clone();
    let kinds = io.block_on(async move {
        let kind = |result: Result<(), nbio::Error>| result.unwrap_err().kind();
        let kinds = [
            kind(inner.tick(None)),
            kind(inner.run()),
            kind(inner.block_on(async {})),
            kind(nbio::block_on(async {})),
        ];
        drop(inner);
        kinds
    });
    assert_eq!(kinds, Ok([ErrorKind::Reentrant; 4]));
}

/// Issue 7: outside a runtime a clear error.
fn outside(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, _peer) = subject.pair(&io);
    let mut recv = op::Recv::new(stream, vec![1, 2, 3]).into_future();
    let Poll::Ready(Err(failed)) = poll_once(&mut recv) else { panic!("it has ended") };
    assert_eq!((failed.error.kind(), failed.buf), (ErrorKind::NoLoop, vec![1, 2, 3]));
    assert!(poll_once(&mut recv).is_pending(), "polled after its end");
    let mut handle = nbio::spawn(async {});
    let Poll::Ready(Err(error)) = poll_once(&mut handle) else { panic!("it has ended") };
    assert_eq!(error.refused().unwrap().kind(), ErrorKind::NoLoop);
    assert_eq!(task::TcpListener::bind(([127, 0, 0, 1], 0)).unwrap_err().kind(), ErrorKind::NoLoop);
    assert_eq!(task::now().unwrap_err().kind(), ErrorKind::NoLoop);
    let submitted = task::submit(op::NextTick::new(), |_| unreachable!("there is no loop"));
    assert_eq!(submitted.unwrap_err().kind(), ErrorKind::NoLoop);
}

/// Issue 7: `Send` wakers from any thread, also when the loop is gone.
fn other_threads(subject: &Subject) {
    let io: Io = subject.io();
    // In a simulation somebody must say that there are others.
    let keep = io.remote().unwrap().keep_alive();
    let (wakers, waiting) = mpsc::channel::<Waker>();
    let helper = std::thread::spawn(move || {
        let mut last = None;
        for waker in waiting {
            waker.wake_by_ref();
            last = Some(waker);
        }
        last
    });
    let mut woken = 0;
    let count = io.spawn(poll_fn(move |context| {
        if woken == 100 {
            return Poll::Ready(woken);
        }
        woken += 1;
        wakers.send(context.waker().clone()).unwrap();
        Poll::Pending
    }));
    assert_eq!(io.block_on(count).unwrap().unwrap(), 100);
    let late = helper.join().unwrap().unwrap();
    late.wake_by_ref();
    drop(keep);
    io.run().unwrap();
    drop(io);
    late.wake_by_ref();
    std::thread::spawn(move || late.wake()).join().unwrap();
}

/// Issue 7: channels of a well-kept crate, between a task and a thread, and between tasks.
fn channels(subject: &Subject) {
    const COUNT: u64 = 1000;
    let io: Io = subject.io();
    // In a simulation somebody must say that there are others.
    let keep = io.remote().unwrap().keep_alive();
    let (give, numbers) = async_channel::bounded(8);
    let (relay, relayed) = async_channel::bounded(1);
    let (answer, answers) = async_channel::bounded(8);
    let thread = std::thread::spawn(move || {
        (0..COUNT).for_each(|number| give.send_blocking(number).unwrap());
        drop(give);
        let mut sum = 0;
        while let Ok(number) = answers.recv_blocking() {
            sum += number;
        }
        sum
    });
    drop(io.spawn(async move {
        while let Ok(number) = numbers.recv().await {
            relay.send(number).await.unwrap();
        }
    }));
    // The thread gives first and takes then: what comes meanwhile is kept.
    let task = io.spawn(async move {
        let mut all = Vec::new();
        while let Ok(number) = relayed.recv().await {
            all.push(number);
        }
        for number in all {
            answer.send(number).await.unwrap();
        }
    });
    io.block_on(task).unwrap().unwrap();
    assert_eq!(thread.join().unwrap(), (0..COUNT).sum());
    drop(keep);
    io.run().unwrap();
}

/// A waker whose clone and drop do whatever they are told.
struct Unruly(Box<dyn Fn() + Send + Sync>);

impl Wake for Unruly {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

impl Drop for Unruly {
    fn drop(&mut self) {
        (self.0)();
    }
}

thread_local! {
    /// The loop that an unruly waker turns.
    static TURNED: RefCell<Option<Rc<EventLoop>>> = const { RefCell::new(None) };
}

/// Issue 7: a waker whose wake or drop re-enters.
fn wakers_that_re_enter(subject: &Subject) {
    let io = Rc::new(subject.io::<()>());
    let (stream, peer) = subject.pair(&io);
    TURNED.set(Some(io.clone()));
    let turn = || {
        let io = TURNED.with_borrow(|io| io.clone());
        if let Some(io) = io {
            let _ = io.tick(Some(Duration::ZERO));
            io.next_tick(|_, _, _| ());
        }
    };
    let mut recv = op::Recv::new(stream, vec![0; 4]).exact(4).into_future();
    let mut ended = None;
    // First polled in a callback, where the loop is current; then with another waker each time, from outside.
    let started = Slot::new();
    let put = started.clone();
    io.next_tick(move |_, _, _| {
        let waker = Waker::from(Arc::new(Unruly(Box::new(turn))));
        assert!(Pin::new(&mut recv).poll(&mut Context::from_waker(&waker)).is_pending());
        put.put(recv);
    });
    io.run_until(|| started.len() == 1).unwrap();
    let mut recv = started.one();
    (&peer).write_all(b"four").unwrap();
    while ended.is_none() {
        let waker = Waker::from(Arc::new(Unruly(Box::new(turn))));
        match Pin::new(&mut recv).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => ended = Some(result),
            Poll::Pending => io.tick(Some(Duration::from_millis(1))).unwrap(),
        }
    }
    assert_eq!(ended.unwrap().unwrap(), (4, b"four".to_vec()));
    TURNED.set(None);
}

/// Issue 7: an operation first polled on another loop is `WrongLoop`.
fn wrong_loop(subject: &Subject) {
    let (io, other): (Io, Io) = (subject.io(), subject.io());
    let (stream, _peer) = subject.pair(&io);
    let owned = io.own(stream).unwrap();
    let failed = other.block_on(async { owned.recv(vec![0; 3]).await.unwrap_err() }).unwrap();
    assert_eq!((failed.error.kind(), failed.bytes), (ErrorKind::WrongLoop, 0));
    assert_eq!(other.own(stream).unwrap_err().kind(), ErrorKind::WrongLoop);
}

/// Issue 7: a future moved to another loop.
fn two_loops(subject: &Subject) {
    let (io, other): (Io, Io) = (subject.io(), subject.io());
    let (stream, peer) = subject.pair(&io);
    let mut recv = op::Recv::new(stream, vec![0; 4]).exact(4).into_future();
    io.block_on(async { assert!(poll_once(&mut recv).is_pending()) }).unwrap();
    (&peer).write_all(b"four").unwrap();
    let result = other.block_on(async {
        poll_fn(|context| {
            io.tick(Some(Duration::from_millis(1))).unwrap();
            context.waker().wake_by_ref();
            Pin::new(&mut recv).poll(context)
        })
        .await
    });
    assert_eq!(result.unwrap().unwrap(), (4, b"four".to_vec()));
}

/// Guarantee 10, for tasks: never early; missed ticks as was asked.
fn times(subject: &Subject) {
    let io: Io = subject.io();
    let ms = Duration::from_millis;
    let start = io.now();
    let late = io.block_on(timeout(ms(2), pending::<()>())).unwrap();
    assert!(late.unwrap_err().kind() == ErrorKind::TimedOut && io.now() - start >= ms(2));
    assert_eq!(io.block_on(timeout(ms(1000), async { 3 })).unwrap(), Ok(3));
    let at = io.now() + ms(3);
    io.block_on(task::sleep_until(at)).unwrap().unwrap();
    assert!(io.now() >= at);
    let planned = |missed| {
        let mut interval: Interval = interval(ms(2)).missed_ticks(missed);
        let first = io.block_on(interval.tick()).unwrap().unwrap();
        subject.pass_until(&io, first + ms(7));
        let missed = io.now() - first;
        let second = io.block_on(interval.tick()).unwrap().unwrap();
        let third = io.block_on(interval.tick()).unwrap().unwrap();
        (second - first, missed, third - first, io.now() - first)
    };
    let (second, _, third, _) = planned(MissedTicks::Burst);
    assert_eq!((second, third), (ms(2), ms(4)));
    let (second, _, third, now) = planned(MissedTicks::Skip);
    let in_rhythm = |at: Duration| at.as_nanos().is_multiple_of(ms(2).as_nanos());
    assert!(in_rhythm(second) && in_rhythm(third) && third > second && third >= ms(8) && now >= third);
    let (second, missed, third, now) = planned(MissedTicks::Delay);
    assert!(third >= second + ms(2) && now >= third);
    // If the first one came late itself, the second may have come in time.
    assert!(second + ms(2) > missed || third >= missed + ms(2), "{second:?} {missed:?} {third:?}");
    // A timer set anew before, while and after it runs.
    let mut timer = sleep(ms(10_000));
    timer.reset(ms(5_000));
    let fired = io.block_on(async {
        assert!(poll_once(&mut timer).is_pending());
        timer.reset(ms(1));
        (&mut timer).await.unwrap();
        timer.reset(ms(1));
        timer.await
    });
    assert_eq!(fired, Ok(Ok(())));
    assert_eq!(io.in_flight(), 0);
}

/// Issue 7: a cancel token ends any operation and brings its buffer and result back.
fn tokens(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, peer) = subject.pair(&io);
    let token = CancelToken::new();
    (&peer).write_all(b"hi").unwrap();
    peer.until_unread_on(&io, stream, 2);
    let both = io.block_on(async {
        let exact = op::Recv::new(stream, vec![7; 4]).exact(4).cancelled_by(&token);
        let other = op::Timer::after(Duration::from_secs(1000)).cancelled_by(&token);
        let (waiting, timer) = (nbio::spawn(exact), nbio::spawn(other));
        let asked = token.cancelled();
        let stop = token.clone();
        nbio::spawn(async move {
            sleep(Duration::from_millis(20)).await.unwrap();
            stop.cancel();
        })
        .await
        .unwrap();
        asked.await;
        (waiting.await.unwrap(), timer.await.unwrap())
    });
    let (failed, timer) = both.unwrap();
    let failed = failed.unwrap_err();
    assert_eq!((failed.error.kind(), failed.bytes, &failed.buf[..2]), (ErrorKind::Cancelled, 2, &b"hi"[..]));
    assert_eq!(timer.unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(token.is_cancelled());
    let late = io.block_on(async { op::Recv::new(stream, [0; 3]).cancelled_by(&token).await }).unwrap();
    assert_eq!(late.unwrap_err().error.kind(), ErrorKind::Cancelled);
}

/// Issue 7: a callback can wake a task, and a task can submit a callback.
fn mixed(subject: &Subject) {
    let io: Io = subject.io();
    let (waker, told) = (Rc::new(RefCell::new(None::<Waker>)), Rc::new(Cell::new(false)));
    let (place, flag) = (waker.clone(), told.clone());
    let task = io.spawn(poll_fn(move |context| {
        *place.borrow_mut() = Some(context.waker().clone());
        if flag.get() { Poll::Ready(()) } else { Poll::Pending }
    }));
    // The task begins before the timer does.
    io.tick(Some(Duration::ZERO)).unwrap();
    io.timer(Duration::from_millis(1), move |_, io, _| {
        told.set(true);
        waker.take().unwrap().wake();
        drop(io.spawn(async {}));
        drop(nbio::spawn(async {}));
    });
    io.run().unwrap();
    assert!(task.is_finished());
    let rung = Rc::new(Cell::new(0));
    let bell = rung.clone();
    let timer = op::Timer::after(Duration::from_millis(1));
    io.spawn(async move { task::submit(timer, move |ended| bell.set(1 + i32::from(ended.is_ok()))) }).abort();
    io.run().unwrap();
    assert_eq!(rung.get(), 0, "aborted before its first poll");
    let bell = rung.clone();
    drop(io.spawn(async move { task::submit(op::NextTick::new(), move |_| bell.set(1)).map(drop) }));
    io.run().unwrap();
    assert_eq!(rung.get(), 1);
    // What rests counts for nothing.
    let mut tick = op::NextTick::new().into_future();
    io.block_on(async { assert!(poll_once(&mut tick).is_pending()) }).unwrap();
    io.run().unwrap();
    assert_eq!(io.in_flight(), 0);
    io.tick(None).unwrap();
    assert!(poll_once(&mut tick).is_ready());
}

/// Guarantee 5: what was with the system when the loop was dropped comes back, cancelled, to a future that is still there.
fn after_the_loop(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, _peer) = subject.pair(&io);
    let (listener, address) = listen(&io);
    let owned = io.own(listener).unwrap();
    let mut futures =
        (op::Recv::new(stream, vec![5; 6]).into_future(), op::Accept::new(listener).into_future());
    let mut connect = op::Connect::new(address).into_future();
    let mut fresh = op::Recv::new(stream, vec![1]).into_future();
    io.block_on(async {
        assert!(poll_once(&mut futures.0).is_pending() && poll_once(&mut futures.1).is_pending());
        assert!(poll_once(&mut connect).is_pending());
    })
    .unwrap();
    subject.hand_over(&io);
    drop(io);
    let Poll::Ready(Err(failed)) = poll_once(&mut futures.0) else { panic!("it has ended") };
    assert_eq!((failed.error.kind(), failed.bytes, failed.buf), (ErrorKind::Cancelled, 0, vec![]));
    assert!(poll_once(&mut futures.1).is_ready());
    drop((futures, connect, owned));
    assert!(poll_once(&mut fresh).is_ready());
}
