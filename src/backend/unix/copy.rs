//! Copying files: what a thread of the pool does, one portion after the other. Where a system can't make a file without
//! a name, share blocks or copy by itself, `system` says so, and the bytes are read and written.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, SeekFrom, Stat};
use rustix::io::{self, Errno};

use super::files::{SystemPath, begin, system_path};
use super::system;
use crate::op::Kind;
use crate::{Error, ErrorKind};

/// What is to be copied where.
pub(crate) struct CopyOrder {
    pub(crate) from: PathBuf,
    pub(crate) to: PathBuf,
    /// Where the paths begin.
    pub(crate) directories: [Option<OwnedFd>; 2],
    /// What is there already may be replaced.
    pub(crate) replace: bool,
    /// It is brought to the disk before it gets its name.
    pub(crate) sync: bool,
}

/// Where a portion has got.
pub(crate) enum Copied {
    /// There is more to do; so many bytes are copied.
    Part(Box<Copying>, u64),
    /// The copy has its name.
    All { bytes: u64, cloned: bool },
}

/// A copy that is being made. It has no name, or where the file system can't do without, a temporary one; it goes when
/// this is dropped.
pub(crate) struct Copying {
    from: OwnedFd,
    to: OwnedFd,
    /// The directory that the copy will be in, and its name there.
    directory: OwnedFd,
    name: SystemPath,
    temporary: Option<SystemPath>,
    replace: bool,
    sync: bool,
    mode: Mode,
    /// Up to here it is copied.
    offset: u64,
    /// Up to here there is no hole.
    data_end: u64,
    sparse: bool,
    cloned: bool,
    /// The kernel copies, without bringing the bytes here.
    in_kernel: bool,
    /// Where the next read would be.
    cursor: u64,
    buffer: Vec<u8>,
}

/// How much is copied by one call that can't be stopped.
const CHUNK: u64 = 1 << 20;

/// How much is read and written at a time.
const BUFFER: usize = 256 * 1024;

/// A portion ends after so many bytes, or so much time.
const PORTION: u64 = 16 << 20;
const PORTION_TIME: Duration = Duration::from_millis(20);

/// How many names a temporary file is tried with.
const MOST_TRIES: u32 = 100;

/// An error without a number.
fn refused(kind: ErrorKind) -> Error {
    Error::new(kind, Kind::CopyFile)
}

fn failed(errno: Errno) -> Error {
    Error::from_os(errno.raw_os_error(), Kind::CopyFile)
}

impl CopyOrder {
    /// Opens both sides and does the first portion.
    pub(crate) fn begin(self, stopped: &dyn Fn() -> bool) -> Result<Copied, Error> {
        if stopped() {
            return Err(refused(ErrorKind::Cancelled));
        }
        let path = system_path(&self.from).ok_or(refused(ErrorKind::InvalidInput))?;
        let [from_directory, to_directory] = &self.directories;
        // Asked before it is opened: opening a device may do something.
        let at = begin(from_directory);
        fs::statat(at, &path, AtFlags::empty()).map_err(failed).and_then(|stat| check_source(&stat))?;
        let from = open_source(at, &path).map_err(failed)?;
        let stat = fs::fstat(&from).map_err(failed)?;
        check_source(&stat)?;
        let (parent, name) = split(&self.to)?;
        let directory = fs::openat(begin(to_directory), parent, system::DIRECTORY, Mode::empty());
        let directory = directory.map_err(failed)?;
        check_target(&stat, &directory, &name, self.replace)?;
        let (to, temporary) = make_target(&directory).map_err(failed)?;
        // Otherwise the system isn't asked for holes: in /proc, say, it knows of nothing but a hole.
        let sparse = stat.st_size > 0 && stat.st_blocks.saturating_mul(512) < stat.st_size;
        let mut copying = Box::new(Copying {
            from,
            to,
            directory,
            name,
            temporary,
            replace: self.replace,
            sync: self.sync,
            mode: Mode::from_raw_mode(stat.st_mode) & Mode::from_raw_mode(0o777),
            offset: 0,
            data_end: if sparse { 0 } else { u64::MAX },
            sparse,
            cloned: false,
            in_kernel: true,
            cursor: 0,
            buffer: Vec::new(),
        });
        if stat.st_size > 0 {
            copying.clone_whole().map_err(failed)?;
        }
        copying.proceed(stopped)
    }
}

/// Only what has an end, and doesn't change what it is copied from.
fn check_source(stat: &Stat) -> Result<(), Error> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(()),
        FileType::Directory => Err(refused(ErrorKind::IsADirectory)),
        _ => Err(refused(ErrorKind::InvalidInput)),
    }
}

