//! What Linux tells of a descriptor, in the words of kqueue.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::time::Duration;

use super::abi::*;
use super::{Profile, last_error};

/// What is behind a descriptor.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A socket with connections.
    Stream,
    Datagram,
    /// Pipes, and FIFOs.
    Pipe,
    /// FIFOs where the last writer's end isn't told.
    DeafFifo,
    /// Regular files and directories, which epoll doesn't take.
    File,
    Other,
}

/// The values of an event of a filter that is ready.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct Ready {
    pub(super) data: i64,
    pub(super) eof: bool,
    pub(super) fflags: u32,
}

/// Waits until the epoll instance has something.
pub(super) fn sleep(epoll: c_int, limit: Option<Duration>) -> Result<(), c_int> {
    let mut polled = libc::pollfd { fd: epoll, events: libc::POLLIN, revents: 0 };
    let limit = limit.map(|limit| libc::timespec {
        tv_sec: limit.as_secs().min(i64::MAX as u64) as i64,
        tv_nsec: limit.subsec_nanos().into(),
    });
    let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: one `pollfd`, and a time limit or null, both of which outlive the call.
    if unsafe { libc::ppoll(&raw mut polled, 1, limit, std::ptr::null()) } < 0 {
        return Err(last_error());
    }
    Ok(())
}

fn status(descriptor: c_int) -> Result<libc::stat, c_int> {
    let mut status = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: `status` has room for what is written, and zeroes are valid besides.
    unsafe {
        if libc::fstat(descriptor, status.as_mut_ptr()) < 0 {
            return Err(last_error());
        }
        Ok(status.assume_init())
    }
}

/// The device and inode of what is behind a descriptor.
pub(super) fn identity(descriptor: c_int) -> Option<(u64, u64)> {
    status(descriptor).ok().map(|status| (status.st_dev, status.st_ino))
}

/// What a descriptor is; an error if it is none.
pub(super) fn kind(descriptor: c_int, profile: Profile) -> Result<Kind, c_int> {
    Ok(match status(descriptor)?.st_mode & libc::S_IFMT {
        libc::S_IFSOCK if number(descriptor, libc::SO_TYPE) == libc::SOCK_DGRAM => Kind::Datagram,
        libc::S_IFSOCK => Kind::Stream,
        libc::S_IFIFO if profile == Profile::MacOs && is_named(descriptor) => Kind::DeafFifo,
        libc::S_IFIFO => Kind::Pipe,
        libc::S_IFREG | libc::S_IFDIR => Kind::File,
        _ => Kind::Other,
    })
}

/// A socket option that is a number; 0 if there is none.
fn number(descriptor: c_int, option: c_int) -> c_int {
    let mut value: c_int = 0;
    let mut length = size_of::<c_int>() as u32;
    // SAFETY: `value` has `length` bytes, and any bytes are a number.
    unsafe {
        libc::getsockopt(descriptor, libc::SOL_SOCKET, option, (&raw mut value).cast::<c_void>(), &mut length)
    };
    value
}

/// What an ioctl(2) counts; 0 if it doesn't.
fn count(descriptor: c_int, request: libc::Ioctl) -> i64 {
    let mut value: c_int = 0;
    // SAFETY: the requests that are used here (FIONREAD, TIOCOUTQ) write one number.
    unsafe { libc::ioctl(descriptor, request, &raw mut value) };
    value.into()
}

/// poll(2) without waiting.
fn poll(descriptor: c_int) -> c_int {
    let events = libc::POLLIN | libc::POLLOUT | libc::POLLPRI | libc::POLLRDHUP;
    let mut polled = libc::pollfd { fd: descriptor, events, revents: 0 };
    // SAFETY: one `pollfd` that outlives the call.
    unsafe { libc::poll(&raw mut polled, 1, 0) };
    polled.revents.into()
}

/// What the kernel has counted of a TCP connection (`struct tcp_info`).
struct Tcp {
    state: u8,
    /// Of a listener: the connections that wait.
    waiting: i64,
    acknowledged: u64,
    received: u64,
}

