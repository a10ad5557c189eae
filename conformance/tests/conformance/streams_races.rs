//! Guarantee 3 on bytes: cancels and deadlines race real traffic, and no byte is lost, doubled or moved.

use std::io::{Read, Write};
use std::time::Duration;

use nbio::{Buffers, Done, ErrorKind, OpId, Operation, TcpStream, op};

use crate::peer::Peer;
use crate::support::{Case, Slot, Subject, long};
use crate::wire::{Io, kind, noise};
use crate::work::Work;

pub const CASES: &[Case] = &[
    Case { name: "receives_racing_cancels_and_deadlines_lose_nothing", run: receives_lose_nothing },
    Case { name: "sends_racing_cancels_and_deadlines_tell_the_truth", run: sends_tell_the_truth },
    Case { name: "both_directions_at_once", run: both_directions_at_once },
];

/// How many different courses of events each case runs through.
fn seeds() -> std::ops::Range<u64> {
    0..if long() { 500 } else { 40 }
}

fn receives_lose_nothing(subject: &Subject) {
    for seed in seeds() {
        let io: Io = subject.io();
        let (stream, peer) = subject.pair(&io);
        let (sent, mut course) = (noise(20_000, seed), Course::new(seed));
        let (theirs, bytes) = (sent.clone(), sent.clone());
        let writer = peer.in_a_thread(
            move |socket| write_at_random(socket, &theirs, seed).map(|()| Vec::new()),
            |peer| peer.exchange(bytes, true),
        );
        let got = Slot::new();
        while !course.receiving_is_over {
            course.receive(&io, stream, &got);
            course.disturb(&io, &writer);
        }
        writer.run(&io);
        io.close(stream);
        io.run().unwrap();
        assert_eq!(writer.finish(), b"");
        assert!(got.take().concat() == sent, "seed {seed}");
    }
}

fn sends_tell_the_truth(subject: &Subject) {
    for seed in seeds() {
        let io: Io = subject.io();
        let (stream, peer) = subject.narrow_pair(&io);
        let mut course = Course::new(seed);
        let reader = peer.in_a_thread(move |mut socket| read_at_random(&mut socket, seed), Peer::read_all);
        let sent = Slot::new();
        for _ in 0..course.rng.usize(10..60) {
            course.send(&io, stream, &sent);
            course.disturb(&io, &reader);
        }
        reader.run(&io);
        io.close(stream);
        io.run().unwrap();
        assert!(reader.join(&io) == sent.take().concat(), "seed {seed}");
    }
}

fn both_directions_at_once(subject: &Subject) {
    for seed in seeds() {
        both_directions(subject, seed, |io, peer| peer.join(io));
    }
}

/// NOT among the cases, because it hangs now and then: of seven long runs on io_uring-ring-of-1 one was looked at
/// while it hung, and two more didn't come to their end in time.
///
/// When `run` returns, what was closed should be closed. But where the kernel had given a shot to a worker of its
/// own, that worker's reference to the socket outlives the completion, and with deferred task work
/// (`IORING_SETUP_DEFER_TASKRUN`) it is dropped only when the loop enters the kernel again: `IORING_SQ_TASKRUN` is
/// set, no descriptor names the socket, and it stays in CLOSE_WAIT. Who then waits for the peer waits for ever.
#[expect(dead_code, reason = "a known defect; see above")]
fn closed_when_run_returns(subject: &Subject) {
    for seed in seeds() {
        both_directions(subject, seed, |_, peer| peer.finish());
    }
}

fn both_directions(subject: &Subject, seed: u64, await_peer: impl Fn(&Io, Work) -> Vec<u8>) {
    let io: Io = subject.io();
    let (stream, peer) = subject.narrow_pair(&io);
    let (theirs, mut course) = (noise(10_000, seed), Course::new(seed));
    let peer = both_at_random(peer, theirs.clone(), seed);
    let (got, sent) = (Slot::new(), Slot::new());
    while !course.receiving_is_over {
        course.receive(&io, stream, &got);
        course.send(&io, stream, &sent);
        course.disturb(&io, &peer);
    }
    peer.run(&io);
    io.close(stream);
    io.run().unwrap();
    assert!(got.take().concat() == theirs, "seed {seed}: received");
    assert!(await_peer(&io, peer) == sent.take().concat(), "seed {seed}: sent");
}

