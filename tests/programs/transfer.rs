//! The steps that move bytes, with every kind of buffer.

use std::rc::Rc;

use nbio::{Done, IoBuf, IoBufMut, Slice, op};

use super::content::{self, Moved, Sent};
use super::judge;
use super::perform::{On, hand_over, record};
use super::step::{Buffer, Plan, Transfer};
use super::tracked::{Ledger, Tracked};
use super::world::{Io, Name, What, World};

const INLINE: usize = 64;

/// Puts the newest operation into its direction's list: 0 receives, 1 sends.
pub fn enqueue(world: &World, on: On, lane: usize) {
    if let On::Stream { end: Some(end), .. } = on {
        let mut inner = world.inner.borrow_mut();
        let operation = inner.records.len() - 1;
        inner.ends[end].lanes[lane].push(operation);
    }
}

/// A vector with something in it already.
fn prefilled(size: usize) -> Vec<u8> {
    let mut vec = Vec::with_capacity(size);
    vec.resize(size.min(3), 0xEE);
    vec
}

pub fn recv(world: &Rc<World>, io: &Io, end: usize, transfer: Transfer, plan: &Plan) {
    let Transfer { size, append, .. } = transfer;
    match transfer.buffer {
        Buffer::Vec => {
            let buf = prefilled(size);
            let room = if append { buf.capacity() - buf.len() } else { buf.capacity() };
            recv_into(world, io, end, transfer, plan, buf, room);
        }
        Buffer::Boxed => {
            let room = if append { 0 } else { size };
            recv_into(world, io, end, transfer, plan, vec![0; size].into_boxed_slice(), room);
        }
        Buffer::Inline => {
            recv_into(world, io, end, transfer, plan, [0; INLINE], if append { 0 } else { INLINE });
        }
        Buffer::Slice => {
            let buf = prefilled(size);
            let begin = buf.len().min(1);
            let room = buf.capacity() - if append { buf.len() } else { begin };
            recv_into(world, io, end, transfer, plan, buf.slice(begin..), room);
        }
    }
}

fn recv_into<B: IoBufMut>(
    world: &Rc<World>,
    io: &Io,
    end: usize,
    transfer: Transfer,
    plan: &Plan,
    buf: B,
    room: usize,
) {
    let (on, whole) = (On::of(world, end), transfer.whole);
    let (guard, at) = record(world, io, What::Receive { whole, room }, on, plan);
    world.inner.borrow_mut().records[at].bad_input = whole.map_or(room == 0, |want| want > room);
    enqueue(world, on, 0);
    let mut operation = op::Recv::new(on.stream(), Tracked::new(buf, &world.ledger));
    if let Some(want) = whole {
        operation = operation.exact(want);
    }
    if transfer.append {
        operation = operation.append();
    }
    hand_over(world, io, operation, plan, guard, |guard, io, done: Done<Tracked<B>>| {
        let (data, bytes) = (done.data(), done.bytes);
        guard.world.check(data.len() == bytes, || format!("data() has {} of {bytes} bytes", data.len()));
        judge::received(guard, data);
        judge::ended(guard, io, bytes, done.result);
    });
}

pub fn recv_vectored(world: &Rc<World>, io: &Io, end: usize, transfer: Transfer, plan: &Plan) {
    let piece = |size: usize| Tracked::new(prefilled(size), &world.ledger);
    let bufs = [piece(transfer.size / 3), piece(transfer.size / 2), piece(transfer.size / 5)];
    let old = bufs.each_ref().map(|piece| if transfer.append { piece.buf.len() } else { 0 });
    let room = bufs.iter().zip(old).map(|(piece, old)| piece.buf.capacity() - old).sum();
    let (on, whole) = (On::of(world, end), transfer.whole);
    let (guard, at) = record(world, io, What::Receive { whole, room }, on, plan);
    world.inner.borrow_mut().records[at].bad_input = whole.map_or(room == 0, |want| want > room);
    enqueue(world, on, 0);
    let mut operation = op::RecvVectored::new(on.stream(), bufs);
    if let Some(want) = whole {
        operation = operation.exact(want);
    }
    if transfer.append {
        operation = operation.append();
    }
    hand_over(world, io, operation, plan, guard, move |guard, io, done| {
        let pieces = done.buf.iter().zip(old).flat_map(|(piece, old)| &piece.buf[old..]);
        let data: Vec<u8> = pieces.copied().collect();
        guard.world.check(data.len() == done.bytes, || format!("{} of {} bytes", data.len(), done.bytes));
        judge::received(guard, &data);
        judge::ended(guard, io, done.bytes, done.result);
    });
}

