//! Panics, re-entrancy, and what user code may do in its `Drop`. Guarantee 11.

use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::{Rc, Weak};
use std::time::Duration;

use nbio::{Error, ErrorKind, Event, EventLoop, IoBuf, IoBufMut, Lent, OpId, Operation, TcpStream, op};

use crate::hanging::{HOUR, idle};
use crate::support::{Case, Counted, Drops, Slot, Subject};

pub const CASES: &[Case] = &[
    Case { name: "panic_reaches_the_caller_and_the_rest_runs_next", run: panic_reaches_the_caller },
    Case { name: "panic_counts_as_run", run: panic_counts_as_run },
    Case { name: "panicked_interval_is_over", run: panicked_interval_is_over },
    Case { name: "panic_of_the_end_of_an_interval", run: panic_of_the_end_of_an_interval },
    Case { name: "panic_in_the_predicate_of_run_until", run: panic_in_the_predicate_of_run_until },
    Case { name: "panic_of_a_buffer_in_submit_submits_nothing", run: panic_of_a_buffer_in_submit },
    Case { name: "drop_code_may_use_the_loop_everywhere", run: drop_code_may_use_the_loop_everywhere },
    Case {
        name: "drop_of_a_removed_callback_may_turn_the_loop",
        run: drop_of_a_removed_callback_may_turn_the_loop,
    },
    Case { name: "drop_code_finds_no_loop_in_its_tear_down", run: drop_code_finds_no_loop_in_its_tear_down },
    Case {
        name: "panics_that_panic_do_not_cut_the_tear_down_short",
        run: panics_that_panic_in_the_tear_down,
    },
    Case { name: "ticking_in_a_callback_is_refused_without_effect", run: ticking_in_a_callback_is_refused },
    Case { name: "another_loop_lives_inside_a_callback", run: another_loop_lives_inside_a_callback },
    Case { name: "panic_passes_through_nested_loops", run: panic_passes_through_nested_loops },
];

/// Panics without a word on stderr.
pub fn boom() -> ! {
    resume_unwind(Box::new("boom"))
}

/// The action panicked with `boom`.
pub fn booms<R>(action: impl FnOnce() -> R) -> bool {
    match catch_unwind(AssertUnwindSafe(action)) {
        Ok(_) => false,
        Err(panic) if panic.downcast_ref::<&str>() == Some(&"boom") => true,
        Err(other) => resume_unwind(other),
    }
}

/// Does something when dropped.
pub struct OnDrop(Option<Box<dyn FnOnce()>>);

impl OnDrop {
    pub fn new(action: impl FnOnce() + 'static) -> OnDrop {
        OnDrop(Some(Box::new(action)))
    }
}

impl Drop for OnDrop {
    fn drop(&mut self) {
        if let Some(action) = self.0.take() {
            action();
        }
    }
}

/// The loop does what it always did.
fn assert_works(subject: &Subject, io: &EventLoop) {
    let (stream, mut peer) = subject.pair(io);
    let ended = Slot::new();
    let seen = ended.clone();
    io.recv_exact(stream, [0; 8], 5, move |_, io, done| {
        seen.put(done.data().to_vec());
        io.close(stream);
    });
    peer.write_all(b"works").unwrap();
    let seen = ended.clone();
    io.timer(Duration::from_micros(1), move |_, _, _| seen.put(b"timer".to_vec()));
    while ended.len() < 2 {
        // Not without a limit: another timer may be waiting for an hour, and what is awaited here need not come last.
        io.tick(Some(Duration::from_millis(1))).unwrap();
    }
    let mut ended = ended.take();
    ended.sort();
    assert_eq!(ended, [b"timer".to_vec(), b"works".to_vec()]);
}

type Turn = fn(&EventLoop) -> Result<(), Error>;

/// Every way to run callbacks.
const TURNS: [Turn; 4] =
    [|io| io.tick(None), |io| io.run(), |io| io.run_until(|| false), |io| io.drain(HOUR).map(|_| ())];

/// Guarantee 11: the panic comes out of `tick` and its kin; those behind it run in the next tick, in order.
fn panic_reaches_the_caller(subject: &Subject) {
    for turn in TURNS {
        let io: EventLoop = subject.io();
        let order = Slot::new();
        for nth in 0..6 {
            let order = order.clone();
            io.next_tick(move |_, _, _| {
                order.put(nth);
                if nth == 1 || nth == 3 {
                    boom();
                }
            });
        }
        assert!(booms(|| turn(&io)));
        assert_eq!((order.take(), io.in_flight()), (vec![0, 1], 4));
        assert!(booms(|| turn(&io)));
        assert_eq!(order.take(), [2, 3]);
        io.tick(None).unwrap();
        assert_eq!((order.take(), io.in_flight()), (vec![4, 5], 0));
        assert_works(subject, &io);
    }
}

