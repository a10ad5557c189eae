//! Opening FIFOs.

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
