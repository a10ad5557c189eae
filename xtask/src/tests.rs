//! Running a test executable, watched: it is stopped at its first failed case and when its time is up.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::Failure;

pub enum Outcome {
    Passed,
    /// The case that failed first.
    Failed(String),
    /// It ended badly without naming a case: an abort, a signal.
    Died(ExitStatus),
    TimedOut,
}

/// What is to be run.
pub struct Run<'a> {
    pub executable: &'a Path,
    pub tree: &'a Path,
    /// The cases whose names contain this, or are this; all if it is empty.
    pub filter: &'a str,
    pub exact: bool,
    /// The random programs to run, instead of the test's own choice.
    pub seeds: Option<&'a str>,
}

impl Run<'_> {
    pub fn go(&self, limit: Duration) -> Result<Outcome, Failure> {
        let mut command = Command::new(self.executable);
        command.args(Some(self.filter).filter(|filter| !filter.is_empty()));
        command.args(self.exact.then_some("--exact"));
        // The short forms, on every backend.
        command.env_remove("NBIO_LONG").env_remove("NBIO_BACKEND").env_remove("NBIO_SEED");
        command.envs(self.seeds.map(|seeds| ("NBIO_SEED", seeds))).current_dir(self.tree);
        watch(command, limit)
    }
}

fn watch(mut command: Command, limit: Duration) -> Result<Outcome, Failure> {
    command.process_group(0);
    // What mutants say when they panic is of no interest.
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut child = Killed(child);
    let output = child.0.stdout.take().expect("it is a pipe");
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        // The receiver is gone once the verdict is known.
        BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    let end = Instant::now() + limit;
    loop {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                if let Some(case) = failed_case(&line) {
                    return Ok(Outcome::Failed(case.to_owned()));
                }
            }
            Err(RecvTimeoutError::Timeout) => return Ok(Outcome::TimedOut),
            Err(RecvTimeoutError::Disconnected) => {
                let status = child.0.wait()?;
                return Ok(if status.success() { Outcome::Passed } else { Outcome::Died(status) });
            }
        }
    }
}

/// The names of all cases.
pub fn list(executable: &Path, tree: &Path) -> Result<Vec<String>, Failure> {
    let listed = Command::new(executable).arg("--list").current_dir(tree).output()?;
    let listed = String::from_utf8(listed.stdout)?;
    Ok(listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

/// `test NAME ... FAILED`, as libtest and its imitations have it.
fn failed_case(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix("FAILED")?.split_whitespace().next()
}

/// A child that doesn't outlive this, nor do its own: cases start some, and theirs may hang.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        if !matches!(self.0.try_wait(), Ok(None)) {
            return;
        }
        // It hasn't been waited for, so its number, which is the group's too, is nobody else's.
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        // In case there is no such program. It may have ended meanwhile, and then there is nothing to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
