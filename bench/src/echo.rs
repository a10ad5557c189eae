//! `bench echo`: every load against every server, a process each, in turns.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::ValueEnum;
use serde::Serialize;

use crate::load::Client;
use crate::measure;
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
    measure::raise_descriptor_limit(4096)?;
    measure::pin_to_core(args.client_core)?;
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
    if let Some(path) = &args.json {
        let write = || {
            let mut file = BufWriter::new(File::create(path)?);
            serde_json::to_writer_pretty(&mut file, &report)?;
            file.flush()
        };
        write().with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
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

/// Starts the server, loads it, and reads how much CPU time that took.
fn measure_once(args: &Args, server: Server, load: Load, repeat: usize) -> anyhow::Result<Sample> {
    let process = ServerProcess::start(server, args.server_core)?;
    let mut client = Client::connect(process.address, load.connections, load.size)?;
    let mut latencies = Vec::with_capacity(load.messages);

    let warm_up = (load.messages / 10).max(2 * load.connections);
    client.run(warm_up, &mut latencies)?;
    latencies.clear();
    let before = process.cpu_time()?;
    let elapsed = client.run(load.messages, &mut latencies)?;
    let cpu = process.cpu_time()?.saturating_sub(before);

    latencies.sort_unstable();
    let percentile_us = |q| f64::from(measure::percentile(&latencies, q)) / 1e3;
    let messages = load.messages as f64;
    Ok(Sample {
        server,
        repeat,
        cpu_us: cpu.as_secs_f64() * 1e6 / messages,
        busy: cpu.as_secs_f64() / elapsed.as_secs_f64(),
        messages_per_s: messages / elapsed.as_secs_f64(),
        p50_us: percentile_us(0.5),
        p99_us: percentile_us(0.99),
        p999_us: percentile_us(0.999),
    })
}

/// A running server, killed when dropped.
struct ServerProcess {
    child: Child,
    address: SocketAddr,
}

impl ServerProcess {
    fn start(server: Server, core: usize) -> anyhow::Result<Self> {
        let mut child = Command::new("/proc/self/exe")
            .args(["serve", &report::name(server)])
            .args(["--core", &core.to_string()])
            .args(["--parent", &std::process::id().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting it")?;
        let stdout = child.stdout.take();
        // Owned by the guard from here on, so that no error leaves it behind.
        let mut process = Self { child, address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) };
        let mut line = String::new();
        BufReader::new(stdout.context("its stdout is not a pipe")?)
            .read_line(&mut line)
            .context("reading its port")?;
        let port = line.trim().parse().with_context(|| format!("it said {line:?} instead of its port"))?;
        process.address.set_port(port);
        Ok(process)
    }

    /// Its CPU time so far, read when it has nothing to do any more.
    fn cpu_time(&self) -> anyhow::Result<Duration> {
        // The scheduler brings the figure up to date when the server blocks,
        // which it does microseconds after the last echo.
        std::thread::sleep(Duration::from_millis(10));
        measure::cpu_time(self.child.id())
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Both fail only for a process that has ended and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
