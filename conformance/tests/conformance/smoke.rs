//! The loop runs at all.

use nbio::{Done, EventLoop, TcpStream};

use crate::support::{Case, Drops, Slot, Subject, listen};

pub const CASES: &[Case] = &[
    Case { name: "accept_connect_echo_close", run: accept_connect_echo_close },
    Case { name: "removed_recv_drops_callback_once", run: removed_recv_drops_callback_once },
];

fn accept_connect_echo_close(subject: &Subject) {
    let io: EventLoop<()> = subject.io();
    let (listener, address) = listen(&io);
    io.accept(listener, move |_, io, accepted| {
        io.close(listener);
        let stream = accepted.unwrap().stream;
        io.recv(stream, vec![0; 50], move |_, io, done| echo(io, stream, done));
    });
    let got = Slot::new();
    let seen = got.clone();
    io.connect(address, move |_, io, connected| {
        let stream = connected.unwrap();
        io.send_all(stream, "hello", |_, _, sent| assert_eq!((sent.bytes, sent.result), (5, Ok(()))));
        io.recv_exact(stream, vec![0; 50], 5, move |_, io, done| {
            seen.put(done.data().to_vec());
            io.close(stream);
        });
    });
    io.run().unwrap();
    assert_eq!(got.one(), b"hello");
    assert_eq!(io.in_flight(), 0);
}

fn echo(io: &EventLoop<()>, stream: TcpStream, done: Done<Vec<u8>>) {
    done.result.unwrap();
    if done.bytes == 0 {
        return io.close(stream);
    }
    io.send_all(stream, done.buf, move |_, io, sent| {
        sent.result.unwrap();
        io.recv(stream, sent.buf, move |_, io, done| echo(io, stream, done));
    });
}

fn removed_recv_drops_callback_once(subject: &Subject) {
    let io: EventLoop<()> = subject.io();
    let (stream, _peer) = subject.pair(&io);
    let drops = Drops::new();
    let counted = drops.counted();
    let recv = io.recv(stream, vec![0; 10], move |_, _, _| drop(counted));
    assert!(io.remove(recv) && !io.remove(recv));
    assert_eq!(drops.count(), 1);
    io.close(stream);
    io.run().unwrap();
    assert_eq!((drops.count(), io.in_flight()), (1, 0));
}
