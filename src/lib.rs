//! nbio is a completion-based I/O event loop: small, fast, predictable and safe.
//!
//! You say what is to be done (accept, receive into this buffer, send that one) and give a callback; the loop does
//! it and calls back when it is done. It runs on io_uring, on epoll where that is forbidden, on kqueue and, not finished
//! yet, on Windows's completion ports (PLATFORMS.md in the repository says what runs where, and how that was tested).
//!
//! ```no_run
//! use nbio::{Accepted, Done, Error, EventLoop, TcpListener, TcpStream};
//!
//! fn main() -> Result<(), nbio::Error> {
//!     let io = EventLoop::new()?;
//!     let listener = io.listen_tcp(([127, 0, 0, 1], 8080))?;
//!     io.accept(listener, move |_, io, accepted| on_accept(io, listener, accepted));
//!     io.run()
//! }
//!
//! fn on_accept(io: &EventLoop, listener: TcpListener, accepted: Result<Accepted, Error>) {
//!     io.accept(listener, move |_, io, accepted| on_accept(io, listener, accepted));
//!     if let Ok(Accepted { stream, .. }) = accepted {
//!         io.recv(stream, [0; 50], move |_, io, done| on_receive(io, stream, done));
//!     }
//! }
//!
//! fn on_receive(io: &EventLoop, stream: TcpStream, done: Done<[u8; 50]>) {
//!     if done.result.is_err() || done.bytes == 0 {
//!         return io.close(stream);
//!     }
//!     io.send_all(stream, done.filled(), move |_, io, sent| {
//!         io.recv(stream, sent.buf.into_inner(), move |_, io, done| on_receive(io, stream, done));
//!     });
//! }
//! ```
//!
//! Start at [`EventLoop`], which reads like a header file; [`op`] has every operation with its options and errors; [`task`] is
//! all of it with async/await, on the same loop.
//!
//! # Guarantees
//!
//! 1. **A callback never runs inside the call that submits its operation**, but in a later tick, on the loop's own
//!    thread. Submitting never fails: a stale handle, bad input, a refused connection all arrive by callback.
//! 2. **Every operation ends exactly once.** Operations that move bytes end with [`Done`]: `bytes` is always true,
//!    `result` says why it ended, and the buffer always comes back. Only [`remove`](EventLoop::remove) and the loop's
//!    end finish one without its callback. A [`ManyOperation`] brings any number of items and then one end.
//! 3. **Cancelling and deadlines are requests, and lose nothing.** `Cancelled` or `TimedOut` (whichever was asked first)
//!    with 10 bytes is normal. An operation that did what was asked ends `Ok`, even if it was cancelled or late. One
//!    that lends memory to the system calls back when the system lets go of it, maybe after its deadline; one that
//!    lends none (connect, close) calls back at once. A closure that runs on the thread pool can't be stopped, and calls
//!    back when it is over.
//! 4. **[`remove`](EventLoop::remove) is silent**: the callback is dropped unrun, the buffer lives until the system is
//!    done with it, a connection that would have come of it is closed. If bytes had moved, the stream is
//!    [`Broken`](ErrorKind::Broken) in that direction, rather than silently short of them. **A dropped future** is no
//!    remove: what has come for it, or still comes, is had by the next receive or accept on that handle.
//! 5. **No memory is handed back while the system may touch it.** Dropping the loop waits at most one second; what the
//!    system has even then is leaked, never freed.
//! 6. **A handle names one open thing on one loop.** [`close`](EventLoop::close) makes it stale at once; the descriptor is
//!    closed when its last operation has ended. A stale or foreign handle is a clear error, never another's connection.
//! 7. **Order.** On a stream, receives take their turns in the order in which they were submitted, and so do sends; so do
//!    the callbacks of those whose turn came. If a send ends after moving only part of its bytes, the sends waiting
//!    behind it end `Cancelled` with 0 bytes. Accepts, datagrams and opposite directions have no order.
//! 8. **The same on every backend**: error kinds, end of stream, reset, half-close, totals of `all` and `exact`. Not the
//!    sizes of chunks, nor timing.
//! 9. **Fair and bounded.** A tick runs what other threads gave ([`Remote`]), then the completions that were there when it
//!    began, then the timers that were due then, then the tasks that were woken, then submits and waits. What is submitted in a tick runs in a later
//!    one. Each stage has a budget; with leftovers the tick doesn't wait. No wake-up by another thread is lost.
//! 10. **Time** is monotonic. Timers are never early; a relative deadline counts from a fresh clock read when it is
//!     submitted; equal deadlines fire in submission order; a deadline covers the whole operation, not each chunk.
//! 11. **Safe.** No public function is `unsafe`. Leaks, panics, re-entrancy, swapped loops can't cause undefined behaviour.
//!     A panicking callback counts as run, and the panic reaches the caller of `tick`; the others run in the next tick.
//! 12. **No heap allocation per operation** once the loop is warm. Those on paths, on the thread pool and of several steps
//!     ([`op::SendFile`], [`op::Splice`], [`op::CopyFile`]) may make a few.
//!
//! # Features
//!
//! - `bytes`: `Bytes` and `BytesMut` of the `bytes` crate as buffers.
//! - `futures-io`, `tokio`, `hyper`: their traits for [`task::Io`]; of the first two also for [`task::FileIo`]; and hyper's
//!   executor and timer.
//! - `futures-core`: `Stream` for [`task::Incoming`] and [`task::Items`].

mod backend;
mod buf;
mod buffer_pool;
mod builder;
mod engine;
mod error;
mod event_loop;
mod handle;
mod local;
mod moving;
pub mod op;
mod options;
mod remote;
mod report;
mod simulation;
pub mod task;
mod time;
mod udp;

/// Lets things go wrong in the kqueues that this thread's loops make from now on, by this seed. For nbio's own tests.
#[cfg(feature = "unstable-simulated-kqueue")]
#[doc(hidden)]
pub use backend::set_faults as set_kqueue_faults;
pub use backend::{AsDescriptor, OwnedDescriptor, RawDescriptor};
pub use buf::{AlignedBuf, Buffers, IoBuf, IoBufMut, Lent, Slice};
pub use buffer_pool::{BufferPool, PooledBuf};
pub use builder::{Backend, Builder};
pub use error::{Error, ErrorKind};
pub use event_loop::EventLoop;
pub use handle::{
    Connection, DatagramSocket, File, Handle, Listener, OpId, Pipe, Stream, TcpListener, TcpStream,
    UdpSocket, UnixConnection, UnixDatagram, UnixEnd, UnixListener, UnixSeqpacket, UnixSeqpacketListener,
    UnixSocket, UnixStream,
};
pub use local::{Credentials, UnixAddress};
pub use moving::{Detached, Rejected};
pub use op::{
    Accepted, CopiedFile, Datagram, DirEntry, Done, Event, FileType, Half, ManyOperation, Metadata,
    Operation, Record, SentFile, Spliced,
};
pub use options::{Keepalive, Linger, ListenOptions, TcpOptions, UnixListenOptions};
pub use remote::{KeepAlive, Refused, Remote, WhenFull};
pub use report::{Report, Support};
pub use simulation::{DatagramFaults, DiskFaults, Simulation};
pub use task::{block_on, spawn};
pub use time::Instant;
pub use udp::{Ecn, Interface, Multicast, PacketInfo, RecvControl, Segments, SendControl, UdpOptions};
