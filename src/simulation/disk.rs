//! What may go wrong with a simulation's disk.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Simulation;

/// What goes wrong on the disk of a [`Simulation`], as its seed wills: nothing, unless it is asked for here.
///
/// "Once in `n`" is a chance for each operation; 0 is never, 1 always.
///
/// ```
/// use nbio::{Builder, DiskFaults, ErrorKind, EventLoop, Simulation, op};
/// let simulation = Simulation::new(3);
/// let io: EventLoop = Builder::new().simulation(&simulation).build()?;
/// simulation.set_disk_faults(DiskFaults::new().capacity(1 << 20));
/// io.submit(op::WriteFile::new("/large", vec![7; 2 << 20]), |_, _, done| {
///     assert_eq!(done.result.unwrap_err().kind(), ErrorKind::StorageFull);
/// });
/// io.run()?;
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Copy, Clone, Debug)]
pub struct DiskFaults {
    pub(crate) short_transfers: u32,
    pub(crate) read_errors: u32,
    pub(crate) write_errors: u32,
    pub(crate) sync_errors: u32,
    /// In nanoseconds.
    pub(crate) latency: (u64, u64),
    /// In bytes.
    pub(crate) capacity: u64,
}

/// The size of the disk that nobody has asked for another one: 1 GiB.
const CAPACITY: u64 = 1 << 30;

impl Default for DiskFaults {
    fn default() -> DiskFaults {
        DiskFaults::new()
    }
}

impl DiskFaults {
    /// None: reads and writes move all that they can at once, on a disk of 1 GiB.
    pub fn new() -> DiskFaults {
        DiskFaults {
            short_transfers: 0,
            read_errors: 0,
            write_errors: 0,
            sync_errors: 0,
            latency: (0, 0),
            capacity: CAPACITY,
        }
    }

    /// Once in so many times a read or write moves only a part of its bytes, at least one. Those that ask for all
    /// of them ([`exact`](crate::op::ReadAt::exact), [`all`](crate::op::WriteAt::all)) go on by themselves.
    pub fn short_transfers(mut self, once_in: u32) -> DiskFaults {
        self.short_transfers = once_in;
        self
    }

    /// Once in so many times a read fails with [`DeviceError`](crate::ErrorKind::DeviceError).
    pub fn read_errors(mut self, once_in: u32) -> DiskFaults {
        self.read_errors = once_in;
        self
    }

    /// Once in so many times a write fails with [`DeviceError`](crate::ErrorKind::DeviceError), and changes nothing.
    pub fn write_errors(mut self, once_in: u32) -> DiskFaults {
        self.write_errors = once_in;
        self
    }

    /// Once in so many times [`Fsync`](crate::op::Fsync) or [`Fdatasync`](crate::op::Fdatasync) fails with
    /// [`DeviceError`](crate::ErrorKind::DeviceError). As on Linux, the system then takes what it could not write for
    /// written: it is still read as it was written, a later sync that succeeds does not bring it to the disk, and a
    /// crash loses it. Only writing it again helps.
    pub fn sync_errors(mut self, once_in: u32) -> DiskFaults {
        self.sync_errors = once_in;
        self
    }

    /// Each operation on files takes so long, besides what the simulation draws anyway. A range whose end is before its
    /// start is its start alone.
    pub fn latency(mut self, range: RangeInclusive<Duration>) -> DiskFaults {
        self.latency = super::nanos(range);
        self
    }

    /// The disk's size in bytes: writing more, in units of 4 KiB, is a short write and then
    /// [`StorageFull`](crate::ErrorKind::StorageFull). What is there already stays if it is more.
    pub fn capacity(mut self, bytes: u64) -> DiskFaults {
        self.capacity = bytes;
        self
    }
}

impl Simulation {
    /// Sets what goes wrong on the disk from now on, instead of what was set before.
    pub fn set_disk_faults(&self, faults: DiskFaults) {
        self.shared.set_disk_faults(faults);
    }

    /// The power fails, and comes back: the disk is left with what it may be left with.
    ///
    /// - **Contents** that were synced ([`Fsync`](crate::op::Fsync), [`Fdatasync`](crate::op::Fdatasync)) are there. Of
    ///   what was written since, each sector of 512 bytes is there or as it was at the last sync, in any
    ///   combination, and so is the file's length.
    /// - **Names** (made, renamed, removed) are there if their directory was synced since. Of later changes of one
    ///   directory, the first few are there and the rest isn't. A rename is there whole or not at all. Syncing a file
    ///   does not bring its name to the disk.
    /// - **Files that are open** are gone: every operation on them ends with
    ///   [`DeviceError`](crate::ErrorKind::DeviceError). Locks are free.
    ///
    /// The rest of the machine, sockets and clock, doesn't notice: drop the loops that shall not survive it, before or
    /// after.
    ///
    /// A log that loses nothing of what it has acknowledged, whenever the power fails:
    ///
    /// ```
    /// use std::{cell::RefCell, rc::Rc, time::Duration};
    /// use nbio::{Builder, Error, EventLoop, File, Simulation, op};
    ///
    /// // Each record is four bytes, written behind the ones before it. It counts once it is synced.
    /// fn append(io: &EventLoop, log: File, next: u32, acknowledged: Rc<RefCell<Vec<u32>>>) {
    ///     let place = u64::from(next) * 4;
    ///     io.write_all_at(log, next.to_le_bytes(), place, move |_, io, done| {
    ///         done.result.unwrap();
    ///         io.fsync(log, move |_, io, synced| {
    ///             synced.unwrap();
    ///             acknowledged.borrow_mut().push(next);
    ///             append(io, log, next + 1, acknowledged);
    ///         });
    ///     });
    /// }
    ///
    /// for seed in 0..50 {
    ///     let simulation = Simulation::new(seed);
    ///     let acknowledged = Rc::new(RefCell::new(Vec::new()));
    ///     let io: EventLoop = Builder::new().simulation(&simulation).build()?;
    ///     let records = acknowledged.clone();
    ///     io.submit(op::Open::new("/log").write(true).create(true), move |_, io, log: Result<File, Error>| {
    ///         // The name must get to the disk, too: the directory is synced before the first record.
    ///         io.submit(op::Open::new("/"), move |_, io, directory: Result<File, Error>| {
    ///             let (log, directory) = (log.unwrap(), directory.unwrap());
    ///             io.fsync(directory, move |_, io, synced| {
    ///                 synced.unwrap();
    ///                 append(io, log, 0, records);
    ///             });
    ///         });
    ///     });
    ///     let end = io.now() + Duration::from_micros(seed * 37);
    ///     while io.now() < end {
    ///         io.tick(Some(end - io.now()))?;
    ///     }
    ///     drop(io);
    ///     simulation.crash();
    ///
    ///     let io: EventLoop = Builder::new().simulation(&simulation).build()?;
    ///     io.submit(op::ReadFile::new("/log"), move |_, _, found| {
    ///         let found: Vec<u8> = found.unwrap_or_default();
    ///         for record in acknowledged.borrow().iter() {
    ///             let place = *record as usize * 4;
    ///             assert_eq!(found[place..place + 4], record.to_le_bytes(), "seed {seed}");
    ///         }
    ///     });
    ///     io.run()?;
    /// }
    /// # Ok::<(), Error>(())
    /// ```
    pub fn crash(&self) {
        self.shared.crash();
    }
}
