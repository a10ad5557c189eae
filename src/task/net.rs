//! Connections, listeners and datagram sockets that close on drop.

use std::net::SocketAddr;
use std::path::Path;

use super::future::current;
use super::{Incoming, OpFuture, Owned, Pipe, TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener};
use super::{UnixSeqpacket, UnixSeqpacketListener, UnixStream};
use crate::backend::Standard;
use crate::handle::sealed::Handle as _;
use crate::handle::{
    Connection, DatagramSocket, Handle, Listener, Stream, UnixConnection, UnixEnd, UnixSocket,
};
use crate::op::{self, Half, Kind};
use crate::{
    Buffers, Credentials, Error, IoBuf, IoBufMut, ListenOptions, Multicast, TcpOptions, UdpOptions,
    UnixAddress,
};

/// Streams: bytes in order.
impl<H: Stream> Owned<H> {
    /// Receives what comes next: [`op::Recv`]. `Ok` with 0 bytes is the end of the stream.
    pub fn recv<B: IoBufMut>(&self, buf: B) -> OpFuture<op::Recv<B>> {
        OpFuture::new(op::Recv::new(self.handle(), buf))
    }

    /// Receives exactly so many bytes: [`op::Recv::exact`].
    pub fn recv_exact<B: IoBufMut>(&self, buf: B, bytes: usize) -> OpFuture<op::Recv<B>> {
        OpFuture::new(op::Recv::new(self.handle(), buf).exact(bytes))
    }

    /// Receives behind what the buffer holds: [`op::Recv::append`].
    pub fn recv_append<B: IoBufMut>(&self, buf: B) -> OpFuture<op::Recv<B>> {
        OpFuture::new(op::Recv::new(self.handle(), buf).append())
    }

    /// Receives into several buffers: [`op::RecvVectored`].
    pub fn recv_vectored<V: Buffers<Buf: IoBufMut>>(&self, bufs: V) -> OpFuture<op::RecvVectored<V>> {
        OpFuture::new(op::RecvVectored::new(self.handle(), bufs))
    }

    /// Sends some of a buffer: [`op::Send`].
    pub fn send<B: IoBuf>(&self, buf: B) -> OpFuture<op::Send<B>> {
        OpFuture::new(op::Send::new(self.handle(), buf))
    }

    /// Sends the whole of a buffer: [`op::Send::all`].
    pub fn send_all<B: IoBuf>(&self, buf: B) -> OpFuture<op::Send<B>> {
        OpFuture::new(op::Send::new(self.handle(), buf).all())
    }

    /// Sends the whole of several buffers: [`op::SendVectored::all`].
    pub fn send_vectored<V: Buffers>(&self, bufs: V) -> OpFuture<op::SendVectored<V>> {
        OpFuture::new(op::SendVectored::new(self.handle(), bufs).all())
    }

    /// Sends a file: [`op::SendFile`].
    pub fn send_file(&self, file: &super::File) -> OpFuture<op::SendFile> {
        OpFuture::new(op::SendFile::new(file.handle(), self.handle()))
    }
}

/// Connections.
impl<H: Connection> Owned<H> {
    /// Ends a half of the connection: [`op::Shutdown`].
    pub fn shutdown(&self, half: Half) -> OpFuture<op::Shutdown> {
        OpFuture::new(op::Shutdown::new(self.handle(), half))
    }
}

/// Listeners.
impl<L: Listener> Owned<L> {
    /// Waits for a connection: [`op::Accept`]. Dropped before its end, it leaves a connection that has come to the next
    /// accept.
    ///
    /// # Errors
    /// As [`op::Accept`].
    pub async fn accept(&self) -> Result<(Owned<L::Stream>, L::Address), Error> {
        let accepted = op::Accept::new(self.handle()).await?;
        Ok((Owned::on(self.core(), accepted.stream), accepted.peer))
    }

    /// All connections, one after the other.
    pub fn incoming(&self) -> Incoming<'_, L> {
        Incoming::new(self)
    }
}

impl TcpListener {
    /// As [`EventLoop::listen_tcp`](crate::EventLoop::listen_tcp), on the loop that is running on this thread.
    ///
    /// # Errors
    /// As there; [`NoLoop`](crate::ErrorKind::NoLoop).
    pub fn bind(address: impl Into<SocketAddr>) -> Result<TcpListener, Error> {
        TcpListener::bind_with(address, &ListenOptions::default())
    }

