//! Slots: where operations live, in pages that never move.
//!
//! A slot is a header, which the engine refers to, and a storage beside it, which holds buffer and callback and
//! which no reference ever covers while the system may write there.
//!
//! The life of a slot (`State`):
//!
//! ```text
//! Free → Placing → Queued → InFlight → (Cancelling) → Done → Free
//!                                          └ Orphaned → Free        nobody waits for the end any more
//!                                Running                            a repeating callback is on the stack
//! ```

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use super::erased::Vtable;
use super::handles::Lane;
use super::op::{Op, Transfer};
use super::timers::TimerKey;
use crate::Error;
use crate::handle::{Id, LAST_GENERATION};
use crate::op::Kind;

/// No slot, no handle: the end of a list.
pub(crate) const NONE: u32 = u32::MAX;

const PAGE: usize = 64;
const STORAGE: usize = 128;

#[repr(C, align(64))]
pub(crate) struct Slot {
    header: Header,
    storage: Storage,
}

#[repr(C, align(16))]
struct Storage(UnsafeCell<MaybeUninit<[u8; STORAGE]>>);

const _: () = assert!(size_of::<Slot>() <= 256 && size_of::<Header>() <= 256 - STORAGE);

/// The inline storage's layout; what fits neither by size nor by alignment goes to a block.
pub(crate) const INLINE: Layout = Layout::new::<Storage>();

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// In the free list.
    Free,
    /// `submit` is moving buffer and callback in and asking for the memory: user code may be running.
    Placing,
    /// Behind another operation of its stream, or waiting to try again; not with the backend.
    Queued,
    /// With the backend, or a timer in the queue, or a close waiting for the handle's last operation.
    InFlight,
    /// As `InFlight`, and the backend was asked to cancel.
    Cancelling,
    /// Nobody waits for its end: removed, or called back early. Kept because the backend still has it.
    Orphaned,
    /// It ended; its callback will run when its turn in the completion queue comes.
    Done,
    /// Its repeating callback is running.
    Running,
}

/// What of buffer and callback is still in the slot.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    /// Buffer and callback.
    Whole,
    /// The callback was dropped; the buffer stays until the system lets go.
    Parts,
    /// Nothing: moved out, dropped, or there never was any.
    Gone,
}

pub(crate) struct Header {
    pub(crate) generation: u64,
    pub(crate) vtable: Option<&'static Vtable>,
    /// Where buffer and callback lie: the inline storage or a block.
    pub(crate) place: NonNull<u8>,
    /// The scratch block (socket address), if one is attached.
    pub(crate) scratch: Option<NonNull<u8>>,
    pub(crate) op: Op,
    /// Bytes moved so far, over all shots.
    pub(crate) moved: usize,
    /// Why it ended, once `Done`; what was asked first, while `Cancelling`.
    pub(crate) error: Option<Error>,
    /// The entry in the handle table, and the neighbours in that handle's list.
    pub(crate) handle: u32,
    pub(crate) previous: u32,
    pub(crate) next: u32,
    pub(crate) timer: TimerKey,
    pub(crate) state: State,
    pub(crate) payload: Payload,
    pub(crate) kind: Kind,
    /// The backend, or a handle that is closing, still refers to the slot: it can't be freed.
    pub(crate) engaged: bool,
    /// What the backend has is a wait for readiness only.
    pub(crate) readiness: bool,
    pub(crate) background: bool,
    /// It is a step of another operation, and nobody else's to cancel.
    pub(crate) inner: bool,
    /// It was started the short way (`plain.rs`).
    pub(crate) plain: bool,
    /// A future waits for its end: what it brings stays here until that takes it.
    pub(crate) awaited: bool,
    /// It has ended, and its future may take what it brought.
    pub(crate) resting: bool,
    /// It has ended with something that its stream must not lose, and keeps its turn until that is taken.
    pub(crate) holds_turn: bool,
    /// Its future was dropped: what it still brings is for whoever receives or accepts next on its handle.
    pub(crate) keeps: bool,
    /// A receive came to the end of the stream.
    pub(crate) at_end: bool,
}

