//! What runs in which tick, in which order, and how much of it. Guarantees 1, 2 and 9.

use std::cell::Cell;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

use nbio::{Error, ErrorKind, Event, EventLoop, Half, OpId, Operation, TcpStream, op};

use crate::hanging::{HOUR, Hanging, TOO_MUCH, narrow_pair};
use crate::support::{Case, Slot, Subject, own_address};

pub const CASES: &[Case] = &[
    Case { name: "no_callback_runs_inside_submit", run: no_callback_runs_inside_submit },
    Case { name: "a_tick_never_runs_what_it_submits", run: a_tick_never_runs_what_it_submits },
    Case { name: "next_ticks_run_in_submission_order", run: next_ticks_run_in_submission_order },
    Case { name: "completion_budget_of_one", run: completion_budget_of_one },
    Case { name: "timer_budget_of_one", run: timer_budget_of_one },
    Case { name: "budgets_of_one_still_do_everything", run: budgets_of_one_still_do_everything },
    Case { name: "nobody_starves", run: nobody_starves },
];

/// What was submitted and is to end how, and what has ended how.
struct Ledger {
    expected: Vec<Option<ErrorKind>>,
    ended: Slot<(usize, Option<ErrorKind>)>,
}

impl Ledger {
    /// The callback for an operation that ends with this error, or well.
    fn expect(&mut self, kind: impl Into<Option<ErrorKind>>) -> Box<dyn FnOnce(Result<(), Error>)> {
        assert_eq!(self.ended.len(), 0, "no callback runs inside submit");
        let (nth, seen) = (self.expected.len(), self.ended.clone());
        self.expected.push(kind.into());
        Box::new(move |result| seen.put((nth, result.err().map(|error| error.kind()))))
    }
}

/// Guarantees 1 and 2: whatever is wrong with it, the callback runs later, and once.
fn no_callback_runs_inside_submit(subject: &Subject) {
    let (io, other): (EventLoop, EventLoop) = (subject.io(), subject.io());
    let mut ledger = Ledger { expected: Vec::new(), ended: Slot::new() };
    let (foreign, _foreign_peer) = subject.pair(&other);
    let (stale, _stale_peer) = subject.pair(&io);
    let (stream, _peer) = subject.pair(&io);
    let (shut, _shut_peer) = subject.pair(&io);
    let listener = io.listen_tcp(([127, 0, 0, 1], 0)).unwrap();
    io.close(stale);
    io.close(listener);
    for (handle, kind) in [(stale, ErrorKind::StaleHandle), (foreign, ErrorKind::WrongLoop)] {
        submit_to_no_handle(&io, handle, kind, &mut ledger);
    }
    let end = ledger.expect(ErrorKind::StaleHandle);
    io.accept(listener, move |_, _, accepted| end(accepted.map(drop)));
    submit_what_ends_at_once(&io, stream, shut, &mut ledger);
    // More than any ring of the subjects holds.
    for _ in 0..3_000 {
        let end = ledger.expect(None);
        io.close_then(something_open(&io), move |_, _, closed| end(closed));
    }
    assert_eq!(ledger.ended.len(), 0);
    io.run().unwrap();
    let mut ended = ledger.ended.take();
    ended.sort_by_key(|end| end.0);
    assert!(ended.iter().map(|end| end.0).eq(0..ledger.expected.len()), "each ends exactly once");
    for (nth, kind) in ended {
        assert_eq!(kind, ledger.expected[nth], "number {nth}");
    }
}

fn submit_to_no_handle(io: &EventLoop, handle: TcpStream, kind: ErrorKind, ledger: &mut Ledger) {
    let end = ledger.expect(kind);
    io.recv(handle, [0; 4], move |_, _, done| end(done.result));
    let end = ledger.expect(kind);
    io.recv_vectored(handle, [[0; 4]; 2], move |_, _, done| end(done.result));
    let end = ledger.expect(kind);
    io.send(handle, "x", move |_, _, done| end(done.result));
    let end = ledger.expect(kind);
    io.send_vectored(handle, ["x"], move |_, _, done| end(done.result));
    let end = ledger.expect(kind);
    io.shutdown(handle, Half::Write, move |_, _, shut| end(shut));
    let end = ledger.expect(kind);
    io.close_then(handle, move |_, _, closed| end(closed));
    let end = ledger.expect(kind);
    io.close_gracefully(handle, HOUR, move |_, _, closed| end(closed));
}

