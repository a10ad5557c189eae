//! Cases that change what belongs to the whole process: they run in a child, this same program again.

use std::process::{Command, Stdio};

use crate::programs::descriptors::with_own_descriptors;
use crate::support::Subject;

pub use crate::system::{forbid, forbid_all, forbid_all_if};

/// Set in a child.
const VARIABLE: &str = "NBIO_CONFORMANCE_CHILD";

/// Runs `body` in a child process and fails with its output if it fails. `case` is the calling case's own name with
/// its room: the child is started with that as its only filter, so it comes here by the same way.
///
/// Gives what the child printed; in the child itself, nothing.
pub fn run(subject: &Subject, case: &str, body: impl FnOnce(&Subject)) -> String {
    run_prepared(subject, case, |_| (), body)
}

/// Starts processes in here. Until a new process has become another program it has all descriptors of the thread that started
/// it, and on a busy machine that takes a while: what other cases close meanwhile would stay open.
pub fn apart<T: Send>(start: impl FnOnce() -> T + Send) -> T {
    with_own_descriptors(start)
}

/// As `run`; `prepare` says how the child is started: with which environment, say.
pub fn run_prepared(
    subject: &Subject,
    case: &str,
    prepare: impl FnOnce(&mut Command),
    body: impl FnOnce(&Subject),
) -> String {
    let trial = format!("{}::{case}", subject.name);
    let end = format!("{trial} came to its end");
    if std::env::var_os(VARIABLE).is_some() {
        body(subject);
        // So that the parent knows that it was run and not filtered out.
        println!("{end}");
        return String::new();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--nocapture", "--test-threads=1", "--exact", &trial]).env(VARIABLE, &trial);
    prepare(&mut command);
    let output = apart(|| command.stdin(Stdio::null()).output().unwrap());
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    let passed = output.status.success() && said.contains(&end);
    assert!(passed, "the child: {}\n{said}\n{complained}", output.status);
    said.into_owned()
}
