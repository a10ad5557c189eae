//! The test cases of Odin's `core:nbio`, which nbio must do as well as its ancestor: where each has its counterpart, and
//! the scenarios that stand nowhere else.

use std::time::Duration;

use nbio::{Accepted, Datagram, Done, Error, ErrorKind, File, Operation, SentFile, TcpStream, op};

use crate::folder::Folder;
use crate::support::{Case, Drops, Slot, Subject, listen};
use crate::wire::{Io, drive, keep, kind, turn};

/// The case there, and here.
pub const INDEX: &[(&str, &str)] = &[
    ("all_poly_work", "turns::no_callback_runs_inside_submit"),
    ("two_ops_at_the_same_time", "odin::a_poll_and_a_receive_on_one_socket"),
    ("timeout", "timers::never_early_and_in_order_of_deadlines"),
    ("wake_up", "remote::wake_during_a_wait"),
    ("client_and_server_send_recv", "odin::client_and_server"),
    ("close_and_remove_accept", "odin::a_listener_is_closed_and_its_accept_removed"),
    ("close_errors_recv", "odin::a_client_that_closes_ends_the_receive"),
    ("ipv6", "odin::over_ipv6"),
    ("accept_timeout", "odin::an_accept_that_is_late_closes_its_listener"),
    ("poll_timeout", "poll::late_calls_back"),
    ("poll", "odin::polling_for_somebody_elses_sends"),
    ("sendfile", "odin::a_file_to_a_client"),
    ("immediate_remove_of_sendfile", "odin::sending_a_file_is_removed_at_once"),
    ("immediate_remove_of_sendfile_without_stat", "odin::sending_a_file_is_removed_at_once"),
    ("remove_open", "odin::an_open_is_removed_at_once"),
    ("remove_dial", "odin::a_connect_is_removed_at_once"),
    ("remove_next_tick", "odin::ticks_and_timers_are_removed"),
    ("remove_timeout", "odin::ticks_and_timers_are_removed"),
    ("remove_multiple_poll", "odin::one_of_two_polls_is_removed"),
    ("close_invalid_handle", "odin::closing_what_is_closed"),
    ("write_read_close", "odin::a_file_is_written_read_and_closed"),
    ("read_empty_file", "odin::an_empty_file"),
    ("vectored", "files::vectored_reads_and_writes"),
    ("still pending", "turns::a_tick_never_runs_what_it_submits"),
];

pub const CASES: &[Case] = &[
    Case { name: "a_poll_and_a_receive_on_one_socket", run: two_operations },
    Case { name: "client_and_server", run: client_and_server },
    Case { name: "a_listener_is_closed_and_its_accept_removed", run: closed_and_removed },
    Case { name: "a_client_that_closes_ends_the_receive", run: closing_client },
    Case { name: "over_ipv6", run: over_ipv6 },
    Case { name: "an_accept_that_is_late_closes_its_listener", run: late_accept },
    Case { name: "polling_for_somebody_elses_sends", run: polling },
    Case { name: "a_file_to_a_client", run: file_to_a_client },
    Case { name: "sending_a_file_is_removed_at_once", run: removed_send_file },
    Case { name: "an_open_is_removed_at_once", run: removed_open },
    Case { name: "a_connect_is_removed_at_once", run: removed_connect },
    Case { name: "ticks_and_timers_are_removed", run: removed_timers },
    Case { name: "one_of_two_polls_is_removed", run: removed_poll },
    Case { name: "closing_what_is_closed", run: closing_twice },
    Case { name: "a_file_is_written_read_and_closed", run: written_read_closed },
    Case { name: "an_empty_file", run: empty_file },
];

