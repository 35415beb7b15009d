// Dropout: an element is dropped if a hash of its index is below a threshold; the others are scaled
// by 1 / (1 - p). The hash is Wellons' "lowbias32", as in the CPU engine.

fn dropout_scale(index: u32) -> f32 {
    let key = hash(pass_uniform.key ^ hash(step_uniform.site + 0x9E3779B9u));
    return select(pass_uniform.keep, 0.0, hash(key ^ hash(index)) < pass_uniform.threshold);
}

fn hash(value: u32) -> u32 {
    var x = value;
    x = (x ^ (x >> 16u)) * 0x7FEB352Du;
    x = (x ^ (x >> 15u)) * 0x846CA68Bu;
    return x ^ (x >> 16u);
}
