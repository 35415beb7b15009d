// A matrix in 2 bindings.

// Element `at` of panel `panel`.
fn weight_element(panel: u32, at: u32) -> Element {
    return element_of_2(panel, at);
}
