//! Pipes, FIFOs, terminals and the process's own streams.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write, pipe};
use std::net::TcpListener as Server;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Socket;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use nbio::{Done, Error, ErrorKind, Half, Operation, Pipe, op};
use rustix::fs::{CWD, Mode, OFlags, fcntl_getfl};
use rustix::pty::{OpenptFlags, grantpt, openpt, unlockpt};

use crate::child;
use crate::hanging::{HOUR, TOO_MUCH, Tracked, idle};
use crate::poll::is_unread;
use crate::support::{Case, Drops, Slot, Subject};
use crate::system;
use crate::wire::{Io, drive, keep, kind, noise, turn};

pub const CASES: &[Case] = &[
    Case { name: "bytes_arrive_in_order", run: bytes_arrive_in_order },
    Case { name: "end_of_stream", run: end_of_stream },
    Case { name: "broken_pipe_without_a_signal", run: broken_pipe_without_a_signal },
    Case { name: "wrong_direction", run: wrong_direction },
    Case { name: "cancelled_receives_lose_nothing", run: cancelled_receives },
    Case { name: "cancelled_sends_tell_their_bytes", run: cancelled_sends },
    Case { name: "removed_ones_leave_it_broken", run: removed_ones },
    Case { name: "no_shutdown", run: no_shutdown },
    Case { name: "closed_gracefully_after_what_is_queued", run: closed_gracefully },
    Case { name: "adopted_and_released", run: adopted_and_released },
    Case { name: "nonblocking_ones_stay_so", run: nonblocking_ones },
    Case { name: "moves_to_another_loop", run: moves_to_another_loop },
    Case { name: "a_terminal_is_read_by_lines", run: terminal_lines },
    Case { name: "a_terminal_that_blocks_is_cancelled", run: terminal_cancelled },
    Case { name: "standard_input_of_every_kind", run: standard_input },
    Case { name: "standard_output_and_error", run: standard_output },
    Case { name: "fifo_waits_for_its_other_end", run: fifo_waits },
    Case { name: "fifo_opened_too_late_is_closed", run: fifo_too_late },
    Case { name: "many_waiting_fifos_hold_up_nothing", run: many_fifos },
    Case { name: "fifo_errors", run: fifo_errors },
];

type Moved = Done<Vec<u8>>;

fn bytes_arrive_in_order(subject: &Subject) {
    let io: Io = subject.io();
    let (reader, writer) = io.pipe().unwrap();
    // Far more than a pipe holds, in pieces of all sizes.
    let sent = noise(300_000, 1);
    let got = Slot::new();
    io.recv_exact(reader, vec![0; 1], 1, keep::<Moved>(&got));
    let parts = [vec![0; 999], vec![0; 100_000]];
    let vectored = Slot::new();
    io.submit(op::RecvVectored::new(reader, parts).exact(100_999), keep::<Done<[Vec<u8>; 2]>>(&vectored));
    io.recv_exact(reader, Vec::with_capacity(199_000), 199_000, keep(&got));
    let ends = Slot::new();
    io.send_all(writer, sent[..70_000].to_vec(), keep::<Moved>(&ends));
    let parts = [sent[70_000..70_001].to_vec(), sent[70_001..].to_vec()];
    let vectored_end = Slot::new();
    io.submit(op::SendVectored::new(writer, parts).all(), keep::<Done<[Vec<u8>; 2]>>(&vectored_end));
    io.run().unwrap();
    assert_eq!((ends.one().bytes, vectored_end.one().bytes), (70_000, 230_000));
    let [first, last]: [Moved; 2] = got.take().try_into().unwrap();
    let middle = vectored.one();
    assert_eq!((first.bytes, middle.bytes, last.bytes), (1, 100_999, 199_000));
    assert!([&first.buf, &middle.buf[0], &middle.buf[1], &last.buf].map(|part| &part[..]).concat() == sent);
}

