//! The only way for a case not to run on a subject: (case, subject, reason). `room::*` is a whole room.

use crate::support::LOOP_PEERS;

pub const SKIPS: &[(&str, &str, &str)] = &[
    ("blocking::*", "sim", "closures run on the loop's thread there: tests/simulation"),
    ("blocking_process::*", "sim", "closures run on the loop's thread there: tests/simulation"),
    (
        "closing::close_lets_what_is_done_end_ok",
        "sim",
        "what is done at the end of a tick is the seed's secret",
    ),
    ("copy_file::*", "sim", "there are no files: tests/simulation"),
    ("copy_file_ends::*", "sim", "there are no files: tests/simulation"),
    ("deadlines::late_but_done_ends_ok", "sim", "what is done at the end of a tick is the seed's secret"),
    (
        "ending::cancelled_after_its_job_was_done_ends_ok",
        "sim",
        "what is done at the end of a tick is the seed's secret",
    ),
    ("environment::variable_chooses_the_backend", "epoll", "it is about what all can be had of"),
    ("environment::builder_beats_the_variable", "epoll", "its builder chooses nothing"),
    ("environment::io_uring_forbidden", "epoll", "it is forbidden already"),
    ("environment::too_little_memory_for_the_ring", "epoll", "there is no ring"),
    ("environment::variable_chooses_the_backend", "kqueue", "it is about what all can be had of"),
    ("environment::io_uring_forbidden", "kqueue", "it is about a system call"),
    ("environment::too_little_memory_for_the_ring", "kqueue", "there is no ring"),
    ("environment::without_io_uring_it_starts_on_epoll", "kqueue", "it is about the choice"),
    ("environment::without_io_uring_it_starts_on_epoll", "sim", "it is about the system's backends"),
    ("environment::variable_chooses_the_backend", "sim", "it is about the system's backends"),
    ("environment::builder_beats_the_variable", "sim", "it is about the system's backends"),
    ("environment::io_uring_forbidden", "sim", "it is about a system call"),
    ("environment::too_little_memory_for_the_ring", "sim", "there is no ring"),
    ("environment::no_descriptor_left_for_the_ring", "sim", "there is no ring"),
    ("environment::descriptors_are_given_back", "sim", "there are no descriptors"),
    ("faults::dropping_the_loop_does_not_linger", "sim", "it adopts a socket that std has filled"),
    ("files::*", "sim", "there are no files: tests/simulation"),
    ("files_cursor::*", "sim", "there are no files: tests/simulation"),
    ("files_ends::*", "sim", "there are no files: tests/simulation"),
    ("files_lock::*", "sim", "there are no files: tests/simulation"),
    ("files_names::*", "sim", "there are no files: tests/simulation"),
    ("files_whole::*", "sim", "there are no files: tests/simulation"),
    ("input::failed_listen_and_connect_leave_no_descriptor", "sim", "there are no descriptors"),
    ("moving::a_dropped_detached_closes", "sim", "it looks at the descriptor"),
    ("moving::a_listener_moves_with_its_waiting_connections", "sim", "its peers are sockets of std"),
    ("local::*", "sim", "it has no Unix sockets: see lacking"),
    ("local_datagram::*", "sim", "it has no Unix sockets: see lacking"),
    ("seqpacket::*", "sim", "it has no Unix sockets: see lacking"),
    ("passing_messages::*", "sim", "it has no Unix sockets: see lacking"),
    ("passing::*", "sim", "it has no Unix sockets: see lacking"),
    ("orphans::a_datagram_left_is_the_next_ones", "sim", "it has no datagrams: see lacking"),
    ("orphans::a_read_at_the_cursor_that_is_dropped_leaves_it", "sim", "there are no files"),
    ("pipes::*", "sim", "it has no pipes: see lacking"),
    ("poll::each_kind_of_readiness", "kqueue-freebsd", "its kqueue doesn't tell of urgent data"),
    ("poll::*", "sim", "it has no descriptors to poll: see lacking"),
    ("remote::wake_during_a_wait", "sim", "an hour's timer that keeps the loop going fires at once"),
    ("remote::stop_from_another_thread", "sim", "an hour's timer that keeps the loop going fires at once"),
    ("moving::back_and_forth_under_load", "sim", "its peers are threads"),
    ("remote::submit_from_another_thread", "sim", "its peers are threads"),
    ("odin::a_poll_and_a_receive_on_one_socket", "sim", "there is nothing to poll"),
    ("odin::polling_for_somebody_elses_sends", "sim", "there is nothing to poll"),
    ("odin::one_of_two_polls_is_removed", "sim", "there is nothing to poll"),
    ("odin::a_file_to_a_client", "sim", "there are no files"),
    ("odin::sending_a_file_is_removed_at_once", "sim", "there are no files"),
    ("odin::an_open_is_removed_at_once", "sim", "there are no files"),
    ("odin::a_file_is_written_read_and_closed", "sim", "there are no files"),
    ("odin::an_empty_file", "sim", "there are no files"),
    ("random::*", "sim", "its programs adopt sockets"),
    ("sockets_accept::accept_waits_for_descriptors", "sim", "there are no descriptors"),
    ("sockets_accept::accept_waiting_for_descriptors_can_be_cancelled", "sim", "there are no descriptors"),
    ("sockets_adopt::*", "sim", "there are no descriptors"),
    ("sockets_handles::handles_are_stale_after_release", "sim", "there are no descriptors"),
    ("sockets_listen::reuse_address_is_set_unless_switched_off", "sim", "it looks at the descriptor"),
    (
        "sockets_options::each_option_is_set_and_read_back",
        "sim",
        "it looks at the descriptor, and for what Linux makes of sizes",
    ),
    (
        "sockets_options::lingering_close_of_an_adopted_socket_does_not_block_the_loop",
        "sim",
        "there are no descriptors",
    ),
    ("send_file::*", "sim", "there are no files"),
    (
        "streams::complete_transfer_is_ok_though_cancelled_or_late",
        "sim",
        "what is done at the end of a tick is the seed's secret",
    ),
    (
        "timers::distant_timers_never_fire_and_never_spin",
        "sim",
        "a thread wakes it, and there is no real time to spin in",
    ),
    ("udp::*", "sim", "it has no datagrams"),
    ("udp_control::*", "sim", "it has no datagrams"),
    ("udp_ends::*", "sim", "it has no datagrams"),
    ("udp_groups::*", "sim", "it has no datagrams"),
    ("udp_handles::*", "sim", "it has no datagrams"),
    (
        "transfer::send_all_of_more_than_one_shot_takes",
        "sim",
        "a thread reads; and a shot's limit is the system's",
    ),
];

