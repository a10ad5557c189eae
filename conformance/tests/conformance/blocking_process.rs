//! Closures on the thread pool and the process they are in: each case in a child of its own, whose pool is fresh.

use std::net::TcpListener as Server;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use nbio::{ErrorKind, EventLoop};

use crate::child::{self, forbid};
use crate::support::{Case, Slot, Subject, own_address};
use crate::system::{self, Errno};
use crate::wire::{Io, keep};

pub const CASES: &[Case] = &[
    Case { name: "no_thread_is_the_systems_error_and_nothing_is_lost", run: no_thread },
    Case { name: "the_process_ends_while_closures_run_and_wait", run: process_ends },
    Case { name: "submitted_while_the_process_ends", run: submitted_at_exit },
];

/// Documented: what the system says if it can't start a thread and the pool has none.
fn no_thread(subject: &Subject) {
    child::run(subject, "blocking_process::no_thread_is_the_systems_error_and_nothing_is_lost", |subject| {
        let io: Io = subject.io();
        // Makes the door for other threads.
        io.remote().unwrap();
        let ended = Slot::new();
        // It may start threads, other than this one.
        let (go, may_go) = channel::<()>();
        let builder = subject.builder();
        let unhindered = std::thread::spawn(move || {
            may_go.recv().unwrap();
            let io: Io = builder.build().unwrap();
            io.run_blocking(|| 1, |_, _, one| assert_eq!(one, Ok(1)));
            io.run().unwrap();
        });
        forbid(system::SYS_clone3, Errno::AGAIN);
        forbid(system::SYS_clone, Errno::AGAIN);
        for _ in 0..3 {
            io.run_blocking(|| (), keep(&ended));
        }
        io.run().unwrap();
        let ended: Vec<Result<(), nbio::Error>> = ended.take();
        assert_eq!(ended.len(), 3);
        for end in ended {
            let error = end.unwrap_err();
            assert_eq!(error.os_error(), Some(Errno::AGAIN.raw_os_error()));
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
        }
        assert_eq!((io.in_flight(), io.report().pool_queued()), (0, 0));
        go.send(()).unwrap();
        unhindered.join().unwrap();
    });
}

/// Documented: "Nor does the end of the process wait". The child would hang.
fn process_ends(subject: &Subject) {
    let start = Instant::now();
    child::run(subject, "blocking_process::the_process_ends_while_closures_run_and_wait", |subject| {
        let io: Io = subject.io();
        let (begun, has_begun) = channel();
        let (never, until) = channel::<()>();
        std::mem::forget(never);
        io.run_blocking(
            move || {
                begun.send(()).unwrap();
                until.recv().is_ok()
            },
            |_, _, _| unreachable!("it never ends"),
        );
        has_begun.recv().unwrap();
        for _ in 0..100 {
            io.run_blocking(std::thread::park, |_, _, _| ());
        }
        // With a loop, too.
        std::mem::forget(io);
    });
    assert!(start.elapsed() < Duration::from_secs(60));
}

/// Where the parent listens.
const ADDRESS: &str = "NBIO_CONFORMANCE_ADDRESS";

/// Exit handlers are called while threads run on: a closure submitted there runs like any other.
fn submitted_at_exit(subject: &Subject) {
    let server = Server::bind(own_address()).unwrap();
    let address = server.local_addr().unwrap().to_string();
    let tell = |command: &mut std::process::Command| {
        command.env(ADDRESS, &address);
    };
    let case = "blocking_process::submitted_while_the_process_ends";
    let mut in_child = false;
    child::run_prepared(subject, case, tell, |_| {
        in_child = true;
        system::at_exit(at_exit);
    });
    if !in_child {
        // The child has connected, or never will.
        server.set_nonblocking(true).unwrap();
        server.accept().expect("the closure ran, and called back");
    }
}

extern "C" fn at_exit() {
    let ran = std::panic::catch_unwind(|| {
        let io: EventLoop<bool> = EventLoop::new().unwrap();
        io.run_blocking(|| 6 * 7, |ran, _, answer| *ran = answer == Ok(42));
        let mut ran = false;
        io.run_with(&mut ran).unwrap();
        // And one that the end of the process finds on its way.
        io.run_blocking(std::thread::park, |_, _, _| ());
        ran
    });
    if ran.is_ok_and(|ran| ran) {
        drop(std::net::TcpStream::connect(std::env::var(ADDRESS).unwrap()));
    }
}
