//! Whole files, and memory for unbuffered ones.

use std::io::Write;
use std::time::Duration;

use nbio::{AlignedBuf, Done, ErrorKind, IoBuf, Operation, op};

use crate::disk;
use crate::folder::{Folder, assert_error, end_of, why};
use crate::hanging::{Tracked, idle};
use crate::support::{Case, Drops, Slot, Subject};
use crate::system;
use crate::wire::{Io, keep, kind, noise, turn};

pub const CASES: &[Case] = &[
    Case { name: "read_file_reads_all_there_is", run: read_file },
    Case { name: "read_file_of_what_has_no_length", run: read_file_without_length },
    Case { name: "write_file_makes_and_replaces", run: write_file },
    Case { name: "an_atomic_write_is_all_or_nothing", run: atomic_write },
    Case { name: "whole_files_begin_at_a_directory", run: at_a_directory },
    Case { name: "cancelled_at_every_step_nothing_is_left", run: cancelled_at_every_step },
    Case { name: "removed_at_every_step_nothing_is_left", run: removed_at_every_step },
    Case { name: "dropping_the_loop_at_every_step_leaves_no_descriptor", run: dropped_at_every_step },
    Case { name: "aligned_buffers_are_aligned", run: aligned_buffers },
    Case { name: "unbuffered_reads_and_writes", run: unbuffered },
];

fn read_file(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    for length in [0, 1, 4095, 4096, 4097, 100_000, 3_000_000] {
        let contents = noise(length, 5);
        let read = end_of(&io, op::ReadFile::new(folder.file("file", &contents))).unwrap();
        assert!(read == contents, "{length}");
        assert_eq!(folder.open_descriptors(), 0);
    }
    let nothing = op::ReadFile::new(folder.at("nothing"));
    assert_error(end_of(&io, nothing), ErrorKind::NotFound, op::Kind::ReadFile);
    let directory = op::ReadFile::new(folder.path());
    assert_error(end_of(&io, directory), ErrorKind::IsADirectory, op::Kind::ReadFile);
    let bad = op::ReadFile::new("zero\0byte");
    assert_error(end_of(&io, bad), ErrorKind::InvalidInput, op::Kind::ReadFile);
    // More than any memory.
    let huge = disk::File::create(folder.at("huge")).unwrap();
    if huge.set_len(1 << 43).is_ok() {
        let huge = op::ReadFile::new(folder.at("huge")).timeout(Duration::from_millis(50));
        let kind = kind(end_of(&io, huge)).unwrap();
        assert!(matches!(kind, ErrorKind::OutOfMemory | ErrorKind::TimedOut), "{kind:?}");
        idle(&io);
    }
    assert_eq!(folder.open_descriptors(), 1);
}

/// Files of `/proc` have length 0; a file that grows is read to its end; a FIFO until its other side goes.
fn read_file_without_length(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let status = end_of(&io, op::ReadFile::new("/proc/self/status")).unwrap();
    assert!(status.starts_with(b"Name:") && status.ends_with(b"\n"));
    let fifo = folder.fifo("fifo");
    let other = fifo.clone();
    let writer = std::thread::spawn(move || {
        let mut fifo = std::fs::File::options().write(true).open(other).unwrap();
        fifo.write_all(&noise(200_000, 6)).unwrap();
    });
    // So that the open finds a writer, however the kernel opens it.
    let reader = std::fs::File::options().read(true).write(true).open(&fifo).unwrap();
    let slot = Slot::new();
    io.submit(op::ReadFile::new(&fifo), keep(&slot));
    crate::wire::join(&io, writer);
    drop(reader);
    io.run().unwrap();
    let read: Result<Vec<u8>, nbio::Error> = slot.one();
    assert!(read.unwrap() == noise(200_000, 6));
}

