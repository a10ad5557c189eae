//! What a ring does without an operation: an epoll beside it, which the ring polls.
//!
//! A kernel that lacks an operation (or a builder that forbids it) costs that operation only: its shots are done as on
//! epoll, by system calls that are tried and by the thread pool, and everything else stays with the ring.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use io_uring::{opcode, squeue, types};

use super::setup::Features;
use crate::Error;
use crate::backend::epoll::Epoll;
use crate::backend::readiness::Readiness;
use crate::backend::readiness::selector::Selector;
use crate::backend::{Backend, Completion, Shot, Token};
use crate::engine::op::Op;
use crate::op::Kind;
use crate::report::Support;

pub(super) struct Substitute {
    readiness: Readiness<Epoll>,
    /// The epoll's.
    descriptor: RawFd,
    /// The ring polls the epoll, or will.
    armed: bool,
    /// How many shots it was given.
    pub(super) shots: u64,
}

/// The `user_data` of the poll: no shot's, no cancel's, and not the wake-up's.
pub(super) const SUBSTITUTE: u64 = u64::MAX - 1;

impl Substitute {
    pub(super) fn new() -> Result<Substitute, Error> {
        let epoll = Epoll::new().map_err(|errno| Error::from_os(errno.raw_os_error(), Kind::Build))?;
        let descriptor = epoll.as_raw_fd();
        Ok(Substitute { readiness: Readiness::over(epoll), descriptor, armed: false, shots: 0 })
    }

    /// Whether a shot is for it, because the ring can't do this.
    pub(super) fn takes(&mut self, shot: &Shot<'_>, entry: &squeue::Entry, ring: &Features) -> bool {
        let repeats = matches!(shot.op, Op::Poll { many: true, .. });
        let picks = matches!(shot.op, Op::RecvMany { .. });
        let takes = !ring.has(entry.get_opcode() as u8)
            || (repeats && !ring.repeats_polls)
            || (picks && !ring.picks_buffers);
        if !takes && matches!(shot.op, Op::Close) {
            // What it was told of the descriptor is over.
            self.readiness.forget(shot.descriptor);
        }
        takes
    }

    pub(super) fn submit(&mut self, shot: Shot<'_>) {
        self.shots += 1;
        self.readiness.submit(shot);
    }

    /// Whether the shot was its own.
    pub(super) fn cancel(&mut self, token: Token) -> bool {
        let own = self.readiness.has(token);
        if own {
            self.readiness.cancel(token, false);
        }
        own
    }

    /// Does what can be done now; says how long the ring may wait, if not for ever.
    pub(super) fn turn(&mut self, out: &mut VecDeque<Completion>) -> Result<Option<Duration>, Error> {
        self.readiness.wait(Some(Duration::ZERO), out)?;
        Ok(self.readiness.pause())
    }

    /// The poll's entry, if the ring doesn't have it.
    pub(super) fn arm(&mut self) -> Option<squeue::Entry> {
        if std::mem::replace(&mut self.armed, true) {
            return None;
        }
        let epoll = types::Fd(self.descriptor);
        Some(opcode::PollAdd::new(epoll, libc::POLLIN as u32).build().user_data(SUBSTITUTE))
    }

    /// The poll has completed: there is something to be done.
    pub(super) fn completed(&mut self) {
        self.armed = false;
    }

    /// Whether it waits for the ring to tell of the epoll.
    pub(super) fn is_armed(&self) -> bool {
        self.armed
    }

    pub(super) fn support(&self, kind: Kind) -> Support {
        self.readiness.support(kind)
    }

    /// For what isn't a shot.
    pub(super) fn readiness(&mut self) -> &mut Readiness<Epoll> {
        &mut self.readiness
    }
}
