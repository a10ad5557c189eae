//! Opening a ring: the best set-up that this kernel takes, found by trying.

use std::io;

use io_uring::{IoUring, Probe, opcode};
use rustix::io::Errno;

use crate::backend::system;
use crate::op::Kind;
use crate::{Error, ErrorKind};

/// How much of io_uring to use.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// Everything the kernel has.
    Best,
    /// Only what the oldest supported kernel has.
    Plain,
}

impl Level {
    pub(super) fn name(self) -> &'static str {
        match self {
            Level::Best => "io_uring",
            Level::Plain => "io_uring-plain",
        }
    }
}

/// What was found and is used.
#[derive(Debug)]
pub(super) struct Features {
    pub(super) level: Level,
    mode: Mode,
    /// `IORING_SETUP_TASKRUN_FLAG`: the ring tells when completions wait to be run.
    pub(super) tells_of_pending: bool,
    /// `IORING_FEAT_CQE_SKIP` (5.17): a cancel's own completion can be left out.
    pub(super) skips_completions: bool,
    /// `IORING_POLL_ADD_MULTI` (5.13).
    pub(super) repeats_polls: bool,
    /// `IORING_RECV_MULTISHOT` (6.0), with buffers from rings (5.19).
    pub(super) picks_buffers: bool,
    /// `IORING_ACCEPT_MULTISHOT` (5.19).
    pub(super) repeats_accepts: bool,
    /// `RWF_NOSIGNAL` (6.18) may be used, if the kernel has it.
    pub(super) without_signal: bool,
    /// The operations that the kernel has, a bit for each opcode.
    operations: u64,
}

/// The set-ups to try, best first.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Mode {
    /// One thread submits, and completions are run only when it asks (6.1).
    Deferred,
    /// Completions don't interrupt the thread (5.19).
    Cooperative,
    Plain,
}

/// The operations that are used, by the names that `Builder::without` takes.
const OPERATIONS: [(&str, u8); 23] = [
    ("poll_add", opcode::PollAdd::CODE),
    ("async_cancel", opcode::AsyncCancel::CODE),
    ("accept", opcode::Accept::CODE),
    ("connect", opcode::Connect::CODE),
    ("recv", opcode::Recv::CODE),
    ("send", opcode::Send::CODE),
    ("recvmsg", opcode::RecvMsg::CODE),
    ("sendmsg", opcode::SendMsg::CODE),
    ("close", opcode::Close::CODE),
    ("openat", opcode::OpenAt::CODE),
    ("statx", opcode::Statx::CODE),
    ("read", opcode::Read::CODE),
    ("write", opcode::Write::CODE),
    ("readv", opcode::Readv::CODE),
    ("writev", opcode::Writev::CODE),
    ("fsync", opcode::Fsync::CODE),
    ("fallocate", opcode::Fallocate::CODE),
    ("renameat", opcode::RenameAt::CODE),
    ("unlinkat", opcode::UnlinkAt::CODE),
    ("mkdirat", opcode::MkDirAt::CODE),
    ("linkat", opcode::LinkAt::CODE),
    ("symlinkat", opcode::SymlinkAt::CODE),
    ("ftruncate", opcode::Ftruncate::CODE),
];

/// The operations without which nothing works: whatever else is missing is waited for by a poll.
const NEEDED: [u8; 2] = [opcode::PollAdd::CODE, opcode::AsyncCancel::CODE];

/// Features by the names that the report and `Builder::without` have for them.
const DEFERRED: &str = "deferred task run";
const COOPERATIVE: &str = "cooperative task run";
const SKIPPED: &str = "skipped completions";
const REPEATING: &str = "repeating polls";
const ACCEPTING: &str = "repeating accepts";
const PICKING: &str = "picked buffers";
const SILENT: &str = "writes without signal";
const FEATURES: [&str; 7] = [DEFERRED, COOPERATIVE, SKIPPED, REPEATING, ACCEPTING, PICKING, SILENT];

/// What came after the oldest supported kernel (5.11).
const NEWER: [&str; 11] = [
    DEFERRED,
    COOPERATIVE,
    SKIPPED,
    REPEATING,
    ACCEPTING,
    PICKING,
    SILENT,
    "mkdirat",
    "linkat",
    "symlinkat",
    "ftruncate",
];

/// The smallest ring that is tried when memory is short.
const SMALLEST: u32 = 8;

/// What may not be used, by name.
struct Without<'a> {
    level: Level,
    names: &'a [&'static str],
}

impl Without<'_> {
    fn has(&self, name: &str) -> bool {
        self.names.contains(&name) || (self.level == Level::Plain && NEWER.contains(&name))
    }
}

