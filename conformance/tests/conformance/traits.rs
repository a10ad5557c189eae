//! The traits of others on streams and files, and items as futures: issue 7, "Traits" and "Every operation struct can be
//! awaited".

use std::io::{Cursor, Read, Seek, SeekFrom, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use futures_util::{Stream, StreamExt};
use nbio::task::{self, FileIo, Items, TcpStream, items, spawn};
use nbio::{ErrorKind, ManyOperation, op};

use crate::folder::Folder;
use crate::support::{Case, Subject, listen};
use crate::wire::{Io, noise};

pub const CASES: &[Case] = &[
    Case { name: "a_stream_by_the_traits_of_others", run: streams },
    Case { name: "a_write_tells_the_error_of_the_one_before", run: late_errors },
    Case { name: "what_is_written_is_sent_without_a_flush", run: unflushed },
    Case { name: "what_is_written_is_sent_before_what_follows_the_traits", run: handed_over },
    Case { name: "a_flush_ends_with_its_loop", run: flush_without_loop },
    Case { name: "incoming_is_a_stream", run: incoming },
    Case { name: "a_file_by_the_traits_of_others", run: files },
    Case { name: "a_file_tells_of_places_and_errors", run: file_ends },
    Case { name: "items_that_nobody_took_are_joined", run: joined },
    Case { name: "items_end_once_whatever_ends_them", run: ends },
    Case { name: "items_of_a_poll_and_of_progress", run: polls_and_progress },
];

/// Whether there is nothing yet.
async fn waits<O: ManyOperation>(items: &mut Items<O>) -> bool {
    std::future::poll_fn(|context| Poll::Ready(items.poll_next(context).is_pending())).await
}

/// What is written to one end comes out of the other, whole and in order, and then the end.
fn streams(subject: &Subject) {
    let io: Io = subject.io();
    let (listener, address) = listen(&io);
    let listener = io.own(listener).unwrap();
    let (up, down) = (noise(200_000, 1), noise(150_000, 2));
    io.block_on(async {
        let (sent, answer) = (up.clone(), down.clone());
        let server = spawn(async move {
            let mut io = task::Io::new(listener.accept().await.unwrap().0);
            let mut got = Vec::new();
            AsyncReadExt::read_to_end(&mut io, &mut got).await.unwrap();
            assert!(got == sent);
            tokio::io::AsyncWriteExt::write_all(&mut io, &answer).await.unwrap();
            tokio::io::AsyncWriteExt::shutdown(&mut io).await.unwrap();
        });
        let mut io = task::Io::new(TcpStream::connect(address).await.unwrap());
        AsyncWriteExt::write_all(&mut io, &up).await.unwrap();
        AsyncWriteExt::close(&mut io).await.unwrap();
        let mut got = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut io, &mut got).await.unwrap();
        assert!(got == down);
        server.await.unwrap();
    })
    .unwrap();
}

/// "What goes wrong then is told by the next write, flush or shutdown", and by all that follow.
fn late_errors(subject: &Subject) {
    let io: Io = subject.io();
    let (listener, address) = listen(&io);
    let listener = io.own(listener).unwrap();
    io.block_on(async {
        let stream = TcpStream::connect(address).await.unwrap();
        let (_peer, _) = listener.accept().await.unwrap();
        stream.shutdown(op::Half::Write).await.unwrap();
        let mut io = task::Io::new(stream);
        // Taken over, and sent later.
        assert_eq!(AsyncWriteExt::write(&mut io, b"late").await.unwrap(), 4);
        let error = AsyncWriteExt::flush(&mut io).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
        assert!(AsyncWriteExt::write(&mut io, b"later").await.is_err());
        assert!(tokio::io::AsyncWriteExt::shutdown(&mut io).await.is_err());
    })
    .unwrap();
}

/// A connection with the traits of others, and its peer.
async fn connection(listener: &task::TcpListener) -> (task::Io<nbio::TcpStream>, TcpStream) {
    let stream = TcpStream::connect(listener.local_address().unwrap()).await.unwrap();
    (task::Io::new(stream), listener.accept().await.unwrap().0)
}

/// Documented: the loop sends by itself what was written, also what came while it was sending.
fn unflushed(subject: &Subject) {
    let io: Io = subject.io();
    let listener = io.own(listen(&io).0).unwrap();
    io.block_on(async {
        let (mut io, peer) = connection(&listener).await;
        for part in ["one ", "two ", "three"] {
            AsyncWriteExt::write_all(&mut io, part.as_bytes()).await.unwrap();
        }
        let (_, got) = peer.recv_exact(vec![0; 13], 13).await.unwrap();
        assert_eq!(got, b"one two three");
    })
    .unwrap();
}

