//! Runs the models that [`gpt_model!`] declares, on wgpu and on its own CPU engine.
//!
//! Data flows one way. [`weights`] reads tensors from files, an engine packs them once and runs the
//! model's plan, [`Session`] feeds it tokens and returns logits, [`Sampler`] chooses the next
//! token, [`text`] converts between tokens and text, and [`train`] improves a model. The plan of a
//! model is defined in `gpt-plan`; `gpt-codegen` builds it from a spec.
//!
//! Cargo features, both on by default: `gpu` adds the GPU engine and depends on wgpu; `train` adds
//! trainers.

// Code that only a trainer or the GPU calls is compiled without those features too; the linker
// drops it.
#![cfg_attr(not(all(feature = "gpu", feature = "train")), allow(dead_code))]

mod cpu;
mod device;
mod engine;
mod error;
mod files;
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
#[cfg(feature = "train")]
pub mod train;
mod truncated_plan;
#[cfg(all(feature = "gpu", feature = "train"))]
mod tune;
mod vtable;
pub mod weights;

pub use device::{Device, DeviceKind, DeviceOptions, Meter};
pub use engine::{CacheFormat, SessionOptions};
pub use error::{Detail, Error};
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
pub use self_test::{Check, SelfTest, self_test};
pub use session::{Logits, Session, SessionBuilder};
pub use text::Tokenizer;
#[cfg(feature = "train")]
pub use train::{AdamW, Batch, Trainer, TrainerSettings};
#[cfg(all(feature = "gpu", feature = "train"))]
pub use tune::{Choice, Tuning, tune, tune_training};
pub use vtable::{Gpt, Untyped};

#[cfg(feature = "gpu")]
pub use wgpu;

/// Declares models. The keys of a spec are in the book, `docs/src/spec.md`.
#[macro_export]
macro_rules! gpt_model {
    ($($models:tt)*) => {
        $crate::__private::gpt_model_impl! { ($crate) $($models)* }
    };
}

/// Timings of the steps of a pass, and the peak rates of a device.
pub mod profile {
    pub use crate::engine::{Clock, PartTime, PeakRates, Profile, StepTime, TrainProfile};
}

// A model is shared by threads; a session, a generation or a trainer can move to another.
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

/// Internals for generated code, and for the tests and benchmarks of this workspace. Not covered by
/// semantic versioning: any release may change or remove an item in here.
#[doc(hidden)]
pub mod __private {
    pub use gpt_macros::gpt_model_impl;
    pub use gpt_plan as plan;
    pub use gpt_shaders as shaders;

    /// The CPU engine.
    pub mod cpu {
        pub use crate::cpu::*;
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
