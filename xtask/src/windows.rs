//! Windows code, built and run on a Linux machine: Debian's compiler makes it (`debian.rs`), MinGW links it, Wine runs
//! it. What comes of it is told as Wine's doing, never as that of Windows.
//!
//! What is made stays: the standard library for other clones, too, in `~/.cache/nbio-windows` (that of `XDG_CACHE_HOME`),
//! programs in `target/windows`, and Wine's world in `target/wine`. Each can be removed at any time.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::{Failure, debian};

const TRIPLE: &str = "x86_64-pc-windows-gnu";
const PACKAGES: [&str; 2] = ["gcc-mingw-w64-x86-64-posix", "wine64"];
/// Debian has no `wine` in the path unless the 32-bit one is there, too.
const WINE: &str = "/usr/lib/wine/wine64";
const WINE_SERVER: &str = "/usr/lib/wine/wineserver";
/// What is done if nobody says: the library's own tests, then the suite.
const TESTS: [&[&str]; 2] = [&["test", "-p", "nbio-rs", "--lib"], &["test", "-p", "conformance"]];
/// A package of nothing, to be built with its standard library.
const NOTHING: &str = "\
[package]
name = \"nothing\"
version = \"0.0.0\"
edition = \"2024\"
[workspace]
[profile.release]
opt-level = 1
debug = false
codegen-units = 16
";

/// `COMMAND ARGUMENTS…` is cargo's (`test`, `clippy`, `run`, `build` …), for Windows; `env` prints for a shell what makes
/// `$WINE program.exe` run in the same Wine, and where programs are; nothing means all tests.
pub fn run(root: &Path, arguments: &[OsString]) -> Result<bool, Failure> {
    debian::install_missing(&[&debian::COMPILER[..], &PACKAGES].concat())?;
    let wine = Wine::new(root)?;
    if arguments.first().is_some_and(|first| first == "env") {
        println!("export NBIO_WINDOWS='{}'", programs(root).join(TRIPLE).join("debug").display());
        for (name, value) in wine.variables() {
            println!("export {name}='{}'", value.display());
        }
        return Ok(true);
    }
    let library = library(root)?;
    let _keeper = wine.keep_alive()?;
    if !arguments.is_empty() {
        return cargo(root, &wine, &library, arguments);
    }
    let mut good = true;
    for command in TESTS {
        let command: Vec<OsString> = command.iter().map(OsString::from).collect();
        good &= cargo(root, &wine, &library, &command)?;
    }
    Ok(good)
}

/// Where what is built goes.
fn programs(root: &Path) -> PathBuf {
    root.join("target/windows")
}

/// Runs a command of cargo's for Windows; what it starts runs under Wine.
fn cargo(root: &Path, wine: &Wine, library: &Path, arguments: &[OsString]) -> Result<bool, Failure> {
    let mut cargo = debian::cargo(root)?;
    cargo.arg(&arguments[0]).args(["--target", TRIPLE]).args(&arguments[1..]);
    // For the target only, as there is one. Unlike RUSTFLAGS, these may have spaces.
    let flag = format!("--sysroot={}", library.display());
    cargo.env("CARGO_ENCODED_RUSTFLAGS", &flag).env("CARGO_ENCODED_RUSTDOCFLAGS", &flag);
    cargo.env("CARGO_TARGET_DIR", programs(root));
    // Nobody debugs them here: a third of the time less, and a tenth of the size.
    cargo.env("CARGO_PROFILE_DEV_DEBUG", "0");
    cargo.env("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER", WINE);
    cargo.envs(wine.variables());
    Ok(cargo.status()?.success())
}

