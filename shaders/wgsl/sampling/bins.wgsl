// Tokens are sorted into bins by their distance below the greatest logit: the leading bits of the
// distance as an f32. A bin between the first and the last spans at most a sixteenth of its
// distance, so its weights are similar, and can be summed as integers, whose sum is the same in any
// order.

// The bin of a distance with these bits.
fn bin_of(distance: u32) -> u32 {
    return clamp(distance >> BIN_BITS, FIRST_BIN, FIRST_BIN + BINS - 1u) - FIRST_BIN;
}

// The bits of the smallest distance in a bin.
fn bin_begin(bin: u32) -> u32 {
    return select((FIRST_BIN + bin) << BIN_BITS, 0u, bin == 0u);
}

// The weight of a distance, relative to the greatest logit.
fn weight(distance: f32) -> f32 {
    return exp(max(-distance * sampling.inverse_temperature, -87.0));
}

// The weight at the beginning of a bin.
fn bin_weight(bin: u32) -> f32 {
    return weight(bitcast<f32>(bin_begin(bin)));
}

// The weight of a token of `bin`, in whole units. The weight at the beginning of the bin is UNIT
// units.
fn weight_units(distance: u32, bin: u32) -> u32 {
    if distance >= INFINITE {
        return 0u;
    }
    return u32(weight(bitcast<f32>(distance) - bitcast<f32>(bin_begin(bin))) * UNIT + 0.5);
}
