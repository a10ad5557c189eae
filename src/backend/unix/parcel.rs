//! Descriptors beside the bytes of a message: `SCM_RIGHTS` (unix(7)), as the system reads and writes it.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;

use super::{Address, system};
use crate::UnixAddress;
use crate::engine::op::Unit;

/// The most descriptors that one message carries: `SCM_MAX_FD`.
pub(crate) const MOST_DESCRIPTORS: usize = 253;

/// How many bytes a control message's header takes, and where its data begins.
const HEADER: usize = {
    // SAFETY: it only computes.
    (unsafe { libc::CMSG_LEN(0) }) as usize
};

const DESCRIPTOR: usize = size_of::<RawFd>();

/// A control message begins at a multiple of this: `CMSG_ALIGN`.
const ALIGNMENT: usize = {
    // SAFETY: it only computes.
    (unsafe { libc::CMSG_SPACE(1) - libc::CMSG_SPACE(0) }) as usize
};

/// The room for one control message with this many descriptors.
const fn space(descriptors: usize) -> usize {
    // SAFETY: it only computes.
    (unsafe { libc::CMSG_SPACE((descriptors * DESCRIPTOR) as u32) }) as usize
}

/// The room for when a record came, which the system puts first.
const STAMP: usize = {
    // SAFETY: it only computes.
    (unsafe { libc::CMSG_SPACE(size_of::<libc::timeval>() as u32) }) as usize
};

const ROOM: usize = STAMP + space(MOST_DESCRIPTORS);

#[repr(C, align(8))]
struct Control([u8; ROOM]);

const _: () = assert!(align_of::<libc::cmsghdr>() <= 8);

/// One message: its header, its one piece of memory, the descriptors, and where it goes or comes from.
pub(crate) struct Parcel {
    message: MaybeUninit<libc::msghdr>,
    piece: libc::iovec,
    control: Control,
    /// How much of it is sent, or may be received.
    length: usize,
    /// How many descriptors may be received.
    most: usize,
    address: Address,
    /// The system has written what it received, and nobody has taken it yet.
    arrived: bool,
}

/// What a parcel has brought.
#[derive(Default)]
pub(crate) struct Delivery {
    pub(crate) descriptors: Vec<OwnedFd>,
    /// There were some for which there was no room, here or in the process: all are closed.
    pub(crate) lost: bool,
    /// The message was longer than the memory for it.
    pub(crate) truncated: bool,
    pub(crate) from: Option<UnixAddress>,
}

impl Parcel {
    fn with(length: usize, most: usize, address: Address) -> Parcel {
        let piece = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        let control = Control([0; ROOM]);
        Parcel { message: MaybeUninit::zeroed(), piece, control, length, most, address, arrived: false }
    }

    /// Room for so many descriptors, at most `MOST_DESCRIPTORS`.
    pub(crate) fn to_receive(descriptors: usize, unit: Unit) -> Parcel {
        assert!(descriptors <= MOST_DESCRIPTORS, "checked before");
        let length = if descriptors == 0 { 0 } else { space(descriptors) };
        match unit {
            Unit::Record => Parcel::with(STAMP + length, descriptors, Address::none()),
            Unit::LocalDatagram => Parcel::with(length, descriptors, Address::empty()),
            _ => Parcel::with(length, descriptors, Address::none()),
        }
    }

    /// With these descriptors, at most `MOST_DESCRIPTORS`, which stay open until the message is sent.
    pub(crate) fn to_send(descriptors: &[OwnedFd], to: Option<Address>) -> Parcel {
        assert!(descriptors.len() <= MOST_DESCRIPTORS, "checked before");
        let length = if descriptors.is_empty() { 0 } else { space(descriptors.len()) };
        let mut parcel = Parcel::with(length, 0, to.unwrap_or(Address::none()));
        if descriptors.is_empty() {
            return parcel;
        }
        // SAFETY: every field of cmsghdr is a number.
        let mut header: libc::cmsghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        header.cmsg_len = (HEADER + descriptors.len() * DESCRIPTOR) as _;
        header.cmsg_level = libc::SOL_SOCKET;
        header.cmsg_type = libc::SCM_RIGHTS;
        // SAFETY: there is room for a header, aligned as one.
        unsafe { parcel.control.0.as_mut_ptr().cast::<libc::cmsghdr>().write(header) };
        for (place, descriptor) in parcel.control.0[HEADER..].chunks_exact_mut(DESCRIPTOR).zip(descriptors) {
            place.copy_from_slice(&descriptor.as_raw_fd().to_ne_bytes());
        }
        parcel
    }

