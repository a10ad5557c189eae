//! Copying files: what the copy is, by whichever way, and what is refused.

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use nbio::{ErrorKind, Event, File, op};

use crate::child;
use crate::disk;
use crate::folder::{Folder, assert_error, end_of, open};
use crate::support::{Case, Slot, Subject};
use crate::system::{self, Errno, PermissionsExt, Resource, Rlimit, getrlimit, setrlimit};
use crate::wire::{Io, drive, keep, kind, noise};

pub const CASES: &[Case] = &[
    Case { name: "the_copy_has_the_same_bytes", run: same_bytes },
    Case { name: "each_way_brings_the_same", run: each_way },
    Case { name: "the_copy_has_the_sources_permissions", run: permissions },
    Case { name: "what_was_there_is_replaced_whole", run: replaced },
    Case { name: "files_that_say_they_are_empty", run: said_to_be_empty },
    Case { name: "to_another_file_system_and_back", run: other_file_system },
    Case { name: "holes_stay_holes", run: holes },
    Case { name: "it_grows_or_shrinks_meanwhile", run: changes_meanwhile },
    Case { name: "a_file_is_not_copied_onto_itself", run: onto_itself },
    Case { name: "only_files_are_copied_and_replaced", run: only_files },
    Case { name: "names_that_cannot_be", run: bad_names },
    Case { name: "no_replace_leaves_what_is_there", run: no_replace },
    Case { name: "a_failed_copy_leaves_nothing", run: failed },
    Case { name: "paths_begin_at_directories", run: at_directories },
    Case { name: "progress_brings_totals_and_then_the_end", run: progress },
];

pub const MIB: usize = 1 << 20;

/// Copies, and says how many bytes. No descriptor is left open.
fn copy(io: &Io, folder: &Folder, copy: op::CopyFile) -> Result<u64, nbio::Error> {
    let had = folder.open_descriptors();
    let copied = end_of(io, copy);
    assert_eq!(folder.open_descriptors(), had);
    copied.map(|copied| copied.bytes)
}

#[track_caller]
fn refused(io: &Io, folder: &Folder, from: impl AsRef<Path>, to: impl AsRef<Path>, expected: ErrorKind) {
    let names = folder.names();
    assert_error(copy(io, folder, op::CopyFile::new(from, to)), expected, op::Kind::CopyFile);
    assert_eq!(folder.names(), names);
}

/// Whether the file system is one where files can share blocks.
fn shares_blocks(folder: &Folder) -> bool {
    if disk::helper().is_some() {
        return true;
    }
    let from = std::fs::File::open(folder.file("shared", "text")).unwrap();
    let to = std::fs::File::create(folder.at("sharing")).unwrap();
    let shared = system::share_blocks(&to, &from);
    disk::remove_file(folder.at("shared")).unwrap();
    disk::remove_file(folder.at("sharing")).unwrap();
    shared
}

/// Guarantee 2.
fn same_bytes(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    for length in [0, 1, 4095, 4096, 4097, 256 * 1024, MIB, MIB + 1, 20 * MIB + 3] {
        let contents = noise(length, 5);
        let from = folder.file("from", &contents);
        let ended = Slot::new();
        io.copy_file(&from, folder.at("to"), keep(&ended));
        assert_eq!(ended.len(), 0, "not inside the call that submits");
        io.run().unwrap();
        let copied: nbio::CopiedFile = ended.one().unwrap();
        assert_eq!((copied.bytes, copied.cloned), (length as u64, length > 0 && shares_blocks(&folder)));
        assert!(disk::read(folder.at("to")).unwrap() == contents, "{length}");
        assert_eq!((folder.names().len(), folder.open_descriptors()), (2, 0));
    }
    disk::symlink("from", folder.at("link")).unwrap();
    assert_eq!(
        copy(&io, &folder, op::CopyFile::new(folder.at("link"), folder.at("third")).sync()),
        Ok(20_971_523)
    );
    assert!(disk::symlink_metadata(folder.at("third")).unwrap().is_file());
}

