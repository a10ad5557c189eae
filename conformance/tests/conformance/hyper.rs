//! What hyper asks of a runtime: issue 7, "Traits", and the documentation of `task::Hyper`.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper::rt::{Executor, Read, ReadBuf, Sleep, Timer, Write};
use nbio::task::{self, Hyper, TcpStream, spawn, yield_now};

use crate::support::{Case, Subject, listen};
use crate::wire::{Io, noise};

pub const CASES: &[Case] = &[
    Case { name: "a_stream_by_hypers_traits", run: streams },
    Case { name: "what_is_executed_runs", run: executed },
    Case { name: "a_sleep_lasts_and_wakes_who_waited_last", run: moved },
    Case { name: "a_dropped_sleep_takes_its_timer_along", run: dropped },
    Case { name: "a_sleep_begins_where_a_loop_runs", run: without_loop },
    Case { name: "a_sleep_dropped_outside_of_its_loop_ends_in_time", run: dropped_outside },
];

const HOUR: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(3);

/// Polls a sleep once.
async fn is_over(sleep: &mut Pin<Box<dyn Sleep>>) -> bool {
    poll_fn(|context| Poll::Ready(sleep.as_mut().poll(context).is_ready())).await
}

/// Writes everything; hyper's flush only tells what went wrong, so it never waits.
async fn write_all(mut io: Pin<&mut impl Write>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = poll_fn(|context| io.as_mut().poll_write(context, bytes)).await?;
        bytes = &bytes[count..];
        assert!(poll_fn(|context| Poll::Ready(io.as_mut().poll_flush(context).is_ready())).await);
    }
    poll_fn(|context| io.as_mut().poll_shutdown(context)).await
}

async fn read_to_end(mut io: Pin<&mut impl Read>) -> io::Result<Vec<u8>> {
    let (mut got, mut memory) = (Vec::new(), [0; 1000]);
    loop {
        let mut buf = ReadBuf::new(&mut memory);
        poll_fn(|context| io.as_mut().poll_read(context, buf.unfilled())).await?;
        if buf.filled().is_empty() {
            return Ok(got);
        }
        got.extend_from_slice(buf.filled());
    }
}

/// What is written to one end comes out of the other, whole and in order, and then the end; each way.
fn streams(subject: &Subject) {
    let io: Io = subject.io();
    let (listener, address) = listen(&io);
    let listener = io.own(listener).unwrap();
    let (up, down) = (noise(200_000, 1), noise(150_000, 2));
    io.block_on(async {
        let (sent, answer) = (up.clone(), down.clone());
        let server = spawn(async move {
            let mut io = pin!(task::Io::new(listener.accept().await.unwrap().0));
            assert!(read_to_end(io.as_mut()).await.unwrap() == sent);
            write_all(io, &answer).await.unwrap();
        });
        let mut io = pin!(task::Io::new(TcpStream::connect(address).await.unwrap()));
        write_all(io.as_mut(), &up).await.unwrap();
        assert!(read_to_end(io).await.unwrap() == down);
        server.await.unwrap();
    })
    .unwrap();
}

fn executed(subject: &Subject) {
    let io: Io = subject.io();
    io.block_on(async {
        let (sender, receiver) = async_channel::bounded(1);
        Hyper::new().execute(async move { sender.send(7).await.unwrap() });
        assert_eq!(receiver.recv().await, Ok(7));
    })
    .unwrap();
}

/// hyper's sleeps are `Send`, so another task may wait for one than has begun it.
fn moved(subject: &Subject) {
    let io: Io = subject.io();
    io.block_on(async {
        let start = task::now().unwrap();
        let mut sleep = Hyper::new().sleep(SHORT);
        assert!(!is_over(&mut sleep).await);
        spawn(sleep).await.unwrap();
        assert!(task::now().unwrap() - start >= SHORT);
        let mut past = Hyper::new().sleep_until(std::time::Instant::now());
        while !is_over(&mut past).await {
            yield_now().await;
        }
        // Once it is over it stays so.
        assert!(is_over(&mut past).await);
    })
    .unwrap();
    assert_eq!(io.in_flight(), 0);
}

fn dropped(subject: &Subject) {
    let io: Io = subject.io();
    io.block_on(async {
        let mut sleep = Hyper::new().sleep(HOUR);
        assert!(!is_over(&mut sleep).await);
    })
    .unwrap();
    assert_eq!(io.in_flight(), 0);
    io.run().unwrap();
}

fn without_loop(subject: &Subject) {
    let io: Io = subject.io();
    let mut sleep = Hyper::new().sleep(SHORT);
    let mut nobody = Context::from_waker(Waker::noop());
    assert!(sleep.as_mut().poll(&mut nobody).is_pending());
    io.block_on(sleep).unwrap();
}

fn dropped_outside(subject: &Subject) {
    let io: Io = subject.io();
    let mut sleep = Hyper::new().sleep(SHORT);
    assert!(!io.block_on(is_over(&mut sleep)).unwrap());
    drop(sleep);
    io.run().unwrap();
    assert_eq!(io.in_flight(), 0);
}
