//! Validation of every shader by naga, before it becomes part of a program.
//!
//! naga validates a shader with exactly the capabilities that its files need. The shader must also
//! stay within WebGPU's default limits. A plain kernel needs only WebGPU's core, so it runs in a
//! browser.
//!
//! Four in five shaders are variants, and most variants replace the same files for each format of a
//! matrix. A user's build validates every plain kernel. Of the kernels of a step that differ only
//! in format, it validates each replacement of files once ([`validate_plan`]); a shader that
//! several models of one invocation share is validated once. Our tests validate all variants of
//! many specs ([`validate_every_variant`]). At run time, wgpu validates the shaders of an adapter
//! again.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use gpt_plan::{Feature, Features, Kernel, KernelChoice, Phase, Plan};
use gpt_shaders::{files, link, locate, some_strips, source, variant};
use naga::valid::{Capabilities, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};
use naga::{AddressSpace, SourceLocation};

use super::bindings;

/// Validates every plain kernel of `plan`, and one variant for each replacement of files in the
/// kernels of a step. Returns the errors, one sentence each.
///
/// `known` holds the shaders of earlier plans, which are not validated again: similar models share
/// half of their shaders.
pub fn validate_plan(plan: &Plan, known: &mut HashSet<String>) -> Vec<String> {
    validate_kernels(plan, &distinct_variants(plan), known)
}

/// The variants to validate: one for each replacement of files in kernels that differ only in the
/// format of their operands.
fn distinct_variants(plan: &Plan) -> Vec<Kernel> {
    // Indices of kernels that differ only in the format of their operands.
    let mut alike: Vec<Vec<u16>> = Vec::new();
    for step in plan.sections.iter().flat_map(|section| section.steps.iter()) {
        for phase in [Phase::Decode, Phase::Prefill] {
            if let Some(KernelChoice::ByFormat(kernels)) = step.choice(phase) {
                alike.push(kernels.to_vec());
            }
        }
    }
    let in_f16 = (0..).zip(plan.training.in_f16.iter());
    let trained: Vec<Vec<u16>> = in_f16.map(|(plain, twin)| vec![plain, *twin]).collect();
    let mut chosen = Vec::new();
    for (kernels, alike) in [(&plan.kernels, &alike), (&plan.training.kernels, &trained)] {
        for (i, kernel) in (0..).zip(kernels.iter()) {
            let group = alike.iter().find(|group| group.contains(&i));
            let before = group.into_iter().flatten().take_while(|other| **other != i);
            let known: Vec<Replaced> = before
                .filter_map(|other| kernels.get(usize::from(*other)))
                .flat_map(|other| variants(other).into_iter().map(|v| replaced(other, &v)))
                .collect();
            let new = |variant: &Kernel| !known.contains(&replaced(kernel, variant));
            chosen.extend(variants(kernel).into_iter().filter(new));
        }
    }
    chosen
}

/// Validates the kernels of `plan` and all their variants, except those that are `known`, as
/// [`validate_plan`] does.
pub fn validate_every_variant(plan: &Plan, known: &mut HashSet<String>) -> Vec<String> {
    let plain = plan.kernels.iter().chain(plan.training.kernels.iter());
    let variants: Vec<Kernel> = plain.flat_map(variants).collect();
    validate_kernels(plan, &variants, known)
}

/// The files that a variant removes and adds.
type Replaced = [Vec<&'static str>; 2];

fn replaced(plain: &Kernel, variant: &Kernel) -> Replaced {
    let only = |a: &Kernel, b: &Kernel| {
        let files = a.files.iter().filter(|file| !b.files.contains(file));
        files.copied().collect::<Vec<_>>()
    };
    [only(plain, variant), only(variant, plain)]
}

/// Validates the plain kernels of `plan` and `variants`, except those that are `known`, and returns
/// the errors.
fn validate_kernels(plan: &Plan, variants: &[Kernel], known: &mut HashSet<String>) -> Vec<String> {
    validate_all(&unknown(plan, variants, known))
}

/// Links the plain kernels of `plan` and `variants`, and returns those that are not `known`.
fn unknown<'a>(
    plan: &'a Plan,
    variants: &'a [Kernel],
    known: &mut HashSet<String>,
) -> Vec<(&'a Kernel, String)> {
    let plain = plan.kernels.iter().chain(plan.training.kernels.iter());
    let linked = plain.chain(variants).map(|kernel| (kernel, link(kernel)));
    linked.filter(|(_, text)| known.insert(without_title(text))).collect()
}

