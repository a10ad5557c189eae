//! Debian's compiler, which comes with the source that it was made from: its cargo can build the standard library of
//! every target. Those of some can't be downloaded, and rustup's stable compiler can't make them.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Failure;

/// Debian's, 12 or newer; with Ubuntu's the names differ.
pub const COMPILER: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-clippy"];
/// Where its programs are.
const BIN: &str = "/usr/bin";

/// Its cargo, in this checkout.
pub fn cargo(root: &Path) -> Result<Command, Failure> {
    let mut cargo = Command::new(Path::new(BIN).join("cargo"));
    cargo.current_dir(root);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let first = std::iter::once(PathBuf::from(BIN));
    cargo.env("PATH", std::env::join_paths(first.chain(std::env::split_paths(&path)))?);
    // Not what rustup's cargo says to the programs that it runs.
    for name in ["CARGO", "RUSTC", "RUSTDOC", "RUSTC_WRAPPER", "RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        cargo.env_remove(name);
    }
    Ok(cargo)
}

/// Which compiler it is, as the name of a directory.
pub fn version(root: &Path) -> Result<String, Failure> {
    let rustc = Command::new(Path::new(BIN).join("rustc")).arg("-V").current_dir(root).output()?;
    let version = String::from_utf8(rustc.stdout)?;
    let plain = |char: char| if char.is_ascii_alphanumeric() || ".-".contains(char) { char } else { '_' };
    Ok(version.trim().chars().map(plain).collect())
}

/// Where things stay that take long to make and are the same in every clone: `~/.cache` (that of `XDG_CACHE_HOME`).
pub fn cache(root: &Path) -> PathBuf {
    let of_user = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let of_home = || std::env::home_dir().map(|home| home.join(".cache"));
    of_user.or_else(of_home).unwrap_or_else(|| root.join("target"))
}

/// Installs those of these packages that aren't there.
pub fn install_missing(packages: &[&str]) -> Result<(), Failure> {
    let mut missing = Vec::new();
    for package in packages {
        let status = Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Status}", package]).output();
        let status = status.map_err(|error| format!("this needs Debian's {packages:?}: {error}"))?;
        if status.stdout != b"installed" {
            missing.push(*package);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("installing {}", missing.join(" "));
    let update: &[&str] = &["-qq", "update"];
    let install = [&["-qq", "install", "-y", "--no-install-recommends"], &missing[..]].concat();
    for arguments in [update, &install] {
        let mut apt = Command::new("apt-get");
        if !apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").status()?.success() {
            return Err(format!("apt-get {} failed (as root?)", arguments.join(" ")).into());
        }
    }
    Ok(())
}
