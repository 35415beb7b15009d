//! Chooses the files of a repository that a model needs.

/// A file of a repository.
#[derive(Clone, Debug)]
pub struct Remote {
    pub name: String,
    pub size: u64,
    pub checksum: Checksum,
}

/// The hub's checksum of a file, in hexadecimal. It names the file's blob in the cache.
#[derive(Clone, Debug)]
pub enum Checksum {
    /// The SHA-256 of the contents. The hub gives it for large files.
    Sha256(String),
    /// Git's id of the file, a SHA-1 of its length and contents.
    Git(String),
}

impl Checksum {
    pub fn hex(&self) -> &str {
        match self {
            Checksum::Sha256(hex) | Checksum::Git(hex) => hex,
        }
    }
}

/// Whether the path of a file is sure to stay inside its repository on every system. Hidden files
/// are refused, too.
pub fn is_inside(path: &str) -> bool {
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with('.');
    path.split('/').all(part) && !path.contains(['\\', ':', '\0'])
}

/// The files that are read beside safetensors: the description of the model, its tokenizer and its
/// chat template.
const BESIDE: [&str; 11] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "chat_template.json",
    "added_tokens.json",
    "merges.txt",
    "vocab.json",
    "vocab.bpe",
    "encoder.json",
];

/// The file that `wanted` names exactly, or otherwise the weight files whose names contain it,
/// ignoring case.
pub fn matching<'a>(names: impl Iterator<Item = &'a str>, wanted: &str) -> Vec<&'a str> {
    let names: Vec<&str> = names.collect();
    if let Some(name) = names.iter().find(|name| **name == wanted) {
        return vec![name];
    }
    let wanted = wanted.to_ascii_lowercase();
    let part = |name: &&&str| is_weights(name) && name.to_ascii_lowercase().contains(&wanted);
    names.iter().filter(part).copied().collect()
}

fn is_weights(name: &str) -> bool {
    name.ends_with(".gguf") || name.ends_with(".safetensors")
}

/// Splits the name of a shard at its number, into `NAME-` and `-of-00003.gguf`. None for the name
/// of a whole file.
fn around_number(name: &str) -> Option<(&str, &str)> {
    let of = name.rfind("-of-")?;
    let (start, number) = name[..of].split_at_checked(of.checked_sub(5)?)?;
    number.bytes().all(|b| b.is_ascii_digit()).then_some((start, &name[of..]))
}

/// The files to download for the model of `repo`, or for its file `wanted`.
///
/// # Errors
/// Fails if there are no such files, or if there are several models to choose from.
pub fn choose<'a>(
    repo: &str,
    wanted: Option<&str>,
    files: &'a [Remote],
) -> Result<Vec<&'a Remote>, String> {
    let names = || files.iter().map(|file| file.name.as_str());
    let mut chosen = match wanted {
        Some(wanted) => matching(names(), wanted),
        None => whole(names()),
    };
    chosen.sort_unstable();
    // The shards of a file count as one.
    chosen.dedup_by(|a, b| around_number(a).is_some() && around_number(a) == around_number(b));
    let listed: Vec<&str> = names().filter(|name| is_weights(name)).collect();
    let first = match (&chosen[..], wanted) {
        ([first], _) => *first,
        ([], _) if listed.is_empty() => {
            return Err(format!("{repo} has no weights that gpt can read (safetensors or GGUF)"));
        }
        ([], Some(wanted)) => {
            let some = some_of(&listed);
            return Err(format!("{repo} has no file {wanted}; its weights are {some}"));
        }
        ([], None) => {
            let some = some_of(&listed);
            return Err(format!(
                "{repo} has weights only in subfolders; name one, as in `gpt pull {repo}:{}` ({some})",
                listed[0]
            ));
        }
        (several, _) => {
            let some = some_of(several);
            return Err(format!(
                "{repo} has several models; name one, as in `gpt pull {repo}:{}` ({some})",
                several[0]
            ));
        }
    };
    let folder = first.rfind('/').map_or("", |at| &first[..=at]);
    let needed = |name: &str| match (name.strip_prefix(folder), around_number(first)) {
        _ if name == first => true,
        (_, Some(shards)) if around_number(name) == Some(shards) => true,
        // A GGUF has its configuration, tokenizer and chat template in its metadata.
        (Some(name), _) if !first.ends_with(".gguf") => {
            BESIDE.contains(&name)
                || (around_number(first).is_some() && name.ends_with(".safetensors.index.json"))
        }
        _ => false,
    };
    let needed: Vec<&Remote> = files.iter().filter(|file| needed(&file.name)).collect();
    Ok(needed)
}