/// One course of events, decided by its seed (and by the threads' timing).
struct Course {
    rng: fastrand::Rng,
    /// Some of the operations that may still be going on.
    going: Vec<OpId>,
    /// Told by receives that found the end of the stream.
    ends: Slot<()>,
    receiving_is_over: bool,
}

/// Bytes that the callbacks saw moved, in the order of the callbacks.
type Moved = Slot<Vec<u8>>;

impl Course {
    fn new(seed: u64) -> Course {
        let rng = fastrand::Rng::with_seed(seed);
        Course { rng, going: Vec::new(), ends: Slot::new(), receiving_is_over: false }
    }

    /// Half the operations have a deadline, most of which pass in the midst of it all.
    fn limited<O: Operation>(&mut self, operation: O) -> O {
        match self.rng.u32(..6) {
            0 => operation.timeout(Duration::ZERO),
            1 | 2 => operation.timeout(Duration::from_micros(self.rng.u64(..500))),
            _ => operation,
        }
    }

    /// Queues one to three receives of all kinds.
    fn receive(&mut self, io: &Io, stream: TcpStream, got: &Moved) {
        for _ in 0..self.rng.usize(1..4) {
            let room = self.rng.usize(1..600);
            let buf = vec![0; room];
            let id = match self.rng.u32(..3) {
                0 => io.submit(self.limited(op::Recv::new(stream, buf)), received(got, &self.ends)),
                1 => {
                    let exact = op::Recv::new(stream, buf).exact(self.rng.usize(1..=room));
                    io.submit(self.limited(exact), received(got, &self.ends))
                }
                _ => {
                    let bufs = [buf, vec![0; self.rng.usize(1..50)], vec![0; 300]];
                    let exact = op::RecvVectored::new(stream, bufs).exact(self.rng.usize(1..room + 300));
                    io.submit(self.limited(exact), received_vectored(got, &self.ends))
                }
            };
            self.going.push(id);
        }
    }

    /// Queues one to three sends of all kinds.
    fn send(&mut self, io: &Io, stream: TcpStream, sent: &Moved) {
        for _ in 0..self.rng.usize(1..4) {
            let length = self.rng.usize(..20_000);
            let buf = noise(length, self.rng.u64(..));
            let put = sent.clone();
            let id = match self.rng.u32(..3) {
                0 => io.submit(self.limited(op::Send::new(stream, buf)), move |_, _, done| {
                    check_end(done.result);
                    put.put(done.data().to_vec());
                }),
                1 => io.submit(self.limited(op::Send::new(stream, buf).all()), move |_, _, done| {
                    check_whole(done.bytes, length, done.result);
                    put.put(done.data().to_vec());
                }),
                _ => {
                    let cut = self.rng.usize(..=length);
                    let bufs = [buf[..cut].to_vec(), buf[cut..].to_vec()];
                    let all = op::SendVectored::new(stream, bufs).all();
                    io.submit(self.limited(all), move |_, _, done| {
                        check_whole(done.bytes, length, done.result);
                        put.put(done.buf.concat()[..done.bytes].to_vec());
                    })
                }
            };
            self.going.push(id);
        }
    }

    /// Cancels some, and lets the loop turn a few times.
    fn disturb(&mut self, io: &Io, peer: &Work) {
        for _ in 0..self.rng.u32(..4) {
            if self.rng.bool() && !self.going.is_empty() {
                let at = self.rng.usize(..self.going.len());
                io.cancel(self.going.swap_remove(at));
            }
            let limit = if self.rng.bool() { Duration::ZERO } else { Duration::from_micros(200) };
            io.tick(Some(limit)).unwrap();
            peer.is_finished();
        }
        self.going.retain(|_| self.rng.u32(..8) > 0);
        self.receiving_is_over = self.ends.len() > 0;
        // No more than the loop can work off.
        while io.in_flight() > 30 && !self.receiving_is_over {
            io.tick(Some(Duration::from_millis(1))).unwrap();
            peer.is_finished();
            self.receiving_is_over = self.ends.len() > 0;
        }
    }
}