    /// As [`bind`](TcpListener::bind), with options.
    ///
    /// # Errors
    /// As there; [`InvalidInput`](crate::ErrorKind::InvalidInput) for an option out of its range.
    pub fn bind_with(address: impl Into<SocketAddr>, options: &ListenOptions) -> Result<TcpListener, Error> {
        Owned::make(Kind::Listen, |core| core.listen(address.into(), options))
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// As [`EventLoop::local_address`](crate::EventLoop::local_address).
    pub fn local_address(&self) -> Result<SocketAddr, Error> {
        self.core().local_address(self.handle().id())
    }
}

impl TcpStream {
    /// Connects: [`op::Connect`].
    ///
    /// # Errors
    /// As there.
    pub async fn connect(to: impl Into<SocketAddr>) -> Result<TcpStream, Error> {
        TcpStream::connect_with(op::Connect::new(to)).await
    }

    /// Connects as the operation says.
    ///
    /// # Errors
    /// As [`op::Connect`].
    pub async fn connect_with(connect: op::Connect) -> Result<TcpStream, Error> {
        let core = current(Kind::Connect)?;
        connect.await.map(|handle| Owned::on(&core, handle))
    }

    /// The address at this end.
    ///
    /// # Errors
    /// As [`EventLoop::local_address`](crate::EventLoop::local_address).
    pub fn local_address(&self) -> Result<SocketAddr, Error> {
        self.core().local_address(self.handle().id())
    }

    /// The address at the other end.
    ///
    /// # Errors
    /// As [`EventLoop::peer_address`](crate::EventLoop::peer_address).
    pub fn peer_address(&self) -> Result<SocketAddr, Error> {
        self.core().peer_address(self.handle().id())
    }

    /// Sets options.
    ///
    /// # Errors
    /// As [`EventLoop::set_tcp_options`](crate::EventLoop::set_tcp_options).
    pub fn set_options(&self, options: &TcpOptions) -> Result<(), Error> {
        self.core().set_tcp_options(self.handle().id(), options)
    }

    /// All options.
    ///
    /// # Errors
    /// As [`EventLoop::tcp_options`](crate::EventLoop::tcp_options).
    pub fn options(&self) -> Result<TcpOptions, Error> {
        self.core().tcp_options(self.handle().id())
    }
}

/// Datagram sockets.
impl<H: DatagramSocket> Owned<H> {
    /// Receives a datagram, and where it came from: [`op::RecvFrom`].
    pub fn recv_from<B: IoBufMut>(&self, buf: B) -> OpFuture<op::RecvFrom<B, H>> {
        OpFuture::new(op::RecvFrom::new(self.handle(), buf))
    }

    /// Sends a datagram to an address: [`op::SendTo`].
    pub fn send_to<B: IoBuf>(&self, buf: B, to: impl Into<H::Address>) -> OpFuture<op::SendTo<B, H>> {
        OpFuture::new(op::SendTo::new(self.handle(), buf, to))
    }

    /// Sends a datagram to whom the socket is connected to: [`op::SendDatagram`].
    pub fn send_datagram<B: IoBuf>(&self, buf: B) -> OpFuture<op::SendDatagram<B, H>> {
        OpFuture::new(op::SendDatagram::new(self.handle(), buf))
    }
}

impl UdpSocket {
    /// As [`EventLoop::bind_udp`](crate::EventLoop::bind_udp), on the loop that is running on this thread.
    ///
    /// # Errors
    /// As there; [`NoLoop`](crate::ErrorKind::NoLoop).
    pub fn bind(address: impl Into<SocketAddr>) -> Result<UdpSocket, Error> {
        UdpSocket::bind_with(address, &UdpOptions::default())
    }

    /// As [`bind`](UdpSocket::bind), with options.
    ///
    /// # Errors
    /// As [`EventLoop::bind_udp_with`](crate::EventLoop::bind_udp_with); [`NoLoop`](crate::ErrorKind::NoLoop).
    pub fn bind_with(address: impl Into<SocketAddr>, options: &UdpOptions) -> Result<UdpSocket, Error> {
        Owned::make(Kind::BindUdp, |core| core.bind_udp(address.into(), options))
    }

    /// As [`EventLoop::connect_udp`](crate::EventLoop::connect_udp).
    ///
    /// # Errors
    /// As there.
    pub fn connect(&self, to: impl Into<SocketAddr>) -> Result<(), Error> {
        self.core().connect_udp(self.handle().id(), to.into())
    }

    /// As [`EventLoop::disconnect_udp`](crate::EventLoop::disconnect_udp).
    ///
    /// # Errors
    /// As there.
    pub fn disconnect(&self) -> Result<(), Error> {
        self.core().disconnect_udp(self.handle().id())
    }

