//! What changes do, and how their errors are told.

use std::io::pipe;

use super::*;

/// "A kevent is identified by the (ident, filter) pair; there may only be one unique kevent per kqueue." "Re-adding an
/// existing event will modify the parameters of the original event, and not result in a duplicate entry."
#[test]
fn re_adding_changes_the_one_there_is() {
    for profile in PROFILES {
        let (kq, (reader, writer)) = (kq(profile), pipe().unwrap());
        kq.change(&[
            tagged(set(&reader, EVFILT_READ, EV_ADD), 1),
            tagged(set(&reader, EVFILT_READ, EV_ADD), 2),
        ]);
        write(&writer, b"x");
        let told = kq.one();
        assert_eq!(
            (told.ident, told.filter, told.udata.addr()),
            (reader.as_raw_fd() as usize, EVFILT_READ, 2)
        );
    }
}

/// What re-adding modifies are `udata`, `fflags` and `data`: how the event is told stays (kern_event.c: the flags of a
/// knote are set when it is made).
#[test]
fn re_adding_keeps_how_it_is_told() {
    for profile in PROFILES {
        let (kq, (reader, writer)) = (kq(profile), pipe().unwrap());
        write(&writer, b"x");
        kq.change(&[set(&reader, EVFILT_READ, EV_ADD), set(&reader, EVFILT_READ, EV_ADD | EV_CLEAR)]);
        kq.one();
        assert_eq!(kq.one().flags & EV_CLEAR, 0, "not cleared, so told again");
        let (reader, writer) = pipe().unwrap();
        write(&writer, b"x");
        kq.change(&[set(&reader, EVFILT_READ, EV_ADD | EV_ONESHOT), set(&reader, EVFILT_READ, EV_ADD)]);
        while kq.now().iter().all(|event| event.ident != reader.as_raw_fd() as usize) {}
        assert_eq!(kq.refuses(set(&reader, EVFILT_READ, EV_DELETE)), libc::ENOENT, "it told once");
    }
}

/// "EV_ENABLE: Permit kevent() to return the event if it is triggered. EV_DISABLE: Disable the event so kevent() will not
/// return it. The filter itself is not disabled."
#[test]
fn disabled_events_wait_to_be_enabled() {
    for profile in PROFILES {
        let (kq, (reader, writer)) = (kq(profile), pipe().unwrap());
        kq.change(&[set(&reader, EVFILT_READ, EV_ADD | EV_CLEAR), set(&reader, EVFILT_READ, EV_DISABLE)]);
        write(&writer, b"x");
        kq.nothing();
        kq.change(&[set(&reader, EVFILT_READ, EV_ENABLE)]);
        assert_eq!(kq.one().data, 1);
    }
}

/// "Adding an event automatically enables it, unless overridden by the EV_DISABLE flag": a new one. FreeBSD's
/// kqueue_register enables one that is there only by EV_ENABLE, and so does the simulator everywhere.
#[test]
fn adding_again_does_not_enable() {
    for profile in PROFILES {
        let (kq, (reader, writer)) = (kq(profile), pipe().unwrap());
        write(&writer, b"x");
        kq.change(&[set(&reader, EVFILT_READ, EV_ADD | EV_DISABLE)]);
        kq.nothing();
        kq.change(&[set(&reader, EVFILT_READ, EV_ADD)]);
        kq.nothing();
        kq.change(&[set(&reader, EVFILT_READ, EV_ADD | EV_ENABLE)]);
        kq.one();
    }
}

/// "EV_DELETE: Removes the event from the kqueue." "ENOENT: The event could not be found to be modified or deleted."
#[test]
fn deleted_is_gone() {
    for profile in PROFILES {
        let (kq, (reader, writer)) = (kq(profile), pipe().unwrap());
        write(&writer, b"x");
        kq.change(&[set(&reader, EVFILT_READ, EV_ADD), set(&reader, EVFILT_READ, EV_DELETE)]);
        kq.nothing();
        for flags in [EV_DELETE, EV_ENABLE, EV_DISABLE, 0] {
            assert_eq!(kq.refuses(set(&reader, EVFILT_READ, flags)), libc::ENOENT);
        }
    }
}

/// "EV_ONESHOT: Return only the first occurrence of the filter being triggered. After the user retrieves the event from the
/// kqueue, it is deleted."
#[test]
fn oneshot_tells_once() {
    for profile in PROFILES {
        let (kq, (reader, writer)) = (kq(profile), pipe().unwrap());
        write(&writer, b"x");
        kq.change(&[set(&reader, EVFILT_READ, EV_ADD | EV_ONESHOT)]);
        kq.one();
        write(&writer, b"x");
        kq.nothing();
        assert_eq!(kq.refuses(set(&reader, EVFILT_READ, EV_DELETE)), libc::ENOENT);
    }
}

/// "EV_CLEAR: Reset the state of the event after it is retrieved by the user."
#[test]
fn cleared_is_told_again_only_after_something_new() {
    for profile in PROFILES {
        let (kq, (one, other)) = (kq(profile), pair());
        kq.change(&[set(&one, EVFILT_READ, EV_ADD | EV_CLEAR)]);
        write(&other, b"x");
        assert_eq!(kq.one().data, 1);
        kq.nothing();
        // Also if the former wasn't read.
        write(&other, b"y");
        assert_eq!(kq.one().data, 2);
        kq.nothing();
    }
}

