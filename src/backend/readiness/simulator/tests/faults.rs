//! What goes wrong on purpose does, and only in ways that the systems know.

use std::io::{PipeReader, PipeWriter, pipe};

use super::*;

fn faulty(seed: u64) -> Kq {
    set_profile(Profile::FreeBsd);
    set_faults(Some(seed));
    // SAFETY: a new descriptor that is nobody else's.
    let queue = Kq(unsafe { OwnedFd::from_raw_fd(kqueue()) });
    set_faults(None);
    queue
}

fn pipes(count: usize) -> Vec<(PipeReader, PipeWriter)> {
    (0..count).map(|_| pipe().unwrap()).collect()
}

/// Without a seed nothing goes wrong: all the other tests. With one, in some of many rounds.
fn in_some(mut round: impl FnMut(Kq) -> bool) {
    let seen = (0..200).filter(|seed| round(faulty(*seed))).count();
    assert!((1..200).contains(&seen), "{seen} of 200");
}

/// "ENOENT: The event could not be found to be modified or deleted": its descriptor was closed just before. It is gone.
#[test]
fn deleted_already() {
    let pipes = pipes(1);
    in_some(|kq| {
        kq.change(&[set(&pipes[0].0, EVFILT_READ, EV_ADD)]);
        let delete = || call(kq.0.as_raw_fd(), &[set(&pipes[0].0, EVFILT_READ, EV_DELETE)], 0, NOW);
        let first = delete();
        assert_eq!(delete().unwrap_err(), libc::ENOENT);
        first.is_err()
    });
}

/// An event of what isn't ready.
#[test]
fn told_without_reason() {
    let pipes = pipes(1);
    in_some(|kq| {
        kq.change(&[set(&pipes[0].0, EVFILT_READ, EV_ADD | EV_CLEAR)]);
        let told = kq.now();
        assert!(told.iter().all(|event| (event.data, event.flags & EV_EOF) == (0, 0)));
        !told.is_empty()
    });
}

/// Fewer events than there are, and in another order; none is lost.
#[test]
fn in_portions_and_in_any_order() {
    let pipes = pipes(4);
    let expected: Vec<usize> = pipes.iter().map(|(reader, _)| reader.as_raw_fd() as usize).collect();
    pipes.iter().for_each(|(_, writer)| write(writer, b"x"));
    let told = |kq: &Kq| {
        pipes.iter().for_each(|(reader, _)| kq.change(&[set(reader, EVFILT_READ, EV_ADD | EV_CLEAR)]));
        let first: Vec<usize> = kq.now().iter().map(|event| event.ident).collect();
        let mut all = first.clone();
        while all.len() < expected.len() {
            all.extend(kq.now().iter().map(|event| event.ident));
        }
        (first, all)
    };
    let complete = |mut all: Vec<usize>| {
        all.sort_unstable();
        let mut sorted = expected.clone();
        sorted.sort_unstable();
        assert_eq!(all, sorted);
    };
    in_some(|kq| {
        let (first, all) = told(&kq);
        complete(all);
        first.len() < expected.len()
    });
    in_some(|kq| {
        let (_, all) = told(&kq);
        complete(all.clone());
        all != expected
    });
}
