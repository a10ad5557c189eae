//! Guarantee 12: no heap allocation per operation once the loop is warm.
//!
//! The allocator counts per thread, so that a peer's thread (or the test harness) disturbs nothing. Every scenario runs
//! some rounds to get warm, and then must not allocate in any of those that follow.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use nbio::{
    Backend, Builder, Done, Ecn, ErrorKind, Event, EventLoop, File, ManyOperation, OpId, Operation, Remote,
    SendControl, TcpListener, TcpStream, UdpOptions, UdpSocket, WhenFull, op,
};

thread_local!(static ALLOCATIONS: Cell<u64> = const { Cell::new(0) });

struct Counting;

impl Counting {
    fn count() {
        // A thread that is being torn down doesn't matter.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
    }
}

// SAFETY: `System` does it all. The counter is a plain thread-local without a destructor: using it allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Counting::count();
        // SAFETY: as the caller vouches.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as the caller vouches.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Counting::count();
        // SAFETY: as the caller vouches.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const WARM_UP: u64 = 300;
const MEASURED: u64 = 2_000;

/// The shared state: counts rounds, and the allocations in those after the warm-up.
#[derive(Default)]
struct Rounds {
    done: u64,
    before: u64,
    after: Option<u64>,
    /// The interval of this round.
    interval: Option<OpId>,
}

impl Rounds {
    /// A round is over; says whether another is wanted.
    fn again(&mut self, io: &EventLoop<Rounds>) -> bool {
        self.done += 1;
        if self.done == WARM_UP {
            self.before = ALLOCATIONS.get();
        }
        if self.done < WARM_UP + MEASURED {
            return true;
        }
        self.after = Some(ALLOCATIONS.get());
        io.stop();
        false
    }
}

/// Runs a scenario on each set-up of io_uring, and counts.
fn measure(start: impl Fn(&EventLoop<Rounds>)) {
    for (backend, ring_size) in [(Backend::IoUring, 64), (Backend::IoUringPlain, 64), (Backend::IoUring, 1)] {
        let io = Builder::new().backend(backend).ring_size(ring_size).build().unwrap();
        start(&io);
        let mut rounds = Rounds::default();
        io.run_with(&mut rounds).unwrap();
        let after = rounds.after.expect("all rounds were run");
        assert_eq!(
            after - rounds.before,
            0,
            "allocations in {MEASURED} rounds, {backend:?}, ring of {ring_size}"
        );
    }
}

/// Two streams of the loop, connected with each other.
fn connected(io: &EventLoop<Rounds>) -> (TcpStream, TcpStream) {
    let (first, second) = sockets();
    (io.adopt(first).unwrap(), io.adopt(second).unwrap())
}

fn sockets() -> (std::net::TcpStream, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let first = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (first, listener.accept().unwrap().0)
}

#[test]
fn the_counter_counts() {
    let before = ALLOCATIONS.get();
    let vec = std::hint::black_box(Vec::<u8>::with_capacity(100));
    assert_eq!(ALLOCATIONS.get() - before, 1, "{vec:?}");
    let io = EventLoop::<Rounds>::new().unwrap();
    io.next_tick(|rounds, _, _| rounds.done += *std::hint::black_box(Box::new(1)));
    let before = ALLOCATIONS.get();
    io.run_with(&mut Rounds::default()).unwrap();
    assert!(ALLOCATIONS.get() > before, "an allocation in a callback is seen");
}

#[test]
fn echo_of_vecs() {
    fn serve(io: &EventLoop<Rounds>, stream: TcpStream, buf: Vec<u8>) {
        io.recv(stream, buf, move |_, io, done| {
            assert_eq!(done.bytes, 100);
            io.send_all(stream, done.buf, move |_, io, sent| serve(io, stream, sent.buf));
        });
    }
    fn ask(io: &EventLoop<Rounds>, stream: TcpStream, question: Vec<u8>, answer: Vec<u8>) {
        io.send_all(stream, question, move |_, io, sent| {
            io.recv_exact(stream, answer, 100, move |rounds, io, done| {
                assert_eq!(done.data(), sent.buf);
                if rounds.again(io) {
                    ask(io, stream, sent.buf, done.buf);
                }
            });
        });
    }
    measure(|io| {
        let (client, server) = connected(io);
        serve(io, server, Vec::with_capacity(4096));
        ask(io, client, vec![7; 100], Vec::with_capacity(100));
    });
}

