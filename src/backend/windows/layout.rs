//! The C layouts that shots point at: addresses, pieces of memory, messages.

use std::mem::MaybeUninit;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ptr::NonNull;

use windows_sys::Win32::Networking::WinSock::{
    AF_INET, AF_INET6, IN_ADDR, IN_ADDR_0, IN6_ADDR, IN6_ADDR_0, SOCKADDR, SOCKADDR_IN, SOCKADDR_IN6,
    SOCKADDR_IN6_0, SOCKADDR_STORAGE,
};

use crate::op::Kind;
use crate::{Error, ErrorKind, UnixAddress};

/// A socket address as the system reads and writes it.
pub(crate) struct Address {
    pub(in crate::backend) storage: MaybeUninit<SOCKADDR_STORAGE>,
    pub(in crate::backend) length: i32,
}

const STORAGE: usize = size_of::<SOCKADDR_STORAGE>();

impl Address {
    /// Room for an address that the system writes.
    pub(crate) fn empty() -> Address {
        Address { storage: MaybeUninit::zeroed(), length: STORAGE as i32 }
    }

    /// No address, and no room for one.
    pub(crate) fn none() -> Address {
        Address { length: 0, ..Address::empty() }
    }

    pub(crate) fn of(address: SocketAddr) -> Address {
        let mut empty = Address::empty();
        let storage = empty.storage.as_mut_ptr();
        match address {
            SocketAddr::V4(v4) => {
                let raw = raw_v4(v4);
                // SAFETY: the storage is as large and as well aligned as any socket address.
                unsafe { storage.cast::<SOCKADDR_IN>().write(raw) };
                empty.length = size_of::<SOCKADDR_IN>() as i32;
            }
            SocketAddr::V6(v6) => {
                let raw = raw_v6(v6);
                // SAFETY: as above.
                unsafe { storage.cast::<SOCKADDR_IN6>().write(raw) };
                empty.length = size_of::<SOCKADDR_IN6>() as i32;
            }
        }
        empty
    }

    /// Copies what the system wrote elsewhere.
    ///
    /// # Safety
    /// `length` bytes are there to be read.
    pub(in crate::backend) unsafe fn copy_from(&mut self, address: *const SOCKADDR, length: i32) {
        self.length = length.clamp(0, STORAGE as i32);
        // SAFETY: the caller vouches for the source; the storage has room for so many bytes.
        unsafe {
            std::ptr::copy_nonoverlapping(
                address.cast::<u8>(),
                self.storage.as_mut_ptr().cast::<u8>(),
                self.length as usize,
            );
        }
    }

    pub(in crate::backend) fn as_ptr(&self) -> *const SOCKADDR {
        self.storage.as_ptr().cast()
    }

    /// The address that the system wrote; `None` if it wrote none, or one of another family.
    pub(crate) fn get(&self) -> Option<SocketAddr> {
        let length = usize::try_from(self.length).ok()?;
        // SAFETY: zeroed at first and then written by the system, so all of it is initialised.
        let family = unsafe { self.storage.assume_init_ref() }.ss_family;
        match family {
            AF_INET if length >= size_of::<SOCKADDR_IN>() => {
                // SAFETY: as large and as well aligned, and initialised as above.
                let raw = unsafe { self.storage.as_ptr().cast::<SOCKADDR_IN>().read() };
                // SAFETY: every view of an address is four bytes.
                let octets = unsafe { raw.sin_addr.S_un.S_addr }.to_ne_bytes();
                Some(SocketAddr::from((octets, u16::from_be(raw.sin_port))))
            }
            AF_INET6 if length >= size_of::<SOCKADDR_IN6>() => {
                // SAFETY: as above.
                let raw = unsafe { self.storage.as_ptr().cast::<SOCKADDR_IN6>().read() };
                // SAFETY: every view of it is sixteen bytes, or four.
                let (octets, scope) = unsafe { (raw.sin6_addr.u.Byte, raw.Anonymous.sin6_scope_id) };
                let (address, port) = (Ipv6Addr::from(octets), u16::from_be(raw.sin6_port));
                Some(SocketAddrV6::new(address, port, raw.sin6_flowinfo, scope).into())
            }
            _ => None,
        }
    }

    pub(crate) fn of_local(_: &UnixAddress, kind: Kind) -> Result<Address, Error> {
        Err(Error::new(ErrorKind::Unsupported, kind))
    }

    pub(crate) fn get_local(&self) -> Option<UnixAddress> {
        None
    }
}

fn raw_v4(address: SocketAddrV4) -> SOCKADDR_IN {
    let number = u32::from_ne_bytes(address.ip().octets());
    SOCKADDR_IN {
        sin_family: AF_INET,
        sin_port: address.port().to_be(),
        sin_addr: IN_ADDR { S_un: IN_ADDR_0 { S_addr: number } },
        sin_zero: [0; 8],
    }
}

pub(super) fn raw_v6(address: SocketAddrV6) -> SOCKADDR_IN6 {
    SOCKADDR_IN6 {
        sin6_family: AF_INET6,
        sin6_port: address.port().to_be(),
        sin6_flowinfo: address.flowinfo(),
        sin6_addr: IN6_ADDR { u: IN6_ADDR_0 { Byte: address.ip().octets() } },
        Anonymous: SOCKADDR_IN6_0 { sin6_scope_id: address.scope_id() },
    }
}

/// One piece of memory of a vectored operation. Not the system's `WSABUF`, which has no room for 4 GiB: the backend makes those
/// when it needs them.
pub(crate) struct IoVec {
    memory: NonNull<u8>,
    length: usize,
}

impl IoVec {
    pub(crate) fn new(memory: NonNull<u8>, length: usize) -> IoVec {
        IoVec { memory, length }
    }

    pub(crate) fn memory(&self) -> NonNull<u8> {
        self.memory
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Steps over the first `bytes` bytes.
    pub(crate) fn advance(&mut self, bytes: usize) {
        assert!(bytes <= self.length);
        let memory = self.memory.as_ptr().wrapping_add(bytes);
        self.memory = NonNull::new(memory).expect("inside, or right behind, what is not null");
        self.length -= bytes;
    }
}

/// What a vectored operation, or a message, is made of; what the system answers beside the bytes comes back here.
pub(crate) struct Message {
    pub(in crate::backend) pieces: NonNull<IoVec>,
    pub(in crate::backend) count: usize,
    pub(in crate::backend) name: *mut SOCKADDR,
    pub(in crate::backend) name_length: i32,
    pub(in crate::backend) control: *mut u8,
    pub(in crate::backend) control_length: u32,
    /// The system's flags of a received message.
    pub(in crate::backend) flags: u32,
    /// It was longer than the memory for it.
    pub(in crate::backend) truncated: bool,
}

impl Message {
    pub(crate) fn new(pieces: NonNull<IoVec>, count: usize) -> Message {
        Message {
            pieces,
            count,
            name: std::ptr::null_mut(),
            name_length: 0,
            control: std::ptr::null_mut(),
            control_length: 0,
            flags: 0,
            truncated: false,
        }
    }

    /// Whether the system has answered with control data.
    pub(crate) fn has_control(&self) -> bool {
        self.control_length > 0
    }
}
