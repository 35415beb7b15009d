// A score does not depend on the distance of key and query.

fn biased(scores: Scores, head: u32, keys: Scores, queries: Scores) -> Scores {
    return scores;
}
