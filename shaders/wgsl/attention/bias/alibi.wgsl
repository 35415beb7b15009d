// ALiBi (Press et al. 2022): a score gets the slope of the head times the position of the key minus
// that of the query. `alibi_slope` is in the header.

fn biased(scores: Scores, head: u32, keys: Scores, queries: Scores) -> Scores {
    return fma(Scores(alibi_slope(head)), keys - queries, scores);
}
