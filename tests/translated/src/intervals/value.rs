//! Intervals of integers, and the values that expressions may have.

use naga::{BinaryOperator, Scalar, ScalarKind};

/// Integers from `least` to `greatest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interval {
    pub least: i64,
    pub greatest: i64,
}

impl Interval {
    pub const fn new(least: i64, greatest: i64) -> Interval {
        Interval { least, greatest }
    }

    /// All integers of a type.
    pub fn all(scalar: Scalar) -> Interval {
        match scalar.kind {
            ScalarKind::Sint => Interval::new(i32::MIN.into(), i32::MAX.into()),
            _ => Interval::new(0, u32::MAX.into()),
        }
    }

    pub fn join(self, other: Interval) -> Interval {
        Interval::new(self.least.min(other.least), self.greatest.max(other.greatest))
    }

    /// The interval, or all integers of the type if an operation on it may wrap around.
    pub fn within(self, all: Interval) -> Interval {
        if self.least < all.least || self.greatest > all.greatest { all } else { self }
    }

    /// The results of an operation on all pairs, before it wraps around. None if they are unknown.
    pub fn apply(self, op: BinaryOperator, other: Interval) -> Option<Interval> {
        let (a, b) = (self, other);
        let natural = a.least >= 0 && b.least >= 0;
        Some(match op {
            BinaryOperator::Add => Interval::new(a.least + b.least, a.greatest + b.greatest),
            BinaryOperator::Subtract => Interval::new(a.least - b.greatest, a.greatest - b.least),
            BinaryOperator::Multiply if natural => {
                Interval::new(a.least.checked_mul(b.least)?, a.greatest.checked_mul(b.greatest)?)
            }
            BinaryOperator::Divide if natural && b.least > 0 => {
                Interval::new(a.least / b.greatest, a.greatest / b.least)
            }
            BinaryOperator::Modulo if natural && b.least > 0 => {
                if a.greatest < b.least {
                    a
                } else {
                    Interval::new(0, a.greatest.min(b.greatest - 1))
                }
            }
            BinaryOperator::And if natural => Interval::new(0, a.greatest.min(b.greatest)),
            BinaryOperator::InclusiveOr | BinaryOperator::ExclusiveOr if natural => {
                let bits = 64 - (a.greatest | b.greatest).leading_zeros();
                Interval::new(0, (1i64.checked_shl(bits)?) - 1)
            }
            BinaryOperator::ShiftRight if natural && b.greatest < 32 => {
                Interval::new(a.least >> b.greatest, a.greatest >> b.least)
            }
            BinaryOperator::ShiftLeft if natural && b.greatest < 32 => {
                Interval::new(a.least << b.least, a.greatest << b.greatest)
            }
            _ => return None,
        })
    }
}

/// What an expression may be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    Integer(Interval),
    Boolean(bool),
    /// The components of a vector or a structure.
    Parts(Vec<Value>),
    /// A Boolean that may be either, a number that is no integer, an array, a pointer.
    Unknown,
}

impl Value {
    pub fn interval(&self) -> Option<Interval> {
        if let Value::Integer(interval) = self { Some(*interval) } else { None }
    }

    pub fn join(&self, other: &Value) -> Value {
        match (self, other) {
            (Value::Integer(a), Value::Integer(b)) => Value::Integer(a.join(*b)),
            (Value::Parts(a), Value::Parts(b)) if a.len() == b.len() => {
                Value::Parts(a.iter().zip(b).map(|(a, b)| a.join(b)).collect())
            }
            _ if self == other => self.clone(),
            _ => Value::Unknown,
        }
    }

    /// The join, in which a bound that `other` moves becomes that of `all`, so that a loop ends.
    pub fn widen(&self, other: &Value, all: &Value) -> Value {
        match (self, other, all) {
            (Value::Integer(a), Value::Integer(b), Value::Integer(all)) => {
                Value::Integer(Interval::new(
                    if b.least < a.least { all.least } else { a.least },
                    if b.greatest > a.greatest { all.greatest } else { a.greatest },
                ))
            }
            (Value::Parts(a), Value::Parts(b), Value::Parts(all))
                if a.len() == b.len() && a.len() == all.len() =>
            {
                let parts = a.iter().zip(b).zip(all);
                Value::Parts(parts.map(|((a, b), all)| a.widen(b, all)).collect())
            }
            _ => self.join(other),
        }
    }

    /// Applies `of` to integers, and to the integers of vectors pairwise. A part that `of` has no
    /// result for is unknown.
    pub fn zip(&self, other: &Value, of: &dyn Fn(Interval, Interval) -> Value) -> Value {
        match (self, other) {
            (Value::Integer(a), Value::Integer(b)) => of(*a, *b),
            (Value::Parts(a), Value::Parts(b)) if a.len() == b.len() => {
                Value::Parts(a.iter().zip(b).map(|(a, b)| a.zip(b, of)).collect())
            }
            (Value::Parts(a), Value::Integer(_)) => {
                Value::Parts(a.iter().map(|a| a.zip(other, of)).collect())
            }
            (Value::Integer(_), Value::Parts(b)) => {
                Value::Parts(b.iter().map(|b| self.zip(b, of)).collect())
            }
            _ => Value::Unknown,
        }
    }
}
