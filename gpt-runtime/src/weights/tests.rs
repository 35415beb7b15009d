//! Reads checkpoints that the tests write: all layouts, all kinds of mismatch, and random damage.

mod parts;

use std::path::{Path, PathBuf};

use gpt_plan::{Format, Layout, Plan, TensorId, TensorKind};
use proptest::prelude::*;

use super::slice::{TensorSlice, slices};
use super::*;
use crate::weights::testing;

/// `weights` as a list of (name, shape, values), in Hugging Face's names and layouts.
fn hf_tensors(plan: &'static Plan, weights: &RandomWeights) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let mut all = Vec::new();
    for slice in slices(plan) {
        let TensorSlice { id, layer, tensor, source, rows } = slice;
        let columns = tensor.columns as usize;
        let values = testing::values(weights, id, layer);
        let ours = &values[rows.start * columns..rows.end * columns];
        let n = rows.len();
        let mut theirs = vec![0.0; n * columns];
        for r in 0..n {
            for c in 0..columns {
                let at = match source.hf_layout {
                    Layout::RowMajor => r * columns + c,
                    Layout::Transposed => c * n + r,
                    Layout::FusedHeads { .. } | Layout::Skip(_) => {
                        source.hf_layout.file_row(r) * columns + c
                    }
                    Layout::RotaryHalves { head_dim, dims } => {
                        let (d, half) = (head_dim as usize, dims as usize / 2);
                        let (head, i) = (r / d, r % d);
                        let i = match i < 2 * half {
                            true => i / 2 + if i % 2 == 1 { half } else { 0 },
                            false => i,
                        };
                        (head * d + i) * columns + c
                    }
                };
                theirs[at] = ours[r * columns + c];
            }
        }
        let shape = match (tensor.kind, source.hf_layout) {
            (TensorKind::Vector, _) => vec![n],
            (_, Layout::Transposed) => vec![columns, n],
            _ => vec![n, columns],
        };
        all.push((source.name_in(&source.hf, layer), shape, theirs));
    }
    all
}

fn write_safetensors(path: &Path, tensors: &[(String, Vec<usize>, Vec<f32>)]) {
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(n, s, v)| (n.clone(), s.clone(), v.iter().flat_map(|x| x.to_le_bytes()).collect()))
        .collect();
    let views = bytes.iter().map(|(name, shape, data)| {
        (
            name.clone(),
            ::safetensors::tensor::TensorView::new(::safetensors::Dtype::F32, shape.clone(), data)
                .unwrap(),
        )
    });
    std::fs::write(path, ::safetensors::serialize(views, None).unwrap()).unwrap();
}

/// A GGUF file: encoded metadata, and tensors as (name, ggml type, dimensions with the fastest
/// first, bytes).
pub struct GgufFile {
    pub metadata: Vec<(String, Vec<u8>)>,
    pub tensors: Vec<(String, u32, Vec<u64>, Vec<u8>)>,
}

fn text(s: &str) -> Vec<u8> {
    [&(s.len() as u64).to_le_bytes()[..], s.as_bytes()].concat()
}

fn meta_u32(key: &str, x: u32) -> (String, Vec<u8>) {
    (key.to_owned(), [4u32.to_le_bytes(), x.to_le_bytes()].concat())
}

fn meta_f32(key: &str, x: f32) -> (String, Vec<u8>) {
    (key.to_owned(), [6u32.to_le_bytes(), x.to_le_bytes()].concat())
}

fn meta_text(key: &str, x: &str) -> (String, Vec<u8>) {
    (key.to_owned(), [&8u32.to_le_bytes()[..], &text(x)].concat())
}

impl GgufFile {
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(3u32.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            out.extend(text(key));
            out.extend(value);
        }
        let mut offset = 0u64;
        for (name, kind, dimensions, data) in &self.tensors {
            out.extend(text(name));
            out.extend((dimensions.len() as u32).to_le_bytes());
            dimensions.iter().for_each(|d| out.extend(d.to_le_bytes()));
            out.extend(kind.to_le_bytes());
            out.extend(offset.to_le_bytes());
            offset = (offset + data.len() as u64).next_multiple_of(32);
        }
        for (_, _, _, data) in &self.tensors {
            out.resize(out.len().next_multiple_of(32), 0);
            out.extend(data);
        }
        out
    }
}

