//! kqueue.rs on the simulator, by itself.

use std::io::pipe;
use std::os::unix::net::UnixStream;

use rustix::io::Errno;

use super::super::faults::refuse_next_add;
use super::*;
use crate::backend::kqueue::Kqueue;
use crate::backend::readiness::selector::{Direction, Directions, News, Selector};

fn selector(profile: Profile) -> Kqueue {
    set_profile(profile);
    set_faults(None);
    Kqueue::new().unwrap()
}

fn arm(selector: &mut Kqueue, on: impl AsFd, key: u64, direction: Direction) {
    selector.arm(on.as_fd().as_raw_fd(), key, direction, Directions::default()).unwrap();
}

fn wait(selector: &mut Kqueue, limit: Option<Duration>) -> (bool, Vec<News>) {
    let mut news = Vec::new();
    let woken = selector.wait(limit, &mut news).unwrap();
    (woken, news)
}

fn keys(selector: &mut Kqueue) -> Vec<u64> {
    wait(selector, NOW).1.iter().map(|news| news.key).collect()
}

/// Told when it is armed and ready already, then at every change.
#[test]
fn tells_of_changes() {
    for profile in PROFILES {
        let (mut selector, (one, other)) = (selector(profile), UnixStream::pair().unwrap());
        write(&other, b"x");
        arm(&mut selector, &one, 9, Direction::Read);
        assert_eq!(keys(&mut selector), [9]);
        assert_eq!(keys(&mut selector), [0; 0]);
        write(&other, b"x");
        assert_eq!(keys(&mut selector), [9]);
    }
}

/// A disarmed descriptor is silent, and its number free for another life, all within one wait's changes.
#[test]
fn disarmed_and_armed_again_in_one_batch() {
    for profile in PROFILES {
        let mut selector = selector(profile);
        for round in 0..20 {
            let (reader, writer) = pipe().unwrap();
            write(&writer, b"x");
            arm(&mut selector, &reader, round, Direction::Read);
            if round % 3 == 0 {
                assert_eq!(keys(&mut selector), [round]);
            }
            selector.disarm(reader.as_raw_fd(), Directions::default().with(Direction::Read));
            if round % 2 == 0 {
                assert_eq!(keys(&mut selector), [0; 0]);
            }
        }
    }
}

/// What is closed without a word isn't heard of.
#[test]
fn errors_of_deletes_are_nobodys() {
    for profile in PROFILES {
        let mut selector = selector(profile);
        let (reader, _writer) = pipe().unwrap();
        arm(&mut selector, &reader, 1, Direction::Read);
        assert_eq!(keys(&mut selector), [0; 0]);
        selector.disarm(reader.as_raw_fd(), Directions::default().with(Direction::Read));
        drop(reader);
        assert_eq!(wait(&mut selector, NOW), (false, vec![]));
    }
}

/// A change that the system refuses for another reason is the operation's end: no memory, no such thing (ESRCH).
#[test]
fn refused() {
    for profile in PROFILES {
        for errno in [libc::ENOMEM, libc::ESRCH] {
            let (mut selector, (reader, _writer)) = (selector(profile), pipe().unwrap());
            refuse_next_add(errno);
            arm(&mut selector, &reader, 3, Direction::Read);
            let (_, news) = wait(&mut selector, LONG);
            let refused = Some(Errno::from_raw_os_error(errno));
            assert_eq!(news, [News { key: 3, ready: 0, refused }]);
        }
    }
}

/// EPIPE for a pipe that nobody reads means that a write answers at once.
#[test]
fn broken_pipes_are_ready() {
    for profile in PROFILES {
        let (mut selector, (reader, writer)) = (selector(profile), pipe().unwrap());
        drop(reader);
        arm(&mut selector, &writer, 3, Direction::Write);
        let (_, news) = wait(&mut selector, LONG);
        assert_eq!((news.len(), news[0].key, news[0].refused), (1, 3, None));
        assert_ne!(news[0].ready & libc::POLLOUT as u32, 0);
    }
}

