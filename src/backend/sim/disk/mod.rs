//! The simulated disk: files, directories and links in memory, with Linux's rules, and what of them a power failure
//! leaves.

mod content;
mod copy;
mod inodes;
mod names;
mod walk;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::draw::Draw;
use crate::ErrorKind;
use crate::engine::op::Space;
use crate::op::{Metadata, OpenHow};
use crate::simulation::DiskFaults;

pub(crate) use copy::CopyOrder;
pub(super) use inodes::ROOT;
pub(super) use names::At;

use content::PAGE;
use inodes::{Body, Inodes};

/// The longest file (as ext4 has it).
const LONGEST_FILE: u64 = 16 << 40;

pub(super) struct Disk {
    pub(super) inodes: Inodes,
    /// Open files, by numbers of their own: several names of the loops' may share one, as after dup(2).
    opened: BTreeMap<u64, Opened>,
    next: u64,
    pub(super) faults: DiskFaults,
    /// How often a lock was given back.
    pub(super) unlocks: u64,
}

struct Opened {
    /// `None` after a power failure.
    inode: Option<u64>,
    read: bool,
    write: bool,
    append: bool,
    names: usize,
}

impl Disk {
    pub(super) fn new(now: u64) -> Disk {
        Disk {
            inodes: Inodes::new(now),
            opened: BTreeMap::new(),
            next: 0,
            faults: DiskFaults::default(),
            unlocks: 0,
        }
    }

    pub(super) fn open(&mut self, at: At<'_>, how: &OpenHow, now: u64) -> Result<u64, ErrorKind> {
        let inode = self.inodes.open(at, how, now)?;
        self.inodes.hold(inode);
        let write = how.write || how.append;
        let opened =
            Opened { inode: Some(inode), read: how.read || !write, write, append: how.append, names: 1 };
        let number = self.fresh_number();
        self.opened.insert(number, opened);
        Ok(number)
    }

    pub(super) fn fresh_number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// One more that has it open.
    pub(super) fn share(&mut self, file: u64) {
        self.opened(file).names += 1;
    }

    /// One fewer; the last one closes it.
    pub(super) fn close(&mut self, file: u64) {
        let opened = self.opened(file);
        opened.names -= 1;
        if opened.names == 0 {
            self.unlock(file);
            let opened = self.opened.remove(&file).expect("just seen");
            opened.inode.into_iter().for_each(|inode| self.inodes.let_go(inode));
        }
    }

    pub(super) fn open_files(&self) -> usize {
        self.opened.len()
    }

    fn opened(&mut self, file: u64) -> &mut Opened {
        self.opened.get_mut(&file).expect("whoever knows its number has it open")
    }

    /// What an open file is; a power failure has taken it away.
    pub(super) fn inode(&self, file: u64) -> Result<u64, ErrorKind> {
        self.opened[&file].inode.ok_or(ErrorKind::DeviceError)
    }

