//! Requests to the hub: for the list of a repository's files, and for a file from a given byte on.

use std::env;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use ureq::config::RedirectAuthHeaders;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

use super::files::{self, Checksum, Remote};
use super::{BRANCH, Name};
use crate::output::Failure;

/// The hub, unless `HF_ENDPOINT` names another one.
const ENDPOINT: &str = "https://huggingface.co";

/// Seconds that a server may be silent, unless `HF_HUB_DOWNLOAD_TIMEOUT` says otherwise.
const PATIENCE: u64 = 10;

/// The longest list of files that is read, in bytes.
const LONGEST_LIST: u64 = 32 << 20;

/// A connection to the hub, with its settings from the environment.
pub struct Hub {
    agent: Agent,
    pub endpoint: String,
    token: Option<String>,
    patience: Duration,
}

/// The files of a repository.
pub struct Listing {
    /// The commit of the branch, 40 hexadecimal digits.
    pub commit: String,
    pub files: Vec<Remote>,
}

/// The hub's answer to `/api/models/ORG/REPO`.
#[derive(Deserialize)]
struct Answer {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: String,
    size: u64,
}

impl Sibling {
    /// The file. None if it has no length or no valid checksum, or if [`files::is_inside`] refuses
    /// its name.
    fn remote(self) -> Option<Remote> {
        let (size, checksum) = match self.lfs {
            Some(lfs) => (lfs.size, Checksum::Sha256(lfs.sha256)),
            None => (self.size?, Checksum::Git(self.blob_id?)),
        };
        let digits = match checksum {
            Checksum::Sha256(_) => 64,
            Checksum::Git(_) => 40,
        };
        let valid = is_hex(checksum.hex(), digits) && files::is_inside(&self.rfilename);
        valid.then_some(Remote { name: self.rfilename, size, checksum })
    }
}

/// Whether `text` consists of `digits` lowercase hexadecimal digits. Checksums and commits are
/// checked, because they become names of files.
fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

