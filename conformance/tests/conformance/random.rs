//! Random programs: what nobody thought of. See `tests/programs`.

use crate::programs::{Ground, Style, run};
use crate::support::{Case, Subject, long};

pub const CASES: &[Case] = &[
    Case { name: "programs_keep_every_guarantee", run: programs_keep_every_guarantee },
    Case {
        name: "programs_interrupted_by_signals_keep_every_guarantee",
        run: programs_interrupted_by_signals,
    },
    Case { name: "programs_with_peers_in_threads_keep_every_guarantee", run: programs_with_peers_in_threads },
];

/// Guarantees 1 to 7, 9 and 10: every operation ends exactly once and in a later tick, bytes are conserved and in
/// order, results fit what was asked, stale names reach nobody, and nothing is left alive.
fn programs_keep_every_guarantee(subject: &Subject) {
    // 100,000 of them run in the long form of tests/quarantine.rs.
    let programs = if long() { 5_000 } else { 1_000 };
    // Counting handles is what takes long there: each is asked of Wine's server. On a busy machine 1,000 took two minutes.
    let programs = if crate::system::is_wine() { programs / 5 } else { programs };
    run(&Ground::System(subject.builder()), Style::default(), 0..programs);
}

/// The same, against peers that really are at work at the same time.
fn programs_with_peers_in_threads(subject: &Subject) {
    let programs = if long() { 2_500 } else { 150 };
    run(&Ground::System(subject.builder()), Style { threads: true, ..Style::default() }, 0..programs);
}

/// The same, while every system call may be interrupted by a signal (EINTR).
fn programs_interrupted_by_signals(subject: &Subject) {
    let programs = if long() { 2_500 } else { 200 };
    run(&Ground::System(subject.builder()), Style { signals: true, ..Style::default() }, 0..programs);
}
