// An invocation owns two neighbouring rows of the gate, and the same two of the other half, so that
// the epilogue has both.

// A row beyond the last is clamped to it; its products are discarded.
fn operand_starts(owner: u32) -> vec4<u32> {
    let rows = min(owner * 2u + vec2<u32>(0u, 1u), vec2<u32>(step_uniform.rows - 1u));
    let second = step_uniform.binding_row + rows;
    return vec4<u32>(weight_start(rows.x), weight_start(rows.y), weight_start(second.x), weight_start(second.y));
}

// A quad of the weights of the invocation's feature `j`.
fn feature_weight(own: vec4<u32>, j: u32, quad: u32) -> vec4<f32> {
    if j < 2u {
        return weight(own[j], quad);
    }
    return second_weight(own[j], quad);
}
