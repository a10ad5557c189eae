//! Files: opening, reading and writing at places, lengths and space.

use std::time::Duration;

use nbio::{ErrorKind, File, FileType, op};

use crate::disk;
use crate::folder::{Folder, assert_error, end_of, open, why};
use crate::support::{Case, Slot, Subject};
use crate::system::{self, MetadataExt, PermissionsExt};
use crate::wire::{Io, keep, noise};

pub const CASES: &[Case] = &[
    Case { name: "what_is_written_at_places_is_read_there", run: places },
    Case { name: "any_number_of_reads_and_writes_at_once", run: many_at_once },
    Case { name: "vectored_reads_and_writes", run: vectored },
    Case { name: "reads_append_and_cut", run: reads_append_and_cut },
    Case { name: "unfit_buffers_and_offsets", run: unfit_buffers_and_offsets },
    Case { name: "offsets_beyond_4_gib_and_near_the_end_of_numbers", run: large_offsets },
    Case { name: "open_ways", run: open_ways },
    Case { name: "open_errors", run: open_errors },
    Case { name: "open_begins_at_a_directory", run: open_at },
    Case { name: "wrong_ways_of_use", run: wrong_ways_of_use },
    Case { name: "stat_knows_what_std_knows", run: stat_knows },
    Case { name: "lengths_and_space", run: lengths_and_space },
    Case { name: "fsync_of_files_and_directories", run: fsync },
    Case { name: "files_are_adopted_released_and_moved", run: adopted_released_moved },
];

/// Offsets count from the file's beginning; the end of the file is 0 bytes, or `UnexpectedEof` for `exact`.
fn places(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let path = folder.at("file");
    let file = open(&io, &path);
    assert_eq!(end_of(&io, op::WriteAt::new(file, "world", 7).all()).bytes, 5);
    let done = end_of(&io, op::WriteAt::new(file, "hello, ", 0));
    assert_eq!((done.bytes, done.result, done.buf), (7, Ok(()), "hello, "));
    assert_eq!(disk::read(&path).unwrap(), b"hello, world");
    let done = end_of(&io, op::ReadAt::new(file, Vec::with_capacity(100), 7));
    assert_eq!((done.data(), done.buf.len(), done.result), (&b"world"[..], 5, Ok(())));
    let done = end_of(&io, op::ReadAt::new(file, [0; 4], 1).exact(3));
    assert_eq!((done.buf, done.bytes), (*b"ell\0", 3));
    let done = end_of(&io, op::ReadAt::new(file, vec![0; 10], 5).exact(10));
    assert_eq!((done.data(), why(&done)), (&b", world"[..], Some(ErrorKind::UnexpectedEof)));
    assert_eq!(done.result.unwrap_err().operation(), op::Kind::ReadAt);
    for offset in [12, 13, 1 << 40] {
        let done = end_of(&io, op::ReadAt::new(file, vec![1; 10], offset));
        assert_eq!((done.bytes, done.buf.len(), done.result), (0, 0, Ok(())));
    }
    // A hole reads as zeros.
    assert_eq!(end_of(&io, op::WriteAt::new(file, "!", 10_000).all()).bytes, 1);
    let done = end_of(&io, op::ReadAt::new(file, vec![1; 9990], 11).exact(9990));
    assert!(done.data()[0] == b'd' && done.data()[1..9989].iter().all(|&byte| byte == 0));
    assert_eq!(done.data()[9989], b'!');
}

/// "Reads and writes at places have no order: any number of them are done at the same time."
fn many_at_once(subject: &Subject) {
    const BLOCK: usize = 4096;
    const BLOCKS: usize = 300;
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let path = folder.at("file");
    let file = open(&io, &path);
    let contents = noise(BLOCK * BLOCKS, 1);
    let mut order: Vec<usize> = (0..BLOCKS).collect();
    fastrand::Rng::with_seed(2).shuffle(&mut order);
    for &block in &order {
        let bytes = contents[block * BLOCK..][..BLOCK].to_vec();
        io.write_all_at(file, bytes, (block * BLOCK) as u64, |_, _, done| assert_eq!(done.result, Ok(())));
    }
    io.run().unwrap();
    assert!(disk::read(&path).unwrap() == contents);
    let read = Slot::new();
    for &block in &order {
        let (read, offset) = (read.clone(), (block * BLOCK) as u64);
        io.read_exact_at(file, Vec::with_capacity(BLOCK), BLOCK, offset, move |_, _, done| {
            read.put((block, done.data().to_vec()));
        });
    }
    io.run().unwrap();
    let read = read.take();
    assert_eq!(read.len(), BLOCKS);
    assert!(read.iter().all(|(block, bytes)| *bytes == contents[block * BLOCK..][..BLOCK]));
}

