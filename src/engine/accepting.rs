//! Accepting one connection after the other.
//!
//! With a shot that goes on (io_uring's multishot accept), connections come as `Outcome::More`; elsewhere, and whenever such
//! a shot is over, each is a shot of its own, and the next one begins when the callback has returned.

use super::finish::Next;
use super::op::Op;
use super::slots::{Payload, State};
use super::{Core, Engine};
use crate::backend::{Completion, Outcome};
use crate::handle::{Id, OpId};
use crate::op::Kind;

impl Core {
    /// Nobody takes the items that have come: no more are to be brought until `bring_again`.
    pub(crate) fn hold_items(&self, operation: OpId) {
        let mut engine = self.engine.borrow_mut();
        if let Some(index) = engine.find_operation(operation) {
            // It is one whose callback is running: `rearm_many` sees to the rest.
            engine.set_held(index, true);
        }
    }

    /// Somebody does again.
    pub(crate) fn bring_again(&self, operation: OpId) {
        let mut engine = self.engine.borrow_mut();
        let Some(index) = engine.find_operation(operation) else { return };
        if engine.set_held(index, false) && engine.slots.header(index).state == State::Queued {
            engine.bring_on(index);
        }
    }

    /// Nobody will take this connection: it is for whoever accepts next on its listener.
    pub(crate) fn leave_accepted(&self, listener: Id, connection: Id) {
        let mut engine = self.engine.borrow_mut();
        let Ok(connection) = engine.find_handle(connection, Kind::AcceptMany) else { return };
        match engine.find_handle(listener, Kind::AcceptMany) {
            Ok(entry) => engine.leave_connection(entry, connection),
            Err(_) => engine.close_entry(connection),
        }
    }
}

impl Engine {
    /// A shot that goes on has accepted a connection.
    pub(super) fn connection_came(&mut self, index: u32, descriptor: u32) -> Next {
        self.produced(index, descriptor);
        let header = self.slots.header(index);
        if matches!(header.state, State::InFlight | State::Cancelling) {
            return Next::Callback(index);
        }
        if header.keeps {
            self.keep_unread(index, None);
        }
        self.close_unwanted(index);
        Next::Nothing
    }

    /// The turn of one that waits for what dropped futures have left, or for the loop to catch up.
    pub(super) fn connection_due(&mut self, index: u32) -> Next {
        let header = self.slots.header(index);
        let Op::Accept { held, .. } = header.op else { return Next::Nothing };
        if header.state != State::Queued || header.payload != Payload::Whole || held {
            return Next::Nothing;
        }
        let Some(connection) = self.unread_connection(header.handle) else {
            self.accept_on(index);
            return Next::Nothing;
        };
        self.slots.header_mut(index).op.set_accepted(Some(connection));
        Next::Callback(index)
    }

    /// Its callback has returned, and it isn't over.
    pub(super) fn rearm_many(&mut self, index: u32) {
        let header = self.slots.header_mut(index);
        if header.error.is_some() {
            header.state = State::Cancelling;
            return self.ask_backend(index);
        }
        self.bring_on(index);
    }

    fn bring_on(&mut self, index: u32) {
        match self.slots.header(index).op {
            Op::RecvMany { .. } => self.receive_on(index),
            _ => self.accept_on(index),
        }
    }

    /// Goes on with what waits at the listener, or else with the backend; stops while nobody takes what comes.
    pub(super) fn accept_on(&mut self, index: u32) {
        // More than the next tick will run: the backend would only lengthen the queue.
        let crowded = self.completions.len() > self.completion_budget;
        let header = self.slots.header_mut(index);
        let Op::Accept { held, .. } = header.op else { return };
        let unread = self.handles.entry(header.handle).has_unread;
        if header.engaged {
            if held || crowded || unread {
                self.call_back(index);
            }
            return;
        }
        if held || crowded || unread {
            header.state = State::Queued;
            if !held {
                let token = self.token(index);
                self.completions.push_back(Completion { token, outcome: Outcome::Item });
            }
            return;
        }
        self.clear_scratch(index);
        self.shoot(index, false);
    }

    /// Asks the backend for a shot back, unheard by the operation's owner.
    pub(super) fn call_back(&mut self, index: u32) {
        let (token, readiness) = (self.token(index), self.slots.header(index).readiness);
        if !self.disturbed.contains(&token) {
            self.disturbed.push(token);
            self.backend.cold().cancel(token, readiness);
        }
    }

    fn set_held(&mut self, index: u32, hold: bool) -> bool {
        match &mut self.slots.header_mut(index).op {
            Op::Accept { held, .. } | Op::RecvMany { held, .. } => *held = hold,
            _ => return false,
        }
        true
    }
}
