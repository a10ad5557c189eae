//! What the documentation of `DiskFaults` and `Simulation::crash` promises.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use nbio::{Builder, DiskFaults, Done, Error, ErrorKind, EventLoop, File, Operation, Simulation, op};

type Io = EventLoop<()>;

const SEEDS: std::ops::Range<u64> = 0..200;

fn io(simulation: &Simulation) -> Io {
    Builder::new().simulation(simulation).build().expect("a simulation has all it needs")
}

/// What an operation ends with, on a loop that has nothing else to do.
fn end_of<O: Operation>(io: &Io, operation: O) -> O::Output {
    let slot = Rc::new(RefCell::new(None));
    let end = slot.clone();
    io.submit(operation, move |_, _, output| *end.borrow_mut() = Some(output));
    io.run().unwrap();
    slot.take().expect("its callback ran")
}

fn open(io: &Io, path: &str) -> File {
    end_of(io, op::Open::new(path).read(true).write(true).create(true)).unwrap()
}

fn write(io: &Io, file: File, bytes: Vec<u8>, offset: u64) {
    assert_eq!(end_of(io, op::WriteAt::new(file, bytes, offset).all()).result, Ok(()));
}

fn kind<T>(result: Result<T, Error>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// The disk after a power failure, as a new loop finds it.
fn after_crash(simulation: &Simulation, io: Io) -> Io {
    drop(io);
    simulation.crash();
    assert_eq!(simulation.open_files(), 0);
    self::io(simulation)
}

/// A file with a name on the disk.
fn lasting(simulation: &Simulation, contents: &[u8]) -> (Io, File) {
    let io = io(simulation);
    let file = open(&io, "/file");
    write(&io, file, contents.to_vec(), 0);
    assert_eq!(end_of(&io, op::Fsync::new(file)), Ok(()));
    sync_root(&io);
    (io, file)
}

fn sync_root(io: &Io) {
    let root = end_of(io, op::Open::new("/")).unwrap();
    assert_eq!(end_of(io, op::Fsync::new(root)), Ok(()));
    assert_eq!(end_of(io, op::Close::new(root)), Ok(()));
}

/// "Contents that were synced are there. Of what was written since, each sector of 512 bytes is there or as it was, in any
/// combination, and so is the file's length." Every one of these happens.
#[test]
fn a_crash_keeps_what_was_synced_and_some_of_the_rest() {
    const SECTOR: usize = 512;
    let (mut lengths, mut mixed) = (BTreeSet::new(), 0);
    for seed in SEEDS {
        let simulation = Simulation::new(seed);
        let (io, file) = lasting(&simulation, &[1; 8 * SECTOR]);
        write(&io, file, vec![2; 8 * SECTOR], 4 * SECTOR as u64);
        let found = end_of(&after_crash(&simulation, io), op::ReadFile::new("/file")).unwrap();
        assert!((8 * SECTOR..=12 * SECTOR).contains(&found.len()), "seed {seed}: {}", found.len());
        assert!(found[..4 * SECTOR].iter().all(|&byte| byte == 1), "seed {seed}: what nobody touched");
        for sector in found[4 * SECTOR..].chunks(SECTOR) {
            assert!(sector.iter().all(|&byte| byte == sector[0]), "seed {seed}: a sector is torn");
        }
        let kinds: BTreeSet<u8> = found[4 * SECTOR..8 * SECTOR].iter().copied().collect();
        assert!(kinds.is_subset(&BTreeSet::from([1, 2])), "seed {seed}: {kinds:?}");
        mixed += usize::from(kinds.len() == 2);
        lengths.insert(found.len());
    }
    assert!(mixed > 10 && lengths.contains(&(8 * SECTOR)) && lengths.contains(&(12 * SECTOR)));
}

/// "Names are there if their directory was synced since", and a file's own sync doesn't bring its name.
#[test]
fn a_crash_keeps_names_whose_directory_was_synced() {
    let mut found = BTreeSet::new();
    for seed in SEEDS {
        let simulation = Simulation::new(seed);
        let (io, _) = lasting(&simulation, b"kept");
        let file = open(&io, "/new");
        assert_eq!(end_of(&io, op::Fsync::new(file)), Ok(()));
        assert_eq!(end_of(&io, op::Unlink::new("/file")), Ok(()));
        let io = after_crash(&simulation, io);
        let names = end_of(&io, op::ReadDir::new("/")).unwrap();
        found.insert(names.into_iter().map(|entry| entry.name).collect::<Vec<_>>());
    }
    // The first few changes of a directory, and not the rest: never the second alone, which would leave nothing.
    let expected = [vec!["file".into()], vec!["file".into(), "new".into()], vec!["new".into()]];
    assert_eq!(found, BTreeSet::from(expected));
}

/// "A rename is there whole or not at all", across directories too: the file has one of its names, and its contents.
#[test]
fn a_crash_leaves_a_rename_whole() {
    let mut found = BTreeSet::new();
    for seed in SEEDS {
        let simulation = Simulation::new(seed);
        let (io, _) = lasting(&simulation, b"kept");
        assert_eq!(end_of(&io, op::Mkdir::new("/below")), Ok(()));
        sync_root(&io);
        assert_eq!(end_of(&io, op::Rename::new("/file", "/below/moved")), Ok(()));
        let io = after_crash(&simulation, io);
        let (old, new) = (op::ReadFile::new("/file"), op::ReadFile::new("/below/moved"));
        let (old, new) = (end_of(&io, old).ok(), end_of(&io, new).ok());
        assert!(old.is_some() != new.is_some(), "seed {seed}");
        found.insert(old.is_some());
        assert_eq!(old.or(new).unwrap(), b"kept");
        assert_eq!(end_of(&io, op::Stat::new("/below")).unwrap().links, 2);
    }
    assert_eq!(found.len(), 2);
}

/// Documented for `WriteFile::atomic`, here across crashes: the old contents or the new ones, nothing else.
#[test]
fn an_atomic_write_survives_a_crash_at_any_time() {
    let mut found = BTreeSet::new();
    for seed in SEEDS {
        let simulation = Simulation::new(seed);
        simulation.set_disk_faults(DiskFaults::new().short_transfers(2));
        let (io, _) = lasting(&simulation, &[1; 10_000]);
        io.submit(op::WriteFile::new("/file", vec![2; 20_000]).atomic(), |_, _, _| ());
        let end = io.now() + Duration::from_micros(seed);
        while io.now() < end {
            io.tick(Some(end - io.now())).unwrap();
        }
        let contents = end_of(&after_crash(&simulation, io), op::ReadFile::new("/file")).unwrap();
        assert!(contents == [1; 10_000] || contents == [2; 20_000], "seed {seed}: {}", contents.len());
        found.insert(contents.len());
    }
    assert_eq!(found.len(), 2);
}

/// "Every operation on them ends with `DeviceError`. Locks are free."
#[test]
fn files_that_are_open_in_a_crash_are_gone() {
    let simulation = Simulation::new(1);
    let (io, file) = lasting(&simulation, b"text");
    assert_eq!(end_of(&io, op::Lock::new(file)), Ok(()));
    simulation.crash();
    let read: Done<[u8; 4]> = end_of(&io, op::ReadAt::new(file, [0; 4], 0));
    let written = end_of(&io, op::WriteAt::new(file, "x", 0));
    let failed = Some(ErrorKind::DeviceError);
    assert_eq!([kind(read.result), kind(written.result)], [failed; 2]);
    assert_eq!(kind(end_of(&io, op::Fsync::new(file))), failed);
    assert_eq!(kind(end_of(&io, op::Stat::of(file))), failed);
    assert_eq!(kind(end_of(&io, op::Lock::new(file))), failed);
    let again = open(&io, "/file");
    assert_eq!(end_of(&io, op::Lock::new(again).no_wait()), Ok(()));
    assert_eq!(end_of(&io, op::Close::new(file)), Ok(()));
    assert_eq!(end_of(&io, op::ReadFile::new("/file")), Ok(b"text".to_vec()));
}

/// "It is still read as it was written, a later sync that succeeds does not bring it to the disk, and a crash loses it.
/// Only writing it again helps."
#[test]
fn what_a_failed_sync_did_not_write_is_lost() {
    for again in [false, true] {
        let simulation = Simulation::new(2);
        let (io, file) = lasting(&simulation, b"old");
        write(&io, file, b"new".to_vec(), 0);
        simulation.set_disk_faults(DiskFaults::new().sync_errors(1));
        assert_eq!(kind(end_of(&io, op::Fsync::new(file))), Some(ErrorKind::DeviceError));
        simulation.set_disk_faults(DiskFaults::new());
        if again {
            write(&io, file, b"new".to_vec(), 0);
        }
        assert_eq!(end_of(&io, op::Fsync::new(file)), Ok(()));
        assert_eq!(end_of(&io, op::ReadFile::new("/file")), Ok(b"new".to_vec()));
        let expected: &[u8] = if again { b"new" } else { b"old" };
        let found = end_of(&after_crash(&simulation, io), op::ReadFile::new("/file")).unwrap();
        assert_eq!(found, expected);
    }
}

/// Each fault of `DiskFaults` but those of syncs: what it says happens, and nothing else.
#[test]
fn reads_and_writes_fail_as_they_are_asked_to() {
    let simulation = Simulation::new(3);
    let (io, file) = lasting(&simulation, &[7; 100]);
    simulation.set_disk_faults(DiskFaults::new().read_errors(1));
    let done = end_of(&io, op::ReadAt::new(file, vec![0; 100], 0));
    assert_eq!((kind(done.result), done.bytes), (Some(ErrorKind::DeviceError), 0));
    simulation.set_disk_faults(DiskFaults::new().write_errors(1));
    let done = end_of(&io, op::WriteAt::new(file, [8; 10], 0));
    assert_eq!((kind(done.result), done.bytes), (Some(ErrorKind::DeviceError), 0));
    simulation.set_disk_faults(DiskFaults::new().short_transfers(1));
    let done = end_of(&io, op::ReadAt::new(file, vec![0; 100], 0));
    assert!(done.result == Ok(()) && (1..100).contains(&done.bytes) && done.data()[0] == 7);
    let done = end_of(&io, op::ReadAt::new(file, vec![0; 100], 0).exact(100));
    assert!(done.result == Ok(()) && done.buf == [7; 100]);
    let late = Duration::from_millis(3)..=Duration::from_millis(5);
    simulation.set_disk_faults(DiskFaults::new().latency(late));
    let start = io.now();
    assert_eq!(end_of(&io, op::Fsync::new(file)), Ok(()));
    assert!((3..7).contains(&(io.now() - start).as_millis()));
    // Two pages are there; the third one doesn't fit, and holes need none.
    simulation.set_disk_faults(DiskFaults::new().capacity(8192));
    let done = end_of(&io, op::WriteAt::new(file, vec![9; 10_000], 0).all());
    assert_eq!((kind(done.result), done.bytes), (Some(ErrorKind::StorageFull), 8192));
    assert_eq!(end_of(&io, op::Truncate::new(file, 1 << 40)), Ok(()));
    let full = end_of(&io, op::Allocate::new(file, 0, 8193));
    assert_eq!(kind(full), Some(ErrorKind::StorageFull));
    assert_eq!(end_of(&io, op::Allocate::new(file, 4096, 4096).punch_hole()), Ok(()));
    assert_eq!(end_of(&io, op::WriteAt::new(file, [1], 1 << 30)).result, Ok(()));
}

/// A wait for a lock that nobody will give back is a `Deadlock`, and one that somebody gives back isn't.
#[test]
fn a_lock_that_never_comes_is_a_deadlock() {
    let simulation = Simulation::new(4);
    let (io, one) = lasting(&simulation, b"");
    let other = open(&io, "/file");
    assert_eq!(end_of(&io, op::Lock::new(one)), Ok(()));
    let got = Rc::new(RefCell::new(Vec::new()));
    let seen = got.clone();
    io.submit(op::Lock::new(other), move |_, _, locked| seen.borrow_mut().push(locked));
    assert_eq!(kind(io.run()), Some(ErrorKind::Deadlock));
    assert!(got.borrow().is_empty());
    io.close(one);
    io.run().unwrap();
    assert_eq!(got.take(), [Ok(())]);
}

/// The same seed, the same crash; other seeds, others.
#[test]
fn the_same_seed_leaves_the_same_disk() {
    let run = |seed| {
        let simulation = Simulation::new(seed);
        simulation.set_disk_faults(
            DiskFaults::new().short_transfers(3).latency(Duration::ZERO..=Duration::from_micros(50)),
        );
        let (io, file) = lasting(&simulation, &[1; 50_000]);
        for part in 0..20_u8 {
            io.write_all_at(file, vec![part; 3_000], u64::from(part) * 2_000, |_, _, done| {
                done.result.unwrap()
            });
        }
        io.run().unwrap();
        let found = end_of(&after_crash(&simulation, io), op::ReadFile::new("/file")).unwrap();
        (found, simulation.digest())
    };
    let all: BTreeSet<_> = (0..20).map(|seed| (run(seed) == run(seed), run(seed))).collect();
    assert!(all.len() == 20 && all.iter().all(|entry| entry.0));
}
