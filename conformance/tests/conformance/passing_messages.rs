//! Descriptors passed with datagrams and records.

use std::fs::File;
use std::io::pipe;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nbio::op::{RecvFds, RecvFrom, RecvRecord, SendFds};
use nbio::{ErrorKind, OpId, Operation, UnixAddress, UnixDatagram, UnixEnd, UnixSeqpacket};

use crate::hanging::{HOUR, Tracked, idle};
use crate::local_datagram::name;
use crate::passing::{Received, Sent, check, receive, send};
use crate::poll::is_unread;
use crate::support::{Case, Drops, Slot, Subject};
use crate::udp::finish;
use crate::wire::{Io, drive, keep, kind, turn};

pub const CASES: &[Case] = &[
    Case { name: "arrive_beside_bytes_and_beside_none", run: over_messages },
    Case { name: "by_datagrams_to_an_address", run: by_datagrams },
    Case { name: "by_records_until_the_end", run: by_records },
    Case { name: "too_many_or_too_long", run: over_messages_no_room },
    Case { name: "unsent_ones_come_back", run: over_messages_unsent },
    Case { name: "receives_ended_leak_none", run: over_messages_ended },
];

/// Carries out a case on a pair of datagram sockets, and on one of records.
fn on_both(subject: &Subject, case: impl Fn(&Io, &dyn Messages)) {
    let io: Io = subject.io();
    case(&io, &Pair(io.unix_datagram_pair().unwrap()));
    case(&io, &Pair(io.unix_seqpacket_pair().unwrap()));
}

/// What the cases do on a pair of handles of whatever kind.
trait Messages {
    fn send(&self, io: &Io, bytes: &[u8], descriptors: Vec<OwnedFd>) -> Sent;
    fn send_within(
        &self,
        io: &Io,
        bytes: &[u8],
        descriptors: Vec<OwnedFd>,
        time: Duration,
        ticks: usize,
    ) -> Sent;
    fn receive(&self, io: &Io, room: usize, most: usize) -> Received;
    fn receive_later(&self, io: &Io, buf: Tracked, ended: &Slot<Result<usize, ErrorKind>>) -> OpId;
    fn plain_receive(&self, io: &Io) -> Vec<u8>;
    fn close(&self, io: &Io);
}

struct Pair<H>((H, H));

/// How bytes alone are received there.
trait Plain: UnixEnd {
    fn plain(self, io: &Io) -> Vec<u8>;
}

impl Plain for UnixDatagram {
    fn plain(self, io: &Io) -> Vec<u8> {
        finish(io, RecvFrom::new(self, vec![0; 9])).buf
    }
}

impl Plain for UnixSeqpacket {
    fn plain(self, io: &Io) -> Vec<u8> {
        finish(io, RecvRecord::new(self, vec![0; 9])).buf
    }
}

impl<H: Plain> Messages for Pair<H> {
    fn send(&self, io: &Io, bytes: &[u8], descriptors: Vec<OwnedFd>) -> Sent {
        send(io, self.0.0, bytes, descriptors)
    }

    fn send_within(
        &self,
        io: &Io,
        bytes: &[u8],
        descriptors: Vec<OwnedFd>,
        time: Duration,
        ticks: usize,
    ) -> Sent {
        let sent = Slot::new();
        io.submit(SendFds::new(self.0.0, bytes.to_vec(), descriptors).timeout(time), keep(&sent));
        turn(io, ticks);
        drive(io, || sent.len() > 0);
        sent.one()
    }

    fn receive(&self, io: &Io, room: usize, most: usize) -> Received {
        finish(io, RecvFds::new(self.0.1, vec![0xAA; room], most))
    }

    fn receive_later(&self, io: &Io, buf: Tracked, ended: &Slot<Result<usize, ErrorKind>>) -> OpId {
        let ended = ended.clone();
        io.submit(RecvFds::new(self.0.1, buf, 2), move |_, _, received| {
            let count = received.descriptors.len();
            ended.put(received.result.map(|()| count).map_err(|error| error.kind()));
        })
    }

    fn plain_receive(&self, io: &Io) -> Vec<u8> {
        self.0.1.plain(io)
    }

    fn close(&self, io: &Io) {
        io.close(self.0.0);
        io.close(self.0.1);
        io.run().unwrap();
    }
}

