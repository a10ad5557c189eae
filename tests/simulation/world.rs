//! What the documentation of `Simulation` promises beyond what every backend does.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nbio::{
    Builder, Done, ErrorKind, EventLoop, Half, Instant, Linger, Operation, Simulation, TcpListener,
    TcpOptions, TcpStream, op,
};

fn io<S>(simulation: &Simulation) -> EventLoop<S> {
    Builder::new().simulation(simulation).build().expect("a simulation has all it needs")
}

/// "127.0.0.0/8 and ::1": two loops on one thread reach each other, on either.
#[test]
fn loops_of_one_simulation_reach_each_other() {
    for address in ["127.3.2.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"] {
        let simulation = Simulation::new(1);
        let (server, client): (EventLoop, EventLoop) = (io(&simulation), io(&simulation));
        let listener = server.listen_tcp(address.parse::<std::net::SocketAddr>().unwrap()).unwrap();
        let to = server.local_address(listener).unwrap();
        server.accept(listener, |_, io, accepted| {
            io.recv_exact(accepted.unwrap().stream, [0; 5], 5, |_, io, done| {
                assert_eq!(&done.buf, b"hello");
                io.stop();
            });
        });
        client.connect(to, |_, io, stream| {
            io.send_all(stream.unwrap(), "hello", |_, _, done| assert!(done.result.is_ok()));
        });
        client.run().unwrap();
        server.run().unwrap();
        assert_eq!(server.in_flight(), 0);
    }
}

/// "Nothing else is reachable", other simulations included.
#[test]
fn nothing_else_is_reachable() {
    let (one, other) = (Simulation::new(1), Simulation::new(1));
    let (here, there): (EventLoop, EventLoop) = (io(&one), io(&other));
    let listener = there.listen_tcp(([127, 0, 0, 1], 4000)).unwrap();
    let connect = |to: std::net::SocketAddr| {
        let kind = Rc::new(Cell::new(None));
        let told = kind.clone();
        here.connect(to, move |_, _, connected| told.set(connected.err().map(|error| error.kind())));
        here.run().unwrap();
        kind.get()
    };
    assert_eq!(connect(there.local_address(listener).unwrap()), Some(ErrorKind::ConnectionRefused));
    let system = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    assert_eq!(connect(system.local_addr().unwrap()), Some(ErrorKind::ConnectionRefused));
    assert_eq!(connect(([192, 0, 2, 1], 80).into()), Some(ErrorKind::NetworkUnreachable));
}

/// "The clock is virtual": a day passes at once, and stands still in callbacks.
#[test]
fn a_day_passes_at_once() {
    let simulation = Simulation::new(1);
    let io: EventLoop = io(&simulation);
    let (start, real) = (io.now(), std::time::Instant::now());
    let day = Duration::from_secs(24 * 3600);
    io.timer(day, move |_, io, _| {
        let now: Instant = io.now();
        assert!(now - start >= day && now - start < day + Duration::from_millis(1));
        std::thread::yield_now();
        assert_eq!(io.now(), now);
    });
    io.run().unwrap();
    assert!(real.elapsed() < Duration::from_secs(60));
    assert_eq!(simulation.now(), io.now());
}

/// "And jumps to the next event", not to the end of the wait: a network takes no hours.
#[test]
fn events_happen_long_before_the_wait_ends() {
    for seed in 0..20 {
        let simulation = Simulation::new(seed);
        let io: EventLoop<Option<Instant>> = io(&simulation);
        let listener = io.listen_tcp(([127, 0, 0, 1], 0)).unwrap();
        io.accept(listener, |_, io, accepted| {
            io.recv(accepted.unwrap().stream, [0; 8], |at, io, _| *at = Some(io.now()));
        });
        io.connect(io.local_address(listener).unwrap(), |_, io, stream| {
            io.send_all(stream.unwrap(), "hello", |_, _, _| ());
        });
        io.timer(Duration::from_secs(3600), |_, _, _| ());
        let (start, mut at) = (io.now(), None);
        io.run_with(&mut at).unwrap();
        assert!(at.unwrap() - start < Duration::from_millis(10), "seed {seed}: {:?}", at.unwrap() - start);
    }
}

