//! Readiness of what is not the loop's.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::net::{Shutdown, TcpListener as Server, TcpStream as Socket};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use nbio::op::{Interest, Poll, PollMany, Readiness};
use nbio::{Error, ErrorKind, Event, EventLoop, Operation, op};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{SendFlags, send};

use crate::child;
use crate::hanging::{HOUR, idle};
use crate::lacking::supports;
use crate::support::{Case, Drops, Slot, Subject, listen};
use crate::system::{Resource, Rlimit, descriptors, getrlimit, setrlimit};
use crate::wire::{Io, drive, keep, kind, turn};

pub const CASES: &[Case] = &[
    Case { name: "readable_at_once_and_later", run: readable_at_once_and_later },
    Case { name: "each_kind_of_readiness", run: each_kind_of_readiness },
    Case { name: "always_ready", run: always_ready },
    Case { name: "original_may_be_closed", run: original_may_be_closed },
    Case { name: "number_used_again_in_the_same_tick", run: number_used_again },
    Case { name: "duplicate_is_closed_once_however_it_ends", run: duplicate_is_closed_once },
    Case { name: "no_descriptor_left", run: no_descriptor_left },
    Case { name: "cancelled_calls_back_in_the_next_tick", run: cancelled_calls_back_at_once },
    Case { name: "late_calls_back", run: late_calls_back },
    Case { name: "on_a_handle", run: on_a_handle },
    Case { name: "from_another_thread", run: from_another_thread },
    Case { name: "many_tells_of_changes_only", run: many_tells_of_changes },
    Case { name: "many_of_what_is_always_ready_ends", run: many_always_ready },
    Case { name: "many_cancelled_at_every_moment", run: many_cancelled },
    Case { name: "many_ended_by_its_own_callback", run: many_ends_itself },
    Case { name: "many_panicking", run: many_panicking },
    Case { name: "many_under_load", run: many_under_load },
];

type Ended = Result<Readiness, Error>;

/// A pipe of which this many bytes are to be read.
fn filled(bytes: usize) -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(&vec![7; bytes]).unwrap();
    (reader, writer)
}

/// Whether nobody has the reading end any more. A child that another case starts has everything for a moment.
pub fn is_unread(writer: impl AsFd) -> bool {
    let mut asked = [PollFd::new(&writer, PollFlags::empty())];
    let patience = Timespec { tv_sec: 10, tv_nsec: 0 };
    rustix::event::poll(&mut asked, Some(&patience)).unwrap() == 1 && asked[0].revents() == PollFlags::ERR
}

fn run_one(io: &Io, poll: Poll) -> Ended {
    let ended = Slot::new();
    io.submit(poll, keep(&ended));
    assert_eq!(ended.len(), 0);
    drive(io, || ended.len() > 0);
    ended.one()
}

fn readable_at_once_and_later(subject: &Subject) {
    let io: Io = subject.io();
    let (reader, mut writer) = filled(1);
    let ready = run_one(&io, Poll::new(&reader, Interest::READABLE)).unwrap();
    assert!(ready.readable && !ready.writable && !ready.hang_up && !ready.error);
    (&reader).read_exact(&mut [0]).unwrap();
    let ended: Slot<Ended> = Slot::new();
    io.poll(&reader, Interest::READABLE, keep(&ended));
    turn(&io, 5);
    assert_eq!(ended.len(), 0);
    writer.write_all(b"x").unwrap();
    io.run().unwrap();
    assert!(ended.one().unwrap().readable);
    // Nothing was read.
    (&reader).read_exact(&mut [0]).unwrap();
}