/// The weights of the model in a repository's top folder: `model.safetensors`, or its shards, or
/// otherwise all weight files in that folder.
fn whole<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let weights: Vec<&str> = names.filter(|name| is_weights(name) && !name.contains('/')).collect();
    if weights.contains(&"model.safetensors") {
        return vec!["model.safetensors"];
    }
    let shards = |name: &&str| name.starts_with("model-") && name.ends_with(".safetensors");
    let shards: Vec<&str> = weights.iter().copied().filter(shards).collect();
    if shards.is_empty() { weights } else { shards }
}

fn some_of(names: &[&str]) -> String {
    const MOST: usize = 12;
    let mut text = names.iter().take(MOST).copied().collect::<Vec<_>>().join(", ");
    if names.len() > MOST {
        text.push_str(", ...");
    }
    text
}

#[cfg(test)]
impl Remote {
    pub fn sample(name: &str) -> Remote {
        Remote { name: name.to_owned(), size: 1, checksum: Checksum::Git("0".repeat(40)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn chosen(files: &str, wanted: Option<&str>) -> Result<String, String> {
        let remote = |name: &str| Remote::sample(name);
        let files: Vec<Remote> = files.split(' ').map(remote).collect();
        let chosen = choose("o/r", wanted, &files)?;
        Ok(chosen.iter().map(|file| file.name.as_str()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn safetensors_come_with_what_is_beside_them() {
        let files = "README.md config.json model.fp16.safetensors model.safetensors onnx/model.onnx \
                     pytorch_model.bin tokenizer.json x.gguf";
        let expected = Ok("config.json model.safetensors tokenizer.json".to_owned());
        assert_eq!(chosen(files, None), expected);
        assert_eq!(chosen(files, Some("model.safetensors")), expected);
        assert_eq!(chosen(files, Some("x.gguf")), Ok("x.gguf".to_owned()));
        let shards = "config.json model-00001-of-00002.safetensors model-00002-of-00002.safetensors \
                      model.safetensors.index.json";
        assert_eq!(
            chosen(shards, None),
            Ok(shards.split_whitespace().collect::<Vec<_>>().join(" "))
        );
    }

    #[test]
    fn a_gguf_is_chosen_by_a_part_of_its_name() {
        let files = "README.md a-Q4_K_M.gguf a-Q8_0-00001-of-00002.gguf a-Q8_0-00002-of-00002.gguf";
        assert_eq!(chosen(files, Some("q4_k_m")), Ok("a-Q4_K_M.gguf".to_owned()));
        let parts = Ok("a-Q8_0-00001-of-00002.gguf a-Q8_0-00002-of-00002.gguf".to_owned());
        assert_eq!(chosen(files, Some("q8_0")), parts);
        assert_eq!(chosen(files, Some("a-Q8_0-00002-of-00002.gguf")), parts);
        let several = chosen(files, None).unwrap_err();
        assert_eq!(
            several,
            "o/r has several models; name one, as in `gpt pull o/r:a-Q4_K_M.gguf` (a-Q4_K_M.gguf, a-Q8_0-00001-of-00002.gguf)"
        );
        let none = chosen(files, Some("Q5_0")).unwrap_err();
        assert!(
            none.starts_with("o/r has no file Q5_0; its weights are a-Q4_K_M.gguf, "),
            "{none}"
        );
        let none = chosen("README.md pytorch_model.bin", None).unwrap_err();
        assert_eq!(none, "o/r has no weights that gpt can read (safetensors or GGUF)");
        let below = chosen("config.json q4/x.gguf", None).unwrap_err();
        assert_eq!(
            below,
            "o/r has weights only in subfolders; name one, as in `gpt pull o/r:q4/x.gguf` (q4/x.gguf)"
        );
    }

    #[test]
    fn paths_stay_inside() {
        for path in ["a", "a/b.gguf", "a-b_c.d"] {
            assert!(is_inside(path), "{path}");
        }
        for path in ["", "/a", "a//b", "../a", "a/..", ".a", "a\\b", "C:a", "a/", "a."] {
            assert!(!is_inside(path), "{path}");
        }
    }
}
