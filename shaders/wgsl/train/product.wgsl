// A product of two matrices, 64 rows by 64 columns of it to a workgroup.
//
// Both operands come through workgroup memory, sixteen deep at a time, as quads of rows and quads of columns. An invocation keeps 64 sums:
// two quads of rows by two quads of columns, so that four quads that are read feed 64 multiply-adds. Where operands come from is the business of
// `stage`, which also turns them the right way round; what becomes of the sums is that of `finish`.

fn depth() -> u32 {
    return 768u;
}

fn height() -> u32 {
    return 64u;
}

fn stage(tile: vec2<u32>, k: u32, lane: u32) {
    left[lane] = vec4<f32>(f32(tile.x + k));
    right[lane] = vec4<f32>(f32(tile.y + k));
}

fn finish(row: u32, tile: u32, quad: u32, low: vec4<f32>, high: vec4<f32>) {}
// ---- end of parameters ----

// [depth][quad of rows], [depth][quad of columns].
var<workgroup> left: array<vec4<f32>, 256>;
var<workgroup> right: array<vec4<f32>, 256>;

// Four rows, by four columns each.
alias Block = mat4x4<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = lane / 8u;
    let column = lane % 8u;
    var a = Block();
    var b = Block();
    var c = Block();
    var d = Block();
    for (var k = 0u; k < depth(); k += 16u) {
        stage(group.xy, k, lane);
        workgroupBarrier();
        for (var i = 0u; i < 256u; i += 16u) {
            let upper = left[i + row];
            let lower = left[i + 8u + row];
            let low = right[i + column];
            let high = right[i + 8u + column];
            a = outer(upper, low, a);
            b = outer(upper, high, b);
            c = outer(lower, low, c);
            d = outer(lower, high, d);
        }
        workgroupBarrier();
    }
    finish_rows(group.y * 64u + 4u * row, group.x, column, a, b);
    finish_rows(group.y * 64u + 32u + 4u * row, group.x, column, c, d);
}

fn outer(rows: vec4<f32>, columns: vec4<f32>, sums: Block) -> Block {
    return Block(
        fma(vec4<f32>(rows.x), columns, sums[0]),
        fma(vec4<f32>(rows.y), columns, sums[1]),
        fma(vec4<f32>(rows.z), columns, sums[2]),
        fma(vec4<f32>(rows.w), columns, sums[3]),
    );
}

fn finish_rows(first: u32, tile: u32, quad: u32, low: Block, high: Block) {
    var lows = low;
    var highs = high;
    for (var i = 0u; i < 4u; i++) {
        if first + i < height() {
            finish(first + i, tile, quad, lows[i], highs[i]);
        }
    }
}

// Puts four rows, four deep each, where the product finds them: turned.
fn put_left(depth: u32, quad: u32, rows: Block) {
    let turned = transpose(rows);
    left[depth * 16u + quad] = turned[0];
    left[depth * 16u + 16u + quad] = turned[1];
    left[depth * 16u + 32u + quad] = turned[2];
    left[depth * 16u + 48u + quad] = turned[3];
}