/// Bad input, nothing to do, refused. `shut` will have both halves shut down.
fn submit_what_ends_at_once(io: &EventLoop, stream: TcpStream, shut: TcpStream, ledger: &mut Ledger) {
    let end = ledger.expect(None);
    io.shutdown(shut, Half::Both, move |_, _, result| end(result));
    let end = ledger.expect(ErrorKind::InvalidInput);
    io.recv(stream, [0; 0], move |_, _, done| end(done.result));
    let end = ledger.expect(ErrorKind::InvalidInput);
    io.recv_exact(stream, [0; 4], 5, move |_, _, done| end(done.result));
    let end = ledger.expect(ErrorKind::InvalidInput);
    io.recv_vectored(stream, vec![[0; 1]; 1025], move |_, _, done| end(done.result));
    let end = ledger.expect(ErrorKind::InvalidInput);
    io.send_vectored(stream, vec!["x"; 1025], move |_, _, done| end(done.result));
    let end = ledger.expect(None);
    io.recv_exact(stream, [0; 4], 0, move |_, _, done| end(done.result));
    let end = ledger.expect(None);
    io.send(stream, "", move |_, _, done| end(done.result));
    let end = ledger.expect(None);
    io.recv(shut, [0; 4], move |_, _, done| end(done.result));
    let end = ledger.expect(ErrorKind::BrokenPipe);
    io.send(shut, "x", move |_, _, done| end(done.result));
    let end = ledger.expect(None);
    io.next_tick(move |_, _, result| end(result));
    let end = ledger.expect(None);
    io.timer(Duration::ZERO, move |_, _, result| end(result));
    let end = ledger.expect(ErrorKind::AddrNotAvailable);
    let connect = op::Connect::new(([127, 0, 0, 1], 1)).from(([192, 0, 2, 1], 0));
    io.submit(connect, move |_, _, connected| end(connected.map(drop)));
}

/// Something open that costs one descriptor.
fn something_open(io: &EventLoop) -> nbio::TcpListener {
    io.listen_tcp(own_address()).unwrap()
}

