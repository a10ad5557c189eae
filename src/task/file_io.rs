//! Files for the traits of others: as `io.rs`, at a position of their own.

use std::io::SeekFrom;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::ahead::{ReadAhead, WriteBehind};
use super::{File, OpFuture};
use crate::op::{self, Kind};
use crate::{Error, ErrorKind};

/// A file with the traits that others have made for asynchronous reading, writing and seeking: those of `futures-io` and
/// `tokio`, each behind the feature of that name.
///
/// It has a position of its own, which begins at 0; the cursor of [`File::read`] is another one. In a file opened for
/// appending bytes go to its end, and the position moves by so many all the same.
///
/// # What it costs
/// As with [`Io`](super::Io), every byte is copied once more: reads through a buffer of 16 KiB, writes through two that hold up
/// to 64 KiB together. A write is done when its bytes are copied; the loop writes them by itself, in order. What goes wrong then
/// is told by the next write, flush, read or seek, once, and those bytes are lost. Flush before dropping it: what is not
/// written by then may be lost. Flushed is given to the system; [`File::fsync`] brings it to the disk.
///
/// ```
/// use nbio::task::{File, FileIo};
/// nbio::block_on(async {
///     let mut io = FileIo::new(File::open("Cargo.toml").await?);
///     let first = std::future::poll_fn(|context| io.poll_fill(context).map_ok(|bytes| bytes[0])).await?;
///     assert_eq!(first, b'[');
///     Ok::<(), nbio::Error>(())
/// })?;
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct FileIo {
    file: File,
    /// Of the next byte that is read or written.
    position: u64,
    ahead: ReadAhead<op::ReadAt<Vec<u8>>>,
    behind: WriteBehind<crate::File>,
    /// Where a seek goes, and the file's size, if that is needed.
    seeking: Option<(SeekFrom, Option<OpFuture<op::Stat>>)>,
}

impl FileIo {
    /// Takes over a file.
    pub fn new(file: File) -> FileIo {
        let behind = WriteBehind::new(&file);
        FileIo { file, position: 0, ahead: ReadAhead::new(), behind, seeking: None }
    }

    /// The file, for all else.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The file. What was written and not flushed is still written, if the loop is running and the file isn't closed before:
    /// flush to know when.
    pub fn into_inner(self) -> File {
        self.behind.hand_over();
        self.file
    }

    /// What was read and not taken; when there is nothing, reads more, behind what was written. Empty at the end of the
    /// file.
    ///
    /// # Errors
    /// As [`op::ReadAt`], and as [`op::WriteAt`] of what was written before.
    pub fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<Result<&[u8], Error>> {
        if self.ahead.is_empty() {
            ready!(self.behind.poll_written(context))?;
        }
        let (file, position) = (self.file.handle(), self.position);
        self.ahead.poll_fill(context, |buf| op::ReadAt::new(file, buf, position))
    }

    /// So much of it was taken.
    pub fn consume(&mut self, bytes: usize) {
        self.position += self.ahead.consume(bytes) as u64;
    }

