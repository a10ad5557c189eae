//! The platforms: the trait every one implements, the closed set of them, and every platform `cfg` of the crate.

use std::collections::VecDeque;
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use crate::builder::{Backend as Choice, Builder};
use crate::engine::handles::Means;
use crate::engine::op::Op;
use crate::op::Kind;
use crate::report::{Report, Support};
use crate::{Error, ErrorKind, Instant};

#[cfg(not(any(unix, windows)))]
compile_error!("nbio runs on Unix and Windows (see PLATFORMS.md)");

mod access;
mod calls;
#[cfg(windows)]
mod iocp;
mod pool;
#[cfg(unix)]
mod readiness;
pub(crate) mod sim;
#[cfg(unix)]
mod unix;
// Shots as plain system calls.
#[cfg(unix)]
#[path = "unix/blocking.rs"]
mod blocking;
#[cfg(unix)]
#[path = "unix/syscall.rs"]
mod syscall;
#[cfg(target_os = "linux")]
mod uring;
#[cfg(windows)]
mod windows;

// Where the Unixes differ: one module `system` with the same names in each of its files, and what some of them share.
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
#[path = "unix/system/bsd.rs"]
mod bsd;
#[cfg(any(target_os = "dragonfly", target_os = "freebsd", target_os = "netbsd", target_os = "openbsd"))]
#[path = "unix/system/bsd_only.rs"]
mod bsd_only;
#[cfg(any(target_vendor = "apple", target_os = "dragonfly", target_os = "netbsd"))]
#[path = "unix/system/by_type.rs"]
mod by_type;
#[cfg(all(unix, not(target_vendor = "apple")))]
#[path = "unix/system/close_on_exec.rs"]
mod close_on_exec;
#[cfg(all(unix, not(any(target_os = "netbsd", target_os = "openbsd"))))]
#[path = "unix/system/groups.rs"]
mod groups;
#[cfg(any(target_os = "dragonfly", target_os = "freebsd", target_os = "openbsd"))]
#[path = "unix/system/halves.rs"]
mod halves;
#[cfg(all(unix, not(target_os = "openbsd")))]
#[path = "unix/system/keepalive.rs"]
mod keepalive;
#[cfg(any(target_os = "dragonfly", target_os = "netbsd", target_os = "openbsd"))]
#[path = "unix/system/lacking.rs"]
mod lacking;
#[cfg(all(unix, not(target_vendor = "apple")))]
#[path = "unix/system/linger.rs"]
mod linger;
#[cfg(any(target_vendor = "apple", target_os = "freebsd", target_os = "openbsd"))]
#[path = "unix/system/nanoseconds.rs"]
mod nanoseconds;
#[cfg(all(unix, not(any(target_os = "dragonfly", target_os = "netbsd", target_os = "openbsd"))))]
#[path = "unix/system/source_groups.rs"]
mod source_groups;
#[cfg(any(target_os = "freebsd", target_os = "netbsd", target_os = "openbsd"))]
#[path = "unix/system/sync.rs"]
mod sync;
#[cfg(any(target_os = "linux", target_os = "android"))]
#[path = "unix/system/linux.rs"]
mod system;
#[cfg(target_vendor = "apple")]
#[path = "unix/system/apple.rs"]
mod system;
#[cfg(target_os = "dragonfly")]
#[path = "unix/system/dragonfly.rs"]
mod system;
#[cfg(target_os = "freebsd")]
#[path = "unix/system/freebsd.rs"]
mod system;
#[cfg(target_os = "netbsd")]
#[path = "unix/system/netbsd.rs"]
mod system;
#[cfg(target_os = "openbsd")]
#[path = "unix/system/openbsd.rs"]
mod system;

// The two ways to be told of readiness.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[path = "readiness/epoll.rs"]
mod epoll;
#[cfg(any(
    all(target_os = "linux", feature = "unstable-simulated-kqueue"),
    all(unix, not(any(target_os = "linux", target_os = "android")))
))]
#[path = "readiness/kqueue.rs"]
mod kqueue;

