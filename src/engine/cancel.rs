//! Ending things before their time: cancel, remove, deadlines, close.

use std::time::Duration;

use super::finish::Next;
use super::handles::{EntryState, Lane};
use super::op::{Op, Steps, Stops};
use super::slots::{NONE, Payload, State};
use super::{Core, Engine};
use crate::backend::{Outcome, Token};
use crate::handle::{Id, NewId, OpId};
use crate::op::Kind;
use crate::{Error, ErrorKind};

impl Core {
    pub(crate) fn cancel(&self, id: OpId) -> bool {
        let mut engine = self.engine.borrow_mut();
        match engine.find_operation(id) {
            Some(index) => engine.cancel(index, ErrorKind::Cancelled),
            None => false,
        }
    }

    pub(crate) fn cancel_all(&self, handle: Id) -> Result<usize, Error> {
        let mut engine = self.engine.borrow_mut();
        let entry = engine.find_handle(handle, Kind::CancelAll)?;
        Ok(engine.cancel_entry(entry, &Lane::ALL))
    }

    pub(crate) fn remove(&self, id: OpId) -> bool {
        let Some(index) = self.engine.borrow().find_operation(id) else { return false };
        let removal = self.engine.borrow_mut().remove(index);
        self.carry_out_removal(index, removal);
        removal != Removal::Refused
    }

    /// What remains to be done for a remove.
    pub(super) fn carry_out_removal(&self, index: u32, removal: Removal) {
        match removal {
            Removal::Now => self.dispose(index),
            Removal::Later => self.drop_callback(index),
            Removal::Refused | Removal::Marked => {}
        }
    }

    /// Gives an open handle a name that only the caller knows, and cancels what doesn't send.
    pub(crate) fn rename(&self, handle: Id) -> Result<NewId, Error> {
        let mut engine = self.engine.borrow_mut();
        let entry = engine.find_handle(handle, Kind::CloseGracefully)?;
        engine.handles.make_stale(entry);
        engine.handles.entry_mut(entry).discarding = true;
        engine.cancel_entry(entry, &[Lane::Receive, Lane::Free]);
        Ok(NewId(engine.handles.id(entry, engine.number.get())))
    }

    pub(crate) fn reset(&self, timer: OpId, duration: Duration) -> bool {
        let mut engine = self.engine.borrow_mut();
        let Some(index) = engine.find_operation(timer) else { return false };
        let at = engine.backend.now() + duration;
        engine.reset(index, at.nanos())
    }

    pub(crate) fn close(&self, handle: Id) {
        let mut engine = self.engine.borrow_mut();
        if let Ok(entry) = engine.find_handle(handle, Kind::Close) {
            engine.close_entry(entry);
        }
    }
}

/// How long a cancel that told a thread of the system's waits before it is asked again, in nanoseconds.
const CANCEL_PAUSE: u64 = 2_000_000;

/// What remains to be done for a remove, outside the engine's borrow.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Removal {
    /// It has ended already, or was not removed at all.
    Refused,
    /// The payload goes and the slot with it.
    Now,
    /// The callback goes; the buffer stays until the backend lets go.
    Later,
    /// Its callback is running; it goes when that returns.
    Marked,
}

impl Engine {
    /// Asks that an operation end; says whether it is still to end.
    pub(super) fn cancel(&mut self, index: u32, reason: ErrorKind) -> bool {
        let header = self.slots.header(index);
        let error = Error::new(reason, header.kind);
        match header.state {
            State::Queued => {
                self.end_here(index, Some(error));
                self.cancel_step(index);
            }
            State::InFlight => match header.op {
                Op::Steps(Steps { waiting: true, .. }) => {
                    self.slots.header_mut(index).engaged = false;
                    self.end_here(index, Some(error));
                    self.cancel_step(index);
                }
                Op::Timer(_) => self.end_here(index, Some(error)),
                Op::Blocking { .. } => self.cancel_job(index, error),
                Op::Close => self.end_early(index, error),
                ref op if op.ends_early() => {
                    self.end_early(index, error);
                    self.ask_backend(index);
                }
                _ => {
                    let header = self.slots.header_mut(index);
                    header.state = State::Cancelling;
                    header.error = Some(error);
                    self.ask_backend(index);
                }
            },
            // The first who asked wins.
            State::Cancelling => {}
            // Removed by its own callback, which is still running.
            State::Running if header.payload == Payload::Parts => return false,
            // A repeating callback that ends itself: `after_item` looks at this.
            State::Running => {
                let header = self.slots.header_mut(index);
                header.error = header.error.or(Some(error));
            }
            State::Free | State::Placing | State::Orphaned | State::Done => return false,
        }
        true
    }

