//! The training pass as a static, as `plan` writes the rest.

use gpt_plan::*;
use proc_macro2::TokenStream;

use super::plan::{BindingLists, P, kernels, list, norm_ref, option, parse, tensor_id};

/// Its statics, and its expression.
pub fn items(training: &Training, bindings: &BindingLists<'_>) -> (TokenStream, String) {
    let buffers: Vec<String> = training.buffers.iter().map(buffer).collect();
    let statics = format!(
        "static TRAINING_KERNELS: [{P}::Kernel; {}] = {}; const TRAINING_BUFFERS: [{P}::TrainBuffer; {}] = [{}];",
        training.kernels.len(),
        kernels(&training.kernels, bindings),
        buffers.len(),
        buffers.join(","),
    );
    let value = format!(
        "{P}::Training {{ buffers: ::std::borrow::Cow::Borrowed(&TRAINING_BUFFERS), forward: {}, backward: {}, kernels: ::std::borrow::Cow::Borrowed(&TRAINING_KERNELS), in_f16: {} }}",
        list(&training.forward, section),
        list(&training.backward, section),
        list(&training.in_f16, |k| k.to_string()),
    );
    (parse(&statics), value)
}

fn buffer(b: &TrainBuffer) -> String {
    format!(
        "{P}::TrainBuffer {{ name: {P}::BufferName::{:?}, width: {}, stride: {}, rows: {P}::TrainRows::{:?}, copies: {P}::Copies::{:?} }}",
        b.name, b.width, b.stride, b.rows, b.copies
    )
}

fn section(s: &TrainSection) -> String {
    format!(
        "{P}::TrainSection {{ repeat: {P}::Repeat::{:?}, steps: {} }}",
        s.repeat,
        list(&s.steps, step)
    )
}

fn step(s: &TrainStep) -> String {
    format!(
        "{P}::TrainStep {{ name: {:?}, op: {P}::TrainOp::{}, kernels: {} }}",
        s.name,
        op(&s.op),
        list(&s.kernels, |k| k.to_string())
    )
}

fn slot(s: Slot) -> String {
    format!(
        "{P}::Slot {{ name: {P}::BufferName::{:?}, shift: {} }}",
        s.name, s.shift
    )
}

fn op(op: &TrainOp) -> String {
    let linear = |weight: TensorId, bias: Option<TensorId>| {
        format!(
            "weight: {}, bias: {}",
            tensor_id(weight),
            option(bias, tensor_id)
        )
    };
    let norm = |norm: NormRef, x: Slot, stats: Slot| {
        format!(
            "norm: {}, x: {}, stats: {}",
            norm_ref(norm),
            slot(x),
            slot(stats)
        )
    };
    let site = |site: Site| format!("{P}::Site::{site:?}");
    match *op {
        TrainOp::Embed {
            table,
            positions,
            out,
        } => format!(
            "Embed {{ table: {}, positions: {}, out: {} }}",
            tensor_id(table),
            option(positions, tensor_id),
            slot(out)
        ),
        TrainOp::Norm {
            norm: n,
            x,
            stats,
            out,
        } => format!("Norm {{ {}, out: {} }}", norm(n, x, stats), slot(out)),
        TrainOp::NormAgain {
            norm: n,
            x,
            stats,
            out,
        } => format!("NormAgain {{ {}, out: {} }}", norm(n, x, stats), slot(out)),
        TrainOp::Qkv {
            weight,
            bias,
            input,
        } => format!("Qkv {{ {}, input: {} }}", linear(weight, bias), slot(input)),
        TrainOp::Residual {
            weight,
            bias,
            input,
            residual,
            out,
            site: s,
        } => format!(
            "Residual {{ {}, input: {}, residual: {}, out: {}, site: {} }}",
            linear(weight, bias),
            slot(input),
            slot(residual),
            slot(out),
            site(s)
        ),
        TrainOp::MlpUp {
            weight,
            bias,
            input,
        } => format!(
            "MlpUp {{ {}, input: {} }}",
            linear(weight, bias),
            slot(input)
        ),
        TrainOp::Logits { weight } => format!("Logits {{ weight: {} }}", tensor_id(weight)),
        TrainOp::Dropped { site: s, dy, out } => format!(
            "Dropped {{ site: {}, dy: {}, out: {} }}",
            site(s),
            slot(dy),
            slot(out)
        ),
        TrainOp::LinearInput { weight, dy, into } => {
            let into = match into {
                Into::Store(out) => format!("Store({})", slot(out)),
                Into::ThroughActivation => "ThroughActivation".to_owned(),
            };
            format!(
                "LinearInput {{ weight: {}, dy: {}, into: {P}::Into::{into} }}",
                tensor_id(weight),
                slot(dy)
            )
        }
        TrainOp::LinearWeight {
            weight,
            bias,
            dy,
            input,
        } => format!(
            "LinearWeight {{ {}, dy: {}, input: {} }}",
            linear(weight, bias),
            slot(dy),
            slot(input)
        ),
        TrainOp::NormInput {
            norm: n,
            x,
            stats,
            dy,
            also,
            add,
            out,
        } => format!(
            "NormInput {{ {}, dy: {}, also: {}, add: {}, out: {} }}",
            norm(n, x, stats),
            slot(dy),
            option(also, slot),
            option(add, slot),
            slot(out)
        ),
        TrainOp::NormWeight {
            norm: n,
            x,
            stats,
            dy,
            also,
        } => format!(
            "NormWeight {{ {}, dy: {}, also: {} }}",
            norm(n, x, stats),
            slot(dy),
            option(also, slot)
        ),
        TrainOp::Add { a, b, out } => format!(
            "Add {{ a: {}, b: {}, out: {} }}",
            slot(a),
            slot(b),
            slot(out)
        ),
        TrainOp::EmbedWeight {
            table,
            positions,
            dx,
        } => format!(
            "EmbedWeight {{ table: {}, positions: {}, dx: {} }}",
            tensor_id(table),
            option(positions, tensor_id),
            slot(dx)
        ),
        TrainOp::Attention | TrainOp::CrossEntropy | TrainOp::AttentionInput => {
            format!("{op:?}")
        }
    }
}
