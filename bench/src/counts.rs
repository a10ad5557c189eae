//! `bench counts`: what a server does per echoed message, counted instead of timed, so that little of it depends on
//! what else the machine does.
//!
//! Every server runs with N and with 2 N messages, and ends by itself; the difference, by N, is free of what starting,
//! accepting and ending take. Ending by itself matters: valgrind can't interrupt an `io_uring_enter` that blocks.
//! strace and valgrind slow a server down, so that with many connections more messages are there at each turn than
//! there would be otherwise, for all servers alike. The allocations are counted by the run without either.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};

use crate::alloc::Allocated;
use crate::comparison::{self, Better, Comparison, Metric};
use crate::echo;
use crate::load::Load;
use crate::process::{Cores, Process};
use crate::report;
use crate::servers::Server;

#[derive(clap::Args)]
pub struct Args {
    /// Numbers of connections
    #[arg(long, value_delimiter = ',', default_values_t = [1, 64])]
    connections: Vec<usize>,
    /// Message size in bytes
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// N: messages that the shorter run takes
    #[arg(long, default_value_t = 10_000)]
    messages: usize,
    /// The servers to compare [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    servers: Vec<Server>,
    #[command(flatten)]
    cores: Cores,
}

const METRICS: [Metric; 4] = [
    Metric::new("instructions", "", 0, Better::Less).compared(),
    Metric::new("system calls", "", 3, Better::Less).compared(),
    Metric::new("allocations", "", 3, Better::Less),
    Metric::new("allocated", "bytes", 1, Better::Less),
];

const ABOUT: &str = "What an echo server does per message: the difference of a run of twice as many messages and a run of as \
    many, so that starting and ending are not in it. Instructions in user space by callgrind, system calls by strace, \
    allocations by an allocator that counts.";

pub fn run(args: &Args) -> anyhow::Result<Comparison> {
    ensure!(args.messages > 0, "--messages must be at least 1");
    let servers = report::chosen(&args.servers);
    let names = report::names(&servers);
    let mut comparison =
        Comparison::new("counts", "Counted per echoed message", ABOUT, &METRICS, names.clone())
            .against("raw");
    for &connections in &args.connections {
        let load =
            Load { connections, size: args.size, messages: args.messages, pipeline: 1, rate: 0, idle: 0 };
        let described = comparison::Load::new(
            format!("{} B x {connections} connections", args.size),
            &[("connections", connections as f64), ("bytes", args.size as f64)],
        );
        let mut notes = Vec::new();
        comparison.measure(described, 1, |contender, _| {
            let mut note =
                |what: &str| notes.push(format!("{}, {connections} connections: {what}", names[contender]));
            Ok(count(args, servers[contender], load, &mut note))
        })?;
        comparison.notes.append(&mut notes);
    }
    Ok(comparison)
}

/// Counts with one tool after the other; what fails is left out, and noted, and so are the names of the system calls.
fn count(args: &Args, server: Server, load: Load, note: &mut impl FnMut(&str)) -> Vec<Option<f64>> {
    let mut or_note = |what: &str, error: anyhow::Error| note(&format!("no {what}: {error:#}"));
    let allocated = allocations(args, server, load).map_err(|error| or_note("allocations", error)).ok();
    let system_calls = system_calls(args, server, load).map_err(|error| or_note("system calls", error)).ok();
    let instructions = instructions(args, server, load).map_err(|error| or_note("instructions", error)).ok();
    if let Some(calls) = &system_calls {
        let mut calls: Vec<_> = calls.iter().collect();
        calls.sort_by(|a, b| b.1.total_cmp(a.1));
        let calls: Vec<String> = calls.iter().map(|(name, count)| format!("{name} {count:.3}")).collect();
        note(&calls.join(", "));
    }
    vec![
        instructions,
        system_calls.map(|calls| calls.values().sum()),
        allocated.map(|(allocations, _)| allocations),
        allocated.map(|(_, bytes)| bytes),
    ]
}

/// What two runs differ in, per message of the shorter one.
fn per_message(short: u64, long: u64, messages: usize) -> f64 {
    (long as f64 - short as f64) / messages as f64
}

fn allocations(args: &Args, server: Server, load: Load) -> anyhow::Result<(f64, f64)> {
    let short = run_server(args, server, load, &[])?;
    let long = run_server(args, server, load.doubled(), &[])?;
    let allocations = per_message(short.allocations, long.allocations, load.messages);
    Ok((allocations, per_message(short.bytes, long.bytes, load.messages)))
}

