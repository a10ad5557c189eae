//! How a job on files, which elsewhere is another thread's, gets at the simulated disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Shared;
use super::disk::{Disk, ROOT};
use crate::backend::files::system_path;
use crate::op::{DirEntry, Kind};
use crate::{Error, ErrorKind};

/// An open file of the simulated disk, or the disk itself.
#[derive(Clone)]
pub(crate) struct Access(Arc<Opened>);

struct Opened {
    shared: Arc<Shared>,
    file: Option<u64>,
}

impl Access {
    pub(super) fn new(shared: &Arc<Shared>, file: Option<u64>) -> Access {
        if let Some(file) = file {
            shared.world().disk.share(file);
        }
        Access(Arc::new(Opened { shared: shared.clone(), file }))
    }

    pub(super) fn file(&self) -> Option<u64> {
        self.0.file
    }

    /// Does something with the disk, at that time on the simulation's clock.
    pub(super) fn with_disk<T>(&self, act: impl FnOnce(&mut Disk, u64) -> T) -> T {
        self.0.shared.disturb(|world| {
            let now = world.now;
            let result = act(&mut world.disk, now);
            world.wake_waiting_jobs();
            result
        })
    }

    /// A number that nobody else gets.
    pub(crate) fn fresh_number(&self) -> u64 {
        self.with_disk(|disk, _| disk.fresh_number())
    }

    /// Looks at a path that begins here.
    fn look<T>(
        &self,
        kind: Kind,
        path: &Path,
        look: impl FnOnce(&Disk, u64) -> Result<T, ErrorKind>,
    ) -> Result<T, Error> {
        let found = match system_path(path) {
            Some(_) => self.with_disk(|disk, _| {
                let from = self.0.file.filter(|_| !path.has_root()).map_or(Ok(ROOT), |file| disk.inode(file));
                from.and_then(|from| look(disk, from))
            }),
            None => Err(ErrorKind::InvalidInput),
        };
        found.map_err(|error| Error::new(error, kind))
    }

    pub(crate) fn read_dir(&self, path: &Path) -> Result<Vec<DirEntry>, Error> {
        self.look(Kind::ReadDir, path, |disk, from| disk.inodes.read_dir((from, path)))
    }

    pub(crate) fn read_link(&self, path: &Path) -> Result<PathBuf, Error> {
        self.look(Kind::ReadLink, path, |disk, from| disk.inodes.read_link((from, path)))
    }

    pub(crate) fn try_lock(&self, shared: bool) -> Result<(), Error> {
        let file = self.0.file.expect("a lock is a file's");
        let locked = self.with_disk(|disk, _| disk.lock(file, shared));
        locked.map_err(|error| Error::new(error, Kind::Lock))
    }

    pub(crate) fn unlock(&self) -> Result<(), Error> {
        let file = self.0.file.expect("a lock is a file's");
        self.with_disk(|disk, _| disk.unlock(file));
        Ok(())
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let Some(file) = self.file {
            self.shared.disturb(|world| {
                world.disk.close(file);
                world.wake_waiting_jobs();
            });
        }
    }
}
