//! The gradient of linear layers.

use crate::{Linear, Matrix};

/// The gradients of `y = x Wᵀ`: `dy W` for `x`, `dyᵀ x` for `W`.
pub fn matrix_backward(x: &Matrix, weight: &Matrix, d: &Matrix) -> (Matrix, Matrix) {
    let d_x = Matrix::from_fn(x.rows, x.columns, |row, column| {
        let d = d.row(row).iter().enumerate();
        d.map(|(out, d)| d * weight.row(out)[column]).sum()
    });
    let d_weight = Matrix::from_fn(weight.rows, weight.columns, |out, column| {
        let rows = 0..x.rows;
        rows.map(|row| d.row(row)[out] * x.row(row)[column]).sum()
    });
    (d_x, d_weight)
}

/// The gradient of a linear layer. The bias's gradient is the sum of all rows of `d`.
/// Fills `gradient` and returns the gradient of `x`.
pub fn linear_backward(x: &Matrix, layer: &Linear, d: &Matrix, gradient: &mut Linear) -> Matrix {
    let (d_x, d_weight) = matrix_backward(x, &layer.weight, d);
    gradient.weight = d_weight;
    gradient.bias = layer.bias.as_ref().map(|_| d.sum_of_rows());
    d_x
}
