//! kqueue(2) for Linux, so that `kqueue.rs` can be run where there is no BSD. **A simulator, for tests**: it is compiled
//! with the feature `unstable-simulated-kqueue` only, which no release of a program should have.
//!
//! It has what libc has of it on macOS and FreeBSD: [`kqueue`], [`kevent`], the structure and the constants, and a kqueue
//! is a descriptor that close(2) closes. Of the filters it has `EVFILT_READ`, `EVFILT_WRITE`, `EVFILT_USER`, and macOS's
//! `EVFILT_EXCEPT` for urgent data. The rules are those of the manual pages, kqueue(2) of FreeBSD 14 and kqueue(2) of
//! macOS 14, and where these are silent those of FreeBSD's kernel; where the systems differ a [`Profile`] decides. It is
//! rather stricter than they are than looser. `tests.rs` has one test a rule.
//!
//! `queue.rs` has the rules, `look.rs` what Linux tells of a descriptor, `faults.rs` the profiles and what goes wrong.
//! Underneath is an epoll instance with edge-triggered items, which is the kqueue's descriptor itself, so nothing of it is
//! left open when that is closed. It is told from others by its owner (`F_SETOWN_EX`) and signal (`F_SETSIG`), which have
//! no other meaning for an epoll instance: a number is no identity, since it may be used again, and since threads may
//! have tables of their own.
//!
//! What it can't do: notice that a descriptor was closed and its number then given back *the same* open file (by dup2(2));
//! tell an error of a socket without taking it away, so `fflags` says only that there is one; count the connections
//! that wait at a Unix socket.

mod abi;
mod faults;
mod look;
mod queue;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::c_int;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(crate) use abi::*;
pub use faults::{Profile, set_faults};
pub(crate) use faults::{profile, set_profile};
use queue::Queue;

/// Which kqueue a descriptor is.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
struct Name {
    descriptor: c_int,
    /// The thread that made it, and the how many-th of that thread's it is, modulo 64. A thread that has ended has no
    /// kqueue any more.
    thread: c_int,
    tag: c_int,
}

/// Those that were closed stay until their name comes again.
static QUEUES: LazyLock<Mutex<HashMap<Name, Arc<Mutex<Queue>>>>> = LazyLock::new(Mutex::default);

thread_local! {
    static LAST_TAG: Cell<c_int> = const { Cell::new(0) };
}

/// A panic in a test is no reason for others.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[repr(C)]
struct Owner {
    kind: c_int,
    thread: c_int,
}

const F_SETOWN_EX: c_int = 15;
const F_GETOWN_EX: c_int = 16;
const F_SETSIG: c_int = 10;
const F_GETSIG: c_int = 11;

