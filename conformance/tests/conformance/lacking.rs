//! What a backend doesn't have: the report says so, and it ends with a clear error.

use nbio::op::{Interest, Kind, Poll, PollMany};
use nbio::{Done, ErrorKind, Event, EventLoop, Half, Support};

use crate::folder::Folder;
use crate::support::{Case, Slot, Subject, listen};
use crate::wire::{Io, keep};

pub const CASES: &[Case] = &[
    Case { name: "what_the_ring_lacks_is_done_by_other_means", run: substituted },
    Case { name: "what_the_ring_cannot_do_without", run: indispensable },
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
    if !supports(&io, Kind::AcceptPipe) {
        let accepted = Slot::new();
        io.accept_pipe(r"\\.\pipe\nowhere", keep(&accepted));
        io.run().unwrap();
        let error = accepted.one().unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::Unsupported, Kind::AcceptPipe));
    }
    if supports(&io, Kind::OpenFifo) {
        return;
    }
    let opened = Slot::new();
    io.open_fifo("/nowhere", Half::Read, keep(&opened));
    io.run().unwrap();
    let mut ends = vec![(Kind::OpenFifo, opened.one().map(drop)), (Kind::Pipe, io.pipe().map(drop))];
    ends.extend([io.stdin(), io.stdout(), io.stderr()].map(|end| (Kind::Standard, end.map(drop))));
    for (kind, end) in ends {
        let error = end.unwrap_err();
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
    let errors = [
        connected.one().unwrap_err(),
        io.listen_unix("x").unwrap_err(),
        io.unix_pair().unwrap_err(),
        io.bind_unix_datagram("x").unwrap_err(),
        io.unix_datagram_pair().unwrap_err(),
    ];
    let expected = [
        Kind::ConnectUnix,
        Kind::ListenUnix,
        Kind::UnixPair,
        Kind::BindUnixDatagram,
        Kind::UnixDatagramPair,
        Kind::ListenUnixSeqpacket,
        Kind::UnixSeqpacketPair,
    ];
    for (error, kind) in errors.into_iter().zip(expected) {
        assert_eq!((error.kind(), error.operation()), (ErrorKind::Unsupported, kind));
    }
}

/// What operations of io_uring are for, in the report's terms.
const OPERATIONS: [(&str, Kind, Support); 21] = [
    ("accept", Kind::Accept, Support::Readiness),
    ("connect", Kind::Connect, Support::Readiness),
    ("recv", Kind::Recv, Support::Readiness),
    ("send", Kind::Send, Support::Readiness),
    ("recvmsg", Kind::RecvVectored, Support::Readiness),
    ("sendmsg", Kind::SendVectored, Support::Readiness),
    ("close", Kind::Close, Support::Direct),
    ("openat", Kind::Open, Support::Pool),
    ("statx", Kind::Stat, Support::Pool),
    ("read", Kind::ReadAt, Support::Pool),
    ("write", Kind::WriteAt, Support::Pool),
    ("readv", Kind::ReadAtVectored, Support::Pool),
    ("writev", Kind::WriteAtVectored, Support::Pool),
    ("fsync", Kind::Fsync, Support::Pool),
    ("fallocate", Kind::Allocate, Support::Pool),
    ("renameat", Kind::Rename, Support::Pool),
    ("unlinkat", Kind::Unlink, Support::Pool),
    ("mkdirat", Kind::Mkdir, Support::Pool),
    ("linkat", Kind::Link, Support::Pool),
    ("symlinkat", Kind::Symlink, Support::Pool),
    ("ftruncate", Kind::Truncate, Support::Pool),
];

/// "An operation that the kernel lacks costs that operation only": the report tells, and counts, what was done otherwise.
fn substituted(subject: &Subject) {
    let lacks = |name| match subject.name {
        "io_uring-plain" => ["mkdirat", "linkat", "symlinkat", "ftruncate"].contains(&name),
        _ => subject.without().contains(&name),
    };
    if subject.simulated() || subject.epoll() || subject.kqueue() || subject.iocp() {
        return assert_eq!(subject.io::<()>().report().substituted(), 0);
    }
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    for (name, kind, other) in OPERATIONS {
        let how = io.report().operations().iter().find(|entry| entry.0 == kind).map(|entry| entry.1);
        assert_eq!(how, Some(if lacks(name) { other } else { Support::Native }), "{name}");
    }
    perform_each(&io, &folder);
    let plain = ["io_uring-plain", "without-repeating-polls"].contains(&subject.name);
    let missing = plain || OPERATIONS.iter().any(|entry| lacks(entry.0));
    assert_eq!(io.report().substituted() > 0, missing);
}

