//! Options of UDP sockets, multicast and broadcast. All of it on the loopback interface, where a group of IPv4 needs no
//! route if the interface is given.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nbio::{Datagram, ErrorKind, Interface, Multicast, UdpOptions, UdpSocket, op};

use crate::support::{Case, Slot, Subject, own_udp_address as own_address};
use crate::system;
use crate::udp::{bound, finish, receive};
use crate::udp_control::listening;
use crate::wire::{Io, keep, kind, turn};

pub const CASES: &[Case] = &[
    Case { name: "each_option_is_set_and_read_back", run: options_v4 },
    Case { name: "each_option_of_version_6", run: options_v6 },
    Case { name: "options_before_binding_come_too_late", run: too_late },
    Case { name: "joined_groups_are_received", run: joined },
    Case { name: "groups_on_a_socket_of_both_versions", run: joined_on_both },
    Case { name: "source_specific_groups", run: of_source },
    Case { name: "multicast_ttl_loop_and_interface", run: multicast_options },
    Case { name: "only_groups_that_it_joined_itself", run: own_groups },
    Case { name: "group_errors", run: group_errors },
    Case { name: "groups_of_version_6", run: joined_v6 },
    Case { name: "broadcast_if_allowed", run: broadcast },
];

const LO: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Sets each alone; the others stay as they were.
fn one_by_one(io: &Io, socket: UdpSocket, options: &[UdpOptions]) {
    let mut expected = io.udp_options(socket).unwrap();
    for &option in options {
        io.set_udp_options(socket, option).unwrap();
        let got = io.udp_options(socket).unwrap();
        macro_rules! overlay {
            ($($field:ident)*) => {
                $(
                    if let Some(value) = option.$field {
                        assert_ne!(expected.$field, Some(value), "{} would prove nothing", stringify!($field));
                        expected.$field = Some(value);
                    }
                )*
            };
        }
        overlay!(broadcast ttl tos recv_packet_info recv_ttl recv_ecn gro multicast_ttl multicast_loop);
        overlay!(multicast_interface);
        if let Some(bytes) = option.recv_buffer {
            assert_eq!(got.recv_buffer, Some(2 * bytes), "Linux doubles it");
            expected.recv_buffer = got.recv_buffer;
        }
        if let Some(bytes) = option.send_buffer {
            assert_eq!(got.send_buffer, Some(2 * bytes));
            expected.send_buffer = got.send_buffer;
        }
        assert_eq!(got, expected, "{option:?}");
    }
}

fn common() -> Vec<UdpOptions> {
    let plain = UdpOptions::default();
    vec![
        plain.broadcast(true),
        plain.recv_buffer(20_000),
        plain.send_buffer(30_000),
        plain.ttl(17),
        plain.tos(0b1010_1001),
        plain.recv_packet_info(true),
        plain.recv_ttl(true),
        plain.recv_ecn(true),
        plain.gro(true),
        plain.multicast_ttl(0),
        plain.multicast_ttl(255),
        plain.multicast_loop(false),
        plain.broadcast(false).ttl(255).recv_ecn(false).gro(false).multicast_loop(true),
    ]
}

/// Documented options and their defaults.
fn options_v4(subject: &Subject) {
    let io: Io = subject.io();
    let (socket, _) = bound(&io);
    let first = io.udp_options(socket).unwrap();
    assert_eq!((first.v6only, first.reuse_address, first.reuse_port), (None, Some(false), Some(false)));
    assert_eq!(
        (first.broadcast, first.multicast_ttl, first.multicast_loop),
        (Some(false), Some(1), Some(true))
    );
    assert_eq!((first.recv_ecn, first.gro, first.multicast_interface), (Some(false), Some(false), None));
    let mut options = common();
    options.push(UdpOptions::default().multicast_interface(LO));
    one_by_one(&io, socket, &options);
    // All of them before binding.
    let early =
        UdpOptions::default().reuse_address(true).reuse_port(true).ttl(9).tos(4).recv_ecn(true).gro(true);
    let socket = io.bind_udp_with(own_address(), early).unwrap();
    let got = io.udp_options(socket).unwrap();
    assert_eq!((got.reuse_address, got.reuse_port, got.ttl), (Some(true), Some(true), Some(9)));
    assert_eq!((got.tos, got.recv_ecn, got.gro), (Some(4), Some(true), Some(true)));
}

