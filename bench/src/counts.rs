//! `bench counts`: what a server does per echoed message, counted instead of timed, so that little of it depends on
//! what else the machine does.
//!
//! Every server runs with N and with 2 N messages, and ends by itself; the difference, by N, is free of what starting,
//! accepting and ending take. Ending by itself matters: valgrind can't interrupt an `io_uring_enter` that blocks.
//! strace and valgrind slow a server down, so that with many connections more messages are there at each turn than
//! there would be otherwise, for all servers alike. The allocations are counted by the run without either.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::ValueEnum;
use serde::Serialize;

use crate::alloc::Allocated;
use crate::echo::{self, Load};
use crate::measure;
use crate::process::Process;
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
    /// The core the server runs on
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    /// The core the load generator runs on
    #[arg(long, default_value_t = 1)]
    client_core: usize,
    /// Write all figures to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    machine: String,
    counts: Vec<Counts>,
    /// What is missing above, and why.
    notes: Vec<String>,
}

/// Per message; `None` is what could not be counted.
#[derive(Serialize)]
struct Counts {
    server: Server,
    connections: usize,
    size: usize,
    system_calls: Option<BTreeMap<String, f64>>,
    allocations: Option<f64>,
    allocated_bytes: Option<f64>,
    instructions: Option<f64>,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(args.messages > 0, "--messages must be at least 1");
    let servers = match args.servers.as_slice() {
        [] => Server::value_variants(),
        chosen => chosen,
    };
    let mut report = Report { machine: measure::machine()?, counts: Vec::new(), notes: Vec::new() };
    println!("{}", report.machine);
    println!("per message: (run with {0} messages - run with {1}) / {1}", 2 * args.messages, args.messages);
    for &connections in &args.connections {
        println!("\n{} B x {connections} connections", args.size);
        println!(
            "{:<8}{:>9}{:>9}{:>13}{:>14}  system calls",
            "server", "syscalls", "allocs", "alloc bytes", "instructions"
        );
        let load = Load { connections, size: args.size, messages: args.messages };
        for &server in servers {
            let counts = count(args, server, load, &mut report.notes);
            println!("{}", counts.line());
            report.counts.push(counts);
        }
    }
    if !report.notes.is_empty() {
        println!();
    }
    for note in &report.notes {
        println!("note: {note}");
    }
    report::write_json(args.json.as_deref(), &report)
}

/// Counts with one tool after the other; what fails is left out, and noted.
fn count(args: &Args, server: Server, load: Load, notes: &mut Vec<String>) -> Counts {
    let name = report::name(server);
    let mut note = |what: &str, error: anyhow::Error| {
        notes.push(format!("{what} of {name}, {} connections: {error:#}", load.connections));
    };
    let allocated = allocations(args, server, load).map_err(|error| note("allocations", error)).ok();
    let system_calls = system_calls(args, server, load).map_err(|error| note("system calls", error)).ok();
    let instructions = instructions(args, server, load).map_err(|error| note("instructions", error)).ok();
    Counts {
        server,
        connections: load.connections,
        size: load.size,
        system_calls,
        allocations: allocated.map(|(allocations, _)| allocations),
        allocated_bytes: allocated.map(|(_, bytes)| bytes),
        instructions,
    }
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
    let count = |load| {
        let file = Scratch::new("callgrind");
        let output = format!("--callgrind-out-file={}", file.name());
        let tool = ["valgrind", "-q", "--tool=callgrind", &output].map(str::to_owned);
        run_server(args, server, load, &tool)?;
        parse_callgrind(&file.read()?)
    };
    Ok(per_message(count(load)?, count(load.doubled())?, load.messages))
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
        [] => Process::start(args.server_core, &arguments)?,
        tool => Process::start_under(tool, args.server_core, &arguments)?,
    };
    let port = process.line()?;
    echo::put_under_load(args.client_core, &port, load, &[])?;
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

impl Counts {
    fn line(&self) -> String {
        let or_dash = |value: Option<f64>, digits| match value {
            // No negative zero.
            Some(value) => format!("{:.digits$}", value + 0.0),
            None => "-".into(),
        };
        let calls = self.system_calls.as_ref();
        let mut names: Vec<_> = calls.into_iter().flatten().collect();
        names.sort_by(|a, b| b.1.total_cmp(a.1));
        let names: Vec<String> = names.iter().map(|(name, count)| format!("{name} {count:.3}")).collect();
        format!(
            "{:<8}{:>9}{:>9}{:>13}{:>14}  {}",
            report::name(self.server),
            or_dash(calls.map(|calls| calls.values().sum()), 3),
            or_dash(self.allocations, 3),
            or_dash(self.allocated_bytes, 1),
            or_dash(self.instructions, 0),
            names.join(", ")
        )
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
