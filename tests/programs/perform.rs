//! Carries out steps: from `main`, from callbacks, and from the drops of closures.

use std::rc::Rc;
use std::time::Duration;

use nbio::{
    Error, ErrorKind, Event, Half, Instant, ManyOperation, OpId, Operation, OwnedDescriptor, TcpStream, op,
};

use super::address::own_address;
use super::descriptors::{change_mode, stream_of};
use super::judge;
use super::step::{Limit, Plan, Step};
use super::tracked::Ballast;
use super::transfer;
use super::world::{Guard, Io, Name, Record, What, World, check_ballast};

/// What a planned panic carries, so that it is not taken for a failure.
pub struct Planned;

pub fn perform(world: &Rc<World>, io: &Io, step: &Step) {
    match step {
        Step::Recv { end, transfer, plan } => {
            on_end(world, *end, |end| transfer::recv(world, io, end, *transfer, plan))
        }
        Step::RecvVectored { end, transfer, plan } => {
            on_end(world, *end, |end| transfer::recv_vectored(world, io, end, *transfer, plan));
        }
        Step::Send { end, transfer, plan } => {
            on_end(world, *end, |end| transfer::send(world, io, end, *transfer, plan))
        }
        Step::SendVectored { end, transfer, plan } => {
            on_end(world, *end, |end| transfer::send_vectored(world, io, end, *transfer, plan));
        }
        Step::Accept(plan) => accept(world, io, plan),
        Step::Connect(plan) => connect(world, io, plan),
        Step::Shutdown { end, half, plan } => {
            on_end(world, *end, |end| shutdown(world, io, end, *half, plan))
        }
        Step::Timer { micros, plan } => timer(world, io, *micros, plan),
        Step::Interval { micros, items, plan } => interval(world, io, *micros, *items, plan),
        Step::NextTick(plan) => submit(world, io, What::NextTick, On::Nothing, op::NextTick::new(), plan),
        Step::Blocking(plan) => {
            submit(world, io, What::Blocking, On::Nothing, op::Blocking::new(|| ()), plan);
        }
        Step::Close { end } => on_end(world, *end, |end| close(world, io, end)),
        Step::CloseThen { end, plan } => on_end(world, *end, |end| {
            let on = On::of(world, end);
            submit(world, io, What::Close, on, op::Close::new(on.stream()), plan);
            on.mark_closed(world);
        }),
        Step::CloseGracefully { end, micros, plan } => on_end(world, *end, |end| {
            close_gracefully(world, io, end, Duration::from_micros(*micros), plan);
        }),
        Step::CloseListener => close_listener(world, io),
        Step::Cancel { back } => on_operation(world, *back, |at, id| cancel(world, io, at, id)),
        Step::Remove { back } => on_operation(world, *back, |at, id| remove(world, io, at, id)),
        Step::CancelAll { end } => on_end(world, *end, |end| cancel_all(world, io, end)),
        Step::CancelAccepts => cancel_accepts(world, io),
        Step::Reset { back, micros } => {
            on_operation(world, *back, |at, id| reset(world, io, at, id, *micros))
        }
        Step::Readopt { end, nonblocking } => {
            on_end(world, *end, |end| readopt(world, io, end, *nonblocking))
        }
        Step::Foreign => foreign(world, io),
        Step::Stop => io.stop(),
        Step::Tick { micros } => tick(world, io, Duration::from_micros(*micros)),
        Step::Panic if world.ticking.get() => std::panic::resume_unwind(Box::new(Planned)),
        Step::Panic => {}
    }
}

fn on_end(world: &Rc<World>, back: usize, act: impl FnOnce(usize)) {
    let count = world.inner.borrow().ends.len();
    if count > 0 {
        act(count - 1 - back % count);
    }
}

fn on_operation(world: &Rc<World>, back: usize, act: impl FnOnce(usize, OpId)) {
    let known = {
        let inner = world.inner.borrow();
        let at = inner.records.len().checked_sub(1 + back);
        at.and_then(|at| inner.records[at].id.map(|id| (at, id)))
    };
    if let Some((at, id)) = known {
        act(at, id);
    }
}

