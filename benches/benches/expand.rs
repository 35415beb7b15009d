//! The macro: the time that a `gpt_model!` adds to a build. By default, a user's build runs the
//! macro unoptimised, as `cargo bench --profile dev --bench expand` measures it.

use criterion::{Criterion, criterion_group, criterion_main};

fn expand(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("expand");
    group.sample_size(10);
    let root = "::gpt_runtime".parse().expect("a path");
    for base in ["GPT2_SMALL", "SMOLLM2_135M", "GPT1"] {
        let tokens: proc_macro2::TokenStream =
            format!("pub struct Model {{ ..{base} }}").parse().expect("tokens");
        group.bench_function(base, |b| b.iter(|| gpt_codegen::compile(&root, tokens.clone())));
    }
}

criterion_group!(benches, expand);
criterion_main!(benches);
