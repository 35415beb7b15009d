// Stores a product: logits, rows before their norm, or the gradient of a layer's input. Parts of a
// matrix run one after the other. Gradients of the input from all parts are added; the products of
// each part are separate columns.

@group(1) @binding(4) var<storage, read_write> out: array<vec4<f32>>;

fn store_quad(row: u32, local: u32, values: vec4<f32>) {
    let column = local + select(0u, step_uniform.first, PARTS_ARE_COLUMNS);
    if column >= WIDTH {
        return;
    }
    let at = output_row(row) * OUT_QUADS + column / 4u;
    var sum = zero_padding(column, values + bias_quad(column));
    if step_uniform.adds != 0u {
        sum += out[at];
    }
    out[at] = vec4<f32>(logit(sum.x), logit(sum.y), logit(sum.z), logit(sum.w));
}
