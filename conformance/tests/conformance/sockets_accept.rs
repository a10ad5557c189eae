//! Accepting: many at a time, cancelled, removed, and without descriptors.

use std::collections::BTreeSet;
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use nbio::{Accepted, Error, ErrorKind, Operation, op};

use crate::child;
use crate::hanging::idle;
use crate::peer::Peer;
use crate::support::{Case, Slot, Subject, listen};
use crate::system::{self, Resource, Rlimit, getrlimit, setrlimit};
use crate::wire::{Io, drive, keep, kind, turn};

pub const CASES: &[Case] = &[
    Case { name: "many_pending_accepts_take_one_connection_each", run: many_pending_accepts },
    Case { name: "connections_that_wait_are_accepted_later", run: waiting_connections },
    Case { name: "peer_addresses_are_right", run: peer_addresses },
    Case { name: "cancelled_accept_loses_no_connection", run: cancelled_loses_nothing },
    Case { name: "late_accept_loses_no_connection", run: late_loses_nothing },
    Case { name: "removed_accept_closes_its_connection", run: removed_closes_its_connection },
    Case { name: "removed_accept_leaves_a_connection_it_had_not_taken", run: removed_leaves_the_rest },
    Case { name: "closing_the_listener_cancels_its_accepts", run: closing_cancels },
    Case { name: "peer_that_is_gone_again_is_accepted", run: peer_that_is_gone },
    Case { name: "accept_waits_for_descriptors", run: accept_waits_for_descriptors },
    Case { name: "accept_waiting_for_descriptors_can_be_cancelled", run: waiting_can_be_cancelled },
];

type End = Result<Accepted, Error>;

/// Guarantee 2: every accept ends once, with a connection of its own.
fn many_pending_accepts(subject: &Subject) {
    let io: Io = subject.io();
    let (listener, address) = listen(&io);
    let ended = Slot::new();
    for _ in 0..50 {
        io.accept(listener, keep(&ended));
    }
    turn(&io, 3);
    let peers: Vec<Peer> = (0..50).map(|_| subject.connect(address).unwrap()).collect();
    io.run().unwrap();
    let ends: Vec<Accepted> = ended.take().into_iter().map(|end: End| end.unwrap()).collect();
    let from: BTreeSet<SocketAddr> = ends.iter().map(|end| end.peer).collect();
    let expected: BTreeSet<SocketAddr> = peers.iter().map(|peer| peer.local_addr().unwrap()).collect();
    assert_eq!(from, expected);
    for end in ends {
        assert_eq!(io.peer_address(end.stream), Ok(end.peer));
        assert_eq!(io.local_address(end.stream), Ok(address));
    }
}

/// Connections that came before anybody asked for them wait in the backlog.
fn waiting_connections(subject: &Subject) {
    let io: Io = subject.io();
    let (listener, address) = listen(&io);
    let peers: Vec<Peer> = (0..5).map(|_| subject.connect(address).unwrap()).collect();
    turn(&io, 2);
    for peer in &peers {
        let ended = Slot::new();
        io.accept(listener, keep(&ended));
        io.run().unwrap();
        let end: End = ended.one();
        assert_eq!(end.unwrap().peer, peer.local_addr().unwrap());
    }
}

/// Documented: `Accepted::peer` is the address the connection came from.
fn peer_addresses(subject: &Subject) {
    let io: Io = subject.io();
    for local in [SocketAddr::from(([127, 0, 0, 1], 0)), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))] {
        let listener = io.listen_tcp(local).unwrap();
        let ended = Slot::new();
        io.accept(listener, keep(&ended));
        let peer = subject.connect(io.local_address(listener).unwrap()).unwrap();
        io.run().unwrap();
        let end: End = ended.one();
        assert_eq!(end.unwrap().peer, peer.local_addr().unwrap());
    }
}

