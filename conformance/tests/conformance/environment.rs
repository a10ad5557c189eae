//! What belongs to the whole process: its environment, its limits, its descriptors, what it is forbidden.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use nbio::{Backend, Builder, ErrorKind, EventLoop, op};

use crate::child::{self, forbid};
use crate::hanging::Hanging;
use crate::support::{Case, Subject};
use crate::system::{self, Errno, Resource, Rlimit, descriptors, getrlimit, setrlimit};

pub const CASES: &[Case] = &[
    Case { name: "variable_chooses_the_backend", run: variable_chooses_the_backend },
    Case { name: "builder_beats_the_variable", run: builder_beats_the_variable },
    Case { name: "io_uring_forbidden", run: io_uring_forbidden },
    Case { name: "without_io_uring_it_starts_on_epoll", run: without_io_uring_it_starts_on_epoll },
    Case { name: "too_little_memory_for_the_ring", run: too_little_memory_for_the_ring },
    Case { name: "no_descriptor_left_for_the_ring", run: no_descriptor_left_for_the_ring },
];

const VARIABLE: &str = "NBIO_BACKEND";

/// What `NBIO_BACKEND` can be, which backend that gives, and what the report says of the reason.
fn expected(value: Option<&OsStr>) -> Result<(&'static str, &'static str), ErrorKind> {
    match value.map(OsStr::as_bytes) {
        None | Some(b"" | b"auto") => Ok(("io_uring", "chosen by automatic choice")),
        Some(b"io_uring") => Ok(("io_uring", "chosen by NBIO_BACKEND")),
        Some(b"io_uring-plain") => Ok(("io_uring-plain", "chosen by NBIO_BACKEND")),
        Some(b"epoll") => Ok(("epoll", "chosen by NBIO_BACKEND")),
        Some(b"kqueue-macos" | b"kqueue-freebsd") => Ok(("kqueue", "chosen by NBIO_BACKEND")),
        // Of other systems.
        Some(b"kqueue" | b"iocp") => Err(ErrorKind::BackendUnavailable),
        Some(_) => Err(ErrorKind::UnknownBackend),
    }
}

fn variable_chooses_the_backend(subject: &Subject) {
    let known: [&[u8]; 9] = [
        b"",
        b"auto",
        b"io_uring",
        b"io_uring-plain",
        b"epoll",
        b"kqueue-macos",
        b"kqueue-freebsd",
        b"kqueue",
        b"iocp",
    ];
    let unknown: [&[u8]; 4] = [b"IO_URING", b" auto", b"poll", b"\xFF\xFE"];
    let values = known.into_iter().chain(unknown).map(|value| Some(OsStr::from_bytes(value)));
    for value in values.chain([None]) {
        let set = |command: &mut std::process::Command| {
            match value {
                Some(value) => command.env(VARIABLE, value),
                None => command.env_remove(VARIABLE),
            };
        };
        child::run_prepared(subject, "environment::variable_chooses_the_backend", set, |_| {
            let value: Option<OsString> = std::env::var_os(VARIABLE);
            let built = [EventLoop::<()>::new(), Builder::new().backend(Backend::Auto).build()];
            for built in built {
                let found = built.map(|io| (io.report().backend(), io.report().reason().to_owned()));
                match (expected(value.as_deref()), found) {
                    (Ok((backend, reason)), Ok(found)) => assert_eq!(found, (backend, reason.to_owned())),
                    (Err(kind), Err(error)) => {
                        assert_eq!((error.kind(), error.operation()), (kind, op::Kind::Build));
                        let says_what = error.to_string().contains("NBIO_BACKEND must be");
                        assert_eq!(says_what, kind == ErrorKind::UnknownBackend, "{error}");
                    }
                    (expected, found) => panic!("{value:?}: {found:?} instead of {expected:?}"),
                }
            }
        });
    }
}

fn builder_beats_the_variable(subject: &Subject) {
    let set = |command: &mut std::process::Command| {
        command.env(VARIABLE, "nonsense");
    };
    child::run_prepared(subject, "environment::builder_beats_the_variable", set, |subject| {
        let report = subject.io::<()>().report();
        assert_eq!(report.reason(), "chosen by the builder");
        assert!(subject.name.starts_with(report.backend()));
        assert_eq!(EventLoop::<()>::new().unwrap_err().kind(), ErrorKind::UnknownBackend);
    });
}

/// As in a container with Docker's profile (EPERM), under `kernel.io_uring_disabled` (EPERM) or on a kernel without
/// it (ENOSYS): an error that says what to do, and no descriptor is lost.
fn io_uring_forbidden(subject: &Subject) {
    child::run(subject, "environment::io_uring_forbidden", |subject| {
        drop(subject.io::<()>());
        // With `io_uring_register` alone forbidden the ring is made first, and has to be closed again.
        for (call, errno) in [
            (system::SYS_io_uring_register, Errno::PERM),
            (system::SYS_io_uring_setup, Errno::NOSYS),
            (system::SYS_io_uring_setup, Errno::PERM),
        ] {
            let (builder, before) = (subject.builder(), descriptors());
            std::thread::scope(|scope| scope.spawn(|| refused(&builder, call, errno)).join().unwrap());
            assert_eq!(descriptors(), before);
            // The filter was that thread's alone.
            drop(subject.io::<()>());
        }
    });
}