/// Guarantee 2: readiness for one is not taken away by the other.
fn two_operations(subject: &Subject) {
    let io: Io = subject.io();
    let server = io.bind_udp(([127, 0, 0, 1], 0)).unwrap();
    let client = io.bind_udp(([127, 0, 0, 1], 0)).unwrap();
    let to = io.local_address(server).unwrap();
    let (ready, received) = (Slot::new(), Slot::new());
    let polled = io.duplicate(server).unwrap();
    io.poll(&polled, op::Interest::READABLE, keep(&ready));
    io.recv_from(server, vec![0; 128], keep(&received));
    // Both wait before anything comes.
    turn(&io, 2);
    assert_eq!((ready.len(), received.len()), (0, 0));
    io.send_to(client, "Hiya", to, move |_, io, sent| {
        assert_eq!((sent.bytes, sent.result), (4, Ok(())));
        // Should the receive have been first, the poll has another one to see.
        io.send_to(client, "Hiya", to, |_, _, sent| assert_eq!(sent.bytes, 4));
    });
    io.run().unwrap();
    let received: Datagram<Vec<u8>> = received.one();
    assert_eq!((received.result, received.data()), (Ok(()), &b"Hiya"[..]));
    assert!(ready.one().unwrap().readable);
}

/// Guarantee 2: both ends on one loop, each closed in a callback of its own.
fn client_and_server(subject: &Subject) {
    let io: Io = subject.io();
    let (listener, address) = listen(&io);
    let content: [u8; 20] = std::array::from_fn(|at| at as u8 + 1);
    let (received, closed) = (Slot::new(), Slot::new());
    let (got, ends) = (received.clone(), closed.clone());
    io.accept(listener, move |_, io, accepted: Result<Accepted, Error>| {
        let stream = accepted.unwrap().stream;
        io.recv_exact(stream, [0; 20], 20, move |_, io, done| {
            got.put(done);
            io.close_then(stream, keep(&ends));
            io.close_then(listener, keep(&ends));
        });
    });
    let ends = closed.clone();
    io.connect(address, move |_, io, connected: Result<TcpStream, Error>| {
        let stream = connected.unwrap();
        io.send_all(stream, content, move |_, io, sent| {
            assert_eq!((sent.bytes, sent.result), (20, Ok(())));
            io.close_then(stream, keep(&ends));
        });
    });
    io.run().unwrap();
    let done: Done<[u8; 20]> = received.one();
    assert_eq!((done.result, done.buf), (Ok(()), content));
    assert_eq!(closed.take(), [Ok(()); 3]);
}

/// Guarantees 4 and 6: in this order, and nobody hears of the accept.
fn closed_and_removed(subject: &Subject) {
    let io: Io = subject.io();
    let (listener, _) = listen(&io);
    let accept = io.accept(listener, |_, _, _| panic!("it was removed"));
    turn(&io, 1);
    let closed = Slot::new();
    io.close_then(listener, keep(&closed));
    assert!(io.remove(accept));
    io.run().unwrap();
    assert_eq!((closed.one(), io.in_flight()), (Ok(()), 0));
}

/// Guarantee 8 (EOF): a close is no error to the one who receives.
fn closing_client(subject: &Subject) {
    let io: Io = subject.io();
    let (listener, address) = listen(&io);
    let received = Slot::new();
    let got = received.clone();
    io.accept(listener, move |_, io, accepted| {
        io.recv(accepted.unwrap().stream, vec![0; 128], keep(&got));
    });
    io.connect(address, |_, io, connected| {
        io.close_then(connected.unwrap(), |_, _, closed| assert_eq!(closed, Ok(())));
    });
    io.run().unwrap();
    let done: Done<Vec<u8>> = received.one();
    assert_eq!((done.bytes, done.result), (0, Ok(())));
}

/// Guarantee 8: the addresses are those of the other family.
fn over_ipv6(subject: &Subject) {
    let io: Io = subject.io();
    let listener = io.listen_tcp((std::net::Ipv6Addr::LOCALHOST, 0)).unwrap();
    let accepted = Slot::new();
    io.accept(listener, keep(&accepted));
    let address = io.local_address(listener).unwrap();
    io.connect(address, |_, io, connected| io.close(connected.unwrap()));
    io.run().unwrap();
    let accepted: Result<Accepted, Error> = accepted.one();
    let peer = accepted.unwrap().peer;
    assert!(peer.ip() == std::net::Ipv6Addr::LOCALHOST && peer.port() != 0);
}

