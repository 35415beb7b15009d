//! `gpt train` as scripts use it: its files, its figures, and the state of an interrupted run.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::commands::{errors, fails, succeeds};

/// A folder with a text that is easy to learn.
struct TestDir(tempfile::TempDir);

const LINES: &str = "the cat sat on the mat and the dog sat on the log; a hat is on the cat.\n";

impl TestDir {
    fn new() -> TestDir {
        let dir = TestDir(tempfile::tempdir().unwrap());
        fs::write(dir.path("text.txt"), LINES.repeat(60)).unwrap();
        dir
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A tiny run of `nano` into `out`.
    fn train(&self, out: &str, more: &str) -> Command {
        self.train_model("nano", out, more)
    }

    fn train_model(&self, model: &str, out: &str, more: &str) -> Command {
        let text = self.path("text.txt").display().to_string();
        let out = self.path(out).display().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_gpt"));
        command.args(["train", "--model", model, "--data", &text, "--out", &out]);
        command.args(["--device", "cpu", "--threads", "1"]);
        if !more.contains("--resume") {
            command.args(["--batch", "2", "--context", "16", "--warmup", "2"]);
        }
        if !more.contains("--resume") && !more.contains("--eval-every") {
            command.args(["--eval-every", "4"]);
        }
        command.args(more.split_whitespace());
        command.stdin(Stdio::null());
        command
    }
}

fn log(out: &Path) -> Vec<Value> {
    let text = fs::read_to_string(out.join("log.jsonl")).unwrap();
    let lines = text.lines().map(|l| serde_json::from_str(l).unwrap());
    lines.collect()
}

#[test]
fn a_run_leaves_a_model_a_log_a_curve_and_a_checkpoint() {
    let dir = TestDir::new();
    let output =
        succeeds(&mut dir.train("run", "--steps 12 --sample-every 6 --sample-tokens 5 --json"));
    let text = errors(&output);
    for part in ["804 k parameters", "activations", "optimizer", "validation loss", "saved"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("--- step 6\nt"), "{printed}");
    let figures: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    assert_eq!(figures["steps"], 12);
    assert_eq!(figures["tokens"], 12 * 2 * 16);
    assert!(figures["best_val_loss"].as_f64().unwrap() < 4.2);
    let out = dir.path("run");
    let lines = log(&out);
    let steps: Vec<&Value> = lines.iter().map(|l| &l["step"]).collect();
    assert_eq!(steps, [4, 6, 8, 10, 12]);
    assert!(lines[0]["val_loss"].as_f64() > lines[4]["val_loss"].as_f64());
    // The samples are in the log, too: the first character of the text and at most five more. The
    // tokens that the text does not have are empty.
    for (line, is_sampled) in lines.iter().zip([false, true, false, false, true]) {
        assert_eq!(line["sample"].is_string(), is_sampled, "{line}");
        if let Some(sample) = line["sample"].as_str() {
            assert!(sample.starts_with('t') && sample.chars().count() <= 6, "{sample}");
            assert!(printed.contains(&format!("--- step {}\n{sample}\n", line["step"])));
        }
    }
    for key in ["loss", "lr", "grad_norm", "tok_s"] {
        assert!(lines.iter().all(|l| l[key].as_f64().unwrap() > 0.0), "{key}");
    }
    let svg = fs::read_to_string(out.join("loss.svg")).unwrap();
    for part in ["training", "validation", "step", "loss (nats per token)", "Nano, text.txt"] {
        assert!(svg.contains(part), "{part}");
    }
    assert!(out.join("checkpoint-12").is_dir() && !out.join("checkpoint-8").exists());

    let mut generate = Command::new(env!("CARGO_BIN_EXE_gpt"));
    generate.args(["generate", "--model", "nano", "--device", "cpu", "--prompt", "the"]);
    generate.args(["--tokens", "4", "--weights"]).arg(&out);
    let output = succeeds(&mut generate);
    assert!(!output.stdout.is_empty());

    // The folder alone is enough to resume.
    let mut more = Command::new(env!("CARGO_BIN_EXE_gpt"));
    more.args(["train", "--resume", "--steps", "13", "--device", "cpu", "--out"]).arg(&out);
    succeeds(&mut more);
    assert!(out.join("checkpoint-13").is_dir());
    assert!(fails(&mut more, 2).contains("ask for more with --steps"));
}

/// The files of the checkpoint of step `step`, and the model.
fn state(out: &Path, step: u64) -> Vec<Vec<u8>> {
    let checkpoint = out.join(format!("checkpoint-{step}"));
    let names = ["model.safetensors", "moments.safetensors"];
    let mut files: Vec<_> = names.iter().map(|n| fs::read(checkpoint.join(n)).unwrap()).collect();
    files.push(fs::read(out.join("model.safetensors")).unwrap());
    files
}

/// `bard` has dropout, whose masks must be the same in the resumed run.
#[test]
fn a_resumed_run_equals_an_uninterrupted_one() {
    let dir = TestDir::new();
    let run = |out, more: &str| succeeds(&mut dir.train_model("bard", out, more));
    let options = "--schedule constant --accumulate 2 --save-every 3";
    run("whole", &format!("{options} --steps 7"));
    run("halves", &format!("{options} --steps 4"));
    let begun = log(&dir.path("halves"));
    run("halves", "--resume --steps 7");
    assert!(state(&dir.path("whole"), 7) == state(&dir.path("halves"), 7));
    let (whole, halves) = (log(&dir.path("whole")), log(&dir.path("halves")));
    assert_eq!(halves[..begun.len()], begun);
    let last = |lines: &[Value]| lines.last().unwrap()["val_loss"].clone();
    assert_eq!(last(&whole), last(&halves));
}

/// As long as the fall has not begun, a run with the schedule `wsd` may get more steps.
#[test]
fn a_stable_run_may_get_more_steps() {
    let dir = TestDir::new();
    let run = |out: &str, more: &str| succeeds(&mut dir.train(out, more));
    for (schedule, fall) in [("wsd", 0.5), ("wsd-linear", 0.75)] {
        let [whole, halves] = ["whole", "halves"].map(|half| format!("{schedule}-{half}"));
        let options = format!("--schedule {schedule} --decay-steps 4 --save-every 3 --min-lr 0");
        run(&whole, &format!("{options} --steps 12"));
        run(&halves, "--steps 8 --schedule constant --save-every 3");
        run(&halves, &format!("--resume --steps 12 {options}"));
        assert!(state(&dir.path(&whole), 12) == state(&dir.path(&halves), 12));
        // A run that goes on keeps its schedule, which now ends later.
        let lines = log(&dir.path(&halves));
        let rate = |step| {
            let line = lines.iter().find(|line| line["step"] == step).unwrap();
            line["lr"].as_f64().unwrap() / 1e-3
        };
        assert!((rate(8) - 1.0).abs() < 1e-6, "{schedule}: {}", rate(8));
        // The line of step 10 has the rate of the step before it: a quarter of the fall is done.
        assert!((rate(10) - fall).abs() < 1e-6, "{schedule}: {}", rate(10));
        run(&halves, "--resume --steps 14");
        let text = fs::read_to_string(dir.path(&halves).join("checkpoint-14/state.json")).unwrap();
        let state: Value = serde_json::from_str(&text).unwrap();
        let kind = if schedule == "wsd" { "StableSqrt" } else { "StableLinear" };
        let decay = &state["settings"]["schedule"]["decay"][kind];
        assert_eq!((&decay["from"], &decay["until"]), (&10.into(), &14.into()), "{decay}");
        // Another schedule has no fall of this length.
        run(&halves, "--resume --steps 15 --schedule cosine");
    }
}

/// With this learning rate no parameter changes, so no validation is better than the first.
#[test]
fn a_run_stops_early_and_can_go_on() {
    let dir = TestDir::new();
    let options = "--steps 14 --lr 1e-30 --eval-every 2 --eval-windows 2 --save-every 5";
    let run = |out: &str, more: &str| {
        let output = succeeds(&mut dir.train(out, more));
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        (errors(&output), serde_json::from_str::<Value>(text.lines().last().unwrap()).ok())
    };
    let steps = |out: &str| -> Vec<u64> {
        log(&dir.path(out)).iter().map(|line| line["step"].as_u64().unwrap()).collect()
    };
    run("whole", options);
    // The validations of steps 4, 6 and 8 are not better than that of step 2.
    let (text, _) = run("run", &format!("{options} --early-stop 3"));
    let sentence = "stopped early after step 8, because the last 3 validations had no lower loss";
    assert!(text.contains(sentence), "{text}");
    assert_eq!(steps("run"), [2, 4, 5, 6, 8]);
    assert!(dir.path("run/checkpoint-8").is_dir() && dir.path("run/model.safetensors").exists());
    // A resumed run goes on until the next validation that is not better.
    let (text, figures) = run("run", "--resume --json");
    assert!(!text.contains("stopped"), "{text}");
    let figures = figures.unwrap();
    assert_eq!((&figures["early_stopped"], &figures["steps"]), (&true.into(), &10.into()));
    assert_eq!(figures["best_step"], 2);
    let (_, figures) = run("run", "--resume --early-stop 0 --json");
    let figures = figures.unwrap();
    assert_eq!((&figures["early_stopped"], &figures["steps"]), (&false.into(), &14.into()));
    assert!(state(&dir.path("whole"), 14) == state(&dir.path("run"), 14));
    let message = fails(&mut dir.train("new", "--steps 9 --eval-windows 0 --early-stop 1"), 2);
    assert!(message.contains("--early-stop needs validations"), "{message}");
    // A run that learns has a better validation each time, and makes all its steps.
    let (text, _) = run("learns", "--steps 8 --eval-every 2 --early-stop 1");
    assert!(!text.contains("stopped") && dir.path("learns/checkpoint-8").is_dir(), "{text}");
}

/// The seed of a sample is the run's, so the samples of a model that does not change are equal. A
/// resumed run writes the same ones.
#[test]
fn samples_differ_by_the_model_alone() {
    let dir = TestDir::new();
    let samples = |out: &str| -> Vec<String> {
        let lines = log(&dir.path(out));
        lines.iter().filter_map(|line| Some(line["sample"].as_str()?.to_owned())).collect()
    };
    let options = "--sample-every 2 --sample-tokens 30 --eval-windows 1 --save-every 3";
    succeeds(&mut dir.train("still", &format!("{options} --steps 6 --lr 1e-30")));
    let still = samples("still");
    assert!(still.len() == 3 && still.iter().all(|sample| *sample == still[0]), "{still:?}");
    succeeds(&mut dir.train("seed", &format!("{options} --steps 6 --lr 1e-30 --seed 3")));
    assert_ne!(samples("seed")[0], still[0]);
    let learns = format!("{options} --schedule constant --lr 1e-2");
    succeeds(&mut dir.train("whole", &format!("{learns} --steps 8")));
    succeeds(&mut dir.train("halves", &format!("{learns} --steps 4")));
    succeeds(&mut dir.train("halves", "--resume --steps 8"));
    let whole = samples("whole");
    assert!(whole.len() == 4 && whole[0] != whole[3], "{whole:?}");
    assert_eq!(whole, samples("halves"));
}

/// A run with an average of its weights takes the same steps. It validates and keeps the average,
/// also after it was resumed.
#[test]
fn an_average_of_the_weights_is_validated_and_kept() {
    let dir = TestDir::new();
    let run = |out: &str, more: &str| succeeds(&mut dir.train(out, more));
    let options = "--schedule constant --eval-windows 5 --sample-every 4";
    run("plain", &format!("{options} --steps 8"));
    let output = run("whole", &format!("{options} --ema 0.9 --steps 8"));
    assert!(errors(&output).contains("average 3.07 MiB"), "{}", errors(&output));
    run("halves", &format!("{options} --ema 0.9 --steps 4"));
    run("halves", "--resume --steps 8");
    let [plain, whole, halves] = ["plain", "whole", "halves"].map(|out| dir.path(out));
    assert!(state(&whole, 8) == state(&halves, 8));
    let average = |out: &Path| fs::read(out.join("checkpoint-8/average.safetensors")).unwrap();
    assert!(average(&whole) == average(&halves));
    // The parameters and moments are those without an average, which validates otherwise.
    assert!(state(&plain, 8)[..2] == state(&whole, 8)[..2]);
    let losses = |out: &Path, key: &str| -> Vec<Value> {
        log(out).iter().map(|line| line[key].clone()).filter(|loss| !loss.is_null()).collect()
    };
    assert_eq!(losses(&plain, "grad_norm"), losses(&whole, "grad_norm"));
    let validated = losses(&whole, "val_loss");
    assert_eq!(validated, losses(&halves, "val_loss"));
    assert_eq!(losses(&whole, "sample"), losses(&halves, "sample"));
    assert_ne!(validated, losses(&plain, "val_loss"));
    // The last validation is the best one, and the model in the folder is the average.
    assert!(validated[1].as_f64() < validated[0].as_f64(), "{validated:?}");
    assert!(state(&whole, 8)[2] == average(&whole));
    let validate = |more: &str| -> Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gpt"));
        command.args(["train", "--validate-only", "--device", "cpu", "--json", "--out"]);
        let output = succeeds(command.arg(&whole).args(more.split_whitespace()));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["val_loss"].clone()
    };
    assert_eq!(validate(""), validated[1]);
    assert_eq!(validate("--ema 0"), losses(&plain, "val_loss")[1]);
    // A resumed run may end its average.
    run("halves", "--resume --steps 9 --ema 0");
    assert!(!halves.join("checkpoint-9/average.safetensors").exists());
    let message = fails(&mut dir.train("new", "--ema 1"), 2);
    assert!(message.contains("the decay of the average is 1"), "{message}");
}

