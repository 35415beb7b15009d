//! Damages valid files.
//!
//! Random bytes are refused at the magic number, so inputs are small valid files with a few changes
//! each. A change overwrites bits, bytes or an integer; removes, repeats or copies a range of
//! bytes; cuts off the end, or takes it from another file; replaces a decimal number; or writes a
//! word that means something in the format. JSON is changed as a tree, too: otherwise nearly every
//! change of a long text would be a syntax error.

use serde_json::{Map, Value};

use crate::random::Random;

/// The most bytes of an input. Only valid files and files of the corpus may be longer.
const LONGEST: usize = 4 << 10;

/// The valid files of a format, and words of it.
pub struct Corpus {
    seeds: Vec<Vec<u8>>,
    /// The valid files that are JSON.
    trees: Vec<Value>,
    words: Vec<Vec<u8>>,
}

impl Corpus {
    pub fn new(seeds: Vec<Vec<u8>>, words: &[&str]) -> Corpus {
        assert!(!seeds.is_empty(), "a target has at least one seed");
        let trees = seeds.iter().filter_map(|seed| serde_json::from_slice(seed).ok()).collect();
        let words = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        Corpus { seeds, trees, words }
    }

    pub fn seeds(&self) -> &[Vec<u8>] {
        &self.seeds
    }

    /// A damaged file. By chance, a few are not damaged.
    pub fn input(&self, random: &mut Random) -> Vec<u8> {
        let mut bytes = match self.trees.is_empty() || random.once_in(2) {
            true => random.of(&self.seeds).clone(),
            false => {
                let mut tree = random.of(&self.trees).clone();
                for _ in 0..changes(random) {
                    self.change_tree(&mut tree, random);
                }
                let bytes = tree.to_string().into_bytes();
                // Most trees stay syntactically correct.
                if !random.once_in(8) {
                    return cut(bytes);
                }
                bytes
            }
        };
        for _ in 0..changes(random) {
            self.change(&mut bytes, random);
        }
        cut(bytes)
    }

