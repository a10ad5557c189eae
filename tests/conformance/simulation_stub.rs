//! Stands in for `nbio::Simulation` until there is one: the same calls, and never made. Then `support.rs` names
//! nbio's own instead of this one.

use std::convert::Infallible;

use nbio::Builder;

/// A network and a clock that all loops of a case share.
#[derive(Clone, Debug)]
pub struct Simulation(Infallible);

impl Simulation {
    pub fn new(_seed: u64) -> Simulation {
        unreachable!("no subject is simulated yet")
    }
}

/// The builder's setting.
pub trait Simulated {
    fn simulation(self, simulation: &Simulation) -> Builder;
}

impl Simulated for Builder {
    fn simulation(self, simulation: &Simulation) -> Builder {
        match simulation.0 {}
    }
}
