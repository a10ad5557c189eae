//! Files on Windows: names, what is known of them, and the calls that may wait for a disk, on the thread pool. std knows long
//! paths, UNC names and names that are no UTF-16; what std has no function for is asked of the system.

use std::cell::UnsafeCell;
use std::fs;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, IntoRawHandle};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use windows_sys::Win32::Foundation as win32;
use windows_sys::Win32::Storage::FileSystem as wfs;

use super::descriptor::borrow_handle;
use super::{OwnedDescriptor, RawDescriptor, Sort, handles};
use crate::engine::paths::{Call, PathCall};
use crate::op::{DirEntry, FileType, Kind, Metadata, OpenHow};
use crate::{Error, ErrorKind};

/// What relative paths begin at if no directory is named: no handle has this number.
pub(crate) const CURRENT_DIRECTORY: RawDescriptor = u64::MAX;

/// A path as the system takes it.
pub(crate) type SystemPath = PathBuf;

/// `None` if the system can't be given it: it has a zero in it.
pub(crate) fn system_path(path: &Path) -> Option<SystemPath> {
    (!path.as_os_str().encode_wide().any(|unit| unit == 0)).then(|| path.to_owned())
}

/// The path again.
pub(crate) fn path_of(path: &SystemPath) -> &Path {
    path
}

/// The flags for the system; `None` if what is asked for contradicts itself.
pub(crate) fn open_flags(how: &OpenHow) -> Option<u32> {
    let writes = how.write || how.append;
    let contradiction = !writes && (how.truncate || how.create || how.create_new);
    if contradiction || (how.append && how.truncate && !how.create_new) {
        return None;
    }
    // Without the second one directories couldn't be opened.
    let mut flags = wfs::FILE_FLAG_OVERLAPPED | wfs::FILE_FLAG_BACKUP_SEMANTICS | how.custom_flags as u32;
    if how.nofollow {
        flags |= wfs::FILE_FLAG_OPEN_REPARSE_POINT;
    }
    Some(flags)
}

/// Why a call failed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The system's number.
    Os(i32),
    /// What other systems have a number for.
    Kind(ErrorKind),
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        match error.raw_os_error() {
            Some(os) => Failure::Os(os),
            None if error.kind() == std::io::ErrorKind::Unsupported => Failure::Kind(ErrorKind::Unsupported),
            None => Failure::Kind(ErrorKind::InvalidInput),
        }
    }
}

impl Failure {
    pub(crate) fn error(self, kind: Kind) -> Error {
        match self {
            Failure::Os(os) => Error::from_os(os, kind),
            Failure::Kind(error) => Error::new(error, kind),
        }
    }

    fn of(code: u32) -> Failure {
        Failure::Os(code as i32)
    }
}

/// Where what is known of a file goes.
pub(crate) struct StatBlock(UnsafeCell<Option<Metadata>>);

impl StatBlock {
    pub(crate) fn empty() -> StatBlock {
        StatBlock(UnsafeCell::new(None))
    }

    /// Writes it.
    ///
    /// # Safety
    /// Nobody else reads or writes it.
    unsafe fn set(&self, metadata: Metadata) {
        // SAFETY: the caller vouches for it.
        unsafe { *self.0.get() = Some(metadata) };
    }

    /// What is known; that nothing is, if nobody has written it.
    ///
    /// # Safety
    /// Nobody is writing it.
    pub(crate) unsafe fn metadata(&self) -> Metadata {
        // SAFETY: the caller vouches for it.
        unsafe { *self.0.get() }.unwrap_or_else(handles::unknown)
    }
}

/// Where a path is that begins at a directory, be that renamed meanwhile or not.
fn resolve(from: RawDescriptor, path: &Path) -> Result<PathBuf, Failure> {
    if from == CURRENT_DIRECTORY || path.is_absolute() {
        return Ok(path.to_owned());
    }
    Ok(handles::path_of(borrow_handle(&from))?.join(path))
}

pub(super) fn resolve_at(at: &Option<OwnedDescriptor>, path: &Path) -> Result<PathBuf, Failure> {
    resolve(at.as_ref().map_or(CURRENT_DIRECTORY, OwnedDescriptor::raw), path)
}

