//! What directories and symbolic links hold.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::pool::Pooled;
use super::stat::FileType;
use crate::engine::Core;
use crate::engine::op::{Describe, End, Request};
use crate::op::{Kind, Operation, Options};
use crate::{Error, File};

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirEntry {
    /// The name, without the directory's: on Unix any bytes but 0 and `/`.
    pub name: OsString,
    /// What it is; [`Unknown`](FileType::Unknown) where the file system doesn't say here, but [`Stat`](crate::op::Stat)
    /// would.
    pub file_type: FileType,
    /// Its number in its file system.
    pub inode: u64,
}

/// Reads the names in a directory, without `.` and `..`, in no order.
///
/// What is made or removed meanwhile may or may not be among them. It runs on the
/// [thread pool](crate::op::Blocking#the-pool): what is cancelled before it has begun ends at once; one that has begun ends
/// when it is over.
///
/// # Errors
/// [`NotFound`](crate::ErrorKind::NotFound), [`NotADirectory`](crate::ErrorKind::NotADirectory),
/// [`PermissionDenied`](crate::ErrorKind::PermissionDenied), [`FilesystemLoop`](crate::ErrorKind::FilesystemLoop),
/// [`InvalidInput`](crate::ErrorKind::InvalidInput) (a path with a zero byte),
/// [`TooManyDescriptors`](crate::ErrorKind::TooManyDescriptors), [`Cancelled`](crate::ErrorKind::Cancelled), [`TimedOut`](crate::ErrorKind::TimedOut),
/// [`StaleHandle`](crate::ErrorKind::StaleHandle), [`WrongLoop`](crate::ErrorKind::WrongLoop), and as
/// [`Blocking`](crate::op::Blocking) if no thread can be had; see getdents64(2).
///
/// ```
/// use nbio::{EventLoop, op};
/// let io = EventLoop::new()?;
/// io.submit(op::ReadDir::new("/"), |_, _, entries| {
///     assert!(entries.unwrap().iter().any(|entry| entry.name == "tmp"));
/// });
/// io.run()?;
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ReadDir {
    path: Option<PathBuf>,
    at: Option<File>,
    options: Options,
}

impl ReadDir {
    /// Of the directory at `path`.
    pub fn new(path: impl AsRef<Path>) -> ReadDir {
        ReadDir { path: Some(path.as_ref().to_owned()), at: None, options: Options::default() }
    }

    /// Of an open directory.
    pub fn of(directory: File) -> ReadDir {
        ReadDir { path: None, at: Some(directory), options: Options::default() }
    }

    /// A relative path begins at this directory instead of the current one. (After [`of`](ReadDir::of), this is the
    /// directory that is read.)
    pub fn at(mut self, directory: File) -> ReadDir {
        self.at = Some(directory);
        self
    }
}

impl Describe for ReadDir {
    type Parts = Pooled<PathBuf, Vec<DirEntry>>;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (Self::Parts, Request) {
        // An open one is `.` to itself.
        let path = self.path.unwrap_or_else(|| PathBuf::from("."));
        Pooled::describe(Kind::ReadDir, path, self.at, self.options)
    }

    fn lend(pooled: &mut Self::Parts, request: &mut Request, core: &Core) {
        pooled.lend(request, core, |path, at, _| at.read_dir(&path));
    }
}

impl Operation for ReadDir {
    type Output = Result<Vec<DirEntry>, Error>;

    fn finish(pooled: Self::Parts, end: &mut End) -> Self::Output {
        pooled.finish(end)
    }
}

/// Reads the path that a symbolic link holds.
///
/// It runs on the [thread pool](crate::op::Blocking#the-pool), as [`ReadDir`].
///
/// # Errors
/// [`InvalidInput`](crate::ErrorKind::InvalidInput) (it is no symbolic link, or a path with a zero byte), and as
/// [`ReadDir`]; see readlink(2).
///
/// ```
/// use nbio::{EventLoop, op};
/// # let path = std::env::temp_dir().join(format!("nbio-read-link-{}", std::process::id()));
/// # std::os::unix::fs::symlink("anywhere", &path).unwrap();
/// let io = EventLoop::new()?;
/// io.submit(op::ReadLink::new(&path), |_, _, target| assert_eq!(target.unwrap().to_str(), Some("anywhere")));
/// io.run()?;
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ReadLink {
    path: PathBuf,
    at: Option<File>,
    options: Options,
}

impl ReadLink {
    /// Of the link at `path`.
    pub fn new(path: impl AsRef<Path>) -> ReadLink {
        ReadLink { path: path.as_ref().to_owned(), at: None, options: Options::default() }
    }

    /// A relative path begins at this directory instead of the current one.
    pub fn at(mut self, directory: File) -> ReadLink {
        self.at = Some(directory);
        self
    }
}

impl Describe for ReadLink {
    type Parts = Pooled<PathBuf, PathBuf>;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (Self::Parts, Request) {
        Pooled::describe(Kind::ReadLink, self.path, self.at, self.options)
    }

    fn lend(pooled: &mut Self::Parts, request: &mut Request, core: &Core) {
        pooled.lend(request, core, |path, at, _| at.read_link(&path));
    }
}

impl Operation for ReadLink {
    type Output = Result<PathBuf, Error>;

    fn finish(pooled: Self::Parts, end: &mut End) -> Self::Output {
        pooled.finish(end)
    }
}
