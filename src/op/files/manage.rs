//! What is done with a file as a whole: to the disk, its length, its space.

use crate::engine::op::{Describe, End, MOST_OFFSET, Op, Request, Space, Target};
use crate::handle::sealed::Handle as _;
use crate::op::{Kind, Operation, Options};
use crate::{Error, File};

/// Brings what was written to a file, and all that is known of it, to the disk.
///
/// It covers the writes that have ended when it is submitted, not those that are still in flight. What a cancel or deadline
/// ends, which calls back at once, may still be done.
///
/// # Errors
/// [`DeviceError`](crate::ErrorKind::DeviceError), [`StorageFull`](crate::ErrorKind::StorageFull) and
/// [`QuotaExceeded`](crate::ErrorKind::QuotaExceeded): something that was written earlier is lost, and the next call may
/// not say so again. [`InvalidInput`](crate::ErrorKind::InvalidInput) (a pipe, a terminal),
/// [`Cancelled`](crate::ErrorKind::Cancelled), [`TimedOut`](crate::ErrorKind::TimedOut),
/// [`StaleHandle`](crate::ErrorKind::StaleHandle), [`WrongLoop`](crate::ErrorKind::WrongLoop); see fsync(2).
///
/// ```
/// use nbio::{EventLoop, File, op};
/// # let path = std::env::temp_dir().join(format!("nbio-fsync-{}", std::process::id()));
/// let io = EventLoop::new()?;
/// let file: File = io.adopt(std::fs::File::create(&path).unwrap())?;
/// io.write_all_at(file, "safe", 0, move |_, io, _| {
///     io.submit(op::Fsync::new(file), |_, _, synced| assert_eq!(synced, Ok(())));
/// });
/// io.run()?;
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct Fsync {
    file: File,
    options: Options,
}

impl Fsync {
    /// Of this file; of a directory: the names in it.
    pub fn new(file: File) -> Fsync {
        Fsync { file, options: Options::default() }
    }
}

impl Describe for Fsync {
    type Parts = ();

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> ((), Request) {
        let target = Target::Handle(self.file.id());
        ((), Request::new(Kind::Fsync, target, Op::Sync { data_only: false }, self.options))
    }
}

impl Operation for Fsync {
    type Output = Result<(), Error>;

    fn finish((): (), end: &mut End) -> Result<(), Error> {
        end.result()
    }
}

/// Brings what was written to a file to the disk, and of what is known of it only what is needed to read it: its size, not
/// its times.
///
/// Otherwise as [`Fsync`].
///
/// # Errors
/// As [`Fsync`]; see fdatasync(2).
///
/// ```
/// use nbio::{EventLoop, File, op};
/// # let path = std::env::temp_dir().join(format!("nbio-fdatasync-{}", std::process::id()));
/// let io = EventLoop::new()?;
/// let file: File = io.adopt(std::fs::File::create(&path).unwrap())?;
/// io.submit(op::Fdatasync::new(file), |_, _, synced| assert_eq!(synced, Ok(())));
/// io.run()?;
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct Fdatasync {
    file: File,
    options: Options,
}

impl Fdatasync {
    /// Of this file.
    pub fn new(file: File) -> Fdatasync {
        Fdatasync { file, options: Options::default() }
    }
}

impl Describe for Fdatasync {
    type Parts = ();

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> ((), Request) {
        let target = Target::Handle(self.file.id());
        ((), Request::new(Kind::Fdatasync, target, Op::Sync { data_only: true }, self.options))
    }
}

impl Operation for Fdatasync {
    type Output = Result<(), Error>;

    fn finish((): (), end: &mut End) -> Result<(), Error> {
        end.result()
    }
}

