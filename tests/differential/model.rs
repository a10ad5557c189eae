//! Draws programs, and knows what each of their operations has to come to.

use std::collections::VecDeque;

use fastrand::Rng;
use nbio::ErrorKind;

use crate::files::Files;
use crate::tree::{self, Tree};

/// What there is to work with.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum World {
    System,
    /// TCP and time.
    Simulated,
}

/// How an operation ends.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// `Ok`, with data.
    Moves,
    /// `Ok`; there was no data to move.
    Done,
    Fails(ErrorKind),
}

/// One thing that a program does. Its operations are numbered on from `first`.
#[derive(Clone, Debug)]
pub struct Step {
    pub action: Action,
    pub first: usize,
    /// The operations that end by it, whichever step began them.
    pub ends: Vec<(usize, Expected)>,
    /// All that can end has to before the next step.
    pub rest: bool,
}

/// Ends of streams, sockets and operations are named by number.
#[derive(Clone, Debug)]
pub enum Action {
    /// Accepts and connects: two new ends.
    Connect,
    ConnectUnix,
    UnixPair,
    /// Two new ends: one is read, one written.
    Pipe,
    Refused,
    /// Nobody comes, until it is cancelled or late.
    AcceptNobody {
        late: bool,
    },
    Send {
        end: usize,
        bytes: usize,
        vectored: bool,
    },
    /// Receives exactly so much.
    Exact {
        end: usize,
        bytes: usize,
        vectored: bool,
    },
    /// The same, with a deadline that is never reached.
    InTime {
        end: usize,
        bytes: usize,
    },
    /// Nothing comes before the deadline, or it has passed when it begins.
    Late {
        end: usize,
        passed: bool,
    },
    /// Plain receives until so much has come.
    Drain {
        end: usize,
        bytes: usize,
    },
    /// More than buffers take.
    Flood {
        end: usize,
        other: usize,
        bytes: usize,
    },
    /// A second receive is cancelled before its turn has come, and the first one after it.
    CancelQueued {
        end: usize,
    },
    CancelAll {
        end: usize,
    },
    Shutdown {
        end: usize,
    },
    Close {
        end: usize,
    },
    Reset {
        end: usize,
    },
    Poll {
        end: usize,
    },
    Splice {
        from: usize,
        to: usize,
        bytes: usize,
    },
    /// There is nothing to pass on, until it is cancelled.
    SpliceNothing {
        from: usize,
        to: usize,
    },
    SendFile {
        file: usize,
        to: usize,
        offset: usize,
        bytes: usize,
    },
    /// A new socket.
    Bind,
    SendTo {
        from: usize,
        to: usize,
        bytes: usize,
    },
    RecvFrom {
        socket: usize,
        room: usize,
    },
    LateDatagram {
        socket: usize,
    },
    /// A timer that fires, or one that is cancelled.
    Timer {
        cancelled: bool,
    },
    Stop {
        op: usize,
        remove: bool,
    },
    File(Files),
}

