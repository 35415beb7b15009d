//! Training tokens, in memory or in mapped files, and batches of them.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::{Batch, Masking};
use crate::error::counted;
use crate::weights::{Mapped, mix};
use crate::{Error, files};

/// A sequence of tokens, in memory or in a mapped file. Cheap to clone and to split.
#[derive(Clone)]
pub struct Tokens {
    storage: Arc<TokenStorage>,
    range: Range<usize>,
}

enum TokenStorage {
    Memory(Vec<u32>),
    Short(Vec<u16>),
    File(Mapped, Width),
}

/// The type of a token in a file, little-endian. nanoGPT's `.bin` files are [`Width::U16`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// Two bytes: vocabularies of at most 65,536 tokens.
    U16,
    /// Four bytes.
    U32,
}

impl From<Vec<u32>> for Tokens {
    fn from(tokens: Vec<u32>) -> Self {
        Tokens { range: 0..tokens.len(), storage: Arc::new(TokenStorage::Memory(tokens)) }
    }
}

impl From<&[u32]> for Tokens {
    fn from(tokens: &[u32]) -> Self {
        tokens.to_vec().into()
    }
}

impl Tokens {
    /// Tokens below 65,536, in half the memory.
    pub fn short(tokens: Vec<u16>) -> Tokens {
        Tokens { range: 0..tokens.len(), storage: Arc::new(TokenStorage::Short(tokens)) }
    }

    /// Maps a file of tokens without a header.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or if its size is not a whole number of tokens.
    pub fn open(path: impl AsRef<Path>, width: Width) -> Result<Tokens, Error> {
        let path = path.as_ref();
        let mapped = Mapped::open(path)?;
        let bytes = match width {
            Width::U16 => 2,
            Width::U32 => 4,
        };
        let len = mapped.bytes().len();
        if !len.is_multiple_of(bytes) {
            return Err(Error::Input(format!(
                "{} has {len} bytes, which is not a whole number of tokens of {bytes} bytes",
                path.display()
            )));
        }
        Ok(Tokens { range: 0..len / bytes, storage: Arc::new(TokenStorage::File(mapped, width)) })
    }

    /// Writes the tokens to a file that [`open`](Self::open) maps. The file is replaced atomically.
    ///
    /// # Errors
    /// Fails if a token does not fit in `width`, or if the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>, width: Width) -> Result<(), Error> {
        let path = path.as_ref();
        let mut tokens = Vec::new();
        let mut too_large = None;
        let written = files::replace(path, |new| {
            let mut out = BufWriter::new(File::create(new)?);
            for part in self.parts() {
                tokens.clear();
                self.copy(part, &mut tokens);
                for &token in &tokens {
                    match (width, u16::try_from(token)) {
                        (Width::U16, Ok(token)) => out.write_all(&token.to_le_bytes())?,
                        (Width::U32, _) => out.write_all(&token.to_le_bytes())?,
                        (Width::U16, Err(error)) => {
                            too_large = Some(token);
                            return Err(io::Error::other(error));
                        }
                    }
                }
            }
            out.flush()
        });
        match too_large {
            Some(token) => Err(Error::Input(format!(
                "token {token} does not fit in two bytes; save the tokens with `Width::U32`"
            ))),
            None => written,
        }
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// The first `at` tokens, and the rest.
    ///
    /// # Panics
    /// Panics if there are fewer than `at` tokens.
    pub fn split_at(&self, at: usize) -> (Tokens, Tokens) {
        assert!(at <= self.len(), "{at} of {} tokens", self.len());
        let middle = self.range.start + at;
        let part = |range| Tokens { storage: self.storage.clone(), range };
        (part(self.range.start..middle), part(middle..self.range.end))
    }

    /// Appends the tokens of `range` to `out`.
    ///
    /// # Panics
    /// Panics if `range` ends after the last token.
    pub fn copy(&self, range: Range<usize>, out: &mut Vec<u32>) {
        assert!(range.end <= self.len(), "{range:?} of {} tokens", self.len());
        let range = self.range.start + range.start..self.range.start + range.end;
        match &*self.storage {
            TokenStorage::Memory(tokens) => out.extend_from_slice(&tokens[range]),
            TokenStorage::Short(tokens) => {
                out.extend(tokens[range].iter().map(|token| u32::from(*token)));
            }
            TokenStorage::File(mapped, Width::U16) => {
                let tokens = &mapped.bytes().as_chunks().0[range];
                out.extend(tokens.iter().map(|b| u32::from(u16::from_le_bytes(*b))));
            }
            TokenStorage::File(mapped, Width::U32) => {
                let tokens = &mapped.bytes().as_chunks().0[range];
                out.extend(tokens.iter().map(|b| u32::from_le_bytes(*b)));
            }
        }
    }