fn each_kind_of_readiness(subject: &Subject) {
    let io: Io = subject.io();
    let (reader, writer) = filled(0);
    let ready = run_one(&io, Poll::new(&writer, Interest::READABLE | Interest::WRITABLE)).unwrap();
    assert!(ready.writable && !ready.readable);
    let ended = Slot::new();
    io.poll(&reader, Interest::NOTHING, keep::<Ended>(&ended));
    turn(&io, 3);
    assert_eq!(ended.len(), 0);
    drop(writer);
    drive(&io, || ended.len() > 0);
    let ready = ended.one().unwrap();
    assert!(ready.hang_up && !ready.readable && !ready.error);
    let (reader, writer) = filled(0);
    drop(reader);
    assert!(run_one(&io, Poll::new(&writer, Interest::NOTHING)).unwrap().error);

    let server = Server::bind("127.0.0.1:0").unwrap();
    let near = Socket::connect(server.local_addr().unwrap()).unwrap();
    let far = server.accept().unwrap().0;
    io.poll(&near, Interest::PRIORITY, keep(&ended));
    turn(&io, 3);
    assert_eq!(ended.len(), 0);
    send(&far, b"!", SendFlags::OOB).unwrap();
    drive(&io, || ended.len() > 0);
    assert!(ended.one().unwrap().priority);
    io.poll(&near, Interest::NOTHING, keep(&ended));
    turn(&io, 3);
    assert_eq!(ended.len(), 0);
    far.shutdown(Shutdown::Write).unwrap();
    drive(&io, || ended.len() > 0);
    let ready = ended.one().unwrap();
    assert!(ready.read_closed && !ready.hang_up);
}

/// Documented, as poll(2) has it.
fn always_ready(subject: &Subject) {
    let io: Io = subject.io();
    for path in ["/proc/self/exe", "/", "/dev/null"] {
        let file = File::open(path).unwrap();
        let ready = run_one(&io, Poll::new(&file, Interest::READABLE | Interest::WRITABLE)).unwrap();
        assert!(ready.readable && ready.writable && !ready.hang_up, "{path}");
    }
}

/// Documented: the duplicate keeps open what is polled, and lets go of it when the operation is over.
fn original_may_be_closed(subject: &Subject) {
    let io: Io = subject.io();
    let (reader, mut writer) = filled(0);
    let ended = Slot::new();
    io.poll(&reader, Interest::READABLE, keep::<Ended>(&ended));
    drop(reader);
    turn(&io, 3);
    writer.write_all(b"x").unwrap();
    io.run().unwrap();
    assert!(ended.one().unwrap().readable);
    assert!(is_unread(&writer));
    // One that is never submitted lets go, too.
    let (reader, mut writer) = filled(0);
    let poll = Poll::new(&reader, Interest::READABLE);
    drop(reader);
    writer.write_all(b"x").unwrap();
    drop(poll);
    assert!(is_unread(&writer));
}

/// Guarantee 6, for what is not a handle.
fn number_used_again(subject: &Subject) {
    let io: Io = subject.io();
    let (quiet, mut writer) = filled(0);
    let ended = Slot::new();
    io.poll(&quiet, Interest::READABLE, keep::<Ended>(&ended));
    drop(quiet);
    // Whatever gets the number now is ready.
    let _others: Vec<File> = (0..8).map(|_| File::open("/proc/self/exe").unwrap()).collect();
    turn(&io, 5);
    assert_eq!(ended.len(), 0);
    writer.write_all(b"x").unwrap();
    io.run().unwrap();
    assert!(ended.one().unwrap().readable);
}

/// How a poll is brought to its end.
#[derive(Copy, Clone, Debug)]
enum Way {
    Ready,
    Cancel,
    Remove,
    CancelThenRemove,
    Deadline,
}

fn duplicate_is_closed_once(subject: &Subject) {
    let ways = [Way::Ready, Way::Cancel, Way::Remove, Way::CancelThenRemove, Way::Deadline];
    for (way, ticks, many) in
        ways.into_iter().flat_map(|way| (0..4).flat_map(move |at| [(way, at, false), (way, at, true)]))
    {
        if many && !supports(&subject.io::<()>(), op::Kind::PollMany) {
            continue;
        }
        end_one(subject, way, ticks, many);
    }
}

