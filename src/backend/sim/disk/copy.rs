//! Copying a file of the simulated disk: at once, by sharing its pages.

use std::path::{Path, PathBuf};

use super::super::Access;
use super::inodes::Body;
use super::{Disk, ROOT};
use crate::backend::Copied;
use crate::op::{FileType, Kind};
use crate::{Error, ErrorKind};

/// What is to be copied where.
pub(crate) struct CopyOrder {
    pub(crate) from: PathBuf,
    pub(crate) to: PathBuf,
    /// Where the paths begin.
    pub(crate) directories: [Access; 2],
    /// What is there already may be replaced.
    pub(crate) replace: bool,
    /// It is brought to the disk before it gets its name.
    pub(crate) sync: bool,
}

impl CopyOrder {
    pub(crate) fn carry_out(self) -> Result<Copied, Error> {
        let [from, to] = &self.directories;
        let copied = from.with_disk(|disk, now| disk.copy(&self, [from.file(), to.file()], now));
        let bytes = copied.map_err(|error| Error::new(error, Kind::CopyFile))?;
        Ok(Copied::All { bytes, cloned: bytes > 0 })
    }
}

/// The directory of a path, and the path of the name there.
fn split(path: &Path) -> Result<(&Path, &Path), ErrorKind> {
    let bytes = path.as_os_str().as_encoded_bytes();
    let last = bytes.strip_suffix(b".").unwrap_or(bytes).last();
    let names_a_directory = last.is_some_and(|&byte| std::path::is_separator(byte.into()));
    match path.file_name() {
        _ if bytes.is_empty() => Err(ErrorKind::NotFound),
        Some(name) if !names_a_directory => {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            Ok((parent.unwrap_or(Path::new(".")), Path::new(name)))
        }
        _ => Err(ErrorKind::IsADirectory),
    }
}

impl Disk {
    fn copy(&mut self, order: &CopyOrder, at: [Option<u64>; 2], now: u64) -> Result<u64, ErrorKind> {
        let zero = |path: &Path| path.as_os_str().as_encoded_bytes().contains(&0);
        if zero(&order.from) || zero(&order.to) {
            return Err(ErrorKind::InvalidInput);
        }
        let base = |file: Option<u64>| file.map_or(Ok(ROOT), |file| self.inode(file));
        let (from, to) = (base(at[0])?, base(at[1])?);
        let source = self.inodes.find(from, &order.from, true)?;
        self.check_copied(source)?;
        let (parent, name) = split(&order.to)?;
        let directory = self.inodes.find(to, parent, true)?;
        if self.inodes.directory(directory).is_none() {
            return Err(ErrorKind::NotADirectory);
        }
        if let Ok(target) = self.inodes.find(directory, name, true) {
            if target == source {
                return Err(ErrorKind::InvalidInput);
            }
            if order.replace {
                self.check_copied(target)?;
            }
        }
        let found = self.inodes.walk(directory, name, false)?;
        if self.inodes.is_removed(directory) {
            return Err(ErrorKind::NotFound);
        }
        if found.inode.is_some() && !order.replace {
            return Err(ErrorKind::AlreadyExists);
        }
        let content = self.inodes.content(source).expect("a file").as_new();
        let (bytes, mode) = (content.length(), self.inodes.get(source).mode);
        if content.pages() > self.free() {
            return Err(ErrorKind::StorageFull);
        }
        let copy = self.inodes.add(Body::File(Default::default()), mode & 0o777, now);
        self.inodes.change(copy, |place| {
            *place = content;
            if order.sync {
                place.sync();
            }
        });
        let name = found.name.expect("split has seen to it");
        self.inodes.name(vec![(directory, name, Some(copy))], now);
        Ok(bytes)
    }

    /// Only what has an end.
    fn check_copied(&self, inode: u64) -> Result<(), ErrorKind> {
        match self.inodes.file_type(inode) {
            FileType::File => Ok(()),
            FileType::Directory => Err(ErrorKind::IsADirectory),
            _ => Err(ErrorKind::InvalidInput),
        }
    }
}
