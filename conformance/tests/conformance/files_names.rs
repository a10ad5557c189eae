//! Names of files: renaming, removing, making, and what directories and links hold.

use std::collections::BTreeMap;

use nbio::{ErrorKind, FileType, OpId, Operation, op};

use crate::disk;
use crate::folder::{Folder, assert_error, end_of};
use crate::hanging::idle;
use crate::support::{Case, Slot, Subject};
use crate::system;
use crate::wire::{Io, keep, kind, turn};

pub const CASES: &[Case] = &[
    Case { name: "rename_replaces_or_refuses", run: rename },
    Case { name: "unlink_rmdir_mkdir", run: unlink_rmdir_mkdir },
    Case { name: "links_of_both_kinds", run: links },
    Case { name: "names_begin_at_directories", run: names_begin_at_directories },
    Case { name: "read_dir_has_every_name", run: read_dir },
    Case { name: "names_of_any_bytes", run: names_of_any_bytes },
    Case { name: "long_paths", run: long_paths },
    Case { name: "paths_with_a_zero_byte", run: paths_with_a_zero_byte },
    Case { name: "cancelled_at_any_time_each_ends_once", run: cancelled_at_any_time },
    Case { name: "a_second_directory_is_closed_after_what_begins_there", run: second_directory_is_held },
];

/// Guarantee 8: longer than the 260 characters that older calls of Windows take.
fn long_paths(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let mut below = folder.path().to_owned();
    for _ in 0..8 {
        below.push("d".repeat(60));
        assert_eq!(end_of(&io, op::Mkdir::new(&below)), Ok(()));
    }
    assert!(below.as_os_str().len() > 480);
    let (one, two) = (below.join("one"), below.join("two"));
    assert_eq!(end_of(&io, op::WriteFile::new(&one, "text").atomic()).result, Ok(()));
    assert_eq!(end_of(&io, op::Rename::new(&one, &two).no_replace()), Ok(()));
    assert_eq!(end_of(&io, op::Stat::new(&two)).unwrap().size, 4);
    assert_eq!(end_of(&io, op::CopyFile::new(&two, &one)).unwrap().bytes, 4);
    assert_eq!(end_of(&io, op::ReadFile::new(&one)), Ok(b"text".to_vec()));
    assert_eq!(end_of(&io, op::ReadDir::new(&below)).unwrap().len(), 2);
    for path in [&one, &two] {
        assert_eq!(end_of(&io, op::Unlink::new(path)), Ok(()));
    }
    assert_eq!(end_of(&io, op::Rmdir::new(&below)), Ok(()));
}

fn rename(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let (one, two) = (folder.file("one", "one"), folder.file("two", "two"));
    let fails = |rename: op::Rename, kind| assert_error(end_of(&io, rename), kind, op::Kind::Rename);
    fails(op::Rename::new(&one, &two).no_replace(), ErrorKind::AlreadyExists);
    assert_eq!(end_of(&io, op::Rename::new(&one, &two)), Ok(()));
    assert_eq!((folder.names(), disk::read(&two).unwrap()), (vec!["two".to_owned()], b"one".to_vec()));
    assert_eq!(end_of(&io, op::Rename::new(&two, &one).no_replace()), Ok(()));
    assert_eq!(folder.names(), ["one"]);
    fails(op::Rename::new(&two, &one), ErrorKind::NotFound);
    disk::create_dir_all(folder.at("full/below")).unwrap();
    disk::create_dir(folder.at("empty")).unwrap();
    fails(op::Rename::new(folder.at("empty"), folder.at("full")), ErrorKind::DirectoryNotEmpty);
    fails(op::Rename::new(&one, folder.at("empty")), ErrorKind::IsADirectory);
    fails(op::Rename::new(folder.at("empty"), &one), ErrorKind::NotADirectory);
    fails(op::Rename::new(folder.at("full"), folder.at("full/below/x")), ErrorKind::InvalidInput);
    if !subject.simulated() {
        fails(op::Rename::new(&one, "/proc/one"), ErrorKind::CrossesDevices);
    }
}

