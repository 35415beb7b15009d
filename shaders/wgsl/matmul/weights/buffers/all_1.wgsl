// A matrix in 1 binding.

// Element `at` of panel `panel`.
fn weight_element(panel: u32, at: u32) -> Element {
    return element_of_1(panel, at);
}
