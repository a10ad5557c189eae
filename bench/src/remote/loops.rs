//! The loops that answer, and how another thread asks each of them.

use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context;
use nbio::{EventLoop, op};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::answers::Reply;

/// How many questions tokio's task takes out at once.
const MANY: usize = 64;

/// A way to ask. The loop lives until all clones are dropped.
pub trait Door<R: Reply>: Clone + Send + Sized + 'static {
    /// Makes a loop on this thread, gives its door out, and runs it until all doors are gone.
    fn serve(doors: &mpsc::Sender<Self>) -> anyhow::Result<()>;

    /// Has the reply answered on the loop's thread.
    fn ask(&self, reply: R);
}

/// nbio: a remote, and what keeps the loop going.
struct NbioDoor {
    remote: nbio::Remote,
    _keep_alive: nbio::KeepAlive,
}

impl NbioDoor {
    fn serve(settings: nbio::Builder, give: impl FnOnce(Self) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let io: EventLoop = settings.build()?;
        let remote = io.remote()?;
        let keep_alive = remote.keep_alive();
        give(Self { remote, _keep_alive: keep_alive })?;
        io.run().context("running")
    }
}

impl Clone for NbioDoor {
    fn clone(&self) -> Self {
        let remote = self.remote.clone();
        Self { _keep_alive: remote.keep_alive(), remote }
    }
}

/// A closure that answers.
#[derive(Clone)]
pub struct NbioRun(NbioDoor);

impl<R: Reply> Door<R> for NbioRun {
    fn serve(doors: &mpsc::Sender<Self>) -> anyhow::Result<()> {
        NbioDoor::serve(nbio::Builder::new(), |door| doors.send(Self(door)).context("giving the door"))
    }

    fn ask(&self, reply: R) {
        self.0.remote.run(move |(), _| reply.answer()).expect("room in the queue");
    }
}

/// The same, on a loop that always looks for a while before it sleeps.
#[derive(Clone)]
pub struct NbioBusy(NbioDoor);

impl<R: Reply> Door<R> for NbioBusy {
    fn serve(doors: &mpsc::Sender<Self>) -> anyhow::Result<()> {
        let settings = nbio::Builder::new().busy_poll(Duration::from_millis(1));
        NbioDoor::serve(settings, |door| doors.send(Self(door)).context("giving the door"))
    }

    fn ask(&self, reply: R) {
        self.0.remote.run(move |(), _| reply.answer()).expect("room in the queue");
    }
}

/// The same, on a loop that never looks before it sleeps.
#[derive(Clone)]
pub struct NbioAsleep(NbioDoor);

impl<R: Reply> Door<R> for NbioAsleep {
    fn serve(doors: &mpsc::Sender<Self>) -> anyhow::Result<()> {
        let settings = nbio::Builder::new().busy_poll(Duration::ZERO);
        NbioDoor::serve(settings, |door| doors.send(Self(door)).context("giving the door"))
    }

    fn ask(&self, reply: R) {
        self.0.remote.run(move |(), _| reply.answer()).expect("room in the queue");
    }
}

/// An operation, whose callback answers.
#[derive(Clone)]
pub struct NbioSubmit(NbioDoor);

impl<R: Reply> Door<R> for NbioSubmit {
    fn serve(doors: &mpsc::Sender<Self>) -> anyhow::Result<()> {
        NbioDoor::serve(nbio::Builder::new(), |door| doors.send(Self(door)).context("giving the door"))
    }

    fn ask(&self, reply: R) {
        let submitted = self.0.remote.submit(op::NextTick::new(), move |(), _, _| reply.answer());
        submitted.expect("room in the queue");
    }
}

/// tokio's unbounded channel, the one that takes the least, to a task that answers; it takes out many at once.
pub struct TokioChannel<R>(UnboundedSender<R>);

impl<R> Clone for TokioChannel<R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<R: Reply> Door<R> for TokioChannel<R> {
    fn serve(doors: &mpsc::Sender<Self>) -> anyhow::Result<()> {
        let (sender, receiver) = unbounded_channel();
        doors.send(Self(sender)).context("giving the door")?;
        let runtime = runtime()?;
        // In a task, for the reason given in the echo server.
        runtime.block_on(runtime.spawn(answer_all(receiver))).context("the task")
    }

    fn ask(&self, reply: R) {
        assert!(self.0.send(reply).is_ok(), "the loop lives");
    }
}

async fn answer_all<R: Reply>(mut receiver: UnboundedReceiver<R>) {
    let mut replies = Vec::with_capacity(MANY);
    while receiver.recv_many(&mut replies, MANY).await > 0 {
        replies.drain(..).for_each(R::answer);
    }
}

/// A task for each question.
#[derive(Clone)]
pub struct TokioSpawn {
    handle: Handle,
    /// When the last one is dropped, the loop ends.
    _keep_alive: UnboundedSender<()>,
}

impl<R: Reply> Door<R> for TokioSpawn {
    fn serve(doors: &mpsc::Sender<Self>) -> anyhow::Result<()> {
        let (sender, mut receiver) = unbounded_channel();
        let runtime = runtime()?;
        let door = Self { handle: runtime.handle().clone(), _keep_alive: sender };
        doors.send(door).context("giving the door")?;
        runtime.block_on(receiver.recv());
        Ok(())
    }

    fn ask(&self, reply: R) {
        self.handle.spawn(async move { reply.answer() });
    }
}

fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("building the runtime")
}
