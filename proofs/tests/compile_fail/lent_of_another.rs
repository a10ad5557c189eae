//! A buffer can't lend memory that it doesn't own.
use nbio::{IoBuf, IoBufMut, Lent};

struct Liar;

impl IoBuf for Liar {
    fn bytes(&self) -> &[u8] {
        &[]
    }
}

impl IoBufMut for Liar {
    fn as_uninit(&mut self) -> Lent<'_> {
        let mut local = [0; 64];
        Lent::from(&mut local[..])
    }
}

fn main() {}
