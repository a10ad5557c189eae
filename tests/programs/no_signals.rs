//! Windows has no signals that interrupt a system call.

/// Runs something, undisturbed.
pub fn pestered<T>(run: impl FnOnce() -> T) -> T {
    run()
}
