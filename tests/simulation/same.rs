//! Guarantee 8: the same program has the same results in a simulation and on the system.
//!
//! What depends on timing can't be compared, so everything comes to rest after each step: in the simulation when nothing
//! has happened for a while of its clock, on the system when all that ended in the simulation has ended. Compared are
//! which operations end in which step, how, and after how many bytes; of plain receives, which may come in any chunks,
//! all until nothing is left.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use nbio::{
    Builder, Error, EventLoop, Half, Linger, ListenOptions, OpId, Simulation, TcpListener, TcpOptions,
    TcpStream, op,
};

use crate::backends::{SYSTEMS, System};
use crate::programs::address::own_address;

type Io = EventLoop<()>;

/// What a program does next. Ends and operations are named by how far they are back.
#[derive(Clone, Debug)]
enum Step {
    Pair,
    /// Connects, and nobody accepts yet.
    Knock,
    Accept,
    Refused,
    Send {
        end: usize,
        bytes: usize,
    },
    Exact {
        end: usize,
        bytes: usize,
    },
    /// Receives until nothing is left.
    Read {
        end: usize,
    },
    /// Far more than buffers take, from one end of a pair to the other.
    Stream {
        end: usize,
        bytes: usize,
    },
    Shutdown {
        end: usize,
        half: Half,
    },
    Close {
        end: usize,
    },
    CloseWithReset {
        end: usize,
    },
    CloseGracefully {
        end: usize,
    },
    Cancel {
        back: usize,
    },
    Remove {
        back: usize,
    },
    CancelAll {
        end: usize,
    },
    CloseListener,
    /// The addresses: whether there are any.
    Look {
        end: usize,
    },
}

fn draw(seed: u64) -> Vec<Step> {
    let mut rng = Rng::with_seed(seed);
    let mut steps = vec![Step::Pair];
    for _ in 0..rng.usize(3..25) {
        let end = rng.usize(..6);
        steps.push(match rng.u8(..32) {
            0..=1 => Step::Pair,
            2 => Step::Knock,
            3 => Step::Accept,
            4 => Step::Refused,
            5..=10 => Step::Send { end, bytes: rng.usize(1..2_000) },
            11..=14 => Step::Exact { end, bytes: rng.usize(1..3_000) },
            15..=18 => Step::Read { end },
            19 => Step::Stream { end, bytes: rng.usize(1..2 << 20) },
            20..=22 => Step::Shutdown {
                end,
                half: [Half::Read, Half::Write, Half::Write, Half::Both][rng.usize(..4)],
            },
            23..=24 => Step::Close { end },
            25 => Step::CloseWithReset { end },
            26 => Step::CloseGracefully { end },
            27 => Step::Cancel { back: rng.usize(..4) },
            28 => Step::Remove { back: rng.usize(..4) },
            29 => Step::CancelAll { end },
            30 if rng.u8(..4) == 0 => Step::CloseListener,
            _ => Step::Look { end },
        });
    }
    steps
}

/// What has ended in a step: the operation's number and how.
type Ended = Rc<RefCell<Vec<(usize, String)>>>;

/// A run of a program, on either ground.
struct Run {
    io: Io,
    listener: TcpListener,
    to: SocketAddr,
    nobody: SocketAddr,
    ends: Vec<TcpStream>,
    /// New ends, by the number of the operation that brought them.
    new: Rc<RefCell<Vec<(usize, TcpStream)>>>,
    /// Connects that nobody accepts yet.
    knocking: usize,
    /// Ends that were closed or shut down, in whatever way.
    ended_ends: Vec<TcpStream>,
    operations: Vec<Option<OpId>>,
    /// The receive of a `Read`, and how many bytes all of them got.
    reading: Rc<Cell<Option<OpId>>>,
    read: Rc<Cell<usize>>,
    ended: Ended,
    /// How many have ended in all.
    count: Rc<Cell<usize>>,
}

/// What a run has come to when it is at rest.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
struct Progress {
    ended: usize,
    read: usize,
}

