//! The memory of a buffer pool, and who has which part of it.
//!
//! Buffers that nobody has lie in a list, from which backends pick one when there is something to receive; or, with
//! io_uring, in a ring in memory that is shared with the kernel (`io_uring_register_buf_ring(3)`), which picks by itself.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::{Core, Engine};
use crate::handle::Id;
use crate::op::Kind;
use crate::{Error, ErrorKind};

/// The most buffers of a pool: what the kernel's ring takes.
pub(crate) const MOST_BUFFERS: usize = 1 << 15;

/// The largest buffer, in bytes.
pub(crate) const LARGEST_BUFFER: usize = 1 << 30;

/// What the kernel finds a free buffer by: `struct io_uring_buf`. In the first one `tail` is the ring's end, in the others
/// it means nothing.
#[repr(C)]
struct RingEntry {
    address: u64,
    length: u32,
    buffer: u16,
    tail: AtomicU16,
}

const _: () = assert!(size_of::<RingEntry>() == 16);

/// The kernel maps the ring by pages.
const PAGE: usize = 4096;

pub(crate) struct Pool {
    /// The loop that it is of.
    pub(crate) owner: u16,
    /// Which one there: the kernel's buffer group.
    pub(crate) number: u16,
    count: u16,
    size: u32,
    memory: NonNull<u8>,
    ring: Option<NonNull<RingEntry>>,
    state: Mutex<State>,
}

struct State {
    /// Those that can be picked; with a ring they are there instead.
    free: Vec<u16>,
    /// The ring's.
    tail: u16,
    /// What of each buffer somebody has, and from where it came.
    lent: Box<[(u32, Option<Id>)]>,
    /// How many buffers, and how many bytes, somebody has.
    out: usize,
    bytes: usize,
    /// A reader waits for a buffer: whoever gives one back wakes the loop.
    starving: bool,
    waker: Option<Waker>,
}

// SAFETY: the memory belongs to the pool until it is dropped. A buffer's bytes are reached by one at a time: the backend that
// picked it, or the lease that has it. The ring is written under the lock of `state`, and read by the kernel.
unsafe impl Send for Pool {}
// SAFETY: as above.
unsafe impl Sync for Pool {}

