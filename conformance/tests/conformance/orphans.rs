//! Guarantee 4 on futures: one that is dropped is an orphan. Whatever had come for it, or still comes, is had by the next
//! receive or accept: `select!` around them loses nothing.

use std::cell::RefCell;
use std::future::{Future, IntoFuture, poll_fn};
use std::io::Write;
use std::net::Shutdown;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use nbio::task::{OpFuture, UdpSocket, sleep, yield_now};
use nbio::{ErrorKind, Operation, TcpStream, op};

use crate::disk;
use crate::folder::Folder;
use crate::support::{Case, Slot, Subject, listen, own_udp_address};
use crate::system;
use crate::tasks::poll_once;
use crate::wire::{Io, drive, keep, noise, turn};

pub const CASES: &[Case] = &[
    Case { name: "a_receive_dropped_after_any_number_of_polls_loses_no_byte", run: every_poll_of_a_receive },
    Case { name: "the_end_of_the_stream_is_left_too", run: ends_are_left },
    Case {
        name: "an_accept_dropped_after_any_number_of_polls_loses_no_connection",
        run: every_poll_of_an_accept,
    },
    Case { name: "a_connection_left_reaches_an_accept_that_waits_already", run: waiting_accepts },
    Case { name: "select_around_receives_loses_nothing", run: selected_receives },
    Case { name: "select_around_accepts_loses_nothing", run: selected_accepts },
    Case { name: "of_two_receives_the_first_ones_bytes_come_first", run: order },
    Case { name: "what_is_left_fits_any_receive", run: other_receives },
    Case { name: "unread_bytes_are_busy_and_closing_drops_them", run: busy },
    Case { name: "dropped_in_callbacks_drops_and_panics", run: dropped_anywhere },
    Case { name: "a_send_dropped_in_the_middle_breaks_the_stream", run: sends },
    Case { name: "every_operation_dropped_after_any_number_of_polls", run: every_operation },
    Case { name: "a_datagram_left_is_the_next_ones", run: datagrams },
    Case { name: "a_read_at_the_cursor_that_is_dropped_leaves_it", run: cursors },
];

/// Polls a future once in a turn of the loop.
fn step<O: Operation>(io: &Io, future: &mut OpFuture<O>) -> bool {
    io.block_on(async { poll_once(future).is_ready() }).unwrap()
}

/// Receives so many bytes by a callback.
fn receive(io: &Io, stream: TcpStream, bytes: usize) -> Vec<u8> {
    let got = Slot::new();
    io.recv_exact(stream, vec![0; bytes], bytes, keep(&got));
    drive(io, || got.len() > 0);
    got.one().data().to_vec()
}

fn every_poll_of_a_receive(subject: &Subject) {
    for polls in 0..6 {
        for written_at in 0..6 {
            for (room, exact) in [(3, false), (64, false), (64, true), (8, true)] {
                let io: Io = subject.io();
                let (stream, peer) = subject.pair(&io);
                let recv = op::Recv::new(stream, vec![0; room]);
                let mut recv = if exact { recv.exact(room).into_future() } else { recv.into_future() };
                let mut had = None;
                for poll in 0..6 {
                    if poll == written_at {
                        (&peer).write_all(b"abcdefgh").unwrap();
                    }
                    if poll < polls && had.is_none() {
                        let polled = io.block_on(async { poll_once(&mut recv) }).unwrap();
                        had = polled.is_ready().then_some(polled);
                    }
                    turn(&io, 1);
                }
                drop(recv);
                // What its owner was given is not given to others.
                let had = match had {
                    Some(Poll::Ready(done)) => done.unwrap().0,
                    _ => 0,
                };
                assert_eq!(receive(&io, stream, 8 - had), b"abcdefgh"[had..]);
                io.close(stream);
                io.run().unwrap();
            }
        }
    }
}