/// One operation of each kind; they are checked by their rooms.
fn perform_each(io: &Io, folder: &Folder) {
    let (listener, address) = listen(io);
    let pair: Slot<nbio::TcpStream> = Slot::new();
    for _ in 0..2 {
        let (near, far) = (pair.clone(), pair.clone());
        io.accept(listener, move |_, _, accepted| near.put(accepted.unwrap().stream));
        io.connect(address, move |_, _, stream| far.put(stream.unwrap()));
        io.run().unwrap();
        let streams = pair.take();
        io.send_all(streams[0], "hello", |_, _, sent| assert_eq!(sent.result, Ok(())));
        io.send_vectored(streams[1], ["he".to_owned(), "llo".to_owned()], |_, _, sent| {
            assert_eq!(sent.bytes, 5)
        });
        io.recv_exact(streams[1], vec![0; 5], 5, |_, _, done: Done<Vec<u8>>| {
            assert_eq!(done.data(), b"hello")
        });
        io.recv_vectored(streams[0], [vec![0; 3], vec![0; 2]], |_, _, done| assert!(done.bytes > 0));
        io.run().unwrap();
        streams.into_iter().for_each(|stream| io.close(stream));
    }
    let polled = Slot::new();
    let (reader, mut writer) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut writer, b"x").unwrap();
    let seen = polled.clone();
    let many = io.submit_many(PollMany::new(&reader, Interest::READABLE), move |_, _, event| seen.put(event));
    crate::wire::drive(io, || polled.len() > 0);
    assert!(io.cancel(many));
    let opened = Slot::new();
    let open = nbio::op::Open::new(folder.at("file")).read(true).write(true).create(true);
    io.submit(open, keep(&opened));
    io.run().unwrap();
    let file = opened.one().unwrap();
    io.write_all_at(file, "contents", 0, |_, _, done| assert_eq!(done.bytes, 8));
    io.run().unwrap();
    io.submit(nbio::op::WriteAtVectored::new(file, ["m", "n"], 8), |_, _, done| assert_eq!(done.bytes, 2));
    io.read_at(file, vec![0; 8], 0, |_, _, done: Done<Vec<u8>>| assert_eq!(done.data(), b"contents"));
    io.submit(nbio::op::ReadAtVectored::new(file, [vec![0; 4], vec![0; 4]], 0), |_, _, done| {
        assert_eq!(done.bytes, 8);
    });
    io.submit(nbio::op::Allocate::new(file, 0, 4096), ends_well);
    io.fsync(file, ends_well);
    io.run().unwrap();
    io.truncate(file, 3, ends_well);
    io.run().unwrap();
    io.stat(folder.at("file"), |_, _, told| assert_eq!(told.unwrap().size, 3));
    io.mkdir(folder.at("directory"), ends_well);
    io.submit(nbio::op::Symlink::new("file", folder.at("symlink")), ends_well);
    io.submit(nbio::op::Link::new(folder.at("file"), folder.at("link")), ends_well);
    io.run().unwrap();
    io.rename(folder.at("link"), folder.at("renamed"), ends_well);
    io.run().unwrap();
    io.unlink(folder.at("renamed"), ends_well);
    io.rmdir(folder.at("directory"), ends_well);
    io.close(file);
    io.close(listener);
    io.run().unwrap();
}

fn ends_well(_: &mut (), _: &Io, end: Result<(), nbio::Error>) {
    assert_eq!(end, Ok(()));
}

/// A wrong name is refused, and so is to do without what everything else is waited for by.
fn indispensable(subject: &Subject) {
    if subject.simulated() || subject.epoll() || subject.kqueue() || subject.iocp() {
        return;
    }
    for (name, kind) in [
        ("poll_add", ErrorKind::BackendUnavailable),
        ("async_cancel", ErrorKind::BackendUnavailable),
        ("nonsense", ErrorKind::InvalidInput),
        ("ACCEPT", ErrorKind::InvalidInput),
    ] {
        assert_eq!(subject.builder().without(name).build::<()>().unwrap_err().kind(), kind, "{name}");
    }
}