/// Documented at `into_inner`.
fn handed_over(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let listener = io.own(listen(&io).0).unwrap();
    let path = folder.at("file");
    io.block_on(async {
        let (mut io, peer) = connection(&listener).await;
        AsyncWriteExt::write_all(&mut io, b"one ").await.unwrap();
        AsyncWriteExt::write_all(&mut io, b"two ").await.unwrap();
        io.into_inner().send_all("three").await.unwrap();
        let (_, got) = peer.recv_exact(vec![0; 13], 13).await.unwrap();
        assert_eq!(got, b"one two three");
        let mut file = FileIo::new(task::File::create(&path).await.unwrap());
        AsyncWriteExt::write_all(&mut file, b"one ").await.unwrap();
        AsyncWriteExt::write_all(&mut file, b"two ").await.unwrap();
        let _open = file.into_inner();
        // Writes at two places end in any order: a file that is long enough may still have a hole.
        let (back, mut found) = (task::File::open(&path).await.unwrap(), Vec::new());
        while found != b"one two " {
            task::yield_now().await;
            let (count, got) = back.read_at(vec![0; 8], 0).await.unwrap();
            found = got[..count].to_vec();
        }
    })
    .unwrap();
}

/// Counts how often it is woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What is being sent when its loop is dropped is `Cancelled`, and who waits for it is woken; without a loop nothing is taken.
fn flush_without_loop(subject: &Subject) {
    let io: Io = subject.io();
    let listener = io.own(listen(&io).0).unwrap();
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(bell.clone());
    let mut context = Context::from_waker(&waker);
    let (mut stream, _peer) = io.block_on(connection(&listener)).unwrap();
    let idle = stream.poll_put(&mut context, b"early").map_err(|error| error.kind());
    assert_eq!(idle, Poll::Ready(Err(ErrorKind::NoLoop)));
    io.block_on(std::future::poll_fn(|_| {
        assert!(stream.poll_put(&mut context, &noise(100, 5)).is_ready());
        Poll::Ready(())
    }))
    .unwrap();
    assert!(stream.poll_sent_all(&mut context).is_pending());
    assert_eq!(bell.0.load(Ordering::Relaxed), 0);
    drop(io);
    assert_eq!(bell.0.load(Ordering::Relaxed), 1);
    let flushed = stream.poll_sent_all(&mut context).map_err(|error| error.kind());
    assert_eq!(flushed, Poll::Ready(Err(ErrorKind::Cancelled)));
}

fn incoming(subject: &Subject) {
    let io: Io = subject.io();
    let (listener, address) = listen(&io);
    let listener = io.own(listener).unwrap();
    io.block_on(async {
        drop(spawn(async move {
            for byte in 0..3 {
                let stream = TcpStream::connect(address).await.unwrap();
                stream.send_all(vec![byte]).await.unwrap();
                stream.recv(vec![0]).await.unwrap();
            }
        }));
        let mut incoming = listener.incoming().take(3);
        let mut numbers = Vec::new();
        while let Some(accepted) = incoming.next().await {
            let (stream, _) = accepted.unwrap();
            numbers.push(stream.recv(vec![0]).await.unwrap().1[0]);
            stream.send_all(vec![0]).await.unwrap();
        }
        assert_eq!(numbers, [0, 1, 2]);
    })
    .unwrap();
}

/// Reads, writes and seeks at random places do what they do to bytes in memory.
fn files(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let path = folder.at("file");
    let (contents, mut random) = (noise(70_000, 3), fastrand::Rng::with_seed(4));
    let mut model = Cursor::new(Vec::new());
    io.block_on(async {
        let open = op::Open::new(&path).read(true).write(true).create(true);
        let mut file = FileIo::new(task::File::open_with(open).await.unwrap());
        for _ in 0..150 {
            let most = [40, 3000, 70_000][random.usize(0..3)];
            let length = random.usize(0..most);
            match random.u8(0..3) {
                0 if random.bool() => {
                    AsyncWriteExt::write_all(&mut file, &contents[..length]).await.unwrap();
                    model.write_all(&contents[..length]).unwrap();
                }
                0 => {
                    tokio::io::AsyncWriteExt::write_all(&mut file, &contents[..length]).await.unwrap();
                    model.write_all(&contents[..length]).unwrap();
                }
                1 => {
                    let (mut got, mut expected) = (vec![0; length], vec![0; length]);
                    let there = model.read(&mut expected).unwrap();
                    AsyncReadExt::read_exact(&mut file, &mut got[..there]).await.unwrap();
                    assert!(got[..there] == expected[..there]);
                }
                _ => {
                    let size = model.get_ref().len();
                    let at = random.usize(0..=size) as i64;
                    let to = match random.u8(0..3) {
                        0 => SeekFrom::Start(at as u64),
                        1 => SeekFrom::End(at - size as i64),
                        _ => SeekFrom::Current(at - model.position() as i64),
                    };
                    let got = match random.bool() {
                        true => AsyncSeekExt::seek(&mut file, to).await,
                        false => tokio::io::AsyncSeekExt::seek(&mut file, to).await,
                    };
                    assert_eq!(got.unwrap(), model.seek(to).unwrap());
                }
            }
        }
        AsyncWriteExt::close(&mut file).await.unwrap();
        assert!(std::fs::read(&path).unwrap() == *model.get_ref());
    })
    .unwrap();
}

