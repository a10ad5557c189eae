//! Completions made from readiness: a shot is tried by a system call that doesn't wait; if it would have to, it is parked
//! until the system says that its descriptor is ready, and tried again. What can't be tried without waiting (files,
//! paths, terminals) is done on the thread pool, so that a slow disk never stops the loop.
//!
//! Written once, over a `Selector`: epoll and kqueue. Both are used edge-triggered, so a descriptor costs one system call
//! when it is first waited for, and none later.

mod backend;
mod descriptors;
mod offload;
pub(super) mod selector;
mod shots;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use super::syscall::{Syscall, polled_now, ready_now};
use super::{Completion, Outcome, RawDescriptor, Token, unix};
use crate::engine::handles::Means;
use crate::op::Kind;
use crate::{Error, Instant};

use descriptors::{Descriptors, Mode, NONE, Queue};
use offload::Landing;
use selector::{Direction, News, Selector};
use shots::{Pending, Place, Shots};

pub(crate) struct Readiness<S> {
    selector: S,
    /// What needs no selector.
    pub(super) system: unix::System,
    shots: Shots,
    descriptors: Descriptors,
    /// Handed over since the last wait, in order; some may be cancelled already.
    fresh: VecDeque<Token>,
    /// To be tried again at these times, in order.
    later: VecDeque<(Instant, Token)>,
    done: VecDeque<Completion>,
    news: Vec<News>,
    /// Made when the pool is first needed.
    landing: Option<Arc<Landing>>,
    /// How many waits in a row didn't ask the system, since something was done already.
    unasked: u32,
}

/// How long a connect waits that finds a Unix listener's queue full, or a datagram its receiver's, where nothing tells when there is
/// room.
const PAUSE: Duration = Duration::from_millis(2);

/// So many waits in a row may be content with what was done without waiting; then others have their turn.
const MOST_UNASKED: u32 = 3;

/// What says that a file has no places to read at.
const SPIPE: i32 = Errno::SPIPE.raw_os_error();
const IS_FIFO: i32 = super::blocking::IS_FIFO.raw_os_error();

/// What ends a poll whatever it asked for.
const ENDS: u32 = (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) as u32;
const READABLE: u32 = libc::POLLIN as u32 | ENDS | unix::READ_CLOSED | libc::POLLPRI as u32;
const WRITABLE: u32 = libc::POLLOUT as u32 | ENDS;
/// After these a short receive says nothing.
const ENDING: u32 = ENDS | unix::READ_CLOSED | libc::POLLPRI as u32;

fn outcome(answer: Result<u32, Errno>) -> Outcome {
    match answer {
        Ok(value) => Outcome::Value(value),
        Err(errno) => Outcome::Failed(errno.raw_os_error()),
    }
}

/// Where a receive from a socket, or a send, waits.
#[inline]
fn transferring(call: &Syscall) -> Option<Queue> {
    match call {
        Syscall::Recv { .. } | Syscall::Pick { .. } => Some(Queue::Read),
        Syscall::Send { .. } => Some(Queue::Write),
        _ => None,
    }
}

impl<S: Selector> Readiness<S> {
    pub(crate) fn new() -> Result<Readiness<S>, Error> {
        let selector = S::new().map_err(|errno| Error::from_os(errno.raw_os_error(), Kind::Build))?;
        Ok(Readiness::over(selector))
    }

    pub(crate) fn over(selector: S) -> Readiness<S> {
        Readiness {
            selector,
            system: unix::System,
            shots: Shots::default(),
            descriptors: Descriptors::default(),
            fresh: VecDeque::new(),
            later: VecDeque::new(),
            done: VecDeque::new(),
            news: Vec::new(),
            landing: None,
            unasked: 0,
        }
    }

    /// Whether a shot with this token is here.
    pub(crate) fn has(&mut self, token: Token) -> bool {
        self.shots.find(token).is_some()
    }

    /// How long until something is to be tried again that nothing tells of.
    pub(crate) fn pause(&self) -> Option<Duration> {
        self.later.front().map(|(at, _)| *at - Instant::system())
    }

    /// Tries what was handed over since the last wait.
    fn try_fresh(&mut self) {
        while let Some(token) = self.fresh.pop_front() {
            // One that was cancelled meanwhile is not here, or it is somebody else's place now.
            if self.shots.find(token).is_some_and(|shot| shot.place == Place::Fresh) {
                self.first_try(token.index);
            }
        }
    }

