//! Development tasks: `cargo xtask mutate`, `cargo xtask fuzz`, `cargo xtask trace`, `cargo xtask cross`,
//! `cargo xtask windows`, `cargo xtask lint-tree`.

mod cross;
mod debian;
mod fuzz;
mod lint_tree;
mod mutate;
mod scratch;
mod tests;
mod trace;
mod windows;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lexopt::prelude::*;

const USAGE: &str = "\
usage: cargo xtask mutate [--list] [NAME…]   break a copy of the crate on purpose; the tests must notice
       cargo xtask fuzz --seeds N [--from S] run random programs in simulations; new ones, unless told from which seed
       cargo xtask trace                     what is native makes no system calls of its own (needs strace)
       cargo xtask cross [TARGET…]           compile for other systems, tests and documentation too (Debian)
       cargo xtask windows [COMMAND …]       cargo's COMMAND for Windows under Wine; without, all tests; `env` for shells
       cargo xtask lint-tree                 check what rustc and clippy don't";

/// Why a task failed, for people.
type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the task found everything in order.
fn run() -> Result<bool, Failure> {
    let mut arguments = lexopt::Parser::from_env();
    let mut words = Vec::new();
    let (mut list, mut seeds, mut from) = (false, None, None);
    while let Some(argument) = arguments.next()? {
        match argument {
            // All that follows is for cargo.
            Value(word) if words.is_empty() && word == "windows" => {
                return windows::run(&root()?, &arguments.raw_args()?.collect::<Vec<_>>());
            }
            Value(word) => words.push(word.string()?),
            Long("list") => list = true,
            Long("seeds") => seeds = Some(arguments.value()?.parse()?),
            Long("from") => from = Some(arguments.value()?.parse()?),
            Short('h') | Long("help") => {
                println!("{USAGE}");
                return Ok(true);
            }
            _ => return Err(argument.unexpected().into()),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["mutate"] if list => mutate::list(&root()?),
        ["mutate", names @ ..] => mutate::run(&root()?, names),
        ["fuzz"] => fuzz::run(&root()?, seeds.ok_or(USAGE)?, from),
        ["trace"] => trace::run(),
        ["trace-one", operation] => trace::perform(operation),
        ["cross", targets @ ..] => cross::run(&root()?, targets),
        ["lint-tree"] => lint_tree::run(&root()?),
        _ => Err(USAGE.into()),
    }
}

/// The repository. `cargo run` tells at run time; what was true at compile time may be another worktree's, if they share
/// a target directory.
fn root() -> Result<PathBuf, Failure> {
    let member = std::env::var_os("CARGO_MANIFEST_DIR").ok_or("run it as `cargo xtask`")?;
    let root = Path::new(&member).parent().ok_or("xtask is a directory of the repository")?;
    Ok(root.to_owned())
}
