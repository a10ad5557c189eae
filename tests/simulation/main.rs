//! The simulated backend: random programs by the hundred thousand, the same programs on the system, and what a
//! simulation promises.

#[path = "../backends/mod.rs"]
mod backends;
mod datagrams;
mod disk;
#[path = "../programs/mod.rs"]
mod programs;
mod same;
mod threads;
mod world;

use programs::{Ground, Style, run, run_exactly};

const STYLE: Style = Style { threads: false, signals: false, closures: true };

/// Guarantees 1 to 7, 9 and 10, as in `conformance/tests/conformance/random.rs`. `NBIO_SEED=a..b` runs others.
#[test]
fn programs_keep_every_guarantee() {
    run(&Ground::Simulation, STYLE, 0..100_000);
}

/// "The same seed and program lead to the same events": run twice; and the digest is printed, to be compared with that of
/// a release build. `NBIO_SEED` doesn't count: there must be two different digests.
#[test]
fn same_seed_same_events() {
    let digest = || run_exactly(&Ground::Simulation, STYLE, 0..2_000);
    let first = digest();
    println!("digest {first:016x}");
    assert_eq!(first, digest());
    assert_ne!(first, run_exactly(&Ground::Simulation, STYLE, 2_000..4_000));
}
