//! What programs do with files, in a folder of their own.

use std::io::SeekFrom;

use nbio::{Done, Error, File, op};

use crate::perform::content;
use crate::run::Run;

/// Names and open files are numbers.
#[derive(Clone, Debug)]
pub enum Files {
    WriteFile {
        name: usize,
        bytes: usize,
        atomic: bool,
    },
    ReadFile {
        name: usize,
    },
    /// Reads a file as if it were a directory.
    ReadUnder {
        name: usize,
    },
    Open {
        name: usize,
        how: How,
        file: usize,
    },
    ReadAt {
        file: usize,
        offset: usize,
        bytes: usize,
        vectored: bool,
    },
    WriteAt {
        file: usize,
        offset: usize,
        bytes: usize,
        vectored: bool,
    },
    /// Several at the cursor, handed over at once.
    Cursor {
        file: usize,
        turns: Vec<Turn>,
    },
    Truncate {
        file: usize,
        length: usize,
    },
    Fsync {
        file: usize,
    },
    Stat {
        name: usize,
    },
    StatFile {
        file: usize,
    },
    Rename {
        from: usize,
        to: usize,
        no_replace: bool,
    },
    Unlink {
        name: usize,
    },
    Mkdir {
        name: usize,
    },
    Rmdir {
        name: usize,
    },
    /// Makes a file in a directory.
    Fill {
        name: usize,
    },
    Link {
        from: usize,
        to: usize,
    },
    Symlink {
        name: usize,
    },
    ReadLink {
        name: usize,
    },
    /// Of the folder itself, if there is no name.
    ReadDir {
        name: Option<usize>,
    },
    Copy {
        from: usize,
        to: usize,
        no_replace: bool,
    },
    /// The second handle doesn't get the lock.
    Lock {
        holder: usize,
        other: usize,
    },
    Close {
        file: usize,
    },
}

#[derive(Copy, Clone, Debug)]
pub enum How {
    Plain,
    CreateNew,
    Directory,
    NoFollow,
}

#[derive(Copy, Clone, Debug)]
pub enum Turn {
    Read(usize),
    Write(usize),
    /// Cancelled before its turn has come.
    Cancelled,
    Seek(usize),
}

impl Files {
    /// Whether it changes nothing, nor is what it sees changed by the operations of streams.
    pub fn is_gentle(&self) -> bool {
        matches!(
            self,
            Files::ReadFile { .. }
                | Files::ReadUnder { .. }
                | Files::ReadAt { .. }
                | Files::Stat { .. }
                | Files::StatFile { .. }
                | Files::ReadLink { .. }
                | Files::ReadDir { .. }
        )
    }
}

impl Run {
    fn path(&self, name: usize) -> std::path::PathBuf {
        self.folder.at(&format!("name-{name}"))
    }

    fn opened(&self, file: usize) -> File {
        self.files.borrow()[&file]
    }

    pub fn file(&mut self, action: &Files, op: usize) {
        match *action {
            Files::Close { file } => self.io.close(self.opened(file)),
            Files::Lock { holder, other } => self.lock(holder, other, op),
            Files::Cursor { file, ref turns } => self.cursor(file, turns, op),
            Files::Open { name, how, file } => self.open(name, how, file, op),
            Files::ReadAt { .. } | Files::WriteAt { .. } => self.place(action, op),
            Files::WriteFile { .. }
            | Files::Fill { .. }
            | Files::ReadFile { .. }
            | Files::ReadUnder { .. }
            | Files::Stat { .. }
            | Files::StatFile { .. }
            | Files::ReadLink { .. }
            | Files::ReadDir { .. }
            | Files::Copy { .. } => self.whole(action, op),
            _ => self.without_answer(action, op),
        }
    }

    fn without_answer(&self, action: &Files, op: usize) {
        let (io, tell) = (&self.io, self.tell(op));
        let result = |_: &mut (), _: &_, result: Result<(), Error>| tell.result(result);
        match *action {
            Files::Mkdir { name } => io.mkdir(self.path(name), result),
            Files::Rmdir { name } => io.rmdir(self.path(name), result),
            Files::Unlink { name } => io.unlink(self.path(name), result),
            Files::Link { from, to } => io.submit(op::Link::new(self.path(from), self.path(to)), result),
            Files::Symlink { name } => io.submit(op::Symlink::new("nothing", self.path(name)), result),
            Files::Fsync { file } => io.fsync(self.opened(file), result),
            Files::Truncate { file, length } => io.truncate(self.opened(file), length as u64, result),
            Files::Rename { from, to, no_replace } => {
                let rename = op::Rename::new(self.path(from), self.path(to));
                io.submit(if no_replace { rename.no_replace() } else { rename }, result)
            }
            ref other => unreachable!("{other:?} has an answer"),
        };
    }

