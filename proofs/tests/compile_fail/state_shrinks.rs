//! `EventLoop<S>` is invariant: a loop for a short-lived state isn't one for a longer-lived.
use nbio::EventLoop;

fn longer<'a>(io: &'a EventLoop<&'a str>) -> &'a EventLoop<&'static str> {
    io
}

fn main() {}
