//! Waiting for readiness, of whatever else a program has open.

use std::fmt;
use std::ops::BitOr;

use super::{Kind, ManyOperation, Operation, Options};
use crate::Error;
use crate::backend::{self, AsDescriptor, OwnedDescriptor};
use crate::engine::Core;
use crate::engine::op::{Describe, End, Op, Request, Target};
use crate::handle::{Handle, Id};

/// What a [`Poll`] or [`PollMany`] waits for; join several with `|`. Hang-up, error and the end of what a stream's peer
/// sends are always waited for.
///
/// ```
/// use nbio::op::Interest;
/// let both = Interest::READABLE | Interest::WRITABLE;
/// assert!(both.contains(Interest::READABLE) && !both.contains(Interest::PRIORITY));
/// ```
#[derive(Copy, Clone, PartialEq, Eq, Hash)]
pub struct Interest(u8);

impl Interest {
    /// Only what is always waited for.
    pub const NOTHING: Interest = Interest(0);
    /// Reading (or accepting) would not wait: `POLLIN`.
    pub const READABLE: Interest = Interest(1);
    /// Writing would not wait: `POLLOUT`.
    pub const WRITABLE: Interest = Interest(2);
    /// Something exceptional, such as TCP's urgent data or a changed file of sysfs: `POLLPRI`. On FreeBSD and NetBSD such
    /// a poll ends with [`Unsupported`](crate::ErrorKind::Unsupported): nothing there tells of it.
    pub const PRIORITY: Interest = Interest(4);

    /// Whether all of `other` is in it.
    pub fn contains(self, other: Interest) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Interest {
    type Output = Interest;

    fn bitor(self, other: Interest) -> Interest {
        Interest(self.0 | other.0)
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Interest::READABLE, "READABLE"),
            (Interest::WRITABLE, "WRITABLE"),
            (Interest::PRIORITY, "PRIORITY"),
        ];
        let mut set = f.debug_set();
        names.iter().filter(|(bit, _)| self.contains(*bit)).for_each(|(_, name)| {
            set.entry(&format_args!("{name}"));
        });
        set.finish()
    }
}

/// What something is ready for, as poll(2) tells it: of what was asked for, and the last three unasked.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Readiness {
    /// Reading (or accepting) would not wait; the end of a stream counts.
    pub readable: bool,
    /// Writing would not wait.
    pub writable: bool,
    /// Something exceptional.
    pub priority: bool,
    /// The peer of a stream socket will send no more (`POLLRDHUP`).
    pub read_closed: bool,
    /// The other side is gone: both halves of a socket are over, or nobody has the other end of the pipe. Bytes may still
    /// be there to be read.
    pub hang_up: bool,
    /// An error waits to be asked for; or this is the writing end of a pipe that nobody reads.
    pub error: bool,
}

/// What is polled.
#[derive(Debug)]
enum Polled {
    /// A handle of the loop.
    Handle(Id),
    /// A second descriptor of something else.
    Duplicate(Result<OwnedDescriptor, i32>),
}

impl Polled {
    fn duplicate(descriptor: impl AsDescriptor) -> Polled {
        Polled::Duplicate(backend::duplicate_of(descriptor))
    }

    /// Splits it into what moves into the slot and what is asked for.
    fn describe(
        self,
        kind: Kind,
        interest: Interest,
        options: Options,
    ) -> (Option<Result<OwnedDescriptor, i32>>, Request) {
        let op = Op::Poll { interest, ready: 0, many: kind == Kind::PollMany };
        match self {
            Polled::Handle(id) => (None, Request::new(kind, Target::Handle(id), op, options)),
            Polled::Duplicate(duplicate) => {
                (Some(duplicate), Request::new(kind, Target::Nothing, op, options))
            }
        }
    }
}

/// Gives the duplicate to the loop.
fn lend(duplicate: &mut Option<Result<OwnedDescriptor, i32>>, request: &mut Request, core: &Core) {
    let target = match duplicate.take() {
        None => return,
        Some(Ok(descriptor)) => core.take_private(descriptor, request.kind),
        Some(Err(os)) => Err(Error::from_os(os, request.kind)),
    };
    request.target = Target::Private(target);
}

/// Waits until something is ready, and says for what.
///
/// For what nbio has no operations for: a library's own socket, an inotify or a timer descriptor, a device. Nothing is
/// read or written. If it is ready already it ends in the next tick; as with poll(2), it may no longer be ready when the
/// callback runs, if somebody else uses it too.
///
/// [`new`](Poll::new) polls a second descriptor (dup(2)) of what it is given, made there and closed when the operation is
/// over, so the original may be closed meanwhile; what is open stays so until then. [`on`](Poll::on) polls a handle
/// of the loop. What is always ready, such as regular files and directories, is readable and writable at once.
///
/// It lends the system no memory: cancelled or late, it calls back at once. There is no order among polls, nor between
/// them and other operations.
///
/// # Errors
/// [`TooManyDescriptors`](crate::ErrorKind::TooManyDescriptors), [`Cancelled`](crate::ErrorKind::Cancelled),
/// [`TimedOut`](crate::ErrorKind::TimedOut), [`StaleHandle`](crate::ErrorKind::StaleHandle) and [`WrongLoop`](crate::ErrorKind::WrongLoop)
/// (with `on`), [`Unsupported`](crate::ErrorKind::Unsupported) (in a simulation); see poll(2).
///
/// ```
/// use nbio::{EventLoop, op};
/// let io = EventLoop::new()?;
/// let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
/// socket.send_to(b"hello", socket.local_addr().unwrap()).unwrap();
/// let poll = op::Poll::new(&socket, op::Interest::READABLE);
/// io.submit(poll, move |_, _, ready| {
///     assert!(ready.unwrap().readable);
///     assert_eq!(socket.recv(&mut [0; 10]).unwrap(), 5);
/// });
/// io.run()?;
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct Poll {
    polled: Polled,
    interest: Interest,
    options: Options,
}

