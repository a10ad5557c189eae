//! The files and directories of the simulated disk by their numbers, the names that lead to them, and which of those
//! names the disk has.
//!
//! A change of names is in memory first. A directory's sync brings its changes to the disk, and whatever they depend
//! on: earlier changes of the same directories. A crash leaves some of them: the earlier ones of a directory before
//! the later ones, and one that is about two names (a rename) whole or not at all.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::path::PathBuf;

use super::super::draw::Draw;
use super::content::Content;

/// The number of the directory that contains all others.
pub(in crate::backend::sim) const ROOT: u64 = 1;

/// So many changes of names wait for a sync; the system writes older ones by itself.
const MOST_CHANGES: usize = 4_096;

pub(in crate::backend::sim) struct Inode {
    pub(in crate::backend::sim) body: Body,
    pub(in crate::backend::sim) mode: u32,
    /// Names of it.
    pub(in crate::backend::sim) names: u64,
    /// Whoever knows it: names, in memory and on the disk, and open files.
    holders: u64,
    /// On the simulation's clock.
    pub(in crate::backend::sim) times: Times,
    /// Which open files have locked it, and whether with others.
    pub(in crate::backend::sim) locks: BTreeMap<u64, bool>,
}

#[derive(Copy, Clone)]
pub(in crate::backend::sim) struct Times {
    pub(in crate::backend::sim) created: u64,
    pub(in crate::backend::sim) accessed: u64,
    pub(in crate::backend::sim) modified: u64,
    pub(in crate::backend::sim) changed: u64,
}

pub(in crate::backend::sim) enum Body {
    File(Content),
    Directory(Directory),
    Symlink(PathBuf),
}

pub(in crate::backend::sim) struct Directory {
    pub(in crate::backend::sim) parent: u64,
    pub(in crate::backend::sim) entries: BTreeMap<OsString, u64>,
    durable: BTreeMap<OsString, u64>,
}

/// Names that change together: of which directory, which, and what they then lead to.
type Change = Vec<(u64, OsString, Option<u64>)>;

pub(in crate::backend::sim) struct Inodes {
    all: BTreeMap<u64, Inode>,
    next: u64,
    changes: VecDeque<Change>,
    /// Of all files.
    pub(in crate::backend::sim) pages: u64,
}

/// What a change has to keep its order with: others of the same directories, and of one that is moved.
fn concerned(change: &Change) -> impl Iterator<Item = u64> {
    let moved = change.iter().filter(|_| change.len() > 1).filter_map(|entry| entry.2);
    change.iter().map(|entry| entry.0).chain(moved)
}

impl Body {
    pub(in crate::backend::sim) fn directory(parent: u64) -> Body {
        Body::Directory(Directory { parent, entries: BTreeMap::new(), durable: BTreeMap::new() })
    }
}

impl Inodes {
    pub(in crate::backend::sim) fn new(now: u64) -> Inodes {
        let mut inodes = Inodes { all: BTreeMap::new(), next: ROOT, changes: VecDeque::new(), pages: 0 };
        inodes.add(Body::directory(ROOT), 0o755, now);
        inodes.hold(ROOT);
        inodes
    }

    /// Something new without a name.
    pub(in crate::backend::sim) fn add(&mut self, body: Body, mode: u32, now: u64) -> u64 {
        let number = self.next;
        self.next += 1;
        let times = Times { created: now, accessed: now, modified: now, changed: now };
        let inode = Inode { body, mode, names: 0, holders: 0, times, locks: BTreeMap::new() };
        self.all.insert(number, inode);
        number
    }

    pub(in crate::backend::sim) fn get(&self, number: u64) -> &Inode {
        &self.all[&number]
    }

    pub(in crate::backend::sim) fn get_mut(&mut self, number: u64) -> &mut Inode {
        self.all.get_mut(&number).expect("whoever knows its number holds it")
    }

