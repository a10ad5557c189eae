//! What operations on paths have beside their slot: the names, and room for what the system answers. It belongs to the
//! engine until the system lets go, so that whoever asked needn't wait for that.

use std::cell::Cell;
use std::io::SeekFrom;
use std::ops::Deref;
use std::path::Path;
use std::ptr::NonNull;
use std::rc::Rc;

use super::Engine;
use super::handles::Means;
use super::op::{MOST_OFFSET, Op};
use super::slots::State;
use crate::backend::{CURRENT_DIRECTORY, RawDescriptor, StatBlock, SystemPath, system_path};
use crate::op::{Half, Metadata, OpenHow, PipeHow};
use crate::{Error, ErrorKind};

/// What is done with a path.
#[derive(Copy, Clone, Debug)]
pub(crate) enum Call {
    Open(OpenHow),
    /// The end, or both, of a FIFO.
    OpenFifo(#[allow(dead_code, reason = "not every system has any")] Half),
    /// A client of a named pipe, as Windows has them.
    AcceptPipe(#[allow(dead_code, reason = "not every system has any")] PipeHow),
    /// `itself`: of the handle, not of a path that begins there.
    Stat {
        follow: bool,
        itself: bool,
    },
    /// From the first path to the second.
    Rename {
        replace: bool,
    },
    Unlink,
    Rmdir,
    Mkdir {
        #[allow(dead_code, reason = "not every system has these")]
        mode: u32,
    },
    /// The second path becomes another name of the first.
    Link {
        follow: bool,
    },
    /// The second path becomes a link that holds the first.
    Symlink,
    /// The handle's cursor is moved; the system is asked only where the file's end is.
    Seek(SeekFrom),
}

/// A call on a path, or two.
pub struct PathCall {
    pub(crate) call: Call,
    pub(crate) path: SystemPath,
    pub(crate) second_path: SystemPath,
    /// Where the second path begins.
    pub(crate) second_directory: Cell<RawDescriptor>,
    /// The place in the handle table of that directory, which isn't closed meanwhile.
    held: Cell<Option<u32>>,
    stat: StatBlock,
    /// What a simulation has written instead.
    simulated: Cell<Option<Metadata>>,
    /// The system has written `stat`.
    told: Cell<bool>,
    /// The place in the handle table of what was opened.
    pub(crate) opened: Cell<Option<u32>>,
    /// Where the cursor is now.
    pub(crate) position: Cell<u64>,
}

impl PathCall {
    /// `None` if the system can't be given the path.
    pub(crate) fn new(call: Call, path: &Path) -> Option<PathCall> {
        Some(PathCall::of(call, system_path(path)?))
    }

    /// On the handle itself.
    pub(crate) fn on_handle(call: Call) -> PathCall {
        PathCall::of(call, SystemPath::default())
    }

    /// With two paths.
    pub(crate) fn with_two(call: Call, path: &Path, second: &Path) -> Option<PathCall> {
        let second_path = system_path(second)?;
        Some(PathCall { second_path, ..PathCall::new(call, path)? })
    }

    fn of(call: Call, path: SystemPath) -> PathCall {
        PathCall {
            call,
            path,
            second_path: SystemPath::default(),
            second_directory: Cell::new(CURRENT_DIRECTORY),
            held: Cell::new(None),
            stat: StatBlock::empty(),
            simulated: Cell::new(None),
            told: Cell::new(false),
            opened: Cell::new(None),
            position: Cell::new(0),
        }
    }

    /// Where the system writes what it knows.
    pub(crate) fn stat(&self) -> &StatBlock {
        &self.stat
    }

    /// As writing to `stat`, by a system without a layout of its own.
    pub(crate) fn tell(&self, metadata: Metadata) {
        self.simulated.set(Some(metadata));
    }

    /// The system has answered.
    pub(super) fn answered(&self) {
        self.told.set(true);
    }

    /// What the system answered, if it did.
    pub(crate) fn metadata(&self) -> Option<Metadata> {
        // SAFETY: the engine says so only once the backend has let go, which it does once.
        self.told.get().then(|| self.simulated.get().unwrap_or_else(|| unsafe { self.stat.metadata() }))
    }
}

/// A slot's share of a call; its operation struct has another. A raw pointer, since what is in `Op` is not dropped.
pub(crate) struct PathRef(NonNull<PathCall>);

impl PathRef {
    pub(crate) fn new(call: &Rc<PathCall>) -> PathRef {
        let call = Rc::into_raw(call.clone());
        PathRef(NonNull::new(call.cast_mut()).expect("an Rc's pointer is never null"))
    }

    /// Gives the share back.
    ///
    /// # Safety
    /// It was not given back before and is not used any more, and the backend has let go.
    pub(super) unsafe fn free(&mut self) {
        // SAFETY: made by `Rc::into_raw`; the caller vouches that this is the only time.
        drop(unsafe { Rc::from_raw(self.0.as_ptr().cast_const()) });
    }
}

impl Deref for PathRef {
    type Target = PathCall;

    fn deref(&self) -> &PathCall {
        // SAFETY: its share keeps the call alive until `free`; nobody has a mutable reference to what is in an `Rc`.
        unsafe { self.0.as_ref() }
    }
}

impl Engine {
    /// Keeps the directory where the second path begins from being closed.
    pub(super) fn hold_directory(&mut self, index: u32, entry: u32) {
        if let Op::Path(path) = &self.slots.header(index).op {
            let directory = self.handles.entry_mut(entry);
            directory.operations += 1;
            path.second_directory.set(directory.descriptor);
            path.held.set(Some(entry));
        }
    }

    /// The system has let go of it.
    pub(super) fn let_go_of_directory(&mut self, index: u32) {
        if let Op::Path(path) = &self.slots.header(index).op
            && let Some(entry) = path.held.take()
        {
            self.handles.entry_mut(entry).operations -= 1;
            self.close_if_idle(entry);
        }
    }

    /// Begins a move of the cursor, whose turn has come.
    pub(super) fn begin_seek(&mut self, index: u32, to: SeekFrom) {
        let header = self.slots.header(index);
        let base = match to {
            SeekFrom::Start(_) => 0,
            SeekFrom::Current(_) => self.handles.entry(header.handle).cursor,
            SeekFrom::End(_) => return self.shoot(index, false),
        };
        let error = self.seek(index, base, to);
        self.end_here(index, error);
    }

    /// Moves the cursor, if the operation is still wanted.
    pub(super) fn seek(&mut self, index: u32, base: u64, to: SeekFrom) -> Option<Error> {
        let header = self.slots.header(index);
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(distance) | SeekFrom::End(distance) => base.checked_add_signed(distance),
        };
        let Some(position) = position.filter(|&position| position <= MOST_OFFSET) else {
            return Some(Error::new(ErrorKind::InvalidInput, header.kind));
        };
        if let (Op::Path(path), State::Queued | State::InFlight | State::Cancelling) =
            (&header.op, header.state)
        {
            path.position.set(position);
            self.handles.entry_mut(header.handle).cursor = position;
        }
        None
    }

    /// Begins a read or write at the cursor, whose turn has come.
    pub(super) fn begin_at_cursor(&mut self, index: u32) {
        let header = self.slots.header_mut(index);
        let (kind, cursor) = (header.kind, self.handles.entry(header.handle).cursor);
        if let Op::ReadAt { offset, .. } | Op::WriteAt { offset, .. } = &mut header.op {
            *offset = cursor;
        }
        match header.op.transfer() {
            Some(transfer) if transfer.length == 0 => self.end_here(index, None),
            Some(transfer) if !transfer.in_range() => {
                self.end_here(index, Some(Error::new(ErrorKind::InvalidInput, kind)));
            }
            _ => self.shoot(index, false),
        }
    }

    /// Where the cursor is once the operation in this slot is over, if that used it.
    pub(super) fn cursor_after(&self, index: u32) -> Option<u64> {
        let header = self.slots.header(index);
        match header.op {
            Op::ReadAt { cursor: true, offset, .. } | Op::WriteAt { cursor: true, offset, .. }
                if header.moved > 0 =>
            {
                Some(offset + header.moved as u64)
            }
            _ => None,
        }
    }

    /// The descriptor that a slot's shot is about: where paths begin, if it has no handle.
    pub(super) fn descriptor_of(&self, handle: u32) -> (RawDescriptor, bool, Means) {
        match handle {
            super::slots::NONE => (CURRENT_DIRECTORY, false, Means::File),
            handle => {
                let entry = self.handles.entry(handle);
                (entry.descriptor, entry.lingers, entry.means)
            }
        }
    }
}
