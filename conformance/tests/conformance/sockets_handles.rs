//! Guarantee 6: a handle names one open thing on one loop; a stale or foreign one never reaches another's connection.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::time::Duration;

use nbio::{Done, ErrorKind, Half, OpId, TcpListener, TcpOptions, TcpStream, op};

use crate::peer::Peer;
use crate::support::{Case, Slot, Subject, listen};
use crate::system;
use crate::wire::{Io, keep, kind, turn};

pub const CASES: &[Case] = &[
    Case { name: "handles_are_stale_after_close", run: stale_after_close },
    Case { name: "handles_are_stale_after_close_though_place_and_descriptor_are_used_again", run: reused },
    Case { name: "handles_are_stale_after_release", run: stale_after_release },
    Case { name: "handles_of_another_loop_are_refused", run: foreign_handles },
    Case { name: "operation_ids_of_another_loop_are_refused", run: foreign_operations },
    Case { name: "operation_ids_are_stale_after_the_end", run: stale_operations },
    Case { name: "handles_of_a_dropped_loop_are_refused_by_its_successors", run: dropped_loops },
    Case { name: "dropped_loop_closes_its_sockets", run: dropped_loop_closes },
];

/// Everything that can be done with a stream must fail as `expected`, and so must everything with the listener.
fn refused(subject: &Subject, io: &Io, stream: TcpStream, listener: TcpListener, expected: ErrorKind) {
    let expected = Some(expected);
    let ended = Slot::new();
    let put = |what: &'static str| {
        let ended = ended.clone();
        move |kind: Option<ErrorKind>, bytes: usize| ended.put((what, kind, bytes))
    };
    let end = put("recv");
    io.recv(stream, [0; 4], move |_, _, done| end(kind(done.result), done.bytes));
    let end = put("exact");
    io.recv_exact(stream, [0; 4], 0, move |_, _, done| end(kind(done.result), done.bytes));
    let end = put("recv_vectored");
    io.recv_vectored(stream, [[0; 4]], move |_, _, done| end(kind(done.result), done.bytes));
    let end = put("send");
    io.send(stream, "misled", move |_, _, done| end(kind(done.result), done.bytes));
    let end = put("send_all");
    io.send_all(stream, "", move |_, _, done| end(kind(done.result), done.bytes));
    let end = put("send_vectored");
    io.send_vectored(stream, ["misled"], move |_, _, done| end(kind(done.result), done.bytes));
    for half in [Half::Read, Half::Write, Half::Both] {
        let end = put("shutdown");
        io.shutdown(stream, half, move |_, _, result| end(kind(result), 0));
    }
    let end = put("accept");
    io.accept(listener, move |_, _, result| end(kind(result), 0));
    for close in [put("close"), put("close")] {
        io.close_then(stream, move |_, _, result| close(kind(result), 0));
    }
    let end = put("close_gracefully");
    io.close_gracefully(stream, Duration::from_secs(1), move |_, _, result| end(kind(result), 0));
    io.close(stream);
    io.close(listener);

    assert_eq!(kind(io.local_address(stream)), expected);
    assert_eq!(kind(io.peer_address(stream)), expected);
    assert_eq!(kind(io.local_address(listener)), expected);
    assert_eq!(kind(io.tcp_options(stream)), expected);
    assert_eq!(kind(io.set_tcp_options(stream, TcpOptions::default().nodelay(true))), expected);
    assert_eq!(kind(io.set_tcp_options(stream, TcpOptions::default())), expected);
    assert_eq!(kind(io.cancel_all(stream)), expected);
    for found in [
        kind(io.raw(stream)),
        kind(io.duplicate(stream)),
        kind(io.release(stream)),
        kind(io.release(listener)),
    ] {
        // Where there are no descriptors, there are none of any handle.
        assert!(found == expected || subject.simulated() && found == Some(ErrorKind::Unsupported));
    }
    turn(io, 4);
    let ends = ended.take();
    assert_eq!(ends.len(), 13, "each called back once: {ends:?}");
    assert!(ends.iter().all(|(_, kind, bytes)| (*kind, *bytes) == (expected, 0)), "{ends:?}");
}

/// The stream and listener of a loop work, and nothing was done to them.
struct Intact {
    stream: TcpStream,
    peer: Peer,
    listener: TcpListener,
}

impl Intact {
    fn new(subject: &Subject, io: &Io) -> Intact {
        let (stream, peer) = subject.pair(io);
        Intact { stream, peer, listener: listen(io).0 }
    }

