//! Interprets the statements of a kernel with intervals.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use naga::valid::{FunctionInfo, ModuleInfo};
use naga::{
    Binding, Block, BuiltIn, Expression, Function, Handle, LocalVariable, Module, Statement,
    SwitchValue,
};

use super::conditions::{Logical, find_logical};
use super::expressions::{parts_of_type, top, zero};
use super::state::{State, Stores, join};
use super::value::{Interval, Value};
use super::{Access, Report};

/// The most workgroups along a dimension, WebGPU's default limit.
const MOST_GROUPS: i64 = 65_535;

/// Interprets the entry point of `module`, whose WGSL is `text`.
pub fn run(module: &Module, info: &ModuleInfo, text: &str) -> Report {
    let entry = &module.entry_points[0];
    let size = entry.workgroup_size.map(i64::from);
    let below = |n: i64| Value::Integer(Interval::new(0, n - 1));
    let built_in = |argument: &naga::FunctionArgument| match argument.binding {
        Some(Binding::BuiltIn(BuiltIn::LocalInvocationIndex)) => below(size.iter().product()),
        Some(Binding::BuiltIn(BuiltIn::LocalInvocationId)) => {
            Value::Parts(size.map(below).to_vec())
        }
        Some(Binding::BuiltIn(BuiltIn::WorkGroupId)) => Value::Parts(vec![below(MOST_GROUPS); 3]),
        _ => top(module, &module.types[argument.ty].inner),
    };
    let arguments = entry.function.arguments.iter().map(built_in).collect();
    let code = Code { function: &entry.function, info: info.get_entry_point(0), id: None };
    let mut machine = Machine {
        module,
        info,
        text,
        stores: Stores::default(),
        records: true,
        results: HashMap::new(),
        accesses: BTreeMap::new(),
        of_buffers: BTreeSet::new(),
    };
    machine.call(code, arguments);
    Report {
        accesses: machine.accesses.into_values().collect(),
        of_buffers: machine.of_buffers.len(),
    }
}

/// A function of the module; without an id, the entry point.
#[derive(Clone, Copy)]
pub(super) struct Code<'a> {
    pub(super) function: &'a Function,
    pub(super) info: &'a FunctionInfo,
    id: Option<Handle<Function>>,
}

/// A call and its arguments, and whether its accesses were recorded.
type Call = (Option<Handle<Function>>, Vec<Value>, bool);

pub(super) struct Machine<'a> {
    pub(super) module: &'a Module,
    info: &'a ModuleInfo,
    text: &'a str,
    stores: Stores,
    /// Whether accesses are recorded: not while the intervals of a loop still grow.
    records: bool,
    /// The results of calls. They depend on arguments alone, because memory may have any value.
    results: HashMap<Call, Value>,
    /// By function and expression.
    accesses: BTreeMap<(Option<usize>, usize), Access>,
    of_buffers: BTreeSet<(Option<usize>, usize)>,
}

/// What leaves a loop or a `switch`.
#[derive(Default)]
struct Exits {
    is_loop: bool,
    breaks: Option<State>,
    continues: Option<State>,
}

/// A call that is interpreted.
pub(super) struct Frame<'a> {
    pub(super) code: Code<'a>,
    pub(super) arguments: Vec<Value>,
    exits: Vec<Exits>,
    result: Option<Value>,
    pub(super) logical: HashMap<Handle<LocalVariable>, Logical>,
}

impl<'a> Machine<'a> {
    fn call(&mut self, code: Code<'a>, arguments: Vec<Value>) -> Value {
        let call = (code.id, arguments, self.records);
        if let Some(result) = self.results.get(&call) {
            return result.clone();
        }
        let mut frame = Frame {
            code,
            arguments: call.1.clone(),
            exits: Vec::new(),
            result: None,
            logical: HashMap::new(),
        };
        find_logical(code.function, &code.function.body, &mut frame.logical);
        let mut state = State::default();
        for (variable, local) in code.function.local_variables.iter() {
            let value = match local.init {
                Some(init) => self.value(&frame, &state, init),
                None => zero(self.module, &self.module.types[local.ty].inner),
            };
            state.store(variable, value, &mut self.stores);
        }
        self.block(&mut frame, &code.function.body, Some(state));
        let result = frame.result.unwrap_or(Value::Unknown);
        self.results.insert(call, result.clone());
        result
    }

