//! io_uring: the ring, its queues and the wait.
//!
//! Submitting writes an entry and makes no system call; one `io_uring_enter` a tick hands everything over and
//! waits. What doesn't fit the submission queue waits in `backlog`.

mod files;
mod op;
mod pipes;
mod poll;
mod setup;
mod substitute;
mod wake;

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::task::Waker;
use std::time::Duration;

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, squeue};
use rustix::io::Errno;

use super::{Backend, Completion, Description, Outcome, RawDescriptor, Shot, Token, unix};
use crate::engine::handles::Means;
use crate::engine::op::Op;
use crate::op::Kind;
use crate::report::Support;
use crate::{Error, Instant};

use setup::Features;
pub(crate) use setup::Level;
use substitute::{SUBSTITUTE, Substitute};
use wake::{WAKE, WakeUp};

pub(crate) struct Uring {
    ring: IoUring,
    /// What needs no ring.
    pub(super) system: unix::System,
    features: Features,
    /// Entries that found the submission queue full, in order. While there are any, new ones go behind them.
    backlog: VecDeque<squeue::Entry>,
    /// For the operations that the ring doesn't have; none if it has all.
    substitute: Option<Box<Substitute>>,
    /// For other threads; made when one first asks for it.
    wake_up: Option<WakeUp>,
    /// See `expect_stuck_threads`.
    expects_stuck_threads: bool,
}

/// How many opens of FIFOs may wait without holding up what else needs the kernel's threads.
const STUCK_THREADS: u32 = 64;

/// A longer wait ends early, which nobody will see; the kernel refuses seconds that don't fit its counter.
const LONGEST_WAIT: Duration = Duration::from_secs(1 << 31);

/// Marks the `user_data` of a wait for readiness; the index has 30 bits.
const READINESS: u64 = 1 << 31;

/// `IORING_CQE_F_BUFFER`: the kernel has picked a buffer.
const PICKED: u32 = 1;

/// `IORING_CQE_F_MORE`: the shot goes on.
const MORE: u32 = 2;

/// What a cancel answers.
const NOT_FOUND: i32 = -libc::ENOENT;
const ALREADY: i32 = -libc::EALREADY;

/// What the kernel alone should see (`ERESTARTSYS` and its like): a thread of its own was interrupted, as all threads are
/// when the process is stopped and goes on. Of a system call it would make EINTR, or make the call again; here not every
/// request has that done for it.
const RESTARTS: [i32; 4] = [512, 513, 514, 516];

/// The error that a request failed with.
fn told(os: i32) -> i32 {
    if RESTARTS.contains(&os) { libc::EINTR } else { os }
}

/// Marks the `user_data` of a cancel.
const CANCEL: u64 = 1 << 30;

