//! How a file gets to the disk, on the systems with fdatasync(2) that don't need more: all but macOS and DragonFly.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

/// fsync(2) brings it to the disk, or as far as the disk says.
pub(crate) fn sync(file: BorrowedFd<'_>, data_only: bool) -> Result<(), Errno> {
    if data_only { rustix::fs::fdatasync(file) } else { rustix::fs::fsync(file) }
}
