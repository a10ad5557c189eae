//! kqueue(2): macOS, iOS, FreeBSD, NetBSD, OpenBSD, DragonFly.
//!
//! Every descriptor has at most one knote a direction, made with `EV_CLEAR` when it is first waited for, and changed no
//! more: whoever waits is the engine's business. So arming costs no system call, it goes with the next wait; and adding a
//! knote again, which neither changes how it tells nor enables it, never happens.
//!
//! What an event says beyond "try" (`data`, `fflags`, `EV_EOF`) is a hint. `EV_EOF` may come while there is unread data,
//! the error of a UDP socket without it: the system call decides.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Weak};
use std::task::{Wake, Waker};
use std::time::Duration;

use rustix::fs::{FileType, fstat};
use rustix::io::{Errno, FdFlags, fcntl_setfd, ioctl_fionbio, retry_on_intr};

use super::readiness::selector::{Direction, Directions, News, Selector};
use crate::backend::{sys, unix};

pub(crate) struct Kqueue {
    /// Known to the wakers.
    queue: Arc<OwnedFd>,
    /// For the next wait, in order.
    changes: Vec<sys::kevent>,
    events: Vec<sys::kevent>,
    /// The keys of the descriptors that are armed, by their numbers, `NOBODY` for the others. In `udata` there would be
    /// room for half of a key where pointers are short.
    keys: Vec<u64>,
    waker: Option<Waker>,
    /// What the waker writes to, where the system has no `EVFILT_USER`.
    pipe: Option<Arc<Pipe>>,
    /// Armed descriptors whose end the system won't tell.
    unreliable: Vec<RawFd>,
}

const NOBODY: u64 = u64::MAX;

/// How many events one wait brings at most, unless it takes more changes; the others stay for the next.
const MOST_EVENTS: usize = 1024;

/// A longer wait ends early, which nobody will see: the systems call a limit of some years invalid.
const LONGEST_WAIT: Duration = Duration::from_secs(1 << 20);

/// How often `unreliable` ones are tried.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

fn change(ident: usize, filter: sys::Filter, flags: sys::Flags, fflags: u32) -> sys::kevent {
    // SAFETY: zeroes are a valid `kevent`, whose members are numbers and a pointer; which ones there are depends on the
    // system.
    let mut change: sys::kevent = unsafe { std::mem::zeroed() };
    change.ident = ident as _;
    change.filter = filter;
    change.flags = flags;
    change.fflags = fflags;
    change
}

fn last_error() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// Applies changes and takes events, in the memory that `events` has beyond its length.
fn kevent(
    queue: &OwnedFd,
    changes: &[sys::kevent],
    events: &mut Vec<sys::kevent>,
    limit: Option<Duration>,
) -> Result<(), Errno> {
    let room = events.capacity() - events.len();
    let limit = limit
        .map(|limit| limit.min(LONGEST_WAIT))
        .map(|limit| libc::timespec { tv_sec: limit.as_secs() as _, tv_nsec: limit.subsec_nanos() as _ });
    let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the changes, the spare room and the limit are valid for the call, which keeps none of them.
    let count = unsafe {
        let into = events.as_mut_ptr().add(events.len());
        sys::kevent(queue.as_raw_fd(), changes.as_ptr(), changes.len() as _, into, room as _, limit)
    };
    let Ok(count) = usize::try_from(count) else {
        return Err(last_error());
    };
    // SAFETY: the system has written so many behind the ones that were there.
    unsafe { events.set_len(events.len() + count) };
    Ok(())
}

/// A single change that is applied at once; its error is the call's, as there is no room for an event.
fn apply(queue: &OwnedFd, change: sys::kevent) -> Result<(), Errno> {
    match kevent(queue, &[change], &mut Vec::new(), Some(Duration::ZERO)) {
        // It was applied.
        Err(Errno::INTR) => Ok(()),
        applied => applied,
    }
}

impl Selector for Kqueue {
    const NAME: &'static str = "kqueue";
    const EXACT: bool = false;

    fn new() -> Result<Kqueue, Errno> {
        // SAFETY: a system call without memory.
        let queue = unsafe { sys::kqueue() };
        if queue < 0 {
            return Err(last_error());
        }
        // SAFETY: it is new, and nobody else's.
        let queue = unsafe { OwnedFd::from_raw_fd(queue) };
        // A child of fork(2) has no kqueue, but one that execs would keep the number.
        fcntl_setfd(&queue, FdFlags::CLOEXEC)?;
        Ok(Kqueue {
            queue: Arc::new(queue),
            changes: Vec::new(),
            events: Vec::with_capacity(MOST_EVENTS),
            keys: Vec::new(),
            waker: None,
            pipe: None,
            unreliable: Vec::new(),
        })
    }

