//! What the suite needs of Unix; `windows.rs` has the same names, as far as there is such a thing.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nbio::RawDescriptor;
use rustix::io::{FdFlags, fcntl_getfd};

pub use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};

pub use libc::{ECONNREFUSED, EMFILE};
pub use rustix::io::Errno;
pub use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A type of std's of what the loop gave.
pub fn into_std<T: From<OwnedFd>>(descriptor: OwnedFd) -> T {
    T::from(descriptor)
}

/// A TCP socket that is neither connected nor listening.
pub fn unconnected() -> OwnedFd {
    rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).unwrap()
}

/// The number of an open socket, as the loop tells it.
pub fn number(socket: &impl AsRawFd) -> RawDescriptor {
    socket.as_raw_fd()
}

/// As above, of what the loop gave.
pub fn number_of(descriptor: &OwnedFd) -> RawDescriptor {
    descriptor.as_raw_fd()
}

/// Whether it is closed when another program begins.
pub fn closes_on_exec(descriptor: impl AsFd) -> bool {
    fcntl_getfd(descriptor).unwrap() == FdFlags::CLOEXEC
}

/// Whether it is open.
pub fn is_open(descriptor: impl AsFd) -> bool {
    fcntl_getfd(descriptor).is_ok()
}

/// Whether calls on it don't wait.
pub fn is_nonblocking(descriptor: impl AsFd) -> bool {
    rustix::fs::fcntl_getfl(descriptor).unwrap().contains(rustix::fs::OFlags::NONBLOCK)
}

/// As above, for a listener.
pub fn is_nonblocking_listener(descriptor: impl AsFd) -> bool {
    is_nonblocking(descriptor)
}

/// What is open but not a socket, or not one of the internet, by the kind of error that whoever adopts it as one gets.
pub fn unfit() -> Vec<(OwnedFd, nbio::ErrorKind)> {
    let invalid = nbio::ErrorKind::InvalidInput;
    vec![
        (std::os::unix::net::UnixDatagram::unbound().unwrap().into(), invalid),
        (std::os::unix::net::UnixStream::pair().unwrap().0.into(), invalid),
        (std::fs::File::open("/dev/null").unwrap().into(), nbio::ErrorKind::BadDescriptor),
    ]
}

/// Lets the process be killed by a write to what is broken, as it is before std begins.
pub fn let_broken_pipes_kill() {
    // SAFETY: the default action is always a valid one, and this process has one thread that matters.
    let before = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    assert_ne!(before, libc::SIG_ERR);
}

/// Lets writes past the limit of a file's size fail, instead of killing.
pub fn let_large_files_fail() {
    // SAFETY: it changes what a signal of this child does.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Has this run when the process ends.
pub fn at_exit(run: extern "C" fn()) {
    // SAFETY: the handler is a function without arguments that doesn't unwind.
    assert_eq!(unsafe { libc::atexit(run) }, 0);
}

/// Switches an option of a socket on.
pub fn set_on(socket: &impl AsRawFd, level: i32, name: i32) {
    let on = 1_i32;
    // SAFETY: the value is there for its four bytes.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const on).cast(), 4) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// How many descriptors this process has.
pub fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// How many descriptors of this process are of something below this directory.
pub fn descriptors_below(directory: &Path) -> usize {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap();
    let paths = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    paths.filter(|path| path.starts_with(directory)).count()
}

/// Whether these are the permissions.
pub fn is_mode(found: u32, mode: u32) -> bool {
    found & 0o7777 == mode
}

/// What std tells of a file only on Unix.
pub struct Numbers {
    pub mode: u32,
    pub links: u64,
    pub inode: u64,
    pub blocks: u64,
}

pub fn numbers(told: &std::fs::Metadata) -> Numbers {
    let (mode, links) = (told.permissions().mode(), told.nlink());
    Numbers { mode, links, inode: told.ino(), blocks: told.blocks() }
}

/// How many bytes can be read at once.
pub fn unread(descriptor: impl AsFd) -> u64 {
    rustix::io::ioctl_fionread(descriptor).unwrap()
}

/// Gives up std's lock of a file.
pub fn unlock(file: &std::fs::File) -> std::io::Result<()> {
    file.unlock()
}

/// Opens the other end of a FIFO for reading, without waiting for a writer.
pub fn open_fifo_to_read(path: &Path) -> std::fs::File {
    let mut options = std::fs::File::options();
    std::os::unix::fs::OpenOptionsExt::custom_flags(options.read(true), libc::O_NONBLOCK).open(path).unwrap()
}

/// Names that are no text in the system's encoding, or that shells and other programs take for something else.
pub fn names_of_any_bytes() -> Vec<std::ffi::OsString> {
    use std::os::unix::ffi::OsStringExt;
    let names = [&b"\xff\xfe invalid"[..], b"\n", b" ", b"-rf *", "\u{1f980}".as_bytes()];
    names.map(|name| std::ffi::OsString::from_vec(name.to_vec())).into()
}

/// Whether this is a Windows that isn't Windows.
pub fn is_wine() -> bool {
    false
}