fn write_file(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let path = folder.at("file");
    let contents = noise(1_000_000, 7);
    for atomic in [false, true] {
        for contents in [&contents[..], b"short", b""] {
            let write = op::WriteFile::new(&path, contents.to_vec()).mode(0o640);
            let done = end_of(&io, if atomic { write.atomic() } else { write });
            assert_eq!((done.bytes, done.result, done.buf.len()), (contents.len(), Ok(()), contents.len()));
            assert!(disk::read(&path).unwrap() == contents);
            assert_eq!((folder.names(), folder.open_descriptors()), (vec!["file".to_owned()], 0));
        }
    }
    assert!(system::is_mode(disk::metadata(&path).unwrap().mode(), 0o640));
    for path in [folder.path(), &folder.at("no/where"), "zero\0byte".as_ref(), "".as_ref()] {
        let done = end_of(&io, op::WriteFile::new(path, "text"));
        assert_eq!((done.bytes, done.buf), (0, "text"));
        assert_eq!(done.result.unwrap_err().operation(), op::Kind::WriteFile);
    }
}

fn atomic_write(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let path = folder.file("file", "old");
    let old = disk::File::open(&path).unwrap();
    assert_eq!(end_of(&io, op::WriteFile::new(&path, "new").atomic()).result, Ok(()));
    // Who had the old one open still has that.
    let mut three = [0; 3];
    old.read_exact_at(&mut three, 0).unwrap();
    assert_eq!(&three, b"old");
    assert_eq!(disk::read(&path).unwrap(), b"new");
    disk::create_dir(folder.at("directory")).unwrap();
    let done = end_of(&io, op::WriteFile::new(folder.at("directory"), "x").atomic());
    assert_eq!((why(&done), done.bytes), (Some(ErrorKind::IsADirectory), 0));
    assert_eq!(folder.names(), ["directory", "file"]);
    let done = end_of(&io, op::WriteFile::new("/", "x").atomic());
    assert_eq!(why(&done), Some(ErrorKind::InvalidInput));
}

fn at_a_directory(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let directory = end_of(&io, op::Open::new(folder.path())).unwrap();
    assert_eq!(end_of(&io, op::WriteFile::new("one", "1").at(directory)).result, Ok(()));
    assert_eq!(end_of(&io, op::WriteFile::new("two", "2").at(directory).atomic()).result, Ok(()));
    assert_eq!(end_of(&io, op::ReadFile::new("two").at(directory)), Ok(b"2".to_vec()));
    assert_eq!(folder.names(), ["one", "two"]);
    let (read, written) = (Slot::new(), Slot::new());
    io.submit(op::ReadFile::new("one").at(directory), keep(&read));
    io.submit(op::WriteFile::new("three", "3").at(directory).atomic(), keep(&written));
    turn(&io, 2);
    io.close(directory);
    io.run().unwrap();
    let read: Result<Vec<u8>, nbio::Error> = read.one();
    assert!(matches!(kind(read), None | Some(ErrorKind::Cancelled)));
    let written: Done<&str> = written.one();
    assert!(matches!(why(&written), None | Some(ErrorKind::Cancelled)));
    assert_eq!(folder.names().len(), if written.result.is_ok() { 3 } else { 2 });
    assert_error(
        end_of(&io, op::ReadFile::new("one").at(directory)),
        ErrorKind::StaleHandle,
        op::Kind::ReadFile,
    );
    assert_eq!(folder.open_descriptors(), 0);
}

/// Turns so often that each of the steps is the one under way once.
const MOST_TURNS: usize = 14;

/// Guarantees 2 and 3: each ends once, Ok or `Cancelled`; no descriptor and no temporary file is left.
fn cancelled_at_every_step(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let path = folder.file("file", "old");
    for turns in 0..MOST_TURNS {
        let (read, written, buffers) = (Slot::new(), Slot::new(), Drops::new());
        let reading = io.submit(op::ReadFile::new(&path), keep(&read));
        let buf = Tracked::new(100, &buffers);
        let writing = io.submit(op::WriteFile::new(&path, buf).atomic(), keep(&written));
        turn(&io, turns);
        io.cancel(reading);
        io.cancel(writing);
        idle(&io);
        let read: Result<Vec<u8>, nbio::Error> = read.one();
        assert!(matches!(kind(read), None | Some(ErrorKind::Cancelled)));
        let done: Done<Tracked> = written.one();
        let is_new = disk::read(&path).unwrap() == [7; 100];
        match why(&done) {
            None => assert!(is_new && done.bytes == 100),
            Some(ErrorKind::Cancelled) => assert!(!is_new && done.bytes == 0),
            other => panic!("{other:?}"),
        }
        assert_eq!(done.buf.bytes().len(), 100);
        drop(done);
        assert_eq!((buffers.count(), folder.open_descriptors()), (1, 0));
        assert_eq!(folder.names(), ["file"], "{turns}");
        disk::write(&path, "old").unwrap();
    }
}

