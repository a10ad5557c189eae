//! There is one owner of a loop, and its drop is the tear-down.
fn main() {
    fn needs_clone<T: Clone>() {}
    needs_clone::<nbio::EventLoop>();
}
