//! `gpt pull` from a server on this machine that fails in the ways that servers do.
#![cfg(feature = "hub")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use gpt_runtime::weights::{RandomWeights, read_spec, save, save_gguf};
use gpt_runtime::{Format, Tokenizer};
use ring::digest;
use serde_json::{Value, json};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// How the server sends a file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// Closes each connection after half of the bytes that are left.
    Cut,
    /// Is silent after half of the bytes, until the client gives up.
    Slow,
    /// Is silent after the header.
    Silent,
    /// Announces and sends one byte less.
    Short,
    /// Announces no length and sends one byte more.
    Long,
    /// Changes a byte in the middle.
    Damaged,
    /// Cuts the first connection, and sends the whole file whatever was requested.
    NoRanges,
    /// Answers the request for a file with this status.
    Status(u16),
    /// Answers the request for the list of files with this status.
    ListStatus(u16),
}

/// The parts of a request that the server saw.
#[derive(Clone, Debug, PartialEq)]
struct Request {
    path: String,
    range: Option<String>,
    token: Option<String>,
}

struct Server {
    address: String,
    shared: Arc<Shared>,
}

struct Shared {
    files: BTreeMap<String, Vec<u8>>,
    fault: Mutex<Fault>,
    seen: Mutex<Vec<Request>>,
}

