//! Descriptors passed over Unix streams.

use std::fs::File;
use std::io::{IoSlice, Read, Write, pipe};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as Socket;
use std::time::Duration;

use nbio::op::{Kind, ReceivedFds, RecvFds, SendFds, SentFds};
use nbio::{Done, ErrorKind, Operation, UnixEnd, UnixStream};
use rustix::io::{FdFlags, fcntl_getfd};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::child;
use crate::hanging::{HOUR, TOO_MUCH, Tracked, idle};
use crate::poll::is_unread;
use crate::support::{Case, Drops, Slot, Subject};
use crate::system;
use crate::wire::{Io, drive, keep, kind, turn};

pub const CASES: &[Case] = &[
    Case { name: "descriptors_arrive", run: descriptors_arrive },
    Case { name: "as_many_as_there_can_be", run: as_many_as_there_can_be },
    Case { name: "bad_input", run: bad_input },
    Case { name: "to_and_from_another_program", run: to_and_from_another },
    Case { name: "behind_the_peers_credentials", run: behind_credentials },
    Case { name: "no_room_for_them", run: no_room },
    Case { name: "no_descriptor_left", run: no_descriptor_left },
    Case { name: "a_plain_receive_closes_them", run: plain_receive },
    Case { name: "unsent_ones_come_back", run: unsent_come_back },
    Case { name: "sends_of_different_ones_stay_apart", run: stay_apart },
    Case { name: "receives_ended_at_every_moment_leak_none", run: receives_ended },
    Case { name: "end_of_stream", run: end_of_stream },
    Case { name: "dropped_with_the_loop", run: dropped_with_the_loop },
];

pub type Received = ReceivedFds<Vec<u8>>;
pub type Sent = SentFds<Vec<u8>>;

/// A receive that got these bytes, and nothing wrong with it.
pub fn check(received: &Received, bytes: &[u8], descriptors: usize) {
    assert_eq!((received.data(), received.result, received.lost), (bytes, Ok(()), false));
    assert_eq!(received.descriptors.len(), descriptors);
    for descriptor in &received.descriptors {
        assert!(fcntl_getfd(descriptor).unwrap().contains(FdFlags::CLOEXEC));
    }
}

/// Guarantee 8: a socket that was told to bring credentials, too (SO_PASSCRED), loses no descriptor over it.
fn behind_credentials(subject: &Subject) {
    let io: Io = subject.io();
    let (one, other) = Socket::pair().unwrap();
    system::bring_credentials(&other);
    let (one, other): (UnixStream, UnixStream) = (io.adopt(one).unwrap(), io.adopt(other).unwrap());
    let (reader, writer) = pipe().unwrap();
    assert_eq!(send(&io, one, b"an end", vec![writer.into()]).result, Ok(()));
    let received = receive(&io, other, 20);
    check(&received, b"an end", 1);
    // It was the last one: the pipe ends with it.
    drop(received);
    assert_eq!((&reader).read(&mut [0; 8]).unwrap(), 0);
}

pub fn receive(io: &Io, stream: impl UnixEnd, most: usize) -> Received {
    let got = Slot::new();
    io.submit(RecvFds::new(stream, vec![0; 64], most), keep(&got));
    drive(io, || got.len() > 0);
    got.one()
}

pub fn send(io: &Io, stream: impl UnixEnd, bytes: &[u8], descriptors: Vec<OwnedFd>) -> Sent {
    let sent = Slot::new();
    io.submit(SendFds::new(stream, bytes.to_vec(), descriptors), keep(&sent));
    drive(io, || sent.len() > 0);
    sent.one()
}