    /// The header for the next shot, with this memory. It lies in the parcel, which doesn't move until the shot is over.
    pub(crate) fn message(&mut self, memory: *mut u8, length: usize) -> NonNull<u8> {
        self.piece = libc::iovec { iov_base: memory.cast(), iov_len: length };
        // SAFETY: every field of msghdr may be zero: null pointers and zero lengths.
        let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        header.msg_iov = &raw mut self.piece;
        header.msg_iovlen = 1;
        if self.address.length > 0 {
            header.msg_name = self.address.storage.as_mut_ptr().cast();
            header.msg_namelen = self.address.length as _;
        }
        if self.length > 0 {
            header.msg_control = self.control.0.as_mut_ptr().cast();
            header.msg_controllen = self.length as _;
        }
        NonNull::from(self.message.write(header)).cast()
    }

    /// The system has received a message by this parcel.
    pub(crate) fn arrived(&mut self) {
        self.arrived = true;
    }

    /// Whether the system has told anything beside the bytes.
    pub(crate) fn is_told(&self) -> bool {
        // SAFETY: zeroed at first, and `message` has written it before the shot.
        unsafe { self.message.assume_init_ref() }.msg_controllen > 0
    }

    /// Whether it says where it goes.
    pub(crate) fn is_addressed(&self) -> bool {
        self.address.length > 0
    }

    /// What was received, once.
    pub(crate) fn take(&mut self) -> Delivery {
        if !std::mem::take(&mut self.arrived) {
            return Delivery::default();
        }
        // SAFETY: zeroed at first, and `message` has written it before the shot.
        let message = unsafe { self.message.assume_init_ref() };
        let mut lost = message.msg_flags & libc::MSG_CTRUNC != 0;
        let truncated = message.msg_flags & libc::MSG_TRUNC != 0;
        let written: usize = message.msg_controllen as _;
        let written = written.min(self.length);
        let mut descriptors = Vec::new();
        let mut rest = &self.control.0[..written];
        // The socket may have been told to bring other things, too, which then come first (SO_PASSCRED).
        while rest.len() > HEADER {
            // SAFETY: there are bytes enough for a header, all of whose fields are numbers; `rest` may begin anywhere.
            let header = unsafe { rest.as_ptr().cast::<libc::cmsghdr>().read_unaligned() };
            let end: usize = header.cmsg_len as _;
            let end = end.clamp(HEADER, rest.len());
            if header.cmsg_level == libc::SOL_SOCKET && header.cmsg_type == libc::SCM_RIGHTS {
                descriptors.extend(rest[HEADER..end].chunks_exact(DESCRIPTOR).map(owned));
            }
            rest = &rest[end.next_multiple_of(ALIGNMENT).min(rest.len())..];
        }
        // Alignment may have left room for one more than was asked for.
        lost |= descriptors.len() > self.most;
        if lost {
            descriptors.clear();
        }
        self.address.length = message.msg_namelen as _;
        Delivery { descriptors, lost, truncated, from: self.address.get_local() }
    }

    /// Where it lies, for whoever frees it.
    pub(crate) fn place(parcel: NonNull<Parcel>) -> NonNull<u8> {
        parcel.cast()
    }
}

fn owned(number: &[u8]) -> OwnedFd {
    let number = RawFd::from_ne_bytes(number.try_into().expect("a chunk of this size"));
    // SAFETY: the system has just opened it for this process and told nobody else.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    system::close_on_exec(&descriptor);
    descriptor
}
