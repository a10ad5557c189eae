//! The engine: everything between the typed front and the backends.
//!
//! `Core` is what a loop is behind its handle. Its `Engine` is borrowed only for short stretches that run no user
//! code: no callback, no `Drop` of a buffer or closure, no `IoBuf` method. So user code may call the loop from
//! anywhere.

mod accepting;
pub(crate) mod awaited;
mod blocks;
mod calls;
mod cancel;
mod datagrams;
pub(crate) mod envelope;
pub(crate) mod erased;
mod finish;
pub(crate) mod handles;
mod local;
mod messages;
mod number;
pub(crate) mod op;
pub(crate) mod passing;
pub(crate) mod paths;
mod plain;
pub(crate) mod pooled;
pub(crate) mod receiving;
pub(crate) mod remote;
mod slots;
mod start;
pub(crate) mod steps;
pub(crate) mod tasks;
mod teardown;
mod tick;
mod timers;
mod unread;
pub(crate) mod vectored;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::backend::{AnyBackend, Completion, Outcome, Token};
use crate::builder::Builder;
use crate::handle::{Id, OpId};
use crate::op::Kind;
use crate::report::Report;
use crate::{Error, ErrorKind, Instant};

use blocks::Blocks;
use handles::Handles;
use number::LoopNumber;
use op::End;
use pooled::Pool;
use remote::{Entry, Look, Shared};
use slots::Slots;
use tasks::Tasks;
use timers::Timers;
use unread::Unread;

pub struct Core {
    engine: RefCell<Engine>,
    /// `tick` or one of its kin is on the stack.
    ticking: Cell<bool>,
    stop: Cell<bool>,
    reason: String,
    /// For other threads; made when one is first asked for.
    remote: OnceCell<Arc<Shared>>,
    remote_capacity: usize,
    /// The builder said for how long to look before every wait.
    always_looks: bool,
    /// Buffers of operations of several steps that are over, for the next ones.
    spare: RefCell<Vec<Vec<u8>>>,
    /// Made when the first is spawned.
    tasks: OnceCell<Tasks>,
    task_budget: usize,
}

pub(crate) struct Engine {
    slots: Slots,
    blocks: Blocks,
    handles: Handles,
    timers: Timers,
    backend: AnyBackend,
    number: LoopNumber,
    /// What has ended and is not dealt with yet, in the order in which callbacks will run.
    completions: VecDeque<Completion>,
    /// Operations that keep `run` going.
    pending: usize,
    /// Timers may not be set earlier than this: while a tick runs, its own start and a bit, so that what it
    /// submits is due in a later one.
    earliest: u64,
    completion_budget: usize,
    timer_budget: usize,
    remote_budget: usize,
    /// What other threads gave the loop to do, as far as a tick has taken it over.
    batch: VecDeque<Entry>,
    look: Look,
    /// How many holders what is shared with other threads has on this one.
    own_shares: usize,
    /// Operations that have ended and whose futures haven't taken what they brought.
    resting: usize,
    /// What dropped futures have left, by the entry of the handle.
    unread: HashMap<u32, Unread>,
    /// Messages that receives have got from there, by slot, until their callbacks are given them.
    inherited: Vec<(u32, End)>,
    /// Shots that were asked to come back, because there is something for them there.
    disturbed: Vec<Token>,
    /// The buffer pools, by their numbers.
    pools: Vec<Option<Arc<Pool>>>,
    /// Readers that wait for a buffer.
    starved: Vec<Token>,
    /// The loop was dropped; futures may still hold what is left of it.
    down: bool,
}

impl Core {
    pub(crate) fn new(builder: &Builder) -> Result<Core, Error> {
        let (backend, reason) = AnyBackend::new(builder)?;
        let number = LoopNumber::take()?;
        // A simulated clock stands still while somebody looks.
        let busy_poll = if builder.simulation.is_some() { Some(Duration::ZERO) } else { builder.busy_poll };
        let always_looks = busy_poll.is_some_and(|length| !length.is_zero());
        let engine = Engine {
            slots: Slots::new(number.floor()),
            blocks: Blocks::new(),
            handles: Handles::new(number.floor()),
            timers: Timers::new(),
            backend,
            number,
            completions: VecDeque::new(),
            pending: 0,
            earliest: 0,
            completion_budget: builder.completion_budget,
            timer_budget: builder.timer_budget,
            remote_budget: builder.remote_budget,
            batch: VecDeque::new(),
            look: busy_poll.map_or(Look::learnt(), Look::Fixed),
            own_shares: 1,
            resting: 0,
            unread: HashMap::new(),
            inherited: Vec::new(),
            disturbed: Vec::new(),
            pools: Vec::new(),
            starved: Vec::new(),
            down: false,
        };
        let (ticking, stop) = (Cell::new(false), Cell::new(false));
        let (remote, remote_capacity) = (OnceCell::new(), builder.remote_capacity);
        Ok(Core {
            engine: RefCell::new(engine),
            ticking,
            stop,
            reason,
            remote,
            remote_capacity,
            always_looks,
            spare: RefCell::default(),
            tasks: OnceCell::new(),
            task_budget: builder.task_budget,
        })
    }

    pub(crate) fn now(&self) -> Instant {
        self.engine.borrow().backend.now()
    }

    pub(crate) fn stop(&self) {
        self.stop.set(true);
    }

    pub(crate) fn in_flight(&self) -> usize {
        let engine = self.engine.borrow();
        engine.slots.live() - engine.resting
    }

    pub(crate) fn report(&self) -> Report {
        self.engine.borrow().backend.report(&self.reason)
    }
}

impl Engine {
    fn op_id(&self, index: u32) -> OpId {
        OpId(Id::new(index, self.number.get(), self.slots.header(index).generation))
    }

    /// The slot of an operation that has not ended.
    #[inline]
    fn find_operation(&self, id: OpId) -> Option<u32> {
        if id.0.owner() == self.number.get() { self.slots.find(id.0) } else { None }
    }

    /// The entry that a handle names.
    fn find_handle(&self, id: Id, kind: Kind) -> Result<u32, Error> {
        if id.owner() != self.number.get() {
            return Err(Error::new(ErrorKind::WrongLoop, kind));
        }
        self.handles.find(id).ok_or(Error::new(ErrorKind::StaleHandle, kind))
    }

    fn token(&self, index: u32) -> Token {
        Token { index, generation: self.slots.header(index).generation as u32 }
    }

    /// Lets the callback of an operation that ended here, in the engine, run when its turn comes.
    fn announce(&mut self, index: u32) {
        let token = self.token(index);
        self.completions.push_back(Completion { token, outcome: Outcome::Settled });
    }
}

/// Drops something of the user's whose panic would reach nobody.
pub(crate) fn drop_quietly<V>(value: V) {
    let dropped: std::thread::Result<()> = catch_unwind(AssertUnwindSafe(|| drop(value)));
    if let Err(panic) = dropped {
        // Dropping it might panic again.
        std::mem::forget(panic);
    }
}
