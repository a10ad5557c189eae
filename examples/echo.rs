//! A TCP echo server: `cargo run --example echo [ADDRESS]`, 127.0.0.1:8080 unless told otherwise.

use std::net::SocketAddr;

use nbio::{Accepted, Done, Error, EventLoop, TcpListener, TcpStream};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let io = EventLoop::new()?;
    let listener = io.listen_tcp(address.parse::<SocketAddr>()?)?;
    println!("echoing on {}", io.local_address(listener)?);
    io.accept(listener, move |_, io, accepted| on_accept(io, listener, accepted));
    // All callbacks run in here, one at a time, on this thread.
    Ok(io.run()?)
}

fn on_accept(io: &EventLoop, listener: TcpListener, accepted: Result<Accepted, Error>) {
    // Register the next accept first.
    io.accept(listener, move |_, io, accepted| on_accept(io, listener, accepted));
    match accepted {
        Ok(Accepted { stream, .. }) => receive(io, stream, [0; 50]),
        Err(error) => eprintln!("{error}"),
    }
}

// The buffer moves into the operation and comes back with its end: one a connection, used again and again.
fn receive(io: &EventLoop, stream: TcpStream, buf: [u8; 50]) {
    io.recv(stream, buf, move |_, io, done| on_receive(io, stream, done));
}

fn on_receive(io: &EventLoop, stream: TcpStream, done: Done<[u8; 50]>) {
    // 0 bytes: the peer has said all it had to say.
    if done.result.is_err() || done.bytes == 0 {
        return io.close(stream);
    }
    io.send_all(stream, done.filled(), move |_, io, sent| match sent.result {
        Ok(()) => receive(io, stream, sent.buf.into_inner()),
        Err(_) => io.close(stream),
    });
}
