//! Each kind of operation as a submission entry.

use io_uring::{opcode, squeue, types};

use super::setup::Features;
use super::{READINESS, files};
use crate::backend::{RawDescriptor, Shot, Token, system, unix};
use crate::engine::handles::Lane;
use crate::engine::op::{Op, Unit};

/// The most bytes that one shot moves: a completion's result has 31 bits, and the kernel stops there
/// (`MAX_RW_COUNT`, read(2)). The engine goes on where it matters.
const MOST_BYTES: usize = 0x7fff_f000;

/// What most shots are: one buffer, to be moved through a socket or at a place in a file. Never for a wait for readiness.
#[inline(always)]
pub(super) fn prepare_plain(
    token: Token,
    descriptor: RawDescriptor,
    op: &Op,
    moved: usize,
) -> Option<squeue::Entry> {
    let fd = types::Fd(descriptor);
    let entry = match *op {
        // No MSG_WAITALL, though it would save shots: when the connection is reset after part of the bytes, the
        // kernel answers their number and forgets the reset, which then looks like the end of the stream.
        Op::Recv { into, .. } => {
            let (memory, left) = rest(into.memory.as_ptr(), into.length, moved);
            opcode::Recv::new(fd, memory, left).build()
        }
        Op::Send { from, length, .. } => {
            let (memory, left) = rest(from.cast_mut(), length, moved);
            opcode::Send::new(fd, memory, left).flags(libc::MSG_NOSIGNAL).build()
        }
        Op::ReadAt { into, offset, .. } => {
            let (memory, left) = rest(into.memory.as_ptr(), into.length, moved);
            opcode::Read::new(fd, memory, left).offset(offset + moved as u64).build()
        }
        Op::WriteAt { from, length, offset, .. } => {
            let (memory, left) = rest(from.cast_mut(), length, moved);
            opcode::Write::new(fd, memory, left).offset(offset + moved as u64).build()
        }
        _ => return None,
    };
    Some(entry.user_data(token.user_data()))
}

