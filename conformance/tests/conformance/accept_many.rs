//! Accepting one connection after the other.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use nbio::task::{Items, items};
use nbio::{Error, ErrorKind, ManyOperation, TcpListener, TcpStream, op};

use crate::child;
use crate::hanging::idle;
use crate::peer::Peer;
use crate::sockets_accept::exhaust;
use crate::support::{Case, Slot, Subject, listen};
use crate::tasks::poll_once;
use crate::wire::{Brought, Io, drive, keep, kind, turn};

pub const CASES: &[Case] = &[
    Case { name: "each_connection_is_an_item_and_there_is_one_end", run: each_is_an_item },
    Case { name: "items_follow_a_cancel_and_no_connection_is_lost", run: cancelled_loses_nothing },
    Case { name: "items_follow_a_deadline_and_no_connection_is_lost", run: late_loses_nothing },
    Case { name: "removed_it_closes_what_it_had_or_leaves_it_to_the_next", run: removed },
    Case { name: "its_own_item_ends_it", run: ended_by_its_item },
    Case { name: "closing_the_listener_ends_it", run: closing_ends_it },
    Case { name: "accepts_of_both_kinds_share_the_connections", run: both_kinds },
    Case { name: "what_dropped_futures_have_left_are_items", run: left_connections },
    Case { name: "its_panic_ends_it", run: panicking },
    Case { name: "it_waits_for_descriptors", run: waits_for_descriptors },
    Case { name: "stale_handles_are_its_end", run: stale },
    Case { name: "a_stream_of_connections_dropped_any_time_loses_none", run: dropped_streams },
    Case { name: "a_stream_that_nobody_takes_from_stops_and_goes_on", run: stops_and_goes_on },
];

/// Where connections come from; each only once.
fn origins(io: &Io, streams: Vec<TcpStream>) -> BTreeSet<SocketAddr> {
    let count = streams.len();
    let origins: BTreeSet<_> = streams.into_iter().map(|stream| io.peer_address(stream).unwrap()).collect();
    assert_eq!(origins.len(), count);
    origins
}

fn addresses(peers: &[Peer]) -> BTreeSet<SocketAddr> {
    peers.iter().map(|peer| peer.local_addr().unwrap()).collect()
}

fn connect(subject: &Subject, address: SocketAddr, count: usize) -> Vec<Peer> {
    (0..count).map(|_| subject.connect(address).unwrap()).collect()
}

/// Takes so many connections by accepts of the other kind.
fn accept(io: &Io, listener: TcpListener, count: usize) -> Vec<TcpStream> {
    let ended = Slot::new();
    for _ in 0..count {
        io.accept(listener, keep(&ended));
    }
    drive(io, || ended.len() == count);
    ended.take().into_iter().map(|end: Result<nbio::Accepted, Error>| end.unwrap().stream).collect()
}

/// Guarantee 2: "0..n items and exactly one end"; those that came before and those that come later, also if a tick runs one
/// callback only.
fn each_is_an_item(subject: &Subject) {
    for budget in [1, 4096] {
        let io: Io = subject.builder().completion_budget(budget).build().unwrap();
        let (listener, address) = listen(&io);
        let mut peers = connect(subject, address, 20);
        let brought = Brought::new();
        let id = brought.submit(&io, op::AcceptMany::new(listener));
        assert_eq!(brought.items.len(), 0, "nothing runs inside the call");
        turn(&io, 3);
        peers.extend(connect(subject, address, 20));
        drive(&io, || brought.items.len() == 40);
        peers.extend(connect(subject, address, 1));
        drive(&io, || brought.items.len() == 41);
        let streams = brought.items.take();
        assert_eq!(io.local_address(streams[0]), Ok(address));
        assert_eq!(origins(&io, streams), addresses(&peers));
        assert!(io.cancel(id));
        io.run().unwrap();
        assert_eq!((kind(brought.ends.one()), io.cancel(id)), (Some(ErrorKind::Cancelled), false));
    }
}

/// Guarantee 3: "Cancel and deadlines are requests and lose nothing".
fn cancelled_loses_nothing(subject: &Subject) {
    races(subject, |io, operation, brought, course| {
        let id = brought.submit(io, operation);
        course(io);
        assert!(io.cancel(id));
        // The first who asked wins, and asking again is harmless.
        io.cancel(id);
    });
}

