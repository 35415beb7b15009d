// A logit is a product of the head.

fn logit(product: f32) -> f32 {
    return product;
}
