//! The choice of the next token.
//!
//! From logits `[vocab]`, in this order: repetition penalty (Keskar et al. 2019), temperature, then the cuts top-k, top-p (Holtzman et
//! al. 2020) and min-p (Nguyen et al. 2024), each on what the one before left, then a draw. Everything is a function of the logits, the
//! history and the seed.

use crate::Error;

/// How to choose.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Divides the logits: below 1 favours the likely, 0 takes the likeliest.
    pub temperature: f32,
    /// Only the `k` likeliest; 0 for all.
    pub top_k: usize,
    /// Only the likeliest that together reach this probability; 1 for all.
    pub top_p: f32,
    /// Only those at least this many times as likely as the likeliest; 0 for all.
    pub min_p: f32,
    /// Divides the positive logits of recent tokens and multiplies their negative ones; 1 for none.
    pub repetition_penalty: f32,
    /// How many tokens count as recent.
    pub repetition_window: usize,
    /// Fixes the draws.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Sampling {
            temperature: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.0,
            repetition_penalty: 1.0,
            repetition_window: 64,
            seed: 0,
        }
    }
}

impl Sampling {
    /// The likeliest token, always.
    pub fn greedy() -> Self {
        Sampling {
            temperature: 0.0,
            ..Sampling::default()
        }
    }

    fn check(&self) -> Result<(), Error> {
        let refuse = |what: String| Err(Error::Input(what));
        if !(0.0..=100.0).contains(&self.temperature) {
            return refuse(format!(
                "the temperature is {}; it has to be between 0 and 100",
                self.temperature
            ));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return refuse(format!(
                "top-p is {}; it is a probability above 0, at most 1",
                self.top_p
            ));
        }
        if !(0.0..=1.0).contains(&self.min_p) {
            return refuse(format!(
                "min-p is {}; it has to be between 0 and 1",
                self.min_p
            ));
        }
        if !(self.repetition_penalty > 0.0 && self.repetition_penalty <= 100.0) {
            return refuse(format!(
                "the repetition penalty is {}; it has to be above 0, at most 100",
                self.repetition_penalty
            ));
        }
        Ok(())
    }
}

/// Chooses tokens for one text. Allocates when it is created, and not again.
pub struct Sampler {
    sampling: Sampling,
    random: Random,
    /// Every token with its logit, and later its probability.
    candidates: Vec<Candidate>,
    logits: Vec<f32>,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    id: u32,
    weight: f32,
}

impl Sampler {
    /// A sampler for logits of length `vocab`.
    ///
    /// # Errors
    /// Options that make no sense.
    pub fn new(sampling: Sampling, vocab: usize) -> Result<Sampler, Error> {
        sampling.check()?;
        Ok(Sampler {
            random: Random(sampling.seed),
            sampling,
            candidates: Vec::with_capacity(vocab),
            logits: vec![0.0; vocab],
        })
    }

    /// The next token after `history`. A logit that is not a number counts as impossible.
    pub fn sample(&mut self, logits: &[f32], history: &[u32]) -> u32 {
        let Sampling {
            temperature,
            top_k,
            top_p,
            min_p,
            ..
        } = self.sampling;
        self.logits.clear();
        self.logits.extend(
            logits
                .iter()
                .map(|x| if x.is_nan() { f32::NEG_INFINITY } else { *x }),
        );
        self.penalise(history);
        if temperature == 0.0 {
            return argmax(&self.logits);
        }
        let candidates = &mut self.candidates;
        candidates.clear();
        candidates.extend(
            (0..)
                .zip(&self.logits)
                .map(|(id, &weight)| Candidate { id, weight }),
        );
        // Ties go to the smaller token, so that the order never depends on how the sort works.
        let likelier =
            |a: &Candidate, b: &Candidate| b.weight.total_cmp(&a.weight).then(a.id.cmp(&b.id));
        if 0 < top_k && top_k < candidates.len() {
            candidates.select_nth_unstable_by(top_k - 1, likelier);
            candidates.truncate(top_k);
        }
        candidates.sort_unstable_by(likelier);
        let max = candidates[0].weight;
        for c in candidates.iter_mut() {
            c.weight = ((c.weight - max) / temperature).exp();
        }
        let total: f64 = candidates.iter().map(|c| f64::from(c.weight)).sum();
        if !(total.is_finite() && total > 0.0) {
            return candidates[0].id; // all impossible: the first is as good as any
        }
        let mut kept = 0.0;
        let mut count = 0;
        for c in candidates.iter() {
            let reached = kept >= f64::from(top_p) * total;
            if count > 0 && (reached || c.weight < min_p) {
                break;
            }
            kept += f64::from(c.weight);
            count += 1;
        }
        let mut draw = self.random.uniform() * kept;
        for c in &candidates[..count] {
            draw -= f64::from(c.weight);
            if draw < 0.0 {
                return c.id;
            }
        }
        candidates[count - 1].id
    }

