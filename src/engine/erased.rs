//! The border between typed and untyped: buffers and callbacks go into slots here, and come out here.
//!
//! A payload is written to its final place first; only then is the buffer asked for its memory. It is read out,
//! and the slot freed, before the callback runs.

use std::alloc::Layout;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use super::awaited::Awaited;
use super::blocks::Blocks;
use super::op::{Describe, End};
use super::slots::{Header, INLINE, Payload as Holds, State};
use super::{Core, Engine};
use crate::EventLoop;
use crate::handle::OpId;
use crate::op::{Event, ManyOperation, Operation};

/// What a slot needs to know of the types of its payload.
pub(crate) struct Vtable {
    /// Runs the callback. Of a repeating one this is one event.
    ///
    /// # Safety
    /// The slot's place holds a whole payload of this vtable's types; the context is that of the running tick, whose
    /// state has the type the callback was submitted with.
    pub(super) complete: unsafe fn(&Core, u32, NonNull<u8>, Context),
    /// Moves the callback out and drops it.
    ///
    /// # Safety
    /// The pointer is to a payload of this vtable's types whose callback is still there.
    pub(super) drop_callback: unsafe fn(NonNull<u8>),
    /// Drops the buffers in place. As `drop_callback`.
    pub(super) drop_parts: unsafe fn(NonNull<u8>),
    /// Lets an operation of several steps submit the first.
    ///
    /// # Safety
    /// The pointer is to a payload of this vtable's types whose parts are still there and stay where they are, and
    /// nobody else refers to them.
    pub(super) begin: unsafe fn(&Core, OpId, NonNull<u8>),
    /// The payload's layout: where it doesn't fit the slot, its block's.
    pub(crate) layout: Layout,
    /// If a future waits for its end.
    pub(super) awaited: Option<Awaited>,
}

/// A callback that is to be run.
pub(super) struct Callback {
    pub(super) index: u32,
    vtable: &'static Vtable,
    place: NonNull<u8>,
}

/// What a tick lends to the callbacks: `&mut S` and `&EventLoop<S>`, both valid until it returns.
#[derive(Copy, Clone)]
pub(crate) struct Context {
    state: NonNull<()>,
    io: NonNull<()>,
}

impl Context {
    pub(crate) fn new<S>(state: &mut S, io: &EventLoop<S>) -> Context {
        Context { state: NonNull::from(state).cast(), io: NonNull::from(io).cast() }
    }

    /// What every callback is given.
    ///
    /// # Safety
    /// `S` is the type of the state that the context was made with; nobody else has a reference to that state while
    /// this one lives, and it doesn't outlive the tick.
    pub(crate) unsafe fn lend<'a, S>(self) -> (&'a mut S, &'a EventLoop<S>) {
        // SAFETY: the caller vouches for the type and the time; both were made from references.
        unsafe { (self.state.cast::<S>().as_mut(), self.io.cast::<EventLoop<S>>().as_ref()) }
    }

    /// Lends the state between two callbacks.
    pub(crate) fn with_state<S, R>(self, _: &EventLoop<S>, look: impl FnOnce(&mut S) -> R) -> R {
        // SAFETY: a context is made from an `EventLoop<S>` and its state, and stays in that loop's tick.
        look(unsafe { self.state.cast::<S>().as_mut() })
    }
}

#[repr(C)]
pub(super) struct Payload<P, F> {
    pub(super) parts: ManuallyDrop<P>,
    pub(super) callback: ManuallyDrop<F>,
}

/// Submits an operation that ends once.
#[inline]
pub(crate) fn submit<S, O, F>(core: &Core, operation: O, callback: F) -> OpId
where
    O: Operation,
    F: FnOnce(&mut S, &EventLoop<S>, O::Output) + 'static,
{
    place::<O, F>(core, operation, callback, const { &vtable::<O, F>(complete_once::<S, O, F>) })
}

/// Submits an operation that brings items.
#[inline]
pub(crate) fn submit_many<S, O, F>(core: &Core, operation: O, callback: F) -> OpId
where
    O: ManyOperation,
    F: FnMut(&mut S, &EventLoop<S>, Event<O::Item>) + 'static,
{
    place::<O, F>(core, operation, callback, const { &vtable::<O, F>(complete_many::<S, O, F>) })
}

/// Submits an operation for a callback that is lent nothing of the loop.
pub(crate) fn submit_bare<O, F>(core: &Core, operation: O, callback: F) -> OpId
where
    O: Operation,
    F: FnOnce(O::Output) + 'static,
{
    submit_inner(core, operation, move |_: &Core, output| callback(output))
}

