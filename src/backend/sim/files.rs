//! Shots on the simulated disk: they take their time, then they are done.

use std::path::PathBuf;
use std::ptr::NonNull;

use super::disk::{At, Disk, ROOT};
use super::memory::Memory;
use super::network::Kind;
use super::options::Settings;
use super::world::{ShotId, Work, World};
use crate::ErrorKind;
use crate::backend::{CURRENT_DIRECTORY, Outcome, RawDescriptor, files};
use crate::engine::op::{Op, Space};
use crate::engine::paths::{Call, PathCall};

/// What is done with an open file, or with paths.
pub(super) enum FileWork {
    Read(Memory, u64),
    Write(Memory, u64),
    Sync,
    Truncate(u64),
    Allocate(u64, u64, Space),
    Path(Box<PathWork>),
}

pub(super) struct PathWork {
    call: Call,
    path: PathBuf,
    second_path: PathBuf,
    second_directory: RawDescriptor,
    answer: Answer,
}

/// Where what is known of a file goes.
struct Answer(NonNull<PathCall>);

// SAFETY: used under the world's lock, until the shot's completion is handed over: so long the engine keeps the call, and
// looks only at what the simulation doesn't touch.
unsafe impl Send for Answer {}

impl FileWork {
    /// What an operation on files asks for; `None` for others.
    pub(super) fn of(op: &Op, moved: usize) -> Option<FileWork> {
        let memory = || Memory::of(op, moved).expect("it moves bytes");
        Some(match *op {
            Op::ReadAt { offset, .. } | Op::ReadAtVectored { offset, .. } => {
                FileWork::Read(memory(), offset + moved as u64)
            }
            Op::WriteAt { offset, .. } | Op::WriteAtVectored { offset, .. } => {
                FileWork::Write(memory(), offset + moved as u64)
            }
            Op::Sync { .. } => FileWork::Sync,
            Op::Truncate { length } => FileWork::Truncate(length),
            Op::Allocate { offset, length, how } => FileWork::Allocate(offset, offset + length, how),
            Op::Path(ref path) => FileWork::Path(Box::new(PathWork {
                call: path.call,
                path: files::path_of(&path.path).to_owned(),
                second_path: files::path_of(&path.second_path).to_owned(),
                second_directory: path.second_directory.get(),
                answer: Answer(NonNull::from(&**path)),
            })),
            _ => return None,
        })
    }

    /// Its end is a descriptor.
    pub(super) fn opens(&self) -> bool {
        matches!(self, FileWork::Path(path) if matches!(path.call, Call::Open(_)))
    }
}

impl World {
    /// How long the disk takes before it looks at a shot.
    pub(super) fn file_delay(&mut self) -> u64 {
        let (least, most) = self.disk.faults.latency;
        self.draw.delay() + if most > 0 { least + self.draw.below(most - least + 1) } else { 0 }
    }

    /// Something that happens once in so many times; never, if that is 0.
    pub(super) fn fails(&mut self, once_in: u32) -> bool {
        once_in > 0 && self.draw.once_in(once_in.into())
    }

    pub(super) fn do_with_file(&mut self, id: ShotId, number: usize) {
        let Work::File(work) = &self.shot(id).expect("not over").work else { unreachable!("asked for") };
        let done = match *work {
            FileWork::Read(ref memory, offset) => {
                let most = memory.length();
                self.read_file(id, number, offset, most)
            }
            FileWork::Write(ref memory, offset) => {
                let most = memory.length();
                self.write_file(id, number, offset, most)
            }
            FileWork::Sync => {
                let fails = self.fails(self.disk.faults.sync_errors);
                let file = self.network.file(number);
                self.disk.sync(file, fails).map(|()| 0)
            }
            FileWork::Truncate(length) => {
                self.disk.truncate(self.network.file(number), length, self.now).map(|()| 0)
            }
            FileWork::Allocate(from, to, how) => {
                self.disk.allocate(self.network.file(number), (from, to), how, self.now).map(|()| 0)
            }
            FileWork::Path(_) => self.do_with_path(id, number),
        };
        self.complete(id, done.map_or_else(Outcome::Refused, Outcome::Value));
    }

