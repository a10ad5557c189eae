//! The error type and the table of portable kinds.

use std::fmt;
use std::io;

use crate::backend;
use crate::op::Kind;

/// Why an operation or a call did not do what it was asked.
///
/// Eight bytes and `Copy`: the portable [`kind`](Error::kind), the [`operation`](Error::operation) that failed
/// and the operating system's own number, if it was the system that said no. Its `Display` names the operation:
/// `listen: address already in use (os error 98)`.
///
/// It converts into [`std::io::Error`], which keeps it as its source.
///
/// ```
/// use nbio::{ErrorKind, EventLoop};
/// let io = EventLoop::<()>::new()?;
/// let first = io.listen_tcp(([127, 0, 0, 1], 0))?;
/// let error = io.listen_tcp(io.local_address(first)?).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::AddrInUse);
/// assert!(error.to_string().starts_with("listen: address already in use"));
/// assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::AddrInUse);
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Copy, Clone, PartialEq, Eq, Hash)]
pub struct Error {
    kind: ErrorKind,
    operation: Kind,
    os: i32,
}

const _: () = assert!(size_of::<Error>() <= 8 && size_of::<ErrorKind>() == 1);

/// The portable kinds of [`Error`]: the same event has the same kind on every backend.
///
/// The numbers in the descriptions are Linux's errno names (errno(3)) from which the kind is made; kinds without
/// one are nbio's own.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Somebody asked for it: `cancel`, `cancel_all`, `close`, `drain`, or a send in front of it was cut short.
    Cancelled,
    /// The operation's deadline passed, or the system gave up on the peer (ETIMEDOUT).
    TimedOut,
    /// The handle or operation was closed, released or has ended.
    StaleHandle,
    /// The handle belongs to another loop.
    WrongLoop,
    /// `tick`, `run` or `drain` was called inside a callback of the same loop.
    Reentrant,
    /// The handle still has operations, or the resource is in use (EBUSY).
    Busy,
    /// An earlier operation on this stream was removed after it had moved bytes; its position is unknown.
    Broken,
    /// This backend, system or kind of descriptor can't do it (EOPNOTSUPP, ENOSYS, EAFNOSUPPORT, …).
    Unsupported,
    /// An argument is out of its range (EINVAL).
    InvalidInput,
    /// The peer ended the stream before all requested bytes had come.
    UnexpectedEof,
    /// A write moved no bytes and gave no reason.
    WriteZero,
    /// The peer reset the connection (ECONNRESET).
    ConnectionReset,
    /// Nobody listens there (ECONNREFUSED).
    ConnectionRefused,
    /// The connection was ended by this machine, or before it was accepted (ECONNABORTED, EPROTO).
    ConnectionAborted,
    /// The stream is not connected (ENOTCONN).
    NotConnected,
    /// The socket is connected already (EISCONN).
    AlreadyConnected,
    /// This side or the peer has closed the half that was written to (EPIPE).
    BrokenPipe,
    /// The address is taken (EADDRINUSE).
    AddrInUse,
    /// The address is not one of this machine (EADDRNOTAVAIL).
    AddrNotAvailable,
    /// No route to the host (EHOSTUNREACH, EHOSTDOWN).
    HostUnreachable,
    /// No route to the network (ENETUNREACH).
    NetworkUnreachable,
    /// The network interface is down or gone (ENETDOWN, ENONET).
    NetworkDown,
    /// Not allowed (EACCES, EPERM).
    PermissionDenied,
    /// No such file or directory (ENOENT).
    NotFound,
    /// It exists already (EEXIST).
    AlreadyExists,
    /// A directory was needed (ENOTDIR).
    NotADirectory,
    /// It is a directory (EISDIR).
    IsADirectory,
    /// The directory has entries (ENOTEMPTY).
    DirectoryNotEmpty,
    /// The file system is read-only (EROFS).
    ReadOnlyFilesystem,
    /// Too many symbolic links on the path (ELOOP).
    FilesystemLoop,
    /// The disk is full (ENOSPC).
    StorageFull,
    /// A quota is used up (EDQUOT).
    QuotaExceeded,
    /// The file would be too large (EFBIG).
    FileTooLarge,
    /// It can't be positioned (ESPIPE).
    NotSeekable,
    /// The file is being executed (ETXTBSY).
    ExecutableFileBusy,
    /// Waiting would never end (EDEADLK), as for a loop on its own thread.
    Deadlock,
    /// The two names are on different file systems (EXDEV).
    CrossesDevices,
    /// Too many links to one file (EMLINK).
    TooManyLinks,
    /// The name is too long or malformed (ENAMETOOLONG).
    InvalidFilename,
    /// The message is larger than the protocol allows (EMSGSIZE).
    MessageTooLong,
    /// No descriptor is left (EMFILE, ENFILE).
    TooManyDescriptors,
    /// No memory is left for it (ENOMEM, ENOBUFS).
    OutOfMemory,
    /// No backend works here: the system refused io_uring (EPERM, ENOSYS) or lacks a feature that nbio needs.
    BackendUnavailable,
    /// `NBIO_BACKEND` names no backend of this build.
    UnknownBackend,
    /// A bounded queue is full.
    QueueFull,
    /// The loop was dropped.
    LoopGone,
    /// A task's call, or an operation that is awaited, outside of a loop's [`block_on`](crate::block_on), `run` or `tick`.
    NoLoop,
    /// A thread pool job panicked.
    Panicked,
    /// It would have had to wait (EAGAIN); only calls that never wait say so.
    WouldBlock,
    /// A signal interrupted it (EINTR).
    Interrupted,
    /// Malformed data was read.
    InvalidData,
    /// The descriptor is not open, or not of the needed kind (EBADF, ENOTSOCK).
    BadDescriptor,
    /// The device or medium failed (EIO).
    DeviceError,
    /// Anything else; [`Error::os_error`] tells what.
    Other,
}

