//! Bad input: refused with a clear error, by callback where the operation has one, and nothing is left behind.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use nbio::{
    Backend, Builder, Done, Error, ErrorKind, Keepalive, Linger, ListenOptions, Operation, TcpOptions,
    TcpStream, op,
};

use crate::support::{Case, Slot, Subject, listen};
use crate::system;
use crate::wire::{Io, drive, keep, kind};

pub const CASES: &[Case] = &[
    Case { name: "builder_settings_out_of_range", run: builder_settings },
    Case { name: "options_out_of_range", run: options_out_of_range },
    Case { name: "connect_options_out_of_range_arrive_by_callback", run: connect_options },
    Case { name: "failed_listen_and_connect_leave_no_descriptor", run: no_descriptor_is_left },
    Case { name: "addresses_that_cannot_be_connected_to", run: unreachable_addresses },
    Case { name: "errors_arrive_by_callback_in_a_later_tick", run: errors_arrive_later },
    Case { name: "deadlines_at_the_ends_of_time", run: deadlines_at_the_ends },
    Case { name: "error_says_what_failed_and_converts_to_std", run: error_says_what_failed },
];

/// Documented: `InvalidInput` for a setting out of its range.
fn builder_settings(subject: &Subject) {
    let refused = |builder: Builder| assert_eq!(kind(builder.build::<()>()), Some(ErrorKind::InvalidInput));
    for entries in [0, 32_769, u32::MAX] {
        refused(subject.builder().ring_size(entries));
    }
    refused(subject.builder().completion_budget(0));
    refused(subject.builder().timer_budget(0));
    for entries in [1, 3, 4096] {
        subject.builder().ring_size(entries).build::<()>().unwrap();
    }
    Builder::new().backend(Backend::Auto).build::<()>().unwrap();
}

fn bad_options() -> Vec<TcpOptions> {
    let seconds = Duration::from_secs;
    let keepalive = |idle, interval, probes| {
        TcpOptions::default().keepalive(Keepalive::On {
            idle: seconds(idle),
            interval: seconds(interval),
            probes,
        })
    };
    let mut bad = vec![
        keepalive(0, 1, 1),
        keepalive(1, 0, 1),
        keepalive(1, 1, 0),
        keepalive(1, 1, 128),
        keepalive(32_768, 1, 1),
        keepalive(1, 32_768, 1),
        keepalive(u64::MAX, 1, 1),
        TcpOptions::default().linger(Linger::Wait(seconds(1 << 31))),
        TcpOptions::default().linger(Linger::Wait(Duration::MAX)),
        TcpOptions::default().recv_buffer(1 << 31),
        TcpOptions::default().send_buffer(usize::MAX),
    ];
    // Elsewhere any is `Unsupported`.
    if cfg!(target_os = "linux") {
        bad.extend([seconds(1 << 40), Duration::MAX].map(|time| TcpOptions::default().user_timeout(time)));
    }
    bad
}

/// Documented: `InvalidInput` for a value out of its range.
fn options_out_of_range(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, _peer) = subject.pair(&io);
    let invalid = Some(ErrorKind::InvalidInput);
    for options in bad_options() {
        let before = io.tcp_options(stream).unwrap();
        assert_eq!(kind(io.set_tcp_options(stream, options)), invalid, "{options:?}");
        assert_eq!(io.tcp_options(stream).unwrap().user_timeout, before.user_timeout);
        assert_eq!(io.tcp_options(stream).unwrap().linger, before.linger);
        let listening = ListenOptions::default().tcp(options);
        assert_eq!(kind(io.listen_tcp_with(([127, 0, 0, 1], 0), listening)), invalid, "{options:?}");
    }
    // The last ones in their ranges.
    let (idle, interval) = (Duration::from_secs(32_767), Duration::from_secs(32_767));
    let widest = TcpOptions::default().keepalive(Keepalive::On { idle, interval, probes: 127 });
    io.set_tcp_options(stream, widest).unwrap();
    assert_eq!(io.tcp_options(stream).unwrap().keepalive, widest.keepalive);
}

/// Guarantee 1: "bad input … arrives by callback".
fn connect_options(subject: &Subject) {
    let io: Io = subject.io();
    let (_, address) = listen(&io);
    for options in bad_options() {
        let ended = Slot::new();
        io.submit(op::Connect::new(address).options(options), keep::<Result<TcpStream, Error>>(&ended));
        assert_eq!(ended.len(), 0);
        io.run().unwrap();
        let error = ended.one().unwrap_err();
        assert_eq!(
            (error.kind(), error.operation()),
            (ErrorKind::InvalidInput, op::Kind::Connect),
            "{options:?}"
        );
    }
    assert_eq!(io.in_flight(), 0);
}

