// Every token is of the type of the table's first row.

@group(1) @binding(7) var<storage, read> token_types: array<f32>;

fn type_embedding(column: u32) -> f32 {
    return token_types[column];
}
