//! Operations of every kind that don't end by themselves, for the cases that end them.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use nbio::{
    Datagram, Done, Error, ErrorKind, Event, EventLoop, Half, Instant, IoBuf, IoBufMut, Lent, ManyOperation,
    OpId, Operation, TcpListener, TcpOptions, TcpStream, UdpSocket, op,
};

use crate::lacking::supports;
use crate::peer::Peer;
use crate::support::{Counted, Drops, Slot, Subject, listen, own_address};

/// Longer than any case runs.
pub const HOUR: Duration = Duration::from_secs(3600);

/// More than the system buffers on a connection whose peer doesn't read.
pub const TOO_MUCH: usize = 1 << 20;

/// An end of an operation: its kind, the bytes it moved, and why.
pub type Ended = (&'static str, usize, Result<(), Error>);

/// A buffer that counts how often it is dropped.
pub struct Tracked {
    bytes: Box<[u8]>,
    _counted: Counted,
}

impl Tracked {
    pub fn new(length: usize, drops: &Drops) -> Tracked {
        Tracked { bytes: vec![7; length].into(), _counted: drops.counted() }
    }
}

impl IoBuf for Tracked {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl IoBufMut for Tracked {
    fn as_uninit(&mut self) -> Lent<'_> {
        Lent::from(&mut *self.bytes)
    }
}

/// A stream of the loop that buffers little, and its peer.
pub fn narrow_pair(subject: &Subject, io: &EventLoop) -> (TcpStream, Peer) {
    narrow_pair_with(subject, io, &mut ())
}

pub fn narrow_pair_with<S>(subject: &Subject, io: &EventLoop<S>, state: &mut S) -> (TcpStream, Peer) {
    let (stream, peer) = subject.pair_with(io, state);
    io.set_tcp_options(stream, TcpOptions::default().send_buffer(4096)).unwrap();
    (stream, peer)
}

/// One operation of every kind, and how each ended.
pub struct Hanging {
    pub ids: Vec<(&'static str, OpId)>,
    pub ended: Slot<Ended>,
    /// Callbacks that were dropped, run or not.
    pub callbacks: Drops,
    /// Buffers that were dropped.
    pub buffers: Drops,
    pub buffers_lent: usize,
    pub listener: TcpListener,
    pub streams: Vec<TcpStream>,
    pub peers: Vec<Peer>,
    /// None in a simulation.
    pub udp: Option<UdpSocket>,
    pub limit: Option<Instant>,
    /// Connected already, and to be used in this order.
    ready: std::vec::IntoIter<(TcpStream, Peer)>,
}

/// Kinds that have moved some bytes by the time they are ended, once a tick has started them.
pub const HALF_DONE: [&str; 4] = ["recv exact", "recv vectored exact", "send all", "send vectored"];

/// What has arrived on each of the streams: those for the receives, then those for the sends.
const ARRIVED: [&[u8]; 6] = [b"", b"abc", b"", b"abcde", b"", b""];

fn stream_with(subject: &Subject, io: &EventLoop, arrived: &[u8]) -> (TcpStream, Peer) {
    let (stream, mut peer) = narrow_pair(subject, io);
    peer.write_all(arrived).unwrap();
    (stream, peer)
}

impl Hanging {
    /// Submits one of every kind.
    pub fn submit(subject: &Subject, io: &EventLoop<()>) -> Hanging {
        Hanging::submit_limited(subject, io, |_| None)
    }

    /// Submits one of every kind, and lets a tick give them to the system.
    pub fn start(subject: &Subject, io: &EventLoop<()>) -> Hanging {
        let hanging = Hanging::submit(subject, io);
        subject.hand_over(io);
        hanging
    }

    /// Submits one of every kind, all with the deadline that this makes of the present.
    pub fn submit_until(
        subject: &Subject,
        io: &EventLoop<()>,
        limit: impl FnOnce(Instant) -> Instant,
    ) -> Hanging {
        Hanging::submit_limited(subject, io, |now| Some(limit(now)))
    }

    fn submit_limited(
        subject: &Subject,
        io: &EventLoop<()>,
        limit: impl FnOnce(Instant) -> Option<Instant>,
    ) -> Hanging {
        // Before anything else: connecting may turn the loop.
        let ready: Vec<_> = ARRIVED.iter().map(|arrived| stream_with(subject, io, arrived)).collect();
        let full_address = subject.full_address();
        let mut hanging = Hanging {
            ids: Vec::new(),
            ended: Slot::new(),
            callbacks: Drops::new(),
            buffers: Drops::new(),
            buffers_lent: 0,
            listener: listen(io).0,
            streams: Vec::new(),
            peers: Vec::new(),
            udp: (!subject.simulated()).then(|| io.bind_udp(own_address()).unwrap()),
            limit: limit(io.now()),
            ready: ready.into_iter(),
        };
        hanging.submit_loop_and_connections(io, full_address);
        hanging.submit_receives(io);
        hanging.submit_sends(io);
        hanging.submit_datagrams(io);
        hanging
    }

    fn submit_loop_and_connections(&mut self, io: &EventLoop<()>, full_address: SocketAddr) {
        self.without_bytes(io, "timer", op::Timer::after(HOUR));
        let (ended, counted) = (self.ended.clone(), self.callbacks.counted());
        let interval = op::Interval::every(HOUR);
        let interval = if let Some(at) = self.limit { interval.deadline(at) } else { interval };
        let id = io.submit_many(interval, move |_, _, event| {
            let _counted = &counted;
            match event {
                Event::Item(_) => panic!("an hour has passed"),
                Event::End(result) => ended.put(("interval", 0, result)),
            }
        });
        self.ids.push(("interval", id));
        self.without_bytes(io, "accept", op::Accept::new(self.listener));
        let (ended, counted) = (self.ended.clone(), self.callbacks.counted());
        let accept = op::AcceptMany::new(self.listener);
        let accept = if let Some(at) = self.limit { accept.deadline(at) } else { accept };
        let id = io.submit_many(accept, move |_, _, event| {
            let _counted = &counted;
            match event {
                Event::Item(stream) => panic!("nobody connects: {stream:?}"),
                Event::End(result) => ended.put(("accept many", 0, result)),
            }
        });
        self.ids.push(("accept many", id));
        self.without_bytes(io, "connect", op::Connect::new(full_address));
        self.submit_polls(io);
    }

    fn submit_polls(&mut self, io: &EventLoop<()>) {
        if supports(io, op::Kind::Poll) {
            self.without_bytes(io, "poll", op::Poll::on(self.listener, op::Interest::NOTHING));
        }
        if supports(io, op::Kind::PollMany) {
            let (ended, counted) = (self.ended.clone(), self.callbacks.counted());
            let poll = op::PollMany::on(self.listener, op::Interest::NOTHING);
            let poll = if let Some(at) = self.limit { poll.deadline(at) } else { poll };
            let id = io.submit_many(poll, move |_, _, event| {
                let _counted = &counted;
                match event {
                    Event::Item(ready) => panic!("{ready:?}"),
                    Event::End(result) => ended.put(("poll many", 0, result)),
                }
            });
            self.ids.push(("poll many", id));
        }
    }

    fn submit_receives(&mut self, io: &EventLoop<()>) {
        let stream = self.stream();
        let buf = self.buffer(8);
        self.with_bytes(io, "recv", op::Recv::new(stream, buf));
        let buf = self.buffer(8);
        self.with_bytes(io, "recv queued", op::Recv::new(stream, buf));
        let stream = self.stream();
        let buf = self.buffer(8);
        self.with_bytes(io, "recv exact", op::Recv::new(stream, buf).exact(8));
        let stream = self.stream();
        let bufs = [self.buffer(4), self.buffer(4)];
        self.with_bytes(io, "recv vectored", op::RecvVectored::new(stream, bufs));
        let stream = self.stream();
        let bufs = [self.buffer(4), self.buffer(4)];
        self.with_bytes(io, "recv vectored exact", op::RecvVectored::new(stream, bufs).exact(8));
    }

    fn submit_sends(&mut self, io: &EventLoop<()>) {
        let stream = self.stream();
        let buf = self.buffer(TOO_MUCH);
        self.with_bytes(io, "send all", op::Send::new(stream, buf).all());
        let buf = self.buffer(8);
        self.with_bytes(io, "send queued", op::Send::new(stream, buf));
        let bufs = [self.buffer(8), self.buffer(8)];
        self.with_bytes(io, "send vectored queued", op::SendVectored::new(stream, bufs));
        self.without_bytes(io, "shutdown queued", op::Shutdown::new(stream, Half::Write));
        let stream = self.stream();
        let bufs = [self.buffer(TOO_MUCH), self.buffer(TOO_MUCH)];
        self.with_bytes(io, "send vectored", op::SendVectored::new(stream, bufs).all());
    }

    fn submit_datagrams(&mut self, io: &EventLoop<()>) {
        let Some(socket) = self.udp else { return };
        let buf = self.buffer(8);
        self.with_datagram(io, "recv from", op::RecvFrom::new(socket, buf));
        let bufs = [self.buffer(4), self.buffer(4)];
        self.with_datagram(io, "recv msg", op::RecvMsg::new(socket, bufs));
    }

    /// The next stream.
    fn stream(&mut self) -> TcpStream {
        let (stream, peer) = self.ready.next().expect("as many as are used");
        self.streams.push(stream);
        self.peers.push(peer);
        stream
    }

    fn buffer(&mut self, length: usize) -> Tracked {
        self.buffers_lent += 1;
        Tracked::new(length, &self.buffers)
    }

    fn with_bytes<B, O: Operation<Output = Done<B>>>(
        &mut self,
        io: &EventLoop<()>,
        kind: &'static str,
        operation: O,
    ) {
        let (ended, counted) = (self.ended.clone(), self.callbacks.counted());
        let operation = if let Some(at) = self.limit { operation.deadline(at) } else { operation };
        let id = io.submit(operation, move |_, _, done: Done<B>| {
            let _counted = &counted;
            ended.put((kind, done.bytes, done.result));
        });
        self.ids.push((kind, id));
    }

    fn without_bytes<T, O: Operation<Output = Result<T, Error>>>(
        &mut self,
        io: &EventLoop<()>,
        kind: &'static str,
        operation: O,
    ) {
        let (ended, counted) = (self.ended.clone(), self.callbacks.counted());
        let operation = if let Some(at) = self.limit { operation.deadline(at) } else { operation };
        let id = io.submit(operation, move |_, _, result: Result<T, Error>| {
            let _counted = &counted;
            ended.put((kind, 0, result.map(drop)));
        });
        self.ids.push((kind, id));
    }

    fn with_datagram<B, O: Operation<Output = Datagram<B>>>(
        &mut self,
        io: &EventLoop<()>,
        kind: &'static str,
        operation: O,
    ) {
        let (ended, counted) = (self.ended.clone(), self.callbacks.counted());
        let operation = if let Some(at) = self.limit { operation.deadline(at) } else { operation };
        let id = io.submit(operation, move |_, _, datagram: Datagram<B>| {
            let _counted = &counted;
            assert!(datagram.from.is_none() && !datagram.truncated);
            ended.put((kind, datagram.bytes, datagram.result));
        });
        self.ids.push((kind, id));
    }

    pub fn close_handles(&self, io: &EventLoop<()>) {
        io.close(self.listener);
        for &stream in &self.streams {
            io.close(stream);
        }
        self.udp.iter().for_each(|&socket| io.close(socket));
    }

    /// Every one has ended exactly once with this error, and those half done tell their bytes.
    pub fn assert_all_ended(&self, error: ErrorKind) {
        let mut ended = self.ended.take();
        ended.sort_by_key(|end| end.0);
        let mut kinds: Vec<_> = self.ids.iter().map(|id| id.0).collect();
        kinds.sort_unstable();
        assert_eq!(ended.iter().map(|end| end.0).collect::<Vec<_>>(), kinds, "each ends exactly once");
        for (kind, bytes, result) in ended {
            assert_eq!(result.unwrap_err().kind(), error, "{kind}");
            assert_eq!(bytes > 0, HALF_DONE.contains(&kind), "{kind} moved {bytes} bytes");
        }
        self.assert_all_dropped();
    }

    /// Every callback and every buffer was dropped exactly once.
    pub fn assert_all_dropped(&self) {
        assert_eq!(self.callbacks.count(), self.ids.len());
        assert_eq!(self.buffers.count(), self.buffers_lent);
    }
}

/// Goes on until nothing is left, what was removed but the system still has among it.
pub fn idle(io: &EventLoop<()>) {
    while io.in_flight() > 0 {
        io.tick(None).unwrap();
    }
}
