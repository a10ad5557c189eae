//! Files, before their time: cancel, deadlines, remove, close, the end of the loop.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use nbio::{Done, Error, ErrorKind, EventLoop, File, OpId, Operation, op};

use crate::disk;
use crate::folder::{Folder, end_of, open, why};
use crate::hanging::{HOUR, Tracked, idle};
use crate::support::{Case, Drops, Slot, Subject};
use crate::system;
use crate::wire::{Io, keep, kind, turn};

pub const CASES: &[Case] = &[
    Case { name: "cancelled_at_any_time_each_ends_once_and_leaves_nothing", run: cancelled_at_any_time },
    Case { name: "removed_at_any_time_each_is_silent_and_leaves_nothing", run: removed_at_any_time },
    Case { name: "done_before_the_cancel_is_ok", run: done_before_the_cancel },
    Case { name: "a_waiting_read_is_cancelled", run: waiting_read_is_cancelled },
    Case { name: "a_waiting_read_is_removed_and_its_buffer_freed_once", run: waiting_read_is_removed },
    Case { name: "an_open_that_waits_calls_back_at_once", run: waiting_open_calls_back_at_once },
    Case { name: "an_open_that_waits_is_closed_when_it_comes_late", run: late_open_is_closed },
    Case { name: "a_removed_read_or_write_breaks_nothing", run: removed_breaks_nothing },
    Case { name: "a_stale_handle_never_reaches_the_next_file", run: stale_handle },
    Case { name: "a_prepared_operation_never_reaches_the_next_file", run: prepared_and_closed },
    Case { name: "a_directory_is_closed_after_what_begins_there", run: directory_closed_after },
    Case { name: "dropping_the_loop_closes_what_was_opened", run: dropping_the_loop },
];

type Results = Slot<Result<(), Error>>;

fn without_bytes<T: 'static>(
    io: &Io,
    ended: &Results,
    operation: impl Operation<Output = Result<T, Error>>,
) -> OpId {
    let ended = ended.clone();
    io.submit(operation, move |_, _, result| ended.put(result.map(drop)))
}

fn with_bytes<B: 'static>(io: &Io, ended: &Results, operation: impl Operation<Output = Done<B>>) -> OpId {
    let ended = ended.clone();
    io.submit(operation, move |_, _, done| ended.put(done.result))
}

/// One of every kind; what an open opens is closed.
fn submit_all(io: &Io, file: File, directory: &Path, ended: &Results) -> Vec<OpId> {
    let opened = ended.clone();
    let name = directory.join("made");
    let open = op::Open::new(&name).write(true).create(true);
    let made = io.submit(open, move |_, io, file: Result<File, Error>| {
        opened.put(file.map(|file| io.close(file)));
    });
    let opened = ended.clone();
    let again = io.submit(op::Open::new(directory), move |_, io, file: Result<File, Error>| {
        opened.put(file.map(|file| io.close(file)));
    });
    vec![
        made,
        again,
        with_bytes(io, ended, op::ReadAt::new(file, vec![0; 4096], 0)),
        with_bytes(io, ended, op::ReadAtVectored::new(file, [vec![0; 4096], vec![0; 10]], 0)),
        with_bytes(io, ended, op::WriteAt::new(file, vec![1; 4096], 0).all()),
        with_bytes(io, ended, op::WriteAtVectored::new(file, [vec![1; 4096], vec![1; 10]], 5).all()),
        without_bytes(io, ended, op::Fsync::new(file)),
        without_bytes(io, ended, op::Fdatasync::new(file)),
        without_bytes(io, ended, op::Stat::of(file)),
        without_bytes(io, ended, op::Stat::new(directory)),
        without_bytes(io, ended, op::Truncate::new(file, 100_000)),
        without_bytes(io, ended, op::Allocate::new(file, 0, 50_000)),
    ]
}

