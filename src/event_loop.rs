//! The front of the crate, to be read like a header file: what a loop can do, each a line or two over the engine.
//! Its areas: running, operations and descriptors here, the others in `event_loop/`.

mod files;
mod local;
mod net;
mod pipes;
mod poll;
mod udp;

use std::marker::PhantomData;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::backend::{OwnedDescriptor, RawDescriptor};
use crate::engine::Core;
use crate::engine::erased::{self, Context};
use crate::handle::Handle;
use crate::op::{self, Event};
use crate::{
    Builder, Detached, Error, Instant, ManyOperation, OpId, Operation, Refused, Rejected, Remote, Report,
};

/// An event loop: submit operations, and their callbacks run in [`run`](EventLoop::run) or
/// [`tick`](EventLoop::tick), on this thread.
///
/// All methods take `&self`, so callbacks, which are lent the loop, can do all that `main` can. `S` is the state
/// that callbacks share: they are given `&mut S`, which `run_with` and `tick_with` lend them for that call; a
/// program that needs none uses `S = ()` and `run`.
///
/// A callback never runs inside the call that submits its operation. Submitting never fails: whatever is wrong is
/// told to the callback.
///
/// # Dropping
/// Dropping the loop drops all callbacks unrun, and what other threads gave it; closes what is open, and waits at most one second for the system to
/// let go of buffers; what it still has then is leaked, never freed. A loop that is captured in one of its own
/// callbacks (in an `Rc`, say) keeps itself alive: a leak. After fork(2) the child must not use the loop.
///
/// ```
/// use nbio::{Done, EventLoop, TcpStream};
/// struct Totals { received: usize }
/// let io: EventLoop<Totals> = EventLoop::new()?;
/// let listener = io.listen_tcp(([127, 0, 0, 1], 0))?;
/// io.accept(listener, |_, io, accepted| {
///     let stream = accepted.unwrap().stream;
///     io.recv_exact(stream, [0; 5], 5, |totals, _, done| totals.received += done.bytes);
/// });
/// io.connect(io.local_address(listener)?, |_, io, connected| {
///     io.send_all(connected.unwrap(), "hello", |_, _, _| ());
/// });
/// let mut totals = Totals { received: 0 };
/// io.run_with(&mut totals)?;
/// assert_eq!(totals.received, 5);
/// # Ok::<(), nbio::Error>(())
/// ```
pub struct EventLoop<S = ()> {
    core: Rc<Core>,
    /// Invariant in `S`: the state that a tick lends is exactly what callbacks were submitted for.
    state: PhantomData<fn(S) -> S>,
}

/// Making a loop, and asking about it.
impl<S> EventLoop<S> {
    /// A loop with the default settings, on the best backend that works here.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn new() -> Result<EventLoop<S>, Error> {
        Builder::new().build()
    }

    pub(crate) fn from_core(core: Core) -> EventLoop<S> {
        EventLoop { core: Rc::new(core), state: PhantomData }
    }

    pub(crate) fn core(&self) -> &Rc<Core> {
        &self.core
    }

    /// The time on the loop's clock, freshly read.
    pub fn now(&self) -> Instant {
        self.core.now()
    }

    /// How many operations have not ended, counting those that were removed but which the system still has.
    pub fn in_flight(&self) -> usize {
        self.core.in_flight()
    }

    /// Which backend the loop runs on and why, and how it does each operation.
    pub fn report(&self) -> Report {
        self.core.report()
    }

    /// The loop's door for other threads: see [`Remote`]. A program that never asks for one pays nothing for it.
    ///
    /// # Errors
    /// [`TooManyDescriptors`](crate::ErrorKind::TooManyDescriptors) and
    /// [`OutOfMemory`](crate::ErrorKind::OutOfMemory), the first time; see eventfd(2) for Linux.
    ///
    /// ```
    /// let io = nbio::EventLoop::new()?;
    /// let remote = io.remote()?;
    /// std::thread::spawn(move || remote.run(|_, _| println!("on the loop's thread")));
    /// io.tick(Some(std::time::Duration::from_millis(1)))?;
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn remote(&self) -> Result<Remote<S>, Error> {
        Ok(Remote::new(self.core.remote_shared()?))
    }
}

