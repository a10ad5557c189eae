//! What is known of a file.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::SystemTime;

use super::open::path_request;
use crate::engine::op::{Describe, End, Request};
use crate::engine::paths::{Call, PathCall};
use crate::op::{Kind, Operation, Options};
use crate::{Error, File};

/// What kind of thing a path names.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileType {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A FIFO (named pipe), or a pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A block device.
    BlockDevice,
    /// A character device.
    CharacterDevice,
    /// Something else, or the file system doesn't say.
    Unknown,
}

/// What is known of a file.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metadata {
    /// What it is.
    pub file_type: FileType,
    /// Its length in bytes: of a symbolic link that of the path it holds; 0 for devices and for files that are made when
    /// they are read, as in `/proc`.
    pub size: u64,
    /// The bytes of storage that it takes: fewer than its size if it has holes.
    pub allocated: u64,
    /// When it was last read, as far as the file system keeps count.
    pub accessed: SystemTime,
    /// When its contents last changed.
    pub modified: SystemTime,
    /// When its contents, permissions, owner or number of names last changed.
    pub changed: SystemTime,
    /// When it was made; `None` if the file system doesn't know.
    pub created: Option<SystemTime>,
    /// Its permissions, in the bits of chmod(2).
    pub mode: u32,
    /// How many names (hard links) it has.
    pub links: u64,
    /// Its number in its file system.
    pub inode: u64,
    /// Which file system it is in: with `inode` it tells files apart.
    pub device: u64,
    /// Its owner.
    pub user: u32,
    /// Its group.
    pub group: u32,
}

/// Asks what is known of a file, by its path or its handle.
///
/// It lends the system none of the caller's memory, so a cancel or deadline calls back at once.
///
/// # Errors
/// [`NotFound`](crate::ErrorKind::NotFound), [`PermissionDenied`](crate::ErrorKind::PermissionDenied),
/// [`NotADirectory`](crate::ErrorKind::NotADirectory), [`FilesystemLoop`](crate::ErrorKind::FilesystemLoop),
/// [`InvalidFilename`](crate::ErrorKind::InvalidFilename), [`InvalidInput`](crate::ErrorKind::InvalidInput) (a path with a
/// zero byte),
/// [`Cancelled`](crate::ErrorKind::Cancelled), [`TimedOut`](crate::ErrorKind::TimedOut),
/// [`StaleHandle`](crate::ErrorKind::StaleHandle), [`WrongLoop`](crate::ErrorKind::WrongLoop); see statx(2).
///
/// ```
/// use nbio::{EventLoop, FileType, op};
/// let io = EventLoop::new()?;
/// io.submit(op::Stat::new("/"), |_, _, root| assert_eq!(root.unwrap().file_type, FileType::Directory));
/// io.run()?;
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Stat {
    path: Option<PathBuf>,
    at: Option<File>,
    follow: bool,
    options: Options,
}

impl Stat {
    /// Asks about what is at `path`.
    pub fn new(path: impl AsRef<Path>) -> Stat {
        Stat { path: Some(path.as_ref().to_owned()), at: None, follow: true, options: Options::default() }
    }

    /// Asks about an open file.
    pub fn of(file: File) -> Stat {
        Stat { path: None, at: Some(file), follow: true, options: Options::default() }
    }

    /// A relative path begins at this directory instead of the current one. (After [`of`](Stat::of), this is the file that
    /// is asked about.)
    pub fn at(mut self, directory: File) -> Stat {
        self.at = Some(directory);
        self
    }

    /// Whether a symbolic link at the path's end stands for what it points at; true by default.
    pub fn follow(mut self, follow: bool) -> Stat {
        self.follow = follow;
        self
    }
}

impl Describe for Stat {
    type Parts = Option<Rc<PathCall>>;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (Self::Parts, Request) {
        let call = match self.path {
            Some(path) => PathCall::new(Call::Stat { follow: self.follow, itself: false }, &path),
            None => Some(PathCall::on_handle(Call::Stat { follow: true, itself: true })),
        };
        path_request(Kind::Stat, call, self.at, self.options)
    }
}

impl Operation for Stat {
    type Output = Result<Metadata, Error>;

    fn finish(call: Self::Parts, end: &mut End) -> Result<Metadata, Error> {
        end.result()?;
        let told = call.and_then(|call| call.metadata());
        Ok(told.expect("a call that ended well was made and answered"))
    }
}