/// "It starts everywhere": without configuration, and the report says what to change.
fn without_io_uring_it_starts_on_epoll(_: &Subject) {
    for errno in [Errno::PERM, Errno::NOSYS] {
        let starts = || {
            forbid(system::SYS_io_uring_setup, errno);
            let io = EventLoop::<()>::new().unwrap();
            let report = io.report();
            assert_eq!(report.backend(), "epoll");
            let number = format!("os error {}", errno.raw_os_error());
            for word in ["automatic choice", "io_uring", "io_uring_disabled", "seccomp", &number] {
                assert!(report.reason().contains(word), "{}", report.reason());
            }
            let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
            let one = io.adopt::<nbio::UnixStream>(std::os::fd::OwnedFd::from(one)).unwrap();
            std::io::Write::write_all(&mut &other, b"hello").unwrap();
            io.recv(one, [0; 5], |_, _, done| assert_eq!(done.data(), b"hello"));
            io.run().unwrap();
            // Who asks for it by name is told, instead of being given another.
            refused(&Builder::new().backend(Backend::IoUring), system::SYS_io_uring_setup, errno);
        };
        std::thread::scope(|scope| scope.spawn(starts).join().unwrap());
    }
}

fn refused(builder: &Builder, call: i64, errno: Errno) {
    forbid(call, errno);
    for _ in 0..3 {
        let error = builder.clone().build::<()>().unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::BackendUnavailable, op::Kind::Build));
        assert_eq!(error.os_error(), Some(errno.raw_os_error()));
        let text = error.to_string();
        for advice in ["io_uring", "5.11", "io_uring_disabled", "seccomp"] {
            assert!(text.contains(advice), "{text}");
        }
        assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::Unsupported);
    }
}

/// How much memory the rings of this process map, in KiB.
fn ring_memory() -> u64 {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let rings = maps.lines().filter(|line| line.contains("io_uring"));
    let sizes = rings.map(|line| {
        let (from, to) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        u64::from_str_radix(to, 16).unwrap() - u64::from_str_radix(from, 16).unwrap()
    });
    sizes.sum::<u64>() / 1024
}

/// Waits until every other thread sleeps: the watcher, whose start takes memory and gives it back.
fn others_sleep() {
    let own = format!("/proc/self/task/{}/stat", system::thread_number());
    let asleep = |task: std::fs::DirEntry| {
        let path = task.path().join("stat");
        let stat = std::fs::read_to_string(&path).unwrap_or_default();
        path == std::path::Path::new(&own)
            || stat.rsplit(") ").next().is_none_or(|rest| rest.starts_with('S'))
    };
    while !std::fs::read_dir("/proc/self/task").unwrap().all(|task| asleep(task.unwrap())) {
        std::thread::yield_now();
    }
}

/// The ring is made smaller until it fits, and works.
fn too_little_memory_for_the_ring(subject: &Subject) {
    child::run(subject, "environment::too_little_memory_for_the_ring", |subject| {
        let roomy: EventLoop = subject.builder().ring_size(32_768).build().unwrap();
        let whole = ring_memory();
        drop(roomy);
        assert!(whole > 3_000 && ring_memory() == 0, "{whole} KiB");
        others_sleep();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
        let size: u64 = size.trim_end_matches("kB").trim().parse().unwrap();
        let had = getrlimit(system::MEMORY);
        let now = (size + whole / 2) * 1024;
        setrlimit(system::MEMORY, Rlimit { current: Some(now), maximum: had.maximum }).unwrap();
        let io = subject.builder().ring_size(32_768).build::<()>();
        setrlimit(system::MEMORY, had).unwrap();
        let io = io.unwrap();
        assert!((1..=whole / 2).contains(&ring_memory()), "{} of {whole} KiB", ring_memory());
        let hanging = Hanging::start(subject, &io);
        assert_eq!(io.drain(Duration::from_secs(60)), Ok(0));
        hanging.assert_all_ended(ErrorKind::Cancelled);
    });
}

fn no_descriptor_left_for_the_ring(subject: &Subject) {
    child::run(subject, "environment::no_descriptor_left_for_the_ring", |subject| {
        let had = getrlimit(Resource::Nofile);
        let next = std::fs::File::open("/").unwrap();
        let lowest = std::os::fd::AsRawFd::as_raw_fd(&next) as u64;
        drop(next);
        setrlimit(Resource::Nofile, Rlimit { current: Some(lowest), maximum: had.maximum }).unwrap();
        let built = subject.builder().build::<()>();
        setrlimit(Resource::Nofile, had).unwrap();
        assert_eq!(built.unwrap_err().kind(), ErrorKind::TooManyDescriptors);
        drop(subject.io::<()>());
    });
}
