// A score is the scaled product of a query and a key.

fn score_of(products: Scores) -> Scores {
    return products;
}

// The derivative of a score with respect to the product, as a function of the score.
fn score_slope(scores: Scores) -> Scores {
    return Scores(1.0);
}