fn descriptors_arrive(subject: &Subject) {
    let io: Io = subject.io();
    let (one, other) = io.unix_pair().unwrap();
    let (reader, writer) = pipe().unwrap();
    let got = Slot::new();
    // It waits first.
    io.submit(RecvFds::new(other, vec![0; 64], 4), keep::<Received>(&got));
    turn(&io, 3);
    let sent = send(&io, one, b"an end", vec![writer.into()]);
    assert_eq!((sent.bytes, sent.result, sent.unsent.len()), (6, Ok(()), 0));
    drive(&io, || got.len() > 0);
    let mut received = got.one();
    check(&received, b"an end", 1);
    // The only one: what is written there arrives, and dropping it is the end.
    let mut writer = File::from(received.descriptors.remove(0));
    writer.write_all(b"through it").unwrap();
    drop(writer);
    let mut text = String::new();
    (&reader).read_to_string(&mut text).unwrap();
    assert_eq!(text, "through it");
    // Without any, in both places.
    send(&io, one, b"bytes", vec![]);
    check(&receive(&io, other, 0), b"bytes", 0);
}

fn as_many_as_there_can_be(subject: &Subject) {
    let io: Io = subject.io();
    let (one, other) = io.unix_pair().unwrap();
    let (reader, writer) = pipe().unwrap();
    let copies: Vec<OwnedFd> = (0..253).map(|_| reader.try_clone().unwrap().into()).collect();
    drop(reader);
    assert_eq!(send(&io, one, b"x", copies).bytes, 1);
    let received = receive(&io, other, 253);
    check(&received, b"x", 253);
    drop(received);
    assert!(is_unread(&writer));
}

fn bad_input(subject: &Subject) {
    let io: Io = subject.io();
    let (one, other) = io.unix_pair().unwrap();
    let copies: Vec<OwnedFd> = (0..254).map(|_| File::open("/dev/null").unwrap().into()).collect();
    let sent = send(&io, one, b"x", copies);
    let error = sent.result.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::InvalidInput, Kind::SendFds));
    assert_eq!((sent.bytes, sent.unsent.len()), (0, 254));
    let sent = send(&io, one, b"", vec![File::open("/dev/null").unwrap().into()]);
    assert_eq!((kind(sent.result), sent.unsent.len()), (Some(ErrorKind::InvalidInput), 1));
    let error = receive(&io, other, 254).result.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::InvalidInput, Kind::RecvFds));
    let got = Slot::new();
    io.submit(RecvFds::new(other, Vec::new(), 1), keep::<Received>(&got));
    io.run().unwrap();
    assert_eq!(kind(got.one().result), Some(ErrorKind::InvalidInput));
    io.close(one);
    let sent = send(&io, one, b"x", vec![File::open("/dev/null").unwrap().into()]);
    assert_eq!((kind(sent.result), sent.unsent.len()), (Some(ErrorKind::StaleHandle), 1));
}

/// As another program sends them.
pub fn send_by_hand(socket: impl AsFd, bytes: &[u8], descriptors: &[impl AsFd]) {
    let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&borrowed)));
    let sent = sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::empty()).unwrap();
    assert_eq!(sent, bytes.len());
}

fn to_and_from_another(subject: &Subject) {
    let io: Io = subject.io();
    let (near, far) = Socket::pair().unwrap();
    let near: UnixStream = io.adopt(OwnedFd::from(near)).unwrap();
    let (_reader, writer) = pipe().unwrap();
    send_by_hand(&far, b"two", &[&writer, &writer]);
    let received = receive(&io, near, 8);
    check(&received, b"two", 2);
    let sent = send(&io, near, b"back", received.descriptors);
    assert_eq!((sent.bytes, sent.unsent.len()), (4, 0));
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = rustix::net::RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; 16];
    let mut pieces = [std::io::IoSliceMut::new(&mut bytes)];
    let flags = system::RECV_CLOSE_ON_EXEC;
    assert_eq!(rustix::net::recvmsg(&far, &mut pieces, &mut control, flags).unwrap().bytes, 4);
    let messages = control.drain();
    let count = messages.map(|message| match message {
        rustix::net::RecvAncillaryMessage::ScmRights(rights) => rights.count(),
        _ => 0,
    });
    assert_eq!(count.sum::<usize>(), 2);
}