/// A path with a zero at its end, absolute and so that its length doesn't matter.
pub(super) fn wide(path: &Path) -> Result<Vec<u16>, Failure> {
    let absolute = std::path::absolute(path)?;
    let units: Vec<u16> = absolute.as_os_str().encode_wide().collect();
    let [backslash, question] = [u16::from(b'\\'), u16::from(b'?')];
    let prefix: &[u16] = if units.starts_with(&[backslash, backslash, question]) || units.len() < 240 {
        &[]
    } else if units.starts_with(&[backslash, backslash]) {
        &[backslash, backslash, question, backslash, u16::from(b'U'), u16::from(b'N'), u16::from(b'C')]
    } else {
        &[backslash, backslash, question, backslash]
    };
    // `\\server\share` becomes `\\?\UNC\server\share`.
    let rest = if prefix.len() == 7 { &units[1..] } else { &units };
    Ok([prefix, rest, &[0]].concat())
}

/// A call on a path; the answer is 0 or a handle.
///
/// # Safety
/// The call is with the backend: nobody else looks at its `StatBlock`.
pub(in crate::backend) unsafe fn call(from: RawDescriptor, call: &PathCall) -> Result<u32, Failure> {
    // SAFETY: as here.
    let answer = unsafe { make(from, call) };
    if answer != Err(Failure::of(win32::ERROR_PATH_NOT_FOUND)) {
        return answer;
    }
    let begins = [(from, &call.path), (call.second_directory.get(), &call.second_path)];
    let through_a_file = begins
        .into_iter()
        .any(|(from, path)| resolve(from, path).is_ok_and(|path| leads_through_a_file(&path)));
    if through_a_file { Err(Failure::of(win32::ERROR_DIRECTORY)) } else { answer }
}

/// Whether what stands in a path where only directories can is none: to Windows that is just a path which isn't there.
pub(super) fn leads_through_a_file(path: &Path) -> bool {
    // The nearest that there is.
    let nearest = path.ancestors().skip(1).find_map(|above| fs::metadata(above).ok());
    nearest.is_some_and(|found| !found.is_dir())
}

/// # Safety
/// As `call`.
unsafe fn make(from: RawDescriptor, call: &PathCall) -> Result<u32, Failure> {
    if let Call::Stat { itself: true, .. } | Call::Seek(_) = call.call {
        let metadata = handles::metadata(borrow_handle(&from))?;
        // SAFETY: the caller vouches for it.
        unsafe { call.stat().set(metadata) };
        return Ok(0);
    }
    if let Call::Symlink = call.call {
        return symlink(&call.path, &resolve(call.second_directory.get(), &call.second_path)?);
    }
    let path = resolve(from, &call.path)?;
    match call.call {
        Call::Open(how) => return open(&path, &how),
        Call::OpenFifo(end) => return super::pipe::open(&path, end),
        Call::Stat { follow, .. } => {
            let metadata = stat(&path, follow)?;
            // SAFETY: the caller vouches for it.
            unsafe { call.stat().set(metadata) };
        }
        Call::Rename { replace } => {
            rename(&path, &resolve(call.second_directory.get(), &call.second_path)?, replace)?;
        }
        Call::Unlink => fs::remove_file(&path).map_err(|error| of_directory(error, &path))?,
        Call::Rmdir => fs::remove_dir(&path)?,
        // Permissions come from the directory around it.
        Call::Mkdir { mode: _ } => fs::create_dir(&path)?,
        Call::Link { follow } => {
            let path = if follow { fs::canonicalize(&path)? } else { path };
            let second = resolve(call.second_directory.get(), &call.second_path)?;
            fs::hard_link(&path, second).map_err(|error| of_directory(error, &path))?;
        }
        Call::AcceptPipe(_) => unreachable!("that isn't done on the pool"),
        Call::Symlink | Call::Seek(_) => unreachable!("dealt with before"),
    }
    Ok(0)
}

/// What Windows refuses of a directory other systems call by that name.
fn of_directory(error: std::io::Error, path: &Path) -> Failure {
    let denied = error.raw_os_error() == Some(win32::ERROR_ACCESS_DENIED as i32);
    if denied && fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
        return Failure::Kind(ErrorKind::IsADirectory);
    }
    error.into()
}

