//! What is done with files and paths by calls that may wait for a disk: on the thread pool.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, IntoRawFd};
use std::ptr::null_mut;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::syscall::answer;
use super::system;
use super::unix::borrow;
use super::unix::files::{fifo_flags, open_flags};
use crate::backend::RawDescriptor;
use crate::engine::op::Space;
use crate::engine::paths::{Call, PathCall};

pub(in crate::backend) fn sync(descriptor: RawDescriptor, data_only: bool) -> Result<u32, Errno> {
    system::sync(borrow(&descriptor), data_only).map(|()| 0)
}

pub(in crate::backend) fn allocate(
    descriptor: RawDescriptor,
    offset: u64,
    length: u64,
    how: Space,
) -> Result<u32, Errno> {
    system::allocate(borrow(&descriptor), offset, length, how).map(|()| 0)
}

/// A call on a path; the answer is 0 or a descriptor.
pub(in crate::backend) fn call(descriptor: RawDescriptor, call: &PathCall) -> Result<u32, Errno> {
    let second = call.second_directory.get();
    let (from, path) = (borrow(&descriptor), call.path.as_c_str());
    let (to, second_path) = (borrow(&second), call.second_path.as_c_str());
    let done = match call.call {
        Call::Open(how) => {
            let flags = open_flags(&how).expect("checked when it was described");
            return if waits(from, path, flags) { Err(IS_FIFO) } else { open(from, path, flags, how.mode) };
        }
        Call::OpenFifo(end) => {
            let flags = fifo_flags(end);
            return if waits(from, path, flags) { Err(IS_FIFO) } else { open(from, path, flags, 0) };
        }
        Call::AcceptPipe(_) => unreachable!("there are none: the engine refuses it"),
        Call::Stat { follow, itself } => system::stat(descriptor, path, follow, itself, call.stat()),
        Call::Seek(_) => system::stat(descriptor, path, true, true, call.stat()),
        Call::Rename { replace: true } => fs::renameat(from, path, to, second_path),
        Call::Rename { replace: false } => system::rename_no_replace(from, path, to, second_path),
        Call::Unlink => fs::unlinkat(from, path, AtFlags::empty()),
        Call::Rmdir => fs::unlinkat(from, path, AtFlags::REMOVEDIR),
        Call::Mkdir { mode } => fs::mkdirat(from, path, Mode::from_raw_mode(mode as _)),
        Call::Link { follow } => {
            let flags = if follow { AtFlags::SYMLINK_FOLLOW } else { AtFlags::empty() };
            fs::linkat(from, path, to, second_path, flags)
        }
        // The name that is made is the second, and so is its directory; the first is what the link holds.
        Call::Symlink => fs::symlinkat(path, to, second_path),
    };
    done.map(|()| 0)
}

/// What the pool answers to an open that would wait for the other end of a FIFO; no open fails so (open(2)).
pub(in crate::backend) const IS_FIFO: Errno = Errno::INPROGRESS;

/// Whether an open would wait until somebody opens the other end.
fn waits(from: BorrowedFd<'_>, path: &CStr, flags: i32) -> bool {
    let one_end = flags & libc::O_ACCMODE != libc::O_RDWR && flags & (libc::O_NONBLOCK | libc::O_EXCL) == 0;
    let follow = if flags & libc::O_NOFOLLOW == 0 { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
    let is_fifo = |mode| FileType::from_raw_mode(mode) == FileType::Fifo;
    one_end
        && system::TELLS_OF_WRITERS
        && fs::statat(from, path, follow).is_ok_and(|stat| is_fifo(stat.st_mode))
}

/// Opens a FIFO's end if the other one is open; `AGAIN` if not. `opened` is an end to read from that was opened before
/// there was anybody to write, or -1.
pub(in crate::backend) fn open_fifo(
    descriptor: RawDescriptor,
    call: &PathCall,
    opened: &mut RawDescriptor,
) -> Result<u32, Errno> {
    let (from, path) = (borrow(&descriptor), call.path.as_c_str());
    let flags = match call.call {
        Call::Open(how) => open_flags(&how).expect("checked when it was described"),
        Call::OpenFifo(end) => fifo_flags(end),
        _ => unreachable!("opens nothing"),
    };
    if *opened < 0 {
        match open(from, path, flags | libc::O_NONBLOCK, 0) {
            // Nobody reads (open(2), ENXIO).
            Err(Errno::NXIO) => return Err(Errno::AGAIN),
            answer => *opened = answer? as RawDescriptor,
        }
    }
    let end = borrow(opened);
    if flags & libc::O_ACCMODE == libc::O_RDONLY && !system::has_writer(end)? {
        return Err(Errno::AGAIN);
    }
    rustix::io::ioctl_fionbio(end, false)?;
    Ok(std::mem::replace(opened, -1) as u32)
}

fn open(from: BorrowedFd<'_>, path: &CStr, flags: i32, mode: u32) -> Result<u32, Errno> {
    let flags = OFlags::from_bits_retain(flags as u32);
    let opened = fs::openat(from, path, flags, Mode::from_raw_mode(mode as _));
    opened.map(|descriptor| descriptor.into_raw_fd() as u32)
}

/// Makes a call that writes to what perhaps nobody reads, so that it raises no SIGPIPE: that signal goes to the thread
/// which writes, is held back there meanwhile, and taken back if it came.
pub(in crate::backend) fn without_signal(call: impl FnOnce() -> isize) -> Result<u32, Errno> {
    let mut pipe = MaybeUninit::<libc::sigset_t>::zeroed();
    let mut before = MaybeUninit::<libc::sigset_t>::zeroed();
    let mut pending = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the sets are memory of their type, zeroed at first, and written before they are read; the mask that is set
    // at the end is the one that was.
    unsafe {
        libc::sigemptyset(pipe.as_mut_ptr());
        libc::sigaddset(pipe.as_mut_ptr(), libc::SIGPIPE);
        libc::sigpending(pending.as_mut_ptr());
        let was_pending = libc::sigismember(pending.as_ptr(), libc::SIGPIPE) == 1;
        libc::pthread_sigmask(libc::SIG_BLOCK, pipe.as_ptr(), before.as_mut_ptr());
        let answer = answer(call());
        libc::sigpending(pending.as_mut_ptr());
        if !was_pending
            && answer == Err(Errno::PIPE)
            && libc::sigismember(pending.as_ptr(), libc::SIGPIPE) == 1
        {
            let mut taken = 0;
            libc::sigwait(pipe.as_ptr(), &mut taken);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), null_mut());
        answer
    }
}
