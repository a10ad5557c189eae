//! Jobs block on channels, so a test says when each of them ends; no test waits for a time to pass.

use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;

/// Much longer than any test takes, and so long that a test that waits for it has failed.
const LONG: Duration = Duration::from_secs(60);

const LIMITS: Limits = Limits { running: 2, threads: 6, stuck: LONG, idle: LONG };

/// Says that it has begun, and on which thread, and ends when it is told to (or nobody can tell it any more).
struct Held {
    number: usize,
    begun: Sender<(usize, String)>,
    until: Mutex<Receiver<()>>,
}

impl Work for Held {
    fn run(&self) {
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        let _ = self.begun.send((self.number, thread));
        let _ = self.until.lock().unwrap().recv();
    }
}

type Channel<T> = (Sender<T>, Receiver<T>);

struct Bench {
    pool: Arc<Pool>,
    /// Number and thread of a job.
    begun: Channel<(usize, String)>,
    ended: Channel<(usize, Outcome)>,
    /// Lets each job go.
    holds: Vec<Option<Sender<()>>>,
    tickets: Vec<u64>,
}

impl Bench {
    fn new(limits: Limits) -> Bench {
        let (holds, tickets) = (Vec::new(), Vec::new());
        Bench { pool: Pool::new(limits), begun: channel(), ended: channel(), holds, tickets }
    }

    fn submit(&mut self, count: usize) {
        for _ in 0..count {
            let number = self.holds.len();
            let (hold, until) = channel();
            self.holds.push(Some(hold));
            let job = Held { number, begun: self.begun.0.clone(), until: Mutex::new(until) };
            let ended = self.ended.0.clone();
            let completer = Box::new(move |outcome| ended.send((number, outcome)).unwrap());
            self.tickets.push(self.pool.submit(Arc::new(job), completer));
        }
    }

    fn release(&mut self, number: usize) {
        self.holds[number] = None;
    }

    /// The number of the next job to begin.
    fn begins(&self) -> usize {
        self.begun.1.recv_timeout(LONG / 2).expect("a job begins").0
    }

    fn ends(&self) -> (usize, Outcome) {
        self.ended.1.recv_timeout(LONG / 2).expect("a job ends")
    }

    /// Waits for the pool's own book-keeping: it is behind what jobs say of themselves by a lock at most.
    fn await_census(&self, what: impl Fn(Census) -> bool) {
        let start = Instant::now();
        while !what(self.pool.census()) {
            assert!(start.elapsed() < LONG / 2, "{:?}", self.pool.census());
            std::thread::yield_now();
        }
    }
}

#[test]
fn as_many_run_as_the_limit_says_and_the_others_in_order() {
    let mut bench = Bench::new(LIMITS);
    bench.submit(5);
    let mut first = [bench.begins(), bench.begins()];
    first.sort();
    assert_eq!(first, [0, 1]);
    let census = bench.pool.census();
    assert_eq!((census.running, census.stuck, census.queued), (2, 0, 3));
    for (ends, begins) in [(1, 2), (0, 3), (3, 4)] {
        assert!(bench.begun.1.try_recv().is_err(), "the limit holds");
        bench.release(ends);
        assert_eq!(bench.ends(), (ends, Outcome::Ran));
        assert_eq!(bench.begins(), begins);
    }
    // Two that run, and one that waits for the moment when more may.
    assert!(bench.pool.census().threads <= 3, "{:?}", bench.pool.census());
}

#[test]
fn threads_are_named_and_few_when_jobs_come_one_by_one() {
    let mut bench = Bench::new(LIMITS);
    for number in 0..50 {
        bench.submit(1);
        let (begun, thread) = bench.begun.1.recv_timeout(LONG / 2).unwrap();
        assert_eq!(begun, number);
        assert!(matches!(thread.as_str(), "nbio-pool-0" | "nbio-pool-1" | "nbio-pool-2"), "{thread}");
        bench.release(number);
        bench.ends();
    }
}

#[test]
fn grows_past_stuck_threads_up_to_the_hard_limit() {
    let mut bench = Bench::new(Limits { stuck: Duration::from_millis(5), ..LIMITS });
    bench.submit(8);
    // Nobody submits anything after this, and no job ends: growth is the pool's own doing.
    let mut begun: Vec<usize> = (0..6).map(|_| bench.begins()).collect();
    begun.sort();
    assert_eq!(begun, [0, 1, 2, 3, 4, 5]);
    bench.await_census(|census| census.stuck == 6);
    assert_eq!(bench.pool.census(), Census { threads: 6, running: 6, stuck: 6, queued: 2 });
    assert!(bench.begun.1.try_recv().is_err(), "the hard limit holds");
    // The first to come back takes what waits.
    bench.release(3);
    assert_eq!((bench.ends().0, bench.begins()), (3, 6));
    bench.release(0);
    assert_eq!((bench.ends().0, bench.begins()), (0, 7));
}

#[test]
fn a_withdrawn_job_never_runs_and_nobody_is_told() {
    let mut bench = Bench::new(LIMITS);
    bench.submit(4);
    bench.begins();
    bench.begins();
    assert!(bench.pool.withdraw(bench.tickets[2]), "it was waiting");
    assert!(!bench.pool.withdraw(bench.tickets[2]), "once only");
    assert!(!bench.pool.withdraw(bench.tickets[0]), "it is running");
    bench.release(0);
    assert_eq!((bench.ends().0, bench.begins()), (0, 3));
    for number in 1..4 {
        bench.release(number);
    }
    let mut ended = [bench.ends().0, bench.ends().0];
    ended.sort();
    assert_eq!(ended, [1, 3]);
    assert!(!bench.pool.withdraw(bench.tickets[1]), "it is over");
    // The withdrawn one's completer is gone: nobody holds a sender but the bench.
    drop(std::mem::replace(&mut bench.ended.0, channel().0));
    assert!(bench.ended.1.recv().is_err());
}

#[test]
fn idle_threads_end_and_come_back_when_needed() {
    let mut bench = Bench::new(Limits { idle: Duration::from_millis(2), ..LIMITS });
    for round in 0..3 {
        bench.submit(1);
        assert_eq!(bench.begins(), round);
        bench.release(round);
        bench.ends();
        bench.await_census(|census| census == Census::default());
    }
}

#[test]
fn a_thread_that_does_not_start_is_told_only_if_there_is_no_other() {
    let mut bench = Bench::new(LIMITS);
    bench.submit(1);
    bench.begins();
    {
        let mut state = bench.pool.lock();
        let job = Held { number: 9, begun: channel().0, until: Mutex::new(channel().1) };
        let ended = bench.ended.0.clone();
        let completer = Box::new(move |outcome| ended.send((9, outcome)).unwrap());
        state.queue.insert(99, Queued { job: Arc::new(job), completer });
        // As if `reinforce` had just been told that there is no thread.
        state.numbers.push(true);
    }
    let number = bench.pool.lock().numbers.len() - 1;
    bench.pool.not_started(number, 11);
    assert!(bench.ended.1.try_recv().is_err(), "the running one will take it");
    bench.release(0);
    let mut ended = [bench.ends(), bench.ends()];
    ended.sort_by_key(|end| end.0);
    assert_eq!(ended, [(0, Outcome::Ran), (9, Outcome::Ran)]);

    let mut bench = Bench::new(Limits { threads: 0, ..LIMITS });
    bench.submit(2);
    bench.pool.lock().numbers.push(true);
    bench.pool.not_started(0, 11);
    assert_eq!([bench.ends(), bench.ends()], [(0, Outcome::NotRun(11)), (1, Outcome::NotRun(11))]);
}
