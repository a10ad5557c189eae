//! What the suite needs of systems other than Linux. What they don't have is only in cases that don't run there
//! (`skips::ON_LINUX_ONLY`).

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, RecvFlags, SocketType, socket};
use rustix::process::Resource;
use rustix::pty::OpenptFlags;

const NOT_HERE: &str = "a case for Linux only, which skips.rs doesn't name";

/// System calls that can't be forbidden here.
#[allow(non_upper_case_globals, reason = "as libc has them")]
mod calls {
    pub const SYS_clone: i64 = 0;
    pub const SYS_clone3: i64 = 0;
    pub const SYS_copy_file_range: i64 = 0;
    pub const SYS_io_uring_register: i64 = 0;
    pub const SYS_io_uring_setup: i64 = 0;
    pub const SYS_ioctl: i64 = 0;
    pub const SYS_lseek: i64 = 0;
    pub const SYS_openat: i64 = 0;
    pub const SYS_pwrite64: i64 = 0;
}

pub use calls::*;

pub fn forbid(_: i64, _: Errno) {
    panic!("{NOT_HERE}");
}

pub fn forbid_all(_: i64, _: Errno) {
    panic!("{NOT_HERE}");
}

pub fn forbid_all_if(_: i64, _: u8, _: u64, _: Errno) {
    panic!("{NOT_HERE}");
}

/// Threads have no numbers that /proc could tell of.
pub fn thread_number() -> i32 {
    panic!("{NOT_HERE}");
}

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

/// None.
pub const O_TMPFILE: i32 = 0;
pub const O_DIRECT: i32 = 0;

pub fn share_blocks(_: impl AsFd, _: impl AsFd) -> bool {
    false
}

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

pub fn keepalive_times(_: impl AsFd) -> (Duration, Duration, u32) {
    panic!("{NOT_HERE}");
}

pub fn user_timeout(_: impl AsFd) -> Option<u32> {
    None
}

/// None.
pub const FOREIGN_OPTIONS: [(i32, i32); 0] = [];
