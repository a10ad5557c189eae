//! Socket options: what is set is what the system has.

use std::io::Read;
use std::time::Duration;

use nbio::{Keepalive, Linger, TcpOptions};
use rustix::net::sockopt;

use crate::peer::Peer;
use crate::support::{Case, Slot, Subject, listen};
use crate::system;
use crate::wire::{Io, drive, keep, noise};

pub const CASES: &[Case] = &[
    Case { name: "each_option_is_set_and_read_back", run: each_option },
    Case { name: "what_is_none_is_left_alone", run: none_is_left_alone },
    Case { name: "durations_are_rounded_up", run: durations_are_rounded_up },
    Case { name: "options_of_a_listener", run: options_of_a_listener },
    Case { name: "linger_reset_makes_the_peer_see_a_reset", run: linger_reset },
    Case { name: "lingering_close_does_not_block_the_loop", run: lingering_close },
    Case { name: "lingering_close_of_an_adopted_socket_does_not_block_the_loop", run: lingering_adopted },
];

/// Each option, as std's or rustix's own calls see it on the descriptor, and as `tcp_options` says it.
fn each_option(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, _peer) = subject.pair(&io);
    let socket = system::into_std::<std::net::TcpStream>(io.duplicate(stream).unwrap());
    let set = |options: TcpOptions| {
        io.set_tcp_options(stream, options).unwrap();
        io.tcp_options(stream).unwrap()
    };
    for on in [true, false] {
        assert_eq!(set(TcpOptions::default().nodelay(on)).nodelay, Some(on));
        assert_eq!(socket.nodelay().unwrap(), on);
    }
    let seconds = Duration::from_secs;
    let times = Keepalive::On { idle: seconds(100), interval: seconds(20), probes: 7 };
    assert_eq!(set(TcpOptions::default().keepalive(times)).keepalive, Some(times));
    assert_eq!(sockopt::socket_keepalive(&socket), Ok(true));
    assert_eq!(system::keepalive_times(&socket), (seconds(100), seconds(20), 7));
    assert_eq!(set(TcpOptions::default().keepalive(Keepalive::Off)).keepalive, Some(Keepalive::Off));
    assert_eq!(sockopt::socket_keepalive(&socket), Ok(false));

    for (linger, expected) in [
        (Linger::Reset, Some(Duration::ZERO)),
        (Linger::Wait(seconds(3)), Some(seconds(3))),
        (Linger::System, None),
    ] {
        assert_eq!(set(TcpOptions::default().linger(linger)).linger, Some(linger));
        assert_eq!(sockopt::socket_linger(&socket), Ok(expected));
    }
    // Linux doubles these (socket(7)).
    let found = set(TcpOptions::default().recv_buffer(50_000).send_buffer(60_000));
    assert_eq!((found.recv_buffer, found.send_buffer), (Some(100_000), Some(120_000)));
    assert_eq!(sockopt::socket_recv_buffer_size(&socket), Ok(100_000));
    assert_eq!(sockopt::socket_send_buffer_size(&socket), Ok(120_000));
    let found = set(TcpOptions::default().user_timeout(Duration::from_millis(4321)));
    assert_eq!(found.user_timeout, Some(Duration::from_millis(4321)));
    assert_eq!(system::user_timeout(&socket), Some(4321));
}

/// Documented: "What is `None` is left as the system has it"; `SystemTimes` only switches probes on.
fn none_is_left_alone(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, _peer) = subject.pair(&io);
    let before = io.tcp_options(stream).unwrap();
    assert_eq!(before.nodelay, Some(false), "off as the system has it");
    io.set_tcp_options(stream, TcpOptions::default()).unwrap();
    assert_eq!(io.tcp_options(stream), Ok(before));
    io.set_tcp_options(stream, TcpOptions::default().nodelay(true)).unwrap();
    assert_eq!(io.tcp_options(stream), Ok(before.nodelay(true)));
    io.set_tcp_options(stream, TcpOptions::default().keepalive(Keepalive::SystemTimes)).unwrap();
    if subject.simulated() {
        let probes = io.tcp_options(stream).unwrap().keepalive;
        return assert!(matches!(probes, Some(Keepalive::On { .. })), "{probes:?}");
    }
    let socket = system::into_std::<std::net::TcpStream>(io.duplicate(stream).unwrap());
    let time = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_keepalive_time").unwrap();
    let time = Duration::from_secs(time.trim().parse().unwrap());
    assert_eq!((sockopt::socket_keepalive(&socket), system::keepalive_times(&socket).0), (Ok(true), time));
}

