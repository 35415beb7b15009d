//! The plan as a static: every type of `gpt-plan` as the expression that makes it.
//!
//! Expressions are written as text and parsed once. Building them token by token would be the larger part of a model's expansion
//! time, as a procedural macro crosses into the compiler for every token.

use std::fmt::Write;

use gpt_plan::*;
use proc_macro2::TokenStream;

use super::training;

/// Statics that the plan refers to, and the plan's expression.
pub fn items(plan: &Plan) -> (TokenStream, TokenStream) {
    let bindings = BindingLists::new(plan);
    let kernels = kernels(&plan.kernels, &bindings);
    let statics = format!(
        "{} static KERNELS: [{P}::Kernel; {}] = {kernels};",
        bindings.item(),
        plan.kernels.len(),
    );
    let (training_statics, training) = training::items(&plan.training, &bindings);
    let value = format!(
        "{P}::Plan {{ name: {}, spec: {}, tensors: {}, buffers: {}, kernels: {COW}::Borrowed(&KERNELS), sections: {}, split: {}, choice: {:?}, training: {training} }}",
        text(&plan.name),
        spec(&plan.spec),
        list(&plan.tensors, tensor),
        list(&plan.buffers, buffer),
        list(&plan.sections, section),
        option(plan.split, |s| format!("{P}::{s:?}")),
        plan.choice,
    );
    let mut statics = parse(&statics);
    statics.extend(training_statics);
    (statics, parse(&value))
}

pub(super) const P: &str = "::gpt_runtime::plan";
const COW: &str = "::std::borrow::Cow";
const SOME: &str = "::core::option::Option::Some";
const NONE: &str = "::core::option::Option::None";

pub(super) fn parse(rust: &str) -> TokenStream {
    rust.parse().expect("the compiler writes Rust")
}

fn text(text: &str) -> String {
    format!("{COW}::Borrowed({text:?})")
}

pub(super) fn list<T>(list: &[T], item: impl Fn(&T) -> String) -> String {
    let mut out = format!("{COW}::Borrowed(&[");
    for element in list.iter() {
        let _ = write!(out, "{},", item(element));
    }
    out + "])"
}

pub(super) fn option<T>(value: Option<T>, item: impl Fn(T) -> String) -> String {
    value.map_or(NONE.to_owned(), |v| format!("{SOME}({})", item(v)))
}

fn float(x: f64) -> String {
    if x.is_finite() {
        format!("{x:?}f64")
    } else {
        format!("f64::from_bits({})", x.to_bits())
    }
}

fn spec(s: &Spec) -> String {
    let norm = match s.norm {
        Norm::LayerNorm { eps } => format!("LayerNorm {{ eps: {} }}", float(eps)),
        Norm::RmsNorm { eps } => format!("RmsNorm {{ eps: {} }}", float(eps)),
    };
    let positions = match s.positions {
        Positions::Learned => "Learned".to_owned(),
        Positions::Sinusoidal => "Sinusoidal".to_owned(),
        Positions::Rope { theta } => format!("Rope {{ theta: {} }}", float(theta)),
    };
    let activation = match &s.mlp.activation {
        Activation::Custom { value, derivative } => {
            format!(
                "Custom {{ value: {}, derivative: {} }}",
                formula(value),
                formula(derivative)
            )
        }
        known => format!("{known:?}"),
    };
    format!(
        "{P}::Spec {{ vocab: {}, context: {}, layers: {}, heads: {}, kv_heads: {}, embed: {}, head_dim: {}, norm: {P}::Norm::{norm}, \
         block: {P}::Block::{:?}, mlp: {P}::Mlp {{ gated: {}, hidden: {}, activation: {P}::Activation::{activation} }}, \
         positions: {P}::Positions::{positions}, mask: {P}::Mask::{:?}, bias: {}, tie_embeddings: {}, dropout: {} }}",
        s.vocab,
        s.context,
        s.layers,
        s.heads,
        s.kv_heads,
        s.embed,
        s.head_dim,
        s.block,
        s.mlp.gated,
        s.mlp.hidden,
        s.mask,
        s.bias,
        s.tie_embeddings,
        float(s.dropout),
    )
}

fn formula(f: &Formula) -> String {
    let node = |node: &Node| match node {
        Node::Const(c) => format!("{P}::Node::Const({})", float(*c)),
        other => format!("{P}::Node::{other:?}"),
    };
    format!("{P}::Formula {{ nodes: {} }}", list(&f.nodes, node))
}

pub(super) fn tensor_id(id: TensorId) -> String {
    format!("{P}::TensorId({})", id.0)
}

fn tensor(t: &Tensor) -> String {
    let init = match t.init {
        Init::Normal(std) => format!("Normal({})", float(std)),
        other => format!("{other:?}"),
    };
    format!(
        "{P}::Tensor {{ name: {}, place: {P}::Place::{:?}, kind: {P}::TensorKind::{:?}, rows: {}, columns: {}, init: {P}::Init::{init}, sources: {} }}",
        text(&t.name),
        t.place,
        t.kind,
        t.rows,
        t.columns,
        list(&t.sources, source),
    )
}

