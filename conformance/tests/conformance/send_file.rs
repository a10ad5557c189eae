//! Sending files: whole or in part, with progress, ended at every step.

use std::cell::RefCell;
use std::io::Read;
use std::rc::Rc;
use std::time::Duration;

use nbio::{ErrorKind, Event, File, Half, Operation, SentFile, TcpStream, op};

use crate::disk;
use crate::folder::{Folder, end_of};
use crate::support::{Case, Drops, Slot, Subject, long};
use crate::wire::{Io, drive, keep, kind, noise, turn};

pub const CASES: &[Case] = &[
    Case { name: "the_whole_file_and_parts_of_it", run: whole_and_parts },
    Case { name: "it_has_its_turn_among_the_sends", run: turns },
    Case { name: "a_file_that_ends_too_early", run: too_short },
    Case { name: "progress_brings_totals_and_then_the_end", run: progress },
    Case { name: "progress_can_be_cancelled_and_removed_by_its_items", run: ended_by_an_item },
    Case { name: "a_panic_of_progress_ends_it", run: panicking_progress },
    Case { name: "cancelled_at_every_step_it_tells_the_truth", run: cancelled_at_every_step },
    Case { name: "late_it_is_timed_out", run: late },
    Case { name: "removed_at_every_step_it_is_silent", run: removed_at_every_step },
    Case { name: "its_file_is_closed_and_the_number_used_again", run: file_closed },
    Case { name: "its_stream_is_closed_or_reset", run: stream_ends },
    Case { name: "bad_input_is_told_by_callback", run: bad_input },
    Case { name: "more_than_4_gib", run: large },
];

/// A file, a stream and its other end, on one loop.
struct Way {
    io: Io,
    folder: Folder,
    file: File,
    stream: TcpStream,
    peer: TcpStream,
}

impl Way {
    fn new(subject: &Subject, contents: &[u8]) -> Way {
        let io: Io = subject.io();
        let (stream, peer) = subject.both_ends(&io);
        let folder = Folder::new();
        let file = end_of(&io, op::Open::new(folder.file("sent", contents))).unwrap();
        Way { io, folder, file, stream, peer }
    }

    /// Receives until the end of the stream.
    fn receive(&self) -> (Slot<Vec<u8>>, Slot<()>) {
        let (got, over) = (Slot::new(), Slot::new());
        read_on(&self.io, self.peer, &got, &over);
        (got, over)
    }

    /// Ends the stream and waits for all that was sent.
    fn all(&self, (got, over): (Slot<Vec<u8>>, Slot<()>)) -> Vec<u8> {
        let stream = self.stream;
        self.io.shutdown(stream, Half::Write, move |_, io, shut| {
            // A broken stream can only be closed.
            if shut.is_err() {
                io.close(stream);
            }
        });
        drive(&self.io, || over.len() > 0);
        got.take().concat()
    }
}

fn read_on(io: &Io, stream: TcpStream, got: &Slot<Vec<u8>>, over: &Slot<()>) {
    let (got, over) = (got.clone(), over.clone());
    io.recv(stream, vec![0; 100_000], move |_, io, done| {
        if done.bytes == 0 {
            return over.put(());
        }
        got.put(done.data().to_vec());
        read_on(io, stream, &got, &over);
    });
}

/// Guarantee 2: every byte in order, and how many they were.
fn whole_and_parts(subject: &Subject) {
    let data = noise((1 << 20) + 1, 1);
    let all = data.len();
    for (offset, length) in [
        (0, None),
        (1, None),
        (300_000, Some(0)),
        (300_000, Some(1)),
        (5, Some(700_000)),
        (all, None),
        (all + 5, None),
    ] {
        let way = Way::new(subject, &data);
        let ended = Slot::new();
        let mut send = op::SendFile::new(way.file, way.stream).offset(offset as u64);
        if let Some(length) = length {
            send = send.length(length);
        }
        way.io.submit(send, keep(&ended));
        let received = way.receive();
        drive(&way.io, || ended.len() > 0);
        let sent: SentFile = ended.one();
        let part = &data[offset.min(all)..];
        let part = &part[..length.map_or(part.len(), |length| length as usize)];
        assert_eq!((sent.bytes, sent.result), (part.len() as u64, Ok(())));
        assert!(way.all(received) == part);
    }
    // A file of 0 bytes.
    let way = Way::new(subject, b"");
    let ended = Slot::new();
    way.io.send_file(way.file, way.stream, keep(&ended));
    way.io.run().unwrap();
    assert_eq!((ended.len(), ended.one().bytes), (1, 0));
}