fn options_v6(subject: &Subject) {
    let io: Io = subject.io();
    for v6only in [true, false] {
        let alone = UdpOptions::default().v6only(v6only);
        let socket = io.bind_udp_with((Ipv6Addr::UNSPECIFIED, 0), alone).unwrap();
        let first = io.udp_options(socket).unwrap();
        assert_eq!((first.v6only, first.multicast_interface), (Some(v6only), Some(Interface::System)));
        let mut options = common();
        options.push(UdpOptions::default().multicast_interface(1));
        options.push(UdpOptions::default().multicast_interface(Interface::System));
        one_by_one(&io, socket, &options);
        let by_address = io.set_udp_options(socket, UdpOptions::default().multicast_interface(LO));
        assert_eq!(kind(by_address), v6only.then_some(ErrorKind::InvalidInput));
    }
}

/// Documented: the first three come too late on an open socket; what else is wrong there.
fn too_late(subject: &Subject) {
    let io: Io = subject.io();
    let (socket, _) = bound(&io);
    let plain = UdpOptions::default();
    for options in [
        plain.v6only(false),
        plain.reuse_address(true),
        plain.reuse_port(false),
        plain.ttl(0),
        plain.send_buffer(usize::MAX),
        plain.multicast_interface(u32::MAX),
    ] {
        let error = io.set_udp_options(socket, options).unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::InvalidInput, op::Kind::SetUdpOptions));
    }
    let nowhere = io.set_udp_options(socket, plain.multicast_interface(i32::MAX as u32));
    assert_eq!(kind(nowhere), Some(ErrorKind::AddrNotAvailable));
}

/// A group that nobody else in the world of tests uses.
fn own_group() -> Ipv4Addr {
    let IpAddr::V4(own) = own_address().ip() else { unreachable!("it is of version 4") };
    let [_, high, middle, low] = own.octets();
    Ipv4Addr::new(239, high, middle, low)
}

/// A socket that sends to groups by the loopback interface.
fn sender(io: &Io) -> UdpSocket {
    io.bind_udp_with((LO, 0), UdpOptions::default().multicast_interface(LO)).unwrap()
}

/// What came, if anything did by the time that what was sent later came.
fn came(io: &Io, socket: UdpSocket) -> Option<Datagram<Vec<u8>>> {
    let port = io.local_address(socket).unwrap().port();
    let last = io.bind_udp((LO, 0)).unwrap();
    finish(io, op::SendTo::new(last, "last", (LO, port)));
    io.close(last);
    let datagram = receive(io, socket, 20);
    if datagram.data() == b"last" {
        return None;
    }
    let next = receive(io, socket, 20);
    assert_eq!(next.data(), b"last", "after {datagram:?} came {next:?}");
    Some(datagram)
}

/// Documented: by the interface's address or index, until it is left.
fn joined(subject: &Subject) {
    let io: Io = subject.io();
    let sender = sender(&io);
    let mut interfaces = vec![Interface::Address(LO)];
    if !system::is_wine() {
        // Which doesn't know them by their indices.
        interfaces.push(Interface::Index(1));
    }
    for interface in interfaces {
        let socket = io
            .bind_udp_with((Ipv4Addr::UNSPECIFIED, 0), UdpOptions::default().recv_packet_info(true))
            .unwrap();
        let group = own_group();
        let there = SocketAddr::from((group, io.local_address(socket).unwrap().port()));
        let membership = Multicast::new(group).interface(interface);
        let send =
            |text: &'static str| assert_eq!(finish(&io, op::SendTo::new(sender, text, there)).result, Ok(()));
        send("too early");
        assert!(came(&io, socket).is_none());
        io.join_multicast(socket, membership).unwrap();
        send("in time");
        let datagram = came(&io, socket).unwrap();
        assert_eq!((datagram.data(), datagram.from), (&b"in time"[..], io.local_address(sender).ok()));
        assert_eq!(datagram.control.packet_info.unwrap().destination, group);
        io.leave_multicast(socket, membership).unwrap();
        send("too late");
        assert!(came(&io, socket).is_none());
    }
}