impl Pool {
    /// `None` if there is no memory.
    fn new(owner: u16, number: u16, count: usize, size: usize, with_ring: bool) -> Option<Pool> {
        // SAFETY: neither layout is of size 0, as both numbers are at least 1.
        let (memory, ring) = unsafe {
            let memory = NonNull::new(alloc_zeroed(memory_layout(count, size)?))?;
            let ring = if with_ring { NonNull::new(alloc_zeroed(ring_layout(count)).cast()) } else { None };
            (memory, ring)
        };
        let state = State {
            free: Vec::with_capacity(count),
            tail: 0,
            lent: vec![(0, None); count].into(),
            out: 0,
            bytes: 0,
            starving: false,
            waker: None,
        };
        let state = Mutex::new(state);
        let pool = Pool { owner, number, count: count as u16, size: size as u32, memory, ring, state };
        // Dropped here, it gives its memory back.
        if with_ring && ring.is_none() {
            return None;
        }
        let mut state = pool.lock();
        // So that the first one is picked first.
        (0..pool.count).rev().for_each(|buffer| pool.free(&mut state, buffer));
        drop(state);
        Some(pool)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many buffers there are.
    pub(crate) fn count(&self) -> usize {
        usize::from(self.count)
    }

    /// How many bytes each has.
    pub(crate) fn size(&self) -> usize {
        self.size as usize
    }

    /// How many buffers, and how many bytes in them, somebody has.
    pub(crate) fn lent(&self) -> (usize, usize) {
        let state = self.lock();
        (state.out, state.bytes)
    }

    /// As `lent`, of what came from one handle: only the bytes.
    pub(crate) fn lent_from(&self, handle: Id) -> usize {
        let state = self.lock();
        let from = state.lent.iter().filter(|lent| lent.1 == Some(handle));
        from.map(|lent| lent.0 as usize).sum()
    }

    /// Where the ring is and how many entries it has, for the kernel.
    pub(crate) fn ring(&self) -> Option<(u64, u16)> {
        let ring = self.ring?;
        Some((ring.as_ptr().expose_provenance() as u64, self.count.next_power_of_two()))
    }

    #[inline]
    fn place(&self, buffer: u16) -> NonNull<u8> {
        assert!(buffer < self.count, "a buffer of this pool");
        // SAFETY: inside the memory, as there are `count` buffers of `size` bytes.
        unsafe { self.memory.add(usize::from(buffer) * self.size()) }
    }

    /// A free buffer, which nobody else has from here on.
    pub(crate) fn pick(&self) -> Option<(u16, NonNull<u8>)> {
        let buffer = self.lock().free.pop()?;
        Some((buffer, self.place(buffer)))
    }

    /// It was picked in vain.
    pub(crate) fn put_back(&self, buffer: u16) {
        let waker = {
            let mut state = self.lock();
            self.free(&mut state, buffer);
            state.take_waker()
        };
        waker.iter().for_each(Waker::wake_by_ref);
    }

    /// Lets a buffer be picked.
    #[inline]
    fn free(&self, state: &mut State, buffer: u16) {
        let Some(ring) = self.ring else { return state.free.push(buffer) };
        let mask = self.count.next_power_of_two() - 1;
        let address = self.place(buffer).as_ptr().expose_provenance() as u64;
        // SAFETY: the entry is in the ring, whose memory stays; its fields are written under the lock, and the kernel looks
        // at an entry only when the tail is behind it. The first one's `tail` is reached atomically only.
        unsafe {
            let entry = ring.add(usize::from(state.tail & mask)).as_ptr();
            (&raw mut (*entry).address).write(address);
            (&raw mut (*entry).length).write(self.size);
            (&raw mut (*entry).buffer).write(buffer);
            state.tail = state.tail.wrapping_add(1);
            (*ring.as_ptr()).tail.store(state.tail, Ordering::Release);
        }
    }

    /// Somebody is given the first `bytes` bytes of a buffer that was picked.
    pub(crate) fn lend(self: &Arc<Pool>, buffer: u16, bytes: usize, handle: Id) -> Lease {
        assert!(bytes <= self.size(), "the system received more than there is room for");
        let memory = self.place(buffer);
        let mut state = self.lock();
        state.lent[usize::from(buffer)] = (bytes as u32, Some(handle));
        state.out += 1;
        state.bytes += bytes;
        drop(state);
        Lease { memory, length: bytes, buffer, pool: Some(self.clone()) }
    }

    /// A copy of the first `bytes` bytes of a buffer that was picked.
    pub(crate) fn copy(&self, buffer: u16, bytes: usize) -> Vec<u8> {
        assert!(bytes <= self.size(), "the system received more than there is room for");
        // SAFETY: the backend has let go of the buffer, nobody else has it, and the memory was zeroed at first.
        unsafe { std::slice::from_raw_parts(self.place(buffer).as_ptr(), bytes) }.to_vec()
    }

    fn give_back(&self, buffer: u16) {
        let waker = {
            let mut state = self.lock();
            let (bytes, _) = std::mem::take(&mut state.lent[usize::from(buffer)]);
            state.out -= 1;
            state.bytes -= bytes as usize;
            self.free(&mut state, buffer);
            state.take_waker()
        };
        waker.iter().for_each(Waker::wake_by_ref);
    }

    /// A reader has found no buffer. `false` if there is one by now; else the loop is woken when there is.
    fn starve(&self, waker: &Waker) -> bool {
        let mut state = self.lock();
        let none = match self.ring {
            Some(_) => state.out == self.count(),
            None => state.free.is_empty(),
        };
        state.starving |= none;
        if none {
            state.waker.get_or_insert_with(|| waker.clone());
        }
        none
    }
}

impl State {
    /// Whom to wake now that a buffer is free.
    fn take_waker(&mut self) -> Option<Waker> {
        if std::mem::take(&mut self.starving) { self.waker.clone() } else { None }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with the same layouts. Nobody has a lease, since each holds the pool, and no operation
        // is with a backend, for the same reason; the engine has unregistered the ring, or is gone with its own.
        unsafe {
            if let Some(layout) = memory_layout(self.count(), self.size()) {
                dealloc(self.memory.as_ptr(), layout);
            }
            if let Some(ring) = self.ring {
                dealloc(ring.as_ptr().cast(), ring_layout(self.count()));
            }
        }
    }
}

fn memory_layout(count: usize, size: usize) -> Option<Layout> {
    Layout::array::<u8>(count.checked_mul(size)?).ok()
}

fn ring_layout(count: usize) -> Layout {
    let size = count.next_power_of_two() * size_of::<RingEntry>();
    Layout::from_size_align(size, PAGE).expect("at most 512 KiB")
}

/// A part of a pool, or of memory of its own, that somebody has.
pub(crate) struct Lease {
    memory: NonNull<u8>,
    length: usize,
    buffer: u16,
    /// None if the memory is its own: a boxed slice.
    pool: Option<Arc<Pool>>,
}

// SAFETY: nobody else reaches the memory while the lease is there, and the pool may be used from any thread.
unsafe impl Send for Lease {}
// SAFETY: through a shared reference it is only read.
unsafe impl Sync for Lease {}

impl Lease {
    /// Bytes that are in no pool.
    pub(crate) fn of(bytes: Box<[u8]>) -> Lease {
        let length = bytes.len();
        let memory = NonNull::from(Box::leak(bytes)).cast();
        Lease { memory, length, buffer: 0, pool: None }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the memory is this lease's alone, and initialised: it was zeroed, and then perhaps received into.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.length) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and this is the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr(), self.length) }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        match &self.pool {
            Some(pool) => pool.give_back(self.buffer),
            None => {
                let bytes = NonNull::slice_from_raw_parts(self.memory, self.length);
                // SAFETY: made of a box of this length in `of`.
                drop(unsafe { Box::from_raw(bytes.as_ptr()) });
            }
        }
    }
}

