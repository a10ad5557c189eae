//! What the cases share.

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::io::Write;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use nbio::{Backend, Builder, EventLoop, Instant, Simulation, TcpListener};

use crate::connections::PeerListener;
use crate::peer::Peer;
use crate::system::{self, Errno, is_wine};

pub use crate::programs::address::own_address;

/// A case, and the guarantee or behaviour that it proves.
pub struct Case {
    pub name: &'static str,
    pub run: fn(&Subject),
}

/// A backend in one of its set-ups.
#[derive(Copy, Clone, Debug)]
pub struct Setup {
    pub name: &'static str,
    backend: Backend,
    ring_size: u32,
    /// How the system refuses io_uring to the process of its cases.
    forbidden: Option<Errno>,
    /// What of io_uring the loops do without, and the rooms that are about it; all are where there are none.
    without: (&'static [&'static str], &'static [&'static str]),
    /// What the loops of a case connect to.
    peers: Peers,
}

/// Where the other sides of connections are.
#[derive(Copy, Clone, Debug, PartialEq)]
enum Peers {
    /// Sockets of std.
    Sockets,
    /// Streams on a second loop.
    Loop,
    /// The same, in a network that exists in memory only.
    Simulated,
}

impl Setup {
    /// What there is elsewhere.
    #[cfg(not(target_os = "linux"))]
    pub fn all() -> Vec<Setup> {
        let best = Setup {
            name: NATIVE,
            backend: Backend::Auto,
            ring_size: 1024,
            forbidden: None,
            without: (&[], &[]),
            peers: Peers::Sockets,
        };
        if std::env::var_os("NBIO_PEERS").is_some_and(|value| value == "loop") {
            return vec![Setup { name: LOOP_PEERS, peers: Peers::Loop, ..best }];
        }
        vec![best, Setup { name: "sim", peers: Peers::Simulated, ..best }]
    }

    #[cfg(target_os = "linux")]
    pub fn all() -> Vec<Setup> {
        let io_uring = Setup {
            name: "io_uring",
            backend: Backend::IoUring,
            ring_size: 1024,
            forbidden: None,
            without: (&[], &[]),
            peers: Peers::Sockets,
        };
        // As in a container with Docker's profile: nobody asked for epoll.
        let epoll = Setup { name: "epoll", backend: Backend::Auto, forbidden: Some(Errno::PERM), ..io_uring };
        let mut all = vec![
            io_uring,
            // The oldest kernel's features only.
            Setup { name: "io_uring-plain", backend: Backend::IoUringPlain, ..io_uring },
            // One submission at a time and a completion queue of two: both are always full.
            Setup { name: "io_uring-ring-of-1", ring_size: 1, ..io_uring },
            epoll,
            // Simulators of kqueue under the backend of macOS and the BSDs, in which now and then something goes wrong.
            Setup { name: "kqueue-macos", backend: Backend::KqueueMacOs, ..io_uring },
            Setup { name: "kqueue-freebsd", backend: Backend::KqueueFreeBsd, ..io_uring },
            // A network and a clock of its own, and a course of events that its seed decides.
            Setup { name: "sim", peers: Peers::Simulated, ..io_uring },
        ];
        all.extend(WITHOUT.iter().map(|&(name, without, rooms)| Setup {
            name,
            without: (without, rooms),
            ..io_uring
        }));
        if long() {
            // What takes long is told by one set-up of each kind; this one is as on a kernel without io_uring.
            all.retain(|setup| {
                ["io_uring", "io_uring-ring-of-1", "kqueue-freebsd", "sim"].contains(&setup.name)
            });
            all.push(Setup { name: "epoll-enosys", forbidden: Some(Errno::NOSYS), ..epoll });
        }
        // The real network with the simulation's kind of peers: is it the peers, or is it the simulation?
        if std::env::var_os("NBIO_PEERS").is_some_and(|value| value == "loop") {
            all = vec![Setup { name: LOOP_PEERS, peers: Peers::Loop, ..io_uring }];
        }
        all
    }
}

