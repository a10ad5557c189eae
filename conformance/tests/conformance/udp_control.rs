//! What goes beside a datagram's bytes: ECN, addresses, time to live, segments.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as Peer};

use nbio::{Datagram, Ecn, ErrorKind, SendControl, UdpOptions, UdpSocket, op};

use crate::support::{Case, Subject, own_udp_address as own_address};
use crate::system;
use crate::udp::{bound, bound_with, finish, peer, receive};
use crate::wire::{Io, kind, noise};

pub const CASES: &[Case] = &[
    Case { name: "ecn_arrives_as_it_was_sent", run: ecn },
    Case { name: "packet_info_is_where_it_was_sent_to", run: packet_info },
    Case { name: "answers_come_from_where_the_question_went", run: source },
    Case { name: "ttl_of_a_message_and_of_the_socket", run: ttl },
    Case { name: "nothing_that_was_not_asked_for", run: nothing_unasked },
    Case { name: "all_of_it_at_once_and_vectored", run: all_at_once },
    Case { name: "control_on_connected_sockets", run: on_connected },
    Case { name: "values_out_of_their_ranges", run: out_of_range },
    Case { name: "segments_are_datagrams_of_one_size", run: segments },
    Case { name: "too_many_or_too_large_segments", run: too_many_segments },
    Case { name: "receives_put_together_are_taken_apart", run: put_together },
    Case { name: "control_that_is_cut_says_so", run: control_cut },
];

/// A socket that receives everything there is, by version 4, version 6, and version 4 on a socket of both; with an
/// address to send to and one to send from.
fn receivers(io: &Io) -> Vec<(UdpSocket, SocketAddr, SocketAddr)> {
    let all = UdpOptions::default().recv_ecn(true).recv_packet_info(true).recv_ttl(true).v6only(false);
    let v4 = own_address();
    let bind = |at: SocketAddr, options: UdpOptions| {
        let socket = io.bind_udp_with(at, options).unwrap();
        (socket, io.local_address(socket).unwrap().port())
    };
    let mut only_v4 = all;
    only_v4.v6only = None;
    let (old, old_port) = bind((Ipv4Addr::UNSPECIFIED, 0).into(), only_v4);
    let (new, new_port) = bind((Ipv6Addr::UNSPECIFIED, 0).into(), all.v6only(true));
    let (both, port) = bind((Ipv6Addr::UNSPECIFIED, 0).into(), all);
    vec![
        (old, SocketAddr::new(v4.ip(), old_port), own_address()),
        (new, (Ipv6Addr::LOCALHOST, new_port).into(), (Ipv6Addr::LOCALHOST, 0).into()),
        (both, SocketAddr::new(v4.ip(), port), own_address()),
        (both, (Ipv6Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, 0).into()),
    ]
}

const ALL_ECN: [Ecn; 4] = [Ecn::NotCapable, Ecn::Capable1, Ecn::Capable0, Ecn::Congested];

/// Documented: `SendControl::ecn` and `UdpOptions::tos` one way, `RecvControl::ecn` the other.
fn ecn(subject: &Subject) {
    let io: Io = subject.io();
    for (receiver, there, from) in receivers(&io) {
        let sender = io.bind_udp(from).unwrap();
        for ecn in ALL_ECN {
            assert_eq!(Ecn::of_tos(ecn.bits() | 0b1010_1000), ecn);
            let done = finish(&io, op::SendTo::new(sender, "x", there).ecn(ecn));
            assert_eq!(done.result, Ok(()));
            assert_eq!(receive(&io, receiver, 9).control.ecn, Some(ecn), "to {there}");
        }
        io.set_udp_options(sender, UdpOptions::default().tos(0b1011_1000 | Ecn::Capable0.bits())).unwrap();
        finish(&io, op::SendTo::new(sender, "x", there));
        assert_eq!(receive(&io, receiver, 9).control.ecn, Some(Ecn::Capable0));
        finish(&io, op::SendTo::new(sender, "x", there).ecn(Ecn::Congested));
        assert_eq!(receive(&io, receiver, 9).control.ecn, Some(Ecn::Congested));
    }
}

fn loopback_index() -> u32 {
    std::fs::read_to_string("/sys/class/net/lo/ifindex").unwrap().trim().parse().unwrap()
}

