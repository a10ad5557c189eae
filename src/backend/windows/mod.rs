//! Windows: the calls that answer at once, the C layouts that shots point at, and what is done with files on the thread pool.

pub(in crate::backend) mod copy;
pub(in crate::backend) mod descriptor;
mod error;
pub(crate) mod files;
pub(in crate::backend) mod handles;
mod layout;
mod message;
mod parcel;
pub(crate) mod pipe;
pub(in crate::backend) mod resolve;
pub(in crate::backend) mod socket;
pub(in crate::backend) mod udp;

use crate::op::Readiness;

pub(crate) use copy::{Copied, CopyOrder, Copying};
pub(crate) use descriptor::Sort;
pub use descriptor::{AsDescriptor, OwnedDescriptor, RawDescriptor};
pub(crate) use error::{error_kind, is_cancelled, is_out_of_buffers};
pub(crate) use layout::{Address, IoVec, Message};
pub(crate) use message::{Arrival, Head, can_send};
pub(crate) use parcel::{Delivery, MOST_DESCRIPTORS, Parcel, SocketFile};

use descriptor::BorrowedDescriptor;

/// A second descriptor of something outside, or the system's error number.
pub(crate) fn duplicate_of(descriptor: impl AsDescriptor) -> Result<OwnedDescriptor, i32> {
    let duplicate = match descriptor.borrowed() {
        BorrowedDescriptor::Socket(socket) => socket::duplicate(socket),
        BorrowedDescriptor::Handle(handle) => handles::duplicate(handle),
    };
    duplicate.map_err(|error| error.raw_os_error().unwrap_or(0))
}

/// What a poll answers, bit by bit. As AFD tells it (`AFD_POLL_*`), which is what polls here.
pub(crate) const RECEIVE: u32 = 0x1;
pub(crate) const RECEIVE_EXPEDITED: u32 = 0x2;
pub(crate) const SEND: u32 = 0x4;
pub(crate) const DISCONNECT: u32 = 0x8;
pub(crate) const ABORT: u32 = 0x10;
pub(crate) const LOCAL_CLOSE: u32 = 0x20;
pub(crate) const ACCEPT: u32 = 0x80;
pub(crate) const CONNECT_FAIL: u32 = 0x100;

/// What the system's answer to a poll says.
pub(crate) fn readiness(events: u32) -> Readiness {
    let is = |event: u32| events & event != 0;
    Readiness {
        readable: is(RECEIVE | ACCEPT | DISCONNECT | ABORT),
        writable: is(SEND | CONNECT_FAIL),
        priority: is(RECEIVE_EXPEDITED),
        read_closed: is(DISCONNECT | ABORT),
        hang_up: is(ABORT | CONNECT_FAIL | LOCAL_CLOSE),
        error: is(ABORT | CONNECT_FAIL),
    }
}

/// Whether other threads of the process may run while the calling one does.
pub(crate) fn has_company() -> bool {
    std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() > 1)
}
