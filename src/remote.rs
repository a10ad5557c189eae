//! A loop's door for other threads.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::engine::remote::{Job, Shared};
use crate::{Error, Event, EventLoop, ManyOperation, Operation};

/// A loop's door for other threads: it gives the loop things to do, and wakes it. Made by
/// [`EventLoop::remote`]; clone it, and send it where it is needed.
///
/// What it gives runs on the loop's thread, in a later tick, before the completions of that tick; what one thread
/// gives runs in the order in which it was given. Up to [`Builder::remote_capacity`](crate::Builder::remote_capacity)
/// entries wait for the loop; what then happens is chosen by [`when_full`](Remote::when_full).
///
/// A `Remote` doesn't keep the loop going: [`run`](EventLoop::run) returns when neither an operation nor an entry is
/// left, unless there is a [`KeepAlive`]. What a loop that is dropped has not run is dropped, unrun, on the loop's
/// thread.
///
/// ```
/// use std::thread;
/// use nbio::EventLoop;
/// let io: EventLoop<u32> = EventLoop::new()?;
/// let remote = io.remote()?;
/// let keep_alive = remote.keep_alive();
/// let worker = thread::spawn(move || {
///     let answer = 6 * 7;
///     let told = remote.run(move |total: &mut u32, _| *total += answer);
///     drop(keep_alive);
///     told.is_ok()
/// });
/// let mut total = 0;
/// io.run_with(&mut total)?;
/// assert!(worker.join().unwrap());
/// assert_eq!(total, 42);
/// # Ok::<(), nbio::Error>(())
/// ```
pub struct Remote<S = ()> {
    shared: Arc<Shared>,
    when_full: WhenFull,
    /// Invariant in `S`, as the loop is: what it gives is run with exactly that state. A function is `Send` and `Sync`
    /// whatever `S` is, and so is this: no `S` ever leaves the loop's thread.
    state: PhantomData<fn(S) -> S>,
}

/// What a [`Remote`] does when as many entries as fit wait for the loop.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenFull {
    /// Refuses, with [`QueueFull`](crate::ErrorKind::QueueFull).
    #[default]
    Refuse,
    /// Waits until the loop has made room. The loop's own thread would wait for itself: it is refused, with
    /// [`Deadlock`](crate::ErrorKind::Deadlock). Two loops' threads that wait for each other are not noticed.
    Wait,
}

impl<S> Remote<S> {
    pub(crate) fn new(shared: Arc<Shared>) -> Remote<S> {
        Remote { shared, when_full: WhenFull::Refuse, state: PhantomData }
    }

    /// The same loop's door, with this behaviour when the queue is full. [`WhenFull::Refuse`] by default.
    ///
    /// ```
    /// use std::thread;
    /// use nbio::{Builder, WhenFull};
    /// let io = Builder::new().remote_capacity(1).build::<u32>()?;
    /// let remote = io.remote()?.when_full(WhenFull::Wait);
    /// let keep_alive = remote.keep_alive();
    /// let worker = thread::spawn(move || {
    ///     for _ in 0..100 {
    ///         remote.run(|count: &mut u32, _| *count += 1).unwrap();
    ///     }
    ///     drop(keep_alive);
    /// });
    /// let mut count = 0;
    /// io.run_with(&mut count)?;
    /// assert_eq!(count, 100);
    /// # worker.join().unwrap();
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn when_full(self, when_full: WhenFull) -> Remote<S> {
        Remote { when_full, ..self }
    }

    /// Lets the loop go round once: a [`tick`](EventLoop::tick) that waits returns, as does the next one if none
    /// waits, and [`run_until`](EventLoop::run_until) asks its question again. Several wakes may become one, none is
    /// lost. A loop that was dropped is left alone.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicBool, Ordering};
    /// let io = nbio::EventLoop::new()?;
    /// let (remote, over) = (io.remote()?, Arc::new(AtomicBool::new(false)));
    /// let _keep_alive = remote.keep_alive();
    /// let said = over.clone();
    /// let other = std::thread::spawn(move || {
    ///     said.store(true, Ordering::Relaxed);
    ///     remote.wake();
    /// });
    /// io.run_until(|| over.load(Ordering::Relaxed))?;
    /// # other.join().unwrap();
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn wake(&self) {
        self.shared.wake();
    }

