//! Addresses that nobody else in the world of tests connects to.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

/// An address to listen on: port 0 of an address of 127.0.0.0/8 of one's own. Ports of closed listeners are given out
/// again, and there are tests that connect to closed listeners; on an address shared by all they would find another's.
pub fn own_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let process = std::process::id().wrapping_mul(0x9e37_79b9) >> 8;
    let number = process.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
    let [_, high, middle, low] = number.to_be_bytes();
    // Neither the addresses that everybody uses nor the broadcast one.
    SocketAddr::from((Ipv4Addr::new(127, 1 + high % 254, middle, low.clamp(1, 254)), 0))
}
