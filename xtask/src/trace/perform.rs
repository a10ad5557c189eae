//! One of each operation.

use std::cell::Cell;
use std::io::Write;
use std::rc::Rc;

use nbio::{Event, EventLoop, File, Operation, TcpListener, TcpStream, op};

use super::MARK;
use crate::Failure;

/// Does one operation of the kind with this name, between two marks in the trace.
pub fn perform(operation: &str) -> Result<bool, Failure> {
    let io = EventLoop::new()?;
    match operation {
        "Accept" | "AcceptMany" | "Connect" | "Close" => connections(&io, operation)?,
        "Recv" | "RecvMany" | "RecvVectored" | "Send" | "SendVectored" => streams(&io, operation)?,
        "RecvFrom" | "RecvMsg" | "SendTo" | "SendDatagram" | "SendMsg" => datagrams(&io, operation)?,
        "Poll" | "PollMany" => readiness(&io, operation)?,
        "ConnectUnix" => local(&io)?,
        "RecvFds" | "SendFds" => passing(&io, operation)?,
        "RecvRecord" | "RecvRecordVectored" | "SendRecord" | "SendRecordVectored" => records(&io, operation)?,
        "Open" | "OpenFifo" | "Stat" => paths(&io, operation)?,
        "ReadAt" | "ReadAtVectored" | "WriteAt" | "WriteAtVectored" => positions(&io, operation)?,
        "Read" | "Write" | "Seek" => cursor(&io, operation)?,
        "Rename" | "Unlink" | "Mkdir" | "Rmdir" | "Link" | "Symlink" => names(&io, operation)?,
        "Fsync" | "Fdatasync" | "Truncate" | "Allocate" => files(&io, operation)?,
        other => return Err(format!("how to do {other} is not written here yet").into()),
    }
    Ok(true)
}

/// Runs one operation to its end between two marks. What it ended with is dropped behind the second.
fn between_marks<O: Operation>(io: &EventLoop, operation: O) -> O::Output {
    let ended = Rc::new(Cell::new(None));
    let end = ended.clone();
    let mark = marker();
    mark();
    io.submit(operation, move |_, _, output| end.set(Some(output)));
    io.run().expect("the loop runs");
    mark();
    ended.take().expect("run returns when the operation has ended")
}

/// What writes a mark.
fn marker() -> impl Fn() {
    // Open for reading only, so that writing fails.
    let nowhere = std::fs::File::open("/dev/null").expect("/dev/null is there");
    move || drop((&nowhere).write_all(MARK.as_bytes()).expect_err("it is open for reading only"))
}

fn readiness(io: &EventLoop, operation: &str) -> Result<(), Failure> {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    if operation == "Poll" {
        between_marks(io, op::Poll::new(&socket, op::Interest::WRITABLE))?;
        return Ok(());
    }
    let mark = marker();
    mark();
    io.submit_many(op::PollMany::new(&socket, op::Interest::WRITABLE), |_, io, event| {
        if let Event::Item(_) = event {
            io.stop();
        }
    });
    io.run()?;
    mark();
    Ok(())
}

fn connections(io: &EventLoop, operation: &str) -> Result<(), Failure> {
    let listener: TcpListener = io.listen_tcp(([127, 0, 0, 1], 0))?;
    let address = io.local_address(listener)?;
    match operation {
        "Accept" => {
            let _client = std::net::TcpStream::connect(address)?;
            between_marks(io, op::Accept::new(listener))?;
        }
        "AcceptMany" => {
            let _client = std::net::TcpStream::connect(address)?;
            let mark = marker();
            mark();
            io.submit_many(op::AcceptMany::new(listener), |_, io, event| {
                if let Event::Item(_) = event {
                    io.stop();
                }
            });
            io.run()?;
            mark();
        }
        "Connect" => {
            between_marks(io, op::Connect::new(address))?;
        }
        _ => between_marks(io, op::Close::new(listener))?,
    }
    Ok(())
}

fn streams(io: &EventLoop, operation: &str) -> Result<(), Failure> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let mut peer = std::net::TcpStream::connect(listener.local_addr()?)?;
    let stream: TcpStream = io.adopt(listener.accept()?.0)?;
    peer.write_all(b"hello")?;
    match operation {
        "Recv" => between_marks(io, op::Recv::new(stream, vec![0; 64])).result?,
        "RecvMany" => {
            let pool = io.buffer_pool(4, 64)?;
            let mark = marker();
            mark();
            io.recv_many(stream, &pool, |_, io, event| {
                if let Event::Item(_) = event {
                    io.stop();
                }
            });
            io.run()?;
            mark();
        }
        "RecvVectored" => {
            between_marks(io, op::RecvVectored::new(stream, [vec![0; 2], vec![0; 64]])).result?
        }
        "Send" => between_marks(io, op::Send::new(stream, "hello")).result?,
        _ => between_marks(io, op::SendVectored::new(stream, ["hel", "lo"])).result?,
    }
    Ok(())
}

