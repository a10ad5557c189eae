//! A losing candidate for the timer queue, kept for the comparison: a 4-ary
//! heap with back-pointers, one element a timer, real removal.

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
    pos: u32,
}
pub(crate) struct Timers {
    heap: Vec<Entry>,
    nodes: Vec<Node>,
    free: u32,
    seq: u64,
}
const D: usize = 4;
const NONE: u32 = u32::MAX;
impl Timers {
    #[inline]
    fn set(&mut self, pos: usize, e: Entry) {
        self.heap[pos] = e;
        self.nodes[e.slot as usize].pos = pos as u32;
    }
    fn up(&mut self, mut pos: usize, e: Entry) {
        while pos > 0 {
            let p = (pos - 1) / D;
            let pe = self.heap[p];
            if pe.rank() < e.rank() {
                break;
            }
            self.set(pos, pe);
            pos = p;
        }
        self.set(pos, e);
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
            let ce = self.heap[c];
            self.set(pos, ce);
            pos = c;
        }
        self.set(pos, e);
    }
    fn remove(&mut self, pos: usize) -> Entry {
        let gone = self.heap[pos];
        let last = self.heap.pop().unwrap();
        if pos < self.heap.len() {
            if last.rank() < gone.rank() { self.up(pos, last) } else { self.down(pos, last) }
        }
        gone
    }
    fn release(&mut self, s: u32) -> u64 {
        let n = &mut self.nodes[s as usize];
        n.pos = self.free;
        self.free = s;
        n.token
    }
}
impl Timers {
    pub(crate) fn new() -> Self {
        Self { heap: vec![], nodes: vec![], free: NONE, seq: 0 }
    }
    pub(crate) fn insert(&mut self, deadline: u64, token: u64) -> u32 {
        let slot = if self.free != NONE {
            let s = self.free;
            let n = &mut self.nodes[s as usize];
            self.free = n.pos;
            n.token = token;
            s
        } else {
            self.nodes.push(Node { token, pos: 0 });
            self.nodes.len() as u32 - 1
        };
        let e = Entry { deadline, seq: self.seq, slot };
        self.seq += 1;
        self.heap.push(e);
        self.up(self.heap.len() - 1, e);
        slot
    }
    pub(crate) fn cancel(&mut self, k: u32) -> u64 {
        let pos = self.nodes[k as usize].pos as usize;
        assert!(self.heap[pos].slot == k);
        self.remove(pos);
        self.release(k)
    }
    pub(crate) fn next_deadline(&mut self) -> Option<u64> {
        self.heap.first().map(|e| e.deadline)
    }
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<(u64, u64)> {
        let e = *self.heap.first()?;
        if e.deadline > now {
            return None;
        }
        self.remove(0);
        Some((e.deadline, self.release(e.slot)))
    }
}