/// "EV_DISPATCH: Disable the event source immediately after delivery of an event."
#[test]
fn dispatched_is_disabled() {
    for profile in PROFILES {
        let (kq, (reader, writer)) = (kq(profile), pipe().unwrap());
        write(&writer, b"x");
        kq.change(&[set(&reader, EVFILT_READ, EV_ADD | EV_DISPATCH)]);
        kq.one();
        write(&writer, b"x");
        kq.nothing();
        kq.change(&[set(&reader, EVFILT_READ, EV_ENABLE | EV_DISPATCH)]);
        assert_eq!(kq.one().data, 2);
        kq.nothing();
    }
}

/// "EV_RECEIPT: […] makes bulk changes to a kqueue without draining any pending events. When passed as input, it forces
/// EV_ERROR to always be returned. When a filter is successfully added the data field will be zero."
#[test]
fn receipts() {
    for profile in PROFILES {
        let (kq, (reader, writer)) = (kq(profile), pipe().unwrap());
        write(&writer, b"x");
        let changes = [
            set(&reader, EVFILT_READ, EV_ADD | EV_RECEIPT),
            set(&reader, EVFILT_WRITE, EV_DELETE | EV_RECEIPT),
        ];
        let told = call(kq.0.as_raw_fd(), &changes, 16, NOW).unwrap();
        let told: Vec<_> =
            told.iter().map(|event| (event.filter, event.flags & EV_ERROR, event.data)).collect();
        let expected = [(EVFILT_READ, EV_ERROR, 0), (EVFILT_WRITE, EV_ERROR, i64::from(libc::ENOENT))];
        assert_eq!(told, expected, "and not the event that is pending");
        assert_eq!(kq.one().flags & EV_ERROR, 0);
    }
}

/// "Note that if this flag [EV_RECEIPT] is encountered and there is no remaining space in eventlist to hold the EV_ERROR
/// event, then subsequent changes will not get processed." (FreeBSD)
#[test]
fn a_receipt_without_room_ends_the_call() {
    let (kq, (reader, writer)) = (kq(Profile::FreeBsd), pipe().unwrap());
    let changes = [set(&reader, EVFILT_READ, EV_ADD | EV_RECEIPT), set(&writer, EVFILT_WRITE, EV_ADD)];
    kq.change(&changes);
    kq.nothing();
    kq.change(&[set(&reader, EVFILT_READ, EV_DELETE)]);
}

/// "If an error occurs while processing an element of the changelist and there is enough room in the eventlist, then the
/// event will be placed in the eventlist with EV_ERROR set in flags and the system error in data." The other changes are
/// applied.
#[test]
fn errors_with_room_are_events() {
    for profile in PROFILES {
        let (kq, (reader, writer)) = (kq(profile), pipe().unwrap());
        write(&writer, b"x");
        let changes = [tagged(set(&reader, EVFILT_WRITE, EV_DELETE), 7), set(&reader, EVFILT_READ, EV_ADD)];
        let told = call(kq.0.as_raw_fd(), &changes, 1, LONG).unwrap();
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].data, told[0].udata.addr()), (i64::from(libc::ENOENT), 7));
        // kqueue_kevent of FreeBSD replaces the flags: that it was an EV_DELETE isn't to be seen.
        let flags = if profile == Profile::MacOs { EV_ERROR | EV_DELETE } else { EV_ERROR };
        assert_eq!(told[0].flags, flags);
        assert_eq!(kq.one().filter, EVFILT_READ);
    }
}

/// "Otherwise, -1 will be returned, and errno will be set to indicate the error condition." The changes behind it are not
/// applied then.
#[test]
fn errors_without_room_end_the_call() {
    for profile in PROFILES {
        let (kq, (reader, writer)) = (kq(profile), pipe().unwrap());
        write(&writer, b"x");
        let changes = [set(&reader, EVFILT_WRITE, EV_DELETE), set(&reader, EVFILT_READ, EV_ADD)];
        assert_eq!(call(kq.0.as_raw_fd(), &changes, 0, NOW).unwrap_err(), libc::ENOENT);
        kq.nothing();
    }
}

/// "EBADF: The specified descriptor is invalid. EINVAL: The specified time limit or filter is invalid."
#[test]
fn what_is_invalid() {
    for profile in PROFILES {
        let (kq, (reader, _writer)) = (kq(profile), pipe().unwrap());
        assert_eq!(kq.refuses(event(1_000_000, EVFILT_READ, EV_ADD)), libc::EBADF);
        assert_eq!(kq.refuses(event(usize::MAX, EVFILT_READ, EV_ADD)), libc::EBADF);
        assert_eq!(kq.refuses(set(&reader, -100, EV_ADD)), libc::EINVAL);
        let limit = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000_000 };
        let (queue, null) = (kq.0.as_raw_fd(), std::ptr::null_mut());
        // SAFETY: no changes and no events.
        assert_eq!(unsafe { kevent(queue, null, 0, null, 0, &raw const limit) }, -1);
        assert_eq!(last_error(), libc::EINVAL);
        // SAFETY: as above, and that is no kqueue.
        assert_eq!(unsafe { kevent(reader.as_raw_fd(), null, 0, null, 0, std::ptr::null()) }, -1);
        assert_eq!(last_error(), libc::EBADF);
    }
}

/// "All changes contained in the changelist are applied before any pending events are read from the queue."
#[test]
fn changes_come_before_events() {
    for profile in PROFILES {
        let (kq, (reader, writer)) = (kq(profile), pipe().unwrap());
        kq.change(&[set(&reader, EVFILT_READ, EV_ADD)]);
        write(&writer, b"x");
        let delete = [set(&reader, EVFILT_READ, EV_DELETE)];
        assert!(call(kq.0.as_raw_fd(), &delete, 16, NOW).unwrap().is_empty());
    }
}
