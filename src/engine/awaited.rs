//! Operations that a future waits for: what they bring stays in the slot until the future takes it.
//!
//! In the place of a callback such an operation has a waker. When it has ended its slot *rests*; the future takes buffer and
//! result out of it (`take_awaited`), or is dropped and leaves both to the engine (`abandon`).

use std::any::TypeId;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::task::{Poll, Waker};

use super::blocks::Blocks;
use super::cancel::Removal;
use super::erased::{self, Context, Payload, Vtable, callback_of};
use super::op::{End, Op};
use super::slots::{NONE, Payload as Holds, State};
use super::{Core, Engine};
use crate::handle::OpId;
use crate::op::{Kind, ManyOperation, Operation};
use crate::{Error, ErrorKind};

/// The end of an operation that is never submitted.
pub(crate) fn refuse<O: Operation>(operation: O, reason: ErrorKind) -> O::Output {
    let (parts, mut request) = operation.describe();
    // SAFETY: no backend has ever seen it, and it has lent no memory.
    unsafe { request.op.free_memory(&mut Blocks::new()) };
    O::finish(parts, &mut End::new(Some(Error::new(reason, request.kind)), 0))
}

/// As [`refuse`], of one that brings items.
pub(crate) fn refuse_many<O: ManyOperation>(operation: O, reason: ErrorKind) -> Error {
    let (_, mut request) = operation.describe();
    // SAFETY: as in `refuse`.
    unsafe { request.op.free_memory(&mut Blocks::new()) };
    Error::new(reason, request.kind)
}

/// What lies in the place of a callback.
struct Awaiter(Option<Waker>);

/// Submits an operation whose end wakes `waker`.
pub(crate) fn submit<O: Operation>(core: &Core, mut operation: O, waker: Waker) -> OpId {
    operation.options_mut().awaited = true;
    let vtable = const {
        &Vtable {
            awaited: Some(Awaited { operation: TypeId::of::<O>(), tell: tell::<O> }),
            ..erased::vtable::<O, Awaiter>(complete_awaited::<O>)
        }
    };
    erased::place::<O, Awaiter>(core, operation, Awaiter(Some(waker)), vtable)
}

/// What the vtable of an awaited operation has beside the others.
#[derive(Copy, Clone)]
pub(super) struct Awaited {
    /// The operation's type: only one of that type may take the payload.
    operation: TypeId,
    /// Lets the slot rest, and wakes whoever waits.
    ///
    /// # Safety
    /// The place holds a whole payload of this vtable's types, and its operation has ended.
    tell: unsafe fn(&Core, u32, NonNull<u8>),
}

/// See `Vtable::complete`.
///
/// # Safety
/// As there.
unsafe fn complete_awaited<O: Operation>(core: &Core, index: u32, place: NonNull<u8>, _: Context) {
    // SAFETY: the caller vouches for it.
    unsafe { tell::<O>(core, index, place) }
}

