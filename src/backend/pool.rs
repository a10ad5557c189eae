//! The thread pool: one for the process, for what would block a loop's thread.
//!
//! Threads are started on demand and end when they have been idle for a while. So many jobs run at a time
//! (`Limits::running`), not counting those that have been running for long (`Limits::stuck`): an `open` of a FIFO may
//! hold its thread for ever, and must not hold up the others. The number of threads has a hard limit.
//!
//! The queue has none of its own: a loop has no more jobs in it than operations in flight.
//!
//! Whenever a job waits, either some thread is awake or on its way that will look at the queue before the next
//! running job counts as stuck, or the hard limit is reached. So there is up to one thread more than jobs that may
//! run: it waits for one of them to end or to get stuck.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::Outcome;

#[cfg(test)]
mod tests;

/// A job: what is to be done, and where its result goes.
pub(crate) trait Work: Send + Sync {
    /// Does it, on whatever thread; does not unwind. Called once at most.
    fn run(&self);

    /// Asks it to end soon, if it knows how. Runs no user code, and must not wait.
    fn stop(&self) {}

    /// For a backend without threads: does one of nbio's own now, unless it would have to wait, which `false` says. One
    /// of the user's is left for the time when its result is wanted.
    fn attempt(&self) -> bool {
        true
    }
}

/// Tells whoever submitted a job how it ended: `Ran` or `NotRun`. Called once, unless the job is withdrawn. It runs
/// no user code, and must not wait.
pub(crate) type Completer = Box<dyn FnOnce(Outcome) + Send>;

/// What a pool may do.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Limits {
    /// Jobs that run at a time, the stuck ones left out; at least 1.
    running: usize,
    /// Threads, with all.
    threads: usize,
    /// A job that has been running so long is stuck.
    stuck: Duration,
    /// A thread that has found nothing to do for so long ends.
    idle: Duration,
}

/// The fewest jobs that run at a time, however few cores there are: most of them wait for something.
const FEWEST_RUNNING: usize = 4;
const MOST_THREADS: usize = 64;
const STUCK: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(5);

impl Limits {
    fn of_this_machine() -> Limits {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let running = cores.clamp(FEWEST_RUNNING, MOST_THREADS);
        Limits { running, threads: MOST_THREADS, stuck: STUCK, idle: IDLE }
    }
}

pub(crate) struct Pool {
    limits: Limits,
    state: Mutex<State>,
    /// A job has come, or needs somebody to look after it.
    wanted: Condvar,
}

#[derive(Default)]
struct State {
    /// By ticket, that is in the order of submission.
    queue: BTreeMap<u64, Queued>,
    next_ticket: u64,
    /// The jobs that are running, with the times at which they began, the earliest first.
    running: Vec<Running>,
    /// Which numbers the threads have, those that are about to start among them. Those that aren't running a job are
    /// on their way to the queue or wait there.
    numbers: Vec<bool>,
    /// Threads that wait for something to do.
    waiting: usize,
    /// Those of them that will look again when the next running job gets stuck.
    watching: usize,
}

/// Who is to look after the queue.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Help {
    /// Somebody does.
    Enough,
    /// A thread that waits.
    Waiting,
    /// A thread of this number, which is to be started.
    New(usize),
}

struct Running {
    ticket: u64,
    start: Instant,
    job: Arc<dyn Work>,
}

struct Queued {
    job: Arc<dyn Work>,
    completer: Completer,
}

/// What a pool is doing.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    pub(crate) threads: usize,
    pub(crate) running: usize,
    /// How many of the running ones no longer count.
    pub(crate) stuck: usize,
    pub(crate) queued: usize,
}

static GLOBAL: OnceLock<Arc<Pool>> = OnceLock::new();

/// The process's pool.
pub(crate) fn global() -> &'static Arc<Pool> {
    GLOBAL.get_or_init(|| Pool::new(Limits::of_this_machine()))
}

/// What the process's pool is doing.
pub(crate) fn census() -> Census {
    GLOBAL.get().map_or_else(Census::default, |pool| pool.census())
}

impl Pool {
    fn new(limits: Limits) -> Arc<Pool> {
        Arc::new(Pool { limits, state: Mutex::default(), wanted: Condvar::new() })
    }

    /// Lets `job` run when its turn comes, and `completer` tell of it. The ticket is for `withdraw`.
    pub(crate) fn submit(self: &Arc<Pool>, job: Arc<dyn Work>, completer: Completer) -> u64 {
        let (ticket, help) = {
            let mut state = self.lock();
            let ticket = state.next_ticket;
            state.next_ticket += 1;
            state.queue.insert(ticket, Queued { job, completer });
            (ticket, state.help(&self.limits))
        };
        self.call(help);
        ticket
    }

    /// Takes a job out of the queue: neither it nor its completer is called. `false` if it is over, or running: then it
    /// is asked to stop.
    pub(crate) fn withdraw(&self, ticket: u64) -> bool {
        let (queued, running) = {
            let mut state = self.lock();
            let running = state.running.iter().find(|running| running.ticket == ticket);
            let running = running.map(|running| running.job.clone());
            (state.queue.remove(&ticket), running)
        };
        if let Some(job) = running {
            job.stop();
        }
        queued.is_some()
    }