    fn check(mut self, subject: &Subject, io: &Io) {
        assert!(!self.peer.is_over(), "nothing came that was meant for another");
        assert_eq!(io.tcp_options(self.stream).unwrap().nodelay, Some(false));
        let (received, accepted) = (Slot::new(), Slot::new());
        io.recv_exact(self.stream, [0; 9], 4, keep(&received));
        io.accept(self.listener, keep(&accepted));
        self.peer.write_all(b"mine").unwrap();
        let peer = subject.connect(io.local_address(self.listener).unwrap()).unwrap();
        io.send_all(self.stream, "yours", |_, _, done| assert_eq!(done.result, Ok(())));
        io.run().unwrap();
        let done: Done<[u8; 9]> = received.one();
        assert_eq!(done.data(), b"mine");
        let accepted: Result<nbio::Accepted, _> = accepted.one();
        assert_eq!(accepted.unwrap().peer, peer.local_addr().unwrap());
        let mut got = [0; 5];
        self.peer.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"yours");
    }
}

/// Guarantee 6: "close(handle) makes it stale at once".
fn stale_after_close(subject: &Subject) {
    let io: Io = subject.io();
    let Intact { stream, peer, listener } = Intact::new(subject, &io);
    io.close(stream);
    io.close(listener);
    // Before the system has closed anything.
    refused(subject, &io, stream, listener, ErrorKind::StaleHandle);
    io.run().unwrap();
    refused(subject, &io, stream, listener, ErrorKind::StaleHandle);
    assert!(peer.is_over());
}

/// Guarantee 6: "A stale handle is never another's connection": others have taken its place in the table and its
/// descriptor's number.
fn reused(subject: &Subject) {
    let io: Io = subject.io();
    let old = Intact::new(subject, &io);
    let numbers_of = |of: &Intact| [io.raw(of.stream), io.raw(of.listener)].map(Result::ok);
    let numbers = numbers_of(&old);
    drop(old.peer);
    io.close(old.stream);
    io.close(old.listener);
    io.run().unwrap();
    // The lowest free number is the next one's, unless another thread takes it: then it is held, and we try again.
    // (Where there are no numbers, one try does.)
    let (mut taken, mut held) = (HashSet::new(), Vec::new());
    while !numbers.iter().all(|number| taken.contains(number)) && held.len() < 200 {
        let new = Intact::new(subject, &io);
        taken.extend(numbers_of(&new));
        held.push(new);
    }
    for _ in 0..3 {
        refused(subject, &io, old.stream, old.listener, ErrorKind::StaleHandle);
    }
    let names: HashSet<TcpStream> = held.iter().map(|new| new.stream).collect();
    assert!(names.len() == held.len() && !names.contains(&old.stream));
    for new in held {
        new.check(subject, &io);
    }
}

/// As above, for a released handle, whose descriptor lives on.
fn stale_after_release(subject: &Subject) {
    let io: Io = subject.io();
    let mut old = Intact::new(subject, &io);
    let mut socket = system::into_std::<std::net::TcpStream>(io.release(old.stream).unwrap());
    let server = io.release(old.listener).unwrap();
    let new = Intact::new(subject, &io);
    refused(subject, &io, old.stream, old.listener, ErrorKind::StaleHandle);
    new.check(subject, &io);
    socket.write_all(b"untouched").unwrap();
    let mut got = [0; 9];
    old.peer.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"untouched");
    drop(server);
}

/// Guarantee 6: a foreign handle is `WrongLoop`, though both loops' tables look alike.
fn foreign_handles(subject: &Subject) {
    let (first, second): (Io, Io) = (subject.io(), subject.io());
    let (mine, theirs) = (Intact::new(subject, &first), Intact::new(subject, &second));
    assert_ne!(mine.stream, theirs.stream);
    refused(subject, &second, mine.stream, mine.listener, ErrorKind::WrongLoop);
    refused(subject, &first, theirs.stream, theirs.listener, ErrorKind::WrongLoop);
    mine.check(subject, &first);
    theirs.check(subject, &second);
}