impl Token {
    fn user_data(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    fn of(user_data: u64) -> Token {
        let index = user_data & !(READINESS | CANCEL);
        Token { index: index as u32, generation: (user_data >> 32) as u32 }
    }
}

impl Uring {
    pub(crate) fn new(entries: u32, level: Level, without: &[&'static str]) -> Result<Uring, Error> {
        let (ring, features) = setup::open(entries, level, without)?;
        let substitute = if features.complete() { None } else { Some(Box::new(Substitute::new()?)) };
        Ok(Uring {
            substitute,
            ring,
            system: unix::System,
            features,
            backlog: VecDeque::new(),
            wake_up: None,
            expects_stuck_threads: false,
        })
    }

    /// Opens of FIFOs wait on threads of the kernel's: so many more it may have, once there are any.
    #[cold]
    fn expect_stuck_threads(&mut self) {
        if std::mem::replace(&mut self.expects_stuck_threads, true) {
            return;
        }
        // Asking (by zeros) and setting. Where there is none of this (before 5.15), there is no such limit to raise.
        let mut most = [0, 0];
        if self.ring.submitter().register_iowq_max_workers(&mut most).is_ok() {
            let mut most = [most[0].saturating_add(STUCK_THREADS), 0];
            let _ = self.ring.submitter().register_iowq_max_workers(&mut most);
        }
    }

    /// See `AnyBackend`; false if it is one for `submit`.
    #[inline(always)]
    pub(super) fn submit_plain(&mut self, token: Token, op: &Op, on: (RawDescriptor, Means)) -> bool {
        let (descriptor, means) = on;
        let placed = matches!(op, Op::ReadAt { .. } | Op::WriteAt { .. });
        if self.substitute.is_some() || !(placed || means == Means::Socket) {
            return false;
        }
        let Some(entry) = op::prepare_plain(token, descriptor, op, 0) else { return false };
        self.push(entry);
        true
    }

    #[inline(always)]
    fn push(&mut self, entry: squeue::Entry) {
        debug_assert!(self.features.has(entry.get_opcode() as u8), "the ring has no such operation");
        let pushed = self.backlog.is_empty() && {
            // SAFETY: the engine keeps what the entry points at until its completion; see `Backend`.
            unsafe { self.ring.submission().push(&entry) }.is_ok()
        };
        if !pushed {
            self.push_later(entry);
        }
    }

    /// The submission queue is full.
    #[cold]
    fn push_later(&mut self, entry: squeue::Entry) {
        self.backlog.push_back(entry);
    }

    /// Moves as much of the backlog as fits into the submission queue.
    fn refill(&mut self) {
        let mut queue = self.ring.submission();
        while let Some(entry) = self.backlog.front() {
            // SAFETY: as in `push`.
            if unsafe { queue.push(entry) }.is_err() {
                break;
            }
            self.backlog.pop_front();
        }
    }

    /// Does what the ring can't, as far as that is possible now, and has the ring wait for the rest. The limit of that wait.
    #[cold]
    fn turn_substitute(&mut self, out: &mut VecDeque<Completion>) -> Result<Option<Duration>, Error> {
        let Some(substitute) = &mut self.substitute else { return Ok(None) };
        let pause = substitute.turn(out)?;
        if let Some(poll) = substitute.arm() {
            self.push(poll);
        }
        Ok(pause)
    }

    /// Lets the ring poll for other threads, if it doesn't.
    #[inline(never)]
    fn arm_wake_up(&mut self) {
        if let Some(poll) = self.wake_up.as_mut().and_then(WakeUp::arm) {
            self.push(poll);
        }
    }

    /// Takes over the completions that are in the ring; says whether there were any, and whether another thread woke the
    /// loop.
    fn reap(&mut self, out: &mut VecDeque<Completion>) -> (bool, bool) {
        let (mut any, mut woken) = (false, false);
        for entry in self.ring.completion() {
            any = true;
            let user_data = entry.user_data();
            let token = Token::of(user_data);
            // Nearly all, told at one look.
            let plain = user_data & (READINESS | CANCEL) == 0 && entry.flags() & (PICKED | MORE) == 0;
            if plain && entry.result() >= 0 {
                out.push_back(Completion { token, outcome: Outcome::Value(entry.result() as u32) });
                continue;
            }
            let outcome = match entry.result() {
                _ if user_data == SUBSTITUTE => {
                    self.substitute.iter_mut().for_each(|substitute| substitute.completed());
                    continue;
                }
                _ if user_data == WAKE => {
                    woken = true;
                    self.wake_up.iter_mut().for_each(|wake_up| wake_up.completed(&entry));
                    continue;
                }
                result if user_data & CANCEL != 0 => {
                    match result {
                        NOT_FOUND => Outcome::NotFound,
                        // On a thread of the kernel's, which was interrupted.
                        ALREADY => Outcome::Told,
                        _ => continue,
                    }
                }
                failed if failed < 0 => Outcome::Failed(told(-failed)),
                _ if user_data & READINESS != 0 => Outcome::Retry,
                value if entry.flags() & PICKED != 0 => {
                    let buffer = cqueue::buffer_select(entry.flags()).unwrap_or_default();
                    Outcome::Filled { buffer, bytes: value as u32, more: cqueue::more(entry.flags()) }
                }
                value if cqueue::more(entry.flags()) => Outcome::More(value as u32),
                value => Outcome::Value(value as u32),
            };
            out.push_back(Completion { token, outcome });
        }
        (any, woken)
    }

    /// One `io_uring_enter`: submits all that is in the queue and, if `block`, waits for a completion.
    fn enter(&mut self, block: bool, limit: Option<Duration>) -> Result<(), Errno> {
        let (submit, pending) = {
            let queue = self.ring.submission();
            (queue.len() as u32, queue.taskrun() || queue.cq_overflow())
        };
        // Without flags that tell (`TASKRUN`), deferred completions can only be had by asking.
        let ask = pending || !self.features.tells_of_pending;
        if submit == 0 && !block && !ask {
            return Ok(());
        }
        let timespec = limit.filter(|_| block).map(|limit| Timespec::from(limit.min(LONGEST_WAIT)));
        let arguments = match &timespec {
            Some(timespec) => SubmitArgs::new().timespec(timespec),
            None => SubmitArgs::new(),
        };
        let flags = EnterFlags::EXT_ARG | EnterFlags::GETEVENTS;
        // SAFETY: the flags match the argument (`EXT_ARG` with a `SubmitArgs`), which outlives the call; entries
        // are valid as in `push`.
        let entered =
            unsafe { self.ring.submitter().enter(submit, u32::from(block), flags.bits(), Some(&arguments)) };
        match entered {
            Ok(_) => Ok(()),
            Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
        }
    }
}

impl Backend for Uring {
    fn submit(&mut self, shot: Shot<'_>) {
        let socket = shot.means == Means::Socket;
        let entry =
            if socket { op::prepare(&shot, &self.features) } else { pipes::prepare(&shot, &self.features) };
        if let Some(substitute) = &mut self.substitute
            && substitute.takes(&shot, &entry, &self.features)
        {
            return substitute.submit(shot);
        }
        if !socket && pipes::may_wait_for_ever(shot.op) {
            self.expect_stuck_threads();
        }
        self.push(entry);
    }

