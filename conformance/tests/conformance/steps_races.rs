//! Operations of several steps among all others, ended in every way at every moment.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use nbio::{Event, File, Half, OpId, Operation, TcpStream, op};

use crate::folder::Folder;
use crate::support::{Case, Drops, Subject, long};
use crate::wire::{Io, noise, turn};

pub const CASES: &[Case] = &[Case { name: "each_ends_once_whatever_happens_to_it", run: races }];

/// What has been submitted, and how often each has called back.
struct Race {
    io: Io,
    random: fastrand::Rng,
    streams: Vec<TcpStream>,
    file: Option<File>,
    folder: Rc<Folder>,
    submitted: Vec<(OpId, Rc<Cell<u32>>, bool)>,
    drops: Drops,
}

/// Guarantees 2, 4 and 5: one end for each that wasn't removed, none for the others; every callback dropped; nothing in
/// flight when all is closed.
fn races(subject: &Subject) {
    let folder = Rc::new(Folder::new());
    let path = folder.file("sent", noise(700_000, 1));
    for seed in 0..if long() { 500 } else { 60 } {
        let io: Io = subject.io();
        let ((a, b), (c, d)) = (subject.both_ends(&io), subject.both_ends(&io));
        let file = (!subject.simulated()).then(|| io.adopt(std::fs::File::open(&path).unwrap()).unwrap());
        let random = fastrand::Rng::with_seed(seed);
        let (streams, drops) = (vec![a, b, c, d], Drops::new());
        let folder = folder.clone();
        let mut race = Race { io, random, streams, file, folder, submitted: Vec::new(), drops };
        for _ in 0..40 {
            race.act();
        }
        for stream in std::mem::take(&mut race.streams) {
            race.io.close(stream);
        }
        race.io.run().unwrap();
        while race.io.in_flight() > 0 {
            race.io.tick(Some(Duration::from_millis(1))).unwrap();
        }
        assert!(race.folder.names().iter().all(|name| name == "sent" || name == "copy"), "seed {seed}");
        assert_eq!(race.drops.count(), race.submitted.len(), "seed {seed}");
        for (number, (_, ends, removed)) in race.submitted.iter().enumerate() {
            assert_eq!(ends.get(), u32::from(!removed), "operation {number} of seed {seed}");
        }
    }
}

impl Race {
    fn act(&mut self) {
        let stream = self.streams[self.random.usize(..self.streams.len())];
        let other = self.streams[self.random.usize(..self.streams.len())];
        match self.random.u32(..16) {
            0..=2 => {
                let limit = [u64::MAX, 0, 1, 100_000][self.random.usize(..4)];
                self.once(op::Splice::new(stream, other).limit(limit));
            }
            3 | 4 => match self.file {
                Some(file) if self.random.bool() => self.once(op::SendFile::new(file, stream)),
                Some(file) => self.many(op::SendFile::new(file, stream).progress()),
                None => self.once(op::Splice::new(stream, stream)),
            },
            5 | 6 => self.once(op::Send::new(stream, vec![7; 300_000]).all()),
            7..=9 => self.once(op::Recv::new(stream, vec![0; 100_000])),
            10 if self.file.is_some() && self.random.bool() => self.copy(),
            10 => self.once(op::Shutdown::new(stream, Half::Write)),
            11 => self.end(true),
            12 => self.end(false),
            13 if self.random.u32(..8) == 0 => self.io.close(stream),
            _ => turn(&self.io, self.random.usize(..4)),
        }
    }

    fn copy(&mut self) {
        let copy = op::CopyFile::new(self.folder.at("sent"), self.folder.at("copy"));
        if self.random.bool() { self.once(copy) } else { self.many(copy.progress()) }
    }

    fn once<O: Operation>(&mut self, operation: O) {
        let (ends, counted) = (Rc::new(Cell::new(0)), self.drops.counted());
        let seen = ends.clone();
        let operation = match self.random.u32(..4) {
            0 => operation.timeout(Duration::from_micros(self.random.u64(..2_000))),
            _ => operation,
        };
        let id = self.io.submit(operation, move |_, _, _| {
            seen.set(seen.get() + 1);
            drop(counted);
        });
        self.submitted.push((id, ends, false));
    }

    fn many(&mut self, operation: impl nbio::ManyOperation<Item = u64>) {
        let (ends, counted) = (Rc::new(Cell::new(0)), self.drops.counted());
        let seen = ends.clone();
        let mut total = 0;
        let id = self.io.submit_many(operation, move |_, _, event| {
            let _keep = &counted;
            match event {
                Event::Item(bytes) => {
                    assert!(bytes > total && seen.get() == 0);
                    total = bytes;
                }
                Event::End(_) => seen.set(seen.get() + 1),
            }
        });
        self.submitted.push((id, ends, false));
    }

    /// Cancels or removes one of those that were submitted.
    fn end(&mut self, remove: bool) {
        if self.submitted.is_empty() {
            return;
        }
        let at = self.random.usize(..self.submitted.len());
        let (id, _, removed) = &mut self.submitted[at];
        if remove {
            *removed |= self.io.remove(*id);
        } else {
            self.io.cancel(*id);
        }
    }
}
