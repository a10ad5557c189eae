//! Copying files: ended before its time at every moment.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use nbio::{ErrorKind, Event, Operation, op};

use crate::blocking::Crowd;
use crate::copy_file::MIB;
use crate::disk;
use crate::folder::Folder;
use crate::hanging::idle;
use crate::support::{Case, Drops, Slot, Subject};
use crate::wire::{Io, drive, keep, kind, noise, turn};

pub const CASES: &[Case] = &[
    Case { name: "cancelled_before_it_begins", run: before_it_begins },
    Case { name: "cancelled_between_two_portions", run: between_portions },
    Case { name: "cancelled_at_every_moment_nothing_is_left", run: cancelled },
    Case { name: "cancelled_when_it_is_done_it_is_ok", run: cancelled_when_done },
    Case { name: "late_it_is_timed_out", run: late },
    Case { name: "removed_at_every_moment_nothing_is_left", run: removed },
    Case { name: "dropping_the_loop_leaves_nothing", run: dropped },
    Case { name: "many_at_a_time", run: many },
];

/// Three portions.
const SIZE: usize = 33 * MIB;

/// A folder with a file that takes a while to be copied, and one that is to be replaced.
struct Place {
    folder: Folder,
    contents: Vec<u8>,
}

impl Place {
    fn new() -> Place {
        let (folder, contents) = (Folder::new(), noise(SIZE, 1));
        folder.file("from", &contents);
        Place { folder, contents }
    }

    fn copy(&self) -> op::CopyFile {
        self.folder.file("to", "old");
        op::CopyFile::new(self.folder.at("from"), self.folder.at("to"))
    }

    /// Whether the copy is there. Nothing else is, whether or not.
    fn is_copied(&self) -> bool {
        assert_eq!(
            (self.folder.names(), self.folder.open_descriptors()),
            (vec!["from".into(), "to".into()], 0)
        );
        let there = disk::read(self.folder.at("to")).unwrap();
        assert!(there == b"old" || there == self.contents);
        there != b"old"
    }
}

/// Guarantees 3 and 4: before its turn on the loop, and while it waits for a thread of the pool's.
fn before_it_begins(subject: &Subject) {
    let place = Place::new();
    let io: Io = subject.io();
    let crowd = Crowd::new(subject);
    for ticks in [0, 1, 2, 10] {
        let (ended, drops) = (Slot::new(), Drops::new());
        let cancelled = io.submit(place.copy(), keep(&ended));
        io.submit(place.copy().timeout(Duration::from_millis(1)), keep(&ended));
        let counted = drops.counted();
        let removed = io.submit(place.copy(), move |_, _, _| drop(counted));
        turn(&io, ticks);
        assert!(io.cancel(cancelled) && io.remove(removed));
        drive(&io, || ended.len() == 2);
        let ends = ended.take().into_iter().map(kind).collect::<Vec<_>>();
        assert!(ends.contains(&Some(ErrorKind::Cancelled)) && ends.contains(&Some(ErrorKind::TimedOut)));
        idle(&io);
        assert_eq!((drops.count(), place.is_copied()), (1, false));
    }
    drop(crowd);
}

/// A portion that waits for a thread is taken back, and what was copied is given up all the same.
fn between_portions(subject: &Subject) {
    for remove in [false, true] {
        let place = Place::new();
        let io: Io = subject.io();
        let (ended, crowd) = (Slot::new(), Rc::new(RefCell::new(None)));
        let (end, crowded, subject) = (ended.clone(), crowd.clone(), subject.clone());
        let id = io.submit_many(place.copy().progress(), move |_, _, event| match event {
            // The next portions wait behind these.
            Event::Item(_) => {
                crowded.borrow_mut().get_or_insert_with(|| Crowd::new(&subject));
            }
            Event::End(result) => end.put(kind(result)),
        });
        drive(&io, || crowd.borrow().is_some());
        turn(&io, 5);
        let asked = if remove { io.remove(id) } else { io.cancel(id) };
        turn(&io, 5);
        crowd.borrow_mut().take();
        idle(&io);
        let end: Vec<Option<ErrorKind>> = ended.take();
        let copied = place.is_copied();
        match (remove, end.first()) {
            (false, Some(end)) => assert_eq!(*end, (!copied).then_some(ErrorKind::Cancelled)),
            (removed, end) => assert!(removed && end.is_none() == asked),
        }
    }
}

/// Copies, and does something after so many turns of the loop, or in the callback of so many items of progress, of which it
/// is given the last. Only there is it certain how far the copy has got: each turn of the loop begins another portion.
fn interrupted(
    io: &Io,
    place: &Place,
    moment: usize,
    interrupt: impl FnOnce(&Io, nbio::OpId, Option<u64>) + 'static,
) -> Slot<Option<ErrorKind>> {
    let ended = Slot::new();
    let (end, own) = (ended.clone(), Rc::new(Cell::new(None)));
    let (interrupt, called) = (Rc::new(Cell::new(Some(interrupt))), Rc::new(Cell::new(false)));
    let (of_items, mine, calling) = (interrupt.clone(), own.clone(), called.clone());
    let mut to_come = moment.checked_sub(2);
    let id = io.submit_many(place.copy().progress(), move |_, io, event| match event {
        Event::Item(bytes) => {
            to_come = to_come.and_then(|items| items.checked_sub(1));
            if to_come == Some(0)
                && let (Some(id), Some(interrupt)) = (mine.get(), of_items.take())
            {
                calling.set(true);
                interrupt(io, id, Some(bytes));
            }
        }
        Event::End(result) => end.put(kind(result)),
    });
    own.set(Some(id));
    if moment >= 3 {
        // It is called there, unless the copy is over sooner.
        drive(io, || called.get() || ended.len() > 0);
        return ended;
    }
    turn(io, moment);
    if let Some(interrupt) = interrupt.take() {
        interrupt(io, id, None);
    }
    ended
}