    /// Ends an operation that lends the system no memory: its callback doesn't wait for the system. What the
    /// system still brings is closed.
    pub(super) fn end_early(&mut self, index: u32, error: Error) {
        self.clear_timer(index);
        let header = self.slots.header_mut(index);
        header.error = Some(error);
        header.state = State::Done;
        self.announce(index);
    }

    /// Ends a job that has not begun. For most that have, there is only waiting.
    fn cancel_job(&mut self, index: u32, error: Error) {
        if self.withdraw(index) {
            return self.end_here(index, Some(error));
        }
        let header = self.slots.header_mut(index);
        if matches!(header.op, Op::Blocking { stops: Stops::AtOnce, .. }) {
            return self.end_early(index, error);
        }
        header.state = State::Cancelling;
        header.error = Some(error);
    }

    /// Takes a job back from the backend, if it has not begun. If it has, it can't be stopped.
    fn withdraw(&mut self, index: u32) -> bool {
        let Op::Blocking { ticket, .. } = self.slots.header(index).op else { return false };
        let withdrawn = self.backend.cold().withdraw(ticket);
        if withdrawn {
            self.slots.header_mut(index).engaged = false;
        }
        withdrawn
    }

    pub(super) fn ask_backend(&mut self, index: u32) {
        let token = self.token(index);
        let header = self.slots.header(index);
        if matches!(header.op, Op::Steps(_)) {
            return self.cancel_step(index);
        }
        if header.engaged && !matches!(header.op, Op::Blocking { .. }) {
            self.backend.cold().cancel(token, header.readiness);
        }
    }

    /// A cancel found nothing. If the backend has the shot all the same, it is asked again.
    pub(super) fn cancel_missed(&mut self, index: u32) {
        let asked =
            matches!(self.slots.header(index).state, State::Cancelling | State::Orphaned | State::Done);
        if asked || self.disturbed.contains(&self.token(index)) {
            self.ask_backend(index);
        }
    }

    /// A cancel has interrupted a thread of the system's. The kernel may do that just when the thread lets go of the shot in
    /// order to wait for readiness, and the cancel is lost: if the shot isn't over soon, it is asked again.
    pub(super) fn cancel_told(&mut self, index: u32, token: Token) {
        if matches!(self.slots.header(index).state, State::Cancelling | State::Orphaned | State::Done) {
            let at = self.backend.now().nanos() + CANCEL_PAUSE;
            self.timers.insert(at, token.retry().pack());
        }
    }

    /// Cancels what waits on a handle; says how many operations that were.
    pub(super) fn cancel_entry(&mut self, entry: u32, lanes: &[Lane]) -> usize {
        let mut count = 0;
        for &lane in lanes {
            // From the back: nobody's turn comes just to be cancelled. Ending one unlinks it and no other.
            let mut index = self.handles.entry(entry).list(lane).tail;
            while index != NONE {
                let previous = self.slots.header(index).previous;
                count += usize::from(self.cancel(index, ErrorKind::Cancelled));
                index = previous;
            }
        }
        count
    }

    /// The deadline of an operation has come, or a timer fires. What has to be done outside the borrow.
    pub(super) fn timer_due(&mut self, index: u32, now: u64) -> Next {
        self.slots.header_mut(index).timer = super::timers::TimerKey::NONE;
        let header = self.slots.header_mut(index);
        let kind = header.kind;
        match &mut header.op {
            // If both have come, what counts is which came first.
            Op::Timer(schedule) if schedule.next <= now.min(schedule.until) => {
                // Missed periods are counted, not made up for.
                match (now - schedule.next).checked_div(schedule.period) {
                    None => self.settle(index, None),
                    Some(missed) => {
                        schedule.expirations = missed + 1;
                        let passed = schedule.period.saturating_mul(missed + 1);
                        schedule.next = schedule.next.saturating_add(passed);
                    }
                }
                Next::Callback(index)
            }
            Op::Timer(_) => {
                self.settle(index, Some(Error::new(ErrorKind::TimedOut, kind)));
                Next::Callback(index)
            }
            _ => {
                self.cancel(index, ErrorKind::TimedOut);
                Next::Nothing
            }
        }
    }

    /// A paused accept tries again, or a cancel.
    pub(super) fn retry_due(&mut self, index: u32) {
        if self.slots.header(index).state == State::Queued {
            self.again(index);
        } else {
            self.cancel_missed(index);
        }
    }

