//! What a training kernel reads and writes: the bindings of group 1, as the files under `shaders/wgsl/train/` declare them, and its workgroups.

use gpt_plan::{
    BufferId, Epilogue, Heads, Kernel, NormRef, Op, Projection, Slot, Statistics, TRAIN_COLUMNS,
    TRAIN_ROWS, TensorId,
};

/// Something that can be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    Slot(Slot),
    /// A vector, or its gradient.
    Vector(TensorId),
    VectorGradient(TensorId),
    /// The piece of the step's matrix that the dispatch works on, or of its gradient; the counterpart in the half that a gate lets through.
    Piece,
    SecondPiece,
    PieceGradient,
    /// Positions, learned or computed, or rotary angles.
    Table,
}

/// A binding: its number, what is there, whether it is written.
pub type Binding = (u32, Bound, bool);

/// Workgroups of a dispatch.
#[derive(Clone, Copy, Debug)]
pub enum Extent {
    /// So many along x, and one for every so many rows of the pass along y.
    Rows(u32, u32),
    /// Heads along x, so many tokens of a sequence along y, sequences along z.
    Sequences(u32, u32),
    /// One for each token of a sequence along y.
    Tokens,
    Fixed(u32, u32),
}

impl Extent {
    pub fn groups(self, rows: u32, tokens: u32) -> [u32; 3] {
        match self {
            Extent::Rows(x, each) => [x, rows.div_ceil(each), 1],
            Extent::Sequences(x, each) => [x, tokens.div_ceil(each), rows / tokens],
            Extent::Tokens => [1, tokens, 1],
            Extent::Fixed(x, y) => [x, y, 1],
        }
    }
}

/// One dispatch of a step, for one piece of its matrix if it has one.
pub struct Work {
    pub bindings: Vec<Binding>,
    /// The matrix whose pieces are worked on one after the other.
    pub matrix: Option<TensorId>,
    /// Whether pieces add up: then all but the first add to what is there.
    pub adds: bool,
    /// How the workgroups follow from the kernel, and from the rows of a piece.
    pub extent: fn(&Kernel, u32) -> Extent,
}

fn of_rows(kernel: &Kernel, _: u32) -> Extent {
    Extent::Rows(kernel.groups, kernel.tile_rows)
}

fn of_sequences(kernel: &Kernel, _: u32) -> Extent {
    Extent::Sequences(kernel.groups, kernel.tile_rows)
}

fn of_columns(kernel: &Kernel, _: u32) -> Extent {
    Extent::Fixed(kernel.groups, kernel.tile_rows)
}

fn of_features(_: &Kernel, piece: u32) -> Extent {
    Extent::Rows(piece.div_ceil(TRAIN_COLUMNS), TRAIN_ROWS)
}

/// A workgroup makes both of a pair of features.
fn of_halves(_: &Kernel, piece: u32) -> Extent {
    Extent::Rows(piece.div_ceil(TRAIN_COLUMNS / 2), TRAIN_ROWS)
}

fn of_weights(kernel: &Kernel, piece: u32) -> Extent {
    Extent::Fixed(kernel.groups, piece.div_ceil(TRAIN_ROWS))
}

fn of_tokens(_: &Kernel, _: u32) -> Extent {
    Extent::Tokens
}

fn read(binding: u32, slot: Slot) -> Binding {
    (binding, Bound::Slot(slot), false)
}

fn write(binding: u32, slot: Slot) -> Binding {
    (binding, Bound::Slot(slot), true)
}

fn plain(bindings: Vec<Binding>) -> Work {
    Work {
        bindings,
        matrix: None,
        adds: false,
        extent: of_rows,
    }
}

fn scale_and_shift(norm: NormRef) -> impl Iterator<Item = Binding> {
    let beta = norm.beta.map(|beta| (2, Bound::Vector(beta), false));
    std::iter::once((1, Bound::Vector(norm.gamma), false)).chain(beta)
}

/// A product on the way forward: input, matrix, bias, then what `rest` says.
fn forward(
    weight: TensorId,
    bias: Option<TensorId>,
    input: Slot,
    rest: impl IntoIterator<Item = Binding>,
) -> Work {
    let mut bindings = vec![read(0, input), (1, Bound::Piece, false)];
    bindings.extend(bias.map(|bias| (3, Bound::Vector(bias), false)));
    bindings.extend(rest);
    Work {
        bindings,
        matrix: Some(weight),
        adds: false,
        extent: of_features,
    }
}

