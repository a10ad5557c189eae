//! The operations, one typed struct each.
//!
//! A struct describes an operation; nothing happens until it is given to
//! [`EventLoop::submit`](crate::EventLoop::submit). Everyday ones have a short method on the loop:
//! `io.recv(stream, buf, callback)` is `io.submit(op::Recv::new(stream, buf), callback)`.
//! Write them with the module (`op::Send`), since a bare `Send` would shadow the marker trait.
//!
//! How each backend does them: natively, by a system call that never waits, on the thread pool, by the engine itself, or by
//! other operations. [`report`](crate::EventLoop::report) tells it of the loop at hand; a test holds this table to that.
//!
//! | operation | short method | ends with | io_uring | epoll | simulation |
//! |---|---|---|---|---|---|
//! | [`Accept`] | [`accept`](crate::EventLoop::accept) | `Result<Accepted, Error>` | native: `ACCEPT` | readiness: accept(2) | the simulation |
//! | [`AcceptMany`] | [`accept_many`](crate::EventLoop::accept_many) | [`Event<TcpStream>`](Event) | native: `ACCEPT`, multishot (5.19) | readiness: accept(2) | the simulation |
//! | [`Connect`] | [`connect`](crate::EventLoop::connect) | `Result<TcpStream, Error>` | native: `CONNECT` | readiness: connect(2) | the simulation |
//! | [`ConnectUnix`] | [`connect_unix`](crate::EventLoop::connect_unix), [`connect_unix_seqpacket`](crate::EventLoop::connect_unix_seqpacket) | `Result<H, Error>` | native: `CONNECT` | readiness: connect(2) | not supported |
//! | [`Recv`] | [`recv`](crate::EventLoop::recv), [`recv_exact`](crate::EventLoop::recv_exact) | [`Done<B>`](Done) | native: `RECV`; of a [`Pipe`](crate::Pipe) `READ` | readiness: recv(2); of a pipe preadv2(2) | the simulation |
//! | [`RecvVectored`] | [`recv_vectored`](crate::EventLoop::recv_vectored) | [`Done<V>`](Done) | native: `RECVMSG`; `READV` | readiness: recvmsg(2); preadv2(2) | the simulation |
//! | [`RecvMany`] | [`recv_many`](crate::EventLoop::recv_many) | [`Event<PooledBuf>`](Event) | native: `RECV`, multishot, with a ring of buffers (6.0), else readiness | readiness: recv(2) | the simulation |
//! | [`Send`] | [`send`](crate::EventLoop::send), [`send_all`](crate::EventLoop::send_all) | [`Done<B>`](Done) | native: `SEND`; `WRITE` | readiness: send(2); pwritev2(2) | the simulation |
//! | [`SendVectored`] | [`send_vectored`](crate::EventLoop::send_vectored) | [`Done<V>`](Done) | native: `SENDMSG`; `WRITEV` | readiness: sendmsg(2); pwritev2(2) | the simulation |
//! | [`RecvFrom`] | [`recv_from`](crate::EventLoop::recv_from) | [`Datagram<B, A>`](Datagram) | native: `RECVMSG` | readiness: recvmsg(2) | the simulation |
//! | [`RecvMsg`] |  | [`Datagram<V, A>`](Datagram) | native: `RECVMSG` | readiness: recvmsg(2) | the simulation |
//! | [`SendTo`] | [`send_to`](crate::EventLoop::send_to) | [`Done<B>`](Done) | native: `SENDMSG` | readiness: sendmsg(2) | the simulation |
//! | [`SendDatagram`] | [`send_datagram`](crate::EventLoop::send_datagram) | [`Done<B>`](Done) | native: `SENDMSG` | readiness: sendmsg(2) | the simulation |
//! | [`SendMsg`] |  | [`Done<V>`](Done) | native: `SENDMSG` | readiness: sendmsg(2) | the simulation |
//! | [`RecvRecord`] | [`recv_record`](crate::EventLoop::recv_record) | [`Record<B>`](Record) | native: `RECVMSG` | readiness: recvmsg(2) | not supported |
//! | [`RecvRecordVectored`] |  | [`Record<V>`](Record) | native: `RECVMSG` | readiness: recvmsg(2) | not supported |
//! | [`SendRecord`] | [`send_record`](crate::EventLoop::send_record) | [`Done<B>`](Done) | native: `SENDMSG` | readiness: sendmsg(2) | not supported |
//! | [`SendRecordVectored`] |  | [`Done<V>`](Done) | native: `SENDMSG` | readiness: sendmsg(2) | not supported |
//! | [`RecvFds`] |  | [`ReceivedFds<B>`](ReceivedFds) | native: `RECVMSG` | readiness: recvmsg(2) | not supported |
//! | [`SendFds`] |  | [`SentFds<B>`](SentFds) | native: `SENDMSG` | readiness: sendmsg(2) | not supported |
//! | [`Shutdown`] | [`shutdown`](crate::EventLoop::shutdown) | `Result<(), Error>` | a system call that never waits: shutdown(2) | a system call that never waits: shutdown(2) | the simulation |
//! | [`SendFile`] | [`send_file`](crate::EventLoop::send_file) | [`SentFile`] | other operations: `READ` and `SEND` | other operations: reads and sends | other operations |
//! | [`Splice`] | [`splice`](crate::EventLoop::splice) | [`Spliced`] | other operations: `RECV` and `SEND` | other operations: receives and sends | other operations |
//! | [`Close`] | [`close_then`](crate::EventLoop::close_then) | `Result<(), Error>` | native: `CLOSE` | a system call that never waits: close(2); of a file, or with lingering, the thread pool | the simulation |
//! | [`Open`] | [`open`](crate::EventLoop::open) | `Result<File, Error>` | native: `OPENAT` | the thread pool: openat(2) | the simulation |
//! | [`ReadAt`] | [`read_at`](crate::EventLoop::read_at), [`read_exact_at`](crate::EventLoop::read_exact_at) | [`Done<B>`](Done) | native: `READ` | the thread pool: pread(2), unless it is in memory | the simulation |
//! | [`ReadAtVectored`] |  | [`Done<V>`](Done) | native: `READV` | the thread pool: preadv(2), unless it is in memory | the simulation |
//! | [`WriteAt`] | [`write_at`](crate::EventLoop::write_at), [`write_all_at`](crate::EventLoop::write_all_at) | [`Done<B>`](Done) | native: `WRITE` | the thread pool: pwrite(2) | the simulation |
//! | [`WriteAtVectored`] |  | [`Done<V>`](Done) | native: `WRITEV` | the thread pool: pwritev(2) | the simulation |
//! | [`Fsync`] | [`fsync`](crate::EventLoop::fsync) | `Result<(), Error>` | native: `FSYNC` | the thread pool: fsync(2) | the simulation |
//! | [`Fdatasync`] | [`fsync`](crate::EventLoop::fsync) | `Result<(), Error>` | native: `FSYNC` | the thread pool: fdatasync(2) | the simulation |
//! | [`Stat`] | [`stat`](crate::EventLoop::stat) | `Result<Metadata, Error>` | native: `STATX` | the thread pool: statx(2) | the simulation |
//! | [`Truncate`] | [`truncate`](crate::EventLoop::truncate) | `Result<(), Error>` | native: `FTRUNCATE` (6.9), else the thread pool | the thread pool: ftruncate(2) | the simulation |
//! | [`Allocate`] |  | `Result<(), Error>` | native: `FALLOCATE` | the thread pool: fallocate(2) | the simulation |
//! | [`Rename`] | [`rename`](crate::EventLoop::rename) | `Result<(), Error>` | native: `RENAMEAT` | the thread pool: renameat2(2) | the simulation |
//! | [`Unlink`] | [`unlink`](crate::EventLoop::unlink) | `Result<(), Error>` | native: `UNLINKAT` | the thread pool: unlinkat(2) | the simulation |
//! | [`Mkdir`] | [`mkdir`](crate::EventLoop::mkdir) | `Result<(), Error>` | native: `MKDIRAT` (5.15), else the thread pool | the thread pool: mkdirat(2) | the simulation |
//! | [`Rmdir`] | [`rmdir`](crate::EventLoop::rmdir) | `Result<(), Error>` | native: `UNLINKAT` | the thread pool: unlinkat(2) | the simulation |
//! | [`Link`] |  | `Result<(), Error>` | native: `LINKAT` (5.15), else the thread pool | the thread pool: linkat(2) | the simulation |
//! | [`Symlink`] |  | `Result<(), Error>` | native: `SYMLINKAT` (5.15), else the thread pool | the thread pool: symlinkat(2) | the simulation |
//! | [`ReadLink`] |  | `Result<PathBuf, Error>` | the thread pool: readlinkat(2) | the thread pool: readlinkat(2) | the simulation |
//! | [`ReadDir`] | [`read_dir`](crate::EventLoop::read_dir) | `Result<Vec<DirEntry>, Error>` | the thread pool: getdents64(2) | the thread pool: getdents64(2) | the simulation |
//! | [`Lock`] |  | `Result<(), Error>` | the thread pool: flock(2) | the thread pool: flock(2) | the simulation |
//! | [`Unlock`] |  | `Result<(), Error>` | the thread pool: flock(2) | the thread pool: flock(2) | the simulation |
//! | [`Read`] | [`read`](crate::EventLoop::read), [`read_exact`](crate::EventLoop::read_exact) | [`Done<B>`](Done) | native: `READ` | the thread pool: pread(2), unless it is in memory | the simulation |
//! | [`Write`] | [`write`](crate::EventLoop::write), [`write_all`](crate::EventLoop::write_all) | [`Done<B>`](Done) | native: `WRITE` | the thread pool: pwrite(2) | the simulation |
//! | [`Seek`] | [`seek`](crate::EventLoop::seek) | `Result<u64, Error>` | native: `STATX` from the end, else nothing | the thread pool: statx(2) from the end, else nothing | the simulation |
//! | [`ReadFile`] | [`read_file`](crate::EventLoop::read_file) | `Result<Vec<u8>, Error>` | other operations: `OPENAT`, `STATX`, `READ`, `CLOSE` | other operations: the same | other operations |
//! | [`WriteFile`] | [`write_file`](crate::EventLoop::write_file) | [`Done<B>`](Done) | other operations: `OPENAT`, `WRITE`, `CLOSE`; `FSYNC`, `RENAMEAT` | other operations: the same | other operations |
//! | [`CopyFile`] | [`copy_file`](crate::EventLoop::copy_file) | `Result<CopiedFile, Error>` | the thread pool: ioctl_ficlone(2), copy_file_range(2), read(2), write(2) | the thread pool: ioctl_ficlone(2), copy_file_range(2), read(2), write(2) | the simulation |
//! | [`OpenFifo`] | [`open_fifo`](crate::EventLoop::open_fifo) | `Result<Pipe, Error>` | native: `OPENAT` | the thread pool: openat(2) | not supported |
//! | [`AcceptPipe`] | [`accept_pipe`](crate::EventLoop::accept_pipe) | `Result<Pipe, Error>` | not supported | not supported | not supported |
//! | [`Poll`] | [`poll`](crate::EventLoop::poll) | `Result<Readiness, Error>` | native: `POLL_ADD` | readiness | not supported |
//! | [`PollMany`] | [`poll_many`](crate::EventLoop::poll_many) | [`Event<Readiness>`](Event) | native: `POLL_ADD`, multishot | readiness | not supported |
//! | [`Timer`] | [`timer`](crate::EventLoop::timer) | `Result<(), Error>` | the engine | the engine | the engine |
//! | [`Interval`] | [`interval`](crate::EventLoop::interval) | [`Event<u64>`](Event) | the engine | the engine | the engine |
//! | [`Blocking`] | [`run_blocking`](crate::EventLoop::run_blocking) | `Result<T, Error>` | the thread pool | the thread pool | the simulation |
//! | [`Resolve`] | [`resolve`](crate::EventLoop::resolve) | `Result<Vec<SocketAddr>, Error>` | the thread pool: getaddrinfo(3) | the thread pool: getaddrinfo(3) | the simulation |
//! | [`NextTick`] | [`next_tick`](crate::EventLoop::next_tick) | `Result<(), Error>` | the engine | the engine | the engine |

