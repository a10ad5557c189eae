//! Receiving one buffer after the other.

use std::ptr::NonNull;
use std::sync::Arc;

use super::{Kind, ManyOperation, Options};
use crate::engine::Core;
use crate::engine::op::{Describe, End, Op, Request, Target};
use crate::handle::Id;
use crate::{BufferPool, PooledBuf, Stream};

/// Receives whatever comes, each time into a buffer from a pool, until the end of the stream.
///
/// Each item is a [`PooledBuf`] with at least one byte, in the order of the stream; how the bytes are cut is the system's
/// matter. The end is `Ok` when the peer sends no more. With io_uring it is one submission for all of them, from Linux 6.0 on,
/// and the kernel picks the buffers; elsewhere each is received when the callback for the one before has returned, with
/// the same results. A reader that waits has no buffer. (Windows: it waits in a `WSARecv` of no bytes, and another follows.)
///
/// When the pool has no buffer left the receiving pauses, and goes on when one is dropped. What peers send meanwhile waits
/// with the system, which tells them to wait when it has no more room. If all are kept for good it never goes on; so pools
/// with more buffers than a program keeps at a time.
///
/// It takes its turn among the receives on its stream and keeps it until its end. After a cancel, a deadline, or the
/// stream's close, items may follow: what had been received by then. If it is *removed* and something had come that it didn't
/// bring, that is lost, and every later receive on the stream fails with [`Broken`](crate::ErrorKind::Broken).
/// A stream of items ([`task::items`](crate::task::items)) that is dropped leaves what nobody has taken to the next receive.
///
/// # Errors
/// As [`Recv`](super::Recv), with [`WrongLoop`](crate::ErrorKind::WrongLoop) also for a pool of another loop;
/// [`Unsupported`](crate::ErrorKind::Unsupported) on pipes.
///
/// ```
/// # use std::io::Write;
/// use nbio::{Event, EventLoop, op};
/// let io = EventLoop::new()?;
/// let pool = io.buffer_pool(16, 1024)?;
/// # let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
/// # let mut peer = std::net::TcpStream::connect(server.local_addr().unwrap()).unwrap();
/// # peer.write_all(b"hello").unwrap();
/// # drop(peer);
/// let stream = io.adopt::<nbio::TcpStream>(server.accept().unwrap().0)?;
/// let mut received = Vec::new();
/// io.submit_many(op::RecvMany::new(stream, &pool), move |_, _, event| match event {
///     Event::Item(bytes) => received.extend_from_slice(&bytes),
///     Event::End(result) => assert_eq!((&received[..], result), (&b"hello"[..], Ok(()))),
/// });
/// io.run()?;
/// assert_eq!(pool.bytes_in_flight(), 0);
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct RecvMany {
    stream: Id,
    pool: BufferPool,
    options: Options,
}

impl RecvMany {
    /// Receives on `stream` into buffers of `pool`.
    pub fn new(stream: impl Stream, pool: &BufferPool) -> RecvMany {
        RecvMany { stream: stream.id(), pool: pool.clone(), options: Options::default() }
    }
}

impl Describe for RecvMany {
    type Parts = BufferPool;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (BufferPool, Request) {
        let pool = NonNull::new(Arc::as_ptr(&self.pool.0).cast_mut()).expect("an Arc's value is somewhere");
        let op = Op::RecvMany { pool, taken: None, held: false };
        (self.pool, Request::new(Kind::RecvMany, Target::Handle(self.stream), op, self.options))
    }
}

impl ManyOperation for RecvMany {
    type Item = PooledBuf;

    #[inline]
    fn item(end: &mut End) -> PooledBuf {
        PooledBuf(end.lease.take().expect("an item has its bytes"))
    }

    fn join(_: &mut PooledBuf, later: PooledBuf) -> Option<PooledBuf> {
        Some(later)
    }

    fn origin(&self) -> Option<Id> {
        Some(self.stream)
    }

    fn untaken(bytes: PooledBuf, origin: Option<Id>, core: &Core) {
        if let Some(stream) = origin {
            core.leave_received(stream, &bytes);
        }
    }
}
