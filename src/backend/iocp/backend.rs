//! Completion ports as a backend.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use windows_sys::Win32::System::IO::CancelIoEx;

use super::flights::{Place, What};
use super::offload::close;
use super::port::{self, Ringer};
use super::{Iocp, Open, PortState};
use crate::backend::windows::descriptor::{as_handle, borrow_handle, borrow_socket};
use crate::backend::windows::{OwnedDescriptor, Sort, handles, socket};
use crate::backend::{Backend, Completion, Description, Loose, Outcome, RawDescriptor, Shot, Token, pool};
use crate::op::Kind;
use crate::report::Support;
use crate::{Error, ErrorKind, Instant};

/// What the system answers to what was cancelled.
pub(super) const CANCELLED: i32 = windows_sys::Win32::Foundation::ERROR_OPERATION_ABORTED as i32;

impl Backend for Iocp {
    fn submit(&mut self, shot: Shot<'_>) {
        debug_assert!(!shot.readiness_only, "nothing here answers that it would have to wait");
        self.start(&shot);
    }

    fn cancel(&mut self, token: Token, _: bool) {
        // If it isn't there, its completion is on its way.
        let Some(flight) = self.flights.find(token) else { return };
        match (flight.place, flight.what) {
            (Place::Pool(ticket), _) => {
                if pool::global().withdraw(ticket) {
                    self.complete(token.index, Outcome::Failed(CANCELLED));
                }
            }
            (Place::Air, what) => {
                flight.cancelled = true;
                let handle = match (what, &self.afd) {
                    (What::Poll, Some(afd)) => afd.raw(),
                    _ => flight.descriptor,
                };
                // The packet tells how the shot ended, be it cancelled or not.
                // SAFETY: the handle is open as long as a shot is under way there, and so is the OVERLAPPED.
                let found = unsafe { CancelIoEx(as_handle(handle), flight.overlapped()) } != 0;
                if !found {
                    // It is over, and the packet is there. Or it is Wine, which finds no send that it is just going on with:
                    // then it is asked again.
                    self.done.push_back(Completion { token, outcome: Outcome::Told });
                }
            }
            (Place::Nowhere, _) => {}
        }
    }

    fn wait(&mut self, limit: Option<Duration>, out: &mut VecDeque<Completion>) -> Result<(), Error> {
        let end = limit.map(|limit| Instant::system() + limit);
        let mut woken = false;
        loop {
            let busy = woken || !self.done.is_empty();
            let left = match end {
                _ if busy => Some(Duration::ZERO),
                Some(end) => Some(end - Instant::system()),
                None => None,
            };
            let count = self.port.wait(left, &mut self.batch).map_err(|os| Error::from_os(os, Kind::Tick))?;
            let drained = !port::is_full(count);
            for at in 0..count {
                let packet = self.batch[at];
                woken |= self.take(&packet);
            }
            if drained {
                self.flights.seen_empty();
            }
            let over = woken || !self.done.is_empty() || left == Some(Duration::ZERO);
            if over && drained {
                break;
            }
        }
        out.append(&mut self.done);
        Ok(())
    }

    fn waker(&mut self) -> Result<Waker, Error> {
        Ok(Arc::new(Ringer(self.port.clone())).into())
    }

    fn now(&self) -> Instant {
        Instant::system()
    }

    /// `check` has looked at it.
    fn attach(&mut self, descriptor: OwnedDescriptor) -> RawDescriptor {
        descriptor.into_raw()
    }

    fn attach_any(&mut self, descriptor: OwnedDescriptor, _: Kind) -> Result<(RawDescriptor, bool), Error> {
        let (raw, sort) = (descriptor.raw(), descriptor.sort());
        let lingers = sort == Sort::Socket && socket::lingers(borrow_socket(&raw));
        let open = if sort == Sort::Socket { Open::SOCKET } else { Open::HANDLE };
        self.open.insert(raw, open);
        Ok((descriptor.into_raw(), lingers))
    }

    fn detach(&mut self, descriptor: RawDescriptor) -> Result<OwnedDescriptor, Error> {
        let open = self.opened(descriptor);
        self.open.remove(&descriptor);
        if open.port == PortState::Ours {
            // So that others, or this one, can have it complete elsewhere. Who uses it without a port isn't concerned.
            let _ = handles::leave_port(descriptor);
        }
        Ok(OwnedDescriptor::of(descriptor, open.sort))
    }

    /// Only what the system lets go of its port can be of another loop.
    fn hand_out(&mut self, descriptor: RawDescriptor) -> Result<Loose, Error> {
        let open = self.opened(descriptor);
        if open.port == PortState::Ours && handles::leave_port(descriptor).is_err() {
            return Err(Error::new(ErrorKind::Unsupported, Kind::Detach));
        }
        self.detach(descriptor).map(Loose::System)
    }

    fn take_in(&mut self, loose: Loose) -> Result<RawDescriptor, (Error, Loose)> {
        let Loose::System(descriptor) = loose else {
            return Err((Error::new(ErrorKind::Unsupported, Kind::Attach), loose));
        };
        match self.take_over(&descriptor) {
            Ok(()) => Ok(descriptor.into_raw()),
            Err(os) => Err((Error::from_os(os, Kind::Attach), Loose::System(descriptor))),
        }
    }

    fn close_now(&mut self, descriptor: RawDescriptor) {
        let sort = self.opened(descriptor).sort;
        self.open.remove(&descriptor);
        let _ = close(descriptor, sort);
    }

    fn describe(&self) -> Description {
        Description { name: "iocp", features: vec!["skip on success"], substituted: 0 }
    }

    fn support(&self, kind: Kind) -> Support {
        match kind {
            Kind::Accept
            | Kind::AcceptMany
            | Kind::Connect
            | Kind::Recv
            | Kind::RecvVectored
            | Kind::RecvMany
            | Kind::Send
            | Kind::SendVectored
            | Kind::RecvFrom
            | Kind::RecvMsg
            | Kind::SendTo
            | Kind::SendDatagram
            | Kind::SendMsg
            | Kind::ReadAt
            | Kind::ReadAtVectored
            | Kind::WriteAt
            | Kind::WriteAtVectored
            | Kind::Read
            | Kind::Write
            | Kind::AcceptPipe
            | Kind::Poll => Support::Native,
            Kind::Shutdown | Kind::Close => Support::Direct,
            Kind::Timer | Kind::Interval | Kind::NextTick => Support::Engine,
            Kind::SendFile | Kind::Splice | Kind::ReadFile | Kind::WriteFile => Support::Composed,
            Kind::ConnectUnix
            | Kind::RecvRecord
            | Kind::RecvRecordVectored
            | Kind::SendRecord
            | Kind::SendRecordVectored
            | Kind::RecvFds
            | Kind::SendFds
            | Kind::PollMany => Support::Unsupported,
            _ => Support::Pool,
        }
    }
}

impl Iocp {
    /// What another loop gave out completes here from now on.
    fn take_over(&mut self, descriptor: &OwnedDescriptor) -> Result<(), i32> {
        let raw = descriptor.raw();
        if descriptor.sort() == Sort::Socket {
            let socket = borrow_socket(&raw);
            let family = socket::get_family(socket).map_err(|error| error.raw_os_error().unwrap_or(0))?;
            self.open.insert(raw, Open { port: PortState::NotYet, family, ..Open::SOCKET });
            return Ok(());
        }
        let overlapped = handles::is_overlapped(borrow_handle(&raw));
        let port = if overlapped { PortState::NotYet } else { PortState::Never };
        self.open.insert(raw, Open { port, ..Open::HANDLE });
        Ok(())
    }
}
