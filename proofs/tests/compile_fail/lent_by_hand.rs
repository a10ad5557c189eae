//! Lent memory can't be made up, nor be called initialised.
use nbio::Lent;

fn initialise(lent: Lent<'_>) -> Lent<'_> {
    Lent { initialised: 100, ..lent }
}

fn main() {}
