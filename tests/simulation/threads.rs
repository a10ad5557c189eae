//! Loops on several threads share a simulation: what one does reaches the others, however it is done.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use nbio::{Builder, Error, ErrorKind, EventLoop, Half, Instant, Simulation, TcpListener, TcpStream};

fn io<S>(simulation: &Simulation) -> EventLoop<S> {
    Builder::new().simulation(simulation).build().expect("a simulation has all it needs")
}

/// Nobody waits longer than this for something that never comes.
const PATIENCE: Duration = Duration::from_secs(20);

/// The result of a wait on another thread, which may never end.
fn run_within_patience<T: Send + 'static>(waits: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = channel();
    thread::spawn(move || done.send(waits()));
    result.recv_timeout(PATIENCE).expect("the wait ends")
}

/// Until a loop that said what time it was before its wait waits: turning moves the clock, and the wait lets go of the
/// world only to sleep.
fn until_asleep(simulation: &Simulation, before: &Receiver<Instant>) {
    let before = before.recv().unwrap();
    while simulation.now() == before {
        thread::yield_now();
    }
}

/// How the other side ends its half of a connection without turning its loop once more.
const ENDS: [fn(EventLoop, TcpStream) -> Option<EventLoop>; 3] = [
    |io, _| {
        drop(io);
        None
    },
    |io, stream| {
        drop(io.detach(stream).unwrap());
        Some(io)
    },
    |io, stream| {
        io.shutdown(stream, Half::Write, |_, _, _| ());
        Some(io)
    },
];

/// "All loops of one simulation reach each other": also one that sleeps, by what another thread's loop does at once:
/// dropping it, dropping a detached socket, shutting down.
#[test]
fn what_is_done_at_once_wakes_a_waiting_loop() {
    for end in ENDS {
        let bytes = run_within_patience(move || {
            let simulation = Simulation::new(1);
            let io: EventLoop = io(&simulation);
            let listener: TcpListener = io.listen_tcp(([127, 0, 0, 1], 0)).unwrap();
            let to = io.local_address(listener).unwrap();
            let ended = Rc::new(Cell::new(None));
            let told = ended.clone();
            io.accept(listener, move |_, io, accepted| {
                io.recv(accepted.unwrap().stream, [0; 10], move |_, _, done| told.set(Some(done.bytes)));
            });
            let (connected, ready) = channel();
            let (asleep, before) = channel();
            let (over, finished) = channel::<()>();
            let other = thread::spawn(move || {
                let io: EventLoop = self::io(&simulation);
                let stream = Rc::new(Cell::new(None));
                let made = stream.clone();
                io.connect(to, move |_, _, stream| made.set(stream.ok()));
                io.run().unwrap();
                connected.send(simulation.clone()).unwrap();
                until_asleep(&simulation, &before);
                let kept = end(io, stream.get().unwrap());
                // A loop that is still there doesn't turn.
                finished.recv().unwrap_err();
                drop(kept);
            });
            let simulation: Simulation = ready.recv().unwrap();
            // Everything that is on its way arrives.
            for _ in 0..10 {
                io.tick(Some(Duration::from_millis(1))).unwrap();
            }
            asleep.send(simulation.now()).unwrap();
            io.run().unwrap();
            drop(over);
            other.join().unwrap();
            ended.get()
        });
        assert_eq!(bytes, Some(0));
    }
}

/// "No other thread has a loop there": a wait that becomes one without an end ends with `Deadlock`.
#[test]
fn the_end_of_the_last_other_loop_is_noticed() {
    let kind = run_within_patience(|| {
        let simulation = Simulation::new(1);
        let io: EventLoop = io(&simulation);
        io.accept(io.listen_tcp(([127, 0, 0, 1], 0)).unwrap(), |_, _, _| ());
        let (built, ready) = channel();
        let (asleep, before) = channel();
        let theirs = simulation.clone();
        let other = thread::spawn(move || {
            let io: EventLoop = self::io(&theirs);
            built.send(()).unwrap();
            until_asleep(&theirs, &before);
            drop(io);
        });
        ready.recv().unwrap();
        io.tick(Some(Duration::from_millis(1))).unwrap();
        asleep.send(simulation.now()).unwrap();
        let waited: Result<(), Error> = io.run();
        other.join().unwrap();
        waited.map_err(|error| error.kind())
    });
    assert_eq!(kind, Err(ErrorKind::Deadlock));
}

/// "Nobody has a `Remote`": one that is gone keeps nobody waiting, nor do closures that have run.
#[test]
fn nobody_waits_for_a_remote_that_is_gone() {
    let kind = run_within_patience(|| {
        let io: EventLoop = io(&Simulation::new(1));
        drop(io.remote().unwrap());
        io.run_blocking(|| (), |_, _, done| assert!(done.is_ok()));
        io.accept(io.listen_tcp(([127, 0, 0, 1], 0)).unwrap(), |_, _, _| ());
        io.run().map_err(|error| error.kind())
    });
    assert_eq!(kind, Err(ErrorKind::Deadlock));
}

/// One that is still there is waited for, also when the only other thing to come is 584 years away.
#[test]
fn a_remote_is_waited_for() {
    let waited = run_within_patience(|| {
        let (simulation, (asleep, before)) = (Simulation::new(1), channel());
        let io: EventLoop = io(&simulation);
        io.timer(Duration::MAX, |_, _, _| unreachable!("it never comes"));
        let remote = io.remote().unwrap();
        asleep.send(simulation.now()).unwrap();
        let other = thread::spawn(move || {
            until_asleep(&simulation, &before);
            remote.run(|_, io| io.stop()).unwrap();
        });
        let waited = io.run();
        other.join().unwrap();
        waited
    });
    assert_eq!(waited, Ok(()));
}
