//! From the request in a filled slot to the backend, or into the queue of its handle.

use std::alloc::Layout;
use std::ptr::NonNull;

use super::Engine;
use super::handles::{Lane, Means};
use super::op::{Offload, Op, Request, Schedule, Target, Unit};
use super::paths::Call;
use super::slots::{NONE, State};
use super::timers::TimerKey;
use crate::backend::{Address, HAS_NAMED_PIPES, Shot, Token};
use crate::handle::{Id, OpId};
use crate::op::{Half, Kind};
use crate::report::Support;
use crate::{Error, ErrorKind, Instant};

/// The scratch block: a socket address that the system reads or writes.
pub(super) const SCRATCH: Layout = Layout::new::<Address>();

impl Engine {
    /// The second half of every submit: the payload lies in its slot, and its memory is in the request.
    pub(super) fn start(&mut self, index: u32, request: &mut Request) -> OpId {
        self.start_plain(index, request).unwrap_or_else(|| self.start_any(index, request))
    }

    #[inline(never)]
    fn start_any(&mut self, index: u32, request: &mut Request) -> OpId {
        let backend = &self.backend;
        let mut now = None;
        let limit = request.limit(|| *now.insert(backend.now()));
        let header = self.slots.header_mut(index);
        header.state = State::Queued;
        header.kind = request.kind;
        header.op = std::mem::replace(&mut request.op, Op::NextTick);
        header.background = request.options.background;
        header.inner = request.options.inner;
        header.awaited = request.options.awaited;
        let id = OpId(Id::new(index, self.number.get(), header.generation));
        if !request.options.background {
            self.pending += 1;
        }
        if let Err(error) = self.aim(index, &mut request.target, limit, now) {
            self.settle(index, Some(error));
            self.announce(index);
        }
        id
    }

    /// Finds what the operation is about and sets it going there. `now` is what the clock said, if it was asked.
    fn aim(
        &mut self,
        index: u32,
        target: &mut Target,
        limit: Option<u64>,
        now: Option<Instant>,
    ) -> Result<(), Error> {
        let kind = self.slots.header(index).kind;
        match *target {
            Target::Loop if matches!(self.slots.header(index).op, Op::Steps(_)) => self.embark(index),
            Target::Loop => {
                self.settle(index, None);
                self.announce(index);
                return Ok(());
            }
            Target::After(duration) => {
                let at = now.unwrap_or_else(|| self.backend.now()) + duration;
                self.schedule(index, at.nanos(), limit);
                return Ok(());
            }
            Target::At(at) => {
                self.schedule(index, at.nanos(), limit);
                return Ok(());
            }
            Target::Handle(id) => {
                let entry = self.find_handle(id, kind)?;
                self.check_memory(index)?;
                match self.slots.header(index).op {
                    Op::Close => self.close_by(entry, index),
                    _ => self.link(index, entry),
                }
            }
            Target::Private(entry) => self.link(index, entry?),
            Target::Path(..) if kind == Kind::AcceptPipe && !HAS_NAMED_PIPES => {
                return Err(Error::new(ErrorKind::Unsupported, kind));
            }
            Target::Path(first, second) => {
                let first = first.map(|handle| self.find_handle(handle, kind)).transpose()?;
                let second = second.map(|handle| self.find_handle(handle, kind)).transpose()?;
                if let Some(entry) = second {
                    self.hold_directory(index, entry);
                }
                match first {
                    Some(entry) => self.link(index, entry),
                    None => self.shoot(index, false),
                }
            }
            Target::Pool(handle, ref mut offload) => {
                let entry = handle.map(|handle| self.find_handle(handle, kind)).transpose()?;
                let taken = Err(Error::new(ErrorKind::InvalidInput, kind));
                let offload = std::mem::replace(offload, taken)?;
                if let Some(entry) = entry {
                    self.slots.header_mut(index).handle = entry;
                    self.handles.entry_mut(entry).link(Lane::Free, &mut self.slots, index);
                }
                self.offload(index, offload);
            }
            Target::Nothing => return Err(Error::new(ErrorKind::InvalidInput, kind)),
            Target::Connection(connection) => {
                let (entry, scratch) = connection?;
                self.slots.header_mut(index).scratch = Some(scratch);
                self.link(index, entry);
            }
        }
        // A close that found nothing to wait for, a 0-byte send, may have ended already.
        if let Some(limit) = limit
            && self.slots.header(index).state != State::Done
        {
            self.set_timer(index, limit);
        }
        Ok(())
    }

