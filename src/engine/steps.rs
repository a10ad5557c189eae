//! Operations of several steps (sending a file, reading a whole one): each step is an operation of its own, which the
//! engine submits on behalf of the first.
//!
//! The operation that the user submitted waits its turn in its handle's list like any other, and keeps it until its
//! last step is over. To the rest of the engine its course is what a backend's shot is to a plain one: it is `engaged`
//! until [`Course::end`], a cancel asks the step that is under way to end, and a removed one stays until then.
//! What a step does next is decided in its own callback, which is code of this crate and sees no state of the user's.
//!
//! ```text
//! submit → turn → begin → step → step → … → end → callback
//! ```

use std::cell::Cell;
use std::rc::Rc;

use super::erased;
use super::finish::Next;
use super::op::{Op, Steps};
use super::slots::{NONE, Payload, State};
use super::{Core, Engine};
use crate::backend::{Completion, Outcome};
use crate::handle::OpId;
use crate::op::{Kind, Operation};
use crate::{Error, ErrorKind};

/// Where the result of an operation of several steps will lie: its payload, and its course.
#[derive(Clone)]
pub struct Answer<T>(Rc<Cell<Option<T>>>);

impl<T> Answer<T> {
    pub(crate) fn new() -> Answer<T> {
        Answer(Rc::new(Cell::new(None)))
    }

    /// What the course left there; nothing if the operation never began, or ended before its course.
    pub(crate) fn take(&self) -> Option<T> {
        self.0.take()
    }

    /// For the `begin` of the operation that has this as its payload.
    pub(crate) fn course(&self, operation: OpId, kind: Kind) -> Course<T> {
        Course { operation, kind, answer: Answer(self.0.clone()) }
    }
}

/// An operation of several steps on its way. Whoever holds it decides what is done next.
pub(crate) struct Course<T> {
    operation: OpId,
    kind: Kind,
    answer: Answer<T>,
}

impl<T: 'static> Course<T> {
    /// Submits the next step. It counts as the operation's own: it takes no turn in its handle's list, a cancel of the
    /// operation cancels it, and whoever cancels everything doesn't. `then` is always called, unless the loop ends.
    pub(crate) fn step<O: Operation>(
        self,
        core: &Core,
        mut step: O,
        then: impl FnOnce(&Core, Course<T>, O::Output) + 'static,
    ) {
        let operation = self.operation;
        step.options_mut().inner = true;
        step.options_mut().background = core.is_background(operation);
        let step = erased::submit_inner(core, step, move |core, output| then(core, self, output));
        if let Some((_, steps)) = core.engine.borrow_mut().course_of(operation) {
            steps.step = Some(step);
        }
    }

    /// As `step`, but a cancel of the operation leaves it alone: whoever must know whether it was done looks at `asked`
    /// afterwards.
    pub(crate) fn firm_step<O: Operation>(
        self,
        core: &Core,
        step: O,
        then: impl FnOnce(&Core, Course<T>, O::Output) + 'static,
    ) {
        let operation = self.operation;
        self.step(core, step, then);
        if let Some((_, steps)) = core.engine.borrow_mut().course_of(operation) {
            steps.step = None;
        }
    }

    /// Submits the operation's partner, which takes its turn in another list. Until both turns have come, the end of
    /// either is the other's.
    pub(crate) fn partner<O: Operation>(
        &self,
        core: &Core,
        mut partner: O,
        then: impl FnOnce(&Core, O::Output) + 'static,
    ) {
        partner.options_mut().inner = true;
        partner.options_mut().background = core.is_background(self.operation);
        let partner = erased::submit_inner(core, partner, then);
        let mut engine = core.engine.borrow_mut();
        for (operation, other) in [(self.operation, partner), (partner, self.operation)] {
            if let Some((_, steps)) = engine.course_of(operation) {
                steps.step = Some(other);
            }
        }
    }

    /// Its turn has come: it waits for its partner, or doesn't any more.
    pub(crate) fn wait(&self, core: &Core, waiting: bool) {
        if let Some((_, steps)) = core.engine.borrow_mut().course_of(self.operation) {
            steps.waiting = waiting;
        }
    }

    /// As a cancel by the user.
    pub(crate) fn cancel(&self, core: &Core) {
        core.cancel(self.operation);
    }

    /// Why the operation is to end before it is done, if it is: cancelled, late, or removed (`Cancelled`).
    pub(crate) fn asked(&self, core: &Core) -> Option<Error> {
        let engine = core.engine.borrow();
        let cancelled = Some(Error::new(ErrorKind::Cancelled, self.kind));
        let Some(index) = engine.find_operation(self.operation) else { return cancelled };
        let header = engine.slots.header(index);
        match header.state {
            State::Queued | State::InFlight => None,
            State::Running => header.error,
            _ => header.error.or(cancelled),
        }
    }

    /// Tells how many bytes more were moved, and whether it might end here without leaving the stream at a place that
    /// nobody knows. A repeating operation brings its total as an item.
    pub(crate) fn moved(&self, core: &Core, bytes: usize, whole: bool) {
        let mut engine = core.engine.borrow_mut();
        let engine = &mut *engine;
        let Some(index) = engine.find_operation(self.operation) else { return };
        let token = engine.token(index);
        let header = engine.slots.header_mut(index);
        header.moved += bytes;
        let live = matches!(header.state, State::InFlight | State::Cancelling);
        if let Op::Steps(steps) = &mut header.op {
            steps.partial = header.moved > 0 && !whole;
            if bytes > 0 && steps.items && live && !std::mem::replace(&mut steps.told, true) {
                engine.completions.push_back(Completion { token, outcome: Outcome::Item });
            }
        }
    }

    /// The operation is over.
    pub(crate) fn end(self, core: &Core, answer: T, error: Option<Error>) {
        self.answer.0.set(Some(answer));
        let over = core.engine.borrow_mut().course_over(self.operation, error);
        if let Some(index) = over {
            core.dispose(index);
        }
    }
}

