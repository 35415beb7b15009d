//! Checks that the wiring of a plan is consistent: tensors, buffers, steps and kernels fit
//! together.
//!
//! [`validate`] is a `const fn`. Generated code calls it on the model's static plan, so a plan that
//! is wrong does not compile. Tests call [`check`] on plans that were made at run time.
//!
//! The checks cover shapes, ids, layer ranges and kernel indices, and that a buffer is written
//! before it is read. Tests that compare numbers check whether a step computes what its name says.

mod checker;
mod message;
mod ops;

use std::fmt::{self, Display};

use checker::{Checker, Direction, text};
use message::MessageBuffer;

use crate::{BufferId, Place, Plan, elements};

/// An inconsistency of a plan, and its location.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault<'a> {
    /// The pass (`inference`, `training (forward)`), or the list of the plan that has the fault
    /// (`tensors`, `kernels`).
    pub pass: &'a str,
    /// The name of the step; empty if the fault is not in a step.
    pub step: &'a str,
    /// The name of the tensor, buffer or list.
    pub subject: &'a str,
    /// The kind of fault.
    pub problem: Problem,
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// A predicate of the subject: `is beyond the list of tensors`.
    Text(&'static str),
    /// A size of the subject that does not fit.
    Size {
        /// The name of the size.
        what: &'static str,
        /// The size in the plan.
        found: u32,
        /// The size that would fit.
        expected: u32,
    },
}

impl Display for Fault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MessageBuffer::of(self).as_str())
    }
}

/// Rejects a plan whose wiring is wrong.
///
/// # Panics
/// Panics if the plan is wrong, with the message of the fault that [`check`] finds. In a `const`,
/// this is a compile error.
pub const fn validate(plan: &Plan) {
    if let Err(fault) = check(plan) {
        let message = MessageBuffer::of(&fault);
        panic!("{}", message.as_str());
    }
}

/// Evaluates to the value of a `Result`, or returns its error. A `const fn` cannot use `?`.
macro_rules! attempt {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(fault) => return Err(fault),
        }
    };
}
use attempt;

/// Checks `plan`.
///
/// # Errors
/// Fails with the first fault of the plan.
pub const fn check(plan: &Plan) -> Result<(), Fault<'_>> {
    let inference = Checker::new(plan, "inference", &plan.buffers);
    let inference = attempt!(inference.sections(&plan.sections, Direction::Forward));
    attempt!(inference.has_written(BufferId::Logits));

    let training = &plan.training;
    let mut pass = Checker::new(plan, "training (forward)", &training.buffers);
    pass.trains = true;
    pass = attempt!(pass.sections(&training.forward, Direction::Forward));
    pass.pass = "training (loss)";
    pass = attempt!(pass.sections(&training.loss, Direction::LogitRanges));
    attempt!(pass.has_written(BufferId::Losses));
    pass.pass = "training (backward)";
    pass = attempt!(pass.sections(&training.backward, Direction::Backward));
    attempt!(pass.has_written(BufferId::DX));

    attempt!(check_tensors(plan));
    check_kernels(plan)
}

/// Checks that each tensor has elements and begins at a layer of the model, or right after the last
/// one if no layer has it, and that the rows of its tensors in files add up to its own.
const fn check_tensors(plan: &Plan) -> Result<(), Fault<'_>> {
    let tensors = elements(&plan.tensors);
    let mut i = 0;
    while i < tensors.len() {
        let tensor = &tensors[i];
        let fault = Fault {
            pass: "tensors",
            step: "",
            subject: text(&tensor.name),
            problem: Problem::Text("has no elements"),
        };
        if tensor.is_empty() {
            return Err(fault);
        }
        if let Place::Layers { first } = tensor.place
            && first > plan.spec.layers
        {
            return Err(Fault {
                problem: Problem::Text("begins at a layer that the model does not have"),
                ..fault
            });
        }
        let sources = elements(&tensor.sources);
        let (mut rows, mut s) = (0, 0);
        while s < sources.len() {
            rows += sources[s].rows;
            s += 1;
        }
        if rows != tensor.rows && !sources.is_empty() {
            return Err(Fault {
                problem: Problem::Size {
                    what: "the number of rows in files",
                    found: rows,
                    expected: tensor.rows,
                },
                ..fault
            });
        }
        i += 1;
    }
    Ok(())
}

/// Checks the indices of kernels that belong to no step.
const fn check_kernels(plan: &Plan) -> Result<(), Fault<'_>> {
    let kernels = elements(&plan.kernels).len();
    let mut i = 0;
    while i < plan.sampling.len() {
        if plan.sampling[i] as usize >= kernels {
            return out_of_range("sampling");
        }
        i += 1;
    }
    if let Some(kernel) = plan.split_attention
        && (kernel.split as usize >= kernels || kernel.merge as usize >= kernels)
    {
        return out_of_range("split_attention");
    }
    let kernels = elements(&plan.training.kernels).len();
    let in_f16 = elements(&plan.training.in_f16);
    if in_f16.len() != kernels {
        return Err(Fault {
            pass: "kernels",
            step: "",
            subject: "in_f16",
            problem: Problem::Size {
                what: "the number of elements",
                found: in_f16.len() as u32,
                expected: kernels as u32,
            },
        });
    }
    let mut i = 0;
    while i < in_f16.len() {
        if in_f16[i] as usize >= kernels {
            return out_of_range("in_f16");
        }
        i += 1;
    }
    Ok(())
}

const fn out_of_range(subject: &'static str) -> Result<(), Fault<'static>> {
    Err(Fault {
        pass: "kernels",
        step: "",
        subject,
        problem: Problem::Text("has an index beyond the list of kernels"),
    })
}
