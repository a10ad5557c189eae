//! What the engine knows of an operation: one variant a kind, no generics.
//!
//! A new variant is a compile error in every backend's `op.rs` and in the engine's `finish.rs`: the compiler is
//! the checklist.

use std::net::{IpAddr, SocketAddr};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use super::Core;
use super::blocks::Blocks;
use super::envelope::Envelope;
use super::handles::Lane;
use super::passing::Passing;
use super::paths::{Call, PathRef};
use super::pooled::{Lease, Pool};
use super::receiving::Filled;
use super::remote::Shared;
use super::vectored::Pieces;
use crate::backend::{OwnedDescriptor, Work};
use crate::buf::RawLent;
use crate::handle::{Id, NewId, OpId};
use crate::op::{Half, Interest, Kind, Limit, Options};
use crate::udp::RecvControl;
use crate::{Error, Instant, UnixAddress};

/// An operation in its slot. Pointers point at the payload (which stays where it is until the backend lets go) or
/// at blocks of the same slot.
pub(crate) enum Op {
    /// The accepted connection's place in the handle table, once there is one. `many`: one after the other; `held`: not
    /// now, as those that came weren't taken.
    Accept {
        accepted: Option<u32>,
        many: bool,
        held: bool,
    },
    Connect,
    /// `exact`: ends only when all of `into` is filled.
    Recv {
        into: RawLent,
        start: usize,
        exact: bool,
    },
    /// Into buffers of a pool, one after the other; `taken`: what was received and is to be told. `held` as in `Accept`.
    RecvMany {
        pool: NonNull<Pool>,
        taken: Option<Filled>,
        held: bool,
    },
    /// As `Recv`, into several buffers.
    RecvVectored {
        pieces: Pieces,
        exact: bool,
    },
    /// `all`: ends only when all is sent.
    Send {
        from: *const u8,
        length: usize,
        all: bool,
    },
    /// As `Send`, from several buffers.
    SendVectored {
        pieces: Pieces,
        all: bool,
    },
    /// A message, with what is beside its bytes.
    RecvMessage {
        envelope: Envelope,
        unit: Unit,
        got: Got,
    },
    SendMessage {
        envelope: Envelope,
        unit: Unit,
    },
    /// As `Recv`, from a place in a file: at the handle's cursor, if that is set, which is then where it went.
    ReadAt {
        into: RawLent,
        offset: u64,
        exact: bool,
        cursor: bool,
    },
    /// As `ReadAt`, into several buffers.
    ReadAtVectored {
        pieces: Pieces,
        offset: u64,
        exact: bool,
    },
    /// As `Send`, to a place in a file; `cursor` as in `ReadAt`.
    WriteAt {
        from: *const u8,
        length: usize,
        offset: u64,
        all: bool,
        cursor: bool,
    },
    /// As `WriteAt`, from several buffers.
    WriteAtVectored {
        pieces: Pieces,
        offset: u64,
        all: bool,
    },
    Sync {
        /// Where the system knows the difference.
        #[allow(dead_code, reason = "not every system does")]
        data_only: bool,
    },
    Truncate {
        length: u64,
    },
    Allocate {
        offset: u64,
        length: u64,
        how: Space,
    },
    /// What is done with a path; the file that it opened has its place in there.
    Path(PathRef),
    /// As `Recv` or `RecvMessage`, with descriptors beside the bytes.
    RecvFds {
        into: RawLent,
        passing: Passing,
        unit: Unit,
        got: Got,
    },
    /// As `Send` or `SendMessage`, with descriptors beside the bytes.
    SendFds {
        #[allow(dead_code, reason = "not every system passes descriptors")]
        from: *const u8,
        length: usize,
        passing: Passing,
        unit: Unit,
    },
    Shutdown(Half),
    /// `ready`: what the system answered last.
    Poll {
        interest: Interest,
        ready: u32,
        many: bool,
    },
    Close,
    Timer(Schedule),
    NextTick,
    /// A job for another thread, by what the backend calls it.
    Blocking {
        ticket: u64,
        stops: Stops,
    },
    Steps(Steps),
}