    /// A receive into a buffer without capacity never reaches a backend, nor does what no file can hold.
    fn check_memory(&self, index: u32) -> Result<(), Error> {
        let header = self.slots.header(index);
        let room = match (&header.op, header.op.transfer()) {
            (Op::RecvMessage { envelope, .. }, _) => envelope.length() > 0,
            (Op::RecvFds { into, .. }, _) => into.length > 0,
            (_, Some(transfer)) if !transfer.in_range() => false,
            (_, Some(transfer)) => !transfer.receive || transfer.whole || transfer.length > 0,
            _ => true,
        };
        if room { Ok(()) } else { Err(Error::new(ErrorKind::InvalidInput, header.kind)) }
    }

    /// Puts the operation in its handle's list, and starts it if it is its turn.
    pub(super) fn link(&mut self, index: u32, entry: u32) {
        let lane = self.slots.header(index).lane();
        self.slots.header_mut(index).handle = entry;
        let table_entry = self.handles.entry_mut(entry);
        table_entry.link(lane, &mut self.slots, index);
        // At the head it is alone: ending it at once would be nobody's turn.
        if !lane.ordered() || table_entry.list(lane).head == index {
            self.begin(index);
        }
    }

    /// Starts the operation at the head of an ordered list, and those behind it for as long as they end at once.
    pub(super) fn begin_next(&mut self, entry: u32, lane: Lane) {
        let table_entry = self.handles.entry_mut(entry);
        // Ending one at once comes back here; a flag instead of a recursion as deep as the queue is long.
        if table_entry.list(lane).head == NONE || table_entry.beginning[lane as usize] {
            return;
        }
        table_entry.beginning[lane as usize] = true;
        let mut last = NONE;
        loop {
            let index = self.handles.entry(entry).list(lane).head;
            // One that waits for something else than its turn stays where it is.
            if index == NONE || index == last || self.slots.header(index).state != State::Queued {
                break;
            }
            self.begin(index);
            last = index;
        }
        self.handles.entry_mut(entry).beginning[lane as usize] = false;
    }

    /// Starts an operation whose turn it is: ends it here if nothing remains to be done, else gives it to the
    /// backend.
    #[inline]
    fn begin(&mut self, index: u32) {
        let header = self.slots.header(index);
        let (kind, handle) = (header.kind, header.handle);
        let entry = self.handles.entry(handle);
        if entry.has_unread && self.take_unread(index) {
            return;
        }
        let (header, entry) = (self.slots.header(index), self.handles.entry(handle));
        if entry.broken(header.lane()) {
            return self.end_here(index, Some(Error::new(ErrorKind::Broken, kind)));
        }
        match (&header.op, header.op.transfer()) {
            (&Op::Shutdown(_), _) if entry.means != Means::Socket => {
                self.end_here(index, Some(Error::new(ErrorKind::Unsupported, kind)));
            }
            (Op::ReadAt { cursor: true, .. } | Op::WriteAt { cursor: true, .. }, _) => {
                self.begin_at_cursor(index);
            }
            (Op::Path(path), _) => match path.call {
                Call::Seek(to) => self.begin_seek(index, to),
                _ => self.shoot(index, false),
            },
            (&Op::Shutdown(half), _) => {
                let result = self.backend.calls().shutdown(entry.descriptor, half);
                if half != Half::Write && result.is_ok() {
                    self.handles.entry_mut(handle).receive_shut = true;
                }
                self.end_here(index, result.err());
            }
            (_, Some(transfer)) if transfer.length == 0 => self.end_here(index, None),
            (_, Some(transfer)) if transfer.receive && entry.receive_shut => {
                let missing = transfer.whole.then(|| Error::new(ErrorKind::UnexpectedEof, kind));
                self.end_here(index, missing);
            }
            (Op::RecvMessage { unit: Unit::Record, .. } | Op::RecvFds { unit: Unit::Record, .. }, _)
                if entry.receive_shut =>
            {
                self.note_end(index);
                self.end_here(index, None);
            }
            (Op::Poll { .. }, _) if self.backend.support(kind) == Support::Unsupported => {
                self.end_here(index, Some(Error::new(ErrorKind::Unsupported, kind)));
            }
            (Op::Accept { .. }, _) => {
                let scratch = self.scratch(Address::empty());
                self.slots.header_mut(index).scratch = Some(scratch);
                if self.slots.header(index).op.accepts_many() {
                    self.accept_on(index);
                } else {
                    self.shoot(index, false);
                }
            }
            (Op::RecvMany { .. }, _) => self.begin_receiving(index),
            (Op::Steps(_), _) => self.embark(index),
            _ => self.shoot(index, false),
        }
    }

