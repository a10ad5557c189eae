//! Pipes on Windows.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::path::Path;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU64, Ordering};

use windows_sys::Win32::Foundation as win32;
use windows_sys::Win32::Storage::FileSystem as wfs;
use windows_sys::Win32::System::Pipes as pipes;

use super::descriptor::as_handle;
use super::files::{Failure, wide};
use super::handles::{last_error, sort_of_file};
use super::{OwnedDescriptor, Sort};
use crate::ErrorKind;
use crate::op::{Half, PipeHow};

/// Whether the system has pipes with names that have a server and clients.
pub(crate) const HAS_NAMED_PIPES: bool = true;

/// How many bytes a pipe takes before who sends has to wait: as many as on Linux.
const PIPE_ROOM: u32 = 64 * 1024;

/// The two ends of a new pipe, that to read from first; both do overlapped I/O, which the system's own nameless ones can't.
pub(in crate::backend) fn pair() -> Result<[OwnedDescriptor; 2], Failure> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // Nobody can guess it; and who did would make the second call fail.
    let secret = RandomState::new().hash_one(NEXT.fetch_add(1, Ordering::Relaxed));
    let name = format!(r"\\.\pipe\nbio-{}-{secret:016x}", std::process::id());
    let name: Vec<u16> = name.encode_utf16().chain([0]).collect();
    let access = wfs::PIPE_ACCESS_INBOUND | wfs::FILE_FLAG_OVERLAPPED | wfs::FILE_FLAG_FIRST_PIPE_INSTANCE;
    let mode = pipes::PIPE_TYPE_BYTE | pipes::PIPE_REJECT_REMOTE_CLIENTS;
    // SAFETY: the name ends with a zero; nothing is inherited.
    let read = owned(unsafe {
        pipes::CreateNamedPipeW(name.as_ptr(), access, mode, 1, PIPE_ROOM, PIPE_ROOM, 0, null())
    })?;
    let (access, overlapped) = (win32::GENERIC_WRITE, wfs::FILE_FLAG_OVERLAPPED);
    // SAFETY: as above.
    let write = owned(unsafe {
        wfs::CreateFileW(name.as_ptr(), access, 0, null(), wfs::OPEN_EXISTING, overlapped, null_mut())
    })?;
    Ok([read, write])
}

fn owned(handle: win32::HANDLE) -> Result<OwnedDescriptor, Failure> {
    match handle {
        win32::INVALID_HANDLE_VALUE => Err(last_error()),
        handle => Ok(OwnedDescriptor::of(handle as usize as u64, Sort::Handle)),
    }
}

/// A new instance of a named pipe, which waits for its client.
pub(in crate::backend) fn instance(name: &Path, how: &PipeHow) -> Result<OwnedDescriptor, Failure> {
    let name = wide(name)?;
    let end = match how.end {
        Half::Read => wfs::PIPE_ACCESS_INBOUND,
        Half::Write => wfs::PIPE_ACCESS_OUTBOUND,
        Half::Both => wfs::PIPE_ACCESS_DUPLEX,
    };
    let first = if how.first { wfs::FILE_FLAG_FIRST_PIPE_INSTANCE } else { 0 };
    let mode = match how.messages {
        true => pipes::PIPE_TYPE_MESSAGE | pipes::PIPE_READMODE_MESSAGE,
        false => pipes::PIPE_TYPE_BYTE | pipes::PIPE_READMODE_BYTE,
    };
    let clients = if how.remote { 0 } else { pipes::PIPE_REJECT_REMOTE_CLIENTS };
    let (access, mode) = (end | first | wfs::FILE_FLAG_OVERLAPPED, mode | clients);
    // SAFETY: the name ends with a zero; nothing is inherited.
    owned(unsafe {
        let most = pipes::PIPE_UNLIMITED_INSTANCES;
        pipes::CreateNamedPipeW(name.as_ptr(), access, mode, most, PIPE_ROOM, PIPE_ROOM, 0, null())
    })
}

/// Opens a named pipe as its client; the answer is a handle, or `WouldBlock` if all instances have a client.
pub(super) fn open(name: &Path, end: Half) -> Result<u32, Failure> {
    let name = wide(name)?;
    // How it is read is an attribute, which only who may write those can change.
    let access = match end {
        Half::Read => win32::GENERIC_READ | wfs::FILE_WRITE_ATTRIBUTES,
        Half::Write => win32::GENERIC_WRITE,
        Half::Both => win32::GENERIC_READ | win32::GENERIC_WRITE,
    };
    let flags = wfs::FILE_FLAG_OVERLAPPED | wfs::SECURITY_SQOS_PRESENT | wfs::SECURITY_IDENTIFICATION;
    // SAFETY: the name ends with a zero; nothing is inherited.
    let opened = owned(unsafe {
        wfs::CreateFileW(name.as_ptr(), access, 0, null(), wfs::OPEN_EXISTING, flags, null_mut())
    });
    let pipe = match opened {
        Err(Failure::Os(os)) if os as u32 == win32::ERROR_PIPE_BUSY => {
            return Err(Failure::Kind(ErrorKind::WouldBlock));
        }
        opened => opened?,
    };
    let raw = pipe.raw();
    if sort_of_file(super::descriptor::borrow_handle(&raw)) != wfs::FILE_TYPE_PIPE {
        return Err(Failure::Kind(ErrorKind::InvalidInput));
    }
    if end != Half::Write && of_messages(&pipe)? {
        read_by_messages(&pipe)?;
    }
    // A handle has 32 bits that mean something.
    Ok(pipe.into_raw() as u32)
}

/// Whether what is sent stays in pieces.
fn of_messages(pipe: &OwnedDescriptor) -> Result<bool, Failure> {
    let mut flags = 0;
    // SAFETY: the pipe is open; there is room for the flags, and nothing else is asked for.
    let told = unsafe {
        pipes::GetNamedPipeInfo(as_handle(pipe.raw()), &raw mut flags, null_mut(), null_mut(), null_mut())
    };
    if told != 0 { Ok(flags & pipes::PIPE_TYPE_MESSAGE != 0) } else { Err(last_error()) }
}

fn read_by_messages(pipe: &OwnedDescriptor) -> Result<(), Failure> {
    let mode = pipes::PIPE_READMODE_MESSAGE;
    // SAFETY: the pipe is open; the mode is only read.
    let done =
        unsafe { pipes::SetNamedPipeHandleState(as_handle(pipe.raw()), &raw const mode, null(), null()) };
    if done != 0 { Ok(()) } else { Err(last_error()) }
}
