//! The output of `gpt` on a terminal: a pseudo-terminal that `script` (util-linux) opens.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gpt_runtime::Tokenizer;

/// `gpt` on a terminal, and what it has printed so far.
struct Terminal {
    child: Child,
    keys: Option<ChildStdin>,
    printed: Arc<Mutex<String>>,
}

impl Terminal {
    /// Runs `gpt` with these arguments. Returns `None` if `script` is not installed.
    fn open(arguments: &str, folder: &Path, variables: &[(&str, &str)]) -> Option<Terminal> {
        // `exec`: a shell that waits for `gpt` would receive Ctrl-C too, and dash then exits with
        // 130.
        let line = format!("exec {} {arguments}", env!("CARGO_BIN_EXE_gpt"));
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).current_dir(folder);
        command.env_remove("NO_COLOR").env("TERM", "xterm-256color");
        command.envs(variables.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let Ok(mut child) = command.stderr(Stdio::null()).spawn() else {
            eprintln!("NOT RUN, as there is no `script`");
            return None;
        };
        let printed = Arc::new(Mutex::new(String::new()));
        let (mut stdout, copy) = (child.stdout.take().unwrap(), printed.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = stdout.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..n]);
                copy.lock().unwrap().push_str(&text);
            }
        });
        Some(Terminal { keys: child.stdin.take(), child, printed })
    }

    fn press(&mut self, keys: &str) {
        let pipe = self.keys.as_mut().unwrap();
        pipe.write_all(keys.as_bytes()).unwrap();
        pipe.flush().unwrap();
    }

    /// Waits until `text` has been printed `times` times.
    #[track_caller]
    fn sees(&self, text: &str, times: usize) {
        let start = Instant::now();
        loop {
            let printed = self.printed.lock().unwrap().clone();
            if printed.matches(text).count() >= times {
                return;
            }
            let waited = start.elapsed();
            assert!(waited < Duration::from_secs(60), "no {text:?} in {printed:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for the end, and returns the exit status and what was printed.
    fn end(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().unwrap().code();
        // The thread that reads ends with the program.
        while Arc::strong_count(&self.printed) > 1 {
            std::thread::sleep(Duration::from_millis(10));
        }
        let printed = self.printed.lock().unwrap().clone();
        (status, printed)
    }
}

/// The text without colours.
fn plain(text: &str) -> String {
    let mut parts = text.split('\x1b');
    let mut plain = parts.next().unwrap().to_owned();
    for part in parts {
        let (_, rest) = part.split_once('m').unwrap();
        plain.push_str(rest);
    }
    plain.replace('\r', "")
}

#[test]
fn inspect_is_coloured_on_a_terminal_only() {
    let folder = tempfile::tempdir().unwrap();
    let inspect = |variables: &[(&str, &str)]| {
        let terminal = Terminal::open("inspect --model nano", folder.path(), variables)?;
        let (status, text) = terminal.end();
        assert_eq!(status, Some(0));
        Some(text)
    };
    let Some(coloured) = inspect(&[]) else { return };
    let piped = Command::new(env!("CARGO_BIN_EXE_gpt"))
        .args(["inspect", "--model", "nano"])
        .output()
        .unwrap();
    let piped = String::from_utf8(piped.stdout).unwrap();
    assert!(coloured.contains('\x1b') && !piped.contains('\x1b'));
    assert_eq!(plain(&coloured), piped);
    for variable in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let text = inspect(&[variable]).unwrap();
        assert_eq!(text.replace('\r', ""), piped, "{variable:?}");
    }
    let widest = piped.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(80), "{widest:?} columns");
}

#[test]
fn ctrl_c_stops_an_answer_and_ctrl_d_a_chat() {
    let folder = tempfile::tempdir().unwrap();
    let characters: String = ('\n'..='\n').chain(' '..='`').take(65).collect();
    let tokenizer = Tokenizer::characters(&characters).unwrap();
    tokenizer.save(&folder.path().join("tokenizer.json")).unwrap();
    let template = "{% for m in messages %}{{ m.content }}\n{% endfor %}";
    std::fs::write(folder.path().join("chat_template.jinja"), template).unwrap();
    let arguments = "chat --device cpu --threads 1 --tokens 200 --tokenizer tokenizer.json";
    let Some(mut chat) = Terminal::open(arguments, folder.path(), &[]) else {
        return;
    };
    chat.sees("> ", 1);
    chat.press("HELLO\r");
    // The speed follows each answer.
    chat.sees("tokens/s", 1);
    // The arrow recalls the message.
    chat.press("\x1b[A\r");
    chat.sees("HELLO", 2);
    chat.press("\x03");
    chat.sees("tokens/s", 2);
    chat.press("/save chat.json\r");
    chat.sees("saved 2 messages", 1);
    chat.press("/rest\r");
    chat.sees("there is no command /rest", 1);
    chat.press("half a line\x03");
    chat.sees("Ctrl-D ends the conversation", 2);
    chat.press("\x04");
    let (status, printed) = chat.end();
    assert_eq!(status, Some(0), "{printed}");
    assert_eq!(printed.matches("tokens/s").count(), 2, "{printed}");
}

#[test]
fn long_work_shows_progress_on_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let line = "the cat sat on the mat and the dog sat on the log; a hat is on the cat.\n";
    std::fs::write(folder.path().join("text.txt"), line.repeat(400)).unwrap();
    let train = "train --model nano --data text.txt --out run --steps 30 --device cpu --threads 1";
    let eval = "eval --data text.txt --device cpu --threads 1";
    for (arguments, progress) in [(train, "/30 steps"), (eval, " windows, perplexity ")] {
        let Some(terminal) = Terminal::open(arguments, folder.path(), &[]) else {
            return;
        };
        let (status, printed) = terminal.end();
        assert_eq!(status, Some(0), "{printed}");
        assert!(printed.contains(progress), "{printed}");
    }
}