fn last_error() -> c_int {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

/// As the system does it: the number in `errno`, and -1.
fn fail(errno: c_int) -> c_int {
    // SAFETY: the location is this thread's own and always there.
    unsafe { *libc::__errno_location() = errno };
    -1
}

/// Makes a kqueue of this thread's profile and faults (`set_profile`, `set_faults`).
///
/// # Safety
/// None needed; libc's is `unsafe` too.
pub(crate) unsafe fn kqueue() -> c_int {
    // SAFETY: plain system calls; `owner` is an `f_owner_ex`, and the thread's number its own. An epoll instance never
    // sends a signal, whatever F_SETSIG says. Not close-on-exec, as a kqueue isn't.
    unsafe {
        let descriptor = libc::epoll_create1(0);
        if descriptor < 0 {
            return -1;
        }
        let owner = Owner { kind: 0, thread: libc::gettid() };
        let tag = LAST_TAG.get() % 64 + 1;
        LAST_TAG.set(tag);
        if libc::fcntl(descriptor, F_SETOWN_EX, &raw const owner) < 0
            || libc::fcntl(descriptor, F_SETSIG, tag) < 0
        {
            let errno = last_error();
            libc::close(descriptor);
            return fail(errno);
        }
        let name = Name { descriptor, thread: owner.thread, tag };
        lock(&QUEUES).insert(name, Arc::new(Mutex::new(Queue::new(descriptor))));
        descriptor
    }
}

/// The kqueue that this descriptor is now.
fn find(descriptor: c_int) -> Option<Arc<Mutex<Queue>>> {
    let mut owner = Owner { kind: 0, thread: 0 };
    // SAFETY: these only read what the descriptor has, and write to `owner`, an `f_owner_ex`.
    let tag = unsafe {
        if libc::fcntl(descriptor, F_GETOWN_EX, &raw mut owner) < 0 {
            return None;
        }
        libc::fcntl(descriptor, F_GETSIG)
    };
    // "The queue is not inherited by a child created with fork(2)."
    let queue = lock(&QUEUES).get(&Name { descriptor, thread: owner.thread, tag }).cloned()?;
    let is_ours = lock(&queue).process == std::process::id();
    is_ours.then_some(queue)
}

/// Applies the changes, in order, then waits for events; how many there are, or -1 and `errno`.
///
/// # Safety
/// `changes` has `change_count` events, `events` room for `event_count`; `timeout` is null or a `timespec`.
pub(crate) unsafe fn kevent(
    descriptor: c_int,
    changes: *const kevent,
    change_count: c_int,
    events: *mut kevent,
    event_count: c_int,
    timeout: *const libc::timespec,
) -> c_int {
    let Some(queue) = find(descriptor) else { return fail(libc::EBADF) };
    let (Ok(change_count), Ok(room)) = (usize::try_from(change_count), usize::try_from(event_count)) else {
        return fail(libc::EINVAL);
    };
    // A null pointer goes with no events only.
    if change_count > 0 && changes.is_null() || room > 0 && events.is_null() {
        return fail(libc::EFAULT);
    }
    // SAFETY: the caller's promise; null was ruled out where there is something to read.
    let changes = (0..change_count).map(|at| unsafe { changes.add(at).read() }).collect::<Vec<_>>();
    // SAFETY: the caller's promise.
    let limit = match unsafe { timeout.as_ref() }.map(duration) {
        None => None,
        Some(Some(limit)) => Some(limit),
        Some(None) => return fail(libc::EINVAL),
    };
    match go(&queue, descriptor, &changes, room, limit) {
        Ok(found) => {
            for (at, event) in found.iter().enumerate() {
                // SAFETY: the caller's promise; at most `room` were found.
                unsafe { events.add(at).write(*event) };
            }
            found.len() as c_int
        }
        Err(errno) => fail(errno),
    }
}

/// `None` if it is out of range.
fn duration(time: &libc::timespec) -> Option<Duration> {
    let nanoseconds = u32::try_from(time.tv_nsec).ok().filter(|nanoseconds| *nanoseconds < 1_000_000_000)?;
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, nanoseconds))
}

fn go(
    queue: &Mutex<Queue>,
    descriptor: c_int,
    changes: &[kevent],
    room: usize,
    limit: Option<Duration>,
) -> Result<Vec<kevent>, c_int> {
    let end = limit.and_then(|limit| Instant::now().checked_add(limit));
    let mut guard = lock(queue);
    // "In either case [a changelist with errors or receipts, or no room], no pending events are drained."
    let told = guard.apply(changes, room)?;
    if !told.is_empty() || room == 0 {
        return Ok(told);
    }
    loop {
        let found = guard.scan(room);
        let rest = end.map(|end| end.saturating_duration_since(Instant::now()));
        if !found.is_empty() || rest.is_some_and(|rest| rest.is_zero()) {
            return Ok(found);
        }
        // Only a wait that sleeps is interrupted: by then the changes are applied.
        guard.faults.interrupts()?;
        let bell = guard.hang_bell();
        // Where there is no descriptor for a bell, look every millisecond whether another thread has changed something.
        let rest = if bell.is_some() { rest } else { Some(rest.unwrap_or(SLICE).min(SLICE)) };
        drop(guard);
        let slept = look::sleep(descriptor, rest);
        guard = lock(queue);
        guard.take_bell(bell);
        slept?;
    }
}

const SLICE: Duration = Duration::from_millis(1);
