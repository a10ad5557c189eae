//! The handle table: what is open, and which operations wait there.
//!
//! Every operation on a handle is in one of its lists. On a stream the receive-like and the send-like ones form
//! two queues of which only the head is with the backend; whatever has no order is in a third list.

use std::collections::BTreeMap;

use super::slots::{NONE, Slots};
use crate::backend::{RawDescriptor, SocketFile};
use crate::handle::{Id, LAST_GENERATION};

/// The list of a handle that an operation belongs to.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Receive-like, in order; of a file, whatever uses its cursor.
    Receive,
    /// Send-like, in order.
    Send,
    /// In no order: accepts, connect, closing the receiving half, places in files.
    Free,
}

impl Lane {
    pub(crate) const ALL: [Lane; 3] = [Lane::Receive, Lane::Send, Lane::Free];

    pub(crate) fn ordered(self) -> bool {
        self != Lane::Free
    }
}

/// A doubly linked list of slots, threaded through their headers.
#[derive(Copy, Clone, Debug)]
pub(crate) struct List {
    pub(crate) head: u32,
    pub(crate) tail: u32,
}

impl List {
    const EMPTY: List = List { head: NONE, tail: NONE };

    /// Appends a slot that is in no list.
    #[inline]
    pub(crate) fn push(&mut self, slots: &mut Slots, index: u32) {
        if self.tail == NONE {
            *self = List { head: index, tail: index };
            return;
        }
        self.push_behind_others(slots, index);
    }

    #[inline(never)]
    fn push_behind_others(&mut self, slots: &mut Slots, index: u32) {
        slots.header_mut(index).previous = self.tail;
        slots.header_mut(self.tail).next = index;
        self.tail = index;
    }

    /// Takes a slot out of the list.
    #[inline]
    pub(crate) fn unlink(&mut self, slots: &mut Slots, index: u32) {
        if self.head == index && self.tail == index {
            *self = List::EMPTY;
            return;
        }
        self.unlink_from_others(slots, index);
    }

    #[inline(never)]
    fn unlink_from_others(&mut self, slots: &mut Slots, index: u32) {
        let header = slots.header_mut(index);
        let (previous, next) = (header.previous, header.next);
        header.previous = NONE;
        header.next = NONE;
        match previous {
            NONE => self.head = next,
            _ => slots.header_mut(previous).next = next,
        }
        match next {
            NONE => self.tail = previous,
            _ => slots.header_mut(next).previous = previous,
        }
    }
}

/// How bytes go through a descriptor.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Means {
    /// As through a socket: recv(2) and send(2).
    #[default]
    Socket,
    /// read(2) and write(2), where the open file stands.
    File,
    /// As `File`, but the system may block though it is asked not to.
    Blocking,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum EntryState {
    Free,
    /// One operation's own: a connect is making it, or a poll looks at it. Nobody has its name.
    Unnamed,
    Open,
    /// Stale to everybody; waiting for its last operation, then for the close itself.
    Closing,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) generation: u64,
    pub(crate) descriptor: RawDescriptor,
    pub(crate) state: EntryState,
    lists: [List; 3],
    /// Operations in the lists.
    pub(crate) operations: u32,
    /// While `Closing`: the slot of the close.
    pub(crate) closer: u32,
    /// The close was given to the backend: the descriptor is no longer ours.
    pub(crate) close_submitted: bool,
    pub(crate) means: Means,
    /// Closing waits for unsent data (SO_LINGER), so it must not run on the loop's thread.
    pub(crate) lingers: bool,
    /// A receive that had taken bytes was removed: every later one fails.
    pub(crate) receive_broken: bool,
    /// What still comes is thrown away (a graceful close), so that its position doesn't matter.
    pub(crate) discarding: bool,
    /// A send that had sent only part of its bytes was removed: every later one fails.
    pub(crate) send_broken: bool,
    /// The receiving half was shut down: every later receive is at the end of the stream.
    pub(crate) receive_shut: bool,
    /// An operation was told that the peer reset the connection. The system tells it once, in whichever direction
    /// asks first, and then speaks of the end of the stream.
    pub(crate) was_reset: bool,
    /// What it receives and sends, or what it accepts does, are records.
    pub(crate) records: bool,
    /// Dropped futures have left something for whoever receives or accepts next: see `unread.rs`.
    pub(crate) has_unread: bool,
    /// Of a file: where the next read or write at the cursor begins.
    pub(crate) cursor: u64,
    /// Somebody is starting the operations of a lane; whoever comes by meanwhile leaves it to him.
    pub(crate) beginning: [bool; 3],
    next_free: u32,
}

/// What a loop has learnt of a socket and the system would not tell another one; it goes along with a detached one.
#[derive(Debug)]
pub(crate) struct Known {
    means: Means,
    lingers: bool,
    receive_broken: bool,
    send_broken: bool,
    receive_shut: bool,
    was_reset: bool,
    records: bool,
    cursor: u64,
    /// What is to be removed with it.
    file: Option<SocketFile>,
}

impl Entry {
    fn known(&self, file: Option<SocketFile>) -> Known {
        Known {
            means: self.means,
            lingers: self.lingers,
            receive_broken: self.receive_broken,
            send_broken: self.send_broken,
            receive_shut: self.receive_shut,
            was_reset: self.was_reset,
            records: self.records,
            cursor: self.cursor,
            file,
        }
    }

    fn learn(&mut self, known: &Known) {
        let &Known {
            means,
            lingers,
            receive_broken,
            send_broken,
            receive_shut,
            was_reset,
            records,
            cursor,
            ..
        } = known;
        self.means = means;
        self.lingers = lingers;
        self.receive_broken = receive_broken;
        self.send_broken = send_broken;
        self.receive_shut = receive_shut;
        self.was_reset = was_reset;
        self.records = records;
        self.cursor = cursor;
    }

