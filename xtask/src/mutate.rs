//! Do the tests notice when a guarantee is broken? Each patch in `xtask/mutations` breaks one, in a copy of the tree.
//!
//! A patch is a unified diff under a header:
//!
//! ```text
//! # Guarantee 4: the connection of a removed accept is closed.
//! # case: removed_accept_closes_its_connection
//! # test: quarantine
//! ```
//!
//! The first line says what is broken. `case` names the cases that are expected to notice, which run first; if they
//! don't, the whole conformance suite is asked. `test` names another test that is asked after the suite.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::Failure;
use crate::scratch::Scratch;
use crate::tests::{self, Outcome};

const SUITE: &str = "conformance";

/// For a case or two, which take milliseconds: whatever takes longer hangs.
const CASE_LIMIT: Duration = Duration::from_secs(10);

struct Mutation {
    name: String,
    patch: PathBuf,
    breaks: String,
    cases: Vec<String>,
    test: Option<String>,
}

/// How a mutant fared.
enum Verdict {
    /// By whom.
    Caught(String),
    /// By whom, though others were to.
    CaughtByOthers(String),
    Lives,
    /// The patch doesn't apply or the result doesn't compile.
    Unfit(Failure),
}

pub fn list(root: &Path) -> Result<bool, Failure> {
    for mutation in read(root)? {
        println!("{:<36} {}", mutation.name, mutation.breaks);
    }
    Ok(true)
}

/// Runs the mutations of these names, or all; whether every mutant was caught.
pub fn run(root: &Path, names: &[&str]) -> Result<bool, Failure> {
    let mut mutations = read(root)?;
    if let Some(unknown) = names.iter().find(|name| mutations.iter().all(|known| known.name != **name)) {
        return Err(format!("no mutation is called {unknown}; see cargo xtask mutate --list").into());
    }
    mutations.retain(|mutation| names.is_empty() || names.contains(&mutation.name.as_str()));
    let scratch = Scratch::new(root);
    let start = Instant::now();
    let limit = check_unmutated(&scratch, &mutations)?;
    let mut escaped = Vec::new();
    for mutation in &mutations {
        print!("{:<36} ", mutation.name);
        std::io::stdout().flush()?;
        let begin = Instant::now();
        let verdict = try_out(&scratch, mutation, limit).unwrap_or_else(Verdict::Unfit);
        if matches!(verdict, Verdict::Lives | Verdict::Unfit(_)) {
            escaped.push(mutation.name.as_str());
        }
        let seconds = begin.elapsed().as_secs_f32();
        match verdict {
            Verdict::Caught(by) => println!("caught  {seconds:5.1} s  {by}"),
            Verdict::CaughtByOthers(by) => println!("caught  {seconds:5.1} s  {by} (not by its case)"),
            Verdict::Lives => println!("LIVES   {seconds:5.1} s  {}", mutation.breaks),
            Verdict::Unfit(why) => println!("UNFIT   {seconds:5.1} s  {why}"),
        }
    }
    let (count, seconds) = (mutations.len(), start.elapsed().as_secs());
    println!("{} of {count} mutants caught in {seconds} s", count - escaped.len());
    if !escaped.is_empty() {
        println!("not caught: {}", escaped.join(", "));
    }
    Ok(escaped.is_empty())
}

/// The unbroken tree passes all that the mutants are put through. How long its suite may take with a mutant.
fn check_unmutated(scratch: &Scratch, mutations: &[Mutation]) -> Result<Duration, Failure> {
    print!("{:<36} ", "(unmutated)");
    std::io::stdout().flush()?;
    scratch.refresh()?;
    let executable = scratch.build(SUITE)?;
    let known = tests::list(&executable, &scratch.tree)?;
    for mutation in mutations {
        if let Some(case) = mutation.cases.iter().find(|case| !known.iter().any(|name| name.contains(*case)))
        {
            return Err(format!("{} names a case that doesn't exist: {case}", mutation.name).into());
        }
    }
    let begin = Instant::now();
    let patience = Duration::from_secs(600);
    passes(tests::run(&executable, &scratch.tree, "", patience)?, SUITE)?;
    let taken = begin.elapsed();
    let mut others: Vec<&str> = mutations.iter().filter_map(|mutation| mutation.test.as_deref()).collect();
    others.sort_unstable();
    others.dedup();
    for test in others {
        passes(tests::run(&scratch.build(test)?, &scratch.tree, "", patience)?, test)?;
    }
    println!("passes  {:5.1} s", begin.elapsed().as_secs_f32());
    Ok(taken * 2 + CASE_LIMIT)
}

fn passes(outcome: Outcome, test: &str) -> Result<(), Failure> {
    match judge(outcome) {
        None => Ok(()),
        Some(by) => Err(format!("the unmutated tree fails {test}: {by}").into()),
    }
}

fn try_out(scratch: &Scratch, mutation: &Mutation, limit: Duration) -> Result<Verdict, Failure> {
    scratch.refresh()?;
    scratch.apply(&mutation.patch)?;
    let suite = scratch.build(SUITE)?;
    for case in &mutation.cases {
        if let Some(by) = judge(tests::run(&suite, &scratch.tree, case, CASE_LIMIT)?) {
            return Ok(Verdict::Caught(by));
        }
    }
    // A mutation for another test may well be one that the suite can't see: ask that test first.
    if let Some(test) = &mutation.test
        && let Some(by) = judge(tests::run(&scratch.build(test)?, &scratch.tree, "", limit)?)
    {
        return Ok(Verdict::Caught(format!("{test}: {by}")));
    }
    Ok(match judge(tests::run(&suite, &scratch.tree, "", limit)?) {
        Some(by) if mutation.cases.is_empty() && mutation.test.is_none() => Verdict::Caught(by),
        Some(by) => Verdict::CaughtByOthers(by),
        None => Verdict::Lives,
    })
}

/// What in the outcome shows that something is broken.
fn judge(outcome: Outcome) -> Option<String> {
    match outcome {
        Outcome::Passed => None,
        Outcome::Failed(case) => Some(case),
        Outcome::Died(status) => Some(format!("{status}")),
        Outcome::TimedOut => Some("hangs".into()),
    }
}

fn read(root: &Path) -> Result<Vec<Mutation>, Failure> {
    let mut mutations = Vec::new();
    for entry in fs::read_dir(root.join("xtask/mutations"))? {
        let patch = entry?.path();
        if patch.extension().is_some_and(|extension| extension == "patch") {
            mutations.push(parse(patch)?);
        }
    }
    mutations.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(mutations)
}

fn parse(patch: PathBuf) -> Result<Mutation, Failure> {
    let text = fs::read_to_string(&patch)?;
    let name = patch.file_stem().expect("it has an extension").to_string_lossy().into_owned();
    let mut header = text.lines().map_while(|line| line.strip_prefix('#')).map(str::trim);
    let breaks = header.next().filter(|line| line.starts_with("Guarantee "));
    let breaks = breaks.ok_or_else(|| format!("{name}: the header must begin with `# Guarantee N: …`"))?;
    let (mut cases, mut test) = (Vec::new(), None);
    for line in header {
        match line.split_once(": ") {
            Some(("case", case)) => cases.push(case.to_owned()),
            Some(("test", other)) => test = Some(other.to_owned()),
            _ => return Err(format!("{name}: what is `{line}` in the header?").into()),
        }
    }
    Ok(Mutation { name, breaks: breaks.to_owned(), cases, test, patch })
}