/// Opens for overlapped I/O. Others may read, write, rename and remove the file meanwhile, as on other systems.
fn open(path: &Path, how: &OpenHow) -> Result<u32, Failure> {
    let flags = open_flags(how).expect("checked when it was described");
    let read = how.read || !(how.write || how.append);
    let writes = how.write || how.append;
    let mut options = fs::OpenOptions::new();
    options.read(read).write(how.write && !how.append).append(how.append).create(how.create);
    options.create_new(how.create_new).truncate(how.truncate && !how.create_new).custom_flags(flags);
    if (how.create || how.create_new) && how.mode & 0o222 == 0 {
        options.attributes(wfs::FILE_ATTRIBUTE_READONLY);
    }
    let file = match options.open(path) {
        Ok(file) => file,
        Err(error) if writes => {
            // Asked for as a new file, a directory is one that exists.
            if how.create_new {
                return Err(error.into());
            }
            return Err(of_directory(error, path));
        }
        Err(error) => return Err(error.into()),
    };
    let attributes = handles::attributes(file.as_handle())?;
    let is_directory = attributes & wfs::FILE_ATTRIBUTE_DIRECTORY != 0;
    if how.nofollow && attributes & wfs::FILE_ATTRIBUTE_REPARSE_POINT != 0 {
        return Err(Failure::of(win32::ERROR_CANT_RESOLVE_FILENAME));
    }
    if how.directory && !is_directory {
        return Err(Failure::of(win32::ERROR_DIRECTORY));
    }
    if writes && is_directory {
        return Err(Failure::Kind(ErrorKind::IsADirectory));
    }
    // A handle has 32 bits that mean something.
    Ok(file.into_raw_handle() as usize as u32)
}

/// Opens what is at a path to look at it.
pub(super) fn look(path: &Path, follow: bool) -> std::io::Result<fs::File> {
    let flags = if follow { 0 } else { wfs::FILE_FLAG_OPEN_REPARSE_POINT };
    fs::OpenOptions::new()
        .access_mode(wfs::FILE_READ_ATTRIBUTES)
        .custom_flags(wfs::FILE_FLAG_BACKUP_SEMANTICS | flags)
        .open(path)
}

fn stat(path: &Path, follow: bool) -> Result<Metadata, Failure> {
    handles::metadata(look(path, follow)?.as_handle())
}

pub(super) fn rename(from: &Path, to: &Path, replace: bool) -> Result<(), Failure> {
    if replace {
        return fs::rename(from, to).map_err(|error| of_directory(error, to));
    }
    let (from, to) = (wide(from)?, wide(to)?);
    // SAFETY: both end with a zero.
    let done = unsafe { wfs::MoveFileExW(from.as_ptr(), to.as_ptr(), 0) };
    if done != 0 { Ok(()) } else { Err(std::io::Error::last_os_error().into()) }
}

/// The system wants to know whether what the link holds is a directory: it is none where nothing is.
fn symlink(target: &Path, link: &Path) -> Result<u32, Failure> {
    let base = link.parent().unwrap_or(Path::new(""));
    let made = if base.join(target).is_dir() {
        std::os::windows::fs::symlink_dir(target, link)
    } else {
        std::os::windows::fs::symlink_file(target, link)
    };
    made?;
    Ok(0)
}

/// All names in a directory.
pub(crate) fn read_dir(at: Option<OwnedDescriptor>, path: &Path) -> Result<Vec<DirEntry>, Error> {
    let error = |failure: Failure| failure.error(Kind::ReadDir);
    let path = system_path(path).ok_or(Error::new(ErrorKind::InvalidInput, Kind::ReadDir))?;
    let path = resolve_at(&at, &path).map_err(error)?;
    let entries = fs::read_dir(&path).map_err(|refused| {
        // What is no directory Windows looks for a name in.
        let file = fs::metadata(&path).is_ok_and(|metadata| !metadata.is_dir());
        error(if file { Failure::of(win32::ERROR_DIRECTORY) } else { refused.into() })
    })?;
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|refused| error(refused.into()))?;
        let sort = entry.file_type().map_err(|refused| error(refused.into()))?;
        // The enumeration doesn't tell it.
        let inode = look(&entry.path(), false).and_then(|file| {
            handles::index(file.as_handle())
                .map_err(|_| std::io::Error::from(std::io::ErrorKind::Unsupported))
        });
        all.push(DirEntry { name: entry.file_name(), file_type: file_type(sort), inode: inode.unwrap_or(0) });
    }
    Ok(all)
}

fn file_type(sort: fs::FileType) -> FileType {
    if sort.is_symlink() {
        FileType::Symlink
    } else if sort.is_dir() {
        FileType::Directory
    } else if sort.is_file() {
        FileType::File
    } else {
        FileType::Unknown
    }
}

/// What a symbolic link holds.
pub(crate) fn read_link(at: Option<OwnedDescriptor>, path: &Path) -> Result<PathBuf, Error> {
    let error = |failure: Failure| failure.error(Kind::ReadLink);
    let path = system_path(path).ok_or(Error::new(ErrorKind::InvalidInput, Kind::ReadLink))?;
    let path = resolve_at(&at, &path).map_err(error)?;
    fs::read_link(path).map_err(|refused| error(refused.into()))
}