/// "A turn of the loop takes 1 µs of it": one that never waits gets on, too.
#[test]
fn a_turn_takes_a_microsecond() {
    let io: EventLoop = io(&Simulation::new(1));
    let start = io.now();
    for _ in 0..1_000 {
        io.tick(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(io.now() - start, Duration::from_millis(1));
}

/// Closing loses nothing that was sent: it arrives, and the end of the stream behind it.
#[test]
fn what_was_sent_arrives_after_a_close() {
    // More than the receiving side takes, less than both sides do.
    const BYTES: usize = 100_000;
    for seed in 0..20 {
        let io: EventLoop<usize> = io(&Simulation::new(seed));
        let listener = io.listen_tcp(([127, 0, 0, 1], 0)).unwrap();
        io.connect(io.local_address(listener).unwrap(), |_, io, stream| {
            let stream = stream.unwrap();
            io.send_all(stream, vec![7; BYTES], move |_, io, done| {
                assert_eq!((done.result, done.bytes), (Ok(()), BYTES));
                io.close(stream);
            });
        });
        io.accept(listener, |_, io, accepted| {
            let stream = accepted.unwrap().stream;
            io.timer(Duration::from_secs(1), move |_, io, _| read(io, stream));
        });
        let mut bytes = 0;
        io.run_with(&mut bytes).unwrap();
        assert_eq!(bytes, BYTES, "seed {seed}");
    }

    fn read(io: &EventLoop<usize>, stream: nbio::TcpStream) {
        io.recv(stream, vec![0; 4096], move |bytes, io, done| {
            assert_eq!(done.result, Ok(()));
            *bytes += done.bytes;
            if done.bytes > 0 { read(io, stream) } else { io.close(stream) }
        });
    }
}

/// "A wait that could never end ends with `Deadlock`", and the loop can go on.
#[test]
fn a_wait_without_an_end_is_a_deadlock() {
    let simulation = Simulation::new(1);
    let (io, other): (EventLoop, EventLoop) = (io(&simulation), io(&simulation));
    let listener: TcpListener = io.listen_tcp(([127, 0, 0, 1], 0)).unwrap();
    io.accept(listener, |_, _, accepted| assert!(accepted.is_ok()));
    let error = io.run().unwrap_err();
    assert_eq!((error.kind(), error.os_error()), (ErrorKind::Deadlock, None));
    assert_eq!(io.in_flight(), 1);
    other.connect(io.local_address(listener).unwrap(), |_, _, _| ());
    other.run().unwrap();
    io.run().unwrap();
    assert_eq!(io.in_flight(), 0);
}

/// What is to happen in 584 years never does: it ends no wait, and the clock doesn't go there.
#[test]
fn the_far_future_never_comes() {
    let io: EventLoop = io(&Simulation::new(1));
    let listener = io.listen_tcp(([127, 0, 0, 1], 0)).unwrap();
    io.submit(op::Accept::new(listener).timeout(Duration::MAX), |_, _, _| unreachable!("nobody connects"));
    io.submit(op::Timer::at(Instant::FAR_FUTURE), |_, _, _| unreachable!("it never comes"));
    io.timer(Duration::MAX, |_, _, _| unreachable!("it never comes"));
    for _ in 0..2 {
        assert_eq!(io.run().unwrap_err().kind(), ErrorKind::Deadlock);
    }
}

/// A clock near the end of its numbers stays there.
#[test]
fn the_clock_ends_with_its_numbers() {
    let io: EventLoop = io(&Simulation::new(1));
    let nearly = Instant::FAR_FUTURE - io.now() - Duration::from_nanos(1);
    io.timer(nearly, |_, io, _| {
        io.run_blocking(|| (), |_, _, _| ());
    });
    io.run().unwrap();
    io.tick(Some(Duration::from_secs(1))).unwrap();
    assert_eq!(io.now(), Instant::FAR_FUTURE);
}

/// A port that one connection has is no other's, whatever address that was bound to.
#[test]
fn a_port_is_taken_once() {
    let io: EventLoop<Vec<Result<std::net::SocketAddr, ErrorKind>>> = io(&Simulation::new(1));
    let listener = io.listen_tcp(([127, 0, 0, 1], 0)).unwrap();
    let to = io.local_address(listener).unwrap();
    let connect = |from: ([u8; 4], u16)| {
        let mut locals = Vec::new();
        io.submit(op::Connect::new(to).from(from), |locals: &mut Vec<_>, io, connected| {
            let local = connected.map(|stream| io.local_address(stream).unwrap());
            locals.push(local.map_err(|error| error.kind()));
        });
        io.run_with(&mut locals).unwrap();
        locals.remove(0)
    };
    let taken = connect(([0, 0, 0, 0], 0)).unwrap();
    assert_eq!(connect(([127, 0, 0, 1], taken.port())), Err(ErrorKind::AddrInUse));
    assert_eq!(connect(([0, 0, 0, 0], taken.port())), Err(ErrorKind::AddrInUse));
    let next = connect(([127, 0, 0, 1], taken.port() + 1)).unwrap();
    let chosen = connect(([0, 0, 0, 0], 0)).unwrap();
    assert!(chosen != taken && chosen != next);
}

/// Loops on two threads share a simulation: each waits for what the other does.
#[test]
fn loops_on_two_threads_talk() {
    const ROUNDS: u32 = 2_000;
    let simulation = Simulation::new(1);
    let server: EventLoop<u32> = io(&simulation);
    let listener = server.listen_tcp(([127, 0, 0, 1], 0)).unwrap();
    let to = server.local_address(listener).unwrap();
    server.accept(listener, |_, io, accepted| echo(io, accepted.unwrap().stream));
    let (built, there) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let client: EventLoop<u32> = io(&simulation);
        built.send(()).unwrap();
        client.connect(to, |_, io, stream| ask(io, stream.unwrap()));
        let mut rounds = 0;
        client.run_with(&mut rounds).unwrap();
        assert_eq!(rounds, ROUNDS);
    });
    there.recv().unwrap();
    server.run_with(&mut 0).unwrap();
    thread.join().unwrap();

    fn echo(io: &EventLoop<u32>, stream: nbio::TcpStream) {
        io.recv(stream, [0; 64], move |_, io, done| {
            if done.bytes == 0 {
                return io.close(stream);
            }
            io.send_all(stream, done.filled(), move |_, io, _| echo(io, stream));
        });
    }

    fn ask(io: &EventLoop<u32>, stream: nbio::TcpStream) {
        io.send_all(stream, [7; 64], |_, _, _| ());
        io.recv_exact(stream, [0; 64], 64, move |rounds, io, done: Done<[u8; 64]>| {
            assert_eq!((done.result, done.buf), (Ok(()), [7; 64]));
            *rounds += 1;
            if *rounds < ROUNDS { ask(io, stream) } else { io.close(stream) }
        });
    }
}

