use super::*;

fn sampler(sampling: Sampling) -> Sampler {
    Sampler::new(sampling, 4).unwrap()
}

/// The frequency of each token in many draws.
fn shares(sampling: Sampling, logits: &[f32]) -> Vec<f64> {
    let mut sampler = sampler(sampling);
    let mut counts = vec![0.0; logits.len()];
    for _ in 0..20_000 {
        counts[sampler.sample(logits, &[]) as usize] += 1.0 / 20_000.0;
    }
    counts
}

const ALL: Sampling = Sampling {
    temperature: 1.0,
    top_k: 0,
    top_p: 1.0,
    min_p: 0.0,
    repetition_penalty: 1.0,
    repetition_window: 64,
    seed: 1,
};

#[track_caller]
fn close(found: &[f64], expected: &[f64]) {
    assert!(
        found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.015),
        "{found:?} is not {expected:?}"
    );
}

#[test]
fn draws_follow_the_softmax_and_the_filters() {
    let p: [f64; 4] = [0.1, 0.4, 0.3, 0.2];
    let logits: Vec<f32> = p.iter().map(|p| p.ln() as f32).collect();
    close(&shares(ALL, &logits), &p);
    close(&shares(Sampling { top_k: 2, ..ALL }, &logits), &[0.0, 4.0 / 7.0, 3.0 / 7.0, 0.0]);
    close(&shares(Sampling { top_p: 0.65, ..ALL }, &logits), &[0.0, 4.0 / 7.0, 3.0 / 7.0, 0.0]);
    close(
        &shares(Sampling { top_p: 0.75, ..ALL }, &logits),
        &[0.0, 4.0 / 9.0, 3.0 / 9.0, 2.0 / 9.0],
    );
    close(
        &shares(Sampling { min_p: 0.45, ..ALL }, &logits),
        &[0.0, 4.0 / 9.0, 3.0 / 9.0, 2.0 / 9.0],
    );
    let squares: f64 = p.iter().map(|p| p * p).sum();
    close(&shares(Sampling { temperature: 0.5, ..ALL }, &logits), &p.map(|p| p * p / squares));
    close(&shares(Sampling { temperature: 0.0, ..ALL }, &logits), &[0.0, 1.0, 0.0, 0.0]);
}

#[test]
fn a_seed_fixes_the_draws() {
    let draw = |seed| {
        let mut sampler = sampler(Sampling { seed, ..ALL });
        (0..50).map(|_| sampler.sample(&[0.0; 4], &[])).collect::<Vec<_>>()
    };
    assert_eq!(draw(3), draw(3));
    assert_ne!(draw(3), draw(4));
}

/// The number of the draw is the only state of a sampler: skipping draws leaves the later ones
/// unchanged.
#[test]
fn draws_are_counted() {
    let logits = [0.0; 4];
    let sampling = Sampling { seed: 9, ..ALL };
    let mut all = sampler(sampling.clone());
    let drawn: Vec<u32> = (0..50).map(|_| all.sample(&logits, &[])).collect();
    let mut rest = sampler(sampling);
    rest.skip(20);
    let rest: Vec<u32> = (20..50).map(|_| rest.sample(&logits, &[])).collect();
    assert_eq!(rest, drawn[20..]);
}

#[test]
fn repetition_is_penalised_once_and_within_the_window() {
    let greedy = Sampling { repetition_penalty: 2.0, repetition_window: 2, ..Sampling::greedy() };
    let mut sampler = sampler(greedy);
    assert_eq!(sampler.sample(&[3.0, 2.0, -1.0, -9.0], &[]), 0);
    assert_eq!(sampler.sample(&[3.0, 2.0, -1.0, -9.0], &[0]), 1);
    assert_eq!(sampler.sample(&[3.0, 2.0, -1.0, -9.0], &[0, 3, 3]), 0);
    assert_eq!(sampler.sample(&[5.0, 2.0, -1.0, -9.0], &[0, 0]), 0);
}

#[test]
fn nan_and_infinite_logits() {
    for temperature in [0.0, 1.0] {
        let mut sampler = sampler(Sampling { temperature, ..ALL });
        assert_eq!(sampler.sample(&[f32::NAN, f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY], &[]), 2);
        assert!(sampler.sample(&[f32::NAN; 4], &[]) < 4);
        assert!(sampler.sample(&[f32::INFINITY; 4], &[]) < 4);
    }
}

#[test]
fn invalid_options_are_rejected() {
    for bad in [
        Sampling { temperature: -1.0, ..ALL },
        Sampling { temperature: f32::NAN, ..ALL },
        Sampling { top_p: 0.0, ..ALL },
        Sampling { min_p: 1.5, ..ALL },
        Sampling { repetition_penalty: 0.0, ..ALL },
    ] {
        assert!(Sampler::new(bad, 4).is_err());
    }
}
