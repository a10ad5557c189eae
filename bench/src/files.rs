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

use crate::{measure, ring};

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
}

#[derive(Copy, Clone)]
struct Load {
    write: bool,
    direct: bool,
    depth: usize,
    operations: u64,
    blocks: u64,
}

/// What one measurement took.
struct Taken {
    wall: Duration,
    cpu: Duration,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    println!("{}\n", measure::machine()?);
    let path = args.directory.join(format!("nbio-bench-{}", std::process::id()));
    let result = compare(args, &path);
    std::fs::remove_file(&path)?;
    result
}

fn compare(args: &Args, path: &Path) -> anyhow::Result<()> {
    std::fs::write(path, vec![7; args.size as usize * 1024 * 1024])?;
    File::open(path)?.sync_all()?;
    println!(
        "{:<28} {:>12} {:>12} {:>24} {:>24}",
        "4 KiB, random", "raw ops/s", "nbio ops/s", "x raw, rate", "x raw, CPU"
    );
    for direct in [false, true] {
        for write in [false, true] {
            for depth in [1, 32, 128] {
                let blocks = args.size * 1024 * 1024 / BLOCK as u64;
                // A device is slower than memory, the more so one at a time.
                let operations = if direct { args.operations / 4 } else { args.operations };
                line(Load { write, direct, depth, operations, blocks }, path, args.repeats)?;
            }
        }
    }
    fio(path);
    Ok(())
}

fn line(load: Load, path: &Path, repeats: usize) -> anyhow::Result<()> {
    let how = if load.direct { "O_DIRECT" } else { "page cache" };
    let what = format!("{} {how} x {}", if load.write { "write" } else { "read" }, load.depth);
    let Ok(file) = open(load, path) else {
        println!("{what:<28} not on this file system");
        return Ok(());
    };
    let (mut rates, mut costs, mut raws, mut nbios) = (vec![], vec![], vec![], vec![]);
    // Once for nothing: whoever comes first pays for warming up.
    let warm = Load { operations: load.operations / 10, ..load };
    raw(warm, &file)?;
    nbio(warm, &file)?;
    for repeat in 0..repeats {
        let (a, b) = if repeat % 2 == 0 {
            let a = raw(load, &file)?;
            (a, nbio(load, &file)?)
        } else {
            let b = nbio(load, &file)?;
            (raw(load, &file)?, b)
        };
        rates.push(a.wall.as_secs_f64() / b.wall.as_secs_f64());
        costs.push(b.cpu.as_secs_f64() / a.cpu.as_secs_f64());
        raws.push(load.operations as f64 / a.wall.as_secs_f64());
        nbios.push(load.operations as f64 / b.wall.as_secs_f64());
    }
    let [(raw, ..), (nbio, ..)] = [spread(raws), spread(nbios)];
    let [rate, cost] = [spread(rates), spread(costs)]
        .map(|(median, low, high)| format!("{median:.2} ({low:.2}..{high:.2})"));
    println!("{what:<28} {raw:>12.0} {nbio:>12.0} {rate:>24} {cost:>24}");
    Ok(())
}

/// Median, least and most.
fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
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
fn fio(path: &Path) {
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
        Ok(rate) => println!("\nfio, read O_DIRECT x 32: {rate} ops/s"),
        Err(error) => println!("\nfio: not measured ({error})"),
    }
}
