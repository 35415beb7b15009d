//! Activation closures: parsed into a formula, and differentiated.

use gpt_plan::Activation;

use crate::Diagnostic;

/// The activation that `closure` writes, with its derivative.
pub fn parse(closure: &syn::ExprClosure) -> Result<Activation, Vec<Diagnostic>> {
    let message = "activation closures are not read yet";
    Err(vec![Diagnostic::spanned(closure, message)])
}
