//! Files on Unix: names, flags and C layouts that shots point at, and the calls for what a kernel has no asynchronous
//! operation for.

use std::cell::UnsafeCell;
use std::ffi::{CString, OsStr};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{self, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::{RawDescriptor, system};
use crate::backend::system::Stat;
use crate::op::{DirEntry, FileType, Half, Kind, Metadata, OpenHow};
use crate::{Error, ErrorKind};

/// What relative paths begin at if no directory is named.
pub(crate) const CURRENT_DIRECTORY: RawDescriptor = libc::AT_FDCWD;

/// A path as the system takes it.
pub(crate) type SystemPath = CString;

/// `None` if the system can't be given it: it has a zero byte.
pub(crate) fn system_path(path: &Path) -> Option<SystemPath> {
    CString::new(path.as_os_str().as_bytes()).ok()
}

/// The path again.
pub(crate) fn path_of(path: &SystemPath) -> &Path {
    Path::new(OsStr::from_bytes(path.as_bytes()))
}

/// `open`'s flags; `None` if what is asked for contradicts itself.
pub(crate) fn open_flags(how: &OpenHow) -> Option<i32> {
    let writes = how.write || how.append;
    let access = match (how.read || !writes, writes) {
        (true, true) => libc::O_RDWR,
        (false, true) => libc::O_WRONLY,
        (_, false) => libc::O_RDONLY,
    };
    let contradiction = !writes && (how.truncate || how.create || how.create_new);
    if contradiction || (how.append && how.truncate && !how.create_new) {
        return None;
    }
    let mut flags = access | libc::O_CLOEXEC | (how.custom_flags & !libc::O_ACCMODE);
    for (asked, flag) in [
        (how.append, libc::O_APPEND),
        (how.create, libc::O_CREAT),
        (how.create_new, libc::O_CREAT | libc::O_EXCL),
        (how.truncate && !how.create_new, libc::O_TRUNC),
        (how.directory, libc::O_DIRECTORY),
        (how.nofollow, libc::O_NOFOLLOW),
    ] {
        flags |= if asked { flag } else { 0 };
    }
    Some(flags)
}

/// The flags of open(2) for an end of a FIFO.
pub(crate) fn fifo_flags(end: Half) -> i32 {
    let access = match end {
        Half::Read => libc::O_RDONLY,
        Half::Write => libc::O_WRONLY,
        Half::Both => libc::O_RDWR,
    };
    access | libc::O_CLOEXEC | libc::O_NOCTTY
}

/// Where the system writes what it knows of a file: `struct statx` or `struct stat`.
pub(crate) struct StatBlock(UnsafeCell<MaybeUninit<Stat>>);

impl StatBlock {
    pub(crate) fn empty() -> StatBlock {
        StatBlock(UnsafeCell::new(MaybeUninit::zeroed()))
    }

    /// For the system to write to.
    pub(crate) fn as_ptr(&self) -> *mut Stat {
        self.0.get().cast()
    }

    /// What the system wrote; all zeros if it wrote nothing.
    ///
    /// # Safety
    /// The system isn't writing.
    pub(crate) unsafe fn metadata(&self) -> Metadata {
        // SAFETY: zeroed at first, which is a valid value, then written by the system; the caller vouches that it is not
        // being written.
        let stat = unsafe { (*self.0.get()).assume_init() };
        system::metadata(&stat)
    }
}

pub(in crate::backend) fn file_type(file_type: fs::FileType) -> FileType {
    match file_type {
        fs::FileType::RegularFile => FileType::File,
        fs::FileType::Directory => FileType::Directory,
        fs::FileType::Symlink => FileType::Symlink,
        fs::FileType::Fifo => FileType::Fifo,
        fs::FileType::Socket => FileType::Socket,
        fs::FileType::BlockDevice => FileType::BlockDevice,
        fs::FileType::CharacterDevice => FileType::CharacterDevice,
        _ => FileType::Unknown,
    }
}

/// A time that doesn't fit is the epoch: a file system may say anything.
pub(in crate::backend) fn time_of(seconds: i64, nanoseconds: i64) -> SystemTime {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let time = match seconds {
        0.. => SystemTime::UNIX_EPOCH.checked_add(whole),
        ..0 => SystemTime::UNIX_EPOCH.checked_sub(whole),
    };
    let rest = Duration::from_nanos(nanoseconds.unsigned_abs());
    time.and_then(|time| time.checked_add(rest)).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Where a relative path begins.
pub(super) fn begin(directory: &Option<OwnedFd>) -> BorrowedFd<'_> {
    directory.as_ref().map_or(fs::CWD, AsFd::as_fd)
}

/// All names in a directory.
pub(crate) fn read_dir(at: Option<OwnedFd>, path: &Path) -> Result<Vec<DirEntry>, Error> {
    let error = |errno: Errno| Error::from_os(errno.raw_os_error(), Kind::ReadDir);
    let path = system_path(path).ok_or(Error::new(ErrorKind::InvalidInput, Kind::ReadDir))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = fs::openat(begin(&at), path, flags, Mode::empty()).map_err(error)?;
    let mut entries = Vec::new();
    for entry in fs::Dir::new(directory).map_err(error)? {
        let entry = entry.map_err(error)?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            entries.push(DirEntry {
                name: OsStr::from_bytes(name).to_owned(),
                file_type: file_type(entry.file_type()),
                inode: entry.ino(),
            });
        }
    }
    Ok(entries)
}

/// What a symbolic link holds.
pub(crate) fn read_link(at: Option<OwnedFd>, path: &Path) -> Result<PathBuf, Error> {
    let path = system_path(path).ok_or(Error::new(ErrorKind::InvalidInput, Kind::ReadLink))?;
    let target = fs::readlinkat(begin(&at), path, Vec::new());
    let target = target.map_err(|errno| Error::from_os(errno.raw_os_error(), Kind::ReadLink))?;
    Ok(OsStr::from_bytes(target.as_bytes()).into())
}

/// flock(2), without waiting.
pub(crate) fn try_lock(file: &OwnedFd, shared: bool) -> Result<(), i32> {
    let operation =
        if shared { FlockOperation::NonBlockingLockShared } else { FlockOperation::NonBlockingLockExclusive };
    fs::flock(file, operation).map_err(Errno::raw_os_error)
}

/// Gives the lock of an open file back.
pub(crate) fn unlock(file: &OwnedFd) -> Result<(), i32> {
    fs::flock(file, FlockOperation::Unlock).map_err(Errno::raw_os_error)
}
