//! A shot as a plain system call: what is tried on the loop's thread without waiting, or done on another thread.

use std::ffi::c_int;
use std::ptr::NonNull;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt;

use super::unix::{self, Address, IoVec, Message, borrow};
use super::{blocking, system};
use crate::backend::{RawDescriptor, Shot};
use crate::engine::handles::Means;
use crate::engine::op::{Op, Space};
use crate::engine::paths::PathCall;
use crate::engine::pooled::Pool;

/// The most bytes that one call moves: macOS refuses more than an `int` holds, Linux stops there by itself (read(2)).
const MOST_BYTES: usize = 0x7fff_f000;

/// One shot, with pointers to what the engine keeps until its completion.
#[derive(Copy, Clone)]
pub(in crate::backend) enum Syscall {
    Accept {
        address: NonNull<Address>,
    },
    /// `begun`: its socket is connecting.
    Connect {
        address: NonNull<Address>,
        begun: bool,
    },
    Recv {
        memory: *mut u8,
        length: usize,
    },
    /// Into a buffer of a pool: `buffer`, once there is something in it.
    Pick {
        pool: NonNull<Pool>,
        buffer: u16,
    },
    Send {
        memory: *const u8,
        length: usize,
    },
    RecvMessage {
        message: NonNull<Message>,
        flags: c_int,
    },
    /// `apart`: whether it goes is a matter of who receives it, which the socket's own readiness says nothing of.
    SendMessage {
        message: NonNull<Message>,
        apart: bool,
    },
    /// `offset`: where in the file; `None` for where it stands.
    Read {
        memory: *mut u8,
        length: usize,
        offset: Option<u64>,
    },
    Write {
        memory: *const u8,
        length: usize,
        offset: Option<u64>,
    },
    ReadVectored {
        pieces: NonNull<IoVec>,
        count: u32,
        offset: Option<u64>,
    },
    WriteVectored {
        pieces: NonNull<IoVec>,
        count: u32,
        offset: Option<u64>,
    },
    Sync {
        data_only: bool,
    },
    Truncate {
        length: u64,
    },
    Allocate {
        offset: u64,
        length: u64,
        how: Space,
    },
    Path(NonNull<PathCall>),
    /// The open of a FIFO's end, which waits for the other one; `open` is what was opened already, or -1.
    Fifo {
        path: NonNull<PathCall>,
        open: RawDescriptor,
    },
    Poll {
        events: u32,
        many: bool,
    },
    Close,
}

// SAFETY: what the pointers point at is used by nobody else while the shot is with the backend (`Backend::submit`), and
// the engine neither moves nor frees it before the completion.
unsafe impl Send for Syscall {}
// SAFETY: nothing is reached through a shared reference but by the one thread that makes the call.
unsafe impl Sync for Syscall {}

