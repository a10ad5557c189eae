//! What answers at once: listening, addresses, options, and descriptors in and out of the handle table.

use std::net::SocketAddr;
use std::ptr::NonNull;

use super::handles::{EntryState, Known, Means};
use super::{Core, Engine};
use crate::backend::{Address, FileAccess, Loose, OwnedDescriptor, RawDescriptor, Standard};
use crate::handle::{HandleKind, Id, NewId};
use crate::op::Kind;
use crate::report::Support;
use crate::{Error, ErrorKind, ListenOptions, TcpOptions};

impl Core {
    pub(crate) fn listen(&self, address: SocketAddr, options: &ListenOptions) -> Result<NewId, Error> {
        let mut engine = self.engine.borrow_mut();
        let descriptor = engine.backend.calls().listen(address, options)?;
        Ok(engine.insert(descriptor, options.tcp.lingers()))
    }

    /// A socket to connect with, in the table without a name, and the scratch block with the address.
    pub(crate) fn new_connection(
        &self,
        to: SocketAddr,
        from: Option<SocketAddr>,
        options: &TcpOptions,
    ) -> Result<(u32, NonNull<u8>), Error> {
        let mut engine = self.engine.borrow_mut();
        let socket = engine.backend.calls().stream_socket(to, from, options)?;
        let entry = engine.handles.insert(socket, EntryState::Unnamed);
        engine.handles.entry_mut(entry).lingers = options.lingers();
        Ok((entry, engine.scratch(Address::of(to))))
    }

    /// A descriptor of whatever kind for one operation, in the table without a name.
    pub(crate) fn take_private(&self, descriptor: OwnedDescriptor, kind: Kind) -> Result<u32, Error> {
        let mut engine = self.engine.borrow_mut();
        let (descriptor, lingers) = engine.backend.cold().attach_any(descriptor, kind)?;
        let entry = engine.handles.insert(descriptor, EntryState::Unnamed);
        engine.handles.entry_mut(entry).lingers = lingers;
        Ok(entry)
    }

    /// Whether a handle names something that is open here.
    pub(crate) fn check_handle(&self, handle: Id, kind: Kind) -> Result<(), Error> {
        self.engine.borrow().find_handle(handle, kind).map(drop)
    }

    pub(crate) fn local_address(&self, handle: Id) -> Result<SocketAddr, Error> {
        let mut engine = self.engine.borrow_mut();
        let entry = engine.find_handle(handle, Kind::LocalAddress)?;
        let descriptor = engine.handles.entry(entry).descriptor;
        engine.backend.calls().local_address(descriptor)
    }

    pub(crate) fn peer_address(&self, handle: Id) -> Result<SocketAddr, Error> {
        let mut engine = self.engine.borrow_mut();
        let entry = engine.find_handle(handle, Kind::PeerAddress)?;
        let descriptor = engine.handles.entry(entry).descriptor;
        engine.backend.calls().peer_address(descriptor)
    }

    pub(crate) fn set_tcp_options(&self, handle: Id, options: &TcpOptions) -> Result<(), Error> {
        let mut engine = self.engine.borrow_mut();
        let entry = engine.find_handle(handle, Kind::SetOptions)?;
        let descriptor = engine.handles.entry(entry).descriptor;
        let set = engine.backend.calls().set_tcp_options(descriptor, options);
        if options.linger.is_some() {
            // After an error nobody knows whether this one was set: the close then takes no chances.
            let lingers = &mut engine.handles.entry_mut(entry).lingers;
            *lingers = options.lingers() || (set.is_err() && *lingers);
        }
        set
    }

    pub(crate) fn tcp_options(&self, handle: Id) -> Result<TcpOptions, Error> {
        let mut engine = self.engine.borrow_mut();
        let entry = engine.find_handle(handle, Kind::GetOptions)?;
        let descriptor = engine.handles.entry(entry).descriptor;
        engine.backend.calls().tcp_options(descriptor)
    }

    /// Takes a descriptor from outside into the table, or gives it back with the reason.
    pub(crate) fn adopt(
        &self,
        descriptor: OwnedDescriptor,
        kind: HandleKind,
    ) -> Result<NewId, (Error, OwnedDescriptor)> {
        let mut engine = self.engine.borrow_mut();
        match engine.backend.calls().check(&descriptor, kind) {
            Ok(lingers) => Ok(engine.take_in(descriptor, kind, lingers)),
            Err(error) => Err((error, descriptor)),
        }
    }

    /// A pipe: the end to read from, and the one to write to.
    pub(crate) fn pipe(&self) -> Result<[NewId; 2], Error> {
        let mut engine = self.engine.borrow_mut();
        let ends = engine.backend.calls().pipe()?;
        Ok(ends.map(|end| {
            let entry = engine.handles.insert(end, EntryState::Open);
            engine.handles.entry_mut(entry).means = Means::File;
            NewId(engine.handles.id(entry, engine.number.get()))
        }))
    }

    /// A second descriptor of one of the process's streams, as a handle.
    pub(crate) fn standard(&self, which: Standard) -> Result<NewId, Error> {
        let mut engine = self.engine.borrow_mut();
        let descriptor = engine.backend.calls().standard(which)?;
        let checked = engine.backend.calls().check(&descriptor, HandleKind::Pipe);
        let lingers = checked.map_err(|error| error.of(Kind::Standard))?;
        Ok(engine.take_in(descriptor, HandleKind::Pipe, lingers))
    }

