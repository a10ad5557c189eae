//! Connections of the simulated network: bytes, half-close and reset, as TCP on Linux has them.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::network::Kind;
use super::options::Capacities;
use super::world::{ShotId, What, Work, World};
use crate::ErrorKind;
use crate::backend::Outcome;
use crate::op::Half;

/// One end of a connection.
pub(super) struct Stream {
    pub(super) local: Option<SocketAddr>,
    pub(super) remote: Option<SocketAddr>,
    /// The local port goes when the socket goes.
    pub(super) owns_port: bool,
    capacities: Capacities,
    /// The other end and its serial; `None` before connecting, and when the other end is gone for good.
    peer: Option<(usize, u64)>,
    connected: bool,
    /// Sent, and not yet at the other end.
    sent: VecDeque<u8>,
    /// Received, and not yet read.
    received: VecDeque<u8>,
    receiver: Option<ShotId>,
    sender: Option<ShotId>,
    /// A delivery to the other end is on its way.
    delivering: bool,
    /// This side sends no more...
    ended: bool,
    /// ...and the other side knows it.
    end_delivered: bool,
    /// The other side sends no more.
    peer_ended: bool,
    /// The receiving half was shut down.
    receive_shut: bool,
    /// The connection was reset.
    dead: bool,
    /// What the next receive or send has to be told.
    error: Option<ErrorKind>,
    /// Nobody has a name for this end any more.
    closed: bool,
}

impl Stream {
    pub(super) fn new(capacities: Capacities) -> Stream {
        Stream {
            local: None,
            remote: None,
            owns_port: false,
            capacities,
            peer: None,
            connected: false,
            sent: VecDeque::new(),
            received: VecDeque::new(),
            receiver: None,
            sender: None,
            delivering: false,
            ended: false,
            end_delivered: false,
            peer_ended: false,
            receive_shut: false,
            dead: false,
            error: None,
            closed: false,
        }
    }

    pub(super) fn connect(&mut self, local: SocketAddr, remote: SocketAddr, peer: (usize, u64)) {
        self.local = Some(local);
        self.remote = Some(remote);
        self.peer = Some(peer);
        self.connected = true;
    }

    /// Sets the sizes of the buffers; says who may have waited for room in them.
    pub(super) fn set_capacities(&mut self, capacities: Capacities) -> Option<usize> {
        self.capacities = capacities;
        self.peer.map(|(peer, _)| peer)
    }

    pub(super) fn unpark(&mut self, id: ShotId) {
        self.receiver.take_if(|other| *other == id);
        self.sender.take_if(|other| *other == id);
    }

    /// There is no connection any more: it was reset, or both sides have ended it.
    fn is_over(&self) -> bool {
        self.dead || (self.end_delivered && self.peer_ended)
    }

    /// What comes is answered by a reset. Linux takes it for as long as only the receiving half is shut down.
    fn refuses(&self) -> bool {
        self.closed || self.dead || (self.receive_shut && self.ended)
    }

    /// The peer's address, unless the connection is over.
    pub(super) fn peer_address(&self) -> Option<SocketAddr> {
        self.remote.filter(|_| self.connected && !self.is_over())
    }
}

impl World {
    pub(super) fn receive(&mut self, id: ShotId, number: usize) {
        let stream = self.network.stream(number);
        let outcome = if !stream.connected {
            Outcome::Refused(ErrorKind::NotConnected)
        } else if !stream.received.is_empty() {
            return self.take_bytes(id, number);
        } else if let Some(kind) = stream.error.take() {
            Outcome::Refused(kind)
        } else if stream.peer_ended || stream.dead || stream.receive_shut {
            Outcome::Value(0)
        } else {
            assert!(stream.receiver.is_none(), "the engine keeps one receive at a time");
            stream.receiver = Some(id);
            return;
        };
        self.complete(id, outcome);
    }

