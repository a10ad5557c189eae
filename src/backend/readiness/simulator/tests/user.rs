//! EVFILT_USER.

use super::*;

const WITH: [Profile; 2] = [Profile::MacOs, Profile::FreeBsd];

fn trigger() -> kevent {
    kevent { fflags: NOTE_TRIGGER, ..event(0, EVFILT_USER, 0) }
}

/// "EVFILT_USER: Establishes a user event identified by ident which is not associated with any kernel mechanism but is
/// triggered by user level code." "NOTE_TRIGGER: Cause the event to be triggered."
#[test]
fn told_when_triggered() {
    for profile in WITH {
        let kq = kq(profile);
        kq.change(&[event(0, EVFILT_USER, EV_ADD | EV_CLEAR)]);
        kq.nothing();
        // "Multiple events which trigger the filter do not result in multiple kevents being placed on the kqueue."
        kq.change(&[trigger(), trigger()]);
        assert_eq!((kq.one().ident, kq.now().len()), (0, 0));
        kq.change(&[trigger()]);
        kq.one();
    }
}

/// NetBSD has it since 10.
#[test]
fn not_everywhere() {
    let kq = kq(Profile::NetBsd);
    assert_eq!(kq.refuses(event(0, EVFILT_USER, EV_ADD)), libc::EINVAL);
}

/// Without EV_CLEAR it stays triggered.
#[test]
fn stays_triggered() {
    for profile in WITH {
        let kq = kq(profile);
        kq.change(&[event(0, EVFILT_USER, EV_ADD), trigger()]);
        kq.one();
        kq.one();
    }
}

/// kqueue_register of FreeBSD clears `fflags` before filt_userattach looks at them: a trigger in the change that adds the
/// event does nothing. macOS heeds it.
#[test]
fn trigger_in_the_first_add() {
    for profile in WITH {
        let kq = kq(profile);
        kq.change(&[kevent { fflags: NOTE_TRIGGER, ..event(0, EVFILT_USER, EV_ADD | EV_CLEAR) }]);
        assert_eq!(kq.now().len(), usize::from(profile == Profile::MacOs));
    }
}

/// filt_usertouch of FreeBSD resets an event whose change has EV_CLEAR, after it has triggered it.
#[test]
fn trigger_with_clear() {
    for profile in WITH {
        let kq = kq(profile);
        kq.change(&[event(0, EVFILT_USER, EV_ADD | EV_CLEAR), kevent { flags: EV_CLEAR, ..trigger() }]);
        assert_eq!(kq.now().len(), usize::from(profile == Profile::MacOs));
    }
}

/// "The lower 24 bits of the fflags may be used for user defined flags": NOTE_FFNOP, NOTE_FFAND, NOTE_FFOR, NOTE_FFCOPY.
#[test]
fn flags_of_its_own() {
    for profile in WITH {
        let kq = kq(profile);
        kq.change(&[kevent { fflags: 0b0011, ..event(0, EVFILT_USER, EV_ADD) }]);
        let rounds = [
            (NOTE_FFNOP | 0b1000, 0b0011),
            (NOTE_FFOR | 0b0100, 0b0111),
            (NOTE_FFAND | 0b0101, 0b0101),
            (NOTE_FFCOPY | 0b1000, 0b1000),
        ];
        for (control, flags) in rounds {
            kq.change(&[kevent { fflags: NOTE_TRIGGER | control, ..event(0, EVFILT_USER, 0) }]);
            assert_eq!(kq.one().fflags, flags);
        }
    }
}

/// Any change of an event that is there replaces its `udata` (kqueue_register), a mere trigger too.
#[test]
fn a_trigger_replaces_udata() {
    for profile in WITH {
        let kq = kq(profile);
        kq.change(&[tagged(event(0, EVFILT_USER, EV_ADD | EV_CLEAR), 5), trigger()]);
        assert_eq!(kq.one().udata.addr(), 0);
    }
}

/// A kqueue may be changed by any thread, and a wait that goes on hears of it.
#[test]
fn ends_another_threads_wait() {
    for profile in WITH {
        let kq = kq(profile);
        kq.change(&[event(0, EVFILT_USER, EV_ADD | EV_CLEAR)]);
        let queue = kq.0.as_raw_fd();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| (0..100).map(|_| kq.one().ident).sum::<usize>());
            while !waiting.is_finished() {
                assert_eq!(call(queue, &[trigger()], 0, NOW).map(|events| events.len()), Ok(0));
            }
        });
    }
}