fn unlink_rmdir_mkdir(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let (file, made) = (folder.file("file", ""), folder.at("made"));
    assert_eq!(end_of(&io, op::Mkdir::new(&made).mode(0o710)), Ok(()));
    assert!(system::is_mode(disk::metadata(&made).unwrap().mode(), 0o710));
    assert_error(end_of(&io, op::Mkdir::new(&made)), ErrorKind::AlreadyExists, op::Kind::Mkdir);
    let nowhere = folder.at("nowhere/below");
    assert_error(end_of(&io, op::Mkdir::new(&nowhere)), ErrorKind::NotFound, op::Kind::Mkdir);
    assert_error(end_of(&io, op::Unlink::new(&made)), ErrorKind::IsADirectory, op::Kind::Unlink);
    assert_error(end_of(&io, op::Rmdir::new(&file)), ErrorKind::NotADirectory, op::Kind::Rmdir);
    assert_error(end_of(&io, op::Rmdir::new(folder.path())), ErrorKind::DirectoryNotEmpty, op::Kind::Rmdir);
    assert_eq!(end_of(&io, op::Rmdir::new(&made)), Ok(()));
    assert_error(end_of(&io, op::Rmdir::new(&made)), ErrorKind::NotFound, op::Kind::Rmdir);
    // Who has it open keeps it.
    let open = end_of(&io, op::Open::new(&file)).unwrap();
    assert_eq!(end_of(&io, op::Unlink::new(&file)), Ok(()));
    assert_error(end_of(&io, op::Unlink::new(&file)), ErrorKind::NotFound, op::Kind::Unlink);
    assert_eq!(end_of(&io, op::Stat::of(open)).unwrap().links, 0);
    assert!(folder.names().is_empty());
}

fn links(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let (file, soft, hard) = (folder.file("file", "text"), folder.at("soft"), folder.at("hard"));
    assert_eq!(end_of(&io, op::Symlink::new("file", &soft)), Ok(()));
    assert_eq!(end_of(&io, op::ReadLink::new(&soft)).unwrap().to_str(), Some("file"));
    assert_eq!(disk::read(&soft).unwrap(), b"text");
    assert_error(end_of(&io, op::Symlink::new("x", &soft)), ErrorKind::AlreadyExists, op::Kind::Symlink);
    assert_error(end_of(&io, op::ReadLink::new(&file)), ErrorKind::InvalidInput, op::Kind::ReadLink);
    assert_error(end_of(&io, op::ReadLink::new(&hard)), ErrorKind::NotFound, op::Kind::ReadLink);
    assert_eq!(end_of(&io, op::Link::new(&file, &hard)), Ok(()));
    assert_eq!(disk::metadata(&hard).unwrap().nlink(), 2);
    assert_error(end_of(&io, op::Link::new(&file, &hard)), ErrorKind::AlreadyExists, op::Kind::Link);
    let directory = op::Link::new(folder.path(), folder.at("never"));
    assert_error(end_of(&io, directory), ErrorKind::PermissionDenied, op::Kind::Link);
    // Of a symbolic link: itself, or what it points at.
    assert_eq!(end_of(&io, op::Link::new(&soft, folder.at("itself"))), Ok(()));
    assert!(disk::symlink_metadata(folder.at("itself")).unwrap().is_symlink());
    assert_eq!(end_of(&io, op::Link::new(&soft, folder.at("followed")).follow(true)), Ok(()));
    assert_eq!(disk::symlink_metadata(folder.at("followed")).unwrap().nlink(), 3);
    let long = "x".repeat(3000);
    assert_eq!(end_of(&io, op::Symlink::new(&long, folder.at("long"))), Ok(()));
    assert_eq!(end_of(&io, op::ReadLink::new(folder.at("long"))).unwrap().to_str(), Some(&long[..]));
}

