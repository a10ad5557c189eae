//! Reading and writing through a buffer.

use super::OpFuture;
use super::split::{Sink, Source};
use crate::op::{self, Kind};
use crate::{Error, ErrorKind};

const CAPACITY: usize = 8 * 1024;

/// Receives through a buffer: for lines, and for what comes in small pieces.
///
/// Dropping one of its futures before the end loses nothing: what had come is in the buffer, or waits on the stream.
///
/// ```
/// use nbio::task::{BufReader, BufWriter, UnixStream};
/// nbio::block_on(async {
///     let (one, other) = UnixStream::pair()?;
///     let mut writer = BufWriter::new(one);
///     writer.write_all(b"first\nsecond\n").await?;
///     writer.flush().await?;
///     drop(writer);
///     let mut reader = BufReader::new(other);
///     let mut lines = Vec::new();
///     while let Some(line) = reader.next_line().await? {
///         lines.push(line);
///     }
///     assert_eq!(lines, ["first", "second"]);
///     Ok::<(), nbio::Error>(())
/// })?;
/// # Ok::<(), nbio::Error>(())
/// ```
#[derive(Debug)]
pub struct BufReader<R: Source> {
    source: R,
    buf: Vec<u8>,
    /// How much of it was consumed.
    at: usize,
    capacity: usize,
    /// How much of an unfinished line has been looked through.
    partial: Vec<u8>,
}

impl<R: Source> BufReader<R> {
    /// With a buffer of 8 KiB.
    pub fn new(source: R) -> BufReader<R> {
        BufReader::with_capacity(CAPACITY, source)
    }

    /// With a buffer of so many bytes, at least 1.
    pub fn with_capacity(capacity: usize, source: R) -> BufReader<R> {
        BufReader { source, buf: Vec::new(), at: 0, capacity: capacity.max(1), partial: Vec::new() }
    }

    /// What is in the buffer; if nothing is, what comes next. Empty at the end of the stream only.
    ///
    /// # Errors
    /// As [`op::Recv`].
    pub async fn fill_buf(&mut self) -> Result<&[u8], Error> {
        if self.at == self.buf.len() {
            let (_, buf) =
                OpFuture::new(op::Recv::new(self.source.source(), Vec::with_capacity(self.capacity))).await?;
            (self.buf, self.at) = (buf, 0);
        }
        Ok(&self.buf[self.at..])
    }

    /// The first `bytes` of the buffer were dealt with; at most all of them are.
    pub fn consume(&mut self, bytes: usize) {
        self.at = (self.at + bytes).min(self.buf.len());
    }

    /// What was received and not consumed.
    pub fn buffer(&self) -> &[u8] {
        &self.buf[self.at..]
    }

    /// Reads some bytes; 0 at the end of the stream, or into nothing.
    ///
    /// # Errors
    /// As [`op::Recv`].
    pub async fn read(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        if into.is_empty() {
            return Ok(0);
        }
        let some = self.fill_buf().await?;
        let count = some.len().min(into.len());
        into[..count].copy_from_slice(&some[..count]);
        self.consume(count);
        Ok(count)
    }

    /// Fills the whole of `into`.
    ///
    /// # Errors
    /// As [`op::Recv`]; [`UnexpectedEof`](ErrorKind::UnexpectedEof). Ended before its time, it has consumed what it had read.
    pub async fn read_exact(&mut self, mut into: &mut [u8]) -> Result<(), Error> {
        while !into.is_empty() {
            let count = self.read(into).await?;
            if count == 0 {
                return Err(Error::new(ErrorKind::UnexpectedEof, Kind::Recv));
            }
            into = &mut into[count..];
        }
        Ok(())
    }

    /// Everything up to and with the next `end`, or up to the end of the stream; empty if it has come already.
    ///
    /// # Errors
    /// As [`op::Recv`].
    pub async fn read_until(&mut self, end: u8) -> Result<Vec<u8>, Error> {
        loop {
            let some = self.fill_buf().await?;
            let found = some.iter().position(|&byte| byte == end).map(|at| at + 1);
            let count = found.unwrap_or(some.len());
            let is_over = some.is_empty();
            let from = self.at;
            self.partial.extend_from_slice(&self.buf[from..from + count]);
            self.consume(count);
            if found.is_some() || is_over {
                return Ok(std::mem::take(&mut self.partial));
            }
        }
    }

    /// The next line, without its end (`\n` or `\r\n`); `None` at the end of the stream.
    ///
    /// # Errors
    /// As [`op::Recv`]; [`InvalidData`](ErrorKind::InvalidData) for a line that isn't UTF-8, which is skipped.
    pub async fn next_line(&mut self) -> Result<Option<String>, Error> {
        let mut line = self.read_until(b'\n').await?;
        if line.is_empty() {
            return Ok(None);
        }
        if line.ends_with(b"\n") {
            line.pop();
            if line.ends_with(b"\r") {
                line.pop();
            }
        }
        let line = String::from_utf8(line);
        line.map(Some).map_err(|_| Error::new(ErrorKind::InvalidData, Kind::Recv))
    }

    /// The stream. What is in the buffer is lost.
    pub fn into_inner(self) -> R {
        self.source
    }
}

/// Sends through a buffer: what is written is collected, and sent when the buffer is full or
/// [`flush`](BufWriter::flush)ed. Dropped, it sends nothing more.
#[derive(Debug)]
pub struct BufWriter<W: Sink> {
    sink: W,
    buf: Vec<u8>,
    capacity: usize,
}

impl<W: Sink> BufWriter<W> {
    /// With a buffer of 8 KiB.
    pub fn new(sink: W) -> BufWriter<W> {
        BufWriter::with_capacity(CAPACITY, sink)
    }

    /// With a buffer of so many bytes, at least 1.
    pub fn with_capacity(capacity: usize, sink: W) -> BufWriter<W> {
        BufWriter { sink, buf: Vec::new(), capacity: capacity.max(1) }
    }

    /// Writes bytes.
    ///
    /// # Errors
    /// As [`op::Send`]; bytes that were in the buffer may be lost then.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            if self.buf.len() == self.capacity {
                self.flush().await?;
            }
            let count = bytes.len().min(self.capacity - self.buf.len());
            self.buf.extend_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
        }
        Ok(())
    }

    /// Sends what is in the buffer. Dropped in the middle, it leaves the stream [`Broken`](ErrorKind::Broken), or has sent
    /// nothing and lost the buffer.
    ///
    /// # Errors
    /// As [`op::Send`].
    pub async fn flush(&mut self) -> Result<(), Error> {
        if self.buf.is_empty() {
            return Ok(());
        }
        let buf = std::mem::take(&mut self.buf);
        let (_, mut buf) = OpFuture::new(op::Send::new(self.sink.sink(), buf).all()).await?;
        buf.clear();
        self.buf = buf;
        Ok(())
    }

    /// What was written and not sent.
    pub fn buffer(&self) -> &[u8] {
        &self.buf
    }

    /// The stream. What is in the buffer is lost.
    pub fn into_inner(self) -> W {
        self.sink
    }
}
