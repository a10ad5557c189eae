//! The loop outlives the tick that runs on it, also when the shared state owns it.
use nbio::EventLoop;

struct State {
    io: Option<EventLoop<State>>,
}

fn main() {
    let mut state = State { io: EventLoop::new().ok() };
    state.io.as_ref().unwrap().run_with(&mut state).unwrap();
}
