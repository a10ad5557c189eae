//! From a path to what it names.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path};

use super::inodes::{Body, Inodes, ROOT};
use crate::ErrorKind;

/// Where a path leads.
pub(in crate::backend::sim) struct Found {
    /// The directory that has the name, or would have it.
    pub(in crate::backend::sim) directory: u64,
    /// `None` for one that needs none: `/`, `.` and `..`.
    pub(in crate::backend::sim) name: Option<OsString>,
    pub(in crate::backend::sim) inode: Option<u64>,
    /// It ends with a separator: only a directory can be meant.
    pub(in crate::backend::sim) is_directory: bool,
}

/// How many links are followed (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// The longest name, and the longest path, in bytes (Linux: NAME_MAX, PATH_MAX).
const LONGEST_NAME: usize = 255;
const LONGEST_PATH: usize = 4_095;

/// What is left of a path to go.
enum Step {
    Root,
    Up,
    Down(OsString),
}

/// A path's steps, and whether only a directory can be meant.
fn steps(path: &Path) -> (VecDeque<Step>, bool) {
    let bytes = path.as_os_str().as_encoded_bytes();
    let separated = |end: &[u8]| end.last().is_some_and(|&byte| std::path::is_separator(byte.into()));
    let ends_in_dot = bytes.strip_suffix(b".").is_some_and(|rest| rest.is_empty() || separated(rest));
    let steps = path.components().filter_map(|component| match component {
        Component::RootDir => Some(Step::Root),
        Component::ParentDir => Some(Step::Up),
        Component::Normal(name) => Some(Step::Down(name.to_owned())),
        Component::CurDir | Component::Prefix(_) => None,
    });
    (steps.collect(), separated(bytes) || ends_in_dot)
}

impl Inodes {
    /// Follows a path from a directory; a link at its end only if asked.
    pub(in crate::backend::sim) fn walk(
        &self,
        from: u64,
        path: &Path,
        follow: bool,
    ) -> Result<Found, ErrorKind> {
        match path.as_os_str().len() {
            0 => return Err(ErrorKind::NotFound),
            1..=LONGEST_PATH => {}
            _ => return Err(ErrorKind::InvalidFilename),
        }
        let (mut left, mut is_directory) = steps(path);
        let (mut at, mut links) = (from, 0);
        while let Some(step) = left.pop_front() {
            let name = match step {
                Step::Root => {
                    at = ROOT;
                    continue;
                }
                Step::Up => {
                    at = self.parent(at)?;
                    continue;
                }
                Step::Down(name) => name,
            };
            let inode = self.look_up(at, &name)?;
            let is_last = left.is_empty();
            let target = inode.and_then(|number| match &self.get(number).body {
                Body::Symlink(target) => Some(target).filter(|_| !is_last || follow || is_directory),
                _ => None,
            });
            if let Some(target) = target {
                links += 1;
                if links > MOST_LINKS {
                    return Err(ErrorKind::FilesystemLoop);
                }
                let (mut before, ends_so) = steps(target);
                is_directory |= is_last && ends_so;
                before.append(&mut left);
                left = before;
            } else if is_last {
                let is_file = inode.is_some_and(|number| self.directory(number).is_none());
                if is_directory && is_file {
                    return Err(ErrorKind::NotADirectory);
                }
                return Ok(Found { directory: at, name: Some(name), inode, is_directory });
            } else {
                at = inode.ok_or(ErrorKind::NotFound)?;
            }
        }
        self.directory(at).ok_or(ErrorKind::NotADirectory)?;
        Ok(Found { directory: at, name: None, inode: Some(at), is_directory: true })
    }

    /// What a path leads to, if there is anything.
    pub(in crate::backend::sim) fn find(
        &self,
        from: u64,
        path: &Path,
        follow: bool,
    ) -> Result<u64, ErrorKind> {
        self.walk(from, path, follow)?.inode.ok_or(ErrorKind::NotFound)
    }

    fn look_up(&self, directory: u64, name: &OsStr) -> Result<Option<u64>, ErrorKind> {
        let directory = self.directory(directory).ok_or(ErrorKind::NotADirectory)?;
        if name.len() > LONGEST_NAME {
            return Err(ErrorKind::InvalidFilename);
        }
        Ok(directory.entries.get(name).copied())
    }

    fn parent(&self, number: u64) -> Result<u64, ErrorKind> {
        let directory = self.directory(number).ok_or(ErrorKind::NotADirectory)?;
        // One that was removed while it was open has none any more.
        if self.get(number).names == 0 && number != ROOT {
            return Err(ErrorKind::NotFound);
        }
        Ok(directory.parent)
    }
}
