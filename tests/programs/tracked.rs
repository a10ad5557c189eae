//! What is counted: every closure and every buffer of a program holds something whose drops are counted.

use std::cell::RefCell;
use std::rc::Rc;

use nbio::{IoBuf, IoBufMut, Lent};

/// How often each counted thing was dropped.
#[derive(Default)]
pub struct Ledger(RefCell<Vec<u8>>);

impl Ledger {
    pub fn counted(self: &Rc<Ledger>) -> Counted {
        let mut drops = self.0.borrow_mut();
        drops.push(0);
        Counted { ledger: self.clone(), number: drops.len() - 1 }
    }

    /// The numbers of those that were not dropped exactly once.
    pub fn wrong(&self) -> Vec<(usize, u8)> {
        let drops = self.0.borrow();
        drops.iter().copied().enumerate().filter(|&(_, drops)| drops != 1).collect()
    }
}

/// One counted thing.
pub struct Counted {
    ledger: Rc<Ledger>,
    number: usize,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let drops = &mut self.ledger.0.borrow_mut()[self.number];
        *drops = drops.saturating_add(1);
    }
}

/// A buffer whose drops are counted.
pub struct Tracked<B> {
    pub buf: B,
    _counted: Counted,
}

impl<B> Tracked<B> {
    pub fn new(buf: B, ledger: &Rc<Ledger>) -> Tracked<B> {
        Tracked { buf, _counted: ledger.counted() }
    }
}

impl<B: IoBuf> IoBuf for Tracked<B> {
    fn bytes(&self) -> &[u8] {
        self.buf.bytes()
    }
}

impl<B: IoBufMut> IoBufMut for Tracked<B> {
    fn as_uninit(&mut self) -> Lent<'_> {
        self.buf.as_uninit()
    }
}

/// What makes a closure too large and too strictly aligned for a slot; notices when somebody writes there.
#[repr(align(256))]
pub struct Ballast([u8; 700]);

impl Ballast {
    const PATTERN: u8 = 0xB7;

    pub fn new() -> Ballast {
        Ballast([Self::PATTERN; 700])
    }

    pub fn is_intact(&self) -> bool {
        self.0.iter().all(|&byte| byte == Self::PATTERN)
    }
}
