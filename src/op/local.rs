//! Connections between processes of one machine.

use std::marker::PhantomData;

use super::{Kind, Operation, Options};
use crate::engine::Core;
use crate::engine::op::{Describe, End, Op, Request, Target, Unit};
use crate::handle::UnixConnection;
use crate::{Error, UnixAddress, UnixSeqpacket, UnixStream};

/// Connects to a listening Unix socket: a stream, or, by [`seqpacket`](ConnectUnix::seqpacket), a connection of records.
///
/// It lends the system no memory, so a cancel or deadline calls back at once; the connection that may still come about is
/// closed. If the listener's queue is full, it waits for room there.
///
/// # Errors
/// [`NotFound`](crate::ErrorKind::NotFound) (no such path), [`ConnectionRefused`](crate::ErrorKind::ConnectionRefused)
/// (nobody listens there: the file of a socket may outlive it), [`PermissionDenied`](crate::ErrorKind::PermissionDenied)
/// (one needs to write the file, and to search the directories), [`InvalidInput`](crate::ErrorKind::InvalidInput) (no
/// address, too long, a zero byte), [`TooManyDescriptors`](crate::ErrorKind::TooManyDescriptors),
/// [`Unsupported`](crate::ErrorKind::Unsupported) (a socket of another type; in a simulation),
/// [`Cancelled`](crate::ErrorKind::Cancelled), [`TimedOut`](crate::ErrorKind::TimedOut); see connect(2), unix(7).
///
/// ```
/// use nbio::{EventLoop, UnixAddress, op};
/// let io = EventLoop::new()?;
/// let address = UnixAddress::abstract_name(format!("nbio-connect-{}", std::process::id()));
/// let listener = io.listen_unix(address.clone())?;
/// io.accept(listener, |_, io, accepted| {
///     io.recv_exact(accepted.unwrap().stream, [0; 5], 5, |_, _, done| assert_eq!(&done.buf, b"hello"));
/// });
/// io.submit(op::ConnectUnix::new(address), |_, io, connected| {
///     io.send_all(connected.unwrap(), "hello", |_, _, _| ());
/// });
/// io.run()?;
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ConnectUnix<H = UnixStream> {
    to: UnixAddress,
    options: Options,
    connection: PhantomData<fn() -> H>,
}

impl ConnectUnix {
    /// Connects a stream to what listens at `to`.
    pub fn new(to: impl Into<UnixAddress>) -> ConnectUnix {
        ConnectUnix { to: to.into(), options: Options::default(), connection: PhantomData }
    }
}

impl ConnectUnix<UnixSeqpacket> {
    /// As [`new`](ConnectUnix::new), for records.
    pub fn seqpacket(to: impl Into<UnixAddress>) -> ConnectUnix<UnixSeqpacket> {
        ConnectUnix { to: to.into(), options: Options::default(), connection: PhantomData }
    }
}

impl<H: UnixConnection> Describe for ConnectUnix<H> {
    type Parts = UnixAddress;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (UnixAddress, Request) {
        let request = Request::new(Kind::ConnectUnix, Target::Nothing, Op::Connect, self.options);
        (self.to, request)
    }

    fn lend(to: &mut UnixAddress, request: &mut Request, core: &Core) {
        request.target = Target::Connection(core.new_local_connection(to, H::CARRIES == Unit::Record));
    }
}

impl<H: UnixConnection> Operation for ConnectUnix<H> {
    type Output = Result<H, Error>;

    fn finish(_: UnixAddress, end: &mut End) -> Result<H, Error> {
        end.stream()
    }
}
