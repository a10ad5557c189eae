//! The parts of a file's times that are less than a second, and when it was created, where they have these names.

use super::system::Stat;

pub(crate) fn accessed(stat: &Stat) -> i64 {
    stat.st_atime_nsec
}

pub(crate) fn modified(stat: &Stat) -> i64 {
    stat.st_mtime_nsec
}

pub(crate) fn changed(stat: &Stat) -> i64 {
    stat.st_ctime_nsec
}

pub(crate) fn created(stat: &Stat) -> Option<(i64, i64)> {
    Some((stat.st_birthtime, stat.st_birthtime_nsec))
}
