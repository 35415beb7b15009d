// Four queries of neighbouring rows, so that each key and value is read once for four queries.

alias Queries = vec4<f32>;
alias KeyLimits = vec4<u32>;

const QUERIES: u32 = 4u;

fn key_starts(row: u32) -> KeyLimits {
    return KeyLimits(first_key(pass_uniform.position + row), first_key(pass_uniform.position + row + 1u), first_key(pass_uniform.position + row + 2u), first_key(pass_uniform.position + row + 3u));
}

fn key_limits(row: u32) -> KeyLimits {
    return KeyLimits(visible_keys(pass_uniform.position + row), visible_keys(pass_uniform.position + row + 1u), visible_keys(pass_uniform.position + row + 2u), visible_keys(pass_uniform.position + row + 3u));
}

fn query_positions(row: u32) -> Queries {
    return f32(pass_uniform.position + row) + vec4<f32>(0.0, 1.0, 2.0, 3.0);
}

fn queries(row: u32, head: u32, column: u32) -> Queries {
    return Queries(
        query(row, head, column),
        query(row + 1u, head, column),
        query(row + 2u, head, column),
        query(row + 3u, head, column),
    );
}

fn query_element(queries: Queries, i: u32) -> f32 {
    return queries[i];
}
