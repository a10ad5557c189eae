//! Guarantee 5: no memory is handed back while the system may touch it.
//!
//! Sanitizers don't see what the kernel writes. So this binary's allocator fills freed blocks with a pattern, keeps them
//! for a while, and looks at the pattern before it gives them back: whoever wrote there, a thread or the kernel, is
//! found. Random programs of submits, cancels, removes, closes and drops run on it.
//! The backends share them; `NBIO_LONG=1` runs 120,000 in all.

mod backends;
#[path = "programs/mod.rs"]
mod programs;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;

use backends::SYSTEMS;
use programs::{Ground, Style, run};

/// What freed memory is filled with.
const POISON: u8 = 0xD5;
static POISONED: [u8; 4096] = [POISON; 4096];

/// At most so many blocks and bytes are kept.
const MOST_BLOCKS: usize = 1 << 16;
const MOST_BYTES: usize = 64 << 20;

/// A block that was freed.
#[derive(Copy, Clone)]
struct Freed {
    block: *mut u8,
    layout: Layout,
}

/// The freed blocks, oldest first, in a ring.
struct Quarantine {
    blocks: [Freed; MOST_BLOCKS],
    first: usize,
    count: usize,
    bytes: usize,
    /// Blocks in which somebody wrote after they were freed, and the size of the latest.
    spoilt: usize,
    spoilt_size: usize,
}

// SAFETY: the pointers are to memory that belongs to the quarantine alone.
unsafe impl Send for Quarantine {}

impl Quarantine {
    fn keep(&mut self, freed: Freed) {
        self.blocks[(self.first + self.count) % MOST_BLOCKS] = freed;
        self.count += 1;
        self.bytes += freed.layout.size();
        while self.count == MOST_BLOCKS || self.bytes > MOST_BYTES {
            self.release_oldest();
        }
    }

    /// Looks at the oldest block and gives it back.
    fn release_oldest(&mut self) {
        let Freed { block, layout } = self.blocks[self.first];
        self.first = (self.first + 1) % MOST_BLOCKS;
        self.count -= 1;
        self.bytes -= layout.size();
        // SAFETY: the block was allocated with this size, filled when it was freed, and nobody else has it.
        let contents = unsafe { std::slice::from_raw_parts(block, layout.size()) };
        if contents.chunks(POISONED.len()).any(|chunk| *chunk != POISONED[..chunk.len()]) {
            self.spoilt += 1;
            self.spoilt_size = layout.size();
        }
        // SAFETY: allocated by `System` with this layout, and given back once.
        unsafe { System.dealloc(block, layout) }
    }
}

static QUARANTINE: Mutex<Quarantine> = Mutex::new(Quarantine {
    blocks: [Freed { block: std::ptr::null_mut(), layout: Layout::new::<()>() }; MOST_BLOCKS],
    first: 0,
    count: 0,
    bytes: 0,
    spoilt: 0,
    spoilt_size: 0,
});

struct Quarantining;

// SAFETY: `System` does it all; what it gets back it gets back later. Locking a `Mutex` allocates nothing.
unsafe impl GlobalAlloc for Quarantining {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller vouches.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller gives the block up.
        unsafe { block.write_bytes(POISON, layout.size()) };
        let mut quarantine = QUARANTINE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        quarantine.keep(Freed { block, layout });
    }
}

#[global_allocator]
static ALLOCATOR: Quarantining = Quarantining;

/// Looks at every freed block. How many were written to since the last time, and the size of one of them.
fn spoilt() -> (usize, usize) {
    let mut quarantine = QUARANTINE.lock().expect("nobody panics while it is locked");
    while quarantine.count > 0 {
        quarantine.release_oldest();
    }
    let spoilt = (quarantine.spoilt, quarantine.spoilt_size);
    (quarantine.spoilt, quarantine.spoilt_size) = (0, 0);
    spoilt
}

/// The tests share the quarantine: one at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

#[test]
fn a_write_to_freed_memory_is_found() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    spoilt();
    let (mut sender, receiver) = std::os::unix::net::UnixStream::pair().unwrap();
    std::io::Write::write_all(&mut sender, b"x").unwrap();
    let mut buffer = vec![0_u8; 12_345];
    let last = &raw mut buffer[12_344];
    drop(buffer);
    // SAFETY: on purpose not: the block is freed. It is still mapped, because it is in quarantine.
    let received = unsafe {
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&receiver);
        libc::recv(descriptor, last.cast(), 1, 0)
    };
    assert_eq!((received, spoilt()), (1, (1, 12_345)), "the kernel wrote one byte into a freed block");
    assert_eq!(spoilt(), (0, 0));
}

#[test]
fn nobody_writes_to_freed_memory() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let long = std::env::var_os("NBIO_LONG").is_some_and(|value| value == "1");
    let programs = if long { 120_000 } else { 1_300 };
    // Seeds of its own: the conformance suite runs the first ones.
    let mut first = 1_000_000;
    for (name, builder) in SYSTEMS {
        let count = programs / SYSTEMS.len() as u64;
        spoilt();
        run(&Ground::System(builder()), Style::default(), first..first + count);
        let (spoilt, size) = spoilt();
        assert_eq!(spoilt, 0, "{name}: blocks written to after they were freed, one of them of {size} bytes");
        first += count;
    }
}
