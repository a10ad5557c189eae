//! Names: renaming, removing, and making other than by opening.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::engine::op::{Describe, End, Op, Request, Target};
use crate::engine::paths::{Call, PathCall, PathRef};
use crate::handle::sealed::Handle as _;
use crate::op::{Kind, Operation, Options};
use crate::{Error, File};

/// The request for a call that changes names; without one it can't be asked for.
fn naming(kind: Kind, call: Option<PathCall>, directories: [Option<File>; 2], options: Options) -> Request {
    let Some(call) = call else { return Request::new(kind, Target::Nothing, Op::NextTick, options) };
    let [first, second] = directories.map(|directory| directory.map(File::id));
    let op = Op::Path(PathRef::new(&Rc::new(call)));
    Request::new(kind, Target::Path(first, second), op, options)
}

/// What all of them are to the engine.
macro_rules! naming {
    ($($name:ident => |$this:ident| $call:expr, [$first:expr, $second:expr];)*) => {
        $(
            impl Describe for $name {
                type Parts = ();

                fn options_mut(&mut self) -> &mut Options {
                    &mut self.options
                }

                fn describe(self) -> ((), Request) {
                    let $this = &self;
                    ((), naming(Kind::$name, $call, [$first, $second], self.options))
                }
            }

            impl Operation for $name {
                type Output = Result<(), Error>;

                fn finish((): (), end: &mut End) -> Result<(), Error> {
                    end.result()
                }
            }
        )*
    };
}

naming! {
    Rename => |this| PathCall::with_two(Call::Rename { replace: this.replace }, &this.from, &this.to),
        [this.from_directory, this.to_directory];
    Unlink => |this| PathCall::new(Call::Unlink, &this.path), [this.at, None];
    Rmdir => |this| PathCall::new(Call::Rmdir, &this.path), [this.at, None];
    Mkdir => |this| PathCall::new(Call::Mkdir { mode: this.mode }, &this.path), [this.at, None];
    Link => |this| PathCall::with_two(Call::Link { follow: this.follow }, &this.original, &this.link),
        [this.from_directory, this.to_directory];
    Symlink => |this| PathCall::with_two(Call::Symlink, &this.target, &this.link), [None, this.at];
}

/// Gives a file or directory another name, in the same file system.
///
/// What has that name already is replaced in one step: nobody ever sees none there. What a cancel or deadline ends, which
/// calls back at once, may still be done; so for all that changes names.
///
/// # Errors
/// [`NotFound`](crate::ErrorKind::NotFound), [`AlreadyExists`](crate::ErrorKind::AlreadyExists) (only with
/// [`no_replace`](Rename::no_replace)), [`DirectoryNotEmpty`](crate::ErrorKind::DirectoryNotEmpty),
/// [`IsADirectory`](crate::ErrorKind::IsADirectory), [`NotADirectory`](crate::ErrorKind::NotADirectory),
/// [`CrossesDevices`](crate::ErrorKind::CrossesDevices), [`InvalidInput`](crate::ErrorKind::InvalidInput) (a directory into
/// itself, a path with a zero byte), [`PermissionDenied`](crate::ErrorKind::PermissionDenied),
/// [`ReadOnlyFilesystem`](crate::ErrorKind::ReadOnlyFilesystem), [`Cancelled`](crate::ErrorKind::Cancelled), [`TimedOut`](crate::ErrorKind::TimedOut),
/// [`StaleHandle`](crate::ErrorKind::StaleHandle), [`WrongLoop`](crate::ErrorKind::WrongLoop); see rename(2).
///
/// ```
/// use nbio::{EventLoop, op};
/// # let folder = std::env::temp_dir().join(format!("nbio-rename-{}", std::process::id()));
/// # std::fs::create_dir(&folder).unwrap();
/// # std::fs::write(folder.join("draft"), "").unwrap();
/// let io = EventLoop::new()?;
/// let rename = op::Rename::new(folder.join("draft"), folder.join("final")).no_replace();
/// io.submit(rename, |_, _, renamed| assert_eq!(renamed, Ok(())));
/// io.run()?;
/// assert!(folder.join("final").exists());
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Rename {
    from: PathBuf,
    to: PathBuf,
    from_directory: Option<File>,
    to_directory: Option<File>,
    replace: bool,
    options: Options,
}

