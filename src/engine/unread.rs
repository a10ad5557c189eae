//! What dropped futures have left: bytes, messages and connections that came for them. It waits at the handle for whoever
//! receives or accepts next.
//!
//! On a stream an orphan keeps its turn until it has ended, so the next receive finds here what it has brought. Accepts and
//! datagrams have no turns: if one of them waits with the backend already, it is asked to come back (`disturb`).

use std::collections::VecDeque;
use std::ptr::NonNull;

use super::Engine;
use super::handles::{EntryState, Lane};
use super::op::{End, Got, Op};
use super::slots::{NONE, State};
use crate::backend::{Address, Outcome, Token, is_cancelled};
use crate::buf::RawLent;
use crate::{Error, ErrorKind};

/// What waits at a handle.
#[derive(Default)]
pub(super) struct Unread {
    pieces: VecDeque<Piece>,
    /// How the stream ended behind the pieces: at its end, or with an error.
    end: Option<Option<Error>>,
    /// Connections, and where they came from.
    accepted: VecDeque<(u32, Address)>,
}

/// Bytes that came together.
struct Piece {
    bytes: Vec<u8>,
    /// How many of them were received from here.
    taken: usize,
    /// Of a message, and of bytes with descriptors: what came beside them.
    beside: Option<End>,
}

impl Unread {
    fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.end.is_none() && self.accepted.is_empty()
    }
}

impl Engine {
    /// Keeps what an operation brought whose future was dropped. The backend has let go of its memory.
    pub(super) fn keep_unread(&mut self, index: u32, error: Option<Error>) {
        let header = self.slots.header(index);
        let entry = header.handle;
        if entry == NONE || self.handles.entry(entry).state != EntryState::Open {
            return;
        }
        let (moved, at_end) = (header.moved, header.at_end);
        // A place in a file stays where it is, and so does the cursor.
        if matches!(header.op, Op::ReadAt { .. }) {
            self.slots.header_mut(index).moved = 0;
            return;
        }
        if let Op::Accept { accepted, .. } = header.op {
            let Some(connection) = accepted else { return };
            let address = header.scratch.map_or_else(Address::none, |scratch| {
                // SAFETY: the slot's scratch block holds an `Address`, which the backend has let go of, and nobody looks
                // at it any more.
                unsafe { scratch.cast::<Address>().read() }
            });
            self.slots.header_mut(index).op.set_accepted(None);
            return self.leave_unread(entry, |unread| unread.accepted.push_back((connection, address)));
        }
        let beside = self.beside(index);
        if moved > 0 || beside.as_ref().is_some_and(|end| end.message.is_some()) {
            let piece = Piece { bytes: self.brought(index, moved), taken: 0, beside };
            // It had its turn, so whatever lies here came behind it, or nothing does.
            self.leave_unread(entry, |unread| unread.pieces.push_front(piece));
        }
        let system_error = error.filter(|error| error.os_error().is_some());
        if at_end || system_error.is_some() {
            self.leave_unread(entry, |unread| unread.end = Some(system_error.filter(|_| !at_end)));
        }
    }

    /// What came beside the bytes of a message, or descriptors with bytes.
    fn beside(&mut self, index: u32) -> Option<End> {
        let header = self.slots.header(index);
        let fitting = match header.op {
            Op::RecvMessage { got, .. } => got == Got::Message,
            Op::RecvFds { got, .. } => got == Got::Message || header.moved > 0,
            _ => false,
        };
        if !fitting {
            return None;
        }
        let mut end = End::new(None, header.moved);
        match self.inherited_by(index) {
            Some(inherited) => end = inherited,
            None => self.message_end(index, &mut end),
        }
        Some(end)
    }

    /// A copy of the bytes that a receive has brought.
    fn brought(&self, index: u32, moved: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(moved);
        let mut add = |lent: RawLent| {
            let part = lent.length.min(moved - bytes.len());
            // SAFETY: the buffer lies in its place and the backend has let go of it; of all that was lent, the first
            // `moved` bytes were written.
            bytes.extend_from_slice(unsafe { std::slice::from_raw_parts(lent.memory.as_ptr(), part) });
        };
        match &self.slots.header(index).op {
            Op::Recv { into, .. } | Op::RecvFds { into, .. } => add(*into),
            Op::RecvVectored { pieces, .. } => pieces.lent().for_each(add),
            Op::RecvMessage { envelope, .. } => envelope.lent().for_each(add),
            _ => {}
        }
        bytes
    }

    /// Leaves a connection for whoever accepts next, where it came from being asked for only then.
    pub(super) fn leave_connection(&mut self, entry: u32, connection: u32) {
        self.leave_unread(entry, |unread| unread.accepted.push_back((connection, Address::none())));
    }

