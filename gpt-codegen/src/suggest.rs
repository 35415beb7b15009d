//! Suggestions for misspelled names.

/// The candidate closest to the misspelled `name`; none if all are too different.
pub fn closest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let distance = |candidate: &str| strsim::damerau_levenshtein(&name, &candidate.to_lowercase());
    let (best, distance) =
        candidates.into_iter().map(|c| (c, distance(c))).min_by_key(|(_, d)| *d)?;
    // A third of the letters may be wrong.
    (distance <= 1.max(best.len() / 3)).then_some(best)
}

/// Formats names as "`a`, `b` or `c`".
pub fn one_of<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|n| format!("`{n}`")).collect();
    match &names[..] {
        [] => "none".to_owned(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}
