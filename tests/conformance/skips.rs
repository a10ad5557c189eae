//! The only way for a case not to run on a subject: (case, subject, reason). `room::*` is a whole room.

use crate::support::LOOP_PEERS;

pub const SKIPS: &[(&str, &str, &str)] = &[];

/// Subjects that have rows here already.
pub const SUBJECTS_TO_COME: &[&str] = &["sim"];

pub fn reason(case: &str, subject: &str) -> Option<&'static str> {
    // What needs sockets doesn't work with peers on a loop either.
    let subject = if subject == LOOP_PEERS { "sim" } else { subject };
    let entry = SKIPS.iter().find(|entry| covers(entry.0, case) && entry.1 == subject);
    entry.map(|entry| entry.2)
}

/// Whether a row is about this case.
pub fn covers(row: &str, case: &str) -> bool {
    match row.strip_suffix('*') {
        Some(room) => case.starts_with(room),
        None => row == case,
    }
}
