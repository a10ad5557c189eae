//! `cargo xtask fuzz`: random programs in simulations, as many as one likes.
//!
//! The programs and their oracle are those of `tests/simulation`. They are compiled with optimisation and with debug
//! assertions, and run in stretches, so that progress can be seen.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::Failure;
use crate::scratch;

/// Programs at a time.
const STRETCH: u64 = 100_000;

/// Of so many programs one is compared with the system: those take a hundred times as long.
const COMPARED: u64 = 1_000;

/// Runs the programs of `seeds` seeds, from `from` on; from anywhere, if nothing is said. Whether all went well.
pub fn run(root: &Path, seeds: u64, from: Option<u64>) -> Result<bool, Failure> {
    let anywhere = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() << 24);
    let first = from.unwrap_or_else(anywhere);
    let end = first.checked_add(seeds).ok_or("that many seeds there aren't")?;
    let executable = build(root)?;
    let start = Instant::now();
    let mut next = first;
    while next < end {
        let stretch = next..end.min(next.saturating_add(STRETCH));
        let compared = stretch.start..stretch.start + (stretch.end - stretch.start).div_ceil(COMPARED);
        if !(test(&executable, "programs_keep_every_guarantee", &stretch)?
            && test(&executable, "same_results", &compared)?)
        {
            println!("a program of {stretch:?} or, compared with the system, of {compared:?} goes wrong");
            return Ok(false);
        }
        next = stretch.end;
        let (done, seconds) = (next - first, start.elapsed().as_secs_f64());
        println!("{done} of {seeds} programs, up to seed {next}: {:.0} a second", done as f64 / seconds);
    }
    Ok(true)
}

fn build(root: &Path) -> Result<PathBuf, Failure> {
    let mut build = Command::new("cargo");
    build.args(["test", "--release", "--test", "simulation", "--no-run"]);
    build.args(["--config", "profile.release.debug-assertions=true"]);
    build.args(["--message-format", "json-render-diagnostics"]);
    // Its own, or every other release build would be made anew.
    let target = scratch::target(root).join("fuzz");
    let output = build.env("CARGO_TARGET_DIR", target).current_dir(root).stderr(Stdio::inherit()).output()?;
    let messages = scratch::successful("cargo test --no-run", output)?;
    scratch::executable(&messages).ok_or_else(|| "cargo doesn't say where the test is".into())
}

fn test(executable: &Path, name: &str, seeds: &std::ops::Range<u64>) -> Result<bool, Failure> {
    let mut test = Command::new(executable);
    let seeds = format!("{}..{}", seeds.start, seeds.end);
    test.args([name, "--nocapture"]).env("NBIO_SEED", seeds).stdout(Stdio::null());
    Ok(test.status()?.success())
}
