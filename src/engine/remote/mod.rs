//! The engine's side of other threads: what they share with a loop, and when the loop looks at it.

mod entry;
mod look;
mod queue;
mod sync;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use super::erased::Context;
use super::{Core, Engine};
use crate::backend::{Completion, Outcome, Token};
use crate::op::Kind;
use crate::{Error, ErrorKind};

pub(crate) use entry::{Entry, Job};
use look::Found;
pub(crate) use look::Look;
use queue::{Queue, Refusal};

/// What a loop shares with other threads. It outlives the loop for as long as one of them holds it.
pub(crate) struct Shared {
    queue: Queue<Entry, Completion>,
    /// The loop's thread.
    owner: ThreadId,
    /// Another thread has woken a task.
    wakes_tasks: AtomicBool,
}

impl Shared {
    fn new(capacity: usize, waker: Waker) -> Shared {
        Shared {
            queue: Queue::new(capacity, waker),
            owner: std::thread::current().id(),
            wakes_tasks: AtomicBool::new(false),
        }
    }

    /// Gives the loop a job; if there is no room, waits for it if `wait`.
    ///
    /// The job must be one for the loop's own state type `S`: `Remote<S>`, which is made from an `EventLoop<S>` and
    /// invariant in `S`, sees to that.
    pub(crate) fn push<S, J: Job<S>>(&self, job: J, wait: bool) -> Result<(), (Error, J)> {
        let refused = match self.queue.try_push(job, Entry::new::<S, J>) {
            Ok(()) => return Ok(()),
            Err((Refusal::Full, job)) if wait => {
                // Nobody else makes room.
                if std::thread::current().id() == self.owner {
                    return Err((Error::new(ErrorKind::Deadlock, Kind::Remote), job));
                }
                self.queue.push(job, Entry::new::<S, J>)
            }
            refused => refused,
        };
        refused.map_err(|(refusal, job)| {
            let kind = match refusal {
                Refusal::Full => ErrorKind::QueueFull,
                Refusal::Closed => ErrorKind::LoopGone,
            };
            (Error::new(kind, Kind::Remote), job)
        })
    }

    /// A shot that another thread did has ended.
    pub(crate) fn push_completion(&self, token: Token, outcome: Outcome) {
        self.queue.push_completion(Completion { token, outcome });
    }

    pub(crate) fn wake(&self) {
        self.queue.wake();
    }

    /// A task, or what `block_on` waits for, was woken from outside the loop's tick.
    pub(crate) fn wake_for_task(&self) {
        if std::thread::current().id() != self.owner {
            self.wakes_tasks.store(true, Ordering::Relaxed);
        }
        self.queue.wake();
    }

    pub(crate) fn keep_alive(&self) {
        self.queue.keep_alive();
    }

