//! What only Linux has of what the suite uses: stands in for it elsewhere, so that the same cases compile. Those that need it
//! don't run there (`skips::ON_LINUX_ONLY`).

use std::time::Duration;

use super::Errno;

pub const NOT_HERE: &str = "a case for other systems, which skips.rs doesn't name";

/// System calls that can't be forbidden here.
#[allow(non_upper_case_globals, dead_code, reason = "as libc has them; not every room is everywhere")]
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

/// None.
pub const O_TMPFILE: i32 = 0;
pub const O_DIRECT: i32 = 0;

pub fn share_blocks<T>(_: T, _: T) -> bool {
    false
}

pub fn keepalive_times<T>(_: &T) -> (Duration, Duration, u32) {
    panic!("{NOT_HERE}");
}

pub fn user_timeout<T>(_: &T) -> Option<u32> {
    None
}

/// What of a thread's time isn't sleep: nothing tells how long it has waited for a processor.
pub fn busy() -> Option<Duration> {
    None
}

/// None.
pub const FOREIGN_OPTIONS: [(i32, i32); 0] = [];
