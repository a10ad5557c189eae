//! Buffers: owned by the caller, moved into the operation, and back with its end.
//!
//! The two traits are safe to implement. The engine first moves a buffer to its final place, then asks it for
//! its memory once, and leaves the value alone until the system has let go of that memory.

mod aligned;

use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;

pub use aligned::AlignedBuf;

/// A buffer whose bytes can be sent.
///
/// Implemented for `Vec<u8>`, `Box<[u8]>`, `[u8; N]`, `Box<[u8; N]>`, `&'static [u8]`, `&'static str`, `String`,
/// `Rc<[u8]>`, `Arc<[u8]>`, [`AlignedBuf`], [`Slice`] of any of them and, with the feature `bytes`, `Bytes` and `BytesMut`.
///
/// ```
/// use nbio::IoBuf;
/// struct Line { text: String }
/// impl IoBuf for Line {
///     fn bytes(&self) -> &[u8] { self.text.as_bytes() }
/// }
/// assert_eq!(Line { text: "hello".into() }.slice(1..3).bytes(), b"el");
/// ```
pub trait IoBuf: 'static {
    /// The buffer's initialised bytes: what a send sends, and what [`Done::data`](crate::Done::data) shows a part of.
    ///
    /// A send asks once, when the buffer lies where it stays; a panic then reaches the caller of `submit`, and nothing
    /// was submitted.
    fn bytes(&self) -> &[u8];

    /// The part `range` of the buffer as a buffer. [`Slice::into_inner`] gives the whole one back.
    ///
    /// Positions are bytes. An open end means "to the end", for a receive into a `Vec` to the end of its
    /// *capacity*; an end behind that is the end.
    ///
    /// # Panics
    /// If the range begins behind the buffer's last initialised byte, or ends before it begins.
    fn slice(self, range: impl RangeBounds<usize>) -> Slice<Self>
    where
        Self: Sized,
    {
        let (begin, end) = bounds(range);
        let length = self.bytes().len();
        assert!(begin <= end, "slice: the range {begin}..{end} ends before it begins");
        assert!(begin <= length, "slice: {begin} is behind the buffer's {length} initialised bytes");
        Slice { buf: self, begin, end }
    }
}

/// A buffer that can be received into.
///
/// Implemented for `Vec<u8>` (its whole capacity), `Box<[u8]>`, `[u8; N]`, `Box<[u8; N]>`, [`Slice`] of any of
/// them and, with the feature `bytes`, `BytesMut`.
pub trait IoBufMut: IoBuf {
    /// Lends the memory that may be written. Called once, when the buffer lies where it stays; a panic in it
    /// reaches the caller of `submit`, and nothing was submitted.
    fn as_uninit(&mut self) -> Lent<'_>;
}

/// Memory lent to a receive, and the way to tell its owner how much of it was filled.
///
/// It can only be made from `&mut Vec<u8>`, from initialised bytes, or as a part of another `Lent`; so a safe
/// implementation of [`IoBufMut`] can't lend what isn't there, nor have uninitialised bytes called initialised.
///
/// ```
/// use nbio::{IoBuf, IoBufMut, Lent};
/// struct Frame { header: [u8; 4], body: Vec<u8> }
/// impl IoBuf for Frame {
///     fn bytes(&self) -> &[u8] { &self.body }
/// }
/// impl IoBufMut for Frame {
///     fn as_uninit(&mut self) -> Lent<'_> { Lent::from(&mut self.body) }
/// }
/// # let _ = Frame { header: [0; 4], body: vec![] }.header;
/// ```
#[derive(Debug)]
pub struct Lent<'a> {
    memory: NonNull<u8>,
    length: usize,
    /// How many bytes from the start on are initialised.
    initialised: usize,
    owner: Option<Owner>,
    borrow: PhantomData<&'a mut [u8]>,
}

/// A growable owner of lent memory and how to set its length, given where its last initialised byte ends.
#[derive(Copy, Clone, Debug)]
struct Owner {
    this: NonNull<()>,
    set_end: unsafe fn(NonNull<()>, NonNull<u8>),
}

impl<'a> From<&'a mut Vec<u8>> for Lent<'a> {
    #[inline]
    fn from(vec: &'a mut Vec<u8>) -> Lent<'a> {
        let memory = NonNull::new(vec.as_mut_ptr()).expect("a Vec's pointer is never null");
        let (length, initialised) = (vec.capacity(), vec.len());
        // Last, so that no later borrow of the Vec ends what this pointer may do (Stacked Borrows).
        let owner = Owner { this: NonNull::from(vec).cast(), set_end: set_vec_end };
        Lent { memory, length, initialised, owner: Some(owner), borrow: PhantomData }
    }
}

