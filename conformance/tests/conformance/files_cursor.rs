//! Reading and writing at a file's cursor.

use std::io::SeekFrom;
use std::time::Duration;

use nbio::{Done, ErrorKind, File, op};

use crate::disk;
use crate::folder::{Folder, assert_error, end_of, open, why};
use crate::hanging::{Tracked, idle};
use crate::support::{Case, Drops, Slot, Subject};
use crate::wire::{Io, keep, noise, turn};

pub const CASES: &[Case] = &[
    Case { name: "each_begins_where_the_one_before_ended", run: each_begins_where_the_last_ended },
    Case { name: "many_submitted_at_once_take_their_turns", run: many_take_their_turns },
    Case { name: "seek_from_everywhere", run: seek_from_everywhere },
    Case { name: "seek_out_of_range_leaves_the_cursor", run: seek_out_of_range },
    Case { name: "places_and_the_cursor_do_not_meet", run: places_do_not_move_the_cursor },
    Case { name: "one_that_waits_its_turn_is_cancelled_at_once", run: waiting_one_is_cancelled },
    Case { name: "a_removed_read_moves_the_cursor_and_breaks_nothing", run: removed_breaks_nothing },
    Case { name: "the_cursor_goes_along_to_another_loop", run: cursor_goes_along },
    Case { name: "bad_input_at_the_cursor", run: bad_input },
];

fn each_begins_where_the_last_ended(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let path = folder.at("file");
    let file = open(&io, &path);
    assert_eq!(end_of(&io, op::Write::new(file, "hello, ").all()).bytes, 7);
    assert_eq!(end_of(&io, op::Write::new(file, "world")).bytes, 5);
    assert_eq!(disk::read(&path).unwrap(), b"hello, world");
    let done = end_of(&io, op::Read::new(file, [0; 4]));
    assert_eq!((done.bytes, done.result), (0, Ok(())));
    assert_eq!(end_of(&io, op::Seek::new(file, SeekFrom::Start(0))), Ok(0));
    assert_eq!(&end_of(&io, op::Read::new(file, [0; 7]).exact(7)).buf, b"hello, ");
    let done = end_of(&io, op::Read::new(file, b"big ".to_vec().also_room_for(20)).append());
    assert_eq!((done.data(), &done.buf[..]), (&b"world"[..], &b"big world"[..]));
    let done = end_of(&io, op::Read::new(file, [0; 4]).exact(4));
    assert_eq!((why(&done), done.bytes), (Some(ErrorKind::UnexpectedEof), 0));
}

trait Room {
    fn also_room_for(self, bytes: usize) -> Self;
}

impl Room for Vec<u8> {
    fn also_room_for(mut self, bytes: usize) -> Vec<u8> {
        self.reserve_exact(bytes);
        self
    }
}

/// "Reads, writes and seeks at the cursor of one file take their turns in the order in which they were submitted."
fn many_take_their_turns(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let path = folder.at("file");
    let file = open(&io, &path);
    let mut random = fastrand::Rng::with_seed(3);
    let contents = noise(300_000, 4);
    let mut at = 0;
    let mut order = 0;
    let ended = Slot::new();
    while at < contents.len() {
        let end = contents.len().min(at + random.usize(0..5000));
        let (nth, ended) = (order, ended.clone());
        io.write_all(file, contents[at..end].to_vec(), move |_, _, done| ended.put((nth, done.result)));
        (at, order) = (end, order + 1);
    }
    let sought = Slot::new();
    io.seek(file, SeekFrom::Start(0), keep(&sought));
    let read = Slot::new();
    for _ in 0..100 {
        let read = read.clone();
        let length = random.usize(1..6000);
        io.read(file, vec![0; length], move |_, _, done| {
            assert_eq!(done.result, Ok(()));
            read.put(done.data().to_vec());
        });
    }
    io.run().unwrap();
    assert_eq!(sought.one(), Ok(0));
    assert!(disk::read(&path).unwrap() == contents);
    let ended = ended.take();
    assert!(ended.iter().enumerate().all(|(at, &(nth, result))| (nth, result) == (at, Ok(()))));
    let read = read.take().concat();
    assert!(read.len() > 100_000 && read == contents[..read.len()]);
}

