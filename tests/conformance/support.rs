//! What the cases share.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use nbio::{Backend, Builder, EventLoop, TcpListener, TcpStream};

pub use crate::programs::address::own_address;

/// A case, and the guarantee or behaviour that it proves.
pub struct Case {
    pub name: &'static str,
    pub run: fn(&Subject),
}

/// A backend in one of its set-ups.
#[derive(Copy, Clone, Debug)]
pub struct Subject {
    pub name: &'static str,
    backend: Backend,
    ring_size: u32,
}

impl Subject {
    pub fn all() -> Vec<Subject> {
        vec![
            Subject { name: "io_uring", backend: Backend::IoUring, ring_size: 1024 },
            // The oldest kernel's features only.
            Subject { name: "io_uring-plain", backend: Backend::IoUringPlain, ring_size: 1024 },
            // One submission at a time and a completion queue of two: both are always full.
            Subject { name: "io_uring-ring-of-1", backend: Backend::IoUring, ring_size: 1 },
        ]
    }

    pub fn builder(&self) -> Builder {
        Builder::new().backend(self.backend).ring_size(self.ring_size)
    }

    pub fn io<S>(&self) -> EventLoop<S> {
        self.builder().build().expect("the backend under test works here")
    }
}

/// `NBIO_LONG=1`: the long form of a test.
pub fn long() -> bool {
    std::env::var_os("NBIO_LONG").is_some_and(|value| value == "1")
}

thread_local! {
    /// The panics of the case that runs on this thread.
    static PANICS: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Many cases panic on purpose: what a case's own thread says of its panics is kept, and shown only if the case fails.
pub fn keep_panics_quiet() {
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let kept =
            PANICS.with_borrow_mut(|panics| panics.as_mut().map(|panics| panics.push(info.to_string())));
        if kept.is_none() {
            loud(info);
        }
    }));
}

/// A case that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a case on this thread; ends the whole process, naming the case, if it hangs.
pub fn run_watched(name: &str, case: impl FnOnce()) -> Result<(), String> {
    let (done, watch) = mpsc::channel::<()>();
    let label = name.to_owned();
    let watcher = std::thread::spawn(move || {
        if watch.recv_timeout(PATIENCE * if long() { 10 } else { 1 }) == Err(mpsc::RecvTimeoutError::Timeout)
        {
            eprintln!("{label} hangs");
            std::process::abort();
        }
    });
    PANICS.set(Some(Vec::new()));
    let result = catch_unwind(AssertUnwindSafe(case)).map_err(|panic| message(&*panic));
    let panics = PANICS.take().unwrap_or_default();
    let result = result.map_err(|text| match panics.last() {
        Some(last) => format!("{text}\n{last}"),
        None => text,
    });
    drop(done);
    watcher.join().expect("the watcher doesn't panic");
    result
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panicked".into())
}

/// A loop's listener on a loopback address of its own, and that address.
pub fn listen<S>(io: &EventLoop<S>) -> (TcpListener, SocketAddr) {
    let listener = io.listen_tcp(own_address()).unwrap();
    (listener, io.local_address(listener).unwrap())
}

/// A stream of the loop whose peer is a blocking socket of std.
pub fn pair<S>(io: &EventLoop<S>) -> (TcpStream, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind(own_address()).unwrap();
    let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, _) = listener.accept().unwrap();
    (io.adopt(socket).unwrap(), peer)
}

/// Something a callback leaves for the test to look at.
pub struct Slot<T>(Rc<RefCell<Vec<T>>>);

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Slot<T> {
        Slot(self.0.clone())
    }
}

impl<T> Slot<T> {
    pub fn new() -> Slot<T> {
        Slot(Rc::new(RefCell::new(Vec::new())))
    }

    pub fn put(&self, value: T) {
        self.0.borrow_mut().push(value);
    }

    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// All that was put, in order; empty afterwards.
    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut self.0.borrow_mut())
    }

    /// The one value that was put.
    pub fn one(&self) -> T {
        let mut values = self.take();
        assert_eq!(values.len(), 1, "exactly one callback ran");
        values.remove(0)
    }
}

/// Counts how often it is dropped.
#[derive(Clone)]
pub struct Drops(Rc<Cell<usize>>);

/// What is counted.
pub struct Counted(Drops);

impl Drops {
    pub fn new() -> Drops {
        Drops(Rc::new(Cell::new(0)))
    }

    pub fn count(&self) -> usize {
        self.0.get()
    }

    pub fn counted(&self) -> Counted {
        Counted(self.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.set(self.0.0.get() + 1);
    }
}