/// Kernels that lack something, one after the other: the probe is told so.
#[cfg(target_os = "linux")]
const WITHOUT: &[(&str, &[&str], &[&str])] = &[
    ("without-accept", &["accept"], &["sockets_accept", "accept_many", "sockets_listen", "lacking"]),
    ("without-connect", &["connect"], &["sockets_connect", "local", "lacking"]),
    ("without-recv", &["recv"], &["streams", "recv_many", "streams_ends", "lacking"]),
    ("without-send", &["send"], &["streams", "streams_order", "lacking"]),
    ("without-recvmsg", &["recvmsg"], &["streams_vectored", "udp", "passing", "lacking"]),
    ("without-sendmsg", &["sendmsg"], &["streams_vectored", "udp", "passing", "lacking"]),
    ("without-close", &["close"], &["closing", "sockets_handles", "lacking"]),
    ("without-openat", &["openat"], &["files", "files_ends", "lacking"]),
    ("without-statx", &["statx"], &["files", "files_cursor", "lacking"]),
    ("without-read", &["read"], &["files", "files_cursor", "lacking"]),
    ("without-write", &["write"], &["files", "files_cursor", "lacking"]),
    ("without-readv", &["readv"], &["files", "lacking"]),
    ("without-writev", &["writev"], &["files", "lacking"]),
    ("without-fsync", &["fsync"], &["files", "lacking"]),
    ("without-fallocate", &["fallocate"], &["files", "lacking"]),
    ("without-renameat", &["renameat"], &["files_names", "files_whole", "lacking"]),
    ("without-unlinkat", &["unlinkat"], &["files_names", "files_whole", "lacking"]),
    ("without-mkdirat", &["mkdirat"], &["files_names", "lacking"]),
    ("without-linkat", &["linkat"], &["files_names", "lacking"]),
    ("without-symlinkat", &["symlinkat"], &["files_names", "lacking"]),
    ("without-ftruncate", &["ftruncate"], &["files", "lacking"]),
    ("without-deferred-task-run", &["deferred task run"], &["smoke", "turns", "remote"]),
    ("without-task-run", &["deferred task run", "cooperative task run"], &["smoke", "turns", "remote"]),
    ("without-skipped-completions", &["skipped completions"], &["ending", "deadlines"]),
    ("without-repeating-polls", &["repeating polls"], &["poll", "remote", "lacking"]),
    ("without-repeating-accepts", &["repeating accepts"], &["accept_many"]),
    ("without-picked-buffers", &["picked buffers"], &["recv_many", "lacking"]),
    ("without-silent-writes", &["writes without signal"], &["pipes"]),
];

impl Setup {
    fn kqueue(&self) -> bool {
        self.name.starts_with("kqueue")
    }

    /// Whether the cases of a room are run.
    pub fn has(&self, room: &str) -> bool {
        self.without.1.is_empty() || self.without.1.contains(&room)
    }

    /// How the system refuses io_uring to its loops, if it does.
    pub fn forbidden(&self) -> Option<Errno> {
        self.forbidden
    }
}

/// The set-up of other systems than Linux.
#[cfg(not(target_os = "linux"))]
const NATIVE: &str = if cfg!(windows) {
    "iocp"
} else if cfg!(target_os = "android") {
    "epoll"
} else {
    "kqueue"
};

/// The set-up of `NBIO_PEERS=loop`.
pub const LOOP_PEERS: &str = "loop-peers";

/// The address of a listener whose queue is full, and what keeps it so.
pub type FullListener = (SocketAddr, (PeerListener, Vec<Peer>));

/// What one run of a case has: its backend, and the world that its loops share. A clone shares it too.
#[derive(Clone)]
pub struct Subject {
    pub name: &'static str,
    setup: Setup,
    simulation: Option<Simulation>,
    /// The loop of the peers.
    far: Rc<OnceCell<Rc<EventLoop>>>,
    /// See `full_address`.
    full: Rc<OnceCell<FullListener>>,
}

