//! Shots that are under way: what the system writes for each, and what is to be known when its packet comes.
//!
//! A flight has the number of the engine's slot, which has one shot at a time. So no OVERLAPPED is used for another shot before
//! its packet has come: the engine submits the next one only after the completion of the last.

use std::ptr::NonNull;

use socket2::Socket;
use windows_sys::Win32::Networking::WinSock::{WSABUF, WSAMSG};
use windows_sys::Win32::System::IO::OVERLAPPED;

use super::poll::PollInfo;
use crate::backend::windows::handles::Direction;
use crate::backend::windows::{Address, IoVec, Message, OwnedDescriptor};
use crate::backend::{RawDescriptor, Token};
use crate::engine::pooled::Pool;

/// Room for one address as AcceptEx wants it: 16 bytes more than the largest.
pub(super) const ADDRESS_ROOM: usize = 128 + 16;

/// What the system writes while a shot is under way. No reference to any of it exists meanwhile.
#[repr(C)]
pub(super) struct Block {
    pub(super) overlapped: OVERLAPPED,
    /// Whose it is; packets have nothing but the block's address. `LIMBO` once it is nobody's.
    index: u32,
    pub(super) detail: Detail,
}

/// Of a block for which a packet may still come, though its call has failed.
const LIMBO: u32 = u32::MAX;

/// What some shots need beside the OVERLAPPED.
pub(super) union Detail {
    pub(super) nothing: (),
    pub(super) message: WSAMSG,
    pub(super) poll: PollInfo,
}

/// What a shot does, as far as its end must know it.
#[derive(Copy, Clone, Debug)]
pub(super) enum What {
    /// The listener's address goes there.
    Accept {
        address: NonNull<Address>,
    },
    Connect,
    /// The client of a named pipe.
    AcceptPipe,
    /// Bytes of a stream.
    Receive,
    /// A receive of no bytes, which waits for some.
    Await {
        pool: NonNull<Pool>,
    },
    /// Bytes of a stream, into this buffer.
    Pick {
        pool: NonNull<Pool>,
        buffer: u16,
    },
    Send,
    ReceiveMessage(NonNull<Message>),
    SendMessage,
    /// At a place in a file or from a pipe.
    Transfer(Direction),
    Poll,
    /// On the pool; `opens`: what it answers is a handle.
    Pool {
        opens: bool,
    },
    Close,
}

impl What {
    /// Whether it is of the receiving half of a stream.
    pub(super) fn receives(&self) -> bool {
        matches!(self, What::Receive | What::Await { .. } | What::Pick { .. })
    }
}

/// Where a shot is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// There is none, or it is over.
    Nowhere,
    /// With the system: a packet will come.
    Air,
    /// On the pool, by this ticket.
    Pool(u64),
}

/// A vectored read or write of a file: the pieces that are still to do.
#[derive(Copy, Clone, Debug)]
pub(super) struct Rest {
    pub(super) pieces: NonNull<IoVec>,
    pub(super) count: u32,
    /// Where in the file the next one begins.
    pub(super) offset: u64,
    /// What the pieces before have moved.
    pub(super) moved: u32,
}

pub(super) struct Flight {
    block: NonNull<Block>,
    pub(super) token: Token,
    pub(super) place: Place,
    pub(super) descriptor: RawDescriptor,
    pub(super) what: What,
    /// For the connection that an accept waits for.
    pub(super) socket: Option<Socket>,
    /// The instance of a named pipe that waits for its client.
    pub(super) instance: Option<OwnedDescriptor>,
    /// Where the last transfer goes to or comes from.
    pub(super) piece: (*mut u8, u32),
    /// A receive on a half that was shut down meanwhile: cancelled, it is at the end of the stream.
    pub(super) shut: bool,
    /// The engine has asked for its end.
    pub(super) cancelled: bool,
    /// The memory of a message, as the system takes it.
    pub(super) buffers: Vec<WSABUF>,
    pub(super) rest: Option<Rest>,
    /// Where an accept's addresses go, once there was one.
    addresses: *mut [u8; 2 * ADDRESS_ROOM],
}

impl Flight {
    fn new(index: u32) -> Flight {
        Flight {
            block: new_block(index),
            token: Token { index, generation: 0 },
            place: Place::Nowhere,
            descriptor: 0,
            what: What::Connect,
            socket: None,
            instance: None,
            piece: (std::ptr::null_mut(), 0),
            shut: false,
            cancelled: false,
            buffers: Vec::new(),
            rest: None,
            addresses: std::ptr::null_mut(),
        }
    }

    pub(super) fn block(&self) -> *mut Block {
        self.block.as_ptr()
    }

