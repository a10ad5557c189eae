//! Which descriptors are open, undisturbed by other tests of the same process.

use std::net::TcpStream;
use std::panic::resume_unwind;

use nbio::OwnedDescriptor;

/// This thread's open descriptors and what they are, but the one that this reads them with.
#[cfg(target_os = "linux")]
pub fn open() -> Vec<(i32, String)> {
    let directory = std::fs::read_dir("/proc/thread-self/fd").expect("/proc is mounted");
    let paths = directory.map(|entry| entry.expect("readable").path());
    let described = paths.filter_map(|path| {
        let number = path.file_name()?.to_str()?.parse().ok()?;
        Some((number, std::fs::read_link(&path).ok()?.to_string_lossy().into_owned()))
    });
    let mut open: Vec<(i32, String)> = described.filter(|(_, what)| !what.ends_with("/fd")).collect();
    open.sort_unstable();
    open
}

/// This process's open descriptors and what they are, among the first thousand.
#[cfg(all(unix, not(target_os = "linux")))]
pub fn open() -> Vec<(i32, String)> {
    let described = |number| {
        let mut stat = std::mem::MaybeUninit::<libc::stat>::zeroed();
        // SAFETY: the system writes what it says it does, and zeroes are a `stat`, too.
        let (answer, stat) = unsafe { (libc::fstat(number, stat.as_mut_ptr()), stat.assume_init()) };
        (answer == 0).then(|| (number, format!("{}:{}", stat.st_dev, stat.st_ino)))
    };
    (0..1000).filter_map(described).collect()
}

/// This process's open files, sockets and pipes by their sorts.
#[cfg(windows)]
pub fn open() -> Vec<(i32, String)> {
    use windows_sys::Win32::Storage::FileSystem::{FILE_TYPE_UNKNOWN, GetFileType};
    let described = |number: i32| {
        // SAFETY: a number that is no handle is refused.
        let sort = unsafe { GetFileType(number as usize as _) };
        (sort != FILE_TYPE_UNKNOWN).then(|| (number, format!("sort {sort}")))
    };
    // Handles are small multiples of four, given out again when they are free; no gap is as long as this.
    const GAP: usize = 256;
    let mut unused = 0;
    let all = (1..).map(|number| described(number * 4)).take_while(|found| {
        unused = if found.is_some() { 0 } else { unused + 1 };
        unused < GAP
    });
    all.flatten().collect()
}

/// A socket of std's of what a loop has released.
#[cfg(unix)]
pub fn stream_of(descriptor: OwnedDescriptor) -> TcpStream {
    TcpStream::from(descriptor)
}

#[cfg(windows)]
pub fn stream_of(descriptor: OwnedDescriptor) -> TcpStream {
    TcpStream::try_from(descriptor).expect("it is a socket")
}

/// Makes a blocking socket non-blocking, and the other way round.
#[cfg(unix)]
pub fn change_mode(socket: &TcpStream) {
    let flags = rustix::fs::fcntl_getfl(socket).expect("fcntl on a socket");
    socket.set_nonblocking(!flags.contains(rustix::fs::OFlags::NONBLOCK)).expect("fcntl on a socket");
}

/// Windows doesn't tell which it is.
#[cfg(windows)]
pub fn change_mode(socket: &TcpStream) {
    socket.set_nonblocking(true).expect("ioctlsocket on a socket");
}

/// Whether a thread can have descriptors of its own, which others neither see nor change.
pub const OWN_DESCRIPTORS: bool = cfg!(target_os = "linux");

/// Runs something on a thread that has a descriptor table of its own: what others open and close isn't seen there.
pub fn with_own_descriptors<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            leave_the_others();
            run()
        });
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

#[cfg(target_os = "linux")]
fn leave_the_others() {
    /// Set where all threads shall keep the process's table: ThreadSanitizer takes the same number in two for one descriptor.
    const ONE_TABLE: &str = "NBIO_ONE_DESCRIPTOR_TABLE";
    if std::env::var_os(ONE_TABLE).is_some() {
        return;
    }
    // In one step: a copy of the whole table, however short its life, would keep open what others close meanwhile.
    // SAFETY: this thread gets a table of its own with the standard streams only; the other threads keep theirs. What
    // this thread's Rust values own is opened after this. Not every C library has a function for it.
    let done = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_UNSHARE) == 0 };
    assert!(done, "close_range: {}", std::io::Error::last_os_error());
}

/// No thread has a table of its own here: the tests run one after the other.
#[cfg(not(target_os = "linux"))]
fn leave_the_others() {}