/// What a system may lack: the next way is taken.
fn each_way(subject: &Subject) {
    child::run(subject, "copy_file::each_way_brings_the_same", |subject| {
        let folder = Folder::new();
        let contents = noise(3 * MIB + 5, 6);
        let from = folder.file("from", &contents);
        let holey = disk::File::create(folder.at("holey")).unwrap();
        holey.write_all_at(&contents, 5 * MIB as u64).unwrap();
        let try_all = || {
            let io: Io = subject.io();
            for name in ["from", "holey"] {
                for new in [true, false] {
                    let one = op::CopyFile::new(folder.at(name), folder.at("to"));
                    let copied = copy(&io, &folder, if new { one.no_replace() } else { one }).unwrap();
                    let (old, new) =
                        (disk::read(folder.at(name)).unwrap(), disk::read(folder.at("to")).unwrap());
                    assert!(old == new && copied == new.len() as u64);
                    assert_eq!(folder.names(), ["from", "holey", "to"]);
                }
                let again = op::CopyFile::new(&from, folder.at("to")).no_replace();
                assert_error(copy(&io, &folder, again), ErrorKind::AlreadyExists, op::Kind::CopyFile);
                disk::remove_file(folder.at("to")).unwrap();
            }
        };
        try_all();
        child::forbid_all_if(system::SYS_openat, 2, 0o20_000_000, Errno::OPNOTSUPP);
        try_all();
        child::forbid_all(system::SYS_ioctl, Errno::OPNOTSUPP);
        try_all();
        child::forbid_all(system::SYS_copy_file_range, Errno::XDEV);
        try_all();
        child::forbid_all(system::SYS_lseek, Errno::INVAL);
        disk::remove_file(folder.at("holey")).unwrap();
        disk::write(folder.at("holey"), b"none any more").unwrap();
        try_all();
    });
}

fn permissions(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let (from, to) = (folder.file("from", "text"), folder.file("to", "old"));
    for (mode, kept) in [(0o640, 0o640), (0o777, 0o777), (0o400, 0o400), (0o6755, 0o755)] {
        std::fs::set_permissions(&from, std::fs::Permissions::from_mode(mode)).unwrap();
        copy(&io, &folder, op::CopyFile::new(&from, &to)).unwrap();
        assert_eq!(disk::metadata(&to).unwrap().mode() & 0o7777, kept);
    }
}

/// Documented: a new file, in one step.
fn replaced(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let (from, to) = (folder.file("from", "new"), folder.file("to", "the old one, which is longer"));
    disk::hard_link(&to, folder.at("other")).unwrap();
    let old = disk::File::open(&to).unwrap();
    assert_eq!(end_of(&io, op::CopyFile::new(&from, &to)).unwrap().bytes, 3);
    assert_eq!(disk::read(&to).unwrap(), b"new");
    // Who had the old one still has it.
    let mut text = [0; 28];
    old.read_exact_at(&mut text, 0).unwrap();
    let text = str::from_utf8(&text).unwrap();
    assert_eq!(text, "the old one, which is longer");
    assert_eq!(disk::read_to_string(folder.at("other")).unwrap(), text);
    // A link is replaced, not followed; also one that leads nowhere.
    for target in ["other", "nowhere"] {
        disk::remove_file(&to).unwrap();
        disk::symlink(target, &to).unwrap();
        assert_eq!(copy(&io, &folder, op::CopyFile::new(&from, &to)), Ok(3));
        assert!(disk::symlink_metadata(&to).unwrap().is_file());
        assert_eq!(disk::read_to_string(folder.at("other")).unwrap(), text);
    }
    assert_eq!(folder.names(), ["from", "other", "to"]);
}

/// Those of `/proc` have length 0.
fn said_to_be_empty(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    for name in ["/proc/version", "/proc/self/environ", "/proc/filesystems"] {
        let expected = disk::read(name).unwrap();
        let copied = copy(&io, &folder, op::CopyFile::new(name, folder.at("to")));
        assert_eq!(copied, Ok(expected.len() as u64), "{name}");
        assert!(disk::read(folder.at("to")).unwrap() == expected, "{name}");
    }
    refused(&io, &folder, folder.at("to"), "/proc/nbio-copy", ErrorKind::NotFound);
}

/// Where neither blocks can be shared nor the kernel copies.
fn other_file_system(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let contents = noise(2 * MIB + 1, 7);
    let from = folder.file("from", &contents);
    let there = Path::new("/dev/shm").join(folder.path().file_name().unwrap());
    if disk::metadata("/dev/shm").is_ok() {
        assert_eq!(copy(&io, &folder, op::CopyFile::new(&from, &there)), Ok(contents.len() as u64));
        let same = disk::read(&there).unwrap() == contents;
        let back = copy(&io, &folder, op::CopyFile::new(&there, folder.at("back")));
        disk::remove_file(&there).unwrap();
        assert!(same && back == Ok(contents.len() as u64));
        assert!(disk::read(folder.at("back")).unwrap() == contents);
    }
}