    /// Runs a closure on the loop's thread, in a later tick. If it panics, the panic comes out of the loop's `tick` or
    /// `run`, as a callback's does.
    ///
    /// It allocates nothing if the closure's captures fit 112 bytes (and are aligned to at most 16).
    ///
    /// # Errors
    /// [`Refused`], which gives the closure back: [`QueueFull`](crate::ErrorKind::QueueFull),
    /// [`LoopGone`](crate::ErrorKind::LoopGone) (the loop was dropped, perhaps while this call waited for room), and
    /// with [`WhenFull::Wait`] on the loop's own thread [`Deadlock`](crate::ErrorKind::Deadlock).
    ///
    /// ```
    /// let io = nbio::EventLoop::new()?;
    /// let remote = io.remote()?;
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| remote.run(|_, io| println!("{} operations in flight", io.in_flight())).unwrap());
    /// });
    /// io.run()?;
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn run<F>(&self, closure: F) -> Result<(), Refused<F>>
    where
        F: FnOnce(&mut S, &EventLoop<S>) + Send + 'static,
    {
        self.push(Run(closure)).map_err(|refused| refused.map(|Run(closure)| closure))
    }

    /// Submits an operation on the loop's thread, in a later tick; `callback` then runs there as always. A
    /// [`timeout`](Operation::timeout) counts from when it is submitted there. Handles come from the loop: they are
    /// plain names, which may go to any thread.
    ///
    /// It allocates nothing if operation and callback fit 112 bytes together.
    ///
    /// # Errors
    /// As [`run`](Remote::run): of the queue only. Operation and callback come back. All that is wrong with the
    /// operation itself is told to the callback.
    ///
    /// ```
    /// use std::time::Duration;
    /// use nbio::op;
    /// let io = nbio::EventLoop::new()?;
    /// let remote = io.remote()?;
    /// let other = std::thread::spawn(move || {
    ///     let timer = op::Timer::after(Duration::from_millis(1));
    ///     remote.submit(timer, |_, _, ended| assert!(ended.is_ok())).is_ok()
    /// });
    /// assert!(other.join().unwrap());
    /// io.run()?;
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn submit<O, F>(&self, operation: O, callback: F) -> Result<(), Refused<(O, F)>>
    where
        O: Operation + Send,
        F: FnOnce(&mut S, &EventLoop<S>, O::Output) + Send + 'static,
    {
        self.push(Submit(operation, callback)).map_err(|refused| refused.map(|Submit(o, c)| (o, c)))
    }

    /// As [`submit`](Remote::submit), for an operation that brings any number of items.
    ///
    /// # Errors
    /// As [`submit`](Remote::submit).
    ///
    /// ```
    /// use std::time::Duration;
    /// use nbio::{Event, op};
    /// let io = nbio::EventLoop::new()?;
    /// let every = op::Interval::every(Duration::from_millis(1));
    /// io.remote()?.submit_many(every, |_, io, event| if let Event::Item(_) = event { io.stop() })?;
    /// io.run()?;
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn submit_many<O, F>(&self, operation: O, callback: F) -> Result<(), Refused<(O, F)>>
    where
        O: ManyOperation + Send,
        F: FnMut(&mut S, &EventLoop<S>, Event<O::Item>) + Send + 'static,
    {
        self.push(SubmitMany(operation, callback)).map_err(|refused| refused.map(|SubmitMany(o, c)| (o, c)))
    }

    /// A guard that keeps the loop going: while one exists, [`run`](EventLoop::run) doesn't end for want of
    /// operations, and [`tick(None)`](EventLoop::tick) waits. When the last one is dropped, by whichever thread, the
    /// loop wakes, does what is left, and `run` returns.
    #[must_use = "the loop is kept going until the guard is dropped"]
    pub fn keep_alive(&self) -> KeepAlive {
        self.shared.keep_alive();
        KeepAlive { shared: self.shared.clone() }
    }

    fn push<J: Job<S>>(&self, job: J) -> Result<(), Refused<J>> {
        let pushed = self.shared.push::<S, J>(job, self.when_full == WhenFull::Wait);
        pushed.map_err(|(error, value)| Refused { error, value })
    }
}

