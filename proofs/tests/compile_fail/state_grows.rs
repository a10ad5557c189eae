//! `EventLoop<S>` is invariant: a loop for a long-lived state isn't one for a shorter-lived.
use nbio::EventLoop;

fn shorter<'a>(io: &'a EventLoop<&'static str>) -> &'a EventLoop<&'a str> {
    io
}

fn main() {}