    pub(in crate::backend::sim) fn directory(&self, number: u64) -> Option<&Directory> {
        match &self.get(number).body {
            Body::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    fn directory_mut(&mut self, number: u64) -> &mut Directory {
        match &mut self.get_mut(number).body {
            Body::Directory(directory) => directory,
            _ => unreachable!("names are in directories"),
        }
    }

    pub(in crate::backend::sim) fn content(&self, number: u64) -> Option<&Content> {
        match &self.get(number).body {
            Body::File(content) => Some(content),
            _ => None,
        }
    }

    /// Changes what is in a file.
    pub(in crate::backend::sim) fn change<T>(
        &mut self,
        number: u64,
        change: impl FnOnce(&mut Content) -> T,
    ) -> T {
        let Body::File(content) = &mut self.get_mut(number).body else {
            unreachable!("only files are written")
        };
        let before = content.pages();
        let result = change(content);
        let after = content.pages();
        self.pages = self.pages + after - before;
        result
    }

    pub(in crate::backend::sim) fn hold(&mut self, number: u64) {
        self.get_mut(number).holders += 1;
    }

    /// One that nobody knows any more is gone.
    pub(in crate::backend::sim) fn let_go(&mut self, number: u64) {
        let inode = self.get_mut(number);
        inode.holders -= 1;
        if inode.holders == 0 {
            self.pages -= self.content(number).map_or(0, Content::pages);
            let inode = self.all.remove(&number).expect("just seen");
            if let Body::Directory(directory) = inode.body {
                let known = directory.entries.into_values().chain(directory.durable.into_values());
                known.for_each(|below| self.let_go(below));
            }
        }
    }

    /// Changes names, all of them at once.
    pub(in crate::backend::sim) fn name(&mut self, change: Change, now: u64) {
        for (directory, name, to) in &change {
            self.hold(*directory);
            // For the entry, and for the change that is to be written.
            for number in to.iter().flat_map(|number| [number, number]) {
                self.hold(*number);
            }
            let entries = &mut self.directory_mut(*directory).entries;
            let before = match to {
                Some(number) => entries.insert(name.clone(), *number),
                None => entries.remove(name),
            };
            if let Some(number) = to {
                self.get_mut(*number).names += 1;
                self.get_mut(*number).times.changed = now;
                if let Body::Directory(below) = &mut self.get_mut(*number).body {
                    below.parent = *directory;
                }
            }
            if let Some(number) = before {
                self.get_mut(number).names -= 1;
                self.get_mut(number).times.changed = now;
                self.let_go(number);
            }
            let times = &mut self.get_mut(*directory).times;
            (times.modified, times.changed) = (now, now);
        }
        self.changes.push_back(change);
        if self.changes.len() > MOST_CHANGES {
            let oldest = self.changes.pop_front().expect("there are some");
            self.write(oldest, true);
        }
    }

    /// A change is over: the disk has it, or it never will.
    fn write(&mut self, change: Change, done: bool) {
        for (directory, name, to) in change {
            let before = if done {
                let durable = &mut self.directory_mut(directory).durable;
                match to {
                    // The change's hold becomes the entry's.
                    Some(number) => durable.insert(name, number),
                    None => durable.remove(&name),
                }
            } else {
                to
            };
            before.into_iter().for_each(|number| self.let_go(number));
            self.let_go(directory);
        }
    }

    /// Brings the names of a directory to the disk.
    pub(in crate::backend::sim) fn sync_names(&mut self, directory: u64) {
        let mut wanted = BTreeSet::from([directory]);
        let mut needed: Vec<bool> = Vec::with_capacity(self.changes.len());
        for change in self.changes.iter().rev() {
            let is_needed = concerned(change).any(|number| wanted.contains(&number));
            if is_needed {
                wanted.extend(concerned(change));
            }
            needed.push(is_needed);
        }
        for change in std::mem::take(&mut self.changes) {
            match needed.pop() {
                Some(true) => self.write(change, true),
                _ => self.changes.push_back(change),
            }
        }
    }

    /// The power fails: what is in memory is gone, and on the disk is some of what was not yet synced. Nobody may have
    /// anything open.
    pub(in crate::backend::sim) fn crash(&mut self, draw: &mut Draw) {
        // Before a name is given up: what it leads to may come back.
        let numbers: Vec<u64> = self.all.keys().copied().collect();
        numbers.iter().for_each(|&number| self.hold(number));
        let mut behind = BTreeSet::new();
        for change in std::mem::take(&mut self.changes) {
            let lost = concerned(&change).any(|number| behind.contains(&number)) || draw.once_in(2);
            if lost {
                behind.extend(concerned(&change));
            }
            self.write(change, !lost);
        }
        for &number in &numbers {
            self.get_mut(number).names = 0;
            match &self.get(number).body {
                Body::File(_) => self.change(number, |content| content.crash(draw)),
                Body::Directory(_) => self.forget_names(number),
                Body::Symlink(_) => {}
            }
        }
        for &number in &numbers {
            let below = self.directory(number).map(|directory| directory.entries.values().copied());
            let below: Vec<u64> = below.into_iter().flatten().collect();
            for below in below {
                self.get_mut(below).names += 1;
                if let Body::Directory(directory) = &mut self.get_mut(below).body {
                    directory.parent = number;
                }
            }
        }
        numbers.iter().for_each(|&number| self.let_go(number));
    }

    /// The names in memory become those on the disk.
    fn forget_names(&mut self, directory: u64) {
        let durable = self.directory_mut(directory).durable.clone();
        durable.values().for_each(|&number| self.hold(number));
        let before = std::mem::replace(&mut self.directory_mut(directory).entries, durable);
        before.into_values().for_each(|number| self.let_go(number));
    }
}
