//! The keys of a spec are documented in the compiler's table, in the types for editors, and in the
//! README. They must agree.

use gpt_codegen::keys::{KEYS, Key, Kind, reference, type_name};

fn read(path: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn the_readme_has_the_table_of_keys() {
    let readme = read("README.md");
    assert!(
        readme.contains(&reference()),
        "README.md has to contain this table:\n\n{}",
        reference()
    );
}

/// The doc comment of an item as one text.
fn doc(attributes: &[syn::Attribute]) -> String {
    let lines = attributes.iter().filter_map(|a| match &a.meta {
        syn::Meta::NameValue(pair) => match &pair.value {
            syn::Expr::Lit(syn::ExprLit {
                lit: syn::Lit::Str(text),
                ..
            }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    });
    lines.collect::<Vec<_>>().join(" ")
}

fn check_field(field: &syn::Field, key: &Key) {
    assert_eq!(field.ident.as_ref().unwrap(), key.name);
    let doc = doc(&field.attrs);
    match key.default {
        Some(default) => assert!(doc.contains(&format!("`{default}`")), "{}: {doc}", key.name),
        None => assert!(!doc.contains("unless given"), "{}: {doc}", key.name),
    }
}

#[test]
fn types_for_editors_have_all_keys_and_choices() {
    let file: syn::File = syn::parse_file(&read("gpt-runtime/src/spec_docs.rs")).unwrap();
    let spec = file.items.iter().find_map(|item| match item {
        syn::Item::Struct(item) if item.ident == "Spec" => Some(item),
        _ => None,
    });
    let fields: Vec<&syn::Field> = spec.expect("a struct Spec").fields.iter().collect();
    assert_eq!(fields.len(), KEYS.len());
    for (field, key) in fields.into_iter().zip(&KEYS) {
        check_field(field, key);
        let Kind::Choice(variants) = key.kind else {
            continue;
        };
        let choice = file.items.iter().find_map(|item| match item {
            syn::Item::Enum(item) if item.ident == type_name(key.name) => Some(item),
            _ => None,
        });
        let choice = choice.unwrap_or_else(|| panic!("no enum for {}", key.name));
        assert_eq!(choice.variants.len(), variants.len(), "{}", key.name);
        for (shown, variant) in choice.variants.iter().zip(variants) {
            assert_eq!(shown.ident, variant.name);
            assert_eq!(shown.fields.len(), variant.fields.len(), "{}", variant.name);
            for (field, key) in shown.fields.iter().zip(variant.fields) {
                check_field(field, key);
            }
        }
    }
}
