//! Parameters and rows whose shapes are part of their types.
//!
//! `gpt_model!` writes a constant for each trained tensor of a model: a [`Parameter`], or a
//! [`LayerParameter`] for a tensor of the layers. Their shapes are compared with the plan when the
//! model is compiled. A trainer reads and replaces the values as a [`Matrix`] of the same shape. A
//! [`Row`] is an array as wide as a model's logits or hidden states.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use gpt_plan::{Component, Place, Plan, Role, Tensor, TensorId, elements};

/// A parameter of model `M`, `[ROWS, COLUMNS]`. A vector has one column.
pub struct Parameter<M, const ROWS: usize, const COLUMNS: usize> {
    id: TensorId,
    layer: u32,
    brand: PhantomData<fn() -> M>,
}

/// A parameter of the layers of model `M`, `[ROWS, COLUMNS]` in each. A vector has one column.
pub struct LayerParameter<M, const ROWS: usize, const COLUMNS: usize> {
    id: TensorId,
    /// The first layer that has the parameter.
    first: u32,
    /// The number of layers of the model.
    end: u32,
    brand: PhantomData<fn() -> M>,
}

impl<M, const ROWS: usize, const COLUMNS: usize> Parameter<M, ROWS, COLUMNS> {
    /// The tensor with this role and component.
    ///
    /// # Panics
    /// Panics if the plan has no such tensor, if its shape differs, or if it is a tensor of a
    /// layer. In a constant, a panic is a compile error.
    #[doc(hidden)]
    pub const fn new(plan: &Plan, role: Role, component: Component) -> Self {
        let (id, tensor) = find(plan, role, component);
        check_shape(tensor, ROWS, COLUMNS);
        assert!(matches!(tensor.place, Place::Model), "the tensor is one of a layer");
        Parameter { id, layer: 0, brand: PhantomData }
    }

    /// The tensor in the model's plan.
    pub const fn id(self) -> TensorId {
        self.id
    }

    /// The layer of the tensor; 0 for a tensor of the model.
    pub const fn layer(self) -> u32 {
        self.layer
    }
}

impl<M, const ROWS: usize, const COLUMNS: usize> LayerParameter<M, ROWS, COLUMNS> {
    /// Like [`Parameter::new`], for a tensor of a layer.
    #[doc(hidden)]
    pub const fn new(plan: &Plan, role: Role, component: Component) -> Self {
        let (id, tensor) = find(plan, role, component);
        check_shape(tensor, ROWS, COLUMNS);
        let Place::Layers { first } = tensor.place else {
            panic!("the tensor does not belong to a layer");
        };
        LayerParameter { id, first, end: plan.spec.layers, brand: PhantomData }
    }

    /// The parameter of `layer`.
    ///
    /// # Panics
    /// Panics if the model has no such layer, or if the layer has no such parameter: the first
    /// layer of a post-norm model has no attention norm. In a constant, a panic is a compile error.
    pub const fn layer(self, layer: u32) -> Parameter<M, ROWS, COLUMNS> {
        assert!(
            self.first <= layer && layer < self.end,
            "the model has no such parameter in this layer"
        );
        Parameter { id: self.id, layer, brand: PhantomData }
    }
}

// Derived impls would require `M: Copy`.
impl<M, const ROWS: usize, const COLUMNS: usize> Clone for Parameter<M, ROWS, COLUMNS> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M, const ROWS: usize, const COLUMNS: usize> Copy for Parameter<M, ROWS, COLUMNS> {}

impl<M, const ROWS: usize, const COLUMNS: usize> Clone for LayerParameter<M, ROWS, COLUMNS> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M, const ROWS: usize, const COLUMNS: usize> Copy for LayerParameter<M, ROWS, COLUMNS> {}

/// Like [`Plan::role`], as a `const fn`. Also returns the tensor.
const fn find(plan: &Plan, role: Role, component: Component) -> (TensorId, &Tensor) {
    let tensors = elements(&plan.tensors);
    let mut i = 0;
    while i < tensors.len() {
        let tensor = &tensors[i];
        if tensor.role as u8 == role as u8 && tensor.component as u8 == component as u8 {
            return (TensorId(i as u16), tensor);
        }
        i += 1;
    }
    panic!("the model has no such tensor")
}

const fn check_shape(tensor: &Tensor, rows: usize, columns: usize) {
    assert!(
        tensor.rows as usize == rows && tensor.columns as usize == columns,
        "the shape of the parameter differs from its tensor's"
    );
}

/// The values of a parameter, row after row. Derefs to its rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix<const ROWS: usize, const COLUMNS: usize> {
    /// `ROWS * COLUMNS` elements.
    values: Vec<f32>,
}

impl<const ROWS: usize, const COLUMNS: usize> Matrix<ROWS, COLUMNS> {
    /// A matrix of zeros.
    pub fn zeros() -> Self {
        Matrix { values: vec![0.0; ROWS * COLUMNS] }
    }

    /// A matrix with a copy of `rows`.
    pub fn from_rows(rows: &[[f32; COLUMNS]; ROWS]) -> Self {
        Matrix { values: rows.as_flattened().to_vec() }
    }
}

impl<const ROWS: usize, const COLUMNS: usize> Deref for Matrix<ROWS, COLUMNS> {
    type Target = [[f32; COLUMNS]];

    fn deref(&self) -> &Self::Target {
        self.values.as_chunks().0
    }
}

impl<const ROWS: usize, const COLUMNS: usize> DerefMut for Matrix<ROWS, COLUMNS> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.values.as_chunks_mut().0
    }
}

/// An array of numbers: `[f32; N]`.
pub trait Row: sealed::Row + 'static {}

impl<const N: usize> Row for [f32; N] {}

pub(crate) mod sealed {
    pub trait Row: Sized {
        /// The rows in `values`, whose length is a multiple of a row's.
        fn rows(values: &[f32]) -> &[Self];
    }

    impl<const N: usize> Row for [f32; N] {
        fn rows(values: &[f32]) -> &[Self] {
            values.as_chunks().0
        }
    }
}
