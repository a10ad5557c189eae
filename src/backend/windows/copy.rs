//! Copying files: what a thread of the pool does, one portion after the other.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::AsHandle;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use windows_sys::Win32::Storage::FileSystem::FILE_FLAG_SEQUENTIAL_SCAN;

use super::files::{self, Failure, system_path};
use super::{OwnedDescriptor, handles};
use crate::op::Kind;
use crate::{Error, ErrorKind};

/// What is to be copied where.
pub(crate) struct CopyOrder {
    pub(crate) from: PathBuf,
    pub(crate) to: PathBuf,
    /// Where the paths begin.
    pub(crate) directories: [Option<OwnedDescriptor>; 2],
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

/// A copy that is being made under a temporary name. That goes when this is dropped.
pub(crate) struct Copying {
    from: File,
    /// `None` once it is closed.
    to: Option<File>,
    temporary: Option<PathBuf>,
    name: PathBuf,
    replace: bool,
    sync: bool,
    readonly: bool,
    bytes: u64,
    buffer: Vec<u8>,
}

/// How much is read and written at a time.
const BUFFER: usize = 256 * 1024;

/// A portion ends after so many bytes, or so much time.
const PORTION: u64 = 16 << 20;
const PORTION_TIME: Duration = Duration::from_millis(20);

/// How many names a temporary file is tried with.
const MOST_TRIES: u32 = 100;

fn refused(kind: ErrorKind) -> Error {
    Error::new(kind, Kind::CopyFile)
}

fn failed(failure: impl Into<Failure>) -> Error {
    failure.into().error(Kind::CopyFile)
}

impl CopyOrder {
    /// Opens both sides and does the first portion.
    pub(crate) fn begin(self, stopped: &dyn Fn() -> bool) -> Result<Copied, Error> {
        if stopped() {
            return Err(refused(ErrorKind::Cancelled));
        }
        let [from_directory, to_directory] = &self.directories;
        let from = whole(&self.from, from_directory)?;
        let to = whole(&self.to, to_directory)?;
        let metadata = fs::metadata(&from).map_err(|error| {
            let through_a_file = files::leads_through_a_file(&from);
            if through_a_file { refused(ErrorKind::NotADirectory) } else { failed(error) }
        })?;
        if metadata.is_dir() {
            return Err(refused(ErrorKind::IsADirectory));
        }
        if !metadata.is_file() {
            return Err(refused(ErrorKind::InvalidInput));
        }
        let source = fs::OpenOptions::new().read(true).custom_flags(FILE_FLAG_SEQUENTIAL_SCAN).open(&from);
        let source = source.map_err(failed)?;
        let (directory, name) = split(&to, &self.to)?;
        check_target(&source, &to, self.replace)?;
        let (file, temporary) = make_target(directory).map_err(|error| {
            let through_a_file = files::leads_through_a_file(&to);
            if through_a_file { refused(ErrorKind::NotADirectory) } else { failed(error) }
        })?;
        let copying = Box::new(Copying {
            from: source,
            to: Some(file),
            temporary: Some(temporary),
            name: directory.join(name),
            replace: self.replace,
            sync: self.sync,
            readonly: metadata.permissions().readonly(),
            bytes: 0,
            buffer: Vec::new(),
        });
        copying.proceed(stopped)
    }
}

/// A path, from where it begins.
fn whole(path: &Path, directory: &Option<OwnedDescriptor>) -> Result<PathBuf, Error> {
    let path = system_path(path).ok_or(refused(ErrorKind::InvalidInput))?;
    if path.as_os_str().is_empty() {
        return Err(refused(ErrorKind::NotFound));
    }
    files::resolve_at(directory, &path).map_err(failed)
}

/// The directory of a path, and the name there. `given` is the path as it was given.
fn split<'a>(path: &'a Path, given: &Path) -> Result<(&'a Path, OsString), Error> {
    let text = given.as_os_str().as_encoded_bytes();
    let names_a_directory = text.ends_with(b"/") || text.ends_with(b"\\") || text.ends_with(b"/.");
    let Some(name) = path.file_name().filter(|_| !names_a_directory) else {
        return Err(refused(ErrorKind::IsADirectory));
    };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok((parent.unwrap_or(Path::new(".")), name.to_owned()))
}

/// What is there already must be such that a copy may take its place: not the source, nor a directory.
fn check_target(source: &File, to: &Path, replace: bool) -> Result<(), Error> {
    if let Ok(there) = files::look(to, true) {
        let same = handles::identity(there.as_handle()) == handles::identity(source.as_handle());
        let metadata = there.metadata().map_err(failed)?;
        if same {
            return Err(refused(ErrorKind::InvalidInput));
        }
        if replace && metadata.is_dir() {
            return Err(refused(ErrorKind::IsADirectory));
        }
    }
    if !replace && files::look(to, false).is_ok() {
        return Err(refused(ErrorKind::AlreadyExists));
    }
    Ok(())
}

/// A file with a name that nobody is likely to have.
fn make_target(directory: &Path) -> std::io::Result<(File, PathBuf)> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut tries = 0;
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!(".nbio-copy-{}-{number}", std::process::id()));
        tries += 1;
        match fs::OpenOptions::new().write(true).create_new(true).open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && tries < MOST_TRIES => {}
            opened => return opened.map(|file| (file, path)),
        }
    }
}

impl Copying {
    /// Copies for a while, and when all is copied, gives it its name.
    pub(crate) fn proceed(mut self: Box<Self>, stopped: &dyn Fn() -> bool) -> Result<Copied, Error> {
        let (begun, before) = (Instant::now(), self.bytes);
        loop {
            if stopped() {
                return Err(refused(ErrorKind::Cancelled));
            }
            let portion = self.bytes - before;
            if portion >= PORTION || (portion > 0 && begun.elapsed() >= PORTION_TIME) {
                let total = self.bytes;
                return Ok(Copied::Part(self, total));
            }
            if self.copy_some().map_err(failed)? == 0 {
                return self.finish(stopped);
            }
        }
    }

    fn copy_some(&mut self) -> std::io::Result<usize> {
        if self.buffer.is_empty() {
            self.buffer = vec![0; BUFFER];
        }
        let read = self.from.read(&mut self.buffer)?;
        if let Some(to) = &mut self.to {
            to.write_all(&self.buffer[..read])?;
        }
        self.bytes += read as u64;
        Ok(read)
    }

    /// Gives the copy its permissions and its name.
    fn finish(mut self, stopped: &dyn Fn() -> bool) -> Result<Copied, Error> {
        if let Some(to) = self.to.take() {
            if self.sync {
                to.sync_all().map_err(failed)?;
            }
            if self.readonly {
                let mut permissions = to.metadata().map_err(failed)?.permissions();
                permissions.set_readonly(true);
                to.set_permissions(permissions).map_err(failed)?;
            }
        }
        if stopped() {
            return Err(refused(ErrorKind::Cancelled));
        }
        if let Some(temporary) = &self.temporary {
            files::rename(temporary, &self.name, self.replace).map_err(failed)?;
            self.temporary = None;
        }
        Ok(Copied::All { bytes: self.bytes, cloned: false })
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        // What is open can't always be removed here.
        drop(self.to.take());
        if let Some(name) = &self.temporary {
            // There is nobody to tell.
            let _ = fs::remove_file(name);
        }
    }
}