fn end_of_stream(subject: &Subject) {
    let io: Io = subject.io();
    let (reader, writer) = io.pipe().unwrap();
    let got = Slot::new();
    io.send_all(writer, "abc", move |_, io, _| io.close(writer));
    io.recv_exact(reader, vec![0; 8], 8, keep::<Moved>(&got));
    io.recv(reader, vec![0; 8], keep(&got));
    io.recv(reader, vec![0; 8], keep(&got));
    io.run().unwrap();
    let ends: Vec<_> = got.take().iter().map(|done| (done.bytes, kind(done.result))).collect();
    assert_eq!(ends, [(3, Some(ErrorKind::UnexpectedEof)), (0, None), (0, None)]);
}

/// Documented: no signal, though the program has SIGPIPE at its default, which ends the process.
fn broken_pipe_without_a_signal(subject: &Subject) {
    child::run(subject, "pipes::broken_pipe_without_a_signal", |subject| {
        // SAFETY: the default action is one that may be set; nobody else in this child cares.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        let io: Io = subject.io();
        let (reader, writer) = io.pipe().unwrap();
        let (ends, vectored) = (Slot::new(), Slot::new());
        // One that waits for room when the reader goes.
        io.send_all(writer, vec![7; TOO_MUCH], keep::<Moved>(&ends));
        io.submit(op::Poll::on(reader, op::Interest::READABLE), move |_, io, _| io.close(reader));
        io.run().unwrap();
        let done = ends.one();
        assert_eq!(kind(done.result), Some(ErrorKind::BrokenPipe));
        assert!(done.bytes > 0 && done.bytes < TOO_MUCH);
        io.send(writer, vec![7; 1], keep(&ends));
        io.submit(op::SendVectored::new(writer, [vec![7; 1]]), keep::<Done<[Vec<u8>; 1]>>(&vectored));
        io.run().unwrap();
        assert_eq!(kind(ends.one().result), Some(ErrorKind::BrokenPipe));
        assert_eq!(kind(vectored.one().result), Some(ErrorKind::BrokenPipe));
        // And a socket that is written as a stream of bytes.
        let (near, far) = Socket::pair().unwrap();
        let near: Pipe = io.adopt(OwnedFd::from(near)).unwrap();
        drop(far);
        io.send(near, vec![7; 1], keep(&ends));
        io.run().unwrap();
        assert_eq!(kind(ends.one().result), Some(ErrorKind::BrokenPipe));
    });
}

fn wrong_direction(subject: &Subject) {
    let io: Io = subject.io();
    let (reader, writer) = io.pipe().unwrap();
    let ends = Slot::new();
    io.recv(writer, vec![0; 4], keep::<Moved>(&ends));
    io.send(reader, vec![0; 4], keep(&ends));
    io.recv(reader, Vec::new(), keep(&ends));
    io.run().unwrap();
    let mut ends: Vec<_> = ends.take().iter().map(|done| kind(done.result).unwrap()).collect();
    ends.sort_by_key(|kind| format!("{kind:?}"));
    assert_eq!(ends, [ErrorKind::BadDescriptor, ErrorKind::BadDescriptor, ErrorKind::InvalidInput]);
}

/// Guarantee 3.
fn cancelled_receives(subject: &Subject) {
    for ticks in 0..4 {
        let io: Io = subject.io();
        let (reader, mut writer) = pipe().unwrap();
        let reader: Pipe = io.adopt(OwnedFd::from(reader)).unwrap();
        let got = Slot::new();
        let id = io.recv_exact(reader, vec![0; 8], 8, keep::<Moved>(&got));
        let queued = io.recv(reader, vec![0; 8], keep(&got));
        writer.write_all(b"abc").unwrap();
        turn(&io, ticks);
        assert!(io.cancel(queued) && io.cancel(id));
        drive(&io, || got.len() == 2);
        let ends = got.take();
        assert!(ends.iter().all(|done| kind(done.result) == Some(ErrorKind::Cancelled)));
        let early: usize = ends.iter().map(|done| done.bytes).sum();
        // What it didn't take is still there.
        writer.write_all(b"de").unwrap();
        io.submit(op::Recv::new(reader, vec![0; 8]).exact(5 - early), keep(&got));
        drive(&io, || got.len() == 1);
        let late = got.one();
        let taken: Vec<u8> = ends.iter().flat_map(|done| done.data().to_vec()).collect();
        assert_eq!([&taken[..], late.data()].concat(), b"abcde");
        // A deadline while nothing comes.
        io.submit(op::Recv::new(reader, vec![0; 8]).timeout(Duration::from_millis(1)), keep(&got));
        io.run().unwrap();
        assert_eq!(kind(got.one().result), Some(ErrorKind::TimedOut));
    }
}

