//! Nobody else can say what an operation is: what `Operation` needs can't be named.
use nbio::engine::op::Describe;

fn main() {}
