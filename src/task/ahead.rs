//! What the traits of others need: bytes that are read before somebody asks, and written after somebody was told so.

use std::cell::{RefCell, RefMut};
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use super::future::current;
use super::{OpFuture, Owned};
use crate::engine::Core;
use crate::engine::erased::submit_bare;
use crate::handle::{File, Handle, Stream};
use crate::op::{self, Done, Failed, Kind, Operation};
use crate::{Error, ErrorKind};

/// How much is read at a time.
const READ_AHEAD: usize = 16 * 1024;
/// How much is written behind at most: what is being written, and what waits.
const WRITE_BEHIND: usize = 64 * 1024;

/// Bytes that were read and not taken.
#[derive(Debug)]
pub(super) struct ReadAhead<O: Operation> {
    reading: Option<OpFuture<O>>,
    read: Vec<u8>,
    /// How much of it was taken.
    at: usize,
}

impl<O: Operation> ReadAhead<O> {
    pub(super) fn new() -> ReadAhead<O> {
        ReadAhead { reading: None, read: Vec::new(), at: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at == self.read.len()
    }

    /// What was read and not taken; when there is nothing, reads more. Empty at the end.
    pub(super) fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        read: impl FnOnce(Vec<u8>) -> O,
    ) -> Poll<Result<&[u8], Error>>
    where
        OpFuture<O>: Future<Output = Result<(usize, Vec<u8>), Failed<Vec<u8>>>>,
    {
        if self.is_empty() {
            let buf = &mut self.read;
            self.at = 0;
            let reading = self.reading.get_or_insert_with(|| {
                let mut buf = std::mem::take(buf);
                buf.clear();
                buf.reserve_exact(READ_AHEAD);
                OpFuture::new(read(buf))
            });
            let ended = ready!(Pin::new(reading).poll(context));
            self.reading = None;
            self.read = match ended {
                Ok((_, buf)) => buf,
                Err(failed) => return Poll::Ready(Err(failed.error)),
            };
        }
        Poll::Ready(Ok(&self.read[self.at..]))
    }

    /// So much of it was taken; how much of that there was.
    pub(super) fn consume(&mut self, bytes: usize) -> usize {
        let bytes = bytes.min(self.read.len() - self.at);
        self.at += bytes;
        bytes
    }

    /// What was read is no longer what comes next.
    pub(super) fn forget(&mut self) {
        self.reading = None;
        self.read.clear();
        self.at = 0;
    }
}

/// What bytes are written to.
pub(super) trait Written: Handle {
    type Write: Operation<Output = Done<Vec<u8>>>;

    const WRITE: Kind;
    /// Whether what follows bytes that couldn't be written may not be written either.
    const IN_ORDER: bool;

    /// Writes the whole buffer; `place` is where in the file.
    fn write(self, buf: Vec<u8>, place: u64) -> Self::Write;
}

impl<H: Stream> Written for H {
    type Write = op::Send<Vec<u8>>;

    const WRITE: Kind = Kind::Send;
    const IN_ORDER: bool = true;

    fn write(self, buf: Vec<u8>, _: u64) -> op::Send<Vec<u8>> {
        op::Send::new(self, buf).all()
    }
}

impl Written for File {
    type Write = op::WriteAt<Vec<u8>>;

    const WRITE: Kind = Kind::WriteAt;
    const IN_ORDER: bool = false;

    fn write(self, buf: Vec<u8>, place: u64) -> op::WriteAt<Vec<u8>> {
        op::WriteAt::new(self, buf, place).all()
    }
}

/// Bytes that were taken over and are written by callbacks, one write after the other, whether somebody waits for it or not.
pub(super) struct WriteBehind<H> {
    behind: Rc<Behind<H>>,
}

struct Behind<H> {
    core: Rc<Core>,
    handle: H,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    /// How much is being written.
    under_way: usize,
    /// What is to be written next.
    waiting: Vec<u8>,
    /// The buffer of the last write, to be used again.
    spare: Vec<u8>,
    /// Where the last byte that was taken over ends.
    end: u64,
    /// What went wrong and was not told yet, or for good.
    failed: Option<Error>,
    /// Who waits for room, or for the end of it all.
    waker: Option<Waker>,
}

impl<H: Written> WriteBehind<H> {
    pub(super) fn new(owned: &Owned<H>) -> WriteBehind<H> {
        let state = RefCell::default();
        WriteBehind { behind: Rc::new(Behind { core: owned.core().clone(), handle: owned.handle(), state }) }
    }

