//! What answers at once, and descriptors in and out of the loop.

use std::net::SocketAddr;
use std::os::windows::io::{AsHandle, AsRawSocket, AsSocket, BorrowedSocket, IntoRawSocket};

use socket2::Socket;
use windows_sys::Win32::Networking::WinSock as wsa;
use windows_sys::Win32::Storage::FileSystem as wfs;
use windows_sys::Win32::System::IO::CancelIoEx;
use windows_sys::Win32::System::WindowsProgramming as programming;

use super::flights::Place;
use super::{Iocp, Open, PortState, start};
use crate::backend::windows::descriptor::{as_handle, borrow_handle, borrow_socket};
use crate::backend::windows::{OwnedDescriptor, Sort, handles, pipe, socket, udp};
use crate::backend::{Calls, RawDescriptor, Standard};
use crate::engine::handles::Means;
use crate::handle::HandleKind;
use crate::op::{Half, Kind};
use crate::{Error, ErrorKind, ListenOptions, Multicast, TcpOptions, UdpOptions};

impl Iocp {
    /// Has a socket complete at this port.
    pub(super) fn take_socket(&mut self, socket: BorrowedSocket<'_>, family: u16) -> Result<(), i32> {
        let raw = socket.as_raw_socket();
        self.open.insert(raw, Open { port: PortState::NotYet, family, ..Open::SOCKET });
        if let Err(os) = self.ready(raw) {
            self.open.remove(&raw);
            return Err(os);
        }
        Ok(())
    }

    /// The same of one that was just made, which the loop owns from now on.
    fn own(&mut self, made: Socket, kind: Kind) -> Result<RawDescriptor, Error> {
        let family = socket::get_family(made.as_socket()).map_err(socket::io_error(kind))?;
        let raw = made.into_raw_socket();
        self.open.insert(raw, Open { port: PortState::NotYet, family, ..Open::SOCKET });
        Ok(raw)
    }

    /// A socket from outside, be it of a port already or not.
    fn check_socket(&mut self, descriptor: &OwnedDescriptor, kind: HandleKind) -> Result<bool, Error> {
        let lingers = socket::check(descriptor, kind)?;
        let raw = descriptor.raw();
        let borrowed = borrow_socket(&raw);
        let error = socket::io_error(Kind::Adopt);
        let family = socket::get_family(borrowed).map_err(error)?;
        if self.take_socket(borrowed, family).is_err() {
            // ERROR_INVALID_PARAMETER: it has a port, or it can't do overlapped I/O.
            return Err(Error::new(ErrorKind::Busy, Kind::Adopt));
        }
        if kind == HandleKind::UdpSocket {
            udp::forget_resets(borrowed);
        }
        Ok(lingers)
    }

    /// A file or a pipe from outside: what was not opened for overlapped I/O is served by the pool.
    fn check_handle(&mut self, descriptor: &OwnedDescriptor, kind: HandleKind) -> Result<bool, Error> {
        let wrong = Error::new(ErrorKind::InvalidInput, Kind::Adopt);
        if descriptor.sort() != Sort::Handle {
            return if kind == HandleKind::Pipe {
                self.check_socket(descriptor, HandleKind::TcpStream)
            } else {
                Err(wrong)
            };
        }
        let raw = descriptor.raw();
        let handle = borrow_handle(&raw);
        let sort = handles::sort_of_file(handle);
        if sort == wfs::FILE_TYPE_UNKNOWN || (kind == HandleKind::Pipe && is_directory(handle)) {
            return Err(wrong);
        }
        let overlapped = handles::is_overlapped(handle);
        if overlapped && self.associate(raw).is_err() {
            return Err(Error::new(ErrorKind::Busy, Kind::Adopt));
        }
        let port = if overlapped { PortState::Ours } else { PortState::Never };
        self.open.insert(raw, Open { port, ..Open::HANDLE });
        Ok(false)
    }
}

impl Iocp {
    /// The receiving half is shut down: what waits there is at the end of the stream. The system would let it wait.
    fn end_receives(&mut self, descriptor: RawDescriptor) {
        for flight in self.flights.all() {
            let waits = flight.place == Place::Air && flight.what.receives();
            if waits && flight.descriptor == descriptor {
                flight.shut = true;
                // SAFETY: the socket is open, and a shot is under way there with this OVERLAPPED.
                unsafe { CancelIoEx(as_handle(descriptor), flight.overlapped()) };
            }
        }
    }
}

fn is_directory(handle: std::os::windows::io::BorrowedHandle<'_>) -> bool {
    handles::metadata(handle.as_handle())
        .is_ok_and(|metadata| metadata.file_type == crate::op::FileType::Directory)
}

/// Calls that are done at once shall post no packet. Only where the socket is the system's own: one that others have put
/// something on top of may post all the same. And not on sockets of messages, whose warnings (a message that was cut) some
/// versions post and others don't.
pub(super) fn skip_on_success(raw: RawDescriptor) -> bool {
    let socket = borrow_socket(&raw);
    let own = socket::protocol_info(socket).is_ok_and(|info| {
        info.dwServiceFlags1 & wsa::XP1_IFS_HANDLES != 0 && info.iSocketType == wsa::SOCK_STREAM
    });
    let flags = (programming::FILE_SKIP_COMPLETION_PORT_ON_SUCCESS
        | programming::FILE_SKIP_SET_EVENT_ON_HANDLE) as u8;
    // SAFETY: the socket is open.
    own && unsafe { wfs::SetFileCompletionNotificationModes(as_handle(socket.as_raw_socket()), flags) } != 0
}