/// Guarantee 2, for several buffers: totals, lengths of buffers, `exact` and `all`.
fn vectored(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let path = folder.at("file");
    let file = open(&io, &path);
    let parts: Vec<Vec<u8>> = (0..1024).map(|at| vec![at as u8; at % 7]).collect();
    let contents = parts.concat();
    let done = end_of(&io, op::WriteAtVectored::new(file, parts.clone(), 3).all());
    assert_eq!((done.bytes, done.result, done.buf.len()), (contents.len(), Ok(()), 1024));
    assert_eq!(disk::read(&path).unwrap()[3..], contents);
    let bufs: Vec<Vec<u8>> = parts.iter().map(|part| Vec::with_capacity(part.len())).collect();
    let done = end_of(&io, op::ReadAtVectored::new(file, bufs, 3).exact(contents.len()));
    assert_eq!((done.bytes, done.result), (contents.len(), Ok(())));
    assert_eq!(done.buf.concat(), contents);
    // The last is not filled, and those that nothing came into are empty.
    let bufs = [vec![9; 2000], vec![9; 2000], vec![9; 10]];
    let done = end_of(&io, op::ReadAtVectored::new(file, bufs, 3));
    assert_eq!((done.bytes, done.result), (contents.len(), Ok(())));
    assert_eq!(done.buf.map(|buf| buf.len()), [2000, contents.len() - 2000, 0]);
    let done =
        end_of(&io, op::ReadAtVectored::new(file, [vec![9; 2], vec![0; 8]], contents.len() as u64).exact(9));
    assert_eq!((done.bytes, why(&done)), (3, Some(ErrorKind::UnexpectedEof)));
    let done = end_of(&io, op::WriteAtVectored::new(file, vec!["x"; 1025], 0).all());
    assert_eq!((done.bytes, why(&done), done.buf.len()), (0, Some(ErrorKind::InvalidInput), 1025));
    let done = end_of(&io, op::ReadAtVectored::new(file, vec![vec![0; 1]; 1025], 0));
    assert_eq!((done.bytes, why(&done), done.buf.len()), (0, Some(ErrorKind::InvalidInput), 1025));
    let done = end_of(&io, op::WriteAtVectored::new(file, Vec::<Vec<u8>>::new(), 0));
    assert_eq!((done.bytes, done.result), (0, Ok(())));
}

/// `append` keeps what a buffer holds; `exact` cuts what is read into.
fn reads_append_and_cut(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let file = open(&io, folder.file("file", "0123456789"));
    let mut kept = b"kept".to_vec();
    kept.reserve_exact(6);
    let done = end_of(&io, op::ReadAt::new(file, kept, 2).append().exact(5));
    assert_eq!((done.data(), done.bytes, &done.buf[..]), (&b"23456"[..], 5, &b"kept23456"[..]));
    let filled = done.filled();
    assert_eq!(nbio::IoBuf::bytes(&filled), b"23456");
    let done = end_of(&io, op::ReadAt::new(file, vec![0; 10], 0).append().exact(0));
    assert_eq!((done.bytes, done.result, done.buf.len()), (0, Ok(()), 10));
    let two = [b"a".to_vec(), b"b".to_vec()].map(|mut buf| {
        buf.reserve_exact(3);
        buf
    });
    let done = end_of(&io, op::ReadAtVectored::new(file, two, 0).append().exact(5));
    assert_eq!(done.buf, [b"a012".to_vec(), b"b34".to_vec()]);
}