/// Guarantees 3 and 7.
fn cancelled_sends(subject: &Subject) {
    let io: Io = subject.io();
    let (mut reader, writer) = pipe().unwrap();
    let writer: Pipe = io.adopt(OwnedFd::from(writer)).unwrap();
    let ends = Slot::new();
    let id = io.send_all(writer, vec![7; TOO_MUCH], keep::<Moved>(&ends));
    io.send(writer, vec![8; 1], keep(&ends));
    turn(&io, 3);
    assert!(io.cancel(id));
    io.run().unwrap();
    let [cut, behind]: [Moved; 2] = ends.take().try_into().unwrap();
    assert_eq!((kind(cut.result), cut.bytes > 0), (Some(ErrorKind::Cancelled), true));
    assert_eq!((kind(behind.result), behind.bytes), (Some(ErrorKind::Cancelled), 0));
    io.send_all(writer, b"end".to_vec(), move |_, io, _| io.close(writer));
    let reading = std::thread::spawn(move || {
        let mut got = Vec::new();
        reader.read_to_end(&mut got).map(|_| got)
    });
    io.run().unwrap();
    let got = reading.join().unwrap().unwrap();
    assert!(got.len() == cut.bytes + 3 && got.ends_with(b"\x07end"));
}

/// Guarantees 4 and 5.
fn removed_ones(subject: &Subject) {
    let io: Io = subject.io();
    let (reader, mut writer) = pipe().unwrap();
    let reader: Pipe = io.adopt(OwnedFd::from(reader)).unwrap();
    let buffers = Drops::new();
    // Removed while nothing has come: nothing is lost.
    let id = io.recv(reader, Tracked::new(8, &buffers), |_, _, _| unreachable!("removed"));
    turn(&io, 2);
    assert!(io.remove(id));
    idle(&io);
    assert_eq!(buffers.count(), 1);
    writer.write_all(b"abc").unwrap();
    let id = io.recv_exact(reader, Tracked::new(8, &buffers), 8, |_, _, _| unreachable!("removed"));
    turn(&io, 3);
    assert!(io.remove(id));
    idle(&io);
    assert_eq!(buffers.count(), 2);
    let got = Slot::new();
    io.recv(reader, vec![0; 8], keep::<Moved>(&got));
    io.run().unwrap();
    assert_eq!(kind(got.one().result), Some(ErrorKind::Broken));
}

fn no_shutdown(subject: &Subject) {
    let io: Io = subject.io();
    let (reader, writer) = io.pipe().unwrap();
    let ends = Slot::new();
    for (pipe, half) in [(reader, Half::Read), (writer, Half::Write), (writer, Half::Both)] {
        io.shutdown(pipe, half, keep::<Result<(), Error>>(&ends));
    }
    io.run().unwrap();
    let unsupported = |end: Result<(), Error>| kind(end) == Some(ErrorKind::Unsupported);
    assert_eq!(ends.take().into_iter().filter(|end| unsupported(*end)).count(), 3);
}

fn closed_gracefully(subject: &Subject) {
    let io: Io = subject.io();
    let (mut reader, writer) = pipe().unwrap();
    let writer: Pipe = io.adopt(OwnedFd::from(writer)).unwrap();
    let (ends, closed) = (Slot::new(), Slot::new());
    io.send_all(writer, vec![7; TOO_MUCH], keep::<Moved>(&ends));
    io.close_gracefully(writer, HOUR, keep(&closed));
    let reading = std::thread::spawn(move || {
        let mut got = Vec::new();
        reader.read_to_end(&mut got).map(|_| got)
    });
    io.run().unwrap();
    assert_eq!(closed.one(), Ok(()));
    assert_eq!((ends.one().result, reading.join().unwrap().unwrap().len()), (Ok(()), TOO_MUCH));
}