    fn take_bytes(&mut self, id: ShotId, number: usize) {
        let Work::Receive(memory) = &self.shot(id).expect("not over").work else {
            unreachable!("a receive was asked for")
        };
        let Some((buffer, memory)) = memory.pick() else { return self.complete(id, Outcome::Starved) };
        let there = self.network.stream(number).received.len();
        let bytes = self.draw.part(memory.length().min(there));
        let stream = self.network.stream(number);
        memory.fill(&mut stream.received, bytes);
        let peer = stream.peer;
        let bytes = bytes as u32;
        let filled = |buffer| Outcome::Filled { buffer, bytes, more: false };
        let outcome = buffer.map_or(Outcome::Value(bytes), filled);
        self.complete(id, outcome);
        // There is room for what the other side has sent.
        if let Some((peer, _)) = peer {
            self.flow(peer);
        }
    }

    pub(super) fn send(&mut self, id: ShotId, number: usize) {
        let stream = self.network.stream(number);
        let room = stream.capacities.send.saturating_sub(stream.sent.len());
        let outcome = if let Some(kind) = stream.error.take() {
            Outcome::Refused(kind)
        } else if stream.dead || stream.ended || !stream.connected {
            Outcome::Refused(ErrorKind::BrokenPipe)
        } else if room == 0 {
            assert!(stream.sender.is_none(), "the engine keeps one send at a time");
            stream.sender = Some(id);
            return;
        } else {
            let mut sent = std::mem::take(&mut stream.sent);
            let bytes = {
                let part = |world: &mut World, most| world.draw.part(most);
                let most = match &self.shot(id).expect("not over").work {
                    Work::Send(memory) => memory.length().min(room),
                    _ => unreachable!("a send was asked for"),
                };
                part(self, most)
            };
            if let Work::Send(memory) = &self.shot(id).expect("not over").work {
                memory.drain(&mut sent, bytes);
            }
            self.network.stream(number).sent = sent;
            self.flow(number);
            Outcome::Value(bytes as u32)
        };
        self.complete(id, outcome);
    }

    /// Plans the next delivery from this end to the other, if there is something to deliver and room for it.
    pub(super) fn flow(&mut self, number: usize) {
        let stream = self.network.stream(number);
        if stream.delivering || stream.dead || !stream.connected {
            return;
        }
        let room = match stream.peer {
            Some((peer, _)) => self.room(peer),
            None => true,
        };
        let stream = self.network.stream(number);
        let bytes = !stream.sent.is_empty() && room;
        let end = stream.sent.is_empty() && stream.ended && !stream.end_delivered;
        if bytes || end {
            stream.delivering = true;
            let serial = self.network.socket(number).serial;
            let delay = self.draw.delay();
            self.plan(delay, What::Deliver(number, serial));
        }
    }

    /// Whether an end can take bytes (one that is closed can: it answers them with a reset).
    fn room(&mut self, number: usize) -> bool {
        let stream = self.network.stream(number);
        stream.refuses() || stream.received.len() < stream.capacities.receive
    }

    pub(super) fn deliver(&mut self, number: usize, serial: u64) {
        let Some(stream) = self.network.stream_if(number, serial) else { return };
        stream.delivering = false;
        if stream.dead {
            return;
        }
        let peer = stream.peer;
        if stream.sent.is_empty() {
            if stream.ended && !stream.end_delivered {
                stream.end_delivered = true;
                if let Some((peer, _)) = peer {
                    self.network.stream(peer).peer_ended = true;
                    self.retry_receive(peer);
                    self.free_if_over(peer);
                }
                self.free_if_over(number);
            }
            return;
        }
        match peer {
            Some((peer, _)) if !self.network.stream(peer).refuses() => self.move_bytes(number, peer),
            // Nobody wants them there. Linux lets both sides know.
            Some((peer, _)) => {
                self.kill(peer, Some(ErrorKind::ConnectionReset));
                self.reset_from(number, serial);
                self.free_if_over(peer);
            }
            None => self.reset_from(number, serial),
        }
    }

    fn move_bytes(&mut self, number: usize, peer: usize) {
        let to = self.network.stream(peer);
        let room = to.capacities.receive.saturating_sub(to.received.len());
        let most = self.network.stream(number).sent.len().min(room);
        if most > 0 {
            let bytes = self.draw.part(most);
            let mut received = std::mem::take(&mut self.network.stream(peer).received);
            let sent = &mut self.network.stream(number).sent;
            received.extend(sent.drain(..bytes));
            self.network.stream(peer).received = received;
            self.record(number as u64, bytes as u64);
            self.retry_receive(peer);
            if let Some(sender) = self.network.stream(number).sender.take() {
                self.send(sender, number);
            }
        }
        self.flow(number);
    }