/// The dispatches of `op`, one for each kernel of its step.
pub fn works(op: &Op) -> Vec<Work> {
    let angles = |rotary: bool| rotary.then_some((6, Bound::Table, false));
    match *op {
        Op::Embed {
            table,
            positions,
            out,
        } => {
            let tokens = BufferId::Tokens.here();
            let mut bindings = vec![read(0, tokens), (1, Bound::Piece, false)];
            bindings.extend(positions.map(|_| (2, Bound::Table, false)));
            bindings.push(write(4, out));
            vec![Work {
                matrix: Some(table),
                ..plain(bindings)
            }]
        }
        Op::Norm {
            norm,
            x,
            stats,
            out,
            statistics,
        } => {
            let stats = match statistics {
                Statistics::Compute => write(3, stats),
                Statistics::Stored => read(3, stats),
            };
            let mut bindings = vec![read(0, x), stats, write(4, out)];
            bindings.extend(scale_and_shift(norm));
            vec![plain(bindings)]
        }
        Op::Project(ref projection) => vec![project(projection)],
        Op::CrossEntropy { logits, losses } => vec![plain(vec![
            write(0, logits),
            read(1, BufferId::Targets.here()),
            write(2, losses),
        ])],
        Op::DropoutBackward { dy, out, .. } => vec![plain(vec![read(0, dy), write(4, out)])],
        Op::Add { a, b, out } => {
            assert_eq!(a, out, "a sum replaces its first term");
            vec![plain(vec![read(0, b), write(4, out)])]
        }
        Op::ProjectInput {
            weight,
            dy,
            slopes,
            out,
        } => {
            let mut bindings = vec![read(0, dy), (1, Bound::Piece, false), write(4, out)];
            bindings.extend(slopes.map(|slopes| read(5, slopes)));
            vec![Work {
                matrix: Some(weight),
                adds: true,
                ..plain(bindings)
            }]
        }
        Op::ProjectWeight {
            weight,
            bias,
            dy,
            input,
        } => {
            let product = Work {
                bindings: vec![read(0, dy), read(1, input), (2, Bound::PieceGradient, true)],
                matrix: Some(weight),
                adds: false,
                extent: of_weights,
            };
            let bias = bias.map(|bias| Work {
                extent: of_columns,
                ..plain(vec![read(0, dy), (1, Bound::VectorGradient(bias), true)])
            });
            std::iter::once(product).chain(bias).collect()
        }
        Op::NormInput {
            norm,
            x,
            stats,
            dy,
            dy_residual,
            residual,
            out,
        } => {
            assert!(
                dy_residual.or(residual).is_none_or(|slot| slot == out),
                "a gradient of the stream replaces the one that comes in"
            );
            vec![plain(vec![
                read(0, x),
                (1, Bound::Vector(norm.gamma), false),
                read(2, dy),
                read(3, stats),
                write(4, out),
            ])]
        }
        Op::NormWeight {
            norm,
            x,
            stats,
            dy,
            dy_residual,
        } => {
            let mut bindings = vec![read(0, x), read(1, stats), read(2, dy)];
            bindings.extend(dy_residual.map(|slot| read(3, slot)));
            bindings.push((4, Bound::VectorGradient(norm.gamma), true));
            bindings.extend(norm.beta.map(|beta| (5, Bound::VectorGradient(beta), true)));
            vec![Work {
                extent: of_columns,
                ..plain(bindings)
            }]
        }
        Op::Attention {
            heads: Heads::Fused { qkv },
            out,
            lse: Some(lse),
            ..
        } => vec![Work {
            extent: of_sequences,
            ..plain(vec![read(0, qkv), write(1, lse), write(4, out)])
        }],
        Op::Attention { .. } => unreachable!("training has no cache"),
        Op::AttentionBackward {
            qkv,
            rotary,
            out,
            lse,
            dout,
            delta,
            dqkv,
            ..
        } => {
            let back = || {
                let mut bindings = vec![
                    read(0, qkv),
                    read(1, lse),
                    read(2, delta),
                    read(3, dout),
                    write(4, dqkv),
                ];
                bindings.extend(angles(rotary));
                Work {
                    extent: of_sequences,
                    ..plain(bindings)
                }
            };
            let delta = plain(vec![read(0, out), read(1, dout), write(4, delta)]);
            vec![delta, back(), back()]
        }
        Op::EmbedBackward {
            table,
            positions,
            dx,
        } => {
            let tokens = Work {
                bindings: vec![
                    read(0, BufferId::Tokens.here()),
                    read(1, dx),
                    (2, Bound::PieceGradient, true),
                ],
                matrix: Some(table),
                adds: false,
                extent: of_columns,
            };
            let positions = positions.map(|positions| Work {
                extent: of_tokens,
                ..plain(vec![
                    read(0, dx),
                    (1, Bound::VectorGradient(positions), true),
                ])
            });
            std::iter::once(tokens).chain(positions).collect()
        }
    }
}

/// The dispatch of a projection.
fn project(projection: &Projection) -> Work {
    let Projection {
        input,
        weight,
        bias,
        ..
    } = *projection;
    let mut extent: fn(&Kernel, u32) -> Extent = of_features;
    let rest = match projection.epilogue {
        Epilogue::Store { out } => vec![write(4, out)],
        Epilogue::Heads {
            heads: Heads::Fused { qkv },
            rotary,
        } => {
            let angles = rotary.then_some((6, Bound::Table, false));
            std::iter::once(write(4, qkv)).chain(angles).collect()
        }
        Epilogue::Heads { .. } => unreachable!("training has no cache"),
        Epilogue::Activation { gated, out, slopes } => {
            let mut rest = vec![write(4, out)];
            rest.extend(slopes.map(|slopes| write(5, slopes)));
            if gated {
                extent = of_halves;
                rest.push((2, Bound::SecondPiece, false));
            }
            rest
        }
        Epilogue::Residual { residual, out, .. } => vec![write(4, out), read(5, residual)],
    };
    Work {
        extent,
        ..forward(weight, bias, input, rest)
    }
}