fn datagrams(io: &EventLoop, operation: &str) -> Result<(), Failure> {
    let socket = io.bind_udp(([127, 0, 0, 1], 0))?;
    let peer = std::net::UdpSocket::bind("127.0.0.1:0")?;
    let to = peer.local_addr()?;
    peer.connect(io.local_address(socket)?)?;
    peer.send(b"hello")?;
    match operation {
        "RecvFrom" => between_marks(io, op::RecvFrom::new(socket, vec![0; 64])).result?,
        "RecvMsg" => between_marks(io, op::RecvMsg::new(socket, [vec![0; 2], vec![0; 64]])).result?,
        "SendTo" => between_marks(io, op::SendTo::new(socket, "hello", to)).result?,
        "SendMsg" => between_marks(io, op::SendMsg::new(socket, ["hel", "lo"]).to(to)).result?,
        _ => {
            io.connect_udp(socket, to)?;
            between_marks(io, op::SendDatagram::new(socket, "hello")).result?;
        }
    }
    Ok(())
}

fn local(io: &EventLoop) -> Result<(), Failure> {
    let address = nbio::UnixAddress::abstract_name(format!("nbio-trace-{}", std::process::id()));
    let _listener = io.listen_unix(address.clone())?;
    between_marks(io, op::ConnectUnix::new(address)).map(drop)?;
    Ok(())
}

fn passing(io: &EventLoop, operation: &str) -> Result<(), Failure> {
    let (one, other) = io.unix_pair()?;
    let file = std::fs::File::open("/dev/null")?;
    let send = op::SendFds::new(one, "hello", vec![file.into()]);
    if operation == "SendFds" {
        return Ok(between_marks(io, send).result?);
    }
    io.submit(send, |_, _, _| ());
    io.run()?;
    Ok(between_marks(io, op::RecvFds::new(other, vec![0; 64], 1)).result?)
}

fn records(io: &EventLoop, operation: &str) -> Result<(), Failure> {
    let (one, other) = io.unix_seqpacket_pair()?;
    match operation {
        "SendRecord" => return Ok(between_marks(io, op::SendRecord::new(one, "hello")).result?),
        "SendRecordVectored" => {
            return Ok(between_marks(io, op::SendRecordVectored::new(one, ["hel", "lo"])).result?);
        }
        _ => io.send_record(one, "hello", |_, _, _| ()),
    };
    io.run()?;
    match operation {
        "RecvRecord" => Ok(between_marks(io, op::RecvRecord::new(other, vec![0; 64])).result?),
        _ => {
            let bufs = [vec![0; 2], vec![0; 64]];
            Ok(between_marks(io, op::RecvRecordVectored::new(other, bufs)).result?)
        }
    }
}

fn paths(io: &EventLoop, operation: &str) -> Result<(), Failure> {
    match operation {
        // A device: a FIFO would wait.
        "OpenFifo" => between_marks(io, op::OpenFifo::new("/dev/null", nbio::Half::Read)).map(drop)?,
        "Open" => between_marks(io, op::Open::new("/dev/null")).map(drop)?,
        _ => between_marks(io, op::Stat::new("/dev/null")).map(drop)?,
    }
    Ok(())
}

fn names(io: &EventLoop, operation: &str) -> Result<(), Failure> {
    let folder = std::env::temp_dir().join(format!("nbio-trace-names-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let (one, two) = (folder.join("one"), folder.join("two"));
    if operation == "Rmdir" {
        std::fs::create_dir(&one)?;
    } else {
        std::fs::write(&one, b"hello")?;
    }
    let done = match operation {
        "Rename" => between_marks(io, op::Rename::new(one, two)),
        "Unlink" => between_marks(io, op::Unlink::new(one)),
        "Mkdir" => between_marks(io, op::Mkdir::new(two)),
        "Rmdir" => between_marks(io, op::Rmdir::new(one)),
        "Link" => between_marks(io, op::Link::new(one, two)),
        _ => between_marks(io, op::Symlink::new("one", two)),
    };
    std::fs::remove_dir_all(&folder)?;
    Ok(done?)
}

fn cursor(io: &EventLoop, operation: &str) -> Result<(), Failure> {
    let file = scratch_file(io)?;
    match operation {
        "Read" => between_marks(io, op::Read::new(file, vec![0; 64])).result?,
        "Write" => between_marks(io, op::Write::new(file, "hello")).result?,
        _ => between_marks(io, op::Seek::new(file, std::io::SeekFrom::End(0))).map(drop)?,
    }
    Ok(())
}

/// A file that is nowhere in the file system any more.
fn scratch_file(io: &EventLoop) -> Result<File, Failure> {
    let path = std::env::temp_dir().join(format!("nbio-trace-{}", std::process::id()));
    std::fs::write(&path, b"hello")?;
    let file = std::fs::File::options().read(true).write(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(io.adopt(file)?)
}

fn positions(io: &EventLoop, operation: &str) -> Result<(), Failure> {
    let file = scratch_file(io)?;
    match operation {
        "ReadAt" => between_marks(io, op::ReadAt::new(file, vec![0; 64], 1)).result?,
        "ReadAtVectored" => between_marks(io, op::ReadAtVectored::new(file, [vec![0; 2]], 1)).result?,
        "WriteAt" => between_marks(io, op::WriteAt::new(file, "hello", 1)).result?,
        _ => between_marks(io, op::WriteAtVectored::new(file, ["hel", "lo"], 1)).result?,
    }
    Ok(())
}

fn files(io: &EventLoop, operation: &str) -> Result<(), Failure> {
    let file = scratch_file(io)?;
    match operation {
        "Fsync" => between_marks(io, op::Fsync::new(file))?,
        "Fdatasync" => between_marks(io, op::Fdatasync::new(file))?,
        "Truncate" => between_marks(io, op::Truncate::new(file, 2))?,
        _ => between_marks(io, op::Allocate::new(file, 0, 4096))?,
    }
    Ok(())
}
