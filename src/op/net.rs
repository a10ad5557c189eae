//! Connections and what is done on them.

use std::net::SocketAddr;

use super::{Done, Kind, Operation, Options};
use crate::buf::{Buffers, RawLent};
use crate::engine::Core;
use crate::engine::op::{Describe, End, Op, Request, Target};
use crate::engine::vectored::{MOST_PIECES, Pieces};
use crate::handle::Id;
use crate::{Connection, Error, IoBuf, IoBufMut, Lent, Listener, Stream, TcpListener, TcpOptions, TcpStream};

/// A connection that was accepted.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Accepted<H = TcpStream, A = SocketAddr> {
    /// The connection.
    pub stream: H,
    /// The address it came from; that of a Unix socket's client is unnamed, as a rule.
    pub peer: A,
}

/// Waits for a connection on a listener.
///
/// Any number of accepts may wait on one listener; they have no order. A cancelled one that already had a connection
/// ends with it; the connection of a removed one is closed. When the process has no descriptors or memory left, it
/// waits 10 ms and tries again; a connection that failed before it was accepted is passed over (accept(2), "Error
/// handling").
///
/// # Errors
/// [`StaleHandle`](crate::ErrorKind::StaleHandle), [`WrongLoop`](crate::ErrorKind::WrongLoop),
/// [`Cancelled`](crate::ErrorKind::Cancelled) (also when the listener is closed),
/// [`TimedOut`](crate::ErrorKind::TimedOut).
///
/// ```
/// use std::net::TcpStream;
/// use nbio::{EventLoop, op};
/// let io = EventLoop::new()?;
/// let listener = io.listen_tcp(([127, 0, 0, 1], 0))?;
/// let client = TcpStream::connect(io.local_address(listener)?).unwrap();
/// let from = client.local_addr().unwrap();
/// io.submit(op::Accept::new(listener), move |_, _, accepted| assert_eq!(accepted.unwrap().peer, from));
/// io.run()?;
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct Accept<L = TcpListener> {
    listener: L,
    options: Options,
}

impl<L: Listener> Accept<L> {
    /// Waits for a connection on `listener`.
    pub fn new(listener: L) -> Accept<L> {
        Accept { listener, options: Options::default() }
    }
}

impl<L: Listener> Describe for Accept<L> {
    type Parts = ();

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> ((), Request) {
        let target = Target::Handle(self.listener.id());
        let op = Op::Accept { accepted: None, many: false, held: false };
        ((), Request::new(Kind::Accept, target, op, self.options))
    }
}

impl<L: Listener> Operation for Accept<L> {
    type Output = Result<Accepted<L::Stream, L::Address>, Error>;

    fn finish((): (), end: &mut End) -> Self::Output {
        let stream = end.stream()?;
        Ok(Accepted { stream, peer: L::peer(end) })
    }
}

/// Connects to an address.
///
/// It lends the system no memory, so a cancel or deadline calls back at once; the connection that may still come
/// about is closed. Names are not resolved here.
///
/// # Errors
/// [`ConnectionRefused`](crate::ErrorKind::ConnectionRefused), [`TimedOut`](crate::ErrorKind::TimedOut) (this
/// operation's deadline or, after some two minutes, the system), [`HostUnreachable`](crate::ErrorKind::HostUnreachable),
/// [`NetworkUnreachable`](crate::ErrorKind::NetworkUnreachable), [`AddrInUse`](crate::ErrorKind::AddrInUse) and
/// [`AddrNotAvailable`](crate::ErrorKind::AddrNotAvailable) (for `from`, or no free ports),
/// [`TooManyDescriptors`](crate::ErrorKind::TooManyDescriptors), [`Cancelled`](crate::ErrorKind::Cancelled); see
/// connect(2).
///
/// ```
/// use nbio::{EventLoop, TcpOptions, op};
/// let io = EventLoop::new()?;
/// let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
/// let connect = op::Connect::new(server.local_addr().unwrap()).options(TcpOptions::default().nodelay(true));
/// io.submit(connect, |_, io, connected| io.close(connected.unwrap()));
/// io.run()?;
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct Connect {
    to: SocketAddr,
    from: Option<SocketAddr>,
    tcp: TcpOptions,
    options: Options,
}

impl Connect {
    /// Connects to `to`.
    pub fn new(to: impl Into<SocketAddr>) -> Connect {
        Connect { to: to.into(), from: None, tcp: TcpOptions::default(), options: Options::default() }
    }

