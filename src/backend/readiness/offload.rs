//! Shots on threads of the pool, and how their answers come back to the loop.

use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Waker;

use rustix::io::Errno;

use crate::backend::pool::{self, Work};
use crate::backend::syscall::Syscall;
use crate::backend::{Completion, Outcome, Token};

/// Where the pool's threads leave their answers.
pub(super) struct Landing {
    completions: Mutex<VecDeque<Completion>>,
    /// There are some.
    any: AtomicBool,
    waker: Waker,
}

/// One shot.
struct Job {
    call: Syscall,
    descriptor: RawFd,
    answer: OnceLock<Result<u32, Errno>>,
}

impl Work for Job {
    fn run(&self) {
        let answer = loop {
            // SAFETY: the shot is with the backend until this answer is its completion.
            match unsafe { self.call.waiting(self.descriptor) } {
                // Whether close(2) has closed after a signal is not to be asked again (close(2), "NOTES").
                Err(Errno::INTR) if !matches!(self.call, Syscall::Close) => {}
                answer => break answer,
            }
        };
        let _ = self.answer.set(answer);
    }
}

impl Landing {
    pub(super) fn new(waker: Waker) -> Arc<Landing> {
        Arc::new(Landing { completions: Mutex::default(), any: AtomicBool::new(false), waker })
    }

    /// Lets a shot be done; the answer is for `withdraw`.
    pub(super) fn offload(self: &Arc<Landing>, token: Token, call: Syscall, descriptor: RawFd) -> u64 {
        let landing = self.clone();
        let job = Arc::new(Job { call, descriptor, answer: OnceLock::new() });
        let done = job.clone();
        let completer = Box::new(move |outcome| {
            let outcome = match (outcome, done.answer.get()) {
                (Outcome::NotRun(os), _) => Outcome::Failed(os),
                (_, Some(&answer)) => super::outcome(answer),
                (_, None) => unreachable!("a job that ran has its answer"),
            };
            landing.land(Completion { token, outcome });
        });
        pool::global().submit(job, completer)
    }

    pub(super) fn withdraw(&self, ticket: u64) -> bool {
        pool::global().withdraw(ticket)
    }

    fn land(&self, completion: Completion) {
        self.completions.lock().unwrap_or_else(PoisonError::into_inner).push_back(completion);
        self.any.store(true, Ordering::Release);
        self.waker.wake_by_ref();
    }

    /// Takes what has landed.
    pub(super) fn take(&self) -> VecDeque<Completion> {
        if !self.any.swap(false, Ordering::Acquire) {
            return VecDeque::new();
        }
        std::mem::take(&mut *self.completions.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
