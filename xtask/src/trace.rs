//! `cargo xtask trace`: every operation that io_uring's backend calls native is done in a process under strace(1), and makes no
//! system call but those of the ring.

mod perform;

use std::process::{Command, Stdio};

use nbio::{EventLoop, Support};

use crate::Failure;

pub use perform::perform;

/// Before and after the operation the process tries to write this where it can't, for the trace to show where it began
/// and ended.
const MARK: &str = "nbio-trace-mark";

/// What the loop, the allocator and the reading of results may call.
const ALLOWED: [&str; 9] =
    ["io_uring_enter", "brk", "mmap", "munmap", "mremap", "madvise", "mprotect", "clock_gettime", "write"];

/// What goes before the ring's part, at once, when the operation is submitted.
// A poll duplicates what it is about, and asks whether its close might linger.
// What was sent is closed here. The kernel is given more threads for opens that wait; what a path led to is looked at.
const FIRST: [(&str, &[&str]); 6] = [
    ("Connect", &["socket"]),
    ("ConnectUnix", &["socket"]),
    ("SendFds", &["fcntl", "close"]),
    ("OpenFifo", &["io_uring_register", "fstat"]),
    ("Poll", &["fcntl", "getsockopt"]),
    ("PollMany", &["fcntl", "getsockopt"]),
];

pub fn run() -> Result<bool, Failure> {
    let report = EventLoop::<()>::new()?.report();
    let mut good = true;
    for &(kind, support) in report.operations() {
        if support != Support::Native {
            println!("{kind:<20} {support}");
            continue;
        }
        let name = format!("{kind:?}");
        let calls = traced(&name)?;
        let first = FIRST.iter().find(|(of, _)| *of == name).map_or(&[][..], |(_, calls)| calls);
        let allowed = |call: &str| ALLOWED.contains(&call) || first.contains(&call);
        let strange: Vec<&String> = calls.iter().filter(|call| !allowed(call)).collect();
        let entered = calls.iter().filter(|call| *call == "io_uring_enter").count();
        let fine = strange.is_empty() && entered > 0;
        good &= fine;
        match fine {
            true if first.is_empty() => println!("{kind:<20} native: {entered} io_uring_enter, nothing else"),
            true => println!("{kind:<20} native: {}, then {entered} io_uring_enter", first.join(", ")),
            false => println!("{kind:<20} NOT native: {entered} io_uring_enter, and {strange:?}"),
        }
    }
    Ok(good)
}

/// The system calls that a process makes, on all its threads, for one operation.
fn traced(operation: &str) -> Result<Vec<String>, Failure> {
    let itself = std::env::current_exe()?;
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/stderr"]).arg(itself).args(["trace-one", operation]);
    let output = strace.stdin(Stdio::null()).output().map_err(|error| format!("strace: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{operation} failed:\n{text}").into());
    }
    let parts: Vec<&str> = text.split(MARK).collect();
    let [_, during, _] = parts.as_slice() else {
        return Err(format!("{operation}: {} marks in the trace", parts.len() - 1).into());
    };
    let call = |line: &str| {
        let call = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ').split_once('(')?.0;
        call.chars().all(|c| c.is_ascii_alphanumeric() || c == '_').then(|| call.to_owned())
    };
    // What is left of the line with the first mark is no call.
    Ok(during.lines().skip(1).filter_map(call).collect())
}
