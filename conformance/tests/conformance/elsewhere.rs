//! Rooms that are about what a system doesn't have at all, so that they don't even compile there. Their cases are named
//! nevertheless, as every case that doesn't run is.

/// A room, why it isn't here, and its source.
type Room = (&'static str, &'static str, &'static str);

#[cfg(unix)]
const NO_NAMED_PIPES: &str = "FIFOs have no server and no clients: see lacking";

#[cfg(target_os = "linux")]
pub const ROOMS: &[Room] = &[("named_pipes", NO_NAMED_PIPES, include_str!("named_pipes.rs"))];

#[cfg(all(unix, not(target_os = "linux")))]
pub const ROOMS: &[Room] = &[
    ("named_pipes", NO_NAMED_PIPES, include_str!("named_pipes.rs")),
    ("local_datagram", "it uses abstract names, which only Linux has", include_str!("local_datagram.rs")),
    ("passing_messages", "it uses abstract names, which only Linux has", include_str!("passing_messages.rs")),
    ("seqpacket", "its peers are sockets of Linux", include_str!("seqpacket.rs")),
    ("seqpacket_ends", "its peers are sockets of Linux", include_str!("seqpacket_ends.rs")),
    ("stopped", "it looks for stopped processes in /proc", include_str!("stopped.rs")),
];

#[cfg(windows)]
pub const ROOMS: &[Room] = &[
    ("environment", "it is about the choice between Linux's backends", include_str!("environment.rs")),
    ("local", "Unix sockets: Wine has none", include_str!("local.rs")),
    ("local_datagram", "Windows has no Unix datagrams", include_str!("local_datagram.rs")),
    ("passing", "Windows passes no descriptors by sockets", include_str!("passing.rs")),
    ("passing_messages", "Windows passes no descriptors by sockets", include_str!("passing_messages.rs")),
    ("pipes", "it is about FIFOs, terminals and signals of Unix", include_str!("pipes.rs")),
    ("poll", "it polls pipes and the numbers of Unix", include_str!("poll.rs")),
    ("seqpacket", "Windows has no such sockets", include_str!("seqpacket.rs")),
    ("seqpacket_ends", "Windows has no such sockets", include_str!("seqpacket_ends.rs")),
    ("stopped", "Windows has no such signals", include_str!("stopped.rs")),
];

/// Takes the place of such a room.
pub mod nothing {
    pub const CASES: &[crate::support::Case] = &[];
}

/// The names of the cases in a room's source: those of the lines of its table.
pub fn names(source: &'static str) -> impl Iterator<Item = &'static str> {
    let table = source.split_once("CASES: &[Case] = &[").and_then(|(_, rest)| rest.split_once("];"));
    let (table, _) = table.expect("a room has a table");
    table.split("name: \"").skip(1).map(|rest| rest.split('"').next().unwrap_or(rest))
}
