//! Which descriptors are open, undisturbed by other tests of the same process.

use std::panic::resume_unwind;

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
#[cfg(not(target_os = "linux"))]
pub fn open() -> Vec<(i32, String)> {
    let described = |number| {
        let mut stat = std::mem::MaybeUninit::<libc::stat>::zeroed();
        // SAFETY: the system writes what it says it does, and zeroes are a `stat`, too.
        let (answer, stat) = unsafe { (libc::fstat(number, stat.as_mut_ptr()), stat.assume_init()) };
        (answer == 0).then(|| (number, format!("{}:{}", stat.st_dev, stat.st_ino)))
    };
    (0..1000).filter_map(described).collect()
}

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
    // SAFETY: this thread gets a copy of the table, and closes there what is not its own; the other threads keep
    // theirs. What this thread's Rust values own was opened after this.
    let done = unsafe {
        // Not every C library has a function for it.
        let close_all = || libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0);
        libc::unshare(libc::CLONE_FILES) == 0 && close_all() == 0
    };
    assert!(done, "unshare, close_range: {}", std::io::Error::last_os_error());
}

/// No thread has a table of its own here: the tests run one after the other.
#[cfg(not(target_os = "linux"))]
fn leave_the_others() {}
