//! From one stream to another.

use std::cell::Cell;
use std::rc::Rc;

use super::net::{Recv, Send};
use super::{Kind, Operation, Options};
use crate::engine::Core;
use crate::engine::handles::Lane;
use crate::engine::op::{Describe, End, Op, Request, Steps, Target};
use crate::engine::steps::{Answer, Course};
use crate::handle::{Id, OpId};
use crate::{Error, IoBuf, Stream};

/// The end of a [`Splice`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Spliced {
    /// How many bytes were taken from the source.
    pub taken: u64,
    /// How many of them were sent.
    pub delivered: u64,
    /// Those that were taken and not sent, in order: `taken - delivered` of them.
    pub stranded: Vec<u8>,
    /// Why it ended: `Ok` at the end of the source's stream, or when as many bytes as were asked for are delivered.
    pub result: Result<(), Error>,
}

/// Sends on what comes from one stream to another, until the source's stream ends or a number of bytes is reached.
///
/// It is one receive and one send to the rest of the loop: it begins when its turn on both streams has come, and
/// what was submitted on them later waits until it is over. For the sends behind it guarantee 7 holds: if it ends
/// before its end was reached, they end [`Cancelled`](crate::ErrorKind::Cancelled). The end of the source's stream is not
/// passed on: shut the other one down in the callback.
///
/// The bytes go through a buffer of 64 KiB of the loop's, of which at most one is held for each operation. On the way
/// only as much waits as that: a slow receiver slows the source down.
///
/// # Cancelling, deadlines, remove
/// It ends when the system has let go of the buffer, which is soon. What was taken and could not be sent comes back in
/// [`stranded`](Spliced::stranded). If it is *removed* with such bytes, later receives on the source end
/// [`Broken`](crate::ErrorKind::Broken).
///
/// # Errors
/// In [`Spliced::result`], those of [`Recv`](super::Recv) for the source and of [`Send`](super::Send) for the other.
///
/// # Platforms
/// The same everywhere: not splice(2), which through io_uring keeps a kernel thread waiting for each idle stream.
///
/// ```
/// # use std::io::{Read, Write};
/// # use std::net::{Shutdown, TcpListener, TcpStream};
/// use nbio::{EventLoop, Half, op};
/// let io = EventLoop::new()?;
/// # let server = TcpListener::bind("127.0.0.1:0").unwrap();
/// # let mut client = TcpStream::connect(server.local_addr().unwrap()).unwrap();
/// # let from = io.adopt::<nbio::TcpStream>(server.accept().unwrap().0)?;
/// # let mut upstream = TcpStream::connect(server.local_addr().unwrap()).unwrap();
/// # let to = io.adopt::<nbio::TcpStream>(server.accept().unwrap().0)?;
/// # client.write_all(b"hello").unwrap();
/// # client.shutdown(Shutdown::Write).unwrap();
/// io.submit(op::Splice::new(from, to), move |_, io, spliced| {
///     assert_eq!((spliced.delivered, spliced.result), (5, Ok(())));
///     io.shutdown(to, Half::Write, |_, _, _| ());
/// });
/// io.run()?;
/// # let mut said = String::new();
/// # upstream.read_to_string(&mut said).unwrap();
/// # assert_eq!(said, "hello");
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct Splice {
    from: Id,
    to: Id,
    limit: u64,
    options: Options,
}

impl Splice {
    /// Sends what comes on `from` to `to`.
    pub fn new(from: impl Stream, to: impl Stream) -> Splice {
        Splice { from: from.id(), to: to.id(), limit: u64::MAX, options: Options::default() }
    }

    /// Ends when `bytes` bytes are delivered; not one more is taken from the source.
    pub fn limit(mut self, bytes: u64) -> Splice {
        self.limit = bytes;
        self
    }
}

/// What both of its turns lead to.
#[derive(Clone)]
pub struct Parts {
    from: Id,
    to: Id,
    limit: u64,
    answer: Answer<Passed>,
    gate: Rc<Gate>,
}

/// Where the turn that comes first waits for the other.
#[derive(Default)]
struct Gate {
    source: Cell<Option<Course<Passed>>>,
    sink: Cell<Option<Course<()>>>,
    /// Why there will be no turn on the sink.
    refused: Cell<Option<Error>>,
}

/// What went through so far.
#[derive(Clone, Default)]
struct Passed {
    taken: u64,
    delivered: u64,
    stranded: Vec<u8>,
}

impl Describe for Splice {
    type Parts = Parts;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (Parts, Request) {
        let op = Op::Steps(Steps::new(Lane::Receive));
        let (answer, gate) = (Answer::new(), Rc::default());
        let parts = Parts { from: self.from, to: self.to, limit: self.limit, answer, gate };
        (parts, Request::new(Kind::Splice, Target::Handle(self.from), op, self.options))
    }

    const HAS_PARTNER: bool = true;