// What kqueue.rs finds its system under: the real one, or on Linux a simulator of it.
#[cfg(all(target_os = "linux", feature = "unstable-simulated-kqueue"))]
#[path = "readiness/simulator/mod.rs"]
pub mod simulator;
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
#[path = "unix/system/kqueue.rs"]
mod sys;
#[cfg(all(target_os = "linux", feature = "unstable-simulated-kqueue"))]
use simulator as sys;

pub(crate) use access::{AnyCopyOrder, FileAccess};
pub(crate) use calls::Calls;
pub(crate) use pool::{Census, Completer, Work};
#[cfg(all(target_os = "linux", feature = "unstable-simulated-kqueue"))]
pub use simulator::{Profile, set_faults};

/// Real ones go wrong by themselves.
#[cfg(all(not(target_os = "linux"), feature = "unstable-simulated-kqueue"))]
pub fn set_faults(_: Option<u64>) {}

#[cfg(unix)]
pub(crate) use unix::copy::{Copied, CopyOrder, Copying};
#[cfg(unix)]
pub(crate) use unix::files::{self, CURRENT_DIRECTORY, StatBlock, SystemPath, system_path};
#[cfg(unix)]
pub(crate) use unix::local::SocketFile;
#[cfg(unix)]
pub(crate) use unix::parcel::{Delivery, MOST_DESCRIPTORS, Parcel};
#[cfg(unix)]
pub(crate) use unix::resolve::resolve;
#[cfg(unix)]
pub(crate) use unix::{
    Address, Arrival, HAS_NAMED_PIPES, Head, IoVec, Message, can_send, duplicate_of, error_kind,
    is_cancelled, is_out_of_buffers, readiness,
};

#[cfg(windows)]
pub(crate) use windows::{
    Address, Arrival, Copied, CopyOrder, Copying, Delivery, Head, IoVec, MOST_DESCRIPTORS, Message, Parcel,
    SocketFile, can_send, duplicate_of, error_kind,
    files::{self, CURRENT_DIRECTORY, StatBlock, SystemPath, system_path},
    is_cancelled, is_out_of_buffers,
    pipe::HAS_NAMED_PIPES,
    readiness,
    resolve::resolve,
};
#[cfg(windows)]
pub use windows::{AsDescriptor, OwnedDescriptor, RawDescriptor};

/// The system's number of an open thing: a descriptor on Unix.
#[cfg(unix)]
pub type RawDescriptor = std::os::fd::RawFd;

/// An open thing that is closed when this is dropped: a descriptor on Unix.
#[cfg(unix)]
pub type OwnedDescriptor = std::os::fd::OwnedFd;

/// What has an open thing of the system: a descriptor on Unix.
#[cfg(unix)]
pub use std::os::fd::AsFd as AsDescriptor;

/// Which slot a completion belongs to: its index and the low half of its generation.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// One shot of an operation, as the engine gives it to a backend.
pub(crate) struct Shot<'a> {
    pub(crate) token: Token,
    pub(crate) descriptor: RawDescriptor,
    pub(crate) op: &'a Op,
    /// How many bytes earlier shots have moved.
    pub(crate) moved: usize,
    /// Accept and connect: where the peer's address is or goes.
    pub(crate) address: Option<NonNull<Address>>,
    /// An earlier try would have had to wait, though the backend waits by itself (an adopted descriptor in
    /// non-blocking mode): wait for readiness only, and answer `Outcome::Retry`.
    pub(crate) readiness_only: bool,
    #[cfg_attr(not(unix), allow(dead_code, reason = "the backend knows it itself"))]
    pub(crate) means: Means,
    /// Close: may wait for unsent data.
    pub(crate) lingers: bool,
}

/// What a shot is on: the descriptor, by which means bytes go through it, and whether its close may wait.
pub(crate) type Place = (RawDescriptor, Means, bool);

