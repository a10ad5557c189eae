//! Cases that change what belongs to the whole process: they run in a child, this same program again.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use rustix::io::Errno;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use crate::support::Subject;

/// Set in a child.
const VARIABLE: &str = "NBIO_CONFORMANCE_CHILD";

/// Runs `body` in a child process and fails with its output if it fails. `case` is the calling case's own name with
/// its room: the child is started with that as its only filter, so it comes here by the same way.
pub fn run(subject: &Subject, case: &str, body: impl FnOnce(&Subject)) {
    run_prepared(subject, case, |_| (), body);
}

/// As `run`; `prepare` says how the child is started: with which environment, say.
pub fn run_prepared(
    subject: &Subject,
    case: &str,
    prepare: impl FnOnce(&mut Command),
    body: impl FnOnce(&Subject),
) {
    let trial = format!("{}::{case}", subject.name);
    let end = format!("{trial} came to its end");
    if std::env::var_os(VARIABLE).is_some() {
        body(subject);
        // So that the parent knows that it was run and not filtered out.
        println!("{end}");
        return;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--nocapture", "--test-threads=1", "--exact", &trial]).env(VARIABLE, &trial);
    prepare(&mut command);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    let passed = output.status.success() && said.contains(&end);
    assert!(passed, "the child: {}\n{said}\n{complained}", output.status);
}

/// For a child: from now on this system call fails, for this thread and those it starts.
pub fn forbid(call: i64, errno: Errno) {
    seccompiler::apply_filter(&refusal(call, Vec::new(), errno)).unwrap();
}

/// As `forbid`, for all threads; the last answer that was given for a call counts.
pub fn forbid_all(call: i64, errno: Errno) {
    seccompiler::apply_filter_all_threads(&refusal(call, Vec::new(), errno)).unwrap();
}

/// As `forbid_all`, if this argument has this bit.
pub fn forbid_all_if(call: i64, argument: u8, bit: u64, errno: Errno) {
    let masked = SeccompCmpOp::MaskedEq(bit);
    let has_it = SeccompCondition::new(argument, SeccompCmpArgLen::Qword, masked, bit).unwrap();
    let rules = vec![SeccompRule::new(vec![has_it]).unwrap()];
    seccompiler::apply_filter_all_threads(&refusal(call, rules, errno)).unwrap();
}

fn refusal(call: i64, when: Vec<SeccompRule>, errno: Errno) -> BpfProgram {
    let rules = BTreeMap::from([(call, when)]);
    let refuse = SeccompAction::Errno(errno.raw_os_error() as u32);
    let arch = std::env::consts::ARCH.try_into().unwrap();
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).unwrap().try_into().unwrap()
}