fn ends_are_left(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, peer) = subject.pair(&io);
    (&peer).write_all(b"last").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    for _ in 0..3 {
        let mut recv = op::Recv::new(stream, vec![0; 64]).exact(64).into_future();
        assert!(!step(&io, &mut recv));
        turn(&io, 3);
        drop(recv);
    }
    let last = op::Recv::new(stream, vec![0; 64]).exact(4);
    let (bytes, buf) = io.block_on(async { last.await.unwrap() }).unwrap();
    assert_eq!((bytes, &buf[..]), (4, &b"last"[..]));
    let failed =
        io.block_on(async { op::Recv::new(stream, vec![0; 64]).exact(1).await.unwrap_err() }).unwrap();
    assert_eq!(failed.error.kind(), ErrorKind::UnexpectedEof);
}

fn every_poll_of_an_accept(subject: &Subject) {
    for polls in 0..5 {
        for connected_at in 0..5 {
            let io: Io = subject.io();
            let (listener, address) = listen(&io);
            let mut accept = op::Accept::new(listener).into_future();
            let (client, mut ended) = (Slot::new(), false);
            for poll in 0..5 {
                if poll == connected_at {
                    io.connect(address, keep(&client));
                }
                if poll < polls && !ended {
                    ended = step(&io, &mut accept);
                }
                turn(&io, 1);
            }
            drop(accept);
            drive(&io, || client.len() > 0);
            let client = client.one().unwrap();
            if !ended {
                let accepted = io.block_on(async { op::Accept::new(listener).await }).unwrap().unwrap();
                assert_eq!(accepted.peer, io.local_address(client).unwrap());
                io.close(accepted.stream);
                assert_eq!(io.block_on(async { op::Recv::new(client, [0; 1]).await.unwrap().0 }), Ok(0));
            }
            io.close(client);
            io.close(listener);
            io.run().unwrap();
        }
    }
}

fn waiting_accepts(subject: &Subject) {
    let io: Io = subject.io();
    let (listener, address) = listen(&io);
    let (first, client) = (op::Accept::new(listener), Slot::new());
    let mut first = first.into_future();
    assert!(!step(&io, &mut first));
    let other = Slot::new();
    io.accept(listener, keep(&other));
    subject.hand_over(&io);
    io.connect(address, keep(&client));
    drive(&io, || client.len() > 0);
    turn(&io, 3);
    // Whoever has it now: when the first is gone, the other gets it.
    drop(first);
    drive(&io, || other.len() > 0);
    let accepted = other.one().unwrap();
    assert_eq!(accepted.peer, io.local_address(client.one().unwrap()).unwrap());
}

/// Polls two futures; the first that is ready wins, and the other is dropped.
async fn select<A: Future + Unpin, B: Future>(mut one: A, other: B) -> Option<A::Output> {
    let mut other = Box::pin(other);
    poll_fn(|context| {
        if other.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        Pin::new(&mut one).poll(context).map(Some)
    })
    .await
}

fn selected_receives(subject: &Subject) {
    for seed in 0..6 {
        let io: Io = subject.io();
        let (stream, peer) = subject.pair(&io);
        let bytes = noise(50_000, seed);
        let work = peer.exchange(bytes.clone(), true);
        let got = Rc::new(RefCell::new(Vec::new()));
        let into = got.clone();
        let task = io.spawn(async move {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut dropped = 0;
            loop {
                let recv = op::Recv::new(stream, vec![0; random.usize(1..3000)]);
                let recv = if random.bool() { recv.exact(1) } else { recv };
                let turns = random.usize(0..4);
                let others = async {
                    for _ in 0..turns {
                        yield_now().await;
                    }
                };
                match select(recv.into_future(), others).await {
                    None => dropped += 1,
                    Some(Ok((0, _))) => return dropped,
                    Some(Ok((bytes, buf))) => into.borrow_mut().extend_from_slice(&buf[..bytes]),
                    Some(Err(failed)) if failed.error.kind() == ErrorKind::UnexpectedEof => return dropped,
                    Some(Err(failed)) => panic!("{failed}"),
                }
            }
        });
        drive(&io, || {
            work.is_finished();
            task.is_finished()
        });
        assert!(io.block_on(task).unwrap().unwrap() > 0, "some were dropped");
        let got = got.take();
        let same = got.iter().zip(&bytes).take_while(|(one, other)| one == other).count();
        assert!(got == bytes, "seed {seed}: {same} of {} received and {} sent", got.len(), bytes.len());
        io.close(stream);
        io.run().unwrap();
        work.join(&io);
    }
}

