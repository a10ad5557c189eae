//! The backends that do their work on the system, for tests that compare them or treat them alike.

use nbio::{Backend, Builder};

/// A backend's name, and a builder of loops on it.
pub type System = (&'static str, fn() -> Builder);

pub const SYSTEMS: &[System] = &[
    ("io_uring", || Builder::new().backend(Backend::IoUring)),
    ("io_uring-plain", || Builder::new().backend(Backend::IoUringPlain)),
    ("epoll", || Builder::new().backend(Backend::Epoll)),
    #[cfg(feature = "unstable-simulated-kqueue")]
    ("kqueue-macos", || Builder::new().backend(Backend::KqueueMacOs)),
    #[cfg(feature = "unstable-simulated-kqueue")]
    ("kqueue-freebsd", || Builder::new().backend(Backend::KqueueFreeBsd)),
];