impl Core {
    /// Makes a pool for the receives of this loop.
    pub(crate) fn new_pool(&self, count: usize, size: usize) -> Result<Arc<Pool>, Error> {
        let in_range = (1..=MOST_BUFFERS).contains(&count) && (1..=LARGEST_BUFFER).contains(&size);
        if !in_range || memory_layout(count, size).is_none() {
            return Err(Error::new(ErrorKind::InvalidInput, Kind::BufferPool));
        }
        self.engine.borrow_mut().new_pool(count, size)
    }
}

impl Engine {
    fn new_pool(&mut self, count: usize, size: usize) -> Result<Arc<Pool>, Error> {
        let full = Error::new(ErrorKind::OutOfMemory, Kind::BufferPool);
        self.drop_unused_pools();
        let free = self.pools.iter().position(Option::is_none).unwrap_or(self.pools.len());
        let number = u16::try_from(free).map_err(|_| full)?;
        let backend = self.backend.cold();
        let with_ring = backend.picks_buffers();
        let pool = Pool::new(self.number.get(), number, count, size, with_ring).ok_or(full)?;
        if let Some(ring) = pool.ring() {
            backend.register_pool(number, ring)?;
        }
        let pool = Arc::new(pool);
        if free == self.pools.len() {
            self.pools.push(None);
        }
        self.pools[free] = Some(pool.clone());
        Ok(pool)
    }

    /// Forgets the pools that nobody has any more: neither a program nor an operation nor a received buffer.
    fn drop_unused_pools(&mut self) {
        for place in &mut self.pools {
            if let Some(pool) = place.take_if(|pool| Arc::strong_count(pool) == 1)
                && pool.ring.is_some()
            {
                self.backend.cold().unregister_pool(pool.number);
            }
        }
    }

    /// Whether a reader that found no buffer has to wait for one.
    pub(super) fn starves(&mut self, pool: &Pool) -> Result<bool, Error> {
        let waker = self.backend.cold().waker()?;
        Ok(pool.starve(&waker))
    }
}
