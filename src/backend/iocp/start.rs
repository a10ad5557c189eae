//! Each kind of operation as an overlapped call.

use std::ptr::{NonNull, null, null_mut};

use socket2::{Domain, Protocol, Type};
use std::os::windows::io::AsRawSocket;
use windows_sys::Win32::Networking::WinSock as wsa;

use super::flights::{ADDRESS_ROOM, Place, What};
use super::offload::{Call, close, offload};
use super::{Iocp, MOST_BYTES, Open, PortState, extensions, poll};
use crate::ErrorKind;
use crate::backend::windows::descriptor::{as_socket, borrow_handle};
use crate::backend::windows::files::Failure;
use crate::backend::windows::handles::Direction;
use crate::backend::windows::{Address, IoVec, Message, Sort, handles, socket};
use crate::backend::{Outcome, Shot};
use crate::engine::handles::Means;
use crate::engine::op::Op;
use crate::engine::paths::Call as PathCalled;
use crate::op::Interest;

/// The most bytes that a send moves which is content with fewer. An overlapped one ends when all is sent, however little the peer
/// takes; elsewhere such a send ends as soon as the system has taken something.
const PLAIN_SEND: u32 = 64 * 1024;

/// How a call began.
pub(super) enum Begun {
    /// A packet will come.
    Flies,
    /// It is over, and none will.
    Over(Outcome),
    /// It was given to the pool.
    Pool(u64),
}

fn failed(os: i32) -> Begun {
    Begun::Over(Outcome::Failed(os))
}

pub(super) fn outcome(answer: Result<u32, Failure>) -> Outcome {
    match answer {
        Ok(value) => Outcome::Value(value),
        Err(Failure::Os(os)) => Outcome::Failed(os),
        Err(Failure::Kind(kind)) => Outcome::Refused(kind),
    }
}

/// Memory and length of what is left after `moved` bytes, at most what one call takes.
fn rest(memory: *mut u8, length: usize, moved: usize) -> (*mut u8, u32) {
    assert!(moved <= length);
    (memory.wrapping_add(moved), (length - moved).min(MOST_BYTES as usize) as u32)
}

impl Iocp {
    pub(super) fn start(&mut self, shot: &Shot<'_>) {
        let index = shot.token.index;
        self.flights.begin(shot.token, shot.descriptor);
        let begun = self.begin(index, shot);
        match begun {
            Begun::Flies => self.flights.get(index).place = Place::Air,
            Begun::Pool(ticket) => self.flights.get(index).place = Place::Pool(ticket),
            Begun::Over(outcome) => self.complete(index, outcome),
        }
    }

