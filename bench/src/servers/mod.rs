//! The echo servers under test, one file each, each in its fastest documented
//! mode and written as if it were meant to win.
//!
//! Common rules: one thread; one buffer of [`BUFFER`] bytes per connection;
//! what a receive brought is sent back whole before the next receive.
//!
//! To add a server: a `mod` line, a [`Server`] variant, an arm in [`serve`].

mod mio;
mod nbio;
mod raw;
mod tokio;

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use socket2::{Domain, Socket, Type};

use crate::measure;

/// Size of a connection's buffer, and so the most one receive brings.
pub const BUFFER: usize = 16 * 1024;

/// A server is killed after this many seconds, whatever happens.
pub const LIFETIME: u32 = 150;

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Server {
    /// Hand-written io_uring loop on the io-uring crate: the yardstick
    Raw,
    /// nbio's callbacks, on io_uring
    Nbio,
    /// Bare mio loop, edge triggered
    Mio,
    /// Tokio, current_thread runtime, a task per connection
    Tokio,
}

#[derive(clap::Args)]
pub struct Args {
    server: Server,
    /// The core to run on
    #[arg(long)]
    core: Option<usize>,
    /// Exit unless this process is the parent
    #[arg(long)]
    parent: Option<i32>,
}

/// Runs a server in this process; the port is the one line on stdout.
pub fn serve(args: &Args) -> anyhow::Result<()> {
    // Killed with its parent and at the latest by the alarm. Watching stdin
    // instead would take a second thread, and a process with threads pays more
    // for every file descriptor it looks up.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).context("asking to die with the parent")?;
    if let Some(parent) = args.parent {
        ensure!(nix::unistd::getppid().as_raw() == parent, "the parent is gone already");
    }
    nix::unistd::alarm::set(LIFETIME);
    if let Some(core) = args.core {
        measure::pin_to_core(core)?;
    }
    measure::raise_descriptor_limit(4096)?;
    match args.server {
        Server::Raw => raw::run(),
        Server::Nbio => nbio::run(),
        Server::Mio => mio::run(),
        Server::Tokio => tokio::run(),
    }
}

/// A listener on a free port of 127.0.0.1, announced on stdout.
///
/// It is non-blocking, and accepted sockets inherit `TCP_NODELAY` from it, so
/// that no server has to set that per connection.
pub fn listen() -> anyhow::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).context("creating a socket")?;
    socket.set_tcp_nodelay(true).context("TCP_NODELAY")?;
    socket.set_tcp_congestion(measure::CONGESTION).context("TCP_CONGESTION")?;
    socket.set_nonblocking(true).context("O_NONBLOCK")?;
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(&any_port.into()).context("binding")?;
    socket.listen(1024).context("listening")?;
    let listener = TcpListener::from(socket);
    announce(listener.local_addr().context("own address")?.port())?;
    Ok(listener)
}

/// Tells the parent the port, for a server that cannot use [`listen`].
pub fn announce(port: u16) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{port}").context("telling the port")?;
    stdout.flush().context("telling the port")
}
