//! Reading and writing at places in files.

use crate::buf::{Buffers, RawLent};
use crate::engine::Core;
use crate::engine::op::{Describe, End, Op, Request, Target};
use crate::engine::vectored::Pieces;
use crate::handle::sealed::Handle as _;
use crate::op::net::{cut, gather, lend_all};
use crate::op::{Done, Kind, Operation, Options};
use crate::{File, IoBuf, IoBufMut};

/// Reads a file from a place on, into a buffer.
///
/// `offset` is in bytes, from the file's beginning. The read overwrites the buffer from byte 0, may fill the whole
/// capacity, and ends with what the system gave, which is less at the end of the file; from there on it is `Ok` with 0
/// bytes. Reads and writes at places have no order: any number of them are done at the same time.
///
/// Cancelled, it ends when the system lets go of the buffer. A read of a disk that has begun can't be stopped: then it
/// ends `Ok`. Removing one leaves the file as it was.
///
/// On what has no places (a FIFO, a terminal) the offset is ignored: it reads what comes next.
///
/// # Errors
/// [`InvalidInput`](crate::ErrorKind::InvalidInput) (no capacity; `offset` and the buffer's end not below 2^63; with
/// `O_DIRECT`, memory, offset or length that are not aligned), [`UnexpectedEof`](crate::ErrorKind::UnexpectedEof) (only
/// with [`exact`](ReadAt::exact)), [`IsADirectory`](crate::ErrorKind::IsADirectory),
/// [`BadDescriptor`](crate::ErrorKind::BadDescriptor) (not opened for reading),
/// [`DeviceError`](crate::ErrorKind::DeviceError), [`Cancelled`](crate::ErrorKind::Cancelled),
/// [`TimedOut`](crate::ErrorKind::TimedOut), [`StaleHandle`](crate::ErrorKind::StaleHandle),
/// [`WrongLoop`](crate::ErrorKind::WrongLoop); see pread(2).
///
/// ```
/// use nbio::{EventLoop, File, op};
/// # let path = std::env::temp_dir().join(format!("nbio-read-at-{}", std::process::id()));
/// # std::fs::write(&path, "hello, world").unwrap();
/// let io = EventLoop::new()?;
/// let file: File = io.adopt(std::fs::File::open(&path).unwrap())?;
/// io.submit(op::ReadAt::new(file, [0; 5], 7).exact(5), |_, _, done| assert_eq!(&done.buf, b"world"));
/// io.run()?;
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct ReadAt<B> {
    file: File,
    buf: B,
    offset: u64,
    want: Option<usize>,
    append: bool,
    options: Options,
}

impl<B: IoBufMut> ReadAt<B> {
    /// Reads `file` from `offset` on into `buf`.
    pub fn new(file: File, buf: B, offset: u64) -> ReadAt<B> {
        ReadAt { file, buf, offset, want: None, append: false, options: Options::default() }
    }

    /// Reads exactly `bytes` bytes; `InvalidInput` if there is no room for so many, `Ok` at once for 0.
    pub fn exact(mut self, bytes: usize) -> ReadAt<B> {
        self.want = Some(bytes);
        self
    }

    /// Keeps what the buffer holds and fills what it has beyond its length.
    pub fn append(mut self) -> ReadAt<B> {
        self.append = true;
        self
    }
}

/// A buffer that is being read into, and where in it that begins.
pub struct Filling<B> {
    pub(super) buf: B,
    pub(super) start: usize,
}

impl<B: IoBufMut> Filling<B> {
    pub(super) fn lend(&mut self, request: &mut Request) {
        let Op::ReadAt { into, exact, .. } = &mut request.op else { unreachable!("described as a read") };
        let lent = self.buf.as_uninit();
        let spare = if request.append {
            self.start = lent.initialised();
            lent.spare()
        } else {
            lent
        };
        *into = spare.into_raw();
        if *exact && !cut(&mut into.length, request.want) {
            request.target = Target::Nothing;
        }
    }
}

impl<B: IoBufMut> Describe for ReadAt<B> {
    type Parts = Filling<B>;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (Filling<B>, Request) {
        let exact = self.want.is_some();
        let op = Op::ReadAt { into: RawLent::NONE, offset: self.offset, exact, cursor: false };
        let request = Request::new(Kind::ReadAt, Target::Handle(self.file.id()), op, self.options);
        let filling = Filling { buf: self.buf, start: 0 };
        (filling, Request { want: self.want, append: self.append, ..request })
    }

    #[inline]
    fn lend(filling: &mut Filling<B>, request: &mut Request, _: &Core) {
        filling.lend(request);
    }
}

