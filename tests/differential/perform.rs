//! Carries out what a program does, but for files (`files`).

use std::rc::Rc;
use std::time::Duration;

use nbio::{Accepted, Datagram, Linger, Operation, TcpOptions, op};

use crate::model::Action;
use crate::run::Run;
use crate::stream::{End, What};

/// Bytes that nothing else sends.
pub fn content(op: usize, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 7 + at / 256 + op * 13) as u8).collect()
}

/// Two parts of a number of bytes, or one of a single byte.
fn parts(bytes: usize) -> Vec<usize> {
    [bytes / 3, bytes - bytes / 3].into_iter().filter(|&part| part > 0).collect()
}

impl Run {
    /// The operations of the action are numbered on from `first`.
    pub fn perform(&mut self, action: &Action, first: usize) {
        match *action {
            Action::Connect => self.connect(first),
            Action::ConnectUnix => self.connect_unix(first),
            Action::UnixPair => {
                let (one, other) = self.io.unix_pair().expect("descriptors are left");
                self.two_ends(Rc::new(one), Rc::new(other));
            }
            Action::Pipe => {
                let (read, write) = self.io.pipe().expect("descriptors are left");
                self.two_ends(Rc::new(read), Rc::new(write));
            }
            Action::Refused => {
                let tell = self.tell(first);
                self.io.connect(self.nobody, |_, _, result| tell.result(result.map(drop)));
            }
            Action::AcceptNobody { late } => self.accept_nobody(first, late),
            Action::CancelQueued { end } => {
                let waits = self.operate(end, What::Exact(10), first);
                let queued = self.operate(end, What::Exact(20), first + 1);
                assert!(self.io.cancel(queued) && self.io.cancel(waits));
            }
            Action::CancelAll { end } => self.end(end).cancel_all(&self.io),
            Action::Drain { end, bytes } => self.end(end).drain(&self.io, bytes, self.tell(first)),
            Action::Flood { end, other, bytes } => {
                self.operate(other, What::Exact(bytes), first);
                self.operate(end, What::Send(content(first, bytes)), first + 1);
            }
            Action::Close { end } => self.end(end).close(&self.io),
            Action::Reset { end } => {
                let reset = TcpOptions::default().linger(Linger::Reset);
                self.io.set_tcp_options(self.tcp(end), reset).expect("it is open");
                self.end(end).close(&self.io);
            }
            Action::SpliceNothing { from, to } => {
                let splice = self.operate(from, What::Splice { to: self.tcp(to), bytes: 10 }, first);
                assert!(self.io.cancel(splice));
            }
            Action::Timer { cancelled } => {
                let tell = self.tell(first);
                let after = Duration::from_millis(if cancelled { 3_600_000 } else { 1 });
                let timer = self.io.timer(after, |_, _, result| tell.result(result));
                assert!(!cancelled || self.io.cancel(timer));
            }
            Action::Stop { op, remove } => {
                let id = self.operations[&op];
                assert!(if remove { self.io.remove(id) } else { self.io.cancel(id) }, "operation {op} waits");
            }
            Action::File(ref action) => self.file(action, first),
            Action::SendFile { .. }
            | Action::Bind
            | Action::SendTo { .. }
            | Action::RecvFrom { .. }
            | Action::LateDatagram { .. } => self.message(action, first),
            _ => self.stream(action, first),
        }
    }

    /// One operation on one end.
    fn stream(&mut self, action: &Action, op: usize) {
        let (end, what) = match *action {
            Action::Send { end, bytes, vectored } => {
                let content = content(op, bytes);
                let (one, other) = content.split_at(bytes / 3);
                let parts = vec![one.to_vec(), other.to_vec()];
                (end, if vectored { What::SendVectored(parts) } else { What::Send(content) })
            }
            Action::Exact { end, bytes, vectored } => {
                (end, if vectored { What::ExactVectored(parts(bytes)) } else { What::Exact(bytes) })
            }
            Action::InTime { end, bytes } => (end, What::InTime(bytes)),
            Action::Late { end, passed } => (end, What::Late { passed }),
            Action::Shutdown { end } => (end, What::Shutdown),
            Action::Poll { end } => (end, What::Poll),
            Action::Splice { from, to, bytes } => {
                (from, What::Splice { to: self.tcp(to), bytes: bytes as u64 })
            }
            ref other => unreachable!("{other:?} is not of one end"),
        };
        self.operate(end, what, op);
    }

    fn operate(&mut self, end: usize, what: What, op: usize) -> nbio::OpId {
        let id = self.end(end).operate(&self.io, what, self.tell(op));
        self.operations.insert(op, id);
        id
    }

