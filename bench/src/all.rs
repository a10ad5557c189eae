//! `bench all`: every comparison, one after the other, as somebody would type them.

use anyhow::{Context, ensure};
use clap::Parser;

use crate::Benchmark;
use crate::comparison::Comparison;

#[derive(clap::Args)]
pub struct Args {
    /// Few repeats of few messages: to see that all works, not to believe the figures
    #[arg(long)]
    quick: bool,
    /// Only those whose lines have this in them ("echo", say)
    #[arg(long, default_value = "")]
    only: String,
}

/// What is typed, and what is added for a full and for a quick run.
const LINES: [[&str; 3]; 15] = [
    ["echo", "", "--repeats 1 --messages 4000"],
    ["echo --connections 64 --size 64 --pipeline 16", "", "--repeats 1 --messages 8000"],
    ["echo --connections 4 --size 65536 --pipeline 8", "", "--repeats 1 --messages 2000"],
    ["echo --connections 64 --size 64 --rate 20000", "", "--repeats 1 --messages 4000"],
    ["echo --connections 64 --size 64 --idle 10000", "--repeats 3", "--repeats 1 --messages 4000"],
    ["connect", "", "--repeats 1 --total 2000"],
    ["counts", "", "--messages 1000"],
    ["http --connections 64,512", "--repeats 5", "--repeats 1 --seconds 1"],
    ["tasks", "", "--repeats 1"],
    ["remote", "--repeats 5", "--repeats 1 --questions 2000"],
    ["udp", "--batches 5000", "--repeats 1 --batches 500"],
    ["files", "", "--repeats 1 --operations 2000 --size 32"],
    ["send-file", "", "--repeats 1 --size 64"],
    ["timers", "", "--repeats 1"],
    ["sim", "", "--repeats 1 --operations 100000"],
];

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    benchmark: Benchmark,
}

/// A comparison that fails doesn't keep the others from being made: what it failed with is told at the end.
pub fn run(args: &Args) -> anyhow::Result<Vec<Comparison>> {
    let lines: Vec<String> = LINES
        .iter()
        .map(|[line, full, quick]| format!("{line} {}", if args.quick { quick } else { full }))
        .filter(|line| line.contains(&args.only))
        .collect();
    ensure!(!lines.is_empty(), "no line has {:?} in it", args.only);
    let mut comparisons: Vec<Comparison> = Vec::new();
    let mut failed = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        println!("== {} of {}: {line}\n", number + 1, lines.len());
        match parse(line).and_then(|benchmark| benchmark.run()) {
            Ok(comparison) => comparisons.push(comparison),
            Err(error) => failed.push(format!("{line}: failed: {error:#}")),
        }
    }
    ensure!(!comparisons.is_empty(), "{}", failed.join("; "));
    comparisons[0].notes.extend(failed);
    Ok(comparisons)
}

fn parse(line: &str) -> anyhow::Result<Benchmark> {
    let words = ["bench"].into_iter().chain(line.split_whitespace());
    Ok(Line::try_parse_from(words).with_context(|| line.to_owned())?.benchmark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_one_that_can_be_typed() {
        for [line, full, quick] in LINES {
            for more in [full, quick] {
                assert!(parse(&format!("{line} {more}")).is_ok(), "{line} {more}");
            }
        }
    }
}
