//! Settings of a loop.

use std::time::Duration;

use crate::engine::Core;
use crate::op::Kind;
use crate::{Error, ErrorKind, EventLoop, Simulation};

/// Which platform a loop runs on.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// The environment variable `NBIO_BACKEND` if it is set (`auto`, `io_uring`, `io_uring-plain`, `epoll`, `kqueue`, `iocp`), else
    /// the best one that works here.
    #[default]
    Auto,
    /// io_uring with every feature that the kernel turns out to have (Linux 5.11 and newer).
    IoUring,
    /// io_uring as the oldest supported kernel has it: to compare, or to get round a kernel's bug.
    IoUringPlain,
    /// epoll(7) and plain system calls: where io_uring is forbidden, as in most containers.
    Epoll,
    /// kqueue(2): macOS and the BSDs.
    Kqueue,
    /// I/O completion ports: Windows.
    Iocp,
    /// kqueue as macOS has it, in a simulator on Linux: for nbio's own tests.
    #[cfg(feature = "unstable-simulated-kqueue")]
    KqueueMacOs,
    /// The same as FreeBSD has it.
    #[cfg(feature = "unstable-simulated-kqueue")]
    KqueueFreeBsd,
}

impl Backend {
    /// What `NBIO_BACKEND` asks for.
    pub(crate) fn from_environment() -> Result<Option<Backend>, Error> {
        match std::env::var_os("NBIO_BACKEND") {
            None => Ok(None),
            Some(name) => match name.to_str() {
                Some("" | "auto") => Ok(None),
                Some("io_uring") => Ok(Some(Backend::IoUring)),
                Some("io_uring-plain") => Ok(Some(Backend::IoUringPlain)),
                Some("epoll") => Ok(Some(Backend::Epoll)),
                Some("kqueue") => Ok(Some(Backend::Kqueue)),
                Some("iocp") => Ok(Some(Backend::Iocp)),
                #[cfg(feature = "unstable-simulated-kqueue")]
                Some("kqueue-macos") => Ok(Some(Backend::KqueueMacOs)),
                #[cfg(feature = "unstable-simulated-kqueue")]
                Some("kqueue-freebsd") => Ok(Some(Backend::KqueueFreeBsd)),
                _ => Err(Error::new(ErrorKind::UnknownBackend, Kind::Build)),
            },
        }
    }
}

/// Settings for a new loop. It can be made anywhere and sent to the thread on which the loop is to run.
///
/// ```
/// use nbio::{Backend, Builder};
/// let io = Builder::new().backend(Backend::IoUring).ring_size(64).build::<()>()?;
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Builder {
    pub(crate) backend: Backend,
    pub(crate) simulation: Option<Simulation>,
    pub(crate) ring_size: u32,
    pub(crate) without: Vec<&'static str>,
    pub(crate) busy_poll: Option<Duration>,
    pub(crate) completion_budget: usize,
    pub(crate) timer_budget: usize,
    pub(crate) remote_capacity: usize,
    pub(crate) remote_budget: usize,
    pub(crate) task_budget: usize,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder {
            backend: Backend::Auto,
            simulation: None,
            ring_size: 1024,
            without: Vec::new(),
            busy_poll: None,
            completion_budget: 4096,
            timer_budget: 4096,
            remote_capacity: 4096,
            remote_budget: 4096,
            task_budget: 4096,
        }
    }
}

impl Builder {
    /// The default settings.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Which backend to run on. [`Backend::Auto`] by default.
    pub fn backend(mut self, backend: Backend) -> Builder {
        self.backend = backend;
        self
    }

    /// Runs the loop in a simulation instead of on a real backend, whatever [`backend`](Builder::backend) says.
    ///
    /// **Unstable**: see [`Simulation`].
    pub fn simulation(mut self, simulation: &Simulation) -> Builder {
        self.simulation = Some(simulation.clone());
        self
    }

    /// How many submissions fit the ring that is shared with the kernel, 1 to 32,768, rounded up to a power of
    /// two; 1,024 by default. It limits nothing: what doesn't fit waits its turn in the loop's own memory. Where
    /// the memory limit (`RLIMIT_MEMLOCK`) is too low the ring is made smaller.
    pub fn ring_size(mut self, entries: u32) -> Builder {
        self.ring_size = entries;
        self
    }

