//! Packets, and what they mean.

use std::os::windows::io::{AsSocket, IntoRawSocket};

use windows_sys::Win32::Foundation as win32;
use windows_sys::Win32::Networking::WinSock as wsa;
use windows_sys::Win32::System::IO::OVERLAPPED_ENTRY;

use super::backend::CANCELLED;
use super::flights::{ADDRESS_ROOM, Flights, Place, What};
use super::port::WAKE;
use super::receive::picked;
use super::start::{Begun, outcome};
use super::transfer::next_piece;
use super::{Iocp, Open, PortState, extensions};
use crate::backend::windows::descriptor::{as_socket, borrow_socket};
use crate::backend::windows::handles::{self, Direction};
use crate::backend::windows::{is_cancelled, socket};
use crate::backend::{Completion, Outcome, RawDescriptor};

impl Iocp {
    /// Takes a packet over; says whether it was another thread's, to wake the loop.
    pub(super) fn take(&mut self, packet: &OVERLAPPED_ENTRY) -> bool {
        if packet.lpCompletionKey == WAKE {
            self.port.rung();
            self.take_landed();
            return true;
        }
        if packet.lpOverlapped.is_null() {
            // Posted by nobody we know.
            return false;
        }
        // SAFETY: what is open and completes here was given nothing but the OVERLAPPEDs of flights.
        if let Some(index) = unsafe { Flights::index_of(packet.lpOverlapped) } {
            self.landed(index, packet.dwNumberOfBytesTransferred);
        }
        false
    }

    /// The system has let go of a flight.
    fn landed(&mut self, index: u32, bytes: u32) {
        let flight = self.flights.get(index);
        if flight.place != Place::Air {
            debug_assert!(false, "a packet for what is not under way");
            return;
        }
        flight.place = Place::Nowhere;
        // SAFETY: the packet has come: the system has written its answer and lets go.
        let status = unsafe { (*flight.overlapped()).Internal } as i32;
        let answer = match status {
            0.. => self.finish_well(index, bytes),
            win32::STATUS_BUFFER_OVERFLOW => self.overflowed(index, bytes),
            _ => self.finish_badly(index, status, bytes),
        };
        let begun = self.accept_another(index, answer).or_else(|| self.go_on(index, answer));
        let begun = begun.or_else(|| self.pass_over_nothing(index, answer));
        let begun = begun.or_else(|| self.receive_awaited(index, answer));
        let answer = match begun {
            None => answer,
            Some(Begun::Over(outcome)) => outcome,
            Some(Begun::Flies) => {
                self.flights.get(index).place = Place::Air;
                return;
            }
            Some(Begun::Pool(_)) => unreachable!("only what is overlapped goes on so"),
        };
        let moved = self.flights.get(index).rest.map_or(0, |rest| rest.moved);
        self.complete(index, joined(moved, answer));
    }

    /// A connection that was gone before it could be accepted is passed over.
    fn accept_another(&mut self, index: u32, answer: Outcome) -> Option<Begun> {
        let flight = self.flights.get(index);
        let What::Accept { address } = flight.what else { return None };
        // The last is Wine's word for it.
        let gone =
            [win32::ERROR_NETNAME_DELETED as i32, wsa::WSAECONNRESET, wsa::WSAECONNABORTED, wsa::WSAENOTCONN];
        if !matches!(answer, Outcome::Failed(os) if gone.contains(&os)) {
            return None;
        }
        if flight.cancelled {
            return Some(Begun::Over(Outcome::Failed(CANCELLED)));
        }
        flight.reset(0);
        let listener = flight.descriptor;
        let open = self.opened(listener);
        Some(self.accept(index, address, open))
    }

    /// A piece of a vectored transfer of a file is moved whole: the next one's turn.
    fn go_on(&mut self, index: u32, answer: Outcome) -> Option<Begun> {
        let flight = self.flights.get(index);
        let Outcome::Value(bytes) = answer else { return None };
        let rest = flight.rest.as_mut()?;
        // SAFETY: the piece before the next one is that which was just moved.
        let whole = unsafe { rest.pieces.sub(1).as_ref() }.length() == bytes as usize;
        if !whole {
            return None;
        }
        let before = (rest.offset, rest.moved);
        rest.moved += bytes;
        rest.offset += u64::from(bytes);
        let Some((memory, length)) = next_piece(rest) else {
            (rest.offset, rest.moved) = before;
            return None;
        };
        let (offset, What::Transfer(direction)) = (rest.offset, flight.what) else {
            unreachable!("only transfers of files have a rest")
        };
        Some(self.transfer_overlapped(index, direction, (memory, length), offset))
    }

    /// A message was longer than the memory for it.
    fn overflowed(&mut self, index: u32, bytes: u32) -> Outcome {
        if let What::ReceiveMessage(mut message) = self.flights.get(index).what {
            // SAFETY: the shot is with this backend still.
            unsafe { message.as_mut() }.truncated = true;
        }
        self.finish_well(index, bytes)
    }

