//! Files: opening, reading and writing at places, and what is known of them.

mod copy;
mod cursor;
mod directory;
mod lock;
mod manage;
mod names;
mod open;
mod pool;
mod stat;
mod transfer;
mod whole;

pub use copy::{CopiedFile, CopyFile};
pub use cursor::{Read, Seek, Write};
pub use directory::{DirEntry, ReadDir, ReadLink};
pub use lock::{Lock, Unlock};
pub use manage::{Allocate, Fdatasync, Fsync, Truncate};
pub use names::{Link, Mkdir, Rename, Rmdir, Symlink, Unlink};
pub(super) use open::path_request;
pub use open::{Open, OpenHow};
pub use stat::{FileType, Metadata, Stat};
pub use transfer::{ReadAt, ReadAtVectored, WriteAt, WriteAtVectored};
pub use whole::{ReadFile, WriteFile};