    /// Takes over some of these bytes, as soon as there is room; the first has this place in a file.
    pub(super) fn poll_put(
        &self,
        context: &mut Context<'_>,
        bytes: &[u8],
        place: u64,
    ) -> Poll<Result<usize, Error>> {
        let mut state = self.state();
        state.told::<H>()?;
        let room = WRITE_BEHIND - state.under_way - state.waiting.len();
        let count = bytes.len().min(room);
        if count == 0 {
            if bytes.is_empty() {
                return Poll::Ready(Ok(0));
            }
            drop(state);
            self.wait(context);
            return Poll::Pending;
        }
        let idle = state.under_way == 0;
        if idle {
            self.behind.check_loop()?;
        }
        state.waiting.extend_from_slice(&bytes[..count]);
        state.end = place.saturating_add(count as u64);
        if idle {
            self.behind.clone().write(state);
        }
        Poll::Ready(Ok(count))
    }

    /// Waits until everything is written.
    pub(super) fn poll_written(&self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut state = self.state();
        state.told::<H>()?;
        if state.under_way == 0 {
            return Poll::Ready(Ok(()));
        }
        drop(state);
        self.wait(context);
        Poll::Pending
    }

    /// What went wrong by now: what was taken over is written without anybody's help.
    #[cfg(feature = "hyper")]
    pub(super) fn check(&self) -> Result<(), Error> {
        self.state().told::<H>()
    }

    /// Gives all that waits to the loop, if it is running.
    pub(super) fn hand_over(self) {
        let state = self.state();
        if !state.waiting.is_empty() && self.behind.check_loop().is_ok() {
            self.behind.clone().write(state);
        }
    }

    /// Keeps the waker. Nothing is borrowed while it is cloned or dropped: that is somebody's code, which may turn the loop.
    fn wait(&self, context: &Context<'_>) {
        let waker = context.waker();
        if self.state().waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            return;
        }
        let cloned = waker.clone();
        let mut state = self.state();
        let (before, over) = (state.waker.replace(cloned), state.under_way == 0);
        drop(state);
        drop(before);
        if over {
            waker.wake_by_ref();
        }
    }

    fn state(&self) -> RefMut<'_, State> {
        self.behind.state.borrow_mut()
    }
}

impl<H: Written> Behind<H> {
    /// Only a loop that is running takes operations for certain.
    fn check_loop(&self) -> Result<(), Error> {
        match Rc::ptr_eq(&current(H::WRITE)?, &self.core) {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::WrongLoop, H::WRITE)),
        }
    }

    /// Begins to write what waits.
    fn write(self: Rc<Self>, mut state: RefMut<'_, State>) {
        let spare = std::mem::take(&mut state.spare);
        let buf = std::mem::replace(&mut state.waiting, spare);
        let bytes = buf.len();
        state.under_way += bytes;
        let place = state.end.saturating_sub(bytes as u64);
        drop(state);
        let write = self.handle.write(buf, place);
        let cancelled = Err(Error::new(ErrorKind::Cancelled, H::WRITE));
        let writing = Writing { behind: self.clone(), bytes, result: cancelled };
        submit_bare(&self.core, write, move |done| writing.end(done));
    }
}

/// A write that is under way.
struct Writing<H: Written> {
    behind: Rc<Behind<H>>,
    bytes: usize,
    /// How it ended; if never, then by the end of its loop.
    result: Result<(), Error>,
}

impl<H: Written> Writing<H> {
    fn end(mut self, done: Done<Vec<u8>>) {
        let mut buf = done.buf;
        buf.clear();
        self.behind.state.borrow_mut().spare = buf;
        self.result = done.result;
    }
}

impl<H: Written> Drop for Writing<H> {
    /// Goes on with what has come meanwhile.
    fn drop(&mut self) {
        let mut state = self.behind.state.borrow_mut();
        state.under_way -= self.bytes;
        if let Err(error) = self.result {
            state.failed = Some(error);
            if H::IN_ORDER || error.kind() == ErrorKind::Cancelled {
                state.waiting.clear();
            }
        }
        let waker = state.waker.take();
        if state.under_way == 0 && !state.waiting.is_empty() {
            self.behind.clone().write(state);
        } else {
            drop(state);
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl State {
    /// Tells what went wrong.
    fn told<H: Written>(&mut self) -> Result<(), Error> {
        let failed = if H::IN_ORDER { self.failed } else { self.failed.take() };
        failed.map_or(Ok(()), Err)
    }
}

impl<H> fmt::Debug for WriteBehind<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.behind.state.borrow();
        let (under_way, waiting, failed) = (state.under_way, state.waiting.len(), &state.failed);
        let mut shown = f.debug_struct("WriteBehind");
        shown.field("under_way", &under_way).field("waiting", &waiting).field("failed", failed).finish()
    }
}