#[test]
fn a_killed_run_resumes_from_its_last_checkpoint() {
    let dir = TestDir::new();
    let options = "--steps 100000 --save-every 1 --eval-every 7 --eval-windows 2";
    let mut announced = 0;
    for round in 0..6u32 {
        let mut command = match round {
            0 => dir.train("run", options),
            _ => dir.train("run", "--resume"),
        };
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        // Kills the run after some steps, in each round at another moment.
        let mut first = None;
        for line in lines.by_ref().map(Result::unwrap) {
            let step = line.strip_prefix("step ").and_then(|l| l.split_once(": saved"));
            if let Some(step) = step.map(|(step, _)| step.parse::<u64>().unwrap()) {
                announced = step;
                let begun = *first.get_or_insert(step);
                if step >= begun + u64::from(round) {
                    break;
                }
            }
            assert!(!line.starts_with("error"), "{line}");
        }
        let begun = first.expect("a checkpoint was announced");
        std::thread::sleep(Duration::from_millis(u64::from(round * 7 % 23)));
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines.map_while(Result::ok) {
            let step = line.strip_prefix("step ").and_then(|l| l.split_once(": saved"));
            announced = step.map_or(announced, |(step, _)| step.parse().unwrap());
        }
        assert!(round == 0 || begun > 1, "it began again");
        let newest = fs::read_dir(dir.path("run")).unwrap().filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_prefix("checkpoint-")?.parse::<u64>().ok()
        });
        let newest = newest.max().unwrap();
        assert!(newest >= announced, "{newest} is older than {announced}");
    }
    let resumed = succeeds(&mut dir.train("run", &format!("--resume --steps {}", announced + 3)));
    assert!(errors(&resumed).contains("saved"));
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_and_explains_how_to_resume() {
    let dir = TestDir::new();
    let mut command = dir.train("run", "--steps 1000000 --eval-every 50");
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    while !dir.path("run/log.jsonl").exists() {
        assert_eq!(child.try_wait().unwrap(), None, "it ended by itself");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(300));
    let mut kill = Command::new("kill");
    succeeds(kill.args(["-INT", &child.id().to_string()]));
    let output = child.wait_with_output().unwrap();
    let text = errors(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("continue with: gpt train --resume --out"), "{text}");
    assert!(text.contains("saved"), "{text}");
}