    /// Returns batches of consecutive windows that cover all tokens, `sequences` windows of
    /// `tokens` tokens each. The last of these batches may have fewer windows. If tokens remain, a
    /// last batch has one shorter window. Every token except the first is a target once.
    ///
    /// # Panics
    /// Panics if `sequences` or `tokens` is 0.
    pub fn windows(&self, sequences: usize, tokens: usize) -> impl Iterator<Item = Batch> {
        let targets = self.len().saturating_sub(1);
        let (whole, rest) = (targets / tokens, targets % tokens);
        // Start, number and length of the windows of each batch.
        let full = (0..whole)
            .step_by(sequences)
            .map(move |first| (first * tokens, sequences.min(whole - first), tokens));
        let last = (rest > 0).then_some((whole * tokens, 1, rest));
        let data = self.clone();
        full.chain(last).map(move |(start, count, length)| {
            let mut texts = Vec::with_capacity(count * (length + 1));
            for start in (0..count).map(|i| start + i * length) {
                data.copy(start..start + length + 1, &mut texts);
            }
            Batch::next_tokens(&texts, length).expect("windows of one length")
        })
    }

    /// Ranges of a few thousand tokens that cover all tokens, so that they can be read without a
    /// copy of all.
    fn parts(&self) -> impl Iterator<Item = Range<usize>> {
        const LENGTH: usize = 4096;
        let len = self.len();
        (0..len).step_by(LENGTH).map(move |start| start..len.min(start + LENGTH))
    }

    /// A hash of the tokens.
    pub fn fingerprint(&self) -> u64 {
        let mut tokens = Vec::new();
        let mut sum = mix(self.len() as u64);
        for part in self.parts() {
            tokens.clear();
            self.copy(part, &mut tokens);
            for token in &tokens {
                sum = mix(sum ^ u64::from(*token));
            }
        }
        sum
    }
}

/// Batches of windows in random order.
///
/// An epoch splits the tokens into windows from a random offset and visits each once. Windows drawn
/// independently of each other, as in nanoGPT, would miss a fifth of the text in one and a half
/// epochs. The windows of a batch are a pure function of the seed and the batch's number, so a run
/// resumes from the number of batches taken.
#[derive(Clone)]
pub struct RandomWindows {
    data: Tokens,
    sequences: usize,
    tokens: usize,
    seed: u64,
    /// Number of possible offsets of the first window of an epoch.
    offsets: u64,
    /// Number of windows in an epoch.
    windows: u64,
    masking: Option<Masking>,
}

impl RandomWindows {
    /// Batches of `sequences` windows of `tokens` tokens.
    ///
    /// # Errors
    /// Fails if `sequences` or `tokens` is 0, or if `data` is too short for a single window.
    pub fn new(
        data: Tokens,
        sequences: usize,
        tokens: usize,
        seed: u64,
    ) -> Result<RandomWindows, Error> {
        if sequences == 0 || tokens == 0 {
            return Err(Error::Input(format!(
                "batches of {sequences} windows of {tokens} tokens were requested; a batch has at least 1 window of 1 token"
            )));
        }
        if data.len() <= tokens {
            return Err(Error::Input(format!(
                "a text of {} is too short for a window of {tokens} tokens and the token that follows it",
                counted(data.len(), "token")
            )));
        }
        // The last possible window has the last token as its last target.
        let places = data.len() - tokens;
        let windows = (places / tokens).max(1);
        Ok(RandomWindows {
            data,
            sequences,
            tokens,
            seed,
            offsets: (places - (windows - 1) * tokens) as u64,
            windows: windows as u64,
            masking: None,
        })
    }

    /// The same windows with tokens hidden by `masking`. A window that is visited again in another
    /// epoch has other hidden tokens.
    pub fn masked(self, masking: Masking) -> RandomWindows {
        RandomWindows { masking: Some(masking), ..self }
    }

    /// Batch `number`. The data repeat, so there is a batch for every number.
    pub fn batch(&self, number: u64) -> Batch {
        self.batch_after(number.wrapping_mul(self.sequences as u64))
    }

    /// Number of windows in an epoch.
    pub fn windows(&self) -> u64 {
        self.windows
    }