/// Documented: "IPv4 groups go with either if IPv4 isn't switched off".
fn joined_on_both(subject: &Subject) {
    let io: Io = subject.io();
    let both = UdpOptions::default().v6only(false).multicast_interface(LO).recv_packet_info(true);
    let socket = io.bind_udp_with((Ipv6Addr::UNSPECIFIED, 0), both).unwrap();
    let group = own_group();
    io.join_multicast(socket, Multicast::new(group).interface(LO)).unwrap();
    let there = SocketAddr::from((group, io.local_address(socket).unwrap().port()));
    // From the socket itself, by the interface that its options say.
    assert_eq!(finish(&io, op::SendTo::new(socket, "x", there)).result, Ok(()));
    let datagram = receive(&io, socket, 9);
    assert_eq!(datagram.control.packet_info.unwrap().destination.to_canonical(), group);
}

/// Documented: "Only what this address sends".
fn of_source(subject: &Subject) {
    let io: Io = subject.io();
    let by_lo = UdpOptions::default().multicast_interface(LO);
    let (right, wrong) = (own_address(), own_address());
    let [right, wrong] = [right, wrong].map(|at| io.bind_udp_with(at, by_lo).unwrap());
    let source = io.local_address(right).unwrap().ip();
    for interface in [Interface::Address(LO), Interface::Index(1)] {
        let (socket, group) = (io.bind_udp((Ipv4Addr::UNSPECIFIED, 0)).unwrap(), own_group());
        let there = SocketAddr::from((group, io.local_address(socket).unwrap().port()));
        let membership = Multicast::new(group).source(source).interface(interface);
        io.join_multicast(socket, membership).unwrap();
        for (from, text) in [(wrong, "not this"), (right, "this")] {
            assert_eq!(finish(&io, op::SendTo::new(from, text, there)).result, Ok(()));
        }
        assert_eq!(came(&io, socket).unwrap().data(), b"this");
        assert_eq!(kind(io.join_multicast(socket, membership)), Some(ErrorKind::AddrNotAvailable));
        io.leave_multicast(socket, membership).unwrap();
        finish(&io, op::SendTo::new(right, "too late", there));
        assert!(came(&io, socket).is_none());
        assert!(io.leave_multicast(socket, membership).is_err());
    }
}

/// Documented: `multicast_ttl`, `multicast_loop`.
fn multicast_options(subject: &Subject) {
    let io: Io = subject.io();
    let (sender, group) = (sender(&io), own_group());
    let socket = io.bind_udp_with((Ipv4Addr::UNSPECIFIED, 0), UdpOptions::default().recv_ttl(true)).unwrap();
    io.join_multicast(socket, Multicast::new(group).interface(LO)).unwrap();
    let there = SocketAddr::from((group, io.local_address(socket).unwrap().port()));
    let (plain, by_lo) = (UdpOptions::default(), UdpOptions::default().multicast_interface(1));
    for (options, expected) in
        [(plain, 1), (plain.multicast_ttl(33), 33), (plain.multicast_ttl(0), 0), (by_lo, 0)]
    {
        io.set_udp_options(sender, options).unwrap();
        assert_eq!(finish(&io, op::SendTo::new(sender, "x", there)).result, Ok(()));
        assert_eq!(came(&io, socket).unwrap().control.ttl, Some(expected));
    }
}