fn seek_from_everywhere(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let file = open(&io, folder.file("file", "0123456789"));
    let seek = |to| end_of(&io, op::Seek::new(file, to));
    let read = || end_of(&io, op::Read::new(file, [b'-'; 3])).buf;
    assert_eq!(seek(SeekFrom::Current(0)), Ok(0));
    assert_eq!((seek(SeekFrom::End(-4)), read()), (Ok(6), *b"678"));
    assert_eq!((seek(SeekFrom::Current(-5)), read()), (Ok(4), *b"456"));
    assert_eq!((seek(SeekFrom::Start(8)), read()), (Ok(8), *b"89-"));
    assert_eq!((seek(SeekFrom::End(0)), read()), (Ok(10), *b"---"));
    assert_eq!(seek(SeekFrom::End(5)), Ok(15));
    assert_eq!(end_of(&io, op::Write::new(file, "!").all()).bytes, 1);
    assert_eq!(disk::read(folder.at("file")).unwrap(), b"0123456789\0\0\0\0\0!");
    assert_eq!(seek(SeekFrom::Start(6 << 32)), Ok(6 << 32));
    assert_eq!(end_of(&io, op::Write::new(file, "far").all()).bytes, 3);
    assert_eq!(seek(SeekFrom::End(-3)), Ok(6 << 32));
    assert_eq!(read(), *b"far");
}

fn seek_out_of_range(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let file = open(&io, folder.file("file", "0123456789"));
    let seek = |to| end_of(&io, op::Seek::new(file, to));
    assert_eq!(seek(SeekFrom::Start(5)), Ok(5));
    for to in [
        SeekFrom::Start(1 << 63),
        SeekFrom::Start(u64::MAX),
        SeekFrom::Current(-6),
        SeekFrom::Current(i64::MAX),
        SeekFrom::Current(i64::MIN),
        SeekFrom::End(-11),
        SeekFrom::End(i64::MAX),
        SeekFrom::End(i64::MIN),
    ] {
        assert_error(seek(to), ErrorKind::InvalidInput, op::Kind::Seek);
        assert_eq!(seek(SeekFrom::Current(0)), Ok(5), "{to:?}");
    }
    let end = i64::MAX as u64;
    assert_eq!(seek(SeekFrom::Start(end)), Ok(end));
    let done = end_of(&io, op::Read::new(file, vec![0; 1]));
    assert_eq!((why(&done), done.buf.len()), (Some(ErrorKind::InvalidInput), 0));
    assert_eq!(why(&end_of(&io, op::Write::new(file, "x"))), Some(ErrorKind::InvalidInput));
    assert_eq!(seek(SeekFrom::Current(0)), Ok(end));
}

/// The cursor is nbio's: neither reads at places nor whoever shares the descriptor moves it.
fn places_do_not_move_the_cursor(subject: &Subject) {
    use std::io::{Read, Seek};
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let mut std = std::fs::File::open(folder.file("file", "0123456789")).unwrap();
    std.seek(SeekFrom::Start(7)).unwrap();
    let file: File = io.adopt(std.try_clone().unwrap()).unwrap();
    assert_eq!(&end_of(&io, op::Read::new(file, [0; 2])).buf, b"01");
    assert_eq!(&end_of(&io, op::ReadAt::new(file, [0; 2], 5)).buf, b"56");
    assert_eq!(&end_of(&io, op::Read::new(file, [0; 2])).buf, b"23");
    let mut three = [0; 3];
    std.read_exact(&mut three).unwrap();
    assert_eq!(&three, b"789");
}

/// A file whose reads wait for bytes.
fn fifo(subject: &Subject) -> (Io, Folder, File) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let fifo = op::Open::new(folder.fifo("fifo")).read(true).write(true);
    let file = end_of(&io, fifo).unwrap();
    (io, folder, file)
}

/// "One that is cancelled, or late, before its turn has come ends without waiting."
fn waiting_one_is_cancelled(subject: &Subject) {
    let (io, _folder, file) = fifo(subject);
    let (first, second, third, sought) = (Slot::new(), Slot::new(), Slot::new(), Slot::new());
    io.read(file, vec![0; 10], keep(&first));
    let queued = io.read(file, vec![0; 10], keep(&second));
    io.submit(nbio::Operation::timeout(op::Write::new(file, "late"), Duration::ZERO), keep(&third));
    let seek = io.seek(file, SeekFrom::Start(3), keep(&sought));
    turn(&io, 2);
    assert!(io.cancel(queued) && io.cancel(seek));
    turn(&io, 2);
    let done: Done<Vec<u8>> = second.one();
    assert_eq!((why(&done), first.len()), (Some(ErrorKind::Cancelled), 0));
    assert_eq!(why(&third.one()), Some(ErrorKind::TimedOut));
    assert_eq!(sought.one().map_err(|error| error.kind()), Err(ErrorKind::Cancelled));
    // Not in its lane: so it isn't held up.
    assert_eq!(end_of_one(&io, op::WriteAt::new(file, "at last", 0)).bytes, 7);
    io.run().unwrap();
    let done: Done<Vec<u8>> = first.one();
    assert_eq!((done.data(), done.result), (&b"at last"[..], Ok(())));
    assert_eq!(end_of(&io, op::Seek::new(file, SeekFrom::Current(0))), Ok(7));
    // Closed with one in flight and one behind it.
    io.read(file, vec![0; 10], keep(&first));
    io.read(file, vec![0; 10], keep(&second));
    turn(&io, 1);
    io.close(file);
    io.run().unwrap();
    assert_eq!([first.one(), second.one()].map(|done| why(&done)), [Some(ErrorKind::Cancelled); 2]);
}

