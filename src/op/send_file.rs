//! A file, or a part of one, on a stream.

use super::files::ReadAt;
use super::net::Send;
use super::{Kind, ManyOperation, Operation, Options};
use crate::engine::Core;
use crate::engine::handles::Lane;
use crate::engine::op::{Describe, End, Op, Request, Steps, Target};
use crate::engine::steps::{Answer, Course};
use crate::handle::{Id, OpId};
use crate::{Error, ErrorKind, File, IoBuf, Stream};

/// The end of a [`SendFile`].
#[derive(Copy, Clone, Debug)]
#[non_exhaustive]
pub struct SentFile {
    /// How many bytes were sent.
    pub bytes: u64,
    /// Why it ended.
    pub result: Result<(), Error>,
}

/// Sends a file, or a part of it, on a stream; any number of bytes.
///
/// It is one send to the rest of the loop: it takes its turn among the stream's sends, and none comes in between. The
/// file's cursor is neither used nor moved. What is written to the file meanwhile may be sent or not.
///
/// The bytes go through a buffer of 256 KiB of the loop's, read and sent in turn.
/// [`progress`](SendFile::progress) makes it an operation that tells how far it is.
///
/// # Cancelling, deadlines, remove
/// It ends when the system has let go of the buffer, which is soon, with the bytes that went out; those behind it end
/// [`Cancelled`](ErrorKind::Cancelled). If it is *removed* when part had gone out, later sends on the stream end
/// [`Broken`](ErrorKind::Broken). If the file's handle is closed it ends with
/// [`Cancelled`](ErrorKind::Cancelled) or [`StaleHandle`](ErrorKind::StaleHandle), never with bytes of another file.
///
/// # Errors
/// In [`SentFile::result`], those of [`ReadAt`] and of [`Send`](super::Send);
/// [`UnexpectedEof`](ErrorKind::UnexpectedEof) if the file ended before the [`length`](SendFile::length) that was asked for.
///
/// # Platforms
/// The same everywhere: not sendfile(2), which blocks while the disk is read, nor splice(2), which through io_uring keeps a
/// kernel thread waiting for each slow receiver. The second copy that it makes costs little: `bench/README.md` has
/// figures.
///
/// ```
/// # use std::io::Read;
/// use nbio::{EventLoop, op};
/// let io = EventLoop::new()?;
/// # let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
/// # let mut peer = std::net::TcpStream::connect(server.local_addr().unwrap()).unwrap();
/// # let path = std::env::temp_dir().join(format!("nbio-doc-send-file-{}", std::process::id()));
/// # std::fs::write(&path, "hello, world").unwrap();
/// let file = io.adopt::<nbio::File>(std::fs::File::open(&path).unwrap())?;
/// # std::fs::remove_file(&path).unwrap();
/// let stream = io.adopt::<nbio::TcpStream>(server.accept().unwrap().0)?;
/// io.submit(op::SendFile::new(file, stream).offset(7), move |_, io, sent| {
///     assert_eq!((sent.bytes, sent.result), (5, Ok(())));
///     io.close(stream);
/// });
/// io.run()?;
/// # let mut got = String::new();
/// # peer.read_to_string(&mut got).unwrap();
/// # assert_eq!(got, "world");
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct SendFile {
    file: File,
    stream: Id,
    offset: u64,
    length: Option<u64>,
    options: Options,
}

impl SendFile {
    /// Sends the whole of `file` on `stream`.
    pub fn new(file: File, stream: impl Stream) -> SendFile {
        SendFile { file, stream: stream.id(), offset: 0, length: None, options: Options::default() }
    }

    /// Begins at this byte of the file. At its end or behind it there is nothing to send; more than `i64::MAX` is
    /// [`InvalidInput`](ErrorKind::InvalidInput).
    pub fn offset(mut self, offset: u64) -> SendFile {
        self.offset = offset;
        self
    }

    /// Sends so many bytes, instead of all until the end of the file.
    pub fn length(mut self, bytes: u64) -> SendFile {
        self.length = Some(bytes);
        self
    }

    /// The same as an operation for [`submit_many`](crate::EventLoop::submit_many): its items are how many bytes have
    /// been sent so far, told whenever there are more; the last one before the end is the total.
    pub fn progress(self) -> Progress<SendFile> {
        Progress(self)
    }
}

/// What is sent where, and the answer.
pub struct Parts {
    file: File,
    stream: Id,
    offset: u64,
    length: Option<u64>,
    answer: Answer<u64>,
}

