//! Meganeura's part of `../compare.py`: its own graphs of SmolLM2-135M in f32, on its default
//! Vulkan adapter. Prints one JSON object with rates in tokens per second and the number of
//! dispatches of a token.
//!
//! Its graphs have a fixed length, so there are two: one reads a whole prompt and outputs keys and
//! values, the other decodes a token with its own cache. They are separate sessions, and the
//! copy of the prompt's rows through the host is not timed.
//!
//! Weights are random, because the time of kernels does not depend on them, and small enough that
//! thirty layers do not overflow.

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use meganeura::models::smollm2::{
    SmolLM2Config, build_decode_graph, build_prefill_graph, weight_names,
};
use meganeura::{CoopPolicy, Graph, Mode, Session, SessionConfig, SessionOptions, build};

/// The version in `Cargo.toml`.
const VERSION: &str = "0.3.0";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["version"] => println!("{VERSION}"),
        ["infer", "smollm2-135m", prefill, decode] => infer(prefill.parse()?, decode.parse()?)?,
        _ => bail!("expected version or infer smollm2-135m PREFILL DECODE"),
    }
    Ok(())
}

/// Pseudo-random tokens, the same in every run.
fn tokens(n: usize, vocab: usize) -> Vec<u32> {
    let token = |i: u32| i.wrapping_mul(2_654_435_761) % vocab as u32;
    (0..n as u32).map(token).collect()
}

/// A session for a graph, with weights.
fn session(graph: &Graph, config: &SmolLM2Config) -> Result<Session> {
    let settings = SessionConfig {
        mode: Mode::Inference,
        runtime: SessionOptions {
            // By default it rounds a prompt's operands to f16 if the adapter supports only f16
            // tiles.
            coop: CoopPolicy::Disabled,
            ..SessionOptions::default()
        },
        ..SessionConfig::default()
    };
    let (mut session, _) = build(graph, settings);
    let mut state = 1_u32;
    for name in weight_names(config) {
        let n = session
            .param_size(&name)
            .context("a parameter without a size")?;
        let mut value = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 * 0.07 - 0.035
        };
        let values: Vec<f32> = if name.ends_with("norm.weight") {
            vec![1.0; n]
        } else {
            (0..n).map(|_| value()).collect()
        };
        session.set_parameter(&name, &values);
    }
    Ok(session)
}

fn greatest(logits: &[f32]) -> u32 {
    let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
    best.unwrap_or(0) as u32
}

/// The results of a prompt.
struct Prompt {
    /// Tokens per second.
    speed: f64,
    /// The next token.
    next: u32,
    /// Keys and values of each layer.
    cached: Vec<[Vec<f32>; 2]>,
}

/// Times a prompt, after a warm-up.
fn prompt(config: &SmolLM2Config, n: usize) -> Result<Prompt> {
    let mut graph = Graph::new();
    let (all, keys, values) = build_prefill_graph(&mut graph, config, n);
    // The model computes the logits of all tokens. Only the last ones are needed, so a head of ours
    // reads the last row, selected like an embedding, and graph rewriting removes the other head.
    let [rows, embedding] = graph.node(all).inputs[..] else {
        bail!("the head is not a product of two");
    };
    let last = graph.input_u32("last", &[1]);
    let last = graph.embedding(last, rows);
    let logits = graph.matmul_bt(last, embedding);
    let mut outputs = vec![logits];
    outputs.extend(keys.iter().zip(&values).flat_map(|(&k, &v)| [k, v]));
    graph.set_outputs(outputs);
    let mut session = session(&graph, config)?;
    let mut logits = vec![0.0; config.vocab_size];
    let mut pass = || {
        session.set_input_u32("token_ids", &tokens(n, config.vocab_size));
        session.set_input_u32("last", &[n as u32 - 1]);
        session.step();
        session.wait();
        session.read_output_by_index(0, &mut logits);
    };
    pass();
    let start = Instant::now();
    pass();
    let speed = n as f64 / start.elapsed().as_secs_f64();
    let read = |i: usize| {
        let mut rows = vec![0.0; n * config.kv_dim()];
        session.read_output_by_index(i, &mut rows);
        rows
    };
    let cached = (0..config.num_hidden_layers).map(|l| [read(1 + 2 * l), read(2 + 2 * l)]);
    Ok(Prompt {
        speed,
        next: greatest(&logits),
        cached: cached.collect(),
    })
}

fn infer(prefill: usize, decode: usize) -> Result<()> {
    ensure!(
        prefill > 0 && decode > 0,
        "PREFILL and DECODE have to be at least 1"
    );
    let config = SmolLM2Config::smollm2_135m();
    let prompt = prompt(&config, prefill)?;
    let context = prefill + decode;
    let mut graph = Graph::new();
    let (logits, _, _) = build_decode_graph(&mut graph, &config, context);
    graph.set_outputs(vec![logits]);
    let mut session = session(&graph, &config)?;
    for (layer, rows) in prompt.cached.into_iter().enumerate() {
        for (which, mut rows) in ["k", "v"].into_iter().zip(rows) {
            rows.resize(context * config.kv_dim(), 0.0);
            session.set_parameter(&format!("kv_cache.layer.{layer}.{which}"), &rows);
        }
    }
    let dispatches = session.plan().dispatches.len();
    let mut logits = vec![0.0; config.vocab_size];
    let mut step = |token: u32, position: usize| {
        session.set_input_u32("token_ids", &[token]);
        session.set_input_u32("kv_pos", &[position as u32]);
        session.step();
        session.wait();
        session.read_output_by_index(0, &mut logits);
        greatest(&logits)
    };
    // The warm-up repeats the prompt's last token, and checks that both sessions have the same
    // model.
    let last = tokens(prefill, config.vocab_size)[prefill - 1];
    let again = step(last, prefill - 1);
    ensure!(
        again == prompt.next,
        "after the same tokens, prefill predicts token {} and decoding token {again}",
        prompt.next
    );
    let mut token = prompt.next;
    let start = Instant::now();
    for position in prefill..context {
        token = step(token, position);
    }
    let decoded = decode as f64 / start.elapsed().as_secs_f64();
    ensure!(
        logits.iter().all(|x| x.is_finite()),
        "logits are not finite"
    );
    let prefilled = prompt.speed;
    println!("{{\"prefill\": {prefilled}, \"decode\": {decoded}, \"dispatches\": {dispatches}}}");
    Ok(())
}