/// Three by turns of the loop, then by items.
const MOMENTS: usize = 6;

/// Guarantee 3: there is all of the copy and it is `Ok`, or nothing, when it calls back.
fn cancelled(subject: &Subject) {
    let (place, io): (_, Io) = (Place::new(), subject.io());
    for moment in 0..MOMENTS {
        let in_the_middle = Rc::new(Cell::new(false));
        let middle = in_the_middle.clone();
        let ended = interrupted(&io, &place, moment, move |io, id, copied| {
            // The next portion may be copied already, but not the last one, which takes another turn of the loop.
            middle.set(copied.is_some_and(|bytes| bytes <= SIZE as u64 / 2));
            assert!(io.cancel(id) || !middle.get());
        });
        drive(&io, || ended.len() > 0);
        let copied = place.is_copied();
        match ended.one() {
            None => assert!(copied && !in_the_middle.get() && moment > 0),
            Some(end) => assert!(end == ErrorKind::Cancelled && !copied),
        }
        idle(&io);
    }
}

/// Guarantee 3: what was done ends `Ok`.
fn cancelled_when_done(subject: &Subject) {
    let (place, io): (_, Io) = (Place::new(), subject.io());
    let from = place.folder.file("from", "new");
    let (ended, to) = (Slot::new(), place.folder.at("to"));
    let id = io.submit(op::CopyFile::new(&from, &to), keep(&ended));
    // It is there, and the loop has not been told.
    io.tick(Some(Duration::ZERO)).unwrap();
    while disk::read(&to).ok().as_deref() != Some(b"new") {
        std::thread::yield_now();
    }
    assert!(io.cancel(id) || ended.len() == 1);
    io.run().unwrap();
    assert_eq!(ended.one().map(|copied| copied.bytes), Ok(3));
}

fn late(subject: &Subject) {
    let (place, io): (_, Io) = (Place::new(), subject.io());
    for micros in [0, 1_000, 10_000] {
        let ended = Slot::new();
        io.submit(place.copy().timeout(Duration::from_micros(micros)), keep(&ended));
        drive(&io, || ended.len() > 0);
        let copied = place.is_copied();
        match ended.one() {
            Ok(_) => assert!(copied),
            Err(error) => assert!(
                error.kind() == ErrorKind::TimedOut && error.operation() == op::Kind::CopyFile && !copied
            ),
        }
    }
}

/// Guarantee 4: silent, and what it would have made isn't.
fn removed(subject: &Subject) {
    let (place, io): (_, Io) = (Place::new(), subject.io());
    for moment in 0..MOMENTS {
        let asked = Rc::new(Cell::new(false));
        let removed = asked.clone();
        let ended = interrupted(&io, &place, moment, move |io, id, _| removed.set(io.remove(id)));
        idle(&io);
        let copied = place.is_copied();
        if !asked.get() {
            assert!(ended.one().is_none() && copied);
        }
        assert_eq!(ended.len(), 0);
    }
}

/// Guarantee 5: nobody waits for it; it gives up by itself.
fn dropped(subject: &Subject) {
    let place = Place::new();
    for moment in 0..MOMENTS {
        let io: Io = subject.io();
        interrupted(&io, &place, moment, |_, _, _| ());
        drop(io);
        // The pool's thread is done with it soon.
        while place.folder.open_descriptors() > 0 {
            std::thread::yield_now();
        }
        place.is_copied();
    }
}

/// Guarantee 2: each ends once, whatever becomes of the others.
fn many(subject: &Subject) {
    let (folder, io): (_, Io) = (Folder::new(), subject.io());
    let contents = noise(100_000, 2);
    let from = folder.file("from", &contents);
    let ended = Slot::new();
    for number in 0..100 {
        let ended = ended.clone();
        let copy = op::CopyFile::new(&from, folder.at(&format!("to-{}", number % 50)));
        let id = io.submit(copy, move |_, _, copied| ended.put((number, kind(copied))));
        if number % 7 == 0 {
            io.cancel(id);
        }
    }
    io.run().unwrap();
    let mut ended = ended.take();
    ended.sort_by_key(|end| end.0);
    assert!(ended.iter().map(|end| end.0).eq(0..100));
    assert!(ended.iter().all(|&(number, end)| end == (number % 7 == 0).then_some(ErrorKind::Cancelled)));
    for name in folder.names() {
        assert!(disk::read(folder.at(&name)).unwrap() == contents, "{name}");
    }
    assert_eq!(folder.open_descriptors(), 0);
}
