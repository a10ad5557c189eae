//! Files: opening, reading and writing at places, and what is known of them.

mod manage;
mod open;
mod pool;
mod stat;
mod transfer;

pub use manage::{Allocate, Fdatasync, Fsync, Truncate};
pub(super) use open::path_request;
pub use open::{Open, OpenHow};
pub use stat::{FileType, Metadata, Stat};
pub use transfer::{ReadAt, ReadAtVectored, WriteAt, WriteAtVectored};