/// As above.
fn late_loses_nothing(subject: &Subject) {
    races(subject, |io, operation, brought, course| {
        brought.submit(io, operation.timeout(Duration::from_micros(50)));
        course(io);
    });
}

/// Lets connections meet an operation that is being ended, in many courses of events: each is an item, or the next accept's.
fn races(subject: &Subject, submit: impl Fn(&Io, op::AcceptMany, &Brought<TcpStream>, &dyn Fn(&Io))) {
    let io: Io = subject.io();
    let (listener, address) = listen(&io);
    for course in 0..54 {
        let (brought, peers) = (Brought::new(), Slot::new());
        let arrive = || connect(subject, address, 3).into_iter().for_each(|peer| peers.put(peer));
        if course % 3 == 0 {
            arrive();
        }
        submit(&io, op::AcceptMany::new(listener), &brought, &|io| {
            turn(io, course / 3 % 3);
            if course % 3 == 1 {
                arrive();
            }
            turn(io, course / 9 % 3);
        });
        if course % 3 == 2 {
            arrive();
        }
        drive(&io, || brought.ends.len() > 0);
        let end = kind(brought.ends.one());
        assert!(matches!(end, Some(ErrorKind::Cancelled | ErrorKind::TimedOut)), "course {course}");
        let mut streams = brought.items.take();
        streams.extend(accept(&io, listener, 3 - streams.len()));
        streams.iter().for_each(|&stream| assert!(io.peer_address(stream).is_ok()));
        assert_eq!(origins(&io, streams.clone()), addresses(&peers.take()), "course {course}");
        streams.into_iter().for_each(|stream| io.close(stream));
        idle(&io);
    }
}

/// Guarantee 4: "a connection it would have produced is closed"; none is forgotten.
fn removed(subject: &Subject) {
    let io: Io = subject.io();
    let (listener, address) = listen(&io);
    for ticks in 0..12 {
        let brought = Brought::new();
        let id = brought.submit(&io, op::AcceptMany::new(listener));
        turn(&io, ticks / 4);
        let peers = connect(subject, address, 4);
        match ticks % 4 {
            // The first completions are there when this returns.
            3 => io.tick(None).unwrap(),
            some => turn(&io, some),
        }
        assert!(io.remove(id) && !io.remove(id));
        let had = brought.items.len();
        idle(&io);
        assert_eq!((brought.items.len(), brought.ends.len()), (had, 0), "it is silent");
        let over: Vec<bool> = peers.iter().map(Peer::is_over).collect();
        let mut streams = brought.items.take();
        let left = over.iter().filter(|over| !**over).count() - had;
        streams.extend(accept(&io, listener, left));
        let alive = peers.iter().zip(&over).filter(|(_, over)| !**over);
        let alive: BTreeSet<_> = alive.map(|(peer, _)| peer.local_addr().unwrap()).collect();
        assert_eq!(origins(&io, streams.clone()), alive, "after {ticks} ticks");
        streams.into_iter().for_each(|stream| io.close(stream));
        idle(&io);
    }
}

/// Guarantees 3 and 4 from inside: after a cancel there is an end, after a remove nothing.
fn ended_by_its_item(subject: &Subject) {
    for remove in [false, true] {
        let io: Io = subject.io();
        let (listener, address) = listen(&io);
        let (brought, own) = (Brought::new(), Rc::new(Cell::new(None)));
        let (inside, id) = (brought.clone(), own.clone());
        own.set(Some(io.submit_many(op::AcceptMany::new(listener), move |_, io: &Io, event| {
            inside.take(event);
            let id = id.get().expect("set before the first tick");
            if remove {
                io.remove(id)
            } else {
                io.cancel(id)
            };
        })));
        let peers = connect(subject, address, 3);
        drive(&io, || brought.items.len() > 0);
        idle(&io);
        let mut streams = brought.items.take();
        if remove {
            assert_eq!((streams.len(), brought.ends.len()), (1, 0));
            let over = peers.iter().filter(|peer| peer.is_over()).count();
            accept(&io, listener, 2 - over);
        } else {
            assert_eq!(kind(brought.ends.one()), Some(ErrorKind::Cancelled));
            streams.extend(accept(&io, listener, 3 - streams.len()));
            assert_eq!(origins(&io, streams), addresses(&peers));
        }
    }
}

