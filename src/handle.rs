//! Handles: small copyable names of what is open on a loop, and of operations.

use std::fmt;
use std::net::SocketAddr;

use crate::UnixAddress;
use crate::engine::op::{Destination, End, Unit};

/// The name of one entry of one loop's table: where it is, whose it is, and its generation, so that a name that
/// outlived its entry never reaches the next one at the same place.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    index: u32,
    generation_low: u32,
    generation_high: u16,
    owner: u16,
}

const _: () = assert!(size_of::<Id>() == 12 && size_of::<OpId>() == 12 && size_of::<TcpStream>() == 12);

/// Generations have 48 bits; a place whose last generation was used is retired.
pub(crate) const LAST_GENERATION: u64 = (1 << 48) - 1;

impl Id {
    pub(crate) fn new(index: u32, owner: u16, generation: u64) -> Id {
        debug_assert!(generation <= LAST_GENERATION);
        Id { index, owner, generation_low: generation as u32, generation_high: (generation >> 32) as u16 }
    }

    pub(crate) fn index(self) -> u32 {
        self.index
    }

    pub(crate) fn owner(self) -> u16 {
        self.owner
    }

    pub(crate) fn generation(self) -> u64 {
        u64::from(self.generation_low) | u64::from(self.generation_high) << 32
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}@{}", self.index, self.generation(), self.owner)
    }
}

/// The name of something just opened. Only the engine makes one, so nobody turns a handle of one kind into another's.
#[derive(Copy, Clone)]
pub struct NewId(pub(crate) Id);

/// The name of one submitted operation, for [`cancel`](crate::EventLoop::cancel),
/// [`remove`](crate::EventLoop::remove) and [`reset`](crate::EventLoop::reset).
///
/// Twelve bytes and `Copy`. It may be kept for ever: once the operation has ended, or on another loop, the calls
/// that take it answer `false`.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OpId(pub(crate) Id);

impl fmt::Debug for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpId({:?})", self.0)
    }
}

/// A handle of any kind: the small copyable name of one open thing on one loop.
///
/// Twelve bytes, `Copy`, `Eq` and `Hash`, so it can be a map's key. Closing makes it stale at once; whatever is
/// done with a stale handle ends with [`StaleHandle`](crate::ErrorKind::StaleHandle), with a handle of another
/// loop [`WrongLoop`](crate::ErrorKind::WrongLoop), and never reaches another's connection. Dropping a handle
/// does nothing.
///
/// The trait is sealed: its implementors are the handle types of this crate.
pub trait Handle: Copy + Eq + std::hash::Hash + fmt::Debug + 'static + sealed::Handle {}

pub(crate) mod sealed {
    use super::{HandleKind, Id, NewId};

    pub trait Handle: Sized {
        const KIND: HandleKind;
        fn id(self) -> Id;
        fn from_id(id: NewId) -> Self;
    }
}

/// A handle on which bytes go in order, one receive and one send at a time: what
/// [`op::Recv`](crate::op::Recv), [`op::Send`](crate::op::Send) and [`op::Shutdown`](crate::op::Shutdown) take.
///
/// The trait is sealed.
pub trait Stream: Connection {}

/// A handle on which what is sent arrives in order, and on which receives and sends take their turns: a [`Stream`], or one
/// of records. What [`op::Shutdown`](crate::op::Shutdown) takes.
///
/// The trait is sealed.
pub trait Connection: Handle {}

