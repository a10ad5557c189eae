//! What a loop says of itself.

use std::fmt;

use crate::backend::{Census, Description};
use crate::op::Kind;

/// How a backend does an operation.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Support {
    /// By the system's own asynchronous operation.
    Native,
    /// By a system call that never waits.
    Direct,
    /// By a system call that is tried, and tried again when the system says that it need not wait any more.
    Readiness,
    /// By the engine, without the system.
    Engine,
    /// By other operations, one after the other.
    Composed,
    /// By a [`Simulation`](crate::Simulation).
    Simulated,
    /// On a thread of the [thread pool](crate::op::Blocking#the-pool).
    Pool,
    /// Not at all: it ends with [`Unsupported`](crate::ErrorKind::Unsupported).
    Unsupported,
}

/// Which backend a loop runs on and why, how it does each operation, and what the thread pool was
/// doing when it was asked. Its `Display` is a table for people.
///
/// ```
/// let io = nbio::EventLoop::<()>::new()?;
/// let report = io.report();
/// println!("{report}");
/// assert!(report.backend().starts_with("io_uring"));
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Report {
    backend: &'static str,
    reason: String,
    features: Vec<&'static str>,
    operations: Vec<(Kind, Support)>,
    pool: Census,
    substituted: u64,
}

/// The operations there are.
const OPERATIONS: &[Kind] = &[
    Kind::Accept,
    Kind::AcceptMany,
    Kind::Connect,
    Kind::ConnectUnix,
    Kind::Recv,
    Kind::RecvVectored,
    Kind::RecvMany,
    Kind::Send,
    Kind::SendVectored,
    Kind::RecvFrom,
    Kind::RecvMsg,
    Kind::SendTo,
    Kind::SendDatagram,
    Kind::SendMsg,
    Kind::RecvRecord,
    Kind::RecvRecordVectored,
    Kind::SendRecord,
    Kind::SendRecordVectored,
    Kind::RecvFds,
    Kind::SendFds,
    Kind::Shutdown,
    Kind::SendFile,
    Kind::Splice,
    Kind::Close,
    Kind::Open,
    Kind::ReadAt,
    Kind::ReadAtVectored,
    Kind::WriteAt,
    Kind::WriteAtVectored,
    Kind::Fsync,
    Kind::Fdatasync,
    Kind::Stat,
    Kind::Truncate,
    Kind::Allocate,
    Kind::Rename,
    Kind::Unlink,
    Kind::Mkdir,
    Kind::Rmdir,
    Kind::Link,
    Kind::Symlink,
    Kind::ReadLink,
    Kind::ReadDir,
    Kind::Lock,
    Kind::Unlock,
    Kind::Read,
    Kind::Write,
    Kind::Seek,
    Kind::ReadFile,
    Kind::WriteFile,
    Kind::CopyFile,
    Kind::OpenFifo,
    Kind::AcceptPipe,
    Kind::Poll,
    Kind::PollMany,
    Kind::Timer,
    Kind::Interval,
    Kind::NextTick,
    Kind::Blocking,
    Kind::Resolve,
];

impl Report {
    pub(crate) fn new(
        description: Description,
        reason: &str,
        pool: Census,
        support: impl Fn(Kind) -> Support,
    ) -> Report {
        Report {
            backend: description.name,
            reason: reason.to_owned(),
            features: description.features,
            substituted: description.substituted,
            operations: OPERATIONS.iter().map(|&kind| (kind, support(kind))).collect(),
            pool,
        }
    }

    /// The backend's name, as `NBIO_BACKEND` takes it; `sim` in a [`Simulation`](crate::Simulation).
    pub fn backend(&self) -> &'static str {
        self.backend
    }

    /// Why it runs on this backend.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The optional features of the system that were found and are used.
    pub fn features(&self) -> &[&'static str] {
        &self.features
    }

    /// How many system calls and jobs io_uring has left to epoll and the thread pool so far, because this kernel lacks
    /// their operation or [`Builder::without`](crate::Builder::without) forbids it.
    pub fn substituted(&self) -> u64 {
        self.substituted
    }

    /// How each operation is done.
    pub fn operations(&self) -> &[(Kind, Support)] {
        &self.operations
    }

    /// How many threads the process's [thread pool](crate::op::Blocking#the-pool) had, those without work among them.
    pub fn pool_threads(&self) -> usize {
        self.pool.threads
    }

    /// How many closures were running on them, of all loops.
    pub fn pool_running(&self) -> usize {
        self.pool.running
    }

    /// How many of the running ones had been at it for so long that they no longer count.
    pub fn pool_stuck(&self) -> usize {
        self.pool.stuck
    }

    /// How many closures waited for their turn, of all loops.
    pub fn pool_queued(&self) -> usize {
        self.pool.queued
    }
}

impl fmt::Display for Support {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Support::Native => "native",
            Support::Direct => "a system call that never waits",
            Support::Readiness => "readiness",
            Support::Engine => "the engine",
            Support::Composed => "other operations",
            Support::Simulated => "the simulation",
            Support::Pool => "the thread pool",
            Support::Unsupported => "not supported",
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({})", self.backend, self.reason)?;
        writeln!(f, "features: {}", self.features.join(", "))?;
        for (kind, support) in &self.operations {
            writeln!(f, "{kind:<16} {support}")?;
        }
        let Census { threads, running, stuck, queued } = self.pool;
        writeln!(f, "thread pool: {threads} threads, {running} running ({stuck} for long), {queued} queued")?;
        Ok(())
    }
}