fn file_ends(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let path = folder.file("file", "hello");
    io.block_on(async {
        let mut file = FileIo::new(task::File::open(&path).await.unwrap());
        // A place before the beginning: the position stays.
        for to in [SeekFrom::End(-6), SeekFrom::Current(-1), SeekFrom::Start(u64::MAX)] {
            assert!(AsyncSeekExt::seek(&mut file, to).await.is_err());
        }
        let mut got = String::new();
        AsyncReadExt::read_to_string(&mut file, &mut got).await.unwrap();
        assert_eq!(got, "hello");
        // Behind the end there is nothing.
        assert_eq!(AsyncSeekExt::seek(&mut file, SeekFrom::End(3)).await.unwrap(), 8);
        assert_eq!(AsyncReadExt::read(&mut file, &mut [0; 4]).await.unwrap(), 0);
        // It isn't open for writing, which is told late, and once.
        assert_eq!(AsyncWriteExt::write(&mut file, b"no").await.unwrap(), 2);
        assert!(AsyncWriteExt::flush(&mut file).await.is_err());
        AsyncWriteExt::flush(&mut file).await.unwrap();
    })
    .unwrap();
}

/// What nobody has taken takes no memory: periods are added up.
fn joined(subject: &Subject) {
    let io: Io = subject.io();
    let period = Duration::from_millis(2);
    let mut every = items(op::Interval::every(period));
    io.block_on(async {
        let start = task::now().unwrap();
        let mut periods = every.next().await.unwrap().unwrap();
        // Several come while nobody takes them.
        for _ in 0..3 {
            task::sleep(2 * period).await.unwrap();
        }
        let late = every.next().await.unwrap().unwrap();
        assert!(late >= 2, "{late} together");
        periods += late;
        let passed = task::now().unwrap() - start;
        assert!(u128::from(periods) <= passed.as_nanos() / period.as_nanos());
        assert!(StreamExt::next(&mut every).await.unwrap().unwrap() >= 1);
    })
    .unwrap();
    drop(every);
    assert_eq!(io.in_flight(), 0);
}

/// Guarantee 2: exactly one end, by whatever.
fn ends(subject: &Subject) {
    let io: Io = subject.io();
    let hour = Duration::from_secs(3600);
    io.block_on(async {
        let mut late = items(op::Interval::every(hour).timeout(Duration::from_millis(1)));
        assert_eq!(late.next().await.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(late.next().await, Ok(None));
        let mut cancelled = items(op::Interval::every(hour));
        assert!(waits(&mut cancelled).await);
        cancelled.cancel();
        assert_eq!(cancelled.next().await.unwrap_err().kind(), ErrorKind::Cancelled);
        assert_eq!(cancelled.next().await, Ok(None));
    })
    .unwrap();
    // Outside a loop, and when the loop goes.
    let noop = &mut Context::from_waker(Waker::noop());
    let mut outside = items(op::Interval::every(hour));
    let Poll::Ready(Err(error)) = outside.poll_next(noop) else { panic!("there is no loop") };
    assert_eq!((error.kind(), error.operation()), (ErrorKind::NoLoop, op::Kind::Interval));
    let mut left = items(op::Interval::every(hour));
    io.block_on(async { assert!(waits(&mut left).await) }).unwrap();
    drop(io);
    let Poll::Ready(Some(Err(error))) = Stream::poll_next(Pin::new(&mut left), noop) else {
        panic!("the loop is gone")
    };
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Cancelled, op::Kind::Interval));
    assert_eq!(left.poll_next(noop), Poll::Ready(Ok(None)));
}

fn polls_and_progress(subject: &Subject) {
    let (io, folder): (Io, _) = (subject.io(), Folder::new());
    let contents = noise(3_000_000, 5);
    let (from, to) = (folder.file("from", &contents), folder.at("to"));
    io.block_on(async {
        let listener = std::net::TcpListener::bind(crate::support::own_address()).unwrap();
        let near = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let far = listener.accept().unwrap().0;
        let mut readable = items(op::PollMany::new(&near, op::Interest::READABLE));
        assert!(waits(&mut readable).await);
        for _ in 0..3 {
            (&far).write_all(b"x").unwrap();
            assert!(readable.next().await.unwrap().unwrap().readable);
            (&near).read_exact(&mut [0]).unwrap();
        }
        drop(readable);
        let (mut progress, mut last) = (items(op::CopyFile::new(&from, &to).progress()), 0);
        while let Some(bytes) = progress.next().await.unwrap() {
            assert!(bytes >= last);
            last = bytes;
        }
        assert_eq!(last, 3_000_000);
    })
    .unwrap();
    assert!(std::fs::read(&to).unwrap() == contents);
}
