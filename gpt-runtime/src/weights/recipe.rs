//! The format of each matrix of a written file.
//!
//! llama.cpp's mixtures keep some matrices more precise than the rest: the head, and in some layers
//! the projection to values and the last one of an MLP, to which the error of the whole model is
//! most sensitive. The rules follow `llama_tensor_get_type` in llama.cpp's `llama-quant.cpp`, for
//! models without experts.

use gpt_plan::{Format, Plan, TensorKind};

use super::slice::TensorSlice;

/// The formats in which a file stores its matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipe {
    /// One format for all.
    All(Format),
    /// llama.cpp's `Q4_K_M`: Q4_K and Q6_K, and Q5_K where queries, keys and values are one matrix.
    Q4KM,
    /// llama.cpp's `Q5_K_M`: Q5_K and Q6_K.
    Q5KM,
}

impl From<Format> for Recipe {
    fn from(format: Format) -> Recipe {
        Recipe::All(format)
    }
}

impl Recipe {
    /// The names of all recipes.
    pub fn names() -> Vec<&'static str> {
        let mixtures = [Recipe::Q4KM, Recipe::Q5KM].map(Recipe::name);
        Format::ALL.map(Format::name).into_iter().chain(mixtures).collect()
    }

    /// The name used on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Recipe::All(format) => format.name(),
            Recipe::Q4KM => "q4_k_m",
            Recipe::Q5KM => "q5_k_m",
        }
    }

    /// The recipe called `name`.
    pub fn find(name: &str) -> Option<Recipe> {
        let all = Format::ALL.into_iter().map(Recipe::All).chain([Recipe::Q4KM, Recipe::Q5KM]);
        all.into_iter().find(|recipe| recipe.name() == name)
    }

    /// GGUF's number for the format that most matrices of a file have (`general.file_type`).
    pub(super) fn file_type(self) -> u64 {
        match self {
            Recipe::All(Format::F32) => 0,
            Recipe::All(Format::F16) => 1,
            Recipe::All(Format::Q4) => 3,
            Recipe::All(Format::Q8) => 7,
            Recipe::All(Format::Q5) => 9,
            Recipe::All(Format::Q4K) => 14,
            Recipe::Q4KM => 15,
            Recipe::All(Format::Q5K) => 16,
            Recipe::Q5KM => 17,
            Recipe::All(Format::Q6K) => 18,
            Recipe::All(Format::Bf16) => 32,
        }
    }

    /// The format of a tensor of a GGUF file.
    pub(super) fn format(self, plan: &Plan, slice: &TensorSlice<'_>) -> Format {
        if slice.tensor.kind != TensorKind::Matrix {
            return Format::F32;
        }
        let [most, fused] = match self {
            Recipe::All(format) => return format,
            Recipe::Q4KM => [Format::Q4K, Format::Q5K],
            Recipe::Q5KM => [Format::Q5K, Format::Q6K],
        };
        let name = slice.source.name_in(&slice.source.gguf, slice.layer);
        let is = |suffix: &str| name.ends_with(suffix);
        let head = if plan.spec.tie_embeddings { "token_embd.weight" } else { "output.weight" };
        let sensitive = is("attn_v.weight") || is("ffn_down.weight");
        let format = if is("attn_qkv.weight") {
            fused
        } else if name == head || (sensitive && has_more_bits(slice.layer, plan.spec.layers)) {
            Format::Q6K
        } else {
            most
        };
        fitting(format, slice.tensor.columns as usize)
    }
}

/// Whether a sensitive matrix of `layer` gets more bits: in the first and last eighth of all
/// layers, and in every third layer between them.
fn has_more_bits(layer: u32, layers: u32) -> bool {
    let eighth = layers / 8;
    layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2
}

/// `format`, or the next more precise one whose blocks fill rows of `columns`.
fn fitting(format: Format, columns: usize) -> Format {
    let fits = |format: &Format| columns.is_multiple_of(format.block());
    let smaller = match format {
        Format::Q6K => Format::Q8,
        Format::Q4K | Format::Q5K => Format::Q5,
        other => other,
    };
    [format, smaller].into_iter().find(fits).unwrap_or(Format::F16)
}

#[cfg(test)]
mod tests {
    use gpt_plan::Spec;

    use super::*;
    use crate::weights::slice::slices;
    use crate::weights::testing;

    fn formats(recipe: Recipe, plan: &Plan) -> Vec<(String, Format)> {
        let format = |slice: TensorSlice<'_>| {
            let name = slice.source.name_in(&slice.source.gguf, slice.layer);
            (name, recipe.format(plan, &slice))
        };
        slices(plan).map(format).filter(|(_, format)| *format != Format::F32).collect()
    }

    /// Matrices of a mixture with more than the usual bits, as `llama-quantize` chooses them.
    #[test]
    fn mixtures_are_those_of_llama_cpp() {
        let mut spec = Spec { layers: 16, embed: 256, head_dim: 64, ..testing::llama_spec() };
        spec.mlp.hidden = 512;
        for (recipe, most) in [(Recipe::Q4KM, Format::Q4K), (Recipe::Q5KM, Format::Q5K)] {
            let mut expected = vec!["token_embd.weight".to_owned()];
            for layer in [0, 1, 4, 7, 10, 13, 14, 15] {
                expected.push(format!("blk.{layer}.attn_v.weight"));
                expected.push(format!("blk.{layer}.ffn_down.weight"));
            }
            let all = formats(recipe, testing::plan(&spec));
            let (more, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|f| f.1 != most);
            assert!(more.iter().all(|(_, format)| *format == Format::Q6K));
            assert!(!rest.is_empty());
            let mut more: Vec<String> = more.into_iter().map(|(name, _)| name).collect();
            more.sort();
            expected.sort();
            assert_eq!(more, expected);
        }
        let untied = testing::plan(&Spec { tie_embeddings: false, ..spec });
        let all = formats(Recipe::Q4KM, untied);
        assert!(all.contains(&("token_embd.weight".to_owned(), Format::Q4K)));
        assert!(all.contains(&("output.weight".to_owned(), Format::Q6K)));
    }

    /// Rows that are not whole blocks have a format that stores them.
    #[test]
    fn narrow_rows_have_smaller_blocks() {
        for (_, format) in formats(Recipe::Q4KM, testing::llama()) {
            assert!([Format::Q5, Format::Q8].contains(&format), "{format:?}");
        }
        assert_eq!(fitting(Format::Q4K, 48), Format::F16);
    }

    #[test]
    fn names_are_found() {
        for name in Recipe::names() {
            assert_eq!(Recipe::find(name).unwrap().name(), name);
        }
        assert_eq!(Recipe::find("q4_k_l"), None);
    }
}