impl Syscall {
    pub(in crate::backend) fn of(shot: &Shot<'_>) -> Syscall {
        let moved = shot.moved;
        let at = |offset: u64| Some(offset + moved as u64);
        let socket = shot.means == Means::Socket;
        match shot.op {
            Op::Accept { .. } => {
                Syscall::Accept { address: shot.address.expect("an accept has room for the address") }
            }
            Op::Connect => {
                Syscall::Connect { address: shot.address.expect("a connect has an address"), begun: false }
            }
            Op::Recv { into, .. } => {
                let (memory, length) = rest(into.memory.as_ptr(), into.length, moved);
                if socket {
                    Syscall::Recv { memory, length }
                } else {
                    Syscall::Read { memory, length, offset: None }
                }
            }
            &Op::RecvMany { pool, .. } => Syscall::Pick { pool, buffer: 0 },
            Op::Send { from, length, .. } => {
                let (memory, length) = rest(from.cast_mut(), *length, moved);
                if socket {
                    Syscall::Send { memory, length }
                } else {
                    Syscall::Write { memory, length, offset: None }
                }
            }
            Op::RecvVectored { pieces, .. } if socket => {
                Syscall::RecvMessage { message: pieces.message(), flags: 0 }
            }
            Op::SendVectored { pieces, .. } if socket => {
                Syscall::SendMessage { message: pieces.message(), apart: false }
            }
            Op::RecvVectored { pieces, .. } => {
                let (pieces, count) = pieces.array();
                Syscall::ReadVectored { pieces, count, offset: None }
            }
            Op::SendVectored { pieces, .. } => {
                let (pieces, count) = pieces.array();
                Syscall::WriteVectored { pieces, count, offset: None }
            }
            Op::RecvMessage { envelope, .. } => {
                Syscall::RecvMessage { message: envelope.message(), flags: 0 }
            }
            op @ Op::SendMessage { envelope, .. } => {
                Syscall::SendMessage { message: envelope.message(), apart: op.is_ready_in_vain() }
            }
            Op::RecvFds { into, passing, .. } => {
                let message = passing.message(into.memory.as_ptr(), into.length).cast();
                Syscall::RecvMessage { message, flags: system::RECV_CLOSE_ON_EXEC }
            }
            op @ Op::SendFds { from, length, passing, .. } => {
                let message = passing.message(from.cast_mut(), *length).cast();
                Syscall::SendMessage { message, apart: op.is_ready_in_vain() }
            }
            Op::ReadAt { into, offset, .. } => {
                let (memory, length) = rest(into.memory.as_ptr(), into.length, moved);
                Syscall::Read { memory, length, offset: at(*offset) }
            }
            Op::WriteAt { from, length, offset, .. } => {
                let (memory, length) = rest(from.cast_mut(), *length, moved);
                Syscall::Write { memory, length, offset: at(*offset) }
            }
            Op::ReadAtVectored { pieces, offset, .. } => {
                let (pieces, count) = pieces.array();
                Syscall::ReadVectored { pieces, count, offset: at(*offset) }
            }
            Op::WriteAtVectored { pieces, offset, .. } => {
                let (pieces, count) = pieces.array();
                Syscall::WriteVectored { pieces, count, offset: at(*offset) }
            }
            &Op::Sync { data_only } => Syscall::Sync { data_only },
            &Op::Truncate { length } => Syscall::Truncate { length },
            &Op::Allocate { offset, length, how } => Syscall::Allocate { offset, length, how },
            Op::Path(path) => Syscall::Path(NonNull::from(&**path)),
            &Op::Poll { interest, many, .. } => Syscall::Poll { events: unix::events(interest), many },
            Op::Close => Syscall::Close,
            Op::Shutdown(_) | Op::Timer(_) | Op::NextTick | Op::Blocking { .. } | Op::Steps(_) => {
                unreachable!("the engine does these itself, or the thread pool")
            }
        }
    }

    /// Whether it is done on a thread of the pool, since nothing tells when it would not wait.
    pub(in crate::backend) fn is_pooled(&self) -> bool {
        match self {
            Syscall::Read { offset, .. }
            | Syscall::Write { offset, .. }
            | Syscall::ReadVectored { offset, .. }
            | Syscall::WriteVectored { offset, .. } => offset.is_some(),
            Syscall::Sync { .. } | Syscall::Truncate { .. } | Syscall::Allocate { .. } | Syscall::Path(_) => {
                true
            }
            _ => false,
        }
    }

    /// Whether it is of a place in a file.
    pub(in crate::backend) fn has_offset(&self) -> bool {
        self.is_pooled()
            && !matches!(
                self,
                Syscall::Sync { .. } | Syscall::Truncate { .. } | Syscall::Allocate { .. } | Syscall::Path(_)
            )
    }

    /// From now on it is of where the file stands.
    pub(in crate::backend) fn forget_offset(&mut self) {
        if let Syscall::Read { offset, .. }
        | Syscall::Write { offset, .. }
        | Syscall::ReadVectored { offset, .. }
        | Syscall::WriteVectored { offset, .. } = self
        {
            *offset = None;
        }
    }

    /// Whether it may turn out that there is nothing to wait for; what else changes something is not begun in vain.
    pub(in crate::backend) fn may_be_done_at_once(&self) -> bool {
        match self {
            Syscall::Connect { .. } | Syscall::Poll { .. } | Syscall::Fifo { .. } => false,
            Syscall::Read { .. } | Syscall::ReadVectored { .. } => true,
            call => !call.is_pooled(),
        }
    }

    /// Opens a FIFO if somebody is at its other end; `AGAIN` if nobody is.
    pub(in crate::backend) fn open_fifo(&mut self, from: RawDescriptor) -> Result<u32, Errno> {
        let Syscall::Fifo { path, open } = self else { unreachable!("not of a FIFO") };
        // SAFETY: the shot is with the backend, so the engine keeps the call.
        blocking::open_fifo(from, unsafe { path.as_ref() }, open)
    }

    /// Gives up what it has on its own.
    pub(in crate::backend) fn abandon(&mut self) {
        if let Syscall::Fifo { open, .. } = self
            && *open >= 0
        {
            drop(unix::detach(std::mem::replace(open, -1)));
        }
    }

