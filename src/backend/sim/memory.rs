//! The memory that a shot lends to the simulation, and the queues of bytes on the other side.

use std::collections::VecDeque;
use std::ptr::NonNull;

use crate::engine::op::Op;

/// The pieces of memory of one shot.
pub(super) enum Memory {
    One(NonNull<u8>, usize),
    Many(Vec<(NonNull<u8>, usize)>),
}

// SAFETY: the pointers are used by whichever thread turns the simulation, always under its lock, and only until the
// shot's completion is handed to its loop: until then the engine keeps the memory in place and doesn't touch it.
unsafe impl Send for Memory {}

impl Memory {
    /// What is left of a byte-moving operation's memory after `moved` bytes. Vectored ones keep count themselves.
    pub(super) fn of(op: &Op, moved: usize) -> Option<Memory> {
        let rest = |memory: NonNull<u8>, length: usize| {
            assert!(moved <= length);
            // SAFETY: `moved` is within the memory.
            Memory::One(unsafe { memory.add(moved) }, length - moved)
        };
        Some(match op {
            Op::Recv { into, .. } => rest(into.memory, into.length),
            Op::Send { from, length, .. } => {
                rest(NonNull::new(from.cast_mut()).expect("memory of a buffer is never null"), *length)
            }
            Op::RecvVectored { pieces, .. } | Op::SendVectored { pieces, .. } => Memory::Many(pieces.rest()),
            _ => return None,
        })
    }

    pub(super) fn length(&self) -> usize {
        match self {
            Memory::One(_, length) => *length,
            Memory::Many(pieces) => pieces.iter().map(|piece| piece.1).sum(),
        }
    }

    fn pieces(&self) -> impl Iterator<Item = (NonNull<u8>, usize)> {
        let (one, many) = match self {
            Memory::One(memory, length) => (Some((*memory, *length)), &[][..]),
            Memory::Many(pieces) => (None, pieces.as_slice()),
        };
        one.into_iter().chain(many.iter().copied())
    }

    /// Takes the first `bytes` bytes of the queue into the memory.
    pub(super) fn fill(&self, queue: &mut VecDeque<u8>, bytes: usize) {
        let mut left = bytes;
        for (memory, length) in self.pieces() {
            let mut at = 0;
            while left > 0 && at < length {
                let front = queue.as_slices().0;
                let part = front.len().min(left).min(length - at);
                assert!(part > 0, "the queue has that many bytes");
                // SAFETY: `part` bytes fit behind `at`; the memory is lent (see `Send` above), so nobody else uses it,
                // and it is no part of the queue.
                unsafe { memory.add(at).copy_from_nonoverlapping(NonNull::from(&front[0]), part) };
                queue.drain(..part);
                at += part;
                left -= part;
            }
        }
        assert_eq!(left, 0, "the memory has room for them");
    }

    /// Puts the first `bytes` bytes of the memory at the end of the queue.
    pub(super) fn drain(&self, queue: &mut VecDeque<u8>, bytes: usize) {
        let mut left = bytes;
        for (memory, length) in self.pieces() {
            let part = length.min(left);
            // SAFETY: as in `fill`; the bytes of a send are initialised.
            queue.extend(unsafe { std::slice::from_raw_parts(memory.as_ptr(), part) });
            left -= part;
        }
        assert_eq!(left, 0, "the memory has them");
    }
}
