//! Reads and writes of files and pipes, overlapped.

use std::ptr::{NonNull, null_mut};

use windows_sys::Win32::Foundation as win32;

use super::flights::{Rest, What};
use super::offload::Call;
use super::start::{Begun, outcome};
use super::{Iocp, MOST_BYTES, Open, PortState};
use crate::backend::windows::IoVec;
use crate::backend::windows::descriptor::as_handle;
use crate::backend::windows::handles::{self, Direction};
use crate::backend::{Outcome, Shot};

impl Iocp {
    /// Judges what a call on a file answered at once.
    fn begun_on_file(&mut self, index: u32, done: i32, direction: Direction) -> Begun {
        if done != 0 {
            return Begun::Flies;
        }
        let os = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
        // The second: a message was longer than the memory, which is a warning; the packet comes.
        if matches!(os as u32, win32::ERROR_IO_PENDING | win32::ERROR_MORE_DATA) {
            return Begun::Flies;
        }
        self.flights.retire(index);
        if direction == Direction::Read && handles::is_end(os) {
            return Begun::Over(Outcome::Value(0));
        }
        let descriptor = self.flights.get(index).descriptor;
        Begun::Over(outcome(Err(handles::of_transfer(descriptor, os))))
    }

    /// Moves the bytes of one piece of memory, at a place in a file or where a pipe stands.
    pub(super) fn transfer(
        &mut self,
        index: u32,
        direction: Direction,
        (memory, length): (*mut u8, u32),
        offset: Option<u64>,
        shot: &Shot<'_>,
        open: Open,
    ) -> Begun {
        if open.port == PortState::Never {
            return self.offload(index, Call::Transfer { direction, memory, length, offset }, shot);
        }
        self.transfer_overlapped(index, direction, (memory, length), offset.unwrap_or(0))
    }

    pub(super) fn transfer_overlapped(
        &mut self,
        index: u32,
        direction: Direction,
        (memory, length): (*mut u8, u32),
        offset: u64,
    ) -> Begun {
        let flight = self.flights.get(index);
        flight.what = What::Transfer(direction);
        flight.piece = (memory, length);
        flight.reset(offset);
        let (handle, overlapped) = (as_handle(flight.descriptor), flight.overlapped());
        // SAFETY: the engine keeps the memory until the completion, the flight the OVERLAPPED.
        let done =
            unsafe { handles::begin_transfer(direction, handle, memory, length, null_mut(), overlapped) };
        self.begun_on_file(index, done, direction)
    }

    /// The same of several pieces.
    pub(super) fn transfer_pieces(
        &mut self,
        index: u32,
        direction: Direction,
        (pieces, count): (NonNull<IoVec>, u32),
        offset: Option<u64>,
        shot: &Shot<'_>,
        open: Open,
    ) -> Begun {
        if open.port == PortState::Never {
            return self.offload(index, Call::TransferPieces { direction, pieces, count, offset }, shot);
        }
        let first = self.first_piece(index, pieces, count, offset);
        self.transfer_overlapped(index, direction, first, offset.unwrap_or(0))
    }

    /// The system has scattered reads of whole pages only: pieces go one after the other. Of a pipe only the first, since
    /// that may be all there is.
    fn first_piece(
        &mut self,
        index: u32,
        pieces: NonNull<IoVec>,
        count: u32,
        offset: Option<u64>,
    ) -> (*mut u8, u32) {
        let mut rest = Rest { pieces, count, offset: offset.unwrap_or(0), moved: 0 };
        let first = next_piece(&mut rest).expect("a shot has something to move");
        self.flights.get(index).rest = offset.map(|_| rest);
        first
    }
}

/// The next piece that has something in it.
pub(super) fn next_piece(rest: &mut Rest) -> Option<(*mut u8, u32)> {
    while rest.count > 0 && rest.moved < MOST_BYTES {
        // SAFETY: the shot is with this backend, so the engine keeps the pieces; there are `count` of them.
        let piece = unsafe { rest.pieces.as_ref() };
        // SAFETY: at most right behind the last one.
        rest.pieces = unsafe { rest.pieces.add(1) };
        rest.count -= 1;
        if piece.length() > 0 {
            let length = piece.length().min((MOST_BYTES - rest.moved) as usize) as u32;
            return Some((piece.memory().as_ptr(), length));
        }
    }
    None
}