/// Guarantee 7: no other send comes in between, whenever it was submitted.
fn turns(subject: &Subject) {
    let data = noise(900_000, 2);
    let way = Way::new(subject, &data);
    let ended = Slot::new();
    way.io.send_all(way.stream, "<", |_, _, _| ());
    way.io.send_file(way.file, way.stream, keep(&ended));
    way.io.send_all(way.stream, "|", |_, _, _| ());
    way.io.send_file(way.file, way.stream, keep(&ended));
    way.io.send_all(way.stream, ">", |_, _, _| ());
    let received = way.receive();
    drive(&way.io, || ended.len() == 2);
    assert!(way.all(received) == [b"<", &data[..], b"|", &data[..], b">"].concat());
}

/// Guarantee 8: as with `exact`, an end before what was asked for is an error, with the bytes that there were.
fn too_short(subject: &Subject) {
    let data = noise(300_000, 3);
    let way = Way::new(subject, &data);
    let ended = Slot::new();
    way.io.submit(op::SendFile::new(way.file, way.stream).offset(1).length(300_000), keep(&ended));
    let behind = Slot::new();
    way.io.send_all(way.stream, "behind", keep(&behind));
    let received = way.receive();
    drive(&way.io, || ended.len() + behind.len() == 2);
    let sent: SentFile = ended.one();
    assert_eq!((kind(sent.result), sent.bytes), (Some(ErrorKind::UnexpectedEof), 299_999));
    assert_eq!(sent.result.unwrap_err().operation(), op::Kind::SendFile);
    assert_eq!(kind(behind.one().result), Some(ErrorKind::Cancelled));
    assert!(way.all(received) == data[1..]);
}

/// Guarantee 2: totals that grow, the last one all of it, then one end.
fn progress(subject: &Subject) {
    for size in [0, 1, 2_000_000] {
        let data = noise(size, 4);
        let way = Way::new(subject, &data);
        let (items, ended) = (Rc::new(RefCell::new(Vec::new())), Slot::new());
        let (seen, end) = (items.clone(), ended.clone());
        way.io.submit_many(
            op::SendFile::new(way.file, way.stream).progress(),
            move |_, _, event| match event {
                Event::Item(bytes) => {
                    assert_eq!(end.len(), 0);
                    seen.borrow_mut().push(bytes);
                }
                Event::End(result) => end.put(result),
            },
        );
        let received = way.receive();
        drive(&way.io, || ended.len() > 0);
        assert_eq!(ended.one(), Ok(()));
        assert!(way.all(received) == data);
        let items = items.borrow();
        assert!(items.is_sorted_by(|a, b| a < b), "{items:?}");
        assert_eq!(items.last().copied().unwrap_or(0), size as u64);
        assert!(size < 1_000_000 || items.len() > 2, "{items:?}");
        way.io.run().unwrap();
        assert_eq!(way.io.in_flight(), 0);
    }
}

/// Guarantee 2: a repeating callback that ends itself.
fn ended_by_an_item(subject: &Subject) {
    for remove in [false, true] {
        let way = Way::new(subject, &noise(2_000_000, 5));
        let (ended, items, drops) = (Slot::new(), Slot::new(), Drops::new());
        let (end, item, counted) = (ended.clone(), items.clone(), drops.counted());
        let itself = Rc::new(RefCell::new(None));
        let known = itself.clone();
        let id =
            way.io.submit_many(op::SendFile::new(way.file, way.stream).progress(), move |_, io, event| {
                let _keep = &counted;
                match event {
                    Event::Item(_) => {
                        item.put(());
                        let id = known.borrow().unwrap();
                        assert!(if remove { io.remove(id) } else { io.cancel(id) });
                    }
                    Event::End(result) => end.put(result),
                }
            });
        *itself.borrow_mut() = Some(id);
        let received = way.receive();
        drive(&way.io, || drops.count() == 1);
        let ends: Vec<Result<(), nbio::Error>> = ended.take();
        match remove {
            true => assert!(ends.is_empty() && items.len() == 1),
            false => {
                assert_eq!(ends.len(), 1);
                assert_eq!(kind(ends[0]), Some(ErrorKind::Cancelled));
            }
        }
        assert!(!way.io.cancel(id));
        let behind = Slot::new();
        way.io.send_all(way.stream, "behind", keep(&behind));
        drive(&way.io, || behind.len() > 0);
        let expected = remove.then_some(ErrorKind::Broken);
        assert_eq!(kind(behind.one().result), expected);
        way.all(received);
        way.io.run().unwrap();
        assert_eq!(way.io.in_flight(), 0);
    }
}