pub(super) fn prepare(shot: &Shot<'_>, features: &Features) -> squeue::Entry {
    let user_data = shot.token.user_data();
    if shot.readiness_only {
        return prepare_readiness(shot).user_data(user_data | READINESS);
    }
    if let Some(entry) = prepare_plain(shot.token, shot.descriptor, shot.op, shot.moved) {
        return entry;
    }
    let fd = types::Fd(shot.descriptor);
    let entry = match shot.op {
        // It tells no addresses: the next connection's would overwrite the last one's.
        Op::Accept { many: true, .. } if features.repeats_accepts => {
            opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC).build()
        }
        Op::Accept { .. } => {
            let address = shot.address.expect("an accept has room for the address").as_ptr();
            // SAFETY: `address` is the slot's scratch block; only addresses of its fields are taken.
            let (storage, length) = unsafe { (&raw mut (*address).storage, &raw mut (*address).length) };
            opcode::Accept::new(fd, storage.cast(), length).flags(libc::SOCK_CLOEXEC).build()
        }
        Op::Connect => {
            let address = shot.address.expect("a connect has an address");
            // SAFETY: `address` is the slot's scratch block, written before the shot.
            let (storage, length) = unsafe { (address.as_ref().storage.as_ptr(), address.as_ref().length) };
            opcode::Connect::new(fd, storage.cast(), length).build()
        }
        Op::RecvMany { pool, .. } => {
            // SAFETY: the operation has the pool among its parts, which the engine keeps.
            let group = unsafe { pool.as_ref() }.number;
            opcode::RecvMulti::new(fd, group).build()
        }
        Op::RecvVectored { pieces, .. } => opcode::RecvMsg::new(fd, pieces.message().as_ptr().cast()).build(),
        Op::SendVectored { pieces, .. } => {
            let flags = libc::MSG_NOSIGNAL as u32;
            opcode::SendMsg::new(fd, pieces.message().as_ptr().cast_const().cast()).flags(flags).build()
        }
        Op::RecvMessage { envelope, .. } => {
            opcode::RecvMsg::new(fd, envelope.message().as_ptr().cast()).build()
        }
        Op::SendMessage { envelope, unit } => {
            let flags = (libc::MSG_NOSIGNAL | own_waiting(*unit)) as u32;
            opcode::SendMsg::new(fd, envelope.message().as_ptr().cast_const().cast()).flags(flags).build()
        }
        Op::ReadAtVectored { pieces, offset, .. } => {
            let (pieces, count) = pieces.array();
            let pieces = pieces.as_ptr().cast_const().cast();
            opcode::Readv::new(fd, pieces, count).offset(offset + shot.moved as u64).build()
        }
        Op::WriteAtVectored { pieces, offset, .. } => {
            let (pieces, count) = pieces.array();
            let pieces = pieces.as_ptr().cast_const().cast();
            opcode::Writev::new(fd, pieces, count).offset(offset + shot.moved as u64).build()
        }
        Op::Sync { .. } | Op::Truncate { .. } | Op::Allocate { .. } | Op::Path(_) => {
            files::prepare(shot.op, fd)
        }
        Op::RecvFds { into, passing, .. } => {
            let message = passing.message(into.memory.as_ptr(), into.length);
            let flags = system::RECV_CLOSE_ON_EXEC as u32;
            opcode::RecvMsg::new(fd, message.as_ptr().cast()).flags(flags).build()
        }
        Op::SendFds { from, length, passing, unit } => {
            let message = passing.message(from.cast_mut(), *length);
            let flags = (libc::MSG_NOSIGNAL | own_waiting(*unit)) as u32;
            opcode::SendMsg::new(fd, message.as_ptr().cast_const().cast()).flags(flags).build()
        }
        Op::Poll { interest, many, .. } => {
            opcode::PollAdd::new(fd, unix::events(*interest)).multi(*many).build()
        }
        Op::Close => close(fd, shot.lingers),
        Op::Recv { .. } | Op::Send { .. } | Op::ReadAt { .. } | Op::WriteAt { .. } => {
            unreachable!("prepared above")
        }
        Op::Shutdown(_) | Op::Timer(_) | Op::NextTick | Op::Blocking { .. } | Op::Steps(_) => {
            unreachable!("the engine does these itself, or the thread pool")
        }
    };
    entry.user_data(user_data)
}

/// A datagram of a Unix socket is copied before the kernel looks whether its receiver has room; when io_uring then waits and
/// tries again by itself, it goes on behind the bytes that were copied, and an empty one is sent (6.18). So the engine waits.
fn own_waiting(unit: Unit) -> i32 {
    if unit == Unit::LocalDatagram { libc::MSG_DONTWAIT } else { 0 }
}

/// Closing a socket never waits, unless it lingers: then on a thread of the kernel's.
fn close(fd: types::Fd, lingers: bool) -> squeue::Entry {
    let flags = if lingers { squeue::Flags::ASYNC } else { squeue::Flags::empty() };
    opcode::Close::new(fd).build().flags(flags)
}

/// Memory and length of what is left after `moved` bytes, at most what one shot takes.
#[inline]
pub(super) fn rest(memory: *mut u8, length: usize, moved: usize) -> (*mut u8, u32) {
    assert!(moved <= length);
    (memory.wrapping_add(moved), (length - moved).min(MOST_BYTES) as u32)
}

fn prepare_readiness(shot: &Shot<'_>) -> squeue::Entry {
    let events = match (shot.op.lane(), shot.op) {
        (Lane::Send, _) | (_, Op::SendMessage { .. } | Op::SendFds { .. }) => libc::POLLOUT,
        (Lane::Receive | Lane::Free, _) => libc::POLLIN,
    };
    opcode::PollAdd::new(types::Fd(shot.descriptor), events as u32).build()
}

pub(super) fn prepare_cancel(target: u64, skip_success: bool) -> squeue::Entry {
    let entry = opcode::AsyncCancel::new(target).build();
    if skip_success { entry.flags(squeue::Flags::SKIP_SUCCESS) } else { entry }
}
