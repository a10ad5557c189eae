//! The front of the crate: pipes and the process's own streams.

use std::path::Path;

use super::EventLoop;
use crate::backend::Standard;
use crate::handle::sealed::Handle as _;
use crate::op::{self, Half};
use crate::{Error, OpId, Pipe};

/// Pipes, and standard input and output.
impl<S> EventLoop<S> {
    /// A new pipe: the end to receive from, and the end to send to. Both are close-on-exec; to give one to a child process,
    /// [`release`](EventLoop::release) or [`duplicate`](EventLoop::duplicate) it. On Windows both ends do overlapped I/O,
    /// which few programs can use as their standard streams.
    ///
    /// # Errors
    /// [`TooManyDescriptors`](crate::ErrorKind::TooManyDescriptors), [`Unsupported`](crate::ErrorKind::Unsupported) (in a
    /// simulation); see pipe(2).
    ///
    /// ```
    /// let io = nbio::EventLoop::new()?;
    /// let (reader, writer) = io.pipe()?;
    /// io.send_all(writer, "hello", move |_, io, _| io.close(writer));
    /// io.recv_exact(reader, [0; 5], 5, move |_, io, done| {
    ///     assert_eq!(&done.buf, b"hello");
    ///     io.recv(reader, [0; 5], |_, _, done| assert_eq!((done.result, done.bytes), (Ok(()), 0)));
    /// });
    /// io.run()?;
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn pipe(&self) -> Result<(Pipe, Pipe), Error> {
        let [read, write] = self.core.pipe()?;
        Ok((Pipe::from_id(read), Pipe::from_id(write)))
    }

    /// Opens an end of a FIFO, or both: [`op::OpenFifo`].
    pub fn open_fifo(
        &self,
        path: impl AsRef<Path>,
        end: Half,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Result<Pipe, Error>) + 'static,
    ) -> OpId {
        self.submit(op::OpenFifo::new(path, end), callback)
    }

    /// Makes an instance of a named pipe of Windows, and waits for its client: [`op::AcceptPipe`].
    pub fn accept_pipe(
        &self,
        name: impl AsRef<Path>,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Result<Pipe, Error>) + 'static,
    ) -> OpId {
        self.submit(op::AcceptPipe::new(name), callback)
    }

    /// The process's standard input, by a second descriptor: closing the handle leaves the process's own open. It may be
    /// a terminal, a pipe, a file, a socket or `/dev/null`; see [`Pipe`]. What std has buffered is not seen here, nor
    /// may two handles read it without taking bytes from each other.
    ///
    /// A terminal gives what was typed when the line is finished, unless it is switched to raw mode; a process in the
    /// background that reads it ends with [`DeviceError`](crate::ErrorKind::DeviceError) instead of being stopped.
    ///
    /// # Errors
    /// [`BadDescriptor`](crate::ErrorKind::BadDescriptor) (it was closed),
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) (a directory, a listening socket),
    /// [`TooManyDescriptors`](crate::ErrorKind::TooManyDescriptors), [`Unsupported`](crate::ErrorKind::Unsupported) (in a
    /// simulation).
    pub fn stdin(&self) -> Result<Pipe, Error> {
        self.core.standard(Standard::Input).map(Pipe::from_id)
    }

    /// The process's standard output; as [`stdin`](EventLoop::stdin).
    ///
    /// # Errors
    /// As there.
    ///
    /// ```
    /// let io = nbio::EventLoop::new()?;
    /// io.send_all(io.stdout()?, "hello\n", |_, _, done| assert_eq!(done.bytes, 6));
    /// io.run()?;
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn stdout(&self) -> Result<Pipe, Error> {
        self.core.standard(Standard::Output).map(Pipe::from_id)
    }

    /// The process's standard error output; as [`stdin`](EventLoop::stdin).
    ///
    /// # Errors
    /// As there.
    pub fn stderr(&self) -> Result<Pipe, Error> {
        self.core.standard(Standard::Error).map(Pipe::from_id)
    }
}