fn selected_accepts(subject: &Subject) {
    const CLIENTS: usize = 40;
    let io: Io = subject.io();
    let (listener, address) = listen(&io);
    let accepted = Rc::new(RefCell::new(Vec::new()));
    let into = accepted.clone();
    let task = io.spawn(async move {
        let mut turns = 0;
        while into.borrow().len() < CLIENTS {
            turns += 1;
            let others = async move {
                for _ in 0..turns % 3 {
                    yield_now().await;
                }
            };
            if let Some(new) = select(op::Accept::new(listener).into_future(), others).await {
                into.borrow_mut().push(new.unwrap().peer);
            }
        }
    });
    let connected = Slot::new();
    for _ in 0..CLIENTS {
        io.connect(address, keep(&connected));
    }
    drive(&io, || task.is_finished() && connected.len() == CLIENTS);
    let mut clients: Vec<_> =
        connected.take().into_iter().map(|client| io.local_address(client.unwrap()).unwrap()).collect();
    let mut accepted = accepted.take();
    clients.sort();
    accepted.sort();
    assert_eq!(accepted, clients);
}

fn order(subject: &Subject) {
    for (turns, plain) in (0..8).map(|number| (number / 2, number % 2 == 0)) {
        let io: Io = subject.io();
        let (stream, peer) = subject.pair(&io);
        // With a deadline they don't take the short way.
        let recv = || {
            let recv = op::Recv::new(stream, vec![0; 4]).exact(4);
            if plain { recv } else { recv.timeout(Duration::from_secs(3600)) }.into_future()
        };
        let (mut first, mut second) = (recv(), recv());
        assert!(!step(&io, &mut first) && !step(&io, &mut second));
        (&peer).write_all(b"onetwothree!").unwrap();
        peer.until_unread_on(&io, stream, 8);
        turn(&io, turns);
        drop(first);
        let (_, buf) = io.block_on(second).unwrap().unwrap();
        assert_eq!(buf, b"onet");
        assert_eq!(receive(&io, stream, 8), b"wothree!");
    }
}

fn other_receives(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, peer) = subject.pair(&io);
    let leave = |bytes: &[u8]| {
        (&peer).write_all(bytes).unwrap();
        let parts = [Vec::with_capacity(3), Vec::with_capacity(50)];
        let mut recv = op::RecvVectored::new(stream, parts).exact(bytes.len()).into_future();
        assert!(!step(&io, &mut recv));
        subject.hand_over(&io);
        turn(&io, 4);
    };
    leave(b"0123456789");
    let done = Slot::new();
    io.recv_vectored(stream, [vec![0; 2], vec![0; 3]], keep(&done));
    drive(&io, || done.len() > 0);
    assert_eq!(done.one().buf, [b"01".to_vec(), b"234".to_vec()]);
    let done = Slot::new();
    io.recv(stream, Vec::with_capacity(3), keep(&done));
    drive(&io, || done.len() > 0);
    assert_eq!(done.one().buf, b"567");
    // What was left and what comes are one stream.
    leave(b"abc");
    assert_eq!(io.block_on(async { op::Recv::new(stream, [0; 2]).await.unwrap().1 }), Ok(*b"89"));
}

