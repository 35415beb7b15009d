//! Values that are not finite, and values that a format cannot hold.
//!
//! If a tensor keeps its format, a NaN or an infinity is copied as it is. A conversion to any
//! format but f32 could lose it, or lose the numbers beside it, because a block of quants has one
//! scale. So such a conversion refuses it.

use gpt_plan::{Format, Place, Plan, TensorId};

use super::format::{decode, encode};
use super::{HostTensor, Weights};
use crate::Error;

/// The greatest finite f16.
const LARGEST_F16: f32 = 65_504.0;

/// The greatest magnitude that `format` can hold: the scale or the minimum of a block is an f16.
fn largest(format: Format) -> f32 {
    match format {
        Format::F32 => f32::MAX,
        // The greatest number that rounds to a finite one.
        Format::F16 => 65_519.0,
        Format::Bf16 => f32::from_bits(0x7F7F_7FFF),
        Format::Q4 | Format::Q5 => LARGEST_F16,
        Format::Q4K | Format::Q5K => 63.0 * LARGEST_F16,
        Format::Q8 | Format::Q6K => 127.0 * LARGEST_F16,
    }
}

/// Appends a row in `format` to `out`, as [`encode`] does. `name` returns the name of the tensor
/// for the error.
///
/// # Errors
/// Fails if the format cannot hold a value. Only f32 holds all values.
pub fn convert(
    format: Format,
    row: &[f32],
    out: &mut Vec<u8>,
    name: impl FnOnce() -> String,
) -> Result<(), Error> {
    let most = largest(format);
    // A NaN compares as false.
    let holds = |x: &f32| x.abs() <= most;
    if format != Format::F32
        && let Some(column) = row.iter().position(|x| !holds(x))
    {
        return Err(Error::weights(format!(
            "{} has {} in column {column}, which {} cannot hold; convert it to f32",
            name(),
            described(row[column]),
            format.name()
        )));
    }
    encode(format, row, out);
    Ok(())
}

fn described(x: f32) -> String {
    match x {
        x if x.is_nan() => "a NaN".to_owned(),
        x if x.is_infinite() => "an infinity".to_owned(),
        x => format!("the value {x:e}"),
    }
}

/// The name of a tensor in messages.
pub fn name(plan: &Plan, id: TensorId, layer: u32) -> String {
    let tensor = plan.tensor(id);
    match tensor.place {
        Place::Model => tensor.name.to_string(),
        Place::Layers { .. } => format!("{} of layer {layer}", tensor.name),
    }
}

/// Whether all values are finite.
pub fn are_finite(values: &[f32]) -> bool {
    // A value is NaN or infinite if all bits of its exponent are ones. The maximum of integers may
    // be taken in any order, so this compiles to vector instructions.
    let greatest = values.iter().fold(0, |most, x| (x.to_bits() & 0x7FFF_FFFF).max(most));
    greatest < 0x7F80_0000
}

/// The first tensor with a value that is not finite, as a clause such as `NAME has a NaN`.
///
/// # Errors
/// Fails if the weights cannot be read.
pub fn first_not_finite(plan: &Plan, weights: &dyn Weights) -> Result<Option<String>, Error> {
    for (id, layer) in plan.trained() {
        let HostTensor { format, columns, data, .. } = weights.tensor(id, layer)?;
        let mut row = vec![0.0; columns];
        for bytes in data.chunks(format.row_bytes(columns)) {
            decode(format, bytes, &mut row);
            if let Some(x) = row.iter().find(|x| !x.is_finite()) {
                return Ok(Some(format!("{} has {}", name(plan, id, layer), described(*x))));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::testing;

    /// A format holds the values that it accepts: they come back, to its precision.
    #[test]
    fn accepted_values_come_back() {
        for format in Format::ALL {
            for scale in [1e-3f32, 1.0, 1e3, 6e4, 1e6, 4e6, 1e7, 1e30, 3e38] {
                let row: Vec<f32> = (0..=255u8).map(|i| scale * f32::from(i).sin()).collect();
                let mut bytes = Vec::new();
                let accepted = convert(format, &row, &mut bytes, String::new).is_ok();
                let fits = row.iter().all(|x| x.abs() <= largest(format));
                assert_eq!(accepted, fits, "{format:?} {scale}");
                if accepted {
                    let mut back = vec![0.0; row.len()];
                    decode(format, &bytes, &mut back);
                    let error = testing::relative_error(&back, &row);
                    assert!(error < 0.1, "{format:?} {scale}: {error}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_number_is_refused_by_name() {
        for (value, what) in
            [(f32::NAN, "a NaN"), (f32::INFINITY, "an infinity"), (-f32::INFINITY, "an infinity")]
        {
            let mut row = [1.0; 256];
            row[3] = value;
            for format in Format::ALL {
                let converted = convert(format, &row, &mut Vec::new(), || "it".to_owned());
                match converted {
                    Ok(()) => assert_eq!(format, Format::F32),
                    Err(error) => assert_eq!(
                        error.to_string(),
                        format!(
                            "it has {what} in column 3, which {} cannot hold; convert it to f32",
                            format.name()
                        )
                    ),
                }
            }
            assert!(!are_finite(&row) && are_finite(&row[4..]));
        }
    }
}
