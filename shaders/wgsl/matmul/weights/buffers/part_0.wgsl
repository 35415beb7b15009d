// The first part of a matrix, or all of it.
//
// Rows (output features) are stored in panels of eight. For each group of columns a panel holds
// the elements of its rows side by side: eight neighbouring invocations read neighbouring elements,
// and go through their panel from beginning to end.

@group(1) @binding(1) var<storage, read> weight_0: array<Element>;

// Element `at` of panel `panel`.
fn element_of_1(panel: u32, at: u32) -> Element {
    return weight_0[panel * PANEL_LENGTH + at];
}