/// Cases that look at Linux's own things: /proc, seccomp, options that others lack, values as Linux rounds them.
pub const ON_LINUX_ONLY: &[&str] = &[
    "blocking_process::no_thread_is_the_systems_error_and_nothing_is_lost",
    "control::report_tells_what_and_why",
    "copy_file::each_way_brings_the_same",
    "copy_file::files_that_say_they_are_empty",
    "copy_file::a_failed_copy_leaves_nothing",
    "environment::io_uring_forbidden",
    "environment::without_io_uring_it_starts_on_epoll",
    "environment::too_little_memory_for_the_ring",
    "files::open_ways",
    "files::open_errors",
    "files_names::rename_replaces_or_refuses",
    "files_names::cancelled_at_any_time_each_ends_once",
    "files_whole::read_file_of_what_has_no_length",
    "files_whole::unbuffered_reads_and_writes",
    "input::options_out_of_range",
    "input::connect_options_out_of_range_arrive_by_callback",
    "input::failed_listen_and_connect_leave_no_descriptor",
    "local::by_an_abstract_name",
    "local::names_that_do_not_work",
    "local::everything_is_close_on_exec",
    "moving::a_dropped_detached_closes",
    "passing::behind_the_peers_credentials",
    "pipes::adopted_and_released",
    "poll::always_ready",
    "poll::number_used_again_in_the_same_tick",
    "poll::many_of_what_is_always_ready_ends",
    "remote::wake_during_a_wait",
    "remote::stop_from_another_thread",
    "remote_ends::gone_loop_releases_those_who_wait",
    "remote_ends::keep_alive_holds_run",
    "remote_ends::keep_alive_holds_tick",
    "sockets_connect::cancelled_connect_calls_back_at_once_and_its_socket_is_closed",
    "sockets_connect::connect_past_its_deadline_calls_back_and_its_socket_is_closed",
    "sockets_connect::removed_connect_is_silent_and_its_socket_is_closed",
    "sockets_listen::accepted_streams_inherit_the_options",
    "sockets_options::each_option_is_set_and_read_back",
    "sockets_options::what_is_none_is_left_alone",
    "sockets_options::durations_are_rounded_up",
    "teardown::drop_with_every_kind_in_flight",
    "teardown::drop_with_thousands_in_flight",
    "teardown::drop_after_ends_before_their_callbacks",
    "teardown::drop_in_a_callback_of_another_loop",
    "teardown::drop_with_drops_that_panic",
    "teardown::drop_closes_what_is_open",
    "teardown::forgotten_loops_and_handles_harm_nobody",
    "udp_control::nothing_that_was_not_asked_for",
    "udp_control::all_of_it_at_once_and_vectored",
    "udp_control::control_on_connected_sockets",
    "udp_control::values_out_of_their_ranges",
    "udp_control::segments_are_datagrams_of_one_size",
    "udp_control::too_many_or_too_large_segments",
    "udp_control::receives_put_together_are_taken_apart",
    "udp_control::control_that_is_cut_says_so",
    "udp_groups::each_option_is_set_and_read_back",
    "udp_groups::each_option_of_version_6",
    "udp_groups::groups_of_version_6",
];

pub fn reason(case: &str, subject: &str) -> Option<&'static str> {
    if !cfg!(target_os = "linux") && ON_LINUX_ONLY.iter().any(|row| covers(row, case)) {
        return Some("it looks at what only Linux has");
    }
    // Those of a simulator are true of the system that it simulates.
    let subject = match subject {
        "kqueue" if cfg!(target_vendor = "apple") => "kqueue-macos",
        "kqueue" => "kqueue-freebsd",
        _ => subject,
    };
    // What needs sockets doesn't work with peers on a loop either.
    let subject = if subject == LOOP_PEERS { "sim" } else { subject };
    let subject = if subject.starts_with("epoll") { "epoll" } else { subject };
    let is_of = |of: &str| of == subject || of == "kqueue" && subject.starts_with("kqueue-");
    let entry = SKIPS.iter().find(|entry| covers(entry.0, case) && is_of(entry.1));
    entry.map(|entry| entry.2)
}

/// Whether a row is about this case.
pub fn covers(row: &str, case: &str) -> bool {
    match row.strip_suffix('*') {
        Some(room) => case.starts_with(room),
        None => row == case,
    }
}