/// Running without shared state.
impl EventLoop<()> {
    /// Runs until no operation is left but [`background`](Operation::background) ones, nothing that other threads gave
    /// by a [`Remote`], and no [`KeepAlive`](crate::KeepAlive); or until [`stop`](EventLoop::stop).
    ///
    /// # Errors
    /// [`Reentrant`](crate::ErrorKind::Reentrant) inside a callback of this loop; what the system says when waiting
    /// fails for good. A panic of a callback comes out of this call; the loop can go on running afterwards.
    ///
    /// ```
    /// let io = nbio::EventLoop::new()?;
    /// io.next_tick(|_, _, _| println!("once round"));
    /// io.run()?;
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn run(&self) -> Result<(), Error> {
        self.run_with(&mut ())
    }

    /// As [`run`](EventLoop::run), and stops when `enough` says so; it is asked in every tick, after the callbacks.
    ///
    /// # Errors
    /// As [`run`](EventLoop::run).
    ///
    /// ```
    /// use std::{cell::Cell, rc::Rc, time::Duration};
    /// let io = nbio::EventLoop::new()?;
    /// let (rung, bell) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
    /// # let bell = rung.clone();
    /// io.timer(Duration::from_millis(1), move |_, _, _| bell.set(true));
    /// io.run_until(|| rung.get())?;
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn run_until(&self, mut enough: impl FnMut() -> bool) -> Result<(), Error> {
        self.run_until_with(&mut (), |()| enough())
    }

    /// One turn: runs the callbacks of what has ended and of the timers that are due, hands over what was submitted,
    /// and waits for at most `limit` until something ends, whose callback then runs in the *next* tick.
    ///
    /// `None` waits as long as it takes, or not at all if nothing is in flight and no
    /// [`KeepAlive`](crate::KeepAlive) exists; zero doesn't wait. A [`Remote`] ends the wait from another thread. A tick
    /// never runs the callbacks of what is submitted in it.
    ///
    /// # Errors
    /// As [`run`](EventLoop::run).
    ///
    /// ```
    /// use std::time::Duration;
    /// let io = nbio::EventLoop::new()?;
    /// // A game's frame: never wait.
    /// io.tick(Some(Duration::ZERO))?;
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn tick(&self, limit: Option<Duration>) -> Result<(), Error> {
        self.tick_with(&mut (), limit)
    }

    /// Cancels every operation, runs the callbacks, and goes on until nothing is left or `limit` has passed. Says how
    /// many operations are left. What callbacks submit meanwhile is cancelled too, and so is what entries of a [`Remote`]
    /// submit, which are run; handles stay open.
    ///
    /// # Errors
    /// As [`run`](EventLoop::run).
    ///
    /// ```
    /// use std::time::Duration;
    /// let io = nbio::EventLoop::new()?;
    /// io.timer(Duration::from_secs(3600), |_, _, ended| assert!(ended.is_err()));
    /// assert_eq!(io.drain(Duration::from_secs(1))?, 0);
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn drain(&self, limit: Duration) -> Result<usize, Error> {
        self.drain_with(&mut (), limit)
    }
}

/// Running with shared state.
impl<S> EventLoop<S> {
    /// [`run`](EventLoop::run), lending `state` to the callbacks.
    ///
    /// # Errors
    /// As [`run`](EventLoop::run).
    pub fn run_with(&self, state: &mut S) -> Result<(), Error> {
        self.core.run(Context::new(state, self), |_| false)
    }