/// Documented: "It receives what is sent to the multicast groups that it joined, and no others".
fn own_groups(subject: &Subject) {
    let io: Io = subject.io();
    let shared = UdpOptions::default().reuse_address(true);
    let member = io.bind_udp_with((Ipv4Addr::UNSPECIFIED, 0), shared).unwrap();
    let port = io.local_address(member).unwrap().port();
    let other = io.bind_udp_with((Ipv4Addr::UNSPECIFIED, port), shared).unwrap();
    let group = own_group();
    io.join_multicast(member, Multicast::new(group).interface(LO)).unwrap();
    let ended = Slot::new();
    let waiting = io.recv_from(other, [0; 9], keep::<Datagram<[u8; 9]>>(&ended));
    finish(&io, op::SendTo::new(sender(&io), "members", (group, port)));
    assert_eq!(receive(&io, member, 9).data(), b"members");
    turn(&io, 3);
    assert!(ended.len() == 0 && io.cancel(waiting));
    io.run().unwrap();
    // And both, when both have joined.
    io.join_multicast(other, Multicast::new(group).interface(LO)).unwrap();
    finish(&io, op::SendTo::new(sender(&io), "all", (group, port)));
    assert_eq!((receive(&io, member, 9).bytes, receive(&io, other, 9).bytes), (3, 3));
}

/// Documented errors of joining and leaving.
fn group_errors(subject: &Subject) {
    let io: Io = subject.io();
    let (socket, _) = listening(&io);
    let v6 = io.bind_udp((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
    let group = Multicast::new(own_group()).interface(LO);
    let any: Ipv6Addr = "ff01::1234".parse().unwrap();
    let join = |socket, group| kind(io.join_multicast(socket, group));
    let invalid = Some(ErrorKind::InvalidInput);
    assert_eq!(join(socket, Multicast::new([10, 0, 0, 1]).interface(LO)), invalid);
    assert_eq!(join(v6, Multicast::new(Ipv6Addr::LOCALHOST).interface(1)), invalid);
    assert_eq!(join(v6, Multicast::new(any).interface(LO)), invalid);
    assert_eq!(join(v6, Multicast::new(any).interface(LO).source(Ipv6Addr::LOCALHOST)), invalid);
    assert_eq!(join(socket, group.source(Ipv6Addr::LOCALHOST)), invalid);
    assert_eq!(join(socket, group.interface(u32::MAX)), invalid);
    // There is no such interface. Windows has another number for that.
    let nowhere = if subject.iocp() { ErrorKind::AddrNotAvailable } else { ErrorKind::Other };
    assert_eq!(join(socket, group.interface(i32::MAX as u32)), Some(nowhere));
    assert_eq!(join(v6, Multicast::new(any).interface(i32::MAX as u32)), Some(nowhere));
    assert_eq!(join(socket, Multicast::new(any).interface(1)), Some(ErrorKind::Unsupported));
    assert_eq!(kind(io.leave_multicast(socket, group)), Some(ErrorKind::AddrNotAvailable));
    assert_eq!(join(socket, group), None);
    let error = io.join_multicast(socket, group).unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::AddrInUse, op::Kind::JoinMulticast));
    assert_eq!(kind(io.leave_multicast(socket, group)), None);
    let error = io.leave_multicast(socket, group).unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::AddrNotAvailable, op::Kind::LeaveMulticast));
}

/// Interfaces on which groups of version 6 may have a route, by their indices.
fn interfaces_of_version_6() -> Vec<u32> {
    let table = std::fs::read_to_string("/proc/net/if_inet6").unwrap();
    let index = |line: &str| u32::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
    let mut indices: Vec<_> = table.lines().map(index).collect();
    indices.sort_unstable();
    indices.dedup();
    indices
}

