//! What a running program knows: every operation it submitted, every stream it had, and what it noticed.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::thread::JoinHandle;

use nbio::{ErrorKind, EventLoop, Half, Instant, OpId, TcpListener, TcpStream};

use super::content::{Moved, Sent};
use super::step::Then;
use super::tracked::{Ballast, Counted, Ledger};

/// Loops of programs; the shared state counts callbacks.
pub type Io = EventLoop<u64>;

/// What an operation was asked to do.
#[derive(Copy, Clone, Debug)]
pub enum What {
    Receive { whole: Option<usize>, room: usize },
    Send { whole: bool, length: usize },
    Accept,
    Connect,
    Shutdown(Half),
    Timer { due: Instant },
    Interval,
    NextTick,
    Blocking,
    Close,
    CloseGracefully,
}

/// What the handle was when the operation was submitted.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Name {
    Good,
    Stale,
    Foreign,
}

/// An operation.
#[derive(Debug)]
pub struct Record {
    pub what: What,
    /// Known when `submit` has returned; a graceful close has none.
    pub id: Option<OpId>,
    pub end: Option<usize>,
    pub name: Name,
    pub limit: Option<Instant>,
    pub bad_input: bool,
    /// Somebody asked for its end.
    pub asked: bool,
    pub removed: bool,
    /// A send that was submitted before it on its end moved only a part.
    pub behind_cut: bool,
    pub ended: bool,
    /// The tick in which it was submitted.
    pub tick: u64,
}

impl Record {
    /// Neither ended nor removed.
    pub fn is_live(&self) -> bool {
        !self.ended && !self.removed
    }
}

pub enum Peer {
    /// Not known, or not accepted yet.
    Unknown,
    End(usize),
    Thread(Box<ThreadPeer>),
}

/// A std socket: a thread that sends, and one that reads.
pub struct ThreadPeer {
    pub sends: Sent,
    pub writer: JoinHandle<()>,
    pub reader: JoinHandle<Vec<u8>>,
}

/// One end of a connection.
pub struct End {
    pub name: TcpStream,
    /// Names it had before it was released and adopted again.
    pub old: Vec<TcpStream>,
    pub peer: Peer,
    /// This end's address and the other's.
    pub addresses: (SocketAddr, SocketAddr),
    pub closed: bool,
    /// Its socket buffers are tiny: the system itself may take seconds to get over what it dropped.
    pub narrow: bool,
    pub sends: Vec<Sent>,
    pub received: Vec<u8>,
    /// The operations of each direction, in submission order: receives, sends.
    pub lanes: [Vec<usize>; 2],
    /// An operation of this direction was removed.
    pub removed: [bool; 2],
    /// This direction was shut down.
    pub shut: [bool; 2],
}

/// One line of the trace; texts are made only when a program fails.
#[derive(Copy, Clone, Debug)]
pub struct Note {
    pub depth: u32,
    pub what: &'static str,
    pub operation: Option<usize>,
    pub end: Option<usize>,
    pub number: u64,
    pub result: Option<ErrorKind>,
}

#[derive(Default)]
pub struct Inner {
    pub records: Vec<Record>,
    pub ends: Vec<End>,
    pub listener: Option<(TcpListener, SocketAddr)>,
    pub listener_closed: bool,
    pub trace: Vec<Note>,
    pub failure: Option<String>,
}

pub struct World {
    pub io: Weak<Io>,
    pub ledger: Rc<Ledger>,
    pub inner: RefCell<Inner>,
    pub foreign: (TcpStream, OpId),
    /// A tick is on the stack.
    pub ticking: Cell<bool>,
    /// The number of the latest tick.
    pub tick: Cell<u64>,
    /// `drain` and `run` tick any number of times.
    pub coarse: Cell<bool>,
    /// The end has come: everything may be cancelled.
    pub draining: Cell<bool>,
    pub depth: Cell<u32>,
}

impl World {
    pub fn new(io: &Rc<Io>, foreign: (TcpStream, OpId)) -> Rc<World> {
        Rc::new(World {
            io: Rc::downgrade(io),
            ledger: Rc::default(),
            inner: RefCell::default(),
            foreign,
            ticking: Cell::new(false),
            tick: Cell::new(0),
            coarse: Cell::new(false),
            draining: Cell::new(false),
            depth: Cell::new(0),
        })
    }

    pub fn note(&self, what: &'static str, operation: Option<usize>, end: Option<usize>, number: u64) {
        self.note_result(what, operation, end, number, None);
    }

    pub fn note_result(
        &self,
        what: &'static str,
        operation: Option<usize>,
        end: Option<usize>,
        number: u64,
        result: Option<ErrorKind>,
    ) {
        let note = Note { depth: self.depth.get(), what, operation, end, number, result };
        self.inner.borrow_mut().trace.push(note);
    }

    /// Keeps the first thing that is wrong.
    pub fn fail(&self, what: impl FnOnce() -> String) {
        let mut inner = self.inner.borrow_mut();
        if inner.failure.is_none() {
            inner.failure = Some(what());
            let note = Note {
                depth: self.depth.get(),
                what: "FAILED HERE",
                operation: None,
                end: None,
                number: 0,
                result: None,
            };
            inner.trace.push(note);
        }
    }

