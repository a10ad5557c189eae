//! Tasks: futures that the loop polls when they are woken.
//!
//! A task is one allocation: the state that its wakers look at, on whatever thread, and the future, which only the loop's
//! thread touches. Who wakes a task puts it into a list, on the loop's own thread without a lock; a tick polls those that
//! were in the list when its turn for tasks came.

use std::any::Any;
use std::cell::{Cell, RefCell, UnsafeCell};
use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::remote::Shared;
use super::teardown::{Panic, guarded};
use super::{Core, drop_quietly, erased};
use crate::op::Kind;
use crate::{Error, ErrorKind};

thread_local! {
    /// The loop whose tick is running on this thread, the innermost if there are several.
    static CURRENT: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

/// Makes a loop the current one until it is dropped.
pub(super) struct Current(Option<Rc<Core>>);

impl Current {
    pub(super) fn enter(core: &Rc<Core>) -> Current {
        Current(CURRENT.try_with(|current| current.replace(Some(core.clone()))).ok().flatten())
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        // A thread that is ending has no current loop any more.
        drop(CURRENT.try_with(|current| current.replace(self.0.take())));
    }
}

/// Why a task has no result.
pub(crate) enum Unfinished {
    Aborted,
    Panicked(Box<dyn Any + Send>),
}

/// What a loop has of its tasks.
pub(super) struct Tasks {
    ready: Arc<Ready>,
    /// Those to be polled next, woken on this thread or taken over from `ready`.
    woken: RefCell<VecDeque<Arc<dyn Run>>>,
    live: RefCell<Live>,
}

/// All tasks that have not ended, each at its place.
#[derive(Default)]
struct Live {
    tasks: Vec<Option<Arc<dyn Run>>>,
    free: Vec<u32>,
    closed: bool,
}

impl Live {
    fn count(&self) -> usize {
        self.tasks.len() - self.free.len()
    }
}

/// What wakers share with the loop.
struct Ready {
    shared: Arc<Shared>,
    /// Something is in the list: written under its lock, read without.
    any: AtomicBool,
    /// Tasks that were woken from outside the loop's tick.
    woken: Mutex<Woken>,
}

#[derive(Default)]
struct Woken {
    tasks: Vec<Arc<dyn Run>>,
    closed: bool,
}

impl Ready {
    fn lock(&self) -> MutexGuard<'_, Woken> {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, task: Arc<dyn Run>) {
        let mut woken = self.lock();
        if woken.closed {
            // Not under the lock, though a task that has ended has nothing to drop.
            drop(woken);
            return drop(task);
        }
        woken.tasks.push(task);
        self.any.store(true, Ordering::Relaxed);
        drop(woken);
        self.shared.wake_for_task();
    }
}

/// A task, whatever its future.
trait Run: Send + Sync {
    fn ready(&self) -> &Arc<Ready>;
    /// Polls it, or ends it if it was aborted. A panic that nobody waits for comes back.
    fn run(self: Arc<Self>, core: &Core) -> Option<Box<dyn Any + Send>>;
    /// Drops the future, at the end of the loop.
    fn shut(&self, core: &Core);
}

/// A task, whatever its future, to whom waits for its result. Only on the loop's thread.
pub(crate) trait Join<T> {
    /// Its result, once.
    fn poll_join(&self, waker: &Waker) -> Poll<Result<T, Unfinished>>;
    fn abort(self: Arc<Self>);
    fn is_over(&self) -> bool;
    /// Nobody wants the result any more.
    fn detach(&self);
}

/// Not in the list.
const IDLE: u8 = 0;
/// In the list, to be polled.
const WOKEN: u8 = 1;
const OVER: u8 = 2;

struct Task<F: Future> {
    ready: Arc<Ready>,
    state: AtomicU8,
    /// Its place among the live ones.
    index: u32,
    aborted: Cell<bool>,
    detached: Cell<bool>,
    /// The result is in `stage`, or was: the future is gone, and nothing else refers to the stage.
    over: Cell<bool>,
    joiner: Cell<Option<Waker>>,
    stage: UnsafeCell<Stage<F>>,
}