    pub(crate) fn release(&self) {
        self.queue.release();
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Core {
    /// What the loop shares with other threads; made when it is first asked for.
    pub(crate) fn remote_shared(&self) -> Result<Arc<Shared>, Error> {
        if let Some(shared) = self.remote.get() {
            return Ok(shared.clone());
        }
        let waker = {
            let mut engine = self.engine.borrow_mut();
            if engine.look.learns() && !engine.backend.has_company() {
                engine.look = Look::Fixed(Duration::ZERO);
            }
            engine.backend.cold().waker()?
        };
        Ok(self.remote.get_or_init(|| Arc::new(Shared::new(self.remote_capacity, waker))).clone())
    }

    /// Runs so many of the entries that the tick has taken over, the oldest first. Never inlined: a tick without
    /// entries needs no room on the stack for one.
    #[inline(never)]
    pub(super) fn run_entries(&self, entries: usize, context: Context) {
        for _ in 0..entries {
            let entry = self.engine.borrow_mut().batch.pop_front();
            let entry = entry.expect("entries are taken out here only");
            // SAFETY: whoever pushed it had a `Remote<S>` made from the `EventLoop<S>` that owns this core, both
            // invariant in S; the context is this tick's, made from that same loop and a state of type S.
            unsafe { entry.run(context) };
        }
    }

    /// Hands over what was submitted and waits for the backend, another thread, or `limit`.
    #[inline]
    pub(super) fn wait_for_backend(&self, engine: &mut Engine, limit: Option<Duration>) -> Result<(), Error> {
        match self.remote.get() {
            None if !self.always_looks => engine.backend.wait(limit, &mut engine.completions),
            shared => engine.wait_for_others(shared, limit),
        }
    }

    /// Whether the loop must go on for other threads' sake: entries wait, or somebody keeps it alive.
    pub(super) fn has_remote_work(&self) -> bool {
        let Some(shared) = self.remote.get() else { return false };
        !self.engine.borrow().batch.is_empty() || shared.queue.needs_loop()
    }

    /// Whether entries of other threads wait.
    pub(super) fn has_entries(&self) -> bool {
        let Some(shared) = self.remote.get() else { return false };
        !self.engine.borrow().batch.is_empty() || shared.queue.has_entries()
    }

    /// Takes no more entries. Those that have not run are in the batch from now on, to be dropped.
    pub(super) fn close_remote(&self) {
        if let Some(shared) = self.remote.get() {
            let mut entries = shared.queue.close();
            self.engine.borrow_mut().batch.append(&mut entries);
        }
    }

    /// Takes over what other threads have completed, at the end of a loop.
    pub(super) fn collect_completions(&self) {
        if let Some(shared) = self.remote.get() {
            self.engine.borrow_mut().take_over(shared);
        }
    }

    /// The oldest entry that will not run.
    pub(super) fn next_unrun(&self) -> Option<Entry> {
        self.engine.borrow_mut().batch.pop_front()
    }
}

impl Engine {
    /// Looks for what has come, for as long as experience or the builder says, then sleeps until the backend or another
    /// thread has something, or `limit` has passed.
    #[inline(never)]
    fn wait_for_others(
        &mut self,
        shared: Option<&Arc<Shared>>,
        limit: Option<Duration>,
    ) -> Result<(), Error> {
        let would_wait = limit != Some(Duration::ZERO) && self.batch.is_empty();
        // Whoever could wake the loop holds a share of this, and only from one comes another.
        let others = |shared: &Arc<Shared>, own| {
            Arc::strong_count(shared) > own || shared.wakes_tasks.load(Ordering::Relaxed)
        };
        let company = shared.is_some_and(|shared| others(shared, self.own_shares));
        let limit = if would_wait { limit } else { Some(Duration::ZERO) };
        let begin = (would_wait && company && self.look.learns()).then(Instant::now);
        let limit = if would_wait { self.look_around(shared, company, limit)? } else { limit };
        let Some(shared) = shared else { return self.backend.wait(limit, &mut self.completions) };
        let sleeps = shared.queue.before_wait(limit != Some(Duration::ZERO));
        if !sleeps {
            return self.backend.wait(Some(Duration::ZERO), &mut self.completions);
        }
        let backend = self.backend.cold();
        backend.expect_wakes(company && others(shared, self.own_shares + backend.jobs()));
        let waited = self.backend.wait(limit, &mut self.completions);
        let roused = shared.queue.after_wait();
        if let Some(begin) = begin {
            self.look.slept(roused.map(|roused| roused.saturating_duration_since(begin)));
        }
        waited
    }

    /// Looks again and again. What is left of the limit: nothing, if something has come.
    fn look_around(
        &mut self,
        shared: Option<&Arc<Shared>>,
        company: bool,
        limit: Option<Duration>,
    ) -> Result<Option<Duration>, Error> {
        let asked = || shared.is_some_and(|shared| shared.queue.is_ready());
        let length = self.look.length(company);
        if length.is_zero() || asked() {
            return Ok(limit);
        }
        let start = self.backend.now();
        let length = limit.map_or(length, |limit| limit.min(length));
        let (found, passed) = loop {
            self.backend.wait(Some(Duration::ZERO), &mut self.completions)?;
            let passed = self.backend.now() - start;
            if !self.completions.is_empty() {
                break (Found::Completed, passed);
            } else if asked() {
                break (Found::Asked, passed);
            } else if passed >= length {
                break (Found::Nothing, passed);
            }
            std::hint::spin_loop();
        };
        self.look.ended(found);
        match found {
            Found::Nothing => Ok(limit.map(|limit| limit.saturating_sub(passed))),
            Found::Asked | Found::Completed => Ok(Some(Duration::ZERO)),
        }
    }

    /// Takes over what other threads have put there; how many entries this tick runs.
    pub(super) fn take_over(&mut self, shared: &Shared) -> usize {
        shared.queue.take(&mut self.batch, &mut self.completions);
        self.batch.len().min(self.remote_budget)
    }
}