mod accept_many;
mod awaiting;
mod blocking;
mod close;
mod datagrams;
mod files;
mod local;
mod net;
mod passing;
mod pipes;
mod poll;
mod records;
mod recv_many;
mod resolve;
mod send_file;
mod splice;
mod time;

use std::fmt;
use std::time::Duration;

use crate::engine::Core;
use crate::engine::op::{Describe, End};
use crate::handle::Id;
use crate::task::{CancelToken, OpFuture};
use crate::{Error, Instant, IoBuf, Slice};

pub use accept_many::AcceptMany;
pub use awaiting::{Awaited, Ending, Failed};
pub use blocking::Blocking;
pub use close::Close;
pub(crate) use close::close_gracefully;
pub use datagrams::{Datagram, RecvFrom, RecvMsg, SendDatagram, SendMsg, SendTo};
pub(crate) use files::OpenHow;
pub use files::{
    Allocate, CopiedFile, CopyFile, DirEntry, Fdatasync, FileType, Fsync, Link, Lock, Metadata, Mkdir, Open,
    Read, ReadAt, ReadAtVectored, ReadDir, ReadFile, ReadLink, Rename, Rmdir, Seek, Stat, Symlink, Truncate,
    Unlink, Unlock, Write, WriteAt, WriteAtVectored, WriteFile,
};
pub use local::ConnectUnix;
pub use net::{Accept, Accepted, Connect, Half, Recv, RecvVectored, Send, SendVectored, Shutdown};
pub use passing::{ReceivedFds, RecvFds, SendFds, SentFds};
pub(crate) use pipes::PipeHow;
pub use pipes::{AcceptPipe, OpenFifo};
pub use poll::{Interest, Poll, PollMany, Readiness};
pub use records::{Record, RecvRecord, RecvRecordVectored, SendRecord, SendRecordVectored};
pub use recv_many::RecvMany;
pub use resolve::Resolve;
pub use send_file::{Progress, SendFile, SentFile};
pub use splice::{Splice, Spliced};
pub use time::{Interval, NextTick, Timer};

