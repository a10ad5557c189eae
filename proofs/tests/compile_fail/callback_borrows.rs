//! A callback may outlive what `main` has: it borrows nothing.
fn main() {
    let io = nbio::EventLoop::<()>::new().unwrap();
    let mut count = 0;
    io.next_tick(|_, _, _| count += 1);
}
