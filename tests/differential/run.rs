//! One side of a comparison: a loop, what a program has open there, and what its callbacks saw.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nbio::{
    Builder, Done, Error, ErrorKind, EventLoop, File, ListenOptions, OpId, Operation, Simulation,
    TcpListener, TcpOptions, TcpStream, UdpSocket, UnixListener, op,
};

use crate::address::own_address;
use crate::backends::System;
use crate::model::Expected;
use crate::stream::End;

pub type Io = EventLoop<()>;

/// How long the system may take for what has to happen.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a loop runs on.
#[derive(Copy, Clone, Debug)]
pub enum Ground {
    System(System),
    Simulation,
}

impl Ground {
    pub fn name(&self) -> &'static str {
        match self {
            Ground::System((name, _)) => name,
            Ground::Simulation => "sim",
        }
    }
}

/// What a callback was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub bytes: u64,
    /// Of the bytes themselves.
    pub sum: u32,
    pub error: Option<ErrorKind>,
    /// The operation that the error names.
    pub failed: Option<op::Kind>,
    pub more: String,
}

/// What the operations came to that have ended since the program was last at rest.
pub type AllSeen = BTreeMap<usize, Seen>;

/// Tells what a callback was given; or that a second one came.
#[derive(Clone)]
pub struct Tell {
    op: usize,
    seen: Rc<RefCell<AllSeen>>,
}

impl Tell {
    fn tell(self, mut seen: Seen, result: Result<(), Error>) {
        if let Err(error) = result {
            (seen.error, seen.failed) = (Some(error.kind()), Some(error.operation()));
        }
        let earlier = self.seen.borrow_mut().insert(self.op, seen);
        assert_eq!(earlier, None, "operation {} ended twice", self.op);
    }

    pub fn result(self, result: Result<(), Error>) {
        self.tell(Seen::default(), result);
    }

    pub fn bytes(self, bytes: u64, data: &[u8], result: Result<(), Error>) {
        let sum = data.iter().fold(1_u32, |sum, &byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        self.tell(Seen { bytes, sum, ..Seen::default() }, result);
    }

    pub fn sent<B>(self, done: &Done<B>) {
        self.bytes(done.bytes as u64, &[], done.result);
    }

    pub fn moved<B>(self, done: &Done<B>, data: &[u8]) {
        self.bytes(done.bytes as u64, data, done.result);
    }

    /// What has no number of bytes.
    pub fn text(self, answer: Result<impl Debug, Error>) {
        let more = answer.as_ref().map_or(String::new(), |answer| format!("{answer:?}"));
        self.tell(Seen { more, ..Seen::default() }, answer.map(drop));
    }

    /// What is data, though it isn't called that.
    pub fn data(self, answer: Result<impl Debug, Error>) {
        let more = answer.as_ref().map_or(String::new(), |answer| format!("{answer:?}"));
        self.tell(Seen { bytes: more.len() as u64, more, ..Seen::default() }, answer.map(drop));
    }
}

/// A directory that goes with everything in it.
pub struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("nbio-differential-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).expect("there is room for a directory");
        Folder(path)
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// New ends, files and so on take the place that the program has given them.
pub type Places<T> = Rc<RefCell<BTreeMap<usize, T>>>;

pub struct Run {
    pub io: Io,
    simulated: bool,
    pub listener: TcpListener,
    /// Where nobody listens.
    pub nobody: SocketAddr,
    /// Made when it is first needed, which is never in a simulation.
    pub unix_listener: Option<UnixListener>,
    pub folder: Folder,
    pub ends: Places<Rc<dyn End>>,
    pub tcp: Places<TcpStream>,
    /// How many ends there are or will be.
    pub next_end: usize,
    pub sockets: Vec<UdpSocket>,
    pub files: Places<File>,
    /// Those that may be stopped.
    pub operations: BTreeMap<usize, OpId>,
    seen: Rc<RefCell<AllSeen>>,
}

impl Run {
    pub fn new(ground: Ground, seed: u64) -> Run {
        let builder = match ground {
            Ground::System((_, builder)) => builder(),
            Ground::Simulation => Builder::new().simulation(&Simulation::new(seed)),
        };
        let io: Io = builder.build().expect("it can be had here");
        // Without Nagle's algorithm: nothing waits in the system for an acknowledgement.
        let options = ListenOptions::default().tcp(TcpOptions::default().nodelay(true));
        let listener = io.listen_tcp_with(own_address(), options).expect("the address is free");
        let closed = io.listen_tcp(own_address()).expect("the address is free");
        let nobody = io.local_address(closed).expect("it listens");
        io.close(closed);
        io.run().expect("it can wait");
        Run {
            io,
            simulated: matches!(ground, Ground::Simulation),
            listener,
            nobody,
            unix_listener: None,
            folder: Folder::new(),
            ends: Rc::default(),
            tcp: Rc::default(),
            next_end: 0,
            sockets: Vec::new(),
            files: Rc::default(),
            operations: BTreeMap::new(),
            seen: Rc::default(),
        }
    }

    pub fn tell(&self, op: usize) -> Tell {
        Tell { op, seen: self.seen.clone() }
    }

    /// How many operations are left here and there, once both have come to rest: a close may still be on its way to another
    /// thread and back.
    pub fn left_in_flight(&self, other: &Run) -> (usize, usize) {
        let end = self.io.now() + PATIENCE;
        loop {
            let left = (self.io.in_flight(), other.io.in_flight());
            if left.0 == left.1 || self.simulated || other.simulated || self.io.now() >= end {
                return left;
            }
            for run in [self, other] {
                run.io.tick(Some(Duration::from_millis(1))).expect("it can wait");
            }
        }
    }

    /// Turns the loop until what has to end has ended, and a little longer; gives what has.
    pub fn rest(&mut self, expected: &[(usize, Expected)]) -> AllSeen {
        if self.simulated {
            self.settle();
        } else {
            let late = Rc::new(Cell::new(false));
            let too_late = late.clone();
            let patience = op::Timer::after(PATIENCE).background();
            let patience = self.io.submit(patience, move |_, _, _| too_late.set(true));
            let all = || self.seen.borrow().len() >= expected.len();
            self.io.run_until(|| all() || late.get()).expect("it can wait");
            self.io.remove(patience);
            for _ in 0..4 {
                self.io.tick(Some(Duration::ZERO)).expect("it can wait");
            }
        }
        self.seen.take()
    }

    /// Turns the simulation until nothing happens any more.
    fn settle(&self) {
        let (mut quiet, mut ended) = (self.io.now(), self.seen.borrow().len());
        while self.io.now() - quiet < Duration::from_millis(200) {
            self.io.tick(Some(Duration::from_millis(5))).expect("it can wait");
            let now = self.seen.borrow().len();
            if now != ended {
                (ended, quiet) = (now, self.io.now());
            }
        }
    }
}
