// Multiplies one row of inputs by quantised weights, four bytes per instruction: like
// `matmul/tile/decode`, with inputs quantised to bytes. Inputs are staged as f32 first, because the
// largest input of a block has to be known before the first one is quantised.

const STAGED_BLOCKS: u32 = min(WORKGROUP_SIZE / 8u, BLOCKS);

// [block][quad]: four inputs each, before they are quantised.
var<workgroup> tile: array<vec4<f32>, STAGED_BLOCKS * 8u>;
// [block][word]: four inputs each, as bytes.
var<workgroup> words: array<u32, STAGED_BLOCKS * 8u>;
// [block]: its scale, and the sum of its bytes.
var<workgroup> input_scales: array<vec2<f32>, STAGED_BLOCKS>;

// The largest magnitude of a block. Every invocation reads all eight quads of its own block.
fn greatest_of(block: u32) -> f32 {
    var most = vec4<f32>(0.0);
    for (var i = 0u; i < 8u; i++) {
        most = max(most, abs(tile[block * 8u + i]));
    }
    return max(max(most.x, most.y), max(most.z, most.w));
}

fn multiply(first: u32, strip: u32, invocation: u32) -> Sums {
    let slice = slice_of(invocation);
    let own = row_of(invocation);
    var sums = Sums();
    for (var start = 0u; start < BLOCKS; start += STAGED_BLOCKS) {
        workgroupBarrier();
        if invocation < STAGED_BLOCKS * 8u {
            tile[invocation] = input_quad(first, 32u * start + 4u * invocation);
        }
        workgroupBarrier();
        if invocation < STAGED_BLOCKS * 8u {
            let factor = quantize_factor(greatest_of(invocation / 8u));
            words[invocation] = pack_bytes(tile[invocation], factor);
        }
        workgroupBarrier();
        if invocation < STAGED_BLOCKS {
            var sum = 0;
            for (var i = 0u; i < 8u; i++) {
                sum += byte_sum(words[invocation * 8u + i]);
            }
            input_scales[invocation] = vec2<f32>(greatest_of(invocation) / 127.0, f32(sum));
        }
        workgroupBarrier();
        let end = min(STAGED_BLOCKS, BLOCKS - start);
        for (var b = slice * SLICE_BLOCKS; b < min(end, (slice + 1u) * SLICE_BLOCKS); b++) {
            var blocks: array<Block, TILE_N>;
            for (var i = 0u; i < TILE_N; i++) {
                blocks[i] = load_strip(strip + i, own, start + b);
            }
            var int_sums: array<i32, TILE_N>;
            for (var step = 0u; step < 8u; step++) {
                // Slices start at different words, which are in different memory banks.
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
