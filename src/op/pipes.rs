//! Opening pipes that have names: FIFOs of Unix, named pipes of Windows.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::files::path_request;
use super::{Half, Kind, Operation, Options};
use crate::engine::op::{Describe, End, Request};
use crate::engine::paths::{Call, PathCall};
use crate::{Error, Pipe};

/// Opens a FIFO (named pipe), and waits until somebody opens its other end.
///
/// `Half::Read` opens it for receiving, `Half::Write` for sending; `Half::Both`, which never waits, for both: then one's
/// own end keeps the other side's reads from ever finding the end of the stream. A terminal or another device opens as
/// well, at once; a terminal doesn't become the process's controlling one. The descriptor is close-on-exec and, once open,
/// in blocking mode.
///
/// It lends the system no memory: cancelled or late it calls back at once, and what may still open is closed. While it
/// waits, it has a thread of the kernel's, which a cancel frees. Such threads are no limit to anything else up to 64
/// waiting opens a loop; more may wait for each other, and hold up what files need of the kernel's threads.
///
/// # Windows
/// It connects to a named pipe (`\\.\pipe\name`, or on another machine `\\server\pipe\name`) as its client; the other side
/// is [`AcceptPipe`], of this program or another. It waits while all instances have a client already, looking again every
/// 5 ms, and ends with [`NotFound`](crate::ErrorKind::NotFound) if there is no such pipe. A pipe of messages is read by messages.
/// The server learns who the client is, but can't act in its name. What is no pipe is
/// [`InvalidInput`](crate::ErrorKind::InvalidInput).
///
/// # Errors
/// [`NotFound`](crate::ErrorKind::NotFound), [`PermissionDenied`](crate::ErrorKind::PermissionDenied),
/// [`InvalidInput`](crate::ErrorKind::InvalidInput) (a path with a zero byte),
/// [`IsADirectory`](crate::ErrorKind::IsADirectory) (for sending),
/// [`TooManyDescriptors`](crate::ErrorKind::TooManyDescriptors), [`Unsupported`](crate::ErrorKind::Unsupported) (in a
/// simulation), [`Cancelled`](crate::ErrorKind::Cancelled), [`TimedOut`](crate::ErrorKind::TimedOut); see open(2), fifo(7).
///
/// ```
/// use nbio::{EventLoop, Half};
/// # let directory = std::env::temp_dir().join(format!("nbio-fifo-{}", std::process::id()));
/// # std::fs::create_dir(&directory).unwrap();
/// # let path = directory.join("fifo");
/// # assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
/// let io = EventLoop::new()?;
/// io.open_fifo(&path, Half::Read, |_, io, reader| {
///     io.recv_exact(reader.unwrap(), [0; 5], 5, |_, _, done| assert_eq!(&done.buf, b"hello"));
/// });
/// io.open_fifo(&path, Half::Write, |_, io, writer| {
///     io.send_all(writer.unwrap(), "hello", |_, _, _| ());
/// });
/// io.run()?;
/// # std::fs::remove_dir_all(&directory).unwrap();
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct OpenFifo {
    path: PathBuf,
    end: Half,
    options: Options,
}

impl OpenFifo {
    /// Opens an end, or both, of the FIFO at `path`.
    pub fn new(path: impl AsRef<Path>, end: Half) -> OpenFifo {
        OpenFifo { path: path.as_ref().to_owned(), end, options: Options::default() }
    }
}

impl Describe for OpenFifo {
    type Parts = Option<Rc<PathCall>>;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (Self::Parts, Request) {
        path_request(Kind::OpenFifo, PathCall::new(Call::OpenFifo(self.end), &self.path), None, self.options)
    }
}

impl Operation for OpenFifo {
    type Output = Result<Pipe, Error>;

    fn finish(_: Self::Parts, end: &mut End) -> Result<Pipe, Error> {
        end.stream()
    }
}

/// How an instance of a named pipe is made.
#[derive(Copy, Clone, Debug)]
#[allow(dead_code, reason = "not every system has any")]
pub(crate) struct PipeHow {
    pub(crate) end: Half,
    pub(crate) messages: bool,
    pub(crate) first: bool,
    pub(crate) remote: bool,
}

