//! Files that GGUF can describe and llama.cpp refuses.
//!
//! The loader of an architecture names each tensor that it takes. It refuses a file that lacks one
//! of them or has another one. Weights of layers are not checked here, because `write` offers only
//! architectures that have them. Biases and the head depend on the spec, and so do the sizes that a
//! loader takes for granted. The table follows the loaders of llama-cpp-python 0.3.36 (`src/models`
//! of llama.cpp).

use gpt_plan::Spec;

use super::Tensors;

/// The tensors that a loader of llama.cpp takes. Blanks separate names. Names of a layer's tensors
/// are written without `blk.` and the number of the layer.
struct Loader {
    architecture: &'static str,
    /// The loader refuses a file without these.
    needs: &'static str,
    /// A file may also have these, but no other name of [`OPTIONAL`].
    takes: &'static str,
    /// Whether the loader expects all heads together to be as wide as the model.
    square: bool,
    /// Whether the loader expects all dimensions of a head to rotate.
    whole: bool,
}

/// Tensors that a model of any architecture may have.
const OPTIONAL: &str = "output.weight output.bias output_norm.bias attn_norm.bias \
    attn_norm_2.bias ffn_norm.bias attn_qkv.bias attn_q.bias attn_k.bias attn_v.bias \
    attn_output.bias ffn_gate.bias ffn_up.bias ffn_down.bias rope_freqs.weight";

/// The names of [`OPTIONAL`] that are not in a layer.
const OUTSIDE: [&str; 4] =
    ["output.weight", "output.bias", "output_norm.bias", "rope_freqs.weight"];

/// Llama's loader. Loaders accept biases of queries, keys and values where these are separate
/// tensors.
const LLAMA: Loader = Loader {
    architecture: "llama",
    needs: "",
    takes: "output.weight attn_q.bias attn_k.bias attn_v.bias attn_output.bias ffn_gate.bias \
        ffn_up.bias ffn_down.bias rope_freqs.weight",
    square: false,
    whole: true,
};

const PLAIN: &str = "output.weight attn_q.bias attn_k.bias attn_v.bias";

/// GPT-2's loader.
const GPT2: Loader = Loader {
    architecture: "gpt2",
    needs: "output_norm.bias attn_norm.bias attn_qkv.bias attn_output.bias ffn_norm.bias \
        ffn_up.bias ffn_down.bias",
    takes: "output.weight",
    square: true,
    whole: false,
};

const LOADERS: [Loader; 22] = [
    GPT2,
    LLAMA,
    Loader {
        architecture: "qwen2",
        takes: "output.weight output.bias attn_q.bias attn_k.bias attn_v.bias",
        square: true,
        ..LLAMA
    },
    Loader { architecture: "qwen3", takes: PLAIN, ..LLAMA },
    Loader {
        architecture: "gemma",
        takes: "attn_q.bias attn_k.bias attn_v.bias",
        whole: false,
        ..LLAMA
    },
    Loader {
        architecture: "gemma2",
        takes: "attn_q.bias attn_k.bias attn_v.bias",
        whole: false,
        ..LLAMA
    },
    Loader { architecture: "gemma3", takes: PLAIN, whole: false, ..LLAMA },
    Loader {
        architecture: "phi2",
        needs: "output.weight output.bias output_norm.bias attn_norm.bias attn_output.bias \
            ffn_up.bias ffn_down.bias",
        takes: "attn_qkv.bias attn_q.bias attn_k.bias attn_v.bias",
        ..GPT2
    },
    Loader {
        architecture: "phi3",
        needs: "",
        takes: "output.weight attn_qkv.bias attn_q.bias attn_k.bias attn_v.bias",
        ..GPT2
    },
    Loader {
        architecture: "command-r",
        needs: "",
        takes: "attn_q.bias attn_k.bias attn_v.bias",
        ..GPT2
    },
    Loader { architecture: "granite", ..LLAMA },
    Loader { architecture: "smollm3", takes: PLAIN, ..LLAMA },
    Loader { architecture: "olmo", takes: PLAIN, square: true, ..LLAMA },
    Loader {
        architecture: "olmo2",
        needs: "output.weight",
        takes: "attn_q.bias attn_k.bias attn_v.bias",
        square: true,
        whole: true,
    },
    Loader {
        architecture: "stablelm",
        needs: "output.weight output_norm.bias attn_norm.bias",
        takes: "attn_q.bias attn_k.bias attn_v.bias ffn_norm.bias",
        ..GPT2
    },
    Loader {
        architecture: "starcoder2",
        needs: "output_norm.bias attn_norm.bias attn_output.bias ffn_norm.bias ffn_up.bias \
            ffn_down.bias",
        takes: PLAIN,
        square: true,
        whole: true,
    },
    Loader { architecture: "starcoder", ..GPT2 },
    Loader {
        architecture: "nemotron",
        needs: "output.weight output_norm.bias attn_norm.bias ffn_norm.bias",
        takes: "attn_q.bias attn_k.bias attn_v.bias attn_output.bias ffn_up.bias ffn_down.bias",
        ..GPT2
    },
    Loader {
        architecture: "gptneox",
        needs: "output.weight output_norm.bias attn_norm.bias attn_qkv.bias attn_output.bias \
            ffn_norm.bias ffn_up.bias ffn_down.bias",
        takes: "",
        ..GPT2
    },
    Loader {
        architecture: "falcon",
        needs: "output_norm.bias attn_norm.bias",
        takes: "output.weight attn_norm_2.bias",
        square: true,
        whole: true,
    },
    Loader { architecture: "bloom", ..GPT2 },
    Loader {
        architecture: "mpt",
        needs: "",
        takes: "output.weight output_norm.bias attn_norm.bias attn_qkv.bias attn_output.bias \
            ffn_norm.bias ffn_up.bias ffn_down.bias",
        ..GPT2
    },
];

