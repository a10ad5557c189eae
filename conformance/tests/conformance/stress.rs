//! Much of the same at once: nothing is lost, doubled or left open. The long forms are for whoever has minutes.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use nbio::{
    Accepted, Builder, Done, ErrorKind, EventLoop, Linger, OpId, Operation, TcpListener, TcpOptions,
    TcpStream, op,
};

use crate::child;
use crate::support::{Case, Slot, Subject, listen, long};
use crate::system::descriptors;
use crate::wire::{Io, drive, keep, kind, noise, socket_pair, turn};

pub const CASES: &[Case] = &[
    Case { name: "connect_echo_close", run: connect_echo_close },
    Case { name: "cancel_deadline_and_close_races", run: races },
];

/// How many: what this variable says, or as usual, or in the long form.
fn asked(variable: &str, usual: usize, in_long: usize) -> usize {
    let told = std::env::var(variable).ok().and_then(|text| text.parse().ok());
    told.unwrap_or(if long() { in_long } else { usual })
}

/// Prints what a child tells of its descriptors.
fn tell(said: &str) {
    said.lines().filter(|line| line.contains(" descriptors before ")).for_each(|line| println!("{line}"));
}

/// What one cycle sends.
const LENGTH: usize = 64;

/// Who connects again and again, and what has come of it.
#[derive(Clone)]
struct Clients {
    to_go: Rc<Cell<usize>>,
    echoed: Rc<Cell<usize>>,
    address: std::net::SocketAddr,
}

/// Guarantees 2, 5 and 6: each connection is made, echoes and is reset by its client, 16 at a time; afterwards the process
/// has as many descriptors as before.
fn connect_echo_close(subject: &Subject) {
    let said = child::run(subject, "stress::connect_echo_close", |subject| {
        let cycles = asked("NBIO_CYCLES", 300, 100_000);
        // What the process opens once is open before the count.
        run_clients(subject, 16);
        let before = descriptors();
        let begin = std::time::Instant::now();
        run_clients(subject, cycles);
        let after = descriptors();
        println!("{cycles} cycles in {:?}, {before} descriptors before and {after} after", begin.elapsed());
        assert_eq!(after, before);
    });
    tell(&said);
}

fn run_clients(subject: &Subject, cycles: usize) {
    let io: Io = subject.io();
    let (listener, address) = listen(&io);
    let served = Rc::new(Cell::new(0));
    serve(&io, listener, served.clone());
    let clients = Clients { to_go: Rc::new(Cell::new(cycles)), echoed: Rc::default(), address };
    (0..16).for_each(|_| next_client(&io, clients.clone()));
    // The accept that waits for the next one is all that stays.
    drive(&io, || served.get() == cycles && io.in_flight() == 1);
    assert_eq!((clients.echoed.get(), clients.to_go.get()), (cycles, 0));
}

fn serve(io: &Io, listener: TcpListener, served: Rc<Cell<usize>>) {
    io.accept(listener, move |_, io, accepted| {
        let accepted: Accepted = accepted.unwrap();
        let counted = served.clone();
        serve(io, listener, served);
        let stream = accepted.stream;
        io.recv_exact(stream, vec![0; LENGTH], LENGTH, move |_, io, done| {
            assert_eq!(done.result, Ok(()));
            io.send_all(stream, done.buf, move |_, io, sent| {
                assert_eq!(sent.result, Ok(()));
                io.recv(stream, sent.buf, move |_, io, done| {
                    // Wine ends a connection before it resets it.
                    assert!(kind(done.result) == Some(ErrorKind::ConnectionReset) || cfg!(windows));
                    assert_eq!(done.bytes, 0);
                    io.close_then(stream, move |_, _, closed| {
                        assert_eq!(closed, Ok(()));
                        counted.set(counted.get() + 1);
                    });
                });
            });
        });
    });
}

fn next_client(io: &Io, clients: Clients) {
    let Some(left) = clients.to_go.get().checked_sub(1) else { return };
    clients.to_go.set(left);
    let reset = TcpOptions::default().linger(Linger::Reset);
    io.submit(op::Connect::new(clients.address).options(reset), move |_, io, connected| {
        let stream: TcpStream = connected.unwrap();
        let says = noise(LENGTH, left as u64);
        let expected = says.clone();
        io.send_all(stream, says, |_, _, sent| assert_eq!(sent.result, Ok(())));
        io.recv_exact(stream, vec![0; LENGTH], LENGTH, move |_, io, done| {
            assert_eq!((done.result, done.data()), (Ok(()), &expected[..]));
            io.close_then(stream, move |_, io, closed| {
                assert_eq!(closed, Ok(()));
                clients.echoed.set(clients.echoed.get() + 1);
                next_client(io, clients);
            });
        });
    });
}

