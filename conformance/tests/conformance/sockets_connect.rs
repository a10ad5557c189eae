//! Connecting, and connects that never get through.

use std::collections::BTreeSet;
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use nbio::{Error, ErrorKind, ListenOptions, Operation, TcpOptions, TcpStream, op};

use crate::support::{Case, Drops, Slot, Subject};
use crate::system;
use crate::wire::{Io, drive, keep, kind, turn};

pub const CASES: &[Case] = &[
    Case { name: "connects_over_ipv4_and_ipv6", run: connects },
    Case { name: "refused", run: refused },
    Case { name: "from_a_bound_local_address", run: from_a_local_address },
    Case { name: "local_address_that_is_taken_or_not_ours", run: bad_local_addresses },
    Case { name: "options_are_set_before_connecting", run: options_are_set },
    Case { name: "cancelled_connect_calls_back_at_once_and_its_socket_is_closed", run: cancelled },
    Case { name: "connect_past_its_deadline_calls_back_and_its_socket_is_closed", run: past_its_deadline },
    Case { name: "removed_connect_is_silent_and_its_socket_is_closed", run: removed },
    Case { name: "connection_that_comes_after_the_cancel_is_closed", run: comes_after_the_cancel },
    Case { name: "connects_racing_a_cancel_leave_no_socket_behind", run: racing_a_cancel },
];

type End = Result<TcpStream, Error>;

fn connect(io: &Io, connect: op::Connect) -> End {
    let ended = Slot::new();
    io.submit(connect, keep(&ended));
    drive(io, || ended.len() > 0);
    ended.one()
}

/// How many sockets of this machine are on their way to `address` (SYN_SENT): one for each connect that hangs. No
/// other case knows the address.
fn on_their_way(address: SocketAddr) -> usize {
    let SocketAddr::V4(address) = address else { panic!("the table of IPv4") };
    // The kernel shows the four bytes as a number of the machine's own order.
    let ip = u32::from_ne_bytes(address.ip().octets());
    let target = format!("{ip:08X}:{:04X} 02", address.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    // The table is read in pieces: what changes meanwhile can make a line appear twice. Lines differ in their first
    // word, a number, and agree in the second, the socket's own address.
    let own = |line: &str| line.split_whitespace().nth(1).map(str::to_owned);
    table.lines().filter(|line| line.contains(&target)).map(own).collect::<BTreeSet<_>>().len()
}

/// Turns the loop until so many are. Nobody can tell in a simulated network; but there is no doubt either.
fn until_on_their_way(subject: &Subject, io: &Io, address: SocketAddr, count: usize) {
    turn(io, 2);
    drive(io, || subject.simulated() || on_their_way(address) == count);
}

fn assert_none_on_their_way(subject: &Subject, address: SocketAddr) {
    assert!(subject.simulated() || on_their_way(address) == 0);
}

fn connects(subject: &Subject) {
    let io: Io = subject.io();
    for local in [SocketAddr::from(([127, 0, 0, 1], 0)), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))] {
        let server = subject.peer_listener_with(local, ListenOptions::default()).unwrap();
        let address = server.local_addr().unwrap();
        let stream = connect(&io, op::Connect::new(address)).unwrap();
        let (_peer, from) = server.accept().unwrap();
        assert_eq!((io.local_address(stream), io.peer_address(stream)), (Ok(from), Ok(address)));
    }
}

/// Guarantee 8: `ConnectionRefused`, with the system's number.
fn refused(subject: &Subject) {
    let io: Io = subject.io();
    for local in [SocketAddr::from(([127, 0, 0, 1], 0)), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))] {
        let gone = subject.peer_listener_with(local, ListenOptions::default()).unwrap();
        let address = gone.local_addr().unwrap();
        drop(gone);
        let error = connect(&io, op::Connect::new(address)).unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::ConnectionRefused, op::Kind::Connect));
        assert!(subject.simulated() || error.os_error() == Some(system::ECONNREFUSED));
    }
    io.run().unwrap();
    assert_eq!(io.in_flight(), 0);
}

/// Documented: connects from this local address; port 0 lets the system choose.
fn from_a_local_address(subject: &Subject) {
    let io: Io = subject.io();
    let server = subject.peer_listener();
    let address = server.local_addr().unwrap();
    connect(&io, op::Connect::new(address).from(([127, 0, 0, 7], 0))).unwrap();
    let (_peer, from) = server.accept().unwrap();
    assert_eq!(from.ip(), SocketAddr::from(([127, 0, 0, 7], 0)).ip());
    assert_ne!(from.port(), 0);

    let gone = subject.peer_listener_with(([127, 0, 0, 8], 0), ListenOptions::default()).unwrap();
    let free = gone.local_addr().unwrap();
    drop(gone);
    let stream = connect(&io, op::Connect::new(address).from(free)).unwrap();
    assert_eq!((server.accept().unwrap().1, io.local_address(stream)), (free, Ok(free)));
}

/// Documented: `AddrInUse` and `AddrNotAvailable` for `from`; by callback like everything (guarantee 1).
fn bad_local_addresses(subject: &Subject) {
    let io: Io = subject.io();
    let server = subject.peer_listener();
    let address = server.local_addr().unwrap();
    let failed = |from: SocketAddr| kind(connect(&io, op::Connect::new(address).from(from)));
    assert_eq!(failed(address), Some(ErrorKind::AddrInUse));
    assert_eq!(failed(([203, 0, 113, 1], 0).into()), Some(ErrorKind::AddrNotAvailable));
    let other_family = failed((Ipv6Addr::LOCALHOST, 0).into());
    assert!(
        matches!(other_family, Some(ErrorKind::InvalidInput | ErrorKind::Unsupported)),
        "{other_family:?}"
    );
    io.run().unwrap();
    assert_eq!(io.in_flight(), 0);
}

