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

// What an invocation makes: upper and lower rows by left and right columns.
struct Sums {
    a: Block,
    b: Block,
    c: Block,
    d: Block,
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = lane / 8u;
    let column = lane % 8u;
    var sums = Sums();
    for (var k = 0u; k < depth(); k += 16u) {
        stage(group.xy, k, lane);
        workgroupBarrier();
        sums = deeper(0u, row, column, sums);
        sums = deeper(4u, row, column, sums);
        sums = deeper(8u, row, column, sums);
        sums = deeper(12u, row, column, sums);
        workgroupBarrier();
    }
    finish_rows(group.y * 64u + 4u * row, group.x, column, sums.a, sums.b);
    finish_rows(group.y * 64u + 32u + 4u * row, group.x, column, sums.c, sums.d);
}

// Four steps of the depth. They are written out: a software adapter gives up on a shader that goes through more than 65,535 turns of loops, and a
// vocabulary is deep.
fn deeper(depth: u32, row: u32, column: u32, sums: Sums) -> Sums {
    let a = deep(depth, row, column, sums);
    let b = deep(depth + 1u, row, column, a);
    let c = deep(depth + 2u, row, column, b);
    return deep(depth + 3u, row, column, c);
}

fn deep(depth: u32, row: u32, column: u32, sums: Sums) -> Sums {
    let upper = left[depth * 16u + row];
    let lower = left[depth * 16u + 8u + row];
    let low = right[depth * 16u + column];
    let high = right[depth * 16u + 8u + column];
    return Sums(
        outer(upper, low, sums.a),
        outer(upper, high, sums.b),
        outer(lower, low, sums.c),
        outer(lower, high, sums.d),
    );
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
