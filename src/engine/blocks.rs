//! Memory that doesn't fit a slot: free lists of blocks by size, one set a loop.
//!
//! Callbacks and buffers too large or too strictly aligned for the inline storage, socket addresses and the
//! arrays of vectored operations live here. A freed block is kept for the next of its size, so a warm loop
//! allocates nothing; what was once needed at the same time stays with the loop until it is dropped.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// The smallest block, and the alignment of every kept one.
const SMALLEST: usize = 128;
/// Larger blocks than this (or stricter ones than `SMALLEST`) come from and go to the allocator each time.
const LARGEST: usize = 1 << 20;
const CLASSES: usize = (LARGEST / SMALLEST).ilog2() as usize + 1;

pub(crate) struct Blocks {
    free: [Vec<NonNull<u8>>; CLASSES],
}

impl Blocks {
    pub(crate) fn new() -> Blocks {
        Blocks { free: [const { Vec::new() }; CLASSES] }
    }

    /// A block for `layout`; its contents are undefined.
    pub(crate) fn allocate(&mut self, layout: Layout) -> NonNull<u8> {
        let kept = class_of(layout).and_then(|class| self.free[class].pop());
        kept.unwrap_or_else(|| {
            let full = full_layout(layout);
            // SAFETY: `full_layout` is never of size 0.
            let block = unsafe { alloc(full) };
            NonNull::new(block).unwrap_or_else(|| handle_alloc_error(full))
        })
    }

    /// Takes a block back.
    ///
    /// # Safety
    /// `block` came from `allocate` of this `Blocks` with the same layout, and nobody uses it any more.
    pub(crate) unsafe fn free(&mut self, block: NonNull<u8>, layout: Layout) {
        match class_of(layout) {
            Some(class) => self.free[class].push(block),
            // SAFETY: the caller vouches that it was allocated with this layout.
            None => unsafe { dealloc(block.as_ptr(), full_layout(layout)) },
        }
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        for (class, blocks) in self.free.iter_mut().enumerate() {
            for block in blocks.drain(..) {
                // SAFETY: every block of this list was allocated with this layout.
                unsafe { dealloc(block.as_ptr(), class_layout(class)) }
            }
        }
    }
}

fn class_of(layout: Layout) -> Option<usize> {
    let fits = layout.size() <= LARGEST && layout.align() <= SMALLEST;
    fits.then(|| (layout.size().max(SMALLEST).next_power_of_two() / SMALLEST).ilog2() as usize)
}

fn class_layout(class: usize) -> Layout {
    Layout::from_size_align(SMALLEST << class, SMALLEST).expect("a power of two up to LARGEST")
}

/// What is really allocated for `layout`.
fn full_layout(layout: Layout) -> Layout {
    match class_of(layout) {
        Some(class) => class_layout(class),
        None if layout.size() == 0 => {
            Layout::from_size_align(1, layout.align()).expect("the alignment is a valid one")
        }
        None => layout,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_blocks_are_used_again_and_strict_alignments_hold() {
        let mut blocks = Blocks::new();
        for (size, align) in
            [(0, 1), (1, 1), (129, 16), (4096, 128), (100, 4096), (LARGEST, 8), (LARGEST + 1, 8)]
        {
            let layout = Layout::from_size_align(size, align).unwrap();
            let first = blocks.allocate(layout);
            assert_eq!(first.as_ptr() as usize % align, 0);
            // SAFETY: just allocated with this layout and used no more.
            unsafe { blocks.free(first, layout) };
            let second = blocks.allocate(layout);
            assert!(class_of(layout).is_none() || first == second);
            // SAFETY: as above.
            unsafe { blocks.free(second, layout) };
        }
    }
}