/// More changes than events, some of which fail: all are applied.
#[test]
fn many_changes() {
    for profile in PROFILES {
        let (mut selector, (reader, writer)) = (selector(profile), pipe().unwrap());
        for _ in 0..3000 {
            selector.disarm(reader.as_raw_fd(), Directions::default().with(Direction::Read));
        }
        arm(&mut selector, &reader, 3, Direction::Read);
        write(&writer, b"x");
        // Errors come instead of events.
        assert_eq!(keys(&mut selector), [0; 0]);
        assert_eq!(keys(&mut selector), [3]);
    }
}

/// Regular files, directories and devices without filters are always ready.
#[test]
fn always_ready() {
    for profile in PROFILES {
        let mut selector = selector(profile);
        let folder = std::fs::File::open(std::env::temp_dir()).unwrap();
        let none = Directions::default();
        let armed = selector.arm(folder.as_raw_fd(), 1, Direction::Read, none);
        assert_eq!(armed, Err(Errno::PERM));
        let null = std::fs::File::open("/dev/null").unwrap();
        let armed = selector.arm(null.as_raw_fd(), 1, Direction::Read, none);
        assert_eq!(armed, Err(Errno::PERM));
    }
}

/// The waker ends the wait that goes on, or the next one, also where the system has no EVFILT_USER; it may be used after
/// the selector is gone.
#[test]
fn wakers() {
    for profile in PROFILES {
        let mut selector = selector(profile);
        let waker = selector.waker().unwrap();
        for _ in 0..3 {
            waker.wake_by_ref();
            waker.wake_by_ref();
            assert_eq!(wait(&mut selector, LONG), (true, vec![]));
            assert_eq!(wait(&mut selector, NOW), (false, vec![]));
        }
        std::thread::scope(|scope| {
            let waker = selector.waker().unwrap();
            scope.spawn(move || waker.wake());
            assert_eq!(wait(&mut selector, LONG), (true, vec![]));
        });
        drop(selector);
        waker.wake();
    }
}

/// The end of a FIFO is found even where it isn't told.
#[test]
fn fifos() {
    for profile in PROFILES {
        let mut selector = selector(profile);
        let path = std::env::temp_dir().join(format!("nbio-selector-{}-{profile:?}", std::process::id()));
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let both = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let reader = std::fs::File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        arm(&mut selector, &reader, 4, Direction::Read);
        drop(both);
        let (_, news) = wait(&mut selector, LONG);
        assert_eq!((news.len(), news[0].key), (1, 4));
        selector.disarm(reader.as_raw_fd(), Directions::default().with(Direction::Read));
        assert_eq!(keys(&mut selector), [0; 0]);
    }
}

/// It doesn't outlive an exec.
#[test]
fn close_on_exec() {
    // In a descriptor table of its own, where no other test opens anything.
    let thread = std::thread::spawn(|| {
        // SAFETY: what the process has open stays open in the copy too.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_FILES) }, 0);
        let before = descriptors();
        let _selector = selector(Profile::MacOs);
        let new: Vec<_> = descriptors().into_iter().filter(|number| !before.contains(number)).collect();
        // SAFETY: it only asks.
        let flags: Vec<_> = new.iter().map(|number| unsafe { libc::fcntl(*number, libc::F_GETFD) }).collect();
        assert_eq!(flags, [libc::FD_CLOEXEC]);
    });
    thread.join().unwrap();
}

/// Those that are open after the directory was closed again.
fn descriptors() -> Vec<c_int> {
    let all = std::fs::read_dir("/proc/thread-self/fd").unwrap();
    let all: Vec<c_int> = all.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok()).collect();
    // SAFETY: it only asks.
    all.into_iter().filter(|number| unsafe { libc::fcntl(*number, libc::F_GETFD) } >= 0).collect()
}