    fn end(&self, end: usize) -> Rc<dyn End> {
        self.ends.borrow()[&end].clone()
    }

    fn tcp(&self, end: usize) -> nbio::TcpStream {
        self.tcp.borrow()[&end]
    }

    fn two_ends(&mut self, one: Rc<dyn End>, other: Rc<dyn End>) {
        self.ends.borrow_mut().extend([(self.next_end, one), (self.next_end + 1, other)]);
        self.next_end += 2;
    }

    fn connect(&mut self, first: usize) {
        let (accept, connect) = (self.tell(first), self.tell(first + 1));
        let end = self.next_end;
        self.next_end += 2;
        let (ends, tcp) = (self.ends.clone(), self.tcp.clone());
        let place = move |end, stream| {
            ends.borrow_mut().insert(end, Rc::new(stream));
            tcp.borrow_mut().insert(end, stream);
        };
        let place_other = place.clone();
        self.io.accept(self.listener, move |_, _, accepted| {
            accept.result(accepted.map(|accepted| place(end, accepted.stream)));
        });
        let to = self.io.local_address(self.listener).expect("it listens");
        let options = TcpOptions::default().nodelay(true);
        self.io.submit(op::Connect::new(to).options(options), move |_, _, stream| {
            connect.result(stream.map(|stream| place_other(end + 1, stream)));
        });
    }

    fn connect_unix(&mut self, first: usize) {
        let (accept, connect) = (self.tell(first), self.tell(first + 1));
        let end = self.next_end;
        self.next_end += 2;
        let path = self.folder.at("listener");
        let listener = *self
            .unix_listener
            .get_or_insert_with(|| self.io.listen_unix(path.as_path()).expect("nobody has the path"));
        let (ends, others) = (self.ends.clone(), self.ends.clone());
        self.io.accept(listener, move |_, _, accepted: Result<Accepted<_, _>, _>| {
            accept.result(accepted.map(|accepted| {
                ends.borrow_mut().insert(end, Rc::new(accepted.stream));
            }));
        });
        self.io.connect_unix(path.as_path(), move |_, _, stream| {
            connect.result(stream.map(|stream| {
                others.borrow_mut().insert(end + 1, Rc::new(stream));
            }));
        });
    }

    fn accept_nobody(&mut self, op: usize, late: bool) {
        let accept = op::Accept::new(self.listener);
        let accept = if late { accept.timeout(Duration::from_millis(1)) } else { accept };
        let tell = self.tell(op);
        let accept = self.io.submit(accept, |_, _, accepted| tell.result(accepted.map(drop)));
        assert!(late || self.io.cancel(accept));
    }

    /// Files on streams, and datagrams.
    fn message(&mut self, action: &Action, op: usize) {
        let tell = self.tell(op);
        match *action {
            Action::SendFile { file, to, offset, bytes } => {
                let file = self.files.borrow()[&file];
                let send = op::SendFile::new(file, self.tcp(to)).offset(offset as u64).length(bytes as u64);
                self.io.submit(send, |_, _, sent| tell.bytes(sent.bytes, &[], sent.result));
            }
            Action::Bind => {
                self.sockets.push(self.io.bind_udp(crate::address::own_address()).expect("it is free"));
            }
            Action::SendTo { from, to, bytes } => {
                let to = self.io.local_address(self.sockets[to]).expect("it is bound");
                self.io.send_to(self.sockets[from], content(op, bytes), to, |_, _, done| tell.sent(&done));
            }
            Action::RecvFrom { socket, room } => {
                let addresses = self.sockets.iter().map(|&socket| self.io.local_address(socket).ok());
                let addresses = addresses.collect::<Vec<_>>();
                let buffer = Vec::with_capacity(room);
                let seen = move |datagram: Datagram<Vec<u8>>| {
                    let from = addresses.iter().position(|&address| address == datagram.from);
                    // A `Vec` may have more room than was asked for.
                    let data = (from, datagram.truncated, datagram.buf);
                    tell.data(datagram.result.map(|()| data));
                };
                let recv = self.io.recv_from(self.sockets[socket], buffer, |_, _, datagram| seen(datagram));
                self.operations.insert(op, recv);
            }
            Action::LateDatagram { socket } => {
                let recv =
                    op::RecvFrom::new(self.sockets[socket], [0; 100]).timeout(Duration::from_millis(1));
                self.io.submit(recv, |_, _, datagram| tell.result(datagram.result));
            }
            ref other => unreachable!("{other:?} is no message"),
        }
    }
}