    fn begin(&mut self, index: u32, shot: &Shot<'_>) -> Begun {
        let flies = !matches!(shot.op, Op::Poll { .. } | Op::Close | Op::Path(_));
        let open = match flies {
            true => match self.ready(shot.descriptor) {
                Ok(open) => open,
                // A second handle of it completes elsewhere.
                Err(_) => return Begun::Over(Outcome::Refused(ErrorKind::Busy)),
            },
            false => self.opened(shot.descriptor),
        };
        let moved = shot.moved;
        let stream = open.sort == Sort::Socket;
        match shot.op {
            Op::Accept { .. } => {
                self.accept(index, shot.address.expect("an accept has room for the address"), open)
            }
            Op::Connect => self.connect(index, shot.address.expect("a connect has an address"), open),
            &Op::Recv { into, .. } => {
                let (memory, length) = rest(into.memory.as_ptr(), into.length, moved);
                if stream {
                    self.receive(index, memory, length, open)
                } else {
                    self.transfer(index, Direction::Read, (memory, length), None, shot, open)
                }
            }
            &Op::Send { from, length, all, .. } => {
                let length = if all || !stream { length } else { length.min(moved + PLAIN_SEND as usize) };
                let (memory, length) = rest(from.cast_mut(), length, moved);
                if stream {
                    self.send(index, memory, length, open)
                } else {
                    self.transfer(index, Direction::Write, (memory, length), None, shot, open)
                }
            }
            &Op::RecvMany { pool, .. } => self.receive_many(index, pool, open),
            Op::RecvVectored { pieces, .. } => {
                let (pieces, count) = pieces.array();
                if stream {
                    self.receive_pieces(index, pieces, count, open)
                } else {
                    self.transfer_pieces(index, Direction::Read, (pieces, count), None, shot, open)
                }
            }
            &Op::SendVectored { ref pieces, all } => {
                let (pieces, count) = pieces.array();
                let most = if all { MOST_BYTES } else { PLAIN_SEND };
                if stream {
                    self.send_pieces(index, pieces, count, most, open)
                } else {
                    self.transfer_pieces(index, Direction::Write, (pieces, count), None, shot, open)
                }
            }
            Op::RecvMessage { envelope, .. } => self.receive_message(index, envelope.message(), open),
            Op::SendMessage { envelope, .. } => self.send_message(index, envelope.message(), open),
            &Op::ReadAt { into, offset, .. } => {
                let (memory, length) = rest(into.memory.as_ptr(), into.length, moved);
                self.transfer(
                    index,
                    Direction::Read,
                    (memory, length),
                    Some(offset + moved as u64),
                    shot,
                    open,
                )
            }
            &Op::WriteAt { from, length, offset, .. } => {
                let (memory, length) = rest(from.cast_mut(), length, moved);
                self.transfer(
                    index,
                    Direction::Write,
                    (memory, length),
                    Some(offset + moved as u64),
                    shot,
                    open,
                )
            }
            Op::ReadAtVectored { pieces, offset, .. } => {
                let (pieces, count) = pieces.array();
                self.transfer_pieces(
                    index,
                    Direction::Read,
                    (pieces, count),
                    Some(offset + moved as u64),
                    shot,
                    open,
                )
            }
            Op::WriteAtVectored { pieces, offset, .. } => {
                let (pieces, count) = pieces.array();
                self.transfer_pieces(
                    index,
                    Direction::Write,
                    (pieces, count),
                    Some(offset + moved as u64),
                    shot,
                    open,
                )
            }
            Op::Sync { .. } => self.offload(index, Call::Sync, shot),
            &Op::Truncate { length } => self.offload(index, Call::Truncate { length }, shot),
            &Op::Allocate { offset, length, how } => {
                self.offload(index, Call::Allocate { offset, length, how }, shot)
            }
            Op::Path(path) => match path.call {
                PathCalled::AcceptPipe(how) => self.accept_pipe(index, &path.path, &how),
                called => {
                    let opens = matches!(called, PathCalled::Open(_) | PathCalled::OpenFifo(_));
                    let begun = self.offload(index, Call::Path(NonNull::from(&**path)), shot);
                    self.flights.get(index).what = What::Pool { opens };
                    begun
                }
            },
            &Op::Poll { interest, many, .. } => self.poll(index, interest, many, open),
            Op::Close => self.close(index, shot, open),
            // Nothing makes a Unix socket's handle here.
            Op::RecvFds { .. } | Op::SendFds { .. } => Begun::Over(Outcome::Refused(ErrorKind::Unsupported)),
            Op::Shutdown(_) | Op::Timer(_) | Op::NextTick | Op::Blocking { .. } | Op::Steps(_) => {
                unreachable!("the engine does these itself, or the thread pool")
            }
        }
    }

    pub(super) fn offload(&mut self, index: u32, call: Call, shot: &Shot<'_>) -> Begun {
        self.flights.get(index).what = What::Pool { opens: false };
        Begun::Pool(offload(&self.port, shot.token, call, shot.descriptor))
    }

    /// Judges what a call to Winsock answered at once; `bytes` is what it moved if it is done.
    pub(super) fn begun(&mut self, index: u32, result: i32, bytes: u32, open: Open) -> Begun {
        if result == 0 {
            return if open.skips { Begun::Over(Outcome::Value(bytes)) } else { Begun::Flies };
        }
        match socket::last_error() {
            wsa::WSA_IO_PENDING => Begun::Flies,
            // A warning to the system, not a failure: the packet comes.
            wsa::WSAEMSGSIZE => Begun::Flies,
            os => {
                self.flights.retire(index);
                failed(os)
            }
        }
    }

    pub(super) fn accept(&mut self, index: u32, address: NonNull<Address>, open: Open) -> Begun {
        loop {
            match self.accept_one(index, address, open) {
                // It was gone before it could be accepted.
                Begun::Over(Outcome::Failed(wsa::WSAECONNRESET)) => self.flights.get(index).reset(0),
                begun => return begun,
            }
        }
    }

    fn accept_one(&mut self, index: u32, address: NonNull<Address>, open: Open) -> Begun {
        let extensions = match extensions::get() {
            Ok(extensions) => extensions,
            Err(os) => return failed(os),
        };
        let domain = if open.family == wsa::AF_INET { Domain::IPV4 } else { Domain::IPV6 };
        let socket = match socket::new(domain, Type::STREAM, Protocol::TCP) {
            Ok(socket) => socket,
            Err(error) => return failed(error.raw_os_error().unwrap_or(wsa::WSAENOBUFS)),
        };
        let flight = self.flights.get(index);
        flight.what = What::Accept { address };
        let (accepted, listener) = (as_socket(socket.as_raw_socket()), as_socket(flight.descriptor));
        flight.socket = Some(socket);
        let (memory, overlapped) = (flight.addresses(), flight.overlapped());
        let accept = extensions.accept.expect("asked for");
        let (room, mut bytes) = (ADDRESS_ROOM as u32, 0);
        // SAFETY: memory and OVERLAPPED belong to the flight and stay until the packet; both sockets are open until then.
        let done =
            unsafe { accept(listener, accepted, memory.cast(), 0, room, room, &raw mut bytes, overlapped) };
        let begun = self.begun(index, i32::from(done == 0), bytes, open);
        self.finished_at_once(index, begun)
    }

