//! Compile errors, rendered as the user sees them. `TRYBUILD=overwrite cargo test --test
//! diagnostics` writes them anew, to be looked at before they are committed.

#[test]
fn wrong_specs() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("ui/*.rs");
}
