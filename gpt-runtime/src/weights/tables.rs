//! Constant tables that files leave out: sinusoidal positions and rotary angles.
//!
//! Angles are f64 until their sine is taken, because in f32 `position * frequency` loses its
//! fraction well before the end of a context.

use gpt_plan::Spec;

/// Computes the sinusoidal embedding of `position` (Vaswani et al. 2017), a row of a tensor with
/// `Init::Sinusoidal`.
pub(super) fn sinusoidal(position: usize, row: &mut [f32]) {
    let embed = row.len() as f64;
    for (column, x) in row.iter_mut().enumerate() {
        let angle = position as f64 / 10000f64.powf((column - column % 2) as f64 / embed);
        let value = if column % 2 == 0 { angle.sin() } else { angle.cos() };
        *x = value as f32;
    }
}

/// The (cosine, sine) of each rotary angle, `[context, bases, head_dim / 2]`. Empty for models
/// without rotary positions.
pub(crate) fn rotary(spec: &Spec) -> Vec<[f32; 2]> {
    let head_dim = f64::from(spec.head_dim);
    let bases = spec.rotary_bases();
    let frequencies: Vec<f64> = bases
        .iter()
        .flat_map(|theta| {
            (0..spec.head_dim / 2).map(move |i| theta.powf(-2.0 * f64::from(i) / head_dim))
        })
        .collect();
    let angles = (0..spec.context)
        .flat_map(|position| frequencies.iter().map(move |f| f64::from(position) * f));
    angles.map(|a| [a.cos() as f32, a.sin() as f32]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sinusoidal_table_follows_the_paper() {
        let mut row = [0.0; 6];
        sinusoidal(3, &mut row);
        let angle = |i: f64| 3.0 / 10000f64.powf(i / 6.0);
        let expected = [0.0, 2.0, 4.0].map(|i| [angle(i).sin() as f32, angle(i).cos() as f32]);
        assert_eq!(row.as_slice(), expected.as_flattened());
    }
}