impl Action {
    /// Whether what it comes to doesn't depend on how far those before are, nor that of those behind on it.
    fn is_gentle(&self) -> bool {
        match self {
            Action::Send { .. }
            | Action::Exact { .. }
            | Action::InTime { .. }
            | Action::Flood { .. }
            | Action::Splice { .. }
            | Action::Refused => true,
            Action::File(files) => files.is_gentle(),
            _ => false,
        }
    }
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Kind {
    Tcp,
    Unix,
    Pipe,
}

/// A receive that waits.
#[derive(Debug)]
struct Waiting {
    op: usize,
    bytes: usize,
    got: usize,
}

#[derive(Debug)]
struct End {
    kind: Kind,
    peer: usize,
    reads: bool,
    writes: bool,
    /// What is there for it, or on its way.
    unread: usize,
    waiting: VecDeque<Waiting>,
    /// What a receive ends with when nothing is left.
    over: Option<ErrorKind>,
    shut: bool,
    closed: bool,
    poll: Option<usize>,
}

#[derive(Debug, Default)]
struct Socket {
    /// The size of a datagram that nobody has received yet.
    unread: Option<usize>,
    waiting: Option<usize>,
}

/// So much may be unread: no buffer is that small.
const MOST_UNREAD: usize = 12_000;

pub struct Model {
    pub rng: Rng,
    world: World,
    pub ops: usize,
    pub ended: Vec<(usize, Expected)>,
    /// A poll has something to tell. A receive in the same tick might take that away before the system looks.
    told: bool,
    ends: Vec<End>,
    sockets: Vec<Socket>,
    tree: Tree,
}

pub fn draw(seed: u64, world: World) -> Vec<Step> {
    let mut rng = Rng::with_seed(seed);
    let count = rng.usize(100..180);
    let mut model = Model {
        rng,
        world,
        ops: 0,
        ended: Vec::new(),
        told: false,
        ends: Vec::new(),
        sockets: Vec::new(),
        tree: Tree::default(),
    };
    let mut steps: Vec<Step> = Vec::new();
    let mut begin = vec![Action::Connect];
    if world == World::System {
        begin.extend([Action::UnixPair, Action::Pipe, Action::Bind, Action::Bind]);
    }
    let mut begin = begin.into_iter();
    while steps.len() < count {
        let first = model.ops;
        let drawn = begin.next().map(|action| model.begin(action)).or_else(|| model.draw());
        let Some(action) = drawn else { continue };
        let told = std::mem::take(&mut model.told);
        let rest = told || !action.is_gentle() || model.rng.u8(..3) == 0 || steps.len() + 1 == count;
        if !action.is_gentle()
            && let Some(before) = steps.last_mut()
        {
            before.rest = true;
        }
        steps.push(Step { action, first, ends: std::mem::take(&mut model.ended), rest });
    }
    steps
}

impl Model {
    /// Numbers one more operation.
    pub fn op(&mut self) -> usize {
        self.ops += 1;
        self.ops - 1
    }

    /// One more operation, which ends at once.
    pub fn ends(&mut self, expected: Expected) {
        let op = self.op();
        self.ended.push((op, expected));
    }

    pub fn fails(&mut self, error: ErrorKind) {
        self.ends(Expected::Fails(error));
    }

    fn pair(&mut self, kind: Kind) {
        let one = self.ends.len();
        for (end, peer) in [(one, one + 1), (one + 1, one)] {
            self.ends.push(End {
                kind,
                peer,
                reads: kind != Kind::Pipe || end == one,
                writes: kind != Kind::Pipe || end == peer + 1,
                unread: 0,
                waiting: VecDeque::new(),
                over: None,
                shut: false,
                closed: false,
                poll: None,
            });
        }
    }

    /// What makes new ends and sockets.
    fn begin(&mut self, action: Action) -> Action {
        match action {
            Action::Connect => self.pair(Kind::Tcp),
            Action::ConnectUnix | Action::UnixPair => self.pair(Kind::Unix),
            Action::Pipe => self.pair(Kind::Pipe),
            _ => self.sockets.push(Socket::default()),
        }
        if matches!(action, Action::Connect | Action::ConnectUnix) {
            self.ends(Expected::Done);
            self.ends(Expected::Done);
        }
        action
    }

    fn pick(&mut self, fits: impl Fn(&End) -> bool) -> Option<usize> {
        let fitting = (0..self.ends.len()).filter(|&end| fits(&self.ends[end])).collect::<Vec<_>>();
        self.rng.choice(fitting)
    }

    fn draw(&mut self) -> Option<Action> {
        let system = self.world == World::System;
        match self.rng.u8(..100) {
            0..36 => self.stream(),
            36..48 => self.stream_ends(),
            48..54 => self.stop(),
            54..58 => self.several_streams(),
            58..68 if system => self.datagram(),
            68..100 if system => {
                if self.rng.u8(..24) == 0 {
                    return self.send_file();
                }
                let mut taken = std::mem::take(&mut self.tree);
                let action = tree::draw(&mut taken, self);
                self.tree = taken;
                action.map(Action::File)
            }
            _ => self.stream(),
        }
    }