/// See `Awaited::tell`. Nothing is moved out.
///
/// # Safety
/// As there.
unsafe fn tell<O: Operation>(core: &Core, index: u32, place: NonNull<u8>) {
    // SAFETY: the caller vouches for the payload, which is whole, and whose types are these.
    let waker = unsafe { waker_of::<O>(place) }.take();
    core.engine.borrow_mut().rest(index);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The waker in a payload.
///
/// # Safety
/// The place holds a payload of these types, with its waker, and nobody else refers to that while this reference lives.
unsafe fn waker_of<'a, O: Operation>(place: NonNull<u8>) -> &'a mut Option<Waker> {
    // SAFETY: the caller vouches for it.
    unsafe { &mut callback_of::<O::Parts, Awaiter>(place.cast()).as_mut().0 }
}

/// Makes an operation's output of what was in its slot. Not while the engine is borrowed.
#[inline]
fn finish<O: Operation>(Payload { parts, callback }: Payload<O::Parts, Awaiter>, end: &mut End) -> O::Output {
    drop(ManuallyDrop::into_inner(callback));
    O::finish(ManuallyDrop::into_inner(parts), end)
}

/// What a look at an awaited operation finds.
enum Found<P> {
    Gone,
    /// It has ended, and this was its payload.
    Ended(Payload<P, Awaiter>),
    /// It goes on, and would wake this very task.
    Waiting,
    /// It goes on, and would wake another task, or none.
    Foreign(NonNull<u8>),
}

impl Core {
    /// What the operation brought, if it has ended; else `waker` is told when it has. `None` if it is gone.
    #[inline]
    pub(crate) fn poll_awaited<O: Operation>(&self, id: OpId, waker: &Waker) -> Poll<Option<O::Output>> {
        let mut end = End::default();
        match self.take_or_look::<O>(id, waker, &mut end) {
            Found::Gone => Poll::Ready(None),
            Found::Ended(payload) => Poll::Ready(Some(finish::<O>(payload, &mut end))),
            Found::Waiting => Poll::Pending,
            Found::Foreign(_) => self.change_waker::<O>(id, waker, &mut end),
        }
    }

    /// The operation is to wake another task from now on.
    #[inline(never)]
    fn change_waker<O: Operation>(&self, id: OpId, waker: &Waker, end: &mut End) -> Poll<Option<O::Output>> {
        // Wakers are the user's code, so the loop may have turned when this returns.
        let mut fresh = Some(waker.clone());
        match self.take_or_look::<O>(id, waker, end) {
            Found::Gone => Poll::Ready(None),
            Found::Ended(payload) => Poll::Ready(Some(finish::<O>(payload, end))),
            Found::Waiting => Poll::Pending,
            Found::Foreign(place) => {
                // SAFETY: `take_or_look` has found a whole payload of this type there, and nothing ran since.
                std::mem::swap(unsafe { waker_of::<O>(place) }, &mut fresh);
                drop(fresh);
                Poll::Pending
            }
        }
    }

    /// Takes buffer and result out of a slot that rests; if it doesn't, says whom it will wake.
    #[inline]
    fn take_or_look<O: Operation>(&self, id: OpId, waker: &Waker, end: &mut End) -> Found<O::Parts> {
        let mut engine = self.engine.borrow_mut();
        let Some(index) = engine.find_operation(id) else { return Found::Gone };
        let header = engine.slots.header(index);
        let awaited = header.vtable.and_then(|vtable| vtable.awaited);
        let right = awaited.is_some_and(|awaited| awaited.operation == TypeId::of::<O>());
        if !right || header.payload != Holds::Whole {
            return Found::Gone;
        }
        let place = header.place;
        if header.resting {
            // SAFETY: the payload is whole and, as the vtable says, of this type, and the backend has let go of it;
            // `take_awaited` forgets it, so it is read once. Reading it runs no user code.
            let payload = unsafe { place.cast::<Payload<O::Parts, Awaiter>>().read() };
            engine.take_awaited(index, end);
            return Found::Ended(payload);
        }
        // SAFETY: the payload is whole and of this type; the engine is borrowed, so nobody else refers to its waker, and
        // comparing runs no user code.
        let same = unsafe { waker_of::<O>(place) }.as_ref().is_some_and(|own| own.will_wake(waker));
        if same { Found::Waiting } else { Found::Foreign(place) }
    }

    /// What kind an operation is, if it has not ended.
    pub(crate) fn kind_of(&self, id: OpId) -> Option<Kind> {
        let engine = self.engine.borrow();
        Some(engine.slots.header(engine.find_operation(id)?).kind)
    }

    /// Whether a future waits for this operation.
    pub(super) fn is_awaited(&self, index: u32) -> bool {
        self.engine.borrow().slots.header(index).awaited
    }

    /// Tells the future of an operation that has ended, when the loop is at its end.
    pub(super) fn wake_awaiter(&self, index: u32) {
        let (awaited, place) = {
            let engine = self.engine.borrow();
            let header = engine.slots.header(index);
            (header.vtable.and_then(|vtable| vtable.awaited), header.place)
        };
        let awaited = awaited.expect("it is awaited");
        // SAFETY: its turn to call back has come, so it has ended and the payload is whole, as in `complete`.
        unsafe { (awaited.tell)(self, index, place) }
    }

    /// Nobody waits any more for what an operation brings; connections that still come are for others.
    pub(crate) fn abandon_many(&self, id: OpId) {
        {
            let mut engine = self.engine.borrow_mut();
            let Some(index) = engine.find_operation(id) else { return };
            let header = engine.slots.header_mut(index);
            header.keeps = header.op.receives_many();
        }
        self.remove(id);
    }

    /// The future of an operation is dropped. What that still brings is for others.
    pub(crate) fn abandon(&self, id: OpId) {
        let Some(index) = self.engine.borrow().find_operation(id) else { return };
        let removal = self.engine.borrow_mut().orphan(index);
        self.carry_out_removal(index, removal);
    }
}

impl Engine {
    /// An awaited operation has ended, and its future is about to be told.
    fn rest(&mut self, index: u32) {
        self.resting += 1;
        let header = self.slots.header_mut(index);
        header.resting = true;
        // From here on nothing will happen by itself: `run` doesn't wait for it.
        if !std::mem::replace(&mut header.background, true) {
            self.pending -= 1;
        }
    }

    fn take_awaited(&mut self, index: u32, end: &mut End) {
        self.resting -= 1;
        if !self.take_plain_awaited(index, end) {
            self.take_any_awaited(index, end);
        }
    }

    #[inline(never)]
    fn take_any_awaited(&mut self, index: u32, end: &mut End) {
        self.slots.header_mut(index).resting = false;
        self.tell(index, end);
        self.slots.header_mut(index).payload = Holds::Gone;
        self.give_turn_back(index);
        self.release_or_orphan(index);
    }

    /// The turn that an ended operation has kept.
    pub(super) fn give_turn_back(&mut self, index: u32) {
        let held = std::mem::take(&mut self.slots.header_mut(index).holds_turn);
        if held && !self.down {
            self.leave_handle(index);
        }
    }

    fn orphan(&mut self, index: u32) -> Removal {
        let header = self.slots.header_mut(index);
        if header.state != State::Done || self.down {
            header.keeps = header.op.receives();
            return self.remove(index);
        }
        if std::mem::take(&mut header.resting) {
            self.resting -= 1;
        }
        let (error, held) = (header.error, header.holds_turn);
        if held {
            self.keep_unread(index, error);
        }
        self.give_turn_back(index);
        self.close_unwanted(index);
        let header = self.slots.header(index);
        let connected = matches!(header.op, Op::Connect) && error.is_none() && header.handle != NONE;
        if connected {
            self.close_entry(self.slots.header(index).handle);
        }
        let header = self.slots.header_mut(index);
        header.state = State::Orphaned;
        let (background, engaged) = (header.background, header.engaged);
        if !background {
            self.pending -= 1;
        }
        if engaged { Removal::Later } else { Removal::Now }
    }

    /// Cancels whatever a future waits for, at the end of the loop.
    pub(super) fn cancel_awaited(&mut self) {
        for index in 0..self.slots.capacity() {
            if self.slots.header(index).awaited {
                self.cancel(index, ErrorKind::Cancelled);
            }
        }
    }
}
