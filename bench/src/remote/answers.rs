//! How the loop's thread answers: three ways, the same for every loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::{self, Thread};

use tokio::sync::oneshot;

/// A way to be answered, from the side of the thread that asks.
pub trait Answers {
    type Reply: Reply;

    /// For a thread that has up to `batch` questions open at once.
    fn new(batch: usize) -> Self;

    /// What goes with each of the next `count` questions.
    fn expect(&mut self, count: usize);
    fn reply(&mut self) -> Self::Reply;

    /// Waits until all are answered.
    fn wait(&mut self);
}

/// What goes to the loop's thread, and is answered there.
pub trait Reply: Send + 'static {
    fn answer(self);
}

/// tokio's oneshot channel, one for each question. It needs no runtime, so nbio's loop can use it too.
pub struct Oneshot(Vec<oneshot::Receiver<u64>>);

impl Answers for Oneshot {
    type Reply = oneshot::Sender<u64>;

    fn new(batch: usize) -> Self {
        Self(Vec::with_capacity(batch))
    }

    fn expect(&mut self, _: usize) {}

    fn reply(&mut self) -> Self::Reply {
        let (sender, receiver) = oneshot::channel();
        self.0.push(receiver);
        sender
    }

    fn wait(&mut self) {
        for receiver in self.0.drain(..) {
            receiver.blocking_recv().expect("an answer");
        }
    }
}

impl Reply for oneshot::Sender<u64> {
    fn answer(self) {
        self.send(1).expect("the other thread waits");
    }
}

/// std's bounded channel, one for each thread that asks.
pub struct Channel {
    sender: mpsc::SyncSender<u64>,
    receiver: mpsc::Receiver<u64>,
    expected: usize,
}

impl Answers for Channel {
    type Reply = mpsc::SyncSender<u64>;

    fn new(batch: usize) -> Self {
        let (sender, receiver) = mpsc::sync_channel(batch);
        Self { sender, receiver, expected: 0 }
    }

    fn expect(&mut self, count: usize) {
        self.expected = count;
    }

    fn reply(&mut self) -> Self::Reply {
        self.sender.clone()
    }

    fn wait(&mut self) {
        for _ in 0..self.expected {
            self.receiver.recv().expect("an answer");
        }
    }
}

impl Reply for mpsc::SyncSender<u64> {
    fn answer(self) {
        self.send(1).expect("the other thread waits");
    }
}

/// A count of the answers that are missing; the last one unparks the thread that asks.
pub struct Unpark(Arc<Missing>);

pub struct Missing {
    count: AtomicUsize,
    thread: Thread,
}

impl Answers for Unpark {
    type Reply = Arc<Missing>;

    fn new(_: usize) -> Self {
        Self(Arc::new(Missing { count: AtomicUsize::new(0), thread: thread::current() }))
    }

    fn expect(&mut self, count: usize) {
        // All are answered: nobody else looks at it.
        self.0.count.store(count, Ordering::Relaxed);
    }

    fn reply(&mut self) -> Self::Reply {
        self.0.clone()
    }

    fn wait(&mut self) {
        while self.0.count.load(Ordering::Acquire) > 0 {
            thread::park();
        }
    }
}

impl Reply for Arc<Missing> {
    fn answer(self) {
        if self.count.fetch_sub(1, Ordering::Release) == 1 {
            self.thread.unpark();
        }
    }
}
