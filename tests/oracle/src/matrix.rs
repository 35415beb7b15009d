//! A row-major f64 matrix with the two products of a GPT, written for clarity and not for speed.

/// `[rows, columns]`, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Number of rows: tokens of an activation, output features of a weight.
    pub rows: usize,
    /// Length of a row.
    pub columns: usize,
    /// `rows * columns` values.
    pub values: Vec<f64>,
}

impl Matrix {
    /// The matrix whose element `(row, column)` is `value(row, column)`.
    pub fn from_fn(
        rows: usize,
        columns: usize,
        mut value: impl FnMut(usize, usize) -> f64,
    ) -> Matrix {
        let mut values = Vec::with_capacity(rows * columns);
        for row in 0..rows {
            for column in 0..columns {
                values.push(value(row, column));
            }
        }
        Matrix { rows, columns, values }
    }

    /// The matrix with these rows of length `columns`.
    pub fn from_rows(columns: usize, rows: impl IntoIterator<Item = Vec<f64>>) -> Matrix {
        let mut values = Vec::new();
        for row in rows {
            assert_eq!(row.len(), columns, "a row of the wrong length");
            values.extend(row);
        }
        Matrix { rows: values.len() / columns, columns, values }
    }

    /// Row `row`.
    pub fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.columns..][..self.columns]
    }

    /// All rows in order.
    pub fn iter_rows(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.columns)
    }

    /// A copy of the columns `from..to`.
    pub fn columns(&self, from: usize, to: usize) -> Matrix {
        Matrix::from_rows(to - from, self.iter_rows().map(|row| row[from..to].to_vec()))
    }

    /// The matrix with `f` applied to each row.
    pub fn map_rows(&self, f: impl Fn(&[f64]) -> Vec<f64>) -> Matrix {
        Matrix::from_rows(self.columns, self.iter_rows().map(f))
    }

    /// Every element times `factor`.
    pub fn scaled(&self, factor: f64) -> Matrix {
        self.map_rows(|row| row.iter().map(|x| factor * x).collect())
    }

    /// `f(self, other)` element by element.
    pub fn zip(&self, other: &Matrix, f: impl Fn(f64, f64) -> f64) -> Matrix {
        assert_eq!(
            (self.rows, self.columns),
            (other.rows, other.columns),
            "matrices of different shapes"
        );
        let values = self.values.iter().zip(&other.values);
        Matrix {
            rows: self.rows,
            columns: self.columns,
            values: values.map(|(&a, &b)| f(a, b)).collect(),
        }
    }

    /// A matrix of this shape, all zeros.
    pub fn zeros(&self) -> Matrix {
        Matrix::from_fn(self.rows, self.columns, |_, _| 0.0)
    }

    /// A mutable reference to element `(row, column)`.
    pub fn at(&mut self, row: usize, column: usize) -> &mut f64 {
        &mut self.values[row * self.columns + column]
    }

    /// Adds `values` to row `row`.
    pub fn add_to_row(&mut self, row: usize, values: &[f64]) {
        for (column, value) in values.iter().enumerate() {
            *self.at(row, column) += value;
        }
    }

    /// The sum of each column.
    pub fn sum_of_rows(&self) -> Vec<f64> {
        let column = |column: usize| self.iter_rows().map(|row| row[column]).sum();
        (0..self.columns).map(column).collect()
    }

    /// The sum, as in a residual connection.
    pub fn add(&self, other: &Matrix) -> Matrix {
        self.zip(other, |a, b| a + b)
    }
}

/// A linear layer: `weight · x + bias` for each row `x`. `weight` is `[out, in]`.
pub fn linear(input: &Matrix, weight: &Matrix, bias: Option<&[f64]>) -> Matrix {
    assert_eq!(input.columns, weight.columns, "a linear layer of another width");
    Matrix::from_fn(input.rows, weight.rows, |row, out| {
        dot(input.row(row), weight.row(out)) + bias.map_or(0.0, |bias| bias[out])
    })
}

/// The sum of the products.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len(), "vectors of different lengths");
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
