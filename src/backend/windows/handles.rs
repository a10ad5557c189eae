//! What is asked of an open file, on the thread pool.

use std::ffi::OsString;
use std::fs::File;
use std::mem::ManuallyDrop;
use std::os::windows::ffi::OsStringExt;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle};
use std::path::PathBuf;
use std::ptr::{null, null_mut};

use windows_sys::Win32::Foundation as win32;
use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::Storage::FileSystem as wfs;
use windows_sys::Win32::System::IO::{DeviceIoControl, GetOverlappedResult, OVERLAPPED};
use windows_sys::Win32::System::Ioctl::{FILE_ZERO_DATA_INFORMATION, FSCTL_SET_SPARSE, FSCTL_SET_ZERO_DATA};
use windows_sys::Win32::System::Threading::CreateEventW;

use super::descriptor::{as_handle, borrow_handle};
use super::files::{Failure, time_of};
use super::{OwnedDescriptor, RawDescriptor, Sort};
use crate::ErrorKind;
use crate::engine::op::Space;
use crate::op::{FileType, Metadata};

pub(super) fn last_error() -> Failure {
    std::io::Error::last_os_error().into()
}

/// What is known of what nobody knows anything of.
pub(super) fn unknown() -> Metadata {
    let time = std::time::SystemTime::UNIX_EPOCH;
    Metadata {
        file_type: FileType::Unknown,
        size: 0,
        allocated: 0,
        accessed: time,
        modified: time,
        changed: time,
        created: None,
        mode: 0,
        links: 1,
        inode: 0,
        device: 0,
        user: 0,
        group: 0,
    }
}

fn by_handle(file: BorrowedHandle<'_>) -> Result<wfs::BY_HANDLE_FILE_INFORMATION, Failure> {
    // SAFETY: every field is a number.
    let mut information: wfs::BY_HANDLE_FILE_INFORMATION = unsafe { std::mem::zeroed() };
    // SAFETY: there is room for the answer.
    let done = unsafe { wfs::GetFileInformationByHandle(file.as_raw_handle(), &raw mut information) };
    if done != 0 { Ok(information) } else { Err(last_error()) }
}

fn information<T: Copy>(
    file: BorrowedHandle<'_>,
    class: wfs::FILE_INFO_BY_HANDLE_CLASS,
) -> Result<T, Failure> {
    let mut block = std::mem::MaybeUninit::<T>::zeroed();
    let length = size_of::<T>() as u32;
    // SAFETY: there is room for `length` bytes.
    let done = unsafe {
        wfs::GetFileInformationByHandleEx(file.as_raw_handle(), class, block.as_mut_ptr().cast(), length)
    };
    // SAFETY: zeroed, which is a value of each of these blocks of numbers, and then written by the system.
    if done != 0 { Ok(unsafe { block.assume_init() }) } else { Err(last_error()) }
}