/// Documented: cancel, remove and reset of another loop's operation answer `false` and touch nothing.
fn foreign_operations(subject: &Subject) {
    let (first, second): (Io, Io) = (subject.io(), subject.io());
    let (mine, theirs) = (Slot::new(), Slot::new());
    let (stream, mut peer) = subject.pair(&first);
    let my_recv = first.recv_exact(stream, [0; 4], 4, keep(&mine));
    let their_timer = second.timer(Duration::from_millis(20), keep(&theirs));
    let their_tick = second.next_tick(keep(&theirs));
    for foreign in [their_timer, their_tick] {
        assert!(!first.cancel(foreign) && !first.remove(foreign) && !first.reset(foreign, Duration::ZERO));
    }
    assert!(!second.cancel(my_recv) && !second.remove(my_recv) && !second.reset(my_recv, Duration::ZERO));
    turn(&first, 2);
    assert_eq!(mine.len(), 0);
    peer.write_all(b"mine").unwrap();
    first.run().unwrap();
    second.run().unwrap();
    let done: Done<[u8; 4]> = mine.one();
    assert_eq!((done.result, done.data()), (Ok(()), &b"mine"[..]));
    assert_eq!(theirs.take(), [Ok(()), Ok(())]);
}

/// Documented: `false` once the operation has ended, though its slot is another's now.
fn stale_operations(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, _peer) = subject.pair(&io);
    let mut ended: Vec<OpId> = (0..10).map(|_| io.next_tick(|_, _, _| ())).collect();
    ended.push(io.recv(stream, [], |_, _, _| ()));
    ended.push(io.timer(Duration::from_secs(1), |_, _, _| unreachable!("it is removed")));
    assert!(io.remove(ended[11]));
    io.run().unwrap();
    let fired = Slot::new();
    let live: Vec<OpId> = (0..20).map(|_| io.timer(Duration::from_millis(5), keep(&fired))).collect();
    for id in &ended {
        assert!(!live.contains(id));
        assert!(!io.cancel(*id) && !io.remove(*id) && !io.reset(*id, Duration::from_secs(1)));
    }
    io.run().unwrap();
    assert!(fired.len() == 20 && fired.take().into_iter().all(|end| end == Ok(())));
}

/// Documented: "Loop numbers are process-wide, a reused one continues from its predecessor's highest generation".
fn dropped_loops(subject: &Subject) {
    let mut old: Vec<(TcpStream, TcpListener, OpId)> = Vec::new();
    for round in 0..30 {
        let io: Io = subject.io();
        // The same places as in the loops before; some of them used more than once.
        for _ in 0..round % 3 {
            let used = Intact::new(subject, &io);
            io.close(used.stream);
            io.close(used.listener);
            io.run().unwrap();
        }
        let new = Intact::new(subject, &io);
        let received = Slot::new();
        let recv = io.recv_exact(new.stream, [0; 2], 2, keep(&received));
        for (stream, listener, id) in &old {
            assert!(*stream != new.stream && *listener != new.listener && *id != recv);
            assert!(!io.cancel(*id) && !io.remove(*id));
            for error in [kind(io.local_address(*stream)), kind(io.local_address(*listener))] {
                assert!(matches!(error, Some(ErrorKind::StaleHandle | ErrorKind::WrongLoop)), "{error:?}");
            }
            io.close(*stream);
            io.close(*listener);
            io.send_all(*stream, "misled", |_, _, done: Done<&str>| assert!(done.result.is_err()));
        }
        (&new.peer).write_all(b"ok").unwrap();
        io.run().unwrap();
        let done: Done<[u8; 2]> = received.one();
        assert_eq!((done.result, done.data()), (Ok(()), &b"ok"[..]));
        old.push((new.stream, new.listener, recv));
        new.check(subject, &io);
    }
}

/// Documented: "Dropping the loop … closes what is open", also with operations pending.
fn dropped_loop_closes(subject: &Subject) {
    let io: Io = subject.io();
    let (idle, waiting) = (subject.pair(&io), subject.pair(&io));
    let (_, address) = listen(&io);
    let client = subject.connect(address).unwrap();
    io.recv(waiting.0, vec![0; 10], |_, _, _| unreachable!("dropped unrun"));
    io.submit(op::Recv::new(waiting.0, vec![0; 10]), |_, _, _| unreachable!("dropped unrun"));
    turn(&io, 2);
    drop(io);
    for mut peer in [idle.1, waiting.1, client] {
        peer.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let read = peer.read(&mut [0]);
        let over = match &read {
            Ok(bytes) => *bytes == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        };
        assert!(over, "{read:?}");
    }
    assert!(subject.connect(address).is_err());
}
