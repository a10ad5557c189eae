//! Copying files.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::pool::{Pooled, accesses};
use crate::backend::{AnyCopyOrder, Copied, Copying};
use crate::engine::Core;
use crate::engine::handles::Lane;
use crate::engine::op::{Describe, End, Op, Request, Steps, Target};
use crate::engine::steps::{Answer, Course};
use crate::handle::OpId;
use crate::handle::sealed::Handle as _;
use crate::op::blocking::Stop;
use crate::op::{Kind, Operation, Options, Progress};
use crate::{Error, ErrorKind, File};

/// What a [`CopyFile`] has copied.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopiedFile {
    /// How long the copy is, in bytes, holes included.
    pub bytes: u64,
    /// It shares the source's blocks until one of them is written to (a *reflink*), instead of having its own.
    pub cloned: bool,
}

/// Copies a file, atomically: there is all of the copy under its name, or nothing of it.
///
/// The copy is made without a name, in the directory where it will be, and gets its name when it is complete. What had that
/// name is replaced in the same moment, or with [`no_replace`](CopyFile::no_replace) left alone: until then, and whenever
/// the copy is cancelled or fails (the disk full, say), it stays as it was. The copy is a *new* file, with the source's
/// permissions (the nine bits of `0o777`, whatever umask(2) says), and this process's owner and group. Times, extended
/// attributes and access lists are not copied; other hard links of what was replaced keep that. Links at the source's path
/// are followed; one at the target's is replaced.
///
/// A file system that can lets the copy share the source's blocks; that takes no time whatever the size is, and no space.
/// Otherwise the bytes are copied, by the kernel where it can. Holes stay holes, where the file system tells of them.
/// The source is copied to where it ends when the copy comes there, whatever length it was said to have: so also what is in
/// `/proc`, and files that grow or shrink meanwhile. What is written elsewhere in it meanwhile may be in the copy or not.
///
/// [`progress`](CopyFile::progress) makes it an operation that tells how far it is.
///
/// It runs on the [thread pool](crate::op::Blocking#the-pool), in portions of up to 16 MiB or 20 ms, between which others
/// have their turn.
///
/// # Cancelling, deadlines, remove
/// The thread looks at that every MiB, or, if it was between two portions, the next one that is free; then everything is
/// closed, what was copied is gone, and it ends. One that had given the copy its name ends `Ok`. A clone, bringing it to the
/// disk ([`sync`](CopyFile::sync)), and a file system that doesn't answer (NFS) can't be interrupted: it ends when that is
/// over. Dropping the loop doesn't wait for it: then it is given up after the portion that is being copied.
///
/// If the process ends in the middle, nothing is left, or where the file system knows no files without names, and for the
/// moment in which an existing file is replaced, a file called `.nbio-copy-…`.
///
/// # Errors
/// - Of the source: [`NotFound`](ErrorKind::NotFound), [`IsADirectory`](ErrorKind::IsADirectory),
///   [`InvalidInput`](ErrorKind::InvalidInput) (a device, FIFO or socket), [`DeviceError`](ErrorKind::DeviceError).
/// - Of the target: [`InvalidInput`](ErrorKind::InvalidInput) (it is the source itself, or a device, FIFO or socket, so that
///   nothing is copied), [`IsADirectory`](ErrorKind::IsADirectory), [`AlreadyExists`](ErrorKind::AlreadyExists) (only with
///   `no_replace`), [`NotFound`](ErrorKind::NotFound) (its directory), [`StorageFull`](ErrorKind::StorageFull),
///   [`QuotaExceeded`](ErrorKind::QuotaExceeded), [`FileTooLarge`](ErrorKind::FileTooLarge),
///   [`ReadOnlyFilesystem`](ErrorKind::ReadOnlyFilesystem), [`InvalidFilename`](ErrorKind::InvalidFilename).
/// - Of either: [`PermissionDenied`](ErrorKind::PermissionDenied) (to replace a file takes writing to its directory, not to
///   itself), [`NotADirectory`](ErrorKind::NotADirectory), [`FilesystemLoop`](ErrorKind::FilesystemLoop),
///   [`InvalidInput`](ErrorKind::InvalidInput) (a path with a zero byte),
///   [`TooManyDescriptors`](ErrorKind::TooManyDescriptors), [`StaleHandle`](ErrorKind::StaleHandle) and
///   [`WrongLoop`](ErrorKind::WrongLoop) (of a directory).
/// - [`Cancelled`](ErrorKind::Cancelled),
///   [`TimedOut`](ErrorKind::TimedOut), and as [`Blocking`](crate::op::Blocking) if no thread can be had.
///
/// # Platforms
/// Linux: ioctl_ficlone(2) (Btrfs, XFS, bcachefs), else copy_file_range(2), else read(2) and write(2); `SEEK_DATA`
/// (lseek(2)), `O_TMPFILE` (open(2)), linkat(2). io_uring has none of the first three, and would do opening and
/// naming on threads of the kernel's, one after the other: so all of it is done on one thread in one go. macOS and the BSDs
/// (not run yet): a temporary name, read(2) and write(2).
///
/// ```
/// use nbio::{EventLoop, op};
/// # let folder = std::env::temp_dir().join(format!("nbio-copy-file-{}", std::process::id()));
/// # std::fs::create_dir(&folder).unwrap();
/// # let (original, copy) = (folder.join("original"), folder.join("copy"));
/// std::fs::write(&original, "hello").unwrap();
/// let io = EventLoop::new()?;
/// io.submit(op::CopyFile::new(&original, &copy).no_replace(), |_, _, copied| {
///     assert_eq!(copied.unwrap().bytes, 5);
/// });
/// io.run()?;
/// assert_eq!(std::fs::read(&copy).unwrap(), b"hello");
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct CopyFile {
    from: PathBuf,
    to: PathBuf,
    directories: [Option<File>; 2],
    replace: bool,
    sync: bool,
    options: Options,
}