/// Both paths of a call begin at a directory of their own.
fn names_begin_at_directories(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let [a, b] = ["a", "b"].map(|name| {
        assert_eq!(end_of(&io, op::Mkdir::new(folder.at(name))), Ok(()));
        end_of(&io, op::Open::new(folder.at(name)).directory(true)).unwrap()
    });
    folder.file("a/file", "text");
    let names = |name: &str| {
        let entries = end_of(&io, op::ReadDir::new(name).at(a)).unwrap();
        let mut names: Vec<_> = entries.into_iter().map(|entry| entry.name.into_string().unwrap()).collect();
        names.sort();
        names
    };
    let rename = op::Rename::new("file", "moved").from_directory(a).to_directory(b);
    assert_eq!(end_of(&io, rename), Ok(()));
    assert_eq!((names("."), names("../b")), (vec![], vec!["moved".to_owned()]));
    let link = op::Link::new("moved", "hard").from_directory(b).to_directory(a);
    assert_eq!(end_of(&io, link), Ok(()));
    assert_eq!(end_of(&io, op::Symlink::new("../b/moved", "soft").at(a)), Ok(()));
    assert_eq!(end_of(&io, op::ReadLink::new("soft").at(a)).unwrap().to_str(), Some("../b/moved"));
    assert_eq!(end_of(&io, op::Mkdir::new("made").at(a)), Ok(()));
    assert_eq!(names("."), ["hard", "made", "soft"]);
    assert_eq!(end_of(&io, op::Stat::new("soft").at(a)).unwrap().size, 4);
    assert_eq!(end_of(&io, op::Rmdir::new("made").at(a)), Ok(()));
    assert_eq!(end_of(&io, op::Unlink::new("soft").at(a)), Ok(()));
    assert_eq!(end_of(&io, op::ReadDir::of(a)).unwrap().len(), 1);
    // Twice: it is read from its beginning each time.
    assert_eq!(end_of(&io, op::ReadDir::of(a)).unwrap()[0].name, "hard");
    io.close(b);
    for result in [
        end_of(&io, op::Rename::new("hard", "x").from_directory(a).to_directory(b)),
        end_of(&io, op::Rename::new("hard", "x").from_directory(b).to_directory(a)),
        end_of(&io, op::Link::new("hard", "x").from_directory(a).to_directory(b)),
        end_of(&io, op::Symlink::new("hard", "x").at(b)),
        end_of(&io, op::Mkdir::new("x").at(b)),
        end_of(&io, op::Unlink::new("x").at(b)),
        end_of(&io, op::Rmdir::new("x").at(b)),
        end_of(&io, op::ReadLink::new("x").at(b)).map(drop),
        end_of(&io, op::ReadDir::of(b)).map(drop),
    ] {
        assert_eq!(kind(result), Some(ErrorKind::StaleHandle));
    }
    io.close(a);
    io.run().unwrap();
    assert_eq!(folder.open_descriptors(), 0);
}

fn read_dir(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    assert_eq!(end_of(&io, op::ReadDir::new(folder.path())), Ok(vec![]));
    for number in 0..500 {
        folder.file(&format!("a rather long name of a file {number}"), "");
    }
    // A simulation has no FIFOs.
    let odd = if subject.simulated() { FileType::File } else { FileType::Fifo };
    if odd == FileType::Fifo {
        folder.fifo("fifo")
    } else {
        folder.file("fifo", "")
    };
    disk::create_dir(folder.at("directory")).unwrap();
    disk::symlink("nowhere", folder.at("link")).unwrap();
    let entries = end_of(&io, op::ReadDir::new(folder.path())).unwrap();
    let names: BTreeMap<_, _> =
        entries.iter().map(|entry| (entry.name.to_str().unwrap(), entry.file_type)).collect();
    assert_eq!((names.len(), entries.len()), (503, 503));
    for (name, file_type) in [("fifo", odd), ("directory", FileType::Directory), ("link", FileType::Symlink)]
    {
        assert_eq!(names[name], file_type);
    }
    let files = names.iter().filter(|entry| *entry.1 == FileType::File && *entry.0 != "fifo");
    assert_eq!(files.count(), 500);
    let inode = disk::metadata(folder.at("fifo")).unwrap().ino();
    assert!(entries.iter().any(|entry| entry.name == "fifo" && entry.inode == inode));
    let file = op::ReadDir::new(folder.file("file", ""));
    assert_error(end_of(&io, file), ErrorKind::NotADirectory, op::Kind::ReadDir);
    let nothing = op::ReadDir::new(folder.at("nothing"));
    assert_error(end_of(&io, nothing), ErrorKind::NotFound, op::Kind::ReadDir);
    assert_eq!(folder.open_descriptors(), 0);
}

/// Names are bytes: no encoding, no character but 0 and `/` means anything.
fn names_of_any_bytes(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    for name in system::names_of_any_bytes() {
        let path = folder.path().join(&name);
        let file = end_of(&io, op::Open::new(&path).write(true).create_new(true)).unwrap();
        let entries = end_of(&io, op::ReadDir::new(folder.path())).unwrap();
        assert_eq!(entries.iter().map(|entry| &entry.name).collect::<Vec<_>>(), [&name]);
        let renamed = folder.at("renamed");
        assert_eq!(end_of(&io, op::Rename::new(&path, &renamed)), Ok(()));
        assert_eq!(end_of(&io, op::Symlink::new(&name, &path)), Ok(()));
        assert_eq!(end_of(&io, op::ReadLink::new(&path)).unwrap().as_os_str(), name);
        assert_eq!(end_of(&io, op::Unlink::new(&path)), Ok(()));
        assert_eq!(end_of(&io, op::Unlink::new(&renamed)), Ok(()));
        io.close(file);
    }
}