    /// Sends and receives, most of which succeed.
    fn stream(&mut self) -> Option<Action> {
        let (bytes, vectored) = (self.rng.usize(1..3_000), self.rng.bool());
        match self.rng.u8(..20) {
            0..9 => {
                let end = self.pick(|end| end.writes && !end.closed && !end.shut && end.poll.is_none())?;
                let peer = self.ends[end].peer;
                let full = self.ends[peer].unread + bytes > MOST_UNREAD;
                if self.ends[peer].closed || self.ends[end].over == Some(ErrorKind::ConnectionReset) || full {
                    return None;
                }
                self.ends(Expected::Moves);
                self.arrive(peer, bytes);
                Some(Action::Send { end, bytes, vectored })
            }
            9..15 => {
                let end = self.pick(|end| end.reads && !end.closed && end.poll.is_none())?;
                let unread = self.ends[end].unread;
                let ahead = unread == 0 || self.rng.u8(..8) == 0;
                let bytes = if ahead { bytes } else { self.rng.usize(1..=unread) };
                let op = self.op();
                self.ends[end].waiting.push_back(Waiting { op, bytes, got: 0 });
                self.serve(end);
                match self.rng.u8(..3) {
                    0 => Some(Action::InTime { end, bytes }),
                    _ => Some(Action::Exact { end, bytes, vectored }),
                }
            }
            15..19 => {
                let end = self.pick(|end| end.reads && !end.closed && end.unread > 0)?;
                let bytes = std::mem::take(&mut self.ends[end].unread);
                self.ends(Expected::Moves);
                Some(Action::Drain { end, bytes })
            }
            _ => {
                let other = self.pick(|end| {
                    end.reads
                        && !end.closed
                        && end.over.is_none()
                        && end.unread == 0
                        && end.waiting.is_empty()
                })?;
                let end = self.ends[other].peer;
                if self.ends[end].shut || self.ends[end].closed || self.ends[other].poll.is_some() {
                    return None;
                }
                self.ends(Expected::Moves);
                self.ends(Expected::Moves);
                Some(Action::Flood { end, other, bytes: bytes * 300 })
            }
        }
    }

    /// What is made to fail.
    fn stream_ends(&mut self) -> Option<Action> {
        let quiet =
            |end: &End| end.unread == 0 && end.waiting.is_empty() && end.over.is_none() && end.poll.is_none();
        match self.rng.u8(..30) {
            0..5 => {
                let end = self.pick(|end| end.reads && !end.closed && quiet(end))?;
                self.fails(ErrorKind::TimedOut);
                Some(Action::Late { end, passed: self.rng.bool() })
            }
            5..10 => {
                let end = self.pick(|end| end.reads && !end.closed && quiet(end))?;
                self.fails(ErrorKind::Cancelled);
                self.fails(ErrorKind::Cancelled);
                Some(Action::CancelQueued { end })
            }
            10..12 => {
                let end =
                    self.pick(|end| !end.closed && !end.waiting.is_empty() && end.waiting[0].got == 0)?;
                let waiting = std::mem::take(&mut self.ends[end].waiting);
                self.ended
                    .extend(waiting.iter().map(|wait| (wait.op, Expected::Fails(ErrorKind::Cancelled))));
                self.unpoll(end);
                Some(Action::CancelAll { end })
            }
            12..18 => {
                let end = self.pick(|end| end.closed)?;
                self.fails(ErrorKind::StaleHandle);
                let bytes = 10;
                let vectored = self.rng.bool();
                let send = Action::Send { end, bytes, vectored };
                Some(if self.rng.bool() { send } else { Action::Exact { end, bytes, vectored } })
            }
            18..21 => {
                // It is over for good: its own half, or, where that is told at once, the other side is gone.
                let gone = |model: &Model, end: &End| end.kind != Kind::Tcp && model.ends[end.peer].closed;
                let fitting = (0..self.ends.len()).filter(|&index| {
                    let end = &self.ends[index];
                    let reset = end.over == Some(ErrorKind::ConnectionReset);
                    end.writes && !end.closed && !reset && (end.shut || gone(self, end))
                });
                let fitting = fitting.collect::<Vec<_>>();
                let end = self.rng.choice(fitting)?;
                self.fails(ErrorKind::BrokenPipe);
                Some(Action::Send { end, bytes: 10, vectored: false })
            }
            21..23 => self.finish(),
            23..25 => {
                self.fails(ErrorKind::ConnectionRefused);
                Some(Action::Refused)
            }
            25..28 => {
                let late = self.rng.bool();
                self.fails(if late { ErrorKind::TimedOut } else { ErrorKind::Cancelled });
                Some(Action::AcceptNobody { late })
            }
            28 => {
                let cancelled = self.rng.u8(..4) > 0;
                self.ends(if cancelled { Expected::Fails(ErrorKind::Cancelled) } else { Expected::Done });
                Some(Action::Timer { cancelled })
            }
            _ => {
                let end = self.pick(|end| end.reads && !end.closed && quiet(end) && end.kind != Kind::Tcp)?;
                let op = self.op();
                self.ends[end].poll = Some(op);
                Some(Action::Poll { end })
            }
        }
    }

