//! Which system it is, and what goes wrong.

use std::cell::Cell;
use std::ffi::c_int;

/// Where the systems differ.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Profile {
    /// macOS 14.
    MacOs,
    /// FreeBSD 14.
    FreeBsd,
    /// NetBSD 9: as FreeBSD, but without `EVFILT_USER`.
    NetBsd,
}

thread_local! {
    static PROFILE: Cell<Profile> = const { Cell::new(Profile::MacOs) };
    static SEED: Cell<Option<u64>> = const { Cell::new(None) };
    static REFUSED: Cell<c_int> = const { Cell::new(0) };
}

/// Which system the kqueues are of that this thread makes from now on.
pub fn set_profile(profile: Profile) {
    PROFILE.set(profile);
}

/// Lets things go wrong in the kqueues that this thread makes from now on, as they do on the systems: waits are
/// interrupted, events come too late, too early, in another order and in smaller portions, what is deleted is gone
/// already. `None`: nothing of it.
pub fn set_faults(seed: Option<u64>) {
    SEED.set(seed);
}

/// Lets the next `EV_ADD` of a new knote on this thread fail with this error, whatever it would do.
#[cfg(test)]
pub(super) fn refuse_next_add(errno: c_int) {
    REFUSED.set(errno);
}

/// That error, once.
pub(super) fn take_refusal() -> Result<(), c_int> {
    match REFUSED.take() {
        0 => Ok(()),
        errno => Err(errno),
    }
}

pub(crate) fn profile() -> Profile {
    PROFILE.get()
}

/// Draws what goes wrong.
pub(super) struct Faults {
    /// Of a generator (splitmix64); `None`: nothing goes wrong.
    state: Option<u64>,
}

impl Faults {
    /// Those of this thread.
    pub(super) fn of_thread() -> Faults {
        Faults { state: SEED.get() }
    }

    /// 0 to `below` - 1.
    fn draw(&mut self, below: usize) -> usize {
        let Some(state) = &mut self.state else { return 0 };
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % below as u64) as usize
    }

    fn once_in(&mut self, often: usize) -> bool {
        self.state.is_some() && self.draw(often) == 0
    }

    /// EINTR for a wait that is about to sleep.
    pub(super) fn interrupts(&mut self) -> Result<(), c_int> {
        if self.once_in(8) { Err(libc::EINTR) } else { Ok(()) }
    }

    /// ENOENT for an `EV_DELETE`: the descriptor was closed just before, and is another one by now.
    pub(super) fn was_deleted(&mut self) -> bool {
        self.once_in(3)
    }

    /// What is ready waits for the next call, so that the end of the stream may come with it.
    pub(super) fn holds_back(&mut self) -> bool {
        self.once_in(6)
    }

    /// How many of so many events are given out.
    pub(super) fn portion(&mut self, room: usize) -> usize {
        if room > 1 && self.once_in(4) { 1 + self.draw(room.min(4)) } else { room }.min(room)
    }

    /// How far the list of events is turned.
    pub(super) fn turn(&mut self, count: usize) -> usize {
        if count > 1 && self.once_in(4) { self.draw(count) } else { 0 }
    }

    /// Which of so many knotes tells of what isn't so.
    pub(super) fn spurious(&mut self, count: usize) -> Option<usize> {
        (count > 0 && self.once_in(12)).then(|| self.draw(count))
    }
}
