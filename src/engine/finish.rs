//! From a backend's completion to the operation's end: goes on where an operation isn't done, and settles it
//! where it is.

use std::net::SocketAddr;

use super::Engine;
use super::erased::Callback;
use super::handles::{EntryState, Lane};
use super::op::{End, Op, Stops, Transfer};
use super::paths::Call;
use super::receiving::Filled;
use super::slots::{NONE, Payload, State};
use super::timers::TimerKey;
use crate::backend::{Address, Completion, Outcome, RawDescriptor, is_cancelled};
use crate::handle::NewId;
use crate::{Error, ErrorKind, UnixAddress};

/// What is to be done outside the engine's borrow.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Run the callback of this slot.
    Callback(u32),
    /// Drop what is left in this slot and free it.
    Dispose(u32),
    /// Let this operation of several steps submit its first.
    Begin(u32),
    /// Nothing: it goes on, or nobody is interested.
    Nothing,
}

/// How a completed shot leaves its operation.
enum Verdict {
    /// It ended so.
    End(Option<Error>),
    /// Another shot is needed, perhaps after waiting for readiness.
    Again { readiness: bool },
    /// An item, and the shot is over.
    Item,
    /// Nothing tells when it can go on: try again in so many nanoseconds.
    Later(u64),
}

/// How long an accept that finds no descriptors left waits before it tries again, in nanoseconds.
const ACCEPT_PAUSE: u64 = 10_000_000;

/// The same for a datagram for which its receiver has no room. So late one may be when there is room again, and so often
/// each one that waits is tried.
const SEND_PAUSE: u64 = 1_000_000;

/// How long the client of a named pipe waits that has no instance to spare, before it tries again.
const PIPE_PAUSE: u64 = 5_000_000;

impl Engine {
    /// Deals with the next completion of the queue.
    pub(super) fn next_completion(&mut self) -> Option<Next> {
        Some(self.next_due()?.map_or_else(|next| next, |callback| Next::Callback(callback.index)))
    }

    /// As `next_completion`. That it is the turn of a callback, as it nearly always is, comes with all that running it takes.
    #[inline]
    pub(super) fn next_due(&mut self) -> Option<Result<Callback, Next>> {
        let &Completion { token, outcome } = self.completions.front()?;
        self.completions.pop_front();
        if let Outcome::Value(bytes) = outcome
            && let Some(callback) = self.finish_plain(token, bytes)
        {
            return Some(Ok(callback));
        }
        if let Outcome::Filled { buffer, bytes, more: true } = outcome
            && let Some(callback) = self.fill_plain(token, Filled { buffer, bytes })
        {
            return Some(Ok(callback));
        }
        Some(Err(self.finish(Completion { token, outcome })))
    }

    #[inline(never)]
    fn finish(&mut self, Completion { token, outcome }: Completion) -> Next {
        let index = token.index;
        if self.token(index) != token {
            // Removed, called back early, or left behind by the end of the loop.
            let harmful = matches!(
                outcome,
                Outcome::Value(_)
                    | Outcome::More(_)
                    | Outcome::Filled { .. }
                    | Outcome::Starved
                    | Outcome::Failed(_)
                    | Outcome::Refused(_)
                    | Outcome::Retry
            );
            assert!(!harmful, "a slot is not freed while the backend has it");
            return Next::Nothing;
        }
        match outcome {
            Outcome::Settled => {
                // It may have been removed since.
                let waiting = self.slots.header(index).state == State::Done;
                return if waiting { Next::Callback(index) } else { Next::Nothing };
            }
            Outcome::NotFound => {
                self.cancel_missed(index);
                return Next::Nothing;
            }
            Outcome::Told => {
                self.cancel_told(index, token);
                return Next::Nothing;
            }
            Outcome::Turn => return self.turn(index),
            Outcome::Item if self.slots.header(index).op.receives_many() => {
                return match self.slots.header(index).op {
                    Op::RecvMany { .. } => self.piece_due(index),
                    _ => self.connection_due(index),
                };
            }
            Outcome::Filled { buffer, bytes, more: true } => {
                return self.buffer_filled(index, Filled { buffer, bytes }, true);
            }
            Outcome::Item => {
                return if self.item_due(index) { Next::Callback(index) } else { Next::Nothing };
            }
            Outcome::More(value) => return self.answered(index, value),
            _ => {}
        }
        self.slots.header_mut(index).engaged = false;
        if !self.disturbed.is_empty() && self.was_disturbed(index, token, &outcome) {
            self.again(index);
            return Next::Nothing;
        }
        match self.slots.header(index).op {
            Op::Close => return self.closed(index, outcome),
            Op::RecvMany { .. } => {
                if let Some(next) = self.received(index, outcome) {
                    return next;
                }
            }
            _ => {}
        }
        match self.judge(index, outcome) {
            Verdict::Again { readiness } => {
                self.shoot(index, readiness);
                Next::Nothing
            }
            Verdict::Later(pause) => {
                let at = self.backend.now().nanos() + pause;
                self.slots.header_mut(index).state = State::Queued;
                self.timers.insert(at, token.retry().pack());
                Next::Nothing
            }
            Verdict::Item => Next::Callback(index),
            Verdict::End(error) => self.ended(index, error),
        }
    }

