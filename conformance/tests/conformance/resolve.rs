//! Names of hosts. No case asks a name server: what the resolver can't find without one isn't a name.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use nbio::{ErrorKind, Operation, Support, op};

use crate::blocking::Crowd;
use crate::support::{Case, Slot, Subject};
use crate::udp::finish;
use crate::wire::{Io, drive, keep, kind};

pub const CASES: &[Case] = &[
    Case { name: "addresses_in_text_and_the_host_itself", run: addresses },
    Case { name: "names_that_are_none", run: no_names },
    Case { name: "ended_in_the_queue_at_once", run: ended_in_the_queue },
    Case { name: "connected_by_name", run: connected },
];

/// Documented: every address has the port; `localhost` needs no name server (RFC 6761).
fn addresses(subject: &Subject) {
    let io: Io = subject.io();
    for (text, port) in [("127.0.0.1", 1), ("::1", 65_535), ("192.0.2.7", 0)] {
        let expected = SocketAddr::new(text.parse::<IpAddr>().unwrap(), port);
        assert_eq!(finish(&io, op::Resolve::new(text, port)), Ok(vec![expected]));
    }
    let found = finish(&io, op::Resolve::new("localhost", 80)).unwrap();
    assert!(!found.is_empty());
    for address in found {
        assert!(address.ip().is_loopback() && address.port() == 80, "{address}");
    }
    let report = io.report();
    let (_, support) = report.operations().iter().find(|(kind, _)| *kind == op::Kind::Resolve).unwrap();
    assert!(matches!(support, Support::Pool | Support::Simulated));
}

/// Documented errors, by the operation's name.
fn no_names(subject: &Subject) {
    let io: Io = subject.io();
    let no_label = format!("{}.invalid", "x".repeat(64));
    for (name, expected) in [
        ("", ErrorKind::InvalidInput),
        ("local\0host", ErrorKind::InvalidInput),
        ("a..b", ErrorKind::NotFound),
        (&no_label, ErrorKind::NotFound),
    ] {
        let error = finish(&io, op::Resolve::new(name, 80)).unwrap_err();
        assert_eq!((error.kind(), error.operation()), (expected, op::Kind::Resolve), "{name:?}");
    }
}

/// Guarantees 3 and 4: cancelled, late or removed, it doesn't wait for its turn.
fn ended_in_the_queue(subject: &Subject) {
    let crowd = Crowd::new(subject);
    let io = &crowd.io;
    let ended: Slot<Result<Vec<SocketAddr>, nbio::Error>> = Slot::new();
    let cancelled = io.resolve("localhost", 1, keep(&ended));
    let removed = io.resolve("localhost", 1, keep(&ended));
    io.submit(op::Resolve::new("localhost", 1).timeout(Duration::from_millis(5)), keep(&ended));
    assert!(io.cancel(cancelled) && io.remove(removed));
    drive(io, || ended.len() == 2);
    let mut kinds: Vec<_> = ended.take().into_iter().map(kind).collect();
    kinds.sort_by_key(|kind| format!("{kind:?}"));
    assert_eq!(kinds, [Some(ErrorKind::Cancelled), Some(ErrorKind::TimedOut)]);
}

/// What it brings can be connected to.
fn connected(subject: &Subject) {
    let io: Io = subject.io();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let found = finish(&io, op::Resolve::new("localhost", port)).unwrap();
    let v4 = found.into_iter().find(SocketAddr::is_ipv4).unwrap();
    let stream = finish(&io, op::Connect::new(v4)).unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    peer.write_all(b"hi").unwrap();
    assert_eq!(finish(&io, op::Recv::new(stream, vec![0; 2]).exact(2)).buf, b"hi");
    drop(io);
    assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0);
}
