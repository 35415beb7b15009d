// A matrix in 5 bindings: it is larger than what every adapter can bind at once. Each part has
// the layout of `matmul/weights/buffers_1`.

@group(1) @binding(1) var<storage, read> weight_0: array<Element>;
@group(1) @binding(2) var<storage, read> weight_1: array<Element>;
@group(1) @binding(3) var<storage, read> weight_2: array<Element>;
@group(1) @binding(4) var<storage, read> weight_3: array<Element>;
@group(1) @binding(5) var<storage, read> weight_4: array<Element>;

// Element `at` of panel `panel`.
fn weight_element(panel: u32, at: u32) -> Element {
    if panel < PART_PANELS {
        return weight_0[panel * PANEL_LENGTH + at];
    }
    if panel < 2u * PART_PANELS {
        return weight_1[(panel - PART_PANELS) * PANEL_LENGTH + at];
    }
    if panel < 3u * PART_PANELS {
        return weight_2[(panel - 2u * PART_PANELS) * PANEL_LENGTH + at];
    }
    if panel < 4u * PART_PANELS {
        return weight_3[(panel - 3u * PART_PANELS) * PANEL_LENGTH + at];
    }
    return weight_4[(panel - 4u * PART_PANELS) * PANEL_LENGTH + at];
}
