//! A UDP echo server: `cargo run --example udp_echo [ADDRESS]`, 127.0.0.1:8080 unless told otherwise.
//!
//! It answers from the address that it was asked at, which matters if it is bound to all of them (`0.0.0.0:8080`,
//! `[::]:8080`) and the machine has several.

use std::net::SocketAddr;

use nbio::{Datagram, EventLoop, SendControl, UdpOptions, UdpSocket, op};

/// Receives that wait at the same time. The system keeps what comes between them.
const RECEIVES: usize = 8;

/// Room for the largest datagram, so that none is cut.
const ROOM: usize = 65_535;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let io = EventLoop::new()?;
    let options = UdpOptions::default().recv_packet_info(true);
    let socket = io.bind_udp_with(address.parse::<SocketAddr>()?, options)?;
    println!("echoing on {}", io.local_address(socket)?);
    for _ in 0..RECEIVES {
        receive(&io, socket, Vec::with_capacity(ROOM));
    }
    Ok(io.run()?)
}

fn receive(io: &EventLoop, socket: UdpSocket, buf: Vec<u8>) {
    io.recv_from(socket, buf, move |_, io, datagram| echo(io, socket, datagram));
}

fn echo(io: &EventLoop, socket: UdpSocket, datagram: Datagram<Vec<u8>>) {
    let (Ok(()), Some(from)) = (datagram.result, datagram.from) else {
        eprintln!("{:?}", datagram.result);
        return receive(io, socket, datagram.buf);
    };
    let mut control = SendControl::default();
    control.source = datagram.control.packet_info.map(|info| info.destination);
    // A Vec is as long as what was received; one without bytes goes back without bytes.
    let answer = op::SendTo::new(socket, datagram.buf, from).control(control);
    io.submit(answer, move |_, io, sent| {
        if let Err(error) = sent.result {
            eprintln!("to {from}: {error}");
        }
        receive(io, socket, sent.buf);
    });
}