    /// Connects from this local address; port 0 lets the system choose.
    pub fn from(mut self, local: impl Into<SocketAddr>) -> Connect {
        self.from = Some(local.into());
        self
    }

    /// Sets these options before connecting.
    pub fn options(mut self, options: TcpOptions) -> Connect {
        self.tcp = options;
        self
    }
}

/// Where to, where from, and how: what a socket is made from when the connect is submitted.
pub struct Route {
    to: SocketAddr,
    from: Option<SocketAddr>,
    tcp: TcpOptions,
}

impl Describe for Connect {
    type Parts = Route;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (Route, Request) {
        let request = Request::new(Kind::Connect, Target::Nothing, Op::Connect, self.options);
        (Route { to: self.to, from: self.from, tcp: self.tcp }, request)
    }

    fn lend(route: &mut Route, request: &mut Request, core: &Core) {
        request.target = Target::Connection(core.new_connection(route.to, route.from, &route.tcp));
    }
}

impl Operation for Connect {
    type Output = Result<TcpStream, Error>;

    fn finish(_: Route, end: &mut End) -> Result<TcpStream, Error> {
        end.stream()
    }
}

/// Receives into a buffer.
///
/// It overwrites from byte 0, may fill the whole capacity, and ends with the first bytes that come; at the end of the
/// stream it ends `Ok` with 0. Receives on one stream take their turns in the order in which they were submitted;
/// one that is cancelled, or whose deadline passes, before its turn has come ends without waiting for those in
/// front of it.
///
/// Cancelled, it ends when the system lets go of the buffer, which is soon; bytes that had come are in it, and then
/// it ends `Ok`. If it is *removed* after bytes had come, they are lost, and every later receive on the stream
/// fails with [`Broken`](crate::ErrorKind::Broken).
///
/// # Errors
/// [`ConnectionReset`](crate::ErrorKind::ConnectionReset), [`InvalidInput`](crate::ErrorKind::InvalidInput) (no
/// capacity), [`UnexpectedEof`](crate::ErrorKind::UnexpectedEof) (only with [`exact`](Recv::exact)),
/// [`Cancelled`](crate::ErrorKind::Cancelled), [`TimedOut`](crate::ErrorKind::TimedOut) (its deadline; or the peer
/// stopped answering keepalive probes), [`StaleHandle`](crate::ErrorKind::StaleHandle),
/// [`WrongLoop`](crate::ErrorKind::WrongLoop), [`Broken`](crate::ErrorKind::Broken); see recv(2).
///
/// ```
/// # use std::io::Write;
/// use nbio::{EventLoop, op};
/// let io = EventLoop::new()?;
/// # let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
/// # let mut peer = std::net::TcpStream::connect(server.local_addr().unwrap()).unwrap();
/// # peer.write_all(b"hello").unwrap();
/// let stream = io.adopt::<nbio::TcpStream>(server.accept().unwrap().0)?;
/// io.submit(op::Recv::new(stream, Vec::with_capacity(64)).exact(5), |_, _, done| {
///     assert_eq!((done.data(), done.result), (&b"hello"[..], Ok(())));
/// });
/// io.run()?;
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct Recv<B> {
    stream: Id,
    buf: B,
    want: Option<usize>,
    append: bool,
    options: Options,
}

impl<B: IoBufMut> Recv<B> {
    /// Receives on `stream` into `buf`.
    pub fn new(stream: impl Stream, buf: B) -> Recv<B> {
        Recv::on(stream.id(), buf)
    }

    pub(super) fn on(stream: Id, buf: B) -> Recv<B> {
        Recv { stream, buf, want: None, append: false, options: Options::default() }
    }

    /// Receives exactly `bytes` bytes, over as many chunks as it takes; `InvalidInput` if there is no room for so
    /// many, `Ok` at once for 0.
    pub fn exact(mut self, bytes: usize) -> Recv<B> {
        self.want = Some(bytes);
        self
    }

    /// Keeps what the buffer holds and fills what it has beyond its length.
    pub fn append(mut self) -> Recv<B> {
        self.append = true;
        self
    }
}

impl<B: IoBufMut> Describe for Recv<B> {
    type Parts = B;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (B, Request) {
        let op = Op::Recv { into: RawLent::NONE, start: 0, exact: self.want.is_some() };
        let request = Request::new(Kind::Recv, Target::Handle(self.stream), op, self.options);
        (self.buf, Request { want: self.want, append: self.append, ..request })
    }