    fn cancel(&mut self, token: Token, readiness_only: bool) {
        if self.substitute.as_mut().is_some_and(|substitute| substitute.cancel(token)) {
            return;
        }
        let mark = if readiness_only { READINESS } else { 0 };
        let cancel = op::prepare_cancel(token.user_data() | mark, self.features.skips_completions);
        self.push(cancel.user_data(token.user_data() | CANCEL));
    }

    fn wait(&mut self, limit: Option<Duration>, out: &mut VecDeque<Completion>) -> Result<(), Error> {
        let had = out.len();
        let mut left = limit;
        let mut deadline = None;
        let mut woken = false;
        if self.wake_up.is_some() {
            self.arm_wake_up();
        }
        loop {
            if self.substitute.is_some()
                && let Some(pause) = self.turn_substitute(out)?
            {
                // What it tries again after a while is tried by the next wait.
                left = Some(left.map_or(pause, |left| left.min(pause)));
            }
            self.refill();
            // Entries that wait to be handed over must not sleep with us.
            let block = !woken && out.len() == had && self.backlog.is_empty() && left != Some(Duration::ZERO);
            if block && deadline.is_none() {
                deadline = left.map(|left| self.now() + left);
            }
            let entered = self.enter(block, left);
            let (any, woke) = self.reap(out);
            woken |= woke;
            match entered {
                // A signal ended the wait, but in this call entries were handed over, too, and that is what it tells.
                Ok(()) if block && !any => {
                    left = deadline.map(|deadline| deadline - self.now());
                }
                Ok(()) | Err(Errno::TIME) => {
                    let more = self.substitute.as_mut().is_some_and(|substitute| !substitute.is_armed());
                    if more && out.len() == had && !woken && entered.is_ok() {
                        left = deadline.map(|deadline| deadline - self.now()).or(left);
                        continue;
                    }
                    if self.backlog.is_empty() && self.ring.submission().is_empty() {
                        return Ok(());
                    }
                }
                // A signal; no memory for requests; too many completions outstanding. Nothing was waited for: it goes
                // on for what is left of the time, unless some were reaped, which also makes room.
                Err(errno @ (Errno::INTR | Errno::AGAIN | Errno::BUSY)) => {
                    if woken || out.len() > had || (errno != Errno::INTR && left == Some(Duration::ZERO)) {
                        return Ok(());
                    }
                    if deadline.is_none() {
                        deadline = left.map(|left| self.now() + left);
                    }
                    if errno != Errno::INTR {
                        // A moment for the kernel, instead of spinning.
                        std::thread::sleep(Duration::from_micros(50));
                    }
                    left = deadline.map(|deadline| deadline - self.now());
                }
                Err(errno) => return Err(Error::from_os(errno.raw_os_error(), Kind::Tick)),
            }
        }
    }

