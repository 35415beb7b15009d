//! Checks that the wiring of a plan is consistent: tensors, buffers, steps and kernels fit
//! together.
//!
//! [`validate`] is a `const fn`. Generated code calls it on the model's static plan, so a plan that
//! is wrong does not compile. Tests call [`check`] on plans that were made at run time.
//!
//! Checked are shapes, ids, layer ranges, kernel indices, and that a buffer is written before it is
//! read. Whether a step computes what its name says is up to the tests that compare numbers.

use std::fmt::{self, Display};

use crate::{
    Buffer, BufferId, Copies, Epilogue, Heads, KernelChoice, LayerCopy, List, NO_KERNEL, NormRef,
    Op, Place, Plan, Projection, Repeat, Role, Section, Slot, Statistics, Step, StepKernels, Str,
    Tensor, TensorId, TensorKind, elements,
};

/// What is wrong with a plan, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault<'a> {
    /// `inference`, `training (forward)`, or the part of the plan that is no pass.
    pub pass: &'a str,
    /// The name of the step, or empty.
    pub step: &'a str,
    /// The name of the tensor, buffer or list.
    pub subject: &'a str,
    pub problem: Problem,
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// A predicate of the subject: `is not in the list of tensors`.
    Text(&'static str),
    /// `what` of the subject, which does not fit.
    Size {
        what: &'static str,
        found: u32,
        expected: u32,
    },
}

impl Display for Fault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Message::of(self).as_str())
    }
}

/// Rejects a plan whose wiring is wrong.
///
/// # Panics
/// With the message of [`check`]'s fault. In a `const` that is a compile error.
pub const fn validate(plan: &Plan) {
    if let Err(fault) = check(plan) {
        let message = Message::of(&fault);
        panic!("{}", message.as_str());
    }
}

/// Evaluates to the value of a `Result`, or returns its error: `?`, which a `const fn` cannot use.
macro_rules! attempt {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(fault) => return Err(fault),
        }
    };
}

/// The first fault of `plan`, if it has one.
pub const fn check(plan: &Plan) -> Result<(), Fault<'_>> {
    let inference = Checker::new(plan, "inference", &plan.buffers);
    let inference = attempt!(inference.sections(&plan.sections, Direction::Forward));
    attempt!(inference.has_written(BufferId::Logits));

    let training = &plan.training;
    let mut pass = Checker::new(plan, "training (forward)", &training.buffers);
    pass.trains = true;
    pass = attempt!(pass.sections(&training.forward, Direction::Forward));
    pass.pass = "training (loss)";
    pass = attempt!(pass.sections(&training.loss, Direction::Chunks));
    attempt!(pass.has_written(BufferId::Losses));
    pass.pass = "training (backward)";
    pass = attempt!(pass.sections(&training.backward, Direction::Backward));
    attempt!(pass.has_written(BufferId::DX));

    attempt!(check_tensors(plan));
    check_kernels(plan)
}

/// The rows of a file's tensors must add up to those of the tensor that they stack to.
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

/// The kernels that belong to no step.
const fn check_kernels(plan: &Plan) -> Result<(), Fault<'_>> {
    let kernels = elements(&plan.kernels).len();
    let mut i = 0;
    while i < plan.choice.len() {
        if plan.choice[i] as usize >= kernels {
            return out_of_range("choice");
        }
        i += 1;
    }
    if let Some(split) = plan.split
        && (split.part as usize >= kernels || split.join as usize >= kernels)
    {
        return out_of_range("split");
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

/// The order in which the sections of a pass cover the layers.
#[derive(Clone, Copy)]
enum Direction {
    /// Layers ascending.
    Forward,
    /// Chunks of rows, no layers.
    Chunks,
    /// Layers descending.
    Backward,
}

/// The layers for which the current section runs.
#[derive(Clone, Copy)]
enum Scope {
    Model,
    /// The first of the section's layers.
    Layers(u32),
}

/// The state of the check while it iterates over the steps of a pass.
#[derive(Clone, Copy)]
struct Checker<'a> {
    plan: &'a Plan,
    buffers: &'a [Buffer],
    trains: bool,
    scope: Scope,
    /// A bit for each buffer that a step has written, by [`BufferId`].
    written: u64,
    pass: &'static str,
    step: &'a str,
}

