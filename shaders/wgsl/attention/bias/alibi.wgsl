// ALiBi (Press et al. 2022): scores fall with the distance of key and query, by the slope of the
// head. `alibi_slope` is in the header.

fn biased(scores: Scores, head: u32, keys: Scores, queries: Scores) -> Scores {
    return fma(Scores(alibi_slope(head)), keys - queries, scores);
}