    /// [`run_until`](EventLoop::run_until), lending `state` to the callbacks and to `enough`.
    ///
    /// # Errors
    /// As [`run`](EventLoop::run).
    ///
    /// ```
    /// let io = nbio::EventLoop::<u32>::new()?;
    /// io.next_tick(|count, _, _| *count += 1);
    /// let mut count = 0;
    /// io.run_until_with(&mut count, |count| *count > 0)?;
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn run_until_with(&self, state: &mut S, mut enough: impl FnMut(&mut S) -> bool) -> Result<(), Error> {
        self.core.run(Context::new(state, self), |context| context.with_state(self, &mut enough))
    }

    /// [`tick`](EventLoop::tick), lending `state` to the callbacks.
    ///
    /// # Errors
    /// As [`run`](EventLoop::run).
    pub fn tick_with(&self, state: &mut S, limit: Option<Duration>) -> Result<(), Error> {
        self.core.tick(Context::new(state, self), limit)
    }

    /// [`drain`](EventLoop::drain), lending `state` to the callbacks.
    ///
    /// # Errors
    /// As [`run`](EventLoop::run).
    pub fn drain_with(&self, state: &mut S, limit: Duration) -> Result<usize, Error> {
        self.core.drain(Context::new(state, self), limit)
    }

    /// Lets the running `run` or `tick` return at the end of this tick; if none runs, the next one. Whatever waits
    /// goes on when the loop runs again.
    pub fn stop(&self) {
        self.core.stop();
    }
}

/// Operations: any of them, and ending them before their time.
impl<S> EventLoop<S> {
    /// Submits an operation that ends once; `callback` is given the shared state, this loop, and how it ended.
    ///
    /// It may be called from everywhere on this thread: from callbacks, and from the `Drop` of buffers and closures.
    #[inline]
    pub fn submit<O, F>(&self, operation: O, callback: F) -> OpId
    where
        O: Operation,
        F: FnOnce(&mut S, &EventLoop<S>, O::Output) + 'static,
    {
        erased::submit(&self.core, operation, callback)
    }

    /// Submits an operation that brings any number of items and then ends; `callback` is given each, and the end.
    /// A callback that panics is not called again; its operation is over.
    #[inline]
    pub fn submit_many<O, F>(&self, operation: O, callback: F) -> OpId
    where
        O: ManyOperation,
        F: FnMut(&mut S, &EventLoop<S>, Event<O::Item>) + 'static,
    {
        erased::submit_many(&self.core, operation, callback)
    }

    /// Asks that an operation end. Its callback still runs, once: with what it did if that was all that was asked,
    /// else with [`Cancelled`](crate::ErrorKind::Cancelled) and what it did so far. `false` if it has ended or is
    /// another loop's.
    ///
    /// ```
    /// use std::time::Duration;
    /// let io = nbio::EventLoop::new()?;
    /// let timer = io.timer(Duration::from_secs(3600), |_, _, ended| assert!(ended.is_err()));
    /// assert!(io.cancel(timer));
    /// io.run()?;
    /// assert!(!io.cancel(timer));
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn cancel(&self, operation: OpId) -> bool {
        self.core.cancel(operation)
    }