/// The most buffers that a loop keeps for the next operations.
const MOST_SPARE: usize = 16;

impl Core {
    /// An empty buffer with room for `capacity` bytes.
    pub(crate) fn take_buffer(&self, capacity: usize) -> Vec<u8> {
        let mut spare = self.spare.borrow_mut();
        match spare.iter().position(|buffer| buffer.capacity() == capacity) {
            Some(at) => spare.swap_remove(at),
            None => Vec::with_capacity(capacity),
        }
    }

    /// Keeps a buffer for the next operation.
    pub(crate) fn keep_buffer(&self, mut buffer: Vec<u8>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < MOST_SPARE {
            buffer.clear();
            spare.push(buffer);
        }
    }

    /// Starts the course of an operation whose turn has come.
    pub(super) fn begin_course(&self, index: u32) {
        let (operation, vtable, place) = {
            let engine = self.engine.borrow();
            let header = engine.slots.header(index);
            (engine.op_id(index), header.vtable.expect("an operation of the user's"), header.place)
        };
        // SAFETY: the slot is engaged, so its payload stays where it is; nobody else looks at it until it has ended.
        unsafe { vtable.begin(self, operation, place) }
    }

    fn is_background(&self, operation: OpId) -> bool {
        let engine = self.engine.borrow();
        engine.find_operation(operation).is_some_and(|index| engine.slots.header(index).background)
    }
}

impl Engine {
    /// The turn of an operation of several steps has come: it begins in the next tick, outside the engine's borrow.
    pub(super) fn embark(&mut self, index: u32) {
        let token = self.token(index);
        let header = self.slots.header_mut(index);
        header.state = State::InFlight;
        header.engaged = true;
        self.completions.push_back(Completion { token, outcome: Outcome::Turn });
    }

    /// An operation of several steps and its slot.
    fn course_of(&mut self, operation: OpId) -> Option<(u32, &mut Steps)> {
        let index = self.find_operation(operation)?;
        match &mut self.slots.header_mut(index).op {
            Op::Steps(steps) => Some((index, steps)),
            _ => None,
        }
    }

    /// Asks the step under way to end.
    pub(super) fn cancel_step(&mut self, index: u32) {
        if let Op::Steps(Steps { step: Some(step), .. }) = self.slots.header(index).op
            && let Some(step) = self.find_operation(step)
        {
            self.cancel(step, ErrorKind::Cancelled);
        }
    }

    /// The last step is over. The slot, if all that remains to be done is to drop what it holds.
    pub(super) fn course_over(&mut self, operation: OpId, error: Option<Error>) -> Option<u32> {
        let (index, steps) = self.course_of(operation)?;
        steps.step = None;
        steps.over = steps.told.then_some(error);
        let has_item = steps.told;
        let header = self.slots.header_mut(index);
        header.engaged = false;
        match header.state {
            // `after_item` ends it.
            State::InFlight | State::Cancelling if has_item => {}
            State::InFlight | State::Cancelling => self.end_here(index, error),
            // Called back early, and the callback is still to run: it frees the slot.
            State::Done => self.leave_handle(index),
            State::Orphaned => {
                self.note_broken(index);
                self.leave_handle(index);
                return Some(index);
            }
            state => unreachable!("the course of an operation that is {state:?} has ended"),
        }
        None
    }

    /// The end of the loop: steps are over wherever they are.
    pub(super) fn abandon_course(&mut self, index: u32) -> bool {
        let header = self.slots.header_mut(index);
        let under_way = matches!(header.op, Op::Steps(_)) && header.engaged;
        if under_way {
            header.engaged = false;
            if header.handle != NONE {
                self.leave_handle(index);
            }
        }
        under_way
    }

    /// The turn of an operation has come: it begins, unless it was cancelled or removed meanwhile.
    pub(super) fn turn(&mut self, index: u32) -> Next {
        let header = self.slots.header(index);
        if header.state == State::InFlight {
            return Next::Begin(index);
        }
        let asked = header.error;
        self.course_over(self.op_id(index), asked).map_or(Next::Nothing, Next::Dispose)
    }

    /// An item of progress is due; false if its operation has ended since.
    pub(super) fn item_due(&mut self, index: u32) -> bool {
        let header = self.slots.header_mut(index);
        if let Op::Steps(steps) = &mut header.op {
            steps.told = false;
        }
        let live = matches!(header.state, State::InFlight | State::Cancelling);
        live && header.payload == Payload::Whole
    }
}
