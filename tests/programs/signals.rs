//! Signals that interrupt the loop's system calls (EINTR).

use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

static HANDLED: AtomicU64 = AtomicU64::new(0);

extern "C" fn handle(_: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

/// What C calls a thread: a number or a pointer.
struct Thread(libc::pthread_t);

// SAFETY: it is a name, which any thread may use as long as that thread is alive.
unsafe impl Sync for Thread {}

/// Runs something while this thread gets signal after signal, none of which restarts what it interrupts.
pub fn pestered<T>(run: impl FnOnce() -> T) -> T {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(install);
    let before = HANDLED.load(Ordering::Relaxed);
    let over = AtomicBool::new(false);
    // SAFETY: it has no preconditions.
    let victim = Thread(unsafe { libc::pthread_self() });
    let result = std::thread::scope(|scope| {
        let (victim, over) = (&victim, &over);
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                // SAFETY: the thread is alive: it waits for this one at the scope's end.
                let sent = unsafe { libc::pthread_kill(victim.0, libc::SIGUSR1) };
                assert_eq!(sent, 0, "pthread_kill");
                // Not to wait for anything: to leave the victim some of the processor.
                std::thread::sleep(Duration::from_micros(20));
            }
        });
        let _over = Over(over);
        run()
    });
    assert!(HANDLED.load(Ordering::Relaxed) > before, "signals came");
    result
}

/// Ends the pestering, also if a program panics.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn install() {
    // SAFETY: an action of zeros is a valid one; the handler only adds to an atomic number. Without `SA_RESTART`.
    let installed = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handle as extern "C" fn(libc::c_int) as usize;
        libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut())
    };
    assert_eq!(installed, 0, "sigaction");
}