    /// Ends one end of a stream, in one of the ways there are.
    fn finish(&mut self) -> Option<Action> {
        let end = self.pick(|end| !end.closed)?;
        let peer = self.ends[end].peer;
        let (kind, unread, peers_unread) =
            (self.ends[end].kind, self.ends[end].unread, self.ends[peer].unread);
        let partly = self.ends[peer].waiting.front().is_some_and(|front| front.got > 0)
            || self.ends[end].waiting.front().is_some_and(|front| front.got > 0);
        match self.rng.u8(..4) {
            0..2 if kind != Kind::Pipe && !self.ends[end].shut && !self.ends[peer].closed => {
                if self.ends[end].over == Some(ErrorKind::ConnectionReset) {
                    return None;
                }
                self.ends[end].shut = true;
                self.ends(Expected::Done);
                self.end_of_stream(peer, ErrorKind::UnexpectedEof);
                Some(Action::Shutdown { end })
            }
            // Bytes that nobody has read make it a reset.
            2 if unread == 0 && !partly => {
                self.closed(end);
                self.end_of_stream(peer, ErrorKind::UnexpectedEof);
                Some(Action::Close { end })
            }
            _ if kind == Kind::Tcp && peers_unread == 0 && !partly && !self.ends[peer].closed => {
                if self.ends[end].over.is_some() || self.ends[peer].over.is_some() {
                    return None;
                }
                self.closed(end);
                self.end_of_stream(peer, ErrorKind::ConnectionReset);
                Some(Action::Reset { end })
            }
            _ => None,
        }
    }

    fn closed(&mut self, end: usize) {
        self.ends[end].closed = true;
        let waiting = std::mem::take(&mut self.ends[end].waiting);
        self.ended.extend(waiting.iter().map(|wait| (wait.op, Expected::Fails(ErrorKind::Cancelled))));
        self.unpoll(end);
    }

    fn unpoll(&mut self, end: usize) {
        let poll = self.ends[end].poll.take();
        self.ended.extend(poll.map(|op| (op, Expected::Fails(ErrorKind::Cancelled))));
    }

    fn end_of_stream(&mut self, end: usize, error: ErrorKind) {
        let over = &mut self.ends[end].over;
        *over = Some(over.unwrap_or(error));
        self.serve(end);
        self.tell_poll(end);
    }

    fn arrive(&mut self, end: usize, bytes: usize) {
        self.ends[end].unread += bytes;
        self.tell_poll(end);
        self.serve(end);
    }

    fn tell_poll(&mut self, end: usize) {
        let poll = self.ends[end].poll.take();
        self.told |= poll.is_some();
        self.ended.extend(poll.map(|op| (op, Expected::Done)));
    }

    /// Gives to those who wait what there is.
    fn serve(&mut self, end: usize) {
        let end = &mut self.ends[end];
        while let Some(front) = end.waiting.front_mut() {
            let part = (front.bytes - front.got).min(end.unread);
            front.got += part;
            end.unread -= part;
            let expected = match end.over {
                _ if front.got == front.bytes => Expected::Moves,
                Some(error) => Expected::Fails(error),
                None => return,
            };
            self.ended.push((front.op, expected));
            end.waiting.pop_front();
        }
    }

    /// Cancels or removes what waits.
    fn stop(&mut self) -> Option<Action> {
        let remove = self.rng.u8(..4) == 0;
        let socket = (0..self.sockets.len()).find(|&socket| self.sockets[socket].waiting.is_some());
        let op = if let Some(socket) = socket
            && self.rng.bool()
        {
            self.sockets[socket].waiting.take()?
        } else {
            let end = self.pick(|end| !end.waiting.is_empty() && end.waiting[0].got == 0)?;
            let chosen = self.rng.usize(..self.ends[end].waiting.len());
            self.ends[end].waiting.remove(chosen)?.op
        };
        if !remove {
            self.ended.push((op, Expected::Fails(ErrorKind::Cancelled)));
        }
        Some(Action::Stop { op, remove })
    }