/// Guarantee 1: bad input is told to the callback, names the operation, and brings the buffer back.
fn unfit_buffers_and_offsets(subject: &Subject) {
    const END: u64 = i64::MAX as u64;
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let file = open(&io, folder.file("file", "0123456789"));
    let read = |buf: Vec<u8>, offset| end_of(&io, op::ReadAt::new(file, buf, offset));
    assert_eq!(why(&read(Vec::new(), 0)), Some(ErrorKind::InvalidInput));
    for (length, offset) in [(1, END), (10, END - 9), (1, END + 1), (1, u64::MAX), (10, u64::MAX - 5)] {
        let done = read(vec![0; length], offset);
        assert_eq!((why(&done), done.bytes, done.buf.len()), (Some(ErrorKind::InvalidInput), 0, 0));
        let done = end_of(&io, op::WriteAt::new(file, vec![0; length], offset).all());
        assert_eq!((why(&done), done.buf.len()), (Some(ErrorKind::InvalidInput), length));
        let done = end_of(&io, op::WriteAtVectored::new(file, [vec![0; length]], offset));
        assert_eq!(why(&done), Some(ErrorKind::InvalidInput));
        let done = end_of(&io, op::ReadAtVectored::new(file, [vec![0; length]], offset).exact(length));
        assert_eq!(why(&done), Some(ErrorKind::InvalidInput));
    }
    let done = end_of(&io, op::ReadAt::new(file, [0; 4], 0).exact(5));
    assert_eq!(why(&done), Some(ErrorKind::InvalidInput));
    let done = end_of(&io, op::ReadAt::new(file, [0; 4], 0).exact(0));
    assert_eq!((done.bytes, done.result), (0, Ok(())));
    let done = end_of(&io, op::WriteAt::new(file, "", 5).all());
    assert_eq!((done.bytes, done.result), (0, Ok(())));
    let kinds = [op::Kind::Truncate, op::Kind::Allocate];
    assert_error(end_of(&io, op::Truncate::new(file, END + 1)), ErrorKind::InvalidInput, kinds[0]);
    for (offset, length) in [(0, 0), (0, END + 1), (END, 1), (u64::MAX, u64::MAX)] {
        let allocated = end_of(&io, op::Allocate::new(file, offset, length));
        assert_error(allocated, ErrorKind::InvalidInput, kinds[1]);
    }
    assert_eq!(disk::read(folder.at("file")).unwrap(), b"0123456789");
}

/// Offsets and sizes have 63 bits.
fn large_offsets(subject: &Subject) {
    const END: u64 = i64::MAX as u64;
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let path = folder.at("file");
    let file = open(&io, &path);
    for offset in [(1 << 32) - 2, (1 << 32) + 7, (5 << 32) + 1] {
        assert_eq!(end_of(&io, op::WriteAt::new(file, "far away", offset).all()).bytes, 8);
        let done = end_of(&io, op::ReadAt::new(file, [0; 10], offset - 1).exact(9));
        assert_eq!(&done.buf[..9], b"\0far away");
        let mut std = [0; 8];
        disk::File::open(&path).unwrap().read_exact_at(&mut std, offset).unwrap();
        assert_eq!(&std, b"far away");
        assert_eq!(end_of(&io, op::Stat::of(file)).unwrap().size, offset + 8);
    }
    assert_eq!(end_of(&io, op::Truncate::new(file, (3 << 32) + 5)), Ok(()));
    assert_eq!(disk::metadata(&path).unwrap().len(), (3 << 32) + 5);
    // What no file system holds: it says so, or that it is behind the end.
    let done = end_of(&io, op::ReadAt::new(file, [0; 10], END - 10));
    assert_eq!((done.bytes, done.result), (0, Ok(())));
    let done = end_of(&io, op::WriteAt::new(file, [1; 10], END - 10));
    assert_eq!((done.bytes, why(&done)), (0, Some(ErrorKind::FileTooLarge)));
    assert_error(end_of(&io, op::Truncate::new(file, END)), ErrorKind::FileTooLarge, op::Kind::Truncate);
}