/// Guarantee 11: as with a completion, so with a timer: it ran, its name is stale, its captures are dropped.
fn panic_counts_as_run(subject: &Subject) {
    let io: EventLoop = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    let drops = Drops::new();
    let [one, two] = [0; 2].map(|_| drops.counted());
    peer.write_all(b"x").unwrap();
    let recv = io.recv(stream, [0; 8], move |_, _, _| panics_with(one));
    assert!(booms(|| io.run()));
    let timer = io.timer(Duration::ZERO, move |_, _, _| panics_with(two));
    let other = Slot::new();
    let seen = other.clone();
    io.timer(Duration::ZERO, move |_, _, _| seen.put(()));
    assert!(booms(|| io.run()));
    assert_eq!(other.len(), 0, "in the next tick");
    io.tick(None).unwrap();
    other.one();
    assert!(!io.cancel(recv) && !io.cancel(timer));
    assert_eq!((drops.count(), io.in_flight()), (2, 0));
    assert_works(subject, &io);
}

fn panics_with(_captured: Counted) {
    boom()
}

/// Guarantee 11: an interval whose callback panicked is over, and its closure is dropped.
fn panicked_interval_is_over(subject: &Subject) {
    let io: EventLoop = subject.io();
    let drops = Drops::new();
    let counted = drops.counted();
    let mut items = 0;
    let interval = io.interval(Duration::from_micros(100), move |_, io, event| {
        let _counted = &counted;
        assert!(matches!(event, Event::Item(_)), "no end comes after a panic");
        items += 1;
        // What it asked for itself before it panicked changes nothing.
        if items == 3 {
            io.next_tick(|_, _, _| ());
            boom();
        }
    });
    assert!(booms(|| io.run()));
    assert_eq!((drops.count(), io.in_flight()), (1, 1));
    assert!(!io.cancel(interval) && !io.remove(interval) && !io.reset(interval, HOUR));
    io.run().unwrap();
    assert_eq!(io.in_flight(), 0);
    assert_works(subject, &io);
}

fn panic_of_the_end_of_an_interval(subject: &Subject) {
    for cancelled_inside in [false, true] {
        let io: EventLoop = subject.io();
        let drops = Drops::new();
        let counted = drops.counted();
        let ids: Slot<OpId> = Slot::new();
        let known = ids.clone();
        let interval = io.interval(Duration::from_micros(100), move |_, io, event| {
            let _counted = &counted;
            match event {
                Event::Item(_) => known.take().into_iter().for_each(|id| assert!(io.cancel(id))),
                Event::End(_) => boom(),
            }
        });
        if cancelled_inside {
            ids.put(interval)
        } else {
            assert!(io.cancel(interval))
        }
        assert!(booms(|| io.run()));
        assert_eq!((drops.count(), io.in_flight()), (1, 0));
        assert_works(subject, &io);
    }
}

fn panic_in_the_predicate_of_run_until(subject: &Subject) {
    let io: EventLoop = subject.io();
    let ran = Slot::new();
    let seen = ran.clone();
    io.next_tick(move |_, _, _| seen.put(()));
    assert!(booms(|| io.run_until(|| boom())));
    ran.one();
    assert_works(subject, &io);
}

/// A buffer that panics when it is asked for its memory.
struct Refuses(#[allow(dead_code, reason = "for its Drop")] OnDrop);

impl IoBuf for Refuses {
    fn bytes(&self) -> &[u8] {
        boom()
    }
}

impl IoBufMut for Refuses {
    fn as_uninit(&mut self) -> Lent<'_> {
        boom()
    }
}

fn refuses(drops: &Drops) -> Refuses {
    let counted = drops.counted();
    Refuses(OnDrop::new(move || drop(counted)))
}

/// Guarantee 11: the slot is freed, buffer and closure are dropped, the panic reaches the caller.
fn panic_of_a_buffer_in_submit(subject: &Subject) {
    let io: EventLoop = subject.io();
    let (stream, _peer) = subject.pair(&io);
    let (buffers, callbacks) = (Drops::new(), Drops::new());
    for round in 1..=100 {
        let [one, two, three, four] = [0; 4].map(|_| callbacks.counted());
        assert!(booms(|| io.send(stream, refuses(&buffers), move |_, _, _| drop(one))));
        assert!(booms(|| io.recv(stream, refuses(&buffers), move |_, _, _| drop(two))));
        let bufs = [refuses(&buffers), refuses(&buffers)];
        assert!(booms(|| io.send_vectored(stream, bufs, move |_, _, _| drop(three))));
        let bufs = vec![refuses(&buffers), refuses(&buffers)];
        assert!(booms(|| io.recv_vectored(stream, bufs, move |_, _, _| drop(four))));
        assert_eq!((callbacks.count(), buffers.count(), io.in_flight()), (4 * round, 6 * round, 0));
    }
    assert_works(subject, &io);
}