    /// The address that it is bound to.
    ///
    /// # Errors
    /// As [`EventLoop::local_address`](crate::EventLoop::local_address).
    pub fn local_address(&self) -> Result<SocketAddr, Error> {
        self.core().local_address(self.handle().id())
    }

    /// As [`EventLoop::set_udp_options`](crate::EventLoop::set_udp_options).
    ///
    /// # Errors
    /// As there.
    pub fn set_options(&self, options: &UdpOptions) -> Result<(), Error> {
        self.core().set_udp_options(self.handle().id(), options)
    }

    /// As [`EventLoop::join_multicast`](crate::EventLoop::join_multicast).
    ///
    /// # Errors
    /// As there.
    pub fn join_multicast(&self, group: &Multicast) -> Result<(), Error> {
        self.core().join_multicast(self.handle().id(), group)
    }

    /// As [`EventLoop::leave_multicast`](crate::EventLoop::leave_multicast).
    ///
    /// # Errors
    /// As there.
    pub fn leave_multicast(&self, group: &Multicast) -> Result<(), Error> {
        self.core().leave_multicast(self.handle().id(), group)
    }
}

/// Unix sockets.
impl<H: UnixSocket> Owned<H> {
    /// As [`EventLoop::unix_local_address`](crate::EventLoop::unix_local_address).
    ///
    /// # Errors
    /// As there.
    pub fn unix_local_address(&self) -> Result<UnixAddress, Error> {
        self.core().unix_address(self.handle().id(), Kind::LocalAddress)
    }
}

/// Connected Unix sockets.
impl<H: UnixEnd> Owned<H> {
    /// As [`EventLoop::unix_peer_address`](crate::EventLoop::unix_peer_address).
    ///
    /// # Errors
    /// As there.
    pub fn unix_peer_address(&self) -> Result<UnixAddress, Error> {
        self.core().unix_address(self.handle().id(), Kind::PeerAddress)
    }
}

/// Unix connections.
impl<H: UnixConnection> Owned<H> {
    /// As [`EventLoop::peer_credentials`](crate::EventLoop::peer_credentials).
    ///
    /// # Errors
    /// As there.
    pub fn peer_credentials(&self) -> Result<Credentials, Error> {
        self.core().peer_credentials(self.handle().id())
    }
}

/// Two of a kind, made by one call.
fn pair<H: Handle>(
    kind: Kind,
    call: impl FnOnce(&crate::engine::Core) -> Result<[crate::handle::NewId; 2], Error>,
) -> Result<(Owned<H>, Owned<H>), Error> {
    let core = current(kind)?;
    let [one, other] = call(&core)?;
    Ok((Owned::on(&core, H::from_id(one)), Owned::on(&core, H::from_id(other))))
}

impl UnixListener {
    /// As [`EventLoop::listen_unix`](crate::EventLoop::listen_unix), on the loop that is running on this thread.
    ///
    /// # Errors
    /// As there; [`NoLoop`](crate::ErrorKind::NoLoop).
    pub fn bind(address: impl Into<UnixAddress>) -> Result<UnixListener, Error> {
        Owned::make(Kind::ListenUnix, |core| {
            core.listen_local(&address.into(), &crate::UnixListenOptions::default(), Kind::ListenUnix)
        })
    }
}

impl UnixStream {
    /// Connects: [`op::ConnectUnix`].
    ///
    /// # Errors
    /// As there.
    pub async fn connect(to: impl Into<UnixAddress>) -> Result<UnixStream, Error> {
        let core = current(Kind::ConnectUnix)?;
        op::ConnectUnix::new(to).await.map(|handle| Owned::on(&core, handle))
    }

    /// As [`EventLoop::unix_pair`](crate::EventLoop::unix_pair).
    ///
    /// # Errors
    /// As there; [`NoLoop`](crate::ErrorKind::NoLoop).
    pub fn pair() -> Result<(UnixStream, UnixStream), Error> {
        pair(Kind::UnixPair, |core| core.local_pair(Kind::UnixPair))
    }
}

impl UnixDatagram {
    /// As [`EventLoop::bind_unix_datagram`](crate::EventLoop::bind_unix_datagram).
    ///
    /// # Errors
    /// As there; [`NoLoop`](crate::ErrorKind::NoLoop).
    pub fn bind(address: impl Into<UnixAddress>) -> Result<UnixDatagram, Error> {
        Owned::make(Kind::BindUnixDatagram, |core| core.bind_local_datagram(&address.into()))
    }

    /// As [`EventLoop::connect_unix_datagram`](crate::EventLoop::connect_unix_datagram).
    ///
    /// # Errors
    /// As there.
    pub fn connect(&self, to: impl Into<UnixAddress>) -> Result<(), Error> {
        self.core().connect_local_datagram(self.handle().id(), Some(&to.into()))
    }