    /// A shot that goes on has brought something.
    fn answered(&mut self, index: u32, value: u32) -> Next {
        if self.slots.header(index).op.accepts_many() {
            return self.connection_came(index, value);
        }
        // Called back early, or removed: the shot will soon be over.
        if self.slots.header(index).state != State::InFlight {
            return Next::Nothing;
        }
        self.produced(index, value);
        Next::Callback(index)
    }

    /// An operation came back from the backend for the last time.
    #[inline]
    pub(super) fn ended(&mut self, index: u32, error: Option<Error>) -> Next {
        match self.slots.header(index).state {
            State::InFlight | State::Cancelling => {
                self.settle(index, error);
                Next::Callback(index)
            }
            // Called back early, and the callback is still to run: it frees the slot.
            State::Done => {
                self.leave_handle(index);
                self.close_unwanted(index);
                Next::Nothing
            }
            State::Orphaned => {
                if self.slots.header(index).keeps {
                    self.keep_unread(index, error);
                } else {
                    self.note_broken(index);
                }
                self.leave_handle(index);
                self.close_unwanted(index);
                Next::Dispose(index)
            }
            state => unreachable!("a completion for a slot that is {state:?}"),
        }
    }

    fn judge(&mut self, index: u32, outcome: Outcome) -> Verdict {
        let Outcome::Value(value) = outcome else { return self.judge_failed(index, outcome) };
        let header = self.slots.header(index);
        if let Some(transfer) = header.op.transfer() {
            return self.moved(index, transfer, value as usize);
        }
        let item = match header.op {
            Op::Poll { many, .. } => many && header.state == State::InFlight,
            // What follows a cancel is an item, too.
            Op::Accept { many, .. } => many && matches!(header.state, State::InFlight | State::Cancelling),
            _ => false,
        };
        let error = self.produced(index, value);
        if item { Verdict::Item } else { Verdict::End(error) }
    }

    /// Judges what isn't the system's answer to a shot that went well.
    #[inline(never)]
    fn judge_failed(&mut self, index: u32, outcome: Outcome) -> Verdict {
        let header = self.slots.header(index);
        let (asked, unwanted, kind) = (header.asked(), header.state != State::InFlight, header.kind);
        match outcome {
            Outcome::Retry if unwanted => Verdict::End(asked),
            Outcome::Retry => Verdict::Again { readiness: false },
            // A cancel that nobody asked for is the system's error, and stays one.
            Outcome::Failed(os) if unwanted && is_cancelled(os) => Verdict::End(asked),
            Outcome::Refused(ErrorKind::Cancelled) if unwanted => Verdict::End(asked),
            Outcome::Failed(os) => self.failed(index, Error::from_os(os, kind), asked),
            Outcome::Refused(error) => self.failed(index, Error::new(error, kind), asked),
            // How it ended is in its result: whether it was stopped, too.
            Outcome::Ran if matches!(header.op, Op::Blocking { stops: Stops::WhenAsked, .. }) => {
                Verdict::End(asked)
            }
            Outcome::Ran => Verdict::End(None),
            Outcome::NotRun(os) => Verdict::End(asked.or(Some(Error::from_os(os, kind)))),
            Outcome::Value(_)
            | Outcome::Settled
            | Outcome::NotFound
            | Outcome::Told
            | Outcome::Turn
            | Outcome::Item
            | Outcome::Filled { .. }
            | Outcome::Starved
            | Outcome::More(_) => unreachable!("dealt with before"),
        }
    }