/// The scaled-down Llama as a GGUF file with matrices in `format`.
fn gguf_file(plan: &'static Plan, weights: &RandomWeights, format: Format) -> GgufFile {
    let spec = &plan.spec;
    let metadata = vec![
        meta_text("general.architecture", "llama"),
        meta_u32("llama.block_count", spec.layers),
        meta_u32("llama.attention.head_count", spec.heads),
        meta_u32("llama.attention.head_count_kv", spec.kv_heads),
        meta_u32("llama.embedding_length", spec.embed),
        meta_u32("llama.context_length", spec.context),
        meta_u32("llama.feed_forward_length", spec.mlp.hidden),
        meta_f32("llama.attention.layer_norm_rms_epsilon", 1e-5),
        meta_f32("llama.rope.freq_base", 10_000.0),
    ];
    let mut tensors = Vec::new();
    for slice in slices(plan) {
        let TensorSlice { id, layer, tensor, source, .. } = slice;
        let host = weights.tensor(id, layer).unwrap();
        let data: Vec<u8> = slice.data(&host).flatten().copied().collect();
        let mut dimensions = vec![u64::from(tensor.columns), source.rows.into()];
        if tensor.kind == TensorKind::Vector {
            dimensions.remove(0);
        }
        let kind = match host.format {
            Format::F32 => 0,
            Format::F16 => 1,
            Format::Bf16 => 30,
            Format::Q8 => 8,
            Format::Q4 => 3,
            Format::Q5 => 7,
            Format::Q4K => 12,
            Format::Q5K => 13,
            Format::Q6K => 14,
        };
        assert!(host.format == format || tensor.kind != TensorKind::Matrix);
        tensors.push((source.name_in(&source.gguf, layer), kind, dimensions, data));
    }
    GgufFile { metadata, tensors }
}

#[track_caller]
fn same(plan: &'static Plan, found: &dyn Weights, expected: &dyn Weights) {
    for (i, tensor) in plan.tensors.iter().enumerate() {
        let id = gpt_plan::TensorId(i as u16);
        for layer in tensor.layers(plan.spec.layers) {
            let (a, b) = (found.tensor(id, layer).unwrap(), expected.tensor(id, layer).unwrap());
            assert_eq!(
                (a.format, a.rows, a.columns),
                (b.format, b.rows, b.columns),
                "{}",
                tensor.name
            );
            assert!(a.data == b.data, "{} of layer {layer}", tensor.name);
        }
    }
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    (folder, path)
}

#[test]
fn safetensors_of_both_families_round_trip() {
    for plan in [testing::gpt2(), testing::llama()] {
        let weights = RandomWeights::new(plan, 3, Format::F32);
        let mut tensors = hf_tensors(plan, &weights);
        let (folder, path) = folder();
        write_safetensors(&path, &tensors);
        same(plan, &open(&path, plan, None).unwrap(), &weights);
        same(plan, &open(folder.path(), plan, None).unwrap(), &weights);
        let bf16 = open(&path, plan, Some(Format::Bf16)).unwrap();
        same(plan, &bf16, &RandomWeights::new(plan, 3, Format::Bf16));
        assert_eq!(bf16.notes().len(), 1, "{:?}", bf16.notes());

        // The names of torch.compile, of data-parallel training, and of one in the other.
        for prefix in ["_orig_mod.", "module.", "module._orig_mod."] {
            let mut wrapped = tensors.clone();
            wrapped.iter_mut().for_each(|(name, ..)| name.insert_str(0, prefix));
            write_safetensors(&path, &wrapped);
            same(plan, &open(&path, plan, None).unwrap(), &weights);
        }

        // Shards, tensor names with other prefixes, a buffer without parameters, and a copy of the
        // tied head.
        let head = tensors[0].clone();
        for (name, ..) in &mut tensors {
            *name = match name.strip_prefix("model.") {
                Some(rest) => rest.to_owned(),
                None => format!("transformer.{name}"),
            };
        }
        tensors.push(("lm_head.weight".to_owned(), head.1, head.2));
        tensors.push(("transformer.h.0.attn.masked_bias".to_owned(), vec![1], vec![-1e4]));
        let (folder, path) = self::folder();
        let (a, b) = tensors.split_at(tensors.len() / 2);
        let mut map = serde_json::Map::new();
        for (file, part) in [("a.safetensors", a), ("b.safetensors", b)] {
            write_safetensors(&path.with_file_name(file), part);
            part.iter().for_each(|(name, ..)| drop(map.insert(name.clone(), file.into())));
        }
        let index = serde_json::json!({ "weight_map": map });
        std::fs::write(path.with_file_name(safetensors::INDEX), index.to_string()).unwrap();
        same(plan, &open(folder.path(), plan, None).unwrap(), &weights);
    }
}

