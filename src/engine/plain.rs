//! The short way for what most operations are: a receive or send, or a read or write at a place, of one buffer, on a
//! handle in good order, without a deadline.
//!
//! It does what `start.rs` and `finish.rs` do, all in one go. Whatever isn't as plain as that is refused here before anything
//! has changed, and goes their way.

use super::Engine;
use super::handles::Lane;
use super::op::{End, Op, Request, Target, Transfer};
use super::slots::{Payload, State};
use crate::backend::{Completion, Outcome, Shot, Token};
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
        let entry_index = self.handles.find(id)?;
        let entry = self.handles.entry_mut(entry_index);
        if !entry.is_free_for(lane) {
            return None;
        }
        entry.link(lane, &mut self.slots, index);
        let header = self.slots.header_mut(index);
        header.kind = request.kind;
        header.op = std::mem::replace(&mut request.op, Op::NextTick);
        header.background = request.options.background;
        header.awaited = request.options.awaited;
        header.handle = entry_index;
        header.state = State::InFlight;
        header.engaged = true;
        header.plain = true;
        self.pending += usize::from(!header.background);
        self.backend.submit(Shot {
            token: Token { index, generation: header.generation as u32 },
            descriptor: entry.descriptor,
            op: &header.op,
            moved: 0,
            address: None,
            readiness_only: false,
            means: entry.means,
            lingers: entry.lingers,
        });
        Some(OpId(Id::new(index, self.number.get(), header.generation)))
    }

    /// Ends a plain operation of which a shot has moved all that it waits for.
    #[inline]
    pub(super) fn finish_plain(&mut self, Completion { token, outcome }: Completion) -> bool {
        let Outcome::Value(bytes) = outcome else { return false };
        let index = token.index;
        let header = self.slots.header_mut(index);
        let current = header.generation as u32 == token.generation;
        if !header.plain || !current || header.state != State::InFlight || bytes == 0 {
            return false;
        }
        let Some((transfer, lane)) = header.op.plain() else { return false };
        let moved = header.moved + bytes as usize;
        if transfer.whole && moved < transfer.length {
            return false;
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
        if header.awaited && lane == Lane::Receive {
            // Until its future has taken what it brought.
            header.holds_turn = true;
        } else {
            self.leave_lane(index, lane);
        }
        true
    }

    /// What `leave_handle` is for the others.
    #[inline(always)]
    fn leave_lane(&mut self, index: u32, lane: Lane) {
        let entry_index = self.slots.header_mut(index).take_handle();
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
        (end.error, end.moved) = (header.error, header.moved);
        if let Op::Recv { start, .. } = header.op {
            end.start = start;
        }
        header.payload = Payload::Gone;
        if header.holds_turn {
            self.leave_lane(index, Lane::Receive);
        }
        if !self.slots.header(index).is_inline() {
            self.free_block(index);
        }
        self.slots.free(index);
        true
    }

    /// Tells the end of a plain operation, and frees its slot.
    #[inline]
    pub(super) fn take_plain(&mut self, index: u32, end: &mut End) -> bool {
        let header = self.slots.header_mut(index);
        if !header.plain || header.engaged {
            return false;
        }
        (end.error, end.moved) = (header.error, header.moved);
        if let Op::Recv { start, .. } = header.op {
            end.start = start;
        }
        header.payload = Payload::Gone;
        self.pending -= usize::from(!header.background);
        if !header.is_inline() {
            self.free_block(index);
        }
        self.slots.free(index);
        true
    }
}