pub(crate) struct Slots {
    pages: Vec<NonNull<Slot>>,
    free: u32,
    live: usize,
    first_generation: u64,
    highest_generation: u64,
}

impl Slots {
    /// `floor` is the highest generation that an earlier loop of the same number used.
    pub(crate) fn new(floor: u64) -> Slots {
        Slots {
            pages: Vec::new(),
            free: NONE,
            live: 0,
            first_generation: floor + 1,
            highest_generation: floor + 1,
        }
    }

    /// A slot in state `Placing`.
    #[inline]
    pub(crate) fn allocate(&mut self) -> (u32, &mut Header) {
        if self.free == NONE {
            self.add_page();
        }
        let index = self.free;
        self.live += 1;
        let place = self.storage(index);
        // SAFETY: as in `header_mut`, which would borrow the list of the free ones, too.
        let header = unsafe { &mut (*self.slot(index).as_ptr()).header };
        self.free = header.next;
        header.state = State::Placing;
        header.place = place;
        header.next = NONE;
        (index, header)
    }

    /// Back to the free list. Its payload must be gone, and its block and scratch returned.
    #[inline]
    pub(crate) fn free(&mut self, index: u32) {
        self.free_after(index, |_| ());
    }

    /// As `free`, after the last that is done with the slot.
    #[inline]
    pub(crate) fn free_after(&mut self, index: u32, last: impl FnOnce(&mut Header)) {
        let free = self.free;
        let header = self.header_mut(index);
        last(header);
        assert!(header.payload == Payload::Gone && !header.engaged && header.scratch.is_none());
        debug_assert!(header.previous == NONE && header.next == NONE);
        debug_assert!(header.timer == TimerKey::NONE);
        let generation = header.generation + 1;
        // The rest is as in `Header::empty` already, or is written by whoever takes the slot.
        header.vtable = None;
        header.generation = generation;
        header.state = State::Free;
        header.op = Op::NextTick;
        header.handle = NONE;
        (header.moved, header.error) = (0, None);
        (header.readiness, header.background, header.inner, header.plain) = (false, false, false, false);
        (header.awaited, header.resting, header.holds_turn) = (false, false, false);
        (header.keeps, header.at_end) = (false, false);
        header.next = free;
        // The last generation is retired with its slot, so that no name is ever given out twice.
        if generation < LAST_GENERATION {
            self.free = index;
        }
        self.highest_generation = self.highest_generation.max(generation);
        self.live -= 1;
    }

    #[inline]
    pub(crate) fn header(&self, index: u32) -> &Header {
        // SAFETY: `slot` points into a live page, every header there is initialised, and `&self` keeps
        // `header_mut` away. The reference covers the header only, never the storage.
        unsafe { &(*self.slot(index).as_ptr()).header }
    }

    #[inline]
    pub(crate) fn header_mut(&mut self, index: u32) -> &mut Header {
        // SAFETY: as in `header`; `&mut self` makes it the only reference to any header.
        unsafe { &mut (*self.slot(index).as_ptr()).header }
    }

    /// The inline storage of a slot.
    #[inline]
    pub(crate) fn storage(&self, index: u32) -> NonNull<u8> {
        // SAFETY: `slot` points into a live page, and so does this. No reference to the storage is made: it is the page's
        // pointer, moved on.
        unsafe { self.slot(index).cast::<u8>().add(std::mem::offset_of!(Slot, storage)) }
    }

    /// How many slots are not free.
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// How many slots there are; indices below this are valid.
    pub(crate) fn capacity(&self) -> u32 {
        (self.pages.len() * PAGE) as u32
    }

    pub(crate) fn highest_generation(&self) -> u64 {
        self.highest_generation
    }

    /// The slot that `id` names, if that operation is still there.
    #[inline]
    pub(crate) fn find(&self, id: Id) -> Option<u32> {
        let index = id.index();
        if index >= self.capacity() {
            return None;
        }
        let header = self.header(index);
        (header.generation == id.generation() && header.state != State::Free).then_some(index)
    }

