//! `gpt plot`: a picture of several runs, and logs that no run writes.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::commands::{fails, succeeds};

struct TestDir(tempfile::TempDir);

impl TestDir {
    fn new() -> TestDir {
        TestDir(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A folder with `text` as its log.
    fn log(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name)).unwrap();
        fs::write(self.path(name).join("log.jsonl"), text).unwrap();
    }

    fn plot(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gpt"));
        command.current_dir(self.0.path()).arg("plot").args(arguments.split_whitespace());
        command
    }
}

fn line(step: u64, loss: &str, val_loss: Option<f64>) -> String {
    let validated = val_loss.map_or(String::new(), |loss| format!("\"val_loss\":{loss},"));
    format!(
        "{{\"step\":{step},\"loss\":{loss},{validated}\"lr\":1e-3,\"grad_norm\":0.5,\"tok_s\":9.0}}\n"
    )
}

/// The losses `high / step`, with a validation every second line.
fn falling(high: f64) -> String {
    (1..=6).fold(String::new(), |mut text, i| {
        let loss = high / i as f64;
        let validated = (i % 2 == 0).then_some(loss + 0.5);
        write!(text, "{}", line(10 * i, &loss.to_string(), validated)).unwrap();
        text
    })
}

/// The elements `name` of an SVG.
fn elements<'a>(svg: &'a str, name: &str) -> Vec<&'a str> {
    svg.split('<').filter(|element| element.starts_with(name)).collect()
}

#[test]
fn runs_are_in_one_picture() {
    let dir = TestDir::new();
    dir.log("slow", &falling(4.0));
    dir.log("a<b", &falling(3.0));
    // The run is still training, and has no validation yet.
    dir.log("new", &(line(10, "4.5", None) + "{\"step\":20,\"lo"));
    let output = succeeds(&mut dir.plot("slow a<b new --out all.svg"));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines,
        [
            "slow: 60 steps, training loss 0.6667, best validation loss 1.1667 at step 60",
            "a<b: 60 steps, training loss 0.5000, best validation loss 1.0000 at step 60",
            "new: 10 steps, training loss 4.5000, not validated",
            "the curves are in all.svg",
        ]
    );
    let svg = fs::read_to_string(dir.path("all.svg")).unwrap();
    for part in ["\nslow\n", "\na&lt;b\n", "\nnew\n", "loss (nats per token)"] {
        assert!(svg.contains(part), "{part}");
    }
    let names = ["\nslow\n", "\na&lt;b\n", "\nnew\n"].map(|name| svg.find(name));
    assert!(names.is_sorted(), "the legend has another order: {names:?}");
    // Each run has its colour: lines of six losses, a dot for each validation, and a single point
    // as a dot.
    for (color, dots, curves) in [("#0072B2", 3, 2), ("#D55E00", 3, 2), ("#009E73", 1, 0)] {
        let of = |name| {
            let all = elements(&svg, name);
            all.into_iter().filter(|element| element.contains(color)).collect::<Vec<_>>()
        };
        assert_eq!(of("circle").len(), dots, "{color}");
        let lines = of("polyline");
        let lines = lines.iter().filter(|line| line.matches(',').count() >= 3);
        assert_eq!(lines.count(), curves, "{color}");
    }
    let output = succeeds(&mut dir.plot("slow new/log.jsonl --out all.svg --json"));
    let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(figures["runs"][0]["best_step"], 60);
    assert_eq!(figures["runs"][1]["name"], "new");
    assert_eq!(figures["runs"][1]["best_val_loss"], Value::Null);
}

#[test]
fn damaged_logs_are_one_sentence() {
    let dir = TestDir::new();
    dir.log("good", &falling(4.0));
    let first = line(10, "4.5", None);
    for (name, second, part) in [
        ("text", "loss went down\n", "expected value"),
        ("list", "[1, 2]\n", "line 2 of list/log.jsonl is not a line of a training log"),
        ("blank", "\n", "line 2 of blank/log.jsonl"),
        ("missing", "{\"step\":20}\n", "missing field `loss`"),
        ("null", &line(20, "null", None), "invalid type: null"),
        ("huge", &line(20, "1e999", None), "number out of range"),
        ("high", &line(20, "1e300", None), "its loss is 1e300"),
        ("negative", &line(20, "4", Some(-1.0)), "its loss is -1e0"),
        ("order", &line(10, "4", None), "its step, 10, is not after the one before"),
    ] {
        let third = line(30, "4.5", None);
        dir.log(name, &format!("{first}{second}{third}"));
        let message = fails(&mut dir.plot(&format!("good {name}")), 2);
        assert!(message.contains(part), "{part} is not in: {message}");
        assert!(!message.contains("at line 1"), "{message}");
    }
    dir.log("bytes", "");
    fs::write(dir.path("bytes/log.jsonl"), b"{\"step\":\xff}\n").unwrap();
    dir.log("empty", "");
    let many = "good ".repeat(9);
    for (arguments, part) in [
        ("bytes", "it is not text in UTF-8"),
        ("empty", "empty/log.jsonl has no complete line yet"),
        ("good nowhere", "there is no nowhere; name a folder that gpt train wrote"),
        ("good --out a.png", "end the name with .svg"),
        (&many, "9 runs are too many for one picture"),
        ("good --out none/a.svg", "cannot write none/a.svg"),
    ] {
        let message = fails(&mut dir.plot(arguments), 2);
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    assert!(!dir.path("losses.svg").exists(), "a failure leaves a picture behind");
}

/// Steps and losses at the ends of their ranges are drawn, without an endless search for marks.
#[test]
fn extreme_values_are_drawn() {
    let dir = TestDir::new();
    let flat: String = (1..4).map(|i| line(i, "1e30", Some(1e30))).collect();
    dir.log("flat", &flat);
    dir.log("zero", &(line(0, "0", None) + &line(u64::MAX, "0", Some(0.0))));
    dir.log("first", &line(0, "0", None));
    for arguments in ["flat", "zero", "first", "flat zero first"] {
        succeeds(&mut dir.plot(arguments));
        let svg = fs::read_to_string(dir.path("losses.svg")).unwrap();
        assert!(!svg.contains("NaN") && svg.ends_with("</svg>\n"), "{arguments}");
    }
}
