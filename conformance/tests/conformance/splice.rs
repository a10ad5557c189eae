//! From one stream to another: what was taken is delivered or comes back.

use std::rc::Rc;
use std::time::Duration;

use nbio::{ErrorKind, Half, Operation, Spliced, TcpStream, op};
use rustix::io::ioctl_fionread;

use crate::support::{Case, Drops, Slot, Subject};
use crate::system::into_std;
use crate::wire::{Io, drive, keep, kind, noise, turn};

pub const CASES: &[Case] = &[
    Case { name: "everything_until_the_end_of_the_stream", run: everything },
    Case { name: "a_limit_takes_no_byte_more", run: a_limit_takes_no_byte_more },
    Case { name: "it_has_its_turn_on_both_streams", run: turns },
    Case { name: "a_stream_may_be_sent_back_to_itself", run: echo },
    Case { name: "cancelled_at_every_step_nothing_is_lost", run: cancelled_at_every_step },
    Case { name: "cancelled_or_late_while_nothing_comes", run: cancelled_while_idle },
    Case { name: "a_full_receiver_strands_what_was_taken", run: stranded },
    Case { name: "removed_with_stranded_bytes_breaks_the_source", run: removed },
    Case { name: "closing_either_end_ends_it", run: closed },
    Case { name: "a_reset_of_either_end_is_told", run: reset },
    Case { name: "stale_handles_are_refused", run: stale },
    Case { name: "dropping_the_loop_in_the_middle", run: dropped },
];

/// Source, the two ends in between, and the last receiver, all on one loop.
struct Line {
    io: Io,
    source: TcpStream,
    from: TcpStream,
    to: TcpStream,
    sink: TcpStream,
}

impl Line {
    fn new(subject: &Subject) -> Line {
        let io: Io = subject.io();
        let (source, from) = subject.both_ends(&io);
        let (to, sink) = subject.both_ends(&io);
        Line { io, source, from, to, sink }
    }

    /// Sends `data` and the end of the stream into the line.
    fn feed(&self, data: &[u8]) {
        self.io.send_all(self.source, data.to_vec(), |_, _, _| ());
        self.io.shutdown(self.source, Half::Write, |_, _, _| ());
    }

    /// All that still comes on a stream until its end.
    fn rest(&self, stream: TcpStream) -> Vec<u8> {
        let (got, over) = (Slot::new(), Slot::new());
        read_on(&self.io, stream, &got, &over);
        drive(&self.io, || over.len() > 0);
        got.take().concat()
    }
}

fn read_on(io: &Io, stream: TcpStream, got: &Slot<Vec<u8>>, over: &Slot<()>) {
    let (got, over) = (got.clone(), over.clone());
    io.recv(stream, vec![0; 50_000], move |_, io, done| {
        if done.bytes == 0 {
            return over.put(());
        }
        got.put(done.data().to_vec());
        read_on(io, stream, &got, &over);
    });
}

/// Guarantee 2: everything is delivered, in order, and counted, though it is more than all buffers on the way.
fn everything(subject: &Subject) {
    let line = Line::new(subject);
    let data = noise(3 << 20, 1);
    line.feed(&data);
    let (ended, got, over) = (Slot::new(), Slot::new(), Slot::new());
    line.io.splice(line.from, line.to, keep(&ended));
    read_on(&line.io, line.sink, &got, &over);
    drive(&line.io, || ended.len() > 0);
    // The end of the stream is not passed on by itself.
    assert_eq!(over.len(), 0);
    line.io.shutdown(line.to, Half::Write, |_, _, _| ());
    drive(&line.io, || over.len() > 0);
    let spliced: Spliced = ended.one();
    assert_eq!((spliced.result, spliced.taken, spliced.delivered), (Ok(()), 3 << 20, 3 << 20));
    assert!(spliced.stranded.is_empty());
    assert!(got.take().concat() == data);
}