#[test]
fn echo_of_arrays_with_deadlines() {
    const LATER: Duration = Duration::from_secs(60);
    type Buffer = [u8; 8192];
    fn serve(io: &EventLoop<Rounds>, stream: TcpStream, buf: Buffer) {
        io.submit(op::Recv::new(stream, buf).timeout(LATER), move |_, io, done| {
            let reply = op::Send::new(stream, done.filled()).all().timeout(LATER);
            io.submit(reply, move |_, io, sent| serve(io, stream, sent.buf.into_inner()));
        });
    }
    fn ask(io: &EventLoop<Rounds>, stream: TcpStream, question: Buffer, answer: Buffer) {
        io.submit(op::Send::new(stream, question).all().timeout(LATER), move |_, io, sent| {
            let receive = op::Recv::new(stream, answer).exact(8192).timeout(LATER);
            io.submit(receive, move |rounds: &mut Rounds, io, done| {
                assert_eq!((done.bytes, done.buf), (8192, sent.buf));
                if rounds.again(io) {
                    ask(io, stream, sent.buf, done.buf);
                }
            });
        });
    }
    measure(|io| {
        let (client, server) = connected(io);
        serve(io, server, [0; 8192]);
        ask(io, client, [9; 8192], [0; 8192]);
    });
}

#[test]
fn echo_of_several_buffers() {
    type Buffers = [Vec<u8>; 3];
    fn serve(io: &EventLoop<Rounds>, stream: TcpStream, bufs: Buffers) {
        io.submit(op::RecvVectored::new(stream, bufs).exact(60), move |_, io, done: Done<Buffers>| {
            io.send_vectored(stream, done.buf, move |_, io, sent| serve(io, stream, sent.buf));
        });
    }
    fn ask(io: &EventLoop<Rounds>, stream: TcpStream, question: Buffers, answer: Buffers) {
        io.send_vectored(stream, question, move |_, io, sent| {
            let receive = op::RecvVectored::new(stream, answer).exact(60);
            io.submit(receive, move |rounds: &mut Rounds, io, done| {
                assert_eq!(done.buf, sent.buf);
                if rounds.again(io) {
                    ask(io, stream, sent.buf, done.buf);
                }
            });
        });
    }
    let empty = || [0; 3].map(|_| Vec::with_capacity(20));
    measure(|io| {
        let (client, server) = connected(io);
        serve(io, server, empty());
        ask(io, client, [1, 2, 3].map(|byte| vec![byte; 20]), empty());
    });
}

#[test]
fn datagrams_with_all_that_goes_beside_them() {
    type Parts = [Vec<u8>; 2];
    fn serve(io: &EventLoop<Rounds>, socket: UdpSocket, bufs: Parts) {
        io.submit(op::RecvMsg::new(socket, bufs), move |_, io, datagram| {
            let info = datagram.control.packet_info.unwrap();
            let control = SendControl::default().source(info.destination).ecn(datagram.control.ecn.unwrap());
            let answer = op::SendMsg::new(socket, datagram.buf).to(datagram.from.unwrap()).control(control);
            io.submit(answer, move |_, io, sent: Done<Parts>| serve(io, socket, sent.buf));
        });
    }
    fn ask(io: &EventLoop<Rounds>, socket: UdpSocket, to: SocketAddr, buf: Vec<u8>) {
        io.submit(
            op::SendTo::new(socket, buf, to).ecn(Ecn::Capable0).segment_size(30),
            move |_, io, sent| {
                io.recv_from(socket, sent.buf, move |rounds: &mut Rounds, io, datagram| {
                    assert_eq!((datagram.data(), datagram.from), (&[5; 30][..], Some(to)));
                    if rounds.again(io) {
                        ask(io, socket, to, datagram.buf);
                    }
                });
            },
        );
    }
    measure(|io| {
        let all = UdpOptions::default().recv_packet_info(true).recv_ecn(true).recv_ttl(true).gro(true);
        let [client, server] = [(); 2].map(|()| io.bind_udp_with(([127, 0, 0, 1], 0), all).unwrap());
        serve(io, server, [0; 2].map(|_| Vec::with_capacity(20)));
        ask(io, client, io.local_address(server).unwrap(), vec![5; 30]);
    });
}

#[test]
fn echo_with_a_peer_in_a_thread() {
    fn ask(io: &EventLoop<Rounds>, stream: TcpStream, buf: Vec<u8>) {
        io.send_all(stream, buf, move |_, io, sent| {
            io.recv_exact(stream, sent.buf, 512, move |rounds, io, done| {
                done.result.unwrap();
                if rounds.again(io) {
                    ask(io, stream, done.buf);
                }
            });
        });
    }
    measure(|io| {
        let (socket, mut peer) = sockets();
        // It ends with the connection; what it allocates is its own business.
        std::thread::spawn(move || {
            let mut buf = vec![0; 512];
            while peer.read_exact(&mut buf).is_ok() && peer.write_all(&buf.clone()).is_ok() {}
        });
        ask(io, io.adopt(socket).unwrap(), vec![3; 512]);
    });
}

