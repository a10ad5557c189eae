//! What a platform answers at once: sockets are made, looked at and set up.

use std::net::SocketAddr;

use super::{OwnedDescriptor, RawDescriptor, SocketFile, Standard};
use crate::engine::handles::Means;
use crate::handle::HandleKind;
use crate::local::Credentials;
use crate::op::{Half, Kind};
use crate::{
    Error, ErrorKind, ListenOptions, Multicast, TcpOptions, UdpOptions, UnixAddress, UnixListenOptions,
};

/// The calls of a platform that never wait; apart from `Backend`, since all that a system has do them in the same way.
pub(crate) trait Calls {
    fn listen(&mut self, address: SocketAddr, options: &ListenOptions) -> Result<RawDescriptor, Error>;

    /// A socket that can be given to a connect.
    fn stream_socket(
        &mut self,
        to: SocketAddr,
        from: Option<SocketAddr>,
        options: &TcpOptions,
    ) -> Result<RawDescriptor, Error>;

    fn set_tcp_options(&mut self, descriptor: RawDescriptor, options: &TcpOptions) -> Result<(), Error>;
    fn tcp_options(&mut self, descriptor: RawDescriptor) -> Result<TcpOptions, Error>;
    fn local_address(&mut self, descriptor: RawDescriptor) -> Result<SocketAddr, Error>;
    fn peer_address(&mut self, descriptor: RawDescriptor) -> Result<SocketAddr, Error>;
    fn shutdown(&mut self, descriptor: RawDescriptor, half: Half) -> Result<(), Error>;

    fn bind_udp(&mut self, _: SocketAddr, _: &UdpOptions) -> Result<RawDescriptor, Error> {
        Err(Error::new(ErrorKind::Unsupported, Kind::BindUdp))
    }

    fn connect_udp(&mut self, _: RawDescriptor, _: SocketAddr) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Unsupported, Kind::ConnectUdp))
    }

    fn disconnect_udp(&mut self, _: RawDescriptor) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Unsupported, Kind::DisconnectUdp))
    }

    fn set_udp_options(&mut self, _: RawDescriptor, _: &UdpOptions) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Unsupported, Kind::SetUdpOptions))
    }

    fn udp_options(&mut self, _: RawDescriptor) -> Result<UdpOptions, Error> {
        Err(Error::new(ErrorKind::Unsupported, Kind::GetUdpOptions))
    }

    fn join_multicast(&mut self, _: RawDescriptor, _: &Multicast) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Unsupported, Kind::JoinMulticast))
    }

    fn leave_multicast(&mut self, _: RawDescriptor, _: &Multicast) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Unsupported, Kind::LeaveMulticast))
    }

    /// Checks that a descriptor from outside is of this kind; says whether its close may wait (SO_LINGER).
    fn check(&mut self, descriptor: &OwnedDescriptor, kind: HandleKind) -> Result<bool, Error>;

    /// How bytes go through what is no socket of a known kind.
    fn means(&mut self, _: RawDescriptor) -> Means {
        Means::Socket
    }

    /// Unix sockets.
    /// The kind says for what: `ListenUnix` or `ListenUnixSeqpacket`. And the file that is to go with the listener.
    fn listen_local(
        &mut self,
        _: &UnixAddress,
        _: &UnixListenOptions,
        kind: Kind,
    ) -> Result<(RawDescriptor, Option<SocketFile>), Error> {
        Err(Error::new(ErrorKind::Unsupported, kind))
    }

    /// As `stream_socket`; for records or for a stream.
    fn local_connection(&mut self, _records: bool) -> Result<RawDescriptor, Error> {
        Err(Error::new(ErrorKind::Unsupported, Kind::ConnectUnix))
    }

    /// Has the system tell a record without bytes from the end of all, or no longer.
    fn tell_records(&mut self, _: RawDescriptor, _on: bool) {}

    /// The kind says of what: `UnixPair`, `UnixDatagramPair` or `UnixSeqpacketPair`.
    fn local_pair(&mut self, kind: Kind) -> Result<[RawDescriptor; 2], Error> {
        Err(Error::new(ErrorKind::Unsupported, kind))
    }

    fn bind_local_datagram(&mut self, _: &UnixAddress) -> Result<RawDescriptor, Error> {
        Err(Error::new(ErrorKind::Unsupported, Kind::BindUnixDatagram))
    }

    /// Without an address to nobody.
    fn connect_local_datagram(&mut self, _: RawDescriptor, to: Option<&UnixAddress>) -> Result<(), Error> {
        let kind = to.map_or(Kind::DisconnectUnixDatagram, |_| Kind::ConnectUnixDatagram);
        Err(Error::new(ErrorKind::Unsupported, kind))
    }

    /// The kind says whose: `LocalAddress` or `PeerAddress`.
    fn unix_address(&mut self, _: RawDescriptor, kind: Kind) -> Result<UnixAddress, Error> {
        Err(Error::new(ErrorKind::Unsupported, kind))
    }

    fn peer_credentials(&mut self, _: RawDescriptor) -> Result<Credentials, Error> {
        Err(Error::new(ErrorKind::Unsupported, Kind::PeerCredentials))
    }

    /// The two ends of a new pipe, that to read from first.
    fn pipe(&mut self) -> Result<[RawDescriptor; 2], Error> {
        Err(Error::new(ErrorKind::Unsupported, Kind::Pipe))
    }

    /// A second descriptor of the process's standard input, output or error output.
    fn standard(&mut self, _: Standard) -> Result<OwnedDescriptor, Error> {
        Err(Error::new(ErrorKind::Unsupported, Kind::Standard))
    }

    /// The system's number of a descriptor, for somebody outside to look at.
    fn raw(&mut self, descriptor: RawDescriptor) -> Result<RawDescriptor, Error>;

    /// A second descriptor of the same open thing.
    fn duplicate(&mut self, descriptor: RawDescriptor) -> Result<OwnedDescriptor, Error>;
}