    /// Ends an operation that is not with the backend; its callback runs in its turn.
    pub(super) fn end_here(&mut self, index: u32, error: Option<Error>) {
        self.settle(index, error);
        self.announce(index);
    }

    /// Gives one shot to the backend.
    pub(super) fn shoot(&mut self, index: u32, readiness_only: bool) {
        // What `report` and the documentation tell.
        debug_assert!(matches!(
            self.backend.cold().support(self.slots.header(index).kind),
            Support::Native
                | Support::Readiness
                | Support::Direct
                | Support::Pool
                | Support::Simulated
                | Support::Unsupported
        ));
        let header = self.slots.header_mut(index);
        debug_assert!(!header.engaged);
        header.engaged = true;
        header.readiness = readiness_only;
        if header.state == State::Queued {
            header.state = State::InFlight;
        }
        let (token, handle) = (Token { index, generation: header.generation as u32 }, header.handle);
        let (descriptor, lingers, means) = self.descriptor_of(handle);
        let header = self.slots.header(index);
        self.backend.submit(Shot {
            token,
            descriptor,
            op: &header.op,
            moved: header.moved,
            address: header.scratch.map(|scratch| scratch.cast()),
            readiness_only,
            means,
            lingers,
        });
    }

    /// Gives a job to the backend's other threads.
    fn offload(&mut self, index: u32, Offload { work, shared }: Offload) {
        let token = self.token(index);
        let header = self.slots.header_mut(index);
        header.state = State::InFlight;
        header.engaged = true;
        let completer = Box::new(move |outcome| shared.push_completion(token, outcome));
        let ticket = self.backend.cold().offload(work, completer);
        if let Op::Blocking { ticket: place, .. } = &mut self.slots.header_mut(index).op {
            *place = ticket;
        }
    }

    /// A scratch block with an address in it.
    pub(super) fn scratch(&mut self, address: Address) -> NonNull<u8> {
        let scratch = self.blocks.allocate(SCRATCH);
        // SAFETY: a block of the layout of an `Address`, just taken.
        unsafe { scratch.cast::<Address>().write(address) };
        scratch
    }

    /// Makes room for the address of the next connection.
    pub(super) fn clear_scratch(&mut self, index: u32) {
        if let Some(scratch) = self.slots.header(index).scratch {
            // SAFETY: the slot's scratch block, which the backend has let go of.
            unsafe { scratch.cast::<Address>().write(Address::empty()) };
        }
    }

    /// Sets a timer operation going.
    fn schedule(&mut self, index: u32, at: u64, limit: Option<u64>) {
        let earliest = self.earliest;
        let header = self.slots.header_mut(index);
        header.state = State::InFlight;
        let Op::Timer(schedule) = &mut header.op else { unreachable!("only timers aim at a point in time") };
        let until = limit.unwrap_or(u64::MAX).max(earliest);
        *schedule = Schedule { next: at.max(earliest), until, ..*schedule };
        let wake = schedule.wake();
        self.set_timer(index, wake);
    }

    /// Sets the slot's timer; never so early that it would fire in the tick that is running.
    pub(super) fn set_timer(&mut self, index: u32, at: u64) {
        let token = self.token(index);
        let timer = self.timers.insert(at.max(self.earliest), token.pack());
        self.slots.header_mut(index).timer = timer;
    }

    pub(super) fn clear_timer(&mut self, index: u32) {
        let timer = std::mem::replace(&mut self.slots.header_mut(index).timer, TimerKey::NONE);
        if timer != TimerKey::NONE {
            self.timers.cancel(timer);
        }
    }
}