/// Documented: "A cancelled one that already had a connection ends with it"; one that had none leaves it to the next.
fn cancelled_loses_nothing(subject: &Subject) {
    races(subject, |io, listener, ended, course| {
        let id = io.accept(listener, keep(ended));
        course(io);
        io.cancel(id);
    });
}

/// As above with a deadline.
fn late_loses_nothing(subject: &Subject) {
    races(subject, |io, listener, ended, course| {
        io.submit(op::Accept::new(listener).timeout(Duration::from_micros(50)), keep(ended));
        course(io);
    });
}

/// Lets a client's connection meet an accept that is being ended, in many courses of events: it is always accepted
/// by that one or by the next.
fn races(subject: &Subject, accept: impl Fn(&Io, nbio::TcpListener, &Slot<End>, &dyn Fn(&Io))) {
    let io: Io = subject.io();
    let (listener, address) = listen(&io);
    for course in 0..60 {
        let (ended, peers) = (Slot::new(), Slot::new());
        let connect = || peers.put(subject.connect(address).unwrap());
        if course % 3 == 0 {
            connect();
        }
        accept(&io, listener, &ended, &|io| {
            turn(io, course / 6 % 3);
            if course % 3 == 1 {
                connect();
            }
            turn(io, course / 18 % 3);
        });
        if course % 3 == 2 {
            connect();
        }
        drive(&io, || ended.len() > 0);
        let mut end: End = ended.one();
        if let Err(error) = end {
            assert!(matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::TimedOut), "course {course}");
            io.accept(listener, keep(&ended));
            drive(&io, || ended.len() > 0);
            end = ended.one();
        }
        let accepted = end.unwrap();
        assert_eq!(accepted.peer, peers.one().local_addr().unwrap(), "course {course}");
        io.close(accepted.stream);
        io.run().unwrap();
    }
}

/// Guarantee 4: "a connection it would have produced is closed".
fn removed_closes_its_connection(subject: &Subject) {
    let io: Io = subject.io();
    let (listener, address) = listen(&io);
    let ended: Slot<End> = Slot::new();
    let id = io.accept(listener, keep(&ended));
    turn(&io, 2);
    let peer = subject.connect(address).unwrap();
    // The completion is there when this returns; its callback would run in the next tick.
    io.tick(None).unwrap();
    assert_eq!((ended.len(), peer.is_over()), (0, false));
    assert!(io.remove(id));
    io.run().unwrap();
    assert_eq!((ended.len(), peer.is_over(), io.in_flight()), (0, true, 0));
}

/// As above: a connection is closed or left to the next accept, never forgotten.
fn removed_leaves_the_rest(subject: &Subject) {
    let io: Io = subject.io();
    let (listener, address) = listen(&io);
    for ticks in 0..4 {
        let (removed, ended) = (Slot::new(), Slot::new());
        let id = io.accept(listener, keep::<End>(&removed));
        turn(&io, ticks);
        let first = subject.connect(address).unwrap();
        assert!(io.remove(id));
        io.run().unwrap();
        drive(&io, || io.in_flight() == 0);
        let second = subject.connect(address).unwrap();
        io.accept(listener, keep(&ended));
        io.run().unwrap();
        let end: End = ended.one();
        let accepted = end.unwrap();
        let first_is_next = accepted.peer == first.local_addr().unwrap();
        assert_ne!(first_is_next, first.is_over(), "after {ticks} ticks");
        if first_is_next {
            io.accept(listener, keep(&ended));
            io.run().unwrap();
            let end: End = ended.one();
            assert_eq!(end.unwrap().peer, second.local_addr().unwrap());
        } else {
            assert_eq!(accepted.peer, second.local_addr().unwrap());
        }
        assert_eq!(removed.len(), 0);
    }
}

