//! The Rust blocks of the READMEs and of the book, as doctests.

macro_rules! pages {
    ($($name:ident: $path:literal,)*) => {$(
        #[doc = include_str!(concat!("../../", $path))]
        pub struct $name;
    )*};
}

pages! {
    Readme: "README.md",
    Runtime: "gpt-runtime/README.md",
    Introduction: "docs/src/introduction.md",
    Article: "docs/src/article.md",
    Sidebars: "docs/src/sidebars.md",
    OwnModel: "docs/src/own-model.md",
    Spec: "docs/src/spec.md",
    Training: "docs/src/training.md",
    Weights: "docs/src/weights.md",
    Devices: "docs/src/devices.md",
    Games: "docs/src/games.md",
    Search: "docs/src/search.md",
    Explain: "docs/src/explain.md",
    Reliability: "docs/src/reliability.md",
    AddingThings: "docs/src/adding-things.md",
}