enum Stage<F: Future> {
    Running(F),
    Over(Result<F::Output, Unfinished>),
    Gone,
}

// SAFETY: what other threads reach through a waker is `ready` and `state`, both of which are theirs to use; all other fields
// are touched only by `Run` and `Join`, which only the loop calls (it stays on its thread) and the join handle (it isn't
// `Send`). Whoever drops the last reference may be on another thread, but finds `Gone` and no joiner: the loop has a
// reference until the task is over and its future dropped, and the join handle one until the result is taken or dropped.
unsafe impl<F: Future> Send for Task<F> {}
// SAFETY: as above.
unsafe impl<F: Future> Sync for Task<F> {}

impl<F: Future + 'static> Wake for Task<F> {
    fn wake(self: Arc<Self>) {
        if self.state.compare_exchange(IDLE, WOKEN, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            schedule(self);
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.compare_exchange(IDLE, WOKEN, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            schedule(self.clone());
        }
    }
}

/// Puts a task into the list of those to be polled.
fn schedule(task: Arc<dyn Run>) {
    let mut task = Some(task);
    // A thread that is ending has no current loop.
    let _ = CURRENT.try_with(|current| {
        let current = current.borrow();
        let tasks = current.as_ref().and_then(|core| core.tasks.get());
        if let Some(tasks) = tasks
            && let Some(own) = task.take_if(|task| Arc::ptr_eq(task.ready(), &tasks.ready))
        {
            tasks.woken.borrow_mut().push_back(own);
        }
    });
    if let Some(task) = task {
        task.ready().clone().push(task);
    }
}

impl<F: Future + 'static> Task<F> {
    /// The task is over: drops the future, and leaves the result to whoever waits for it. A panic that nobody waits for
    /// comes back.
    fn end(&self, core: &Core, result: Result<F::Output, Unfinished>) -> Option<Box<dyn Any + Send>> {
        self.state.store(OVER, Ordering::Release);
        let own = core.forget_task(self.index);
        // SAFETY: only this thread gets here, once: the future is still there, it is dropped where it lies, as pinning asks,
        // and the stage is written over before anybody looks at it (`over` is not set).
        let dropped = catch_unwind(AssertUnwindSafe(|| unsafe { std::ptr::drop_in_place(self.stage.get()) }));
        // SAFETY: as above. What was there is dropped.
        unsafe { self.stage.get().write(Stage::Gone) };
        let result = match dropped {
            Ok(()) => result,
            Err(panic) => {
                drop_quietly(result);
                Err(Unfinished::Panicked(panic))
            }
        };
        drop(own);
        if self.detached.get() {
            return match result {
                Err(Unfinished::Panicked(panic)) => Some(panic),
                _ => None,
            };
        }
        // SAFETY: as above; `Gone` needs no drop.
        unsafe { self.stage.get().write(Stage::Over(result)) };
        self.over.set(true);
        if let Some(joiner) = self.joiner.take() {
            joiner.wake();
        }
        None
    }

    /// The result, once. Only when it is `over`.
    fn take_result(&self) -> Option<Result<F::Output, Unfinished>> {
        // SAFETY: only the loop's thread gets here, and after `end` nobody else refers to the stage; no user code runs while
        // this does.
        match unsafe { std::mem::replace(&mut *self.stage.get(), Stage::Gone) } {
            Stage::Over(result) => Some(result),
            Stage::Running(_) | Stage::Gone => None,
        }
    }
}

