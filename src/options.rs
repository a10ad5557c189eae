//! Socket options: one type for listening, connecting and open streams.

use std::time::Duration;

/// Options of TCP sockets. What is `None` is left as the system has it.
///
/// Given to [`op::Connect::options`](crate::op::Connect::options) and [`ListenOptions::tcp`] they are set before
/// the connection is made (a listener's are inherited by what it accepts, on Linux and the BSDs), with
/// [`EventLoop::set_tcp_options`](crate::EventLoop::set_tcp_options) on an open stream;
/// [`EventLoop::tcp_options`](crate::EventLoop::tcp_options) reads them all.
///
/// ```
/// use std::time::Duration;
/// use nbio::{Keepalive, TcpOptions};
/// let options = TcpOptions::default()
///     .nodelay(true)
///     .keepalive(Keepalive::On { idle: Duration::from_secs(60), interval: Duration::from_secs(10), probes: 5 });
/// assert_eq!(options.nodelay, Some(true));
/// ```
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpOptions {
    /// Send small segments at once instead of collecting them (Nagle). `TCP_NODELAY`, tcp(7); off as the system
    /// has it.
    pub nodelay: Option<bool>,
    /// Probe idle connections. `SO_KEEPALIVE`, socket(7).
    pub keepalive: Option<Keepalive>,
    /// What close does with data that is not sent yet. `SO_LINGER`, socket(7).
    pub linger: Option<Linger>,
    /// Size of the system's receive buffer in bytes. Linux doubles what is set, and answers the doubled value
    /// (`SO_RCVBUF`, socket(7)); it must be set before connecting or listening to widen the TCP window.
    pub recv_buffer: Option<usize>,
    /// Size of the system's send buffer in bytes; as `recv_buffer` (`SO_SNDBUF`).
    pub send_buffer: Option<usize>,
    /// How long sent data may stay unacknowledged before the connection is dropped with
    /// [`TimedOut`](crate::ErrorKind::TimedOut); zero for the system's rule. Whole milliseconds, rounded up.
    /// `TCP_USER_TIMEOUT`, tcp(7); Linux.
    pub user_timeout: Option<Duration>,
}

/// Keepalive probes on an idle connection.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Keepalive {
    /// No probes.
    Off,
    /// Probes with the system's times (on Linux 2 hours, 75 seconds, 9 probes).
    SystemTimes,
    /// Probes. Durations are in whole seconds from 1 s to 32,767 s, rounded up (tcp(7)).
    On {
        /// Idle time before the first probe (`TCP_KEEPIDLE`).
        idle: Duration,
        /// Time between probes (`TCP_KEEPINTVL`).
        interval: Duration,
        /// Unanswered probes after which the connection is dropped, 1 to 127 (`TCP_KEEPCNT`).
        probes: u32,
    },
}

/// What closing a stream does with data that is not sent yet.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Linger {
    /// The system goes on sending after the close, which doesn't wait. The default.
    System,
    /// The data is thrown away and the peer sees a reset.
    Reset,
    /// The system's close waits until the data is acknowledged, or for this time (whole seconds, rounded up, at
    /// least 1; at most 65,535 on Windows); socket(7). Neither the loop nor [`Close`](crate::op::Close)'s callback waits with it (a thread in
    /// close(2) would), so there is little use for it here: to hear when the peer has everything, use
    /// [`close_gracefully`](crate::EventLoop::close_gracefully).
    Wait(Duration),
}

impl TcpOptions {
    /// Whether closing may wait for unsent data.
    pub(crate) fn lingers(&self) -> bool {
        matches!(self.linger, Some(Linger::Wait(_)))
    }

    /// Sets [`nodelay`](TcpOptions::nodelay).
    pub fn nodelay(mut self, on: bool) -> TcpOptions {
        self.nodelay = Some(on);
        self
    }

    /// Sets [`keepalive`](TcpOptions::keepalive).
    pub fn keepalive(mut self, keepalive: Keepalive) -> TcpOptions {
        self.keepalive = Some(keepalive);
        self
    }

    /// Sets [`linger`](TcpOptions::linger).
    pub fn linger(mut self, linger: Linger) -> TcpOptions {
        self.linger = Some(linger);
        self
    }

    /// Sets [`recv_buffer`](TcpOptions::recv_buffer).
    pub fn recv_buffer(mut self, bytes: usize) -> TcpOptions {
        self.recv_buffer = Some(bytes);
        self
    }

    /// Sets [`send_buffer`](TcpOptions::send_buffer).
    pub fn send_buffer(mut self, bytes: usize) -> TcpOptions {
        self.send_buffer = Some(bytes);
        self
    }

    /// Sets [`user_timeout`](TcpOptions::user_timeout).
    pub fn user_timeout(mut self, timeout: Duration) -> TcpOptions {
        self.user_timeout = Some(timeout);
        self
    }
}

