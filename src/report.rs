//! What a loop says of itself.

use std::fmt;

use crate::backend::Description;
use crate::op::Kind;

/// How a backend does an operation.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Support {
    /// By the system's own asynchronous operation.
    Native,
    /// By a system call that never waits.
    Direct,
    /// By the engine, without the system.
    Engine,
    /// By a [`Simulation`](crate::Simulation).
    Simulated,
}

/// Which backend a loop runs on and why, and how it does each operation. Its `Display` is a table for people.
///
/// ```
/// let io = nbio::EventLoop::<()>::new()?;
/// let report = io.report();
/// println!("{report}");
/// assert!(report.backend().starts_with("io_uring"));
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Report {
    backend: &'static str,
    reason: String,
    features: Vec<&'static str>,
    operations: Vec<(Kind, Support)>,
}

/// The operations there are.
const OPERATIONS: [Kind; 11] = [
    Kind::Accept,
    Kind::Connect,
    Kind::Recv,
    Kind::RecvVectored,
    Kind::Send,
    Kind::SendVectored,
    Kind::Shutdown,
    Kind::Close,
    Kind::Timer,
    Kind::Interval,
    Kind::NextTick,
];

impl Report {
    pub(crate) fn new(description: Description, reason: &str, support: impl Fn(Kind) -> Support) -> Report {
        Report {
            backend: description.name,
            reason: reason.to_owned(),
            features: description.features,
            operations: OPERATIONS.iter().map(|&kind| (kind, support(kind))).collect(),
        }
    }

    /// The backend's name, as `NBIO_BACKEND` takes it.
    pub fn backend(&self) -> &'static str {
        self.backend
    }

    /// Why it runs on this backend.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The optional features of the system that were found and are used.
    pub fn features(&self) -> &[&'static str] {
        &self.features
    }

    /// How each operation is done.
    pub fn operations(&self) -> &[(Kind, Support)] {
        &self.operations
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({})", self.backend, self.reason)?;
        writeln!(f, "features: {}", self.features.join(", "))?;
        for (kind, support) in &self.operations {
            let how = match support {
                Support::Native => "native",
                Support::Direct => "a system call that never waits",
                Support::Engine => "the engine",
                Support::Simulated => "the simulation",
            };
            writeln!(f, "{kind:<16} {how}")?;
        }
        Ok(())
    }
}