    fn whole(&self, action: &Files, op: usize) {
        let (io, tell) = (&self.io, self.tell(op));
        let metadata = |found: op::Metadata| {
            let size = if found.file_type == nbio::FileType::Directory { 0 } else { found.size };
            (found.file_type, size, found.mode, found.links)
        };
        match *action {
            Files::WriteFile { name, bytes, atomic } => {
                let write = op::WriteFile::new(self.path(name), content(op, bytes));
                let write = if atomic { write.atomic() } else { write };
                io.submit(write, |_, _, done| tell.sent(&done))
            }
            Files::Fill { name } => {
                io.write_file(self.path(name).join("inside"), content(op, 100), |_, _, done| tell.sent(&done))
            }
            Files::ReadFile { name } => io.read_file(self.path(name), |_, _, read| tell.data(read)),
            Files::ReadUnder { name } => {
                io.read_file(self.path(name).join("under"), |_, _, read| tell.data(read))
            }
            Files::Stat { name } => {
                io.submit(op::Stat::new(self.path(name)).follow(false), move |_, _, found| {
                    tell.data(found.map(metadata));
                })
            }
            Files::StatFile { file } => io.submit(op::Stat::of(self.opened(file)), move |_, _, found| {
                tell.data(found.map(metadata));
            }),
            Files::ReadLink { name } => {
                io.submit(op::ReadLink::new(self.path(name)), |_, _, target| tell.data(target))
            }
            Files::ReadDir { name } => {
                let path = name.map_or(self.folder.at(""), |name| self.path(name));
                io.read_dir(path, |_, _, entries| {
                    tell.data(entries.map(|entries| {
                        let names = entries.into_iter().map(|entry| (entry.name, entry.file_type));
                        let mut names = names.map(|entry| format!("{entry:?}")).collect::<Vec<_>>();
                        names.sort();
                        names
                    }));
                })
            }
            Files::Copy { from, to, no_replace } => {
                let copy = op::CopyFile::new(self.path(from), self.path(to));
                let copy = if no_replace { copy.no_replace() } else { copy };
                io.submit(copy, |_, _, copied| match copied {
                    Ok(copied) => tell.bytes(copied.bytes, &[], Ok(())),
                    Err(error) => tell.result(Err(error)),
                })
            }
            ref other => unreachable!("{other:?} has a function of its own"),
        };
    }

    fn open(&self, name: usize, how: How, file: usize, op: usize) {
        let (tell, files) = (self.tell(op), self.files.clone());
        let open = op::Open::new(self.path(name));
        let both = |open: op::Open| open.read(true).write(true);
        let open = match how {
            How::Plain => both(open),
            How::CreateNew => both(open).create_new(true),
            How::Directory => open.directory(true),
            How::NoFollow => both(open).nofollow(true),
        };
        self.io.submit(open, move |_, _, opened| {
            tell.result(opened.map(|opened| {
                files.borrow_mut().insert(file, opened);
            }));
        });
    }

    fn place(&self, action: &Files, op: usize) {
        let (io, tell) = (&self.io, self.tell(op));
        match *action {
            Files::ReadAt { file, offset, bytes, vectored: false } => {
                let read = op::ReadAt::new(self.opened(file), Vec::with_capacity(bytes), offset as u64);
                io.submit(read.exact(bytes), |_, _, done| tell.moved(&done, done.data()))
            }
            Files::ReadAt { file, offset, bytes, .. } => {
                let room = vec![Vec::with_capacity(bytes / 2 + 1), Vec::with_capacity(bytes)];
                let read = op::ReadAtVectored::new(self.opened(file), room, offset as u64).exact(bytes);
                io.submit(read, |_, _, done: Done<Vec<Vec<u8>>>| tell.moved(&done, &done.buf.concat()))
            }
            Files::WriteAt { file, offset, bytes, vectored: false } => {
                io.write_all_at(self.opened(file), content(op, bytes), offset as u64, |_, _, done| {
                    tell.sent(&done);
                })
            }
            Files::WriteAt { file, offset, bytes, .. } => {
                let parts = content(op, bytes).chunks(1_000).map(Vec::from).collect::<Vec<_>>();
                let write = op::WriteAtVectored::new(self.opened(file), parts, offset as u64).all();
                io.submit(write, |_, _, done| tell.sent(&done))
            }
            ref other => unreachable!("{other:?} has no place"),
        };
    }

    fn cursor(&self, file: usize, turns: &[Turn], first: usize) {
        let (io, file) = (&self.io, self.opened(file));
        for (op, turn) in (first..).zip(turns) {
            let tell = self.tell(op);
            match *turn {
                Turn::Read(bytes) => {
                    io.read_exact(file, Vec::with_capacity(bytes), bytes, |_, _, done| {
                        tell.moved(&done, done.data());
                    });
                }
                Turn::Write(bytes) => {
                    io.write_all(file, content(op, bytes), |_, _, done| tell.sent(&done));
                }
                Turn::Cancelled => {
                    let write = io.write_all(file, content(op, 10), |_, _, done| tell.sent(&done));
                    assert!(io.cancel(write));
                }
                Turn::Seek(place) => {
                    io.seek(file, SeekFrom::Start(place as u64), |_, _, place| tell.text(place));
                }
            }
        }
    }

    /// One handle locks, another one can't, and the first one lets go.
    fn lock(&self, holder: usize, other: usize, first: usize) {
        let (holder, other) = (self.opened(holder), self.opened(other));
        let [locked, refused, unlocked] = [0, 1, 2].map(|number| self.tell(first + number));
        self.io.submit(op::Lock::new(holder), move |_, io, result| {
            locked.result(result);
            io.submit(op::Lock::new(other).no_wait(), move |_, io, result| {
                refused.result(result);
                io.submit(op::Unlock::new(holder), |_, _, result| unlocked.result(result));
            });
        });
    }
}
