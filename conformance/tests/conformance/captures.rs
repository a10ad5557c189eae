//! Callbacks, buffers and state of every shape.

use std::io::{Read, Write};
use std::time::Duration;

use nbio::{Accepted, Done, Error, Event, EventLoop, IoBuf, IoBufMut, Lent, TcpStream};

use crate::hanging::{HOUR, idle};
use crate::support::{Case, Counted, Drops, Slot, Subject, listen};

pub const CASES: &[Case] = &[
    Case { name: "large_and_strictly_aligned_captures", run: large_and_strictly_aligned_captures },
    Case { name: "large_and_strictly_aligned_buffers", run: large_and_strictly_aligned_buffers },
    Case { name: "captures_of_no_size", run: captures_of_no_size },
    Case { name: "plain_functions_as_callbacks", run: plain_functions_as_callbacks },
    Case { name: "code_that_is_generic_over_the_state", run: code_that_is_generic_over_the_state },
    Case { name: "state_with_a_lifetime", run: state_with_a_lifetime },
];

#[repr(align(128))]
struct Aligned128([u8; 128]);

#[repr(align(4096))]
struct Aligned4096([u8; 4096]);

/// Runs a callback with this captured, drops another, and removes a third with the system.
fn capture<T: 'static>(subject: &Subject, make: fn(u8) -> T, holds: fn(&T, u8) -> bool) {
    let io: EventLoop = subject.io();
    let (stream, _peer) = subject.pair(&io);
    let drops = Drops::new();
    for round in 0..20 {
        let seen = Slot::new();
        for nth in 0..3 {
            let (captured, counted, seen) = (make(nth), drops.counted(), seen.clone());
            io.next_tick(move |_, _, _| {
                let (captured, _counted) = (&captured, counted);
                assert_eq!(std::ptr::from_ref(captured).addr() % align_of::<T>(), 0);
                seen.put(holds(captured, nth));
            });
        }
        let (mut events, captured, counted) = (0, make(9), drops.counted());
        let ticks = seen.clone();
        io.interval(Duration::ZERO, move |_, io, event| {
            let (captured, _counted) = (&captured, &counted);
            assert_eq!(std::ptr::from_ref(captured).addr() % align_of::<T>(), 0);
            events += 1;
            ticks.put(holds(captured, 9));
            if matches!(event, Event::Item(_)) && events == 3 {
                io.stop();
            }
        });
        io.run().unwrap();
        let (captured, counted) = (make(0), drops.counted());
        let recv = io.recv(stream, [0; 4], move |_, _, _| drop((captured, counted)));
        let (captured, counted) = (make(0), drops.counted());
        let timer = io.timer(HOUR, move |_, _, _| drop((captured, counted)));
        io.tick(Some(Duration::ZERO)).unwrap();
        assert!(io.remove(recv) && io.remove(timer));
        assert_eq!(io.drain(HOUR), Ok(0));
        assert!(seen.len() >= 7 && seen.take().into_iter().all(|held| held));
        assert_eq!(drops.count(), 6 * (round + 1));
    }
}

fn large_and_strictly_aligned_captures(subject: &Subject) {
    capture(subject, |nth| [nth; 1], |held, nth| *held == [nth; 1]);
    capture(subject, |nth| [nth; 100], |held, nth| *held == [nth; 100]);
    capture(subject, |nth| [nth; 4096], |held, nth| *held == [nth; 4096]);
    capture(subject, |nth| [nth; 65_536], |held, nth| *held == [nth; 65_536]);
    capture(subject, |nth| Aligned128([nth; 128]), |held, nth| held.0 == [nth; 128]);
    capture(subject, |nth| Aligned4096([nth; 4096]), |held, nth| held.0 == [nth; 4096]);
    capture(subject, u128::from, |held, nth| *held == u128::from(nth));
}

/// An aligned buffer that lies in the operation itself.
struct AlignedBuffer {
    memory: Aligned4096,
    _counted: Counted,
}

impl IoBuf for AlignedBuffer {
    fn bytes(&self) -> &[u8] {
        &self.memory.0
    }
}

impl IoBufMut for AlignedBuffer {
    fn as_uninit(&mut self) -> Lent<'_> {
        let memory = &mut self.memory.0[..];
        assert_eq!(memory.as_ptr().addr() % 4096, 0);
        Lent::from(memory)
    }
}