/// Guarantee 6: closing cancels what waits, each calls back once.
fn closing_cancels(subject: &Subject) {
    let io: Io = subject.io();
    let (listener, _) = listen(&io);
    let (ended, closed) = (Slot::new(), Slot::new());
    for _ in 0..5 {
        io.accept(listener, keep(&ended));
    }
    turn(&io, 2);
    let (ends, put) = (ended.clone(), closed.clone());
    io.close_then(listener, move |_, _, result| put.put((result, ends.len())));
    assert_eq!(kind(io.local_address(listener)), Some(ErrorKind::StaleHandle));
    io.accept(listener, |_, _, end| assert_eq!(kind(end), Some(ErrorKind::StaleHandle)));
    io.run().unwrap();
    assert_eq!(closed.one(), (Ok(()), 5), "the close calls back last");
    assert!(ended.take().into_iter().all(|end: End| kind(end) == Some(ErrorKind::Cancelled)));
}

/// A connection that was reset while it waited is still one, or passed over; the accept after it gets the next.
fn peer_that_is_gone(subject: &Subject) {
    let io: Io = subject.io();
    let (listener, address) = listen(&io);
    subject.connect(address).unwrap().reset();
    let peer = subject.connect(address).unwrap();
    let mut found = false;
    while !found {
        let ended = Slot::new();
        io.accept(listener, keep(&ended));
        io.run().unwrap();
        let end: End = ended.one();
        found = end.unwrap().peer == peer.local_addr().unwrap();
    }
}

/// As many files as it takes for the process to have no descriptor left.
pub fn exhaust() -> Vec<std::fs::File> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(100), ..limit }).unwrap();
    let mut files = Vec::new();
    loop {
        match std::fs::File::open("/dev/null") {
            Ok(file) => files.push(file),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(system::EMFILE));
                return files;
            }
        }
    }
}

/// Documented: "When the process has no descriptors left, it waits and tries again", without calling back and without
/// turning in circles.
fn accept_waits_for_descriptors(subject: &Subject) {
    child::run(subject, "sockets_accept::accept_waits_for_descriptors", |subject| {
        let io: Io = subject.io();
        let (listener, address) = listen(&io);
        let peer = subject.connect(address).unwrap();
        let mut files = exhaust();
        let (ended, rung) = (Slot::new(), Slot::new());
        io.accept(listener, keep(&ended));
        io.timer(Duration::from_millis(100), keep(&rung));
        let mut ticks = 0;
        while rung.len() == 0 {
            io.tick(None).unwrap();
            ticks += 1;
        }
        assert_eq!(ended.len(), 0);
        assert!(ticks < 60, "{ticks} ticks in 100 ms");
        files.pop();
        io.run().unwrap();
        let end: End = ended.one();
        assert_eq!(end.unwrap().peer, peer.local_addr().unwrap());
    });
}

/// Guarantee 3: one that waits so is cancelled, and times out, like any other; nothing is lost.
fn waiting_can_be_cancelled(subject: &Subject) {
    child::run(subject, "sockets_accept::accept_waiting_for_descriptors_can_be_cancelled", |subject| {
        let io: Io = subject.io();
        let (listener, address) = listen(&io);
        let peer = subject.connect(address).unwrap();
        let files = exhaust();
        let (ended, late, rung) = (Slot::new(), Slot::new(), Slot::new());
        let id = io.accept(listener, keep::<End>(&ended));
        io.submit(op::Accept::new(listener).timeout(Duration::from_millis(30)), keep::<End>(&late));
        let removed = io.accept(listener, |_, _, _| unreachable!("it is removed"));
        io.timer(Duration::from_millis(50), keep(&rung));
        // A deadline's callback runs a tick after its timer: on a busy machine that is after the longer one's.
        drive(&io, || rung.len() > 0 && late.len() > 0);
        assert_eq!(kind(late.one()), Some(ErrorKind::TimedOut));
        assert!(io.cancel(id) && io.remove(removed));
        // `run` doesn't wait until the system has let go of what is removed.
        idle(&io);
        assert_eq!(kind(ended.one()), Some(ErrorKind::Cancelled));
        drop(files);
        io.accept(listener, keep(&ended));
        io.run().unwrap();
        assert_eq!(ended.one().unwrap().peer, peer.local_addr().unwrap());
    });
}
