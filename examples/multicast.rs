//! Says something to a multicast group, or listens to one:
//!
//! ```text
//! cargo run --example multicast 239.1.2.3:4000 127.0.0.1           # listens, by the interface with this address
//! cargo run --example multicast 239.1.2.3:4000 127.0.0.1 hello     # says hello to those who listen
//! ```
//!
//! A group of IPv6 goes with the index of an interface: `[ff02::1234]:4000 2`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nbio::{EventLoop, Interface, Multicast, UdpOptions, UdpSocket};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: multicast GROUP:PORT INTERFACE [TEXT]";
    let group: SocketAddr = arguments.next().ok_or(usage)?.parse()?;
    let interface = interface(&arguments.next().ok_or(usage)?)?;
    let io = EventLoop::new()?;
    match arguments.next() {
        Some(text) => say(&io, group, interface, text)?,
        None => listen(&io, group, interface)?,
    }
    Ok(io.run()?)
}

/// An address of version 4, or an index.
fn interface(text: &str) -> Result<Interface, Box<dyn std::error::Error>> {
    match text.parse::<Ipv4Addr>() {
        Ok(address) => Ok(address.into()),
        Err(_) => Ok(text.parse::<u32>()?.into()),
    }
}

/// All addresses of this machine.
fn everywhere(group: SocketAddr) -> IpAddr {
    if group.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

fn say(io: &EventLoop, group: SocketAddr, interface: Interface, text: String) -> Result<(), nbio::Error> {
    let options = UdpOptions::default().multicast_interface(interface);
    let socket = io.bind_udp_with((everywhere(group), 0), options)?;
    io.send_to(socket, text, group, |_, _, sent| match sent.result {
        Ok(()) => println!("said {:?}", sent.buf),
        Err(error) => eprintln!("{error}"),
    });
    Ok(())
}

fn listen(io: &EventLoop, group: SocketAddr, interface: Interface) -> Result<(), nbio::Error> {
    // Others on this machine may listen to the same group at the same port.
    let options = UdpOptions::default().reuse_address(true);
    let socket = io.bind_udp_with((everywhere(group), group.port()), options)?;
    io.join_multicast(socket, Multicast::new(group.ip()).interface(interface))?;
    println!("listening to {group}");
    hear(io, socket, Vec::with_capacity(1500));
    Ok(())
}

fn hear(io: &EventLoop, socket: UdpSocket, buf: Vec<u8>) {
    io.recv_from(socket, buf, move |_, io, datagram| {
        match (datagram.result, datagram.from) {
            (Ok(()), Some(from)) => println!("{from}: {}", String::from_utf8_lossy(datagram.data())),
            (result, _) => eprintln!("{result:?}"),
        }
        hear(io, socket, datagram.buf);
    });
}
