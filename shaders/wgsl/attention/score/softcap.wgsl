// A score is SOFTCAP tanh(product / SOFTCAP), which is between -SOFTCAP and SOFTCAP.

fn score_of(products: Scores) -> Scores {
    return SOFTCAP * tanh(clamp(products / SOFTCAP, Scores(-10.0), Scores(10.0)));
}

// The derivative of a score with respect to the product, as a function of the score. The derivative
// of tanh is 1 - tanh^2.
fn score_slope(scores: Scores) -> Scores {
    let share = scores / SOFTCAP;
    return fma(-share, share, Scores(1.0));
}