/// A run interrupted at several moments, in steps and in validations, has the validations and the
/// samples of a run that was not.
#[cfg(unix)]
#[test]
fn what_is_due_when_ctrl_c_is_pressed_is_done_later() {
    let dir = TestDir::new();
    let options = "--steps 6 --eval-every 1 --save-every 4 --sample-every 2 --sample-tokens 2";
    succeeds(&mut dir.train("whole", options));
    let kept = |out: &str| {
        let lines = log(&dir.path(out));
        lines.iter().map(|l| [&l["step"], &l["val_loss"], &l["sample"]].map(Value::clone)).collect()
    };
    let expected: Vec<[Value; 3]> = kept("whole");
    let mut command = dir.train("parts", options);
    for round in 0..40 {
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        // After one to three messages about steps, which differ in what is due next.
        let mut steps = lines.by_ref().map(Result::unwrap).filter(|line| line.starts_with("step "));
        let running = steps.nth(round % 3).is_some();
        if running {
            succeeds(Command::new("kill").args(["-INT", &child.id().to_string()]));
            lines.for_each(drop);
        }
        assert!(child.wait().unwrap().success());
        if log(&dir.path("parts")).len() == expected.len() {
            break;
        }
        command = dir.train("parts", "--resume");
    }
    assert_eq!(kept("parts"), expected);
    let [whole, parts] = ["whole", "parts"].map(|out| state(&dir.path(out), 6));
    assert!(whole == parts);
}