    #[inline]
    fn lend(buf: &mut B, request: &mut Request, _: &Core) {
        let Op::Recv { into, start, exact } = &mut request.op else { unreachable!("described above") };
        let lent = buf.as_uninit();
        let spare = if request.append {
            *start = lent.initialised();
            lent.spare()
        } else {
            lent
        };
        *into = spare.into_raw();
        if *exact && !cut(&mut into.length, request.want) {
            request.target = Target::Nothing;
        }
    }
}

/// Cuts a length down to what is wanted; false if there is less.
pub(super) fn cut(length: &mut usize, want: Option<usize>) -> bool {
    let want = want.unwrap_or(*length);
    let enough = want <= *length;
    *length = want.min(*length);
    enough
}

impl<B: IoBufMut> Operation for Recv<B> {
    type Output = Done<B>;

    fn finish(buf: B, end: &mut End) -> Done<B> {
        Done::new(buf, end.start, end.moved, end.result())
    }
}

/// Receives into several buffers, one after the other: `[B; N]` or `Vec<B>` of at most 1,024.
///
/// Otherwise as [`Recv`]. Every growable buffer's length ends where its last received byte does; those that nothing
/// came into are empty.
///
/// # Errors
/// As [`Recv`]; [`InvalidInput`](crate::ErrorKind::InvalidInput) also for more than 1,024 buffers.
///
/// ```
/// # use std::io::Write;
/// use nbio::{EventLoop, op};
/// let io = EventLoop::new()?;
/// # let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
/// # let mut peer = std::net::TcpStream::connect(server.local_addr().unwrap()).unwrap();
/// # peer.write_all(b"headbody!").unwrap();
/// let stream = io.adopt::<nbio::TcpStream>(server.accept().unwrap().0)?;
/// let parts = [Vec::with_capacity(4), Vec::with_capacity(64)];
/// io.submit(op::RecvVectored::new(stream, parts).exact(9), |_, _, done| {
///     assert!(done.buf[0] == b"head" && done.buf[1] == b"body!");
/// });
/// io.run()?;
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct RecvVectored<V> {
    stream: Id,
    bufs: V,
    want: Option<usize>,
    append: bool,
    options: Options,
}

impl<V: Buffers<Buf: IoBufMut>> RecvVectored<V> {
    /// Receives on `stream` into `bufs`.
    pub fn new(stream: impl Stream, bufs: V) -> RecvVectored<V> {
        RecvVectored { stream: stream.id(), bufs, want: None, append: false, options: Options::default() }
    }

    /// As [`Recv::exact`], over all buffers together.
    pub fn exact(mut self, bytes: usize) -> RecvVectored<V> {
        self.want = Some(bytes);
        self
    }

    /// As [`Recv::append`], for each buffer.
    pub fn append(mut self) -> RecvVectored<V> {
        self.append = true;
        self
    }
}

impl<V: Buffers<Buf: IoBufMut>> Describe for RecvVectored<V> {
    type Parts = V;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (V, Request) {
        let op = Op::RecvVectored { pieces: Pieces::NONE, exact: self.want.is_some() };
        let request = Request::new(Kind::RecvVectored, Target::Handle(self.stream), op, self.options);
        (self.bufs, Request { want: self.want, append: self.append, ..request })
    }

    fn lend(bufs: &mut V, request: &mut Request, core: &Core) {
        lend_all(bufs, request, core);
    }
}

/// Writes the memory of buffers that are to be filled into their request.
pub(super) fn lend_all<V: Buffers<Buf: IoBufMut>>(bufs: &mut V, request: &mut Request, core: &Core) {
    let bufs = bufs.buffers_mut();
    let (append, count) = (request.append, bufs.len());
    let Some(mut gathered) = gather(core, count, |at| part(&mut bufs[at], append).into_raw()) else {
        request.target = Target::Nothing;
        // They come back as after any receive of 0 bytes.
        bufs.iter_mut().for_each(|buf| part(buf, append).leave_empty());
        return;
    };
    let mut length = gathered.length();
    if request.want.is_some() {
        if !cut(&mut length, request.want) {
            request.target = Target::Nothing;
        }
        gathered.truncate(length);
    }
    *request.op.pieces().expect("a vectored operation") = gathered;
}

/// What of a buffer is received into.
pub(super) fn part<B: IoBufMut>(buf: &mut B, append: bool) -> Lent<'_> {
    let lent = buf.as_uninit();
    if append { lent.spare() } else { lent }
}

