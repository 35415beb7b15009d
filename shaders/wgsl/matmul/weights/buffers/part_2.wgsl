// The third part of a matrix that is too large for one binding on some adapters.

@group(1) @binding(3) var<storage, read> weight_2: array<Element>;

// Element `at` of panel `panel` of the first three parts.
fn element_of_3(panel: u32, at: u32) -> Element {
    if panel < 2u * PART_PANELS {
        return element_of_2(panel, at);
    }
    return weight_2[(panel - 2u * PART_PANELS) * PANEL_LENGTH + at];
}
