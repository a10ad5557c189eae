//! Unix sockets: their addresses, and who is at the other end.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

/// The address of a Unix socket: a path, an abstract name (Linux), or none.
///
/// A path takes at most 107 bytes on Linux and no zero byte; what is too long is
/// [`InvalidInput`](crate::ErrorKind::InvalidInput) where it is used. See unix(7).
///
/// ```
/// use nbio::UnixAddress;
/// let address = UnixAddress::from("/run/service");
/// assert_eq!(address.as_path().unwrap().to_str(), Some("/run/service"));
/// assert_eq!(UnixAddress::abstract_name("service").as_abstract_name(), Some(&b"service"[..]));
/// assert!(UnixAddress::default().is_unnamed());
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct UnixAddress(Name);

#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(crate) enum Name {
    #[default]
    Unnamed,
    Path(PathBuf),
    Abstract(Vec<u8>),
}

impl UnixAddress {
    #[allow(dead_code, reason = "not every system has Unix sockets")]
    pub(crate) fn of(name: Name) -> UnixAddress {
        UnixAddress(name)
    }

    #[allow(dead_code, reason = "not every system has Unix sockets")]
    pub(crate) fn name(&self) -> &Name {
        &self.0
    }

    /// A name that is in no file system and is gone with its socket: at most 107 bytes, of any value. Linux; each network
    /// namespace has its own.
    pub fn abstract_name(name: impl Into<Vec<u8>>) -> UnixAddress {
        UnixAddress(Name::Abstract(name.into()))
    }

    /// The path, if it is one.
    pub fn as_path(&self) -> Option<&Path> {
        if let Name::Path(path) = &self.0 { Some(path) } else { None }
    }

    /// The abstract name, if it is one, without the zero byte that unix(7) puts in front.
    pub fn as_abstract_name(&self) -> Option<&[u8]> {
        if let Name::Abstract(name) = &self.0 { Some(name) } else { None }
    }

    /// Whether there is no name, as sockets that only connect have none.
    pub fn is_unnamed(&self) -> bool {
        self.0 == Name::Unnamed
    }
}

impl<P: AsRef<OsStr> + ?Sized> From<&P> for UnixAddress {
    fn from(path: &P) -> UnixAddress {
        UnixAddress(Name::Path(PathBuf::from(path)))
    }
}

impl From<PathBuf> for UnixAddress {
    fn from(path: PathBuf) -> UnixAddress {
        UnixAddress(Name::Path(path))
    }
}

impl fmt::Debug for UnixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Name::Unnamed => f.write_str("(unnamed)"),
            Name::Path(path) => path.fmt(f),
            Name::Abstract(name) => write!(f, "@\"{}\"", name.escape_ascii()),
        }
    }
}

/// The process at the other end of a Unix socket, as it was when it connected or listened (`SO_PEERCRED`, unix(7)). Numbers
/// are those of this process's namespaces.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Credentials {
    /// Its process number.
    pub pid: u32,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
}

impl Credentials {
    #[allow(dead_code, reason = "not every system has Unix sockets")]
    pub(crate) fn new(pid: u32, uid: u32, gid: u32) -> Credentials {
        Credentials { pid, uid, gid }
    }
}