fn large_and_strictly_aligned_buffers(subject: &Subject) {
    let io: EventLoop = subject.io();
    let (near, far) = subject.both_ends(&io);
    let drops = Drops::new();
    let got = Slot::new();
    let small: [u8; 8192] = std::array::from_fn(|at| at as u8);
    let large: [u8; 65_536] = std::array::from_fn(|at| (at / 3) as u8);
    io.send_all(near, small, |_, _, done| assert_eq!(done.bytes, 8192));
    io.send_all(near, large, |_, _, done| assert_eq!(done.bytes, 65_536));
    let aligned = AlignedBuffer { memory: Aligned4096([5; 4096]), _counted: drops.counted() };
    io.send_all(near, aligned, |_, _, done| assert_eq!(done.bytes, 4096));
    let seen = got.clone();
    io.recv_exact(far, [0; 8192], 8192, move |_, _, done| seen.put(done.buf == small));
    let seen = got.clone();
    io.recv_exact(far, [0; 65_536], 65_536, move |_, _, done| seen.put(done.buf == large));
    let (seen, aligned) =
        (got.clone(), AlignedBuffer { memory: Aligned4096([0; 4096]), _counted: drops.counted() });
    io.recv_exact(far, aligned, 4096, move |_, _, done| seen.put(done.data() == [5; 4096]));
    io.run().unwrap();
    assert_eq!((got.take(), drops.count()), (vec![true; 3], 2));
    // And removed while the system has it.
    let aligned = AlignedBuffer { memory: Aligned4096([0; 4096]), _counted: drops.counted() };
    let recv = io.recv(far, aligned, |_, _, _| ());
    io.tick(Some(Duration::ZERO)).unwrap();
    assert!(io.remove(recv) && drops.count() == 2);
    idle(&io);
    assert_eq!(drops.count(), 3);
}

fn captures_of_no_size(subject: &Subject) {
    let io: EventLoop<u32> = subject.io();
    let mut count = 0;
    let (stream, mut peer) = subject.pair_with(&io, &mut count);
    peer.write_all(b"x").unwrap();
    io.next_tick(|count, _, _| *count += 1);
    io.timer(Duration::ZERO, |count, _, _| *count += 10);
    io.recv(stream, Vec::with_capacity(4), |count, _, done| *count += 100 * done.bytes as u32);
    let removed = io.timer(HOUR, |_, _, _| panic!("was removed"));
    assert!(io.remove(removed));
    io.run_with(&mut count).unwrap();
    assert_eq!(count, 111);
}

struct Server {
    lines: Vec<String>,
}

fn accepted(_: &mut Server, io: &EventLoop<Server>, accepted: Result<Accepted, Error>) {
    io.recv_exact(accepted.unwrap().stream, vec![0; 8], 5, received);
}

fn received(server: &mut Server, _: &EventLoop<Server>, done: Done<Vec<u8>>) {
    server.lines.push(String::from_utf8(done.data().to_vec()).unwrap());
}

fn connected(_: &mut Server, io: &EventLoop<Server>, connected: Result<TcpStream, Error>) {
    io.send_all(connected.unwrap(), "hello", sent);
}

fn sent(_: &mut Server, io: &EventLoop<Server>, done: Done<&'static str>) {
    assert_eq!(done.bytes, 5);
    io.interval(Duration::ZERO, beat);
}

fn beat(server: &mut Server, io: &EventLoop<Server>, event: Event<u64>) {
    if matches!(event, Event::Item(_)) && server.lines.len() == 1 {
        io.stop();
    }
}

/// A plain `fn` of a callback's type is one.
fn plain_functions_as_callbacks(subject: &Subject) {
    let io: EventLoop<Server> = subject.io();
    let (listener, address) = listen(&io);
    io.accept(listener, accepted);
    io.connect(address, connected);
    let mut server = Server { lines: Vec::new() };
    io.run_with(&mut server).unwrap();
    assert_eq!(server.lines, ["hello"]);
}

/// Echoes one message, whatever the state is.
fn echo_once<S>(io: &EventLoop<S>, stream: TcpStream) {
    io.recv_exact(stream, vec![0; 64], 10, move |_, io, done| {
        io.send_all(stream, done.filled(), move |_, io, _| io.close(stream));
    });
}

fn code_that_is_generic_over_the_state(subject: &Subject) {
    fn check<S>(subject: &Subject, state: &mut S) {
        let io: EventLoop<S> = subject.io();
        let (stream, mut peer) = subject.pair_with(&io, state);
        peer.write_all(b"to and fro").unwrap();
        echo_once(&io, stream);
        io.run_with(state).unwrap();
        let mut got = String::new();
        peer.read_to_string(&mut got).unwrap();
        assert_eq!(got, "to and fro");
    }
    check(subject, &mut ());
    check(subject, &mut String::new());
    check(subject, &mut [0_u64; 100]);
    let local = 5;
    check(subject, &mut &local);
}

struct Chat<'a> {
    greeting: &'a str,
    said: &'a mut Vec<String>,
}

/// The state may borrow from what lives longer than the loop runs.
fn state_with_a_lifetime(subject: &Subject) {
    let greeting = String::from("good day, ");
    let mut said = Vec::new();
    {
        let mut chat = Chat { greeting: &greeting, said: &mut said };
        let io: EventLoop<Chat<'_>> = subject.io();
        let (stream, mut peer) = subject.pair_with(&io, &mut chat);
        peer.write_all(b"Ann").unwrap();
        io.recv(stream, vec![0; 64], |chat, io, done| {
            chat.said.push(format!("{}{}", chat.greeting, String::from_utf8_lossy(done.data())));
            io.next_tick(|chat, _, _| chat.said.push("bye".into()));
        });
        io.run_with(&mut chat).unwrap();
        io.run_until_with(&mut chat, |chat| chat.said.len() == 2).unwrap();
    }
    assert_eq!(said, ["good day, Ann", "bye"]);
}
