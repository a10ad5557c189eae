//! The load generator: messages over many connections from one thread, each echoed, compared and timed.
//!
//! In a closed loop every connection has `pipeline` messages under way, and sends the next when one has come back. In an open
//! loop messages fall due at a fixed rate whatever the server does, and are timed from then on, not from when they could be
//! sent: a server that stalls is charged for all who had to wait.
//!
//! It is an io_uring loop of its own (a send and a receive per message, batched over all connections), so that it takes less
//! CPU time per message than any server and does not become what is measured. It runs in a process of its own, and says what
//! it measured as a line of JSON.

mod client;
mod connection;

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::measure;
use crate::process::Place;
use client::Client;

/// The longest a client may live: a server that stalls becomes an error.
const LIFETIME: Duration = Duration::from_secs(120);

#[derive(clap::Args)]
pub struct Args {
    /// The server's address
    address: SocketAddr,
    #[command(flatten)]
    load: Load,
    /// Messages to exchange before, unmeasured
    #[arg(long, default_value_t = 0)]
    warm_up: usize,
    /// The server's process, whose CPU time is read before and after
    #[arg(long)]
    server: Option<u32>,
    #[command(flatten)]
    place: Place,
}

/// What a server is put under.
#[derive(Clone, Copy, clap::Args)]
pub struct Load {
    #[arg(long)]
    pub connections: usize,
    /// The size of a message in bytes
    #[arg(long)]
    pub size: usize,
    /// Messages to exchange, all connections together
    #[arg(long)]
    pub messages: usize,
    /// Messages under way on each connection
    #[arg(long, default_value_t = 1)]
    pub pipeline: usize,
    /// Messages a second that fall due, all connections together; 0 is a closed loop
    #[arg(long, default_value_t = 0)]
    pub rate: usize,
    /// Connections besides that say nothing
    #[arg(long, default_value_t = 0)]
    pub idle: usize,
}

impl Load {
    /// What a load generator is started with.
    pub fn arguments(self) -> Vec<String> {
        let Load { connections, size, messages, pipeline, rate, idle } = self;
        let numbers = [
            ("--connections", connections),
            ("--size", size),
            ("--messages", messages),
            ("--pipeline", pipeline),
            ("--rate", rate),
            ("--idle", idle),
        ];
        numbers.iter().flat_map(|(name, number)| [(*name).to_owned(), number.to_string()]).collect()
    }
}

/// What the measured part of a load gave.
#[derive(Serialize, Deserialize)]
pub struct Outcome {
    pub seconds: f64,
    /// CPU time of the server's process, if it was named.
    pub server_cpu_seconds: f64,
    /// Its memory with all connections open, and before.
    pub server_resident_bytes: u64,
    pub server_resident_before: u64,
    /// Microseconds at each of `QUANTILES`.
    pub quantiles_us: Vec<f64>,
}

/// Of the round trips, those that are told.
pub const QUANTILES: [f64; 5] = [0.5, 0.9, 0.99, 0.999, 1.0];

/// Loads a server from this process.
pub fn run(args: &Args) -> anyhow::Result<()> {
    args.place.take()?;
    let resident = || args.server.map_or(Ok(0), measure::resident);
    let server_resident_before = resident()?;
    let idle = (0..args.load.idle).map(|_| TcpStream::connect(args.address));
    let idle: Vec<TcpStream> = idle.collect::<Result<_, _>>().context("opening idle connections")?;
    let mut client = Client::connect(args.address, args.load)?;
    // To the tenth of a percent, and up to as long as a client lives.
    let mut latencies = Histogram::<u64>::new_with_max(LIFETIME.as_nanos() as u64, 3)?;
    client.run(args.warm_up, &mut latencies)?;
    latencies.reset();
    let before = server_cpu_time(args)?;
    let elapsed = client.run(args.load.messages, &mut latencies)?;
    let cpu = server_cpu_time(args)?.saturating_sub(before);
    let server_resident_bytes = resident()?;
    drop(idle);
    let outcome = Outcome {
        seconds: elapsed.as_secs_f64(),
        server_cpu_seconds: cpu.as_secs_f64(),
        server_resident_bytes,
        server_resident_before,
        quantiles_us: QUANTILES.iter().map(|&q| latencies.value_at_quantile(q) as f64 / 1e3).collect(),
    };
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

/// Its CPU time so far, read when it has nothing to do any more.
fn server_cpu_time(args: &Args) -> anyhow::Result<Duration> {
    let Some(server) = args.server else { return Ok(Duration::ZERO) };
    // The scheduler brings the figure up to date when the server blocks, which it does microseconds after the last
    // echo.
    std::thread::sleep(Duration::from_millis(10));
    measure::cpu_time(server)
}
