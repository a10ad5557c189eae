//! The memory that a shot lends to the simulation, and the queues of bytes on the other side.

use std::collections::VecDeque;
use std::ptr::NonNull;

use crate::engine::op::Op;
use crate::engine::pooled::Pool;

/// The pieces of memory of one shot.
pub(super) enum Memory {
    One(NonNull<u8>, usize),
    Many(Vec<(NonNull<u8>, usize)>),
    /// A buffer that is picked when there is something to receive.
    Pool(NonNull<Pool>),
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
            &Op::RecvMany { pool, .. } => Memory::Pool(pool),
            Op::Send { from, length, .. } => {
                rest(NonNull::new(from.cast_mut()).expect("memory of a buffer is never null"), *length)
            }
            Op::ReadAt { into, .. } => rest(into.memory, into.length),
            Op::WriteAt { from, length, .. } => {
                rest(NonNull::new(from.cast_mut()).expect("memory of a buffer is never null"), *length)
            }
            Op::RecvVectored { pieces, .. }
            | Op::SendVectored { pieces, .. }
            | Op::ReadAtVectored { pieces, .. }
            | Op::WriteAtVectored { pieces, .. } => Memory::Many(pieces.rest()),
            _ => return None,
        })
    }

    pub(super) fn length(&self) -> usize {
        match self {
            Memory::One(_, length) => *length,
            Memory::Many(pieces) => pieces.iter().map(|piece| piece.1).sum(),
            Memory::Pool(_) => 0,
        }
    }

    /// Picks a buffer, if it is to come from a pool: none if there is none.
    pub(super) fn pick(&self) -> Option<(Option<u16>, Memory)> {
        Some(match *self {
            Memory::One(memory, length) => (None, Memory::One(memory, length)),
            Memory::Many(ref pieces) => (None, Memory::Many(pieces.clone())),
            Memory::Pool(pool) => {
                // SAFETY: the shot is not over, so the engine keeps the pool.
                let pool = unsafe { pool.as_ref() };
                let (buffer, memory) = pool.pick()?;
                (Some(buffer), Memory::One(memory, pool.size()))
            }
        })
    }

    fn pieces(&self) -> impl Iterator<Item = (NonNull<u8>, usize)> {
        let (one, many) = match self {
            Memory::One(memory, length) => (Some((*memory, *length)), &[][..]),
            Memory::Many(pieces) => (None, pieces.as_slice()),
            Memory::Pool(_) => (None, &[][..]),
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

    /// The bytes behind the first `at` ones, piece by piece, as many as `length`.
    fn range(&self, at: usize, length: usize) -> impl Iterator<Item = (NonNull<u8>, usize)> {
        let (mut skipped, mut left) = (at, length);
        self.pieces().filter_map(move |(memory, length)| {
            let skip = skipped.min(length);
            let part = (length - skip).min(left);
            skipped -= skip;
            left -= part;
            // SAFETY: `skip` is within the piece.
            (part > 0).then(|| (unsafe { memory.add(skip) }, part))
        })
    }

    /// Writes bytes into the memory, behind its first `at` ones.
    pub(super) fn put(&self, at: usize, bytes: &[u8]) {
        let mut done = 0;
        for (memory, part) in self.range(at, bytes.len()) {
            // SAFETY: as in `fill`.
            unsafe { memory.copy_from_nonoverlapping(NonNull::from(&bytes[done]), part) };
            done += part;
        }
        assert_eq!(done, bytes.len(), "the memory has room for them");
    }

    /// Takes bytes from the memory, behind its first `at` ones.
    pub(super) fn get(&self, at: usize, into: &mut [u8]) {
        let mut done = 0;
        for (memory, part) in self.range(at, into.len()) {
            // SAFETY: as in `drain`.
            let bytes = unsafe { std::slice::from_raw_parts(memory.as_ptr(), part) };
            into[done..done + part].copy_from_slice(bytes);
            done += part;
        }
        assert_eq!(done, into.len(), "the memory has them");
    }
}
