//! Directories of their own for the cases about files, and what the process has open there.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use nbio::{Done, Error, ErrorKind, File, Operation, op};

use crate::disk;
use crate::support::Slot;
use crate::system;
use crate::wire::{Io, keep};

/// A directory that goes with everything in it when this is dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("nbio-{}-{number}", std::process::id()));
        disk::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A file with these contents.
    pub fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at(name);
        disk::write(&path, contents).unwrap();
        path
    }

    pub fn fifo(&self, name: &str) -> PathBuf {
        let path = self.at(name);
        system::make_fifo(&path);
        path
    }

    /// The names in it, sorted.
    pub fn names(&self) -> Vec<String> {
        let names = disk::names(&self.0).unwrap().into_iter();
        let mut names: Vec<String> = names.map(|name| name.into_os_string().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// How many descriptors of this process are of something in it; of anything in a simulation.
    pub fn open_descriptors(&self) -> usize {
        disk::open_files().unwrap_or_else(|| system::descriptors_below(&self.0))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What an operation ends with, on a loop that has nothing else to do.
pub fn end_of<O: Operation>(io: &Io, operation: O) -> O::Output {
    let slot = Slot::new();
    io.submit(operation, keep(&slot));
    io.run().unwrap();
    slot.one()
}

/// A file of the loop, opened for reading and writing, and made if there is none.
pub fn open(io: &Io, path: impl AsRef<Path>) -> File {
    end_of(io, op::Open::new(path).read(true).write(true).create(true)).unwrap()
}

/// Why an operation that moves bytes ended, if not well.
pub fn why<B>(done: &Done<B>) -> Option<ErrorKind> {
    done.result.err().map(|error| error.kind())
}

/// An error of the system's and of nbio's operation.
#[track_caller]
pub fn assert_error<T: std::fmt::Debug>(result: Result<T, Error>, kind: ErrorKind, operation: op::Kind) {
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (kind, operation), "{error}");
}