impl CopyFile {
    /// Copies the file at `from`; the copy is at `to`.
    pub fn new(from: impl AsRef<Path>, to: impl AsRef<Path>) -> CopyFile {
        CopyFile {
            from: from.as_ref().to_owned(),
            to: to.as_ref().to_owned(),
            directories: [None, None],
            replace: true,
            sync: false,
            options: Options::default(),
        }
    }

    /// A relative `from` begins at this directory instead of the current one. The handle is needed only when the operation is
    /// submitted: closing it afterwards changes nothing.
    pub fn from_directory(mut self, directory: File) -> CopyFile {
        self.directories[0] = Some(directory);
        self
    }

    /// As [`from_directory`](CopyFile::from_directory), for `to`.
    pub fn to_directory(mut self, directory: File) -> CopyFile {
        self.directories[1] = Some(directory);
        self
    }

    /// Fails if there is anything at `to` already, also a dangling link; and if something comes there while it copies.
    pub fn no_replace(mut self) -> CopyFile {
        self.replace = false;
        self
    }

    /// Brings the copy to the disk before it gets its name. That the *name* survives a crash of the system takes a
    /// [`Fsync`](crate::op::Fsync) of the directory.
    pub fn sync(mut self) -> CopyFile {
        self.sync = true;
        self
    }

    /// The same as an operation for [`submit_many`](crate::EventLoop::submit_many): its items are how many bytes have
    /// been copied so far, holes included, told whenever there are more; the last one before an `Ok` end is the total.
    pub fn progress(self) -> Progress<CopyFile> {
        Progress(self)
    }
}

/// What is to be copied, until it begins, and the answer.
pub struct Parts {
    copy: CopyFile,
    order: Option<Result<AnyCopyOrder, Error>>,
    answer: Answer<CopiedFile>,
}

impl Describe for CopyFile {
    type Parts = Parts;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (Parts, Request) {
        let op = Op::Steps(Steps::new(Lane::Free));
        let request = Request::new(Kind::CopyFile, Target::Loop, op, self.options);
        (Parts { copy: self, order: None, answer: Answer::new() }, request)
    }

    fn lend(parts: &mut Parts, _: &mut Request, core: &Core) {
        let CopyFile { ref mut from, ref mut to, directories, replace, sync, .. } = parts.copy;
        let directories = accesses(core, directories.map(|directory| directory.map(File::id)));
        let (from, to) = (std::mem::take(from), std::mem::take(to));
        let order = |directories| AnyCopyOrder::new((from, to), directories, replace, sync);
        parts.order = Some(directories.map(order));
    }

    fn begin(parts: &mut Parts, operation: OpId, core: &Core) {
        let course = parts.answer.course(operation, Kind::CopyFile);
        match parts.order.take().expect("it begins once") {
            Ok(order) => proceed(core, course, Desk::new(Stage::Ordered(order)), 0),
            Err(error) => end(core, course, CopiedFile::default(), Some(error)),
        }
    }
}

