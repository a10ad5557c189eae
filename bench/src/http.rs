//! `bench http`: hyper's "hello world" on nbio and on tokio, under the load of wrk: requests per second of the server's CPU
//! time. A server is a new process on its core for every measurement, wrk one on the other.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use nbio::task::{Hyper, Io};

use crate::comparison::{Better, Comparison, Load, Metric};
use crate::process::{Cores, Place, Process};
use crate::{measure, report, servers};

#[derive(clap::Args)]
pub struct Args {
    /// Numbers of connections
    #[arg(long, value_delimiter = ',', default_values_t = [64])]
    connections: Vec<usize>,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Times to measure every server
    #[arg(long, default_value_t = 7)]
    repeats: usize,
    #[command(flatten)]
    cores: Cores,
}

#[derive(clap::Args)]
pub struct ServeArgs {
    runtime: Runtime,
    #[command(flatten)]
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Runtime {
    /// nbio's tasks, on io_uring
    Nbio,
    /// Current-thread runtime, a task per connection
    Tokio,
}

const METRICS: [Metric; 3] = [
    Metric::new("answered", "requests/CPU-second", 0, Better::More).compared(),
    Metric::new("CPU", "us/request", 2, Better::Less),
    Metric::new("rate", "requests/s", 0, Better::More),
];

const ABOUT: &str = "hyper's \"hello world\" (HTTP/1.1, kept alive) under wrk. A server is a new process on its core for \
    every measurement, wrk one on the other; a second of warm-up comes first.";

pub fn run(args: &Args) -> anyhow::Result<Comparison> {
    ensure!((1..=60).contains(&args.seconds), "--seconds must be 1 to 60: a server ends after 150");
    let runtimes = report::chosen::<Runtime>(&[]);
    let names = runtimes.iter().map(|runtime| format!("{}, hyper", report::name(*runtime))).collect();
    let mut comparison = Comparison::new("http", "HTTP", ABOUT, &METRICS, names).against("tokio, hyper");
    for &connections in &args.connections {
        ensure!((1..=2000).contains(&connections), "connections must be 1 to 2000, not {connections}");
        let load = Load::new(format!("{connections} connections"), &[("connections", connections as f64)]);
        comparison.measure(load, args.repeats, |contender, _| {
            measure_once(args, runtimes[contender], connections)
        })?;
    }
    Ok(comparison)
}

fn measure_once(args: &Args, runtime: Runtime, connections: usize) -> anyhow::Result<Vec<Option<f64>>> {
    let mut server = Process::start(args.cores.server_core, &["http-serve".into(), report::name(runtime)])?;
    let port = server.line()?;
    // Warmed up: connections were made, memory is there.
    wrk(args, &port, connections, 1)?;
    let before = measure::cpu_time(server.id())?;
    let (requests, rate) = wrk(args, &port, connections, args.seconds)?;
    let cpu = measure::cpu_time(server.id())?.saturating_sub(before).as_secs_f64();
    let requests = requests as f64;
    Ok([requests / cpu, cpu * 1e6 / requests, rate].map(Some).to_vec())
}

/// Runs wrk; how many requests were answered, and how many a second.
fn wrk(args: &Args, port: &str, connections: usize, seconds: u64) -> anyhow::Result<(u64, f64)> {
    let mut command = Command::new("taskset");
    command
        .args(["-c", &args.cores.client_core.to_string(), "wrk", "-t1"])
        .args([format!("-c{connections}"), format!("-d{seconds}s"), format!("http://127.0.0.1:{port}/")])
        .stdin(Stdio::null());
    let done = match command.output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("taskset is missing: apt-get install util-linux")
        }
        done => done.context("starting wrk")?,
    };
    let (said, complaint) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    // What taskset says of a program that isn't there.
    ensure!(done.status.code() != Some(127), "wrk is missing: apt-get install wrk");
    ensure!(done.status.success(), "wrk ended with {}: {complaint}", done.status);
    parse_wrk(&said)
}

/// What wrk says at its end.
fn parse_wrk(said: &str) -> anyhow::Result<(u64, f64)> {
    for complaint in ["Socket errors", "Non-2xx"] {
        let line = said.lines().find(|line| line.contains(complaint));
        ensure!(line.is_none(), "wrk: {}", line.unwrap_or_default().trim());
    }
    let word_before = |what: &str| {
        let line = said.lines().find(|line| line.contains(what))?;
        line.split_whitespace().next()
    };
    let rate = said.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    let requests = word_before(" requests in ").context("no requests in what wrk says")?;
    Ok((requests.parse()?, rate.context("no rate in what wrk says")?.trim().parse()?))
}

/// Runs a server in this process, until it is killed; the port is the first line on stdout.
pub fn serve(args: &ServeArgs) -> anyhow::Result<()> {
    args.place.take()?;
    match args.runtime {
        Runtime::Nbio => nbio::block_on(serve_nbio())?,
        Runtime::Tokio => {
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve_tokio())
        }
    }
}

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from_static(b"Hello, World!"))))
}

async fn serve_nbio() -> anyhow::Result<()> {
    let listener = nbio::task::TcpListener::adopt(servers::listen()?)?;
    // As tokio's: in a task of its own.
    nbio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await?;
            drop(nbio::spawn(async move {
                let mut http = http1::Builder::new();
                // An error ends this connection only.
                let _ = http.timer(Hyper::new()).serve_connection(Io::new(stream), service_fn(hello)).await;
            }));
        }
    })
    .await?
}

async fn serve_tokio() -> anyhow::Result<()> {
    use hyper_util::rt::{TokioIo, TokioTimer};
    let listener = tokio::net::TcpListener::from_std(servers::listen()?)?;
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(async move {
                let mut http = http1::Builder::new();
                let stream = TokioIo::new(stream);
                let _ = http.timer(TokioTimer::new()).serve_connection(stream, service_fn(hello)).await;
            });
        }
    })
    .await?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_says() {
        let said = "Running 1s test @ http://127.0.0.1:1/\n  12345 requests in 1.00s, 1.05MB read\n\
                    Requests/sec:  12340.56\nTransfer/sec:      1.05MB\n";
        assert_eq!(parse_wrk(said).expect("figures"), (12345, 12340.56));
        assert!(parse_wrk("nothing").is_err());
        assert!(parse_wrk(&format!("{said}  Socket errors: connect 0, read 3\n")).is_err());
    }
}