/// Submits an operation that brings items, for a callback that is lent nothing of the loop.
pub(crate) fn submit_many_bare<O, F>(core: &Core, operation: O, callback: F) -> OpId
where
    O: ManyOperation,
    F: FnMut(&Core, Event<O::Item>) + 'static,
{
    place::<O, F>(core, operation, callback, const { &vtable::<O, F>(complete_many_bare::<O, F>) })
}

/// Submits a step of another operation, whose callback is the engine's own.
pub(super) fn submit_inner<O, F>(core: &Core, operation: O, callback: F) -> OpId
where
    O: Operation,
    F: FnOnce(&Core, O::Output) + 'static,
{
    place::<O, F>(core, operation, callback, const { &vtable::<O, F>(complete_inner::<O, F>) })
}

pub(super) const fn vtable<O: Describe, F>(complete: unsafe fn(&Core, u32, NonNull<u8>, Context)) -> Vtable {
    Vtable {
        complete,
        drop_callback: drop_callback::<O::Parts, F>,
        drop_parts: drop_parts::<O::Parts, F>,
        begin: begin::<O, F>,
        layout: Layout::new::<Payload<O::Parts, F>>(),
        awaited: None,
    }
}

impl Header {
    /// The callback of an operation that has ended, or of an item that has come.
    #[inline]
    pub(super) fn callback(&self, index: u32) -> Callback {
        let vtable = self.vtable.expect("an operation with a callback has a vtable");
        Callback { index, vtable, place: self.place }
    }

    /// Gives back the block in which the slot's payload was.
    #[inline(never)]
    pub(super) fn free_block(&mut self, blocks: &mut Blocks) {
        assert!(self.payload == Holds::Gone && !self.engaged && !self.is_inline());
        if let Some(vtable) = self.vtable.take() {
            // SAFETY: `allocate` took the block with this layout; the payload is gone, and the backend has let go.
            unsafe { blocks.free(self.place, vtable.layout) };
        }
    }
}

impl Vtable {
    /// See the field.
    ///
    /// # Safety
    /// As there.
    pub(super) unsafe fn begin(&self, core: &Core, operation: OpId, place: NonNull<u8>) {
        // SAFETY: the caller vouches for it.
        unsafe { (self.begin)(core, operation, place) }
    }
}

/// See `Vtable::begin`.
///
/// # Safety
/// As there.
unsafe fn begin<O: Describe, F>(core: &Core, operation: OpId, payload: NonNull<u8>) {
    // SAFETY: the caller vouches for it.
    let parts = unsafe { parts_of(payload.cast::<Payload<O::Parts, F>>()).as_mut() };
    O::begin(parts, operation, core);
}

/// Inlined, as nearly every callback is of a type of its own: the request is made where it stays.
#[inline]
pub(super) fn place<O: Describe, F>(core: &Core, operation: O, callback: F, vtable: &'static Vtable) -> OpId {
    let (parts, mut request) = operation.describe();
    let (index, place) = core.engine.borrow_mut().allocate(vtable);
    let payload = place.cast::<Payload<O::Parts, F>>();
    // SAFETY: `allocate` gives memory of the payload's layout that nobody else uses.
    unsafe {
        payload.write(Payload { parts: ManuallyDrop::new(parts), callback: ManuallyDrop::new(callback) });
    }
    // If the buffer panics when asked for its memory, nothing was submitted.
    let undo = OnUnwind(|| core.dispose(index));
    // SAFETY: just written, and until `start` nobody but us knows the slot, so this is the only reference; it ends
    // before the memory it lends is used.
    O::lend(unsafe { parts_of(payload).as_mut() }, &mut request, core);
    std::mem::forget(undo);
    let operation = core.engine.borrow_mut().start(index, &mut request);
    if O::HAS_PARTNER {
        // SAFETY: an operation of several steps has lent nothing to the backend, and its payload stays until a tick.
        O::submitted(unsafe { parts_of(payload).as_mut() }, operation, core);
    }
    operation
}

/// Runs a closure when dropped; forgotten when all went well.
struct OnUnwind<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnUnwind<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// See `Vtable::complete`.
///
/// # Safety
/// As there.
unsafe fn complete_once<S, O, F>(core: &Core, index: u32, place: NonNull<u8>, context: Context)
where
    O: Operation,
    F: FnOnce(&mut S, &EventLoop<S>, O::Output),
{
    // SAFETY: the caller vouches for the payload, which the backend has let go of; `take` forgets it, so it is
    // read once.
    let Payload { parts, callback } = unsafe { place.cast::<Payload<O::Parts, F>>().read() };
    // If what the parts still hold panics when it is dropped, the callback goes too.
    let callback = ManuallyDrop::into_inner(callback);
    let mut end = End::new(None, 0);
    core.engine.borrow_mut().take(index, &mut end);
    let output = O::finish(ManuallyDrop::into_inner(parts), &mut end);
    if end.is_plain() {
        std::mem::forget(end);
    }
    // SAFETY: the caller vouches for the types; the tick lends both to one callback at a time, and no other
    // reference to the state exists while it runs.
    let (state, io) = unsafe { context.lend::<S>() };
    callback(state, io, output);
}

