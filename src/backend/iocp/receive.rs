//! Receives from streams, into an operation's memory or a buffer of a pool.
//!
//! For a pool a receive of no bytes waits until there is something in the stream, or its end: it takes nothing, and needs no
//! memory. Only then is a buffer picked, so readers that wait have none.

use std::ptr::{NonNull, null_mut};

use windows_sys::Win32::Networking::WinSock::{self as wsa, WSABUF};

use super::backend::CANCELLED;
use super::flights::What;
use super::start::Begun;
use super::{Iocp, MOST_BYTES, Open};
use crate::backend::Outcome;
use crate::backend::windows::IoVec;
use crate::backend::windows::descriptor::as_socket;
use crate::engine::pooled::Pool;

impl Iocp {
    pub(super) fn receive(&mut self, index: u32, memory: *mut u8, length: u32, open: Open) -> Begun {
        self.receive_buffers(index, What::Receive, &[WSABUF { len: length, buf: memory }], open)
    }

    pub(super) fn receive_pieces(
        &mut self,
        index: u32,
        pieces: NonNull<IoVec>,
        count: u32,
        open: Open,
    ) -> Begun {
        let buffers = self.gather(pieces, count as usize, MOST_BYTES);
        let begun = self.receive_buffers(index, What::Receive, &buffers, open);
        self.buffers = buffers;
        begun
    }

    fn receive_buffers(&mut self, index: u32, what: What, buffers: &[WSABUF], open: Open) -> Begun {
        let flight = self.flights.get(index);
        flight.what = what;
        let (mut bytes, mut flags) = (0, 0);
        // SAFETY: the engine keeps the memory until the completion; the array is copied by the call (WSARecv).
        let result = unsafe {
            wsa::WSARecv(
                as_socket(flight.descriptor),
                buffers.as_ptr(),
                buffers.len() as u32,
                &raw mut bytes,
                &raw mut flags,
                flight.overlapped(),
                None,
            )
        };
        match self.begun(index, result, bytes, open) {
            // The receiving half was shut down before: that is the end of the stream, as elsewhere.
            Begun::Over(Outcome::Failed(wsa::WSAESHUTDOWN)) => Begun::Over(Outcome::Value(0)),
            begun => begun,
        }
    }

    /// Waits until there is something to receive, and receives it into a buffer of the pool.
    pub(super) fn receive_many(&mut self, index: u32, pool: NonNull<Pool>, open: Open) -> Begun {
        let nothing = WSABUF { len: 0, buf: null_mut() };
        match self.receive_buffers(index, What::Await { pool }, &[nothing], open) {
            Begun::Over(Outcome::Value(_)) => self.pick(index, pool, open),
            begun => begun,
        }
    }

    /// The wait is over: a receive's turn. What was cancelled meanwhile leaves everything in the stream.
    pub(super) fn receive_awaited(&mut self, index: u32, answer: Outcome) -> Option<Begun> {
        let flight = self.flights.get(index);
        let (What::Await { pool }, Outcome::Value(_)) = (flight.what, answer) else { return None };
        if flight.cancelled {
            return Some(Begun::Over(Outcome::Failed(CANCELLED)));
        }
        let descriptor = flight.descriptor;
        let open = self.opened(descriptor);
        Some(self.pick(index, pool, open))
    }

    /// Receives what there is. It doesn't wait, unless another process that has the socket, too, was faster: then this
    /// reader's buffer waits with it.
    fn pick(&mut self, index: u32, pool: NonNull<Pool>, open: Open) -> Begun {
        // SAFETY: the shot is with this backend, so the engine keeps the pool.
        let buffers = unsafe { pool.as_ref() };
        let Some((buffer, memory)) = buffers.pick() else { return Begun::Over(Outcome::Starved) };
        let length = buffers.size().min(MOST_BYTES as usize) as u32;
        self.flights.get(index).reset(0);
        let room = WSABUF { len: length, buf: memory.as_ptr() };
        match self.receive_buffers(index, What::Pick { pool, buffer }, &[room], open) {
            Begun::Over(outcome) => Begun::Over(picked(pool, buffer, outcome)),
            begun => begun,
        }
    }
}

/// How a receive into a buffer ended: one in which nothing is goes back.
pub(super) fn picked(pool: NonNull<Pool>, buffer: u16, outcome: Outcome) -> Outcome {
    if let Outcome::Value(bytes @ 1..) = outcome {
        return Outcome::Filled { buffer, bytes, more: false };
    }
    // SAFETY: the completion isn't out, so the engine keeps the pool.
    unsafe { pool.as_ref() }.put_back(buffer);
    outcome
}
