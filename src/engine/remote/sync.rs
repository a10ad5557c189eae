//! What the queue synchronises with. The loom test compiles `queue.rs` with loom's in their place.

pub(super) use std::sync::atomic::{AtomicBool, Ordering};
pub(super) use std::sync::{Condvar, Mutex, MutexGuard};
pub(super) use std::time::Instant;
