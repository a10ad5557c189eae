//! Whole files: reading and writing them in one go.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Fsync, Open, ReadAt, Rename, Stat, Unlink, WriteAt};
use crate::engine::Core;
use crate::engine::handles::Lane;
use crate::engine::op::{Describe, End, Op, Request, Steps, Target};
use crate::engine::steps::{Answer, Course};
use crate::handle::OpId;
use crate::handle::sealed::Handle as _;
use crate::op::{Close, Done, Kind, Operation, Options};
use crate::{Error, ErrorKind, File, IoBuf};

/// Reads a whole file.
///
/// It reads until there is no more, however long the file was said to be: so also files that grow meanwhile (to where they
/// ended when it came there) and those that are made when they are read, as in `/proc`.
///
/// It opens, asks for the length, reads and closes: each is an operation of its own, and between any two of them it can be
/// cancelled. It lends the system none of the caller's memory, so a cancel or deadline calls back at once; the file is
/// closed a little later.
///
/// # Errors
/// As [`Open`] and [`ReadAt`]; [`OutOfMemory`](ErrorKind::OutOfMemory) if there is no memory for so much.
///
/// ```
/// use nbio::{EventLoop, op};
/// let io = EventLoop::new()?;
/// io.submit(op::ReadFile::new("/proc/version"), |_, _, text| assert!(text.unwrap().starts_with(b"Linux")));
/// io.run()?;
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ReadFile {
    path: PathBuf,
    at: Option<File>,
    options: Options,
}

impl ReadFile {
    /// Reads what is at `path`.
    pub fn new(path: impl AsRef<Path>) -> ReadFile {
        ReadFile { path: path.as_ref().to_owned(), at: None, options: Options::default() }
    }

    /// A relative path begins at this directory instead of the current one.
    pub fn at(mut self, directory: File) -> ReadFile {
        self.at = Some(directory);
        self
    }
}

/// What an operation on whole files is about: the directory's, if there is one, so that closing that one cancels it.
pub(super) fn target(at: Option<File>) -> Target {
    at.map_or(Target::Loop, |directory| Target::Handle(directory.id()))
}

/// An `Open` that begins where the operation does.
pub(super) fn open_at(path: &Path, at: Option<File>) -> Open {
    let open = Open::new(path);
    match at {
        Some(directory) => open.at(directory),
        None => open,
    }
}

fn unlink_at(path: &Path, at: Option<File>) -> Unlink {
    let unlink = Unlink::new(path);
    match at {
        Some(directory) => unlink.at(directory),
        None => unlink,
    }
}

impl Describe for ReadFile {
    type Parts = (PathBuf, Option<File>, Answer<Vec<u8>>);

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (Self::Parts, Request) {
        let op = Op::Steps(Steps { early: true, ..Steps::new(Lane::Free) });
        let request = Request::new(Kind::ReadFile, target(self.at), op, self.options);
        ((self.path, self.at, Answer::new()), request)
    }

    fn begin((path, at, answer): &mut Self::Parts, operation: OpId, core: &Core) {
        let course = answer.course(operation, Kind::ReadFile);
        course.step(core, open_at(path, *at), |core, course, opened| match opened {
            Err(error) => end_reading(core, course, Vec::new(), Some(error)),
            Ok(file) => course.step(core, Stat::of(file), move |core, course, told| {
                let mut reading = Reading { file, buffer: Vec::new() };
                // Only a guess: one byte more finds the end without making room first.
                let size = told.map_or(0, |told| told.size);
                let room = usize::try_from(size).unwrap_or(usize::MAX).saturating_add(1);
                match reading.make_room(room.max(if size == 0 { LEAST } else { 1 })) {
                    Ok(()) => reading.read(core, course),
                    Err(error) => reading.close(core, course, Some(error)),
                }
            }),
        });
    }
}

/// The least that is read at once where nobody knows how much there is.
const LEAST: usize = 4096;

/// A file that is being read, from its beginning to the buffer's end.
struct Reading {
    file: File,
    buffer: Vec<u8>,
}

impl Reading {
    fn make_room(&mut self, bytes: usize) -> Result<(), Error> {
        let made = self.buffer.try_reserve_exact(bytes);
        made.map_err(|_| Error::new(ErrorKind::OutOfMemory, Kind::ReadFile))
    }

    fn read(mut self, core: &Core, course: Course<Vec<u8>>) {
        if let Some(error) = course.asked(core) {
            return self.close(core, course, Some(error));
        }
        let length = self.buffer.len();
        if length == self.buffer.capacity()
            && let Err(error) = self.make_room(length.max(LEAST))
        {
            return self.close(core, course, Some(error));
        }
        let Reading { file, buffer } = self;
        course.step(core, ReadAt::new(file, buffer, length as u64).append(), move |core, course, done| {
            let reading = Reading { file, buffer: done.buf };
            match done.result {
                Ok(()) if done.bytes > 0 => reading.read(core, course),
                Ok(()) => reading.close(core, course, None),
                Err(error) => reading.close(core, course, Some(error)),
            }
        });
    }

