// Four queries of neighbouring rows, so that each key and value that is read serves four.

alias Queries = vec4<f32>;
alias Limits = vec4<u32>;

const QUERIES: u32 = 4u;

fn limits(row: u32) -> Limits {
    return Limits(seen(row), seen(row + 1u), seen(row + 2u), seen(row + 3u));
}

fn queries(row: u32, head: u32, column: u32) -> Queries {
    return Queries(
        query(row, head, column),
        query(row + 1u, head, column),
        query(row + 2u, head, column),
        query(row + 3u, head, column),
    );
}

fn element(queries: Queries, i: u32) -> f32 {
    return queries[i];
}