/// Cuts a file to a length, or lets it grow to it with a hole of zeros.
///
/// What a cancel or deadline ends, which calls back at once, may still be done. Kernels before Linux 6.9 do it on the
/// [thread pool](crate::op::Blocking#the-pool): there one that has begun ends when it is done.
///
/// # Errors
/// [`InvalidInput`](crate::ErrorKind::InvalidInput) (not below 2^63, not opened for writing, not a regular file),
/// [`FileTooLarge`](crate::ErrorKind::FileTooLarge), [`DeviceError`](crate::ErrorKind::DeviceError),
/// [`Cancelled`](crate::ErrorKind::Cancelled), [`TimedOut`](crate::ErrorKind::TimedOut),
/// [`StaleHandle`](crate::ErrorKind::StaleHandle), [`WrongLoop`](crate::ErrorKind::WrongLoop); see ftruncate(2).
///
/// ```
/// use nbio::{EventLoop, File, op};
/// # let path = std::env::temp_dir().join(format!("nbio-truncate-{}", std::process::id()));
/// # std::fs::write(&path, "hello, world").unwrap();
/// let io = EventLoop::new()?;
/// let file: File = io.adopt(std::fs::File::options().write(true).open(&path).unwrap())?;
/// io.submit(op::Truncate::new(file, 5), |_, _, cut| assert_eq!(cut, Ok(())));
/// io.run()?;
/// assert_eq!(std::fs::read(&path).unwrap(), b"hello");
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct Truncate {
    file: File,
    length: u64,
    options: Options,
}

impl Truncate {
    /// To `length` bytes.
    pub fn new(file: File, length: u64) -> Truncate {
        Truncate { file, length, options: Options::default() }
    }
}

impl Describe for Truncate {
    type Parts = ();

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (Self::Parts, Request) {
        let target =
            if self.length <= MOST_OFFSET { Target::Handle(self.file.id()) } else { Target::Nothing };
        let op = Op::Truncate { length: self.length };
        ((), Request::new(Kind::Truncate, target, op, self.options))
    }
}

impl Operation for Truncate {
    type Output = Result<(), Error>;

    fn finish((): (), end: &mut End) -> Result<(), Error> {
        end.result()
    }
}

/// Reserves space for a range of a file, or gives it back.
///
/// Writes into reserved space don't fail for want of space. What a cancel or deadline ends, which calls back at once, may
/// still be done.
///
/// # Errors
/// [`InvalidInput`](crate::ErrorKind::InvalidInput) (no length, or the range's end is not below 2^63),
/// [`StorageFull`](crate::ErrorKind::StorageFull), [`FileTooLarge`](crate::ErrorKind::FileTooLarge),
/// [`Unsupported`](crate::ErrorKind::Unsupported) (by the file system), [`BadDescriptor`](crate::ErrorKind::BadDescriptor)
/// (not opened for writing), [`NotSeekable`](crate::ErrorKind::NotSeekable) (a pipe),
/// [`Cancelled`](crate::ErrorKind::Cancelled), [`TimedOut`](crate::ErrorKind::TimedOut),
/// [`StaleHandle`](crate::ErrorKind::StaleHandle), [`WrongLoop`](crate::ErrorKind::WrongLoop); see fallocate(2).
///
/// ```
/// use nbio::{EventLoop, File, op};
/// # let path = std::env::temp_dir().join(format!("nbio-allocate-{}", std::process::id()));
/// let io = EventLoop::new()?;
/// let file: File = io.adopt(std::fs::File::create(&path).unwrap())?;
/// io.submit(op::Allocate::new(file, 0, 4096), |_, _, reserved| assert_eq!(reserved, Ok(())));
/// io.run()?;
/// assert_eq!(std::fs::metadata(&path).unwrap().len(), 4096);
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct Allocate {
    file: File,
    offset: u64,
    length: u64,
    how: Space,
    options: Options,
}

impl Allocate {
    /// Reserves `length` bytes from `offset` on; the file grows if it ends before.
    pub fn new(file: File, offset: u64, length: u64) -> Allocate {
        Allocate { file, offset, length, how: Space::Grow, options: Options::default() }
    }

    /// Keeps the file's size: what is reserved behind its end is for later.
    pub fn keep_size(mut self) -> Allocate {
        self.how = Space::Keep;
        self
    }

    /// Gives the range back instead: it reads as zeros, and the file's size stays.
    pub fn punch_hole(mut self) -> Allocate {
        self.how = Space::Punch;
        self
    }
}

impl Describe for Allocate {
    type Parts = ();

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> ((), Request) {
        let end = self.offset.checked_add(self.length).filter(|&end| end <= MOST_OFFSET);
        let target = match end {
            Some(end) if end > self.offset => Target::Handle(self.file.id()),
            _ => Target::Nothing,
        };
        let op = Op::Allocate { offset: self.offset, length: self.length, how: self.how };
        ((), Request::new(Kind::Allocate, target, op, self.options))
    }
}

impl Operation for Allocate {
    type Output = Result<(), Error>;

    fn finish((): (), end: &mut End) -> Result<(), Error> {
        end.result()
    }
}
