//! A loop stays on its thread.
fn main() {
    fn needs_send<T: Send>() {}
    needs_send::<nbio::EventLoop>();
}
