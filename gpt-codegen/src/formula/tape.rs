//! Building a tape: each operation once, constants folded, stable forms in place of unstable ones.

use gpt_plan::{Formula, Node};

/// A tape under construction. Operands are indices that it returned.
#[derive(Default)]
pub struct Tape {
    nodes: Vec<Node>,
}

impl Tape {
    /// The index of `node`, simplified and in its stable form.
    pub fn push(&mut self, node: Node) -> u16 {
        match self.fold(node) {
            Folded::Node(node) => self.stable(node).unwrap_or_else(|| self.intern(node)),
            Folded::Known(index) => index,
        }
    }

    fn intern(&mut self, node: Node) -> u16 {
        let known = self.nodes.iter().position(|n| same(n, &node));
        let index = known.unwrap_or_else(|| {
            self.nodes.push(node);
            self.nodes.len() - 1
        });
        u16::try_from(index).unwrap_or(u16::MAX)
    }

    pub fn constant(&mut self, value: f64) -> u16 {
        self.intern(Node::Const(value))
    }

    /// The number of nodes. The parser limits it.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn node(&self, index: u16) -> Node {
        self.nodes[usize::from(index)]
    }

    /// The constant at `index`, if it is one.
    pub fn value(&self, index: u16) -> Option<f64> {
        match self.node(index) {
            Node::Const(c) => Some(c),
            _ => None,
        }
    }

    /// Simplifies a node. This changes no finite result, except the sign of a zero.
    fn fold(&mut self, node: Node) -> Folded {
        let operands = operands(&node);
        let values: Option<Vec<f64>> = operands.iter().map(|&i| self.value(i)).collect();
        if let Some(values) = values
            && !operands.is_empty()
        {
            return Folded::Node(Node::Const(apply(&node, &values)));
        }
        // Operands that commute are put in one order, so that `a + b` and `b + a` are one node.
        let node = match node {
            Node::Add(a, b) if a > b => Node::Add(b, a),
            Node::Mul(a, b) if a > b => Node::Mul(b, a),
            _ => node,
        };
        let (zero, one) = (|i| self.value(i) == Some(0.0), |i| self.value(i) == Some(1.0));
        let known = match node {
            Node::Add(a, b) if zero(a) => b,
            Node::Add(a, b) | Node::Sub(a, b) if zero(b) => a,
            Node::Sub(a, b) if zero(a) => return Folded::Known(self.push(Node::Neg(b))),
            Node::Mul(a, b) if zero(a) || zero(b) => return Folded::Node(Node::Const(0.0)),
            Node::Mul(a, b) if one(a) => b,
            Node::Mul(a, b) | Node::Div(a, b) if one(b) => a,
            Node::Div(a, _) if zero(a) => return Folded::Node(Node::Const(0.0)),
            Node::Powi(a, 1) => a,
            Node::Powi(_, 0) => return Folded::Node(Node::Const(1.0)),
            Node::Select(_, a, b) if a == b => a,
            Node::Select(c, a, b)
                if one(a) && zero(b) && matches!(self.node(c), Node::Greater(..)) =>
            {
                c
            }
            Node::Neg(a) => match self.node(a) {
                Node::Neg(b) => b,
                Node::Sub(b, c) => return Folded::Known(self.push(Node::Sub(c, b))),
                Node::Mul(b, c) if self.value(b).or(self.value(c)).is_some() => {
                    let (factor, rest) = match self.value(b) {
                        Some(factor) => (factor, c),
                        None => (self.value(c).expect("one of them is constant"), b),
                    };
                    let factor = self.constant(-factor);
                    return Folded::Known(self.push(Node::Mul(factor, rest)));
                }
                _ => return Folded::Node(node),
            },
            _ => return Folded::Node(node),
        };
        Folded::Known(known)
    }

    /// The formula whose value is node `last`, with the nodes that it needs.
    pub fn finish(&self, last: u16) -> Formula {
        let mut needed = vec![false; self.nodes.len()];
        needed[usize::from(last)] = true;
        for i in (0..=usize::from(last)).rev() {
            if needed[i] {
                operands(&self.nodes[i]).into_iter().for_each(|o| needed[usize::from(o)] = true);
            }
        }
        let mut moved = vec![0u16; self.nodes.len()];
        let mut nodes = Vec::new();
        for i in (0..=usize::from(last)).filter(|&i| needed[i]) {
            moved[i] = nodes.len() as u16;
            nodes.push(renumbered(self.nodes[i], |o| moved[usize::from(o)]));
        }
        Formula { nodes: nodes.into() }
    }
}

enum Folded {
    Node(Node),
    /// The index of an earlier node.
    Known(u16),
}

/// Whether two nodes are equal. Constants are compared bit by bit, so -0 and 0 differ.
fn same(a: &Node, b: &Node) -> bool {
    match (a, b) {
        (Node::Const(a), Node::Const(b)) => a.to_bits() == b.to_bits(),
        _ => a == b,
    }
}

/// The nodes that `node` refers to.
pub fn operands(node: &Node) -> Vec<u16> {
    let mut operands = Vec::new();
    renumbered(*node, |operand| {
        operands.push(operand);
        operand
    });
    operands
}

fn renumbered(node: Node, mut new: impl FnMut(u16) -> u16) -> Node {
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
        Node::Select(c, a, b) => Node::Select(new(c), new(a), new(b)),
        Node::Neg(a) => Node::Neg(new(a)),
        Node::Exp(a) => Node::Exp(new(a)),
        Node::ExpM1(a) => Node::ExpM1(new(a)),
        Node::Ln(a) => Node::Ln(new(a)),
        Node::Sigmoid(a) => Node::Sigmoid(new(a)),
        Node::Softplus(a) => Node::Softplus(new(a)),
        Node::Sqrt(a) => Node::Sqrt(new(a)),
        Node::Tanh(a) => Node::Tanh(new(a)),
        Node::Sin(a) => Node::Sin(new(a)),
        Node::Cos(a) => Node::Cos(new(a)),
        Node::Abs(a) => Node::Abs(new(a)),
        Node::Powi(a, n) => Node::Powi(new(a), n),
    }
}

/// `node` on constant operands, as [`Formula::eval`] computes it.
fn apply(node: &Node, values: &[f64]) -> f64 {
    let mut nodes: Vec<Node> = values.iter().map(|&v| Node::Const(v)).collect();
    let mut next = 0;
    nodes.push(renumbered(*node, |_| {
        next += 1;
        next - 1
    }));
    Formula { nodes: nodes.into() }.eval(0.0)
}