impl Calls for Iocp {
    fn listen(&mut self, address: SocketAddr, options: &ListenOptions) -> Result<RawDescriptor, Error> {
        let made = socket::listen(address, options)?;
        let raw = self.own(made, Kind::Listen)?;
        self.open.entry(raw).and_modify(|open| open.inherited = options.tcp);
        Ok(raw)
    }

    fn stream_socket(
        &mut self,
        to: SocketAddr,
        from: Option<SocketAddr>,
        options: &TcpOptions,
    ) -> Result<RawDescriptor, Error> {
        let made = socket::stream_socket(to, from, options)?;
        self.own(made, Kind::Connect)
    }

    fn set_tcp_options(&mut self, descriptor: RawDescriptor, options: &TcpOptions) -> Result<(), Error> {
        socket::set_tcp_options(borrow_socket(&descriptor), options, Kind::SetOptions)
    }

    fn tcp_options(&mut self, descriptor: RawDescriptor) -> Result<TcpOptions, Error> {
        socket::tcp_options(borrow_socket(&descriptor))
    }

    fn local_address(&mut self, descriptor: RawDescriptor) -> Result<SocketAddr, Error> {
        socket::local_address(descriptor)
    }

    fn peer_address(&mut self, descriptor: RawDescriptor) -> Result<SocketAddr, Error> {
        socket::peer_address(descriptor)
    }

    fn shutdown(&mut self, descriptor: RawDescriptor, half: Half) -> Result<(), Error> {
        socket::shutdown(descriptor, half)?;
        if half != Half::Write {
            self.end_receives(descriptor);
        }
        Ok(())
    }

    fn bind_udp(&mut self, address: SocketAddr, options: &UdpOptions) -> Result<RawDescriptor, Error> {
        let made = udp::bind(address, options)?;
        self.own(made, Kind::BindUdp)
    }

    fn connect_udp(&mut self, descriptor: RawDescriptor, to: SocketAddr) -> Result<(), Error> {
        udp::connect(descriptor, to)
    }

    fn disconnect_udp(&mut self, descriptor: RawDescriptor) -> Result<(), Error> {
        udp::disconnect(descriptor)
    }

    fn set_udp_options(&mut self, descriptor: RawDescriptor, options: &UdpOptions) -> Result<(), Error> {
        udp::set_options(borrow_socket(&descriptor), options, Kind::SetUdpOptions)
    }

    fn udp_options(&mut self, descriptor: RawDescriptor) -> Result<UdpOptions, Error> {
        udp::options(borrow_socket(&descriptor))
    }

    fn join_multicast(&mut self, descriptor: RawDescriptor, group: &Multicast) -> Result<(), Error> {
        udp::member(descriptor, group, true, Kind::JoinMulticast)
    }

    fn leave_multicast(&mut self, descriptor: RawDescriptor, group: &Multicast) -> Result<(), Error> {
        udp::member(descriptor, group, false, Kind::LeaveMulticast)
    }

    fn check(&mut self, descriptor: &OwnedDescriptor, kind: HandleKind) -> Result<bool, Error> {
        match kind {
            HandleKind::File | HandleKind::Pipe => self.check_handle(descriptor, kind),
            _ => self.check_socket(descriptor, kind),
        }
    }

    fn means(&mut self, descriptor: RawDescriptor) -> Means {
        start::means(&self.opened(descriptor))
    }

    fn pipe(&mut self) -> Result<[RawDescriptor; 2], Error> {
        let ends = pipe::pair().map_err(|failure| failure.error(Kind::Pipe))?;
        Ok(ends.map(|end| {
            let raw = end.into_raw();
            self.open.insert(raw, Open { port: PortState::NotYet, ..Open::HANDLE });
            raw
        }))
    }

    fn standard(&mut self, which: Standard) -> Result<OwnedDescriptor, Error> {
        let duplicate = match which {
            Standard::Input => handles::duplicate(std::io::stdin().as_handle()),
            Standard::Output => handles::duplicate(std::io::stdout().as_handle()),
            Standard::Error => handles::duplicate(std::io::stderr().as_handle()),
        };
        duplicate.map_err(socket::io_error(Kind::Standard))
    }

    fn raw(&mut self, descriptor: RawDescriptor) -> Result<RawDescriptor, Error> {
        Ok(descriptor)
    }

    fn duplicate(&mut self, descriptor: RawDescriptor) -> Result<OwnedDescriptor, Error> {
        let duplicate = match self.opened(descriptor).sort {
            Sort::Socket => socket::duplicate(borrow_socket(&descriptor)),
            Sort::Handle => {
                // Both have one port. So that this loop knows its own when the second one comes back (`associate`).
                let _ = self.ready(descriptor);
                handles::duplicate(borrow_handle(&descriptor))
            }
        };
        duplicate.map_err(socket::io_error(Kind::Duplicate))
    }
}