/// Guarantees 2 and 3: ended before it was handed over, in flight, or when it was done, each operation calls back once,
/// with `Cancelled` or what it did, and no descriptor is left.
fn cancelled_at_any_time(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let file = open(&io, folder.at("file"));
    for ticks in [0, 1, 2, 3, 5] {
        for by_handle in [false, true] {
            let ended = Slot::new();
            let ids = submit_all(&io, file, folder.path(), &ended);
            turn(&io, ticks);
            if by_handle {
                // Those that are over are left alone.
                io.cancel_all(file).unwrap();
            }
            for &id in &ids {
                io.cancel(id);
            }
            idle(&io);
            let ended = ended.take();
            assert_eq!(ended.len(), ids.len());
            for result in ended {
                assert!(matches!(kind(result), None | Some(ErrorKind::Cancelled)), "{result:?}");
            }
            assert_eq!(folder.open_descriptors(), 1);
        }
    }
    // A deadline that has passed.
    let stat = end_of(&io, op::Stat::of(file).timeout(Duration::ZERO));
    assert!(matches!(stat.map_err(|error| error.kind()), Ok(_) | Err(ErrorKind::TimedOut)));
    assert_eq!(end_of(&io, op::Fsync::new(file).timeout(HOUR)), Ok(()));
}

/// Guarantee 4.
fn removed_at_any_time(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let file = open(&io, folder.at("file"));
    for ticks in [0, 1, 2, 3, 5] {
        let ended = Slot::new();
        let ids = submit_all(&io, file, folder.path(), &ended);
        turn(&io, ticks);
        let before = ended.len();
        let removed = ids.iter().filter(|&&id| io.remove(id)).count();
        assert_eq!(removed, ids.len() - before);
        idle(&io);
        assert_eq!(ended.len(), before);
        assert_eq!(folder.open_descriptors(), 1);
    }
    assert_eq!(end_of(&io, op::Stat::of(file)).map(|told| told.links), Ok(1));
}

/// Guarantee 3: "an operation that did what was asked ends `Ok`, even if it was cancelled".
fn done_before_the_cancel(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let file = open(&io, folder.file("file", "0123456789"));
    let slot = Slot::new();
    let read = io.read_at(file, [0; 10], 0, keep(&slot));
    // In the page cache: done when it is handed over.
    turn(&io, 1);
    io.cancel(read);
    io.run().unwrap();
    let done: Done<[u8; 10]> = slot.one();
    assert_eq!((done.result, done.bytes), (Ok(()), 10));
}

fn waiting(subject: &Subject) -> (Io, Folder, File) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let fifo = op::Open::new(folder.fifo("fifo")).read(true).write(true);
    let file = end_of(&io, fifo).unwrap();
    (io, folder, file)
}

/// Guarantee 3: a read that waits (of a FIFO) ends with what it has when it is cancelled, late, or its file is closed.
fn waiting_read_is_cancelled(subject: &Subject) {
    let (io, folder, file) = waiting(subject);
    for ticks in [0, 1, 3] {
        let slot = Slot::new();
        let read = io.read_at(file, vec![0; 10], 0, keep(&slot));
        turn(&io, ticks);
        assert!(io.cancel(read));
        io.run().unwrap();
        let done: Done<Vec<u8>> = slot.one();
        assert_eq!((why(&done), done.bytes, done.buf.len()), (Some(ErrorKind::Cancelled), 0, 0));
    }
    let done = end_of(&io, op::ReadAt::new(file, [0; 10], 0).timeout(Duration::from_millis(5)));
    assert_eq!(why(&done), Some(ErrorKind::TimedOut));
    // Half of it had come.
    std::fs::File::options().write(true).open(folder.at("fifo")).unwrap().write_all(b"half").unwrap();
    let exact = op::ReadAt::new(file, vec![0; 8], 0).exact(8).timeout(Duration::from_millis(5));
    let done = end_of(&io, exact);
    assert_eq!(why(&done), Some(ErrorKind::TimedOut));
    if done.bytes == 0 {
        // Too late even for that, where another thread reads: then it is still there.
        assert_eq!(end_of(&io, op::ReadAt::new(file, vec![0; 4], 0).exact(4)).data(), b"half");
    } else {
        assert_eq!(done.data(), b"half");
    }
    let slot = Slot::new();
    io.read_at(file, [0; 10], 0, keep(&slot));
    let vectored = Slot::new();
    io.submit(op::ReadAtVectored::new(file, [[0; 4], [0; 4]], 0), keep(&vectored));
    turn(&io, 1);
    io.close(file);
    io.run().unwrap();
    assert_eq!(why(&slot.one()), Some(ErrorKind::Cancelled));
    assert_eq!(why(&vectored.one()), Some(ErrorKind::Cancelled));
    assert_eq!(folder.open_descriptors(), 0);
}