fn long(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

pub(super) fn attributes(file: BorrowedHandle<'_>) -> Result<u32, Failure> {
    // SAFETY: the handle is open.
    let on_disk = unsafe { wfs::GetFileType(file.as_raw_handle()) } == wfs::FILE_TYPE_DISK;
    // Devices such as NUL have none.
    if on_disk { by_handle(file).map(|found| found.dwFileAttributes) } else { Ok(0) }
}

/// The number of a file in its file system.
pub(super) fn index(file: BorrowedHandle<'_>) -> Result<u64, Failure> {
    by_handle(file).map(|found| long(found.nFileIndexHigh, found.nFileIndexLow))
}

/// Which file it is: two handles are of the same one if it is the same.
pub(super) fn identity(file: BorrowedHandle<'_>) -> Result<(u32, u64), Failure> {
    by_handle(file).map(|found| (found.dwVolumeSerialNumber, long(found.nFileIndexHigh, found.nFileIndexLow)))
}

pub(in crate::backend) fn metadata(file: BorrowedHandle<'_>) -> Result<Metadata, Failure> {
    // SAFETY: the handle is open.
    match unsafe { wfs::GetFileType(file.as_raw_handle()) } {
        wfs::FILE_TYPE_CHAR => {
            return Ok(Metadata { file_type: FileType::CharacterDevice, mode: 0o666, ..unknown() });
        }
        wfs::FILE_TYPE_PIPE => return Ok(Metadata { file_type: FileType::Fifo, mode: 0o666, ..unknown() }),
        _ => {}
    }
    let found = by_handle(file)?;
    let time = |time: win32::FILETIME| time_of(long(time.dwHighDateTime, time.dwLowDateTime));
    let is = |attribute: u32| found.dwFileAttributes & attribute != 0;
    let tag: Result<wfs::FILE_ATTRIBUTE_TAG_INFO, _> = information(file, wfs::FileAttributeTagInfo);
    // Of symbolic links and of mount points, as std has it.
    let link = is(wfs::FILE_ATTRIBUTE_REPARSE_POINT)
        && tag.is_ok_and(|tag| tag.ReparseTag & 0x2000_0000 != 0 && tag.ReparseTag != 0);
    let file_type = if link {
        FileType::Symlink
    } else if is(wfs::FILE_ATTRIBUTE_DIRECTORY) {
        FileType::Directory
    } else {
        FileType::File
    };
    let writable = if is(wfs::FILE_ATTRIBUTE_READONLY) { 0 } else { 0o222 };
    let executable = if file_type == FileType::Directory { 0o111 } else { 0 };
    let modified = time(found.ftLastWriteTime);
    let basic: Result<wfs::FILE_BASIC_INFO, _> = information(file, wfs::FileBasicInfo);
    let standard: Result<wfs::FILE_STANDARD_INFO, _> = information(file, wfs::FileStandardInfo);
    let size = long(found.nFileSizeHigh, found.nFileSizeLow);
    Ok(Metadata {
        file_type,
        size,
        allocated: standard.map_or(size, |standard| standard.AllocationSize as u64),
        accessed: time(found.ftLastAccessTime),
        modified,
        changed: basic.map_or(modified, |basic| time_of(basic.ChangeTime as u64)),
        created: Some(time(found.ftCreationTime)),
        mode: 0o444 | writable | executable,
        links: found.nNumberOfLinks.into(),
        inode: long(found.nFileIndexHigh, found.nFileIndexLow),
        device: found.dwVolumeSerialNumber.into(),
        user: 0,
        group: 0,
    })
}

/// Where an open file or directory is.
pub(super) fn path_of(file: BorrowedHandle<'_>) -> Result<PathBuf, Failure> {
    let mut units = vec![0_u16; 512];
    loop {
        // SAFETY: there is room for so many units.
        let length = unsafe {
            wfs::GetFinalPathNameByHandleW(
                file.as_raw_handle(),
                units.as_mut_ptr(),
                units.len() as u32,
                wfs::FILE_NAME_NORMALIZED,
            )
        } as usize;
        match length {
            0 => return Err(last_error()),
            length if length < units.len() => {
                return Ok(PathBuf::from(OsString::from_wide(&units[..length])));
            }
            longer => units.resize(longer + 1, 0),
        }
    }
}

/// Makes a call that may be answered later, and waits for it. The packet that the loop's port would get for it is kept back: the
/// lowest bit of the event says so (GetQueuedCompletionStatus).
pub(in crate::backend) fn wait_for(
    file: BorrowedHandle<'_>,
    offset: u64,
    call: impl FnOnce(HANDLE, *mut OVERLAPPED) -> i32,
) -> Result<u32, Failure> {
    // SAFETY: an event without a name, for this call alone.
    let event = unsafe { CreateEventW(null(), 1, 0, null()) };
    if event.is_null() {
        return Err(last_error());
    }
    let event = OwnedDescriptor::of(event as usize as u64, Sort::Handle);
    // SAFETY: zeros are a value of it.
    let mut overlapped: OVERLAPPED = unsafe { std::mem::zeroed() };
    overlapped.hEvent = as_handle(event.raw() | 1);
    overlapped.Anonymous.Anonymous.Offset = offset as u32;
    overlapped.Anonymous.Anonymous.OffsetHigh = (offset >> 32) as u32;
    let handle = file.as_raw_handle();
    if call(handle, &raw mut overlapped) == 0 {
        match last_error() {
            Failure::Os(os) if os as u32 == win32::ERROR_IO_PENDING => {}
            failed => return Err(failed),
        }
    }
    let mut bytes = 0;
    // SAFETY: the OVERLAPPED is the one that was given to the system, and stays until this returns.
    let done = unsafe { GetOverlappedResult(handle, &raw const overlapped, &raw mut bytes, 1) };
    if done != 0 { Ok(bytes) } else { Err(last_error()) }
}

/// Which way bytes go.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(in crate::backend) enum Direction {
    Read,
    Write,
}

