//! One connection of the load generator: a stream of bytes that goes out and comes back.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::Instant;

use anyhow::ensure;
use io_uring::opcode;
use io_uring::squeue::{Entry, Flags};
use io_uring::types::Fd;

/// Completions carry the index of the connection; sends this bit as well.
pub const SEND: u64 = 1 << 32;

/// After as many bytes the pattern is the same again: a prime, so that messages are all different.
const PERIOD: usize = 4093;

/// Receive with `IORING_RECVSEND_POLL_FIRST`: the echo of a message being sent
/// cannot be there yet, so there is no point in trying.
const POLL_FIRST: u16 = 1;

/// What all connections send.
pub struct Pattern {
    bytes: Vec<u8>,
    /// The most that goes out or comes in at once.
    pub longest: usize,
}

impl Pattern {
    /// Bytes that look different from every place (a xorshift sequence), so that
    /// bytes lost, repeated or from another message are noticed.
    pub fn new(longest: usize) -> Pattern {
        let mut state = 0x9e37_79b9_u32;
        let next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 24) as u8
        };
        let mut bytes: Vec<u8> = std::iter::repeat_with(next).take(PERIOD).collect();
        bytes = bytes.iter().copied().cycle().take(PERIOD + longest).collect();
        Pattern { bytes, longest }
    }

    /// The bytes at this place of every stream.
    fn at(&self, position: u64, length: usize) -> &[u8] {
        &self.bytes[(position % PERIOD as u64) as usize..][..length]
    }
}

pub struct Connection {
    stream: TcpStream,
    buffer: Box<[u8]>,
    size: u64,
    /// One message at a time, sent and received whole: then a send's completion tells nothing that its echo doesn't.
    whole: bool,
    /// When the messages fell due that have not come back yet.
    under_way: VecDeque<Instant>,
    /// The places in the stream: where the last message due ends, and how far it has gone and come.
    due: u64,
    sent: u64,
    received: u64,
    sending: bool,
    receiving: bool,
}

impl Connection {
    pub fn new(stream: TcpStream, size: usize, whole: bool, longest: usize) -> Connection {
        Connection {
            stream,
            buffer: vec![0; longest].into(),
            size: size as u64,
            whole,
            under_way: VecDeque::new(),
            due: 0,
            sent: 0,
            received: 0,
            sending: false,
            receiving: false,
        }
    }

    /// One more message is to be sent.
    pub fn give(&mut self, due: Instant) {
        self.under_way.push_back(due);
        self.due += self.size;
    }

    /// The operations that can be started now.
    pub fn start(&mut self, index: usize, pattern: &Pattern) -> [Option<Entry>; 2] {
        let socket = Fd(self.stream.as_raw_fd());
        let (wait, skip) =
            if self.whole { (libc::MSG_WAITALL, Flags::SKIP_SUCCESS) } else { (0, Flags::empty()) };
        let send = (!self.sending && self.sent < self.due).then(|| {
            let length = (self.due - self.sent).min(pattern.longest as u64) as usize;
            let bytes = pattern.at(self.sent, length);
            self.sending = true;
            opcode::Send::new(socket, bytes.as_ptr(), length as u32)
                .flags(libc::MSG_NOSIGNAL | wait)
                .build()
                .flags(skip)
                .user_data(SEND | index as u64)
        });
        let receive = (!self.receiving && self.received < self.due).then(|| {
            let length = (self.due - self.received).min(self.buffer.len() as u64) as u32;
            self.receiving = true;
            opcode::Recv::new(socket, self.buffer.as_mut_ptr(), length)
                .flags(wait)
                .ioprio(POLL_FIRST)
                .build()
                .user_data(index as u64)
        });
        [send, receive]
    }

    /// A send has ended.
    pub fn was_sent(&mut self, result: i32) -> anyhow::Result<()> {
        let count = moved("send", result)?;
        ensure!(!self.whole || count == self.size, "send ended after {count} of {} bytes", self.size);
        // Of a kernel that does not skip successes. The echo has said so already, or will.
        if !self.whole {
            self.sent += count;
            self.sending = false;
        }
        Ok(())
    }

    /// A receive has ended: calls `done` with when each message fell due that is back whole.
    pub fn was_received(
        &mut self,
        result: i32,
        pattern: &Pattern,
        mut done: impl FnMut(Instant),
    ) -> anyhow::Result<()> {
        let count = moved("receive", result)?;
        ensure!(!self.whole || count == self.size, "receive ended after {count} of {} bytes", self.size);
        let expected = pattern.at(self.received, count as usize);
        ensure!(self.buffer[..count as usize] == *expected, "the echo differs from the message");
        self.received += count;
        self.receiving = false;
        if self.whole {
            self.sent = self.received;
            self.sending = false;
        }
        let left = (self.due - self.received).div_ceil(self.size) as usize;
        while self.under_way.len() > left {
            self.under_way.pop_front().into_iter().for_each(&mut done);
        }
        Ok(())
    }
}

/// The bytes that an operation has moved.
fn moved(what: &str, result: i32) -> anyhow::Result<u64> {
    ensure!(result != 0, "{what}: the server has closed the connection");
    let error = || std::io::Error::from_raw_os_error(-result);
    ensure!(result > 0, "{what}: {}", error());
    Ok(result as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn connection(whole: bool) -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let stream = TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
        Connection::new(stream, 10, whole, 40)
    }

    #[test]
    fn messages_come_back_in_pieces() {
        let (mut connection, pattern) = (connection(false), Pattern::new(40));
        let begin = Instant::now();
        (0..3).for_each(|_| connection.give(begin));
        assert!(connection.start(0, &pattern).iter().all(Option::is_some));
        assert!(connection.start(0, &pattern).iter().all(Option::is_none), "both are under way");
        connection.was_sent(25).expect("some of it");
        let mut done = 0;
        for (count, expected) in [(9, 0), (1, 1), (15, 2)] {
            let bytes = pattern.at(connection.received, count).to_vec();
            connection.buffer[..count].copy_from_slice(&bytes);
            connection.was_received(count as i32, &pattern, |_| done += 1).expect("as sent");
            assert_eq!(done, expected);
        }
        assert!(connection.start(0, &pattern).iter().all(Option::is_some), "the rest");
    }

    #[test]
    fn another_echo_and_the_end_are_errors() {
        let (mut connection, pattern) = (connection(true), Pattern::new(40));
        connection.give(Instant::now());
        assert!(connection.was_received(10, &pattern, |_| ()).is_err(), "zeros");
        assert!(connection.was_received(0, &pattern, |_| ()).is_err());
        assert!(connection.was_received(-libc::ECONNRESET, &pattern, |_| ()).is_err());
        assert!(connection.was_sent(9).is_err(), "a message is sent whole");
    }
}
