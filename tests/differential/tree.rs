//! What there is in the folder of a program, and what to do with it.

use fastrand::Rng;
use nbio::ErrorKind;

use crate::files::{Files, How, Turn};
use crate::model::{Expected, Model};

const NAMES: usize = 6;

#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
enum Entry {
    #[default]
    Nothing,
    /// Its number among the lengths.
    File(usize),
    Directory {
        full: bool,
    },
    Symlink,
}

#[derive(Copy, Clone, Debug)]
struct Open {
    inode: usize,
    cursor: usize,
    closed: bool,
}

/// What is in the folder, and what is open.
#[derive(Debug, Default)]
pub struct Tree {
    names: [Entry; NAMES],
    lengths: Vec<usize>,
    open: Vec<Open>,
}

impl Tree {
    /// A file that is open, and its length.
    pub fn open_file(&self, rng: &mut Rng) -> Option<(usize, usize)> {
        let open = (0..self.open.len()).filter(|&file| !self.open[file].closed).collect::<Vec<_>>();
        let file = rng.choice(open)?;
        Some((file, self.lengths[self.open[file].inode]))
    }

    fn new_file(&mut self, name: usize, length: usize) {
        self.names[name] = Entry::File(self.lengths.len());
        self.lengths.push(length);
    }
}

pub fn draw(tree: &mut Tree, model: &mut Model) -> Option<Files> {
    match model.rng.u8(..100) {
        0..40 => places(tree, model),
        40..52 => cursor(tree, model),
        52..66 => whole(tree, model),
        66..80 => ask(tree, model),
        80..92 => change(tree, model),
        92..96 => several_names(tree, model),
        _ => {
            let (file, _) = tree.open_file(&mut model.rng)?;
            match model.rng.u8(..6) {
                0 => {
                    tree.open[file].closed = true;
                    Some(Files::Close { file })
                }
                1 => {
                    model.ends(Expected::Done);
                    Some(Files::Fsync { file })
                }
                2 => {
                    let length = model.rng.usize(1..8_000);
                    tree.lengths[tree.open[file].inode] = length;
                    model.ends(Expected::Done);
                    Some(Files::Truncate { file, length })
                }
                _ => lock(tree, model, file),
            }
        }
    }
}

fn lock(tree: &Tree, model: &mut Model, holder: usize) -> Option<Files> {
    let inode = tree.open[holder].inode;
    let same = |file: &usize| *file != holder && tree.open[*file].inode == inode && !tree.open[*file].closed;
    let other = (0..tree.open.len()).find(same)?;
    model.ends(Expected::Done);
    model.fails(ErrorKind::WouldBlock);
    model.ends(Expected::Done);
    Some(Files::Lock { holder, other })
}

/// Reads and writes at places, of which some reach behind the end, or are of a file that is closed.
fn places(tree: &mut Tree, model: &mut Model) -> Option<Files> {
    let vectored = model.rng.bool();
    let closed = (0..tree.open.len()).filter(|&file| tree.open[file].closed).collect::<Vec<_>>();
    if model.rng.u8(..12) == 0
        && let Some(file) = model.rng.choice(closed)
    {
        model.fails(ErrorKind::StaleHandle);
        return Some(Files::ReadAt { file, offset: 0, bytes: 10, vectored });
    }
    let (file, length) = tree.open_file(&mut model.rng)?;
    let offset = model.rng.usize(..=length);
    if model.rng.u8(..3) == 0 {
        let bytes = model.rng.usize(1..3_000);
        let end = &mut tree.lengths[tree.open[file].inode];
        *end = length.max(offset + bytes);
        model.ends(Expected::Moves);
        return Some(Files::WriteAt { file, offset, bytes, vectored });
    }
    let behind = offset == length || model.rng.u8(..6) == 0;
    let bytes = match length - offset {
        there if behind => there + 1 + model.rng.usize(..100),
        there => model.rng.usize(1..=there),
    };
    model.ends(if behind { Expected::Fails(ErrorKind::UnexpectedEof) } else { Expected::Moves });
    Some(Files::ReadAt { file, offset, bytes, vectored })
}

