//! What is done with files on the thread pool, because this kernel has no asynchronous operation for it.

use crate::backend::FileAccess;
use crate::engine::Core;
use crate::engine::op::{End, Op, Request, Stops, Target};
use crate::handle::Id;
use crate::handle::sealed::Handle as _;
use crate::op::blocking::{Job, Ready, Stop};
use crate::op::{Kind, Options};
use crate::report::Support;
use crate::{Error, ErrorKind, File};

/// What a job gets at files by, so that it needs no handle to stay open.
pub(super) fn accesses(core: &Core, handles: [Option<Id>; 2]) -> Result<[FileAccess; 2], Error> {
    let [first, second] = handles.map(|handle| core.access(handle));
    Ok([first?, second?])
}

/// What is always done on the pool: first what it needs, then its job.
pub struct Pooled<W, T> {
    work: Option<W>,
    handle: Option<File>,
    job: Option<Job<Result<T, Error>>>,
}

impl<W: Send + 'static, T: Send + 'static> Pooled<W, T> {
    pub(super) fn describe(
        kind: Kind,
        work: W,
        handle: Option<File>,
        options: Options,
    ) -> (Pooled<W, T>, Request) {
        let op = Op::Blocking { ticket: 0, stops: Stops::WhenAsked };
        let request = Request::new(kind, Target::Nothing, op, options);
        (Pooled { work: Some(work), handle, job: None }, request)
    }

    /// Makes the job. It is given a descriptor of its own of what the handle names.
    pub(super) fn lend(
        &mut self,
        request: &mut Request,
        core: &Core,
        run: impl FnOnce(W, FileAccess, &Stop) -> Result<T, Error> + Send + 'static,
    ) {
        self.lend_patient(request, core, |_, _| None, run);
    }

    /// As `lend`, for one that may have to wait: where there are no threads, until it is ready.
    pub(super) fn lend_patient(
        &mut self,
        request: &mut Request,
        core: &Core,
        ready: impl FnOnce(&W, &FileAccess) -> Option<Ready>,
        run: impl FnOnce(W, FileAccess, &Stop) -> Result<T, Error> + Send + 'static,
    ) {
        let kind = request.kind;
        let handle = self.handle.map(File::id);
        let access = match core.access(handle) {
            _ if core.support(kind) == Support::Unsupported => Err(Error::new(ErrorKind::Unsupported, kind)),
            access => access.map_err(|error| error.of(kind)),
        };
        let Some(work) = self.work.take() else { return };
        request.target = match access {
            Err(error) => Target::Pool(None, Err(error)),
            Ok(access) => {
                let ready = ready(&work, &access);
                let job = Job::stoppable(move |stop| run(work, access, stop), ready);
                let offload = job.offload(core);
                self.job = Some(job);
                Target::Pool(handle, offload)
            }
        };
    }

    pub(super) fn finish(self, end: &mut End) -> Result<T, Error> {
        let asked = end.error;
        match self.job {
            Some(job) => match job.finish_stoppable(end)? {
                // Who asked for it also knows why.
                Err(error) if error.kind() == ErrorKind::Cancelled => Err(asked.unwrap_or(error)),
                result => result,
            },
            None => Err(asked.expect("without a job there is an error")),
        }
    }
}