/// As `end_of`, while others wait.
fn end_of_one<O: nbio::Operation>(io: &Io, operation: O) -> O::Output {
    let slot = Slot::new();
    io.submit(operation, keep(&slot));
    crate::wire::drive(io, || slot.len() > 0);
    slot.one()
}

/// Guarantee 4, of files: the cursor is known whatever happens.
fn removed_breaks_nothing(subject: &Subject) {
    let (io, _folder, file) = fifo(subject);
    let buffers = Drops::new();
    let exact = op::Read::new(file, Tracked::new(10, &buffers)).exact(10);
    let removed = io.submit(exact, |_, _, _| panic!("was removed"));
    let behind = Slot::new();
    io.read(file, vec![0; 10], keep(&behind));
    assert_eq!(end_of_one(&io, op::WriteAt::new(file, "half", 0)).bytes, 4);
    // Until it has taken that.
    let look = io.duplicate(file).unwrap();
    crate::wire::drive(&io, || crate::system::unread(&look) == 0);
    turn(&io, 3);
    assert!(io.remove(removed));
    assert_eq!(end_of_one(&io, op::WriteAt::new(file, "rest", 0)).bytes, 4);
    idle(&io);
    let done: Done<Vec<u8>> = behind.one();
    // What came for the removed one is lost with it, as far as it had taken it.
    assert!(done.result == Ok(()) && b"halfrest".ends_with(done.data()), "{done:?}");
    assert_eq!(buffers.count(), 1);
    assert_eq!(end_of(&io, op::Seek::new(file, SeekFrom::Current(0))), Ok(8));
}

fn cursor_goes_along(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let file = open(&io, folder.file("file", "0123456789"));
    assert_eq!(end_of(&io, op::Seek::new(file, SeekFrom::Start(6))), Ok(6));
    let other: Io = subject.io();
    let file = other.attach(io.detach(file).unwrap()).unwrap();
    assert_eq!(&end_of(&other, op::Read::new(file, [0; 2])).buf, b"67");
    // A file that comes to the same place in the table begins at 0.
    let next: File = end_of(&io, op::Open::new(folder.at("file"))).unwrap();
    assert_eq!(&end_of(&io, op::Read::new(next, [0; 2])).buf, b"01");
}

fn bad_input(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let path = folder.file("file", "0123456789");
    let file = end_of(&io, op::Open::new(&path)).unwrap();
    assert_eq!(why(&end_of(&io, op::Read::new(file, Vec::new()))), Some(ErrorKind::InvalidInput));
    assert_eq!(why(&end_of(&io, op::Read::new(file, [0; 2]).exact(3))), Some(ErrorKind::InvalidInput));
    assert_eq!(end_of(&io, op::Read::new(file, [0; 2]).exact(0)).result, Ok(()));
    assert_eq!(end_of(&io, op::Write::new(file, "")).result, Ok(()));
    let done = end_of(&io, op::Write::new(file, "x"));
    assert_eq!((why(&done), done.bytes), (Some(ErrorKind::BadDescriptor), 0));
    assert_eq!(done.result.unwrap_err().operation(), op::Kind::Write);
    assert_eq!(&end_of(&io, op::Read::new(file, [0; 2])).buf, b"01");
    io.close(file);
    let done = end_of(&io, op::Read::new(file, [0; 2]));
    assert_eq!(why(&done), Some(ErrorKind::StaleHandle));
    let seek = end_of(&io, op::Seek::new(file, SeekFrom::Current(0)));
    assert_error(seek, ErrorKind::StaleHandle, op::Kind::Seek);
}
