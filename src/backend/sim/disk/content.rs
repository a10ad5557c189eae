//! What is in one file: as it reads now, and as the disk has it.
//!
//! Pages are shared until they change, so that what the disk has of a changed one costs a copy of it, and a copy of a
//! file costs nothing. What isn't there reads as zeros.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::draw::Draw;

/// The unit of space, and of what the system writes to the disk.
pub(in crate::backend::sim) const PAGE: usize = 4_096;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

type Page = Arc<[u8; PAGE]>;

#[derive(Clone, Default)]
pub(in crate::backend::sim) struct Content {
    length: u64,
    pages: BTreeMap<u64, Page>,
    durable_length: u64,
    /// Of the pages that have changed since they were synced last, what the disk has.
    stale: BTreeMap<u64, Stale>,
}

#[derive(Clone)]
struct Stale {
    page: Option<Page>,
    /// The system believes it to be on the disk, where it is not: writing it has failed once.
    believed: bool,
}

/// The part of a range that is in one page: its number, the place in it, and how many bytes.
fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let within = (at % PAGE as u64) as usize;
        let bytes = (length - done).min(PAGE - within);
        done += bytes;
        (bytes > 0).then_some((at / PAGE as u64, within, bytes))
    })
}

impl Content {
    pub(in crate::backend::sim) fn length(&self) -> u64 {
        self.length
    }

    /// How many pages it takes on the disk.
    pub(in crate::backend::sim) fn pages(&self) -> u64 {
        self.pages.len() as u64
    }

    /// How many of so many bytes there are at a place.
    pub(in crate::backend::sim) fn there(&self, offset: u64, most: usize) -> usize {
        usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX).min(most)
    }

    /// Gives the bytes of a range, which is within the length, piece by piece.
    pub(in crate::backend::sim) fn read(&self, offset: u64, length: usize, mut take: impl FnMut(&[u8])) {
        for (number, at, bytes) in parts(offset, length) {
            match self.pages.get(&number) {
                Some(page) => take(&page[at..at + bytes]),
                None => take(&[0; PAGE][..bytes]),
            }
        }
    }

    /// How many pages more it would take to have all of a range.
    pub(in crate::backend::sim) fn missing(&self, from: u64, to: u64) -> u64 {
        let range = from / PAGE as u64..to.div_ceil(PAGE as u64);
        range.end - range.start - self.pages.range(range).count() as u64
    }

    /// How many of so many bytes could be written at a place with so many pages more.
    pub(in crate::backend::sim) fn fitting(&self, offset: u64, length: usize, mut pages: u64) -> usize {
        let mut bytes = 0;
        for (number, _, part) in parts(offset, length) {
            let missing = u64::from(!self.pages.contains_key(&number));
            if missing > pages {
                break;
            }
            pages -= missing;
            bytes += part;
        }
        bytes
    }

    /// Has a range written, piece by piece.
    pub(in crate::backend::sim) fn write(
        &mut self,
        offset: u64,
        length: usize,
        mut fill: impl FnMut(&mut [u8]),
    ) {
        for (number, at, bytes) in parts(offset, length) {
            fill(&mut self.change(number)[at..at + bytes]);
        }
        self.length = self.length.max(offset + length as u64);
    }

    /// A page that is about to change.
    fn change(&mut self, number: u64) -> &mut [u8; PAGE] {
        self.note(number);
        Arc::make_mut(self.pages.entry(number).or_insert_with(|| Arc::new([0; PAGE])))
    }

    fn note(&mut self, number: u64) {
        let page = || self.pages.get(&number).cloned();
        self.stale.entry(number).or_insert_with(|| Stale { page: page(), believed: false }).believed = false;
    }

    pub(in crate::backend::sim) fn set_length(&mut self, length: u64) {
        // Space behind the end goes, too.
        if length <= self.length {
            self.clear(length, u64::MAX);
        }
        self.length = length;
    }

    /// Makes a range read as zeros, and gives back the pages that are wholly in it.
    pub(in crate::backend::sim) fn clear(&mut self, from: u64, to: u64) {
        let size = PAGE as u64;
        let (first, end) = (from / size, to.div_ceil(size));
        let numbers: Vec<u64> = self.pages.range(first..end).map(|page| *page.0).collect();
        for number in numbers {
            let begin = from.saturating_sub(number * size).min(size) as usize;
            // What lies behind the file's end goes with the rest.
            let last = if to >= self.length { size } else { (to - number * size).min(size) } as usize;
            if begin == 0 && last == PAGE {
                self.note(number);
                self.pages.remove(&number);
            } else {
                self.change(number)[begin..last].fill(0);
            }
        }
    }

    /// Takes space for a range.
    pub(in crate::backend::sim) fn reserve(&mut self, from: u64, to: u64) {
        let zeros = Arc::new([0; PAGE]);
        for number in from / PAGE as u64..to.div_ceil(PAGE as u64) {
            if !self.pages.contains_key(&number) {
                self.note(number);
                self.pages.insert(number, zeros.clone());
            }
        }
    }

    /// The same in a new file, of which the disk has nothing.
    pub(in crate::backend::sim) fn as_new(&self) -> Content {
        let stale = |&number: &u64| (number, Stale { page: None, believed: false });
        Content {
            length: self.length,
            pages: self.pages.clone(),
            durable_length: 0,
            stale: self.pages.keys().map(stale).collect(),
        }
    }

    /// The disk has all of it; but for what the system only believes to be there.
    pub(in crate::backend::sim) fn sync(&mut self) {
        self.durable_length = self.length;
        self.stale.retain(|_, stale| stale.believed);
    }

    /// Writing to the disk has failed, and the system takes what it has in memory for written, as Linux does.
    pub(in crate::backend::sim) fn sync_in_vain(&mut self) {
        self.stale.values_mut().for_each(|stale| stale.believed = true);
    }

    /// The power fails: of what has changed since the last sync, some sectors are on the disk and some are not.
    pub(in crate::backend::sim) fn crash(&mut self, draw: &mut Draw) {
        for (number, Stale { page: old, believed }) in std::mem::take(&mut self.stale) {
            let new = self.pages.remove(&number);
            let fate = if believed { 0 } else { draw.below(3) };
            let page = match fate {
                0 => old,
                1 => new,
                _ => Some(mixture(old, new, draw)),
            };
            page.map(|page| self.pages.insert(number, page));
        }
        let (shorter, longer) = (self.length.min(self.durable_length), self.length.max(self.durable_length));
        let length = match draw.below(3) {
            0 => self.durable_length,
            1 => self.length,
            _ => shorter + draw.below(longer - shorter + 1),
        };
        self.length = longer;
        self.set_length(length);
        self.stale.clear();
        self.durable_length = length;
    }
}

/// Of each sector one or the other.
fn mixture(old: Option<Page>, new: Option<Page>, draw: &mut Draw) -> Page {
    let zeros = || Arc::new([0; PAGE]);
    let (mut page, new) = (old.unwrap_or_else(zeros), new.unwrap_or_else(zeros));
    let sectors = Arc::make_mut(&mut page).chunks_mut(SECTOR).zip(new.chunks(SECTOR));
    sectors.filter(|_| draw.once_in(2)).for_each(|(to, from)| to.copy_from_slice(from));
    page
}