/// What an operation is submitted on.
#[derive(Copy, Clone)]
pub enum On {
    Nothing,
    Listener(Name),
    Stream { end: Option<usize>, name: Name, stream: TcpStream },
}

impl On {
    /// The end under its name; now and then under one that it had before.
    pub fn of(world: &World, end: usize) -> On {
        let inner = world.inner.borrow();
        let it = &inner.ends[end];
        // Every fourth operation on an end that had other names.
        if let Some(&old) = it.old.last()
            && inner.records.len().is_multiple_of(4)
        {
            return On::Stream { end: None, name: Name::Stale, stream: old };
        }
        let name = if it.closed { Name::Stale } else { Name::Good };
        On::Stream { end: (name == Name::Good).then_some(end), name, stream: it.name }
    }

    pub fn stream(self) -> TcpStream {
        let On::Stream { stream, .. } = self else { unreachable!("asked of streams only") };
        stream
    }

    fn mark_closed(self, world: &World) {
        if let On::Stream { end: Some(end), .. } = self {
            world.mark_closed(end);
        }
    }
}

/// When the operation must have ended.
pub fn limit(io: &Io, limit: Limit) -> Option<Instant> {
    match limit {
        Limit::None => None,
        // Read before the submit, so that the real one is no earlier.
        Limit::Within(micros) => Some(io.now() + Duration::from_micros(micros)),
        Limit::Past => Some(io.now() - Duration::from_millis(1)),
    }
}

/// Writes an operation down, before it is submitted.
pub fn record(world: &Rc<World>, io: &Io, what: What, on: On, plan: &Plan) -> (Guard, usize) {
    let counted = world.ledger.counted();
    let (end, name) = match on {
        On::Nothing => (None, Name::Good),
        On::Listener(name) => (None, name),
        On::Stream { end, name, .. } => (end, name),
    };
    let record = Record {
        what,
        id: None,
        end,
        name,
        limit: limit(io, plan.limit),
        bad_input: false,
        asked: world.draining.get(),
        removed: false,
        behind_cut: false,
        ended: false,
        tick: world.tick.get(),
    };
    let operation = {
        let mut inner = world.inner.borrow_mut();
        inner.records.push(record);
        inner.records.len() - 1
    };
    world.note("submit", Some(operation), end, 0);
    (Guard::new(world, operation, counted, &plan.dropped), operation)
}

pub fn limited<O: Operation>(operation: O, plan: &Plan, limit: Option<Instant>) -> O {
    let operation = if plan.background { operation.background() } else { operation };
    match (plan.limit, limit) {
        (Limit::Within(micros), _) => operation.timeout(Duration::from_micros(micros)),
        (Limit::Past, Some(at)) => operation.deadline(at),
        _ => operation,
    }
}

/// Submits with a closure of either size.
pub fn hand_over<O: Operation>(
    world: &Rc<World>,
    io: &Io,
    operation: O,
    plan: &Plan,
    mut guard: Guard,
    callback: impl FnOnce(&Guard, &Io, O::Output) + 'static,
) {
    let at = guard.operation;
    let limit = world.inner.borrow().records[at].limit;
    let operation = limited(operation, plan, limit);
    let then = plan.then.clone();
    let run = move |tally: &mut u64, io: &Io, output: O::Output| {
        *tally += 1;
        guard.ran();
        guard.world.depth.set(1);
        callback(&guard, io, output);
        then.iter().for_each(|step| perform(&guard.world, io, step));
        guard.world.depth.set(0);
    };
    let id = if plan.large {
        let (ballast, world) = (Ballast::new(), world.clone());
        io.submit(operation, move |tally, io, output| {
            check_ballast(&world, &ballast, at);
            run(tally, io, output);
        })
    } else {
        io.submit(operation, run)
    };
    submitted(world, at, id);
}

fn submitted(world: &World, at: usize, id: OpId) {
    let mut inner = world.inner.borrow_mut();
    inner.records[at].id = Some(id);
    let early = inner.records[at].ended;
    drop(inner);
    world.check(!early, || format!("the callback of #{at} ran inside its submit"));
}