/// What becomes of a job that is running when its operation is cancelled.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Stops {
    /// The operation ends when the job does.
    WhenOver,
    /// So too, but the job ends soon when it is asked to.
    WhenAsked,
    /// The operation ends; nobody waits for the job, or wants what it brings.
    AtOnce,
}

/// What one receive or send moves.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes of a stream, in order: as many as there are.
    Bytes,
    /// A record of a connection, in order.
    Record,
    /// A datagram of UDP: each for itself, in no order.
    Datagram,
    /// One of a Unix socket: whether there is room is a matter of where it goes.
    LocalDatagram,
}

/// What a receive of a message has got.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Got {
    Nothing,
    Message,
    /// There will be no more.
    End,
}

/// Where a message goes.
#[derive(Clone, Debug)]
pub enum Destination {
    Network(SocketAddr),
    Local(UnixAddress),
}

impl Unit {
    pub(crate) fn ordered(self) -> bool {
        matches!(self, Unit::Bytes | Unit::Record)
    }
}

impl Destination {
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        match self {
            Destination::Network(address) => Some(address.ip()),
            Destination::Local(_) => None,
        }
    }
}

/// An operation of several steps: see `steps.rs`.
#[derive(Copy, Clone)]
pub(crate) struct Steps {
    /// The list of its handle that it waits in and keeps.
    pub(crate) lane: Lane,
    /// It lends no memory: a cancel calls back at once.
    pub(crate) early: bool,
    /// It brings its progress as items.
    pub(crate) items: bool,
    /// An item is on its way.
    pub(crate) told: bool,
    /// If it ended now, the stream would be at a place that nobody knows.
    pub(crate) partial: bool,
    /// Its turn has come, but not yet that of its partner, which is its `step`.
    pub(crate) waiting: bool,
    /// Its course is over, and so it ended; the last item is still to be brought.
    pub(crate) over: Option<Option<Error>>,
    /// The step that is under way.
    pub(crate) step: Option<OpId>,
}

impl Steps {
    pub(crate) fn new(lane: Lane) -> Steps {
        Steps {
            lane,
            early: false,
            items: false,
            told: false,
            partial: false,
            waiting: false,
            over: None,
            step: None,
        }
    }
}

impl Op {
    /// The list of its handle that it belongs to.
    pub(crate) fn lane(&self) -> Lane {
        match self {
            Op::Recv { .. } | Op::RecvVectored { .. } | Op::RecvMany { .. } => Lane::Receive,
            Op::Send { .. } | Op::SendVectored { .. } => Lane::Send,
            Op::RecvMessage { unit, .. } | Op::RecvFds { unit, .. } if unit.ordered() => Lane::Receive,
            Op::SendMessage { unit, .. } | Op::SendFds { unit, .. } if unit.ordered() => Lane::Send,
            Op::Shutdown(Half::Write | Half::Both) => Lane::Send,
            Op::Shutdown(Half::Read) => Lane::Free,
            Op::RecvMessage { .. } | Op::SendMessage { .. } => Lane::Free,
            Op::RecvFds { .. } | Op::SendFds { .. } => Lane::Free,
            Op::Accept { .. } | Op::Connect | Op::Poll { .. } | Op::Close => Lane::Free,
            // What uses a file's cursor takes its turn, in whichever direction.
            Op::ReadAt { cursor: true, .. } | Op::WriteAt { cursor: true, .. } => Lane::Receive,
            Op::ReadAt { .. } | Op::ReadAtVectored { .. } => Lane::Free,
            Op::WriteAt { .. } | Op::WriteAtVectored { .. } => Lane::Free,
            Op::Sync { .. } | Op::Truncate { .. } | Op::Allocate { .. } => Lane::Free,
            Op::Path(path) if matches!(path.call, Call::Seek(_)) => Lane::Receive,
            Op::Path(_) => Lane::Free,
            Op::Timer(_) | Op::NextTick | Op::Blocking { .. } => Lane::Free,
            Op::Steps(steps) => steps.lane,
        }
    }

    /// Whether it brings items that are gone if nobody takes them.
    pub(crate) fn receives_many(&self) -> bool {
        matches!(self, Op::Accept { many: true, .. } | Op::RecvMany { .. })
    }