/// Collects the memory of `count` buffers; `None` if they are too many.
pub(super) fn gather(core: &Core, count: usize, mut lend: impl FnMut(usize) -> RawLent) -> Option<Pieces> {
    if count > MOST_PIECES {
        return None;
    }
    let mut pieces = core.new_pieces(count);
    for at in 0..count {
        pieces.set(at, lend(at));
    }
    Some(pieces.keep())
}

impl<V: Buffers<Buf: IoBufMut>> Operation for RecvVectored<V> {
    type Output = Done<V>;

    fn finish(bufs: V, end: &mut End) -> Done<V> {
        Done::new(bufs, 0, end.moved, end.result())
    }
}

/// Sends a buffer: plain, some of it, at least one byte; with [`all`](Send::all), the whole of it.
///
/// Sends and shutdowns of the sending half on one stream take their turns in the order in which they were submitted.
/// If one ends after sending only part of its bytes (a plain one that was short, one cancelled in the middle), those
/// waiting behind it end [`Cancelled`](crate::ErrorKind::Cancelled) with 0 bytes, so that the stream has no hole.
///
/// Cancelled in the middle it tells how many bytes went out. If it is *removed* when part of it had gone out, every
/// later send on the stream fails with [`Broken`](crate::ErrorKind::Broken). Sent means taken over by the system, not
/// received by the peer. A send of 0 bytes ends `Ok`. No signal (SIGPIPE) is raised.
///
/// # Errors
/// [`ConnectionReset`](crate::ErrorKind::ConnectionReset), [`BrokenPipe`](crate::ErrorKind::BrokenPipe),
/// [`Cancelled`](crate::ErrorKind::Cancelled), [`TimedOut`](crate::ErrorKind::TimedOut),
/// [`StaleHandle`](crate::ErrorKind::StaleHandle), [`WrongLoop`](crate::ErrorKind::WrongLoop),
/// [`Broken`](crate::ErrorKind::Broken); see send(2).
///
/// ```
/// # use std::io::Read;
/// use nbio::{EventLoop, op};
/// let io = EventLoop::new()?;
/// # let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
/// # let mut peer = std::net::TcpStream::connect(server.local_addr().unwrap()).unwrap();
/// let stream = io.adopt::<nbio::TcpStream>(server.accept().unwrap().0)?;
/// io.submit(op::Send::new(stream, "hello").all(), |_, _, done| assert_eq!(done.bytes, 5));
/// io.run()?;
/// # let mut got = [0; 5];
/// # peer.read_exact(&mut got).unwrap();
/// # assert_eq!(&got, b"hello");
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct Send<B> {
    stream: Id,
    buf: B,
    all: bool,
    options: Options,
}

impl<B: IoBuf> Send<B> {
    /// Sends `buf` on `stream`.
    pub fn new(stream: impl Stream, buf: B) -> Send<B> {
        Send::on(stream.id(), buf)
    }

    pub(super) fn on(stream: Id, buf: B) -> Send<B> {
        Send { stream, buf, all: false, options: Options::default() }
    }

    /// Ends only when the whole buffer is sent.
    pub fn all(mut self) -> Send<B> {
        self.all = true;
        self
    }
}

impl<B: IoBuf> Describe for Send<B> {
    type Parts = B;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (B, Request) {
        let op = Op::Send { from: std::ptr::null(), length: 0, all: self.all };
        (self.buf, Request::new(Kind::Send, Target::Handle(self.stream), op, self.options))
    }

    fn lend(buf: &mut B, request: &mut Request, _: &Core) {
        let Op::Send { from, length, .. } = &mut request.op else { unreachable!("described above") };
        let bytes = buf.bytes();
        (*from, *length) = (bytes.as_ptr(), bytes.len());
    }
}

impl<B: IoBuf> Operation for Send<B> {
    type Output = Done<B>;

    fn finish(buf: B, end: &mut End) -> Done<B> {
        Done::new(buf, 0, end.moved, end.result())
    }
}

