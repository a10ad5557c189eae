//! Names of hosts, by getaddrinfo(3).

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::ptr::{null, null_mut};

use rustix::net::SocketAddrAny;

use super::option::last_error;
use crate::op::Kind;
use crate::{Error, ErrorKind};

/// What getaddrinfo(3) answered: a list that is given back.
struct Found(*mut libc::addrinfo);

impl Drop for Found {
    fn drop(&mut self) {
        // SAFETY: getaddrinfo(3) made the list, and nobody else gives it back.
        unsafe { libc::freeaddrinfo(self.0) }
    }
}

/// The addresses of a host, in the system's order. It may take as long as the system's name servers do.
pub(crate) fn resolve(name: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
    let error = |kind| Error::new(kind, Kind::Resolve);
    let name = CString::new(name).map_err(|_| error(ErrorKind::InvalidInput))?;
    // SAFETY: all of it may be zero.
    let mut hints: libc::addrinfo = unsafe { MaybeUninit::zeroed().assume_init() };
    // Else each address comes once for every kind of socket.
    hints.ai_socktype = libc::SOCK_STREAM;
    let mut list = null_mut();
    // SAFETY: the name ends with a zero byte, and there is room for the list's place.
    let code = unsafe { libc::getaddrinfo(name.as_ptr(), null(), &raw const hints, &raw mut list) };
    match code {
        0 => Ok(Found(list).addresses(port)),
        libc::EAI_SYSTEM => Err(Error::from_os(last_error().raw_os_error(), Kind::Resolve)),
        code => Err(error(kind_of(code))),
    }
}

/// A name without addresses, which libc doesn't name everywhere: `EAI_NODATA`, and `EAI_ADDRFAMILY`. Where codes are negative
/// the first two, else the third.
const NO_ADDRESSES: [i32; 3] = [-5, -9, 7];

/// What its codes mean.
fn kind_of(code: i32) -> ErrorKind {
    match code {
        libc::EAI_NONAME => ErrorKind::NotFound,
        code if NO_ADDRESSES.contains(&code) => ErrorKind::NotFound,
        libc::EAI_AGAIN => ErrorKind::WouldBlock,
        libc::EAI_MEMORY => ErrorKind::OutOfMemory,
        _ => ErrorKind::Other,
    }
}

impl Found {
    fn addresses(&self, port: u16) -> Vec<SocketAddr> {
        let mut addresses = Vec::new();
        let mut next = self.0;
        // SAFETY: null, or an element of the list, which lives as long as `self`.
        while let Some(found) = unsafe { next.as_ref() } {
            if let Some(mut address) = address(found) {
                address.set_port(port);
                addresses.push(address);
            }
            next = found.ai_next;
        }
        addresses
    }
}

/// The address of an element, if it is one of IP.
fn address(found: &libc::addrinfo) -> Option<SocketAddr> {
    if !matches!(found.ai_family, libc::AF_INET | libc::AF_INET6) || found.ai_addr.is_null() {
        return None;
    }
    // SAFETY: a socket address of this length, in the list.
    let any = unsafe { SocketAddrAny::read(found.ai_addr.cast(), found.ai_addrlen) };
    SocketAddr::try_from(any).ok()
}