    /// Gives a descriptor out of the table.
    pub(crate) fn release(&self, handle: Id) -> Result<OwnedDescriptor, Error> {
        let mut engine = self.engine.borrow_mut();
        let entry = engine.find_idle(handle, Kind::Release)?;
        let descriptor = engine.handles.entry(entry).descriptor;
        if engine.handles.entry(entry).records {
            engine.backend.calls().tell_records(descriptor, false);
        }
        let owned = engine.backend.cold().detach(descriptor)?;
        if let Some(file) = engine.handles.take_file(entry) {
            file.leave();
        }
        engine.forget(entry);
        Ok(owned)
    }

    /// Gives a descriptor out of the table for that of another loop, and what is known of it.
    pub(crate) fn detach(&self, handle: Id) -> Result<(Loose, Known), Error> {
        let mut engine = self.engine.borrow_mut();
        let entry = engine.find_idle(handle, Kind::Detach)?;
        let descriptor = engine.handles.entry(entry).descriptor;
        let loose = engine.backend.cold().hand_out(descriptor)?;
        let known = engine.handles.known(entry);
        engine.forget(entry);
        Ok((loose, known))
    }

    /// Takes what another loop gave out into the table, or gives it back with the reason.
    pub(crate) fn attach(&self, loose: Loose, known: Known) -> Result<NewId, (Error, Loose, Known)> {
        let mut engine = self.engine.borrow_mut();
        let descriptor = match engine.backend.cold().take_in(loose) {
            Ok(descriptor) => descriptor,
            Err((error, loose)) => return Err((error, loose, known)),
        };
        let entry = engine.handles.insert(descriptor, EntryState::Open);
        engine.handles.learn(entry, known);
        Ok(NewId(engine.handles.id(entry, engine.number.get())))
    }

    /// What a job gets at a file by, or without one at paths.
    pub(crate) fn access(&self, handle: Option<Id>) -> Result<FileAccess, Error> {
        let mut engine = self.engine.borrow_mut();
        let entry = handle.map(|handle| engine.find_handle(handle, Kind::Duplicate)).transpose()?;
        let descriptor = entry.map(|entry| engine.handles.entry(entry).descriptor);
        if let Some(access) = engine.backend.cold().access(descriptor) {
            return Ok(FileAccess::Simulated(access));
        }
        let duplicate = descriptor.map(|descriptor| engine.backend.calls().duplicate(descriptor));
        duplicate.transpose().map(FileAccess::System)
    }

    /// A second handle of the same open file.
    pub(crate) fn second_file(&self, handle: Id) -> Result<NewId, Error> {
        {
            let mut engine = self.engine.borrow_mut();
            let entry = engine.find_handle(handle, Kind::Duplicate)?;
            let descriptor = engine.handles.entry(entry).descriptor;
            if let Some(second) = engine.backend.cold().second_file(descriptor) {
                return Ok(engine.insert(second, false));
            }
        }
        let descriptor = self.duplicate(handle)?;
        self.adopt(descriptor, HandleKind::File).map_err(|(error, _)| error)
    }

    /// How the backend does operations of this kind.
    pub(crate) fn support(&self, kind: Kind) -> Support {
        self.engine.borrow().backend.support(kind)
    }

    pub(crate) fn raw(&self, handle: Id) -> Result<RawDescriptor, Error> {
        let mut engine = self.engine.borrow_mut();
        let entry = engine.find_handle(handle, Kind::Raw)?;
        let descriptor = engine.handles.entry(entry).descriptor;
        engine.backend.calls().raw(descriptor)
    }

    pub(crate) fn duplicate(&self, handle: Id) -> Result<OwnedDescriptor, Error> {
        let mut engine = self.engine.borrow_mut();
        let entry = engine.find_handle(handle, Kind::Duplicate)?;
        let descriptor = engine.handles.entry(entry).descriptor;
        engine.backend.calls().duplicate(descriptor)
    }
}

impl Engine {
    /// The entry of a handle on which no operation is.
    fn find_idle(&self, handle: Id, kind: Kind) -> Result<u32, Error> {
        let entry = self.find_handle(handle, kind)?;
        let found = self.handles.entry(entry);
        let busy = found.operations > 0 || found.has_unread;
        if busy { Err(Error::new(ErrorKind::Busy, kind)) } else { Ok(entry) }
    }

    /// Lets go of an entry whose descriptor has a new owner.
    fn forget(&mut self, entry: u32) {
        self.handles.make_stale(entry);
        self.handles.free(entry);
    }

    /// Takes in what was checked to be of this kind.
    fn take_in(&mut self, descriptor: OwnedDescriptor, kind: HandleKind, lingers: bool) -> NewId {
        let descriptor = self.backend.cold().attach(descriptor);
        let means = match kind {
            HandleKind::Pipe => self.backend.calls().means(descriptor),
            _ => Means::Socket,
        };
        let id = self.insert(descriptor, lingers);
        let records = matches!(kind, HandleKind::UnixSeqpacket | HandleKind::UnixSeqpacketListener);
        let entry = self.handles.entry_mut(id.0.index());
        (entry.means, entry.records) = (means, records);
        if kind == HandleKind::UnixSeqpacket {
            self.backend.calls().tell_records(descriptor, true);
        }
        id
    }

    pub(super) fn insert(&mut self, descriptor: RawDescriptor, lingers: bool) -> NewId {
        let entry = self.handles.insert(descriptor, EntryState::Open);
        self.handles.entry_mut(entry).lingers = lingers;
        NewId(self.handles.id(entry, self.number.get()))
    }
}
