//! What answers at once of Unix sockets.

use std::ptr::NonNull;

use super::Core;
use super::handles::EntryState;
use crate::backend::Address;
use crate::handle::{Id, NewId};
use crate::local::{Credentials, UnixAddress};
use crate::op::Kind;
use crate::{Error, UnixListenOptions};

impl Core {
    /// `kind` says for what.
    pub(crate) fn listen_local(
        &self,
        address: &UnixAddress,
        options: &UnixListenOptions,
        kind: Kind,
    ) -> Result<NewId, Error> {
        let mut engine = self.engine.borrow_mut();
        let (descriptor, file) = engine.backend.calls().listen_local(address, options, kind)?;
        let listener = engine.insert(descriptor, false);
        engine.handles.entry_mut(listener.0.index()).records = kind == Kind::ListenUnixSeqpacket;
        engine.handles.keep_file(listener.0.index(), file);
        Ok(listener)
    }

    /// As `new_connection`.
    pub(crate) fn new_local_connection(
        &self,
        to: &UnixAddress,
        records: bool,
    ) -> Result<(u32, NonNull<u8>), Error> {
        let mut engine = self.engine.borrow_mut();
        let address = Address::of_local(to, Kind::ConnectUnix)?;
        let socket = engine.backend.calls().local_connection(records)?;
        let entry = engine.handles.insert(socket, EntryState::Unnamed);
        engine.handles.entry_mut(entry).records = records;
        Ok((entry, engine.scratch(address)))
    }

    /// `kind` says of what.
    pub(crate) fn local_pair(&self, kind: Kind) -> Result<[NewId; 2], Error> {
        let mut engine = self.engine.borrow_mut();
        let ends = engine.backend.calls().local_pair(kind)?;
        Ok(ends.map(|end| {
            let id = engine.insert(end, false);
            engine.handles.entry_mut(id.0.index()).records = kind == Kind::UnixSeqpacketPair;
            id
        }))
    }

    pub(crate) fn bind_local_datagram(&self, address: &UnixAddress) -> Result<NewId, Error> {
        let mut engine = self.engine.borrow_mut();
        let descriptor = engine.backend.calls().bind_local_datagram(address)?;
        Ok(engine.insert(descriptor, false))
    }

    /// Without an address to nobody.
    pub(crate) fn connect_local_datagram(&self, handle: Id, to: Option<&UnixAddress>) -> Result<(), Error> {
        let mut engine = self.engine.borrow_mut();
        let kind = to.map_or(Kind::DisconnectUnixDatagram, |_| Kind::ConnectUnixDatagram);
        let entry = engine.find_handle(handle, kind)?;
        let descriptor = engine.handles.entry(entry).descriptor;
        engine.backend.calls().connect_local_datagram(descriptor, to)
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
