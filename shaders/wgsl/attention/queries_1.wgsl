// One query: decoding.

alias Queries = f32;
alias KeyLimits = u32;

const QUERIES: u32 = 1u;

fn key_starts(row: u32) -> KeyLimits {
    return first_key(pass_uniform.position + row);
}

fn key_limits(row: u32) -> KeyLimits {
    return visible_keys(pass_uniform.position + row);
}

fn query_positions(row: u32) -> Queries {
    return f32(pass_uniform.position + row);
}

fn queries(row: u32, head: u32, column: u32) -> Queries {
    return query(row, head, column);
}

fn query_element(queries: Queries, i: u32) -> f32 {
    return queries;
}
