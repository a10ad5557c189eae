//! The same by nbio.

use std::net::UdpSocket as Socket;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use nbio::{Datagram, Done, EventLoop, Operation, UdpOptions, UdpSocket, op};

use super::{BATCH, Count, Limits, SIZE, stamp};

/// Nothing takes so long unless something was lost.
const PATIENCE: Duration = Duration::from_secs(5);

struct Sender {
    socket: UdpSocket,
    limits: Limits,
    /// A send takes a whole batch, by segments.
    segmented: bool,
    sent: usize,
    answered: usize,
    /// Sends that are under way.
    sending: usize,
    /// Those that no send has.
    buffers: Vec<Vec<u8>>,
    failed: Option<anyhow::Error>,
}

pub fn send(socket: Socket, limits: Limits, segmented: bool) -> anyhow::Result<()> {
    let io = EventLoop::new()?;
    let socket = io.adopt(socket)?;
    let mut sender = Sender {
        socket,
        limits,
        segmented,
        sent: 0,
        answered: 0,
        sending: 0,
        buffers: Vec::new(),
        failed: None,
    };
    fill(&mut sender, &io);
    hear(&sender, &io, [0; 8]);
    io.run_until_with(&mut sender, |sender| {
        sender.failed.is_some() || sender.answered == sender.limits.total
    })?;
    sender.failed.map_or(Ok(()), Err)
}

/// Sends what the window allows. A batch at a time, as a loop of system calls does: several would use as many buffers,
/// which then don't stay in the core's cache.
fn fill(sender: &mut Sender, io: &EventLoop<Sender>) {
    let (step, at_once) = if sender.segmented { (BATCH, 1) } else { (1, BATCH) };
    let Limits { total, window } = sender.limits;
    while sender.sending < at_once && sender.sent < total && sender.sent + step <= sender.answered + window {
        let mut buffer = sender.buffers.pop().unwrap_or_else(|| vec![0; step * SIZE]);
        stamp(&mut buffer, sender.sent);
        let send = op::SendDatagram::new(sender.socket, buffer);
        let send = if sender.segmented { send.segment_size(SIZE as u16) } else { send };
        io.submit(send, sent);
        sender.sending += 1;
        sender.sent += step;
    }
}

fn sent(sender: &mut Sender, io: &EventLoop<Sender>, done: Done<Vec<u8>>) {
    if done.bytes != done.buf.len() {
        sender.failed = Some(anyhow!("{} bytes were sent: {:?}", done.bytes, done.result));
    }
    sender.buffers.push(done.buf);
    sender.sending -= 1;
    fill(sender, io);
}

fn hear(sender: &Sender, io: &EventLoop<Sender>, buf: [u8; 8]) {
    io.submit(op::RecvFrom::new(sender.socket, buf).timeout(PATIENCE), |sender, io, answer| {
        match answer.result {
            Ok(()) => sender.answered = usize::from_le_bytes(answer.buf),
            Err(error) => sender.failed = Some(anyhow!("no answer: was something lost? {error}")),
        }
        fill(sender, io);
        hear(sender, io, answer.buf);
    });
}

/// Receives that wait at once; with segments one is enough, and keeps the order.
const AT_ONCE: usize = 1;

struct Receiver {
    socket: UdpSocket,
    count: Count,
    failed: Option<anyhow::Error>,
    /// Answers that are being sent.
    answering: usize,
}

pub fn receive(socket: Socket, total: usize, segmented: bool) -> anyhow::Result<()> {
    let io = EventLoop::new()?;
    let socket = io.adopt(socket)?;
    io.set_udp_options(socket, UdpOptions::default().gro(segmented))?;
    let mut receiver = Receiver { socket, count: Count::new(total), failed: None, answering: 0 };
    for _ in 0..AT_ONCE {
        let room = if segmented { 65_535 } else { SIZE };
        io.submit(op::RecvFrom::new(socket, Vec::with_capacity(room)).timeout(PATIENCE), received);
    }
    let over = |receiver: &mut Receiver| {
        receiver.failed.is_some() || (receiver.count.over() && receiver.answering == 0)
    };
    io.run_until_with(&mut receiver, over)?;
    receiver.failed.map_or(Ok(()), Err)
}

fn received(receiver: &mut Receiver, io: &EventLoop<Receiver>, datagram: Datagram<Vec<u8>>) {
    if let Err(error) = take(receiver, io, &datagram) {
        receiver.failed = Some(error);
        return;
    }
    io.submit(op::RecvFrom::new(receiver.socket, datagram.buf).timeout(PATIENCE), received);
}

fn take(
    receiver: &mut Receiver,
    io: &EventLoop<Receiver>,
    datagram: &Datagram<Vec<u8>>,
) -> anyhow::Result<()> {
    datagram.result.context("receiving")?;
    ensure!(!datagram.truncated, "a datagram was cut");
    datagram.segments().try_for_each(|segment| receiver.count.take(segment))?;
    if let (Some(answer), Some(sender)) = (receiver.count.answer(), datagram.from) {
        receiver.answering += 1;
        io.send_to(receiver.socket, answer, sender, |receiver, _, done| {
            receiver.answering -= 1;
            if let Err(error) = done.result {
                receiver.failed = Some(anyhow!("answering: {error}"));
            }
        });
    }
    Ok(())
}