/// How one shot ended, or what else joins the completion queue.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "some are io_uring's alone"))]
pub(crate) enum Outcome {
    /// The system's answer: a count or a descriptor.
    Value(u32),
    /// One of several answers; the shot goes on.
    More(u32),
    /// A buffer of a pool was received into; `more`: the shot goes on. Not a struct of its own, which would make this larger.
    Filled { buffer: u16, bytes: u32, more: bool },
    /// There was no buffer in the pool.
    Starved,
    /// The system's error number.
    Failed(i32),
    /// As `Failed`, by a system without numbers of its own (the simulation).
    Refused(ErrorKind),
    /// Ready now: submit the shot again.
    Retry,
    /// The engine itself ended the operation; how is in the slot.
    Settled,
    /// The turn of an operation of several steps has come.
    Turn,
    /// An operation of several steps has progress to tell.
    Item,
    /// A blocking operation's job has run.
    Ran,
    /// No thread could be started to run it: the system's error number.
    NotRun(i32),
    /// A cancel didn't find the shot: its completion is here already, or the system was just busy with it and the
    /// cancel is lost.
    NotFound,
    /// A cancel found the shot on another thread of the system's, which was told; but it may just have looked away.
    Told,
}

const _: () = assert!(size_of::<Outcome>() == 8);

#[derive(Copy, Clone, Debug)]
pub(crate) struct Completion {
    pub(crate) token: Token,
    pub(crate) outcome: Outcome,
}

/// A platform. It does single shots and waits; it repeats nothing, runs no callback, and owns no timer.
///
/// Memory that a shot names stays valid until its completion was put into `out`; the engine sees to that.
pub(crate) trait Backend {
    /// Takes a shot. Exactly one completion with its token will come.
    fn submit(&mut self, shot: Shot<'_>);

    /// Asks that the shot with this token end soon; its completion comes all the same. `readiness_only` as in the
    /// shot. If the shot isn't found, a `NotFound` says so.
    fn cancel(&mut self, token: Token, readiness_only: bool);

    /// Gives what was submitted to the system, waits until something completes or `limit` has passed (`None`: no
    /// limit), and appends what has completed.
    fn wait(&mut self, limit: Option<Duration>, out: &mut VecDeque<Completion>) -> Result<(), Error>;

    /// Lets a blocking operation's job run on another thread; then the completer is called, with `Ran` or `NotRun`, on
    /// whatever thread. The answer is for `withdraw`.
    fn offload(&mut self, job: Arc<dyn Work>, completer: Completer) -> u64 {
        pool::global().submit(job, completer)
    }

    /// Takes such a job back; `false` if it has begun. If not, its completer is never called.
    fn withdraw(&mut self, ticket: u64) -> bool {
        pool::global().withdraw(ticket)
    }

    /// How many jobs it has that no other thread will do: each has a share of what wakes the loop, and can't wake it.
    fn jobs(&self) -> usize {
        0
    }

    /// What ends `wait` from any thread: the one that is going on, or if none is, the next one. Later calls give
    /// the same. A wait that was ended so appends nothing for it.
    fn waker(&mut self) -> Result<Waker, Error>;

    /// Whether anybody has the waker who might still use it, as far as the next `wait` is concerned. Only a simulation
    /// cares: it tells a wait that can never end.
    fn expect_wakes(&mut self, _: bool) {}

    /// The loop's clock.
    fn now(&self) -> Instant;

    /// The number of a descriptor that the loop owns from now on.
    fn attach(&mut self, descriptor: OwnedDescriptor) -> RawDescriptor;

    /// As `attach`, for a descriptor of whatever kind, that only one operation uses; says whether its close may wait.
    fn attach_any(&mut self, _: OwnedDescriptor, kind: Kind) -> Result<(RawDescriptor, bool), Error> {
        Err(Error::new(ErrorKind::Unsupported, kind))
    }

    /// Whether a descriptor knows readiness, instead of being always ready.
    fn can_wait(&mut self, _: RawDescriptor) -> Result<bool, Error> {
        Ok(true)
    }

    /// Gives a descriptor that no shot names to a new owner.
    fn detach(&mut self, descriptor: RawDescriptor) -> Result<OwnedDescriptor, Error>;

    /// As `detach`, for another loop.
    fn hand_out(&mut self, descriptor: RawDescriptor) -> Result<Loose, Error> {
        self.detach(descriptor).map(Loose::System)
    }

    /// Takes over what another loop handed out, or gives it back with the reason.
    fn take_in(&mut self, loose: Loose) -> Result<RawDescriptor, (Error, Loose)> {
        match loose {
            Loose::System(descriptor) => Ok(self.attach(descriptor)),
            Loose::Simulated(_) => Err((Error::new(ErrorKind::Unsupported, Kind::Attach), loose)),
        }
    }

    /// What a job gets at a file by, or at paths, where there is no descriptor for it. Only a simulation has such.
    fn access(&mut self, _: Option<RawDescriptor>) -> Option<sim::Access> {
        None
    }

    /// A second descriptor of a file where the system has none.
    fn second_file(&mut self, _: RawDescriptor) -> Option<RawDescriptor> {
        None
    }

    /// Whether the system picks buffers from pools by itself.
    fn picks_buffers(&self) -> bool {
        false
    }

    /// Tells the system of a pool: where its ring is and how many entries that has. It stays until `unregister_pool`, or
    /// until the backend is gone.
    fn register_pool(&mut self, _number: u16, _ring: (u64, u16)) -> Result<(), Error> {
        Ok(())
    }

    /// No shot names this pool any more.
    fn unregister_pool(&mut self, _number: u16) {}

    /// Closes a descriptor that no shot names, without waiting for anything.
    fn close_now(&mut self, descriptor: RawDescriptor);

    /// Which backend it is and why, without the operations.
    fn describe(&self) -> Description;

    /// How it does an operation.
    fn support(&self, kind: Kind) -> Support;
}

/// One of the streams that every process has.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standard {
    Input,
    Output,
    Error,
}

