//! The queue between a loop and other threads.
//!
//! One lock, under which no user code runs. Two things keep it off the loop's way: `ready`, a hint without which a
//! tick that has nothing to take takes no lock, and `sleeping`, without which nobody calls the waker.
//!
//! No wake-up is lost: before it waits, the loop says under the lock that it will (`before_wait`), unless it finds
//! something there. Whoever puts something there under the lock either comes before that, and is found, or after it,
//! and finds `sleeping` and calls the waker. The waker must end a wait that begins after the call as well.
//!
//! The file uses nothing of the crate but `super::sync`, so that a test can compile it as it is with loom's types.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::task::Waker;

use super::sync::{AtomicBool, Condvar, Instant, Mutex, MutexGuard, Ordering};

/// `E` is an entry, of which a bounded number fits; `C` is a completion, whose number the operations bound.
pub(crate) struct Queue<E, C> {
    /// Something is in the queue. Only a hint: written under the lock, read without.
    ready: AtomicBool,
    state: Mutex<State<E, C>>,
    /// There is room for entries again, or never any more.
    room: Condvar,
    capacity: usize,
    waker: Waker,
}

struct State<E, C> {
    entries: VecDeque<E>,
    completions: VecDeque<C>,
    /// Somebody asked for a round that has not begun.
    woken: bool,
    /// The loop waits, or is about to: it must be woken by the waker. Whoever does so takes the flag away.
    sleeping: bool,
    /// When the waker was last called.
    roused: Option<Instant>,
    /// No entry is taken any more.
    closed: bool,
    /// How many threads wait for room.
    waiting: usize,
    /// How many guards keep the loop going.
    keep_alives: usize,
}

/// Why an entry was not taken.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Full,
    Closed,
}

/// What every thread may call.
impl<E, C> Queue<E, C> {
    pub(crate) fn new(capacity: usize, waker: Waker) -> Queue<E, C> {
        let state = State {
            entries: VecDeque::new(),
            completions: VecDeque::new(),
            woken: false,
            sleeping: false,
            roused: None,
            closed: false,
            waiting: 0,
            keep_alives: 0,
        };
        Queue {
            ready: AtomicBool::new(false),
            state: Mutex::new(state),
            room: Condvar::new(),
            capacity,
            waker,
        }
    }

    /// Puts an entry, which `into_entry` makes of the value once there is room, at the end; or gives the value back.
    /// `into_entry` runs under the lock.
    pub(crate) fn try_push<V>(&self, value: V, into_entry: impl FnOnce(V) -> E) -> Result<(), (Refusal, V)> {
        let mut state = self.lock();
        if state.closed {
            return Err((Refusal::Closed, value));
        }
        if state.entries.len() >= self.capacity {
            return Err((Refusal::Full, value));
        }
        state.entries.push_back(into_entry(value));
        self.rouse(state);
        Ok(())
    }

    /// As `try_push`, and waits for room.
    pub(crate) fn push<V>(&self, value: V, into_entry: impl FnOnce(V) -> E) -> Result<(), (Refusal, V)> {
        let mut state = self.lock();
        while !state.closed && state.entries.len() >= self.capacity {
            state.waiting += 1;
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
        if state.closed {
            return Err((Refusal::Closed, value));
        }
        state.entries.push_back(into_entry(value));
        self.rouse(state);
        Ok(())
    }

    /// Puts a completion there, whatever the capacity, and also after the queue was closed: the end of a loop waits
    /// for them.
    pub(crate) fn push_completion(&self, completion: C) {
        let mut state = self.lock();
        state.completions.push_back(completion);
        self.rouse(state);
    }

    /// Lets the loop go round once more.
    pub(crate) fn wake(&self) {
        let mut state = self.lock();
        if !state.closed {
            state.woken = true;
            self.rouse(state);
        }
    }

    /// One guard more that keeps the loop going.
    pub(crate) fn keep_alive(&self) {
        self.lock().keep_alives += 1;
    }

    /// One guard less; the last one wakes the loop.
    pub(crate) fn release(&self) {
        let mut state = self.lock();
        state.keep_alives -= 1;
        if state.keep_alives == 0 && !state.closed {
            state.woken = true;
            self.rouse(state);
        }
    }

    /// Something was put there: the loop will see it.
    fn rouse(&self, mut state: MutexGuard<'_, State<E, C>>) {
        self.ready.store(true, Ordering::Relaxed);
        let sleeping = std::mem::take(&mut state.sleeping);
        if sleeping {
            state.roused = Some(Instant::now());
        }
        drop(state);
        if sleeping {
            self.waker.wake_by_ref();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<E, C>> {
        // Nothing under the lock leaves the state half done, so a panic there (there is none) would not have either.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What only the loop's thread calls.
impl<E, C> Queue<E, C> {
    /// Takes over what is there: completions always, entries only if `batch`, what was taken last, is used up.
    pub(crate) fn take(&self, batch: &mut VecDeque<E>, completions: &mut VecDeque<C>) {
        if !self.ready.load(Ordering::Relaxed) {
            return;
        }
        let mut state = self.lock();
        completions.append(&mut state.completions);
        if batch.is_empty() {
            std::mem::swap(batch, &mut state.entries);
            if state.waiting > 0 {
                self.room.notify_all();
            }
        }
        self.ready.store(state.woken || state.holds_anything(), Ordering::Relaxed);
    }

    /// The loop is about to wait, or, if not `would_wait`, to look what has come. Whether it may sleep: then it does,
    /// and says so by `after_wait`. If not, somebody has asked for a round or put something there.
    pub(crate) fn before_wait(&self, would_wait: bool) -> bool {
        if !would_wait && !self.ready.load(Ordering::Relaxed) {
            return false;
        }
        let mut state = self.lock();
        let woken = std::mem::take(&mut state.woken);
        let holds_anything = state.holds_anything();
        state.sleeping = would_wait && !woken && !holds_anything;
        self.ready.store(holds_anything, Ordering::Relaxed);
        state.sleeping
    }

    /// The loop's sleep is over. Who has asked for a round so far has it. When somebody called the waker, if anybody
    /// did.
    pub(crate) fn after_wait(&self) -> Option<Instant> {
        let mut state = self.lock();
        state.sleeping = false;
        state.woken = false;
        self.ready.store(state.holds_anything(), Ordering::Relaxed);
        state.roused.take()
    }

    /// Whether something may be there: a look without the lock.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Whether entries are there.
    pub(crate) fn has_entries(&self) -> bool {
        !self.lock().entries.is_empty()
    }

    /// Whether the loop must go on for other threads' sake.
    pub(crate) fn needs_loop(&self) -> bool {
        let state = self.lock();
        state.holds_anything() || state.keep_alives > 0
    }

    /// Takes no entry from now on, and releases those who wait for room. What was there is given out: to be dropped,
    /// but not under the lock.
    pub(crate) fn close(&self) -> VecDeque<E> {
        let mut state = self.lock();
        state.closed = true;
        self.room.notify_all();
        std::mem::take(&mut state.entries)
    }
}

impl<E, C> State<E, C> {
    fn holds_anything(&self) -> bool {
        !self.entries.is_empty() || !self.completions.is_empty()
    }
}