    /// It did what was asked.
    pub(super) fn finish_well(&mut self, index: u32, bytes: u32) -> Outcome {
        let flight = self.flights.get(index);
        match flight.what {
            What::Accept { .. } => self.accepted(index),
            What::Connect => {
                let socket = flight.descriptor;
                // Without it the socket has no address, and can't be shut down.
                let name = wsa::SO_UPDATE_CONNECT_CONTEXT;
                let _ = socket::set(borrow_socket(&socket), wsa::SOL_SOCKET, name, &[0_u8; 0]);
                Outcome::Value(0)
            }
            What::ReceiveMessage(mut message) => {
                let room: usize = flight.buffers.iter().map(|buffer| buffer.len as usize).sum();
                // SAFETY: the packet has come, so the system has written its answer into the message; the other one is the
                // engine's, which the shot has still.
                let (raw, message) = unsafe { ((*flight.block()).detail.message, message.as_mut()) };
                message.name_length = raw.namelen;
                message.control_length = raw.Control.len;
                message.flags = raw.dwFlags;
                message.truncated |= raw.dwFlags & wsa::MSG_PARTIAL != 0;
                Outcome::Value(bytes.min(room as u32))
            }
            What::AcceptPipe => self.client_came(index),
            What::Pick { pool, buffer } => picked(pool, buffer, Outcome::Value(bytes)),
            What::Poll => {
                // SAFETY: as above.
                let events = unsafe { (*flight.block()).detail.poll.events };
                Outcome::Value(events)
            }
            _ => Outcome::Value(bytes),
        }
    }

    fn accepted(&mut self, index: u32) -> Outcome {
        let flight = self.flights.get(index);
        let What::Accept { mut address } = flight.what else { unreachable!("of an accept only") };
        let (listener, memory) = (flight.descriptor, flight.addresses());
        let socket = flight.socket.take().expect("an accept has a socket");
        let context = as_socket(listener);
        // It fails where the peer is gone again: whoever receives is told.
        let _ = socket::set(socket.as_socket(), wsa::SOL_SOCKET, wsa::SO_UPDATE_ACCEPT_CONTEXT, &context);
        if let Ok(extensions) = extensions::get() {
            let parse = extensions.accepted.expect("asked for");
            let (mut local, mut remote) = (std::ptr::null_mut(), std::ptr::null_mut());
            let (mut local_length, mut remote_length) = (0, 0);
            let room = ADDRESS_ROOM as u32;
            // SAFETY: the memory is what the accept has written, with the same sizes; the addresses that come out lie in
            // it. The scratch block is the slot's, which the shot has still.
            unsafe {
                parse(
                    memory.cast_const().cast(),
                    0,
                    room,
                    room,
                    &raw mut local,
                    &raw mut local_length,
                    &raw mut remote,
                    &raw mut remote_length,
                );
                if !remote.is_null() {
                    address.as_mut().copy_from(remote, remote_length);
                }
            }
        }
        let open = self.opened(listener);
        let inherited = open.inherited;
        let _ = socket::set_tcp_options(socket.as_socket(), &inherited, crate::op::Kind::Accept);
        let raw = socket.into_raw_socket();
        self.open.insert(raw, Open { port: PortState::NotYet, family: open.family, ..Open::SOCKET });
        Outcome::Value(raw as u32)
    }

    /// It failed, or was cancelled.
    fn finish_badly(&mut self, index: u32, status: i32, bytes: u32) -> Outcome {
        let flight = self.flights.get(index);
        drop((flight.socket.take(), flight.instance.take()));
        let open = self.open.get(&flight.descriptor);
        let on_socket = open.is_some_and(|open| open.sort == super::Sort::Socket);
        let os = match flight.what {
            What::Poll => dos_error(status),
            _ if on_socket => winsock_error(flight.descriptor, flight.overlapped(), status),
            _ => dos_error(status),
        };
        let outcome = match flight.what {
            // What is sent is sent.
            What::Send | What::Transfer(Direction::Write) if bytes > 0 => Outcome::Value(bytes),
            what if what.receives() && (flight.shut && is_cancelled(os) || os == wsa::WSAESHUTDOWN) => {
                Outcome::Value(0)
            }
            What::Transfer(Direction::Read) if handles::is_end(os) => Outcome::Value(0),
            _ => Outcome::Failed(os),
        };
        match flight.what {
            What::Pick { pool, buffer } => picked(pool, buffer, outcome),
            _ => outcome,
        }
    }

    /// Takes over what threads of the pool have done.
    pub(super) fn take_landed(&mut self) {
        for (token, answer) in self.port.take_landed() {
            let flight = self.flights.get(token.index);
            assert!(flight.token == token, "the engine waits for what the pool does");
            flight.place = Place::Nowhere;
            if let (What::Pool { opens: true }, Ok(handle)) = (flight.what, answer) {
                // A handle's 32 bits are those of a signed number.
                let handle = handle as i32 as i64 as RawDescriptor;
                self.open.insert(handle, Open { port: PortState::NotYet, ..Open::HANDLE });
            }
            self.done.push_back(Completion { token, outcome: outcome(answer) });
        }
    }
}

/// What was moved before counts, whatever the last piece brought.
fn joined(moved: u32, outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Value(bytes) => Outcome::Value(moved + bytes),
        Outcome::Failed(_) if moved > 0 => Outcome::Value(moved),
        outcome => outcome,
    }
}

fn dos_error(status: i32) -> i32 {
    // SAFETY: it only computes.
    unsafe { win32::RtlNtStatusToDosError(status) as i32 }
}

/// The number that Winsock has for it, or else the system's.
fn winsock_error(
    descriptor: RawDescriptor,
    overlapped: *mut windows_sys::Win32::System::IO::OVERLAPPED,
    status: i32,
) -> i32 {
    let (mut bytes, mut flags) = (0, 0);
    // SAFETY: the socket is open, and the system has let go of the OVERLAPPED.
    let done = unsafe {
        wsa::WSAGetOverlappedResult(as_socket(descriptor), overlapped, &raw mut bytes, 0, &raw mut flags)
    };
    if done == 0 { socket::last_error() } else { dos_error(status) }
}
