//! Every type of buffer, users' own ones, and buffers that panic.

use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use nbio::{Done, EventLoop, IoBuf, IoBufMut, Lent, Slice, TcpStream};

use crate::peer::Peer;
use crate::support::{Case, Counted, Drops, Slot, Subject};
use crate::wire::{Io, drive, keep, noise};

pub const CASES: &[Case] = &[
    Case { name: "every_type_of_buffer_sends", run: every_type_sends },
    Case { name: "every_type_of_buffer_receives", run: every_type_receives },
    Case { name: "slices_receive_into_their_part_only", run: slices_receive_into_their_part },
    Case { name: "slice_beyond_the_initialised_bytes_panics_at_once", run: slice_beyond_panics },
    Case { name: "users_own_buffer_types_work", run: users_own_buffer_types_work },
    Case { name: "memory_is_asked_for_once_where_the_buffer_stays", run: memory_is_asked_for_once },
    Case { name: "large_and_aligned_buffers_and_closures", run: large_and_aligned },
    Case { name: "panic_of_a_buffer_reaches_the_caller_of_submit", run: panic_reaches_the_caller },
    Case { name: "panic_of_a_later_buffer_of_a_vectored_operation", run: panic_of_a_later_buffer },
    Case { name: "panic_of_a_buffer_in_a_callback_reaches_the_tick", run: panic_in_a_callback },
    #[cfg(feature = "bytes")]
    Case { name: "bytes_and_bytes_mut", run: bytes_crate::bytes_and_bytes_mut },
];

const TEXT: &[u8] = b"a line of text";

struct Wire {
    io: Io,
    stream: TcpStream,
    peer: Peer,
}

impl Wire {
    fn new(subject: &Subject) -> Wire {
        let io: Io = subject.io();
        let (stream, peer) = subject.pair(&io);
        peer.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Wire { io, stream, peer }
    }

    /// Sends a buffer that holds `expected`; the buffer comes back.
    fn sends<B: IoBuf>(&mut self, buf: B, expected: &[u8]) -> B {
        let ended = Slot::new();
        self.io.send_all(self.stream, buf, keep(&ended));
        self.io.run().unwrap();
        let done: Done<B> = ended.one();
        assert_eq!((done.result, done.bytes, done.data()), (Ok(()), expected.len(), expected));
        let mut got = vec![0; expected.len()];
        self.peer.read_exact(&mut got).unwrap();
        assert_eq!(got, expected);
        done.buf
    }

    /// Receives `TEXT` into a buffer with room for it; the buffer comes back.
    fn receives<B: IoBufMut>(&mut self, buf: B) -> Done<B> {
        self.peer.write_all(TEXT).unwrap();
        let ended = Slot::new();
        self.io.recv_exact(self.stream, buf, TEXT.len(), keep(&ended));
        self.io.run().unwrap();
        let done: Done<B> = ended.one();
        assert_eq!((done.result, done.bytes, done.data()), (Ok(()), TEXT.len(), TEXT));
        done
    }
}

/// Documented: the types that implement `IoBuf`, and `Slice` of any of them.
fn every_type_sends(subject: &Subject) {
    let mut wire = Wire::new(subject);
    let array: [u8; 14] = TEXT.try_into().unwrap();
    wire.sends(TEXT.to_vec(), TEXT);
    wire.sends(TEXT.to_vec().into_boxed_slice(), TEXT);
    wire.sends(array, TEXT);
    wire.sends(Box::new(array), TEXT);
    wire.sends(TEXT, TEXT);
    wire.sends("a line of text", TEXT);
    wire.sends(String::from("a line of text"), TEXT);
    let shared: Rc<[u8]> = TEXT.into();
    let back = wire.sends(shared.clone(), TEXT);
    assert!(Rc::ptr_eq(&shared, &back));
    let shared: Arc<[u8]> = TEXT.into();
    let back = wire.sends(shared.clone(), TEXT);
    assert!(Arc::ptr_eq(&shared, &back));

    assert_eq!(wire.sends(TEXT.to_vec().slice(2..6), b"line").into_inner(), TEXT);
    wire.sends(TEXT.to_vec().into_boxed_slice().slice(2..=5), b"line");
    wire.sends(array.slice(..6), b"a line");
    wire.sends(Box::new(array).slice(10..), b"text");
    wire.sends(TEXT.slice(..), TEXT);
    wire.sends("a line of text".slice(2..6), b"line");
    wire.sends(String::from("a line of text").slice(2..6), b"line");
    wire.sends(Rc::<[u8]>::from(TEXT).slice(2..6), b"line");
    wire.sends(Arc::<[u8]>::from(TEXT).slice(2..6), b"line");
    wire.sends(TEXT.slice(2..9).slice(1..4), b"ine");
    wire.sends(TEXT.slice(14..), b"");
}

