// Multiplies the rows of a prompt by quantised weights, four bytes per instruction. An invocation
// quantises a block of a row to bytes as it stages it. The products of a block are summed as
// integers, for eight rows at a time to save registers. The sums are then multiplied by the scales
// of both blocks, of the weights and of the inputs.

// Words of a block.
const WORDS: u32 = 8u;

// [block][word][row].
var<workgroup> words: array<u32, STAGED_BLOCKS * WORDS * 16u>;
// [block][row]: the scale of the block, and the sum of its bytes.
var<workgroup> input_scales: array<vec2<f32>, STAGED_BLOCKS * 16u>;
// The sums of each invocation, from which `output_sum` reads.
var<workgroup> tile: array<Rows, WORKGROUP_SIZE>;

// Four columns of row `r` of the tile.
fn input_quad(r: u32, first: u32, column: u32) -> vec4<f32> {
    return vec4<f32>(
        input(r, first + r, column, affine(column)),
        input(r, first + r, column + 1u, affine(column + 1u)),
        input(r, first + r, column + 2u, affine(column + 2u)),
        input(r, first + r, column + 3u, affine(column + 3u)),
    );
}

// Stages block `block` of row `r` as staged block `place`. Inputs are read twice: keeping them
// would take 32 registers.
fn fill(place: u32, r: u32, first: u32, block: u32) {
    var most = vec4<f32>(0.0);
    for (var word = 0u; word < WORDS; word++) {
        most = max(most, abs(input_quad(r, first, block * 32u + word * 4u)));
    }
    let greatest = max(max(most.x, most.y), max(most.z, most.w));
    let by = quantize_factor(greatest);
    var sum = 0;
    for (var word = 0u; word < WORDS; word++) {
        let own = pack_bytes(input_quad(r, first, block * 32u + word * 4u), by);
        words[(place * WORDS + word) * 16u + r] = own;
        sum += byte_sum(own);
    }
    input_scales[place * 16u + r] = vec2<f32>(greatest / 127.0, f32(sum));
}

// Sums for eight rows of the tile and four features.
struct HalfSums {
    a: mat2x4<f32>,
    b: mat2x4<f32>,
    c: mat2x4<f32>,
    d: mat2x4<f32>,
}

// Integer sums of eight rows of the tile, for one feature: rows 0 to 3, and rows 4 to 7.
struct IntSums {
    low: vec4<i32>,
    high: vec4<i32>,
}

// The products of a word of weights with the words of four rows.
fn dots(inputs: vec4<u32>, weights: u32) -> vec4<i32> {
    return vec4<i32>(
        dot4I8Packed(inputs.x, weights),
        dot4I8Packed(inputs.y, weights),
        dot4I8Packed(inputs.z, weights),
        dot4I8Packed(inputs.w, weights),
    );
}

// The words of four rows.
fn word_quad(at: u32) -> vec4<u32> {
    return vec4<u32>(words[at], words[at + 1u], words[at + 2u], words[at + 3u]);
}

// The scales and the sums of bytes of four rows.
fn scale_quad(at: u32) -> mat4x2<f32> {
    return mat4x2<f32>(input_scales[at], input_scales[at + 1u], input_scales[at + 2u], input_scales[at + 3u]);
}

// The sums of a feature as floats. `by` is the scale and the minimum of the weights' block. `low`
// and `high` hold, for four rows each, the scales and the byte sums.
fn scaled(sums: IntSums, by: vec2<f32>, low: mat2x4<f32>, high: mat2x4<f32>) -> mat2x4<f32> {
    return mat2x4<f32>(
        low[0] * (by.x * vec4<f32>(sums.low) + by.y * low[1]),
        high[0] * (by.x * vec4<f32>(sums.high) + by.y * high[1]),
    );
}

// The products of eight rows of staged block `place`, from row `r` on, with blocks of four
// features.
fn tile_products(place: u32, r: u32, a: Block, b: Block, c: Block, d: Block) -> HalfSums {
    var of_a = IntSums();
    var of_b = IntSums();
    var of_c = IntSums();
    var of_d = IntSums();
    for (var word = 0u; word < WORDS; word++) {
        let at = (place * WORDS + word) * 16u + r;
        let low = word_quad(at);
        let high = word_quad(at + 4u);
        let weights = vec4<u32>(bytes(a, word), bytes(b, word), bytes(c, word), bytes(d, word));
        of_a.low += dots(low, weights.x);
        of_a.high += dots(high, weights.x);
        of_b.low += dots(low, weights.y);
        of_b.high += dots(high, weights.y);
        of_c.low += dots(low, weights.z);
        of_c.high += dots(high, weights.z);
        of_d.low += dots(low, weights.w);
        of_d.high += dots(high, weights.w);
    }
    let low = transpose(scale_quad(place * 16u + r));
    let high = transpose(scale_quad(place * 16u + r + 4u));
    return HalfSums(
        scaled(of_a, scale_and_minimum(a), low, high),
        scaled(of_b, scale_and_minimum(b), low, high),
        scaled(of_c, scale_and_minimum(c), low, high),
        scaled(of_d, scale_and_minimum(d), low, high),
    );
}

fn multiply(first: u32, strip: u32, invocation: u32) -> Sums {
    let rows = own_rows(strip, invocation);
    var sums = Sums();
    for (var start = 0u; start < BLOCKS; start += STAGED_BLOCKS) {
        let end = min(STAGED_BLOCKS, BLOCKS - start);
        workgroupBarrier();
        for (var i = invocation; i < end * 16u; i += WORKGROUP_SIZE) {
            fill(i / 16u, i % 16u, first, start + i / 16u);
        }
        workgroupBarrier();
        for (var place = 0u; place < end; place++) {
            let a = load(rows.x, start + place);
            let b = load(rows.y, start + place);
            let c = load(rows.z, start + place);
            let d = load(rows.w, start + place);
            let top = tile_products(place, 0u, a, b, c, d);
            let bottom = tile_products(place, 8u, a, b, c, d);
            sums.a += Rows(top.a[0], top.a[1], bottom.a[0], bottom.a[1]);
            sums.b += Rows(top.b[0], top.b[1], bottom.b[0], bottom.b[1]);
            sums.c += Rows(top.c[0], top.c[1], bottom.c[0], bottom.c[1]);
            sums.d += Rows(top.d[0], top.d[1], bottom.d[0], bottom.d[1]);
        }
    }
    return sums;
}