    fn read_file(&mut self, id: ShotId, number: usize, offset: u64, most: usize) -> Result<u32, ErrorKind> {
        let file = self.network.file(number);
        let there = self.disk.readable(file, offset, most)?;
        if self.fails(self.disk.faults.read_errors) {
            return Err(ErrorKind::DeviceError);
        }
        let bytes = self.cut_short(there);
        let Work::File(FileWork::Read(memory, _)) = &self.shot(id).expect("not over").work else {
            unreachable!("a read was asked for")
        };
        let mut done = 0;
        self.disk.read(file, offset, bytes, |part| {
            memory.put(done, part);
            done += part.len();
        });
        Ok(bytes as u32)
    }

    fn write_file(&mut self, id: ShotId, number: usize, offset: u64, most: usize) -> Result<u32, ErrorKind> {
        let file = self.network.file(number);
        let (offset, most) = self.disk.writable(file, offset, most)?;
        if self.fails(self.disk.faults.write_errors) {
            return Err(ErrorKind::DeviceError);
        }
        let bytes = self.cut_short(most);
        let (now, mut done) = (self.now, 0);
        let World { disk, loops, .. } = self;
        let Work::File(FileWork::Write(memory, _)) = &id.among(loops).expect("not over").work else {
            unreachable!("a write was asked for")
        };
        disk.write(file, (offset, bytes), now, |part| {
            memory.get(done, part);
            done += part.len();
        });
        Ok(bytes as u32)
    }

    /// How many of so many bytes are moved.
    fn cut_short(&mut self, most: usize) -> usize {
        // What the system moves by one call (read(2)).
        let most = most.min(i32::MAX as usize & !4_095);
        if most > 1 && self.fails(self.disk.faults.short_transfers) {
            1 + self.draw.below(most as u64 - 1) as usize
        } else {
            most
        }
    }

    fn do_with_path(&mut self, id: ShotId, number: usize) -> Result<u32, ErrorKind> {
        let Work::File(FileWork::Path(work)) = &self.shot(id).expect("not over").work else {
            unreachable!("a path was asked for")
        };
        let (call, answer) = (work.call, work.answer.0);
        let (path, second_path) = (work.path.clone(), work.second_path.clone());
        let second = self.begin(work.second_directory as usize, &second_path)?;
        let (first, now) = (self.begin(number, &path)?, self.now);
        let (first, second): (At<'_>, At<'_>) = ((first, &path), (second, &second_path));
        let inodes = &mut self.disk.inodes;
        match call {
            Call::Open(how) => {
                let file = self.disk.open(first, &how, now)?;
                return Ok(self.new_file(file) as u32);
            }
            Call::OpenFifo(_) | Call::AcceptPipe(_) => return Err(ErrorKind::Unsupported),
            Call::Stat { .. } | Call::Seek(_) => {
                let inode = match call {
                    Call::Stat { follow, itself: false } => inodes.find(first.0, &path, follow)?,
                    _ => self.disk.inode(self.network.file(number))?,
                };
                let metadata = self.disk.metadata(inode);
                // SAFETY: see `Answer`.
                unsafe { answer.as_ref() }.tell(metadata);
            }
            Call::Rename { replace } => inodes.rename(first, second, replace, now)?,
            Call::Unlink => inodes.unlink(first, now)?,
            Call::Rmdir => inodes.rmdir(first, now)?,
            Call::Mkdir { mode } => inodes.mkdir(first, mode, now)?,
            Call::Link { follow } => inodes.link(first, second, follow, now)?,
            Call::Symlink => inodes.symlink(&path, second, now)?,
        }
        Ok(0)
    }

    /// Where a path begins. An absolute one doesn't care, nor does one that isn't there.
    fn begin(&self, number: usize, path: &std::path::Path) -> Result<u64, ErrorKind> {
        if number == CURRENT_DIRECTORY as usize || path.has_root() {
            return Ok(ROOT);
        }
        self.disk.inode(self.network.file(number))
    }

    /// A descriptor for an open file.
    pub(super) fn new_file(&mut self, file: u64) -> usize {
        let serial = self.serial();
        self.network.add(super::network::Socket { serial, settings: Settings::new(), kind: Kind::File(file) })
    }

    /// A second descriptor of the same open file.
    pub(super) fn second_file(&mut self, number: usize) -> usize {
        let file = self.network.file(number);
        self.disk.share(file);
        self.new_file(file)
    }

    /// The power fails.
    pub(super) fn crash(&mut self) {
        let World { disk, draw, .. } = self;
        Disk::crash(disk, draw);
        self.record(3 << 40, self.now);
    }
}