    /// A shot failed: is it the operation's end?
    fn failed(&mut self, index: u32, error: Error, asked: Option<Error>) -> Verdict {
        let error = self.told_again(index, error);
        let error = self.noted(index, error);
        let header = self.slots.header(index);
        let accepting = matches!(header.op, Op::Accept { .. });
        if header.state != State::InFlight && is_transient(error.kind(), accepting) {
            return Verdict::End(asked.or(Some(error)));
        }
        match error.kind() {
            ErrorKind::Interrupted => Verdict::Again { readiness: false },
            ErrorKind::WouldBlock if header.op.is_ready_in_vain() => Verdict::Later(SEND_PAUSE),
            ErrorKind::WouldBlock if header.op.opens_a_pipe() => Verdict::Later(PIPE_PAUSE),
            ErrorKind::WouldBlock if !header.op.ends_early() => Verdict::Again { readiness: true },
            ErrorKind::TooManyDescriptors | ErrorKind::OutOfMemory if accepting => {
                Verdict::Later(ACCEPT_PAUSE)
            }
            other if is_transient(other, accepting) => {
                self.clear_scratch(index);
                Verdict::Again { readiness: false }
            }
            _ => Verdict::End(Some(error)),
        }
    }

    /// Some systems tell of a reset every time: who sends after that finds nobody there, as elsewhere.
    fn told_again(&self, index: u32, error: Error) -> Error {
        let header = self.slots.header(index);
        let sends = error.kind() == ErrorKind::ConnectionReset && header.op.lane() == Lane::Send;
        let again = sends && self.handles.entry(header.handle).was_reset;
        if again { Error::new(ErrorKind::BrokenPipe, header.kind) } else { error }
    }

    /// Remembers of a stream that it was reset.
    fn noted(&mut self, index: u32, error: Error) -> Error {
        let header = self.slots.header(index);
        let connected = header.op.transfer().is_some() || header.op.lane().ordered();
        if error.kind() == ErrorKind::ConnectionReset && connected {
            self.handles.entry_mut(header.handle).was_reset = true;
        }
        error
    }

    /// A shot moved `bytes` bytes: is it enough?
    fn moved(&mut self, index: u32, transfer: Transfer, bytes: usize) -> Verdict {
        let header = self.slots.header_mut(index);
        if let Op::RecvFds { passing, .. } = &header.op {
            passing.arrived();
        }
        header.moved += bytes;
        assert!(header.moved <= transfer.length, "the system moved more than it was given");
        let left = transfer.length - header.moved;
        if bytes == 0 {
            header.at_end = transfer.receive;
            let missing = match (transfer.receive, transfer.whole) {
                (true, _) if self.handles.entry(header.handle).was_reset => {
                    Some(Error::new(ErrorKind::ConnectionReset, header.kind))
                }
                (true, true) => Some(Error::new(ErrorKind::UnexpectedEof, header.kind)),
                (true, false) => None,
                (false, _) => Some(Error::new(ErrorKind::WriteZero, header.kind)),
            };
            return Verdict::End(missing);
        }
        if left == 0 || !transfer.whole {
            return Verdict::End(None);
        }
        if header.state != State::InFlight {
            return Verdict::End(header.asked());
        }
        if let Some(pieces) = header.op.pieces() {
            pieces.advance(bytes);
        }
        Verdict::Again { readiness: false }
    }

    /// Accept, connect, open: something is open now. Messages were moved, in one piece. Poll: something is ready. Or the
    /// system has told something.
    #[inline(never)]
    pub(super) fn produced(&mut self, index: u32, value: u32) -> Option<Error> {
        let header = self.slots.header_mut(index);
        if let Op::Poll { ready, .. } = &mut header.op {
            *ready = value;
        }
        let (listener, early) =
            (header.handle, header.state == State::Done || header.state == State::Orphaned);
        match header.op {
            Op::RecvMessage { .. } | Op::SendMessage { .. } | Op::RecvFds { .. } | Op::SendFds { .. } => {
                return self.message_moved(index, value as usize);
            }
            Op::Path(ref path) => match path.call {
                Call::Open(_) | Call::OpenFifo(_) | Call::AcceptPipe(_) => {
                    let descriptor = value as RawDescriptor;
                    let entry = self.handles.insert(descriptor, EntryState::Open);
                    if !matches!(path.call, Call::Open(_)) {
                        let means = self.backend.calls().means(descriptor);
                        self.handles.entry_mut(entry).means = means;
                    }
                    path.opened.set(Some(entry));
                }
                Call::Stat { .. } => path.answered(),
                Call::Seek(to) => {
                    path.answered();
                    let size = path.metadata().map_or(0, |told| told.size);
                    return self.seek(index, size, to);
                }
                _ => {}
            },
            Op::Accept { .. } => {
                let entry = self.handles.insert(value as RawDescriptor, EntryState::Open);
                let (lingers, records) =
                    (self.handles.entry(listener).lingers, self.handles.entry(listener).records);
                self.handles.entry_mut(entry).lingers = lingers;
                self.handles.entry_mut(entry).records = records;
                if records {
                    self.backend.calls().tell_records(value as RawDescriptor, true);
                }
                self.slots.header_mut(index).op.set_accepted(Some(entry));
            }
            // One that was cancelled or removed stays without a name and is closed when the operation leaves it.
            Op::Connect if !early => {
                let entry = self.handles.entry_mut(listener);
                if entry.state == EntryState::Unnamed {
                    entry.state = EntryState::Open;
                }
            }
            _ => {}
        }
        None
    }