/// Documented: `Connect::options`.
fn options_are_set(subject: &Subject) {
    let io: Io = subject.io();
    let server = subject.peer_listener();
    let options = TcpOptions::default().nodelay(true).recv_buffer(20_000);
    let stream = connect(&io, op::Connect::new(server.local_addr().unwrap()).options(options)).unwrap();
    let found = io.tcp_options(stream).unwrap();
    assert!(
        found.nodelay == Some(true) && found.recv_buffer >= Some(20_000) && found.recv_buffer <= Some(40_000)
    );
}

/// Guarantee 3: "One that lends none (connect) calls back at once; a cancelled connect's socket is always closed".
fn cancelled(subject: &Subject) {
    let (address, _held) = subject.full_listener();
    let io: Io = subject.io();
    let ended = Slot::new();
    let ids: Vec<_> = (0..3).map(|_| io.connect(address, keep::<End>(&ended))).collect();
    until_on_their_way(subject, &io, address, 3);
    assert_eq!(ended.len(), 0);
    for id in ids {
        assert!(io.cancel(id));
    }
    // The next tick: it waits for nothing.
    turn(&io, 1);
    assert!(ended.len() == 3 && ended.take().into_iter().all(|end| kind(end) == Some(ErrorKind::Cancelled)));
    drive(&io, || io.in_flight() == 0);
    assert_none_on_their_way(subject, address);

    // One that was cancelled before it was handed over.
    let id = io.connect(address, keep(&ended));
    assert!(io.cancel(id));
    turn(&io, 1);
    assert_eq!(kind(ended.one()), Some(ErrorKind::Cancelled));
    drive(&io, || io.in_flight() == 0);
    assert_none_on_their_way(subject, address);
}

/// As above, with `TimedOut`; long before the system would give up.
fn past_its_deadline(subject: &Subject) {
    let (address, _held) = subject.full_listener();
    let io: Io = subject.io();
    let (ended, start, limit) = (Slot::new(), io.now(), Duration::from_millis(30));
    io.submit(op::Connect::new(address).timeout(limit), keep::<End>(&ended));
    drive(&io, || ended.len() > 0);
    let error = ended.one().unwrap_err();
    assert_eq!((error.kind(), error.os_error()), (ErrorKind::TimedOut, None));
    let passed = io.now() - start;
    assert!(passed >= limit && passed < Duration::from_secs(60), "{passed:?}: the system takes two minutes");
    drive(&io, || io.in_flight() == 0);
    assert_none_on_their_way(subject, address);
}

/// Guarantee 4: silent, and the socket is closed.
fn removed(subject: &Subject) {
    let (address, _held) = subject.full_listener();
    let io: Io = subject.io();
    let drops = Drops::new();
    let counted = drops.counted();
    let id = io.connect(address, move |_, _, _| {
        let _ = &counted;
        unreachable!("it is removed")
    });
    until_on_their_way(subject, &io, address, 1);
    assert!(io.remove(id) && !io.remove(id) && !io.cancel(id));
    assert_eq!(drops.count(), 1);
    io.run().unwrap();
    drive(&io, || io.in_flight() == 0);
    assert_none_on_their_way(subject, address);
}

/// Guarantee 3: "its late result is closed": the peer sees the end of a connection that had come about.
fn comes_after_the_cancel(subject: &Subject) {
    for remove in [false, true] {
        let io: Io = subject.io();
        let server = subject.peer_listener();
        let ended = Slot::new();
        let id = io.connect(server.local_addr().unwrap(), keep::<End>(&ended));
        // Handed over, and on loopback done; its callback would run in the next tick.
        io.tick(None).unwrap();
        let (peer, _) = server.accept().unwrap();
        assert_eq!((ended.len(), peer.is_over()), (0, false));
        assert!(if remove { io.remove(id) } else { io.cancel(id) });
        io.run().unwrap();
        drive(&io, || io.in_flight() == 0);
        match ended.take().pop() {
            None => assert!(remove && peer.is_over()),
            Some(end) => assert!(!remove && end.is_err() && peer.is_over()),
        }
    }
}

/// Guarantee 3, in many courses of events: a connect ends with a stream, or its peer sees the end.
fn racing_a_cancel(subject: &Subject) {
    let io: Io = subject.io();
    let server = subject.peer_listener();
    let address = server.local_addr().unwrap();
    for course in 0..40 {
        let ended = Slot::new();
        let late = Duration::from_micros(course);
        let limit = if course % 2 == 0 { late } else { Duration::from_secs(3600) };
        let id = io.submit(op::Connect::new(address).timeout(limit), keep::<End>(&ended));
        turn(&io, course as usize / 2 % 4);
        io.cancel(id);
        drive(&io, || ended.len() > 0);
        io.run().unwrap();
        match ended.one() {
            Ok(stream) => {
                let (peer, from) = server.accept().unwrap();
                assert_eq!((io.local_address(stream), peer.is_over()), (Ok(from), false), "course {course}");
                io.close(stream);
                io.run().unwrap();
            }
            Err(error) => {
                assert!(
                    matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::TimedOut),
                    "course {course}"
                );
                // It may have come about all the same.
                if let Some((peer, _)) = server.accept_now() {
                    assert!(peer.is_over(), "course {course}");
                }
            }
        }
        assert_eq!(io.in_flight(), 0);
    }
}