    pub(super) fn overlapped(&self) -> *mut OVERLAPPED {
        // SAFETY: the block is alive; only the address of a field of it is taken.
        unsafe { &raw mut (*self.block.as_ptr()).overlapped }
    }

    /// Zeroes the OVERLAPPED for the next call, with this place in a file in it.
    pub(super) fn reset(&mut self, offset: u64) {
        assert!(self.place == Place::Nowhere, "the last packet has not come");
        // SAFETY: the block is alive, and the system doesn't have it; zeros are a value of it.
        unsafe {
            let mut overlapped: OVERLAPPED = std::mem::zeroed();
            overlapped.Anonymous.Anonymous.Offset = offset as u32;
            overlapped.Anonymous.Anonymous.OffsetHigh = (offset >> 32) as u32;
            self.overlapped().write(overlapped);
        }
    }

    /// Room for the addresses of an accepted connection.
    pub(super) fn addresses(&mut self) -> *mut u8 {
        if self.addresses.is_null() {
            self.addresses = Box::into_raw(Box::new([0; 2 * ADDRESS_ROOM]));
        }
        self.addresses.cast()
    }
}

fn new_block(index: u32) -> NonNull<Block> {
    // SAFETY: zeros are a value of it.
    let overlapped = unsafe { std::mem::zeroed() };
    let block = Box::new(Block { overlapped, index, detail: Detail { nothing: () } });
    NonNull::from(Box::leak(block))
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.place == Place::Air {
            // The system may still write there: leaked, never freed. So is the socket, which the system may be about to fill.
            std::mem::forget(self.socket.take());
            std::mem::forget(self.instance.take());
            std::mem::forget(std::mem::take(&mut self.buffers));
            return;
        }
        // SAFETY: both were leaked boxes, and the system has let go of them.
        unsafe {
            drop(Box::from_raw(self.block.as_ptr()));
            if !self.addresses.is_null() {
                drop(Box::from_raw(self.addresses));
            }
        }
    }
}

/// All flights, by the number of their slot.
#[derive(Default)]
pub(super) struct Flights {
    all: Vec<Flight>,
    /// Blocks of calls that failed at once. No packet comes for them, says the documentation; but under Wine 8.0 one does for
    /// some (a file's offset that is out of range). There it is in the port when the call returns (measured), so once the
    /// port was seen empty it has come. Those retired since that was last so, and those from before.
    limbo: [Vec<NonNull<Block>>; 2],
}

impl Flights {
    /// Begins one.
    pub(super) fn begin(&mut self, token: Token, descriptor: RawDescriptor) -> &mut Flight {
        while self.all.len() <= token.index as usize {
            self.all.push(Flight::new(self.all.len() as u32));
        }
        let flight = &mut self.all[token.index as usize];
        flight.token = token;
        flight.descriptor = descriptor;
        flight.rest = None;
        flight.shut = false;
        flight.cancelled = false;
        flight.reset(0);
        flight
    }

    pub(super) fn get(&mut self, index: u32) -> &mut Flight {
        &mut self.all[index as usize]
    }

    /// The one with this token, if it is under way.
    pub(super) fn find(&mut self, token: Token) -> Option<&mut Flight> {
        let flight = self.all.get_mut(token.index as usize)?;
        (flight.token == token && flight.place != Place::Nowhere).then_some(flight)
    }

    /// Whose packet it is, if anybody's.
    ///
    /// # Safety
    /// The pointer is that of a block's OVERLAPPED.
    pub(super) unsafe fn index_of(overlapped: *mut OVERLAPPED) -> Option<u32> {
        // SAFETY: the OVERLAPPED is the first field of a block; the system never writes the number behind it.
        let index = unsafe { (*overlapped.cast::<Block>()).index };
        (index != LIMBO).then_some(index)
    }

    /// A call has failed at once: its OVERLAPPED isn't used for another before it is certain that no packet is there.
    #[cold]
    pub(super) fn retire(&mut self, index: u32) {
        let flight = &mut self.all[index as usize];
        let block = std::mem::replace(&mut flight.block, new_block(index));
        // SAFETY: the call has failed, so the system has let go of the block.
        unsafe { (*block.as_ptr()).index = LIMBO };
        self.limbo[0].push(block);
    }

    /// The port was seen empty.
    pub(super) fn seen_empty(&mut self) {
        if self.limbo.iter().all(Vec::is_empty) {
            return;
        }
        for block in self.limbo[1].drain(..) {
            // SAFETY: a leaked box; whatever packet there was for it has been taken.
            drop(unsafe { Box::from_raw(block.as_ptr()) });
        }
        self.limbo.swap(0, 1);
    }

    pub(super) fn all(&mut self) -> impl Iterator<Item = &mut Flight> {
        self.all.iter_mut()
    }
}
