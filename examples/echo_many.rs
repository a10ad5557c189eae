//! The echo server with one accept for all connections and one receive for each: `cargo run --example echo_many [ADDRESS]`.

use std::net::SocketAddr;
use std::time::Duration;

use nbio::{BufferPool, Error, Event, EventLoop, TcpStream};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let io = EventLoop::new()?;
    let listener = io.listen_tcp(address.parse::<SocketAddr>()?)?;
    println!("echoing on {}", io.local_address(listener)?);
    // What clients haven't taken back yet is at most 1,024 buffers; then receiving pauses.
    let pool = io.buffer_pool(1024, 4096)?;
    io.accept_many(listener, move |_, io, event| match event {
        Event::Item(stream) => echo(io, stream, &pool),
        Event::End(result) => eprintln!("{result:?}"),
    });
    Ok(io.run()?)
}

fn echo(io: &EventLoop, stream: TcpStream, pool: &BufferPool) {
    io.recv_many(stream, pool, move |_, io, event| match event {
        // The buffer goes back to the pool when it is sent.
        Event::Item(bytes) => {
            io.send_all(stream, bytes, move |_, io, sent| close_after(io, stream, sent.result));
        }
        Event::End(Ok(())) => io.close_gracefully(stream, Duration::from_secs(5), |_, _, _| ()),
        Event::End(result) => close_after(io, stream, result),
    });
}

/// A stream that failed is of no use any more; closing one that is closed already does nothing.
fn close_after(io: &EventLoop, stream: TcpStream, result: Result<(), Error>) {
    if result.is_err() {
        io.close(stream);
    }
}
