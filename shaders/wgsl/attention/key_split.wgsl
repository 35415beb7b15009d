// A part of the keys: what it gathers is put together with the others' by `join`, which is why its maximum and sum are kept.

// [part][head]: the columns, the maximum, the sum.
@group(0) @binding(2) var<storage, read_write> parts: array<f32>;

// The keys of part `part`, from the first to before the last, of `keys`.
fn reach(part: u32, keys: u32) -> vec2<u32> {
    return vec2<u32>(part * PART, min((part + 1u) * PART, keys));
}

// What a column gathered, the sum of its weights, and the greatest score, with which the weights are 1.
fn leave(part: u32, row: u32, head: u32, column: u32, gathered: f32, sum: f32, maximum: f32) {
    let at = (part * HEADS + head) * (HEAD_DIM + 2u);
    parts[at + column] = gathered;
    if column == 0u {
        parts[at + HEAD_DIM] = maximum;
        parts[at + HEAD_DIM + 1u] = sum;
    }
}