    /// What is known after `block`; nothing if its end is never reached.
    fn block(
        &mut self,
        frame: &mut Frame<'a>,
        block: &'a Block,
        mut state: Option<State>,
    ) -> Option<State> {
        for statement in block {
            state = self.statement(frame, statement, state?);
        }
        state
    }

    fn statement(
        &mut self,
        frame: &mut Frame<'a>,
        statement: &'a Statement,
        mut state: State,
    ) -> Option<State> {
        match statement {
            Statement::Emit(range) => {
                for expression in range.clone() {
                    let value = self.evaluate(frame, &state, expression);
                    state.set(expression, value);
                    match frame.code.function.expressions[expression] {
                        Expression::Load { pointer } => {
                            if let Some(variable) = whole(frame, pointer) {
                                state.loaded(expression, variable);
                            }
                        }
                        Expression::Access { base, index } => {
                            self.record(frame, &state, expression, base, index);
                        }
                        _ => {}
                    }
                }
            }
            Statement::Block(block) => return self.block(frame, block, Some(state)),
            Statement::If { condition, accept, reject } => {
                let yes = self.assume(frame, state.clone(), *condition, true);
                let no = self.assume(frame, state, *condition, false);
                let yes = self.block(frame, accept, yes);
                let no = self.block(frame, reject, no);
                return join(yes, no, &mut self.stores);
            }
            Statement::Switch { cases, .. } => {
                frame.exits.push(Exits::default());
                let (mut end, mut through) = (None, None);
                for case in cases {
                    let entry = join(Some(state.clone()), through.take(), &mut self.stores);
                    let after = self.block(frame, &case.body, entry);
                    let to = if case.fall_through { &mut through } else { &mut end };
                    *to = join(to.take(), after, &mut self.stores);
                }
                assert!(cases.iter().any(|case| case.value == SwitchValue::Default));
                let exits = frame.exits.pop().expect("it was pushed");
                return join(end, exits.breaks, &mut self.stores);
            }
            Statement::Loop { body, continuing, break_if } => {
                return self.repeat(frame, (body, continuing, *break_if), state);
            }
            Statement::Break => {
                let exits = frame.exits.last_mut().expect("in a loop or switch");
                exits.breaks = join(exits.breaks.take(), Some(state), &mut self.stores);
                return None;
            }
            Statement::Continue => {
                let exits = frame.exits.iter_mut().rfind(|exits| exits.is_loop).expect("a loop");
                exits.continues = join(exits.continues.take(), Some(state), &mut self.stores);
                return None;
            }
            Statement::Return { value } => {
                let value = value.map_or(Value::Unknown, |v| self.value(frame, &state, v));
                frame.result = Some(match frame.result.take() {
                    Some(other) => other.join(&value),
                    None => value,
                });
                return None;
            }
            Statement::Kill => return None,
            Statement::Store { pointer, value } => {
                let value = self.value(frame, &state, *value);
                self.store(frame, &mut state, *pointer, value);
            }
            Statement::Call { function, arguments, result } => {
                let values = arguments.iter().map(|a| self.value(frame, &state, *a)).collect();
                let code = Code {
                    function: &self.module.functions[*function],
                    info: &self.info[*function],
                    id: Some(*function),
                };
                let value = self.call(code, values);
                for variable in arguments.iter().filter_map(|a| root(frame, *a)) {
                    let any = self.any(frame, variable);
                    state.store(variable, any, &mut self.stores);
                }
                if let Some(result) = result {
                    state.set(*result, value);
                }
            }
            // The results of atomics and of subgroups may be anything, as they are unless set.
            _ => {}
        }
        Some(state)
    }

    /// A loop: its body, what continues it, and the condition that ends it.
    fn repeat(
        &mut self,
        frame: &mut Frame<'a>,
        of: (&'a Block, &'a Block, Option<Handle<Expression>>),
        start: State,
    ) -> Option<State> {
        let records = std::mem::replace(&mut self.records, false);
        let mut head = start.clone();
        for round in 0.. {
            let after = self.round(frame, of, head.clone()).0;
            let next = join(Some(start.clone()), after, &mut self.stores).expect("the start");
            let mut grown = head.clone().join(&next, &mut self.stores);
            if grown.same_variables(&head) {
                break;
            }
            if round > 1 {
                grown = head.clone();
                let mut stores = std::mem::take(&mut self.stores);
                grown.widen(&next, |variable| self.any(frame, variable), &mut stores);
                self.stores = stores;
            }
            head = grown;
        }
        // One more round from a state that no round leaves gives a smaller one.
        for _ in 0..2 {
            let after = self.round(frame, of, head).0;
            head = join(Some(start.clone()), after, &mut self.stores).expect("the start");
        }
        self.records = records;
        self.round(frame, of, head).1
    }

