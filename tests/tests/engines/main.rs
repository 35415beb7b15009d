//! Tests of both engines on plans made at run time, and of the macro's output.
//!
//! They are one program, because then a long test does not leave a core idle, and the libraries are
//! linked once. Tests that expand `gpt_model!` are in the program `models`, because each change of
//! it expands its models again.

mod caches;
mod cpu_gradients;
mod cpu_parity;
mod device_lost;
mod dropout;
mod edges;
mod expansion;
mod families;
mod families_gguf;
mod gpu_bounds;
mod gpu_f16;
mod gpu_gradients;
mod gpu_parity;
mod long_context;
mod masked_tokens;
mod not_numbers;
mod observations;
mod oracle_gradients;
mod parts;
mod random_specs;
mod sampling;
mod self_test;
mod sessions;
mod stress;
mod training_runs;