    /// Whether it accepts one connection after the other.
    pub(crate) fn accepts_many(&self) -> bool {
        matches!(self, Op::Accept { many: true, .. })
    }

    /// The connection that an accept has, or no longer has.
    pub(crate) fn set_accepted(&mut self, connection: Option<u32>) {
        if let Op::Accept { accepted, .. } = self {
            *accepted = connection;
        }
    }

    /// Whether it has got a message that is one of a sequence.
    pub(crate) fn has_record(&self) -> bool {
        match *self {
            Op::RecvMessage { unit, got, .. } | Op::RecvFds { unit, got, .. } => {
                unit == Unit::Record && got == Got::Message
            }
            _ => false,
        }
    }

    /// How many bytes it may move, and whether it is content with fewer; `None` if it moves none.
    pub(crate) fn transfer(&self) -> Option<Transfer> {
        let (length, whole, receive, offset) = match *self {
            Op::Recv { into, exact, .. } => (into.length, exact, true, None),
            Op::RecvVectored { ref pieces, exact } => (pieces.length(), exact, true, None),
            Op::Send { length, all, .. } => (length, all, false, None),
            Op::SendVectored { ref pieces, all } => (pieces.length(), all, false, None),
            Op::RecvFds { into, unit: Unit::Bytes, .. } => (into.length, false, true, None),
            Op::SendFds { length, unit: Unit::Bytes, .. } => (length, false, false, None),
            Op::ReadAt { into, offset, exact, .. } => (into.length, exact, true, Some(offset)),
            Op::ReadAtVectored { ref pieces, offset, exact } => (pieces.length(), exact, true, Some(offset)),
            Op::WriteAt { length, offset, all, .. } => (length, all, false, Some(offset)),
            Op::WriteAtVectored { ref pieces, offset, all } => (pieces.length(), all, false, Some(offset)),
            _ => return None,
        };
        Some(Transfer { length, whole, receive, offset })
    }

    /// Whether it brings something that is gone if nobody takes it: bytes, messages, connections.
    pub(crate) fn receives(&self) -> bool {
        matches!(
            self,
            Op::Accept { .. }
                | Op::RecvMessage { .. }
                | Op::RecvFds { .. }
                | Op::Recv { .. }
                | Op::RecvVectored { .. }
                | Op::ReadAt { cursor: true, .. }
        )
    }

    /// The memory of a vectored one.
    pub(crate) fn pieces(&mut self) -> Option<&mut Pieces> {
        match self {
            Op::RecvVectored { pieces, .. }
            | Op::SendVectored { pieces, .. }
            | Op::ReadAtVectored { pieces, .. }
            | Op::WriteAtVectored { pieces, .. } => Some(pieces),
            _ => None,
        }
    }

    /// Whether its callback doesn't wait for the system when it is cancelled: it lends no memory of the user's.
    pub(crate) fn ends_early(&self) -> bool {
        matches!(
            self,
            Op::Connect
                | Op::Poll { .. }
                | Op::Sync { .. }
                | Op::Truncate { .. }
                | Op::Allocate { .. }
                | Op::Path(_)
                | Op::Steps(Steps { early: true, .. })
        )
    }

    /// Whether it waits for the other end of a pipe that has a name.
    pub(crate) fn opens_a_pipe(&self) -> bool {
        matches!(self, Op::Path(path) if matches!(path.call, Call::OpenFifo(_)))
    }

    /// Whether its socket may be ready though it would have to wait: for room at a receiver of its own, who lets only those
    /// know that are connected to him.
    pub(crate) fn is_ready_in_vain(&self) -> bool {
        match self {
            Op::SendMessage { envelope, unit: Unit::LocalDatagram } => envelope.is_addressed(),
            Op::SendFds { passing, unit: Unit::LocalDatagram, .. } => passing.is_addressed(),
            _ => false,
        }
    }

