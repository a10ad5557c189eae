//! Lent memory doesn't outlive its owner.
use nbio::Lent;

fn main() {
    let _lent: Lent<'static> = Lent::from(&mut vec![0; 8]);
}