/// Documented: all are closed, and the bytes are as ever.
fn no_room(subject: &Subject) {
    let io: Io = subject.io();
    for most in 0..3 {
        let (near, far) = Socket::pair().unwrap();
        let near: UnixStream = io.adopt(OwnedFd::from(near)).unwrap();
        let (reader, writer) = pipe().unwrap();
        send_by_hand(&far, b"three", &[&reader, &reader, &reader]);
        drop(reader);
        let received = receive(&io, near, most);
        assert_eq!(
            (received.data(), received.result, received.lost),
            (&b"three"[..], Ok(()), true),
            "{most}"
        );
        assert!(received.descriptors.is_empty());
        assert!(is_unread(&writer));
    }
}

fn no_descriptor_left(subject: &Subject) {
    child::run(subject, "passing::no_descriptor_left", |subject| {
        let io: Io = subject.io();
        let (near, far) = Socket::pair().unwrap();
        let near: UnixStream = io.adopt(OwnedFd::from(near)).unwrap();
        let (reader, writer) = pipe().unwrap();
        send_by_hand(&far, b"two", &[&reader, &reader]);
        drop(reader);
        let limit = getrlimit(Resource::Nofile);
        // Room for one of them.
        let next = u64::try_from(std::os::fd::AsRawFd::as_raw_fd(&File::open("/dev/null").unwrap())).unwrap();
        setrlimit(Resource::Nofile, Rlimit { current: Some(next + 1), ..limit }).unwrap();
        let received = receive(&io, near, 8);
        setrlimit(Resource::Nofile, limit).unwrap();
        assert_eq!((received.data(), received.result, received.lost), (&b"two"[..], Ok(()), true));
        assert!(received.descriptors.is_empty());
        assert!(is_unread(&writer));
    });
}

fn plain_receive(subject: &Subject) {
    let io: Io = subject.io();
    let (one, other) = io.unix_pair().unwrap();
    let (reader, writer) = pipe().unwrap();
    send(&io, one, b"x", vec![reader.into()]);
    let got = Slot::new();
    io.recv(other, vec![0; 4], keep::<Done<Vec<u8>>>(&got));
    io.run().unwrap();
    assert_eq!(got.one().data(), b"x");
    assert!(is_unread(&writer));
}

fn unsent_come_back(subject: &Subject) {
    for ticks in 0..3 {
        let io: Io = subject.io();
        let (one, other) = io.unix_pair().unwrap();
        let (reader, writer) = pipe().unwrap();
        let (filled, sent) = (Slot::new(), Slot::new());
        // No room: it waits behind, and then for itself.
        let filling = io.send_all(one, vec![7; TOO_MUCH], keep::<Done<Vec<u8>>>(&filled));
        turn(&io, 2);
        let id = io.submit(SendFds::new(one, vec![8; 4], vec![reader.into()]), keep::<Sent>(&sent));
        turn(&io, ticks);
        assert!(io.cancel(id));
        drive(&io, || sent.len() > 0);
        let mut ended = sent.one();
        assert_eq!((kind(ended.result), ended.bytes), (Some(ErrorKind::Cancelled), 0));
        assert_eq!(ended.unsent.len(), 1);
        drop(ended.unsent.remove(0));
        assert!(is_unread(&writer));
        assert!(io.cancel(filling));
        io.close(other);
        drive(&io, || filled.len() > 0);
        // Nobody receives there any more.
        let sent = send(&io, one, b"x", vec![File::open("/dev/null").unwrap().into()]);
        assert_eq!((kind(sent.result), sent.unsent.len()), (Some(ErrorKind::BrokenPipe), 1));
    }
}

