//! What is done with files and paths, as submission entries.

use io_uring::{opcode, squeue, types};

use crate::backend::files;
use crate::backend::system::STAT_MASK;
use crate::engine::op::{Op, Space};
use crate::engine::paths::{Call, PathCall};

pub(super) fn prepare(op: &Op, fd: types::Fd) -> squeue::Entry {
    match op {
        Op::Sync { data_only: false } => opcode::Fsync::new(fd).build(),
        Op::Sync { data_only: true } => opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build(),
        Op::Truncate { length } => opcode::Ftruncate::new(fd, *length).build(),
        Op::Allocate { offset, length, how } => {
            let mode = match how {
                Space::Grow => 0,
                Space::Keep => libc::FALLOC_FL_KEEP_SIZE,
                Space::Punch => libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE,
            };
            opcode::Fallocate::new(fd, *length).offset(*offset).mode(mode).build()
        }
        Op::Path(path) => prepare_path(path, fd),
        _ => unreachable!("not of files and paths"),
    }
}

fn prepare_path(path: &PathCall, fd: types::Fd) -> squeue::Entry {
    let name = path.path.as_ptr();
    let (second_fd, second_name) = (types::Fd(path.second_directory.get()), path.second_path.as_ptr());
    match &path.call {
        Call::Open(how) => {
            let flags = files::open_flags(how).expect("checked when it was described");
            opcode::OpenAt::new(fd, name).flags(flags).mode(how.mode).build()
        }
        // Waiting for the other end, on a thread of the kernel's: tried on ours it wouldn't wait, but fail or leave it out.
        Call::OpenFifo(end) => {
            let flags = files::fifo_flags(*end);
            opcode::OpenAt::new(fd, name).flags(flags).build().flags(squeue::Flags::ASYNC)
        }
        Call::AcceptPipe(_) => unreachable!("there are none: the engine refuses it"),
        Call::Stat { follow, itself } => {
            let flags = if *itself { libc::AT_EMPTY_PATH } else { 0 }
                | if *follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
            opcode::Statx::new(fd, name, path.stat().as_ptr().cast()).flags(flags).mask(STAT_MASK).build()
        }
        Call::Seek(_) => {
            let stat = opcode::Statx::new(fd, name, path.stat().as_ptr().cast());
            stat.flags(libc::AT_EMPTY_PATH).mask(STAT_MASK).build()
        }
        Call::Rename { replace } => {
            let flags = if *replace { 0 } else { libc::RENAME_NOREPLACE };
            opcode::RenameAt::new(fd, name, second_fd, second_name).flags(flags).build()
        }
        Call::Unlink => opcode::UnlinkAt::new(fd, name).build(),
        Call::Rmdir => opcode::UnlinkAt::new(fd, name).flags(libc::AT_REMOVEDIR).build(),
        Call::Mkdir { mode } => opcode::MkDirAt::new(fd, name).mode(*mode).build(),
        Call::Link { follow } => {
            let flags = if *follow { libc::AT_SYMLINK_FOLLOW } else { 0 };
            opcode::LinkAt::new(fd, name, second_fd, second_name).flags(flags).build()
        }
        // The name that is made is the second, and so is its directory; the first is what the link holds.
        Call::Symlink => opcode::SymlinkAt::new(second_fd, name, second_name).build(),
    }
}