impl<B: IoBufMut> Operation for ReadAt<B> {
    type Output = Done<B>;

    fn finish(filling: Filling<B>, end: &mut End) -> Done<B> {
        Done::new(filling.buf, filling.start, end.moved, end.result())
    }
}

/// Reads a file from a place on, into several buffers, one after the other: `[B; N]` or `Vec<B>` of at most 1,024.
///
/// Otherwise as [`ReadAt`].
///
/// # Errors
/// As [`ReadAt`]; [`InvalidInput`](crate::ErrorKind::InvalidInput) also for more than 1,024 buffers.
///
/// ```
/// use nbio::{EventLoop, File, op};
/// # let path = std::env::temp_dir().join(format!("nbio-read-vectored-{}", std::process::id()));
/// # std::fs::write(&path, "headbody").unwrap();
/// let io = EventLoop::new()?;
/// let file: File = io.adopt(std::fs::File::open(&path).unwrap())?;
/// let parts = [Vec::with_capacity(4), Vec::with_capacity(64)];
/// io.submit(op::ReadAtVectored::new(file, parts, 0).exact(8), |_, _, done| {
///     assert!(done.buf[0] == b"head" && done.buf[1] == b"body");
/// });
/// io.run()?;
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct ReadAtVectored<V> {
    file: File,
    bufs: V,
    offset: u64,
    want: Option<usize>,
    append: bool,
    options: Options,
}

impl<V: Buffers<Buf: IoBufMut>> ReadAtVectored<V> {
    /// Reads `file` from `offset` on into `bufs`.
    pub fn new(file: File, bufs: V, offset: u64) -> ReadAtVectored<V> {
        ReadAtVectored { file, bufs, offset, want: None, append: false, options: Options::default() }
    }

    /// As [`ReadAt::exact`], over all buffers together.
    pub fn exact(mut self, bytes: usize) -> ReadAtVectored<V> {
        self.want = Some(bytes);
        self
    }

    /// As [`ReadAt::append`], for each buffer.
    pub fn append(mut self) -> ReadAtVectored<V> {
        self.append = true;
        self
    }
}

impl<V: Buffers<Buf: IoBufMut>> Describe for ReadAtVectored<V> {
    type Parts = V;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (V, Request) {
        let op = Op::ReadAtVectored { pieces: Pieces::NONE, offset: self.offset, exact: self.want.is_some() };
        let request = Request::new(Kind::ReadAtVectored, Target::Handle(self.file.id()), op, self.options);
        (self.bufs, Request { want: self.want, append: self.append, ..request })
    }

    fn lend(bufs: &mut V, request: &mut Request, core: &Core) {
        lend_all(bufs, request, core);
    }
}

impl<V: Buffers<Buf: IoBufMut>> Operation for ReadAtVectored<V> {
    type Output = Done<V>;

    fn finish(bufs: V, end: &mut End) -> Done<V> {
        Done::new(bufs, 0, end.moved, end.result())
    }
}

/// Writes a buffer to a place in a file: plain, as much of it as the system takes; with [`all`](WriteAt::all), the whole
/// of it.
///
/// `offset` is in bytes, from the file's beginning; a file that is shorter grows, with a hole of zeros where nothing was
/// written. In a file opened for appending the offset is ignored: bytes go to its end. Reads and writes at places have no
/// order: where two writes overlap, either may win. Written means taken over by the system; for the disk there is
/// [`Fsync`](crate::op::Fsync).
///
/// Cancelled, it ends when the system lets go of the buffer, and tells how many bytes it wrote. A write of 0 bytes ends
/// `Ok`.
///
/// # Errors
/// [`InvalidInput`](crate::ErrorKind::InvalidInput) (`offset` and the buffer's end not below 2^63; with `O_DIRECT`,
/// memory, offset or length that are not aligned), [`BadDescriptor`](crate::ErrorKind::BadDescriptor) (not opened for
/// writing), [`StorageFull`](crate::ErrorKind::StorageFull), [`QuotaExceeded`](crate::ErrorKind::QuotaExceeded),
/// [`FileTooLarge`](crate::ErrorKind::FileTooLarge) (for the file system, or setrlimit(2)),
/// [`DeviceError`](crate::ErrorKind::DeviceError), [`Cancelled`](crate::ErrorKind::Cancelled),
/// [`TimedOut`](crate::ErrorKind::TimedOut), [`StaleHandle`](crate::ErrorKind::StaleHandle),
/// [`WrongLoop`](crate::ErrorKind::WrongLoop); see pwrite(2).
///
/// ```
/// use nbio::{EventLoop, File, op};
/// # let path = std::env::temp_dir().join(format!("nbio-write-at-{}", std::process::id()));
/// # std::fs::write(&path, "hello, world").unwrap();
/// let io = EventLoop::new()?;
/// let file: File = io.adopt(std::fs::File::options().write(true).open(&path).unwrap())?;
/// io.submit(op::WriteAt::new(file, "there", 7).all(), |_, _, done| assert_eq!(done.bytes, 5));
/// io.run()?;
/// assert_eq!(std::fs::read(&path).unwrap(), b"hello, there");
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct WriteAt<B> {
    file: File,
    buf: B,
    offset: u64,
    all: bool,
    options: Options,
}

