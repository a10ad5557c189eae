//! `Remote<S>` is invariant: what is given for a long-lived state isn't for a shorter-lived.
use nbio::Remote;

fn shorter<'a>(remote: &'a Remote<&'static str>) -> &'a Remote<&'a str> {
    remote
}

fn main() {}
