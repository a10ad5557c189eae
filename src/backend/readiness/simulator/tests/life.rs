//! Descriptors and kqueues that come and go, time limits, signals.

use std::io::pipe;
use std::time::Instant;

use rustix::io::{dup, fcntl_dupfd_cloexec};

use super::*;

/// "Calling close() on a file descriptor will remove any kevents that reference the descriptor", though the open file lives
/// on in another descriptor: a knote goes with its descriptor (knote_fdclose).
#[test]
fn a_closed_descriptor_has_no_events() {
    for profile in PROFILES {
        let (kq, (reader, writer)) = (kq(profile), pipe().unwrap());
        kq.change(&[set(&reader, EVFILT_READ, EV_ADD)]);
        let copy = dup(&reader).unwrap();
        write(&writer, b"x");
        drop(reader);
        kq.nothing();
        drop(copy);
    }
}

/// Nor has what gets its number next.
#[test]
fn a_number_in_use_again_has_no_knote() {
    for profile in PROFILES {
        let (kq, (reader, writer)) = (kq(profile), pipe().unwrap());
        let number = reader.as_raw_fd();
        kq.change(&[set(&reader, EVFILT_READ, EV_ADD | EV_CLEAR)]);
        // The old open file lives on, and becomes readable.
        let copy = dup(&reader).unwrap();
        let (next, next_writer) = pipe().unwrap();
        let mut reader = OwnedFd::from(reader);
        rustix::io::dup2(&next, &mut reader).unwrap();
        write(&writer, b"x");
        write(&next_writer, b"x");
        kq.nothing();
        assert_eq!(kq.refuses(event(number as usize, EVFILT_READ, EV_DELETE)), libc::ENOENT);
        kq.change(&[set(&reader, EVFILT_READ, EV_ADD)]);
        assert_eq!(kq.one().flags & EV_CLEAR, 0);
        drop(copy);
    }
}

/// Also if that is another descriptor of the same open file.
#[test]
fn a_number_in_use_again_by_the_same_file() {
    for profile in PROFILES {
        let (kq, (one, other)) = (kq(profile), pair());
        let copy = dup(&one).unwrap();
        let number = copy.as_raw_fd();
        kq.change(&[set(&copy, EVFILT_READ, EV_ADD | EV_CLEAR)]);
        drop(copy);
        kq.nothing();
        let again = fcntl_dupfd_cloexec(&one, number).unwrap();
        kq.change(&[set(&again, EVFILT_READ, EV_ADD | EV_CLEAR)]);
        write(&other, b"x");
        assert_eq!(kq.one().ident, again.as_raw_fd() as usize);
    }
}

/// "kqueues are destroyed upon close()": what gets the number next is no kqueue, or a new one.
#[test]
fn a_closed_kqueue_is_gone() {
    for profile in PROFILES {
        let (mut first, (reader, writer)) = (kq(profile), pipe().unwrap());
        write(&writer, b"x");
        first.change(&[set(&reader, EVFILT_READ, EV_ADD)]);
        let second = kq(profile);
        rustix::io::dup2(&second.0, &mut first.0).unwrap();
        drop(second);
        // The simulator knows no duplicates.
        assert_eq!(call(first.0.as_raw_fd(), &[], 1, NOW).unwrap_err(), libc::EBADF);
        drop(first);
        kq(profile).nothing();
    }
}

/// A kqueue belongs to its descriptor table, where its number is; a thread may have its own.
#[test]
fn threads_with_tables_of_their_own() {
    let (here, (reader, writer)) = (kq(Profile::MacOs), pipe().unwrap());
    write(&writer, b"x");
    here.change(&[set(&reader, EVFILT_READ, EV_ADD)]);
    let number = here.0.as_raw_fd();
    std::thread::spawn(move || {
        // SAFETY: this thread gets a table of its own, where nobody uses that number from now on.
        unsafe {
            assert_eq!(libc::unshare(libc::CLONE_FILES), 0);
            libc::close(number);
        }
        let there = kq(Profile::MacOs);
        let there = fcntl_dupfd_cloexec(&there.0, number).map(|_| there).unwrap();
        there.nothing();
    })
    .join()
    .unwrap();
    here.one();
}

/// "When nevents is zero, kevent() will return immediately even if there is a timeout specified unlike select(2)." "If the
/// time limit expires, then kevent() returns 0."
#[test]
fn time_limits() {
    for profile in PROFILES {
        let kq = kq(profile);
        assert!(call(kq.0.as_raw_fd(), &[], 0, None).unwrap().is_empty());
        let begun = Instant::now();
        let limit = Duration::from_millis(20);
        assert!(kq.events(Some(limit)).is_empty());
        assert!(begun.elapsed() >= limit);
    }
}

/// Something that becomes ready ends a wait.
#[test]
fn a_wait_ends() {
    for profile in PROFILES {
        let (kq, (reader, writer)) = (kq(profile), pipe().unwrap());
        kq.change(&[set(&reader, EVFILT_READ, EV_ADD | EV_CLEAR)]);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| kq.events(None));
            write(&writer, b"x");
            assert_eq!(waiting.join().unwrap().len(), 1);
        });
        // So does a knote that another thread adds.
        let (other, other_writer) = pipe().unwrap();
        write(&other_writer, b"x");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| kq.events(None));
            kq.change(&[set(&other, EVFILT_READ, EV_ADD | EV_CLEAR)]);
            assert_eq!(waiting.join().unwrap().len(), 1);
        });
    }
}

/// No more events than there is room for; the others come next, in turn.
#[test]
fn room_for_one() {
    for profile in PROFILES {
        let kq = kq(profile);
        let pipes: Vec<_> = (0..3).map(|_| pipe().unwrap()).collect();
        for (reader, writer) in &pipes {
            write(writer, b"x");
            kq.change(&[set(reader, EVFILT_READ, EV_ADD)]);
        }
        let mut told: Vec<_> =
            (0..3).map(|_| call(kq.0.as_raw_fd(), &[], 1, NOW).unwrap()[0].ident).collect();
        told.sort_unstable();
        let mut expected: Vec<_> = pipes.iter().map(|(reader, _)| reader.as_raw_fd() as usize).collect();
        expected.sort_unstable();
        assert_eq!(told, expected);
    }
}

/// "When kevent() call fails with EINTR error, all changes in the changelist have been applied."
#[test]
fn an_interrupted_call_has_applied_its_changes() {
    let (queue, (reader, writer)) = (kq(Profile::FreeBsd), pipe().unwrap());
    drop(queue);
    let (mut interrupted, mut waited) = (0, 0);
    for seed in 0..64 {
        set_profile(Profile::FreeBsd);
        set_faults(Some(seed));
        // SAFETY: a new descriptor that is nobody else's.
        let faulty = unsafe { OwnedFd::from_raw_fd(kqueue()) };
        let add = [set(&reader, EVFILT_READ, EV_ADD | EV_CLEAR)];
        match call(faulty.as_raw_fd(), &add, 1, Some(Duration::from_millis(1))) {
            Err(errno) => {
                assert_eq!(errno, libc::EINTR);
                interrupted += 1;
            }
            Ok(_) => waited += 1,
        }
        write(&writer, b"x");
        while call(faulty.as_raw_fd(), &[], 1, LONG).is_ok_and(|events| events[0].data == 0) {}
        read(&reader, 1);
    }
    set_faults(None);
    assert!(interrupted > 0 && waited > 0, "{interrupted} {waited}");
}
