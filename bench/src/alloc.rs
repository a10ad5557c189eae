//! The allocator of this program: the system's, which counts when asked to.
//!
//! While it doesn't count, a call costs a relaxed load and a branch more than the system's; while it does, one or two
//! relaxed additions more.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static COUNTS: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);
static FREED: AtomicU64 = AtomicU64::new(0);

/// What was allocated since [`start`], the bytes asked for, and those given back. A reallocation is an allocation of the
/// new size, and gives the old one back.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Allocated {
    pub allocations: u64,
    pub bytes: u64,
    pub freed: u64,
}

impl Allocated {
    /// The bytes that are in use, if what was there at the start still is.
    pub fn live(self) -> i64 {
        self.bytes as i64 - self.freed as i64
    }
}

pub fn start() {
    COUNTS.store(true, Relaxed);
}

pub fn so_far() -> Allocated {
    Allocated {
        allocations: ALLOCATIONS.load(Relaxed),
        bytes: BYTES.load(Relaxed),
        freed: FREED.load(Relaxed),
    }
}

struct Counting;

fn count(bytes: usize) {
    if COUNTS.load(Relaxed) {
        ALLOCATIONS.fetch_add(1, Relaxed);
        BYTES.fetch_add(bytes as u64, Relaxed);
    }
}

fn count_freed(bytes: usize) {
    if COUNTS.load(Relaxed) {
        FREED.fetch_add(bytes as u64, Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator with the same arguments; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        count_freed(layout.size());
        // SAFETY: as in `alloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count_freed(layout.size());
        // SAFETY: as in `alloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}