/// The content of the operation that is to be submitted next.
fn next_content(world: &World, length: usize) -> &'static [u8] {
    content::of(world.inner.borrow().records.len(), length)
}

/// Writes a send down, and where it belongs in its stream.
fn record_send(
    world: &Rc<World>,
    io: &Io,
    on: On,
    length: usize,
    whole: bool,
    plan: &Plan,
) -> super::world::Guard {
    let (guard, number) = record(world, io, What::Send { whole, length }, on, plan);
    enqueue(world, on, 1);
    if let On::Stream { end: Some(end), name: Name::Good, .. } = on {
        let sent = Sent { number, length, moved: Moved::Known(0) };
        world.inner.borrow_mut().ends[end].sends.push(sent);
    }
    guard
}

pub fn send(world: &Rc<World>, io: &Io, end: usize, transfer: Transfer, plan: &Plan) {
    let size = if matches!(transfer.buffer, Buffer::Inline) { INLINE } else { transfer.size };
    let content = next_content(world, size);
    let ledger = &world.ledger;
    match transfer.buffer {
        Buffer::Vec => send_from(world, io, end, transfer, plan, Tracked::new(content.to_vec(), ledger)),
        Buffer::Boxed => send_from(world, io, end, transfer, plan, shared(content, ledger)),
        Buffer::Inline => {
            let bytes: [u8; INLINE] = content.try_into().expect("of this length");
            send_from(world, io, end, transfer, plan, Tracked::new(bytes, ledger));
        }
        Buffer::Slice => send_from(world, io, end, transfer, plan, sliced(content, ledger)),
    }
}

fn shared(content: &[u8], ledger: &Rc<Ledger>) -> Tracked<Rc<[u8]>> {
    Tracked::new(content.into(), ledger)
}

fn sliced(content: &[u8], ledger: &Rc<Ledger>) -> Slice<Tracked<Vec<u8>>> {
    let padded = [&[0xEE; 5], content, &[0xEE; 9]].concat();
    Tracked::new(padded, ledger).slice(5..5 + content.len())
}

fn send_from<B: IoBuf>(world: &Rc<World>, io: &Io, end: usize, transfer: Transfer, plan: &Plan, buf: B) {
    let (on, whole, length) = (On::of(world, end), transfer.whole.is_some(), buf.bytes().len());
    let guard = record_send(world, io, on, length, whole, plan);
    let mut operation = op::Send::new(on.stream(), buf);
    if whole {
        operation = operation.all();
    }
    hand_over(world, io, operation, plan, guard, move |guard, io, done: Done<B>| {
        let intact = done.buf.bytes() == content::of(guard.operation, length);
        guard.world.check(intact, || "somebody wrote into a buffer that was sent".into());
        judge::sent(guard, done.bytes);
        judge::ended(guard, io, done.bytes, done.result);
    });
}

pub fn send_vectored(world: &Rc<World>, io: &Io, end: usize, transfer: Transfer, plan: &Plan) {
    let (on, whole, length) = (On::of(world, end), transfer.whole.is_some(), transfer.size);
    let (first, second) = next_content(world, length).split_at(length / 3);
    let bufs: Vec<_> = [first, &[], second].iter().map(|part| shared(part, &world.ledger)).collect();
    let guard = record_send(world, io, on, length, whole, plan);
    let mut operation = op::SendVectored::new(on.stream(), bufs);
    if whole {
        operation = operation.all();
    }
    hand_over(world, io, operation, plan, guard, |guard, io, done| {
        judge::sent(guard, done.bytes);
        judge::ended(guard, io, done.bytes, done.result);
    });
}
