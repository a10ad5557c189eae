//! What is done with names on the simulated disk: Linux's rules and errors.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::inodes::{Body, Inodes};
use super::walk::Found;
use crate::ErrorKind;
use crate::op::{DirEntry, FileType, OpenHow};

/// What is taken away from the permissions of whatever is made (umask(2)).
const MASK: u32 = 0o022;

/// Where a path begins, and the path.
pub(in crate::backend::sim) type At<'a> = (u64, &'a Path);

impl Inodes {
    /// What an open opens, which it perhaps makes.
    pub(in crate::backend::sim) fn open(
        &mut self,
        (from, path): At<'_>,
        how: &OpenHow,
        now: u64,
    ) -> Result<u64, ErrorKind> {
        // What they would mean is the system's.
        if how.custom_flags != 0 {
            return Err(ErrorKind::Unsupported);
        }
        let writes = how.write || how.append;
        let found = self.walk(from, path, !how.nofollow && !how.create_new)?;
        let Some(number) = found.inode else {
            if !how.create && !how.create_new {
                return Err(ErrorKind::NotFound);
            }
            if found.is_directory {
                return Err(ErrorKind::IsADirectory);
            }
            if how.directory {
                return Err(ErrorKind::InvalidInput);
            }
            return self.make(found, Body::File(Default::default()), how.mode, now);
        };
        if how.create_new {
            return Err(ErrorKind::AlreadyExists);
        }
        match &self.get(number).body {
            Body::Directory(_) if writes || how.create => Err(ErrorKind::IsADirectory),
            Body::Directory(_) => Ok(number),
            _ if how.directory => Err(ErrorKind::NotADirectory),
            Body::Symlink(_) => Err(ErrorKind::FilesystemLoop),
            Body::File(_) => {
                if how.truncate {
                    self.change(number, |content| content.set_length(0));
                    self.written(number, now);
                }
                Ok(number)
            }
        }
    }

    /// Notes that a file was written to.
    pub(in crate::backend::sim) fn written(&mut self, number: u64, now: u64) {
        let times = &mut self.get_mut(number).times;
        (times.modified, times.changed) = (now, now);
    }

    /// Makes something where a path has led to nothing.
    fn make(&mut self, found: Found, body: Body, mode: u32, now: u64) -> Result<u64, ErrorKind> {
        let (directory, name) = self.free_name(found)?;
        let number = self.add(body, mode & 0o7777 & !MASK, now);
        self.name(vec![(directory, name, Some(number))], now);
        Ok(number)
    }

    /// A name that nothing has, in a directory that is still one.
    fn free_name(&self, found: Found) -> Result<(u64, OsString), ErrorKind> {
        let name = match (found.name, found.inode) {
            (Some(name), None) => name,
            _ => return Err(ErrorKind::AlreadyExists),
        };
        match self.is_removed(found.directory) {
            true => Err(ErrorKind::NotFound),
            false => Ok((found.directory, name)),
        }
    }

    /// It has no name any more: nothing new gets into it.
    pub(in crate::backend::sim) fn is_removed(&self, directory: u64) -> bool {
        self.get(directory).names == 0 && directory != super::inodes::ROOT
    }

    pub(in crate::backend::sim) fn mkdir(
        &mut self,
        (from, path): At<'_>,
        mode: u32,
        now: u64,
    ) -> Result<(), ErrorKind> {
        let found = self.walk(from, path, false)?;
        let body = Body::directory(found.directory);
        self.make(found, body, mode, now).map(drop)
    }

    pub(in crate::backend::sim) fn symlink(
        &mut self,
        target: &Path,
        (from, path): At<'_>,
        now: u64,
    ) -> Result<(), ErrorKind> {
        let found = self.walk(from, path, false)?;
        if target.as_os_str().is_empty() || (found.is_directory && found.inode.is_none()) {
            return Err(ErrorKind::NotFound);
        }
        self.make(found, Body::Symlink(target.to_owned()), 0o777 | MASK, now).map(drop)
    }

    pub(in crate::backend::sim) fn link(
        &mut self,
        (from, path): At<'_>,
        (to, new): At<'_>,
        follow: bool,
        now: u64,
    ) -> Result<(), ErrorKind> {
        let number = self.find(from, path, follow)?;
        let found = self.walk(to, new, false)?;
        if found.is_directory && found.inode.is_none() {
            return Err(ErrorKind::NotFound);
        }
        let (directory, name) = self.free_name(found)?;
        if self.directory(number).is_some() {
            return Err(ErrorKind::PermissionDenied);
        }
        self.name(vec![(directory, name, Some(number))], now);
        Ok(())
    }

