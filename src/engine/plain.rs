//! The short way for what most operations are: a receive or send, or a read or write at a place, of one buffer, on a
//! handle in good order, without a deadline.
//!
//! It does what `start.rs` and `finish.rs` do, all in one go. Whatever isn't as plain as that is refused here before anything
//! has changed, and goes their way.

use super::Engine;
use super::blocks::Blocks;
use super::erased::Callback;
use super::handles::Lane;
use super::op::{End, Op, Request, Target, Transfer};
use super::receiving::Filled;
use super::slots::{Header, Payload, State};
use crate::backend::Token;
use crate::handle::{Id, OpId};
use crate::op::Limit;

impl Op {
    /// What it moves, if it is one of the plain kinds, and the list of its handle that it belongs to.
    #[inline]
    fn plain(&self) -> Option<(Transfer, Lane)> {
        let (length, whole, receive, offset, lane) = match *self {
            Op::Recv { into, exact, .. } => (into.length, exact, true, None, Lane::Receive),
            Op::Send { length, all, .. } => (length, all, false, None, Lane::Send),
            Op::ReadAt { into, exact, offset, cursor: false } => {
                (into.length, exact, true, Some(offset), Lane::Free)
            }
            Op::WriteAt { length, all, offset, cursor: false, .. } => {
                (length, all, false, Some(offset), Lane::Free)
            }
            _ => return None,
        };
        Some((Transfer { length, whole, receive, offset }, lane))
    }
}

impl Engine {
    /// Starts a plain operation whose turn it is at once.
    #[inline]
    pub(super) fn start_plain(&mut self, index: u32, request: &mut Request) -> Option<OpId> {
        let (&Target::Handle(id), Limit::None) = (&request.target, request.options.limit) else {
            return None;
        };
        let (transfer, lane) = request.op.plain()?;
        if id.owner() != self.number.get()
            || request.options.inner
            || transfer.length == 0
            || !transfer.in_range()
        {
            return None;
        }
        let entry = self.handles.find_mut(id).filter(|entry| entry.is_free_for(lane))?;
        entry.link(lane, &mut self.slots, index);
        let header = self.slots.header_mut(index);
        header.kind = request.kind;
        header.op = std::mem::replace(&mut request.op, Op::NextTick);
        header.background = request.options.background;
        header.awaited = request.options.awaited;
        header.handle = id.index();
        header.state = State::InFlight;
        header.engaged = true;
        header.plain = true;
        self.pending += usize::from(!header.background);
        let token = Token { index, generation: header.generation as u32 };
        self.backend.submit_plain(token, &header.op, (entry.descriptor, entry.means, entry.lingers));
        Some(OpId(Id::new(index, self.number.get(), header.generation)))
    }

    /// Ends a plain operation of which a shot has moved all that it waits for. Its callback, if it is one.
    #[inline]
    pub(super) fn finish_plain(&mut self, token: Token, bytes: u32) -> Option<Callback> {
        let index = token.index;
        let header = self.slots.header_mut(index);
        let current = header.generation as u32 == token.generation;
        if !header.plain || !current || header.state != State::InFlight || bytes == 0 {
            return None;
        }
        let (transfer, lane) = header.op.plain()?;
        let moved = header.moved + bytes as usize;
        if transfer.whole && moved < transfer.length {
            return None;
        }
        assert!(moved <= transfer.length, "the system moved more than it was given");
        header.engaged = false;
        header.moved = moved;
        header.state = State::Done;
        if let Op::Recv { into, .. } | Op::ReadAt { into, .. } = &header.op {
            // SAFETY: the operation is in flight, so its payload is whole and in its place; the backend has let go of the
            // memory, no reference to the buffer exists (the engine runs no user code), and `moved` bytes were written.
            unsafe { into.set_filled(moved) }
        }
        let callback = header.callback(index);
        if header.awaited && lane == Lane::Receive {
            // Until its future has taken what it brought.
            header.holds_turn = true;
        } else {
            let entry = header.take_handle();
            self.leave_lane(index, entry, lane);
        }
        Some(callback)
    }

    /// As `buffer_filled`, for a receive of many that nobody has asked to end. Its callback.
    #[inline]
    pub(super) fn fill_plain(&mut self, token: Token, filled: Filled) -> Option<Callback> {
        let header = self.slots.header_mut(token.index);
        let current = header.generation as u32 == token.generation;
        if !current || header.state != State::InFlight || filled.bytes == 0 {
            return None;
        }
        let Op::RecvMany { taken, .. } = &mut header.op else { return None };
        *taken = Some(filled);
        Some(header.callback(token.index))
    }

    /// Lets a receive of many that its shot goes on for, and that its callback left alone, have its next item.
    #[inline]
    pub(super) fn rearm_plain(&mut self, index: u32) -> bool {
        let header = self.slots.header_mut(index);
        let goes_on = header.engaged && header.error.is_none() && header.payload == Payload::Whole;
        let plain = goes_on && matches!(header.op, Op::RecvMany { held: false, .. });
        if plain {
            header.state = State::InFlight;
        }
        plain
    }

    /// What `leave_handle` is for the others.
    #[inline(always)]
    fn leave_lane(&mut self, index: u32, entry_index: u32, lane: Lane) {
        let entry = self.handles.entry_mut(entry_index);
        entry.unlink(lane, &mut self.slots, index);
        if entry.has_more(lane) {
            self.lane_moves_on(entry_index, lane, index);
        }
    }

    /// Tells a future the end of a plain operation, and frees its slot.
    #[inline]
    pub(super) fn take_plain_awaited(&mut self, index: u32, end: &mut End) -> bool {
        let header = self.slots.header_mut(index);
        if !header.plain || header.engaged || self.down {
            return false;
        }
        if header.holds_turn {
            let entry = header.take_handle();
            self.leave_lane(index, entry, Lane::Receive);
        }
        let blocks = &mut self.blocks;
        self.slots.free_after(index, |header| header.end_plain(blocks, end));
        true
    }

    /// Tells the end of a plain operation, and frees its slot.
    #[inline]
    pub(super) fn take_plain(&mut self, index: u32, end: &mut End) -> bool {
        let header = self.slots.header(index);
        if !header.plain || header.engaged {
            return false;
        }
        let (blocks, pending) = (&mut self.blocks, &mut self.pending);
        self.slots.free_after(index, |header| {
            *pending -= usize::from(!header.background);
            header.end_plain(blocks, end);
        });
        true
    }
}

impl Header {
    /// Tells the end of a plain operation, whose payload was moved out.
    #[inline]
    fn end_plain(&mut self, blocks: &mut Blocks, end: &mut End) {
        (end.error, end.moved) = (self.error, self.moved);
        if let Op::Recv { start, .. } = self.op {
            end.start = start;
        }
        self.payload = Payload::Gone;
        if !self.is_inline() {
            self.free_block(blocks);
        }
    }
}
