//! Whether the crate and its tests compile for other systems, without a warning, and its documentation too.
//!
//! That needs the standard library of each, which Debian's compiler (`debian.rs`) checks along, and that takes most of the
//! time. So what was checked stays for other clones in `~/.cache/nbio-cross` (that of `XDG_CACHE_HOME`), which
//! can be removed at any time. Nothing is linked, and nothing runs.

use std::path::Path;
use std::time::Instant;

use crate::{Failure, debian};

/// What is compiled for if nobody says.
const TARGETS: [&str; 8] = [
    "aarch64-apple-darwin",
    "x86_64-unknown-dragonfly",
    "x86_64-unknown-freebsd",
    "x86_64-unknown-netbsd",
    "x86_64-unknown-openbsd",
    "aarch64-linux-android",
    "aarch64-unknown-linux-gnu",
    "x86_64-unknown-linux-musl",
];

/// Where only the library and the suite are checked: other tests and most examples are written for Unix.
const WINDOWS: [&str; 3] = ["x86_64-pc-windows-gnu", "x86_64-pc-windows-msvc", "aarch64-pc-windows-msvc"];

/// What is checked: bench and xtask are for this machine only, and proofs is the same on all.
const CHECKED: [&str; 5] = ["-p", "nbio-rs", "-p", "conformance", "--all-targets"];
/// And there. (`windows.rs` runs it.)
const FOR_WINDOWS: [&str; 7] = ["-p", "nbio-rs", "-p", "conformance", "--lib", "--test", "conformance"];
/// What of the standard library is made: without the reader of debug information behind its backtraces, which takes a fifth of
/// the time.
const STD: [&str; 2] = ["-Zbuild-std=std,test", "-Zbuild-std-features=panic-unwind"];

/// Checks for these targets, or all.
pub fn run(root: &Path, targets: &[&str]) -> Result<bool, Failure> {
    let asked = |target: &&str| targets.is_empty() || targets.contains(target);
    let whole: Vec<_> = TARGETS.into_iter().filter(asked).collect();
    let windows: Vec<_> = WINDOWS.into_iter().filter(asked).collect();
    if let Some(unknown) = targets.iter().find(|target| !whole.contains(target) && !windows.contains(target))
    {
        return Err(format!("{unknown} is none of {TARGETS:?}, {WINDOWS:?}").into());
    }
    debian::install_missing(&debian::COMPILER)?;
    let doc = ["-p", "nbio-rs", "--no-deps"];
    Ok(cargo(root, "clippy", &whole, &CHECKED)?
        && cargo(root, "doc", &whole, &doc)?
        && cargo(root, "clippy", &windows, &FOR_WINDOWS)?
        && cargo(root, "doc", &windows, &doc)?)
}

/// Runs one command of Debian's cargo for all targets at once.
fn cargo(root: &Path, command: &str, targets: &[&str], what: &[&str]) -> Result<bool, Failure> {
    if targets.is_empty() {
        return Ok(true);
    }
    let begin = Instant::now();
    let mut cargo = debian::cargo(root)?;
    cargo.args([command, "--quiet", "--keep-going"]).args(STD).args(what);
    for target in targets {
        cargo.args(["--target", target]);
    }
    if command == "clippy" {
        // What it says of `thread_local!` isn't true where that is made in another way.
        cargo.args(["--", "-D", "warnings", "-A", "clippy::missing_const_for_thread_local"]);
    }
    // Not the other compiler's artefacts.
    cargo.env("CARGO_TARGET_DIR", debian::cache(root).join("nbio-cross")).env("CARGO_INCREMENTAL", "0");
    // `-Zbuild-std` is only in nightly compilers, or those that are told to behave like one.
    cargo.env("RUSTC_BOOTSTRAP", "1").env("RUSTDOCFLAGS", "-D warnings");
    let good = cargo.status()?.success();
    let verdict = if good { "in order" } else { "FAILED" };
    println!("cross: {command} for {}: {verdict}, {} s", targets.join(", "), begin.elapsed().as_secs());
    Ok(good)
}