/// Makes the handle types, which differ in their names only. A macro, since no function makes a type.
macro_rules! handles {
    ($($(#[$documentation:meta])* $name:ident;)*) => {
        /// What a handle stands for; the engine checks adopted descriptors against it.
        #[derive(Copy, Clone, Debug, PartialEq, Eq)]
        pub enum HandleKind {
            $(
                #[doc = concat!("[`", stringify!($name), "`].")]
                $name,
            )*
        }

        $(
            $(#[$documentation])*
            #[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
            pub struct $name(Id);

            impl Handle for $name {}

            impl sealed::Handle for $name {
                const KIND: HandleKind = HandleKind::$name;

                fn id(self) -> Id {
                    self.0
                }

                fn from_id(NewId(id): NewId) -> $name {
                    $name(id)
                }
            }

            impl fmt::Debug for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    write!(f, concat!(stringify!($name), "({:?})"), self.0)
                }
            }
        )*
    };
}

handles! {
    /// A listening TCP socket of a loop, made by [`listen_tcp`](crate::EventLoop::listen_tcp) or
    /// [`adopt`](crate::EventLoop::adopt). See [`Handle`].
    TcpListener;
    /// A TCP connection of a loop, made by accept, connect or [`adopt`](crate::EventLoop::adopt). See [`Handle`].
    TcpStream;
    /// A UDP socket of a loop, made by [`bind_udp`](crate::EventLoop::bind_udp) or
    /// [`adopt`](crate::EventLoop::adopt). See [`Handle`].
    UdpSocket;
    /// An open file or directory of a loop, made by [`open`](crate::EventLoop::open) or
    /// [`adopt`](crate::EventLoop::adopt), which takes whatever can be opened by a path. See [`Handle`].
    File;
    /// A listening Unix socket of a loop, made by [`listen_unix`](crate::EventLoop::listen_unix) or
    /// [`adopt`](crate::EventLoop::adopt). See [`Handle`].
    UnixListener;
    /// A connection by a Unix stream socket, made by accept, [`connect_unix`](crate::EventLoop::connect_unix),
    /// [`unix_pair`](crate::EventLoop::unix_pair) or [`adopt`](crate::EventLoop::adopt). See [`Handle`].
    ///
    /// A [`Stream`] as TCP's are. When the other side is closed before it has received all, a receive ends with
    /// [`ConnectionReset`](crate::ErrorKind::ConnectionReset), and sends end with
    /// [`BrokenPipe`](crate::ErrorKind::BrokenPipe).
    UnixStream;
    /// A Unix datagram socket of a loop, made by [`bind_unix_datagram`](crate::EventLoop::bind_unix_datagram),
    /// [`unix_datagram_pair`](crate::EventLoop::unix_datagram_pair) or [`adopt`](crate::EventLoop::adopt). See [`Handle`].
    ///
    /// [`op::RecvFrom`](crate::op::RecvFrom), [`op::SendTo`](crate::op::SendTo) and their kin as on a
    /// [`UdpSocket`], with a [`UnixAddress`](crate::UnixAddress) in place of an IP address, and with differences that the
    /// system makes: nothing is lost or overtaken on the way. A send waits while the receiver's queue is full (on Linux
    /// more than `net.unix.max_dgram_qlen` datagrams, 10 unless changed, wait there) or the socket has too much under way.
    UnixDatagram;
    /// A listening Unix socket for connections that keep the bounds of what is sent, made by
    /// [`listen_unix_seqpacket`](crate::EventLoop::listen_unix_seqpacket) or [`adopt`](crate::EventLoop::adopt). See
    /// [`Handle`].
    UnixSeqpacketListener;
    /// A connection by a Unix socket that keeps the bounds of what is sent (`SOCK_SEQPACKET`), made by accept,
    /// [`connect_unix_seqpacket`](crate::EventLoop::connect_unix_seqpacket),
    /// [`unix_seqpacket_pair`](crate::EventLoop::unix_seqpacket_pair) or [`adopt`](crate::EventLoop::adopt). See [`Handle`].
    ///
    /// What is sent are *records*: [`op::SendRecord`](crate::op::SendRecord) sends one or nothing, and
    /// [`op::RecvRecord`](crate::op::RecvRecord) receives one, in the order in which they were sent. Receives take their turns,
    /// and so do sends, as on a [`Stream`]; [`op::Shutdown`](crate::op::Shutdown) ends a half. When the other side is closed
    /// before it has received all, a receive ends with [`ConnectionReset`](crate::ErrorKind::ConnectionReset), and sends end
    /// with [`BrokenPipe`](crate::ErrorKind::BrokenPipe).
    ///
    /// There are records without bytes, and they aren't taken for the end. To tell them apart nbio switches `SO_TIMESTAMP` on,
    /// on adopted ones, too, and off again when one is [released](crate::EventLoop::release): whoever shares the open socket
    /// finds a control message more beside each record. macOS has no such sockets.
    UnixSeqpacket;
    /// One end of a pipe or a FIFO, a terminal, or whatever else is read or written as a stream of bytes: made by
    /// [`pipe`](crate::EventLoop::pipe), [`stdin`](crate::EventLoop::stdin) and its kin, or
    /// [`adopt`](crate::EventLoop::adopt). See [`Handle`].
    ///
    /// [`op::Recv`](crate::op::Recv) reads and [`op::Send`](crate::op::Send) writes, plain, exact, all and vectored, with the
    /// same order and ends as on a connection. Reading ends `Ok` with 0 bytes when nobody has the other end any more; writing
    /// then ends with [`BrokenPipe`](crate::ErrorKind::BrokenPipe), without a signal (SIGPIPE). The wrong direction ends with
    /// [`BadDescriptor`](crate::ErrorKind::BadDescriptor). [`op::Shutdown`](crate::op::Shutdown) is
    /// [`Unsupported`](crate::ErrorKind::Unsupported): a pipe has no halves; closing the handle is what its other side sees.
    ///
    /// What is open may be shared with other processes, as standard input and output are: its blocking mode is never
    /// changed. Where reading or writing would block all the same, as a terminal may, a thread of the kernel's does it; it
    /// can be cancelled as ever. Of a regular file the position is the one that all who share it have: writing there at the
    /// same time as somebody else needs append mode (`>>`), or one may overwrite the other.
    Pipe;
}

/// A listener of any kind: what [`op::Accept`](crate::op::Accept) takes.
///
/// The trait is sealed.
pub trait Listener: Handle {
    /// What is accepted.
    type Stream: Connection;
    /// Where it comes from.
    type Address: 'static;

    /// Where the accepted connection comes from.
    #[doc(hidden)]
    fn peer(end: &mut End) -> Self::Address;
}

impl Listener for TcpListener {
    type Stream = TcpStream;
    type Address = SocketAddr;

    fn peer(end: &mut End) -> SocketAddr {
        // A peer that is gone again may have no address any more.
        end.peer.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)))
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;
    type Address = UnixAddress;

    fn peer(end: &mut End) -> UnixAddress {
        end.take_unix_peer().unwrap_or_default()
    }
}