/// The directory with the standard library, which is made unless it is there; it takes a minute.
fn library(root: &Path) -> Result<PathBuf, Failure> {
    let version = debian::version(root)?;
    let cache = debian::cache(root).join("nbio-windows");
    let library = cache.join(version);
    std::fs::create_dir_all(&cache)?;
    // Whoever else makes it is waited for.
    let lock = File::create(cache.join("lock"))?;
    lock.lock()?;
    if library.exists() {
        return Ok(library);
    }
    println!("windows: making {}", library.display());
    let (source, unfinished) = (cache.join("nothing"), cache.join("unfinished"));
    for left in [&source, &unfinished] {
        if left.exists() {
            std::fs::remove_dir_all(left)?;
        }
    }
    std::fs::create_dir_all(source.join("src"))?;
    std::fs::write(source.join("Cargo.toml"), NOTHING)?;
    std::fs::write(source.join("src/lib.rs"), "")?;
    let mut cargo = debian::cargo(&source)?;
    cargo.args(["build", "--quiet", "--release", "--target", TRIPLE]);
    cargo.arg("-Zbuild-std=std,panic_unwind,proc_macro,test").env("RUSTC_BOOTSTRAP", "1");
    cargo.env("CARGO_TARGET_DIR", source.join("target"));
    if !cargo.status()?.success() {
        return Err("the standard library doesn't compile".into());
    }
    let crates = unfinished.join("lib/rustlib").join(TRIPLE).join("lib");
    std::fs::create_dir_all(&crates)?;
    for made in std::fs::read_dir(source.join("target").join(TRIPLE).join("release/deps"))? {
        let made = made?.path();
        let name = made.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.ends_with(".rlib") && !name.starts_with("libnothing") {
            std::fs::copy(&made, crates.join(name))?;
        }
    }
    std::fs::remove_dir_all(&source)?;
    // Half a library is never taken for a whole one.
    std::fs::rename(unfinished, &library)?;
    Ok(library)
}

/// A Wine with a world of its own.
struct Wine {
    prefix: PathBuf,
}

impl Wine {
    /// Makes that world, unless it is there.
    fn new(root: &Path) -> Result<Wine, Failure> {
        let wine = Wine { prefix: root.join("target/wine") };
        // Is written last: half a world is made again.
        let ready = wine.prefix.join("ready");
        if !ready.exists() {
            eprintln!("windows: making {}", wine.prefix.display());
            std::fs::create_dir_all(&wine.prefix)?;
            wine.finish(WINE, &["wineboot", "-i"])?;
            wine.add_random(root)?;
            // Its default is Windows 7.
            wine.finish(WINE, &["winecfg", "-v", "win10"])?;
            // It has written its registry when it ends.
            wine.finish(WINE_SERVER, &["-w"])?;
            std::fs::write(ready, "")?;
        }
        Ok(wine)
    }

    /// What programs that run in it are started with.
    fn variables(&self) -> Vec<(&'static str, PathBuf)> {
        vec![
            ("WINE", WINE.into()),
            ("WINEPREFIX", self.prefix.clone()),
            ("WINEDEBUG", "-all".into()),
            // Neither .NET nor a browser is asked for.
            ("WINEDLLOVERRIDES", "mscoree=d;mshtml=d".into()),
        ]
    }

    fn finish(&self, program: &str, arguments: &[&str]) -> Result<(), Failure> {
        let mut command = Command::new(program);
        command.args(arguments).envs(self.variables()).stdout(Stdio::null()).stderr(Stdio::null());
        let status = command.status().map_err(|error| format!("{program}: {error}"))?;
        if status.success() { Ok(()) } else { Err(format!("{program} {arguments:?}: {status}").into()) }
    }

    /// Adds the library of random numbers, which Rust's standard library imports.
    fn add_random(&self, root: &Path) -> Result<(), Failure> {
        let library = self.prefix.join("drive_c/windows/system32/bcryptprimitives.dll");
        if library.exists() {
            return Ok(());
        }
        let mut compiler = Command::new("x86_64-w64-mingw32-gcc");
        compiler.args(["-O2", "-shared", "-nostartfiles", "-Wl,-e,0", "-o"]).arg(library);
        compiler.arg(root.join("xtask/windows/bcryptprimitives.c")).arg("-ladvapi32");
        if compiler.status()?.success() { Ok(()) } else { Err("bcryptprimitives.c doesn't compile".into()) }
    }

    /// Keeps Wine's server going, which every program would otherwise start anew. (And whoever waits for the first one's
    /// output to be closed would wait for the server.)
    fn keep_alive(&self) -> Result<Keeper, Failure> {
        let mut idle = Command::new(WINE);
        idle.arg("cmd").envs(self.variables());
        // It reads its input to the end, which comes when this is dropped, or the process ends.
        idle.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Keeper(idle.spawn()?))
    }
}

/// A program that runs in a Wine until this is dropped.
struct Keeper(Child);

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // It fails only if there is nothing to wait for.
        let _ = self.0.wait();
    }
}