    fn first_try(&mut self, index: u32) {
        let Pending { ref call, descriptor, .. } = *self.shots.get(index);
        // What nearly all are.
        if let Some(queue) = transferring(call) {
            let of = self.descriptors.of(descriptor);
            let try_it = of.ready[queue as usize] && of.queues[queue as usize].head == NONE;
            if !try_it || !self.transfer(index, queue) {
                self.wait_in(index, queue);
            }
            return;
        }
        self.first_try_of_others(index);
    }

    /// Lets a shot that would have to wait do so, if it is still wanted.
    fn wait_in(&mut self, index: u32, queue: Queue) {
        if self.shots.get(index).unwanted { self.end_unwanted(index) } else { self.park(index, queue) }
    }

    fn first_try_of_others(&mut self, index: u32) {
        let Pending { call, descriptor, means, unwanted, .. } = *self.shots.get(index);
        match call {
            Syscall::Close => self.close(index),
            ref call if unwanted && !call.may_be_done_at_once() => self.end_unwanted(index),
            Syscall::Poll { events, .. } => self.poll(index, events),
            Syscall::Fifo { .. } => self.open_fifo(index),
            ref call if call.is_pooled() => self.read_cached_or_offload(index),
            ref call => {
                let queue = if call.writes() { Queue::Write } else { Queue::Read };
                let of = self.descriptors.of(descriptor);
                let alone = of.queues[queue as usize].head == NONE;
                let ready = alone && (of.ready[queue as usize] || means != Means::Socket);
                // What waits for its own receiver says nothing of another one.
                let try_it = ready || self.tells_nothing(index, means);
                if !try_it || !self.attempt(index, queue) {
                    self.wait_in(index, queue);
                }
            }
        }
    }