/// Each way of opening does what it says.
fn open_ways(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let path = folder.file("file", "0123456789");
    let opened = |open: op::Open| end_of(&io, open).unwrap();
    let reads = opened(op::Open::new(&path));
    assert_eq!(end_of(&io, op::ReadAt::new(reads, [0; 10], 0)).bytes, 10);
    if !subject.simulated() {
        assert!(system::closes_on_exec(io.duplicate(reads).unwrap()));
    }
    let appends = opened(op::Open::new(&path).append(true));
    assert_eq!(end_of(&io, op::WriteAt::new(appends, "ab", 0).all()).bytes, 2);
    assert_eq!(disk::read(&path).unwrap(), b"0123456789ab");
    opened(op::Open::new(&path).write(true).create(true));
    assert_eq!(disk::metadata(&path).unwrap().len(), 12);
    opened(op::Open::new(&path).write(true).truncate(true));
    assert_eq!(disk::metadata(&path).unwrap().len(), 0);
    let new = folder.at("new");
    opened(op::Open::new(&new).write(true).create_new(true).mode(0o600));
    assert_eq!(disk::metadata(&new).unwrap().mode() & 0o7777, 0o600);
    let directory = opened(op::Open::new(folder.path()).directory(true));
    assert_eq!(end_of(&io, op::Stat::of(directory)).unwrap().file_type, FileType::Directory);
    let temporary = op::Open::new(folder.path()).write(true).custom_flags(system::O_TMPFILE);
    if subject.simulated() {
        // Whose flags would they be?
        assert_error(end_of(&io, temporary), ErrorKind::Unsupported, op::Kind::Open);
    } else {
        assert_eq!(end_of(&io, op::WriteAt::new(opened(temporary), "gone", 0)).bytes, 4);
    }
    assert_eq!(folder.names(), ["file", "new"]);
}

/// Guarantee 8: each failure has its kind, and no descriptor is left of it.
fn open_errors(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let path = folder.file("file", "");
    disk::symlink("file", folder.at("link")).unwrap();
    disk::symlink("loop", folder.at("loop")).unwrap();
    let long = folder.at(&"x".repeat(300));
    let fails = |open: op::Open, kind| assert_error(end_of(&io, open), kind, op::Kind::Open);
    fails(op::Open::new(folder.at("nothing")), ErrorKind::NotFound);
    fails(op::Open::new(""), ErrorKind::NotFound);
    fails(op::Open::new(&path).write(true).create_new(true), ErrorKind::AlreadyExists);
    fails(op::Open::new(folder.path()).write(true), ErrorKind::IsADirectory);
    fails(op::Open::new(&path).directory(true), ErrorKind::NotADirectory);
    fails(op::Open::new(path.join("below")), ErrorKind::NotADirectory);
    fails(op::Open::new(folder.at("link")).nofollow(true), ErrorKind::FilesystemLoop);
    fails(op::Open::new(folder.at("loop")), ErrorKind::FilesystemLoop);
    fails(op::Open::new(long), ErrorKind::InvalidFilename);
    fails(op::Open::new("zero\0byte"), ErrorKind::InvalidInput);
    fails(op::Open::new(&path).create(true), ErrorKind::InvalidInput);
    fails(op::Open::new(&path).truncate(true), ErrorKind::InvalidInput);
    fails(op::Open::new(&path).create_new(true), ErrorKind::InvalidInput);
    fails(op::Open::new(&path).append(true).truncate(true), ErrorKind::InvalidInput);
    if !subject.simulated() {
        fails(op::Open::new("/proc/self/exe").write(true), ErrorKind::ExecutableFileBusy);
        fails(op::Open::new("/proc/new").write(true).create(true), ErrorKind::NotFound);
    }
    assert_eq!((folder.open_descriptors(), io.in_flight()), (0, 0));
}