/// Something that can be submitted and ends once.
///
/// Its methods set what every operation has. The trait is sealed: the implementors are the structs of
/// [`op`](crate::op) that have an [`Output`](Operation::Output).
///
/// ```
/// use std::time::Duration;
/// use nbio::{ErrorKind, EventLoop, Operation, op};
/// let io = EventLoop::new()?;
/// let listener = io.listen_tcp(([127, 0, 0, 1], 0))?;
/// let accept = op::Accept::new(listener).timeout(Duration::from_millis(1));
/// io.submit(accept, |_, _, accepted| assert_eq!(accepted.unwrap_err().kind(), ErrorKind::TimedOut));
/// io.run()?;
/// # Ok::<(), nbio::Error>(())
/// ```
pub trait Operation: Describe {
    /// What the callback is given.
    type Output: Ending;

    /// Makes it from what came back out of the slot.
    #[doc(hidden)]
    fn finish(parts: Self::Parts, end: &mut End) -> Self::Output;

    /// The operation must end within `duration`, counted from a clock read when it is submitted.
    ///
    /// It covers the whole operation, not each chunk, and the time spent waiting behind others on the same
    /// stream. When it passes, the operation is cancelled and ends with
    /// [`TimedOut`](crate::ErrorKind::TimedOut), unless it had done what was asked. An operation that lends
    /// memory to the system calls back only when the system lets go of it.
    fn timeout(mut self, duration: Duration) -> Self {
        self.options_mut().limit = Limit::Within(duration);
        self
    }

