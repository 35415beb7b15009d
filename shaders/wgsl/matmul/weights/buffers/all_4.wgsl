// A matrix in 4 bindings.

// Element `at` of panel `panel`.
fn weight_element(panel: u32, at: u32) -> Element {
    return element_of_4(panel, at);
}
