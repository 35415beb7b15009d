//! The choice of the next token.
//!
//! From logits `[vocab]`, in this order: repetition penalty (Keskar et al. 2019), temperature, then
//! the cuts top-k, top-p (Holtzman et al. 2020) and min-p (Nguyen et al. 2024), each on what the
//! one before left, then a draw. Everything is a function of the logits, the history, the seed and
//! the number of the draw.
//!
//! A token is drawn as the one with the greatest sum of logit and noise, which takes no order and
//! no running sum: an engine can do it in parallel (`shaders/wgsl/sample`) and draws the same token
//! from the same logits, up to the rounding of a logarithm. `random` has the noise.

mod random;

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

    /// By what logits are multiplied. Below a millionth a temperature tells no more logits apart
    /// than f32 does.
    pub(crate) fn inverse_temperature(&self) -> f32 {
        self.temperature.recip().min(1e6)
    }

    /// Whether some of `vocab` tokens are left out before one is drawn.
    pub(crate) fn cuts(&self, vocab: u32) -> bool {
        let cuts_by_count = 0 < self.top_k && self.top_k < vocab as usize;
        self.temperature > 0.0 && (cuts_by_count || self.top_p < 1.0 || self.min_p > 0.0)
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
    /// How many tokens were drawn: the next draw's number.
    draws: u32,
    candidates: Vec<Candidate>,
    logits: Vec<f32>,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    id: u32,
    /// How far its logit is below the greatest.
    below: f32,
}

impl Sampler {
    /// A sampler for logits of length `vocab`.
    ///
    /// # Errors
    /// Options that make no sense.
    pub fn new(sampling: Sampling, vocab: usize) -> Result<Sampler, Error> {
        sampling.check()?;
        Ok(Sampler {
            sampling,
            draws: 0,
            candidates: Vec::with_capacity(vocab),
            logits: Vec::with_capacity(vocab),
        })
    }

    /// What it was made from.
    pub fn sampling(&self) -> &Sampling {
        &self.sampling
    }

    /// The number of the next draw.
    pub(crate) fn draws(&self) -> u32 {
        self.draws
    }

    /// Passes over the numbers of `n` draws, which an engine made.
    pub(crate) fn skip(&mut self, n: usize) {
        self.draws = self.draws.wrapping_add(n as u32);
    }

    /// The next token after `history`. A logit that is not a number counts as impossible.
    pub fn sample(&mut self, logits: &[f32], history: &[u32]) -> u32 {
        self.logits.clear();
        self.logits.extend(
            logits
                .iter()
                .map(|x| if x.is_nan() { f32::NEG_INFINITY } else { *x }),
        );
        self.penalise(history);
        let key = random::key(self.sampling.seed, self.draws);
        self.skip(1);
        let likeliest = argmax(&self.logits);
        if self.sampling.temperature == 0.0 {
            return likeliest;
        }
        let greatest = self.logits[likeliest as usize];
        // Infinities have no difference, but are as likely as each other.
        let below = |&x: &f32| if x == greatest { 0.0 } else { greatest - x };
        self.candidates.clear();
        let all = (0..).zip(self.logits.iter().map(below));
        self.candidates
            .extend(all.map(|(id, below)| Candidate { id, below }));
        self.cut();
        self.draw(key)
    }

    /// Leaves the candidates that top-k, top-p and min-p leave.
    fn cut(&mut self) {
        let Sampling {
            top_k,
            top_p,
            min_p,
            ..
        } = self.sampling;
        let inverse = self.sampling.inverse_temperature();
        let candidates = &mut self.candidates;
        // Ties go to the smaller token, so that the order never depends on how the sort works.
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

    /// One of the candidates, each as likely as its weight says: the greatest logarithm of a weight
    /// plus Gumbel noise.
    fn draw(&self, key: u32) -> u32 {
        let inverse = self.sampling.inverse_temperature();
        let mut best = (f32::NEG_INFINITY, 0);
        for &Candidate { id, below } in &self.candidates {
            let log_weight = -below * inverse;
            if log_weight + random::MOST <= best.0 {
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

#[cfg(test)]
mod tests;