    /// As [`timeout`](Operation::timeout), with a point in time. One that has passed already lets the operation
    /// begin and cancels it in the next tick.
    fn deadline(mut self, at: Instant) -> Self {
        self.options_mut().limit = Limit::At(at);
        self
    }

    /// The operation doesn't keep [`run`](crate::EventLoop::run) going: `run` returns when only such ones
    /// are left.
    fn background(mut self) -> Self {
        self.options_mut().background = true;
        self
    }

    /// Awaited, the operation ends [`Cancelled`](crate::ErrorKind::Cancelled) when the token is cancelled, and gives its
    /// buffer back: see [`CancelToken`].
    fn cancelled_by(self, token: &CancelToken) -> OpFuture<Self> {
        OpFuture::new(self).cancelled_by(token)
    }
}

/// Something that can be submitted and brings any number of items before it ends once.
///
/// The trait is sealed. See [`EventLoop::submit_many`](crate::EventLoop::submit_many), and
/// [`task::items`](crate::task::items) for tasks.
pub trait ManyOperation: Describe {
    /// What each [`Event::Item`] brings.
    type Item: 'static;

    /// Makes one from what the engine knows of it.
    #[doc(hidden)]
    fn item(end: &mut End) -> Self::Item;

    /// Makes the last one that nobody has taken yet say what a later one does, too; gives that back if it is to be taken
    /// for itself.
    #[doc(hidden)]
    fn join(last: &mut Self::Item, later: Self::Item) -> Option<Self::Item>;

