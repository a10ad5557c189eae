//! A callback can't take its loop away, nor drop it.
use nbio::EventLoop;

fn main() {
    let io = EventLoop::<()>::new().unwrap();
    io.next_tick(|_, io, _| drop::<EventLoop<()>>(*io));
}