    /// As [`EventLoop::unix_datagram_pair`](crate::EventLoop::unix_datagram_pair).
    ///
    /// # Errors
    /// As there; [`NoLoop`](crate::ErrorKind::NoLoop).
    pub fn pair() -> Result<(UnixDatagram, UnixDatagram), Error> {
        pair(Kind::UnixDatagramPair, |core| core.local_pair(Kind::UnixDatagramPair))
    }
}

impl UnixSeqpacketListener {
    /// As [`EventLoop::listen_unix_seqpacket`](crate::EventLoop::listen_unix_seqpacket).
    ///
    /// # Errors
    /// As there; [`NoLoop`](crate::ErrorKind::NoLoop).
    pub fn bind(address: impl Into<UnixAddress>) -> Result<UnixSeqpacketListener, Error> {
        let kind = Kind::ListenUnixSeqpacket;
        Owned::make(kind, |core| {
            core.listen_local(&address.into(), &crate::UnixListenOptions::default(), kind)
        })
    }
}

impl UnixSeqpacket {
    /// Connects: [`op::ConnectUnix::seqpacket`].
    ///
    /// # Errors
    /// As there.
    pub async fn connect(to: impl Into<UnixAddress>) -> Result<UnixSeqpacket, Error> {
        let core = current(Kind::ConnectUnix)?;
        op::ConnectUnix::seqpacket(to).await.map(|handle| Owned::on(&core, handle))
    }

    /// As [`EventLoop::unix_seqpacket_pair`](crate::EventLoop::unix_seqpacket_pair).
    ///
    /// # Errors
    /// As there; [`NoLoop`](crate::ErrorKind::NoLoop).
    pub fn pair() -> Result<(UnixSeqpacket, UnixSeqpacket), Error> {
        pair(Kind::UnixSeqpacketPair, |core| core.local_pair(Kind::UnixSeqpacketPair))
    }

    /// Receives a record: [`op::RecvRecord`].
    pub fn recv_record<B: IoBufMut>(&self, buf: B) -> OpFuture<op::RecvRecord<B>> {
        OpFuture::new(op::RecvRecord::new(self.handle(), buf))
    }

    /// Sends a record: [`op::SendRecord`].
    pub fn send_record<B: IoBuf>(&self, buf: B) -> OpFuture<op::SendRecord<B>> {
        OpFuture::new(op::SendRecord::new(self.handle(), buf))
    }
}

impl Pipe {
    /// As [`EventLoop::pipe`](crate::EventLoop::pipe): the end to read from, and the one to write to.
    ///
    /// # Errors
    /// As there; [`NoLoop`](crate::ErrorKind::NoLoop).
    pub fn new() -> Result<(Pipe, Pipe), Error> {
        pair(Kind::Pipe, |core| core.pipe())
    }

    /// Opens an end of a FIFO: [`op::OpenFifo`].
    ///
    /// # Errors
    /// As there.
    pub async fn open_fifo(path: impl AsRef<Path>, end: Half) -> Result<Pipe, Error> {
        let core = current(Kind::OpenFifo)?;
        op::OpenFifo::new(path, end).await.map(|handle| Owned::on(&core, handle))
    }

    /// Waits for a client of a named pipe of Windows: [`op::AcceptPipe`].
    ///
    /// # Errors
    /// As there.
    pub async fn accept(name: impl AsRef<Path>) -> Result<Pipe, Error> {
        let core = current(Kind::AcceptPipe)?;
        op::AcceptPipe::new(name).await.map(|handle| Owned::on(&core, handle))
    }

    /// As [`EventLoop::stdin`](crate::EventLoop::stdin).
    ///
    /// # Errors
    /// As there; [`NoLoop`](crate::ErrorKind::NoLoop).
    pub fn stdin() -> Result<Pipe, Error> {
        Owned::make(Kind::Standard, |core| core.standard(Standard::Input))
    }

    /// As [`EventLoop::stdout`](crate::EventLoop::stdout).
    ///
    /// # Errors
    /// As there; [`NoLoop`](crate::ErrorKind::NoLoop).
    pub fn stdout() -> Result<Pipe, Error> {
        Owned::make(Kind::Standard, |core| core.standard(Standard::Output))
    }

    /// As [`EventLoop::stderr`](crate::EventLoop::stderr).
    ///
    /// # Errors
    /// As there; [`NoLoop`](crate::ErrorKind::NoLoop).
    pub fn stderr() -> Result<Pipe, Error> {
        Owned::make(Kind::Standard, |core| core.standard(Standard::Error))
    }
}