    /// The handle that items come from, if those that nobody takes belong to whoever asks there next.
    #[doc(hidden)]
    fn origin(&self) -> Option<Id> {
        None
    }

    /// Nobody will take this one.
    #[doc(hidden)]
    fn untaken(item: Self::Item, origin: Option<Id>, core: &Core) {
        let _ = (item, origin, core);
    }

    /// As [`Operation::timeout`].
    fn timeout(mut self, duration: Duration) -> Self {
        self.options_mut().limit = Limit::Within(duration);
        self
    }

    /// As [`Operation::deadline`].
    fn deadline(mut self, at: Instant) -> Self {
        self.options_mut().limit = Limit::At(at);
        self
    }

    /// As [`Operation::background`].
    fn background(mut self) -> Self {
        self.options_mut().background = true;
        self
    }
}

/// What every operation has.
#[derive(Copy, Clone, Debug, Default)]
pub struct Options {
    pub(crate) limit: Limit,
    pub(crate) background: bool,
    /// It is a step of another operation.
    pub(crate) inner: bool,
    /// A future waits for its end.
    pub(crate) awaited: bool,
}

/// When an operation must have ended.
#[derive(Copy, Clone, Debug, Default)]
pub(crate) enum Limit {
    #[default]
    None,
    Within(Duration),
    At(Instant),
}

/// The end of an operation that moves bytes.
///
/// `bytes` is always true, `result` says why it ended, and the buffer always comes back. `result` can be an
/// error while `bytes` is not 0: a cancelled or timed-out operation keeps what it moved.
#[derive(Debug)]
#[non_exhaustive]
pub struct Done<B> {
    /// How many bytes were moved.
    pub bytes: usize,
    /// The buffer. A growable one's length ends where the last received byte does; a fixed one is as long as
    /// before.
    pub buf: B,
    /// Why it ended. A plain receive at the end of the stream is `Ok` with 0 bytes.
    pub result: Result<(), Error>,
    start: usize,
}

impl<B> Done<B> {
    pub(crate) fn new(buf: B, start: usize, bytes: usize, result: Result<(), Error>) -> Done<B> {
        Done { bytes, buf, result, start }
    }
}

impl<B: IoBuf> Done<B> {
    /// The bytes that were received or sent.
    pub fn data(&self) -> &[u8] {
        let bytes = self.buf.bytes();
        let start = self.start.min(bytes.len());
        &bytes[start..(start + self.bytes).min(bytes.len())]
    }

    /// The buffer cut down to the bytes that were received or sent, to send them on without a copy.
    ///
    /// ```
    /// # use nbio::{Done, EventLoop, TcpStream};
    /// fn echo(io: &EventLoop<()>, stream: TcpStream, done: Done<[u8; 512]>) {
    ///     io.send_all(stream, done.filled(), move |_, io, sent| {
    ///         io.recv(stream, sent.buf.into_inner(), move |_, io, done| echo(io, stream, done));
    ///     });
    /// }
    /// ```
    pub fn filled(self) -> Slice<B> {
        self.buf.slice(self.start..self.start + self.bytes)
    }
}

/// What the callback of a [`ManyOperation`] is given: any number of items, then exactly one end.
#[derive(Debug)]
pub enum Event<T> {
    /// One more item.
    Item(T),
    /// The operation is over; the callback is dropped after this.
    End(Result<(), Error>),
}