/// Documented: whole seconds or milliseconds, rounded up; so never 0 where 0 means something else.
fn durations_are_rounded_up(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, _peer) = subject.pair(&io);
    let (little, more) = (Duration::from_nanos(1), Duration::from_millis(1001));
    io.set_tcp_options(stream, TcpOptions::default().user_timeout(little).linger(Linger::Wait(little)))
        .unwrap();
    let found = io.tcp_options(stream).unwrap();
    assert_eq!(found.user_timeout, Some(Duration::from_millis(1)));
    assert_eq!(found.linger, Some(Linger::Wait(Duration::from_secs(1))));

    let keepalive = Keepalive::On { idle: more, interval: little, probes: 1 };
    let options = TcpOptions::default().keepalive(keepalive).linger(Linger::Wait(more));
    io.set_tcp_options(stream, options).unwrap();
    let found = io.tcp_options(stream).unwrap();
    let (one, two) = (Duration::from_secs(1), Duration::from_secs(2));
    assert_eq!(found.keepalive, Some(Keepalive::On { idle: two, interval: one, probes: 1 }));
    assert_eq!(found.linger, Some(Linger::Wait(two)));
}

/// Documented: options of an open stream or listener.
fn options_of_a_listener(subject: &Subject) {
    let io: Io = subject.io();
    let (listener, address) = listen(&io);
    io.set_tcp_options(listener, TcpOptions::default().nodelay(true).linger(Linger::Reset)).unwrap();
    let accepted = Slot::new();
    io.accept(listener, keep(&accepted));
    let mut peer = subject.connect(address).unwrap();
    drive(&io, || accepted.len() > 0);
    let accepted: Result<nbio::Accepted, _> = accepted.one();
    io.close(accepted.unwrap().stream);
    io.run().unwrap();
    assert_eq!(peer.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

/// Documented: `Linger::Reset`.
fn linger_reset(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    io.set_tcp_options(stream, TcpOptions::default().linger(Linger::Reset)).unwrap();
    io.close(stream);
    io.run().unwrap();
    assert_eq!(peer.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);

    // And without it there is none.
    let (stream, mut peer) = subject.pair(&io);
    io.close(stream);
    io.run().unwrap();
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
}

/// Documented: "The loop itself doesn't wait": a timer fires while a close waits for unsent data.
fn lingering_close(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, peer) = subject.narrow_pair(&io);
    io.set_tcp_options(stream, TcpOptions::default().linger(Linger::Wait(Duration::from_secs(60)))).unwrap();
    closes_while_the_loop_goes_on(&io, stream, peer);
}

/// As above, where the option was set before nbio had the socket.
fn lingering_adopted(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, peer) = subject.narrow_pair(&io);
    let socket = system::into_std::<std::net::TcpStream>(io.release(stream).unwrap());
    sockopt::set_socket_linger(&socket, Some(Duration::from_secs(60))).unwrap();
    let stream = io.adopt(socket).unwrap();
    closes_while_the_loop_goes_on(&io, stream, peer);
}

fn closes_while_the_loop_goes_on(io: &Io, stream: nbio::TcpStream, peer: Peer) {
    let large = noise(1 << 20, 1);
    let (sent, closed, rung) = (Slot::new(), Slot::new(), Slot::new());
    io.send_all(stream, large.clone(), keep(&sent));
    peer.until_unread(io, 1);
    let start = io.now();
    io.close_then(stream, keep(&closed));
    drive(io, || sent.len() > 0);
    let done: nbio::Done<Vec<u8>> = sent.one();
    for _ in 0..5 {
        io.timer(Duration::from_millis(5), keep(&rung));
        drive(io, || rung.len() > 0);
        assert_eq!(rung.one(), Ok(()));
    }
    assert!(io.now() - start < Duration::from_secs(30));
    assert!(peer.unread().is_none_or(|bytes| bytes < done.bytes), "there is unsent data");
    // All of it arrives.
    assert!(read_all_of(io, peer) == large[..done.bytes]);
    io.run().unwrap();
    assert_eq!(closed.one(), Ok(()));
}

fn read_all_of(io: &Io, peer: Peer) -> Vec<u8> {
    peer.read_all().join(io)
}