    fn change(&self, bytes: &mut Vec<u8>, random: &mut Random) {
        if bytes.is_empty() {
            bytes.push(random.next() as u8);
            return;
        }
        let at = random.below(bytes.len());
        match random.below(14) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 | 3 => integer(bytes, at, random),
            4 => {
                let small = random.below(35) as i8 - 17;
                bytes[at] = bytes[at].wrapping_add_signed(small);
            }
            5 => drop(bytes.drain(run(bytes.len(), at, random))),
            6 => {
                let part = bytes[run(bytes.len(), at, random)].to_vec();
                let times = 1 + random.below(4);
                insert(bytes, at, &part.repeat(times));
            }
            7 => {
                let part = bytes[run(bytes.len(), at, random)].to_vec();
                let to = random.below(bytes.len());
                insert(bytes, to, &part);
            }
            8 => {
                let byte = [bytes[at]];
                let byte = if random.once_in(2) { byte } else { [random.next() as u8] };
                let times = 1 << random.below(9);
                insert(bytes, at, &byte.repeat(times));
            }
            9 => bytes.truncate(at),
            10 => {
                let other = random.of(&self.seeds);
                let from = random.below(other.len().max(1)).min(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            11 => digits(bytes, at, random),
            _ if self.words.is_empty() => bytes[at] ^= 0x80,
            12 => insert(bytes, at, random.of(&self.words).as_slice()),
            _ => {
                let word = random.of(&self.words);
                let end = bytes.len().min(at + word.len());
                bytes.splice(at..end, word.iter().copied());
            }
        }
    }

    fn change_tree(&self, tree: &mut Value, random: &mut Random) {
        let other = random.of(&self.trees);
        let (count, others) = (nodes(tree), nodes(other));
        let part = node(other, random.below(others)).clone();
        let own = node(tree, random.below(count)).clone();
        let target = node_mut(tree, random.below(count));
        match (random.below(7), target) {
            (0, target) => *target = value(random, &self.words),
            (1, target) => *target = part,
            (2, target) => *target = own,
            (3, Value::Object(map)) => {
                let keys: Vec<String> = map.keys().cloned().collect();
                if !keys.is_empty() {
                    map.remove(random.of(&keys).as_str());
                }
            }
            (4, Value::Object(map)) => {
                let keys = keys_of(other);
                if !keys.is_empty() {
                    map.insert(random.of(&keys).clone(), part);
                }
            }
            (3, Value::Array(list)) if !list.is_empty() => {
                list.remove(random.below(list.len()));
            }
            (4, Value::Array(list)) => {
                let at = random.below(list.len() + 1);
                list.insert(at, if random.once_in(2) { part } else { own });
            }
            (_, Value::String(text)) => {
                let mut bytes = std::mem::take(text).into_bytes();
                self.change(&mut bytes, random);
                *text = String::from_utf8_lossy(&bytes).into_owned();
            }
            (_, target) => *target = value(random, &self.words),
        }
    }
}

/// How many changes an input has: most often one.
fn changes(random: &mut Random) -> usize {
    1 + (random.next() | 1 << 5).trailing_zeros() as usize
}

fn cut(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(LONGEST);
    bytes
}

/// A range of bytes from `at`, more often a short one.
fn run(length: usize, at: usize, random: &mut Random) -> std::ops::Range<usize> {
    let most = 1 << random.below(9);
    at..length.min(at + 1 + random.below(most))
}

fn insert(bytes: &mut Vec<u8>, at: usize, part: &[u8]) {
    bytes.splice(at..at, part.iter().copied());
}

/// Numbers at the limits of types and sizes.
fn special(random: &mut Random) -> u64 {
    const SPECIAL: [u64; 16] = [
        0,
        1,
        2,
        7,
        255,
        256,
        65_535,
        65_536,
        100_000,
        1 << 24,
        i32::MAX as u64,
        1 << 31,
        u32::MAX as u64,
        1 << 32,
        i64::MAX as u64,
        u64::MAX,
    ];
    match random.below(4) {
        0 => 1 << random.below(64),
        1 => u64::MAX - random.below(64) as u64,
        _ => *random.of(&SPECIAL),
    }
}

/// Overwrites an integer in little endian, or adds to it.
fn integer(bytes: &mut [u8], at: usize, random: &mut Random) {
    let width = bytes[at..].len().min(1 << random.below(4));
    let field = &mut bytes[at..at + width];
    let mut old = [0; 8];
    old[..width].copy_from_slice(field);
    let old = u64::from_le_bytes(old);
    let new = match random.below(3) {
        0 => old.wrapping_add(1 + random.below(9) as u64),
        1 => old.wrapping_sub(1 + random.below(9) as u64),
        _ => special(random),
    };
    field.copy_from_slice(&new.to_le_bytes()[..width]);
}

/// Replaces the first decimal number at or after `at`.
fn digits(bytes: &mut Vec<u8>, at: usize, random: &mut Random) {
    let Some(start) = bytes[at..].iter().position(u8::is_ascii_digit).map(|n| at + n) else {
        return;
    };
    let length = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = decimal(random);
    bytes.splice(start..start + length, number.into_bytes());
}

fn decimal(random: &mut Random) -> String {
    match random.below(8) {
        0 => format!("-{}", special(random)),
        1 => format!("{}.5", special(random)),
        2 => (*random.of(&["1e400", "1e-400", "-0.0", "0.0", "1e38", "1e-38", "1e19"])).to_owned(),
        3 => "9".repeat(1 + random.below(60)),
        _ => special(random).to_string(),
    }
}

/// A random JSON value.
fn value(random: &mut Random, words: &[Vec<u8>]) -> Value {
    match random.below(9) {
        0 => Value::Null,
        1 => random.once_in(2).into(),
        2 => special(random).into(),
        3 => (special(random) as i64).wrapping_neg().into(),
        4 => f64::from_bits(random.next()).into(),
        5 if !words.is_empty() => String::from_utf8_lossy(random.of(words).as_slice()).into(),
        6 => Value::Array(vec![Value::Null; random.below(3)]),
        7 => Value::Object(Map::new()),
        _ => (*random.of(&["", "a", "é", "\u{10FFFF}", "\0", " ", "##", "\n"])).into(),
    }
}

/// How many values a tree has, itself included.
fn nodes(tree: &Value) -> usize {
    1 + match tree {
        Value::Array(list) => list.iter().map(nodes).sum(),
        Value::Object(map) => map.values().map(nodes).sum(),
        _ => 0,
    }
}

/// The value with `at` others before it.
fn node(tree: &Value, mut at: usize) -> &Value {
    if at == 0 {
        return tree;
    }
    at -= 1;
    let children: Vec<&Value> = match tree {
        Value::Array(list) => list.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => Vec::new(),
    };
    for child in children {
        let count = nodes(child);
        if at < count {
            return node(child, at);
        }
        at -= count;
    }
    tree
}

fn node_mut(tree: &mut Value, mut at: usize) -> &mut Value {
    if at == 0 {
        return tree;
    }
    at -= 1;
    let children: Vec<&mut Value> = match tree {
        Value::Array(list) => list.iter_mut().collect(),
        Value::Object(map) => map.values_mut().collect(),
        _ => unreachable!("a tree has the nodes that were counted"),
    };
    for child in children {
        let count = nodes(child);
        if at < count {
            return node_mut(child, at);
        }
        at -= count;
    }
    unreachable!("a tree has the nodes that were counted")
}

/// All keys of the objects of a tree.
fn keys_of(tree: &Value) -> Vec<String> {
    match tree {
        Value::Array(list) => list.iter().flat_map(keys_of).collect(),
        Value::Object(map) => map.keys().cloned().chain(map.values().flat_map(keys_of)).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corpus() -> Corpus {
        let json = br#"{"a":[1,2,{"b":"text"}],"c":null}"#.to_vec();
        Corpus::new(vec![json, b"GGUF\x03\0\0\0".to_vec()], &["word"])
    }

    #[test]
    fn an_input_is_a_function_of_seed_and_number() {
        let corpus = corpus();
        let input = |seed, number| corpus.input(&mut Random::new(seed, number));
        assert_eq!(input(1, 2), input(1, 2));
        let inputs: std::collections::BTreeSet<Vec<u8>> = (0..1000).map(|n| input(1, n)).collect();
        assert!(inputs.len() > 700, "{}", inputs.len());
        assert!((0..1000).any(|n| input(1, n) != input(2, n)));
    }

    #[test]
    fn most_trees_stay_json_and_few_stay_as_they_were() {
        let corpus = corpus();
        let inputs: Vec<Vec<u8>> =
            (0..2000).map(|number| corpus.input(&mut Random::new(7, number))).collect();
        let json = inputs.iter().filter(|i| serde_json::from_slice::<Value>(i).is_ok()).count();
        assert!((600..1700).contains(&json), "{json}");
        let same = inputs.iter().filter(|i| corpus.seeds.contains(i)).count();
        assert!(same < 200, "{same}");
    }

    #[test]
    fn every_node_of_a_tree_is_found() {
        let mut tree: Value = serde_json::from_slice(&corpus().seeds[0]).unwrap();
        let count = nodes(&tree);
        assert_eq!(count, 7);
        let found: Vec<Value> = (0..count).map(|at| node(&tree, at).clone()).collect();
        for (at, found) in found.iter().enumerate() {
            assert_eq!(node_mut(&mut tree, at), found);
        }
        assert_eq!(found[5], "text");
    }
}