    /// The batch that follows `windows` windows. A run that changes the number of sequences
    /// continues after the last window of its earlier batches.
    pub fn batch_after(&self, windows: u64) -> Batch {
        let mut texts = Vec::with_capacity(self.sequences * (self.tokens + 1));
        for i in 0..self.sequences as u64 {
            let taken = windows.wrapping_add(i);
            let key = mix(mix(self.seed) ^ (taken / self.windows));
            let offset = ((u128::from(key) * u128::from(self.offsets)) >> 64) as usize;
            let window = shuffled(taken % self.windows, self.windows, key) as usize;
            let start = offset + window * self.tokens;
            self.data.copy(start..start + self.tokens + 1, &mut texts);
        }
        let batch = Batch::next_tokens(&texts, self.tokens).expect("windows of one length");
        match &self.masking {
            Some(masking) => batch.masked(masking, windows),
            None => batch,
        }
    }
}

/// The image of `index` under a permutation of `0..count` that `key` selects. A Feistel network
/// permutes the numbers of `2 * bits` bits. A result outside `0..count` is permuted again until it
/// is inside (cycle walking, Black and Rogaway 2002).
fn shuffled(index: u64, count: u64, key: u64) -> u64 {
    let bits = (u64::BITS - (count - 1).leading_zeros()).div_ceil(2);
    let mask = (1 << bits) - 1;
    let mut x = index;
    loop {
        let (mut left, mut right) = (x >> bits, x & mask);
        for round in 0..4 {
            let mixed = mix(mix(key ^ round) ^ right) & mask;
            (left, right) = (right, left ^ mixed);
        }
        x = left << bits | right;
        if x < count {
            return x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_everything_once() {
        let data = Tokens::from((0..24).collect::<Vec<u32>>());
        let batches: Vec<Batch> = data.windows(2, 5).collect();
        let shapes: Vec<_> = batches.iter().map(|b| (b.sequences(), b.tokens())).collect();
        assert_eq!(shapes, [(2, 5), (2, 5), (1, 3)]);
        let rows: usize = batches.iter().map(Batch::rows).sum();
        assert_eq!(rows, 23);
        let last = Batch::new(vec![20, 21, 22], vec![21, 22, 23], 3).unwrap();
        assert_eq!(batches[2], last);
        assert_eq!(Tokens::from(vec![7]).windows(2, 5).count(), 0);
    }

    #[test]
    fn a_batch_is_a_function_of_its_number() {
        let data = Tokens::from((0..1000).collect::<Vec<u32>>());
        let random = RandomWindows::new(data.clone(), 4, 9, 7).unwrap();
        assert_eq!(random.batch(5), random.batch(5));
        assert_ne!(random.batch(5), random.batch(6));
        let other = RandomWindows::new(data.clone(), 4, 9, 8).unwrap();
        assert_ne!(random.batch(5), other.batch(5));
        assert!(RandomWindows::new(data.split_at(9).0, 1, 9, 1).is_err());
    }

    /// Batches of different sizes, one after the other, have the same windows.
    #[test]
    fn windows_go_on_where_others_ended() {
        let data = Tokens::from((0..1000).collect::<Vec<u32>>());
        let windows = |sequences: usize, after: u64| -> Vec<Vec<u32>> {
            let random = RandomWindows::new(data.clone(), sequences, 9, 3).unwrap();
            let batch = random.batch_after(after);
            batch.parts(1).map(|part| part.inputs.to_vec()).collect()
        };
        let whole = windows(12, 5);
        let parts = [windows(4, 5), windows(7, 9), windows(1, 16)].concat();
        assert_eq!(parts, whole);
        assert_eq!(windows(4, 8), {
            let random = RandomWindows::new(data.clone(), 4, 9, 3).unwrap();
            let batch = random.batch(2);
            batch.parts(1).map(|part| part.inputs.to_vec()).collect::<Vec<_>>()
        });
    }

    /// Hidden tokens depend on a window's number, not on the size of the batch.
    #[test]
    fn windows_with_hidden_tokens() {
        let data = Tokens::from((0..1000).collect::<Vec<u32>>());
        let masking = Masking { token: 1000, vocab: 1000, seed: 5 };
        let random = |sequences| RandomWindows::new(data.clone(), sequences, 9, 3).unwrap();
        let rows = |sequences, after| -> Vec<(Vec<u32>, Vec<u32>)> {
            let batch = random(sequences).masked(masking).batch_after(after);
            let parts = batch.parts(1);
            parts.map(|part| (part.inputs.to_vec(), part.targets.to_vec())).collect()
        };
        let whole = rows(230, 5);
        let parts = [rows(4, 5), rows(225, 9), rows(1, 234)].concat();
        assert_eq!(parts, whole);
        let plain = random(230).batch_after(5);
        let plain: Vec<&[u32]> = plain.parts(1).map(|part| part.inputs).collect();
        for ((inputs, targets), text) in whole.iter().zip(&plain) {
            for ((input, target), token) in inputs.iter().zip(targets).zip(*text) {
                assert!(*target == *token || (*target == Batch::IGNORED && input == token));
            }
        }
        // The second epoch has the same windows if the offsets agree, with other hidden tokens.
        let epoch = random(1).windows();
        let hidden = |epoch_number: u64| -> Vec<usize> {
            let all = rows(epoch as usize, epoch_number * epoch);
            let targets = all.into_iter().flat_map(|(_, targets)| targets);
            let hidden = targets.enumerate().filter(|(_, target)| *target != Batch::IGNORED);
            hidden.map(|(at, _)| at).collect()
        };
        assert_ne!(hidden(0), hidden(1));
    }

    #[test]
    fn tokens_are_saved_and_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train.bin");
        let all: Vec<u16> = (0..10_000).map(|i| (i * 7_919 % 65_536) as u16).collect();
        let tokens = Tokens::short(all.clone());
        let wide = Tokens::from(all.iter().map(|t| u32::from(*t)).collect::<Vec<u32>>());
        assert_eq!(tokens.fingerprint(), wide.fingerprint());
        for width in [Width::U16, Width::U32] {
            let (_, rest) = tokens.split_at(3);
            rest.save(&path, width).unwrap();
            let opened = Tokens::open(&path, width).unwrap();
            assert_eq!(opened.fingerprint(), rest.fingerprint());
        }
        let error = Tokens::from(vec![1, 65_536]).save(&path, Width::U16).unwrap_err().to_string();
        assert!(error.contains("65536"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_epoch_has_every_window_once() {
        for (len, tokens) in [(1000, 9), (11, 9), (20, 9), (64, 1), (2, 1)] {
            let data = Tokens::from((0..len).collect::<Vec<u32>>());
            let random = RandomWindows::new(data, 1, tokens, 3).unwrap();
            let (mut orders, mut seen) = (Vec::new(), vec![false; len as usize]);
            for epoch in 0..40 {
                let numbers = epoch * random.windows..(epoch + 1) * random.windows;
                let order: Vec<u32> =
                    numbers.map(|n| random.batch(n).parts(1).next().unwrap().inputs[0]).collect();
                let mut starts = order.clone();
                starts.sort_unstable();
                let apart = starts.windows(2).all(|w| w[1] - w[0] == tokens as u32);
                assert!(apart, "{len} {tokens}: {starts:?}");
                let last = starts[starts.len() - 1] as usize + tokens;
                seen[starts[0] as usize..=last].fill(true);
                orders.push(order);
            }
            // The whole text is used, including its last token.
            assert!(seen.iter().all(|seen| *seen), "{len} {tokens}");
            if random.windows > 20 {
                assert_ne!(orders[0], orders[1]);
                let moved = orders[0].windows(2).filter(|w| w[0] > w[1]).count();
                assert!((10..).contains(&moved), "in order: {:?}", orders[0]);
            }
        }
    }

    #[test]
    fn files_are_read_as_they_are_mapped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train.bin");
        std::fs::write(&path, [1, 0, 255, 255, 0, 1, 9, 0]).unwrap();
        let tokens = |width| {
            let data = Tokens::open(&path, width).unwrap();
            let mut out = Vec::new();
            data.copy(0..data.len(), &mut out);
            out
        };
        assert_eq!(tokens(Width::U16), [1, 65_535, 256, 9]);
        assert_eq!(tokens(Width::U32), [0xFFFF_0001, 0x0009_0100]);
        let (_, rest) = Tokens::open(&path, Width::U16).unwrap().split_at(2);
        let same = Tokens::from(vec![256, 9]);
        assert_eq!(rest.fingerprint(), same.fingerprint());
        assert_ne!(same.fingerprint(), Tokens::from(vec![256, 8]).fingerprint());
        std::fs::write(&path, [1, 0, 2]).unwrap();
        let error = Tokens::open(&path, Width::U16).err().unwrap().to_string();
        assert!(error.contains("3 bytes"), "{error}");
    }
}
