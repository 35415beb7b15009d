//! Gives inputs to a target and checks what every parser promises.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, Instant};

use crate::allocations;
use crate::mutate::Corpus;
use crate::random::Random;
use crate::{Place, Target};

/// The seed of the inputs that every test run tries.
pub const SEED: u64 = 22;

/// The most bytes that an input of 1 KB may make the program allocate.
const MEMORY: usize = 10 << 20;

/// What a run saw.
#[derive(Debug, Default)]
pub struct Report {
    /// Inputs that were tried.
    pub inputs: u64,
    /// Inputs that the parser accepted.
    pub accepted: u64,
    /// The most bytes that an input needed.
    pub peak: usize,
    /// The input that took longest, and its time.
    pub slowest: (u64, Duration),
}

/// An input that broke a promise.
#[derive(Debug)]
pub struct Failure {
    /// The number of the input; none for a file of the corpus or a valid file.
    pub number: Option<u64>,
    target: &'static str,
    which: String,
    file: PathBuf,
    what: String,
}

impl Failure {
    /// The promise that is broken, without digits: equal for inputs that break the same promise.
    pub fn kind(&self) -> String {
        self.what.chars().filter(|c| !c.is_ascii_digit()).take(100).collect()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { target, which, file, what, .. } = self;
        write!(f, "{target}, {which} ({}): {what}", file.display())
    }
}

/// Tries the files of the corpus, the seeds, and the inputs `numbers` of `seed`. An input that
/// breaks a promise is written to `failures`.
///
/// # Errors
/// Fails with the first input that breaks a promise.
///
/// # Panics
/// If a valid file is refused, or a file cannot be read or written.
pub fn run(
    target: &Target,
    seed: u64,
    numbers: Range<u64>,
    failures: &Path,
) -> Result<Report, Failure> {
    let corpus = Corpus::new((target.seeds)(), target.words);
    let place = Place::new(target.name);
    let mut report = Report::default();
    let attempt = |input: &[u8], which: &dyn fmt::Display| {
        attempt(target, &place, input).map_err(|what| {
            let which = which.to_string();
            let file = failures.join(format!("{}-{}", target.name, which.replace(' ', "-")));
            std::fs::create_dir_all(failures).expect("the folder can be made");
            std::fs::write(&file, input).expect("the folder can be written");
            Failure { number: None, target: target.name, which, file, what }
        })
    };
    for (name, input) in corpus_files(target.name) {
        attempt(&input, &format_args!("corpus file {name}"))?;
    }
    for (number, input) in corpus.seeds().iter().enumerate() {
        let (accepted, _) = attempt(input, &format_args!("valid file {number}"))?;
        assert!(accepted, "{} refuses its valid file {number}", target.name);
    }
    for number in numbers {
        let input = corpus.input(&mut Random::new(seed, number));
        let start = Instant::now();
        let (accepted, peak) = attempt(&input, &format_args!("seed {seed} number {number}"))
            .map_err(|failure| Failure { number: Some(number), ..failure })?;
        let time = start.elapsed();
        report.inputs += 1;
        report.accepted += u64::from(accepted);
        report.peak = report.peak.max(peak);
        if time > report.slowest.1 {
            report.slowest = (number, time);
        }
    }
    Ok(report)
}

/// Tries one file.
///
/// # Errors
/// Fails with the promise that the input breaks.
pub fn attempt(target: &Target, place: &Place, input: &[u8]) -> Result<(bool, usize), String> {
    // After an abort, the file is still there.
    place.write("input", input);
    catch_messages();
    IN_ATTEMPT.with_borrow_mut(|message| *message = Some(String::new()));
    let check = AssertUnwindSafe(|| (target.check)(place, input));
    let (result, peak) = allocations::peak(|| catch_unwind(check));
    let message = IN_ATTEMPT.take().unwrap_or_default();
    // Spans of tokens point into texts that are kept for the thread until they are invalidated.
    proc_macro2::extra::invalidate_current_thread_spans();
    let accepted = result.unwrap_or_else(|_| Err(format!("it panics: {message}")))?;
    let most = MEMORY * input.len().div_ceil(1 << 10).max(1);
    if peak > most {
        return Err(format!("{} bytes take {peak} bytes of memory", input.len()));
    }
    Ok((accepted, peak))
}

thread_local! {
    /// The message of a panic in an attempt; none outside of one.
    static IN_ATTEMPT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps the messages of panics in attempts; others are printed as before.
fn catch_messages() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let kept = IN_ATTEMPT.try_with(|message| match message.borrow_mut().as_mut() {
                Some(message) => {
                    *message = info.to_string().replace('\n', " ");
                    true
                }
                None => false,
            });
            if !kept.unwrap_or(false) {
                print(info);
            }
        }));
    });
}

/// The inputs that once broke a promise.
fn corpus_files(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<(String, Vec<u8>)> = entries
        .map(|entry| {
            let path = entry.expect("a folder that can be read").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (name, std::fs::read(&path).expect("a file that can be read"))
        })
        .collect();
    files.sort();
    files
}

/// Checks the text of an error: a sentence on one line, or a line that ends with a colon and a list
/// below it.
///
/// # Errors
/// Fails if the text is neither.
pub fn is_sentence(text: &str) -> Result<(), String> {
    let (first, list) = text.split_once('\n').unwrap_or((text, ""));
    let is_list =
        list.is_empty() || first.ends_with(':') && list.lines().all(|l| l.starts_with("  "));
    let plain = !text.chars().any(|c| c.is_control() && c != '\n');
    match !first.trim().is_empty() && is_list && plain {
        true => Ok(()),
        false => Err(format!("the error is not a sentence: {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREEDY: Target = Target {
        name: "greedy",
        seeds: || vec![b"abc".to_vec()],
        words: &[],
        check: |_, input| {
            let bytes = if input == b"a" { 11 << 20 } else { 1 << 20 };
            drop(std::hint::black_box(vec![1_u8; bytes]));
            assert_ne!(input, b"ab", "of all things");
            if input == b"b" { Err("it is b".to_owned()) } else { Ok(input == b"abc") }
        },
    };

    #[test]
    fn broken_promises_are_found() {
        let place = Place::new(GREEDY.name);
        let attempt = |input: &[u8]| attempt(&GREEDY, &place, input);
        assert!(attempt(b"abc").unwrap().0);
        assert!(!attempt(b"x").unwrap().0);
        assert!(attempt(b"a").unwrap_err().contains("bytes of memory"));
        assert_eq!(attempt(b"b").unwrap_err(), "it is b");
        let panics = attempt(b"ab").unwrap_err();
        assert!(panics.starts_with("it panics: ") && panics.contains("of all things"), "{panics}");
    }

    #[test]
    fn an_input_that_breaks_a_promise_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let failure = run(&GREEDY, 1, 0..100_000, folder.path()).unwrap_err();
        let kept = std::fs::read(&failure.file).unwrap();
        assert!([&b"a"[..], b"b", b"ab"].contains(&&*kept), "{failure}");
        assert!(failure.to_string().contains("seed 1 number "), "{failure}");
    }

    #[test]
    fn sentences() {
        for good in ["one line", "a list:\n  one\n  two"] {
            assert_eq!(is_sentence(good), Ok(()));
        }
        for bad in ["", " ", "two\nlines", "a list:\none", "an escape \u{1b}[2J"] {
            assert!(is_sentence(bad).is_err(), "{bad:?}");
        }
    }
}
