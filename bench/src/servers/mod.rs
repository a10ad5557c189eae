//! The echo servers under test, one file each, each in its fastest documented
//! mode and written as if it were meant to win.
//!
//! Common rules: one thread; one buffer of [`BUFFER`] bytes per connection;
//! what a receive brought is sent back whole before the next receive.
//!
//! A server ends by itself when [`echoed`] says so, or is killed.
//!
//! To add a server: a `mod` line, a [`Server`] variant, an arm in [`serve`].

mod calloop;
mod compio;
mod edge;
mod epoll;
mod kimojio;
mod libuv;
mod many;
mod mio;
mod monoio;
mod multishot;
mod nbio;
mod raw;
mod runite;
mod smol;
mod tasks;
mod tokio;

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context as Polling, Poll, Waker};

use ::nbio::Backend;
use anyhow::Context;
use socket2::{Domain, Socket, Type};

use crate::process::Place;
use crate::{alloc, measure};

/// Size of a connection's buffer, and so the most one receive brings.
pub const BUFFER: usize = 16 * 1024;

/// How many bytes are to be echoed until the end.
static LEFT: AtomicU64 = AtomicU64::new(u64::MAX);

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Server {
    /// Hand-written io_uring loop on the io-uring crate: the yardstick
    Raw,
    /// The same with multishot accept and receive and buffers that the kernel picks
    #[serde(rename = "raw-multishot")]
    RawMultishot,
    /// nbio's callbacks, on io_uring
    Nbio,
    /// The same program on epoll
    #[serde(rename = "nbio-epoll")]
    NbioEpoll,
    /// nbio's callbacks, one receive for all that comes on a connection, on io_uring
    #[serde(rename = "nbio-many")]
    NbioMany,
    /// nbio's tasks, on io_uring
    #[serde(rename = "nbio-tasks")]
    NbioTasks,
    /// The same program on epoll
    #[serde(rename = "nbio-tasks-epoll")]
    NbioTasksEpoll,
    /// Bare epoll loop, edge triggered
    Epoll,
    /// Bare mio loop, edge triggered
    Mio,
    /// Tokio, current_thread runtime, a task per connection
    Tokio,
    /// Monoio on io_uring, a task per connection
    Monoio,
    /// Compio on io_uring, a task per connection
    Compio,
    /// kimojio on io_uring, a task per connection
    Kimojio,
    /// runite on io_uring, a task per connection
    Runite,
    /// smol, a task per connection
    Smol,
    /// calloop, an edge-triggered source per connection
    Calloop,
    /// libuv, the system's library
    Libuv,
}

#[derive(clap::Args)]
pub struct Args {
    server: Server,
    /// End after as many messages, and say what was allocated
    #[arg(long, requires = "size")]
    messages: Option<u64>,
    /// The size of these messages in bytes
    #[arg(long)]
    size: Option<u64>,
    #[command(flatten)]
    place: Place,
}

/// Runs a server in this process; the port is the first line on stdout. If it ends after some messages, the second
/// is what it has allocated.
pub fn serve(args: &Args) -> anyhow::Result<()> {
    args.place.take()?;
    let bytes = args.messages.and_then(|messages| messages.checked_mul(args.size?));
    if let Some(bytes) = bytes {
        LEFT.store(bytes, Relaxed);
        alloc::start();
    }
    match args.server {
        Server::Raw => raw::run(),
        Server::RawMultishot => multishot::run(),
        Server::Nbio => nbio::run(Backend::IoUring),
        Server::NbioEpoll => nbio::run(Backend::Epoll),
        Server::NbioMany => many::run(),
        Server::NbioTasks => tasks::run(Backend::IoUring),
        Server::NbioTasksEpoll => tasks::run(Backend::Epoll),
        Server::Epoll => epoll::run(),
        Server::Mio => mio::run(),
        Server::Tokio => tokio::run(),
        Server::Monoio => monoio::run(),
        Server::Compio => compio::run(),
        Server::Kimojio => kimojio::run(),
        Server::Runite => runite::run(),
        Server::Smol => smol::run(),
        Server::Calloop => calloop::run(),
        Server::Libuv => libuv::run(),
    }?;
    say(&serde_json::to_string(&alloc::so_far())?)
}

/// Counts what was sent back whole; true if that was all, and the server is to end.
///
/// Servers have one thread, so a load and a store do; as a static it costs all of them the same.
#[inline]
pub fn echoed(bytes: usize) -> bool {
    let left = LEFT.load(Relaxed).saturating_sub(bytes as u64);
    LEFT.store(left, Relaxed);
    left == 0
}

/// The end of a server whose runtime has nothing to end with: what its main future waits for.
#[derive(Clone, Default)]
struct Over(Rc<(Cell<bool>, RefCell<Option<Waker>>)>);

impl Over {
    fn tell(&self) {
        self.0.0.set(true);
        if let Some(waker) = self.0.1.take() {
            waker.wake();
        }
    }
}

impl Future for Over {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Polling<'_>) -> Poll<()> {
        if self.0.0.get() {
            return Poll::Ready(());
        }
        self.0.1.replace(Some(context.waker().clone()));
        Poll::Pending
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
    say(&port.to_string())
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).context("writing to stdout")
}
