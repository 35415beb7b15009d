// A matrix that one binding holds.
//
// Its rows (output features) stand in panels of 32. A panel holds, for each group of columns, what the 32 rows have there side by
// side, so that 32 neighbouring invocations read 32 neighbouring elements.

alias Element = vec4<f32>;
// Elements of a panel.
const PANEL_LENGTH: u32 = 6144u;
// ---- end of parameters ----

@group(1) @binding(1) var<storage, read> part_0: array<Element>;

// Element `at` of panel `panel`.
fn element(panel: u32, at: u32) -> Element {
    return part_0[panel * PANEL_LENGTH + at];
}
