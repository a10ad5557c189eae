//! Do the tests notice when a guarantee is broken? Each patch in `xtask/mutations` breaks one, in a copy of the tree.
//!
//! A patch is a unified diff under a header:
//!
//! ```text
//! # Guarantee 4: the connection of a removed accept is closed.
//! # case: removed_accept_closes_its_connection
//! # test: simulation programs_keep_every_guarantee
//! # seeds: 0..3000
//! ```
//!
//! The first line says what is broken: a guarantee of the crate's front page, or what makes a simulation one. `case`
//! names the cases of the conformance suite that are expected to notice, which run first, and on the simulation first of
//! all: it is fast. `test` names another test that is asked next, perhaps only some of its cases, and `seeds` what random
//! programs it runs. If none of them notices, the whole suite is asked.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::Failure;
use crate::scratch::{self, Scratch};
use crate::tests::{self, Outcome, Run};

const SUITE: &str = "conformance";

/// What the names of the suite's cases on the simulation begin with.
const SIMULATED: &str = "sim::";

/// What a header can begin with.
const BROKEN: [&str; 2] = ["Guarantee ", "Simulation: "];

/// For a case or two, which take milliseconds: whatever takes longer hangs.
const CASE_LIMIT: Duration = Duration::from_secs(10);

/// What takes so long hangs already, if the unbroken tree takes no more than a part of it.
const SHORT_LIMIT: Duration = Duration::from_millis(1500);
const SHORT_PART: u32 = 8;

/// Mutants that are tried out at a time.
const WORKERS: usize = 2;

struct Mutation {
    name: String,
    patch: PathBuf,
    breaks: String,
    cases: Vec<String>,
    test: Option<Other>,
}

/// A test besides the suite.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Other {
    name: String,
    filter: String,
    seeds: Option<String>,
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

/// Lists them all; whether every one applies to the tree as it is.
pub fn list(root: &Path) -> Result<bool, Failure> {
    let mut all_apply = true;
    for mutation in read(root)? {
        let applies = scratch::applies(root, &mutation.patch)?;
        println!("{:<38} {}{}", mutation.name, if applies { "" } else { "DOESN'T APPLY: " }, mutation.breaks);
        all_apply &= applies;
    }
    Ok(all_apply)
}

/// Runs the mutations of these names, or all; whether every mutant was caught.
pub fn run(root: &Path, names: &[&str]) -> Result<bool, Failure> {
    let mut mutations = read(root)?;
    if let Some(unknown) = names.iter().find(|name| mutations.iter().all(|known| known.name != **name)) {
        return Err(format!("no mutation is called {unknown}; see cargo xtask mutate --list").into());
    }
    mutations.retain(|mutation| names.is_empty() || names.contains(&mutation.name.as_str()));
    let first = Bench::new(Scratch::new(root, 0), &mutations)?;
    let start = Instant::now();
    let next = AtomicUsize::new(0);
    let escaped = Mutex::new(Vec::new());
    // Much of building a mutant has one thread, so another one is built meanwhile.
    std::thread::scope(|scope| {
        for number in 0..WORKERS.min(mutations.len()) {
            let bench = first.beside(Scratch::new(root, number));
            let (next, escaped, mutations) = (&next, &escaped, &mutations);
            scope.spawn(move || {
                while let Some(mutation) = mutations.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if !bench.try_and_tell(mutation) {
                        escaped.lock().expect("nobody panics here").push(mutation.name.as_str());
                    }
                }
            });
        }
    });
    let mut escaped = escaped.into_inner().unwrap_or_else(PoisonError::into_inner);
    escaped.sort_unstable();
    let (count, seconds) = (mutations.len(), start.elapsed().as_secs());
    println!("{} of {count} mutants caught in {seconds} s", count - escaped.len());
    if !escaped.is_empty() {
        println!("not caught: {}", escaped.join(", "));
    }
    Ok(escaped.is_empty())
}

/// What mutants are put through.
struct Bench {
    scratch: Scratch,
    /// The unbroken suite.
    unbroken: PathBuf,
    /// All cases of the suite.
    cases: Vec<String>,
    /// How long the suite, or another test, may take with a mutant.
    limit: Duration,
}

impl Bench {
    /// The unbroken tree passes all of it.
    fn new(scratch: Scratch, mutations: &[Mutation]) -> Result<Bench, Failure> {
        let start = Instant::now();
        scratch.refresh()?;
        let suite = scratch.build(SUITE)?;
        let cases = tests::list(&suite, &scratch.tree)?;
        for mutation in mutations {
            if let Some(case) =
                mutation.cases.iter().find(|case| !cases.iter().any(|name| name.contains(*case)))
            {
                return Err(format!("{} names a case that doesn't exist: {case}", mutation.name).into());
            }
        }
        let unbroken = scratch.keep(&suite)?;
        let mut bench = Bench { scratch, unbroken, cases, limit: Duration::from_secs(600) };
        let mut longest = bench.passes(SUITE, &bench.run(&suite))?;
        let mut others: Vec<&Other> =
            mutations.iter().filter_map(|mutation| mutation.test.as_ref()).collect();
        others.sort_unstable();
        others.dedup();
        for other in others {
            let executable = bench.scratch.build(&other.name)?;
            longest = longest.max(bench.passes(&other.name, &bench.run_other(&executable, other))?);
        }
        println!("{:<38} passes  {:5.1} s", "(unmutated)", start.elapsed().as_secs_f32());
        bench.limit = longest * 2 + CASE_LIMIT;
        Ok(bench)
    }