/// Something open that is of no loop; it is closed when this is dropped.
#[derive(Debug)]
pub(crate) enum Loose {
    System(OwnedDescriptor),
    Simulated(sim::LooseSocket),
}

/// What a backend says of itself.
pub(crate) struct Description {
    pub(crate) name: &'static str,
    pub(crate) features: Vec<&'static str>,
    /// Shots that another did for it.
    pub(crate) substituted: u64,
}

/// Every backend there is. An enum, so that the set is visible here and the choice is made at run time.
#[allow(
    clippy::large_enum_variant,
    reason = "the large one is the one that matters, and there is one a loop"
)]
pub(crate) enum AnyBackend {
    #[cfg(target_os = "linux")]
    Uring(uring::Uring),
    #[cfg(any(target_os = "linux", target_os = "android"))]
    Epoll(readiness::Readiness<epoll::Epoll>),
    #[cfg(any(
        all(target_os = "linux", feature = "unstable-simulated-kqueue"),
        all(unix, not(any(target_os = "linux", target_os = "android")))
    ))]
    Kqueue(readiness::Readiness<kqueue::Kqueue>),
    #[cfg(windows)]
    Iocp(iocp::Iocp),
    Sim(sim::Sim),
}

/// What programs on a real backend shall not pay for.
#[cold]
#[inline(never)]
fn unlikely<T>(call: impl FnOnce() -> T) -> T {
    call()
}

impl AnyBackend {
    /// Makes the backend that the builder, or where it says `Auto` the environment, asks for.
    pub(crate) fn new(builder: &Builder) -> Result<(AnyBackend, String), Error> {
        if let Some(simulation) = &builder.simulation {
            let sim = sim::Sim::new(simulation.shared.clone());
            return Ok((AnyBackend::Sim(sim), "chosen by the builder".to_owned()));
        }
        let (choice, by) = match builder.backend {
            Choice::Auto => match Choice::from_environment()? {
                Some(choice) => (choice, "NBIO_BACKEND"),
                None => (Choice::Auto, "automatic choice"),
            },
            choice => (choice, "the builder"),
        };
        AnyBackend::of_the_system(choice, by, builder)
    }

    /// The one among those of this system that is asked for, and why it is.
    #[cfg(target_os = "linux")]
    fn of_the_system(choice: Choice, by: &str, builder: &Builder) -> Result<(AnyBackend, String), Error> {
        let uring =
            |level| uring::Uring::new(builder.ring_size, level, &builder.without).map(AnyBackend::Uring);
        let epoll = || readiness::Readiness::new().map(AnyBackend::Epoll);
        let backend = match choice {
            Choice::IoUring => uring(uring::Level::Best)?,
            Choice::IoUringPlain => uring(uring::Level::Plain)?,
            Choice::Epoll => epoll()?,
            Choice::Kqueue | Choice::Iocp => return Err(Error::unavailable(0)),
            #[cfg(all(target_os = "linux", feature = "unstable-simulated-kqueue"))]
            Choice::KqueueMacOs | Choice::KqueueFreeBsd => {
                simulator::set_profile(match choice {
                    Choice::KqueueMacOs => Profile::MacOs,
                    _ => Profile::FreeBsd,
                });
                AnyBackend::Kqueue(readiness::Readiness::new()?)
            }
            Choice::Auto => match uring(uring::Level::Best) {
                Ok(backend) => backend,
                // epoll would need descriptors, too.
                Err(error) if error.kind() == ErrorKind::TooManyDescriptors => return Err(error),
                Err(error) => return Ok((epoll()?, format!("chosen by {by}, instead of io_uring: {error}"))),
            },
        };
        Ok((backend, format!("chosen by {by}")))
    }