/// Guarantee 3: it ends when what was asked for is delivered, and the next byte is the next receive's.
fn a_limit_takes_no_byte_more(subject: &Subject) {
    for limit in [0_u64, 1, 100_000] {
        let line = Line::new(subject);
        let data = noise(100_010, 2);
        line.feed(&data);
        let ended = Slot::new();
        line.io.submit(op::Splice::new(line.from, line.to).limit(limit), keep(&ended));
        let (got, over) = (Slot::new(), Slot::new());
        read_on(&line.io, line.sink, &got, &over);
        drive(&line.io, || ended.len() > 0);
        let spliced: Spliced = ended.one();
        assert_eq!((spliced.result, spliced.taken, spliced.delivered), (Ok(()), limit, limit));
        assert!(line.rest(line.from) == data[limit as usize..]);
        line.io.shutdown(line.to, Half::Write, |_, _, _| ());
        drive(&line.io, || over.len() > 0);
        assert!(got.take().concat() == data[..limit as usize]);
    }
}

/// Guarantee 7: receives and sends that were submitted before it come before it, later ones after it.
fn turns(subject: &Subject) {
    let line = Line::new(subject);
    let (order, ended) = (Slot::new(), Slot::new());
    let put = |what: &'static str| {
        let order = order.clone();
        move |_: &mut (), _: &Io, done: nbio::Done<Vec<u8>>| {
            assert_eq!(done.result, Ok(()));
            order.put((what, done.data().to_vec()));
        }
    };
    line.io.recv_exact(line.from, vec![0; 3], 3, put("received before"));
    line.io.send_all(line.to, b"<".to_vec(), put("sent before"));
    line.io.submit(op::Splice::new(line.from, line.to).limit(200_000), keep(&ended));
    line.io.send_all(line.to, b">".to_vec(), put("sent after"));
    line.io.recv_exact(line.from, vec![0; 3], 3, put("received after"));
    let middle = noise(200_000, 3);
    line.feed(&[b"one", &middle[..], b"two"].concat());
    let got = Slot::new();
    line.io.recv_exact(line.sink, vec![0; 200_002], 200_002, keep(&got));
    line.io.run().unwrap();
    let spliced: Spliced = ended.one();
    assert_eq!((spliced.result, spliced.delivered), (Ok(()), 200_000));
    assert!(got.one().buf == [b"<", &middle[..], b">"].concat());
    let mut order = order.take();
    order.sort();
    let expected = [
        ("received after", b"two".to_vec()),
        ("received before", b"one".to_vec()),
        ("sent after", b">".to_vec()),
        ("sent before", b"<".to_vec()),
    ];
    assert_eq!(order, expected);
}

/// Guarantee 7: both turns may be of one stream, whose bytes then go back where they came from.
fn echo(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, peer) = subject.both_ends(&io);
    let data = noise(30_000, 4);
    let (ended, got) = (Slot::new(), Slot::new());
    io.splice(stream, stream, keep(&ended));
    io.send_all(peer, data.clone(), |_, _, _| ());
    io.shutdown(peer, Half::Write, |_, _, _| ());
    io.recv_exact(peer, vec![0; 30_000], 30_000, keep(&got));
    io.run().unwrap();
    assert_eq!((ended.one().delivered, got.one().buf == data), (30_000, true));
}

/// Guarantee 3: whenever it is cancelled, what was delivered, what is stranded, and what is still to be received are
/// together what was sent, and it tells the counts truly.
fn cancelled_at_every_step(subject: &Subject) {
    let data = noise(400_000, 5);
    let mut cancelled = 0;
    for ticks in 0..40 {
        let line = Line::new(subject);
        line.feed(&data);
        let (ended, got, over) = (Slot::new(), Slot::new(), Slot::new());
        let splice = line.io.splice(line.from, line.to, keep(&ended));
        read_on(&line.io, line.sink, &got, &over);
        turn(&line.io, ticks);
        line.io.cancel(splice);
        drive(&line.io, || ended.len() > 0);
        let spliced: Spliced = ended.one();
        let rest = line.rest(line.from);
        line.io.shutdown(line.to, Half::Write, |_, _, _| ());
        drive(&line.io, || over.len() > 0);
        let delivered = got.take().concat();
        assert_eq!(delivered.len() as u64, spliced.delivered);
        assert_eq!(spliced.taken, spliced.delivered + spliced.stranded.len() as u64);
        assert!([delivered, spliced.stranded, rest].concat() == data);
        match kind(spliced.result) {
            Some(ErrorKind::Cancelled) => cancelled += 1,
            other => assert_eq!((other, spliced.delivered), (None, 400_000)),
        }
        line.io.run().unwrap();
        assert_eq!(line.io.in_flight(), 0);
    }
    assert!(cancelled > 5, "only {cancelled} were cancelled before their end");
}