fn handle_of(file: &OwnedDescriptor) -> Result<BorrowedHandle<'_>, i32> {
    match file.sort() {
        Sort::Handle => {
            // SAFETY: `file` holds it open as long as it is borrowed.
            Ok(unsafe { BorrowedHandle::borrow_raw(super::descriptor::as_handle(file.raw())) })
        }
        Sort::Socket => Err(win32::ERROR_INVALID_HANDLE as i32),
    }
}

/// Locks without waiting. A lock that this open file has is given up first: the system would take it for another's.
pub(crate) fn try_lock(file: &OwnedDescriptor, shared: bool) -> Result<(), i32> {
    unlock(file)?;
    let exclusive = if shared { 0 } else { wfs::LOCKFILE_EXCLUSIVE_LOCK };
    let locked = handles::wait_for(handle_of(file)?, 0, |handle, overlapped| {
        let flags = exclusive | wfs::LOCKFILE_FAIL_IMMEDIATELY;
        // SAFETY: the handle is open, and the caller waits for the OVERLAPPED.
        unsafe { wfs::LockFileEx(handle, flags, 0, u32::MAX, u32::MAX, overlapped) }
    });
    match locked {
        Err(Failure::Os(os)) if os as u32 == win32::ERROR_LOCK_VIOLATION => {
            Err(windows_sys::Win32::Networking::WinSock::WSAEWOULDBLOCK)
        }
        Err(Failure::Os(os)) => Err(os),
        Err(Failure::Kind(_)) => Err(win32::ERROR_NOT_SUPPORTED as i32),
        Ok(_) => Ok(()),
    }
}

/// Gives the lock of an open file back, if it has one.
pub(crate) fn unlock(file: &OwnedDescriptor) -> Result<(), i32> {
    let handle = handle_of(file)?.as_raw_handle();
    // SAFETY: the handle is open, and the OVERLAPPED, which only says where the lock begins, is zeroed.
    let done = unsafe {
        let mut overlapped = std::mem::zeroed();
        wfs::UnlockFileEx(handle, 0, u32::MAX, u32::MAX, &raw mut overlapped)
    };
    match std::io::Error::last_os_error().raw_os_error() {
        // Wine says the second of what isn't locked.
        Some(os)
            if done == 0 && !matches!(os as u32, win32::ERROR_NOT_LOCKED | win32::ERROR_LOCK_VIOLATION) =>
        {
            Err(os)
        }
        _ => Ok(()),
    }
}

/// A time of the system's, in units of 100 ns since 1601.
pub(super) fn time_of(ticks: u64) -> SystemTime {
    const EPOCH: u64 = 116_444_736_000_000_000;
    let nanos = |ticks: u64| std::time::Duration::new(ticks / 10_000_000, (ticks % 10_000_000) as u32 * 100);
    let time = match ticks.checked_sub(EPOCH) {
        Some(after) => SystemTime::UNIX_EPOCH.checked_add(nanos(after)),
        None => SystemTime::UNIX_EPOCH.checked_sub(nanos(EPOCH - ticks)),
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::windows::ffi::OsStringExt;

    use super::*;

    fn told(path: &Path) -> OsString {
        let units = wide(path).unwrap();
        OsString::from_wide(units.strip_suffix(&[0]).expect("a zero at its end"))
    }

    /// "Long paths and UNC": a path's length doesn't matter, wherever it is.
    #[test]
    fn long_paths_are_told_so_that_their_length_does_not_matter() {
        let long = ["x"; 150].join("\\");
        for (given, expected) in [
            (r"C:\short".to_owned(), r"C:\short".to_owned()),
            (r"\\server\share\short".to_owned(), r"\\server\share\short".to_owned()),
            (format!(r"C:\{long}"), format!(r"\\?\C:\{long}")),
            (format!(r"\\server\share\{long}"), format!(r"\\?\UNC\server\share\{long}")),
            (format!(r"\\?\C:\{long}"), format!(r"\\?\C:\{long}")),
        ] {
            assert_eq!(told(Path::new(&given)), *expected, "{given}");
        }
    }

    /// Names are UTF-16 that need not be whole: half a pair of surrogates gets through as it is; a zero doesn't.
    #[test]
    fn names_that_are_no_text_get_through() {
        let half = OsString::from_wide(&[0x43, 0x3a, 0x5c, 0x61, 0xd800, 0x62]);
        assert_eq!(told(Path::new(&half)), half);
        assert!(system_path(Path::new(&half)).is_some());
        assert!(system_path(Path::new("a\0b")).is_none());
    }
}