impl<'a> From<&'a mut [u8]> for Lent<'a> {
    #[inline]
    fn from(bytes: &'a mut [u8]) -> Lent<'a> {
        let length = bytes.len();
        Lent {
            memory: NonNull::from(bytes).cast(),
            length,
            initialised: length,
            owner: None,
            borrow: PhantomData,
        }
    }
}

/// # Safety
/// `this` points at a live `Vec<u8>` that nothing else refers to, `end` lies in or right behind its allocation,
/// and every byte before `end` is initialised.
unsafe fn set_vec_end(this: NonNull<()>, end: NonNull<u8>) {
    // SAFETY: the caller vouches for the Vec and for its bytes up to `end`.
    unsafe {
        let vec = this.cast::<Vec<u8>>().as_mut();
        let length = end.as_ptr().offset_from_unsigned(vec.as_ptr());
        vec.set_len(length);
    }
}

impl Lent<'_> {
    /// The part `range` of the memory, in bytes.
    ///
    /// # Panics
    /// If the range begins behind the last initialised byte or ends before it begins.
    pub fn slice(self, range: impl RangeBounds<usize>) -> Self {
        let (begin, end) = bounds(range);
        let end = end.min(self.length);
        assert!(begin <= end, "slice: the range {begin}..{end} ends before it begins");
        assert!(
            begin <= self.initialised,
            "slice: {begin} is behind the buffer's {} initialised bytes",
            self.initialised
        );
        // SAFETY: begin <= end <= length, so the result stays in the lent memory.
        let memory = unsafe { self.memory.add(begin) };
        Lent { memory, length: end - begin, initialised: self.initialised.min(end) - begin, ..self }
    }

    /// How many bytes from the start on are initialised.
    #[inline]
    pub(crate) fn initialised(&self) -> usize {
        self.initialised
    }

    /// Only what is not initialised yet: what a `Vec` has beyond its length.
    pub(crate) fn spare(self) -> Self {
        let initialised = self.initialised;
        self.slice(initialised..)
    }

    /// Tells the owner that none of the lent part was filled.
    pub(crate) fn leave_empty(self) {
        // SAFETY: the lifetime keeps the owner in its place and everybody else away from it, and no byte is
        // claimed to be written.
        unsafe { self.into_raw().set_filled(0) }
    }

    /// Takes the lifetime off; the engine answers for it from here on.
    #[inline]
    pub(crate) fn into_raw(self) -> RawLent {
        RawLent { memory: self.memory, length: self.length, owner: self.owner }
    }
}

/// Lent memory without its lifetime. The buffer it came from lies in a slot and is not touched until the
/// system has let go.
#[derive(Copy, Clone, Debug)]
pub(crate) struct RawLent {
    pub(crate) memory: NonNull<u8>,
    pub(crate) length: usize,
    owner: Option<Owner>,
}

impl RawLent {
    /// Memory of an operation that hasn't been placed yet: nothing at all.
    pub(crate) const NONE: RawLent = RawLent { memory: NonNull::dangling(), length: 0, owner: None };

    /// Memory that is only read: of a buffer to be sent.
    pub(crate) fn reading(bytes: &[u8]) -> RawLent {
        RawLent { memory: NonNull::from(bytes).cast(), length: bytes.len(), owner: None }
    }

    /// Tells the owner, if it is a growable one, that the first `bytes` of the lent part are filled.
    ///
    /// # Safety
    /// The buffer that lent the memory lies where it lay then, nothing refers to it, and `bytes <= length` bytes
    /// of the memory were written.
    #[inline]
    pub(crate) unsafe fn set_filled(&self, bytes: usize) {
        assert!(bytes <= self.length, "more bytes than were lent");
        if let Some(owner) = self.owner {
            // SAFETY: `bytes` is inside the lent memory; the bytes before the lent part were initialised
            // (`slice` insists) and the caller vouches for those in it and for the owner.
            unsafe { (owner.set_end)(owner.this, self.memory.add(bytes)) }
        }
    }
}

/// A part of a buffer, as a buffer: made by [`IoBuf::slice`] and [`Done::filled`](crate::Done::filled).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice<B> {
    buf: B,
    begin: usize,
    end: usize,
}

impl<B> Slice<B> {
    /// The whole buffer back.
    pub fn into_inner(self) -> B {
        self.buf
    }
}

impl<B: IoBuf> IoBuf for Slice<B> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        let bytes = self.buf.bytes();
        &bytes[self.begin.min(bytes.len())..self.end.min(bytes.len())]
    }
}