impl Rename {
    /// What is called `from` is called `to`.
    pub fn new(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Rename {
        Rename {
            from: from.as_ref().to_owned(),
            to: to.as_ref().to_owned(),
            from_directory: None,
            to_directory: None,
            replace: true,
            options: Options::default(),
        }
    }

    /// A relative `from` begins at this directory instead of the current one.
    pub fn from_directory(mut self, directory: File) -> Rename {
        self.from_directory = Some(directory);
        self
    }

    /// A relative `to` begins at this directory instead of the current one.
    pub fn to_directory(mut self, directory: File) -> Rename {
        self.to_directory = Some(directory);
        self
    }

    /// Fails if `to` exists. Not every file system can ([`InvalidInput`](crate::ErrorKind::InvalidInput)).
    pub fn no_replace(mut self) -> Rename {
        self.replace = false;
        self
    }
}

/// Removes a name of a file, and the file with its last one; who has it open keeps it so.
///
/// # Errors
/// [`NotFound`](crate::ErrorKind::NotFound), [`IsADirectory`](crate::ErrorKind::IsADirectory), and as [`Rename`]; see
/// unlink(2).
///
/// ```
/// use nbio::{EventLoop, op};
/// # let path = std::env::temp_dir().join(format!("nbio-unlink-{}", std::process::id()));
/// # std::fs::write(&path, "").unwrap();
/// let io = EventLoop::new()?;
/// io.submit(op::Unlink::new(&path), |_, _, removed| assert_eq!(removed, Ok(())));
/// io.run()?;
/// assert!(!path.exists());
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Unlink {
    path: PathBuf,
    at: Option<File>,
    options: Options,
}

impl Unlink {
    /// Removes `path`; of a symbolic link, the link.
    pub fn new(path: impl AsRef<Path>) -> Unlink {
        Unlink { path: path.as_ref().to_owned(), at: None, options: Options::default() }
    }

    /// A relative path begins at this directory instead of the current one.
    pub fn at(mut self, directory: File) -> Unlink {
        self.at = Some(directory);
        self
    }
}

/// Removes an empty directory.
///
/// # Errors
/// [`NotFound`](crate::ErrorKind::NotFound), [`NotADirectory`](crate::ErrorKind::NotADirectory),
/// [`DirectoryNotEmpty`](crate::ErrorKind::DirectoryNotEmpty), [`Busy`](crate::ErrorKind::Busy) (something is mounted
/// there), and as [`Rename`]; see rmdir(2).
///
/// ```
/// use nbio::{EventLoop, op};
/// # let path = std::env::temp_dir().join(format!("nbio-rmdir-{}", std::process::id()));
/// # std::fs::create_dir(&path).unwrap();
/// let io = EventLoop::new()?;
/// io.submit(op::Rmdir::new(&path), |_, _, removed| assert_eq!(removed, Ok(())));
/// io.run()?;
/// assert!(!path.exists());
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Rmdir {
    path: PathBuf,
    at: Option<File>,
    options: Options,
}

impl Rmdir {
    /// Removes `path`.
    pub fn new(path: impl AsRef<Path>) -> Rmdir {
        Rmdir { path: path.as_ref().to_owned(), at: None, options: Options::default() }
    }

    /// A relative path begins at this directory instead of the current one.
    pub fn at(mut self, directory: File) -> Rmdir {
        self.at = Some(directory);
        self
    }
}

/// Makes a directory.
///
/// Kernels before Linux 5.15 do it on the [thread pool](crate::op::Blocking#the-pool): there one that has begun ends when it
/// is done. So for [`Link`] and [`Symlink`].
///
/// # Errors
/// [`AlreadyExists`](crate::ErrorKind::AlreadyExists), [`NotFound`](crate::ErrorKind::NotFound) (where it would be),
/// [`TooManyLinks`](crate::ErrorKind::TooManyLinks), [`StorageFull`](crate::ErrorKind::StorageFull), and as [`Rename`]; see
/// mkdir(2).
///
/// ```
/// use nbio::{EventLoop, op};
/// # let path = std::env::temp_dir().join(format!("nbio-mkdir-{}", std::process::id()));
/// let io = EventLoop::new()?;
/// io.submit(op::Mkdir::new(&path).mode(0o700), |_, _, made| assert_eq!(made, Ok(())));
/// io.run()?;
/// assert!(path.is_dir());
/// # std::fs::remove_dir(&path).unwrap();
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Mkdir {
    path: PathBuf,
    at: Option<File>,
    mode: u32,
    options: Options,
}

impl Mkdir {
    /// Makes `path`.
    pub fn new(path: impl AsRef<Path>) -> Mkdir {
        Mkdir { path: path.as_ref().to_owned(), at: None, mode: 0o777, options: Options::default() }
    }

