//! Opening files.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::backend::files::open_flags;
use crate::engine::op::{Describe, End, Op, Request, Target};
use crate::engine::paths::{Call, PathCall, PathRef};
use crate::handle::sealed::Handle as _;
use crate::op::{Kind, Operation, Options};
use crate::{Error, File};

/// Opens a file, or makes one.
///
/// Without any of [`read`](Open::read), [`write`](Open::write) and [`append`](Open::append) it is opened for reading. A
/// directory can be opened for reading, too: paths can then [begin there](Open::at). Descriptors are close-on-exec.
///
/// It lends the system none of the caller's memory, so a cancel or deadline calls back at once; the file that may still
/// be opened is closed, though one that was created or truncated stays so.
///
/// Opening a FIFO may wait for its other side, or, where the kernel tries it first without waiting, not: then one opened
/// for writing without a reader ends with [`Other`](crate::ErrorKind::Other) (ENXIO). Such a wait has a thread of the
/// kernel's until it is cancelled.
///
/// # Errors
/// [`NotFound`](crate::ErrorKind::NotFound), [`PermissionDenied`](crate::ErrorKind::PermissionDenied),
/// [`AlreadyExists`](crate::ErrorKind::AlreadyExists), [`IsADirectory`](crate::ErrorKind::IsADirectory) (for writing),
/// [`NotADirectory`](crate::ErrorKind::NotADirectory), [`FilesystemLoop`](crate::ErrorKind::FilesystemLoop) (also for a
/// symbolic link with [`nofollow`](Open::nofollow)), [`InvalidFilename`](crate::ErrorKind::InvalidFilename) (too long),
/// [`InvalidInput`](crate::ErrorKind::InvalidInput) (a path with a zero byte, options that contradict each other, or
/// `O_DIRECT` where the file system doesn't have it), [`ReadOnlyFilesystem`](crate::ErrorKind::ReadOnlyFilesystem),
/// [`StorageFull`](crate::ErrorKind::StorageFull), [`TooManyDescriptors`](crate::ErrorKind::TooManyDescriptors),
/// [`ExecutableFileBusy`](crate::ErrorKind::ExecutableFileBusy), [`Unsupported`](crate::ErrorKind::Unsupported)
/// (custom flags in a simulation), [`Cancelled`](crate::ErrorKind::Cancelled), [`TimedOut`](crate::ErrorKind::TimedOut),
/// [`StaleHandle`](crate::ErrorKind::StaleHandle) and [`WrongLoop`](crate::ErrorKind::WrongLoop) (of the directory); see
/// open(2).
///
/// ```
/// use nbio::{EventLoop, op};
/// let path = std::env::temp_dir().join(format!("nbio-open-{}", std::process::id()));
/// let io = EventLoop::new()?;
/// let open = op::Open::new(&path).write(true).create(true).truncate(true);
/// io.submit(open, |_, io, file| {
///     let file = file.unwrap();
///     io.write_all_at(file, "hello", 0, move |_, io, done| {
///         assert_eq!(done.bytes, 5);
///         io.close(file);
///     });
/// });
/// io.run()?;
/// assert_eq!(std::fs::read(&path).unwrap(), b"hello");
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Open {
    path: PathBuf,
    at: Option<File>,
    how: OpenHow,
    options: Options,
}

/// What [`Open`] was told.
#[derive(Copy, Clone, Debug)]
#[doc(hidden)]
pub struct OpenHow {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) append: bool,
    pub(crate) create: bool,
    pub(crate) create_new: bool,
    pub(crate) truncate: bool,
    pub(crate) directory: bool,
    pub(crate) nofollow: bool,
    pub(crate) custom_flags: i32,
    pub(crate) mode: u32,
}

impl Open {
    /// Opens what is at `path`.
    pub fn new(path: impl AsRef<Path>) -> Open {
        let how = OpenHow {
            read: false,
            write: false,
            append: false,
            create: false,
            create_new: false,
            truncate: false,
            directory: false,
            nofollow: false,
            custom_flags: 0,
            mode: 0o666,
        };
        Open { path: path.as_ref().to_owned(), at: None, how, options: Options::default() }
    }

    /// A relative path begins at this directory instead of the current one.
    pub fn at(mut self, directory: File) -> Open {
        self.at = Some(directory);
        self
    }

    /// It can be read.
    pub fn read(mut self, read: bool) -> Open {
        self.how.read = read;
        self
    }

    /// It can be written.
    pub fn write(mut self, write: bool) -> Open {
        self.how.write = write;
        self
    }

    /// It can be written, and every write goes to its end, whatever its offset says.
    pub fn append(mut self, append: bool) -> Open {
        self.how.append = append;
        self
    }

    /// Makes the file if there is none. It must be opened for writing.
    pub fn create(mut self, create: bool) -> Open {
        self.how.create = create;
        self
    }

    /// Makes the file, and fails with [`AlreadyExists`](crate::ErrorKind::AlreadyExists) if there is one, or anything else
    /// of that name, also a dangling link. It must be opened for writing; `create` and `truncate` don't matter then.
    pub fn create_new(mut self, create_new: bool) -> Open {
        self.how.create_new = create_new;
        self
    }

    /// Cuts the file to no bytes. It must be opened for writing, and not for appending.
    pub fn truncate(mut self, truncate: bool) -> Open {
        self.how.truncate = truncate;
        self
    }

    /// Opens nothing but a directory (`O_DIRECTORY`).
    pub fn directory(mut self, directory: bool) -> Open {
        self.how.directory = directory;
        self
    }

    /// Doesn't open what a symbolic link at the path's end points at (`O_NOFOLLOW`).
    pub fn nofollow(mut self, nofollow: bool) -> Open {
        self.how.nofollow = nofollow;
        self
    }

    /// The permissions of a file that is made, less those that the process's mask (umask(2)) takes away; `0o666` by
    /// default.
    pub fn mode(mut self, mode: u32) -> Open {
        self.how.mode = mode;
        self
    }

    /// Further flags of open(2), `O_DIRECT` say; those that say whether it is read or written are ignored.
    pub fn custom_flags(mut self, flags: i32) -> Open {
        self.how.custom_flags = flags;
        self
    }
}

impl Describe for Open {
    type Parts = Option<Rc<PathCall>>;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (Self::Parts, Request) {
        let call = open_flags(&self.how).and_then(|_| PathCall::new(Call::Open(self.how), &self.path));
        path_request(Kind::Open, call, self.at, self.options)
    }
}

impl Operation for Open {
    type Output = Result<File, Error>;

    fn finish(_: Self::Parts, end: &mut End) -> Result<File, Error> {
        end.stream()
    }
}

/// A request for a call that begins at a directory, or is about a file. `None`: it can't be asked for.
pub(in crate::op) fn path_request(
    kind: Kind,
    call: Option<PathCall>,
    at: Option<File>,
    options: Options,
) -> (Option<Rc<PathCall>>, Request) {
    let Some(call) = call.map(Rc::new) else {
        return (None, Request::new(kind, Target::Nothing, Op::NextTick, options));
    };
    let target = Target::Path(at.map(File::id), None);
    let request = Request::new(kind, target, Op::Path(PathRef::new(&call)), options);
    (Some(call), request)
}
