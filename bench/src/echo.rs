//! `bench echo`: every load against every server, in turns; server and load generator are a process each, and new
//! ones for every measurement.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::ValueEnum;
use serde::Serialize;

use crate::load::Outcome;
use crate::measure;
use crate::process::Process;
use crate::report::{self, LoadReport, Report};
use crate::servers::Server;

#[derive(clap::Args)]
pub struct Args {
    /// Numbers of connections, to be combined with every size [default: 1,64,512]
    #[arg(long, value_delimiter = ',')]
    connections: Vec<usize>,
    /// Message sizes in bytes [default: 64, and 16384 with 64 connections]
    #[arg(long, value_delimiter = ',')]
    size: Vec<usize>,
    /// Times to measure every server under every load
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// Messages per measurement [default: what takes one to two seconds]
    #[arg(long)]
    messages: Option<usize>,
    /// The servers to compare [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    servers: Vec<Server>,
    /// The core the server runs on
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    /// The core the load generator runs on
    #[arg(long, default_value_t = 1)]
    client_core: usize,
    /// Write all raw figures to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, Serialize)]
pub struct Load {
    pub connections: usize,
    pub size: usize,
    pub messages: usize,
}

/// What one run of one server under one load gave.
#[derive(Serialize)]
pub struct Sample {
    pub server: Server,
    pub repeat: usize,
    /// CPU time of the server's process per message, in microseconds.
    pub cpu_us: f64,
    /// Fraction of the time that the server was on its core.
    pub busy: f64,
    pub messages_per_s: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(args.repeats > 0, "--repeats must be at least 1");
    let servers = match args.servers.as_slice() {
        [] => Server::value_variants(),
        chosen => chosen,
    };
    let mut report = Report { machine: measure::machine()?, loads: Vec::new() };
    println!("{}", report.machine);
    println!(
        "server on core {}, load generator on core {}, {} repeats\n",
        args.server_core, args.client_core, args.repeats
    );
    for load in loads(args)? {
        let mut samples = Vec::new();
        for repeat in 0..args.repeats {
            // Another order every time, so that no server always runs after
            // the same one or at the same moment of the machine's noise.
            let mut order = servers.to_vec();
            order.rotate_left(repeat % servers.len());
            for server in order {
                let sample = measure_once(args, server, load, repeat)
                    .with_context(|| format!("server {}", report::name(server)))?;
                samples.push(sample);
            }
        }
        let load_report = LoadReport { load, samples };
        println!("{}", load_report.table(servers));
        report.loads.push(load_report);
    }
    report::write_json(args.json.as_deref(), &report)
}

/// The loads asked for, or the default ones.
fn loads(args: &Args) -> anyhow::Result<Vec<Load>> {
    let or_default = |given: &[usize], default: &[usize]| match given {
        [] => default.to_vec(),
        given => given.to_vec(),
    };
    let mut pairs = Vec::new();
    for size in or_default(&args.size, &[64]) {
        for connections in or_default(&args.connections, &[1, 64, 512]) {
            pairs.push((connections, size));
        }
    }
    if args.size.is_empty() && args.connections.is_empty() {
        pairs.push((64, 16 * 1024));
    }
    let load = |(connections, size)| {
        let messages = args.messages.unwrap_or_else(|| default_messages(connections, size));
        ensure!((1..=4000).contains(&connections), "connections must be 1 to 4000, not {connections}");
        ensure!((1..=1 << 20).contains(&size), "the size must be 1 to 1048576 bytes, not {size}");
        ensure!(messages > 0, "--messages must be at least 1");
        Ok(Load { connections, size, messages })
    };
    pairs.into_iter().map(load).collect()
}

/// As many messages as take one to two seconds on a small machine.
fn default_messages(connections: usize, size: usize) -> usize {
    // A single connection pays for two wake-ups per message.
    let small = if connections < 4 { 12_000 } else { 150_000 };
    // 16 KiB cost about as much again as the message as such.
    small * 16_384 / (16_384 + size)
}

/// Starts a server and loads it.
fn measure_once(args: &Args, server: Server, load: Load, repeat: usize) -> anyhow::Result<Sample> {
    let mut process = Process::start(args.server_core, &["serve".into(), report::name(server)])?;
    let port = process.line()?;
    let warm_up = (load.messages / 10).max(2 * load.connections);
    let more = [("--warm-up", warm_up.to_string()), ("--server", process.id().to_string())];
    let outcome = put_under_load(args.client_core, &port, load, &more)?;
    let messages = load.messages as f64;
    Ok(Sample {
        server,
        repeat,
        cpu_us: outcome.server_cpu_seconds * 1e6 / messages,
        busy: outcome.server_cpu_seconds / outcome.seconds,
        messages_per_s: messages / outcome.seconds,
        p50_us: outcome.p50_us,
        p99_us: outcome.p99_us,
        p999_us: outcome.p999_us,
    })
}

/// Runs a load generator to its end.
pub fn put_under_load(
    core: usize,
    port: &str,
    load: Load,
    more: &[(&str, String)],
) -> anyhow::Result<Outcome> {
    let mut arguments = vec!["load".into(), format!("127.0.0.1:{port}")];
    let given = [
        ("--connections", load.connections.to_string()),
        ("--size", load.size.to_string()),
        ("--messages", load.messages.to_string()),
    ];
    for (option, value) in given.iter().chain(more) {
        arguments.extend([(*option).to_owned(), value.clone()]);
    }
    let mut process = Process::start(core, &arguments)?;
    let line = process.line().context("load generator")?;
    let outcome = serde_json::from_str(&line).with_context(|| format!("load generator: {line:?}"))?;
    process.finish().context("load generator")?;
    Ok(outcome)
}