/// 5 GiB with little in it, and a hole at the end: sizes and places beyond 4 GiB, and the copy is as small.
fn holes(subject: &Subject) {
    const GIB: u64 = 1 << 30;
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let from = disk::File::create(folder.at("from")).unwrap();
    let islands = [0, 1000 * 4096 + 1, 4 * GIB - 3, 4 * GIB + 12_345_678];
    for (number, place) in islands.into_iter().enumerate() {
        from.write_all_at(&noise(10_000, number as u64), place).unwrap();
    }
    for length in [5 * GIB + 77, 4 * GIB + 12_355_678] {
        from.set_len(length).unwrap();
        from.sync_all().unwrap();
        assert_eq!(copy(&io, &folder, op::CopyFile::new(folder.at("from"), folder.at("to"))), Ok(length));
        let to = disk::File::open(folder.at("to")).unwrap();
        to.sync_all().unwrap();
        assert_eq!(to.metadata().unwrap().len(), length);
        for (number, place) in islands.into_iter().enumerate() {
            let mut island = vec![0; 10_000];
            to.read_exact_at(&mut island, place).unwrap();
            assert!(island == noise(10_000, number as u64));
        }
        let mut water = vec![1; 100_000];
        to.read_exact_at(&mut water, 2 * GIB).unwrap();
        assert!(water.iter().all(|&byte| byte == 0));
        assert!(to.metadata().unwrap().blocks() * 512 < 10 * MIB as u64);
    }
    // Nothing but a hole.
    disk::File::create(folder.at("from")).unwrap().set_len(100_000).unwrap();
    assert_eq!(copy(&io, &folder, op::CopyFile::new(folder.at("from"), folder.at("to"))), Ok(100_000));
    assert!(disk::read(folder.at("to")).unwrap() == vec![0; 100_000]);
}

/// It is copied to where it ends when the copy comes there.
fn changes_meanwhile(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let (before, more) = (noise(33 * MIB, 8), noise(MIB, 9));
    let all = [&before[..], &more].concat();
    for shrinks in [false, true] {
        let from = folder.file("from", &before);
        let (ended, items) = (Slot::new(), Slot::new());
        let (path, more, end, item) = (from.clone(), more.clone(), ended.clone(), items.clone());
        io.submit_many(
            op::CopyFile::new(&from, folder.at("to")).progress(),
            move |_, _, event| match event {
                Event::Item(bytes) => {
                    if item.len() == 0 {
                        let mut file = std::fs::File::options().write(true).open(&path).unwrap();
                        if shrinks {
                            file.set_len(MIB as u64).unwrap();
                        } else {
                            file.seek(SeekFrom::End(0)).unwrap();
                            file.write_all(&more).unwrap();
                        }
                    }
                    item.put(bytes);
                }
                Event::End(result) => end.put(result),
            },
        );
        io.run().unwrap();
        assert_eq!(ended.one(), Ok(()));
        let copied = disk::read(folder.at("to")).unwrap();
        assert_eq!(items.take().last(), Some(&(copied.len() as u64)));
        assert!(copied == all[..copied.len()]);
        assert!(copied.len() >= if shrinks { MIB } else { before.len() });
        assert_eq!(folder.open_descriptors(), 0);
    }
}

fn onto_itself(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let from = folder.file("from", "text");
    disk::hard_link(&from, folder.at("hard")).unwrap();
    disk::symlink("from", folder.at("soft")).unwrap();
    for to in ["from", "hard", "soft", "./from"] {
        refused(&io, &folder, &from, folder.at(to), ErrorKind::InvalidInput);
        refused(&io, &folder, folder.at("soft"), folder.at(to), ErrorKind::InvalidInput);
    }
    assert_eq!(disk::read(&from).unwrap(), b"text");
    assert!(disk::symlink_metadata(folder.at("soft")).unwrap().is_symlink());
}

