//! async/await on the loop: tasks, time, and types that own what they name.
//!
//! Every operation can be awaited as it is, on any handle: `op::Recv::new(stream, buf).await` is submitted to the loop that is
//! running on this thread, and gives what the operation's callback would be given. Callbacks and tasks can be mixed at will: a
//! callback may wake a task, a task may [`submit`] an operation with a callback. Nothing here is `Send` but wakers, which
//! work from every thread, and after the loop is gone.
//!
//! A tick polls the tasks that were woken, after the callbacks and the timers; one that wakes itself is polled again in the
//! next tick. What a task awaits ends in a later tick than the one in which it was begun, so a task that only awaits
//! operations can't keep the others from running; one that computes for long should [`yield_now`] now and then.
//!
//! ```
//! use nbio::task::{TcpListener, TcpStream, spawn};
//!
//! nbio::block_on(async {
//!     let listener = TcpListener::bind(([127, 0, 0, 1], 0))?;
//!     let address = listener.local_address()?;
//!     spawn(async move {
//!         let (stream, _) = listener.accept().await?;
//!         let (bytes, buf) = stream.recv(vec![0; 64]).await?;
//!         stream.send_all(buf).await.map(|_| bytes).map_err(nbio::Error::from)
//!     });
//!     let stream = TcpStream::connect(address).await?;
//!     stream.send_all("hello").await?;
//!     let (_, answer) = stream.recv_exact(vec![0; 5], 5).await?;
//!     assert_eq!(answer, b"hello");
//!     Ok::<(), nbio::Error>(())
//! })?;
//! # Ok::<(), nbio::Error>(())
//! ```
//!
//! # Channels
//!
//! Those of other crates work between tasks, and between tasks and other threads:
//!
//! ```
//! let (give, take) = async_channel::bounded(8);
//! let thread = std::thread::spawn(move || (1..=3).try_for_each(|number| give.send_blocking(number)));
//! let sum = nbio::block_on(async {
//!     let mut sum = 0;
//!     while let Ok(number) = take.recv().await {
//!         sum += number;
//!     }
//!     sum
//! })?;
//! assert_eq!(sum, 6);
//! # thread.join().unwrap().unwrap();
//! # Ok::<(), nbio::Error>(())
//! ```

mod ahead;
mod buffered;
mod cancel;
mod file;
mod file_io;
mod future;
#[cfg(feature = "hyper")]
mod hyper;
mod io;
mod items;
mod join;
mod net;
mod owned;
mod split;
mod time;

use crate::engine::erased::{self, Context};
use crate::op::Operation;
use crate::{Error, EventLoop, OpId};

pub use buffered::{BufReader, BufWriter};
pub use cancel::{CancelToken, Cancelled};
pub use file_io::FileIo;
pub use future::OpFuture;
#[cfg(feature = "hyper")]
pub use hyper::Hyper;
pub use io::Io;
pub use items::{Items, items};
pub use join::{JoinError, JoinHandle, block_on, spawn};
pub use owned::Owned;
pub use split::{
    Connected, Incoming, OwnedReadHalf, OwnedWriteHalf, ReadHalf, Sink, Source, Strangers, WriteHalf, copy,
};
pub use time::{Interval, MissedTicks, YieldNow, interval, now, sleep, sleep_until, timeout, yield_now};

/// A TCP listener that closes on drop.
pub type TcpListener = Owned<crate::TcpListener>;
/// A TCP connection that closes on drop.
pub type TcpStream = Owned<crate::TcpStream>;
/// A UDP socket that closes on drop.
pub type UdpSocket = Owned<crate::UdpSocket>;
/// A Unix listener that closes on drop.
pub type UnixListener = Owned<crate::UnixListener>;
/// A Unix connection that closes on drop.
pub type UnixStream = Owned<crate::UnixStream>;
/// A Unix datagram socket that closes on drop.
pub type UnixDatagram = Owned<crate::UnixDatagram>;
/// A Unix listener for connections of records that closes on drop.
pub type UnixSeqpacketListener = Owned<crate::UnixSeqpacketListener>;
/// A Unix connection of records that closes on drop.
pub type UnixSeqpacket = Owned<crate::UnixSeqpacket>;
/// A file that closes on drop.
pub type File = Owned<crate::File>;
/// An end of a pipe that closes on drop.
pub type Pipe = Owned<crate::Pipe>;
/// A timer that can be [`reset`](OpFuture::reset); dropped, it is gone.
pub type Timer = OpFuture<crate::op::Timer>;

