include!("../constants/layers.rs");