    fn penalise(&mut self, history: &[u32]) {
        let penalty = self.sampling.repetition_penalty;
        if penalty == 1.0 {
            return;
        }
        let recent = &history[history
            .len()
            .saturating_sub(self.sampling.repetition_window)..];
        for (i, &id) in recent.iter().enumerate() {
            // Once for each token, however often it occurred.
            if recent[..i].contains(&id) {
                continue;
            }
            if let Some(logit) = self.logits.get_mut(id as usize) {
                *logit = if *logit > 0.0 {
                    *logit / penalty
                } else {
                    *logit * penalty
                };
            }
        }
    }
}

/// The greatest; the first of equals.
fn argmax(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (i, x) in logits.iter().enumerate() {
        if *x > logits[best] {
            best = i;
        }
    }
    best as u32
}

/// SplitMix64 (Steele, Lea and Flood 2014): tiny, and good enough to draw tokens with.
struct Random(u64);

impl Random {
    /// In [0, 1), with 53 bits.
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((x ^ (x >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(sampling: Sampling) -> Sampler {
        Sampler::new(sampling, 4).unwrap()
    }

    /// How often each token came in many draws.
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
            found
                .iter()
                .zip(expected)
                .all(|(a, b)| (a - b).abs() < 0.015),
            "{found:?} is not {expected:?}"
        );
    }

    #[test]
    fn draws_follow_the_softmax_and_the_cuts() {
        let p: [f64; 4] = [0.1, 0.4, 0.3, 0.2];
        let logits: Vec<f32> = p.iter().map(|p| p.ln() as f32).collect();
        close(&shares(ALL, &logits), &p);
        close(
            &shares(Sampling { top_k: 2, ..ALL }, &logits),
            &[0.0, 4.0 / 7.0, 3.0 / 7.0, 0.0],
        );
        close(
            &shares(Sampling { top_p: 0.65, ..ALL }, &logits),
            &[0.0, 4.0 / 7.0, 3.0 / 7.0, 0.0],
        );
        close(
            &shares(Sampling { top_p: 0.75, ..ALL }, &logits),
            &[0.0, 4.0 / 9.0, 3.0 / 9.0, 2.0 / 9.0],
        );
        close(
            &shares(Sampling { min_p: 0.45, ..ALL }, &logits),
            &[0.0, 4.0 / 9.0, 3.0 / 9.0, 2.0 / 9.0],
        );
        let squares: f64 = p.iter().map(|p| p * p).sum();
        close(
            &shares(
                Sampling {
                    temperature: 0.5,
                    ..ALL
                },
                &logits,
            ),
            &p.map(|p| p * p / squares),
        );
        close(
            &shares(
                Sampling {
                    temperature: 0.0,
                    ..ALL
                },
                &logits,
            ),
            &[0.0, 1.0, 0.0, 0.0],
        );
    }

    #[test]
    fn a_seed_fixes_the_draws() {
        let draw = |seed| {
            let mut sampler = sampler(Sampling { seed, ..ALL });
            (0..50)
                .map(|_| sampler.sample(&[0.0; 4], &[]))
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
    }

    #[test]
    fn repetition_is_penalised_once_and_within_the_window() {
        let greedy = Sampling {
            repetition_penalty: 2.0,
            repetition_window: 2,
            ..Sampling::greedy()
        };
        let mut sampler = sampler(greedy);
        assert_eq!(sampler.sample(&[3.0, 2.0, -1.0, -9.0], &[]), 0);
        assert_eq!(sampler.sample(&[3.0, 2.0, -1.0, -9.0], &[0]), 1);
        assert_eq!(sampler.sample(&[3.0, 2.0, -1.0, -9.0], &[0, 3, 3]), 0);
        assert_eq!(sampler.sample(&[5.0, 2.0, -1.0, -9.0], &[0, 0]), 0);
    }

    #[test]
    fn logits_that_are_no_numbers() {
        for temperature in [0.0, 1.0] {
            let mut sampler = sampler(Sampling { temperature, ..ALL });
            assert_eq!(
                sampler.sample(&[f32::NAN, f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY], &[]),
                2
            );
            assert!(sampler.sample(&[f32::NAN; 4], &[]) < 4);
            assert!(sampler.sample(&[f32::INFINITY; 4], &[]) < 4);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            Sampling {
                temperature: -1.0,
                ..ALL
            },
            Sampling {
                temperature: f32::NAN,
                ..ALL
            },
            Sampling { top_p: 0.0, ..ALL },
            Sampling { min_p: 1.5, ..ALL },
            Sampling {
                repetition_penalty: 0.0,
                ..ALL
            },
        ] {
            assert!(Sampler::new(bad, 4).is_err());
        }
    }
}
