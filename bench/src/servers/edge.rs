//! One connection of an edge-triggered server: what those on epoll share.

use std::io::{ErrorKind, Read, Write};
use std::ops::Range;

use super::BUFFER;

pub struct Connection<S> {
    stream: S,
    buffer: Box<[u8; BUFFER]>,
    /// What was received and not sent yet.
    unsent: Range<usize>,
}

/// Whether a connection goes on.
pub enum Outcome {
    Open,
    Over,
    /// Nothing goes on: the server is to end.
    End,
}

impl<S: Read + Write> Connection<S> {
    pub fn new(stream: S) -> Self {
        Connection { stream, buffer: Box::new([0; BUFFER]), unsent: 0..0 }
    }

    /// Echoes until there is nothing more to receive or no room to send.
    pub fn progress(&mut self, peer_closed: bool) -> Outcome {
        // A receive that did not fill the buffer has emptied the socket: data
        // that comes later is a new edge, so there is no need to ask again.
        // That holds within one call only, as the edge may come while a send
        // is blocked; and an end of stream may come with the data's own edge.
        let mut drained = false;
        loop {
            while !self.unsent.is_empty() {
                match self.stream.write(&self.buffer[self.unsent.clone()]) {
                    Ok(count) if super::echoed(count) => return Outcome::End,
                    Ok(count) => self.unsent.start += count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Outcome::Open,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => return Outcome::Over,
                }
            }
            if drained && !peer_closed {
                return Outcome::Open;
            }
            match self.stream.read(&mut self.buffer[..]) {
                Ok(0) => return Outcome::Over,
                Ok(count) => {
                    self.unsent = 0..count;
                    drained = count < BUFFER;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Outcome::Open,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Outcome::Over,
            }
        }
    }
}