fn busy(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, peer) = subject.pair(&io);
    (&peer).write_all(b"unread").unwrap();
    let mut recv = op::Recv::new(stream, vec![0; 64]).into_future();
    assert!(!step(&io, &mut recv));
    subject.hand_over(&io);
    drive(&io, || io.in_flight() == 0);
    assert_eq!(
        io.detach(stream).map(drop).unwrap_err().kind(),
        ErrorKind::Busy,
        "it has ended, but nobody looked"
    );
    drop(recv);
    assert_eq!(io.detach(stream).map(drop).unwrap_err().kind(), ErrorKind::Busy, "it was left");
    assert_eq!(receive(&io, stream, 6), b"unread");
    // Read, it may go; but what was used can't leave its port under Wine.
    let name = if system::is_wine() { stream } else { io.attach(io.detach(stream).unwrap()).unwrap() };
    io.close(name);
    // A connection that nobody took is closed with its listener.
    let (listener, address) = listen(&io);
    let mut accept = op::Accept::new(listener).into_future();
    assert!(!step(&io, &mut accept));
    let client = Slot::new();
    io.connect(address, keep(&client));
    drive(&io, || client.len() > 0 && io.in_flight() == 0);
    drop(accept);
    io.close(listener);
    let client = client.one().unwrap();
    let end = io.block_on(async { op::Recv::new(client, [0; 1]).await.map(|(bytes, _)| bytes) }).unwrap();
    assert!(end.is_err() || end.unwrap() == 0);
}

/// Drops what it has when it is dropped.
struct Nest<T>(Rc<RefCell<Option<T>>>);

impl<T> Drop for Nest<T> {
    fn drop(&mut self) {
        drop(self.0.borrow_mut().take());
    }
}

fn dropped_anywhere(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, peer) = subject.pair(&io);
    let begun = || {
        let mut recv = op::Recv::new(stream, vec![0; 4]).into_future();
        assert!(!step(&io, &mut recv));
        recv
    };
    // In a callback.
    let recv = begun();
    io.next_tick(move |_, _, _| drop(recv));
    turn(&io, 3);
    // In the drop of a callback that is removed, and of one that panics.
    let recv = Nest(Rc::new(RefCell::new(Some(begun()))));
    let removed = io.next_tick(move |_, _, _| drop(recv));
    assert!(io.remove(removed));
    let recv = begun();
    io.next_tick(move |_, _, _| {
        let _recv = recv;
        panic!("on purpose")
    });
    assert!(catch_unwind(AssertUnwindSafe(|| turn(&io, 2))).is_err());
    // In a task that panics, and in one that is aborted while another's bytes are there.
    let (one, other) = (begun(), begun());
    let panicking = io.spawn(async move {
        let _one = one;
        panic!("on purpose")
    });
    let aborted = io.spawn(async move {
        let _other = other;
        sleep(Duration::from_secs(1000)).await
    });
    turn(&io, 2);
    (&peer).write_all(b"all of it").unwrap();
    aborted.abort();
    turn(&io, 2);
    assert!(panicking.is_finished() && aborted.is_finished());
    assert_eq!(receive(&io, stream, 9), b"all of it");
    // At shutdown: it outlives the loop.
    let recv = begun();
    let keep = Rc::new(RefCell::new(Some(begun())));
    let nest = Nest(keep);
    io.next_tick(move |_, _, _| drop(nest));
    drop(io);
    drop(recv);
}

fn sends(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, _peer) = subject.narrow_pair(&io);
    let mut send = op::Send::new(stream, vec![1; 16 << 20]).all().into_future();
    assert!(!step(&io, &mut send));
    subject.hand_over(&io);
    turn(&io, 3);
    drop(send);
    let failed = io.block_on(async { op::Send::new(stream, "more").all().await.unwrap_err() }).unwrap();
    assert_eq!((failed.error.kind(), failed.bytes), (ErrorKind::Broken, 0));
}