impl Subject {
    /// For a case of this name: the seed of a simulation comes from it, or is `NBIO_SEED`.
    pub fn new(setup: Setup, case: &str) -> Subject {
        let simulation = (setup.peers == Peers::Simulated).then(|| Simulation::new(seed(case)));
        crate::disk::set(simulation.as_ref());
        #[cfg(target_os = "linux")]
        nbio::set_kqueue_faults(setup.kqueue().then(|| seed(case)));
        Subject { name: setup.name, setup, simulation, far: Rc::default(), full: Rc::default() }
    }

    pub fn builder(&self) -> Builder {
        let builder = Builder::new().backend(self.setup.backend).ring_size(self.setup.ring_size);
        let builder = self.without().iter().fold(builder, |builder, name| builder.without(name));
        match &self.simulation {
            Some(simulation) => builder.simulation(simulation),
            None => builder,
        }
    }

    pub fn io<S>(&self) -> EventLoop<S> {
        self.builder().build().expect("the backend under test works here")
    }

    /// Whether the loops run on a simulated kqueue.
    pub fn kqueue(&self) -> bool {
        self.setup.kqueue()
    }

    /// Whether the loops run on completion ports of Windows.
    pub fn iocp(&self) -> bool {
        self.name == "iocp"
    }

    /// Whether the loops run on epoll.
    pub fn epoll(&self) -> bool {
        self.name.starts_with("epoll")
    }

    /// What of io_uring the loops do without.
    pub fn without(&self) -> &'static [&'static str] {
        self.setup.without.0
    }

    /// Whether the system refuses io_uring.
    pub fn forbidden(&self) -> bool {
        self.setup.forbidden.is_some()
    }

    /// Whether the network is one in memory: there are no descriptors then, and no numbers of the system's errors.
    pub fn simulated(&self) -> bool {
        self.simulation.is_some()
    }

    /// Lets the system begin with what was submitted: one turn that doesn't wait, and several in a simulation, where
    /// everything takes its time, though less than this.
    pub fn hand_over(&self, io: &EventLoop) {
        self.hand_over_with(io, &mut ());
    }

    pub fn hand_over_with<S>(&self, io: &EventLoop<S>, state: &mut S) {
        io.tick_with(state, Some(Duration::ZERO)).unwrap();
        let end = io.now() + Duration::from_millis(2);
        while self.simulated() && io.now() < end {
            io.tick_with(state, Some(Duration::from_millis(1))).unwrap();
        }
    }

    /// Lets time pass as a callback does that takes long: the loop stands still.
    pub fn pass_until<S>(&self, io: &EventLoop<S>, at: Instant) {
        while io.now() < at {
            if let Some(far) = self.simulated().then(|| self.far()).flatten() {
                far.tick(Some(at - io.now())).unwrap();
            }
        }
    }

    /// The loop of the peers, if they are streams of one.
    pub fn far(&self) -> Option<Rc<EventLoop>> {
        let far = || Rc::new(self.io());
        (self.setup.peers != Peers::Sockets).then(|| self.far.get_or_init(far).clone())
    }

    /// An address to which connecting neither succeeds nor fails, as long as the case runs: its listener's queue is
    /// full. Filling one takes its time, so it is made once.
    pub fn full_address(&self) -> SocketAddr {
        static FULL: OnceLock<(SocketAddr, (std::net::TcpListener, Vec<std::net::TcpStream>))> =
            OnceLock::new();
        if self.far().is_some() {
            return self.full.get_or_init(|| self.full_listener()).0;
        }
        let full = FULL.get_or_init(|| {
            let (address, (listener, waiting)) = self.full_listener();
            (address, (listener.into_socket(), waiting.into_iter().map(Peer::into_socket).collect()))
        });
        full.0
    }
}

/// A number for a case's name, always the same.
fn seed(case: &str) -> u64 {
    let asked = std::env::var("NBIO_SEED").ok().and_then(|seed| seed.parse().ok());
    // FNV-1a.
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    asked.unwrap_or_else(|| case.bytes().fold(0xcbf2_9ce4_8422_2325, mix))
}

