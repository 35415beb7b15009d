//! Norms: of the residual stream, and of queries and keys.

use serde::Serialize;

use crate::{Role, Spec};

/// The kind of a norm and its parameters.
#[derive(Clone, Copy, Debug, Serialize, PartialEq)]
pub struct Norm {
    /// LayerNorm or RMSNorm.
    pub kind: NormKind,
    /// Added to the variance, or to the mean of squares.
    pub eps: f64,
    /// Whether the norm has parameters: a scale, and a shift if it is a LayerNorm with a bias.
    pub affine: bool,
    /// Whether a LayerNorm with parameters has a shift; `None` uses the `bias` of the spec.
    pub bias: Option<bool>,
    /// Whether safetensors files store `gamma - 1`. The model holds `gamma`.
    pub unit_offset: bool,
}

impl Default for Norm {
    /// A LayerNorm with parameters, whose epsilon is not set.
    fn default() -> Norm {
        Norm { kind: NormKind::Layer, eps: 0.0, affine: true, bias: None, unit_offset: false }
    }
}

/// The kind of a norm.
#[derive(Clone, Copy, Debug, Default, Serialize, PartialEq, Eq)]
pub enum NormKind {
    /// LayerNorm: `(x - mean) / sqrt(var + eps) * gamma + beta`, Ba et al. 2016.
    #[default]
    Layer,
    /// RMSNorm: `x / sqrt(mean(x^2) + eps) * gamma`, Zhang and Sennrich 2019.
    Rms,
}

/// The norm of queries and keys.
#[derive(Clone, Copy, Debug, Serialize, PartialEq)]
pub struct QkNorm {
    /// The norm, with its own epsilon and parameters.
    pub norm: Norm,
    /// The elements that are normalised together, and those that share parameters.
    pub over: NormGroups,
}

/// The groups that a norm of queries and keys normalises.
#[derive(Clone, Copy, Debug, Default, Serialize, PartialEq, Eq)]
pub enum NormGroups {
    /// Each head. All heads of queries share parameters, and so do all heads of keys (Qwen 3, Gemma
    /// 3).
    #[default]
    Head,
    /// Each head, with its own parameters (Cohere).
    EachHead,
    /// All heads of queries together, and all heads of keys together (OLMo 2).
    Width,
}

/// The groups of a row of queries and keys that are normalised, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QkGroups {
    /// Groups of queries.
    pub q: u32,
    /// Groups of keys.
    pub k: u32,
    /// Elements of a group of queries.
    pub q_width: u32,
    /// Elements of a group of keys.
    pub k_width: u32,
    /// Elements of the norm's scale, for queries and keys together.
    pub parameters: u32,
    /// Whether all groups of queries share parameters, and so do all groups of keys.
    pub shared: bool,
}

impl QkGroups {
    /// Groups of queries and keys.
    pub const fn count(&self) -> u32 {
        self.q + self.k
    }

    /// The first element of group `group` in a row, its width, and its first parameter.
    pub const fn group(&self, group: u32) -> [u32; 3] {
        let q_end = self.q * self.q_width;
        let (start, width, parameter) = match group < self.q {
            true => (group * self.q_width, self.q_width, 0),
            false => (q_end + (group - self.q) * self.k_width, self.k_width, self.q_width),
        };
        [start, width, if self.shared { parameter } else { start }]
    }
}

impl Spec {
    /// Whether `norm` has a `beta`.
    pub const fn norm_bias(&self, norm: &Norm) -> bool {
        let bias = match norm.bias {
            Some(bias) => bias,
            None => self.bias,
        };
        bias && norm.affine && matches!(norm.kind, NormKind::Layer)
    }

    /// The norm of tensors with the role `role`.
    pub const fn norm_of(&self, role: Role) -> Norm {
        match (role, &self.qk_norm) {
            (Role::QkNorm, Some(own)) => own.norm,
            _ => self.norm,
        }
    }

    /// The geometry of the norm of queries and keys, if there is one.
    pub const fn qk_groups(&self) -> Option<QkGroups> {
        let Some(QkNorm { over, .. }) = self.qk_norm else {
            return None;
        };
        let heads = QkGroups {
            q: self.heads,
            k: self.kv_heads,
            q_width: self.head_dim,
            k_width: self.head_dim,
            parameters: 2 * self.head_dim,
            shared: true,
        };
        let parameters = self.q_width() + self.kv_width();
        Some(match over {
            NormGroups::Head => heads,
            NormGroups::EachHead => QkGroups { parameters, shared: false, ..heads },
            NormGroups::Width => QkGroups {
                q: 1,
                k: 1,
                q_width: self.q_width(),
                k_width: self.kv_width(),
                parameters,
                shared: false,
            },
        })
    }
}
