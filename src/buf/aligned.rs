//! Memory with an alignment of one's choice.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use super::{IoBuf, IoBufMut, Lent, Owner};

/// A buffer whose memory begins at a multiple of a chosen power of two, as files that are opened with `O_DIRECT` need it
/// (4,096 fits all common devices, open(2)).
///
/// It is a `Vec` of a fixed capacity: a read may fill all of it and sets its length; what is written is what it holds.
///
/// ```
/// use nbio::AlignedBuf;
/// let mut buf = AlignedBuf::new(8192, 4096);
/// assert_eq!((buf.len(), buf.as_ptr().addr() % 4096), (0, 0));
/// buf.extend(b"header");
/// buf.resize(4096, 0);
/// assert!(buf.starts_with(b"header"));
/// ```
pub struct AlignedBuf {
    memory: NonNull<u8>,
    layout: Layout,
    length: usize,
}

// SAFETY: it owns its memory alone, as a `Vec<u8>` does.
unsafe impl Send for AlignedBuf {}
// SAFETY: as above; a shared one can only be read.
unsafe impl Sync for AlignedBuf {}

impl AlignedBuf {
    /// An empty buffer with room for `capacity` bytes.
    ///
    /// # Panics
    /// If `alignment` is not a power of two, or `capacity` rounded up to it is more than `isize::MAX`.
    pub fn new(capacity: usize, alignment: usize) -> AlignedBuf {
        let layout = Layout::from_size_align(capacity.max(1), alignment);
        let layout =
            layout.expect("AlignedBuf: the alignment is a power of two, and the capacity not too large");
        // SAFETY: the layout is not of size 0.
        let memory = NonNull::new(unsafe { alloc_zeroed(layout) });
        let memory = memory.unwrap_or_else(|| handle_alloc_error(layout));
        AlignedBuf { memory, layout, length: 0 }
    }

    /// How many bytes there is room for.
    pub fn capacity(&self) -> usize {
        self.layout.size()
    }

    /// What its address is a multiple of.
    pub fn alignment(&self) -> usize {
        self.layout.align()
    }

    /// Cuts it to `length` bytes, if it has more.
    pub fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    /// Makes it `length` bytes long; new ones are `value`.
    ///
    /// # Panics
    /// If there is no room for so many.
    pub fn resize(&mut self, length: usize, value: u8) {
        assert!(length <= self.capacity(), "AlignedBuf: no room for {length} bytes");
        let before = std::mem::replace(&mut self.length, length);
        if before < length {
            self[before..].fill(value);
        }
    }

    /// Puts `bytes` behind what it holds.
    ///
    /// # Panics
    /// If there is no room for them.
    pub fn extend(&mut self, bytes: &[u8]) {
        let before = self.length;
        self.resize(before + bytes.len(), 0);
        self[before..].copy_from_slice(bytes);
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and freed once.
        unsafe { dealloc(self.memory.as_ptr(), self.layout) }
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `length` is at most the capacity, all of which was zeroed at first.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.length) }
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; the memory is this one's alone.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr(), self.length) }
    }
}

impl fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("AlignedBuf");
        debug.field("length", &self.length).field("capacity", &self.capacity());
        debug.field("alignment", &self.alignment()).finish()
    }
}

impl IoBuf for AlignedBuf {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl IoBufMut for AlignedBuf {
    #[inline]
    fn as_uninit(&mut self) -> Lent<'_> {
        let (memory, length, initialised) = (self.memory, self.capacity(), self.length);
        let owner = Owner { this: NonNull::from(self).cast(), set_end };
        Lent { memory, length, initialised, owner: Some(owner), borrow: std::marker::PhantomData }
    }
}

/// # Safety
/// As `set_vec_end`, for an `AlignedBuf`.
unsafe fn set_end(this: NonNull<()>, end: NonNull<u8>) {
    // SAFETY: the caller vouches for the buffer, and that `end` is in it or right behind it.
    unsafe {
        let buf = this.cast::<AlignedBuf>().as_mut();
        buf.length = end.as_ptr().offset_from_unsigned(buf.memory.as_ptr());
    }
}