/// "Buffers that fill up": a send waits for its reader, however much it is.
#[test]
fn a_send_waits_for_its_reader() {
    let simulation = Simulation::new(1);
    let io: EventLoop<usize> = io(&simulation);
    let listener = io.listen_tcp(([127, 0, 0, 1], 0)).unwrap();
    let large: Vec<u8> = (0..10 << 20).map(|number: u32| number.to_le_bytes()[1]).collect();
    let expected = large.clone();
    io.accept(listener, |_, io, accepted| {
        let read = op::Recv::new(accepted.unwrap().stream, Vec::with_capacity(11 << 20)).exact(10 << 20);
        let stream = io.submit(op::Timer::after(Duration::from_secs(60)), |_, _, _| ());
        assert!(io.cancel(stream));
        io.timer(Duration::from_secs(60), |_, io, _| {
            io.submit(read, move |bytes, _, done| {
                assert!(done.result.is_ok() && done.buf == expected);
                *bytes = done.bytes;
            });
        });
    });
    io.connect(io.local_address(listener).unwrap(), move |_, io, stream| {
        let (stream, start) = (stream.unwrap(), io.now());
        io.send_all(stream, large, move |_, io, done| {
            assert!(done.result.is_ok() && io.now() - start >= Duration::from_secs(60));
        });
        io.shutdown(stream, Half::Write, |_, _, _| ());
    });
    let mut bytes = 0;
    io.run_with(&mut bytes).unwrap();
    assert_eq!(bytes, 10 << 20);
}

