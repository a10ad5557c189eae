//! What is open on Windows: sockets and handles, which are closed by different calls.

use std::fmt;
use std::fs::File;
use std::mem::ManuallyDrop;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::windows::io::{
    AsHandle, AsSocket, BorrowedHandle, BorrowedSocket, FromRawHandle, FromRawSocket, IntoRawHandle,
    IntoRawSocket, OwnedHandle, OwnedSocket,
};

use windows_sys::Win32::Foundation::{CloseHandle, HANDLE};
use windows_sys::Win32::Networking::WinSock::{SOCKET, closesocket};

/// The system's number of an open thing: a `SOCKET`, or a `HANDLE` as a number.
pub type RawDescriptor = u64;

/// An open thing that is closed when this is dropped: a socket or a handle.
///
/// It is made of whatever std has that owns one (`From`), and can be made into that again (`TryFrom`), if it is of the
/// right sort.
pub struct OwnedDescriptor {
    raw: RawDescriptor,
    sort: Sort,
}

/// By which calls something open is used.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Socket,
    Handle,
}

/// A number as the calls for sockets take it.
pub(crate) fn as_socket(raw: RawDescriptor) -> SOCKET {
    raw as SOCKET
}

/// A number as all other calls take it.
pub(crate) fn as_handle(raw: RawDescriptor) -> HANDLE {
    raw as usize as HANDLE
}

/// An open socket, for one call.
pub(crate) fn borrow_socket(raw: &RawDescriptor) -> BorrowedSocket<'_> {
    // SAFETY: the handle table owns the socket and holds it open; nothing closes it during this call.
    unsafe { BorrowedSocket::borrow_raw(*raw) }
}

/// An open handle, for one call.
pub(crate) fn borrow_handle(raw: &RawDescriptor) -> BorrowedHandle<'_> {
    // SAFETY: as in `borrow_socket`.
    unsafe { BorrowedHandle::borrow_raw(as_handle(*raw)) }
}

impl OwnedDescriptor {
    /// Takes over what the handle table has owned.
    pub(crate) fn of(raw: RawDescriptor, sort: Sort) -> OwnedDescriptor {
        OwnedDescriptor { raw, sort }
    }

    /// Its number, to look at.
    pub fn raw(&self) -> RawDescriptor {
        self.raw
    }

    pub(crate) fn sort(&self) -> Sort {
        self.sort
    }

    pub(crate) fn into_raw(self) -> RawDescriptor {
        ManuallyDrop::new(self).raw
    }

    fn into_socket(self) -> Result<OwnedSocket, OwnedDescriptor> {
        match self.sort {
            // SAFETY: it is a socket, owned by this one until here.
            Sort::Socket => Ok(unsafe { OwnedSocket::from_raw_socket(self.into_raw()) }),
            Sort::Handle => Err(self),
        }
    }

    fn into_handle(self) -> Result<OwnedHandle, OwnedDescriptor> {
        match self.sort {
            // SAFETY: it is a handle, owned by this one until here.
            Sort::Handle => Ok(unsafe { OwnedHandle::from_raw_handle(as_handle(self.into_raw())) }),
            Sort::Socket => Err(self),
        }
    }
}

impl Drop for OwnedDescriptor {
    fn drop(&mut self) {
        // SAFETY: it is open and this one's own.
        unsafe {
            match self.sort {
                Sort::Socket => {
                    closesocket(as_socket(self.raw));
                }
                Sort::Handle => {
                    CloseHandle(as_handle(self.raw));
                }
            }
        }
    }
}

impl fmt::Debug for OwnedDescriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnedDescriptor({:?} {:#x})", self.sort, self.raw)
    }
}

fn of_socket(socket: impl Into<OwnedSocket>) -> OwnedDescriptor {
    OwnedDescriptor { raw: socket.into().into_raw_socket(), sort: Sort::Socket }
}

fn of_handle(handle: impl Into<OwnedHandle>) -> OwnedDescriptor {
    OwnedDescriptor { raw: handle.into().into_raw_handle() as usize as u64, sort: Sort::Handle }
}

impl From<OwnedSocket> for OwnedDescriptor {
    fn from(socket: OwnedSocket) -> OwnedDescriptor {
        of_socket(socket)
    }
}

impl From<TcpStream> for OwnedDescriptor {
    fn from(socket: TcpStream) -> OwnedDescriptor {
        of_socket(socket)
    }
}

impl From<TcpListener> for OwnedDescriptor {
    fn from(socket: TcpListener) -> OwnedDescriptor {
        of_socket(socket)
    }
}

impl From<UdpSocket> for OwnedDescriptor {
    fn from(socket: UdpSocket) -> OwnedDescriptor {
        of_socket(socket)
    }
}

impl From<OwnedHandle> for OwnedDescriptor {
    fn from(handle: OwnedHandle) -> OwnedDescriptor {
        of_handle(handle)
    }
}

