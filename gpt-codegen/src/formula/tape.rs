//! Building a tape: every operation once, constants folded, what is neutral left out.

use gpt_plan::{Formula, Node};

/// A tape in the making. Operands are indices that it handed out.
#[derive(Default)]
pub struct Tape {
    nodes: Vec<Node>,
}

impl Tape {
    /// The index of `node`, folded where its operands are constants.
    pub fn push(&mut self, node: Node) -> u16 {
        let node = self.fold(node);
        let known = self.nodes.iter().position(|n| same(n, &node));
        let index = known.unwrap_or_else(|| {
            self.nodes.push(node);
            self.nodes.len() - 1
        });
        u16::try_from(index).unwrap_or(u16::MAX)
    }

    pub fn constant(&mut self, value: f64) -> u16 {
        self.push(Node::Const(value))
    }

    /// Too many for an index, or for an engine.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn node(&self, index: u16) -> Node {
        self.nodes[usize::from(index)]
    }

    fn value(&self, index: u16) -> Option<f64> {
        match self.node(index) {
            Node::Const(c) => Some(c),
            _ => None,
        }
    }

    fn fold(&self, node: Node) -> Node {
        let operands = operands(&node);
        let values: Option<Vec<f64>> = operands.iter().map(|&i| self.value(i)).collect();
        if let Some(values) = values
            && !operands.is_empty()
        {
            return Node::Const(apply(&node, &values));
        }
        // The order of commuting operands must not make two operations of one.
        let node = match node {
            Node::Add(a, b) if a > b => Node::Add(b, a),
            Node::Mul(a, b) if a > b => Node::Mul(b, a),
            _ => node,
        };
        let (zero, one) = (
            |i| self.value(i) == Some(0.0),
            |i| self.value(i) == Some(1.0),
        );
        match node {
            Node::Add(a, b) if zero(a) => self.node(b),
            Node::Add(a, b) | Node::Sub(a, b) if zero(b) => self.node(a),
            Node::Sub(a, b) if zero(a) => Node::Neg(b),
            Node::Mul(a, b) if zero(a) || zero(b) => Node::Const(0.0),
            Node::Mul(a, b) if one(a) => self.node(b),
            Node::Mul(a, b) | Node::Div(a, b) if one(b) => self.node(a),
            Node::Div(a, _) if zero(a) => Node::Const(0.0),
            Node::Neg(a) => match self.node(a) {
                Node::Neg(b) => self.node(b),
                _ => node,
            },
            Node::Powi(a, 1) => self.node(a),
            Node::Powi(_, 0) => Node::Const(1.0),
            _ => node,
        }
    }

    /// The formula whose value is node `last`: only what it needs.
    pub fn finish(&self, last: u16) -> Formula {
        let mut needed = vec![false; self.nodes.len()];
        needed[usize::from(last)] = true;
        for i in (0..=usize::from(last)).rev() {
            if needed[i] {
                operands(&self.nodes[i])
                    .into_iter()
                    .for_each(|o| needed[usize::from(o)] = true);
            }
        }
        let mut moved = vec![0u16; self.nodes.len()];
        let mut nodes = Vec::new();
        for i in (0..=usize::from(last)).filter(|&i| needed[i]) {
            moved[i] = nodes.len() as u16;
            nodes.push(renumbered(self.nodes[i], |o| moved[usize::from(o)]));
        }
        Formula {
            nodes: nodes.into(),
        }
    }
}

/// Equal, and for constants equal bit by bit, so that -0 stays apart from 0.
fn same(a: &Node, b: &Node) -> bool {
    match (a, b) {
        (Node::Const(a), Node::Const(b)) => a.to_bits() == b.to_bits(),
        _ => a == b,
    }
}

/// The nodes that `node` refers to.
pub fn operands(node: &Node) -> Vec<u16> {
    match *node {
        Node::X | Node::Const(_) => Vec::new(),
        Node::Add(a, b)
        | Node::Sub(a, b)
        | Node::Mul(a, b)
        | Node::Div(a, b)
        | Node::Max(a, b)
        | Node::Min(a, b)
        | Node::Greater(a, b) => {
            vec![a, b]
        }
        Node::Neg(a)
        | Node::Exp(a)
        | Node::Ln(a)
        | Node::Sqrt(a)
        | Node::Tanh(a)
        | Node::Sin(a)
        | Node::Cos(a)
        | Node::Abs(a)
        | Node::Powi(a, _) => {
            vec![a]
        }
    }
}

fn renumbered(node: Node, new: impl Fn(u16) -> u16) -> Node {
    match node {
        Node::X => Node::X,
        Node::Const(c) => Node::Const(c),
        Node::Add(a, b) => Node::Add(new(a), new(b)),
        Node::Sub(a, b) => Node::Sub(new(a), new(b)),
        Node::Mul(a, b) => Node::Mul(new(a), new(b)),
        Node::Div(a, b) => Node::Div(new(a), new(b)),
        Node::Max(a, b) => Node::Max(new(a), new(b)),
        Node::Min(a, b) => Node::Min(new(a), new(b)),
        Node::Greater(a, b) => Node::Greater(new(a), new(b)),
        Node::Neg(a) => Node::Neg(new(a)),
        Node::Exp(a) => Node::Exp(new(a)),
        Node::Ln(a) => Node::Ln(new(a)),
        Node::Sqrt(a) => Node::Sqrt(new(a)),
        Node::Tanh(a) => Node::Tanh(new(a)),
        Node::Sin(a) => Node::Sin(new(a)),
        Node::Cos(a) => Node::Cos(new(a)),
        Node::Abs(a) => Node::Abs(new(a)),
        Node::Powi(a, n) => Node::Powi(new(a), n),
    }
}

/// `node` on constant operands, as [`Formula::eval`] does it.
fn apply(node: &Node, values: &[f64]) -> f64 {
    let mut nodes: Vec<Node> = values.iter().map(|&v| Node::Const(v)).collect();
    let order = operands(node);
    nodes.push(renumbered(*node, |o| {
        order.iter().position(|&p| p == o).unwrap_or(0) as u16
    }));
    Formula {
        nodes: nodes.into(),
    }
    .eval(0.0)
}
