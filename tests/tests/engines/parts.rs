//! A matrix larger than a binding: the token embedding of a model with two million tokens, split
//! into three bindings on the GPU.

use std::borrow::Cow;

use gpt_plan::{Format, MatrixLayout, Op, Phase, Plan, TensorId, TensorKind};
use gpt_runtime::__private::engine::{CacheFormat, EngineModel, LogitsRequest, SessionOptions};
use gpt_runtime::__private::gpu::GpuModel;
use gpt_runtime::Error;
use gpt_runtime::weights::{HostTensor, Weights};
use gpt_tests::gpu;
use gpt_tests::specs;

const VOCAB: u32 = 2_000_003;
const EMBED: u32 = 36;

/// Element (row, column) of every matrix: cheap to compute, and different from its neighbours.
fn element(row: u32, column: u32) -> f32 {
    let mixed = (row * EMBED + column).wrapping_mul(2_654_435_761) >> 16;
    mixed as f32 / 65_536.0 - 0.5
}

struct Computed(&'static Plan);

impl Weights for Computed {
    fn tensor(&self, id: TensorId, layer: u32) -> Result<HostTensor<'_>, Error> {
        let tensor = self.0.tensor(id);
        let value = |row, column| match tensor.kind {
            TensorKind::Vector => 1.0,
            _ => element(row, column),
        };
        let mut data = Vec::with_capacity(4 * tensor.len() as usize);
        for row in 0..tensor.rows {
            for column in 0..tensor.columns {
                data.extend_from_slice(&f32::to_le_bytes(value(row, column)));
            }
        }
        Ok(HostTensor {
            format: self.format(id, layer),
            rows: tensor.rows as usize,
            columns: tensor.columns as usize,
            data: Cow::Owned(data),
        })
    }

    fn format(&self, _: TensorId, _: u32) -> Format {
        Format::F32
    }
}

/// Checks the embeddings of tokens in different parts through the trace, and the head with dot
/// products of its traced input.
#[test]
fn rows_in_all_parts_are_read() {
    let Some(device) = gpu::device() else { return };
    let spec = gpt_plan::Spec {
        vocab: VOCAB,
        context: 4,
        layers: 1,
        heads: 1,
        kv_heads: 1,
        head_dim: 36,
        embed: EMBED,
        bias: false,
        positions: gpt_plan::Positions::Rope(gpt_plan::Rope::new(
            gpt_plan::Pattern::all(Some(100.0)),
            36,
        )),
        norm: gpt_plan::Norm {
            kind: gpt_plan::NormKind::Rms,
            eps: 1e-6,
            ..gpt_plan::Norm::default()
        },
        ..specs::gpt2()
    };
    let plan = specs::plan("Large", &spec);
    let layout = MatrixLayout::new(Format::F32, VOCAB.into(), EMBED.into()).unwrap();
    assert_eq!(layout.parts, 3);
    let boundary = layout.part_panels * gpt_plan::PANEL;
    let tokens = [boundary - 1, boundary, 2 * boundary, VOCAB - 1];

    let model = GpuModel::new(device, plan, &Computed(plan)).unwrap();
    let options =
        SessionOptions { capacity: 4, chunk: 4, all_logits: false, cache: CacheFormat::F32 };
    let mut session = model.session(options).unwrap();
    let mut logits = vec![f32::NAN; VOCAB as usize];
    session.forward(&tokens[..3], 0, LogitsRequest::Nothing, &mut logits).now().unwrap();
    session.forward(&tokens[3..], 3, LogitsRequest::Last, &mut logits).now().unwrap();

    let options =
        SessionOptions { all_logits: true, cache: CacheFormat::F32, chunk: 1, capacity: 4 };
    let mut session = model.session(options).unwrap();
    for (position, token) in (0..).zip(tokens) {
        let trace = session.trace(&[token], position).now().unwrap();
        let embedded: Vec<f32> = (0..EMBED).map(|column| element(token, column)).collect();
        assert_eq!(trace[0].values, embedded, "the embedding of token {token}");
        // The scale of the norm before the head is 1.
        let x = &trace[trace.len() - 2].values;
        let square = x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / f64::from(EMBED);
        let scale = 1.0 / (square + 1e-6).sqrt();
        let traced = &trace[trace.len() - 1].values;
        for row in
            (0..VOCAB).step_by(99_991).chain(tokens).chain([0, boundary + 1, 2 * boundary - 1])
        {
            let dot: f64 = (0..EMBED)
                .map(|column| {
                    f64::from(element(row, column)) * f64::from(x[column as usize]) * scale
                })
                .sum();
            let found = f64::from(traced[row as usize]);
            assert!((found - dot).abs() < 1e-4, "logit {row}: {found}, not {dot}");
            if position == 3 {
                let cached = f64::from(logits[row as usize]);
                assert!(
                    (cached - dot).abs() < 1e-3,
                    "logit {row} on the cache: {cached}, not {dot}"
                );
            }
        }
    }
}

/// The layouts of real matrices in all formats: no part is larger than a binding, strips stay
/// whole, and no row is lost.
#[test]
fn layouts_of_large_matrices() {
    for format in Format::ALL {
        for (rows, columns) in
            [(50_257, 768), (50_257, 1600), (49_152, 576), (6400, 1600), (1, 1), (33, 100_000)]
        {
            let layout = MatrixLayout::new(format, rows, columns).unwrap();
            assert!(u64::from(layout.panels * gpt_plan::PANEL) >= rows);
            assert_eq!(layout.part_panels % 4, 0, "a strip is four panels");
            let mut panels = 0;
            for part in 0..layout.parts {
                let range = layout.panels_of(part);
                assert_eq!(range.start, panels);
                assert!(!range.is_empty());
                assert!(range.len() as u64 * layout.panel_bytes() <= gpt_plan::MAX_BINDING);
                panels = range.end;
            }
            assert_eq!(panels, layout.panels);
        }
    }
    // With rows of 128 MiB, no strip fits in a binding.
    assert_eq!(MatrixLayout::new(Format::F32, 1, 32 << 20), None);
}

/// A format in which a matrix has too many parts has no kernel, and the engine reports it.
#[test]
fn too_many_parts_are_rejected() {
    let spec = gpt_plan::Spec {
        vocab: 1_000_000,
        embed: 512,
        heads: 4,
        head_dim: 128,
        kv_heads: 4,
        ..specs::gpt2()
    };
    let plan = specs::plan("TooLarge", &spec);
    let (_, embed) = plan.steps().next().unwrap();
    assert!(matches!(embed.op, Op::Embed { .. }));
    assert_eq!(embed.kernel(Phase::Decode, Format::F32), gpt_plan::NO_KERNEL);
    assert_ne!(embed.kernel(Phase::Decode, Format::Q8), gpt_plan::NO_KERNEL);
    let Some(device) = gpu::device() else { return };
    struct Never;
    impl Weights for Never {
        fn tensor(&self, _: TensorId, _: u32) -> Result<HostTensor<'_>, Error> {
            // Vectors and the position table are uploaded first.
            Ok(HostTensor {
                format: Format::F32,
                rows: 64,
                columns: 512,
                data: Cow::Owned(vec![0; 4 * 64 * 512]),
            })
        }

        fn format(&self, _: TensorId, _: u32) -> Format {
            Format::F32
        }
    }
    let error = GpuModel::new(device, plan, &Never).map(drop).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("token_embedding of TooLarge in f32"), "{message}");
    assert!(message.contains("load it in a smaller format"), "{message}");
}