/// What drop code does to the loop.
#[derive(Copy, Clone, Debug, PartialEq)]
enum Act {
    Panic,
    Submit,
    Cancel,
    Remove,
    Close,
    Turn,
}

/// Where nbio drops what is the user's.
#[derive(Copy, Clone, Debug, PartialEq)]
enum Place {
    AfterCallback,
    ReturnedBuffer,
    AfterPanic,
    IntervalEnd,
    IntervalRemovedInside,
    RemoveNow,
    RemoveLate,
    RemoveLateBuffer,
    SubmitPanic,
    Drain,
}

/// A buffer that does something when dropped.
struct Acting([u8; 8], #[allow(dead_code, reason = "for its Drop")] OnDrop);

impl IoBuf for Acting {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl IoBufMut for Acting {
    fn as_uninit(&mut self) -> Lent<'_> {
        Lent::from(&mut self.0[..])
    }
}

/// Drop code that does `act`, and says so in `acted`.
fn acting(subject: &Subject, io: &Rc<EventLoop>, act: Act, acted: &Slot<Act>) -> OnDrop {
    let timer = io.timer(HOUR, |_, _, _| ());
    let (stream, _peer) = subject.pair(io);
    let (weak, acted): (Weak<EventLoop>, _) = (Rc::downgrade(io), acted.clone());
    OnDrop::new(move || {
        acted.put(act);
        let io = weak.upgrade().expect("the loop lives");
        match act {
            Act::Panic => boom(),
            Act::Submit => {
                io.recv(stream, [0; 300], |_, _, _| ());
                io.timer(Duration::ZERO, |_, _, _| ());
            }
            Act::Cancel => assert!(io.cancel(timer)),
            Act::Remove => assert!(io.remove(timer)),
            Act::Close => io.close(stream),
            // Refused inside a tick, and good outside.
            Act::Turn => drop(io.tick(Some(Duration::ZERO))),
        }
    })
}

fn drop_at(place: Place, io: &Rc<EventLoop>, stream: TcpStream, acting: OnDrop) {
    let turn = || io.tick(Some(Duration::ZERO)).unwrap();
    let turns = || (0..3).for_each(|_| io.tick(Some(Duration::from_millis(1))).unwrap());
    match place {
        Place::AfterCallback => {
            io.next_tick(move |_, _, _| drop(acting));
            turn();
        }
        Place::ReturnedBuffer => {
            io.send(stream, Acting([1; 8], acting), |_, _, _| ());
            turns();
        }
        Place::AfterPanic => {
            io.next_tick(move |_, _, _| {
                let _acting = acting;
                boom()
            });
            assert!(booms(turn));
        }
        Place::IntervalEnd => {
            let id = io.interval(HOUR, move |_, _, _| assert_eq!(size_of_val(&acting), size_of::<OnDrop>()));
            assert!(io.cancel(id));
            turn();
        }
        Place::IntervalRemovedInside => {
            let ids: Slot<OpId> = Slot::new();
            let known = ids.clone();
            ids.put(io.interval(Duration::from_nanos(1), move |_, io, _| {
                assert_eq!(size_of_val(&acting), size_of::<OnDrop>());
                assert!(io.remove(known.one()));
            }));
            turns();
        }
        Place::RemoveNow => {
            let id = io.timer(HOUR, move |_, _, _| drop(acting));
            assert!(io.remove(id));
        }
        Place::RemoveLate => {
            let id = io.recv(stream, [0; 4], move |_, _, _| drop(acting));
            turn();
            assert!(io.remove(id));
        }
        Place::RemoveLateBuffer => {
            let id = io.recv(stream, Acting([1; 8], acting), |_, _, _| ());
            turn();
            assert!(io.remove(id));
            turns();
        }
        Place::SubmitPanic => {
            assert!(booms(|| io.send(stream, Refuses(OnDrop(None)), move |_, _, _| drop(acting))));
        }
        Place::Drain => {
            io.timer(HOUR, move |_, _, _| drop(acting));
            assert_eq!(io.drain(Duration::from_secs(5)), Ok(0));
        }
    }
}

/// Guarantee 11: whatever drop code does, wherever nbio drops it, it is dropped once and the loop goes on.
fn drop_code_may_use_the_loop_everywhere(subject: &Subject) {
    let places = [
        Place::AfterCallback,
        Place::ReturnedBuffer,
        Place::AfterPanic,
        Place::IntervalEnd,
        Place::IntervalRemovedInside,
        Place::RemoveNow,
        Place::RemoveLate,
        Place::RemoveLateBuffer,
        Place::SubmitPanic,
        Place::Drain,
    ];
    for place in places {
        for act in [Act::Panic, Act::Submit, Act::Cancel, Act::Remove, Act::Close, Act::Turn] {
            // A panic during a panic ends any program. And a drain has cancelled the timer before.
            let unwinding = matches!(place, Place::AfterPanic | Place::SubmitPanic);
            if act == Act::Panic && unwinding
                || matches!(act, Act::Cancel | Act::Remove) && place == Place::Drain
            {
                continue;
            }
            let io = Rc::new(subject.io());
            let (stream, _peer) = subject.pair(&io);
            let acted = Slot::new();
            let acting = acting(subject, &io, act, &acted);
            let panicked = booms(|| drop_at(place, &io, stream, acting));
            assert_eq!(panicked, act == Act::Panic, "{place:?} {act:?}");
            assert_eq!(acted.take(), [act], "{place:?}");
            assert_works(subject, &io);
            assert_eq!(io.drain(Duration::from_secs(5)), Ok(0), "{place:?} {act:?}");
        }
    }
}

/// Guarantee 11: a callback that is dropped by `remove` is out of its slot before user code runs, which may free
/// that slot and use it again.
fn drop_of_a_removed_callback_may_turn_the_loop(subject: &Subject) {
    struct Captured {
        _turns: OnDrop,
        behind: [Counted; 8],
    }
    let io: Rc<EventLoop> = Rc::new(subject.io());
    let (stream, _peer) = subject.pair(&io);
    let drops = Drops::new();
    let weak = Rc::downgrade(&io);
    let turns = OnDrop::new(move || {
        let io = weak.upgrade().expect("the loop lives");
        idle(&io);
        for _ in 0..4 {
            io.recv(stream, [0xAA_u8; 100], |_, _, _| ());
        }
    });
    let captured = Captured { _turns: turns, behind: [0; 8].map(|_| drops.counted()) };
    let recv = io.recv(stream, [0; 8], move |_, _, _| assert_eq!({ captured }.behind.len(), 0));
    io.tick(Some(Duration::ZERO)).unwrap();
    assert!(io.remove(recv));
    assert_eq!((drops.count(), io.in_flight()), (8, 4));
    assert_eq!(io.cancel_all(stream), Ok(4));
    io.run().unwrap();
    assert_works(subject, &io);
}

/// Guarantee 11: nothing can be submitted to a loop that is being torn down; the drop code runs all the same.
fn drop_code_finds_no_loop_in_its_tear_down(subject: &Subject) {
    let io: Rc<EventLoop> = Rc::new(subject.io());
    let (stream, _peer) = subject.pair(&io);
    let found = Slot::new();
    for _ in 0..3 {
        let (weak, seen) = (Rc::downgrade(&io), found.clone());
        let on_drop = OnDrop::new(move || seen.put(weak.upgrade().is_some()));
        io.recv(stream, Acting([0; 8], on_drop), |_, _, _| ());
        let (weak, seen) = (Rc::downgrade(&io), found.clone());
        let on_drop = OnDrop::new(move || seen.put(weak.upgrade().is_some()));
        io.timer(HOUR, move |_, _, _| drop(on_drop));
    }
    io.tick(Some(Duration::ZERO)).unwrap();
    drop(io);
    assert_eq!(found.take(), [false; 6]);
}

/// What somebody panics with, and what panics itself.
struct Bomb(i32);

impl Drop for Bomb {
    fn drop(&mut self) {
        boom();
    }
}

/// Guarantees 5 and 11: when the loop is dropped everything goes, also when callbacks panic as they are dropped, and what
/// they panic with does so, too. The first panic comes out.
fn panics_that_panic_in_the_tear_down(subject: &Subject) {
    let io: EventLoop = subject.io();
    let (_stream, mut peer) = subject.pair(&io);
    let dropped = Drops::new();
    for number in 0..3 {
        let counted = dropped.counted();
        let bomb = OnDrop::new(move || {
            let _counted = counted;
            resume_unwind(Box::new(Bomb(number)));
        });
        io.timer(HOUR, move |_, _, _| drop(bomb));
    }
    let panic = catch_unwind(AssertUnwindSafe(|| drop(io))).unwrap_err();
    let bomb = panic.downcast::<Bomb>().expect("what the first one panicked with");
    assert_eq!((bomb.0, dropped.count()), (0, 3));
    assert!(booms(|| drop(bomb)));
    assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0, "what is open is closed");
}