    /// Leaves bytes behind what waits at a stream already.
    pub(super) fn leave_bytes(&mut self, entry: u32, bytes: Vec<u8>) {
        if self.handles.entry(entry).state == EntryState::Open {
            let piece = Piece { bytes, taken: 0, beside: None };
            self.leave_unread(entry, |unread| unread.pieces.push_back(piece));
        }
    }

    /// The oldest bytes that wait at a stream.
    pub(super) fn unread_piece(&mut self, entry: u32) -> Option<Vec<u8>> {
        let piece = self.unread.get_mut(&entry)?.pieces.pop_front();
        self.forget_unread(entry);
        piece.map(|mut piece| piece.bytes.split_off(piece.taken))
    }

    /// How the stream ended behind all that waits there.
    pub(super) fn unread_end(&mut self, entry: u32) -> Option<Option<Error>> {
        let end = self.unread.get_mut(&entry)?.end.take();
        self.forget_unread(entry);
        end
    }

    fn forget_unread(&mut self, entry: u32) {
        if self.unread.get(&entry).is_some_and(Unread::is_empty) {
            self.unread.remove(&entry);
            self.handles.entry_mut(entry).has_unread = false;
        }
    }

    /// The oldest connection that waits at a listener.
    pub(super) fn unread_connection(&mut self, entry: u32) -> Option<u32> {
        let unread = self.unread.get_mut(&entry)?;
        let connection = unread.accepted.pop_front().map(|(connection, _)| connection);
        self.forget_unread(entry);
        connection
    }

    fn leave_unread(&mut self, entry: u32, leave: impl FnOnce(&mut Unread)) {
        leave(self.unread.entry(entry).or_default());
        self.handles.entry_mut(entry).has_unread = true;
        self.disturb(entry);
    }

    /// Asks one that waits with the backend without a turn, if there is one, to come back.
    fn disturb(&mut self, entry: u32) {
        let mut index = self.handles.entry(entry).list(Lane::Free).head;
        while index != NONE {
            let (header, token) = (self.slots.header(index), self.token(index));
            let waits = header.state == State::InFlight && header.engaged && header.op.receives();
            if waits && !header.inner && !self.disturbed.contains(&token) {
                let readiness = header.readiness;
                self.disturbed.push(token);
                return self.backend.cold().cancel(token, readiness);
            }
            index = header.next;
        }
    }

    /// Whether a shot comes back because it was asked to.
    pub(super) fn was_disturbed(&mut self, index: u32, token: Token, outcome: &Outcome) -> bool {
        let Some(at) = self.disturbed.iter().position(|&disturbed| disturbed == token) else { return false };
        self.disturbed.swap_remove(at);
        let cancelled = match *outcome {
            Outcome::Failed(os) => is_cancelled(os),
            Outcome::Refused(kind) => kind == ErrorKind::Cancelled,
            _ => false,
        };
        let header = self.slots.header(index);
        let free = cancelled && header.state == State::InFlight;
        let entry = header.handle;
        // It has something of its own, or is over: another one that waits is to take what is there.
        if !free && entry != NONE && self.handles.entry(entry).has_unread {
            self.disturb(entry);
        }
        free
    }

    /// Lets an operation that isn't with the backend take what waits for it, or gives it to the backend.
    pub(super) fn again(&mut self, index: u32) {
        match self.slots.header(index).op {
            Op::Accept { many: true, .. } => return self.accept_on(index),
            Op::RecvMany { .. } => return self.receive_on(index),
            _ => {}
        }
        let handle = self.slots.header(index).handle;
        let unread = handle != NONE && self.handles.entry(handle).has_unread;
        if !unread || !self.take_unread(index) {
            self.shoot(index, false);
        }
    }

    /// Lets an operation whose turn it is take what waits for it. True if that was all, and it has ended.
    #[cold]
    pub(super) fn take_unread(&mut self, index: u32) -> bool {
        let entry = self.slots.header(index).handle;
        let Some(mut unread) = self.unread.remove(&entry) else { return false };
        let ended = match self.slots.header(index).op {
            Op::Accept { many: false, .. } => self.take_connection(index, &mut unread),
            Op::Recv { .. } | Op::RecvVectored { .. } => self.take_bytes(index, &mut unread),
            Op::RecvMessage { .. } | Op::RecvFds { .. } => self.take_message(index, &mut unread),
            _ => None,
        };
        if unread.is_empty() {
            self.handles.entry_mut(entry).has_unread = false;
        } else {
            self.unread.insert(entry, unread);
        }
        if let Some(error) = ended {
            self.end_here(index, error);
        }
        ended.is_some()
    }

    fn take_connection(&mut self, index: u32, unread: &mut Unread) -> Option<Option<Error>> {
        let (connection, address) = unread.accepted.pop_front()?;
        let scratch = match self.slots.header(index).scratch {
            Some(scratch) => scratch,
            None => self.scratch(Address::empty()),
        };
        // SAFETY: a block of the layout of an `Address`, which no backend has.
        unsafe { scratch.cast::<Address>().write(address) };
        let header = self.slots.header_mut(index);
        header.scratch = Some(scratch);
        header.op.set_accepted(Some(connection));
        Some(None)
    }