/// `NBIO_LONG=1`: the long form of a test.
pub fn long() -> bool {
    std::env::var_os("NBIO_LONG").is_some_and(|value| value == "1")
}

thread_local! {
    /// The panics of the case that runs on this thread.
    static PANICS: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Many cases panic on purpose: what a case's own thread says of its panics is kept, and shown only if the case fails.
pub fn keep_panics_quiet() {
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let kept =
            PANICS.with_borrow_mut(|panics| panics.as_mut().map(|panics| panics.push(info.to_string())));
        if kept.is_none() {
            loud(info);
        }
    }));
}

/// A case that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a case on this thread; ends the whole process, naming the case, if it hangs.
pub fn run_watched(name: &str, case: impl FnOnce()) -> Result<(), String> {
    let (done, watch) = mpsc::channel::<()>();
    let label = name.to_owned();
    let watcher = std::thread::spawn(move || {
        if watch.recv_timeout(PATIENCE * if long() { 10 } else { 1 }) == Err(mpsc::RecvTimeoutError::Timeout)
        {
            // A child whose parent is gone has nobody to tell, which is no reason to go on.
            let _ = writeln!(std::io::stderr(), "{label} hangs");
            std::process::abort();
        }
    });
    PANICS.set(Some(Vec::new()));
    let result = catch_unwind(AssertUnwindSafe(case)).map_err(|panic| message(&*panic));
    let panics = PANICS.take().unwrap_or_default();
    let result = result.map_err(|text| match panics.last() {
        Some(last) => format!("{text}\n{last}"),
        None => text,
    });
    drop(done);
    watcher.join().expect("the watcher doesn't panic");
    result
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panicked".into())
}

/// As `own_address`, for datagrams. Wine binds their sockets to all addresses, and sends from the first.
pub fn own_udp_address() -> SocketAddr {
    if is_wine() { SocketAddr::from(([127, 0, 0, 1], 0)) } else { own_address() }
}

/// A loop's listener on a loopback address of its own, and that address.
pub fn listen<S>(io: &EventLoop<S>) -> (TcpListener, SocketAddr) {
    let listener = io.listen_tcp(own_address()).unwrap();
    (listener, io.local_address(listener).unwrap())
}

/// Something a callback leaves for the test to look at.
pub struct Slot<T>(Rc<RefCell<Vec<T>>>);

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Slot<T> {
        Slot(self.0.clone())
    }
}

impl<T> Slot<T> {
    pub fn new() -> Slot<T> {
        Slot(Rc::new(RefCell::new(Vec::new())))
    }

    pub fn put(&self, value: T) {
        self.0.borrow_mut().push(value);
    }

    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// All that was put, in order; empty afterwards.
    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut self.0.borrow_mut())
    }

    /// The one value that was put.
    pub fn one(&self) -> T {
        let mut values = self.take();
        assert_eq!(values.len(), 1, "exactly one callback ran");
        values.remove(0)
    }
}

/// A loop waits up to a second for a system that doesn't let go; where this is used it always lets go.
const QUICK: Duration = Duration::from_millis(900);

/// Drops a loop, which must not sleep its whole second. Only where the system tells of a busy machine, which doesn't count.
pub fn drop_quickly<S>(io: EventLoop<S>) {
    let (start, before) = (std::time::Instant::now(), system::busy());
    drop(io);
    if let (Some(before), Some(after)) = (before, system::busy()) {
        let asleep = start.elapsed().saturating_sub(after - before);
        assert!(asleep < QUICK, "{asleep:?}");
    }
}

/// Counts how often it is dropped.
#[derive(Clone)]
pub struct Drops(Rc<Cell<usize>>);

/// What is counted.
pub struct Counted(Drops);

impl Drops {
    pub fn new() -> Drops {
        Drops(Rc::new(Cell::new(0)))
    }

    pub fn count(&self) -> usize {
        self.0.get()
    }

    pub fn counted(&self) -> Counted {
        Counted(self.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.set(self.0.0.get() + 1);
    }
}
