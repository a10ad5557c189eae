//! Passes an open file to another process over a Unix socket.
//!
//!     cargo run --example fd_passing -- receive /tmp/door
//!     cargo run --example fd_passing -- send /tmp/door Cargo.toml
//!
//! The receiver says who sent it and writes what is in the file to its standard output, though it may have no right to open
//! it itself. It goes on until it is ended.

use std::process::ExitCode;

use nbio::{Accepted, Error, EventLoop, Pipe, UnixAddress, UnixListener, UnixStream, op};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["receive", path] => receive(path),
        ["send", path, file] => send(path, file),
        _ => Err("usage: fd_passing receive SOCKET | fd_passing send SOCKET FILE".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fd_passing: {error}");
            ExitCode::FAILURE
        }
    }
}

fn receive(path: &str) -> Result<(), Box<dyn std::error::Error>> {
    let io = EventLoop::new()?;
    let (listener, stdout) = (io.listen_unix(path)?, io.stdout()?);
    println!("waiting at {path}");
    accept(&io, listener, stdout);
    Ok(io.run()?)
}

fn accept(io: &EventLoop, listener: UnixListener, stdout: Pipe) {
    io.accept(listener, move |_, io, accepted: Result<Accepted<UnixStream, UnixAddress>, Error>| {
        accept(io, listener, stdout);
        let Ok(Accepted { stream, .. }) = accepted else { return };
        io.submit(op::RecvFds::new(stream, vec![0; 1024], 1), move |_, io, received| {
            let who = io.peer_credentials(stream);
            io.close(stream);
            let Some(descriptor) = received.descriptors.into_iter().next() else { return };
            let name = String::from_utf8_lossy(&received.buf[..received.bytes]).into_owned();
            let user = who.map_or_else(|_| "somebody".into(), |who| format!("user {}", who.uid));
            println!("{name} from {user}:");
            match io.adopt::<Pipe>(descriptor) {
                Ok(file) => copy(io, file, stdout, vec![0; 4096]),
                Err(refused) => eprintln!("fd_passing: {name}: {}", refused.error),
            }
        });
    });
}

/// Writes what is left in `file` to `stdout`.
fn copy(io: &EventLoop, file: Pipe, stdout: Pipe, buf: Vec<u8>) {
    io.recv(file, buf, move |_, io, done| {
        if done.result.is_err() || done.bytes == 0 {
            return io.close(file);
        }
        io.send_all(stdout, done.filled(), move |_, io, sent| copy(io, file, stdout, sent.buf.into_inner()));
    });
}

fn send(path: &str, name: &str) -> Result<(), Box<dyn std::error::Error>> {
    let file = std::fs::File::open(name)?;
    let io = EventLoop::new()?;
    let (name, outcome) = (name.to_owned(), std::rc::Rc::new(std::cell::Cell::new(Ok(()))));
    let tell = outcome.clone();
    io.connect_unix(path, move |_, io, connected| match connected {
        Ok(stream) => {
            io.submit(op::SendFds::new(stream, name, vec![file.into()]), move |_, io, sent| {
                tell.set(sent.result);
                io.close(stream);
            });
        }
        Err(error) => tell.set(Err(error)),
    });
    io.run()?;
    Ok(outcome.replace(Ok(()))?)
}
