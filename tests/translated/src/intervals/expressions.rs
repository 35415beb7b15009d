//! The values of expressions, by their operands.

use naga::{
    ArraySize, BinaryOperator, Expression, Handle, Literal, MathFunction, Module, Scalar,
    ScalarKind, TypeInner, UnaryOperator,
};

use super::interpreter::{Frame, Machine, whole};
use super::state::State;
use super::value::{Interval, Value};

impl Machine<'_> {
    pub(super) fn evaluate(
        &self,
        frame: &Frame<'_>,
        state: &State,
        expression: Handle<Expression>,
    ) -> Value {
        let function = frame.code.function;
        let inner = frame.code.info[expression].ty.inner_with(&self.module.types);
        let any = || top(self.module, inner);
        let of = |e: Handle<Expression>| self.value(frame, state, e);
        let scalar = inner.scalar();
        let within = |interval: Option<Interval>| match (interval, scalar) {
            (Some(interval), Some(scalar)) => {
                Value::Integer(interval.within(Interval::all(scalar)))
            }
            _ => any(),
        };
        match &function.expressions[expression] {
            Expression::Literal(literal) => of_literal(*literal),
            Expression::Constant(constant) => {
                self.of_constant(self.module.constants[*constant].init)
            }
            Expression::ZeroValue(ty) => zero(self.module, &self.module.types[*ty].inner),
            Expression::Compose { components, .. } => match inner {
                TypeInner::Vector { .. } => {
                    let parts = components.iter().flat_map(|c| match of(*c) {
                        Value::Parts(parts) => parts,
                        value => vec![value],
                    });
                    known(parts.collect(), any())
                }
                TypeInner::Struct { .. } => {
                    Value::Parts(components.iter().map(|c| of(*c)).collect())
                }
                _ => any(),
            },
            Expression::Splat { size, value } => known(vec![of(*value); *size as usize], any()),
            Expression::Swizzle { size, vector, pattern } => match of(*vector) {
                Value::Parts(parts) => {
                    let chosen = pattern[..*size as usize].iter();
                    Value::Parts(chosen.map(|c| parts[*c as usize].clone()).collect())
                }
                _ => any(),
            },
            Expression::AccessIndex { base, index } => {
                component(&of(*base), *index as usize).unwrap_or_else(any)
            }
            Expression::Access { base, .. } => all_of(&of(*base)).unwrap_or_else(any),
            Expression::FunctionArgument(i) => frame.arguments[*i as usize].clone(),
            Expression::Load { pointer } => {
                match (whole(frame, *pointer), &function.expressions[*pointer]) {
                    (Some(variable), _) => state.variable(variable),
                    (None, Expression::AccessIndex { base, index }) => whole(frame, *base)
                        .and_then(|v| component(&state.variable(v), *index as usize))
                        .unwrap_or_else(any),
                    (None, Expression::Access { base, .. }) => whole(frame, *base)
                        .and_then(|v| all_of(&state.variable(v)))
                        .unwrap_or_else(any),
                    _ => any(),
                }
            }
            Expression::Unary { op, expr } => match (op, of(*expr)) {
                (UnaryOperator::LogicalNot, Value::Boolean(b)) => Value::Boolean(!b),
                (UnaryOperator::Negate, Value::Integer(a)) => {
                    within(Some(Interval::new(-a.greatest, -a.least)))
                }
                _ => any(),
            },
            Expression::Binary { op, left, right } => {
                let (a, b) = (of(*left), of(*right));
                if inner.scalar_kind() == Some(ScalarKind::Bool) {
                    return match (&a, &b) {
                        (Value::Integer(a), Value::Integer(b)) => {
                            decided(*op, *a, *b).map_or(Value::Unknown, Value::Boolean)
                        }
                        _ => any(),
                    };
                }
                known_value(a.zip(&b, &|a, b| within(a.apply(*op, b))), any())
            }
            Expression::Select { condition, accept, reject } => match of(*condition) {
                Value::Boolean(true) => of(*accept),
                Value::Boolean(false) => of(*reject),
                _ => known_value(of(*accept).join(&of(*reject)), any()),
            },
            Expression::Math { fun, arg, arg1, arg2, .. } => {
                let least = |a: Interval, b: Interval| {
                    Value::Integer(Interval::new(a.least.min(b.least), a.greatest.min(b.greatest)))
                };
                let greatest = |a: Interval, b: Interval| {
                    Value::Integer(Interval::new(a.least.max(b.least), a.greatest.max(b.greatest)))
                };
                let value = match (fun, arg1.map(of), arg2.map(of)) {
                    (MathFunction::Min, Some(b), _) => of(*arg).zip(&b, &least),
                    (MathFunction::Max, Some(b), _) => of(*arg).zip(&b, &greatest),
                    (MathFunction::Clamp, Some(b), Some(c)) => {
                        of(*arg).zip(&b, &greatest).zip(&c, &least)
                    }
                    _ => Value::Unknown,
                };
                known_value(value, any())
            }
            Expression::As { expr, convert: Some(4), .. } => {
                let value = of(*expr);
                let kept = |a: Interval, _: Interval| within(Some(a));
                known_value(value.zip(&value, &kept), any())
            }
            _ => any(),
        }
    }

    fn of_constant(&self, expression: Handle<Expression>) -> Value {
        match &self.module.global_expressions[expression] {
            Expression::Literal(literal) => of_literal(*literal),
            Expression::Constant(constant) => {
                self.of_constant(self.module.constants[*constant].init)
            }
            Expression::ZeroValue(ty) => zero(self.module, &self.module.types[*ty].inner),
            Expression::Compose { components, ty }
                if matches!(self.module.types[*ty].inner, TypeInner::Vector { .. }) =>
            {
                Value::Parts(components.iter().map(|c| self.of_constant(*c)).collect())
            }
            _ => Value::Unknown,
        }
    }
}

