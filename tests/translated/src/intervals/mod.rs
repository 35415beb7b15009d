//! The greatest index of every access to an array of constant length in a kernel, computed from its
//! code and its sizes alone: for all inputs, all invocations and all workgroups.
//!
//! [`accesses`] interprets naga's module with an interval in place of each integer. A function is
//! interpreted for each call. In a loop, an interval that keeps growing becomes all integers of its
//! type, and the condition of the loop then limits it. Memory, uniforms and the results of other
//! invocations may be anything. What is computed is an upper bound: an index beyond its array here
//! may be one that never occurs.

mod conditions;
mod expressions;
mod interpreter;
mod state;
mod value;

use naga::valid::{Capabilities, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};

pub use value::Interval;

/// An access to an array of constant length, or to a vector.
#[derive(Clone, Debug)]
pub struct Access {
    /// Its WGSL.
    pub text: String,
    /// The indices that it may have.
    pub index: Interval,
    /// The length of the array.
    pub length: u32,
}

impl Access {
    /// Whether each index that the access may have is in the array.
    pub fn stays(&self) -> bool {
        self.index.least >= 0 && self.index.greatest < i64::from(self.length)
    }
}

/// What the analysis says of a kernel.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The accesses with an index that is computed, in arrays of constant length.
    pub accesses: Vec<Access>,
    /// Accesses to buffers, whose length the code does not say.
    pub of_buffers: usize,
}

/// The accesses of the kernel `text`.
pub fn accesses(text: &str) -> Report {
    let module = naga::front::wgsl::parse_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
    validator
        .subgroup_stages(ShaderStages::COMPUTE)
        .subgroup_operations(SubgroupOperationSet::all());
    let info = validator.validate(&module).unwrap();
    interpreter::run(&module, &info, text)
}
