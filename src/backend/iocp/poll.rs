//! Polling sockets: by what the system itself polls with, its driver AFD, which tells of everything that poll(2) does, needs no
//! thread, and looks at the socket without taking anything from it. A receive of no bytes, the documented way, tells of
//! bytes only, and not on a listener.

use std::os::windows::io::AsRawSocket;

use windows_sys::Wdk::Foundation::OBJECT_ATTRIBUTES;
use windows_sys::Wdk::Storage::FileSystem::{FILE_OPEN, NtCreateFile};
use windows_sys::Wdk::System::IO::NtDeviceIoControlFile;
use windows_sys::Win32::Foundation::{
    HANDLE, RtlNtStatusToDosError, STATUS_PENDING, STATUS_SUCCESS, UNICODE_STRING,
};
use windows_sys::Win32::Networking::WinSock as wsa;
use windows_sys::Win32::Storage::FileSystem::{FILE_SHARE_READ, FILE_SHARE_WRITE, SYNCHRONIZE};
use windows_sys::Win32::System::IO::{IO_STATUS_BLOCK, OVERLAPPED};

use crate::backend::RawDescriptor;
use crate::backend::windows::descriptor::{as_handle, as_socket, borrow_socket};
use crate::backend::windows::{self, OwnedDescriptor, Sort};
use crate::op::Interest;

/// `AFD_POLL_INFO` with one `AFD_POLL_HANDLE_INFO`.
#[repr(C)]
#[derive(Copy, Clone)]
pub(super) struct PollInfo {
    timeout: i64,
    handles: u32,
    exclusive: u32,
    handle: HANDLE,
    pub(super) events: u32,
    status: i32,
}

const IOCTL_AFD_POLL: u32 = 0x0001_2024;

/// What poll(2) tells of unasked.
const ALWAYS: u32 = windows::DISCONNECT | windows::ABORT | windows::LOCAL_CLOSE | windows::CONNECT_FAIL;

const EVENTS: [(Interest, u32); 3] = [
    (Interest::READABLE, windows::RECEIVE | windows::ACCEPT),
    (Interest::WRITABLE, windows::SEND),
    (Interest::PRIORITY, windows::RECEIVE_EXPEDITED),
];

pub(super) fn events(interest: Interest) -> u32 {
    let asked = EVENTS.iter().filter(|(bit, _)| interest.contains(*bit));
    asked.fold(ALWAYS, |events, &(_, event)| events | event)
}

/// What is always ready, is ready for so much of what was asked.
pub(super) fn always_ready(interest: Interest) -> u32 {
    let ready = events(interest) & !ALWAYS;
    ready & !windows::RECEIVE_EXPEDITED & !windows::ACCEPT
}

/// Opens the driver.
pub(super) fn open() -> Result<OwnedDescriptor, i32> {
    let mut name: Vec<u16> = r"\Device\Afd\nbio".encode_utf16().collect();
    let bytes = (name.len() * 2) as u16;
    let name = UNICODE_STRING { Length: bytes, MaximumLength: bytes, Buffer: name.as_mut_ptr() };
    // SAFETY: zeros are a value of both.
    let (mut attributes, mut status): (OBJECT_ATTRIBUTES, IO_STATUS_BLOCK) = unsafe { std::mem::zeroed() };
    attributes.Length = size_of::<OBJECT_ATTRIBUTES>() as u32;
    attributes.ObjectName = &raw const name;
    let mut handle: HANDLE = std::ptr::null_mut();
    // SAFETY: name and attributes are there and only read, there is room for the answers.
    let answer = unsafe {
        NtCreateFile(
            &raw mut handle,
            SYNCHRONIZE,
            &raw const attributes,
            &raw mut status,
            std::ptr::null(),
            0,
            FILE_SHARE_READ | FILE_SHARE_WRITE,
            FILE_OPEN,
            0,
            std::ptr::null(),
            0,
        )
    };
    match answer {
        STATUS_SUCCESS => Ok(OwnedDescriptor::of(handle as usize as u64, Sort::Handle)),
        // SAFETY: it only computes.
        refused => Err(unsafe { RtlNtStatusToDosError(refused) } as i32),
    }
}

/// The socket below all that others may have put on top of it.
fn base(socket: RawDescriptor) -> HANDLE {
    let (mut base, mut returned) = (0_usize, 0);
    // SAFETY: the socket is open; there is room for the answer.
    let answer = unsafe {
        wsa::WSAIoctl(
            as_socket(borrow_socket(&socket).as_raw_socket()),
            wsa::SIO_BASE_HANDLE,
            std::ptr::null(),
            0,
            (&raw mut base).cast(),
            size_of::<usize>() as u32,
            &raw mut returned,
            std::ptr::null_mut(),
            None,
        )
    };
    if answer == 0 { base as HANDLE } else { as_handle(socket) }
}

/// What is to be asked of a socket.
pub(super) fn info(socket: RawDescriptor, events: u32) -> PollInfo {
    PollInfo { timeout: i64::MAX, handles: 1, exclusive: 0, handle: base(socket), events, status: 0 }
}

/// Asks; a packet comes unless the system refuses.
///
/// # Safety
/// Both stay where they are, and nobody else uses them, until the packet.
pub(super) unsafe fn ask(
    afd: &OwnedDescriptor,
    info: *mut PollInfo,
    overlapped: *mut OVERLAPPED,
) -> Result<(), i32> {
    let length = size_of::<PollInfo>() as u32;
    // SAFETY: the caller vouches for them; an OVERLAPPED begins with what is an IO_STATUS_BLOCK.
    let answer = unsafe {
        NtDeviceIoControlFile(
            as_handle(afd.raw()),
            std::ptr::null_mut(),
            None,
            overlapped.cast(),
            overlapped.cast(),
            IOCTL_AFD_POLL,
            info.cast_const().cast(),
            length,
            info.cast(),
            length,
        )
    };
    match answer {
        STATUS_SUCCESS | STATUS_PENDING => Ok(()),
        // SAFETY: it only computes.
        refused => Err(unsafe { RtlNtStatusToDosError(refused) } as i32),
    }
}
