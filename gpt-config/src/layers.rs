//! Values that differ from layer to layer, such as the attention window.

use gpt_plan::Pattern;
use serde_json::Value;

use crate::fields::{self, Fields};

/// The sliding window of each layer. `slides` says whether a layer has a window if the file does
/// not list the kinds of its layers in `layer_types`. A window as long as the context hides no
/// token, so it counts as none.
pub fn windows(
    fields: &mut Fields<'_>,
    layers: u32,
    size: Option<u32>,
    context: u32,
    slides: impl Fn(u32) -> bool,
) -> Pattern<Option<u32>> {
    windows_of(&sliding(fields, layers, slides), size, context)
}

/// The sliding window of each layer. Only layers that are true in `sliding` have one.
pub fn windows_of(sliding: &[bool], size: Option<u32>, context: u32) -> Pattern<Option<u32>> {
    let window = size.filter(|size| *size < context);
    if window.is_none() {
        return Pattern::all(None);
    }
    pattern(sliding.iter().map(|sliding| window.filter(|_| *sliding)).collect())
}

/// Whether each layer has a sliding window: by `layer_types` if the file has this key, otherwise by
/// `slides`.
pub fn sliding(fields: &mut Fields<'_>, layers: u32, slides: impl Fn(u32) -> bool) -> Vec<bool> {
    layer_types(fields, layers).unwrap_or_else(|| (0..layers).map(slides).collect())
}

/// Whether each layer has a sliding window, by the key `layer_types` of newer files.
fn layer_types(fields: &mut Fields<'_>, layers: u32) -> Option<Vec<bool>> {
    let value = fields.value("layer_types")?;
    let kinds = value.as_array().and_then(|kinds| {
        kinds
            .iter()
            .map(|kind| match kind.as_str()? {
                "sliding_attention" => Some(true),
                "full_attention" => Some(false),
                _ => None,
            })
            .collect::<Option<Vec<bool>>>()
    });
    match kinds {
        Some(kinds) if kinds.len() == layers as usize => Some(kinds),
        Some(kinds) => {
            let (file, count) = (fields.file(), kinds.len());
            fields.fail(format!(
                "layer_types of {file} lists {count} layers, but the model has {layers}"
            ));
            None
        }
        None => {
            let file = fields.file();
            fields.fail(format!(
                "layer_types of {file} has values other than full_attention and sliding_attention"
            ));
            None
        }
    }
}

/// A flag for each layer, written as a list of 0 and 1 or of booleans.
pub fn flags(fields: &mut Fields<'_>, key: &'static str, layers: u32) -> Option<Vec<bool>> {
    let value = fields.value(key)?;
    let flags =
        value.as_array().and_then(|list| list.iter().map(flag).collect::<Option<Vec<bool>>>());
    let flags = flags.filter(|flags| flags.len() == layers as usize);
    if flags.is_none() {
        let (found, file) = (fields::text(value), fields.file());
        fields.fail(format!(
            "{key} is {found} in {file}; it has to be a list with 0 or 1 for each of {layers} layers"
        ));
    }
    flags
}

fn flag(value: &Value) -> Option<bool> {
    match value.as_u64() {
        Some(0) => Some(false),
        Some(1) => Some(true),
        _ => value.as_bool(),
    }
}

/// The shortest list whose repetition gives `values`, one for each layer.
pub fn pattern<T: Clone + PartialEq>(values: Vec<T>) -> Pattern<T> {
    let repeats = |n: &usize| values.iter().zip(&values[*n..]).all(|(a, b)| a == b);
    let period = (1..values.len()).find(repeats).unwrap_or(values.len());
    Pattern(values[..period].to_vec().into())
}