fn cursor(tree: &mut Tree, model: &mut Model) -> Option<Files> {
    let (file, _) = tree.open_file(&mut model.rng)?;
    let mut turns = Vec::new();
    for turn in 0..model.rng.usize(2..7) {
        let length = tree.lengths[tree.open[file].inode];
        let cursor = &mut tree.open[file].cursor;
        let bytes = model.rng.usize(1..2_000);
        turns.push(match model.rng.u8(..8) {
            0..4 => {
                let there = length.saturating_sub(*cursor);
                let all = bytes <= there;
                *cursor += bytes.min(there);
                model.ends(if all { Expected::Moves } else { Expected::Fails(ErrorKind::UnexpectedEof) });
                Turn::Read(bytes)
            }
            4..6 => {
                *cursor += bytes;
                tree.lengths[tree.open[file].inode] = length.max(*cursor);
                model.ends(Expected::Moves);
                Turn::Write(bytes)
            }
            // The one before has its turn, if that isn't over at once.
            6 if turn > 0 && matches!(turns.last(), Some(Turn::Read(_) | Turn::Write(_))) => {
                model.fails(ErrorKind::Cancelled);
                Turn::Cancelled
            }
            _ => {
                *cursor = model.rng.usize(..=length);
                model.ends(Expected::Done);
                Turn::Seek(*cursor)
            }
        });
    }
    Some(Files::Cursor { file, turns })
}

fn whole(tree: &mut Tree, model: &mut Model) -> Option<Files> {
    let name = model.rng.usize(..NAMES);
    if model.rng.u8(..3) > 0 {
        match tree.names[name] {
            Entry::Nothing => model.fails(ErrorKind::NotFound),
            Entry::File(inode) if tree.lengths[inode] > 0 => model.ends(Expected::Moves),
            Entry::Directory { .. } => model.fails(ErrorKind::IsADirectory),
            _ => return None,
        }
        return Some(Files::ReadFile { name });
    }
    let (bytes, atomic) = (model.rng.usize(1..6_000), model.rng.u8(..4) == 0);
    match tree.names[name] {
        Entry::File(inode) if !atomic => tree.lengths[inode] = bytes,
        Entry::Nothing | Entry::File(_) => tree.new_file(name, bytes),
        Entry::Directory { .. } => {
            model.fails(ErrorKind::IsADirectory);
            return Some(Files::WriteFile { name, bytes, atomic });
        }
        Entry::Symlink => return None,
    }
    model.ends(Expected::Moves);
    Some(Files::WriteFile { name, bytes, atomic })
}

/// What is asked of one name.
fn ask(tree: &mut Tree, model: &mut Model) -> Option<Files> {
    use ErrorKind::{NotADirectory, NotFound};
    let name = model.rng.usize(..NAMES);
    let entry = tree.names[name];
    let (expected, action) = match (model.rng.u8(..20), entry) {
        (0..3, Entry::Nothing) => (Expected::Fails(NotFound), Files::Stat { name }),
        (0..3, _) => (Expected::Moves, Files::Stat { name }),
        (3, _) => (Expected::Moves, Files::StatFile { file: tree.open_file(&mut model.rng)?.0 }),
        (4..6, Entry::File(_)) => (Expected::Fails(NotADirectory), Files::ReadUnder { name }),
        (4..6, Entry::Nothing) => (Expected::Fails(NotFound), Files::ReadUnder { name }),
        (6..12, _) => return open(tree, model, name),
        (12..15, entry) => {
            let expected = match entry {
                Entry::Nothing => Expected::Fails(NotFound),
                Entry::Symlink => Expected::Moves,
                _ => Expected::Fails(ErrorKind::InvalidInput),
            };
            (expected, Files::ReadLink { name })
        }
        (15..18, entry) => {
            let expected = match entry {
                Entry::Directory { full: true } => Expected::Moves,
                Entry::Directory { .. } => Expected::Done,
                Entry::File(_) => Expected::Fails(NotADirectory),
                // A link leads to nothing.
                _ => Expected::Fails(NotFound),
            };
            (expected, Files::ReadDir { name: Some(name) })
        }
        (18, _) if tree.names != [Entry::Nothing; NAMES] => (Expected::Moves, Files::ReadDir { name: None }),
        _ => return None,
    };
    model.ends(expected);
    Some(action)
}