    /// What is done at once has its packet's work done here.
    fn finished_at_once(&mut self, index: u32, begun: Begun) -> Begun {
        match begun {
            Begun::Over(Outcome::Value(bytes)) => Begun::Over(self.finish_well(index, bytes)),
            Begun::Over(outcome) => {
                drop(self.flights.get(index).socket.take());
                Begun::Over(outcome)
            }
            begun => begun,
        }
    }

    fn connect(&mut self, index: u32, address: NonNull<Address>, open: Open) -> Begun {
        let extensions = match extensions::get() {
            Ok(extensions) => extensions,
            Err(os) => return failed(os),
        };
        let flight = self.flights.get(index);
        flight.what = What::Connect;
        let (socket, overlapped) = (as_socket(flight.descriptor), flight.overlapped());
        let connect = extensions.connect.expect("asked for");
        // SAFETY: the address lies in the slot's scratch block, the OVERLAPPED in the flight's.
        let done = unsafe {
            let (name, length) = (address.as_ref().as_ptr(), address.as_ref().length);
            connect(socket, name, length, null(), 0, null_mut(), overlapped)
        };
        let begun = self.begun(index, i32::from(done == 0), 0, open);
        self.finished_at_once(index, begun)
    }

    fn send(&mut self, index: u32, memory: *mut u8, length: u32, open: Open) -> Begun {
        self.send_buffers(index, &[wsa::WSABUF { len: length, buf: memory }], open)
    }

    fn send_pieces(
        &mut self,
        index: u32,
        pieces: NonNull<IoVec>,
        count: u32,
        most: u32,
        open: Open,
    ) -> Begun {
        let buffers = self.gather(pieces, count as usize, most);
        let begun = self.send_buffers(index, &buffers, open);
        self.buffers = buffers;
        begun
    }

    fn send_buffers(&mut self, index: u32, buffers: &[wsa::WSABUF], open: Open) -> Begun {
        let flight = self.flights.get(index);
        flight.what = What::Send;
        let mut bytes = 0;
        // SAFETY: the engine keeps the memory until the completion; the array is copied by the call (WSASend).
        let result = unsafe {
            wsa::WSASend(
                as_socket(flight.descriptor),
                buffers.as_ptr(),
                buffers.len() as u32,
                &raw mut bytes,
                0,
                flight.overlapped(),
                None,
            )
        };
        self.begun(index, result, bytes, open)
    }

    /// Pieces as the system takes them, in memory that is used again and again.
    pub(super) fn gather(&mut self, pieces: NonNull<IoVec>, count: usize, most: u32) -> Vec<wsa::WSABUF> {
        let mut buffers = std::mem::take(&mut self.buffers);
        fill(&mut buffers, pieces, count, most);
        buffers
    }

    fn receive_message(&mut self, index: u32, mut message: NonNull<Message>, open: Open) -> Begun {
        let extensions = match extensions::get() {
            Ok(extensions) => extensions,
            Err(os) => return failed(os),
        };
        let flight = self.flights.get(index);
        flight.what = What::ReceiveMessage(message);
        // SAFETY: the shot is with this backend, so nobody else uses the message.
        let message = unsafe { message.as_mut() };
        fill(&mut flight.buffers, message.pieces, message.count, MOST_BYTES);
        let raw = raw_message(message, &mut flight.buffers);
        let (block, socket) = (flight.block(), as_socket(flight.descriptor));
        let receive = extensions.receive_message.expect("asked for");
        let mut bytes = 0;
        // SAFETY: the block is the flight's and not with the system. It, the array and what they point at stay until the
        // packet.
        let result = unsafe {
            (*block).detail.message = raw;
            let message = &raw mut (*block).detail.message;
            receive(socket, message, &raw mut bytes, &raw mut (*block).overlapped, None)
        };
        let begun = self.begun(index, result, bytes, open);
        self.finished_at_once(index, begun)
    }