/// Documented: the address in its header, and the interface; as `::ffff:a.b.c.d` on a socket of both versions.
fn packet_info(subject: &Subject) {
    let io: Io = subject.io();
    for (receiver, there, from) in receivers(&io) {
        peer(from).0.send_to(b"x", there).unwrap();
        let info = receive(&io, receiver, 9).control.packet_info.unwrap();
        assert_eq!((info.destination.to_canonical(), info.interface), (there.ip(), loopback_index()));
        assert_eq!(info.destination.is_ipv6(), io.local_address(receiver).unwrap().is_ipv6());
    }
}

/// Documented: "as a receive's `PacketInfo::destination` told it, to answer from there".
fn source(subject: &Subject) {
    let io: Io = subject.io();
    for (receiver, there, from) in receivers(&io) {
        let (peer, _) = peer(from);
        peer.send_to(b"question", there).unwrap();
        let question = receive(&io, receiver, 9);
        let info = question.control.packet_info.unwrap();
        let control = SendControl::default().source(info.destination);
        for control in [control, control.interface(info.interface)] {
            let answer =
                op::SendMsg::new(receiver, ["ans", "wer"]).to(question.from.unwrap()).control(control);
            assert_eq!(finish(&io, answer).result, Ok(()));
            let (bytes, sender) = peer.recv_from(&mut [0; 9]).unwrap();
            assert_eq!((bytes, sender), (6, there));
        }
        // Without it, the system chooses; by an interface alone, too.
        let plain = op::SendTo::new(receiver, "x", question.from.unwrap());
        assert_eq!(finish(&io, plain).result, Ok(()));
        let by = SendControl::default().interface(info.interface);
        let plain = op::SendTo::new(receiver, "x", question.from.unwrap()).control(by);
        assert_eq!(finish(&io, plain).result, Ok(()));
    }
}

/// Documented: `SendControl::ttl` for one, `UdpOptions::ttl` for all.
fn ttl(subject: &Subject) {
    let io: Io = subject.io();
    for (receiver, there, from) in receivers(&io) {
        let sender = io.bind_udp_with(from, UdpOptions::default().ttl(200)).unwrap();
        for (control, expected) in [
            (SendControl::default(), 200),
            (SendControl::default().ttl(1), 1),
            (SendControl::default().ttl(255), 255),
            (SendControl::default(), 200),
        ] {
            let done = finish(&io, op::SendTo::new(sender, "x", there).control(control));
            assert_eq!(done.result, Ok(()));
            assert_eq!(receive(&io, receiver, 9).control.ttl, Some(expected));
        }
    }
}

/// Documented: a field is `Some` if the option that asks for it is on.
fn nothing_unasked(subject: &Subject) {
    let io: Io = subject.io();
    let (socket, here) = bound(&io);
    let (peer, _) = peer(own_address());
    let plain = UdpOptions::default();
    let field = |options: UdpOptions| {
        io.set_udp_options(socket, options).unwrap();
        peer.send_to(b"x", here).unwrap();
        let control = receive(&io, socket, 9).control;
        assert!(!control.truncated && control.segment_size.is_none());
        (control.ecn.is_some(), control.packet_info.is_some(), control.ttl.is_some())
    };
    assert_eq!(field(plain), (false, false, false));
    assert_eq!(field(plain.recv_ecn(true)), (true, false, false));
    assert_eq!(field(plain.recv_ecn(false).recv_packet_info(true)), (false, true, false));
    assert_eq!(field(plain.recv_packet_info(false).recv_ttl(true)), (false, false, true));
    assert_eq!(field(plain.recv_ttl(false).gro(true)), (false, false, false));
}