/// See `Vtable::complete`. What it runs is the engine's, and needs no context.
///
/// # Safety
/// As there.
unsafe fn complete_inner<O, F>(core: &Core, index: u32, place: NonNull<u8>, _: Context)
where
    O: Operation,
    F: FnOnce(&Core, O::Output),
{
    // SAFETY: as in `complete_once`.
    let Payload { parts, callback } = unsafe { place.cast::<Payload<O::Parts, F>>().read() };
    let mut end = End::default();
    core.engine.borrow_mut().take(index, &mut end);
    ManuallyDrop::into_inner(callback)(core, O::finish(ManuallyDrop::into_inner(parts), &mut end));
}

/// See `Vtable::complete`. The closure runs where it lies: the slot is `Running`, so nobody frees or runs it
/// meanwhile, and a cancel or remove from inside takes effect when it returns.
///
/// # Safety
/// As there.
unsafe fn complete_many<S, O, F>(core: &Core, index: u32, place: NonNull<u8>, context: Context)
where
    O: ManyOperation,
    F: FnMut(&mut S, &EventLoop<S>, Event<O::Item>),
{
    // SAFETY: as in `complete_once`.
    let (state, io) = unsafe { context.lend::<S>() };
    // SAFETY: the caller vouches for it.
    unsafe { bring::<O, F>(core, index, place, |callback, event| callback(state, io, event)) }
}

/// See `Vtable::complete`. What it runs needs no context.
///
/// # Safety
/// As there.
unsafe fn complete_many_bare<O, F>(core: &Core, index: u32, place: NonNull<u8>, _: Context)
where
    O: ManyOperation,
    F: FnMut(&Core, Event<O::Item>),
{
    // SAFETY: the caller vouches for it.
    unsafe { bring::<O, F>(core, index, place, |callback, event| callback(core, event)) }
}

/// Runs the callback of a repeating operation for one event.
///
/// # Safety
/// As `Vtable::complete`.
unsafe fn bring<O: ManyOperation, F>(
    core: &Core,
    index: u32,
    place: NonNull<u8>,
    run: impl FnOnce(&mut F, Event<O::Item>),
) {
    let payload = place.cast::<Payload<O::Parts, F>>();
    let mut end = End::new(None, 0);
    let is_item = core.engine.borrow_mut().next_item(index, &mut end);
    if is_item {
        // A callback that panics is not called again: its slot goes.
        let undo = OnUnwind(|| core.end_of_panicked(index));
        // SAFETY: the caller vouches for the payload; while the slot is `Running` nothing else touches its callback.
        let callback = unsafe { &mut **callback_of(payload).as_mut() };
        let item = O::item(&mut end);
        if end.is_plain() {
            std::mem::forget(end);
        }
        run(callback, Event::Item(item));
        std::mem::forget(undo);
        core.after_item(index);
    } else {
        // SAFETY: as in `complete_once`.
        let Payload { parts, callback } = unsafe { payload.read() };
        core.engine.borrow_mut().take(index, &mut end);
        let mut callback = ManuallyDrop::into_inner(callback);
        drop(ManuallyDrop::into_inner(parts));
        run(&mut callback, Event::End(end.result()));
    }
}

/// See `Vtable::drop_callback`.
///
/// # Safety
/// As there.
unsafe fn drop_callback<P, F>(payload: NonNull<u8>) {
    // Not where it lies: drop code may turn the loop, and if the system lets go of the buffer meanwhile, the slot is
    // freed and used again.
    // SAFETY: the caller vouches for the payload and that its callback is still there.
    drop(unsafe { ManuallyDrop::take(callback_of(payload.cast::<Payload<P, F>>()).as_mut()) });
}

/// The callback's place in a payload. Only its address is taken: no reference may cover the buffer beside it, in which
/// the system may be writing.
///
/// # Safety
/// The pointer is to the place of a payload.
pub(super) unsafe fn callback_of<P, F>(payload: NonNull<Payload<P, F>>) -> NonNull<ManuallyDrop<F>> {
    // SAFETY: the field lies in the payload's place, so its address is not null.
    unsafe { NonNull::new_unchecked(&raw mut (*payload.as_ptr()).callback) }
}

/// The buffers' place in a payload; as `callback_of`.
///
/// # Safety
/// As there.
unsafe fn parts_of<P, F>(payload: NonNull<Payload<P, F>>) -> NonNull<ManuallyDrop<P>> {
    // SAFETY: as there.
    unsafe { NonNull::new_unchecked(&raw mut (*payload.as_ptr()).parts) }
}

