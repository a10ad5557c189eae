//! A process that is stopped and goes on, as ^Z and `fg` do: the system then interrupts whatever waits, on every thread of
//! the process. Nothing that an operation does may be cut short by that. The cases run in a child.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nbio::{Error, Half, Pipe};

use crate::child;
use crate::hanging::idle;
use crate::pipes::scratch;
use crate::remote::{await_sleep_of, thread_number};
use crate::support::{Case, Slot, Subject};
use crate::system;
use crate::wire::{Io, drive, keep, turn};

pub const CASES: &[Case] = &[
    Case { name: "a_wait_goes_on", run: a_wait_goes_on },
    Case { name: "opens_that_wait_go_on", run: opens_that_wait_go_on },
    Case { name: "receives_and_sends_go_on", run: receives_and_sends },
];

/// Stops this process and lets it go on; at least its first thread has been stopped then (`t`: under a debugger).
fn stop_and_go_on() {
    let own = std::process::id();
    let script = format!(
        "kill -STOP {own}; until grep -q '^State:.[Tt]' /proc/{own}/status; do :; done; kill -CONT {own}"
    );
    let status = Command::new("sh").args(["-c", &script]).status().unwrap();
    assert!(status.success(), "{status}");
}

/// Documented: a tick waits "until something ends", also if it handed something over before.
fn a_wait_goes_on(subject: &Subject) {
    child::run(subject, "stopped::a_wait_goes_on", |subject| {
        let io: Io = subject.io();
        let (stream, _peer) = subject.pair(&io);
        for _ in 0..5 {
            let (remote, waiter) = (io.remote().unwrap(), thread_number());
            let over = Arc::new(AtomicBool::new(false));
            let said = over.clone();
            let other = thread::spawn(move || {
                await_sleep_of(waiter);
                stop_and_go_on();
                await_sleep_of(waiter);
                said.store(true, Ordering::Relaxed);
                remote.wake();
            });
            let recv = io.recv(stream, [0; 4], |_, _, _| ());
            io.tick(None).unwrap();
            assert!(over.load(Ordering::Relaxed), "nothing had ended yet");
            other.join().unwrap();
            assert!(io.cancel(recv));
            io.run().unwrap();
        }
    });
}

/// Opens of FIFOs, which threads of the kernel's do for io_uring.
fn opens_that_wait_go_on(subject: &Subject) {
    child::run(subject, "stopped::opens_that_wait_go_on", |subject| {
        let io: Io = subject.io();
        let directory = scratch("stopped");
        let path = directory.join("fifo");
        system::make_fifo(&path);
        let opened = Slot::new();
        for end in [Half::Read, Half::Write] {
            io.open_fifo(&path, end, keep::<Result<Pipe, Error>>(&opened));
            turn(&io, 3);
            if end == Half::Read {
                assert_eq!(opened.len(), 0);
                let stopping = thread::spawn(stop_and_go_on);
                drive(&io, || stopping.is_finished());
                turn(&io, 3);
                stopping.join().unwrap();
            }
        }
        drive(&io, || opened.len() == 2);
        assert!(opened.take().iter().all(Result::is_ok));
        std::fs::remove_dir_all(directory).unwrap();
    });
}

/// Receives that wait, and a send that has no room left: they bring everything.
fn receives_and_sends(subject: &Subject) {
    child::run(subject, "stopped::receives_and_sends_go_on", |subject| {
        let io: Io = subject.io();
        let (near, far) = subject.both_ends(&io);
        let (reader, writer) = io.pipe().unwrap();
        const LENGTH: usize = 20 << 20;
        let (sent, got) = (Slot::new(), Slot::new());
        io.recv_exact(reader, vec![0; 4], 4, keep(&got));
        io.send_all(near, vec![7; LENGTH], keep(&sent));
        turn(&io, 3);
        let stopping = thread::spawn(stop_and_go_on);
        drive(&io, || stopping.is_finished());
        stopping.join().unwrap();
        assert_eq!((sent.len(), got.len()), (0, 0), "nothing ends by itself");
        io.send_all(writer, "word", |_, _, _| ());
        io.recv_exact(far, vec![0; LENGTH], LENGTH, keep(&got));
        drive(&io, || sent.len() == 1 && got.len() == 2);
        let (sent, got): (nbio::Done<Vec<u8>>, Vec<nbio::Done<Vec<u8>>>) = (sent.one(), got.take());
        assert_eq!((sent.bytes, sent.result), (LENGTH, Ok(())));
        let got: Vec<_> = got.iter().map(|done| (done.bytes, done.result)).collect();
        assert_eq!(got, [(4, Ok(())), (LENGTH, Ok(()))]);
        idle(&io);
    });
}