/// Documented: the types that implement `IoBufMut`.
fn every_type_receives(subject: &Subject) {
    let mut wire = Wire::new(subject);
    assert_eq!(wire.receives(Vec::with_capacity(20)).buf.len(), 14);
    assert_eq!(wire.receives(vec![1; 50]).buf.len(), 14);
    assert_eq!(wire.receives(vec![1; 50].into_boxed_slice()).buf.len(), 50);
    assert_eq!(wire.receives([1; 14]).buf, TEXT);
    assert_eq!(wire.receives([1; 20]).buf[14..], [1; 6]);
    assert_eq!(wire.receives(Box::new([1; 20])).buf[14..], [1; 6]);
    let slice: Slice<Slice<[u8; 30]>> = [1; 30].slice(5..).slice(5..);
    let inner = wire.receives(slice).buf.into_inner().into_inner();
    assert_eq!((inner[..10].to_vec(), &inner[10..24], inner[24..].to_vec()), (vec![1; 10], TEXT, vec![1; 6]));
}

/// Documented: a receive into a slice touches its part only; a `Vec` ends where the last received byte does.
fn slices_receive_into_their_part(subject: &Subject) {
    let mut wire = Wire::new(subject);
    let mut vec = Vec::with_capacity(100);
    vec.extend_from_slice(b"0123456789");
    // The part may reach into the spare capacity.
    let done = wire.receives(vec.slice(4..60));
    assert_eq!(done.buf.into_inner(), [b"0123", TEXT].concat());

    // A short receive cuts a Vec off behind its bytes, as it does without a slice.
    let done = wire.receives(vec![b'x'; 40].slice(3..30));
    let vec = done.buf.into_inner();
    assert_eq!((vec.capacity(), vec), (40, [b"xxx", TEXT].concat()));

    // No more than the part, though more is there.
    wire.peer.write_all(b"abcdef").unwrap();
    let ended = Slot::new();
    wire.io.recv_exact(wire.stream, [b'x'; 8].slice(2..5), 3, keep(&ended));
    wire.io.run().unwrap();
    let done: Done<Slice<[u8; 8]>> = ended.one();
    assert_eq!(done.data(), b"abc");
    assert_eq!(done.filled().into_inner().into_inner(), *b"xxabcxxx");
    wire.io.recv_exact(wire.stream, [b'x'; 8].slice(..3), 3, keep(&ended));
    wire.io.run().unwrap();
    assert_eq!(ended.one().buf.into_inner(), *b"defxxxxx");
}

/// Documented: "a Vec's `slice(a..)` with a > len panics at once".
fn slice_beyond_panics(_: &Subject) {
    let panics = |range: (usize, usize), make: fn() -> Vec<u8>| {
        let slice = || make().slice(range.0..range.1).into_inner();
        assert!(catch_unwind(slice).is_err(), "{range:?}");
    };
    let with_spare_room = || {
        let mut vec = Vec::with_capacity(100);
        vec.extend_from_slice(b"0123");
        vec
    };
    assert_eq!(with_spare_room().slice(4..).bytes(), b"");
    panics((5, 100), with_spare_room);
    panics((5, 5), with_spare_room);
    panics((3, 2), with_spare_room);
    panics((1, 10), || Vec::with_capacity(100));
    assert!(catch_unwind(|| "text".slice(5..).into_inner()).is_err());
    assert!(catch_unwind(|| [0; 4].slice(5..).into_inner()).is_err());
}

/// A message with a header that is not received into.
struct Frame {
    header: [u8; 4],
    body: Vec<u8>,
}

impl IoBuf for Frame {
    fn bytes(&self) -> &[u8] {
        &self.body
    }
}

impl IoBufMut for Frame {
    fn as_uninit(&mut self) -> Lent<'_> {
        Lent::from(&mut self.body)
    }
}

/// A buffer of which only the second half takes part.
struct SecondHalf(Box<[u8; 64]>);

impl IoBuf for SecondHalf {
    fn bytes(&self) -> &[u8] {
        &self.0[32..]
    }
}

impl IoBufMut for SecondHalf {
    fn as_uninit(&mut self) -> Lent<'_> {
        Lent::from(&mut self.0[..]).slice(32..)
    }
}