/// `text` without its first comment, the title, which has the name of the model. In a variant, the
/// title may follow extensions that it enables.
fn without_title(text: &str) -> String {
    let (before, title) = text.split_once("//").unwrap_or((text, ""));
    let (_, after) = title.split_once('\n').unwrap_or_default();
    format!("{before}{after}")
}

/// Validates kernels and their linked texts. This takes most of the time of an expansion, so it
/// runs on all cores.
fn validate_all(kernels: &[(&Kernel, String)]) -> Vec<String> {
    let next = AtomicUsize::new(0);
    // Threads take one kernel at a time, because some take ten times as long as others.
    let validate_rest = || {
        let rest = std::iter::from_fn(|| kernels.get(next.fetch_add(1, Ordering::Relaxed)));
        rest.filter_map(|(kernel, text)| validate_text(kernel, text).err()).collect::<Vec<_>>()
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut errors = std::thread::scope(|scope| {
        // The system may be unable to start some of the threads. If it starts none, this thread
        // validates.
        let spawn = |_| std::thread::Builder::new().spawn_scoped(scope, validate_rest).ok();
        let threads: Vec<_> = (0..threads).filter_map(spawn).collect();
        let own = if threads.is_empty() { validate_rest() } else { Vec::new() };
        let errors = threads.into_iter().flat_map(|thread| {
            let panicked = |_| vec!["naga panicked on a kernel".to_owned()];
            thread.join().unwrap_or_else(panicked)
        });
        errors.chain(own).collect::<Vec<_>>()
    });
    // Sorted by name, so that the order does not depend on the threads.
    errors.sort();
    errors
}

/// The distinct variants of `kernel` for each single feature, for all features together, and for a
/// part of a matrix (some of its strips).
pub fn variants(kernel: &Kernel) -> Vec<Kernel> {
    let alone = Feature::ALL.map(|feature| Features::NONE.with(feature));
    let sets = alone.into_iter().chain([Features::ALL]);
    let mut variants: Vec<Kernel> = Vec::new();
    for variant in sets.filter_map(|set| variant(kernel, set)) {
        if variants.iter().all(|known| known.name != variant.name) {
            variants.push(variant);
        }
    }
    // Queries, keys and values are one matrix, which a file may store in several formats.
    if kernel.files.contains(&files::MATMUL_EPILOGUE_QKV) {
        variants.push(some_strips(kernel));
    }
    variants
}

/// Validates `kernel`. The error names the kernel, the line of the file under `shaders/`, and the
/// reason.
pub fn validate(kernel: &Kernel) -> Result<(), String> {
    validate_text(kernel, &link(kernel))
}

/// Validates `text`, to which `kernel` is linked.
fn validate_text(kernel: &Kernel, text: &str) -> Result<(), String> {
    let fail = |location: Option<SourceLocation>, reason: String| {
        let place = location
            .map_or(String::new(), |l| format!(" at {}", locate(kernel, l.line_number as usize)));
        format!("the kernel `{}` is not valid{place}: {reason}", kernel.name)
    };
    let module = naga::front::wgsl::parse_str(text)
        .map_err(|error| fail(error.location(text), error.message().to_owned()))?;
    validator(capabilities(&kernel.files)).validate(&module).map_err(|error| {
        let mut reason = error.as_inner().to_string();
        let mut source = std::error::Error::source(error.as_inner());
        while let Some(cause) = source {
            reason.push_str(": ");
            reason.push_str(&cause.to_string());
            source = cause.source();
        }
        // The smallest span is the most precise location.
        let spans = error.spans().map(|(span, _)| *span);
        let smallest = spans
            .filter(naga::Span::is_defined)
            .min_by_key(|span| span.to_range().map_or(0, |range| range.len()));
        fail(smallest.map(|span| span.location(text)), reason)
    })?;
    within_limits(&module).map_err(|reason| fail(None, reason))?;
    bindings::check(kernel, &module).map_err(|reason| fail(None, reason))
}

fn validator(capabilities: Capabilities) -> Validator {
    let mut validator = Validator::new(ValidationFlags::all(), capabilities);
    validator
        .subgroup_stages(ShaderStages::COMPUTE)
        .subgroup_operations(SubgroupOperationSet::all());
    validator
}

/// Checks a shader against WebGPU's default limits.
fn within_limits(module: &naga::Module) -> Result<(), String> {
    let memory: u32 = module
        .global_variables
        .iter()
        .filter(|(_, variable)| variable.space == AddressSpace::WorkGroup)
        .map(|(_, variable)| module.types[variable.ty].inner.size(module.to_ctx()))
        .sum();
    let count = |is: fn(&AddressSpace) -> bool| {
        let variables = module.global_variables.iter();
        variables.filter(|(_, v)| is(&v.space)).count() as u32
    };
    let storage = count(|space| matches!(space, AddressSpace::Storage { .. }));
    let uniform = count(|space| *space == AddressSpace::Uniform);
    let bindings = module.global_variables.iter();
    let groups = bindings.filter_map(|(_, v)| v.binding.map(|b| b.group + 1));
    let groups = groups.max().unwrap_or(0);
    let sizes = module.entry_points.iter().map(|e| e.workgroup_size);
    let invocations: u32 = sizes.clone().map(|s| s.iter().product()).max().unwrap_or(0);
    let depth = sizes.map(|size| size[2]).max().unwrap_or(0);
    for (before, found, after, limit) in [
        ("it takes", memory, "bytes of workgroup memory", 16_384),
        ("it binds", storage, "storage buffers", 8),
        ("it binds", uniform, "uniform buffers", 12),
        ("it has", groups, "groups of bindings", 4),
        ("its workgroups are", depth, "deep", 64),
        ("its workgroups have", invocations, "invocations", 256),
    ] {
        if found > limit {
            return Err(format!("{before} {found} {after}, more than {limit}"));
        }
    }
    Ok(())
}

/// The capabilities that these files need beyond plain arithmetic. Unpacking f16 to f32 is in
/// WebGPU's core, but naga has a capability for it, because some old drivers lack it.
fn capabilities(files: &[&'static str]) -> Capabilities {
    let has = |any: &[&'static str]| any.iter().any(|file| files.contains(file));
    let half_types = [files::MATMUL_GEMM_OPERANDS_F16, files::MATMUL_TILE_PREFILL_F16];
    let cooperative =
        [files::MATMUL_TILE_PREFILL_COOPERATIVE, files::MATMUL_TILE_PREFILL_COOPERATIVE_SUMS];
    let subgroups = [
        files::SHARED_ENTRY_SUBGROUPS,
        files::MATMUL_ROW_BROADCAST_SUBGROUPS,
        files::SHARED_READ_SUBGROUPS,
        files::SHARED_SUM_SUBGROUPS,
        files::SHARED_MAXIMUM_SUBGROUPS,
    ];
    let needed: Capabilities = [
        (Capabilities::SHADER_FLOAT16, &half_types[..]),
        (Capabilities::SHADER_FLOAT16 | Capabilities::COOPERATIVE_MATRIX, &cooperative),
        (Capabilities::SUBGROUP, &subgroups),
    ]
    .into_iter()
    .filter(|(_, any)| has(any))
    .map(|(needs, _)| needs)
    .collect();
    let unpacks = files
        .iter()
        .filter_map(|file| source(file))
        .any(|file| file.text.contains("unpack2x16float"));
    match unpacks {
        true => needed | Capabilities::SHADER_FLOAT16_IN_FLOAT32,
        false => needed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_kernel_and_the_line_of_the_file() {
        let kernel = |header: &'static str, files| Kernel::new("qkv_decode_f32", header, files);
        // The header declares the file's `vectors` a second time.
        let file = gpt_shaders::source(files::SHARED_VECTORS).unwrap();
        let lines = file.text.lines();
        let line = 1 + lines.take_while(|line| !line.contains("vectors:")).count();
        let header = "const vectors: u32 = 1u;\n";
        let error = validate(&kernel(header, vec![files::SHARED_VECTORS])).unwrap_err();
        let place = format!("is not valid at shaders/wgsl/shared/vectors.wgsl:{line}: ");
        assert!(error.contains(&place), "{error}");
        let error = validate(&kernel("const A: u32 = 1.5;\n", Vec::new())).unwrap_err();
        assert!(error.contains("at line 1 of the header"), "{error}");
    }

    /// A kernel whose WGSL is `text` alone.
    fn alone(text: &str) -> Kernel {
        Kernel::new("some", text.to_owned(), Vec::new())
    }

    #[test]
    fn shaders_beyond_the_default_limits_are_rejected() {
        let buffers = |n: u32| -> String {
            (0..n)
                .map(|i| {
                    format!("@group(0) @binding({i}) var<storage, read_write> b{i}: array<u32>;\n")
                })
                .collect()
        };
        let main = "@compute @workgroup_size(1) fn main() {}";
        let cases = [
            (
                "var<workgroup> w: array<vec4<f32>, 1025>; @compute @workgroup_size(1) fn main() { w[0] = vec4<f32>(1.0); }".to_owned(),
                "it takes 16400 bytes of workgroup memory, more than 16384",
            ),
            (buffers(9) + main, "it binds 9 storage buffers, more than 8"),
            (
                format!("@group(4) @binding(0) var<uniform> u: u32; {main}"),
                "it has 5 groups of bindings, more than 4",
            ),
            (
                "@compute @workgroup_size(257) fn main() {}".to_owned(),
                "its workgroups have 257 invocations, more than 256",
            ),
            (
                "@compute @workgroup_size(1, 1, 65) fn main() {}".to_owned(),
                "its workgroups are 65 deep, more than 64",
            ),
        ];
        for (text, reason) in cases {
            let error = validate(&alone(&text)).unwrap_err();
            assert!(error.ends_with(reason), "{error}");
        }
        let error = validate(&alone(&(buffers(8) + main))).unwrap_err();
        assert!(error.ends_with("`b0` is not an operand of `gpt_plan::Operand`"), "{error}");
        assert_eq!(validate(&alone("@compute @workgroup_size(256) fn main() {}")), Ok(()));
    }

    /// Validation accepts features beyond WebGPU's core only in files that [`capabilities`] lists.
    #[test]
    fn features_beyond_webgpus_core_are_rejected() {
        for body in [
            "var x = subgroupAdd(1.0);",
            "var x: f16 = 1.0h;",
            "var x: f64 = 1.0lf;",
            "var x: i64 = 1li;",
            "var x: coop_mat8x8<f32, C>;",
            "subgroupBarrier();",
        ] {
            for enable in ["", "enable f16;", "enable wgpu_cooperative_matrix;"] {
                let text = format!("{enable} @compute @workgroup_size(1) fn main() {{ {body} }}");
                assert!(validate(&alone(&text)).is_err(), "{text}");
            }
        }
        let text = "var<immediate> x: u32; @compute @workgroup_size(1) fn main() { var y = x; }";
        assert!(validate(&alone(text)).is_err());
    }

    /// A file is not valid alone, so this test finds a valid kernel that contains it.
    #[test]
    fn every_file_is_part_of_a_valid_kernel() {
        let specs = crate::specs(
            "struct A { ..GPT2_SMALL } struct B { ..SMOLLM2_135M } struct C { ..GPT1 }
            struct D { vocab: 120_000, mlp: Dense { hidden: 4 * embed, activation: Relu }, ..GPT2_SMALL }
            struct E { vocab: 160_000, mlp: Dense { hidden: 4 * embed, activation: Gelu }, ..GPT2_SMALL }
            struct F { vocab: 200_000, ..GPT2_SMALL }
            struct G { vocab: 39, context: 33, layers: 2, heads: 3, embed: 39, head_dim: 13,
                dropout: 0.1, mask: Bidirectional, block: PostNorm }
            struct H { vocab: 39, context: 33, layers: 2, heads: 3, embed: 39, head_dim: 13,
                norm: LayerNorm { affine: false }, mlp: Gated { hidden: 41, activation: Silu },
                window: 9, attention_softcap: 2.0 }
            struct I { window: 3, ..G }
            struct J { block: Sandwich, qk_norm: LayerNorm { over: EachHead }, embedding_norm: true, token_types: 2,
                positions: Alibi, head_bias: true, ..H }
            struct K { block: Parallel, qk_norm: RmsNorm {}, ..B }
            struct L { head_dense: true, ..G }"
                .parse()
                .unwrap(),
        );
        let mut missing: Vec<&str> = gpt_shaders::sources::SOURCES
            .iter()
            .map(|file| file.name)
            .filter(|name| !name.starts_with("roofline/"))
            .collect();
        let mut known = HashSet::new();
        for (name, spec) in specs.unwrap_or_else(|_| panic!("the specs are valid")) {
            let plan = crate::plan::plan(&name, &spec);
            assert_eq!(validate_every_variant(&plan, &mut known), Vec::<String>::new());
            let plain = plan.kernels.iter().chain(plan.training.kernels.iter());
            for kernel in plain.clone().cloned().chain(plain.flat_map(variants)) {
                missing.retain(|file| !kernel.files.contains(file));
            }
        }
        assert_eq!(missing, Vec::<&str>::new());
        for files in [
            vec![files::ROOFLINE_MULTIPLY],
            vec![files::ROOFLINE_EMPTY],
            vec![files::ROOFLINE_CHAIN],
            vec![files::ROOFLINE_BUFFER, files::ROOFLINE_READ],
            vec![files::ROOFLINE_TEXTURE, files::ROOFLINE_READ],
        ] {
            let kernel =
                Kernel { bindings: bindings::bindings(&files), files: files.into(), ..alone("") };
            assert_eq!(validate(&kernel), Ok(()));
        }
    }

    /// A user's build validates fewer than half of the variants, and these make every replacement
    /// of files.
    #[test]
    fn distinct_variants_make_every_replacement() {
        let specs =
            crate::specs("struct A { ..GPT2_SMALL } struct B { ..SMOLLM2_135M }".parse().unwrap());
        for (name, spec) in specs.unwrap_or_else(|_| panic!("the specs are valid")) {
            let plan = crate::plan::plan(&name, &spec);
            let chosen = distinct_variants(&plan);
            let plain = plan.kernels.iter().chain(plan.training.kernels.iter());
            let find = |variant: &Kernel| {
                let of = |kernel: &&Kernel| variant.name.starts_with(&*kernel.name);
                plain
                    .clone()
                    .filter(of)
                    .max_by_key(|kernel| kernel.name.len())
                    .expect("a plain kernel")
            };
            let made: Vec<Replaced> = chosen.iter().map(|v| replaced(find(v), v)).collect();
            let mut all = 0;
            for kernel in plain.clone() {
                for variant in variants(kernel) {
                    assert!(made.contains(&replaced(kernel, &variant)), "{}", variant.name);
                    all += 1;
                }
            }
            assert!(!chosen.is_empty() && 2 * chosen.len() < all, "{} of {all}", chosen.len());
        }
    }

    /// A second model with the same sizes has no shader that is not known, also among variants that
    /// enable extensions.
    #[test]
    fn shaders_of_a_model_are_known_under_another_name() {
        let spec = crate::spec("..SMOLLM2_135M").unwrap_or_else(|_| panic!("the preset is valid"));
        let mut known = HashSet::new();
        let mut count = |name: &str| {
            let plan = crate::plan::plan(name, &spec);
            let variants: Vec<Kernel> = plan.kernels.iter().flat_map(variants).collect();
            assert!(variants.iter().any(|variant| variant.opening.starts_with("enable ")));
            unknown(&plan, &variants, &mut known).len()
        };
        assert!(count("First") > 0);
        assert_eq!(count("Second"), 0);
    }

    /// In every format, a plain kernel needs only WebGPU's core. A feature that is requested by
    /// name may need more.
    #[test]
    fn plain_kernels_need_no_more_than_webgpus_core() {
        let specs = crate::specs(
            "struct A { ..GPT2_SMALL } struct B { ..SMOLLM2_135M } struct C { ..GPT1 }"
                .parse()
                .unwrap(),
        );
        for (name, spec) in specs.unwrap_or_else(|_| panic!("the presets are valid")) {
            let plan = crate::plan::plan(&name, &spec);
            let twins = plan.training.in_f16.iter().enumerate();
            let twins: Vec<usize> = twins
                .filter(|(plain, twin)| *plain != usize::from(**twin))
                .map(|(_, twin)| usize::from(*twin))
                .collect();
            let training = plan.training.kernels.iter().enumerate();
            let training = training.filter(|(i, _)| !twins.contains(i)).map(|(_, k)| k);
            for kernel in plan.kernels.iter().chain(training) {
                let needs = capabilities(&kernel.files);
                let core = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
                assert!(core.contains(needs), "{} needs {needs:?}", kernel.name);
            }
            assert!(!twins.is_empty());
            for feature in Feature::ALL {
                let variants = |k: &Kernel| variant(k, Features::NONE.with(feature));
                for kernel in plan.kernels.iter().filter_map(variants) {
                    let needs = capabilities(&kernel.files);
                    let core = Capabilities::SHADER_FLOAT16_IN_FLOAT32.contains(needs);
                    assert_eq!(core, feature.is_core(), "{} needs {needs:?}", kernel.name);
                }
            }
        }
    }
}