    fn passes(&self, test: &str, run: &Run) -> Result<Duration, Failure> {
        let begin = Instant::now();
        match judge(run.go(self.limit)?) {
            None => Ok(begin.elapsed()),
            Some(by) => Err(format!("the unmutated tree fails {test}: {by}").into()),
        }
    }

    /// All cases.
    fn run<'a>(&'a self, executable: &'a Path) -> Run<'a> {
        Run { executable, tree: &self.scratch.tree, filter: "", exact: false, seeds: None }
    }

    fn run_other<'a>(&'a self, executable: &'a Path, other: &'a Other) -> Run<'a> {
        Run { filter: &other.filter, seeds: other.seeds.as_deref(), ..self.run(executable) }
    }

    /// The same with another copy of the tree.
    fn beside(&self, scratch: Scratch) -> Bench {
        Bench { scratch, unbroken: self.unbroken.clone(), cases: self.cases.clone(), limit: self.limit * 2 }
    }

    /// Whether the mutant was caught.
    fn try_and_tell(&self, mutation: &Mutation) -> bool {
        let begin = Instant::now();
        let verdict = self.try_out(mutation).unwrap_or_else(Verdict::Unfit);
        let (name, seconds) = (&mutation.name, begin.elapsed().as_secs_f32());
        match &verdict {
            Verdict::Caught(by) => println!("{name:<38} caught  {seconds:5.1} s  {by}"),
            Verdict::CaughtByOthers(by) => {
                println!("{name:<38} caught  {seconds:5.1} s  {by} (not by its case)");
            }
            Verdict::Lives => println!("{name:<38} LIVES   {seconds:5.1} s  {}", mutation.breaks),
            Verdict::Unfit(why) => println!("{name:<38} UNFIT   {seconds:5.1} s  {why}"),
        }
        !matches!(verdict, Verdict::Lives | Verdict::Unfit(_))
    }

    fn try_out(&self, mutation: &Mutation) -> Result<Verdict, Failure> {
        self.scratch.refresh()?;
        self.scratch.apply(&mutation.patch)?;
        if let Some(by) = self.ask_cases(&mutation.cases)? {
            return Ok(Verdict::Caught(by));
        }
        // A mutation for another test may well be one that the suite can't see: ask that test first.
        if let Some(other) = &mutation.test {
            let executable = self.scratch.build(&other.name)?;
            if let Some(by) = judge(self.run_other(&executable, other).go(self.limit)?) {
                return Ok(Verdict::Caught(format!("{}: {by}", other.name)));
            }
        }
        let suite = self.scratch.build(SUITE)?;
        Ok(match judge(self.run(&suite).go(self.limit)?) {
            Some(by) if mutation.cases.is_empty() && mutation.test.is_none() => Verdict::Caught(by),
            Some(by) => Verdict::CaughtByOthers(by),
            None => Verdict::Lives,
        })
    }

    /// Which of these notices first: on the simulation, then on every subject.
    fn ask_cases(&self, cases: &[String]) -> Result<Option<String>, Failure> {
        if cases.is_empty() {
            return Ok(None);
        }
        let suite = self.scratch.build(SUITE)?;
        let named = |name: &&String| cases.iter().any(|case| name.contains(case));
        let simulated = self.cases.iter().filter(|name| name.starts_with(SIMULATED)).filter(named);
        for name in simulated {
            let run = Run { filter: name, exact: true, ..self.run(&suite) };
            if let Some(by) = judge(self.go_briefly(&run)?) {
                return Ok(Some(by));
            }
        }
        for case in cases {
            if let Some(by) = judge(self.go_briefly(&Run { filter: case, ..self.run(&suite) })?) {
                return Ok(Some(by));
            }
        }
        Ok(None)
    }

    /// Runs a case or two, and waits for those that hang no longer than must be.
    fn go_briefly(&self, run: &Run) -> Result<Outcome, Failure> {
        match run.go(SHORT_LIMIT)? {
            Outcome::TimedOut => {}
            outcome => return Ok(outcome),
        }
        // Either it hangs, or the machine is slow, or the case: then the unbroken one is, too.
        let quick = Run { executable: &self.unbroken, ..*run }.go(SHORT_LIMIT / SHORT_PART)?;
        if matches!(quick, Outcome::Passed) { Ok(Outcome::TimedOut) } else { run.go(CASE_LIMIT) }
    }
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
    let breaks = header.next().filter(|line| BROKEN.iter().any(|begin| line.starts_with(begin)));
    let breaks = breaks.ok_or_else(|| format!("{name}: the header must begin with `# Guarantee N: …`"))?;
    let (mut cases, mut test, mut seeds) = (Vec::new(), None, None);
    for line in header {
        match line.split_once(": ") {
            Some(("case", case)) => cases.push(case.to_owned()),
            Some(("test", other)) => test = Some(other.to_owned()),
            Some(("seeds", range)) => seeds = Some(range.to_owned()),
            _ => return Err(format!("{name}: what is `{line}` in the header?").into()),
        }
    }
    let test = test.map(|test: String| {
        let (name, filter) = test.split_once(' ').unwrap_or((&test, ""));
        Other { name: name.to_owned(), filter: filter.to_owned(), seeds }
    });
    Ok(Mutation { name, breaks: breaks.to_owned(), cases, test, patch })
}