/// The kinds of operations and of calls that can fail; [`Error::operation`] names one.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Kind {
    /// Making a loop.
    Build,
    /// `tick`, `run` and their twins.
    Tick,
    /// `drain`.
    Drain,
    /// `block_on`.
    BlockOn,
    /// `spawn`.
    Spawn,
    /// `cancel_all`.
    CancelAll,
    /// `listen_tcp`.
    Listen,
    /// [`Accept`].
    Accept,
    /// [`AcceptMany`].
    AcceptMany,
    /// [`Connect`].
    Connect,
    /// [`ConnectUnix`].
    ConnectUnix,
    /// [`Recv`].
    Recv,
    /// [`RecvVectored`].
    RecvVectored,
    /// [`RecvMany`].
    RecvMany,
    /// [`Send`].
    Send,
    /// [`SendVectored`].
    SendVectored,
    /// [`RecvFrom`].
    RecvFrom,
    /// [`RecvMsg`].
    RecvMsg,
    /// [`SendTo`].
    SendTo,
    /// [`SendDatagram`].
    SendDatagram,
    /// [`SendMsg`].
    SendMsg,
    /// [`RecvRecord`].
    RecvRecord,
    /// [`RecvRecordVectored`].
    RecvRecordVectored,
    /// [`SendRecord`].
    SendRecord,
    /// [`SendRecordVectored`].
    SendRecordVectored,
    /// [`RecvFds`].
    RecvFds,
    /// [`SendFds`].
    SendFds,
    /// [`Shutdown`].
    Shutdown,
    /// [`SendFile`].
    SendFile,
    /// [`Splice`].
    Splice,
    /// [`Close`].
    Close,
    /// `close_gracefully`.
    CloseGracefully,
    /// [`Open`].
    Open,
    /// [`ReadAt`].
    ReadAt,
    /// [`ReadAtVectored`].
    ReadAtVectored,
    /// [`WriteAt`].
    WriteAt,
    /// [`WriteAtVectored`].
    WriteAtVectored,
    /// [`Fsync`].
    Fsync,
    /// [`Fdatasync`].
    Fdatasync,
    /// [`Stat`].
    Stat,
    /// [`Truncate`].
    Truncate,
    /// [`Allocate`].
    Allocate,
    /// [`Rename`].
    Rename,
    /// [`Unlink`].
    Unlink,
    /// [`Mkdir`].
    Mkdir,
    /// [`Rmdir`].
    Rmdir,
    /// [`Link`].
    Link,
    /// [`Symlink`].
    Symlink,
    /// [`ReadLink`].
    ReadLink,
    /// [`ReadDir`].
    ReadDir,
    /// [`Lock`].
    Lock,
    /// [`Unlock`].
    Unlock,
    /// [`Read`].
    Read,
    /// [`Write`].
    Write,
    /// [`Seek`].
    Seek,
    /// [`ReadFile`].
    ReadFile,
    /// [`WriteFile`].
    WriteFile,
    /// [`CopyFile`].
    CopyFile,
    /// [`Poll`].
    Poll,
    /// [`PollMany`].
    PollMany,
    /// [`Timer`].
    Timer,
    /// [`Interval`].
    Interval,
    /// [`NextTick`].
    NextTick,
    /// [`Blocking`].
    Blocking,
    /// [`Resolve`].
    Resolve,
    /// `local_address`.
    LocalAddress,
    /// `peer_address`.
    PeerAddress,
    /// `set_tcp_options`.
    SetOptions,
    /// `tcp_options`.
    GetOptions,
    /// `buffer_pool`.
    BufferPool,
    /// `bind_udp`.
    BindUdp,
    /// `connect_udp`.
    ConnectUdp,
    /// `disconnect_udp`.
    DisconnectUdp,
    /// `set_udp_options`.
    SetUdpOptions,
    /// `udp_options`.
    GetUdpOptions,
    /// `join_multicast`.
    JoinMulticast,
    /// `leave_multicast`.
    LeaveMulticast,
    /// `adopt`.
    Adopt,
    /// `release`.
    Release,
    /// `detach`.
    Detach,
    /// `attach`.
    Attach,
    /// `raw`.
    Raw,
    /// `duplicate`.
    Duplicate,
    /// `listen_unix`.
    ListenUnix,
    /// `unix_pair`.
    UnixPair,
    /// `bind_unix_datagram`.
    BindUnixDatagram,
    /// `connect_unix_datagram`.
    ConnectUnixDatagram,
    /// `disconnect_unix_datagram`.
    DisconnectUnixDatagram,
    /// `unix_datagram_pair`.
    UnixDatagramPair,
    /// `listen_unix_seqpacket`.
    ListenUnixSeqpacket,
    /// `unix_seqpacket_pair`.
    UnixSeqpacketPair,
    /// `peer_credentials`.
    PeerCredentials,
    /// `pipe`.
    Pipe,
    /// [`OpenFifo`].
    OpenFifo,
    /// [`AcceptPipe`].
    AcceptPipe,
    /// `stdin`, `stdout`, `stderr`.
    Standard,
    /// `remote`, and giving a loop something to do by a [`Remote`](crate::Remote).
    Remote,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::Build => "event loop",
            Kind::Tick => "tick",
            Kind::Drain => "drain",
            Kind::BlockOn => "block_on",
            Kind::Spawn => "spawn",
            Kind::CancelAll => "cancel_all",
            Kind::Listen => "listen",
            Kind::Accept => "accept",
            Kind::AcceptMany => "accept_many",
            Kind::Connect => "connect",
            Kind::ConnectUnix => "connect_unix",
            Kind::Recv => "recv",
            Kind::RecvMany => "recv_many",
            Kind::BufferPool => "buffer_pool",
            Kind::RecvVectored => "recv_vectored",
            Kind::Send => "send",
            Kind::SendVectored => "send_vectored",
            Kind::RecvFrom => "recv_from",
            Kind::RecvMsg => "recv_msg",
            Kind::SendTo => "send_to",
            Kind::SendDatagram => "send_datagram",
            Kind::SendMsg => "send_msg",
            Kind::RecvRecord => "recv_record",
            Kind::RecvRecordVectored => "recv_record_vectored",
            Kind::SendRecord => "send_record",
            Kind::SendRecordVectored => "send_record_vectored",
            Kind::RecvFds => "recv_fds",
            Kind::SendFds => "send_fds",
            Kind::Shutdown => "shutdown",
            Kind::SendFile => "send_file",
            Kind::Splice => "splice",
            Kind::Close => "close",
            Kind::CloseGracefully => "close_gracefully",
            Kind::Open => "open",
            Kind::ReadAt => "read_at",
            Kind::ReadAtVectored => "read_at_vectored",
            Kind::WriteAt => "write_at",
            Kind::WriteAtVectored => "write_at_vectored",
            Kind::Fsync => "fsync",
            Kind::Fdatasync => "fdatasync",
            Kind::Stat => "stat",
            Kind::Truncate => "truncate",
            Kind::Allocate => "allocate",
            Kind::Rename => "rename",
            Kind::Unlink => "unlink",
            Kind::Mkdir => "mkdir",
            Kind::Rmdir => "rmdir",
            Kind::Link => "link",
            Kind::Symlink => "symlink",
            Kind::ReadLink => "read_link",
            Kind::ReadDir => "read_dir",
            Kind::Lock => "lock",
            Kind::Unlock => "unlock",
            Kind::Read => "read",
            Kind::Write => "write",
            Kind::Seek => "seek",
            Kind::ReadFile => "read_file",
            Kind::WriteFile => "write_file",
            Kind::CopyFile => "copy_file",
            Kind::Poll => "poll",
            Kind::PollMany => "poll_many",
            Kind::Timer => "timer",
            Kind::Interval => "interval",
            Kind::NextTick => "next_tick",
            Kind::Blocking => "run_blocking",
            Kind::Resolve => "resolve",
            Kind::LocalAddress => "local_address",
            Kind::PeerAddress => "peer_address",
            Kind::SetOptions => "set_tcp_options",
            Kind::GetOptions => "tcp_options",
            Kind::BindUdp => "bind_udp",
            Kind::ConnectUdp => "connect_udp",
            Kind::DisconnectUdp => "disconnect_udp",
            Kind::SetUdpOptions => "set_udp_options",
            Kind::GetUdpOptions => "udp_options",
            Kind::JoinMulticast => "join_multicast",
            Kind::LeaveMulticast => "leave_multicast",
            Kind::Adopt => "adopt",
            Kind::Release => "release",
            Kind::Detach => "detach",
            Kind::Attach => "attach",
            Kind::Raw => "raw",
            Kind::Duplicate => "duplicate",
            Kind::ListenUnix => "listen_unix",
            Kind::UnixPair => "unix_pair",
            Kind::BindUnixDatagram => "bind_unix_datagram",
            Kind::ConnectUnixDatagram => "connect_unix_datagram",
            Kind::DisconnectUnixDatagram => "disconnect_unix_datagram",
            Kind::UnixDatagramPair => "unix_datagram_pair",
            Kind::ListenUnixSeqpacket => "listen_unix_seqpacket",
            Kind::UnixSeqpacketPair => "unix_seqpacket_pair",
            Kind::PeerCredentials => "peer_credentials",
            Kind::Pipe => "pipe",
            Kind::OpenFifo => "open_fifo",
            Kind::AcceptPipe => "accept_pipe",
            Kind::Standard => "standard stream",
            Kind::Remote => "remote",
        })
    }
}