/// All control data of both directions fits at once, with several buffers.
fn all_at_once(subject: &Subject) {
    let io: Io = subject.io();
    for (receiver, there, from) in receivers(&io) {
        io.set_udp_options(receiver, UdpOptions::default().gro(true)).unwrap();
        let wildcard: IpAddr =
            if from.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let sender = io.bind_udp((wildcard, 0)).unwrap();
        let control = SendControl::default()
            .ecn(Ecn::Congested)
            .ttl(7)
            .source(from.ip())
            .interface(loopback_index())
            .segment_size(5);
        let send = op::SendMsg::new(sender, ["01234", "56", "789ab"]).to(there).control(control);
        let done = finish(&io, send);
        assert_eq!((done.result, done.bytes), (Ok(()), 12));
        let datagram = finish(&io, op::RecvMsg::new(receiver, [vec![0; 4], vec![0; 100]]));
        assert_eq!((datagram.bytes, datagram.truncated), (12, false));
        assert_eq!(datagram.buf.concat(), b"0123456789ab");
        let got = datagram.control;
        assert_eq!((got.ecn, got.ttl, got.segment_size), (Some(Ecn::Congested), Some(7), Some(5)));
        assert_eq!(got.packet_info.unwrap().destination.to_canonical(), there.ip());
        assert!(!got.truncated);
        assert_eq!(datagram.from.unwrap().ip().to_canonical(), from.ip());
    }
}

/// Where the operation doesn't know which version of IP it is.
fn on_connected(subject: &Subject) {
    let io: Io = subject.io();
    let both = UdpOptions::default().v6only(false);
    for (receiver, there, from) in receivers(&io) {
        let sender = match from {
            SocketAddr::V4(_) if io.local_address(receiver).unwrap().is_ipv4() => io.bind_udp(from).unwrap(),
            _ => io.bind_udp_with((Ipv6Addr::UNSPECIFIED, 0), both).unwrap(),
        };
        io.connect_udp(sender, there).unwrap();
        let all =
            SendControl::default().ecn(Ecn::Capable1).ttl(9).interface(loopback_index()).segment_size(4);
        for control in [all, all.source(io.local_address(sender).unwrap().ip())] {
            let done = finish(&io, op::SendDatagram::new(sender, "01234567").control(control));
            assert_eq!((done.result, done.bytes), (Ok(()), 8), "to {there}");
            for text in [b"0123", b"4567"] {
                let datagram = receive(&io, receiver, 9);
                assert_eq!(datagram.data(), text);
                assert_eq!((datagram.control.ecn, datagram.control.ttl), (Some(Ecn::Capable1), Some(9)));
            }
        }
    }
}

