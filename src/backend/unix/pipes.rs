//! Pipes, terminals, and what a process's standard streams may be.

use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};

use rustix::fs::{FileType, fstat};

use super::{lingers, os_error, system};
use crate::backend::{RawDescriptor, Standard};
use crate::engine::handles::Means;
use crate::op::Kind;
use crate::{Error, ErrorKind};

pub(crate) fn pipe() -> Result<[RawDescriptor; 2], Error> {
    let (read, write) = system::pipe().map_err(os_error(Kind::Pipe))?;
    Ok([read.into_raw_fd(), write.into_raw_fd()])
}

pub(crate) fn standard(which: Standard) -> Result<OwnedFd, Error> {
    let duplicate = match which {
        Standard::Input => rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 0),
        Standard::Output => rustix::io::fcntl_dupfd_cloexec(std::io::stdout(), 0),
        Standard::Error => rustix::io::fcntl_dupfd_cloexec(std::io::stderr(), 0),
    };
    duplicate.map_err(os_error(Kind::Standard))
}

/// Checks an adopted descriptor; says whether its close may wait for unsent data.
pub(super) fn check(descriptor: &OwnedFd) -> Result<bool, Error> {
    let status = fstat(descriptor).map_err(os_error(Kind::Adopt))?;
    let right = match FileType::from_raw_mode(status.st_mode) {
        FileType::Directory | FileType::Symlink => false,
        FileType::Socket => !system::listens(descriptor.as_fd()).map_err(os_error(Kind::Adopt))?,
        _ => true,
    };
    if right {
        Ok(lingers(descriptor.as_fd()))
    } else {
        Err(Error::new(ErrorKind::InvalidInput, Kind::Adopt))
    }
}

/// How bytes go through it.
pub(crate) fn means(descriptor: BorrowedFd<'_>) -> Means {
    match fstat(descriptor).map(|status| FileType::from_raw_mode(status.st_mode)) {
        Ok(FileType::Socket) => Means::Socket,
        // Terminals block whoever asks, whatever io_uring tells them.
        Ok(FileType::CharacterDevice) => Means::Blocking,
        _ => Means::File,
    }
}
