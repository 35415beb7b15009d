//! GPTs that are declared in Rust and compiled with the program.
//!
//! [`gpt_model!`] turns a spec into WGSL shaders for exactly its sizes, a plan of its memory and
//! its steps, and a type that carries its shapes. This crate runs the plan, on any GPU that wgpu
//! supports or on its own CPU engine. It loads weights, generates text, and trains.
//!
//! # A model of your own
//!
//! This program declares a character-level model, trains it for 30 steps, and continues a prompt.
//!
//! ```
//! use gpt_runtime::train::RandomWindows;
//! use gpt_runtime::{AdamW, Device, Error, Sampling, Stop, Tokenizer, gpt_model};
//!
//! gpt_model! {
//!     /// A small model with rotary positions.
//!     pub struct Tiny {
//!         vocab: 32, context: 32, layers: 2, heads: 2, embed: 32,
//!         norm: RmsNorm { eps: 1e-5 },
//!         positions: Rope { theta: 10_000.0 },
//!         bias: false,
//!     }
//! }
//!
//! fn main() -> Result<(), Error> {
//!     let text = "the cat sat on the mat, and the dog sat on the cat. ".repeat(10);
//!     let tokenizer = Tokenizer::characters(&text)?;
//!     tokenizer.check_vocab(Tiny::VOCAB as u32)?;
//!     // Batches of four windows of the text, in an order that the seed decides.
//!     let data = RandomWindows::new(tokenizer.encode(&text)?.into(), 4, Tiny::CONTEXT, 1)?;
//!
//!     // A GPU if there is one, otherwise the CPU.
//!     let device = Device::auto()?;
//!     let optimizer = AdamW { lr: 1e-2, ..AdamW::default() };
//!     let trainer = Tiny::init(&device, 1)?.trainer(optimizer)?;
//!     let mut trainer = trainer.tokenizer(Some(tokenizer));
//!     for step in 0..30 {
//!         let loss = trainer.step(&data.batch(step))?;
//!         println!("step {step}: {loss:.3} nats per token");
//!     }
//!
//!     let model = trainer.model()?;
//!     let mut session = model.session().open()?;
//!     let stop = Stop::default().with_tokens(20);
//!     for piece in session.generate("the ", Sampling::default(), stop)? {
//!         print!("{}", piece?);
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Published weights
//!
//! A preset is a complete spec. `load` reads weights and tokenizer from a safetensors file or
//! folder or from a GGUF. If a file does not fit the spec, the error lists all differences.
//!
//! ```no_run
//! use gpt_runtime::{Device, gpt_model};
//!
//! gpt_model! { pub struct SmolLm2 { ..SMOLLM2_135M } }
//!
//! # fn main() -> Result<(), gpt_runtime::Error> {
//! let model = SmolLm2::load("SmolLM2-135M-Instruct.Q4_1.gguf", &Device::auto()?)?;
//! let tokens = model.tokenizer()?.encode_prompt("The capital of France is")?;
//! let mut session = model.session().open()?;
//! // `push` returns the logits of the next token. Prints the most likely one.
//! println!("{}", session.push(&tokens)?.argmax());
//! # Ok(())
//! # }
//! ```
//!
//! # Items by task
//!
//! | task | items |
//! |---|---|
//! | declare a model | [`gpt_model!`], with the table of its keys |
//! | choose a device | [`Device`], [`DeviceOptions`]; [`Device::from_wgpu`] for your own |
//! | get a model | [`Model::load`], [`Model::load_embedded`], [`Model::init`], [`LoadOptions`] |
//! | generate | [`Session::generate`], [`Sampling`], [`Stop`]; per frame [`Generation::poll`] |
//! | get logits, hidden states | [`Session::push`], [`Session::each_logits`], [`Session::hidden`] |
//! | embed texts | [`Model::embed`], [`EmbedOptions`], [`Embeddings`] |
//! | fill blanks | [`Model::fill`], [`Filled`]; [`train::Masking`] to train an encoder |
//! | look inside a model | [`Session::observe`], [`Observation`], [`Session::lens`] |
//! | reuse a prompt | [`Session::fork`], [`Session::truncate`] |
//! | hold a conversation | [`Tokenizer::encode_chat`], [`text::Message`] |
//! | train | [`Trainer`], [`TrainerSettings`], [`train::RandomWindows`] |
//! | resume a run | [`Trainer::save`], [`train::SavedRun`] |
//! | read and set parameters | [`Trainer::get`], [`Trainer::set`], [`Parameter`] |
//! | write weights | [`weights::save`], [`weights::save_gguf`] |
//! | check and tune a GPU | [`self_test`](fn@self_test), [`tune`](fn@tune), [`adapters`] |
//! | measure | [`Session::profile`], [`Trainer::profile`], [`Device::meter`], [`Device::latency`] |
//!
//! Threads can share a [`Model`]. A [`Session`], a [`Generation`] or a [`Trainer`] can move to
//! another thread. Each of these types has the model as a type parameter, so the compiler rejects
//! logits or parameters of another shape. `Model<Untyped>` is the type of a model that the program
//! selects at run time ([`Model::erase`]).
//!
//! # Cargo features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `gpu` | yes | the GPU engine; depends on wgpu and re-exports it |
//! | `train` | yes | trainers, for the CPU and, with `gpu`, the GPU |
//! | `gl` | no | OpenGL, for systems without Vulkan, Metal or DX12 |
//!
//! Without optimisation the inner loops are a hundred times slower. In debug builds, optimise three
//! crates: this one, `gpt-simd` (the inner loops) and `naga` (validates shaders in the macro):
//!
//! ```toml
//! [profile.dev.package.gpt-simd]
//! opt-level = 3
//! [profile.dev.package.gpt-runtime]
//! opt-level = 3
//! [profile.dev.package.naga]
//! opt-level = 1
//! ```
//!
//! # Not covered
//!
//! - A spec is fixed at compile time. To run a file that the user chooses, read its spec with
//!   [`weights::read_spec`], compile it with the crate `gpt-codegen`, and call
//!   [`Model::load_plan`]. Only the architectures that `gpt-config` lists are supported.
//! - A model runs on one device. The crate has no HTTP server.
//! - The crate does not support mixtures of experts or images.