    fn retry_receive(&mut self, number: usize) {
        if let Some(receiver) = self.network.stream(number).receiver.take() {
            self.receive(receiver, number);
        }
    }

    pub(super) fn shutdown(&mut self, number: usize, half: Half) -> Result<(), ErrorKind> {
        let stream = self.network.stream(number);
        if !stream.connected || stream.is_over() {
            return Err(ErrorKind::NotConnected);
        }
        if half != Half::Read {
            stream.ended = true;
        }
        stream.receive_shut |= half != Half::Write;
        if half != Half::Write
            && let Some(receiver) = stream.receiver.take()
        {
            self.complete(receiver, Outcome::Value(0));
        }
        self.flow(number);
        let peer = self.network.stream(number).peer;
        if let Some((peer, _)) = peer {
            self.flow(peer);
        }
        Ok(())
    }

    /// Closes an end that nothing is parked at: gently, or with a reset if something is unread.
    pub(super) fn close_stream(&mut self, number: usize) {
        let resets = self.network.socket(number).settings.resets_on_close();
        let stream = self.network.stream(number);
        stream.closed = true;
        stream.ended = true;
        if !stream.connected || stream.dead {
            self.detach_peer(number);
            return self.network.remove(number);
        }
        if resets || !stream.received.is_empty() {
            return self.abort(number);
        }
        self.flow(number);
        // What the other side still sends is answered with a reset.
        let peer = self.network.stream(number).peer;
        if let Some((peer, _)) = peer {
            self.flow(peer);
        }
        self.free_if_over(number);
    }

    /// Ends a connection by a reset, and the socket with it.
    pub(super) fn abort(&mut self, number: usize) {
        let stream = self.network.stream(number);
        stream.closed = true;
        stream.dead = true;
        if let Some((peer, serial)) = stream.peer {
            self.reset_from(peer, serial);
        }
        self.detach_peer(number);
        self.network.remove(number);
    }

    /// The other end knows this one no more.
    fn detach_peer(&mut self, number: usize) {
        if let Some((peer, _)) = self.network.stream(number).peer.take() {
            self.network.stream(peer).peer = None;
        }
    }

    /// A reset sets out for this end.
    fn reset_from(&mut self, number: usize, serial: u64) {
        let delay = self.draw.delay();
        self.plan(delay, What::Reset(number, serial));
    }

    pub(super) fn reset_arrives(&mut self, number: usize, serial: u64) {
        let Some(stream) = self.network.stream_if(number, serial) else { return };
        if stream.dead {
            return;
        }
        // After the other side's end, Linux calls it a broken pipe, and only senders hear of it.
        let error = if stream.peer_ended { None } else { Some(ErrorKind::ConnectionReset) };
        self.record(number as u64, 1 << 40);
        self.kill(number, error);
        self.free_if_over(number);
    }

    /// Nothing moves on this connection any more.
    fn kill(&mut self, number: usize, error: Option<ErrorKind>) {
        let stream = self.network.stream(number);
        if std::mem::replace(&mut stream.dead, true) {
            return;
        }
        stream.error = error;
        stream.sent.clear();
        let (receiver, sender) = (stream.receiver.take(), stream.sender.take());
        if let Some(receiver) = receiver {
            self.receive(receiver, number);
        }
        if let Some(sender) = sender {
            self.send(sender, number);
        }
    }

    /// Forgets a closed socket from which nothing is on its way any more.
    fn free_if_over(&mut self, number: usize) {
        let stream = self.network.stream(number);
        if stream.closed && stream.is_over() {
            self.detach_peer(number);
            self.network.remove(number);
        }
    }

    pub(super) fn peer_address(&mut self, number: usize) -> Option<SocketAddr> {
        match &self.network.socket(number).kind {
            Kind::Stream(stream) => stream.peer_address(),
            Kind::Datagram(socket) => socket.peer,
            _ => None,
        }
    }
}