/// Guarantee 11: `Reentrant`, checked before anything else: nothing is run, cancelled or waited for.
fn ticking_in_a_callback_is_refused(subject: &Subject) {
    let io: EventLoop = subject.io();
    let order = Slot::new();
    let seen = order.clone();
    let (stream, _peer) = subject.pair(&io);
    io.recv(stream, [0; 4], |_, _, _| ());
    io.next_tick(move |_, io, _| {
        let behind = seen.clone();
        io.next_tick(move |_, _, result| behind.put(format!("behind {}", result.is_ok())));
        for turn in TURNS {
            assert_eq!(turn(io).unwrap_err().kind(), ErrorKind::Reentrant);
        }
        assert_eq!(io.drain(HOUR).unwrap_err().operation(), op::Kind::Drain);
        io.stop();
        assert_eq!(io.run().unwrap_err().operation(), op::Kind::Tick);
        seen.put("first".into());
    });
    let seen = order.clone();
    io.next_tick(move |_, _, _| seen.put("second".into()));
    // `stop` was not eaten by the refused calls: this returns although the receive waits.
    io.run().unwrap();
    assert_eq!(order.take(), ["first", "second"]);
    assert_eq!(io.in_flight(), 2);
    io.tick(Some(Duration::ZERO)).unwrap();
    assert_eq!(order.take(), ["behind true"]);
    let enough = || io.tick(None).unwrap_err().kind() == ErrorKind::Reentrant;
    io.run_until(enough).unwrap();
    assert_works(subject, &io);
}

