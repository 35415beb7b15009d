//! Random numbers (SplitMix64, Steele et al. 2014). A new version of a dependency could change its
//! stream, and then a failing input could not be reproduced.

/// A stream of numbers.
pub struct Random(u64);

impl Random {
    /// The stream of the input `number` in the run `seed`.
    pub fn new(seed: u64, number: u64) -> Random {
        let mut random = Random(seed);
        let start = random.next() ^ number;
        Random(start)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of `list`, which is not empty.
    pub fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}