/// Guarantee 11: the panic reaches the caller of `tick`; the rest of the file is not sent.
fn panicking_progress(subject: &Subject) {
    let way = Way::new(subject, &noise(4_000_000, 6));
    way.io.submit_many(op::SendFile::new(way.file, way.stream).progress(), |_, _, _| panic!("at an item"));
    let received = way.receive();
    let mut panics = 0;
    while panics == 0 {
        let tick = || way.io.tick(Some(Duration::from_millis(1)));
        panics += usize::from(std::panic::catch_unwind(std::panic::AssertUnwindSafe(tick)).is_err());
    }
    assert!(way.all(received).len() < 4_000_000);
    way.io.run().unwrap();
    assert_eq!(way.io.in_flight(), 0);
}

/// Guarantee 3: whenever it is cancelled, it tells how many bytes went out, and they are the file's first.
fn cancelled_at_every_step(subject: &Subject) {
    let data = noise(1_500_000, 7);
    let mut cancelled = 0;
    for ticks in 0..30 {
        let way = Way::new(subject, &data);
        let ended = Slot::new();
        let id = way.io.send_file(way.file, way.stream, keep(&ended));
        let received = way.receive();
        turn(&way.io, ticks);
        way.io.cancel(id);
        drive(&way.io, || ended.len() > 0);
        let sent: SentFile = ended.one();
        assert!(way.all(received) == data[..sent.bytes as usize]);
        match kind(sent.result) {
            Some(ErrorKind::Cancelled) => cancelled += 1,
            other => assert_eq!((other, sent.bytes), (None, 1_500_000)),
        }
        way.io.run().unwrap();
        assert_eq!(way.io.in_flight(), 0);
    }
    assert!(cancelled > 5, "only {cancelled} were cancelled before their end");
}

/// Guarantee 3: `TimedOut` if its deadline was first, with the bytes that went out.
fn late(subject: &Subject) {
    let data = noise(64 << 20, 8);
    let way = Way::new(subject, &data);
    let ended = Slot::new();
    // Nobody receives: it can't be done in time.
    way.io.submit(op::SendFile::new(way.file, way.stream).timeout(Duration::from_millis(20)), keep(&ended));
    drive(&way.io, || ended.len() > 0);
    let sent: SentFile = ended.one();
    assert_eq!(kind(sent.result), Some(ErrorKind::TimedOut));
    let received = way.receive();
    assert!(way.all(received) == data[..sent.bytes as usize]);
}

/// Guarantee 4: its callback is dropped at once and unrun; the stream is whole if nothing was sent, else `Broken`.
fn removed_at_every_step(subject: &Subject) {
    let data = noise(1_500_000, 9);
    for ticks in 0..12 {
        let way = Way::new(subject, &data);
        let drops = Drops::new();
        let counted = drops.counted();
        let id = way.io.send_file(way.file, way.stream, move |_, _, sent| {
            assert_eq!(sent.bytes, 1_500_000);
            drop(counted);
        });
        let behind = Slot::new();
        way.io.send_all(way.stream, "behind", keep(&behind));
        let received = way.receive();
        turn(&way.io, ticks);
        let removed = way.io.remove(id);
        assert!(!removed || drops.count() == 1);
        drive(&way.io, || behind.len() > 0);
        let end: nbio::Done<&str> = behind.one();
        let got = way.all(received);
        match end.result {
            Ok(()) if removed => assert_eq!(got, b"behind"),
            Ok(()) => assert_eq!(got.len(), 1_500_006),
            Err(error) => {
                assert!(removed && matches!(error.kind(), ErrorKind::Broken | ErrorKind::Cancelled));
                assert!(got == data[..got.len()] && !got.is_empty());
            }
        }
        way.io.run().unwrap();
        assert_eq!((way.io.in_flight(), drops.count()), (0, 1));
    }
}

/// Guarantee 6: never bytes of another file, though that has the descriptor's number now.
fn file_closed(subject: &Subject) {
    let data = vec![b'a'; 3_000_000];
    for ticks in 0..12 {
        let way = Way::new(subject, &data);
        let ended = Slot::new();
        way.io.send_file(way.file, way.stream, keep(&ended));
        let received = way.receive();
        turn(&way.io, ticks);
        way.io.close(way.file);
        let other = way.folder.file("other", vec![b'b'; 3_000_000]);
        let others: Vec<disk::File> = (0..4).map(|_| disk::File::open(&other).unwrap()).collect();
        drive(&way.io, || ended.len() > 0);
        let sent: SentFile = ended.one();
        let ended_by = kind(sent.result);
        let expected = [None, Some(ErrorKind::Cancelled), Some(ErrorKind::StaleHandle)];
        assert!(expected.contains(&ended_by), "{ended_by:?}");
        assert!(way.all(received) == data[..sent.bytes as usize]);
        drop(others);
    }
}

