//! What the raw server and the load generator share: setting up an io_uring.

use std::io;
use std::time::Duration;

use io_uring::squeue::{Entry, SubmissionQueue};
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{Builder, IoUring, Submitter};

/// A ring with the fastest set-up this kernel has.
pub fn build(entries: u32) -> io::Result<IoUring> {
    // Deferred task work (Linux 6.1) delivers completions only while the
    // thread waits for them, instead of interrupting it; cooperative task work
    // (5.19) is the next best.
    let attempts: [fn(&mut Builder); 3] = [
        |b| {
            b.setup_single_issuer().setup_defer_taskrun().setup_submit_all();
        },
        |b| {
            b.setup_coop_taskrun().setup_submit_all();
        },
        |_| {},
    ];
    let mut result = Err(io::ErrorKind::Unsupported.into());
    for configure in attempts {
        let mut builder = IoUring::builder();
        configure(&mut builder);
        result = builder.build(entries);
        // Only an unknown flag is worth another attempt.
        match &result {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            _ => break,
        }
    }
    result
}

/// Submits what is queued and waits until at least one completion is there.
pub fn submit_and_wait(submitter: &Submitter, queue: &mut SubmissionQueue) -> io::Result<()> {
    queue.sync();
    let result = match submitter.submit_and_wait(1) {
        Err(error) if !is_transient(&error) => Err(error),
        _ => Ok(()),
    };
    queue.sync();
    result
}

/// The same, at most for `longest`.
pub fn submit_and_wait_for(
    submitter: &Submitter,
    queue: &mut SubmissionQueue,
    longest: Duration,
) -> io::Result<()> {
    queue.sync();
    let time = Timespec::from(longest);
    let result = match submitter.submit_with_args(1, &SubmitArgs::new().timespec(&time)) {
        Err(error) if error.raw_os_error() != Some(libc::ETIME) && !is_transient(&error) => Err(error),
        _ => Ok(()),
    };
    queue.sync();
    result
}

/// Queues an entry; a full queue is submitted first.
///
/// # Safety
///
/// What the entry points to stays valid, and buffers to be filled stay
/// unaliased, until its completion was seen.
pub unsafe fn push(submitter: &Submitter, queue: &mut SubmissionQueue, entry: &Entry) -> io::Result<()> {
    // SAFETY: the caller's promise is the one `push` asks for.
    while unsafe { queue.push(entry) }.is_err() {
        queue.sync();
        match submitter.submit() {
            Err(error) if !is_transient(&error) => return Err(error),
            _ => queue.sync(),
        }
    }
    Ok(())
}

/// Nothing is lost by these: the same call made again goes on.
fn is_transient(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN))
}