impl Error {
    /// An error of nbio's own.
    pub(crate) fn new(kind: ErrorKind, operation: Kind) -> Error {
        Error { kind, operation, os: 0 }
    }

    /// An error the operating system reported by its number.
    pub(crate) fn from_os(os: i32, operation: Kind) -> Error {
        Error { kind: ErrorKind::of_os(os), operation, os }
    }

    /// No backend works here, for the reason that the system gave.
    pub(crate) fn unavailable(os: i32) -> Error {
        Error { kind: ErrorKind::BackendUnavailable, operation: Kind::Build, os }
    }

    /// The same error, of another operation.
    pub(crate) fn of(self, operation: Kind) -> Error {
        Error { operation, ..self }
    }

    /// The portable kind.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The operation or call that failed.
    pub fn operation(&self) -> Kind {
        self.operation
    }

    /// The operating system's number (`errno`, `GetLastError`), or `None` where nbio itself said no.
    pub fn os_error(&self) -> Option<i32> {
        (self.os != 0).then_some(self.os)
    }
}

impl ErrorKind {
    /// The kind of an operating system's number. std's table is portable; what it leaves out the backend adds.
    fn of_os(os: i32) -> ErrorKind {
        if let Some(kind) = backend::error_kind(os) {
            return kind;
        }
        match io::Error::from_raw_os_error(os).kind() {
            io::ErrorKind::TimedOut => ErrorKind::TimedOut,
            io::ErrorKind::Unsupported => ErrorKind::Unsupported,
            io::ErrorKind::InvalidInput => ErrorKind::InvalidInput,
            io::ErrorKind::ConnectionReset => ErrorKind::ConnectionReset,
            io::ErrorKind::ConnectionRefused => ErrorKind::ConnectionRefused,
            io::ErrorKind::ConnectionAborted => ErrorKind::ConnectionAborted,
            io::ErrorKind::NotConnected => ErrorKind::NotConnected,
            io::ErrorKind::BrokenPipe => ErrorKind::BrokenPipe,
            io::ErrorKind::AddrInUse => ErrorKind::AddrInUse,
            io::ErrorKind::AddrNotAvailable => ErrorKind::AddrNotAvailable,
            io::ErrorKind::HostUnreachable => ErrorKind::HostUnreachable,
            io::ErrorKind::NetworkUnreachable => ErrorKind::NetworkUnreachable,
            io::ErrorKind::NetworkDown => ErrorKind::NetworkDown,
            io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            io::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
            io::ErrorKind::NotADirectory => ErrorKind::NotADirectory,
            io::ErrorKind::IsADirectory => ErrorKind::IsADirectory,
            io::ErrorKind::DirectoryNotEmpty => ErrorKind::DirectoryNotEmpty,
            io::ErrorKind::ReadOnlyFilesystem => ErrorKind::ReadOnlyFilesystem,
            io::ErrorKind::StorageFull => ErrorKind::StorageFull,
            io::ErrorKind::QuotaExceeded => ErrorKind::QuotaExceeded,
            io::ErrorKind::FileTooLarge => ErrorKind::FileTooLarge,
            io::ErrorKind::NotSeekable => ErrorKind::NotSeekable,
            io::ErrorKind::ResourceBusy => ErrorKind::Busy,
            io::ErrorKind::ExecutableFileBusy => ErrorKind::ExecutableFileBusy,
            io::ErrorKind::Deadlock => ErrorKind::Deadlock,
            io::ErrorKind::CrossesDevices => ErrorKind::CrossesDevices,
            io::ErrorKind::TooManyLinks => ErrorKind::TooManyLinks,
            io::ErrorKind::InvalidFilename => ErrorKind::InvalidFilename,
            io::ErrorKind::OutOfMemory => ErrorKind::OutOfMemory,
            io::ErrorKind::WouldBlock => ErrorKind::WouldBlock,
            io::ErrorKind::Interrupted => ErrorKind::Interrupted,
            _ => ErrorKind::Other,
        }
    }

