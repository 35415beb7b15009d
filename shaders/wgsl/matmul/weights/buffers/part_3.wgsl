// The fourth part of a matrix that is too large for one binding on some adapters.

@group(1) @binding(4) var<storage, read> weight_3: array<Element>;

// Element `at` of panel `panel` of the first four parts.
fn element_of_4(panel: u32, at: u32) -> Element {
    if panel < 3u * PART_PANELS {
        return element_of_3(panel, at);
    }
    return weight_3[(panel - 3u * PART_PANELS) * PANEL_LENGTH + at];
}
