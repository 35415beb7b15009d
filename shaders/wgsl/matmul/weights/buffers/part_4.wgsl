// The fifth part of a matrix that is too large for one binding on some adapters.

@group(1) @binding(5) var<storage, read> weight_4: array<Element>;

// Element `at` of panel `panel` of the first five parts.
fn element_of_5(panel: u32, at: u32) -> Element {
    if panel < 4u * PART_PANELS {
        return element_of_4(panel, at);
    }
    return weight_4[(panel - 4u * PART_PANELS) * PANEL_LENGTH + at];
}