impl Operation for CopyFile {
    type Output = Result<CopiedFile, Error>;

    fn finish(parts: Parts, end: &mut End) -> Self::Output {
        end.result()?;
        Ok(parts.answer.take().unwrap_or_default())
    }
}

/// Where a copy lies between two portions. The loop and the pool's thread share it, so that a portion which is taken back
/// unrun doesn't take the copy with it: what is left of that may be gigabytes, to be given up on a thread of the pool, too.
#[derive(Clone)]
struct Desk(Arc<Mutex<Stage>>);

enum Stage {
    Ordered(AnyCopyOrder),
    UnderWay(Box<Copying>),
    /// Over, or a thread has it.
    Empty,
}

impl Desk {
    fn new(stage: Stage) -> Desk {
        Desk(Arc::new(Mutex::new(stage)))
    }

    fn replace(&self, stage: Stage) -> Stage {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), stage)
    }

    /// The next portion; `None` if there are more to come. Whatever fails leaves nothing.
    fn proceed(&self, stop: &Stop) -> Result<(u64, Option<CopiedFile>), Error> {
        let stopped = || stop.asked();
        let copied = match self.replace(Stage::Empty) {
            Stage::Ordered(order) => order.begin(&stopped),
            Stage::UnderWay(copying) => copying.proceed(&stopped),
            Stage::Empty => Err(Error::new(ErrorKind::Cancelled, Kind::CopyFile)),
        };
        match copied? {
            Copied::Part(copying, bytes) => {
                self.replace(Stage::UnderWay(copying));
                Ok((bytes, None))
            }
            Copied::All { bytes, cloned } => Ok((bytes, Some(CopiedFile { bytes, cloned }))),
        }
    }
}

/// A step: one portion, or giving up what there is.
struct Portion {
    desk: Desk,
    give_up: bool,
    options: Options,
}

impl Portion {
    fn new(desk: Desk, give_up: bool) -> Portion {
        Portion { desk, give_up, options: Options::default() }
    }
}

impl Describe for Portion {
    type Parts = (bool, Pooled<Desk, (u64, Option<CopiedFile>)>);

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (Self::Parts, Request) {
        let (pooled, request) = Pooled::describe(Kind::CopyFile, self.desk, None, self.options);
        ((self.give_up, pooled), request)
    }

    fn lend((give_up, pooled): &mut Self::Parts, request: &mut Request, core: &Core) {
        let give_up = *give_up;
        pooled.lend(request, core, move |desk, _, stop| {
            if give_up {
                drop(desk.replace(Stage::Empty));
                return Ok((0, None));
            }
            desk.proceed(stop)
        });
    }
}

impl Operation for Portion {
    type Output = Result<(u64, Option<CopiedFile>), Error>;

    fn finish((_, pooled): Self::Parts, end: &mut End) -> Self::Output {
        pooled.finish(end)
    }
}

/// Does the next portion, `told` bytes having been told of.
fn proceed(core: &Core, course: Course<CopiedFile>, desk: Desk, told: u64) {
    let rest = desk.clone();
    course.step(core, Portion::new(desk, false), move |core, course, copied| {
        let (bytes, all) = match copied {
            Ok(copied) => copied,
            Err(error) => return give_up(core, course, rest, error),
        };
        course.moved(core, (bytes - told) as usize, true);
        match (all, course.asked(core)) {
            (Some(all), _) => end(core, course, all, None),
            (None, Some(error)) => give_up(core, course, rest, error),
            (None, None) => proceed(core, course, rest, bytes),
        }
    });
}

/// Closes and removes what there is.
fn give_up(core: &Core, course: Course<CopiedFile>, rest: Desk, error: Error) {
    if !matches!(&*rest.0.lock().unwrap_or_else(PoisonError::into_inner), Stage::UnderWay(_)) {
        return end(core, course, CopiedFile::default(), Some(error));
    }
    course.firm_step(core, Portion::new(rest, true), move |core, course, _| {
        end(core, course, CopiedFile::default(), Some(error));
    });
}

fn end(core: &Core, course: Course<CopiedFile>, copied: CopiedFile, error: Option<Error>) {
    let error = error.map(|error| course.asked(core).unwrap_or(error).of(Kind::CopyFile));
    course.end(core, copied, error);
}
