//! What answers at once of Unix sockets.

use std::ptr::NonNull;

use super::Core;
use super::handles::EntryState;
use crate::Error;
use crate::backend::Address;
use crate::handle::{Id, NewId};
use crate::local::{Credentials, UnixAddress};
use crate::op::Kind;

/// How many connections wait to be accepted.
const BACKLOG: u32 = 1024;

impl Core {
    pub(crate) fn listen_local(&self, address: &UnixAddress) -> Result<NewId, Error> {
        let mut engine = self.engine.borrow_mut();
        let descriptor = engine.backend.calls().listen_local(address, BACKLOG)?;
        Ok(engine.insert(descriptor, false))
    }

    /// As `new_connection`.
    pub(crate) fn new_local_connection(&self, to: &UnixAddress) -> Result<(u32, NonNull<u8>), Error> {
        let mut engine = self.engine.borrow_mut();
        let address = Address::of_local(to, Kind::ConnectUnix)?;
        let socket = engine.backend.calls().local_stream()?;
        let entry = engine.handles.insert(socket, EntryState::Unnamed);
        Ok((entry, engine.scratch(address)))
    }

    pub(crate) fn local_pair(&self) -> Result<[NewId; 2], Error> {
        let mut engine = self.engine.borrow_mut();
        let ends = engine.backend.calls().local_pair()?;
        Ok(ends.map(|end| engine.insert(end, false)))
    }

    /// `kind` says which: the local one or the peer's.
    pub(crate) fn unix_address(&self, handle: Id, kind: Kind) -> Result<UnixAddress, Error> {
        let mut engine = self.engine.borrow_mut();
        let entry = engine.find_handle(handle, kind)?;
        let descriptor = engine.handles.entry(entry).descriptor;
        engine.backend.calls().unix_address(descriptor, kind)
    }

    pub(crate) fn peer_credentials(&self, handle: Id) -> Result<Credentials, Error> {
        let mut engine = self.engine.borrow_mut();
        let entry = engine.find_handle(handle, Kind::PeerCredentials)?;
        let descriptor = engine.handles.entry(entry).descriptor;
        engine.backend.calls().peer_credentials(descriptor)
    }
}
