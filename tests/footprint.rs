//! What an idle loop holds in memory: stated, and held to.
//!
//! The system's own memory (the ring's pages, sockets) isn't in these figures.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nbio::{EventLoop, TcpStream};

/// Bytes that are allocated now.
static LIVE: AtomicUsize = AtomicUsize::new(0);

struct Weighing;

// SAFETY: `System` does it all.
unsafe impl GlobalAlloc for Weighing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller vouches.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller vouches.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Weighing = Weighing;

/// The most that an operation's slot may take, with its buffer and callback as far as they fit.
const SLOT: usize = 256;

/// The most that an idle connection may take: its entry in the handle table and a receive that waits.
const CONNECTION: usize = 512;

/// As many connections as wanted, or as the process may have descriptors for.
fn connections(wanted: usize) -> Vec<std::net::TcpStream> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, raised);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let first = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    // One connection with many descriptors is as good as many, and needs no second descriptor for each.
    let (second, _) = listener.accept().unwrap();
    let mut streams: Vec<std::net::TcpStream> =
        (0..wanted + 64).map_while(|_| second.try_clone().ok()).collect();
    // The loop needs some for itself.
    streams.truncate(streams.len().saturating_sub(64));
    // The other end stays open as long as the process: nothing ever comes.
    std::mem::forget(first);
    streams
}

#[test]
fn slots_and_idle_connections_stay_within_their_bounds() {
    let sockets = connections(10_000);
    let count = sockets.len();
    assert!(count > 500, "the process may have {count} descriptors only");
    let io = EventLoop::new().unwrap();
    let empty = LIVE.load(Ordering::Relaxed);

    for _ in 0..count {
        io.timer(Duration::from_secs(3600), |_: &mut (), _, _| ());
    }
    let timers = LIVE.load(Ordering::Relaxed) - empty;
    io.drain(Duration::from_secs(10)).unwrap();
    let drained = LIVE.load(Ordering::Relaxed);
    // The slots are there from now on. What waits for its turn in the completion queue is freed memory only in part.
    let slots = count.next_multiple_of(64) * SLOT;

    for (number, socket) in sockets.into_iter().enumerate() {
        let stream: TcpStream = io.adopt(socket).unwrap();
        io.recv(stream, [0; 64], |_, _, done| panic!("{:?}", done.result));
        if number % 500 == 0 {
            io.tick(Some(Duration::ZERO)).unwrap();
        }
    }
    io.tick(Some(Duration::ZERO)).unwrap();
    assert_eq!(io.in_flight(), count);
    let handles = LIVE.load(Ordering::Relaxed).saturating_sub(drained);
    let (connection, timer) = ((handles + slots) / count, timers / count);
    println!("{count} idle connections: {connection} bytes each, {SLOT} of them the receive's slot");
    println!("{count} timers: {timer} bytes each");
    assert!(connection <= CONNECTION, "an idle connection takes {connection} bytes");
    assert!(timer <= CONNECTION, "a timer takes {timer} bytes");
}