    /// Takes over some of these bytes, as soon as there is room.
    ///
    /// # Errors
    /// As [`op::WriteAt`], of what was written before; [`NoLoop`](ErrorKind::NoLoop) and
    /// [`WrongLoop`](ErrorKind::WrongLoop) outside of its loop.
    pub fn poll_put(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, Error>> {
        let count = ready!(self.behind.poll_put(context, bytes, self.position))?;
        if count > 0 {
            self.ahead.forget();
            self.position = self.position.saturating_add(count as u64);
        }
        Poll::Ready(Ok(count))
    }

    /// Waits until everything is given to the system.
    ///
    /// # Errors
    /// As [`op::WriteAt`].
    pub fn poll_written_all(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.behind.poll_written(context)
    }

    /// Begins to move the position; [`poll_seek`](FileIo::poll_seek) says where it got. One that is under way is given up.
    pub fn start_seek(&mut self, to: SeekFrom) {
        self.seeking = Some((to, None));
    }

    /// Waits for everything to be written and for the seek that was begun, if any, and gives the position.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a place before the beginning or beyond what a file can have; the position
    /// stays. As [`op::WriteAt`], and as [`op::Stat`] for a place seen from the end.
    pub fn poll_seek(&mut self, context: &mut Context<'_>) -> Poll<Result<u64, Error>> {
        ready!(self.poll_written_all(context))?;
        let file = self.file.handle();
        let Some((to, stat)) = &mut self.seeking else { return Poll::Ready(Ok(self.position)) };
        let (from, by) = match *to {
            SeekFrom::Start(position) => (position, 0),
            SeekFrom::Current(by) => (self.position, by),
            SeekFrom::End(by) => {
                let stat = stat.get_or_insert_with(|| OpFuture::new(op::Stat::of(file)));
                let told = ready!(Pin::new(stat).poll(context));
                match told {
                    Ok(told) => (told.size, by),
                    Err(error) => {
                        self.seeking = None;
                        return Poll::Ready(Err(error));
                    }
                }
            }
        };
        self.seeking = None;
        let position = from.checked_add_signed(by).filter(|&position| i64::try_from(position).is_ok());
        let Some(position) = position else {
            return Poll::Ready(Err(Error::new(ErrorKind::InvalidInput, Kind::Seek)));
        };
        self.position = position;
        self.ahead.forget();
        Poll::Ready(Ok(position))
    }

    /// Copies what was read.
    #[cfg(any(feature = "futures-io", feature = "tokio"))]
    fn poll_copy(
        &mut self,
        context: &mut Context<'_>,
        room: usize,
        put: impl FnOnce(&[u8]),
    ) -> Poll<std::io::Result<usize>> {
        let some = ready!(self.poll_fill(context))?;
        let count = some.len().min(room);
        put(&some[..count]);
        self.consume(count);
        Poll::Ready(Ok(count))
    }
}

#[cfg(feature = "futures-io")]
mod futures_traits {
    use std::io;

    use super::*;

    impl futures_io::AsyncRead for FileIo {
        fn poll_read(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            into: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            let room = into.len();
            self.get_mut().poll_copy(context, room, |bytes| into[..bytes.len()].copy_from_slice(bytes))
        }
    }

    impl futures_io::AsyncBufRead for FileIo {
        fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
            self.get_mut().poll_fill(context).map_err(io::Error::from)
        }

        fn consume(self: Pin<&mut Self>, bytes: usize) {
            self.get_mut().consume(bytes);
        }
    }

    impl futures_io::AsyncWrite for FileIo {
        fn poll_write(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.get_mut().poll_put(context, bytes).map_err(io::Error::from)
        }

        fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.get_mut().poll_written_all(context).map_err(io::Error::from)
        }

        /// As a flush; the file is closed on drop.
        fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.poll_flush(context)
        }
    }

    impl futures_io::AsyncSeek for FileIo {
        fn poll_seek(self: Pin<&mut Self>, context: &mut Context<'_>, to: SeekFrom) -> Poll<io::Result<u64>> {
            let this = self.get_mut();
            // It is asked again with the same place until it is there.
            if this.seeking.as_ref().is_none_or(|(under_way, _)| *under_way != to) {
                this.start_seek(to);
            }
            FileIo::poll_seek(this, context).map_err(io::Error::from)
        }
    }
}

#[cfg(feature = "tokio")]
mod tokio_traits {
    use std::io;

    use tokio::io::ReadBuf;

    use super::*;

    impl tokio::io::AsyncRead for FileIo {
        fn poll_read(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            into: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let room = into.remaining();
            let copied = self.get_mut().poll_copy(context, room, |bytes| into.put_slice(bytes));
            copied.map_ok(drop)
        }
    }

    impl tokio::io::AsyncBufRead for FileIo {
        fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
            self.get_mut().poll_fill(context).map_err(io::Error::from)
        }

        fn consume(self: Pin<&mut Self>, bytes: usize) {
            self.get_mut().consume(bytes);
        }
    }

    impl tokio::io::AsyncWrite for FileIo {
        fn poll_write(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.get_mut().poll_put(context, bytes).map_err(io::Error::from)
        }

        fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.get_mut().poll_written_all(context).map_err(io::Error::from)
        }

        /// As a flush; the file is closed on drop.
        fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.poll_flush(context)
        }
    }

    impl tokio::io::AsyncSeek for FileIo {
        fn start_seek(self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
            FileIo::start_seek(self.get_mut(), to);
            Ok(())
        }

        fn poll_complete(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<u64>> {
            FileIo::poll_seek(self.get_mut(), context).map_err(io::Error::from)
        }
    }
}