    /// [`cancel`](EventLoop::cancel)s every operation on a handle; says how many.
    ///
    /// # Errors
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle), [`WrongLoop`](crate::ErrorKind::WrongLoop).
    pub fn cancel_all<H: Handle>(&self, handle: H) -> Result<usize, Error> {
        self.core.cancel_all(handle.id())
    }

    /// Ends an operation silently: its callback is dropped, now and unrun; its buffer is dropped when the system has
    /// let go of it; a connection it would have brought is closed. `false` if it has ended or is another loop's.
    ///
    /// A receive removed after bytes had come, or a send removed after part of it had gone out, leaves the stream
    /// [`Broken`](crate::ErrorKind::Broken) in that direction. Prefer [`cancel`](EventLoop::cancel) there.
    pub fn remove(&self, operation: OpId) -> bool {
        self.core.remove(operation)
    }

    /// Starts a timer's time anew: a [`Timer`](op::Timer) ends, and an [`Interval`](op::Interval) brings its next
    /// item, when `duration` has passed from now; the interval's period stays. `false` if the operation has ended, is
    /// another loop's or is no timer.
    ///
    /// ```
    /// use std::time::Duration;
    /// let io = nbio::EventLoop::new()?;
    /// let start = io.now();
    /// let idle = io.timer(Duration::from_millis(1), |_, _, _| ());
    /// assert!(io.reset(idle, Duration::from_millis(5)));
    /// io.run()?;
    /// assert!(io.now() - start >= Duration::from_millis(5));
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn reset(&self, timer: OpId, duration: Duration) -> bool {
        self.core.reset(timer, duration)
    }

    /// Calls back in the next tick: [`op::NextTick`].
    pub fn next_tick(
        &self,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Result<(), Error>) + 'static,
    ) -> OpId {
        self.submit(op::NextTick::new(), callback)
    }

    /// Calls back once, after `duration`: [`op::Timer`].
    pub fn timer(
        &self,
        duration: Duration,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Result<(), Error>) + 'static,
    ) -> OpId {
        self.submit(op::Timer::after(duration), callback)
    }

    /// Runs a closure on a thread pool and calls back with what it returned: [`op::Blocking`].
    ///
    /// ```
    /// let io = nbio::EventLoop::new()?;
    /// let sum = || (1..=1_000_000_u64).sum::<u64>();
    /// io.run_blocking(sum, |_, _, sum| assert_eq!(sum, Ok(500_000_500_000)));
    /// io.run()?;
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn run_blocking<T: Send + 'static>(
        &self,
        closure: impl FnOnce() -> T + Send + 'static,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Result<T, Error>) + 'static,
    ) -> OpId {
        self.submit(op::Blocking::new(closure), callback)
    }

    /// Calls back with the addresses of a host: [`op::Resolve`].
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    /// let io = nbio::EventLoop::new()?;
    /// let listener = io.listen_tcp(([127, 0, 0, 1], 0))?;
    /// let (port, connected) = (io.local_address(listener)?.port(), Rc::new(Cell::new(false)));
    /// let there = connected.clone();
    /// io.resolve("localhost", port, move |_, io, addresses| {
    ///     // A program tries one after the other; this one knows that its listener has only IPv4.
    ///     let address = addresses.unwrap().into_iter().find(|address| address.is_ipv4()).unwrap();
    ///     io.connect(address, move |_, _, stream| there.set(stream.is_ok()));
    /// });
    /// io.run()?;
    /// assert!(connected.get());
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn resolve(
        &self,
        name: impl Into<String>,
        port: u16,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Result<Vec<SocketAddr>, Error>) + 'static,
    ) -> OpId {
        self.submit(op::Resolve::new(name, port), callback)
    }

    /// Calls back every `period`: [`op::Interval`].
    pub fn interval(
        &self,
        period: Duration,
        callback: impl FnMut(&mut S, &EventLoop<S>, Event<u64>) + 'static,
    ) -> OpId {
        self.submit_many(op::Interval::every(period), callback)
    }
}

/// Descriptors in and out.
impl<S> EventLoop<S> {
    /// Makes a descriptor, or a type of std that owns one, a handle of this loop, which closes it from now on. It is
    /// checked to be what the handle's type says: a listening or a connected TCP socket, a UDP socket. Its blocking mode is left as
    /// it is; both work.
    ///
    /// # Errors
    /// [`Rejected`], which gives the descriptor back: [`InvalidInput`](crate::ErrorKind::InvalidInput) (connected,
    /// listening, TCP or UDP it isn't), [`BadDescriptor`](crate::ErrorKind::BadDescriptor) (no socket).
    ///
    /// ```
    /// let io = nbio::EventLoop::<()>::new()?;
    /// let listener: nbio::TcpListener = io.adopt(std::net::TcpListener::bind("127.0.0.1:0").unwrap())?;
    /// let back = std::net::TcpListener::from(io.release(listener)?);
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn adopt<H: Handle>(&self, descriptor: impl Into<OwnedDescriptor>) -> Result<H, Rejected> {
        let adopted = self.core.adopt(descriptor.into(), H::KIND);
        adopted.map(H::from_id).map_err(|(error, descriptor)| Rejected { error, descriptor })
    }