/// What there is none of.
#[test]
fn descriptors_are_unsupported() {
    let simulation = Simulation::new(7);
    assert_eq!(simulation.seed(), 7);
    let io: EventLoop = io(&simulation);
    assert_eq!(io.report().backend(), "sim");
    let listener = io.listen_tcp(([127, 0, 0, 1], 0)).unwrap();
    let kinds = [io.raw(listener).err(), io.release(listener).err(), io.duplicate(listener).err()];
    assert!(kinds.iter().all(|error| error.unwrap().kind() == ErrorKind::Unsupported));
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let rejected = io.adopt::<TcpListener>(socket).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
    assert!(io.local_address(listener).is_ok(), "the refused release left it alone");
}

/// A loop that is dropped in the middle leaves the simulation as a process that ends leaves its machine.
#[test]
fn a_dropped_loop_closes_what_it_had() {
    let simulation = Simulation::new(1);
    let io: EventLoop = io(&simulation);
    let other: EventLoop = self::io(&simulation);
    let listener = other.listen_tcp(([127, 0, 0, 1], 0)).unwrap();
    let to = other.local_address(listener).unwrap();
    let ended = Rc::new(Cell::new(None));
    let told = ended.clone();
    io.accept(io.listen_tcp(([127, 0, 0, 1], 4000)).unwrap(), |_, _, _| ());
    io.connect(to, |_, io, stream| {
        io.recv(stream.unwrap(), vec![0; 1000], |_, _, _| unreachable!("nobody sends"));
        io.stop();
    });
    other.accept(listener, move |_, io, accepted| {
        io.recv(accepted.unwrap().stream, [0; 10], move |_, _, done| {
            told.set(Some(done.result.map(|()| done.bytes)))
        });
    });
    io.run().unwrap();
    drop(io);
    other.run().unwrap();
    assert_eq!(ended.get(), Some(Ok(0)));
    assert!(other.listen_tcp(([127, 0, 0, 1], 4000)).is_ok(), "its address is free again");
}

/// Blocking closures run on the loop's thread, one after the other, in the order of the seed; what is cancelled or removed
/// before its time never runs.
#[test]
fn blocking_closures_run_on_the_loops_thread() {
    let order = |seed| {
        let simulation = Simulation::new(seed);
        let io: EventLoop<Vec<u32>> = io(&simulation);
        let (own, ran) = (std::thread::current().id(), Arc::new(AtomicU32::new(0)));
        for number in 0..8 {
            let ran = ran.clone();
            let work = move || {
                assert_eq!(std::thread::current().id(), own);
                ran.fetch_add(1, Ordering::Relaxed)
            };
            io.run_blocking(work, move |order, _, nth| {
                assert_eq!(nth, Ok(order.len() as u32), "not before its callback's turn");
                order.push(number);
            });
        }
        let cancelled = io.run_blocking(
            || unreachable!("cancelled"),
            |_, _, result: Result<(), _>| {
                assert_eq!(result.unwrap_err().kind(), ErrorKind::Cancelled);
            },
        );
        let removed = io.run_blocking(|| unreachable!("removed"), |_, _, _: Result<(), _>| unreachable!());
        assert!(io.cancel(cancelled) && io.remove(removed));
        let mut order = Vec::new();
        io.run_with(&mut order).unwrap();
        assert_eq!((ran.load(Ordering::Relaxed), io.in_flight()), (8, 0));
        (order, simulation.digest())
    };
    assert_eq!(order(1), order(1));
    let orders: HashSet<_> = (0..20).map(|seed| order(seed).0).collect();
    assert!(orders.len() > 10, "{orders:?}");
}

/// A panic is an error there too.
#[test]
fn a_blocking_closure_that_panics_is_an_error() {
    let io: EventLoop = io(&Simulation::new(1));
    let panics = || std::panic::resume_unwind(Box::new("on purpose"));
    io.run_blocking(panics, |_, _, result: Result<(), _>| {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Panicked);
    });
    io.run().unwrap();
}