/// Guarantee 3: its callback closes what it waited on.
fn late_accept(subject: &Subject) {
    let io: Io = subject.io();
    let (listener, _) = listen(&io);
    let ended = Slot::new();
    let end = ended.clone();
    io.submit(op::Accept::new(listener).timeout(Duration::from_millis(1)), move |_, io, accepted| {
        end.put(kind(accepted));
        io.close(listener);
    });
    io.run().unwrap();
    assert_eq!((ended.one(), io.in_flight()), (Some(ErrorKind::TimedOut), 0));
}

/// Guarantee 8: a poll tells when a socket that somebody else writes to has room again; at once, if it has.
fn polling(subject: &Subject) {
    use std::io::Write;
    let io: Io = subject.io();
    let (stream, peer) = subject.pair(&io);
    let mut peer = peer.into_socket();
    peer.set_nonblocking(true).unwrap();
    let ready = Slot::new();
    io.poll(&peer, op::Interest::WRITABLE, keep(&ready));
    io.run().unwrap();
    assert!(ready.one().unwrap().writable);
    let mut sent = 0;
    let full = loop {
        match peer.write(&[7; 1 << 16]) {
            Ok(bytes) => sent += bytes,
            Err(error) => break error.kind(),
        }
    };
    assert_eq!(full, std::io::ErrorKind::WouldBlock);
    io.poll(&peer, op::Interest::WRITABLE, keep(&ready));
    turn(&io, 3);
    assert_eq!(ready.len(), 0);
    io.recv_exact(stream, vec![0; sent], sent, |_, _, done| assert_eq!(done.result, Ok(())));
    io.run().unwrap();
    assert!(ready.one().unwrap().writable);
    assert_eq!(peer.write(&[7; 128]).unwrap(), 128);
}

/// Opens a file for a client that has come, and calls `with` then; receives what it is sent.
fn serve_a_file(
    subject: &Subject,
    contents: &'static [u8],
    with: impl FnOnce(&Io, File, TcpStream) + 'static,
) -> Vec<u8> {
    let (io, folder): (Io, Folder) = (subject.io(), Folder::new());
    let path = folder.file("served", contents);
    let (listener, address) = listen(&io);
    io.accept(listener, move |_, io, accepted| {
        let stream = accepted.unwrap().stream;
        io.close(listener);
        io.open(path, move |_, io, opened: Result<File, Error>| with(io, opened.unwrap(), stream));
    });
    let received = Slot::new();
    let got = received.clone();
    io.connect(address, move |_, io, connected| {
        let stream = connected.unwrap();
        io.submit(op::Recv::new(stream, vec![0; 1 << 16]).exact(1 << 16), move |_, io, done| {
            got.put(done.data().to_vec());
            io.close(stream);
        });
    });
    io.run().unwrap();
    assert_eq!(io.in_flight(), 0);
    received.one()
}

const SERVED: &[u8] = include_bytes!("odin.rs");

/// Guarantee 2: opened, sent, and all closed in the callback.
fn file_to_a_client(subject: &Subject) {
    let got = serve_a_file(subject, SERVED, |io, file, stream| {
        io.send_file(file, stream, move |_, io, sent: SentFile| {
            assert_eq!((sent.bytes, sent.result), (SERVED.len() as u64, Ok(())));
            io.close(file);
            io.close(stream);
        });
    });
    assert!(got == SERVED);
}

/// Guarantee 4: silent, with everything closed in the same tick or later, with the size asked for before or not.
fn removed_send_file(subject: &Subject) {
    let got = serve_a_file(subject, SERVED, |io, file, stream| {
        let sending = io.send_file(file, stream, |_, _, _| panic!("it was removed"));
        assert!(io.remove(sending));
        io.close(file);
        io.close(stream);
    });
    assert!(got.is_empty());
    let got = serve_a_file(subject, SERVED, |io, file, stream| {
        io.submit(op::Stat::of(file), move |_, io, stat| {
            let send = op::SendFile::new(file, stream).length(stat.unwrap().size);
            let sending = io.submit(send, |_, _, _| panic!("it was removed"));
            assert!(io.remove(sending));
            io.timer(Duration::from_millis(10), move |_, io, _| {
                io.close(file);
                io.close(stream);
            });
        });
    });
    assert!(got.is_empty());
}

