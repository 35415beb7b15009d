//! Gives damaged files to every parser, the same ones in each test run. `.ci/fuzz` tries as many as
//! you like, from the same sequence.

use std::path::Path;

use gpt_fuzz::{TARGETS, run};

/// Tries the first inputs of a target. Asserts that it accepts some of them and refuses others.
fn holds(name: &str, inputs: u64) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of the table");
    let failures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz");
    let report = run(target, run::SEED, 0..inputs, &failures)
        .unwrap_or_else(|failure| panic!("{failure}; to try it alone: .ci/fuzz {name} THAT_FILE"));
    assert_eq!(report.inputs, inputs);
    let share = inputs / 100..inputs * 99 / 100;
    assert!(share.contains(&report.accepted), "{} inputs are accepted", report.accepted);
}

/// Declares two tests for each target, so that targets run in parallel.
macro_rules! targets {
    ($($name:ident),* $(,)?) => {
        $(#[test] fn $name() { holds(stringify!($name), 4_000); })*

        mod many {
            $(
                #[test]
                #[ignore = "long; CI runs it"]
                fn $name() { super::holds(stringify!($name), 100_000); }
            )*
        }

        #[test]
        fn every_target_has_a_test() {
            let tests = [$(stringify!($name)),*];
            let targets: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(targets, tests);
        }
    };
}

targets!(
    gguf,
    safetensors,
    safetensors_index,
    tokenizer,
    tokenizer_config,
    vocabulary,
    chat_template,
    config,
    checkpoint_state,
    checkpoint_moments,
    pipeline_cache,
    tuning_cache,
    spec,
    declarations,
);