/// ReadFile or WriteFile.
///
/// # Safety
/// Memory and OVERLAPPED are there, and nobody else uses them, until the system has answered.
pub(in crate::backend) unsafe fn begin_transfer(
    direction: Direction,
    handle: HANDLE,
    memory: *mut u8,
    length: u32,
    moved: *mut u32,
    overlapped: *mut OVERLAPPED,
) -> i32 {
    // SAFETY: the caller vouches for it.
    unsafe {
        match direction {
            Direction::Read => wfs::ReadFile(handle, memory, length, moved, overlapped),
            Direction::Write => wfs::WriteFile(handle, memory, length, moved, overlapped),
        }
    }
}

/// Moves bytes at a place, or where the file stands, and waits for it; a read answers 0 at the end.
///
/// # Safety
/// The memory is there, and nobody else uses it; what is written is only read.
pub(in crate::backend) unsafe fn transfer(
    direction: Direction,
    descriptor: RawDescriptor,
    memory: *mut u8,
    length: u32,
    offset: Option<u64>,
) -> Result<u32, Failure> {
    let file = borrow_handle(&descriptor);
    let answer = match offset {
        Some(offset) => wait_for(file, offset, |handle, overlapped| {
            // SAFETY: the caller vouches for the memory, and this waits for the answer.
            unsafe { begin_transfer(direction, handle, memory, length, null_mut(), overlapped) }
        }),
        None => {
            let (mut bytes, handle) = (0, file.as_raw_handle());
            // SAFETY: the caller vouches for the memory.
            let done =
                unsafe { begin_transfer(direction, handle, memory, length, &raw mut bytes, null_mut()) };
            if done != 0 { Ok(bytes) } else { Err(last_error()) }
        }
    };
    match answer {
        Err(Failure::Os(os)) if direction == Direction::Read && is_end(os) => Ok(0),
        answer => answer.map_err(|failure| of_failed_transfer(descriptor, failure)),
    }
}

/// What a read answers where there is nothing more: the end of a file, or nobody who could write to the pipe.
pub(in crate::backend) fn is_end(os: i32) -> bool {
    matches!(os as u32, win32::ERROR_HANDLE_EOF | win32::ERROR_BROKEN_PIPE)
}

/// Why a read or a write failed: what wasn't opened for it is of the wrong kind, and a directory one, as on other systems.
pub(in crate::backend) fn of_transfer(descriptor: RawDescriptor, os: i32) -> Failure {
    let is_directory = || {
        let found = attributes(borrow_handle(&descriptor));
        found.is_ok_and(|attributes| attributes & wfs::FILE_ATTRIBUTE_DIRECTORY != 0)
    };
    match os as u32 {
        win32::ERROR_ACCESS_DENIED => Failure::Kind(ErrorKind::BadDescriptor),
        win32::ERROR_INVALID_FUNCTION | win32::ERROR_INVALID_PARAMETER if is_directory() => {
            Failure::Kind(ErrorKind::IsADirectory)
        }
        _ => Failure::Os(os),
    }
}

