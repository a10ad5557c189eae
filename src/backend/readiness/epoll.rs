//! epoll(7), edge-triggered: a descriptor is added once, and no system call is needed to wait for it again.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::{Errno, retry_on_intr};

use super::readiness::selector::{Direction, Directions, News, Selector};
use crate::backend::unix;

pub(crate) struct Epoll {
    set: OwnedFd,
    events: Vec<epoll::Event>,
    wake_up: Option<Arc<WakeUp>>,
    /// The kernel knows epoll_pwait2(2) (Linux 5.11), or has not been asked: waits need not be whole milliseconds.
    precise: bool,
}

/// An eventfd(2), shared with the wakers. Nobody reads it: each write is an edge.
struct WakeUp(OwnedFd);

/// The key of the wake-up; no descriptor's.
const WAKE: u64 = u64::MAX;

/// How many events one wait brings at most; the others stay for the next.
const MOST_EVENTS: usize = 1024;

/// A longer wait ends early, which nobody will see: the kernel counts milliseconds in an `int`.
const LONGEST_WAIT: Duration = Duration::from_secs(1 << 20);

impl Wake for WakeUp {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // The only error is a counter that is full (EAGAIN), after 2^64 wakes.
        let _ = retry_on_intr(|| rustix::io::write(&self.0, &1u64.to_ne_bytes()));
    }
}

impl Selector for Epoll {
    const NAME: &'static str = "epoll";
    const SHORT_READS_TELL: bool = true;

    fn new() -> Result<Epoll, Errno> {
        let set = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Epoll { set, events: Vec::with_capacity(MOST_EVENTS), wake_up: None, precise: true })
    }

    fn arm(
        &mut self,
        descriptor: RawFd,
        key: u64,
        direction: Direction,
        armed: Directions,
    ) -> Result<(), Errno> {
        let flags = flags(armed.with(direction));
        let descriptor = unix::borrow(&descriptor);
        let data = EventData::new_u64(key);
        if armed.is_empty() {
            epoll::add(&self.set, descriptor, data, flags)
        } else {
            // What is ready is told anew.
            epoll::modify(&self.set, descriptor, data, flags)
        }
    }

    fn disarm(&mut self, descriptor: RawFd, armed: Directions) {
        // Closing is not enough: another descriptor may share the open file (epoll(7), "Questions and answers").
        if !armed.is_empty() {
            let _ = epoll::delete(&self.set, unix::borrow(&descriptor));
        }
    }

    fn wait(&mut self, limit: Option<Duration>, news: &mut Vec<News>) -> Result<bool, Errno> {
        self.events.clear();
        self.sleep(limit)?;
        let mut woken = false;
        for event in &self.events {
            // Both are copied: the structure is packed.
            let (key, flags) = (event.data.u64(), event.flags);
            if key == WAKE {
                woken = true;
            } else {
                // The bits are those of poll(2).
                news.push(News { key, ready: flags.bits(), refused: None });
            }
        }
        Ok(woken)
    }

    fn waker(&mut self) -> Result<Waker, Errno> {
        if let Some(wake_up) = &self.wake_up {
            return Ok(wake_up.clone().into());
        }
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&self.set, &event, EventData::new_u64(WAKE), EventFlags::IN | EventFlags::ET)?;
        let wake_up = self.wake_up.insert(Arc::new(WakeUp(event)));
        Ok(wake_up.clone().into())
    }
}

impl AsRawFd for Epoll {
    fn as_raw_fd(&self) -> RawFd {
        self.set.as_raw_fd()
    }
}

impl Epoll {
    fn sleep(&mut self, limit: Option<Duration>) -> Result<(), Errno> {
        let limit = limit.map(|limit| limit.min(LONGEST_WAIT));
        let room = rustix::buffer::spare_capacity(&mut self.events);
        if self.precise {
            let timespec = limit.map(|limit| Timespec::try_from(limit).expect("it is in range"));
            match epoll::wait(&self.set, room, timespec.as_ref()) {
                Err(Errno::NOSYS) => self.precise = false,
                waited => return waited.map(|_| ()),
            }
            return self.sleep(limit);
        }
        // Never too early.
        let millis = limit.map(|limit| limit.as_nanos().div_ceil(1_000_000) as u64);
        let timespec =
            millis.map(|millis| Timespec::try_from(Duration::from_millis(millis)).expect("it is in range"));
        epoll::wait(&self.set, room, timespec.as_ref()).map(|_| ())
    }
}

fn flags(directions: Directions) -> EventFlags {
    // The end of the stream is told unasked, as io_uring does.
    let mut flags = EventFlags::ET | EventFlags::RDHUP;
    if directions.has(Direction::Read) {
        // A receive stops at urgent data, so that it can be short though more is there.
        flags |= EventFlags::IN | EventFlags::PRI;
    }
    if directions.has(Direction::Write) {
        flags |= EventFlags::OUT;
    }
    if directions.has(Direction::Priority) {
        flags |= EventFlags::PRI | EventFlags::RDBAND;
    }
    flags
}