    /// The operation has ended: nothing of it is with the backend, its buffer knows its length, its deadline and
    /// its place in the handle's list are gone.
    pub(super) fn settle(&mut self, index: u32, error: Option<Error>) {
        let header = self.slots.header_mut(index);
        debug_assert!(!header.engaged);
        let timer = std::mem::replace(&mut header.timer, TimerKey::NONE);
        if timer != TimerKey::NONE {
            self.timers.cancel(timer);
        }
        header.error = error;
        header.state = State::Done;
        if header.payload == Payload::Whole {
            // SAFETY: the payload is in its place, the backend has let go of the memory, no reference to the buffer
            // exists (the engine runs no user code), and `moved` bytes were written.
            unsafe {
                match &header.op {
                    Op::Recv { into, .. } | Op::ReadAt { into, .. } | Op::RecvFds { into, .. } => {
                        into.set_filled(header.moved)
                    }
                    Op::RecvVectored { pieces, .. } | Op::ReadAtVectored { pieces, .. } => {
                        pieces.set_filled(header.moved);
                    }
                    Op::RecvMessage { envelope, .. } => envelope.set_filled(header.moved),
                    _ => {}
                }
            }
        }
        if header.must_be_read() {
            header.holds_turn = true;
        } else {
            self.leave_handle(index);
        }
    }

    /// Takes the operation out of its handle's list. The next one's turn comes, and a closing handle may close.
    #[inline]
    pub(super) fn leave_handle(&mut self, index: u32) {
        self.let_go_of_directory(index);
        let cursor = self.cursor_after(index);
        let header = self.slots.header_mut(index);
        let entry_index = header.take_handle();
        if entry_index == NONE || matches!(header.op, Op::Close) {
            return;
        }
        let lane = header.lane();
        let connects = matches!(header.op, Op::Connect);
        let entry = self.handles.entry_mut(entry_index);
        entry.cursor = cursor.unwrap_or(entry.cursor);
        entry.unlink(lane, &mut self.slots, index);
        if connects {
            // What an ended connect leaves is closed unless it became an open connection.
            if entry.state == EntryState::Unnamed {
                self.close_entry(entry_index);
            } else {
                self.slots.header_mut(index).handle = entry_index;
            }
        } else if entry.state == EntryState::Unnamed {
            self.close_entry(entry_index);
        } else if entry.has_more(lane) {
            self.lane_moves_on(entry_index, lane, index);
        }
    }

    /// The operation in slot `index` has left a lane, with others behind it or a close that waits for the last.
    pub(super) fn lane_moves_on(&mut self, entry: u32, lane: Lane, index: u32) {
        let short = lane == Lane::Send && self.slots.header(index).is_partial();
        // Behind a removed one they end `Broken`, when their turn comes.
        if short && !self.handles.entry(entry).send_broken {
            self.cancel_behind(entry);
        }
        if lane.ordered() {
            self.begin_next(entry, lane);
        }
        self.close_if_idle(entry);
    }

    /// A send moved only part of its bytes: those waiting behind it would leave a hole in the stream.
    fn cancel_behind(&mut self, entry: u32) {
        loop {
            let index = self.handles.entry(entry).list(Lane::Send).head;
            if index == NONE {
                return;
            }
            let kind = self.slots.header(index).kind;
            // Not through `end_here`: no one's turn comes while the rest of the list is to be cancelled.
            self.handles.entry_mut(entry).unlink(Lane::Send, &mut self.slots, index);
            self.slots.header_mut(index).handle = NONE;
            self.end_here(index, Some(Error::new(ErrorKind::Cancelled, kind)));
        }
    }

