//! Listening: addresses, options, and what accepted streams inherit.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use nbio::{Accepted, ErrorKind, Keepalive, Linger, ListenOptions, TcpOptions};
use rustix::net::sockopt;

use crate::peer::Peer;
use crate::support::{Case, Slot, Subject, listen, own_address};
use crate::system;
use crate::wire::{Io, drive, keep, kind};

pub const CASES: &[Case] = &[
    Case { name: "port_in_use", run: port_in_use },
    Case { name: "address_of_another_machine", run: address_of_another_machine },
    Case { name: "port_0_lets_the_system_choose", run: port_0 },
    Case { name: "reuse_address_is_set_unless_switched_off", run: reuse_address },
    Case { name: "reuse_port_shares_the_port", run: reuse_port },
    Case { name: "backlog_bounds_what_waits_to_be_accepted", run: backlog },
    Case { name: "v6only_keeps_ipv4_out", run: v6only },
    Case { name: "dual_stack_takes_ipv4_as_mapped_addresses", run: dual_stack },
    Case { name: "accepted_streams_inherit_the_options", run: inherited_options },
    Case { name: "closed_listener_refuses_and_frees_its_port", run: closed_listener_refuses },
];

/// Documented: `AddrInUse`; nothing is left behind, the port can be had when it is free.
fn port_in_use(subject: &Subject) {
    let io: Io = subject.io();
    let (listener, address) = listen(&io);
    let error = io.listen_tcp(address).unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::AddrInUse, nbio::op::Kind::Listen));
    assert!(subject.simulated() || error.os_error().is_some());
    io.close(listener);
    io.run().unwrap();
    io.listen_tcp(address).unwrap();
}

