//! Compares two forms of the same work: with sizes known at compile time, and at run time.
//!
//! Criterion measures one form after the other, while the speed of the machine changes. So this
//! module adds an interleaved comparison: each round times all forms once, and the result is the
//! median over rounds of each form's time relative to the first form's. A control, the first form
//! created a second time, must give 1.00; its deviation is the error of the comparison.

use std::cell::RefCell;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};

/// A form of the work: runs it the given number of times and returns the duration.
pub type Form<'a> = Box<dyn FnMut(u64) -> Duration + 'a>;

/// The forms of one kernel.
pub struct Forms<'a> {
    pub specialised: Form<'a>,
    pub dynamic: Form<'a>,
    /// The control: the first form, created a second time.
    pub control: Form<'a>,
}

/// The amount of work in one run.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// Bytes read, for memory-bound work.
    Bytes(u64),
    /// Floating-point operations, for compute-bound work. Criterion calls them elements.
    Flops(u64),
}

impl From<Work> for Throughput {
    fn from(work: Work) -> Throughput {
        match work {
            Work::Bytes(n) => Throughput::Bytes(n),
            Work::Flops(n) => Throughput::Elements(n),
        }
    }
}

/// The least duration of a measurement.
const SLICE: Duration = Duration::from_millis(5);
/// The duration after which a comparison ends, once it has its least number of rounds. With its
/// greatest number it ends earlier.
const TOTAL: Duration = Duration::from_millis(1500);
/// The least and the greatest number of rounds of a comparison.
const ROUNDS: std::ops::RangeInclusive<usize> = 5..=41;

/// Measures and compares the forms that `make` creates, if the command line selects one of them.
pub fn versus<'a>(
    criterion: &mut Criterion,
    group: &str,
    name: &str,
    work: Work,
    make: impl FnOnce() -> Forms<'a>,
) {
    let mut make = Some(make);
    let forms = RefCell::new(None);
    let mut benches = criterion.benchmark_group(format!("{group}/{name}"));
    settings(&mut benches, work);
    for which in ["specialised", "dynamic"] {
        benches.bench_function(which, |bencher| {
            bencher.iter_custom(|n| {
                let mut forms = forms.borrow_mut();
                let forms = forms.get_or_insert_with(|| make.take().expect("made once")());
                match which {
                    "specialised" => (forms.specialised)(n),
                    _ => (forms.dynamic)(n),
                }
            });
        });
    }
    benches.finish();
    let once = std::env::args().any(|a| a == "--test" || a == "--list" || a == "--profile-time");
    if let (Some(mut forms), false) = (forms.into_inner(), once) {
        let [dynamic, control] = ratios(&mut forms);
        println!(
            "{group}/{name}: dynamic / specialised {dynamic:.3}, control / specialised {control:.3}\n"
        );
    }
}

/// The times of the other forms relative to the first.
fn ratios(forms: &mut Forms<'_>) -> [f64; 2] {
    // Enough repetitions for a long measurement.
    let mut n = 1;
    while (forms.specialised)(n) < SLICE && n < 1 << 20 {
        n *= 2;
    }
    let start = Instant::now();
    let mut rounds = [Vec::new(), Vec::new()];
    while rounds[0].len() < *ROUNDS.start()
        || (start.elapsed() < TOTAL && rounds[0].len() < *ROUNDS.end())
    {
        // The first form of a round inherits the caches of the previous one, so the order rotates.
        let mut took = [Duration::ZERO; 3];
        for i in 0..3 {
            let which = (i + rounds[0].len()) % 3;
            let form = match which {
                0 => &mut forms.specialised,
                1 => &mut forms.dynamic,
                _ => &mut forms.control,
            };
            took[which] = form(n);
        }
        for (rounds, other) in rounds.iter_mut().zip(&took[1..]) {
            rounds.push(other.as_secs_f64() / took[0].as_secs_f64());
        }
    }
    rounds.map(|mut ratios| {
        ratios.sort_by(f64::total_cmp);
        ratios[ratios.len() / 2]
    })
}

/// The forms that `make` creates: with literal sizes if called with `true`, otherwise with sizes
/// that are known only at run time.
///
/// # Panics
/// If their results differ.
pub fn two<'a, R, F>(make: impl Fn() -> F) -> Forms<'a>
where
    R: PartialEq + std::fmt::Debug,
    F: FnMut(bool) -> R + 'a,
{
    let (mut specialised, mut dynamic, mut control) = (make(), make(), make());
    assert_eq!(specialised(true), dynamic(false), "the two forms have different results");
    control(true);
    Forms {
        specialised: Box::new(move |n| timed(n, || specialised(true))),
        dynamic: Box::new(move |n| timed(n, || dynamic(false))),
        control: Box::new(move |n| timed(n, || control(true))),
    }
}

/// The wall-clock time of `n` runs.
pub fn timed<R>(n: u64, mut run: impl FnMut() -> R) -> Duration {
    let start = Instant::now();
    for _ in 0..n {
        black_box(run());
    }
    start.elapsed()
}

/// Measures work with a single form. `run` does the work the given number of times and returns the
/// duration.
pub fn alone(
    criterion: &mut Criterion,
    group: &str,
    name: &str,
    work: Work,
    mut run: impl FnMut(u64) -> Duration,
) {
    let mut benches = criterion.benchmark_group(group);
    settings(&mut benches, work);
    benches.bench_function(name, |bencher| bencher.iter_custom(&mut run));
}

fn settings(group: &mut BenchmarkGroup<'_, WallTime>, work: Work) {
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .throughput(work.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "the two forms have different results")]
    fn forms_with_different_results_are_rejected() {
        two(|| |literal| u32::from(literal));
    }

    #[test]
    fn ratios_are_relative_to_the_first_form() {
        let form =
            |micros: u64| -> Form<'static> { Box::new(move |n| Duration::from_micros(n * micros)) };
        let mut forms = Forms { specialised: form(1000), dynamic: form(1500), control: form(1000) };
        assert_eq!(ratios(&mut forms), [1.5, 1.0]);
    }
}