/// Submits an operation that ends with a plain result.
fn submit<O>(world: &Rc<World>, io: &Io, what: What, on: On, operation: O, plan: &Plan)
where
    O: Operation<Output = Result<(), Error>>,
{
    let (guard, _) = record(world, io, what, on, plan);
    hand_over(world, io, operation, plan, guard, |guard, io, result| {
        judge::ended(guard, io, 0, result);
    });
}

fn on_listener(world: &World) -> Option<(On, nbio::TcpListener)> {
    let inner = world.inner.borrow();
    let name = if inner.listener_closed { Name::Stale } else { Name::Good };
    inner.listener.map(|(listener, _)| (On::Listener(name), listener))
}

fn accept(world: &Rc<World>, io: &Io, plan: &Plan) {
    let Some((on, listener)) = on_listener(world) else { return };
    let (guard, _) = record(world, io, What::Accept, on, plan);
    hand_over(world, io, op::Accept::new(listener), plan, guard, |guard, io, accepted| {
        judge::ended(guard, io, 0, accepted.map(drop));
        if let Ok(accepted) = accepted {
            let end = guard.world.add_end(io, accepted.stream);
            guard.world.note("accepted", Some(guard.operation), Some(end), 0);
        }
    });
}

fn connect(world: &Rc<World>, io: &Io, plan: &Plan) {
    let Some((_, address)) = world.inner.borrow().listener else { return };
    let (guard, _) = record(world, io, What::Connect, On::Nothing, plan);
    // From an address of its own, since the system may give the port of a connection that is over again.
    let operation = op::Connect::new(address).from(own_address());
    hand_over(world, io, operation, plan, guard, |guard, io, connected| {
        judge::ended(guard, io, 0, connected.map(drop));
        if let Ok(stream) = connected {
            let end = guard.world.add_end(io, stream);
            guard.world.note("connected", Some(guard.operation), Some(end), 0);
        }
    });
}

fn shutdown(world: &Rc<World>, io: &Io, end: usize, half: Half, plan: &Plan) {
    let on = On::of(world, end);
    if let On::Stream { end: Some(end), .. } = on {
        let mut inner = world.inner.borrow_mut();
        inner.ends[end].shut[0] |= half != Half::Write;
        inner.ends[end].shut[1] |= half != Half::Read;
    }
    submit(world, io, What::Shutdown(half), on, op::Shutdown::new(on.stream(), half), plan);
    if half != Half::Read {
        transfer::enqueue(world, on, 1);
    }
}

fn timer(world: &Rc<World>, io: &Io, micros: u64, plan: &Plan) {
    let duration = Duration::from_micros(micros);
    let due = io.now() + duration;
    submit(world, io, What::Timer { due }, On::Nothing, op::Timer::after(duration), plan);
}

fn interval(world: &Rc<World>, io: &Io, micros: u64, items: u32, plan: &Plan) {
    let (mut guard, at) = record(world, io, What::Interval, On::Nothing, plan);
    let mut operation = op::Interval::every(Duration::from_micros(micros));
    if plan.background {
        operation = operation.background();
    }
    let limit = world.inner.borrow().records[at].limit;
    operation = match (plan.limit, limit) {
        (Limit::Within(micros), _) => operation.timeout(Duration::from_micros(micros)),
        (Limit::Past, Some(at)) => operation.deadline(at),
        _ => operation,
    };
    let (then, mut left) = (plan.then.clone(), items);
    let id = io.submit_many(operation, move |tally, io, event| {
        *tally += 1;
        guard.world.depth.set(1);
        // A panic inside is the end of it.
        let over = Over(&guard.world, guard.operation);
        match event {
            Event::Item(periods) => {
                judge::item(&guard, periods);
                then.iter().for_each(|step| perform(&guard.world, io, step));
                left = left.saturating_sub(1);
                if left == 0 {
                    on_itself(&guard.world, io, guard.operation);
                }
            }
            Event::End(result) => judge::ended(&guard, io, 0, result),
        }
        std::mem::forget(over);
        guard.world.depth.set(0);
        if !guard.world.inner.borrow().records[guard.operation].is_live() {
            guard.ran();
        }
    });
    submitted(world, at, id);
}

/// Marks a repeating operation whose callback panics as over.
struct Over<'a>(&'a World, usize);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.inner.borrow_mut().records[self.1].ended = true;
    }
}