#[test]
fn gguf_round_trips_in_all_formats() {
    for format in Format::ALL {
        let plan = testing::llama_in(format);
        let weights = RandomWeights::new(plan, 4, format);
        let (_folder, path) = folder();
        let path = path.with_extension("gguf");
        std::fs::write(&path, gguf_file(plan, &weights, format).bytes()).unwrap();
        let loaded = open(&path, plan, None).unwrap();
        same(plan, &loaded, &weights);
        assert!(loaded.notes().is_empty(), "{:?}", loaded.notes());
        assert_eq!(loaded.gguf().unwrap().unsigned("llama.block_count"), Some(2));
    }
}

/// Parts of a fused matrix keep their types. As one tensor they are f32, which holds them exactly.
#[test]
fn a_fused_matrix_of_mixed_types_has_parts() {
    for [format, other] in [[Format::Q4, Format::Q8], [Format::Q4K, Format::Q6K]] {
        let plan = testing::llama_in(format);
        let weights = RandomWeights::new(plan, 4, format);
        let others = RandomWeights::new(plan, 4, other);
        let mut file = gguf_file(plan, &weights, format);
        let of_others = gguf_file(plan, &others, other);
        let at = file.tensors.iter().position(|t| t.0 == "blk.1.attn_v.weight").unwrap();
        file.tensors[at] = of_others.tensors.into_iter().nth(at).unwrap();
        let (_folder, path) = folder();
        let path = path.with_extension("gguf");
        std::fs::write(&path, file.bytes()).unwrap();
        let loaded = open(&path, plan, None).unwrap();
        let qkv = plan.find("attn.qkv.weight").unwrap();
        assert_eq!((loaded.format(qkv, 0), loaded.format(qkv, 1)), (format, Format::F32));
        assert!(loaded.notes().is_empty(), "{:?}", loaded.notes());
        assert_eq!(loaded.part_formats(qkv, 0), []);
        let rows = |i: usize| plan.tensor(qkv).sources[i].rows as usize;
        let expected = [(format, rows(0)), (format, rows(1)), (other, rows(2))];
        assert_eq!(loaded.part_formats(qkv, 1), expected);
        let parts = loaded.parts(qkv, 1).unwrap();
        let formats: Vec<Format> = parts.iter().map(|part| part.format).collect();
        assert_eq!(formats, [format, format, other]);
        let rows: usize = parts.iter().map(|part| part.rows).sum();
        let whole = loaded.tensor(qkv, 1).unwrap();
        assert_eq!(rows, whole.rows);
        let mut values = Vec::new();
        for part in &parts {
            let mut row = vec![f32::NAN; part.columns];
            for bytes in part.data.chunks(part.format.row_bytes(part.columns)) {
                super::format::decode(part.format, bytes, &mut row);
                values.extend_from_slice(&row);
            }
        }
        assert_eq!(values, testing::values(&loaded, qkv, 1));
        // In a requested format, the fused matrix has one part.
        let loaded = open(&path, plan, Some(Format::F16)).unwrap();
        assert_eq!(loaded.parts(qkv, 1).unwrap().len(), 1);
        assert_eq!(loaded.notes().len(), 2);
    }
}

