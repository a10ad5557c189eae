//! The tick: the only place where callbacks run.
//!
//! ```text
//! what other threads gave → completions that were there when it began → timers → tasks → submit and wait
//! ```

use std::rc::Rc;
use std::time::Duration;

use super::cancel::Removal;
use super::erased::Context;
use super::finish::Next;
use super::op::{End, Op, Steps};
use super::slots::{Payload, State};
use super::tasks::Current;
use super::{Core, Engine};
use crate::backend::Token;
use crate::op::Kind;
use crate::{Error, ErrorKind, Instant};

/// Takes the mark that a tick is on the stack away, also when a callback panics.
pub(super) struct Ticking<'a> {
    core: &'a Core,
    _current: Current,
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.core.ticking.set(false);
        if let Ok(mut engine) = self.core.engine.try_borrow_mut() {
            engine.earliest = 0;
        }
    }
}

impl Core {
    pub(super) fn begin_ticking(self: &Rc<Core>, kind: Kind) -> Result<Ticking<'_>, Error> {
        if self.ticking.replace(true) {
            return Err(Error::new(ErrorKind::Reentrant, kind));
        }
        Ok(Ticking { core: self, _current: Current::enter(self) })
    }

    /// One turn: runs what is ready, then waits for at most `limit`.
    pub(crate) fn tick(self: &Rc<Core>, context: Context, limit: Option<Duration>) -> Result<(), Error> {
        let _ticking = self.begin_ticking(Kind::Tick)?;
        self.run_ready(context);
        let stopped = self.stop.take();
        let nothing_comes =
            limit.is_none() && self.in_flight() == 0 && !self.has_remote_work() && !self.has_tasks();
        self.wait(if stopped || nothing_comes { Some(Duration::ZERO) } else { limit })
    }

    /// Turns until nothing pending is left, `stop` was called, or `enough` says so.
    pub(crate) fn run(
        self: &Rc<Core>,
        context: Context,
        mut enough: impl FnMut(Context) -> bool,
    ) -> Result<(), Error> {
        let _ticking = self.begin_ticking(Kind::Tick)?;
        loop {
            self.run_ready(context);
            // `enough` first: it may call `stop`, and is asked in every tick.
            let enough = enough(context);
            let over = self.stop.take() || enough || !self.has_work();
            self.wait(over.then_some(Duration::ZERO))?;
            if over {
                return Ok(());
            }
        }
    }

    /// Cancels everything and runs the callbacks until nothing is left or `limit` has passed; says how many
    /// operations are left.
    pub(crate) fn drain(self: &Rc<Core>, context: Context, limit: Duration) -> Result<usize, Error> {
        let _ticking = self.begin_ticking(Kind::Drain)?;
        let deadline = self.now() + limit;
        self.engine.borrow_mut().cancel_everything();
        loop {
            self.run_ready(context);
            // What callbacks have submitted, before waiting for its end.
            self.engine.borrow_mut().cancel_everything();
            let left = deadline - self.now();
            let over =
                left.is_zero() || (self.in_flight() == 0 && !self.has_entries() && !self.has_ready_tasks());
            self.wait(Some(if over { Duration::ZERO } else { left }))?;
            if over {
                self.stop.set(false);
                return Ok(self.in_flight());
            }
        }
    }

    /// Whether `run` goes on.
    fn has_work(&self) -> bool {
        self.engine.borrow().pending > 0 || self.has_tasks() || self.has_remote_work()
    }

    /// Runs what other threads gave, and the callbacks of what has ended and of the timers that are due.
    pub(super) fn run_ready(&self, context: Context) {
        let (start, entries, present, timers) = {
            let mut engine = self.engine.borrow_mut();
            let start = engine.backend.now();
            engine.earliest = start.nanos().saturating_add(1);
            if !engine.starved.is_empty() {
                engine.feed();
            }
            let entries = self.remote.get().map_or(0, |shared| engine.take_over(shared));
            let present = engine.completions.len().min(engine.completion_budget);
            (start, entries, present, engine.timer_budget)
        };
        if entries > 0 {
            self.run_entries(entries, context);
        }
        for _ in 0..present {
            let next = self.engine.borrow_mut().next_due();
            match next.expect("completions are taken out here only") {
                Ok(callback) => self.run_callback(callback, context),
                Err(next) => self.carry_out(next, context),
            }
        }
        for _ in 0..timers {
            let next = self.engine.borrow_mut().next_timer(start);
            let Some(next) = next else { break };
            self.carry_out(next, context);
        }
        if let Some(tasks) = self.tasks.get() {
            self.run_tasks(tasks);
        }
    }

    fn carry_out(&self, next: Next, context: Context) {
        match next {
            Next::Callback(index) => self.complete(index, context),
            Next::Dispose(index) => self.dispose(index),
            Next::Begin(index) => self.begin_course(index),
            Next::Nothing => {}
        }
    }

    /// Hands over what was submitted and waits for a completion, the next timer, or `limit`.
    pub(super) fn wait(&self, limit: Option<Duration>) -> Result<(), Error> {
        let limit = if self.has_ready_tasks() { Some(Duration::ZERO) } else { limit };
        let mut engine = self.engine.borrow_mut();
        let engine = &mut *engine;
        let limit = if !engine.completions.is_empty() {
            Some(Duration::ZERO)
        } else if limit == Some(Duration::ZERO) {
            limit
        } else {
            let timer = engine.timers.next_deadline();
            let timer = timer.map(|at| Instant::from_nanos(at) - engine.backend.now());
            [limit, timer].into_iter().flatten().min()
        };
        self.wait_for_backend(engine, limit)
    }

    /// A repeating callback has returned: its time comes again, unless it was cancelled or removed meanwhile.
    pub(super) fn after_item(&self, index: u32) {
        let removal = {
            let mut engine = self.engine.borrow_mut();
            if engine.rearm_plain(index) { Removal::Refused } else { engine.rearm(index) }
        };
        if removal != Removal::Refused {
            self.carry_out_removal(index, removal);
        }
    }

    /// A repeating callback has panicked: it counts as ended.
    pub(super) fn end_of_panicked(&self, index: u32) {
        let removal = {
            let mut engine = self.engine.borrow_mut();
            engine.slots.header_mut(index).payload = Payload::Parts;
            engine.rearm(index)
        };
        self.carry_out_removal(index, removal);
    }
}