/// Opens a ring; `without` are names of operations and features that it does without.
pub(super) fn open(
    entries: u32,
    level: Level,
    without: &[&'static str],
) -> Result<(IoUring, Features), Error> {
    let known = |name| FEATURES.contains(name) || OPERATIONS.iter().any(|entry| entry.0 == *name);
    if !without.iter().all(known) {
        return Err(Error::new(ErrorKind::InvalidInput, Kind::Build));
    }
    let without = Without { level, names: without };
    let mut modes = vec![Mode::Deferred, Mode::Cooperative, Mode::Plain];
    modes.retain(|mode| !mode.name().is_some_and(|name| without.has(name)));
    let (ring, mode) = open_best(entries, &modes).map_err(refused)?;
    let found = ring.params();
    let complete = found.is_feature_nodrop()
        && found.is_feature_submit_stable()
        && found.is_feature_fast_poll()
        && found.is_feature_ext_arg();
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(refused)?;
    let has = |&(name, code): &(&str, u8)| probe.is_supported(code) && !without.has(name);
    let found_operations =
        OPERATIONS.iter().filter(|entry| has(entry)).fold(0, |bits, &(_, code)| bits | 1 << code);
    let features = Features {
        level,
        mode,
        tells_of_pending: mode != Mode::Plain,
        skips_completions: found.is_feature_skip_cqe_on_success() && !without.has(SKIPPED),
        // It came with the same kernel.
        repeats_polls: found.is_feature_resource_tagging() && !without.has(REPEATING),
        // No probe tells of it; the opcode of socket(2) came with the same kernel.
        repeats_accepts: probe.is_supported(opcode::Socket::CODE) && !without.has(ACCEPTING),
        // As there, with the opcode of sends without copies.
        picks_buffers: probe.is_supported(opcode::SendZc::CODE)
            && !without.has(PICKING)
            && !without.has("recv"),
        without_signal: !without.has(SILENT),
        operations: found_operations,
    };
    if complete && NEEDED.iter().all(|&code| features.has(code)) {
        Ok((ring, features))
    } else {
        Err(Error::new(ErrorKind::BackendUnavailable, Kind::Build))
    }
}

/// Tries the set-ups in order, each with smaller rings if memory is short.
fn open_best(entries: u32, modes: &[Mode]) -> io::Result<(IoUring, Mode)> {
    let mut last = io::Error::from_raw_os_error(Errno::INVAL.raw_os_error());
    for &mode in modes {
        let mut size = entries.next_power_of_two();
        loop {
            match build(size, mode) {
                Ok(ring) => return Ok((ring, mode)),
                Err(error) if is(&error, Errno::NOMEM) && size / 2 >= SMALLEST => size /= 2,
                // An unknown flag: the next set-up has fewer. Anything else none of them will change.
                Err(error) if is(&error, Errno::INVAL) => {
                    last = error;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Err(last)
}

fn build(entries: u32, mode: Mode) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_clamp().dontfork();
    match mode {
        Mode::Deferred => {
            builder.setup_single_issuer().setup_defer_taskrun();
            builder.setup_taskrun_flag().setup_submit_all();
        }
        Mode::Cooperative => {
            builder.setup_coop_taskrun().setup_taskrun_flag().setup_submit_all();
        }
        Mode::Plain => {}
    }
    builder.build(entries)
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

/// EPERM (seccomp, `io_uring_disabled`), EACCES and ENOSYS mean that there is no io_uring for us here.
fn refused(error: io::Error) -> Error {
    let os = error.raw_os_error().unwrap_or(0);
    match Errno::from_io_error(&error) {
        Some(Errno::PERM | Errno::ACCESS | Errno::NOSYS | Errno::INVAL) => Error::unavailable(os),
        _ => Error::from_os(os, Kind::Build),
    }
}

impl Mode {
    fn name(self) -> Option<&'static str> {
        match self {
            Mode::Deferred => Some(DEFERRED),
            Mode::Cooperative => Some(COOPERATIVE),
            Mode::Plain => None,
        }
    }
}

impl Features {
    /// Whether the ring has this operation.
    pub(super) fn has(&self, code: u8) -> bool {
        self.operations & 1 << code != 0
    }

    /// Whether it has the operation that this kind's shots are.
    pub(super) fn does(&self, kind: Kind) -> bool {
        self.has(match kind {
            Kind::Accept | Kind::AcceptMany => opcode::Accept::CODE,
            Kind::Connect | Kind::ConnectUnix => opcode::Connect::CODE,
            Kind::Recv => opcode::Recv::CODE,
            Kind::Send => opcode::Send::CODE,
            Kind::RecvVectored | Kind::RecvFrom | Kind::RecvMsg | Kind::RecvFds => opcode::RecvMsg::CODE,
            Kind::SendVectored | Kind::SendTo | Kind::SendDatagram | Kind::SendMsg | Kind::SendFds => {
                opcode::SendMsg::CODE
            }
            Kind::Close => opcode::Close::CODE,
            Kind::Open | Kind::OpenFifo => opcode::OpenAt::CODE,
            Kind::Stat | Kind::Seek => opcode::Statx::CODE,
            Kind::ReadAt | Kind::Read => opcode::Read::CODE,
            Kind::WriteAt | Kind::Write => opcode::Write::CODE,
            Kind::ReadAtVectored => opcode::Readv::CODE,
            Kind::WriteAtVectored => opcode::Writev::CODE,
            Kind::Fsync | Kind::Fdatasync => opcode::Fsync::CODE,
            Kind::Truncate => opcode::Ftruncate::CODE,
            Kind::Allocate => opcode::Fallocate::CODE,
            Kind::Rename => opcode::RenameAt::CODE,
            Kind::Unlink | Kind::Rmdir => opcode::UnlinkAt::CODE,
            Kind::Mkdir => opcode::MkDirAt::CODE,
            Kind::Link => opcode::LinkAt::CODE,
            Kind::Symlink => opcode::SymlinkAt::CODE,
            Kind::PollMany => return self.repeats_polls,
            Kind::RecvMany => return self.picks_buffers,
            _ => opcode::PollAdd::CODE,
        })
    }

    /// Whether it has every operation that is used.
    pub(super) fn complete(&self) -> bool {
        self.repeats_polls && self.picks_buffers && OPERATIONS.iter().all(|&(_, code)| self.has(code))
    }

    pub(super) fn names(&self) -> Vec<&'static str> {
        let found = [
            (SKIPPED, self.skips_completions),
            (REPEATING, self.repeats_polls),
            (ACCEPTING, self.repeats_accepts),
            (PICKING, self.picks_buffers),
            (SILENT, self.without_signal && system::knows_without_signal()),
        ];
        let found = found.into_iter().filter(|entry| entry.1).map(|entry| entry.0);
        self.mode.name().into_iter().chain(found).collect()
    }
}
