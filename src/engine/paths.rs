//! What operations on paths have beside their slot: the names, and room for what the system answers. It belongs to the
//! engine until the system lets go, so that whoever asked needn't wait for that.

use std::cell::Cell;
use std::ops::Deref;
use std::ptr::NonNull;
use std::rc::Rc;

use super::Engine;
use super::handles::Means;
use crate::backend::{CURRENT_DIRECTORY, RawDescriptor, StatBlock, SystemPath, system_path};
use crate::op::{Half, Metadata, OpenHow};

/// What is done with a path.
#[derive(Copy, Clone, Debug)]
pub(crate) enum Call {
    Open(OpenHow),
    /// The end, or both, of a FIFO.
    OpenFifo(Half),
    /// `itself`: of the handle, not of a path that begins there.
    Stat {
        follow: bool,
        itself: bool,
    },
}

/// A call on a path, or two.
pub struct PathCall {
    pub(crate) call: Call,
    pub(crate) path: SystemPath,
    stat: StatBlock,
    /// The system has written `stat`.
    told: Cell<bool>,
    /// The place in the handle table of what was opened.
    pub(crate) opened: Cell<Option<u32>>,
}

impl PathCall {
    /// `None` if the system can't be given the path.
    pub(crate) fn new(call: Call, path: &std::path::Path) -> Option<PathCall> {
        Some(PathCall::of(call, system_path(path)?))
    }

    /// On the handle itself.
    pub(crate) fn on_handle(call: Call) -> PathCall {
        PathCall::of(call, SystemPath::default())
    }

    fn of(call: Call, path: SystemPath) -> PathCall {
        let stat = StatBlock::empty();
        PathCall { call, path, stat, told: Cell::new(false), opened: Cell::new(None) }
    }

    /// Where the system writes what it knows.
    pub(crate) fn stat(&self) -> &StatBlock {
        &self.stat
    }

    /// The system has answered.
    pub(super) fn answered(&self) {
        self.told.set(true);
    }

    /// What the system answered, if it did.
    pub(crate) fn metadata(&self) -> Option<Metadata> {
        // SAFETY: the engine says so only once the backend has let go, which it does once.
        self.told.get().then(|| unsafe { self.stat.metadata() })
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