    pub(crate) fn census(&self) -> Census {
        let state = self.lock();
        let running = state.running.len();
        let stuck = running - state.counted(Instant::now(), &self.limits);
        Census { threads: state.threads(), running, stuck, queued: state.queue.len() }
    }

    /// Nothing that can panic runs under the lock, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets somebody look after the queue. Not under the lock: whoever wakes would only wait for that.
    fn call(self: &Arc<Pool>, help: Help) {
        let number = match help {
            Help::Enough => return,
            Help::Waiting => return self.wanted.notify_one(),
            Help::New(number) => number,
        };
        let pool = self.clone();
        let thread = std::thread::Builder::new().name(format!("nbio-pool-{number}"));
        if let Err(error) = thread.spawn(move || pool.serve(number)) {
            self.not_started(number, error.raw_os_error().unwrap_or(0));
        }
    }

    /// A thread could not be started. If there is no other, nobody would ever run what waits.
    fn not_started(&self, number: usize, os: i32) {
        let lost = {
            let mut state = self.lock();
            state.numbers[number] = false;
            if state.threads() > 0 { BTreeMap::new() } else { std::mem::take(&mut state.queue) }
        };
        for queued in lost.into_values() {
            (queued.completer)(Outcome::NotRun(os));
        }
    }

    /// What a thread of the pool does.
    fn serve(self: Arc<Pool>, number: usize) {
        while let Some((ticket, Queued { job, completer }, help)) = self.next(number) {
            self.call(help);
            job.run();
            drop(job);
            let over = {
                let mut state = self.lock();
                let at = state.running.iter().position(|running| running.ticket == ticket);
                at.map(|at| state.running.remove(at))
            };
            drop(over);
            completer(Outcome::Ran);
        }
    }

    /// The next job for the thread of this number, and who is to look after the others; `None` lets it end.
    fn next(&self, number: usize) -> Option<(u64, Queued, Help)> {
        let mut state = self.lock();
        let end = Instant::now() + self.limits.idle;
        loop {
            let now = Instant::now();
            if let Some((ticket, queued)) = state.take(now, &self.limits) {
                // This thread is busy from here on: those that wait need another.
                let help = state.help(&self.limits);
                return Some((ticket, queued, help));
            }
            let idle = state.queue.is_empty();
            if idle && now >= end {
                state.numbers[number] = false;
                return None;
            }
            let until = if idle { end } else { state.next_stuck(now, &self.limits) };
            state.waiting += 1;
            state.watching += usize::from(!idle);
            let waited = self.wanted.wait_timeout(state, until.saturating_duration_since(now));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.waiting -= 1;
            state.watching -= usize::from(!idle);
        }
    }
}

impl State {
    fn threads(&self) -> usize {
        self.numbers.iter().filter(|&&taken| taken).count()
    }

    /// How many of the running jobs count, because they aren't stuck.
    fn counted(&self, now: Instant, limits: &Limits) -> usize {
        let stuck = |running: &&Running| now.saturating_duration_since(running.start) >= limits.stuck;
        self.running.len() - self.running.iter().take_while(stuck).count()
    }

    /// When the next running job will count as stuck.
    fn next_stuck(&self, now: Instant, limits: &Limits) -> Instant {
        let index = self.running.len() - self.counted(now, limits);
        self.running.get(index).map_or(now, |running| running.start) + limits.stuck
    }

    /// The job whose turn it is, if one may run; it counts as running from here on.
    fn take(&mut self, now: Instant, limits: &Limits) -> Option<(u64, Queued)> {
        if self.counted(now, limits) >= limits.running {
            return None;
        }
        let (ticket, queued) = self.queue.pop_first()?;
        self.running.push(Running { ticket, start: now, job: queued.job.clone() });
        Some((ticket, queued))
    }

    /// Who is to look after the queue: there should be a thread for each job that may run, and one that waits for the
    /// moment when more may.
    fn help(&mut self, limits: &Limits) -> Help {
        if self.queue.is_empty() {
            return Help::Enough;
        }
        let room = limits.running.saturating_sub(self.counted(Instant::now(), limits));
        let free = self.threads().saturating_sub(self.running.len());
        if self.queue.len().min(room + 1) > free && self.threads() < limits.threads {
            return Help::New(self.reserve());
        }
        // Waking costs a system call and a change of threads: nobody is woken just to find that he has to wait.
        if self.waiting > 0 && (room > 0 || self.watching == 0) { Help::Waiting } else { Help::Enough }
    }

    /// The number of a thread that is about to start.
    fn reserve(&mut self) -> usize {
        let number = self.numbers.iter().position(|&taken| !taken).unwrap_or(self.numbers.len());
        match self.numbers.get_mut(number) {
            Some(taken) => *taken = true,
            None => self.numbers.push(true),
        }
        number
    }
}
