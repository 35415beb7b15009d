// A matrix that one binding holds.
//
// Its rows (output features) stand in panels of eight. A panel holds, for each group of columns, what its rows have there side by side:
// eight neighbouring invocations read neighbouring elements, and go through their panel from its beginning to its end.

@group(1) @binding(1) var<storage, read> weight_0: array<Element>;

// Element `at` of panel `panel`.
fn weight_element(panel: u32, at: u32) -> Element {
    return weight_0[panel * PANEL_LENGTH + at];
}
