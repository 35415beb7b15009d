//! Checkpoints in several files, and files that are recognised by their first bytes.

use super::*;
use crate::text::Tokenizer;

const FORMAT: Format = Format::Q8;

fn meta_i32(key: &str, x: i32) -> (String, Vec<u8>) {
    (key.to_owned(), [5u32.to_le_bytes(), x.to_le_bytes()].concat())
}

fn meta_u16(key: &str, x: u16) -> (String, Vec<u8>) {
    (key.to_owned(), [&2u32.to_le_bytes()[..], &x.to_le_bytes()].concat())
}

/// A GGUF in three parts, as llama.cpp splits it: the first has the metadata and no tensor.
fn split(file: GgufFile) -> Vec<GgufFile> {
    let GgufFile { metadata, mut tensors } = file;
    let total = tensors.len();
    let last = tensors.split_off(total / 2);
    let parts = [(metadata, Vec::new()), (Vec::new(), tensors), (Vec::new(), last)];
    let parts = parts.into_iter().enumerate().map(|(i, (mut metadata, tensors))| {
        metadata.push(meta_u16("split.no", i as u16));
        metadata.push(meta_u16("split.count", 3));
        metadata.push(meta_i32("split.tensors.count", total as i32));
        GgufFile { metadata, tensors }
    });
    parts.collect()
}

/// Writes the parts of the scaled-down Llama to `folder`.
fn write(folder: &Path, change: impl Fn(&mut Vec<GgufFile>)) -> Vec<PathBuf> {
    let plan = testing::llama();
    let weights = RandomWeights::new(plan, 4, FORMAT);
    let mut parts = split(gguf_file(plan, &weights, FORMAT));
    change(&mut parts);
    let write = |(i, part): (usize, &GgufFile)| {
        let path = folder.join(format!("tiny-{:05}-of-00003.gguf", i + 1));
        std::fs::write(&path, part.bytes()).unwrap();
        path
    };
    parts.iter().enumerate().map(write).collect()
}

fn error(path: &Path) -> String {
    open(path, testing::llama(), None).err().expect("an invalid checkpoint").to_string()
}

#[test]
fn any_part_of_a_split_gguf_stands_for_all() {
    let plan = testing::llama();
    let weights = RandomWeights::new(plan, 4, FORMAT);
    let folder = tempfile::tempdir().unwrap();
    let parts = write(folder.path(), |_| ());
    for path in parts.iter().map(PathBuf::as_path).chain([folder.path()]) {
        let opened = open(path, plan, None).unwrap();
        same(plan, &opened, &weights);
        assert_eq!(opened.gguf().unwrap().text("general.architecture"), Some("llama"));
        assert_eq!(read_spec(path).unwrap(), plan.spec);
    }
    assert_eq!(read_metadata(&parts[2]).unwrap().unsigned("llama.block_count"), Some(2));

    let second = parts[1].display();
    let renamed = folder.path().join("blob");
    std::fs::rename(&parts[2], &renamed).unwrap();
    let third = parts[2].display();
    assert_eq!(error(&parts[1]), format!("{third} is missing; {second} is one of 3 parts"));
    let message = error(&renamed);
    assert!(
        message.ends_with(
            "blob is part 3 of 3 of a GGUF, but its name does not end in -00003-of-00003.gguf, so the other parts cannot be found"
        ),
        "{message}"
    );
}

#[test]
fn parts_have_to_fit_together() {
    type Change = fn(&mut Vec<GgufFile>);
    let cases: [(&str, Change); 4] = [
        ("is part 3 of 3 by its metadata", |parts| parts.swap(1, 2)),
        ("but the first part says", |parts| drop(parts[2].tensors.pop())),
        ("of another part", |parts| {
            let again = gguf_file(
                testing::llama(),
                &RandomWeights::new(testing::llama(), 4, FORMAT),
                FORMAT,
            );
            parts[2].tensors.push(again.tensors.into_iter().next().unwrap());
        }),
        ("is part 1 of 65535 of a GGUF", |parts| {
            parts[0].metadata.retain(|(key, _)| key != "split.count");
            parts[0].metadata.push(meta_u16("split.count", u16::MAX));
        }),
    ];
    for (expected, change) in cases {
        let folder = tempfile::tempdir().unwrap();
        let parts = write(folder.path(), change);
        let found = error(&parts[0]);
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
fn shards_are_found_by_an_index_or_by_their_names() {
    let plan = testing::gpt2();
    let weights = RandomWeights::new(plan, 3, Format::F32);
    let tensors = hf_tensors(plan, &weights);
    let (a, b) = tensors.split_at(tensors.len() / 2);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    let mut map = serde_json::Map::new();
    for (name, part) in names.into_iter().zip([a, b]) {
        write_safetensors(&path(name), part);
        part.iter().for_each(|(tensor, ..)| drop(map.insert(tensor.clone(), name.into())));
    }
    save_config(&path("config.json"), plan).unwrap();
    // Without the index, by their names.
    for given in [path(names[0]), path(names[1]), folder.path().to_owned()] {
        same(plan, &open(&given, plan, None).unwrap(), &weights);
    }
    // The index may have any name.
    let index = path("index");
    std::fs::write(&index, serde_json::json!({ "weight_map": map }).to_string()).unwrap();
    same(plan, &open(&index, plan, None).unwrap(), &weights);
    assert_eq!(read_spec(&index).unwrap(), plan.spec);

    std::fs::remove_file(path(names[1])).unwrap();
    let (second, index_name) = (path(names[1]), index.display());
    let expected =
        format!("{} is missing; {index_name} names it as one of 2 shards", second.display());
    let error = |path: &Path| open(path, plan, None).err().expect("a shard is missing").to_string();
    assert_eq!(error(&index), expected);
    assert!(error(&path(names[0])).ends_with("is one of 2 parts"), "{}", error(&path(names[0])));
}

/// Ollama's blobs have no extension, and a name may lie.
#[test]
fn files_are_told_by_their_first_bytes() {
    let plan = testing::llama();
    let weights = RandomWeights::new(plan, 4, FORMAT);
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = Tokenizer::characters("hello").unwrap();
    for name in ["sha256-1b2c", "model.safetensors", "weights.json"] {
        let path = folder.path().join(name);
        save_gguf(&path, plan, &weights, FORMAT, Some(&tokenizer)).unwrap();
        let opened = open(&path, plan, None).unwrap();
        same(plan, &opened, &weights);
        assert_eq!(read_spec(&path).unwrap(), plan.spec);
        for read in [
            Tokenizer::from_path(&path).unwrap(),
            Tokenizer::of_weights(&path, None).unwrap().unwrap(),
        ] {
            assert_eq!(read.encode("hole").unwrap(), tokenizer.encode("hole").unwrap());
        }
    }
    let plan = testing::gpt2();
    let weights = RandomWeights::new(plan, 3, Format::F32);
    let folder = tempfile::tempdir().unwrap();
    for name in ["blob", "model.gguf"] {
        let path = folder.path().join(name);
        write_safetensors(&path, &hf_tensors(plan, &weights));
        same(plan, &open(&path, plan, None).unwrap(), &weights);
    }
    std::fs::write(folder.path().join("b.gguf"), b"").unwrap();
    let error = open(folder.path(), plan, None).err().expect("two files").to_string();
    assert!(error.ends_with("has 2 weight files; name one of them (b.gguf, model.gguf)"));
}
