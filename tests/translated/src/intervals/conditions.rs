//! What a condition says of its operands.

use std::collections::HashMap;

use naga::{
    BinaryOperator, Block, Expression, Function, Handle, Literal, LocalVariable, Statement,
    UnaryOperator,
};

use super::interpreter::{Frame, Machine, whole};
use super::state::State;
use super::value::Interval;
use super::value::Value;

/// A variable for `a && b` or `a || b`: naga writes `if a { v = b } else { v = false }`, and
/// `if !a { v = b } else { v = true }`.
#[derive(Clone, Copy)]
pub struct Logical {
    condition: Handle<Expression>,
    then: Handle<Expression>,
    otherwise: bool,
}

impl<'a> Machine<'a> {
    /// What is known if `condition` is `truth`; nothing if it cannot be.
    pub(super) fn assume(
        &self,
        frame: &Frame<'a>,
        mut state: State,
        condition: Handle<Expression>,
        truth: bool,
    ) -> Option<State> {
        if self.value(frame, &state, condition) == Value::Boolean(!truth) {
            return None;
        }
        match frame.code.function.expressions[condition] {
            Expression::Unary { op: UnaryOperator::LogicalNot, expr } => {
                self.assume(frame, state, expr, !truth)
            }
            Expression::Load { pointer } => {
                let logical = whole(frame, pointer).and_then(|v| frame.logical.get(&v));
                match logical.copied() {
                    // The other way gives the opposite.
                    Some(of) if of.otherwise != truth => {
                        let state = self.assume(frame, state, of.condition, true)?;
                        self.assume(frame, state, of.then, truth)
                    }
                    _ => Some(state),
                }
            }
            Expression::Binary { op, left, right } => {
                let of = |e| self.value(frame, &state, e).interval();
                let (Some(a), Some(b)) = (of(left), of(right)) else { return Some(state) };
                let Some((a, b)) = compared(op, truth, a, b)? else { return Some(state) };
                self.narrow(frame, &mut state, left, a);
                self.narrow(frame, &mut state, right, b);
                Some(state)
            }
            _ => Some(state),
        }
    }

    /// Limits an expression, and the terms of a sum that does not wrap around.
    fn narrow(
        &self,
        frame: &Frame<'a>,
        state: &mut State,
        expression: Handle<Expression>,
        to: Interval,
    ) {
        state.narrow(expression, to);
        let Expression::Binary { op: BinaryOperator::Add, left, right } =
            frame.code.function.expressions[expression]
        else {
            return;
        };
        let of = |e| self.value(frame, state, e).interval();
        let (Some(a), Some(b)) = (of(left), of(right)) else { return };
        if a.greatest + b.greatest > i64::from(u32::MAX) || a.least < 0 || b.least < 0 {
            return;
        }
        for (term, own, other) in [(left, a, b), (right, b, a)] {
            let most = own.greatest.min(to.greatest - other.least);
            let least = own.least.max(to.least - other.greatest);
            if least <= most {
                self.narrow(frame, state, term, Interval::new(least, most));
            }
        }
    }
}

/// The operands of a comparison that is `truth`: nothing if it cannot be; no intervals for another
/// operation.
#[allow(clippy::option_option)]
fn compared(
    op: BinaryOperator,
    truth: bool,
    a: Interval,
    b: Interval,
) -> Option<Option<(Interval, Interval)>> {
    use BinaryOperator as Op;
    let below = |a: Interval, b: Interval, gap: i64| {
        let a = Interval::new(a.least, a.greatest.min(b.greatest - gap));
        let b = Interval::new(b.least.max(a.least + gap), b.greatest);
        (a.least <= a.greatest && b.least <= b.greatest).then_some((a, b))
    };
    let swap = |(a, b)| (b, a);
    Some(match (op, truth) {
        (Op::Less, true) | (Op::GreaterEqual, false) => Some(below(a, b, 1)?),
        (Op::LessEqual, true) | (Op::Greater, false) => Some(below(a, b, 0)?),
        (Op::Greater, true) | (Op::LessEqual, false) => Some(swap(below(b, a, 1)?)),
        (Op::GreaterEqual, true) | (Op::Less, false) => Some(swap(below(b, a, 0)?)),
        (Op::Equal, true) | (Op::NotEqual, false) => {
            let both = Interval::new(a.least.max(b.least), a.greatest.min(b.greatest));
            if both.least > both.greatest {
                return None;
            }
            Some((both, both))
        }
        (Op::NotEqual, true) | (Op::Equal, false) if b.least == b.greatest => {
            let least = if a.least == b.least { a.least + 1 } else { a.least };
            let greatest = if a.greatest == b.least { a.greatest - 1 } else { a.greatest };
            if least > greatest {
                return None;
            }
            Some((Interval::new(least, greatest), b))
        }
        _ => None,
    })
}

/// Finds the variables of `&&` and `||` in `block`.
pub fn find_logical(
    function: &Function,
    block: &Block,
    found: &mut HashMap<Handle<LocalVariable>, Logical>,
) {
    let stored = |block: &Block| match block.last()? {
        Statement::Store { pointer, value } => match function.expressions[*pointer] {
            Expression::LocalVariable(v) => Some((v, *value)),
            _ => None,
        },
        _ => None,
    };
    for statement in block {
        match statement {
            Statement::If { condition, accept, reject } => {
                if let (Some((variable, then)), Some((other, value))) =
                    (stored(accept), stored(reject))
                    && variable == other
                    && function.local_variables[variable].name.is_none()
                    && let Expression::Literal(Literal::Bool(otherwise)) =
                        function.expressions[value]
                {
                    found.insert(variable, Logical { condition: *condition, then, otherwise });
                }
                find_logical(function, accept, found);
                find_logical(function, reject, found);
            }
            Statement::Loop { body, continuing, .. } => {
                find_logical(function, body, found);
                find_logical(function, continuing, found);
            }
            Statement::Block(block) => find_logical(function, block, found),
            Statement::Switch { cases, .. } => {
                cases.iter().for_each(|case| find_logical(function, &case.body, found));
            }
            _ => {}
        }
    }
}