/// Relative paths begin at a directory's handle, wherever that was moved to meanwhile; others don't care.
fn open_at(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    disk::create_dir(folder.at("before")).unwrap();
    let directory = end_of(&io, op::Open::new(folder.at("before")).directory(true)).unwrap();
    disk::rename(folder.at("before"), folder.at("after")).unwrap();
    let new = op::Open::new("file").at(directory).write(true).create(true);
    let file = end_of(&io, new).unwrap();
    assert_eq!(end_of(&io, op::WriteAt::new(file, "here", 0).all()).bytes, 4);
    assert_eq!(disk::read(folder.at("after/file")).unwrap(), b"here");
    assert_eq!(end_of(&io, op::Stat::new("file").at(directory)).unwrap().size, 4);
    let absolute = op::Stat::new(folder.path()).at(directory);
    assert_eq!(end_of(&io, absolute).unwrap().file_type, FileType::Directory);
    assert_error(end_of(&io, op::Stat::new("nothing").at(directory)), ErrorKind::NotFound, op::Kind::Stat);
    assert_error(end_of(&io, op::Stat::new("").at(directory)), ErrorKind::NotFound, op::Kind::Stat);
    assert_error(end_of(&io, op::Open::new("x").at(file)), ErrorKind::NotADirectory, op::Kind::Open);
    io.close(directory);
    assert_error(end_of(&io, op::Open::new("file").at(directory)), ErrorKind::StaleHandle, op::Kind::Open);
    let other: Io = subject.io();
    assert_error(end_of(&other, op::Open::new("file").at(file)), ErrorKind::WrongLoop, op::Kind::Open);
}

/// Reading what can't be read, writing what can't be written.
fn wrong_ways_of_use(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let path = folder.file("file", "0123456789");
    let reads = end_of(&io, op::Open::new(&path)).unwrap();
    let writes = end_of(&io, op::Open::new(&path).write(true)).unwrap();
    let directory = end_of(&io, op::Open::new(folder.path())).unwrap();
    let done = end_of(&io, op::WriteAt::new(reads, "x", 0));
    assert_eq!((why(&done), done.bytes, done.buf), (Some(ErrorKind::BadDescriptor), 0, "x"));
    assert_eq!(why(&end_of(&io, op::ReadAt::new(writes, [0; 1], 0))), Some(ErrorKind::BadDescriptor));
    assert_eq!(why(&end_of(&io, op::ReadAt::new(directory, [0; 1], 0))), Some(ErrorKind::IsADirectory));
    assert_error(end_of(&io, op::Truncate::new(reads, 1)), ErrorKind::InvalidInput, op::Kind::Truncate);
    assert_error(end_of(&io, op::Allocate::new(reads, 0, 1)), ErrorKind::BadDescriptor, op::Kind::Allocate);
    assert!(io.tcp_options(reads).is_err() && io.local_address(reads).is_err());
    assert_eq!(disk::read(&path).unwrap(), b"0123456789");
}

/// `Stat` by path, by handle, of a link itself or of what it points at.
fn stat_knows(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let path = folder.file("file", vec![1; 100_000]);
    std::fs::hard_link(&path, folder.at("twin")).unwrap();
    system::symlink("file", folder.at("link")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o4751)).unwrap();
    let old = std::time::SystemTime::UNIX_EPOCH - Duration::from_millis(1_500);
    let times = std::fs::FileTimes::new().set_modified(old);
    std::fs::File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
    let file = end_of(&io, op::Open::new(&path)).unwrap();
    let known = std::fs::metadata(&path).unwrap();
    for stat in [op::Stat::new(&path), op::Stat::new(folder.at("link")), op::Stat::of(file)] {
        let told = end_of(&io, stat).unwrap();
        assert_eq!((told.file_type, told.size, told.links), (FileType::File, 100_000, 2));
        assert_eq!((told.mode, told.inode), (0o4751, known.ino()));
        assert_eq!((told.user, told.group), (known.uid(), known.gid()));
        assert_eq!((told.modified, told.accessed), (old, known.accessed().unwrap()));
        assert_eq!((told.created, told.allocated), (known.created().ok(), known.blocks() * 512));
        assert!(told.changed > old);
    }
    let link = end_of(&io, op::Stat::new(folder.at("link")).follow(false)).unwrap();
    assert_eq!((link.file_type, link.size), (FileType::Symlink, 4));
    folder.fifo("fifo");
    for (path, file_type) in [
        (folder.path(), FileType::Directory),
        (&folder.at("fifo"), FileType::Fifo),
        ("/dev/null".as_ref(), FileType::CharacterDevice),
    ] {
        let told = end_of(&io, op::Stat::new(path)).unwrap();
        assert_eq!(told.file_type, file_type);
        assert_eq!(told.device == link.device, path.starts_with(folder.path()));
    }
}