fn end_one(subject: &Subject, way: Way, ticks: usize, many: bool) {
    let io: Io = subject.io();
    let (reader, mut writer) = filled(0);
    let drops = Drops::new();
    let counted = drops.counted();
    let id = if many {
        let mut poll = PollMany::new(&reader, Interest::READABLE);
        if matches!(way, Way::Deadline) {
            poll = nbio::ManyOperation::timeout(poll, Duration::from_millis(1));
        }
        io.submit_many(poll, move |_, io, event| {
            let _counted = &counted;
            if let Event::Item(ready) = event {
                assert!(ready.readable);
                io.stop();
            }
        })
    } else {
        let mut poll = Poll::new(&reader, Interest::READABLE);
        if matches!(way, Way::Deadline) {
            poll = Operation::timeout(poll, Duration::from_millis(1));
        }
        io.submit(poll, move |_, _, _| drop(counted))
    };
    drop(reader);
    turn(&io, ticks);
    match way {
        Way::Ready => {
            writer.write_all(b"x").unwrap();
            io.run().unwrap();
            assert_eq!(io.cancel(id), many);
        }
        Way::Cancel => assert!(io.cancel(id)),
        Way::Remove => assert!(io.remove(id)),
        Way::CancelThenRemove => assert!(io.cancel(id) && io.remove(id)),
        Way::Deadline => {}
    }
    idle(&io);
    assert_eq!(drops.count(), 1, "{way:?} after {ticks} ticks, many: {many}");
    // Nobody has the reading end any more.
    assert!(is_unread(&writer), "{way:?} after {ticks} ticks, many: {many}");
}

/// Documented: the error comes by callback, and nothing stays open.
fn no_descriptor_left(subject: &Subject) {
    child::run(subject, "poll::no_descriptor_left", |subject| {
        let io: Io = subject.io();
        let (reader, _writer) = filled(1);
        let had = descriptors();
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(3), ..limit }).unwrap();
        let ended = Slot::new();
        io.poll(&reader, Interest::READABLE, keep::<Ended>(&ended));
        let many = Slot::new();
        let put = many.clone();
        io.poll_many(&reader, Interest::READABLE, move |_, _, event| match event {
            Event::Item(_) => unreachable!("it has no descriptor"),
            Event::End(result) => put.put(result),
        });
        io.run().unwrap();
        setrlimit(Resource::Nofile, limit).unwrap();
        let error = ended.one().unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::TooManyDescriptors, op::Kind::Poll));
        let error = many.one().unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::TooManyDescriptors, op::Kind::PollMany));
        assert_eq!(descriptors(), had);
    });
}

/// Guarantee 3: it lends nothing, so nothing is waited for.
fn cancelled_calls_back_at_once(subject: &Subject) {
    for ticks in 0..3 {
        let io: Io = subject.io();
        let (reader, _writer) = filled(0);
        let ended = Slot::new();
        let id = io.poll(&reader, Interest::READABLE, keep::<Ended>(&ended));
        turn(&io, ticks);
        assert!(io.cancel(id));
        assert_eq!(ended.len(), 0);
        turn(&io, 1);
        assert_eq!(kind(ended.one()), Some(ErrorKind::Cancelled));
        assert!(!io.cancel(id) && !io.remove(id));
        idle(&io);
    }
}

fn late_calls_back(subject: &Subject) {
    let io: Io = subject.io();
    let (reader, _writer) = filled(0);
    let ended = Slot::new();
    let poll = Poll::new(&reader, Interest::READABLE).timeout(Duration::from_millis(2));
    io.submit(poll, keep::<Ended>(&ended));
    io.run().unwrap();
    assert_eq!(kind(ended.one()), Some(ErrorKind::TimedOut));
    // One that had passed before it began.
    let (reader, _writer) = filled(0);
    io.submit(Poll::new(&reader, Interest::READABLE).deadline(io.now() - HOUR), keep(&ended));
    io.run().unwrap();
    assert_eq!(kind(ended.one()), Some(ErrorKind::TimedOut));
}

