//! nbio, one accept for all connections and one receive for each, into buffers that the kernel picks from a pool.

use ::nbio::{Backend, BufferPool, Builder, Event, EventLoop, TcpStream};
use anyhow::Context;

use super::BUFFER;

/// As many buffers as `multishot` has.
const BUFFERS: usize = 1024;

pub fn run() -> anyhow::Result<()> {
    let io = Builder::new().backend(Backend::IoUring).build()?;
    let listener = io.adopt::<::nbio::TcpListener>(super::listen()?)?;
    let pool = io.buffer_pool(BUFFERS, BUFFER)?;
    io.accept_many(listener, move |_, io, event| {
        if let Event::Item(stream) = event {
            echo(io, stream, &pool);
        }
    });
    io.run().context("running")
}

fn echo(io: &EventLoop, stream: TcpStream, pool: &BufferPool) {
    io.recv_many(stream, pool, move |_, io, event| match event {
        Event::Item(bytes) => {
            io.send_all(stream, bytes, move |_, io, sent| match sent.result {
                Ok(()) if super::echoed(sent.bytes) => io.stop(),
                Ok(()) => {}
                Err(_) => io.close(stream),
            });
        }
        // Nothing is under way: a client waits for its echo before it closes.
        Event::End(_) => io.close(stream),
    });
}
