//! The front of the crate: connections.

use std::net::SocketAddr;
use std::time::Duration;

use super::EventLoop;
use crate::buf::Buffers;
use crate::handle::Handle;
use crate::handle::sealed::Handle as _;
use crate::op::{self, Accepted, Done, Event, Half, SentFile, Spliced};
use crate::{
    BufferPool, Connection, Error, File, IoBuf, IoBufMut, ListenOptions, Listener, OpId, PooledBuf, Stream,
    TcpListener, TcpOptions, TcpStream,
};

/// Connections.
impl<S> EventLoop<S> {
    /// Listens on an address, with the default [`ListenOptions`]. Port 0 lets the system choose one; see
    /// [`local_address`](EventLoop::local_address).
    ///
    /// # Errors
    /// [`AddrInUse`](crate::ErrorKind::AddrInUse), [`AddrNotAvailable`](crate::ErrorKind::AddrNotAvailable),
    /// [`PermissionDenied`](crate::ErrorKind::PermissionDenied) (a port below 1,024),
    /// [`TooManyDescriptors`](crate::ErrorKind::TooManyDescriptors),
    /// [`Unsupported`](crate::ErrorKind::Unsupported) (no IPv6 here); see bind(2), listen(2).
    pub fn listen_tcp(&self, address: impl Into<SocketAddr>) -> Result<TcpListener, Error> {
        self.listen_tcp_with(address, ListenOptions::default())
    }

    /// As [`listen_tcp`](EventLoop::listen_tcp), with options.
    ///
    /// # Errors
    /// As there; and [`InvalidInput`](crate::ErrorKind::InvalidInput) for an option out of its range.
    pub fn listen_tcp_with(
        &self,
        address: impl Into<SocketAddr>,
        options: ListenOptions,
    ) -> Result<TcpListener, Error> {
        self.core.listen(address.into(), &options).map(TcpListener::from_id)
    }

