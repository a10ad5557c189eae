//! The server of `echo.rs`, with tasks: `cargo run --example echo_async [address]`.
use nbio::task::{TcpListener, TcpStream, block_on, spawn};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".into());
    Ok(block_on(serve(address.parse()?))??)
}

async fn serve(address: std::net::SocketAddr) -> Result<(), nbio::Error> {
    let listener = TcpListener::bind(address)?;
    println!("echoing on {}", listener.local_address()?);
    loop {
        drop(spawn(echo(listener.accept().await?.0)));
    }
}

async fn echo(stream: TcpStream) -> Result<(), nbio::Error> {
    let (_, mut buf) = stream.recv(Vec::with_capacity(50)).await?;
    while !buf.is_empty() {
        (_, buf) = stream.send_all(buf).await?;
        (_, buf) = stream.recv(buf).await?;
    }
    Ok(())
}
