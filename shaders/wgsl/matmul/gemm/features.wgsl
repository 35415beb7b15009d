// An invocation owns four neighbouring rows of the matrix.

// A row beyond the last is clamped to it; its products are discarded.
fn operand_starts(owner: u32) -> vec4<u32> {
    let rows = min(owner * 4u + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(step_uniform.rows - 1u));
    return vec4<u32>(weight_start(rows.x), weight_start(rows.y), weight_start(rows.z), weight_start(rows.w));
}

// A quad of the weights of the invocation's feature `j`.
fn feature_weight(own: vec4<u32>, j: u32, quad: u32) -> vec4<f32> {
    return weight(own[j], quad);
}
