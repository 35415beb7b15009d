// A matrix in 5 bindings.

// Element `at` of panel `panel`.
fn weight_element(panel: u32, at: u32) -> Element {
    return element_of_5(panel, at);
}
