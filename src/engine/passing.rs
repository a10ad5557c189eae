//! The memory of operations that pass descriptors: a block with the message.

use std::alloc::Layout;
use std::ptr::NonNull;

use super::Core;
use super::blocks::Blocks;
use crate::backend::{Delivery, Parcel};

const LAYOUT: Layout = Layout::new::<Parcel>();

/// A parcel in a block of its own; `NONE` before the operation is placed.
pub(crate) struct Passing(Option<NonNull<Parcel>>);

impl Passing {
    pub(crate) const NONE: Passing = Passing(None);

    fn parcel(&self) -> NonNull<Parcel> {
        self.0.expect("a shot has a message")
    }

    /// The header for the next shot.
    #[allow(dead_code, reason = "not every system passes descriptors")]
    pub(crate) fn message(&self, memory: *mut u8, length: usize) -> NonNull<u8> {
        // SAFETY: the parcel lies in its block, which the backend does not have between two shots.
        unsafe { self.parcel().as_mut() }.message(memory, length)
    }

    /// The system has received something.
    pub(crate) fn arrived(&self) {
        // SAFETY: as in `message`: the shot is over.
        unsafe { self.parcel().as_mut() }.arrived();
    }

    /// Whether the system has told anything beside the bytes. As `arrived`, before that.
    pub(crate) fn is_told(&self) -> bool {
        // SAFETY: as in `message`: the shot is over.
        unsafe { self.parcel().as_ref() }.is_told()
    }

    /// Whether it says where it goes.
    pub(crate) fn is_addressed(&self) -> bool {
        // SAFETY: as in `message`.
        self.0.is_some_and(|parcel| unsafe { parcel.as_ref() }.is_addressed())
    }

    /// What was received, once.
    ///
    /// # Safety
    /// The backend has let go.
    pub(crate) unsafe fn take(&self) -> Delivery {
        // SAFETY: the caller vouches for it.
        self.0.map(|mut parcel| unsafe { parcel.as_mut() }.take()).unwrap_or_default()
    }

    /// Gives the block back, and closes what came and nobody took.
    ///
    /// # Safety
    /// The backend has let go, and nothing of the block is used any more.
    pub(crate) unsafe fn free(&mut self, blocks: &mut Blocks) {
        // SAFETY: the caller vouches for it.
        drop(unsafe { self.take() });
        if let Some(parcel) = self.0.take() {
            // SAFETY: allocated in `new_parcel` with this layout; it holds nothing that needs a drop.
            unsafe { blocks.free(Parcel::place(parcel), LAYOUT) }
        }
    }
}

impl Core {
    pub(crate) fn new_parcel(&self, contents: Parcel) -> Passing {
        let parcel = self.engine.borrow_mut().blocks.allocate(LAYOUT).cast::<Parcel>();
        // SAFETY: a block of a parcel's layout, just taken.
        unsafe { parcel.write(contents) };
        Passing(Some(parcel))
    }
}
