//! Advisory locks.

use std::time::Duration;

use nbio::{Error, ErrorKind, File, Operation, op};

use crate::disk;
use crate::folder::{Folder, assert_error, end_of};
use crate::hanging::idle;
use crate::support::{Case, Slot, Subject};
use crate::wire::{Io, drive, keep, kind, turn};

pub const CASES: &[Case] = &[
    Case { name: "locks_exclude_each_other_and_those_of_std", run: locks_exclude },
    Case { name: "a_lock_waits_for_the_other_to_go", run: lock_waits },
    Case { name: "a_waiting_lock_is_cancelled_or_late", run: waiting_lock_is_cancelled },
    Case { name: "a_removed_lock_is_given_back", run: removed_lock_is_given_back },
    Case { name: "a_lock_ends_with_its_file", run: lock_ends_with_its_file },
    Case { name: "dropping_the_loop_ends_waiting_locks", run: dropping_the_loop },
];

fn handles(subject: &Subject) -> (Io, Folder, File, disk::File) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let path = folder.file("file", "");
    let file = end_of(&io, op::Open::new(&path)).unwrap();
    (io, folder, file, disk::File::open(&path).unwrap())
}

fn is_locked(std: &disk::File) -> bool {
    let tried = std.try_lock(false);
    let locked = tried.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
    if tried.is_ok() {
        std.unlock().unwrap();
    }
    locked
}

fn locks_exclude(subject: &Subject) {
    let (io, folder, file, std) = handles(subject);
    assert_eq!(end_of(&io, op::Lock::new(file)), Ok(()));
    assert!(is_locked(&std));
    let other = end_of(&io, op::Open::new(folder.at("file"))).unwrap();
    for lock in [op::Lock::new(other).no_wait(), op::Lock::new(other).shared().no_wait()] {
        assert_error(end_of(&io, lock), ErrorKind::WouldBlock, op::Kind::Lock);
    }
    assert_eq!(end_of(&io, op::Unlock::new(file)), Ok(()));
    assert!(!is_locked(&std));
    assert_eq!(end_of(&io, op::Unlock::new(file)), Ok(()));
    // Shared ones don't exclude each other.
    assert_eq!(end_of(&io, op::Lock::new(file).shared()), Ok(()));
    assert_eq!(end_of(&io, op::Lock::new(other).shared().no_wait()), Ok(()));
    assert!(is_locked(&std) && std.try_lock(true).is_ok());
    std.unlock().unwrap();
    let stale = other;
    io.close(other);
    assert_error(end_of(&io, op::Lock::new(stale)), ErrorKind::StaleHandle, op::Kind::Lock);
    assert_error(end_of(&io, op::Unlock::new(stale)), ErrorKind::StaleHandle, op::Kind::Unlock);
    // The descriptors that the jobs had are gone: the lock is this handle's alone.
    assert_eq!(folder.open_descriptors(), 2);
}

fn lock_waits(subject: &Subject) {
    let (io, _folder, file, std) = handles(subject);
    std.lock().unwrap();
    let slot = Slot::new();
    io.submit(op::Lock::new(file), keep(&slot));
    for _ in 0..5 {
        io.tick(Some(Duration::from_millis(1))).unwrap();
    }
    assert_eq!(slot.len(), 0);
    std.unlock().unwrap();
    io.run().unwrap();
    assert_eq!(slot.one(), Ok(()));
    assert!(is_locked(&std));
}

/// Guarantee 3: a lock that isn't got ends soon, whether or not its wait had begun.
fn waiting_lock_is_cancelled(subject: &Subject) {
    let (io, folder, file, std) = handles(subject);
    std.lock().unwrap();
    for ticks in [0, 1, 10] {
        let slot = Slot::new();
        let lock = io.submit(op::Lock::new(file), keep(&slot));
        for _ in 0..ticks {
            io.tick(Some(Duration::from_millis(1))).unwrap();
        }
        assert!(io.cancel(lock));
        io.run().unwrap();
        assert_error(slot.one(), ErrorKind::Cancelled, op::Kind::Lock);
    }
    let late = op::Lock::new(file).shared().timeout(Duration::from_millis(5));
    assert_error(end_of(&io, late), ErrorKind::TimedOut, op::Kind::Lock);
    // Closing cancels, and waits for it.
    let (slot, closed) = (Slot::new(), Slot::new());
    io.submit(op::Lock::new(file), keep(&slot));
    turn(&io, 2);
    assert_eq!(io.release(file).unwrap_err().kind(), ErrorKind::Busy);
    io.close_then(file, keep(&closed));
    io.run().unwrap();
    let lock: Result<(), Error> = slot.one();
    assert_eq!((kind(lock), closed.one()), (Some(ErrorKind::Cancelled), Ok(())));
    assert_eq!(folder.open_descriptors(), 1);
}

/// "A removed one that gets it gives it back."
fn removed_lock_is_given_back(subject: &Subject) {
    let (io, _folder, file, std) = handles(subject);
    for round in 0..40 {
        let slot = Slot::new();
        let lock = io.submit(op::Lock::new(file), keep(&slot));
        turn(&io, round % 3);
        let removed = io.remove(lock);
        idle(&io);
        // It may have been quick: then it had ended before it could be removed.
        assert_eq!(slot.take(), if removed { vec![] } else { vec![Ok(())] });
        assert_eq!(is_locked(&std), !removed, "round {round}");
        assert_eq!(end_of(&io, op::Unlock::new(file)), Ok(()));
    }
}

/// Closing the last of its descriptors unlocks a file.
fn lock_ends_with_its_file(subject: &Subject) {
    let (io, _folder, file, std) = handles(subject);
    assert_eq!(end_of(&io, op::Lock::new(file)), Ok(()));
    assert!(is_locked(&std));
    let closed = Slot::new();
    io.close_then(file, keep(&closed));
    io.run().unwrap();
    assert_eq!((closed.one(), is_locked(&std)), (Ok(()), false));
}

fn dropping_the_loop(subject: &Subject) {
    let (io, folder, file, std) = handles(subject);
    std.lock().unwrap();
    io.submit(op::Lock::new(file), |_, _, _| ());
    turn(&io, 3);
    drop(io);
    std.unlock().unwrap();
    let other: Io = subject.io();
    // The job's own descriptor goes as soon as it hears of it.
    drive(&other, || folder.open_descriptors() == 1);
    assert!(!is_locked(&std));
}
