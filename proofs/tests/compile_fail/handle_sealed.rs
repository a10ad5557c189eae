//! Nobody else can make handles: what `Handle` needs can't be named.
use nbio::handle::sealed::Handle;

fn main() {}
