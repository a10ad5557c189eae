//! Copies a file or a tree, eight files at a time. `cargo run --release --example copy [--check] FROM TO`: the copy is TO
//! itself, also if FROM is a directory; `--check` reads both sides again and compares their hashes.
//!
//! Files are copied atomically: whatever stops this program, Ctrl-C say, nothing half copied has its final name, and
//! running it again does the rest. Symbolic links are copied as links, directories get the source's permissions as far as
//! umask(2) lets them. What can't be copied is told, the rest is copied all the same, and the exit code is 1.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use nbio::{ErrorKind, Event, EventLoop, FileType, op};

const AT_A_TIME: usize = 8;

/// Something that is to be copied, and where to.
#[derive(Clone)]
struct Job {
    from: PathBuf,
    to: PathBuf,
}

/// What all callbacks share.
struct Copier {
    check: bool,
    waiting: Vec<Job>,
    under_way: usize,
    links: usize,
    files: u64,
    bytes: u64,
    failures: u64,
    bar: ProgressBar,
}

type Io = EventLoop<Copier>;
type Outcome = Result<(), Box<dyn Error>>;

fn main() -> ExitCode {
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failures) => {
            eprintln!("copy: {failures} not copied");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("copy: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Says how much could not be copied.
fn run() -> Result<u64, Box<dyn Error>> {
    let (check, job) = arguments()?;
    if copy_is_inside(&job) {
        return Err(format!("{} is inside of {}", job.to.display(), job.from.display()).into());
    }
    let style = "{elapsed} [{wide_bar}] {bytes} of {total_bytes}, {bytes_per_sec}";
    let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template(style)?);
    let mut copier =
        Copier { check, waiting: vec![job], under_way: 0, links: 0, files: 0, bytes: 0, failures: 0, bar };
    let io = EventLoop::new()?;
    copier.begin(&io);
    io.run_with(&mut copier)?;
    copier.bar.abandon();
    let checked = if check { " and checked" } else { "" };
    println!("{} files copied{checked}, {} bytes", copier.files, copier.bytes);
    Ok(copier.failures)
}

fn arguments() -> Result<(bool, Job), Box<dyn Error>> {
    let mut check = false;
    let mut paths = Vec::new();
    for argument in std::env::args_os().skip(1) {
        match argument.to_str() {
            Some("--check") => check = true,
            Some(option) if option.starts_with("--") => return Err(format!("what is {option}?").into()),
            _ => paths.push(PathBuf::from(argument)),
        }
    }
    let [from, to] = <[PathBuf; 2]>::try_from(paths).map_err(|_| "usage: copy [--check] FROM TO")?;
    Ok((check, Job { from, to }))
}

/// A directory copied into itself would never come to an end.
fn copy_is_inside(job: &Job) -> bool {
    let parent = job.to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let to = job.to.canonicalize().or_else(|_| parent.canonicalize());
    // What can't be found is told when it is copied.
    let (Ok(from), Ok(to)) = (job.from.canonicalize(), to) else { return false };
    from.is_dir() && to.starts_with(from)
}

impl Copier {
    /// Begins as much as may be under way.
    fn begin(&mut self, io: &Io) {
        while self.under_way < AT_A_TIME
            && let Some(job) = self.waiting.pop()
        {
            self.under_way += 1;
            look(io, job);
        }
    }

    /// A file is copied, and if it was to be, compared.
    fn done_file(&mut self, io: &Io, job: &Job, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
        self.done(io, job, Ok(()));
    }

    /// One is over.
    fn done(&mut self, io: &Io, job: &Job, outcome: Outcome) {
        if let Err(error) = outcome {
            self.failures += 1;
            let Job { from, to } = job;
            self.bar.suspend(|| eprintln!("copy: {} to {}: {error}", from.display(), to.display()));
        }
        self.under_way -= 1;
        self.begin(io);
    }
}

/// Looks what it is.
fn look(io: &Io, job: Job) {
    io.submit(op::Stat::new(&job.from).follow(false), move |copier: &mut Copier, io, told| match told {
        Err(error) => copier.done(io, &job, Err(error.into())),
        Ok(told) => match told.file_type {
            FileType::File => {
                copier.bar.inc_length(told.size);
                copy_file(io, job);
            }
            FileType::Directory => make_directory(io, job, told.mode),
            FileType::Symlink => read_link(io, job),
            _ => copier.done(io, &job, Err("neither a file, a directory nor a link".into())),
        },
    });
}

fn copy_file(io: &Io, job: Job) {
    let mut copied = 0;
    let copy = op::CopyFile::new(&job.from, &job.to).progress();
    io.submit_many(copy, move |copier: &mut Copier, io, event| match event {
        Event::Item(bytes) => {
            copier.bar.inc(bytes - copied);
            copied = bytes;
        }
        Event::End(Ok(())) => match copier.check {
            true => compare(io, job.clone(), copied),
            false => copier.done_file(io, &job, copied),
        },
        Event::End(Err(error)) => copier.done(io, &job, Err(error.into())),
    });
}

/// On the thread pool: computing hashes would hold up the loop.
fn compare(io: &Io, job: Job, bytes: u64) {
    let Job { from, to } = job.clone();
    let compare = move || Ok(hash(&from)? == hash(&to)?);
    io.run_blocking(compare, move |copier: &mut Copier, io, same: Result<std::io::Result<bool>, _>| {
        let error: Box<dyn Error> = match same {
            Ok(Ok(true)) => return copier.done_file(io, &job, bytes),
            Ok(Ok(false)) => "the copy is different".into(),
            Ok(Err(error)) => error.into(),
            Err(error) => error.into(),
        };
        copier.done(io, &job, Err(error));
    });
}

fn hash(path: &Path) -> std::io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(std::fs::File::open(path)?)?;
    Ok(hasher.finalize())
}