/// A listen or connect that fails half-way has closed its socket: in a child, where nobody else opens any.
fn no_descriptor_is_left(subject: &Subject) {
    crate::child::run(subject, "input::failed_listen_and_connect_leave_no_descriptor", |subject| {
        let io: Io = subject.io();
        let (listener, taken) = listen(&io);
        let before = system::descriptors();
        for options in bad_options() {
            assert!(io.listen_tcp_with(taken, ListenOptions::default().tcp(options)).is_err());
            io.submit(op::Connect::new(taken).options(options), |_, _, end| assert!(end.is_err()));
            io.submit(op::Connect::new(taken).from(taken), |_, _, end| assert!(end.is_err()));
        }
        assert!(io.listen_tcp(taken).is_err());
        assert!(io.listen_tcp_with(taken, ListenOptions::default().v6only(true)).is_err());
        assert!(io.adopt::<TcpStream>(io.duplicate(listener).unwrap()).is_err());
        let id = io.connect(taken, |_, _, _| unreachable!("it is removed"));
        assert!(io.remove(id));
        io.run().unwrap();
        drive(&io, || io.in_flight() == 0);
        assert_eq!(system::descriptors(), before);
    });
}

/// Documented: whatever is wrong with an address is told to the callback, with the nearest kind.
fn unreachable_addresses(subject: &Subject) {
    let io: Io = subject.io();
    let failed = |address: SocketAddr| {
        let ended = Slot::new();
        io.connect(address, keep::<Result<TcpStream, Error>>(&ended));
        io.run().unwrap();
        ended.one().unwrap_err()
    };
    // Nobody can listen on port 0.
    assert_eq!(failed(([127, 0, 0, 1], 0).into()).kind(), ErrorKind::ConnectionRefused);
    for address in [Ipv4Addr::BROADCAST, Ipv4Addr::new(224, 0, 0, 1)] {
        let error = failed((address, 80).into());
        assert!(subject.simulated() || error.os_error().is_some_and(|os| os > 0), "{error}");
        assert!(
            matches!(error.kind(), ErrorKind::NetworkUnreachable | ErrorKind::PermissionDenied),
            "{error:?}"
        );
    }
    assert_eq!(io.in_flight(), 0);
}

/// Guarantee 1: also the callback of what fails at once runs in a later tick, never inside `submit`.
fn errors_arrive_later(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, _peer) = subject.pair(&io);
    let (ended, seen) = (Slot::new(), Slot::new());
    let (put, look) = (ended.clone(), seen.clone());
    io.next_tick(move |_, io, _| {
        let first = put.clone();
        io.recv(stream, Vec::new(), move |_, _, done| first.put(kind(done.result)));
        let second = put.clone();
        io.recv_exact(stream, [0; 4], 5, move |_, _, done| second.put(kind(done.result)));
        let third = put.clone();
        io.send_all(stream, "", move |_, _, done| third.put(kind(done.result)));
        let fourth = put.clone();
        io.connect(([127, 0, 0, 1], 0), move |_, _, end| fourth.put(kind(end)));
        look.put(put.len());
    });
    io.tick(Some(Duration::ZERO)).unwrap();
    assert_eq!((seen.one(), ended.len()), (0, 0));
    io.tick(Some(Duration::ZERO)).unwrap();
    assert!(ended.len() >= 3);
    io.run().unwrap();
    let invalid = Some(ErrorKind::InvalidInput);
    assert_eq!(ended.take(), [invalid, invalid, None, Some(ErrorKind::ConnectionRefused)]);
}

/// Deadlines that can't be represented are the end of time, not its beginning.
fn deadlines_at_the_ends(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, peer) = subject.pair(&io);
    let ended = Slot::new();
    io.submit(op::Recv::new(stream, vec![0; 4]).timeout(Duration::MAX), keep(&ended));
    io.submit(op::Recv::new(stream, vec![0; 4]).deadline(io.now() + Duration::MAX), keep(&ended));
    let timer = io.timer(Duration::MAX, |_, _, end| assert_eq!(kind(end), Some(ErrorKind::Cancelled)));
    let late = Slot::new();
    io.submit(op::Timer::after(Duration::from_secs(1)).timeout(Duration::ZERO), keep(&late));
    drive(&io, || late.len() > 0);
    assert_eq!(kind(late.one()), Some(ErrorKind::TimedOut));
    assert_eq!(ended.len(), 0);
    drop(peer);
    drive(&io, || ended.len() == 2);
    assert!(ended.take().iter().all(|done: &Done<Vec<u8>>| done.result == Ok(())));
    assert!(io.cancel(timer));
    io.run().unwrap();
}

/// Documented: "Display names the operation; From into io::Error", which keeps it as its source.
fn error_says_what_failed(subject: &Subject) {
    let io: Io = subject.io();
    let ended = Slot::new();
    io.connect(([127, 0, 0, 1], 0), keep::<Result<TcpStream, Error>>(&ended));
    io.run().unwrap();
    let error = ended.one().unwrap_err();
    let number = format!(" (os error {})", system::ECONNREFUSED);
    let text = error.to_string();
    assert_eq!(text.strip_suffix(&number).unwrap_or(&text), "connect: connection refused");
    assert!(subject.simulated() || text.ends_with(&number), "{text}");
    let converted = std::io::Error::from(error);
    assert_eq!(converted.kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(converted.get_ref().and_then(|inner| inner.downcast_ref::<Error>()), Some(&error));
}