impl<'a> Checker<'a> {
    const fn new(plan: &'a Plan, pass: &'static str, buffers: &'a List<Buffer>) -> Self {
        Checker {
            plan,
            buffers: elements(buffers),
            trains: false,
            scope: Scope::Model,
            written: 0,
            pass,
            step: "",
        }
    }

    const fn fault<T: Copy>(
        &self,
        subject: &'a str,
        problem: &'static str,
    ) -> Result<T, Fault<'a>> {
        Err(Fault {
            pass: self.pass,
            step: self.step,
            subject,
            problem: Problem::Text(problem),
        })
    }

    const fn expect(
        &self,
        subject: &'a str,
        what: &'static str,
        found: u32,
        expected: u32,
    ) -> Result<(), Fault<'a>> {
        if found == expected {
            return Ok(());
        }
        Err(Fault {
            pass: self.pass,
            step: self.step,
            subject,
            problem: Problem::Size {
                what,
                found,
                expected,
            },
        })
    }

    /// Checks all sections and that they cover each layer once, in order.
    const fn sections(
        mut self,
        sections: &'a List<Section>,
        direction: Direction,
    ) -> Result<Self, Fault<'a>> {
        let sections = elements(sections);
        let layers = self.plan.spec.layers;
        let (mut next, end) = match direction {
            Direction::Forward => (0, layers),
            Direction::Chunks => (0, 0),
            Direction::Backward => (layers, 0),
        };
        let mut i = 0;
        while i < sections.len() {
            let section = &sections[i];
            self.step = "";
            self.scope = Scope::Model;
            match (section.repeat, direction) {
                (Repeat::Once, Direction::Forward | Direction::Backward)
                | (Repeat::Chunks, Direction::Chunks) => {}
                (Repeat::Layers { from, to }, Direction::Forward) => {
                    attempt!(self.expect("a section", "the first layer", from, next));
                    if from > to {
                        return self.fault("a section", "has a negative number of layers");
                    }
                    self.scope = Scope::Layers(from);
                    next = to;
                }
                (Repeat::LayersReversed { from, to }, Direction::Backward) => {
                    attempt!(self.expect("a section", "the end of the layers", to, next));
                    if from > to {
                        return self.fault("a section", "has a negative number of layers");
                    }
                    self.scope = Scope::Layers(from);
                    next = from;
                }
                _ => return self.fault("a section", "repeats as no section of this pass does"),
            }
            let steps = elements(&section.steps);
            let mut s = 0;
            while s < steps.len() {
                self = attempt!(self.step(&steps[s]));
                s += 1;
            }
            i += 1;
        }
        self.step = "";
        attempt!(self.expect("the sections", "the layer after the last", next, end));
        Ok(self)
    }

    const fn step(mut self, step: &'a Step) -> Result<Self, Fault<'a>> {
        self.step = text(&step.name);
        let checked = attempt!(self.op(&step.op));
        attempt!(self.kernels(&step.kernels));
        Ok(checked)
    }

    const fn kernels(&self, kernels: &'a StepKernels) -> Result<(), Fault<'a>> {
        match (kernels, self.trains) {
            (StepKernels::Forward { decode, prefill }, false) => {
                let count = elements(&self.plan.kernels).len();
                attempt!(self.choice(decode, count));
                self.choice(prefill, count)
            }
            (StepKernels::Train(indices), true) => {
                let count = elements(&self.plan.training.kernels).len();
                let indices = elements(indices);
                let mut i = 0;
                while i < indices.len() {
                    attempt!(self.kernel(indices[i], count));
                    i += 1;
                }
                Ok(())
            }
            _ => self.fault("the kernels", "belong to another kind of pass"),
        }
    }

    const fn choice(&self, choice: &'a KernelChoice, count: usize) -> Result<(), Fault<'a>> {
        match choice {
            KernelChoice::Plain(kernel) => self.kernel(*kernel, count),
            KernelChoice::ByFormat(kernels) => {
                let mut i = 0;
                while i < kernels.len() {
                    // A matrix may have too many parts in a format.
                    if kernels[i] != NO_KERNEL {
                        attempt!(self.kernel(kernels[i], count));
                    }
                    i += 1;
                }
                Ok(())
            }
        }
    }

    const fn kernel(&self, kernel: u16, count: usize) -> Result<(), Fault<'a>> {
        if (kernel as usize) < count {
            return Ok(());
        }
        self.fault("a kernel's index", "is beyond the list of kernels")
    }

    /// The tensor `id`, which has to exist in all layers of the section.
    const fn tensor(&self, id: TensorId) -> Result<&'a Tensor, Fault<'a>> {
        let tensors = elements(&self.plan.tensors);
        if id.0 as usize >= tensors.len() {
            return self.fault("a tensor's id", "is beyond the list of tensors");
        }
        let tensor = &tensors[id.0 as usize];
        match (self.scope, tensor.place) {
            (Scope::Model, Place::Model) => Ok(tensor),
            (Scope::Layers(from), Place::Layers { first }) if first <= from => Ok(tensor),
            (Scope::Layers(_), Place::Layers { .. }) => self.fault(
                text(&tensor.name),
                "does not exist in the first layer of the section",
            ),
            (Scope::Layers(_), Place::Model) => {
                self.fault(text(&tensor.name), "is no tensor of a layer")
            }
            (Scope::Model, Place::Layers { .. }) => self.fault(
                text(&tensor.name),
                "is a tensor of a layer, and the step has none",
            ),
        }
    }

    const fn matrix(&self, id: TensorId) -> Result<&'a Tensor, Fault<'a>> {
        let tensor = attempt!(self.tensor(id));
        match tensor.kind {
            TensorKind::Matrix => Ok(tensor),
            _ => self.fault(text(&tensor.name), "is not a matrix"),
        }
    }

    /// A vector of `len` elements.
    const fn vector(&self, id: TensorId, len: u32) -> Result<(), Fault<'a>> {
        let tensor = attempt!(self.tensor(id));
        match tensor.kind {
            TensorKind::Vector => self.expect(text(&tensor.name), "the length", tensor.rows, len),
            _ => self.fault(text(&tensor.name), "is not a vector"),
        }
    }

    const fn optional_vector(&self, id: Option<TensorId>, len: u32) -> Result<(), Fault<'a>> {
        match id {
            Some(id) => self.vector(id, len),
            None => Ok(()),
        }
    }

    const fn norm(&self, norm: NormRef, width: u32) -> Result<(), Fault<'a>> {
        attempt!(self.vector(norm.gamma, width));
        self.optional_vector(norm.beta, width)
    }

    /// The width of a slot's buffer, which has to have the copy that the slot names.
    const fn width(&self, slot: Slot) -> Result<u32, Fault<'a>> {
        let name = slot.buffer.name();
        let mut i = 0;
        while i < self.buffers.len() {
            let buffer = &self.buffers[i];
            if buffer.id as usize == slot.buffer as usize {
                return match (slot.copy, buffer.copies, self.scope) {
                    (LayerCopy::Here, Copies::One | Copies::PerLayerAndEnd, _)
                    | (LayerCopy::Here, Copies::PerLayer, Scope::Layers(_))
                    | (LayerCopy::Next, Copies::PerLayerAndEnd, Scope::Layers(_))
                    | (LayerCopy::End, Copies::PerLayerAndEnd, _) => Ok(buffer.width),
                    _ => self.fault(name, "does not have the copy that the step names"),
                };
            }
            i += 1;
        }
        self.fault(name, "is not in the pass's list of buffers")
    }

    /// The width of a slot that is read.
    const fn read(&self, slot: Slot) -> Result<u32, Fault<'a>> {
        let width = attempt!(self.width(slot));
        attempt!(self.has_written(slot.buffer));
        Ok(width)
    }

    const fn has_written(&self, buffer: BufferId) -> Result<(), Fault<'a>> {
        if self.written & 1 << buffer as u64 == 0 {
            return self.fault(buffer.name(), "is read, but no earlier step writes it");
        }
        Ok(())
    }

    /// The width of a slot that is written.
    const fn write(&mut self, slot: Slot) -> Result<u32, Fault<'a>> {
        let width = attempt!(self.width(slot));
        self.written |= 1 << slot.buffer as u64;
        Ok(width)
    }

    /// Reads a slot of `width` elements a row.
    const fn read_of(&self, slot: Slot, width: u32) -> Result<(), Fault<'a>> {
        let found = attempt!(self.read(slot));
        self.expect(slot.buffer.name(), "the width", found, width)
    }

    const fn read_optional(&self, slot: Option<Slot>, width: u32) -> Result<(), Fault<'a>> {
        match slot {
            Some(slot) => self.read_of(slot, width),
            None => Ok(()),
        }
    }

    /// Writes a slot of `width` elements a row.
    const fn write_of(&mut self, slot: Slot, width: u32) -> Result<(), Fault<'a>> {
        let found = attempt!(self.write(slot));
        self.expect(slot.buffer.name(), "the width", found, width)
    }

    /// The width of the gradient of a projection's product. Training pads a gate and the rows it
    /// gates to whole panels.
    const fn product_width(&self, weight: &Tensor) -> u32 {
        match weight.role {
            Role::MlpUp => self.slopes_width(weight.rows),
            _ => weight.rows,
        }
    }

    /// The width of slopes for a product of `rows`.
    const fn slopes_width(&self, rows: u32) -> u32 {
        if self.plan.spec.mlp.gated {
            2 * (rows / 2).next_multiple_of(16)
        } else {
            rows
        }
    }

    const fn op(mut self, op: &'a Op) -> Result<Self, Fault<'a>> {
        let spec = &self.plan.spec;
        match *op {
            Op::Embed {
                table,
                positions,
                out,
            } => {
                let width = attempt!(self.write(out));
                attempt!(self.table(table, positions, width));
            }
            Op::Norm {
                norm,
                x,
                stats,
                out,
                statistics,
            } => {
                let width = attempt!(self.read(x));
                attempt!(self.norm(norm, width));
                match statistics {
                    Statistics::Compute => attempt!(self.write_of(stats, 2)),
                    Statistics::Stored => attempt!(self.read_of(stats, 2)),
                }
                attempt!(self.write_of(out, width));
            }
            Op::Project(ref projection) => return self.project(projection),
            Op::Attention {
                heads, out, lse, ..
            } => {
                match heads {
                    Heads::Cached { q, k, v } => {
                        attempt!(self.read_of(q, spec.q_width()));
                        attempt!(self.read_of(k, spec.kv_width()));
                        attempt!(self.read_of(v, spec.kv_width()));
                    }
                    Heads::Fused { qkv } => attempt!(self.read_of(qkv, spec.qkv_width())),
                }
                attempt!(self.write_of(out, spec.q_width()));
                if let Some(lse) = lse {
                    attempt!(self.write_of(lse, spec.heads));
                }
            }
            Op::CrossEntropy { logits, losses } => {
                attempt!(self.read_of(logits, spec.vocab));
                attempt!(self.write_of(losses, 1));
            }
            Op::EmbedBackward {
                table,
                positions,
                dx,
            } => {
                let width = attempt!(self.read(dx));
                attempt!(self.table(table, positions, width));
            }
            Op::DropoutBackward { dy, out, .. } => {
                let width = attempt!(self.read(dy));
                attempt!(self.write_of(out, width));
            }
            Op::ProjectInput {
                weight,
                dy,
                slopes,
                out,
            } => {
                let weight = attempt!(self.matrix(weight));
                attempt!(self.read_of(dy, self.product_width(weight)));
                let width = match slopes {
                    None => weight.columns,
                    // The gradient passes the activation, whose input is twice as wide if gated.
                    Some(slopes) => {
                        let rows = match spec.mlp.gated {
                            true => 2 * weight.columns,
                            false => weight.columns,
                        };
                        let width = self.slopes_width(rows);
                        attempt!(self.read_of(slopes, width));
                        width
                    }
                };
                attempt!(self.write_of(out, width));
            }
            Op::ProjectWeight {
                weight,
                bias,
                dy,
                input,
            } => {
                let weight = attempt!(self.matrix(weight));
                attempt!(self.optional_vector(bias, weight.rows));
                attempt!(self.read_of(dy, self.product_width(weight)));
                attempt!(self.read_of(input, weight.columns));
            }
            Op::NormInput {
                norm,
                x,
                stats,
                dy,
                dy_residual,
                residual,
                out,
            } => {
                let width = attempt!(self.norm_backward(norm, x, stats, dy, dy_residual));
                attempt!(self.read_optional(residual, width));
                attempt!(self.write_of(out, width));
            }
            Op::NormWeight {
                norm,
                x,
                stats,
                dy,
                dy_residual,
            } => {
                attempt!(self.norm_backward(norm, x, stats, dy, dy_residual));
            }
            Op::Add { a, b, out } => {
                let width = attempt!(self.read(a));
                attempt!(self.read_of(b, width));
                attempt!(self.write_of(out, width));
            }
            Op::AttentionBackward {
                qkv,
                out,
                lse,
                dout,
                delta,
                dqkv,
                ..
            } => {
                attempt!(self.read_of(qkv, spec.qkv_width()));
                attempt!(self.read_of(out, spec.q_width()));
                attempt!(self.read_of(lse, spec.heads));
                attempt!(self.read_of(dout, spec.q_width()));
                attempt!(self.write_of(delta, spec.heads));
                attempt!(self.write_of(dqkv, spec.qkv_width()));
            }
        }
        Ok(self)
    }

    /// The tables of an embedding of `width`.
    const fn table(
        &self,
        table: TensorId,
        positions: Option<TensorId>,
        width: u32,
    ) -> Result<(), Fault<'a>> {
        let spec = &self.plan.spec;
        let table = attempt!(self.matrix(table));
        attempt!(self.expect(
            text(&table.name),
            "the number of rows",
            table.rows,
            spec.vocab
        ));
        attempt!(self.columns(table, width));
        let Some(positions) = positions else {
            return Ok(());
        };
        let table = attempt!(self.tensor(positions));
        let TensorKind::Table = table.kind else {
            return self.fault(text(&table.name), "is not a table");
        };
        attempt!(self.expect(
            text(&table.name),
            "the number of rows",
            table.rows,
            spec.context
        ));
        self.columns(table, width)
    }

    const fn columns(&self, tensor: &'a Tensor, width: u32) -> Result<(), Fault<'a>> {
        self.expect(
            text(&tensor.name),
            "the number of columns",
            tensor.columns,
            width,
        )
    }

    const fn rows(&self, tensor: &'a Tensor, width: u32) -> Result<(), Fault<'a>> {
        self.expect(text(&tensor.name), "the number of rows", tensor.rows, width)
    }

    /// What the two backward ops of a norm read. Returns the width of the norm.
    const fn norm_backward(
        &self,
        norm: NormRef,
        x: Slot,
        stats: Slot,
        dy: Slot,
        dy_residual: Option<Slot>,
    ) -> Result<u32, Fault<'a>> {
        let width = attempt!(self.read(x));
        attempt!(self.norm(norm, width));
        attempt!(self.read_of(stats, 2));
        attempt!(self.read_of(dy, width));
        attempt!(self.read_optional(dy_residual, width));
        Ok(width)
    }

    const fn project(mut self, projection: &'a Projection) -> Result<Self, Fault<'a>> {
        let spec = &self.plan.spec;
        let weight = attempt!(self.matrix(projection.weight));
        let width = attempt!(self.read(projection.input));
        attempt!(self.columns(weight, width));
        if let Some(norm) = projection.norm {
            attempt!(self.norm(norm, width));
        }
        attempt!(self.optional_vector(projection.bias, weight.rows));
        match projection.epilogue {
            Epilogue::Store { out } => {
                let out = attempt!(self.write(out));
                attempt!(self.rows(weight, out));
            }
            Epilogue::Heads { heads, .. } => {
                attempt!(self.rows(weight, spec.qkv_width()));
                match heads {
                    Heads::Cached { q, k, v } => {
                        attempt!(self.write_of(q, spec.q_width()));
                        attempt!(self.write_of(k, spec.kv_width()));
                        attempt!(self.write_of(v, spec.kv_width()));
                    }
                    Heads::Fused { qkv } => attempt!(self.write_of(qkv, weight.rows)),
                }
            }
            Epilogue::Activation { gated, out, slopes } => {
                if gated != spec.mlp.gated {
                    return self.fault(
                        "the activation",
                        "is gated where the spec's is not, or not where it is",
                    );
                }
                let out = attempt!(self.write(out));
                attempt!(self.rows(weight, if gated { 2 * out } else { out }));
                if let Some(slopes) = slopes {
                    attempt!(self.write_of(slopes, self.slopes_width(weight.rows)));
                }
            }
            Epilogue::Residual {
                residual,
                norm,
                out,
                ..
            } => {
                attempt!(self.read_of(residual, weight.rows));
                if let Some(norm) = norm {
                    attempt!(self.norm(norm, weight.rows));
                }
                let out = attempt!(self.write(out));
                attempt!(self.rows(weight, out));
            }
        }
        Ok(self)
    }
}

/// The text of a name in a plan of either kind.
const fn text(name: &Str) -> &str {
    match name {
        Str::Borrowed(text) => text,
        Str::Owned(text) => text.as_str(),
    }
}

/// A line of text that a `const fn` can write. What does not fit is cut off.
struct Message {
    bytes: [u8; Message::CAPACITY],
    len: usize,
}

impl Message {
    const CAPACITY: usize = 320;

    const fn of(fault: &Fault<'_>) -> Message {
        let mut message = Message {
            bytes: [0; Message::CAPACITY],
            len: 0,
        };
        message.text("the plan is inconsistent: ");
        message.text(fault.pass);
        if !fault.step.is_empty() {
            message.text(", step `");
            message.text(fault.step);
            message.text("`");
        }
        message.text(": ");
        match fault.problem {
            Problem::Text(problem) => {
                message.text(fault.subject);
                message.text(" ");
                message.text(problem);
            }
            Problem::Size {
                what,
                found,
                expected,
            } => {
                message.text(what);
                message.text(" of ");
                message.text(fault.subject);
                message.text(" is ");
                message.number(found);
                message.text(", expected ");
                message.number(expected);
            }
        }
        message
    }

    const fn text(&mut self, text: &str) {
        let text = text.as_bytes();
        let mut i = 0;
        while i < text.len() && self.len < Message::CAPACITY {
            self.bytes[self.len] = text[i];
            self.len += 1;
            i += 1;
        }
    }

    const fn number(&mut self, number: u32) {
        if number >= 10 {
            self.number(number / 10);
        }
        let digit = [b'0' + (number % 10) as u8];
        if let Ok(digit) = std::str::from_utf8(&digit) {
            self.text(digit);
        }
    }

    const fn as_str(&self) -> &str {
        match std::str::from_utf8(self.bytes.split_at(self.len).0) {
            Ok(text) => text,
            // A letter was cut in two.
            Err(_) => "the plan is inconsistent",
        }
    }
}