/// Guarantee 4.
fn removed_at_every_step(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let path = folder.file("file", "old");
    for turns in 0..MOST_TURNS {
        let (buffers, callbacks) = (Drops::new(), Drops::new());
        let counted = callbacks.counted();
        let reading = io.submit(op::ReadFile::new(&path), move |_, _, _| drop(counted));
        let (buf, counted) = (Tracked::new(100, &buffers), callbacks.counted());
        let write = op::WriteFile::new(&path, buf).atomic();
        let writing = io.submit(write, move |_, _, _| drop(counted));
        turn(&io, turns);
        io.remove(reading);
        io.remove(writing);
        idle(&io);
        assert_eq!((buffers.count(), callbacks.count(), folder.open_descriptors()), (1, 2, 0));
        assert_eq!(folder.names(), ["file"], "{turns}");
    }
}

fn dropped_at_every_step(subject: &Subject) {
    let folder = Folder::new();
    let path = folder.file("file", "old");
    for turns in 0..MOST_TURNS {
        let io: Io = subject.io();
        let buffers = Drops::new();
        io.submit(op::ReadFile::new(&path), |_, _, _| ());
        let buf = Tracked::new(100, &buffers);
        io.submit(op::WriteFile::new(folder.at("other"), buf), |_, _, _| ());
        turn(&io, turns);
        drop(io);
        assert_eq!((buffers.count(), folder.open_descriptors()), (1, 0), "{turns}");
    }
}

fn aligned_buffers(_: &Subject) {
    for alignment in [1, 16, 512, 4096, 1 << 16] {
        for capacity in [0, 1, 4096, 5000] {
            let mut buf = AlignedBuf::new(capacity, alignment);
            assert_eq!((buf.capacity() >= capacity, buf.len(), buf.is_empty()), (true, 0, true));
            assert_eq!(buf.as_ptr().addr() % alignment, 0);
            buf.resize(capacity, 7);
            assert!(buf.len() == capacity && buf.iter().all(|&byte| byte == 7));
            buf.truncate(1);
            assert_eq!(&buf[..], &[7, 7][..capacity.min(1)]);
        }
    }
}

/// O_DIRECT, where the file system has it: memory, offset and length are multiples of 4096.
fn unbuffered(subject: &Subject) {
    const BLOCK: usize = 4096;
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let open = op::Open::new(folder.at("file")).read(true).write(true).create(true);
    let opened = end_of(&io, open.custom_flags(system::O_DIRECT));
    let Ok(file) = opened else {
        assert_eq!(kind(opened), Some(ErrorKind::InvalidInput));
        return;
    };
    let contents = noise(8 * BLOCK, 8);
    let mut buf = AlignedBuf::new(8 * BLOCK, BLOCK);
    buf.extend(&contents);
    let done = end_of(&io, op::WriteAt::new(file, buf, BLOCK as u64).all());
    assert_eq!((done.result, done.bytes), (Ok(()), 8 * BLOCK));
    assert!(disk::read(folder.at("file")).unwrap()[BLOCK..] == contents);
    let done = end_of(&io, op::ReadAt::new(file, AlignedBuf::new(BLOCK, BLOCK), 3 * BLOCK as u64));
    assert_eq!((done.result, done.bytes, done.buf.len()), (Ok(()), BLOCK, BLOCK));
    assert!(done.data() == &contents[2 * BLOCK..3 * BLOCK]);
    // At an odd place, if the device minds.
    let done = end_of(&io, op::ReadAt::new(file, AlignedBuf::new(BLOCK, BLOCK), 1));
    assert!(matches!(why(&done), None | Some(ErrorKind::InvalidInput)));
}
