include!("../constants/plan.rs");