/// Documented: "traits that users can implement safely".
fn users_own_buffer_types_work(subject: &Subject) {
    let mut wire = Wire::new(subject);
    let done = wire.receives(Frame { header: *b"head", body: Vec::with_capacity(40) });
    assert_eq!((&done.buf.header, &done.buf.body[..]), (b"head", TEXT));
    wire.sends(done.buf, TEXT);
    let done = wire.receives(SecondHalf(Box::new([0; 64])));
    assert_eq!((&done.buf.0[..32], &done.buf.0[32..46]), (&[0; 32][..], TEXT));
    let done = wire.receives(done.buf.slice(5..));
    assert_eq!(done.buf.into_inner().0[37..51], *TEXT);
}

/// Notes how often it was asked for its memory, which lies in itself.
struct Inline {
    memory: [u8; 40],
    asked: Rc<Slot<usize>>,
}

impl IoBuf for Inline {
    fn bytes(&self) -> &[u8] {
        &self.memory
    }
}

impl IoBufMut for Inline {
    fn as_uninit(&mut self) -> Lent<'_> {
        self.asked.put(self.memory.as_ptr().addr());
        Lent::from(&mut self.memory[..])
    }
}

/// Documented: "the engine first moves the value to its final place, then asks for the memory once".
fn memory_is_asked_for_once(subject: &Subject) {
    let io: Io = subject.io();
    let (stream, mut peer) = subject.pair(&io);
    let asked = Rc::new(Slot::new());
    let ended = Slot::new();
    io.recv_exact(stream, Inline { memory: [0; 40], asked: asked.clone() }, 14, keep(&ended));
    for byte in TEXT {
        peer.write_all(&[*byte]).unwrap();
        io.tick(Some(Duration::ZERO)).unwrap();
    }
    // Others come and go meanwhile; the memory stays where it is.
    for _ in 0..1000 {
        io.next_tick(|_, _, _| ());
    }
    io.run().unwrap();
    let done: Done<Inline> = ended.one();
    assert_eq!((done.data(), asked.len()), (TEXT, 1));
}

#[repr(align(256))]
struct Aligned([u8; 256]);

impl IoBuf for Aligned {
    fn bytes(&self) -> &[u8] {
        assert_eq!((&raw const *self).addr() % 256, 0);
        &self.0
    }
}

impl IoBufMut for Aligned {
    fn as_uninit(&mut self) -> Lent<'_> {
        assert_eq!((&raw mut *self).addr() % 256, 0);
        Lent::from(&mut self.0[..])
    }
}

/// Documented: what doesn't fit a slot by size or alignment spills; nobody notices.
fn large_and_aligned(subject: &Subject) {
    let mut wire = Wire::new(subject);
    let large: [u8; 5000] = noise(5000, 1).try_into().unwrap();
    wire.sends(large, &large);
    assert_eq!(wire.receives([1; 5000]).buf[14..], [1; 4986]);
    assert_eq!(wire.receives(Aligned([1; 256])).buf.0[14..], [1; 242]);
    wire.sends(Aligned([3; 256]), &[3; 256]);

    let (baggage, seen) = (noise(5000, 2), Slot::new());
    let (array, put): ([u8; 5000], _) = (baggage.clone().try_into().unwrap(), seen.clone());
    wire.io.send_all(wire.stream, "x", move |_, _, _| put.put(array));
    wire.io.run().unwrap();
    assert!(seen.one()[..] == baggage[..]);
}

/// A buffer that panics when it is asked for its memory.
struct Bomb {
    armed: bool,
    memory: [u8; 8],
    _counted: Counted,
}

impl Bomb {
    fn new(armed: bool, drops: &Drops) -> Bomb {
        Bomb { armed, memory: [0; 8], _counted: drops.counted() }
    }
}

impl IoBuf for Bomb {
    fn bytes(&self) -> &[u8] {
        assert!(!self.armed, "the buffer's own panic");
        &self.memory
    }
}

impl IoBufMut for Bomb {
    fn as_uninit(&mut self) -> Lent<'_> {
        assert!(!self.armed, "the buffer's own panic");
        Lent::from(&mut self.memory[..])
    }
}

/// Runs what submits; it must panic, with the buffer's own panic.
fn panics(submit: impl FnOnce()) {
    let panic = catch_unwind(AssertUnwindSafe(submit)).expect_err("the panic reaches the caller");
    assert!(panic.downcast_ref::<&str>().is_some_and(|text| *text == "the buffer's own panic"));
}

