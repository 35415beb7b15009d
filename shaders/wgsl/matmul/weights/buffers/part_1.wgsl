// The second part of a matrix that is too large for one binding on some adapters.

@group(1) @binding(2) var<storage, read> weight_1: array<Element>;

// Element `at` of panel `panel` of the first two parts.
fn element_of_2(panel: u32, at: u32) -> Element {
    if panel < PART_PANELS {
        return element_of_1(panel, at);
    }
    return weight_1[(panel - PART_PANELS) * PANEL_LENGTH + at];
}