    /// Gives the descriptor of a handle out of the loop; the handle is stale from now on.
    ///
    /// # Errors
    /// [`Busy`](crate::ErrorKind::Busy) while operations on it exist, removed ones that the system still has among
    /// them; [`StaleHandle`](crate::ErrorKind::StaleHandle), [`WrongLoop`](crate::ErrorKind::WrongLoop).
    pub fn release<H: Handle>(&self, handle: H) -> Result<OwnedDescriptor, Error> {
        self.core.release(handle.id())
    }

    /// Takes a handle out of this loop, for [`attach`](EventLoop::attach) to make it one of another, on another thread
    /// or not. It is stale from now on. Bytes that nobody has received yet, connections that nobody has accepted yet,
    /// go along, and so does what the loop knows of it: that a direction is [`Broken`](crate::ErrorKind::Broken), its
    /// receiving half was shut down, or the peer has reset it.
    ///
    /// # Errors
    /// As [`release`](EventLoop::release).
    ///
    /// ```
    /// # use std::io::Write;
    /// # let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    /// # let mut peer = std::net::TcpStream::connect(server.local_addr().unwrap()).unwrap();
    /// # peer.write_all(b"hello").unwrap();
    /// let io = nbio::EventLoop::<()>::new()?;
    /// let stream: nbio::TcpStream = io.adopt(server.accept().unwrap().0)?;
    /// let detached = io.detach(stream)?;
    /// let worker = std::thread::spawn(move || {
    ///     let io = nbio::EventLoop::new()?;
    ///     let stream = io.attach(detached)?;
    ///     io.recv_exact(stream, [0; 5], 5, |_, _, done| assert_eq!(&done.buf, b"hello"));
    ///     io.run()
    /// });
    /// worker.join().unwrap()?;
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn detach<H: Handle>(&self, handle: H) -> Result<Detached<H>, Error> {
        self.core.detach(handle.id()).map(|(loose, known)| Detached::new(loose, known))
    }

    /// Makes what another loop (or this one) has [`detach`](EventLoop::detach)ed a handle of this loop.
    ///
    /// # Errors
    /// [`Refused`], which gives it back: [`Unsupported`](crate::ErrorKind::Unsupported) if this loop's backend can't have
    /// a socket of the other's (a simulation has those of its own loops only).
    pub fn attach<H: Handle>(&self, detached: Detached<H>) -> Result<H, Refused<Detached<H>>> {
        let (loose, known) = detached.into_parts();
        let attached = self.core.attach(loose, known);
        let refused = |(error, loose, known)| Refused { error, value: Detached::new(loose, known) };
        attached.map(H::from_id).map_err(refused)
    }

    /// The number of a handle's descriptor, to look at: the loop goes on owning it.
    ///
    /// # Errors
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle), [`WrongLoop`](crate::ErrorKind::WrongLoop).
    pub fn raw<H: Handle>(&self, handle: H) -> Result<RawDescriptor, Error> {
        self.core.raw(handle.id())
    }

    /// A second descriptor of the same open thing (dup(2), close-on-exec).
    ///
    /// # Errors
    /// [`TooManyDescriptors`](crate::ErrorKind::TooManyDescriptors), [`StaleHandle`](crate::ErrorKind::StaleHandle),
    /// [`WrongLoop`](crate::ErrorKind::WrongLoop).
    pub fn duplicate<H: Handle>(&self, handle: H) -> Result<OwnedDescriptor, Error> {
        self.core.duplicate(handle.id())
    }
}

impl<S> Drop for EventLoop<S> {
    fn drop(&mut self) {
        self.core.tear_down();
    }
}

impl<S> std::fmt::Debug for EventLoop<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventLoop").field("in_flight", &self.in_flight()).finish_non_exhaustive()
    }
}
