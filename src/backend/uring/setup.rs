//! Opening a ring: the best set-up that this kernel takes, found by trying.

use std::io;

use io_uring::{IoUring, Probe, opcode};
use rustix::io::Errno;

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
    /// `IORING_FEAT_CQE_SKIP`: a cancel's own completion can be left out.
    pub(super) skips_completions: bool,
    /// `IORING_OP_FTRUNCATE` (6.9).
    pub(super) truncates: bool,
    /// `IORING_OP_MKDIRAT`, `LINKAT`, `SYMLINKAT` (5.15).
    pub(super) names: bool,
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

/// The opcodes without which nothing works; all are in 5.11.
const NEEDED: [u8; 19] = [
    opcode::Accept::CODE,
    opcode::Connect::CODE,
    opcode::Recv::CODE,
    opcode::Send::CODE,
    opcode::RecvMsg::CODE,
    opcode::SendMsg::CODE,
    opcode::Close::CODE,
    opcode::AsyncCancel::CODE,
    opcode::PollAdd::CODE,
    opcode::OpenAt::CODE,
    opcode::Statx::CODE,
    opcode::Read::CODE,
    opcode::Write::CODE,
    opcode::Readv::CODE,
    opcode::Writev::CODE,
    opcode::Fsync::CODE,
    opcode::Fallocate::CODE,
    opcode::RenameAt::CODE,
    opcode::UnlinkAt::CODE,
];

/// The smallest ring that is tried when memory is short.
const SMALLEST: u32 = 8;

pub(super) fn open(entries: u32, level: Level) -> Result<(IoUring, Features), Error> {
    let modes: &[Mode] = match level {
        Level::Best => &[Mode::Deferred, Mode::Cooperative, Mode::Plain],
        Level::Plain => &[Mode::Plain],
    };
    let (ring, mode) = open_best(entries, modes).map_err(refused)?;
    let found = ring.params();
    let complete = found.is_feature_nodrop()
        && found.is_feature_submit_stable()
        && found.is_feature_fast_poll()
        && found.is_feature_ext_arg();
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(refused)?;
    if !complete || !NEEDED.iter().all(|&code| probe.is_supported(code)) {
        return Err(Error::new(ErrorKind::BackendUnavailable, Kind::Build));
    }
    let features = Features {
        level,
        mode,
        tells_of_pending: mode != Mode::Plain,
        skips_completions: level == Level::Best && found.is_feature_skip_cqe_on_success(),
        names: level == Level::Best
            && [opcode::MkDirAt::CODE, opcode::LinkAt::CODE, opcode::SymlinkAt::CODE]
                .iter()
                .all(|&code| probe.is_supported(code)),
        truncates: level == Level::Best && probe.is_supported(opcode::Ftruncate::CODE),
    };
    Ok((ring, features))
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

impl Features {
    pub(super) fn names(&self) -> Vec<&'static str> {
        let mut names = match self.mode {
            Mode::Deferred => vec!["single issuer", "deferred task run"],
            Mode::Cooperative => vec!["cooperative task run"],
            Mode::Plain => vec![],
        };
        if self.skips_completions {
            names.push("skipped completions");
        }
        names
    }
}
