//! What another thread gave the loop to do, without its type: in the entry itself if it fits, else in a box.

use std::mem::{ManuallyDrop, MaybeUninit};
use std::ptr::NonNull;

use crate::EventLoop;
use crate::engine::erased::Context;

/// What fits an entry: a closure, or an operation and its callback.
const ROOM: usize = 112;

/// Something to be done on the loop's thread.
pub(crate) trait Job<S>: Send + 'static {
    fn run(self, state: &mut S, io: &EventLoop<S>);
}

impl<S, J: Job<S>> Job<S> for Box<J> {
    fn run(self, state: &mut S, io: &EventLoop<S>) {
        (*self).run(state, io);
    }
}

#[repr(C, align(16))]
pub(crate) struct Entry {
    room: MaybeUninit<[u8; ROOM]>,
    vtable: &'static Vtable,
}

const _: () = assert!(size_of::<Entry>() == 128);

struct Vtable {
    /// Moves the job out and runs it.
    ///
    /// # Safety
    /// The pointer is to a job of this vtable's type, which is not used afterwards; the context lends a state of the
    /// job's type.
    run: unsafe fn(NonNull<u8>, Context),
    /// Drops the job in place.
    ///
    /// # Safety
    /// As `run`, without the context.
    drop: unsafe fn(NonNull<u8>),
}

impl Entry {
    /// An entry for loops with state `S`. Running it on another is undefined behaviour: see `run`.
    pub(crate) fn new<S, J: Job<S>>(job: J) -> Entry {
        if fits::<J>() { Entry::hold::<S, J>(job) } else { Entry::hold::<S, Box<J>>(Box::new(job)) }
    }

    fn hold<S, J: Job<S>>(job: J) -> Entry {
        assert!(fits::<J>());
        let vtable = const { &Vtable { run: run::<S, J>, drop: drop_in_place::<J> } };
        let mut entry = Entry { room: MaybeUninit::uninit(), vtable };
        // SAFETY: the job fits the room by size and, as the room is the first field of a struct aligned to 16, by
        // alignment.
        unsafe { entry.room.as_mut_ptr().cast::<J>().write(job) };
        entry
    }

    /// Does what it was made for.
    ///
    /// # Safety
    /// The context lends a state of the type with which the entry was made.
    pub(crate) unsafe fn run(self, context: Context) {
        let mut entry = ManuallyDrop::new(self);
        let vtable = entry.vtable;
        // SAFETY: the room holds a job of the vtable's type, and the entry is forgotten, so that it is moved out
        // once; the caller vouches for the context.
        unsafe { (vtable.run)(entry.room(), context) }
    }

    fn room(&mut self) -> NonNull<u8> {
        NonNull::from(&mut self.room).cast()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let vtable = self.vtable;
        // SAFETY: the room holds a job of the vtable's type: `run` forgets the entry.
        unsafe { (vtable.drop)(self.room()) }
    }
}

// SAFETY: an entry is made of a job only, and jobs are `Send`. The vtable is shared and never changes.
unsafe impl Send for Entry {}

const fn fits<J>() -> bool {
    size_of::<J>() <= ROOM && align_of::<J>() <= align_of::<Entry>()
}

/// See `Vtable::run`.
///
/// # Safety
/// As there.
unsafe fn run<S, J: Job<S>>(job: NonNull<u8>, context: Context) {
    // SAFETY: the caller vouches for the job, and for the state's type; a tick runs one entry or callback at a time.
    let (job, (state, io)) = unsafe { (job.cast::<J>().read(), context.lend::<S>()) };
    job.run(state, io);
}

/// See `Vtable::drop`.
///
/// # Safety
/// As there.
unsafe fn drop_in_place<J>(job: NonNull<u8>) {
    // SAFETY: the caller vouches for the job.
    unsafe { job.cast::<J>().drop_in_place() }
}