/// Never waits, whatever has come to that path.
fn open_source(at: impl AsFd, path: &SystemPath) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
    match fs::openat(&at, path, flags | OFlags::NONBLOCK, Mode::empty()) {
        // Somebody has a lease: giving that back is worth waiting for.
        Err(Errno::AGAIN) => fs::openat(at, path, flags, Mode::empty()),
        opened => opened,
    }
}

/// The directory of a path, and the name there.
fn split(path: &Path) -> Result<(SystemPath, SystemPath), Error> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() {
        return Err(refused(ErrorKind::NotFound));
    }
    let names_a_directory = bytes.ends_with(b"/") || bytes.ends_with(b"/.");
    let Some(name) = path.file_name().filter(|_| !names_a_directory) else {
        return Err(refused(ErrorKind::IsADirectory));
    };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let both = system_path(parent).zip(system_path(Path::new(name)));
    both.ok_or(refused(ErrorKind::InvalidInput))
}

/// What is there already must be such that a copy may take its place: not the source, nor a device.
fn check_target(source: &Stat, directory: &OwnedFd, name: &SystemPath, replace: bool) -> Result<(), Error> {
    if let Ok(stat) = fs::statat(directory, name, AtFlags::empty()) {
        if (stat.st_dev, stat.st_ino) == (source.st_dev, source.st_ino) {
            return Err(refused(ErrorKind::InvalidInput));
        }
        if replace {
            check_source(&stat)?;
        }
    }
    if !replace && fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
        return Err(refused(ErrorKind::AlreadyExists));
    }
    Ok(())
}

/// A file for this process alone: without a name, if the file system can do that and the file can be given one later.
fn make_target(directory: &OwnedFd) -> Result<(OwnedFd, Option<SystemPath>), Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    if let Some(file) = system::unnamed_file(directory.as_fd(), mode) {
        return Ok((file, None));
    }
    with_temporary_name(|name| fs::openat(directory, name, flags | OFlags::CREATE | OFlags::EXCL, mode))
        .map(|(file, name)| (file, Some(name)))
}

/// Tries names that nobody is likely to have.
fn with_temporary_name<T>(make: impl Fn(&SystemPath) -> Result<T, Errno>) -> Result<(T, SystemPath), Errno> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut tries = 0;
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!(".nbio-copy-{}-{number}", std::process::id());
        let name = CString::new(name).expect("without a zero byte");
        tries += 1;
        match make(&name) {
            Err(Errno::EXIST) if tries < MOST_TRIES => {}
            made => return made.map(|made| (made, name)),
        }
    }
}

impl Copying {
    /// Lets the copy share the source's blocks. Not every file system can: then there is nothing in the copy yet.
    fn clone_whole(&mut self) -> Result<(), Errno> {
        match system::share_blocks(self.to.as_fd(), self.from.as_fd()) {
            Ok(()) => {
                self.cloned = true;
                self.offset = fs::fstat(&self.to)?.st_size as u64;
                Ok(())
            }
            Err(Errno::OPNOTSUPP | Errno::XDEV | Errno::INVAL | Errno::NOTTY) => Ok(()),
            // It may have begun.
            Err(_) => fs::ftruncate(&self.to, 0),
        }
    }

    /// Copies for a while, and when all is copied, gives it its name.
    pub(crate) fn proceed(mut self: Box<Self>, stopped: &dyn Fn() -> bool) -> Result<Copied, Error> {
        let (begun, mut bytes) = (Instant::now(), 0);
        while !self.cloned {
            if stopped() {
                return Err(refused(ErrorKind::Cancelled));
            }
            if bytes >= PORTION || (bytes > 0 && begun.elapsed() >= PORTION_TIME) {
                let total = self.offset;
                return Ok(Copied::Part(self, total));
            }
            match self.copy_some().map_err(failed)? {
                0 => break,
                copied => bytes += copied,
            }
        }
        self.finish(stopped)
    }

    /// Copies what one call takes; 0 at the end.
    fn copy_some(&mut self) -> Result<u64, Errno> {
        if self.offset >= self.data_end && !self.find_data()? {
            return Ok(0);
        }
        let copied = self.copy_chunk(CHUNK.min(self.data_end - self.offset))?;
        self.offset += copied;
        Ok(copied)
    }