    fn waker(&mut self) -> Result<Waker, Error> {
        let wake_up = match self.wake_up.take() {
            Some(wake_up) => wake_up,
            None => WakeUp::new(self.features.repeats_polls)?,
        };
        Ok(self.wake_up.insert(wake_up).waker())
    }

    #[inline]
    fn now(&self) -> Instant {
        Instant::system()
    }

    fn attach(&mut self, descriptor: OwnedFd) -> RawDescriptor {
        match &mut self.substitute {
            Some(substitute) => substitute.readiness().attach(descriptor),
            None => unix::attach(descriptor),
        }
    }

    fn attach_any(&mut self, descriptor: OwnedFd, _: Kind) -> Result<(RawDescriptor, bool), Error> {
        let lingers = unix::lingers(descriptor.as_fd());
        Ok((self.attach(descriptor), lingers))
    }

    fn can_wait(&mut self, descriptor: RawDescriptor) -> Result<bool, Error> {
        let waits = poll::can_wait(unix::borrow(&descriptor));
        waits.map_err(|errno| Error::from_os(errno.raw_os_error(), Kind::PollMany))
    }

    fn detach(&mut self, descriptor: RawDescriptor) -> Result<OwnedFd, Error> {
        match &mut self.substitute {
            Some(substitute) => substitute.readiness().detach(descriptor),
            None => Ok(unix::detach(descriptor)),
        }
    }

    fn picks_buffers(&self) -> bool {
        self.features.picks_buffers
    }

    fn register_pool(&mut self, number: u16, (address, entries): (u64, u16)) -> Result<(), Error> {
        let submitter = self.ring.submitter();
        // SAFETY: the pool's ring stays until `unregister_pool`, or until this ring is gone (`Engine::pools`).
        let registered = unsafe { submitter.register_buf_ring_with_flags(address, entries, number, 0) };
        registered.map_err(|error| Error::from_os(error.raw_os_error().unwrap_or(0), Kind::BufferPool))
    }

    fn unregister_pool(&mut self, number: u16) {
        // It fails only for what isn't registered.
        let _ = self.ring.submitter().unregister_buf_ring(number);
    }

    fn close_now(&mut self, descriptor: RawDescriptor) {
        match &mut self.substitute {
            Some(substitute) => substitute.readiness().close_now(descriptor),
            None => drop(unix::detach(descriptor)),
        }
    }

    fn describe(&self) -> Description {
        let substituted = self.substitute.as_ref().map_or(0, |substitute| substitute.shots);
        Description { name: self.features.level.name(), features: self.features.names(), substituted }
    }

    fn support(&self, kind: Kind) -> Support {
        match kind {
            Kind::Shutdown => Support::Direct,
            Kind::Timer | Kind::Interval | Kind::NextTick => Support::Engine,
            Kind::Blocking | Kind::Resolve => Support::Pool,
            Kind::ReadLink | Kind::ReadDir | Kind::Lock | Kind::Unlock | Kind::CopyFile => Support::Pool,
            Kind::SendFile | Kind::Splice | Kind::ReadFile | Kind::WriteFile => Support::Composed,
            Kind::AcceptPipe => Support::Unsupported,
            kind => match &self.substitute {
                Some(substitute) if !self.features.does(kind) => substitute.support(kind),
                _ => Support::Native,
            },
        }
    }
}