#[test]
fn one_message_lists_all_mismatches() {
    let plan = testing::gpt2();
    let mut tensors = hf_tensors(plan, &RandomWeights::new(plan, 3, Format::F32));
    tensors.retain(|t| t.0 != "h.1.mlp.c_fc.bias");
    let ln = tensors.iter_mut().find(|t| t.0 == "ln_f.weight").unwrap();
    (ln.1, ln.2) = (vec![3], vec![1.0; 3]);
    let qkv = tensors.iter_mut().find(|t| t.0 == "h.0.attn.c_attn.weight").unwrap();
    qkv.1.reverse();
    tensors.push(("h.2.ln_1.weight".to_owned(), vec![1], vec![1.0]));
    let (_folder, path) = folder();
    write_safetensors(&path, &tensors);
    let config = serde_json::json!({ "n_head": 4, "layer_norm_epsilon": 1e-6, "activation_function": "relu", "n_embd": 32 });
    std::fs::write(path.with_file_name("config.json"), config.to_string()).unwrap();
    let error = open(&path, plan, None).err().expect("it does not fit").to_string();
    let expected = "does not fit the model test:
  the number of heads is 4 in config.json and 2 in the spec
  the norm's epsilon is 0.000001 in config.json and 0.00001 in the spec
  the activation is Relu in config.json and GeluTanh in the spec
  missing: h.1.mlp.c_fc.bias
  unexpected: h.2.ln_1.weight
  misshapen: h.0.attn.c_attn.weight is [96, 32] and should be [32, 96], ln_f.weight is [3] and should be [32]";
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn a_file_describes_its_model() {
    for plan in [testing::gpt2(), testing::llama()] {
        let weights = RandomWeights::new(plan, 3, Format::F32);
        let (folder, path) = folder();
        write_safetensors(&path, &hf_tensors(plan, &weights));
        let error = read_spec(&path).unwrap_err().to_string();
        assert!(error.contains("there is no config.json beside it"), "{error}");
        let config = path.with_file_name("config.json");
        save_config(&config, plan).unwrap();
        for path in [folder.path(), &path, &config] {
            assert_eq!(read_spec(path).unwrap(), plan.spec);
        }
        let gguf = path.with_extension("gguf");
        save_gguf(&gguf, plan, &weights, Format::Q8, None).unwrap();
        assert_eq!(read_spec(&gguf).unwrap(), plan.spec);
        same(plan, &open(&gguf, plan, None).unwrap(), &RandomWeights::new(plan, 3, Format::Q8));

        std::fs::write(&config, r#"{ "model_type": "gpt2", "windows": 2, "n_head": 5 }"#).unwrap();
        let error = read_spec(&path).unwrap_err().to_string();
        let expected = "config.json describes a model that cannot be run:
  n_embd is 768 and n_head is 5 in config.json; the first has to be a multiple of the second
  the key windows of config.json is unknown; remove it if it does not change what the model computes";
        assert!(error.ends_with(expected), "{error}");
        assert!(open(&path, plan, None).is_err());
    }
    assert!(read_spec(Path::new("no/such.gguf")).unwrap_err().to_string().contains("cannot read"));
}

/// An activation that is not the architecture's own survives a GGUF.
#[test]
fn a_gguf_names_an_unusual_activation() {
    let mut spec = testing::gpt2_spec();
    spec.mlp.activation = gpt_plan::Activation::Gelu;
    let plan = testing::plan(&spec);
    let (_folder, path) = folder();
    let path = path.with_extension("gguf");
    let weights = RandomWeights::new(plan, 3, Format::F32);
    save_gguf(&path, plan, &weights, Format::F32, None).unwrap();
    assert_eq!(read_spec(&path).unwrap(), spec);
    let error = open(&path, testing::gpt2(), None).err().expect("another activation").to_string();
    let expected = "the activation is Gelu in the metadata and GeluTanh in the spec";
    assert!(error.contains(expected), "{error}");
}

/// A GGUF may have the matrix of a tied head a second time, in another type. The more precise copy
/// is used. A head with other values is an error.
#[test]
fn a_tied_head_in_another_type() {
    let plan = testing::llama();
    let (_folder, path) = folder();
    let path = path.with_extension("gguf");
    for (embedding, head) in
        [(Format::Q4, Format::Q8), (Format::Q8, Format::Q4), (Format::Q8, Format::Q8)]
    {
        for (seed, is_copy) in [(3, true), (4, false)] {
            let weights = RandomWeights::new(plan, 3, embedding);
            let mut file = gguf_file(plan, &weights, embedding);
            let other = RandomWeights::new(plan, seed, head);
            let mut copy = gguf_file(plan, &other, head).tensors.into_iter();
            let mut copy = copy.find(|tensor| tensor.0 == "token_embd.weight").unwrap();
            copy.0 = "output.weight".to_owned();
            file.tensors.push(copy);
            std::fs::write(&path, file.bytes()).unwrap();
            let opened = open(&path, plan, None);
            match opened {
                Ok(opened) => {
                    assert!(is_copy, "{embedding:?} {head:?}");
                    let best = if head == Format::Q8 { head } else { embedding };
                    assert_eq!(opened.tensor(TensorId(0), 0).unwrap().format, best);
                }
                Err(error) => {
                    assert!(!is_copy, "{embedding:?} {head:?}: {error}");
                    assert!(error.to_string().contains("unexpected: output.weight"), "{error}");
                }
            }
            // Without a declaration the head is a separate matrix.
            assert!(!read_spec(&path).unwrap().tie_embeddings);
        }
    }
}

#[test]
fn invalid_files_are_rejected() {
    let (folder, path) = folder();
    let plan = testing::gpt2();
    let error =
        |path: &Path| open(path, plan, None).err().expect("an invalid checkpoint").to_string();
    assert!(error(folder.path()).contains("has no weights, neither safetensors nor GGUF"));
    assert!(error(&path).contains("cannot read"));
    std::fs::write(&path, b"").unwrap();
    assert!(error(&path).contains("model.safetensors is empty"), "{}", error(&path));
    std::fs::write(&path, [0xFF; 64]).unwrap();
    assert!(error(&path).contains("is neither safetensors nor GGUF"));
    std::fs::write(&path, b"\x40\0\0\0\0\0\0\0{}").unwrap();
    assert!(error(&path).contains("is not a safetensors file"), "{}", error(&path));
    let gguf = path.with_extension("gguf");
    std::fs::write(&gguf, b"GGUF\x03\0\0\0").unwrap();
    assert!(error(&gguf).contains("ends within the number of tensors"), "{}", error(&gguf));
}

/// A wrong size must give an error and allocate nothing: each case is parsed in a few microseconds.
#[test]
fn gguf_with_wrong_sizes_is_rejected() {
    let plan = testing::llama();
    let file = || gguf_file(plan, &RandomWeights::new(plan, 4, Format::Q8), Format::Q8);
    let error = |file: GgufFile| gguf::parse(&file.bytes()).expect_err("a corrupt file");
    type Damage = fn(&mut GgufFile);
    let cases: [(&str, Damage); 7] = [
        ("cannot store", |f| f.tensors[0].2 = vec![u64::MAX / 2 * 2, 1 << 40]),
        ("reaches beyond the end", |f| f.tensors[0].2 = vec![32, 1 << 50]),
        ("cannot store", |f| f.tensors[0].2 = vec![33, 1]),
        ("is of type 99", |f| f.tensors[0].1 = 99),
        ("occurs twice", |f| f.tensors[1].0 = f.tensors[0].0.clone()),
        ("too short for", |f| {
            let list = [9u32.to_le_bytes(), 8u32.to_le_bytes()].concat();
            let list = [list, u64::MAX.to_le_bytes().to_vec()].concat();
            f.metadata.push(("list".to_owned(), list));
        }),
        ("power of two", |f| f.metadata.push(meta_u32("general.alignment", 3))),
    ];
    for (expected, damage) in cases {
        let mut damaged = file();
        damage(&mut damaged);
        let found = error(damaged);
        assert!(found.contains(expected), "{found}");
    }
    let mut bytes = file().bytes();
    bytes[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(gguf::parse(&bytes).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_gguf_never_panics(at in 0usize..3000, bits in 1u8.., cut in 0usize..3000) {
        let plan = testing::llama();
        let mut bytes = gguf_file(plan, &RandomWeights::new(plan, 4, Format::Q8), Format::Q8).bytes();
        let len = bytes.len();
        bytes[at % len] ^= bits;
        let _ = gguf::parse(&bytes);
        let _ = gguf::parse(&bytes[..cut.min(len)]);
    }

    #[test]
    fn noise_is_not_gguf(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
        let bytes = [b"GGUF\x03\0\0\0".as_slice(), &noise].concat();
        let _ = gguf::parse(&bytes);
    }
}
