//! Winsock's functions that must be asked for.

use std::sync::OnceLock;

use socket2::{Domain, Protocol, Socket, Type};
use windows_sys::Win32::Networking::WinSock as wsa;
use windows_sys::core::GUID;

use crate::backend::windows::descriptor::as_socket;
use crate::backend::windows::socket::last_error;

/// Of the system's own providers of TCP and UDP, which have them all since Windows 8.
pub(super) struct Extensions {
    pub(super) accept: wsa::LPFN_ACCEPTEX,
    pub(super) accepted: wsa::LPFN_GETACCEPTEXSOCKADDRS,
    pub(super) connect: wsa::LPFN_CONNECTEX,
    pub(super) receive_message: wsa::LPFN_WSARECVMSG,
}

static EXTENSIONS: OnceLock<Extensions> = OnceLock::new();

/// Asks for them the first time.
pub(super) fn get() -> Result<&'static Extensions, i32> {
    if let Some(extensions) = EXTENSIONS.get() {
        return Ok(extensions);
    }
    let os = |error: std::io::Error| error.raw_os_error().unwrap_or(0);
    let tcp = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).map_err(os)?;
    let udp = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).map_err(os)?;
    // SAFETY: each number names a function of the type that it is asked for as (mswsock.h).
    let extensions = unsafe {
        Extensions {
            accept: ask(&tcp, wsa::WSAID_ACCEPTEX)?,
            accepted: ask(&tcp, wsa::WSAID_GETACCEPTEXSOCKADDRS)?,
            connect: ask(&tcp, wsa::WSAID_CONNECTEX)?,
            receive_message: ask(&udp, wsa::WSAID_WSARECVMSG)?,
        }
    };
    Ok(EXTENSIONS.get_or_init(|| extensions))
}

/// Asks for one.
///
/// # Safety
/// `F` is an `Option` of the type of the function with this number.
unsafe fn ask<F: Copy>(socket: &Socket, id: GUID) -> Result<F, i32> {
    use std::os::windows::io::AsRawSocket;
    const { assert!(size_of::<F>() == size_of::<usize>()) };
    // SAFETY: null is no function, which is a value of an `Option` of one.
    let mut function: F = unsafe { std::mem::zeroed() };
    let mut returned = 0;
    // SAFETY: the number is there and only read; there is room for a pointer.
    let answer = unsafe {
        wsa::WSAIoctl(
            as_socket(socket.as_raw_socket()),
            wsa::SIO_GET_EXTENSION_FUNCTION_POINTER,
            (&raw const id).cast(),
            size_of::<GUID>() as u32,
            (&raw mut function).cast(),
            size_of::<F>() as u32,
            &raw mut returned,
            std::ptr::null_mut(),
            None,
        )
    };
    if answer == 0 { Ok(function) } else { Err(last_error()) }
}
