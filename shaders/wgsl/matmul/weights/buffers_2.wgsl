// A matrix in 2 bindings: it is larger than what every adapter can bind at once. Each part has
// the layout of `matmul/weights/buffers_1`.

@group(1) @binding(1) var<storage, read> weight_0: array<Element>;
@group(1) @binding(2) var<storage, read> weight_1: array<Element>;

// Element `at` of panel `panel`.
fn weight_element(panel: u32, at: u32) -> Element {
    if panel < PART_PANELS {
        return weight_0[panel * PANEL_LENGTH + at];
    }
    return weight_1[(panel - PART_PANELS) * PANEL_LENGTH + at];
}
