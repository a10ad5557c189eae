//! A chat server: what one peer says, all others hear. `cargo run --example chat [ADDRESS]`, 127.0.0.1:8080 unless told
//! otherwise; then `nc 127.0.0.1 8080` in a few terminals.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use nbio::{Accepted, Done, EventLoop, Operation, TcpListener, TcpStream, op};

/// What all callbacks share. The loop lends it to each of them as `&mut Chat`.
#[derive(Default)]
struct Chat {
    peers: HashMap<TcpStream, SocketAddr>,
}

/// Whoever doesn't read what he is sent for so long has to go.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let io = EventLoop::new()?;
    let listener = io.listen_tcp(address.parse::<SocketAddr>()?)?;
    println!("chatting on {}", io.local_address(listener)?);
    accept(&io, listener);
    Ok(io.run_with(&mut Chat::default())?)
}

fn accept(io: &EventLoop<Chat>, listener: TcpListener) {
    io.accept(listener, move |chat, io, accepted| {
        accept(io, listener);
        match accepted {
            Ok(Accepted { stream, peer, .. }) => {
                chat.peers.insert(stream, peer);
                tell_others(chat, io, stream, format!("* {peer} joins\n").as_bytes());
                receive(io, stream, Vec::with_capacity(1024));
            }
            Err(error) => eprintln!("{error}"),
        }
    });
}

/// `line` may hold the beginning of a line already; what comes is appended.
fn receive(io: &EventLoop<Chat>, peer: TcpStream, line: Vec<u8>) {
    io.submit(op::Recv::new(peer, line).append(), move |chat, io, done| on_receive(chat, io, peer, done));
}

fn on_receive(chat: &mut Chat, io: &EventLoop<Chat>, peer: TcpStream, done: Done<Vec<u8>>) {
    // What had come when the peer was thrown out still arrives here: then it has no name any more.
    let (Ok(()), 1.., Some(name)) = (done.result, done.bytes, chat.peers.get(&peer)) else {
        return leave(chat, io, peer);
    };
    let mut line = done.buf;
    // Wait for the rest of the line, while there is room for it.
    if line.ends_with(b"\n") || line.len() == line.capacity() {
        tell_others(chat, io, peer, &[format!("{name}: ").as_bytes(), &line].concat());
        line.clear();
    }
    receive(io, peer, line);
}

fn tell_others(chat: &Chat, io: &EventLoop<Chat>, speaker: TcpStream, line: &[u8]) {
    // One copy of the text for all; it goes when the last of them has it.
    let line: Rc<[u8]> = line.into();
    for &peer in chat.peers.keys().filter(|&&peer| peer != speaker) {
        io.submit(op::Send::new(peer, line.clone()).all().timeout(PATIENCE), move |chat, io, sent| {
            if sent.result.is_err() {
                leave(chat, io, peer);
            }
        });
    }
}

fn leave(chat: &mut Chat, io: &EventLoop<Chat>, peer: TcpStream) {
    // Closing cancels what still waits on the stream, and those callbacks come here again.
    if let Some(name) = chat.peers.remove(&peer) {
        io.close(peer);
        tell_others(chat, io, peer, format!("* {name} leaves\n").as_bytes());
    }
}