impl Hub {
    /// Reads the settings from the environment.
    ///
    /// # Errors
    /// Fails if a setting cannot be used.
    pub fn from_env() -> Result<Hub, Failure> {
        let variable = |name| env::var(name).ok().filter(|value| !value.trim().is_empty());
        let patience = match variable("HF_HUB_DOWNLOAD_TIMEOUT") {
            None => PATIENCE,
            Some(text) => text.trim().parse().ok().filter(|n| *n > 0).ok_or_else(|| {
                Failure::Input(format!(
                    "HF_HUB_DOWNLOAD_TIMEOUT is {text:?}, not a positive whole number of seconds"
                ))
            })?,
        };
        let patience = Duration::from_secs(patience);
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .timeout_connect(Some(patience))
            .timeout_recv_response(Some(patience))
            .timeout_per_read(Some(patience))
            .user_agent(concat!("gpt/", env!("CARGO_PKG_VERSION")))
            // Lengths and ranges refer to the files as they are, not compressed.
            .accept_encoding("identity");
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned());
        let endpoint = endpoint.trim().trim_end_matches('/').to_owned();
        if !endpoint.starts_with("https://") && !endpoint.starts_with("http://") {
            return Err(Failure::Input(format!(
                "HF_ENDPOINT is {endpoint:?}, which does not begin with https:// or http://"
            )));
        }
        let token = variable("HF_TOKEN").or_else(token_file).map(|token| token.trim().to_owned());
        if token.as_deref().is_some_and(|token| !token.bytes().all(|b| b.is_ascii_graphic())) {
            return Err(Failure::Input(
                "the hub's token contains blanks or other characters that no token has; check HF_TOKEN"
                    .to_owned(),
            ));
        }
        Ok(Hub { agent: config.build().into(), endpoint, token, patience })
    }

    /// The files of a repository, with their lengths and checksums.
    ///
    /// # Errors
    /// Fails if the hub cannot be reached, or refuses.
    pub fn list(&self, name: &Name) -> Result<Listing, Failure> {
        let url =
            format!("{}/api/models/{}/revision/{BRANCH}?blobs=true", self.endpoint, name.repo);
        let response = self.get(&url, 0).map_err(|what| Failure::Failed(self.unreached(&what)))?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(self.refused(name, status));
        }
        let mut text = Vec::new();
        let reader = response.into_body().into_reader();
        let read = reader.take(LONGEST_LIST).read_to_end(&mut text);
        read.map_err(|error| Failure::Failed(self.unreached(&self.cause(&error.into()))))?;
        let unreadable = |what: &str| {
            Failure::Failed(format!(
                "{} sent a list of the files of {} that cannot be read: {what}",
                self.endpoint, name.repo
            ))
        };
        let answer: Answer =
            serde_json::from_slice(&text).map_err(|error| unreadable(&error.to_string()))?;
        if !is_hex(&answer.sha, 40) {
            return Err(unreadable("its commit is not a number of 40 hexadecimal digits"));
        }
        let files = answer.siblings.into_iter().filter_map(Sibling::remote).collect();
        Ok(Listing { commit: answer.sha, files })
    }

    /// Requests a file of a commit, from byte `start` on. The error is a clause that says why the
    /// connection failed.
    pub fn file(
        &self,
        name: &Name,
        commit: &str,
        file: &Remote,
        start: u64,
    ) -> Result<Response<Body>, String> {
        let path: String = file.name.bytes().map(escaped).collect();
        self.get(&format!("{}/{}/resolve/{commit}/{path}", self.endpoint, name.repo), start)
    }

    fn get(&self, url: &str, start: u64) -> Result<Response<Body>, String> {
        let mut request = self.agent.get(url);
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if start > 0 {
            request = request.header("Range", format!("bytes={start}-"));
        }
        request.call().map_err(|error| self.cause(&error))
    }

    /// Why a transfer ended early.
    pub fn cause(&self, error: &ureq::Error) -> String {
        match error {
            ureq::Error::Timeout(_) => {
                format!("no data arrived for {} s", self.patience.as_secs())
            }
            // The reader of a body wraps errors.
            ureq::Error::Io(io) => match io.get_ref().and_then(|e| e.downcast_ref::<ureq::Error>())
            {
                Some(inner) => self.cause(inner),
                None => io.to_string(),
            },
            other => other.to_string(),
        }
    }

    fn unreached(&self, what: &str) -> String {
        format!("{} cannot be reached: {what}", self.endpoint)
    }

    /// The failure for a status other than success.
    pub fn refused(&self, name: &Name, status: StatusCode) -> Failure {
        let (endpoint, repo) = (&self.endpoint, &name.repo);
        match status.as_u16() {
            // The hub does not say whether a repository is private or does not exist.
            401 if self.token.is_none() => Failure::Input(format!(
                "there is no {repo} at {endpoint}, or it needs a token; check the name, or set HF_TOKEN"
            )),
            401 => Failure::Input(format!(
                "{endpoint} does not accept the token for {repo}; check HF_TOKEN and the name"
            )),
            403 => Failure::Input(format!(
                "{endpoint} does not let you read {repo}; accept its terms at {endpoint}/{repo}, and set HF_TOKEN"
            )),
            404 => Failure::Input(format!("there is no {repo} at {endpoint}; check the name")),
            429 => Failure::Failed(format!(
                "{endpoint} received too many requests from you; try again later"
            )),
            code => Failure::Failed(format!(
                "{endpoint} answers with status {code} for {repo}; try again later"
            )),
        }
    }
}

/// The token that the hub's own tools saved.
fn token_file() -> Option<String> {
    let home = || Some(env::home_dir()?.join(".cache").join("huggingface"));
    let folder = env::var_os("HF_HOME").map(PathBuf::from).or_else(home)?;
    std::fs::read_to_string(folder.join("token")).ok().filter(|token| !token.trim().is_empty())
}

/// Escapes a byte of a path for a URL.
fn escaped(byte: u8) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_without_a_checksum_or_a_safe_name_are_not_listed() {
        let list = |json: &str| -> Vec<String> {
            let siblings: Vec<Sibling> = serde_json::from_str(json).unwrap();
            siblings.into_iter().filter_map(Sibling::remote).map(|file| file.name).collect()
        };
        let (git, sha) = ("0".repeat(40), "a".repeat(64));
        let json = format!(
            r#"[{{"rfilename": "a", "size": 1, "blobId": "{git}"}}, {{"rfilename": "b"}},
                {{"rfilename": "../c", "size": 1, "blobId": "{git}"}},
                {{"rfilename": "d", "size": 1, "blobId": "../../{git}"}},
                {{"rfilename": "e", "size": 1, "lfs": {{"sha256": "{sha}", "size": 2}}}},
                {{"rfilename": "f", "size": 1, "lfs": {{"sha256": "{git}", "size": 2}}}}]"#
        );
        assert_eq!(list(&json), ["a", "e"]);
    }

    #[test]
    fn paths_are_escaped() {
        let path: String = "a b/ä.gguf".bytes().map(escaped).collect();
        assert_eq!(path, "a%20b/%C3%A4.gguf");
    }
}