#[test]
fn files_of_a_run_without_a_checkpoint_are_replaced() {
    let dir = TestDir::new();
    succeeds(&mut dir.train("run", "--steps 4"));
    let tokens = fs::read(dir.path("run/train.bin")).unwrap();
    let left = dir.path("left");
    fs::create_dir(&left).unwrap();
    for name in ["train.bin", "val.bin"] {
        let len = fs::metadata(dir.path("run").join(name)).unwrap().len();
        fs::write(left.join(name), vec![0; len as usize]).unwrap();
    }
    fs::write(left.join("tokenizer.json"), "{}").unwrap();
    succeeds(&mut dir.train("left", "--steps 4"));
    for name in ["train.bin", "val.bin", "tokenizer.json", "model.safetensors"] {
        let [expected, found] =
            ["run", "left"].map(|out| fs::read(dir.path(out).join(name)).unwrap());
        assert!(expected == found, "{name}");
    }
    // Damaged tokens are not those of the checkpoint, and are replaced, too.
    fs::write(left.join("train.bin"), vec![0; tokens.len()]).unwrap();
    succeeds(&mut dir.train("left", "--resume --steps 5"));
    assert!(fs::read(left.join("train.bin")).unwrap() == tokens);
}

#[test]
fn a_run_that_stops_validating_has_no_best_model() {
    let dir = TestDir::new();
    succeeds(&mut dir.train("run", "--steps 4"));
    let best = |more: &str| {
        let output = succeeds(&mut dir.train("run", &format!("--resume --json {more}")));
        let text = String::from_utf8(output.stdout).unwrap();
        let figures: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        figures["best_step"].clone()
    };
    assert_eq!(best("--steps 6 --eval-windows 0"), Value::Null);
    // The best of the validations since then.
    assert_eq!(best("--steps 8 --eval-windows 5 --eval-every 8"), 8);
}