/// Documented: as on streams; and beside no bytes, too. A receive of bytes alone closes them.
fn over_messages(subject: &Subject) {
    on_both(subject, |io, pair| {
        for text in [&b"an end"[..], b""] {
            let (reader, writer) = pipe().unwrap();
            let sent = pair.send(io, text, vec![reader.into()]);
            assert_eq!((sent.bytes, sent.result, sent.unsent.len()), (text.len(), Ok(()), 0));
            let received = pair.receive(io, 20, 1);
            check(&received, text, 1);
            assert!(!received.truncated && !received.end_of_stream);
            drop(received);
            assert!(is_unread(&writer), "it was the last");
            // Bytes alone, either way.
            assert_eq!(pair.send(io, text, vec![]).result, Ok(()));
            check(&pair.receive(io, 20, 0), text, 0);
            let (reader, writer) = pipe().unwrap();
            assert_eq!(pair.send(io, text, vec![reader.into()]).result, Ok(()));
            assert_eq!(pair.plain_receive(io), text);
            assert!(is_unread(&writer), "a plain receive closes them");
        }
        let (reader, writer) = pipe().unwrap();
        let copies: Vec<OwnedFd> = (0..253).map(|_| reader.try_clone().unwrap().into()).collect();
        drop(reader);
        assert_eq!(pair.send(io, b"x", copies).bytes, 1);
        check(&pair.receive(io, 20, 253), b"x", 253);
        assert!(is_unread(&writer));
    });
}

/// Documented: `to` says where they go; `from` tells where they come from.
fn by_datagrams(subject: &Subject) {
    let io: Io = subject.io();
    let addresses = ["fds-near", "fds-far"].map(|what| UnixAddress::abstract_name(name(subject, what)));
    let [near, far] = addresses.clone().map(|address| io.bind_unix_datagram(address).unwrap());
    let [here, there] = addresses;
    let (reader, writer) = pipe().unwrap();
    let sent = finish(&io, SendFds::new(near, "x", vec![reader.into()]).to(there));
    assert_eq!((sent.bytes, sent.result, sent.unsent.len()), (1, Ok(()), 0));
    let received = receive(&io, far, 4);
    check(&received, b"x", 1);
    assert_eq!(received.from, Some(here.clone()));
    drop(received);
    assert!(is_unread(&writer));
    let nameless = io.bind_unix_datagram(UnixAddress::default()).unwrap();
    assert_eq!(finish(&io, SendFds::new(nameless, "", vec![]).to(here)).result, Ok(()));
    let received = receive(&io, near, 4);
    check(&received, b"", 0);
    assert_eq!(received.from, Some(UnixAddress::default()));
    // Nowhere, and nobody.
    let bad =
        [(UnixAddress::default(), ErrorKind::InvalidInput), ("/nowhere/at/all".into(), ErrorKind::NotFound)];
    for (to, error) in bad {
        let sent = finish(&io, SendFds::new(near, "x", vec![File::open("/dev/null").unwrap().into()]).to(to));
        assert_eq!((kind(sent.result), sent.bytes, sent.unsent.len()), (Some(error), 0, 1));
    }
    let sent = send(&io, near, b"x", vec![File::open("/dev/null").unwrap().into()]);
    assert_eq!((kind(sent.result), sent.unsent.len()), (Some(ErrorKind::NotConnected), 1));
}

/// Documented: an empty record isn't the end, with descriptors or without.
fn by_records(subject: &Subject) {
    let io: Io = subject.io();
    let (one, other) = io.unix_seqpacket_pair().unwrap();
    let file = || OwnedFd::from(File::open("/dev/null").unwrap());
    let got = Slot::new();
    for count in [0, 1, 0, 2] {
        let descriptors = (0..count).map(|_| file()).collect();
        io.submit(SendFds::new(one, "", descriptors), |_, _, sent| assert!(sent.result.is_ok()));
    }
    io.run().unwrap();
    io.close(one);
    for _ in 0..6 {
        io.submit(RecvFds::new(other, vec![0; 9], 2), keep::<Received>(&got));
    }
    io.run().unwrap();
    let got: Vec<Received> = got.take();
    for (received, count) in got.iter().zip([0, 1, 0, 2, 0, 0]) {
        check(received, b"", count);
    }
    assert!(got.iter().map(|received| received.end_of_stream).eq([false, false, false, false, true, true]));
    let sent = send(&io, other, b"x", vec![file()]);
    assert_eq!((kind(sent.result), sent.unsent.len()), (Some(ErrorKind::BrokenPipe), 1));
    // The receiving half.
    let (_one, other) = io.unix_seqpacket_pair().unwrap();
    io.shutdown(other, nbio::Half::Read, |_, _, shut| assert!(shut.is_ok()));
    io.run().unwrap();
    let received = receive(&io, other, 1);
    check(&received, b"", 0);
    assert!(received.end_of_stream);
}