/// An interval ends itself from inside: every other one by a remove.
fn on_itself(world: &Rc<World>, io: &Io, operation: usize) {
    let id = world.inner.borrow().records[operation].id;
    let Some(id) = id else { return };
    if operation.is_multiple_of(2) {
        cancel(world, io, operation, id)
    } else {
        remove(world, io, operation, id)
    }
}

fn close(world: &Rc<World>, io: &Io, end: usize) {
    let on = On::of(world, end);
    world.note("close", None, Some(end), 0);
    io.close(on.stream());
    on.mark_closed(world);
}

fn close_gracefully(world: &Rc<World>, io: &Io, end: usize, within: Duration, plan: &Plan) {
    let on = On::of(world, end);
    let (mut guard, at) = record(world, io, What::CloseGracefully, on, plan);
    world.inner.borrow_mut().records[at].limit = Some(io.now() + within);
    let then = plan.then.clone();
    io.close_gracefully(on.stream(), within, move |tally, io, result| {
        *tally += 1;
        guard.ran();
        judge::ended(&guard, io, 0, result);
        then.iter().for_each(|step| perform(&guard.world, io, step));
    });
    if let On::Stream { end: Some(end), .. } = on {
        // The limit may cut off the sends, too; but nobody has asked for the end of the close itself.
        world.mark_closed(end);
        world.inner.borrow_mut().records[at].asked = world.draining.get();
        world.inner.borrow_mut().ends[end].shut[1] = true;
    }
}

fn close_listener(world: &Rc<World>, io: &Io) {
    let listener = world.inner.borrow().listener;
    let Some((listener, _)) = listener else { return };
    world.note("close listener", None, None, 0);
    io.close(listener);
    world.inner.borrow_mut().listener_closed = true;
    ask_accepts(world);
}

fn ask_accepts(world: &World) {
    for record in &mut world.inner.borrow_mut().records {
        record.asked |= matches!(record.what, What::Accept);
    }
}

fn cancel(world: &Rc<World>, io: &Io, at: usize, id: OpId) {
    let live = world.inner.borrow().records[at].is_live();
    let cancelled = io.cancel(id);
    world.note("cancel", Some(at), None, cancelled.into());
    world.inner.borrow_mut().records[at].asked |= cancelled;
    world.check(live || !cancelled, || format!("cancel of #{at}, which has ended or was removed, said true"));
}

fn remove(world: &Rc<World>, io: &Io, at: usize, id: OpId) {
    let live = world.inner.borrow().records[at].is_live();
    world.note("remove", Some(at), None, live.into());
    if live {
        // Before: dropping the closure may do anything, unwind too.
        world.mark_removed(at);
    }
    let removed = io.remove(id);
    world.check(removed == live, || format!("remove of #{at} said {removed}"));
}

fn cancel_all(world: &Rc<World>, io: &Io, end: usize) {
    let On::Stream { end: good, stream, .. } = On::of(world, end) else { unreachable!() };
    let result = io.cancel_all(stream);
    world.note("cancel all", None, Some(end), *result.as_ref().unwrap_or(&0) as u64);
    match (good, result) {
        (Some(end), Ok(_)) => world.ask_all(end),
        (None, Err(error)) if error.kind() == ErrorKind::StaleHandle => {}
        (_, result) => world.fail(|| format!("cancel_all on end {end}: {result:?}")),
    }
}

fn cancel_accepts(world: &Rc<World>, io: &Io) {
    let listener = world.inner.borrow().listener;
    let Some((listener, _)) = listener else { return };
    if io.cancel_all(listener).is_ok() {
        world.note("cancel accepts", None, None, 0);
        ask_accepts(world);
    }
}

fn reset(world: &Rc<World>, io: &Io, at: usize, id: OpId, micros: u64) {
    let duration = Duration::from_micros(micros);
    let due = io.now() + duration;
    let (live, what) = {
        let record = &world.inner.borrow().records[at];
        (record.is_live(), record.what)
    };
    let reset = io.reset(id, duration);
    world.note("reset", Some(at), None, reset.into());
    let timer = matches!(what, What::Timer { .. } | What::Interval);
    world.check(!reset || (live && timer), || format!("reset of #{at} said true"));
    if reset && let What::Timer { due: old } = &mut world.inner.borrow_mut().records[at].what {
        *old = due;
    }
}

