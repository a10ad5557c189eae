//! `Remote<S>` is invariant: one for a short-lived state can't give what keeps it for ever.
use nbio::Remote;

fn longer<'a>(remote: &'a Remote<&'a str>) -> &'a Remote<&'static str> {
    remote
}

fn main() {}