#![warn(missing_docs, clippy::missing_errors_doc)]
// A library must not print; the program that uses it decides what to print.
#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]
// Without `gpu` or `train`, code that only these features call is still compiled; the linker
// removes it.
#![cfg_attr(not(all(feature = "gpu", feature = "train")), allow(dead_code))]

mod clock;
// Reachable only through `__private`.
#[allow(missing_docs, clippy::missing_errors_doc)]
mod cpu;
mod device;
mod embeddings;
// The traits are reachable only through `__private`.
#[allow(clippy::missing_errors_doc)]
mod engine;
mod error;
mod files;
mod fill;
mod generation;
#[cfg(feature = "gpu")]
mod gpu;
#[cfg(not(feature = "gpu"))]
#[path = "no_gpu.rs"]
mod gpu;
mod hidden;
mod load;
mod model;
mod parameter;
mod sample;
mod self_test;
mod session;
pub mod text;
mod threads;
#[cfg(feature = "train")]
pub mod train;
mod truncated_plan;
#[cfg(all(feature = "gpu", feature = "train"))]
mod tune;
mod vtable;
mod wait;
pub mod weights;

pub use device::{Device, DeviceKind, DeviceOptions, Meter};
pub use embeddings::{EmbedOptions, Embeddings, Pooling};
pub use engine::{CacheFormat, SessionOptions};
pub use error::{Detail, Error};
pub use fill::{Blank, Candidate, Filled};
pub use generation::{Ended, Generation, Stop, TokenGeneration};
pub use gpt_plan::{Format, Plan, TensorId};
#[cfg(feature = "gpu")]
pub use gpu::{AdapterDescription, adapters};
pub use hidden::Hidden;
pub use load::{LoadOptions, Progress};
pub use model::{LoadTimes, Model};
pub use parameter::{LayerParameter, Matrix, Parameter, Row};
pub use sample::{Sampler, Sampling};
#[cfg(feature = "train")]
pub use self_test::self_test_training;
pub use self_test::{Check, SelfTest, self_test, self_test_async};
pub use session::{DEFAULT_CHUNK, Logits, Observation, Session, SessionBuilder};
pub use text::Tokenizer;
#[cfg(feature = "train")]
pub use train::{AdamW, Batch, Trainer, TrainerSettings};
#[cfg(all(feature = "gpu", feature = "train"))]
pub use tune::{Choice, Tuning, tune, tune_training};
pub use vtable::{Gpt, Untyped};

#[cfg(feature = "gpu")]
pub use wgpu;

