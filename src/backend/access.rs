//! What a job on another thread gets at files by: descriptors of its own, or in a simulation the disk there.

use std::path::{Path, PathBuf};

use super::{Copied, OwnedDescriptor, files, sim};
use crate::Error;
use crate::op::{DirEntry, Kind};

/// A file, or where paths begin: `None` is where the process's relative ones do.
pub(crate) enum FileAccess {
    System(Option<OwnedDescriptor>),
    Simulated(sim::Access),
}

impl FileAccess {
    /// Of the simulation's, if that is where it is.
    pub(crate) fn simulated(&self) -> Option<sim::Access> {
        match self {
            FileAccess::System(_) => None,
            FileAccess::Simulated(access) => Some(access.clone()),
        }
    }

    pub(crate) fn read_dir(self, path: &Path) -> Result<Vec<DirEntry>, Error> {
        match self {
            FileAccess::System(at) => files::read_dir(at, path),
            FileAccess::Simulated(at) => at.read_dir(path),
        }
    }

    pub(crate) fn read_link(self, path: &Path) -> Result<PathBuf, Error> {
        match self {
            FileAccess::System(at) => files::read_link(at, path),
            FileAccess::Simulated(at) => at.read_link(path),
        }
    }

    /// Locks the file, or says that it would have to wait.
    pub(crate) fn try_lock(&self, shared: bool) -> Result<(), Error> {
        match self {
            FileAccess::System(file) => {
                let file = file.as_ref().expect("a lock is a file's");
                files::try_lock(file, shared).map_err(|os| Error::from_os(os, Kind::Lock))
            }
            FileAccess::Simulated(file) => file.try_lock(shared),
        }
    }

    pub(crate) fn unlock(&self) -> Result<(), Error> {
        match self {
            FileAccess::System(file) => {
                let file = file.as_ref().expect("a lock is a file's");
                files::unlock(file).map_err(|os| Error::from_os(os, Kind::Unlock))
            }
            FileAccess::Simulated(file) => file.unlock(),
        }
    }
}

/// A copy that is to be made.
pub(crate) enum AnyCopyOrder {
    System(super::CopyOrder),
    Simulated(sim::CopyOrder),
}

impl AnyCopyOrder {
    pub(crate) fn new(
        (from, to): (PathBuf, PathBuf),
        directories: [FileAccess; 2],
        replace: bool,
        sync: bool,
    ) -> AnyCopyOrder {
        use FileAccess::{Simulated, System};
        match directories {
            [System(first), System(second)] => {
                let directories = [first, second];
                AnyCopyOrder::System(super::CopyOrder { from, to, directories, replace, sync })
            }
            [Simulated(first), Simulated(second)] => {
                let directories = [first, second];
                AnyCopyOrder::Simulated(sim::CopyOrder { from, to, directories, replace, sync })
            }
            _ => unreachable!("both are of the same loop"),
        }
    }

    /// Does the first portion.
    pub(crate) fn begin(self, stopped: &dyn Fn() -> bool) -> Result<Copied, Error> {
        match self {
            AnyCopyOrder::System(order) => order.begin(stopped),
            AnyCopyOrder::Simulated(order) => order.carry_out(),
        }
    }
}