impl Run {
    fn new(io: Io) -> Run {
        // Without Nagle's algorithm: nothing waits in the system for an acknowledgement.
        let options = ListenOptions::default().tcp(TcpOptions::default().nodelay(true));
        let listener = io.listen_tcp_with(own_address(), options).unwrap();
        let to = io.local_address(listener).unwrap();
        let closed = io.listen_tcp(own_address()).unwrap();
        let nobody = io.local_address(closed).unwrap();
        io.close(closed);
        io.run().unwrap();
        Run {
            io,
            listener,
            to,
            nobody,
            ends: Vec::new(),
            new: Rc::default(),
            knocking: 0,
            ended_ends: Vec::new(),
            operations: Vec::new(),
            reading: Rc::default(),
            read: Rc::default(),
            ended: Rc::default(),
            count: Rc::default(),
        }
    }

    fn progress(&self) -> Progress {
        Progress { ended: self.count.get(), read: self.read.get() }
    }

    fn end(&self, back: usize) -> TcpStream {
        self.ends[self.ends.len() - 1 - back % self.ends.len()]
    }

    /// The other end of an end's connection.
    fn other(&self, end: TcpStream) -> Option<TcpStream> {
        let addresses = |end| Some((self.io.local_address(end).ok()?, self.io.peer_address(end).ok()?));
        let (local, peer) = addresses(end)?;
        self.ends.iter().copied().find(|&other| addresses(other) == Some((peer, local)))
    }

    /// A new operation: its number and a way to tell its end.
    fn operation(&mut self) -> (usize, impl FnOnce(String) + 'static + use<>) {
        let (number, ended, count) = (self.operations.len(), self.ended.clone(), self.count.clone());
        self.operations.push(None);
        let tell = move |text| {
            count.set(count.get() + 1);
            ended.borrow_mut().push((number, text));
        };
        (number, tell)
    }

    /// The result of something that answers at once.
    fn say(&mut self, text: String) {
        self.operation().1(text);
    }

    fn perform(&mut self, step: &Step) {
        self.begin(step);
        if let Step::Shutdown { end, .. }
        | Step::Close { end }
        | Step::CloseWithReset { end }
        | Step::CloseGracefully { end } = *step
        {
            self.ended_ends.push(self.end(end));
        }
    }

    fn begin(&mut self, step: &Step) {
        match *step {
            Step::Pair => {
                self.accept();
                self.connect(self.to);
            }
            Step::Knock => {
                self.connect(self.to);
                self.knocking += 1;
            }
            // One at a time: accepts have no order.
            Step::Accept if self.knocking > 0 => {
                self.knocking -= 1;
                self.accept();
            }
            Step::Accept => {}
            Step::Refused => self.connect(self.nobody),
            Step::Send { end, bytes } => self.send(self.end(end), bytes),
            Step::Exact { end, bytes } => self.exact(self.end(end), bytes),
            Step::Read { end } => self.read(self.end(end)),
            Step::Stream { end, bytes } => {
                let quiet = self.io.in_flight() == 0 && !self.ended_ends.contains(&self.end(end));
                if let Some(other) = self.other(self.end(end))
                    && quiet
                    && !self.ended_ends.contains(&other)
                {
                    self.exact(other, bytes);
                    self.send(self.end(end), bytes);
                }
            }
            Step::Shutdown { end, half } => {
                let (number, tell) = self.operation();
                let shut =
                    self.io.shutdown(self.end(end), half, |_, _, result| tell(text("shutdown", result)));
                self.operations[number] = Some(shut);
            }
            Step::Close { end } => self.close(self.end(end)),
            Step::CloseWithReset { end } => {
                let options = TcpOptions::default().linger(Linger::Reset);
                self.say(text("linger", self.io.set_tcp_options(self.end(end), options)));
                self.close(self.end(end));
            }
            // Of an end that doesn't receive it may come to a reset, which may or may not overtake the end of the stream.
            Step::CloseGracefully { end } if !self.ended_ends.contains(&self.end(end)) => {
                let (_, tell) = self.operation();
                let hour = Duration::from_secs(3600);
                self.io
                    .close_gracefully(self.end(end), hour, |_, _, closed| tell(text("gracefully", closed)));
            }
            Step::CloseGracefully { .. } => {}
            Step::Cancel { back } => self.stop(back, Io::cancel),
            Step::Remove { back } => self.stop(back, Io::remove),
            Step::CancelAll { end } => self.say(text("cancel all", self.io.cancel_all(self.end(end)))),
            Step::CloseListener => self.io.close(self.listener),
            Step::Look { end } => {
                self.say(text("local", self.io.local_address(self.end(end)).map(drop)));
                self.say(text("peer", self.io.peer_address(self.end(end)).map(drop)));
            }
        }
    }