/// Declares models. The macro turns each spec into a type with its shaders and its plan.
///
/// ```
/// use gpt_runtime::gpt_model;
///
/// gpt_model! {
///     /// OpenAI's GPT-2 with 124 M parameters.
///     pub struct Gpt2 { ..GPT2_SMALL }
///
///     /// GPT-2 at half the width. `hidden` is `4 * embed` in the preset, so it becomes 1,536.
///     pub struct Half { embed: 384, heads: 6, ..Gpt2 }
/// }
///
/// assert_eq!(Half::HIDDEN, 1_536);
/// ```
///
/// A spec is the body of a struct. `..BASE` comes last and supplies the keys that are left out.
/// `BASE` is a preset ([`GPT2_SMALL`, `SMOLLM2_135M` and others](#presets)), a model that is
/// declared earlier in the same invocation, or `config("path")`, a Hugging Face `config.json`. The
/// path is relative to the folder of `Cargo.toml`, and the crate is compiled again when the file
/// changes. A key of the file that is neither used nor known to be harmless is an error. A size is
/// an integer or an expression of other keys. An error in a spec is a compile error at the
/// offending token.
///
/// The type has no values; it is the type parameter of [`Model`], [`Session`] and [`Trainer`]. It
/// has the functions `load` and `init`, which return a `Model`, a constant for each size
/// (`Gpt2::EMBED`), a [`Parameter`] for each tensor (`Gpt2::MLP_UP`), the number of parameters
/// (`Gpt2::PARAMS`), the memory that training takes (`Gpt2::train_bytes`), and its shaders
/// (`Gpt2::KERNELS`).
///
#[doc = gpt_macros::spec_reference!()]
///
/// An activation may also be a closure of arithmetic, literals, `let`, and the functions
/// `exp ln sqrt tanh sin cos abs max min powi`, such as `|x| x / (1.0 + exp(-1.702 * x))`. The
/// macro compiles it, and its derivative for training, to WGSL and to Rust.
#[macro_export]
macro_rules! gpt_model {
    ($($models:tt)*) => {
        $crate::__private::gpt_model_impl! { ($crate) $($models)* }
    };
}

/// Timings of the steps of a pass, and the peak rates and latency of a device.
pub mod profile {
    pub use crate::engine::{
        Clock, KernelTime, Latency, PeakRates, Profile, StepTime, TrainProfile,
    };
}

// Threads can share a model; a session, a generation or a trainer can move to another thread.
const _: () = {
    const fn send<T: Send>() {}
    const fn send_and_sync<T: Send + Sync>() {}
    send_and_sync::<Device>();
    send_and_sync::<DeviceOptions>();
    send_and_sync::<Error>();
    send_and_sync::<Hidden>();
    send_and_sync::<LoadOptions>();
    send_and_sync::<Logits<'_>>();
    send_and_sync::<Model>();
    send_and_sync::<Observation>();
    send_and_sync::<Sampler>();
    send_and_sync::<Sampling>();
    send_and_sync::<Stop>();
    send_and_sync::<Tokenizer>();
    send::<Generation<'_>>();
    send::<Meter>();
    send::<Session>();
    send::<SessionBuilder>();
    send::<TokenGeneration<'_>>();
};
#[cfg(feature = "train")]
const _: () = {
    const fn send<T: Send>() {}
    send::<Batch>();
    send::<Trainer>();
    send::<TrainerSettings>();
};

/// Internals for generated code and for this workspace: its command line, tests and benchmarks.
/// Semantic versioning does not cover them: any release may change or remove an item of this
/// module.
#[doc(hidden)]
pub mod __private {
    pub use gpt_macros::gpt_model_impl;
    pub use gpt_plan as plan;
    pub use gpt_shaders as shaders;

    /// The CPU engine.
    pub mod cpu {
        pub use crate::cpu::*;
    }

    pub use crate::error::counted;

    /// Reads of files, and atomic writes.
    pub mod files {
        pub use crate::files::{read, read_text, replace, write};
    }

    /// Parsers that the fuzz tests call on their own.
    pub mod parsers {
        /// Reads all tensors of a weight file. Returns the number of their elements.
        pub fn read_tensors(path: &std::path::Path) -> Result<u64, crate::Error> {
            crate::weights::read_tensors(path)
        }

        /// Reads the moments of a checkpoint. Returns their number.
        #[cfg(feature = "train")]
        pub fn read_moments(
            path: &std::path::Path,
            plan: &gpt_plan::Plan,
        ) -> Result<usize, crate::Error> {
            crate::train::read_moments(path, plan)
        }
    }

    /// The interface of both engines.
    pub mod engine {
        pub use crate::engine::*;
    }

    /// The GPU engine.
    #[cfg(feature = "gpu")]
    pub mod gpu {
        pub use crate::gpu::*;
    }

    /// The documented keys of a spec, for editors.
    pub mod spec_docs {
        gpt_macros::spec_docs!();
    }
}