fn adopted_and_released(subject: &Subject) {
    let io: Io = subject.io();
    // A file goes on where it stands.
    let mut file = File::open("/proc/self/exe").unwrap();
    let mut head = [0; 16];
    file.read_exact(&mut head).unwrap();
    let mut expected = [0; 16];
    let mut other = File::open("/proc/self/exe").unwrap();
    other.read_exact(&mut head).unwrap();
    other.read_exact(&mut expected).unwrap();
    let stream: Pipe = io.adopt(file).unwrap();
    let got = Slot::new();
    io.recv_exact(stream, vec![0; 8], 8, keep::<Moved>(&got));
    io.recv_exact(stream, vec![0; 8], 8, keep(&got));
    io.run().unwrap();
    let got: Vec<u8> = got.take().iter().flat_map(|done| done.data().to_vec()).collect();
    assert_eq!(got, expected);
    let mut file = File::from(io.release(stream).unwrap());
    let mut next = [0; 4];
    file.read_exact(&mut next).unwrap();
    other.read_exact(&mut head[..4]).unwrap();
    assert_eq!(next, head[..4]);
    // What isn't read or written as a stream.
    for wrong in [File::open("/").unwrap().into(), OwnedFd::from(Server::bind("127.0.0.1:0").unwrap())] {
        assert_eq!(io.adopt::<Pipe>(wrong).unwrap_err().error.kind(), ErrorKind::InvalidInput);
    }
    let (reader, writer) = pipe().unwrap();
    assert_eq!(
        io.adopt::<nbio::TcpStream>(OwnedFd::from(reader)).unwrap_err().error.kind(),
        ErrorKind::BadDescriptor
    );
    assert!(is_unread(writer));
}

/// Documented: the mode is never changed, in either direction.
fn nonblocking_ones(subject: &Subject) {
    let io: Io = subject.io();
    let (reader, mut writer) = pipe().unwrap();
    rustix::io::ioctl_fionbio(&reader, true).unwrap();
    let shared = reader.try_clone().unwrap();
    let reader: Pipe = io.adopt(OwnedFd::from(reader)).unwrap();
    let got = Slot::new();
    io.recv_exact(reader, vec![0; 4], 4, keep::<Moved>(&got));
    turn(&io, 3);
    writer.write_all(b"ab").unwrap();
    turn(&io, 3);
    writer.write_all(b"cd").unwrap();
    io.run().unwrap();
    assert_eq!(got.one().data(), b"abcd");
    assert!(fcntl_getfl(&shared).unwrap().contains(OFlags::NONBLOCK));
    let shared = writer.try_clone().unwrap();
    let writer: Pipe = io.adopt(OwnedFd::from(writer)).unwrap();
    io.send_all(writer, "x", |_, _, _| ());
    io.run().unwrap();
    assert!(!fcntl_getfl(&shared).unwrap().contains(OFlags::NONBLOCK));
}

fn moves_to_another_loop(subject: &Subject) {
    let io: Io = subject.io();
    let (reader, writer) = io.pipe().unwrap();
    let detached = io.detach(reader).unwrap();
    let other: Io = subject.io();
    let reader = other.attach(detached).unwrap();
    io.send_all(writer, "hello", |_, _, _| ());
    io.run().unwrap();
    let got = Slot::new();
    other.recv(reader, vec![0; 8], keep::<Moved>(&got));
    other.run().unwrap();
    assert_eq!(got.one().data(), b"hello");
}

/// A terminal: the side that types and shows, and the side that programs have.
fn terminal() -> (File, OwnedFd) {
    let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | system::TERMINAL).unwrap();
    grantpt(&keyboard).unwrap();
    unlockpt(&keyboard).unwrap();
    let path = system::terminal_path(&keyboard);
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let terminal = rustix::fs::openat(CWD, path.as_c_str(), flags, Mode::empty()).unwrap();
    (File::from(keyboard), terminal)
}

