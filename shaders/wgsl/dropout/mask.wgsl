// Dropout: an element is left out if a hash of its number is below a threshold, and the others are multiplied by what that costs on average. The hash is
// Wellons' "lowbias32"; the CPU engine has the same.

fn factor(index: u32) -> f32 {
    let key = hash(run.key ^ hash(step.site + 0x9E3779B9u));
    return select(run.keep, 0.0, hash(key ^ hash(index)) < run.threshold);
}

fn hash(value: u32) -> u32 {
    var x = value;
    x = (x ^ (x >> 16u)) * 0x7FEB352Du;
    x = (x ^ (x >> 15u)) * 0x846CA68Bu;
    return x ^ (x >> 16u);
}
