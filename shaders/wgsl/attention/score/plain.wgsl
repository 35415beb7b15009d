// A score is the scaled product of a query and a key.

fn score_of(products: Queries) -> Queries {
    return products;
}

// The derivative of a score with respect to the product, as a function of the score.
fn score_slope(scores: Queries) -> Queries {
    return Queries(1.0);
}