fn every_operation(subject: &Subject) {
    for polls in 0..5 {
        let io: Io = subject.io();
        let (stream, _peer) = subject.pair(&io);
        let (listener, address) = listen(&io);
        let run = |mut future: Pin<Box<dyn Future<Output = ()>>>| {
            for _ in 0..polls {
                let ended = io.block_on(poll_fn(|context| Poll::Ready(future.as_mut().poll(context))));
                if ended.unwrap().is_ready() {
                    return;
                }
                turn(&io, 1);
            }
        };
        run(Box::pin(async move {
            let _ = op::Connect::new(address).await;
        }));
        run(Box::pin(async move {
            let _ = op::Connect::new(address).timeout(Duration::ZERO).await;
        }));
        run(Box::pin(async move {
            let _ = op::Accept::new(listener).await;
        }));
        run(Box::pin(async move {
            let _ = op::Timer::after(Duration::from_millis(1)).await;
        }));
        run(Box::pin(async move {
            let _ = op::NextTick::new().await;
        }));
        run(Box::pin(async move {
            let _ = op::Send::new(stream, "hello").all().await;
        }));
        run(Box::pin(async move {
            let _ = op::SendVectored::new(stream, ["a", "b"]).await;
        }));
        run(Box::pin(async move {
            let _ = op::Splice::new(stream, stream).await;
        }));
        run(Box::pin(async move {
            let _ = op::Shutdown::new(stream, nbio::Half::Write).await;
        }));
        run(Box::pin(async move {
            let _ = op::Blocking::new(|| 5).await;
        }));
        run(Box::pin(async move {
            let _ = op::Open::new("Cargo.toml").await;
        }));
        run(Box::pin(async move {
            let _ = op::ReadFile::new("Cargo.toml").await;
        }));
        run(Box::pin(async move {
            let _ = op::Stat::new("Cargo.toml").await;
        }));
        run(Box::pin(async move {
            let _ = op::Close::new(listener).await;
        }));
        io.close(stream);
        io.run().unwrap();
        // The system lets go of all of it.
        drive(&io, || io.in_flight() == 0);
    }
}

fn datagrams(subject: &Subject) {
    for turns in 0..5 {
        let io: Io = subject.io();
        let got = io.block_on(async {
            let receiver = UdpSocket::bind(own_udp_address()).unwrap();
            let sender = UdpSocket::bind(own_udp_address()).unwrap();
            let to = receiver.local_address().unwrap();
            let mut first = receiver.recv_from(vec![0; 64]);
            assert!(poll_once(&mut first).is_pending());
            let mut second = receiver.recv_from(vec![0; 3]);
            assert!(poll_once(&mut second).is_pending());
            sender.send_to("first", to).await.unwrap();
            for _ in 0..turns {
                yield_now().await;
            }
            drop(first);
            // The first datagram, whoever had it.
            let one = second.await.unwrap();
            assert!(
                one.truncated && one.data() == b"fir" && one.from == Some(sender.local_address().unwrap())
            );
            sender.send_to("second", to).await.unwrap();
            receiver.recv_from(vec![0; 64]).await.unwrap().data().to_vec()
        });
        assert_eq!(got.unwrap(), b"second");
    }
}

fn cursors(subject: &Subject) {
    let io: Io = subject.io();
    let folder = Folder::new();
    let path = folder.file("file", noise(2000, 1));
    let whole = disk::read(&path).unwrap();
    for polls in 0..4 {
        let begin = io.block_on(async {
            let file = nbio::task::File::open(&path).await.unwrap();
            let mut read = file.read(vec![0; 9]);
            let mut ended = false;
            for _ in 0..polls {
                ended = ended || poll_once(&mut read).is_ready();
                yield_now().await;
            }
            drop(read);
            let (_, buf) = file.read_exact(vec![0; 9], 9).await.unwrap();
            (ended, buf)
        });
        let (ended, buf) = begin.unwrap();
        let from = if ended { 9 } else { 0 };
        assert_eq!(buf, whole[from..from + 9], "{polls} polls");
    }
}
