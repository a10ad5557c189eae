//! What the suite needs of Unixes other than Linux. What they don't have is only in cases that don't run there
//! (`skips::ON_LINUX_ONLY`).

#[path = "missing.rs"]
mod missing;
#[path = "unix.rs"]
mod unix;

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, RecvFlags, SocketType, socket};
use rustix::pty::OpenptFlags;

pub use missing::*;
pub use unix::*;

/// A FIFO in the file system.
pub fn make_fifo(path: &Path) {
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the path ends with a zero byte.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0, "{}", std::io::Error::last_os_error());
}

/// A Unix stream socket without a name, not for child processes.
pub fn unix_socket() -> OwnedFd {
    let socket = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    fcntl_setfd(&socket, FdFlags::CLOEXEC).unwrap();
    socket
}

pub fn connect_abstract(_: &str) -> UnixStream {
    panic!("{NOT_HERE}");
}

/// There is no such flag on macOS, and the descriptors are closed soon.
pub const RECV_CLOSE_ON_EXEC: RecvFlags = RecvFlags::empty();

pub fn bring_credentials(_: impl AsFd) {
    panic!("{NOT_HERE}");
}

/// The path of the other side of a pseudo-terminal. Not all have a call for this that several threads may make; here
/// cases run one after the other.
pub fn terminal_path(keyboard: impl AsFd) -> CString {
    // SAFETY: the descriptor is open as long as `keyboard` is borrowed.
    let path = unsafe { libc::ptsname(keyboard.as_fd().as_raw_fd()) };
    assert!(!path.is_null(), "{}", std::io::Error::last_os_error());
    // SAFETY: ptsname(3): a path with its zero byte, valid until the next call.
    unsafe { CStr::from_ptr(path) }.to_owned()
}

/// There is no such flag on macOS.
pub const TERMINAL: OpenptFlags = OpenptFlags::empty();

/// How much the calling thread has computed.
pub fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it lives longer than the call.
    let told = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(told, 0, "{}", std::io::Error::last_os_error());
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

/// The nearest to a limit of what a process maps.
pub const MEMORY: Resource = Resource::Data;
