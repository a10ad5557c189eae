//! What goes to another thread is `Send`.
use std::rc::Rc;

fn main() {
    let io = nbio::EventLoop::<()>::new().unwrap();
    let shared = Rc::new(1);
    let _ = io.remote().unwrap().run(move |_, _| drop(shared));
}
