//! Hand-written io_uring loop with what the kernel has newest for many small messages: multishot accept and receive, buffers
//! provided in a ring that the kernel picks from.

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU16, Ordering::Release};

use anyhow::{Context, bail};
use io_uring::squeue::Entry;
use io_uring::types::{BufRingEntry, Fd};
use io_uring::{cqueue, opcode};
use slab::Slab;

use super::BUFFER;
use crate::ring;

const ENTRIES: u32 = 1024;
/// How many buffers there are; a power of two.
const BUFFERS: u16 = 1024;
const GROUP: u16 = 0;

/// Marks the accept among the completions; sends carry a bit, all others a slab key.
const ACCEPT: u64 = u64::MAX;
const SEND: u64 = 1 << 32;

/// The ring of buffers that the kernel may fill, and their memory. Neither is ever freed: the kernel may be filling it.
struct Buffers {
    ring: *mut BufRingEntry,
    memory: *mut u8,
    tail: u16,
}

impl Buffers {
    fn new() -> anyhow::Result<Buffers> {
        let ring = Layout::array::<BufRingEntry>(BUFFERS.into())?.align_to(4096)?;
        let memory = Layout::from_size_align(BUFFERS as usize * BUFFER, 4096)?;
        let zeroed = |layout| {
            // SAFETY: neither is empty.
            let memory = unsafe { alloc_zeroed(layout) };
            if memory.is_null() { handle_alloc_error(layout) } else { memory }
        };
        let mut buffers = Buffers { ring: zeroed(ring).cast(), memory: zeroed(memory), tail: 0 };
        (0..BUFFERS).for_each(|id| buffers.give(id));
        Ok(buffers)
    }

    fn address(&self, id: u16) -> *mut u8 {
        self.memory.wrapping_add(id as usize * BUFFER)
    }

    /// The kernel may fill this buffer.
    fn give(&mut self, id: u16) {
        // SAFETY: an entry of the ring's memory. The kernel reads it when the tail is past it only.
        let entry = unsafe { &mut *self.ring.add((self.tail % BUFFERS) as usize) };
        entry.set_addr(self.address(id) as u64);
        entry.set_len(BUFFER as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail lies in the ring's first entry, is aligned, and is only written here.
        unsafe { &*BufRingEntry::tail(self.ring).cast::<AtomicU16>() }.store(self.tail, Release);
    }
}

struct Connection {
    socket: OwnedFd,
    /// Received and not sent whole yet: buffer, from where, to where. The first is being sent.
    unsent: VecDeque<(u16, usize, usize)>,
    /// There was no buffer: its receive is started again when there is.
    starved: bool,
    closed: bool,
}

impl Connection {
    fn receive(&self) -> Entry {
        opcode::RecvMulti::new(Fd(self.socket.as_raw_fd()), GROUP).build()
    }

    fn send(&self, buffers: &Buffers) -> Option<Entry> {
        let &(id, from, to) = self.unsent.front()?;
        let memory = buffers.address(id).wrapping_add(from);
        let send = opcode::Send::new(Fd(self.socket.as_raw_fd()), memory, (to - from) as u32);
        Some(send.flags(libc::MSG_NOSIGNAL).build())
    }
}

pub fn run() -> anyhow::Result<()> {
    let listener = super::listen()?;
    let mut ring = ring::build(ENTRIES).context("setting up the io_uring")?;
    let (mut submitter, mut queue, mut completions) = ring.split();
    let mut buffers = Buffers::new()?;
    // SAFETY: the ring's memory is aligned to a page and lives for ever.
    unsafe { submitter.register_buf_ring_with_flags(buffers.ring as u64, BUFFERS, GROUP, 0) }
        .context("registering buffers")?;
    // Saves a descriptor look-up per turn; older kernels do without.
    let _ = submitter.register_ring_fd();
    let mut connections = ManuallyDrop::new(Slab::<Connection>::with_capacity(1024));
    let mut entries = Vec::new();
    let accept = || {
        opcode::AcceptMulti::new(Fd(listener.as_raw_fd())).flags(libc::SOCK_CLOEXEC).build().user_data(ACCEPT)
    };
    entries.push(accept());
    loop {
        for entry in entries.drain(..) {
            // SAFETY: entries point to buffers only, which live for ever; one that is sent is given back when that ended.
            unsafe { ring::push(&submitter, &mut queue, &entry) }?;
        }
        ring::submit_and_wait(&submitter, &mut queue).context("io_uring_enter")?;
        completions.sync();
        for completion in &mut completions {
            let (data, result) = (completion.user_data(), completion.result());
            let more = cqueue::more(completion.flags());
            if data == ACCEPT {
                if result < 0 {
                    bail!("accept: {}", std::io::Error::from_raw_os_error(-result));
                }
                // SAFETY: a fresh descriptor from the accept, owned by nothing else.
                let socket = unsafe { OwnedFd::from_raw_fd(result) };
                let connection =
                    Connection { socket, unsent: VecDeque::new(), starved: false, closed: false };
                let slot = connections.vacant_entry();
                entries.push(connection.receive().user_data(slot.key() as u64));
                slot.insert(connection);
                if !more {
                    entries.push(accept());
                }
                continue;
            }
            let key = data as u32 as usize;
            let connection = &mut connections[key];
            if data & SEND != 0 {
                if sent(connection, result, &mut buffers) {
                    return Ok(());
                }
                entries.extend(connection.send(&buffers).map(|send| send.user_data(SEND | key as u64)));
            } else {
                let id = cqueue::buffer_select(completion.flags());
                let begin = received(connection, result, id, more);
                if begin {
                    entries.extend(connection.send(&buffers).map(|send| send.user_data(SEND | key as u64)));
                }
                if !more && !connection.closed && !connection.starved {
                    entries.push(connection.receive().user_data(key as u64));
                }
            }
            let connection = &mut connections[key];
            if connection.closed && connection.unsent.is_empty() {
                connections.remove(key);
            }
        }
        // Whoever found no buffer finds one now, or asks again.
        for (key, connection) in connections.iter_mut().filter(|(_, connection)| connection.starved) {
            connection.starved = false;
            entries.push(connection.receive().user_data(key as u64));
        }
    }
}

/// A receive has brought something, or ended; true if a send is to begin.
fn received(connection: &mut Connection, result: i32, id: Option<u16>, more: bool) -> bool {
    match (result, id) {
        (1.., Some(id)) => {
            connection.unsent.push_back((id, 0, result as usize));
            connection.unsent.len() == 1
        }
        _ => {
            connection.starved = -result == libc::ENOBUFS;
            connection.closed = !connection.starved && !more;
            false
        }
    }
}

/// A send has ended; true if the server is to end.
fn sent(connection: &mut Connection, result: i32, buffers: &mut Buffers) -> bool {
    let Some((id, from, to)) = connection.unsent.front_mut() else { return false };
    if result > 0 && *from + (result as usize) < *to {
        *from += result as usize;
        return false;
    }
    buffers.give(*id);
    let bytes = *to;
    connection.unsent.pop_front();
    if result > 0 {
        return super::echoed(bytes);
    }
    connection.unsent.drain(..).for_each(|(id, ..)| buffers.give(id));
    connection.closed = true;
    false
}
