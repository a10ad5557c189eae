//! `bench echo`: every load against every server, in turns; server and load generator are a process each, and new
//! ones for every measurement.

use anyhow::{Context, ensure};

use crate::comparison::{self, Better, Comparison, Metric};
use crate::load::{Load, Outcome, QUANTILES};
use crate::process::{Cores, Process};
use crate::report;
use crate::servers::Server;

#[derive(clap::Args)]
pub struct Args {
    /// Numbers of connections, to be combined with every size [default: 1,64,512]
    #[arg(long, value_delimiter = ',')]
    connections: Vec<usize>,
    /// Message sizes in bytes [default: 64, and 1024 and 16384 with 64 connections]
    #[arg(long, value_delimiter = ',')]
    size: Vec<usize>,
    /// Messages under way on each connection
    #[arg(long, default_value_t = 1)]
    pipeline: usize,
    /// Messages a second that fall due, whatever the server does: an open loop
    #[arg(long, default_value_t = 0)]
    rate: usize,
    /// Connections besides that say nothing
    #[arg(long, default_value_t = 0)]
    idle: usize,
    /// Times to measure every server under every load
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// Messages per measurement [default: what takes one to two seconds]
    #[arg(long)]
    messages: Option<usize>,
    /// The servers to compare [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    servers: Vec<Server>,
    #[command(flatten)]
    cores: Cores,
}

/// Messages so long that, several under way, they are a stream.
const LONG: usize = 64 << 10;

const METRICS: [Metric; 9] = [
    Metric::new("CPU", "us/message", 2, Better::Less).compared(),
    Metric::new("busy", "%", 0, Better::Neither),
    Metric::new("rate", "messages/s", 0, Better::More).compared(),
    Metric::new("p50", "us", 1, Better::Less).quantile(QUANTILES[0]),
    Metric::new("p90", "us", 1, Better::Less).quantile(QUANTILES[1]),
    Metric::new("p99", "us", 1, Better::Less).quantile(QUANTILES[2]),
    Metric::new("p99.9", "us", 1, Better::Less).quantile(QUANTILES[3]),
    Metric::new("longest", "us", 1, Better::Less).quantile(QUANTILES[4]),
    Metric::new("memory", "KiB/connection", 1, Better::Less),
];

const ABOUT: &str = "Every server is a process on one core, the load generator one on the other, both new for each \
    measurement. Each connection sends a message, waits for the whole echo, compares every byte and sends the next. CPU is \
    the server's time on its core per message, in the kernel and outside; memory is what it has more when all connections are \
    open and were used than before the first.";

pub fn run(args: &Args) -> anyhow::Result<Comparison> {
    let servers = report::chosen(&args.servers);
    let (name, title) = args.kind();
    let about = match args.rate {
        0 => ABOUT.to_owned(),
        rate => format!(
            "{ABOUT} Here {rate} messages fall due every second, whatever the server does, and are timed from then on, \
             so that one that stalls is charged for all who wait."
        ),
    };
    let mut comparison =
        Comparison::new(name, title, about, &METRICS, report::names(&servers)).against("raw");
    for load in loads(args)? {
        comparison.measure(describe(load), args.repeats, |contender, _| {
            measure_once(args.cores, servers[contender], load)
        })?;
    }
    Ok(comparison)
}

