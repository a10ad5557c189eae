//! Memory that isn't initialised can't be lent: its bytes would be called initialised.
use nbio::Lent;
use std::mem::MaybeUninit;

fn main() {
    let mut memory = [MaybeUninit::<u8>::uninit(); 8];
    let _ = Lent::from(&mut memory[..]);
}