/// Guarantee 6: `close` "cancels its operations and closes after the last of them ended".
fn closing_ends_it(subject: &Subject) {
    let io: Io = subject.io();
    let (listener, address) = listen(&io);
    let (brought, closed) = (Brought::new(), Slot::new());
    brought.submit(&io, op::AcceptMany::new(listener));
    turn(&io, 2);
    let peers = connect(subject, address, 2);
    let (ends, put) = (brought.ends.clone(), closed.clone());
    io.close_then(listener, move |_, _, result| put.put((result, ends.len())));
    io.run().unwrap();
    assert_eq!(closed.one(), (Ok(()), 1), "the close calls back last");
    assert_eq!(kind(brought.ends.one()), Some(ErrorKind::Cancelled));
    // What is no item has gone with the listener.
    let streams = brought.items.take();
    let over = peers.iter().filter(|peer| peer.is_over()).count();
    assert_eq!(streams.len() + over, 2);
}

/// Documented: "Any number of accepts of both kinds may wait on a listener".
fn both_kinds(subject: &Subject) {
    let io: Io = subject.io();
    let (listener, address) = listen(&io);
    let (one, other, single) = (Brought::new(), Brought::new(), Slot::new());
    one.submit(&io, op::AcceptMany::new(listener));
    other.submit(&io, op::AcceptMany::new(listener));
    for _ in 0..5 {
        io.accept(listener, keep(&single));
    }
    turn(&io, 3);
    let peers = connect(subject, address, 40);
    drive(&io, || one.items.len() + other.items.len() + single.len() == 40);
    let mut streams = one.items.take();
    streams.extend(other.items.take());
    streams.extend(single.take().into_iter().map(|end: Result<nbio::Accepted, Error>| end.unwrap().stream));
    assert_eq!(origins(&io, streams), addresses(&peers));
}

/// Guarantee 4: the connection of a dropped future is for whoever accepts next, whether that waits already or not.
fn left_connections(subject: &Subject) {
    for early in [false, true] {
        let io: Io = subject.io();
        let (listener, address) = listen(&io);
        let brought = Brought::new();
        let mut futures: Vec<_> = (0..3).map(|_| op::Accept::new(listener).into_future()).collect();
        for future in &mut futures {
            let ready = io.block_on(async { poll_once(future).is_ready() });
            assert_eq!(ready, Ok(false));
        }
        subject.hand_over(&io);
        let peers = connect(subject, address, 3);
        turn(&io, 5);
        if early {
            brought.submit(&io, op::AcceptMany::new(listener));
            turn(&io, 2);
        }
        drop(futures);
        if !early {
            brought.submit(&io, op::AcceptMany::new(listener));
        }
        drive(&io, || brought.items.len() == 3);
        assert_eq!(origins(&io, brought.items.take()), addresses(&peers));
        // And those that come after them.
        let peers = connect(subject, address, 3);
        drive(&io, || brought.items.len() == 3);
        assert_eq!(origins(&io, brought.items.take()), addresses(&peers));
    }
}

/// Guarantee 11: "A panicking callback counts as run and reaches the caller of `tick`"; it is not called again, and what its
/// operation still had is closed.
fn panicking(subject: &Subject) {
    let io: Io = subject.io();
    let (listener, address) = listen(&io);
    let runs = Rc::new(Cell::new(0));
    let counted = runs.clone();
    io.submit_many(op::AcceptMany::new(listener), move |_, _, _| {
        counted.set(counted.get() + 1);
        panic!("on purpose");
    });
    let peers = connect(subject, address, 3);
    let panic = catch_unwind(AssertUnwindSafe(|| drive(&io, || false)));
    assert!(panic.is_err());
    idle(&io);
    let over = peers.iter().filter(|peer| peer.is_over()).count();
    // One of them is open, and nobody has been told its name.
    accept(&io, listener, 2 - over);
    assert_eq!(runs.get(), 1);
}

/// Documented: "Without descriptors or memory it waits".
fn waits_for_descriptors(subject: &Subject) {
    child::run(subject, "accept_many::it_waits_for_descriptors", |subject| {
        let io: Io = subject.io();
        let (listener, address) = listen(&io);
        let peers = connect(subject, address, 2);
        let mut files = exhaust();
        let (brought, rung) = (Brought::new(), Slot::new());
        let id = brought.submit(&io, op::AcceptMany::new(listener));
        io.timer(Duration::from_millis(50), keep(&rung));
        let mut ticks = 0;
        while rung.len() == 0 {
            io.tick(None).unwrap();
            ticks += 1;
        }
        assert_eq!((brought.items.len(), brought.ends.len()), (0, 0));
        assert!(ticks < 40, "{ticks} ticks in 50 ms");
        files.truncate(files.len() - 2);
        drive(&io, || brought.items.len() == 2);
        assert_eq!(origins(&io, brought.items.take()), addresses(&peers));
        io.cancel(id);
        io.run().unwrap();
        assert_eq!(kind(brought.ends.one()), Some(ErrorKind::Cancelled));
    });
}