impl Listener for UnixSeqpacketListener {
    type Stream = UnixSeqpacket;
    type Address = UnixAddress;

    fn peer(end: &mut End) -> UnixAddress {
        end.take_unix_peer().unwrap_or_default()
    }
}

/// A datagram socket of any kind: what [`op::RecvFrom`](crate::op::RecvFrom), [`op::SendTo`](crate::op::SendTo) and their
/// kin take.
///
/// The trait is sealed.
pub trait DatagramSocket: Handle {
    /// Where datagrams come from and go to.
    type Address: Clone + fmt::Debug + 'static;

    /// What the engine is to know of it.
    #[doc(hidden)]
    const UNIT: Unit;

    /// As the engine has it.
    #[doc(hidden)]
    fn destination(address: Self::Address) -> Destination;

    /// Where the received datagram comes from.
    #[doc(hidden)]
    fn sender(end: &mut End) -> Option<Self::Address>;
}

impl DatagramSocket for UdpSocket {
    type Address = SocketAddr;

    const UNIT: Unit = Unit::Datagram;

    fn destination(address: SocketAddr) -> Destination {
        Destination::Network(address)
    }

    fn sender(end: &mut End) -> Option<SocketAddr> {
        end.peer
    }
}

impl DatagramSocket for UnixDatagram {
    type Address = UnixAddress;

    const UNIT: Unit = Unit::LocalDatagram;

    fn destination(address: UnixAddress) -> Destination {
        Destination::Local(address)
    }

    fn sender(end: &mut End) -> Option<UnixAddress> {
        end.take_unix_peer()
    }
}

/// A Unix socket of any kind. The trait is sealed.
pub trait UnixSocket: Handle {}

impl UnixSocket for UnixListener {}
impl UnixSocket for UnixStream {}
impl UnixSocket for UnixDatagram {}
impl UnixSocket for UnixSeqpacketListener {}
impl UnixSocket for UnixSeqpacket {}

/// A Unix socket that may have a peer: what [`op::SendFds`](crate::op::SendFds) and [`op::RecvFds`](crate::op::RecvFds) take.
///
/// The trait is sealed.
pub trait UnixEnd: UnixSocket {
    /// What the engine is to know of it.
    #[doc(hidden)]
    const CARRIES: Unit;
}

impl UnixEnd for UnixStream {
    const CARRIES: Unit = Unit::Bytes;
}

impl UnixEnd for UnixDatagram {
    const CARRIES: Unit = Unit::LocalDatagram;
}

impl UnixEnd for UnixSeqpacket {
    const CARRIES: Unit = Unit::Record;
}

/// A connection by a Unix socket: what [`op::ConnectUnix`](crate::op::ConnectUnix) makes. The trait is sealed.
pub trait UnixConnection: UnixEnd + Connection {}

impl UnixConnection for UnixStream {}
impl UnixConnection for UnixSeqpacket {}

impl Connection for TcpStream {}
impl Connection for UnixStream {}
impl Connection for UnixSeqpacket {}
impl Connection for Pipe {}

impl Stream for TcpStream {}
impl Stream for UnixStream {}
impl Stream for Pipe {}