impl<F: Future + 'static> Run for Task<F> {
    fn ready(&self) -> &Arc<Ready> {
        &self.ready
    }

    fn run(self: Arc<Self>, core: &Core) -> Option<Box<dyn Any + Send>> {
        // It may have been shut since it was put into the list.
        if self.state.compare_exchange(WOKEN, IDLE, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return None;
        }
        if self.aborted.get() {
            return self.end(core, Err(Unfinished::Aborted));
        }
        // SAFETY: a second name of the reference that is held here, never dropped: whoever wants to keep a waker clones it.
        let waker = ManuallyDrop::new(Waker::from(unsafe { Arc::from_raw(Arc::as_ptr(&self)) }));
        let polled = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: only the loop polls, on its own thread and never while it does already, and the future is not over, so
            // this is the only reference to the stage. The future never moves: it lies in its allocation until `end`.
            let Stage::Running(future) = (unsafe { &mut *self.stage.get() }) else { return Poll::Pending };
            // SAFETY: as above.
            unsafe { Pin::new_unchecked(future) }.poll(&mut Context::from_waker(&waker))
        }));
        match polled {
            Ok(Poll::Pending) => None,
            Ok(Poll::Ready(value)) => self.end(core, Ok(value)),
            Err(panic) => self.end(core, Err(Unfinished::Panicked(panic))),
        }
    }

    fn shut(&self, core: &Core) {
        if let Some(panic) = self.end(core, Err(Unfinished::Aborted)) {
            resume_unwind(panic);
        }
    }
}

impl<F: Future + 'static> Join<F::Output> for Task<F> {
    fn poll_join(&self, waker: &Waker) -> Poll<Result<F::Output, Unfinished>> {
        if !self.over.get() {
            let own = self.joiner.take().filter(|own| own.will_wake(waker));
            // Cloning is the user's code: the task may be over when it returns.
            let own = own.unwrap_or_else(|| waker.clone());
            if !self.over.get() {
                drop(self.joiner.replace(Some(own)));
                return Poll::Pending;
            }
        }
        match self.take_result() {
            Some(result) => Poll::Ready(result),
            None => Poll::Pending,
        }
    }

    fn abort(self: Arc<Self>) {
        if !self.over.get() {
            self.aborted.set(true);
            self.wake();
        }
    }

    fn is_over(&self) -> bool {
        self.over.get()
    }

    fn detach(&self) {
        self.detached.set(true);
        let joiner = self.joiner.take();
        let result = if self.over.get() { self.take_result() } else { None };
        drop(joiner);
        drop(result);
    }
}

/// What wakes a `block_on`.
struct Main {
    ready: Arc<Ready>,
    woken: AtomicBool,
}

impl Wake for Main {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.woken.swap(true, Ordering::AcqRel) {
            return;
        }
        let here = CURRENT.try_with(|current| {
            let current = current.borrow();
            let tasks = current.as_ref().and_then(|core| core.tasks.get());
            tasks.is_some_and(|tasks| Arc::ptr_eq(&tasks.ready, &self.ready))
        });
        if !here.unwrap_or(false) {
            self.ready.shared.wake_for_task();
        }
    }
}

impl Core {
    /// The loop whose tick is running on this thread.
    pub(crate) fn current() -> Option<Rc<Core>> {
        CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
    }

    fn tasks(&self) -> Result<&Tasks, Error> {
        if let Some(tasks) = self.tasks.get() {
            return Ok(tasks);
        }
        let shared = self.remote_shared()?;
        self.engine.borrow_mut().own_shares += 1;
        let ready = Ready { shared, any: AtomicBool::new(false), woken: Mutex::default() };
        Ok(self.tasks.get_or_init(|| Tasks {
            ready: Arc::new(ready),
            woken: RefCell::default(),
            live: RefCell::default(),
        }))
    }