    pub(super) fn metadata(&self, inode: u64) -> Metadata {
        let known = self.inodes.get(inode);
        let time = |nanos| SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos);
        let below = |directory: &inodes::Directory| {
            let numbers = directory.entries.values();
            numbers.filter(|&&number| self.inodes.directory(number).is_some()).count() as u64
        };
        let (size, pages, links) = match &known.body {
            Body::File(content) => (content.length(), content.pages(), known.names),
            Body::Directory(_) if known.names == 0 && inode != ROOT => (PAGE as u64, 1, 0),
            Body::Directory(directory) => (PAGE as u64, 1, 2 + below(directory)),
            Body::Symlink(target) => (target.as_os_str().len() as u64, 0, known.names),
        };
        Metadata {
            file_type: self.inodes.file_type(inode),
            size,
            allocated: pages * PAGE as u64,
            accessed: time(known.times.accessed),
            modified: time(known.times.modified),
            changed: time(known.times.changed),
            created: Some(time(known.times.created)),
            mode: known.mode,
            links,
            inode,
            device: 1,
            user: 0,
            group: 0,
        }
    }

    /// How many bytes a read of so many gets; at the end none.
    pub(super) fn readable(&self, file: u64, offset: u64, most: usize) -> Result<usize, ErrorKind> {
        let inode = self.inode(file)?;
        if !self.opened[&file].read {
            return Err(ErrorKind::BadDescriptor);
        }
        match self.inodes.content(inode) {
            Some(content) => Ok(content.there(offset, most)),
            None => Err(ErrorKind::IsADirectory),
        }
    }

    pub(super) fn read(&self, file: u64, offset: u64, length: usize, take: impl FnMut(&[u8])) {
        let inode = self.inode(file).expect("it is readable");
        self.inodes.content(inode).expect("it is readable").read(offset, length, take);
    }

    /// Where a write goes, and how many bytes of so many: fewer if the disk is full or the file too long.
    pub(super) fn writable(&self, file: u64, offset: u64, most: usize) -> Result<(u64, usize), ErrorKind> {
        let (inode, opened) = (self.inode(file)?, &self.opened[&file]);
        let content = self.inodes.content(inode).filter(|_| opened.write).ok_or(ErrorKind::BadDescriptor)?;
        let offset = if opened.append { content.length() } else { offset };
        let most = most.min(usize::try_from(LONGEST_FILE.saturating_sub(offset)).unwrap_or(usize::MAX));
        if most == 0 {
            return Err(ErrorKind::FileTooLarge);
        }
        match content.fitting(offset, most, self.free()) {
            0 => Err(ErrorKind::StorageFull),
            bytes => Ok((offset, bytes)),
        }
    }

    pub(super) fn write(
        &mut self,
        file: u64,
        (offset, length): (u64, usize),
        now: u64,
        fill: impl FnMut(&mut [u8]),
    ) {
        let inode = self.inode(file).expect("it is writable");
        self.inodes.change(inode, |content| content.write(offset, length, fill));
        self.inodes.written(inode, now);
    }

    /// The pages that nothing is in.
    fn free(&self) -> u64 {
        (self.faults.capacity / PAGE as u64).saturating_sub(self.inodes.pages)
    }

    /// The file behind an open one that is written to as a whole.
    fn whole(&self, file: u64, otherwise: ErrorKind) -> Result<u64, ErrorKind> {
        let inode = self.inode(file)?;
        let writes = self.opened[&file].write && self.inodes.content(inode).is_some();
        if writes { Ok(inode) } else { Err(otherwise) }
    }

    pub(super) fn truncate(&mut self, file: u64, length: u64, now: u64) -> Result<(), ErrorKind> {
        let inode = self.whole(file, ErrorKind::InvalidInput)?;
        if length > LONGEST_FILE {
            return Err(ErrorKind::FileTooLarge);
        }
        self.inodes.change(inode, |content| content.set_length(length));
        self.inodes.written(inode, now);
        Ok(())
    }

    pub(super) fn allocate(
        &mut self,
        file: u64,
        (from, to): (u64, u64),
        how: Space,
        now: u64,
    ) -> Result<(), ErrorKind> {
        let inode = self.whole(file, ErrorKind::BadDescriptor)?;
        let content = self.inodes.content(inode).expect("a file");
        if how != Space::Punch {
            if to > LONGEST_FILE {
                return Err(ErrorKind::FileTooLarge);
            }
            if content.missing(from, to) > self.free() {
                return Err(ErrorKind::StorageFull);
            }
        }
        self.inodes.change(inode, |content| match how {
            Space::Punch => content.clear(from, to),
            Space::Keep => content.reserve(from, to),
            Space::Grow => {
                content.reserve(from, to);
                content.set_length(content.length().max(to));
            }
        });
        self.inodes.written(inode, now);
        Ok(())
    }

    /// Brings a file's contents, or a directory's names, to the disk; `fails` if that goes wrong.
    pub(super) fn sync(&mut self, file: u64, fails: bool) -> Result<(), ErrorKind> {
        let inode = self.inode(file)?;
        match (self.inodes.directory(inode), fails) {
            (Some(_), true) => {}
            (Some(_), false) => self.inodes.sync_names(inode),
            (None, true) => self.inodes.change(inode, |content| content.sync_in_vain()),
            (None, false) => self.inodes.change(inode, |content| content.sync()),
        }
        if fails { Err(ErrorKind::DeviceError) } else { Ok(()) }
    }

    /// Locks a file for an open one, in place of the lock that it has perhaps.
    pub(super) fn lock(&mut self, file: u64, shared: bool) -> Result<(), ErrorKind> {
        let inode = self.inode(file)?;
        let locks = &mut self.inodes.get_mut(inode).locks;
        if locks.iter().any(|(&other, &with_others)| other != file && !(shared && with_others)) {
            return Err(ErrorKind::WouldBlock);
        }
        // Others may come in where one was alone.
        if locks.insert(file, shared) == Some(false) && shared {
            self.unlocks += 1;
        }
        Ok(())
    }

    pub(super) fn unlock(&mut self, file: u64) {
        if let Ok(inode) = self.inode(file)
            && self.inodes.get_mut(inode).locks.remove(&file).is_some()
        {
            self.unlocks += 1;
        }
    }

    /// The power fails. What is open is gone.
    pub(super) fn crash(&mut self, draw: &mut Draw) {
        let files: Vec<u64> = self.opened.keys().copied().collect();
        for file in files {
            self.unlock(file);
            let inode = self.opened(file).inode.take();
            inode.into_iter().for_each(|inode| self.inodes.let_go(inode));
        }
        self.inodes.crash(draw);
    }
}