impl From<File> for OwnedDescriptor {
    fn from(file: File) -> OwnedDescriptor {
        of_handle(file)
    }
}

impl From<std::io::PipeReader> for OwnedDescriptor {
    fn from(pipe: std::io::PipeReader) -> OwnedDescriptor {
        of_handle(pipe)
    }
}

impl From<std::io::PipeWriter> for OwnedDescriptor {
    fn from(pipe: std::io::PipeWriter) -> OwnedDescriptor {
        of_handle(pipe)
    }
}

impl From<std::process::ChildStdin> for OwnedDescriptor {
    fn from(pipe: std::process::ChildStdin) -> OwnedDescriptor {
        of_handle(pipe)
    }
}

impl From<std::process::ChildStdout> for OwnedDescriptor {
    fn from(pipe: std::process::ChildStdout) -> OwnedDescriptor {
        of_handle(pipe)
    }
}

impl From<std::process::ChildStderr> for OwnedDescriptor {
    fn from(pipe: std::process::ChildStderr) -> OwnedDescriptor {
        of_handle(pipe)
    }
}

impl TryFrom<OwnedDescriptor> for OwnedSocket {
    type Error = OwnedDescriptor;

    fn try_from(descriptor: OwnedDescriptor) -> Result<OwnedSocket, OwnedDescriptor> {
        descriptor.into_socket()
    }
}

impl TryFrom<OwnedDescriptor> for OwnedHandle {
    type Error = OwnedDescriptor;

    fn try_from(descriptor: OwnedDescriptor) -> Result<OwnedHandle, OwnedDescriptor> {
        descriptor.into_handle()
    }
}

impl TryFrom<OwnedDescriptor> for TcpStream {
    type Error = OwnedDescriptor;

    fn try_from(descriptor: OwnedDescriptor) -> Result<TcpStream, OwnedDescriptor> {
        descriptor.into_socket().map(TcpStream::from)
    }
}

impl TryFrom<OwnedDescriptor> for TcpListener {
    type Error = OwnedDescriptor;

    fn try_from(descriptor: OwnedDescriptor) -> Result<TcpListener, OwnedDescriptor> {
        descriptor.into_socket().map(TcpListener::from)
    }
}

impl TryFrom<OwnedDescriptor> for UdpSocket {
    type Error = OwnedDescriptor;

    fn try_from(descriptor: OwnedDescriptor) -> Result<UdpSocket, OwnedDescriptor> {
        descriptor.into_socket().map(UdpSocket::from)
    }
}

impl TryFrom<OwnedDescriptor> for File {
    type Error = OwnedDescriptor;

    fn try_from(descriptor: OwnedDescriptor) -> Result<File, OwnedDescriptor> {
        descriptor.into_handle().map(File::from)
    }
}

/// What has an open thing of the system, a socket or a handle.
pub trait AsDescriptor: sealed::AsDescriptor {}

/// A socket or a handle that is open as long as it is borrowed.
#[doc(hidden)]
#[derive(Copy, Clone, Debug)]
pub enum BorrowedDescriptor<'a> {
    Socket(BorrowedSocket<'a>),
    Handle(BorrowedHandle<'a>),
}

pub(crate) mod sealed {
    pub trait AsDescriptor {
        fn borrowed(&self) -> super::BorrowedDescriptor<'_>;
    }
}

impl<T: AsDescriptor + ?Sized> AsDescriptor for &T {}

impl<T: AsDescriptor + ?Sized> sealed::AsDescriptor for &T {
    fn borrowed(&self) -> BorrowedDescriptor<'_> {
        (**self).borrowed()
    }
}

impl AsDescriptor for OwnedDescriptor {}

impl sealed::AsDescriptor for OwnedDescriptor {
    fn borrowed(&self) -> BorrowedDescriptor<'_> {
        match self.sort {
            Sort::Socket => BorrowedDescriptor::Socket(borrow_socket(&self.raw)),
            Sort::Handle => BorrowedDescriptor::Handle(borrow_handle(&self.raw)),
        }
    }
}

macro_rules! has_a_descriptor {
    ($($sort:ident by $method:ident: $($type:ty),*;)*) => {
        $($(
            impl AsDescriptor for $type {}

            impl sealed::AsDescriptor for $type {
                fn borrowed(&self) -> BorrowedDescriptor<'_> {
                    BorrowedDescriptor::$sort(self.$method())
                }
            }
        )*)*
    };
}

// One line a type of std, instead of seven.
has_a_descriptor! {
    Socket by as_socket: TcpStream, TcpListener, UdpSocket, OwnedSocket, BorrowedSocket<'_>;
    Handle by as_handle: File, OwnedHandle, BorrowedHandle<'_>, std::io::PipeReader, std::io::PipeWriter, std::io::Stdin,
        std::io::Stdout, std::io::Stderr;
}