    /// Makes the call of a receive from a socket, or a send; `false` if it would have to wait still.
    fn transfer(&mut self, index: u32, queue: Queue) -> bool {
        let shot = self.shots.get(index);
        let (descriptor, generation) = (shot.descriptor, shot.generation);
        let answer = loop {
            // SAFETY: the shot is with this backend, its completion is not out.
            match unsafe { shot.call.without_waiting(descriptor) } {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.descriptors.of(descriptor).ready[queue as usize] = false;
                    return false;
                }
                answer => break answer,
            }
        };
        shot.place = Place::Nowhere;
        let call = shot.call;
        if let (Ok(bytes @ 1..), Some(room)) = (answer, call.room())
            && S::SHORT_READS_TELL
            && (bytes as usize) < room
        {
            self.note_short(descriptor);
        }
        let outcome = match (call, answer) {
            (Syscall::Pick { buffer, .. }, Ok(bytes @ 1..)) => Outcome::Filled { buffer, bytes, more: false },
            (Syscall::Pick { .. }, Err(Errno::NOBUFS)) => Outcome::Starved,
            (_, answer) => outcome(answer),
        };
        self.done.push_back(Completion { token: Token { index, generation }, outcome });
        true
    }

    /// Makes the call of a shot that waits for a descriptor; `false` if it would have to wait still.
    fn attempt(&mut self, index: u32, queue: Queue) -> bool {
        let Pending { ref call, descriptor, means, .. } = *self.shots.get(index);
        if transferring(call).is_some() {
            return self.transfer(index, queue);
        }
        if matches!(self.shots.get(index).call, Syscall::Accept { .. }) && !self.accepts_at_once(descriptor) {
            return self.offload_if_ready(index, queue);
        }
        loop {
            let call = &mut self.shots.get(index).call;
            // SAFETY: the shot is with this backend, its completion is not out.
            let answer = unsafe {
                match means {
                    Means::Socket => call.without_waiting(descriptor),
                    Means::File => call.at_once(descriptor),
                    // A terminal blocks whoever asks.
                    Means::Blocking => Err(Errno::OPNOTSUPP),
                }
            };
            match answer {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    if self.tells_nothing(index, means) {
                        let unwanted = self.shots.get(index).unwanted;
                        if !unwanted {
                            self.try_later(index);
                        }
                        return !unwanted;
                    }
                    self.descriptors.of(descriptor).ready[queue as usize] = false;
                    return false;
                }
                Err(Errno::OPNOTSUPP) if means != Means::Socket => {
                    return self.offload_if_ready(index, queue);
                }
                answer => {
                    self.complete(index, outcome(answer));
                    return true;
                }
            }
        }
    }

    /// Whether nothing will tell when a call that would have to wait may be tried again: a connect to a Unix listener with
    /// a full queue (connect(2), EAGAIN), a datagram for a receiver with one.
    fn tells_nothing(&mut self, index: u32, means: Means) -> bool {
        let call = self.shots.get(index).call;
        let apart =
            matches!(call, Syscall::Connect { begun: false, .. } | Syscall::SendMessage { apart: true, .. });
        means == Means::Socket && apart
    }

    /// A receive that brought less than it had room for has emptied a TCP stream: the next one needn't try.
    fn note_short(&mut self, descriptor: RawDescriptor) {
        let of = self.descriptors.of(descriptor);
        let tcp = *of.tcp.get_or_insert_with(|| unix::is_tcp(unix::borrow(&descriptor)));
        if tcp && !of.ending && of.armed.has(Direction::Read) {
            of.ready[Queue::Read as usize] = false;
        }
    }

    /// Whether accept(2) on this listener never waits. One of ours is put into non-blocking mode; one from outside is
    /// left as it is.
    fn accepts_at_once(&mut self, descriptor: RawDescriptor) -> bool {
        let of = self.descriptors.of(descriptor);
        if of.mode == Mode::Unknown {
            let listener = unix::borrow(&descriptor);
            of.mode = if unix::is_nonblocking(listener) {
                Mode::NeverWaits
            } else if !of.foreign && rustix::io::ioctl_fionbio(listener, true).is_ok() {
                of.changed = true;
                Mode::NeverWaits
            } else {
                Mode::MayWait
            };
        }
        of.mode == Mode::NeverWaits
    }

    /// A call that waits though it is asked not to: made on the pool, once the descriptor is ready.
    fn offload_if_ready(&mut self, index: u32, queue: Queue) -> bool {
        let descriptor = self.shots.get(index).descriptor;
        let ready = self.descriptors.of(descriptor).always || ready_now(descriptor, queue == Queue::Write);
        if ready {
            self.offload(index);
        }
        ready
    }

    /// Lets a shot wait until its descriptor is ready.
    fn park(&mut self, index: u32, queue: Queue) {
        let descriptor = self.shots.get(index).descriptor;
        self.shots.get(index).place = Place::Parked(queue);
        self.descriptors.of(descriptor).queues[queue as usize].push(&mut self.shots, index);
        match self.arm(descriptor, queue.direction()) {
            Ok(()) => {}
            // Always ready, though it said it would have to wait: what waits then is another thread.
            Err(Errno::PERM) => {
                self.descriptors.of(descriptor).always = true;
                self.unpark(index);
                self.offload(index);
            }
            Err(errno) => {
                self.unpark(index);
                self.complete(index, Outcome::Failed(errno.raw_os_error()));
            }
        }
    }

    fn unpark(&mut self, index: u32) {
        let Pending { descriptor, place, .. } = *self.shots.get(index);
        if let Place::Parked(queue) = place {
            self.descriptors.of(descriptor).queues[queue as usize].unlink(&mut self.shots, index);
        }
    }

    fn arm(&mut self, descriptor: RawDescriptor, direction: Direction) -> Result<(), Errno> {
        let armed = self.descriptors.of(descriptor).armed;
        if !armed.has(direction) {
            let key = self.descriptors.key(descriptor);
            self.selector.arm(descriptor, key, direction, armed)?;
            self.descriptors.of(descriptor).armed = armed.with(direction);
        }
        Ok(())
    }

    fn poll(&mut self, index: u32, events: u32) {
        let descriptor = self.shots.get(index).descriptor;
        self.shots.get(index).place = Place::Parked(Queue::Poll);
        self.descriptors.of(descriptor).queues[Queue::Poll as usize].push(&mut self.shots, index);
        let mut armed = Ok(());
        for (event, direction) in [
            (libc::POLLIN, Direction::Read),
            (libc::POLLOUT, Direction::Write),
            (libc::POLLPRI, Direction::Priority),
        ] {
            // Asked for nothing, it tells of the end.
            let asked =
                events & event as u32 != 0 || (events & !unix::READ_CLOSED == 0 && event == libc::POLLIN);
            if asked && armed.is_ok() {
                armed = self.arm(descriptor, direction);
            }
        }
        let outcome = match armed {
            Ok(()) => return,
            // It knows no readiness: poll(2) calls it ready.
            Err(Errno::PERM) => {
                self.descriptors.of(descriptor).always = true;
                Outcome::Value(events & (libc::POLLIN | libc::POLLOUT) as u32)
            }
            Err(errno) => Outcome::Failed(errno.raw_os_error()),
        };
        self.unpark(index);
        self.complete(index, outcome);
    }

    /// A read of what is in memory already needs no other thread.
    fn read_cached_or_offload(&mut self, index: u32) {
        let Pending { call, descriptor, .. } = *self.shots.get(index);
        if matches!(call, Syscall::Read { .. } | Syscall::ReadVectored { .. }) {
            // SAFETY: as in `attempt`.
            match unsafe { call.at_once(descriptor) } {
                answer @ Ok(1..) => return self.complete(index, outcome(answer)),
                Err(Errno::SPIPE) => return self.go_on_as_stream(index),
                _ => {}
            }
        }
        if self.shots.get(index).unwanted {
            return self.end_unwanted(index);
        }
        self.offload(index);
    }

    /// What was opened as a file has no places to read at: it is a FIFO or the like, and read where it stands.
    fn go_on_as_stream(&mut self, index: u32) {
        let shot = self.shots.get(index);
        shot.call.forget_offset();
        shot.means = Means::File;
        shot.place = Place::Fresh;
        self.first_try(index);
    }

    /// Opens a FIFO once there is somebody at its other end: tried again and again, since nothing tells of that, and a thread
    /// that waits for it couldn't be called back.
    fn open_fifo(&mut self, index: u32) {
        let Pending { ref mut call, descriptor, .. } = *self.shots.get(index);
        match call.open_fifo(descriptor) {
            Err(Errno::AGAIN) => self.try_later(index),
            answer => self.complete(index, outcome(answer)),
        }
    }

    /// Ends what was cancelled.
    fn end_unwanted(&mut self, index: u32) {
        self.shots.get(index).call.abandon();
        self.complete(index, Outcome::Failed(Errno::CANCELED.raw_os_error()));
    }

    fn offload(&mut self, index: u32) {
        let token = self.shots.token(index);
        let Pending { call, descriptor, .. } = *self.shots.get(index);
        if descriptor >= 0 && !matches!(call, Syscall::Close) {
            let of = self.descriptors.of(descriptor);
            of.pooled += 1;
            of.on_disk |= call.is_pooled();
        }
        let landing = match &self.landing {
            Some(landing) => landing,
            None => match self.selector.waker() {
                Ok(waker) => self.landing.insert(Landing::new(waker)),
                Err(errno) => {
                    self.shots.get(index).place = Place::Pool(u64::MAX);
                    return self.complete(index, Outcome::Failed(errno.raw_os_error()));
                }
            },
        };
        let ticket = landing.offload(token, call, descriptor);
        self.shots.get(index).place = Place::Pool(ticket);
    }

    fn try_later(&mut self, index: u32) {
        self.shots.get(index).place = Place::Later;
        let token = self.shots.token(index);
        self.later.push_back((Instant::system() + PAUSE, token));
    }

    /// Tries again what waited for a while.
    fn try_paused(&mut self) {
        while let Some(&(at, token)) = self.later.front() {
            if Instant::system() < at {
                return;
            }
            self.later.pop_front();
            if self.shots.find(token).is_some_and(|shot| shot.place == Place::Later) {
                self.shots.get(token.index).place = Place::Fresh;
                self.first_try(token.index);
            }
        }
    }

    /// Takes over what threads of the pool have done.
    fn take_landed(&mut self) {
        let Some(landing) = &self.landing else { return };
        for Completion { token, outcome } in landing.take() {
            let Pending { call, descriptor, .. } = *self.shots.get(token.index);
            match (outcome, call) {
                (Outcome::Failed(SPIPE), call) if call.has_offset() => {
                    self.descriptors.of(descriptor).pooled -= 1;
                    self.go_on_as_stream(token.index);
                }
                (Outcome::Failed(IS_FIFO), Syscall::Path(path)) => {
                    if descriptor >= 0 {
                        self.descriptors.of(descriptor).pooled -= 1;
                    }
                    let shot = self.shots.get(token.index);
                    shot.call = Syscall::Fifo { path, open: -1 };
                    shot.place = Place::Fresh;
                    self.first_try(token.index);
                }
                _ => self.complete(token.index, outcome),
            }
        }
    }

    #[inline(never)]
    fn complete(&mut self, index: u32, outcome: Outcome) {
        let token = self.shots.token(index);
        let shot = self.shots.get(index);
        let (descriptor, place) = (shot.descriptor, std::mem::replace(&mut shot.place, Place::Nowhere));
        if matches!(place, Place::Pool(_)) && descriptor >= 0 && !matches!(shot.call, Syscall::Close) {
            self.descriptors.of(descriptor).pooled -= 1;
        }
        self.done.push_back(Completion { token, outcome });
    }

    /// Closes what no other shot names.
    fn close(&mut self, index: u32) {
        let Pending { descriptor, lingers, .. } = *self.shots.get(index);
        let on_disk = self.descriptors.of(descriptor).on_disk;
        self.forget(descriptor);
        if lingers || on_disk {
            return self.offload(index);
        }
        // SAFETY: the engine gives the descriptor away with this shot.
        let answer = unsafe { Syscall::Close.waiting(descriptor) };
        self.complete(index, outcome(answer));
    }

    /// Nothing is to be heard of a descriptor any more.
    pub(crate) fn forget(&mut self, descriptor: RawDescriptor) {
        let of = self.descriptors.of(descriptor);
        let (armed, always) = (of.armed, of.always);
        if !always {
            // Before the close: afterwards the number may be another's.
            self.selector.disarm(descriptor, armed);
        }
        self.descriptors.forget(descriptor);
    }

    fn hear_all(&mut self) {
        let mut news = std::mem::take(&mut self.news);
        news.drain(..).for_each(|news| self.hear(news));
        self.news = news;
    }

    /// What the system has told of a descriptor.
    fn hear(&mut self, News { key, ready, refused }: News) {
        let Some(descriptor) = self.descriptors.named(key) else { return };
        let of = self.descriptors.of(descriptor);
        of.ending |= ready & ENDING != 0;
        if let Some(errno) = refused {
            return self.refused(descriptor, errno);
        }
        self.tell_polls(descriptor, ready);
        for (queue, bits) in [(Queue::Read, READABLE), (Queue::Write, WRITABLE)] {
            if ready & bits != 0 {
                self.descriptors.of(descriptor).ready[queue as usize] = true;
                self.try_parked(descriptor, queue);
            }
        }
    }

    /// Tries those that wait for a descriptor, in order, until one has to go on waiting.
    fn try_parked(&mut self, descriptor: RawDescriptor, queue: Queue) {
        loop {
            let index = self.descriptors.of(descriptor).queues[queue as usize].head;
            if index == NONE {
                return;
            }
            // It leaves the list first: whatever becomes of it then has its place.
            self.unpark(index);
            if !self.attempt(index, queue) {
                return self.descriptors.of(descriptor).queues[queue as usize]
                    .push_front(&mut self.shots, index);
            }
        }
    }

    fn tell_polls(&mut self, descriptor: RawDescriptor, ready: u32) {
        let mut next = self.descriptors.of(descriptor).queues[Queue::Poll as usize].head;
        let exact = S::EXACT || next == NONE;
        let ready = if exact { ready } else { polled_now(descriptor) & (ready | ENDS | unix::READ_CLOSED) };
        while next != NONE {
            let index = next;
            next = self.shots.next(index);
            let Syscall::Poll { events, many } = self.shots.get(index).call else {
                unreachable!("only polls are in this list")
            };
            let told = ready & (events | ENDS);
            if told != 0 && many {
                let token = self.shots.token(index);
                self.done.push_back(Completion { token, outcome: Outcome::More(told) });
            } else if told != 0 {
                self.unpark(index);
                self.complete(index, Outcome::Value(told));
            }
        }
    }

    /// The system won't tell when a descriptor is ready: what waits for that ends so.
    fn refused(&mut self, descriptor: RawDescriptor, errno: Errno) {
        self.descriptors.of(descriptor).armed = selector::Directions::NONE;
        for queue in [Queue::Read, Queue::Write, Queue::Poll] {
            loop {
                let index = self.descriptors.of(descriptor).queues[queue as usize].head;
                if index == NONE {
                    break;
                }
                self.unpark(index);
                // It may be able to go on all the same: a pipe whose other end is gone.
                if queue == Queue::Poll || !self.attempt(index, queue) {
                    self.complete(index, Outcome::Failed(errno.raw_os_error()));
                }
            }
        }
    }
}
