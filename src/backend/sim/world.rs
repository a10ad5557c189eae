//! The world that loops of one simulation share: a clock, a queue of events, and what each loop has submitted.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::ptr::NonNull;
use std::sync::Arc;
use std::thread::ThreadId;

use super::datagram::{Datagrams, Letter};
use super::disk::Disk;
use super::draw::Draw;
use super::files::FileWork;
use super::memory::Memory;
use super::network::Network;
use crate::ErrorKind;
use crate::backend::{Address, Completer, Completion, Outcome, Token, Work as Task};

/// What one turn costs on the virtual clock, so that a loop that never waits gets on, too: 1 µs.
const TURN: u64 = 1_000;

/// The clock's first reading: there is a time before it.
const DAWN: u64 = 1_000_000_000;

pub(super) struct World {
    pub(super) now: u64,
    pub(super) draw: Draw,
    /// Of all that has happened: two runs with the same digest did the same.
    pub(super) digest: u64,
    serial: u64,
    events: BinaryHeap<Reverse<Event>>,
    pub(super) loops: Vec<Part>,
    /// Jobs that have not run yet, by their tickets.
    pub(super) jobs: BTreeMap<u64, Job>,
    /// Those among them that wait for a lock, and how often one had been given back when that was looked at last.
    waiting_jobs: Vec<u64>,
    unlocks: u64,
    pub(super) network: Network,
    pub(super) disk: Disk,
    pub(super) datagrams: Datagrams,
}

/// A job of a loop, and what tells the loop that it is over.
pub(super) struct Job {
    part: usize,
    pub(super) task: Arc<dyn Task>,
    pub(super) completer: Completer,
}

/// What the world knows of one loop.
pub(super) struct Part {
    pub(super) thread: ThreadId,
    pub(super) alive: bool,
    /// Another thread asked it to go round.
    pub(super) woken: bool,
    /// Other threads may yet ask it to.
    pub(super) expects_wakes: bool,
    pub(super) ready: VecDeque<Completion>,
    /// Of its jobs whose time has come.
    pub(super) due: Vec<(u64, Job)>,
    shots: Vec<Option<Shot>>,
}

/// A shot of some loop: where it is, and its number, so that a name that outlived it reaches no other.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ShotId {
    part: u32,
    index: u32,
    serial: u64,
}

impl ShotId {
    /// The shot, if it isn't over.
    pub(super) fn among(self, loops: &[Part]) -> Option<&Shot> {
        let shot = loops[self.part as usize].shots.get(self.index as usize)?.as_ref()?;
        (shot.serial == self.serial).then_some(shot)
    }
}

pub(super) struct Shot {
    serial: u64,
    token: Token,
    /// The socket's number.
    pub(super) socket: usize,
    pub(super) work: Work,
    stage: Stage,
}

pub(super) enum Work {
    /// Where the peer's address goes.
    Accept(Place),
    Connect(std::net::SocketAddr),
    Receive(Memory),
    Send(Memory),
    Close,
    File(FileWork),
    ReceiveDatagram(Letter),
    SendDatagram(Letter),
}

/// The scratch block of an accept.
pub(super) struct Place(pub(super) NonNull<Address>);

// SAFETY: as `Memory`: used under the world's lock, until the shot's completion is handed over.
unsafe impl Send for Place {}

