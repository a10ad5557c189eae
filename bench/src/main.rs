//! Benchmarks of nbio against other ways of doing the same work.
//!
//! Run `cargo run --release -p bench -- help`, and see README.md for what is
//! measured and how.

mod all;
mod alloc;
mod comparison;
mod connect;
mod counts;
mod echo;
mod files;
mod http;
mod load;
mod measure;
mod process;
mod remote;
mod report;
mod ring;
mod send_file;
mod servers;
mod sim;
mod tasks;
mod timers;
mod udp;

use std::time::Instant;

use clap::{Parser, Subcommand};

use comparison::Comparison;

#[derive(Parser)]
#[command(name = "bench", about = "Benchmarks of nbio against its alternatives")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    output: report::Output,
}

#[derive(Subcommand)]
enum Command {
    /// Run every comparison
    All(all::Args),
    #[command(flatten)]
    One(Benchmark),
    #[command(flatten)]
    Part(Part),
}

/// The comparisons.
#[derive(Subcommand)]
enum Benchmark {
    /// Compare TCP echo servers: server CPU time per message, rate, latency
    Echo(echo::Args),
    /// Compare the servers of `echo` by connections that are made, used once and closed
    Connect(connect::Args),
    /// Count what echo servers do per message: system calls, allocations, instructions
    Counts(counts::Args),
    /// Compare HTTP servers, hyper on nbio and on tokio, under wrk
    Http(http::Args),
    /// Compare what tasks cost beside their I/O: spawning, joining, memory
    Tasks(tasks::Args),
    /// Compare round trips from another thread to the loop and back
    Remote(remote::Args),
    /// Compare ways of sending a file
    SendFile(send_file::Args),
    /// Compare random reads and writes in a file
    Files(files::Args),
    /// Operations per second in a simulation
    Sim(sim::Args),
    /// Compare timer queues: insert, cancel, fire
    Timers(timers::Args),
    /// Compare ways of sending and receiving datagrams
    Udp(udp::Args),
}

/// What the comparisons start for their measurements.
#[derive(Subcommand)]
enum Part {
    /// Run one echo server
    #[command(hide = true)]
    Serve(servers::Args),
    /// Run the load generator
    #[command(hide = true)]
    Load(load::Args),
    /// Make connections for `connect`
    #[command(hide = true)]
    ConnectLoad(connect::LoadArgs),
    /// Run one HTTP server
    #[command(hide = true)]
    HttpServe(http::ServeArgs),
    /// Measure one thing of `tasks`
    #[command(hide = true)]
    TasksSide(tasks::SideArgs),
    /// Receive what `send-file` sends
    #[command(hide = true)]
    Sink(send_file::SinkArgs),
    /// Run one side of `udp`
    #[command(hide = true)]
    UdpSide(udp::SideArgs),
}

impl Benchmark {
    fn run(&self) -> anyhow::Result<Comparison> {
        match self {
            Benchmark::Echo(args) => echo::run(args),
            Benchmark::Connect(args) => connect::run(args),
            Benchmark::Counts(args) => counts::run(args),
            Benchmark::Http(args) => http::run(args),
            Benchmark::Tasks(args) => tasks::run(args),
            Benchmark::Remote(args) => remote::run(args),
            Benchmark::SendFile(args) => send_file::run(args),
            Benchmark::Files(args) => files::run(args),
            Benchmark::Sim(args) => sim::run(args),
            Benchmark::Timers(args) => timers::run(args),
            Benchmark::Udp(args) => udp::run(args),
        }
    }
}

impl Part {
    fn run(&self) -> anyhow::Result<()> {
        match self {
            Part::Serve(args) => servers::serve(args),
            Part::Load(args) => load::run(args),
            Part::ConnectLoad(args) => connect::load(args),
            Part::HttpServe(args) => http::serve(args),
            Part::TasksSide(args) => tasks::run_side(args),
            Part::Sink(args) => send_file::sink(args),
            Part::UdpSide(args) => udp::side(args),
        }
    }
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let begin = Instant::now();
    let comparisons = match &cli.command {
        Command::Part(part) => return part.run(),
        Command::All(args) => {
            println!("{}\n", measure::machine()?);
            all::run(args)?
        }
        Command::One(benchmark) => {
            println!("{}\n", measure::machine()?);
            vec![benchmark.run()?]
        }
    };
    report::Report::new(comparisons, begin.elapsed().as_secs())?.put_out(&cli.output)
}