/// Joining and leaving are proved on the loopback interface by the system's own list. The way of a datagram takes an
/// interface with a route to groups, which that one often lacks: then by another one, with an address whose datagrams never
/// leave the machine (`ff01::/16`). Where none has a route, it says so.
fn joined_v6(subject: &Subject) {
    let io: Io = subject.io();
    let IpAddr::V4(own) = own_address().ip() else { unreachable!("it is of version 4") };
    let [_, high, middle, low] = own.octets();
    let last = [u16::from(high), u16::from_be_bytes([middle, low])];
    let group = Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0x1234, last[0], last[1]);
    let listed = || {
        let hex: String = group.octets().iter().map(|byte| format!("{byte:02x}")).collect();
        std::fs::read_to_string("/proc/net/igmp6").unwrap().contains(&hex)
    };
    let only_v6 = UdpOptions::default().v6only(true).recv_packet_info(true);
    let socket = io.bind_udp_with((Ipv6Addr::UNSPECIFIED, 0), only_v6).unwrap();
    let port = io.local_address(socket).unwrap().port();
    let on_lo = Multicast::new(group).interface(1);
    io.join_multicast(socket, on_lo).unwrap();
    assert!(listed() && kind(io.join_multicast(socket, on_lo)) == Some(ErrorKind::AddrInUse));
    io.leave_multicast(socket, on_lo).unwrap();
    assert!(!listed());
    let of_source = on_lo.source(Ipv6Addr::LOCALHOST);
    io.join_multicast(socket, of_source).unwrap();
    assert!(listed());
    io.leave_multicast(socket, of_source).unwrap();
    assert!(!listed());

    let mut ways = 0;
    for index in interfaces_of_version_6() {
        let by = UdpOptions::default().multicast_interface(index).multicast_ttl(0);
        let sender = io.bind_udp_with((Ipv6Addr::UNSPECIFIED, 0), by).unwrap();
        let send = |text: &'static str| finish(&io, op::SendTo::new(sender, text, (group, port))).result;
        match kind(send("too early")) {
            None => ways += 1,
            Some(ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable) => continue,
            Some(error) => panic!("{error}"),
        }
        let membership = Multicast::new(group).interface(index);
        io.join_multicast(socket, membership).unwrap();
        assert_eq!(send("in time"), Ok(()));
        let datagram = receive(&io, socket, 20);
        assert_eq!(datagram.data(), b"in time");
        let info = datagram.control.packet_info.unwrap();
        assert_eq!((info.destination, info.interface), (IpAddr::V6(group), index));
        io.leave_multicast(socket, membership).unwrap();
        assert_eq!(send("too late"), Ok(()));
        finish(&io, op::SendTo::new(sender, "last", (Ipv6Addr::LOCALHOST, port)));
        assert_eq!(receive(&io, socket, 20).data(), b"last");
    }
    if ways == 0 {
        eprintln!(
            "udp_groups::groups_of_version_6: no interface here has a route to them, so no datagram was sent"
        );
    }
}

/// Documented: `UdpOptions::broadcast`.
fn broadcast(subject: &Subject) {
    let io: Io = subject.io();
    let socket =
        io.bind_udp_with((Ipv4Addr::UNSPECIFIED, 0), UdpOptions::default().recv_packet_info(true)).unwrap();
    let everybody = SocketAddr::from(([127, 255, 255, 255], io.local_address(socket).unwrap().port()));
    let sender = io.bind_udp((LO, 0)).unwrap();
    let refused = finish(&io, op::SendTo::new(sender, "x", everybody));
    assert_eq!((kind(refused.result), refused.bytes), (Some(ErrorKind::PermissionDenied), 0));
    io.set_udp_options(sender, UdpOptions::default().broadcast(true)).unwrap();
    assert_eq!(finish(&io, op::SendTo::new(sender, "to all", everybody)).result, Ok(()));
    let datagram = receive(&io, socket, 9);
    assert_eq!((datagram.data(), datagram.from), (&b"to all"[..], io.local_address(sender).ok()));
    assert_eq!(datagram.control.packet_info.unwrap().destination, everybody.ip());
}