    /// Gives back the memory that the operation has beside its slot.
    ///
    /// # Safety
    /// The backend has let go, and nothing of that memory is used any more.
    #[inline]
    pub(crate) unsafe fn free_memory(&mut self, blocks: &mut Blocks) {
        // SAFETY: the caller vouches for it.
        unsafe {
            match self {
                Op::Path(path) => path.free(),
                Op::RecvFds { passing, .. } | Op::SendFds { passing, .. } => passing.free(blocks),
                Op::RecvMessage { envelope, .. } | Op::SendMessage { envelope, .. } => {
                    envelope.free(blocks);
                }
                op => op.pieces().into_iter().for_each(|pieces| pieces.free(blocks)),
            }
        }
    }
}

/// What a byte-moving operation is to move.
#[derive(Copy, Clone)]
pub(crate) struct Transfer {
    pub(crate) length: usize,
    /// It ends only when all of it is moved.
    pub(crate) whole: bool,
    pub(crate) receive: bool,
    /// Where in the file it begins; `None` on a stream.
    pub(crate) offset: Option<u64>,
}

impl Transfer {
    /// Whether a file can be so long.
    pub(crate) fn in_range(&self) -> bool {
        let end = self.offset.unwrap_or(0).checked_add(self.length as u64);
        self.offset.is_none() || end.is_some_and(|end| end <= MOST_OFFSET)
    }
}

/// The largest size and offset of a file: what a signed 64-bit number holds.
pub(crate) const MOST_OFFSET: u64 = i64::MAX as u64;

/// What is done with a range of a file's space.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    /// It is reserved; the file grows as far as it goes.
    Grow,
    /// It is reserved; the file's size stays.
    Keep,
    /// It is given back and reads as zeros; the file's size stays.
    Punch,
}

/// When a timer fires, in nanoseconds on the loop's clock.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Schedule {
    pub(crate) next: u64,
    /// 0 for a timer that fires once.
    pub(crate) period: u64,
    /// The operation's own deadline, `u64::MAX` for none.
    pub(crate) until: u64,
    /// How many periods the item that is due stands for.
    pub(crate) expirations: u64,
}

impl Schedule {
    /// When the timer queue must look at it.
    pub(crate) fn wake(&self) -> u64 {
        self.next.min(self.until)
    }
}

/// A job for another thread, and how that tells the loop. Closure and result are the payload's to drop, never this
/// one's: this may be dropped while the engine is borrowed.
pub(crate) struct Offload {
    pub(crate) work: Arc<dyn Work>,
    pub(crate) shared: Arc<Shared>,
}

/// What an operation struct asks for.
pub struct Request {
    pub(crate) kind: Kind,
    pub(crate) target: Target,
    pub(crate) op: Op,
    pub(crate) options: Options,
    /// `exact`: how many bytes are wanted.
    pub(crate) want: Option<usize>,
    /// `append`: fill only what a buffer has beyond its length.
    pub(crate) append: bool,
}

pub(crate) enum Target {
    /// The loop alone.
    Loop,
    Handle(Id),
    /// Where relative paths begin, or the file itself.
    /// And where the second path begins.
    Path(Option<Id>, Option<Id>),
    /// A connection to be made: its place in the handle table and the scratch block with the address.
    Connection(Result<(u32, NonNull<u8>), Error>),
    /// A descriptor that is only this operation's: its place in the handle table.
    Private(Result<u32, Error>),
    /// The backend's other threads, for something on this handle.
    Pool(Option<Id>, Result<Offload, Error>),
    /// The buffers are unfit for what is asked.
    Nothing,
    /// A point in time.
    After(Duration),
    At(Instant),
}

impl Request {
    #[inline]
    pub(crate) fn new(kind: Kind, target: Target, op: Op, options: Options) -> Request {
        Request { kind, target, op, options, want: None, append: false }
    }

    /// The end of its time on the loop's clock, read by `now` only when it is needed.
    #[inline]
    pub(crate) fn limit(&self, now: impl FnOnce() -> Instant) -> Option<u64> {
        match self.options.limit {
            Limit::None => None,
            Limit::Within(duration) => Some((now() + duration).nanos()),
            Limit::At(at) => Some(at.nanos()),
        }
    }
}