fn tcp(descriptor: c_int) -> Option<Tcp> {
    const WORDS: usize = 17;
    let mut words = [0u64; WORDS];
    let mut length = size_of_val(&words) as u32;
    // SAFETY: `words` has `length` bytes, and any bytes are numbers.
    let asked = unsafe {
        let into = words.as_mut_ptr().cast::<c_void>();
        libc::getsockopt(descriptor, libc::IPPROTO_TCP, libc::TCP_INFO, into, &mut length)
    };
    if asked < 0 || (length as usize) < size_of_val(&words) {
        return None;
    }
    Some(Tcp {
        state: words[0].to_ne_bytes()[0],
        waiting: u32::from_ne_bytes(words[3].to_ne_bytes()[..4].try_into().expect("four bytes")).into(),
        acknowledged: words[15],
        received: words[16],
    })
}

/// How far a descriptor has come, to tell which of its filters an edge of epoll's is about: that tells what is ready,
/// not what has become so.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct Progress {
    received: Option<u64>,
    acknowledged: Option<u64>,
    state: u32,
}

impl Progress {
    /// Takes note of an edge; whether it is one for reading, and for writing. In doubt it is for both.
    pub(super) fn note(&mut self, descriptor: c_int, edge: u32) -> (bool, bool) {
        let tcp = tcp(descriptor);
        let state = edge & (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32;
        let changed = tcp.is_none() || state != self.state;
        let received = tcp.as_ref().map(|tcp| tcp.received);
        let acknowledged = tcp.as_ref().map(|tcp| tcp.acknowledged);
        let listens = number(descriptor, libc::SO_ACCEPTCONN) != 0;
        let read = changed || listens || received != self.received;
        let write = changed || acknowledged != self.acknowledged;
        self.state = state;
        // What came after the edge has one of its own, which is still to be known as one for reading.
        if edge & libc::EPOLLIN as u32 != 0 {
            self.received = received;
        }
        // What isn't writable yet becomes so by what was acknowledged already.
        if edge & libc::EPOLLOUT as u32 != 0 {
            self.acknowledged = acknowledged;
        }
        (read, write)
    }
}

/// A FIFO that is a file, and no pipe of pipe(2).
pub(super) fn is_named(descriptor: c_int) -> bool {
    let path = std::fs::read_link(format!("/proc/thread-self/fd/{descriptor}"));
    !path.is_ok_and(|path| path.to_string_lossy().starts_with("pipe:"))
}

/// A pipe whose reading end is closed.
pub(super) fn has_no_reader(descriptor: c_int) -> bool {
    has(poll(descriptor), libc::POLLERR)
}

/// Whether a filter of a descriptor is ready now, and its values.
pub(super) fn look(kind: Kind, descriptor: c_int, filter: i16, fflags: u32, low_water: i64) -> Option<Ready> {
    let ready = match (kind, filter) {
        (Kind::File, EVFILT_READ) => return file(descriptor),
        (_, EVFILT_READ) => readable(kind, descriptor)?,
        (_, EVFILT_WRITE) => writable(kind, descriptor)?,
        _ => return (has(poll(descriptor), libc::POLLPRI)).then(Ready::default),
    };
    // NOTE_LOWAT: the end and errors are told whatever the mark is.
    let enough = fflags & NOTE_LOWAT == 0 || ready.data >= low_water || ready.eof || ready.fflags != 0;
    enough.then_some(ready)
}

/// "Returns when the file pointer is not at the end of file. data contains the offset from current position to end of
/// file, and may be negative."
fn file(descriptor: c_int) -> Option<Ready> {
    // SAFETY: a plain system call, which by 0 bytes moves nothing.
    let position = unsafe { libc::lseek(descriptor, 0, libc::SEEK_CUR) };
    let rest = status(descriptor).ok()?.st_size - position;
    (rest != 0).then_some(Ready { data: rest, ..Ready::default() })
}

fn has(seen: c_int, bit: i16) -> bool {
    seen & c_int::from(bit) != 0
}

/// A socket that has never been connected, for which Linux says POLLHUP and POLLOUT, and the BSDs nothing.
fn is_unconnected(kind: Kind, seen: c_int) -> bool {
    kind == Kind::Stream && has(seen, libc::POLLHUP) && !has(seen, libc::POLLRDHUP | libc::POLLERR)
}

/// The error of a socket, in `fflags`: that there is one. Linux would forget it when asked which.
fn error(kind: Kind, seen: c_int) -> u32 {
    let of_a_socket = matches!(kind, Kind::Stream | Kind::Datagram);
    if of_a_socket && has(seen, libc::POLLERR) { libc::ECONNRESET as u32 } else { 0 }
}

fn readable(kind: Kind, descriptor: c_int) -> Option<Ready> {
    let seen = poll(descriptor);
    if kind == Kind::Stream && number(descriptor, libc::SO_ACCEPTCONN) != 0 {
        // "Sockets which have previously been passed to listen() return when there is an incoming connection pending.
        // data contains the size of the listen backlog."
        let data = tcp(descriptor).map_or(1, |tcp| tcp.waiting.max(1));
        return has(seen, libc::POLLIN).then_some(Ready { data, ..Ready::default() });
    }
    if is_unconnected(kind, seen) {
        return None;
    }
    // "If the read direction of the socket has shutdown, then the filter also sets EV_EOF in flags, and returns the
    // socket error (if any) in fflags. It is possible for EOF to be returned (indicating the connection is gone) while
    // there is still data pending in the socket buffer." Pipes: "when the last writer disconnects, the filter will set
    // EV_EOF".
    let end = match kind {
        Kind::Stream => libc::POLLRDHUP,
        // Of the writing end too, when its reader disconnects.
        Kind::Pipe | Kind::DeafFifo => libc::POLLHUP | libc::POLLERR,
        _ => libc::POLLHUP,
    };
    let fflags = error(kind, seen);
    let eof = kind != Kind::DeafFifo && has(seen, end);
    (eof || fflags != 0 || has(seen, libc::POLLIN)).then(|| Ready {
        data: count(descriptor, libc::FIONREAD),
        eof,
        fflags,
    })
}

fn writable(kind: Kind, descriptor: c_int) -> Option<Ready> {
    let seen = poll(descriptor);
    if is_unconnected(kind, seen) || kind == Kind::Stream && number(descriptor, libc::SO_ACCEPTCONN) != 0 {
        return None;
    }
    // "The filter will set EV_EOF when the reader disconnects, and for the socket case, returns the socket error (if
    // any) in fflags."
    let eof = match kind {
        Kind::Stream => has(seen, libc::POLLHUP) || sends_no_more(descriptor),
        Kind::Pipe | Kind::DeafFifo => has(seen, libc::POLLERR),
        _ => false,
    };
    let fflags = error(kind, seen);
    (eof || fflags != 0 || has(seen, libc::POLLOUT)).then(|| Ready {
        data: room(kind, descriptor),
        eof,
        fflags,
    })
}

/// "data will contain the amount of space remaining in the write buffer."
fn room(kind: Kind, descriptor: c_int) -> i64 {
    let size = match kind {
        Kind::Stream | Kind::Datagram => number(descriptor, libc::SO_SNDBUF).into(),
        // SAFETY: it only asks.
        Kind::Pipe | Kind::DeafFifo => i64::from(unsafe { libc::fcntl(descriptor, libc::F_GETPIPE_SZ) }),
        _ => return 1,
    };
    let used = if matches!(kind, Kind::Pipe | Kind::DeafFifo) { libc::FIONREAD } else { libc::TIOCOUTQ };
    (size - count(descriptor, used)).max(0)
}

/// Whether a TCP socket's sending half is shut.
fn sends_no_more(descriptor: c_int) -> bool {
    /// FIN_WAIT1, FIN_WAIT2, TIME_WAIT, CLOSE, LAST_ACK, CLOSING.
    const SHUT: [u8; 6] = [4, 5, 6, 7, 9, 11];
    tcp(descriptor).is_some_and(|tcp| SHUT.contains(&tcp.state))
}