/// Which callback ran in which tick.
#[derive(Clone)]
struct Log {
    tick: Rc<Cell<u32>>,
    ran: Slot<(&'static str, u32)>,
}

impl Log {
    fn note(&self, name: &'static str) -> impl FnOnce() + 'static {
        let log = self.clone();
        move || log.ran.put((name, log.tick.get()))
    }
}

/// All that ends without the system's help.
fn submit_immediate_ends(io: &EventLoop, stream: TcpStream, stale: TcpStream, far: OpId, log: &Log) {
    let end = log.note("next tick");
    io.next_tick(move |_, _, _| end());
    let end = log.note("zero timer");
    io.timer(Duration::ZERO, move |_, _, _| end());
    let end = log.note("past timer");
    io.submit(op::Timer::at(io.now() - HOUR), move |_, _, _| end());
    let end = log.note("cancelled timer");
    let timer = io.timer(HOUR, move |_, _, _| end());
    assert!(io.cancel(timer));
    let end = log.note("cancelled while queued");
    let recv = io.recv(stream, [0; 4], move |_, _, _| end());
    assert!(io.cancel(recv));
    let end = log.note(LATE);
    io.submit(op::Recv::new(stream, [0; 4]).deadline(io.now() - HOUR), move |_, _, _| end());
    let end = log.note("stale");
    io.recv(stale, [0; 4], move |_, _, _| end());
    let end = log.note("bad input");
    io.recv(stream, [0; 0], move |_, _, _| end());
    let end = log.note("nothing to send");
    io.send(stream, "", move |_, _, _| end());
    assert!(io.reset(far, Duration::ZERO));
}

/// What a deadline ends in a tick is called back in the one after it.
const LATE: &str = "past deadline while queued";

/// Guarantees 1 and 9: each kind of immediate end, submitted in a callback, runs in the very next tick.
fn a_tick_never_runs_what_it_submits(subject: &Subject) {
    let io: EventLoop = subject.io();
    let (stream, _peer) = subject.pair(&io);
    let (stale, _stale_peer) = subject.pair(&io);
    io.close(stale);
    io.recv(stream, [0; 4], |_, _, _| ());
    // From a completion's callback and from a timer's.
    for from_timer in [false, true] {
        let log = Log { tick: Rc::new(Cell::new(0)), ran: Slot::new() };
        let end = log.note("reset timer");
        let far = io.timer(HOUR, move |_, _, _| end());
        let known = log.clone();
        let submit = move |io: &EventLoop| submit_immediate_ends(io, stream, stale, far, &known);
        match from_timer {
            false => io.next_tick(move |_, io, _| submit(io)),
            true => io.timer(Duration::ZERO, move |_, io, _| submit(io)),
        };
        for nth in 1..=4 {
            log.tick.set(nth);
            io.tick(Some(Duration::ZERO)).unwrap();
        }
        let ran = log.ran.take();
        assert_eq!(ran.len(), 10);
        for (name, at) in ran {
            assert_eq!(at, 2 + u32::from(name == LATE), "{name}, from timer {from_timer}");
        }
    }
}

fn next_ticks_run_in_submission_order(subject: &Subject) {
    let io: EventLoop<Vec<u32>> = subject.io();
    for nth in 0..5_000 {
        io.next_tick(move |order, _, _| order.push(nth));
    }
    let mut order = Vec::new();
    io.run_with(&mut order).unwrap();
    assert!(order.into_iter().eq(0..5_000));
}

/// Guarantee 9: one callback a tick, in order; what is left over keeps the tick from waiting.
fn completion_budget_of_one(subject: &Subject) {
    let io: EventLoop<Vec<u32>> = subject.builder().completion_budget(1).build().unwrap();
    for nth in 0..5 {
        io.next_tick(move |order: &mut Vec<u32>, _, _| order.push(nth));
    }
    io.timer(HOUR, |_, _, _| ());
    let mut order = Vec::new();
    for ticks in 1..=5 {
        // It would hang if it waited with something left; the last one has nothing.
        io.tick_with(&mut order, if ticks < 5 { None } else { Some(Duration::ZERO) }).unwrap();
        assert!(order.iter().copied().eq(0..ticks));
    }
}

fn timer_budget_of_one(subject: &Subject) {
    let io: EventLoop<Vec<u32>> = subject.builder().timer_budget(1).build().unwrap();
    let at = io.now();
    for nth in 0..5 {
        io.submit(op::Timer::at(at), move |order: &mut Vec<u32>, _, _| order.push(nth));
    }
    io.timer(HOUR, |_, _, _| ());
    let mut order = Vec::new();
    for ticks in 1..=5 {
        io.tick_with(&mut order, if ticks < 5 { None } else { Some(Duration::ZERO) }).unwrap();
        assert!(order.iter().copied().eq(0..ticks));
    }
}

fn budgets_of_one_still_do_everything(subject: &Subject) {
    let io: EventLoop = subject.builder().completion_budget(1).timer_budget(1).build().unwrap();
    let pairs: Vec<_> = (0..20_u8).map(|_| subject.both_ends(&io)).collect();
    let hanging = Hanging::submit_until(subject, &io, |now| now + Duration::from_millis(5));
    let got = Slot::new();
    for (nth, (near, far)) in (0..20_u8).zip(pairs) {
        io.send_all(near, [nth; 10_000], move |_, io, _| io.close(near));
        let seen = got.clone();
        io.recv_exact(far, vec![0; 10_000], 10_000, move |_, _, done| {
            seen.put((done.bytes, done.buf[9_999]))
        });
        io.timer(Duration::from_micros(nth.into()), |_, _, _| ());
    }
    io.run().unwrap();
    let mut got = got.take();
    got.sort();
    assert!(got.into_iter().eq((0..20).map(|nth| (10_000, nth))));
    // With the timers one a tick, a send behind one that timed out is cancelled rather than late itself.
    assert_eq!(hanging.ended.len(), hanging.ids.len());
    hanging.assert_all_dropped();
    assert_eq!(io.drain(HOUR), Ok(0));
}

/// Guarantee 9: endless next ticks, zero timers and cancels leave time for timers and I/O.
fn nobody_starves(subject: &Subject) {
    let io: EventLoop = subject.io();
    fn next(_: &mut (), io: &EventLoop, _: Result<(), nbio::Error>) {
        io.next_tick(next);
        let timer = io.timer(HOUR, |_, _, _| ());
        io.cancel(timer);
    }
    fn zero(_: &mut (), io: &EventLoop, _: Result<(), nbio::Error>) {
        io.timer(Duration::ZERO, zero);
    }
    let (stream, mut peer) = subject.pair(&io);
    let (stuck, _stuck_peer) = narrow_pair(subject, &io);
    for _ in 0..10 {
        io.next_tick(next);
        io.timer(Duration::ZERO, zero);
    }
    io.interval(Duration::ZERO, |_, _, _: Event<u64>| ());
    peer.write_all(b"x").unwrap();
    let done = Slot::new();
    let seen = done.clone();
    io.recv(stream, [0; 4], move |_, _, _| seen.put("recv"));
    let seen = done.clone();
    io.timer(Duration::from_millis(5), move |_, _, _| seen.put("timer"));
    let seen = done.clone();
    let send = op::Send::new(stuck, vec![0; TOO_MUCH]).all().timeout(Duration::from_millis(5));
    io.submit(send, move |_, _, _| seen.put("deadline"));
    io.run_until(|| done.len() == 3).unwrap();
}