    /// A new task, to be polled for the first time in a later tick, or in this one if its turn for tasks is still to come.
    pub(crate) fn spawn<F>(&self, future: F) -> Result<Arc<dyn Join<F::Output>>, Error>
    where
        F: Future + 'static,
    {
        let tasks = self.tasks().map_err(|error| error.of(Kind::Spawn))?;
        let mut live = tasks.live.borrow_mut();
        if live.closed {
            drop(live);
            return Err(Error::new(ErrorKind::LoopGone, Kind::Spawn));
        }
        let index = live.free.pop().unwrap_or_else(|| {
            live.tasks.push(None);
            live.tasks.len() as u32 - 1
        });
        let task = Arc::new(Task {
            ready: tasks.ready.clone(),
            state: AtomicU8::new(IDLE),
            index,
            aborted: Cell::new(false),
            detached: Cell::new(false),
            over: Cell::new(false),
            joiner: Cell::new(None),
            stage: UnsafeCell::new(Stage::Running(future)),
        });
        live.tasks[index as usize] = Some(task.clone());
        drop(live);
        task.wake_by_ref();
        Ok(task)
    }

    fn forget_task(&self, index: u32) -> Option<Arc<dyn Run>> {
        let mut live = self.tasks.get()?.live.borrow_mut();
        live.free.push(index);
        live.tasks[index as usize].take()
    }

    /// Whether there are tasks that have not ended.
    pub(super) fn has_tasks(&self) -> bool {
        self.tasks.get().is_some_and(|tasks| tasks.live.borrow().count() > 0)
    }

    /// Whether tasks wait to be polled.
    pub(super) fn has_ready_tasks(&self) -> bool {
        self.tasks.get().is_some_and(|tasks| !tasks.woken.borrow().is_empty())
    }

    /// Polls the tasks that are to be polled now.
    #[inline(never)]
    pub(super) fn run_tasks(&self, tasks: &Tasks) {
        if tasks.ready.any.load(Ordering::Relaxed) {
            let mut woken = tasks.ready.lock();
            tasks.ready.any.store(false, Ordering::Relaxed);
            tasks.woken.borrow_mut().extend(woken.tasks.drain(..));
        }
        let present = tasks.woken.borrow().len().min(self.task_budget);
        for _ in 0..present {
            let task = tasks.woken.borrow_mut().pop_front();
            let Some(task) = task else { return };
            if let Some(panic) = task.run(self) {
                resume_unwind(panic);
            }
        }
    }

    /// Drops the futures of all tasks, at the end of the loop.
    pub(super) fn drop_tasks(&self, panic: &mut Panic) {
        let Some(tasks) = self.tasks.get() else { return };
        tasks.live.borrow_mut().closed = true;
        let mut index = 0;
        loop {
            let task = match tasks.live.borrow().tasks.get(index) {
                Some(task) => task.clone(),
                None => break,
            };
            index += 1;
            if let Some(task) = task {
                guarded(panic, || task.shut(self));
            }
        }
        let others = {
            let mut woken = tasks.ready.lock();
            woken.closed = true;
            std::mem::take(&mut woken.tasks)
        };
        let own = tasks.woken.take();
        drop((others, own));
    }

    /// Turns until a future has its result.
    pub(crate) fn block_on<F: Future>(
        self: &Rc<Core>,
        context: erased::Context,
        future: F,
    ) -> Result<F::Output, Error> {
        let _ticking = self.begin_ticking(Kind::BlockOn)?;
        let ready = self.tasks().map_err(|error| error.of(Kind::BlockOn))?.ready.clone();
        let main = Arc::new(Main { ready, woken: AtomicBool::new(true) });
        let waker = Waker::from(main.clone());
        let value = {
            let mut future = pin!(future);
            loop {
                self.run_ready(context);
                if main.woken.swap(false, Ordering::AcqRel)
                    && let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker))
                {
                    break value;
                }
                // It ends with its future, not before.
                self.stop.set(false);
                self.wait(main.woken.load(Ordering::Acquire).then_some(Duration::ZERO))?;
            }
        };
        // What the future has left to be done, closes above all. If that fails, the next tick will tell.
        let _ = self.wait(Some(Duration::ZERO));
        Ok(value)
    }
}