/// Guarantees 4 and 5.
fn waiting_read_is_removed(subject: &Subject) {
    let (io, _folder, file) = waiting(subject);
    for ticks in [0, 1, 3] {
        let (buffers, callbacks) = (Drops::new(), Drops::new());
        let (buf, counted) = (Tracked::new(100, &buffers), callbacks.counted());
        let read = io.read_at(file, buf, 0, move |_, _, _| drop(counted));
        turn(&io, ticks);
        assert!(io.remove(read) && !io.remove(read) && !io.cancel(read));
        assert_eq!(callbacks.count(), 1);
        idle(&io);
        assert_eq!((buffers.count(), callbacks.count()), (1, 1));
    }
    assert_eq!(end_of(&io, op::WriteAt::new(file, "x", 0)).bytes, 1);
    assert_eq!(end_of(&io, op::ReadAt::new(file, [0; 4], 0)).bytes, 1);
}

/// Opening the writing side of a FIFO that nobody reads, by a way that the kernel doesn't try without waiting.
fn open_that_waits(fifo: &Path) -> op::Open {
    op::Open::new(fifo).write(true).create(true)
}

/// "It lends the system none of the caller's memory, so a cancel or deadline calls back at once."
fn waiting_open_calls_back_at_once(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let fifo = folder.fifo("fifo");
    for ticks in [0, 1, 5] {
        let slot = Slot::new();
        let open = io.submit(open_that_waits(&fifo), keep(&slot));
        turn(&io, ticks);
        assert!(slot.len() == 0 && io.cancel(open));
        turn(&io, 1);
        assert_eq!(kind(slot.one()), Some(ErrorKind::Cancelled));
        idle(&io);
    }
    let late = end_of(&io, open_that_waits(&fifo).timeout(Duration::from_millis(5)));
    assert_eq!(kind(late), Some(ErrorKind::TimedOut));
    idle(&io);
    assert_eq!(folder.open_descriptors(), 0);
}

/// What is opened after the callback was told that it wasn't is closed, and so is what a removed one opens.
fn late_open_is_closed(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let fifo = folder.fifo("fifo");
    for removed in [false, true] {
        let slot = Slot::new();
        let open = io.submit(open_that_waits(&fifo), keep(&slot));
        turn(&io, 5);
        // Its other side comes; whether the kernel then opens it or hears of the cancel first is left open.
        let reader = system::open_fifo_to_read(&fifo);
        assert!(if removed { io.remove(open) } else { io.cancel(open) });
        idle(&io);
        let results = slot.take();
        assert_eq!(results.len(), usize::from(!removed));
        // It had a callback, so whoever asked has it.
        results.into_iter().flatten().for_each(|file| io.close(file));
        idle(&io);
        drop(reader);
        assert_eq!(folder.open_descriptors(), 0);
    }
}

/// Places in files are where they were: nothing is ever `Broken`.
fn removed_breaks_nothing(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let file = open(&io, folder.file("file", vec![7; 1 << 20]));
    for _ in 0..20 {
        let read = io.read_at(file, vec![0; 1 << 20], 0, |_, _, _| panic!("was removed"));
        let write = io.write_all_at(file, vec![7; 1 << 20], 0, |_, _, _| panic!("was removed"));
        turn(&io, 1);
        assert!(io.remove(read) && io.remove(write));
        let done = end_of(&io, op::ReadAt::new(file, vec![0; 100], 5).exact(100));
        assert_eq!((done.result, &done.buf[..]), (Ok(()), &[7; 100][..]));
        assert_eq!(end_of(&io, op::WriteAt::new(file, [7; 3], 0).all()).result, Ok(()));
    }
    idle(&io);
}

