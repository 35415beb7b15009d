//! What is known at a place of a function.

use std::collections::BTreeMap;

use naga::{Expression, Handle, LocalVariable};

use super::value::{Interval, Value};

/// What is known of the expressions and variables of a function at a place of its code.
#[derive(Clone, Default)]
pub struct State {
    /// Expressions that were evaluated.
    values: BTreeMap<Handle<Expression>, Value>,
    /// Variables, each with the number of the store that gave it its value.
    variables: BTreeMap<Handle<LocalVariable>, (Value, u32)>,
    /// The variable that an expression loaded, and the number of its store.
    loads: BTreeMap<Handle<Expression>, (Handle<LocalVariable>, u32)>,
}

/// The numbers of stores.
#[derive(Default)]
pub struct Stores(u32);

impl Stores {
    fn next(&mut self) -> u32 {
        self.0 += 1;
        self.0
    }
}

impl State {
    pub fn value(&self, expression: Handle<Expression>) -> Option<&Value> {
        self.values.get(&expression)
    }

    pub fn set(&mut self, expression: Handle<Expression>, value: Value) {
        self.loads.remove(&expression);
        self.values.insert(expression, value);
    }

    pub fn variable(&self, variable: Handle<LocalVariable>) -> Value {
        self.variables.get(&variable).map_or(Value::Unknown, |(value, _)| value.clone())
    }

    pub fn store(&mut self, variable: Handle<LocalVariable>, value: Value, stores: &mut Stores) {
        self.variables.insert(variable, (value, stores.next()));
    }

    /// Notes that `expression`, which was just set, has the value of `variable`.
    pub fn loaded(&mut self, expression: Handle<Expression>, variable: Handle<LocalVariable>) {
        if let Some((_, store)) = self.variables.get(&variable) {
            self.loads.insert(expression, (variable, *store));
        }
    }

    /// Limits an expression to `interval`, and the variable that it loaded, if no later store
    /// changed it.
    pub fn narrow(&mut self, expression: Handle<Expression>, interval: Interval) {
        self.values.insert(expression, Value::Integer(interval));
        if let Some((variable, store)) = self.loads.get(&expression)
            && let Some((value, newest)) = self.variables.get_mut(variable)
            && newest == store
        {
            *value = Value::Integer(interval);
        }
    }

    /// What is known where both ways meet.
    pub fn join(mut self, other: &State, stores: &mut Stores) -> State {
        for (expression, value) in &other.values {
            match self.values.get_mut(expression) {
                Some(own) => *own = own.join(value),
                // It is used only after it was evaluated, on the way of `other`.
                None => drop(self.values.insert(*expression, value.clone())),
            }
        }
        for (variable, (value, store)) in &other.variables {
            if let Some((own, newest)) = self.variables.get_mut(variable) {
                *own = own.join(value);
                if newest != store {
                    *newest = stores.next();
                }
            }
        }
        for (expression, load) in &other.loads {
            self.loads.entry(*expression).or_insert(*load);
        }
        self
    }

    /// Whether all variables may be the same as in `other`.
    pub fn same_variables(&self, other: &State) -> bool {
        self.variables.iter().all(|(variable, (value, _))| *value == other.variable(*variable))
    }

    /// The join of the variables with those of `other`, each widened towards `all` of its type.
    pub fn widen(
        &mut self,
        other: &State,
        all: impl Fn(Handle<LocalVariable>) -> Value,
        stores: &mut Stores,
    ) {
        for (variable, (value, store)) in &mut self.variables {
            *value = value.widen(&other.variable(*variable), &all(*variable));
            *store = stores.next();
        }
    }
}

/// What is known where both ways meet, if either is taken.
pub fn join(a: Option<State>, b: Option<State>, stores: &mut Stores) -> Option<State> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.join(&b, stores)),
        (a, b) => a.or(b),
    }
}