/// Truncate cuts and grows; allocate reserves, keeps the size if asked, and gives back.
fn lengths_and_space(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let path = folder.file("file", "0123456789");
    let file = open(&io, &path);
    let told = || end_of(&io, op::Stat::of(file)).unwrap();
    assert_eq!(end_of(&io, op::Truncate::new(file, 4)), Ok(()));
    assert_eq!(end_of(&io, op::Truncate::new(file, 6)), Ok(()));
    assert_eq!(disk::read(&path).unwrap(), b"0123\0\0");
    assert_eq!(end_of(&io, op::Allocate::new(file, 0, 1 << 20).keep_size()), Ok(()));
    assert!(told().size == 6 && told().allocated >= 1 << 20);
    assert_eq!(end_of(&io, op::Allocate::new(file, 4096, 4096)), Ok(()));
    assert_eq!(told().size, 8192);
    assert_eq!(end_of(&io, op::Allocate::new(file, 0, 8192).punch_hole()), Ok(()));
    assert_eq!(disk::read(&path).unwrap(), [0; 8192]);
    assert_eq!(end_of(&io, op::Truncate::new(file, 0)), Ok(()));
    assert_eq!((told().size, told().allocated), (0, 0));
}

/// What is on the disk afterwards can't be seen from here; that it is asked for, and refused where it makes no sense, can.
fn fsync(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let file = open(&io, folder.at("file"));
    let directory = end_of(&io, op::Open::new(folder.path())).unwrap();
    assert_eq!(end_of(&io, op::WriteAt::new(file, "safe", 0).all()).bytes, 4);
    for file in [file, directory] {
        assert_eq!(end_of(&io, op::Fsync::new(file)), Ok(()));
        assert_eq!(end_of(&io, op::Fdatasync::new(file)), Ok(()));
    }
    if subject.simulated() {
        return;
    }
    let fifo = end_of(&io, op::Open::new(folder.fifo("fifo")).read(true).write(true)).unwrap();
    assert_error(end_of(&io, op::Fsync::new(fifo)), ErrorKind::InvalidInput, op::Kind::Fsync);
    assert_error(end_of(&io, op::Fdatasync::new(fifo)), ErrorKind::InvalidInput, op::Kind::Fdatasync);
}

/// Descriptors of files go in and out of loops, and from one to another.
fn adopted_released_moved(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let path = folder.file("file", "0123456789");
    let file: File = io.adopt(std::fs::File::open(&path).unwrap()).unwrap();
    assert_eq!(end_of(&io, op::ReadAt::new(file, [0; 10], 3)).bytes, 7);
    let second = io.duplicate(file).unwrap();
    assert!(system::closes_on_exec(io.duplicate(file).unwrap()));
    let detached = io.detach(file).unwrap();
    assert_eq!(why(&end_of(&io, op::ReadAt::new(file, [0; 1], 0))), Some(ErrorKind::StaleHandle));
    let builder = subject.builder();
    let moved = std::thread::spawn(move || {
        let io: Io = builder.build().unwrap();
        let file = io.attach(detached).unwrap();
        let read = end_of(&io, op::ReadAt::new(file, [0; 10], 4)).bytes;
        (read, system::into_std::<std::fs::File>(io.release(file).unwrap()))
    });
    let (read, file) = moved.join().unwrap();
    assert_eq!(read, 6);
    drop((file, second));
    assert_eq!(folder.open_descriptors(), 0);
    let socket = std::net::TcpListener::bind(crate::support::own_address()).unwrap();
    let rejected = io.adopt::<File>(socket).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::InvalidInput);
    let slot = Slot::new();
    let pending: File = io.adopt(std::fs::File::open(&path).unwrap()).unwrap();
    io.read_at(pending, [0; 4], 0, keep(&slot));
    assert_eq!(io.release(pending).unwrap_err().kind(), ErrorKind::Busy);
    io.run().unwrap();
    assert_eq!(slot.one().bytes, 4);
    io.release(pending).unwrap();
}
