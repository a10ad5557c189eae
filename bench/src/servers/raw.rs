//! Hand-written io_uring loop: what the kernel interface gives when nothing
//! stands between it and the program. One `io_uring_enter` per turn; every
//! completion is answered with the connection's next operation on the spot.

use std::mem::ManuallyDrop;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use anyhow::{Context, bail};
use io_uring::squeue::Entry;
use io_uring::{opcode, types::Fd};
use slab::Slab;

use super::BUFFER;
use crate::ring;

const ENTRIES: u32 = 1024;

/// Marks the accept among the completions; all others carry a slab key.
const ACCEPT: u64 = u64::MAX;

enum State {
    Receiving,
    Sending { sent: usize, len: usize },
}

enum Next {
    Operation(Entry),
    /// The connection is over.
    Close,
    /// The server is.
    End,
}

/// A connection; it always has exactly one operation under way.
struct Connection {
    socket: OwnedFd,
    buffer: Box<[u8; BUFFER]>,
    state: State,
}

impl Connection {
    fn receive(&mut self) -> Entry {
        self.state = State::Receiving;
        let buffer = self.buffer.as_mut_ptr();
        // Without IORING_RECVSEND_POLL_FIRST, on purpose: under load the next
        // message is often there already. Measured, the flag costs up to 7 %
        // with 512 connections and gains at most 3 % with 64.
        opcode::Recv::new(Fd(self.socket.as_raw_fd()), buffer, BUFFER as u32).build()
    }

    fn send(&mut self, sent: usize, len: usize) -> Entry {
        self.state = State::Sending { sent, len };
        let rest = &self.buffer[sent..len];
        opcode::Send::new(Fd(self.socket.as_raw_fd()), rest.as_ptr(), rest.len() as u32)
            .flags(libc::MSG_NOSIGNAL)
            .build()
    }

    /// What follows an operation that ended with `result`.
    fn next(&mut self, result: i32) -> Next {
        let Some(count) = usize::try_from(result).ok().filter(|count| *count > 0) else {
            return Next::Close;
        };
        match self.state {
            State::Receiving => Next::Operation(self.send(0, count)),
            State::Sending { sent, len } if sent + count < len => {
                Next::Operation(self.send(sent + count, len))
            }
            State::Sending { len, .. } if super::echoed(len) => Next::End,
            State::Sending { .. } => Next::Operation(self.receive()),
        }
    }
}

pub fn run() -> anyhow::Result<()> {
    let listener = super::listen()?;
    // Not dropped at the end: the kernel could still be filling the buffers.
    let mut connections = ManuallyDrop::new(Slab::<Connection>::with_capacity(1024));
    let mut ring = ring::build(ENTRIES).context("setting up the io_uring")?;
    let (mut submitter, mut queue, mut completions) = ring.split();
    // Saves a descriptor look-up per turn; older kernels do without.
    let _ = submitter.register_ring_fd();

    // SAFETY: an accept without an address points to nothing.
    unsafe { ring::push(&submitter, &mut queue, &accept(&listener)) }.context("accepting")?;
    loop {
        ring::submit_and_wait(&submitter, &mut queue).context("io_uring_enter")?;
        completions.sync();
        for completion in &mut completions {
            let key = completion.user_data();
            if key == ACCEPT {
                let entry = add(&mut connections, completion.result())?;
                // SAFETY: as for the receive below; the accept has no pointers.
                unsafe {
                    ring::push(&submitter, &mut queue, &entry)?;
                    ring::push(&submitter, &mut queue, &accept(&listener))?;
                }
                continue;
            }
            let key = key as usize;
            match connections[key].next(completion.result()) {
                // SAFETY: the buffer is on the heap, belongs to this one
                // operation, and is freed only after an operation ended
                // without another following it.
                Next::Operation(entry) => unsafe {
                    ring::push(&submitter, &mut queue, &entry.user_data(key as u64))?;
                },
                Next::Close => drop(connections.remove(key)),
                Next::End => return Ok(()),
            }
        }
    }
}

fn accept(listener: &TcpListener) -> Entry {
    let listener = Fd(listener.as_raw_fd());
    opcode::Accept::new(listener, std::ptr::null_mut(), std::ptr::null_mut())
        .flags(libc::SOCK_CLOEXEC)
        .build()
        .user_data(ACCEPT)
}

/// Takes in an accepted connection and returns its first operation.
fn add(connections: &mut Slab<Connection>, accepted: RawFd) -> anyhow::Result<Entry> {
    if accepted < 0 {
        bail!("accept: {}", std::io::Error::from_raw_os_error(-accepted));
    }
    let slot = connections.vacant_entry();
    let key = slot.key() as u64;
    let connection = slot.insert(Connection {
        // SAFETY: a fresh descriptor from the accept, owned by nothing else.
        socket: unsafe { OwnedFd::from_raw_fd(accepted) },
        buffer: Box::new([0; BUFFER]),
        state: State::Receiving,
    });
    Ok(connection.receive().user_data(key))
}