/// Guarantee 3: one that waits for bytes ends soon, and says which of both it was.
fn cancelled_while_idle(subject: &Subject) {
    let line = Line::new(subject);
    let ended = Slot::new();
    let splice = op::Splice::new(line.from, line.to).timeout(Duration::from_millis(5));
    line.io.submit(splice, keep(&ended));
    let second = line.io.splice(line.from, line.to, keep(&ended));
    line.io.run_until(|| ended.len() == 1).unwrap();
    let spliced: Spliced = ended.one();
    assert_eq!((kind(spliced.result), spliced.taken), (Some(ErrorKind::TimedOut), 0));
    turn(&line.io, 3);
    assert!(line.io.cancel(second));
    line.io.run().unwrap();
    let spliced: Spliced = ended.one();
    assert_eq!((kind(spliced.result), spliced.taken), (Some(ErrorKind::Cancelled), 0));
    // Both streams are as good as before.
    let got = Slot::new();
    line.io.send_all(line.source, "more", |_, _, _| ());
    line.io.recv_exact(line.from, vec![0; 4], 4, keep(&got));
    line.io.run().unwrap();
    assert_eq!(got.one().data(), b"more");
}

/// A line whose receiver doesn't read and whose buffers are full, with a splice that holds bytes.
fn full(subject: &Subject, data: &[u8], ended: &Slot<Spliced>) -> (Line, nbio::OpId) {
    let line = Line::new(subject);
    line.feed(data);
    let splice = line.io.splice(line.from, line.to, keep(ended));
    // It is full when nothing moves any more. In a simulation only time tells; it doesn't depend on the machine there.
    let sockets = [line.from, line.sink].map(|stream| line.io.duplicate(stream).ok());
    let sockets = sockets.map(|socket| socket.map(into_std::<std::net::TcpStream>));
    let unread = || sockets.each_ref().map(|socket| socket.as_ref().map(|it| ioctl_fionread(it).unwrap()));
    let (mut quiet, mut there) = (0, unread());
    while quiet < 50 {
        let before = line.io.now();
        line.io.tick(Some(Duration::from_millis(1))).unwrap();
        let waited = line.io.now() - before >= Duration::from_millis(1);
        let now = unread();
        quiet = if waited && now == there { quiet + 1 } else { 0 };
        there = now;
    }
    assert!(subject.simulated() || there.iter().all(|bytes| bytes.is_some_and(|bytes| bytes > 0)));
    assert_eq!(ended.len(), 0);
    (line, splice)
}

/// Guarantee 3: bytes that were taken and that the receiver doesn't take come back.
fn stranded(subject: &Subject) {
    let data = noise(16 << 20, 6);
    let ended = Slot::new();
    let (line, splice) = full(subject, &data, &ended);
    assert!(line.io.cancel(splice));
    drive(&line.io, || ended.len() > 0);
    let spliced: Spliced = ended.one();
    assert_eq!(kind(spliced.result), Some(ErrorKind::Cancelled));
    assert!(!spliced.stranded.is_empty());
    let (delivered, taken) = (spliced.delivered as usize, spliced.taken as usize);
    assert!(spliced.stranded == data[delivered..taken]);
    assert!(line.rest(line.from) == data[taken..]);
}

