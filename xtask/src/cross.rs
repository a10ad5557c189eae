//! Whether the crate and its tests compile for other systems, without a warning, and its documentation too.
//!
//! That needs the standard library of each. Those of some can't be downloaded, and rustup's stable compiler can't make
//! them; so this takes Debian's compiler with the source it was made from, and lets cargo check that along, which takes
//! most of the time. So what was checked stays for other clones in `~/.cache/nbio-cross` (that of `XDG_CACHE_HOME`), which
//! can be removed at any time. Nothing is linked, and nothing runs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::Failure;

/// What is compiled for if nobody says.
const TARGETS: [&str; 7] = [
    "aarch64-apple-darwin",
    "x86_64-unknown-freebsd",
    "x86_64-unknown-netbsd",
    "x86_64-unknown-openbsd",
    "aarch64-linux-android",
    "aarch64-unknown-linux-gnu",
    "x86_64-unknown-linux-musl",
];

/// Where the library alone is checked: the suite doesn't compile there yet.
const LIBRARY_ONLY: [&str; 3] =
    ["x86_64-pc-windows-gnu", "x86_64-pc-windows-msvc", "aarch64-pc-windows-msvc"];

/// Debian's, 12 or newer; with Ubuntu's the names differ.
const PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-clippy"];
/// Where they go.
const BIN: &str = "/usr/bin";

/// What is checked: bench and xtask are for this machine only, and proofs is the same on all.
const CHECKED: [&str; 5] = ["-p", "nbio-rs", "-p", "conformance", "--all-targets"];
/// What of the standard library is made: without the reader of debug information behind its backtraces, which takes a fifth of
/// the time.
const STD: [&str; 2] = ["-Zbuild-std=std,test", "-Zbuild-std-features=panic-unwind"];

/// Checks for these targets, or all.
pub fn run(root: &Path, targets: &[&str]) -> Result<bool, Failure> {
    let asked = |target: &&str| targets.is_empty() || targets.contains(target);
    let whole: Vec<_> = TARGETS.into_iter().filter(asked).collect();
    let library: Vec<_> = LIBRARY_ONLY.into_iter().filter(asked).collect();
    if let Some(unknown) = targets.iter().find(|target| !whole.contains(target) && !library.contains(target))
    {
        return Err(format!("{unknown} is none of {TARGETS:?}, {LIBRARY_ONLY:?}").into());
    }
    install_missing()?;
    let (lib, doc) = (["-p", "nbio-rs", "--lib"], ["-p", "nbio-rs", "--no-deps"]);
    Ok(cargo(root, "clippy", &whole, &CHECKED)?
        && cargo(root, "doc", &whole, &doc)?
        && cargo(root, "clippy", &library, &lib)?
        && cargo(root, "doc", &library, &doc)?)
}

/// Runs one command of Debian's cargo for all targets at once.
fn cargo(root: &Path, command: &str, targets: &[&str], what: &[&str]) -> Result<bool, Failure> {
    if targets.is_empty() {
        return Ok(true);
    }
    let begin = Instant::now();
    let mut cargo = Command::new(Path::new(BIN).join("cargo"));
    cargo.current_dir(root).args([command, "--quiet", "--keep-going"]).args(STD).args(what);
    for target in targets {
        cargo.args(["--target", target]);
    }
    if command == "clippy" {
        // What it says of `thread_local!` isn't true where that is made in another way.
        cargo.args(["--", "-D", "warnings", "-A", "clippy::missing_const_for_thread_local"]);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let first = std::iter::once(PathBuf::from(BIN));
    cargo.env("PATH", std::env::join_paths(first.chain(std::env::split_paths(&path)))?);
    // Not the other compiler's artefacts, nor what rustup's cargo says to the programs that it runs.
    cargo.env("CARGO_TARGET_DIR", cache(root)).env("CARGO_INCREMENTAL", "0");
    for name in ["CARGO", "RUSTC", "RUSTDOC", "RUSTC_WRAPPER", "RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        cargo.env_remove(name);
    }
    // `-Zbuild-std` is only in nightly compilers, or those that are told to behave like one.
    cargo.env("RUSTC_BOOTSTRAP", "1").env("RUSTDOCFLAGS", "-D warnings");
    let good = cargo.status()?.success();
    let verdict = if good { "in order" } else { "FAILED" };
    println!("cross: {command} for {}: {verdict}, {} s", targets.join(", "), begin.elapsed().as_secs());
    Ok(good)
}

/// Where everything stays that was compiled.
fn cache(root: &Path) -> PathBuf {
    let of_user = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let of_home = || std::env::home_dir().map(|home| home.join(".cache"));
    of_user.or_else(of_home).unwrap_or_else(|| root.join("target")).join("nbio-cross")
}

fn install_missing() -> Result<(), Failure> {
    let mut missing = Vec::new();
    for package in PACKAGES {
        let status = Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Status}", package]).output();
        let status = status.map_err(|error| format!("this needs Debian's {PACKAGES:?}: {error}"))?;
        if status.stdout != b"installed" {
            missing.push(package);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    println!("cross: installing {}", missing.join(" "));
    let update: &[&str] = &["-qq", "update"];
    let install = [&["-qq", "install", "-y", "--no-install-recommends"], &missing[..]].concat();
    for arguments in [update, &install] {
        if !Command::new("apt-get").args(arguments).status()?.success() {
            return Err(format!("apt-get {} failed (as root?)", arguments.join(" ")).into());
        }
    }
    Ok(())
}
