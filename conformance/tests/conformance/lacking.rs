//! What a backend doesn't have: the report says so, and it ends with a clear error.

use nbio::op::{Interest, Kind, Poll, PollMany};
use nbio::{ErrorKind, Event, EventLoop, Half, Support};

use crate::support::{Case, Slot, Subject, listen};
use crate::wire::{Io, keep};

pub const CASES: &[Case] = &[
    Case { name: "local", run: local },
    Case { name: "pipes", run: pipes },
    Case { name: "polls", run: polls },
];

/// Whether the loop's backend has an operation at all.
pub fn supports<S>(io: &EventLoop<S>, kind: Kind) -> bool {
    let report = io.report();
    let entry = report.operations().iter().find(|entry| entry.0 == kind);
    entry.expect("the report has every operation").1 != Support::Unsupported
}

fn polls(subject: &Subject) {
    let io: Io = subject.io();
    let (listener, _) = listen(&io);
    let (reader, _writer) = std::io::pipe().unwrap();
    let ended = Slot::new();
    if !supports(&io, Kind::Poll) {
        io.submit(Poll::new(&reader, Interest::READABLE), keep(&ended));
        io.submit(Poll::on(listener, Interest::READABLE), keep(&ended));
        io.run().unwrap();
        for end in ended.take() {
            let error = end.unwrap_err();
            assert_eq!((error.kind(), error.operation()), (ErrorKind::Unsupported, Kind::Poll));
        }
    }
    if !supports(&io, Kind::PollMany) {
        let ends = Slot::new();
        for poll in [PollMany::new(&reader, Interest::READABLE), PollMany::on(listener, Interest::READABLE)] {
            let ends = ends.clone();
            io.submit_many(poll, move |_, _, event| match event {
                Event::Item(_) => panic!("an item of what there isn't"),
                Event::End(end) => ends.put(end),
            });
        }
        io.run().unwrap();
        let ends = ends.take();
        assert_eq!(ends.len(), 2);
        for end in ends {
            let error = end.unwrap_err();
            assert_eq!((error.kind(), error.operation()), (ErrorKind::Unsupported, Kind::PollMany));
        }
    }
}

fn pipes(subject: &Subject) {
    let io: Io = subject.io();
    if supports(&io, Kind::OpenFifo) {
        return;
    }
    let opened = Slot::new();
    io.open_fifo("/nowhere", Half::Read, keep(&opened));
    io.run().unwrap();
    let mut errors = vec![opened.one().unwrap_err(), io.pipe().unwrap_err()];
    errors.extend([io.stdin(), io.stdout(), io.stderr()].map(Result::unwrap_err));
    let expected = [Kind::OpenFifo, Kind::Pipe, Kind::Standard, Kind::Standard, Kind::Standard];
    for (error, kind) in errors.into_iter().zip(expected) {
        assert_eq!((error.kind(), error.operation()), (ErrorKind::Unsupported, kind));
    }
}

fn local(subject: &Subject) {
    let io: Io = subject.io();
    if supports(&io, Kind::ConnectUnix) {
        return;
    }
    let connected = Slot::new();
    io.connect_unix("/nowhere", keep(&connected));
    io.run().unwrap();
    let errors =
        [connected.one().unwrap_err(), io.listen_unix("x").unwrap_err(), io.unix_pair().unwrap_err()];
    let expected = [Kind::ConnectUnix, Kind::ListenUnix, Kind::UnixPair];
    for (error, kind) in errors.into_iter().zip(expected) {
        assert_eq!((error.kind(), error.operation()), (ErrorKind::Unsupported, kind));
    }
}