    /// Does without something that io_uring has here: an operation by its name in io_uring_enter(2), in lower case
    /// without its prefix (`"openat"`), or a feature by its name in [`Report::features`](crate::Report::features). What
    /// it would do is done as on epoll then, as on a kernel that lacks it, and [`report`](crate::EventLoop::report)
    /// tells so. To get round a kernel's bug, or to see how a program runs on an older one; `poll_add` and `async_cancel`
    /// can't be done without. On other backends it changes nothing.
    ///
    /// ```
    /// use nbio::{Builder, Support, op::Kind};
    /// let io = Builder::new().backend(nbio::Backend::IoUring).without("accept").build::<()>()?;
    /// assert!(io.report().operations().contains(&(Kind::Accept, Support::Readiness)));
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn without(mut self, name: &'static str) -> Builder {
        self.without.push(name);
        self
    }

    /// How many completions' callbacks one tick runs at most, at least 1; 4,096 by default. What is left over
    /// runs in the next tick.
    pub fn completion_budget(mut self, callbacks: usize) -> Builder {
        self.completion_budget = callbacks;
        self
    }

    /// How many timers fire in one tick at most, at least 1; 4,096 by default.
    pub fn timer_budget(mut self, timers: usize) -> Builder {
        self.timer_budget = timers;
        self
    }

    /// How many entries of other threads ([`Remote`](crate::Remote)) wait for the loop at most, at least 1; 4,096 by
    /// default. Not counted are those that the running tick has taken over, at most as many again.
    pub fn remote_capacity(mut self, entries: usize) -> Builder {
        self.remote_capacity = entries;
        self
    }

    /// How many entries of other threads one tick runs at most, at least 1; 4,096 by default. What is left over runs
    /// in the next tick.
    pub fn remote_budget(mut self, entries: usize) -> Builder {
        self.remote_budget = entries;
        self
    }

    /// How many tasks a tick polls at most, at least 1; the default is 4,096. The others are polled in the next tick, which
    /// begins without waiting.
    pub fn task_budget(mut self, tasks: usize) -> Builder {
        self.task_budget = tasks;
        self
    }

    /// For how long a tick that finds nothing to do looks again and again before it sleeps; zero for never.
    ///
    /// Being woken costs a sleeping thread some microseconds, in a virtual machine tens of them. A loop that has a core
    /// to itself saves them with a few hundred microseconds here, and keeps that core busy for it.
    ///
    /// By default the loop learns for how long: for up to 50 us, where other threads ([`Remote`](crate::Remote), the
    /// thread pool) lately came that soon after it had begun to wait. It never looks while no other thread could come,
    /// if there is only one CPU, or after it has looked in vain. In a [`Simulation`] no loop ever looks.
    ///
    /// ```
    /// use std::time::Duration;
    /// let io = nbio::Builder::new().busy_poll(Duration::from_micros(200)).build::<()>()?;
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn busy_poll(mut self, duration: Duration) -> Builder {
        self.busy_poll = Some(duration);
        self
    }

    /// Makes the loop, on the thread that will run it.
    ///
    /// # Errors
    /// [`BackendUnavailable`](ErrorKind::BackendUnavailable) if the system refuses the backend (its message says
    /// what to change), [`UnknownBackend`](ErrorKind::UnknownBackend) for a wrong `NBIO_BACKEND`,
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a setting out of its range,
    /// [`TooManyDescriptors`](ErrorKind::TooManyDescriptors) and [`OutOfMemory`](ErrorKind::OutOfMemory) from the
    /// system, [`Busy`](ErrorKind::Busy) if 65,535 loops are alive in this process.
    pub fn build<S>(self) -> Result<EventLoop<S>, Error> {
        let in_range = (1..=32_768).contains(&self.ring_size)
            && self.completion_budget > 0
            && self.timer_budget > 0
            && self.remote_capacity > 0
            && self.remote_budget > 0
            && self.task_budget > 0;
        if !in_range {
            return Err(Error::new(ErrorKind::InvalidInput, Kind::Build));
        }
        Ok(EventLoop::from_core(Core::new(&self)?))
    }
}
