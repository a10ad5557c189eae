//! Pipes of `EventLoop::pipe`, as every system has them; `pipes.rs` is about those of Unix.

use nbio::{Done, ErrorKind, op};

use crate::support::{Case, Slot, Subject};
use crate::system::descriptors;
use crate::wire::{Io, drive, keep, kind, noise, turn};

pub const CASES: &[Case] = &[
    Case { name: "bytes_go_through_in_order", run: bytes_go_through },
    Case { name: "a_waiting_receive_is_cancelled_and_loses_nothing", run: cancelled },
    Case { name: "the_end_and_the_broken_end_are_told", run: ends },
    Case { name: "a_sender_waits_for_room", run: waits_for_room },
    Case { name: "closing_and_dropping_give_the_descriptors_back", run: given_back },
];

/// Guarantees 2 and 7: more than a pipe holds, in several sends and receives at once.
fn bytes_go_through(subject: &Subject) {
    let io: Io = subject.io();
    let (reader, writer) = io.pipe().unwrap();
    let contents = noise(300_000, 1);
    for piece in contents.chunks(70_000) {
        io.send_all(writer, piece.to_vec(), |_, _, sent| assert_eq!(sent.result, Ok(())));
    }
    let received: Slot<Done<Vec<u8>>> = Slot::new();
    for length in [1, 99_999, 200_000] {
        io.recv_exact(reader, vec![0; length], length, keep(&received));
    }
    drive(&io, || received.len() == 3);
    let all: Vec<u8> = received.take().into_iter().flat_map(|done| done.data().to_vec()).collect();
    assert!(all == contents);
    io.close(reader);
    io.close(writer);
    io.run().unwrap();
}

/// Guarantee 3: with nobody writing it ends at once, and what is written afterwards the next one gets.
fn cancelled(subject: &Subject) {
    let io: Io = subject.io();
    let (reader, writer) = io.pipe().unwrap();
    for round in 0..20 {
        let received: Slot<Done<Vec<u8>>> = Slot::new();
        let waiting = io.recv(reader, vec![0; 9], keep(&received));
        turn(&io, round % 4);
        assert!(io.cancel(waiting));
        drive(&io, || received.len() > 0);
        let done = received.one();
        assert_eq!((kind(done.result), done.bytes), (Some(ErrorKind::Cancelled), 0));
        io.send_all(writer, "next", |_, _, sent| assert_eq!(sent.result, Ok(())));
        io.recv_exact(reader, vec![0; 4], 4, keep(&received));
        drive(&io, || received.len() > 0);
        assert_eq!(received.one().data(), b"next");
    }
}

/// Guarantee 8: after the last byte, the end; and who writes to nobody is told.
fn ends(subject: &Subject) {
    let io: Io = subject.io();
    let (reader, writer) = io.pipe().unwrap();
    io.send_all(writer, "last", move |_, io, _| io.close(writer));
    let received: Slot<Done<Vec<u8>>> = Slot::new();
    io.recv_exact(reader, vec![0; 4], 4, keep(&received));
    io.recv(reader, vec![0; 4], keep(&received));
    drive(&io, || received.len() == 2);
    let [last, end] = received.take().try_into().ok().unwrap();
    assert_eq!((last.result, last.data()), (Ok(()), &b"last"[..]));
    assert_eq!((end.result, end.bytes), (Ok(()), 0));
    let (reader, writer) = io.pipe().unwrap();
    io.close(reader);
    turn(&io, 1);
    let sent: Slot<Done<&str>> = Slot::new();
    io.send_all(writer, "for nobody", keep(&sent));
    drive(&io, || sent.len() > 0);
    let done = sent.one();
    assert_eq!((kind(done.result), done.bytes), (Some(ErrorKind::BrokenPipe), 0));
}

/// Guarantees 3 and 5: a send that nobody reads waits, and when it is cancelled its buffer comes back.
fn waits_for_room(subject: &Subject) {
    let io: Io = subject.io();
    let (reader, writer) = io.pipe().unwrap();
    let sent: Slot<Done<Vec<u8>>> = Slot::new();
    let contents = noise(1_000_000, 2);
    let waiting = io.send_all(writer, contents.clone(), keep(&sent));
    turn(&io, 3);
    assert!(sent.len() == 0 && io.cancel(waiting));
    drive(&io, || sent.len() > 0);
    let done = sent.one();
    assert_eq!((kind(done.result), done.buf == contents), (Some(ErrorKind::Cancelled), true));
    io.close(writer);
    let received: Slot<Done<Vec<u8>>> = Slot::new();
    io.submit(op::Recv::new(reader, vec![0; 1_000_000]).exact(1_000_000), keep(&received));
    drive(&io, || received.len() > 0);
    let got = received.one();
    assert_eq!((kind(got.result), got.bytes), (Some(ErrorKind::UnexpectedEof), done.bytes));
    assert!(got.data() == &contents[..done.bytes]);
}

/// Guarantee 5: whatever waits there.
fn given_back(subject: &Subject) {
    crate::child::run(subject, "pipe_pairs::closing_and_dropping_give_the_descriptors_back", |subject| {
        drop(subject.io::<()>());
        let before = descriptors();
        for round in 0..8 {
            let io: Io = subject.io();
            let (reader, writer) = io.pipe().unwrap();
            io.recv(reader, vec![0; 9], |_, _, _| ());
            turn(&io, round % 3);
            if round % 2 == 0 {
                io.close(reader);
                io.close(writer);
                io.run().unwrap();
            }
            drop(io);
            assert_eq!(descriptors(), before, "round {round}");
        }
    });
}
