//! Compares each type with values of ggml's reference (`tests/fixtures/quants.py` writes
//! `blocks.txt`).

use super::*;

const ALL: [FileType; 13] = [
    FileType::F32,
    FileType::F16,
    FileType::Bf16,
    FileType::Q8_0,
    FileType::Q4_0,
    FileType::Q4_1,
    FileType::Q5_0,
    FileType::Q5_1,
    FileType::Q2K,
    FileType::Q3K,
    FileType::Q4K,
    FileType::Q5K,
    FileType::Q6K,
];

#[test]
fn a_random_block_of_every_type() {
    let lines: Vec<&str> = include_str!("blocks.txt").lines().collect();
    assert_eq!(lines.len(), ALL.len());
    for (stored, line) in ALL.into_iter().zip(lines) {
        let mut words = line.split(' ');
        assert_eq!(words.next(), Some(stored.name()));
        let hex = words.next().unwrap();
        let bytes: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
            .collect();
        let expected: Vec<f32> = words.map(|w| w.parse().unwrap()).collect();
        assert_eq!((expected.len(), bytes.len()), stored.block());
        let mut found = vec![f32::NAN; expected.len()];
        stored.decode(&bytes, &mut found);
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let scale = expected.abs().max(1e-3);
            assert!(
                (found - expected).abs() <= 1e-6 * scale,
                "{} {i}: {found}, not {expected}",
                stored.name()
            );
        }
    }
}

#[test]
fn q4_0_is_a_q4_1() {
    let mut block = vec![0x34, 0x2c];
    block.extend((0..16).map(|i| i * 17 % 251));
    let mut same = Vec::new();
    FileType::Q4_0.convert(&block, &mut same).unwrap();
    let (mut a, mut b) = ([0.0; 32], [1.0; 32]);
    FileType::Q4_0.decode(&block, &mut a);
    FileType::Q4_1.decode(&same, &mut b);
    assert_eq!(a, b);
    let huge = [&f16::from_f32(9000.0).to_le_bytes()[..], &[0; 16]].concat();
    assert_eq!(FileType::Q4_0.convert(&huge, &mut Vec::new()), None);
}
