//! The front of the crate: files.

use std::io::SeekFrom;
use std::path::Path;

use super::EventLoop;
use crate::op::{self, CopiedFile, DirEntry, Done, Metadata};
use crate::{Error, File, IoBuf, IoBufMut, OpId};

/// Files.
impl<S> EventLoop<S> {
    /// Opens a file for reading; [`op::Open`] has the other ways.
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("nbio-front-open-{}", std::process::id()));
    /// # std::fs::write(&path, "hello").unwrap();
    /// let io = nbio::EventLoop::new()?;
    /// io.open(&path, |_, io, file| {
    ///     let file = file.unwrap();
    ///     io.read_at(file, vec![0; 100], 0, move |_, io, done| {
    ///         assert_eq!(done.data(), b"hello");
    ///         io.close(file);
    ///     });
    /// });
    /// io.run()?;
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn open(
        &self,
        path: impl AsRef<Path>,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Result<File, Error>) + 'static,
    ) -> OpId {
        self.submit(op::Open::new(path), callback)
    }

    /// Reads what is at a place in a file: [`op::ReadAt`].
    #[inline]
    pub fn read_at<B: IoBufMut>(
        &self,
        file: File,
        buf: B,
        offset: u64,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Done<B>) + 'static,
    ) -> OpId {
        self.submit(op::ReadAt::new(file, buf, offset), callback)
    }

    /// Reads exactly `bytes` bytes from a place in a file on: [`op::ReadAt::exact`].
    pub fn read_exact_at<B: IoBufMut>(
        &self,
        file: File,
        buf: B,
        bytes: usize,
        offset: u64,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Done<B>) + 'static,
    ) -> OpId {
        self.submit(op::ReadAt::new(file, buf, offset).exact(bytes), callback)
    }

    /// Writes some of a buffer to a place in a file: [`op::WriteAt`].
    #[inline]
    pub fn write_at<B: IoBuf>(
        &self,
        file: File,
        buf: B,
        offset: u64,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Done<B>) + 'static,
    ) -> OpId {
        self.submit(op::WriteAt::new(file, buf, offset), callback)
    }

    /// Writes the whole of a buffer to a place in a file: [`op::WriteAt::all`].
    pub fn write_all_at<B: IoBuf>(
        &self,
        file: File,
        buf: B,
        offset: u64,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Done<B>) + 'static,
    ) -> OpId {
        self.submit(op::WriteAt::new(file, buf, offset).all(), callback)
    }

    /// Brings what was written to a file to the disk: [`op::Fsync`].
    pub fn fsync(
        &self,
        file: File,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Result<(), Error>) + 'static,
    ) -> OpId {
        self.submit(op::Fsync::new(file), callback)
    }

    /// Asks what is known of a file: [`op::Stat`].
    pub fn stat(
        &self,
        path: impl AsRef<Path>,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Result<Metadata, Error>) + 'static,
    ) -> OpId {
        self.submit(op::Stat::new(path), callback)
    }

    /// Cuts a file to a length: [`op::Truncate`].
    pub fn truncate(
        &self,
        file: File,
        length: u64,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Result<(), Error>) + 'static,
    ) -> OpId {
        self.submit(op::Truncate::new(file, length), callback)
    }

    /// Reads what comes next in a file: [`op::Read`].
    pub fn read<B: IoBufMut>(
        &self,
        file: File,
        buf: B,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Done<B>) + 'static,
    ) -> OpId {
        self.submit(op::Read::new(file, buf), callback)
    }

    /// Reads exactly the next `bytes` bytes of a file: [`op::Read::exact`].
    pub fn read_exact<B: IoBufMut>(
        &self,
        file: File,
        buf: B,
        bytes: usize,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Done<B>) + 'static,
    ) -> OpId {
        self.submit(op::Read::new(file, buf).exact(bytes), callback)
    }

    /// Writes some of a buffer to a file, behind what was written before: [`op::Write`].
    pub fn write<B: IoBuf>(
        &self,
        file: File,
        buf: B,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Done<B>) + 'static,
    ) -> OpId {
        self.submit(op::Write::new(file, buf), callback)
    }

    /// Writes the whole of a buffer to a file, behind what was written before: [`op::Write::all`].
    pub fn write_all<B: IoBuf>(
        &self,
        file: File,
        buf: B,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Done<B>) + 'static,
    ) -> OpId {
        self.submit(op::Write::new(file, buf).all(), callback)
    }

    /// Moves the place where reads and writes go on: [`op::Seek`].
    pub fn seek(
        &self,
        file: File,
        to: SeekFrom,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Result<u64, Error>) + 'static,
    ) -> OpId {
        self.submit(op::Seek::new(file, to), callback)
    }

    /// Gives a file or directory another name: [`op::Rename`].
    pub fn rename(
        &self,
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Result<(), Error>) + 'static,
    ) -> OpId {
        self.submit(op::Rename::new(from, to), callback)
    }

    /// Removes a file: [`op::Unlink`].
    pub fn unlink(
        &self,
        path: impl AsRef<Path>,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Result<(), Error>) + 'static,
    ) -> OpId {
        self.submit(op::Unlink::new(path), callback)
    }

    /// Makes a directory: [`op::Mkdir`].
    pub fn mkdir(
        &self,
        path: impl AsRef<Path>,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Result<(), Error>) + 'static,
    ) -> OpId {
        self.submit(op::Mkdir::new(path), callback)
    }

    /// Removes an empty directory: [`op::Rmdir`].
    pub fn rmdir(
        &self,
        path: impl AsRef<Path>,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Result<(), Error>) + 'static,
    ) -> OpId {
        self.submit(op::Rmdir::new(path), callback)
    }

    /// Reads the names in a directory: [`op::ReadDir`].
    pub fn read_dir(
        &self,
        path: impl AsRef<Path>,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Result<Vec<DirEntry>, Error>) + 'static,
    ) -> OpId {
        self.submit(op::ReadDir::new(path), callback)
    }

    /// Reads a whole file: [`op::ReadFile`].
    pub fn read_file(
        &self,
        path: impl AsRef<Path>,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Result<Vec<u8>, Error>) + 'static,
    ) -> OpId {
        self.submit(op::ReadFile::new(path), callback)
    }

    /// Writes a whole file: [`op::WriteFile`].
    pub fn write_file<B: IoBuf>(
        &self,
        path: impl AsRef<Path>,
        buf: B,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Done<B>) + 'static,
    ) -> OpId {
        self.submit(op::WriteFile::new(path, buf), callback)
    }

    /// Copies a file: [`op::CopyFile`].
    pub fn copy_file(
        &self,
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Result<CopiedFile, Error>) + 'static,
    ) -> OpId {
        self.submit(op::CopyFile::new(from, to), callback)
    }
}