/// Guarantees 2 to 6, on several loops at once: a receive that its bytes, its deadline, a cancel (of its own thread or of
/// another), a removal and a close race for ends once, and what it didn't take the next one gets.
fn races(subject: &Subject) {
    let said = child::run(subject, "stress::cancel_deadline_and_close_races", |subject| {
        const LOOPS: usize = 4;
        let races = asked("NBIO_RACES", 200, 10_000) / LOOPS;
        let each = |races| {
            let builders: Vec<Builder> = (0..LOOPS).map(|_| subject.builder()).collect();
            std::thread::scope(|scope| {
                let threads = builders.into_iter().enumerate().map(|(seed, builder)| {
                    scope.spawn(move || {
                        race(&builder.build().unwrap(), races, &mut Rng::with_seed(seed as u64))
                    })
                });
                let threads: Vec<_> = threads.collect();
                // Not just the closures' ends: Wine keeps a handle for each thread until that is gone.
                threads.into_iter().for_each(|thread| thread.join().unwrap());
            });
        };
        each(8);
        let before = descriptors();
        each(races);
        let after = descriptors();
        println!("{} races, {before} descriptors before and {after} after", races * LOOPS);
        assert_eq!(after, before);
    });
    tell(&said);
}

fn both_ends(io: &Io) -> (TcpStream, TcpStream) {
    let (stream, peer) = socket_pair(io);
    (stream, io.adopt(peer).unwrap())
}

fn race(io: &Io, races: usize, random: &mut Rng) {
    let (mut near, mut far) = both_ends(io);
    for number in 0..races {
        let bytes = noise(random.usize(1..LENGTH), number as u64);
        let received: Slot<Done<Vec<u8>>> = Slot::new();
        let mut recv = op::Recv::new(near, vec![0; LENGTH]).exact(bytes.len());
        if random.bool() {
            recv = recv.timeout(Duration::from_micros(random.u64(0..300)));
        }
        let id = io.submit(recv, keep(&received));
        turn(io, random.usize(0..3));
        let (first, second) = bytes.split_at(random.usize(0..bytes.len()));
        io.send_all(far, first.to_vec(), |_, _, sent| assert_eq!(sent.result, Ok(())));
        turn(io, random.usize(0..2));
        let closes = random.u8(0..8) == 0;
        match random.u8(0..3) {
            _ if closes => io.close(near),
            0 => {
                io.cancel(id);
            }
            1 => cancel_from_elsewhere(io, id),
            _ => {}
        }
        if !closes {
            io.send_all(far, second.to_vec(), |_, _, sent| assert_eq!(sent.result, Ok(())));
        }
        drive(io, || received.len() > 0);
        let done = received.one();
        let expected = [None, Some(ErrorKind::Cancelled), Some(ErrorKind::TimedOut)];
        assert!(expected.contains(&kind(done.result)), "{:?}", done.result);
        assert_eq!(done.data(), &bytes[..done.bytes]);
        if closes {
            io.close(far);
            (near, far) = both_ends(io);
        } else if done.bytes < bytes.len() {
            let rest = bytes.len() - done.bytes;
            io.recv_exact(near, vec![0; LENGTH], rest, keep(&received));
            drive(io, || received.len() > 0);
            assert_eq!(received.one().data(), &bytes[done.bytes..]);
        }
        drive(io, || io.in_flight() == 0);
        assert_eq!(received.len(), 0, "each ended once");
    }
    io.close(near);
    io.close(far);
    drive(io, || io.in_flight() == 0);
}

fn cancel_from_elsewhere(io: &Io, id: OpId) {
    let remote = io.remote().unwrap();
    std::thread::spawn(move || {
        let asked = remote.run(move |_, io: &EventLoop| {
            io.cancel(id);
        });
        assert!(asked.is_ok());
    })
    .join()
    .unwrap();
}