fn paths_with_a_zero_byte(subject: &Subject) {
    let io: Io = subject.io();
    let bad = "zero\0byte";
    for result in [
        end_of(&io, op::Stat::new(bad)).map(drop),
        end_of(&io, op::Rename::new(bad, "x")),
        end_of(&io, op::Rename::new("x", bad)),
        end_of(&io, op::Unlink::new(bad)),
        end_of(&io, op::Rmdir::new(bad)),
        end_of(&io, op::Mkdir::new(bad)),
        end_of(&io, op::Link::new(bad, "x")),
        end_of(&io, op::Link::new("x", bad)),
        end_of(&io, op::Symlink::new(bad, "x")),
        end_of(&io, op::Symlink::new("x", bad)),
        end_of(&io, op::ReadLink::new(bad)).map(drop),
        end_of(&io, op::ReadDir::new(bad)).map(drop),
    ] {
        assert_eq!(kind(result), Some(ErrorKind::InvalidInput));
    }
}

type Results = Slot<Result<(), nbio::Error>>;

fn submit<T: 'static>(
    io: &Io,
    ended: &Results,
    operation: impl Operation<Output = Result<T, nbio::Error>>,
) -> OpId {
    let ended = ended.clone();
    io.submit(operation, move |_, _, result| ended.put(result.map(drop)))
}

/// Guarantees 2 to 4, whether the kernel does it or the pool.
fn cancelled_at_any_time(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let directory = end_of(&io, op::Open::new(folder.path())).unwrap();
    for round in 0..8 {
        let (ticks, remove) = (round / 2, round % 2 == 1);
        let name = |what: &str| format!("{what}{round}");
        let (from, gone) = (folder.file(&name("from"), ""), folder.file(&name("gone"), ""));
        disk::create_dir(folder.at(&name("empty"))).unwrap();
        let ended = Slot::new();
        let ids = [
            submit(&io, &ended, op::Rename::new(from, folder.at(&name("to")))),
            submit(&io, &ended, op::Unlink::new(gone)),
            submit(&io, &ended, op::Rmdir::new(name("empty")).at(directory)),
            submit(&io, &ended, op::Mkdir::new(name("made")).at(directory)),
            submit(&io, &ended, op::Symlink::new("x", name("soft")).at(directory)),
            submit(&io, &ended, op::Link::new("/proc/version", folder.at(&name("hard")))),
            submit(&io, &ended, op::ReadLink::new("/proc/self")),
            submit(&io, &ended, op::ReadDir::of(directory)),
        ];
        turn(&io, ticks);
        let over = ended.len();
        let asked = ids.iter().filter(|&&id| if remove { io.remove(id) } else { io.cancel(id) }).count();
        assert_eq!(asked, ids.len() - over);
        idle(&io);
        let ended = ended.take();
        assert_eq!(ended.len(), if remove { over } else { ids.len() });
        for result in ended {
            let kind = kind(result);
            // There is no `/proc` in a simulation.
            let elsewhere = if subject.simulated() { ErrorKind::NotFound } else { ErrorKind::CrossesDevices };
            assert!(kind.is_none_or(|kind| kind == ErrorKind::Cancelled || kind == elsewhere), "{kind:?}");
        }
        assert_eq!(folder.open_descriptors(), 1);
    }
}

/// Guarantee 6: the second directory, too, is closed after what begins there.
fn second_directory_is_held(subject: &Subject) {
    let (io, folder, elsewhere): (Io, _, _) = (subject.io(), Folder::new(), Folder::new());
    let other = elsewhere.file("other", "");
    for _ in 0..20 {
        let file = folder.file("file", "");
        let directory = end_of(&io, op::Open::new(folder.path()).directory(true)).unwrap();
        let (renamed, closed) = (Slot::new(), Slot::new());
        io.submit(op::Rename::new(&file, "moved").to_directory(directory), keep(&renamed));
        assert_eq!(io.release(directory).unwrap_err().kind(), ErrorKind::Busy);
        io.close_then(directory, keep(&closed));
        // The number of the descriptor, if it were free, would be the next one's.
        let next = disk::File::open(&other).unwrap();
        io.run().unwrap();
        assert_eq!((renamed.one(), closed.one()), (Ok(()), Ok(())));
        drop(next);
        assert_eq!(folder.names(), ["moved"]);
    }
}
