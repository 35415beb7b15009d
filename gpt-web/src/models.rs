//! The models of the page: Bard, which the macro compiles with the program, and others, which the
//! macro's compiler compiles when their files are opened.

use std::cell::RefCell;

use gpt_runtime::weights::{self, Described};
use gpt_runtime::{Device, Error, Format, Gpt, LoadOptions, Model, Plan, Untyped, gpt_model};

gpt_model! {
    /// A character-level model of Shakespeare with 2.7 M parameters, as in the command line.
    pub struct Bard {
        vocab: 65, context: 256, layers: 6, heads: 6, embed: 192, bias: false, dropout: 0.05,
        norm: RmsNorm { eps: 1e-5 },
        mlp: Gated { hidden: 512, activation: Silu },
        positions: Rope { theta: 10_000.0 },
        ..GPT2_SMALL
    }
}

/// A file whose model can be loaded.
pub struct Found {
    /// The plan of its model.
    pub plan: &'static Plan,
    /// The formats of its matrices.
    pub formats: Vec<Format>,
}

thread_local! {
    /// The plans that were compiled. A plan lives as long as the program, so a model that is opened
    /// again uses the same plan.
    static COMPILED: RefCell<Vec<&'static Plan>> = const { RefCell::new(Vec::new()) };
}

/// The model of the GGUF file called `name`.
///
/// # Errors
/// Fails if `gguf` is not a GGUF file, or if its model cannot be compiled or cannot write.
pub fn find(name: &str, gguf: &[u8]) -> Result<Found, Error> {
    let Described { spec, formats } = weights::describe_bytes(name, gguf)?;
    // Dropout is for training, and is not read from files.
    let same = |plan: &Plan| {
        let mut spec = spec.clone();
        spec.dropout = plan.spec.dropout;
        plan.spec == spec
    };
    if !spec.is_causal() {
        return Err(Error::Input(format!(
            "the model in {name} is an encoder: it reads texts and cannot write"
        )));
    }
    if same(Bard::plan()) {
        return Ok(Found { plan: Bard::plan(), formats });
    }
    let known = COMPILED.with_borrow(|plans| plans.iter().copied().find(|plan| same(plan)));
    if let Some(plan) = known {
        return Ok(Found { plan, formats });
    }
    let problems = gpt_codegen::check_spec(&spec);
    if !problems.is_empty() {
        let problems = problems.join("; ");
        let what = format!("{name} describes a model that cannot be run: {problems}");
        return Err(Error::Input(what));
    }
    let title = name.strip_suffix(".gguf").unwrap_or(name);
    let plan: &'static Plan = Box::leak(Box::new(gpt_codegen::plan::plan(title, &spec)));
    COMPILED.with_borrow_mut(|plans| plans.push(plan));
    Ok(Found { plan, formats })
}

/// Loads the GGUF file called `name`, whose model has the plan `plan`.
pub fn load(
    plan: &'static Plan,
    name: &str,
    gguf: Vec<u8>,
    device: &Device,
    options: &LoadOptions,
) -> Result<Model<Untyped>, Error> {
    if std::ptr::eq(plan, Bard::plan()) {
        return Model::<Bard>::load_bytes(name, gguf, device, options).map(Model::erase);
    }
    Model::load_plan_bytes(plan, name, gguf, device, options)
}