/// llama.cpp expects norms of queries and keys in Cohere's models with at least this many layers,
/// and in no others.
const LAYERS_OF_COMMAND_R_PLUS: u32 = 64;

/// A sentence that says why llama.cpp refuses the file of `spec`, which has `tensors` and the
/// biases `zeros`; `None` if llama.cpp does not refuse it.
pub fn refusal(
    architecture: &str,
    spec: &Spec,
    tensors: &dyn Tensors,
    zeros: &[&str],
) -> Option<String> {
    let loader = LOADERS.iter().find(|loader| loader.architecture == architecture)?;
    let listed = |list: &str, name: &str| list.split_whitespace().any(|listed| listed == name);
    let (mut lacks, mut extra) = (Vec::new(), Vec::new());
    for name in OPTIONAL.split_whitespace() {
        let layer = if OUTSIDE.contains(&name) { "" } else { "blk.0." };
        let zero = zeros.iter().any(|zero| zero.replace("blk.{layer}.", "") == name);
        match zero || tensors.has(&format!("{layer}{name}")) {
            false if listed(loader.needs, name) => lacks.push(name),
            true if !listed(loader.needs, name) && !listed(loader.takes, name) => extra.push(name),
            _ => {}
        }
    }
    let mut reasons = Vec::new();
    if !lacks.is_empty() {
        reasons.push(format!("needs {}", lacks.join(", ")));
    }
    if !extra.is_empty() {
        reasons.push(format!("takes no {}", extra.join(", ")));
    }
    if architecture == "command-r"
        && spec.qk_norm.is_some() != (spec.layers >= LAYERS_OF_COMMAND_R_PLUS)
    {
        reasons.push(format!(
            "expects norms of queries and keys in models of {LAYERS_OF_COMMAND_R_PLUS} or more layers, and in no others"
        ));
    }
    if loader.square && spec.heads * spec.head_dim != spec.embed {
        reasons.push(format!(
            "expects all heads together to be as wide as the model: {}, not {}",
            spec.embed,
            spec.heads * spec.head_dim
        ));
    }
    if let Some(rope) = spec.rope().filter(|rope| loader.whole && rope.dims != spec.head_dim) {
        reasons
            .push(format!("rotates all {} dimensions of a head, not {}", spec.head_dim, rope.dims));
    }
    let reasons = reasons.join("; it ");
    (!reasons.is_empty())
        .then(|| format!("llama.cpp will refuse the file: its loader of {architecture} {reasons}"))
}

#[cfg(test)]
mod tests {
    use super::super::architectures;
    use super::*;

    #[test]
    fn each_architecture_has_a_loader() {
        let loaders = LOADERS.map(|loader| loader.architecture);
        assert_eq!(architectures().collect::<Vec<_>>(), loaders);
        for loader in LOADERS {
            for name in [loader.needs, loader.takes].join(" ").split_whitespace() {
                assert!(OPTIONAL.split_whitespace().any(|known| known == name), "{name}");
            }
        }
        assert!(OUTSIDE.iter().all(|name| OPTIONAL.contains(name)));
    }
}