    fn accept(&mut self) {
        let ((number, tell), new) = (self.operation(), self.new.clone());
        let accept = self.io.accept(self.listener, move |_, _, accepted| {
            tell(text("accept", accepted.as_ref().map(drop).map_err(|error| *error)));
            new.borrow_mut().extend(accepted.ok().map(|accepted| (number, accepted.stream)));
        });
        self.operations[number] = Some(accept);
    }

    fn connect(&mut self, to: SocketAddr) {
        let ((number, tell), new) = (self.operation(), self.new.clone());
        let connect = op::Connect::new(to).options(TcpOptions::default().nodelay(true));
        let connect = self.io.submit(connect, move |_, _, connected| {
            tell(text("connect", connected.map(drop)));
            new.borrow_mut().extend(connected.ok().map(|stream| (number, stream)));
        });
        self.operations[number] = Some(connect);
    }

    fn send(&mut self, stream: TcpStream, bytes: usize) {
        // The answer of an end that takes no more may come between two parts of a send, or after it.
        let taken = self.other(stream).is_some_and(|other| !self.ended_ends.contains(&other));
        let (number, tell) = self.operation();
        let content = (0..bytes).map(|at| (at * 7 + number) as u8).collect::<Vec<u8>>();
        let send = self.io.send_all(stream, content, move |_, _, done| {
            let after_part = !taken && (done.result.is_ok() || done.bytes > 0);
            tell(if after_part { "sent".to_owned() } else { moved("send", done.bytes, &[], done.result) });
        });
        self.operations[number] = Some(send);
    }

    fn exact(&mut self, stream: TcpStream, bytes: usize) {
        let (number, tell) = self.operation();
        let recv = self.io.recv_exact(stream, Vec::with_capacity(bytes), bytes, |_, _, done| {
            tell(moved("exact", done.bytes, done.data(), done.result));
        });
        self.operations[number] = Some(recv);
    }

    /// Receives whatever comes, until `stop_reading`, and tells it as one.
    fn read(&mut self, stream: TcpStream) {
        let (_, tell) = self.operation();
        read_on(&self.io, stream, Vec::new(), self.reading.clone(), self.read.clone(), tell);
    }

    /// Whether a `Read` still waited.
    fn stop_reading(&self) -> bool {
        self.reading.take().is_some_and(|recv| self.io.cancel(recv))
    }

    fn close(&mut self, stream: TcpStream) {
        let (_, tell) = self.operation();
        self.io.close_then(stream, |_, _, closed| tell(text("close", closed)));
    }

    fn stop(&mut self, back: usize, stop: fn(&Io, OpId) -> bool) {
        let known = self.operations.iter().rev().flatten().nth(back).copied();
        if let Some(operation) = known {
            let stopped = stop(&self.io, operation);
            self.say(format!("stopped {stopped}"));
        }
    }

    /// Turns the simulation until nothing happens any more.
    fn settle(&self) -> Progress {
        let mut quiet = self.io.now();
        let mut progress = self.progress();
        while self.io.now() - quiet < Duration::from_millis(200) {
            self.io.tick(Some(Duration::from_millis(5))).unwrap();
            if self.progress() != progress {
                (progress, quiet) = (self.progress(), self.io.now());
            }
        }
        progress
    }

