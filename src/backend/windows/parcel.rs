//! Descriptors beside the bytes of a message: there is nothing like it here. Operations that pass them need a Unix socket,
//! and no loop has one, so a parcel never gets as far as the system.

use std::ptr::NonNull;

use super::{Address, OwnedDescriptor};
use crate::UnixAddress;
use crate::engine::op::Unit;

/// The most descriptors that one message carries; as elsewhere, so that the same input is refused.
pub(crate) const MOST_DESCRIPTORS: usize = 253;

/// What would have been one message.
pub(crate) struct Parcel {
    addressed: bool,
}

/// What a parcel has brought.
#[derive(Default)]
pub(crate) struct Delivery {
    pub(crate) descriptors: Vec<OwnedDescriptor>,
    pub(crate) lost: bool,
    pub(crate) truncated: bool,
    pub(crate) from: Option<UnixAddress>,
}

/// The file that goes with a listening Unix socket: there are none here.
#[derive(Debug)]
pub(crate) struct SocketFile {
    /// As elsewhere, it is dropped by whoever closes the listener.
    _path: std::path::PathBuf,
}

impl SocketFile {
    pub(crate) fn leave(self) {}
}

impl Parcel {
    pub(crate) fn to_receive(descriptors: usize, _: Unit) -> Parcel {
        assert!(descriptors <= MOST_DESCRIPTORS, "checked before");
        Parcel { addressed: false }
    }

    pub(crate) fn to_send(descriptors: &[OwnedDescriptor], to: Option<Address>) -> Parcel {
        assert!(descriptors.len() <= MOST_DESCRIPTORS, "checked before");
        Parcel { addressed: to.is_some() }
    }

    #[allow(dead_code, reason = "nothing gets as far as that")]
    pub(crate) fn message(&mut self, _: *mut u8, _: usize) -> NonNull<u8> {
        NonNull::from(self).cast()
    }

    pub(crate) fn arrived(&mut self) {}

    pub(crate) fn is_told(&self) -> bool {
        false
    }

    pub(crate) fn is_addressed(&self) -> bool {
        self.addressed
    }

    pub(crate) fn take(&mut self) -> Delivery {
        Delivery::default()
    }

    /// Where it lies, for whoever frees it.
    pub(crate) fn place(parcel: NonNull<Parcel>) -> NonNull<u8> {
        parcel.cast()
    }
}