/// A loop that is dropped drops its closures, here and now.
#[test]
fn closures_of_a_dropped_loop_are_dropped() {
    let (io, marker): (EventLoop, _) = (io(&Simulation::new(1)), Arc::new(()));
    let held = marker.clone();
    io.run_blocking(move || held, |_, _, _| unreachable!());
    drop(io);
    assert_eq!(Arc::strong_count(&marker), 1);
}

/// Sockets move between loops of one simulation, and to no other.
#[test]
fn sockets_move_within_a_simulation() {
    let simulation = Simulation::new(1);
    let (io, other): (EventLoop, EventLoop) = (io(&simulation), self::io(&simulation));
    let listener: TcpListener = io.listen_tcp(([127, 0, 0, 1], 0)).unwrap();
    let address = io.local_address(listener).unwrap();
    let detached = io.detach(listener).unwrap();
    assert_eq!(io.local_address(listener).unwrap_err().kind(), ErrorKind::StaleHandle);
    let stranger: EventLoop = self::io(&Simulation::new(1));
    let refused = stranger.attach(detached).unwrap_err();
    assert_eq!(refused.error.kind(), ErrorKind::Unsupported);
    let system: EventLoop = EventLoop::new().unwrap();
    let refused = system.attach(refused.value).unwrap_err();
    assert_eq!(refused.error.kind(), ErrorKind::Unsupported);
    let listener = other.attach(refused.value).unwrap();
    assert_eq!(other.local_address(listener), Ok(address));
    drop(other.detach(listener).unwrap());
    assert!(io.listen_tcp(address).is_ok(), "dropping a detached one closes it");
}

/// A connection of a loop with itself.
fn connected(io: &EventLoop, listener: TcpListener) -> [TcpStream; 2] {
    let ends = Rc::new(RefCell::new(Vec::new()));
    let (accepted, connecting) = (ends.clone(), ends.clone());
    io.accept(listener, move |_, _, end| accepted.borrow_mut().push(end.unwrap().stream));
    io.connect(io.local_address(listener).unwrap(), move |_, _, end| {
        connecting.borrow_mut().push(end.unwrap())
    });
    while ends.borrow().len() < 2 {
        io.tick(None).unwrap();
    }
    let ends = ends.borrow();
    [ends[0], ends[1]]
}

/// Documented: a socket of the system doesn't come in.
#[test]
fn sockets_of_the_system_stay_outside() {
    let io: EventLoop = io(&Simulation::new(1));
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    assert_eq!(io.adopt::<nbio::UdpSocket>(socket).unwrap_err().error.kind(), ErrorKind::Unsupported);
    let system: EventLoop = EventLoop::new().unwrap();
    let socket = system.bind_udp(([127, 0, 0, 1], 0)).unwrap();
    let refused = io.attach(system.detach(socket).unwrap()).unwrap_err();
    assert_eq!(refused.error.kind(), ErrorKind::Unsupported);
    let there = refused.value;
    assert!(system.attach(there).is_ok());
}

/// What is on its way to a socket that is gone (here: a second reset) reaches none that got its place.
#[test]
fn late_resets_reach_no_other() {
    for seed in 0..4_000 {
        let io: EventLoop = io(&Simulation::new(seed));
        let listener = io.listen_tcp(([127, 0, 0, 1], 0)).unwrap();
        let [one, other] = connected(&io, listener);
        io.set_tcp_options(one, TcpOptions::default().linger(Linger::Reset)).unwrap();
        io.send_all(other, [7; 1000], |_, _, _| ());
        io.tick(Some(Duration::ZERO)).unwrap();
        // Its data finds nobody, and is answered by a reset; so is the close.
        io.close(one);
        io.close(other);
        for _ in 0..8 {
            let [one, other] = connected(&io, listener);
            io.send_all(one, [1; 10], move |_, _, sent| assert_eq!(sent.result, Ok(()), "seed {seed}"));
            io.recv_exact(other, [0; 10], 10, move |_, _, done| {
                assert_eq!(done.result, Ok(()), "seed {seed}")
            });
        }
        io.run().unwrap();
    }
}