#[test]
fn a_damaged_line_of_the_log_is_an_error() {
    let dir = TestDir::new();
    succeeds(&mut dir.train("run", "--steps 12"));
    let path = dir.path("run/log.jsonl");
    let damaged = fs::read_to_string(&path).unwrap().replacen("loss", "lo", 1);
    fs::write(&path, &damaged).unwrap();
    let message = fails(&mut dir.train("run", "--resume --steps 13"), 2);
    assert!(message.contains("line 1 of"), "{message}");
    assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
}

#[test]
fn a_run_that_diverges_stops_and_keeps_the_last_checkpoint() {
    let dir = TestDir::new();
    succeeds(&mut dir.train("run", "--steps 2 --save-every 1"));
    let more = "--resume --steps 200 --lr 1e30 --clip 0 --schedule constant --save-every 500";
    let message = fails(&mut dir.train("run", more), 1);
    assert!(message.contains("diverged"), "{message}");
    assert!(message.contains("the checkpoint of step 2 is kept"), "{message}");
    assert!(dir.path("run/checkpoint-2/model.safetensors").exists());
}

#[test]
fn fine_tuning_begins_where_the_weights_are() {
    let dir = TestDir::new();
    succeeds(&mut dir.train("base", "--steps 8"));
    let loss = |out: &str, weights: &str| {
        let more = format!("--steps 1 --lr 1e-9 --json {weights}");
        let output = succeeds(&mut dir.train(out, &more));
        let text = String::from_utf8(output.stdout).unwrap();
        let figures: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        figures["val_loss"].as_f64().unwrap()
    };
    let base = dir.path("base");
    let lines = log(&base);
    let known = lines.last().unwrap()["val_loss"].as_f64().unwrap();
    let tuned = loss("tuned", &format!("--weights {}", base.display()));
    assert!((tuned - known).abs() < 1e-4, "{tuned} and {known}");
    assert!(loss("new", "") > known + 0.3);
    // A run can also start from a GGUF, which contains its tokenizer.
    let gguf = dir.path("base.gguf");
    let convert = |dtype: &str| {
        let mut convert = Command::new(env!("CARGO_BIN_EXE_gpt"));
        convert.args(["convert", "--model", "nano", "--dtype", dtype, "--weights"]).arg(&base);
        convert.arg("--out").arg(&gguf);
        convert
    };
    for dtype in ["q8", "q4_k_m"] {
        succeeds(&mut convert(dtype));
        let rounded = loss(dtype, &format!("--weights {}", gguf.display()));
        assert!((rounded - known).abs() < 0.05, "{rounded} and {known}");
    }
    let message = fails(&mut convert("q4_k"), 2);
    assert!(message.contains("takes multiples of 256; choose q4_k_m"), "{message}");
    let message = fails(&mut convert("q4_m"), 2);
    assert!(message.contains("q4_k, q4_k_m, q5_k_m"), "{message}");
}