    /// The nearest kind of `std::io::Error`.
    fn std_kind(self) -> io::ErrorKind {
        match self {
            ErrorKind::TimedOut => io::ErrorKind::TimedOut,
            ErrorKind::StaleHandle
            | ErrorKind::WrongLoop
            | ErrorKind::UnknownBackend
            | ErrorKind::InvalidInput => io::ErrorKind::InvalidInput,
            ErrorKind::Busy => io::ErrorKind::ResourceBusy,
            ErrorKind::Unsupported | ErrorKind::BackendUnavailable => io::ErrorKind::Unsupported,
            ErrorKind::UnexpectedEof => io::ErrorKind::UnexpectedEof,
            ErrorKind::WriteZero => io::ErrorKind::WriteZero,
            ErrorKind::ConnectionReset => io::ErrorKind::ConnectionReset,
            ErrorKind::ConnectionRefused => io::ErrorKind::ConnectionRefused,
            ErrorKind::ConnectionAborted => io::ErrorKind::ConnectionAborted,
            ErrorKind::NotConnected => io::ErrorKind::NotConnected,
            ErrorKind::BrokenPipe => io::ErrorKind::BrokenPipe,
            ErrorKind::AddrInUse => io::ErrorKind::AddrInUse,
            ErrorKind::AddrNotAvailable => io::ErrorKind::AddrNotAvailable,
            ErrorKind::HostUnreachable => io::ErrorKind::HostUnreachable,
            ErrorKind::NetworkUnreachable => io::ErrorKind::NetworkUnreachable,
            ErrorKind::NetworkDown => io::ErrorKind::NetworkDown,
            ErrorKind::PermissionDenied => io::ErrorKind::PermissionDenied,
            ErrorKind::NotFound => io::ErrorKind::NotFound,
            ErrorKind::AlreadyExists => io::ErrorKind::AlreadyExists,
            ErrorKind::NotADirectory => io::ErrorKind::NotADirectory,
            ErrorKind::IsADirectory => io::ErrorKind::IsADirectory,
            ErrorKind::DirectoryNotEmpty => io::ErrorKind::DirectoryNotEmpty,
            ErrorKind::ReadOnlyFilesystem => io::ErrorKind::ReadOnlyFilesystem,
            ErrorKind::StorageFull => io::ErrorKind::StorageFull,
            ErrorKind::QuotaExceeded => io::ErrorKind::QuotaExceeded,
            ErrorKind::FileTooLarge => io::ErrorKind::FileTooLarge,
            ErrorKind::NotSeekable => io::ErrorKind::NotSeekable,
            ErrorKind::ExecutableFileBusy => io::ErrorKind::ExecutableFileBusy,
            ErrorKind::Deadlock => io::ErrorKind::Deadlock,
            ErrorKind::CrossesDevices => io::ErrorKind::CrossesDevices,
            ErrorKind::TooManyLinks => io::ErrorKind::TooManyLinks,
            ErrorKind::InvalidFilename => io::ErrorKind::InvalidFilename,
            ErrorKind::OutOfMemory => io::ErrorKind::OutOfMemory,
            ErrorKind::WouldBlock | ErrorKind::QueueFull => io::ErrorKind::WouldBlock,
            ErrorKind::Interrupted => io::ErrorKind::Interrupted,
            ErrorKind::InvalidData => io::ErrorKind::InvalidData,
            _ => io::ErrorKind::Other,
        }
    }

