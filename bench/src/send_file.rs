//! `bench send-file`: a file in the page cache to a process that receives it, by a loop of sendfile(2) and by nbio.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nbio::EventLoop;
use nix::time::{ClockId, clock_gettime};

use crate::comparison::{Better, Comparison, Load, Metric};
use crate::measure;
use crate::process::{Place, Process};

#[derive(clap::Args)]
pub struct Args {
    /// Size of the file in MiB
    #[arg(long, default_value_t = 1024)]
    size: u64,
    /// Times to measure both ways
    #[arg(long, default_value_t = 7)]
    repeats: usize,
    /// The core the receiver runs on
    #[arg(long, default_value_t = 0)]
    receiver_core: usize,
    /// The core the sender runs on
    #[arg(long, default_value_t = 1)]
    sender_core: usize,
}

/// What the receiving process is told.
#[derive(clap::Args)]
pub struct SinkArgs {
    #[arg(long)]
    port: u16,
    #[command(flatten)]
    place: Place,
}

type Send = fn(&File, TcpStream, u64) -> anyhow::Result<()>;

const WAYS: [(&str, Send); 2] = [("sendfile(2)", by_system), ("nbio", by_nbio)];

const METRICS: [Metric; 2] = [
    Metric::new("rate", "GB/s", 2, Better::More).compared(),
    Metric::new("sender's CPU", "ms", 0, Better::Less).compared(),
];

const ABOUT: &str = "A file in the page cache, from one core to a process that receives it on the other.";

pub fn run(args: &Args) -> anyhow::Result<Comparison> {
    ensure!(args.size > 0, "--size must be at least 1");
    let size = args.size << 20;
    let file = scratch(size)?;
    measure::pin_to_core(args.sender_core)?;
    let names = WAYS.map(|(name, _)| name.to_owned()).to_vec();
    let mut comparison = Comparison::new("send-file", "A file to a socket", ABOUT, &METRICS, names);
    comparison.measure(Load::new(format!("{} MiB", args.size), &[]), args.repeats, |contender, _| {
        let (elapsed, cpu) = measure_once(&file, size, args.receiver_core, WAYS[contender].1)?;
        Ok([size as f64 / elapsed.as_secs_f64() / 1e9, cpu.as_secs_f64() * 1e3].map(Some).to_vec())
    })?;
    Ok(comparison)
}

/// A file that nobody can see, in the page cache.
fn scratch(size: u64) -> anyhow::Result<File> {
    let path = std::env::temp_dir().join(format!("nbio-bench-send-file-{}", std::process::id()));
    let options = File::options().read(true).write(true).create_new(true).to_owned();
    let mut file = options.open(&path).with_context(|| path.display().to_string())?;
    std::fs::remove_file(&path)?;
    let block: Vec<u8> = (0..1 << 20).map(|at: u32| at as u8).collect();
    for _ in 0..size >> 20 {
        file.write_all(&block)?;
    }
    Ok(file)
}

fn measure_once(file: &File, size: u64, core: usize, send: Send) -> anyhow::Result<(Duration, Duration)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let mut sink = Process::start(core, &["sink".to_owned(), "--port".into(), port.to_string()])?;
    let (stream, _) = listener.accept()?;
    let (begin, cpu) = (Instant::now(), cpu_time()?);
    send(file, stream, size)?;
    let (elapsed, cpu) = (begin.elapsed(), cpu_time()? - cpu);
    let received: u64 = sink.line()?.parse()?;
    ensure!(received == size, "{received} of {size} bytes were received");
    sink.finish()?;
    Ok((elapsed, cpu))
}

fn cpu_time() -> anyhow::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

fn by_system(file: &File, stream: TcpStream, size: u64) -> anyhow::Result<()> {
    let mut offset: libc::off_t = 0;
    while (offset as u64) < size {
        // As much as a call takes, which is what its users do.
        let rest = (size - offset as u64) as usize;
        // SAFETY: plain numbers, and an offset that outlives the call.
        let sent = unsafe { libc::sendfile(stream.as_raw_fd(), file.as_raw_fd(), &raw mut offset, rest) };
        ensure!(sent > 0, "sendfile: {}", std::io::Error::last_os_error());
    }
    Ok(())
}

fn by_nbio(file: &File, stream: TcpStream, size: u64) -> anyhow::Result<()> {
    let io = EventLoop::new()?;
    let stream: nbio::TcpStream = io.adopt(stream)?;
    let file: nbio::File = io.adopt(file.try_clone()?)?;
    io.send_file(file, stream, move |_, io, sent| {
        assert_eq!((sent.bytes, sent.result), (size, Ok(())));
        io.close(stream);
    });
    Ok(io.run()?)
}

/// Receives until the end of the stream.
pub fn sink(args: &SinkArgs) -> anyhow::Result<()> {
    args.place.take()?;
    let mut stream = TcpStream::connect(("127.0.0.1", args.port))?;
    let (mut buffer, mut received) = (vec![0; 256 << 10], 0);
    loop {
        match stream.read(&mut buffer)? {
            0 => break,
            bytes => received += bytes as u64,
        }
    }
    println!("{received}");
    Ok(())
}