    pub(in crate::backend::sim) fn unlink(
        &mut self,
        (from, path): At<'_>,
        now: u64,
    ) -> Result<(), ErrorKind> {
        let found = self.walk(from, path, false)?;
        let number = found.inode.ok_or(ErrorKind::NotFound)?;
        if self.directory(number).is_some() {
            return Err(ErrorKind::IsADirectory);
        }
        let name = found.name.expect("only directories need none");
        self.name(vec![(found.directory, name, None)], now);
        Ok(())
    }

    pub(in crate::backend::sim) fn rmdir(&mut self, (from, path): At<'_>, now: u64) -> Result<(), ErrorKind> {
        let found = self.walk(from, path, false)?;
        let number = found.inode.ok_or(ErrorKind::NotFound)?;
        let directory = self.directory(number).ok_or(ErrorKind::NotADirectory)?;
        match found.name {
            // `.`, `..` and `/`.
            None if path.as_os_str().as_encoded_bytes().ends_with(b"..") => Err(ErrorKind::DirectoryNotEmpty),
            None if number == super::inodes::ROOT => Err(ErrorKind::Busy),
            None => Err(ErrorKind::InvalidInput),
            Some(_) if !directory.entries.is_empty() => Err(ErrorKind::DirectoryNotEmpty),
            Some(name) => {
                self.name(vec![(found.directory, name, None)], now);
                Ok(())
            }
        }
    }

    pub(in crate::backend::sim) fn rename(
        &mut self,
        (from, path): At<'_>,
        (to, new): At<'_>,
        replace: bool,
        now: u64,
    ) -> Result<(), ErrorKind> {
        let (old, new) = (self.walk(from, path, false)?, self.walk(to, new, false)?);
        let (Some(old_name), Some(new_name)) = (old.name, new.name) else { return Err(ErrorKind::Busy) };
        let moved = old.inode.ok_or(ErrorKind::NotFound)?;
        let is_directory = self.directory(moved).is_some();
        if new.is_directory && !is_directory {
            return Err(ErrorKind::NotADirectory);
        }
        if is_directory && self.is_below(new.directory, moved) {
            return Err(ErrorKind::InvalidInput);
        }
        if let Some(there) = new.inode {
            let other = self.directory(there);
            match () {
                () if !replace => return Err(ErrorKind::AlreadyExists),
                // Two names of the same: nothing is done (rename(2)).
                () if there == moved => return Ok(()),
                () if is_directory && other.is_none() => return Err(ErrorKind::NotADirectory),
                () if !is_directory && other.is_some() => return Err(ErrorKind::IsADirectory),
                () if other.is_some_and(|other| !other.entries.is_empty()) => {
                    return Err(ErrorKind::DirectoryNotEmpty);
                }
                () => {}
            }
        }
        if self.is_removed(new.directory) {
            return Err(ErrorKind::NotFound);
        }
        // The new name first: what has none is forgotten.
        let change = vec![(new.directory, new_name, Some(moved)), (old.directory, old_name, None)];
        self.name(change, now);
        Ok(())
    }

    /// Whether a directory is another one, or somewhere in it.
    fn is_below(&self, mut directory: u64, above: u64) -> bool {
        while directory != above && directory != super::inodes::ROOT && !self.is_removed(directory) {
            directory = self.directory(directory).expect("it was found in one").parent;
        }
        directory == above
    }

    pub(in crate::backend::sim) fn read_link(&self, (from, path): At<'_>) -> Result<PathBuf, ErrorKind> {
        match &self.get(self.find(from, path, false)?).body {
            Body::Symlink(target) => Ok(target.clone()),
            _ => Err(ErrorKind::InvalidInput),
        }
    }

    pub(in crate::backend::sim) fn read_dir(&self, (from, path): At<'_>) -> Result<Vec<DirEntry>, ErrorKind> {
        let number = self.find(from, path, true)?;
        let directory = self.directory(number).ok_or(ErrorKind::NotADirectory)?;
        let entry = |(name, &inode): (&OsString, &u64)| DirEntry {
            name: name.clone(),
            file_type: self.file_type(inode),
            inode,
        };
        Ok(directory.entries.iter().map(entry).collect())
    }

    pub(in crate::backend::sim) fn file_type(&self, number: u64) -> FileType {
        match &self.get(number).body {
            Body::File(_) => FileType::File,
            Body::Directory(_) => FileType::Directory,
            Body::Symlink(_) => FileType::Symlink,
        }
    }
}
