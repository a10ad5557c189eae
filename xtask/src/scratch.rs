//! A copy of the tracked files, to break and to build.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::Failure;

/// Lies in the target directory. A copy is always made at the same path and built into the same directory, so only nbio
/// itself is built again.
pub struct Scratch {
    root: PathBuf,
    pub tree: PathBuf,
    pub target: PathBuf,
}

impl Scratch {
    /// The one of this number.
    pub fn new(root: &Path, number: usize) -> Scratch {
        let mutate = target(root).join(format!("mutate/{number}"));
        Scratch { root: root.to_owned(), tree: mutate.join("tree"), target: mutate.join("target") }
    }

    /// Copies what is tracked, as it is in the working tree. Every file is new, so cargo sees each as changed.
    pub fn refresh(&self) -> Result<(), Failure> {
        match fs::remove_dir_all(&self.tree) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(&self.root).output()?;
        for name in successful("git ls-files", listed)?.split('\0').filter(|name| !name.is_empty()) {
            let (from, to) = (self.root.join(name), self.tree.join(name));
            // Deleted and not yet committed.
            if !from.exists() {
                continue;
            }
            fs::create_dir_all(to.parent().expect("a file of the copy is in a directory"))?;
            fs::copy(&from, &to).map_err(|error| format!("{}: {error}", from.display()))?;
        }
        Ok(())
    }

    pub fn apply(&self, patch: &Path) -> Result<(), Failure> {
        let above = self.tree.parent().expect("the copy is in the target directory");
        // Without the ceiling git would find the repository around the target directory, and leave out what is not
        // in it.
        let mut apply = Command::new("git");
        apply.arg("apply").arg(patch).current_dir(&self.tree).env("GIT_CEILING_DIRECTORIES", above);
        successful("git apply", apply.output()?).map(drop)
    }

    /// A copy of an executable that is there after the next build.
    pub fn keep(&self, executable: &Path) -> Result<PathBuf, Failure> {
        let kept = self.tree.with_file_name("unbroken");
        fs::copy(executable, &kept)?;
        Ok(kept)
    }

    /// Builds a test; its executable.
    pub fn build(&self, test: &str) -> Result<PathBuf, Failure> {
        let mut build = Command::new("cargo");
        build.args(["test", "--test", test, "--no-run", "--message-format", "json-render-diagnostics"]);
        // Optimising takes longer than what it saves: a mutant's tests are short. Nor is there debug information.
        build.args(["--config", "profile.dev.package.nbio-rs.opt-level=0"]);
        build.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_TARGET_DIR", &self.target);
        let messages = successful("cargo test --no-run", build.current_dir(&self.tree).output()?)?;
        executable(&messages).ok_or_else(|| format!("cargo doesn't say where the test {test} is").into())
    }
}

/// Where cargo puts what it builds.
pub fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), |dir| root.join(dir))
}

/// Whether a patch applies to the tracked files as they are.
pub fn applies(root: &Path, patch: &Path) -> Result<bool, Failure> {
    let checked = Command::new("git").args(["apply", "--check"]).arg(patch).current_dir(root).output()?;
    Ok(checked.status.success())
}

/// The executable that cargo's messages name, one JSON object a line.
pub fn executable(messages: &str) -> Option<PathBuf> {
    const KEY: &str = "\"executable\":\"";
    let (_, path) = messages.lines().find_map(|line| line.split_once(KEY))?;
    path.split_once('"').map(|(path, _)| PathBuf::from(path))
}

pub fn successful(what: &str, output: Output) -> Result<String, Failure> {
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    Err(format!("{what} failed:\n{}", String::from_utf8_lossy(&output.stderr)).into())
}