/// Makes an instance of a named pipe of Windows, and waits until a client opens it: with [`OpenFifo`], or as any file.
///
/// Names begin with `\\.\pipe\`, and have up to 256 characters. A name is that of all instances that were made with it; each has one
/// client. While no instance waits, clients are refused or wait for one: submit the next before serving the last. The name
/// goes with the last instance. Settings are those of the first instance; others must agree in them.
///
/// The [`Pipe`] that it ends with goes both ways, unless [`half`](AcceptPipe::half) says otherwise. Closing it leaves what
/// was sent to be read. It completes at this loop's port, so [`detach`](crate::EventLoop::detach) may be `Unsupported`.
///
/// With [`messages`](AcceptPipe::messages) each send is a message, and each receive brings one, never parts of two. What doesn't fit its
/// buffer the next receive brings: so a full buffer may not be the end of a message. Messages without bytes are passed over,
/// since a receive of 0 bytes is the end.
///
/// It lends the system no memory: cancelled or late it calls back at once, and the instance is closed with whoever came.
///
/// # Errors
/// [`Unsupported`](crate::ErrorKind::Unsupported) everywhere but on Windows, where FIFOs ([`OpenFifo`]) and Unix sockets
/// ([`ListenOptions`](crate::ListenOptions)) are for the same, and in a simulation;
/// [`InvalidInput`](crate::ErrorKind::InvalidInput) (a name with a zero in it),
/// [`InvalidFilename`](crate::ErrorKind::InvalidFilename) (one that isn't of pipes), [`PermissionDenied`](crate::ErrorKind::PermissionDenied) (another's pipe; with
/// [`first`](AcceptPipe::first), one that exists; settings that the first instance doesn't have),
/// [`Cancelled`](crate::ErrorKind::Cancelled), [`TimedOut`](crate::ErrorKind::TimedOut).
///
/// # Platforms
/// Windows: CreateNamedPipe and an overlapped ConnectNamedPipe. Under Wine 8.0 all of it was run, but for other machines.
///
/// ```
/// use nbio::{ErrorKind, EventLoop, Half};
/// let io = EventLoop::new()?;
/// let name = format!(r"\\.\pipe\nbio-example-{}", std::process::id());
/// io.accept_pipe(&name, |_, io, client| match client {
///     Ok(client) => {
///         io.send_all(client, "hello", move |_, io, _| io.close(client));
///     }
///     Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported),
/// });
/// if cfg!(windows) {
///     // So that there is an instance when the client looks for one.
///     io.tick(Some(std::time::Duration::ZERO))?;
///     io.open_fifo(&name, Half::Both, |_, io, server| {
///         io.recv_exact(server.unwrap(), [0; 5], 5, |_, _, done| assert_eq!(&done.buf, b"hello"));
///     });
/// }
/// io.run()?;
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct AcceptPipe {
    name: PathBuf,
    how: PipeHow,
    options: Options,
}

impl AcceptPipe {
    /// Waits for a client of the pipe with this name.
    pub fn new(name: impl AsRef<Path>) -> AcceptPipe {
        let how = PipeHow { end: Half::Both, messages: false, first: false, remote: false };
        AcceptPipe { name: name.as_ref().to_owned(), how, options: Options::default() }
    }

    /// What this side does: only receive, only send, or both, as it is without this.
    pub fn half(mut self, half: Half) -> AcceptPipe {
        self.how.end = half;
        self
    }

    /// What is sent stays in pieces, as it was sent.
    pub fn messages(mut self) -> AcceptPipe {
        self.how.messages = true;
        self
    }

    /// Fails if there are instances already: so nobody else can have been there before, to take the clients.
    pub fn first(mut self) -> AcceptPipe {
        self.how.first = true;
        self
    }

    /// Clients may be on other machines; without this they are refused.
    pub fn remote_clients(mut self) -> AcceptPipe {
        self.how.remote = true;
        self
    }
}

impl Describe for AcceptPipe {
    type Parts = Option<Rc<PathCall>>;

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn describe(self) -> (Self::Parts, Request) {
        let call = PathCall::new(Call::AcceptPipe(self.how), &self.name);
        path_request(Kind::AcceptPipe, call, None, self.options)
    }
}

impl Operation for AcceptPipe {
    type Output = Result<Pipe, Error>;

    fn finish(_: Self::Parts, end: &mut End) -> Result<Pipe, Error> {
        end.stream()
    }
}