fn only_files(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let (from, to) = (folder.file("from", "text"), folder.at("to"));
    disk::create_dir(folder.at("directory")).unwrap();
    let fifo = folder.fifo("fifo");
    disk::symlink("fifo", folder.at("to-fifo")).unwrap();
    refused(&io, &folder, folder.at("directory"), &to, ErrorKind::IsADirectory);
    for source in [&fifo, Path::new("/dev/null"), Path::new("/dev/zero"), &folder.at("to-fifo")] {
        refused(&io, &folder, source, &to, ErrorKind::InvalidInput);
    }
    for target in ["directory", "directory/", "directory/.", "new/", "directory/..", "."] {
        refused(&io, &folder, &from, folder.at(target), ErrorKind::IsADirectory);
    }
    refused(&io, &folder, &from, "/", ErrorKind::IsADirectory);
    for target in [&fifo, Path::new("/dev/null"), &folder.at("to-fifo")] {
        refused(&io, &folder, &from, target, ErrorKind::InvalidInput);
    }
    assert!(!disk::metadata("/dev/null").unwrap().is_file() && !disk::metadata(fifo).unwrap().is_file());
}

/// Guarantee 1: whatever is wrong is told to the callback, with the operation's name.
fn bad_names(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let (from, to) = (folder.file("from", "text"), folder.at("to"));
    disk::symlink("nowhere", folder.at("dangling")).unwrap();
    disk::symlink("circle", folder.at("circle")).unwrap();
    let long = "x".repeat(256);
    for (source, expected) in [
        (folder.at("nothing"), ErrorKind::NotFound),
        (folder.at("dangling"), ErrorKind::NotFound),
        (folder.at("circle"), ErrorKind::FilesystemLoop),
        (folder.at("from/below"), ErrorKind::NotADirectory),
        (folder.at(&long), ErrorKind::InvalidFilename),
        (folder.at("zero\0byte"), ErrorKind::InvalidInput),
        ("".into(), ErrorKind::NotFound),
    ] {
        refused(&io, &folder, source, &to, expected);
    }
    for (target, expected) in [
        (folder.at("no/where"), ErrorKind::NotFound),
        (folder.at("from/below"), ErrorKind::NotADirectory),
        (folder.at("circle/below"), ErrorKind::FilesystemLoop),
        (folder.at(&long), ErrorKind::InvalidFilename),
        (folder.at("zero\0byte"), ErrorKind::InvalidInput),
        (folder.at("zero\0byte/below"), ErrorKind::InvalidInput),
        ("".into(), ErrorKind::NotFound),
    ] {
        refused(&io, &folder, &from, target, expected);
    }
    if subject.simulated() {
        return;
    }
    let copied = copy(&io, &folder, op::CopyFile::new(&from, "/sys/nbio-copy"));
    assert!(matches!(kind(copied), Some(ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem)));
}

fn no_replace(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let (from, to) = (folder.file("from", "new"), folder.file("to", "old"));
    disk::symlink("nowhere", folder.at("dangling")).unwrap();
    disk::symlink("to", folder.at("link")).unwrap();
    for target in ["to", "dangling", "link", "."] {
        let copied = copy(&io, &folder, op::CopyFile::new(&from, folder.at(target)).no_replace());
        let kind = kind(copied).unwrap();
        let expected = if target == "." { ErrorKind::IsADirectory } else { ErrorKind::AlreadyExists };
        assert_eq!(kind, expected);
    }
    assert_eq!(disk::read(to).unwrap(), b"old");
    assert_eq!(folder.names(), ["dangling", "from", "link", "to"]);
    assert_eq!(copy(&io, &folder, op::CopyFile::new(&from, folder.at("new")).no_replace()), Ok(3));
    // What comes there only while it copies.
    folder.file("from", noise(33 * MIB, 10));
    let (ended, path) = (Slot::new(), folder.at("late"));
    let end = ended.clone();
    let late = op::CopyFile::new(&from, &path).no_replace().progress();
    io.submit_many(late, move |_, _, event| match event {
        Event::Item(_) if !disk::exists(&path) => disk::write(&path, "first").unwrap(),
        Event::Item(_) => {}
        Event::End(result) => end.put(kind(result)),
    });
    io.run().unwrap();
    // Unless it was so fast that it was done by the first item.
    if ended.one() == Some(ErrorKind::AlreadyExists) {
        assert_eq!(disk::read(folder.at("late")).unwrap(), b"first");
    } else {
        assert_eq!(disk::metadata(folder.at("late")).unwrap().len(), 33 * MIB as u64);
    }
    assert_eq!((folder.names().len(), folder.open_descriptors()), (6, 0));
}

