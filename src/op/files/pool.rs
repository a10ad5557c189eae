//! What is done with files on the thread pool, because this kernel has no asynchronous operation for it.

use crate::Error;
use crate::backend::OwnedDescriptor;
use crate::engine::Core;
use crate::engine::op::{End, Op, Request, Target};
use crate::handle::Id;
use crate::op::blocking::Job;
use crate::report::Support;

/// The job of an operation that the kernel does or doesn't do itself: none if it does.
pub struct Fallback(Option<Job<Result<(), Error>>>);

impl Fallback {
    pub(super) const NONE: Fallback = Fallback(None);

    pub(super) fn finish(self, end: End) -> Result<(), Error> {
        match self.0 {
            None => end.result(),
            Some(job) => job.finish(end)?,
        }
    }
}

/// Makes the request one for the thread pool, if that is where its kind is done: `call` is given descriptors of its own of
/// what the handles name.
pub(super) fn fall_back(
    core: &Core,
    request: &mut Request,
    handles: [Option<Id>; 2],
    call: impl FnOnce([Option<OwnedDescriptor>; 2]) -> Result<(), i32> + Send + 'static,
) -> Fallback {
    let kind = request.kind;
    if core.support(kind) != Support::Pool || matches!(request.target, Target::Nothing) {
        return Fallback::NONE;
    }
    let descriptors = duplicates(core, handles);
    let descriptors = match descriptors {
        Ok(descriptors) => descriptors,
        Err(error) => {
            request.target = Target::Pool(None, Err(error.of(kind)));
            return Fallback::NONE;
        }
    };
    let job = Job::new(move || call(descriptors).map_err(|os| Error::from_os(os, kind)));
    request.op = Op::Blocking { ticket: 0 };
    request.target = Target::Pool(handles[0], job.offload(core));
    Fallback(Some(job))
}

/// Descriptors of a job's own, so that it needs no handle to stay open.
pub(super) fn duplicates(
    core: &Core,
    handles: [Option<Id>; 2],
) -> Result<[Option<OwnedDescriptor>; 2], Error> {
    let [first, second] = handles.map(|handle| handle.map(|handle| core.duplicate(handle)).transpose());
    Ok([first?, second?])
}