fn terminal_lines(subject: &Subject) {
    let io: Io = subject.io();
    let (mut keyboard, terminal) = terminal();
    let terminal: Pipe = io.adopt(terminal).unwrap();
    let got = Slot::new();
    io.recv(terminal, vec![0; 64], keep::<Moved>(&got));
    turn(&io, 3);
    keyboard.write_all(b"half a line").unwrap();
    turn(&io, 3);
    assert_eq!(got.len(), 0);
    keyboard.write_all(b", and the rest\n").unwrap();
    io.run().unwrap();
    assert_eq!(got.one().data(), b"half a line, and the rest\n");
    io.send_all(terminal, "shown\n", |_, _, done| assert_eq!(done.result, Ok(())));
    io.run().unwrap();
    let mut shown = String::new();
    while !shown.ends_with("shown\r\n") {
        let mut part = [0; 64];
        let bytes = keyboard.read(&mut part).unwrap();
        shown.push_str(std::str::from_utf8(&part[..bytes]).unwrap());
    }
}

/// Guarantee 3: though the system blocks a thread there.
fn terminal_cancelled(subject: &Subject) {
    for ticks in [0, 1, 5] {
        let io: Io = subject.io();
        let (mut keyboard, terminal) = terminal();
        let terminal: Pipe = io.adopt(terminal).unwrap();
        let ends = Slot::new();
        let recv = io.recv(terminal, vec![0; 64], keep::<Moved>(&ends));
        turn(&io, ticks);
        assert!(io.cancel(recv));
        io.run().unwrap();
        assert_eq!(kind(ends.one().result), Some(ErrorKind::Cancelled));
        // ^S stops what is shown.
        keyboard.write_all(b"\x13").unwrap();
        let send = io.send_all(terminal, vec![b'x'; TOO_MUCH], keep(&ends));
        turn(&io, ticks);
        io.tick(Some(Duration::from_millis(2))).unwrap();
        assert!(io.cancel(send));
        io.run().unwrap();
        assert_eq!(kind(ends.one().result), Some(ErrorKind::Cancelled));
        io.submit(op::Recv::new(terminal, vec![0; 64]).timeout(Duration::from_millis(2)), keep(&ends));
        io.run().unwrap();
        assert_eq!(kind(ends.one().result), Some(ErrorKind::TimedOut));
    }
}

/// What the process reads as its standard input, and what is to come of it.
fn inputs() -> Vec<(OwnedFd, &'static [u8])> {
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(b"by pipe").unwrap();
    let (near, mut far) = Socket::pair().unwrap();
    far.write_all(b"by socket").unwrap();
    let path = scratch("input").join("file");
    std::fs::write(&path, "by file").unwrap();
    let file = File::open(&path).unwrap();
    std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    let null = File::open("/dev/null").unwrap();
    vec![
        (reader.into(), b"by pipe"),
        (near.into(), b"by socket"),
        (file.into(), b"by file"),
        (null.into(), b""),
    ]
}

fn standard_input(subject: &Subject) {
    child::run(subject, "pipes::standard_input_of_every_kind", |subject| {
        let io: Io = subject.io();
        for (input, expected) in inputs() {
            rustix::stdio::dup2_stdin(&input).unwrap();
            let before = fcntl_getfl(&input).unwrap();
            drop(input);
            let stdin = io.stdin().unwrap();
            let got = Slot::new();
            io.recv(stdin, vec![0; 32], keep::<Moved>(&got));
            io.run().unwrap();
            let done = got.one();
            assert_eq!((done.data(), done.result), (expected, Ok(())));
            // To its end, then what it was is as before.
            io.recv(stdin, vec![0; 32], keep(&got));
            io.run().unwrap();
            assert_eq!((got.one().bytes, fcntl_getfl(std::io::stdin()).unwrap()), (0, before));
            io.close(stdin);
            io.run().unwrap();
        }
        let (_keyboard, terminal) = terminal();
        rustix::stdio::dup2_stdin(&terminal).unwrap();
        let got = Slot::new();
        let stdin = io.stdin().unwrap();
        io.submit(op::Recv::new(stdin, vec![0; 4]).timeout(Duration::from_millis(5)), keep::<Moved>(&got));
        io.run().unwrap();
        assert_eq!(kind(got.one().result), Some(ErrorKind::TimedOut));
        rustix::stdio::dup2_stdin(File::open("/").unwrap()).unwrap();
        let error = io.stdin().unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::InvalidInput, op::Kind::Standard));
    });
}

