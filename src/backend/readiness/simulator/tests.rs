//! The rules of kqueue, one test each. What is quoted is from the manual pages kqueue(2) of FreeBSD 14 and macOS; where
//! both say the same, from FreeBSD's.

mod changes;
mod faults;
mod filters;
mod life;
mod selector;
mod user;

use std::ffi::c_int;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::*;

const PROFILES: [Profile; 3] = [Profile::MacOs, Profile::FreeBsd, Profile::NetBsd];
const NOW: Option<Duration> = Some(Duration::ZERO);
/// Longer than anything takes that isn't broken.
const LONG: Option<Duration> = Some(Duration::from_secs(20));

/// What a program has: a descriptor.
struct Kq(OwnedFd);

fn kq(profile: Profile) -> Kq {
    set_profile(profile);
    set_faults(None);
    // SAFETY: a new descriptor, as the next line asserts.
    let queue = unsafe { kqueue() };
    assert!(queue >= 0);
    // SAFETY: it is nobody else's.
    Kq(unsafe { OwnedFd::from_raw_fd(queue) })
}

/// An event as EV_SET makes it.
fn set(ident: impl AsFd, filter: i16, flags: u16) -> kevent {
    event(ident.as_fd().as_raw_fd() as usize, filter, flags)
}

fn event(ident: usize, filter: i16, flags: u16) -> kevent {
    kevent { ident, filter, flags, fflags: 0, data: 0, udata: std::ptr::null_mut(), ext: [0; 4] }
}

fn tagged(change: kevent, tag: usize) -> kevent {
    kevent { udata: std::ptr::without_provenance_mut(tag), ..change }
}

fn call(
    queue: c_int,
    changes: &[kevent],
    room: usize,
    limit: Option<Duration>,
) -> Result<Vec<kevent>, c_int> {
    let mut events = vec![event(0, 0, 0); room];
    let limit = limit
        .map(|limit| libc::timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() });
    let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: changes and events have so many.
    let count = unsafe {
        kevent(queue, changes.as_ptr(), changes.len() as c_int, events.as_mut_ptr(), room as c_int, limit)
    };
    if count < 0 {
        return Err(last_error());
    }
    events.truncate(count as usize);
    Ok(events)
}

impl Kq {
    /// Changes that are to succeed; no events are taken.
    fn change(&self, changes: &[kevent]) {
        assert_eq!(call(self.0.as_raw_fd(), changes, 0, NOW).map(|events| events.len()), Ok(0));
    }

    fn refuses(&self, change: kevent) -> c_int {
        call(self.0.as_raw_fd(), &[change], 0, NOW).expect_err("a change that fails")
    }

    fn events(&self, limit: Option<Duration>) -> Vec<kevent> {
        call(self.0.as_raw_fd(), &[], 16, limit).expect("a wait")
    }

    /// The events that are there now.
    fn now(&self) -> Vec<kevent> {
        self.events(NOW)
    }

    /// The one event that comes.
    fn one(&self) -> kevent {
        let events = self.events(LONG);
        assert_eq!(events.len(), 1, "{events:?}");
        events[0]
    }

    fn nothing(&self) {
        let events = self.now();
        assert!(events.is_empty(), "{events:?}");
    }
}

/// Two ends of a TCP connection.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    one.set_nodelay(true).unwrap();
    let (other, _) = listener.accept().unwrap();
    (one, other)
}

/// Until so many bytes have arrived, unread.
fn arrived(stream: &TcpStream, bytes: usize) {
    let mut buffer = vec![0; bytes];
    while stream.peek(&mut buffer).unwrap() < bytes {}
}

fn read(mut from: impl Read, bytes: usize) {
    from.read_exact(&mut vec![0; bytes]).unwrap();
}

fn write(mut to: impl Write, bytes: &[u8]) {
    to.write_all(bytes).unwrap();
}

fn fill(mut to: impl Write) {
    while to.write(&[0; 65_536]).is_ok() {}
}
