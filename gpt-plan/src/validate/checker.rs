//! Iteration over the steps of a pass: sections, layers, kernels, lookups of tensors and buffers.

use super::{Fault, Problem, attempt};
use crate::{
    Buffer, BufferId, Copies, KernelChoice, LayerCopy, List, NO_KERNEL, NormRef, Place, Plan,
    Repeat, Section, Slot, Step, StepKernels, Str, Tensor, TensorId, TensorKind, elements,
};

/// The order in which the sections of a pass cover the layers.
#[derive(Clone, Copy)]
pub enum Direction {
    /// Layers ascending.
    Forward,
    /// Ranges of rows whose logits are computed together; no layers.
    LogitRanges,
    /// Layers descending.
    Backward,
}

/// The layers for which the current section runs.
#[derive(Clone, Copy)]
pub enum Scope {
    /// No layers: the section belongs to the model.
    Model,
    /// The section's layers, by the first of them.
    Layers(u32),
}

/// The state of the check while it iterates over the steps of a pass.
#[derive(Clone, Copy)]
pub struct Checker<'a> {
    pub plan: &'a Plan,
    buffers: &'a [Buffer],
    pub trains: bool,
    scope: Scope,
    /// A bit for each buffer that a step has written, by [`BufferId`].
    written: u64,
    pub pass: &'static str,
    step: &'a str,
}

impl<'a> Checker<'a> {
    pub const fn new(plan: &'a Plan, pass: &'static str, buffers: &'a List<Buffer>) -> Self {
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

    pub const fn fault<T: Copy>(
        &self,
        subject: &'a str,
        problem: &'static str,
    ) -> Result<T, Fault<'a>> {
        Err(Fault { pass: self.pass, step: self.step, subject, problem: Problem::Text(problem) })
    }

    pub const fn expect(
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
            problem: Problem::Size { what, found, expected },
        })
    }

    /// Checks all sections and that they cover each layer once, in order.
    pub const fn sections(
        mut self,
        sections: &'a List<Section>,
        direction: Direction,
    ) -> Result<Self, Fault<'a>> {
        let sections = elements(sections);
        let layers = self.plan.spec.layers;
        let (mut next, end) = match direction {
            Direction::Forward => (0, layers),
            Direction::LogitRanges => (0, 0),
            Direction::Backward => (layers, 0),
        };
        let mut i = 0;
        while i < sections.len() {
            let section = &sections[i];
            self.step = "";
            self.scope = Scope::Model;
            match (section.repeat, direction) {
                (Repeat::Once, Direction::Forward | Direction::Backward)
                | (Repeat::LogitRanges, Direction::LogitRanges) => {}
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
                _ => return self.fault("a section", "repeats in a way that only another pass can"),
            }
            let steps = elements(&section.steps);
            if section.period == 0 || !steps.len().is_multiple_of(section.period as usize) {
                let problem = "has a number of steps that is not a multiple of its period";
                return self.fault("a section", problem);
            }
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
            (StepKernels::Inference { decode, prefill }, false) => {
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
                    // In some formats the matrix may have too many parts for a kernel.
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

    /// Returns the tensor `id`. It has to exist in all layers of the section.
    pub const fn tensor(&self, id: TensorId) -> Result<&'a Tensor, Fault<'a>> {
        let tensors = elements(&self.plan.tensors);
        if id.0 as usize >= tensors.len() {
            return self.fault("a tensor's id", "is beyond the list of tensors");
        }
        let tensor = &tensors[id.0 as usize];
        match (self.scope, tensor.place) {
            (Scope::Model, Place::Model) => Ok(tensor),
            (Scope::Layers(from), Place::Layers { first }) if first <= from => Ok(tensor),
            (Scope::Layers(_), Place::Layers { .. }) => {
                self.fault(text(&tensor.name), "does not exist in the first layer of the section")
            }
            (Scope::Layers(_), Place::Model) => {
                self.fault(text(&tensor.name), "is not a tensor of a layer")
            }
            (Scope::Model, Place::Layers { .. }) => {
                self.fault(text(&tensor.name), "is a tensor of a layer, but the step is not in one")
            }
        }
    }

    pub const fn matrix(&self, id: TensorId) -> Result<&'a Tensor, Fault<'a>> {
        let tensor = attempt!(self.tensor(id));
        match tensor.kind {
            TensorKind::Matrix => Ok(tensor),
            _ => self.fault(text(&tensor.name), "is not a matrix"),
        }
    }

    /// Checks that `id` is a vector of `len` elements.
    pub const fn vector(&self, id: TensorId, len: u32) -> Result<(), Fault<'a>> {
        let tensor = attempt!(self.tensor(id));
        match tensor.kind {
            TensorKind::Vector => self.expect(text(&tensor.name), "the length", tensor.rows, len),
            _ => self.fault(text(&tensor.name), "is not a vector"),
        }
    }

    pub const fn optional_vector(&self, id: Option<TensorId>, len: u32) -> Result<(), Fault<'a>> {
        match id {
            Some(id) => self.vector(id, len),
            None => Ok(()),
        }
    }

    pub const fn norm(&self, norm: NormRef, width: u32) -> Result<(), Fault<'a>> {
        attempt!(self.optional_vector(norm.gamma, width));
        self.optional_vector(norm.beta, width)
    }

    /// Returns the width of a slot's buffer. The buffer has to have the copy that the slot names.
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

    /// Checks that an earlier step has written a slot's buffer. Returns the width of the slot.
    pub const fn read(&self, slot: Slot) -> Result<u32, Fault<'a>> {
        let width = attempt!(self.width(slot));
        attempt!(self.has_written(slot.buffer));
        Ok(width)
    }

    pub const fn has_written(&self, buffer: BufferId) -> Result<(), Fault<'a>> {
        if self.written & 1 << buffer as u64 == 0 {
            return self.fault(buffer.name(), "is read, but no earlier step writes it");
        }
        Ok(())
    }

    /// Records that a slot's buffer is written. Returns the width of the slot.
    pub const fn write(&mut self, slot: Slot) -> Result<u32, Fault<'a>> {
        let width = attempt!(self.width(slot));
        self.written |= 1 << slot.buffer as u64;
        Ok(width)
    }

    /// Like [`read`](Self::read), and checks that the slot is `width` elements wide.
    pub const fn read_of(&self, slot: Slot, width: u32) -> Result<(), Fault<'a>> {
        let found = attempt!(self.read(slot));
        self.expect(slot.buffer.name(), "the width", found, width)
    }

    pub const fn read_optional(&self, slot: Option<Slot>, width: u32) -> Result<(), Fault<'a>> {
        match slot {
            Some(slot) => self.read_of(slot, width),
            None => Ok(()),
        }
    }

    /// Like [`write`](Self::write), and checks that the slot is `width` elements wide.
    pub const fn write_of(&mut self, slot: Slot, width: u32) -> Result<(), Fault<'a>> {
        let found = attempt!(self.write(slot));
        self.expect(slot.buffer.name(), "the width", found, width)
    }
}

/// The text of a name, borrowed (in a static plan) or owned (in a plan made at run time).
pub const fn text(name: &Str) -> &str {
    match name {
        Str::Borrowed(text) => text,
        Str::Owned(text) => text.as_str(),
    }
}