fn make_directory(io: &Io, job: Job, mode: u32) {
    // Whatever the source's are, this program writes to it.
    let make = op::Mkdir::new(&job.to).mode(mode | 0o700);
    io.submit(make, move |copier: &mut Copier, io, made| match made {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => use_directory(io, job, error),
        Err(error) => copier.done(io, &job, Err(error.into())),
        Ok(()) => read_directory(io, job),
    });
}

/// One that is there already will do, but not a link to one somewhere else.
fn use_directory(io: &Io, job: Job, error: nbio::Error) {
    io.submit(op::Stat::new(&job.to).follow(false), move |copier: &mut Copier, io, told| match told {
        Ok(told) if told.file_type == FileType::Directory => read_directory(io, job),
        _ => copier.done(io, &job, Err(error.into())),
    });
}

fn read_directory(io: &Io, job: Job) {
    io.read_dir(job.from.clone(), move |copier, io, entries| match entries {
        Err(error) => copier.done(io, &job, Err(error.into())),
        Ok(entries) => {
            let jobs = entries
                .into_iter()
                .map(|entry| Job { from: job.from.join(&entry.name), to: job.to.join(&entry.name) });
            copier.waiting.extend(jobs);
            copier.done(io, &job, Ok(()));
        }
    });
}

fn read_link(io: &Io, job: Job) {
    io.submit(op::ReadLink::new(&job.from), move |copier: &mut Copier, io, target| match target {
        Err(error) => copier.done(io, &job, Err(error.into())),
        Ok(target) => make_link(copier, io, job, target),
    });
}

/// Under another name first: there may be one already, which is replaced.
fn make_link(copier: &mut Copier, io: &Io, job: Job, target: PathBuf) {
    copier.links += 1;
    let name = format!(".copy-link-{}-{}", std::process::id(), copier.links);
    let temporary = job.to.with_file_name(name);
    let make = op::Symlink::new(target, &temporary);
    io.submit(make, move |copier: &mut Copier, io, made| match made {
        Err(error) => copier.done(io, &job, Err(error.into())),
        Ok(()) => give_name(io, temporary, job),
    });
}

fn give_name(io: &Io, temporary: PathBuf, job: Job) {
    io.rename(temporary.clone(), job.to.clone(), move |copier, io, renamed| match renamed {
        Ok(()) => copier.done(io, &job, Ok(())),
        Err(error) => {
            io.unlink(&temporary, move |copier, io, _| copier.done(io, &job, Err(error.into())));
        }
    });
}
