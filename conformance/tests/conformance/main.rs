//! One suite for every backend: each case is written against "a loop" and run on each subject.
//!
//! A case proves a guarantee (the numbers are those of the crate's front page) or a piece of documented behaviour,
//! and its name says which. Cases don't skip themselves: the one table in `skips.rs` does.
//! `NBIO_LONG=1` runs the long forms; `NBIO_PEERS=loop` one subject whose peers are streams of a second loop, as those
//! of a simulation are.

mod accept_many;
mod blocking;
mod blocking_process;
mod captures;
mod child;
mod closing;
mod connections;
mod control;
mod copy_file;
mod copy_file_ends;
mod datagrams;
mod deadlines;
mod disk;
mod elsewhere;
mod ending;
#[cfg(unix)]
mod environment;
mod faults;
mod files;
mod files_cursor;
mod files_ends;
mod files_lock;
mod files_names;
mod files_whole;
mod folder;
mod forbidden;
mod hanging;
mod hyper;
mod input;
mod lacking;
#[cfg(unix)]
mod local;
#[cfg(target_os = "linux")]
mod local_datagram;
mod moving;
#[cfg(windows)]
mod named_pipes;
mod odin;
mod orphans;
mod panics;
#[cfg(unix)]
mod passing;
#[cfg(target_os = "linux")]
mod passing_messages;
mod peer;
mod pipe_pairs;
#[cfg(unix)]
mod pipes;
#[cfg(unix)]
mod poll;
#[path = "../../../tests/programs/mod.rs"]
mod programs;
mod random;
mod recv_many;
mod remote;
mod remote_ends;
mod remote_many;
mod resolve;
mod send_file;
#[cfg(target_os = "linux")]
mod seqpacket;
#[cfg(target_os = "linux")]
mod seqpacket_ends;
mod skips;
mod smoke;
mod sockets_accept;
mod sockets_adopt;
mod sockets_connect;
mod sockets_handles;
mod sockets_listen;
mod sockets_options;
mod splice;
mod steps_races;
#[cfg(target_os = "linux")]
mod stopped;
mod streams;
mod streams_buffers;
mod streams_ends;
mod streams_order;
mod streams_races;
mod streams_vectored;
mod stress;
mod support;
#[cfg_attr(target_os = "linux", path = "system/linux.rs")]
#[cfg_attr(all(unix, not(target_os = "linux")), path = "system/others.rs")]
#[cfg_attr(windows, path = "system/windows.rs")]
mod system;
mod tasks;
mod teardown;
mod timers;
mod traits;
mod transfer;
mod turns;
mod udp;
mod udp_control;
mod udp_ends;
mod udp_groups;
mod udp_handles;
mod wire;
mod work;

use std::sync::Arc;

use forbidden::Forbidden;
use libtest_mimic::{Arguments, Failed, Trial};
use support::{Case, LOOP_PEERS, Setup, Subject, run_watched};

// See `elsewhere`.
#[cfg(unix)]
use elsewhere::nothing as named_pipes;
#[cfg(not(target_os = "linux"))]
use elsewhere::{
    nothing as local_datagram, nothing as passing_messages, nothing as seqpacket, nothing as seqpacket_ends,
    nothing as stopped,
};
#[cfg(windows)]
use elsewhere::{
    nothing as environment, nothing as local, nothing as passing, nothing as pipes, nothing as poll,
};

/// The rooms of the suite.
const ROOMS: &[(&str, &[Case])] = &[
    ("accept_many", accept_many::CASES),
    ("blocking", blocking::CASES),
    ("blocking_process", blocking_process::CASES),
    ("resolve", resolve::CASES),
    ("captures", captures::CASES),
    ("closing", closing::CASES),
    ("control", control::CASES),
    ("copy_file", copy_file::CASES),
    ("copy_file_ends", copy_file_ends::CASES),
    ("deadlines", deadlines::CASES),
    ("ending", ending::CASES),
    ("environment", environment::CASES),
    ("faults", faults::CASES),
    ("files", files::CASES),
    ("files_cursor", files_cursor::CASES),
    ("files_ends", files_ends::CASES),
    ("files_lock", files_lock::CASES),
    ("files_names", files_names::CASES),
    ("files_whole", files_whole::CASES),
    ("input", input::CASES),
    ("lacking", lacking::CASES),
    ("local", local::CASES),
    ("local_datagram", local_datagram::CASES),
    ("moving", moving::CASES),
    ("named_pipes", named_pipes::CASES),
    ("odin", odin::CASES),
    ("orphans", orphans::CASES),
    ("panics", panics::CASES),
    ("passing", passing::CASES),
    ("passing_messages", passing_messages::CASES),
    ("pipe_pairs", pipe_pairs::CASES),
    ("pipes", pipes::CASES),
    ("poll", poll::CASES),
    ("random", random::CASES),
    ("recv_many", recv_many::CASES),
    ("remote", remote::CASES),
    ("remote_ends", remote_ends::CASES),
    ("remote_many", remote_many::CASES),
    ("send_file", send_file::CASES),
    ("seqpacket", seqpacket::CASES),
    ("seqpacket_ends", seqpacket_ends::CASES),
    ("smoke", smoke::CASES),
    ("splice", splice::CASES),
    ("sockets_accept", sockets_accept::CASES),
    ("sockets_adopt", sockets_adopt::CASES),
    ("sockets_connect", sockets_connect::CASES),
    ("sockets_handles", sockets_handles::CASES),
    ("sockets_listen", sockets_listen::CASES),
    ("sockets_options", sockets_options::CASES),
    ("steps_races", steps_races::CASES),
    ("stopped", stopped::CASES),
    ("streams", streams::CASES),
    ("streams_buffers", streams_buffers::CASES),
    ("streams_ends", streams_ends::CASES),
    ("streams_order", streams_order::CASES),
    ("streams_races", streams_races::CASES),
    ("streams_vectored", streams_vectored::CASES),
    ("stress", stress::CASES),
    ("tasks", tasks::CASES),
    ("teardown", teardown::CASES),
    ("timers", timers::CASES),
    ("hyper", hyper::CASES),
    ("traits", traits::CASES),
    ("transfer", transfer::CASES),
    ("turns", turns::CASES),
    ("udp", udp::CASES),
    ("udp_control", udp_control::CASES),
    ("udp_ends", udp_ends::CASES),
    ("udp_groups", udp_groups::CASES),
    ("udp_handles", udp_handles::CASES),
];

