//! A losing candidate for the timer queue, kept for the comparison: a hierarchical
//! wheel with 6 bits a level, where the level is that of the highest digit that
//! differs from the cursor. The earliest deadline is cached; when it is lost, the
//! first bucket is scanned. Deadlines before the cursor are in a `BTreeMap`.
use std::collections::BTreeMap;
const NONE: u32 = u32::MAX;
const LEVELS: usize = 11;
const PAST: u16 = 11 * 64;
const FREE: u16 = u16::MAX;
#[derive(Clone, Copy)]
struct Node {
    deadline: u64,
    token: u64,
    seq: u64,
    prev: u32,
    next: u32,
    bucket: u16,
}
#[derive(Clone, Copy)]
struct List {
    head: u32,
    tail: u32,
}
#[derive(Clone, Copy)]
enum Min {
    Known(u64),
    Unknown,
}
pub(crate) struct Timers {
    nodes: Vec<Node>,
    lists: Vec<List>,
    occupied: [u64; LEVELS],
    cursor: u64,
    free: u32,
    seq: u64,
    len: usize,
    past: BTreeMap<(u64, u64), u32>,
    min: Min,
}
impl Timers {
    #[inline]
    fn bucket(&self, d: u64) -> usize {
        let diff = d ^ self.cursor;
        let level = (63 - (diff | 1).leading_zeros() as usize) / 6;
        level * 64 + ((d >> (level * 6)) & 63) as usize
    }
    fn link(&mut self, s: u32) {
        let b = self.bucket(self.nodes[s as usize].deadline);
        let l = &mut self.lists[b];
        let tail = l.tail;
        l.tail = s;
        if tail == NONE {
            l.head = s;
            self.occupied[b / 64] |= 1 << (b % 64)
        } else {
            self.nodes[tail as usize].next = s
        }
        let n = &mut self.nodes[s as usize];
        n.prev = tail;
        n.next = NONE;
        n.bucket = b as u16;
    }
    fn unlink(&mut self, s: u32) {
        let n = self.nodes[s as usize];
        let b = n.bucket as usize;
        if n.prev == NONE {
            self.lists[b].head = n.next
        } else {
            self.nodes[n.prev as usize].next = n.next
        }
        if n.next == NONE {
            self.lists[b].tail = n.prev
        } else {
            self.nodes[n.next as usize].prev = n.prev
        }
        if self.lists[b].head == NONE {
            self.occupied[b / 64] &= !(1 << (b % 64))
        }
    }
    fn first(&self) -> Option<usize> {
        (0..LEVELS)
            .find(|&l| self.occupied[l] != 0)
            .map(|l| l * 64 + self.occupied[l].trailing_zeros() as usize)
    }
    fn min(&mut self) -> Option<u64> {
        if self.len == 0 {
            return None;
        }
        if let Min::Known(m) = self.min {
            return Some(m);
        }
        let m = if let Some((&(d, _), _)) = self.past.first_key_value() {
            d
        } else {
            let b = self.first().unwrap();
            let mut s = self.lists[b].head;
            let mut m = u64::MAX;
            if b < 64 {
                m = self.nodes[s as usize].deadline
            } else {
                while s != NONE {
                    let n = &self.nodes[s as usize];
                    m = m.min(n.deadline);
                    s = n.next;
                }
            }
            m
        };
        self.min = Min::Known(m);
        Some(m)
    }
    fn advance(&mut self, to: u64) {
        // nothing is earlier than to
        if to <= self.cursor {
            return;
        }
        let level = (63 - (to ^ self.cursor).leading_zeros() as usize) / 6;
        self.cursor = to;
        if level == 0 {
            return;
        }
        let b = level * 64 + ((to >> (level * 6)) & 63) as usize;
        let mut s = self.lists[b].head;
        if s == NONE {
            return;
        }
        self.lists[b] = List { head: NONE, tail: NONE };
        self.occupied[level] &= !(1 << (b % 64));
        while s != NONE {
            let next = self.nodes[s as usize].next;
            self.link(s);
            s = next;
        }
    }
    fn release(&mut self, s: u32) -> u64 {
        self.len -= 1;
        let n = &mut self.nodes[s as usize];
        n.bucket = FREE;
        n.next = self.free;
        self.free = s;
        n.token
    }
}
impl Timers {
    pub(crate) fn new() -> Self {
        Self {
            nodes: vec![],
            lists: vec![List { head: NONE, tail: NONE }; LEVELS * 64],
            occupied: [0; LEVELS],
            cursor: 0,
            free: NONE,
            seq: 0,
            len: 0,
            past: BTreeMap::new(),
            min: Min::Unknown,
        }
    }
    pub(crate) fn insert(&mut self, deadline: u64, token: u64) -> u32 {
        let node = Node { deadline, token, seq: self.seq, prev: NONE, next: NONE, bucket: PAST };
        self.seq += 1;
        let s = if self.free != NONE {
            let s = self.free;
            self.free = self.nodes[s as usize].next;
            self.nodes[s as usize] = node;
            s
        } else {
            self.nodes.push(node);
            self.nodes.len() as u32 - 1
        };
        if deadline < self.cursor {
            self.past.insert((deadline, node.seq), s);
        } else {
            self.link(s)
        }
        if self.len == 0 {
            self.min = Min::Known(deadline)
        } else if let Min::Known(m) = self.min {
            self.min = Min::Known(m.min(deadline))
        }
        self.len += 1;
        s
    }
    pub(crate) fn cancel(&mut self, k: u32) -> u64 {
        let n = self.nodes[k as usize];
        assert!(n.bucket != FREE);
        if n.bucket == PAST {
            self.past.remove(&(n.deadline, n.seq));
        } else {
            self.unlink(k)
        }
        if let Min::Known(m) = self.min
            && m == n.deadline
        {
            self.min = Min::Unknown
        }
        self.release(k)
    }
    pub(crate) fn next_deadline(&mut self) -> Option<u64> {
        self.min()
    }
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<(u64, u64)> {
        // The bound of the first bucket is enough to move the cursor without a scan.
        let Some(m) = self.min() else {
            self.advance(now);
            return None;
        };
        if m > now {
            self.advance(now);
            return None;
        }
        self.min = Min::Unknown;
        if let Some((&(d, _), _)) = self.past.first_key_value() {
            let (_, s) = self.past.pop_first().unwrap();
            return Some((d, self.release(s)));
        }
        self.advance(m);
        let s = self.lists[(m & 63) as usize].head;
        self.unlink(s);
        Some((m, self.release(s)))
    }
}