/// Guarantee 6.
fn on_a_handle(subject: &Subject) {
    let io: Io = subject.io();
    let (listener, address) = listen(&io);
    let ended = Slot::new();
    io.submit(Poll::on(listener, Interest::READABLE), keep::<Ended>(&ended));
    turn(&io, 3);
    assert_eq!(ended.len(), 0);
    let _client = Socket::connect(address).unwrap();
    io.run().unwrap();
    assert!(ended.one().unwrap().readable);
    let accepted = Slot::new();
    io.accept(listener, keep(&accepted));
    io.run().unwrap();
    let stream = accepted.one().unwrap().stream;
    let other: Io = subject.io();
    other.submit(Poll::on(stream, Interest::WRITABLE), keep(&ended));
    other.run().unwrap();
    assert_eq!(kind(ended.one()), Some(ErrorKind::WrongLoop));
    // Receives and sends don't wait for it, nor it for them.
    io.recv(stream, [0; 4], |_, _, done| assert_eq!(kind(done.result), Some(ErrorKind::Cancelled)));
    io.submit(Poll::on(stream, Interest::READABLE), keep(&ended));
    let many = Slot::new();
    let put = many.clone();
    io.submit_many(PollMany::on(stream, Interest::NOTHING), move |_, _, event| put.put(format!("{event:?}")));
    let writable = Slot::new();
    io.submit(Poll::on(stream, Interest::WRITABLE), keep::<Ended>(&writable));
    drive(&io, || writable.len() > 0);
    assert!(writable.one().unwrap().writable);
    assert_eq!(io.release(stream).map(drop).unwrap_err().kind(), ErrorKind::Busy);
    io.close(stream);
    io.run().unwrap();
    assert_eq!(kind(ended.one()), Some(ErrorKind::Cancelled));
    let end = many.one();
    assert!(end.contains("Cancelled") || !supports(&io, op::Kind::PollMany), "{end}");
    io.submit(Poll::on(stream, Interest::READABLE), keep(&ended));
    io.run().unwrap();
    assert_eq!(kind(ended.one()), Some(ErrorKind::StaleHandle));
}

fn from_another_thread(subject: &Subject) {
    let io: EventLoop<Vec<bool>> = subject.io();
    let remote = io.remote().unwrap();
    let (reader, mut writer) = filled(0);
    let thread = std::thread::spawn(move || {
        let poll = Poll::new(&reader, Interest::READABLE);
        let submitted =
            remote.submit(poll, |seen: &mut Vec<bool>, io: &EventLoop<Vec<bool>>, ended: Ended| {
                seen.push(ended.unwrap().readable);
                io.stop();
            });
        assert!(submitted.is_ok());
        writer.write_all(b"x").unwrap();
        writer
    });
    thread.join().unwrap();
    let mut seen = Vec::new();
    io.run_with(&mut seen).unwrap();
    assert_eq!(seen, [true]);
}

/// A repeating poll's events, in words.
fn follow(io: &Io, reader: &PipeReader, interest: Interest) -> (nbio::OpId, Slot<Event<Readiness>>) {
    let events = Slot::new();
    let put = events.clone();
    (io.poll_many(reader, interest, move |_, _, event| put.put(event)), events)
}

/// The items so far; none of them is the end.
fn items(events: &Slot<Event<Readiness>>) -> Vec<Readiness> {
    let item = |event| match event {
        Event::Item(ready) => ready,
        Event::End(end) => panic!("ended: {end:?}"),
    };
    events.take().into_iter().map(item).collect()
}

/// Documented: an item for each change, none because nobody reads, and the loop sleeps.
fn many_tells_of_changes(subject: &Subject) {
    let io: Io = subject.io();
    let (reader, mut writer) = filled(1);
    let (id, events) = follow(&io, &reader, Interest::READABLE);
    drive(&io, || events.len() > 0);
    assert!(items(&events).iter().all(|ready| ready.readable && !ready.hang_up));
    for _ in 0..3 {
        // The byte is still there. A wait of 3 ms takes them.
        let start = io.now();
        io.tick(Some(Duration::from_millis(3))).unwrap();
        io.tick(Some(Duration::from_millis(3))).unwrap();
        assert!(io.now() - start >= Duration::from_millis(3) && items(&events).is_empty());
        writer.write_all(b"more").unwrap();
        drive(&io, || events.len() > 0);
        assert!(items(&events).iter().all(|ready| ready.readable));
    }
    drop(writer);
    drive(&io, || events.len() > 0);
    assert!(items(&events).iter().any(|ready| ready.hang_up));
    turn(&io, 5);
    assert!(items(&events).is_empty());
    assert!(io.cancel(id));
    io.run().unwrap();
    let Event::End(end) = events.one() else { panic!("an item") };
    assert_eq!(kind(end), Some(ErrorKind::Cancelled));
}