    fn arm(
        &mut self,
        descriptor: RawFd,
        key: u64,
        direction: Direction,
        armed: Directions,
    ) -> Result<(), Errno> {
        let (filter, fflags) = match direction {
            Direction::Read => (sys::EVFILT_READ, 0),
            Direction::Write => (sys::EVFILT_WRITE, 0),
            Direction::Priority => (sys::EXCEPT.ok_or(Errno::OPNOTSUPP)?, sys::NOTE_OOB),
        };
        // EV_ENABLE does nothing for a new knote, and saves one that is there and disabled.
        let flags = sys::EV_ADD | sys::EV_CLEAR | sys::EV_ENABLE;
        let change = change(descriptor as usize, filter, flags, fflags);
        if armed.is_empty() {
            let status = fstat(unix::borrow(&descriptor))?;
            match FileType::from_raw_mode(status.st_mode) {
                // Never to be registered: at its end a file would be unready until it grows.
                FileType::RegularFile | FileType::Directory | FileType::BlockDevice => {
                    return Err(Errno::PERM);
                }
                // Many devices have no filters. That has to be known now, not at the next wait.
                FileType::CharacterDevice => {
                    apply(&self.queue, change).map_err(|_| Errno::PERM)?;
                }
                // macOS doesn't tell the readers of a FIFO that the last writer is gone.
                FileType::Fifo if sys::misses_the_end(descriptor, &status) => {
                    self.unreliable.push(descriptor);
                }
                _ => {}
            }
        }
        let index = descriptor as usize;
        if self.keys.len() <= index {
            self.keys.resize(index + 1, NOBODY);
        }
        self.keys[index] = key;
        self.changes.push(change);
        Ok(())
    }

    /// A close drops the knotes silently, so this comes first. The change goes with the next wait, when the number may be
    /// nobody's or another's: then it finds nothing, or undoes an `EV_ADD` in front of it that was of the old one too.
    /// Events are never kept from one wait to the next.
    fn disarm(&mut self, descriptor: RawFd, armed: Directions) {
        let directions = [
            (Direction::Read, Some(sys::EVFILT_READ)),
            (Direction::Write, Some(sys::EVFILT_WRITE)),
            (Direction::Priority, sys::EXCEPT),
        ];
        for (direction, filter) in directions {
            if let Some(filter) = filter.filter(|_| armed.has(direction)) {
                self.changes.push(change(descriptor as usize, filter, sys::EV_DELETE, 0));
            }
        }
        if let Some(key) = self.keys.get_mut(descriptor as usize) {
            *key = NOBODY;
        }
        self.unreliable.retain(|unreliable| *unreliable != descriptor);
    }

    fn wait(&mut self, limit: Option<Duration>, news: &mut Vec<News>) -> Result<bool, Errno> {
        let limit = if self.unreliable.is_empty() {
            limit
        } else {
            Some(limit.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN))
        };
        self.take_events(limit)?;
        Ok(self.hear(news))
    }

    fn waker(&mut self) -> Result<Waker, Errno> {
        if let Some(waker) = &self.waker {
            return Ok(waker.clone());
        }
        // Registered once and then only triggered: in the change that adds it, FreeBSD ignores the trigger.
        let add = change(USER_IDENT, sys::EVFILT_USER, sys::EV_ADD | sys::EV_CLEAR, 0);
        let waker = match apply(&self.queue, add) {
            Ok(()) => Waker::from(Arc::new(UserEvent(Arc::downgrade(&self.queue)))),
            // OpenBSD, and NetBSD before 10.
            Err(Errno::INVAL) => self.pipe_waker()?,
            Err(errno) => return Err(errno),
        };
        Ok(self.waker.insert(waker).clone())
    }
}

impl Kqueue {
    /// Applies the changes and waits; not if changes had errors, which are told instead.
    fn take_events(&mut self, limit: Option<Duration>) -> Result<(), Errno> {
        self.events.clear();
        // An error of a change that found no room in the list would end the call, and keep the changes behind it out.
        self.events.reserve(MOST_EVENTS.max(self.changes.len()));
        let taken = kevent(&self.queue, &self.changes, &mut self.events, limit);
        // After EINTR too: the changes were applied before the wait.
        self.changes.clear();
        taken
    }

