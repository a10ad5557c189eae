//! The memory of vectored operations: one block with what the system reads (message header and an array of
//! pieces) and what the engine needs to tell the buffers how far they were filled.

use std::alloc::Layout;
use std::ptr::NonNull;

use super::Core;
use super::blocks::Blocks;
use crate::backend::{IoVec, Message};
use crate::buf::RawLent;

/// The most buffers that one operation takes: `IOV_MAX` of every system we know.
pub(crate) const MOST_PIECES: usize = 1024;

/// A list of memory pieces in a block of their own. `Message`, then the pieces still to do, then the memory as
/// it was lent.
pub(crate) struct Pieces {
    block: NonNull<u8>,
    count: u32,
    /// Pieces that are wholly done.
    first: u32,
    length: usize,
}

impl Pieces {
    /// No pieces and no block.
    pub(crate) const NONE: Pieces = Pieces { block: NonNull::dangling(), count: 0, first: 0, length: 0 };

    /// Room for `count` pieces.
    pub(crate) fn allocate(blocks: &mut Blocks, count: usize) -> Pieces {
        assert!(count <= MOST_PIECES, "checked before");
        if count == 0 {
            return Pieces::NONE;
        }
        let block = blocks.allocate(layout(count).0);
        let mut pieces = Pieces { block, count: count as u32, first: 0, length: 0 };
        for at in 0..count {
            pieces.set(at, RawLent::NONE);
        }
        pieces
    }

    /// Sets piece `at`. At most `usize::MAX` bytes in all.
    pub(crate) fn set(&mut self, at: usize, lent: RawLent) {
        assert!(at < self.count as usize);
        self.length = self.length.saturating_add(lent.length);
        // SAFETY: `at < count`, so both places lie in the block, aligned by `layout`.
        unsafe {
            self.vecs().add(at).write(IoVec::new(lent.memory, lent.length));
            self.lents().add(at).write(lent);
        }
    }

    /// Cuts the pieces down to `length` bytes in all.
    pub(crate) fn truncate(&mut self, length: usize) {
        let mut left = length.min(self.length);
        self.length = left;
        for at in 0..self.count as usize {
            // SAFETY: `at < count`; `set` has initialised the pieces.
            unsafe {
                let lent = *self.lents().add(at).as_ptr();
                let part = lent.length.min(left);
                left -= part;
                self.vecs().add(at).write(IoVec::new(lent.memory, part));
            }
        }
    }

    /// The bytes of all pieces together.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Steps over `bytes` bytes that were moved.
    pub(crate) fn advance(&mut self, mut bytes: usize) {
        while self.first < self.count {
            // SAFETY: `first < count`, and the backend does not have the block between two shots.
            let vec = unsafe { self.vecs().add(self.first as usize).as_mut() };
            if bytes < vec.length() {
                return vec.advance(bytes);
            }
            bytes -= vec.length();
            self.first += 1;
        }
    }

    /// The message header for the next shot, written into the block.
    pub(crate) fn message(&self) -> NonNull<Message> {
        let message = self.block.cast::<Message>();
        let left = (self.count - self.first) as usize;
        // SAFETY: the block begins with room for a header, and the pieces are behind it; `first <= count`.
        unsafe { message.write(Message::new(self.vecs().add(self.first as usize), left)) };
        message
    }

    /// The message header of the last shot, as the system has left it.
    pub(crate) fn answered(&self) -> NonNull<Message> {
        self.block.cast::<Message>()
    }

    /// The pieces that are still to do, as the system takes them.
    pub(crate) fn array(&self) -> (NonNull<IoVec>, u32) {
        // SAFETY: `first <= count`, so this stays in the block or right behind the pieces.
        (unsafe { self.vecs().add(self.first as usize) }, self.count - self.first)
    }

    /// The pieces of memory that are still to do, for a backend that moves the bytes itself.
    pub(crate) fn rest(&self) -> Vec<(NonNull<u8>, usize)> {
        let piece = |at: u32| {
            // SAFETY: `at < count`; `set` has initialised the pieces, and nobody writes them between two shots.
            let vec = unsafe { self.vecs().add(at as usize).as_ref() };
            (vec.memory(), vec.length())
        };
        (self.first..self.count).map(piece).collect()
    }

    /// Tells the buffers, in order, that `moved` bytes in all were received.
    ///
    /// # Safety
    /// As [`RawLent::set_filled`], for every piece.
    pub(crate) unsafe fn set_filled(&self, moved: usize) {
        let mut left = moved;
        for at in 0..self.count as usize {
            // SAFETY: `at < count`; the caller vouches for the buffers.
            unsafe {
                let lent = *self.lents().add(at).as_ptr();
                let part = lent.length.min(left);
                lent.set_filled(part);
                left -= part;
            }
        }
    }

    /// Gives the block back.
    ///
    /// # Safety
    /// The backend has let go, and no message or piece of it is used any more.
    pub(crate) unsafe fn free(&mut self, blocks: &mut Blocks) {
        if self.count > 0 {
            // SAFETY: allocated by `allocate` with this layout; the caller vouches for the rest.
            unsafe { blocks.free(self.block, layout(self.count as usize).0) };
            *self = Pieces::NONE;
        }
    }

    /// What was lent, piece by piece.
    pub(super) fn lent(&self) -> impl Iterator<Item = RawLent> {
        // SAFETY: `at < count`; `set` has initialised the pieces.
        (0..self.count as usize).map(|at| unsafe { *self.lents().add(at).as_ptr() })
    }

    fn vecs(&self) -> NonNull<IoVec> {
        // SAFETY: `layout` puts the pieces here, inside the block.
        unsafe { self.block.add(layout(self.count as usize).1).cast() }
    }

    fn lents(&self) -> NonNull<RawLent> {
        // SAFETY: `layout` puts the lent memory here, inside the block.
        unsafe { self.block.add(layout(self.count as usize).2).cast() }
    }
}

/// Pieces that are being filled in. Asking a buffer for its memory may panic; then they go back.
pub(crate) struct NewPieces<'a> {
    core: &'a Core,
    pieces: Pieces,
}

impl Core {
    /// Room for `count` pieces.
    pub(crate) fn new_pieces(&self, count: usize) -> NewPieces<'_> {
        NewPieces { core: self, pieces: Pieces::allocate(&mut self.engine.borrow_mut().blocks, count) }
    }
}

impl NewPieces<'_> {
    pub(crate) fn set(&mut self, at: usize, lent: RawLent) {
        self.pieces.set(at, lent);
    }

    /// All are filled in: they are the operation's from here on.
    pub(crate) fn keep(mut self) -> Pieces {
        std::mem::replace(&mut self.pieces, Pieces::NONE)
    }
}

impl Drop for NewPieces<'_> {
    fn drop(&mut self) {
        // SAFETY: no backend has ever seen them.
        unsafe { self.pieces.free(&mut self.core.engine.borrow_mut().blocks) }
    }
}

/// The block's layout, and where in it the pieces and the lent memory begin.
fn layout(count: usize) -> (Layout, usize, usize) {
    let vecs = Layout::array::<IoVec>(count).expect("at most MOST_PIECES");
    let lents = Layout::array::<RawLent>(count).expect("at most MOST_PIECES");
    let (with_vecs, vecs_at) = Layout::new::<Message>().extend(vecs).expect("small");
    let (whole, lents_at) = with_vecs.extend(lents).expect("small");
    (whole, vecs_at, lents_at)
}