fn many_always_ready(subject: &Subject) {
    for path in ["/proc/self/exe", "/", "/dev/null"] {
        let io: Io = subject.io();
        let file = File::open(path).unwrap();
        let events = Slot::new();
        let put = events.clone();
        io.poll_many(&file, Interest::READABLE | Interest::WRITABLE, move |_, _, event| put.put(event));
        io.run().unwrap();
        let events = events.take();
        let [Event::Item(ready), Event::End(Ok(()))] = events[..] else { panic!("{path}: {events:?}") };
        assert!(ready.readable && ready.writable);
    }
}

fn many_cancelled(subject: &Subject) {
    for ticks in 0..4 {
        let io: Io = subject.io();
        let (reader, mut writer) = filled(1);
        let (id, events) = follow(&io, &reader, Interest::READABLE);
        turn(&io, ticks);
        // What has come by now and was not called back is lost with it; nothing comes after the end.
        writer.write_all(b"x").unwrap();
        assert!(io.cancel(id));
        writer.write_all(b"y").unwrap();
        turn(&io, 1);
        idle(&io);
        let mut seen = events.take();
        let last = seen.pop();
        let Some(Event::End(Err(error))) = last else { panic!("{last:?}") };
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        assert!(seen.iter().all(|event| matches!(event, Event::Item(_))));
        assert!(!io.cancel(id) && !io.remove(id));
    }
}

fn many_ends_itself(subject: &Subject) {
    for remove in [false, true] {
        let io: Io = subject.io();
        let (reader, writer) = filled(1);
        let drops = Drops::new();
        let (counted, seen) = (drops.counted(), Slot::new());
        let (put, own) = (seen.clone(), Rc::new(std::cell::Cell::new(None)));
        let mine = own.clone();
        let id = io.poll_many(&reader, Interest::READABLE, move |_, io, event| {
            let _counted = &counted;
            match event {
                Event::Item(_) if remove => assert!(io.remove(mine.get().unwrap())),
                Event::Item(_) => assert!(io.cancel(mine.get().unwrap())),
                Event::End(result) => put.put(kind(result)),
            }
        });
        own.set(Some(id));
        drop(reader);
        io.run().unwrap();
        idle(&io);
        assert_eq!(drops.count(), 1);
        let expected = if remove { vec![] } else { vec![Some(ErrorKind::Cancelled)] };
        assert_eq!(seen.take(), expected);
        assert!(is_unread(&writer));
    }
}

/// Guarantee 11: it isn't called again, and what it polled is let go of.
fn many_panicking(subject: &Subject) {
    let io: Io = subject.io();
    let (reader, writer) = filled(1);
    let drops = Drops::new();
    let counted = drops.counted();
    let poll = nbio::ManyOperation::timeout(PollMany::new(&reader, Interest::READABLE), HOUR);
    io.submit_many(poll, move |_, _, _| {
        let _counted = &counted;
        panic!("on purpose");
    });
    drop(reader);
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| io.run()));
    assert!(unwound.is_err());
    io.run().unwrap();
    idle(&io);
    assert_eq!(drops.count(), 1);
    assert!(is_unread(&writer));
}

/// No change is lost, however few completions the ring has room for: who reads until nothing is left gets all.
fn many_under_load(subject: &Subject) {
    let io: Io = subject.io();
    let pipes: Vec<_> = (0..20).map(|_| filled(0)).collect();
    let got = Rc::new(std::cell::Cell::new(0));
    for (reader, _) in &pipes {
        let (mut reader, got) = (reader.try_clone().unwrap(), got.clone());
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        io.poll_many(reader.try_clone().unwrap(), Interest::READABLE, move |_, _, event| {
            let Event::Item(_) = event else { return };
            while let Ok(bytes) = reader.read(&mut [0; 16]) {
                got.set(got.get() + bytes);
                if bytes == 0 {
                    break;
                }
            }
        });
    }
    let mut written = 0;
    for round in 0..50 {
        for (_, writer) in &pipes {
            (&*writer).write_all(&vec![1; round % 40 + 1]).unwrap();
            written += round % 40 + 1;
        }
        if round % 3 == 0 {
            turn(&io, 1);
        }
    }
    drive(&io, || got.get() == written);
    assert_eq!(io.drain(HOUR), Ok(0));
}