/// Documented: `AddrNotAvailable`.
fn address_of_another_machine(subject: &Subject) {
    let io: Io = subject.io();
    // TEST-NET-3: nobody's.
    let error = io.listen_tcp(([203, 0, 113, 1], 0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
}

/// Documented: port 0 lets the system choose one; `local_address` tells which.
fn port_0(subject: &Subject) {
    let io: Io = subject.io();
    let asked = own_address();
    let [first, second] = [(); 2].map(|()| io.local_address(io.listen_tcp(asked).unwrap()).unwrap());
    assert!(first.port() != 0 && second.port() != 0 && first.port() != second.port());
    assert_eq!((first.ip(), second.ip()), (asked.ip(), asked.ip()));
    let sixth = io.listen_tcp((Ipv6Addr::LOCALHOST, 0)).unwrap();
    let address = io.local_address(sixth).unwrap();
    assert!(address.is_ipv6() && address.ip().is_loopback() && address.port() != 0);
}

/// Documented: `SO_REUSEADDR`, on by default.
fn reuse_address(subject: &Subject) {
    let io: Io = subject.io();
    for (options, expected) in
        [(ListenOptions::default(), true), (ListenOptions::default().reuse_address(false), false)]
    {
        let listener = io.listen_tcp_with(([127, 0, 0, 1], 0), options).unwrap();
        assert_eq!(
            sockopt::socket_reuseaddr(system::into_std::<std::net::TcpListener>(
                io.duplicate(listener).unwrap()
            )),
            Ok(expected)
        );
    }
}

/// Documented: several listeners share the address, if all of them say so.
fn reuse_port(subject: &Subject) {
    let io: Io = subject.io();
    let shared = ListenOptions::default().reuse_port(true);
    let first = io.listen_tcp_with(([127, 0, 0, 1], 0), shared).unwrap();
    let address = io.local_address(first).unwrap();
    let second = io.listen_tcp_with(address, shared).unwrap();
    assert_eq!(io.local_address(second), Ok(address));
    assert_eq!(kind(io.listen_tcp(address)), Some(ErrorKind::AddrInUse));

    // Whichever a connection goes to, it is accepted.
    let accepted = Slot::new();
    for listener in [first, second] {
        for _ in 0..10 {
            let put = accepted.clone();
            io.accept(listener, move |_, _, end| {
                if let Ok(end) = end {
                    put.put(end.peer);
                }
            });
        }
    }
    let peers: Vec<Peer> = (0..10).map(|_| subject.connect(address).unwrap()).collect();
    drive(&io, || accepted.len() == 10);
    let mut from = accepted.take();
    from.sort();
    let mut expected: Vec<SocketAddr> = peers.iter().map(|peer| peer.local_addr().unwrap()).collect();
    expected.sort();
    assert_eq!(from, expected);
}

/// Documented: how many connections may wait to be accepted.
fn backlog(subject: &Subject) {
    let io: Io = subject.io();
    let waiting = |backlog: u32| {
        let listener =
            io.listen_tcp_with(([127, 0, 0, 1], 0), ListenOptions::default().backlog(backlog)).unwrap();
        let address = io.local_address(listener).unwrap();
        let mut peers = Vec::new();
        while peers.len() < 20 {
            match subject.connect_timeout(address, Duration::from_millis(100)) {
                Ok(peer) => peers.push(peer),
                Err(error) => {
                    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
                    break;
                }
            }
        }
        peers.len()
    };
    // Linux takes one more than it is told, others round it.
    assert!((1..=6).contains(&waiting(1)));
    assert!((7..=16).contains(&waiting(8)));
    assert_eq!(waiting(64), 20);
    assert_eq!(waiting(u32::MAX), 20);
    // The probe that other cases rely on.
    let (address, held) = subject.full_listener();
    assert!(subject.connect_timeout(address, Duration::from_millis(100)).is_err());
    drop(held);
}

/// Documented: an IPv6 listener takes no IPv4 connections.
fn v6only(subject: &Subject) {
    let io: Io = subject.io();
    let options = ListenOptions::default().v6only(true);
    let listener = io.listen_tcp_with((Ipv6Addr::UNSPECIFIED, 0), options).unwrap();
    let port = io.local_address(listener).unwrap().port();
    let refused = subject.connect((Ipv4Addr::LOCALHOST, port).into()).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let accepted = Slot::new();
    io.accept(listener, keep(&accepted));
    let peer = subject.connect((Ipv6Addr::LOCALHOST, port).into()).unwrap();
    drive(&io, || accepted.len() > 0);
    let accepted: Result<Accepted, _> = accepted.one();
    assert_eq!(accepted.unwrap().peer, peer.local_addr().unwrap());

    let error = io.listen_tcp_with(([127, 0, 0, 1], 0), options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

/// Documented: without it, IPv4 connections come with IPv4-mapped addresses.
fn dual_stack(subject: &Subject) {
    let io: Io = subject.io();
    let options = ListenOptions::default().v6only(false);
    let listener = io.listen_tcp_with((Ipv6Addr::UNSPECIFIED, 0), options).unwrap();
    let port = io.local_address(listener).unwrap().port();
    let accepted = Slot::new();
    io.accept(listener, keep(&accepted));
    let peer = subject.connect((Ipv4Addr::LOCALHOST, port).into()).unwrap();
    drive(&io, || accepted.len() > 0);
    let accepted: Result<Accepted, _> = accepted.one();
    let accepted = accepted.unwrap();
    let SocketAddr::V6(from) = accepted.peer else { panic!("{} is no IPv6 address", accepted.peer) };
    assert_eq!(from.ip().to_ipv4_mapped().map(Into::into), Some(peer.local_addr().unwrap().ip()));
    assert_eq!(from.port(), peer.local_addr().unwrap().port());
    assert_eq!(io.peer_address(accepted.stream), Ok(accepted.peer));
}

/// Documented: `ListenOptions::tcp`, options that accepted streams inherit.
fn inherited_options(subject: &Subject) {
    let io: Io = subject.io();
    let times = Keepalive::On { idle: Duration::from_secs(61), interval: Duration::from_secs(7), probes: 4 };
    let tcp = TcpOptions::default()
        .nodelay(true)
        .keepalive(times)
        .linger(Linger::Reset)
        .recv_buffer(20_000)
        .send_buffer(30_000)
        .user_timeout(Duration::from_millis(12_345));
    let listener = io.listen_tcp_with(([127, 0, 0, 1], 0), ListenOptions::default().tcp(tcp)).unwrap();
    let listening = io.tcp_options(listener).unwrap();
    let accepted = Slot::new();
    io.accept(listener, keep(&accepted));
    let peer = subject.connect(io.local_address(listener).unwrap()).unwrap();
    drive(&io, || accepted.len() > 0);
    let accepted: Result<Accepted, _> = accepted.one();
    let inherited = io.tcp_options(accepted.unwrap().stream).unwrap();
    assert_eq!(inherited, listening);
    assert_eq!((inherited.nodelay, inherited.keepalive), (Some(true), Some(times)));
    assert_eq!((inherited.linger, inherited.user_timeout), (tcp.linger, tcp.user_timeout));
    // Linux doubles them.
    assert!(inherited.recv_buffer >= tcp.recv_buffer && inherited.recv_buffer <= Some(40_000));
    assert!(inherited.send_buffer >= tcp.send_buffer && inherited.send_buffer <= Some(60_000));
    drop(peer);
}

/// Guarantee 6: a closed listener is closed: its port refuses, and those who wait to be accepted are reset.
fn closed_listener_refuses(subject: &Subject) {
    let io: Io = subject.io();
    let (listener, address) = listen(&io);
    let waiting = subject.connect(address).unwrap();
    let closed = Slot::new();
    io.close_then(listener, keep(&closed));
    io.run().unwrap();
    assert_eq!(closed.one(), Ok(()));
    let refused = subject.connect(address).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(waiting.is_over());
}