impl Engine {
    /// The next timer that is due at `now`.
    fn next_timer(&mut self, now: Instant) -> Option<Next> {
        let (_, token) = self.timers.pop_due(now.nanos())?;
        let (token, retry) = Token::unpack(token);
        if !retry {
            return Some(self.timer_due(token.index, now.nanos()));
        }
        if self.token(token.index) == token {
            self.retry_due(token.index);
        }
        Some(Next::Nothing)
    }

    /// Tells the item that a repeating operation has, unless it is over; its slot is `Running` from here on.
    pub(super) fn next_item(&mut self, index: u32, item: &mut End) -> bool {
        if self.slots.header(index).state == State::Done {
            return false;
        }
        self.slots.header_mut(index).state = State::Running;
        self.tell(index, item);
        true
    }

    /// Lets a repeating operation wait for its next item, unless it was removed meanwhile.
    #[inline(never)]
    fn rearm(&mut self, index: u32) -> Removal {
        let header = self.slots.header_mut(index);
        if header.payload == Payload::Parts {
            return self.orphan_running(index);
        }
        header.state = State::InFlight;
        let (error, engaged) = (header.error, header.engaged);
        match header.op {
            Op::Steps(Steps { over: Some(over), .. }) => self.end_here(index, over),
            _ if error.is_some() && !engaged => self.end_here(index, error),
            Op::Poll { .. } => self.rearm_poll(index),
            Op::Accept { .. } | Op::RecvMany { .. } => self.rearm_many(index),
            _ if error.is_some() => {
                header.state = State::Cancelling;
                self.cancel_step(index);
            }
            Op::Timer(schedule) => self.set_timer(index, schedule.wake()),
            _ => {}
        }
        Removal::Refused
    }

    /// A repeating poll's callback has returned.
    fn rearm_poll(&mut self, index: u32) {
        let header = self.slots.header(index);
        let descriptor = self.handles.entry(header.handle).descriptor;
        match header.error {
            Some(error) => {
                self.end_early(index, error);
                self.ask_backend(index);
            }
            None if header.engaged => {}
            // The system has ended the shot, though nobody cancelled it. What is always ready would end every one at once.
            None => match self.backend.cold().can_wait(descriptor) {
                Ok(true) => self.shoot(index, false),
                other => self.end_here(index, other.err()),
            },
        }
    }

    /// A repeating operation is over though its callback was on the stack a moment ago, which can now go with the rest.
    fn orphan_running(&mut self, index: u32) -> Removal {
        self.clear_timer(index);
        let header = self.slots.header_mut(index);
        header.payload = Payload::Whole;
        header.state = State::Orphaned;
        let engaged = header.engaged;
        if !header.background {
            self.pending -= 1;
        }
        if engaged {
            self.ask_backend(index);
            return Removal::Later;
        }
        self.note_broken(index);
        self.leave_handle(index);
        Removal::Now
    }

    /// Frees the slot of an operation whose callback is about to run, or leaves it to the backend.
    #[inline]
    pub(super) fn release_or_orphan(&mut self, index: u32) {
        let header = self.slots.header_mut(index);
        if !header.background {
            self.pending -= 1;
        }
        if header.engaged {
            header.state = State::Orphaned;
        } else {
            self.free_slot(index);
        }
    }

    /// Cancels every operation but closes.
    fn cancel_everything(&mut self) {
        for index in 0..self.slots.capacity() {
            let header = self.slots.header(index);
            if header.state != State::Free && !header.inner && !matches!(header.op, Op::Close) {
                self.cancel(index, ErrorKind::Cancelled);
            }
        }
    }
}

impl Token {
    /// As the timer queue keeps it; the high bit of the index marks a retry.
    pub(super) fn pack(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    fn unpack(packed: u64) -> (Token, bool) {
        let index = packed as u32;
        let token = Token { index: index & !RETRY, generation: (packed >> 32) as u32 };
        (token, index & RETRY != 0)
    }

    pub(super) fn retry(self) -> Token {
        Token { index: self.index | RETRY, ..self }
    }
}

const RETRY: u32 = 1 << 31;
