//! The shots that the engine has handed over: where each is, in lists that are threaded through them.

use std::os::fd::RawFd;

use super::descriptors::{NONE, Queue};
use crate::backend::Token;
use crate::backend::syscall::Syscall;
use crate::engine::handles::Means;

/// Where a shot is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// There is none.
    Nowhere,
    /// Handed over since the last wait, and not tried yet.
    Fresh,
    /// It waits for its descriptor.
    Parked(Queue),
    /// It is tried again after a while, since nothing tells when.
    Later,
    /// On a thread of the pool, or on its way there.
    Pool(u64),
}

#[derive(Copy, Clone)]
pub(super) struct Pending {
    pub(super) generation: u32,
    pub(super) descriptor: RawFd,
    pub(super) place: Place,
    pub(super) means: Means,
    pub(super) lingers: bool,
    /// It was cancelled before it was tried: it is tried all the same, but waits for nothing.
    pub(super) unwanted: bool,
    pub(super) call: Syscall,
    next: u32,
    previous: u32,
}

/// Shots, threaded through their `next` and `previous`.
#[derive(Copy, Clone, Debug)]
pub(super) struct List {
    pub(super) head: u32,
    tail: u32,
}

impl List {
    pub(super) const EMPTY: List = List { head: NONE, tail: NONE };

    pub(super) fn push(&mut self, shots: &mut Shots, index: u32) {
        let tail = std::mem::replace(&mut self.tail, index);
        let shot = shots.get(index);
        shot.previous = tail;
        shot.next = NONE;
        match tail {
            NONE => self.head = index,
            tail => shots.get(tail).next = index,
        }
    }

    pub(super) fn push_front(&mut self, shots: &mut Shots, index: u32) {
        let head = std::mem::replace(&mut self.head, index);
        let shot = shots.get(index);
        shot.previous = NONE;
        shot.next = head;
        match head {
            NONE => self.tail = index,
            head => shots.get(head).previous = index,
        }
    }

    pub(super) fn unlink(&mut self, shots: &mut Shots, index: u32) {
        if self.head == index && self.tail == index {
            *self = List::EMPTY;
            return;
        }
        let Pending { next, previous, .. } = *shots.get(index);
        match previous {
            NONE => self.head = next,
            previous => shots.get(previous).next = next,
        }
        match next {
            NONE => self.tail = previous,
            next => shots.get(next).previous = previous,
        }
    }
}

/// One place for each slot of the engine: an operation has one shot at a time.
#[derive(Default)]
pub(super) struct Shots {
    all: Vec<Pending>,
}

impl Shots {
    const EMPTY: Pending = Pending {
        generation: 0,
        descriptor: -1,
        place: Place::Nowhere,
        means: Means::Socket,
        lingers: false,
        unwanted: false,
        call: Syscall::Close,
        next: NONE,
        previous: NONE,
    };

    pub(super) fn insert(
        &mut self,
        token: Token,
        descriptor: RawFd,
        means: Means,
        lingers: bool,
        call: Syscall,
    ) {
        let index = token.index as usize;
        if self.all.len() <= index {
            self.all.resize(index + 1, Shots::EMPTY);
        }
        let place = &mut self.all[index];
        debug_assert!(place.place == Place::Nowhere, "an operation has one shot at a time");
        let generation = token.generation;
        *place =
            Pending { generation, descriptor, place: Place::Fresh, means, lingers, call, ..Shots::EMPTY };
    }

    pub(super) fn get(&mut self, index: u32) -> &mut Pending {
        &mut self.all[index as usize]
    }

    /// The shot with this token, if it is here.
    pub(super) fn find(&mut self, token: Token) -> Option<&mut Pending> {
        let shot = self.all.get_mut(token.index as usize)?;
        (shot.generation == token.generation && shot.place != Place::Nowhere).then_some(shot)
    }

    pub(super) fn next(&mut self, index: u32) -> u32 {
        self.get(index).next
    }

    pub(super) fn token(&mut self, index: u32) -> Token {
        Token { index, generation: self.get(index).generation }
    }

    pub(super) fn all(&mut self) -> impl Iterator<Item = &mut Pending> {
        self.all.iter_mut().filter(|shot| shot.place != Place::Nowhere)
    }
}