    /// A round of a loop: the state after it, and where the loop ends in it.
    fn round(
        &mut self,
        frame: &mut Frame<'a>,
        (body, continuing, break_if): (&'a Block, &'a Block, Option<Handle<Expression>>),
        head: State,
    ) -> (Option<State>, Option<State>) {
        frame.exits.push(Exits { is_loop: true, ..Exits::default() });
        let end = self.block(frame, body, Some(head));
        let continues = frame.exits.last_mut().expect("it was pushed").continues.take();
        let mut end = join(end, continues, &mut self.stores);
        end = self.block(frame, continuing, end);
        let mut exits = frame.exits.pop().expect("it was pushed");
        if let (Some(condition), Some(state)) = (break_if, end.clone()) {
            let leaves = self.assume(frame, state.clone(), condition, true);
            exits.breaks = join(exits.breaks.take(), leaves, &mut self.stores);
            end = self.assume(frame, state, condition, false);
        }
        (end, exits.breaks)
    }

    fn store(
        &mut self,
        frame: &Frame<'a>,
        state: &mut State,
        pointer: Handle<Expression>,
        value: Value,
    ) {
        let Some(variable) = root(frame, pointer) else { return };
        let old = state.variable(variable);
        let new = match (&frame.code.function.expressions[pointer], old) {
            (Expression::LocalVariable(_), _) => value,
            (Expression::AccessIndex { base, index }, Value::Parts(mut parts))
                if whole(frame, *base).is_some() =>
            {
                parts[*index as usize] = value;
                Value::Parts(parts)
            }
            (Expression::Access { base, .. }, Value::Parts(parts))
                if whole(frame, *base).is_some() =>
            {
                Value::Parts(parts.iter().map(|part| part.join(&value)).collect())
            }
            _ => self.any(frame, variable),
        };
        state.store(variable, new, &mut self.stores);
    }

    /// Any value of a variable's type.
    fn any(&self, frame: &Frame<'a>, variable: Handle<LocalVariable>) -> Value {
        let local = &frame.code.function.local_variables[variable];
        top(self.module, &self.module.types[local.ty].inner)
    }

    fn record(
        &mut self,
        frame: &Frame<'a>,
        state: &State,
        access: Handle<Expression>,
        base: Handle<Expression>,
        index: Handle<Expression>,
    ) {
        if !self.records {
            return;
        }
        let place = (frame.code.id.map(Handle::index), access.index());
        let inner = frame.code.info[base].ty.inner_with(&self.module.types);
        let Some(length) = parts_of_type(self.module, inner) else {
            self.of_buffers.insert(place);
            return;
        };
        let value = self.value(frame, state, index);
        let index = value.interval().unwrap_or(Interval::new(0, u32::MAX.into()));
        let span = frame.code.function.expressions.get_span(access).to_range().expect("a place");
        let text = self.text[span].to_owned();
        let entry = self.accesses.entry(place).or_insert(Access { text, index, length });
        entry.index = entry.index.join(index);
    }

    /// The value of an expression that was evaluated, or needs no evaluation.
    pub(super) fn value(
        &self,
        frame: &Frame<'a>,
        state: &State,
        expression: Handle<Expression>,
    ) -> Value {
        match state.value(expression) {
            Some(value) => value.clone(),
            None => self.evaluate(frame, state, expression),
        }
    }
}

/// The variable that `pointer` points to as a whole.
pub(super) fn whole(
    frame: &Frame<'_>,
    pointer: Handle<Expression>,
) -> Option<Handle<LocalVariable>> {
    match frame.code.function.expressions[pointer] {
        Expression::LocalVariable(variable) => Some(variable),
        _ => None,
    }
}

/// The variable that `pointer` points to, or into.
fn root(frame: &Frame<'_>, pointer: Handle<Expression>) -> Option<Handle<LocalVariable>> {
    match frame.code.function.expressions[pointer] {
        Expression::LocalVariable(variable) => Some(variable),
        Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => root(frame, base),
        _ => None,
    }
}
