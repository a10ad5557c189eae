//! Benchmarks of nbio against other ways of doing the same work.
//!
//! Run `cargo run --release -p bench -- help`, and see README.md for what is
//! measured and how.

mod echo;
mod load;
mod measure;
mod report;
mod ring;
mod servers;
mod timers;

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
    /// Compare timer queues: insert, cancel, fire
    Timers {
        /// How often the whole comparison is repeated
        #[arg(long, default_value_t = 5)]
        repeats: usize,
    },
    /// Run one echo server (what `echo` starts for every measurement)
    Serve(servers::Args),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Echo(args) => echo::run(&args),
        Command::Timers { repeats } => {
            timers::run(repeats);
            Ok(())
        }
        Command::Serve(args) => servers::serve(&args),
    }
}
