//! What the documentation of `DatagramFaults` promises.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use nbio::{Builder, DatagramFaults, EventLoop, Operation, Simulation, UdpSocket, op};

type Io = EventLoop<()>;
type Numbers = Rc<RefCell<Vec<u8>>>;

/// Receives until nothing comes for a second.
fn receive(io: &Io, socket: UdpSocket, numbers: Numbers) {
    let recv = op::RecvFrom::new(socket, [0; 1]).timeout(Duration::from_secs(1));
    io.submit(recv, move |_, io, datagram| {
        if datagram.result.is_ok() {
            numbers.borrow_mut().push(datagram.buf[0]);
            receive(io, socket, numbers);
        }
    });
}

/// Sends 200 datagrams from one socket to another, one after the other, and says which arrived, and the digest.
fn sent(seed: u64, faults: DatagramFaults) -> (Vec<u8>, u64) {
    let simulation = Simulation::new(seed);
    simulation.set_datagram_faults(faults);
    let io: Io = Builder::new().simulation(&simulation).build().unwrap();
    let [from, to] = [(); 2].map(|()| io.bind_udp(([127, 0, 0, 1], 0)).unwrap());
    fn next(io: &Io, from: UdpSocket, to: UdpSocket, number: u8) {
        let there = io.local_address(to).unwrap();
        io.send_to(from, [number], there, move |_, io, done| {
            assert_eq!(done.result, Ok(()));
            if number < 199 {
                next(io, from, to, number + 1);
            }
        });
    }
    let numbers = Numbers::default();
    next(&io, from, to, 0);
    receive(&io, to, numbers.clone());
    io.run().unwrap();
    (numbers.take(), simulation.digest())
}

/// "They arrive, once and in the order in which their socket sent them, unless something else is asked for."
#[test]
fn without_faults_all_arrive_in_order() {
    for seed in 0..20 {
        assert!(sent(seed, DatagramFaults::new()).0.into_iter().eq(0..200), "seed {seed}");
    }
}

#[test]
fn some_get_lost_and_no_others_come() {
    for seed in 0..20 {
        let (came, _) = sent(seed, DatagramFaults::new().loss(5));
        assert!(came.is_sorted_by(|a, b| a < b) && (120..190).contains(&came.len()), "seed {seed}");
    }
    assert_eq!(sent(1, DatagramFaults::new().loss(1)).0, []);
}

#[test]
fn some_come_twice() {
    for seed in 0..20 {
        let (mut came, _) = sent(seed, DatagramFaults::new().duplication(5));
        assert!(came.is_sorted() && (210..290).contains(&came.len()), "seed {seed}");
        came.dedup();
        assert_eq!(came.len(), 200);
    }
}

#[test]
fn some_are_overtaken() {
    for seed in 0..20 {
        let (mut came, _) = sent(seed, DatagramFaults::new().reordering(5));
        assert!(!came.is_sorted(), "seed {seed}");
        came.sort();
        assert!(came.into_iter().eq(0..200));
    }
}

/// "The same seed and program lead to the same events."
#[test]
fn the_same_seed_loses_the_same() {
    let faults = DatagramFaults::new().loss(3).duplication(3).reordering(3);
    let slow = faults.latency(Duration::from_millis(1)..=Duration::from_millis(9));
    for seed in 0..5 {
        assert_eq!(sent(seed, slow), sent(seed, slow));
        assert_ne!(sent(seed, slow), sent(seed + 1, slow));
    }
}