/// See `Vtable::drop_parts`.
///
/// # Safety
/// As there.
unsafe fn drop_parts<P, F>(payload: NonNull<u8>) {
    // SAFETY: the caller vouches for the payload and that its buffers are still there.
    unsafe { ManuallyDrop::drop(parts_of(payload.cast::<Payload<P, F>>()).as_mut()) }
}

impl Core {
    /// Runs the callback of an operation that has ended, or of an item that has come.
    pub(crate) fn complete(&self, index: u32, context: Context) {
        let callback = self.engine.borrow().slots.header(index).callback(index);
        self.run_callback(callback, context);
    }

    #[inline]
    pub(super) fn run_callback(&self, Callback { index, vtable, place }: Callback, context: Context) {
        // SAFETY: the slot's payload is whole (`finish.rs` asks for a callback only then) and was placed with this
        // vtable. The context is this tick's, made from an `EventLoop<S>` that owns this core and is invariant in
        // S, as was the submit that placed the callback: the state types are the same.
        unsafe { (vtable.complete)(self, index, place, context) }
    }

    /// Drops the callback, if it is still there, and keeps the buffers.
    pub(crate) fn drop_callback(&self, index: u32) {
        let (vtable, place) = {
            let mut engine = self.engine.borrow_mut();
            let header = engine.slots.header_mut(index);
            if header.payload != Holds::Whole {
                return;
            }
            header.payload = Holds::Parts;
            (header.vtable.expect("a payload has a vtable"), header.place)
        };
        // SAFETY: the payload was whole, and is marked as having no callback from here on.
        unsafe { (vtable.drop_callback)(place) }
    }

    /// Drops what is left of the payload and frees the slot, also if a `Drop` panics.
    pub(crate) fn dispose(&self, index: u32) {
        let _free = OnUnwind(|| self.engine.borrow_mut().free_slot(index));
        let (vtable, place, holds) = {
            let mut engine = self.engine.borrow_mut();
            let header = engine.slots.header_mut(index);
            let holds = std::mem::replace(&mut header.payload, Holds::Gone);
            // What the drops below may find of the operation is one that has ended.
            header.state = State::Orphaned;
            (header.vtable, header.place, holds)
        };
        let Some(vtable) = vtable else { return };
        // If dropping the callback panics, the buffers are dropped all the same.
        let _parts = OnUnwind(|| {
            if holds != Holds::Gone {
                // SAFETY: the buffers were still there, the backend has let go of them, and the slot is marked
                // as holding nothing.
                unsafe { (vtable.drop_parts)(place) }
            }
        });
        if holds == Holds::Whole {
            // SAFETY: as above, for the callback.
            unsafe { (vtable.drop_callback)(place) }
        }
    }
}

impl Engine {
    /// A slot, and in it or in a block the place for a payload, which the caller must write before anything else. Inlined,
    /// where the layout is known.
    #[inline]
    fn allocate(&mut self, vtable: &'static Vtable) -> (u32, NonNull<u8>) {
        let (index, header) = self.slots.allocate();
        if !fits_inline(vtable.layout) {
            header.place = self.blocks.allocate(vtable.layout);
        }
        header.vtable = Some(vtable);
        header.payload = Holds::Whole;
        (index, header.place)
    }

    /// Tells the operation's end, for its callback, whose payload was just read out. Frees the slot unless the backend
    /// still has it (a connect that was cancelled).
    fn take(&mut self, index: u32, end: &mut End) {
        if !self.take_plain(index, end) {
            self.take_any(index, end);
        }
    }

    #[inline(never)]
    fn take_any(&mut self, index: u32, end: &mut End) {
        self.tell(index, end);
        self.slots.header_mut(index).payload = Holds::Gone;
        self.release_or_orphan(index);
    }

    /// Returns a slot's block, scratch and pieces, and then the slot.
    pub(crate) fn free_slot(&mut self, index: u32) {
        let header = self.slots.header_mut(index);
        assert!(!header.engaged, "the backend has let go");
        let inline = header.is_inline();
        let scratch = header.scratch.take();
        // SAFETY: the backend has let go.
        unsafe { header.op.free_memory(&mut self.blocks) };
        if !inline {
            self.slots.header_mut(index).free_block(&mut self.blocks);
        }
        if let Some(scratch) = scratch {
            // SAFETY: `start` took the block with this layout; the backend has let go.
            unsafe { self.blocks.free(scratch.cast(), super::start::SCRATCH) };
        }
        if !self.inherited.is_empty() {
            self.inherited.retain(|(heir, _)| *heir != index);
        }
        self.slots.free(index);
    }
}

fn fits_inline(layout: Layout) -> bool {
    layout.size() <= INLINE.size() && layout.align() <= INLINE.align()
}
