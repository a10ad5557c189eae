//! Receiving one buffer after the other, each picked from a pool when there is something to receive.
//!
//! As with connections (`accepting.rs`), a shot that goes on brings many, and elsewhere one follows the other. A reader that
//! finds the pool empty waits in `Engine::starved` until a buffer comes back: whoever returns it wakes the loop.

use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::Arc;

use super::Engine;
use super::finish::Next;
use super::handles::Means;
use super::op::{End, Op};
use super::pooled::{Lease, Pool};
use super::slots::{NONE, Payload, State};
use crate::backend::{Completion, Outcome, is_out_of_buffers};
use crate::handle::Id;
use crate::op::Kind;
use crate::{Error, ErrorKind};

/// What of a pool's buffer was received into.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Filled {
    pub(crate) buffer: u16,
    pub(crate) bytes: u32,
}

/// A receive of many has its pool among its parts, which stay as long as a backend, or the engine, has the operation.
fn pool_of(op: &Op) -> Option<NonNull<Pool>> {
    if let Op::RecvMany { pool, .. } = op { Some(*pool) } else { None }
}

impl Engine {
    /// The pool of a receive of many.
    fn pool(&self, index: u32) -> ManuallyDrop<Arc<Pool>> {
        let pool = pool_of(&self.slots.header(index).op).expect("only receives of many ask");
        // SAFETY: the pointer is that of an `Arc` among the operation's parts, which are there as long as its slot isn't
        // freed; this one doesn't count, and so isn't dropped.
        ManuallyDrop::new(unsafe { Arc::from_raw(pool.as_ptr()) })
    }

    /// Its turn has come.
    pub(super) fn begin_receiving(&mut self, index: u32) {
        let header = self.slots.header(index);
        let (kind, entry) = (header.kind, self.handles.entry(header.handle));
        let (shut, unread, means) = (entry.receive_shut, entry.has_unread, entry.means);
        let owner = self.pool(index).owner;
        let refused = match means {
            _ if owner != self.number.get() => Some(ErrorKind::WrongLoop),
            Means::Socket => None,
            _ => Some(ErrorKind::Unsupported),
        };
        if let Some(error) = refused {
            return self.end_here(index, Some(Error::new(error, kind)));
        }
        if shut && !unread {
            return self.end_here(index, None);
        }
        self.receive_on(index);
    }

    /// Goes on with what dropped futures have left, or else with the backend.
    pub(super) fn receive_on(&mut self, index: u32) {
        let header = self.slots.header_mut(index);
        let Op::RecvMany { held, .. } = header.op else { return };
        let unread = self.handles.entry(header.handle).has_unread;
        if header.engaged {
            if held {
                self.call_back(index);
            }
        } else if held || unread {
            header.state = State::Queued;
            if !held {
                let token = self.token(index);
                self.completions.push_back(Completion { token, outcome: Outcome::Item });
            }
        } else {
            self.shoot(index, false);
        }
    }

    /// The turn of what dropped futures have left.
    pub(super) fn piece_due(&mut self, index: u32) -> Next {
        let header = self.slots.header_mut(index);
        let (entry, kind) = (header.handle, header.kind);
        let Op::RecvMany { held, .. } = header.op else { return Next::Nothing };
        if header.state != State::Queued || header.payload != Payload::Whole || held {
            return Next::Nothing;
        }
        if let Some(bytes) = self.unread_piece(entry) {
            let mut end = End::new(None, 0);
            end.lease = Some(Lease::of(bytes.into()));
            self.inherited.push((index, end));
            return Next::Callback(index);
        }
        match self.unread_end(entry) {
            None => self.receive_on(index),
            Some(None) => {
                let reset = self.handles.entry(entry).was_reset;
                self.end_here(index, reset.then(|| Error::new(ErrorKind::ConnectionReset, kind)));
            }
            Some(Some(error)) => self.end_here(index, Some(error.of(kind))),
        }
        Next::Nothing
    }

