//! Guarantee 11: what must not compile. Each file of `compile_fail/` tries something that would break a guarantee.
//!
//! `TRYBUILD=overwrite cargo test --test compile_fail` writes the expected messages anew, for a new compiler.

#[test]
fn refused_by_the_compiler() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/compile_fail/*.rs");
    // The message lists the implementations of a trait, and there is one more with this feature.
    if !cfg!(feature = "bytes") {
        cases.compile_fail("tests/compile_fail/without_bytes/*.rs");
    }
}