/// What is done to one name.
fn change(tree: &mut Tree, model: &mut Model) -> Option<Files> {
    use ErrorKind::{AlreadyExists, DirectoryNotEmpty, IsADirectory, NotADirectory, NotFound};
    let name = model.rng.usize(..NAMES);
    let entry = tree.names[name];
    let (expected, action) = match (model.rng.u8(..11), entry) {
        (0..2, Entry::Nothing) => (Expected::Fails(NotFound), Files::Unlink { name }),
        (0..2, Entry::Directory { .. }) => (Expected::Fails(IsADirectory), Files::Unlink { name }),
        (0, _) => (Expected::Done, Files::Unlink { name }),
        (2..4, Entry::Nothing) => (Expected::Done, Files::Mkdir { name }),
        (2..4, _) => (Expected::Fails(AlreadyExists), Files::Mkdir { name }),
        (4..7, Entry::Nothing) => (Expected::Fails(NotFound), Files::Rmdir { name }),
        (4..7, Entry::Directory { full: true }) => {
            (Expected::Fails(DirectoryNotEmpty), Files::Rmdir { name })
        }
        (4, Entry::Directory { .. }) => (Expected::Done, Files::Rmdir { name }),
        (4..7, Entry::File(_) | Entry::Symlink) => (Expected::Fails(NotADirectory), Files::Rmdir { name }),
        (7, Entry::Directory { .. }) => (Expected::Moves, Files::Fill { name }),
        (8, Entry::Nothing) => (Expected::Done, Files::Symlink { name }),
        (8..10, Entry::File(_) | Entry::Directory { .. } | Entry::Symlink) => {
            (Expected::Fails(AlreadyExists), Files::Symlink { name })
        }
        _ => return None,
    };
    match (&action, expected) {
        (Files::Fill { .. }, _) => tree.names[name] = Entry::Directory { full: true },
        (Files::Mkdir { .. }, Expected::Done) => tree.names[name] = Entry::Directory { full: false },
        (Files::Symlink { .. }, Expected::Done) => tree.names[name] = Entry::Symlink,
        (_, Expected::Done) => tree.names[name] = Entry::Nothing,
        _ => {}
    }
    model.ends(expected);
    Some(action)
}

fn open(tree: &mut Tree, model: &mut Model, name: usize) -> Option<Files> {
    let how = [How::Plain, How::CreateNew, How::Directory, How::NoFollow][model.rng.usize(..4)];
    let file = tree.open.len();
    let expected = match (how, tree.names[name]) {
        (How::Plain | How::NoFollow, Entry::File(inode)) => {
            // A few are enough.
            if tree.open.iter().filter(|open| !open.closed).count() > 3 {
                return None;
            }
            tree.open.push(Open { inode, cursor: 0, closed: false });
            Expected::Done
        }
        (How::CreateNew, Entry::Nothing) => {
            tree.new_file(name, 0);
            tree.open.push(Open { inode: tree.lengths.len() - 1, cursor: 0, closed: false });
            Expected::Done
        }
        (How::CreateNew, _) => Expected::Fails(ErrorKind::AlreadyExists),
        (How::NoFollow, Entry::Symlink) => Expected::Fails(ErrorKind::FilesystemLoop),
        (How::Plain | How::NoFollow, Entry::Directory { .. }) => Expected::Fails(ErrorKind::IsADirectory),
        (How::Directory, Entry::File(_)) => Expected::Fails(ErrorKind::NotADirectory),
        (How::Directory, Entry::Directory { .. }) => return None,
        (_, Entry::Nothing | Entry::Symlink) => Expected::Fails(ErrorKind::NotFound),
    };
    model.ends(expected);
    Some(Files::Open { name, how, file })
}

/// What has two names.
fn several_names(tree: &mut Tree, model: &mut Model) -> Option<Files> {
    let (from, to) = (model.rng.usize(..NAMES), model.rng.usize(..NAMES));
    let no_replace = model.rng.bool();
    if from == to || matches!(tree.names[from], Entry::Symlink) || matches!(tree.names[to], Entry::Symlink) {
        return None;
    }
    let what = model.rng.u8(..3);
    let action = match what {
        0 => Files::Rename { from, to, no_replace },
        1 => Files::Copy { from, to, no_replace },
        _ => Files::Link { from, to },
    };
    let expected = match (tree.names[from], tree.names[to]) {
        (Entry::Nothing, _) => Expected::Fails(ErrorKind::NotFound),
        (Entry::File(one), Entry::File(other)) if one == other => return None,
        (Entry::Directory { .. }, Entry::Nothing) if what == 1 => Expected::Fails(ErrorKind::IsADirectory),
        (Entry::Directory { .. }, _) => return None,
        (Entry::File(_), Entry::File(_) | Entry::Directory { .. }) if no_replace || what == 2 => {
            Expected::Fails(ErrorKind::AlreadyExists)
        }
        (Entry::File(_), Entry::Directory { .. }) => Expected::Fails(ErrorKind::IsADirectory),
        (Entry::File(inode), _) => {
            let length = tree.lengths[inode];
            match what {
                0 => tree.names[to] = std::mem::take(&mut tree.names[from]),
                1 => tree.new_file(to, length),
                _ => tree.names[to] = Entry::File(inode),
            }
            if what == 1 && length > 0 { Expected::Moves } else { Expected::Done }
        }
        (Entry::Symlink, _) => unreachable!("left out above"),
    };
    model.ends(expected);
    Some(action)
}
