// Normalises queries and keys, and rotates them. A workgroup computes a group of elements of a row:
// queries or keys that are normalised together, or as many values as a group of keys has elements.
//
// A row has Q_GROUPS groups of queries, K_GROUPS of keys, and K_GROUPS of values.

// The row and the first element of the group in it.
var<private> row: u32;
var<private> start: u32;

fn stream(group: u32, column: u32) -> f32 {
    return raw(row, start + column);
}

fn work(group: vec3<u32>, invocation: u32) {
    row = group.y;
    if row >= pass_uniform.rows {
        return;
    }
    let is_query = group.x < Q_GROUPS;
    let width = select(K_GROUP, Q_GROUP, is_query);
    start = select(Q_WIDTH + (group.x - Q_GROUPS) * K_GROUP, group.x * Q_GROUP, is_query);
    if group.x >= Q_GROUPS + K_GROUPS {
        for (var i = invocation; i < width; i += WORKGROUP_SIZE) {
            store_value(row, start + i - Q_WIDTH - KV_WIDTH, raw(row, start + i));
        }
        return;
    }
    let own = statistics(group.x, width, invocation);
    save_statistics(group.x, invocation, own);
    for (var i = 2u * invocation; i < width; i += 2u * WORKGROUP_SIZE) {
        let first = start + i;
        var pair = vec2<f32>(normal(first, own), 0.0);
        let is_whole = i + 1u < width;
        if is_whole {
            pair.y = normal(first + 1u, own);
        }
        pair = rotate_pair(position_of(row), first % HEAD_DIM, pair, 1.0);
        store_head(row, first, pair.x);
        if is_whole {
            store_head(row, first + 1u, pair.y);
        }
    }
}

fn normal(column: u32, own: vec2<f32>) -> f32 {
    let at = parameter(column);
    return normalized(raw(row, column), own, vec2<f32>(gamma(at), beta(at)));
}
