//! The file system that a case's loops work on, for the case itself to prepare and to look at: the system's by `std::fs`,
//! the simulation's by a loop of its own there.

use std::cell::RefCell;
use std::io::Result;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nbio::{Builder, EventLoop, FileType, Operation, Simulation, op};

use crate::folder::end_of;
use crate::system::{self, FileExt};

thread_local! {
    /// The simulation of the case that runs on this thread, and a loop there once it is needed.
    static SIMULATED: RefCell<Option<(Simulation, Option<Rc<EventLoop>>)>> = const { RefCell::new(None) };
}

/// The case that begins on this thread has its files there.
pub fn set(simulation: Option<&Simulation>) {
    let before = SIMULATED.replace(simulation.map(|simulation| (simulation.clone(), None)));
    drop(before);
}

/// A loop in the simulation of this thread's case, if that is simulated.
pub fn helper() -> Option<Rc<EventLoop>> {
    SIMULATED.with_borrow_mut(|simulated| {
        let (simulation, io) = simulated.as_mut()?;
        let new = || Rc::new(Builder::new().simulation(simulation).build().unwrap());
        Some(io.get_or_insert_with(new).clone())
    })
}

/// How many files are open in the simulation.
pub fn open_files() -> Option<usize> {
    SIMULATED.with_borrow(|simulated| Some(simulated.as_ref()?.0.open_files()))
}

/// Does the same in whichever file system it is.
fn either<T, O>(
    std: impl FnOnce() -> Result<T>,
    simulated: impl FnOnce() -> O,
    result: impl FnOnce(O::Output) -> std::result::Result<T, nbio::Error>,
) -> Result<T>
where
    O: Operation,
{
    match helper() {
        None => std(),
        Some(io) => Ok(result(end_of(&io, simulated()))?),
    }
}

pub fn read(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    either(|| std::fs::read(&path), || op::ReadFile::new(&path), |read| read)
}

pub fn read_to_string(path: impl AsRef<Path>) -> Result<String> {
    read(path).map(|bytes| String::from_utf8(bytes).unwrap())
}

