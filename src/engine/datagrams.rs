//! What answers at once on UDP sockets.

use std::net::SocketAddr;

use super::Core;
use crate::Error;
use crate::handle::{Id, NewId};
use crate::op::Kind;
use crate::udp::{Multicast, UdpOptions};

impl Core {
    pub(crate) fn bind_udp(&self, address: SocketAddr, options: &UdpOptions) -> Result<NewId, Error> {
        let mut engine = self.engine.borrow_mut();
        let descriptor = engine.backend.calls().bind_udp(address, options)?;
        Ok(engine.insert(descriptor, false))
    }

    pub(crate) fn connect_udp(&self, handle: Id, to: SocketAddr) -> Result<(), Error> {
        let mut engine = self.engine.borrow_mut();
        let entry = engine.find_handle(handle, Kind::ConnectUdp)?;
        let descriptor = engine.handles.entry(entry).descriptor;
        engine.backend.calls().connect_udp(descriptor, to)
    }

    pub(crate) fn disconnect_udp(&self, handle: Id) -> Result<(), Error> {
        let mut engine = self.engine.borrow_mut();
        let entry = engine.find_handle(handle, Kind::DisconnectUdp)?;
        let descriptor = engine.handles.entry(entry).descriptor;
        engine.backend.calls().disconnect_udp(descriptor)
    }

    pub(crate) fn set_udp_options(&self, handle: Id, options: &UdpOptions) -> Result<(), Error> {
        let mut engine = self.engine.borrow_mut();
        let entry = engine.find_handle(handle, Kind::SetUdpOptions)?;
        let descriptor = engine.handles.entry(entry).descriptor;
        engine.backend.calls().set_udp_options(descriptor, options)
    }

    pub(crate) fn udp_options(&self, handle: Id) -> Result<UdpOptions, Error> {
        let mut engine = self.engine.borrow_mut();
        let entry = engine.find_handle(handle, Kind::GetUdpOptions)?;
        let descriptor = engine.handles.entry(entry).descriptor;
        engine.backend.calls().udp_options(descriptor)
    }

    pub(crate) fn join_multicast(&self, handle: Id, group: &Multicast) -> Result<(), Error> {
        let mut engine = self.engine.borrow_mut();
        let entry = engine.find_handle(handle, Kind::JoinMulticast)?;
        let descriptor = engine.handles.entry(entry).descriptor;
        engine.backend.calls().join_multicast(descriptor, group)
    }

    pub(crate) fn leave_multicast(&self, handle: Id, group: &Multicast) -> Result<(), Error> {
        let mut engine = self.engine.borrow_mut();
        let entry = engine.find_handle(handle, Kind::LeaveMulticast)?;
        let descriptor = engine.handles.entry(entry).descriptor;
        engine.backend.calls().leave_multicast(descriptor, group)
    }
}