    /// Whether it waits for what can be written, not for what can be read.
    pub(in crate::backend) fn writes(&self) -> bool {
        matches!(
            self,
            Syscall::Connect { .. }
                | Syscall::Send { .. }
                | Syscall::SendMessage { .. }
                | Syscall::Write { .. }
                | Syscall::WriteVectored { .. }
        )
    }

    /// How many bytes a receive from a stream has room for.
    #[inline]
    pub(in crate::backend) fn room(&self) -> Option<usize> {
        match *self {
            Syscall::Recv { length, .. } => Some(length),
            // SAFETY: the shot is with the backend, so the engine keeps the pool.
            Syscall::Pick { pool, .. } => Some(unsafe { pool.as_ref() }.size()),
            _ => None,
        }
    }

    /// Makes the call on a socket so that it never waits: `AGAIN` if it would have to.
    ///
    /// # Safety
    /// The shot is with the backend: its memory is valid, and nobody else uses it.
    pub(in crate::backend) unsafe fn without_waiting(
        &mut self,
        descriptor: RawDescriptor,
    ) -> Result<u32, Errno> {
        let flags = libc::MSG_DONTWAIT;
        // SAFETY: the caller vouches for the memory.
        unsafe {
            match *self {
                Syscall::Accept { address } => system::accept(descriptor, address),
                Syscall::Connect { begun: true, .. } => connected(descriptor),
                Syscall::Connect { address, ref mut begun } => {
                    let begins = connect(descriptor, address);
                    *begun = matches!(begins, Err(Errno::INPROGRESS | Errno::INTR));
                    if *begun { Err(Errno::AGAIN) } else { begins }
                }
                Syscall::Recv { memory, length } => {
                    answer(libc::recv(descriptor, memory.cast(), length, flags))
                }
                Syscall::Pick { pool, ref mut buffer } => {
                    let pool = pool.as_ref();
                    let Some((picked, memory)) = pool.pick() else { return Err(Errno::NOBUFS) };
                    let size = pool.size().min(MOST_BYTES);
                    let got = answer(libc::recv(descriptor, memory.as_ptr().cast(), size, flags));
                    match got {
                        Ok(1..) => *buffer = picked,
                        _ => pool.put_back(picked),
                    }
                    got
                }
                Syscall::Send { memory, length } => {
                    let flags = flags | system::NO_SIGNAL;
                    answer(libc::send(descriptor, memory.cast(), length, flags))
                }
                Syscall::RecvMessage { message, flags: more } => {
                    answer(libc::recvmsg(descriptor, message.as_ptr().cast(), flags | more))
                }
                Syscall::SendMessage { message, .. } => {
                    let flags = flags | system::NO_SIGNAL;
                    answer(libc::sendmsg(descriptor, message.as_ptr().cast(), flags))
                }
                _ => unreachable!("not of sockets"),
            }
        }
    }

    /// As `without_waiting`, of what is no socket; `OPNOTSUPP` where nobody can tell.
    ///
    /// # Safety
    /// As there.
    pub(in crate::backend) unsafe fn at_once(&self, descriptor: RawDescriptor) -> Result<u32, Errno> {
        // SAFETY: the caller vouches for the memory.
        unsafe { system::transfer_at_once(self, descriptor) }
    }