/// An `all` is `Ok` if and only if it moved all. One of nothing at all may have been ended before its turn.
fn check_whole(bytes: usize, length: usize, result: Result<(), nbio::Error>) {
    assert!(length == 0 || result.is_ok() == (bytes == length), "{bytes} of {length}: {result:?}");
    check_end(result);
}

fn check_end(result: Result<(), nbio::Error>) {
    let kind = kind(result);
    assert!(matches!(kind, None | Some(ErrorKind::Cancelled | ErrorKind::TimedOut)), "{kind:?}");
}

fn received(got: &Moved, ends: &Slot<()>) -> impl FnOnce(&mut (), &Io, Done<Vec<u8>>) + use<> {
    let (got, ends) = (got.clone(), ends.clone());
    move |_, _, done| {
        assert_eq!(done.buf.len(), done.bytes);
        note_end(done.bytes, done.result, &ends);
        got.put(done.buf);
    }
}

fn received_vectored(got: &Moved, ends: &Slot<()>) -> impl FnOnce(&mut (), &Io, Done<[Vec<u8>; 3]>) + use<> {
    let (got, ends) = (got.clone(), ends.clone());
    move |_, _, done| {
        let bytes = done.buf.buffers().concat();
        assert_eq!(bytes.len(), done.bytes);
        note_end(done.bytes, done.result, &ends);
        got.put(bytes);
    }
}

fn note_end(bytes: usize, result: Result<(), nbio::Error>, ends: &Slot<()>) {
    match kind(result) {
        None if bytes > 0 => {}
        None | Some(ErrorKind::UnexpectedEof) => ends.put(()),
        _ => check_end(result),
    }
}

/// Writes in pieces, at moments that have nothing to do with the loop's, and then ends; and reads in pieces to the end.
/// On a second loop it is that loop's moments.
fn both_at_random(peer: Peer, bytes: Vec<u8>, seed: u64) -> Work {
    let theirs = bytes.clone();
    peer.in_a_thread(
        move |mut socket| {
            let to = socket.try_clone()?;
            let writer = std::thread::spawn(move || write_at_random(to, &theirs, seed));
            let read = read_at_random(&mut socket, seed);
            writer.join().expect("it doesn't panic")?;
            read
        },
        |peer| peer.exchange(bytes, true),
    )
}

fn write_at_random(mut to: std::net::TcpStream, bytes: &[u8], seed: u64) -> std::io::Result<()> {
    let mut rng = fastrand::Rng::with_seed(!seed);
    let mut left = bytes;
    while !left.is_empty() {
        let (piece, rest) = left.split_at(rng.usize(1..=left.len().min(900)));
        to.write_all(piece)?;
        left = rest;
        pause(&mut rng);
    }
    to.shutdown(std::net::Shutdown::Write)
}

fn read_at_random(from: &mut std::net::TcpStream, seed: u64) -> std::io::Result<Vec<u8>> {
    let mut rng = fastrand::Rng::with_seed(seed.rotate_left(32) + 1);
    let (mut all, mut piece) = (Vec::new(), vec![0; 8000]);
    loop {
        match from.read(&mut piece[..rng.usize(1..8000)])? {
            0 => return Ok(all),
            bytes => all.extend_from_slice(&piece[..bytes]),
        }
        pause(&mut rng);
    }
}

/// A moment of the peer's own: what it does is not in step with the loop.
fn pause(rng: &mut fastrand::Rng) {
    match rng.u32(..12) {
        0 => std::thread::sleep(Duration::from_micros(rng.u64(..300))),
        1..4 => std::thread::yield_now(),
        _ => {}
    }
}