/// Takes a stream out of the loop and puts it in again.
fn readopt(world: &Rc<World>, io: &Io, end: usize, nonblocking: bool) {
    let (stream, closed, removed, any) = {
        let inner = world.inner.borrow();
        let it = &inner.ends[end];
        let any = inner.records.iter().any(|record| record.end == Some(end) && !record.ended);
        (it.name, it.closed, it.removed != [false; 2], any)
    };
    if removed {
        // Its position may be unknown; a new name would hide that.
        return;
    }
    // By release and adopt, or by detach and attach, which a simulation has, too.
    let again = if nonblocking || io.report().backend() == "sim" {
        io.detach(stream).map(|detached| Some(io.attach(detached).expect("this loop's own")))
    } else {
        io.release(stream).map(|descriptor| adopt(io, descriptor))
    };
    world.note("readopt", None, Some(end), again.is_ok().into());
    match again {
        Ok(_) if closed => world.fail(|| format!("a stale name of end {end} was released")),
        Ok(name) => {
            let mut inner = world.inner.borrow_mut();
            let it = &mut inner.ends[end];
            match name {
                Some(name) => it.old.push(std::mem::replace(&mut it.name, name)),
                None => it.closed = true,
            }
        }
        Err(error) => {
            let kind = error.kind();
            let right = match kind {
                ErrorKind::StaleHandle => closed,
                ErrorKind::Busy => !closed && any,
                // Some systems never let go of what was used on a port.
                ErrorKind::Unsupported => cfg!(windows) && nonblocking && !closed,
                _ => false,
            };
            world.check(right, || format!("release of end {end}: {error}"));
        }
    }
}

/// `None` (and closed) if the peer has reset the connection: then it is no connection any more.
fn adopt(io: &Io, descriptor: OwnedDescriptor) -> Option<TcpStream> {
    let socket = stream_of(descriptor);
    change_mode(&socket);
    match io.adopt(socket) {
        Ok(name) => Some(name),
        Err(rejected) => {
            let socket = stream_of(rejected.descriptor);
            // Where a socket can't leave its port it can't be adopted again, and is closed.
            let bound = cfg!(windows) && rejected.error.kind() == ErrorKind::Busy;
            assert!(bound || socket.peer_addr().is_err(), "adopting a connected socket: {}", rejected.error);
            None
        }
    }
}

fn foreign(world: &Rc<World>, io: &Io) {
    let (stream, operation) = world.foreign;
    world.check(!io.cancel(operation) && !io.remove(operation), || "a foreign operation was ended".into());
    world.check(io.cancel_all(stream).err().map(|error| error.kind()) == Some(ErrorKind::WrongLoop), || {
        "a foreign stream was cancelled".into()
    });
    world.check(io.release(stream).err().map(|error| error.kind()) == Some(ErrorKind::WrongLoop), || {
        "a foreign stream was released".into()
    });
    let on = On::Stream { end: None, name: Name::Foreign, stream };
    submit(world, io, What::Close, on, op::Close::new(stream), &Plan::bare());
}

/// One tick; inside another it is refused.
pub fn tick(world: &Rc<World>, io: &Io, limit: Duration) {
    let nested = world.ticking.get();
    if !nested {
        world.ticking.set(true);
        world.tick.set(world.tick.get() + 1);
        world.note("tick", None, None, world.tick.get());
    }
    let depth = world.depth.get();
    let untick = Untick(world, nested, depth);
    let result = io.tick_with(&mut 0, Some(limit));
    drop(untick);
    match result {
        Ok(()) => world.check(!nested, || "a tick inside a tick was not refused".into()),
        Err(error) => {
            let right = nested && error.kind() == ErrorKind::Reentrant;
            world.check(right, || format!("tick: {error}"));
        }
    }
}

/// The tick is over, also if a callback panicked.
struct Untick<'a>(&'a World, bool, u32);

impl Drop for Untick<'_> {
    fn drop(&mut self) {
        self.0.ticking.set(self.1);
        self.0.depth.set(self.2);
    }
}