    /// A removed operation that had moved bytes leaves the stream at a position nobody knows.
    pub(super) fn note_broken(&mut self, index: u32) {
        let header = self.slots.header(index);
        if header.handle == NONE || !header.lane().ordered() {
            return;
        }
        let entry = self.handles.entry_mut(header.handle);
        match header.lane() {
            Lane::Receive => entry.receive_broken |= header.is_partial(),
            Lane::Send => entry.send_broken |= header.is_partial(),
            Lane::Free => {}
        }
    }

    /// The connection that a removed accept made is closed, and so is a file that was opened too late.
    pub(super) fn close_unwanted(&mut self, index: u32) {
        let unwanted = match &mut self.slots.header_mut(index).op {
            Op::Accept { accepted, .. } => accepted.take(),
            Op::Path(path) => path.opened.take(),
            _ => None,
        };
        if let Some(entry) = unwanted {
            self.close_entry(entry);
        }
    }

    /// Tells the end of an operation, or its item, for its struct to make the callback's argument from.
    #[inline]
    pub(super) fn tell(&mut self, index: u32, end: &mut End) {
        let header = self.slots.header(index);
        (end.error, end.moved) = (header.error, header.moved);
        match header.op {
            Op::Recv { start, .. } => end.start = start,
            Op::Send { .. } => {}
            Op::RecvMany { .. } => self.tell_received(index, end),
            _ => self.tell_more(index, end),
        }
    }

    /// What the operations have to tell that move no bytes, or more than bytes.
    #[inline(never)]
    fn tell_more(&mut self, index: u32, end: &mut End) {
        let header = self.slots.header(index);
        match header.op {
            Op::RecvFds { .. } | Op::RecvMessage { .. } => match self.inherited_by(index) {
                Some(inherited) => *end = inherited,
                None => self.message_end(index, end),
            },
            Op::Connect if header.error.is_none() => {
                end.stream = Some(NewId(self.handles.id(header.handle, self.number.get())));
            }
            Op::Accept { accepted: Some(entry), many: true, .. } => {
                end.stream = Some(NewId(self.handles.id(entry, self.number.get())));
                self.slots.header_mut(index).op.set_accepted(None);
            }
            Op::Accept { accepted: Some(entry), .. } => {
                end.stream = Some(NewId(self.handles.id(entry, self.number.get())));
                match self.accepted_local_peer(index) {
                    None => end.peer = self.accepted_peer(index, entry),
                    peer => end.set_unix_peer(peer),
                }
            }
            Op::Path(ref path) => {
                let opened = path.opened.get();
                end.stream = opened.map(|entry| NewId(self.handles.id(entry, self.number.get())));
            }
            Op::Poll { ready, .. } => end.ready = ready,
            Op::Timer(schedule) => end.expirations = schedule.expirations,
            _ => {}
        }
    }

    fn accepted_local_peer(&self, index: u32) -> Option<UnixAddress> {
        let scratch = self.slots.header(index).scratch?;
        // SAFETY: as in `accepted_peer`.
        unsafe { scratch.cast::<Address>().as_ref() }.get_local()
    }

    fn accepted_peer(&mut self, index: u32, entry: u32) -> Option<SocketAddr> {
        let scratch = self.slots.header(index).scratch?;
        // SAFETY: the slot's scratch block holds an `Address`, and the backend has let go of it.
        let address = unsafe { scratch.cast::<Address>().as_ref() };
        let descriptor = self.handles.entry(entry).descriptor;
        address.get().or_else(|| self.backend.calls().peer_address(descriptor).ok())
    }
}

/// Errors after which trying again is right. For an accept these are also the troubles of the connection that was
/// waiting, not of the listener (accept(2), "Error handling").
fn is_transient(kind: ErrorKind, accepting: bool) -> bool {
    match kind {
        ErrorKind::Interrupted | ErrorKind::WouldBlock => true,
        ErrorKind::TooManyDescriptors
        | ErrorKind::OutOfMemory
        | ErrorKind::ConnectionAborted
        | ErrorKind::ConnectionReset
        | ErrorKind::NetworkDown
        | ErrorKind::NetworkUnreachable
        | ErrorKind::HostUnreachable => accepting,
        _ => false,
    }
}
