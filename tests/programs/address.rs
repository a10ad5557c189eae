//! Addresses that nobody else in the world of tests connects to.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

/// An address to listen on: port 0 of an address of 127.0.0.0/8 of one's own. Ports of closed listeners are given out
/// again, and there are tests that connect to closed listeners; on an address shared by all they would find another's.
pub fn own_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let process = std::process::id().wrapping_mul(0x9e37_79b9) >> 8;
    let number = process.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
    // Neither the addresses that everybody uses nor the broadcast one; no two numbers in a row have the same.
    let (low, rest) = (1 + number % 254, number / 254);
    let (middle, high) = (rest % 256, 1 + rest / 256 % 254);
    SocketAddr::from((Ipv4Addr::new(127, high as u8, middle as u8, low as u8), 0))
}
