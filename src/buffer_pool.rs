//! Buffers that receives pick from.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::engine::pooled::{Lease, Pool};
use crate::{IoBuf, Stream};

/// Buffers of one size that the receives of one loop pick from: made by
/// [`EventLoop::buffer_pool`](crate::EventLoop::buffer_pool), used by [`op::RecvMany`](crate::op::RecvMany).
///
/// However many connections wait for something to receive, they need memory only for what has come. With io_uring from
/// Linux 6.0 on the kernel picks the buffers, from a ring that it shares with the pool; elsewhere it is plain memory.
///
/// A received buffer ([`PooledBuf`]) returns to its pool when it is dropped. As long as none is left, receives pause: what
/// peers send waits with the system, and no connection ends for it.
///
/// A clone is the same pool. It may be looked at from any thread. Its memory, `count` times `size` bytes, is given back when
/// the last clone, received buffer and receive are gone and the loop makes another pool, or ends.
///
/// ```
/// use nbio::EventLoop;
/// let io = EventLoop::<()>::new()?;
/// let pool = io.buffer_pool(64, 4096)?;
/// assert_eq!((pool.buffers(), pool.buffer_size(), pool.bytes_in_flight()), (64, 4096, 0));
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Clone)]
pub struct BufferPool(pub(crate) Arc<Pool>);

impl BufferPool {
    /// How many buffers there are.
    pub fn buffers(&self) -> usize {
        self.0.count()
    }

    /// How many bytes each buffer has.
    pub fn buffer_size(&self) -> usize {
        self.0.size()
    }

    /// How many buffers were received and not dropped yet.
    pub fn buffers_in_flight(&self) -> usize {
        self.0.lent().0
    }

    /// How many bytes there are in them.
    pub fn bytes_in_flight(&self) -> usize {
        self.0.lent().1
    }

    /// As [`bytes_in_flight`](BufferPool::bytes_in_flight), of what came from one stream; it looks at every buffer. 0 for a
    /// stream that is none of this loop's, or was closed.
    pub fn bytes_in_flight_from(&self, stream: impl Stream) -> usize {
        self.0.lent_from(stream.id())
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (buffers, bytes) = self.0.lent();
        f.debug_struct("BufferPool")
            .field("buffers", &self.buffers())
            .field("buffer_size", &self.buffer_size())
            .field("buffers_in_flight", &buffers)
            .field("bytes_in_flight", &bytes)
            .finish()
    }
}

/// Bytes that were received into a buffer of a [`BufferPool`], to which the buffer returns when this is dropped, on whatever
/// thread.
///
/// It is a buffer to send, too, so that what came goes on without a copy.
///
/// ```
/// # use nbio::{EventLoop, PooledBuf, TcpStream};
/// fn echo(io: &EventLoop, stream: TcpStream, bytes: PooledBuf) {
///     io.send_all(stream, bytes, |_, _, sent| drop(sent.buf));
/// }
/// ```
pub struct PooledBuf(pub(crate) Lease);

impl Deref for PooledBuf {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.0.bytes()
    }
}

impl DerefMut for PooledBuf {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        self.0.bytes_mut()
    }
}

impl AsRef<[u8]> for PooledBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl IoBuf for PooledBuf {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for PooledBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PooledBuf").field(&&**self).finish()
    }
}