/// Sends several buffers, one after the other: `[B; N]` or `Vec<B>` of at most 1,024.
///
/// Otherwise as [`Send`].
///
/// # Errors
/// As [`Send`]; [`InvalidInput`](crate::ErrorKind::InvalidInput) for more than 1,024 buffers.
///
/// ```
/// # use std::io::Read;
/// use nbio::{EventLoop, op};
/// let io = EventLoop::new()?;
/// # let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
/// # let mut peer = std::net::TcpStream::connect(server.local_addr().unwrap()).unwrap();
/// let stream = io.adopt::<nbio::TcpStream>(server.accept().unwrap().0)?;
/// io.submit(op::SendVectored::new(stream, ["head", "body"]).all(), |_, _, done| assert_eq!(done.bytes, 8));
/// io.run()?;
/// # let mut got = [0; 8];
/// # peer.read_exact(&mut got).unwrap();
/// # assert_eq!(&got, b"headbody");
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct SendVectored<V> {
    stream: Id,
    bufs: V,
    all: bool,
    options: Options,
}

impl<V: Buffers> SendVectored<V> {
    /// Sends `bufs` on `stream`.
    pub fn new(stream: impl Stream, bufs: V) -> SendVectored<V> {
        SendVectored { stream: stream.id(), bufs, all: false, options: Options::default() }
    }

    /// Ends only when all buffers are sent.
    pub fn all(mut self) -> SendVectored<V> {
        self.all = true;
        self
    }
}

impl<V: Buffers> Describe for SendVectored<V> {
    type Parts = V;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (V, Request) {
        let op = Op::SendVectored { pieces: Pieces::NONE, all: self.all };
        (self.bufs, Request::new(Kind::SendVectored, Target::Handle(self.stream), op, self.options))
    }

    fn lend(bufs: &mut V, request: &mut Request, core: &Core) {
        let bufs = bufs.buffers();
        let gathered = gather(core, bufs.len(), |at| RawLent::reading(bufs[at].bytes()));
        let Op::SendVectored { pieces, .. } = &mut request.op else { unreachable!("described above") };
        match gathered {
            Some(gathered) => *pieces = gathered,
            None => request.target = Target::Nothing,
        }
    }
}

impl<V: Buffers> Operation for SendVectored<V> {
    type Output = Done<V>;

    fn finish(bufs: V, end: &mut End) -> Done<V> {
        Done::new(bufs, 0, end.moved, end.result())
    }
}

/// A half of a connection, or both.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Half {
    /// Receiving.
    Read,
    /// Sending: the peer sees the end of the stream.
    Write,
    /// Both.
    Both,
}

/// Ends a half of a connection; the handle stays open.
///
/// Shutting down the sending half (or both) takes its turn behind the sends submitted before it, and ends
/// [`Cancelled`](crate::ErrorKind::Cancelled) with them if one of those was cut short. Shutting down the receiving
/// half happens at once: a waiting receive and all later ones find the end of the stream.
///
/// # Errors
/// [`NotConnected`](crate::ErrorKind::NotConnected) after a reset, [`Cancelled`](crate::ErrorKind::Cancelled) and
/// [`TimedOut`](crate::ErrorKind::TimedOut) while waiting its turn, [`StaleHandle`](crate::ErrorKind::StaleHandle),
/// [`WrongLoop`](crate::ErrorKind::WrongLoop); see shutdown(2).
///
/// ```
/// # use std::io::Read;
/// use nbio::{EventLoop, Half, op};
/// let io = EventLoop::new()?;
/// # let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
/// # let mut peer = std::net::TcpStream::connect(server.local_addr().unwrap()).unwrap();
/// let stream = io.adopt::<nbio::TcpStream>(server.accept().unwrap().0)?;
/// io.send_all(stream, "last words", |_, _, _| ());
/// io.submit(op::Shutdown::new(stream, Half::Write), |_, _, shut| assert!(shut.is_ok()));
/// io.run()?;
/// # let mut got = String::new();
/// # peer.read_to_string(&mut got).unwrap();
/// # assert_eq!(got, "last words");
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct Shutdown {
    stream: Id,
    half: Half,
    options: Options,
}

impl Shutdown {
    /// Shuts down `half` of `stream`.
    pub fn new(stream: impl Connection, half: Half) -> Shutdown {
        Shutdown { stream: stream.id(), half, options: Options::default() }
    }
}

impl Describe for Shutdown {
    type Parts = ();

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> ((), Request) {
        let target = Target::Handle(self.stream);
        ((), Request::new(Kind::Shutdown, target, Op::Shutdown(self.half), self.options))
    }
}

impl Operation for Shutdown {
    type Output = Result<(), Error>;

    fn finish((): (), end: &mut End) -> Result<(), Error> {
        end.result()
    }
}
