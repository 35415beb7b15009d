//! Compile errors as rustc prints them. `TRYBUILD=overwrite cargo test -p gpt-ui-tests` updates the
//! expected output; review it before you commit it.

#[test]
fn wrong_specs() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("*.rs");
}
