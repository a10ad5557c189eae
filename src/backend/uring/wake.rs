//! How other threads end the loop's wait: an eventfd (eventfd(2)) that the ring polls.
//!
//! A multishot poll is edge-triggered: every write to the eventfd brings a completion, and nobody needs to read it.
//! Where there is none (before 5.13), each poll is good for one completion, after which the eventfd is read.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::task::{Wake, Waker};

use io_uring::{cqueue, opcode, squeue, types};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{Errno, retry_on_intr};

use crate::Error;
use crate::op::Kind;

/// The `user_data` of the poll: no shot's, and no cancel's (whose token has no mark).
pub(super) const WAKE: u64 = u64::MAX;

pub(super) struct WakeUp {
    event: Arc<Event>,
    /// The ring has the poll, or its entry is in a queue.
    armed: bool,
    multishot: bool,
}

/// Shared with the wakers, so it stays open for as long as one of them might write.
struct Event(OwnedFd);

impl Wake for Event {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // The only error is a counter that is full (EAGAIN), 2^64 wakes after the last read.
        let _ = retry_on_intr(|| rustix::io::write(&self.0, &1u64.to_ne_bytes()));
    }
}

impl WakeUp {
    pub(super) fn new(multishot: bool) -> Result<WakeUp, Error> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| Error::from_os(errno.raw_os_error(), Kind::Remote))?;
        Ok(WakeUp { event: Arc::new(Event(event)), armed: false, multishot })
    }

    pub(super) fn waker(&self) -> Waker {
        self.event.clone().into()
    }

    /// The poll's entry, if the ring doesn't have it. An eventfd that was written to meanwhile completes it at once.
    pub(super) fn arm(&mut self) -> Option<squeue::Entry> {
        if self.armed {
            return None;
        }
        self.armed = true;
        let event = types::Fd(self.event.0.as_raw_fd());
        let poll = opcode::PollAdd::new(event, libc::POLLIN as u32).multi(self.multishot);
        Some(poll.build().user_data(WAKE))
    }

    /// The poll has completed. If that was its last time it is armed again by the next wait. The eventfd is read here,
    /// not there: by then somebody may have relied on it to end that wait.
    pub(super) fn completed(&mut self, entry: &cqueue::Entry) {
        if cqueue::more(entry.flags()) {
            return;
        }
        self.armed = false;
        if self.multishot && entry.result() == -Errno::INVAL.raw_os_error() {
            self.multishot = false;
        }
        // Nothing there (EAGAIN) is as good.
        let _ = retry_on_intr(|| rustix::io::read(self.event.0.as_fd(), &mut [0; 8]));
    }
}
