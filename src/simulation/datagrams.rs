//! What may become of a simulation's datagrams.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Simulation;

/// What becomes of UDP datagrams on the way, as the seed of a [`Simulation`] wills: they arrive, once and in the order
/// in which their socket sent them, unless something else is asked for here.
///
/// "Once in `n`" is a chance for each datagram; 0 is never, 1 always.
///
/// ```
/// use std::{cell::Cell, rc::Rc, time::Duration};
/// use nbio::{Builder, DatagramFaults, EventLoop, Operation, Simulation, UdpSocket, op};
///
/// fn count(io: &EventLoop, socket: UdpSocket, received: Rc<Cell<u32>>) {
///     let recv = op::RecvFrom::new(socket, [0; 1]).timeout(Duration::from_secs(1));
///     io.submit(recv, move |_, io, datagram| {
///         if datagram.result.is_ok() {
///             received.set(received.get() + 1);
///             count(io, socket, received);
///         }
///     });
/// }
///
/// let simulation = Simulation::new(5);
/// simulation.set_datagram_faults(DatagramFaults::new().loss(4));
/// let io: EventLoop = Builder::new().simulation(&simulation).build()?;
/// let socket = io.bind_udp(([127, 0, 0, 1], 0))?;
/// for number in 0..100 {
///     io.send_to(socket, [number], io.local_address(socket)?, |_, _, done| assert_eq!(done.result, Ok(())));
/// }
/// let received = Rc::new(Cell::new(0));
/// count(&io, socket, received.clone());
/// io.run()?;
/// assert!((50..100).contains(&received.get()));
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Copy, Clone, Debug, Default)]
pub struct DatagramFaults {
    pub(crate) loss: u32,
    pub(crate) duplication: u32,
    pub(crate) reordering: u32,
    /// In nanoseconds.
    pub(crate) latency: (u64, u64),
}

impl DatagramFaults {
    /// None.
    pub fn new() -> DatagramFaults {
        DatagramFaults::default()
    }

    /// Once in so many times one gets lost. Whoever sent it isn't told.
    pub fn loss(mut self, once_in: u32) -> DatagramFaults {
        self.loss = once_in;
        self
    }

    /// Once in so many times one arrives twice.
    pub fn duplication(mut self, once_in: u32) -> DatagramFaults {
        self.duplication = once_in;
        self
    }

    /// Once in so many times one is late, up to 1 ms, and may be overtaken by those behind it.
    pub fn reordering(mut self, once_in: u32) -> DatagramFaults {
        self.reordering = once_in;
        self
    }

    /// So long they are on the way, besides what the simulation draws anyway. A range whose end is before its start is
    /// its start alone.
    pub fn latency(mut self, range: RangeInclusive<Duration>) -> DatagramFaults {
        self.latency = super::nanos(range);
        self
    }
}

impl Simulation {
    /// Sets what becomes of datagrams that are sent from now on, instead of what was set before.
    pub fn set_datagram_faults(&self, faults: DatagramFaults) {
        self.shared.set_datagram_faults(faults);
    }
}
