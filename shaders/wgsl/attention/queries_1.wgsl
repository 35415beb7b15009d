// One query: decoding.

alias Queries = f32;
alias Limits = u32;

const QUERIES: u32 = 1u;

fn limits(row: u32) -> Limits {
    return seen(row);
}

fn queries(row: u32, head: u32, column: u32) -> Queries {
    return query(row, head, column);
}

fn element(queries: Queries, i: u32) -> f32 {
    return queries;
}