    /// Makes the call and waits as long as it takes; on a thread of the pool, or where it is known not to wait.
    ///
    /// # Safety
    /// As for `without_waiting`.
    pub(in crate::backend) unsafe fn waiting(&self, descriptor: RawDescriptor) -> Result<u32, Errno> {
        // SAFETY: the caller vouches for the memory; offsets are in range (`Transfer::in_range`).
        unsafe {
            match *self {
                Syscall::Accept { address } => system::accept(descriptor, address),
                Syscall::Read { memory, length, offset: None } => {
                    answer(libc::read(descriptor, memory.cast(), length))
                }
                Syscall::Read { memory, length, offset: Some(at) } => {
                    answer(libc::pread(descriptor, memory.cast(), length, at as libc::off_t))
                }
                Syscall::Write { memory, length, offset: None } => {
                    blocking::without_signal(|| libc::write(descriptor, memory.cast(), length))
                }
                Syscall::Write { memory, length, offset: Some(at) } => {
                    answer(libc::pwrite(descriptor, memory.cast(), length, at as libc::off_t))
                }
                Syscall::ReadVectored { pieces, count, offset: None } => {
                    answer(libc::readv(descriptor, pieces.as_ptr().cast(), count as c_int))
                }
                Syscall::ReadVectored { pieces, count, offset: Some(at) } => answer(libc::preadv(
                    descriptor,
                    pieces.as_ptr().cast(),
                    count as c_int,
                    at as libc::off_t,
                )),
                Syscall::WriteVectored { pieces, count, offset: None } => blocking::without_signal(|| {
                    libc::writev(descriptor, pieces.as_ptr().cast(), count as c_int)
                }),
                Syscall::WriteVectored { pieces, count, offset: Some(at) } => answer(libc::pwritev(
                    descriptor,
                    pieces.as_ptr().cast(),
                    count as c_int,
                    at as libc::off_t,
                )),
                Syscall::Sync { data_only } => blocking::sync(descriptor, data_only),
                Syscall::Truncate { length } => {
                    rustix::fs::ftruncate(borrow(&descriptor), length).map(|()| 0)
                }
                Syscall::Allocate { offset, length, how } => {
                    blocking::allocate(descriptor, offset, length, how)
                }
                Syscall::Path(call) => blocking::call(descriptor, call.as_ref()),
                Syscall::Close => answer(libc::close(descriptor) as isize),
                _ => unreachable!("has a form that doesn't wait"),
            }
        }
    }
}

/// Memory and length of what is left after `moved` bytes, at most what one call takes.
fn rest(memory: *mut u8, length: usize, moved: usize) -> (*mut u8, usize) {
    assert!(moved <= length);
    (memory.wrapping_add(moved), (length - moved).min(MOST_BYTES))
}

/// A C function's answer: a count, or -1 and `errno`.
pub(in crate::backend) fn answer(value: isize) -> Result<u32, Errno> {
    if value < 0 { Err(last_error()) } else { Ok(value as u32) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// Lets a socket begin to connect, without waiting for it.
///
/// # Safety
/// The address was written.
unsafe fn connect(descriptor: RawDescriptor, address: NonNull<Address>) -> Result<u32, Errno> {
    let socket = borrow(&descriptor);
    rustix::io::ioctl_fionbio(socket, true)?;
    // SAFETY: the caller vouches that the storage holds an address of this length.
    let begins = unsafe {
        let Address { storage, length } = address.as_ref();
        answer(libc::connect(descriptor, storage.as_ptr().cast(), *length) as isize)
    };
    if !matches!(begins, Err(Errno::INPROGRESS | Errno::INTR | Errno::AGAIN)) {
        rustix::io::ioctl_fionbio(socket, system::NONBLOCKING)?;
    }
    begins
}

/// Whether a socket that was connecting is connected; it is never asked to connect again.
fn connected(descriptor: RawDescriptor) -> Result<u32, Errno> {
    let socket = borrow(&descriptor);
    sockopt::socket_error(socket)??;
    match rustix::net::getpeername(socket) {
        // Nothing has happened yet.
        Ok(None) | Err(Errno::NOTCONN) => Err(Errno::AGAIN),
        // It was reset since: the connection's first receive tells.
        Ok(Some(_)) | Err(_) => rustix::io::ioctl_fionbio(socket, system::NONBLOCKING).map(|()| 0),
    }
}

/// What poll(2) says of a descriptor now; none of the events is an answer, too.
pub(in crate::backend) fn ready_now(descriptor: RawDescriptor, write: bool) -> bool {
    let descriptor = borrow(&descriptor);
    let events = if write { PollFlags::OUT } else { PollFlags::IN };
    let mut asked = [PollFd::new(&descriptor, events)];
    // An error is for the call itself to tell.
    poll(&mut asked, Some(&Timespec::default())).map_or(true, |ready| ready > 0)
}

/// Everything that poll(2) says of a descriptor now.
pub(in crate::backend) fn polled_now(descriptor: RawDescriptor) -> u32 {
    let descriptor = borrow(&descriptor);
    let events = [PollFlags::IN, PollFlags::OUT, PollFlags::PRI, PollFlags::RDBAND];
    let asked = PollFlags::from_bits_retain(unix::READ_CLOSED as _);
    let mut asked = [PollFd::new(&descriptor, events.into_iter().fold(asked, |all, event| all | event))];
    // An error finds nothing, and the next news may.
    let _ = poll(&mut asked, Some(&Timespec::default()));
    asked[0].revents().bits() as u32 & 0xffff
}