fn standard_output(subject: &Subject) {
    child::run(subject, "pipes::standard_output_and_error", |subject| {
        let io: Io = subject.io();
        let (mut reader, writer) = pipe().unwrap();
        // What the child says goes on afterwards.
        let (said, complained) =
            (rustix::io::dup(std::io::stdout()).unwrap(), rustix::io::dup(std::io::stderr()).unwrap());
        rustix::stdio::dup2_stdout(&writer).unwrap();
        rustix::stdio::dup2_stderr(&writer).unwrap();
        drop(writer);
        let (stdout, stderr) = (io.stdout().unwrap(), io.stderr().unwrap());
        rustix::stdio::dup2_stdout(&said).unwrap();
        rustix::stdio::dup2_stderr(&complained).unwrap();
        io.send_all(stdout, "said\n", move |_, io, done| {
            assert_eq!(done.result, Ok(()));
            io.close(stdout);
            io.send_all(stderr, "complained\n", move |_, io, _| io.close(stderr));
        });
        io.run().unwrap();
        let mut got = String::new();
        reader.read_to_string(&mut got).unwrap();
        assert_eq!(got, "said\ncomplained\n");
    });
}

/// A directory of this case's own.
pub fn scratch(name: &str) -> PathBuf {
    let thread = format!("{:?}", std::thread::current().id());
    let digits: String = thread.chars().filter(char::is_ascii_digit).collect();
    let own = std::env::temp_dir().join(format!("nbio-{name}-{}-{digits}", std::process::id()));
    // Numbers of processes come round again, and one that was killed has left its directory.
    let mut paths = std::iter::once(own.clone()).chain((1..100).map(|n| own.with_extension(n.to_string())));
    paths.find(|path| std::fs::create_dir(path).is_ok()).expect("a directory can be made")
}

fn make_fifo(directory: &std::path::Path) -> PathBuf {
    let path = directory.join("fifo");
    system::make_fifo(&path);
    path
}

/// A thread that opens one end of a FIFO, and waits for the other one.
fn opening(path: &Path, options: &OpenOptions) -> JoinHandle<File> {
    let (path, options) = (path.to_owned(), options.clone());
    std::thread::spawn(move || options.open(path).unwrap())
}

fn fifo_waits(subject: &Subject) {
    let directory = scratch("fifo-waits");
    let path = make_fifo(&directory);
    let io: Io = subject.io();
    let opened = Slot::new();
    io.open_fifo(&path, Half::Read, keep::<Result<Pipe, Error>>(&opened));
    io.tick(Some(Duration::from_millis(3))).unwrap();
    turn(&io, 3);
    assert_eq!(opened.len(), 0);
    let other = opening(&path, File::options().write(true));
    drive(&io, || opened.len() > 0);
    let (reader, mut writer) = (opened.one().unwrap(), other.join().unwrap());
    let got = Slot::new();
    io.recv(reader, vec![0; 8], keep::<Moved>(&got));
    turn(&io, 3);
    assert_eq!(got.len(), 0);
    writer.write_all(b"hello").unwrap();
    drive(&io, || got.len() > 0);
    assert_eq!(got.one().data(), b"hello");
    // The end comes while somebody waits.
    io.recv(reader, vec![0; 8], keep(&got));
    turn(&io, 3);
    assert_eq!(got.len(), 0);
    drop(writer);
    drive(&io, || got.len() > 0);
    assert_eq!(got.one().bytes, 0);
    io.close(reader);
    io.run().unwrap();
    // The other way round, and both ends at once.
    io.open_fifo(&path, Half::Write, keep(&opened));
    turn(&io, 3);
    let other = opening(&path, File::options().read(true));
    drive(&io, || opened.len() > 0);
    let (writer, mut reader) = (opened.one().unwrap(), other.join().unwrap());
    io.send_all(writer, "to std", move |_, io, _| io.close(writer));
    io.run().unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "to std");
    io.open_fifo(&path, Half::Both, keep(&opened));
    io.run().unwrap();
    let both = opened.one().unwrap();
    io.send_all(both, "round", |_, _, _| ());
    io.recv(both, vec![0; 8], keep(&got));
    io.run().unwrap();
    assert_eq!(got.one().data(), b"round");
    let flags = fcntl_getfl(io.duplicate(both).unwrap()).unwrap();
    assert!(!flags.contains(OFlags::NONBLOCK));
    std::fs::remove_dir_all(directory).unwrap();
}

