//! The models of the page.

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

/// The formats of Bard's file.
pub const FORMATS: &[Format] = &[Format::Q8];

/// The plan of Bard.
pub fn plan() -> &'static Plan {
    Bard::plan()
}

/// Loads the GGUF file called `name`.
pub fn load(
    name: &str,
    gguf: Vec<u8>,
    device: &Device,
    options: &LoadOptions,
) -> Result<Model<Untyped>, Error> {
    Model::<Bard>::load_bytes(name, gguf, device, options).map(Model::erase)
}