/// Guarantee 7, and documented: a receive ends where the bytes end that descriptors came with.
fn stay_apart(subject: &Subject) {
    let io: Io = subject.io();
    let (one, other) = io.unix_pair().unwrap();
    let file = || OwnedFd::from(File::open("/dev/null").unwrap());
    let got = Slot::new();
    for (bytes, count) in [("first", 1), ("second", 2), ("third", 0)] {
        let descriptors = (0..count).map(|_| file()).collect();
        io.submit(SendFds::new(one, bytes, descriptors), |_, _, sent| assert!(sent.result.is_ok()));
    }
    io.run().unwrap();
    for _ in 0..3 {
        io.submit(RecvFds::new(other, vec![0; 64], 8), keep::<Received>(&got));
    }
    io.run().unwrap();
    let [first, second, third]: [Received; 3] = got.take().try_into().unwrap();
    check(&first, b"first", 1);
    check(&second, b"second", 2);
    check(&third, b"third", 0);
}

/// Guarantees 3, 4 and 5: descriptors of a receive that nobody hears of are closed, and its buffer is dropped once.
fn receives_ended(subject: &Subject) {
    for (ticks, first, remove) in (0..4).flat_map(|ticks| {
        [(ticks, false, false), (ticks, true, false), (ticks, false, true), (ticks, true, true)]
    }) {
        let io: Io = subject.io();
        let (one, other) = io.unix_pair().unwrap();
        let (reader, writer) = pipe().unwrap();
        let (got, buffers) = (Slot::new(), Drops::new());
        let put = got.clone();
        let receive = RecvFds::new(other, Tracked::new(64, &buffers), 2);
        let send = SendFds::new(one, "x", vec![reader.into()]);
        let id = if first {
            io.submit(send, |_, _, _| ());
            turn(&io, 2);
            io.submit(receive, move |_, _, received| put.put((received.result, received.descriptors)))
        } else {
            let id =
                io.submit(receive, move |_, _, received| put.put((received.result, received.descriptors)));
            turn(&io, 1);
            io.submit(send, |_, _, _| ());
            id
        };
        turn(&io, ticks);
        let live = if remove { io.remove(id) } else { io.cancel(id) };
        idle(&io);
        let ends = got.take();
        assert_eq!(ends.len(), usize::from(!(remove && live)));
        let mut had = 0;
        for (result, descriptors) in ends {
            assert_eq!(result.is_ok(), descriptors.len() == 1);
            had += descriptors.len();
        }
        assert_eq!(buffers.count(), 1);
        // Whatever nobody took is with the stream, and goes with it.
        assert!(had <= 1);
        io.close(other);
        io.close(one);
        io.run().unwrap();
        assert!(is_unread(&writer), "{ticks} ticks, sent first: {first}, remove: {remove}");
    }
}

fn end_of_stream(subject: &Subject) {
    let io: Io = subject.io();
    let (one, other) = io.unix_pair().unwrap();
    io.close(one);
    io.run().unwrap();
    check(&receive(&io, other, 4), b"", 0);
    // A deadline where nothing comes.
    let (_one, other) = io.unix_pair().unwrap();
    let got = Slot::new();
    let receive = RecvFds::new(other, vec![0; 4], 4).timeout(Duration::from_millis(1));
    io.submit(receive, keep::<Received>(&got));
    io.run().unwrap();
    assert_eq!(kind(got.one().result), Some(ErrorKind::TimedOut));
    assert_eq!(io.drain(HOUR), Ok(0));
}

fn dropped_with_the_loop(subject: &Subject) {
    let io: Io = subject.io();
    let (one, other) = io.unix_pair().unwrap();
    let ((reader, writer), (queued, behind)) = (pipe().unwrap(), pipe().unwrap());
    io.submit(RecvFds::new(other, vec![0; 4], 4), |_, _, _| unreachable!("the loop is dropped"));
    turn(&io, 1);
    io.submit(SendFds::new(one, "x", vec![reader.into()]), |_, _, _| ());
    io.submit(SendFds::new(one, "y", vec![queued.into()]), |_, _, _| ());
    drop(io);
    assert!(is_unread(&writer) && is_unread(&behind));
}
