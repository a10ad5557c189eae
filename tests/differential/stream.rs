//! What programs do to either end of a stream, whatever kind it is.

use nbio::{Done, Half, OpId, Spliced, Stream, TcpStream, op};

use crate::run::{Io, Tell};

/// An end of a TCP connection, a Unix stream or a pipe.
pub trait End {
    fn operate(&self, io: &Io, what: What, tell: Tell) -> OpId;
    /// Plain receives until so many bytes have come.
    fn drain(&self, io: &Io, bytes: usize, tell: Tell);
    fn close(&self, io: &Io);
    fn cancel_all(&self, io: &Io);
}

pub enum What {
    Send(Vec<u8>),
    SendVectored(Vec<Vec<u8>>),
    Exact(usize),
    ExactVectored(Vec<usize>),
    InTime(usize),
    Late { passed: bool },
    Shutdown,
    Poll,
    Splice { to: TcpStream, bytes: u64 },
}

impl<H: Stream> End for H {
    fn operate(&self, io: &Io, what: What, tell: Tell) -> OpId {
        use nbio::Operation;
        use std::time::Duration;
        let receive = |bytes| op::Recv::new(*self, Vec::with_capacity(bytes)).exact(bytes);
        match what {
            What::Send(content) => io.send_all(*self, content, move |_, _, done| tell.sent(&done)),
            What::SendVectored(parts) => {
                let send = op::SendVectored::new(*self, parts).all();
                io.submit(send, move |_, _, done| tell.sent(&done))
            }
            What::Exact(bytes) => io.submit(receive(bytes), move |_, _, done| tell.moved(&done, done.data())),
            What::ExactVectored(parts) => {
                let bytes = parts.iter().sum();
                let room = parts.into_iter().map(Vec::with_capacity).collect::<Vec<_>>();
                let recv = op::RecvVectored::new(*self, room).exact(bytes);
                io.submit(recv, move |_, _, done: Done<Vec<Vec<u8>>>| tell.moved(&done, &done.buf.concat()))
            }
            What::InTime(bytes) => {
                let recv = receive(bytes).timeout(Duration::from_secs(3600));
                io.submit(recv, move |_, _, done| tell.moved(&done, done.data()))
            }
            What::Late { passed } => {
                let recv = receive(10);
                let limit = Duration::from_millis(1);
                let recv = if passed { recv.deadline(io.now()) } else { recv.timeout(limit) };
                io.submit(recv, move |_, _, done| tell.moved(&done, done.data()))
            }
            What::Shutdown => io.shutdown(*self, Half::Write, move |_, _, result| tell.result(result)),
            What::Poll => {
                let poll = op::Poll::on(*self, op::Interest::READABLE);
                io.submit(poll, move |_, _, ready| tell.text(ready.map(|ready| ready.readable)))
            }
            What::Splice { to, bytes } => {
                let splice = op::Splice::new(*self, to).limit(bytes);
                io.submit(splice, move |_, _, spliced: Spliced| {
                    tell.bytes(spliced.delivered, &spliced.stranded, spliced.result);
                })
            }
        }
    }

    fn drain(&self, io: &Io, bytes: usize, tell: Tell) {
        drain_on(io, *self, Vec::with_capacity(bytes), bytes, tell);
    }

    fn close(&self, io: &Io) {
        io.close(*self);
    }

    fn cancel_all(&self, io: &Io) {
        io.cancel_all(*self).expect("it is open");
    }
}

fn drain_on(io: &Io, stream: impl Stream, mut all: Vec<u8>, bytes: usize, tell: Tell) {
    io.recv(stream, vec![0; 700], move |_, io, done| {
        all.extend_from_slice(done.data());
        if done.result.is_ok() && done.bytes > 0 && all.len() < bytes {
            return drain_on(io, stream, all, bytes, tell);
        }
        tell.bytes(all.len() as u64, &all, done.result);
    });
}
