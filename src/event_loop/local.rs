//! The front of the crate: Unix sockets.

use super::EventLoop;
use crate::handle::sealed::Handle as _;
use crate::handle::{UnixConnection, UnixEnd, UnixSocket};
use crate::local::Credentials;
use crate::op::{self, Done, Kind, Record};
use crate::{Error, IoBuf, IoBufMut, OpId};
use crate::{UnixAddress, UnixDatagram, UnixListenOptions, UnixListener};
use crate::{UnixSeqpacket, UnixSeqpacketListener, UnixStream};

/// Unix sockets.
impl<S> EventLoop<S> {
    /// Listens on a Unix socket: at a path, which makes a file there, or an abstract name. Up to 1,024 connections wait to be
    /// accepted.
    ///
    /// A path's file stays when the listener is closed, unless it was asked to
    /// [`unlink_on_close`](UnixListenOptions::unlink_on_close), and must not be there when one begins to listen
    /// ([`AddrInUse`](crate::ErrorKind::AddrInUse), whether or not anybody listens there): remove it before. Who may
    /// connect is decided by its permissions, which are those that the process's mask (umask(2)) leaves.
    ///
    /// # Errors
    /// [`AddrInUse`](crate::ErrorKind::AddrInUse), [`InvalidInput`](crate::ErrorKind::InvalidInput) (no address, longer
    /// than 107 bytes, a zero byte in a path), [`NotFound`](crate::ErrorKind::NotFound) and
    /// [`PermissionDenied`](crate::ErrorKind::PermissionDenied) (the path's directory),
    /// [`TooManyDescriptors`](crate::ErrorKind::TooManyDescriptors), [`Unsupported`](crate::ErrorKind::Unsupported) (in
    /// a simulation); see bind(2), unix(7).
    ///
    /// ```
    /// # let directory = std::env::temp_dir().join(format!("nbio-listen-{}", std::process::id()));
    /// # std::fs::create_dir(&directory).unwrap();
    /// # let path = directory.join("socket");
    /// let io = nbio::EventLoop::new()?;
    /// let listener = io.listen_unix(&path)?;
    /// let client = std::os::unix::net::UnixStream::connect(&path).unwrap();
    /// io.accept(listener, |_, io, accepted| {
    ///     let stream = accepted.unwrap().stream;
    ///     assert_eq!(io.peer_credentials(stream).unwrap().pid, std::process::id());
    /// });
    /// io.run()?;
    /// # std::fs::remove_dir_all(&directory).unwrap();
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn listen_unix(&self, address: impl Into<UnixAddress>) -> Result<UnixListener, Error> {
        self.listen_unix_with(address, UnixListenOptions::default())
    }

    /// As [`listen_unix`](EventLoop::listen_unix), with options. See [`UnixListenOptions`] for an example.
    ///
    /// # Errors
    /// As there.
    pub fn listen_unix_with(
        &self,
        address: impl Into<UnixAddress>,
        options: UnixListenOptions,
    ) -> Result<UnixListener, Error> {
        self.core.listen_local(&address.into(), &options, Kind::ListenUnix).map(UnixListener::from_id)
    }

