//! Names of hosts.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::blocking::Job;
use super::{Kind, Operation, Options};
use crate::backend::resolve;
use crate::engine::Core;
use crate::engine::op::{Describe, End, Op, Request, Stops, Target};
use crate::report::Support;
use crate::{Error, ErrorKind};

/// The addresses of a host, by the system's resolver: getaddrinfo(3) with its files and name servers.
///
/// Asked with a name (`example.org`, `localhost`) or an address in text (`::1`, `192.0.2.1`; also `fe80::1%eth0`, where the
/// system takes it). The addresses come in the order in which they are to be tried (RFC 6724), of both versions of IP as far as
/// the host has them, each with `port`; there is at least one. Nothing is kept: every operation asks again.
///
/// It runs on the [thread pool](crate::op::Blocking#the-pool), as no system has an asynchronous resolver for everyone. In a
/// simulation nobody is asked: it knows addresses in text and `localhost`, which is 127.0.0.1.
///
/// # Cancelling, deadlines, remove
/// All end it at once, though the system goes on asking on its thread for as long as it likes (resolv.conf(5): 10 s and more
/// if no name server answers). The loop's end doesn't wait for that either.
///
/// # Errors
/// - [`NotFound`](ErrorKind::NotFound): there is no such host, or it has no address (`EAI_NONAME`, `EAI_NODATA`).
/// - [`WouldBlock`](ErrorKind::WouldBlock): no name server has answered (`EAI_AGAIN`). Later one may.
/// - [`InvalidInput`](ErrorKind::InvalidInput): the name is empty, or has a zero byte in it.
/// - [`Other`](ErrorKind::Other): a name server refused (`EAI_FAIL`).
/// - [`Cancelled`](ErrorKind::Cancelled), [`TimedOut`](ErrorKind::TimedOut), what the system says, and as
///   [`Blocking`](super::Blocking) if no thread can be had.
///
/// ```
/// use std::time::Duration;
/// use nbio::{EventLoop, Operation, op};
/// let io = EventLoop::new()?;
/// let resolve = op::Resolve::new("localhost", 443).timeout(Duration::from_secs(5));
/// io.submit(resolve, |_, _, addresses| assert!(addresses.unwrap()[0].ip().is_loopback()));
/// io.run()?;
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct Resolve {
    asked: Asked,
    options: Options,
}

impl Resolve {
    /// Asks for the addresses of `name`.
    pub fn new(name: impl Into<String>, port: u16) -> Resolve {
        let asked = Asked { name: name.into(), port, resolver: resolve, job: None };
        Resolve { asked, options: Options::default() }
    }
}

type Addresses = Result<Vec<SocketAddr>, Error>;

/// What the slot keeps of it.
#[derive(Debug)]
pub struct Asked {
    name: String,
    port: u16,
    resolver: fn(&str, u16) -> Addresses,
    job: Option<Job<Addresses>>,
}

impl Describe for Resolve {
    type Parts = Asked;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (Asked, Request) {
        let op = Op::Blocking { ticket: 0, stops: Stops::AtOnce };
        (self.asked, Request::new(Kind::Resolve, Target::Nothing, op, self.options))
    }

    fn lend(parts: &mut Asked, request: &mut Request, core: &Core) {
        let (name, port) = (std::mem::take(&mut parts.name), parts.port);
        let simulated = core.support(Kind::Resolve) == Support::Simulated;
        let resolver = if simulated { in_simulation } else { parts.resolver };
        if name.is_empty() {
            request.target = Target::Pool(None, Err(Error::new(ErrorKind::InvalidInput, Kind::Resolve)));
            return;
        }
        let job = Job::new(move || resolver(&name, port));
        request.target = Target::Pool(None, job.offload(core));
        parts.job = Some(job);
    }
}

impl Operation for Resolve {
    type Output = Result<Vec<SocketAddr>, Error>;

    fn finish(parts: Asked, end: &mut End) -> Result<Vec<SocketAddr>, Error> {
        end.result()?;
        let job = parts.job.expect("without a job there is an error");
        job.finish(end).map_err(|error| error.of(Kind::Resolve))?
    }
}

/// What a simulation knows: the same on every machine.
fn in_simulation(name: &str, port: u16) -> Addresses {
    let address = match name {
        "localhost" => Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        name if name.contains('\0') => Err(ErrorKind::InvalidInput),
        name => name.parse().map_err(|_| ErrorKind::NotFound),
    };
    address
        .map(|address| vec![SocketAddr::new(address, port)])
        .map_err(|kind| Error::new(kind, Kind::Resolve))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::sync::Barrier;
    use std::time::Duration;

    use super::*;
    use crate::{Backend, Builder, EventLoop};

    /// Passed when a lookup has begun, and again when it may end.
    static GATE: Barrier = Barrier::new(2);

    fn held(_: &str, _: u16) -> Addresses {
        GATE.wait();
        GATE.wait();
        Ok(Vec::new())
    }

    /// A lookup that runs until it is let go.
    fn running() -> Resolve {
        let mut resolve = Resolve::new("anywhere", 1);
        resolve.asked.resolver = held;
        resolve
    }

    /// Guarantee 3: a cancel, a deadline and a remove don't wait for name servers, nor does the loop's end.
    #[test]
    fn what_runs_is_left_to_itself() {
        for backend in [Backend::Auto, Backend::Epoll, Backend::Kqueue, Backend::Iocp] {
            let Ok(io) = Builder::new().backend(backend).build::<()>() else { continue };
            let ends: Rc<RefCell<Vec<ErrorKind>>> = Rc::default();
            let note = |ends: &Rc<RefCell<Vec<ErrorKind>>>| {
                let ends = ends.clone();
                move |(): &mut (), _: &EventLoop, end: Addresses| {
                    ends.borrow_mut().push(end.unwrap_err().kind())
                }
            };
            let cancelled = io.submit(running(), note(&ends));
            GATE.wait();
            assert!(io.cancel(cancelled));
            io.tick(Some(Duration::ZERO)).unwrap();
            assert_eq!(*ends.borrow(), [ErrorKind::Cancelled]);
            GATE.wait();

            io.submit(running().timeout(Duration::from_millis(1)), note(&ends));
            GATE.wait();
            io.run_until(|| ends.borrow().len() == 2).unwrap();
            assert_eq!(ends.borrow()[1], ErrorKind::TimedOut);
            GATE.wait();

            let removed = io.submit(running(), note(&ends));
            GATE.wait();
            io.remove(removed);
            GATE.wait();
            // What they bring late ends nothing and frees their slots.
            while io.in_flight() > 0 {
                io.tick(Some(Duration::from_millis(1))).unwrap();
            }
            assert_eq!(ends.borrow().len(), 2);

            io.submit(running(), note(&ends));
            GATE.wait();
            drop(io);
            GATE.wait();
            assert_eq!(ends.borrow().len(), 2);
        }
    }
}
