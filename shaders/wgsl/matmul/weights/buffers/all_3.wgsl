// A matrix in 3 bindings.

// Element `at` of panel `panel`.
fn weight_element(panel: u32, at: u32) -> Element {
    return element_of_3(panel, at);
}