/// Guarantees 3 and 4: called back at once, and nothing stays open.
fn fifo_too_late(subject: &Subject) {
    let directory = scratch("fifo-late");
    let path = make_fifo(&directory);
    for ticks in 0..4 {
        for remove in [false, true] {
            let io: Io = subject.io();
            let opened = Slot::new();
            let id = io.open_fifo(&path, Half::Read, keep::<Result<Pipe, Error>>(&opened));
            turn(&io, ticks);
            assert!(if remove { io.remove(id) } else { io.cancel(id) });
            if !remove {
                turn(&io, 1);
                assert_eq!(kind(opened.one()), Some(ErrorKind::Cancelled));
            }
            idle(&io);
            // Nobody reads there: opening for writing without waiting says so.
            let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let error = rustix::fs::openat(CWD, &path, flags, Mode::empty()).unwrap_err();
            assert_eq!(error, rustix::io::Errno::NXIO);
        }
    }
    let io: Io = subject.io();
    let opened = Slot::new();
    io.submit(op::OpenFifo::new(&path, Half::Write).timeout(Duration::from_millis(2)), keep(&opened));
    io.run().unwrap();
    assert_eq!(kind::<Pipe>(opened.one()), Some(ErrorKind::TimedOut));
    // The system may be told after the callback; until it has let go, that end is a writer to others.
    idle(&io);
    // And with the loop.
    io.open_fifo(&path, Half::Read, |_, _, _| unreachable!("the loop is dropped"));
    turn(&io, 2);
    drop(io);
    std::fs::remove_dir_all(directory).unwrap();
}

/// Documented: up to 64 of them.
fn many_fifos(subject: &Subject) {
    let directory = scratch("fifo-many");
    let (path, other) = (make_fifo(&directory), directory.join("other"));
    system::make_fifo(&other);
    let io: Io = subject.io();
    let ids: Vec<_> = (0..40).map(|_| io.open_fifo(&path, Half::Read, |_, _, _| ())).collect();
    turn(&io, 3);
    let opened = Slot::new();
    io.open_fifo(&other, Half::Read, keep::<Result<Pipe, Error>>(&opened));
    io.open_fifo(&other, Half::Write, keep(&opened));
    drive(&io, || opened.len() == 2);
    assert!(opened.take().iter().all(Result::is_ok));
    assert!(ids.into_iter().all(|id| io.cancel(id)));
    idle(&io);
    std::fs::remove_dir_all(directory).unwrap();
}

fn fifo_errors(subject: &Subject) {
    let io: Io = subject.io();
    let opened = Slot::new();
    for path in ["/nowhere/at/all", "/", "with\0zero"] {
        io.open_fifo(path, Half::Write, keep::<Result<Pipe, Error>>(&opened));
        io.run().unwrap();
    }
    let ends = opened.take().into_iter().map(|end| end.unwrap_err());
    let ends: Vec<_> = ends.map(|error| (error.kind(), error.operation())).collect();
    let kinds = [ErrorKind::NotFound, ErrorKind::IsADirectory, ErrorKind::InvalidInput];
    assert_eq!(ends, kinds.map(|kind| (kind, op::Kind::OpenFifo)));
}