    /// Turns the system until it has come as far as the simulation; says whether it has, and no further.
    fn follow(&self, expected: Progress) -> bool {
        let patience = std::time::Instant::now() + Duration::from_secs(10);
        let behind = |now: Progress| now.ended < expected.ended || now.read < expected.read;
        while behind(self.progress()) && std::time::Instant::now() < patience {
            self.io.tick(Some(Duration::from_millis(1))).unwrap();
        }
        for _ in 0..4 {
            self.io.tick(Some(Duration::ZERO)).unwrap();
        }
        self.progress() == expected
    }

    /// What has ended since the last time, in the order of submission.
    fn take(&mut self) -> Vec<(usize, String)> {
        let mut new = self.new.take();
        new.sort_unstable_by_key(|new| new.0);
        self.ends.extend(new.into_iter().map(|new| new.1));
        let mut ended = self.ended.take();
        ended.sort_unstable();
        ended
    }
}

fn text(what: &str, result: Result<impl std::fmt::Debug, Error>) -> String {
    format!("{what} {:?}", result.map_err(|error| error.kind()))
}

fn moved(what: &str, bytes: usize, data: &[u8], result: Result<(), Error>) -> String {
    let sum = data.iter().fold(0_u32, |sum, &byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    format!("{} of {bytes} bytes, sum {sum:x}", text(what, result))
}

fn read_on(
    io: &Io,
    stream: TcpStream,
    mut all: Vec<u8>,
    reading: Rc<Cell<Option<OpId>>>,
    read: Rc<Cell<usize>>,
    tell: impl FnOnce(String) + 'static,
) {
    let current = reading.clone();
    let recv = io.recv(stream, Vec::with_capacity(1 << 16), move |_, io, done| {
        read.set(read.get() + done.bytes);
        all.extend_from_slice(done.data());
        if done.result.is_ok() && done.bytes > 0 {
            return read_again(io, stream, all, reading, read, tell);
        }
        reading.set(None);
        tell(moved("read", all.len(), &all, done.result));
    });
    current.set(Some(recv));
}

/// Boxed, or the type of the callback would have no end.
fn read_again(
    io: &Io,
    stream: TcpStream,
    all: Vec<u8>,
    reading: Rc<Cell<Option<OpId>>>,
    read: Rc<Cell<usize>>,
    tell: impl FnOnce(String) + 'static,
) {
    let tell: Box<dyn FnOnce(String)> = Box::new(tell);
    read_on(io, stream, all, reading, read, tell);
}

/// Runs a program on both grounds, a step at a time.
fn compare(seed: u64, (name, system): System) {
    let steps = draw(seed);
    let simulation = Simulation::new(seed);
    let mut simulated = Run::new(Builder::new().simulation(&simulation).build().unwrap());
    let mut real = Run::new(system().build().unwrap());
    let mut before = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        let explain = || format!("program {seed} on {name}, step {number} of {steps:?}\nbefore: {before:?}");
        simulated.perform(step);
        real.perform(step);
        let mut expected = simulated.settle();
        let mut same = real.follow(expected);
        if same && matches!(step, Step::Read { .. }) {
            assert_eq!(simulated.stop_reading(), real.stop_reading(), "{}", explain());
            expected = simulated.settle();
            same = real.follow(expected);
        }
        let (wanted, found) = (simulated.take(), real.take());
        let (progress, same) = (real.progress(), same && wanted == found);
        let what = || format!("simulated {expected:?} {wanted:?}\nreal {progress:?} {found:?}");
        assert!(same, "{}\n{}", explain(), what());
        before.push(wanted);
    }
    assert_eq!(simulated.io.in_flight(), real.io.in_flight(), "program {seed} on {name}: {steps:?}");
}

#[test]
fn programs_have_the_same_results_in_a_simulation_and_on_the_system() {
    match crate::programs::chosen() {
        Some(seeds) => seeds.for_each(|seed| SYSTEMS.iter().for_each(|&system| compare(seed, system))),
        None => (0..900).zip(SYSTEMS.iter().cycle()).for_each(|(seed, &system)| compare(seed, system)),
    }
}