    /// Connects to a listening Unix socket: [`op::ConnectUnix`].
    pub fn connect_unix(
        &self,
        to: impl Into<UnixAddress>,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Result<UnixStream, Error>) + 'static,
    ) -> OpId {
        self.submit(op::ConnectUnix::new(to), callback)
    }

    /// Two Unix streams that are connected to each other.
    ///
    /// # Errors
    /// [`TooManyDescriptors`](crate::ErrorKind::TooManyDescriptors), [`Unsupported`](crate::ErrorKind::Unsupported) (in
    /// a simulation); see socketpair(2).
    ///
    /// ```
    /// let io = nbio::EventLoop::new()?;
    /// let (one, other) = io.unix_pair()?;
    /// io.send_all(one, "hello", |_, _, _| ());
    /// io.recv_exact(other, [0; 5], 5, |_, _, done| assert_eq!(&done.buf, b"hello"));
    /// io.run()?;
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn unix_pair(&self) -> Result<(UnixStream, UnixStream), Error> {
        let [one, other] = self.core.local_pair(Kind::UnixPair)?;
        Ok((UnixStream::from_id(one), UnixStream::from_id(other)))
    }

    /// Makes a Unix datagram socket: at a path, which makes a file there, at an abstract name, or, at
    /// [`UnixAddress::default`], without a name. One without a name can send, but nobody can answer.
    ///
    /// A path's file stays when the socket is closed, and must not be there when one is bound, as for
    /// [`listen_unix`](EventLoop::listen_unix).
    ///
    /// # Errors
    /// [`AddrInUse`](crate::ErrorKind::AddrInUse), [`InvalidInput`](crate::ErrorKind::InvalidInput) (longer than 107 bytes, a
    /// zero byte in a path), [`NotFound`](crate::ErrorKind::NotFound) and
    /// [`PermissionDenied`](crate::ErrorKind::PermissionDenied) (the path's directory),
    /// [`TooManyDescriptors`](crate::ErrorKind::TooManyDescriptors), [`Unsupported`](crate::ErrorKind::Unsupported) (in
    /// a simulation; an abstract name on another system than Linux); see bind(2), unix(7).
    ///
    /// ```
    /// # let directory = std::env::temp_dir().join(format!("nbio-datagram-{}", std::process::id()));
    /// # std::fs::create_dir(&directory).unwrap();
    /// # let path = directory.join("socket");
    /// let io = nbio::EventLoop::new()?;
    /// let socket = io.bind_unix_datagram(&path)?;
    /// let client = std::os::unix::net::UnixDatagram::unbound().unwrap();
    /// client.send_to(b"hello", &path).unwrap();
    /// io.recv_from(socket, [0; 1500], |_, _, datagram| {
    ///     assert_eq!(datagram.data(), b"hello");
    ///     assert!(datagram.from.unwrap().is_unnamed());
    /// });
    /// io.run()?;
    /// # std::fs::remove_dir_all(&directory).unwrap();
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn bind_unix_datagram(&self, address: impl Into<UnixAddress>) -> Result<UnixDatagram, Error> {
        self.core.bind_local_datagram(&address.into()).map(UnixDatagram::from_id)
    }

    /// Connects a Unix datagram socket: it sends to this one by [`send_datagram`](EventLoop::send_datagram) from now on, and
    /// receives only what comes from there. It answers at once, and what had come before stays. A connected one is connected
    /// anew: Linux then throws away what nobody has received yet, and if the old peer is connected to this one, its next
    /// operation ends with [`ConnectionReset`](crate::ErrorKind::ConnectionReset).
    ///
    /// When the peer is closed, a send ends with [`ConnectionRefused`](crate::ErrorKind::ConnectionRefused), on Linux once; then
    /// the socket isn't connected any more. A receive isn't told.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) (no such path), [`ConnectionRefused`](crate::ErrorKind::ConnectionRefused)
    /// (nobody is there any more), [`PermissionDenied`](crate::ErrorKind::PermissionDenied) (one needs to write the file;
    /// the other is connected to somebody else), [`Unsupported`](crate::ErrorKind::Unsupported) (a socket of another
    /// type), [`InvalidInput`](crate::ErrorKind::InvalidInput) (no address, too long, a zero byte),
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle), [`WrongLoop`](crate::ErrorKind::WrongLoop); see connect(2), unix(7).
    pub fn connect_unix_datagram(
        &self,
        socket: UnixDatagram,
        to: impl Into<UnixAddress>,
    ) -> Result<(), Error> {
        self.core.connect_local_datagram(socket.id(), Some(&to.into()))
    }

    /// Undoes [`connect_unix_datagram`](EventLoop::connect_unix_datagram): the socket receives from everybody again, and
    /// keeps its name. What nobody has received yet is thrown away, and the old peer told, as there. On a socket that isn't
    /// connected it changes nothing.
    ///
    /// # Errors
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle), [`WrongLoop`](crate::ErrorKind::WrongLoop); see connect(2).
    pub fn disconnect_unix_datagram(&self, socket: UnixDatagram) -> Result<(), Error> {
        self.core.connect_local_datagram(socket.id(), None)
    }

    /// Two Unix datagram sockets without names that are connected to each other.
    ///
    /// # Errors
    /// As [`unix_pair`](EventLoop::unix_pair).
    ///
    /// ```
    /// let io = nbio::EventLoop::new()?;
    /// let (one, other) = io.unix_datagram_pair()?;
    /// io.send_datagram(one, "hello", |_, _, done| assert_eq!(done.result, Ok(())));
    /// io.recv_from(other, [0; 64], |_, _, datagram| assert_eq!(datagram.data(), b"hello"));
    /// io.run()?;
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn unix_datagram_pair(&self) -> Result<(UnixDatagram, UnixDatagram), Error> {
        let [one, other] = self.core.local_pair(Kind::UnixDatagramPair)?;
        Ok((UnixDatagram::from_id(one), UnixDatagram::from_id(other)))
    }

    /// As [`listen_unix`](EventLoop::listen_unix), for connections that keep the bounds of what is sent.
    ///
    /// # Errors
    /// As there; [`Unsupported`](crate::ErrorKind::Unsupported) also on macOS.
    ///
    /// ```
    /// use nbio::{EventLoop, UnixAddress};
    /// let io = EventLoop::new()?;
    /// let address = UnixAddress::abstract_name(format!("nbio-records-{}", std::process::id()));
    /// let listener = io.listen_unix_seqpacket(address.clone())?;
    /// io.accept(listener, |_, io, accepted| {
    ///     io.recv_record(accepted.unwrap().stream, [0; 64], |_, _, record| assert_eq!(record.data(), b"hello"));
    /// });
    /// io.connect_unix_seqpacket(address, |_, io, connected| {
    ///     io.send_record(connected.unwrap(), "hello", |_, _, _| ());
    /// });
    /// io.run()?;
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn listen_unix_seqpacket(
        &self,
        address: impl Into<UnixAddress>,
    ) -> Result<UnixSeqpacketListener, Error> {
        self.listen_unix_seqpacket_with(address, UnixListenOptions::default())
    }

    /// As [`listen_unix_seqpacket`](EventLoop::listen_unix_seqpacket), with options. See [`UnixListenOptions`].
    ///
    /// # Errors
    /// As there.
    pub fn listen_unix_seqpacket_with(
        &self,
        address: impl Into<UnixAddress>,
        options: UnixListenOptions,
    ) -> Result<UnixSeqpacketListener, Error> {
        let listener = self.core.listen_local(&address.into(), &options, Kind::ListenUnixSeqpacket);
        listener.map(UnixSeqpacketListener::from_id)
    }

    /// Connects to a Unix socket that listens for records: [`op::ConnectUnix::seqpacket`].
    pub fn connect_unix_seqpacket(
        &self,
        to: impl Into<UnixAddress>,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Result<UnixSeqpacket, Error>) + 'static,
    ) -> OpId {
        self.submit(op::ConnectUnix::seqpacket(to), callback)
    }

    /// Two Unix sockets that are connected to each other and keep the bounds of what is sent.
    ///
    /// # Errors
    /// As [`unix_pair`](EventLoop::unix_pair); [`Unsupported`](crate::ErrorKind::Unsupported) also on macOS.
    ///
    /// See [`op::RecvRecord`] for an example.
    pub fn unix_seqpacket_pair(&self) -> Result<(UnixSeqpacket, UnixSeqpacket), Error> {
        let [one, other] = self.core.local_pair(Kind::UnixSeqpacketPair)?;
        Ok((UnixSeqpacket::from_id(one), UnixSeqpacket::from_id(other)))
    }

    /// Receives the next record: [`op::RecvRecord`].
    pub fn recv_record<B: IoBufMut>(
        &self,
        connection: UnixSeqpacket,
        buf: B,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Record<B>) + 'static,
    ) -> OpId {
        self.submit(op::RecvRecord::new(connection, buf), callback)
    }

    /// Sends a record: [`op::SendRecord`].
    pub fn send_record<B: IoBuf>(
        &self,
        connection: UnixSeqpacket,
        buf: B,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Done<B>) + 'static,
    ) -> OpId {
        self.submit(op::SendRecord::new(connection, buf), callback)
    }

    /// The address that a Unix socket is bound to; unnamed if it isn't.
    ///
    /// # Errors
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle), [`WrongLoop`](crate::ErrorKind::WrongLoop); getsockname(2).
    pub fn unix_local_address(&self, socket: impl UnixSocket) -> Result<UnixAddress, Error> {
        self.core.unix_address(socket.id(), Kind::LocalAddress)
    }

    /// The address at the other end of a Unix socket; unnamed if that isn't bound, as of most clients.
    ///
    /// # Errors
    /// [`NotConnected`](crate::ErrorKind::NotConnected), [`StaleHandle`](crate::ErrorKind::StaleHandle),
    /// [`WrongLoop`](crate::ErrorKind::WrongLoop); getpeername(2).
    pub fn unix_peer_address(&self, socket: impl UnixEnd) -> Result<UnixAddress, Error> {
        self.core.unix_address(socket.id(), Kind::PeerAddress)
    }

    /// Who is at the other end of a connection. Of both ends of [`unix_pair`](EventLoop::unix_pair) it is this process.
    ///
    /// # Errors
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle), [`WrongLoop`](crate::ErrorKind::WrongLoop); see unix(7).
    pub fn peer_credentials(&self, connection: impl UnixConnection) -> Result<Credentials, Error> {
        self.core.peer_credentials(connection.id())
    }
}