impl Describe for SendFile {
    type Parts = Parts;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (Parts, Request) {
        let SendFile { file, stream, offset, length, options } = self;
        let (op, target) = (Op::Steps(Steps::new(Lane::Send)), Target::Handle(stream));
        let parts = Parts { file, stream, offset, length, answer: Answer::new() };
        (parts, Request::new(Kind::SendFile, target, op, options))
    }

    fn begin(parts: &mut Parts, operation: OpId, core: &Core) {
        let Parts { file, stream, offset, length, ref answer } = *parts;
        let way =
            Way { file, stream, offset, left: length.unwrap_or(u64::MAX), exact: length.is_some(), sent: 0 };
        way.read(core, answer.course(operation, Kind::SendFile), core.take_buffer(CHUNK));
    }
}

impl Operation for SendFile {
    type Output = SentFile;

    fn finish(parts: Parts, end: &mut End) -> SentFile {
        SentFile { bytes: parts.answer.take().unwrap_or_default(), result: end.result() }
    }
}

/// An operation that tells how far it is: its items are totals of bytes. Made by [`SendFile::progress`] and
/// [`CopyFile::progress`](super::CopyFile::progress).
#[derive(Debug)]
pub struct Progress<O>(pub(super) O);

impl<O: Describe> Describe for Progress<O> {
    type Parts = O::Parts;

    fn options_mut(&mut self) -> &mut Options {
        self.0.options_mut()
    }

    fn describe(self) -> (O::Parts, Request) {
        let (parts, mut request) = self.0.describe();
        if let Op::Steps(steps) = &mut request.op {
            steps.items = true;
        }
        (parts, request)
    }

    fn lend(parts: &mut O::Parts, request: &mut Request, core: &Core) {
        O::lend(parts, request, core);
    }

    fn begin(parts: &mut O::Parts, operation: OpId, core: &Core) {
        O::begin(parts, operation, core);
    }
}

impl<O: Describe> ManyOperation for Progress<O> {
    type Item = u64;

    fn item(end: &mut End) -> u64 {
        end.moved as u64
    }

    /// They are totals.
    fn join(last: &mut u64, later: u64) -> Option<u64> {
        *last = later;
        None
    }
}

/// How much is read and sent at a time.
const CHUNK: usize = 256 * 1024;

/// Where it is on its way.
struct Way {
    file: File,
    stream: Id,
    offset: u64,
    left: u64,
    /// The file must not end before `left` is 0.
    exact: bool,
    sent: u64,
}

impl Way {
    fn read(self, core: &Core, course: Course<u64>, mut buffer: Vec<u8>) {
        let asked = course.asked(core);
        if self.left == 0 || asked.is_some() {
            core.keep_buffer(buffer);
            let error = asked.filter(|_| self.left > 0);
            return self.end(core, course, error);
        }
        buffer.clear();
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(CHUNK);
        let read = ReadAt::new(self.file, buffer.slice(..most), self.offset);
        course.step(core, read, move |core, course, done| {
            let buffer = done.buf.into_inner();
            if done.bytes > 0 {
                return self.send(core, course, buffer);
            }
            core.keep_buffer(buffer);
            let early = self.exact.then(|| Error::new(ErrorKind::UnexpectedEof, Kind::SendFile));
            let error =
                done.result.map_or_else(|error| Some(course.asked(core).unwrap_or(error)), |()| early);
            self.end(core, course, error);
        });
    }

    fn send(mut self, core: &Core, course: Course<u64>, buffer: Vec<u8>) {
        if let Some(error) = course.asked(core) {
            core.keep_buffer(buffer);
            return self.end(core, course, Some(error));
        }
        course.step(core, Send::on(self.stream, buffer).all(), move |core, course, done| {
            let bytes = done.bytes as u64;
            self.sent += bytes;
            self.offset += bytes;
            self.left -= bytes;
            course.moved(core, done.bytes, false);
            match done.result {
                Ok(()) => self.read(core, course, done.buf),
                Err(error) => {
                    core.keep_buffer(done.buf);
                    let error = course.asked(core).unwrap_or(error);
                    self.end(core, course, Some(error));
                }
            }
        });
    }

    fn end(self, core: &Core, course: Course<u64>, error: Option<Error>) {
        course.moved(core, 0, error.is_none());
        course.end(core, self.sent, error.map(|error| error.of(Kind::SendFile)));
    }
}