pub fn write(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> Result<()> {
    let bytes = contents.as_ref();
    either(|| std::fs::write(&path, bytes), || op::WriteFile::new(&path, bytes.to_vec()), |done| done.result)
}

pub fn create_dir(path: impl AsRef<Path>) -> Result<()> {
    either(|| std::fs::create_dir(&path), || op::Mkdir::new(&path), |made| made)
}

pub fn create_dir_all(path: impl AsRef<Path>) -> Result<()> {
    for above in path.as_ref().ancestors().collect::<Vec<_>>().into_iter().rev() {
        match create_dir(above) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
    either(|| std::fs::rename(&from, &to), || op::Rename::new(&from, &to), |renamed| renamed)
}

pub fn remove_file(path: impl AsRef<Path>) -> Result<()> {
    either(|| std::fs::remove_file(&path), || op::Unlink::new(&path), |removed| removed)
}

pub fn hard_link(original: impl AsRef<Path>, link: impl AsRef<Path>) -> Result<()> {
    either(|| std::fs::hard_link(&original, &link), || op::Link::new(&original, &link), |made| made)
}

pub fn symlink(target: impl AsRef<Path>, link: impl AsRef<Path>) -> Result<()> {
    either(|| system::symlink(&target, &link), || op::Symlink::new(&target, &link), |made| made)
}

/// The names in a directory.
pub fn names(path: impl AsRef<Path>) -> Result<Vec<PathBuf>> {
    let std = || std::fs::read_dir(&path)?.map(|entry| Ok(entry?.file_name().into())).collect();
    let names = |entries: Vec<nbio::DirEntry>| entries.into_iter().map(|entry| entry.name.into()).collect();
    either(std, || op::ReadDir::new(&path), |entries| entries.map(names))
}

/// What is known of a file.
pub struct Metadata {
    size: u64,
    mode: u32,
    links: u64,
    inode: u64,
    blocks: u64,
    file_type: FileType,
}

impl Metadata {
    fn of_std(std: &std::fs::Metadata) -> Metadata {
        let file_type = match std.file_type() {
            kind if kind.is_file() => FileType::File,
            kind if kind.is_dir() => FileType::Directory,
            kind if kind.is_symlink() => FileType::Symlink,
            _ => FileType::Unknown,
        };
        let system::Numbers { mode, links, inode, blocks } = system::numbers(std);
        Metadata { size: std.len(), mode, links, inode, blocks, file_type }
    }

    fn of_nbio(told: nbio::Metadata) -> Metadata {
        Metadata {
            size: told.size,
            mode: told.mode,
            links: told.links,
            inode: told.inode,
            blocks: told.allocated / 512,
            file_type: told.file_type,
        }
    }

    pub fn len(&self) -> u64 {
        self.size
    }

    pub fn mode(&self) -> u32 {
        self.mode
    }

    pub fn nlink(&self) -> u64 {
        self.links
    }

    pub fn ino(&self) -> u64 {
        self.inode
    }

    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    pub fn is_file(&self) -> bool {
        self.file_type == FileType::File
    }

    pub fn is_symlink(&self) -> bool {
        self.file_type == FileType::Symlink
    }
}

pub fn metadata(path: impl AsRef<Path>) -> Result<Metadata> {
    either(
        || std::fs::metadata(&path).map(|std| Metadata::of_std(&std)),
        || op::Stat::new(&path),
        |told| told.map(Metadata::of_nbio),
    )
}

pub fn symlink_metadata(path: impl AsRef<Path>) -> Result<Metadata> {
    either(
        || std::fs::symlink_metadata(&path).map(|std| Metadata::of_std(&std)),
        || op::Stat::new(&path).follow(false),
        |told| told.map(Metadata::of_nbio),
    )
}

pub fn exists(path: impl AsRef<Path>) -> bool {
    metadata(path).is_ok()
}

/// An open file.
pub enum File {
    Std(std::fs::File),
    Simulated(Rc<EventLoop>, nbio::File),
}

impl File {
    fn new(open: &op::Open, std: &std::fs::OpenOptions, path: &Path) -> Result<File> {
        match helper() {
            None => std.open(path).map(File::Std),
            Some(io) => {
                let file = end_of(&io, open.clone())?;
                Ok(File::Simulated(io, file))
            }
        }
    }

    pub fn open(path: impl AsRef<Path>) -> Result<File> {
        let path = path.as_ref();
        File::new(&op::Open::new(path).read(true), std::fs::File::options().read(true), path)
    }

    pub fn writable(path: impl AsRef<Path>) -> Result<File> {
        let path = path.as_ref();
        File::new(&op::Open::new(path).write(true), std::fs::File::options().write(true), path)
    }

    pub fn create(path: impl AsRef<Path>) -> Result<File> {
        let path = path.as_ref();
        File::new(
            &op::Open::new(path).write(true).create(true).truncate(true),
            std::fs::File::options().write(true).create(true).truncate(true),
            path,
        )
    }

    /// As `std` does it, or the simulation by an operation.
    fn either<T, O: Operation>(
        &self,
        std: impl FnOnce(&std::fs::File) -> Result<T>,
        simulated: impl FnOnce(nbio::File) -> O,
        result: impl FnOnce(O::Output) -> std::result::Result<T, nbio::Error>,
    ) -> Result<T> {
        match self {
            File::Std(file) => std(file),
            File::Simulated(io, file) => Ok(result(end_of(io, simulated(*file)))?),
        }
    }

    pub fn metadata(&self) -> Result<Metadata> {
        let told = |told: std::result::Result<_, _>| told.map(Metadata::of_nbio);
        self.either(|std| std.metadata().map(|std| Metadata::of_std(&std)), op::Stat::of, told)
    }

    pub fn set_len(&self, length: u64) -> Result<()> {
        self.either(|std| std.set_len(length), |file| op::Truncate::new(file, length), |done| done)
    }

    pub fn sync_all(&self) -> Result<()> {
        self.either(std::fs::File::sync_all, op::Fsync::new, |done| done)
    }

    pub fn write_all_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let write = |file| op::WriteAt::new(file, bytes.to_vec(), offset).all();
        self.either(|std| FileExt::write_all_at(std, bytes, offset), write, |done| done.result)
    }

    pub fn read_exact_at(&self, into: &mut [u8], offset: u64) -> Result<()> {
        if let File::Std(file) = self {
            return file.read_exact_at(into, offset);
        }
        let length = into.len();
        let read = |file| op::ReadAt::new(file, vec![0; length], offset).exact(length);
        self.either(|_| unreachable!(), read, |done| done.result.map(|()| into.copy_from_slice(done.data())))
    }

    pub fn lock(&self) -> Result<()> {
        self.either(std::fs::File::lock, op::Lock::new, |done| done)
    }

    /// Whether it got the lock, without waiting.
    pub fn try_lock(&self, shared: bool) -> Result<()> {
        let std = |std: &std::fs::File| {
            if shared { std.try_lock_shared() } else { std.try_lock() }.map_err(std::io::Error::from)
        };
        let lock = |file| {
            let lock = op::Lock::new(file).no_wait();
            if shared { lock.shared() } else { lock }
        };
        self.either(std, lock, |done| done)
    }

    pub fn unlock(&self) -> Result<()> {
        self.either(system::unlock, op::Unlock::new, |done| done)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if let File::Simulated(io, file) = self {
            // After a power failure, say, it is closed all the same.
            let _ = end_of(io, op::Close::new(*file));
        }
    }
}
