use super::*;
use crate::weights::testing::relative_error;

fn row(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i as f32 * 0.7).sin() * 1.5 + 0.2 * (i as f32 * 0.13).cos()).collect()
}

fn round_trip(format: Format, row: &[f32]) -> Vec<f32> {
    let mut bytes = Vec::new();
    encode(format, row, &mut bytes);
    assert_eq!(bytes.len(), format.row_bytes(row.len()));
    let mut out = vec![f32::NAN; row.len()];
    decode(format, &bytes, &mut out);
    out
}

#[test]
fn a_round_trip_keeps_the_precision_of_the_format() {
    for n in [1, 31, 32, 33, 100, 256, 300] {
        let row = row(n);
        for (format, bound) in [
            (Format::F32, 0.0),
            (Format::F16, 5e-4),
            (Format::Bf16, 4e-3),
            (Format::Q8, 6e-3),
            (Format::Q4, 0.09),
            (Format::Q5, 0.045),
            (Format::Q4K, 0.09),
            (Format::Q5K, 0.045),
            (Format::Q6K, 0.025),
        ] {
            let error = relative_error(&round_trip(format, &row), &row);
            assert!(error <= bound, "{format:?} of {n}: {error}");
        }
    }
}

#[test]
fn representable_values_round_trip_exactly() {
    for format in Format::ALL {
        let once = round_trip(format, &row(96));
        let exact = !format.is_quantised();
        let twice = round_trip(format, &once);
        if exact {
            assert_eq!(once, twice);
        } else {
            assert!(relative_error(&twice, &once) < 1e-3, "{format:?}");
        }
        assert_eq!(round_trip(format, &[0.0; 40]), [0.0; 40]);
        assert_eq!(round_trip(format, &[-1.5; 32]).len(), 32);
    }
    for format in [Format::Q4, Format::Q5] {
        assert_eq!(round_trip(format, &[-1.5; 32]), [-1.5; 32]);
    }
}

#[test]
fn extremes_stay_finite() {
    let row: Vec<f32> = [f32::MAX, f32::MIN, 1e-30, 0.0].repeat(8);
    for format in Format::ALL.into_iter().filter(|f| f.is_quantised()) {
        assert!(round_trip(format, &row).iter().all(|x| x.is_finite()));
    }
}