    /// What a shot brings that others don't; `None` if it is for them to judge.
    pub(super) fn received(&mut self, index: u32, outcome: Outcome) -> Option<Next> {
        Some(match outcome {
            Outcome::Filled { buffer, bytes, .. } => {
                self.buffer_filled(index, Filled { buffer, bytes }, false)
            }
            Outcome::Value(_) => self.received_end(index),
            Outcome::Starved => self.buffer_missing(index),
            Outcome::Failed(os) if is_out_of_buffers(os) => self.buffer_missing(index),
            _ => return None,
        })
    }

    /// A shot has filled a buffer; `more`: it goes on.
    pub(super) fn buffer_filled(&mut self, index: u32, filled: Filled, more: bool) -> Next {
        let pool = self.pool(index);
        if filled.bytes == 0 {
            pool.put_back(filled.buffer);
            return if more { Next::Nothing } else { self.received_end(index) };
        }
        let header = self.slots.header_mut(index);
        if matches!(header.state, State::InFlight | State::Cancelling) {
            let Op::RecvMany { taken, .. } = &mut header.op else { unreachable!("found above") };
            *taken = Some(filled);
            return Next::Callback(index);
        }
        let entry = header.handle;
        if header.keeps {
            let bytes = pool.copy(filled.buffer, filled.bytes as usize);
            self.leave_bytes(entry, bytes);
        } else if entry != NONE {
            // They are lost with it, and nobody knows how many they were.
            self.handles.entry_mut(entry).receive_broken = true;
        }
        pool.put_back(filled.buffer);
        if more { Next::Nothing } else { self.ended(index, None) }
    }

    /// There is nothing more to be received.
    pub(super) fn received_end(&mut self, index: u32) -> Next {
        let header = self.slots.header_mut(index);
        header.at_end = true;
        let (entry, kind) = (header.handle, header.kind);
        let reset = self.handles.entry(entry).was_reset;
        self.ended(index, reset.then(|| Error::new(ErrorKind::ConnectionReset, kind)))
    }

    /// A shot found no buffer.
    pub(super) fn buffer_missing(&mut self, index: u32) -> Next {
        let header = self.slots.header(index);
        if header.state != State::InFlight {
            let asked = header.asked();
            return self.ended(index, asked);
        }
        let pool = self.pool(index);
        match self.starves(&pool) {
            Ok(true) => {
                self.slots.header_mut(index).state = State::Queued;
                let token = self.token(index);
                self.starved.push(token);
            }
            Ok(false) => self.receive_on(index),
            Err(error) => return self.ended(index, Some(error)),
        }
        Next::Nothing
    }

    /// Lets the readers go on for which there is a buffer again.
    #[cold]
    pub(super) fn feed(&mut self) {
        for token in std::mem::take(&mut self.starved) {
            let waits = self.token(token.index) == token && {
                let header = self.slots.header(token.index);
                header.state == State::Queued && matches!(header.op, Op::RecvMany { held: false, .. })
            };
            if !waits {
                continue;
            }
            let pool = self.pool(token.index);
            match self.starves(&pool) {
                Ok(true) => self.starved.push(token),
                Ok(false) => self.receive_on(token.index),
                Err(error) => self.end_here(token.index, Some(error)),
            }
        }
    }

    /// Tells the item.
    pub(super) fn tell_received(&mut self, index: u32, end: &mut End) {
        let handle = self.slots.header(index).handle;
        if handle == NONE {
            return;
        }
        let stream = self.handles.id(handle, self.number.get());
        let pool = self.pool(index);
        let Op::RecvMany { taken, .. } = &mut self.slots.header_mut(index).op else { return };
        end.lease = match taken.take() {
            Some(filled) => Some(pool.lend(filled.buffer, filled.bytes as usize, stream)),
            None => self.inherited_by(index).and_then(|inherited| inherited.lease),
        };
    }
}

impl super::Core {
    /// Nobody will take these bytes: they are for whoever receives next there.
    pub(crate) fn leave_received(&self, stream: Id, bytes: &[u8]) {
        let mut engine = self.engine.borrow_mut();
        if let Ok(entry) = engine.find_handle(stream, Kind::RecvMany) {
            engine.leave_bytes(entry, bytes.to_vec());
        }
    }
}
