//! Reading and writing one thing after another, at a cursor.

use std::io::SeekFrom;
use std::rc::Rc;

use super::transfer::{Filling, lend_to_write};
use crate::buf::RawLent;
use crate::engine::Core;
use crate::engine::op::{Describe, End, Op, Request, Target};
use crate::engine::paths::{Call, PathCall, PathRef};
use crate::handle::sealed::Handle as _;
use crate::op::{Done, Kind, Operation, Options};
use crate::{Error, File, IoBuf, IoBufMut};

/// Reads what comes next in a file, at its cursor, which moves behind it.
///
/// The cursor is the handle's: it begins at 0, also of an adopted file, and nobody else moves it, whoever shares the
/// descriptor. It goes along with [`detach`](crate::EventLoop::detach).
///
/// Reads, writes and seeks at the cursor of one file take their turns in the order in which they were submitted, so each
/// begins where the one before ended; [`ReadAt`](crate::op::ReadAt) and its kin don't wait for them. One that is cancelled, or
/// late, before its turn has come ends without waiting. Cancelled or removed in the middle, it moves the cursor as far as it
/// got: nothing is ever [`Broken`](crate::ErrorKind::Broken).
///
/// Otherwise as [`ReadAt`](crate::op::ReadAt).
///
/// # Errors
/// As [`ReadAt`](crate::op::ReadAt).
///
/// ```
/// use nbio::{EventLoop, File, op};
/// # let path = std::env::temp_dir().join(format!("nbio-read-{}", std::process::id()));
/// # std::fs::write(&path, "hello, world").unwrap();
/// let io = EventLoop::new()?;
/// let file: File = io.adopt(std::fs::File::open(&path).unwrap())?;
/// io.submit(op::Read::new(file, [0; 7]).exact(7), |_, _, done| assert_eq!(&done.buf, b"hello, "));
/// io.submit(op::Read::new(file, Vec::with_capacity(64)), |_, _, done| assert_eq!(done.data(), b"world"));
/// io.run()?;
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct Read<B> {
    file: File,
    buf: B,
    want: Option<usize>,
    append: bool,
    options: Options,
}

impl<B: IoBufMut> Read<B> {
    /// Reads `file` into `buf`.
    pub fn new(file: File, buf: B) -> Read<B> {
        Read { file, buf, want: None, append: false, options: Options::default() }
    }

    /// Reads exactly `bytes` bytes; `InvalidInput` if there is no room for so many, `Ok` for 0.
    pub fn exact(mut self, bytes: usize) -> Read<B> {
        self.want = Some(bytes);
        self
    }

    /// Keeps what the buffer holds and fills what it has beyond its length.
    pub fn append(mut self) -> Read<B> {
        self.append = true;
        self
    }
}

impl<B: IoBufMut> Describe for Read<B> {
    type Parts = Filling<B>;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (Filling<B>, Request) {
        let op = Op::ReadAt { into: RawLent::NONE, offset: 0, exact: self.want.is_some(), cursor: true };
        let request = Request::new(Kind::Read, Target::Handle(self.file.id()), op, self.options);
        let filling = Filling { buf: self.buf, start: 0 };
        (filling, Request { want: self.want, append: self.append, ..request })
    }

    fn lend(filling: &mut Filling<B>, request: &mut Request, _: &Core) {
        filling.lend(request);
    }
}

impl<B: IoBufMut> Operation for Read<B> {
    type Output = Done<B>;

    fn finish(filling: Filling<B>, end: &mut End) -> Done<B> {
        Done::new(filling.buf, filling.start, end.moved, end.result())
    }
}