/// How to listen; see [`EventLoop::listen_tcp_with`](crate::EventLoop::listen_tcp_with).
///
/// ```
/// use nbio::{EventLoop, ListenOptions};
/// let io = EventLoop::<()>::new()?;
/// let options = ListenOptions::default().backlog(64).reuse_port(true);
/// let listener = io.listen_tcp_with(([127, 0, 0, 1], 0), options)?;
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenOptions {
    /// How many connections may wait to be accepted; the system caps it (`net.core.somaxconn`, listen(2)).
    /// 4,096 by default.
    pub backlog: u32,
    /// Listen although connections of an earlier listener still linger in TIME_WAIT (`SO_REUSEADDR`). On by
    /// default. It doesn't let two listeners share an address.
    pub reuse_address: bool,
    /// Let several listeners share the address; the system spreads connections over them (`SO_REUSEPORT`,
    /// socket(7)). Off by default.
    pub reuse_port: bool,
    /// An IPv6 listener takes no IPv4 connections (`IPV6_V6ONLY`, ipv6(7)). `None` leaves the system's rule (on
    /// Linux `net.ipv6.bindv6only`). [`InvalidInput`](crate::ErrorKind::InvalidInput) with an IPv4 address.
    pub v6only: Option<bool>,
    /// Options that accepted streams inherit.
    pub tcp: TcpOptions,
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions {
            backlog: 4096,
            reuse_address: true,
            reuse_port: false,
            v6only: None,
            tcp: TcpOptions::default(),
        }
    }
}

impl ListenOptions {
    /// Sets [`backlog`](ListenOptions::backlog).
    pub fn backlog(mut self, connections: u32) -> ListenOptions {
        self.backlog = connections;
        self
    }

    /// Sets [`reuse_address`](ListenOptions::reuse_address).
    pub fn reuse_address(mut self, on: bool) -> ListenOptions {
        self.reuse_address = on;
        self
    }

    /// Sets [`reuse_port`](ListenOptions::reuse_port).
    pub fn reuse_port(mut self, on: bool) -> ListenOptions {
        self.reuse_port = on;
        self
    }

    /// Sets [`v6only`](ListenOptions::v6only).
    pub fn v6only(mut self, on: bool) -> ListenOptions {
        self.v6only = Some(on);
        self
    }

    /// Sets [`tcp`](ListenOptions::tcp).
    pub fn tcp(mut self, options: TcpOptions) -> ListenOptions {
        self.tcp = options;
        self
    }
}

/// How to listen on a Unix socket; see [`EventLoop::listen_unix_with`](crate::EventLoop::listen_unix_with).
///
/// ```
/// # let directory = std::env::temp_dir().join(format!("nbio-unlink-{}", std::process::id()));
/// # std::fs::create_dir(&directory).unwrap();
/// # let path = directory.join("socket");
/// use nbio::{EventLoop, UnixListenOptions};
/// let io = EventLoop::<()>::new()?;
/// let listener = io.listen_unix_with(&path, UnixListenOptions::default().unlink_on_close(true))?;
/// assert!(path.exists());
/// io.close(listener);
/// io.run()?;
/// assert!(!path.exists());
/// # std::fs::remove_dir_all(&directory).unwrap();
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnixListenOptions {
    /// How many connections may wait to be accepted; the system caps it (`net.core.somaxconn`, listen(2)).
    /// 1,024 by default.
    pub backlog: u32,
    /// Remove the file at the listener's path when the listener is closed, by whatever: a close, the end of its loop, or
    /// dropping what was [`detach`](crate::EventLoop::detach)ed (an [`attach`](crate::EventLoop::attach) takes this
    /// along). Off by default: then it stays, and is in the way of the next listener.
    ///
    /// The file is removed only if it is still this socket, by device and number, so that of one who has
    /// taken the place by then stays; looking and removing are two steps, though, and who takes it in between loses his. That
    /// it can't be removed is nobody's error: the next who listens there is told
    /// [`AddrInUse`](crate::ErrorKind::AddrInUse). A [`release`](crate::EventLoop::release)d listener's file stays, as
    /// does that of a process that dies. It is done on the loop's thread, by unlink(2), just before the close. Without
    /// a path, nothing happens.
    pub unlink_on_close: bool,
}

impl Default for UnixListenOptions {
    fn default() -> UnixListenOptions {
        UnixListenOptions { backlog: 1024, unlink_on_close: false }
    }
}

impl UnixListenOptions {
    /// Sets [`backlog`](UnixListenOptions::backlog).
    pub fn backlog(mut self, connections: u32) -> UnixListenOptions {
        self.backlog = connections;
        self
    }

    /// Sets [`unlink_on_close`](UnixListenOptions::unlink_on_close).
    pub fn unlink_on_close(mut self, on: bool) -> UnixListenOptions {
        self.unlink_on_close = on;
        self
    }
}
