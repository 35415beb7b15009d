//! Sequences to learn from.

use gpt_plan::Plan;

use super::Masking;
use crate::Error;
use crate::engine::{IGNORED, Sequences};
use crate::error::counted;

/// Sequences of one length, with a target for each token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    inputs: Vec<u32>,
    targets: Vec<u32>,
    tokens: usize,
}

impl Batch {
    /// The target of a token whose loss does not count, as in PyTorch's `ignore_index`.
    pub const IGNORED: u32 = IGNORED;

    /// A batch of `inputs` and `targets`, both `[sequences, tokens]`. The loss is the mean over the
    /// targets that are not [`IGNORED`](Self::IGNORED).
    ///
    /// # Errors
    /// Fails if the lists do not have that shape.
    pub fn new(inputs: Vec<u32>, targets: Vec<u32>, tokens: usize) -> Result<Batch, Error> {
        let whole = tokens > 0 && !inputs.is_empty() && inputs.len().is_multiple_of(tokens);
        if !whole || inputs.len() != targets.len() {
            return Err(Error::Input(format!(
                "a batch of {} inputs and {} targets does not divide into sequences of {tokens} tokens",
                inputs.len(),
                targets.len()
            )));
        }
        Ok(Batch { inputs, targets, tokens })
    }

    /// A batch of `texts` of one length, `[sequences, tokens + 1]`: the target of each token is the
    /// next one.
    ///
    /// # Errors
    /// Fails if the list does not have that shape.
    pub fn next_tokens(texts: &[u32], tokens: usize) -> Result<Batch, Error> {
        if tokens == 0 || texts.is_empty() || !texts.len().is_multiple_of(tokens + 1) {
            return Err(Error::Input(format!(
                "{} tokens do not divide into sequences of {tokens} tokens plus one more token each",
                texts.len()
            )));
        }
        let rows = texts.chunks_exact(tokens + 1);
        let of = |from: usize| {
            let rows = rows.clone();
            rows.flat_map(move |row| &row[from..][..tokens]).copied()
        };
        Ok(Batch { inputs: of(0).collect(), targets: of(1).collect(), tokens })
    }

    /// The same sequences with hidden tokens, which become the only targets. `first` is the number
    /// of sequences before the batch: which tokens of a sequence are hidden depends on the seed of
    /// `masking` and on the number of sequences before it.
    pub fn masked(mut self, masking: &Masking, first: u64) -> Batch {
        self.targets.clear();
        let sequences = self.inputs.chunks_exact_mut(self.tokens.max(1));
        for (i, sequence) in (0..).zip(sequences) {
            masking.hide(sequence, first.wrapping_add(i), &mut self.targets);
        }
        self
    }

    /// Tokens of each sequence.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Number of sequences.
    pub fn sequences(&self) -> usize {
        self.inputs.len() / self.tokens.max(1)
    }

    /// Number of tokens in all sequences.
    pub fn rows(&self) -> usize {
        self.inputs.len()
    }

    /// The tokens that the model reads, `[sequences, tokens]`.
    pub fn inputs(&self) -> &[u32] {
        &self.inputs
    }

    /// The target of each token, `[sequences, tokens]`; [`IGNORED`](Self::IGNORED) does not count.
    pub fn targets(&self) -> &[u32] {
        &self.targets
    }

    /// Number of targets that count.
    pub fn counted(&self) -> usize {
        self.targets.iter().filter(|target| **target != IGNORED).count()
    }

    /// Splits it into batches of at most `sequences` sequences.
    pub(super) fn parts(&self, sequences: u32) -> impl Iterator<Item = Sequences<'_>> {
        let rows = sequences as usize * self.tokens;
        let parts = self.inputs.chunks(rows).zip(self.targets.chunks(rows));
        parts.map(|(inputs, targets)| Sequences { inputs, targets, tokens: self.tokens as u32 })
    }

    /// Checks that its tokens are in the vocabulary of `plan`, its sequences have at most `longest`
    /// tokens, and at least one target counts.
    pub(super) fn check(&self, plan: &Plan, longest: u32) -> Result<(), Error> {
        if self.inputs.is_empty() || self.tokens > longest as usize {
            return Err(Error::Input(format!(
                "a batch of {} of {} cannot be learned; the trainer takes sequences of 1 to {longest} tokens",
                counted(self.sequences(), "sequence"),
                counted(self.tokens, "token")
            )));
        }
        let vocab = plan.spec.vocab;
        let targets = self.targets.iter().filter(|target| **target != IGNORED);
        if targets.clone().next().is_none() {
            return Err(Error::Input(
                "no target of the batch counts, so there is nothing to learn; give at least one token a target"
                    .to_owned(),
            ));
        }
        let mut all = self.inputs.iter().chain(targets);
        match all.find(|token| **token >= vocab) {
            None => Ok(()),
            Some(bad) => Err(Error::Input(format!(
                "token {bad} is not in the vocabulary of {}, which has {vocab} tokens (0..={})",
                plan.name,
                vocab - 1
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn successors_are_targets_and_parts_are_whole_sequences() {
        let batch = Batch::next_tokens(&[1, 2, 3, 4, 5, 6, 7, 8, 9], 2).unwrap();
        assert_eq!((batch.sequences(), batch.tokens(), batch.rows()), (3, 2, 6));
        assert_eq!(batch.inputs, [1, 2, 4, 5, 7, 8]);
        assert_eq!(batch.targets, [2, 3, 5, 6, 8, 9]);
        let parts: Vec<Vec<u32>> = batch.parts(2).map(|p| p.inputs.to_vec()).collect();
        assert_eq!(parts, [vec![1, 2, 4, 5], vec![7, 8]]);
        let same = Batch::new(batch.inputs.clone(), batch.targets.clone(), 2).unwrap();
        assert_eq!(same, batch);
        assert!(Batch::next_tokens(&[1, 2, 3, 4], 2).is_err());
        assert!(Batch::new(vec![1, 2, 3], vec![1, 2, 3], 2).is_err());
        assert!(Batch::new(vec![1, 2], vec![1], 2).is_err());
    }
}