impl Place {
    pub(super) fn write(&self, address: Address) {
        // SAFETY: the scratch block of an accept that is not over, which the engine has lent.
        unsafe { self.0.write(address) }
    }
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// The system hasn't looked at it yet.
    Starting,
    /// Parked until its socket changes.
    Waiting,
    /// It did what it will do; the loop doesn't know yet.
    Completing(Outcome),
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    at: u64,
    /// Equal times: in the order in which they were planned.
    serial: u64,
    what: What,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// The system looks at a shot.
    Start(ShotId),
    /// A loop hears of a shot's end.
    Complete(ShotId),
    /// Bytes, or the end of them, reach the other side of a socket's connection.
    Deliver(usize, u64),
    /// The other side's reset reaches a socket.
    Reset(usize, u64),
    /// A job's time has come.
    Job(u64),
    /// A datagram arrives.
    Datagram(u64),
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        World {
            now: DAWN,
            draw: Draw::new(seed),
            digest: seed,
            serial: 0,
            events: BinaryHeap::new(),
            loops: Vec::new(),
            jobs: BTreeMap::new(),
            waiting_jobs: Vec::new(),
            unlocks: 0,
            network: Network::new(),
            disk: Disk::new(DAWN),
            datagrams: Datagrams::default(),
        }
    }

    pub(super) fn add_loop(&mut self) -> usize {
        self.loops.push(Part {
            thread: std::thread::current().id(),
            alive: true,
            woken: false,
            expects_wakes: false,
            ready: VecDeque::new(),
            due: Vec::new(),
            shots: Vec::new(),
        });
        self.loops.len() - 1
    }

    /// Forgets everything that a loop has submitted; its memory is its own again. Gives back its jobs.
    pub(super) fn remove_loop(&mut self, part: usize) -> Vec<Job> {
        for index in 0..self.loops[part].shots.len() {
            let Some(id) = self.id(part, index) else { continue };
            self.unpark(id);
            // A connection or file that was opened for it and that it will never hear of.
            let shot = self.shot(id).expect("just found");
            let opens = match &shot.work {
                Work::Accept(_) => true,
                Work::File(work) => work.opens(),
                _ => false,
            };
            if let (true, Stage::Completing(Outcome::Value(opened))) = (opens, shot.stage) {
                self.close(opened as usize);
            }
        }
        let jobs = self.jobs.extract_if(.., |_, job| job.part == part).map(|job| job.1);
        let mut jobs: Vec<Job> = jobs.collect();
        let part = &mut self.loops[part];
        part.alive = false;
        jobs.extend(std::mem::take(&mut part.due).into_iter().map(|job| job.1));
        part.shots = Vec::new();
        part.ready = VecDeque::new();
        jobs
    }

    pub(super) fn serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Mixes into the digest what happened.
    pub(super) fn record(&mut self, what: u64, value: u64) {
        let mixed = (self.digest ^ what ^ value.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.digest = (mixed ^ (mixed >> 29)).wrapping_add(self.now);
    }

    pub(super) fn plan(&mut self, delay: u64, what: What) {
        let (at, serial) = (self.now.saturating_add(delay), self.serial());
        self.events.push(Reverse(Event { at, serial, what }));
    }

    /// Lets a moment pass, and everything happen that is due.
    pub(super) fn turn(&mut self) {
        self.now = self.now.saturating_add(TURN);
        self.happen();
    }

    /// Nothing but what this loop does itself can ever reach it.
    pub(super) fn alone(&self, part: usize) -> bool {
        let own = &self.loops[part];
        !own.expects_wakes && self.loops.iter().all(|other| !other.alive || other.thread == own.thread)
    }

    /// When the next event is due.
    pub(super) fn next_event(&self) -> Option<u64> {
        self.events.peek().map(|Reverse(event)| event.at)
    }

    /// Moves the clock and lets everything happen that is due.
    pub(super) fn jump(&mut self, to: u64) {
        self.now = self.now.max(to);
        self.happen();
    }

    fn happen(&mut self) {
        while let Some(Reverse(event)) = self.events.peek()
            && event.at <= self.now
        {
            let what = event.what;
            self.events.pop();
            match what {
                What::Start(id) => self.start(id),
                What::Complete(id) => self.hand_over(id),
                What::Deliver(socket, serial) => self.deliver(socket, serial),
                What::Reset(socket, serial) => self.reset_arrives(socket, serial),
                What::Datagram(ticket) => self.datagram_arrives(ticket),
                What::Job(ticket) => {
                    if let Some(job) = self.jobs.remove(&ticket) {
                        self.record(ticket, job.part as u64);
                        self.loops[job.part].due.push((ticket, job));
                    }
                }
            }
        }
    }

    /// Takes a shot of a loop.
    pub(super) fn submit(&mut self, part: usize, token: Token, socket: usize, work: Work) {
        let serial = self.serial();
        let shots = &mut self.loops[part].shots;
        let index = token.index as usize;
        if shots.len() <= index {
            shots.resize_with(index + 1, || None);
        }
        assert!(shots[index].is_none(), "one shot of an operation at a time");
        let of_files = matches!(work, Work::File(_));
        shots[index] = Some(Shot { serial, token, socket, work, stage: Stage::Starting });
        let id = ShotId { part: part as u32, index: token.index, serial };
        match if of_files { self.file_delay() } else { self.draw.delay() } {
            0 => self.start(id),
            delay => self.plan(delay, What::Start(id)),
        }
    }

    /// Takes a job of a loop; it will take up to a millisecond.
    pub(super) fn add_job(&mut self, part: usize, task: Arc<dyn Task>, completer: Completer) -> u64 {
        let ticket = self.serial();
        self.jobs.insert(ticket, Job { part, task, completer });
        let delay = self.draw.below(1_000_000);
        self.plan(delay, What::Job(ticket));
        ticket
    }

    pub(super) fn jobs_of(&self, part: usize) -> usize {
        self.jobs.values().filter(|job| job.part == part).count()
    }

    /// Lets a job wait for a lock; `unlocks` is how many had been given back before it looked.
    pub(super) fn park_job(&mut self, ticket: u64, job: Job, unlocks: u64) {
        self.jobs.insert(ticket, job);
        self.waiting_jobs.push(ticket);
        self.unlocks = self.unlocks.min(unlocks);
        self.wake_waiting_jobs();
    }

    /// Has the jobs that wait for a lock look again, if one was given back.
    pub(super) fn wake_waiting_jobs(&mut self) {
        if self.unlocks != self.disk.unlocks {
            self.unlocks = self.disk.unlocks;
            for ticket in std::mem::take(&mut self.waiting_jobs) {
                let delay = self.draw.delay();
                self.plan(delay, What::Job(ticket));
            }
        }
    }

    /// Asks that a shot end soon: it is taken away from its socket, unless it has done its work already.
    pub(super) fn cancel(&mut self, part: usize, token: Token) {
        let Some(id) = self.id(part, token.index as usize) else { return };
        let shot = self.shot(id).expect("just found");
        if shot.token == token && !matches!(shot.stage, Stage::Completing(_)) {
            self.unpark(id);
            self.complete(id, Outcome::Refused(ErrorKind::Cancelled));
        }
    }

    fn id(&self, part: usize, index: usize) -> Option<ShotId> {
        let shot = self.loops[part].shots.get(index)?.as_ref()?;
        Some(ShotId { part: part as u32, index: index as u32, serial: shot.serial })
    }

    pub(super) fn shot(&self, id: ShotId) -> Option<&Shot> {
        id.among(&self.loops)
    }

    fn shot_mut(&mut self, id: ShotId) -> Option<&mut Shot> {
        let shot = self.loops[id.part as usize].shots.get_mut(id.index as usize)?.as_mut()?;
        (shot.serial == id.serial).then_some(shot)
    }

    /// The system looks at a shot for the first time.
    fn start(&mut self, id: ShotId) {
        let Some(shot) = self.shot_mut(id) else { return };
        if shot.stage == Stage::Starting {
            shot.stage = Stage::Waiting;
            self.attempt(id);
        }
    }

    /// A shot has done what it will do; sooner or later its loop hears of it.
    pub(super) fn complete(&mut self, id: ShotId, outcome: Outcome) {
        let shot = self.shot_mut(id).expect("a shot that isn't over");
        shot.stage = Stage::Completing(outcome);
        match self.draw.delay() {
            0 => self.hand_over(id),
            delay => self.plan(delay, What::Complete(id)),
        }
    }

    fn hand_over(&mut self, id: ShotId) {
        let part = &mut self.loops[id.part as usize];
        let Some(place) = part.shots.get_mut(id.index as usize) else { return };
        let Some(shot) = place.take_if(|shot| shot.serial == id.serial) else { return };
        let Stage::Completing(outcome) = shot.stage else { unreachable!("{:?} is not over", shot.stage) };
        part.ready.push_back(Completion { token: shot.token, outcome });
        let value = match outcome {
            Outcome::Value(value) => u64::from(value),
            Outcome::Refused(kind) => 1 << 32 | kind as u64,
            Outcome::Filled { bytes, .. } => u64::from(bytes),
            Outcome::Starved => 2 << 32,
            other => unreachable!("the simulation never says {other:?}"),
        };
        self.record(u64::from(id.part) << 32 | u64::from(id.index), value);
    }
}