/// Another loop is made, run and dropped inside a callback, and one that exists is ticked there.
fn another_loop_lives_inside_a_callback(subject: &Subject) {
    let (own, order) = (subject.clone(), Slot::new());
    let outer: Rc<EventLoop> = Rc::new(subject.io());
    let older: Rc<EventLoop> = Rc::new(subject.io());
    let (stream, _peer) = subject.pair(&older);
    older.recv(stream, [0; 4], |_, _, _| panic!("nothing comes"));
    let (seen, inner, weak) = (order.clone(), older.clone(), Rc::downgrade(&outer));
    outer.next_tick(move |_, outer, _| {
        assert_works(&own, &own.io());
        let fresh: EventLoop = own.io();
        let (stream, _peer) = own.pair(&fresh);
        fresh.recv(stream, [0; 4], |_, _, _| panic!("nothing comes"));
        fresh.tick(Some(Duration::ZERO)).unwrap();
        drop(fresh);
        let (around, seen) = (weak.clone(), seen.clone());
        inner.next_tick(move |_, _, _| {
            let around = around.upgrade().unwrap();
            assert_eq!(around.tick(None).unwrap_err().kind(), ErrorKind::Reentrant);
            around.next_tick(move |_, _, _| seen.put("from the inner loop"));
        });
        inner.tick(Some(Duration::ZERO)).unwrap();
        assert_eq!(outer.in_flight(), 1);
    });
    outer.run().unwrap();
    assert_eq!(order.take(), ["from the inner loop"]);
    assert_eq!(older.in_flight(), 1);
    assert_works(subject, &outer);
    assert_works(subject, &older);
}

/// Guarantee 11: a panic of the inner loop's callback passes through both, or is caught in between; both go on.
fn panic_passes_through_nested_loops(subject: &Subject) {
    let (outer, inner): (EventLoop, Rc<EventLoop>) = (subject.io(), Rc::new(subject.io()));
    for caught in [false, true] {
        let nested = inner.clone();
        let counted = Drops::new();
        let captured = counted.counted();
        outer.next_tick(move |_, _, _| {
            let _captured = captured;
            nested.next_tick(|_, _, _| boom());
            if caught { assert!(booms(|| nested.run())) } else { nested.run().unwrap() }
        });
        assert_eq!(booms(|| outer.run()), !caught);
        assert_eq!(counted.count(), 1);
        assert_works(subject, &outer);
        assert_works(subject, &inner);
    }
    let (stream, _peer) = subject.pair(&outer);
    let send = op::Send::new(stream, refuses(&Drops::new())).all().timeout(HOUR);
    assert!(booms(|| outer.submit(send, |_, _, _| ())));
    assert_works(subject, &outer);
}
