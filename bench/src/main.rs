//! Benchmarks of nbio against other ways of doing the same work.
//!
//! Run `cargo run --release -p bench -- help`, and see README.md for what is
//! measured and how.

mod alloc;
mod counts;
mod echo;
mod files;
mod load;
mod measure;
mod process;
mod remote;
mod report;
mod ring;
mod send_file;
mod servers;
mod sim;
mod timers;
mod udp;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "bench", about = "Benchmarks of nbio against its alternatives")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compare TCP echo servers: server CPU time per message, rate, latency
    Echo(echo::Args),
    /// Count what echo servers do per message: system calls, allocations, instructions
    Counts(counts::Args),
    /// Compare round trips from another thread to the loop and back
    Remote(remote::Args),
    /// Compare ways of sending a file
    SendFile(send_file::Args),
    /// Receive what `send-file` sends (what it starts for every measurement)
    Sink(send_file::SinkArgs),
    /// Compare random reads and writes in a file
    Files(files::Args),
    /// Operations per second in a simulation
    Sim(sim::Args),
    /// Compare timer queues: insert, cancel, fire
    Timers(timers::Args),
    /// Compare ways of sending and receiving datagrams
    Udp(udp::Args),
    /// Run one side of `udp` (what it starts for every measurement)
    UdpSide(udp::SideArgs),
    /// Run one echo server (what `echo` and `counts` start for every measurement)
    Serve(servers::Args),
    /// Run the load generator (what `echo` and `counts` start for every measurement)
    Load(load::Args),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Echo(args) => echo::run(&args),
        Command::Counts(args) => counts::run(&args),
        Command::Remote(args) => remote::run(&args),
        Command::SendFile(args) => send_file::run(&args),
        Command::Sink(args) => send_file::sink(&args),
        Command::Files(args) => files::run(&args),
        Command::Sim(args) => sim::run(&args),
        Command::Timers(args) => timers::run(&args),
        Command::Udp(args) => udp::run(&args),
        Command::UdpSide(args) => udp::side(&args),
        Command::Serve(args) => servers::serve(&args),
        Command::Load(args) => load::run(&args),
    }
}
