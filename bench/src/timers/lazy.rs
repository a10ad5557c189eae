//! A losing candidate for the timer queue, kept for the comparison: a 4-ary heap
//! without back-pointers. Cancel marks a timer dead, dead ones on top go at once,
//! and the heap is rebuilt when the dead outnumber the live.

#[derive(Copy, Clone)]
struct Entry {
    deadline: u64,
    seq: u64,
    slot: u32,
}
impl Entry {
    #[inline]
    fn rank(&self) -> u128 {
        (self.deadline as u128) << 64 | self.seq as u128
    }
}
struct Node {
    token: u64,
    next: u32,
    dead: bool,
}
pub(crate) struct Timers {
    heap: Vec<Entry>,
    nodes: Vec<Node>,
    free: u32,
    seq: u64,
    dead: usize,
}
const NONE: u32 = u32::MAX;
const D: usize = 4;
impl Timers {
    fn up(&mut self, mut pos: usize, e: Entry) {
        while pos > 0 {
            let p = (pos - 1) / D;
            let pe = self.heap[p];
            if pe.rank() < e.rank() {
                break;
            }
            self.heap[pos] = pe;
            pos = p;
        }
        self.heap[pos] = e;
    }
    fn down(&mut self, mut pos: usize, e: Entry) {
        loop {
            let first = pos * D + 1;
            let end = self.heap.len().min(first + D);
            if first >= end {
                break;
            }
            let mut c = first;
            let mut best = self.heap[first].rank();
            for i in first + 1..end {
                let r = self.heap[i].rank();
                if r < best {
                    best = r;
                    c = i;
                }
            }
            if e.rank() < best {
                break;
            }
            self.heap[pos] = self.heap[c];
            pos = c;
        }
        self.heap[pos] = e;
    }
    fn pop(&mut self) -> Entry {
        let gone = self.heap[0];
        let last = self.heap.pop().unwrap();
        if !self.heap.is_empty() {
            self.down(0, last)
        }
        gone
    }
    fn release(&mut self, s: u32) {
        let n = &mut self.nodes[s as usize];
        n.next = self.free;
        self.free = s;
    }
    fn settle(&mut self) {
        while let Some(e) = self.heap.first() {
            let s = e.slot;
            if !self.nodes[s as usize].dead {
                break;
            }
            self.pop();
            self.release(s);
            self.dead -= 1;
        }
    }
    fn compact(&mut self) {
        let mut heap = std::mem::take(&mut self.heap);
        heap.retain(|e| {
            let n = &mut self.nodes[e.slot as usize];
            if n.dead {
                n.next = self.free;
                self.free = e.slot;
            }
            !n.dead
        });
        self.heap = heap;
        self.dead = 0;
        if self.heap.len() > 1 {
            for i in (0..=(self.heap.len() - 2) / D).rev() {
                let e = self.heap[i];
                self.down(i, e);
            }
        }
    }
}
impl Timers {
    pub(crate) fn new() -> Self {
        Self { heap: vec![], nodes: vec![], free: NONE, seq: 0, dead: 0 }
    }
    pub(crate) fn insert(&mut self, deadline: u64, token: u64) -> u32 {
        let slot = if self.free != NONE {
            let s = self.free;
            let n = &mut self.nodes[s as usize];
            self.free = n.next;
            *n = Node { token, next: 0, dead: false };
            s
        } else {
            self.nodes.push(Node { token, next: 0, dead: false });
            self.nodes.len() as u32 - 1
        };
        let e = Entry { deadline, seq: self.seq, slot };
        self.seq += 1;
        self.heap.push(e);
        self.up(self.heap.len() - 1, e);
        slot
    }
    pub(crate) fn cancel(&mut self, k: u32) -> u64 {
        let n = &mut self.nodes[k as usize];
        assert!(!n.dead);
        n.dead = true;
        let t = n.token;
        self.dead += 1;
        if self.heap[0].slot == k {
            self.settle()
        } else if self.dead > 64 && self.dead * 2 > self.heap.len() {
            self.compact()
        }
        t
    }
    pub(crate) fn next_deadline(&mut self) -> Option<u64> {
        self.heap.first().map(|e| e.deadline)
    }
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<(u64, u64)> {
        let e = *self.heap.first()?;
        if e.deadline > now {
            return None;
        }
        self.pop();
        let t = self.nodes[e.slot as usize].token;
        self.release(e.slot);
        self.settle();
        Some((e.deadline, t))
    }
}