/// Writes a buffer to a file at its cursor, which moves behind it: plain, as much of it as the system takes; with
/// [`all`](Write::all), the whole of it.
///
/// The cursor and turns are those of [`Read`]. In a file opened for appending bytes go to its end, and the cursor moves by so
/// many all the same. Those behind a write that was cut short go on where it ended.
///
/// Otherwise as [`WriteAt`](crate::op::WriteAt).
///
/// # Errors
/// As [`WriteAt`](crate::op::WriteAt).
///
/// ```
/// use nbio::{EventLoop, File, op};
/// # let path = std::env::temp_dir().join(format!("nbio-write-{}", std::process::id()));
/// let io = EventLoop::new()?;
/// let file: File = io.adopt(std::fs::File::create(&path).unwrap())?;
/// io.submit(op::Write::new(file, "hello, ").all(), |_, _, done| assert_eq!(done.result, Ok(())));
/// io.submit(op::Write::new(file, "world").all(), |_, _, done| assert_eq!(done.result, Ok(())));
/// io.run()?;
/// assert_eq!(std::fs::read(&path).unwrap(), b"hello, world");
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct Write<B> {
    file: File,
    buf: B,
    all: bool,
    options: Options,
}

impl<B: IoBuf> Write<B> {
    /// Writes `buf` to `file`.
    pub fn new(file: File, buf: B) -> Write<B> {
        Write { file, buf, all: false, options: Options::default() }
    }

    /// Ends only when the whole buffer is written.
    pub fn all(mut self) -> Write<B> {
        self.all = true;
        self
    }
}

impl<B: IoBuf> Describe for Write<B> {
    type Parts = B;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (B, Request) {
        let op = Op::WriteAt { from: std::ptr::null(), length: 0, offset: 0, all: self.all, cursor: true };
        (self.buf, Request::new(Kind::Write, Target::Handle(self.file.id()), op, self.options))
    }

    fn lend(buf: &mut B, request: &mut Request, _: &Core) {
        lend_to_write(buf, request);
    }
}

impl<B: IoBuf> Operation for Write<B> {
    type Output = Done<B>;

    fn finish(buf: B, end: &mut End) -> Done<B> {
        Done::new(buf, 0, end.moved, end.result())
    }
}

/// Moves the cursor of a file, and ends with where it is then, in bytes from the file's beginning.
///
/// It takes its turn as [`Read`] does. Behind the end of the file is a fine place: what is written there leaves a hole of
/// zeros. Counted from the end, the system is asked how long the file is; then a cancel or deadline calls back at once, and
/// the cursor stays. Without a distance, [`SeekFrom::Current`] tells where it is.
///
/// The end of a device is 0 here; what can't be positioned (a FIFO) has a cursor, too, that nothing heeds.
///
/// # Errors
/// [`InvalidInput`](crate::ErrorKind::InvalidInput) (before the beginning, or not below 2^63),
/// [`Cancelled`](crate::ErrorKind::Cancelled), [`TimedOut`](crate::ErrorKind::TimedOut),
/// [`StaleHandle`](crate::ErrorKind::StaleHandle), [`WrongLoop`](crate::ErrorKind::WrongLoop); see statx(2).
///
/// ```
/// use std::io::SeekFrom;
/// use nbio::{EventLoop, File, op};
/// # let path = std::env::temp_dir().join(format!("nbio-seek-{}", std::process::id()));
/// # std::fs::write(&path, "hello, world").unwrap();
/// let io = EventLoop::new()?;
/// let file: File = io.adopt(std::fs::File::open(&path).unwrap())?;
/// io.submit(op::Seek::new(file, SeekFrom::End(-5)), |_, _, at| assert_eq!(at, Ok(7)));
/// io.submit(op::Read::new(file, [0; 5]), |_, _, done| assert_eq!(&done.buf, b"world"));
/// io.run()?;
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Seek {
    file: File,
    to: SeekFrom,
    options: Options,
}

impl Seek {
    /// Moves the cursor of `file`.
    pub fn new(file: File, to: SeekFrom) -> Seek {
        Seek { file, to, options: Options::default() }
    }
}

impl Describe for Seek {
    type Parts = Rc<PathCall>;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (Self::Parts, Request) {
        let call = Rc::new(PathCall::on_handle(Call::Seek(self.to)));
        let (target, op) = (Target::Handle(self.file.id()), Op::Path(PathRef::new(&call)));
        (call, Request::new(Kind::Seek, target, op, self.options))
    }
}

impl Operation for Seek {
    type Output = Result<u64, Error>;

    fn finish(call: Rc<PathCall>, end: &mut End) -> Result<u64, Error> {
        end.result().map(|()| call.position.get())
    }
}
