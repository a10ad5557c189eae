//! What the suite needs of Windows. What isn't there is only in cases that don't run here (`skips::ON_UNIX_ONLY`,
//! `skips::ON_LINUX_ONLY`).

#[path = "missing.rs"]
mod missing;

use std::ffi::OsString;
use std::fs::File;
use std::os::windows::ffi::OsStringExt;
use std::os::windows::io::{AsRawHandle, AsRawSocket, BorrowedSocket, OwnedSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nbio::{OwnedDescriptor, RawDescriptor};
use windows_sys::Win32::Foundation::{
    ERROR_LOCK_VIOLATION, FILETIME, GetHandleInformation, HANDLE, HANDLE_FLAG_INHERIT,
};
use windows_sys::Win32::Networking::WinSock;
use windows_sys::Win32::Storage::FileSystem::{FILE_TYPE_DISK, GetFileType, GetFinalPathNameByHandleW};
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleA, GetProcAddress};
use windows_sys::Win32::System::Threading::{GetCurrentThread, GetThreadTimes};

pub use missing::*;

pub use WinSock::WSAECONNREFUSED as ECONNREFUSED;
pub use WinSock::WSAEMFILE as EMFILE;

/// Errors that no system call can be made to fail with here.
#[derive(Copy, Clone, Debug)]
pub struct Errno;

#[allow(dead_code, reason = "the names are the same everywhere")]
impl Errno {
    pub const AGAIN: Errno = Errno;
    pub const INVAL: Errno = Errno;
    pub const IO: Errno = Errno;
    pub const NOSPC: Errno = Errno;
    pub const NOSYS: Errno = Errno;
    pub const OPNOTSUPP: Errno = Errno;
    pub const PERM: Errno = Errno;
    pub const XDEV: Errno = Errno;

    pub fn raw_os_error(self) -> i32 {
        panic!("{NOT_HERE}");
    }
}

/// Limits of a process that there aren't.
#[derive(Copy, Clone)]
pub enum Resource {
    Fsize,
    Nofile,
}

#[derive(Copy, Clone, Default)]
pub struct Rlimit {
    pub current: Option<u64>,
    pub maximum: Option<u64>,
}

pub fn getrlimit(_: Resource) -> Rlimit {
    Rlimit::default()
}

pub fn setrlimit(_: Resource, limit: Rlimit) -> Result<(), std::io::Error> {
    panic!("{NOT_HERE}: {:?} {:?}", limit.current, limit.maximum);
}

pub fn make_fifo(_: &Path) {
    panic!("{NOT_HERE}");
}

pub fn open_fifo_to_read(_: &Path) -> File {
    panic!("{NOT_HERE}");
}

pub fn set_on(_: &impl AsRawSocket, _: i32, _: i32) {
    panic!("{NOT_HERE}");
}

/// Positions are arguments here, too.
pub trait FileExt {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()>;
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<()>;
}

impl FileExt for File {
    fn read_exact_at(&self, mut buf: &mut [u8], mut offset: u64) -> std::io::Result<()> {
        while !buf.is_empty() {
            let bytes = std::os::windows::fs::FileExt::seek_read(self, buf, offset)?;
            if bytes == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            buf = &mut buf[bytes..];
            offset += bytes as u64;
        }
        Ok(())
    }

    fn write_all_at(&self, mut bytes: &[u8], mut offset: u64) -> std::io::Result<()> {
        while !bytes.is_empty() {
            let written = std::os::windows::fs::FileExt::seek_write(self, bytes, offset)?;
            bytes = &bytes[written..];
            offset += written as u64;
        }
        Ok(())
    }
}

/// What files don't have.
pub trait MetadataExt {
    fn uid(&self) -> u32 {
        panic!("{NOT_HERE}");
    }

    fn gid(&self) -> u32 {
        panic!("{NOT_HERE}");
    }

    fn ino(&self) -> u64 {
        panic!("{NOT_HERE}");
    }

    fn blocks(&self) -> u64 {
        panic!("{NOT_HERE}");
    }
}

impl MetadataExt for std::fs::Metadata {}