/// The names, sizes and contents of all files below `folder`.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push((path.clone(), fs::read(&path).unwrap())),
        }
    }
    found.sort();
    found
}

#[test]
fn a_validation_alone_prints_the_loss_of_the_log() {
    let dir = TestDir::new();
    succeeds(&mut dir.train("run", "--steps 6 --eval-windows 9"));
    let validate = |more: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gpt"));
        command.args(["train", "--validate-only", "--device", "cpu", "--threads", "1"]);
        command.args(more.split_whitespace()).current_dir(dir.0.path()).stdin(Stdio::null());
        command
    };
    let figures = |more: &str| -> Value {
        let output = succeeds(&mut validate(&format!("{more} --json")));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let logged = log(&dir.path("run")).last().unwrap()["val_loss"].clone();
    fs::write(dir.path("other.txt"), LINES.repeat(61)).unwrap();
    let before = files(dir.0.path());
    // The run's options and tokens are used, so the loss is that of the log, bit for bit.
    let run = figures("--out run");
    assert_eq!((&run["val_loss"], &run["step"], &run["tokens"]), (&logged, &6.into(), &144.into()));
    let one = figures("--out run --eval-windows 1");
    assert!(one["tokens"] == 16 && one["val_loss"] != logged);
    // Weights alone need a text, and are cut into windows of the same length if that is asked for.
    let sizes = "--context 16 --eval-windows 9 --model nano --data text.txt";
    let alone = figures(&format!("--weights run {sizes}"));
    let close = |a: &Value| (a.as_f64().unwrap() / logged.as_f64().unwrap() - 1.0).abs() < 1e-6;
    assert!(close(&alone["val_loss"]) && alone["step"].is_null(), "{alone}");
    let output = succeeds(&mut validate("--out run"));
    let text = String::from_utf8(output.stdout).unwrap();
    let loss = format!("validation loss {:.4} nats per token of run", logged.as_f64().unwrap());
    assert!(text.starts_with(&loss) && text.ends_with(", 144 tokens\n"), "{text}");
    assert!(files(dir.0.path()) == before, "a validation has written something");
    for (more, part) in [
        ("", "validates a run (--out DIR), or --weights with a text (--data)"),
        ("--weights run", "validates a run (--out DIR), or --weights with a text (--data)"),
        ("--out none", "none has no checkpoint to validate"),
        ("--out run --eval-windows 0", "there is nothing to validate"),
        ("--out run --context 65", "1 to 64 tokens"),
        ("--out run --resume", "cannot be used with"),
        ("--out run --data other.txt", "is not the text of the run"),
    ] {
        let message = fails(&mut validate(more), 2);
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    fs::write(dir.path("run/val.bin"), [1, 2, 3]).unwrap();
    fs::remove_file(dir.path("text.txt")).unwrap();
    assert!(fails(&mut validate("--out run"), 2).contains("text.txt"));
}

#[test]
fn failures_are_one_sentence() {
    let dir = TestDir::new();
    let many: String = ('!'..='\u{a0}').collect();
    fs::write(dir.path("many.txt"), many.repeat(10)).unwrap();
    fs::write(dir.path("short.txt"), "too short").unwrap();
    let other = |text: &str, more: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gpt"));
        command.args(["train", "--model", "nano", "--device", "cpu", "--data"]);
        command.arg(dir.path(text)).arg("--out").arg(dir.path("new"));
        command.args(more.split_whitespace());
        fails(&mut command, 2)
    };
    let vocabulary = other("many.txt", "");
    assert!(vocabulary.contains("has 128 tokens"), "{vocabulary}");
    assert!(vocabulary.contains("has 65"), "{vocabulary}");
    assert!(vocabulary.contains("vocab: 128"), "{vocabulary}");
    for (message, part) in [
        (other("none.txt", ""), "none.txt"),
        (other("short.txt", ""), "give more text or a smaller --context"),
        (other("text.txt", "--tokenizer bpe:300"), "the vocabulary of Nano has 65"),
        (other("text.txt", "--tokenizer bpe:x"), "bpe:512"),
        (other("text.txt", "--context 65"), "1 to 64 tokens"),
        (other("text.txt", "--lr 0"), "learning rate is 0"),
        (other("text.txt", "--dtype f16"), "choose bf16"),
        (other("text.txt", "--steps 0"), "--steps is 0"),
        (other("text.txt", "--batch 0"), "--batch is 0"),
        (other("text.txt", "--context 0"), "--context is 0"),
        (other("text.txt", "--lr="), "expected a number"),
        (other("text.txt", "--decay-steps 2"), "the fall of --schedule wsd or wsd-linear"),
        (other("text.txt", "--decay-steps 9 --steps 8 --schedule wsd"), "the run has 8 steps"),
        (other("text.txt", "--decay-steps 0 --schedule wsd"), "--decay-steps is 0"),
        (other("text.txt", "--weights none.gguf"), "none.gguf"),
    ] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    assert!(!dir.path("new").exists(), "a failed run leaves a folder behind");
    succeeds(&mut dir.train("run", "--steps 2"));
    for (message, part) in [
        (fails(&mut dir.train("run", ""), 2), "already has a run, of 2 steps"),
        (fails(&mut dir.train("run", "--resume --seed 5"), 2), "began with --seed 0"),
        (fails(&mut dir.train("run", "--resume --tokenizer char"), 2), "keeps its tokenizer"),
        (fails(&mut dir.train("run", "--resume --weights x"), 2), "takes no --weights"),
    ] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    fs::write(dir.path("text.txt"), LINES.repeat(61)).unwrap();
    let changed = fails(&mut dir.train("run", "--resume --steps 3"), 2);
    assert!(changed.contains("is not the text that the run"), "{changed}");
    let mut nothing = Command::new(env!("CARGO_BIN_EXE_gpt"));
    nothing.args(["train", "--resume", "--out"]).arg(dir.path("nowhere"));
    assert!(fails(&mut nothing, 2).contains("no checkpoint to resume"));
    fs::write(dir.path("run/checkpoint-2/state.json"), "{").unwrap();
    let damaged = fails(&mut dir.train("run", "--resume"), 2);
    assert!(damaged.contains("is not the state of a training run"), "{damaged}");
}
