//! The processes of a measurement: this program again, with other arguments, alone or under a tool that counts.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;

use crate::measure;

/// A process ends after this many seconds, whatever happens.
const LIFETIME: u32 = 150;

/// Where the two sides of a measurement run.
#[derive(Clone, Copy, clap::Args)]
pub struct Cores {
    /// The core the server runs on
    #[arg(long, default_value_t = 0)]
    pub server_core: usize,
    /// The core the load generator runs on
    #[arg(long, default_value_t = 1)]
    pub client_core: usize,
}

/// What every process that measures is told.
#[derive(clap::Args)]
pub struct Place {
    /// The core to run on
    #[arg(long)]
    core: Option<usize>,
    /// Exit unless this process is the parent
    #[arg(long)]
    parent: Option<i32>,
}

impl Place {
    /// Binds this process to its core, and to its parent's life.
    pub fn take(&self) -> anyhow::Result<()> {
        // Killed with its parent and at the latest by the alarm. Watching stdin instead would take a second thread,
        // and a process with threads pays more for every file descriptor it looks up.
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).context("asking to die with the parent")?;
        if let Some(parent) = self.parent {
            ensure!(nix::unistd::getppid().as_raw() == parent, "the parent is gone already");
        }
        nix::unistd::alarm::set(LIFETIME);
        if let Some(core) = self.core {
            measure::pin_to_core(core)?;
        }
        measure::raise_descriptor_limit(12_000)
    }
}

/// A running process, killed when dropped.
pub struct Process {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    /// Starts this program with `arguments` on a core.
    pub fn start(core: usize, arguments: &[String]) -> anyhow::Result<Self> {
        let parent = std::process::id().to_string();
        Self::spawn(&[], core, arguments, &["--parent".into(), parent])
    }

    /// The same under a tool: `tool` is its name and arguments, before the program's name.
    ///
    /// The parent is not checked: it is the tool, if that does not become the program. When this is dropped the tool
    /// is killed, and the program with it, as its parent or as itself.
    pub fn start_under(tool: &[String], core: usize, arguments: &[String]) -> anyhow::Result<Self> {
        Self::spawn(tool, core, arguments, &[])
    }

    fn spawn(tool: &[String], core: usize, arguments: &[String], more: &[String]) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program's own path")?;
        let mut command = match tool {
            [] => Command::new(&program),
            [name, options @ ..] => {
                let mut command = Command::new(name);
                command.args(options).arg(&program);
                command
            }
        };
        let mut child = command
            .args(arguments)
            .args(["--core", &core.to_string()])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {:?}", command.get_program()))?;
        let stdout = child.stdout.take().context("its stdout is not a pipe")?;
        Ok(Self { child, stdout: BufReader::new(stdout) })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line it says.
    pub fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line).context("reading what it says")?;
        ensure!(!line.is_empty(), "it ended without an answer");
        Ok(line.trim_end().to_owned())
    }

    /// Waits for its end, which must be a good one.
    pub fn finish(mut self) -> anyhow::Result<()> {
        let status = self.child.wait().context("waiting for its end")?;
        ensure!(status.success(), "it ended with {status}");
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only for a process that has ended and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