/// Guarantee 6: "A stale or foreign handle is a clear error".
fn stale(subject: &Subject) {
    let (io, elsewhere): (Io, Io) = (subject.io(), subject.io());
    let (listener, _) = listen(&io);
    let (foreign, _) = listen(&elsewhere);
    io.close(listener);
    io.run().unwrap();
    for (listener, expected) in [(listener, ErrorKind::StaleHandle), (foreign, ErrorKind::WrongLoop)] {
        let brought = Brought::new();
        brought.submit(&io, op::AcceptMany::new(listener));
        io.run().unwrap();
        let error = brought.ends.one().unwrap_err();
        assert_eq!((error.kind(), error.operation()), (expected, op::Kind::AcceptMany));
        let end = io.block_on(async { items(op::AcceptMany::new(listener)).next().await }).unwrap();
        assert_eq!(kind(end), Some(expected));
    }
}

/// Lets a stream begin: it has no item yet.
fn begin(io: &Io, stream: &mut Items<op::AcceptMany>) {
    let ready = io.block_on(async { poll_once(&mut std::pin::pin!(stream.next())).is_ready() });
    assert_eq!(ready, Ok(false));
}

/// Guarantee 4: "recv and accept in a `select!` lose nothing": neither what waited in the stream nor what was on its way.
fn dropped_streams(subject: &Subject) {
    let io: Io = subject.io();
    let (listener, address) = listen(&io);
    for turns in 0..16 {
        let mut stream = items(op::AcceptMany::new(listener));
        begin(&io, &mut stream);
        turn(&io, turns / 4);
        let peers = connect(subject, address, 5);
        match turns % 4 {
            3 => io.tick(None).unwrap(),
            some => turn(&io, some),
        }
        let mut taken = Vec::new();
        if turns % 2 == 0 {
            taken.push(io.block_on(stream.next()).unwrap().unwrap().unwrap());
        }
        let brought = Brought::new();
        let waiting = (turns % 3 == 0).then(|| brought.submit(&io, op::AcceptMany::new(listener)));
        drop(stream);
        match waiting {
            Some(id) => {
                drive(&io, || taken.len() + brought.items.len() == 5);
                taken.extend(brought.items.take());
                io.cancel(id);
            }
            None => taken.extend(accept(&io, listener, 5 - taken.len())),
        }
        assert_eq!(origins(&io, taken.clone()), addresses(&peers), "after {turns} turns");
        taken.into_iter().for_each(|stream| io.close(stream));
        idle(&io);
    }
}

/// Documented: "when there are 64, no more are accepted until half of them were taken". What comes meanwhile waits in the
/// backlog, where others find it.
fn stops_and_goes_on(subject: &Subject) {
    let io: Io = subject.io();
    let (listener, address) = listen(&io);
    let mut stream = items(op::AcceptMany::new(listener).timeout(Duration::from_secs(30)));
    begin(&io, &mut stream);
    let mut peers = connect(subject, address, 80);
    let rung = Slot::new();
    io.timer(Duration::from_millis(20), keep(&rung));
    drive(&io, || rung.len() > 0);
    turn(&io, 10);
    peers.extend(connect(subject, address, 40));
    let mut streams = accept(&io, listener, 40);
    // A stream that had gone on accepting would have nothing left for these, or too little for itself.
    io.block_on(async {
        while streams.len() < 120 {
            streams.push(stream.next().await.unwrap().unwrap());
        }
    })
    .unwrap();
    peers.extend(connect(subject, address, 40));
    io.block_on(async {
        while streams.len() < 160 {
            streams.push(stream.next().await.unwrap().unwrap());
        }
        stream.cancel();
        assert_eq!(kind(stream.next().await), Some(ErrorKind::Cancelled));
        assert_eq!(stream.next().await, Ok(None));
    })
    .unwrap();
    assert_eq!(origins(&io, streams), addresses(&peers));
}