/// Guarantee 4: silent; what it would have opened is closed.
fn removed_open(subject: &Subject) {
    let io: Io = subject.io();
    let folder = Folder::new();
    let drops = Drops::new();
    let counted = drops.counted();
    let open = io.open(folder.file("opened", "x"), move |_, _, _| drop(counted));
    assert!(io.remove(open));
    assert_eq!(drops.count(), 1);
    io.run().unwrap();
    drive(&io, || io.in_flight() == 0);
}

/// Guarantee 4: silent; what it would have connected is closed.
fn removed_connect(subject: &Subject) {
    let io: Io = subject.io();
    let (_, address) = listen(&io);
    let connect = io.connect(address, |_, _, _| panic!("it was removed"));
    assert!(io.remove(connect));
    io.run().unwrap();
    drive(&io, || io.in_flight() == 0);
}

/// Guarantee 4.
fn removed_timers(subject: &Subject) {
    let io: Io = subject.io();
    let tick = io.next_tick(|_, _, _| panic!("it was removed"));
    let timer = io.timer(Duration::from_secs(1), |_, _, _| panic!("it was removed"));
    assert!(io.remove(tick) && io.remove(timer));
    io.run().unwrap();
    assert_eq!(io.in_flight(), 0);
}

/// Guarantee 4: the other one goes on.
fn removed_poll(subject: &Subject) {
    let io: Io = subject.io();
    let (first, to_first) = listen(&io);
    let (second, to_second) = listen(&io);
    let ready = Slot::new();
    let (first, second) = (io.duplicate(first).unwrap(), io.duplicate(second).unwrap());
    let removed = io.poll(&first, op::Interest::READABLE, |_, _, _| panic!("it was removed"));
    io.poll(&second, op::Interest::READABLE, keep(&ready));
    turn(&io, 1);
    assert!(io.remove(removed));
    turn(&io, 1);
    for address in [to_first, to_second] {
        io.connect(address, |_, _, connected| assert!(connected.is_ok()));
    }
    io.run().unwrap();
    assert!(ready.one().unwrap().readable);
}

/// Guarantee 6: a stale handle is left alone by `close`, and refused by `close_then`.
fn closing_twice(subject: &Subject) {
    let io: Io = subject.io();
    let (listener, _) = listen(&io);
    io.close(listener);
    io.run().unwrap();
    io.close(listener);
    let closed = Slot::new();
    io.close_then(listener, keep(&closed));
    io.run().unwrap();
    assert_eq!(kind(closed.one()), Some(ErrorKind::StaleHandle));
}

/// Guarantee 2: from callback to callback.
fn written_read_closed(subject: &Subject) {
    let io: Io = subject.io();
    let folder = Folder::new();
    let content: [u8; 20] = std::array::from_fn(|at| at as u8 + 1);
    let closed = Slot::new();
    let end = closed.clone();
    let open = op::Open::new(folder.at("new")).read(true).write(true).create(true).truncate(true);
    io.submit(open, move |_, io, opened: Result<File, Error>| {
        let file = opened.unwrap();
        io.write_at(file, content, 0, move |_, io, written| {
            assert_eq!((written.bytes, written.result), (20, Ok(())));
            io.read_exact_at(file, [0; 20], 20, 0, move |_, io, read| {
                assert_eq!((read.result, read.buf), (Ok(()), content));
                io.close_then(file, keep(&end));
            });
        });
    });
    io.run().unwrap();
    assert_eq!(closed.one(), Ok(()));
}

/// Guarantee 8 (EOF): as with streams, the end is `Ok` with 0 bytes.
fn empty_file(subject: &Subject) {
    let io: Io = subject.io();
    let folder = Folder::new();
    let (read, path) = (Slot::new(), folder.file("empty", ""));
    let end = read.clone();
    io.open(path, move |_, io, opened: Result<File, Error>| {
        let file = opened.unwrap();
        io.read_at(file, vec![0; 128], 0, move |_, io, done| {
            end.put(done);
            io.close(file);
        });
    });
    io.run().unwrap();
    let done: Done<Vec<u8>> = read.one();
    assert_eq!((done.bytes, done.result), (0, Ok(())));
}