#[test]
fn places_in_files() {
    fn round(io: &EventLoop<Rounds>, file: File, buf: Vec<u8>) {
        io.write_all_at(file, buf, 4096, move |_, io, done| {
            io.submit(op::ReadAt::new(file, done.buf, 4096).exact(1000), move |_, io, done| {
                io.submit(op::WriteAtVectored::new(file, [done.buf, Vec::new()], 0), move |_, io, done| {
                    let [buf, _] = done.buf;
                    io.read_at(file, [0; 5000], 0, move |rounds, io, done| {
                        assert_eq!((done.bytes, done.buf[999]), (5000, 5));
                        if rounds.again(io) {
                            round(io, file, buf);
                        }
                    });
                });
            });
        });
    }
    let path = std::env::temp_dir().join(format!("nbio-allocations-{}", std::process::id()));
    let file = std::fs::File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    measure(|io| round(io, io.adopt(file.try_clone().unwrap()).unwrap(), vec![5; 1000]));
}

#[test]
fn timers_intervals_and_next_ticks() {
    fn round(io: &EventLoop<Rounds>) {
        let idle = io.timer(Duration::from_secs(9), |_, _, ended| assert!(ended.is_err()));
        io.next_tick(move |_, io, _| {
            assert!(io.reset(idle, Duration::from_secs(8)));
            io.timer(Duration::ZERO, move |rounds, io, _| {
                assert!(io.cancel(idle));
                let removed = io.timer(Duration::from_secs(7), |_, _, _| unreachable!("removed"));
                assert!(io.remove(removed));
                every(rounds, io);
                late(io);
            });
        });
    }
    /// An interval that ends itself.
    fn every(rounds: &mut Rounds, io: &EventLoop<Rounds>) {
        let mut items = 0;
        let every = op::Interval::every(Duration::from_nanos(1)).timeout(Duration::from_secs(60));
        let id = io.submit_many(every, move |rounds: &mut Rounds, io, event| match event {
            Event::Item(_) => {
                items += 1;
                if items == 3 {
                    assert!(io.cancel(rounds.interval.expect("written down")));
                }
            }
            Event::End(result) => {
                assert_eq!(result.unwrap_err().kind(), ErrorKind::Cancelled);
                if rounds.again(io) {
                    round(io);
                }
            }
        });
        rounds.interval = Some(id);
    }
    /// An interval whose deadline comes first.
    fn late(io: &EventLoop<Rounds>) {
        let short = op::Interval::every(Duration::from_secs(3)).timeout(Duration::ZERO);
        io.submit_many(short, |_: &mut Rounds, _, event| match event {
            Event::Item(_) => unreachable!("its deadline comes first"),
            Event::End(result) => assert_eq!(result.unwrap_err().kind(), ErrorKind::TimedOut),
        });
    }
    measure(round);
}

#[test]
fn cancels_and_removes_of_receives() {
    fn round(io: &EventLoop<Rounds>, stream: TcpStream, buf: Vec<u8>) {
        let removed = io.recv(stream, [0; 64], |_, _, _| unreachable!("removed"));
        let cancelled = io.recv(stream, buf, move |rounds, io, done| {
            assert_eq!(done.result.unwrap_err().kind(), ErrorKind::Cancelled);
            if rounds.again(io) {
                round(io, stream, done.buf);
            }
        });
        io.next_tick(move |_, io, _| assert!(io.remove(removed) && io.cancel(cancelled)));
    }
    measure(|io| {
        let (stream, _peer) = connected(io);
        round(io, stream, Vec::with_capacity(100));
    });
}

#[test]
fn operations_whose_closure_does_not_fit_a_slot() {
    fn round(io: &EventLoop<Rounds>, ballast: [u64; 200]) {
        io.next_tick(move |rounds, io, _| {
            assert_eq!(ballast[199], 199);
            if rounds.again(io) {
                round(io, ballast);
            }
        });
    }
    measure(|io| round(io, std::array::from_fn(|index| index as u64)));
}

