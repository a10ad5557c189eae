//! Shots on threads of the pool.

use std::ptr::NonNull;
use std::sync::{Arc, OnceLock};

use super::port::Port;
use crate::backend::pool::{self, Work};
use crate::backend::windows::descriptor::{Sort, as_socket};
use crate::backend::windows::files::{self, Failure};
use crate::backend::windows::handles::{self, Direction};
use crate::backend::windows::{IoVec, OwnedDescriptor};
use crate::backend::{Outcome, RawDescriptor, Token};
use crate::engine::op::Space;
use crate::engine::paths::PathCall;

/// One shot, with pointers to what the engine keeps until its completion.
#[derive(Copy, Clone)]
pub(super) enum Call {
    Path(NonNull<PathCall>),
    Transfer { direction: Direction, memory: *mut u8, length: u32, offset: Option<u64> },
    TransferPieces { direction: Direction, pieces: NonNull<IoVec>, count: u32, offset: Option<u64> },
    Sync,
    Truncate { length: u64 },
    Allocate { offset: u64, length: u64, how: Space },
    CloseSocket,
}

// SAFETY: what the pointers point at is used by nobody else while the shot is with the backend (`Backend::submit`), and
// the engine neither moves nor frees it before the completion.
unsafe impl Send for Call {}
// SAFETY: nothing is reached through a shared reference but by the one thread that makes the call.
unsafe impl Sync for Call {}

struct Job {
    call: Call,
    descriptor: RawDescriptor,
    answer: OnceLock<Result<u32, Failure>>,
}

impl Work for Job {
    fn run(&self) {
        // SAFETY: the shot is with the backend until this answer is its completion.
        let answer = unsafe { self.call.make(self.descriptor) };
        let _ = self.answer.set(answer);
    }
}

/// Lets a shot be done; the answer is for `withdraw`.
pub(super) fn offload(port: &Arc<Port>, token: Token, call: Call, descriptor: RawDescriptor) -> u64 {
    let port = port.clone();
    let job = Arc::new(Job { call, descriptor, answer: OnceLock::new() });
    let done = job.clone();
    let completer = Box::new(move |outcome| {
        let answer = match (outcome, done.answer.get()) {
            (Outcome::NotRun(os), _) => Err(Failure::Os(os)),
            (_, Some(&answer)) => answer,
            (_, None) => unreachable!("a job that ran has its answer"),
        };
        port.land((token, answer));
    });
    pool::global().submit(job, completer)
}

impl Call {
    /// Makes the call and waits as long as it takes.
    ///
    /// # Safety
    /// The shot is with the backend: its memory is valid, and nobody else uses it.
    unsafe fn make(&self, descriptor: RawDescriptor) -> Result<u32, Failure> {
        // SAFETY: the caller vouches for the memory.
        unsafe {
            match *self {
                Call::Path(call) => files::call(descriptor, call.as_ref()),
                Call::Transfer { direction, memory, length, offset } => {
                    handles::transfer(direction, descriptor, memory, length, offset)
                }
                Call::TransferPieces { direction, pieces, count, offset } => {
                    each(pieces, count, offset, |memory, length, at| {
                        handles::transfer(direction, descriptor, memory, length, at)
                    })
                }
                Call::Sync => handles::sync(descriptor),
                Call::Truncate { length } => handles::truncate(descriptor, length),
                Call::Allocate { offset, length, how } => handles::allocate(descriptor, offset, length, how),
                Call::CloseSocket => close_socket(descriptor),
            }
        }
    }
}

/// Moves one piece after the other, as long as they are moved whole.
///
/// # Safety
/// The pieces are there, and nobody changes them.
unsafe fn each(
    pieces: NonNull<IoVec>,
    count: u32,
    offset: Option<u64>,
    mut one: impl FnMut(*mut u8, u32, Option<u64>) -> Result<u32, Failure>,
) -> Result<u32, Failure> {
    // SAFETY: the caller vouches for them.
    let pieces = unsafe { std::slice::from_raw_parts(pieces.as_ptr(), count as usize) };
    let mut moved = 0_u32;
    for piece in pieces {
        let length = piece.length().min((super::MOST_BYTES - moved) as usize) as u32;
        if length == 0 {
            continue;
        }
        let at = offset.map(|offset| offset + u64::from(moved));
        let bytes = match one(piece.memory().as_ptr(), length, at) {
            Ok(bytes) => bytes,
            // What is moved is moved; whoever goes on is told then.
            Err(_) if moved > 0 => break,
            Err(failure) => return Err(failure),
        };
        moved += bytes;
        // A pipe gives what it has and would wait for more.
        if bytes < length || offset.is_none() {
            break;
        }
    }
    Ok(moved)
}

/// Closes a socket, which may wait for unsent data.
fn close_socket(descriptor: RawDescriptor) -> Result<u32, Failure> {
    // SAFETY: the engine gives the socket away with this shot.
    match unsafe { windows_sys::Win32::Networking::WinSock::closesocket(as_socket(descriptor)) } {
        0 => Ok(0),
        _ => Err(Failure::Os(crate::backend::windows::socket::last_error())),
    }
}

/// Closes what needs no waiting.
pub(super) fn close(descriptor: RawDescriptor, sort: Sort) -> Result<u32, Failure> {
    match sort {
        Sort::Socket => close_socket(descriptor),
        Sort::Handle => {
            drop(OwnedDescriptor::of(descriptor, sort));
            Ok(0)
        }
    }
}