impl Args {
    /// What this is called: several may be in one report.
    fn kind(&self) -> (&'static str, &'static str) {
        match self {
            Args { idle: 1.., .. } => ("echo-idle", "TCP echo beside idle connections"),
            Args { rate: 1.., .. } => ("echo-open", "TCP echo at a given rate"),
            Args { pipeline: 2.., size, .. } if size.iter().any(|&size| size >= LONG) => {
                ("echo-streaming", "TCP echo, streaming")
            }
            Args { pipeline: 2.., .. } => ("echo-pipelined", "TCP echo, pipelined"),
            _ => ("echo", "TCP echo"),
        }
    }
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
        pairs.extend([(64, 1024), (64, 16 * 1024)]);
    }
    let load = |(connections, size)| {
        let (pipeline, rate, idle) = (args.pipeline, args.rate, args.idle);
        let messages = args.messages.unwrap_or_else(|| match rate {
            0 => default_messages(connections, size),
            rate => rate * 2,
        });
        let open = connections + idle;
        ensure!(
            connections > 0 && (1..=11_000).contains(&open),
            "connections must be 1 to 11000 with the idle ones, not {open}"
        );
        ensure!((1..=1 << 20).contains(&size), "the size must be 1 to 1048576 bytes, not {size}");
        ensure!((1..=1000).contains(&pipeline), "--pipeline must be 1 to 1000, not {pipeline}");
        ensure!(messages > 0, "--messages must be at least 1");
        ensure!(rate == 0 || pipeline == 1, "--rate says when messages are sent, so there is no --pipeline");
        Ok(Load { connections, size, messages, pipeline, rate, idle })
    };
    pairs.into_iter().map(load).collect()
}

/// As many messages as take one to two seconds on a small machine.
fn default_messages(connections: usize, size: usize) -> usize {
    // A single connection pays for two wake-ups per message.
    let small = if connections < 4 { 12_000 } else { 150_000 };
    // 16 KiB cost about as much again as the message as such.
    (small * 16_384 / (16_384 + size)).max(1000)
}

fn describe(load: Load) -> comparison::Load {
    let Load { connections, size, pipeline, rate, idle, .. } = load;
    let mut name = format!("{size} B x {connections} connections");
    let mut parameters = vec![("bytes", size as f64), ("connections", connections as f64)];
    let more = [
        (pipeline > 1, "pipelined", pipeline, format!(", {pipeline} under way on each")),
        (rate > 0, "messages/s", rate, format!(", {rate}/s")),
        (idle > 0, "idle connections", idle, format!(", {idle} idle")),
    ];
    for (there, parameter, value, words) in more {
        if there {
            parameters.push((parameter, value as f64));
            name += &words;
        }
    }
    comparison::Load::new(name, &parameters)
}

/// Starts a server and loads it.
fn measure_once(cores: Cores, server: Server, load: Load) -> anyhow::Result<Vec<Option<f64>>> {
    let mut process = Process::start(cores.server_core, &["serve".into(), report::name(server)])?;
    let port = process.line()?;
    let warm_up = (load.messages / 10).max(2 * load.connections);
    let more = [("--warm-up", warm_up.to_string()), ("--server", process.id().to_string())];
    let outcome = put_under_load(cores.client_core, &port, load, &more)?;
    let messages = load.messages as f64;
    let memory = outcome.server_resident_bytes.saturating_sub(outcome.server_resident_before) as f64;
    let mut values = vec![
        outcome.server_cpu_seconds * 1e6 / messages,
        outcome.server_cpu_seconds / outcome.seconds * 100.0,
        messages / outcome.seconds,
    ];
    values.extend(&outcome.quantiles_us);
    values.push(memory / 1024.0 / (load.connections + load.idle) as f64);
    Ok(values.into_iter().map(Some).collect())
}

/// Runs a load generator to its end.
pub fn put_under_load(
    core: usize,
    port: &str,
    load: Load,
    more: &[(&str, String)],
) -> anyhow::Result<Outcome> {
    let mut arguments = vec!["load".into(), format!("127.0.0.1:{port}")];
    arguments.extend(load.arguments());
    for (option, value) in more {
        arguments.extend([(*option).to_owned(), value.clone()]);
    }
    let mut process = Process::start(core, &arguments)?;
    let line = process.line().context("load generator")?;
    let outcome = serde_json::from_str(&line).with_context(|| format!("load generator: {line:?}"))?;
    process.finish().context("load generator")?;
    Ok(outcome)
}
