//! Pinning, limits, CPU time, and the statistics of a few repeats.

use std::fs;
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;
use serde::Serialize;

/// Congestion control of all sockets. There is nothing to control on loopback,
/// but a system set to BBR would pace both sides with timers. Every kernel has
/// this one, and it does the least.
pub const CONGESTION: &[u8] = b"reno";

/// Binds the calling thread, and what it starts from now on, to one core.
pub fn pin_to_core(core: usize) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    set.set(core)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
        .with_context(|| format!("pinning to core {core}"))
}

/// Sees to it that `wanted` file descriptors can be open at once.
pub fn raise_descriptor_limit(wanted: u64) -> anyhow::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("getrlimit")?;
    if soft >= wanted {
        return Ok(());
    }
    // With a low hard limit, most loads still run; the others say EMFILE.
    setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard).context("setrlimit")
}

/// The time a process has spent on a CPU, all its threads together.
///
/// The scheduler's own nanoseconds, not clock ticks. They are brought up to
/// date when a thread leaves the CPU, so read them while the process waits.
/// The time of threads that have ended is not in them.
pub fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let tasks = format!("/proc/{pid}/task");
    let mut total = 0;
    for task in fs::read_dir(&tasks).with_context(|| tasks.clone())? {
        let path = task.with_context(|| tasks.clone())?.path().join("schedstat");
        let Ok(text) = fs::read_to_string(&path) else {
            continue; // A thread that has just ended.
        };
        let on_cpu = text.split_whitespace().next().unwrap_or_default();
        total += on_cpu.parse::<u64>().with_context(|| format!("{}: {text:?}", path.display()))?;
    }
    // Zero means that this kernel does not count; nothing ran for no time.
    ensure!(total > 0, "no CPU time in {tasks}/*/schedstat");
    Ok(Duration::from_nanos(total))
}

/// The memory of a process that is there, in bytes.
pub fn resident(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?;
    Ok(kilobytes.parse::<u64>()? * 1024)
}

/// Kernel, CPU model and number of cores.
pub fn machine() -> anyhow::Result<String> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").context("kernel release")?;
    let cpus = fs::read_to_string("/proc/cpuinfo").context("/proc/cpuinfo")?;
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown CPU", |(_, model)| model);
    // Not `available_parallelism`, which is 1 as soon as this thread is pinned.
    let cores = cpus.lines().filter(|l| l.starts_with("processor")).count();
    Ok(format!("Linux {}, {model}, {cores} cores", kernel.trim()))
}

/// What repeats of the same measurement gave.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Summary {
    /// `None` without any values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self { median: f64::midpoint(low, high), min, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_of_odd_and_even() {
        let odd = Summary::of([3.0, 1.0, 2.0]).expect("three values");
        assert_eq!((odd.median, odd.min, odd.max), (2.0, 1.0, 3.0));
        let even = Summary::of([4.0, 1.0, 2.0, 3.0]).expect("four values");
        assert_eq!(even.median, 2.5);
        assert_eq!(Summary::of([]), None);
    }
}