/// Documented errors of `SendControl`; nothing is sent.
fn out_of_range(subject: &Subject) {
    let io: Io = subject.io();
    let (receiver, there) = bound(&io);
    let sender = io.bind_udp((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let plain = SendControl::default();
    for control in [
        plain.ttl(0),
        plain.segment_size(0),
        plain.interface(0),
        plain.interface(u32::MAX),
        plain.source(Ipv6Addr::LOCALHOST),
    ] {
        let done = finish(&io, op::SendTo::new(sender, "x", there).control(control));
        assert_eq!((kind(done.result), done.bytes), (Some(ErrorKind::InvalidInput), 0), "{control:?}");
        assert_eq!(done.result.unwrap_err().operation(), op::Kind::SendTo);
        let done = finish(&io, op::SendMsg::new(sender, ["x"]).to(there).control(control));
        assert_eq!((kind(done.result), done.bytes), (Some(ErrorKind::InvalidInput), 0), "{control:?}");
    }
    let elsewhere = plain.source([203, 0, 113, 1]);
    let done = finish(&io, op::SendTo::new(sender, "x", there).control(elsewhere));
    assert!(matches!(kind(done.result), Some(ErrorKind::InvalidInput | ErrorKind::NetworkUnreachable)));
    let v6 = io.bind_udp((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
    let wrong = plain.source(Ipv4Addr::LOCALHOST);
    let done = finish(&io, op::SendTo::new(v6, "x", (Ipv6Addr::LOCALHOST, there.port())).control(wrong));
    assert_eq!(kind(done.result), Some(ErrorKind::InvalidInput));
    finish(&io, op::SendTo::new(sender, "the only one", there));
    assert_eq!(receive(&io, receiver, 20).data(), b"the only one");
}

/// Documented: several datagrams of one size, the last one with what is left.
fn segments(subject: &Subject) {
    let io: Io = subject.io();
    for at in [own_address(), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))] {
        let sender = io.bind_udp(at).unwrap();
        let (peer, there) = peer(at);
        for (length, size) in [(6000, 1200), (6001, 1200), (1199, 1200), (1200, 1200), (3, 1), (64_000, 1000)]
        {
            let bytes = noise(length, 5);
            let done = finish(&io, op::SendTo::new(sender, bytes.clone(), there).segment_size(size));
            assert_eq!((done.result, done.bytes), (Ok(()), length));
            let mut got = vec![0; 2000];
            for chunk in bytes.chunks(size.into()) {
                let received = peer.recv(&mut got).unwrap();
                assert!(got[..received] == *chunk, "{length} bytes by {size}");
            }
        }
    }
}

/// Documented errors of `segment_size`.
fn too_many_segments(subject: &Subject) {
    let io: Io = subject.io();
    let (sender, here) = bound(&io);
    let done = finish(&io, op::SendTo::new(sender, noise(1000, 1), here).segment_size(1));
    assert_eq!((kind(done.result), done.bytes), (Some(ErrorKind::InvalidInput), 0));
    let done = finish(&io, op::SendTo::new(sender, noise(65_508, 1), here).segment_size(1200));
    assert_eq!((kind(done.result), done.bytes), (Some(ErrorKind::MessageTooLong), 0));
    finish(&io, op::SendTo::new(sender, "the only one", here));
    assert_eq!(receive(&io, sender, 20).data(), b"the only one");
}

/// Documented: `gro` and `Datagram::segments`.
fn put_together(subject: &Subject) {
    let io: Io = subject.io();
    for at in [own_address(), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))] {
        let receiver = io.bind_udp_with(at, UdpOptions::default().gro(true)).unwrap();
        let (sender, here) = (io.bind_udp(at).unwrap(), io.local_address(receiver).unwrap());
        let bytes = noise(10_500, 9);
        let send = || {
            let done = finish(&io, op::SendTo::new(sender, bytes.clone(), here).segment_size(1000));
            assert_eq!(done.bytes, 10_500);
        };
        // The system may put them together as it likes.
        send();
        let mut got = Vec::new();
        let mut receives = 0;
        while got.len() < 11 {
            let datagram = receive(&io, receiver, 65_535);
            assert!(!datagram.truncated && datagram.from == io.local_address(sender).ok());
            assert_eq!(datagram.segments().len(), datagram.segments().count());
            got.extend(datagram.segments().map(<[u8]>::to_vec));
            receives += 1;
        }
        assert!(got.iter().map(Vec::as_slice).eq(bytes.chunks(1000)));
        assert_eq!(receives, 1, "Linux does, on the loopback interface");
        // One alone.
        finish(&io, op::SendTo::new(sender, "alone", here));
        let datagram = receive(&io, receiver, 65_535);
        assert_eq!((datagram.control.segment_size, datagram.segments().len()), (None, 1));
        // Too little room for all of them.
        send();
        let datagram = receive(&io, receiver, 2500);
        assert!(datagram.truncated && datagram.segments().map(<[u8]>::len).eq([1000, 1000, 500]));
        // Without it each comes alone.
        io.set_udp_options(receiver, UdpOptions::default().gro(false)).unwrap();
        send();
        for chunk in bytes.chunks(1000) {
            assert!(receive(&io, receiver, 65_535).data() == chunk);
        }
    }
}

/// Documented: `RecvControl::truncated`; the datagram itself is whole.
fn control_cut(subject: &Subject) {
    let io: Io = subject.io();
    let socket = Peer::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
    let here = socket.local_addr().unwrap();
    for (level, name) in system::FOREIGN_OPTIONS {
        system::set_on(&socket, level, name);
    }
    let socket: UdpSocket = io.adopt(socket).unwrap();
    let all = UdpOptions::default().recv_packet_info(true).recv_ttl(true).recv_ecn(true);
    io.set_udp_options(socket, all).unwrap();
    peer((Ipv6Addr::LOCALHOST, 0)).0.send_to(b"whole", here).unwrap();
    let datagram: Datagram<Vec<u8>> = receive(&io, socket, 9);
    assert_eq!((datagram.data(), datagram.truncated), (&b"whole"[..], false));
    assert!(datagram.control.truncated, "{:?}", datagram.control);
}

/// A socket that receives all control data, for others.
pub fn listening(io: &Io) -> (UdpSocket, SocketAddr) {
    bound_with(io, UdpOptions::default().recv_packet_info(true).recv_ttl(true))
}
