//! Shots on what is no socket, as submission entries.

use io_uring::{opcode, squeue, types};

use super::op::{self, rest};
use super::setup::Features;
use crate::backend::{Shot, system};
use crate::engine::handles::Means;
use crate::engine::op::Op;
use crate::engine::paths::Call;
use crate::engine::vectored::Pieces;

/// "Where the file stands", as an offset.
const CURRENT: u64 = u64::MAX;

/// As `op::prepare`.
pub(super) fn prepare(shot: &Shot<'_>, features: &Features) -> squeue::Entry {
    if shot.readiness_only {
        return op::prepare(shot, features);
    }
    let fd = types::Fd(shot.descriptor);
    let (entry, on_a_thread) = match shot.op {
        Op::Recv { into, .. } => {
            let (memory, left) = rest(into.memory.as_ptr(), into.length, shot.moved);
            (opcode::Read::new(fd, memory, left).offset(CURRENT).build(), false)
        }
        Op::RecvVectored { pieces, .. } => {
            let (vecs, count) = vecs(pieces);
            (opcode::Readv::new(fd, vecs, count).offset(CURRENT).build(), false)
        }
        Op::Send { from, length, .. } => {
            let (memory, left) = rest(from.cast_mut(), *length, shot.moved);
            let (flags, on_a_thread) = without_signal(features);
            (opcode::Write::new(fd, memory, left).offset(CURRENT).rw_flags(flags).build(), on_a_thread)
        }
        Op::SendVectored { pieces, .. } => {
            let (vecs, count) = vecs(pieces);
            let (flags, on_a_thread) = without_signal(features);
            (opcode::Writev::new(fd, vecs, count).offset(CURRENT).rw_flags(flags).build(), on_a_thread)
        }
        _ => return op::prepare(shot, features),
    };
    // On a thread of the kernel's, terminals block nobody else.
    let flags = if on_a_thread || shot.means == Means::Blocking {
        squeue::Flags::ASYNC
    } else {
        squeue::Flags::empty()
    };
    entry.flags(flags).user_data(shot.token.user_data())
}

fn vecs(pieces: &Pieces) -> (*const libc::iovec, u32) {
    let (vecs, count) = pieces.array();
    (vecs.as_ptr().cast_const().cast(), count)
}

/// How a write raises no SIGPIPE: by a flag, or on a thread of the kernel's, where signals don't get through. The flags,
/// and whether it needs the thread.
fn without_signal(features: &Features) -> (i32, bool) {
    if features.without_signal && system::knows_without_signal() {
        return (system::WITHOUT_SIGNAL, false);
    }
    (0, !ignores_broken_pipes())
}

/// Whether it waits on a thread of the kernel's until somebody else does something.
pub(super) fn may_wait_for_ever(op: &Op) -> bool {
    matches!(op, Op::Path(path) if matches!(path.call, Call::OpenFifo(_)))
}

/// Whether SIGPIPE is ignored now, as Rust's runtime has it unless the program changes that.
fn ignores_broken_pipes() -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: no new action is set, and the old one is written to memory of its type.
    let asked = unsafe { libc::sigaction(libc::SIGPIPE, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: zeroes are a valid `sigaction`, and so is what the call has written.
    asked == 0 && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}
