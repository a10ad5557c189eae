//! Nobody else can lend a changing set of buffers: what `Buffers` needs can't be named.
use nbio::buf::sealed::Buffers;

fn main() {}
