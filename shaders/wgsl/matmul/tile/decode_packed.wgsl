// One row of inputs and quantised weights, four bytes at a time: as `tile/decode.wgsl`, with inputs rounded to bytes. They come to workgroup memory as they are, a
// part at a time, since a block's greatest has to be known before the first of them is rounded.

// Those that share a norm; outputs, which come in one turn; and blocks of a filling of the tile.
const ROW_INVOCATIONS: u32 = WORKGROUP_SIZE;
const ITERATIONS: u32 = 1u;
const FEATURES: u32 = TILE_N * 32u / HALVES;
const CHUNK_BLOCKS: u32 = min(WORKGROUP_SIZE / 8u, BLOCKS);

const SLICE_BLOCKS: u32 = (CHUNK_BLOCKS + SLICES - 1u) / SLICES;

alias Sums = array<f32, TILE_N>;

// Four columns each, before they are rounded.
var<workgroup> tile: array<vec4<f32>, CHUNK_BLOCKS * 8u>;
// [block][word], and of each block what a byte stands for, and its sum in bytes.
var<workgroup> words: array<u32, CHUNK_BLOCKS * 8u>;
var<workgroup> input_scales: array<vec2<f32>, CHUNK_BLOCKS>;
// [feature / 32][slice][feature % 32].
var<workgroup> shared_sums: array<f32, TILE_N * WORKGROUP_SIZE>;

fn input_at(first: u32, column: u32) -> f32 {
    return input(0u, first, column, affine(column));
}

// What numbers of a block are multiplied by: every invocation looks at all eight quads of its own.
fn greatest_of(block: u32) -> f32 {
    var most = vec4<f32>(0.0);
    for (var i = 0u; i < 8u; i++) {
        most = max(most, abs(tile[block * 8u + i]));
    }
    return max(max(most.x, most.y), max(most.z, most.w));
}

// Eight neighbours have the rows of a panel, and the next eight the blocks that follow theirs: so a workgroup reads panels from beginning to end.
fn slice_of(invocation: u32) -> u32 {
    return invocation / 8u % SLICES;
}

// Which row of a strip.
fn row_of(invocation: u32) -> u32 {
    return invocation / (8u * SLICES) * 8u + invocation % 8u;
}

fn multiply(first: u32, strip: u32, invocation: u32) -> Sums {
    let slice = slice_of(invocation);
    let own = row_of(invocation);
    var sums = Sums();
    for (var start = 0u; start < BLOCKS; start += CHUNK_BLOCKS) {
        workgroupBarrier();
        if invocation < CHUNK_BLOCKS * 8u {
            let column = 32u * start + 4u * invocation;
            tile[invocation] = vec4<f32>(
                input_at(first, column),
                input_at(first, column + 1u),
                input_at(first, column + 2u),
                input_at(first, column + 3u),
            );
        }
        workgroupBarrier();
        if invocation < CHUNK_BLOCKS * 8u {
            words[invocation] = pack_bytes(tile[invocation], quantize_factor(greatest_of(invocation / 8u)));
        }
        workgroupBarrier();
        if invocation < CHUNK_BLOCKS {
            var sum = 0;
            for (var i = 0u; i < 8u; i++) {
                sum += byte_sum(words[invocation * 8u + i]);
            }
            input_scales[invocation] = vec2<f32>(greatest_of(invocation) / 127.0, f32(sum));
        }
        workgroupBarrier();
        let end = min(CHUNK_BLOCKS, BLOCKS - start);
        for (var b = slice * SLICE_BLOCKS; b < min(end, (slice + 1u) * SLICE_BLOCKS); b++) {
            // A strip that does not exist is the last one once more, and its sums are dropped.
            var blocks: array<Block, TILE_N>;
            for (var i = 0u; i < TILE_N; i++) {
                blocks[i] = load(32u * min(strip + i, LAST_STRIP) + own, start + b);
            }
            var int_sums: array<i32, TILE_N>;
            for (var step = 0u; step < 8u; step++) {
                // Slices begin at different words, which lie in different banks of memory.
                let word = (step + slice) % 8u;
                let inputs = words[b * 8u + word];
                for (var i = 0u; i < TILE_N; i++) {
                    int_sums[i] += dot4I8Packed(inputs, bytes(blocks[i], word));
                }
            }
            for (var i = 0u; i < TILE_N; i++) {
                let by = scale_and_minimum(blocks[i]);
                sums[i] += input_scales[b].x * (by.x * f32(int_sums[i]) + by.y * input_scales[b].y);
            }
        }
    }
    return sums;
}

// Puts all features where `total` finds them; there is one turn.
fn store_sums(sums: Sums, iteration: u32, invocation: u32) {
    for (var i = 0u; i < TILE_N; i++) {
        shared_sums[i * WORKGROUP_SIZE + slice_of(invocation) * 32u + row_of(invocation)] = sums[i];
    }
    workgroupBarrier();
}

// Feature `local` of the workgroup.
fn output_sum(r: u32, local: u32) -> f32 {
    var sum = 0.0;
    for (var slice = 0u; slice < SLICES; slice++) {
        sum += shared_sums[local / 32u * WORKGROUP_SIZE + slice * 32u + local % 32u];
    }
    return sum;
}
