//! The tokens that end a text or a turn.

/// Names that only tokens at the end of a text, a turn or a message have, in all families. Some
/// files mark them as control tokens, some as plain text.
const ENDS: [&str; 18] = [
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|eot|>",
    "<|eom|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|end_of_turn|>",
    "<end_of_turn>",
    "<turn|>",
    "<end_of_utterance>",
    "<|END_OF_TURN_TOKEN|>",
    "[|endofturn|]",
    "<EOT>",
    "<｜end▁of▁sentence｜>",
];

/// Names that end a text if the token is a control token. In other vocabularies they are HTML tags.
const ENDS_OF_TEXT: [&str; 2] = ["</s>", "<eos>"];

/// The names of both tokens that end a turn in OpenAI's Harmony format. There `<|end|>` ends a
/// message, after which the model continues.
const HARMONY: [&str; 2] = ["<|return|>", "<|call|>"];

/// Whether tokens with this name are known to end a text, a turn or a message.
pub fn is_known(name: &str) -> bool {
    ENDS.contains(&name) || ENDS_OF_TEXT.contains(&name)
}

/// Marks as control tokens those tokens that end a text or a turn but are plain text in the file,
/// so that they are found in the text of a chat template.
pub fn mark(inner: &mut tokenizers::Tokenizer) -> Result<(), tokenizers::Error> {
    let added = inner.get_added_vocabulary();
    let plain =
        |name: &&&str| inner.token_to_id(name).is_some() && !added.get_vocab().contains_key(**name);
    let tokens: Vec<tokenizers::AddedToken> =
        ENDS.iter().filter(plain).map(|name| tokenizers::AddedToken::from(*name, true)).collect();
    inner.add_special_tokens(tokens).map(drop)
}

/// The tokens that end a text or a turn: `given` by a file, or known by name.
pub fn find(inner: &tokenizers::Tokenizer, given: &[u32]) -> Vec<u32> {
    let special = inner.get_added_vocabulary();
    let is_harmony = HARMONY.iter().all(|name| inner.token_to_id(name).is_some());
    let named = ENDS.iter().filter(|name| !(is_harmony && **name == "<|end|>"));
    let control = ENDS_OF_TEXT.iter().filter(|name| special.is_special_token(name));
    let named = named.chain(control).filter_map(|name| inner.token_to_id(name));
    let mut ids: Vec<u32> = given.iter().copied().chain(named).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}