fn of_failed_transfer(descriptor: RawDescriptor, failure: Failure) -> Failure {
    if let Failure::Os(os) = failure { of_transfer(descriptor, os) } else { failure }
}

/// A `File` of a handle that somebody else owns, for one call.
fn file_of(file: BorrowedHandle<'_>) -> ManuallyDrop<File> {
    // SAFETY: it is not dropped, and used only while the handle is borrowed.
    ManuallyDrop::new(unsafe { File::from_raw_handle(file.as_raw_handle()) })
}

/// Brings to the disk what was written. A directory has nothing that the system doesn't bring there by itself.
pub(in crate::backend) fn sync(descriptor: RawDescriptor) -> Result<u32, Failure> {
    let file = borrow_handle(&descriptor);
    if attributes(file)? & wfs::FILE_ATTRIBUTE_DIRECTORY != 0 {
        return Ok(0);
    }
    file_of(file).sync_all()?;
    Ok(0)
}

/// Whether it was opened for writing.
fn is_writable(file: BorrowedHandle<'_>) -> bool {
    use windows_sys::Wdk::Foundation::{NtQueryObject, ObjectBasicInformation};
    // PUBLIC_OBJECT_BASIC_INFORMATION: attributes, what is allowed, and twelve more numbers.
    let mut information = [0_u32; 14];
    // SAFETY: there is room for the answer.
    let answer = unsafe {
        NtQueryObject(
            file.as_raw_handle(),
            ObjectBasicInformation,
            information.as_mut_ptr().cast(),
            size_of_val(&information) as u32,
            null_mut(),
        )
    };
    answer != 0 || information[1] & (wfs::FILE_WRITE_DATA | wfs::FILE_APPEND_DATA) != 0
}

/// The error of what wasn't opened for writing is that of other systems, which Wine wouldn't even see.
pub(in crate::backend) fn truncate(descriptor: RawDescriptor, length: u64) -> Result<u32, Failure> {
    if !is_writable(borrow_handle(&descriptor)) {
        return Err(Failure::Kind(ErrorKind::InvalidInput));
    }
    file_of(borrow_handle(&descriptor)).set_len(length)?;
    Ok(0)
}

pub(in crate::backend) fn allocate(
    descriptor: RawDescriptor,
    offset: u64,
    length: u64,
    how: Space,
) -> Result<u32, Failure> {
    let file = borrow_handle(&descriptor);
    if !is_writable(file) {
        return Err(Failure::Kind(ErrorKind::BadDescriptor));
    }
    let Some(end) = offset.checked_add(length).filter(|&end| length > 0 && end <= i64::MAX as u64) else {
        return Err(Failure::Os(win32::ERROR_INVALID_PARAMETER as i32));
    };
    match how {
        Space::Grow => {
            let size = by_handle(file).map(|found| long(found.nFileSizeHigh, found.nFileSizeLow))?;
            if size < end {
                file_of(file).set_len(end)?;
            }
        }
        Space::Keep => {
            let standard: wfs::FILE_STANDARD_INFO = information(file, wfs::FileStandardInfo)?;
            if (standard.AllocationSize as u64) < end {
                set(
                    file,
                    wfs::FileAllocationInfo,
                    &wfs::FILE_ALLOCATION_INFO { AllocationSize: end as i64 },
                )?;
            }
        }
        Space::Punch => {
            control(file, FSCTL_SET_SPARSE, &())?;
            let range = FILE_ZERO_DATA_INFORMATION { FileOffset: offset as i64, BeyondFinalZero: end as i64 };
            control(file, FSCTL_SET_ZERO_DATA, &range)?;
        }
    }
    Ok(0)
}

fn set<T: Copy>(
    file: BorrowedHandle<'_>,
    class: wfs::FILE_INFO_BY_HANDLE_CLASS,
    value: &T,
) -> Result<(), Failure> {
    let length = size_of::<T>() as u32;
    // SAFETY: the value is there for `length` bytes, and only read.
    let done = unsafe {
        wfs::SetFileInformationByHandle(file.as_raw_handle(), class, std::ptr::from_ref(value).cast(), length)
    };
    if done != 0 { Ok(()) } else { Err(last_error()) }
}