fn main() {
    support::keep_panics_quiet();
    let mut arguments = Arguments::from_args();
    // Two cores; and a case that floods a loop shouldn't starve another's clock.
    // Only on Linux can a thread have descriptors of its own, undisturbed by other cases.
    let threads = if cfg!(target_os = "linux") { 2 } else { 1 };
    arguments.test_threads = arguments.test_threads.or(Some(threads));
    if let Some(subject) = forbidden::own() {
        let setup = Setup::all().into_iter().find(|setup| setup.name == subject).expect("told by the parent");
        forbidden::enter(setup.forbidden().expect("told by the parent"));
        let trials = trials(setup, &Forbidden::new(setup.name), |_, _| ());
        libtest_mimic::run(&arguments, trials).exit();
    }
    let (mut all, mut processes) = (Vec::new(), Vec::new());
    let mut skipped = 0;
    for setup in Setup::all() {
        let before = skipped;
        let process = Forbidden::new(setup.name);
        let cases = trials(setup, &process, |label, reason| {
            skipped += 1;
            eprintln!("skipped {label}: {reason}");
        });
        eprintln!("{:<20} {} cases, {} skipped", setup.name, cases.len(), skipped - before);
        all.extend(cases);
        processes.push(process);
    }
    check_skips();
    check_index();
    eprintln!("conformance: {} cases to run, {skipped} skipped by the table", all.len());
    let conclusion = libtest_mimic::run(&arguments, all);
    processes.iter().for_each(|process| process.join());
    conclusion.exit();
}

/// The cases of a subject; those that aren't run are told with the reason.
fn trials(setup: Setup, process: &Arc<Forbidden>, mut skipped: impl FnMut(&str, &str)) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (room, cases) in ROOMS.iter().filter(|entry| setup.has(entry.0)) {
        for case in *cases {
            let name = format!("{room}::{}", case.name);
            let label = format!("{}::{name}", setup.name);
            match skips::reason(&name, setup.name) {
                Some(reason) => skipped(&label, reason),
                None => trials.push(trial(label, name, setup, case, process)),
            }
        }
    }
    for (room, reason, source) in elsewhere::ROOMS.iter().filter(|entry| setup.has(entry.0)) {
        for case in elsewhere::names(source) {
            skipped(&format!("{}::{room}::{case}", setup.name), reason);
        }
    }
    trials
}

/// The names of all cases, also of those that don't run here.
fn names() -> Vec<String> {
    let here =
        ROOMS.iter().flat_map(|(room, cases)| cases.iter().map(move |case| format!("{room}::{}", case.name)));
    let elsewhere = elsewhere::ROOMS
        .iter()
        .flat_map(|(room, _, source)| elsewhere::names(source).map(move |case| format!("{room}::{case}")));
    here.chain(elsewhere).collect()
}

/// Every row of the table names something that exists.
fn check_skips() {
    let names = names();
    let exists = |row: &str| names.iter().any(|name| skips::covers(row, name));
    for case in skips::ON_LINUX_ONLY {
        assert!(exists(case), "skips.rs names {case}, which doesn't exist");
    }
    for (case, subject, _) in skips::SKIPS {
        let is_subject = |setup: &Setup| setup.name.starts_with(subject) || setup.name == LOOP_PEERS;
        let subject_exists = !cfg!(target_os = "linux")
            || *subject == "iocp"
            || support::long()
            || Setup::all().iter().any(is_subject);
        assert!(subject_exists && exists(case), "skips.rs names {case} on {subject}, which doesn't exist");
    }
}

/// Every counterpart of a case of Odin's is one of ours.
fn check_index() {
    let names = names();
    for (theirs, ours) in odin::INDEX {
        assert!(
            names.iter().any(|name| name == ours),
            "odin.rs names {ours} for {theirs}, which doesn't exist"
        );
    }
}

fn trial(
    label: String,
    case_name: String,
    setup: Setup,
    case: &'static Case,
    process: &Arc<Forbidden>,
) -> Trial {
    let name = label.clone();
    if setup.forbidden().is_some() && forbidden::own().is_none() {
        let process = process.clone();
        return Trial::test(label, move || process.result(&name).map_err(Failed::from));
    }
    let run = move || run_watched(&name, || (case.run)(&Subject::new(setup, &case_name)));
    let told = move |label: &str| {
        let result = run();
        if setup.forbidden().is_some() {
            forbidden::tell(label, &result);
        }
        result
    };
    Trial::test(label.clone(), move || told(&label).map_err(Failed::from))
}