    fn close(self, core: &Core, course: Course<Vec<u8>>, error: Option<Error>) {
        let buffer = self.buffer;
        course.step(core, Close::new(self.file), move |core, course, _| {
            end_reading(core, course, buffer, error);
        });
    }
}

fn end_reading(core: &Core, course: Course<Vec<u8>>, buffer: Vec<u8>, error: Option<Error>) {
    let error = error.map(|error| course.asked(core).unwrap_or(error).of(Kind::ReadFile));
    course.end(core, buffer, error);
}

impl Operation for ReadFile {
    type Output = Result<Vec<u8>, Error>;

    fn finish((_, _, answer): Self::Parts, end: &mut End) -> Self::Output {
        end.result()?;
        Ok(answer.take().unwrap_or_default())
    }
}

/// Writes a whole file: makes it, or replaces what it held.
///
/// It opens, writes and closes: each is an operation of its own. As it is, readers may see the file empty or half written,
/// and so it stays if it is cancelled or fails in the middle; `bytes` tells how much was written. With
/// [`atomic`](WriteFile::atomic) they see all of the old or all of the new.
///
/// Cancelled, it ends when the system lets go of the buffer, and everything is closed. Dropping the loop in the middle may
/// leave an atomic one's temporary file.
///
/// # Errors
/// In [`Done::result`], as [`Open`] and [`WriteAt`]; with `atomic` also as [`Fsync`] and [`Rename`], and
/// [`InvalidInput`](ErrorKind::InvalidInput) for a path that ends with no name.
///
/// ```
/// use nbio::{EventLoop, op};
/// # let path = std::env::temp_dir().join(format!("nbio-write-file-{}", std::process::id()));
/// let io = EventLoop::new()?;
/// io.submit(op::WriteFile::new(&path, "settings").atomic(), |_, _, done| assert_eq!(done.result, Ok(())));
/// io.run()?;
/// assert_eq!(std::fs::read(&path).unwrap(), b"settings");
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct WriteFile<B> {
    place: Place,
    buf: B,
    options: Options,
}

/// Where and how a file is written.
#[derive(Clone, Debug)]
struct Place {
    path: PathBuf,
    at: Option<File>,
    mode: u32,
    atomic: bool,
}

impl<B: IoBuf> WriteFile<B> {
    /// Writes `buf` to `path`.
    pub fn new(path: impl AsRef<Path>, buf: B) -> WriteFile<B> {
        let place = Place { path: path.as_ref().to_owned(), at: None, mode: 0o666, atomic: false };
        WriteFile { place, buf, options: Options::default() }
    }

    /// A relative path begins at this directory instead of the current one.
    pub fn at(mut self, directory: File) -> WriteFile<B> {
        self.place.at = Some(directory);
        self
    }

    /// As [`Open::mode`].
    pub fn mode(mut self, mode: u32) -> WriteFile<B> {
        self.place.mode = mode;
        self
    }

    /// Writes a temporary file in the same directory, brings it to the disk, and gives it the name. If anything fails, or it
    /// is cancelled, the temporary file is removed and the old one untouched, and `bytes` is 0. The file is a new one, with
    /// this operation's [`mode`](WriteFile::mode) and this process's owner; a symbolic link is replaced, not followed. That
    /// the *name* survives a crash of the system takes a [`Fsync`] of the directory.
    pub fn atomic(mut self) -> WriteFile<B> {
        self.place.atomic = true;
        self
    }
}

impl<B: IoBuf> Describe for WriteFile<B> {
    type Parts = (Written<B>, Answer<(B, usize)>);

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (Self::Parts, Request) {
        let op = Op::Steps(Steps::new(Lane::Free));
        let request = Request::new(Kind::WriteFile, target(self.place.at), op, self.options);
        ((Written(self.place, Some(self.buf)), Answer::new()), request)
    }

    fn begin((Written(place, buf), answer): &mut Self::Parts, operation: OpId, core: &Core) {
        let course = answer.course(operation, Kind::WriteFile);
        let buf = buf.take().expect("it begins once");
        let mut place = place.clone();
        // A name of its own for the directory: what was begun there is cleaned up, even if that is closed meanwhile.
        match place.at.map(|directory| duplicate(core, directory)).transpose() {
            Ok(at) => {
                place.at = at;
                Writing { place, temporary: None, buf, bytes: 0 }.open(core, course, 0);
            }
            Err(error) => course.end(core, (buf, 0), Some(error.of(Kind::WriteFile))),
        }
    }
}

/// A second handle of the same open directory.
fn duplicate(core: &Core, directory: File) -> Result<File, Error> {
    core.second_file(directory.id()).map(File::from_id)
}

/// What is to be written where; the buffer until it begins.
pub struct Written<B>(Place, Option<B>);

impl<B: IoBuf> Operation for WriteFile<B> {
    type Output = Done<B>;

    fn finish((Written(_, buf), answer): Self::Parts, end: &mut End) -> Done<B> {
        let (buf, bytes) = match answer.take() {
            Some(written) => written,
            None => (buf.expect("it has not begun"), 0),
        };
        Done::new(buf, 0, bytes, end.result())
    }
}