fn control<T: Copy>(file: BorrowedHandle<'_>, code: u32, input: &T) -> Result<u32, Failure> {
    let length = size_of::<T>() as u32;
    wait_for(file, 0, |handle, overlapped| {
        let input = if length == 0 { null() } else { std::ptr::from_ref(input).cast() };
        // SAFETY: the input is there for `length` bytes until the answer, for which this waits; there is no output.
        unsafe { DeviceIoControl(handle, code, input, length, null_mut(), 0, null_mut(), overlapped) }
    })
}

/// A second handle of the same open thing.
pub(in crate::backend) fn duplicate(handle: BorrowedHandle<'_>) -> std::io::Result<OwnedDescriptor> {
    handle.try_clone_to_owned().map(OwnedDescriptor::from)
}

/// Whether two handles are of the same open thing.
pub(in crate::backend) fn are_same(one: RawDescriptor, other: RawDescriptor) -> bool {
    // SAFETY: both are open; it only compares.
    unsafe { win32::CompareObjectHandles(as_handle(one), as_handle(other)) != 0 }
}

/// Whether it does overlapped I/O: others wait in the call, whatever they are asked (NtQueryInformationFile,
/// FileModeInformation).
pub(in crate::backend) fn is_overlapped(handle: BorrowedHandle<'_>) -> bool {
    use windows_sys::Wdk::Storage::FileSystem as wdk;
    use windows_sys::Win32::System::IO::{IO_STATUS_BLOCK, IO_STATUS_BLOCK_0};
    let mut mode = 0_u32;
    let mut status = IO_STATUS_BLOCK { Anonymous: IO_STATUS_BLOCK_0 { Status: 0 }, Information: 0 };
    // SAFETY: there is room for the answer, a number of 32 bits.
    let answer = unsafe {
        wdk::NtQueryInformationFile(
            handle.as_raw_handle(),
            &raw mut status,
            (&raw mut mode).cast(),
            size_of::<u32>() as u32,
            wdk::FileModeInformation,
        )
    };
    answer == 0 && mode & (wdk::FILE_SYNCHRONOUS_IO_ALERT | wdk::FILE_SYNCHRONOUS_IO_NONALERT) == 0
}

/// The kind of thing behind a handle: `FILE_TYPE_DISK`, `FILE_TYPE_PIPE`, `FILE_TYPE_CHAR`.
pub(in crate::backend) fn sort_of_file(handle: BorrowedHandle<'_>) -> u32 {
    // SAFETY: the handle is open.
    unsafe { wfs::GetFileType(handle.as_handle().as_raw_handle()) }
}

/// Takes an open thing away from its port, where the system can do that (Windows 8.1).
pub(in crate::backend) fn leave_port(descriptor: RawDescriptor) -> Result<(), Failure> {
    use windows_sys::Wdk::Storage::FileSystem as wdk;
    use windows_sys::Win32::System::IO::{IO_STATUS_BLOCK, IO_STATUS_BLOCK_0};
    // FILE_COMPLETION_INFORMATION: port and key, none.
    let nothing = [0_usize; 2];
    let mut status = IO_STATUS_BLOCK { Anonymous: IO_STATUS_BLOCK_0 { Status: 0 }, Information: 0 };
    // SAFETY: the block is there and only read.
    let answer = unsafe {
        wdk::NtSetInformationFile(
            as_handle(descriptor),
            &raw mut status,
            nothing.as_ptr().cast(),
            size_of_val(&nothing) as u32,
            wdk::FileReplaceCompletionInformation,
        )
    };
    if answer == 0 {
        return Ok(());
    }
    // SAFETY: it only computes.
    Err(Failure::Os(unsafe { win32::RtlNtStatusToDosError(answer) } as i32))
}