    /// Starts a timer's time anew, from now.
    pub(super) fn reset(&mut self, index: u32, at: u64) -> bool {
        let earliest = self.earliest;
        let header = self.slots.header_mut(index);
        let (Op::Timer(schedule), state) = (&mut header.op, header.state) else { return false };
        let running = state == State::Running && header.error.is_none() && header.payload == Payload::Whole;
        if state != State::InFlight && !running {
            return false;
        }
        schedule.next = at.max(earliest);
        let wake = schedule.wake();
        // A running one is set when its callback returns.
        if state == State::InFlight {
            self.clear_timer(index);
            self.set_timer(index, wake);
        }
        true
    }

    pub(super) fn remove(&mut self, index: u32) -> Removal {
        let header = self.slots.header(index);
        let (state, engaged, background) = (header.state, header.engaged, header.background);
        let removal = match state {
            State::Free | State::Placing | State::Orphaned => return Removal::Refused,
            State::Running => {
                let header = self.slots.header_mut(index);
                if header.payload == Payload::Parts {
                    return Removal::Refused;
                }
                // The closure is on the stack: `after_item` drops it.
                header.payload = Payload::Parts;
                return Removal::Marked;
            }
            State::Queued => {
                self.settle(index, None);
                self.cancel_step(index);
                Removal::Now
            }
            State::InFlight if matches!(header.op, Op::Steps(Steps { waiting: true, .. })) => {
                self.slots.header_mut(index).engaged = false;
                self.settle(index, None);
                self.cancel_step(index);
                Removal::Now
            }
            State::InFlight if matches!(self.slots.header(index).op, Op::Timer(_)) => {
                self.settle(index, None);
                Removal::Now
            }
            State::InFlight | State::Cancelling
                if matches!(self.slots.header(index).op, Op::Steps(_)) && !engaged =>
            {
                // Its course is over; an item was still to be brought.
                self.settle(index, None);
                Removal::Now
            }
            State::InFlight if self.withdraw(index) => {
                self.settle(index, None);
                Removal::Now
            }
            State::InFlight | State::Cancelling => {
                self.clear_timer(index);
                if state == State::InFlight && !matches!(self.slots.header(index).op, Op::Close) {
                    self.ask_backend(index);
                }
                Removal::Later
            }
            State::Done if engaged => Removal::Later,
            State::Done => Removal::Now,
        };
        if !background {
            self.pending -= 1;
        }
        self.slots.header_mut(index).state = State::Orphaned;
        removal
    }

    /// Closes a handle for the operation in slot `closer`.
    pub(super) fn close_by(&mut self, entry: u32, closer: u32) {
        self.handles.make_stale(entry);
        let header = self.slots.header_mut(closer);
        header.handle = entry;
        header.state = State::InFlight;
        header.engaged = true;
        let table_entry = self.handles.entry_mut(entry);
        table_entry.state = EntryState::Closing;
        table_entry.closer = closer;
        self.cancel_entry(entry, &Lane::ALL);
        self.drop_unread(entry);
        self.close_if_idle(entry);
    }

    /// Closes an entry for nobody in particular.
    pub(super) fn close_entry(&mut self, entry: u32) {
        let (closer, header) = self.slots.allocate();
        header.kind = Kind::Close;
        header.op = Op::Close;
        // It keeps `run` going, so that what was closed is closed when `run` returns.
        header.background = false;
        self.pending += 1;
        self.close_by(entry, closer);
    }

    /// Gives a closing handle's descriptor to the backend once nothing waits there any more.
    pub(super) fn close_if_idle(&mut self, entry: u32) {
        let table_entry = self.handles.entry_mut(entry);
        let idle = table_entry.state == EntryState::Closing && table_entry.operations == 0;
        if idle && !table_entry.close_submitted {
            table_entry.close_submitted = true;
            let closer = table_entry.closer;
            // Before the close: see `SocketFile`.
            drop(self.handles.take_file(entry));
            self.slots.header_mut(closer).engaged = false;
            self.shoot(closer, false);
        }
    }

    /// The backend has closed a descriptor.
    pub(super) fn closed(&mut self, index: u32, outcome: Outcome) -> Next {
        let header = self.slots.header_mut(index);
        let entry = std::mem::replace(&mut header.handle, NONE);
        let (state, payload, kind) = (header.state, header.payload, header.kind);
        self.handles.free(entry);
        let error = match outcome {
            Outcome::Failed(os) => Some(Error::from_os(os, kind)),
            Outcome::Refused(error) => Some(Error::new(error, kind)),
            _ => None,
        };
        match (state, payload) {
            // Nobody asked to hear of it.
            (State::InFlight, Payload::Gone) => {
                self.pending -= 1;
                self.slots.header_mut(index).state = State::Orphaned;
                Next::Dispose(index)
            }
            (State::InFlight, _) => {
                self.settle(index, error);
                Next::Callback(index)
            }
            (State::Done, _) => Next::Nothing,
            _ => Next::Dispose(index),
        }
    }
}
