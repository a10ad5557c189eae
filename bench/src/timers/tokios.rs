//! tokio's timers under the same loads.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::time::{Sleep, advance, sleep_until};
use tokio_util::time::{DelayQueue, delay_queue};

use super::{DEADLINE_OPS, FEW_OPS, Figures, MANY, PATTERNS, Rng, Script, TURN, each, many};

/// A timer of tokio's in each slot.
pub trait TokioTimers {
    fn new(slots: usize) -> Self;
    fn insert(&mut self, slot: usize, deadline: tokio::time::Instant);
    fn cancel(&mut self, slot: usize);
    /// Takes what is due after the clock was moved.
    fn fire(&mut self) -> usize;
    /// Ten timers that are set again as they fire.
    fn few() -> impl Future<Output = ()>;
}

/// A deadline of the few: tokio cannot tell times within a millisecond apart.
fn few_timeout(rng: &mut Rng) -> Duration {
    Duration::from_millis(1 + rng.below(1_000))
}

pub struct Sleeps(Vec<Pin<Box<Option<Sleep>>>>);

impl TokioTimers for Sleeps {
    fn new(slots: usize) -> Sleeps {
        Sleeps((0..slots).map(|_| Box::pin(None)).collect())
    }

    fn insert(&mut self, slot: usize, deadline: tokio::time::Instant) {
        let mut timer = self.0[slot].as_mut();
        timer.set(Some(sleep_until(deadline)));
        let timer = timer.as_pin_mut().expect("it was just set");
        // The first poll is what puts it in the wheel.
        assert!(timer.poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }

    fn cancel(&mut self, slot: usize) {
        self.0[slot].set(None);
    }

    fn fire(&mut self) -> usize {
        // They did when the clock was moved: this is looking only.
        let timers = self.0.iter().filter_map(|slot| slot.as_ref().as_pin_ref());
        timers.filter(|timer| timer.is_elapsed()).count()
    }

    async fn few() {
        let tasks: Vec<_> = (0..10)
            .map(|seed| {
                tokio::spawn(async move {
                    let mut rng = Rng(5 + seed);
                    for _ in 0..FEW_OPS / 10 {
                        tokio::time::sleep(few_timeout(&mut rng)).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no task panics");
        }
    }
}

pub struct Delays {
    queue: DelayQueue<usize>,
    keys: Vec<Option<delay_queue::Key>>,
}

impl TokioTimers for Delays {
    fn new(slots: usize) -> Delays {
        Delays { queue: DelayQueue::new(), keys: vec![None; slots] }
    }

    fn insert(&mut self, slot: usize, deadline: tokio::time::Instant) {
        self.keys[slot] = Some(self.queue.insert_at(slot, deadline));
    }

    fn cancel(&mut self, slot: usize) {
        self.queue.remove(&self.keys[slot].take().expect("a live key"));
    }

    fn fire(&mut self) -> usize {
        let mut context = Context::from_waker(Waker::noop());
        let mut fired = 0;
        while let Poll::Ready(Some(_)) = self.queue.poll_expired(&mut context) {
            fired += 1;
        }
        fired
    }

    async fn few() {
        let mut rng = Rng(5);
        let mut queue = DelayQueue::new();
        for token in 0..10 {
            queue.insert(token, few_timeout(&mut rng));
        }
        for _ in 0..FEW_OPS {
            let expired = poll_fn(|context| queue.poll_expired(context)).await;
            let token = expired.expect("ten timers").into_inner();
            queue.insert(token, few_timeout(&mut rng));
        }
    }
}

async fn measure_loads<T: TokioTimers>() -> Figures {
    let mut figures = Figures::default();

    let (deadlines, cancels) = many();
    let mut timers = T::new(MANY);
    let origin = tokio::time::Instant::now();
    // Not at once, or tokio would not put it in its wheel at all.
    let origin = origin + Duration::from_millis(2);
    let start = Instant::now();
    for (slot, &deadline) in deadlines.iter().enumerate() {
        timers.insert(slot, origin + Duration::from_nanos(deadline));
    }
    figures.rows.push(each(start, MANY));
    let start = Instant::now();
    for &slot in &cancels {
        timers.cancel(slot);
    }
    figures.rows.push(each(start, MANY / 2));
    let start = Instant::now();
    advance(Duration::from_secs(61)).await;
    let fired = timers.fire();
    figures.rows.push(each(start, MANY / 2));
    assert_eq!(fired, MANY / 2);

    for (_, pattern) in PATTERNS {
        // One more slot: the new timer is there before the victim is gone.
        let mut timers = T::new(pattern.live + 1);
        let mut script = Script::new(pattern);
        let origin = tokio::time::Instant::now();
        let mut slots: Vec<usize> = (0..pattern.live).collect();
        for &slot in &slots {
            timers.insert(slot, origin + Duration::from_nanos(script.deadline()));
        }
        let mut spare = pattern.live;
        let mut told = script.now;
        let mut longest = Duration::ZERO;
        let start = Instant::now();
        let mut turn = start;
        for i in 0..DEADLINE_OPS {
            timers.insert(spare, origin + Duration::from_nanos(script.deadline()));
            spare = std::mem::replace(&mut slots[script.victim()], spare);
            timers.cancel(spare);
            if i % TURN == TURN - 1 {
                advance(Duration::from_nanos(script.now - told)).await;
                told = script.now;
                let now = Instant::now();
                longest = longest.max(now - turn);
                turn = now;
            }
        }
        figures.turns(start, longest);
    }

    let start = Instant::now();
    T::few().await;
    figures.rows.push(each(start, FEW_OPS));
    figures
}

pub fn measure<T: TokioTimers>() -> Figures {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    // A budget would end the polls of one turn early.
    runtime.block_on(tokio::task::unconstrained(measure_loads::<T>()))
}
