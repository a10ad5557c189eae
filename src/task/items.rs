//! Operations that bring items, for tasks.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::engine::{Core, awaited, erased};
use crate::handle::{Id, OpId};
use crate::op::{Event, Kind, ManyOperation};
use crate::{Error, ErrorKind};

/// The items of an operation that brings any number of them: [`op::Interval`](crate::op::Interval),
/// [`op::PollMany`](crate::op::PollMany), and what `progress` makes of an operation.
///
/// It is submitted when an item is first waited for, to the loop that is running on this thread.
///
/// ```
/// use std::time::Duration;
/// use nbio::{op, task};
/// nbio::block_on(async {
///     let mut every = task::items(op::Interval::every(Duration::from_millis(1)));
///     let mut periods = 0;
///     while periods < 3 {
///         periods += every.next().await?.expect("it ends with an error only");
///     }
///     Ok::<(), nbio::Error>(())
/// })?;
/// # Ok::<(), nbio::Error>(())
/// ```
pub fn items<O: ManyOperation>(operation: O) -> Items<O> {
    Items(Stage::Described(operation))
}

/// Made by [`items`].
///
/// Those that nobody has taken by the time when there is another one become one with it: periods are added up, of totals the
/// last one counts, and a readiness is what either said. So it takes no memory to let it wait. Connections
/// ([`op::AcceptMany`](crate::op::AcceptMany)) wait each for itself; when there are 64, no more are accepted until half of
/// them were taken.
///
/// Dropped before its end, the operation is removed, as by [`EventLoop::remove`](crate::EventLoop::remove): a
/// `progress` of something that had sent or received part of its bytes leaves that stream
/// [`Broken`](ErrorKind::Broken). Connections that nobody has taken, and those that were being accepted, are for whoever
/// accepts next on that listener.
#[must_use = "nothing happens until it is waited for"]
pub struct Items<O: ManyOperation>(Stage<O>);

enum Stage<O: ManyOperation> {
    Described(O),
    Running(Rc<Core>, Rc<News<O::Item>>),
    Over,
}

// Nothing in it is ever pinned.
impl<O: ManyOperation> Unpin for Items<O> {}

/// How many items wait, where they can't be joined, before no more are asked for.
const MOST_UNTAKEN: usize = 64;

/// What has come and wasn't taken.
struct News<T> {
    items: RefCell<VecDeque<T>>,
    end: Cell<Option<Result<(), Error>>>,
    waiting: Cell<Option<Waker>>,
    /// The operation, once it was submitted.
    operation: Cell<Option<(OpId, Kind)>>,
    origin: Option<Id>,
    /// It was asked to bring no more for now.
    held: Cell<bool>,
}

impl<T> News<T> {
    fn wake(&self) {
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
    }

    fn id(&self) -> Option<OpId> {
        self.operation.get().map(|(id, _)| id)
    }

    /// The oldest; and if there is room again, more are asked for.
    fn next(&self, core: &Core) -> Option<T> {
        let (item, left) = {
            let mut items = self.items.borrow_mut();
            (items.pop_front()?, items.len())
        };
        if left <= MOST_UNTAKEN / 2
            && self.held.replace(false)
            && let Some(id) = self.id()
        {
            core.bring_again(id);
        }
        Some(item)
    }
}

/// The callback's hold on them. If it is dropped unrun, the loop is gone.
struct Teller<O: ManyOperation>(Rc<News<O::Item>>);

impl<O: ManyOperation> Teller<O> {
    fn tell(&self, core: &Core, event: Event<O::Item>) {
        match event {
            Event::Item(item) => self.add(core, item),
            Event::End(result) => self.0.end.set(Some(result)),
        }
        self.0.wake();
    }

