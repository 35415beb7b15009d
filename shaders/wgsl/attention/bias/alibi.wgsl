// ALiBi (Press et al. 2022): adds to a score the slope of the head times the difference between the
// position of the key and that of the query. `alibi_slope` is in the header.

fn biased(scores: Scores, head: u32, keys: Scores, queries: Scores) -> Scores {
    return fma(Scores(alibi_slope(head)), keys - queries, scores);
}