/// As above.
pub trait PermissionsExt: Sized {
    fn from_mode(_: u32) -> Self {
        panic!("{NOT_HERE}");
    }
}

impl PermissionsExt for std::fs::Permissions {}

/// A link to a file; for those who may make one.
pub fn symlink(target: impl AsRef<Path>, link: impl AsRef<Path>) -> std::io::Result<()> {
    std::os::windows::fs::symlink_file(target, link)
}

/// A type of std's of what the loop gave.
pub fn into_std<T: TryFrom<OwnedDescriptor, Error = OwnedDescriptor>>(descriptor: OwnedDescriptor) -> T {
    T::try_from(descriptor).expect("it is of that sort")
}

/// A TCP socket that is neither connected nor listening.
pub fn unconnected() -> OwnedDescriptor {
    rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None)
        .unwrap()
        .into()
}

/// The number of an open socket, as the loop tells it.
pub fn number(socket: &impl AsRawSocket) -> RawDescriptor {
    socket.as_raw_socket()
}

/// A socket, if it is one.
fn socket(descriptor: OwnedDescriptor) -> OwnedSocket {
    OwnedSocket::try_from(descriptor).expect("it is a socket")
}

/// As above, of what the loop gave; 0 for what is no socket.
pub fn number_of(descriptor: &OwnedDescriptor) -> RawDescriptor {
    descriptor.raw()
}

/// Whether it isn't for child processes.
pub fn closes_on_exec(descriptor: impl Into<OwnedDescriptor>) -> bool {
    let handle = match OwnedSocket::try_from(descriptor.into()) {
        Ok(socket) => return is_private(socket.as_raw_socket() as HANDLE),
        Err(other) => File::try_from(other).expect("a socket or a handle"),
    };
    is_private(handle.as_raw_handle())
}

fn is_private(handle: HANDLE) -> bool {
    let mut flags = 0;
    // SAFETY: the flags are there to be written.
    assert_ne!(unsafe { GetHandleInformation(handle, &mut flags) }, 0, "{}", std::io::Error::last_os_error());
    flags & HANDLE_FLAG_INHERIT == 0
}

/// Whether it is open.
pub fn is_open(descriptor: OwnedDescriptor) -> bool {
    match OwnedSocket::try_from(descriptor) {
        Ok(socket) => is_handle(socket.as_raw_socket() as HANDLE),
        Err(handle) => is_handle(handle.raw() as usize as HANDLE),
    }
}

/// Whether calls on it don't wait. The system doesn't say; so this receives, for a moment, what nobody sends.
pub fn is_nonblocking(descriptor: OwnedDescriptor) -> bool {
    let socket = socket(descriptor);
    // SAFETY: the socket is open as long as it is borrowed.
    let borrowed = unsafe { BorrowedSocket::borrow_raw(socket.as_raw_socket()) };
    let socket = std::net::UdpSocket::from(borrowed.try_clone_to_owned().unwrap());
    socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    match socket.recv(&mut [0; 9]).unwrap_err().kind() {
        std::io::ErrorKind::WouldBlock => true,
        std::io::ErrorKind::TimedOut => false,
        other => panic!("{other:?}"),
    }
}

/// The system doesn't say, and no call could be asked that doesn't wait.
pub fn is_nonblocking_listener(_: &std::net::TcpListener) -> bool {
    false
}

/// What is open but not a socket, by the kind of error that whoever adopts it as one gets: handles are never taken for one.
pub fn unfit() -> Vec<(OwnedDescriptor, nbio::ErrorKind)> {
    vec![(File::open("NUL").unwrap().into(), nbio::ErrorKind::InvalidInput)]
}

/// No signals.
pub fn let_broken_pipes_kill() {}

pub fn let_large_files_fail() {
    panic!("{NOT_HERE}");
}

/// Has this run when the process ends.
pub fn at_exit(run: extern "C" fn()) {
    // SAFETY: the handler is a function without arguments that doesn't unwind.
    assert_eq!(unsafe { libc::atexit(run) }, 0);
}