    fn send_message(&mut self, index: u32, mut message: NonNull<Message>, open: Open) -> Begun {
        let flight = self.flights.get(index);
        flight.what = What::SendMessage;
        // SAFETY: as in `receive_message`.
        let message = unsafe { message.as_mut() };
        fill(&mut flight.buffers, message.pieces, message.count, MOST_BYTES);
        let raw = raw_message(message, &mut flight.buffers);
        let (block, socket) = (flight.block(), as_socket(flight.descriptor));
        let mut bytes = 0;
        // SAFETY: as in `receive_message`.
        let result = unsafe {
            (*block).detail.message = raw;
            let overlapped = &raw mut (*block).overlapped;
            if raw.name.is_null() && raw.Control.len == 0 {
                // To whom it is connected; the next one would take nobody for an invalid address.
                let (buffers, count) = (raw.lpBuffers.cast_const(), raw.dwBufferCount);
                wsa::WSASend(socket, buffers, count, &raw mut bytes, 0, overlapped, None)
            } else if raw.Control.len > 0 {
                let message = &raw const (*block).detail.message;
                wsa::WSASendMsg(socket, message, 0, &raw mut bytes, overlapped, None)
            } else {
                let (buffers, count) = (raw.lpBuffers.cast_const(), raw.dwBufferCount);
                let (name, length) = (raw.name.cast_const(), raw.namelen);
                wsa::WSASendTo(socket, buffers, count, &raw mut bytes, 0, name, length, overlapped, None)
            }
        };
        match self.begun(index, result, bytes, open) {
            // Too long to be sent: for a send that is a failure, and no packet comes.
            Begun::Flies if result != 0 && socket::last_error() == wsa::WSAEMSGSIZE => {
                self.flights.retire(index);
                failed(wsa::WSAEMSGSIZE)
            }
            // Wine's word for it.
            Begun::Over(Outcome::Failed(wsa::WSAEINVAL)) if raw.name.is_null() => failed(wsa::WSAENOTCONN),
            begun => begun,
        }
    }

    fn poll(&mut self, index: u32, interest: Interest, many: bool, open: Open) -> Begun {
        if many {
            return Begun::Over(Outcome::Refused(ErrorKind::Unsupported));
        }
        let descriptor = self.flights.get(index).descriptor;
        if open.sort == Sort::Handle {
            use windows_sys::Win32::Storage::FileSystem::FILE_TYPE_DISK;
            let disk = handles::sort_of_file(borrow_handle(&descriptor)) == FILE_TYPE_DISK;
            return Begun::Over(if disk {
                Outcome::Value(poll::always_ready(interest))
            } else {
                Outcome::Refused(ErrorKind::Unsupported)
            });
        }
        if self.afd.is_none() {
            let opened = poll::open().and_then(|afd| self.port.associate(afd.raw()).map(|()| afd));
            match opened {
                Ok(afd) => self.afd = Some(afd),
                Err(os) => return failed(os),
            }
        }
        let afd = self.afd.as_ref().expect("opened above");
        let flight = self.flights.get(index);
        flight.what = What::Poll;
        let block = flight.block();
        // SAFETY: the block is the flight's and not with the system; it stays until the packet.
        let asked = unsafe {
            (*block).detail.poll = poll::info(descriptor, poll::events(interest));
            poll::ask(afd, &raw mut (*block).detail.poll, &raw mut (*block).overlapped)
        };
        match asked {
            Ok(()) => Begun::Flies,
            Err(os) => failed(os),
        }
    }

    fn close(&mut self, index: u32, shot: &Shot<'_>, open: Open) -> Begun {
        self.open.remove(&shot.descriptor);
        if shot.lingers && open.sort == Sort::Socket {
            return self.offload(index, Call::CloseSocket, shot);
        }
        self.flights.get(index).what = What::Close;
        Begun::Over(outcome(close(shot.descriptor, open.sort)))
    }
}

/// Writes pieces as the system takes them, at most as many bytes as one call moves.
fn fill(buffers: &mut Vec<wsa::WSABUF>, pieces: NonNull<IoVec>, count: usize, most: u32) {
    buffers.clear();
    let mut left = most as usize;
    // SAFETY: the shot is with this backend, so the engine keeps the pieces and nobody changes them.
    let pieces = unsafe { std::slice::from_raw_parts(pieces.as_ptr(), count) };
    for piece in pieces {
        let length = piece.length().min(left);
        left -= length;
        buffers.push(wsa::WSABUF { len: length as u32, buf: piece.memory().as_ptr() });
        if left == 0 {
            break;
        }
    }
}

fn raw_message(message: &Message, buffers: &mut [wsa::WSABUF]) -> wsa::WSAMSG {
    wsa::WSAMSG {
        name: message.name,
        namelen: message.name_length,
        lpBuffers: buffers.as_mut_ptr(),
        dwBufferCount: buffers.len() as u32,
        Control: wsa::WSABUF { len: message.control_length, buf: message.control },
        dwFlags: 0,
    }
}

/// Whether anything but a pool's thread has to wait in the call.
pub(super) fn means(open: &Open) -> Means {
    match open.sort {
        Sort::Socket => Means::Socket,
        Sort::Handle if open.port != PortState::Never => Means::File,
        Sort::Handle => Means::Blocking,
    }
}
