//! nbio, as a user would write it: a callback an operation, one `Vec` a connection that goes round.

use ::nbio::{Backend, Builder, Done, EventLoop, TcpListener, TcpStream};
use anyhow::Context;

use super::BUFFER;

pub fn run(backend: Backend) -> anyhow::Result<()> {
    let io = Builder::new().backend(backend).build()?;
    let listener = io.adopt(super::listen()?)?;
    accept(&io, listener);
    io.run().context("running")
}

fn accept(io: &EventLoop, listener: TcpListener) {
    io.accept(listener, move |_, io, accepted| {
        accept(io, listener);
        if let Ok(accepted) = accepted {
            receive(io, accepted.stream, Vec::with_capacity(BUFFER));
        }
    });
}

fn receive(io: &EventLoop, stream: TcpStream, buf: Vec<u8>) {
    io.recv(stream, buf, move |_, io, done| echo(io, stream, done));
}

fn echo(io: &EventLoop, stream: TcpStream, done: Done<Vec<u8>>) {
    if done.result.is_err() || done.bytes == 0 {
        return io.close(stream);
    }
    io.send_all(stream, done.buf, move |_, io, sent| match sent.result {
        Ok(()) if super::echoed(sent.bytes) => io.stop(),
        Ok(()) => receive(io, stream, sent.buf),
        Err(_) => io.close(stream),
    });
}
