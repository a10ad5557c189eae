//! Names of hosts, by getaddrinfo of Winsock, which std calls.

use std::net::{SocketAddr, ToSocketAddrs};

use windows_sys::Win32::Networking::WinSock as wsa;

use crate::op::Kind;
use crate::{Error, ErrorKind};

/// The addresses of a host, in the system's order. It may take as long as the system's name servers do.
pub(crate) fn resolve(name: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
    let found = (name, port).to_socket_addrs();
    found.map(Iterator::collect).map_err(|error| match error.raw_os_error() {
        Some(wsa::WSAHOST_NOT_FOUND | wsa::WSANO_DATA) => Error::new(ErrorKind::NotFound, Kind::Resolve),
        Some(wsa::WSATRY_AGAIN) => Error::new(ErrorKind::WouldBlock, Kind::Resolve),
        Some(wsa::WSANO_RECOVERY) => Error::new(ErrorKind::Other, Kind::Resolve),
        Some(os) => Error::from_os(os, Kind::Resolve),
        // A zero byte in it.
        None => Error::new(ErrorKind::InvalidInput, Kind::Resolve),
    })
}