    fn add(&self, core: &Core, item: O::Item) {
        let news = &self.0;
        let mut items = news.items.borrow_mut();
        let separate = match items.back_mut() {
            Some(last) => O::join(last, item),
            None => Some(item),
        };
        items.extend(separate);
        if items.len() >= MOST_UNTAKEN
            && let Some(id) = news.id()
        {
            news.held.set(true);
            core.hold_items(id);
        }
    }
}

impl<O: ManyOperation> Drop for Teller<O> {
    fn drop(&mut self) {
        let news = &self.0;
        let end = news.end.take();
        let told = end.is_some();
        let kind = news.operation.get().map_or(Kind::NextTick, |(_, kind)| kind);
        news.end.set(Some(end.unwrap_or(Err(Error::new(ErrorKind::Cancelled, kind)))));
        if !told {
            news.wake();
        }
    }
}

impl<O: ManyOperation> Items<O> {
    /// The next item; `None` when the operation has ended well, and from then on. Dropped before its end, this has lost
    /// nothing.
    ///
    /// # Errors
    /// Those with which the operation ends, once; [`NoLoop`](ErrorKind::NoLoop); [`Cancelled`](ErrorKind::Cancelled) when
    /// its loop is dropped.
    pub async fn next(&mut self) -> Result<Option<O::Item>, Error> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`next`](Items::next), for futures written by hand.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<O::Item>, Error>> {
        if matches!(self.0, Stage::Described(_))
            && let Err(error) = self.begin()
        {
            return Poll::Ready(Err(error));
        }
        let Stage::Running(core, news) = &self.0 else { return Poll::Ready(Ok(None)) };
        // Cloning and dropping wakers is the user's code: looked at after it.
        let old = news.waiting.replace(Some(context.waker().clone()));
        drop(old);
        if let Some(item) = news.next(core) {
            return Poll::Ready(Ok(Some(item)));
        }
        let Some(end) = news.end.take() else { return Poll::Pending };
        self.0 = Stage::Over;
        Poll::Ready(end.map(|()| None))
    }

    /// Asks that the operation end; items that have come are brought before.
    pub fn cancel(&self) {
        if let Stage::Running(core, news) = &self.0
            && let Some(id) = news.id()
        {
            core.cancel(id);
        }
    }

    fn begin(&mut self) -> Result<(), Error> {
        let Stage::Described(operation) = std::mem::replace(&mut self.0, Stage::Over) else { return Ok(()) };
        let Some(core) = Core::current() else {
            return Err(awaited::refuse_many(operation, ErrorKind::NoLoop));
        };
        let news = Rc::new(News {
            items: RefCell::default(),
            end: Cell::new(None),
            waiting: Cell::new(None),
            operation: Cell::new(None),
            origin: operation.origin(),
            held: Cell::new(false),
        });
        let teller = Teller::<O>(news.clone());
        let id = erased::submit_many_bare(&core, operation, move |core, event| teller.tell(core, event));
        news.operation.set(core.kind_of(id).map(|kind| (id, kind)));
        self.0 = Stage::Running(core, news);
        Ok(())
    }
}

impl<O: ManyOperation> Drop for Items<O> {
    fn drop(&mut self) {
        let Stage::Running(core, news) = std::mem::replace(&mut self.0, Stage::Over) else { return };
        // First: what the operation still brings, or others receive, is behind them.
        for item in news.items.take() {
            O::untaken(item, news.origin, &core);
        }
        if let Some(id) = news.id() {
            core.abandon_many(id);
        }
    }
}

impl<O: ManyOperation> fmt::Debug for Items<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.0 {
            Stage::Described(_) => "not begun",
            Stage::Running(..) => "running",
            Stage::Over => "over",
        };
        f.debug_tuple("Items").field(&stage).finish()
    }
}

#[cfg(feature = "futures-core")]
impl<O: ManyOperation> futures_core::Stream for Items<O> {
    type Item = Result<O::Item, Error>;

    fn poll_next(self: std::pin::Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Items::poll_next(self.get_mut(), context).map(Result::transpose)
    }
}