/// Documented: `lost` and `truncated`, each for itself; what came is closed.
fn over_messages_no_room(subject: &Subject) {
    on_both(subject, |io, pair| {
        for (most, room) in (0..4).flat_map(|most| [(most, 3), (most, 5)]) {
            let (reader, writer) = pipe().unwrap();
            let copies = (0..3).map(|_| reader.try_clone().unwrap().into()).collect();
            drop(reader);
            assert_eq!(pair.send(io, b"three", copies).result, Ok(()));
            let received = pair.receive(io, room, most);
            assert_eq!((received.data(), received.result), (&b"three"[..room], Ok(())));
            assert_eq!((received.lost, received.truncated), (most < 3, room < 5), "{most} {room}");
            assert_eq!(received.descriptors.len(), if most < 3 { 0 } else { 3 });
            drop(received);
            assert!(is_unread(&writer));
        }
        let received = pair.receive(io, 0, 1);
        assert_eq!(kind(received.result), Some(ErrorKind::InvalidInput));
        assert_eq!(kind(pair.receive(io, 4, 254).result), Some(ErrorKind::InvalidInput));
        let copies: Vec<OwnedFd> = (0..254).map(|_| File::open("/dev/null").unwrap().into()).collect();
        let sent = pair.send(io, b"x", copies);
        assert_eq!((kind(sent.result), sent.unsent.len()), (Some(ErrorKind::InvalidInput), 254));
    });
}

/// Guarantee 3: a send that waits for room and is cancelled gives them back.
fn over_messages_unsent(subject: &Subject) {
    for ticks in 0..3 {
        on_both(subject, |io, pair| {
            // Until it would have to wait: the loop waits for one that can't go.
            let (reader, writer) = pipe().unwrap();
            let mut descriptors: Vec<OwnedFd> = vec![reader.into()];
            loop {
                let sent = pair.send_within(io, &[7; 8192], descriptors, Duration::from_millis(3), ticks);
                match sent.result {
                    Ok(()) => descriptors = Vec::new(),
                    Err(error) => {
                        assert!(matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Cancelled));
                        assert_eq!(sent.bytes, 0);
                        break;
                    }
                }
            }
            let (reader, kept) = pipe().unwrap();
            let sent = pair.send_within(io, &[7; 8192], vec![reader.into()], Duration::from_millis(3), ticks);
            assert_eq!((sent.bytes, sent.unsent.len()), (0, 1));
            drop(sent);
            assert!(is_unread(&kept));
            pair.close(io);
            assert!(is_unread(&writer), "it was in the queue and went with it");
        });
    }
}

/// Guarantees 3, 4 and 5: descriptors of a receive that nobody hears of are closed, and its buffer is dropped once.
fn over_messages_ended(subject: &Subject) {
    let ways = (0..4).flat_map(|ticks| [false, true].map(|remove| (ticks, remove)));
    for ((ticks, remove), first) in ways.flat_map(|way| [(way, false), (way, true)]) {
        on_both(subject, |io, pair| {
            let (reader, writer) = pipe().unwrap();
            let (ended, buffers) = (Slot::new(), Drops::new());
            if first {
                assert_eq!(pair.send(io, b"", vec![reader.into()]).result, Ok(()));
                let id = pair.receive_later(io, Tracked::new(64, &buffers), &ended);
                end(io, id, ticks, remove);
            } else {
                let id = pair.receive_later(io, Tracked::new(64, &buffers), &ended);
                turn(io, 1);
                let late = pair.send_within(io, b"", vec![reader.into()], HOUR, ticks);
                assert_eq!(late.result, Ok(()));
                end(io, id, ticks, remove);
            }
            idle(io);
            assert!(ended.take().into_iter().all(|end| end == Ok(1) || end == Err(ErrorKind::Cancelled)));
            assert_eq!(buffers.count(), 1);
            // Whatever nobody took is in the queue, and goes with it.
            pair.close(io);
            assert!(is_unread(&writer), "{ticks} ticks, sent first: {first}, remove: {remove}");
        });
    }
}

fn end(io: &Io, id: OpId, ticks: usize, remove: bool) {
    turn(io, ticks);
    let _ = if remove { io.remove(id) } else { io.cancel(id) };
}