/// Guarantee 4: a removed one can't give stranded bytes back, so the source says so.
fn removed(subject: &Subject) {
    let data = noise(16 << 20, 7);
    let ended = Slot::new();
    let (line, splice) = full(subject, &data, &ended);
    let (received, sent) = (Slot::new(), Slot::new());
    line.io.recv(line.from, vec![0; 10], keep(&received));
    line.io.send_all(line.to, "behind", keep(&sent));
    assert!(line.io.remove(splice));
    assert!(!line.io.cancel(splice));
    drive(&line.io, || received.len() + sent.len() == 2);
    let done: nbio::Done<Vec<u8>> = received.one();
    assert_eq!((kind(done.result), done.bytes), (Some(ErrorKind::Broken), 0));
    assert_eq!(kind(sent.one().result), Some(ErrorKind::Cancelled));
    assert_eq!(ended.len(), 0);

    // One that was waiting leaves both streams as they were.
    let line = Line::new(subject);
    let drops = Drops::new();
    let counted = drops.counted();
    let splice = line.io.splice(line.from, line.to, move |_, _, _| drop(counted));
    turn(&line.io, 4);
    assert!(line.io.remove(splice));
    assert_eq!(drops.count(), 1);
    line.feed(b"hello");
    assert_eq!(line.rest(line.from), b"hello");
    line.io.run().unwrap();
    assert_eq!(line.io.in_flight(), 0);
}

/// Guarantee 6: closing the source or the other stream ends it, and nothing is left behind.
fn closed(subject: &Subject) {
    for close_source in [true, false] {
        let line = Line::new(subject);
        let ended = Slot::new();
        line.io.splice(line.from, line.to, keep(&ended));
        turn(&line.io, 4);
        line.io.close(if close_source { line.from } else { line.to });
        line.io.send_all(line.source, "hello", |_, _, _| ());
        drive(&line.io, || ended.len() > 0);
        let spliced: Spliced = ended.one();
        let kind = kind(spliced.result).unwrap();
        assert!(matches!(kind, ErrorKind::Cancelled | ErrorKind::StaleHandle), "{kind:?}");
        assert_eq!(spliced.taken, spliced.stranded.len() as u64);
        line.io.run().unwrap();
        assert_eq!(line.io.in_flight(), 0);
    }
}

/// Guarantee 8 (reset): told apart from the end of the stream, with what was taken.
fn reset(subject: &Subject) {
    let io: Io = subject.io();
    let ((from, source), (to, sink)) = (subject.pair(&io), subject.pair(&io));
    let ended = Slot::new();
    io.splice(from, to, keep(&ended));
    turn(&io, 4);
    source.reset();
    drive(&io, || ended.len() > 0);
    let spliced: Spliced = ended.one();
    assert_eq!((kind(spliced.result), spliced.taken), (Some(ErrorKind::ConnectionReset), 0));
    drop(sink);
    let (from, mut source) = subject.pair(&io);
    std::io::Write::write_all(&mut source, b"nobody reads this").unwrap();
    let (to, sink) = subject.pair(&io);
    sink.reset();
    // The first send may still be taken over by the system; the reset is told by the next one.
    io.splice(from, to, keep(&ended));
    turn(&io, 8);
    let _ = std::io::Write::write_all(&mut source, b"nor this");
    drive(&io, || ended.len() > 0);
    let spliced: Spliced = ended.one();
    let kind = kind(spliced.result).unwrap();
    assert!(matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{kind:?}");
    assert_eq!(spliced.taken, spliced.delivered + spliced.stranded.len() as u64);
}

/// Guarantee 6: by callback, whichever of both it is.
fn stale(subject: &Subject) {
    let line = Line::new(subject);
    let ended = Slot::new();
    line.io.close(line.sink);
    line.io.run().unwrap();
    line.io.splice(line.sink, line.to, keep(&ended));
    line.io.splice(line.from, line.sink, keep(&ended));
    assert_eq!(ended.len(), 0);
    line.io.run().unwrap();
    for spliced in ended.take() {
        let spliced: Spliced = spliced;
        assert_eq!((kind(spliced.result), spliced.taken), (Some(ErrorKind::StaleHandle), 0));
        assert_eq!(spliced.result.unwrap_err().operation(), op::Kind::Splice);
    }
}

/// Guarantee 5: at whatever step the loop is dropped, every callback is dropped once.
fn dropped(subject: &Subject) {
    for ticks in 0..12 {
        let line = Line::new(subject);
        line.feed(&noise(200_000, 8));
        let drops = Drops::new();
        let kept = Rc::new(drops.counted());
        for _ in 0..3 {
            let kept = kept.clone();
            line.io.splice(line.from, line.to, move |_, _, _| drop(kept));
        }
        drop(kept);
        turn(&line.io, ticks);
        drop(line);
        assert_eq!(drops.count(), 1);
    }
}
