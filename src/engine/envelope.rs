//! The memory of message operations: the pieces of the buffers, and a block with the address and the control data.

use std::alloc::Layout;
use std::ptr::NonNull;

use super::Core;
use super::blocks::Blocks;
use super::vectored::Pieces;
use crate::backend::{Arrival, Head, Message};
use crate::buf::RawLent;

const LAYOUT: Layout = Layout::new::<Head>();

/// What one datagram is received into or sent from. There is a head if there are pieces, and at least one of those.
pub(crate) struct Envelope {
    pieces: Pieces,
    head: Option<NonNull<Head>>,
}

impl Envelope {
    /// Of an operation that hasn't been placed yet.
    pub(crate) const NONE: Envelope = Envelope { pieces: Pieces::NONE, head: None };

    /// The bytes of all buffers together.
    pub(crate) fn length(&self) -> usize {
        self.pieces.length()
    }

    /// What was lent, piece by piece.
    pub(super) fn lent(&self) -> impl Iterator<Item = RawLent> {
        self.pieces.lent()
    }

    /// Whether it says where it goes.
    pub(crate) fn is_addressed(&self) -> bool {
        // SAFETY: as in `arrival`.
        self.head.is_some_and(|head| unsafe { head.as_ref() }.is_addressed())
    }

    /// The whole message for the next shot, written into the blocks.
    pub(crate) fn message(&self) -> NonNull<Message> {
        let mut message = self.pieces.message();
        let mut head = self.head.expect("a shot has a message");
        // SAFETY: both lie in blocks of this operation, which the backend does not have between two shots.
        unsafe { head.as_mut().complete(message.as_mut()) };
        message
    }

    /// The pieces of memory, and the head, for a backend that moves the bytes itself.
    pub(crate) fn parts(&self) -> (Vec<(NonNull<u8>, usize)>, NonNull<Head>) {
        (self.pieces.rest(), self.head.expect("a shot has a message"))
    }

    /// Whether the system has told anything beside the bytes. As `arrival`.
    pub(crate) fn is_told(&self) -> bool {
        // SAFETY: as in `arrival`.
        unsafe { self.pieces.answered().as_ref() }.has_control()
    }

    /// What was received beside the bytes. A shot that ended well has written it.
    pub(crate) fn arrival(&self) -> Arrival {
        let mut head = self.head.expect("something was received");
        // SAFETY: `message` wrote the header before the shot, and the backend, which has let go, its answer after it.
        unsafe { head.as_mut().arrival(self.pieces.answered().as_ref()) }
    }

    /// Tells the buffers, in order, that `moved` bytes in all were received.
    ///
    /// # Safety
    /// As [`Pieces::set_filled`].
    pub(crate) unsafe fn set_filled(&self, moved: usize) {
        // SAFETY: the caller vouches for it.
        unsafe { self.pieces.set_filled(moved) }
    }

    /// Gives the blocks back.
    ///
    /// # Safety
    /// The backend has let go, and nothing of them is used any more.
    pub(crate) unsafe fn free(&mut self, blocks: &mut Blocks) {
        // SAFETY: the caller vouches for it; the head's block was allocated with this layout.
        unsafe {
            self.pieces.free(blocks);
            if let Some(head) = self.head.take() {
                blocks.free(head.cast(), LAYOUT);
            }
        }
    }
}

impl Core {
    /// Puts a head beside pieces that are filled in, of which there is at least one.
    pub(crate) fn seal(&self, pieces: Pieces, contents: Head) -> Envelope {
        let head = self.engine.borrow_mut().blocks.allocate(LAYOUT).cast::<Head>();
        // SAFETY: a block of a head's layout, just taken.
        unsafe { head.write(contents) };
        Envelope { pieces, head: Some(head) }
    }
}
