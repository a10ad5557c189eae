//! A callback can't keep the state, which is lent for that call.
use nbio::EventLoop;
use std::cell::Cell;

thread_local!(static KEPT: Cell<Option<&'static mut u32>> = const { Cell::new(None) });

fn main() {
    let io = EventLoop::<u32>::new().unwrap();
    io.next_tick(|state, _, _| KEPT.set(Some(state)));
}