/// A callback that must not run, and whose drop is counted.
fn never<T>(drops: &Drops) -> impl FnOnce(&mut (), &EventLoop<()>, T) + use<T> {
    let counted = drops.counted();
    move |_, _, _| {
        let _ = &counted;
        unreachable!("the operation was never submitted")
    }
}

/// Documented: "the slot is freed, buffer and closure dropped, the panic reaches the caller".
fn panic_reaches_the_caller(subject: &Subject) {
    let mut wire = Wire::new(subject);
    let (buffers, callbacks) = (Drops::new(), Drops::new());
    let stream = wire.stream;
    for round in 1..=3 {
        panics(|| drop_id(wire.io.recv(stream, Bomb::new(true, &buffers), never(&callbacks))));
        panics(|| drop_id(wire.io.recv_exact(stream, Bomb::new(true, &buffers), 3, never(&callbacks))));
        panics(|| drop_id(wire.io.send(stream, Bomb::new(true, &buffers), never(&callbacks))));
        assert_eq!((buffers.count(), callbacks.count(), wire.io.in_flight()), (3 * round, 3 * round, 0));
    }
    wire.io.run().unwrap();
    wire.receives([0; 20]);
    wire.sends("and back", b"and back");
}

fn drop_id(_: nbio::OpId) {}

/// As above, for the second buffer of three: the first was asked already, the third never is.
fn panic_of_a_later_buffer(subject: &Subject) {
    let mut wire = Wire::new(subject);
    let (buffers, callbacks) = (Drops::new(), Drops::new());
    let stream = wire.stream;
    let three = || [false, true, false].map(|armed| Bomb::new(armed, &buffers));
    for round in 1..=3 {
        panics(|| drop_id(wire.io.recv_vectored(stream, three(), never(&callbacks))));
        panics(|| drop_id(wire.io.send_vectored(stream, Vec::from(three()), never(&callbacks))));
        assert_eq!((buffers.count(), callbacks.count(), wire.io.in_flight()), (6 * round, 2 * round, 0));
    }
    wire.io.run().unwrap();
    wire.receives([0; 20]);
    wire.sends("and back", b"and back");
}

/// As above, where the caller is a callback: the panic comes out of the tick, and the loop goes on.
fn panic_in_a_callback(subject: &Subject) {
    let mut wire = Wire::new(subject);
    let (buffers, callbacks) = (Drops::new(), Drops::new());
    let (stream, bomb, callback) = (wire.stream, Bomb::new(true, &buffers), never(&callbacks));
    wire.io.next_tick(move |_, io, _| drop_id(io.recv(stream, bomb, callback)));
    let after = Slot::new();
    let put = after.clone();
    wire.io.next_tick(move |_, _, _| put.put(()));
    panics(|| drive(&wire.io, || false));
    assert_eq!((buffers.count(), callbacks.count()), (1, 1));
    wire.io.run().unwrap();
    after.one();
    wire.receives([0; 20]);
}

#[cfg(feature = "bytes")]
mod bytes_crate {
    use super::*;
    use bytes::{Bytes, BytesMut};
    use nbio::op;

    /// Documented: with the feature `bytes`, `Bytes` and `BytesMut` are buffers; a `BytesMut` is growable.
    pub fn bytes_and_bytes_mut(subject: &Subject) {
        let mut wire = Wire::new(subject);
        wire.sends(Bytes::from_static(TEXT), TEXT);
        wire.sends(BytesMut::from(TEXT), TEXT);
        wire.sends(Bytes::from_static(TEXT).slice(2..6), b"line");
        let done = wire.receives(BytesMut::with_capacity(40));
        assert_eq!(&done.buf[..], TEXT);
        let done = wire.receives(BytesMut::from(&[b'x'; 40][..]));
        assert_eq!(&done.buf[..], TEXT);
        let mut buf = BytesMut::with_capacity(64);
        buf.extend_from_slice(b"head");
        let done = wire.receives(IoBuf::slice(buf, 4..));
        assert_eq!(&done.buf.into_inner()[..], [b"head", TEXT].concat());

        let mut buf = BytesMut::with_capacity(64);
        buf.extend_from_slice(b"head");
        wire.peer.write_all(TEXT).unwrap();
        let ended = Slot::new();
        wire.io.submit(op::Recv::new(wire.stream, buf).append().exact(TEXT.len()), keep(&ended));
        wire.io.run().unwrap();
        let done: Done<BytesMut> = ended.one();
        assert_eq!((done.data(), &done.buf[..]), (TEXT, &[b"head", TEXT].concat()[..]));
        assert_eq!(wire.sends(done.buf.freeze(), &[b"head", TEXT].concat()).len(), 18);
    }
}
