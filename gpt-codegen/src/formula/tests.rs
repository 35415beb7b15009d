//! Closures against functions written by hand, and derivatives against differences.

use gpt_plan::{Activation, Formula, Node};

use super::*;

fn formulas(closure: &str) -> (Formula, Formula) {
    match parse(&syn::parse_str(closure).unwrap()) {
        Ok(Activation::Custom { value, derivative, .. }) => (value, derivative),
        Ok(other) => panic!("{closure} became {other:?}"),
        Err(errors) => panic!("{closure}: {errors:?}"),
    }
}

fn errors(closure: &str) -> Vec<String> {
    let errors = parse(&syn::parse_str(closure).unwrap()).unwrap_err();
    errors.iter().map(ToString::to_string).collect()
}

/// A closure as text and as Rust.
type Case = (&'static str, fn(f64) -> f64);

const CASES: [Case; 10] = [
    ("|x| x / (1.0 + exp(-1.702 * x))", |x| x / (1.0 + (-1.702 * x).exp())),
    ("|x| max(x, 0).powi(2)", |x| x.max(0.0).powi(2)),
    ("|v| { let a = v.tanh(); let b = a * a; b + sin(v) * cos(v) }", |x| {
        x.tanh().powi(2) + x.sin() * x.cos()
    }),
    ("|x| ln(1 + exp(x))", |x| (1.0 + x.exp()).ln()),
    ("|x| x * tanh(ln(1.0 + exp(x)))", |x| x * (1.0 + x.exp()).ln().tanh()),
    ("|x| abs(x) - min(x, 2.0) / 3.0", |x| x.abs() - x.min(2.0) / 3.0),
    ("|x| sqrt(x * x + 1) - -(x)", |x| (x * x + 1.0).sqrt() + x),
    ("|x| powi(x, -2) + powi(x, 3) * 0 + 1 * x", |x| x.powi(-2) + x),
    ("|x| 0.5 * x * (1.0 + tanh(0.797_884_6 * (x + 0.044715 * powi(x, 3))))", |x| {
        0.5 * x * (1.0 + (0.7978846 * (x + 0.044715 * x.powi(3))).tanh())
    }),
    ("|x| { let x = x + 1.0; let y = { let x = x * 2.0; x }; y - x }", |x| x + 1.0),
];

#[test]
fn values_and_slopes() {
    for (text, exact) in CASES {
        let (value, derivative) = formulas(text);
        for i in -40..=40 {
            let x = f64::from(i) * 0.1 + 0.013;
            let close = |a: f64, b: f64, bound: f64| (a - b).abs() <= bound * (1.0 + b.abs());
            assert!(
                close(value.eval(x), exact(x), 1e-13),
                "{text} at {x}: {} is not {}",
                value.eval(x),
                exact(x)
            );
            let step = 1e-5;
            let slope = (exact(x + step) - exact(x - step)) / (2.0 * step);
            // Kinks lie between the points, further away than the step.
            assert!(
                close(derivative.eval(x), slope, 1e-4 / x.abs().min(1.0)),
                "slope of {text} at {x}: {} is not {slope}",
                derivative.eval(x)
            );
        }
    }
}

#[test]
fn constants_fold_and_repetitions_are_shared() {
    let (value, derivative) = formulas("|x| (1 + 2 * 3) * exp(x) + exp(x) * 7");
    assert_eq!(value.nodes.len(), 4, "{value:?}");
    assert!(derivative.nodes.len() <= 5, "{derivative:?}");
    assert_eq!(formulas("|x| x + 3").1.nodes.len(), 1);
}

#[test]
fn exponentials_have_stable_forms() {
    let x_sigmoid = [Node::X, Node::Sigmoid(0), Node::Mul(0, 1)];
    let tanh = [Node::X, Node::Tanh(0)];
    for (closure, nodes) in [
        ("|x| x / (1 + exp(-x))", &x_sigmoid[..]),
        ("|x| x * exp(x) / (exp(x) + 1)", &x_sigmoid),
        ("|x| x * (1 - 1 / (1 + exp(x)))", &x_sigmoid),
        ("|x| exp(x) / (1 + exp(x))", &[Node::X, Node::Sigmoid(0)]),
        ("|x| ln(1 + exp(x))", &[Node::X, Node::Softplus(0)]),
        ("|x| exp(x) - 1", &[Node::X, Node::ExpM1(0)]),
        ("|x| (exp(x) - exp(-x)) / (exp(x) + exp(-x))", &tanh),
        ("|x| (exp(2 * x) - 1) / (1 + exp(2 * x))", &tanh),
        ("|x| 2 / (1 + exp(-2 * x)) - 1", &tanh),
    ] {
        assert_eq!(*formulas(closure).0.nodes, *nodes, "{closure}");
    }
}

#[test]
fn wgsl_is_valid() {
    for (text, _) in CASES {
        let (value, derivative) = formulas(text);
        let source = wgsl("value", &value) + &wgsl("slope", &derivative);
        let module = naga::front::wgsl::parse_str(&source)
            .unwrap_or_else(|e| panic!("{}", e.emit_to_string(&source)));
        let mut validator = naga::valid::Validator::new(
            naga::valid::ValidationFlags::all(),
            naga::valid::Capabilities::empty(),
        );
        validator.validate(&module).unwrap();
    }
}

#[test]
fn rust_text_reads_like_the_closure() {
    let (value, _) = formulas("|x| max(x, 0).powi(2)");
    assert_eq!(
        rust(&value).to_string(),
        "let v0 : f32 = x ; let v1 : f32 = 0f32 ; let v2 : f32 = f32 :: max (v0 , v1) ; \
         let v3 : f32 = f32 :: powi (v2 , 2i32) ; v3"
    );
}

#[test]
fn all_mistakes_at_once() {
    let found = errors("|x| { foo(x); let y = exo(z); y + tanh(x, x) ^ 2 }");
    let firsts: Vec<&str> = found.iter().map(|e| e.lines().next().unwrap()).collect();
    assert_eq!(
        firsts,
        [
            "this statement cannot be used in an activation",
            "unknown variable `z` in an activation",
            "unknown function `exo` in an activation",
            "this operator cannot be used in an activation",
        ]
    );
    assert!(found[2].contains("did you mean `exp`?"), "{}", found[2]);
    assert_eq!(errors("|x, y| x").len(), 1);
    assert_eq!(errors("|x| { let y = x; }").len(), 1);
    assert!(errors("|x| powi(x, 0.5)")[0].starts_with("the power has to be a whole number"));
}

/// `Formula::apply` has the results of `eval_f32` in whole blocks, in the remainder after them, and
/// for formulas that are too long for blocks.
#[test]
fn applying_a_formula_is_evaluating_it_everywhere() {
    let sum = (1..20).map(|n| format!("{n}.0 * tanh(x / {n}.5)"));
    let long = format!("|x| {}", sum.collect::<Vec<_>>().join(" + "));
    for closure in ["|x| 3.0 * tanh(x / 3.0)", "|x| max(x, -x) - exp(x)", &long] {
        let formula = super::of(closure);
        for len in [0, 1, 31, 32, 33, 100] {
            let inputs: Vec<f32> = (0..len).map(|i| (i as f32 - 40.0) / 3.0).collect();
            let mut values = inputs.clone();
            formula.apply(&mut values);
            for (x, value) in inputs.into_iter().zip(values) {
                assert_eq!(value, formula.eval_f32(x), "{closure} at {x}");
            }
        }
    }
}
