//! The base `config("path")`: the spec that a file describes.

use std::path::Path;

use gpt_plan::Spec;
use syn::LitStr;

use crate::Diagnostic;

/// The greatest size of a file, in bytes. A `config.json` has a few kilobytes.
const LONGEST: u64 = 1 << 20;

/// The spec of the file at `path`. A relative path starts from `folder`. Errors are on the path.
pub fn read(folder: &Path, path: &LitStr) -> Result<Spec, Vec<Diagnostic>> {
    let file = folder.join(path.value());
    let fail = |message: String| Diagnostic::new(path.span(), message);
    let unreadable = |error: std::io::Error| {
        let place = if folder.as_os_str().is_empty() {
            "the current folder".to_owned()
        } else {
            folder.display().to_string()
        };
        vec![
            fail(format!("the file {:?} cannot be read: {error}", path.value()))
                .help(format!("a relative path starts from {place}")),
        ]
    };
    let metadata = std::fs::metadata(&file).map_err(unreadable)?;
    if !metadata.is_file() {
        // A pipe could wait forever, and a device could have no end.
        let other = fail(format!("{:?} is not a file", path.value()));
        return Err(vec![other.help("name a config.json")]);
    }
    if metadata.len() > LONGEST {
        let long = fail(format!("the file {:?} is too long for a config.json", path.value()));
        return Err(vec![long.help("name the config.json, not the weights")]);
    }
    let text = std::fs::read(&file).map_err(unreadable)?;
    let json = serde_json::from_slice(&text)
        .map_err(|error| vec![fail(format!("the file {:?} is not JSON: {error}", path.value()))])?;
    gpt_config::description(&json).map_err(|problems| problems.into_iter().map(fail).collect())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use crate::{Diagnostic, spec};

    fn file(folder: &tempfile::TempDir, text: &str) -> PathBuf {
        let path = folder.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn a_file_is_a_base() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(&folder, r#"{ "model_type": "gpt2", "n_layer": 2, "bias": false }"#);
        let found = spec(&format!("..config({path:?})")).unwrap();
        assert_eq!(found, spec("layers: 2, bias: false, ..GPT2_SMALL").unwrap());
        // The widths of a head and of the MLP follow `embed`, as with any base.
        let found = spec(&format!("embed: 96, heads: 6, ..config({path:?})")).unwrap();
        assert_eq!((found.head_dim, found.mlp.hidden), (16, 384));
    }

    #[test]
    fn errors_are_on_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let first = |text: String| -> (String, String) {
            let errors = spec(&text).unwrap_err();
            (errors[0].message().to_owned(), errors[0].render(&text))
        };
        let (message, shown) = first("layers: 2,\n..config(\"no/such.json\")".to_owned());
        assert!(message.starts_with("the file \"no/such.json\" cannot be read: "), "{message}");
        assert!(shown.contains("\n2 | ..config(\"no/such.json\")\n"), "{shown}");
        assert!(shown.contains("\n  |          ^^^^^^^^^^^^^^\n"), "{shown}");
        assert!(shown.contains("help: a relative path starts from the current folder"), "{shown}");

        let path = file(&folder, r#"{ "model_type": "gpt2", "windows": 3, "n_layer": 0 }"#);
        let errors = spec(&format!("..config({path:?})")).unwrap_err();
        let messages: Vec<&str> = errors.iter().map(Diagnostic::message).collect();
        assert_eq!(messages.len(), 2, "{messages:?}");
        assert!(messages[0].starts_with("n_layer is 0 in config.json"), "{messages:?}");
        assert!(messages[1].starts_with("the key windows of config.json"), "{messages:?}");

        // The numbers of a file are checked like those of a declaration.
        let path = file(&folder, r#"{ "model_type": "llama", "num_key_value_heads": 5 }"#);
        let (message, shown) = first(format!("..config({path:?})"));
        assert_eq!(message, "`heads` has to be a multiple of `kv_heads`");
        assert!(shown.contains("`kv_heads` comes from `..config("), "{shown}");

        let nested = "[".repeat(100_000);
        for (text, expected) in
            [("{", "is not JSON"), (&nested, "is not JSON"), ("[]", "JSON object")]
        {
            let path = file(&folder, text);
            assert!(first(format!("..config({path:?})")).0.contains(expected), "{expected}");
        }
        let path = file(&folder, &" ".repeat(2 << 20));
        assert!(first(format!("..config({path:?})")).0.contains("too long"));
        for path in [folder.path().to_str().unwrap(), if cfg!(unix) { "/dev/zero" } else { "." }] {
            assert!(first(format!("..config({path:?})")).0.contains("is not a file"), "{path}");
        }
        for text in ["..config()", "..config(3)", "..config(\"a\", 1)", "..config(\"a\")(1)"] {
            assert!(spec(text).is_err(), "{text}");
        }
    }
}