impl<B: IoBufMut> IoBufMut for Slice<B> {
    #[inline]
    fn as_uninit(&mut self) -> Lent<'_> {
        self.buf.as_uninit().slice(self.begin..self.end)
    }
}

/// Begin and end of a range; an open end is `usize::MAX`.
fn bounds(range: impl RangeBounds<usize>) -> (usize, usize) {
    let begin = match range.start_bound() {
        Bound::Included(&begin) => begin,
        Bound::Excluded(&before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&last) => last.saturating_add(1),
        Bound::Excluded(&end) => end,
        Bound::Unbounded => usize::MAX,
    };
    (begin, end)
}

impl IoBuf for Vec<u8> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl IoBufMut for Vec<u8> {
    #[inline]
    fn as_uninit(&mut self) -> Lent<'_> {
        Lent::from(self)
    }
}

impl IoBuf for Box<[u8]> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl IoBufMut for Box<[u8]> {
    #[inline]
    fn as_uninit(&mut self) -> Lent<'_> {
        Lent::from(&mut **self)
    }
}

impl<const N: usize> IoBuf for [u8; N] {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl<const N: usize> IoBufMut for [u8; N] {
    #[inline]
    fn as_uninit(&mut self) -> Lent<'_> {
        Lent::from(&mut self[..])
    }
}

impl<const N: usize> IoBuf for Box<[u8; N]> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        &self[..]
    }
}

impl<const N: usize> IoBufMut for Box<[u8; N]> {
    #[inline]
    fn as_uninit(&mut self) -> Lent<'_> {
        Lent::from(&mut self[..])
    }
}

impl IoBuf for &'static [u8] {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl IoBuf for &'static str {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl IoBuf for String {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl IoBuf for Rc<[u8]> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl IoBuf for Arc<[u8]> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self
    }
}

/// The buffers of a vectored operation: `[B; N]` or `Vec<B>`, at most 1,024 of them (`IOV_MAX`, readv(2)).
///
/// The trait is sealed.
pub trait Buffers: 'static + sealed::Buffers {
    /// One buffer.
    type Buf: IoBuf;

    /// All of them, in the order in which they are filled or sent.
    fn buffers(&self) -> &[Self::Buf];

    /// All of them, to be written.
    fn buffers_mut(&mut self) -> &mut [Self::Buf];
}

mod sealed {
    pub trait Buffers {}
}

impl<B: IoBuf, const N: usize> sealed::Buffers for [B; N] {}

impl<B: IoBuf, const N: usize> Buffers for [B; N] {
    type Buf = B;

    fn buffers(&self) -> &[B] {
        self
    }

    fn buffers_mut(&mut self) -> &mut [B] {
        self
    }
}

impl<B: IoBuf> sealed::Buffers for Vec<B> {}

impl<B: IoBuf> Buffers for Vec<B> {
    type Buf = B;

    fn buffers(&self) -> &[B] {
        self
    }

    fn buffers_mut(&mut self) -> &mut [B] {
        self
    }
}

#[cfg(feature = "bytes")]
mod bytes_crate {
    use super::{IoBuf, IoBufMut, Lent, Owner};
    use bytes::{Bytes, BytesMut};
    use std::marker::PhantomData;
    use std::ptr::NonNull;

    impl IoBuf for Bytes {
        #[inline]
        fn bytes(&self) -> &[u8] {
            self
        }
    }

    impl IoBuf for BytesMut {
        #[inline]
        fn bytes(&self) -> &[u8] {
            self
        }
    }

    impl IoBufMut for BytesMut {
        #[inline]
        fn as_uninit(&mut self) -> Lent<'_> {
            Lent::from(self)
        }
    }

    impl<'a> From<&'a mut BytesMut> for Lent<'a> {
        fn from(buf: &'a mut BytesMut) -> Lent<'a> {
            let memory = NonNull::new(buf.as_mut_ptr()).expect("a BytesMut's pointer is never null");
            let (length, initialised) = (buf.capacity(), buf.len());
            let owner = Owner { this: NonNull::from(buf).cast(), set_end: set_bytes_mut_end };
            Lent { memory, length, initialised, owner: Some(owner), borrow: PhantomData }
        }
    }

    /// # Safety
    /// As `set_vec_end`, for a `BytesMut`.
    unsafe fn set_bytes_mut_end(this: NonNull<()>, end: NonNull<u8>) {
        // SAFETY: the caller vouches for the BytesMut and for its bytes up to `end`.
        unsafe {
            let buf = this.cast::<BytesMut>().as_mut();
            let length = end.as_ptr().offset_from_unsigned(buf.as_ptr());
            buf.set_len(length);
        }
    }
}