    pub(crate) fn list(&self, lane: Lane) -> &List {
        &self.lists[lane as usize]
    }

    #[inline(always)]
    pub(crate) fn link(&mut self, lane: Lane, slots: &mut Slots, index: u32) {
        self.lists[lane as usize].push(slots, index);
        self.operations += 1;
    }

    #[inline(always)]
    pub(crate) fn unlink(&mut self, lane: Lane, slots: &mut Slots, index: u32) {
        self.lists[lane as usize].unlink(slots, index);
        self.operations -= 1;
    }

    /// Whether an operation of this lane may begin at once.
    #[inline(always)]
    pub(crate) fn is_free_for(&self, lane: Lane) -> bool {
        let alone = !lane.ordered() || self.list(lane).head == NONE;
        // What dropped futures have left comes first.
        let clear = lane != Lane::Receive || !self.has_unread;
        alone && clear && !self.broken(lane) && (lane == Lane::Send || !self.receive_shut)
    }

    /// Whether an operation that leaves this lane leaves others behind whose turn may come, or a close that waits.
    #[inline]
    pub(crate) fn has_more(&self, lane: Lane) -> bool {
        (lane.ordered() && self.list(lane).head != NONE) || self.state == EntryState::Closing
    }

    /// Whether operations of this lane are refused from now on because of a removed one.
    pub(crate) fn broken(&self, lane: Lane) -> bool {
        match lane {
            Lane::Receive => self.receive_broken && !self.discarding,
            Lane::Send => self.send_broken,
            Lane::Free => false,
        }
    }
}

pub(crate) struct Handles {
    entries: Vec<Entry>,
    free: u32,
    first_generation: u64,
    highest_generation: u64,
    /// By entry: what is to be removed when it is closed. Few have something.
    files: BTreeMap<u32, SocketFile>,
}

impl Handles {
    pub(crate) fn new(floor: u64) -> Handles {
        Handles {
            entries: Vec::new(),
            free: NONE,
            first_generation: floor + 1,
            highest_generation: floor + 1,
            files: BTreeMap::new(),
        }
    }

    /// Takes ownership of a descriptor.
    pub(crate) fn insert(&mut self, descriptor: RawDescriptor, state: EntryState) -> u32 {
        let (index, generation) = match self.free {
            NONE => (self.entries.len() as u32, self.first_generation),
            index => {
                self.free = self.entries[index as usize].next_free;
                (index, self.entries[index as usize].generation)
            }
        };
        let entry = Entry {
            generation,
            descriptor,
            state,
            lists: [List::EMPTY; 3],
            operations: 0,
            closer: NONE,
            close_submitted: false,
            means: Means::Socket,
            lingers: false,
            receive_broken: false,
            discarding: false,
            send_broken: false,
            receive_shut: false,
            was_reset: false,
            records: false,
            has_unread: false,
            cursor: 0,
            beginning: [false; 3],
            next_free: NONE,
        };
        match self.entries.get_mut(index as usize) {
            Some(place) => *place = entry,
            None => self.entries.push(entry),
        }
        index
    }

    /// A file is to be removed when the entry is closed.
    pub(crate) fn keep_file(&mut self, index: u32, file: Option<SocketFile>) {
        file.and_then(|file| self.files.insert(index, file));
    }

    /// What was to be removed with the entry.
    pub(crate) fn take_file(&mut self, index: u32) -> Option<SocketFile> {
        self.files.remove(&index)
    }

    /// Removes what is to be removed with all entries.
    pub(crate) fn remove_files(&mut self) {
        self.files.clear();
    }

    /// What another loop has to know of the entry; this one is about to forget it.
    pub(crate) fn known(&mut self, index: u32) -> Known {
        let file = self.take_file(index);
        self.entry(index).known(file)
    }

    /// The entry is what another loop knew this of.
    pub(crate) fn learn(&mut self, index: u32, known: Known) {
        self.entry_mut(index).learn(&known);
        self.keep_file(index, known.file);
    }

    /// Makes every name of the entry stale; the entry itself stays.
    pub(crate) fn make_stale(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        entry.generation += 1;
        self.highest_generation = self.highest_generation.max(entry.generation);
    }

    /// Forgets an entry whose names are stale and whose descriptor is closed or somebody else's.
    pub(crate) fn free(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        assert!(entry.operations == 0 && entry.state != EntryState::Free);
        entry.state = EntryState::Free;
        if entry.generation < LAST_GENERATION {
            entry.next_free = self.free;
            self.free = index;
        }
    }

    pub(crate) fn find(&self, id: Id) -> Option<u32> {
        let entry = self.entries.get(id.index() as usize)?;
        (entry.generation == id.generation() && entry.state == EntryState::Open).then_some(id.index())
    }

    /// The entry that a name is of.
    #[inline]
    pub(crate) fn find_mut(&mut self, id: Id) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(id.index() as usize)?;
        (entry.generation == id.generation() && entry.state == EntryState::Open).then_some(entry)
    }

    pub(crate) fn id(&self, index: u32, owner: u16) -> Id {
        Id::new(index, owner, self.entries[index as usize].generation)
    }

    pub(crate) fn entry(&self, index: u32) -> &Entry {
        &self.entries[index as usize]
    }

    pub(crate) fn entry_mut(&mut self, index: u32) -> &mut Entry {
        &mut self.entries[index as usize]
    }

    pub(crate) fn all_mut(&mut self) -> &mut [Entry] {
        &mut self.entries
    }

    pub(crate) fn highest_generation(&self) -> u64 {
        self.highest_generation
    }
}