    /// Moves bytes into the buffers of a receive.
    fn take_bytes(&mut self, index: u32, unread: &mut Unread) -> Option<Option<Error>> {
        let transfer = self.slots.header(index).op.transfer()?;
        while let Some(piece) = unread.pieces.front_mut()
            && self.slots.header(index).moved < transfer.length
        {
            let taken = self.put(index, &piece.bytes[piece.taken..]);
            piece.taken += taken;
            if piece.taken == piece.bytes.len() {
                unread.pieces.pop_front();
            }
        }
        let header = self.slots.header(index);
        let (moved, kind) = (header.moved, header.kind);
        if moved == transfer.length || (moved > 0 && !transfer.whole) {
            return Some(None);
        }
        let end = unread.end.take()?;
        let was_reset = self.handles.entry(header.handle).was_reset;
        self.slots.header_mut(index).at_end = end.is_none();
        Some(match end {
            Some(error) => Some(error.of(kind)),
            None if was_reset => Some(Error::new(ErrorKind::ConnectionReset, kind)),
            None => transfer.whole.then(|| Error::new(ErrorKind::UnexpectedEof, kind)),
        })
    }

    /// Writes bytes behind those that a receive has got so far; how many there was room for.
    fn put(&mut self, index: u32, bytes: &[u8]) -> usize {
        let header = self.slots.header_mut(index);
        let already = header.moved;
        let mut left = bytes;
        let mut room = |memory: NonNull<u8>, length: usize| {
            let part = left.len().min(length);
            // SAFETY: the memory is lent to this operation, `length` bytes of it, and no backend has it; what is
            // written comes from elsewhere.
            unsafe { memory.copy_from_nonoverlapping(NonNull::from(left).cast(), part) };
            left = &left[part..];
        };
        match &mut header.op {
            Op::Recv { into, .. } => {
                // SAFETY: `already` bytes were moved, at most as many as were lent.
                room(unsafe { into.memory.add(already) }, into.length - already);
            }
            Op::RecvFds { into, .. } => room(into.memory, into.length),
            Op::RecvVectored { pieces, .. } => {
                pieces.rest().into_iter().for_each(|(memory, length)| room(memory, length));
                let put = bytes.len() - left.len();
                pieces.advance(put);
            }
            Op::RecvMessage { envelope, .. } => {
                envelope.lent().for_each(|lent| room(lent.memory, lent.length));
            }
            _ => {}
        }
        let put = bytes.len() - left.len();
        header.moved += put;
        put
    }

    /// Lets a receive of a message, or of bytes with descriptors, have the oldest one.
    fn take_message(&mut self, index: u32, unread: &mut Unread) -> Option<Option<Error>> {
        let stream = self.slots.header(index).op.transfer().is_some();
        let Some(mut piece) = unread.pieces.pop_front() else {
            let end = unread.end.take()?;
            let kind = self.slots.header(index).kind;
            if end.is_none() && !stream {
                self.note_end(index);
            }
            return Some(end.map(|error| error.of(kind)));
        };
        let taken = self.put(index, &piece.bytes[piece.taken..]);
        piece.taken += taken;
        let cut = piece.taken < piece.bytes.len();
        let mut end = piece.beside.take().unwrap_or_else(|| End::new(None, taken));
        end.moved = taken;
        if stream && cut {
            unread.pieces.push_front(piece);
        } else if let Some((truncated, _)) = &mut end.message {
            *truncated |= cut;
        }
        if let Op::RecvMessage { got, .. } | Op::RecvFds { got, .. } = &mut self.slots.header_mut(index).op
            && !stream
        {
            *got = Got::Message;
        }
        self.inherited.push((index, end));
        Some(None)
    }

    /// What a receive of a message has got from here.
    pub(super) fn inherited_by(&mut self, index: u32) -> Option<End> {
        let at = self.inherited.iter().position(|&(heir, _)| heir == index)?;
        Some(self.inherited.swap_remove(at).1)
    }

    /// A handle is closing: nobody will take what waits there, and nobody's turn matters any more.
    pub(super) fn drop_unread(&mut self, entry: u32) {
        for lane in [Lane::Receive, Lane::Free] {
            let mut index = self.handles.entry(entry).list(lane).head;
            while index != NONE {
                let header = self.slots.header(index);
                let next = header.next;
                if header.holds_turn {
                    self.give_turn_back(index);
                }
                index = next;
            }
        }
        if !std::mem::take(&mut self.handles.entry_mut(entry).has_unread) {
            return;
        }
        if let Some(unread) = self.unread.remove(&entry) {
            unread.accepted.into_iter().for_each(|(connection, _)| self.close_entry(connection));
        }
    }
}