    /// What was taken, as news; whether the waker was used.
    fn hear(&mut self, news: &mut Vec<News>) -> bool {
        let mut woken = false;
        for event in &self.events {
            // All are copied: macOS's structure is packed.
            let (ident, filter, flags) = (event.ident, event.filter, event.flags);
            if filter == sys::EVFILT_USER {
                woken = true;
                continue;
            }
            if self.pipe.as_ref().is_some_and(|pipe| pipe.read.as_raw_fd() as usize == ident) {
                woken = true;
                continue;
            }
            // Nobody's: an event of the old life of a number that is closed by now.
            let Some(key) = self.keys.get(ident).copied().filter(|key| *key != NOBODY) else { continue };
            if flags & sys::EV_ERROR != 0 {
                news.extend(refusal(key, event.data as i32));
                continue;
            }
            news.push(News { key, ready: ready(event), refused: None });
        }
        for descriptor in &self.unreliable {
            let key = self.keys[*descriptor as usize];
            news.push(News { key, ready: libc::POLLIN as u32, refused: None });
        }
        if woken {
            self.drain();
        }
        woken
    }
}

/// The bits of poll(2) that an event may mean.
fn ready(event: &sys::kevent) -> u32 {
    let (filter, flags, error) = (event.filter, event.flags, event.fflags);
    let ended = flags & sys::EV_EOF != 0;
    let mut ready = if filter == sys::EVFILT_READ {
        libc::POLLIN as u32 | if ended { unix::READ_CLOSED } else { 0 }
    } else if filter == sys::EVFILT_WRITE {
        (libc::POLLOUT | if ended { libc::POLLHUP } else { 0 }) as u32
    } else {
        libc::POLLPRI as u32
    };
    if ended && error != 0 {
        ready |= libc::POLLERR as u32;
    }
    ready
}

/// What a failed change means for who armed the descriptor. Whether it was an `EV_ADD` can't be seen: the BSDs keep
/// nothing of the change's flags.
fn refusal(key: u64, error: i32) -> Option<News> {
    match Errno::from_raw_os_error(error) {
        // A receipt.
        errno if errno.raw_os_error() == 0 => None,
        // An `EV_DELETE` of the number's old life: its close was faster. An `EV_ADD` has no such error.
        Errno::NOENT => None,
        // Nobody reads that pipe any more (older macOS, FreeBSD): a write says so at once.
        Errno::PIPE => Some(News { key, ready: (libc::POLLOUT | libc::POLLERR) as u32, refused: None }),
        errno => Some(News { key, ready: 0, refused: Some(errno) }),
    }
}

/// The one event of `EVFILT_USER`; descriptors have other filters.
const USER_IDENT: usize = 0;

/// The queue goes with its selector.
struct UserEvent(Weak<OwnedFd>);

impl Wake for UserEvent {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let Some(queue) = self.0.upgrade() else { return };
        // Nothing but the trigger: with EV_CLEAR in its flags, FreeBSD would take it back at once. It can't fail, as the
        // event is there for as long as the queue.
        let _ = apply(&queue, change(USER_IDENT, sys::EVFILT_USER, 0, sys::NOTE_TRIGGER));
    }
}

/// Both ends, so that nobody ever writes to a pipe without readers, which would raise SIGPIPE.
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl Wake for Pipe {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // A full pipe (EAGAIN) wakes already.
        let _ = retry_on_intr(|| rustix::io::write(&self.write, b"!"));
    }
}

impl Kqueue {
    fn pipe_waker(&mut self) -> Result<Waker, Errno> {
        // pipe2(2) is missing in macOS.
        let (read, write) = rustix::pipe::pipe()?;
        for end in [&read, &write] {
            fcntl_setfd(end, FdFlags::CLOEXEC)?;
            ioctl_fionbio(end, true)?;
        }
        let flags = sys::EV_ADD | sys::EV_CLEAR;
        apply(&self.queue, change(read.as_raw_fd() as usize, sys::EVFILT_READ, flags, 0))?;
        Ok(self.pipe.insert(Arc::new(Pipe { read, write })).clone().into())
    }

    /// Any write after this is told again.
    fn drain(&self) {
        let Some(pipe) = &self.pipe else { return };
        let mut bytes = [0; 64];
        while retry_on_intr(|| rustix::io::read(&pipe.read, &mut bytes)) == Ok(bytes.len()) {}
    }
}