/// How much the calling thread has computed.
pub fn thread_time() -> Duration {
    let zero = FILETIME { dwLowDateTime: 0, dwHighDateTime: 0 };
    let (mut created, mut ended, mut kernel, mut user) = (zero, zero, zero, zero);
    // SAFETY: the four times are there to be written, and the handle means the calling thread.
    let done =
        unsafe { GetThreadTimes(GetCurrentThread(), &mut created, &mut ended, &mut kernel, &mut user) };
    assert_ne!(done, 0, "{}", std::io::Error::last_os_error());
    // In units of 100 ns.
    let units = |time: FILETIME| u64::from(time.dwHighDateTime) << 32 | u64::from(time.dwLowDateTime);
    Duration::from_nanos((units(kernel) + units(user)) * 100)
}

/// The handles of this process. (Wine's GetProcessHandleCount says 0.)
fn handles() -> impl Iterator<Item = HANDLE> {
    // They are small multiples of four, given out again when they are free; no gap is as long as this.
    const GAP: usize = 1024;
    let mut unused = 0;
    let numbers = (1..).map(|number: usize| (number * 4) as HANDLE).map(|handle| (handle, is_handle(handle)));
    let numbers = numbers.take_while(move |&(_, open)| {
        unused = if open { 0 } else { unused + 1 };
        unused < GAP
    });
    numbers.filter(|&(_, open)| open).map(|(handle, _)| handle)
}

fn is_handle(handle: HANDLE) -> bool {
    let mut flags = 0;
    // SAFETY: the flags are there to be written; what isn't open is refused.
    unsafe { GetHandleInformation(handle, &mut flags) != 0 }
}

/// Whether this is no Windows but Wine, which says so by a function that Windows hasn't.
pub fn is_wine() -> bool {
    // SAFETY: the names end with a zero; the library is part of every process.
    unsafe {
        let library = GetModuleHandleA(c"ntdll.dll".as_ptr().cast());
        GetProcAddress(library, c"wine_get_version".as_ptr().cast()).is_some()
    }
}

/// How many handles this process has.
pub fn descriptors() -> usize {
    handles().count()
}

/// How many handles of this process are of files and directories below this one.
pub fn descriptors_below(directory: &Path) -> usize {
    let directory = std::fs::canonicalize(directory).unwrap();
    handles().filter_map(path_of).filter(|path| path.starts_with(&directory)).count()
}

/// What is open under this number, if that is a file or directory.
fn path_of(handle: HANDLE) -> Option<PathBuf> {
    let mut path = [0_u16; 4096];
    // SAFETY: a number that is no handle is refused; the path has the length that is told.
    let length = unsafe {
        if GetFileType(handle) != FILE_TYPE_DISK {
            return None;
        }
        GetFinalPathNameByHandleW(handle, path.as_mut_ptr(), path.len() as u32, 0)
    };
    let path = path.get(..length as usize).filter(|path| !path.is_empty())?;
    Some(PathBuf::from(OsString::from_wide(path)))
}

/// There are no such permissions.
pub fn is_mode(_: u32, _: u32) -> bool {
    true
}

/// What std doesn't tell of a file.
pub struct Numbers {
    pub mode: u32,
    pub links: u64,
    pub inode: u64,
    pub blocks: u64,
}

pub fn numbers(told: &std::fs::Metadata) -> Numbers {
    Numbers { mode: 0, links: 1, inode: 0, blocks: told.len().div_ceil(512) }
}

pub fn unread(_: &OwnedDescriptor) -> u64 {
    panic!("{NOT_HERE}");
}

/// Gives up std's lock of a file. std unlocks until there is no lock left, for which Wine has another error.
pub fn unlock(file: &File) -> std::io::Result<()> {
    match file.unlock() {
        Err(error) if error.raw_os_error() == Some(ERROR_LOCK_VIOLATION as i32) => Ok(()),
        done => done,
    }
}

/// Names that are no text: half of a pair of surrogates; and some that are, but that other programs take for something
/// else.
pub fn names_of_any_bytes() -> Vec<OsString> {
    let half = OsString::from_wide(&[0x61, 0xd800, 0x62]);
    vec![half, "-rf".into(), "%TEMP%".into(), "\u{1f980}".into()]
}
