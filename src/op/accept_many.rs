//! Accepting one connection after the other.

use super::{Kind, ManyOperation, Options};
use crate::engine::Core;
use crate::engine::op::{Describe, End, Op, Request, Target};
use crate::handle::Id;
use crate::handle::sealed::Handle as _;
use crate::{Listener, TcpListener};

/// Accepts one connection after the other, until it is cancelled or removed.
///
/// Each item is a connection's handle; where it comes from, [`peer_address`](crate::EventLoop::peer_address) tells, as a
/// kernel that accepts by itself doesn't say. With io_uring it does so from Linux 5.19 on: one submission for all of them.
/// Elsewhere each is accepted when the callback for the one before has returned, with the same results.
///
/// Connections that were accepted and not handed out yet are bounded: by what io_uring's completion queue holds (twice
/// the [`ring_size`](crate::Builder::ring_size)) and by [`completion_budget`](crate::Builder::completion_budget). Beyond
/// that, and as long as nobody takes what [`task::items`](crate::task::items) has got, they wait in the listener's backlog,
/// where the system refuses those for which it has no room.
///
/// After a cancel, a deadline, or the listener's close, items may follow: connections that had been accepted by then. Of
/// one that is removed they are closed. Any number of accepts of both kinds may wait on a listener. Without descriptors
/// or memory it waits, as [`Accept`](super::Accept) does.
///
/// # Errors
/// As [`Accept`](super::Accept).
///
/// ```
/// use nbio::{Event, EventLoop, op};
/// let io = EventLoop::new()?;
/// let listener = io.listen_tcp(([127, 0, 0, 1], 0))?;
/// let address = io.local_address(listener)?;
/// let clients: Vec<_> = (0..3).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
/// let mut connections = 0;
/// io.submit_many(op::AcceptMany::new(listener), move |_, io, event| match event {
///     Event::Item(stream) => {
///         let from = io.peer_address(stream).unwrap();
///         assert!(clients.iter().any(|client| client.local_addr().unwrap() == from));
///         connections += 1;
///         if connections == 3 {
///             // What ends the accepting, too.
///             io.close(listener);
///         }
///     }
///     Event::End(result) => assert_eq!(result.unwrap_err().kind(), nbio::ErrorKind::Cancelled),
/// });
/// io.run()?;
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct AcceptMany<L = TcpListener> {
    listener: L,
    options: Options,
}

impl<L: Listener> AcceptMany<L> {
    /// Accepts on `listener`.
    pub fn new(listener: L) -> AcceptMany<L> {
        AcceptMany { listener, options: Options::default() }
    }
}

impl<L: Listener> Describe for AcceptMany<L> {
    type Parts = ();

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> ((), Request) {
        let target = Target::Handle(self.listener.id());
        let op = Op::Accept { accepted: None, many: true, held: false };
        ((), Request::new(Kind::AcceptMany, target, op, self.options))
    }
}

impl<L: Listener> ManyOperation for AcceptMany<L> {
    type Item = L::Stream;

    fn item(end: &mut End) -> L::Stream {
        // Not `End::stream`: one that follows a cancel is an item with an error beside it.
        L::Stream::from_id(end.stream.expect("an item is a connection"))
    }

    fn join(_: &mut L::Stream, later: L::Stream) -> Option<L::Stream> {
        Some(later)
    }

    fn origin(&self) -> Option<Id> {
        Some(self.listener.id())
    }

    fn untaken(connection: L::Stream, origin: Option<Id>, core: &Core) {
        if let Some(listener) = origin {
            core.leave_accepted(listener, connection.id());
        }
    }
}
