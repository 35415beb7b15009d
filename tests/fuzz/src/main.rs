//! Tries any number of inputs: `gpt-fuzz [TARGET] [COUNT] [SEED]`.
//!
//! All targets run unless one is named, on as many threads as the machine has. Another seed gives
//! other inputs. The status is 1 if any input breaks a promise; the message names the file with the
//! input, and `gpt-fuzz TARGET FILE` tries it alone.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use gpt_fuzz::{Place, TARGETS, Target, run};

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let named = |name: &String| TARGETS.iter().find(|target| target.name == name);
    let one = arguments.first().and_then(named);
    if one.is_some() {
        arguments.remove(0);
    }
    if let (Some(target), Some(file)) = (one, arguments.first().filter(|f| Path::new(f).is_file()))
    {
        return replay(target, Path::new(file));
    }
    let numbers: Option<Vec<u64>> = arguments.iter().map(|text| text.parse().ok()).collect();
    let (count, seed) = match numbers.as_deref() {
        Some([]) => (100_000, run::SEED),
        Some([count]) => (*count, run::SEED),
        Some([count, seed]) => (*count, *seed),
        _ => {
            let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            eprintln!("gpt-fuzz [TARGET] [COUNT] [SEED], or gpt-fuzz TARGET FILE");
            eprintln!("targets: {}", names.join(", "));
            return ExitCode::from(2);
        }
    };
    let targets: Vec<&Target> = one.map_or(TARGETS.iter().collect(), |target| vec![target]);
    let left = Mutex::new(targets.into_iter());
    let failed = Mutex::new(false);
    println!("| target | inputs | accepted | seconds | peak of memory | slowest |");
    println!("|---|---|---|---|---|---|");
    let work = || {
        while let Some(target) = next(&left) {
            if !report(target, seed, count) {
                *failed.lock().expect("no thread panics") = true;
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    ExitCode::from(u8::from(failed.into_inner().expect("no thread panics")))
}

fn next<'a>(left: &Mutex<impl Iterator<Item = &'a Target>>) -> Option<&'a Target> {
    left.lock().expect("no thread panics").next()
}

/// The number of kinds of failures after which a target ends.
const KINDS: usize = 30;

/// Runs a target and prints a row of the table, after one failure of each kind. Returns whether all
/// promises are kept.
fn report(target: &Target, seed: u64, count: u64) -> bool {
    let start = Instant::now();
    let mut kinds = BTreeSet::new();
    let mut first = 0;
    loop {
        match run(target, seed, first..count, &std::env::temp_dir().join("gpt-fuzz")) {
            Ok(report) => {
                println!(
                    "| {} | {} | {} | {:.0} | {} KB | {} ms ({}) |",
                    target.name,
                    report.inputs,
                    report.accepted,
                    start.elapsed().as_secs_f64(),
                    report.peak >> 10,
                    report.slowest.1.as_millis(),
                    report.slowest.0,
                );
                return kinds.is_empty();
            }
            Err(failure) => {
                if kinds.insert(failure.kind()) {
                    println!("{failure}");
                }
                match failure.number {
                    Some(number) if kinds.len() < KINDS => first = number + 1,
                    _ => return false,
                }
            }
        }
    }
}

fn replay(target: &Target, file: &Path) -> ExitCode {
    let input = match std::fs::read(file) {
        Ok(input) => input,
        Err(error) => {
            eprintln!("cannot read {}: {error}", file.display());
            return ExitCode::from(2);
        }
    };
    match run::attempt(target, &Place::new(target.name), &input) {
        Ok((accepted, peak)) => {
            println!("{}, {peak} bytes at most", if accepted { "accepted" } else { "refused" });
            ExitCode::SUCCESS
        }
        Err(what) => {
            println!("{what}");
            ExitCode::FAILURE
        }
    }
}