impl Server {
    fn start(files: BTreeMap<String, Vec<u8>>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let shared =
            Arc::new(Shared { files, fault: Mutex::new(Fault::None), seen: Mutex::default() });
        let server = Server { address, shared: shared.clone() };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = shared.clone();
                // A client that goes away is one of the cases.
                std::thread::spawn(move || shared.answer(stream.unwrap()).ok());
            }
        });
        server
    }

    fn fault(&self, fault: Fault) {
        *self.shared.fault.lock().unwrap() = fault;
        self.shared.seen.lock().unwrap().clear();
    }

    /// The requests for files since the last call of `fault`.
    fn seen(&self) -> Vec<Request> {
        let seen = self.shared.seen.lock().unwrap();
        seen.iter().filter(|request| request.path.starts_with("/cdn/")).cloned().collect()
    }

    fn gpt(&self, home: &Path, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gpt"));
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("HF_") || name.to_ascii_lowercase().ends_with("_proxy") {
                command.env_remove(&*name);
            }
        }
        command.env("HF_HOME", home).env("HF_ENDPOINT", &self.address);
        command.env("HF_TOKEN", "secret").env("HF_HUB_DOWNLOAD_TIMEOUT", "1");
        command.args(arguments).stdin(Stdio::null()).current_dir(home);
        command.output().expect("the binary runs")
    }

    #[track_caller]
    fn succeeds(&self, home: &Path, arguments: &[&str]) -> String {
        let output = self.gpt(home, arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn fails(&self, home: &Path, arguments: &[&str], status: i32, message: &str) {
        let output = self.gpt(home, arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
        let errors = errors.replace(&self.address, "HUB");
        assert!(errors.starts_with("error: ") && errors.contains(message), "{errors}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The checksum that names a file: git's for JSON files, which are small, SHA-256 for the others.
fn checksum(name: &str, data: &[u8]) -> String {
    if name.ends_with(".json") {
        let blob = [format!("blob {}\0", data.len()).as_bytes(), data].concat();
        return hex(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &blob).as_ref());
    }
    hex(digest::digest(&digest::SHA256, data).as_ref())
}

impl Shared {
    fn answer(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let first = lines.next().unwrap_or(Ok(String::new()))?;
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut request = Request { path, range: None, token: None };
        for line in lines {
            let line = line?;
            let Some((key, value)) = line.split_once(": ") else { break };
            match key.to_ascii_lowercase().as_str() {
                "range" => request.range = Some(value.to_owned()),
                "authorization" => request.token = Some(value.to_owned()),
                _ => {}
            }
        }
        self.seen.lock().unwrap().push(request.clone());
        let fault = *self.fault.lock().unwrap();
        match (request.path.split('?').next().unwrap_or_default(), fault) {
            (path, Fault::ListStatus(status)) if path.starts_with("/api/") => {
                refuse(stream, status)
            }
            ("/api/models/o/r/revision/main", _) => self.list(stream),
            (path, fault) => match path.strip_prefix(&format!("/o/r/resolve/{COMMIT}/")) {
                // The hub redirects to the host of large files, which needs no token.
                Some(name) => redirect(stream, name),
                None => match path.strip_prefix("/cdn/").and_then(|name| self.files.get(name)) {
                    Some(data) => send(stream, data, &request, fault),
                    None => refuse(stream, 404),
                },
            },
        }
    }

    fn list(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let sibling = |(name, data): (&String, &Vec<u8>)| {
            let sum = checksum(name, data);
            match sum.len() {
                40 => json!({ "rfilename": name, "size": data.len(), "blobId": sum }),
                _ => json!({
                    "rfilename": name, "size": data.len(), "blobId": "0".repeat(40),
                    "lfs": { "sha256": sum, "size": data.len(), "pointerSize": 133 },
                }),
            }
        };
        let siblings: Vec<Value> = self.files.iter().map(sibling).collect();
        let text = json!({ "sha": COMMIT, "siblings": siblings }).to_string();
        head(&mut stream, "200 OK", &format!("content-length: {}", text.len()))?;
        stream.write_all(text.as_bytes())
    }
}

fn head(stream: &mut TcpStream, status: &str, headers: &str) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {status}\r\nconnection: close\r\n{headers}\r\n\r\n")
}

fn refuse(mut stream: TcpStream, status: u16) -> std::io::Result<()> {
    head(&mut stream, &format!("{status} No"), "content-length: 0")
}

/// Redirects to another host, which is this one under another name.
fn redirect(mut stream: TcpStream, name: &str) -> std::io::Result<()> {
    let port = stream.local_addr()?.port();
    let location = format!("location: http://localhost:{port}/cdn/{name}");
    head(&mut stream, "302 Found", &format!("{location}\r\ncontent-length: 0"))
}

fn send(
    mut stream: TcpStream,
    data: &[u8],
    request: &Request,
    fault: Fault,
) -> std::io::Result<()> {
    let range = request.range.as_deref().and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-'));
    let start = match range.map(|start| start.parse::<usize>().unwrap()) {
        Some(start) if fault != Fault::NoRanges => start,
        _ => 0,
    };
    let (rest, total) = (&data[start..], data.len());
    if let Fault::Status(status) = fault {
        return refuse(stream, status);
    }
    let mut headers = match fault {
        // No header with the length.
        Fault::Long => "accept-ranges: bytes\r\n".to_owned(),
        Fault::Short => format!("content-length: {}\r\n", rest.len() - 1),
        _ => format!("content-length: {}\r\n", rest.len()),
    };
    let status = if start > 0 { "206 Partial Content" } else { "200 OK" };
    if start > 0 {
        headers.push_str(&format!("content-range: bytes {start}-{}/{total}\r\n", total - 1));
    }
    head(&mut stream, status, headers.trim_end())?;
    let half = rest.len().div_ceil(2);
    match fault {
        Fault::Cut => stream.write_all(&rest[..half]),
        Fault::NoRanges if range.is_none() => stream.write_all(&rest[..half]),
        Fault::Short => stream.write_all(&rest[..rest.len() - 1]),
        Fault::Long => {
            stream.write_all(rest)?;
            stream.write_all(b"!")
        }
        Fault::Damaged => {
            let mut rest = rest.to_vec();
            rest[half - 1] ^= 1;
            stream.write_all(&rest)
        }
        Fault::Slow | Fault::Silent => {
            if fault == Fault::Slow {
                stream.write_all(&rest[..half])?;
            }
            // Until the client closes the connection.
            stream.read(&mut [0]).map(drop)
        }
        _ => stream.write_all(rest),
    }
}

/// A small GPT-2 with a tokenizer, as safetensors and as GGUF.
fn model() -> BTreeMap<String, Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let config = json!({
        "model_type": "gpt2", "vocab_size": 65, "n_positions": 32, "n_embd": 32, "n_layer": 2, "n_head": 2,
    });
    fs::write(path("config.json"), config.to_string()).unwrap();
    let spec = read_spec(folder.path()).unwrap();
    let plan = Box::leak(Box::new(gpt_codegen::plan::plan("Spec", &spec)));
    let weights = RandomWeights::new(plan, 7, Format::F32);
    let characters: String = ('0'..='p').take(65).collect();
    let tokenizer = Tokenizer::characters(&characters).unwrap();
    save(&path("model.safetensors"), plan, &weights).unwrap();
    tokenizer.save(&path("tokenizer.json")).unwrap();
    save_gguf(&path("tiny-F16.gguf"), plan, &weights, Format::F16, Some(&tokenizer)).unwrap();
    fs::write(path("README.md"), "# A model").unwrap();
    let entries = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    entries.map(|path| (name(&path), fs::read(&path).unwrap())).collect()
}

/// The folder of the model in the cache.
fn folder(home: &Path) -> PathBuf {
    home.join("hub/models--o--r")
}

/// Asserts that the whole model is in the cache as the hub's tools lay it out.
#[track_caller]
fn is_cached(home: &Path, server: &Server, names: &[&str]) {
    let folder = folder(home);
    assert_eq!(fs::read_to_string(folder.join("refs/main")).unwrap(), COMMIT);
    let mut sums: Vec<String> = Vec::new();
    for name in names {
        let data = &server.shared.files[*name];
        let pointer = folder.join("snapshots").join(COMMIT).join(name);
        assert!(fs::read(&pointer).unwrap() == *data, "{name}");
        let sum = checksum(name, data);
        if cfg!(unix) {
            let target = fs::read_link(&pointer).unwrap();
            assert_eq!(target, Path::new("../../blobs").join(&sum), "{name}");
        }
        sums.push(sum);
    }
    if cfg!(unix) {
        let blobs = fs::read_dir(folder.join("blobs")).unwrap();
        let mut blobs: Vec<String> =
            blobs.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        blobs.sort();
        sums.sort();
        assert_eq!(blobs, sums);
    }
}

const SAFETENSORS: [&str; 3] = ["config.json", "model.safetensors", "tokenizer.json"];

#[test]
fn a_model_is_pulled_once_and_runs_by_its_name() {
    let server = Server::start(model());
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let run =
        ["generate", "--weights", "o/r", "--prompt", "abc", "--tokens", "2", "--device", "cpu"];
    server.fails(home, &run, 2, "download it with `gpt pull o/r`");

    let printed = server.succeeds(home, &["pull", "o/r"]);
    let snapshot = folder(home).join("snapshots").join(COMMIT);
    assert_eq!(printed.trim_end(), snapshot.display().to_string());
    is_cached(home, &server, &SAFETENSORS);
    // The token goes to the hub and not to where it redirects.
    let all = server.shared.seen.lock().unwrap().clone();
    assert_eq!(all.len(), 1 + 2 * SAFETENSORS.len());
    for request in all {
        let is_hub = !request.path.starts_with("/cdn/");
        let token = is_hub.then(|| "Bearer secret".to_owned());
        assert_eq!(request.token, token, "{}", request.path);
    }
    assert!(!server.succeeds(home, &run).trim().is_empty());
    assert!(server.succeeds(home, &["inspect", "--weights", "o/r"]).starts_with("r: "));

    // Files in the cache are not downloaded again.
    server.fault(Fault::None);
    let report = server.succeeds(home, &["pull", "o/r", "--json"]);
    let report: Value = serde_json::from_str(report.trim()).unwrap();
    assert_eq!(report["kept"], report["bytes"]);
    assert_eq!(report["files"], json!(SAFETENSORS));
    assert_eq!(server.seen(), []);

    // One file, by a part of its name.
    let gguf = ["generate", "--weights", "o/r:f16", "--prompt", "a", "--tokens", "1"];
    server.fails(home, &gguf, 2, "has o/r without this file; download it with `gpt pull o/r:f16`");
    server.succeeds(home, &["pull", "o/r:f16"]);
    is_cached(
        home,
        &server,
        &["config.json", "model.safetensors", "tiny-F16.gguf", "tokenizer.json"],
    );
    assert!(!server.succeeds(home, &gguf).trim().is_empty());
    server.fails(home, &["pull", "o/r:Q9"], 2, "o/r has no file Q9; its weights are");
    server.fails(home, &["pull", "gpt2"], 2, "expected a name such as");
}

/// A connection that is cut has sent half of the rest; the next one continues where it ended.
#[test]
fn cut_and_slow_transfers_are_continued() {
    let server = Server::start(model());
    let total = server.shared.files["tiny-F16.gguf"].len();
    for fault in [Fault::Cut, Fault::NoRanges] {
        let home = tempfile::tempdir().unwrap();
        server.fault(fault);
        server.succeeds(home.path(), &["pull", "o/r:f16"]);
        is_cached(home.path(), &server, &["tiny-F16.gguf"]);
        let ranges: Vec<_> = server.seen().into_iter().map(|request| request.range).collect();
        let half = Some(format!("bytes={}-", total.div_ceil(2)));
        assert_eq!(ranges[..2], [None, half], "{fault:?}");
        assert!(ranges.len() == 2 || fault == Fault::Cut);
    }
}

/// A server that falls silent costs the time that `HF_HUB_DOWNLOAD_TIMEOUT` allows, and no more.
/// The bytes that arrived are kept for the next run.
#[test]
fn silent_servers_are_left() {
    let server = Server::start(model());
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let data = &server.shared.files["tiny-F16.gguf"];
    server.fault(Fault::Silent);
    let message = format!("ended after 0 of {} bytes: no data arrived for 1 s", data.len());
    server.fails(home, &["pull", "o/r:f16"], 1, &message);

    // A partial file as an earlier run or another tool leaves it.
    let blobs = folder(home).join("blobs");
    let partial = blobs.join(format!("{}.incomplete", checksum("tiny-F16.gguf", data)));
    let most = data.len() - 2;
    fs::write(&partial, &data[..most]).unwrap();
    server.fault(Fault::Slow);
    server.succeeds(home, &["pull", "o/r:f16"]);
    is_cached(home, &server, &["tiny-F16.gguf"]);
    let ranges: Vec<_> = server.seen().into_iter().map(|request| request.range.unwrap()).collect();
    assert_eq!(ranges, [format!("bytes={most}-"), format!("bytes={}-", most + 1)]);
}

#[test]
fn what_is_not_the_file_is_refused() {
    let server = Server::start(model());
    let bytes = server.shared.files["tiny-F16.gguf"].len();
    for (fault, message) in [
        (Fault::Short, format!("sends {} bytes of tiny-F16.gguf, and lists {bytes}", bytes - 1)),
        (Fault::Long, format!("bytes or more of tiny-F16.gguf, and lists {bytes}")),
        (Fault::Damaged, "the download is damaged: its checksum is".to_owned()),
    ] {
        let home = tempfile::tempdir().unwrap();
        server.fault(fault);
        server.fails(home.path(), &["pull", "o/r:f16"], 1, &message);
        assert!(!folder(home.path()).join("refs").exists(), "{fault:?}");
        // No wrong bytes are left behind.
        server.fault(Fault::None);
        server.succeeds(home.path(), &["pull", "o/r:f16"]);
        is_cached(home.path(), &server, &["tiny-F16.gguf"]);
    }
    // If an earlier run has left wrong bytes, the checksum shows it. Too many bytes are discarded.
    let home = tempfile::tempdir().unwrap();
    let blobs = folder(home.path()).join("blobs");
    let sum = checksum("tiny-F16.gguf", &server.shared.files["tiny-F16.gguf"]);
    fs::create_dir_all(&blobs).unwrap();
    for (len, fails) in [(100, true), (bytes, true), (bytes + 1, false)] {
        fs::write(blobs.join(format!("{sum}.incomplete")), vec![1; len]).unwrap();
        if fails {
            server.fails(home.path(), &["pull", "o/r:f16"], 1, "the download is damaged");
        }
        server.succeeds(home.path(), &["pull", "o/r:f16"]);
        is_cached(home.path(), &server, &["tiny-F16.gguf"]);
        fs::remove_dir_all(folder(home.path()).join("snapshots")).unwrap();
        fs::remove_file(blobs.join(&sum)).unwrap();
    }
}

#[test]
fn refusals_say_what_to_do() {
    let server = Server::start(model());
    let home = tempfile::tempdir().unwrap();
    for (fault, status, message) in [
        (Fault::ListStatus(401), 2, "HUB does not accept the token for o/r; check HF_TOKEN"),
        (Fault::ListStatus(403), 2, "accept its terms at HUB/o/r, and set HF_TOKEN"),
        (Fault::ListStatus(404), 2, "there is no o/r at HUB; check the name"),
        (Fault::ListStatus(429), 1, "too many requests from you; try again later"),
        (Fault::ListStatus(503), 1, "HUB answers with status 503 for o/r; try again later"),
        (Fault::Status(403), 2, "accept its terms at HUB/o/r, and set HF_TOKEN"),
        (Fault::Status(500), 1, "HUB answers with status 500 for o/r; try again later"),
    ] {
        server.fault(fault);
        server.fails(home.path(), &["pull", "o/r"], status, message);
    }
    server.fault(Fault::ListStatus(401));
    let mut command = Command::new(env!("CARGO_BIN_EXE_gpt"));
    command.args(["pull", "o/r"]).env("HF_ENDPOINT", &server.address).env("NO_PROXY", "127.0.0.1");
    let output = command.env("HF_HOME", home.path()).env_remove("HF_TOKEN").output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.ends_with("or it needs a token; check the name, or set HF_TOKEN\n"), "{errors}");
}
