//! Random reads and writes of 4 KiB in a file: a hand-written ring, nbio, and fio where it is installed.

use std::cell::{Cell, RefCell};
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use io_uring::{opcode, types::Fd};
use nbio::{AlignedBuf, EventLoop};

use crate::comparison::{self, Better, Comparison, Metric};
use crate::ring;

const BLOCK: usize = 4096;

#[derive(clap::Args)]
pub struct Args {
    /// Where the file is made; it must have room for it
    #[arg(long, default_value = "/tmp")]
    directory: PathBuf,
    /// The file's size in MiB
    #[arg(long, default_value_t = 256)]
    size: u64,
    /// Operations per measurement
    #[arg(long, default_value_t = 20_000)]
    operations: u64,
    /// How often the whole comparison is repeated
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// Only the loads whose names have this in them ("read page cache", say)
    #[arg(long, default_value = "")]
    only: String,
}

#[derive(Copy, Clone)]
struct Load {
    write: bool,
    direct: bool,
    depth: usize,
    operations: u64,
    blocks: u64,
}

impl Load {
    fn name(&self) -> String {
        let how = if self.direct { "O_DIRECT" } else { "page cache" };
        format!("{} {how} x {}", if self.write { "write" } else { "read" }, self.depth)
    }
}

/// What one measurement took.
struct Taken {
    wall: Duration,
    cpu: Duration,
}

type Way = fn(Load, &File) -> anyhow::Result<Taken>;

const WAYS: [(&str, Way); 2] = [("raw", raw), ("nbio", nbio)];

const METRICS: [Metric; 2] = [
    Metric::new("rate", "operations/s", 0, Better::More).compared(),
    Metric::new("CPU", "us/operation", 2, Better::Less).compared(),
];

const ABOUT: &str = "4 KiB at random places of one file. A hand-written ring with the same set-up is the yardstick; both run in \
    one process, on its one thread, in turn. CPU is that of the whole process, the kernel's workers among it.";

pub fn run(args: &Args) -> anyhow::Result<Comparison> {
    let path = args.directory.join(format!("nbio-bench-{}", std::process::id()));
    let result = compare(args, &path);
    std::fs::remove_file(&path)?;
    result
}

fn compare(args: &Args, path: &Path) -> anyhow::Result<Comparison> {
    std::fs::write(path, vec![7; args.size as usize * 1024 * 1024])?;
    File::open(path)?.sync_all()?;
    let names = WAYS.map(|(name, _)| name.to_owned()).to_vec();
    let mut comparison = Comparison::new("files", "Files", ABOUT, &METRICS, names);
    for load in loads(args) {
        match open(load, path) {
            Ok(file) => measure(&mut comparison, load, &file, args.repeats)?,
            Err(error) => comparison.notes.push(format!("{}: not on this file system: {error}", load.name())),
        }
    }
    comparison.notes.push(fio(path));
    Ok(comparison)
}

fn loads(args: &Args) -> Vec<Load> {
    let mut loads = Vec::new();
    for direct in [false, true] {
        for write in [false, true] {
            for depth in [1, 32, 128] {
                let blocks = args.size * 1024 * 1024 / BLOCK as u64;
                // A device is slower than memory, the more so one at a time.
                let operations = if direct { args.operations / 4 } else { args.operations };
                loads.push(Load { write, direct, depth, operations, blocks });
            }
        }
    }
    loads.retain(|load| load.name().contains(&args.only));
    loads
}

fn measure(comparison: &mut Comparison, load: Load, file: &File, repeats: usize) -> anyhow::Result<()> {
    // Once for nothing: whoever comes first pays for warming up.
    let warm = Load { operations: load.operations / 10, ..load };
    for (_, way) in WAYS {
        way(warm, file)?;
    }
    let described = comparison::Load::new(load.name(), &[]);
    comparison.measure(described, repeats, |contender, _| {
        let taken = WAYS[contender].1(load, file)?;
        let operations = load.operations as f64;
        let figures = [operations / taken.wall.as_secs_f64(), taken.cpu.as_secs_f64() * 1e6 / operations];
        Ok(figures.map(Some).to_vec())
    })
}

fn open(load: Load, path: &Path) -> std::io::Result<File> {
    let flags = if load.direct { libc::O_DIRECT } else { 0 };
    OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)
}

/// The same places for everybody.
struct Places(u64, u64);

impl Places {
    fn next(&mut self) -> u64 {
        // xorshift64.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % self.1 * BLOCK as u64
    }
}

fn filled() -> AlignedBuf {
    let mut buf = AlignedBuf::new(BLOCK, BLOCK);
    buf.resize(BLOCK, 7);
    buf
}

