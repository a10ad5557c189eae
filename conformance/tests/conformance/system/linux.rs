//! What the suite needs of Linux in particular. `others.rs` and `windows.rs` have the same names.

#[path = "unix.rs"]
mod unix;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{CWD, Mode};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, socket_with, sockopt};
use rustix::pty::OpenptFlags;
use rustix::time::{ClockId, clock_gettime};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

pub use unix::*;

/// System calls to forbid.
pub use libc::{
    SYS_clone, SYS_clone3, SYS_copy_file_range, SYS_io_uring_register, SYS_io_uring_setup, SYS_ioctl,
    SYS_lseek, SYS_openat, SYS_pwrite64,
};

/// For a child: from now on this system call fails, for this thread and those it starts.
pub fn forbid(call: i64, errno: Errno) {
    seccompiler::apply_filter(&refusal(call, Vec::new(), errno)).unwrap();
}

/// As `forbid`, for all threads; the last answer that was given for a call counts.
pub fn forbid_all(call: i64, errno: Errno) {
    seccompiler::apply_filter_all_threads(&refusal(call, Vec::new(), errno)).unwrap();
}

/// As `forbid_all`, if this argument has this bit.
pub fn forbid_all_if(call: i64, argument: u8, bit: u64, errno: Errno) {
    let masked = SeccompCmpOp::MaskedEq(bit);
    let has_it = SeccompCondition::new(argument, SeccompCmpArgLen::Qword, masked, bit).unwrap();
    let rules = vec![SeccompRule::new(vec![has_it]).unwrap()];
    seccompiler::apply_filter_all_threads(&refusal(call, rules, errno)).unwrap();
}

fn refusal(call: i64, when: Vec<SeccompRule>, errno: Errno) -> BpfProgram {
    let rules = BTreeMap::from([(call, when)]);
    let refuse = SeccompAction::Errno(errno.raw_os_error() as u32);
    let arch = std::env::consts::ARCH.try_into().unwrap();
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).unwrap().try_into().unwrap()
}

/// How long this thread has computed or waited for a processor (proc(5), `schedstat`).
pub fn busy() -> Option<Duration> {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanos = times.split(' ').take(2).map(|nanos| nanos.parse::<u64>().unwrap());
    Some(Duration::from_nanos(nanos.sum()))
}

/// The number of this thread.
pub fn thread_number() -> i32 {
    rustix::thread::gettid().as_raw_nonzero().get()
}

/// A FIFO in the file system.
pub fn make_fifo(path: &Path) {
    rustix::fs::mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).unwrap();
}

/// A Unix stream socket without a name, not for child processes.
pub fn unix_socket() -> OwnedFd {
    socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap()
}

/// Connects to a name that is in no file system.
pub fn connect_abstract(name: &str) -> UnixStream {
    UnixStream::connect_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap()
}

/// For a receive of descriptors that shall not be for child processes.
pub const RECV_CLOSE_ON_EXEC: RecvFlags = RecvFlags::CMSG_CLOEXEC;

/// Lets a Unix socket bring credentials, too.
pub fn bring_credentials(socket: impl AsFd) {
    sockopt::set_socket_passcred(socket, true).unwrap();
}

/// The path of the other side of a pseudo-terminal.
pub fn terminal_path(keyboard: impl AsFd) -> CString {
    rustix::pty::ptsname(keyboard, Vec::new()).unwrap()
}

/// How a pseudo-terminal is opened so that it isn't for child processes.
pub const TERMINAL: OpenptFlags = OpenptFlags::CLOEXEC;

/// For `op::Open`: a file without a name, and one past the system's cache.
pub const O_TMPFILE: i32 = libc::O_TMPFILE;
pub const O_DIRECT: i32 = libc::O_DIRECT;

/// Lets a new file share another one's blocks; `false` if the file system can't.
pub fn share_blocks(to: impl AsFd, from: impl AsFd) -> bool {
    rustix::fs::ioctl_ficlone(to, from).is_ok()
}

/// How much the calling thread has computed.
pub fn thread_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap()
}

/// How much memory a process may map.
pub const MEMORY: Resource = Resource::As;

/// `TCP_KEEPIDLE`, `TCP_KEEPINTVL` and `TCP_KEEPCNT`.
pub fn keepalive_times(socket: impl AsFd) -> (Duration, Duration, u32) {
    let socket = socket.as_fd();
    let interval = sockopt::tcp_keepintvl(socket).unwrap();
    (sockopt::tcp_keepidle(socket).unwrap(), interval, sockopt::tcp_keepcnt(socket).unwrap())
}

/// `TCP_USER_TIMEOUT` in milliseconds.
pub fn user_timeout(socket: impl AsFd) -> Option<u32> {
    sockopt::tcp_user_timeout(socket).ok()
}

/// Options of UDP, by level and name, that nbio doesn't know: all kinds of addresses, flow labels, times.
pub const FOREIGN_OPTIONS: [(i32, i32); 4] = [
    (libc::IPPROTO_IPV6, libc::IPV6_RECVORIGDSTADDR),
    (libc::IPPROTO_IPV6, libc::IPV6_FLOWINFO),
    (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS),
    (libc::IPPROTO_IPV6, libc::IPV6_2292PKTINFO),
];