/// What had its name before stays, and nothing else.
fn failed(subject: &Subject) {
    child::run(subject, "copy_file::a_failed_copy_leaves_nothing", |subject| {
        let (io, folder): (Io, _) = (subject.io(), Folder::new());
        let from = folder.file("from", noise(2 * MIB, 11));
        let fails = |expected| {
            for name in ["to", "new"] {
                folder.file("to", "old");
                refused(&io, &folder, &from, folder.at(name), expected);
                assert_eq!(disk::read(folder.at("to")).unwrap(), b"old");
            }
        };
        // Not to be shared: that moves no bytes.
        child::forbid_all(system::SYS_ioctl, Errno::OPNOTSUPP);
        let limit = getrlimit(Resource::Fsize);
        system::let_large_files_fail();
        setrlimit(Resource::Fsize, Rlimit { current: Some(MIB as u64 + 1), ..limit }).unwrap();
        fails(ErrorKind::FileTooLarge);
        setrlimit(Resource::Fsize, limit).unwrap();
        // The later filter that says no is the one that counts.
        child::forbid_all(system::SYS_copy_file_range, Errno::IO);
        fails(ErrorKind::DeviceError);
        child::forbid_all(system::SYS_copy_file_range, Errno::XDEV);
        child::forbid_all(system::SYS_pwrite64, Errno::NOSPC);
        fails(ErrorKind::StorageFull);
        // The same where the file has a temporary name.
        child::forbid_all_if(system::SYS_openat, 2, 0o20_000_000, Errno::OPNOTSUPP);
        fails(ErrorKind::StorageFull);
    });
}

fn at_directories(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    folder.file("from", "text");
    disk::create_dir(folder.at("below")).unwrap();
    let here: File = end_of(&io, op::Open::new(folder.path())).unwrap();
    let below: File = end_of(&io, op::Open::new(folder.at("below"))).unwrap();
    let ended = Slot::new();
    io.submit(op::CopyFile::new("from", "to").from_directory(here).to_directory(below), keep(&ended));
    io.submit(op::CopyFile::new("from", "to").from_directory(here).to_directory(here), keep(&ended));
    // They are needed no more.
    io.close(here);
    io.close(below);
    io.run().unwrap();
    let ended: Vec<Result<nbio::CopiedFile, nbio::Error>> = ended.take();
    assert!(ended.len() == 2 && ended.iter().all(|end| end.is_ok()));
    for to in ["to", "below/to"] {
        assert_eq!(disk::read(folder.at(to)).unwrap(), b"text");
    }
    let stale = op::CopyFile::new("from", folder.at("other")).from_directory(here);
    assert_error(copy(&io, &folder, stale), ErrorKind::StaleHandle, op::Kind::CopyFile);
    let stale = op::CopyFile::new(folder.at("from"), "other").to_directory(below);
    assert_error(copy(&io, &folder, stale), ErrorKind::StaleHandle, op::Kind::CopyFile);
    let other: Io = subject.io();
    let foreign: File = end_of(&other, op::Open::new(folder.path())).unwrap();
    let wrong = op::CopyFile::new("from", folder.at("other")).from_directory(foreign);
    assert_error(copy(&io, &folder, wrong), ErrorKind::WrongLoop, op::Kind::CopyFile);
    let file = open(&io, folder.at("from"));
    let no_directory = op::CopyFile::new("from", folder.at("other")).from_directory(file);
    assert_error(copy(&io, &folder, no_directory), ErrorKind::NotADirectory, op::Kind::CopyFile);
    assert!(!disk::exists(folder.at("other")));
}

/// Guarantee 2: totals that grow, the last one all of it, then one end.
fn progress(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    for size in [0, 1, 40 * MIB] {
        let from = folder.file("from", noise(size, 12));
        let (items, ended) = (Slot::new(), Slot::new());
        let (item, end) = (items.clone(), ended.clone());
        let to = folder.at("to");
        io.submit_many(op::CopyFile::new(&from, &to).progress(), move |_, _, event| match event {
            Event::Item(bytes) => {
                assert_eq!(end.len(), 0);
                item.put(bytes);
            }
            Event::End(result) => end.put(result),
        });
        drive(&io, || ended.len() > 0);
        assert_eq!(ended.one(), Ok(()));
        let items: Vec<u64> = items.take();
        assert!(items.is_sorted_by(|a, b| a < b), "{items:?}");
        assert_eq!(items.last().copied().unwrap_or(0), size as u64);
        // Shared blocks come all at once.
        let shared = disk::metadata(folder.at("to")).unwrap().blocks() == 0;
        assert!(size <= MIB || shared || items.len() > 2 || items == [size as u64], "{items:?}");
        io.run().unwrap();
        assert_eq!((io.in_flight(), folder.open_descriptors()), (0, 0));
    }
}