    /// A relative path begins at this directory instead of the current one.
    pub fn at(mut self, directory: File) -> Mkdir {
        self.at = Some(directory);
        self
    }

    /// Its permissions, less those that the process's mask (umask(2)) takes away; `0o777` by default.
    pub fn mode(mut self, mode: u32) -> Mkdir {
        self.mode = mode;
        self
    }
}

/// Gives a file one more name (a hard link), in the same file system.
///
/// # Errors
/// [`AlreadyExists`](crate::ErrorKind::AlreadyExists), [`TooManyLinks`](crate::ErrorKind::TooManyLinks),
/// [`PermissionDenied`](crate::ErrorKind::PermissionDenied) (of a directory), and as [`Rename`]; see link(2).
///
/// ```
/// use nbio::{EventLoop, op};
/// # let folder = std::env::temp_dir().join(format!("nbio-link-{}", std::process::id()));
/// # std::fs::create_dir(&folder).unwrap();
/// # std::fs::write(folder.join("one"), "").unwrap();
/// let io = EventLoop::new()?;
/// io.submit(op::Link::new(folder.join("one"), folder.join("two")), |_, _, linked| assert_eq!(linked, Ok(())));
/// io.run()?;
/// assert!(folder.join("two").exists());
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Link {
    original: PathBuf,
    link: PathBuf,
    from_directory: Option<File>,
    to_directory: Option<File>,
    follow: bool,
    options: Options,
}

impl Link {
    /// What is called `original` is called `link`, too.
    pub fn new(original: impl AsRef<Path>, link: impl AsRef<Path>) -> Link {
        Link {
            original: original.as_ref().to_owned(),
            link: link.as_ref().to_owned(),
            from_directory: None,
            to_directory: None,
            follow: false,
            options: Options::default(),
        }
    }

    /// A relative `original` begins at this directory instead of the current one.
    pub fn from_directory(mut self, directory: File) -> Link {
        self.from_directory = Some(directory);
        self
    }

    /// A relative `link` begins at this directory instead of the current one.
    pub fn to_directory(mut self, directory: File) -> Link {
        self.to_directory = Some(directory);
        self
    }

    /// Whether a symbolic link stands for what it points at; false by default.
    pub fn follow(mut self, follow: bool) -> Link {
        self.follow = follow;
        self
    }
}

/// Makes a symbolic link: a name that stands for a path.
///
/// # Errors
/// [`AlreadyExists`](crate::ErrorKind::AlreadyExists), [`NotFound`](crate::ErrorKind::NotFound) (where it would be, or an
/// empty target), and as [`Rename`]; see symlink(2).
///
/// ```
/// use nbio::{EventLoop, op};
/// # let path = std::env::temp_dir().join(format!("nbio-symlink-{}", std::process::id()));
/// let io = EventLoop::new()?;
/// io.submit(op::Symlink::new("anywhere", &path), |_, _, made| assert_eq!(made, Ok(())));
/// io.run()?;
/// assert_eq!(std::fs::read_link(&path).unwrap().to_str(), Some("anywhere"));
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Symlink {
    target: PathBuf,
    link: PathBuf,
    at: Option<File>,
    options: Options,
}

impl Symlink {
    /// `link` stands for `target`, which needn't exist; a relative one begins where the link is.
    pub fn new(target: impl AsRef<Path>, link: impl AsRef<Path>) -> Symlink {
        let (target, link) = (target.as_ref().to_owned(), link.as_ref().to_owned());
        Symlink { target, link, at: None, options: Options::default() }
    }

    /// A relative `link` begins at this directory instead of the current one.
    pub fn at(mut self, directory: File) -> Symlink {
        self.at = Some(directory);
        self
    }
}