    fn text(self) -> &'static str {
        match self {
            ErrorKind::Cancelled => "cancelled",
            ErrorKind::TimedOut => "timed out",
            ErrorKind::StaleHandle => "the handle is closed or was never of this loop's making",
            ErrorKind::WrongLoop => "the handle belongs to another loop",
            ErrorKind::Reentrant => "called inside a callback of the same loop",
            ErrorKind::Busy => "in use",
            ErrorKind::Broken => "an operation removed in the middle left the stream at an unknown position",
            ErrorKind::Unsupported => "not supported here",
            ErrorKind::InvalidInput => "invalid argument",
            ErrorKind::UnexpectedEof => "the stream ended before all requested bytes had come",
            ErrorKind::WriteZero => "no bytes could be written",
            ErrorKind::ConnectionReset => "connection reset by peer",
            ErrorKind::ConnectionRefused => "connection refused",
            ErrorKind::ConnectionAborted => "connection aborted",
            ErrorKind::NotConnected => "not connected",
            ErrorKind::AlreadyConnected => "already connected",
            ErrorKind::BrokenPipe => "broken pipe",
            ErrorKind::AddrInUse => "address already in use",
            ErrorKind::AddrNotAvailable => "address not available on this machine",
            ErrorKind::HostUnreachable => "host unreachable",
            ErrorKind::NetworkUnreachable => "network unreachable",
            ErrorKind::NetworkDown => "network down",
            ErrorKind::PermissionDenied => "permission denied",
            ErrorKind::NotFound => "not found",
            ErrorKind::AlreadyExists => "already exists",
            ErrorKind::NotADirectory => "not a directory",
            ErrorKind::IsADirectory => "is a directory",
            ErrorKind::DirectoryNotEmpty => "directory not empty",
            ErrorKind::ReadOnlyFilesystem => "read-only file system",
            ErrorKind::FilesystemLoop => "too many symbolic links",
            ErrorKind::StorageFull => "no space left",
            ErrorKind::QuotaExceeded => "quota exceeded",
            ErrorKind::FileTooLarge => "file too large",
            ErrorKind::NotSeekable => "not seekable",
            ErrorKind::ExecutableFileBusy => "executable file busy",
            ErrorKind::Deadlock => "deadlock",
            ErrorKind::CrossesDevices => "crosses file systems",
            ErrorKind::TooManyLinks => "too many links",
            ErrorKind::InvalidFilename => "invalid file name",
            ErrorKind::MessageTooLong => "message too long",
            ErrorKind::TooManyDescriptors => "no descriptors left",
            ErrorKind::OutOfMemory => "out of memory",
            ErrorKind::BackendUnavailable => {
                "io_uring is not available; it needs Linux 5.11 or newer, `sysctl kernel.io_uring_disabled` at 0, \
                 and in a container a seccomp profile that allows io_uring_setup, io_uring_enter and \
                 io_uring_register (`docker run --security-opt seccomp=PROFILE`)"
            }
            ErrorKind::UnknownBackend => {
                "NBIO_BACKEND must be auto, io_uring, io_uring-plain, epoll, kqueue or iocp"
            }
            ErrorKind::QueueFull => "the queue is full",
            ErrorKind::LoopGone => "the loop was dropped",
            ErrorKind::NoLoop => "no loop runs on this thread",
            ErrorKind::Panicked => "panicked",
            ErrorKind::WouldBlock => "would block",
            ErrorKind::Interrupted => "interrupted",
            ErrorKind::InvalidData => "invalid data",
            ErrorKind::BadDescriptor => "not an open descriptor of the needed kind",
            ErrorKind::DeviceError => "input/output error",
            ErrorKind::Other => "failed",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, self.kind)?;
        match self.os {
            0 => Ok(()),
            os => write!(f, " (os error {os})"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?}, {self})", self.kind)
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        io::Error::new(error.kind.std_kind(), error)
    }
}