/// CPU time of the whole process, the kernel's workers for it among it.
fn cpu() -> anyhow::Result<Duration> {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF)?;
    let total = [usage.user_time(), usage.system_time()];
    Ok(total.iter().map(|time| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000)).sum())
}

fn timed(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Taken> {
    let (start, before) = (Instant::now(), cpu()?);
    work()?;
    Ok(Taken { wall: start.elapsed(), cpu: cpu()? - before })
}

fn raw(load: Load, file: &File) -> anyhow::Result<Taken> {
    let mut ring = ring::build(1024)?;
    let mut bufs: Vec<AlignedBuf> = (0..load.depth).map(|_| filled()).collect();
    let mut places = Places(88_172_645_463_325_252, load.blocks);
    let (submitter, mut queue, mut completions) = ring.split();
    let fd = Fd(file.as_raw_fd());
    let mut entry = |at: usize| {
        let (memory, length, offset) = (bufs[at].as_mut_ptr(), BLOCK as u32, places.next());
        let entry = match load.write {
            true => opcode::Write::new(fd, memory, length).offset(offset).build(),
            false => opcode::Read::new(fd, memory, length).offset(offset).build(),
        };
        entry.user_data(at as u64)
    };
    timed(|| {
        let mut submitted = 0;
        let mut done = 0;
        for at in 0..load.depth.min(load.operations as usize) {
            // SAFETY: the buffers outlive the ring's use of them: all completions are awaited below.
            unsafe { ring::push(&submitter, &mut queue, &entry(at))? };
            submitted += 1;
        }
        while done < load.operations {
            ring::submit_and_wait(&submitter, &mut queue)?;
            completions.sync();
            for completion in &mut completions {
                ensure!(
                    completion.result() == BLOCK as i32,
                    "an operation ended with {}",
                    completion.result()
                );
                done += 1;
                if submitted < load.operations {
                    submitted += 1;
                    // SAFETY: as above; this buffer's last operation is over.
                    unsafe { ring::push(&submitter, &mut queue, &entry(completion.user_data() as usize))? };
                }
            }
        }
        Ok(())
    })
}

/// What the callbacks share.
struct Course {
    file: nbio::File,
    load: Load,
    places: RefCell<Places>,
    submitted: Cell<u64>,
    done: Cell<u64>,
}

impl Course {
    fn next(self: Rc<Course>, io: &EventLoop, buf: AlignedBuf) {
        if self.submitted.get() == self.load.operations {
            return;
        }
        self.submitted.set(self.submitted.get() + 1);
        let (file, write, offset) = (self.file, self.load.write, self.places.borrow_mut().next());
        let ended = move |_: &mut (), io: &EventLoop, done: nbio::Done<AlignedBuf>| {
            assert_eq!(done.bytes, BLOCK);
            self.done.set(self.done.get() + 1);
            self.next(io, done.buf);
        };
        if write {
            io.write_at(file, buf, offset, ended);
        } else {
            io.read_at(file, buf, offset, ended);
        }
    }
}

fn nbio(load: Load, file: &File) -> anyhow::Result<Taken> {
    let io = EventLoop::new()?;
    let file = io.adopt(file.try_clone()?)?;
    let places = RefCell::new(Places(88_172_645_463_325_252, load.blocks));
    let course = Rc::new(Course { file, load, places, submitted: Cell::new(0), done: Cell::new(0) });
    let bufs: Vec<AlignedBuf> = (0..load.depth).map(|_| filled()).collect();
    let taken = timed(|| {
        bufs.into_iter().for_each(|buf| course.clone().next(&io, buf));
        Ok(io.run()?)
    })?;
    ensure!(course.done.get() == load.operations, "some are missing");
    Ok(taken)
}

/// fio's figure for one of the loads, to set the others beside.
fn fio(path: &Path) -> String {
    let figures = || -> anyhow::Result<String> {
        let arguments = [
            "--name=nbio",
            "--ioengine=io_uring",
            "--rw=randread",
            "--bs=4k",
            "--direct=1",
            "--iodepth=32",
            "--runtime=5",
            "--time_based",
            "--minimal",
        ];
        let output =
            Command::new("fio").args(arguments).arg(format!("--filename={}", path.display())).output()?;
        let text = String::from_utf8(output.stdout)?;
        text.split(';').nth(7).map(str::to_owned).context("fio says something else")
    };
    match figures() {
        Ok(rate) => format!("fio, read O_DIRECT x 32: {rate} operations/s"),
        Err(error) => format!("fio: not measured: {error}"),
    }
}
