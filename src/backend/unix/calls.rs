//! What every backend of a Unix answers at once.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use super::{local, pipes, udp};
use crate::backend::{Calls, RawDescriptor, SocketFile, Standard, unix};
use crate::engine::handles::Means;
use crate::handle::HandleKind;
use crate::local::Credentials;
use crate::op::{Half, Kind};
use crate::{Error, ListenOptions, Multicast, TcpOptions, UdpOptions, UnixAddress, UnixListenOptions};

/// The system itself: nothing is remembered between two calls.
pub(crate) struct System;

impl Calls for System {
    fn listen(&mut self, address: SocketAddr, options: &ListenOptions) -> Result<RawDescriptor, Error> {
        unix::listen(address, options)
    }

    fn stream_socket(
        &mut self,
        to: SocketAddr,
        from: Option<SocketAddr>,
        options: &TcpOptions,
    ) -> Result<RawDescriptor, Error> {
        unix::stream_socket(to, from, options)
    }

    fn set_tcp_options(&mut self, descriptor: RawDescriptor, options: &TcpOptions) -> Result<(), Error> {
        unix::set_tcp_options(descriptor, options, Kind::SetOptions)
    }

    fn tcp_options(&mut self, descriptor: RawDescriptor) -> Result<TcpOptions, Error> {
        unix::tcp_options(descriptor)
    }

    fn local_address(&mut self, descriptor: RawDescriptor) -> Result<SocketAddr, Error> {
        unix::local_address(descriptor)
    }

    fn peer_address(&mut self, descriptor: RawDescriptor) -> Result<SocketAddr, Error> {
        unix::peer_address(descriptor)
    }

    /// A system call, since shutdown(2) never waits, while `IORING_OP_SHUTDOWN` always goes to a kernel thread.
    fn shutdown(&mut self, descriptor: RawDescriptor, half: Half) -> Result<(), Error> {
        unix::shutdown(descriptor, half)
    }

    fn bind_udp(&mut self, address: SocketAddr, options: &UdpOptions) -> Result<RawDescriptor, Error> {
        udp::bind(address, options)
    }

    fn connect_udp(&mut self, descriptor: RawDescriptor, to: SocketAddr) -> Result<(), Error> {
        udp::connect(descriptor, to)
    }

    fn disconnect_udp(&mut self, descriptor: RawDescriptor) -> Result<(), Error> {
        udp::disconnect(descriptor)
    }

    fn set_udp_options(&mut self, descriptor: RawDescriptor, options: &UdpOptions) -> Result<(), Error> {
        udp::set_options(descriptor, options, Kind::SetUdpOptions)
    }

    fn udp_options(&mut self, descriptor: RawDescriptor) -> Result<UdpOptions, Error> {
        udp::options(descriptor)
    }

    fn join_multicast(&mut self, descriptor: RawDescriptor, group: &Multicast) -> Result<(), Error> {
        udp::member(descriptor, group, true, Kind::JoinMulticast)
    }

    fn leave_multicast(&mut self, descriptor: RawDescriptor, group: &Multicast) -> Result<(), Error> {
        udp::member(descriptor, group, false, Kind::LeaveMulticast)
    }

    fn check(&mut self, descriptor: &OwnedFd, kind: HandleKind) -> Result<bool, Error> {
        unix::check(descriptor, kind)
    }

    fn listen_local(
        &mut self,
        address: &UnixAddress,
        options: &UnixListenOptions,
        kind: Kind,
    ) -> Result<(RawDescriptor, Option<SocketFile>), Error> {
        local::listen(address, options, kind)
    }

    fn local_connection(&mut self, records: bool) -> Result<RawDescriptor, Error> {
        local::unconnected(records)
    }

    fn tell_records(&mut self, descriptor: RawDescriptor, on: bool) {
        local::tell_records(unix::borrow(&descriptor), on);
    }

    fn local_pair(&mut self, kind: Kind) -> Result<[RawDescriptor; 2], Error> {
        local::pair(kind)
    }

    fn bind_local_datagram(&mut self, address: &UnixAddress) -> Result<RawDescriptor, Error> {
        local::bind_datagram(address)
    }

    fn connect_local_datagram(
        &mut self,
        descriptor: RawDescriptor,
        to: Option<&UnixAddress>,
    ) -> Result<(), Error> {
        local::connect_datagram(descriptor, to)
    }

    fn unix_address(&mut self, descriptor: RawDescriptor, kind: Kind) -> Result<UnixAddress, Error> {
        local::address(descriptor, kind)
    }

    fn peer_credentials(&mut self, descriptor: RawDescriptor) -> Result<Credentials, Error> {
        local::credentials(descriptor)
    }

    fn means(&mut self, descriptor: RawDescriptor) -> Means {
        pipes::means(unix::borrow(&descriptor))
    }

    fn pipe(&mut self) -> Result<[RawDescriptor; 2], Error> {
        pipes::pipe()
    }

    fn standard(&mut self, which: Standard) -> Result<OwnedFd, Error> {
        pipes::standard(which)
    }

    fn raw(&mut self, descriptor: RawDescriptor) -> Result<RawDescriptor, Error> {
        Ok(descriptor)
    }

    fn duplicate(&mut self, descriptor: RawDescriptor) -> Result<OwnedFd, Error> {
        unix::duplicate(descriptor)
    }
}