impl Poll {
    /// Polls whatever has a descriptor, by a duplicate of that.
    pub fn new(descriptor: impl AsDescriptor, interest: Interest) -> Poll {
        Poll { polled: Polled::duplicate(descriptor), interest, options: Options::default() }
    }

    /// Polls a handle of the loop.
    pub fn on(handle: impl Handle, interest: Interest) -> Poll {
        Poll { polled: Polled::Handle(handle.id()), interest, options: Options::default() }
    }
}

impl Describe for Poll {
    type Parts = Option<Result<OwnedDescriptor, i32>>;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (Self::Parts, Request) {
        self.polled.describe(Kind::Poll, self.interest, self.options)
    }

    fn lend(parts: &mut Self::Parts, request: &mut Request, core: &Core) {
        lend(parts, request, core);
    }
}

impl Operation for Poll {
    type Output = Result<Readiness, Error>;

    fn finish(_: Self::Parts, end: &mut End) -> Result<Readiness, Error> {
        end.result().map(|()| backend::readiness(end.ready))
    }
}

/// Brings an item whenever something has become ready, until it is cancelled or removed.
///
/// As [`Poll`], over and over; but it tells of changes (edge-triggered, as epoll(7) calls it), not of states:
///
/// - The first item comes at once if something that was asked for is so already.
/// - After that, one comes when something happens: more bytes arrive, room appears, the other side is gone. Several events
///   may come as one item, and there may be an item more than there were changes.
/// - Nothing comes just because nobody has read or written since. So it can't spin: without events the loop sleeps.
///   Who stops reading before there is nothing left (`WouldBlock`) may wait for bytes that are there already.
///
/// What knows no readiness because it is always ready (regular files, directories, `/dev/null`) brings one item and ends
/// `Ok`, since that never changes.
///
/// # Errors
/// Ends as [`Poll`] does; with [`Unsupported`](crate::ErrorKind::Unsupported) also where the system has nothing
/// edge-triggered to offer: Linux 5.11 and 5.12.
///
/// ```
/// use nbio::{Event, EventLoop, op};
/// let io = EventLoop::new()?;
/// let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
/// socket.set_nonblocking(true).unwrap();
/// let address = socket.local_addr().unwrap();
/// let (mut got, sender) = (0, socket.try_clone().unwrap());
/// io.submit_many(op::PollMany::new(&socket, op::Interest::READABLE), move |_, io, event| {
///     let Event::Item(ready) = event else { return };
///     assert!(ready.readable);
///     while socket.recv(&mut [0; 10]).is_ok() {
///         got += 1;
///     }
///     if got == 2 {
///         return io.stop();
///     }
///     sender.send_to(b"two", address).unwrap();
/// });
/// # let first = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
/// first.send_to(b"one", address).unwrap();
/// io.run()?;
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct PollMany {
    polled: Polled,
    interest: Interest,
    options: Options,
}

impl PollMany {
    /// Polls whatever has a descriptor, by a duplicate of that.
    pub fn new(descriptor: impl AsDescriptor, interest: Interest) -> PollMany {
        PollMany { polled: Polled::duplicate(descriptor), interest, options: Options::default() }
    }

    /// Polls a handle of the loop.
    pub fn on(handle: impl Handle, interest: Interest) -> PollMany {
        PollMany { polled: Polled::Handle(handle.id()), interest, options: Options::default() }
    }
}

impl Describe for PollMany {
    type Parts = Option<Result<OwnedDescriptor, i32>>;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (Self::Parts, Request) {
        self.polled.describe(Kind::PollMany, self.interest, self.options)
    }

    fn lend(parts: &mut Self::Parts, request: &mut Request, core: &Core) {
        lend(parts, request, core);
    }
}

impl ManyOperation for PollMany {
    type Item = Readiness;

    fn item(end: &mut End) -> Readiness {
        backend::readiness(end.ready)
    }

    fn join(last: &mut Readiness, later: Readiness) -> Option<Readiness> {
        *last = Readiness {
            readable: last.readable || later.readable,
            writable: last.writable || later.writable,
            priority: last.priority || later.priority,
            read_closed: last.read_closed || later.read_closed,
            hang_up: last.hang_up || later.hang_up,
            error: last.error || later.error,
        };
        None
    }
}