    /// It takes its place in both lists at once, so that splices never wait for each other in a circle.
    fn submitted(parts: &mut Parts, operation: OpId, core: &Core) {
        let source = parts.answer.course(operation, Kind::Splice);
        if source.asked(core).is_some() {
            return;
        }
        let turn = SendTurn { parts: parts.clone(), options: Options::default() };
        let gate = parts.gate.clone();
        source.partner(core, turn, move |core, ended| {
            // If it ended before its turn, the other has nothing to wait for.
            if let Err(error) = ended {
                gate.refused.set(Some(error));
                let source = Answer::<Passed>::new().course(operation, Kind::Splice);
                source.cancel(core);
            }
        });
    }

    fn begin(parts: &mut Parts, operation: OpId, core: &Core) {
        let source = parts.answer.course(operation, Kind::Splice);
        source.wait(core, true);
        parts.gate.source.set(Some(source));
        Pass::begin(parts, core);
    }
}

impl Operation for Splice {
    type Output = Spliced;

    fn finish(parts: Parts, end: &mut End) -> Spliced {
        let Passed { taken, delivered, stranded } = parts.answer.take().unwrap_or_default();
        let refused = parts.gate.refused.take();
        let result = end.result().map_err(|error| refused.unwrap_or(error));
        Spliced { taken, delivered, stranded, result }
    }
}

/// The turn on the stream that is sent on.
struct SendTurn {
    parts: Parts,
    options: Options,
}

impl Describe for SendTurn {
    type Parts = (Parts, Answer<()>);

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (Self::Parts, Request) {
        let (op, target) = (Op::Steps(Steps::new(Lane::Send)), Target::Handle(self.parts.to));
        ((self.parts, Answer::new()), Request::new(Kind::Splice, target, op, self.options))
    }

    fn begin((parts, answer): &mut Self::Parts, operation: OpId, core: &Core) {
        let sink = answer.course(operation, Kind::Splice);
        sink.wait(core, true);
        parts.gate.sink.set(Some(sink));
        Pass::begin(parts, core);
    }
}

impl Operation for SendTurn {
    type Output = Result<(), Error>;

    fn finish(_: Self::Parts, end: &mut End) -> Result<(), Error> {
        end.result()
    }
}

/// How much is on its way at a time.
const CHUNK: usize = 64 * 1024;

/// The bytes on their way.
struct Pass {
    from: Id,
    to: Id,
    left: u64,
    passed: Passed,
    sink: Course<()>,
}

impl Pass {
    /// Begins when both turns have come.
    fn begin(parts: &Parts, core: &Core) {
        match (parts.gate.source.take(), parts.gate.sink.take()) {
            (Some(source), Some(sink)) => {
                source.wait(core, false);
                sink.wait(core, false);
                let Parts { from, to, limit: left, .. } = *parts;
                let pass = Pass { from, to, left, passed: Passed::default(), sink };
                pass.receive(core, source, core.take_buffer(CHUNK));
            }
            (source, sink) => {
                parts.gate.source.set(source);
                parts.gate.sink.set(sink);
            }
        }
    }

    fn receive(self, core: &Core, course: Course<Passed>, mut buffer: Vec<u8>) {
        let asked = course.asked(core);
        if self.left == 0 || asked.is_some() {
            core.keep_buffer(buffer);
            let error = asked.filter(|_| self.left > 0);
            return self.end(core, course, error);
        }
        buffer.clear();
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(CHUNK);
        course.step(core, Recv::on(self.from, buffer.slice(..most)), move |core, course, done| {
            let buffer = done.buf.into_inner();
            if done.bytes > 0 {
                return self.send(core, course, buffer);
            }
            core.keep_buffer(buffer);
            let error = done.result.err().map(|error| course.asked(core).unwrap_or(error));
            self.end(core, course, error);
        });
    }

    fn send(mut self, core: &Core, course: Course<Passed>, buffer: Vec<u8>) {
        self.passed.taken += buffer.len() as u64;
        self.left -= buffer.len() as u64;
        if let Some(error) = course.asked(core) {
            self.passed.stranded = buffer;
            return self.end(core, course, Some(error));
        }
        course.step(core, Send::on(self.to, buffer).all(), move |core, course, done| {
            self.passed.delivered += done.bytes as u64;
            self.sink.moved(core, done.bytes, false);
            course.moved(core, done.bytes, true);
            match done.result {
                Ok(()) => self.receive(core, course, done.buf),
                Err(error) => {
                    self.passed.stranded = done.buf[done.bytes..].to_vec();
                    let error = course.asked(core).unwrap_or(error);
                    self.end(core, course, Some(error));
                }
            }
        });
    }

    fn end(self, core: &Core, course: Course<Passed>, error: Option<Error>) {
        self.sink.moved(core, 0, error.is_none());
        self.sink.end(core, (), error);
        // Removed, it has nobody to give the stranded bytes to.
        let stranded = self.passed.stranded.len();
        course.moved(core, stranded, stranded == 0);
        course.end(core, self.passed, error.map(|error| error.of(Kind::Splice)));
    }
}
