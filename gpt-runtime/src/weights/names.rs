//! Shortens lists of tensor names for error messages.

/// Joins names that differ only in their layer: `h.0.ln_1.bias`, `h.1.ln_1.bias` and
/// `h.5.ln_1.bias` become `h.{0-1,5}.ln_1.bias`.
pub fn gather(names: &[String]) -> Vec<String> {
    let mut groups: Vec<(&str, &str, Vec<u64>)> = Vec::new();
    for name in names {
        let (before, layer, after) = split(name);
        let known = groups.iter_mut().find(|g| (g.0, g.1) == (before, after));
        match (known, layer) {
            (Some((_, _, layers)), Some(layer)) => layers.push(layer),
            _ => groups.push((before, after, layer.into_iter().collect())),
        }
    }
    groups
        .into_iter()
        .map(|(before, after, layers)| match layers.as_slice() {
            [] => before.to_owned(),
            [layer] => format!("{before}{layer}{after}"),
            layers => format!("{before}{{{}}}{after}", ranges(layers)),
        })
        .collect()
}

/// Splits a name around its first numeric component. Without one, the whole name is the prefix.
fn split(name: &str) -> (&str, Option<u64>, &str) {
    let mut start = 0;
    for part in name.split('.') {
        if let Ok(layer) = part.parse() {
            return (&name[..start], Some(layer), &name[start + part.len()..]);
        }
        start += part.len() + 1;
    }
    (name, None, "")
}

fn ranges(layers: &[u64]) -> String {
    let mut layers = layers.to_vec();
    layers.sort_unstable();
    layers.dedup();
    let runs = layers.chunk_by(|a, b| a + 1 == *b);
    let texts: Vec<String> = runs
        .map(|run| match run {
            [one] => one.to_string(),
            run => format!("{}-{}", run[0], run[run.len() - 1]),
        })
        .collect();
    texts.join(",")
}

#[cfg(test)]
mod tests {
    use super::gather;

    #[test]
    fn layers_are_joined() {
        let names = [
            "wte.weight",
            "h.0.a",
            "h.0.b",
            "h.1.a",
            "h.1.b",
            "h.2.a",
            "h.5.a",
            "x.1.y: [2, 3]",
            "wpe",
        ];
        let names = names.map(str::to_owned);
        let expected = ["wte.weight", "h.{0-2,5}.a", "h.{0-1}.b", "x.1.y: [2, 3]", "wpe"];
        assert_eq!(gather(&names), expected);
        assert!(gather(&[]).is_empty());
    }
}