fn system_calls(args: &Args, server: Server, load: Load) -> anyhow::Result<BTreeMap<String, f64>> {
    let count = |load| {
        let file = Scratch::new("strace");
        let tool = ["strace", "-f", "-c", "-o", file.name()].map(str::to_owned);
        run_server(args, server, load, &tool)?;
        parse_strace(&file.read()?)
    };
    let (short, long) = (count(load)?, count(load.doubled())?);
    let mut calls = BTreeMap::new();
    for (name, &count) in &long {
        let difference = per_message(short.get(name).copied().unwrap_or_default(), count, load.messages);
        // The few that a run has more or less than another, by chance.
        if difference.abs() * load.messages as f64 >= 10.0 {
            calls.insert(name.clone(), difference);
        }
    }
    Ok(calls)
}

fn instructions(args: &Args, server: Server, load: Load) -> anyhow::Result<f64> {
    let count = |load| under_callgrind(|tool| run_server(args, server, load, tool).map(drop));
    Ok(per_message(count(load)?, count(load.doubled())?, load.messages))
}

/// How many instructions a run takes in user space, which is given the tool to run under.
pub fn under_callgrind(run: impl FnOnce(&[String]) -> anyhow::Result<()>) -> anyhow::Result<u64> {
    let file = Scratch::new("callgrind");
    let output = format!("--callgrind-out-file={}", file.name());
    run(&["valgrind", "-q", "--tool=callgrind", &output].map(str::to_owned))?;
    parse_callgrind(&file.read()?)
}

/// Runs a server until it has echoed all messages and ended.
fn run_server(args: &Args, server: Server, load: Load, tool: &[String]) -> anyhow::Result<Allocated> {
    let arguments = [
        "serve".into(),
        report::name(server),
        "--messages".into(),
        load.messages.to_string(),
        "--size".into(),
        load.size.to_string(),
    ];
    let mut process = match tool {
        [] => Process::start(args.cores.server_core, &arguments)?,
        tool => Process::start_under(tool, args.cores.server_core, &arguments)?,
    };
    let port = process.line()?;
    echo::put_under_load(args.cores.client_core, &port, load, &[])?;
    let allocated = serde_json::from_str(&process.line()?)?;
    process.finish()?;
    Ok(allocated)
}

/// The calls by name, from the table of `strace -c`: share, seconds, microseconds a call, calls, errors if any, name.
fn parse_strace(table: &str) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut calls = BTreeMap::new();
    for line in table.lines() {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let (Some(count), Some(&name)) = (columns.get(3), columns.last()) else { continue };
        if let Ok(count) = count.parse()
            && name != "total"
        {
            calls.insert(name.to_owned(), count);
        }
    }
    ensure!(!calls.is_empty(), "no system calls in strace's table: {table:?}");
    Ok(calls)
}

/// The instructions executed, from callgrind's output.
fn parse_callgrind(output: &str) -> anyhow::Result<u64> {
    let total = output.lines().find_map(|line| line.strip_prefix("totals: "));
    total.context("no totals in callgrind's output")?.trim().parse().context("callgrind's totals")
}

/// A file's name for a tool to write to; the file is removed when this is dropped.
struct Scratch(String);

impl Scratch {
    fn new(tool: &str) -> Self {
        let name = format!("nbio-bench-{}-{tool}", std::process::id());
        Self(std::env::temp_dir().join(name).to_string_lossy().into_owned())
    }

    fn name(&self) -> &str {
        &self.0
    }

    fn read(&self) -> anyhow::Result<String> {
        fs::read_to_string(Path::new(&self.0)).with_context(|| self.0.clone())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The tool may not have come as far as making it.
        let _ = fs::remove_file(&self.0);
    }
}

impl Load {
    fn doubled(self) -> Self {
        Self { messages: 2 * self.messages, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strace_tables_with_and_without_errors() {
        let table = "% time     seconds  usecs/call     calls    errors syscall\n\
                     ------ ----------- ----------- --------- --------- ----------------\n \
                     90.00    0.010000           5      2000           io_uring_enter\n \
                     10.00    0.001000           1        12         3 read\n\
                     ------ ----------- ----------- --------- --------- ----------------\n\
                     100.00    0.011000           5      2012         3 total\n";
        let calls = parse_strace(table).expect("a table");
        assert_eq!(calls, [("io_uring_enter".into(), 2000), ("read".into(), 12)].into());
        assert!(parse_strace("nothing").is_err());
    }

    #[test]
    fn callgrind_totals() {
        assert_eq!(parse_callgrind("summary: 3\n\ntotals: 12345\n").expect("totals"), 12345);
        assert!(parse_callgrind("events: Ir\n").is_err());
    }
}
