//! I/O completion ports: Windows.
//!
//! Submitting makes the overlapped call at once; its packet comes to the loop's own port, from where `wait` takes packets in
//! batches. What the system has no overlapped call for, or what was not opened for overlapped I/O, goes to the thread pool,
//! whose threads post a packet when they are done.

mod backend;
mod calls;
mod extensions;
mod finish;
mod flights;
mod offload;
mod pipes;
mod poll;
mod port;
mod receive;
mod start;
mod transfer;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::windows::{OwnedDescriptor, Sort, handles};
use super::{Completion, Outcome, RawDescriptor};
use crate::op::Kind;
use crate::{Error, TcpOptions};

use flights::{Flights, Place};
use port::{Batch, Port};

/// The most bytes that one shot moves: a DWORD counts them, and the engine goes on where it matters.
const MOST_BYTES: u32 = 0x7fff_f000;

pub(crate) struct Iocp {
    port: Arc<Port>,
    flights: Flights,
    open: HashMap<RawDescriptor, Open>,
    done: VecDeque<Completion>,
    batch: Box<Batch>,
    /// For polls; opened when there is the first.
    afd: Option<OwnedDescriptor>,
    /// Memory for arrays of pieces.
    buffers: Vec<windows_sys::Win32::Networking::WinSock::WSABUF>,
}

/// What is known of something open.
#[derive(Copy, Clone, Debug)]
struct Open {
    sort: Sort,
    port: PortState,
    /// Calls that are done at once post no packet.
    skips: bool,
    /// Of a socket: AF_INET or AF_INET6.
    family: u16,
    /// Of a listener: what its connections are to be set to.
    inherited: TcpOptions,
}

/// Whether overlapped calls complete at the loop's port. Once they do, most systems never let go of that, so it begins with the
/// first call: a connection that is accepted here can be given to another loop.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum PortState {
    /// It can't do overlapped I/O: only the pool can use it.
    Never,
    NotYet,
    Ours,
}

impl Open {
    const HANDLE: Open = Open {
        sort: Sort::Handle,
        port: PortState::Never,
        skips: false,
        family: 0,
        inherited: TcpOptions {
            nodelay: None,
            keepalive: None,
            linger: None,
            recv_buffer: None,
            send_buffer: None,
            user_timeout: None,
        },
    };
    const SOCKET: Open = Open { sort: Sort::Socket, ..Open::HANDLE };
}

impl Iocp {
    pub(crate) fn new() -> Result<Iocp, Error> {
        let error = |os| Error::from_os(os, Kind::Build);
        Ok(Iocp {
            port: Arc::new(Port::new().map_err(error)?),
            flights: Flights::default(),
            open: HashMap::new(),
            done: VecDeque::new(),
            batch: port::empty_batch(),
            afd: None,
            buffers: Vec::new(),
        })
    }

    /// What is known of a descriptor that the loop owns.
    fn opened(&self, descriptor: RawDescriptor) -> Open {
        self.open.get(&descriptor).copied().unwrap_or(Open::HANDLE)
    }

    /// Has the overlapped calls of what is open complete at the port, if it can do any. What is known of it then.
    fn ready(&mut self, descriptor: RawDescriptor) -> Result<Open, i32> {
        let Some(&known) = self.open.get(&descriptor) else { return Ok(Open::HANDLE) };
        if known.port == PortState::NotYet {
            self.associate(descriptor)?;
            let open = self.open.get_mut(&descriptor).expect("found above");
            open.port = PortState::Ours;
            open.skips = open.sort == Sort::Socket && calls::skip_on_success(descriptor);
            return Ok(*open);
        }
        Ok(known)
    }

    /// Has what completes there come to the port. A second handle of something open that does so already does so too, but the
    /// system says only that it has a port.
    fn associate(&self, descriptor: RawDescriptor) -> Result<(), i32> {
        self.port.associate(descriptor).or_else(|os| {
            let ours = |(&other, open): (&RawDescriptor, &Open)| {
                open.port == PortState::Ours && other != descriptor && handles::are_same(other, descriptor)
            };
            if self.open.iter().any(ours) { Ok(()) } else { Err(os) }
        })
    }

    fn complete(&mut self, index: u32, outcome: Outcome) {
        let flight = self.flights.get(index);
        flight.place = Place::Nowhere;
        self.done.push_back(Completion { token: flight.token, outcome });
    }
}

impl Drop for Iocp {
    fn drop(&mut self) {
        for flight in self.flights.all() {
            if let Place::Pool(ticket) = flight.place {
                super::pool::global().withdraw(ticket);
            }
        }
    }
}