    /// Waits for a connection: [`op::Accept`].
    pub fn accept<L: Listener>(
        &self,
        listener: L,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Result<Accepted<L::Stream, L::Address>, Error>) + 'static,
    ) -> OpId {
        self.submit(op::Accept::new(listener), callback)
    }

    /// Accepts one connection after the other: [`op::AcceptMany`].
    pub fn accept_many<L: Listener>(
        &self,
        listener: L,
        callback: impl FnMut(&mut S, &EventLoop<S>, Event<L::Stream>) + 'static,
    ) -> OpId {
        self.submit_many(op::AcceptMany::new(listener), callback)
    }

    /// Connects to an address: [`op::Connect`].
    pub fn connect(
        &self,
        to: impl Into<SocketAddr>,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Result<TcpStream, Error>) + 'static,
    ) -> OpId {
        self.submit(op::Connect::new(to), callback)
    }

    /// Receives what comes next: [`op::Recv`].
    #[inline]
    pub fn recv<B: IoBufMut>(
        &self,
        stream: impl Stream,
        buf: B,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Done<B>) + 'static,
    ) -> OpId {
        self.submit(op::Recv::new(stream, buf), callback)
    }

    /// Makes a pool of `count` buffers of `size` bytes, from which receives of this loop pick ([`op::RecvMany`]).
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) unless there are 1 to 32,768 buffers of 1 byte to 1 GiB;
    /// [`OutOfMemory`](crate::ErrorKind::OutOfMemory), also for more than 65,536 pools; see
    /// `io_uring_register_buf_ring(3)`.
    pub fn buffer_pool(&self, count: usize, size: usize) -> Result<BufferPool, Error> {
        self.core.new_pool(count, size).map(BufferPool)
    }

    /// Receives one buffer after the other, each from the pool: [`op::RecvMany`].
    pub fn recv_many(
        &self,
        stream: impl Stream,
        pool: &BufferPool,
        callback: impl FnMut(&mut S, &EventLoop<S>, Event<PooledBuf>) + 'static,
    ) -> OpId {
        self.submit_many(op::RecvMany::new(stream, pool), callback)
    }

    /// Receives exactly `bytes` bytes: [`op::Recv::exact`].
    #[inline]
    pub fn recv_exact<B: IoBufMut>(
        &self,
        stream: impl Stream,
        buf: B,
        bytes: usize,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Done<B>) + 'static,
    ) -> OpId {
        self.submit(op::Recv::new(stream, buf).exact(bytes), callback)
    }

    /// Receives into several buffers: [`op::RecvVectored`].
    pub fn recv_vectored<V: Buffers<Buf: IoBufMut>>(
        &self,
        stream: impl Stream,
        bufs: V,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Done<V>) + 'static,
    ) -> OpId {
        self.submit(op::RecvVectored::new(stream, bufs), callback)
    }

    /// Sends some of a buffer: [`op::Send`].
    #[inline]
    pub fn send<B: IoBuf>(
        &self,
        stream: impl Stream,
        buf: B,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Done<B>) + 'static,
    ) -> OpId {
        self.submit(op::Send::new(stream, buf), callback)
    }

    /// Sends the whole of a buffer: [`op::Send::all`].
    #[inline]
    pub fn send_all<B: IoBuf>(
        &self,
        stream: impl Stream,
        buf: B,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Done<B>) + 'static,
    ) -> OpId {
        self.submit(op::Send::new(stream, buf).all(), callback)
    }

    /// Sends the whole of several buffers: [`op::SendVectored::all`].
    pub fn send_vectored<V: Buffers>(
        &self,
        stream: impl Stream,
        bufs: V,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Done<V>) + 'static,
    ) -> OpId {
        self.submit(op::SendVectored::new(stream, bufs).all(), callback)
    }

    /// Sends a file on a stream: [`op::SendFile`].
    pub fn send_file(
        &self,
        file: File,
        stream: impl Stream,
        callback: impl FnOnce(&mut S, &EventLoop<S>, SentFile) + 'static,
    ) -> OpId {
        self.submit(op::SendFile::new(file, stream), callback)
    }

    /// Sends on what comes from one stream to another: [`op::Splice`].
    pub fn splice(
        &self,
        from: impl Stream,
        to: impl Stream,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Spliced) + 'static,
    ) -> OpId {
        self.submit(op::Splice::new(from, to), callback)
    }

    /// Ends a half of a connection: [`op::Shutdown`].
    pub fn shutdown(
        &self,
        stream: impl Connection,
        half: Half,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Result<(), Error>) + 'static,
    ) -> OpId {
        self.submit(op::Shutdown::new(stream, half), callback)
    }

    /// Closes a handle: it is stale at once, its operations are cancelled, and the descriptor is closed when the last
    /// of them has ended. Unsent data is not flushed. A stale or foreign handle is left alone.
    pub fn close<H: Handle>(&self, handle: H) {
        self.core.close(handle.id());
    }

    /// As [`close`](EventLoop::close), and calls back when it is over: [`op::Close`].
    pub fn close_then<H: Handle>(
        &self,
        handle: H,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Result<(), Error>) + 'static,
    ) -> OpId {
        self.submit(op::Close::new(handle), callback)
    }

    /// Closes a stream without losing what was sent: the handle is stale at once and its receives are cancelled; then
    /// come the queued sends, the end of the sending half, the peer's own end (what it still sends is thrown away),
    /// and the close. `Ok` if all of it happened; after `limit` whatever is left is cut off and the result is
    /// [`TimedOut`](crate::ErrorKind::TimedOut).
    ///
    /// # Errors
    /// To the callback: [`TimedOut`](crate::ErrorKind::TimedOut),
    /// [`ConnectionReset`](crate::ErrorKind::ConnectionReset), [`Cancelled`](crate::ErrorKind::Cancelled) (a queued
    /// send was cut short), [`Broken`](crate::ErrorKind::Broken) (one was removed after part of it had gone out),
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle), [`WrongLoop`](crate::ErrorKind::WrongLoop).
    ///
    /// ```
    /// # use std::io::Read;
    /// # use std::time::Duration;
    /// let io = nbio::EventLoop::new()?;
    /// # let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    /// # let mut peer = std::net::TcpStream::connect(server.local_addr().unwrap()).unwrap();
    /// let stream = io.adopt::<nbio::TcpStream>(server.accept().unwrap().0)?;
    /// io.send_all(stream, "goodbye", |_, _, _| ());
    /// io.close_gracefully(stream, Duration::from_secs(5), |_, _, closed| assert!(closed.is_ok()));
    /// # let peer = std::thread::spawn(move || { let mut s = String::new(); peer.read_to_string(&mut s).map(|_| s) });
    /// io.run()?;
    /// # assert_eq!(peer.join().unwrap().unwrap(), "goodbye");
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn close_gracefully<H: Stream>(
        &self,
        stream: H,
        limit: Duration,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Result<(), Error>) + 'static,
    ) {
        let renamed = self.core.rename(stream.id()).map_or(stream, H::from_id);
        op::close_gracefully(self, renamed, limit, callback);
    }

    /// Sets options of an open stream or listener.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a value out of its range (those before it are set),
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle), [`WrongLoop`](crate::ErrorKind::WrongLoop); setsockopt(2).
    ///
    /// ```
    /// use nbio::TcpOptions;
    /// let io = nbio::EventLoop::<()>::new()?;
    /// let listener = io.listen_tcp(([127, 0, 0, 1], 0))?;
    /// io.set_tcp_options(listener, TcpOptions::default().nodelay(true))?;
    /// assert_eq!(io.tcp_options(listener)?.nodelay, Some(true));
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn set_tcp_options<H: Handle>(&self, handle: H, options: TcpOptions) -> Result<(), Error> {
        self.core.set_tcp_options(handle.id(), &options)
    }

    /// All options of an open stream or listener, as the system has them.
    ///
    /// # Errors
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle), [`WrongLoop`](crate::ErrorKind::WrongLoop); getsockopt(2).
    pub fn tcp_options<H: Handle>(&self, handle: H) -> Result<TcpOptions, Error> {
        self.core.tcp_options(handle.id())
    }

    /// The address at this end.
    ///
    /// # Errors
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle), [`WrongLoop`](crate::ErrorKind::WrongLoop); getsockname(2).
    pub fn local_address<H: Handle>(&self, handle: H) -> Result<SocketAddr, Error> {
        self.core.local_address(handle.id())
    }

    /// The address at the other end.
    ///
    /// # Errors
    /// [`NotConnected`](crate::ErrorKind::NotConnected) after a reset, [`StaleHandle`](crate::ErrorKind::StaleHandle),
    /// [`WrongLoop`](crate::ErrorKind::WrongLoop); getpeername(2).
    pub fn peer_address<H: Handle>(&self, handle: H) -> Result<SocketAddr, Error> {
        self.core.peer_address(handle.id())
    }
}
