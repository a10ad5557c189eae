//! Advisory locks on whole files.

use std::time::Duration;

use super::pool::Pooled;
use crate::backend::FileAccess;
use crate::engine::Core;
use crate::engine::op::{Describe, End, Request};
use crate::op::blocking::{Ready, Stop};
use crate::op::{Kind, Operation, Options};
use crate::{Error, ErrorKind, File};

/// Locks a file, waiting until nobody else has it locked.
///
/// The lock is advisory: it keeps out those who ask for one, too, not those who read or write. It is flock(2)'s, as that of
/// std's `File::lock`, so the two exclude each other. It belongs to the open file: whatever was duplicated from its descriptor
/// shares it, and it ends with [`Unlock`] or when the last of those is closed. fcntl(2)'s locks, also those of open file
/// descriptions, are others; on NFS they are the same.
///
/// A file that this handle has locked already changes its lock to the new kind. That is not one step: others may get
/// theirs in between, and if it then fails or is cancelled, the old lock is gone.
///
/// It runs on the [thread pool](crate::op::Blocking#the-pool), which tries again and again, after at most 20 ms: who waits
/// longest isn't first in line.
///
/// # Cancelling, deadlines, remove
/// It ends within one try. If it got the lock all the same, it ends `Ok`; a removed one that gets it gives it back: then the
/// file is unlocked.
///
/// # Errors
/// [`WouldBlock`](crate::ErrorKind::WouldBlock) (only with [`no_wait`](Lock::no_wait)),
/// [`OutOfMemory`](crate::ErrorKind::OutOfMemory), [`Unsupported`](crate::ErrorKind::Unsupported) (by the file system),
/// [`Cancelled`](crate::ErrorKind::Cancelled), [`TimedOut`](crate::ErrorKind::TimedOut),
/// [`StaleHandle`](crate::ErrorKind::StaleHandle), [`WrongLoop`](crate::ErrorKind::WrongLoop), and as
/// [`Blocking`](crate::op::Blocking) if no thread can be had; see flock(2).
///
/// ```
/// use std::time::Duration;
/// use nbio::{EventLoop, File, Operation, op};
/// # let path = std::env::temp_dir().join(format!("nbio-lock-{}", std::process::id()));
/// let io = EventLoop::new()?;
/// let file: File = io.adopt(std::fs::File::create(&path).unwrap())?;
/// io.submit(op::Lock::new(file).timeout(Duration::from_secs(5)), move |_, io, locked| {
///     assert_eq!(locked, Ok(()));
///     io.submit(op::Unlock::new(file), |_, _, unlocked| assert_eq!(unlocked, Ok(())));
/// });
/// io.run()?;
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Lock {
    file: File,
    how: How,
    options: Options,
}

#[derive(Copy, Clone, Debug)]
pub struct How {
    shared: bool,
    wait: bool,
}

impl Lock {
    /// Locks `file` for this one alone.
    pub fn new(file: File) -> Lock {
        Lock { file, how: How { shared: false, wait: true }, options: Options::default() }
    }

    /// Others may have it locked so, too.
    pub fn shared(mut self) -> Lock {
        self.how.shared = true;
        self
    }

    /// Fails instead of waiting.
    pub fn no_wait(mut self) -> Lock {
        self.how.wait = false;
        self
    }
}

/// A lock that somebody got. Dropped, it is given back.
pub struct Held(Option<FileAccess>);

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(file) = &self.0 {
            // There is nobody to tell.
            let _ = file.unlock();
        }
    }
}

/// How long to wait for the next try, at first and at most.
const PAUSE: Duration = Duration::from_micros(500);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// In a simulation: whether it got the lock, or can't have it for another reason.
fn ready(how: &How, file: &FileAccess) -> Option<Ready> {
    let (shared, file) = (how.shared, file.simulated().filter(|_| how.wait)?);
    let must_wait = move || file.try_lock(shared).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
    Some(Box::new(move || !must_wait()))
}

fn lock(how: How, file: FileAccess, stop: &Stop) -> Result<Held, Error> {
    let mut pause = PAUSE;
    loop {
        // Before the first try, too: nobody wants it any more.
        if stop.wait(Duration::ZERO) {
            return Err(Error::new(ErrorKind::Cancelled, Kind::Lock));
        }
        match file.try_lock(how.shared) {
            Ok(()) => return Ok(Held(Some(file))),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock && how.wait => {}
            Err(error) => return Err(error),
        }
        stop.wait(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

impl Describe for Lock {
    type Parts = Pooled<How, Held>;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (Self::Parts, Request) {
        Pooled::describe(Kind::Lock, self.how, Some(self.file), self.options)
    }

    fn lend(pooled: &mut Self::Parts, request: &mut Request, core: &Core) {
        pooled.lend_patient(request, core, ready, lock);
    }
}

impl Operation for Lock {
    type Output = Result<(), Error>;

    fn finish(pooled: Self::Parts, end: &mut End) -> Self::Output {
        // The descriptor was a duplicate: the lock stays with the handle's.
        pooled.finish(end).map(|mut held| drop(held.0.take()))
    }
}

/// Unlocks a file that was [`Lock`]ed; one that wasn't stays so.
///
/// It runs on the [thread pool](crate::op::Blocking#the-pool). What is cancelled before it has begun leaves the lock.
///
/// # Errors
/// [`Cancelled`](crate::ErrorKind::Cancelled), [`TimedOut`](crate::ErrorKind::TimedOut),
/// [`StaleHandle`](crate::ErrorKind::StaleHandle), [`WrongLoop`](crate::ErrorKind::WrongLoop), and as
/// [`Blocking`](crate::op::Blocking) if no thread can be had; see flock(2).
///
/// ```
/// use nbio::{EventLoop, File, op};
/// let io = EventLoop::new()?;
/// let file: File = io.adopt(std::fs::File::open("/").unwrap())?;
/// io.submit(op::Unlock::new(file), |_, _, unlocked| assert_eq!(unlocked, Ok(())));
/// io.run()?;
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Unlock {
    file: File,
    options: Options,
}

impl Unlock {
    /// Unlocks `file`.
    pub fn new(file: File) -> Unlock {
        Unlock { file, options: Options::default() }
    }
}

impl Describe for Unlock {
    type Parts = Pooled<(), ()>;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (Self::Parts, Request) {
        Pooled::describe(Kind::Unlock, (), Some(self.file), self.options)
    }

    fn lend(pooled: &mut Self::Parts, request: &mut Request, core: &Core) {
        pooled.lend(request, core, |(), file, _| file.unlock());
    }
}

impl Operation for Unlock {
    type Output = Result<(), Error>;

    fn finish(pooled: Self::Parts, end: &mut End) -> Self::Output {
        pooled.finish(end)
    }
}
