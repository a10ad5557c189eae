//! `bench connect`: connections that are made, used for one message and closed, against the servers of `echo`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use socket2::SockRef;

use crate::comparison::{self, Better, Comparison, Metric};
use crate::process::{Cores, Place, Process};
use crate::servers::Server;
use crate::{measure, report};

const MESSAGE: [u8; 64] = *b"One message, sent and echoed, is all this connection is made for";

#[derive(clap::Args)]
pub struct Args {
    /// Connections per measurement
    #[arg(long, default_value_t = 30_000)]
    total: usize,
    /// Connections that are open at once
    #[arg(long, value_delimiter = ',', default_values_t = [1, 64])]
    at_once: Vec<usize>,
    /// Times to measure every server
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// The servers to compare [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    servers: Vec<Server>,
    #[command(flatten)]
    cores: Cores,
}

/// What the process that connects is told.
#[derive(clap::Args)]
pub struct LoadArgs {
    address: SocketAddr,
    #[arg(long)]
    total: usize,
    #[arg(long)]
    at_once: usize,
    /// The server's process, whose CPU time is read before and after
    #[arg(long)]
    server: u32,
    #[command(flatten)]
    place: Place,
}

#[derive(Serialize, Deserialize)]
struct Outcome {
    seconds: f64,
    server_cpu_seconds: f64,
}

const METRICS: [Metric; 2] = [
    Metric::new("CPU", "us/connection", 2, Better::Less).compared(),
    Metric::new("rate", "connections/s", 0, Better::More).compared(),
];

const ABOUT: &str = "A client opens some connections, sends 64 bytes on each, waits for the echoes and resets them all (so that \
    ports don't run out); then the next. CPU is the server's per connection, in the kernel and outside.";

pub fn run(args: &Args) -> anyhow::Result<Comparison> {
    let servers = report::chosen(&args.servers);
    let names = report::names(&servers);
    let mut comparison =
        Comparison::new("connect", "Connect and close", ABOUT, &METRICS, names).against("raw");
    for &at_once in &args.at_once {
        ensure!((1..=1000).contains(&at_once), "--at-once must be 1 to 1000, not {at_once}");
        let load =
            comparison::Load::new(format!("{at_once} open at once"), &[("open at once", at_once as f64)]);
        comparison
            .measure(load, args.repeats, |contender, _| measure_once(args, servers[contender], at_once))?;
    }
    Ok(comparison)
}

fn measure_once(args: &Args, server: Server, at_once: usize) -> anyhow::Result<Vec<Option<f64>>> {
    ensure!(args.total >= at_once, "--total must be at least {at_once}, as many as are open at once");
    let mut process = Process::start(args.cores.server_core, &["serve".into(), report::name(server)])?;
    let port = process.line()?;
    let arguments = [
        "connect-load".to_owned(),
        format!("127.0.0.1:{port}"),
        "--total".into(),
        args.total.to_string(),
        "--at-once".into(),
        at_once.to_string(),
        "--server".into(),
        process.id().to_string(),
    ];
    let mut load = Process::start(args.cores.client_core, &arguments)?;
    let outcome: Outcome = serde_json::from_str(&load.line().context("client")?)?;
    load.finish().context("client")?;
    let total = (args.total / at_once * at_once) as f64;
    Ok([outcome.server_cpu_seconds * 1e6 / total, total / outcome.seconds].map(Some).to_vec())
}

/// Connects, from this process.
pub fn load(args: &LoadArgs) -> anyhow::Result<()> {
    args.place.take()?;
    round(args)?;
    let before = server_cpu_time(args)?;
    let begin = Instant::now();
    for _ in 0..args.total / args.at_once {
        round(args)?;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let server_cpu_seconds = (server_cpu_time(args)? - before).as_secs_f64();
    println!("{}", serde_json::to_string(&Outcome { seconds, server_cpu_seconds })?);
    Ok(())
}

fn round(args: &LoadArgs) -> anyhow::Result<()> {
    let mut open = Vec::with_capacity(args.at_once);
    for _ in 0..args.at_once {
        let mut stream = TcpStream::connect(args.address).context("connecting")?;
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).context("SO_LINGER")?;
        stream.write_all(&MESSAGE).context("sending")?;
        open.push(stream);
    }
    for stream in &mut open {
        let mut echo = [0; MESSAGE.len()];
        stream.read_exact(&mut echo).context("receiving")?;
        ensure!(echo == MESSAGE, "the echo differs from the message");
    }
    Ok(())
}

/// Its CPU time so far, read when it has nothing to do any more.
fn server_cpu_time(args: &LoadArgs) -> anyhow::Result<Duration> {
    // As in `load`.
    std::thread::sleep(Duration::from_millis(10));
    measure::cpu_time(args.server)
}