#[test]
fn accept_connect_and_close() {
    fn round(io: &EventLoop<Rounds>, listener: TcpListener) {
        io.accept(listener, |_, io, accepted| {
            let stream = accepted.unwrap().stream;
            // The end of the stream comes when the client closes.
            io.recv(stream, [0; 16], move |_, io, done| {
                assert_eq!(done.bytes, 0);
                io.close(stream);
            });
        });
        io.connect(io.local_address(listener).unwrap(), move |_, io, connected| {
            io.close_then(connected.unwrap(), move |rounds, io, closed| {
                closed.unwrap();
                if rounds.again(io) {
                    round(io, listener);
                }
            });
        });
    }
    measure(|io| round(io, io.listen_tcp(([127, 0, 0, 1], 0)).unwrap()));
}

/// A closure that just fits an entry, and an operation with its callback: given by the loop's own thread.
#[test]
fn entries_of_the_own_thread() {
    fn round(remote: Remote<Rounds>, ballast: [u64; 12]) {
        let next = remote.clone();
        // The remote is two words, the ballast twelve.
        let run = remote.run(move |_, _| {
            let again = next.clone();
            assert!(ballast.iter().all(|&word| word == ballast[0]));
            let timer = next.submit(op::NextTick::new(), move |rounds: &mut Rounds, io, _| {
                if rounds.again(io) {
                    round(again, [rounds.done; 12]);
                }
            });
            timer.unwrap();
        });
        run.unwrap();
    }
    measure(|io| round(io.remote().unwrap(), [0; 12]));
}

/// Given by another thread, which waits for room and wakes the loop, and allocates nothing either.
#[test]
fn entries_of_another_thread() {
    for backend in [Backend::IoUring, Backend::IoUringPlain] {
        let io: EventLoop<Rounds> = Builder::new().backend(backend).remote_capacity(64).build().unwrap();
        let mut rounds = Rounds::default();
        // Warm is a queue that has been full, on both its sides.
        for _ in 0..2 {
            let remote = io.remote().unwrap();
            while remote.run(|_, _| ()).is_ok() {}
            io.tick_with(&mut rounds, None).unwrap();
        }
        let remote = io.remote().unwrap().when_full(WhenFull::Wait);
        let giver = std::thread::spawn(move || {
            let keep_alive = remote.keep_alive();
            let give = || {
                remote
                    .run(|rounds, io| {
                        rounds.again(io);
                    })
                    .unwrap()
            };
            (0..WARM_UP).for_each(|_| give());
            let before = ALLOCATIONS.get();
            (0..MEASURED).for_each(|_| give());
            let allocations = ALLOCATIONS.get() - before;
            drop(keep_alive);
            allocations
        });
        while rounds.after.is_none() {
            io.tick_with(&mut rounds, Some(Duration::from_millis(1))).unwrap();
        }
        let after = rounds.after.expect("all rounds were run");
        assert_eq!((after - rounds.before, giver.join().unwrap()), (0, 0), "{backend:?}");
    }
}

/// An echo between two tasks, with a deadline on each receive: what an awaited operation brings waits in its slot.
#[test]
fn awaited_operations() {
    for backend in [Backend::IoUring, Backend::IoUringPlain, Backend::Epoll] {
        let io: EventLoop<Rounds> = Builder::new().backend(backend).build().unwrap();
        let (client, server) = connected(&io);
        let echo = io.spawn(async move {
            let mut buf = Vec::with_capacity(100);
            while let Ok((1.., received)) = op::Recv::new(server, buf).await {
                (_, buf) = op::Send::new(server, received).all().await.unwrap();
            }
        });
        let ask = async {
            let (mut question, mut answer, mut before) = ([7; 100], [0; 100], 0);
            for round in 0..WARM_UP + MEASURED {
                if round == WARM_UP {
                    before = ALLOCATIONS.get();
                }
                (_, question) = op::Send::new(client, question).all().await.unwrap();
                let recv = op::Recv::new(client, answer).exact(100).timeout(Duration::from_secs(100));
                (_, answer) = recv.await.unwrap();
                nbio::task::yield_now().await;
            }
            ALLOCATIONS.get() - before
        };
        assert_eq!(io.block_on_with(&mut Rounds::default(), ask), Ok(0), "{backend:?}");
        io.close(client);
        io.run_with(&mut Rounds::default()).unwrap();
        assert!(echo.is_finished());
    }
}

/// A task is one allocation.
#[test]
fn one_for_a_task() {
    let io: EventLoop<Rounds> = EventLoop::new().unwrap();
    let mut rounds = Rounds::default();
    let mut tasks = |count: u64| {
        let before = ALLOCATIONS.get();
        for number in 0..count {
            let task = io.spawn(async move { number });
            io.tick_with(&mut rounds, None).unwrap();
            assert!(task.is_finished());
        }
        ALLOCATIONS.get() - before
    };
    tasks(WARM_UP);
    assert_eq!(tasks(MEASURED), MEASURED);
}
