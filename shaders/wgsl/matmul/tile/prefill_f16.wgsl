// Multiplies the rows of a prompt by f16 weights in f16, because some hardware multiplies and adds
// two such numbers at once. Inputs are rounded to f16. Sums over the columns of a block, at most
// 32, are also in f16; they are then added in f32.

// Columns of the inputs that are staged at a time.
const STAGED_COLUMNS: u32 = STAGED_BLOCKS * BLOCK_QUADS * 4u;

alias Halves = mat4x4<f16>;

var<workgroup> staged_rows: array<Halves, STAGED_COLUMNS>;
// The sums of each invocation, from which `output_sum` reads.
var<workgroup> tile: array<Rows, WORKGROUP_SIZE>;

// Four weights, which are stored as f16.
fn halves(block: Block, j: u32) -> vec4<f16> {
    return vec4<f16>(quad(block, j));
}

// Sums as f32.
fn wide(halves: Halves) -> Rows {
    return Rows(vec4<f32>(halves[0]), vec4<f32>(halves[1]), vec4<f32>(halves[2]), vec4<f32>(halves[3]));
}

fn multiply(first: u32, strip: u32, invocation: u32) -> Sums {
    let rows = own_rows(strip, invocation);
    var sums = Sums();
    for (var start = 0u; start < BLOCKS; start += STAGED_BLOCKS) {
        workgroupBarrier();
        for (var i = invocation; i < STAGED_COLUMNS; i += WORKGROUP_SIZE) {
            let column = start * BLOCK_QUADS * 4u + i;
            let scale_shift = affine(column);
            staged_rows[i] = Halves(
                vec4<f16>(inputs(0u, first, column, scale_shift)),
                vec4<f16>(inputs(4u, first, column, scale_shift)),
                vec4<f16>(inputs(8u, first, column, scale_shift)),
                vec4<f16>(inputs(12u, first, column, scale_shift)),
            );
        }
        workgroupBarrier();
        let end = min(STAGED_BLOCKS, BLOCKS - start);
        for (var place = 0u; place < end; place++) {
            let a = load(rows.x, start + place);
            let b = load(rows.y, start + place);
            let c = load(rows.z, start + place);
            let d = load(rows.w, start + place);
            var of_a = Halves();
            var of_b = Halves();
            var of_c = Halves();
            var of_d = Halves();
            for (var j = 0u; j < BLOCK_QUADS; j++) {
                let weights = Halves(halves(a, j), halves(b, j), halves(c, j), halves(d, j));
                for (var i = 0u; i < 4u; i++) {
                    let inputs = staged_rows[(place * BLOCK_QUADS + j) * 4u + i];
                    of_a += weights[0][i] * inputs;
                    of_b += weights[1][i] * inputs;
                    of_c += weights[2][i] * inputs;
                    of_d += weights[3][i] * inputs;
                }
            }
            sums.a += wide(of_a);
            sums.b += wide(of_b);
            sums.c += wide(of_c);
            sums.d += wide(of_d);
        }
    }
    return sums;
}