/// How many names a temporary file is tried with.
const MOST_TRIES: u32 = 100;

/// A file that is being written.
struct Writing<B> {
    place: Place,
    temporary: Option<PathBuf>,
    buf: B,
    bytes: usize,
}

impl<B: IoBuf> Writing<B> {
    fn open(mut self, core: &Core, course: Course<(B, usize)>, tries: u32) {
        let open = if self.place.atomic {
            let Some(path) = temporary_name(core, &self.place.path) else {
                let error = Error::new(ErrorKind::InvalidInput, Kind::WriteFile);
                return self.end(core, course, Some(error));
            };
            let open = open_at(&path, self.place.at).create_new(true);
            self.temporary = Some(path);
            open
        } else {
            open_at(&self.place.path, self.place.at).create(true).truncate(true)
        };
        let open = open.write(true).mode(self.place.mode);
        // What it makes has to be removed: so it must be known whether it was made.
        let atomic = self.place.atomic;
        let then = move |core: &Core, course: Course<(B, usize)>, opened: Result<File, Error>| match opened {
            Ok(file) => match course.asked(core).filter(|_| atomic) {
                None => self.write(core, course, file),
                error => self.close(core, course, file, error),
            },
            Err(error) => {
                let taken = self.temporary.take().is_some() && error.kind() == ErrorKind::AlreadyExists;
                if taken && tries < MOST_TRIES && course.asked(core).is_none() {
                    return self.open(core, course, tries + 1);
                }
                self.end(core, course, Some(error));
            }
        };
        if atomic { course.firm_step(core, open, then) } else { course.step(core, open, then) }
    }

    fn write(self, core: &Core, course: Course<(B, usize)>, file: File) {
        let Writing { place, temporary, buf, .. } = self;
        course.step(core, WriteAt::new(file, buf, 0).all(), move |core, course, done| {
            let writing = Writing { place, temporary, buf: done.buf, bytes: done.bytes };
            match done.result {
                Ok(()) if writing.temporary.is_some() => writing.sync(core, course, file),
                result => writing.close(core, course, file, result.err()),
            }
        });
    }

    fn sync(self, core: &Core, course: Course<(B, usize)>, file: File) {
        course.step(core, Fsync::new(file), move |core, course, synced| {
            self.close(core, course, file, synced.err());
        });
    }

    fn close(self, core: &Core, course: Course<(B, usize)>, file: File, error: Option<Error>) {
        course.step(core, Close::new(file), move |core, course, closed| {
            // A cancelled close is done all the same.
            let closed = closed.err().filter(|error| error.kind() != ErrorKind::Cancelled);
            let asked = course.asked(core).filter(|_| self.temporary.is_some());
            match error.or(closed).or(asked) {
                None if self.temporary.is_some() => self.rename(core, course),
                error => self.clean_up(core, course, error),
            }
        });
    }

    fn rename(mut self, core: &Core, course: Course<(B, usize)>) {
        let from = self.temporary.take().expect("an atomic one has one");
        let mut rename = Rename::new(&from, &self.place.path);
        if let Some(directory) = self.place.at {
            rename = rename.from_directory(directory).to_directory(directory);
        }
        course.firm_step(core, rename, move |core, course, renamed| match renamed {
            Ok(()) => self.end(core, course, None),
            Err(error) => {
                self.temporary = Some(from);
                self.clean_up(core, course, Some(error));
            }
        });
    }

    /// Removes the temporary file, if there is one.
    fn clean_up(mut self, core: &Core, course: Course<(B, usize)>, error: Option<Error>) {
        let Some(path) = self.temporary.take() else { return self.end(core, course, error) };
        self.bytes = 0;
        course.firm_step(core, unlink_at(&path, self.place.at), move |core, course, _| {
            self.end(core, course, error);
        });
    }

    fn end(self, core: &Core, course: Course<(B, usize)>, error: Option<Error>) {
        let error = error.map(|error| course.asked(core).unwrap_or(error).of(Kind::WriteFile));
        let (buf, bytes) = (self.buf, self.bytes);
        match self.place.at {
            None => course.end(core, (buf, bytes), error),
            // The duplicate.
            Some(directory) => course.firm_step(core, Close::new(directory), move |core, course, _| {
                course.end(core, (buf, bytes), error);
            }),
        }
    }
}

/// A name beside this one that nobody is likely to have; `None` if it is no name.
fn temporary_name(core: &Core, path: &Path) -> Option<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    path.file_name()?;
    // The same program makes the same names in a simulation.
    let simulated = core.access(None).ok().and_then(|access| access.simulated());
    let (begin, number) = match simulated {
        Some(disk) => ("sim".to_owned(), disk.fresh_number()),
        None => (std::process::id().to_string(), NEXT.fetch_add(1, Ordering::Relaxed).into()),
    };
    Some(path.with_file_name(format!(".nbio-{begin}-{number}")))
}
