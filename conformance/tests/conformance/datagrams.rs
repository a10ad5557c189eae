//! The other side of the cases about UDP: a socket of std, or in a simulation one of another loop there.

use std::io::Result;
use std::net::{SocketAddr, UdpSocket};
use std::ops::Deref;
use std::rc::Rc;
use std::time::Duration;

use nbio::{EventLoop, OwnedDescriptor, op};

use crate::disk::helper;
use crate::folder::end_of;

pub enum Peer {
    Std(UdpSocket),
    Simulated(Rc<EventLoop>, nbio::UdpSocket),
}

impl Peer {
    pub fn bind(at: impl Into<SocketAddr>) -> Result<Peer> {
        let at = at.into();
        let Some(io) = helper() else { return UdpSocket::bind(at).map(Peer::Std) };
        let socket = io.bind_udp(at)?;
        Ok(Peer::Simulated(io, socket))
    }

    pub fn local_addr(&self) -> Result<SocketAddr> {
        match self {
            Peer::Std(socket) => socket.local_addr(),
            Peer::Simulated(io, socket) => Ok(io.local_address(*socket)?),
        }
    }

    /// Waits no longer than this for a datagram; a simulation doesn't wait at all.
    pub fn set_read_timeout(&self, most: Option<Duration>) -> Result<()> {
        match self {
            Peer::Std(socket) => socket.set_read_timeout(most),
            Peer::Simulated(..) => Ok(()),
        }
    }

    pub fn send_to(&self, bytes: &[u8], to: SocketAddr) -> Result<usize> {
        let (io, socket) = match self {
            Peer::Std(socket) => return socket.send_to(bytes, to),
            Peer::Simulated(io, socket) => (io, *socket),
        };
        let done = end_of(io, op::SendTo::new(socket, bytes.to_vec(), to));
        done.result?;
        // As on the system's loopback: it is there when the call returns.
        io.timer(Duration::from_millis(1), |_, _, _| ());
        io.run()?;
        Ok(done.bytes)
    }

    pub fn recv_from(&self, into: &mut [u8]) -> Result<(usize, SocketAddr)> {
        let (io, socket) = match self {
            Peer::Std(socket) => return socket.recv_from(into),
            Peer::Simulated(io, socket) => (io, *socket),
        };
        let datagram = end_of(io, op::RecvFrom::new(socket, vec![0; into.len()]));
        datagram.result?;
        into[..datagram.bytes].copy_from_slice(datagram.data());
        Ok((datagram.bytes, datagram.from.unwrap()))
    }

    pub fn recv(&self, into: &mut [u8]) -> Result<usize> {
        self.recv_from(into).map(|(bytes, _)| bytes)
    }
}

/// For cases that need one of std: they are in `skips.rs`.
impl Deref for Peer {
    type Target = UdpSocket;

    fn deref(&self) -> &UdpSocket {
        match self {
            Peer::Std(socket) => socket,
            Peer::Simulated(..) => panic!("it is not the system's"),
        }
    }
}

impl From<Peer> for OwnedDescriptor {
    fn from(peer: Peer) -> OwnedDescriptor {
        let socket: &UdpSocket = &peer;
        socket.try_clone().unwrap().into()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Peer::Simulated(io, socket) = self {
            end_of(io, op::Close::new(*socket)).unwrap();
        }
    }
}