impl<S> Clone for Remote<S> {
    fn clone(&self) -> Remote<S> {
        Remote { shared: self.shared.clone(), ..*self }
    }
}

impl<S> fmt::Debug for Remote<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("when_full", &self.when_full).finish_non_exhaustive()
    }
}

struct Run<F>(F);

impl<S, F: FnOnce(&mut S, &EventLoop<S>) + Send + 'static> Job<S> for Run<F> {
    fn run(self, state: &mut S, io: &EventLoop<S>) {
        (self.0)(state, io);
    }
}

struct Submit<O, F>(O, F);

impl<S, O, F> Job<S> for Submit<O, F>
where
    O: Operation + Send,
    F: FnOnce(&mut S, &EventLoop<S>, O::Output) + Send + 'static,
{
    fn run(self, _: &mut S, io: &EventLoop<S>) {
        io.submit(self.0, self.1);
    }
}

struct SubmitMany<O, F>(O, F);

impl<S, O, F> Job<S> for SubmitMany<O, F>
where
    O: ManyOperation + Send,
    F: FnMut(&mut S, &EventLoop<S>, Event<O::Item>) + Send + 'static,
{
    fn run(self, _: &mut S, io: &EventLoop<S>) {
        io.submit_many(self.0, self.1);
    }
}

/// Keeps a loop going while it exists: [`Remote::keep_alive`].
///
/// ```
/// use std::time::Duration;
/// let io = nbio::EventLoop::new()?;
/// let keep_alive = io.remote()?.keep_alive();
/// let other = std::thread::spawn(move || drop(keep_alive));
/// // Until the other thread has dropped it.
/// io.run()?;
/// # other.join().unwrap();
/// # Ok::<(), nbio::Error>(())
/// ```
pub struct KeepAlive {
    shared: Arc<Shared>,
}

impl Drop for KeepAlive {
    fn drop(&mut self) {
        self.shared.release();
    }
}

impl fmt::Debug for KeepAlive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeepAlive").finish_non_exhaustive()
    }
}

/// What a [`Remote`] could not give to its loop, or a loop could not [`attach`](EventLoop::attach), and why. It
/// converts into the [`Error`] (which drops the value, on this thread).
///
/// ```
/// use nbio::{ErrorKind, EventLoop};
/// let io: EventLoop = EventLoop::new()?;
/// let remote = io.remote()?;
/// drop(io);
/// let refused = remote.run(|_, _| ()).unwrap_err();
/// assert_eq!(refused.error.kind(), ErrorKind::LoopGone);
/// assert_eq!(refused.to_string(), "remote: the loop was dropped");
/// let closure = refused.value;
/// # let _: Box<dyn FnOnce(&mut (), &EventLoop)> = Box::new(closure);
/// # Ok::<(), nbio::Error>(())
/// ```
pub struct Refused<T> {
    /// Why.
    pub error: Error,
    /// What was to be given: the closure, or operation and callback, or the detached handle.
    pub value: T,
}

impl<T> Refused<T> {
    fn map<U>(self, of: impl FnOnce(T) -> U) -> Refused<U> {
        Refused { error: self.error, value: of(self.value) }
    }
}

/// Shows the error; a closure has nothing to show.
impl<T> fmt::Debug for Refused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for Refused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T> std::error::Error for Refused<T> {}

impl<T> From<Refused<T>> for Error {
    fn from(refused: Refused<T>) -> Error {
        refused.error
    }
}