impl<B: IoBuf> WriteAt<B> {
    /// Writes `buf` to `file`, from `offset` on.
    pub fn new(file: File, buf: B, offset: u64) -> WriteAt<B> {
        WriteAt { file, buf, offset, all: false, options: Options::default() }
    }

    /// Ends only when the whole buffer is written.
    pub fn all(mut self) -> WriteAt<B> {
        self.all = true;
        self
    }
}

/// Writes the memory of a buffer that is to be written into its request.
pub(super) fn lend_to_write<B: IoBuf>(buf: &B, request: &mut Request) {
    let Op::WriteAt { from, length, .. } = &mut request.op else { unreachable!("described as a write") };
    let bytes = buf.bytes();
    (*from, *length) = (bytes.as_ptr(), bytes.len());
}

impl<B: IoBuf> Describe for WriteAt<B> {
    type Parts = B;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (B, Request) {
        let (from, length) = (std::ptr::null(), 0);
        let op = Op::WriteAt { from, length, offset: self.offset, all: self.all, cursor: false };
        (self.buf, Request::new(Kind::WriteAt, Target::Handle(self.file.id()), op, self.options))
    }

    #[inline]
    fn lend(buf: &mut B, request: &mut Request, _: &Core) {
        lend_to_write(buf, request);
    }
}

impl<B: IoBuf> Operation for WriteAt<B> {
    type Output = Done<B>;

    fn finish(buf: B, end: &mut End) -> Done<B> {
        Done::new(buf, 0, end.moved, end.result())
    }
}

/// Writes several buffers to a place in a file, one after the other: `[B; N]` or `Vec<B>` of at most 1,024.
///
/// Otherwise as [`WriteAt`].
///
/// # Errors
/// As [`WriteAt`]; [`InvalidInput`](crate::ErrorKind::InvalidInput) also for more than 1,024 buffers.
///
/// ```
/// use nbio::{EventLoop, File, op};
/// # let path = std::env::temp_dir().join(format!("nbio-write-vectored-{}", std::process::id()));
/// let io = EventLoop::new()?;
/// let file: File = io.adopt(std::fs::File::create(&path).unwrap())?;
/// io.submit(op::WriteAtVectored::new(file, ["head", "body"], 0).all(), |_, _, done| assert_eq!(done.bytes, 8));
/// io.run()?;
/// assert_eq!(std::fs::read(&path).unwrap(), b"headbody");
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct WriteAtVectored<V> {
    file: File,
    bufs: V,
    offset: u64,
    all: bool,
    options: Options,
}

impl<V: Buffers> WriteAtVectored<V> {
    /// Writes `bufs` to `file`, from `offset` on.
    pub fn new(file: File, bufs: V, offset: u64) -> WriteAtVectored<V> {
        WriteAtVectored { file, bufs, offset, all: false, options: Options::default() }
    }

    /// Ends only when all buffers are written.
    pub fn all(mut self) -> WriteAtVectored<V> {
        self.all = true;
        self
    }
}

impl<V: Buffers> Describe for WriteAtVectored<V> {
    type Parts = V;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (V, Request) {
        let op = Op::WriteAtVectored { pieces: Pieces::NONE, offset: self.offset, all: self.all };
        let target = Target::Handle(self.file.id());
        (self.bufs, Request::new(Kind::WriteAtVectored, target, op, self.options))
    }

    fn lend(bufs: &mut V, request: &mut Request, core: &Core) {
        let bufs = bufs.buffers();
        let gathered = gather(core, bufs.len(), |at| RawLent::reading(bufs[at].bytes()));
        let Op::WriteAtVectored { pieces, .. } = &mut request.op else { unreachable!("described above") };
        match gathered {
            Some(gathered) => *pieces = gathered,
            None => request.target = Target::Nothing,
        }
    }
}

impl<V: Buffers> Operation for WriteAtVectored<V> {
    type Output = Done<V>;

    fn finish(bufs: V, end: &mut End) -> Done<V> {
        Done::new(bufs, 0, end.moved, end.result())
    }
}