/// Guarantees 6 and 8: with the bytes that went out.
fn stream_ends(subject: &Subject) {
    let data = noise(64 << 20, 10);
    let way = Way::new(subject, &data);
    let ended = Slot::new();
    way.io.send_file(way.file, way.stream, keep(&ended));
    turn(&way.io, 20);
    way.io.close(way.stream);
    drive(&way.io, || ended.len() > 0);
    let sent: SentFile = ended.one();
    assert_eq!(kind(sent.result), Some(ErrorKind::Cancelled));
    let (got, over) = way.receive();
    drive(&way.io, || over.len() > 0);
    assert!(got.take().concat() == data[..sent.bytes as usize]);

    let io: Io = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    let file: File = end_of(&io, op::Open::new(way.folder.at("sent"))).unwrap();
    io.send_file(file, stream, keep(&ended));
    turn(&io, 5);
    subject.hand_over(&io);
    // The file may be read on a thread of the pool.
    peer.until_unread(&io, 1000);
    let mut some = [0; 1000];
    peer.read_exact(&mut some).unwrap();
    peer.reset();
    drive(&io, || ended.len() > 0);
    let sent: SentFile = ended.one();
    assert_eq!(kind(sent.result), Some(ErrorKind::ConnectionReset));
    assert!(sent.bytes >= 1000 && sent.bytes < 64 << 20);
}

/// Guarantee 1: whatever is wrong is told to the callback, with the operation's name.
fn bad_input(subject: &Subject) {
    let way = Way::new(subject, b"hello");
    let (ended, io) = (Slot::new(), &way.io);
    let written = op::Open::new(way.folder.at("written")).write(true).create(true);
    let write_only: File = end_of(io, written).unwrap();
    let directory: File = end_of(io, op::Open::new(way.folder.path())).unwrap();
    let closed: File = end_of(io, op::Open::new(way.folder.at("sent"))).unwrap();
    io.close(closed);
    for (send, expected) in [
        (op::SendFile::new(write_only, way.stream), ErrorKind::BadDescriptor),
        (op::SendFile::new(directory, way.stream), ErrorKind::IsADirectory),
        (op::SendFile::new(closed, way.stream), ErrorKind::StaleHandle),
        (op::SendFile::new(way.file, way.stream).offset(1 << 63), ErrorKind::InvalidInput),
    ] {
        io.submit(send, keep(&ended));
        assert_eq!(ended.len(), 0);
        drive(io, || ended.len() > 0);
        let sent: SentFile = ended.one();
        let error = sent.result.unwrap_err();
        assert_eq!((error.kind(), error.operation(), sent.bytes), (expected, op::Kind::SendFile, 0));
    }
    let stale = way.peer;
    io.close(stale);
    io.send_file(way.file, stale, keep(&ended));
    io.run().unwrap();
    let sent: SentFile = ended.one();
    assert_eq!(kind(sent.result), Some(ErrorKind::StaleHandle));
}

/// Guarantee 2: counts are of 64 bits; a file may be larger than memory. Short form: the last MiB of 4 GiB and more.
fn large(subject: &Subject) {
    let size = (4_u64 << 30) + (3 << 20);
    let offset = if long() { 0 } else { size - (1 << 20) };
    let way = Way::new(subject, b"");
    let sparse = disk::File::create(way.folder.at("sparse")).unwrap();
    sparse.set_len(size).unwrap();
    let file: File = end_of(&way.io, op::Open::new(way.folder.at("sparse"))).unwrap();
    let ended = Slot::new();
    way.io.submit(op::SendFile::new(file, way.stream).offset(offset), keep(&ended));
    let counted = Rc::new(RefCell::new(0_u64));
    count_on(&way.io, way.peer, &counted);
    drive(&way.io, || ended.len() > 0);
    let sent: SentFile = ended.one();
    assert_eq!((sent.bytes, sent.result), (size - offset, Ok(())));
    drive(&way.io, || *counted.borrow() == size - offset);
}

fn count_on(io: &Io, stream: TcpStream, counted: &Rc<RefCell<u64>>) {
    let counted = counted.clone();
    io.recv(stream, vec![0; 1 << 20], move |_, io, done| {
        *counted.borrow_mut() += done.bytes as u64;
        if done.bytes > 0 {
            count_on(io, stream, &counted);
        }
    });
}