/// Submits an operation with a callback, as [`EventLoop::submit`] does, to the loop that is running on this thread. The
/// callback is given the operation's end only: a task doesn't know the type of the loop's state.
///
/// # Errors
/// [`NoLoop`](crate::ErrorKind::NoLoop); operation and callback are dropped.
///
/// ```
/// use std::{cell::Cell, rc::Rc, time::Duration};
/// let rung = Rc::new(Cell::new(false));
/// let bell = rung.clone();
/// nbio::block_on(async {
///     nbio::task::submit(nbio::op::NextTick::new(), move |_| bell.set(true))?;
///     nbio::task::sleep(Duration::from_millis(1)).await
/// })??;
/// assert!(rung.get());
/// # Ok::<(), nbio::Error>(())
/// ```
pub fn submit<O, F>(operation: O, callback: F) -> Result<OpId, Error>
where
    O: Operation,
    F: FnOnce(O::Output) + 'static,
{
    let core = future::current(crate::op::Kind::Spawn)?;
    Ok(erased::submit_bare(&core, operation, callback))
}

/// Tasks.
impl EventLoop<()> {
    /// Runs the loop until a future has its result. Tasks that have not ended by then stay, and go on whenever the loop is
    /// turned. [`stop`](EventLoop::stop) doesn't end it.
    ///
    /// # Errors
    /// [`Reentrant`](crate::ErrorKind::Reentrant) inside a callback or task of this loop; what
    /// [`remote`](EventLoop::remote) says, the first time; what the system says when waiting fails for good. A panic of the
    /// future, of a callback, or of a task whose handle was dropped comes out of this call.
    ///
    /// ```
    /// let io = nbio::EventLoop::new()?;
    /// let listener = io.listen_tcp(([127, 0, 0, 1], 0))?;
    /// // The future may borrow.
    /// let address = io.block_on(async { io.local_address(listener) })??;
    /// assert_ne!(address.port(), 0);
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn block_on<F: Future>(&self, future: F) -> Result<F::Output, Error> {
        self.block_on_with(&mut (), future)
    }
}

/// Tasks, with shared state.
impl<S> EventLoop<S> {
    /// [`block_on`](EventLoop::block_on), lending `state` to the callbacks that run meanwhile.
    ///
    /// # Errors
    /// As [`block_on`](EventLoop::block_on).
    pub fn block_on_with<F: Future>(&self, state: &mut S, future: F) -> Result<F::Output, Error> {
        self.core().block_on(Context::new(state, self), future)
    }

    /// A new task: a future that the loop polls, first when the tick comes to its tasks, and then whenever it was woken. It
    /// keeps [`run`](EventLoop::run) going until it ends, and is dropped with the loop.
    ///
    /// It needn't be `Send`, as it never leaves this thread. A panic is carried to whoever awaits the handle; if that was
    /// dropped, it comes out of `run`, `tick` or `block_on`. One allocation.
    ///
    /// ```
    /// let io = nbio::EventLoop::new()?;
    /// let task = io.spawn(async { 6 * 7 });
    /// // A loop can be turned by hand, with tasks on it.
    /// io.tick(None)?;
    /// assert!(task.is_finished());
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn spawn<F: Future + 'static>(&self, future: F) -> JoinHandle<F::Output> {
        JoinHandle::new(self.core().spawn(future).map(|task| task as _))
    }
}
