//! What doesn't know readiness.

use std::os::fd::BorrowedFd;

use rustix::event::epoll;
use rustix::io::Errno;

/// Whether the system can wait for readiness of a descriptor. It answers EPERM to who adds to an epoll what is always
/// ready (epoll_ctl(2)), whatever its type: some regular files of procfs and sysfs know readiness.
pub(super) fn can_wait(descriptor: BorrowedFd<'_>) -> Result<bool, Errno> {
    let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let data = epoll::EventData::new_u64(0);
    match epoll::add(&set, descriptor, data, epoll::EventFlags::IN) {
        Err(Errno::PERM) => Ok(false),
        added => added.map(|()| true),
    }
}