fn source(s: &Source) -> String {
    format!(
        "{P}::Source {{ rows: {}, hf: {}, gguf: {}, layer_shift: {}, hf_layout: {P}::Layout::{:?} }}",
        s.rows,
        text(&s.hf),
        text(&s.gguf),
        s.layer_shift,
        s.hf_layout
    )
}

fn buffer(b: &Buffer) -> String {
    format!(
        "{P}::Buffer {{ id: {P}::BufferId::{:?}, name: {:?}, width: {}, rows: {P}::Rows::{:?} }}",
        b.id, b.name, b.width, b.rows
    )
}

/// The lists of bindings that kernels have, each written once: most kernels share one.
pub(super) struct BindingLists<'a>(Vec<&'a [Binding]>);

impl<'a> BindingLists<'a> {
    fn new(plan: &'a Plan) -> BindingLists<'a> {
        let kernels = plan.kernels.iter().chain(plan.training.kernels.iter());
        let mut lists: Vec<&[Binding]> = kernels.map(|kernel| &*kernel.bindings).collect();
        lists.sort_unstable();
        lists.dedup();
        BindingLists(lists)
    }

    /// The constant that has them.
    fn item(&self) -> String {
        let binding = |b: &Binding| {
            format!(
                "{P}::Binding::new({}, {}, {P}::Operand::{:?}, {P}::Access::{:?}),",
                b.group, b.binding, b.operand, b.access
            )
        };
        let list = |list: &&[Binding]| {
            let bindings: String = list.iter().map(binding).collect();
            format!("&[{bindings}],")
        };
        let lists: String = self.0.iter().map(list).collect();
        format!("const BINDINGS: &[&[{P}::Binding]] = &[{lists}];")
    }

    fn index(&self, bindings: &[Binding]) -> usize {
        let found = self.0.binary_search(&bindings);
        found.expect("the list of every kernel of the plan")
    }
}

/// The array of `kernels`.
pub(super) fn kernels(kernels: &[Kernel], bindings: &BindingLists<'_>) -> String {
    let kernels = kernels.iter().map(|k| kernel(k, bindings) + ",");
    format!("[{}]", kernels.collect::<String>())
}

fn kernel(k: &Kernel, bindings: &BindingLists<'_>) -> String {
    let part = |part: &&'static gpt_shaders::Source| {
        format!("&::gpt_runtime::shaders::{}", part.constant())
    };
    format!(
        "{P}::Kernel {{ name: {}, header: {}, parts: {}, workgroup: {}, tile_rows: {}, groups: {}, strips: {}, grid: {P}::Grid::{:?}, bindings: {COW}::Borrowed(BINDINGS[{}]) }}",
        text(&k.name),
        text(&k.header),
        list(&k.parts, part),
        k.workgroup,
        k.tile_rows,
        k.groups,
        k.strips,
        k.grid,
        bindings.index(&k.bindings)
    )
}

fn section(s: &Section) -> String {
    let layers = option(s.layers, |(from, to)| format!("({from}, {to})"));
    format!(
        "{P}::Section {{ layers: {layers}, steps: {} }}",
        list(&s.steps, step)
    )
}

fn step(s: &Step) -> String {
    format!(
        "{P}::Step {{ name: {:?}, op: {P}::Op::{}, decode: {}, prefill: {} }}",
        s.name,
        op(&s.op),
        choice(s.decode),
        choice(s.prefill)
    )
}

fn choice(c: KernelChoice) -> String {
    format!("{P}::KernelChoice::{c:?}")
}

pub(super) fn norm_ref(n: NormRef) -> String {
    format!(
        "{P}::NormRef {{ gamma: {}, beta: {} }}",
        tensor_id(n.gamma),
        option(n.beta, tensor_id)
    )
}

fn op(op: &Op) -> String {
    let norm = |n: Option<NormRef>| option(n, norm_ref);
    let projection = |name: &str, n: Option<NormRef>, weight: TensorId, bias: Option<TensorId>| {
        format!(
            "{name} {{ norm: {}, weight: {}, bias: {} }}",
            norm(n),
            tensor_id(weight),
            option(bias, tensor_id)
        )
    };
    match *op {
        Op::Embed { table, positions } => format!(
            "Embed {{ table: {}, positions: {} }}",
            tensor_id(table),
            option(positions, tensor_id)
        ),
        Op::Attention => "Attention".to_owned(),
        Op::Head { norm: n, weight } => {
            format!(
                "Head {{ norm: {}, weight: {} }}",
                norm(n),
                tensor_id(weight)
            )
        }
        Op::Qkv { norm, weight, bias } => projection("Qkv", norm, weight, bias),
        Op::AttentionOut { norm, weight, bias } => projection("AttentionOut", norm, weight, bias),
        Op::MlpUp { norm, weight, bias } => projection("MlpUp", norm, weight, bias),
        Op::MlpDown { norm, weight, bias } => projection("MlpDown", norm, weight, bias),
    }
}
