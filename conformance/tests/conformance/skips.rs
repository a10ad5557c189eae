//! The only way for a case not to run on a subject: (case, subject, reason). `room::*` is a whole room.

use crate::support::LOOP_PEERS;
use crate::system;

/// How reasons begin that are none on Windows itself.
const WINE: &str = "Wine: ";

pub const SKIPS: &[(&str, &str, &str)] = &[
    ("blocking::*", "sim", "closures run on the loop's thread there: tests/simulation"),
    (
        "resolve::ended_in_the_queue_at_once",
        "sim",
        "closures run on the loop's thread there: tests/simulation",
    ),
    ("resolve::connected_by_name", "sim", "peers of std can't reach it"),
    ("blocking_process::*", "sim", "closures run on the loop's thread there: tests/simulation"),
    (
        "closing::close_lets_what_is_done_end_ok",
        "sim",
        "what is done at the end of a tick is the seed's secret",
    ),
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
    ("stopped::*", "sim", "it is about what the system interrupts"),
    ("stress::*", "sim", "it counts descriptors, and its loops are threads"),
    ("teardown::descriptors_are_given_back", "sim", "there are no descriptors"),
    ("faults::dropping_the_loop_does_not_linger", "sim", "it adopts a socket that std has filled"),
    ("copy_file::each_way_brings_the_same", "sim", "it is about system calls"),
    ("copy_file::the_copy_has_the_sources_permissions", "sim", "permissions are set by std"),
    ("copy_file::files_that_say_they_are_empty", "sim", "there is no /proc"),
    ("copy_file::it_grows_or_shrinks_meanwhile", "sim", "files are copied at once there"),
    ("copy_file::only_files_are_copied_and_replaced", "sim", "there are no devices"),
    ("copy_file::a_failed_copy_leaves_nothing", "sim", "it is about system calls: tests/simulation"),
    ("copy_file_ends::cancelled_before_it_begins", "sim", "there are no threads that could be busy"),
    ("copy_file_ends::cancelled_when_it_is_done_it_is_ok", "sim", "no other thread does it"),
    ("files::stat_knows_what_std_knows", "sim", "std doesn't know its files"),
    ("files::files_are_adopted_released_and_moved", "sim", "there are no descriptors"),
    ("files_cursor::places_and_the_cursor_do_not_meet", "sim", "there are no descriptors"),
    ("files_cursor::one_that_waits_its_turn_is_cancelled_at_once", "sim", "there are no FIFOs"),
    ("files_cursor::a_removed_read_moves_the_cursor_and_breaks_nothing", "sim", "there are no FIFOs"),
    (
        "files_ends::done_before_the_cancel_is_ok",
        "sim",
        "what is done at the end of a tick is the seed's secret",
    ),
    ("files_ends::a_waiting_read_is_cancelled", "sim", "there are no FIFOs"),
    ("files_ends::a_waiting_read_is_removed_and_its_buffer_freed_once", "sim", "there are no FIFOs"),
    ("files_ends::an_open_that_waits_calls_back_at_once", "sim", "there are no FIFOs"),
    ("files_ends::an_open_that_waits_is_closed_when_it_comes_late", "sim", "there are no FIFOs"),
    ("files_ends::a_directory_is_closed_after_what_begins_there", "sim", "there are no FIFOs"),
    ("files_whole::read_file_of_what_has_no_length", "sim", "there is no /proc"),
    ("files_whole::unbuffered_reads_and_writes", "sim", "it is about a flag of the system's"),
    ("input::failed_listen_and_connect_leave_no_descriptor", "sim", "there are no descriptors"),
    ("moving::a_dropped_detached_closes", "sim", "it looks at the descriptor"),
    ("moving::a_listener_moves_with_its_waiting_connections", "sim", "its peers are sockets of std"),
    ("local::*", "sim", "it has no Unix sockets: see lacking"),
    ("local_datagram::*", "sim", "it has no Unix sockets: see lacking"),
    ("seqpacket::*", "sim", "it has no Unix sockets: see lacking"),
    ("seqpacket_ends::*", "sim", "it has no Unix sockets: see lacking"),
    ("passing_messages::*", "sim", "it has no Unix sockets: see lacking"),
    ("passing::*", "sim", "it has no Unix sockets: see lacking"),
    ("pipe_pairs::*", "sim", "it has no pipes: see lacking"),
    ("named_pipes::*", "sim", "it has no pipes: see lacking"),
    ("pipes::*", "sim", "it has no pipes: see lacking"),
    ("poll::each_kind_of_readiness", "kqueue-freebsd", "its kqueue doesn't tell of urgent data"),
    ("poll::*", "sim", "it has no descriptors to poll: see lacking"),
    ("traits::a_file_by_the_traits_of_others", "sim", "std doesn't know its files"),
    ("traits::items_of_a_poll_and_of_progress", "sim", "there are no files"),
    ("remote::wake_during_a_wait", "sim", "an hour's timer that keeps the loop going fires at once"),
    ("remote::stop_from_another_thread", "sim", "an hour's timer that keeps the loop going fires at once"),
    ("moving::back_and_forth_under_load", "sim", "its peers are threads"),
    ("remote::submit_from_another_thread", "sim", "its peers are threads"),
    ("odin::a_poll_and_a_receive_on_one_socket", "sim", "there is nothing to poll"),
    ("odin::polling_for_somebody_elses_sends", "sim", "there is nothing to poll"),
    ("odin::one_of_two_polls_is_removed", "sim", "there is nothing to poll"),
    ("random::*", "sim", "its programs adopt sockets"),
    (
        "recv_many::a_buffer_returned_by_another_thread_resumes",
        "sim",
        "an end that nobody but another thread can bring",
    ),
    ("accept_many::it_waits_for_descriptors", "sim", "there are no descriptors"),
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
    ("udp_control::*", "sim", "its datagrams have no control data"),
    (
        "udp_ends::cancelled_after_the_datagram_came_ends_ok",
        "sim",
        "what is done at the end of a tick is the seed's secret",
    ),
    ("udp_groups::*", "sim", "it has no multicast"),
    ("udp_handles::*", "sim", "there are no descriptors"),
    (
        "transfer::send_all_of_more_than_one_shot_takes",
        "sim",
        "a thread reads; and a shot's limit is the system's",
    ),
    // Windows, and Wine where it isn't like Windows. What only Wine can't do is run on Windows.
    ("copy_file::a_file_is_not_copied_onto_itself", "iocp", "Wine: symbolic links can't be made"),
    ("input::options_out_of_range", "iocp", "Wine: it has no TCP_KEEPCNT"),
    ("named_pipes::first_means_alone", "iocp", "Wine: FILE_FLAG_FIRST_PIPE_INSTANCE is passed over"),
    ("copy_file::holes_stay_holes", "iocp", "std doesn't tell there how much of the disk a file takes"),
    ("copy_file::names_that_cannot_be", "iocp", "Wine: symbolic links can't be made"),
    ("copy_file::no_replace_leaves_what_is_there", "iocp", "Wine: symbolic links can't be made"),
    ("copy_file::only_files_are_copied_and_replaced", "iocp", "it waits on a FIFO, which Windows hasn't"),
    ("copy_file::the_copy_has_the_sources_permissions", "iocp", "Windows has no such permissions and owners"),
    ("copy_file::what_was_there_is_replaced_whole", "iocp", "Wine: what somebody has open can't be replaced"),
    ("files::fsync_of_files_and_directories", "iocp", "it waits on a FIFO, which Windows hasn't"),
    ("files::lengths_and_space", "iocp", "Wine: FileAllocationInfo is refused"),
    ("files::stat_knows_what_std_knows", "iocp", "Windows has no such permissions and owners"),
    (
        "files_cursor::a_removed_read_moves_the_cursor_and_breaks_nothing",
        "iocp",
        "it waits on a FIFO, which Windows hasn't",
    ),
    (
        "files_cursor::one_that_waits_its_turn_is_cancelled_at_once",
        "iocp",
        "it waits on a FIFO, which Windows hasn't",
    ),
    (
        "files_cursor::places_and_the_cursor_do_not_meet",
        "iocp",
        "reads at places move what std has as the position on Windows",
    ),
    (
        "files_ends::a_directory_is_closed_after_what_begins_there",
        "iocp",
        "it waits on a FIFO, which Windows hasn't",
    ),
    ("files_ends::a_waiting_read_is_cancelled", "iocp", "it waits on a FIFO, which Windows hasn't"),
    (
        "files_ends::a_waiting_read_is_removed_and_its_buffer_freed_once",
        "iocp",
        "it waits on a FIFO, which Windows hasn't",
    ),
    ("files_ends::an_open_that_waits_calls_back_at_once", "iocp", "it waits on a FIFO, which Windows hasn't"),
    (
        "files_ends::an_open_that_waits_is_closed_when_it_comes_late",
        "iocp",
        "it waits on a FIFO, which Windows hasn't",
    ),
    ("files_names::links_of_both_kinds", "iocp", "std doesn't tell there how many names a file has"),
    ("files_names::names_begin_at_directories", "iocp", "Wine: symbolic links can't be made"),
    ("files_names::names_of_any_bytes", "iocp", "Wine: names are text on the file system below"),
    ("files_names::read_dir_has_every_name", "iocp", "it waits on a FIFO, which Windows hasn't"),
    (
        "files_whole::an_atomic_write_is_all_or_nothing",
        "iocp",
        "Wine: what somebody has open can't be replaced",
    ),
    (
        "sockets_accept::accept_waiting_for_descriptors_can_be_cancelled",
        "iocp",
        "Windows doesn't limit handles",
    ),
    ("accept_many::it_waits_for_descriptors", "iocp", "Windows doesn't limit handles"),
    ("sockets_accept::accept_waits_for_descriptors", "iocp", "Windows doesn't limit handles"),
    (
        "sockets_listen::reuse_address_is_set_unless_switched_off",
        "iocp",
        "SO_REUSEADDR of Windows lets others take a port over: nbio doesn't set it",
    ),
    (
        "sockets_listen::reuse_port_shares_the_port",
        "iocp",
        "SO_REUSEADDR of Windows lets others take a port over: nbio doesn't set it",
    ),
    (
        "sockets_options::linger_reset_makes_the_peer_see_a_reset",
        "iocp",
        "Wine: a reset comes behind an end (its server shuts sockets down before it closes them)",
    ),
    (
        "teardown::drop_closes_what_is_open",
        "iocp",
        "Wine: a reset comes behind an end (its server shuts sockets down before it closes them)",
    ),
    (
        "streams::vec_is_as_long_as_bytes_whatever_the_end",
        "iocp",
        "Wine: a reset comes behind an end (its server shuts sockets down before it closes them)",
    ),
    (
        "streams::fixed_buffer_keeps_its_length_whatever_the_end",
        "iocp",
        "Wine: a reset comes behind an end (its server shuts sockets down before it closes them)",
    ),
    (
        "streams::plain_send_moves_some_and_says_how_many",
        "iocp",
        "an overlapped send takes all or waits: none is short",
    ),
    (
        "streams_order::short_plain_send_cancels_those_behind",
        "iocp",
        "an overlapped send takes all or waits: none is short",
    ),
    (
        "streams_vectored::plain_send_vectored_moves_some",
        "iocp",
        "an overlapped send takes all or waits: none is short",
    ),
    (
        "sockets_options::options_of_a_listener",
        "iocp",
        "Wine: a reset comes behind an end (its server shuts sockets down before it closes them)",
    ),
    (
        "udp::reuse_lets_sockets_share_an_address",
        "iocp",
        "SO_REUSEADDR of Windows lets others take a port over: nbio doesn't set it",
    ),
    ("udp_control::ecn_arrives_as_it_was_sent", "iocp", "Wine: it has neither IP_RECVTTL nor IP_RECVTOS"),
    (
        "udp_control::packet_info_is_where_it_was_sent_to",
        "iocp",
        "Wine: it has neither IP_RECVTTL nor IP_RECVTOS",
    ),
    (
        "udp_control::answers_come_from_where_the_question_went",
        "iocp",
        "Wine: its WSASendMsg sends no control data",
    ),
    (
        "udp_control::ttl_of_a_message_and_of_the_socket",
        "iocp",
        "Wine: it has neither IP_RECVTTL nor IP_RECVTOS",
    ),
    (
        "blocking_process::submitted_while_the_process_ends",
        "iocp",
        "std ends a process of Windows without the handlers of its C library",
    ),
    ("files_names::unlink_rmdir_mkdir", "iocp", "Wine: what somebody has open keeps its name"),
    (
        "moving::unread_bytes_arrive_on_the_other_loop",
        "iocp",
        "Wine: what was used can't leave its port (no FileReplaceCompletionInformation)",
    ),
    (
        "moving::what_is_known_of_a_stream_moves_along",
        "iocp",
        "Wine: what was used can't leave its port (no FileReplaceCompletionInformation)",
    ),
    (
        "moving::a_reset_is_told_on_the_other_loop_too",
        "iocp",
        "Wine: what was used can't leave its port (no FileReplaceCompletionInformation)",
    ),
    (
        "moving::detach_is_busy_while_operations_exist",
        "iocp",
        "Wine: what was used can't leave its port (no FileReplaceCompletionInformation)",
    ),
    (
        "moving::a_detached_handle_is_stale_and_the_old_loop_lets_it_go",
        "iocp",
        "Wine: what was used can't leave its port (no FileReplaceCompletionInformation)",
    ),
    (
        "moving::attach_to_the_loop_it_came_from",
        "iocp",
        "Wine: what was used can't leave its port (no FileReplaceCompletionInformation)",
    ),
    (
        "moving::a_lingering_stream_is_known_to_linger",
        "iocp",
        "Wine: what was used can't leave its port (no FileReplaceCompletionInformation)",
    ),
    (
        "moving::back_and_forth_under_load",
        "iocp",
        "Wine: what was used can't leave its port (no FileReplaceCompletionInformation)",
    ),
    (
        "sockets_options::lingering_close_of_an_adopted_socket_does_not_block_the_loop",
        "iocp",
        "Wine: what was used can't leave its port (no FileReplaceCompletionInformation)",
    ),
    (
        "sockets_adopt::blocking_mode_is_left_as_it_is",
        "iocp",
        "Wine: what was used can't leave its port (no FileReplaceCompletionInformation)",
    ),
    (
        "files::open_begins_at_a_directory",
        "iocp",
        "a path at a directory is put together when its operation begins: a renamed one isn't found",
    ),
    (
        "files::offsets_beyond_4_gib_and_near_the_end_of_numbers",
        "iocp",
        "Wine: a write where no file ends is a device error",
    ),
    ("udp::connected_anew_and_disconnected", "iocp", "Windows keeps the address that connecting gave"),
    ("udp::bind_errors", "iocp", "Wine: datagram sockets are bound to all addresses"),
    (
        "remote_ends::remote_gives_its_descriptors_back",
        "iocp",
        "a loop on a port needs no handle more to be woken",
    ),
    (
        "udp::connection_refused_is_told_once",
        "iocp",
        "resets by datagrams that nobody took are off there: nobody is told",
    ),
    ("udp::both_versions_of_ip_on_one_socket", "iocp", "Windows keeps the address that connecting gave"),
    ("copy_file::the_copy_has_the_same_bytes", "iocp", "Wine: symbolic links can't be made"),
    ("traits::items_of_a_poll_and_of_progress", "iocp", "PollMany is Unsupported there: see lacking"),
    ("udp_groups::group_errors", "iocp", "Wine: whatever is wrong with a group is an invalid argument to it"),
    ("udp_groups::source_specific_groups", "iocp", "Wine: datagram sockets are bound to all addresses"),
    (
        "udp_groups::multicast_ttl_loop_and_interface",
        "iocp",
        "Wine: it has neither IP_RECVTTL nor IP_RECVTOS",
    ),
    (
        "udp_groups::only_groups_that_it_joined_itself",
        "iocp",
        "Wine: every socket of a port gets what is sent to a group",
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

/// `NBIO_SKIPPED=1` runs what the table would skip, to see whether a reason still holds.
pub fn reason(case: &str, subject: &str) -> Option<&'static str> {
    if std::env::var_os("NBIO_SKIPPED").is_some_and(|value| value == "1") {
        return None;
    }
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
    let applies = |reason: &str| !reason.starts_with(WINE) || system::is_wine();
    let entry = SKIPS.iter().find(|entry| covers(entry.0, case) && is_of(entry.1) && applies(entry.2));
    entry.map(|entry| entry.2)
}

/// Whether a row is about this case.
pub fn covers(row: &str, case: &str) -> bool {
    match row.strip_suffix('*') {
        Some(room) => case.starts_with(room),
        None => row == case,
    }
}
