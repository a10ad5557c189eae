//! A callback can't swap its loop for another: it is lent by `&`.
use nbio::EventLoop;

fn main() {
    let io = EventLoop::<()>::new().unwrap();
    io.next_tick(|_, io, _| {
        let mut other = EventLoop::<()>::new().unwrap();
        std::mem::swap(io, &mut other);
    });
}
