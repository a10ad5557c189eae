//! What is known of each descriptor, by its number: what it may be ready for, and which shots wait for that.

use std::os::fd::RawFd;

use super::selector::{Direction, Directions};
use super::shots::List;

/// No shot, no descriptor.
pub(super) const NONE: u32 = u32::MAX;

/// What shots wait in.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    Read,
    Write,
    /// Polls, in no order.
    Poll,
}

impl Queue {
    pub(super) fn direction(self) -> Direction {
        match self {
            Queue::Read | Queue::Poll => Direction::Read,
            Queue::Write => Direction::Write,
        }
    }
}

/// Whether a listener's accept(2) may wait.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Unknown,
    NeverWaits,
    /// It came from outside, and its mode belongs to everyone who shares it.
    MayWait,
}

#[derive(Copy, Clone, Debug)]
pub(super) struct Descriptor {
    /// Counts the open things that had this number.
    generation: u32,
    pub(super) armed: Directions,
    /// Where a call may do at once, as far as is known. At first that is everything.
    pub(super) ready: [bool; 2],
    pub(super) queues: [List; 3],
    /// It knows no readiness: it is always ready.
    pub(super) always: bool,
    /// Shots are only tried, never taken to have emptied it: its end or urgent data was told of.
    pub(super) ending: bool,
    /// Whether it is a TCP stream, once that was asked.
    pub(super) tcp: Option<bool>,
    /// It came from outside.
    pub(super) foreign: bool,
    pub(super) mode: Mode,
    /// It was put into non-blocking mode, which is taken back when somebody else gets it.
    pub(super) changed: bool,
    /// Shots on threads of the pool.
    pub(super) pooled: u32,
    /// Closing it may wait for a disk.
    pub(super) on_disk: bool,
}

impl Descriptor {
    const fn new(generation: u32) -> Descriptor {
        Descriptor {
            generation,
            armed: Directions::NONE,
            ready: [true; 2],
            queues: [List::EMPTY; 3],
            always: false,
            ending: false,
            tcp: None,
            foreign: false,
            mode: Mode::Unknown,
            changed: false,
            pooled: 0,
            on_disk: false,
        }
    }
}

#[derive(Default)]
pub(super) struct Descriptors {
    all: Vec<Descriptor>,
}

impl Descriptors {
    /// What is known of an open descriptor.
    #[inline]
    pub(super) fn of(&mut self, number: RawFd) -> &mut Descriptor {
        if number as usize >= self.all.len() {
            self.make_room_for(number);
        }
        &mut self.all[number as usize]
    }

    #[cold]
    fn make_room_for(&mut self, number: RawFd) {
        let index = usize::try_from(number).expect("an open descriptor's number is not negative");
        self.all.resize(index + 1, Descriptor::new(0));
    }

    /// What names it in a selector: its number and which of those that had it.
    pub(super) fn key(&mut self, number: RawFd) -> u64 {
        u64::from(self.of(number).generation) << 32 | u64::from(number as u32)
    }

    /// The number of what a selector tells of, if that is still open.
    pub(super) fn named(&self, key: u64) -> Option<RawFd> {
        let descriptor = self.all.get(key as u32 as usize)?;
        (u64::from(descriptor.generation) == key >> 32).then_some(key as u32 as RawFd)
    }

    /// The number will be another's, or nobody's: news that are on their way are of nobody.
    pub(super) fn forget(&mut self, number: RawFd) {
        if let Some(place) = usize::try_from(number).ok().and_then(|index| self.all.get_mut(index)) {
            debug_assert!(place.queues.iter().all(|queue| queue.head == NONE));
            *place = Descriptor::new(place.generation.wrapping_add(1));
        }
    }
}
