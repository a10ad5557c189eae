//! Files that close on drop.

use std::io::SeekFrom;
use std::path::Path;

use super::future::current;
use super::{File, OpFuture, Owned};
use crate::op::{self, Kind};
use crate::{Error, IoBuf, IoBufMut};

impl File {
    /// Opens a file for reading: [`op::Open`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```
    /// use nbio::task::File;
    /// nbio::block_on(async {
    ///     let file = File::open("Cargo.toml").await?;
    ///     let (bytes, buf) = file.read_at(Vec::with_capacity(9), 0).await?;
    ///     assert_eq!((bytes, &buf[..]), (9, &b"[package]"[..]));
    ///     Ok::<(), nbio::Error>(())
    /// })?;
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub async fn open(path: impl AsRef<Path>) -> Result<File, Error> {
        File::open_with(op::Open::new(path)).await
    }

    /// Opens a file for writing, and makes it, or cuts it down to nothing.
    ///
    /// # Errors
    /// As [`op::Open`].
    pub async fn create(path: impl AsRef<Path>) -> Result<File, Error> {
        File::open_with(op::Open::new(path).write(true).create(true).truncate(true)).await
    }

    /// Opens a file as the operation says.
    ///
    /// # Errors
    /// As [`op::Open`].
    pub async fn open_with(open: op::Open) -> Result<File, Error> {
        let core = current(Kind::Open)?;
        open.await.map(|handle| Owned::on(&core, handle))
    }

    /// Reads at a place: [`op::ReadAt`].
    pub fn read_at<B: IoBufMut>(&self, buf: B, offset: u64) -> OpFuture<op::ReadAt<B>> {
        OpFuture::new(op::ReadAt::new(self.handle(), buf, offset))
    }

    /// Reads exactly so many bytes at a place: [`op::ReadAt::exact`].
    pub fn read_exact_at<B: IoBufMut>(&self, buf: B, bytes: usize, offset: u64) -> OpFuture<op::ReadAt<B>> {
        OpFuture::new(op::ReadAt::new(self.handle(), buf, offset).exact(bytes))
    }

    /// Writes some of a buffer at a place: [`op::WriteAt`].
    pub fn write_at<B: IoBuf>(&self, buf: B, offset: u64) -> OpFuture<op::WriteAt<B>> {
        OpFuture::new(op::WriteAt::new(self.handle(), buf, offset))
    }

    /// Writes the whole of a buffer at a place: [`op::WriteAt::all`].
    pub fn write_all_at<B: IoBuf>(&self, buf: B, offset: u64) -> OpFuture<op::WriteAt<B>> {
        OpFuture::new(op::WriteAt::new(self.handle(), buf, offset).all())
    }

    /// Reads at the cursor: [`op::Read`]. Dropped before its end, it leaves the cursor where it was.
    pub fn read<B: IoBufMut>(&self, buf: B) -> OpFuture<op::Read<B>> {
        OpFuture::new(op::Read::new(self.handle(), buf))
    }

    /// Reads exactly so many bytes at the cursor: [`op::Read::exact`].
    pub fn read_exact<B: IoBufMut>(&self, buf: B, bytes: usize) -> OpFuture<op::Read<B>> {
        OpFuture::new(op::Read::new(self.handle(), buf).exact(bytes))
    }

    /// Writes some of a buffer at the cursor: [`op::Write`].
    pub fn write<B: IoBuf>(&self, buf: B) -> OpFuture<op::Write<B>> {
        OpFuture::new(op::Write::new(self.handle(), buf))
    }

    /// Writes the whole of a buffer at the cursor: [`op::Write::all`].
    pub fn write_all<B: IoBuf>(&self, buf: B) -> OpFuture<op::Write<B>> {
        OpFuture::new(op::Write::new(self.handle(), buf).all())
    }

    /// Moves the cursor: [`op::Seek`].
    pub fn seek(&self, to: SeekFrom) -> OpFuture<op::Seek> {
        OpFuture::new(op::Seek::new(self.handle(), to))
    }

    /// What is known of the file: [`op::Stat`].
    pub fn stat(&self) -> OpFuture<op::Stat> {
        OpFuture::new(op::Stat::of(self.handle()))
    }

    /// Sees to it that what was written is on the disk: [`op::Fsync`].
    pub fn fsync(&self) -> OpFuture<op::Fsync> {
        OpFuture::new(op::Fsync::new(self.handle()))
    }

    /// As [`fsync`](File::fsync), without what isn't needed to read it again: [`op::Fdatasync`].
    pub fn fdatasync(&self) -> OpFuture<op::Fdatasync> {
        OpFuture::new(op::Fdatasync::new(self.handle()))
    }

    /// Sets the file's length: [`op::Truncate`].
    pub fn truncate(&self, length: u64) -> OpFuture<op::Truncate> {
        OpFuture::new(op::Truncate::new(self.handle(), length))
    }

    /// Waits for the file's lock: [`op::Lock`].
    pub fn lock(&self) -> OpFuture<op::Lock> {
        OpFuture::new(op::Lock::new(self.handle()))
    }

    /// Gives the file's lock up: [`op::Unlock`].
    pub fn unlock(&self) -> OpFuture<op::Unlock> {
        OpFuture::new(op::Unlock::new(self.handle()))
    }
}