    pub fn check(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.fail(what);
        }
    }

    pub fn failed(&self) -> bool {
        self.inner.borrow().failure.is_some()
    }

    /// Takes a new stream in, and finds its other end by their addresses: no two connections of a program have the same ones,
    /// see `own_address`.
    pub fn add_end(&self, io: &Io, name: TcpStream) -> usize {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let addresses = match (io.local_address(name), io.peer_address(name)) {
            (Ok(local), Ok(peer)) => Some((local, peer)),
            // The other end is gone already.
            _ => None,
        };
        let mut inner = self.inner.borrow_mut();
        let index = inner.ends.len();
        let other = addresses
            .and_then(|(local, peer)| inner.ends.iter().position(|end| end.addresses == (peer, local)));
        if let Some(other) = other {
            inner.ends[other].peer = Peer::End(index);
        }
        inner.ends.push(End {
            name,
            old: Vec::new(),
            peer: other.map_or(Peer::Unknown, Peer::End),
            addresses: addresses.unwrap_or((nowhere, nowhere)),
            closed: false,
            narrow: false,
            sends: Vec::new(),
            received: Vec::new(),
            lanes: [Vec::new(), Vec::new()],
            removed: [false; 2],
            shut: [false; 2],
        });
        index
    }

    /// Asked: every operation on this end may end cancelled from now on.
    pub fn ask_all(&self, end: usize) {
        for record in self.inner.borrow_mut().records.iter_mut().filter(|record| record.end == Some(end)) {
            record.asked = true;
        }
    }

    /// The end is stale from now on, and what waits there is cancelled.
    pub fn mark_closed(&self, end: usize) {
        self.inner.borrow_mut().ends[end].closed = true;
        self.ask_all(end);
    }

    /// Marks a removed operation.
    pub fn mark_removed(&self, operation: usize) {
        let mut inner = self.inner.borrow_mut();
        let inner = &mut *inner;
        let record = &mut inner.records[operation];
        record.removed = true;
        let Some(end) = record.end.map(|end| &mut inner.ends[end]) else { return };
        match record.what {
            What::Receive { .. } => end.removed[0] = true,
            What::Send { .. } if record.name == Name::Good => {
                end.removed[1] = true;
                let sent = end.sends.iter_mut().find(|sent| sent.number == operation);
                sent.expect("every send is listed").moved = Moved::Unknown;
            }
            _ => {}
        }
    }

    /// The loop's end removes what has not ended.
    pub fn mark_all_removed(&self) {
        let count = self.inner.borrow().records.len();
        for operation in 0..count {
            let live = self.inner.borrow().records[operation].is_live();
            if live {
                self.mark_removed(operation);
            }
        }
    }

    /// The trace, one note a line.
    pub fn trace(&self) -> String {
        let mut text = String::new();
        for note in &self.inner.borrow().trace {
            text.extend(std::iter::repeat_n("  ", note.depth as usize + 1));
            text += note.what;
            if let Some(operation) = note.operation {
                text += &format!(" #{operation} {:?}", self.inner.borrow().records[operation].what);
            }
            if let Some(end) = note.end {
                text += &format!(" on end {end}");
            }
            text += &format!(" ({})", note.number);
            if let Some(result) = note.result {
                text += &format!(": {result:?}");
            }
            text.push('\n');
        }
        text
    }
}

/// What every closure of a program holds.
pub struct Guard {
    pub world: Rc<World>,
    pub operation: usize,
    _counted: Counted,
    dropped: Then,
    ran: bool,
}

impl Guard {
    pub fn new(world: &Rc<World>, operation: usize, counted: Counted, dropped: &Then) -> Guard {
        Guard { world: world.clone(), operation, _counted: counted, dropped: dropped.clone(), ran: false }
    }

    /// The callback runs, or has run.
    pub fn ran(&mut self) {
        self.ran = true;
    }
}

impl Drop for Guard {
    /// A closure that never ran may submit, cancel, remove and tick when it is dropped.
    fn drop(&mut self) {
        let world = self.world.clone();
        let was_live = world.inner.borrow().records[self.operation].is_live();
        let Some(io) = world.io.upgrade() else { return };
        world.check(!was_live, || format!("#{} was dropped without an end or a remove", self.operation));
        if self.ran || self.dropped.is_empty() || std::thread::panicking() {
            return;
        }
        world.depth.set(world.depth.get() + 1);
        world.note("dropped unrun", Some(self.operation), None, 0);
        for step in self.dropped.iter() {
            super::perform::perform(&world, &io, step);
        }
        world.depth.set(world.depth.get() - 1);
    }
}

/// A ballast that is looked at before the callback runs.
pub fn check_ballast(world: &World, ballast: &Ballast, operation: usize) {
    world.check(ballast.is_intact(), || format!("somebody wrote into the closure of #{operation}"));
}
