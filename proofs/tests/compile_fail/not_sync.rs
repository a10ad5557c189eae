//! A loop isn't shared between threads.
fn main() {
    fn needs_sync<T: Sync>() {}
    needs_sync::<nbio::EventLoop>();
}