    /// Android kills who asks for io_uring: it isn't even tried.
    #[cfg(target_os = "android")]
    fn of_the_system(choice: Choice, by: &str, _: &Builder) -> Result<(AnyBackend, String), Error> {
        match choice {
            Choice::Auto | Choice::Epoll => {
                Ok((AnyBackend::Epoll(readiness::Readiness::new()?), format!("chosen by {by}")))
            }
            _ => Err(Error::unavailable(0)),
        }
    }

    /// There is only one elsewhere.
    #[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
    fn of_the_system(choice: Choice, by: &str, _: &Builder) -> Result<(AnyBackend, String), Error> {
        match choice {
            Choice::Auto | Choice::Kqueue => {
                Ok((AnyBackend::Kqueue(readiness::Readiness::new()?), format!("chosen by {by}")))
            }
            _ => Err(Error::unavailable(0)),
        }
    }

    #[cfg(windows)]
    fn of_the_system(choice: Choice, by: &str, _: &Builder) -> Result<(AnyBackend, String), Error> {
        match choice {
            Choice::Auto | Choice::Iocp => {
                Ok((AnyBackend::Iocp(iocp::Iocp::new()?), format!("chosen by {by}")))
            }
            _ => Err(Error::unavailable(0)),
        }
    }

    /// As `submit`, for a first shot that moves one buffer: what nearly every shot is, without a struct being made of it.
    #[inline(always)]
    pub(crate) fn submit_plain(&mut self, token: Token, op: &Op, (descriptor, means, lingers): Place) {
        #[cfg(target_os = "linux")]
        if let AnyBackend::Uring(uring) = self
            && uring.submit_plain(token, op, (descriptor, means))
        {
            return;
        }
        let (address, readiness_only) = (None, false);
        self.submit(Shot { token, descriptor, op, moved: 0, address, readiness_only, means, lingers });
    }