/// How an operation ended, handed to its struct to make the callback's argument from. Large, and mostly empty as a rule: it is
/// filled where it lies.
#[derive(Default)]
pub struct End {
    pub(crate) error: Option<Error>,
    pub(crate) moved: usize,
    /// Where in the buffer the received bytes begin.
    pub(crate) start: usize,
    pub(crate) stream: Option<NewId>,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) expirations: u64,
    /// What came beside the bytes of a message.
    pub(crate) message: Option<(bool, RecvControl)>,
    /// There is nothing more to be received.
    pub(crate) end_of_stream: bool,
    /// What the system answered to a poll.
    pub(crate) ready: u32,
    /// What was received into a buffer of a pool.
    pub(crate) lease: Option<Lease>,
    /// What few operations have.
    beside: Option<Beside>,
}

/// What of an end is on the heap, and so has to be dropped; together, as nearly every end is without any.
#[derive(Default)]
struct Beside {
    unix_peer: Option<UnixAddress>,
    descriptors: Vec<OwnedDescriptor>,
    /// There were more descriptors.
    lost: bool,
}

impl End {
    /// The end of an operation that has moved so many bytes and made nothing.
    #[inline]
    pub(crate) fn new(error: Option<Error>, moved: usize) -> End {
        End {
            error,
            moved,
            start: 0,
            stream: None,
            peer: None,
            expirations: 0,
            message: None,
            end_of_stream: false,
            ready: 0,
            lease: None,
            beside: None,
        }
    }

    /// Whether nothing in it has to be dropped, as in nearly every one.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.lease.is_none() && self.beside.is_none()
    }

    #[inline]
    pub(crate) fn result(&self) -> Result<(), Error> {
        self.error.map_or(Ok(()), Err)
    }

    /// Where it came from, by a Unix socket.
    pub(crate) fn set_unix_peer(&mut self, peer: Option<UnixAddress>) {
        if peer.is_some() {
            self.beside.get_or_insert_default().unix_peer = peer;
        }
    }

    pub(crate) fn take_unix_peer(&mut self) -> Option<UnixAddress> {
        self.beside.as_mut()?.unix_peer.take()
    }

    /// The descriptors that came beside the bytes, and whether some were lost.
    pub(crate) fn set_descriptors(&mut self, descriptors: Vec<OwnedDescriptor>, lost: bool) {
        if lost || !descriptors.is_empty() {
            let beside = self.beside.get_or_insert_default();
            (beside.descriptors, beside.lost) = (descriptors, lost);
        }
    }

    pub(crate) fn take_descriptors(&mut self) -> (Vec<OwnedDescriptor>, bool) {
        self.beside
            .as_mut()
            .map(|beside| (std::mem::take(&mut beside.descriptors), beside.lost))
            .unwrap_or_default()
    }

    /// The handle of what was made or opened.
    pub(crate) fn stream<H: crate::handle::sealed::Handle>(&self) -> Result<H, Error> {
        self.result()?;
        Ok(H::from_id(self.stream.expect("what ended well has a handle")))
    }
}

/// The hidden half of every operation struct.
pub trait Describe: Sized + 'static {
    /// What moves into the slot: the buffers.
    type Parts: 'static;

    /// For the setters that every operation has.
    fn options_mut(&mut self) -> &mut Options;

    /// Splits the struct into what moves into the slot and what is asked for.
    fn describe(self) -> (Self::Parts, Request);

    /// Asks the buffers, which lie where they stay, for their memory, and writes it into the request.
    fn lend(parts: &mut Self::Parts, request: &mut Request, core: &Core) {
        let _ = (parts, request, core);
    }

    /// Whether it has a partner, with a turn to take elsewhere: then `submitted` is called.
    const HAS_PARTNER: bool = false;

    /// It was submitted, and may have its partner take its place in another list.
    fn submitted(parts: &mut Self::Parts, operation: OpId, core: &Core) {
        let _ = (parts, operation, core);
    }

    /// The turn of an operation of several steps has come: submits the first (`steps.rs`).
    fn begin(parts: &mut Self::Parts, operation: OpId, core: &Core) {
        let _ = (parts, operation, core);
        unreachable!("an operation of one step begins with the backend");
    }
}