    /// Goes on behind the next hole; `false` if there is nothing more.
    fn find_data(&mut self) -> Result<bool, Errno> {
        // Asked first: what is written behind that end meanwhile is not taken for a hole.
        let end = fs::fstat(&self.from)?.st_size as u64;
        match system::next_data(self.from.as_fd(), self.offset) {
            Ok((data, end)) => {
                self.offset = data;
                self.cursor = end;
                self.data_end = end;
                Ok(true)
            }
            Err(Errno::NXIO) => {
                let now = fs::fstat(&self.from)?.st_size as u64;
                self.offset = self.offset.max(end.min(now));
                Ok(false)
            }
            // Without holes, then.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => {
                self.data_end = u64::MAX;
                Ok(true)
            }
            Err(errno) => Err(errno),
        }
    }

    /// Copies up to `most` bytes; 0 at the source's end.
    fn copy_chunk(&mut self, most: u64) -> Result<u64, Errno> {
        while self.in_kernel {
            match system::copy_range(self.from.as_fd(), self.to.as_fd(), self.offset, most) {
                Err(Errno::INTR) => {}
                Ok(0) if self.offset > 0 => return Ok(0),
                // Before that is believed, it is read: files that are made when they are read have nothing to copy.
                Ok(0)
                | Err(
                    Errno::XDEV
                    | Errno::NOSYS
                    | Errno::OPNOTSUPP
                    | Errno::INVAL
                    | Errno::PERM
                    | Errno::BADF
                    | Errno::TXTBSY,
                ) => self.in_kernel = false,
                Ok(copied) => return Ok(copied),
                Err(errno) => return Err(errno),
            }
        }
        self.read_and_write(most)
    }

    fn read_and_write(&mut self, most: u64) -> Result<u64, Errno> {
        // Not what can't be positioned, unless it must be.
        if self.cursor != self.offset {
            self.cursor = fs::seek(&self.from, SeekFrom::Start(self.offset))?;
        }
        if self.buffer.is_empty() {
            // Not `resize`, which would touch all of it.
            self.buffer = vec![0; BUFFER];
        }
        let most = BUFFER.min(most as usize);
        let read = retry(|| io::read(&self.from, &mut self.buffer[..most]))?;
        self.cursor += read as u64;
        let mut written = 0;
        while written < read {
            let place = self.offset + written as u64;
            match retry(|| io::pwrite(&self.to, &self.buffer[written..read], place))? {
                0 => return Err(Errno::IO),
                some => written += some,
            }
        }
        Ok(read as u64)
    }

    /// Gives the copy its permissions and its name.
    fn finish(mut self, stopped: &dyn Fn() -> bool) -> Result<Copied, Error> {
        if self.sparse && !self.cloned {
            // A hole at the end.
            fs::ftruncate(&self.to, self.offset).map_err(failed)?;
        }
        fs::fchmod(&self.to, self.mode).map_err(failed)?;
        if self.sync {
            retry(|| fs::fsync(&self.to)).map_err(failed)?;
        }
        if stopped() {
            return Err(refused(ErrorKind::Cancelled));
        }
        self.give_name().map_err(failed)?;
        Ok(Copied::All { bytes: self.offset, cloned: self.cloned })
    }

    fn give_name(&mut self) -> Result<(), Errno> {
        if self.temporary.is_none() {
            match self.link_as(&self.name) {
                Err(Errno::EXIST) if self.replace => {}
                linked => return linked,
            }
            let ((), name) = with_temporary_name(|name| self.link_as(name))?;
            self.temporary = Some(name);
        }
        let Some(temporary) = &self.temporary else { return Ok(()) };
        let directory = self.directory.as_fd();
        let renamed = if self.replace {
            fs::renameat(directory, temporary, directory, &self.name)
        } else {
            system::rename_no_replace(directory, temporary, directory, &self.name)
        };
        match renamed {
            Ok(()) => self.temporary = None,
            // Where names aren't kept from being replaced, links are; dropped, this one has one name less.
            Err(Errno::INVAL | Errno::NOSYS) if !self.replace => {
                fs::linkat(directory, temporary, directory, &self.name, AtFlags::empty())?;
            }
            Err(errno) => return Err(errno),
        }
        Ok(())
    }

    /// Gives what has no name one that nobody has.
    fn link_as(&self, name: &SystemPath) -> Result<(), Errno> {
        system::link_unnamed(self.to.as_fd(), self.directory.as_fd(), name)
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        if let Some(name) = &self.temporary {
            // There is nobody to tell.
            let _ = fs::unlinkat(&self.directory, name, AtFlags::empty());
        }
    }
}

/// Again, as long as signals interrupt it.
fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}