    #[inline]
    fn slot(&self, index: u32) -> NonNull<Slot> {
        let page = self.pages[index as usize / PAGE];
        // SAFETY: a page holds PAGE slots.
        unsafe { page.add(index as usize % PAGE) }
    }

    fn add_page(&mut self) {
        let layout = page_layout();
        let first = self.capacity();
        // The two high bits of an index are marks in timer and completion tokens.
        assert!(first < NONE / 4 - PAGE as u32, "fewer than 2^30 operations at a time");
        // SAFETY: the layout is not of size 0.
        let page = NonNull::new(unsafe { alloc(layout) }.cast::<Slot>());
        let page = page.unwrap_or_else(|| handle_alloc_error(layout));
        for offset in 0..PAGE {
            let mut header = Header::empty(self.first_generation);
            header.next = if offset + 1 < PAGE { first + offset as u32 + 1 } else { self.free };
            // SAFETY: inside the page just allocated; the storage may stay uninitialised.
            unsafe { (&raw mut (*page.add(offset).as_ptr()).header).write(header) }
        }
        self.pages.push(page);
        self.free = first;
    }
}

impl Header {
    fn empty(generation: u64) -> Header {
        Header {
            generation,
            vtable: None,
            place: NonNull::dangling(),
            scratch: None,
            op: Op::NextTick,
            moved: 0,
            error: None,
            handle: NONE,
            previous: NONE,
            next: NONE,
            timer: TimerKey::NONE,
            state: State::Free,
            payload: Payload::Gone,
            kind: Kind::NextTick,
            engaged: false,
            readiness: false,
            background: false,
            inner: false,
            plain: false,
            awaited: false,
            resting: false,
            holds_turn: false,
            keeps: false,
            at_end: false,
        }
    }

    /// Whether it has moved bytes, or a record, and its stream would be at a place nobody knows if it ended now, unheard.
    pub(crate) fn is_partial(&self) -> bool {
        match (&self.op, self.op.transfer()) {
            (Op::Steps(steps), _) => steps.partial,
            // A place in a file stays where it is.
            (_, Some(Transfer { offset: Some(_), .. })) => false,
            (_, Some(transfer)) if transfer.receive => self.moved > 0,
            (_, Some(transfer)) => (1..transfer.length).contains(&self.moved),
            (op, None) => op.has_record(),
        }
    }

    /// The list of its handle that it is in. A step takes no turn: the operation that it belongs to has the turn.
    pub(crate) fn lane(&self) -> Lane {
        match self.op {
            Op::Steps(steps) => steps.lane,
            _ if self.inner => Lane::Free,
            _ => self.op.lane(),
        }
    }

    /// Whether buffer and callback lie in the slot itself.
    #[inline]
    pub(crate) fn is_inline(&self) -> bool {
        let storage = (&raw const *self).addr() + std::mem::offset_of!(Slot, storage);
        self.place.addr().get() == storage
    }

    /// The handle that it is on, which it leaves.
    #[inline]
    pub(crate) fn take_handle(&mut self) -> u32 {
        std::mem::replace(&mut self.handle, NONE)
    }

    /// Whether it has ended with something that its future must take, or others will.
    pub(crate) fn must_be_read(&self) -> bool {
        let heard = self.moved > 0 || self.at_end;
        let wanted = self.awaited && !self.keeps && self.op.receives();
        wanted && (heard || self.error.is_none_or(|error| error.os_error().is_some()))
    }

    /// Why the backend was asked to cancel, if it was.
    pub(crate) fn asked(&self) -> Option<Error> {
        self.error.filter(|_| self.state == State::Cancelling)
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        for page in self.pages.drain(..) {
            // SAFETY: allocated in `add_page` with the same layout. Headers need no drop; payloads are the
            // engine's, which drops a `Slots` only when none is left, and forgets it otherwise.
            unsafe { dealloc(page.as_ptr().cast(), page_layout()) }
        }
    }
}

fn page_layout() -> Layout {
    Layout::array::<Slot>(PAGE).expect("16 KiB")
}