    pub(crate) fn submit(&mut self, shot: Shot<'_>) {
        match self {
            #[cfg(target_os = "linux")]
            AnyBackend::Uring(uring) => uring.submit(shot),
            #[cfg(any(target_os = "linux", target_os = "android"))]
            AnyBackend::Epoll(epoll) => epoll.submit(shot),
            #[cfg(any(
                all(target_os = "linux", feature = "unstable-simulated-kqueue"),
                all(unix, not(any(target_os = "linux", target_os = "android")))
            ))]
            AnyBackend::Kqueue(kqueue) => kqueue.submit(shot),
            #[cfg(windows)]
            AnyBackend::Iocp(iocp) => iocp.submit(shot),
            AnyBackend::Sim(sim) => unlikely(|| sim.submit(shot)),
        }
    }

    #[inline]
    pub(crate) fn wait(
        &mut self,
        limit: Option<Duration>,
        out: &mut VecDeque<Completion>,
    ) -> Result<(), Error> {
        match self {
            #[cfg(target_os = "linux")]
            AnyBackend::Uring(uring) => uring.wait(limit, out),
            #[cfg(any(target_os = "linux", target_os = "android"))]
            AnyBackend::Epoll(epoll) => epoll.wait(limit, out),
            #[cfg(any(
                all(target_os = "linux", feature = "unstable-simulated-kqueue"),
                all(unix, not(any(target_os = "linux", target_os = "android")))
            ))]
            AnyBackend::Kqueue(kqueue) => kqueue.wait(limit, out),
            #[cfg(windows)]
            AnyBackend::Iocp(iocp) => iocp.wait(limit, out),
            AnyBackend::Sim(sim) => unlikely(|| sim.wait(limit, out)),
        }
    }

    #[inline]
    pub(crate) fn now(&self) -> Instant {
        match self {
            #[cfg(target_os = "linux")]
            AnyBackend::Uring(uring) => uring.now(),
            #[cfg(any(target_os = "linux", target_os = "android"))]
            AnyBackend::Epoll(epoll) => epoll.now(),
            #[cfg(any(
                all(target_os = "linux", feature = "unstable-simulated-kqueue"),
                all(unix, not(any(target_os = "linux", target_os = "android")))
            ))]
            AnyBackend::Kqueue(kqueue) => kqueue.now(),
            #[cfg(windows)]
            AnyBackend::Iocp(iocp) => iocp.now(),
            AnyBackend::Sim(sim) => unlikely(|| sim.now()),
        }
    }

    /// Whether another thread could run while the loop's looks for what it does.
    pub(crate) fn has_company(&self) -> bool {
        match self {
            #[cfg(target_os = "linux")]
            AnyBackend::Uring(_) => system::has_company(),
            #[cfg(any(target_os = "linux", target_os = "android"))]
            AnyBackend::Epoll(_) => system::has_company(),
            #[cfg(any(
                all(target_os = "linux", feature = "unstable-simulated-kqueue"),
                all(unix, not(any(target_os = "linux", target_os = "android")))
            ))]
            AnyBackend::Kqueue(_) => system::has_company(),
            #[cfg(windows)]
            AnyBackend::Iocp(_) => windows::has_company(),
            AnyBackend::Sim(_) => false,
        }
    }

    /// Everything that is not on the way of every message.
    pub(crate) fn cold(&mut self) -> &mut dyn Backend {
        match self {
            #[cfg(target_os = "linux")]
            AnyBackend::Uring(uring) => uring,
            #[cfg(any(target_os = "linux", target_os = "android"))]
            AnyBackend::Epoll(epoll) => epoll,
            #[cfg(any(
                all(target_os = "linux", feature = "unstable-simulated-kqueue"),
                all(unix, not(any(target_os = "linux", target_os = "android")))
            ))]
            AnyBackend::Kqueue(kqueue) => kqueue,
            #[cfg(windows)]
            AnyBackend::Iocp(iocp) => iocp,
            AnyBackend::Sim(sim) => sim,
        }
    }

    /// What answers at once.
    pub(crate) fn calls(&mut self) -> &mut dyn Calls {
        match self {
            #[cfg(target_os = "linux")]
            AnyBackend::Uring(uring) => &mut uring.system,
            #[cfg(any(target_os = "linux", target_os = "android"))]
            AnyBackend::Epoll(epoll) => &mut epoll.system,
            #[cfg(any(
                all(target_os = "linux", feature = "unstable-simulated-kqueue"),
                all(unix, not(any(target_os = "linux", target_os = "android")))
            ))]
            AnyBackend::Kqueue(kqueue) => &mut kqueue.system,
            #[cfg(windows)]
            AnyBackend::Iocp(iocp) => iocp,
            AnyBackend::Sim(sim) => sim,
        }
    }

    /// How it does an operation.
    pub(crate) fn support(&self, kind: Kind) -> Support {
        self.backend().support(kind)
    }

    pub(crate) fn report(&self, reason: &str) -> Report {
        let backend = self.backend();
        Report::new(backend.describe(), reason, pool::census(), |kind| backend.support(kind))
    }

    fn backend(&self) -> &dyn Backend {
        match self {
            #[cfg(target_os = "linux")]
            AnyBackend::Uring(uring) => uring,
            #[cfg(any(target_os = "linux", target_os = "android"))]
            AnyBackend::Epoll(epoll) => epoll,
            #[cfg(any(
                all(target_os = "linux", feature = "unstable-simulated-kqueue"),
                all(unix, not(any(target_os = "linux", target_os = "android")))
            ))]
            AnyBackend::Kqueue(kqueue) => kqueue,
            #[cfg(windows)]
            AnyBackend::Iocp(iocp) => iocp,
            AnyBackend::Sim(sim) => sim,
        }
    }
}