    fn target(&mut self, bytes: usize) -> Option<usize> {
        let fitting = (0..self.ends.len()).filter(|&index| {
            let (end, peer) = (&self.ends[index], &self.ends[self.ends[index].peer]);
            let open =
                !end.closed && !end.shut && !peer.closed && end.over != Some(ErrorKind::ConnectionReset);
            end.kind == Kind::Tcp && open && end.waiting.is_empty() && peer.unread + bytes <= MOST_UNREAD
        });
        let fitting = fitting.collect::<Vec<_>>();
        self.rng.choice(fitting)
    }

    fn several_streams(&mut self) -> Option<Action> {
        let (from, to) = match self.rng.u8(..8) {
            0 if self.world == World::System => return Some(self.begin(Action::ConnectUnix)),
            0 => return Some(self.begin(Action::Connect)),
            1 => {
                let from = self.pick(|end| {
                    let idle = end.unread == 0 && end.waiting.is_empty() && end.over.is_none();
                    end.reads && !end.closed && idle && end.poll.is_none()
                })?;
                let to = self.target(0)?;
                if from == to {
                    return None;
                }
                self.fails(ErrorKind::Cancelled);
                return Some(Action::SpliceNothing { from, to });
            }
            _ => {
                let from = self.pick(|end| end.reads && !end.closed && end.unread > 0)?;
                (from, self.target(0)?)
            }
        };
        let unread = self.ends[from].unread;
        let bytes = self.rng.usize(1..=unread);
        let peer = self.ends[to].peer;
        if from == to || self.ends[peer].unread + bytes > MOST_UNREAD {
            return None;
        }
        self.ends(Expected::Moves);
        self.ends[from].unread -= bytes;
        self.arrive(peer, bytes);
        Some(Action::Splice { from, to, bytes })
    }

    fn send_file(&mut self) -> Option<Action> {
        let (file, length) = self.tree.open_file(&mut self.rng)?;
        let offset = self.rng.usize(..length.max(1));
        let there = length.saturating_sub(offset);
        let short = self.rng.u8(..4) == 0;
        let sent = there.min(2_000);
        let to = self.target(sent)?;
        if sent == 0 || (short && there > 2_000) {
            return None;
        }
        self.ends(if short { Expected::Fails(ErrorKind::UnexpectedEof) } else { Expected::Moves });
        let peer = self.ends[to].peer;
        self.arrive(peer, sent);
        Some(Action::SendFile { file, to, offset, bytes: sent + usize::from(short) })
    }

    fn datagram(&mut self) -> Option<Action> {
        let count = self.sockets.len();
        let (from, to) = (self.rng.usize(..count), self.rng.usize(..count));
        let socket = &mut self.sockets[to];
        match self.rng.u8(..10) {
            0..5 if socket.unread.is_none() => {
                let bytes = self.rng.usize(1..1_400);
                match socket.waiting.take() {
                    Some(op) => self.ended.push((op, Expected::Moves)),
                    None => socket.unread = Some(bytes),
                }
                self.ends(Expected::Moves);
                Some(Action::SendTo { from, to, bytes })
            }
            5..8 if socket.waiting.is_none() => {
                let op = self.ops;
                match self.sockets[to].unread.take() {
                    Some(_) => self.ended.push((op, Expected::Moves)),
                    None => self.sockets[to].waiting = Some(op),
                }
                self.op();
                // Some are cut.
                Some(Action::RecvFrom { socket: to, room: self.rng.usize(1..3_000) })
            }
            8 => {
                self.fails(ErrorKind::MessageTooLong);
                Some(Action::SendTo { from, to, bytes: 70_000 })
            }
            9 if socket.unread.is_none() && socket.waiting.is_none() => {
                self.fails(ErrorKind::TimedOut);
                Some(Action::LateDatagram { socket: to })
            }
            _ => None,
        }
    }
}
