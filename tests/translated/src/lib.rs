//! Every kernel as naga translates it for Vulkan (SPIR-V), Metal (MSL) and DX12 (HLSL).
//!
//! [`kernels`] collects the kernels of many plans with all their variants, a [`Parsed`] is one of
//! them, and [`on_all_cores`] runs a check on each. The options are those that wgpu passes for
//! trusted shaders: no injected checks, no zeroed workgroup memory.

pub mod intervals;

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use gpt_codegen::wgsl::variants;
use gpt_plan::{Kernel, Plan, Spec};
use gpt_shaders::link;
use naga::back::PipelineConstants;
use naga::back::pipeline_constants::process_overrides;
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{
    Capabilities, ModuleInfo, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator,
};
use naga::{Module, ShaderStage};

/// The entry point of every kernel.
pub const ENTRY: (ShaderStage, &str) = (ShaderStage::Compute, "main");

/// The same as wgpu's `ShaderRuntimeChecks::unchecked`.
pub const UNCHECKED: BoundsCheckPolicies = BoundsCheckPolicies {
    index: BoundsCheckPolicy::Unchecked,
    buffer: BoundsCheckPolicy::Unchecked,
    image_load: BoundsCheckPolicy::Unchecked,
    binding_array: BoundsCheckPolicy::Unchecked,
};

/// The models that are built into `gpt`: the declarations in its source.
pub fn built_in() -> Vec<(String, Spec)> {
    let file =
        syn::parse_file(include_str!("../../../gpt-cli/src/models.rs")).expect("it compiles");
    let declarations = file.items.into_iter().find_map(|item| match item {
        syn::Item::Macro(item) if item.mac.path.is_ident("gpt_model") => Some(item.mac.tokens),
        _ => None,
    });
    let specs = gpt_codegen::specs(declarations.expect("the invocation of `gpt_model!`"));
    specs.unwrap_or_else(|errors| panic!("{} errors in built-in models", errors.len()))
}

/// The kernels of these models for inference and training, each in its plain form and as all its
/// variants. Kernels with the same code are listed once.
pub fn kernels(specs: impl IntoIterator<Item = (String, Spec)>) -> Vec<Kernel> {
    let mut known = HashSet::new();
    let mut all = Vec::new();
    for (name, spec) in specs {
        let plan: Plan = gpt_codegen::plan::plan(&name, &spec);
        for plain in plan.kernels.iter().chain(plan.training.kernels.iter()) {
            for kernel in variants(plain).into_iter().chain([plain.clone()]) {
                let text = link(&kernel);
                // The title has the name of the model.
                let code: String = text.lines().filter(|line| !line.starts_with("//")).collect();
                if known.insert(code) {
                    all.push(kernel);
                }
            }
        }
    }
    all
}

/// A few of `kernels` that together have every file: each has one that no earlier one has.
pub fn with_every_file(kernels: Vec<Kernel>) -> Vec<Kernel> {
    let mut known: HashSet<&'static str> = HashSet::new();
    let mut is_new = |kernel: &Kernel| {
        let new = kernel.files.iter().filter(|file| known.insert(file));
        new.count() > 0
    };
    kernels.into_iter().filter(|kernel| is_new(kernel)).collect()
}

/// A kernel that naga has parsed and validated, with values for its `override` constants.
pub struct Parsed {
    pub name: String,
    pub module: Module,
    pub info: ModuleInfo,
}

impl Parsed {
    pub fn new(kernel: &Kernel) -> Parsed {
        let name = kernel.name.to_string();
        let module = naga::front::wgsl::parse_str(&link(kernel))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
        validator
            .subgroup_stages(ShaderStages::COMPUTE)
            .subgroup_operations(SubgroupOperationSet::all());
        let info = validator.validate(&module).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        // The constants describe a part of a matrix. With 1 for each of them, the part is
        // valid and small.
        let mut constants = PipelineConstants::default();
        for (_, constant) in module.overrides.iter() {
            constants.insert(constant.name.clone().expect("constants have names"), 1.0);
        }
        let (module, info) = process_overrides(&module, &info, Some(ENTRY), &constants)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let (module, info) = (module.into_owned(), info.into_owned());
        Parsed { name, module, info }
    }

    /// Whether it multiplies cooperative matrices, which only Vulkan has at 16 x 16.
    pub fn is_cooperative(&self) -> bool {
        self.name.contains("cooperative_matrices")
    }
}

/// Calls `check` for each kernel on all cores, and panics with the first errors.
pub fn on_all_cores(kernels: &[Kernel], check: impl Fn(&Parsed) -> Result<(), String> + Sync) {
    assert!(!kernels.is_empty());
    let next = AtomicUsize::new(0);
    let rest = || {
        let rest = std::iter::from_fn(|| kernels.get(next.fetch_add(1, Ordering::Relaxed)));
        rest.filter_map(|kernel| {
            let error = check(&Parsed::new(kernel)).err()?;
            Some(format!("{}: {error}", kernel.name))
        })
        .collect::<Vec<_>>()
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let errors: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(rest)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    let shown = errors.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(errors.is_empty(), "{} of {} kernels:\n{shown}", errors.len(), kernels.len());
    eprintln!("{} kernels", kernels.len());
}
