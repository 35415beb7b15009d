//! The values of `names`.

use gpt_plan::TensorNames;

use super::{Variant, variant};

/// A variant for each class.
macro_rules! variants {
    ($($name:ident: $doc:literal,)*) => {
        [$(variant(
            stringify!($name),
            $doc,
            |spec| spec.names = TensorNames::$name,
            |spec| spec.names == TensorNames::$name,
            &[],
        )),*]
    };
}

pub static VARIANTS: [Variant; 15] = variants! {
    Closest: "GPT-2, GPT-1, StarCoder 2 or Llama, whichever is closest",
    Phi: "Phi, Phi-2",
    Phi3: "Phi-3, Phi-4",
    GptNeoX: "GPT-NeoX, Pythia",
    GptJ: "GPT-J",
    GptNeo: "GPT-Neo",
    GptBigCode: "StarCoder, SantaCoder",
    Falcon: "Falcon",
    Bloom: "BLOOM",
    Mpt: "MPT",
    Opt: "OPT",
    Bert: "BERT, and most encoders for search",
    Roberta: "RoBERTa",
    DistilBert: "DistilBERT",
    ModernBert: "ModernBERT",
};
