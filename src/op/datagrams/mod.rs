//! Datagrams: what the operations that receive and those that send them share.

mod recv;
mod send;

use std::net::SocketAddr;

use crate::engine::op::End;
use crate::handle::DatagramSocket;
use crate::udp::{RecvControl, Segments};
use crate::{Error, IoBuf, Slice};

pub use recv::{RecvFrom, RecvMsg};
pub use send::{SendDatagram, SendMsg, SendTo};

/// The end of an operation that receives a datagram.
///
/// `result` says whether one was received. One without bytes is `Ok` with 0 bytes and an address: there is no end of a
/// stream here.
#[derive(Debug)]
#[non_exhaustive]
pub struct Datagram<B, A = SocketAddr> {
    /// How many bytes are in the buffer.
    pub bytes: usize,
    /// The buffer. A growable one's length ends where the last received byte does.
    pub buf: B,
    /// Why it ended.
    pub result: Result<(), Error>,
    /// Who sent it; `None` if nothing was received. One that came from a Unix socket without a name is `Some` and
    /// [unnamed](crate::UnixAddress::is_unnamed).
    pub from: Option<A>,
    /// The datagram was larger than the buffer: `bytes` of it are there, the rest is lost.
    pub truncated: bool,
    /// What came beside its bytes; by UDP only.
    pub control: RecvControl,
}

impl<B, A> Datagram<B, A> {
    fn new<H: DatagramSocket<Address = A>>(buf: B, end: &mut End) -> Datagram<B, A> {
        let (truncated, control) = end.message.unwrap_or_default();
        let (bytes, result, from) = (end.moved, end.result(), H::sender(end));
        Datagram { bytes, buf, result, from, truncated, control }
    }
}

impl<B: IoBuf, A> Datagram<B, A> {
    /// The bytes that were received.
    pub fn data(&self) -> &[u8] {
        let bytes = self.buf.bytes();
        &bytes[..self.bytes.min(bytes.len())]
    }

    /// The buffer cut down to the bytes that were received, to send them on without a copy.
    pub fn filled(self) -> Slice<B> {
        self.buf.slice(..self.bytes)
    }

    /// The datagrams that were received at once: one, unless [`UdpOptions::gro`](crate::UdpOptions::gro) is on; none after
    /// an error. If the bytes are `truncated`, the last one may be cut.
    pub fn segments(&self) -> Segments<'_> {
        match self.result {
            Ok(()) => Segments::new(self.data(), self.control.segment_size.unwrap_or(usize::MAX)),
            Err(_) => Segments::none(),
        }
    }
}