/// `value`, or `any` value of its type if nothing is known of it.
fn known_value(value: Value, any: Value) -> Value {
    match (value, any) {
        (Value::Unknown, any) => any,
        (Value::Parts(parts), any) => known(parts, any),
        (value, _) => value,
    }
}

/// A vector, in whose place a component is any value if nothing is known of it.
fn known(parts: Vec<Value>, any: Value) -> Value {
    match any {
        Value::Parts(all) if all.len() == parts.len() => {
            let parts = parts.into_iter().zip(all);
            Value::Parts(parts.map(|(part, any)| known_value(part, any)).collect())
        }
        _ => Value::Parts(parts),
    }
}

fn of_literal(literal: Literal) -> Value {
    let integer = |n: i64| Value::Integer(Interval::new(n, n));
    match literal {
        Literal::U32(n) => integer(n.into()),
        Literal::I32(n) => integer(n.into()),
        Literal::AbstractInt(n) => integer(n),
        Literal::Bool(b) => Value::Boolean(b),
        _ => Value::Unknown,
    }
}

/// Whether a comparison is true, if that is certain.
fn decided(op: BinaryOperator, a: Interval, b: Interval) -> Option<bool> {
    let less = |a: Interval, b: Interval| {
        (a.greatest < b.least).then_some(true).or((a.least >= b.greatest).then_some(false))
    };
    let equal = |a: Interval, b: Interval| {
        if a.greatest < b.least || b.greatest < a.least {
            Some(false)
        } else {
            (a.least == a.greatest && a == b).then_some(true)
        }
    };
    match op {
        BinaryOperator::Less => less(a, b),
        BinaryOperator::Greater => less(b, a),
        BinaryOperator::GreaterEqual => less(a, b).map(|is| !is),
        BinaryOperator::LessEqual => less(b, a).map(|is| !is),
        BinaryOperator::Equal => equal(a, b),
        BinaryOperator::NotEqual => equal(a, b).map(|is| !is),
        _ => None,
    }
}

/// A part of a vector or structure.
pub(super) fn component(value: &Value, index: usize) -> Option<Value> {
    match value {
        Value::Parts(parts) => parts.get(index).cloned(),
        _ => None,
    }
}

/// Any part of a vector.
fn all_of(value: &Value) -> Option<Value> {
    match value {
        Value::Parts(parts) => parts.iter().cloned().reduce(|a, b| a.join(&b)),
        _ => None,
    }
}

/// Any value of a type.
pub(super) fn top(module: &Module, inner: &TypeInner) -> Value {
    match inner {
        TypeInner::Scalar(scalar) => of_scalar(*scalar),
        TypeInner::Vector { size, scalar } => {
            Value::Parts(vec![of_scalar(*scalar); *size as usize])
        }
        TypeInner::Struct { members, .. } => {
            Value::Parts(members.iter().map(|m| top(module, &module.types[m.ty].inner)).collect())
        }
        _ => Value::Unknown,
    }
}

fn of_scalar(scalar: Scalar) -> Value {
    match scalar {
        Scalar { kind: ScalarKind::Uint | ScalarKind::Sint, width: 4 } => {
            Value::Integer(Interval::all(scalar))
        }
        _ => Value::Unknown,
    }
}

/// Zero of a type.
pub(super) fn zero(module: &Module, inner: &TypeInner) -> Value {
    match top(module, inner) {
        Value::Integer(_) => Value::Integer(Interval::new(0, 0)),
        Value::Parts(parts) if parts.iter().all(|p| p.interval().is_some()) => {
            Value::Parts(vec![Value::Integer(Interval::new(0, 0)); parts.len()])
        }
        any => any,
    }
}

/// The number of elements of an array of constant length, a vector or a matrix.
pub(super) fn parts_of_type(module: &Module, inner: &TypeInner) -> Option<u32> {
    match *inner {
        TypeInner::Pointer { base, .. } => parts_of_type(module, &module.types[base].inner),
        TypeInner::Array { size: ArraySize::Constant(length), .. } => Some(length.get()),
        TypeInner::Vector { size, .. } | TypeInner::ValuePointer { size: Some(size), .. } => {
            Some(size as u32)
        }
        TypeInner::Matrix { columns, .. } => Some(columns as u32),
        _ => None,
    }
}
