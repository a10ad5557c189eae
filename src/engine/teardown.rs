//! The end of a loop: no callback runs any more, no memory goes back while the system may touch it.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use super::blocks::Blocks;
use super::finish::Next;
use super::handles::EntryState;
use super::op::Op;
use super::slots::{Slots, State};
use super::{Core, Engine, drop_quietly};
use crate::handle::OpId;
use crate::{Linger, TcpOptions};

/// How long dropping a loop waits for the system to let go.
const PATIENCE: Duration = Duration::from_secs(1);

/// A panic of a `Drop` during the tear-down, kept until everything is down.
pub(super) type Panic = Option<Box<dyn std::any::Any + Send>>;

impl Core {
    /// Drops all callbacks unrun, waits a while for the system to let go of the buffers, and closes what is open.
    pub(crate) fn tear_down(&self) {
        let mut panic = None;
        // Their futures may hold anything of the loop.
        self.drop_tasks(&mut panic);
        // First: whoever still gives the loop something to do gets it back.
        self.drop_entries(&mut panic);
        self.engine.borrow_mut().cancel_awaited();
        self.remove_everything(&mut panic);
        self.leave_jobs_behind(&mut panic);
        let deadline = self.now() + PATIENCE;
        loop {
            // First: what has come already lets closes begin, and no other completion may be on its way.
            self.collect_completions();
            self.dispose_of_completed(&mut panic);
            if !self.engine.borrow().engaged() {
                break;
            }
            // Without time left, it still hands over the closes that have begun.
            let left = deadline - self.now();
            let mut engine = self.engine.borrow_mut();
            let waited = self.wait_for_backend(&mut engine, Some(left));
            if waited.is_err() || (left.is_zero() && engine.completions.is_empty()) {
                break;
            }
        }
        {
            let mut engine = self.engine.borrow_mut();
            engine.down = true;
            engine.close_all();
        }
        match panic {
            None => {}
            // Another panic is on its way already.
            Some(panic) if std::thread::panicking() => drop_quietly(panic),
            Some(panic) => resume_unwind(panic),
        }
    }

    /// Drops what other threads gave the loop to do.
    fn drop_entries(&self, panic: &mut Panic) {
        self.close_remote();
        while let Some(entry) = self.next_unrun() {
            guarded(panic, || drop(entry));
        }
    }

    /// Drops every callback, and every buffer that the system doesn't have.
    fn remove_everything(&self, panic: &mut Panic) {
        let mut index = 0;
        loop {
            let next = self.engine.borrow().next_removable(index);
            let Some(operation) = next else { return };
            index = operation.0.index();
            guarded(panic, || {
                self.remove(operation);
            });
        }
    }

    /// A job that is running has no memory of the loop's: its result, if there is one already, is dropped here, else
    /// on its own thread.
    fn leave_jobs_behind(&self, panic: &mut Panic) {
        let capacity = self.engine.borrow().slots.capacity();
        for index in 0..capacity {
            let left_behind = {
                let mut engine = self.engine.borrow_mut();
                engine.let_go_of_job(index) || engine.abandon_course(index)
            };
            if left_behind {
                guarded(panic, || self.dispose(index));
            }
        }
    }

    fn dispose_of_completed(&self, panic: &mut Panic) {
        loop {
            let next = self.engine.borrow_mut().next_completion();
            match next {
                None => return,
                // Whoever still has its future may take what it brought.
                Some(Next::Callback(index)) if self.is_awaited(index) => {
                    guarded(panic, || self.wake_awaiter(index));
                }
                Some(Next::Callback(index) | Next::Dispose(index)) => guarded(panic, || self.dispose(index)),
                Some(Next::Nothing | Next::Begin(_)) => {}
            }
        }
    }
}

/// Runs user code that may panic; keeps the first panic.
pub(super) fn guarded(panic: &mut Panic, action: impl FnOnce()) {
    match catch_unwind(AssertUnwindSafe(action)) {
        Err(payload) if panic.is_none() => *panic = Some(payload),
        other => drop_quietly(other),
    }
}

impl Engine {
    /// Whether the backend still has a slot.
    fn engaged(&self) -> bool {
        (0..self.slots.capacity()).any(|index| self.slots.header(index).engaged)
    }

    fn let_go_of_job(&mut self, index: u32) -> bool {
        let header = self.slots.header_mut(index);
        let running = matches!(header.op, Op::Blocking { .. }) && header.engaged;
        header.engaged &= !running;
        if running {
            self.leave_handle(index);
        }
        running
    }

    /// The first operation from `index` on that can be removed.
    fn next_removable(&self, index: u32) -> Option<OpId> {
        let removable = |&index: &u32| {
            let header = self.slots.header(index);
            let ended = matches!(header.state, State::Free | State::Placing | State::Orphaned);
            !ended && !header.awaited
        };
        (index..self.slots.capacity()).find(removable).map(|index| self.op_id(index))
    }

    /// Closes every descriptor that the backend wasn't told to close.
    fn close_all(&mut self) {
        self.handles.remove_files();
        for entry in self.handles.all_mut() {
            if entry.state != EntryState::Free && !entry.close_submitted {
                // Unsent data goes on in the system's own time: nobody waits for it here.
                if entry.lingers {
                    let no_waiting = TcpOptions::default().linger(Linger::System);
                    let _ = self.backend.calls().set_tcp_options(entry.descriptor, &no_waiting);
                }
                self.backend.cold().close_now(entry.descriptor);
                // Owning types that outlive the loop must not close it again.
                entry.state = EntryState::Closing;
                entry.close_submitted = true;
            }
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        let engine = self.engine.get_mut();
        let highest = engine.slots.highest_generation().max(engine.handles.highest_generation());
        engine.number.give_back(highest);
        if engine.engaged() {
            // The system may still write there: leaked, never freed.
            std::mem::forget(std::mem::replace(&mut engine.slots, Slots::new(0)));
            std::mem::forget(std::mem::replace(&mut engine.blocks, Blocks::new()));
        }
    }
}
