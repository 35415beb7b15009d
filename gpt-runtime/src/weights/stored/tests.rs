//! Compares each type with values of ggml's reference (`tests/fixtures/quants.py` writes
//! `blocks.txt`).

use super::*;

#[test]
fn a_random_block_of_every_type() {
    let lines: Vec<&str> = include_str!("blocks.txt").lines().collect();
    assert_eq!(lines.len(), FileType::ALL.len());
    for (stored, line) in FileType::ALL.iter().zip(lines) {
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
fn symmetric_blocks_are_blocks_with_a_minimum() {
    for (symmetric, quants) in [(FileType::Q4_0, 16), (FileType::Q5_0, 20)] {
        let mut block = vec![0x34, 0x2c];
        block.extend((0..quants).map(|i| (i * 37 % 251) as u8));
        let mut same = Vec::new();
        symmetric.convert(&block, &mut same).unwrap();
        let (mut a, mut b) = ([0.0; 32], [1.0; 32]);
        symmetric.decode(&block, &mut a);
        format::decode(symmetric.format(), &same, &mut b);
        assert_eq!(a, b);
        let huge = [&f16::from_f32(9000.0).to_le_bytes()[..], &vec![0; quants]].concat();
        assert_eq!(symmetric.convert(&huge, &mut Vec::new()), None);
    }
}

/// A type that converts to another one keeps its values.
#[test]
fn conversions_keep_every_value() {
    for line in include_str!("blocks.txt").lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let kind = FileType::ALL.iter().find(|kind| kind.name() == words[0]).unwrap();
        let byte = |i: usize| u8::from_str_radix(&words[1][2 * i..2 * i + 2], 16).unwrap();
        let bytes: Vec<u8> = (0..words[1].len() / 2).map(byte).collect();
        let mut converted = Vec::new();
        if !kind.is_lossless() {
            assert_eq!(kind.convert(&bytes, &mut converted), None);
            continue;
        }
        kind.convert(&bytes, &mut converted).unwrap();
        let elements = kind.block().0;
        assert_eq!(converted.len(), kind.format().row_bytes(elements));
        let (mut a, mut b) = (vec![0.0; elements], vec![1.0; elements]);
        kind.decode(&bytes, &mut a);
        format::decode(kind.format(), &converted, &mut b);
        assert_eq!(a, b, "{}", kind.name());
    }
    // The scale 2^100 does not fit in an f16. In a block of zeros the scale does not matter.
    let mut block = [0x77; 17];
    block[0] = 227;
    assert_eq!(FileType::Mxfp4.convert(&block, &mut Vec::new()), None);
    block[1..].fill(0x80);
    assert_eq!(FileType::Mxfp4.convert(&block, &mut Vec::new()), Some(()));
}
