//! What the readiness engine needs of a system: to be told when a descriptor may be tried again.

use std::os::fd::RawFd;
use std::task::Waker;
use std::time::Duration;

use rustix::io::Errno;

/// What may be waited for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
    /// Urgent data, and what else a poll(2) for POLLPRI tells of.
    Priority,
}

/// News of a descriptor: bits of poll(2) (`POLLIN`, `POLLOUT`, `POLLPRI`, `POLLHUP`, `POLLERR`, `POLLRDHUP` where the
/// system has it). A hint only: the system call that is tried next decides.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) key: u64,
    pub(crate) ready: u32,
    /// Arming failed, which a system that takes changes in batches tells late.
    pub(crate) refused: Option<Errno>,
}

/// epoll or kqueue. It tells of *changes*: once when a direction is armed and ready already, and then whenever it
/// becomes ready (again). Who hears of one tries until the call would have to wait.
pub(crate) trait Selector: Sized {
    /// For the report.
    const NAME: &'static str;

    /// Whether a receive from a TCP stream that brought less than it had room for has emptied it, unless the news said
    /// otherwise (epoll(7)): news of what may follow comes by itself.
    const SHORT_READS_TELL: bool = false;

    /// Whether news are as poll(2) has it. Otherwise that is asked before a poll hears of them.
    const EXACT: bool = true;

    fn new() -> Result<Self, Errno>;

    /// Begins to tell of this direction, with `key`, beside those in `armed`, which were armed before with the same
    /// key. `EPERM`: the descriptor knows no readiness, it is always ready.
    fn arm(
        &mut self,
        descriptor: RawFd,
        key: u64,
        direction: Direction,
        armed: Directions,
    ) -> Result<(), Errno>;

    /// Tells nothing more of a descriptor that is about to be closed; not even what was seen already.
    fn disarm(&mut self, descriptor: RawFd, armed: Directions);

    /// Waits until there is news, the waker was used, or `limit` has passed (`None`: no limit), and appends the news. It
    /// may be over sooner, too.
    /// Says whether the waker was used. `EINTR` if a signal came first.
    fn wait(&mut self, limit: Option<Duration>, news: &mut Vec<News>) -> Result<bool, Errno>;

    /// What ends `wait` from any thread: the one that is going on, or if none is, the next one. It stays good after the
    /// selector is gone.
    fn waker(&mut self) -> Result<Waker, Errno>;
}

/// A set of directions.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directions(u8);

impl Directions {
    pub(crate) const NONE: Directions = Directions(0);

    pub(crate) fn with(self, direction: Direction) -> Directions {
        Directions(self.0 | 1 << direction as u8)
    }

    pub(crate) fn has(self, direction: Direction) -> bool {
        self.0 & 1 << direction as u8 != 0
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }
}