/// Guarantee 6: a closed file's name is an error, though its descriptor's number names another file by now.
fn stale_handle(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let (one, two) = (folder.file("one", "one"), folder.file("two", "two"));
    let first = open(&io, &one);
    let number = io.raw(first).ok();
    io.close(first);
    io.run().unwrap();
    // Other cases open and close, too: until the number comes again, or twenty others have.
    let files: Vec<File> = (0..20).map(|_| open(&io, &two)).collect();
    let reused = files.iter().any(|&file| io.raw(file).ok() == number);
    let done = end_of(&io, op::ReadAt::new(first, vec![0; 3], 0));
    assert_eq!((why(&done), done.bytes), (Some(ErrorKind::StaleHandle), 0), "number reused: {reused}");
    let done = end_of(&io, op::WriteAt::new(first, "bad", 0));
    assert_eq!((why(&done), done.buf), (Some(ErrorKind::StaleHandle), "bad"));
    for result in [
        end_of(&io, op::Fsync::new(first)),
        end_of(&io, op::Truncate::new(first, 0)),
        end_of(&io, op::Allocate::new(first, 0, 1)),
        end_of(&io, op::Stat::of(first)).map(drop),
    ] {
        assert_eq!(kind(result), Some(ErrorKind::StaleHandle));
    }
    let other: Io = subject.io();
    assert_eq!(why(&end_of(&other, op::ReadAt::new(files[0], [0; 1], 0))), Some(ErrorKind::WrongLoop));
    assert_eq!(disk::read(&two).unwrap(), b"two");
}

/// Guarantee 6, in one tick: an operation is prepared, its file closed and another opened.
fn prepared_and_closed(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let (one, two) = (folder.file("one", "one"), folder.file("two", "two"));
    for _ in 0..20 {
        let file = open(&io, &one);
        let (read, written) = (Slot::new(), Slot::new());
        io.read_at(file, vec![0; 3], 0, keep(&read));
        io.write_at(file, "one", 0, keep(&written));
        io.close(file);
        let next: Vec<_> = (0..5).map(|_| disk::File::writable(&two).unwrap()).collect();
        io.run().unwrap();
        let done: Done<Vec<u8>> = read.one();
        assert!(done.data() == b"one" || why(&done) == Some(ErrorKind::Cancelled), "{done:?}");
        let done: Done<&str> = written.one();
        assert!(done.bytes == 3 || why(&done) == Some(ErrorKind::Cancelled), "{done:?}");
        drop(next);
    }
    assert_eq!((disk::read(one).unwrap(), disk::read(two).unwrap()), (b"one".into(), b"two".into()));
}

/// Guarantee 6: closing a directory cancels what begins there, and waits for it.
fn directory_closed_after(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    folder.fifo("fifo");
    let directory = end_of(&io, op::Open::new(folder.path()).directory(true)).unwrap();
    let (opened, closed) = (Slot::new(), Slot::new());
    io.submit(op::Open::new("fifo").at(directory).write(true).create(true), keep(&opened));
    turn(&io, 3);
    assert_eq!(io.release(directory).unwrap_err().kind(), ErrorKind::Busy);
    io.close_then(directory, keep(&closed));
    io.run().unwrap();
    let opened: Result<File, Error> = opened.one();
    assert_eq!((kind(opened), closed.one()), (Some(ErrorKind::Cancelled), Ok(())));
    assert_eq!(folder.open_descriptors(), 0);
}

/// The end of the loop closes what is open, and what is opened while it ends.
fn dropping_the_loop(subject: &Subject) {
    let folder = Folder::new();
    let path = folder.file("file", "0123456789");
    for ticks in [0, 1, 2, 3] {
        let io: EventLoop = subject.io();
        let file = open(&io, &path);
        let callbacks = Drops::new();
        for _ in 0..10 {
            let counted = callbacks.counted();
            io.open(&path, move |_, _, _| drop(counted));
            let counted = callbacks.counted();
            let made = op::Open::new(&path).write(true).create(true);
            io.submit(made, move |_, _, _| drop(counted));
        }
        io.read_at(file, vec![0; 10], 0, |_, _, _| ());
        turn(&io, ticks);
        drop(io);
        assert_eq!((callbacks.count(), folder.open_descriptors()), (20, 0));
    }
}
