//! The macro's output. Snapshots have a small model without its kernels, formatted for review, and
//! one kernel of another; the other tests validate the kernels of many models.

use std::collections::HashSet;

use gpt_plan::{Feature, Features};
use gpt_runtime::__private::shaders::{self, variants::VARIANTS};
use gpt_tests::specs::{Cover, covering};

/// Compares with `snapshots/`. `INSTA_UPDATE=always cargo test` updates the snapshot; review it
/// before you commit it.
#[test]
fn a_small_model() {
    let tokens = "
        /// A model for reading.
        pub struct Small {
            vocab: 5, context: 4, layers: 2, heads: 2, embed: 4,
            mlp: Dense { hidden: 2 * embed, activation: |x| x / (1.0 + exp(-x)) },
            ..GPT2_SMALL
        }
    ";
    let items = gpt_codegen::compile(&"::gpt_runtime".parse().unwrap(), tokens.parse().unwrap());
    let file: syn::File = syn::parse2(items).expect("the compiler writes Rust");
    insta::assert_snapshot!(without_kernels(&prettyplease::unparse(&file)));
}

/// Removes the kernels, because their headers are a tenth of a megabyte.
fn without_kernels(text: &str) -> String {
    let list = "kernels: ::std::borrow::Cow::Borrowed(";
    let mut out = String::new();
    let mut end = None;
    for line in text.lines() {
        let indent = &line[..line.len() - line.trim_start().len()];
        if end.is_none() && line.trim_start() == list {
            out.push_str(&format!("{indent}{list}/* kernels */),\n"));
            end = Some(format!("{indent}),"));
        } else if end.as_deref() == Some(line) {
            end = None;
        } else if end.is_none() {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[test]
fn a_kernel_of_the_small_model() {
    let specs = "struct Small {
        vocab: 5, context: 4, layers: 2, heads: 2, kv_heads: 1, embed: 4,
        mlp: Gated { hidden: 8, activation: |x| x * tanh(ln(1.0 + exp(x))) },
        ..SMOLLM2_135M
    }";
    let specs = gpt_codegen::specs(specs.parse().unwrap()).expect("a valid spec");
    let plan = gpt_codegen::plan::plan("Small", &specs[0].1);
    let kernel = plan.kernels.iter().find(|k| k.name == "mlp_up_decode_q4");
    insta::assert_snapshot!(shaders::link(kernel.expect("a kernel for q4")));
}

/// Every pair of files that the kernels of the odd specs have is valid.
#[test]
#[ignore = "long; CI runs it"]
fn every_pair_of_files_is_valid() {
    let mut known = HashSet::new();
    let inference = covering(Cover::Pairs, |plan| &plan.kernels);
    let training = covering(Cover::Pairs, |plan| &plan.training.kernels);
    for (name, spec) in inference.into_iter().chain(training) {
        let plan = gpt_codegen::plan::plan(&name, &spec);
        let errors = gpt_codegen::wgsl::validate_every_variant(&plan, &mut known);
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }
}

#[test]
fn kernels_have_different_names() {
    for (name, spec) in gpt_tests::specs::odd() {
        let plan = gpt_codegen::plan::plan(name, &spec);
        for kernels in [&plan.kernels, &plan.training.kernels] {
            let mut names: Vec<&str> = kernels.iter().map(|k| &*k.name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), kernels.len(), "{name}");
        }
    }
}

/// The check that generated code makes at compile time accepts every odd spec.
#[test]
fn every_plan_is_consistent() {
    for (name, spec) in gpt_tests::specs::odd() {
        for dropout in [0.0, 0.1] {
            let spec = gpt_plan::Spec { dropout, ..spec.clone() };
            let plan = gpt_codegen::plan::plan(name, &spec);
            assert_eq!(gpt_plan::check(&plan), Ok(()), "{name}");
        }
    }
}

/// Every row of the table of variants changes some kernel of ordinary models, and nothing but the
/// files it names and what follows from them.
#[test]
fn variants_are_other_files() {
    let odd: Vec<_> = gpt_tests::specs::odd()
        .into_iter()
        .map(|(name, spec)| gpt_codegen::plan::plan(name, &spec))
        .collect();
    // In f32, the embeddings of the last three have more parts than the two presets' embeddings.
    let presets = "struct A { ..GPT2_SMALL } struct B { ..SMOLLM2_135M } struct C { vocab: 120_000, ..GPT2_SMALL }
        struct D { vocab: 160_000, ..GPT2_SMALL } struct E { vocab: 200_000, ..GPT2_SMALL }";
    let presets = gpt_codegen::specs(presets.parse().unwrap()).unwrap_or_else(|_| panic!());
    let presets = presets.iter().map(|(name, spec)| gpt_codegen::plan::plan(name, spec));
    let plans: Vec<_> = odd.into_iter().chain(presets).collect();
    let kernels =
        || plans.iter().flat_map(|plan| plan.kernels.iter().chain(plan.training.kernels.iter()));
    for row in VARIANTS.iter() {
        let features = Features::NONE.with(row.feature);
        let mut changed = 0;
        for kernel in kernels() {
            if !row.applies(kernel) {
                continue;
            }
            changed += 1;
            // A feature may have several rows for a kernel.
            let rows = VARIANTS.iter().filter(|row| row.applies(kernel));
            let rows = rows.filter(|other| other.feature == row.feature);
            let exchanges: Vec<_> = rows.flat_map(|row| &row.replaces).collect();
            let other = shaders::variant(kernel, features).expect("the row applies");
            assert_eq!(*other.name, format!("{}.{}", kernel.name, row.feature.name()));
            let own = other.files.iter().zip(kernel.files.iter());
            for (file, plain) in own {
                let exchanged = exchanges.iter().find(|(p, _)| p == plain);
                assert_eq!(*file, exchanged.map_or(*plain, |(_, to)| *to), "{row:?}");
            }
            assert_eq!(&other.files[kernel.files.len()..], row.adds);
            let strips = [kernel, &other].map(|k| k.groups * shaders::tile_n(k).unwrap_or(1));
            assert!(strips[1] >= kernel.strips, "{}: rows are left out", other.name);
            let lanes = other.files.contains(&shaders::files::SHARED_WORKGROUP_SIZE_64);
            if shaders::tile_n(kernel) == shaders::tile_n(&other) {
                let workgroup = if lanes { 64 } else { kernel.workgroup };
                assert_eq!((kernel.groups, workgroup), (other.groups, other.workgroup));
            }
        }
        assert!(changed > 0, "{row:?} changes nothing");
    }
    for kernel in kernels() {
        assert_eq!(shaders::variant(kernel, Features::NONE), None);
    }
    let width = format!("const TEXTURE_WIDTH: u32 = {}u;", gpt_plan::TEXTURE_WIDTH);
    let texture = shaders::source(shaders::files::MATMUL_WEIGHTS_TEXTURE).unwrap();
    assert!(texture.text.contains(&width));
}

/// With every set of features, the variants of all inference kernels of two models are valid.
#[test]
fn every_combination_of_variants_is_valid() {
    let all = Feature::ALL.len();
    for (name, spec) in
        [("gpt2", gpt_tests::specs::gpt2()), ("smollm2", gpt_tests::specs::smollm2())]
    {
        let plan = gpt_codegen::plan::plan(name, &spec);
        let mut seen = std::collections::BTreeSet::new();
        for bits in 0..1u32 << all {
            let set = Feature::ALL.into_iter().filter(|f| bits >> *f as u32 & 1 != 0);
            let set = set.fold(Features::NONE, Features::with);
            for kernel in plan.kernels.iter().filter_map(|kernel| shaders::variant(kernel, set)) {
                if seen.insert(kernel.name.clone()) {
                    gpt_codegen::wgsl::validate(&kernel).unwrap();
                }
            }
        }
        assert!(seen.len() > 100, "{}", seen.len());
    }
}

/// Every product of training has a twin in f16, and no other kernel has one.
#[test]
fn products_have_a_twin_in_f16() {
    let has = |kernel: &gpt_plan::Kernel, file| kernel.files.contains(&file);
    for (name, spec) in gpt_tests::specs::odd() {
        let training = gpt_codegen::plan::plan(name, &spec).training;
        assert_eq!(training.in_f16.len(), training.kernels.len(), "{name}");
        for (kernel, &twin) in training.kernels.iter().zip(training.in_f16.iter()) {
            let twin = &training.kernels[usize::from(twin)];
            if has(kernel, shaders::files::MATMUL_GEMM_OPERANDS_F32) {
                assert_eq!(*twin.name, format!("{}_f16", kernel.name));
                assert!(has(twin, shaders::files::MATMUL_GEMM_OPERANDS_F16), "{name}");
            } else {
                assert_eq!(kernel, twin, "{name}");
            }
        }
    }
}

/// The kernels of models too large for the other tests are valid and keep WebGPU's default limits.
#[test]
fn kernels_of_large_models_keep_the_limits() {
    let mut known = HashSet::new();
    for spec in [
        "..GPT2_XL",
        "..SMOLLM2_360M",
        "vocab: 128_256, context: 8_192, layers: 32, heads: 32, kv_heads: 8, embed: 4096, mlp: Gated { hidden: 14_336 }, \
         positions: Rope { theta: 500_000.0 }, norm: RmsNorm { eps: 1e-5 }, bias: false",
        "vocab: 50_000, context: 2_048, layers: 2, heads: 16, head_dim: 256, embed: 4_096, norm: LayerNorm { eps: 1e-5 }, block: PostNorm",
        "vocab: 50_000, context: 2_048, layers: 2, heads: 3, embed: 3 * 211",
    ] {
        let tokens = format!("struct Large {{ {spec} }}");
        let specs = gpt_codegen::specs(tokens.parse().unwrap()).unwrap_or_else(|errors| {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            panic!("{spec}: {}", errors.join("\n"))
        });
        let plan = gpt_codegen::plan::plan("Large", &specs[0].1);
        let errors = gpt_codegen::wgsl::validate_every_variant(&plan, &mut known);
        assert!(errors.is_empty(), "{spec}: {errors:?}");
    }
}

/// A pass takes at most five dispatches in each layer and three more, and one more for each norm
/// that is not a prologue and for a dense layer of the head.
#[test]
fn dispatches_are_few() {
    for (name, spec) in gpt_tests::specs::odd() {
        let plan = gpt_codegen::plan::plan(name, &spec);
        // A norm that is not a prologue takes a dispatch.
        let branches = if spec.block.norms_branches() { 2 } else { 0 };
        let of_layer = 5 + branches + u32::from(spec.qk_norm.is_some());
        let of_model = 3 + u32::from(spec.embedding_norm) + u32::from(spec.head_dense);
        for phase in [gpt_plan::Phase::Decode, gpt_plan::Phase::Prefill] {
            assert!(plan.dispatches(phase) <= of_layer * spec.layers + of_model, "{name}");
        }
    }
}
