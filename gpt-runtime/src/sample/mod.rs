//! Samples the next token.
//!
//! Logits `[vocab]` pass through these steps: repetition penalty (Keskar et al. 2019), temperature,
//! the filters top-k, top-p (Holtzman et al. 2020) and min-p (Nguyen et al. 2024), each on the
//! candidates that the previous one kept, then a draw. The token is a function of the logits, the
//! history, the seed and the number of the draw.
//!
//! A draw takes the token with the greatest sum of logit and Gumbel noise (`random`). It needs no
//! sorting and no prefix sum, so the GPU engine samples in parallel (`shaders/wgsl/sampling`) and
//! draws the same token from the same logits, up to the rounding of a logarithm.

mod random;

use crate::Error;

/// Sampling options.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Divides the logits. A value below 1 favours likely tokens; 0 always takes the likeliest.
    pub temperature: f32,
    /// Keeps this many of the likeliest tokens; 0 keeps all.
    pub top_k: usize,
    /// Keeps the fewest likeliest tokens whose probabilities add up to at least this; 1 keeps all.
    pub top_p: f32,
    /// Keeps tokens whose probability is at least this share of the likeliest token's; 0 keeps all.
    pub min_p: f32,
    /// Divides positive logits of recent tokens and multiplies negative ones; 1 changes none.
    pub repetition_penalty: f32,
    /// How many tokens count as recent.
    pub repetition_window: usize,
    /// The seed of the draws.
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
    /// Always takes the likeliest token.
    pub fn greedy() -> Self {
        Sampling { temperature: 0.0, ..Sampling::default() }
    }

    /// The factor of the logits. At most a million, because the reciprocal of a tiny temperature is
    /// infinite, and zero times infinity is NaN.
    pub(crate) fn inverse_temperature(&self) -> f32 {
        self.temperature.recip().min(1e6)
    }

    /// Whether a filter may remove some of `vocab` tokens before the draw.
    pub(crate) fn cuts(&self, vocab: u32) -> bool {
        let cuts_by_count = 0 < self.top_k && self.top_k < vocab as usize;
        self.temperature > 0.0 && (cuts_by_count || self.top_p < 1.0 || self.min_p > 0.0)
    }

    fn check(&self) -> Result<(), Error> {
        let reject = |what: String| Err(Error::Input(what));
        if !(0.0..=100.0).contains(&self.temperature) {
            return reject(format!(
                "the temperature is {}; it has to be between 0 and 100",
                self.temperature
            ));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return reject(format!("top-p is {}; it has to be above 0 and at most 1", self.top_p));
        }
        if !(0.0..=1.0).contains(&self.min_p) {
            return reject(format!("min-p is {}; it has to be between 0 and 1", self.min_p));
        }
        if !(self.repetition_penalty > 0.0 && self.repetition_penalty <= 100.0) {
            return reject(format!(
                "the repetition penalty is {}; it has to be above 0 and at most 100",
                self.repetition_penalty
            ));
        }
        Ok(())
    }
}

/// Samples the tokens of one text. Allocates only when it is created.
pub struct Sampler {
    sampling: Sampling,
    /// The number of the next draw.
    draws: u32,
    candidates: Vec<Candidate>,
    logits: Vec<f32>,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    id: u32,
    /// The greatest logit minus this one.
    below: f32,
}

impl Sampler {
    /// A sampler for logits of length `vocab`.
    ///
    /// # Errors
    /// Fails if an option is out of range.
    pub fn new(sampling: Sampling, vocab: usize) -> Result<Sampler, Error> {
        sampling.check()?;
        Ok(Sampler {
            sampling,
            draws: 0,
            candidates: Vec::with_capacity(vocab),
            logits: Vec::with_capacity(vocab),
        })
    }

    /// The options.
    pub fn sampling(&self) -> &Sampling {
        &self.sampling
    }

    /// The number of the next draw.
    pub(crate) fn draws(&self) -> u32 {
        self.draws
    }

    /// Counts `n` draws, for example those that an engine made.
    pub(crate) fn skip(&mut self, n: usize) {
        self.draws = self.draws.wrapping_add(n as u32);
    }

    /// Samples the token after `history` from logits `[vocab]`. A NaN logit counts as impossible.
    pub fn sample(&mut self, logits: &[f32], history: &[u32]) -> u32 {
        self.logits.clear();
        self.logits.extend(logits.iter().map(|x| if x.is_nan() { f32::NEG_INFINITY } else { *x }));
        self.penalise(history);
        let key = random::key(self.sampling.seed, self.draws);
        self.skip(1);
        let likeliest = argmax(&self.logits);
        if self.sampling.temperature == 0.0 {
            return likeliest;
        }
        let greatest = self.logits[likeliest as usize];
        // Equal infinite logits are equally likely, but their difference is NaN.
        let below = |&x: &f32| if x == greatest { 0.0 } else { greatest - x };
        self.candidates.clear();
        let all = (0..).zip(self.logits.iter().map(below));
        self.candidates.extend(all.map(|(id, below)| Candidate { id, below }));
        self.cut();
        self.draw(key)
    }

    /// Applies top-k, top-p and min-p to the candidates.
    fn cut(&mut self) {
        let Sampling { top_k, top_p, min_p, .. } = self.sampling;
        let inverse = self.sampling.inverse_temperature();
        let candidates = &mut self.candidates;
        // Ties go to the smaller id, so the order is independent of the sorting algorithm.
        let likelier =
            |a: &Candidate, b: &Candidate| a.below.total_cmp(&b.below).then(a.id.cmp(&b.id));
        let weight = |c: &Candidate| (-c.below * inverse).exp();
        if 0 < top_k && top_k < candidates.len() {
            candidates.select_nth_unstable_by(top_k - 1, likelier);
            candidates.truncate(top_k);
        }
        if top_p < 1.0 {
            candidates.sort_unstable_by(likelier);
            let total: f64 = candidates.iter().map(|c| f64::from(weight(c))).sum();
            let mut kept = 0.0;
            let reaches = |c: &Candidate| {
                kept += f64::from(weight(c));
                kept >= f64::from(top_p) * total
            };
            if let Some(last) = candidates.iter().position(reaches) {
                candidates.truncate(last + 1);
            }
        }
        if min_p > 0.0 {
            candidates.retain(|c| weight(c) >= min_p);
        }
    }

    /// Draws a candidate with the Gumbel-max trick: the greatest log weight plus noise.
    fn draw(&self, key: u32) -> u32 {
        let inverse = self.sampling.inverse_temperature();
        let mut best = (f32::NEG_INFINITY, 0);
        for &Candidate { id, below } in &self.candidates {
            let log_weight = -below * inverse;
            // Not even the greatest noise would make this candidate the best.
            if log_weight + random::MAX_NOISE <= best.0 {
                continue;
            }
            let score = log_weight + random::gumbel(key, id);
            if score > best.0 || (score == best.0 && id < best.1) {
                best = (score, id);
            }
        }
        best.1
    }

    fn penalise(&mut self, history: &[u32]) {
        let penalty = self.sampling.repetition_penalty;
        if penalty == 1.0 {
            return;
        }
        let recent = &history[history.len().saturating_sub(self.sampling.repetition_window)..];
        for (i, &id) in recent.iter().enumerate() {
            // A repeated token is penalised once.
            if recent[..i].contains(&id) {
                continue;
            }
            if let Some(logit) = self.logits.get_mut(id as usize) {
                *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
            }
        }
    }
}

/// The index of the greatest logit, the first among equals.
fn argmax(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (i, x) in logits.iter().enumerate() {
        if *x > logits[best] {
            best = i;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests;
